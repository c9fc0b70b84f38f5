//! The events that the topics of a realm retain (advanced profile, "Event Retention"): one store for all shards, behind
//! a lock that only publications with `retain` and subscribers with `get_retained` take.
//!
//! The publisher's shard stores before it looks for subscribers, and the subscriber's shard looks here after it has
//! entered the directory. So a subscriber that asks for what is retained misses nothing: an event that is under way may
//! come to it twice, once as retained and once as live, and it comes once at least. Older ones of its publisher may be
//! under way as well and come behind it: what is retained is the state at SUBSCRIBED, and only live events are in
//! order.
//!
//! Everybody finds the last event of a topic that it would have got, or nothing, but never an older one in its place:
//!
//! - The last event that everybody may get stands behind those that only some may get and that came later. What a later
//!   event is for the same receivers replaces: [`RESTRICTED_PER_TOPIC_MAX`] restricted ones are kept at most.
//! - A publisher mostly does not get its own event (`exclude_me`). So the one stays that it finds until then; if it
//!   publishes again, still that one. There are never more of these than one for an event.
//! - Of a restricted event that makes room for others of its topic, or is too large, its lists remain as a mark, so
//!   that those whom it was for find nothing. If there are too many marks, all that is older than the oldest goes with
//!   it.
//!
//! The specification has no word for forgetting what a topic retains, and says of every event with `retain` that it is
//! retained, without arguments as well. So this router has an option of its own, which does not travel on:
//! `_retain_clear`. It takes out what an event to the same receivers would have replaced; `retain` beside it retains
//! the event itself, as it would anyway.
//!
//! Invariants: `order` names exactly what is in `topics`, marks included, oldest first; there are at most `count_max`,
//! of `bytes_max` octets together. The oldest make room: nothing older of their topics is left to be found in their
//! place. What alone is larger makes room for nothing, and is not kept.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::eligibility::Eligibility;
use super::pattern;
use super::publication::{KeptPublication, Particulars};
use super::session::Identity;
use crate::sync::Mutex;
use crate::wamp::{MatchPolicy, SessionId};

/// Restricted events that a topic retains beside the one for everybody.
pub const RESTRICTED_PER_TOPIC_MAX: usize = 8;

/// Marks of restricted events that were retained.
pub const MARKS_PER_TOPIC_MAX: usize = 64;

/// The retained events of a realm.
#[derive(Debug)]
pub struct RetainedEvents {
    store: Mutex<Store>,
}

#[derive(Debug)]
struct Store {
    topics: BTreeMap<Arc<str>, Vec<Retained>>,
    /// The same by age.
    order: BTreeMap<u64, Arc<str>>,
    /// The last number given.
    serial: u64,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

/// One of a topic's events, oldest first.
#[derive(Clone, Debug)]
struct Retained {
    serial: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Event(Arc<KeptPublication>),
    Mark(Arc<Mark>),
}

/// What is left of an event: whom it was for.
#[derive(Debug)]
struct Mark {
    topic: Box<str>,
    excluded: Option<SessionId>,
    particulars: Option<Arc<Particulars>>,
}

/// What had to be given up for an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Given {
    /// Events that made room.
    pub evicted: u64,
    /// The event itself is too large.
    pub too_large: bool,
}

impl RetainedEvents {
    /// None yet.
    pub fn new(count_max: usize, bytes_max: usize) -> RetainedEvents {
        let (topics, order) = (BTreeMap::new(), BTreeMap::new());
        RetainedEvents {
            store: Mutex::new(Store { topics, order, serial: 0, bytes: 0, count_max, bytes_max }),
        }
    }

    /// Other bounds hold from now on. What is beyond them makes room.
    pub fn set_bounds(&self, count_max: usize, bytes_max: usize) {
        let mut store = self.store.lock();
        (store.count_max, store.bytes_max) = (count_max, bytes_max);
        store.make_room();
    }

    /// A topic retains this from now on.
    pub fn retain(&self, publication: Arc<KeptPublication>, publisher: Option<&Identity>) -> Given {
        let mut store = self.store.lock();
        if store.count_max == 0 || store.bytes_max == 0 {
            return Given::default();
        }
        let publisher = publisher.filter(|publisher| publication.excluded == Some(publisher.session));
        store.replace(&publication.topic, publication.eligibility(), publisher);
        store.keep(publication)
    }

    /// A topic forgets what everybody may get, and all else; with lists, only what has the same.
    pub fn clear(&self, topic: &str, eligibility: Option<&Eligibility>) {
        self.store.lock().replace(topic, eligibility, None);
    }

