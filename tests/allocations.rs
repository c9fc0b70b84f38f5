//! Heap allocations, counted: delivering an event takes none, and a publication takes a constant number, however many
//! subscribers it has; nor does a rule that says who may.
//!
//! Buffers grow to what a workload needs and are used again, so what is counted is the steady state: the same turns have
//! been taken before. One thread takes all turns, and the counter counts for the thread that asks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod turns;

use allocation_counter::measure;
use fanwire::router::rules::{Action, Actions, Rule, Rules, Subject};
use fanwire::transport::Framing;
use fanwire::wamp::{MatchPolicy, Serializer, SessionId};

use turns::{Client, RAWSOCKET, Shards, Speech, publish};

/// Turns that are taken before anything is counted, and those that are counted.
const TURNS_BEFORE: usize = 20;
const TURNS: u64 = 50;

/// What a PUBLISH with subscribers takes from the heap, whatever their number: the publication, and the copy of its
/// payload.
const PER_PUBLICATION: u64 = 2;

/// What a payload takes in a serializer that is not the publisher's, once for the router: the list of its forms, its
/// octets, and what makes them shared.
const PER_TRANSCODED: u64 = 3;

const WEBSOCKET: Speech = Speech { framing: Framing::WebSocket, serializer: Serializer::Json };

/// A publisher on the first shard, subscribers of one topic on the last.
struct Scene {
    shards: Shards,
    publisher: Client,
    frames: Vec<u8>,
    input: Vec<u8>,
}

/// Allocations of all turns that were counted, by shard.
#[derive(PartialEq, Eq, Debug)]
struct Allocations {
    publisher: u64,
    subscribers: u64,
}

impl Scene {
    fn new(shards: usize, subscribers: &[Speech]) -> Scene {
        let mut shards = Shards::new(shards);
        let publisher = shards.join(0, RAWSOCKET);
        let home = shards.shards.len() - 1;
        for speech in subscribers {
            let subscriber = shards.join(home, *speech);
            shards.say(subscriber, r#"[32,1,{},"topic"]"#);
        }
        Scene { shards, publisher, frames: Vec::new(), input: Vec::new() }
    }

    /// Counts while the publisher's shard takes so many publications a turn, and the subscribers' shard (if that is
    /// another one) takes the letters and writes the events.
    fn count(&mut self, publications: usize, characters: usize) -> Allocations {
        self.frames = RAWSOCKET.frame(&publish("topic", characters)).repeat(publications);
        for _ in 0..TURNS_BEFORE {
            self.turns();
        }
        let mut all = Allocations { publisher: 0, subscribers: 0 };
        for _ in 0..TURNS {
            let Allocations { publisher, subscribers } = self.turns();
            all.publisher += publisher;
            all.subscribers += subscribers;
        }
        all
    }

    fn turns(&mut self) -> Allocations {
        self.input.clear();
        self.input.extend_from_slice(&self.frames);
        let home = self.shards.shards.len() - 1;
        let publisher = measure(|| {
            self.shards.send(self.publisher, &mut self.input);
        });
        let subscribers = measure(|| {
            self.shards.turn(home, &mut []);
        });
        Allocations { publisher: publisher.count_total, subscribers: subscribers.count_total }
    }

    fn delivered(&self) -> u64 {
        self.shards.shards.iter().map(|shard| shard.counters().events_delivered).sum()
    }
}

/// Counts in a new scene, and holds the number of events against what it must be.
fn count(shards: usize, subscribers: &[Speech], publications: usize, characters: usize) -> Allocations {
    let mut scene = Scene::new(shards, subscribers);
    let allocations = scene.count(publications, characters);
    let turns = TURNS_BEFORE + TURNS as usize;
    assert_eq!(scene.delivered(), (turns * publications * subscribers.len()) as u64);
    println!(
        "{shards} shards, {} subscribers, {publications} publications a turn, {characters} characters: \
         {allocations:?} in {TURNS} turns",
        subscribers.len()
    );
    allocations
}

fn assert_events_take_nothing(characters: usize, publications_max: usize) {
    for speech in [RAWSOCKET, Speech { framing: Framing::WebSocket, ..RAWSOCKET }] {
        for subscribers in [1, 10, 1000] {
            for publications in [1, publications_max] {
                let taken = TURNS * publications as u64 * PER_PUBLICATION;
                let subscribers = vec![speech; subscribers];
                assert_eq!(
                    count(2, &subscribers, publications, characters),
                    Allocations { publisher: taken, subscribers: 0 }
                );
                assert_eq!(
                    count(1, &subscribers, publications, characters),
                    Allocations { publisher: taken, subscribers: 0 }
                );
            }
        }
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![1u8; 100]))).count_total, 1);
    assert_eq!(measure(|| ()).count_total, 0);
}

