//! Publications and subscriptions: who gets what, once, in time, under which id; and what is told of it.

use std::collections::{BTreeMap, BTreeSet};

use fanwire::wamp::message::code;
use fanwire::wamp::{MatchPolicy, Serializer, uri};

use super::authorization::Rulings;
use super::{
    Checked, Grant, REALM_CHECKS, REMOVE_SUBSCRIBER, ensure, granted_first, is_retained, origins, revocation,
    silent_after_revoked,
};
use crate::allowed::may;
use crate::item::{Item, Message, Tag};
use crate::log::{Log, What, option, policy};
use crate::naive::matches;

const SUBSCRIPTION: Grant = Grant {
    granted: code::SUBSCRIBED,
    revoke: code::UNSUBSCRIBE,
    revoked: code::UNSUBSCRIBED,
    used: code::EVENT,
    index: 1,
};

/// SUBSCRIBED before the first EVENT.
pub(super) fn subscribed_first(log: &Log) -> Checked {
    granted_first(log, &SUBSCRIPTION)
}

/// No EVENT after UNSUBSCRIBED.
pub(super) fn silent_after_unsubscribed(log: &Log) -> Checked {
    silent_after_revoked(log, &SUBSCRIPTION)
}

/// A time in which a life was surely subscribed.
pub struct Interest {
    pub life: usize,
    pub subscription: u64,
    pub topic: String,
    pub policy: MatchPolicy,
    /// SUBSCRIBED was read.
    pub from: usize,
    /// UNSUBSCRIBE was written, somebody asked for the subscription to be taken away, or the session began to end.
    pub until: usize,
}

/// Every interest of a run.
pub fn interests(log: &Log) -> Vec<Interest> {
    let departures = log.departures();
    let mut asked = BTreeMap::new();
    let mut open: BTreeMap<(usize, u64), usize> = BTreeMap::new();
    let mut found: Vec<Interest> = Vec::new();
    for (at, entry) in log.entries.iter().enumerate() {
        let life = entry.life;
        match &entry.what {
            What::Said(message) if message.code() == code::SUBSCRIBE => {
                asked.entry((life, message.number(1))).or_insert(message);
            }
            What::Said(message) if message.code() == code::UNSUBSCRIBE => {
                if let Some(index) = open.remove(&(life, message.number(2))) {
                    found[index].until = at.min(found[index].until);
                }
            }
            What::Heard(message) if message.code() == code::UNSUBSCRIBED => {
                let lost = revocation::revoked(message).and_then(|id| open.remove(&(life, id)));
                if let Some(index) = lost {
                    found[index].until = at.min(found[index].until);
                }
            }
            What::Heard(message) if message.code() == code::SUBSCRIBED => {
                let Some(subscribe) = asked.get(&(life, message.number(1))) else { continue };
                // An UNSUBSCRIBE may be under way that this SUBSCRIBE overtook or followed; only the first of several
                // SUBSCRIBED in a row opens an interest.
                let subscription = message.number(2);
                open.entry((life, subscription)).or_insert_with(|| {
                    found.push(Interest {
                        life,
                        subscription,
                        topic: subscribe.text(3).to_owned(),
                        policy: policy(subscribe),
                        from: at,
                        until: departures[life].map_or(usize::MAX, |departure| departure.at),
                    });
                    found.len() - 1
                });
            }
            _ => {}
        }
    }
    for removal in revocation::removals(log, REMOVE_SUBSCRIBER) {
        let lost = |interest: &&mut Interest| {
            (interest.life, interest.subscription) == (removal.life, removal.id) && interest.from < removal.by
        };
        for interest in found.iter_mut().filter(lost) {
            interest.until = removal.at.min(interest.until);
        }
    }
    // SUBSCRIBE, UNSUBSCRIBE, then SUBSCRIBED: the interest was given up before it was seen to begin.
    found.retain(|interest| {
        !log.said().any(|(at, life, message)| {
            life == interest.life
                && at < interest.from
                && message.code() == code::UNSUBSCRIBE
                && message.number(2) == interest.subscription
                && !answered_before(log, life, message.number(1), interest.from)
        })
    });
    found
}

