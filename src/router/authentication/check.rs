//! The one thing of authentication that costs too much for a shard: comparing a ticket with what Argon2 has made of
//! one, which takes hundredths of a second on purpose. The shard hands it out, whoever drives the shard has it done
//! elsewhere, and gives back what came of it.

use crate::auth::Secret;
use crate::auth::ticket::Stored;
use crate::router::PeerKey;

/// A ticket that is to be compared.
#[derive(Debug)]
pub struct Check {
    /// Who waits for it.
    key: PeerKey,
    ticket: Secret,
    stored: Stored,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Who waits for it.
    pub key: PeerKey,
    /// What it is.
    pub outcome: Outcome,
}

/// What came of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is the ticket.
    Right,
    /// It is not.
    Wrong,
    /// There was too much to do: nobody has looked.
    Unavailable,
}

impl Check {
    /// Compares that ticket with what is stored, for a peer.
    pub fn new(key: PeerKey, ticket: Secret, stored: Stored) -> Check {
        Check { key, ticket, stored }
    }

    /// Does it.
    pub fn run(self) -> Checked {
        let right = self.ticket.text().is_some_and(|ticket| self.stored.verify(ticket));
        Checked { key: self.key, outcome: if right { Outcome::Right } else { Outcome::Wrong } }
    }

    /// Does not do it.
    pub fn decline(self) -> Checked {
        Checked { key: self.key, outcome: Outcome::Unavailable }
    }
}
