//! What one shard cannot know or do: one letter goes round the shards that can, gathers, and ends at the caller's,
//! which answers (advanced profile, "Session Meta API", "Subscription Meta API", "Registration Meta API").
//!
//! ```text
//!   caller's shard             the others of the set, in order        caller's shard
//!   on_call   -- Round -->     visit   -- Round -->   visit   -->     visit, RESULT
//! ```
//!
//! No table waits for it: the letter is all there is, and if the caller has left meanwhile nobody is answered. Its
//! session counts the rounds under way among its open calls, so that they are bounded as those are. What the letter has
//! gathered counts in the mailboxes' bounds.

use super::procedures::{self, list};
use crate::codec::payload::OwnedPayload;
use crate::error::Refusal;
use crate::router::authorization::dynamic::Purge;
use crate::router::letter::Letter;
use crate::router::realm::Member;
use crate::router::shard::LocalRealm;
use crate::router::{Context, PeerKey, RealmKey, ShardIndex, arguments};
use crate::wamp::{RegistrationId, RequestId, SessionId, SubscriptionId, Value};

/// The letter.
#[derive(Debug)]
pub struct Round {
    /// The realm of it all.
    pub realm: RealmKey,
    caller: Caller,
    /// The shards that it has yet to visit.
    shards: u64,
    /// What it goes round for.
    pub errand: Errand,
}

/// Who waits for the answer.
#[derive(Debug)]
struct Caller {
    shard: ShardIndex,
    peer: PeerKey,
    session: SessionId,
    request: RequestId,
}

/// What a letter goes round for, and what it has gathered.
#[derive(Debug)]
pub enum Errand {
    /// `wamp.session.kill` and its sisters.
    Kill {
        /// Who is to go, by growing identifier.
        victims: Vec<Member>,
        /// What they are told.
        farewell: Farewell,
        /// Who is gone.
        killed: Vec<SessionId>,
        /// What the caller is told.
        told: Told,
    },
    /// `wamp.subscription.list_subscribers`
    #[allow(missing_docs)]
    ListSubscribers { subscription: SubscriptionId, sessions: Vec<SessionId> },
    /// `wamp.subscription.count_subscribers`
    #[allow(missing_docs)]
    CountSubscribers { subscription: SubscriptionId, count: u64 },
    /// `wamp.subscription.remove_subscriber`
    #[allow(missing_docs)]
    RemoveSubscriber {
        subscription: SubscriptionId,
        subscriber: Member,
        reason: Option<Box<str>>,
        removed: bool,
    },
    /// `wamp.registration.remove_callee`
    #[allow(missing_docs)]
    RemoveCallee { registration: RegistrationId, callee: Member, reason: Option<Box<str>>, removed: bool },
    /// `wamp.authorization.purge`
    #[allow(missing_docs)]
    PurgeVerdicts { purge: Purge, count: u64 },
}

/// The last word to a killed session.
#[derive(Debug)]
pub struct Farewell {
    /// `GOODBYE.Reason`
    pub reason: Box<str>,
    /// `GOODBYE.Details.message`
    pub message: Option<Box<str>>,
}

/// What the caller of a killing procedure is told. The specification's text differs from one to the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// Nothing, or that there was no such session.
    Nothing,
    /// How many were killed.
    Count,
    /// Which were killed.
    List,
}

impl Round {
    /// Sends the letter on its way.
    pub(super) fn begin(
        cx: &mut Context<'_>,
        key: PeerKey,
        request: RequestId,
        shards: u64,
        errand: Errand,
    ) -> Result<(), Refusal> {
        let limits = &cx.router.settings.limits;
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        let open = session.calls.count() + session.rounds_open as usize;
        if cx.draining || open >= limits.calls_open_per_session_max {
            return Err(Refusal::Unavailable);
        }
        session.rounds_open += 1;
        *cx.rounds_open += 1;
        let caller = Caller { shard: cx.index, peer: key, session: session.id, request };
        let round = Round { realm: session.realm, caller, shards, errand };
        round.post(cx);
        Ok(())
    }

    /// True if this shard is one of those it goes to, which it is only once.
    pub(in crate::router) fn visits(&mut self, shard: ShardIndex) -> bool {
        let visits = self.shards & bit(shard) != 0;
        self.shards &= !bit(shard);
        visits
    }

    /// Sends it to the next shard, or answers the caller.
    pub(in crate::router) fn go_on(self, cx: &mut Context<'_>) {
        let Caller { shard, peer, session, request } = self.caller;
        if self.shards != 0 || shard != cx.index {
            return self.post(cx);
        }
        let Some(caller) = cx.peers.session(peer).filter(|caller| caller.id == session) else { return };
        caller.rounds_open -= 1;
        *cx.rounds_open -= 1;
        match self.errand.result() {
            Ok(result) => procedures::answer(cx, peer, request, &result),
            Err(refusal) => cx.refuse_call(peer, request, refusal),
        }
    }

    fn post(self, cx: &mut Context<'_>) {
        cx.letters.post(self.next(), Letter::Round(Box::new(self)));
    }

    /// The first shard that is left; the caller's comes last, because it answers.
    fn next(&self) -> ShardIndex {
        match self.shards & !bit(self.caller.shard) {
            0 => self.caller.shard,
            others => ShardIndex(others.trailing_zeros() as u8),
        }
    }
}

