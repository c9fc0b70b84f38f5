//! `wamp.authorization.purge`: forgetting what authorizers have said. Neither the specification nor Crossbar.io has it.
//!
//! Its name stands below `wamp.`, since nobody can register anything there, and since rules allow only by name what
//! they do not know to be harmless. So a role that may call everything does not purge.

use super::procedures::{Arguments, Reply, administers};
use super::round::Errand;
use crate::error::Refusal;
use crate::router::authorization::dynamic::Purge;
use crate::router::session::Session;
use crate::wamp::SessionId;

/// `wamp.authorization.purge`: nothing, or `session`, `authrole` and `uri` as keyword arguments, to how many answers
/// are forgotten in all shards. It is about sessions of the caller's realm, and about authorizers in it. Any other
/// argument is refused: whoever means a few answers should not make all be forgotten by a slip of the pen.
pub(super) fn purge(session: &Session, arguments: &Arguments<'_>) -> Result<Reply, Refusal> {
    administers(session)?;
    arguments.only(&["session", "authrole", "uri"])?;
    let text = |name| arguments.keyword_text(name).map(|text| text.map(|text| text.into_owned().into()));
    let whose = match arguments.keyword("session") {
        None => None,
        Some(value) => Some(value.id().ok_or(Refusal::InvalidArgument("session"))?),
    };
    let purge = Purge { session: whose.map(SessionId), authrole: text("authrole")?, uri: text("uri")? };
    Ok(Reply::Everywhere(Errand::PurgeVerdicts { purge, count: 0 }))
}
