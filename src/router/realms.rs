//! The realms there are: those that were set, and those that were made from templates when somebody joined. They come
//! and go while the router runs; this table is the one place that says which are there.
//!
//! Its lock is taken when somebody joins, when a realm that was made is idle, when a shard hears of a realm for the
//! first time, and when settings change; never for a message of a session.
//!
//! Invariants: whoever joins enters its realm under the lock, and a realm is taken out for being idle only if nobody is
//! in it, under the same lock: so nobody is ever in a realm that was idle. A place in the table is given to another
//! realm only when nobody is in the one before any more, so a shard that has sessions there never hears of the other.
//! The serial grows with every realm of a place: letters to one that is no more find nobody.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::realm::Realm;
use super::session::Map;
use super::standing::Dismissal;
use super::{RealmKey, RealmSettings, Settings, pattern, unchanged};
use crate::limits::Limits;

/// The table.
#[derive(Debug)]
pub struct Realms {
    shard_count: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    places: Vec<Place>,
    by_name: Map<Arc<str>, u32>,
    /// Places whose realm is no more, and that nobody is in.
    free: Vec<u32>,
    /// Realms that are no more, but whose sessions have not all been told yet.
    closed: Vec<Arc<Realm>>,
    templates: Vec<Made>,
    /// Realms and templates as they were set last.
    configured: Vec<Arc<RealmSettings>>,
    pattern_shapes_max: usize,
}

#[derive(Debug, Default)]
struct Place {
    serial: u32,
    realm: Option<Arc<Realm>>,
}

/// A template, and how many of its realms there are.
#[derive(Debug)]
struct Made {
    settings: Arc<RealmSettings>,
    count: usize,
}

/// Why a realm cannot be joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shut {
    /// There is none of that name, and no template for it.
    NoSuchRealm,
    /// There are as many from its template as there may be.
    TooMany,
    /// By the settings that have come since, whoever it is may not.
    NotAllowed(Dismissal),
}

/// Who has joined a realm.
#[derive(Debug)]
pub struct Joined<T> {
    /// The realm.
    pub realm: Arc<Realm>,
    /// What entering has given.
    pub entered: T,
    /// The realm that has made room for it, which shards are to be told.
    pub removed: Option<RealmKey>,
}

/// What is to be done about a realm that was idle when it was looked at last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// It has been idle for long enough, and is no more.
    Removed,
    /// If nobody joins, it is to be removed then.
    Until(Instant),
    /// Nothing: somebody is in it, or it is no more, or it was not made from a template.
    Stays,
}

/// What new settings have done to the realms that were there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RealmChanges {
    /// Names of those that were not there.
    pub opened: Vec<String>,
    /// Names of those that are no more.
    pub closed: Vec<String>,
}

impl Realms {
    /// Those that are set.
    pub fn new(settings: &Settings, shard_count: usize) -> Realms {
        let realms = Realms { shard_count, table: Mutex::default() };
        realms.configure(settings);
        realms
    }

    /// The realms that are set are there from now on. Those that were there and are set still go on, with the new
    /// settings; so do those that a template is there for, with its settings, if they were made from one or somebody is
    /// in them. The others are closed. Those whose settings are as they were stay the same objects.
    pub fn configure(&self, settings: &Settings) -> RealmChanges {
        let mut changes = RealmChanges::default();
        let table = &mut *self.table.lock();
        table.pattern_shapes_max = settings.limits.pattern_shapes_max;
        let configured: Vec<_> =
            settings.realms.iter().map(|realm| unchanged::kept(realm, &table.configured)).collect();
        let templates = configured.iter().filter(|realm| realm.template.is_some());
        table.templates = templates.map(|realm| Made { settings: realm.clone(), count: 0 }).collect();
        let is_set = |realm: &&Arc<RealmSettings>| realm.template.is_none();
        let set: Map<&str, &Arc<RealmSettings>> =
            configured.iter().filter(is_set).map(|realm| (&*realm.name, realm)).collect();
        for index in 0..table.places.len() {
            let Some(realm) = table.places[index].realm.clone() else { continue };
            let stays = realm.settings.template.is_some() || !realm.is_idle();
            let made = table.template(&realm.name).filter(|_| stays);
            let settings = match (set.get(&*realm.name), made) {
                (Some(settings), _) => Some((*settings).clone()),
                (None, Some(made)) => {
                    table.templates[made].count += 1;
                    Some(Arc::new(table.templates[made].settings.named(&realm.name)))
                }
                (None, None) => None,
            };
            match settings {
                Some(settings) if unchanged::is_same(&realm.settings, &settings) => {}
                Some(settings) => table.places[index].realm = Some(Arc::new(realm.with(settings))),
                None => {
                    changes.closed.push(realm.name.clone());
                    table.close(index as u32);
                }
            }
        }
        for realm in configured.iter().filter(is_set) {
            if !table.by_name.contains_key(&*realm.name) {
                changes.opened.push(realm.name.clone());
                table.make(realm.clone(), self.shard_count);
            }
        }
        table.configured = configured;
        changes
    }

