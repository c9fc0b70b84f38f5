//! Retained events: who gets them, when, and which.

use std::collections::{BTreeMap, BTreeSet};

use fanwire::wamp::Serializer;
use fanwire::wamp::message::code;

use super::meta::{Testament, arguments, testament, testaments};
use super::{Checked, ensure, origins, publications};
use crate::item::{Item, Message, Tag};
use crate::log::{Log, What, option, policy};
use crate::naive::matches;

/// True for an EVENT that is marked as retained.
pub fn is_retained(message: &Message) -> bool {
    message.code() == code::EVENT && message.entry(3, "retained") == Some(&Item::Bool(true))
}

/// A SUBSCRIBED, and the retained events right behind it.
struct Replay<'a> {
    life: usize,
    /// Where the SUBSCRIBE was said, and the SUBSCRIBE.
    said: (usize, &'a Message),
    subscription: u64,
    events: Vec<(usize, &'a Message)>,
}

/// Every replay of a run. An error if a retained event stands anywhere else.
fn replays(log: &Log) -> Result<Vec<Replay<'_>>, String> {
    let mut asked: BTreeMap<(usize, u64), (usize, &Message)> = BTreeMap::new();
    let mut current: BTreeMap<usize, usize> = BTreeMap::new();
    let mut found: Vec<Replay<'_>> = Vec::new();
    for (at, entry) in log.entries.iter().enumerate() {
        let life = entry.life;
        match &entry.what {
            What::Said(message) if message.code() == code::SUBSCRIBE => {
                asked.entry((life, message.number(1))).or_insert((at, message));
            }
            What::Heard(message) if message.code() == code::SUBSCRIBED => {
                let Some(&said) = asked.get(&(life, message.number(1))) else { continue };
                current.insert(life, found.len());
                found.push(Replay { life, said, subscription: message.number(2), events: Vec::new() });
            }
            What::Heard(message) if is_retained(message) => {
                let replay = current.get(&life).map(|place| &mut found[*place]);
                let replay = replay.ok_or_else(|| format!("entry {at} does not follow SUBSCRIBED"))?;
                replay.events.push((at, message));
            }
            What::Heard(_) => drop(current.remove(&life)),
            _ => {}
        }
    }
    Ok(found)
}

/// What there is to be retained, by what its events say.
struct Retained<'a> {
    publishes: BTreeMap<Tag, (usize, Message)>,
    testaments: BTreeMap<(usize, u64, u64), Testament<'a>>,
}

impl<'a> Retained<'a> {
    fn of(log: &'a Log) -> Retained<'a> {
        let testaments = testaments(log).into_iter().map(|testament| (testament.what, testament));
        Retained { publishes: origins(log, &[code::PUBLISH]), testaments: testaments.collect() }
    }

    /// The topic of an event, and whether it was to be retained.
    fn origin(&self, event: &Message) -> Option<(&str, bool)> {
        if let Some(tag) = event.tag() {
            let (_, publish) = self.publishes.get(&tag)?;
            return Some((publish.text(3), option(publish, "retain", false)));
        }
        let testament = self.testaments.get(&testament(arguments(event))?)?;
        Some((testament.topic, testament.retain))
    }
}

/// Retained events come right behind the SUBSCRIBED of who asked for them, one for each topic, and were to be retained.
pub(super) fn retained_if_asked(log: &Log) -> Checked {
    let retained = Retained::of(log);
    for replay in replays(log)? {
        let asked = option(replay.said.1, "get_retained", false);
        let mut topics = BTreeSet::new();
        for (at, event) in replay.events {
            ensure(asked, || format!("entry {at} was not asked for"))?;
            ensure(event.number(1) == replay.subscription, || format!("entry {at} is of another one"))?;
            let origin = retained.origin(event);
            let Some((topic, retain)) = origin else { return Err(format!("entry {at} was said by nobody")) };
            ensure(retain, || format!("entry {at} was not to be retained"))?;
            ensure(topics.insert(topic), || format!("entry {at} is a second one of its topic"))?;
        }
    }
    Ok(())
}

/// What is retained of a topic is not older than what the subscriber has got of it live from the same publisher, where
/// that was to be retained. Live events behind it may be older: they were under way.
pub(super) fn retained_order(log: &Log) -> Checked {
    let said = origins(log, &[code::PUBLISH]);
    let mut live: BTreeMap<(usize, usize, &str), u64> = BTreeMap::new();
    for (at, life, message) in log.heard().filter(|(_, _, message)| message.code() == code::EVENT) {
        let Some((tag, (_, publish))) = message.tag().and_then(|tag| Some((tag, said.get(&tag)?))) else {
            continue;
        };
        let key = (tag.life, life, publish.text(3));
        if is_retained(message) {
            let before = live.get(&key).copied().unwrap_or(0);
            ensure(before <= tag.sequence, || format!("entry {at}: {life} had got {before} of {tag:?}"))?;
        } else if option(publish, "retain", false) {
            let last = live.entry(key).or_default();
            *last = tag.sequence.max(*last);
        }
    }
    Ok(())
}

/// Something that was stored between two moments of a run.
struct Stored<'a> {
    what: String,
    life: usize,
    topic: &'a str,
    from: usize,
    by: usize,
}

