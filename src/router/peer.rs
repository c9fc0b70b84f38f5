//! The peers of a shard and the only way to queue bytes for one: [`Peers::send`] and its sisters.
//!
//! Every byte that goes to a peer passes `Peers::push`, and there [`Queues::push`], which decides whether the peer may
//! be sent anything, holds the queue against its bounds, and puts the peer on the list of those to be written. So
//! nothing is ever queued and forgotten, and nothing follows a session's last word.
//!
//! A peer that must go is never removed in the middle of what is being done to it or to others: it is *doomed*, and the
//! shard reaps the doomed when it is done.
//!
//! ```text
//!   Opening --Opened--> Idle --HELLO--> Joined --our GOODBYE--> Leaving       (Authenticating may stand before Joined)
//!      |                 ^ |              |  |                     |
//!      |                 | |   GOODBYE    |  |                     |
//!      |                 +-|--------------+  |                     |
//!      +-------------------+-----------------+---------------------+--> Finishing --> (removed)
//! ```

mod held;
mod kept;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

pub use self::held::{Held, HeldFor, HeldJoin, HeldMessage};
use super::directory::MatchedSubscription;
use super::publication::{EventFrames, NoFrame, Publication};
use super::queue::{Advanced, Cause, Pushed, Queues, Waiting};
use super::session::{Pending, Session};
use super::timers::{Timer, Timers};
use super::transport_details::{HttpFacts, TransportFacts};
use super::{Closing, ListenerIndex, PeerKey, RequestIds};
use crate::codec;
use crate::counters::Counters;
use crate::error::CloseReason;
use crate::limits::Limits;
use crate::origin::Origin;
use crate::transport::arena::{REPLIES, Span};
use crate::transport::{self, Format, Link, Transport};
use crate::wamp::{Message, SessionId};

/// One connection.
#[derive(Debug)]
pub struct Peer {
    /// Its name in this shard.
    pub key: PeerKey,
    /// Which request ids it may send.
    pub request_ids: RequestIds,
    /// Where it came in.
    pub listener: ListenerIndex,
    /// Where it comes from, and what TLS has shown of it.
    pub origin: Arc<Origin>,
    /// What else its connection has shown, if it began with HTTP; see `kept` for how long.
    pub http: Option<HttpFacts>,
    /// Its client speaks the long-poll transport.
    pub longpoll: bool,
    /// Cuts its bytes into messages. Absent while the shard has it in hand, and once nothing more is read.
    pub transport: Option<Box<Transport>>,
    /// What its handshake agreed on.
    pub link: Option<Link>,
    /// Where it is in its life.
    pub state: State,
    /// When it last sent anything.
    pub last_input: Instant,
    /// A PING was sent at the last silence.
    pub pinged: bool,
    /// A message of its that waits for an answer of somebody else; nothing more is read meanwhile.
    held: Option<Box<Held>>,
    /// It is among those that must go.
    doomed: bool,
    /// It is among those that are looked at when nothing holds input back any more.
    waits_for_relief: bool,
    /// Octets of its input that are kept, see there.
    kept: usize,
    last_progress: Instant,
    deadline: Option<(Instant, Timer)>,
    stall: Option<Instant>,
}

impl Peer {
    /// What is known of its connection, once something is agreed on.
    pub fn transport_facts(&self) -> Option<TransportFacts<'_>> {
        let Peer { origin, link, longpoll, http, .. } = self;
        Some(TransportFacts { origin, link: (*link)?, longpoll: *longpoll, http: http.as_ref() })
    }
}

/// About what stands around the payload of a message to one peer.
const REPLY_OVERHEAD_BYTES: usize = 64;

/// Octets that the buffer for a transport's answers may keep when it is not used.
const REPLY_BYTES_KEPT_MAX: usize = 4096;

