//! The events that the topics of a realm retain (advanced profile, "Event Retention"): one store for all shards, behind
//! a lock that only publications with `retain` and subscribers with `get_retained` take.
//!
//! The publisher's shard stores before it looks for subscribers, and the subscriber's shard looks here after it has
//! entered the directory. So a subscriber that asks for what is retained misses nothing: an event that is under way may
//! come to it twice, once as retained and once as live, and it comes once at least.
//!
//! A topic has the last event that everybody may get, and behind it those that only some may get and that came later,
//! so that everybody finds the last one that it would have got. What a later event is for the same receivers replaces:
//! at most [`RESTRICTED_PER_TOPIC_MAX`] restricted ones are kept for a topic. That a publisher does not get its own
//! event (`exclude_me`) is no restriction in this sense, or every event would be one.
//!
//! The specification has no word for forgetting what a topic retains. Here a publication with `retain` and without
//! arguments does it, as people know it from MQTT: a broker may decline to retain, and an event that says nothing is
//! nothing to catch up with. It clears what is retained for everybody; with restrictions, only what has the same.
//!
//! Invariants: `order` names exactly the events in `topics`, oldest first; there are at most `count_max`, of
//! `bytes_max` octets together. The oldest make room.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::pattern;
use super::publication::KeptPublication;
use crate::codec::{self, payload};
use crate::sync::Mutex;
use crate::wamp::{MatchPolicy, Value};

/// Restricted events that a topic retains beside the one for everybody.
pub const RESTRICTED_PER_TOPIC_MAX: usize = 8;

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
#[derive(Debug)]
struct Retained {
    serial: u64,
    publication: Arc<KeptPublication>,
}

impl RetainedEvents {
    /// None yet.
    pub fn new(count_max: usize, bytes_max: usize) -> RetainedEvents {
        let (topics, order) = (BTreeMap::new(), BTreeMap::new());
        RetainedEvents {
            store: Mutex::new(Store { topics, order, serial: 0, bytes: 0, count_max, bytes_max }),
        }
    }

    /// A topic retains this from now on, or forgets if it is empty. Returns how many events had to make room.
    pub fn retain(&self, publication: Arc<KeptPublication>) -> u64 {
        let clears = is_empty(&publication);
        let mut store = self.store.lock();
        store.replace(&publication);
        if clears { 0 } else { store.keep(publication) }
    }

    /// What the topics retain that match, by topic. Of the events of one topic that `admits` takes, the last; the lock
    /// is not held meanwhile.
    pub fn matching(
        &self,
        pattern: &str,
        policy: MatchPolicy,
        admits: impl Fn(&KeptPublication) -> bool,
    ) -> Vec<Arc<KeptPublication>> {
        let found = self.store.lock().matching(pattern, policy);
        let mut last: Vec<Arc<KeptPublication>> = Vec::with_capacity(found.len());
        for publication in found.into_iter().filter(|publication| admits(publication)) {
            match last.last_mut() {
                Some(known) if known.topic == publication.topic => *known = publication,
                _ => last.push(publication),
            }
        }
        last
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.store.lock().order.len()
    }
}

impl Store {
    /// Takes out what this publication is in place of: all of its topic, or what is for the same receivers.
    fn replace(&mut self, publication: &KeptPublication) {
        let Some(events) = self.topics.get_mut(&*publication.topic) else { return };
        let eligibility = publication.eligibility();
        let goes =
            |known: &mut Retained| eligibility.is_none() || known.publication.eligibility() == eligibility;
        for gone in events.extract_if(.., goes) {
            self.order.remove(&gone.serial);
            self.bytes -= gone.publication.bytes();
        }
        if events.is_empty() {
            self.topics.remove(&*publication.topic);
        }
    }

