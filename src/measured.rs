//! What makes it fast, what was tried instead, and what that measured. Nothing here is code.
//!
//! Figures are from one 2-core virtual machine (AMD EPYC, Linux 6.18, Rust 1.95), router and load generator on it
//! together. Such a machine drifts by 40 % within an hour, so what counts are the ratios: each comparison was run
//! in turns with the other, in one go. `fanwire bench`, `cargo bench`, `benches/count-instructions` and
//! `perf/compare`, which has other systems beside it, repeat them.
//!
//! # Where the time goes
//!
//! One publication of 128 octets to 1,000 subscribers over RawSocket, 32 under way: of about 260 ns of CPU an
//! event 12 to 16 are ours, decoding, matching, encoding and queueing together; the rest is the kernel's, in
//! `send` and what it does on loopback for the receiver's sake (`/proc/PID/task/*/stat`, `perf record`). One
//! `send` takes 5 to 8 µs, whether it carries one event or thirty. So there are two ways to be fast: let more
//! events share a `send`, and do not spoil the cache before it.
//!
//! - **More events a write.** A turn takes all input there is, and writes once to each peer ([`crate::server`]).
//! - **No copies for each subscriber.** A frame is written once a turn, and a subscriber's queue is a range of
//!   what was written ([`crate::transport::arena`]).
//!
//! With 1,000 subscribers that is ahead of a relay that copies, with 100 level with it within noise (in some hours
//! behind it by a third: the load generator then reads faster than the router sends, sleeps in between, and 45 % of
//! the sends have to wake it, 4 % of the relay's; one wake takes about 2 µs. It is the same with a generator that asks
//! before it sleeps, which takes the lock of its poll instead). With 10 subscribers what a publication costs by
//! itself, 1.2 µs against next to nothing, is 120 ns an event, and the relay is ahead by a sixth.
//!
//! # Not reached, and why
//!
//! `perf/RESULTS.md` has what was to be reached. On this machine it is not in these places:
//!
//! - **Joining: 15 k sessions/s instead of 42.5 k.** Most of it is the machine's limit: a relay that only accepts and
//!   answers twice, as RawSocket does, gets 21 k with the same load generator, whose one thread is 96 % busy then, 96 %
//!   of that in the kernel. `connect` alone, which does both ends' work on loopback, takes 21 µs of its 57 µs a
//!   session (`perf record -g` of `fanwire bench conns --churn`). A quarter is ours: 44 µs of CPU a session against
//!   the relay's 34 µs, which is the hand-over from the thread that accepts to the worker with the fewest
//!   connections, two context switches and a write.
//! - **Latency at half the highest rate: p99 24 ms instead of a write to each (7.7 ms) and 2 ms.** The relay has 27 ms
//!   at half of its own rate, with which it is fully busy as well. One publication to 1,000 is due each 460 µs and
//!   takes 5 ms and more to write to each alone, so a dozen must share a write; one that comes just after a turn has
//!   begun waits for the end of it and of its own. Writing and reading in smaller steps would halve the wait, and
//!   would keep frames beyond their turn, which is what makes a turn cheap.
//! - **A publication to a topic taken at random of 1,000,000: 6.7 times one to a single topic, of 10,000 patterns 4.7
//!   times.** Always to the same one of them it is 1.02 and 1.03 times, so no search grows. What grows is that events
//!   to 250 sessions share no `send`, which events to one do: among as many sessions it is 1.56 and 1.20 times. The
//!   rest is memory that no cache holds: without sockets 0.37 µs become 1.8 µs (0.89 µs with the patterns), about
//!   fifteen misses for the remembered match, the directory's entry, the roster and the session (`cargo bench --bench
//!   router -- topics`).
//! - **Two shards: 1.67 times one by the CPU of the busier one (1.3 to 3.2) with 64 under way, 1.66 (1.5 to 3.5) with
//!   512, instead of 1.7.** In total they deliver 6 % and 22 % less here than one, since two workers and the generator
//!   share two cores: each worker finds fewer publications in a turn, so that a `send` carries less. What a second
//!   shard adds for each publication is one letter, counted in `tests/scaling.rs`.
//!
//! # Kept
//!
//! | what | against | measured |
//! | --- | --- | --- |
//! | one arena a turn, peers hold ranges of it, one write straight from it | a copy of each frame in each peer's own chunk (shared by reference above 1 KiB) | 32 under way: router CPU an event 274 against 290 ns, the writes being the rest; 256 under way: 33 against 107 ns, 38 % to 100 % more events; instructions of a publication to 100 subscribers 35,500 against 59,200; memory with 256 under way 5 against 53 MiB |
//! | a lane of the arena for each format, and one for replies | one lane for all | needed for the above as soon as subscribers differ: else frames of other formats, or a PUBLISHED, stand between those of one peer |
//! | what queueing touches in one cache line a peer ([`crate::router::queue`]) | in the peer's own struct of 232 octets | part of the above |
//! | small ranges copied together into one buffer, then one write | `writev` of up to 64 slices | calls, 16 callers, 8 open: within noise of each other at 2 to 8 slices; kept because a peer of many topics has hundreds of small ranges, which `writev` takes only 64 at a time |
//! | subscription tables that hold one octet-exact copy of each URI | a map for each use | 145 against 497 octets a subscription; 43 more for when it was created and where its identifier leads ([`crate::router::directory`]) |
//! | session tables that are a pointer until first use | five maps in the session | 522 against 669 octets a session |
//! | options of TCP set on the listener and inherited; one wake for a batch of accepted sockets | `setsockopt` and a wake for each | 6 system calls to join instead of 15 |
//! | a generation for each bucket of the directory | one for all | not measured against one: a subscription in one of 64 buckets makes the others' cached matches no older |
//! | one pass over a URI's octets to check it | by component and character | 690 of 5,400 instructions of a publication to one subscriber |
//!
//! # Offered, and off
//!
//! - **Asking for input before sleeping** (`--busy-poll-micros 50`). One call at a time: 55 µs instead of 145 µs
//!   at the median, and the router's CPU a call falls from 61 to 56 µs, since waking a core up costs this machine
//!   more than asking does. But a shard with little to do then takes a whole core while messages come in less than
//!   50 µs apart, which surprises who shares the machine. Fan-out and pipelined calls gain nothing.
//!
//! # Tried and rejected
//!
//! | what | measured |
//! | --- | --- |
//! | mimalloc instead of the system's allocator | calls: CPU 2.09 against 2.16 µs, fan-out the same within noise; a session takes 1,114 octets instead of 650, a process that does nothing 10.8 MB instead of 0.4 MB, and more stays after a flood (46 to 66 against 16 to 34 MB). The path of an event allocates nothing, so there is little for it to win |
//! | `SO_SNDBUF` of 64 KiB, 256 KiB, 1 MiB instead of what the kernel finds | within noise for 128 B at 32 and 256 under way, 4 KiB and 64 KiB; a fixed size is wrong for somebody |
//! | reading a socket again after a short read | within noise; the kernel documents that nothing is left, and the next edge comes |
//! | reading 256 KiB instead of 64 KiB from one peer at once | 64 KiB payload: 14 % fewer events, since a turn's frames fall out of the cache; 4 KiB: the same |
//! | `SO_BUSY_POLL` | p50 of one call 138 against 153 µs within noise of 133 to 153: loopback has no device queue to poll |
//! | pinning the worker, the load generator, or both | six rounds in turn, events/s: free 4.19 M (3.3 to 4.5), worker pinned 4.52 M (3.4 to 4.5), generator 4.38 M, both 3.97 M: within noise. Who wants it pins from outside (`taskset`, cgroups), with which a router that pins itself would fight |
//! | waking a worker only while it sleeps, which it announces with a swap before it looks for letters once more | joining the same; calls across two shards 224 k/s instead of 253 k/s, fan-out across two shards within noise. The system call it saves is cheap for whom is awake, and the announcement is one more line that two cores pass to and fro |
//! | thin instead of fat link-time optimisation | fan-out and calls within noise; a third less time to build is not worth a second profile |
//!
//! # Not tried
//!
//! - **Letters to oneself without a letter.** Of the 5,000 instructions of a publication to one subscriber the letter
//!   is less than 150 (callgrind).
//! - **Placing a session on the shard of its realm's hot topics.** A letter costs 2 to 13 ns and is shared by all
//!   subscribers of the other shard; `tests/scaling.rs` counts that nothing grows with shards that are not interested.
