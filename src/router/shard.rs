//! One partition of the router's state: bytes, letters and time go in; bytes, letters and a deadline come out.
//!
//! The order of calls in one turn of whoever drives it:
//!
//! ```text
//!   take_letter*  (open | receive | input_ended | close)*  expire
//!   letters(to)*  dirty -> outbound, advance  flushed  closing  resumed
//! ```
//!
//! Every input takes the letters it has caused to this same shard before it returns, so that a peer's events stand in
//! the queues of the peers here before the next connection is read.
//!
//! A connection's life, in the order it happens:
//!
//! 1. `open`: a deadline for the handshake runs. The first octets choose the transport; its answers are queued.
//! 2. The handshake is done: a deadline for HELLO runs.
//! 3. HELLO is granted, perhaps after a challenge or when somebody was asked: WELCOME; from now on the deadline is
//!    silence. Messages go through `Shard::on_session_message`.
//! 4. GOODBYE: all the session has is given back, GOODBYE is answered, and HELLO is awaited again.
//! 5. The end, whoever wants it: the session leaves, what is queued is written, the writing side is shut, and when the
//!    peer has closed too, or a deadline has passed, the connection is dropped. Only a peer that does not take its
//!    bytes, or whose socket is broken, is dropped at once.

mod authenticating;
mod authenticators;
mod authorizing;
mod browsers;
mod changing;
mod deadlines;
mod drain;
mod held;
mod joining;
mod killing;
mod learning;
mod letters;
mod realms;
mod refusing;

use std::sync::Arc;
use std::time::Instant;

pub use self::changing::Losses;

use self::authenticating::Logins;
use self::authorizing::Arrived;
use self::browsers::Browsers;
use self::drain::Drain;
pub(super) use self::realms::LocalRealm;
use self::realms::LocalRealms;
pub(super) use self::refusing::count_silent;
use self::refusing::refuse;
use super::authorization::dynamic::Authorizers;
use super::authorization::{Denial, Denials};
use super::dealer;
use super::entropy::Entropy;
use super::letter::Letters;
use super::meta::procedures;
use super::peer::{Peers, State};
use super::queue::Waiting;
use super::session::Admitted;
use super::timers::{Timer, Timers};
use super::{Clock, Letter, ListenerIndex, ListenerSettings, PeerKey, RequestIds, Router, ShardIndex};
use crate::codec::{self, DecodeError};
use crate::counters::Counters;
use crate::error::{CloseReason, Refusal, Violation};
use crate::limits::Limits;
use crate::origin::Origin;
use crate::transport::upgrade::RequestHead;
use crate::transport::{Inbound, Link, Transport};
use crate::wamp::{Message, reason, uri};

/// What must be done to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closing {
    /// All is written: shut the writing side down, go on reading (what comes is ignored) until the peer closes. The
    /// peer would lose our last words to a reset if we closed with its bytes unread.
    Shutdown,
    /// Drop the connection. The key is dead.
    Drop(CloseReason),
}

/// The shard.
#[derive(Debug)]
pub struct Shard {
    index: ShardIndex,
    router: Arc<Router>,
    peers: Peers,
    realms: LocalRealms,
    letters: Letters,
    timers: Timers,
    entropy: Entropy,
    /// The time of the last input.
    now: Instant,
    invocations_open: usize,
    rounds_open: usize,
    /// Letters of this shard to itself, while they are taken.
    own_letters: Vec<Letter>,
    /// Whose pages were refused, until the shell takes them.
    foreign: Vec<String>,
    /// Connections that are served elsewhere, until the shell takes them.
    handed_over: Vec<(PeerKey, Vec<u8>)>,
    /// Peers of whom more is known than when they were opened.
    learned: Vec<(PeerKey, Arc<Origin>)>,
    logins: Logins,
    browsers: Browsers,
    drain: Drain,
    denials: Denials,
    authorizers: Authorizers,
    /// The other shards that have begun their shutdown, as a set.
    draining_shards: u64,
    /// Those that have published the testaments of their peers.
    bequeathed_shards: u64,
}

/// How the connection goes on after a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// With the next message.
    Read,
    /// With this same message, when a question is answered that is asked of somebody else.
    Hold,
    /// Not at all: it ends in good order.
    Finish(CloseReason),
}

