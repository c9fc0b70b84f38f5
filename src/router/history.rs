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
//!
//! Of what is not kept, because it is for certain sessions or too large for its rule, it is noted that there was such a
//! publication: a subscriber that has got it live can go on from it. What makes room for others, or is too old, is no
//! longer known at all, and neither is what was noted before it.
//!
//! Ages are by the machine's clock: who sets it forward makes all that was kept older.

pub mod query;

use std::collections::VecDeque;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::pattern;
use super::publication::KeptPublication;
use super::session::Map;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::wamp::{MatchPolicy, PublicationId};

/// Which publications are kept, and for how long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryRule {
    /// The topic, or the pattern of topics.
    pub uri: String,
    /// How it is matched.
    pub policy: MatchPolicy,
    /// How many publications, at least 1. The oldest make room.
    pub events_max: usize,
    /// How many octets all of them may take. The oldest make room; what is larger by itself is not kept.
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

/// Which publications of a history are looked for, and in which order.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    /// The topic or the pattern of a subscription.
    pub pattern: &'a str,
    /// How it is matched.
    pub policy: MatchPolicy,
    /// Only what was published to this topic.
    pub topic: Option<&'a str>,
    /// The first and the last serial.
    pub serials: (u64, u64),
    /// The first and the last time, in milliseconds since 1970-01-01T00:00:00Z.
    pub times: (u64, u64),
    /// What is too old now is not found.
    pub unix_ms: u64,
    /// The youngest come first.
    pub reverse: bool,
}

impl Search<'_> {
    /// True if it looks for this publication, its serial apart.
    pub fn admits(&self, publication: &KeptPublication) -> bool {
        (self.times.0..=self.times.1).contains(&publication.unix_ms)
            && self.topic.is_none_or(|topic| topic == &*publication.topic)
            && pattern::matches(self.pattern, self.policy, &publication.topic)
    }
}

/// Where the publications of a realm are kept. All shards write to it and read it, so nothing here may take long.
///
/// What an embedded database needs is here as well: publications are read in the order of their serials, a few at a
/// time, and no more of them than are wanted.
pub trait HistoryStore: fmt::Debug + Send + Sync {
    /// Keeps a publication under the rule at this position of the realm's rules. Whoever asks when this has returned
    /// finds it. False if it is too large for the rule: then it is only noted.
    fn append(&self, rule: usize, publication: Arc<KeptPublication>) -> bool;

    /// Notes that there was a publication, which is not to be kept, so that one can go on from it.
    fn note(&self, rule: usize, id: PublicationId, unix_ms: u64);

    /// The serial of a publication that was kept or noted, if all that came after it in its log is still there.
    fn serial(&self, id: PublicationId, unix_ms: u64) -> Option<u64>;

    /// Shows what is looked for to `visitor` until it has enough: what was there when this was called, as far as it
    /// does not go meanwhile.
    fn visit(&self, search: &Search<'_>, visitor: &mut dyn FnMut(&HistoricEvent) -> ControlFlow<()>);

    /// The same store under other rules: what was kept under a rule for the same topics is kept on, within its bounds
    /// when the next publication comes; the rest is not found any more.
    fn with(&self, rules: &[HistoryRule]) -> Box<dyn HistoryStore>;
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

    /// The same history under other rules; `None` if nothing is to be kept any more.
    pub fn with(&self, rules: &[HistoryRule]) -> Option<History> {
        (!rules.is_empty()).then(|| History { rules: rules.to_vec(), store: self.store.with(rules) })
    }

    /// The rules, in their order.
    pub fn rules(&self) -> &[HistoryRule] {
        &self.rules
    }

    /// The rule that keeps publications to this topic. Tries them all.
    pub fn rule(&self, topic: &str) -> Option<usize> {
        self.rules.iter().position(|rule| pattern::matches(&rule.uri, rule.policy, topic))
    }

    /// The store.
    pub fn store(&self) -> &dyn HistoryStore {
        &*self.store
    }
}

/// A store that begins empty with every start of the router: one log for each rule, each behind a lock of its own.
///
/// A serial is given under the lock of its log. So who looks for what was there at a moment reads the last serial
/// first: each up to that one stands in its log by the time its lock can be taken.
#[derive(Debug)]
pub struct MemoryStore {
    /// The last one given. Stores that go on from this one go on with it.
    serial: Arc<AtomicU64>,
    logs: Vec<Log>,
}

/// What one rule has kept.
#[derive(Debug)]
struct Log {
    rule: HistoryRule,
    kept: Arc<Mutex<Kept>>,
}

/// All of it oldest first. Notes are younger than the youngest publication that had to go: from an older one nobody
/// could go on without a gap.
#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<HistoricEvent>,
    notes: VecDeque<Place>,
    /// Of both.
    places: Map<PublicationId, Place>,
    /// Of the events; a note takes about as much as its place.
    bytes: usize,
}

