//! Subscriptions and registrations that others take away: by `wamp.subscription.remove_subscriber`,
//! `wamp.registration.remove_callee`, and REGISTER with `force_reregister`.

use std::collections::{BTreeMap, BTreeSet};

use fanwire::wamp::message::code;
use fanwire::wamp::reason;

use super::meta::{arguments, calls, results};
use super::{Checked, ensure, rpc};
use crate::item::{Item, Message, Tag};
use crate::log::{Log, What, option, policy};

/// Takes a subscription away.
pub const REMOVE_SUBSCRIBER: &str = "wamp.subscription.remove_subscriber";

/// Takes a registration away.
pub const REMOVE_CALLEE: &str = "wamp.registration.remove_callee";

/// The reason that the clients of the simulation give.
pub const REVOKED: &str = "app.revoked.enough";

/// The id that UNSUBSCRIBED or UNREGISTERED without a request takes away.
pub fn revoked(message: &Message) -> Option<u64> {
    let key = match message.code() {
        code::UNSUBSCRIBED => "subscription",
        code::UNREGISTERED => "registration",
        _ => return None,
    };
    message.entry(2, key).filter(|_| message.number(1) == 0)?.number()
}

/// True for a REGISTER that takes the procedure away from others.
pub fn forces(message: &Message) -> bool {
    message.code() == code::REGISTER && option(message, "force_reregister", false)
}

/// Somebody has asked for something to be taken away.
pub struct Removal {
    /// Where that was asked for. It is not done before.
    pub at: usize,
    /// It is done by then, if ever.
    pub by: usize,
    /// Who has asked.
    pub caller: usize,
    /// Who is to lose it.
    pub life: usize,
    pub id: u64,
    /// Who has asked was told that it is done.
    pub granted: bool,
    /// Who has asked was told that there is nothing to be taken away.
    pub refused: bool,
}

/// All that was asked for with one of the two procedures.
pub fn removals(log: &Log, procedure: &str) -> Vec<Removal> {
    let nothing = [reason::NO_SUCH_SUBSCRIPTION, reason::NO_SUCH_REGISTRATION, reason::NO_SUCH_SESSION];
    let refusals = log.heard().filter(|(_, _, message)| {
        (message.code(), message.number(1)) == (code::ERROR, code::CALL) && nothing.contains(&message.text(4))
    });
    let refusals: BTreeSet<_> = refusals.map(|(_, life, refusal)| (life, refusal.number(2))).collect();
    let welcomes = log.heard().filter(|(_, _, message)| message.code() == code::WELCOME);
    let lives: BTreeMap<u64, usize> = welcomes.map(|(_, life, m)| (m.number(1), life)).collect();
    let results = results(log);
    let asked = calls(log, procedure).filter_map(|(at, caller, call)| {
        let [id, session] = arguments(call) else { return None };
        let quiet = log.quiet().map(|(quiet, _)| quiet).find(|quiet| *quiet > at);
        Some(Removal {
            at,
            by: quiet.unwrap_or(usize::MAX),
            caller,
            life: *lives.get(&session.number()?)?,
            id: id.number()?,
            granted: results.contains_key(&(caller, call.number(1))),
            refused: refusals.contains(&(caller, call.number(1))),
        })
    });
    asked.collect()
}

/// A subscription or registration that a life has got or lost, as it was told.
struct Turn {
    at: usize,
    life: usize,
    /// SUBSCRIBED or REGISTERED, whichever way it went.
    granted: u64,
    id: u64,
    /// How it was lost; `None` if it was got.
    lost: Option<Loss>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    Asked,
    Revoked,
}

/// All of them in their order.
fn turns(log: &Log) -> Vec<Turn> {
    let mut asked = BTreeMap::new();
    let mut found = Vec::new();
    for (at, entry) in log.entries.iter().enumerate() {
        let life = entry.life;
        let (message, kind) = match &entry.what {
            What::Said(message) if matches!(message.code(), code::UNSUBSCRIBE | code::UNREGISTER) => {
                asked.insert((life, message.code() + 1, message.number(1)), message.number(2));
                continue;
            }
            What::Heard(message) => (message, message.code()),
            _ => continue,
        };
        let turn = match kind {
            code::SUBSCRIBED | code::REGISTERED => Some((kind, message.number(2), None)),
            code::UNSUBSCRIBED | code::UNREGISTERED => match revoked(message) {
                Some(id) => Some((kind - 2, id, Some(Loss::Revoked))),
                None => {
                    let id = asked.get(&(life, kind, message.number(1)));
                    id.map(|id| (kind - 2, *id, Some(Loss::Asked)))
                }
            },
            _ => None,
        };
        found.extend(turn.map(|(granted, id, lost)| Turn { at, life, granted, id, lost }));
    }
    found
}

