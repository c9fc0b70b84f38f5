//! Which features of the advanced profile a peer has announced, and which this router announces.
//!
//! A feature belongs to a role: a session may be a callee that can be interrupted and a caller that cannot cancel.
//! What the router announces is exactly what is on: WELCOME is written from [`announced`] and from nothing else.

use super::{Disclosure, RealmSettings};
use crate::codec;
use crate::wamp::{Dict, Value};

/// A feature of a client role that the router looks at before it sends what only such peers understand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Feature {
    /// `callee`: takes INTERRUPT.
    CalleeCallCanceling,
    /// `callee`: says `wamp.error.unavailable` of a call that another callee may take.
    CalleeCallReroute,
    /// `callee`: keeps `timeout` itself, if its registration asks for that.
    CalleeCallTimeout,
    /// `callee`: takes several INVOCATIONs of one call.
    CalleeProgressiveCallInvocations,
    /// `callee`: may send several YIELDs.
    CalleeProgressiveCallResults,
    /// `callee`: takes UNREGISTERED that it has not asked for.
    CalleeRegistrationRevocation,
    /// `caller`: may send several CALLs with one request id.
    CallerProgressiveCallInvocations,
    /// `caller`: takes several RESULTs.
    CallerProgressiveCallResults,
    /// `subscriber`: takes UNSUBSCRIBED that answers nothing.
    SubscriberSubscriptionRevocation,
    /// `publisher`: may send payloads the router does not look into.
    PublisherPayloadPassthru,
    /// `caller`: may send and takes such payloads.
    CallerPayloadPassthru,
    /// `callee`: takes and may send such payloads.
    CalleePayloadPassthru,
}

/// The role and the names under which each is announced. The second name is one that libraries write instead.
const NAMES: [(Feature, &str, &[&str]); 12] = [
    (Feature::CalleeCallCanceling, "callee", &["call_canceling", "call_cancelling"]),
    (Feature::CalleeCallReroute, "callee", &["call_reroute"]),
    (Feature::CalleeCallTimeout, "callee", &["call_timeout"]),
    (Feature::CalleeProgressiveCallInvocations, "callee", &["progressive_call_invocations"]),
    (Feature::CalleeProgressiveCallResults, "callee", &["progressive_call_results"]),
    (Feature::CalleeRegistrationRevocation, "callee", &["registration_revocation"]),
    (Feature::CallerProgressiveCallInvocations, "caller", &["progressive_call_invocations"]),
    (Feature::CallerProgressiveCallResults, "caller", &["progressive_call_results"]),
    (Feature::SubscriberSubscriptionRevocation, "subscriber", &["subscription_revocation"]),
    (Feature::PublisherPayloadPassthru, "publisher", &["payload_passthru_mode"]),
    (Feature::CallerPayloadPassthru, "caller", &["payload_passthru_mode"]),
    (Feature::CalleePayloadPassthru, "callee", &["payload_passthru_mode"]),
];

/// What a peer has announced in HELLO.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Features(u32);

impl Features {
    /// True if the peer has announced the feature.
    pub fn has(self, feature: Feature) -> bool {
        self.0 & bit(feature) != 0
    }

    /// True if the callee may send progressive results. One that cannot be interrupted may not: nobody could stop it
    /// when its caller is gone.
    pub fn yields_progress(self) -> bool {
        self.has(Feature::CalleeProgressiveCallResults) && self.has(Feature::CalleeCallCanceling)
    }

    /// True if the callee takes calls in parts, of which the same holds.
    pub fn takes_parts(self) -> bool {
        self.has(Feature::CalleeProgressiveCallInvocations) && self.has(Feature::CalleeCallCanceling)
    }

