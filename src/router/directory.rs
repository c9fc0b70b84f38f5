//! The one thing the shards of a realm share about routing: which shards hold subscribers of a subscription, and
//! which callees hold a registration.
//!
//! It is written by SUBSCRIBE and REGISTER and their opposites, under short locks, and read through each shard's
//! [`MatchCache`](super::match_cache::MatchCache). *Who* gets an event on a shard, and how many they are, says that
//! shard's roster; a session's own list of what it holds is the session's. URIs stand here and nowhere else: who must
//! come back to an entry keeps its [`DirectoryKey`].
//!
//! Topics and procedures are two `Table`s of the same make: exact URIs in `BUCKETS` partitions by hash, all
//! patterns in one more. A partition is a lock, what it guards, and a generation. Invariants:
//!
//! - A generation changes only under its partition's write lock, and exactly when a shard set or a list of callees
//!   changes. One more subscriber on a shard that has one changes nothing, so a large fan-out disturbs no cache.
//! - A [`Stamp`] is the generations of the two partitions an answer was read from, read under both locks. Generations
//!   only grow, so if both are found unchanged, both were unchanged at the earlier of the two loads, and the answer
//!   is what the directory would have said then. Whatever returned before the lookup began is in it.
//! - Locks are taken in the order bucket, patterns, records. No guard leaves a function, and no code outside this
//!   file and the plain maps of `pattern.rs` runs while one is held.
//! - What nobody holds is not in the tables.
//!
//! Answers never follow the order of a hash map: see `pattern.rs` for the order they do follow.

mod listing;

use std::hash::BuildHasher;
use std::sync::Arc;

use crossbeam::utils::CachePadded;
use foldhash::fast::RandomState;
use smallvec::SmallVec;

pub use super::pattern::Full;
use super::pattern::{self, UriKey, UriMap};
use super::{PeerKey, ShardIndex};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::wamp::uri::reserved;
use crate::wamp::{MatchPolicy, RegistrationId, SessionId, SubscriptionId};

/// A realm's subscriptions and registrations, as far as all shards must know them.
#[derive(Debug)]
pub struct Directory {
    topics: Table<Subscription>,
    procedures: Table<Arc<Registration>>,
    /// The last subscription id given.
    subscription_id: AtomicU64,
    /// The last registration id given.
    registration_id: AtomicU64,
    /// Subscriptions that match a meta event; while there are any, changes are recorded.
    watchers: AtomicU64,
    records: Mutex<Vec<Record>>,
}

/// Where a subscription or a registration stands, for as long as it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectoryKey {
    /// The bucket, or what comes after the last one for patterns.
    partition: u32,
    entry: UriKey,
}

/// What [`Directory::subscribe`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscribed {
    /// The subscription joined, or created.
    pub subscription: SubscriptionId,
    /// Where it stands.
    pub key: DirectoryKey,
    /// There are records to take: see [`Directory::take_records`].
    pub recorded: bool,
}

/// What [`Directory::unsubscribe`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsubscribed {
    /// There are records to take: see [`Directory::take_records`].
    pub recorded: bool,
}

/// What [`Directory::register`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registered {
    /// The registration created.
    pub registration: RegistrationId,
    /// Where it stands.
    pub key: DirectoryKey,
    /// There are records to take: see [`Directory::take_records`].
    pub recorded: bool,
}

/// What [`Directory::unregister`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unregistered {
    /// There are records to take: see [`Directory::take_records`].
    pub recorded: bool,
}

/// Why [`Directory::register`] did nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegisterRefusal {
    /// The procedure is registered with the same policy.
    AlreadyExists,
    /// As for subscriptions: see [`Full`].
    Full,
}

impl From<Full> for RegisterRefusal {
    fn from(_: Full) -> RegisterRefusal {
        RegisterRefusal::Full
    }
}

/// Who answers calls of a registration, and where.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Callee {
    /// The shard that owns the peer.
    pub shard: ShardIndex,
    /// The peer there.
    pub peer: PeerKey,
    /// Its session.
    pub session: SessionId,
}

/// A registration as it was at one moment; a change makes a new one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registration {
    /// Unique in the realm for as long as the router runs.
    pub id: RegistrationId,
    /// The URI or pattern that was registered.
    pub procedure: Box<str>,
    /// How `procedure` is matched.
    pub policy: MatchPolicy,
    /// In the order in which they registered; never empty.
    pub callees: Vec<Callee>,
}

/// Who is interested in one topic.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Match {
    /// The shards that hold any subscriber: bit 0 is shard 0.
    pub shards: u64,
    /// Exact, then prefixes by growing length, then wildcards (see `pattern.rs` for their order).
    pub subscriptions: SmallVec<[MatchedSubscription; 2]>,
}