/// Who is told that something was taken away had it, has announced that it understands, and somebody has asked for it.
pub(super) fn revoked_if_asked(log: &Log) -> Checked {
    let (subscribers, callees) = (removals(log, REMOVE_SUBSCRIBER), removals(log, REMOVE_CALLEE));
    let registers = rpc::registers(log);
    let forced: Vec<_> = log.said().filter(|(_, _, message)| forces(message)).collect();
    let mut held = BTreeSet::new();
    for Turn { at, life, granted, id, lost } in turns(log) {
        let Some(lost) = lost else {
            held.insert((granted, life, id));
            continue;
        };
        let had = held.remove(&(granted, life, id));
        if lost == Loss::Asked {
            continue;
        }
        ensure(had, || format!("entry {at}: {life} did not have {id}"))?;
        ensure(log.lives[life].revocable, || format!("entry {at}: {life} has not announced that"))?;
        let removals = if granted == code::SUBSCRIBED { &subscribers } else { &callees };
        let removed =
            removals.iter().any(|removal| (removal.life, removal.id) == (life, id) && removal.at < at);
        let displaced = registers.get(&(life, id)).is_some_and(|known| {
            granted == code::REGISTERED
                && forced.iter().any(|(said, by, register)| {
                    *said < at
                        && log.lives[*by].realm == log.lives[life].realm
                        && (policy(register), register.text(3)) == (policy(known), known.text(3))
                })
        });
        let What::Heard(message) = &log.entries[at].what else { continue };
        let reason = message.entry(2, "reason").and_then(Item::text);
        let wanted = if reason == Some(REVOKED) { removed } else { displaced };
        ensure(wanted, || format!("entry {at}: nobody wanted {life} to lose {id} for {reason:?}"))?;
    }
    Ok(())
}

/// When somebody is told that something was taken away, whoever had it and understands is told as well, unless it has
/// registered or unregistered meanwhile.
pub(super) fn revoked_are_told(log: &Log) -> Checked {
    let (turns, departures) = (turns(log), log.departures());
    for (procedure, granted) in [(REMOVE_SUBSCRIBER, code::SUBSCRIBED), (REMOVE_CALLEE, code::REGISTERED)] {
        for Removal { at, by, life, id, .. } in
            removals(log, procedure).into_iter().filter(|removal| removal.granted && removal.by < usize::MAX)
        {
            let stays = departures[life].is_none_or(|departure| departure.at > by);
            let told = turns.iter().any(|turn| {
                (at..by).contains(&turn.at)
                    && (turn.life, turn.granted, turn.id) == (life, granted, id)
                    && (turn.lost == Some(Loss::Revoked) || granted == code::REGISTERED)
            });
            ensure(told || !stays || !log.lives[life].revocable, || {
                format!("{life} was not told by {by} that it has lost {id}, as entry {at} wanted")
            })?;
        }
    }
    Ok(())
}

/// When all is quiet, all that are callees of a procedure as far as they know have one registration of it: who has lost
/// it to another knows that.
pub(super) fn one_registration(log: &Log) -> Checked {
    let (registers, departures) = (rpc::registers(log), log.departures());
    let mut turns = turns(log).into_iter().filter(|turn| turn.granted == code::REGISTERED).peekable();
    let mut held = BTreeSet::new();
    for (quiet, _) in log.quiet() {
        while let Some(Turn { life, id, lost, .. }) = turns.next_if(|turn| turn.at < quiet) {
            if lost.is_some() {
                held.remove(&(life, id))
            } else {
                held.insert((life, id))
            };
        }
        let mut ids = BTreeMap::new();
        for (life, id) in &held {
            let stays = departures[*life].is_none_or(|departure| departure.at > quiet);
            let Some(register) = registers.get(&(*life, *id)) else { continue };
            if !stays || !log.lives[*life].revocable {
                continue;
            }
            let name = (log.lives[*life].realm, policy(register), register.text(3));
            let known = *ids.entry(name).or_insert(*id);
            ensure(known == *id, || format!("{name:?} is {known} and {id} at {quiet}"))?;
        }
    }
    Ok(())
}