impl Errand {
    /// Does what is to be done in this shard. Killing is the shard's own: it ends sessions.
    pub(in crate::router) fn visit(&mut self, realm: &mut LocalRealm, cx: &mut Context<'_>) {
        let LocalRealm { shared, broker, dealer, .. } = realm;
        match self {
            Errand::Kill { .. } => {}
            Errand::ListSubscribers { subscription, sessions } => {
                sessions.extend(broker.subscribers(cx, *subscription));
            }
            Errand::CountSubscribers { subscription, count } => {
                *count += broker.subscriber_count(*subscription) as u64;
            }
            Errand::RemoveSubscriber { subscription, subscriber, reason, removed } => {
                *removed = broker.revoke(cx, subscriber, *subscription, reason.as_deref());
            }
            Errand::RemoveCallee { registration, callee, reason, removed } => {
                let session = callee.identity.session;
                *removed = dealer.revoke(cx, *registration, session, reason.as_deref()).is_ok();
            }
            Errand::PurgeVerdicts { purge, count } => *count += cx.authorizers.purge(shared.key, purge),
        }
    }

    /// What the caller is told at the end. Lists are by growing identifier.
    fn result(self) -> Result<OwnedPayload, Refusal> {
        let sorted = |mut sessions: Vec<SessionId>| {
            sessions.sort_unstable();
            list(sessions.into_iter().map(|session| session.0))
        };
        let count = |count: u64| arguments(&[Value::Unsigned(count)]);
        match self {
            Errand::Kill { killed, told: Told::Nothing, .. } if killed.is_empty() => {
                Err(Refusal::NoSuchSession)
            }
            Errand::Kill { told: Told::Nothing, .. } => Ok(OwnedPayload::EMPTY),
            Errand::Kill { killed, told: Told::Count, .. } => Ok(count(killed.len() as u64)),
            Errand::Kill { killed, told: Told::List, .. } => Ok(sorted(killed)),
            Errand::ListSubscribers { sessions, .. } => Ok(sorted(sessions)),
            Errand::CountSubscribers { count: number, .. } | Errand::PurgeVerdicts { count: number, .. } => {
                Ok(count(number))
            }
            Errand::RemoveSubscriber { removed: false, .. } => Err(Refusal::NoSuchSubscription),
            Errand::RemoveCallee { removed: false, .. } => Err(Refusal::NoSuchRegistration),
            Errand::RemoveSubscriber { .. } | Errand::RemoveCallee { .. } => Ok(OwnedPayload::EMPTY),
        }
    }

    /// Octets it stands for in a mailbox.
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        match self {
            Errand::Kill { victims, farewell, killed, .. } => {
                size_of_val(&**victims) + size_of_val(&**killed) + text(&farewell.message)
            }
            Errand::ListSubscribers { sessions, .. } => size_of_val(&**sessions),
            Errand::CountSubscribers { .. } => 0,
            Errand::PurgeVerdicts { purge, .. } => text(&purge.authrole) + text(&purge.uri),
            Errand::RemoveSubscriber { reason, .. } | Errand::RemoveCallee { reason, .. } => text(reason),
        }
    }
}

/// The shards of these sessions, as a set.
pub(super) fn shards_of(members: &[Member]) -> u64 {
    members.iter().fold(0, |shards, member| shards | bit(member.shard))
}

fn bit(shard: ShardIndex) -> u64 {
    1 << shard.0
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::codec;

    fn json(payload: &OwnedPayload) -> String {
        let payload = codec::payload::transcode(payload.borrow(), crate::wamp::Serializer::Json).unwrap();
        String::from_utf8(payload.borrow().bytes().to_vec()).unwrap()
    }

    fn kill(killed: &[u64], told: Told) -> Errand {
        let farewell = Farewell { reason: "wamp.close.killed".into(), message: Some("Go.".into()) };
        let killed = killed.iter().copied().map(SessionId).collect();
        Errand::Kill { victims: Vec::new(), farewell, killed, told }
    }

    #[test]
    fn a_letter_visits_each_shard_once_and_the_callers_last() {
        let caller = Caller {
            shard: ShardIndex(1),
            peer: PeerKey { index: 0, serial: 0 },
            session: SessionId(1),
            request: RequestId(1),
        };
        let errand = Errand::CountSubscribers { subscription: SubscriptionId(1), count: 0 };
        let mut round = Round { realm: RealmKey::FIRST, caller, shards: 0b1011, errand };
        for shard in [0, 3, 1] {
            assert_eq!(round.next(), ShardIndex(shard));
            assert!(round.visits(ShardIndex(shard)) && !round.visits(ShardIndex(shard)));
        }
        assert_eq!((round.next(), round.shards), (ShardIndex(1), 0), "the caller is answered");
        assert!(!round.visits(ShardIndex(2)), "no shard that is not one of its set");
    }

    #[test]
    fn results_are_those_of_each_procedure() {
        assert_eq!(kill(&[], Told::Nothing).result().unwrap_err(), Refusal::NoSuchSession);
        assert_eq!(kill(&[7], Told::Nothing).result().unwrap().borrow().elements(), 0);
        assert_eq!(json(&kill(&[9, 7], Told::Count).result().unwrap()), "[2]");
        assert_eq!(json(&kill(&[9, 7], Told::List).result().unwrap()), "[[7,9]]");
        assert_eq!(json(&kill(&[], Told::List).result().unwrap()), "[[]]");
        let subscription = SubscriptionId(1);
        let sessions = vec![SessionId(3), SessionId(2)];
        assert_eq!(json(&Errand::ListSubscribers { subscription, sessions }.result().unwrap()), "[[2,3]]");
        assert_eq!(json(&Errand::CountSubscribers { subscription, count: 5 }.result().unwrap()), "[5]");
    }

    #[test]
    fn what_is_gathered_counts_in_the_mailbox() {
        let subscription = SubscriptionId(1);
        let sessions = vec![SessionId(1); 100];
        assert_eq!(Errand::ListSubscribers { subscription, sessions }.bytes(), 800);
        assert_eq!(kill(&[1, 2], Told::List).bytes(), 16 + 3);
    }
}