    /// What holds for who joins a realm of that name: its settings, or those that it would be made with.
    pub fn offered(&self, name: &str) -> Option<Arc<RealmSettings>> {
        let table = self.table.lock();
        match table.find(name) {
            Some(realm) => Some(realm.settings.clone()),
            None => table.template(name).map(|made| Arc::new(table.templates[made].settings.named(name))),
        }
    }

    /// The realm of that name, made if there is a template for it. `enter` is called under the lock, and is to enter a
    /// session; if it does not, the realm is no more if it was made for that.
    ///
    /// If there are as many from the template as there may be, the one that nobody has been in for longest makes room,
    /// though its time has not come: else whoever joins and leaves under many names would shut everybody out.
    pub fn join<T>(
        &self,
        name: &str,
        enter: impl FnOnce(&Realm) -> Result<T, Dismissal>,
    ) -> Result<Joined<T>, Shut> {
        let table = &mut *self.table.lock();
        if let Some(realm) = table.find(name).cloned() {
            let entered = enter(&realm).map_err(Shut::NotAllowed)?;
            return Ok(Joined { realm, entered, removed: None });
        }
        let made = table.template(name).ok_or(Shut::NoSuchRealm)?;
        let Made { settings, count } = &table.templates[made];
        let (settings, is_full) = (settings.named(name), *count >= settings.realms_max());
        let removed =
            if is_full { Some(table.remove_longest_idle(made).ok_or(Shut::TooMany)?) } else { None };
        let realm = table.make(Arc::new(settings), self.shard_count);
        match enter(&realm) {
            Ok(entered) => {
                table.templates[made].count += 1;
                Ok(Joined { realm, entered, removed })
            }
            Err(dismissal) => {
                table.close(realm.key.index);
                Err(Shut::NotAllowed(dismissal))
            }
        }
    }

    /// The realm of that key, if it is still there, as it is set now.
    pub fn realm(&self, key: RealmKey) -> Option<Arc<Realm>> {
        self.table.lock().alive(key).cloned()
    }

    /// The realm of that name, if it is there.
    pub fn find(&self, name: &str) -> Option<Arc<Realm>> {
        self.table.lock().find(name).cloned()
    }

    /// All of them, by place.
    pub fn all(&self) -> Vec<Arc<Realm>> {
        self.table.lock().places.iter().filter_map(|place| place.realm.clone()).collect()
    }

    /// How many realms there were at the same time at most.
    pub fn places(&self) -> usize {
        self.table.lock().places.len()
    }

    /// Takes a realm out that was made from a template, if nobody has been in it for long enough. What it retains and
    /// its event history go with it.
    pub fn remove_idle(&self, key: RealmKey, now: Instant) -> Idle {
        let table = &mut *self.table.lock();
        let Some(realm) = table.alive(key) else { return Idle::Stays };
        let Some(template) = &realm.settings.template else { return Idle::Stays };
        let Some(since) = realm.idle_since() else { return Idle::Stays };
        let due = since + Limits::ms(template.idle_ms);
        if due > now {
            return Idle::Until(due);
        }
        if let Some(made) = table.template(&realm.name.clone()) {
            table.templates[made].count = table.templates[made].count.saturating_sub(1);
        }
        table.close(key.index);
        Idle::Removed
    }
}

impl RealmSettings {
    fn realms_max(&self) -> usize {
        self.template.as_ref().map_or(0, |template| template.realms_max)
    }
}