/// One of the subscriptions a topic matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MatchedSubscription {
    /// For EVENT, and to find the roster.
    pub id: SubscriptionId,
    /// EVENT names the topic if this is a pattern.
    pub policy: MatchPolicy,
    /// The shards that hold subscribers of this one.
    pub shards: u64,
}

/// When an answer was given: [`Directory::topic_current`] and [`Directory::procedure_current`] tell whether it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    bucket: usize,
    bucket_generation: u64,
    patterns_generation: u64,
}

/// A change of the directory, to be published as a meta event (advanced profile, subscription and registration meta
/// API). `session` is the session that caused it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are the arguments of the meta events")]
pub enum Record {
    /// `wamp.subscription.on_create`
    SubscriptionCreated {
        session: SessionId,
        subscription: SubscriptionId,
        topic: Box<str>,
        policy: MatchPolicy,
    },
    /// `wamp.subscription.on_subscribe`
    Subscribed { session: SessionId, subscription: SubscriptionId },
    /// `wamp.subscription.on_unsubscribe`
    Unsubscribed { session: SessionId, subscription: SubscriptionId },
    /// `wamp.subscription.on_delete`
    SubscriptionDeleted { session: SessionId, subscription: SubscriptionId },
    /// `wamp.registration.on_create`
    RegistrationCreated {
        session: SessionId,
        registration: RegistrationId,
        procedure: Box<str>,
        policy: MatchPolicy,
    },
    /// `wamp.registration.on_register`
    Registered { session: SessionId, registration: RegistrationId },
    /// `wamp.registration.on_unregister`
    Unregistered { session: SessionId, registration: RegistrationId },
    /// `wamp.registration.on_delete`
    RegistrationDeleted { session: SessionId, registration: RegistrationId },
}

impl Directory {
    /// An empty directory. Its topics, and its procedures, may have patterns of `pattern_shapes_max` shapes.
    pub fn new(pattern_shapes_max: usize) -> Directory {
        Directory {
            topics: Table::new(pattern_shapes_max),
            procedures: Table::new(pattern_shapes_max),
            subscription_id: AtomicU64::new(0),
            registration_id: AtomicU64::new(0),
            watchers: AtomicU64::new(0),
            records: Mutex::new(Vec::new()),
        }
    }

    /// The subscription to exactly this topic or pattern, if anybody has it.
    pub fn subscription(&self, topic: &str, policy: MatchPolicy) -> Option<SubscriptionId> {
        let (_, partition) = self.topics.partition_of(topic, policy);
        let subscriptions = partition.entries.read();
        let key = subscriptions.find(topic, policy)?;
        subscriptions.entry(key).map(|entry| entry.value.id)
    }

    /// One more subscriber on `shard`. A session that has the subscription already must not come again.
    ///
    /// When this has returned, every lookup that begins later finds the shard.
    pub fn subscribe(
        &self,
        topic: &str,
        policy: MatchPolicy,
        shard: ShardIndex,
        session: SessionId,
    ) -> Result<Subscribed, Full> {
        let (place, partition) = self.topics.partition_of(topic, policy);
        let mut subscriptions = partition.entries.write();
        let (entry, value) = subscriptions.find_or_insert(topic, policy, || Subscription {
            id: SubscriptionId(next(&self.subscription_id)),
            shards: 0,
        })?;
        let subscription = value.id;
        let created = value.shards == 0;
        if value.shards & bit(shard) == 0 {
            value.shards |= bit(shard);
            partition.changed();
        }
        // The first watcher's own arrival is not recorded: nobody watched when it came.
        let recorded = self.watched() && !reserved(topic);
        if created && watches(topic, policy) {
            self.watchers.fetch_add(1, Ordering::Release);
        }
        if recorded {
            let mut records = self.records.lock();
            if created {
                records.push(Record::SubscriptionCreated {
                    session,
                    subscription,
                    topic: topic.into(),
                    policy,
                });
            }
            records.push(Record::Subscribed { session, subscription });
        }
        Ok(Subscribed { subscription, key: DirectoryKey { partition: place, entry }, recorded })
    }

