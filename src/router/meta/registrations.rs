//! `wamp.registration.*` (advanced profile, "Registration Meta API"; "Registration Revocation" for `remove_callee`,
//! which the specification's catalog has and its text does not).
//!
//! The directory knows all there is to know; only taking a registration away is done by the shard of the callee. The
//! router's own procedures are no registrations: nobody is registered for them, and none of these names them.

use std::sync::Arc;

use super::procedures::{Arguments, Reply, administers};
use super::round::{Errand, shards_of};
use super::subscriptions::by_policy;
use crate::codec;
use crate::error::Refusal;
use crate::router::Clock;
use crate::router::directory::Registration;
use crate::router::realm::Realm;
use crate::router::session::Session;
use crate::wamp::options::RegisterOptions;
use crate::wamp::{Dict, RegistrationId, SessionId, Value};

/// `wamp.registration.list`: to the identifiers by match policy.
pub(super) fn list(realm: &Realm) -> Result<Reply, Refusal> {
    Ok(by_policy(&realm.directory.registration_ids(), |id| id.0))
}

/// `wamp.registration.lookup`: `[procedure, options?]` to the registration of just this procedure and policy, or null.
pub(super) fn lookup(realm: &Realm, arguments: &Arguments<'_>) -> Result<Reply, Refusal> {
    let procedure = arguments.text(0, "procedure")?;
    let options = arguments.dict(1, "options")?.unwrap_or(Dict::EMPTY);
    let RegisterOptions { match_policy, .. } = codec::options(&options)?;
    let registration = realm.directory.registration_of(procedure, match_policy);
    Ok(Reply::number(registration.map(|registration| registration.id.0)))
}

/// `wamp.registration.match`: `[procedure]` to the registration that answers a call of it, or null.
pub(super) fn matching(realm: &Realm, arguments: &Arguments<'_>) -> Result<Reply, Refusal> {
    let procedure = arguments.text(0, "procedure")?;
    let (_, registration) = realm.directory.registration(procedure);
    Ok(Reply::number(registration.map(|registration| registration.id.0)))
}

/// `wamp.registration.get`: `[registration]` to its details.
pub(super) fn get(realm: &Realm, arguments: &Arguments<'_>) -> Result<Reply, Refusal> {
    let registration = registration(realm, arguments)?;
    let created = Clock::utc(registration.created);
    let pairs = [
        ("id", Value::Unsigned(registration.id.0)),
        ("created", Value::text(&created)),
        ("uri", Value::text(&registration.procedure)),
        ("match", Value::text(registration.policy.name())),
        ("invoke", Value::text(registration.invoke.name())),
    ];
    Ok(Reply::value(Value::Dict(Dict::Pairs(&pairs))))
}

/// `wamp.registration.list_callees`: `[registration]` to the sessions of its callees, in the order of registering.
pub(super) fn list_callees(realm: &Realm, arguments: &Arguments<'_>) -> Result<Reply, Refusal> {
    Ok(Reply::list(registration(realm, arguments)?.callees.iter().map(|callee| callee.session.0)))
}

/// `wamp.registration.count_callees`: `[registration]` to the number of its callees.
pub(super) fn count_callees(realm: &Realm, arguments: &Arguments<'_>) -> Result<Reply, Refusal> {
    Ok(Reply::number(Some(registration(realm, arguments)?.callees.len() as u64)))
}

/// `wamp.registration.remove_callee`: `[registration, session]`, and `reason` as a keyword argument. Calls that the
/// callee has not answered yet it may still answer, as after UNREGISTER.
pub(super) fn remove_callee(
    realm: &Realm,
    session: &Session,
    arguments: &Arguments<'_>,
) -> Result<Reply, Refusal> {
    administers(session)?;
    let registration = RegistrationId(arguments.id(0, "registration")?);
    let callee = SessionId(arguments.id(1, "session")?);
    let reason = arguments.keyword_text("reason")?.map(Into::into);
    let callee = realm.member(callee).ok_or(Refusal::NoSuchSession)?;
    let shards = shards_of(std::slice::from_ref(&callee));
    Ok(Reply::Round(shards, Errand::RemoveCallee { registration, callee, reason, removed: false }))
}

fn registration(realm: &Realm, arguments: &Arguments<'_>) -> Result<Arc<Registration>, Refusal> {
    let id = RegistrationId(arguments.id(0, "registration")?);
    realm
        .directory
        .registration_by_id(id)
        .map(|(_, registration)| registration)
        .ok_or(Refusal::NoSuchRegistration)
}
