//! What one shard remembers of a realm's directory, so that a PUBLISH or CALL takes no lock.
//!
//! Owned by one shard; one for each realm, and always asked with the directory of that realm. Every answer is kept
//! with the stamp it was given under, and is used only while the directory says that the stamp is current: an answer
//! is therefore always what the directory itself would have said at some moment of the call. "Nobody" is an answer
//! too.
//!
//! When there is no room everything is forgotten: that costs one line, and a miss for each URI still in use, and
//! keeps no order of use that every hit would have to write to.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::authorization::Verdicts;
use super::directory::{Directory, Match, Registration, Stamp};
use super::history::History;

/// A shard's memory of a directory.
#[derive(Debug)]
pub struct MatchCache {
    topics: Answers<Topic>,
    procedures: Answers<Option<Arc<Registration>>>,
}

impl MatchCache {
    /// An empty memory for up to `entries_max` topics and as many procedures.
    ///
    /// # Panics
    ///
    /// If `entries_max` is 0: there must be room for the answer that is given.
    pub fn new(entries_max: usize) -> MatchCache {
        assert!(entries_max > 0, "a cache must hold one answer");
        MatchCache { topics: Answers::new(entries_max), procedures: Answers::new(entries_max) }
    }

    /// Forgets everything, and remembers up to `entries_max` from now on. What was missed stays counted.
    pub fn clear(&mut self, entries_max: usize) {
        assert!(entries_max > 0, "a cache must hold one answer");
        self.topics.clear(entries_max);
        self.procedures.clear(entries_max);
    }

    /// Where a topic stands, if it does. Who may not be allowed to do anything with it asks first: what is refused must
    /// not drive out what others use.
    pub fn known_topic(&self, topic: &str) -> Option<usize> {
        self.topics.places.get(topic).copied()
    }

    /// The same of a procedure.
    pub fn known_procedure(&self, procedure: &str) -> Option<usize> {
        self.procedures.places.get(procedure).copied()
    }

    /// Where a topic stands, for the other questions about it; until the next one is asked about. One probe.
    pub fn topic_place(&mut self, directory: &Directory, topic: &str) -> usize {
        self.topics.place(topic, |topic| Topic::ask(directory, topic))
    }

    /// [`Directory::matches`]. Where the answer is current this costs two atomic loads, takes no lock and allocates
    /// nothing.
    pub fn matched(&mut self, directory: &Directory, place: usize) -> &Arc<Match> {
        let current = |stamp| directory.topic_current(stamp);
        &self.topics.answer(place, current, |topic| Topic::ask(directory, topic)).matched
    }

    /// The same, for a topic that nothing else is asked about.
    pub fn topic(&mut self, directory: &Directory, topic: &str) -> &Arc<Match> {
        let place = self.topic_place(directory, topic);
        self.matched(directory, place)
    }

    /// [`History::rule`], which tries all rules, but the first time only.
    pub fn rule(&mut self, history: &History, place: usize) -> Option<usize> {
        let Stamped { uri, answer, .. } = &mut self.topics.stamped[place];
        *answer.rule.get_or_insert_with(|| history.rule(uri))
    }

    /// What rules have said about publishing to a topic.
    pub fn publish_verdicts(&mut self, place: usize) -> &mut Verdicts {
        &mut self.topics.stamped[place].verdicts
    }

    /// Where a procedure stands, as for topics.
    pub fn procedure_place(&mut self, directory: &Directory, procedure: &str) -> usize {
        self.procedures.place(procedure, |procedure| directory.registration(procedure))
    }

    /// The procedure's name, which all of the shard's calls of it share, and [`Directory::registration`] at the cost of
    /// [`matched`](Self::matched).
    pub fn called(&mut self, directory: &Directory, place: usize) -> Option<(&Arc<str>, &Arc<Registration>)> {
        let current = |stamp| directory.procedure_current(stamp);
        self.procedures.answer(place, current, |procedure| directory.registration(procedure));
        let Stamped { uri, answer, .. } = &self.procedures.stamped[place];
        answer.as_ref().map(|registration| (uri, registration))
    }

    /// The registration of a procedure that nothing else is asked about.
    pub fn procedure(&mut self, directory: &Directory, procedure: &str) -> Option<&Arc<Registration>> {
        let place = self.procedure_place(directory, procedure);
        self.called(directory, place).map(|(_, registration)| registration)
    }

    /// What rules have said about calling a procedure.
    pub fn call_verdicts(&mut self, place: usize) -> &mut Verdicts {
        &mut self.procedures.stamped[place].verdicts
    }

    /// How often the directory had to be asked.
    pub fn misses(&self) -> u64 {
        self.topics.misses + self.procedures.misses
    }
}

/// What is remembered of a topic.
#[derive(Debug)]
struct Topic {
    matched: Arc<Match>,
    /// The rule of the event history that keeps its publications, once somebody has asked. When rules change,
    /// all is forgotten.
    rule: Option<Option<usize>>,
}

