//! Virtual time.

use std::time::{Duration, Instant};

use fanwire::router::Shard;

use super::World;
use crate::log::{NOBODY, What};

impl World {
    /// The first deadline of all.
    pub fn next_deadline(&self) -> Option<Instant> {
        let checks = self.checks.next_deadline();
        self.shards.iter().filter_map(Shard::next_deadline).chain(checks).min()
    }

    /// Time passes, and every shard that has a deadline in it is woken.
    pub fn wait(&mut self, duration: Duration) {
        self.now += duration;
        if self.guards.is_some() {
            let ms = self.now.duration_since(self.began).as_millis() as u64;
            self.log.push(NOBODY, What::Time(ms));
        }
        self.give_back_checks();
        for shard in 0..self.shards.len() {
            if self.shards[shard].next_deadline().is_some_and(|deadline| deadline <= self.now) {
                self.turn_ends(shard);
            }
        }
    }

    /// Time passes until the first deadline; false if there is none.
    pub fn wait_for_deadline(&mut self) -> bool {
        let Some(deadline) = self.next_deadline() else { return false };
        self.wait(deadline.saturating_duration_since(self.now));
        true
    }
}
