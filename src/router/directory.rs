//! The one thing the shards of a realm share about routing: which shards hold subscribers of a subscription, and
//! which callees hold a registration.
//!
//! It is written by SUBSCRIBE and REGISTER and their opposites, under short locks, and read through each shard's
//! [`MatchCache`](super::match_cache::MatchCache). *Who* gets an event on a shard, and how many they are, says that
//! shard's roster; a session's own list of what it holds is the session's. URIs stand here and nowhere else: who must
//! come back to an entry keeps its [`DirectoryKey`].
//!
//! Topics and procedures are two `Table`s of the same make (`table.rs`): exact URIs in partitions by hash, all
//! patterns in one more. A partition is a lock, what it guards, and a generation. Here is what changes them and what
//! every PUBLISH and CALL asks; `listing.rs` has what only the meta API asks, `records.rs` what is told of changes,
//! `registration.rs` what a registration is. Invariants:
//!
//! - A generation changes only under its partition's write lock, and exactly when a shard set or a list of callees
//!   changes. One more subscriber on a shard that has one changes nothing, so a large fan-out disturbs no cache.
//! - A [`Stamp`] is the generations of the two partitions an answer was read from, read under both locks. Generations
//!   only grow, so if both are found unchanged, both were unchanged at the earlier of the two loads, and the answer
//!   is what the directory would have said then. Whatever returned before the lookup began is in it.
//! - Locks are taken in the order bucket, patterns, places, workload, records. No guard leaves a function, and no code
//!   outside this module and the plain maps of `pattern.rs` runs while one is held.
//! - What nobody holds is not in the tables.
//!
//! Answers never follow the order of a hash map: see `pattern.rs` for the order they do follow.

mod listing;
mod records;
mod registration;
mod table;
mod workload;

use std::num::NonZeroU32;
use std::sync::Arc;

use smallvec::SmallVec;

pub use self::listing::{IdsByPolicy, SubscriptionListing};
pub use self::records::Record;
use self::records::watches;
pub use self::registration::{Asked, Callee, Registration};
pub use self::table::Stamp;
use self::table::Table;
pub use self::workload::{Grant, Slot, Taken, Workload};
use super::ShardIndex;
use super::letter::CallKey;
pub use super::pattern::Full;
use super::pattern::UriKey;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::wamp::options::InvocationPolicy;
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
    /// Calls that wait for a callee, and the octets they keep.
    calls_waiting: AtomicU64,
    call_bytes_waiting: AtomicU64,
}

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type UnixMs = u64;

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

/// What a callee asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The URI or pattern.
    pub procedure: &'a str,
    /// How it is matched.
    pub policy: MatchPolicy,
    /// Who of several callees is called.
    pub invoke: InvocationPolicy,
    /// How many invocations the callee has open at most.
    pub concurrency: Option<NonZeroU32>,
    /// Whoever has it registered loses it.
    pub force: bool,
    /// The callee has announced `call_reroute`.
    pub reroutes: bool,
    /// How many callees there may be.
    pub callees_max: usize,
    /// The time, for a registration that is created.
    pub now: UnixMs,
}

/// What [`Directory::register`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
    /// The registration joined, or created.
    pub registration: RegistrationId,
    /// Where it stands.
    pub key: DirectoryKey,
    /// The session was one of its callees already.
    pub known: bool,
    /// There are records to take: see [`Directory::take_records`].
    pub recorded: bool,
    /// The registration that had to give way.
    pub displaced: Option<Displaced>,
}

/// A registration that is no more, because another one was forced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Displaced {
    /// Which.
    pub registration: RegistrationId,
    /// Its callees, who do not know yet.
    pub callees: Vec<Callee>,
    /// The shards with calls that wait for one of them.
    pub deserted: Vec<ShardIndex>,
}

/// What [`Directory::unregister`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unregistered {
    /// The shards with calls that wait for a callee of the registration, which is no more.
    pub deserted: Vec<ShardIndex>,
    /// The calls that have waited for this callee alone, because the others could not take them.
    pub stranded: Vec<CallKey>,
    /// There are records to take: see [`Directory::take_records`].
    pub recorded: bool,
}