impl Topic {
    fn ask(directory: &Directory, topic: &str) -> (Stamp, Topic) {
        let (stamp, matched) = directory.matches(topic);
        (stamp, Topic { matched, rule: None })
    }
}

/// Stamped answers by URI. They stand in a list beside the map, so that a hit is one probe and an answer that is no
/// longer current is replaced without touching the map.
#[derive(Debug)]
struct Answers<A> {
    /// Positions in `stamped`.
    places: HashMap<Arc<str>, usize, RandomState>,
    stamped: Vec<Stamped<A>>,
    entries_max: usize,
    misses: u64,
}

#[derive(Debug)]
struct Stamped<A> {
    uri: Arc<str>,
    stamp: Stamp,
    answer: A,
    /// They stay when the answer is another one.
    verdicts: Verdicts,
}

impl<A> Answers<A> {
    fn new(entries_max: usize) -> Answers<A> {
        Answers { places: HashMap::default(), stamped: Vec::new(), entries_max, misses: 0 }
    }

    fn clear(&mut self, entries_max: usize) {
        *self = Answers { misses: self.misses, ..Answers::new(entries_max) };
    }

    /// Where a URI stands, with an answer that may not be current.
    fn place(&mut self, uri: &str, ask: impl Fn(&str) -> (Stamp, A)) -> usize {
        match self.places.get(uri) {
            Some(&place) => place,
            None => self.remember(uri, ask(uri)),
        }
    }

    /// The current answer.
    fn answer(
        &mut self,
        place: usize,
        current: impl Fn(Stamp) -> bool,
        ask: impl Fn(&str) -> (Stamp, A),
    ) -> &mut A {
        let stamped = &mut self.stamped[place];
        if !current(stamped.stamp) {
            self.misses += 1;
            (stamped.stamp, stamped.answer) = ask(&stamped.uri);
        }
        &mut stamped.answer
    }

    fn remember(&mut self, uri: &str, (stamp, answer): (Stamp, A)) -> usize {
        if self.stamped.len() == self.entries_max {
            self.places.clear();
            self.stamped.clear();
        }
        self.misses += 1;
        let place = self.stamped.len();
        let uri: Arc<str> = uri.into();
        self.stamped.push(Stamped { uri: uri.clone(), stamp, answer, verdicts: Verdicts::default() });
        self.places.insert(uri, place);
        place
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::router::ShardIndex;
    use crate::wamp::{MatchPolicy, SessionId};

    #[test]
    fn an_answer_is_kept_while_it_is_current() {
        let directory = Directory::new(64);
        let mut cache = MatchCache::new(8);
        let first = cache.topic(&directory, "a").clone();
        assert!(Arc::ptr_eq(cache.topic(&directory, "a"), &first), "nobody is an answer too");
        directory.subscribe("a", MatchPolicy::Exact, ShardIndex(3), SessionId(1), 0).unwrap();
        let second = cache.topic(&directory, "a").clone();
        assert_eq!(second.shards, 1 << 3);
        // One more subscriber on a shard that has one is no change.
        directory.subscribe("a", MatchPolicy::Exact, ShardIndex(3), SessionId(2), 0).unwrap();
        assert!(Arc::ptr_eq(cache.topic(&directory, "a"), &second));
        assert_eq!(cache.topics.stamped.len(), 1);
    }

    #[test]
    fn the_rule_of_a_topic_is_looked_for_once() {
        use super::super::history::HistoryRule;
        let directory = Directory::new(64);
        let history = |uri| History::new(&[HistoryRule::new(uri, MatchPolicy::Exact)]).unwrap();
        let (first, other) = (history("a"), history("b"));
        let mut cache = MatchCache::new(8);
        let mut rule = |history, topic| {
            let place = cache.topic_place(&directory, topic);
            cache.rule(history, place)
        };
        assert_eq!((rule(&first, "a"), rule(&first, "b")), (Some(0), None));
        // It is not asked again.
        assert_eq!((rule(&other, "a"), rule(&other, "b")), (Some(0), None));
        directory.subscribe("a", MatchPolicy::Exact, ShardIndex(3), SessionId(1), 0).unwrap();
        assert_eq!(cache.topic(&directory, "a").shards, 1 << 3);
    }

    #[test]
    fn a_full_cache_forgets_and_goes_on() {
        let directory = Directory::new(64);
        directory.subscribe("topic.", MatchPolicy::Prefix, ShardIndex(1), SessionId(1), 0).unwrap();
        let mut cache = MatchCache::new(3);
        for round in 0..10 {
            assert_eq!(cache.topic(&directory, &format!("topic.{round}")).shards, 2);
            assert!(cache.procedure(&directory, &format!("procedure.{round}")).is_none());
            assert!(cache.topics.places.len() <= 3 && cache.procedures.places.len() <= 3);
        }
    }
}
