//! The procedures of the router itself (advanced profile, "Session Meta API", "Subscription Meta API", "Registration
//! Meta API"): CALL of a URI that begins with `wamp.` comes here and never to a callee.
//!
//! What one shard knows is answered at once, without a place in the table of open calls.

use crate::codec;
use crate::codec::payload::{self, OwnedPayload};
use crate::error::Refusal;
use crate::router::history::query;
use crate::router::shard::LocalRealm;
use crate::router::{Context, PeerKey, arguments};
use crate::wamp::message::{self, Call};
use crate::wamp::{Dict, Message, RequestId, Value};

/// CALL of a reserved URI.
pub(in crate::router) fn on_call(
    realm: &mut LocalRealm,
    cx: &mut Context<'_>,
    key: PeerKey,
    message: &Call<'_>,
) -> Result<(), Refusal> {
    let result = match &*message.procedure {
        "wamp.session.count" => session_count(realm, message)?,
        "wamp.subscription.get_events" => return query::on_call(realm, cx, key, message),
        _ => return Err(Refusal::NoSuchProcedure),
    };
    answer(cx, key, message.request, &result);
    Ok(())
}

/// RESULT.
fn answer(cx: &mut Context<'_>, key: PeerKey, request: RequestId, payload: &OwnedPayload) {
    let result = message::Result { request, details: Dict::EMPTY, payload: payload.borrow() };
    cx.peers.send(key, &Message::Result(result));
}

/// The positional argument at that place; null counts as none.
fn argument<'a>(message: &Call<'a>, place: usize) -> Option<Value<'a>> {
    let Value::List(arguments) = payload::values(message.payload).0 else { return None };
    codec::items(&arguments).nth(place).filter(|value| !matches!(value, Value::Null))
}

/// `wamp.session.count`: `[filter_authroles: list?]` to the number of sessions.
fn session_count(realm: &LocalRealm, message: &Call<'_>) -> Result<OwnedPayload, Refusal> {
    let roles = authroles(message)?;
    let count =
        realm.shared.members().iter().filter(|member| roles.admit(&member.identity.role.name)).count();
    Ok(arguments(&[Value::Unsigned(count as u64)]))
}

/// Which roles a filter takes.
struct Authroles(Option<Vec<String>>);

impl Authroles {
    fn admit(&self, role: &str) -> bool {
        self.0.as_ref().is_none_or(|roles| roles.iter().any(|known| known == role))
    }
}

/// The first argument as a list of roles; without one all are taken.
fn authroles(message: &Call<'_>) -> Result<Authroles, Refusal> {
    const WRONG: Refusal = Refusal::InvalidArgument("filter_authroles");
    let roles = match argument(message, 0) {
        None => return Ok(Authroles(None)),
        Some(Value::List(roles)) => roles,
        Some(_) => return Err(WRONG),
    };
    let text = |role| if let Value::Text(role) = role { Ok(role.into_owned()) } else { Err(WRONG) };
    codec::items(&roles).map(text).collect::<Result<_, _>>().map(|roles| Authroles(Some(roles)))
}
