//! Event history: which publications of a realm are kept, and where (advanced profile, "Event History"). [`query`] is
//! how clients ask for them.
//!
//! What is kept is said by rules over topics, not by who subscribes: the history of a topic begins with the router,
//! and a subscription finds in it what its topic or pattern matches, also if it is the first there ever was. A
//! publication is kept by the first rule that its topic matches, and by no other; each rule has its own bounds.
//!
//! What is for certain sessions (`exclude`, `eligible`) is never kept: session ids mean nothing to those who come
//! later. That a publisher does not get its own event (`exclude_me`) is no such restriction, or hardly anything could
//! be kept: it finds its own events in the history. Restrictions by authid and authrole are kept and hold for whoever
//! asks.

pub mod query;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::pattern;
use super::publication::KeptPublication;
use crate::sync::Mutex;
use crate::wamp::MatchPolicy;

/// Which publications are kept, and for how long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryRule {
    /// The topic, or the pattern of topics.
    pub uri: String,
    /// How it is matched.
    pub policy: MatchPolicy,
    /// How many publications, at least 1. The oldest make room.
    pub events_max: usize,
    /// How many octets all of them may take. The oldest make room.
    pub bytes_max: usize,
    /// How old they may get; however old, if 0.
    pub age_ms_max: u64,
}

impl HistoryRule {
    /// The rule with the bounds that hold if none are given.
    pub fn new(uri: impl Into<String>, policy: MatchPolicy) -> HistoryRule {
        HistoryRule { uri: uri.into(), policy, events_max: 1_000, bytes_max: 16 << 20, age_ms_max: 0 }
    }
}

/// A publication in a history.
#[derive(Clone, Debug)]
pub struct HistoricEvent {
    /// Orders the publications of a realm, whatever rule has kept them.
    pub serial: u64,
    /// What was published.
    pub publication: Arc<KeptPublication>,
}

/// Where the publications of a realm are kept. All shards write to it and read it.
pub trait HistoryStore: fmt::Debug + Send + Sync {
    /// Keeps a publication under the rule at this position of the realm's rules. Whoever asks when this has returned
    /// finds it.
    fn append(&self, rule: usize, publication: Arc<KeptPublication>);

    /// Every publication that the subscription matches, in the order in which they were appended, but for those that
    /// are too old at `unix_ms`.
    fn matching(&self, pattern: &str, policy: MatchPolicy, unix_ms: u64) -> Vec<HistoricEvent>;
}

/// The history of a realm.
#[derive(Debug)]
pub struct History {
    rules: Vec<HistoryRule>,
    store: Box<dyn HistoryStore>,
}

impl History {
    /// A history in memory; `None` if nothing is to be kept.
    pub fn new(rules: &[HistoryRule]) -> Option<History> {
        let store = Box::new(MemoryStore::new(rules));
        (!rules.is_empty()).then(|| History { rules: rules.to_vec(), store })
    }

    /// The rule that keeps publications to this topic.
    pub fn rule(&self, topic: &str) -> Option<usize> {
        self.rules.iter().position(|rule| pattern::matches(&rule.uri, rule.policy, topic))
    }

    /// The store.
    pub fn store(&self) -> &dyn HistoryStore {
        &*self.store
    }
}

/// A store that begins empty with every start of the router: one log for each rule, behind one lock.
#[derive(Debug)]
pub struct MemoryStore {
    logs: Mutex<Logs>,
}

#[derive(Debug)]
struct Logs {
    /// The last number given.
    serial: u64,
    logs: Vec<Log>,
}

/// What one rule has kept, oldest first.
#[derive(Debug)]
struct Log {
    rule: HistoryRule,
    events: VecDeque<HistoricEvent>,
    bytes: usize,
}

impl MemoryStore {
    /// Empty logs.
    pub fn new(rules: &[HistoryRule]) -> MemoryStore {
        let log = |rule: &HistoryRule| Log { rule: rule.clone(), events: VecDeque::new(), bytes: 0 };
        MemoryStore { logs: Mutex::new(Logs { serial: 0, logs: rules.iter().map(log).collect() }) }
    }
}

impl HistoryStore for MemoryStore {
    fn append(&self, rule: usize, publication: Arc<KeptPublication>) {
        let mut logs = self.logs.lock();
        logs.serial += 1;
        let serial = logs.serial;
        logs.logs[rule].append(HistoricEvent { serial, publication });
    }

