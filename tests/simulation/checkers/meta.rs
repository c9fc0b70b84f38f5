//! Testaments, sessions that are killed, and what is told of sessions.

use std::collections::{BTreeMap, BTreeSet};

use fanwire::wamp::message::code;

use super::authorization::denied_topics;
use super::{Checked, ensure, interests, is_retained, meta_event, topics};
use crate::item::{Item, Message};
use crate::log::{Log, What};
use crate::naive::matches;

/// The procedure of a CALL.
pub(super) fn calls<'a>(
    log: &'a Log,
    procedure: &'a str,
) -> impl Iterator<Item = (usize, usize, &'a Message)> {
    log.said().filter(move |(_, _, m)| m.code() == code::CALL && m.text(3) == procedure)
}

/// Which calls were answered with RESULT, and where.
pub(super) fn results(log: &Log) -> BTreeMap<(usize, u64), usize> {
    let results = log.heard().filter(|(_, _, message)| message.code() == code::RESULT);
    results.map(|(at, life, message)| ((life, message.number(1)), at)).collect()
}

/// The arguments of a message.
pub(super) fn arguments(message: &Message) -> &[Item] {
    message.payload().first().and_then(Item::list).unwrap_or(&[])
}

/// `detached` or `destroyed`, which comes later.
fn scope(call: &Message) -> u64 {
    let keywords = call.payload().get(1);
    let named = keywords.and_then(|keywords| keywords.entry("scope")).and_then(Item::text);
    u64::from(named != Some("detached"))
}

/// What a client has written into the arguments of its testament: who it is, its scope, and which it is.
pub fn testament(arguments: &[Item]) -> Option<(usize, u64, u64)> {
    let [marker, life, scope, number] = arguments else { return None };
    marker.text().filter(|marker| *marker == "testament")?;
    Some((life.number()? as usize, scope.number()?, number.number()?))
}

/// A testament that was added.
pub(super) struct Testament<'a> {
    pub(super) what: (usize, u64, u64),
    pub(super) topic: &'a str,
    /// It is to be retained.
    pub(super) retain: bool,
    added: usize,
    /// It was surely added.
    pub(super) granted: bool,
    /// It may have been flushed.
    pub(super) flushing: bool,
    /// It surely was.
    flushed: bool,
}

/// True if the testament is to be retained.
fn retain(call: &Message) -> bool {
    let options = call.payload().get(1).and_then(|keywords| keywords.entry("publish_options"));
    options.and_then(|options| options.entry("retain")) == Some(&Item::Bool(true))
}

/// The testaments that were added, or may have been.
pub(super) fn testaments(log: &Log) -> Vec<Testament<'_>> {
    let (results, denied) = (results(log), denied_topics(log));
    let flushes: Vec<_> = calls(log, "wamp.session.flush_testaments").collect();
    let added = calls(log, "wamp.session.add_testament").filter_map(|(added, life, call)| {
        let [topic, said, ..] = arguments(call) else { return None };
        let what = testament(said.list()?)?;
        let mut later =
            flushes.iter().filter(|(at, who, flush)| *at > added && *who == life && scope(flush) == what.1);
        Some(Testament {
            what,
            topic: topic.text()?,
            retain: retain(call),
            added,
            granted: results.contains_key(&(life, call.number(1)))
                && !denied.contains(&(log.lives[life].realm, topic.text()?.to_owned())),
            flushing: later.clone().next().is_some(),
            flushed: later.any(|(_, _, flush)| results.contains_key(&(life, flush.number(1)))),
        })
    });
    added.collect()
}

/// A testament reaches everybody who is subscribed when its session ends, once, in order, and nobody if it was flushed.
pub(super) fn testaments_published(log: &Log) -> Checked {
    let testaments = testaments(log);
    let by_name: BTreeMap<_, _> = testaments.iter().map(|testament| (testament.what, testament)).collect();
    let departures = log.departures();
    let mut got = BTreeSet::new();
    let mut last: BTreeMap<(usize, usize), (u64, u64)> = BTreeMap::new();
    let live = |message: &Message| message.code() == code::EVENT && !is_retained(message);
    for (at, life, message) in log.heard().filter(|(_, _, message)| live(message)) {
        let Some(what) = testament(arguments(message)) else { continue };
        let (of, scope, number) = what;
        let known = by_name.get(&what).ok_or_else(|| format!("entry {at}: nobody said {what:?}"))?;
        ensure(of != life && log.lives[of].realm == log.lives[life].realm, || {
            format!("entry {at} is not for {life}")
        })?;
        ensure(!known.flushed, || format!("entry {at}: {what:?} was flushed"))?;
        ensure(departures[of].is_some(), || format!("entry {at}: {of} is there"))?;
        ensure(got.insert((life, message.number(1), what)), || format!("entry {at} comes again"))?;
        let before = last.insert((life, of), (scope, number));
        ensure(before.is_none_or(|before| before <= (scope, number)), || {
            format!("entry {at}: {what:?} came after {before:?}")
        })?;
    }
    let quiet: Vec<usize> = log.quiet().map(|(at, _)| at).collect();
    let interests = interests(log);
    for testament in testaments.iter().filter(|testament| testament.granted && !testament.flushing) {
        let of = testament.what.0;
        let Some(departure) = departures[of] else { continue };
        let Some(&by) = quiet.iter().find(|quiet| **quiet > departure.at) else { continue };
        for interest in &interests {
            let due = interest.life != of
                && log.lives[interest.life].realm == log.lives[of].realm
                // The session may end at any time after it has asked, if somebody kills it.
                && interest.from < testament.added
                && by < interest.until
                && matches(interest.policy, &interest.topic, testament.topic);
            let read = got.contains(&(interest.life, interest.subscription, testament.what));
            ensure(!due || read, || format!("{:?} never reached {}", testament.what, interest.life))?;
        }
    }
    Ok(())
}