/// All that was surely stored.
fn stored<'a>(log: &'a Log, retained: &Retained<'a>, quiet: &[usize]) -> Vec<Stored<'a>> {
    let publications =
        publications(log).into_iter().filter(|publication| option(publication.message, "retain", false));
    let published = publications.map(|publication| Stored {
        what: format!("{:?}", publication.tag),
        life: publication.life,
        topic: publication.message.text(3),
        from: publication.from,
        by: publication.by,
    });
    let departures = log.departures();
    let sure = retained.testaments.values().filter(|known| known.retain && known.granted && !known.flushing);
    let bequeathed = sure.filter_map(|testament| {
        let life = testament.what.0;
        let from = departures[life]?.at;
        let by = *quiet.iter().find(|quiet| **quiet > from)?;
        Some(Stored { what: format!("{:?}", testament.what), life, topic: testament.topic, from, by })
    });
    published.chain(bequeathed).collect()
}

/// Who asks for what is retained finds what was stored before it asked, or what was stored later still.
pub(super) fn retained_found(log: &Log) -> Checked {
    let (retained, handled, departures) = (Retained::of(log), log.handled(), log.departures());
    let quiet: Vec<usize> = log.quiet().map(|(at, _)| at).collect();
    let stored = stored(log, &retained, &quiet);
    for replay in replays(log)? {
        let Replay { life, said: (at, subscribe), events, .. } = replay;
        let (Some(from), Some(by)) = handled[at] else { continue };
        let Some(&quiet) = quiet.get(quiet.partition_point(|quiet| *quiet < by)) else { continue };
        let stays = departures[life].is_none_or(|departure| departure.at > quiet);
        if !stays || !option(subscribe, "get_retained", false) {
            continue;
        }
        for Stored { what, life: of, topic, from: stored_from, by: stored_by } in &stored {
            // What is in its place may be the subscriber's own, or too large for it.
            let replaced = retained.publishes.iter().any(|(tag, (_, message))| {
                message.text(3) == *topic
                    && (tag.life == life && option(message, "exclude_me", true)
                        || 2 * message.write(Serializer::Json).len() + 200
                            > log.lives[life].message_bytes_max)
            });
            let due = *stored_by < from
                && !replaced
                && log.lives[*of].realm == log.lives[life].realm
                && matches(policy(subscribe), subscribe.text(3), topic);
            // A testament is as late as its session's end, which has no place in the log that is certain.
            let late = |event: &Message| match event.tag().and_then(|tag| retained.publishes.get(&tag)) {
                Some((at, _)) => handled[*at].1.is_none_or(|by| by >= *stored_from),
                None => true,
            };
            let found = events.iter().any(|(_, event)| {
                retained.origin(event).is_some_and(|(known, _)| known == *topic) && late(event)
            });
            ensure(!due || found, || format!("{what} was not found by entry {at}"))?;
        }
    }
    Ok(())
}
