//! Fanwire: a WAMP router for high fan-out. Broker and dealer in one process, RawSocket and WebSocket on one port, a
//! shard on every core.
//!
//! # The idea in six sentences
//!
//! 1. The router is N **shards**. A [shard](router::Shard) is pure state: bytes, letters and time go in; bytes,
//!    letters and a deadline come out. It owns its peers and everything promised to them.
//! 2. A **worker** is a thread that drives one shard: one poll, the sockets, one mailbox. It is the only code that
//!    touches the outside world.
//! 3. Shards share one thing about routing, the **directory** of each realm: which shards care about a URI. It is
//!    written by SUBSCRIBE and REGISTER under short locks, and read through caches stamped with a generation.
//! 4. Exactly who gets an event is the **roster**, owned by the subscriber's shard, never locked.
//! 5. Shards talk by **letters**, first in, first out for each pair of shards, also to themselves.
//! 6. Everything happens in **turns**: take input, do all the work, post letters, flush once. Each ordering guarantee
//!    of WAMP is then a short consequence of "one owner, one queue"; [`router`] has the table of them.
//!
//! # One PUBLISH
//!
//! ```text
//! worker A                                    the publisher's shard
//!   Worker::turn
//!     Connection::read          socket -> the worker's one read buffer
//!     Shard::receive
//!       Transport::next         deframe; WebSocket is unmasked in place; a partial tail is kept
//!       codec::decode           fields are borrowed; the payload is walked and checked, not built
//!       Broker::on_publish
//!         MatchCache::topic     generations equal: two atomic loads and one probe; else Directory::matches
//!         Publication::new      one copy of the payload; nothing at all if nobody is interested
//!         Letters::post         one Deliver for each interested shard
//!     Mailbox::append           one batch for each shard; wakes only if it was empty
//!
//! worker B                                    a subscriber's shard
//!   Worker::turn
//!     Mailbox::take             swaps the whole list
//!     Shard::take_letter
//!       Broker::deliver         for each subscription matched: its roster here
//!         EventFrames::frame    written once for each serializer and framing to the turn's arena, on first use
//!         Peers::send_event     too large for this peer? over its bound? else its range of the arena grows
//!     Connection::write         one write for each peer, straight from the arena, whatever the number of events
//!     Shard::flushed            what a socket did not take is set apart; the arena is used again
//! ```
//!
//! # One CALL
//!
//! A call is two promises, and so two tables: the caller's shard owns the *call* (one final answer), the callee's
//! shard the *invocation* (ids that count 1, 2, 3). See [`router::dealer`].
//!
//! # The folders
//!
//! Arrows point downward only; [`limits`] and [`error`] may be used by all. `tests/tidy.rs` checks it.
//!
//! ```text
//! main -> cli -> server -> router -> transport -> codec -> wamp
//!          |       |---> bridge -----|
//!          |---> config -> server, router, auth
//!          |---> client ------------|
//!          \---> load --------------/
//! ```
//!
//! - [`wamp`]: the vocabulary as types. [`auth`]: what authentication methods compute. [`codec`]: serialized bytes to
//!   messages and back. [`transport`]: a byte stream to serialized messages, for one peer. [`router`]: all routing
//!   state, sans-IO and deterministic.
//! - [`measured`]: why it is as it is, in figures. [`client`]: a small blocking client. [`load`]: a load
//!   generator, which is `fanwire bench`.
//! - [`bridge`]: what is no byte stream of its own becomes peers: the long-poll transport, sans-IO too.
//! - [`origin`]: where a connection comes from and what it has shown before its first octet. [`tls`]: records to
//!   plaintext and back, over a stream of whoever has one. Both use nothing of the rest.
//! - [`server`]: the shell, everything that blocks, fails or sleeps. [`config`]: what an operator may set, on the
//!   command line or in a file. [`cli`]: one file for each subcommand.

pub mod auth;
pub mod bridge;
pub mod cli;
pub mod client;
pub mod codec;
pub mod config;
pub mod counters;
pub mod error;
pub mod limits;
pub mod load;
pub mod measured;
pub mod origin;
pub mod router;
pub mod server;
mod sync;
pub mod tls;
pub mod transport;
pub mod wamp;
