//! Who calls, and how far it is trusted (advanced profile, "Caller Identification", "Call Trust Levels").

use std::sync::Arc;

use fanwire::router::authentication::Settings;
use fanwire::router::{Disclosure, RealmSettings, Role};
use serde_json::{Value, json};

use crate::announced::{CALLEE, CALLER, join, join_with, open, register};
use crate::wire::{KINDS, Kind, Wire, head};

/// One wire for each kind and number of shards, whose realm tells so much of its callers.
fn everywhere(disclosure: Disclosure, trust_level: Option<u64>, test: impl Fn(Wire)) {
    for (shards, kind) in [1, 2, 4].into_iter().flat_map(|shards| KINDS.map(|kind| (shards, kind))) {
        test(wire(shards, kind, disclosure, trust_level));
    }
}

fn wire(shards: usize, kind: Kind, disclosure: Disclosure, trust_level: Option<u64>) -> Wire {
    Wire::with(shards, kind, |settings| {
        let role = Role { trust_level, ..Role::open("guest") };
        let realm = RealmSettings {
            disclosure,
            authentication: Arc::new(Settings::anonymous(role)),
            ..RealmSettings::open("realm1")
        };
        settings.realms[0] = realm;
    })
}

/// The details of an INVOCATION, for what CALL and REGISTER asked; and the caller's session.
fn details(wire: &mut Wire, call: &str, registration: &str) -> (Value, u64) {
    let (caller, session) = join_with(wire, CALLER, &[]);
    let callee = join(wire);
    register(wire, callee, registration, "com.example.slow");
    let mut details = open(wire, (caller, callee), call);
    if let Some(authid) = details.as_object_mut().unwrap().remove("caller_authid") {
        assert!(!authid.as_str().unwrap().is_empty());
    }
    (details, session)
}

#[test]
fn a_caller_is_named_if_it_or_its_callee_asks() {
    const ASKED: &str = r#"{"disclose_me":true}"#;
    const WANTED: &str = r#"{"disclose_caller":true}"#;
    let told = [("{}", WANTED), (ASKED, "{}"), (ASKED, WANTED), (r#"{"disclose_me":false}"#, WANTED)];
    let untold = [("{}", "{}"), (r#"{"disclose_me":false}"#, r#"{"disclose_caller":false}"#)];
    for (call, registration) in told {
        everywhere(Disclosure::AsAsked, None, |mut wire| {
            let (details, session) = details(&mut wire, call, registration);
            assert_eq!(details, json!({"caller": session, "caller_authrole": "guest"}));
            wire.finish();
        });
    }
    for (call, registration) in untold {
        everywhere(Disclosure::AsAsked, None, |mut wire| {
            assert_eq!(details(&mut wire, call, registration).0, json!({}));
            wire.finish();
        });
    }
}

#[test]
fn a_realm_may_name_every_caller() {
    everywhere(Disclosure::Always, None, |mut wire| {
        let (details, session) = details(&mut wire, r#"{"disclose_me":false}"#, "{}");
        assert_eq!(details, json!({"caller": session, "caller_authrole": "guest"}));
        wire.finish();
    });
}

#[test]
fn a_realm_may_name_nobody() {
    everywhere(Disclosure::Never, None, |mut wire| {
        let (caller, callee) = (join(&mut wire), join(&mut wire));
        let refused = |code: u64, request: u64| {
            json!([8, code, request, {}, "wamp.error.option_disallowed.disclose_me"])
        };
        let error = wire.ask(callee, r#"[64,1,{"disclose_caller":true},"com.example.slow"]"#);
        assert_eq!(head(&error, 5), refused(64, 1));
        assert_eq!(wire.ask(callee, r#"[64,2,{},"com.example.slow"]"#)[0], 65);
        let error = wire.ask(caller, r#"[48,1,{"disclose_me":true},"com.example.slow"]"#);
        assert_eq!(head(&error, 5), refused(48, 1));
        assert!(wire.receive(callee).is_empty());
        wire.send(caller, r#"[48,2,{"disclose_me":false},"com.example.slow"]"#);
        assert_eq!(wire.receive_one(callee)[3], json!({}));
        wire.finish();
    });
}

#[test]
fn trust_is_told_where_there_is_any_even_of_callers_without_a_name() {
    for level in [0, 7] {
        everywhere(Disclosure::AsAsked, Some(level), |mut wire| {
            assert_eq!(details(&mut wire, "{}", "{}").0, json!({"trustlevel": level}));
            wire.finish();
        });
    }
}

#[test]
fn what_is_on_is_announced_and_trust_only_where_there_is_any() {
    for (trust_level, announced) in [(None, Value::Null), (Some(1), Value::Bool(true))] {
        let mut wire = wire(1, KINDS[0], Disclosure::AsAsked, trust_level);
        let client = wire.connect();
        let welcome = wire.ask(client, r#"[1,"realm1",{"roles":{"caller":{}}}]"#);
        let features = &welcome[2]["roles"]["dealer"]["features"];
        assert_eq!(features["call_trustlevels"], announced);
        // All that a callee may announce, and what only a dealer does.
        for name in CALLEE.iter().chain(&["caller_identification"]) {
            assert_eq!(features[*name], Value::Bool(true), "{name}");
        }
        wire.finish();
    }
    let mut wire = wire(1, KINDS[0], Disclosure::Never, None);
    let client = wire.connect();
    let welcome = wire.ask(client, r#"[1,"realm1",{"roles":{"caller":{}}}]"#);
    assert_eq!(welcome[2]["roles"]["dealer"]["features"]["caller_identification"], Value::Null);
    wire.finish();
}
