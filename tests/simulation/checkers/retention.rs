//! Retained events: who gets them, when, and which.

use std::collections::{BTreeMap, BTreeSet};

use fanwire::wamp::Serializer;
use fanwire::wamp::message::code;

use super::{Checked, ensure, origins, publications};
use crate::item::{Item, Message};
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

/// Retained events come right behind the SUBSCRIBED of who asked for them, one for each topic, and were to be retained.
pub(super) fn retained_if_asked(log: &Log) -> Checked {
    let said = origins(log, &[code::PUBLISH]);
    for replay in replays(log)? {
        let asked = option(replay.said.1, "get_retained", false);
        let mut topics = BTreeSet::new();
        for (at, event) in replay.events {
            ensure(asked, || format!("entry {at} was not asked for"))?;
            ensure(event.number(1) == replay.subscription, || format!("entry {at} is of another one"))?;
            let origin = event.tag().and_then(|tag| said.get(&tag));
            let Some((_, origin)) = origin else { return Err(format!("entry {at} was said by nobody")) };
            ensure(option(origin, "retain", false), || format!("entry {at} was not to be retained"))?;
            ensure(topics.insert(origin.text(3)), || format!("entry {at} is a second one of its topic"))?;
        }
    }
    Ok(())
}

/// Who asks for what is retained finds what was stored before it asked, or what was stored later still.
pub(super) fn retained_found(log: &Log) -> Checked {
    let (said, handled, departures) = (origins(log, &[code::PUBLISH]), log.handled(), log.departures());
    let quiet: Vec<usize> = log.quiet().map(|(at, _)| at).collect();
    let retained: Vec<_> =
        publications(log).into_iter().filter(|p| option(p.message, "retain", false)).collect();
    for replay in replays(log)? {
        let Replay { life, said: (at, subscribe), events, .. } = replay;
        let (Some(from), Some(by)) = handled[at] else { continue };
        let Some(&quiet) = quiet.get(quiet.partition_point(|quiet| *quiet < by)) else { continue };
        let stays = departures[life].is_none_or(|departure| departure.at > quiet);
        if !stays || !option(subscribe, "get_retained", false) {
            continue;
        }
        for publication in &retained {
            let topic = publication.message.text(3);
            // What is in its place may be the subscriber's own, or too large for it.
            let replaced = said.iter().any(|(tag, (_, message))| {
                message.text(3) == topic
                    && (tag.life == life && option(message, "exclude_me", true)
                        || 2 * message.write(Serializer::Json).len() + 200
                            > log.lives[life].message_bytes_max)
            });
            let due = publication.by < from
                && !replaced
                && log.lives[publication.life].realm == log.lives[life].realm
                && matches(policy(subscribe), subscribe.text(3), topic);
            let found = events.iter().any(|(_, event)| {
                let origin = event.tag().and_then(|tag| said.get(&tag));
                origin.is_some_and(|(at, message)| {
                    message.text(3) == topic && handled[*at].1.is_none_or(|by| by >= publication.from)
                })
            });
            ensure(!due || found, || format!("{:?} was not found by entry {at}", publication.tag))?;
        }
    }
    Ok(())
}