/// Where a peer is in its life.
#[derive(Debug)]
pub enum State {
    /// The transport's handshake is under way.
    Opening,
    /// There is a transport and no session: HELLO is awaited.
    Idle,
    /// HELLO was answered with CHALLENGE: AUTHENTICATE is awaited, or the word of whoever looks at it.
    Authenticating(Box<Pending>),
    /// In a session.
    Joined(Box<Session>),
    /// Our GOODBYE is sent, theirs is awaited; all else is ignored.
    Leaving,
    /// Nothing more is read; what is queued is written, then the connection ends.
    Finishing {
        /// Why, as it will be counted.
        reason: CloseReason,
        /// The peer has ended its side already.
        input_ended: bool,
        /// The shell was told to shut the writing side down.
        shut: bool,
    },
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is in the queue.
    Queued,
    /// The peer is gone, or going.
    Gone,
    /// It is larger than the peer takes.
    TooLarge,
    /// The payload has no form in the peer's serializer.
    Untranslatable,
}

/// The peers of a shard.
#[derive(Debug)]
pub struct Peers {
    slab: Slab<Peer>,
    serials: Vec<u32>,
    queues: Queues,
    doomed: Vec<(PeerKey, CloseReason)>,
    closing: Vec<(PeerKey, Closing)>,
    resumed: Vec<PeerKey>,
    paused: Vec<PeerKey>,
    congested: bool,
    reply: Vec<u8>,
    kept_bytes: usize,
    /// Those that hold something that was answered.
    answered: usize,
    limits: Limits,
    /// What is counted about them.
    pub counters: Counters,
}

impl Peers {
    /// None yet.
    pub fn new(limits: Limits) -> Peers {
        Peers {
            slab: Slab::new(),
            serials: Vec::new(),
            queues: Queues::new(&limits),
            doomed: Vec::new(),
            closing: Vec::new(),
            resumed: Vec::new(),
            paused: Vec::new(),
            congested: false,
            reply: Vec::new(),
            kept_bytes: 0,
            answered: 0,
            limits,
            counters: Counters::default(),
        }
    }

    /// Other bounds hold from now on; what is above them makes no peer slow before more is queued for it.
    pub fn configure(&mut self, limits: Limits) {
        self.queues.configure(&limits);
        self.limits = limits;
    }

    /// A new connection.
    pub fn open(
        &mut self,
        listener: ListenerIndex,
        origin: Arc<Origin>,
        transport: Transport,
        request_ids: RequestIds,
        now: Instant,
    ) -> PeerKey {
        let entry = self.slab.vacant_entry();
        let position = entry.key();
        if self.serials.len() <= position {
            self.serials.resize(position + 1, 0);
        }
        let key = PeerKey { index: position as u32, serial: self.serials[position] };
        entry.insert(Peer {
            key,
            request_ids,
            listener,
            origin,
            http: None,
            longpoll: false,
            transport: Some(Box::new(transport)),
            link: None,
            state: State::Opening,
            last_input: now,
            pinged: false,
            held: None,
            doomed: false,
            waits_for_relief: false,
            kept: 0,
            last_progress: now,
            deadline: None,
            stall: None,
        });
        self.queues.open(key);
        key
    }

    /// The peer's handshake is done: it is idle.
    pub fn set_link(&mut self, key: PeerKey, link: Link) {
        if let Some(peer) = self.peer_mut(key) {
            peer.link = Some(link);
            peer.state = State::Idle;
            self.queues.set_link(key.index, &link);
        }
    }

    /// The peer, if the key is alive.
    pub fn peer(&self, key: PeerKey) -> Option<&Peer> {
        self.slab.get(key.index as usize).filter(|peer| peer.key == key)
    }

    /// The peer, if the key is alive.
    pub fn peer_mut(&mut self, key: PeerKey) -> Option<&mut Peer> {
        self.slab.get_mut(key.index as usize).filter(|peer| peer.key == key)
    }

    /// The peer's session, if it is in one.
    pub fn session(&mut self, key: PeerKey) -> Option<&mut Session> {
        match &mut self.peer_mut(key)?.state {
            State::Joined(session) => Some(session),
            _ => None,
        }
    }

