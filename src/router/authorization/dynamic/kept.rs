//! Answers of authorizers that may be used again: for one session, or for every session of its role, as the role says.
//!
//! An answer is kept only where the authorizer says so with `cache`, and for as long as the role has it. It is found by
//! action, URI and match policy; Crossbar.io's options beyond that are the authorizer's own to think of when it says
//! so. Each shard keeps its own. Answers of a role that was replaced are none: a role is one `Arc`. All realms of a
//! template have the same one, and each has answers of its own: who decides in one says nothing about another.
//!
//! When there is no room everything is forgotten: that costs a question each, and keeps no order of use. Clients choose
//! what is asked about, so each session and each role has a share of the room, and loses its own when that is full. A
//! session's answers go with it.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::{OwnedQuestion, Question, Ruling, keeps};
use crate::router::RealmKey;
use crate::router::role::{Authorizer, Permissions, Role, VerdictCache};
use crate::router::rules::Action;
use crate::router::session::{Identity, Map};
use crate::wamp::{MatchPolicy, SessionId};

/// The part of all that are kept which one session may have, as a divisor.
const SESSION_SHARE: usize = 16;

/// The part that one role may have.
const ROLE_SHARE: usize = 2;

/// What is to be forgotten, of the sessions of a realm and of its authorizers. What is not said is all.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Purge {
    /// What is kept for this session alone.
    pub session: Option<SessionId>,
    /// What is kept for this role, and for sessions of it.
    pub authrole: Option<Box<str>>,
    /// What is kept about this URI or pattern.
    pub uri: Option<Box<str>>,
}

/// The answers.
#[derive(Debug)]
pub(super) struct KeptVerdicts {
    sessions: Map<SessionId, Verdicts>,
    roles: Map<RoleKey, Verdicts>,
    /// All that are kept.
    count: usize,
    count_max: usize,
    purges: u64,
}

/// A role in one realm, by its address: as long as its answers are kept the role is, so nothing else is there.
type RoleKey = (RealmKey, usize);

/// Those of one session or role.
#[derive(Debug)]
struct Verdicts {
    role: Arc<Role>,
    /// The sessions', and the authorizer's.
    realms: [RealmKey; 2],
    by_uri: Map<Box<str>, SmallVec<[Verdict; 1]>>,
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Verdict {
    action: Action,
    policy: MatchPolicy,
    ruling: Ruling,
    until: Instant,
}

impl Verdict {
    fn answers(&self, action: Action, policy: MatchPolicy) -> bool {
        self.action == action && self.policy == policy
    }
}

impl KeptVerdicts {
    pub(super) fn new(count_max: usize) -> KeptVerdicts {
        KeptVerdicts { sessions: Map::default(), roles: Map::default(), count: 0, count_max, purges: 0 }
    }

    pub(super) fn purges(&self) -> u64 {
        self.purges
    }

    /// An answer that still holds, about a session of that realm. Two probes.
    pub(super) fn find(
        &self,
        (identity, realm): (&Identity, RealmKey),
        authorizer: &Authorizer,
        question: &Question<'_>,
        now: Instant,
    ) -> Option<Ruling> {
        let verdicts = match authorizer.cache {
            VerdictCache::Session => self.sessions.get(&identity.session),
            VerdictCache::Role => self.roles.get(&(realm, Arc::as_ptr(&identity.role).addr())),
        };
        let verdicts = verdicts.filter(|known| Arc::ptr_eq(&known.role, &identity.role))?;
        let verdicts = verdicts.by_uri.get(question.uri)?;
        let verdict = verdicts.iter().find(|verdict| verdict.answers(question.action, question.policy))?;
        (verdict.until > now).then_some(verdict.ruling)
    }