/// True if the UNSUBSCRIBE with that request was answered before that entry.
fn answered_before(log: &Log, life: usize, request: u64, before: usize) -> bool {
    log.entries[..before].iter().any(|entry| {
        entry.life == life
            && matches!(&entry.what, What::Heard(m)
                if m.code() == code::UNSUBSCRIBED && m.number(1) == request
                || m.code() == code::ERROR && m.number(1) == code::UNSUBSCRIBE && m.number(2) == request)
    })
}

/// A PUBLISH that was handled.
pub struct Publication<'a> {
    pub life: usize,
    pub tag: Tag,
    pub message: &'a Message,
    /// It can have been handled from here on.
    pub from: usize,
    /// It has been handled by then.
    pub by: usize,
    /// All its letters had arrived by then.
    pub quiet: usize,
}

/// Every PUBLISH of a run that must have been handled and granted.
pub fn publications(log: &Log) -> Vec<Publication<'_>> {
    let departures = log.departures();
    let handled = log.handled();
    let quiet: Vec<usize> = log.quiet().map(|(at, _)| at).collect();
    // What a life says before it reads WELCOME may be said to a realm that there is none of.
    let welcomes = log.heard().filter(|(_, _, message)| message.code() == code::WELCOME);
    let joined: BTreeSet<usize> = welcomes.map(|(_, life, _)| life).collect();
    // Whether an authorizer has allowed it is certain only then.
    let acknowledged = log.heard().filter(|(_, _, message)| message.code() == code::PUBLISHED);
    let acknowledged: BTreeSet<_> = acknowledged.map(|(_, life, m)| (life, m.number(1))).collect();
    let mut found = Vec::new();
    for (at, life, message) in log.said().filter(|(_, life, _)| joined.contains(life)) {
        let (Some(tag), (Some(from), Some(by))) = (message.tag(), handled[at]) else { continue };
        let topic = message.text(3);
        let realm = log.lives[life].realm;
        let granted = REALM_CHECKS[realm].uri(topic)
            && !uri::reserved(topic)
            && may(realm, code::PUBLISH, topic, MatchPolicy::Exact)
            && (log.guard(realm).is_none() || acknowledged.contains(&(life, message.number(1))));
        if message.code() != code::PUBLISH || !granted {
            continue;
        }
        let next = quiet.partition_point(|quiet| *quiet < by);
        let Some(&quiet) = quiet.get(next) else { continue };
        // A session the router was about to end may have been ended already when the message arrived.
        let alive = departures[life].is_none_or(|d| d.at > if d.by_client { at } else { quiet });
        if alive {
            found.push(Publication { life, tag, message, from, by, quiet });
        }
    }
    found
}

/// A PUBLISH handled after SUBSCRIBED was read is delivered to whoever stays.
pub(super) fn no_lost_interest(log: &Log) -> Checked {
    let (interests, sessions) = (interests(log), sessions(log));
    let delivered: BTreeSet<(usize, u64, Tag)> = log
        .heard()
        .filter(|(_, _, message)| message.code() == code::EVENT && !is_retained(message))
        .filter_map(|(_, life, message)| Some((life, message.number(1), message.tag()?)))
        .collect();
    for publication in publications(log) {
        let Publication { life, tag, message, from, quiet, .. } = publication;
        let bytes = 2 * message.write(Serializer::Json).len() + 200;
        for interest in &interests {
            let due = interest.from < from
                && quiet < interest.until
                && log.lives[life].realm == log.lives[interest.life].realm
                && log.lives[interest.life].message_bytes_max >= bytes
                && matches(interest.policy, &interest.topic, message.text(3))
                && !(life == interest.life && option(message, "exclude_me", true))
                && sessions.get(&interest.life).is_some_and(|session| is_for(message, *session));
            let Interest { life, subscription, .. } = *interest;
            ensure(!due || delivered.contains(&(life, subscription, tag)), || {
                format!("{tag:?} never reached {life}, which had read SUBSCRIBED in entry {}", interest.from)
            })?;
        }
    }
    Ok(())
}