/// Where a publication stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    id: PublicationId,
    serial: u64,
    unix_ms: u64,
}

/// How many publications are looked at, or dropped for their age, while a lock is held.
const EVENTS_PER_LOCK_MAX: usize = 64;

impl MemoryStore {
    /// Empty logs.
    pub fn new(rules: &[HistoryRule]) -> MemoryStore {
        let logs = rules.iter().map(|rule| Log::of(rule, Arc::new(Mutex::new(Kept::default()))));
        MemoryStore { serial: Arc::new(AtomicU64::new(0)), logs: logs.collect() }
    }

    /// To be asked under the lock of a log.
    fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl HistoryStore for MemoryStore {
    fn append(&self, rule: usize, publication: Arc<KeptPublication>) -> bool {
        let Log { rule, kept } = &self.logs[rule];
        let mut kept = kept.lock();
        let place = Place { id: publication.id, serial: self.next_serial(), unix_ms: publication.unix_ms };
        kept.expire(rule, place.unix_ms);
        if publication.bytes() > rule.bytes_max {
            kept.note(rule, place);
            return false;
        }
        kept.append(rule, place, publication);
        true
    }

    fn note(&self, rule: usize, id: PublicationId, unix_ms: u64) {
        let Log { rule, kept } = &self.logs[rule];
        let mut kept = kept.lock();
        kept.expire(rule, unix_ms);
        kept.note(rule, Place { id, serial: self.next_serial(), unix_ms });
    }

    fn serial(&self, id: PublicationId, unix_ms: u64) -> Option<u64> {
        self.logs.iter().find_map(|log| {
            let place = *log.kept.lock().places.get(&id)?;
            (place.unix_ms >= log.rule.unix_ms_min(unix_ms)).then_some(place.serial)
        })
    }

    fn visit(&self, search: &Search<'_>, visitor: &mut dyn FnMut(&HistoricEvent) -> ControlFlow<()>) {
        let last = search.serials.1.min(self.serial.load(Ordering::Relaxed));
        // There is no serial 0.
        let first = search.serials.0.max(1);
        let logs = self.logs.iter().filter(|log| log.rule.may_have(search));
        let mut cursors: Vec<_> = logs.map(|log| Cursor::new(log, first, last)).collect();
        loop {
            for cursor in &mut cursors {
                cursor.fill(search);
            }
            let heads = cursors.iter_mut().filter(|cursor| !cursor.read.is_empty());
            // Each log is in order; together they need not be.
            let next = match search.reverse {
                false => heads.min_by_key(|cursor| cursor.read[0].serial),
                true => heads.max_by_key(|cursor| cursor.read[0].serial),
            };
            let Some(event) = next.and_then(|cursor| cursor.read.pop_front()) else { return };
            if visitor(&event).is_break() {
                return;
            }
        }
    }

    fn with(&self, rules: &[HistoryRule]) -> Box<dyn HistoryStore> {
        let same =
            |rule: &HistoryRule, log: &&Log| log.rule.uri == rule.uri && log.rule.policy == rule.policy;
        let log = |rule: &HistoryRule| match self.logs.iter().find(|log| same(rule, log)) {
            Some(log) => Log::of(rule, log.kept.clone()),
            None => Log::of(rule, Arc::new(Mutex::new(Kept::default()))),
        };
        Box::new(MemoryStore { serial: self.serial.clone(), logs: rules.iter().map(log).collect() })
    }
}

impl Log {
    fn of(rule: &HistoryRule, kept: Arc<Mutex<Kept>>) -> Log {
        Log { rule: rule.clone(), kept }
    }
}

impl HistoryRule {
    /// What was published before is too old.
    fn unix_ms_min(&self, unix_ms: u64) -> u64 {
        if self.age_ms_max == 0 { 0 } else { unix_ms.saturating_sub(self.age_ms_max) }
    }

    /// False only if nothing that is looked for matches the rule.
    fn may_have(&self, search: &Search<'_>) -> bool {
        search.topic.is_none_or(|topic| pattern::matches(&self.uri, self.policy, topic))
            && pattern::may_meet((&self.uri, self.policy), (search.pattern, search.policy))
    }
}

impl Kept {
    fn append(&mut self, rule: &HistoryRule, place: Place, publication: Arc<KeptPublication>) {
        self.bytes += publication.bytes();
        self.places.insert(place.id, place);
        self.events.push_back(HistoricEvent { serial: place.serial, publication });
        while self.events.len() > rule.events_max || self.bytes > rule.bytes_max {
            self.drop_oldest();
        }
    }