/// Why [`Directory::register`] did nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegisterRefusal {
    /// The procedure is registered with the same match policy, for one callee only, or to choose otherwise among them.
    AlreadyExists,
    /// As for subscriptions: see [`Full`]; or there are as many callees as there may be.
    Full,
}

impl From<Full> for RegisterRefusal {
    fn from(_: Full) -> RegisterRefusal {
        RegisterRefusal::Full
    }
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
            calls_waiting: AtomicU64::new(0),
            call_bytes_waiting: AtomicU64::new(0),
        }
    }

    /// The subscription to exactly this topic or pattern, if anybody has it.
    pub fn subscription(&self, topic: &str, policy: MatchPolicy) -> Option<SubscriptionId> {
        let (_, partition) = self.topics.partition_of(topic, policy);
        let subscriptions = partition.entries.read();
        let key = subscriptions.find(topic, policy)?;
        subscriptions.entry(key).map(|entry| entry.value.id)
    }

    /// One more subscriber on `shard`. A session that has the subscription already must not come again. `now` is what
    /// a subscription that is created by it will say of when that was.
    ///
    /// When this has returned, every lookup that begins later finds the shard.
    pub fn subscribe(
        &self,
        topic: &str,
        policy: MatchPolicy,
        shard: ShardIndex,
        session: SessionId,
        now: UnixMs,
    ) -> Result<Subscribed, Full> {
        let (place, partition) = self.topics.partition_of(topic, policy);
        let mut subscriptions = partition.entries.write();
        let (entry, value) = subscriptions.find_or_insert(topic, policy, || Subscription {
            id: SubscriptionId(next(&self.subscription_id)),
            shards: 0,
            created: Created::of(now),
        })?;
        let subscription = value.id;
        let created = value.shards == 0;
        if value.shards & bit(shard) == 0 {
            value.shards |= bit(shard);
            partition.changed();
        }
        let key = DirectoryKey { partition: place, entry };
        if created {
            self.topics.begin(subscription.0, key);
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
                    created: now,
                });
            }
            records.push(Record::Subscribed { session, subscription });
        }
        Ok(Subscribed { subscription, key, recorded })
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
        assert_eq!({ entry.value.id }, subscription, "a session leaves the subscription it has joined");
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
            self.topics.end(subscription.0);
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

    /// `callee` answers calls of `procedure` from now on, alone or beside others. Who is among them already stays where
    /// it is.
    ///
    /// When this has returned, every lookup that begins later finds it.
    pub fn register(&self, wanted: &Wanted<'_>, callee: Callee) -> Result<Registered, RegisterRefusal> {
        let Wanted { procedure, policy, invoke, .. } = *wanted;
        let (place, partition) = self.procedures.partition_of(procedure, policy);
        let mut registrations = partition.entries.write();
        let known = registrations.find(procedure, policy);
        let create = || {
            let id = RegistrationId(next(&self.registration_id));
            Arc::new(Registration::new(id, wanted, callee))
        };
        let (entry, value) = registrations.find_or_insert(procedure, policy, create)?;
        let key = DirectoryKey { partition: place, entry };
        let mut displaced = None;
        if known.is_some() && wanted.force {
            displaced = Some(std::mem::replace(value, create()));
        } else if known.is_some() {
            if invoke == InvocationPolicy::Single || value.invoke != invoke {
                return Err(RegisterRefusal::AlreadyExists);
            }
            if value.place(callee.session).is_some() {
                let registration = value.id;
                return Ok(Registered { registration, key, known: true, recorded: false, displaced: None });
            }
            if value.callees.len() >= wanted.callees_max {
                return Err(RegisterRefusal::Full);
            }
            *value = Arc::new(value.joined(callee, wanted));
        }
        partition.changed();
        if let Some(displaced) = &displaced {
            self.procedures.end(displaced.id.0);
        }
        if known.is_none() || displaced.is_some() {
            self.procedures.begin(value.id.0, key);
        }
        let recorded = self.watched() && !reserved(procedure);
        if recorded {
            let created = known.is_none() || displaced.is_some();
            self.record_registered(value, displaced.as_deref(), created, callee.session);
        }
        let displaced = displaced.map(|registration| Displaced {
            registration: registration.id,
            callees: registration.callees.clone(),
            deserted: registration.workload.as_ref().map_or_else(Vec::new, |workload| workload.close()),
        });
        Ok(Registered { registration: value.id, key, known: false, recorded, displaced })
    }

    fn record_registered(
        &self,
        registration: &Registration,
        displaced: Option<&Registration>,
        created: bool,
        session: SessionId,
    ) {
        let mut records = self.records.lock();
        if let Some(Registration { id: registration, callees, .. }) = displaced {
            let (registration, gone) = (*registration, callees.iter().map(|callee| callee.session));
            records.extend(gone.clone().map(|session| Record::Unregistered { session, registration }));
            let last = gone.map(|session| Record::RegistrationDeleted { session, registration }).next_back();
            records.extend(last);
        }
        if created {
            records.push(Record::RegistrationCreated {
                session,
                registration: registration.id,
                procedure: registration.procedure.clone(),
                policy: registration.policy,
                invoke: registration.invoke,
                created: registration.created,
            });
        }
        records.push(Record::Registered { session, registration: registration.id });
    }

    /// The session answers calls of the registration no longer. `None` if it did not: it has been revoked, and who has
    /// the key has not been told yet.
    pub fn unregister(
        &self,
        key: DirectoryKey,
        registration: RegistrationId,
        session: SessionId,
    ) -> Option<Unregistered> {
        let partition = self.procedures.partition(key.partition);
        let mut registrations = partition.entries.write();
        let entry = registrations.entry_mut(key.entry).filter(|entry| entry.value.id == registration)?;
        let place = entry.value.place(session)?;
        let recorded = self.watched() && !reserved(entry.uri());
        // Before its workload is closed: who finds it closed finds this answer stale.
        partition.changed();
        let (left, stranded) = entry.value.left(place);
        let deleted = left.is_none();
        let mut deserted = Vec::new();
        match left {
            Some(left) => entry.value = Arc::new(left),
            None => {
                deserted = entry.value.workload.as_ref().map_or_else(Vec::new, |workload| workload.close());
                registrations.remove(key.entry);
                self.procedures.end(registration.0);
            }
        }
        if recorded {
            let mut records = self.records.lock();
            records.push(Record::Unregistered { session, registration });
            if deleted {
                records.push(Record::RegistrationDeleted { session, registration });
            }
        }
        Some(Unregistered { deserted, stranded, recorded })
    }

    /// True if the session is among the callees of that registration, which stands or stood at `key`.
    pub fn is_callee(&self, key: DirectoryKey, registration: RegistrationId, session: SessionId) -> bool {
        let registrations = self.procedures.partition(key.partition).entries.read();
        let known = registrations.entry(key.entry).filter(|entry| entry.value.id == registration);
        known.is_some_and(|entry| entry.value.place(session).is_some())
    }

    /// Every subscription that `topic` matches, and the shards that hold their subscribers.
    pub fn matches(&self, topic: &str) -> (Stamp, Arc<Match>) {
        let (bucket, partition) = self.topics.bucket(topic);
        let exact = partition.entries.read();
        let patterns = self.topics.patterns.entries.read();
        let mut found = Match::default();
        for entry in exact.matching(topic).chain(patterns.matching(topic)) {
            let Subscription { id, shards, .. } = entry.value;
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

    /// Records what is no change of the directory and yet has its place among them: a session that joins is recorded
    /// before anything it does, one that leaves after all it had is gone. Nothing is done while nobody watches, and
    /// true means that there are records to take.
    pub fn record(&self, record: impl FnOnce() -> Record) -> bool {
        let watched = self.watched();
        if watched {
            self.records.lock().push(record());
        }
        watched
    }

    /// Appends what has been recorded since the last call, in the order in which the directory changed.
    ///
    /// Changes are recorded while there is a subscription that matches any of the meta events, except changes to URIs
    /// that begin with `wamp`. The caller of what returned `recorded` sees to it that the realm's home shard calls
    /// this, and that one shard alone does: so meta events keep this order.
    pub fn take_records(&self, into: &mut Vec<Record>) {
        into.append(&mut self.records.lock());
    }

    /// A call of so many octets waits for a callee. How many wait now, and how many octets they keep.
    pub fn wait(&self, bytes: usize) -> (usize, usize) {
        let calls = self.calls_waiting.fetch_add(1, Ordering::Relaxed) as usize + 1;
        let kept = self.call_bytes_waiting.fetch_add(bytes as u64, Ordering::Relaxed) as usize + bytes;
        (calls, kept)
    }

    /// That call waits no longer.
    pub fn waited(&self, bytes: usize) {
        self.calls_waiting.fetch_sub(1, Ordering::Relaxed);
        self.call_bytes_waiting.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// True if there is no subscription, no registration, no record and no call that waits: so it must be when all
    /// sessions have left.
    pub fn is_empty(&self) -> bool {
        let waiting = [&self.calls_waiting, &self.call_bytes_waiting];
        self.topics.is_empty()
            && self.procedures.is_empty()
            && self.records.lock().is_empty()
            && waiting.iter().all(|count| count.load(Ordering::Relaxed) == 0)
    }

    /// True if changes are recorded: those to URIs that are not reserved.
    fn watched(&self) -> bool {
        self.watchers.load(Ordering::Acquire) > 0
    }
}

/// A subscription: the shards that have any subscribers, of which there is one at least. Packed so that an entry of
/// the table is one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(2))]
struct Subscription {
    id: SubscriptionId,
    shards: u64,
    created: Created,
}

/// Milliseconds since 1970-01-01T00:00:00Z, as far as the year 10889: the lowest 16 bits first.
#[derive(Clone, Copy, Debug)]
struct Created([u16; 3]);

impl Created {
    fn of(unix_ms: UnixMs) -> Created {
        Created([unix_ms as u16, (unix_ms >> 16) as u16, (unix_ms >> 32) as u16])
    }

    fn unix_ms(self) -> UnixMs {
        self.0.into_iter().rev().fold(0, |ms, bits| ms << 16 | UnixMs::from(bits))
    }
}

/// A shard in a set of shards.
fn bit(shard: ShardIndex) -> u64 {
    1 << shard.index()
}

/// The next number of a counter, from 1.
fn next(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::super::PeerKey;
    use super::super::match_cache::MatchCache;
    use super::super::pattern::tests::{Random, matches_naively};
    use super::*;
    use InvocationPolicy::{First, RoundRobin, Single};
    use MatchPolicy::{Exact, Prefix, Wildcard};

    const SHARD: ShardIndex = ShardIndex(5);
    const SESSION: SessionId = SessionId(1);
    const NOW: UnixMs = 1_769_904_000_123;

    fn wanted(procedure: &str, policy: MatchPolicy, invoke: InvocationPolicy) -> Wanted<'_> {
        Wanted {
            procedure,
            policy,
            invoke,
            concurrency: None,
            force: false,
            reroutes: false,
            callees_max: 60,
            now: NOW,
        }
    }

    fn callee(number: u64) -> Callee {
        let peer = PeerKey { index: number as u32, serial: 0 };
        Callee { shard: ShardIndex(number as u8), peer, session: SessionId(number), membership: 0 }
    }

    /// Whatever else there is may be locked: nothing but the entry itself is looked at.
    #[test]
    fn a_question_by_identifier_looks_at_nothing_else() {
        let directory = Directory::new(64);
        let uris: Vec<String> = (0..500).map(|number| format!("com.example.{number}")).collect();
        for (uri, policy) in uris.iter().zip([Exact, Prefix, Wildcard].into_iter().cycle()) {
            directory.subscribe(uri, policy, SHARD, SESSION, NOW).unwrap();
            directory.register(&wanted(uri, policy, Single), callee(1)).unwrap();
        }
        let id_of = |number: usize| number as u64 + 1;
        for number in [0, 1, 2, 250, 499] {
            let (key, _) = directory.registration_by_id(RegistrationId(id_of(number))).unwrap();
            let others = |place: &usize| *place != key.partition as usize;
            let places = (0..=super::table::BUCKETS).filter(others);
            let locked: Vec<_> =
                places.map(|place| directory.procedures.partition(place as u32).entries.write()).collect();
            let (again, found) = directory.registration_by_id(RegistrationId(id_of(number))).unwrap();
            assert_eq!((again, &*found.procedure), (key, &*uris[number]));
            assert_eq!(directory.registration_by_id(RegistrationId(id_of(uris.len()))).map(|_| ()), None);
            drop(locked);
            let found = directory.subscription_by_id(SubscriptionId(id_of(number))).unwrap();
            assert_eq!(*found.topic, *uris[number]);
        }
        for (number, uri) in uris.iter().enumerate() {
            let (key, found) = directory.registration_by_id(RegistrationId(id_of(number))).unwrap();
            assert_eq!(*found.procedure, **uri);
            directory.unregister(key, found.id, callee(1).session).unwrap();
            assert!(directory.registration_by_id(found.id).is_none());
        }
        assert!(directory.procedures.is_empty());
    }

    #[test]
    fn ids_count_from_one_and_are_never_used_again() {
        let directory = Directory::new(64);
        for id in 1..=3 {
            let subscribed = directory.subscribe("a", Exact, SHARD, SESSION, NOW).unwrap();
            assert_eq!(subscribed.subscription, SubscriptionId(id));
            assert_eq!(directory.subscribe("a", Exact, SHARD, SessionId(2), NOW), Ok(subscribed));
            directory.unsubscribe(subscribed.key, subscribed.subscription, SHARD, false, SESSION);
            directory.unsubscribe(subscribed.key, subscribed.subscription, SHARD, true, SessionId(2));
            let registered = directory.register(&wanted("a", Exact, Single), callee(1)).unwrap();
            assert_eq!(registered.registration, RegistrationId(id));
            directory.unregister(registered.key, registered.registration, SessionId(1));
        }
        assert!(directory.is_empty());
    }

    #[test]
    fn only_the_first_and_the_last_subscriber_of_a_shard_change_a_match() {
        let directory = Directory::new(64);
        let Subscribed { subscription: id, key, .. } =
            directory.subscribe("a", Exact, SHARD, SESSION, NOW).unwrap();
        let (stamp, found) = directory.matches("a");
        assert_eq!(found.shards, 1 << 5);
        for session in 2..100 {
            directory.subscribe("a", Exact, SHARD, SessionId(session), NOW).unwrap();
        }
        for session in 2..100 {
            directory.unsubscribe(key, id, SHARD, false, SessionId(session));
        }
        assert!(directory.topic_current(stamp));
        directory.subscribe("a", Exact, ShardIndex(63), SESSION, NOW).unwrap();
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
            directory.register(&wanted("a", policy, Single), callee(1)).unwrap();
            assert_eq!(
                directory.register(&wanted("a", policy, Single), callee(2)),
                Err(RegisterRefusal::AlreadyExists)
            );
        }
        assert_eq!(directory.register(&wanted("a", Wildcard, Single), callee(1)), Err(RegisterRefusal::Full));
        assert_eq!(directory.subscribe("a", Wildcard, SHARD, SESSION, NOW).map(|s| s.recorded), Ok(false));
        assert_eq!(directory.subscribe("a", Prefix, SHARD, SESSION, NOW), Err(Full));
        assert_eq!(directory.registration("a").1.unwrap().policy, Exact);
        assert_eq!(directory.registration("ab").1.unwrap().policy, Prefix);
    }

    #[test]
    fn a_shared_registration_takes_whoever_wants_the_same_policy() {
        let directory = Directory::new(64);
        let first = directory.register(&wanted("a", Exact, RoundRobin), callee(1)).unwrap();
        assert_eq!(directory.register(&wanted("a", Exact, RoundRobin), callee(2)), Ok(first.clone()));
        assert_eq!(
            directory.register(&wanted("a", Exact, RoundRobin), callee(1)),
            Ok(Registered { known: true, ..first.clone() }),
            "it stays"
        );
        for invoke in [Single, First] {
            let refused = directory.register(&wanted("a", Exact, invoke), callee(3));
            assert_eq!(refused, Err(RegisterRefusal::AlreadyExists));
        }
        assert_eq!(directory.registration("a").1.unwrap().callees, [callee(1), callee(2)]);
        // The policy is free when the last has left.
        for session in [1, 2] {
            directory.unregister(first.key, first.registration, SessionId(session)).unwrap();
        }
        assert!(directory.is_empty());
        directory.register(&wanted("a", Exact, Single), callee(3)).unwrap();
        assert_eq!(directory.unregister(first.key, first.registration, SessionId(3)), None, "of another id");
    }

    #[test]
    fn a_subscription_is_one_cache_line_and_knows_when_it_was_created() {
        assert_eq!(size_of::<Option<super::super::pattern::Entry<Subscription>>>(), 64);
        for time in [0, NOW, (1 << 48) - 1] {
            assert_eq!(Created::of(time).unix_ms(), time);
        }
    }

    #[test]
    #[should_panic(expected = "a subscriber leaves the shard it has joined on")]
    fn to_leave_a_shard_without_subscribers_is_a_bug() {
        let directory = Directory::new(64);
        let joined = directory.subscribe("a", Exact, SHARD, SESSION, NOW).unwrap();
        directory.unsubscribe(joined.key, joined.subscription, ShardIndex(6), true, SESSION);
    }

    #[test]
    fn changes_are_recorded_while_somebody_watches() {
        let directory = Directory::new(64);
        let mut records = Vec::new();
        assert!(!directory.subscribe("a", Exact, SHARD, SESSION, NOW).unwrap().recorded);
        let watch = directory.subscribe("wamp.registration.", Prefix, SHARD, SESSION, NOW).unwrap();
        assert!(!watch.recorded);
        // Changes of `wamp` topics are not recorded.
        assert!(!directory.subscribe("wamp.a", Exact, SHARD, SESSION, NOW).unwrap().recorded);
        let Subscribed { subscription, key, .. } =
            directory.subscribe("b", Exact, SHARD, SESSION, NOW).unwrap();
        assert!(directory.subscribe("b", Exact, ShardIndex(1), SessionId(2), NOW).unwrap().recorded);
        assert!(directory.unsubscribe(key, subscription, SHARD, true, SESSION).recorded);
        assert!(directory.unsubscribe(key, subscription, ShardIndex(1), true, SessionId(2)).recorded);
        let Registered { registration, key, .. } =
            directory.register(&wanted("c.", Wildcard, Single), callee(3)).unwrap();
        assert!(directory.unregister(key, registration, SessionId(3)).unwrap().recorded);
        directory.take_records(&mut records);
        let (session, other) = (SESSION, SessionId(2));
        assert_eq!(
            records,
            [
                Record::SubscriptionCreated {
                    session,
                    subscription,
                    topic: "b".into(),
                    policy: Exact,
                    created: NOW
                },
                Record::Subscribed { session, subscription },
                Record::Subscribed { session: other, subscription },
                Record::Unsubscribed { session, subscription },
                Record::Unsubscribed { session: other, subscription },
                Record::SubscriptionDeleted { session: other, subscription },
                Record::RegistrationCreated {
                    session: SessionId(3),
                    registration,
                    procedure: "c.".into(),
                    policy: Wildcard,
                    invoke: Single,
                    created: NOW,
                },
                Record::Registered { session: SessionId(3), registration },
                Record::Unregistered { session: SessionId(3), registration },
                Record::RegistrationDeleted { session: SessionId(3), registration },
            ]
        );
        directory.unsubscribe(watch.key, watch.subscription, SHARD, true, SESSION);
        assert!(!directory.register(&wanted("c", Exact, Single), callee(3)).unwrap().recorded);
        directory.take_records(&mut records);
        assert_eq!(records.len(), 10);
    }

    #[test]
    fn whatever_matches_a_meta_event_watches() {
        for (topic, policy, expected) in [
            ("wamp.subscription.on_create", Exact, true),
            ("wamp.registration.on_delete", Exact, true),
            ("wamp.session.on_join", Exact, true),
            ("wamp.session.count", Exact, false),
            ("wamp.subscription", Exact, false),
            ("", Prefix, true),
            ("wamp.reg", Prefix, true),
            ("wamp.session.", Prefix, true),
            ("wamp.session.c", Prefix, false),
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
        registrations: Vec<TwinRegistration>,
    }

    #[derive(Clone, Debug)]
    struct TwinRegistration {
        id: RegistrationId,
        key: DirectoryKey,
        procedure: String,
        policy: MatchPolicy,
        invoke: InvocationPolicy,
        callees: Vec<Callee>,
        /// Who is still to come in this round of the rotation.
        round: VecDeque<Callee>,
    }

    impl TwinRegistration {
        fn take_turn(&mut self) -> Callee {
            if self.round.is_empty() {
                self.round.extend(&self.callees);
            }
            self.round.pop_front().unwrap()
        }
    }

    impl PartialEq<TwinRegistration> for Registration {
        fn eq(&self, twin: &TwinRegistration) -> bool {
            (self.id, &*self.procedure, self.policy, self.invoke, &self.callees)
                == (twin.id, &*twin.procedure, twin.policy, twin.invoke, &twin.callees)
        }
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

        fn registration(&mut self, procedure: &str) -> Option<&mut TwinRegistration> {
            let registrations = self.registrations.iter_mut();
            let mut found: Vec<_> =
                registrations.filter(|r| matches_naively(&r.procedure, r.policy, procedure)).collect();
            found.sort_by_key(|r| {
                let (policy, bytes, empty) = rank(&r.procedure, r.policy);
                (policy, usize::MAX - bytes, empty)
            });
            found.into_iter().next()
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
            let joined = self.directory.subscribe(&topic, policy, shard, SESSION, NOW).unwrap();
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
            let (procedure, policy) = (self.random.pattern(), self.random.policy());
            let invoke = [Single, First, RoundRobin, RoundRobin][self.random.below(4)];
            let callee = callee(self.random.below(60) as u64);
            let registered = self.directory.register(&wanted(&procedure, policy, invoke), callee);
            let mut known = self.twin.registrations.iter_mut();
            let Some(known) = known.find(|r| r.procedure == procedure && r.policy == policy) else {
                let Registered { registration: id, key, .. } = registered.unwrap();
                let (callees, round) = (vec![callee], [callee].into());
                let registration = TwinRegistration { id, key, procedure, policy, invoke, callees, round };
                return self.twin.registrations.push(registration);
            };
            if invoke == Single || invoke != known.invoke {
                return assert_eq!(registered, Err(RegisterRefusal::AlreadyExists));
            }
            let registered = registered.unwrap();
            assert_eq!((registered.registration, registered.key), (known.id, known.key));
            if !known.callees.contains(&callee) {
                known.callees.push(callee);
                known.round.push_back(callee);
            }
        }

        fn unregister(&mut self) {
            if self.twin.registrations.is_empty() {
                return;
            }
            let place = self.random.below(self.twin.registrations.len());
            let known = &mut self.twin.registrations[place];
            let callee = known.callees.remove(self.random.below(known.callees.len()));
            known.round.retain(|other| *other != callee);
            let (key, id) = (known.key, known.id);
            if known.callees.is_empty() {
                self.twin.registrations.swap_remove(place);
            }
            assert!(self.directory.unregister(key, id, callee.session).is_some());
            assert_eq!(self.directory.unregister(key, id, callee.session), None, "it has left");
        }

        /// What the meta API asks is in the lists as well.
        fn check_listings(&mut self) {
            let (ids, mut count) = (self.directory.registration_ids(), 0);
            for known in &self.twin.registrations {
                assert!(ids.of(known.policy).binary_search(&known.id).is_ok());
                let (key, found) = self.directory.registration_by_id(known.id).unwrap();
                assert_eq!(*found, *known);
                assert_eq!((key, found.created), (known.key, NOW));
                let found = self.directory.registration_of(&known.procedure, known.policy).unwrap();
                assert_eq!(*found, *known);
                count += 1;
            }
            assert_eq!(
                [Exact, Prefix, Wildcard].map(|policy| ids.of(policy).len()).iter().sum::<usize>(),
                count
            );
            let (ids, mut count) = (self.directory.subscription_ids(), 0);
            for known in &self.twin.subscriptions {
                assert!(ids.of(known.policy).binary_search(&known.id).is_ok());
                let found = self.directory.subscription_by_id(known.id).unwrap();
                assert_eq!((&*found.topic, found.policy, found.created), (&*known.topic, known.policy, NOW));
                assert!(known.subscribers.iter().all(|shard| found.shards & bit(*shard) != 0));
                count += 1;
            }
            assert_eq!(
                [Exact, Prefix, Wildcard].map(|policy| ids.of(policy).len()).iter().sum::<usize>(),
                count
            );
        }

        fn check(&mut self) {
            let uri = self.random.uri();
            let (stamp, found) = self.directory.matches(&uri);
            let expected = self.twin.matches(&uri);
            assert_eq!(*found, expected, "{uri}");
            let registration = self.directory.registration(&uri).1;
            let answering = self.twin.registration(&uri);
            assert_eq!(registration.is_some(), answering.is_some(), "{uri}");
            if let (Some(registration), Some(answering)) = (&registration, answering) {
                assert_eq!(**registration, *answering, "{uri}");
                for _ in 0..self.random.below(3) {
                    let chosen = match answering.invoke {
                        RoundRobin => answering.take_turn(),
                        _ => answering.callees[0],
                    };
                    assert_eq!(registration.choose(|| 0), chosen, "{uri}");
                }
            }
            for cache in &mut self.caches {
                assert_eq!(**cache.topic(&self.directory, &uri), expected, "{uri}");
                let cached = cache.procedure(&self.directory, &uri);
                assert_eq!(cached.map(Arc::as_ptr), registration.as_ref().map(Arc::as_ptr), "{uri}");
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
            pair.check_listings();
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
                    let joined = directory.subscribe(topic, policy, SHARD, SESSION, NOW).unwrap();
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

    use super::super::PeerKey;
    use super::super::match_cache::MatchCache;
    use super::*;
    use MatchPolicy::{Exact, Prefix};

    const SHARD: ShardIndex = ShardIndex(5);
    const SESSION: SessionId = SessionId(1);
    const NOW: UnixMs = 7;

    fn no_lost_interest(topic: &'static str, policy: MatchPolicy) {
        loom::model(move || {
            let directory = Arc::new(Directory::new(64));
            let subscribed = Arc::new(AtomicBool::new(false));
            let mut cache = MatchCache::new(8);
            assert_eq!(cache.topic(&directory, "a").shards, 0);
            let subscriber = thread::spawn({
                let (directory, subscribed) = (directory.clone(), subscribed.clone());
                move || {
                    directory.subscribe(topic, policy, SHARD, SESSION, NOW).unwrap();
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
            let prefix = directory.subscribe("", Prefix, SHARD, SESSION, NOW).unwrap();
            let subscriber = thread::spawn({
                let directory = directory.clone();
                move || {
                    directory.subscribe("a", Exact, SHARD, SESSION, NOW).unwrap();
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

    /// One callee comes and another goes while a call is made: it finds one of them, and afterwards who has stayed.
    #[test]
    fn a_call_finds_a_callee_while_others_come_and_go() {
        loom::model(|| {
            let callee = |number: u64| {
                let peer = PeerKey { index: number as u32, serial: 0 };
                Callee { shard: SHARD, peer, session: SessionId(number), membership: 0 }
            };
            let wanted = Wanted {
                procedure: "a",
                policy: Exact,
                invoke: InvocationPolicy::RoundRobin,
                concurrency: None,
                force: false,
                reroutes: false,
                callees_max: 9,
                now: NOW,
            };
            let directory = Arc::new(Directory::new(64));
            let first = directory.register(&wanted, callee(1)).unwrap();
            let others = thread::spawn({
                let directory = directory.clone();
                move || {
                    directory.register(&wanted, callee(2)).unwrap();
                    directory.unregister(first.key, first.registration, SessionId(1)).unwrap();
                }
            });
            let mut cache = MatchCache::new(8);
            for _ in 0..2 {
                let registration = cache.procedure(&directory, "a").expect("somebody is always there");
                assert!([1, 2].contains(&registration.choose(|| 0).session.0));
            }
            others.join().unwrap();
            let registration = cache.procedure(&directory, "a").unwrap();
            assert_eq!(registration.callees, [callee(2)]);
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
                    thread::spawn(move || directory.subscribe(topic, policy, shard, SESSION, NOW).unwrap())
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