    /// One subscriber less on `shard`, which was its `last` or not.
    ///
    /// # Panics
    ///
    /// If there was none, or another subscription stands there: what a session holds is known to the session, which
    /// must not ask for anything else.
    pub fn unsubscribe(
        &self,
        key: DirectoryKey,
        subscription: SubscriptionId,
        shard: ShardIndex,
        last: bool,
        session: SessionId,
    ) -> Unsubscribed {
        let partition = self.topics.partition(key.partition);
        let mut subscriptions = partition.entries.write();
        let entry = subscriptions.entry_mut(key.entry).expect("a session leaves what it has joined");
        assert_eq!(entry.value.id, subscription, "a session leaves the subscription it has joined");
        assert!(entry.value.shards & bit(shard) != 0, "a subscriber leaves the shard it has joined on");
        if last {
            entry.value.shards &= !bit(shard);
            partition.changed();
        }
        let deleted = entry.value.shards == 0;
        if deleted && watches(entry.uri(), entry.policy) {
            self.watchers.fetch_sub(1, Ordering::Release);
        }
        let recorded = self.watched() && !reserved(entry.uri());
        if deleted {
            subscriptions.remove(key.entry);
        }
        if recorded {
            let mut records = self.records.lock();
            records.push(Record::Unsubscribed { session, subscription });
            if deleted {
                records.push(Record::SubscriptionDeleted { session, subscription });
            }
        }
        Unsubscribed { recorded }
    }

    /// `callee` answers calls of `procedure` from now on.
    ///
    /// When this has returned, every lookup that begins later finds it.
    pub fn register(
        &self,
        procedure: &str,
        policy: MatchPolicy,
        callee: Callee,
    ) -> Result<Registered, RegisterRefusal> {
        let (place, partition) = self.procedures.partition_of(procedure, policy);
        let mut registrations = partition.entries.write();
        if registrations.find(procedure, policy).is_some() {
            return Err(RegisterRefusal::AlreadyExists);
        }
        let (entry, value) = registrations.find_or_insert(procedure, policy, || {
            let id = RegistrationId(next(&self.registration_id));
            Arc::new(Registration { id, procedure: procedure.into(), policy, callees: vec![callee] })
        })?;
        partition.changed();
        let registration = value.id;
        let recorded = self.watched() && !reserved(procedure);
        if recorded {
            let session = callee.session;
            let procedure = procedure.into();
            let mut records = self.records.lock();
            records.push(Record::RegistrationCreated { session, registration, procedure, policy });
            records.push(Record::Registered { session, registration });
        }
        Ok(Registered { registration, key: DirectoryKey { partition: place, entry }, recorded })
    }

    /// `callee` answers calls of the registration no longer.
    ///
    /// # Panics
    ///
    /// If it did not: what a session has registered is known to the session.
    pub fn unregister(
        &self,
        key: DirectoryKey,
        registration: RegistrationId,
        callee: Callee,
    ) -> Unregistered {
        let partition = self.procedures.partition(key.partition);
        let mut registrations = partition.entries.write();
        let entry = registrations.remove(key.entry).expect("a callee leaves what it has registered");
        assert_eq!(entry.value.id, registration, "a callee leaves the registration it has made");
        assert_eq!(entry.value.callees, [callee], "a callee leaves only for itself");
        partition.changed();
        let recorded = self.watched() && !reserved(entry.uri());
        if recorded {
            let session = callee.session;
            let mut records = self.records.lock();
            records.push(Record::Unregistered { session, registration });
            records.push(Record::RegistrationDeleted { session, registration });
        }
        Unregistered { recorded }
    }

    /// Every subscription that `topic` matches, and the shards that hold their subscribers.
    pub fn matches(&self, topic: &str) -> (Stamp, Arc<Match>) {
        let (bucket, partition) = self.topics.bucket(topic);
        let exact = partition.entries.read();
        let patterns = self.topics.patterns.entries.read();
        let mut found = Match::default();
        for entry in exact.matching(topic).chain(patterns.matching(topic)) {
            let Subscription { id, shards } = entry.value;
            found.shards |= shards;
            found.subscriptions.push(MatchedSubscription { id, policy: entry.policy, shards });
        }
        (self.topics.stamp(bucket), Arc::new(found))
    }

    /// The registration that answers a call of `procedure`: the exact one, else the one with the longest prefix, else
    /// the preferred wildcard (see `pattern.rs`).
    pub fn registration(&self, procedure: &str) -> (Stamp, Option<Arc<Registration>>) {
        let (bucket, partition) = self.procedures.bucket(procedure);
        let exact = partition.entries.read();
        let patterns = self.procedures.patterns.entries.read();
        let preferred = exact.preferred(procedure).or_else(|| patterns.preferred(procedure));
        (self.procedures.stamp(bucket), preferred.map(|entry| entry.value.clone()))
    }

    /// True if [`Directory::matches`] would still say what it said with this stamp. Two atomic loads.
    pub fn topic_current(&self, stamp: Stamp) -> bool {
        self.topics.current(stamp)
    }

    /// True if [`Directory::registration`] would still say what it said with this stamp. Two atomic loads.
    pub fn procedure_current(&self, stamp: Stamp) -> bool {
        self.procedures.current(stamp)
    }

