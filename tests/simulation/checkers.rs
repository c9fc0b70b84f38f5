//! The guarantees of the router, each as a function over the log of a run that finds the first place where it is
//! broken.
//!
//! A checker demands only what both ends could see. Where the router may handle two things in either order, the log
//! brackets them (`Delivered` .. `Handled`), and a promise of delivery is called in at the next moment of quiet.

use std::collections::{BTreeMap, BTreeSet};

use fanwire::error::CloseReason;
use fanwire::wamp::message::code;
use fanwire::wamp::{MatchPolicy, Serializer, UriCheck, reason, uri};

use crate::item::{Item, Message, Tag};
use crate::log::{Log, What, is_accusation, is_last, option, policy};
use crate::naive::matches;

/// The rule of each realm of a run, by its number.
pub const REALM_CHECKS: [UriCheck; 3] = [UriCheck::Loose, UriCheck::Strict, UriCheck::Loose];

type Checked = Result<(), String>;

/// Finds the first place of a log where a rule is broken.
type Checker = fn(&Log) -> Checked;

/// Every checker with its name.
pub const CHECKERS: &[(&str, Checker)] = &[
    ("pair_order", pair_order),
    ("subscribed_first", subscribed_first),
    ("silent_after_unsubscribed", silent_after_unsubscribed),
    ("no_lost_interest", no_lost_interest),
    ("registered_first", registered_first),
    ("silent_after_unregistered", silent_after_unregistered),
    ("one_answer", one_answer),
    ("interrupt_open", interrupt_open),
    ("sequential_ids", sequential_ids),
    ("ids_name_one_thing", ids_name_one_thing),
    ("meta_order", meta_order),
    ("last_word", last_word),
    ("isolation", isolation),
    ("delivered_once", delivered_once),
    ("payload_fidelity", payload_fidelity),
    ("publication_ids", publication_ids),
    ("publisher_exclusion", publisher_exclusion),
    ("requests_answered", requests_answered),
    ("right_errors", right_errors),
    ("violations_answered", violations_answered),
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

/// Events of one publisher reach one subscriber in order, across topics; so do calls of one caller at one callee.
fn pair_order(log: &Log) -> Checked {
    let mut last: BTreeMap<(u64, usize, usize), u64> = BTreeMap::new();
    for (at, life, message) in log.heard() {
        let strictly = match message.code() {
            code::EVENT => false,
            code::INVOCATION => true,
            _ => continue,
        };
        let Some(tag) = message.tag() else { continue };
        let before = last.insert((message.code(), tag.life, life), tag.sequence);
        let fits = before.is_none_or(|b| b < tag.sequence || (b == tag.sequence && !strictly));
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

const SUBSCRIPTION: Grant = Grant {
    granted: code::SUBSCRIBED,
    revoke: code::UNSUBSCRIBE,
    revoked: code::UNSUBSCRIBED,
    used: code::EVENT,
    index: 1,
};

const REGISTRATION: Grant = Grant {
    granted: code::REGISTERED,
    revoke: code::UNREGISTER,
    revoked: code::UNREGISTERED,
    used: code::INVOCATION,
    index: 2,
};

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

/// An id is not used after it was taken away, until it is granted again.
fn silent_after_revoked(log: &Log, grant: &Grant) -> Checked {
    let mut asked = BTreeMap::new();
    let mut revoked = BTreeSet::new();
    for (at, entry) in log.entries.iter().enumerate() {
        let life = entry.life;
        match &entry.what {
            What::Said(message) if message.code() == grant.revoke => {
                asked.insert((life, message.number(1)), message.number(2));
            }
            What::Heard(message) if message.code() == grant.revoked => {
                let id = asked.get(&(life, message.number(1)));
                let id = id.ok_or_else(|| format!("entry {at}: nobody asked for this"))?;
                revoked.insert((life, *id));
            }
            What::Heard(message) if message.code() == grant.granted => {
                revoked.remove(&(life, message.number(2)));
            }
            What::Heard(message) if message.code() == grant.used => {
                let id = message.number(grant.index);
                ensure(!revoked.contains(&(life, id)), || format!("entry {at}: {life} had given up {id}"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// SUBSCRIBED before the first EVENT.
fn subscribed_first(log: &Log) -> Checked {
    granted_first(log, &SUBSCRIPTION)
}

/// No EVENT after UNSUBSCRIBED.
fn silent_after_unsubscribed(log: &Log) -> Checked {
    silent_after_revoked(log, &SUBSCRIPTION)
}

/// REGISTERED before the first INVOCATION.
fn registered_first(log: &Log) -> Checked {
    granted_first(log, &REGISTRATION)
}

/// No INVOCATION after UNREGISTERED.
fn silent_after_unregistered(log: &Log) -> Checked {
    silent_after_revoked(log, &REGISTRATION)
}

/// A time in which a life was surely subscribed.
pub struct Interest {
    pub life: usize,
    pub subscription: u64,
    pub topic: String,
    pub policy: MatchPolicy,
    /// SUBSCRIBED was read.
    pub from: usize,
    /// UNSUBSCRIBE was written or the session began to end.
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
                asked.insert((life, message.number(1)), message);
            }
            What::Said(message) if message.code() == code::UNSUBSCRIBE => {
                if let Some(index) = open.remove(&(life, message.number(2))) {
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
    /// All its letters had arrived by then.
    pub quiet: usize,
}

/// Every PUBLISH of a run that must have been handled and granted.
pub fn publications(log: &Log) -> Vec<Publication<'_>> {
    let departures = log.departures();
    let handled = log.handled();
    let quiet: Vec<usize> = log.quiet().map(|(at, _)| at).collect();
    let mut found = Vec::new();
    for (at, life, message) in log.said() {
        let (Some(tag), (Some(from), Some(by))) = (message.tag(), handled[at]) else { continue };
        let topic = message.text(3);
        let granted = REALM_CHECKS[log.lives[life].realm].uri(topic) && !uri::reserved(topic);
        if message.code() != code::PUBLISH || !granted {
            continue;
        }
        let next = quiet.partition_point(|quiet| *quiet < by);
        let Some(&quiet) = quiet.get(next) else { continue };
        // A session the router was about to end may have been ended already when the message arrived.
        let alive = departures[life].is_none_or(|d| d.at > if d.by_client { at } else { quiet });
        if alive {
            found.push(Publication { life, tag, message, from, quiet });
        }
    }
    found
}

/// A PUBLISH handled after SUBSCRIBED was read is delivered to whoever stays.
fn no_lost_interest(log: &Log) -> Checked {
    let interests = interests(log);
    let delivered: BTreeSet<(usize, u64, Tag)> = log
        .heard()
        .filter(|(_, _, message)| message.code() == code::EVENT)
        .filter_map(|(_, life, message)| Some((life, message.number(1), message.tag()?)))
        .collect();
    for publication in publications(log) {
        let Publication { life, tag, message, from, quiet } = publication;
        let bytes = 2 * message.write(Serializer::Json).len() + 200;
        for interest in &interests {
            let due = interest.from < from
                && quiet < interest.until
                && log.lives[life].realm == log.lives[interest.life].realm
                && log.lives[interest.life].message_bytes_max >= bytes
                && matches(interest.policy, &interest.topic, message.text(3))
                && !(life == interest.life && option(message, "exclude_me", true));
            let Interest { life, subscription, .. } = *interest;
            ensure(!due || delivered.contains(&(life, subscription, tag)), || {
                format!("{tag:?} never reached {life}, which had read SUBSCRIBED in entry {}", interest.from)
            })?;
        }
    }
    Ok(())
}

/// One final RESULT or ERROR for each CALL of a session that stays; never two, never one for no CALL.
fn one_answer(log: &Log) -> Checked {
    let calls: BTreeMap<(usize, u64), usize> = log
        .said()
        .filter(|(_, _, message)| message.code() == code::CALL)
        .map(|(at, life, message)| ((life, message.number(1)), at))
        .collect();
    let mut answers: BTreeMap<(usize, u64), usize> = BTreeMap::new();
    for (at, life, message) in log.heard() {
        let request = match message.code() {
            code::RESULT => message.number(1),
            code::ERROR if message.number(1) == code::CALL => message.number(2),
            _ => continue,
        };
        ensure(calls.contains_key(&(life, request)), || format!("entry {at} answers no CALL"))?;
        let before = answers.insert((life, request), at);
        ensure(before.is_none(), || format!("entry {at}: a second answer after {before:?}"))?;
    }
    let (handled, departures) = (log.handled(), log.departures());
    for (quiet, _) in log.quiet().filter(|(_, answered)| *answered) {
        for (call, at) in &calls {
            let due = handled[*at].1.is_some_and(|by| by < quiet)
                && departures[call.0].is_none_or(|departure| departure.at > quiet);
            let answered = answers.get(call).is_some_and(|answer| *answer < quiet);
            ensure(!due || answered, || format!("the CALL of entry {at} had no answer at {quiet}"))?;
        }
    }
    Ok(())
}

/// INTERRUPT follows its INVOCATION, goes only to who announced it, only while the invocation is open, and only because
/// its caller canceled the call or left.
fn interrupt_open(log: &Log) -> Checked {
    let mut invocations: BTreeMap<(usize, u64), (Tag, Option<usize>)> = BTreeMap::new();
    let (handled, departures) = (log.handled(), log.departures());
    let quiet: Vec<usize> = log.quiet().map(|(at, _)| at).collect();
    for (at, entry) in log.entries.iter().enumerate() {
        let life = entry.life;
        match &entry.what {
            What::Heard(message) if message.code() == code::INVOCATION => {
                let tag = message.tag().ok_or_else(|| format!("entry {at} is nobody's"))?;
                invocations.insert((life, message.number(1)), (tag, None));
            }
            What::Said(message) if message.code() == code::YIELD => {
                invocations.entry((life, message.number(1))).and_modify(|(_, by)| *by = handled[at].1);
            }
            What::Said(message) if message.code() == code::ERROR => {
                invocations.entry((life, message.number(2))).and_modify(|(_, by)| *by = handled[at].1);
            }
            What::Heard(message) if message.code() == code::INTERRUPT => {
                ensure(log.lives[life].cancelable, || format!("entry {at}: {life} cannot be interrupted"))?;
                let invocation = invocations.get(&(life, message.number(1)));
                let (tag, answer) = invocation.ok_or_else(|| format!("entry {at} interrupts nothing"))?;
                let late = answer.is_some_and(|answer| quiet.iter().any(|q| answer < *q && *q < at));
                ensure(!late, || format!("entry {at}: the invocation had been answered in {answer:?}"))?;
                let mode = message.entry(2, "mode").and_then(Item::text).unwrap_or("");
                // What the router decides shows in the log later than what follows from it.
                let left = departures[tag.life].is_some_and(|departure| !departure.by_client);
                let caused = (left && mode == "killnowait") || was_given_up(log, *tag, mode, at);
                ensure(caused, || format!("entry {at}: nobody gave {tag:?} up"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// True if the caller has canceled the call in that mode before that entry, or has left.
fn was_given_up(log: &Log, call: Tag, mode: &str, before: usize) -> bool {
    let mut request = None;
    for entry in log.entries[..before].iter().filter(|entry| entry.life == call.life) {
        match &entry.what {
            What::Said(message) if message.code() == code::CALL && message.tag() == Some(call) => {
                request = Some(message.number(1));
            }
            What::Said(message) if message.code() == code::CANCEL && Some(message.number(1)) == request => {
                let asked = message.entry(2, "mode").and_then(Item::text).unwrap_or("killnowait");
                if asked == mode {
                    return true;
                }
            }
            What::Said(message) | What::Heard(message) if is_last(message) => return mode == "killnowait",
            What::Misdeed(_) | What::Left | What::Shut | What::Closed(_) => return mode == "killnowait",
            _ => {}
        }
    }
    false
}

/// Requests of INVOCATION count 1, 2, 3 in each session.
fn sequential_ids(log: &Log) -> Checked {
    let mut last: BTreeMap<usize, u64> = BTreeMap::new();
    for (at, life, message) in log.heard().filter(|(_, _, message)| message.code() == code::INVOCATION) {
        let before = last.insert(life, message.number(1)).unwrap_or(0);
        ensure(message.number(1) == before + 1, || format!("entry {at} follows INVOCATION {before}"))?;
    }
    Ok(())
}

/// A session id belongs to one session. In a realm, a subscription or registration id stands for one pattern and policy,
/// and a pattern and policy with a subscriber has one subscription id.
fn ids_name_one_thing(log: &Log) -> Checked {
    let mut sessions = BTreeSet::new();
    let mut asked: BTreeMap<(usize, u64, u64), &Message> = BTreeMap::new();
    let mut names: BTreeMap<(u64, usize, u64), (MatchPolicy, &str)> = BTreeMap::new();
    for (at, entry) in log.entries.iter().enumerate() {
        match &entry.what {
            What::Said(message) => {
                asked.entry((entry.life, message.code(), message.number(1))).or_insert(message);
            }
            What::Heard(message) if message.code() == code::WELCOME => {
                ensure(sessions.insert(message.number(1)), || format!("entry {at}: an id given before"))?;
            }
            What::Heard(message) if matches!(message.code(), code::SUBSCRIBED | code::REGISTERED) => {
                let key = (entry.life, message.code() - 1, message.number(1));
                let Some(asked) = asked.get(&key) else { continue };
                let name = (policy(asked), asked.text(3));
                let id = (message.code(), log.lives[entry.life].realm, message.number(2));
                let known = *names.entry(id).or_insert(name);
                ensure(known == name, || format!("entry {at}: {id:?} was {known:?}"))?;
            }
            _ => {}
        }
    }
    let interests = interests(log);
    for (quiet, _) in log.quiet() {
        let mut ids = BTreeMap::new();
        for interest in interests.iter().filter(|interest| interest.from < quiet && quiet < interest.until) {
            let name = (log.lives[interest.life].realm, interest.policy, &interest.topic);
            let id = *ids.entry(name).or_insert(interest.subscription);
            ensure(id == interest.subscription, || format!("{name:?} has two ids at {quiet}"))?;
        }
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
                asked.insert((entry.life, message.number(1)), message.text(3).to_owned());
            }
            What::Heard(message) if message.code() == code::SUBSCRIBED => {
                if let Some(topic) = asked.get(&(entry.life, message.number(1))) {
                    found.insert((entry.life, message.number(2)), topic.clone());
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
fn meta_order(log: &Log) -> Checked {
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
            (Seen::Held(count), "on_subscribe") => Seen::Held(count + 1),
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

/// Nothing comes before WELCOME but ABORT, and nothing after GOODBYE or ABORT.
fn last_word(log: &Log) -> Checked {
    let mut welcomed = vec![false; log.lives.len()];
    let mut over = vec![None; log.lives.len()];
    for (at, life, message) in log.heard() {
        ensure(over[life].is_none(), || format!("entry {at} follows the last word in {:?}", over[life]))?;
        match message.code() {
            code::WELCOME => {
                ensure(!welcomed[life], || format!("entry {at}: a second WELCOME"))?;
                welcomed[life] = true;
            }
            code::ABORT => {}
            _ => ensure(welcomed[life], || format!("entry {at} comes before WELCOME"))?,
        }
        if is_last(message) {
            over[life] = Some(at);
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

/// One EVENT for each publication, subscription and session; one INVOCATION for each CALL.
fn delivered_once(log: &Log) -> Checked {
    let mut seen = BTreeMap::new();
    for (at, life, message) in log.heard() {
        let Some(tag) = message.tag() else { continue };
        let key = match message.code() {
            code::EVENT => (life, message.number(1), tag),
            code::INVOCATION => (usize::MAX, 0, tag),
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
    let calls: BTreeMap<(usize, u64), Tag> = log
        .said()
        .filter(|(_, _, message)| message.code() == code::CALL)
        .filter_map(|(_, life, message)| Some(((life, message.number(1)), message.tag()?)))
        .collect();
    for (at, entry) in log.entries.iter().enumerate() {
        let message = match &entry.what {
            What::Said(message) => {
                if let code::SUBSCRIBE | code::REGISTER = message.code() {
                    asked.insert((entry.life, message.number(1)), message);
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
        ensure(attributes(origin) == attributes(message), || {
            format!("entry {at}: {:?} were said", attributes(origin))
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

/// Every EVENT of a publication has its id, PUBLISHED says the same one, and no other publication has it.
fn publication_ids(log: &Log) -> Checked {
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
fn publisher_exclusion(log: &Log) -> Checked {
    let said = origins(log, &[code::PUBLISH]);
    for (at, life, message) in log.heard().filter(|(_, _, message)| message.code() == code::EVENT) {
        let Some(tag) = message.tag().filter(|tag| tag.life == life) else { continue };
        let excluded = said.get(&tag).is_some_and(|(_, publish)| option(publish, "exclude_me", true));
        ensure(!excluded, || format!("entry {at} came back to its publisher"))?;
    }
    Ok(())
}

/// The answer that grants a request.
fn grant_of(request: u64) -> Option<u64> {
    Some(match request {
        code::SUBSCRIBE => code::SUBSCRIBED,
        code::UNSUBSCRIBE => code::UNSUBSCRIBED,
        code::PUBLISH => code::PUBLISHED,
        code::REGISTER => code::REGISTERED,
        code::UNREGISTER => code::UNREGISTERED,
        _ => return None,
    })
}

/// Requests are answered once, with the message that belongs to them; a PUBLISH only if it wants to be.
fn requests_answered(log: &Log) -> Checked {
    let mut open: BTreeMap<(usize, u64, u64), usize> = BTreeMap::new();
    let (handled, departures) = (log.handled(), log.departures());
    for (at, entry) in log.entries.iter().enumerate() {
        match &entry.what {
            What::Said(message) => {
                let wants = message.code() != code::PUBLISH || option(message, "acknowledge", false);
                if let Some(grant) = grant_of(message.code()).filter(|_| wants) {
                    open.insert((entry.life, grant, message.number(1)), at);
                }
            }
            What::Heard(message) => {
                let (grant, request) = match message.code() {
                    code::ERROR => (grant_of(message.number(1)), message.number(2)),
                    granted => (Some(granted), message.number(1)),
                };
                let Some(grant) = grant else { continue };
                let is_grant = [
                    code::SUBSCRIBED,
                    code::UNSUBSCRIBED,
                    code::PUBLISHED,
                    code::REGISTERED,
                    code::UNREGISTERED,
                ];
                let asked = open.remove(&(entry.life, grant, request)).is_some();
                ensure(asked || !is_grant.contains(&grant), || format!("entry {at} answers nothing"))?;
            }
            What::Quiet { .. } => {
                let due = open.iter().find(|((life, _, _), said)| {
                    handled[**said].1.is_some_and(|by| by < at)
                        && departures[*life].is_none_or(|departure| departure.at > at)
                });
                ensure(due.is_none(), || format!("no answer at {at} for {due:?}"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Errors carry a URI that fits what was asked; what is granted was grantable.
fn right_errors(log: &Log) -> Checked {
    let mut asked: BTreeMap<(usize, u64, u64), &Message> = BTreeMap::new();
    for (at, entry) in log.entries.iter().enumerate() {
        let message = match &entry.what {
            What::Said(message) => {
                // A dishonest client may use an id again; the answer is for the first.
                asked.entry((entry.life, message.code(), message.number(1))).or_insert(message);
                continue;
            }
            What::Heard(message) => message,
            _ => continue,
        };
        let check = REALM_CHECKS[log.lives[entry.life].realm];
        if message.code() == code::ERROR {
            let key = (entry.life, message.number(1), message.number(2));
            let asked = asked.get(&key).ok_or_else(|| format!("entry {at} refuses nothing"))?;
            ensure(message.tag().is_some() || fits(message.text(4), asked, check), || {
                format!("entry {at} refuses {asked}")
            })?;
        } else if let code::SUBSCRIBED | code::REGISTERED | code::PUBLISHED = message.code() {
            let request = message.code() - 1;
            let Some(asked) = asked.get(&(entry.life, request, message.number(1))) else { continue };
            ensure(!fits(reason::INVALID_URI, asked, check), || format!("entry {at} grants {asked}"))?;
        }
    }
    Ok(())
}

/// True if that error of the router's own may answer that request.
fn fits(error: &str, asked: &Message, check: UriCheck) -> bool {
    let uri = asked.text(3);
    let valid = match asked.code() {
        code::SUBSCRIBE => check.pattern(uri, policy(asked)),
        code::REGISTER => check.pattern(uri, policy(asked)) && !uri::reserved(uri),
        code::PUBLISH => check.uri(uri) && !uri::reserved(uri),
        _ => check.uri(uri),
    };
    match (error, asked.code()) {
        (reason::INVALID_URI, code::SUBSCRIBE | code::REGISTER | code::PUBLISH | code::CALL) => !valid,
        (reason::UNAVAILABLE, code::SUBSCRIBE | code::REGISTER | code::CALL) => valid,
        (reason::NO_SUCH_SUBSCRIPTION, code::UNSUBSCRIBE) => true,
        (reason::NO_SUCH_REGISTRATION, code::UNREGISTER) => true,
        (reason::PROCEDURE_ALREADY_EXISTS, code::REGISTER) => valid,
        (reason::NO_SUCH_PROCEDURE | reason::CANCELED | reason::PAYLOAD_SIZE_EXCEEDED, code::CALL) => valid,
        _ => false,
    }
}

/// Who breaks the protocol is told and closed; nobody else is accused.
fn violations_answered(log: &Log) -> Checked {
    let mut misdeeds: BTreeMap<usize, usize> = BTreeMap::new();
    let mut pending: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, entry) in log.entries.iter().enumerate() {
        match &entry.what {
            What::Misdeed(_) => {
                misdeeds.insert(entry.life, at);
                pending.insert(entry.life, at);
            }
            What::Left | What::Shut | What::Closed(_) => {
                let accused = matches!(entry.what, What::Closed(CloseReason::Violation(_)));
                let guilty = misdeeds.contains_key(&entry.life);
                ensure(guilty || !accused, || format!("entry {at}: {} is honest", entry.life))?;
                pending.remove(&entry.life);
            }
            What::Heard(message) if is_last(message) => {
                pending.remove(&entry.life);
                let guilty = misdeeds.contains_key(&entry.life);
                ensure(guilty || !is_accusation(message), || {
                    format!("entry {at}: {} is honest", entry.life)
                })?;
            }
            What::Quiet { .. } => {
                let unanswered = pending.first_key_value();
                ensure(unanswered.is_none(), || format!("no answer at {at} to {unanswered:?}"))?;
            }
            _ => {}
        }
    }
    Ok(())
}
