//! The same program on 1 to 64 shards: what shards hand to one another is counted, and nothing may grow with the number of
//! shards that are not interested.
//!
//! 64 publishers, which are also callers and callees, and 640 subscribers are spread evenly. Real shards take turns as
//! workers let them, one after the other, so every count is exact and the same in every run. What is counted:
//!
//! - *letters* to other shards; each is one more owner of its publication, the one shared reference count;
//! - *appends*: batches put into another shard's mailbox, each takes its lock once;
//! - *wakes*: batches that found the mailbox empty, one system call each;
//! - *turns*: each takes the lock of the shard's own mailbox once;
//! - *lookups*: questions to the directory, each takes the locks of one bucket and of the patterns.
//!
//! Appends and wakes follow the shards that are at work: the same clients on more shards share fewer batches. Never is an
//! append without a letter, or a mailbox woken more than once for each turn of its owner.
//!
//! `cargo test --test scaling -- --nocapture` prints the counts as a table.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod turns;

use std::collections::BTreeSet;
use std::ops::Sub;

use turns::{Client, RAWSOCKET, Shards, publish};

const SHARDS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const PUBLISHERS: usize = 64;
const SUBSCRIBERS: usize = 640;
/// Publications, or calls, that a client has in one read.
const BURST: usize = 4;
/// How often every shard takes a turn with input while it is counted.
const ROUNDS: usize = 2;
/// Publications, or calls, that are counted.
const MESSAGES: u64 = (PUBLISHERS * BURST * ROUNDS) as u64;
/// So large that every request id of a call takes as many octets.
const FIRST_REQUEST: usize = 1_000_000;

/// Where those are who want what a client has to say: on shards that follow its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Interest {
    /// A topic for each publisher, ten subscribers, all on the next shard.
    OneShard,
    /// The same, five of them on the shard after that.
    TwoShards,
    /// One topic, and everybody has subscribed to it.
    AllShards,
    /// No topic: each client calls its neighbour, who is on the next shard.
    Calls,
}

const INTERESTS: [Interest; 4] =
    [Interest::OneShard, Interest::TwoShards, Interest::AllShards, Interest::Calls];

impl Interest {
    fn topic(self, publisher: usize) -> String {
        match self {
            Interest::AllShards => "topic".to_owned(),
            _ => format!("topic.{publisher}"),
        }
    }

    /// How far from its publisher's shard a subscriber is.
    fn away(self, subscriber: usize) -> usize {
        match self {
            Interest::TwoShards => 1 + subscriber / PUBLISHERS % 2,
            Interest::AllShards => subscriber / PUBLISHERS + subscriber % PUBLISHERS,
            Interest::OneShard | Interest::Calls => 1,
        }
    }

    /// How many of `shards` get a letter for each message, besides the one where it came in.
    fn others(self, shards: usize) -> usize {
        let interested: BTreeSet<usize> = match self {
            Interest::AllShards => (0..shards).collect(),
            _ => (0..SUBSCRIBERS).map(|subscriber| self.away(subscriber) % shards).collect(),
        };
        interested.iter().filter(|away| **away != 0).count()
    }
}

/// What a number of rounds has cost.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Costs {
    events: u64,
    letters: u64,
    appends: u64,
    wakes: u64,
    lookups: u64,
}

impl Sub for Costs {
    type Output = Costs;

    fn sub(self, before: Costs) -> Costs {
        Costs {
            events: self.events - before.events,
            letters: self.letters - before.letters,
            appends: self.appends - before.appends,
            wakes: self.wakes - before.wakes,
            lookups: self.lookups - before.lookups,
        }
    }
}

/// A router with its clients, on the first `used` of its shards.
struct Program {
    interest: Interest,
    shards: Shards,
    clients: Vec<Client>,
    /// Rounds so far.
    rounds: usize,
}