/// Who was named to be killed, by session id, and where that was asked for.
fn named(log: &Log) -> Vec<(usize, u64, usize)> {
    let kills = calls(log, "wamp.session.kill");
    kills
        .filter_map(|(at, life, call)| {
            let request = call.number(1);
            let answered = log.entries[at..].iter().position(|entry| {
                entry.life == life
                    && matches!(&entry.what, What::Heard(m)
                        if m.code() == code::RESULT && m.number(1) == request
                        || m.code() == code::ERROR && m.number(2) == request && m.text(4) == NO_SUCH_SESSION)
            });
            let victim = arguments(call).first()?.number()?;
            Some((at, victim, answered.map_or(usize::MAX, |after| at + after)))
        })
        .collect()
}

const NO_SUCH_SESSION: &str = fanwire::wamp::reason::NO_SUCH_SESSION;

/// Who is to be killed is gone when its killer is told; who is told that it was killed was named before.
pub(super) fn killed_are_gone(log: &Log) -> Checked {
    let sessions: BTreeMap<u64, usize> = log
        .heard()
        .filter(|(_, _, message)| message.code() == code::WELCOME)
        .map(|(_, life, message)| (message.number(1), life))
        .collect();
    let (named, departures) = (named(log), log.departures());
    for (quiet, _) in log.quiet() {
        for (_, victim, _) in named.iter().filter(|(_, _, answered)| *answered < quiet) {
            let life = sessions.get(victim).ok_or_else(|| format!("{victim} never was"))?;
            let gone = departures[*life].is_some_and(|departure| departure.at < quiet);
            ensure(gone, || format!("{life} is there at {quiet}, and was killed"))?;
        }
    }
    let ids: BTreeMap<usize, u64> = sessions.iter().map(|(session, life)| (*life, *session)).collect();
    for (at, life, message) in log.heard() {
        if message.code() == code::GOODBYE && message.text(2) == KILLED {
            let asked = named.iter().any(|(asked, victim, _)| *asked < at && ids.get(&life) == Some(victim));
            ensure(asked, || format!("entry {at}: nobody wanted {life} to go"))?;
        }
    }
    Ok(())
}

/// The reason that the clients of the simulation give.
pub const KILLED: &str = "app.close.enough";

/// What a life was told of the router's own: where, which event, of which session.
#[derive(Default)]
struct Told {
    events: Vec<(usize, String, u64)>,
}

/// By watcher: what it was told. Only those that take everything with one pattern see it in one order.
fn told(log: &Log) -> BTreeMap<(usize, u64), Told> {
    let topics = topics(log);
    let mut found = BTreeMap::new();
    for (at, life, message) in log.heard() {
        let everything = topics.get(&(life, message.number(1))).is_some_and(|topic| topic == EVERYTHING);
        let event = meta_event(&topics, life, message);
        if message.code() != code::EVENT || !everything || event.is_empty() {
            continue;
        }
        let first = arguments(message).first();
        let session = first.and_then(|first| first.number().or_else(|| first.entry("session")?.number()));
        let told: &mut Told = found.entry((life, message.number(1))).or_default();
        told.events.push((at, event.to_owned(), session.unwrap_or(0)));
    }
    found
}

/// The pattern that takes every event of the router's own.
pub const EVERYTHING: &str = "wamp.";

/// Of each session: on_join, all that is told of what it has, on_leave; and whoever watches all of its life is told of
/// both.
pub(super) fn sessions_in_order(log: &Log) -> Checked {
    let told = told(log);
    for Told { events } in told.values() {
        let mut seen: BTreeMap<u64, bool> = BTreeMap::new();
        for (at, event, session) in events {
            let before = seen.insert(*session, event == "session.on_leave");
            ensure(before != Some(true), || format!("entry {at}: {event} of {session}, which had left"))?;
            ensure(event != "session.on_join" || before.is_none(), || {
                format!("entry {at}: {session} joined after something else of it was told")
            })?;
        }
    }
    let (departures, quiet) = (log.departures(), log.quiet().map(|(at, _)| at).collect::<Vec<_>>());
    let mut hellos = BTreeMap::new();
    for (at, life, _) in log.said().filter(|(_, _, message)| message.code() == code::HELLO) {
        // A dishonest client says it again.
        hellos.entry(life).or_insert(at);
    }
    let watchers: Vec<_> = interests(log).into_iter().filter(|watch| watch.topic == EVERYTHING).collect();
    for (welcomed, life, welcome) in log.heard().filter(|(_, _, message)| message.code() == code::WELCOME) {
        let left = departures[life].map(|departure| departure.at);
        for (event, at) in [("session.on_join", Some(welcomed)), ("session.on_leave", left)] {
            let by = at.and_then(|at| quiet.iter().find(|quiet| **quiet > at));
            for watch in &watchers {
                let due = hellos.get(&life).is_some_and(|hello| watch.from < *hello)
                    && by.is_some_and(|by| *by < watch.until)
                    && log.lives[watch.life].realm == log.lives[life].realm;
                let told = told.get(&(watch.life, watch.subscription)).is_some_and(|told| {
                    told.events.iter().any(|(_, told, of)| told == event && *of == welcome.number(1))
                });
                ensure(!due || told, || format!("{} was not told {event} of {life}", watch.life))?;
            }
        }
    }
    Ok(())
}