/// Every EVENT of a publication has its id, PUBLISHED says the same one, and no other publication has it.
pub(super) fn publication_ids(log: &Log) -> Checked {
    let mut ids: BTreeMap<Tag, u64> = BTreeMap::new();
    let mut owners: BTreeMap<u64, Tag> = BTreeMap::new();
    let publishes: BTreeMap<(usize, u64), Tag> = log
        .said()
        .filter(|(_, _, message)| message.code() == code::PUBLISH)
        .filter_map(|(_, life, message)| Some(((life, message.number(1)), message.tag()?)))
        .collect();
    for (at, life, message) in log.heard() {
        let tag = match message.code() {
            code::EVENT => message.tag(),
            code::PUBLISHED => publishes.get(&(life, message.number(1))).copied(),
            _ => continue,
        };
        let (Some(tag), id) = (tag, message.number(2)) else { continue };
        let (known, owner) = (*ids.entry(tag).or_insert(id), *owners.entry(id).or_insert(tag));
        ensure((known, owner) == (id, tag), || format!("entry {at}: {tag:?} is {known}, {id} is {owner:?}"))?;
    }
    Ok(())
}

/// A publisher gets its own event only if it said so.
pub(super) fn publisher_exclusion(log: &Log) -> Checked {
    let said = origins(log, &[code::PUBLISH]);
    for (at, life, message) in log.heard().filter(|(_, _, message)| message.code() == code::EVENT) {
        let Some(tag) = message.tag().filter(|tag| tag.life == life) else { continue };
        let excluded = said.get(&tag).is_some_and(|(_, publish)| option(publish, "exclude_me", true));
        ensure(!excluded, || format!("entry {at} came back to its publisher"))?;
    }
    Ok(())
}

/// The session of each life that was welcomed.
fn sessions(log: &Log) -> BTreeMap<usize, u64> {
    let welcomes = log.heard().filter(|(_, _, message)| message.code() == code::WELCOME);
    welcomes.map(|(_, life, welcome)| (life, welcome.number(1))).collect()
}

/// True if the lists of a PUBLISH let a session have it; all sessions are anonymous.
fn is_for(publish: &Message, session: u64) -> bool {
    let holds = |key: &str, wanted: &dyn Fn(&Item) -> bool| {
        let list = publish.entry(2, key).and_then(Item::list);
        list.map(|list| list.iter().any(wanted))
    };
    let ids = |item: &Item| item.number() == Some(session);
    let roles = |item: &Item| item.text() == Some("anonymous");
    holds("eligible", &ids) != Some(false)
        && holds("exclude", &ids) != Some(true)
        && holds("eligible_authrole", &roles) != Some(false)
        && holds("exclude_authrole", &roles) != Some(true)
}

/// True if the lists of a PUBLISH keep it from some.
pub fn is_restricted(publish: &Message) -> bool {
    ["eligible", "exclude", "eligible_authrole", "exclude_authrole"]
        .iter()
        .any(|key| publish.entry(2, key).is_some())
}

/// Nobody gets an event that its publisher's lists keep from it.
pub(super) fn lists_hold(log: &Log) -> Checked {
    let (said, sessions) = (origins(log, &[code::PUBLISH]), sessions(log));
    for (at, life, message) in log.heard().filter(|(_, _, message)| message.code() == code::EVENT) {
        let Some((_, publish)) = message.tag().and_then(|tag| said.get(&tag)) else { continue };
        let session = sessions.get(&life).copied().unwrap_or(0);
        ensure(is_for(publish, session), || format!("entry {at} is not for {session}: {publish}"))?;
    }
    Ok(())
}

/// An event tells of its publisher exactly if that has asked for it, or an authorizer has.
pub(super) fn publishers_disclosed(log: &Log) -> Checked {
    let (said, sessions) = (origins(log, &[code::PUBLISH]), sessions(log));
    let rulings = if log.guards.is_empty() { None } else { Some(Rulings::of(log)?) };
    for (at, _, message) in log.heard().filter(|(_, _, message)| message.code() == code::EVENT) {
        let Some((tag, (_, publish))) = message.tag().and_then(|tag| Some((tag, said.get(&tag)?))) else {
            continue;
        };
        let told = message.entry(3, "publisher").and_then(Item::number);
        let guarded = log.guard(log.lives[tag.life].realm).is_some();
        let asked = match rulings.as_ref().and_then(|rulings| rulings.discloses(tag.life, publish)) {
            _ if option(publish, "disclose_me", false) => true,
            None if guarded => told.is_some(),
            disclosed => disclosed == Some(true),
        };
        // Who publishes before it reads WELCOME may never have read it.
        let known = sessions.get(&tag.life).copied();
        let fits = if asked { told.is_some() && (known.is_none() || told == known) } else { told.is_none() };
        ensure(fits, || format!("entry {at} tells of {told:?}, and {known:?} has said {publish}"))?;
    }
    Ok(())
}

