//! Realms whose sessions may only do what an authorizer says, or only join if they prove who they are, in some seeds.
//!
//! All of it is drawn by a chance of its own, so seeds that have nothing of it run as they would without.
//!
//! Authorizers are procedures of *authorities*: sessions that come in through a listener of their own, as a role that
//! may do everything, and do nothing but register and answer (see `client/authority.rs`).

use std::sync::Arc;

use fanwire::router::authentication::{self, Access, AnonymousHere};
use fanwire::router::role::{Authorizer, VerdictCache};
use fanwire::router::{ListenerSettings, Permissions, RequestIds, Role, Settings};

use crate::allowed::RULED;
use crate::chance::Chance;
use crate::doors::Door;
use crate::plan::{Plan, REQUEST_IDS, realm_name};

/// The procedure of authorizers.
pub const AUTHORIZE: &str = "auth.authorize";

/// The option by which an authority's log tells what it was asked about: whose it is, and its request.
pub const MARK: &str = "_mark";

/// The listener that authorities come in through.
pub const SERVICE: usize = REQUEST_IDS.len();

/// What is known of the authorizer of a realm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guard {
    /// The realm that it is in.
    pub seat: usize,
    pub cache: VerdictCache,
    pub cache_ms: u64,
    pub timeout_ms: u64,
}

/// How an authority answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    Allow,
    Deny,
    /// ERROR.
    Fail,
    /// Nothing that can be understood.
    Nonsense,
    /// Nothing at all.
    Never,
}

impl Answer {
    pub const ALL: [Answer; 5] = [Answer::Allow, Answer::Deny, Answer::Fail, Answer::Nonsense, Answer::Never];
}

/// What was drawn.
#[derive(Clone, Debug)]
pub struct Guards {
    pub chance: Chance,
    /// By realm.
    pub guards: Vec<Option<Guard>>,
    /// By realm.
    pub doors: Vec<Option<Door>>,
    /// By [`Answer::ALL`].
    pub answers: [usize; Answer::ALL.len()],
    /// Of 100 steps before which an authority is asked something, how often it answers.
    pub quick: usize,
    /// Of 1,000 steps, how often an authority goes.
    pub fickle: usize,
}

impl Guards {
    /// In two of seven runs that are not calm: the naive router asks nobody.
    pub fn draw(seed: u64, plan: &Plan) -> Option<Guards> {
        let (mut guards, mut doors) = (seed % 7 == 3, seed % 7 == 6);
        if plan.calm || !(guards || doors) {
            return None;
        }
        let mut chance = Chance::new(seed.rotate_left(11));
        let both = chance.percent(30);
        (guards, doors) = (guards || both, doors || both);
        let challenge_ms = [300, 2_000, 10_000][chance.below(3)];
        let doors = (0..plan.realm_count).map(|realm| {
            let closed = doors && (realm == 0 || chance.percent(60));
            closed.then(|| Door::draw(realm, plan.realm_count, challenge_ms, &mut chance))
        });
        let doors = doors.collect();
        let guards = (0..plan.realm_count).map(|realm| {
            let guarded = guards && realm != RULED && (realm == 0 || chance.percent(60));
            guarded.then(|| Guard {
                seat: if chance.percent(75) { realm } else { chance.below(plan.realm_count) },
                cache: [VerdictCache::Session, VerdictCache::Role][chance.below(2)],
                cache_ms: [0, 0, 30, 100_000][chance.below(4)],
                timeout_ms: [20, 200, 1_000, 5_000][chance.below(4)],
            })
        });
        let guards = guards.collect();
        let mut usual = |often: usize| if chance.percent(30) { 0 } else { chance.between(1, 2 * often) };
        let answers = [60 + usual(60), usual(20), usual(6), usual(6), usual(6)];
        let (quick, fickle) = (chance.between(10, 100), [0, 2, 10][chance.below(3)]);
        Some(Guards { chance, guards, doors, answers, quick, fickle })
    }

    /// The realms in which authorities sit.
    pub fn seats(&self) -> Vec<usize> {
        let guards = self.guards.iter().flatten().map(|guard| guard.seat);
        let doors = self.doors.iter().flatten().filter_map(|door| door.seat);
        let mut seats: Vec<usize> = guards.chain(doors).collect();
        seats.sort_unstable();
        seats.dedup();
        seats
    }

    /// The longest that an authority may take.
    pub fn timeout_ms_max(&self) -> u64 {
        let guards = self.guards.iter().flatten().map(|guard| guard.timeout_ms);
        let doors = self.doors.iter().flatten().map(|door| door.timeout_ms);
        guards.chain(doors).max().unwrap_or(0)
    }

    /// The settings of such a run.
    pub fn settings(&self, mut settings: Settings) -> Settings {
        let authority = Arc::new(Role::open("authority"));
        for (index, realm) in settings.realms.iter_mut().enumerate() {
            let Some(role) = realm.anonymous() else { continue };
            let mut role = role.clone();
            if let Some(guard) = self.guards[index] {
                let permissions = Permissions::Authorizer(Arc::new(guard.authorizer(index)));
                role = Arc::new(Role { permissions, ..Role::clone(&role) });
            }
            realm.authentication = Arc::new(authentication::Settings::anonymous(role.clone()));
            realm.roles = vec![role, authority.clone()];
            if let Some(door) = self.doors[index] {
                door.fit(index, realm);
                settings.authentication.challenge_ms_max = door.challenge_ms;
            }
        }
        let anonymous = AnonymousHere { role: authority.name.as_str().into(), authid: None };
        settings.listeners.push(ListenerSettings {
            request_ids: RequestIds::Strict,
            access: Access { anonymous: Some(anonymous), ..Access::default() },
            ..settings.listeners[0].clone()
        });
        settings
    }
}

impl Guard {
    fn authorizer(&self, realm: usize) -> Authorizer {
        let Guard { seat, cache, cache_ms, timeout_ms } = *self;
        let realm = (seat != realm).then(|| realm_name(seat));
        Authorizer { procedure: AUTHORIZE.to_owned(), realm, cache, cache_ms, timeout_ms }
    }
}
