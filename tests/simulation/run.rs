//! One run, from its seed to its verdict.

use std::time::Duration;

use fanwire::counters::Counters;
use fanwire::router::RequestIds;
use fanwire::wamp::message::code;

use crate::chance::Chance;
use crate::checkers::{REALM_CHECKS, check};
use crate::client::{Act, Stage};
use crate::coverage::Coverage;
use crate::item::{Item, Message};
use crate::judged::check_counters;
use crate::log::{Log, Misdeed, What};
use crate::naive::{Essence, Kind, Naive};
use crate::plan::Deed;
use crate::world::World;

/// What a run was like.
pub struct Outcome {
    pub coverage: Coverage,
    pub log: Log,
    pub verdict: Result<(), String>,
}

/// Runs a seed. The same seed makes the same run.
pub fn run(seed: u64) -> Outcome {
    let mut world = World::new(seed);
    let went = if world.plan.calm { calm(&mut world) } else { wild(&mut world) };
    let verdict = went.and_then(|()| finish(&mut world)).and_then(|()| check(&world.log));
    let mut counters = Counters::default();
    world.shards.iter().for_each(|shard| counters.add(&shard.counters()));
    let verdict = verdict.and_then(|()| check_counters(&world.log, &counters));
    let made = world.changes.idle_ms.is_some();
    let World { mut coverage, log, .. } = world;
    coverage.count_many("a progressive result was dropped", counters.results_unasked as usize);
    coverage.count_many("a further part of a call came too late", counters.calls_too_late as usize);
    coverage.count_many("a letter came for a realm that was no more", counters.letters_too_late as usize);
    coverage.count_many("realms were made and went", usize::from(made));
    coverage.read(&log);
    coverage.read_rulings(&log, &counters);
    Outcome { coverage, log, verdict }
}

fn failure(world: &World) -> Result<(), String> {
    match &world.failure {
        Some(what) => Err(what.clone()),
        None => Ok(()),
    }
}

/// A run in which everything happens at any time.
fn wild(world: &mut World) -> Result<(), String> {
    world.appoint();
    if world.chance.percent(80) {
        gather(world);
    }
    let count = world.plan.steps;
    steps(world, count)
}

fn steps(world: &mut World, count: usize) -> Result<(), String> {
    for _ in 0..count {
        let deed = Deed::ALL[world.chance.weighted(&world.plan.deeds)];
        step(world, deed);
        world.may_change();
        world.may_judge();
        failure(world)?;
    }
    Ok(())
}

/// Some clients join before the weather turns.
fn gather(world: &mut World) {
    let peers: Vec<usize> = (0..world.plan.clients_max / 2).map(|_| world.connect(false)).collect();
    world.rest(false);
    for peer in peers {
        if world.peers[peer].client.stage == Stage::Opened {
            world.join(peer, false);
        }
    }
    world.rest(false);
}

fn step(world: &mut World, deed: Deed) {
    match deed {
        Deed::Act => act(world),
        Deed::Upload => {
            let uploads = world.uploads();
            let Some(&peer) = world.chance.pick(&uploads) else { return };
            let whole = world.plan.whole_uploads;
            let bytes = if world.chance.percent(whole) { usize::MAX } else { world.chance.between(1, 150) };
            world.arrive(peer, bytes);
        }
        Deed::Letters => {
            let pairs = world.pairs();
            let Some(&pair) = world.chance.pick(&pairs) else { return };
            let count = if world.chance.percent(50) { usize::MAX } else { world.chance.between(1, 3) };
            world.post(pair, count);
        }
        Deed::Write => {
            let writables = world.writables();
            let Some(&peer) = world.chance.pick(&writables) else { return };
            let bytes = if world.chance.percent(50) { usize::MAX } else { world.chance.between(1, 300) };
            world.write_on(peer, bytes);
        }
        Deed::Reading => {
            let Some(peer) = any(world, |_| true) else { return };
            world.peers[peer].reading = !world.peers[peer].reading;
        }
        Deed::Reset => {
            if let Some(peer) = any(world, |_| true) {
                world.reset(peer);
            }
        }
        Deed::HalfClose => {
            if let Some(peer) = any(world, |_| true) {
                world.end(peer);
            }
        }
        Deed::Tick => {
            let ms = world.chance.below(50) as u64;
            world.wait(Duration::from_millis(ms));
        }
        Deed::Deadline => {
            world.wait_for_deadline();
        }
        Deed::Congest => {
            let (shard, congested) = (world.chance.below(world.shards.len()), world.chance.percent(50));
            world.congest(shard, congested);
        }
        Deed::Connect => {
            if world.peers.iter().filter(|peer| !peer.closed).count() < world.plan.clients_max {
                let full = world.chance.percent(2);
                world.connect(full);
            }
        }
        Deed::Rest => world.rest(false),
    }
}