/// Who asks for something to be taken away is not told that there is nothing, if a session has it all the time, as far
/// as that knows.
pub(super) fn removed_if_there(log: &Log) -> Checked {
    let (turns, departures) = (turns(log), log.departures());
    for (procedure, granted) in [(REMOVE_SUBSCRIBER, code::SUBSCRIBED), (REMOVE_CALLEE, code::REGISTERED)] {
        let refused = removals(log, procedure).into_iter().filter(|removal| removal.refused);
        for Removal { at, by, life, id, .. } in refused {
            let own =
                |turn: &&Turn| (turn.life, turn.granted, turn.id) == (life, granted, id) && turn.at < by;
            let got = turns.iter().rfind(own).filter(|turn| turn.lost.is_none() && turn.at < at);
            let Some(got) = got else { continue };
            // One that it is giving up may be gone.
            let given_up = log.said().filter(|(said, of, message)| {
                (*of, message.code(), *said < by) == (life, granted + 1, true) && message.number(2) == id
            });
            let answered = turns.iter().filter(own).filter(|turn| turn.lost == Some(Loss::Asked));
            let has = log.lives[life].revocable
                && departures[life].is_none_or(|departure| departure.at > by)
                && given_up.count() == answered.filter(|turn| turn.at < got.at).count();
            ensure(!has, || format!("entry {at} was refused, but {life} had {id} since entry {}", got.at))?;
        }
    }
    Ok(())
}

/// The registrations that others have displaced by force, by realm and id, and where all was quiet afterwards.
fn displaced(log: &Log) -> Vec<(usize, u64, usize)> {
    let grants = log.heard().filter(|(_, _, message)| message.code() == code::REGISTERED);
    let grants: BTreeMap<_, _> =
        grants.map(|(at, life, message)| ((life, message.number(1)), (at, message.number(2)))).collect();
    let (registers, departures) = (rpc::registers(log), log.departures());
    let mut found = Vec::new();
    for (said, life, register) in log.said().filter(|(_, _, message)| forces(message)) {
        let Some(&(granted, id)) = grants.get(&(life, register.number(1))) else { continue };
        let Some((quiet, _)) = log.quiet().find(|(quiet, _)| *quiet > granted) else { continue };
        let realm = log.lives[life].realm;
        for ((of, _), (at, known)) in &grants {
            let same = registers
                .get(&(*of, *known))
                .is_some_and(|other| (policy(other), other.text(3)) == (policy(register), register.text(3)));
            // Another realm of the same name gives its ids anew: this one is there for as long as somebody is in it.
            let stays = departures[*of].is_none_or(|departure| departure.at > granted);
            let here = log.lives[*of].realm == realm && (stays || !log.realms_go);
            if *at < said && *known != id && here && same {
                found.push((realm, *known, quiet));
            }
        }
    }
    found
}

/// When all has been quiet, nobody gets an EVENT or a new INVOCATION for what was taken away, whether it was told or
/// not, unless it was granted again; and nobody at all one for a registration that was displaced.
pub(super) fn silent_once_taken(log: &Log) -> Checked {
    let (further, displaced) = (log.further_calls(), displaced(log));
    for (procedure, granted, used, index) in [
        (REMOVE_SUBSCRIBER, code::SUBSCRIBED, code::EVENT, 1),
        (REMOVE_CALLEE, code::REGISTERED, code::INVOCATION, 2),
    ] {
        let removals: Vec<_> = removals(log, procedure).into_iter().filter(|known| known.granted).collect();
        let mut last: BTreeMap<(usize, u64), usize> = BTreeMap::new();
        for (at, life, message) in log.heard() {
            if message.code() == granted {
                last.insert((life, message.number(2)), at);
            }
            let goes_on = message.tag().is_some_and(|tag: Tag| further.contains_key(&tag));
            if message.code() != used || goes_on {
                continue;
            }
            let id = message.number(index);
            let since = last.get(&(life, id)).copied().unwrap_or(0);
            let removed = removals.iter().any(|removal| {
                (removal.life, removal.id) == (life, id) && since < removal.at && removal.by < at
            });
            // Who has got it since has got that of another realm of the same name.
            let is_displaced = |(realm, known, by): &(usize, u64, usize)| {
                let anew = log.realms_go && *by < since;
                (*realm, *known) == (log.lives[life].realm, id) && *by < at && !anew
            };
            let gone = used == code::INVOCATION && displaced.iter().any(is_displaced);
            ensure(!removed && !gone, || format!("entry {at}: {id} was taken away from {life}"))?;
        }
    }
    Ok(())
}
