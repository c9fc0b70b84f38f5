//! A registration: who answers calls of a procedure, and whose turn it is (advanced profile, "Shared Registration").
//!
//! A registration does not change. Who comes and goes makes a new one of the same id, whose rotation goes on where the
//! one before it was; all shards take turns from the one that is current. A shard that has looked up the old one just
//! before it was replaced may take a turn of that one still: it is a call that came at the same time as the change.

use std::num::NonZeroU32;
use std::sync::Arc;

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
            workload: invoke.counts().then(|| Arc::new(Workload::new(invoke, &[], 0))),
            turns: AtomicU64::new(0),
        };
        registration.joined(callee, wanted.concurrency)
    }

    /// With one callee more. Who has just had the last place's turn is followed by the newcomer.
    pub(super) fn joined(&self, callee: Callee, open_max: Option<NonZeroU32>) -> Registration {
        let mut joined = self.with(self.callees.clone(), self.turn());
        if joined.workload.is_none() && open_max.is_some() {
            let workload = Workload::new(self.invoke, &self.callees, self.turn());
            joined.workload = Some(Arc::new(workload));
        }
        if let Some(workload) = &joined.workload {
            workload.join(callee, open_max);
        }
        joined.callees.push(callee);
        joined
    }

    /// Without the callee at this place; `None` if it was the last.
    pub(super) fn left(&self, place: usize) -> Option<Registration> {
        let mut callees = self.callees.clone();
        let callee = callees.remove(place);
        if let Some(workload) = &self.workload {
            workload.leave(callee.session);
        }
        let turn = self.turn();
        let turn = if place < turn { turn - 1 } else { turn };
        (!callees.is_empty()).then(|| self.with(callees, turn))
    }

    /// The place after the one that had the last turn: the next turn's, or behind the last place.
    fn turn(&self) -> usize {
        match self.turns.load(Ordering::Relaxed) {
            0 => 0,
            taken => ((taken - 1) % self.callees.len() as u64) as usize + 1,
        }
    }

    fn with(&self, callees: Vec<Callee>, turn: usize) -> Registration {
        let Registration { id, policy, invoke, created, .. } = *self;
        let procedure = self.procedure.clone();
        let (workload, turns) = (self.workload.clone(), AtomicU64::new(turn as u64));
        Registration { id, procedure, policy, invoke, created, callees, workload, turns }
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
}