    /// Reads the attributes of one role, of which `features` is one. What is not `true` is not announced.
    pub fn read(&mut self, role: &str, attributes: &Dict<'_>) {
        for (key, features) in codec::entries(attributes) {
            let Value::Dict(features) = &features else { continue };
            if key != "features" {
                continue;
            }
            for (name, value) in codec::entries(features) {
                let announced = NAMES.iter().find(|(_, of, names)| *of == role && names.contains(&&*name));
                if let (Some((feature, ..)), Value::Bool(true)) = (announced, &value) {
                    self.0 |= bit(*feature);
                }
            }
        }
    }
}

fn bit(feature: Feature) -> u32 {
    1 << feature as u32
}

/// `WELCOME.Details.roles`: the features of this router as broker and as dealer, each list in the order of the
/// alphabet.
#[derive(Debug, Default)]
pub struct Announced {
    /// Of the broker.
    pub broker: Vec<&'static str>,
    /// Of the dealer.
    pub dealer: Vec<&'static str>,
}

/// What is on in a realm.
pub fn announced(realm: &RealmSettings) -> Announced {
    Announced { broker: broker(realm), dealer: dealer(realm) }
}

fn dealer(realm: &RealmSettings) -> Vec<&'static str> {
    let features = [
        ("call_canceling", true),
        ("call_reroute", true),
        ("call_timeout", true),
        ("call_trustlevels", realm.has_trust_levels()),
        ("caller_identification", realm.disclosure != Disclosure::Never),
        ("pattern_based_registration", true),
        ("payload_passthru_mode", true),
        ("progressive_call_invocations", true),
        ("progressive_call_results", true),
        ("registration_meta_api", true),
        ("registration_revocation", true),
        ("session_meta_api", true),
        ("shared_registration", true),
        ("testament_meta_api", true),
    ];
    on(&features)
}

fn broker(realm: &RealmSettings) -> Vec<&'static str> {
    let features = [
        ("event_history", !realm.event_history.is_empty()),
        ("event_retention", realm.retained_count_max > 0 && realm.retained_bytes_max > 0),
        ("pattern_based_subscription", true),
        ("payload_passthru_mode", true),
        ("publication_trustlevels", realm.has_trust_levels()),
        ("publisher_exclusion", true),
        ("publisher_identification", realm.disclosure != Disclosure::Never),
        ("session_meta_api", true),
        ("subscriber_blackwhite_listing", true),
        ("subscription_meta_api", true),
        ("subscription_revocation", true),
    ];
    on(&features)
}

fn on(features: &[(&'static str, bool)]) -> Vec<&'static str> {
    features.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wamp::{Message, Serializer};

    fn features(role: &str, json: &str) -> Features {
        let hello = format!(r#"[1,"realm1",{json}]"#);
        let Ok(Message::Hello(hello)) = codec::decode(Serializer::Json, hello.as_bytes()) else {
            panic!("{hello}")
        };
        let mut features = Features::default();
        features.read(role, &hello.details);
        features
    }

    #[test]
    fn features_are_those_of_the_role_and_only_if_true() {
        let both = r#"{"x":1,"features":{"call_canceling":true,"progressive_call_results":true,"y":[]}}"#;
        let callee = features("callee", both);
        assert!(
            callee.has(Feature::CalleeCallCanceling) && callee.has(Feature::CalleeProgressiveCallResults)
        );
        assert!(!callee.has(Feature::CallerProgressiveCallResults));
        let caller = features("caller", both);
        assert!(caller.has(Feature::CallerProgressiveCallResults));
        assert!(!caller.has(Feature::CalleeCallCanceling));
        assert!(
            features("callee", r#"{"features":{"call_cancelling":true}}"#).has(Feature::CalleeCallCanceling)
        );
        for none in ["{}", r#"{"features":{"call_canceling":1}}"#, r#"{"features":true}"#] {
            assert_eq!(features("callee", none), Features::default(), "{none}");
        }
    }

    #[test]
    fn every_feature_has_a_bit_of_its_own() {
        for (place, (feature, ..)) in NAMES.iter().enumerate() {
            assert_eq!(*feature as usize, place);
        }
    }
}
