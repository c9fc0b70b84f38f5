//! Calls: one answer each, invocations that count, interruptions with a cause.

use std::collections::{BTreeMap, BTreeSet};

use fanwire::wamp::message::code;
use fanwire::wamp::{MatchPolicy, reason};

use super::{Checked, Grant, REMOVE_CALLEE, ensure, forces, granted_first, revocation, silent_after_revoked};
use crate::item::{Item, Message, Tag};
use crate::log::{Log, What, is_hurried, is_last, option, policy};
use crate::naive::matches;

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
    let mut calls: BTreeMap<(usize, u64), usize> = BTreeMap::new();
    for (at, life, message) in log.said().filter(|(_, _, message)| message.code() == code::CALL) {
        calls.entry((life, message.number(1))).or_insert(at);
    }
    let mut answers: BTreeMap<(usize, u64), usize> = BTreeMap::new();
    for (at, life, message) in log.heard() {
        let request = match message.code() {
            code::RESULT => message.number(1),
            code::ERROR if message.number(1) == code::CALL => message.number(2),
            _ => continue,
        };
        ensure(calls.contains_key(&(life, request)), || format!("entry {at} answers no CALL"))?;
        if is_part(message) {
            let over = answers.get(&(life, request));
            ensure(over.is_none(), || format!("entry {at} goes on after the answer of {over:?}"))?;
            continue;
        }
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

/// True of a RESULT or YIELD after which more comes.
fn is_part(message: &Message) -> bool {
    matches!(message.code(), code::RESULT | code::YIELD) && option(message, "progress", false)
}

/// The call that an answer of a callee is for, as it says itself.
fn call_of(answer: &Message) -> Option<Tag> {
    let arguments = answer.payload().first()?.list()?;
    let (life, sequence) = (arguments.get(3)?.number()?, arguments.get(4)?.number()?);
    Some(Tag { life: life as usize, sequence })
}

/// The calls for which callees were unavailable, so that others may be asked, and where they said so.
pub(super) fn declined(log: &Log) -> BTreeMap<Tag, Vec<usize>> {
    let mut declined: BTreeMap<Tag, Vec<usize>> = BTreeMap::new();
    for (at, life, message) in log.said().filter(|(_, _, message)| message.code() == code::ERROR) {
        if let Some(call) = call_of(message)
            && log.lives[life].reroutes
            && message.text(4) == reason::UNAVAILABLE
        {
            declined.entry(call).or_default().push(at);
        }
    }
    declined
}

/// No other callee is asked after a progressive result, or after a further part; if none is left the caller hears that
/// none is available, and only if one was unavailable.
pub(super) fn rerouted_in_time(log: &Log) -> Checked {
    let (declined, further) = (declined(log), log.further_calls());
    let mut begun: BTreeMap<Tag, usize> = BTreeMap::new();
    let mut invoked: BTreeSet<Tag> = BTreeSet::new();
    let mut calls: BTreeMap<(usize, u64), Tag> = BTreeMap::new();
    for (at, entry) in log.entries.iter().enumerate() {
        match &entry.what {
            What::Said(message) if message.code() == code::CALL => {
                let Some(tag) = message.tag().filter(|tag| !further.contains_key(tag)) else { continue };
                calls.insert((entry.life, message.number(1)), tag);
            }
            What::Heard(message) if message.code() == code::RESULT && is_part(message) => {
                call_of(message).map(|call| begun.insert(call, at));
            }
            What::Heard(message) if message.code() == code::INVOCATION => {
                let Some(tag) = message.tag() else { continue };
                if let Some(first) = further.get(&tag) {
                    begun.insert(*first, at);
                } else if !invoked.insert(tag) {
                    let begun = begun.get(&tag);
                    ensure(begun.is_none(), || format!("entry {at}: {tag:?} had begun at {begun:?}"))?;
                }
            }
            What::Heard(message)
                if message.code() == code::ERROR && message.text(4) == reason::NO_AVAILABLE_CALLEE =>
            {
                let call = calls.get(&(entry.life, message.number(2)));
                let fits = call.is_some_and(|call| declined.get(call).is_some_and(|said| said[0] < at));
                ensure(fits, || format!("entry {at}: nobody was unavailable for {call:?}"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Progressive results come to callers that asked for them and from callees that may send them, in the order in which
/// they were yielded, each once, and all before the callee's own last word.
pub(super) fn progress_order(log: &Log) -> Checked {
    let asked: BTreeSet<Tag> = log
        .said()
        .filter(|(_, life, message)| {
            let asks = message.code() == code::CALL && option(message, "receive_progress", false);
            asks && log.lives[*life].progressive
        })
        .filter_map(|(_, _, message)| message.tag())
        .collect();
    let mut yielded: BTreeMap<Tag, Vec<Tag>> = BTreeMap::new();
    for (_, life, message) in log.said().filter(|(_, _, message)| is_part(message)) {
        if let (Some(call), Some(tag)) = (call_of(message), message.tag())
            && log.lives[life].is_progressive_callee()
        {
            yielded.entry(call).or_default().push(tag);
        }
    }
    let mut parts: BTreeMap<Tag, usize> = BTreeMap::new();
    for (at, _, message) in log.heard() {
        let answers = message.code() == code::RESULT
            || (message.code() == code::ERROR && message.number(1) == code::CALL);
        let (Some(call), Some(tag), true) = (call_of(message), message.tag(), answers) else { continue };
        let yielded = yielded.get(&call).map_or(&[][..], Vec::as_slice);
        let part = parts.entry(call).or_default();
        if is_part(message) {
            ensure(asked.contains(&call), || format!("entry {at}: nobody asked for parts"))?;
            ensure(yielded.get(*part) == Some(&tag), || format!("entry {at} is not part {part}"))?;
            *part += 1;
        } else if asked.contains(&call) {
            let before = yielded.iter().filter(|yielded| yielded.sequence < tag.sequence).count();
            ensure(*part == before, || format!("entry {at} comes after {part} parts of {before}"))?;
        }
    }
    Ok(())
}

/// INTERRUPT follows its INVOCATION, goes only to who announced it, only while the invocation is open, and only because
/// its caller canceled the call or left, its time is over, or a part of it or of its result was too large.
pub(super) fn interrupt_open(log: &Log) -> Checked {
    let mut invocations: BTreeMap<(usize, u64), (Tag, Option<usize>)> = BTreeMap::new();
    let (handled, departures) = (log.handled(), log.departures());
    let quiet: Vec<usize> = log.quiet().map(|(at, _)| at).collect();
    let hurried = hurried(log);
    for (at, entry) in log.entries.iter().enumerate().filter(|(_, entry)| !log.is_authority(entry.life)) {
        let life = entry.life;
        match &entry.what {
            What::Heard(message) if message.code() == code::INVOCATION => {
                let tag = message.tag().ok_or_else(|| format!("entry {at} is nobody's"))?;
                invocations.entry((life, message.number(1))).or_insert((tag, None));
            }
            What::Said(message) if message.code() == code::YIELD && !is_part(message) => {
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
                let reason = message.entry(2, "reason").and_then(Item::text).unwrap_or("");
                let caused = match reason {
                    reason::CANCELED => (left && mode == "killnowait") || was_given_up(log, *tag, mode, at),
                    reason::TIMEOUT => mode == "killnowait" && hurried.contains(tag),
                    reason::PAYLOAD_SIZE_EXCEEDED => mode == "killnowait" && came_in_parts(log, *tag, at),
                    _ => false,
                };
                ensure(caused, || format!("entry {at}: nobody gave {tag:?} up"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The calls whose time may be over before they are answered.
fn hurried(log: &Log) -> BTreeSet<Tag> {
    log.said()
        .filter(|(_, _, message)| message.code() == code::CALL && is_hurried(message))
        .filter_map(|(_, _, message)| message.tag())
        .collect()
}

/// True of a callee's last word on an invocation, and of an INTERRUPT after which none is waited for.
fn ends_invocation(message: &Message) -> bool {
    match message.code() {
        code::YIELD => true,
        code::ERROR => message.number(1) == code::INVOCATION,
        code::INTERRUPT => message.entry(2, "mode").and_then(Item::text) == Some("killnowait"),
        _ => false,
    }
}

/// True if a part of that call's result was yielded before that entry, or a further part of the call itself was sent.
fn came_in_parts(log: &Log, call: Tag, before: usize) -> bool {
    let further = log.further_calls();
    log.said().take_while(|(at, ..)| *at < before).any(|(_, _, message)| {
        let yielded = is_part(message) && call_of(message) == Some(call);
        yielded || message.tag().is_some_and(|tag| further.get(&tag) == Some(&call))
    })
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

/// A callee leaves or loses a registration, whose calls others may answer; or has as many invocations open as it may.
pub(super) struct Gone {
    /// Where it says so, or another says that it is to lose it, leaves its realm, or gets the last it may. It was so for
    /// the router when all was quiet at the latest.
    pub(super) at: usize,
    /// The same, or where it has answered one.
    pub(super) until: usize,
    realm: usize,
    policy: MatchPolicy,
    procedure: String,
}

impl Gone {
    /// True if it was a callee of that call.
    pub(super) fn answers(&self, realm: usize, call: &Message) -> bool {
        self.realm == realm && matches(self.policy, &self.procedure, call.text(3))
    }
}

/// Every REGISTER by life and request.
fn registers_asked(log: &Log) -> BTreeMap<(usize, u64), &Message> {
    let mut asked = BTreeMap::new();
    for (_, life, message) in log.said().filter(|(_, _, message)| message.code() == code::REGISTER) {
        asked.entry((life, message.number(1))).or_insert(message);
    }
    asked
}

/// Every REGISTER that was granted, by life and registration.
pub(super) fn registers(log: &Log) -> BTreeMap<(usize, u64), &Message> {
    let asked = registers_asked(log);
    let granted = log.heard().filter(|(_, _, message)| message.code() == code::REGISTERED);
    granted
        .filter_map(|(_, life, message)| {
            Some(((life, message.number(2)), *asked.get(&(life, message.number(1)))?))
        })
        .collect()
}

/// All callees that leave, are removed or displaced, or are full.
pub(super) fn gone(log: &Log) -> Vec<Gone> {
    let (asked, granted) = (registers_asked(log), registers(log));
    let gone = |(at, until): (usize, usize), life: usize, register: &Message| Gone {
        at,
        until,
        realm: log.lives[life].realm,
        policy: policy(register),
        procedure: register.text(3).to_owned(),
    };
    let mut all = Vec::new();
    for (at, life, message) in log.said().filter(|(_, _, message)| message.code() == code::UNREGISTER) {
        all.extend(granted.get(&(life, message.number(2))).map(|register| gone((at, at), life, register)));
    }
    for removal in revocation::removals(log, REMOVE_CALLEE) {
        let (life, at) = (removal.life, removal.at);
        all.extend(granted.get(&(life, removal.id)).map(|register| gone((at, at), life, register)));
    }
    let forced = log.said().filter(|(_, _, message)| forces(message));
    all.extend(forced.map(|(at, life, register)| gone((at, at), life, register)));
    let departures = log.departures();
    for ((life, _), register) in &asked {
        all.extend(
            departures[*life].as_ref().map(|departure| gone((departure.at, departure.at), *life, register)),
        );
    }
    for (life, span) in full(log) {
        let registered = asked.iter().filter(|((of, _), _)| *of == life);
        all.extend(registered.map(|(_, register)| gone(span, life, register)));
    }
    all
}

/// The callees that have as many invocations open as they may, from where to where.
fn full(log: &Log) -> Vec<(usize, (usize, usize))> {
    let Some(open_max) = log.invocations_open_max else { return Vec::new() };
    let mut open: BTreeMap<usize, (BTreeSet<u64>, usize)> = BTreeMap::new();
    let mut full = Vec::new();
    for (at, entry) in log.entries.iter().enumerate() {
        let (requests, since) = open.entry(entry.life).or_default();
        match &entry.what {
            What::Heard(message) if message.code() == code::INVOCATION => {
                requests.insert(message.number(1));
                *since = at;
            }
            What::Said(message) if is_part(message) => {}
            What::Said(message) | What::Heard(message) if ends_invocation(message) => {
                let request = message.number(if message.code() == code::ERROR { 2 } else { 1 });
                if requests.len() >= open_max && requests.contains(&request) {
                    full.push((entry.life, (*since, at)));
                }
                requests.remove(&request);
            }
            _ => {}
        }
    }
    let still = open.into_iter().filter(|(_, (requests, _))| requests.len() >= open_max);
    full.extend(still.map(|(life, (_, since))| (life, (since, usize::MAX - 1))));
    full
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

/// A callee has no more invocations open than its `concurrency`, whether their callers have given them up or not, unless
/// it was told so. Those from before it has left the registration and come again do not count.
pub(super) fn within_concurrency(log: &Log) -> Checked {
    let mut asked: BTreeMap<(usize, u64), u64> = BTreeMap::new();
    let mut limits: BTreeMap<(usize, u64), u64> = BTreeMap::new();
    let mut unregisters: BTreeMap<(usize, u64), u64> = BTreeMap::new();
    let mut open: BTreeMap<(usize, u64), Vec<u64>> = BTreeMap::new();
    let (further, removals) = (log.further_calls(), revocation::removals(log, REMOVE_CALLEE));
    for (at, entry) in log.entries.iter().enumerate().filter(|(_, entry)| !log.is_authority(entry.life)) {
        let life = entry.life;
        match &entry.what {
            What::Said(message) if message.code() == code::REGISTER => {
                if let Some(limit) = message.entry(2, "concurrency").and_then(Item::number) {
                    asked.entry((life, message.number(1))).or_insert(limit);
                }
            }
            What::Said(message) if is_part(message) => {}
            What::Said(message) | What::Heard(message) if ends_invocation(message) => {
                let request = message.number(if message.code() == code::ERROR { 2 } else { 1 });
                for ((_, _), open) in open.iter_mut().filter(|((of, _), _)| *of == life) {
                    open.retain(|known| *known != request);
                }
            }
            What::Heard(message) if message.code() == code::REGISTERED => {
                let registration = (life, message.number(2));
                let limit = asked.get(&(life, message.number(1))).copied();
                let limit = limit.unwrap_or(u64::MAX);
                // Who registers what it has keeps what it had asked for first.
                let known = limits.entry(registration).or_insert(limit);
                // Who was removed and registers again before it knows begins anew.
                if removals.iter().any(|known| known.at < at && (known.life, known.id) == registration) {
                    *known = limit.max(*known);
                    open.remove(&registration);
                }
            }
            What::Said(message) if message.code() == code::UNREGISTER => {
                unregisters.insert((life, message.number(1)), message.number(2));
            }
            // Not before: what it registers until then it still has.
            What::Heard(message) if message.code() == code::UNREGISTERED => {
                let known = unregisters.remove(&(life, message.number(1)));
                if let Some(registration) = revocation::revoked(message).or(known) {
                    limits.remove(&(life, registration));
                    open.remove(&(life, registration));
                }
            }
            What::Heard(message) if message.code() == code::INVOCATION => {
                let registration = (life, message.number(2));
                let tag = message.tag().ok_or_else(|| format!("entry {at} is nobody's"))?;
                if further.contains_key(&tag) {
                    continue;
                }
                let open = open.entry(registration).or_default();
                open.push(message.number(1));
                let limit = limits.get(&registration).copied().unwrap_or(u64::MAX);
                ensure(open.len() as u64 <= limit, || format!("entry {at}: {limit} were wanted at most"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Requests of INVOCATION count 1, 2, 3 in each session, but for further parts of one that was there before.
pub(super) fn sequential_ids(log: &Log) -> Checked {
    let mut last: BTreeMap<usize, u64> = BTreeMap::new();
    let further = log.further_calls();
    for (at, life, message) in log.heard().filter(|(_, _, message)| message.code() == code::INVOCATION) {
        if message.tag().is_some_and(|tag| further.contains_key(&tag)) {
            continue;
        }
        let before = last.insert(life, message.number(1)).unwrap_or(0);
        ensure(message.number(1) == before + 1, || format!("entry {at} follows INVOCATION {before}"))?;
    }
    Ok(())
}

/// All parts of a call reach the callee that got the first, under its request id and with its details, unless the call
/// was over.
pub(super) fn parts_together(log: &Log) -> Checked {
    let further = log.further_calls();
    let mut invocations = BTreeMap::new();
    for (at, life, message) in log.heard().filter(|(_, _, message)| message.code() == code::INVOCATION) {
        let Some(tag) = message.tag() else { continue };
        let invocation = (life, message.number(1), frozen(message));
        match further.get(&tag) {
            None => {
                invocations.insert(tag, invocation);
            }
            Some(first) => {
                let expected = invocations.get(first);
                ensure(expected == Some(&invocation), || {
                    format!("entry {at} does not go on with {first:?}")
                })?;
            }
        }
    }
    Ok(())
}

/// The details of an INVOCATION that are the same for all of its parts.
fn frozen(invocation: &Message) -> Vec<(String, Item)> {
    let Some(Item::Dict(details)) = invocation.0.get(3) else { return Vec::new() };
    details.iter().filter(|(key, _)| key != "progress").cloned().collect()
}
