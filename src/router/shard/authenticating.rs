//! What a shard does about who a client is: the way from HELLO to the session, or to ABORT.
//!
//! A peer that was asked something is *authenticating*: nothing but AUTHENTICATE or ABORT may come from it, once, and
//! in time. Its answer is judged at once, or, if that costs too much, by whoever drives the shard, who takes it with
//! [`Shard::checks`] and gives the result back with [`Shard::checked`].

use std::sync::Arc;
use std::time::Instant;

use super::drain::Drain;
use super::{Next, Shard, browsers};
use crate::error::{CloseReason, JoinFailure, Violation};
use crate::limits::Limits;
use crate::origin::Origin;
use crate::router::authentication::{
    self, Answer, Browser, Check, Checked, Claim, Failed, Outcome, Place, Proved, Refused, Step,
};
use crate::router::authorization::dynamic::Cause;
use crate::router::peer::{Peer, Sent, State};
use crate::router::session::{Admission, Map, Pending};
use crate::router::timers::Timer;
use crate::router::{PeerKey, RealmSettings, Router};
use crate::wamp::message::{Authenticate, Challenge};
use crate::wamp::{Message, reason};

/// Failures that are kept for whoever tells them; those beyond are only counted.
const FAILED_MAX: usize = 64;

/// What is to be done about those who are not in a session yet.
#[derive(Debug, Default)]
pub(super) struct Logins {
    /// Tickets to be compared.
    checks: Vec<Check>,
    /// Whose tickets are being compared. Those who leave meanwhile are found here.
    waiting: Map<PeerKey, Waiting>,
    /// What has failed, to be told.
    failed: Vec<Failed>,
}

/// Somebody whose ticket is being compared.
#[derive(Debug)]
struct Waiting {
    origin: Arc<Origin>,
    realm: String,
    authid: Option<Box<str>>,
    authmethod: Option<&'static str>,
    /// What it is told if the ticket is not its own.
    wrong: Refused,
}

impl Logins {
    /// True if nobody waits for anything.
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty() && self.waiting.is_empty()
    }
}

impl Shard {
    /// Takes what is to be compared for peers here and takes long. Each must come back by [`Shard::checked`], declined
    /// if there is too much of it; the time for it is that of the challenge.
    pub fn checks(&mut self, into: &mut Vec<Check>) {
        into.append(&mut self.logins.checks);
    }

    /// What came of a check. If the peer has left, it is only told to the operator.
    pub fn checked(&mut self, checked: Checked, now: Instant) {
        self.now = now;
        let Checked { key, outcome } = checked;
        let Some(waiting) = self.logins.waiting.remove(&key) else { return };
        let pending = match self.peers.peer(key).map(|peer| &peer.state) {
            Some(State::Authenticating(pending)) if pending.checking.is_some() => pending,
            _ => return self.on_checked_late(waiting, outcome),
        };
        let answer = pending.attempt.checked(outcome);
        if let Next::Finish(reason) = self.conclude(key, answer, now) {
            self.finish_peer(key, (1000, ""), reason, now);
        }
        self.settle(now);
    }

    /// Who waited for it has left.
    fn on_checked_late(&mut self, waiting: Waiting, outcome: Outcome) {
        let Waiting { origin, realm, authid, authmethod, wrong } = waiting;
        let refused = match outcome {
            Outcome::Right => return,
            Outcome::Wrong => wrong,
            Outcome::TooMany => JoinFailure::TooMany.into(),
            Outcome::Unavailable => JoinFailure::Left.into(),
        };
        let Refused { failure, token, .. } = refused;
        self.tell_failed(Failed { origin, realm, authid, authmethod, failure, token, cause: None });
    }

    /// Takes what has failed since, to be told to the operator.
    pub fn failed(&mut self, into: &mut Vec<Failed>) {
        into.append(&mut self.logins.failed);
    }

