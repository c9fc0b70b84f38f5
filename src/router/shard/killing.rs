//! Letters that go round the shards, and ending sessions by the will of others (advanced profile, "Session Meta API").

use super::Shard;
use crate::router::meta::round::{Errand, Farewell, Round};
use crate::router::realm::Member;
use crate::wamp::message::Goodbye;
use crate::wamp::{Dict, SessionId, Value};

impl Shard {
    /// A letter of a meta procedure comes by.
    pub(super) fn on_round(&mut self, mut round: Round) {
        if round.visits(self.index) {
            let (realm, mut cx) = self.lend(round.realm);
            match &mut round.errand {
                Errand::Kill { victims, farewell, killed, .. } => self.kill(victims, farewell, killed),
                errand => errand.visit(realm, &mut cx),
            }
        }
        let (_, mut cx) = self.lend(round.realm);
        round.go_on(&mut cx);
    }

    /// GOODBYE to those of the victims that are here and still there. The connection goes on as after any GOODBYE of
    /// ours: the peer answers it, or is closed when that is late.
    fn kill(&mut self, victims: &[Member], farewell: &Farewell, killed: &mut Vec<SessionId>) {
        for victim in victims {
            let session = victim.identity.session;
            if victim.shard != self.index || self.peers.session_id(victim.peer) != Some(session) {
                continue;
            }
            self.forget_browser(victim.peer);
            let message = farewell.message.as_deref().map(|message| [("message", Value::text(message))]);
            let details = Dict::Pairs(message.as_ref().map_or(&[], |pairs| &pairs[..]));
            self.say_goodbye(victim.peer, Goodbye { details, reason: (&*farewell.reason).into() }, self.now);
            self.peers.counters.sessions_killed += 1;
            killed.push(session);
        }
    }
}