    /// The session of a peer that is known to be in one, by its place.
    pub fn session_at(&mut self, index: u32) -> Option<&mut Session> {
        match &mut self.slab.get_mut(index as usize)?.state {
            State::Joined(session) => Some(session),
            _ => None,
        }
    }

    /// How many connections there are.
    pub fn count(&self) -> usize {
        self.slab.len()
    }

    /// The keys of all connections.
    pub fn keys(&self) -> Vec<PeerKey> {
        self.slab.iter().map(|(_, peer)| peer.key).collect()
    }

    /// True if the peer at this place is not read until [`Peers::take_resumed`] has named it.
    pub fn paused(&self, index: u32) -> bool {
        self.queues.paused(index)
    }

    /// True if nothing is queued for the peer at this place any more.
    pub fn mute(&self, index: u32) -> bool {
        self.queues.mute(index)
    }

    fn has_waiting(&self, key: PeerKey) -> bool {
        self.outbound(key).is_some_and(|waiting| !waiting.is_empty())
    }

    // Queueing.

    /// Queues a message for a peer that is in a session.
    pub fn send(&mut self, key: PeerKey, message: &Message<'_>) -> Sent {
        match self.peer(key) {
            Some(Peer { state: State::Joined(_), .. }) => self.queue(key, message),
            _ => Sent::Gone,
        }
    }

    /// Queues a message that belongs to no session: ABORT before one, or after it has left. It is the caller's to see
    /// that nothing follows.
    pub fn send_outside(&mut self, key: PeerKey, message: &Message<'_>) -> Sent {
        self.queue(key, message)
    }

    fn queue(&mut self, key: PeerKey, message: &Message<'_>) -> Sent {
        if self.peer(key).is_none() {
            return Sent::Gone;
        }
        let Some((Format { serializer, framing }, message_bytes_max)) = self.queues.takes(key.index) else {
            return Sent::Gone;
        };
        let cause = match message {
            Message::Invocation(_) | Message::Interrupt(_) => Cause::Others,
            _ => Cause::Itself,
        };
        let bytes_expected = message.payload_bytes() + REPLY_OVERHEAD_BYTES;
        let written = self.queues.arena.write(REPLIES, bytes_expected, |out| {
            transport::frame(framing, serializer, out, |out| codec::encode(message, serializer, out))
        });
        let sent = match written {
            Err(_) => Sent::Untranslatable,
            Ok((frame, message_bytes)) if message_bytes > message_bytes_max => {
                self.queues.arena.take_back(frame);
                Sent::TooLarge
            }
            Ok((frame, _)) => self.push_reply(key.index, frame, cause),
        };
        if sent == Sent::TooLarge {
            self.counters.messages_too_large += 1;
        }
        sent
    }

    /// Queues an EVENT for the peer at this place, which must be in a session. The frame is made on first use.
    #[inline]
    pub fn send_event(
        &mut self,
        index: u32,
        publication: &Publication,
        subscription: &MatchedSubscription,
        frames: &mut EventFrames,
    ) {
        let Some(takes) = self.queues.takes(index) else { return };
        match frames.frame(publication, subscription, takes, &mut self.queues.arena) {
            Err(NoFrame::Untranslatable) => self.counters.events_untranslatable += 1,
            Err(NoFrame::TooLarge) => self.counters.events_too_large += 1,
            Ok(frame) => match self.push(index, frame, Cause::Others) {
                Sent::Queued => {
                    frames.queued(takes.0);
                    self.counters.events_delivered += 1;
                }
                Sent::TooLarge => self.counters.events_too_large += 1,
                Sent::Gone | Sent::Untranslatable => {}
            },
        }
    }

    /// An EVENT has been sent to all its subscribers here.
    pub fn event_sent(&mut self, frames: &mut EventFrames) {
        frames.clear(&mut self.queues.arena);
    }

