//! How often each interesting thing happened, so that the simulation cannot quietly become trivial.

use std::collections::{BTreeMap, BTreeSet};

use fanwire::error::CloseReason;
use fanwire::wamp::message::code;
use fanwire::wamp::reason;

use crate::checkers::{
    Interest, KILLED, REMOVE_CALLEE, REMOVE_SUBSCRIBER, REVOKED, forces, interests, is_restricted,
    is_retained, meta_event, publications, removals, revoked, testament, topics,
};
use crate::item::{Item, Message, Tag};
use crate::log::{Log, Misdeed, What, option};
use crate::naive::matches;

/// What must happen at least once in the seeds that are always run.
pub const MUST_HAPPEN: &[&str] = &[
    "a retained event was read",
    "a retained event was read that was live as well",
    "a retained testament was read",
    "a letter came for a realm that was no more",
    "realms were made and went",
    "settings have changed",
    "an answer came too late",
    "a call crossed shards",
    "a callee left with calls open",
    "a callee joined another realm while a letter invoked it",
    "a caller left and its callee was interrupted",
    "a call was taken by another callee",
    "a further part of a call crossed shards",
    "a further part of a call came too late",
    "a call that was there before was taken by who forced",
    "a call that was there before was refused when its callees were removed",
    "a letter found that its subscriber had gone",
    "a letter found that its subscriber had been removed",
    "a meta event of a realm was read",
    "a meta event told of on_delete",
    "a meta event told of on_leave",
    "a progressive result crossed shards",
    "a progressive result was dropped",
    "a publisher got its own event",
    "a registration was taken away",
    "a registration was taken away by force",
    "a registration was taken away from another shard",
    "a removal came too late",
    "a removal was not told of",
    "a session was killed",
    "a subscription was taken away",
    "a subscription was taken away from another shard",
    "a testament was read",
    "a testament of a killed session was read",
    "an authority went",
    "a challenge was answered too late",
    "a challenged client: Aborts",
    "a challenged client: Answers",
    "a challenged client: Breaks",
    "a challenged client: Misbehaves",
    "a challenged client: Never",
    "a ticket was compared",
    "a ticket was not awaited",
    "an authority was asked who somebody is: anonymous",
    "an authority was asked who somebody is: ticket",
    "an authority was asked who somebody is: wampcra",
    "an authorizer allowed something",
    "an authorizer denied something",
    "an authorizer did not answer in time",
    "an authorizer disclosed a caller",
    "an authorizer disclosed a publisher",
    "an authorizer failed",
    "an authorizer said nothing",
    "an authorizer was asked in another realm",
    "an authorizer was asked on another shard",
    "an authorizer was asked twice about a testament",
    "an authorizer's answer was used again",
    "a publication was denied silently",
    "a session left while an authorizer was asked",
    "an event crossed shards",
    "an event for some only was read",
    "an event told of its publisher",
    "an event crossed serializers",
    "an event reached a pattern and a topic of one session",
    "client pinged",
    "closed: GoodbyeTimeout",
    "closed: HandshakeTimeout",
    "closed: Silence",
    "closed: SlowConsumer",
    "connection refused because the router is full",
    "input paused because replies were left unread",
    "input paused by congestion",
    "input resumed",
    "joined again before GOODBYE was answered",
    "joined again on the same transport",
    "messages came in a batch",
    "misdeed: BeforeHello",
    "misdeed: CallRepeated",
    "misdeed: ErrorForNothing",
    "misdeed: GarbageMessage",
    "misdeed: GarbageTransport",
    "misdeed: HelloAgain",
    "misdeed: NoRoles",
    "misdeed: Oversize",
    "misdeed: RequestOutOfOrder",
    "misdeed: RouterOnlyMessage",
    "misdeed: UnknownInvocation",
    "misdeed: UnknownType",
    "misdeed: OutOfTurn",
    "the naive router agreed, one shard",
    "the naive router agreed, many shards",
    "the router said GOODBYE",
    "the router was shut down",
    "turned away: app.error.not_you",
    "turned away: wamp.error.authentication_failed",
    "turned away: wamp.error.unavailable",
    "wamp.error.authorization_failed",
    "wamp.error.canceled",
    "wamp.error.feature_not_supported",
    "wamp.error.invalid_uri",
    "wamp.error.no_available_callee",
    "wamp.error.no_such_procedure",
    "wamp.error.no_such_realm",
    "wamp.error.no_such_registration",
    "wamp.error.no_such_session",
    "wamp.error.no_such_subscription",
    "wamp.error.not_authorized",
    "wamp.error.payload_size_exceeded",
    "wamp.error.procedure_already_exists",
    "wamp.error.protocol_violation",
    "wamp.error.timeout",
    "wamp.error.unavailable",
    "welcomed by ticket: dynamic",
    "welcomed by ticket: hashed",
    "welcomed by ticket: plain",
    "welcomed by wampcra: dynamic",
    "welcomed by wampcra: hashed",
    "welcomed by wampcra: plain",
    "64 shards",
];