    /// Puts it last, and makes room.
    fn keep(&mut self, publication: Arc<KeptPublication>) -> u64 {
        self.serial += 1;
        let serial = self.serial;
        let topic: Arc<str> = (*publication.topic).into();
        self.bytes += publication.bytes();
        self.order.insert(serial, topic.clone());
        let events = self.topics.entry(topic.clone()).or_default();
        events.push(Retained { serial, publication });
        let mut restricted = events.iter().filter(|event| event.publication.eligibility().is_some());
        let first = restricted.next().map(|event| event.serial);
        let mut evicted = 0;
        if restricted.count() >= RESTRICTED_PER_TOPIC_MAX {
            evicted += self.evict(first, &topic);
        }
        while self.order.len() > self.count_max || self.bytes > self.bytes_max {
            let Some((&serial, topic)) = self.order.first_key_value() else { break };
            let topic = topic.clone();
            evicted += self.evict(Some(serial), &topic);
        }
        evicted
    }

    fn evict(&mut self, serial: Option<u64>, topic: &str) -> u64 {
        let Some(serial) = serial else { return 0 };
        let Some(events) = self.topics.get_mut(topic) else { return 0 };
        let Some(place) = events.iter().position(|event| event.serial == serial) else { return 0 };
        let gone = events.remove(place);
        if events.is_empty() {
            self.topics.remove(topic);
        }
        self.order.remove(&serial);
        self.bytes -= gone.publication.bytes();
        1
    }

    /// All events of the topics that match, by topic and then by age. A pattern costs as much as there are topics that
    /// begin as it does.
    fn matching(&self, pattern: &str, policy: MatchPolicy) -> Vec<Arc<KeptPublication>> {
        let begin = match policy {
            MatchPolicy::Exact => {
                return self
                    .topics
                    .get(pattern)
                    .map_or_else(Vec::new, |events| publications(events).collect());
            }
            MatchPolicy::Prefix => pattern,
            MatchPolicy::Wildcard => literal_beginning(pattern),
        };
        self.topics
            .range::<str, _>((Bound::Included(begin), Bound::Unbounded))
            .take_while(|(topic, _)| topic.starts_with(begin))
            .filter(|(topic, _)| pattern::matches(pattern, policy, topic))
            .flat_map(|(_, events)| publications(events))
            .collect()
    }
}

fn publications(events: &[Retained]) -> impl Iterator<Item = Arc<KeptPublication>> {
    events.iter().map(|event| event.publication.clone())
}

/// What every topic begins with that the wildcard matches: its text before the first empty component.
fn literal_beginning(wildcard: &str) -> &str {
    if wildcard.starts_with('.') {
        return "";
    }
    match wildcard.find("..") {
        Some(place) => &wildcard[..=place],
        None => wildcard,
    }
}