    /// Appends what has been recorded since the last call, in the order in which the directory changed.
    ///
    /// Changes are recorded while there is a subscription that matches any of the meta events of subscriptions and
    /// registrations, except changes to URIs that begin with `wamp`. The caller of what returned `recorded` sees to
    /// it that the realm's home shard calls this, and that one shard alone does: so meta events keep this order.
    pub fn take_records(&self, into: &mut Vec<Record>) {
        into.append(&mut self.records.lock());
    }

    /// True if there is no subscription, no registration and no record: so it must be when all sessions have left.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.procedures.is_empty() && self.records.lock().is_empty()
    }

    /// True if changes are recorded: those to URIs that are not reserved.
    fn watched(&self) -> bool {
        self.watchers.load(Ordering::Acquire) > 0
    }
}

/// A subscription: the shards that have any subscribers, of which there is one at least.
#[derive(Debug)]
struct Subscription {
    id: SubscriptionId,
    shards: u64,
}

/// A shard in a set of shards.
fn bit(shard: ShardIndex) -> u64 {
    1 << shard.index()
}

/// Values by URI and policy, split among locks.
#[derive(Debug)]
struct Table<V> {
    hasher: RandomState,
    /// Exact URIs, by hash.
    buckets: Box<[Partition<V>]>,
    /// All prefixes and wildcards: a lookup must see every one of them.
    patterns: Partition<V>,
}

impl<V> Table<V> {
    fn new(pattern_shapes_max: usize) -> Table<V> {
        Table {
            hasher: RandomState::default(),
            // Exact URIs are one shape.
            buckets: (0..BUCKETS).map(|_| Partition::new(1)).collect(),
            patterns: Partition::new(pattern_shapes_max),
        }
    }

    /// Where `uri` with this policy is kept.
    fn partition_of(&self, uri: &str, policy: MatchPolicy) -> (u32, &Partition<V>) {
        let place = match policy {
            MatchPolicy::Exact => self.bucket(uri).0,
            MatchPolicy::Prefix | MatchPolicy::Wildcard => self.buckets.len(),
        } as u32;
        (place, self.partition(place))
    }

    /// A bucket, or the patterns.
    fn partition(&self, place: u32) -> &Partition<V> {
        self.buckets.get(place as usize).unwrap_or(&self.patterns)
    }

    fn bucket(&self, uri: &str) -> (usize, &Partition<V>) {
        // The maps inside use the lowest and the highest bits of their hashes; theirs have other seeds besides.
        let index = (self.hasher.hash_one(uri) >> 32) as usize % BUCKETS;
        (index, &self.buckets[index])
    }

    /// To be asked while the bucket and the patterns are locked.
    fn stamp(&self, bucket: usize) -> Stamp {
        Stamp {
            bucket,
            bucket_generation: self.buckets[bucket].generation(),
            patterns_generation: self.patterns.generation(),
        }
    }

    fn current(&self, stamp: Stamp) -> bool {
        self.buckets[stamp.bucket].generation() == stamp.bucket_generation
            && self.patterns.generation() == stamp.patterns_generation
    }

    fn is_empty(&self) -> bool {
        self.patterns.entries.read().is_empty()
            && self.buckets.iter().all(|bucket| bucket.entries.read().is_empty())
    }
}

/// One lock's part of a table. The generation has a cache line to itself: it is read at every lookup, and the lock is
/// written to by every miss.
#[derive(Debug)]
struct Partition<V> {
    generation: CachePadded<AtomicU64>,
    entries: CachePadded<RwLock<UriMap<V>>>,
}

impl<V> Partition<V> {
    fn new(shapes_max: usize) -> Partition<V> {
        Partition {
            generation: CachePadded::new(AtomicU64::new(0)),
            entries: CachePadded::new(RwLock::new(UriMap::new(shapes_max))),
        }
    }

    /// To be called under the write lock.
    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

/// The next number of a counter, from 1.
fn next(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}

/// True if a subscription to `topic` can receive a meta event that comes from records.
fn watches(topic: &str, policy: MatchPolicy) -> bool {
    META_EVENTS.iter().any(|event| pattern::matches(topic, policy, event))
}

/// The topics on which records are published.
const META_EVENTS: [&str; 8] = [
    "wamp.subscription.on_create",
    "wamp.subscription.on_subscribe",
    "wamp.subscription.on_unsubscribe",
    "wamp.subscription.on_delete",
    "wamp.registration.on_create",
    "wamp.registration.on_register",
    "wamp.registration.on_unregister",
    "wamp.registration.on_delete",
];

/// Partitions of the exact URIs of a table: so many that shards seldom meet, and that one change makes few cached
/// answers stale. A model has one, because it must not depend on a random hash.
const BUCKETS: usize = if cfg!(loom) { 1 } else { 64 };

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::super::match_cache::MatchCache;
    use super::super::pattern::tests::{Random, matches_naively};
    use super::*;
    use MatchPolicy::{Exact, Prefix, Wildcard};

