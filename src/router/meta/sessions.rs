//! `wamp.session.*` but for the testaments: who is in the realm, who joins and leaves, and ending the sessions of
//! others (advanced profile, "Session Meta API").
//!
//! Every session may look; only roles that administer may kill, and change details. The specification says of
//! `kill_all` that nobody is left to receive what it causes; its caller is left, and so receives it if subscribed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::procedures::{Arguments, Reply, administers};
use super::round::{Errand, Farewell, Told, shards_of};
use crate::codec;
use crate::codec::payload::{self, OwnedPayload};
use crate::error::Refusal;
use crate::limits::Limits;
use crate::router::directory::Record;
use crate::router::letter::Letter;
use crate::router::realm::{Member, Realm};
use crate::router::session::{Identity, Session};
use crate::router::{Context, arguments};
use crate::wamp::{Dict, Serializer, SessionId, Value, reason};

/// What was said about a session by `wamp.session.modify_details`: names, and each value as the one argument of a
/// payload.
pub type Details = BTreeMap<Box<str>, OwnedPayload>;

/// The same for names of which something else is said, or no longer anything.
pub type DetailChanges = BTreeMap<Box<str>, Option<OwnedPayload>>;

// Events.

/// A session has joined: recorded before anything it does.
pub(in crate::router) fn joined(realm: &Realm, cx: &mut Context<'_>, identity: &Arc<Identity>) {
    record(realm, cx, || Record::SessionJoined { identity: identity.clone() });
}

/// A session has left, and all it had is gone.
pub(in crate::router) fn left(realm: &Realm, cx: &mut Context<'_>, identity: &Arc<Identity>) {
    record(realm, cx, || Record::SessionLeft { identity: identity.clone() });
}

fn record(realm: &Realm, cx: &mut Context<'_>, record: impl FnOnce() -> Record) {
    if realm.directory.record(record) {
        cx.letters.post(realm.home, Letter::Meta { realm: realm.key });
    }
}

/// The arguments of `wamp.session.on_join`.
pub(super) fn on_join(identity: &Identity) -> OwnedPayload {
    arguments(&[Value::Dict(Dict::Pairs(&pairs(identity)))])
}

/// The arguments of `wamp.session.on_leave`.
pub(super) fn on_leave(identity: &Identity) -> OwnedPayload {
    let Identity { session, authid, role, .. } = identity;
    arguments(&[Value::Unsigned(session.0), Value::text(authid), Value::text(&role.name)])
}

fn pairs(identity: &Identity) -> [(&str, Value<'_>); 5] {
    [
        ("session", Value::Unsigned(identity.session.0)),
        ("authid", Value::text(&identity.authid)),
        ("authrole", Value::text(&identity.role.name)),
        ("authmethod", Value::text(identity.authmethod)),
        ("authprovider", Value::text(identity.authprovider)),
    ]
}

// Questions.

/// `wamp.session.count`: `[filter_authroles: list?]` to the number of sessions.
pub(super) fn count(realm: &Realm, arguments: &Arguments<'_>) -> Result<Reply, Refusal> {
    let count = match authroles(arguments)? {
        None => realm.session_count(),
        Some(roles) => realm.count_sessions(|identity| roles.contains(&identity.role.name)),
    };
    Ok(Reply::number(Some(count as u64)))
}

/// `wamp.session.list`: `[filter_authroles: list?]` to the identifiers of the sessions.
pub(super) fn list(realm: &Realm, arguments: &Arguments<'_>) -> Result<Reply, Refusal> {
    let roles = authroles(arguments)?;
    let wanted = |identity: &Identity| roles.as_ref().is_none_or(|roles| roles.contains(&identity.role.name));
    Ok(Reply::list(realm.session_ids(wanted).iter().map(|session| session.0)))
}

/// The first argument as a list of roles; without one all are taken.
fn authroles(arguments: &Arguments<'_>) -> Result<Option<BTreeSet<String>>, Refusal> {
    const WRONG: Refusal = Refusal::InvalidArgument("filter_authroles");
    let roles = match arguments.value(0) {
        None => return Ok(None),
        Some(Value::List(roles)) => roles,
        Some(_) => return Err(WRONG),
    };
    let text = |role| if let Value::Text(role) = role { Ok(role.into_owned()) } else { Err(WRONG) };
    codec::items(roles).map(text).collect::<Result<_, _>>().map(Some)
}

/// `wamp.session.get`: `[session]` to its details.
pub(super) fn get(realm: &Realm, arguments: &Arguments<'_>) -> Result<Reply, Refusal> {
    let session = SessionId(arguments.id(0, "session")?);
    let member = realm.member(session).ok_or(Refusal::NoSuchSession)?;
    let details = realm.details(session);
    let mut pairs = pairs(&member.identity).to_vec();
    pairs.extend(details.iter().map(|(name, value)| (&**name, only_value(value))));
    Ok(Reply::value(Value::Dict(Dict::Pairs(&pairs))))
}

fn only_value(payload: &OwnedPayload) -> Value<'_> {
    match payload::values(payload.borrow()) {
        (Value::List(values), _) => codec::items(&values).next().unwrap_or(Value::Null),
        _ => Value::Null,
    }
}

// What changes others.