/// Any connection that lives and is as asked for.
fn any(world: &mut World, fits: impl Fn(Stage) -> bool) -> Option<usize> {
    let peers: Vec<usize> = (0..world.peers.len())
        .filter(|peer| !world.peers[*peer].closed && fits(world.peers[*peer].client.stage))
        .collect();
    world.chance.pick(&peers).copied()
}

/// A client takes its next step.
fn act(world: &mut World) {
    let Some(peer) = any(world, |stage| !matches!(stage, Stage::Opening | Stage::Over)) else { return };
    if !world.peers[peer].speaks() || world.peers[peer].client.authority.is_some() {
        return;
    }
    let stage = world.peers[peer].client.stage;
    match stage {
        Stage::Opened if world.chance.percent(3) => {
            let how = [Misdeed::BeforeHello, Misdeed::NoRoles][world.chance.below(2)];
            if world.log.heard().all(|(_, life, _)| life != world.peers[peer].client.life) {
                world.misbehave(peer, how);
            }
        }
        Stage::Opened => {
            let stray = world.chance.percent(2);
            world.join(peer, stray);
        }
        Stage::Joining => world.respond(peer),
        Stage::Joined if rejoins(world, peer) => {
            let stray = world.chance.percent(2);
            world.rejoin(peer, stray);
        }
        Stage::Joined if speaks_of_ends(world, peer) || revokes(world, peer) => {}
        Stage::Joined => {
            let count = if world.chance.percent(15) { world.chance.between(2, 5) } else { 1 };
            let mut messages = Vec::new();
            for _ in 0..count {
                let act = Act::ALL[world.chance.weighted(&world.plan.acts)];
                if act == Act::Misbehave && messages.is_empty() {
                    return misbehave(world, peer);
                }
                messages.extend(world.peers[peer].client.speak(act, &mut world.chance));
                if act == Act::Goodbye {
                    break;
                }
            }
            if !messages.is_empty() {
                world.say_all(peer, messages);
            }
        }
        _ => {}
    }
}

/// True if the client has asked for something to be published at its end, or for the end of another session.
fn speaks_of_ends(world: &mut World, peer: usize) -> bool {
    let (testaments, kills) = (world.plan.testaments, world.plan.kills);
    if testaments == 0 || world.peers[peer].client.watcher {
        return false;
    }
    if world.chance.percent(testaments) {
        let message = world.peers[peer].client.bequeath(&mut world.chance);
        world.say(peer, message);
        return true;
    }
    if !world.chance.percent(kills) {
        return false;
    }
    let realm = world.peers[peer].client.realm;
    let others = world.peers.iter().enumerate().filter(|(other, _)| *other != peer);
    let joined = others.filter(|(_, other)| other.client.session != 0 && other.client.realm == realm);
    let sessions: Vec<u64> = joined.map(|(_, other)| other.client.session).collect();
    let Some(&session) = world.chance.pick(&sessions) else { return false };
    let message = world.peers[peer].client.kill(session, &mut world.chance);
    world.say(peer, message);
    true
}

/// True if the client has asked for something to be taken away from a session of its realm, its own among them.
fn revokes(world: &mut World, peer: usize) -> bool {
    let revocations = world.plan.revocations;
    if revocations == 0 || world.peers[peer].client.watcher || !world.chance.percent(revocations) {
        return false;
    }
    let realm = world.peers[peer].client.realm;
    let here = world.peers.iter().filter(|other| !other.closed && other.client.realm == realm);
    let held = here.flat_map(|other| other.client.holdings().map(|what| (what, other.client.session)));
    let held: Vec<_> = held.collect();
    let Some(&(what, session)) = world.chance.pick(&held) else { return false };
    let message = world.peers[peer].client.revoke(what, session, &mut world.chance);
    world.say(peer, message);
    true
}

/// True if the client joins again at once, most likely while a letter to its old session is under way. Who has broken
/// the protocol is not heard any more.
fn rejoins(world: &mut World, peer: usize) -> bool {
    let percent = world.plan.rejoins * if world.invoked(peer) { 8 } else { 1 };
    percent > 0 && !world.peers[peer].client.guilty && world.chance.percent(percent)
}

