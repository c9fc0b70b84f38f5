//! Who joins where not everybody may: who has proved who it is, and nobody else; everybody is told in time.

use std::collections::{BTreeMap, BTreeSet};

use fanwire::wamp::message::code;

use super::meta::arguments;
use super::{Checked, ensure};
use crate::doors::{is_known, secret, signature};
use crate::item::{Item, Message};
use crate::log::{Log, What};

/// What an authority has said of those who are about to join, by the session that each was to have: its secret, if it
/// is to prove more.
fn introduced(log: &Log) -> BTreeMap<u64, Option<String>> {
    let mut asked: BTreeMap<(usize, u64), u64> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for entry in log.entries.iter().filter(|entry| log.is_authority(entry.life)) {
        match &entry.what {
            What::Heard(message) if message.code() == code::INVOCATION => {
                let session = joining(message).and_then(|details| details.entry("session")?.number());
                session.map(|session| asked.insert((entry.life, message.number(1)), session));
            }
            What::Said(message) if message.code() == code::YIELD => {
                let Some(session) = asked.get(&(entry.life, message.number(1))) else { continue };
                let Some(result) = arguments(message).first() else { continue };
                let role = result.text().or_else(|| result.entry("role")?.text());
                if role == Some("anonymous") && result.entry("realm").is_none() {
                    let secret = result.entry("secret").and_then(Item::text);
                    found.insert(*session, secret.map(str::to_owned));
                }
            }
            _ => {}
        }
    }
    found
}

/// What an authenticator is told of who is about to join.
pub fn joining(invocation: &Message) -> Option<&Item> {
    let [Item::Text(_), _, details] = arguments(invocation) else { return None };
    Some(details)
}

/// A challenge of a life, and its first answer.
#[derive(Default)]
struct Exchange {
    challenged: Option<usize>,
    challenge: String,
    /// Where it was said, and what.
    answer: Option<(usize, String)>,
}

impl Exchange {
    fn proves(&self, method: &str, secret: &str, before: usize) -> bool {
        let right = if method == "ticket" { secret.to_owned() } else { signature(secret, &self.challenge) };
        self.challenged.is_some() && self.answer.as_ref().is_some_and(|(at, a)| *at < before && *a == right)
    }
}

/// By life.
fn exchanges(log: &Log) -> Result<BTreeMap<usize, Exchange>, String> {
    let mut found: BTreeMap<usize, Exchange> = BTreeMap::new();
    for (at, entry) in log.entries.iter().enumerate() {
        match &entry.what {
            What::Heard(message) if message.code() == code::CHALLENGE => {
                let exchange = found.entry(entry.life).or_default();
                ensure(exchange.challenged.is_none(), || format!("entry {at}: a second challenge"))?;
                exchange.challenged = Some(at);
                let challenge = message.entry(2, "challenge").and_then(Item::text);
                exchange.challenge = challenge.unwrap_or_default().to_owned();
            }
            What::Said(message) if message.code() == code::AUTHENTICATE => {
                let answer = (at, message.text(1).to_owned());
                found.entry(entry.life).or_default().answer.get_or_insert(answer);
            }
            _ => {}
        }
    }
    Ok(found)
}

/// WELCOME goes to who has proved that it is who it says, or for whom an authority has spoken, and says who that is.
pub(super) fn proved_first(log: &Log) -> Checked {
    if log.doors.is_empty() {
        return Ok(());
    }
    let (introduced, exchanges) = (introduced(log), exchanges(log)?);
    for (at, life, welcome) in log.heard().filter(|(_, _, message)| message.code() == code::WELCOME) {
        let (whose, session) = (&log.lives[life], introduced.get(&welcome.number(1)));
        let Some(door) = log.door(whose.realm).filter(|_| !whose.authority) else { continue };
        let nothing = Exchange::default();
        let exchange = exchanges.get(&life).unwrap_or(&nothing);
        let Some(login) = &whose.login else {
            ensure(!door.asks_always || session.is_some(), || format!("entry {at}: who is {life}?"))?;
            continue;
        };
        let proved = match (is_known(&login.authid), session) {
            (true, _) => exchange.proves(login.method, &secret(&login.authid), at),
            (false, Some(Some(secret))) => exchange.proves(login.method, secret, at),
            (false, Some(None)) => login.method == "ticket" && exchange.answer.is_some(),
            (false, None) => false,
        };
        ensure(proved, || format!("entry {at}: {life} has not proved that it is {login:?}"))?;
        let said = |key| welcome.entry(2, key).and_then(Item::text);
        let fits = said("authid") == Some(&login.authid) && said("authmethod") == Some(login.method);
        ensure(fits, || format!("entry {at}: {login:?} is called {:?}", said("authid")))?;
    }
    Ok(())
}

/// Who is known and has given the right answer is not told that it was wrong.
pub(super) fn right_if_proved(log: &Log) -> Checked {
    if log.doors.is_empty() {
        return Ok(());
    }
    let exchanges = exchanges(log)?;
    for (at, life, abort) in log.heard().filter(|(_, _, message)| message.code() == code::ABORT) {
        let (Some(login), Some(exchange)) = (&log.lives[life].login, exchanges.get(&life)) else { continue };
        let right = is_known(&login.authid) && exchange.proves(login.method, &secret(&login.authid), at);
        let wrong = abort.entry(1, "message").and_then(Item::text) == Some("Authentication failed.");
        ensure(!(wrong && right), || format!("entry {at}: the answer of {life} was right"))?;
    }
    Ok(())
}

/// Who has said HELLO is answered, and who was asked something is welcomed or gone in time.
pub(super) fn joins_end(log: &Log) -> Checked {
    if log.doors.is_empty() {
        return Ok(());
    }
    let (handled, departures, times) = (log.handled(), log.departures(), log.times());
    let mut hellos: BTreeMap<usize, usize> = BTreeMap::new();
    let mut asked: BTreeMap<usize, u64> = BTreeMap::new();
    let mut welcomed = BTreeSet::new();
    for (at, entry) in log.entries.iter().enumerate() {
        let life = entry.life;
        match &entry.what {
            What::Said(message) if message.code() == code::HELLO => drop(hellos.entry(life).or_insert(at)),
            What::Heard(message) if message.code() == code::CHALLENGE => {
                asked.insert(life, times[at]);
            }
            What::Heard(message) if message.code() == code::WELCOME => drop(welcomed.insert(life)),
            What::Quiet { .. } => {
                let gone = |life: &usize| departures[*life].is_some_and(|departure| departure.at < at);
                let open = hellos.iter().filter(|(life, _)| !welcomed.contains(*life) && !gone(life));
                for (life, hello) in open {
                    let Some(door) = log.door(log.lives[*life].realm) else { continue };
                    let said = handled[*hello].1.is_some_and(|by| by < at);
                    let since = asked.get(life);
                    ensure(!said || since.is_some(), || format!("{life} has not been answered at {at}"))?;
                    // A ticket is judged by an authority when it has come, which may take as long again.
                    let late = since.is_some_and(|since| times[at] > since + 2 * door.challenge_ms);
                    ensure(!late, || format!("{life} is still there at {at}"))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