impl Table {
    /// Takes out the realm of a template that nobody has been in for longest, if there is one. It looks at all realms,
    /// which only happens where there are too many.
    fn remove_longest_idle(&mut self, made: usize) -> Option<RealmKey> {
        let alive = self.places.iter().filter_map(|place| place.realm.as_ref());
        let made_so = alive.filter(|realm| {
            realm.settings.template.is_some()
                && realm.settings.template == self.templates[made].settings.template
        });
        let idle = made_so.filter_map(|realm| Some((realm.idle_since()?, realm.key)));
        let (_, key) = idle.min()?;
        self.templates[made].count = self.templates[made].count.saturating_sub(1);
        self.close(key.index);
        Some(key)
    }

    fn alive(&self, key: RealmKey) -> Option<&Arc<Realm>> {
        let place = self.places.get(key.index as usize)?;
        place.realm.as_ref().filter(|realm| realm.key == key)
    }

    fn find(&self, name: &str) -> Option<&Arc<Realm>> {
        let index = *self.by_name.get(name)?;
        self.places[index as usize].realm.as_ref()
    }

    /// The first template for that name.
    fn template(&self, name: &str) -> Option<usize> {
        let is_for = |made: &Made| {
            let template = made.settings.template.as_ref();
            template.is_some_and(|template| pattern::matches(&template.pattern, template.policy, name))
        };
        self.templates.iter().position(is_for)
    }

    /// A realm that is not there yet.
    fn make(&mut self, settings: Arc<RealmSettings>, shard_count: usize) -> Arc<Realm> {
        let Table { free, closed, .. } = self;
        closed.retain(|realm| {
            let in_use = !realm.is_idle();
            if !in_use {
                free.push(realm.key.index);
            }
            in_use
        });
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        let key = RealmKey { index, serial: place.serial };
        place.serial = place.serial.wrapping_add(1);
        let realm = Arc::new(Realm::new(key, settings, self.pattern_shapes_max, shard_count));
        place.realm = Some(realm.clone());
        self.by_name.insert(realm.name.as_str().into(), index);
        realm
    }

