//! Those who join and are to prove who they are; and the work that a shard leaves to others meanwhile.

use std::time::{Duration, Instant};

use fanwire::router::RequestIds;
use fanwire::router::authentication::Check;
use fanwire::wamp::message::code;

use super::World;
use crate::chance::Chance;
use crate::client::{Client, Stage};
use crate::doors::{Login, Manner};
use crate::item::Message;
use crate::log::Misdeed;
use crate::{dict, list};

/// Tickets that are being compared.
pub(super) struct Checks {
    chance: Chance,
    /// When they are done, for which shard.
    pending: Vec<(Instant, usize, Check)>,
}

impl Checks {
    pub(super) fn new(seed: u64) -> Checks {
        Checks { chance: Chance::new(seed.rotate_left(13)), pending: Vec::new() }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|(due, ..)| *due).min()
    }
}

impl World {
    /// A client of this run, as it connects.
    pub(super) fn newcomer(&mut self, realm: usize, ids: RequestIds, watcher: bool) -> Client {
        let mut client = Client::new(self.log.lives.len(), realm, &mut self.chance, ids, watcher);
        client.watches_all = !self.plan.calm && self.plan.testaments > 0;
        client.wild = !self.plan.calm;
        client.retains = self.plan.retention;
        client.invoke = self.plan.invoke;
        client.forces = self.plan.forces;
        client
    }

    /// Who the client will say it is, if it does.
    pub(super) fn draw_login(&mut self, client: &Client) -> Option<Login> {
        let guards = self.guards.as_mut()?;
        let door = guards.doors[client.realm].is_some() && client.authority.is_none();
        (door && guards.chance.percent(60)).then(|| Login::draw(client.life, &mut guards.chance))
    }

    /// A client was asked to prove who it is.
    pub fn respond(&mut self, peer: usize) {
        let client = &mut self.peers[peer].client;
        let Some((manner, proof)) = client.prove() else { return };
        self.coverage.count(&format!("a challenged client: {manner:?}"));
        match manner {
            Manner::Answers => self.say(peer, Message(list![code::AUTHENTICATE, proof, dict! {}])),
            Manner::Never => {}
            Manner::Misbehaves => drop(self.misbehave(peer, Misdeed::OutOfTurn)),
            Manner::Aborts => self.say(peer, Message(list![code::ABORT, dict! {}, "app.close.enough"])),
            Manner::Breaks => self.reset(peer),
        }
    }

    /// Those who were asked answer, if they ever do; true if there were any.
    pub(super) fn respond_all(&mut self) -> bool {
        let asked = |peer: &super::Peer| peer.speaks() && peer.client.stage == Stage::Joining;
        let asked = |peer: &super::Peer| asked(peer) && peer.client.is_challenged();
        let asked: Vec<usize> = (0..self.peers.len()).filter(|peer| asked(&self.peers[*peer])).collect();
        asked.iter().for_each(|peer| self.respond(*peer));
        !asked.is_empty()
    }

    /// The work of a shard is taken by others.
    pub(super) fn take_checks(&mut self, shard: usize) {
        let mut taken = Vec::new();
        self.shards[shard].checks(&mut taken);
        for check in taken {
            let chance = &mut self.checks.chance;
            let ms = if chance.percent(10) { 20_000 } else { chance.below(150) };
            self.checks.pending.push((self.now + Duration::from_millis(ms as u64), shard, check));
        }
    }

    /// What is done by now is given back, and now and then what nobody has the time for.
    pub(super) fn give_back_checks(&mut self) {
        let now = self.now;
        let (done, pending) =
            std::mem::take(&mut self.checks.pending).into_iter().partition(|(due, ..)| *due <= now);
        self.checks.pending = pending;
        for (_, shard, check) in done {
            let awaited = check.is_awaited();
            self.coverage.count(if awaited { "a ticket was compared" } else { "a ticket was not awaited" });
            let checked = if self.checks.chance.percent(90) { check.run(now) } else { check.decline() };
            self.shards[shard].checked(checked, now);
            self.turn_goes_on(shard);
        }
    }
}
