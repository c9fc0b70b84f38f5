//! What it costs to ask a realm's directory who is interested, and to change the answer.
//!
//! `hit` is what every PUBLISH pays: the shard's cache and two generations. `miss` is the directory itself, without
//! patterns; `patterns` is a miss among many patterns of four shapes, which must not grow with their number.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fanwire::router::ShardIndex;
use fanwire::router::directory::Directory;
use fanwire::router::match_cache::MatchCache;
use fanwire::wamp::{MatchPolicy, SessionId};

const SHAPES_MAX: usize = 64;
const SESSION: SessionId = SessionId(1);

fn topic(number: usize) -> String {
    format!("com.example.sensors.{number:05}.temperature")
}

/// A thousand topics, each with subscribers on two shards.
fn directory() -> Directory {
    let directory = Directory::new(SHAPES_MAX);
    for number in 0..1000 {
        for shard in [ShardIndex(0), ShardIndex(3)] {
            subscribe(&directory, &topic(number), MatchPolicy::Exact, shard);
        }
    }
    directory
}

fn subscribe(directory: &Directory, topic: &str, policy: MatchPolicy, shard: ShardIndex) {
    directory
        .subscribe(topic, policy, shard, SESSION, 0)
        .expect("the benches stay below the limit of shapes");
}

fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("directory/match");
    let topics: Vec<_> = (0..1000).map(topic).collect();
    let without_patterns = directory();

    let mut cache = MatchCache::new(8192);
    group.bench_function("hit", |bencher| {
        let mut topics = topics.iter().cycle();
        bencher.iter(|| {
            let topic = topics.next().expect("a cycle has no end");
            cache.topic(&without_patterns, black_box(topic)).shards
        });
    });

    group.bench_function("miss", |bencher| {
        let mut topics = topics.iter().cycle();
        bencher.iter(|| {
            let topic = topics.next().expect("a cycle has no end");
            without_patterns.matches(black_box(topic)).1.shards
        });
    });

    for patterns in [1, 100, 10_000] {
        let directory = directory();
        for number in 0..patterns {
            let (pattern, policy) = match number % 4 {
                0 => (format!("com.example.sensors.{number:05}."), MatchPolicy::Prefix),
                1 => (format!("com.example.{number:05}"), MatchPolicy::Prefix),
                2 => (format!("com.example.sensors.{number:05}."), MatchPolicy::Wildcard),
                _ => (format!("com.{number:05}...temperature"), MatchPolicy::Wildcard),
            };
            subscribe(&directory, &pattern, policy, ShardIndex(1));
        }
        group.bench_function(BenchmarkId::new("patterns", patterns), |bencher| {
            let mut topics = topics.iter().cycle();
            bencher.iter(|| {
                let topic = topics.next().expect("a cycle has no end");
                directory.matches(black_box(topic)).1.shards
            });
        });
    }
    group.finish();
}

fn changes(criterion: &mut Criterion) {
    let directory = directory();
    let mut group = criterion.benchmark_group("directory");
    for (name, topic) in [("subscribe+unsubscribe", topic(1)), ("subscribe+unsubscribe/created", topic(5000))]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (topic, policy, shard) = (black_box(topic.as_str()), MatchPolicy::Exact, ShardIndex(7));
                let subscribed =
                    directory.subscribe(topic, policy, shard, SESSION, 0).expect("exact URIs always fit");
                directory.unsubscribe(subscribed.key, subscribed.subscription, shard, true, SESSION)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, lookups, changes);
criterion_main!(benches);