/// The usual end of a message.
const READ: Result<Next, Unanswered> = Ok(Next::Read);

/// A message was not handled, since a question is open: see [`Authorizers`].
struct Unanswered;

impl Shard {
    /// An empty shard. `seed` is its only source of chance: session ids (from a strong generator), publication ids.
    pub fn new(router: Arc<Router>, index: ShardIndex, seed: [u8; 32]) -> Shard {
        let mut shard = Shard {
            index,
            realms: LocalRealms::default(),
            peers: Peers::new(router.settings.limits.clone()),
            letters: Letters::new(router.shard_count),
            timers: Timers::default(),
            entropy: Entropy::new(seed),
            now: router.clock.instant,
            invocations_open: 0,
            rounds_open: 0,
            own_letters: Vec::new(),
            foreign: Vec::new(),
            handed_over: Vec::new(),
            learned: Vec::new(),
            logins: Logins::default(),
            browsers: Browsers::default(),
            drain: Drain::No,
            denials: Denials::default(),
            authorizers: Authorizers::new(router.settings.limits.match_cache_entries_max),
            draining_shards: 0,
            bequeathed_shards: 0,
            router,
        };
        for realm in shard.router.realms() {
            shard.learn_of(&realm);
        }
        shard
    }

    // Input.

    /// A connection exists, and this is all that is known of it. `full`: there are too many; its handshake will be
    /// refused.
    pub fn open(
        &mut self,
        listener: ListenerIndex,
        full: bool,
        origin: Arc<Origin>,
        now: Instant,
    ) -> PeerKey {
        self.now = now;
        let ListenerSettings { transport, request_ids, .. } =
            &self.router.settings.listeners[listener.0 as usize];
        let gives_cookies = transport.pages.cookie.is_some();
        let mut transport = Transport::new(transport.clone(), full);
        if gives_cookies {
            transport.offer_cookie(self.entropy.authid());
        }
        let key = self.peers.open(listener, origin, transport, *request_ids, now);
        self.await_opening(key, now);
        key
    }

    /// A connection exists on which nothing is left to be agreed on: the router's own end of a long-poll transport, for
    /// a client of that origin which has opened it with this request. Any request ids are taken from it, see
    /// [`RequestIds::Any`].
    pub fn open_linked(
        &mut self,
        listener: ListenerIndex,
        link: Link,
        request: RequestHead,
        origin: Arc<Origin>,
        now: Instant,
    ) -> PeerKey {
        self.now = now;
        let settings = self.router.settings.listeners[listener.0 as usize].transport.clone();
        let key = self.peers.open(listener, origin, Transport::linked(settings, link), RequestIds::Any, now);
        self.peers.set_link(key, link);
        self.learn_longpoll(key, request);
        self.await_opening(key, now);
        key
    }

    fn await_opening(&mut self, key: PeerKey, now: Instant) {
        self.await_handshake(key, now);
        match self.drain {
            Drain::No => {}
            // Nothing would end it any more when the shutdown's time is over.
            Drain::Done => self.peers.drop_connection(key, CloseReason::Shutdown, &mut self.timers),
            Drain::Calls { .. } | Drain::Testaments { .. } | Drain::Goodbye { .. } => {
                self.peers.finish(key, CloseReason::Shutdown, &mut self.timers, now);
            }
        }
    }

    /// Bytes came, cut anywhere; unmasks in place. Handles whole messages while [`Shard::wants_input`] holds, keeps
    /// the rest. A dead key is ignored.
    pub fn receive(&mut self, key: PeerKey, bytes: &mut [u8], now: Instant) {
        self.now = now;
        let Some(peer) = self.peers.peer_mut(key) else { return };
        peer.last_input = now;
        peer.pinged = false;
        // In hand while messages borrow from it; absent if the peer is finishing, whose input is ignored.
        let Some(mut transport) = peer.transport.take() else { return };
        let read = self.read(key, &mut transport, bytes, now);
        match read {
            Ok(Next::Read | Next::Hold) => {
                let kept_bytes = transport.kept_bytes();
                if let Some(peer) = self.peers.peer_mut(key) {
                    peer.transport = Some(transport);
                    self.peers.set_kept(key, kept_bytes);
                }
            }
            Ok(Next::Finish(reason)) => self.finish(key, &mut transport, (1000, ""), reason, now),
            Err(violation) => self.on_violation(key, &mut transport, violation, now),
        }
        self.settle(now);
    }

