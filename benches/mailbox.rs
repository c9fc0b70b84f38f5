//! Letters through a mailbox's queue: what one costs by the size of its batch, with both ends on one thread. The wake is
//! not in it; it is one system call for each batch that finds the queue empty.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanwire::server::mailbox::Queue;

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

criterion_group!(benches, mailbox);
criterion_main!(benches);
