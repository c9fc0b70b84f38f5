//! Sessions that are asked what others may do.

use fanwire::wamp::message::code;

use super::Client;
use crate::chance::Chance;
use crate::doors::{AUTHENTICATE, secret};
use crate::guards::{AUTHORIZE, Answer};
use crate::item::{Item, Message};
use crate::{dict, list};

/// What an authority knows besides.
#[derive(Clone, Debug, Default)]
pub struct Authority {
    /// The procedures that it has registered or is about to.
    registered: Vec<&'static str>,
    /// The INVOCATION messages that it has not answered.
    asked: Vec<Message>,
}

impl Client {
    /// True if somebody asks and waits.
    pub fn is_asked(&self) -> bool {
        self.authority.as_ref().is_some_and(|authority| !authority.asked.is_empty())
    }

    /// An INVOCATION for an authority; false if it is none.
    pub(super) fn is_consulted(&mut self, invocation: &Message) -> bool {
        let Some(authority) = &mut self.authority else { return false };
        authority.asked.push(invocation.clone());
        true
    }

    /// Registers what it has not registered yet.
    pub fn offer(&mut self, chance: &mut Chance) -> Option<Message> {
        let authority = self.authority.as_mut()?;
        let mut offered = [AUTHORIZE, AUTHENTICATE].into_iter();
        let procedure = offered.find(|procedure| !authority.registered.contains(procedure))?;
        authority.registered.push(procedure);
        Some(Message(list![code::REGISTER, self.next(chance), dict! {}, procedure]))
    }

    /// Gives up what it has registered; it may register it again.
    pub fn retire(&mut self, chance: &mut Chance) -> Option<Message> {
        let registration = self.registrations.pop()?;
        self.authority.as_mut()?.registered.clear();
        Some(Message(list![code::UNREGISTER, self.next(chance), registration]))
    }

    /// Answers something that it was asked, or decides never to.
    pub fn judge(&mut self, answers: &[usize; Answer::ALL.len()], chance: &mut Chance) -> Option<Message> {
        let authority = self.authority.as_mut()?;
        if authority.asked.is_empty() {
            return None;
        }
        let at = if chance.percent(80) { 0 } else { chance.below(authority.asked.len()) };
        let asked = authority.asked.remove(at);
        let (request, answer) = (asked.number(1), Answer::ALL[chance.weighted(answers)]);
        let joins = joining(&asked);
        let result = match (answer, &joins) {
            (Answer::Allow, Some(joins)) if joins.is_right => joins.introduction(chance),
            (Answer::Allow | Answer::Deny, Some(_)) => {
                return Some(Message(list![code::ERROR, code::INVOCATION, request, dict! {}, NOT_YOU]));
            }
            (Answer::Nonsense, Some(_)) => confusion(chance),
            (Answer::Allow, None) => ruling(true, chance),
            (Answer::Deny, None) => ruling(false, chance),
            (Answer::Nonsense, None) => nonsense(chance),
            (Answer::Fail, _) => {
                let error = ["app.error.failed", "wamp.error.unavailable"][chance.below(2)];
                return Some(Message(list![code::ERROR, code::INVOCATION, request, dict! {}, error]));
            }
            (Answer::Never, _) => return None,
        };
        Some(Message(list![code::YIELD, request, dict! {}, list![result]]))
    }
}

/// The error by which an authority refuses whom it knows.
const NOT_YOU: &str = "app.error.not_you";

/// Somebody who is about to join.
struct Joining<'a> {
    method: &'a str,
    authid: &'a str,
    /// Its ticket is its own, if it has one.
    is_right: bool,
}

fn joining(invocation: &Message) -> Option<Joining<'_>> {
    let [_, _, details] = invocation.payload().first()?.list()? else { return None };
    let method = details.entry("authmethod")?.text()?;
    let authid = details.entry("authid").and_then(Item::text).unwrap_or_default();
    let ticket = details.entry("ticket").and_then(Item::text);
    Some(Joining { method, authid, is_right: ticket.is_none_or(|ticket| ticket == secret(authid)) })
}

impl Joining<'_> {
    /// Who it is; now and then with another secret than it has.
    fn introduction(&self, chance: &mut Chance) -> Item {
        match self.method {
            "wampcra" => {
                let secret = if chance.percent(90) { secret(self.authid) } else { "another".to_owned() };
                dict! { "role": "anonymous", "secret": secret }
            }
            _ if chance.percent(50) => Item::from("anonymous"),
            _ => dict! { "role": "anonymous", "authid": self.authid, "extra": dict! { "a": 1 } },
        }
    }
}

/// What lets nobody join.
fn confusion(chance: &mut Chance) -> Item {
    match chance.below(5) {
        0 => Item::Null,
        1 => dict! { "role": 7 },
        2 => Item::from("nobody"),
        3 => dict! { "role": "anonymous", "authid": 7 },
        _ => dict! { "role": "anonymous", "realm": "nowhere" },
    }
}

fn ruling(allow: bool, chance: &mut Chance) -> Item {
    match chance.below(4) {
        0 => Item::from(allow),
        1 => dict! { "allow": allow },
        2 => dict! { "allow": allow, "cache": true, "disclose": false },
        _ => dict! { "cache": chance.percent(50), "allow": allow, "disclose": true },
    }
}

fn nonsense(chance: &mut Chance) -> Item {
    match chance.below(5) {
        0 => Item::Null,
        1 => Item::from("true"),
        2 => dict! { "allow": 1 },
        3 => dict! { "cache": true },
        _ => dict! { "allow": true, "validate": "something" },
    }
}
