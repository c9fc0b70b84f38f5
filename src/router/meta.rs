//! Meta events: what happens in a realm, told as publications (advanced profile, "Subscription Meta Events",
//! "Registration Meta Events").

pub(in crate::router) mod procedures;

use super::directory::Record;
use super::{Clock, arguments};
use crate::codec::payload::OwnedPayload;
use crate::wamp::{Dict, Value};

/// The topic a record is published to.
pub fn topic(record: &Record) -> &'static str {
    match record {
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
