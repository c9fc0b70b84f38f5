//! A registration: who answers calls of a procedure, and whose turn it is (advanced profile, "Shared Registration").
//!
//! A registration does not change. Who comes and goes makes a new one of the same id, whose rotation goes on where the
//! one before it was; all shards take turns from the one that is current. A shard that has looked up the old one just
//! before it was replaced may take a turn of that one still: it is a call that came at the same time as the change.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::letter::CallKey;
use super::super::{PeerKey, ShardIndex};
use super::workload::{Workload, below};
use super::{UnixMs, Wanted};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::wamp::options::InvocationPolicy;
use crate::wamp::{MatchPolicy, RegistrationId, SessionId};

/// Who answers calls of a registration, and where.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Callee {
    /// The shard that owns the peer.
    pub shard: ShardIndex,
    /// The peer there.
    pub peer: PeerKey,
    /// Its session.
    pub session: SessionId,
    /// Which of the registerings in its shard made it one: who unregisters and registers again takes no call that was
    /// on its way to it before, since that is counted where it was, or nowhere.
    pub membership: u32,
}

/// The callees of a registration that were asked to take a call, and could not. None of them is asked again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Asked {
    sessions: BTreeSet<SessionId>,
    last: Option<SessionId>,
}

impl Asked {
    /// True if nobody was asked.
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// True if this one was asked.
    pub fn contains(&self, callee: &Callee) -> bool {
        self.sessions.contains(&callee.session)
    }

    /// The place behind the callee that was asked last; the first, if that one has left meanwhile.
    pub(super) fn behind_last(&self, place: impl Fn(SessionId) -> Option<usize>) -> usize {
        self.last.and_then(place).map_or(0, |place| place + 1)
    }
}

impl Extend<Callee> for Asked {
    fn extend<I: IntoIterator<Item = Callee>>(&mut self, callees: I) {
        for callee in callees {
            self.sessions.insert(callee.session);
            self.last = Some(callee.session);
        }
    }
}

/// A registration as it was at one moment; a change makes a new one.
#[derive(Debug)]
pub struct Registration {
    /// Unique in the realm for as long as the router runs.
    pub id: RegistrationId,
    /// The URI or pattern that was registered.
    pub procedure: Box<str>,
    /// How `procedure` is matched.
    pub policy: MatchPolicy,
    /// Who of the callees is called.
    pub invoke: InvocationPolicy,
    /// When the first callee registered.
    pub created: UnixMs,
    /// In the order in which they registered; never empty.
    pub callees: Vec<Callee>,
    /// A callee that is or was among them has announced `call_reroute`, and there may be others to ask.
    pub reroutes: bool,
    /// What its callees have to do, if that is counted. It is the same for all that follow it.
    pub workload: Option<Arc<Workload>>,
    /// Turns taken. The next callee in turn is at this place, modulo how many there are.
    turns: AtomicU64,
}

impl Registration {
    /// With its first callee.
    pub(super) fn new(id: RegistrationId, wanted: &Wanted<'_>, callee: Callee) -> Registration {
        let Wanted { procedure, policy, invoke, now, .. } = *wanted;
        let registration = Registration {
            id,
            procedure: procedure.into(),
            policy,
            invoke,
            created: now,
            callees: Vec::new(),
            reroutes: false,
            workload: invoke.counts().then(|| Arc::new(Workload::new(id, invoke, &[], 0))),
            turns: AtomicU64::new(0),
        };
        registration.joined(callee, wanted)
    }

    /// With one callee more. Who has just had the last place's turn is followed by the newcomer.
    pub(super) fn joined(&self, callee: Callee, wanted: &Wanted<'_>) -> Registration {
        let mut joined = self.with(self.callees.clone(), self.turn());
        if joined.workload.is_none() && wanted.concurrency.is_some() {
            let workload = Workload::new(self.id, self.invoke, &self.callees, self.turn());
            joined.workload = Some(Arc::new(workload));
        }
        if let Some(workload) = &joined.workload {
            workload.join(callee, wanted.concurrency);
        }
        joined.reroutes |= wanted.reroutes && self.invoke != InvocationPolicy::Single;
        joined.callees.push(callee);
        joined
    }

    /// Without the callee at this place; `None` if it was the last. And the calls that have waited for it alone.
    pub(super) fn left(&self, place: usize) -> (Option<Registration>, Vec<CallKey>) {
        let mut callees = self.callees.clone();
        let callee = callees.remove(place);
        if callees.is_empty() {
            return (None, Vec::new());
        }
        let workload = self.workload.as_ref();
        let stranded = workload.map_or_else(Vec::new, |workload| workload.leave(callee.session));
        let turn = self.turn();
        let turn = if place < turn { turn - 1 } else { turn };
        (Some(self.with(callees, turn)), stranded)
    }

    /// The place after the one that had the last turn: the next turn's, or behind the last place.
    fn turn(&self) -> usize {
        match self.turns.load(Ordering::Relaxed) {
            0 => 0,
            taken => ((taken - 1) % self.callees.len() as u64) as usize + 1,
        }
    }