    const SHARD: ShardIndex = ShardIndex(5);
    const SESSION: SessionId = SessionId(1);

    fn callee(number: u64) -> Callee {
        let peer = PeerKey { index: number as u32, serial: 0 };
        Callee { shard: ShardIndex(number as u8), peer, session: SessionId(number) }
    }

    #[test]
    fn ids_count_from_one_and_are_never_used_again() {
        let directory = Directory::new(64);
        for id in 1..=3 {
            let subscribed = directory.subscribe("a", Exact, SHARD, SESSION).unwrap();
            assert_eq!(subscribed.subscription, SubscriptionId(id));
            assert_eq!(directory.subscribe("a", Exact, SHARD, SessionId(2)), Ok(subscribed));
            directory.unsubscribe(subscribed.key, subscribed.subscription, SHARD, false, SESSION);
            directory.unsubscribe(subscribed.key, subscribed.subscription, SHARD, true, SessionId(2));
            let registered = directory.register("a", Exact, callee(1)).unwrap();
            assert_eq!(registered.registration, RegistrationId(id));
            directory.unregister(registered.key, registered.registration, callee(1));
        }
        assert!(directory.is_empty());
    }

    #[test]
    fn only_the_first_and_the_last_subscriber_of_a_shard_change_a_match() {
        let directory = Directory::new(64);
        let Subscribed { subscription: id, key, .. } =
            directory.subscribe("a", Exact, SHARD, SESSION).unwrap();
        let (stamp, found) = directory.matches("a");
        assert_eq!(found.shards, 1 << 5);
        for session in 2..100 {
            directory.subscribe("a", Exact, SHARD, SessionId(session)).unwrap();
        }
        for session in 2..100 {
            directory.unsubscribe(key, id, SHARD, false, SessionId(session));
        }
        assert!(directory.topic_current(stamp));
        directory.subscribe("a", Exact, ShardIndex(63), SESSION).unwrap();
        assert!(!directory.topic_current(stamp));
        let (stamp, found) = directory.matches("a");
        assert_eq!(found.shards, 1 << 5 | 1 << 63);
        directory.unsubscribe(key, id, SHARD, true, SESSION);
        assert!(!directory.topic_current(stamp));
    }

    #[test]
    fn a_procedure_is_registered_once_for_each_policy() {
        let directory = Directory::new(1);
        for policy in [Exact, Prefix] {
            directory.register("a", policy, callee(1)).unwrap();
            assert_eq!(directory.register("a", policy, callee(2)), Err(RegisterRefusal::AlreadyExists));
        }
        assert_eq!(directory.register("a", Wildcard, callee(1)), Err(RegisterRefusal::Full));
        assert_eq!(directory.subscribe("a", Wildcard, SHARD, SESSION).map(|s| s.recorded), Ok(false));
        assert_eq!(directory.subscribe("a", Prefix, SHARD, SESSION), Err(Full));
        assert_eq!(directory.registration("a").1.unwrap().policy, Exact);
        assert_eq!(directory.registration("ab").1.unwrap().policy, Prefix);
    }

    #[test]
    #[should_panic(expected = "a subscriber leaves the shard it has joined on")]
    fn to_leave_a_shard_without_subscribers_is_a_bug() {
        let directory = Directory::new(64);
        let joined = directory.subscribe("a", Exact, SHARD, SESSION).unwrap();
        directory.unsubscribe(joined.key, joined.subscription, ShardIndex(6), true, SESSION);
    }

