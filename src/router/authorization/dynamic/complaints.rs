//! What is wrong with authorizers, for the log of whoever drives the shard: each cause of a role in a realm once,
//! until the authorizer has answered well for a while. One good answer is not enough: clients choose what it is asked,
//! and so whether it fails. Counters have all of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::error::Refusal;
use crate::router::RealmKey;
use crate::router::role::{Permissions, Role};

/// How many roles and causes are known. When there is no room all are forgotten, and may be told again.
const TOLD_MAX: usize = 256;

/// How long an authorizer must have answered well before what was wrong is told again.
const WELL: Duration = Duration::from_secs(60);

/// Why an authorizer, or an authenticator, has not answered.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cause {
    /// It has answered with this error.
    Error(Box<str>),
    /// Its result is none; what is wrong with it.
    Result(&'static str),
    /// The realm it should be in does not exist.
    NoSuchRealm,
    /// It takes no options, and is asked without them.
    OldForm,
    /// The question has no form that it could be told in.
    Untellable,
    /// The router could not ask it, or not get its answer.
    Refused(Refusal),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Error(uri) => write!(f, "it has answered with the error {uri}"),
            Cause::Result(wrong) => write!(f, "its result is not understood: {wrong}"),
            Cause::NoSuchRealm => f.write_str("its realm does not exist"),
            Cause::OldForm => f.write_str("it takes three arguments, and is asked without the options"),
            Cause::Untellable => f.write_str(
                "the question has options that are too long, or cannot be written in the router's serializer",
            ),
            Cause::Refused(refusal) => f.write_str(refusal.text()),
        }
    }
}

/// Something to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Complaint {
    /// The realm.
    pub realm: Box<str>,
    /// The role whose sessions it is asked about.
    pub authrole: Box<str>,
    /// The authorizer.
    pub procedure: Box<str>,
    /// What it is.
    pub cause: Cause,
}

/// The complaints of a shard.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    waiting: Vec<Complaint>,
    /// What was told, by realm, authorizer and role.
    told: BTreeMap<(RealmKey, Box<str>, Box<str>), Told>,
    count: usize,
}

#[derive(Debug, Default)]
struct Told {
    causes: Vec<Cause>,
    /// Nothing was wrong since.
    well: Option<Instant>,
}

impl Complaints {
    pub(super) fn tell(&mut self, role: &Role, (key, realm): (RealmKey, &str), cause: Cause, now: Instant) {
        let Some((procedure, authrole)) = names(role) else { return };
        if self.count == TOLD_MAX {
            (self.told, self.count) = (BTreeMap::new(), 0);
        }
        let told = self.told.entry((key, procedure.clone(), authrole.clone())).or_default();
        if told.well.take().is_some_and(|well| now.saturating_duration_since(well) >= WELL) {
            self.count -= told.causes.len();
            told.causes = Vec::new();
        }
        if told.causes.contains(&cause) {
            return;
        }
        told.causes.push(cause.clone());
        self.count += 1;
        if self.waiting.len() < TOLD_MAX {
            self.waiting.push(Complaint { realm: realm.into(), authrole, procedure, cause });
        }
    }

    /// It has answered well.
    pub(super) fn recovered(&mut self, role: &Role, key: RealmKey, now: Instant) {
        if self.told.is_empty() {
            return;
        }
        let names = names(role).map(|(procedure, authrole)| (key, procedure, authrole));
        if let Some(told) = names.and_then(|names| self.told.get_mut(&names)) {
            told.well.get_or_insert(now);
        }
    }

    pub(super) fn take(&mut self) -> Vec<Complaint> {
        std::mem::take(&mut self.waiting)
    }
}

fn names(role: &Role) -> Option<(Box<str>, Box<str>)> {
    match &role.permissions {
        Permissions::Authorizer(authorizer) => {
            Some((authorizer.procedure.as_str().into(), role.name.as_str().into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::router::role::{Authorizer, VerdictCache};

    #[test]
    fn each_cause_is_told_once_until_all_has_been_well_for_a_while() {
        let authorizer = Authorizer {
            procedure: "com.example.authorize".into(),
            realm: None,
            cache: VerdictCache::Session,
            cache_ms: 0,
            timeout_ms: 1000,
        };
        let permissions = Permissions::Authorizer(Arc::new(authorizer));
        let role = Role { permissions, ..Role::open("frontend") };
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let told = |complaints: &mut Complaints| {
            complaints.take().iter().map(|complaint| complaint.cause.to_string()).collect::<Vec<_>>()
        };
        for _ in 0..3 {
            complaints.tell(&role, (RealmKey::FIRST, "realm1"), Cause::Refused(Refusal::Timeout), start);
            complaints.tell(
                &role,
                (RealmKey::FIRST, "realm1"),
                Cause::Error("com.example.broken".into()),
                start,
            );
            complaints.recovered(&role, RealmKey::FIRST, start);
        }
        let both = ["the call was not answered in time", "it has answered with the error com.example.broken"];
        assert_eq!(told(&mut complaints), both);
        // Well and not, for as long as it likes.
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            complaints.tell(&role, (RealmKey::FIRST, "realm1"), Cause::Refused(Refusal::Timeout), now);
            complaints.recovered(&role, RealmKey::FIRST, now);
        }
        assert!(told(&mut complaints).is_empty());
        complaints.recovered(&role, RealmKey::FIRST, start + Duration::from_secs(630));
        complaints.tell(
            &role,
            (RealmKey::FIRST, "realm1"),
            Cause::Refused(Refusal::Timeout),
            start + Duration::from_secs(659),
        );
        assert_eq!(told(&mut complaints), both[..1]);
        complaints.tell(&Role::anonymous(), (RealmKey::FIRST, "realm1"), Cause::Untellable, start);
        assert!(told(&mut complaints).is_empty(), "it has none");
    }
}