/// The counts.
#[derive(Clone, Debug, Default)]
pub struct Coverage(pub BTreeMap<String, usize>);

impl Coverage {
    pub fn count(&mut self, what: &str) {
        self.count_many(what, 1);
    }

    pub fn count_many(&mut self, what: &str, times: usize) {
        if times > 0 {
            *self.0.entry(what.to_owned()).or_default() += times;
        }
    }

    pub fn misdeed(&mut self, how: Misdeed) {
        self.count(&format!("misdeed: {how:?}"));
    }

    pub fn closed(&mut self, reason: CloseReason) {
        self.count(&match reason {
            CloseReason::Violation(_) => "closed: Violation".to_owned(),
            reason => format!("closed: {reason:?}"),
        });
    }

    pub fn add(&mut self, other: &Coverage) {
        for (what, times) in &other.0 {
            self.count_many(what, *times);
        }
    }

    /// Counts what a log shows.
    pub fn read(&mut self, log: &Log) {
        self.read_messages(log);
        self.read_races(log);
        self.read_leavers(log);
        self.read_revocations(log);
        self.read_waiting(log);
    }

    fn read_messages(&mut self, log: &Log) {
        let (topics, further) = (topics(log), log.further_calls());
        let said = log.said().filter(|(_, _, message)| message.code() == code::PUBLISH);
        let said: BTreeMap<Tag, &Message> =
            said.filter_map(|(_, _, message)| Some((message.tag()?, message))).collect();
        let mut events: BTreeMap<(usize, Tag), usize> = BTreeMap::new();
        let goodbyes = log.heard().filter(|(_, _, m)| m.code() == code::GOODBYE && m.text(2) == KILLED);
        let killed: BTreeSet<usize> = goodbyes.map(|(_, life, _)| life).collect();
        self.count_many("a session was killed", killed.len());
        let mut retained: BTreeSet<(usize, u64, Tag)> = BTreeSet::new();
        let mut invoked = BTreeSet::new();
        for (_, life, message) in log.heard() {
            let uri = match message.code() {
                code::ERROR => message.text(4),
                code::ABORT => message.text(2),
                _ => "",
            };
            if uri.starts_with("wamp.") {
                self.count(uri);
            }
            let arguments = message.payload().first().and_then(Item::list).unwrap_or(&[]);
            if let Some((of, ..)) = testament(arguments).filter(|_| message.code() == code::EVENT) {
                self.count("a testament was read");
                let killed = killed.contains(&of);
                self.count_many("a testament of a killed session was read", usize::from(killed));
                self.count_many("a retained testament was read", usize::from(is_retained(message)));
            }
            if let Some((_, verb)) = meta_event(&topics, life, message).split_once('.') {
                self.count("a meta event of a realm was read");
                self.count(&format!("a meta event told of {verb}"));
            }
            let Some(tag) = message.tag() else { continue };
            let (from, to) = (&log.lives[tag.life], &log.lives[life]);
            let crossed = from.shard != to.shard;
            match message.code() {
                code::EVENT if is_retained(message) => {
                    self.count("a retained event was read");
                    retained.insert((life, message.number(1), tag));
                }
                code::EVENT => {
                    let twice = retained.contains(&(life, message.number(1), tag));
                    self.count_many("a retained event was read that was live as well", usize::from(twice));
                    self.count_many("an event crossed shards", usize::from(crossed));
                    let publish = said.get(&tag);
                    let restricted = publish.is_some_and(|publish| is_restricted(publish));
                    self.count_many("an event for some only was read", usize::from(restricted));
                    let disclosed = message.entry(3, "publisher").is_some();
                    self.count_many("an event told of its publisher", usize::from(disclosed));
                    let transcoded = from.serializer != to.serializer;
                    self.count_many("an event crossed serializers", usize::from(transcoded));
                    self.count_many("a publisher got its own event", usize::from(tag.life == life));
                    let times = events.entry((life, tag)).or_default();
                    *times += 1;
                    let both = "an event reached a pattern and a topic of one session";
                    self.count_many(both, usize::from(*times == 2));
                }
                code::RESULT if option(message, "progress", false) => {
                    self.count_many("a progressive result crossed shards", usize::from(crossed));
                }
                code::INVOCATION if further.contains_key(&tag) => {
                    self.count_many("a further part of a call crossed shards", usize::from(crossed));
                }
                code::INVOCATION => {
                    self.count_many("a call crossed shards", usize::from(crossed));
                    let anew = !invoked.insert(tag);
                    self.count_many("a call was taken by another callee", usize::from(anew));
                }
                _ => {}
            }
        }
    }