    #[test]
    fn changes_are_recorded_while_somebody_watches() {
        let directory = Directory::new(64);
        let mut records = Vec::new();
        assert!(!directory.subscribe("a", Exact, SHARD, SESSION).unwrap().recorded);
        let watch = directory.subscribe("wamp.registration.", Prefix, SHARD, SESSION).unwrap();
        assert!(!watch.recorded);
        // Changes of `wamp` topics are not recorded.
        assert!(!directory.subscribe("wamp.a", Exact, SHARD, SESSION).unwrap().recorded);
        let Subscribed { subscription, key, .. } = directory.subscribe("b", Exact, SHARD, SESSION).unwrap();
        assert!(directory.subscribe("b", Exact, ShardIndex(1), SessionId(2)).unwrap().recorded);
        assert!(directory.unsubscribe(key, subscription, SHARD, true, SESSION).recorded);
        assert!(directory.unsubscribe(key, subscription, ShardIndex(1), true, SessionId(2)).recorded);
        let Registered { registration, key, .. } = directory.register("c.", Wildcard, callee(3)).unwrap();
        assert!(directory.unregister(key, registration, callee(3)).recorded);
        directory.take_records(&mut records);
        let (session, other) = (SESSION, SessionId(2));
        assert_eq!(
            records,
            [
                Record::SubscriptionCreated { session, subscription, topic: "b".into(), policy: Exact },
                Record::Subscribed { session, subscription },
                Record::Subscribed { session: other, subscription },
                Record::Unsubscribed { session, subscription },
                Record::Unsubscribed { session: other, subscription },
                Record::SubscriptionDeleted { session: other, subscription },
                Record::RegistrationCreated {
                    session: SessionId(3),
                    registration,
                    procedure: "c.".into(),
                    policy: Wildcard
                },
                Record::Registered { session: SessionId(3), registration },
                Record::Unregistered { session: SessionId(3), registration },
                Record::RegistrationDeleted { session: SessionId(3), registration },
            ]
        );
        directory.unsubscribe(watch.key, watch.subscription, SHARD, true, SESSION);
        assert!(!directory.register("c", Exact, callee(3)).unwrap().recorded);
        directory.take_records(&mut records);
        assert_eq!(records.len(), 10);
    }

    #[test]
    fn whatever_matches_a_meta_event_watches() {
        for (topic, policy, expected) in [
            ("wamp.subscription.on_create", Exact, true),
            ("wamp.registration.on_delete", Exact, true),
            ("wamp.session.on_join", Exact, false),
            ("wamp.subscription", Exact, false),
            ("", Prefix, true),
            ("wamp.reg", Prefix, true),
            ("wamp.session.", Prefix, false),
            ("..on_unsubscribe", Wildcard, true),
            ("wamp..", Wildcard, true),
            ("wamp.", Wildcard, false),
        ] {
            assert_eq!(watches(topic, policy), expected, "{topic} {policy:?}");
        }
    }

    /// A directory that keeps plain lists and looks at all of them.
    #[derive(Default)]
    struct Twin {
        subscriptions: Vec<TwinSubscription>,
        registrations: Vec<(Registration, DirectoryKey)>,
    }

    struct TwinSubscription {
        id: SubscriptionId,
        key: DirectoryKey,
        topic: String,
        policy: MatchPolicy,
        subscribers: Vec<ShardIndex>,
    }

    /// Exact, growing prefixes, then wildcards: literal before empty at the first difference.
    fn rank(pattern: &str, policy: MatchPolicy) -> (MatchPolicy, usize, Vec<bool>) {
        match policy {
            Exact => (policy, 0, Vec::new()),
            Prefix => (policy, pattern.len(), Vec::new()),
            Wildcard => (policy, 0, pattern.split('.').map(str::is_empty).collect()),
        }
    }

    impl Twin {
        fn matches(&self, topic: &str) -> Match {
            let mut found: Vec<_> =
                self.subscriptions.iter().filter(|s| matches_naively(&s.topic, s.policy, topic)).collect();
            found.sort_by_key(|s| rank(&s.topic, s.policy));
            let mut expected = Match::default();
            for subscription in found {
                let mut shards = 0;
                for shard in &subscription.subscribers {
                    shards |= 1 << shard.0;
                }
                expected.shards |= shards;
                let (id, policy) = (subscription.id, subscription.policy);
                expected.subscriptions.push(MatchedSubscription { id, policy, shards });
            }
            expected
        }

        fn registration(&self, procedure: &str) -> Option<Registration> {
            let registrations = self.registrations.iter().map(|(registration, _)| registration);
            let mut found: Vec<_> =
                registrations.filter(|r| matches_naively(&r.procedure, r.policy, procedure)).collect();
            found.sort_by_key(|r| {
                let (policy, bytes, empty) = rank(&r.procedure, r.policy);
                (policy, usize::MAX - bytes, empty)
            });
            found.first().map(|&registration| registration.clone())
        }
    }

    /// A directory, its twin, caches of several sizes, and stamped answers kept from before.
    struct Pair {
        random: Random,
        directory: Directory,
        twin: Twin,
        caches: Vec<MatchCache>,
        kept: Vec<(String, Stamp, Arc<Match>)>,
    }

    impl Pair {
        fn new(seed: u64) -> Pair {
            Pair {
                random: Random(seed),
                directory: Directory::new(usize::MAX),
                twin: Twin::default(),
                caches: [1, 3, 1000].map(MatchCache::new).into(),
                kept: Vec::new(),
            }
        }

