//! Callees that are unavailable (advanced profile, "Call Re-Routing").

use serde_json::json;

use crate::announced::{join, join_with, open, pair, register};
use crate::wire::{everywhere, head};

const UNAVAILABLE: &str = r#"[8,68,1,{"_why":1},"wamp.error.unavailable",["busy"]]"#;

#[test]
fn the_only_callee_leaves_none_available() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        open(&mut wire, (caller, callee), "{}");
        wire.send(callee, UNAVAILABLE);
        assert_eq!(
            head(&wire.receive_one(caller), 5),
            json!([8, 48, 1, {}, "wamp.error.no_available_callee"])
        );
        wire.finish();
    });
}

#[test]
fn a_callee_that_has_not_announced_it_says_what_it_says() {
    everywhere(|mut wire| {
        let caller = join(&mut wire);
        let (callee, _) = join_with(&mut wire, &[], &["call_canceling"]);
        register(&mut wire, callee, "{}", "com.example.slow");
        open(&mut wire, (caller, callee), "{}");
        wire.send(callee, UNAVAILABLE);
        let error = json!([8, 48, 1, {"_why": 1}, "wamp.error.unavailable", ["busy"]]);
        assert_eq!(wire.receive_one(caller), error);
        wire.finish();
    });
}

#[test]
fn a_call_that_has_begun_goes_nowhere_else() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        open(&mut wire, (caller, callee), r#"{"receive_progress":true}"#);
        wire.send(callee, r#"[70,1,{"progress":true}]"#);
        wire.receive(caller);
        wire.send(callee, UNAVAILABLE);
        let error = json!([8, 48, 1, {"_why": 1}, "wamp.error.unavailable", ["busy"]]);
        assert_eq!(wire.receive_one(caller), error);
        wire.finish();
    });
}
