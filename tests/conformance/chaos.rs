//! Callers and callees that do anything in any order, as far as calls are concerned: nothing panics, every call is
//! answered, and nothing is left.

use std::collections::BTreeSet;
use std::time::Duration;

use fanwire::error::CloseReason;
use serde_json::Value;

use crate::wire::{Client, KINDS, Wire};

const ALL: &str = r#"{"payload_passthru_mode":true,"call_canceling":true,"call_reroute":true,"call_timeout":true,
    "progressive_call_invocations":true,"progressive_call_results":true,"registration_revocation":true}"#;
const SOME: &str = r#"{"call_reroute":true}"#;

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

struct Actor {
    client: Client,
    session: u64,
    request: u64,
    /// Calls that it may go on with, or cancel; some of them are over.
    calls: Vec<u64>,
    /// Calls without an answer.
    pending: BTreeSet<u64>,
    /// Invocations to answer.
    owed: Vec<u64>,
    registrations: Vec<u64>,
}

impl Actor {
    fn join(wire: &mut Wire, dice: &mut Dice) -> Actor {
        let (caller, callee) = (dice.pick(&["{}", ALL, ALL, ALL]), dice.pick(&[ALL, ALL, SOME, "{}"]));
        let roles = format!(r#"{{"caller":{{"features":{caller}}},"callee":{{"features":{callee}}}}}"#);
        let client = wire.connect();
        let welcome = wire.ask(client, &format!(r#"[1,"realm1",{{"roles":{roles}}}]"#));
        let session = welcome[1].as_u64().unwrap();
        let (calls, owed, registrations) = (Vec::new(), Vec::new(), Vec::new());
        Actor { client, session, request: 0, calls, pending: BTreeSet::new(), owed, registrations }
    }

    fn next(&mut self) -> u64 {
        self.request += 1;
        self.request
    }

    /// `victim`: a session, and a registration that may be its own.
    fn speak(&mut self, dice: &mut Dice, victim: (u64, u64)) -> Option<String> {
        let procedure = dice.pick(&["p", "q"]);
        let ppt = dice.pick(&["", "", "", "", r#","ppt_scheme":"x""#, "", "", r#","ppt_keyid":"k""#]);
        Some(match dice.below(25) {
            0..3 => self.register(dice, procedure),
            3 => {
                let place = dice.below(self.registrations.len().max(1));
                let known = (place < self.registrations.len()).then(|| self.registrations.swap_remove(place));
                format!("[66,{},{}]", self.next(), known.unwrap_or(1))
            }
            4..11 => {
                let (progress, timeout) = (dice.below(3) == 0, dice.pick(&[0, 0, 20]));
                let request = self.next();
                self.calls.push(request);
                self.pending.insert(request);
                let options =
                    format!(r#""progress":{progress},"receive_progress":true,"timeout":{timeout}{ppt}"#);
                format!(r#"[48,{request},{{{options}}},"{procedure}",["a"]]"#)
            }
            11..13 if !self.calls.is_empty() => {
                let (request, progress) = (dice.pick(&self.calls), dice.below(2) == 0);
                format!(r#"[48,{request},{{"progress":{progress}}},"{procedure}",["b"]]"#)
            }
            13..15 if !self.calls.is_empty() => {
                let (request, mode) = (dice.pick(&self.calls), dice.pick(&["skip", "kill", "killnowait"]));
                format!(r#"[49,{request},{{"mode":"{mode}"}}]"#)
            }
            15..17 if !self.owed.is_empty() => {
                format!(r#"[70,{},{{"progress":true{ppt}}},["r"]]"#, dice.pick(&self.owed))
            }
            17..20 if !self.owed.is_empty() => {
                let invocation = self.owed.swap_remove(dice.below(self.owed.len()));
                format!(r#"[70,{invocation},{{"_x":1{ppt}}},["r"]]"#)
            }
            20..23 if !self.owed.is_empty() => {
                let invocation = self.owed.swap_remove(dice.below(self.owed.len()));
                format!(r#"[8,68,{invocation},{{"_x":1{ppt}}},"wamp.error.unavailable"]"#)
            }
            23 => {
                let (session, registration) = victim;
                let arguments = format!("[{registration},{session}]");
                format!(r#"[48,{},{{}},"wamp.registration.remove_callee",{arguments}]"#, self.next())
            }
            _ => return None,
        })
    }

    fn register(&mut self, dice: &mut Dice, procedure: &str) -> String {
        let others = ["first", "roundrobin", "_leastopen", "single", "_poweroftwo", "last"];
        let invoke = if procedure == "p" { "roundrobin" } else { dice.pick(&others) };
        let concurrency = dice.pick(&["", r#","concurrency":1"#]);
        let (force, forward) = (dice.below(12) == 0, dice.below(2) == 0);
        let options =
            format!(r#""invoke":"{invoke}","force_reregister":{force},"forward_timeout":{forward}"#);
        format!(r#"[64,{},{{{options}{concurrency}}},"{procedure}"]"#, self.next())
    }

    /// False if its session is over.
    fn hear(&mut self, messages: Vec<Value>, dice: &mut Dice) -> bool {
        let number = |value: &Value| value.as_u64().unwrap();
        for message in messages {
            match number(&message[0]) {
                3 => return false,
                65 => self.registrations.push(number(&message[2])),
                68 if !self.owed.contains(&number(&message[1])) => self.owed.push(number(&message[1])),
                50 if message[2]["progress"] != true => self.answered(number(&message[1]), dice),
                8 if message[1] == 48 => self.answered(number(&message[2]), dice),
                _ => {}
            }
        }
        true
    }

    /// Now and then it forgets that.
    fn answered(&mut self, request: u64, dice: &mut Dice) {
        self.pending.remove(&request);
        if dice.below(3) > 0 {
            self.calls.retain(|call| *call != request);
        }
    }
}

fn hear_all(wire: &mut Wire, actors: &mut Vec<Actor>, dice: &mut Dice) {
    actors.retain_mut(|actor| {
        let messages = wire.receive(actor.client);
        actor.hear(messages, dice) && !wire.ended(actor.client)
    });
}

/// Letters move, or time passes, and not everywhere at once.
fn disturb(wire: &mut Wire, dice: &mut Dice) {
    let shards = wire.shards.len();
    if dice.below(10) == 0 {
        wire.now += Duration::from_millis(7);
        let now = wire.now;
        wire.shards[dice.below(shards)].expire(now);
    }
    for _ in 0..dice.below(3) {
        wire.move_letters(dice.below(shards), dice.below(shards));
    }
}

/// Every callee answers what it owes, until nobody owes anything.
fn wind_up(wire: &mut Wire, actors: &mut Vec<Actor>, dice: &mut Dice) {
    wire.settle();
    loop {
        hear_all(wire, actors, dice);
        let mut said = false;
        for actor in &mut *actors {
            for invocation in std::mem::take(&mut actor.owed) {
                said = true;
                wire.send(actor.client, &format!("[70,{invocation},{{}}]"));
            }
        }
        if !said {
            break;
        }
    }
}

#[test]
fn every_call_is_answered_and_nothing_is_left_whatever_happens() {
    for seed in 0..60 {
        let mut dice = Dice(seed * 7919 + 1);
        let mut wire = Wire::with(1 + dice.below(4), KINDS[0], |settings| {
            if seed % 3 == 0 {
                settings.limits.invocations_open_per_session_max = 4;
                settings.limits.calls_waiting_per_registration_max = 5;
                settings.limits.call_kept_bytes_max = 5_000;
            }
        });
        let mut actors: Vec<Actor> = Vec::new();
        for step in 0..600 {
            if actors.len() < 6 || dice.below(60) == 0 {
                wire.settle();
                actors.push(Actor::join(&mut wire, &mut dice));
            }
            let (at, of) = (dice.below(actors.len()), dice.below(actors.len()));
            let victim = (actors[of].session, actors[of].registrations.last().copied().unwrap_or(1));
            if let Some(message) = actors[at].speak(&mut dice, victim) {
                wire.send_without_letters(actors[at].client, &message);
            } else if dice.below(8) == 0 {
                let (shard, key) = wire.place(actors.swap_remove(at).client);
                let now = wire.now;
                wire.shards[shard].close(key, CloseReason::Broken, now);
            }
            disturb(&mut wire, &mut dice);
            if step % 5 == 0 {
                wire.settle();
            }
            hear_all(&mut wire, &mut actors, &mut dice);
        }
        wind_up(&mut wire, &mut actors, &mut dice);
        let lost: Vec<_> = actors.iter().filter(|actor| !actor.pending.is_empty()).collect();
        assert!(lost.is_empty(), "seed {seed}: {:?}", lost[0].pending);
        wire.finish();
    }
}