        fn subscribe(&mut self) {
            let (topic, policy) = (self.random.pattern(), self.random.policy());
            let shard = ShardIndex(self.random.below(64) as u8 % 3 * 31);
            let known = self.twin.subscriptions.iter().find(|s| s.topic == topic && s.policy == policy);
            assert_eq!(self.directory.subscription(&topic, policy), known.map(|known| known.id));
            let joined = self.directory.subscribe(&topic, policy, shard, SESSION).unwrap();
            let Subscribed { subscription: id, key, .. } = joined;
            match self.twin.subscriptions.iter_mut().find(|s| s.topic == topic && s.policy == policy) {
                Some(known) => {
                    assert_eq!((known.id, known.key), (id, key));
                    known.subscribers.push(shard);
                }
                None => {
                    let subscribers = vec![shard];
                    self.twin.subscriptions.push(TwinSubscription { id, key, topic, policy, subscribers });
                }
            }
        }

        fn unsubscribe(&mut self) {
            if self.twin.subscriptions.is_empty() {
                return;
            }
            let place = self.random.below(self.twin.subscriptions.len());
            let known = &mut self.twin.subscriptions[place];
            let shard = known.subscribers.swap_remove(self.random.below(known.subscribers.len()));
            let last = !known.subscribers.contains(&shard);
            self.directory.unsubscribe(known.key, known.id, shard, last, SESSION);
            if known.subscribers.is_empty() {
                self.twin.subscriptions.swap_remove(place);
            }
        }

        fn register(&mut self) {
            let (procedure, policy) = (self.random.pattern().into_boxed_str(), self.random.policy());
            let callee = callee(self.random.below(60) as u64);
            let mut registrations = self.twin.registrations.iter().map(|(registration, _)| registration);
            let known = registrations.any(|r| r.procedure == procedure && r.policy == policy);
            match self.directory.register(&procedure, policy, callee) {
                Ok(Registered { registration: id, key, .. }) => {
                    assert!(!known);
                    let callees = vec![callee];
                    self.twin.registrations.push((Registration { id, procedure, policy, callees }, key));
                }
                Err(refusal) => assert!(known && refusal == RegisterRefusal::AlreadyExists),
            }
        }

        fn unregister(&mut self) {
            if self.twin.registrations.is_empty() {
                return;
            }
            let place = self.random.below(self.twin.registrations.len());
            let (known, key) = self.twin.registrations.swap_remove(place);
            self.directory.unregister(key, known.id, known.callees[0]);
        }

        fn check(&mut self) {
            let uri = self.random.uri();
            let (stamp, found) = self.directory.matches(&uri);
            let expected = self.twin.matches(&uri);
            assert_eq!(*found, expected, "{uri}");
            let registration = self.directory.registration(&uri).1;
            let answering = self.twin.registration(&uri);
            assert_eq!(registration.as_deref(), answering.as_ref(), "{uri}");
            for cache in &mut self.caches {
                assert_eq!(**cache.topic(&self.directory, &uri), expected, "{uri}");
                let cached = cache.procedure(&self.directory, &uri);
                assert_eq!(cached.map(|arc| &**arc), answering.as_ref(), "{uri}");
            }
            self.kept.push((uri, stamp, found));
            let (uri, stamp, found) = &self.kept[self.random.below(self.kept.len())];
            if self.directory.topic_current(*stamp) {
                assert_eq!(**found, self.twin.matches(uri), "{uri}");
            }
        }
    }

    #[test]
    fn answers_as_its_naive_twin_does() {
        for seed in 1..=8 {
            let mut pair = Pair::new(seed);
            for _ in 0..1000 {
                match pair.random.below(4) {
                    0 => pair.subscribe(),
                    1 => pair.unsubscribe(),
                    2 => pair.register(),
                    _ => pair.unregister(),
                }
                pair.check();
            }
            while !pair.twin.subscriptions.is_empty() || !pair.twin.registrations.is_empty() {
                pair.unsubscribe();
                pair.unregister();
                pair.check();
            }
            let mut records = Vec::new();
            pair.directory.take_records(&mut records);
            assert!(pair.directory.is_empty());
            assert_eq!(pair.directory.watchers.load(Ordering::Relaxed), 0);
        }
    }

