//! Letters through a mailbox's queue: what one costs by the size of its batch, with both ends on one thread. The wake is
//! not in it; it is one system call for each batch that finds the queue empty.
//!
//! `mailbox` moves words of a letter's size, `letter` what one shard really posts to another: a publication, which each
//! letter shares, counted in octets and dropped at the other end.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanwire::codec::payload::OwnedPayload;
use fanwire::router::directory::Match;
use fanwire::router::publication::Publication;
use fanwire::router::{self, RealmKey};
use fanwire::server::mailbox::Queue;
use fanwire::wamp::PublicationId;

/// As large as a letter may be.
type Letter = [u64; 8];

fn mailbox(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mailbox");
    for letters in [1usize, 8, 64, 1024] {
        let queue: Queue<Letter> = Queue::new(65_536, 64 << 20);
        let (mut batch, mut taken) = (Vec::new(), Vec::new());
        group.throughput(Throughput::Elements(letters as u64));
        group.bench_function(BenchmarkId::from_parameter(letters), |bencher| {
            bencher.iter(|| {
                batch.resize(letters, [7; 8]);
                black_box(queue.append(&mut batch, 128 * letters));
                queue.take(&mut taken);
                black_box(&taken);
                taken.clear();
            });
        });
    }
    group.finish();
}

fn letter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("letter");
    let payload = OwnedPayload::from_json(Some("[1]"), None).expect("the bench's own payload");
    let publication = Publication::new(PublicationId(7), "topic", Arc::new(Match::default()), payload);
    let publication = Arc::new(publication);
    for letters in [1usize, 64] {
        let queue: Queue<router::Letter> = Queue::new(65_536, 64 << 20);
        let (mut batch, mut taken) = (Vec::new(), Vec::new());
        group.throughput(Throughput::Elements(letters as u64));
        group.bench_function(BenchmarkId::from_parameter(letters), |bencher| {
            bencher.iter(|| {
                for _ in 0..letters {
                    let publication = publication.clone();
                    batch.push(router::Letter::Deliver { realm: RealmKey::FIRST, publication });
                }
                let octets = batch.iter().map(router::Letter::bytes).sum();
                black_box(queue.append(&mut batch, octets));
                queue.take(&mut taken);
                for letter in taken.drain(..) {
                    drop(black_box(letter));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, mailbox, letter);
criterion_main!(benches);