fn misbehave(world: &mut World, peer: usize) {
    if let Some(how) = misdeed(world, peer) {
        world.misbehave(peer, how);
    }
}

/// A misdeed that is one for this client.
fn misdeed(world: &mut World, peer: usize) -> Option<Misdeed> {
    let how = *world.chance.pick(&Misdeed::IN_SESSION)?;
    let client = &world.peers[peer].client;
    let still = world.plan.calm && world.drained_by.is_none();
    match how {
        // In other runs, and in a shutdown, the answer may be under way, and the id free again.
        _ if client.ids == RequestIds::Any && still && client.waits() => Some(Misdeed::CallRepeated),
        Misdeed::RequestOutOfOrder if client.ids == RequestIds::Any => None,
        how => Some(how),
    }
}

/// A run in which every message is handled to its end, everywhere, before the next: the naive router must agree.
fn calm(world: &mut World) -> Result<(), String> {
    let mut twin = Twin {
        naive: Naive::new(REALM_CHECKS[..world.plan.realm_count].to_vec()),
        real: Essence::default(),
        stupid: Essence::default(),
    };
    for _ in 0..world.plan.steps {
        let from = world.log.entries.len();
        calm_step(world, &mut twin.naive, &twin.real);
        world.rest(false);
        failure(world)?;
        twin.compare(&world.log, from)?;
    }
    let name = if world.plan.shard_count == 1 { "one shard" } else { "many shards" };
    world.coverage.count(&format!("the naive router agreed, {name}"));
    Ok(())
}

fn calm_step(world: &mut World, naive: &mut Naive, names: &Essence) {
    let living = world.peers.iter().filter(|peer| !peer.closed).count();
    if living < world.plan.clients_max && world.chance.percent(if living < 3 { 50 } else { 5 }) {
        world.connect(false);
        return;
    }
    let Some(peer) = any(world, |stage| stage != Stage::Over) else { return };
    let life = world.peers[peer].client.life;
    let stage = world.peers[peer].client.stage;
    match stage {
        Stage::Opened => {
            let stray = world.chance.percent(3);
            world.join(peer, stray);
            let client = &world.peers[peer].client;
            naive.join(client, client.life, (!stray).then_some(client.realm));
        }
        Stage::Joined if world.chance.percent(2) => {
            world.reset(peer);
            naive.leave(life);
        }
        Stage::Joined if world.chance.percent(1) => {
            world.end(peer);
            naive.leave(life);
        }
        Stage::Joined if rejoins(world, peer) => {
            let stray = world.chance.percent(3);
            for (life, message) in world.rejoin(peer, stray).into_iter().flatten() {
                match (&world.peers[peer].next, message.code()) {
                    (Some(next), code::HELLO) => {
                        naive.join(next, life, (!stray).then_some(next.realm));
                    }
                    _ => naive.handle(life, &message),
                }
            }
        }
        Stage::Joined => {
            let act = Act::ALL[world.chance.weighted(&world.plan.acts)];
            if act != Act::Misbehave {
                let Some(message) = world.peers[peer].client.speak(act, &mut world.chance) else { return };
                let known = translate(&message, world.peers[peer].client.realm, naive, names);
                world.say(peer, message);
                return naive.handle(life, &known);
            }
            let Some(how) = misdeed(world, peer) else { return };
            match world.misbehave(peer, how) {
                Some(message) => naive.handle(life, &message),
                None => naive.violate(life),
            }
        }
        _ => {}
    }
}

/// A message with the ids the naive router has given.
fn translate(message: &Message, realm: usize, naive: &Naive, names: &Essence) -> Message {
    let kind = match message.code() {
        code::UNSUBSCRIBE => Kind::Subscription,
        code::UNREGISTER => Kind::Registration,
        _ => return message.clone(),
    };
    let id = names.name(kind, realm, message.number(2)).map_or(0, |name| naive.id_of(name));
    let mut translated = message.clone();
    translated.0[2] = Item::from(id);
    translated
}

struct Twin {
    naive: Naive,
    real: Essence,
    stupid: Essence,
}