    /// The realm at that place is no more.
    fn close(&mut self, index: u32) {
        let Some(realm) = mem::take(&mut self.places[index as usize].realm) else { return };
        self.by_name.remove(&*realm.name);
        if realm.is_idle() {
            self.free.push(index);
        } else {
            self.closed.push(realm);
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::Method;
    use crate::router::authentication::{self, Principal, Principals};
    use crate::router::realm::Member;
    use crate::router::session::{Identity, Proof};
    use crate::router::{PeerKey, Role, ShardIndex, Template};
    use crate::wamp::{MatchPolicy, SessionId};

    fn settings(realms: Vec<RealmSettings>) -> Settings {
        let (listeners, agent, authentication) = Default::default();
        Settings { limits: Limits::DEFAULT, realms, listeners, agent, authentication }
    }

    fn template(name: &str, realms_max: usize, idle_ms: u64) -> RealmSettings {
        let pattern = name.to_owned();
        let template = Some(Template { pattern, policy: MatchPolicy::Prefix, realms_max, idle_ms });
        RealmSettings { template, ..RealmSettings::open(name) }
    }

    /// Joins as session 1.
    fn join(realms: &Realms, name: &str) -> Result<Arc<Realm>, Shut> {
        let identity = Identity {
            session: SessionId(1),
            authid: "".into(),
            role: Arc::new(Role::anonymous()),
            authmethod: "anonymous",
            authprovider: "static",
            proof: Proof::by(Method::Anonymous),
            extra: None,
        };
        let member = Member {
            shard: ShardIndex(0),
            peer: PeerKey { index: 0, serial: 0 },
            identity: Arc::new(identity),
        };
        realms
            .join(name, |realm| realm.enter(member).then_some(()).ok_or(Dismissal::NoSuchRole))
            .map(|joined| joined.realm)
    }

    #[test]
    fn a_hundred_thousand_realms_that_come_and_go_need_no_more_than_one() {
        let realms = Realms::new(&settings(vec![template("", 1, 0)]), 4);
        let now = Instant::now();
        let mut last = None;
        for number in 0..100_000 {
            let realm = join(&realms, &format!("realm{number}")).unwrap();
            assert_eq!(realms.remove_idle(realm.key, now), Idle::Stays, "somebody is in it");
            assert!(last.replace(realm.key) != Some(realm.key), "a key is never used again");
            realm.leave(SessionId(1), now);
            assert_eq!(realms.remove_idle(realm.key, now), Idle::Removed);
            assert_eq!(realms.remove_idle(realm.key, now), Idle::Stays, "it is no more");
        }
        let table = realms.table.lock();
        assert_eq!((table.places.len(), table.by_name.len(), table.closed.len()), (1, 0, 0));
        assert!(table.by_name.capacity() < 16 && table.templates[0].count == 0);
    }

    #[test]
    fn a_place_is_taken_only_when_nobody_is_in_its_realm_any_more() {
        let realms = Realms::new(&settings(vec![RealmSettings::open("a")]), 1);
        let before = join(&realms, "a").unwrap();
        let changes = realms.configure(&settings(vec![RealmSettings::open("b")]));
        assert_eq!((changes.opened, changes.closed), (vec!["b".to_owned()], vec!["a".to_owned()]));
        assert_eq!(realms.find("b").unwrap().key, RealmKey { index: 1, serial: 0 }, "beside it");
        before.leave(SessionId(1), Instant::now());
        realms.configure(&settings(vec![RealmSettings::open("b"), RealmSettings::open("c")]));
        assert_eq!(realms.find("c").unwrap().key, RealmKey { index: 0, serial: 1 });
        assert!(realms.realm(before.key).is_none());
    }

    /// Compiled anew from a file that says the same, but for what is changed.
    fn anew(change: impl FnOnce(&mut [RealmSettings])) -> Settings {
        let realm = |mut realm: RealmSettings| {
            let mut authentication = authentication::Settings::anonymous(Role::anonymous());
            authentication.principals = Principals::new([Principal {
                authid: "alice".into(),
                role: Some(Arc::new(Role::open("user"))),
                ..Principal::default()
            }]);
            (realm.authentication, realm.roles) =
                (Arc::new(authentication), vec![Arc::new(Role::open("user"))]);
            realm
        };
        let mut listed = vec![realm(RealmSettings::open("a")), realm(template("com.", 9, 0))];
        change(&mut listed);
        settings(listed)
    }

    #[test]
    fn what_is_as_it_was_stays_the_same() {
        let realms = Realms::new(&anew(|_| {}), 1);
        join(&realms, "com.x").unwrap();
        let now = |change: fn(&mut [RealmSettings])| {
            let before = realms.all();
            realms.configure(&anew(change));
            let same = |(before, now): (&Arc<Realm>, &Arc<Realm>)| Arc::ptr_eq(before, now);
            before.iter().zip(&realms.all()).map(same).collect::<Vec<_>>()
        };
        assert_eq!(now(|_| {}), [true, true]);
        assert_eq!(now(|realms| realms[0].call_timeout_ms = 7), [false, true]);
        assert_eq!(
            now(|realms| realms[1].call_timeout_ms = 7),
            [false, false],
            "the first is as it was first"
        );
        let role = |realms: &Realms| realms.find("a").unwrap().settings.roles[0].clone();
        let before = role(&realms);
        assert_eq!(now(|realms| realms[0].authentication = Arc::default()), [false, false]);
        assert!(Arc::ptr_eq(&before, &role(&realms)), "roles are the same by themselves");
        assert_eq!(now(|realms| realms[0].roles = vec![Arc::new(Role::anonymous())]), [false, true]);
    }

    #[test]
    fn the_first_template_that_matches_is_the_one_and_set_realms_come_first() {
        let now = Instant::now();
        let listed = [template("com.a.", 1, 1_000), RealmSettings::open("com.a.set"), template("com.", 2, 0)];
        let realms = Realms::new(&settings(listed.to_vec()), 1);
        assert!(join(&realms, "com.a.set").unwrap().settings.template.is_none());
        let first = join(&realms, "com.a.x").unwrap();
        assert_eq!(join(&realms, "com.a.y").unwrap_err(), Shut::TooMany, "the next one is not asked");
        assert_eq!(join(&realms, "org").unwrap_err(), Shut::NoSuchRealm);
        assert_eq!(realms.offered("com.b").unwrap().template.as_ref().unwrap().pattern, "com.");
        join(&realms, "com.b").unwrap();
        first.leave(SessionId(1), now);
        let due = now + Duration::from_secs(1);
        assert_eq!(realms.remove_idle(first.key, now), Idle::Until(due));
        realms.configure(&settings(listed[2..].to_vec()));
        assert_eq!(realms.remove_idle(first.key, now), Idle::Removed, "the next template is the first now");
        assert!(realms.find("com.a.set").unwrap().settings.template.is_some(), "somebody is in it");
        assert_eq!(join(&realms, "com.c").unwrap_err(), Shut::TooMany, "two are there");
    }
}