    /// What the topics retain that match, by topic: of each the last that is for this subscriber. The lock is not held
    /// while that is found out.
    pub fn matching(
        &self,
        pattern: &str,
        policy: MatchPolicy,
        subscriber: &Identity,
    ) -> Vec<Arc<KeptPublication>> {
        let found = self.store.lock().matching(pattern, policy);
        let mut last: Vec<What> = Vec::with_capacity(found.len());
        for what in found.into_iter().filter(|what| what.is_for(subscriber)) {
            match last.last_mut() {
                Some(known) if known.topic() == what.topic() => *known = what,
                _ => last.push(what),
            }
        }
        last.into_iter().filter_map(What::event).collect()
    }

    /// How many there are, marks apart.
    pub fn count(&self) -> usize {
        let store = self.store.lock();
        store.topics.values().flatten().filter(|retained| matches!(retained.what, What::Event(_))).count()
    }
}

impl What {
    fn topic(&self) -> &str {
        match self {
            What::Event(publication) => &publication.topic,
            What::Mark(mark) => &mark.topic,
        }
    }

    fn eligibility(&self) -> Option<&Eligibility> {
        match self {
            What::Event(publication) => publication.eligibility(),
            What::Mark(mark) => mark.particulars.as_ref()?.eligibility.as_ref(),
        }
    }

    /// True if the session would have got the event.
    fn is_for(&self, session: &Identity) -> bool {
        let excluded = match self {
            What::Event(publication) => publication.excluded,
            What::Mark(mark) => mark.excluded,
        };
        excluded != Some(session.session)
            && self.eligibility().is_none_or(|eligibility| eligibility.admits(session))
    }