impl Twin {
    /// Holds what was read since `from` against what the naive router has sent.
    fn compare(&mut self, log: &Log, from: usize) -> Result<(), String> {
        let mut real = Vec::new();
        for entry in &log.entries[from..] {
            let realm = log.lives.get(entry.life).map_or(0, |life| life.realm);
            match &entry.what {
                What::Said(message) => {
                    self.real.said(entry.life, realm, message);
                    self.stupid.said(entry.life, realm, message);
                }
                What::Heard(message) => {
                    real.extend(self.real.heard(entry.life, realm, message).map(|text| (entry.life, text)));
                }
                _ => {}
            }
        }
        let mut stupid = Vec::new();
        for (life, message) in std::mem::take(&mut self.naive.sent) {
            let realm = log.lives[life].realm;
            stupid.extend(self.stupid.heard(life, realm, &message).map(|text| (life, text)));
        }
        real.sort();
        stupid.sort();
        if real == stupid {
            return Ok(());
        }
        let missing: Vec<_> = stupid.iter().filter(|text| !real.contains(text)).collect();
        let surplus: Vec<_> = real.iter().filter(|text| !stupid.contains(text)).collect();
        Err(format!(
            "after entry {from} the naive router differs: missing {missing:#?}, surplus {surplus:#?}"
        ))
    }
}

/// All calls are answered; then all leave, and nothing may be left of them.
fn finish(world: &mut World) -> Result<(), String> {
    world.rest(false);
    while answer_all(world) {
        world.rest(false);
    }
    world.rest(true);
    if world.plan.drain {
        world.drain();
        let count = world.chance.below(60);
        steps(world, count)?;
    }
    world.tell_changes();
    depart(world);
    let made = world.changes.idle_ms.is_some();
    for _ in 0..ROUNDS_MAX {
        world.rest(false);
        failure(world)?;
        let gone = world.shards.iter().all(|shard| shard.peer_count() == 0);
        // A shutdown has deadlines of its own, which belong to no connection; so have realms that are idle.
        if gone && !((world.plan.drain || made) && world.next_deadline().is_some()) {
            break;
        }
        if !gone && world.drained_by.is_some_and(|end| end < world.now) {
            return Err("a connection has outlived the shutdown".to_owned());
        }
        if !world.wait_for_deadline() {
            return Err("a connection is left without a deadline".to_owned());
        }
    }
    if let Some(peer) = world.peers.iter().position(|peer| !peer.closed) {
        return Err(format!("connection {peer} was never closed"));
    }
    if let Some(shard) = world.shards.iter().position(|shard| !shard.is_empty()) {
        return Err(format!("shard {shard} is not empty after all have left: {:#?}", world.shards[shard]));
    }
    let realms = world.router.realms();
    if made && !world.plan.drain && !realms.is_empty() {
        return Err(format!("realms are left after all have left: {realms:#?}"));
    }
    if !world.router.is_empty() {
        return Err(format!("the router is not empty after all have left: {:#?}", world.router));
    }
    Ok(())
}

/// Every callee answers what it owes; false if none did.
fn answer_all(world: &mut World) -> bool {
    let mut answered = false;
    for peer in 0..world.peers.len() {
        while world.peers[peer].speaks() && world.peers[peer].client.stage == Stage::Joined {
            let Some(message) = world.peers[peer].client.answer(&mut world.chance) else { break };
            world.say(peer, message);
            answered = true;
        }
    }
    answered
}

/// Every client leaves in its own way.
fn depart(world: &mut World) {
    let pings = world.plan.limits.rawsocket_silence_ms_max > 0;
    for peer in 0..world.peers.len() {
        if world.peers[peer].closed {
            continue;
        }
        let joined = world.peers[peer].client.stage == Stage::Joined && world.peers[peer].speaks();
        match world.chance.below(if world.plan.drain { 10 } else { 5 }) {
            0 => world.reset(peer),
            1 | 2 => world.end(peer),
            3 if joined => {
                let goodbye = world.peers[peer].client.speak(Act::Goodbye, &mut world.chance);
                let said = goodbye.map(|goodbye| world.say(peer, goodbye)).is_some();
                if !said || world.chance.percent(70) {
                    world.end(peer);
                }
            }
            // Who answers no PING is closed for that, and in a shutdown everybody is in the end. Others would stay for ever.
            _ if world.plan.drain || (world.peers[peer].client.mute && pings) => {}
            _ => world.end(peer),
        }
    }
}

const ROUNDS_MAX: usize = 200;

#[test]
fn the_same_seed_makes_the_same_run() {
    for seed in 0..20 {
        assert_eq!(run(seed).log.trace(), run(seed).log.trace());
    }
    assert_ne!(Chance::new(0).next(), Chance::new(1).next());
}