#[test]
fn delivering_a_small_event_takes_nothing_from_the_heap() {
    assert_events_take_nothing(128, 32);
}

#[test]
fn delivering_a_large_event_takes_nothing_from_the_heap() {
    // More in one turn would pass `queued_bytes_per_turn`.
    assert_events_take_nothing(4096, 8);
}

#[test]
fn a_payload_is_taken_to_another_serializer_once_for_all_subscribers() {
    for subscribers in [2, 20, 200] {
        let mixed = [RAWSOCKET, WEBSOCKET].repeat(subscribers / 2);
        let Allocations { publisher, subscribers } = count(2, &mixed, 1, 128);
        assert_eq!(publisher, TURNS * PER_PUBLICATION);
        assert_eq!(subscribers, TURNS * PER_TRANSCODED);
    }
}

#[test]
fn a_publication_that_nobody_wants_takes_nothing() {
    for characters in [128, 4096] {
        assert_eq!(count(2, &[], 32, characters), Allocations { publisher: 0, subscribers: 0 });
    }
}

#[test]
fn a_rule_without_session_values_decides_without_the_heap() {
    use MatchPolicy::{Exact, Prefix, Wildcard};
    let rule = |(uri, policy)| Rule::new(uri, policy, Actions::ALL);
    let mut written = [("com.a", Exact), ("com.", Prefix), ("org..x", Wildcard)].map(rule).to_vec();
    written.push(Rule::new("com.b.secret", Exact, Actions::NONE));
    let rules = Rules::new(written).unwrap();
    let subject = Subject { authid: "alice", authrole: "frontend", session: SessionId(7), realm: "realm1" };
    for (uri, policy, rule) in [
        ("com.a", Exact, Some(0)),
        ("com.x", Exact, Some(1)),
        ("org.a.x", Exact, Some(2)),
        ("net", Exact, None),
        ("com.", Prefix, Some(3)),
        ("com.b.", Wildcard, Some(3)),
        ("com..x", Wildcard, Some(1)),
    ] {
        let mut decided = None;
        let taken = measure(|| decided = rules.decide(Action::Subscribe, uri, policy, &subject).rule());
        assert_eq!((decided, taken.count_total), (rule, 0), "{uri}");
    }
}

#[test]
fn a_rule_with_session_values_decides_about_a_uri_without_the_heap() {
    let rule = |(uri, policy)| Rule::new(uri, policy, Actions::ALL);
    let written = [("com.", MatchPolicy::Prefix), ("com.{authid}.{session}", MatchPolicy::Exact)].map(rule);
    let rules = Rules::new(written.to_vec()).unwrap();
    let subject = Subject { authid: "alice", authrole: "frontend", session: SessionId(7), realm: "realm1" };
    for (uri, rule) in [("com.alice.7", 1), ("com.alice.8", 0), ("com.x.y", 0)] {
        let mut decided = None;
        let exact = MatchPolicy::Exact;
        let taken = measure(|| decided = rules.decide(Action::Publish, uri, exact, &subject).rule());
        assert_eq!((decided, taken.count_total), (Some(rule), 0), "{uri}");
    }
}