    fn event(self) -> Option<Arc<KeptPublication>> {
        match self {
            What::Event(publication) => Some(publication),
            What::Mark(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            What::Event(publication) => publication.bytes(),
            What::Mark(mark) => {
                let particulars = mark.particulars.as_ref();
                MARK_OVERHEAD_BYTES
                    + mark.topic.len()
                    + particulars.map_or(0, |particulars| particulars.bytes())
            }
        }
    }
}

/// About what a mark takes beside what can be long.
const MARK_OVERHEAD_BYTES: usize = 128;

fn mark_of(publication: &KeptPublication) -> What {
    What::Mark(Arc::new(Mark {
        topic: publication.topic.clone(),
        excluded: publication.excluded,
        particulars: publication.particulars.clone(),
    }))
}

impl Store {
    /// Takes out what an event with these lists is in place of: all of its topic, or what is for the same receivers.
    /// What its publisher finds there stays, if the event is not for its publisher.
    fn replace(&mut self, topic: &str, eligibility: Option<&Eligibility>, publisher: Option<&Identity>) {
        let Some(events) = self.topics.get_mut(topic) else { return };
        let found = publisher.and_then(|publisher| events.iter().rfind(|known| known.what.is_for(publisher)));
        let found = found.map(|known| known.serial);
        let goes = |known: &mut Retained| {
            (eligibility.is_none() || known.what.eligibility() == eligibility) && Some(known.serial) != found
        };
        for gone in events.extract_if(.., goes) {
            self.order.remove(&gone.serial);
            self.bytes -= gone.what.bytes();
        }
        if events.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// Puts it last, and makes room.
    fn keep(&mut self, publication: Arc<KeptPublication>) -> Given {
        let topic: Arc<str> = (*publication.topic).into();
        let restricted = publication.eligibility().is_some();
        let too_large = publication.bytes() > self.bytes_max;
        let mut evicted = 0;
        if !too_large {
            self.push(&topic, What::Event(publication));
        } else if restricted {
            self.push(&topic, mark_of(&publication));
        }
        if restricted {
            evicted += self.mark_oldest_restricted(&topic);
            evicted += self.forget_oldest_marks(&topic);
        }
        evicted += self.make_room();
        Given { evicted, too_large }
    }

    /// The oldest go until the rest is within its bounds.
    fn make_room(&mut self) -> u64 {
        let mut evicted = 0;
        while self.order.len() > self.count_max || self.bytes > self.bytes_max {
            let Some((&serial, topic)) = self.order.first_key_value() else { break };
            let topic = topic.clone();
            evicted += self.forget_up_to(&topic, serial);
        }
        evicted
    }

    fn push(&mut self, topic: &Arc<str>, what: What) {
        self.serial += 1;
        let serial = self.serial;
        self.bytes += what.bytes();
        self.order.insert(serial, topic.clone());
        self.topics.entry(topic.clone()).or_default().push(Retained { serial, what });
    }

    /// If there are too many restricted events, only a mark of the oldest remains.
    fn mark_oldest_restricted(&mut self, topic: &str) -> u64 {
        let Some(events) = self.topics.get_mut(topic) else { return 0 };
        let restricted = |known: &&mut Retained| match &known.what {
            What::Event(publication) => publication.eligibility().is_some(),
            What::Mark(_) => false,
        };
        let mut oldest_first = events.iter_mut().filter(restricted);
        let oldest = oldest_first.next();
        let Some(oldest) = oldest.filter(|_| oldest_first.count() >= RESTRICTED_PER_TOPIC_MAX) else {
            return 0;
        };
        if let What::Event(publication) = &oldest.what {
            let mark = mark_of(publication);
            self.bytes -= oldest.what.bytes();
            self.bytes += mark.bytes();
            oldest.what = mark;
        }
        1
    }

    /// If there are too many marks, the oldest goes, and what is older.
    fn forget_oldest_marks(&mut self, topic: &str) -> u64 {
        let Some(events) = self.topics.get(topic) else { return 0 };
        let mut marks = events.iter().filter(|known| matches!(known.what, What::Mark(_)));
        let oldest = marks.next().map(|mark| mark.serial);
        match oldest.filter(|_| marks.count() >= MARKS_PER_TOPIC_MAX) {
            Some(serial) => self.forget_up_to(topic, serial),
            None => 0,
        }
    }

    /// Forgets what a topic has up to this serial. Returns how many events that were.
    fn forget_up_to(&mut self, topic: &str, serial: u64) -> u64 {
        let Some(events) = self.topics.get_mut(topic) else { return 0 };
        let mut evicted = 0;
        for gone in events.extract_if(.., |known| known.serial <= serial) {
            self.order.remove(&gone.serial);
            self.bytes -= gone.what.bytes();
            evicted += u64::from(matches!(gone.what, What::Event(_)));
        }
        if events.is_empty() {
            self.topics.remove(topic);
        }
        evicted
    }

    /// What the topics have that match, by topic and then by age. A pattern costs as much as there are topics that
    /// begin as it does.
    fn matching(&self, pattern: &str, policy: MatchPolicy) -> Vec<What> {
        if policy == MatchPolicy::Exact {
            return self.topics.get(pattern).map_or_else(Vec::new, |events| all(events).collect());
        }
        let begin = pattern::beginning(pattern, policy);
        self.topics
            .range::<str, _>((Bound::Included(begin), Bound::Unbounded))
            .take_while(|(topic, _)| topic.starts_with(begin))
            .filter(|(topic, _)| pattern::matches(pattern, policy, topic))
            .flat_map(|(_, events)| all(events))
            .collect()
    }
}

fn all(events: &[Retained]) -> impl Iterator<Item = What> {
    events.iter().map(|event| event.what.clone())
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::super::Role;
    use super::super::pattern::tests::Random;
    use super::super::session::Proof;
    use super::*;
    use crate::auth::Method;
    use crate::codec;
    use crate::codec::payload::OwnedPayload;
    use crate::wamp::{Dict, PublicationId, Serializer};

    fn identity(session: u64, authrole: &str) -> Identity {
        let role = Role::open(authrole);
        Identity {
            session: SessionId(session),
            authid: session.to_string().into(),
            role: Arc::new(role),
            authmethod: "anonymous",
            authprovider: "static",
            proof: Proof::by(Method::Anonymous),
            extra: None,
        }
    }

    /// Published by this session, which does not get it; by nobody, if it is 0.
    fn publication_of(
        id: u64,
        topic: &str,
        args: &str,
        options: &str,
        publisher: u64,
    ) -> Arc<KeptPublication> {
        let options = Dict::Raw(codec::check(Serializer::Json, options.as_bytes()).unwrap());
        let eligibility = Eligibility::read(&options).unwrap();
        let restricted = eligibility != Eligibility::default();
        let particulars = Particulars { eligibility: Some(eligibility), ..Particulars::default() };
        Arc::new(KeptPublication {
            id: PublicationId(id),
            topic: topic.into(),
            excluded: (publisher > 0).then_some(SessionId(publisher)),
            attributes: None,
            particulars: restricted.then(|| Arc::new(particulars)),
            payload: OwnedPayload::from_json(Some(args), None).unwrap(),
            unix_ms: 0,
        })
    }

    fn retain(events: &RetainedEvents, id: u64, topic: &str, args: &str, options: &str) -> Given {
        events.retain(publication_of(id, topic, args, options, 0), None)
    }

    fn all_of(events: &RetainedEvents, pattern: &str, policy: MatchPolicy) -> Vec<u64> {
        let found = events.store.lock().matching(pattern, policy);
        found.into_iter().filter_map(What::event).map(|event| event.id.0).collect()
    }

    fn last(events: &RetainedEvents, topic: &str, of: &Identity) -> Vec<u64> {
        events.matching(topic, MatchPolicy::Exact, of).iter().map(|event| event.id.0).collect()
    }

    fn evicted(evicted: u64) -> Given {
        Given { evicted, too_large: false }
    }

    #[test]
    fn a_topic_retains_its_last_event_until_it_is_cleared() {
        let events = RetainedEvents::new(9, 1 << 20);
        let anybody = identity(1, "b");
        retain(&events, 1, "a", "[1]", "{}");
        retain(&events, 2, "a", "[2]", "{}");
        assert_eq!((last(&events, "a", &anybody), events.count()), (vec![2], 1));
        retain(&events, 3, "a", "[]", "{}");
        assert_eq!((last(&events, "a", &anybody), events.count()), (vec![3], 1));
        events.clear("a", None);
        assert_eq!((last(&events, "a", &anybody), events.count()), (vec![], 0));
        let store = events.store.lock();
        assert_eq!((store.bytes, store.order.len()), (0, 0));
    }

    #[test]
    fn everybody_finds_the_last_event_that_it_would_have_got() {
        let events = RetainedEvents::new(99, 1 << 20);
        let (one, other) = (identity(1, "a"), identity(2, "b"));
        let restricted = r#"{"eligible_authrole":["a"]}"#;
        retain(&events, 1, "t", "[1]", "{}");
        retain(&events, 2, "t", "[1]", restricted);
        retain(&events, 3, "t", "[1]", restricted);
        assert_eq!((last(&events, "t", &other), last(&events, "t", &one)), (vec![1], vec![3]));
        assert_eq!(events.count(), 2, "what is for the same receivers is replaced");
        let lists = publication_of(0, "t", "[]", restricted, 0);
        events.clear("t", lists.eligibility());
        assert_eq!((last(&events, "t", &one), events.count()), (vec![1], 1));
        retain(&events, 4, "t", "[1]", restricted);
        retain(&events, 5, "t", "[1]", "{}");
        assert_eq!((last(&events, "t", &one), events.count()), (vec![5], 1));
    }

    #[test]
    fn whom_an_event_was_for_that_is_gone_finds_nothing_older() {
        let events = RetainedEvents::new(999, 1 << 20);
        let nobody_in_particular = identity(1, "b");
        retain(&events, 1, "t", "[1]", "{}");
        for id in 10..10 + RESTRICTED_PER_TOPIC_MAX as u64 + 5 {
            let only = format!(r#"{{"eligible":[{id}]}}"#);
            let given = retain(&events, id, "t", "[1]", &only);
            assert_eq!(given, evicted(u64::from(id >= 10 + RESTRICTED_PER_TOPIC_MAX as u64)));
        }
        assert_eq!(events.count(), 1 + RESTRICTED_PER_TOPIC_MAX);
        assert_eq!(last(&events, "t", &nobody_in_particular), [1], "the one for everybody stays");
        assert_eq!(last(&events, "t", &identity(14, "a")), [0u64; 0], "not the one before");
        assert_eq!(last(&events, "t", &identity(15, "a")), [15]);
        // It is found again as soon as there is one.
        retain(&events, 30, "t", "[1]", r#"{"eligible":[14]}"#);
        assert_eq!(last(&events, "t", &identity(14, "a")), [30]);
        // More marks than there may be: nobody finds a wrong one, and some find none.
        for id in 100..100 + (RESTRICTED_PER_TOPIC_MAX + MARKS_PER_TOPIC_MAX) as u64 {
            retain(&events, id, "t", "[1]", &format!(r#"{{"eligible":[{id}]}}"#));
        }
        for who in [1, 10, 14, 100] {
            assert_eq!(last(&events, "t", &identity(who, "a")), [0u64; 0], "{who}");
        }
        assert!(events.store.lock().order.len() <= RESTRICTED_PER_TOPIC_MAX + MARKS_PER_TOPIC_MAX);
    }

    /// Every event that there was, from which everybody finds out by itself what it would have got last.
    #[test]
    fn nobody_finds_anything_but_what_its_naive_twin_finds() {
        let mut random = Random(23);
        let sessions: Vec<Identity> =
            (1..=5).map(|session| identity(session, ["a", "b"][session as usize % 2])).collect();
        let lists = [
            "{}",
            "{}",
            "{}",
            r#"{"eligible_authrole":["a"]}"#,
            r#"{"exclude":[2]}"#,
            r#"{"eligible":[1,3]}"#,
        ];
        for _ in 0..300 {
            let events = RetainedEvents::new(99, 1 << 20);
            let mut twin: Vec<Arc<KeptPublication>> = Vec::new();
            for id in 1..=20 {
                let publisher = &sessions[random.below(3)];
                let own = random.below(4) == 0;
                let session = if own { 0 } else { publisher.session.0 };
                let publication = publication_of(id, "t", "[1]", lists[random.below(lists.len())], session);
                events.retain(publication.clone(), Some(publisher));
                twin.push(publication);
                for session in &sessions {
                    let got = |known: &&Arc<KeptPublication>| {
                        known.excluded != Some(session.session) && known.eligible(session)
                    };
                    let expected: Vec<u64> = twin.iter().rfind(got).iter().map(|known| known.id.0).collect();
                    assert_eq!(last(&events, "t", session), expected, "{session:?}");
                }
            }
        }
    }

    #[test]
    fn the_oldest_make_room_by_count_and_by_octets_and_what_is_too_large_takes_none() {
        let events = RetainedEvents::new(3, 1 << 20);
        let given: u64 = (1..=5).map(|id| retain(&events, id, &format!("t{id}"), "[1]", "{}").evicted).sum();
        assert_eq!((given, all_of(&events, "", MatchPolicy::Prefix)), (2, vec![3, 4, 5]));
        let events = RetainedEvents::new(9, 2_000);
        retain(&events, 1, "a", "[1]", "{}");
        let long = format!("[\"{}\"]", "x".repeat(1_600));
        assert_eq!(retain(&events, 2, "b", &long, "{}"), evicted(1));
        assert_eq!(all_of(&events, "", MatchPolicy::Prefix), [2]);
        retain(&events, 3, "a", "[1]", "{}");
        retain(&events, 4, "c", "[1]", "{}");
        let longer = format!("[\"{}\"]", "x".repeat(2_000));
        assert_eq!(retain(&events, 5, "c", &longer, "{}"), Given { evicted: 0, too_large: true });
        assert_eq!(
            all_of(&events, "", MatchPolicy::Prefix),
            [3],
            "what it replaces is gone, and nothing else"
        );
        // For whom it was, it is as if it were there.
        assert!(retain(&events, 6, "a", &longer, r#"{"eligible_authrole":["a"]}"#).too_large);
        assert_eq!(last(&events, "a", &identity(1, "a")), [0u64; 0]);
        assert_eq!(last(&events, "a", &identity(1, "b")), [3]);
        let none = RetainedEvents::new(0, 2_000);
        assert_eq!((retain(&none, 1, "a", "[1]", "{}"), none.count()), (evicted(0), 0));
    }

    #[test]
    fn patterns_find_what_their_naive_twin_finds() {
        let mut random = Random(11);
        let events = RetainedEvents::new(1_000, 1 << 20);
        let component = |random: &mut Random| ["a", "b", "ab", "c"][random.below(4)];
        let topics: Vec<String> = (0..60)
            .map(|_| (0..=random.below(3)).map(|_| component(&mut random)).collect::<Vec<_>>().join("."))
            .collect();
        for (id, topic) in (1..).zip(&topics) {
            retain(&events, id, topic, "[1]", "{}");
        }
        for _ in 0..500 {
            let parts = (0..=random.below(3)).map(|_| ["", "a", "b", "ab"][random.below(4)]);
            let (pattern, policy) = (parts.collect::<Vec<_>>().join("."), random.policy());
            let mut found: Vec<String> = events
                .matching(&pattern, policy, &identity(1, "a"))
                .iter()
                .map(|event| event.topic.to_string())
                .collect();
            let mut twin: Vec<String> =
                topics.iter().filter(|topic| pattern::matches(&pattern, policy, topic)).cloned().collect();
            twin.sort();
            twin.dedup();
            assert!(found.is_sorted(), "by topic");
            found.sort();
            assert_eq!(found, twin, "{pattern:?} {policy:?}");
        }
    }
}