    /// An EVENT that a live subscription did not get because UNSUBSCRIBE was faster than the letter.
    fn read_races(&mut self, log: &Log) {
        let interests = interests(log);
        let removed = removals(log, REMOVE_SUBSCRIBER).into_iter();
        let removed: BTreeSet<_> = removed.map(|removal| (removal.life, removal.at)).collect();
        let got: BTreeSet<(usize, Tag)> =
            log.heard().filter_map(|(_, life, message)| Some((life, message.tag()?))).collect();
        for publication in publications(log) {
            let missed = |interest: &&Interest| {
                interest.from < publication.from
                    && publication.from < interest.until
                    && interest.until < publication.quiet
                    && interest.life != publication.life
                    && log.lives[interest.life].realm == log.lives[publication.life].realm
                    && log.lives[interest.life].shard != log.lives[publication.life].shard
                    && matches(interest.policy, &interest.topic, publication.message.text(3))
                    && !got.contains(&(interest.life, publication.tag))
            };
            let missed: Vec<_> = interests.iter().filter(missed).collect();
            let gone = missed.iter().any(|interest| matches_unsubscribe(log, interest.life, interest.until));
            self.count_many("a letter found that its subscriber had gone", usize::from(gone));
            let removed = missed.iter().any(|interest| removed.contains(&(interest.life, interest.until)));
            self.count_many("a letter found that its subscriber had been removed", usize::from(removed));
        }
    }

    /// What is taken away from sessions, and who hears of it.
    fn read_revocations(&mut self, log: &Log) {
        for (_, _, message) in log.heard().filter(|(_, _, message)| revoked(message).is_some()) {
            let wanted = message.entry(2, "reason").and_then(Item::text) == Some(REVOKED);
            self.count(match (message.code(), wanted) {
                (code::UNSUBSCRIBED, _) => "a subscription was taken away",
                (_, true) => "a registration was taken away",
                (_, false) => "a registration was taken away by force",
            });
        }
        for (procedure, crossed) in [
            (REMOVE_SUBSCRIBER, "a subscription was taken away from another shard"),
            (REMOVE_CALLEE, "a registration was taken away from another shard"),
        ] {
            for removal in removals(log, procedure) {
                let (caller, life) = (&log.lives[removal.caller], &log.lives[removal.life]);
                let granted = usize::from(removal.granted);
                self.count_many(crossed, granted * usize::from(caller.shard != life.shard));
                self.count_many("a removal was not told of", granted * usize::from(!life.revocable));
                self.count_many("a removal came too late", usize::from(removal.refused));
            }
        }
    }

