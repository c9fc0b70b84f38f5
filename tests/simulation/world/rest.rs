//! Moments of quiet: everything that is on its way arrives, and what is asked of authorities is answered or too late.

use super::{Peer, World};
use crate::client::Stage;
use crate::log::{NOBODY, What};
use crate::plan::realm_name;

impl World {
    /// Everything arrives: congestion ends, all read, until nothing is on its way. Then all must be still.
    pub fn rest(&mut self, answered: bool) {
        for shard in std::mem::take(&mut self.congested) {
            self.congest(shard, false);
        }
        self.peers.iter_mut().for_each(|peer| peer.reading = true);
        for shard in std::mem::take(&mut self.turning) {
            self.turn_ends(shard);
        }
        // When something else than time has last gone on.
        let mut since = self.now;
        for _ in 0..ROUNDS_MAX {
            let (uploads, pairs, writables) = (self.uploads(), self.pairs(), self.writables());
            if uploads.is_empty() && pairs.is_empty() && writables.is_empty() && self.turning.is_empty() {
                if self.judge_on(since) {
                    continue;
                }
                self.still();
                self.log.push(NOBODY, What::Quiet { answered });
                return;
            }
            since = self.now;
            for peer in uploads {
                if !self.peers[peer].closed {
                    self.arrive(peer, usize::MAX);
                }
            }
            pairs.into_iter().for_each(|pair| self.post(pair, usize::MAX));
            writables.into_iter().for_each(|peer| self.write_on(peer, usize::MAX));
            for shard in std::mem::take(&mut self.turning) {
                self.turn_ends(shard);
            }
        }
        self.fail("it never comes to rest".to_owned());
    }

    /// Nothing is on its way: then nobody may be left waiting for the shell either.
    fn still(&mut self) {
        if let Some(peer) = self.peers.iter().position(Peer::waits) {
            self.fail(format!("connection {peer} is never read again"));
        }
        for realm in 0..self.plan.realm_count {
            let joined = |peer: &&Peer| {
                !peer.closed && peer.client.stage == Stage::Joined && peer.client.realm == realm
            };
            let joined = self.peers.iter().filter(joined).count();
            let counted = self.router.realm(&realm_name(realm)).map_or(0, |realm| realm.session_count());
            if counted != joined {
                self.fail(format!("{counted} sessions are in realm {realm}, {joined} have joined"));
            }
        }
    }
}

/// More than any run needs to come to rest.
const ROUNDS_MAX: usize = 1_000;
