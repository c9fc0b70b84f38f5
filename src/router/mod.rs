//! All routing state: sans-IO and deterministic. Bytes, letters and time go in; bytes, letters and a deadline come out.
//!
//! # The tour
//!
//! - [`shard`]: a [`Shard`], its input, output and questions, and the one switch over messages.
//! - [`peer`]: the connections of a shard and the only way to queue bytes for one. [`queue`]: what is queued for each,
//!   and the only place where octets are. [`session`]: what a joined peer has.
//! - [`realm`]: what all shards share; [`realms`]: which realms there are, since they come and go.
//! - [`directory`]: which shards care about a URI, behind short locks;
//!   [`match_cache`]: how a shard reads it without them. [`pattern`]: exact, prefix and wildcard matching.
//! - [`broker`] and [`dealer`]: one of each for a realm in a shard. [`roster`]: who here has which subscription.
//!   [`publication`]: an event on its way. [`eligibility`]: whom it is for. [`retained`] and [`history`]: what is kept
//!   for those who come later. [`passthru`]: payload that nobody looks into. [`hashed_slab`]: what tables of very many
//!   small entries are made of.
//! - [`transport_details`]: how a peer is connected, as other programs are told.
//! - [`authentication`]: who may join. [`role`]: what sessions are; [`rules`]: what they may do; [`authorization`]:
//!   where that is asked; [`standing`]: whether they may stay.
//! - [`features`]: what peers announce, and what the router does.
//! - [`meta`]: what the router tells of itself, and its own procedures.
//! - [`letter`]: what shards tell one another. [`timers`], [`clock`], [`entropy`]: time and chance, both from outside.
//!
//! # The guarantees, and why they hold
//!
//! | guarantee | mechanism |
//! | --- | --- |
//! | live events of one publisher reach one subscriber in order, across topics | one input queue, one outbox, one mailbox order, one outbound queue |
//! | SUBSCRIBED before the first EVENT | in one call, before any letter is taken: directory, roster, SUBSCRIBED queued |
//! | no EVENT after UNSUBSCRIBED | in one call: roster left, UNSUBSCRIBED queued; delivery reads only the roster |
//! | a PUBLISH made after SUBSCRIBED was seen is delivered | the generation is bumped before SUBSCRIBED is queued; the publisher's shard loads it at each publish |
//! | what is retained or in the history when PUBLISHED is seen is found | the publisher's shard stores before it queues PUBLISHED |
//! | what is retained of a topic is the last event that its subscriber would have got, or nothing; live events behind it may be older | what makes room leaves a mark of whom it was for: see `retained.rs`; older ones were under way |
//! | a page of the history leaves nothing out unsaid | an unknown place is refused, and what does not fit is counted: see `history/query.rs`; serials are given under the lock of their log |
//! | who subscribes with `get_retained` misses no retained event | the publisher's shard stores and then looks in the directory; the subscriber's enters the directory and then looks in the store |
//! | calls of one caller reach one callee in order | as for events; the exceptions, calls that wait, that do not, and whose callee has gone or was unavailable, are in `dealer/choice.rs` |
//! | calls of a shared registration take turns over all shards | the registration counts them; the one that replaces it goes on counting |
//! | no callee has more invocations than its `concurrency`, and calls that wait are served in their order | counts and queue are one thing behind one lock, which is the registration's; see [`directory::Workload`]; what a callee was not told to stop stays counted in its session |
//! | a call is asked of each callee at most once, and of nobody else when it has begun | the call keeps who was asked, and what is needed to ask: see `dealer/kept.rs` |
//! | no call waits for nobody | the end of an invocation grants the next under the same lock; a registration's end is told to every shard that waits |
//! | no call fails for want of a callee while its procedure has one that was not asked | a call that comes back looks the procedure up anew; who declines leaves it to the others, busy or not |
//! | no session takes all the room for calls that wait or are kept | it leaves to others as much as it has |
//! | REGISTERED before the first INVOCATION | directory and REGISTERED in one call; `Invoke` waits in the mailbox |
//! | no INVOCATION of a new call after UNREGISTERED | `invoke` looks in the callee's own session |
//! | one final answer for each CALL | `complete` is the only gate, and it takes the call off the table |
//! | progressive results come in order, before the final answer and never after it | `Progress` and `Complete` in one outbox; `progress` and `complete` ask the same table |
//! | the parts of a call reach one invocation, in order | the call knows its callee, who knows the invocation by its call |
//! | a call's deadline is set only while the call is open | `close_call` is the only way off the table, and takes it back |
//! | INTERRUPT follows its INVOCATION, and only while that is open | `Invoke` then `Interrupt` in one outbox; the callee's session is asked |
//! | request ids to a peer count 1, 2, 3 | the counter lives in its session and is spent when INVOCATION is queued |
//! | on_create, on_subscribe, ..., on_delete of a subscription in this order | the directory records under the lock that orders the changes; one shard publishes the records |
//! | on_join of a session, all that is told of what it has, on_leave, in this order | its shard records them in this order, the same way |
//! | testaments are published before their session gives anything back, in their order | in one call: published, then the rosters left |
//! | testaments reach those who are there also at a shutdown | every shard publishes its own, and hears of those of all others, before it says GOODBYE: see `shard/drain.rs` |
//! | whom a call kills is gone, and whom it removes is out, when it is answered | the letter answers after it has been where they are |
//! | what waits for an authorizer is handled before all that its sender has sent after it | it is held, and the sender not read; see `shard/held.rs` |
//! | what one client sends is handled in its order; over long-poll, if it waits for each `send` or puts all in one batch | one stream from each; HTTP puts requests on several connections in no order, so any request ids are taken there |
//! | nothing follows GOODBYE or ABORT | `Peers::send` sends only to a session, and the session ends first |
//! | realms do not touch | broker and dealer belong to one realm; letters name it, and who has joined another one since is not whom they name |
//! | nobody is in a realm that is no more | who joins enters under the lock that a realm is taken out under; sessions of a realm that is closed are told before their shard forgets it |
//! | a change of settings loses nothing of a session that may stay | tables, queues and deadlines are not touched; what was asked by the old settings is answered by them |
//!
//! What would break them: moving a joined peer to another shard, a second path to a socket beside `Outbound`, and
//! handling a peer's next message while an earlier one is held.