    /// Keeps an answer in the place of the one before.
    pub(super) fn keep(
        &mut self,
        (identity, realms): (&Identity, [RealmKey; 2]),
        question: &OwnedQuestion,
        ruling: Ruling,
        now: Instant,
    ) {
        let Permissions::Authorizer(authorizer) = &identity.role.permissions else { return };
        let until = now + keeps(authorizer);
        if until == now {
            return;
        }
        if self.count >= self.count_max {
            self.forget_all();
        }
        let share = match authorizer.cache {
            VerdictCache::Session => self.count_max / SESSION_SHARE,
            VerdictCache::Role => self.count_max / ROLE_SHARE,
        };
        let verdicts = self.verdicts(identity, realms, authorizer.cache);
        let before = verdicts.count;
        let verdict = Verdict { action: question.action, policy: question.policy, ruling, until };
        verdicts.put(&question.uri, verdict, share.max(1));
        let now = verdicts.count;
        self.count = self.count + now - before;
    }

    fn verdicts(&mut self, identity: &Identity, realms: [RealmKey; 2], cache: VerdictCache) -> &mut Verdicts {
        let Identity { session, role, .. } = identity;
        let new = || Verdicts { role: role.clone(), realms, by_uri: Map::default(), count: 0 };
        match cache {
            VerdictCache::Session => {
                let verdicts = self.sessions.entry(*session).or_insert_with(new);
                if !Arc::ptr_eq(&verdicts.role, role) {
                    self.count -= verdicts.count;
                    *verdicts = new();
                }
                verdicts
            }
            VerdictCache::Role => {
                let key = (realms[0], Arc::as_ptr(role).addr());
                if !self.roles.contains_key(&key) {
                    // Roles that only these remember were replaced.
                    self.forget_roles(|_, known| Arc::strong_count(&known.role) == 1);
                }
                self.roles.entry(key).or_insert_with(new)
            }
        }
    }

    fn forget_roles(&mut self, forgotten: impl Fn(&RoleKey, &Verdicts) -> bool) {
        let count = &mut self.count;
        self.roles.retain(|key, known| {
            let stays = !forgotten(key, known);
            *count -= if stays { 0 } else { known.count };
            stays
        });
    }

    /// The realm is no more.
    pub(super) fn forget_realm(&mut self, realm: RealmKey) {
        self.forget_roles(|(of, _), _| *of == realm);
    }

    /// The session has left.
    pub(super) fn forget(&mut self, session: SessionId) {
        if let Some(verdicts) = self.sessions.remove(&session) {
            self.count -= verdicts.count;
        }
    }

    fn forget_all(&mut self) {
        (self.sessions, self.roles, self.count) = (Map::default(), Map::default(), 0);
    }

    /// Forgets what the purge is about; how many answers that were.
    pub(super) fn purge(&mut self, realm: RealmKey, purge: &Purge) -> u64 {
        let before = self.count;
        let mut purged = 0;
        let mut clean = |verdicts: &mut Verdicts| {
            let authrole = purge.authrole.as_ref();
            if verdicts.realms.contains(&realm) && authrole.is_none_or(|role| **role == *verdicts.role.name) {
                purged += verdicts.purge(purge.uri.as_deref());
            }
        };
        for (session, verdicts) in &mut self.sessions {
            if purge.session.is_none_or(|wanted| wanted == *session) {
                clean(verdicts);
            }
        }
        if purge.session.is_none() {
            self.roles.values_mut().for_each(clean);
        }
        self.sessions.retain(|_, verdicts| !verdicts.by_uri.is_empty());
        self.roles.retain(|_, verdicts| !verdicts.by_uri.is_empty());
        self.count = before - purged;
        self.purges += 1;
        purged as u64
    }
}

impl Verdicts {
    /// In the place of the one before. If there are so many the others go.
    fn put(&mut self, uri: &str, verdict: Verdict, count_max: usize) {
        let known = self.by_uri.get_mut(uri).and_then(|verdicts| {
            verdicts.iter_mut().find(|known| known.answers(verdict.action, verdict.policy))
        });
        if let Some(known) = known {
            *known = verdict;
            return;
        }
        if self.count >= count_max {
            self.purge(None);
        }
        self.by_uri.entry(uri.into()).or_default().push(verdict);
        self.count += 1;
    }