    /// There are as many notes as there may be events.
    fn note(&mut self, rule: &HistoryRule, place: Place) {
        self.places.insert(place.id, place);
        self.notes.push_back(place);
        if self.notes.len() > rule.events_max {
            self.drop_oldest_note();
        }
    }

    /// Drops what is too old, if not all of it at once. Shards read the clock at different times, so what comes later
    /// may be a little older; it goes when its turn comes.
    fn expire(&mut self, rule: &HistoryRule, unix_ms: u64) {
        let unix_ms_min = rule.unix_ms_min(unix_ms);
        for _ in 0..EVENTS_PER_LOCK_MAX {
            match self.events.front() {
                Some(event) if event.publication.unix_ms < unix_ms_min => self.drop_oldest(),
                _ => break,
            }
        }
    }

    fn drop_oldest(&mut self) {
        let Some(gone) = self.events.pop_front() else { return };
        self.bytes -= gone.publication.bytes();
        self.places.remove(&gone.publication.id);
        while self.notes.front().is_some_and(|note| note.serial < gone.serial) {
            self.drop_oldest_note();
        }
    }

    fn drop_oldest_note(&mut self) {
        if let Some(gone) = self.notes.pop_front() {
            self.places.remove(&gone.id);
        }
    }
}

/// How far a log was read.
struct Cursor<'a> {
    log: &'a Log,
    /// What is to be read yet, from the first serial to the last.
    first: u64,
    last: u64,
    /// Read, and not shown yet.
    read: VecDeque<HistoricEvent>,
}