pub mod authentication;
pub mod authorization;
pub mod broker;
pub mod clock;
pub mod dealer;
pub mod directory;
pub mod eligibility;
pub mod entropy;
pub mod features;
pub mod hashed_slab;
pub mod history;
pub mod letter;
pub mod match_cache;
pub mod meta;
pub mod passthru;
pub mod pattern;
pub mod peer;
pub mod publication;
pub mod queue;
pub mod realm;
pub mod realms;
pub mod retained;
pub mod role;
pub mod roster;
pub mod rules;
pub mod session;
pub mod shard;
pub mod standing;
pub mod timers;
pub mod transport_details;
mod unchanged;

use std::time::Instant;

use self::authorization::Denials;
use self::authorization::dynamic::Authorizers;
use self::entropy::Entropy;
use self::letter::Letters;
use self::peer::Peers;
use self::timers::Timers;
use crate::codec::payload::OwnedPayload;
use crate::error::Refusal;
use crate::wamp::message::{self, code};
use crate::wamp::{Dict, Message, RequestId, Serializer, Value};

pub use clock::Clock;
pub use history::HistoryRule;
pub use letter::Letter;
pub use realm::{Disclosure, ListenerSettings, RealmSettings, RequestIds, Router, Settings, Template};
pub use realms::RealmChanges;
pub use role::{Authorizer, Permissions, Role, VerdictCache};
pub use shard::{Closing, Losses, Shard};
pub use transport_details::{HttpFacts, TransportFacts};

/// Which shard; below the router's shard count, at most 63.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ShardIndex(pub u8);

impl ShardIndex {
    /// As a position in arrays of one entry a shard.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A peer of one shard. `index` is its place in the shard's slab, which is used again after the peer has gone; with
/// `serial` the key is never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PeerKey {
    /// Place in the slab; small and dense, so the shell can index its sockets by it.
    pub index: u32,
    /// How often the place was used before.
    pub serial: u32,
}

/// Position of a listener in [`Settings::listeners`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ListenerIndex(pub u32);

/// A realm of the router. `index` is its place in the table, which is used again after the realm is no more; with
/// `serial` the key is never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RealmKey {
    /// Place in the table; small and dense.
    pub index: u32,
    /// How often the place was used before.
    pub serial: u32,
}

impl RealmKey {
    /// The first realm there is.
    pub const FIRST: RealmKey = RealmKey { index: 0, serial: 0 };
}

/// What broker and dealer are lent for one message: everything of the shard that is not theirs.
#[derive(Debug)]
pub struct Context<'a> {
    /// This shard.
    pub index: ShardIndex,
    /// What all shards share.
    pub router: &'a Router,
    /// The peers here.
    pub peers: &'a mut Peers,
    /// The outboxes.
    pub letters: &'a mut Letters,
    /// Deadlines.
    pub timers: &'a mut Timers,
    /// The time of the input that is being worked on.
    pub now: Instant,
    /// Chance.
    pub entropy: &'a mut Entropy,
    /// Invocations that peers here have not answered.
    pub invocations_open: &'a mut usize,
    /// Letters that go round for peers here, which wait for their answer.
    pub rounds_open: &'a mut usize,
    /// The router is shutting down.
    pub draining: bool,
    /// What was not allowed, for the log.
    pub denials: &'a mut Denials,
    /// What authorizers have said.
    pub authorizers: &'a mut Authorizers,
    /// The session whose message this is may do everything; false if that is not known.
    pub unrestricted: bool,
}

impl Context<'_> {
    /// Answers a request with ERROR.
    pub fn refuse(&mut self, key: PeerKey, request_type: u64, request: RequestId, refusal: Refusal) {
        let text = Value::text(refusal.text());
        let payload = match refusal {
            Refusal::InvalidArgument(key)
            | Refusal::NoSuchPublication(key)
            | Refusal::OptionNotAllowed(key) => arguments(&[text, Value::text(key)]),
            _ => arguments(&[text]),
        };
        let error = refusal.uri().into();
        let error =
            message::Error { request_type, request, details: Dict::EMPTY, error, payload: payload.borrow() };
        self.peers.send(key, &Message::Error(error));
    }

    /// Answers a CALL with ERROR.
    pub fn refuse_call(&mut self, key: PeerKey, request: RequestId, refusal: Refusal) {
        self.refuse(key, code::CALL, request, refusal);
    }
}

/// Payload of the router's own making.
fn arguments(values: &[Value<'_>]) -> OwnedPayload {
    OwnedPayload::from_values(Serializer::MessagePack, values, &[])
        .expect("our own values have a form everywhere")
}