/// True for no arguments at all, and for empty ones.
fn is_empty(publication: &KeptPublication) -> bool {
    let (arguments, keyword_arguments) = payload::values(publication.payload.borrow());
    let nothing = match &arguments {
        Value::Null => true,
        Value::List(list) => codec::items(list).next().is_none(),
        _ => false,
    };
    nothing && codec::entries(&keyword_arguments).next().is_none()
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::super::eligibility::Eligibility;
    use super::super::pattern::tests::Random;
    use super::super::publication::Particulars;
    use super::*;
    use crate::codec::payload::OwnedPayload;
    use crate::wamp::{Dict, PublicationId, Serializer};

    fn publication(id: u64, topic: &str, args: &str, options: &str) -> Arc<KeptPublication> {
        let options = Dict::Raw(codec::check(Serializer::Json, options.as_bytes()).unwrap());
        let eligibility = Eligibility::read(&options).unwrap();
        let restricted = eligibility != Eligibility::default();
        let particulars = Particulars { eligibility: Some(eligibility), ..Particulars::default() };
        Arc::new(KeptPublication {
            id: PublicationId(id),
            topic: topic.into(),
            excluded: None,
            attributes: None,
            particulars: restricted.then(|| Arc::new(particulars)),
            payload: OwnedPayload::from_json(Some(args), None).unwrap(),
            unix_ms: 0,
        })
    }

    fn all(events: &RetainedEvents, pattern: &str, policy: MatchPolicy) -> Vec<u64> {
        events.store.lock().matching(pattern, policy).iter().map(|event| event.id.0).collect()
    }

    fn last(events: &RetainedEvents, topic: &str, restricted: bool) -> Vec<u64> {
        let admits = |event: &KeptPublication| restricted || event.eligibility().is_none();
        events.matching(topic, MatchPolicy::Exact, admits).iter().map(|event| event.id.0).collect()
    }

    #[test]
    fn a_topic_retains_its_last_event_until_an_empty_one_clears_it() {
        let events = RetainedEvents::new(9, 1 << 20);
        events.retain(publication(1, "a", "[1]", "{}"));
        events.retain(publication(2, "a", "[2]", "{}"));
        assert_eq!((last(&events, "a", false), events.count()), (vec![2], 1));
        events.retain(publication(3, "a", "[]", "{}"));
        assert_eq!((last(&events, "a", false), events.count()), (vec![], 0));
        assert_eq!(events.store.lock().bytes, 0);
        events.retain(publication(4, "a", "[null]", "{}"));
        assert_eq!(last(&events, "a", false), [4], "null is an argument");
    }

    #[test]
    fn everybody_finds_the_last_event_that_it_would_have_got() {
        let events = RetainedEvents::new(99, 1 << 20);
        let restricted = r#"{"eligible_authrole":["a"]}"#;
        events.retain(publication(1, "t", "[1]", "{}"));
        events.retain(publication(2, "t", "[1]", restricted));
        events.retain(publication(3, "t", "[1]", restricted));
        assert_eq!((last(&events, "t", false), last(&events, "t", true)), (vec![1], vec![3]));
        assert_eq!(events.count(), 2, "what is for the same receivers is replaced");
        events.retain(publication(4, "t", "[]", restricted));
        assert_eq!((last(&events, "t", true), events.count()), (vec![1], 1));
        for id in 10..30 {
            let exclude = format!(r#"{{"exclude":[{id}]}}"#);
            assert_eq!(events.retain(publication(id, "t", "[1]", &exclude)), u64::from(id >= 18));
        }
        assert_eq!(events.count(), 1 + RESTRICTED_PER_TOPIC_MAX);
        assert_eq!(last(&events, "t", false), [1], "the one for everybody stays");
        events.retain(publication(5, "t", "[1]", "{}"));
        assert_eq!((last(&events, "t", true), events.count()), (vec![5], 1));
    }

    #[test]
    fn the_oldest_make_room_by_count_and_by_octets() {
        let events = RetainedEvents::new(3, 1 << 20);
        let evicted: u64 =
            (1..=5).map(|id| events.retain(publication(id, &format!("t{id}"), "[1]", "{}"))).sum();
        assert_eq!((evicted, all(&events, "", MatchPolicy::Prefix)), (2, vec![3, 4, 5]));
        let events = RetainedEvents::new(9, 2_000);
        events.retain(publication(1, "a", "[1]", "{}"));
        let long = format!("[\"{}\"]", "x".repeat(1_600));
        assert_eq!(events.retain(publication(2, "b", &long, "{}")), 1);
        assert_eq!(all(&events, "", MatchPolicy::Prefix), [2]);
        let longer = format!("[\"{}\"]", "x".repeat(2_000));
        assert_eq!(events.retain(publication(3, "b", &longer, "{}")), 1, "it does not fit at all");
        assert_eq!((events.count(), events.store.lock().bytes), (0, 0));
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
            events.retain(publication(id, topic, "[1]", "{}"));
        }
        for _ in 0..500 {
            let parts = (0..=random.below(3)).map(|_| ["", "a", "b", "ab"][random.below(4)]);
            let (pattern, policy) = (parts.collect::<Vec<_>>().join("."), random.policy());
            let mut found: Vec<String> = events
                .matching(&pattern, policy, |_| true)
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