    /// Queues what a transport answers by itself: handshakes, PONG, close frames.
    pub fn reply_with<T>(&mut self, key: PeerKey, answer: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut reply = std::mem::take(&mut self.reply);
        let answered = answer(&mut reply);
        if !reply.is_empty() {
            if self.peer(key).is_some() {
                let written = self.queues.arena.write(REPLIES, reply.len(), |out| {
                    out.extend_from_slice(&reply);
                    Ok::<(), Infallible>(())
                });
                let Ok((frame, ())) = written;
                self.push_reply(key.index, frame, Cause::Itself);
            }
            reply.clear();
            reply.shrink_to(REPLY_BYTES_KEPT_MAX);
        }
        self.reply = reply;
        answered
    }

    /// Queues a frame that is for this peer only.
    fn push_reply(&mut self, index: u32, frame: Span, cause: Cause) -> Sent {
        let sent = self.push(index, frame, cause);
        if sent != Sent::Queued {
            self.queues.arena.take_back(frame);
        }
        sent
    }

    /// Queues a frame, and dooms the peer if it does not take what is queued already.
    #[inline]
    fn push(&mut self, index: u32, frame: Span, cause: Cause) -> Sent {
        match self.queues.push(index, frame, cause) {
            Pushed::Queued => Sent::Queued,
            Pushed::Mute => Sent::Gone,
            Pushed::TooLarge => Sent::TooLarge,
            Pushed::Slow => {
                let key = self.slab[index as usize].key;
                self.doom(key, CloseReason::SlowConsumer);
                Sent::Gone
            }
        }
    }

    // The shell's side of the queue.

    /// Moves the peers that have bytes to write into `into`. Some may be gone.
    pub fn take_dirty(&mut self, into: &mut Vec<PeerKey>) {
        self.queues.take_dirty(into);
    }

    /// See [`Queues::flushed`]. Peers that were not read because too much was queued are read again.
    pub fn flushed(&mut self) {
        let sated = self.sated();
        self.queues.flushed();
        if sated && !self.congested {
            self.relieve();
        }
    }

    /// See [`Queues::sated`].
    pub fn sated(&self) -> bool {
        self.queues.sated()
    }

