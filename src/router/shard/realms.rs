//! The realms that a shard knows: those it has sessions in or has had letters for, until it hears that one is no more.
//!
//! Invariant: a shard knows the realm of every session here. So a letter for a realm that it does not know is either
//! the first it hears of it, or is for one that is no more, and nobody is left to take it.

use std::sync::Arc;
use std::time::Instant;

use super::Shard;
use super::drain::Drain;
use crate::limits::Limits;
use crate::router::broker::Broker;
use crate::router::dealer::Dealer;
use crate::router::realm::Realm;
use crate::router::realms::Idle;
use crate::router::timers::{Timer, Timers};
use crate::router::{Context, Letter, RealmKey};

/// A realm, as far as it is here.
#[derive(Debug)]
pub(in crate::router) struct LocalRealm {
    pub(in crate::router) shared: Arc<Realm>,
    pub(in crate::router) broker: Broker,
    pub(in crate::router) dealer: Dealer,
    /// When it is looked whether it is still idle, if it was.
    idle_due: Option<Instant>,
}

/// The realms by their places.
#[derive(Debug, Default)]
pub(super) struct LocalRealms {
    places: Vec<Option<Box<LocalRealm>>>,
}

impl LocalRealms {
    fn get(&self, key: RealmKey) -> Option<&LocalRealm> {
        self.places.get(key.index as usize)?.as_deref().filter(|local| local.shared.key == key)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &LocalRealm> {
        self.places.iter().flatten().map(|local| &**local)
    }

    /// All of them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut LocalRealm> {
        self.places.iter_mut().flatten().map(|local| &mut **local)
    }

    /// Their keys.
    pub(super) fn keys(&self) -> Vec<RealmKey> {
        self.iter().map(|local| local.shared.key).collect()
    }
}

impl LocalRealm {
    fn lookups(&self) -> u64 {
        self.broker.directory_lookups() + self.dealer.directory_lookups()
    }

    /// It is looked at whether it is idle then, and at no other time.
    pub(super) fn look_at(&mut self, due: Option<Instant>, timers: &mut Timers) {
        if let Some(before) = std::mem::replace(&mut self.idle_due, due) {
            timers.cancel(before, Timer::Idle(self.shared.key));
        }
        if let Some(due) = due {
            timers.set(due, Timer::Idle(self.shared.key));
        }
    }
}

impl Shard {
    /// One realm of the shard, which it knows, and the rest of it as broker and dealer see it.
    // Once for each message and letter: what is not asked for is not even written then.
    #[inline(always)]
    pub(super) fn lend(&mut self, realm: RealmKey) -> (&mut LocalRealm, Context<'_>) {
        let context = Context {
            index: self.index,
            router: &self.router,
            peers: &mut self.peers,
            letters: &mut self.letters,
            timers: &mut self.timers,
            now: self.now,
            entropy: &mut self.entropy,
            invocations_open: &mut self.invocations_open,
            rounds_open: &mut self.rounds_open,
            draining: self.drain != Drain::No,
            denials: &mut self.denials,
            authorizers: &mut self.authorizers,
            unrestricted: false,
        };
        let local = self.realms.places[realm.index as usize].as_deref_mut();
        let local = local.expect("a shard knows the realms of its sessions, and of the letters it opens");
        debug_assert_eq!(local.shared.key, realm);
        (local, context)
    }

    /// The same for a letter. If the realm is no more, nobody is left to take it.
    #[inline(always)]
    pub(super) fn lend_if_known(&mut self, realm: RealmKey) -> Option<(&mut LocalRealm, Context<'_>)> {
        if self.realms.get(realm).is_none() && !self.knows(realm) {
            self.peers.counters.letters_too_late += 1;
            return None;
        }
        Some(self.lend(realm))
    }

    /// True if there is somebody to take letters for that realm.
    #[cold]
    pub(super) fn knows(&mut self, key: RealmKey) -> bool {
        if self.realms.get(key).is_some() {
            return true;
        }
        let realm = self.router.realm_table().realm(key);
        if let Some(realm) = &realm {
            self.learn_of(realm);
        }
        realm.is_some()
    }

    /// The shard knows that realm from now on. One that was in the same place is no more, and nobody is in it.
    pub(super) fn learn_of(&mut self, realm: &Arc<Realm>) {
        if self.realms.get(realm.key).is_some() {
            return;
        }
        let place = realm.key.index as usize;
        if self.realms.places.len() <= place {
            self.realms.places.resize_with(place + 1, || None);
        }
        if let Some(before) = self.realms.places[place].as_deref().map(|local| local.shared.key) {
            self.forget(before);
        }
        let entries_max = self.router.settings.limits.match_cache_entries_max;
        self.realms.places[place] = Some(Box::new(LocalRealm {
            shared: realm.clone(),
            broker: Broker::new(realm.clone(), entries_max),
            dealer: Dealer::new(realm.clone(), entries_max),
            idle_due: None,
        }));
    }

    /// The realm is no more, and nobody here is in it. Calls that are still open there are the router's own: their
    /// callee has gone.
    pub(super) fn forget(&mut self, key: RealmKey) {
        if self.realms.get(key).is_none() {
            return;
        }
        let (local, mut cx) = self.lend(key);
        local.dealer.cancel_all(&mut cx);
        let Some(mut local) = self.realms.places[key.index as usize].take() else { return };
        debug_assert!(local.broker.is_empty() && local.dealer.is_empty(), "nobody is in it");
        local.look_at(None, &mut self.timers);
        self.authorizers.forget_realm(key);
        self.peers.counters.directory_lookups += local.lookups();
    }

    /// How often directories were asked.
    pub(super) fn directory_lookups(&self) -> u64 {
        let known = self.realms.iter().map(LocalRealm::lookups);
        self.peers.counters.directory_lookups + known.sum::<u64>()
    }

    /// How many realms it has known at the same time, at most as many as there were.
    pub fn realm_places(&self) -> usize {
        self.realms.places.len()
    }

    /// The last session has left a realm. If that was made from a template, it is looked at again in time. In a
    /// shutdown nobody is left to join, and nothing waits for that.
    pub(super) fn await_idle(&mut self, realm: RealmKey) {
        let (local, cx) = self.lend(realm);
        let Some(template) = &local.shared.settings.template else { return };
        if local.idle_due.is_none() && !cx.draining {
            let due = cx.now + Limits::ms(template.idle_ms);
            local.look_at(Some(due), cx.timers);
        }
    }

    /// A realm may have been idle for long enough: it is taken out, and every shard told; or looked at again.
    pub(super) fn on_idle(&mut self, realm: RealmKey) {
        let (local, cx) = self.lend(realm);
        local.idle_due = None;
        match cx.router.realm_table().remove_idle(realm, cx.now) {
            Idle::Stays => {}
            Idle::Until(due) => local.look_at(Some(due), cx.timers),
            Idle::Removed => self.announce_gone(realm),
        }
    }

    /// A realm was taken out that nobody was in: every shard is told.
    pub(super) fn announce_gone(&mut self, realm: RealmKey) {
        self.forget(realm);
        for shard in self.letters.others(self.index) {
            self.letters.post(shard, Letter::RealmGone { realm });
        }
    }
}
