//! Realms that come and go and settings that change, in runs that are drawn for it: everything else must hold as if
//! nothing were.
//!
//! All of it is drawn by a chance of its own, so seeds in which nothing changes run as they would without.

use std::collections::VecDeque;
use std::sync::Arc;

use fanwire::router::{Router, Settings, Template};
use fanwire::wamp::MatchPolicy;

use crate::chance::Chance;
use crate::world::World;

/// What changes in a run, and when.
pub struct Changes {
    chance: Chance,
    /// Every realm is one that is made when somebody joins; how long it may be idle.
    pub idle_ms: Option<u64>,
    /// Before how many of 100 steps the settings change.
    reloads: usize,
    /// What each shard has yet to be told.
    untold: Vec<VecDeque<Arc<Router>>>,
}

impl Changes {
    /// What is retained goes with its realm, so realms go only where nothing is retained, and not in calm runs: the naive
    /// router's stay.
    pub fn draw(seed: u64, shard_count: usize, realms_may_go: bool) -> Changes {
        let mut chance = Chance::new(seed.rotate_left(41));
        let idle = chance.percent(30) && realms_may_go;
        let idle_ms = idle.then(|| *chance.pick(&[0, 0, 0, 10, 1_000]).expect("five are given"));
        let reloads = *chance.pick(&[0, 0, 0, 2, 20]).expect("five are given");
        Changes { chance, idle_ms, reloads, untold: vec![VecDeque::new(); shard_count] }
    }

    /// The settings of such a run.
    pub fn settings(&self, mut settings: Settings) -> Settings {
        for realm in &mut settings.realms {
            let (pattern, policy) = (realm.name.clone(), MatchPolicy::Exact);
            realm.template = self.idle_ms.map(|idle_ms| Template { pattern, policy, realms_max: 1, idle_ms });
        }
        settings
    }
}

impl World {
    /// Settings may change, and shards may be told of earlier changes, each when it likes but in their order.
    pub fn may_change(&mut self) {
        let Changes { chance, reloads, untold, .. } = &mut self.changes;
        if *reloads == 0 {
            return;
        }
        if chance.percent(*reloads) {
            let (router, _) = self.router.changed(self.router.settings.clone());
            untold.iter_mut().for_each(|shard| shard.push_back(router.clone()));
            self.router = router;
            self.coverage.count("settings have changed");
        }
        let shard = chance.below(untold.len());
        if let Some(router) = untold[shard].pop_front() {
            self.configure(shard, router);
        }
    }

    /// Every shard is told of every change.
    pub fn tell_changes(&mut self) {
        for shard in 0..self.shards.len() {
            while let Some(router) = self.changes.untold[shard].pop_front() {
                self.configure(shard, router);
            }
        }
    }

    fn configure(&mut self, shard: usize, router: Arc<Router>) {
        self.shards[shard].configure(router, self.now);
        self.turn_goes_on(shard);
    }
}
