//! Authorities: they come and go, and answer when they like.

use std::time::Instant;

use fanwire::limits::Limits;
use fanwire::wamp::message::code;

use super::World;
use crate::client::{Act, Stage};
use crate::guards::{Guards, MARK};
use crate::item::Message;
use crate::list;

impl World {
    /// Authorities come, go and answer, each when it likes.
    pub fn may_judge(&mut self) {
        let Some(mut guards) = self.guards.take() else { return };
        for seat in guards.seats() {
            match self.authority(seat) {
                Some(peer) => self.may_act(peer, &mut guards),
                None if guards.chance.percent(15) => drop(self.connect_as(false, Some(seat))),
                None => {}
            }
        }
        self.guards = Some(guards);
    }

    /// Authorities come before the others.
    pub fn appoint(&mut self) {
        let Some(guards) = &self.guards else { return };
        let peers: Vec<_> =
            guards.seats().into_iter().map(|seat| self.connect_as(false, Some(seat))).collect();
        self.rest(false);
        for peer in peers {
            if self.peers[peer].client.stage == Stage::Opened {
                self.join(peer, false);
            }
        }
        // Then they register.
        for _ in 0..2 {
            self.rest(false);
            self.may_judge();
        }
    }

    /// The authority that sits there.
    fn authority(&self, seat: usize) -> Option<usize> {
        let sits = |client: &crate::client::Client| client.authority.is_some() && client.realm == seat;
        self.peers.iter().position(|peer| !peer.closed && sits(&peer.client))
    }

    fn may_act(&mut self, peer: usize, guards: &mut Guards) {
        if guards.chance.percent(30) && self.uploads().contains(&peer) {
            self.arrive(peer, usize::MAX);
        } else if guards.chance.percent(30) && self.writables().contains(&peer) {
            self.write_on(peer, usize::MAX);
        }
        let chance = &mut guards.chance;
        let p = &mut self.peers[peer];
        if !p.speaks() {
            return;
        }
        match p.client.stage {
            // It has said GOODBYE; another will come.
            Stage::Opened if p.client.session != 0 => self.end(peer),
            Stage::Opened if chance.percent(50) => drop(self.join(peer, false)),
            Stage::Joined if chance.below(1_000) < guards.fickle => self.goes(peer, guards),
            Stage::Joined => {
                let said = match p.client.offer(chance) {
                    None if chance.percent(guards.quick) => p.client.judge(&guards.answers, chance),
                    offered => offered,
                };
                let Some(said) = said else { return };
                self.say(peer, said);
            }
            _ => {}
        }
    }

    fn goes(&mut self, peer: usize, guards: &mut Guards) {
        self.coverage.count("an authority went");
        match guards.chance.below(4) {
            0 => self.reset(peer),
            1 => self.end(peer),
            2 => {
                let goodbye = self.peers[peer].client.speak(Act::Goodbye, &mut guards.chance);
                goodbye.into_iter().for_each(|goodbye| self.say(peer, goodbye));
            }
            _ => {
                let retires = self.peers[peer].client.retire(&mut guards.chance);
                retires.into_iter().for_each(|retires| self.say(peer, retires));
            }
        }
    }

    /// Where authorizers are asked, what a client wants to do says which request of which life it is.
    pub(super) fn mark(&self, life: usize, message: &mut Message) {
        let asks = [code::SUBSCRIBE, code::PUBLISH, code::REGISTER, code::CALL].contains(&message.code());
        if self.guards.is_none() || !asks || message.entry(2, MARK).is_some() {
            return;
        }
        let mark = list![life, message.number(1)];
        if message.code() == code::CALL && message.text(3) == "wamp.session.add_testament" {
            message.0[5].set_within("publish_options", MARK, mark.clone());
        }
        message.0[2].set(MARK, mark);
    }

    /// Nothing moves any more. True if that is only because somebody is asked, who answers now, or is too late. Nobody
    /// waits for longer than for as many answers as it may have asked for.
    pub(super) fn judge_on(&mut self, since: Instant) -> bool {
        if self.guards.is_some() && self.respond_all() {
            return true;
        }
        if self.checks.next_deadline().is_some() {
            return self.wait_for_deadline();
        }
        let Some(mut guards) = self.guards.take() else { return false };
        let asked = self
            .peers
            .iter()
            .position(|peer| peer.speaks() && peer.client.stage == Stage::Joined && peer.client.is_asked());
        let waits = (0..self.peers.len()).filter(|peer| self.peers[*peer].waits());
        let unsure = waits.map(|peer| self.peers[peer].unsure.len() + 1).max();
        if let Some(peer) = asked {
            let said = self.peers[peer].client.judge(&guards.answers, &mut guards.chance);
            said.into_iter().for_each(|said| self.say(peer, said));
        }
        // A message may pose two questions.
        let patience = 2 * guards.timeout_ms_max() * unsure.unwrap_or(0) as u64;
        self.guards = Some(guards);
        if asked.is_some() || unsure.is_none() {
            return asked.is_some();
        }
        let waited = self.wait_for_deadline();
        if self.now > since + Limits::ms(patience) {
            self.fail("a message is held for longer than its authorizer may take".to_owned());
        }
        waited
    }
}
