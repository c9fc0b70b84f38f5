//! Sessions: their beginning and end, and that every request is answered with what belongs to it.

use std::collections::{BTreeMap, BTreeSet};

use fanwire::error::CloseReason;
use fanwire::wamp::message::code;
use fanwire::wamp::{MatchPolicy, reason, uri};

use super::meta::arguments;
use super::{Checked, REALM_CHECKS, REMOVE_CALLEE, REMOVE_SUBSCRIBER, ensure, forces, interests, revoked};
use crate::allowed::may;
use crate::item::{Item, Message};
use crate::log::{Log, What, is_accusation, is_hurried, is_last, option, policy};

/// Nothing comes before WELCOME but ABORT, and nothing after GOODBYE or ABORT.
pub(super) fn last_word(log: &Log) -> Checked {
    let mut welcomed = vec![false; log.lives.len()];
    let mut over = vec![None; log.lives.len()];
    for (at, life, message) in log.heard() {
        ensure(over[life].is_none(), || format!("entry {at} follows the last word in {:?}", over[life]))?;
        match message.code() {
            code::WELCOME => {
                ensure(!welcomed[life], || format!("entry {at}: a second WELCOME"))?;
                welcomed[life] = true;
            }
            code::ABORT | code::CHALLENGE => {}
            _ => ensure(welcomed[life], || format!("entry {at} comes before WELCOME"))?,
        }
        if is_last(message) {
            over[life] = Some(at);
        }
    }
    Ok(())
}

/// A session id belongs to one session. In a realm, a subscription or registration id stands for one pattern and policy,
/// and a pattern and policy with a subscriber has one subscription id.
pub(super) fn ids_name_one_thing(log: &Log) -> Checked {
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
                // Another realm of the same name gives its ids anew.
                ensure(known == name || log.realms_go, || format!("entry {at}: {id:?} was {known:?}"))?;
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
pub(super) fn requests_answered(log: &Log) -> Checked {
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
            What::Heard(message) if revoked(message).is_some() => {}
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
pub(super) fn right_errors(log: &Log) -> Checked {
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
        let realm = log.lives[entry.life].realm;
        if message.code() == code::ERROR {
            let key = (entry.life, message.number(1), message.number(2));
            let asked = asked.get(&key).ok_or_else(|| format!("entry {at} refuses nothing"))?;
            // What authorizers refuse is looked at elsewhere.
            let asked_about = log.guard(realm).is_some()
                && matches!(message.text(4), reason::NOT_AUTHORIZED | reason::AUTHORIZATION_FAILED);
            ensure(asked_about || message.tag().is_some() || fits(message.text(4), asked, realm), || {
                format!("entry {at} refuses {asked}")
            })?;
        } else if let code::SUBSCRIBED | code::REGISTERED | code::PUBLISHED = message.code() {
            let request = message.code() - 1;
            let Some(asked) = asked.get(&(entry.life, request, message.number(1))) else { continue };
            let grantable = [reason::INVALID_URI, reason::NOT_AUTHORIZED];
            ensure(!grantable.iter().any(|error| fits(error, asked, realm)), || {
                format!("entry {at} grants {asked}")
            })?;
        }
    }
    Ok(())
}

/// True if that error of the router's own may answer that request.
fn fits(error: &str, asked: &Message, realm: usize) -> bool {
    let (uri, check) = (asked.text(3), REALM_CHECKS[realm]);
    let is_uri = match asked.code() {
        code::SUBSCRIBE => check.pattern(uri, policy(asked)),
        code::REGISTER => check.pattern(uri, policy(asked)) && !uri::reserved(uri),
        code::PUBLISH => check.uri(uri) && !uri::reserved(uri),
        _ => check.uri(uri),
    };
    let allowed = is_allowed(asked, realm);
    let valid = is_uri && allowed;
    match (error, asked.code()) {
        (reason::INVALID_URI, code::SUBSCRIBE | code::REGISTER | code::PUBLISH | code::CALL) => !is_uri,
        (reason::NOT_AUTHORIZED, _) => is_uri && !allowed,
        (reason::UNAVAILABLE, code::SUBSCRIBE | code::REGISTER | code::CALL) => valid,
        (reason::NO_SUCH_SUBSCRIPTION, code::UNSUBSCRIBE) => true,
        (reason::NO_SUCH_REGISTRATION, code::UNREGISTER) => true,
        (reason::PROCEDURE_ALREADY_EXISTS, code::REGISTER) => valid && !forces(asked),
        (reason::NO_SUCH_SESSION, code::CALL) => {
            ["wamp.session.kill", REMOVE_SUBSCRIBER, REMOVE_CALLEE].contains(&uri)
        }
        (reason::NO_SUCH_SUBSCRIPTION, code::CALL) => uri == REMOVE_SUBSCRIBER,
        (reason::NO_SUCH_REGISTRATION, code::CALL) => uri == REMOVE_CALLEE,
        (reason::NO_SUCH_PROCEDURE | reason::CANCELED | reason::PAYLOAD_SIZE_EXCEEDED, code::CALL) => valid,
        (reason::NO_AVAILABLE_CALLEE, code::CALL) => valid,
        (reason::FEATURE_NOT_SUPPORTED, code::CALL) => option(asked, "progress", false),
        (reason::TIMEOUT, code::CALL) => valid && is_hurried(asked),
        _ => false,
    }
}

/// True if the rules of the realm allow the request; a testament is a PUBLISH.
fn is_allowed(asked: &Message, realm: usize) -> bool {
    let (code, uri) = (asked.code(), asked.text(3));
    let policy = match code {
        code::SUBSCRIBE | code::REGISTER => policy(asked),
        _ => MatchPolicy::Exact,
    };
    let topic = arguments(asked).first().and_then(Item::text);
    match topic.filter(|_| code == code::CALL && uri == "wamp.session.add_testament") {
        Some(topic) => may(realm, code::PUBLISH, topic, policy),
        None => may(realm, code, uri, policy),
    }
}

/// Who breaks the protocol is told and closed; nobody else is accused.
pub(super) fn violations_answered(log: &Log) -> Checked {
    let mut misdeeds: BTreeMap<usize, usize> = BTreeMap::new();
    let mut pending: BTreeMap<usize, usize> = BTreeMap::new();
    let mut over = BTreeSet::new();
    for (at, entry) in log.entries.iter().enumerate() {
        match &entry.what {
            What::Misdeed(_) => {
                misdeeds.insert(entry.life, at);
                // To whom the last word has been said nothing more is.
                if !over.contains(&entry.life) {
                    pending.insert(entry.life, at);
                }
            }
            What::Left | What::Shut | What::Closed(_) => {
                let accused = matches!(entry.what, What::Closed(CloseReason::Violation(_)));
                let guilty = misdeeds.contains_key(&entry.life);
                ensure(guilty || !accused, || format!("entry {at}: {} is honest", entry.life))?;
                pending.remove(&entry.life);
            }
            What::Heard(message) if is_last(message) => {
                over.insert(entry.life);
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
