//! A registration: who answers calls of a procedure, and whose turn it is (advanced profile, "Shared Registration").
//!
//! A registration does not change. Who comes and goes makes a new one of the same id, whose rotation goes on where the
//! one before it was; all shards take turns from the one that is current. A shard that has looked up the old one just
//! before it was replaced may take a turn of that one still: it is a call that came at the same time as the change.

use super::super::{PeerKey, ShardIndex};
use super::UnixMs;
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
    /// Turns taken. The next callee in turn is at this place, modulo how many there are.
    turns: AtomicU64,
}

impl Registration {
    /// With its first callee.
    pub(super) fn new(
        id: RegistrationId,
        procedure: &str,
        policy: MatchPolicy,
        invoke: InvocationPolicy,
        created: UnixMs,
        callee: Callee,
    ) -> Registration {
        let procedure = procedure.into();
        let turns = AtomicU64::new(0);
        Registration { id, procedure, policy, invoke, created, callees: vec![callee], turns }
    }

    /// With one callee more. Who has just had the last place's turn is followed by the newcomer.
    pub(super) fn joined(&self, callee: Callee) -> Registration {
        let callees = self.callees.iter().copied().chain([callee]).collect();
        self.with(callees, self.turn())
    }

    /// Without the callee at this place; `None` if it was the last.
    pub(super) fn left(&self, place: usize) -> Option<Registration> {
        let mut callees = self.callees.clone();
        callees.remove(place);
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
        Registration { id, procedure, policy, invoke, created, callees, turns: AtomicU64::new(turn as u64) }
    }

    /// Where a session stands among the callees.
    pub fn place(&self, session: SessionId) -> Option<usize> {
        self.callees.iter().position(|callee| callee.session == session)
    }

    /// The place of the callee whose turn it is; the next call is the next one's.
    pub fn take_turn(&self) -> usize {
        (self.turns.fetch_add(1, Ordering::Relaxed) % self.callees.len() as u64) as usize
    }
}
