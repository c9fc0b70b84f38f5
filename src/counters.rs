//! What a shard counts: plain integers, written by the one thread that owns them.

use std::collections::BTreeMap;

use crate::error::CloseReason;

/// Everything counted since the shard began.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Messages decoded.
    pub messages_received: u64,
    /// Sessions that were welcomed.
    pub sessions_joined: u64,
    /// PUBLISH messages accepted.
    pub publications: u64,
    /// EVENT messages queued.
    pub events_delivered: u64,
    /// EVENT messages not sent because they exceed what the subscriber's transport takes.
    pub events_too_large: u64,
    /// EVENT messages not sent because the payload has no form in the subscriber's serializer.
    pub events_untranslatable: u64,
    /// PUBLISH messages without `acknowledge` that were refused, which nobody was told.
    pub publications_refused_silently: u64,
    /// CALL messages accepted.
    pub calls: u64,
    /// YIELD and ERROR messages for invocations that are no longer open.
    pub answers_too_late: u64,
    /// Messages to a peer dropped because the peer takes none that large.
    pub messages_too_large: u64,
    /// Ends of connections, by reason.
    pub closed: BTreeMap<CloseReason, u64>,
}

impl Counters {
    /// Adds another shard's.
    pub fn add(&mut self, other: &Counters) {
        self.messages_received += other.messages_received;
        self.sessions_joined += other.sessions_joined;
        self.publications += other.publications;
        self.events_delivered += other.events_delivered;
        self.events_too_large += other.events_too_large;
        self.events_untranslatable += other.events_untranslatable;
        self.publications_refused_silently += other.publications_refused_silently;
        self.calls += other.calls;
        self.answers_too_late += other.answers_too_late;
        self.messages_too_large += other.messages_too_large;
        for (reason, count) in &other.closed {
            *self.closed.entry(*reason).or_default() += count;
        }
    }
}