    /// Who has said HELLO is to prove who it is, if it must.
    pub(super) fn authenticate(
        &mut self,
        key: PeerKey,
        admission: Admission,
        claim: Claim,
        now: Instant,
    ) -> Next {
        let authid = claim.authid.clone();
        let Shard { router, peers, entropy, .. } = self;
        let Some(peer) = peers.peer(key) else { return Next::Read };
        let place = place(router, peer, &admission.realm, now);
        let step = authentication::begin(claim, &place, entropy);
        self.take_step(key, admission, authid, step, now)
    }

    /// Lets it in, asks it, asks somebody about it, or turns it away.
    pub(super) fn take_step(
        &mut self,
        key: PeerKey,
        admission: Admission,
        authid: Option<Box<str>>,
        step: Step,
        now: Instant,
    ) -> Next {
        match step {
            Step::Join(proved) => self.let_in(key, &admission, &proved, now),
            Step::Challenge(attempt) => {
                self.challenge(key, Pending { admission, attempt, checking: None }, now)
            }
            Step::Ask(question) => self.ask_authenticator(key, admission, *question),
            Step::Refuse(refused) => self.turn_away(key, &admission.realm, authid, None, refused),
        }
    }

    /// CHALLENGE
    fn challenge(&mut self, key: PeerKey, pending: Pending, now: Instant) -> Next {
        let settings = &self.router.settings.authentication;
        let peers = &mut self.peers;
        let sent = pending.attempt.say_challenge(settings, |authmethod, extra| {
            let challenge = Challenge { authmethod: authmethod.into(), extra };
            peers.send_outside(key, &Message::Challenge(challenge))
        });
        if sent == Sent::TooLarge {
            self.send_abort(key, reason::PAYLOAD_SIZE_EXCEEDED, "CHALLENGE is too large for this peer.");
            return Next::Finish(CloseReason::Aborted);
        }
        let at = now + Limits::ms(settings.challenge_ms_max);
        if let Some(peer) = self.peers.peer_mut(key) {
            peer.state = State::Authenticating(Box::new(pending));
        }
        self.peers.set_deadline(key, Timer::Handshake(key), at, &mut self.timers);
        Next::Read
    }

    /// What a peer may send that was asked something.
    pub(super) fn on_authenticating(
        &mut self,
        key: PeerKey,
        message: &Message<'_>,
        now: Instant,
    ) -> Result<Next, Violation> {
        match message {
            Message::Authenticate(answer) => self.on_authenticate(key, answer, now),
            Message::Abort(_) => Ok(Next::Finish(CloseReason::Aborted)),
            _ => Err(Violation::OutOfSession),
        }
    }

    fn on_authenticate(
        &mut self,
        key: PeerKey,
        answer: &Authenticate<'_>,
        now: Instant,
    ) -> Result<Next, Violation> {
        let Some(peer) = self.peers.peer(key) else { return Ok(Next::Read) };
        let State::Authenticating(pending) = &peer.state else { return Ok(Next::Read) };
        if pending.checking.is_some() {
            return Err(Violation::OutOfSession);
        }
        let realm = &pending.admission.realm;
        let answer = pending.attempt.answer(key, answer, &place(&self.router, peer, realm, now));
        Ok(self.conclude(key, answer, now))
    }

    fn conclude(&mut self, key: PeerKey, answer: Answer, now: Instant) -> Next {
        let Some(peer) = self.peers.peer_mut(key) else { return Next::Read };
        let State::Authenticating(pending) = &mut peer.state else { return Next::Read };
        let admission = pending.admission.clone();
        let claimed = (pending.attempt.claim().authid.clone(), Some(pending.attempt.authmethod()));
        match answer {
            Answer::Join(proved) => self.let_in(key, &admission, &proved, now),
            Answer::Check(mut check) => {
                pending.checking = Some(check.wait());
                let wrong = match pending.attempt.checked(Outcome::Wrong) {
                    Answer::Refuse(refused) => refused,
                    _ => JoinFailure::WrongSecret.into(),
                };
                let (authid, authmethod) = claimed;
                let realm = admission.realm.name.clone();
                let waiting = Waiting { origin: peer.origin.clone(), realm, authid, authmethod, wrong };
                self.logins.waiting.insert(key, waiting);
                self.logins.checks.push(check);
                Next::Read
            }
            Answer::Ask(question) => self.ask_authenticator(key, admission, *question),
            Answer::Refuse(refused) => self.turn_away(key, &admission.realm, claimed.0, claimed.1, refused),
        }
    }