    /// The peer will send no more (end of file). Its session leaves; what is queued for it is still written.
    pub fn input_ended(&mut self, key: PeerKey, now: Instant) {
        self.now = now;
        self.leave(key);
        self.peers.finish(key, CloseReason::Closed, &mut self.timers, now);
        self.peers.input_ended(key, &mut self.timers);
        self.settle(now);
    }

    /// The connection is gone, or must go at once: nothing more can be written. The key is dead afterwards. Returns the
    /// reason that was counted: a peer that was finishing had its own already.
    pub fn close(&mut self, key: PeerKey, reason: CloseReason, now: Instant) -> CloseReason {
        self.now = now;
        self.leave(key);
        let reason = self.peers.remove(key, reason, &mut self.timers);
        self.settle(now);
        reason
    }

    /// A letter from another shard.
    pub fn take_letter(&mut self, letter: Letter, now: Instant) {
        self.now = now;
        self.open_letter(letter);
        self.settle(now);
    }

    /// Deadlines that have passed.
    pub fn expire(&mut self, now: Instant) {
        self.now = now;
        while let Some(timer) = self.timers.expired(now) {
            self.on_timer(timer, now);
            self.settle(now);
        }
    }

    /// Begins the shutdown: new sessions and calls are refused, open calls may finish for half of `drain_ms_max`, then
    /// all testaments are published and every session gets GOODBYE. Done when [`Shard::peer_count`] is 0.
    pub fn drain(&mut self, now: Instant) {
        self.now = now;
        if self.drain != Drain::No {
            return;
        }
        let whole = Limits::ms(self.router.settings.limits.drain_ms_max);
        let (until, end) = (now + whole / 2, now + whole);
        self.drain = Drain::Calls { until, end, whole };
        for realm in self.realms.keys() {
            let (realm, mut cx) = self.lend(realm);
            realm.look_at(None, cx.timers);
            realm.dealer.refuse_waiting(&mut cx);
        }
        for shard in self.letters.others(self.index) {
            self.letters.post(shard, Letter::Draining { shard: self.index });
        }
        self.timers.set(until, Timer::DrainCalls);
        self.timers.set(end, Timer::DrainEnd);
        self.settle(now);
    }

    /// Some other shard's mailbox is above its bound (or no longer): peers are not read meanwhile.
    pub fn congested(&mut self, congested: bool) {
        self.peers.set_congested(congested);
    }

    // Output.

    /// Takes the peers that have bytes to write; some may be gone by now. A peer whose bytes were not all taken by its
    /// socket is not listed again for them: the shell writes on when the socket is writable.
    pub fn dirty(&mut self, into: &mut Vec<PeerKey>) {
        self.peers.take_dirty(into);
    }

