//! The meta API: what happens in a realm, told as publications, and the procedures of the router itself, a file for
//! each kind of thing they are about (advanced profile, "Session Meta API", "Subscription Meta API", "Registration Meta
//! API", "Session Testament").

pub(in crate::router) mod procedures;
mod registrations;
pub mod round;
pub mod sessions;
mod subscriptions;
pub mod testaments;
mod verdicts;

use super::directory::Record;
use super::{Clock, arguments};
use crate::codec::payload::OwnedPayload;
use crate::wamp::{Dict, Value};

/// The topic a record is published to.
pub fn topic(record: &Record) -> &'static str {
    match record {
        Record::SessionJoined { .. } => "wamp.session.on_join",
        Record::SessionLeft { .. } => "wamp.session.on_leave",
        Record::SubscriptionCreated { .. } => "wamp.subscription.on_create",
        Record::Subscribed { .. } => "wamp.subscription.on_subscribe",
        Record::Unsubscribed { .. } => "wamp.subscription.on_unsubscribe",
        Record::SubscriptionDeleted { .. } => "wamp.subscription.on_delete",
        Record::RegistrationCreated { .. } => "wamp.registration.on_create",
        Record::Registered { .. } => "wamp.registration.on_register",
        Record::Unregistered { .. } => "wamp.registration.on_unregister",
        Record::RegistrationDeleted { .. } => "wamp.registration.on_delete",
    }
}

/// Its arguments: the session that caused it, and what was created with its attributes, or just its identifier.
pub fn payload(record: &Record) -> OwnedPayload {
    let (session, subject) = match record {
        Record::SessionJoined { identity } => return sessions::on_join(identity),
        Record::SessionLeft { identity } => return sessions::on_leave(identity),
        Record::SubscriptionCreated { session, subscription, .. }
        | Record::Subscribed { session, subscription }
        | Record::Unsubscribed { session, subscription }
        | Record::SubscriptionDeleted { session, subscription } => (session, subscription.0),
        Record::RegistrationCreated { session, registration, .. }
        | Record::Registered { session, registration }
        | Record::Unregistered { session, registration }
        | Record::RegistrationDeleted { session, registration } => (session, registration.0),
    };
    let (session, subject) = (Value::Unsigned(session.0), Value::Unsigned(subject));
    match record {
        Record::SubscriptionCreated { topic, policy, created, .. } => {
            let created = Clock::utc(*created);
            let pairs = [
                ("id", subject),
                ("created", Value::text(&created)),
                ("uri", Value::text(topic)),
                ("match", Value::text(policy.name())),
            ];
            arguments(&[session, Value::Dict(Dict::Pairs(&pairs))])
        }
        Record::RegistrationCreated { procedure, policy, invoke, created, .. } => {
            let created = Clock::utc(*created);
            let pairs = [
                ("id", subject),
                ("created", Value::text(&created)),
                ("uri", Value::text(procedure)),
                ("match", Value::text(policy.name())),
                ("invoke", Value::text(invoke.name())),
            ];
            arguments(&[session, Value::Dict(Dict::Pairs(&pairs))])
        }
        _ => arguments(&[session, subject]),
    }
}