    fn purge(&mut self, uri: Option<&str>) -> usize {
        let before = self.count;
        match uri {
            Some(uri) => self.count -= self.by_uri.remove(uri).map_or(0, |verdicts| verdicts.len()),
            None => (self.by_uri, self.count) = (Map::default(), 0),
        }
        before - self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Method;
    use crate::router::authorization::Granted;
    use crate::router::session::Proof;
    use crate::wamp::Dict;

    fn identity(session: u64, cache: VerdictCache) -> Identity {
        let authorizer = Authorizer {
            procedure: "com.example.authorize".into(),
            realm: None,
            cache,
            cache_ms: 60_000,
            timeout_ms: 1_000,
        };
        let permissions = Permissions::Authorizer(Arc::new(authorizer));
        Identity {
            session: SessionId(session),
            authid: "".into(),
            role: Arc::new(Role { permissions, ..Role::open("asked") }),
            authmethod: "anonymous",
            authprovider: "static",
            proof: Proof::by(Method::Anonymous),
            extra: None,
        }
    }

    fn question(uri: &str) -> Question<'_> {
        Question::exact(Action::Call, uri, &Dict::EMPTY)
    }

    #[test]
    fn who_asks_about_many_drives_out_nobody_elses() {
        for cache in [VerdictCache::Session, VerdictCache::Role] {
            let (mut kept, now) = (KeptVerdicts::new(64), Instant::now());
            let [quiet, loud] = [1, 2].map(|session| identity(session, cache));
            let keep = |kept: &mut KeptVerdicts, identity: &Identity, uri: &str| {
                let owned = OwnedQuestion::from(&question(uri));
                kept.keep((identity, [RealmKey::FIRST; 2]), &owned, Ruling::Denied, now);
                let Permissions::Authorizer(authorizer) = &identity.role.permissions else { panic!() };
                assert_eq!(
                    kept.find((identity, RealmKey::FIRST), authorizer, &question(uri), now),
                    Some(Ruling::Denied)
                );
            };
            keep(&mut kept, &quiet, "com.mine");
            for number in 0..1_000 {
                keep(&mut kept, &loud, &format!("com.other{number}"));
                let all = kept.sessions.values().chain(kept.roles.values());
                let counted: usize = all.flat_map(|of| of.by_uri.values()).map(|of_uri| of_uri.len()).sum();
                assert_eq!(kept.count, counted);
            }
            let Permissions::Authorizer(authorizer) = &quiet.role.permissions else { panic!() };
            let still = kept.find((&quiet, RealmKey::FIRST), authorizer, &question("com.mine"), now);
            assert_eq!(still, Some(Ruling::Denied));
        }
    }

    #[test]
    fn a_role_of_two_realms_has_answers_of_each_of_them() {
        let (mut kept, now) = (KeptVerdicts::new(64), Instant::now());
        let one = identity(1, VerdictCache::Role);
        let other = Identity { session: SessionId(2), ..one.clone() };
        let Permissions::Authorizer(authorizer) = &one.role.permissions else { panic!() };
        let realms @ [of_one, of_other] = [RealmKey::FIRST, RealmKey { index: 1, serial: 0 }];
        let rulings = [Ruling::Allowed(Granted::default()), Ruling::Denied];
        let owned = OwnedQuestion::from(&question("com.same"));
        kept.keep((&one, [of_one; 2]), &owned, rulings[0], now);
        assert_eq!(kept.find((&other, of_other), authorizer, &question("com.same"), now), None);
        kept.keep((&other, [of_other; 2]), &owned, rulings[1], now);
        for (realm, ruling) in realms.into_iter().zip(rulings) {
            assert_eq!(kept.find((&one, realm), authorizer, &question("com.same"), now), Some(ruling));
        }
        assert_eq!(kept.purge(of_other, &Purge::default()), 1);
        assert_eq!(kept.find((&one, of_other), authorizer, &question("com.same"), now), None);
        kept.forget_realm(of_one);
        assert_eq!((kept.count, kept.roles.len()), (0, 0));
    }
}