/// `wamp.session.kill`: `[session]`. One's own session is none of those that can be named.
pub(super) fn kill(
    realm: &Realm,
    session: &Session,
    limits: &Limits,
    arguments: &Arguments<'_>,
) -> Result<Reply, Refusal> {
    administers(session)?;
    let victim = SessionId(arguments.id(0, "session")?);
    let farewell = farewell(realm, limits, arguments)?;
    let victim = realm.member(victim).filter(|_| victim != session.id).ok_or(Refusal::NoSuchSession)?;
    Ok(killing(vec![victim], farewell, Told::Nothing))
}

/// `wamp.session.kill_by_authid`: `[authid]` to the identifiers of those killed.
pub(super) fn kill_by_authid(
    realm: &Realm,
    session: &Session,
    limits: &Limits,
    arguments: &Arguments<'_>,
) -> Result<Reply, Refusal> {
    administers(session)?;
    let authid = arguments.text(0, "authid")?;
    let farewell = farewell(realm, limits, arguments)?;
    let victims = realm.members(|other| *other.authid == *authid && other.session != session.id);
    Ok(killing(victims, farewell, Told::List))
}

/// `wamp.session.kill_by_authrole`: `[authrole]` to the number of those killed.
pub(super) fn kill_by_authrole(
    realm: &Realm,
    session: &Session,
    limits: &Limits,
    arguments: &Arguments<'_>,
) -> Result<Reply, Refusal> {
    administers(session)?;
    let authrole = arguments.text(0, "authrole")?;
    let farewell = farewell(realm, limits, arguments)?;
    let victims = realm.members(|other| other.role.name == authrole && other.session != session.id);
    Ok(killing(victims, farewell, Told::Count))
}

/// `wamp.session.kill_all`: to the number of those killed.
pub(super) fn kill_all(
    realm: &Realm,
    session: &Session,
    limits: &Limits,
    arguments: &Arguments<'_>,
) -> Result<Reply, Refusal> {
    administers(session)?;
    let farewell = farewell(realm, limits, arguments)?;
    Ok(killing(realm.members(|other| other.session != session.id), farewell, Told::Count))
}

fn killing(victims: Vec<Member>, farewell: Farewell, told: Told) -> Reply {
    Reply::Round(shards_of(&victims), Errand::Kill { victims, farewell, killed: Vec::new(), told })
}

/// What the killed are told: `reason` and `message` of the keyword arguments. A reason that is no text is no URI.
fn farewell(realm: &Realm, limits: &Limits, arguments: &Arguments<'_>) -> Result<Farewell, Refusal> {
    let reason = match arguments.keyword("reason") {
        None => reason::KILLED.into(),
        Some(Value::Text(reason)) if reason.len() <= limits.uri_bytes_max && realm.uri_check.uri(&reason) => {
            reason.into()
        }
        Some(_) => return Err(Refusal::InvalidUri),
    };
    let message = arguments.keyword_text("message")?.map(Into::into);
    Ok(Farewell { reason, message })
}

/// `wamp.session.modify_details`: `[session, details]`, as nexus has it. What is null is taken away, all else is shown
/// by `wamp.session.get` from now on. Who a session is has been settled when it joined, so the names under which that
/// stands are refused.
pub(super) fn modify_details(
    realm: &Realm,
    session: &Session,
    limits: &Limits,
    arguments: &Arguments<'_>,
) -> Result<Reply, Refusal> {
    administers(session)?;
    let other = SessionId(arguments.id(0, "session")?);
    let details = arguments.dict(1, "details")?.ok_or(Refusal::InvalidArgument("details"))?;
    let bytes_max = limits.session_details_bytes_max;
    realm.change_details(other, detail_changes(&details, bytes_max)?, bytes_max)?;
    Ok(Reply::Now(OwnedPayload::EMPTY))
}

/// Reads what is to be said of a session. What would be too much by itself is refused before it is all copied.
fn detail_changes(details: &Dict<'_>, bytes_max: usize) -> Result<DetailChanges, Refusal> {
    let mut changes = DetailChanges::new();
    let mut bytes = 0;
    for (name, value) in codec::entries(details) {
        if OWN_DETAILS.contains(&&*name) {
            return Err(Refusal::InvalidArgument("details"));
        }
        let value = if let Value::Null = value { None } else { Some(detail(value)?) };
        bytes += value.as_ref().map_or(name.len(), |value| detail_bytes(&name, value));
        if bytes > bytes_max {
            return Err(Refusal::Unavailable);
        }
        changes.insert(name.into(), value);
    }
    Ok(changes)
}

/// A detail as it is kept. Everybody may look at it, so what some serializer has no form for is refused: keys that are
/// no texts have none in JSON, which is the narrowest of them.
fn detail(value: Value<'_>) -> Result<OwnedPayload, Refusal> {
    let written = |serializer| OwnedPayload::from_values(serializer, std::slice::from_ref(&value), &[]);
    written(Serializer::Json).map_err(|_| Refusal::InvalidArgument("details"))?;
    Ok(written(Serializer::MessagePack).expect("MessagePack has a form for every value"))
}

/// About what a detail takes.
pub fn detail_bytes(name: &str, value: &OwnedPayload) -> usize {
    name.len() + value.borrow().bytes().len() + ENTRY_BYTES
}

/// What the router itself says of a session.
const OWN_DETAILS: [&str; 6] = ["session", "authid", "authrole", "authmethod", "authprovider", "transport"];

/// About what a detail takes beside its name and value.
const ENTRY_BYTES: usize = 64;
