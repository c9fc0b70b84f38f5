//! The guarantees of the router, each as a function over the log of a run that finds the first place where it is
//! broken.
//!
//! A checker demands only what both ends could see. Where the router may handle two things in either order, the log
//! brackets them (`Delivered` .. `Handled`), and a promise of delivery is called in at the next moment of quiet.

mod authentication;
mod authorization;
mod meta;
mod pubsub;
mod retention;
mod revocation;
mod rpc;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};

use fanwire::wamp::message::code;
use fanwire::wamp::{MatchPolicy, UriCheck};

use crate::allowed::may;
use crate::item::{Item, Message, Tag};
use crate::log::{Log, What, option, policy};
use crate::naive::matches;

pub use authentication::joining;
pub use authorization::{Question, Said, denied_silently, questions};
pub use meta::{EVERYTHING, KILLED, testament};
pub use pubsub::{Interest, interests, is_restricted, meta_event, publications, topics};
pub use retention::is_retained;
pub use revocation::{REMOVE_CALLEE, REMOVE_SUBSCRIBER, REVOKED, forces, removals, revoked};

/// The rule of each realm of a run, by its number.
pub const REALM_CHECKS: [UriCheck; 3] = [UriCheck::Loose, UriCheck::Strict, UriCheck::Loose];

type Checked = Result<(), String>;

/// Finds the first place of a log where a rule is broken.
type Checker = fn(&Log) -> Checked;

/// Every checker with its name.
pub const CHECKERS: &[(&str, Checker)] = &[
    ("pair_order", pair_order),
    ("subscribed_first", pubsub::subscribed_first),
    ("silent_after_unsubscribed", pubsub::silent_after_unsubscribed),
    ("no_lost_interest", pubsub::no_lost_interest),
    ("registered_first", rpc::registered_first),
    ("silent_after_unregistered", rpc::silent_after_unregistered),
    ("one_answer", rpc::one_answer),
    ("progress_order", rpc::progress_order),
    ("parts_together", rpc::parts_together),
    ("rerouted_in_time", rpc::rerouted_in_time),
    ("interrupt_open", rpc::interrupt_open),
    ("sequential_ids", rpc::sequential_ids),
    ("within_concurrency", rpc::within_concurrency),
    ("ids_name_one_thing", sessions::ids_name_one_thing),
    ("meta_order", pubsub::meta_order),
    ("last_word", sessions::last_word),
    ("isolation", isolation),
    ("nothing_forbidden", nothing_forbidden),
    ("delivered_once", delivered_once),
    ("payload_fidelity", payload_fidelity),
    ("publication_ids", pubsub::publication_ids),
    ("publisher_exclusion", pubsub::publisher_exclusion),
    ("lists_hold", pubsub::lists_hold),
    ("publishers_disclosed", pubsub::publishers_disclosed),
    ("retained_found", retention::retained_found),
    ("retained_if_asked", retention::retained_if_asked),
    ("retained_order", retention::retained_order),
    ("requests_answered", sessions::requests_answered),
    ("right_errors", sessions::right_errors),
    ("violations_answered", sessions::violations_answered),
    ("testaments_published", meta::testaments_published),
    ("killed_are_gone", meta::killed_are_gone),
    ("sessions_in_order", meta::sessions_in_order),
    ("revoked_if_asked", revocation::revoked_if_asked),
    ("revoked_are_told", revocation::revoked_are_told),
    ("one_registration", revocation::one_registration),
    ("removed_if_there", revocation::removed_if_there),
    ("silent_once_taken", revocation::silent_once_taken),
    ("done_if_allowed", authorization::done_if_allowed),
    ("refused_if_denied", authorization::refused_if_denied),
    ("asked_in_order", authorization::asked_in_order),
    ("callers_disclosed", authorization::callers_disclosed),
    ("proved_first", authentication::proved_first),
    ("right_if_proved", authentication::right_if_proved),
    ("joins_end", authentication::joins_end),
];