    /// WELCOME
    pub(super) fn let_in(
        &mut self,
        key: PeerKey,
        admission: &Admission,
        proved: &Proved,
        now: Instant,
    ) -> Next {
        if self.drain != Drain::No {
            self.send_abort(key, reason::SYSTEM_SHUTDOWN, "The router is shutting down.");
            return Next::Finish(CloseReason::Aborted);
        }
        match self.join(key, admission, proved) {
            Ok(Sent::Queued) => {
                self.remember_browser(key, admission, proved);
                self.await_silence(key, now);
                return Next::Read;
            }
            Ok(_) => {
                // A RawSocket peer may announce to take less than WELCOME is.
                self.leave(key);
                self.send_abort(key, reason::PAYLOAD_SIZE_EXCEEDED, "WELCOME is too large for this peer.");
            }
            Err(shut) => self.shut_out(key, &admission.realm, proved, shut),
        }
        Next::Finish(CloseReason::Aborted)
    }

    /// ABORT. It is counted, told, and held against the source, if it may have been a guess.
    pub(super) fn turn_away(
        &mut self,
        key: PeerKey,
        realm: &RealmSettings,
        authid: Option<Box<str>>,
        authmethod: Option<&'static str>,
        refused: Refused,
    ) -> Next {
        let failure = refused.failure;
        self.note_failure(key, realm, (authid, authmethod), refused, None);
        self.send_abort(key, failure.reason(), failure.message());
        Next::Finish(CloseReason::Aborted)
    }

    /// Counts who does not join, and remembers it for the log.
    pub(super) fn note_failure(
        &mut self,
        key: PeerKey,
        realm: &RealmSettings,
        (authid, authmethod): (Option<Box<str>>, Option<&'static str>),
        refused: Refused,
        cause: Option<Cause>,
    ) {
        let Some(peer) = self.peers.peer(key) else { return };
        place(&self.router, peer, realm, self.now).count(refused);
        let Refused { failure, token, .. } = refused;
        let (origin, realm) = (peer.origin.clone(), realm.name.clone());
        self.tell_failed(Failed { origin, realm, authid, authmethod, failure, token, cause });
    }

    fn tell_failed(&mut self, failed: Failed) {
        *self.peers.counters.authentications_failed.entry(failed.failure).or_default() += 1;
        if self.logins.failed.len() < FAILED_MAX {
            self.logins.failed.push(failed);
        }
    }

    /// Nobody has answered in time, or has had the time to look at the answer.
    pub(super) fn on_answer_late(&mut self, key: PeerKey, now: Instant) {
        let Some(State::Authenticating(pending)) = self.peers.peer(key).map(|peer| &peer.state) else {
            return;
        };
        let failure = if pending.checking.is_some() { JoinFailure::Unavailable } else { JoinFailure::Late };
        let (realm, authid) = (pending.admission.realm.clone(), pending.attempt.claim().authid.clone());
        let authmethod = pending.attempt.authmethod();
        self.logins.waiting.remove(&key);
        self.turn_away(key, &realm, authid, Some(authmethod), failure.into());
        self.finish_peer(key, (1000, ""), CloseReason::HandshakeTimeout, now);
    }
}

/// Where a peer tries to join.
pub(super) fn place<'a>(
    router: &'a Router,
    peer: &'a Peer,
    realm: &'a RealmSettings,
    now: Instant,
) -> Place<'a> {
    Place {
        router: &router.settings.authentication,
        realm: &realm.authentication,
        roles: &realm.roles,
        access: &router.settings.listeners[peer.listener.0 as usize].access,
        origin: &peer.origin,
        failures: &router.failures,
        browser: browsers::cookie(peer).map(|cookie| Browser {
            cookie,
            cookies: &router.cookies,
            realm: &realm.name,
            roles: &realm.roles,
        }),
        now,
        unix_ms: router.clock.unix_ms(now),
    }
}