    /// What waits for a peer.
    pub fn outbound(&self, key: PeerKey) -> Option<Waiting<'_>> {
        self.queues.waiting(key)
    }

    /// `bytes` octets were written; 0 if the socket took none. Sets the stall deadline if some are left, and shuts a
    /// finishing peer down if none are.
    pub fn advance(&mut self, key: PeerKey, bytes: usize, timers: &mut Timers, now: Instant) {
        let advanced = self.queues.advance(key, bytes);
        if let Advanced::Dead | Advanced::All = advanced {
            return;
        }
        let stall_after = Duration::from_millis(self.limits.outbound_stall_ms_max);
        let Some(peer) = self.slab.get_mut(key.index as usize).filter(|peer| peer.key == key) else { return };
        if bytes > 0 {
            peer.last_progress = now;
        }
        if advanced == Advanced::Part {
            if peer.stall.is_none() {
                peer.last_progress = now;
                peer.stall = Some(now + stall_after);
                timers.set(now + stall_after, Timer::Stall(key));
                self.queues.set_watched(key.index, true);
            }
            return self.resume(key);
        }
        if let Some(at) = peer.stall.take() {
            timers.cancel(at, Timer::Stall(key));
            self.queues.set_watched(key.index, false);
        }
        if let State::Finishing { .. } = peer.state {
            self.written(key, timers);
        }
        self.resume(key);
    }

    /// The stall deadline has passed: dooms the peer if it has taken nothing since, looks again later if it has.
    pub fn on_stall(&mut self, key: PeerKey, timers: &mut Timers, now: Instant) {
        let stall_after = Duration::from_millis(self.limits.outbound_stall_ms_max);
        let Some(peer) = self.peer_mut(key) else { return };
        peer.stall = None;
        let due = peer.last_progress + stall_after;
        if due <= now {
            self.doom(key, CloseReason::SlowConsumer);
        } else {
            peer.stall = Some(due);
            timers.set(due, Timer::Stall(key));
        }
    }

    // Reading or not.

    /// False if the peer must not be read now: it leaves its own replies unread, a mailbox is too full, or a message of
    /// its is held.
    pub fn wants_input(&mut self, key: PeerKey) -> bool {
        let soft = self.limits.outbound_bytes_soft;
        let held = self.congested || self.sated();
        let place = key.index as usize;
        let Some(peer) = self.slab.get_mut(place).filter(|peer| peer.key == key) else { return false };
        if matches!(peer.state, State::Finishing { .. }) {
            return true;
        }
        // Once paused it stays so until it is resumed: what it has sent before is kept, and comes first.
        let paused = self.queues.paused(key.index) || held || self.queues.replies(key.index) > soft;
        self.queues.set_paused(key.index, paused);
        if paused && held {
            self.await_relief(key);
        }
        !paused
    }

    /// The peer is to be looked at when the congestion ends, or peers have been written.
    fn await_relief(&mut self, key: PeerKey) {
        if let Some(peer) = self.peer_mut(key)
            && !peer.waits_for_relief
        {
            peer.waits_for_relief = true;
            self.paused.push(key);
        }
    }

    /// A mailbox is too full, or no longer.
    pub fn set_congested(&mut self, congested: bool) {
        self.congested = congested;
        if !congested && !self.sated() {
            self.relieve();
        }
    }

    fn relieve(&mut self) {
        for key in std::mem::take(&mut self.paused) {
            if let Some(peer) = self.peer_mut(key) {
                peer.waits_for_relief = false;
            }
            self.resume(key);
        }
    }

    /// Moves the peers that want input again into `into`.
    pub fn take_resumed(&mut self, into: &mut Vec<PeerKey>) {
        into.append(&mut self.resumed);
    }

    fn resume(&mut self, key: PeerKey) {
        let soft = self.limits.outbound_bytes_soft;
        let held = self.congested || self.sated();
        let place = key.index as usize;
        let Some(peer) = self.slab.get_mut(place).filter(|peer| peer.key == key) else { return };
        if !self.queues.paused(key.index) || peer.waits_for_answer() {
            return;
        }
        let answered = self.queues.replies(key.index) <= soft / 2;
        if !held && (answered || matches!(peer.state, State::Finishing { .. })) {
            self.queues.set_paused(key.index, false);
            self.resumed.push(key);
        } else if held {
            self.await_relief(key);
        }
    }

    /// When the peer last took bytes, if it is still taking those that wait for it, or has taken the last that it will
    /// ever get.
    pub fn last_progress(&self, key: PeerKey) -> Option<Instant> {
        let waiting = self.has_waiting(key);
        let finishing = |peer: &&Peer| waiting || matches!(peer.state, State::Finishing { .. });
        self.peer(key).filter(finishing).map(|peer| peer.last_progress)
    }

    // Ending.

    /// The peer must go; the shard reaps it when it is done with what it does.
    pub fn doom(&mut self, key: PeerKey, reason: CloseReason) {
        let Some(peer) = self.slab.get_mut(key.index as usize).filter(|peer| peer.key == key) else { return };
        self.queues.silence(key.index);
        if !peer.doomed {
            peer.doomed = true;
            self.doomed.push((key, reason));
        }
    }

    /// The next of the doomed.
    pub fn next_doomed(&mut self) -> Option<(PeerKey, CloseReason)> {
        self.doomed.pop()
    }

    /// Nothing more is read from the peer; what is queued is written, then the connection ends. The session must have
    /// left before.
    pub fn finish(&mut self, key: PeerKey, reason: CloseReason, timers: &mut Timers, now: Instant) {
        let wait = Limits::ms(self.limits.goodbye_ms_max);
        let Some(peer) = self.peer_mut(key) else { return };
        if matches!(peer.state, State::Finishing { .. }) {
            return;
        }
        debug_assert!(!matches!(peer.state, State::Joined(_)), "a session leaves before its peer finishes");
        peer.transport = None;
        let kept = std::mem::take(&mut peer.kept);
        peer.state = State::Finishing { reason, input_ended: false, shut: false };
        self.kept_bytes -= kept;
        self.queues.silence(key.index);
        self.set_deadline(key, Timer::Goodbye(key), now + wait, timers);
        self.resume(key);
        if !self.has_waiting(key) {
            self.written(key, timers);
        }
    }

    /// The peer has ended its side: a finishing one goes as soon as all is written.
    pub fn input_ended(&mut self, key: PeerKey, timers: &mut Timers) {
        let waiting = self.has_waiting(key);
        let Some(peer) = self.peer_mut(key) else { return };
        if let State::Finishing { input_ended, .. } = &mut peer.state {
            *input_ended = true;
            if !waiting {
                self.written(key, timers);
            }
        }
    }

    fn written(&mut self, key: PeerKey, timers: &mut Timers) {
        let Some(peer) = self.peer_mut(key) else { return };
        match &mut peer.state {
            State::Finishing { reason, input_ended: true, .. } => {
                let reason = *reason;
                self.drop_connection(key, reason, timers);
            }
            State::Finishing { shut: shut @ false, .. } => {
                *shut = true;
                self.closing.push((key, Closing::Shutdown));
            }
            _ => {}
        }
    }

    /// Tells the shell to drop the connection, and forgets the peer.
    pub fn drop_connection(&mut self, key: PeerKey, reason: CloseReason, timers: &mut Timers) {
        let reason = self.remove(key, reason, timers);
        self.closing.push((key, Closing::Drop(reason)));
    }

    /// Forgets the peer. A peer that was finishing has its reason already; it is the one that is counted and returned.
    pub fn remove(&mut self, key: PeerKey, reason: CloseReason, timers: &mut Timers) -> CloseReason {
        if self.peer(key).is_none() {
            return reason;
        }
        let peer = self.slab.remove(key.index as usize);
        self.serials[key.index as usize] = key.serial.wrapping_add(1);
        self.queues.close(key);
        self.kept_bytes -= peer.kept;
        if let Some((at, timer)) = peer.deadline {
            timers.cancel(at, timer);
        }
        if let Some(at) = peer.stall {
            timers.cancel(at, Timer::Stall(key));
        }
        let reason = match peer.state {
            State::Finishing { reason, .. } => reason,
            _ => reason,
        };
        *self.counters.closed.entry(reason).or_default() += 1;
        reason
    }

    /// Moves what must be done to connections into `into`.
    pub fn take_closing(&mut self, into: &mut Vec<(PeerKey, Closing)>) {
        into.append(&mut self.closing);
    }

    /// True if the shell has nothing left to ask for.
    pub fn is_settled(&self) -> bool {
        let kept: usize = self.slab.iter().map(|(_, peer)| peer.kept).sum();
        self.doomed.is_empty() && self.queues.is_settled() && self.kept_bytes == kept
    }

    // Deadlines.

    /// Sets the one deadline that goes with the state the peer is in; the one before is canceled.
    pub fn set_deadline(&mut self, key: PeerKey, timer: Timer, at: Instant, timers: &mut Timers) {
        self.clear_deadline(key, timers);
        if let Some(peer) = self.peer_mut(key) {
            peer.deadline = Some((at, timer));
            timers.set(at, timer);
        }
    }

    /// Takes the deadline back, or notes that it has fired.
    pub fn clear_deadline(&mut self, key: PeerKey, timers: &mut Timers) {
        if let Some((at, timer)) = self.peer_mut(key).and_then(|peer| peer.deadline.take()) {
            timers.cancel(at, timer);
        }
    }

    /// The session's identifier, for those who only name it.
    pub fn session_id(&self, key: PeerKey) -> Option<SessionId> {
        match &self.peer(key)?.state {
            State::Joined(session) => Some(session.id),
            _ => None,
        }
    }
}