    fn matching(&self, pattern: &str, policy: MatchPolicy, unix_ms: u64) -> Vec<HistoricEvent> {
        let mut found = Vec::new();
        for log in &mut self.logs.lock().logs {
            log.expire(unix_ms);
            let matching =
                |event: &&HistoricEvent| pattern::matches(pattern, policy, &event.publication.topic);
            found.extend(log.events.iter().filter(matching).cloned());
        }
        // Each log is in order; together they need not be.
        found.sort_by_key(|event| event.serial);
        found
    }
}

impl Log {
    fn append(&mut self, event: HistoricEvent) {
        self.expire(event.publication.unix_ms);
        self.bytes += event.publication.bytes();
        self.events.push_back(event);
        while self.events.len() > self.rule.events_max || self.bytes > self.rule.bytes_max {
            if !self.drop_oldest() {
                break;
            }
        }
    }

    /// Drops what is too old. Shards read the clock at different times, so what comes later may be a little older; it
    /// goes when its turn comes.
    fn expire(&mut self, unix_ms: u64) {
        let age_ms_max = self.rule.age_ms_max;
        let old = |event: &HistoricEvent| event.publication.unix_ms.saturating_add(age_ms_max) < unix_ms;
        while age_ms_max > 0 && self.events.front().is_some_and(old) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(gone) = self.events.pop_front() else { return false };
        self.bytes -= gone.publication.bytes();
        true
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::codec::payload::OwnedPayload;
    use crate::wamp::PublicationId;

    fn publication(id: u64, topic: &str, bytes: usize, unix_ms: u64) -> Arc<KeptPublication> {
        let text = format!("[\"{}\"]", "x".repeat(bytes));
        Arc::new(KeptPublication {
            id: PublicationId(id),
            topic: topic.into(),
            excluded: None,
            attributes: None,
            particulars: None,
            payload: OwnedPayload::from_json(Some(&text), None).unwrap(),
            unix_ms,
        })
    }

    fn ids(history: &History, pattern: &str, policy: MatchPolicy, unix_ms: u64) -> Vec<u64> {
        let found = history.store().matching(pattern, policy, unix_ms);
        assert!(found.is_sorted_by_key(|event| event.serial));
        found.iter().map(|event| event.publication.id.0).collect()
    }

    #[test]
    fn a_publication_is_kept_by_the_first_rule_that_matches_and_found_by_every_subscription() {
        let rules = [
            HistoryRule { events_max: 2, ..HistoryRule::new("log.auth", MatchPolicy::Exact) },
            HistoryRule::new("log.", MatchPolicy::Prefix),
        ];
        let history = History::new(&rules).unwrap();
        for (id, topic) in (1..).zip(["log.auth", "log.basket", "log.auth", "log.auth", "log.x.y"]) {
            history.store().append(history.rule(topic).unwrap(), publication(id, topic, 1, 0));
        }
        assert_eq!((history.rule("log"), history.rule("log.auth")), (None, Some(0)));
        assert_eq!(ids(&history, "log.auth", MatchPolicy::Exact, 0), [3, 4]);
        assert_eq!(ids(&history, "log", MatchPolicy::Prefix, 0), [2, 3, 4, 5]);
        assert_eq!(ids(&history, "log.", MatchPolicy::Wildcard, 0), [2, 3, 4]);
        assert!(History::new(&[]).is_none());
    }

    #[test]
    fn the_oldest_go_by_age_and_by_octets() {
        let rule =
            HistoryRule { age_ms_max: 10, bytes_max: 2_000, ..HistoryRule::new("a", MatchPolicy::Exact) };
        let history = History::new(&[rule]).unwrap();
        for (id, unix_ms) in [(1, 100), (2, 105), (3, 111)] {
            history.store().append(0, publication(id, "a", 1, unix_ms));
        }
        assert_eq!(ids(&history, "a", MatchPolicy::Exact, 111), [2, 3]);
        assert_eq!(ids(&history, "a", MatchPolicy::Exact, 116), [3]);
        history.store().append(0, publication(4, "a", 1_600, 116));
        assert_eq!(ids(&history, "a", MatchPolicy::Exact, 116), [4]);
        history.store().append(0, publication(5, "a", 2_000, 116));
        assert_eq!(ids(&history, "a", MatchPolicy::Exact, 116), [0u64; 0], "too large for the rule");
    }
}