impl<'a> Cursor<'a> {
    fn new(log: &'a Log, first: u64, last: u64) -> Cursor<'a> {
        Cursor { log, first, last, read: VecDeque::new() }
    }

    /// Reads on until there is something to show, or nothing more.
    fn fill(&mut self, search: &Search<'_>) {
        while self.read.is_empty() && self.first <= self.last {
            self.read_some(search);
        }
    }

    /// What one lock lasts for.
    fn read_some(&mut self, search: &Search<'_>) {
        let mut kept = self.log.kept.lock();
        kept.expire(&self.log.rule, search.unix_ms);
        let unix_ms_min = self.log.rule.unix_ms_min(search.unix_ms);
        let begin = kept.events.partition_point(|event| event.serial < self.first);
        let end = kept.events.partition_point(|event| event.serial <= self.last);
        let some = match search.reverse {
            false => begin..end.min(begin + EVENTS_PER_LOCK_MAX),
            true => begin.max(end.saturating_sub(EVENTS_PER_LOCK_MAX))..end,
        };
        // Beyond what is read now, or beyond everything if that is the rest.
        match search.reverse {
            false => self.first = if some.end == end { u64::MAX } else { kept.events[some.end].serial },
            true => self.last = if some.start == begin { 0 } else { kept.events[some.start].serial - 1 },
        }
        let wanted = |event: &&HistoricEvent| {
            event.publication.unix_ms >= unix_ms_min && search.admits(&event.publication)
        };
        let found = kept.events.range(some).filter(wanted).cloned();
        if search.reverse { self.read.extend(found.rev()) } else { self.read.extend(found) }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::super::pattern::tests::Random;
    use super::*;
    use crate::codec::payload::OwnedPayload;

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

    fn everything(pattern: &str, policy: MatchPolicy, unix_ms: u64) -> Search<'_> {
        let (serials, times) = ((0, u64::MAX), (0, u64::MAX));
        Search { pattern, policy, topic: None, serials, times, unix_ms, reverse: false }
    }

    fn found(history: &History, search: &Search<'_>) -> Vec<u64> {
        let mut serials = Vec::new();
        let mut ids = Vec::new();
        history.store().visit(search, &mut |event| {
            serials.push(event.serial);
            ids.push(event.publication.id.0);
            ControlFlow::Continue(())
        });
        assert!(serials.is_sorted() || search.reverse && serials.is_sorted_by(|one, other| one > other));
        ids
    }

    fn ids(history: &History, pattern: &str, policy: MatchPolicy, unix_ms: u64) -> Vec<u64> {
        found(history, &everything(pattern, policy, unix_ms))
    }

    fn serial(history: &History, id: u64, unix_ms: u64) -> Option<u64> {
        history.store().serial(PublicationId(id), unix_ms)
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
        assert!(history.store().append(0, publication(4, "a", 1_600, 116)));
        assert_eq!(ids(&history, "a", MatchPolicy::Exact, 116), [4]);
    }

    #[test]
    fn what_is_too_large_for_its_rule_costs_nobody_elses_events_and_is_noted() {
        let rule = HistoryRule { bytes_max: 2_000, ..HistoryRule::new("a", MatchPolicy::Exact) };
        let history = History::new(&[rule]).unwrap();
        assert!(history.store().append(0, publication(1, "a", 1, 0)));
        assert!(!history.store().append(0, publication(2, "a", 2_000, 0)));
        assert!(history.store().append(0, publication(3, "a", 1, 0)));
        assert_eq!(ids(&history, "a", MatchPolicy::Exact, 0), [1, 3]);
        assert_eq!([1, 2, 3, 4].map(|id| serial(&history, id, 0)), [Some(1), Some(2), Some(3), None]);
    }

    #[test]
    fn a_serial_is_known_while_nothing_after_it_is_gone() {
        let rule = HistoryRule { age_ms_max: 10, events_max: 3, ..HistoryRule::new("a", MatchPolicy::Exact) };
        let history = History::new(&[rule]).unwrap();
        let known =
            |unix_ms| -> Vec<u64> { (1..=9).filter(|id| serial(&history, *id, unix_ms).is_some()).collect() };
        for id in 1..=4 {
            history.store().note(0, PublicationId(id), 100);
        }
        assert_eq!(known(100), [2, 3, 4], "as many notes as events");
        history.store().append(0, publication(5, "a", 1, 100));
        history.store().note(0, PublicationId(6), 100);
        for id in 7..=8 {
            history.store().append(0, publication(id, "a", 1, 100));
        }
        assert_eq!(known(100), [3, 4, 5, 6, 7, 8]);
        history.store().append(0, publication(9, "a", 1, 101));
        assert_eq!(known(100), [6, 7, 8, 9], "5 is gone, and with it all that was noted before it");
        assert_eq!(
            (known(110), known(111)),
            (vec![6, 7, 8, 9], vec![9]),
            "nothing is known of what is too old"
        );
    }

    #[test]
    fn a_visit_shows_what_its_naive_twin_finds() {
        let mut random = Random(3);
        let rules = [
            HistoryRule { events_max: 150, ..HistoryRule::new("a.b", MatchPolicy::Exact) },
            HistoryRule { events_max: 200, ..HistoryRule::new(".b", MatchPolicy::Wildcard) },
            HistoryRule::new("a", MatchPolicy::Prefix),
            HistoryRule { events_max: 400, ..HistoryRule::new("", MatchPolicy::Prefix) },
        ];
        let history = History::new(&rules).unwrap();
        let mut twin: Vec<(usize, u64, String)> = Vec::new();
        for id in 1..=2_000 {
            let parts = (0..=random.below(2)).map(|_| ["a", "b", "ab"][random.below(3)]);
            let topic = parts.collect::<Vec<_>>().join(".");
            let rule = history.rule(&topic).unwrap();
            history.store().append(rule, publication(id, &topic, 1, id / 4));
            twin.push((rule, id, topic));
            let of_rule = twin.iter().filter(|(of, ..)| *of == rule).count();
            if of_rule > rules[rule].events_max {
                twin.remove(twin.iter().position(|(of, ..)| *of == rule).unwrap());
            }
        }
        for _ in 0..300 {
            let parts = (0..=random.below(2)).map(|_| ["", "a", "b", "ab"][random.below(4)]);
            let (pattern, policy) = (parts.collect::<Vec<_>>().join("."), random.policy());
            let mut search = everything(&pattern, policy, 0);
            search.reverse = random.below(2) == 0;
            search.topic = [None, Some("a.b"), Some("b")][random.below(3)];
            // No other publications have serials here, so serials are ids.
            search.serials = (random.below(2_000) as u64, random.below(3_000) as u64);
            search.times = (random.below(300) as u64, 200 + random.below(400) as u64);
            let wanted = twin.iter().filter(|(_, id, topic)| {
                pattern::matches(&pattern, policy, topic)
                    && search.topic.is_none_or(|only| only == topic)
                    && (search.serials.0..=search.serials.1).contains(id)
                    && (search.times.0..=search.times.1).contains(&(id / 4))
            });
            let mut expected: Vec<u64> = wanted.map(|(_, id, _)| *id).collect();
            if search.reverse {
                expected.reverse();
            }
            assert_eq!(found(&history, &search), expected, "{search:?}");
        }
    }

    #[test]
    fn a_visit_ends_when_the_visitor_has_enough() {
        let history = History::new(&[HistoryRule::new("", MatchPolicy::Prefix)]).unwrap();
        for id in 1..=1_000 {
            history.store().append(0, publication(id, "a", 1, 0));
        }
        for reverse in [false, true] {
            let search = Search { reverse, ..everything("a", MatchPolicy::Exact, 0) };
            let mut seen = 0;
            history.store().visit(&search, &mut |_| {
                seen += 1;
                // What comes meanwhile is not shown, and no lock is in the way.
                history.store().append(0, publication(2_000, "a", 1, 0));
                if seen == 70 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            assert_eq!(seen, 70);
        }
    }
}
