//! Tickets: what a client has sent may be a token, the ticket of a principal, or something that only a procedure can
//! judge.

use std::sync::Arc;

use super::attempt::wanted;
use super::{Answer, Attempt, Check, Dynamic, Jwt, Place, Proved, Question, Refused};
use crate::auth::Secret;
use crate::auth::jwt::{self, TokenError};
use crate::auth::ticket::TICKET_BYTES_MAX;
use crate::error::JoinFailure;
use crate::router::PeerKey;

/// Who vouches for those with a token.
pub(super) const TOKENS: &str = "jwt";

impl Attempt {
    /// Takes a ticket.
    pub(super) fn on_ticket(
        &self,
        key: PeerKey,
        ticket: &str,
        dynamic: Option<&Arc<Dynamic>>,
        place: &Place<'_>,
    ) -> Answer {
        let token = match place.realm.jwt.as_ref().map(|settings| self.bearer(settings, ticket, place)) {
            Some(Ok(proved)) => return wanted(&self.claim, proved).into(),
            Some(Err(Refused { failure: JoinFailure::Token, token, .. })) => token,
            Some(Err(refused)) => return Answer::Refuse(refused),
            None => None,
        };
        // No ticket is that long, and whoever knows nothing would fill the queue of who judges them.
        if ticket.len() > TICKET_BYTES_MAX {
            return Answer::Refuse(JoinFailure::WrongSecret.into());
        }
        if let Some(dynamic) = dynamic.cloned() {
            let (named, session) = (self.named, self.session);
            let (claim, ticket) = (self.claim.clone(), Some(Secret::from(ticket)));
            return Answer::Ask(Box::new(Question { dynamic, named, claim, ticket, session }));
        }
        let stored = self.who.as_ref().and_then(|who| who.principal.ticket.as_ref());
        let refused = match stored {
            Some(stored) if stored.is_costly() => {
                return Answer::Check(Check::new(key, place.guesser(), Secret::from(ticket), stored.clone()));
            }
            stored => match self.proved(stored.is_some_and(|stored| stored.verify(ticket))) {
                Ok(proved) => return Answer::Join(proved),
                Err(refused) => refused,
            },
        };
        match token {
            Some(error) if error != TokenError::Malformed || stored.is_none() => {
                Answer::Refuse(Refused { token, ..JoinFailure::Token.into() })
            }
            _ => Answer::Refuse(refused),
        }
    }

    /// Whom a token was issued to, if it is a good one.
    fn bearer(&self, settings: &Jwt, token: &str, place: &Place<'_>) -> Result<Proved, Refused> {
        let refused = |error| Refused { token: Some(error), ..JoinFailure::Token.into() };
        let verified = jwt::verify(token, &settings.keys, &settings.expected, place.unix_ms / 1000);
        let bearer = verified.map_err(refused)?;
        if self.claim.authid.as_deref().is_some_and(|authid| *authid != *bearer.authid) {
            return Err(refused(TokenError::Authid));
        }
        let known = place.realm.principals.named(&bearer.authid);
        let role = match &bearer.role {
            Some(name) => settings.roles.iter().find(|role| role.name == *name).cloned(),
            None => known.and_then(|known| known.role.clone()).or_else(|| settings.default_role.clone()),
        };
        Ok(Proved {
            authid: Some(bearer.authid.into()),
            role: role.ok_or(JoinFailure::NoSuchRole)?,
            authmethod: self.named.name,
            authprovider: TOKENS,
            proof: self.named.method,
            extra: None,
            principal: None,
            verifier: None,
            session: Some(self.session),
        })
    }
}