/// The event of the router's own that a message is: its topic's last two parts.
pub fn meta_event<'a>(
    topics: &'a BTreeMap<(usize, u64), String>,
    life: usize,
    event: &'a Message,
) -> &'a str {
    if event.code() != code::EVENT || event.tag().is_some() {
        return "";
    }
    let told = event.entry(3, "topic").and_then(Item::text);
    let subscribed = topics.get(&(life, event.number(1))).map(String::as_str);
    told.or(subscribed).and_then(|topic| topic.strip_prefix("wamp.")).unwrap_or("")
}

/// The topic or pattern behind each subscription id a life was granted.
pub fn topics(log: &Log) -> BTreeMap<(usize, u64), String> {
    let mut asked = BTreeMap::new();
    let mut found = BTreeMap::new();
    for entry in &log.entries {
        match &entry.what {
            What::Said(message) if message.code() == code::SUBSCRIBE => {
                asked.entry((entry.life, message.number(1))).or_insert(message.text(3));
            }
            What::Heard(message) if message.code() == code::SUBSCRIBED => {
                if let Some(topic) = asked.get(&(entry.life, message.number(1))) {
                    found.insert((entry.life, message.number(2)), (*topic).to_owned());
                }
            }
            _ => {}
        }
    }
    found
}

/// How far a subscription or registration has come, as one watcher saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    /// Its beginning was not watched, so its members are not known.
    Midway,
    Created,
    /// By so many sessions.
    Held(u64),
    Deleted,
}

/// For each subscription and registration: on_create, on_subscribe .. on_unsubscribe, on_delete.
pub(super) fn meta_order(log: &Log) -> Checked {
    let topics = topics(log);
    let watched = watched(log);
    let mut seen: BTreeMap<(usize, String, u64), Seen> = BTreeMap::new();
    for (at, life, message) in log.heard() {
        let Some((kind, verb)) = meta_event(&topics, life, message).split_once('.') else { continue };
        if kind == "session" || !watched.contains(&(life, kind.to_owned())) {
            continue;
        }
        let arguments = message.payload().first().and_then(Item::list).unwrap_or(&[]);
        let [_, what, ..] = arguments else { return Err(format!("entry {at} lacks arguments")) };
        let id = what.number().or_else(|| what.entry("id")?.number());
        let id = id.ok_or_else(|| format!("entry {at} names no id"))?;
        let state = seen.entry((life, kind.to_owned(), id)).or_insert(Seen::Midway);
        let next = match (*state, verb) {
            (Seen::Midway, "on_create") => Seen::Created,
            (Seen::Midway, "on_subscribe" | "on_unsubscribe" | "on_register" | "on_unregister") => {
                Seen::Midway
            }
            (Seen::Created, "on_subscribe" | "on_register") => Seen::Held(1),
            (Seen::Held(count), "on_subscribe" | "on_register") => Seen::Held(count + 1),
            (Seen::Held(count @ 1..), "on_unsubscribe" | "on_unregister") => Seen::Held(count - 1),
            (Seen::Midway | Seen::Held(0), "on_delete") => Seen::Deleted,
            (state, verb) => return Err(format!("entry {at}: {verb} of {id} after {state:?}")),
        };
        *state = next;
    }
    Ok(())
}

/// Which kinds of meta events a life sees all of: those it took with one pattern.
fn watched(log: &Log) -> BTreeSet<(usize, String)> {
    log.said()
        .filter(|(_, _, message)| message.code() == code::SUBSCRIBE && policy(message) == MatchPolicy::Prefix)
        .filter_map(|(_, life, message)| {
            let kind = message.text(3).strip_prefix("wamp.")?.strip_suffix('.')?;
            Some((life, kind.to_owned()))
        })
        .collect()
}