    /// One thread comes and goes on a shard, one looks up through a cache. A lookup between the end of a subscribe
    /// and the beginning of the next unsubscribe finds the shard; one between an unsubscribe and the next subscribe
    /// does not.
    #[test]
    fn no_lost_interest() {
        const ROUNDS: usize = 2000;
        let directory = Directory::new(64);
        // What the subscriber has begun and ended: 2n - 1 is the nth subscribe, 2n the nth unsubscribe.
        let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let lookups = AtomicUsize::new(0);
        // Waits for a lookup that begins and ends now.
        let stay = || {
            let before = lookups.load(Ordering::Acquire);
            while lookups.load(Ordering::Acquire) < before + 2 {
                thread::yield_now();
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    let (topic, policy) = [("a.b", Exact), ("a.", Prefix), ("a.", Wildcard)][round % 3];
                    begun.store(2 * round - 1, Ordering::Release);
                    let joined = directory.subscribe(topic, policy, SHARD, SESSION).unwrap();
                    ended.store(2 * round - 1, Ordering::Release);
                    if round % 8 == 0 {
                        stay();
                    }
                    begun.store(2 * round, Ordering::Release);
                    directory.unsubscribe(joined.key, joined.subscription, SHARD, true, SESSION);
                    ended.store(2 * round, Ordering::Release);
                    if round % 8 == 4 {
                        stay();
                    }
                }
            });
            let mut cache = MatchCache::new(8);
            let mut quiet = [0, 0];
            while ended.load(Ordering::Acquire) < 2 * ROUNDS {
                let before = ended.load(Ordering::Acquire);
                let found = cache.topic(&directory, "a.b").shards;
                if begun.load(Ordering::Acquire) == before {
                    assert_eq!(found, ((before % 2) as u64) << SHARD.0, "after step {before}");
                    quiet[before % 2] += 1;
                }
                lookups.fetch_add(1, Ordering::Release);
            }
            assert!(quiet.iter().all(|&count| count >= ROUNDS / 8), "{quiet:?}");
        });
        assert!(directory.is_empty());
    }
}

/// Every interleaving of a change and a cached lookup; run as `sync.rs` says.
#[cfg(all(test, loom))]
mod model {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, Ordering};
    use loom::thread;

    use super::super::match_cache::MatchCache;
    use super::*;
    use MatchPolicy::{Exact, Prefix};

    const SHARD: ShardIndex = ShardIndex(5);
    const SESSION: SessionId = SessionId(1);

    fn no_lost_interest(topic: &'static str, policy: MatchPolicy) {
        loom::model(move || {
            let directory = Arc::new(Directory::new(64));
            let subscribed = Arc::new(AtomicBool::new(false));
            let mut cache = MatchCache::new(8);
            assert_eq!(cache.topic(&directory, "a").shards, 0);
            let subscriber = thread::spawn({
                let (directory, subscribed) = (directory.clone(), subscribed.clone());
                move || {
                    directory.subscribe(topic, policy, SHARD, SESSION).unwrap();
                    subscribed.store(true, Ordering::Release);
                }
            });
            let before = subscribed.load(Ordering::Acquire);
            let found = cache.topic(&directory, "a").shards;
            assert!(found == 1 << SHARD.0 || !before);
            subscriber.join().unwrap();
            assert_eq!(cache.topic(&directory, "a").shards, 1 << SHARD.0);
        });
    }

    #[test]
    fn no_lost_interest_in_a_topic() {
        no_lost_interest("a", Exact);
    }

    #[test]
    fn no_lost_interest_in_a_pattern() {
        no_lost_interest("", Prefix);
    }

    /// The subscriber takes an exact subscription before it gives up a prefix: no lookup may find neither, though
    /// they are in two partitions.
    #[test]
    fn an_answer_is_of_one_moment() {
        loom::model(|| {
            let directory = Arc::new(Directory::new(64));
            let prefix = directory.subscribe("", Prefix, SHARD, SESSION).unwrap();
            let subscriber = thread::spawn({
                let directory = directory.clone();
                move || {
                    directory.subscribe("a", Exact, SHARD, SESSION).unwrap();
                    directory.unsubscribe(prefix.key, prefix.subscription, SHARD, true, SESSION);
                }
            });
            // Empty at first, so that the directory itself is asked at any moment; then a hit or another miss.
            let mut cache = MatchCache::new(8);
            for _ in 0..2 {
                assert_eq!(cache.topic(&directory, "a").shards, 1 << SHARD.0);
            }
            subscriber.join().unwrap();
            assert_eq!(cache.topic(&directory, "a").subscriptions[0].policy, Exact);
        });
    }

    /// Two change, one looks up: what is remembered afterwards is what the directory says.
    #[test]
    fn a_current_stamp_is_of_the_last_change() {
        loom::model(|| {
            let directory = Arc::new(Directory::new(64));
            let others =
                [("a", Exact, ShardIndex(1)), ("", Prefix, ShardIndex(2))].map(|(topic, policy, shard)| {
                    let directory = directory.clone();
                    thread::spawn(move || directory.subscribe(topic, policy, shard, SESSION).unwrap())
                });
            let mut cache = MatchCache::new(8);
            cache.topic(&directory, "a");
            for other in others {
                other.join().unwrap();
            }
            assert_eq!(*cache.topic(&directory, "a"), directory.matches("a").1);
            assert_eq!(cache.topic(&directory, "a").shards, 0b110);
        });
    }
}