    /// Calls that had come but were not begun when the registration was lost: they were in line or on their way.
    fn read_waiting(&mut self, log: &Log) {
        let handled = log.handled();
        let mut forced: BTreeMap<(usize, u64), usize> = BTreeMap::new();
        for (at, life, register) in log.said().filter(|(_, _, message)| forces(message)) {
            forced.insert((life, register.number(1)), at);
        }
        let removed = removals(log, REMOVE_CALLEE).into_iter().filter(|removal| removal.granted);
        let removed: Vec<usize> = removed.map(|removal| removal.at).collect();
        let mut waiting: BTreeMap<Tag, usize> = BTreeMap::new();
        let mut calls: BTreeMap<(usize, u64), Tag> = BTreeMap::new();
        let mut taken: BTreeMap<(usize, u64), usize> = BTreeMap::new();
        for (at, entry) in log.entries.iter().enumerate() {
            let life = entry.life;
            let was_there = |tag: Tag, lost: usize| {
                let since = waiting.get(&tag).and_then(|said| handled[*said].1);
                since.is_some_and(|since| since < lost)
            };
            match &entry.what {
                What::Said(m) if m.code() == code::CALL => {
                    let Some(tag) = m.tag() else { continue };
                    waiting.insert(tag, at);
                    calls.insert((life, m.number(1)), tag);
                }
                What::Heard(m) if m.code() == code::REGISTERED => {
                    if let Some(said) = forced.get(&(life, m.number(1))) {
                        taken.insert((life, m.number(2)), *said);
                    }
                }
                What::Heard(m) if m.code() == code::INVOCATION => {
                    let Some(tag) = m.tag() else { continue };
                    let lost = taken.get(&(life, m.number(2)));
                    let came_before = lost.is_some_and(|lost| was_there(tag, *lost));
                    self.count_many(
                        "a call that was there before was taken by who forced",
                        usize::from(came_before),
                    );
                    waiting.remove(&tag);
                }
                What::Heard(m) if (m.code(), m.number(1)) == (code::ERROR, code::CALL) => {
                    let Some(tag) = calls.get(&(life, m.number(2))) else { continue };
                    let lost = removed.iter().any(|removed| *removed < at && was_there(*tag, *removed));
                    let none = m.text(4) == reason::NO_SUCH_PROCEDURE;
                    let what = "a call that was there before was refused when its callees were removed";
                    self.count_many(what, usize::from(lost && none));
                    waiting.remove(tag);
                }
                _ => {}
            }
        }
    }

    /// What happens to calls whose caller or callee does not wait.
    fn read_leavers(&mut self, log: &Log) {
        let mut canceled: BTreeSet<(usize, u64)> = BTreeSet::new();
        let mut invoked: BTreeMap<(usize, u64), Tag> = BTreeMap::new();
        let mut calls: BTreeMap<Tag, (usize, u64)> = BTreeMap::new();
        let mut answered: BTreeSet<(usize, u64)> = BTreeSet::new();
        let departures = log.departures();
        for (at, entry) in log.entries.iter().enumerate() {
            let life = entry.life;
            match &entry.what {
                What::Said(m) if m.code() == code::CALL => {
                    m.tag().map(|tag| calls.insert(tag, (life, m.number(1))));
                }
                What::Said(m) if m.code() == code::CANCEL => {
                    canceled.insert((life, m.number(1)));
                }
                What::Said(m) if m.code() == code::YIELD => {
                    let call = invoked.get(&(life, m.number(1))).and_then(|tag| calls.get(tag));
                    let late = call.is_some_and(|call| answered.contains(call));
                    self.count_many("an answer came too late", usize::from(late));
                }
                What::Heard(m) if m.code() == code::INVOCATION => {
                    m.tag().map(|tag| invoked.insert((life, m.number(1)), tag));
                }
                What::Heard(m) if m.code() == code::RESULT && !option(m, "progress", false) => {
                    answered.insert((life, m.number(1)));
                }
                What::Heard(m) if m.code() == code::ERROR && m.number(1) == code::CALL => {
                    answered.insert((life, m.number(2)));
                    let left = m.text(4) == reason::CANCELED && !canceled.contains(&(life, m.number(2)));
                    self.count_many("a callee left with calls open", usize::from(left));
                }
                What::Heard(m) if m.code() == code::INTERRUPT => {
                    let caller = invoked.get(&(life, m.number(1))).map(|tag| tag.life);
                    let left = caller.and_then(|caller| departures[caller]).is_some_and(|d| d.at < at);
                    let told = m.entry(2, "mode").and_then(Item::text) == Some("killnowait");
                    self.count_many(
                        "a caller left and its callee was interrupted",
                        usize::from(left && told),
                    );
                }
                What::Said(m) if m.code() == code::PUBLISH && option(m, "acknowledge", false) => {
                    self.count("a publication was to be acknowledged");
                }
                _ => {}
            }
        }
    }
}

fn matches_unsubscribe(log: &Log, life: usize, at: usize) -> bool {
    log.entries.get(at).is_some_and(|entry| {
        entry.life == life
            && matches!(&entry.what, What::Said(message) if message.code() == code::UNSUBSCRIBE)
    })
}