    fn with(&self, callees: Vec<Callee>, turn: usize) -> Registration {
        let Registration { id, policy, invoke, created, reroutes, .. } = *self;
        let procedure = self.procedure.clone();
        let (workload, turns) = (self.workload.clone(), AtomicU64::new(turn as u64));
        Registration { id, procedure, policy, invoke, created, callees, reroutes, workload, turns }
    }

    /// Where a session stands among the callees.
    pub fn place(&self, session: SessionId) -> Option<usize> {
        self.callees.iter().position(|callee| callee.session == session)
    }

    /// The callee of the next call, where it does not depend on what they have to do; `draw` is the chance for it.
    pub fn choose(&self, draw: impl FnOnce() -> u32) -> Callee {
        let count = self.callees.len();
        let place = match self.invoke {
            InvocationPolicy::Last => count - 1,
            InvocationPolicy::Random => below(draw(), count),
            InvocationPolicy::RoundRobin => {
                (self.turns.fetch_add(1, Ordering::Relaxed) % count as u64) as usize
            }
            InvocationPolicy::Single
            | InvocationPolicy::First
            // These two have a workload, which chooses.
            | InvocationPolicy::LeastOpen
            | InvocationPolicy::PowerOfTwo => 0,
        };
        self.callees[place]
    }

    /// The callee of a call that those who were asked could not take, as if they were not there (advanced profile,
    /// "Call Re-Routing"), where it does not depend on what they have to do. `None` if all were asked. It is nobody's
    /// turn: the next call has the callee that it would have had.
    pub fn choose_other(&self, asked: &Asked, draw: u32) -> Option<Callee> {
        let count = self.callees.len();
        let open = |place: &usize| !asked.contains(&self.callees[*place]);
        let place = match self.invoke {
            InvocationPolicy::First => (0..count).find(open),
            InvocationPolicy::Last => (0..count).rfind(open),
            InvocationPolicy::Random => {
                let bound = (0..count).filter(open).count();
                (0..count).filter(open).nth(below(draw, bound))
            }
            InvocationPolicy::RoundRobin
            | InvocationPolicy::Single
            | InvocationPolicy::LeastOpen
            | InvocationPolicy::PowerOfTwo => {
                let from = asked.behind_last(|session| self.place(session));
                (from..count).chain(0..from).find(open)
            }
        };
        place.map(|place| self.callees[place])
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn callee(number: u64) -> Callee {
        let peer = PeerKey { index: number as u32, serial: 0 };
        Callee { shard: ShardIndex(0), peer, session: SessionId(number), membership: 0 }
    }

    fn registration(invoke: InvocationPolicy, callees: u64) -> Registration {
        let (procedure, policy) = ("p", MatchPolicy::Exact);
        let wanted = Wanted {
            concurrency: None,
            force: false,
            reroutes: true,
            callees_max: 9,
            now: 0,
            procedure,
            policy,
            invoke,
        };
        let first = Registration::new(RegistrationId(1), &wanted, callee(0));
        (1..callees).fold(first, |registration, number| registration.joined(callee(number), &wanted))
    }

    /// Who is asked after `first`, one after the other, until there is nobody else.
    fn asked_after(registration: &Registration, first: u64, draw: u32) -> Vec<u64> {
        let mut asked = Asked::default();
        let mut numbers = vec![first];
        asked.extend([callee(first)]);
        while let Some(next) = registration.choose_other(&asked, draw) {
            asked.extend([next]);
            numbers.push(next.session.0);
        }
        numbers
    }

    #[test]
    fn each_callee_is_asked_once_and_as_the_policy_says() {
        let (half, most) = (1 << 31, u32::MAX);
        for (invoke, first, draw, order) in [
            (InvocationPolicy::First, 0, 0, [0, 1, 2, 3]),
            (InvocationPolicy::Last, 3, 0, [3, 2, 1, 0]),
            (InvocationPolicy::RoundRobin, 0, 0, [0, 1, 2, 3]),
            (InvocationPolicy::RoundRobin, 2, 0, [2, 3, 0, 1]),
            (InvocationPolicy::Random, 1, 0, [1, 0, 2, 3]),
            (InvocationPolicy::Random, 1, half, [1, 2, 3, 0]),
            (InvocationPolicy::Random, 1, most, [1, 3, 2, 0]),
        ] {
            assert_eq!(asked_after(&registration(invoke, 4), first, draw), order, "{invoke:?}");
        }
        assert_eq!(asked_after(&registration(InvocationPolicy::Single, 1), 0, 0), [0]);
    }

    #[test]
    fn who_has_left_after_being_asked_is_followed_by_the_first() {
        let registration = registration(InvocationPolicy::RoundRobin, 3);
        let mut asked = Asked::default();
        asked.extend([callee(0), callee(9)]);
        assert_eq!(registration.choose_other(&asked, 0), Some(callee(1)));
    }

    #[test]
    fn whose_turn_it_is_does_not_change() {
        let registration = registration(InvocationPolicy::RoundRobin, 3);
        assert_eq!(registration.choose(|| 0), callee(0));
        assert_eq!(asked_after(&registration, 0, 0), [0, 1, 2]);
        assert_eq!(registration.choose(|| 0), callee(1));
    }
}
