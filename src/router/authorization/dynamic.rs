//! Dynamic authorizers: a procedure of the realm says what the sessions of a role may do, with the arguments and
//! results of Crossbar.io ([`dialogue`]).
//!
//! A question that nobody has answered stops the message that poses it before anything was done: it is noted here as
//! *open*, and the shard holds the message, asks, and handles it once more with the answer *at hand* (see
//! `shard/held.rs`). A message may pose several, one after the other: a testament is a CALL, and a PUBLISH too.
//!
//! What an authorizer says may be kept, for the session or for its role, as long as the role allows: see `kept`.
//! Otherwise it holds for the one message. Who does not answer, or nothing that can be understood, has refused; that is
//! counted, and told the log once for each cause.
//!
//! A testament is asked about when it is added. When it is published its session is going and waits for nobody: it goes
//! by what is kept, and else by that answer, if it was the same authorizer's.

mod complaints;
pub mod dialogue;
mod kept;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use self::complaints::Complaints;
pub use self::complaints::{Cause, Complaint};
use self::dialogue::{Form, Said};
use self::kept::KeptVerdicts;
pub use self::kept::Purge;
use super::{Granted, Question};
use crate::codec::payload::OwnedPayload;
use crate::error::Refusal;
use crate::router::realm::Realm;
use crate::router::role::{Authorizer, Permissions, Role};
use crate::router::rules::Action;
use crate::router::session::Identity;
use crate::router::{Context, PeerKey, RealmKey};
use crate::wamp::{MatchPolicy, Serializer, SessionId, Value};

/// A question with its own text. Its message has no other about the same action and URI, so its options tell it from
/// none.
#[derive(Clone, Debug)]
pub struct OwnedQuestion {
    action: Action,
    policy: MatchPolicy,
    uri: Box<str>,
    /// The one argument of it. None if they have no form in the router's serializer, or are too long.
    options: Option<OwnedPayload>,
}

impl OwnedQuestion {
    fn is(&self, question: &Question<'_>) -> bool {
        self.action == question.action && self.policy == question.policy && *self.uri == *question.uri
    }
}

impl From<&Question<'_>> for OwnedQuestion {
    fn from(question: &Question<'_>) -> OwnedQuestion {
        let &Question { action, uri, policy, options } = question;
        let options = OwnedPayload::from_values(Serializer::MessagePack, &[Value::Dict(*options)], &[]).ok();
        let options = options.filter(|options| options.borrow().bytes().len() <= OPTIONS_BYTES_MAX);
        OwnedQuestion { action, policy, uri: uri.into(), options }
    }
}

/// The answer of an authorizer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// The session may.
    Allowed(Granted),
    /// It may not.
    Denied,
    /// There was no answer.
    Failed,
}

/// Octets of options that an authorizer is told. Sessions that are allowed nothing choose them: more would let them
/// fill its queue until it is taken for a slow consumer. What has more is not allowed.
const OPTIONS_BYTES_MAX: usize = 16 << 10;

/// How many authorizers are known to take no options.
const OLD_MAX: usize = 256;

/// What a shard knows of the answers of authorizers.
#[derive(Debug)]
pub struct Authorizers {
    kept: KeptVerdicts,
    at_hand: Vec<(OwnedQuestion, Ruling)>,
    open: Option<OwnedQuestion>,
    /// Authorizers that take no options, by the realm they are in.
    old: BTreeSet<(RealmKey, Box<str>)>,
    complaints: Complaints,
}

impl Authorizers {
    /// Nothing is known. So many answers may be kept.
    pub fn new(kept_max: usize) -> Authorizers {
        Authorizers {
            kept: KeptVerdicts::new(kept_max),
            at_hand: Vec::new(),
            open: None,
            old: BTreeSet::new(),
            complaints: Complaints::default(),
        }
    }

    /// These answers hold until they are taken back.
    pub fn put_at_hand(&mut self, rulings: Vec<(OwnedQuestion, Ruling)>) {
        self.at_hand = rulings;
    }

    /// See [`put_at_hand`](Self::put_at_hand).
    pub fn take_at_hand(&mut self) -> Vec<(OwnedQuestion, Ruling)> {
        std::mem::take(&mut self.at_hand)
    }

    /// True if the last answer was missing.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The question without an answer.
    pub fn take_open(&mut self) -> Option<OwnedQuestion> {
        self.open.take()
    }

    /// How often something was purged so far. An answer to what was asked before is not kept.
    pub fn purges(&self) -> u64 {
        self.kept.purges()
    }