/// Every checker on one log.
pub fn check(log: &Log) -> Checked {
    for (name, checker) in CHECKERS {
        checker(log).map_err(|what| format!("{name}: {what}"))?;
    }
    Ok(())
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

/// Every tagged message of a kind that was said, by its tag.
fn origins(log: &Log, kinds: &[u64]) -> BTreeMap<Tag, (usize, Message)> {
    log.said()
        .filter(|(_, _, message)| kinds.contains(&message.code()))
        .filter_map(|(at, _, message)| Some((message.tag()?, (at, message.clone()))))
        .collect()
}

/// Live events of one publisher reach one subscriber in order, across topics (`retained_order` has the others); so do
/// calls of one caller at one callee, but for a call whose first callee had gone or was unavailable. Calls that may
/// have to wait, because a callee has set `concurrency`, keep their order only among those of one registration, and
/// those in parts, which do not wait, only among themselves.
fn pair_order(log: &Log) -> Checked {
    let mut last: BTreeMap<_, Option<u64>> = BTreeMap::new();
    let (bounded, further, declined) = (rpc::bounded(log), log.further_calls(), rpc::declined(log));
    let calls = origins(log, &[code::CALL]);
    let gone = rpc::gone(log);
    let quiet: Vec<usize> = log.quiet().map(|(at, _)| at).collect();
    let began_anew = |tag: Tag, at: usize| {
        let Some((said, call)) = calls.get(&tag) else { return false };
        // The router sees a callee go at any time until it is quiet.
        let quiet_after = |at: usize| quiet.iter().find(|quiet| **quiet > at).copied().unwrap_or(usize::MAX);
        let until = quiet_after(at);
        let realm = log.lives[tag.life].realm;
        declined.get(&tag).is_some_and(|declined| declined[0] < at)
            || gone
                .iter()
                .any(|gone| *said < quiet_after(gone.until) && gone.at < until && gone.answers(realm, call))
    };
    let in_parts = |tag: Tag| {
        let call = calls.get(&tag);
        further.contains_key(&tag) || call.is_some_and(|(_, call)| option(call, "progress", false))
    };
    for (at, life, message) in log.heard() {
        let strictly = match message.code() {
            code::EVENT if is_retained(message) => continue,
            code::EVENT => false,
            code::INVOCATION => true,
            _ => continue,
        };
        let Some(tag) = message.tag() else { continue };
        let registration = strictly.then(|| message.number(2));
        let waits = registration.filter(|id| bounded.contains(&(log.lives[life].realm, *id)));
        let waits = waits.map(|id| (id, in_parts(tag)));
        let latest = last.entry((message.code(), tag.life, life, waits)).or_default();
        let before = std::mem::replace(latest, (*latest).max(Some(tag.sequence)));
        let fits = before.is_none_or(|b| b < tag.sequence || (b == tag.sequence && !strictly))
            || (strictly && before != Some(tag.sequence) && began_anew(tag, at));
        ensure(fits, || format!("entry {at}: {tag:?} reached {life} after {before:?}"))?;
    }
    Ok(())
}

/// What a life was granted: messages that grant, take away and use an id.
struct Grant {
    granted: u64,
    revoke: u64,
    revoked: u64,
    used: u64,
    /// Where the used id stands.
    index: usize,
}

/// An id is used only after it was granted.
fn granted_first(log: &Log, grant: &Grant) -> Checked {
    let mut granted = BTreeSet::new();
    for (at, life, message) in log.heard() {
        if message.code() == grant.granted {
            granted.insert((life, message.number(2)));
        } else if message.code() == grant.used {
            let id = message.number(grant.index);
            ensure(granted.contains(&(life, id)), || {
                format!("entry {at}: {id} was never granted to {life}")
            })?;
        }
    }
    Ok(())
}

/// An id is not used after it was given up or taken away, until it is granted again; but what has begun before goes on.
fn silent_after_revoked(log: &Log, grant: &Grant) -> Checked {
    let (mut asked, further) = (BTreeMap::new(), log.further_calls());
    let mut revoked = BTreeSet::new();
    for (at, entry) in log.entries.iter().enumerate() {
        let life = entry.life;
        match &entry.what {
            What::Said(message) if message.code() == grant.revoke => {
                asked.insert((life, message.number(1)), message.number(2));
            }
            What::Heard(message) if message.code() == grant.revoked => {
                let id = revocation::revoked(message);
                let id = id.or_else(|| asked.get(&(life, message.number(1))).copied());
                let id = id.ok_or_else(|| format!("entry {at}: nobody asked for this"))?;
                revoked.insert((life, id));
            }
            What::Heard(message) if message.code() == grant.granted => {
                revoked.remove(&(life, message.number(2)));
            }
            What::Heard(message) if message.code() == grant.used => {
                let id = message.number(grant.index);
                if message.tag().is_some_and(|tag| further.contains_key(&tag)) {
                    continue;
                }
                ensure(!revoked.contains(&(life, id)), || {
                    format!("entry {at}: {life} had no {id} any more")
                })?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Nothing crosses from one realm to another.
fn isolation(log: &Log) -> Checked {
    for (at, life, message) in log.heard() {
        let Some(tag) = message.tag() else { continue };
        let from = log.lives.get(tag.life).ok_or_else(|| format!("entry {at}: {tag:?} never lived"))?;
        ensure(from.realm == log.lives[life].realm, || {
            format!("entry {at} comes from realm {}", from.realm)
        })?;
    }
    Ok(())
}

/// What the rules of a realm do not allow reaches nobody, not even as a testament.
fn nothing_forbidden(log: &Log) -> Checked {
    let said = origins(log, &[code::PUBLISH, code::CALL]);
    let testaments = meta::testaments(log);
    for (at, life, message) in log.heard() {
        let realm = log.lives[life].realm;
        let origin = message.tag().and_then(|tag| said.get(&tag));
        let (sent, uri) = match (message.code(), origin) {
            (code::EVENT | code::INVOCATION, Some((_, said))) => (said.code(), said.text(3)),
            (code::EVENT, None) => {
                let what = testament(meta::arguments(message));
                match testaments.iter().find(|testament| Some(testament.what) == what) {
                    Some(testament) => (code::PUBLISH, testament.topic),
                    None => continue,
                }
            }
            _ => continue,
        };
        ensure(may(realm, sent, uri, MatchPolicy::Exact), || format!("entry {at}: {uri} is forbidden"))?;
    }
    Ok(())
}

/// One EVENT for each publication, subscription and session, retained ones apart; one INVOCATION for each CALL, and one
/// more for each callee that was unavailable, to another.
fn delivered_once(log: &Log) -> Checked {
    let mut seen = BTreeMap::new();
    let mut invocations: BTreeMap<Tag, usize> = BTreeMap::new();
    let declined = rpc::declined(log);
    for (at, life, message) in log.heard() {
        let Some(tag) = message.tag() else { continue };
        let key = match message.code() {
            code::EVENT if is_retained(message) => continue,
            code::EVENT => (life, message.number(1), tag),
            code::INVOCATION => {
                let declined = declined.get(&tag).map_or(&[][..], Vec::as_slice);
                let before = invocations.entry(tag).or_default();
                let asked_anew = declined.iter().filter(|declined| **declined < at).count();
                ensure(*before <= asked_anew, || format!("entry {at}: {before} have got {tag:?} before"))?;
                *before += 1;
                (life, 0, tag)
            }
            _ => continue,
        };
        let before = seen.insert(key, at);
        ensure(before.is_none(), || format!("entry {at} repeats {before:?}"))?;
    }
    Ok(())
}

/// What is read is what was written, and it is what was asked for.
fn payload_fidelity(log: &Log) -> Checked {
    let mut granted: BTreeMap<(u64, usize, u64), &Message> = BTreeMap::new();
    let mut asked: BTreeMap<(usize, u64), &Message> = BTreeMap::new();
    let said = origins(log, &[code::PUBLISH, code::CALL, code::YIELD, code::ERROR]);
    let further = log.further_calls();
    let calls: BTreeMap<(usize, u64), Tag> = log
        .said()
        .filter(|(_, _, message)| message.code() == code::CALL)
        .filter_map(|(_, life, message)| Some(((life, message.number(1)), message.tag()?)))
        .filter(|(_, tag)| !further.contains_key(tag))
        .collect();
    for (at, entry) in log.entries.iter().enumerate() {
        let message = match &entry.what {
            What::Said(message) => {
                if let code::SUBSCRIBE | code::REGISTER = message.code() {
                    // A dishonest client may use an id again; the answer is for the first.
                    asked.entry((entry.life, message.number(1))).or_insert(message);
                }
                continue;
            }
            What::Heard(message) => message,
            _ => continue,
        };
        if let code::SUBSCRIBED | code::REGISTERED = message.code()
            && let Some(asked) = asked.get(&(entry.life, message.number(1)))
        {
            granted.insert((message.code(), entry.life, message.number(2)), asked);
        }
        let Some(tag) = message.tag() else { continue };
        let (_, origin) = said.get(&tag).ok_or_else(|| format!("entry {at}: nobody said {tag:?}"))?;
        ensure(origin.payload() == message.payload(), || {
            format!("entry {at}: {:?} was said", origin.payload())
        })?;
        // Those of a call's first part are those of all.
        let first = further.get(&tag).and_then(|first| said.get(first)).map_or(origin, |(_, first)| first);
        ensure(attributes(first) == attributes(message), || {
            format!("entry {at}: {:?} were said", attributes(first))
        })?;
        let (asked_for, granted) = match message.code() {
            code::EVENT => (code::PUBLISH, granted.get(&(code::SUBSCRIBED, entry.life, message.number(1)))),
            code::INVOCATION => (code::CALL, granted.get(&(code::REGISTERED, entry.life, message.number(2)))),
            code::RESULT | code::ERROR => {
                answers_its_call(message, entry.life, &calls)
                    .map_err(|what| format!("entry {at}: {what}"))?;
                continue;
            }
            _ => continue,
        };
        ensure(origin.code() == asked_for, || format!("entry {at} was said as {origin}"))?;
        if let Some(granted) = granted {
            matches_pattern(message, origin, granted).map_err(|what| format!("entry {at}: {what}"))?;
        }
    }
    Ok(())
}

/// The custom attributes in the options or details of a message, in their order.
fn attributes(message: &Message) -> Vec<&(String, Item)> {
    let index = match message.code() {
        code::PUBLISH | code::CALL | code::YIELD | code::RESULT => 2,
        _ => 3,
    };
    let Some(Item::Dict(entries)) = message.0.get(index) else { return Vec::new() };
    entries.iter().filter(|(key, _)| key.starts_with('_')).collect()
}

/// The callee wrote into its answer which call it is for.
fn answers_its_call(answer: &Message, life: usize, calls: &BTreeMap<(usize, u64), Tag>) -> Checked {
    let request = answer.number(if answer.code() == code::RESULT { 1 } else { 2 });
    let arguments = answer.payload().first().and_then(Item::list).unwrap_or(&[]);
    let meant = (arguments.get(3).and_then(Item::number), arguments.get(4).and_then(Item::number));
    let call = calls.get(&(life, request)).map(|tag| (Some(tag.life as u64), Some(tag.sequence)));
    ensure(call == Some(meant), || format!("an answer for {meant:?} came to {call:?}"))
}

/// The URI is one the pattern takes, and stands in the details if the pattern does not say it.
fn matches_pattern(heard: &Message, origin: &Message, granted: &Message) -> Checked {
    let (policy, uri) = (policy(granted), origin.text(3));
    ensure(matches(policy, granted.text(3), uri), || format!("{uri} does not match {granted}"))?;
    let key = if heard.code() == code::EVENT { "topic" } else { "procedure" };
    let told = heard.entry(3, key).and_then(Item::text);
    ensure(told == Some(uri) || (told.is_none() && policy == MatchPolicy::Exact), || {
        format!("{key} is {told:?}, not {uri}")
    })
}