impl Program {
    fn new(interest: Interest, used: usize, shards: usize) -> Program {
        let mut shards = Shards::new(shards);
        let clients: Vec<_> = (0..PUBLISHERS).map(|number| shards.join(number % used, RAWSOCKET)).collect();
        match interest {
            Interest::Calls => {
                for (number, client) in clients.iter().enumerate() {
                    shards.say(*client, &format!(r#"[64,1,{{}},"procedure.{number}"]"#));
                }
            }
            _ => {
                for number in 0..SUBSCRIBERS {
                    let publisher = number % PUBLISHERS;
                    let home = (publisher + interest.away(number)) % used;
                    let subscriber = shards.join(home, RAWSOCKET);
                    shards.say(subscriber, &format!(r#"[32,1,{{}},"{}"]"#, interest.topic(publisher)));
                }
            }
        }
        Program { interest, shards, clients, rounds: 0 }
    }

    /// What these many rounds cost when as many have gone before, so that caches are filled and letters are under way.
    fn steady(&mut self) -> Costs {
        self.run(ROUNDS);
        let before = self.costs();
        self.run(ROUNDS);
        self.costs() - before
    }

    fn run(&mut self, rounds: usize) {
        for _ in 0..rounds {
            match self.interest {
                Interest::Calls => self.call(),
                _ => self.publish(),
            }
            self.rounds += 1;
        }
    }

    /// Every client has something to publish.
    fn publish(&mut self) {
        let interest = self.interest;
        self.round(|publisher, _| Some(publish(&interest.topic(publisher), 100)));
    }

    /// Every client calls its neighbour and is answered.
    fn call(&mut self) {
        let first = self.rounds * BURST;
        self.round(|caller, place| {
            let (request, callee) = (FIRST_REQUEST + first + place, (caller + 1) % PUBLISHERS);
            Some(format!(r#"[48,{request},{{}},"procedure.{callee}",[1]]"#))
        });
        self.round(|_, _| None);
        // A callee's invocations are counted 1, 2, 3.
        let octets = self.round(|_, place| Some(format!("[70,{},{{}},[1]]", first + place + 1)))
            + self.round(|_, _| None);
        let result = RAWSOCKET.frame(&format!("[50,{FIRST_REQUEST},{{}},[1]]"));
        assert_eq!(octets, PUBLISHERS * BURST * result.len(), "every call is answered");
    }

    /// A turn of every shard, with a burst of messages from each client, given by the client's number and the message's
    /// place in the burst. Returns the octets written.
    fn round(&mut self, message: impl Fn(usize, usize) -> Option<String>) -> usize {
        let burst = |client| (0..BURST).filter_map(|place| message(client, place)).collect::<Vec<_>>();
        let mut octets = 0;
        for shard in 0..self.shards.shards.len() {
            let mut bursts: Vec<_> = self
                .clients
                .iter()
                .enumerate()
                .filter(|(_, client)| client.shard == shard)
                .map(|(number, client)| {
                    let frames = burst(number).iter().flat_map(|message| RAWSOCKET.frame(message)).collect();
                    (*client, frames)
                })
                .collect::<Vec<(Client, Vec<u8>)>>();
            let mut input: Vec<_> =
                bursts.iter_mut().map(|(client, frames)| (*client, &mut frames[..])).collect();
            octets += self.shards.turn(shard, &mut input);
        }
        octets
    }

    fn costs(&self) -> Costs {
        let handed = self.shards.handed;
        let mut costs = Costs {
            letters: handed.letters,
            appends: handed.appends,
            wakes: handed.wakes,
            ..Costs::default()
        };
        for shard in &self.shards.shards {
            costs.events += shard.counters().events_delivered;
            costs.lookups += shard.counters().directory_lookups;
        }
        costs
    }
}

/// What the steady state must cost on so many shards.
fn expected(interest: Interest, shards: usize) -> Costs {
    let others = interest.others(shards) as u64;
    // In a round of calls each shard has two busy turns: one that begets invocations, one that begets results.
    let busy_turns = (ROUNDS * shards) as u64 * if interest == Interest::Calls { 2 } else { 1 };
    Costs {
        events: match interest {
            Interest::OneShard | Interest::TwoShards => MESSAGES * (SUBSCRIBERS / PUBLISHERS) as u64,
            Interest::AllShards => MESSAGES * SUBSCRIBERS as u64,
            Interest::Calls => 0,
        },
        letters: MESSAGES * others * if interest == Interest::Calls { 2 } else { 1 },
        // One batch a turn for each shard that is interested in any of the turn's messages.
        appends: busy_turns * others,
        // At most one for each turn of the mailbox's owner.
        wakes: if others == 0 { 0 } else { busy_turns },
        lookups: 0,
    }
}

#[test]
fn each_message_costs_a_letter_for_each_other_interested_shard_and_each_turn_a_lock_and_a_wake() {
    println!("| interest | shards | messages | events | letters | appends | wakes | lookups |");
    println!("| --- | --: | --: | --: | --: | --: | --: | --: |");
    for interest in INTERESTS {
        for shards in SHARDS {
            let costs = Program::new(interest, shards, shards).steady();
            let Costs { events, letters, appends, wakes, lookups } = costs;
            println!(
                "| {interest:?} | {shards} | {MESSAGES} | {events} | {letters} | {appends} | {wakes} | {lookups} |"
            );
            assert_eq!(costs, expected(interest, shards), "{interest:?} on {shards}");
        }
    }
}

#[test]
fn shards_that_are_not_interested_cost_nothing() {
    for interest in INTERESTS {
        for shards in SHARDS.into_iter().filter(|shards| *shards >= 4) {
            let costs = Program::new(interest, 4, shards).steady();
            assert_eq!(costs, expected(interest, 4), "{interest:?} on 4 of {shards}");
        }
    }
}

#[test]
fn a_change_of_interest_is_looked_up_once_by_each_shard_for_each_topic_it_publishes() {
    for interest in [Interest::OneShard, Interest::AllShards] {
        for shards in SHARDS {
            let mut program = Program::new(interest, shards, shards);
            program.run(1);
            let topics = if interest == Interest::AllShards { shards } else { PUBLISHERS } as u64;
            assert_eq!(program.costs().lookups, topics, "{interest:?} on {shards}");
            // A pattern, so that the change may concern every topic.
            let watcher = program.shards.join(0, RAWSOCKET);
            program.shards.say(watcher, r#"[32,1,{"match":"prefix"},"elsewhere"]"#);
            program.run(1);
            assert_eq!(program.costs().lookups, 2 * topics, "{interest:?} on {shards}");
            // One more subscriber on a shard that has one changes nobody's answer.
            let second = program.shards.join(0, RAWSOCKET);
            program.shards.say(second, r#"[32,1,{"match":"prefix"},"elsewhere"]"#);
            program.run(1);
            assert_eq!(program.costs().lookups, 2 * topics, "{interest:?} on {shards}");
        }
    }
}
