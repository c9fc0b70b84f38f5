//! A client that proves who it is.

use super::Client;
use crate::doors::Manner;
use crate::item::{Item, Message};
use crate::list;

impl Client {
    /// What HELLO says of who it is.
    pub(super) fn introduce(&self, details: &mut Item) {
        if let Some(login) = &self.login {
            details.set("authmethods", list![login.method]);
            details.set("authid", login.authid.as_str());
        }
    }

    /// CHALLENGE came.
    pub(super) fn challenged(&mut self, message: &Message) {
        let text = message.entry(2, "challenge").and_then(Item::text);
        self.challenge = Some(text.unwrap_or_default().to_owned());
    }

    /// True if it was asked and has not decided what to do.
    pub fn is_challenged(&self) -> bool {
        self.challenge.is_some()
    }

    /// What it does now that it was asked, and what it would answer; once.
    pub fn prove(&mut self) -> Option<(Manner, String)> {
        let (challenge, login) = (self.challenge.take()?, self.login.as_ref()?);
        Some((login.manner, login.proof(&challenge)))
    }
}