    /// The bytes to write; `None` for a dead key.
    pub fn outbound(&self, key: PeerKey) -> Option<Waiting<'_>> {
        self.peers.outbound(key)
    }

    /// `bytes` octets were written; call it with 0 too if the socket took none, so that a stall is noticed.
    pub fn advance(&mut self, key: PeerKey, bytes: usize, now: Instant) {
        self.peers.advance(key, bytes, &mut self.timers, now);
    }

    /// The shell has written what it could in this turn. What is left is kept for each peer; the frames of the turn
    /// are forgotten. Call it once in each turn.
    pub fn flushed(&mut self) {
        self.peers.flushed();
    }

    /// Takes what must be done to connections.
    pub fn closing(&mut self, into: &mut Vec<(PeerKey, Closing)>) {
        self.peers.take_closing(into);
    }

    /// Takes the connections that speak the long-poll transport, each with all its octets. Their keys are dead; the
    /// sockets are the shell's to hand over.
    pub fn handed_over(&mut self, into: &mut Vec<(PeerKey, Vec<u8>)>) {
        into.append(&mut self.handed_over);
    }

    /// Takes what was not allowed and is worth a line in the log.
    pub fn denials(&mut self) -> Vec<Denial> {
        self.denials.take()
    }

    /// Takes the peers that [`Shard::wants_input`] had refused and that want input again. The shell calls `receive`
    /// with no bytes (there may be kept ones) and then reads on.
    pub fn resumed(&mut self, into: &mut Vec<PeerKey>) {
        self.peers.take_resumed(into);
    }

    /// The letters to another shard, first in first out; the shell takes them all.
    pub fn letters(&mut self, to: ShardIndex) -> &mut Vec<Letter> {
        self.letters.outbox(to)
    }

    // Questions.

    /// True if so much was queued since [`Shard::flushed`] that peers must be written before more is read, and before
    /// more letters are taken.
    pub fn sated(&self) -> bool {
        self.peers.sated()
    }

    /// What time it is in the world, as the shell tells the router.
    pub fn clock(&self) -> &Clock {
        &self.router.clock
    }

    /// How long the shell may sleep.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// False if the peer must not be read now.
    pub fn wants_input(&mut self, key: PeerKey) -> bool {
        self.peers.wants_input(key)
    }

    /// Connections, joined or not.
    pub fn peer_count(&self) -> usize {
        self.peers.count()
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        Counters {
            directory_lookups: self.directory_lookups(),
            // All shards share the table; one of them tells.
            cookies_evicted: if self.index.0 == 0 { self.router.cookies.evicted() } else { 0 },
            ..self.peers.counters.clone()
        }
    }

    /// True if there is nothing: no peer, roster, registration, call, invocation, letter or deadline.
    pub fn is_empty(&self) -> bool {
        let realms_empty = self.realms.iter().all(|realm| realm.broker.is_empty() && realm.dealer.is_empty());
        self.peers.count() == 0
            && self.peers.is_settled()
            && realms_empty
            && self.invocations_open == 0
            && self.rounds_open == 0
            && self.letters.is_empty()
            && self.logins.is_empty()
            && self.browsers.is_empty()
            && self.timers.is_empty()
    }

    // One connection's bytes.

    fn read(
        &mut self,
        key: PeerKey,
        transport: &mut Transport,
        bytes: &mut [u8],
        now: Instant,
    ) -> Result<Next, Violation> {
        let mut input = bytes;
        let mut holds = self.peers.holds(key);
        loop {
            if !self.peers.wants_input(key) {
                transport.keep(input);
                return Ok(Next::Read);
            }
            let held = if holds { self.peers.take_held(key) } else { None };
            let next = if let Some(held) = held {
                self.on_held(key, held, now)?
            } else {
                let inbound = self.peers.reply_with(key, |reply| transport.next(&mut input, reply));
                match inbound? {
                    Inbound::Incomplete => return Ok(Next::Read),
                    Inbound::Finished => return Ok(self.on_finished(key)),
                    Inbound::LongPoll => {
                        self.peers.remove(key, CloseReason::LongPoll, &mut self.timers);
                        self.handed_over.push((key, transport.take_octets()));
                        return Ok(Next::Read);
                    }
                    Inbound::Opened => {
                        if let Some(request) = transport.take_request() {
                            self.learn(key, request);
                        }
                        Next::Read
                    }
                    Inbound::Message(message) => self.on_message(key, message, now)?,
                }
            };
            if let Next::Finish(_) = next {
                return Ok(next);
            }
            holds = next == Next::Hold;
            // What it has begotten here is queued before the next message: only then is known how much it was.
            self.take_own_letters();
            let Some(peer) = self.peers.peer(key) else { return Ok(Next::Read) };
            let opening = matches!(peer.state, State::Opening);
            if self.peers.mute(key.index) {
                return Ok(Next::Read);
            }
            if opening && let Some(link) = transport.link() {
                self.peers.set_link(key, link);
                self.await_handshake(key, now);
            }
        }
    }

    fn on_finished(&self, key: PeerKey) -> Next {
        match self.peers.peer(key).map(|peer| &peer.state) {
            Some(State::Opening) => Next::Finish(CloseReason::HttpAnswered),
            _ => Next::Finish(CloseReason::Closed),
        }
    }

    /// The peer broke a rule: ABORT where WAMP is spoken, the transport's own close, and then the end.
    fn on_violation(&mut self, key: PeerKey, transport: &mut Transport, violation: Violation, now: Instant) {
        if let Some(claim) = transport.foreign() {
            self.on_foreign(claim);
        }
        self.leave(key);
        // Nothing follows our GOODBYE, not even ABORT.
        let silent = self.peers.peer(key).is_some_and(|peer| matches!(peer.state, State::Leaving));
        if violation.is_told_with_abort() && !silent {
            self.send_abort(key, reason::PROTOCOL_VIOLATION, violation.text());
        }
        let reason = match violation {
            Violation::ConnectionLimit => CloseReason::ConnectionLimit,
            violation => CloseReason::Violation(violation),
        };
        self.finish(key, transport, (violation.close_code(), violation.text()), reason, now);
    }

    /// Ends a connection in good order: its session leaves, the transport says its last word, the rest is written.
    fn finish(
        &mut self,
        key: PeerKey,
        transport: &mut Transport,
        (close_code, close_text): (u16, &str),
        reason: CloseReason,
        now: Instant,
    ) {
        self.leave(key);
        self.peers.reply_with(key, |reply| transport.close(close_code, close_text, reply));
        self.peers.finish(key, reason, &mut self.timers, now);
    }

    /// The same for a peer whose transport is not in hand.
    fn finish_peer(&mut self, key: PeerKey, close: (u16, &str), reason: CloseReason, now: Instant) {
        let Some(mut transport) = self.peers.peer_mut(key).and_then(|peer| peer.transport.take()) else {
            return;
        };
        self.finish(key, &mut transport, close, reason, now);
    }

    // Messages.

    /// A message with containers that nobody else would read. Written plainly, it has none.
    #[cold]
    fn on_dialect(&mut self, key: PeerKey, bytes: &[u8], now: Instant) -> Result<Next, Violation> {
        let plain = codec::plain_ubjson(bytes).map_err(undecodable)?;
        self.on_message(key, &plain, now)
    }

    fn on_message(&mut self, key: PeerKey, bytes: &[u8], now: Instant) -> Result<Next, Violation> {
        let Some(peer) = self.peers.peer(key) else { return Ok(Next::Read) };
        let Some(link) = peer.link else { return Ok(Next::Read) };
        let message = match codec::decode(link.serializer, bytes) {
            Err(DecodeError::Dialect) => return self.on_dialect(key, bytes, now),
            decoded => decoded.map_err(undecodable),
        };
        match &peer.state {
            State::Opening | State::Finishing { .. } => Ok(Next::Read),
            State::Leaving => match message {
                Ok(Message::Goodbye(_) | Message::Abort(_)) => Ok(Next::Finish(CloseReason::Goodbye)),
                _ => Ok(Next::Read),
            },
            State::Idle => match message? {
                Message::Hello(hello) => self.on_hello(key, &hello, now),
                Message::Abort(_) => Ok(Next::Finish(CloseReason::Aborted)),
                _ => Err(Violation::OutOfSession),
            },
            State::Authenticating(_) => self.on_authenticating(key, &message?, now),
            State::Joined(session) => {
                let (realm, unrestricted) = (session.realm, session.unrestricted);
                self.peers.counters.messages_received += 1;
                let message = &message?;
                let admitted = self.admit(key, message)?;
                let arrived = Arrived { realm, unrestricted, message, bytes, admitted };
                match self.on_session_message(key, arrived, now)? {
                    Ok(next) => Ok(next),
                    Err(Unanswered) => self.ask(key, arrived, Vec::new(), now),
                }
            }
        }
    }

    /// The one switch over what a peer in a session may send.
    // Also called for messages that were held, which must not cost the others a call.
    #[inline(always)]
    fn on_session_message(
        &mut self,
        key: PeerKey,
        Arrived { realm, unrestricted, message, admitted, .. }: Arrived<'_>,
        now: Instant,
    ) -> Result<Result<Next, Unanswered>, Violation> {
        let (local, mut cx) = self.lend(realm);
        cx.unrestricted = unrestricted;
        let LocalRealm { broker, dealer, .. } = local;
        let granted = match message {
            Message::Call(call) if admitted == Admitted::Again => {
                return dealer.on_further_call(&mut cx, key, call).map(|()| READ);
            }
            Message::Call(call) if uri::reserved(&call.procedure) => {
                match dealer::call_options(&mut cx, key, call)? {
                    Ok(options) if options.progress => Err(Refusal::FeatureNotSupported),
                    Ok(_) => procedures::on_call(local, &mut cx, key, call),
                    Err(refusal) => Err(refusal),
                }
            }
            Message::Publish(publish) => broker.on_publish(&mut cx, key, publish)?,
            Message::Subscribe(subscribe) => broker.on_subscribe(&mut cx, key, subscribe),
            Message::Unsubscribe(unsubscribe) => broker.on_unsubscribe(&mut cx, key, unsubscribe),
            Message::Register(register) => dealer.on_register(&mut cx, key, register),
            Message::Unregister(unregister) => dealer.on_unregister(&mut cx, key, unregister),
            Message::Call(call) => dealer.on_call(&mut cx, key, call)?,
            Message::Cancel(cancel) => dealer.on_cancel(&mut cx, key, cancel),
            Message::Yield(yielded) => return dealer.on_yield(&mut cx, key, yielded).map(|()| READ),
            Message::Error(error) => return dealer.on_error(&mut cx, key, error).map(|()| READ),
            Message::Goodbye(goodbye) => return Ok(Ok(self.on_goodbye(key, goodbye, now))),
            Message::Abort(_) => return Ok(Ok(Next::Finish(CloseReason::Aborted))),
            Message::Hello(_) | Message::Authenticate(_) => return Err(Violation::OutOfSession),
            _ => return Err(Violation::UnexpectedMessage),
        };
        match granted {
            Err(_) if cx.authorizers.is_open() => return Ok(Err(Unanswered)),
            Err(refusal) => refuse(&mut cx, key, message, refusal),
            Ok(()) => {}
        }
        Ok(READ)
    }

    /// Holds the request id against the ones before it, where the message has one that counts.
    fn admit(&mut self, key: PeerKey, message: &Message<'_>) -> Result<Admitted, Violation> {
        let Some(request) = message.counted_request() else { return Ok(Admitted::New) };
        let Some(rule) = self.peers.peer(key).map(|peer| peer.request_ids) else { return Ok(Admitted::New) };
        let Some(session) = self.peers.session(key) else { return Ok(Admitted::New) };
        if matches!(message, Message::Call(_)) {
            return session.admit_call(request, rule);
        }
        session.admit(request, rule).map(|()| Admitted::New)
    }

    /// Takes the letters this shard has sent to itself and reaps the doomed, until there are none of either.
    fn settle(&mut self, now: Instant) {
        loop {
            while let Some((key, reason)) = self.peers.next_doomed() {
                self.leave(key);
                self.peers.drop_connection(key, reason, &mut self.timers);
            }
            if self.letters.outbox(self.index).is_empty() {
                break;
            }
            self.take_own_letters();
        }
        match self.drain {
            Drain::Calls { .. } if self.owes_nothing() => self.publish_testaments(now),
            Drain::Testaments { .. } if self.has_all_testaments() => self.say_goodbye_to_all(now),
            Drain::Goodbye { end } if self.peers.count() == 0 => {
                self.timers.cancel(end, Timer::DrainEnd);
                self.drain = Drain::Done;
            }
            _ => {}
        }
    }

    /// Takes the letters this shard has sent to itself so far, and those that they beget.
    fn take_own_letters(&mut self) {
        while !self.letters.outbox(self.index).is_empty() {
            let mut letters = std::mem::take(&mut self.own_letters);
            std::mem::swap(&mut letters, self.letters.outbox(self.index));
            for letter in letters.drain(..) {
                self.open_letter(letter);
            }
            self.own_letters = letters;
        }
    }
}

/// What breaks the protocol in octets that are no message.
#[cold]
fn undecodable(error: DecodeError) -> Violation {
    match error {
        DecodeError::BjData => Violation::BjData,
        _ => Violation::Undecodable,
    }
}
