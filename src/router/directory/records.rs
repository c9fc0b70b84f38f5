//! What changes in a directory, kept for those who watch (advanced profile, "Subscription Meta Events", "Registration
//! Meta Events"), in the order in which it changed.

use super::super::pattern;
use super::UnixMs;
use crate::wamp::options::InvocationPolicy;
use crate::wamp::{MatchPolicy, RegistrationId, SessionId, SubscriptionId};

/// A change of the directory, to be published as a meta event (advanced profile, subscription and registration meta
/// API). `session` is the session that has come or gone.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are the arguments of the meta events")]
pub enum Record {
    /// `wamp.subscription.on_create`
    SubscriptionCreated {
        session: SessionId,
        subscription: SubscriptionId,
        topic: Box<str>,
        policy: MatchPolicy,
        created: UnixMs,
    },
    /// `wamp.subscription.on_subscribe`
    Subscribed { session: SessionId, subscription: SubscriptionId },
    /// `wamp.subscription.on_unsubscribe`
    Unsubscribed { session: SessionId, subscription: SubscriptionId },
    /// `wamp.subscription.on_delete`
    SubscriptionDeleted { session: SessionId, subscription: SubscriptionId },
    /// `wamp.registration.on_create`
    RegistrationCreated {
        session: SessionId,
        registration: RegistrationId,
        procedure: Box<str>,
        policy: MatchPolicy,
        invoke: InvocationPolicy,
        created: UnixMs,
    },
    /// `wamp.registration.on_register`
    Registered { session: SessionId, registration: RegistrationId },
    /// `wamp.registration.on_unregister`
    Unregistered { session: SessionId, registration: RegistrationId },
    /// `wamp.registration.on_delete`
    RegistrationDeleted { session: SessionId, registration: RegistrationId },
}

/// True if a subscription to `topic` can receive a meta event that comes from records.
pub(super) fn watches(topic: &str, policy: MatchPolicy) -> bool {
    META_EVENTS.iter().any(|event| pattern::matches(topic, policy, event))
}

/// The topics on which records are published.
const META_EVENTS: [&str; 8] = [
    "wamp.subscription.on_create",
    "wamp.subscription.on_subscribe",
    "wamp.subscription.on_unsubscribe",
    "wamp.subscription.on_delete",
    "wamp.registration.on_create",
    "wamp.registration.on_register",
    "wamp.registration.on_unregister",
    "wamp.registration.on_delete",
];