    /// Keeps an answer, if it may be, about a session of the first realm by an authorizer of the other, and notes that
    /// the authorizer is well.
    pub fn learn(
        &mut self,
        (identity, realms): (&Identity, [RealmKey; 2]),
        question: &OwnedQuestion,
        said: Said,
        (purges, now): (u64, Instant),
    ) -> Ruling {
        self.complaints.recovered(&identity.role, realms[0], now);
        let ruling = match said.allow {
            true => Ruling::Allowed(Granted { disclosed: said.disclose }),
            false => Ruling::Denied,
        };
        if said.cache && purges == self.kept.purges() {
            self.kept.keep((identity, realms), question, ruling, now);
        }
        ruling
    }

    /// What this authorizer takes.
    pub fn form(&self, realm: RealmKey, procedure: &str) -> Form {
        let is_old = !self.old.is_empty() && self.old.contains(&(realm, Box::from(procedure)));
        if is_old { Form::Old } else { Form::Whole }
    }

    /// It takes this, as far as it is known.
    pub fn set_form(&mut self, realm: RealmKey, procedure: &str, form: Form) {
        let authorizer = (realm, Box::from(procedure));
        match form {
            // Those are names of the settings; but settings may change for as long as the router runs.
            Form::Old if self.old.len() < OLD_MAX => drop(self.old.insert(authorizer)),
            Form::Old => self.old = BTreeSet::from([authorizer]),
            Form::Whole => drop(self.old.remove(&authorizer)),
        }
    }

    /// Notes why an authorizer has not answered.
    pub fn complain(&mut self, identity: &Identity, realm: (RealmKey, &str), cause: Cause, now: Instant) {
        self.complaints.tell(&identity.role, realm, cause, now);
    }

    /// Takes what is worth a line in the log.
    pub fn take_complaints(&mut self) -> Vec<Complaint> {
        self.complaints.take()
    }

    /// The session is no more.
    pub fn forget(&mut self, session: SessionId) {
        self.kept.forget(session);
    }

    /// The realm is no more.
    pub fn forget_realm(&mut self, realm: RealmKey) {
        self.kept.forget_realm(realm);
    }

    /// Forgets answers; how many.
    pub fn purge(&mut self, realm: RealmKey, purge: &Purge) -> u64 {
        self.kept.purge(realm, purge)
    }

    fn at_hand(&self, question: &Question<'_>) -> Option<Ruling> {
        self.at_hand.iter().find(|(known, _)| known.is(question)).map(|(_, ruling)| *ruling)
    }
}

impl Context<'_> {
    /// Asks about a session whose role has an authorizer. Without an answer the question is open, and the error is
    /// nothing to be told.
    #[inline(never)]
    pub(super) fn consult(
        &mut self,
        key: PeerKey,
        realm: &Realm,
        question: &Question<'_>,
    ) -> Result<Granted, Refusal> {
        let session = self.peers.session(key).ok_or(Refusal::NotAuthorized)?;
        let Permissions::Authorizer(authorizer) = &session.identity.role.permissions else {
            return Err(Refusal::NotAuthorized);
        };
        let mut ruling = self.authorizers.at_hand(question);
        if ruling.is_none() {
            ruling = self.authorizers.kept.find(
                (&session.identity, session.realm),
                authorizer,
                question,
                self.now,
            );
            self.peers.counters.authorizer_verdicts_kept += u64::from(ruling.is_some());
        }
        match ruling {
            Some(Ruling::Allowed(granted)) => Ok(granted),
            Some(Ruling::Denied) => Err(self.deny(key, realm, question, Refusal::NotAuthorized)),
            Some(Ruling::Failed) => Err(self.deny(key, realm, question, Refusal::AuthorizationFailed)),
            None => {
                self.authorizers.open = Some(question.into());
                Err(Refusal::AuthorizationFailed)
            }
        }
    }

    /// The session was allowed this before, as that role, and cannot be asked about any more: that is at hand, unless
    /// something else is kept. Where somebody else decides by now nobody has allowed it.
    pub fn vouch(&mut self, key: PeerKey, question: &Question<'_>, (granted, role): (Granted, &Arc<Role>)) {
        let Some(session) = self.peers.session(key) else { return };
        let Permissions::Authorizer(authorizer) = &session.identity.role.permissions else { return };
        if self
            .authorizers
            .kept
            .find((&session.identity, session.realm), authorizer, question, self.now)
            .is_none()
        {
            let ruling = match role.permissions == session.identity.role.permissions {
                true => Ruling::Allowed(granted),
                false => Ruling::Failed,
            };
            self.authorizers.at_hand.push((question.into(), ruling));
        }
    }
}

/// How long an answer holds that may be kept.
fn keeps(authorizer: &Authorizer) -> std::time::Duration {
    std::time::Duration::from_millis(authorizer.cache_ms)
}
