//! Sessions that are asked what others may do.

use fanwire::wamp::message::code;

use super::Client;
use crate::chance::Chance;
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
        if authority.registered.contains(&AUTHORIZE) {
            return None;
        }
        authority.registered.push(AUTHORIZE);
        Some(Message(list![code::REGISTER, self.next(chance), dict! {}, AUTHORIZE]))
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
        let request = authority.asked.remove(at).number(1);
        let result = match Answer::ALL[chance.weighted(answers)] {
            Answer::Allow => ruling(true, chance),
            Answer::Deny => ruling(false, chance),
            Answer::Nonsense => nonsense(chance),
            Answer::Fail => {
                let error = ["app.error.failed", "wamp.error.unavailable"][chance.below(2)];
                return Some(Message(list![code::ERROR, code::INVOCATION, request, dict! {}, error]));
            }
            Answer::Never => return None,
        };
        Some(Message(list![code::YIELD, request, dict! {}, list![result]]))
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
