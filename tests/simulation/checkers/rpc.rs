//! Calls: one answer each, invocations that count, interruptions with a cause.

use std::collections::{BTreeMap, BTreeSet};

use fanwire::wamp::message::code;

use super::{Checked, Grant, ensure, granted_first, silent_after_revoked};
use crate::item::{Item, Message, Tag};
use crate::log::{Log, What, is_last};

const REGISTRATION: Grant = Grant {
    granted: code::REGISTERED,
    revoke: code::UNREGISTER,
    revoked: code::UNREGISTERED,
    used: code::INVOCATION,
    index: 2,
};

/// REGISTERED before the first INVOCATION.
pub(super) fn registered_first(log: &Log) -> Checked {
    granted_first(log, &REGISTRATION)
}

/// No INVOCATION after UNREGISTERED.
pub(super) fn silent_after_unregistered(log: &Log) -> Checked {
    silent_after_revoked(log, &REGISTRATION)
}

/// One final RESULT or ERROR for each CALL of a session that stays; never two, never one for no CALL.
pub(super) fn one_answer(log: &Log) -> Checked {
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
pub(super) fn interrupt_open(log: &Log) -> Checked {
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

/// Where callees whose calls others may answer leave a registration or their realm, and which realm that is.
pub(super) fn gone(log: &Log) -> Vec<(usize, usize)> {
    let mut shares = vec![false; log.lives.len()];
    for (_, life, message) in log.said().filter(|(_, _, message)| message.code() == code::REGISTER) {
        shares[life] |= ["invoke", "concurrency"].iter().any(|key| message.entry(2, key).is_some());
    }
    let left = log.said().filter(|(_, _, message)| message.code() == code::UNREGISTER);
    let left = left.map(|(at, life, _)| (life, at));
    let departures = log.departures();
    let departed = departures.iter().enumerate();
    let departed = departed.filter_map(|(life, departure)| Some((life, departure.as_ref()?.at)));
    let sharing = left.chain(departed).filter(|(life, _)| shares[*life]);
    sharing.map(|(life, at)| (at, log.lives[life].realm)).collect()
}

/// The registrations, by realm, of which a callee has set `concurrency`.
pub(super) fn bounded(log: &Log) -> BTreeSet<(usize, u64)> {
    let asks = |(_, life, message): (usize, usize, &Message)| {
        let bounds = message.code() == code::REGISTER && message.entry(2, "concurrency").is_some();
        bounds.then(|| (life, message.number(1)))
    };
    let asked: BTreeSet<_> = log.said().filter_map(asks).collect();
    let granted = log.heard().filter(|(_, life, message)| {
        message.code() == code::REGISTERED && asked.contains(&(*life, message.number(1)))
    });
    granted.map(|(_, life, message)| (log.lives[life].realm, message.number(2))).collect()
}

/// A callee has no more invocations open than its `concurrency`. Those that their callers have given up do not count,
/// nor those from before it has registered anew.
pub(super) fn within_concurrency(log: &Log) -> Checked {
    let mut asked: BTreeMap<(usize, u64), u64> = BTreeMap::new();
    let mut limits: BTreeMap<(usize, u64), u64> = BTreeMap::new();
    let mut open: BTreeMap<(usize, u64), Vec<(u64, Tag)>> = BTreeMap::new();
    let departures = log.departures();
    for (at, entry) in log.entries.iter().enumerate() {
        let life = entry.life;
        match &entry.what {
            What::Said(message) if message.code() == code::REGISTER => {
                if let Some(limit) = message.entry(2, "concurrency").and_then(Item::number) {
                    asked.entry((life, message.number(1))).or_insert(limit);
                }
            }
            What::Said(message) if matches!(message.code(), code::YIELD | code::ERROR) => {
                let request = message.number(if message.code() == code::YIELD { 1 } else { 2 });
                for ((_, _), open) in open.iter_mut().filter(|((of, _), _)| *of == life) {
                    open.retain(|(known, _)| *known != request);
                }
            }
            What::Heard(message) if message.code() == code::REGISTERED => {
                let registration = (life, message.number(2));
                open.remove(&registration);
                let limit = asked.get(&(life, message.number(1))).copied();
                // Who registers what it has keeps what it had asked for first.
                limits.entry(registration).or_insert(limit.unwrap_or(u64::MAX));
            }
            What::Said(message) if message.code() == code::UNREGISTER => {
                limits.remove(&(life, message.number(2)));
            }
            What::Heard(message) if message.code() == code::INVOCATION => {
                let registration = (life, message.number(2));
                let tag = message.tag().ok_or_else(|| format!("entry {at} is nobody's"))?;
                let open = open.entry(registration).or_default();
                open.retain(|(_, tag)| {
                    let canceled = ["skip", "kill", "killnowait"];
                    // What the router decides shows in the log later than what follows from it.
                    departures[tag.life].is_none_or(|departure| departure.by_client && departure.at > at)
                        && !canceled.iter().any(|mode| was_given_up(log, *tag, mode, at))
                });
                open.push((message.number(1), tag));
                let limit = limits.get(&registration).copied().unwrap_or(u64::MAX);
                ensure(open.len() as u64 <= limit, || format!("entry {at}: {limit} were wanted at most"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Requests of INVOCATION count 1, 2, 3 in each session.
pub(super) fn sequential_ids(log: &Log) -> Checked {
    let mut last: BTreeMap<usize, u64> = BTreeMap::new();
    for (at, life, message) in log.heard().filter(|(_, _, message)| message.code() == code::INVOCATION) {
        let before = last.insert(life, message.number(1)).unwrap_or(0);
        ensure(message.number(1) == before + 1, || format!("entry {at} follows INVOCATION {before}"))?;
    }
    Ok(())
}
