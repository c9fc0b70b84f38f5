//! What was denied, for the log of whoever drives the shard: each URI of a session once, and never much in one turn.
//! Counters have all of it.

use std::collections::HashSet;

use super::Question;
use crate::error::Refusal;
use crate::router::rules::Action;
use crate::router::session::Identity;
use crate::wamp::{MatchPolicy, SessionId};

/// Denials that wait to be told; what comes while there are so many is only counted.
const WAITING_MAX: usize = 16;

/// How many that were told are known. When there is no room all are forgotten, and may be told again.
const TOLD_MAX: usize = 512;

/// Something that a session was not allowed to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// Its realm.
    pub realm: Box<str>,
    /// The session.
    pub session: SessionId,
    /// The name it has joined under.
    pub authid: Box<str>,
    /// Its role.
    pub authrole: Box<str>,
    /// What it wanted to do.
    pub action: Action,
    /// With what.
    pub uri: Box<str>,
    /// How that would have been matched.
    pub policy: MatchPolicy,
    /// Why not.
    pub refusal: Refusal,
}

/// The denials of a shard.
#[derive(Debug, Default)]
pub struct Denials {
    waiting: Vec<Denial>,
    told: HashSet<(SessionId, Action, Box<str>)>,
}

impl Denials {
    pub(super) fn tell(
        &mut self,
        identity: &Identity,
        realm: &str,
        question: &Question<'_>,
        refusal: Refusal,
    ) {
        if self.waiting.len() == WAITING_MAX {
            return;
        }
        if self.told.len() == TOLD_MAX {
            self.told.clear();
        }
        let &Question { action, uri, policy, .. } = question;
        if !self.told.insert((identity.session, action, uri.into())) {
            return;
        }
        self.waiting.push(Denial {
            realm: realm.into(),
            session: identity.session,
            authid: identity.authid.clone(),
            authrole: identity.role.name.as_str().into(),
            action,
            uri: uri.into(),
            policy,
            refusal,
        });
    }

    /// Takes those that wait.
    pub fn take(&mut self) -> Vec<Denial> {
        std::mem::take(&mut self.waiting)
    }
}
