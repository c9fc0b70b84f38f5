//! The one thing of authentication that costs too much for a shard: comparing a ticket with what Argon2 has made of
//! one, which takes hundredths of a second on purpose. The shard hands it out, whoever drives the shard has it done
//! elsewhere, and gives back what came of it.
//!
//! A check counts a wrong guess against its source by itself, before it tells anybody, whether or not the client is
//! still there to hear of it; and it does not look at one of a source that must wait by then. So, done one after the
//! other, no more guesses of a source are looked at than it may have, however many it sends at once. What nobody waits
//! for any more, because the client has left or its time is over, is not looked at: it is no guess.

use std::sync::{Arc, Weak};
use std::time::Instant;

use super::failures::Guesser;
use crate::auth::Secret;
use crate::auth::ticket::Stored;
use crate::origin::Source;
use crate::router::PeerKey;

/// A ticket that is to be compared.
#[derive(Debug)]
pub struct Check {
    /// Who waits for it.
    key: PeerKey,
    /// Gone if it waits no longer.
    waits: Weak<()>,
    guesser: Guesser,
    ticket: Secret,
    stored: Stored,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Who waits for it.
    pub key: PeerKey,
    /// What it is.
    pub outcome: Outcome,
}

/// What came of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is the ticket.
    Right,
    /// It is not, which is counted.
    Wrong,
    /// There were too many wrong ones from there: nobody has looked.
    TooMany,
    /// There was too much to do, or nobody waits for it: nobody has looked.
    Unavailable,
}

impl Check {
    /// Compares that ticket with what is stored, for a peer.
    pub fn new(key: PeerKey, guesser: Guesser, ticket: Secret, stored: Stored) -> Check {
        Check { key, waits: Weak::new(), guesser, ticket, stored }
    }

    /// It is waited for as long as this is kept.
    pub fn wait(&mut self) -> Arc<()> {
        let waits = Arc::new(());
        self.waits = Arc::downgrade(&waits);
        waits
    }

    /// True if somebody waits for it.
    pub fn is_awaited(&self) -> bool {
        self.waits.strong_count() > 0
    }

    /// Where the client is.
    pub fn source(&self) -> Option<Source> {
        self.guesser.source()
    }

    /// How much work it is: KiB that Argon2 walks over.
    pub fn work_kib(&self) -> u64 {
        self.stored.work_kib()
    }

    /// Does it.
    pub fn run(self, now: Instant) -> Checked {
        let outcome = if !self.is_awaited() {
            Outcome::Unavailable
        } else if self.guesser.must_wait(now) {
            Outcome::TooMany
        } else if self.ticket.text().is_some_and(|ticket| self.stored.verify(ticket)) {
            Outcome::Right
        } else {
            self.guesser.add(now);
            Outcome::Wrong
        };
        Checked { key: self.key, outcome }
    }

    /// Does not do it.
    pub fn decline(self) -> Checked {
        Checked { key: self.key, outcome: Outcome::Unavailable }
    }
}
