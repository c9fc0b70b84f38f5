//! Payload that nobody on the way looks into (advanced profile, "Payload Passthru Mode").

use serde_json::{Value, json};

use crate::wire::{Client, KINDS, Kind, Wire, everywhere, head};

const ALL: &str = r#"{
    "publisher":{"features":{"payload_passthru_mode":true}},"subscriber":{"features":{"payload_passthru_mode":true}},
    "caller":{"features":{"payload_passthru_mode":true}},"callee":{"features":{"payload_passthru_mode":true}}}"#;

const NONE: &str = r#"{"publisher":{},"subscriber":{},"caller":{},"callee":{}}"#;

/// As options and as details.
const PPT: &str =
    r#"{"ppt_scheme":"wamp","ppt_serializer":"cbor","ppt_cipher":"xsalsa20poly1305","ppt_keyid":"k=="}"#;

/// Octets that are no value of any serializer, as JSON has them.
const OPAQUE: &str = r#"["\u0000/8EAAP//ng=="]"#;

fn ppt() -> Value {
    serde_json::from_str(PPT).unwrap()
}

fn opaque() -> Value {
    serde_json::from_str(OPAQUE).unwrap()
}

fn join(wire: &mut Wire, kind: Kind, roles: &str) -> Client {
    wire.join_with(kind, roles).0
}

/// A caller and a callee of `a`, of these kinds and with these roles.
fn pair(wire: &mut Wire, caller: (Kind, &str), callee: (Kind, &str)) -> (Client, Client) {
    let caller = join(wire, caller.0, caller.1);
    let callee = join(wire, callee.0, callee.1);
    assert_eq!(wire.ask(callee, r#"[64,1,{},"a"]"#)[0], 65);
    (caller, callee)
}

#[test]
fn opaque_payload_crosses_all_messages_between_every_pair_of_transports_and_serializers() {
    for from in KINDS {
        for to in KINDS {
            let mut wire = Wire::new(2, from);
            let (caller, callee) = pair(&mut wire, (from, ALL), (to, ALL));
            wire.ask(callee, r#"[32,2,{},"a"]"#);
            wire.send(caller, &format!(r#"[16,1,{PPT},"a",{OPAQUE}]"#));
            let event = wire.receive_one(callee);
            assert_eq!((&event[3], &event[4]), (&ppt(), &opaque()), "EVENT {from:?} to {to:?}");
            wire.send(caller, &format!(r#"[48,2,{PPT},"a",{OPAQUE}]"#));
            let invocation = wire.receive_one(callee);
            assert_eq!(
                (&invocation[3], &invocation[4]),
                (&ppt(), &opaque()),
                "INVOCATION {from:?} to {to:?}"
            );
            wire.send(callee, &format!(r#"[70,1,{PPT},{OPAQUE}]"#));
            assert_eq!(
                wire.receive_one(caller),
                json!([50, 2, ppt(), opaque()]),
                "RESULT {to:?} to {from:?}"
            );
            wire.send(caller, r#"[48,3,{},"a"]"#);
            assert_eq!(wire.receive_one(callee)[3], json!({}));
            wire.send(callee, &format!(r#"[8,68,2,{PPT},"app.error",{OPAQUE}]"#));
            let error = json!([8, 48, 3, ppt(), "app.error", opaque()]);
            assert_eq!(wire.receive_one(caller), error, "ERROR {to:?} to {from:?}");
            wire.finish();
        }
    }
}

#[test]
fn who_has_not_announced_it_breaks_the_protocol() {
    everywhere(|mut wire| {
        let kind = KINDS[4];
        let messages = [
            format!(r#"[16,2,{PPT},"a",{OPAQUE}]"#),
            format!(r#"[48,2,{PPT},"a",{OPAQUE}]"#),
            format!(r#"[70,1,{PPT},{OPAQUE}]"#),
            format!(r#"[8,68,1,{PPT},"app.error",{OPAQUE}]"#),
        ];
        for message in messages {
            let (caller, callee) = pair(&mut wire, (kind, ALL), (kind, NONE));
            wire.send(caller, r#"[48,1,{},"a"]"#);
            assert_eq!(wire.receive_one(callee)[0], 68);
            let abort = wire.ask(callee, &message);
            assert_eq!(
                (&abort[0], &abort[2]),
                (&json!(3), &json!("wamp.error.protocol_violation")),
                "{message}"
            );
            assert_eq!(wire.receive_one(caller)[4], "wamp.error.canceled");
            wire.reset(callee);
        }
        wire.finish();
    });
}

#[test]
fn a_feature_is_announced_for_a_role() {
    let mut wire = Wire::new(1, KINDS[0]);
    let callee =
        join(&mut wire, KINDS[0], r#"{"publisher":{},"callee":{"features":{"payload_passthru_mode":true}}}"#);
    // Not in use without a scheme: no violation, whatever else is there.
    assert_eq!(wire.ask(callee, r#"[16,1,{"acknowledge":true,"ppt_scheme":null},"a"]"#)[0], 17);
    assert_eq!(wire.ask(callee, r#"[16,2,{"acknowledge":true,"ppt_scheme":""},"a"]"#)[0], 17);
    assert_eq!(wire.ask(callee, &format!(r#"[16,3,{PPT},"a"]"#))[0], 3);
    wire.finish();
}

#[test]
fn a_callee_that_does_not_take_it_is_not_invoked() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire, (KINDS[3], ALL), (KINDS[1], NONE));
        let error = wire.ask(caller, &format!(r#"[48,1,{PPT},"a",{OPAQUE}]"#));
        assert_eq!(head(&error, 5), json!([8, 48, 1, {}, "wamp.error.feature_not_supported"]));
        assert!(wire.receive(callee).is_empty());
        wire.send(caller, r#"[48,2,{},"a"]"#);
        assert_eq!(wire.receive_one(callee)[1], 1, "no request id was spent");
        wire.send(callee, "[70,1,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 2, {}]));
        wire.finish();
    });
}

#[test]
fn a_caller_that_does_not_take_it_gets_an_error_and_so_does_the_callee() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire, (KINDS[3], NONE), (KINDS[1], ALL));
        wire.send(caller, r#"[48,1,{},"a"]"#);
        assert_eq!(wire.receive_one(callee)[0], 68);
        let refused = wire.ask(callee, &format!(r#"[70,1,{PPT},{OPAQUE}]"#));
        assert_eq!(head(&refused, 5), json!([8, 70, 1, {}, "wamp.error.feature_not_supported"]));
        let error = wire.receive_one(caller);
        assert_eq!(head(&error, 5), json!([8, 48, 1, {}, "wamp.error.feature_not_supported"]));
        wire.send(caller, r#"[48,2,{},"a"]"#);
        assert_eq!(wire.receive_one(callee)[0], 68);
        wire.send(callee, &format!(r#"[8,68,2,{PPT},"app.error",{OPAQUE}]"#));
        assert_eq!(wire.receive_one(caller)[4], "wamp.error.feature_not_supported");
        assert!(wire.receive(callee).is_empty(), "an ERROR is not answered");
        wire.finish();
    });
}

#[test]
fn a_subscriber_gets_it_whatever_it_has_announced() {
    everywhere(|mut wire| {
        let publisher = join(&mut wire, KINDS[5], ALL);
        let subscriber = join(&mut wire, KINDS[2], NONE);
        wire.ask(subscriber, r#"[32,1,{"match":"prefix"},"a"]"#);
        wire.send(publisher, &format!(r#"[16,1,{PPT},"a",{OPAQUE}]"#));
        let mut details = ppt();
        details["topic"] = json!("a");
        assert_eq!(wire.receive_one(subscriber)[3], details);
        wire.finish();
    });
}

#[test]
fn attributes_that_mean_nothing_are_refused() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire, (KINDS[0], ALL), (KINDS[6], ALL));
        let wrong = [
            (r#""ppt_serializer":"cbor""#, "ppt_scheme"),
            (r#""ppt_scheme":"","ppt_keyid":"k""#, "ppt_scheme"),
            (r#""ppt_scheme":7"#, "ppt_scheme"),
            (r#""ppt_scheme":"mqtt","ppt_cipher":[]"#, "ppt_cipher"),
        ];
        for (request, (options, key)) in (1..).step_by(2).zip(wrong) {
            let error = wire.ask(caller, &format!(r#"[16,{request},{{"acknowledge":true,{options}}},"a"]"#));
            assert_eq!(head(&error, 5), json!([8, 16, request, {}, "wamp.error.invalid_argument"]));
            assert_eq!(error[5][1], key);
            let request = request + 1;
            let error = wire.ask(caller, &format!(r#"[48,{request},{{{options}}},"a"]"#));
            assert_eq!(head(&error, 5), json!([8, 48, request, {}, "wamp.error.invalid_argument"]));
        }
        // YIELD has no answer: the caller is told in its place.
        wire.send(caller, r#"[48,9,{},"a"]"#);
        assert_eq!(wire.receive_one(callee)[0], 68);
        wire.send(callee, r#"[70,1,{"ppt_keyid":"k"},[1]]"#);
        assert_eq!(wire.receive_one(caller)[4], "wamp.error.invalid_argument");
        wire.finish();
    });
}

#[test]
fn the_routers_own_procedures_do_not_take_it() {
    everywhere(|mut wire| {
        let caller = join(&mut wire, KINDS[5], ALL);
        let error = wire.ask(caller, &format!(r#"[48,1,{PPT},"wamp.session.count",{OPAQUE}]"#));
        assert_eq!(head(&error, 5), json!([8, 48, 1, {}, "wamp.error.feature_not_supported"]));
        let error = wire.ask(caller, r#"[48,2,{"ppt_keyid":"k"},"wamp.session.count"]"#);
        assert_eq!(head(&error, 5), json!([8, 48, 2, {}, "wamp.error.invalid_argument"]));
        assert_eq!(wire.ask(caller, r#"[48,3,{},"wamp.session.count"]"#), json!([50, 3, {}, [1]]));
        wire.finish();
    });
}

/// One invocation at a time.
const BOUNDED: &str = r#"[64,1,{"invoke":"roundrobin","concurrency":1},"a"]"#;

#[test]
fn a_call_that_a_callee_does_not_take_keeps_no_other_waiting() {
    everywhere(|mut wire| {
        let caller = join(&mut wire, KINDS[3], ALL);
        let callee = join(&mut wire, KINDS[1], NONE);
        assert_eq!(wire.ask(callee, BOUNDED)[0], 65);
        for request in [1, 2] {
            let error = wire.ask(caller, &format!(r#"[48,{request},{PPT},"a",{OPAQUE}]"#));
            assert_eq!(error[4], "wamp.error.feature_not_supported");
        }
        wire.send(caller, r#"[48,3,{},"a"]"#);
        assert_eq!(wire.receive_one(callee)[1], 1);
        // These wait for the one before, and are ruled on in turn.
        wire.send(caller, &format!(r#"[48,4,{PPT},"a",{OPAQUE}]"#));
        wire.send(caller, r#"[48,5,{},"a"]"#);
        assert_eq!(wire.receive(caller), Vec::<Value>::new());
        wire.send(callee, "[70,1,{}]");
        let answers = wire.receive(caller);
        assert_eq!(answers[0], json!([50, 3, {}]));
        assert_eq!(head(&answers[1], 5), json!([8, 48, 4, {}, "wamp.error.feature_not_supported"]));
        assert_eq!(wire.receive_one(callee)[1], 2);
        wire.send(callee, "[70,2,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 5, {}]));
        wire.finish();
    });
}

#[test]
fn an_answer_that_a_caller_does_not_take_keeps_no_call_waiting() {
    everywhere(|mut wire| {
        let caller = join(&mut wire, KINDS[3], NONE);
        let callee = join(&mut wire, KINDS[1], ALL);
        assert_eq!(wire.ask(callee, BOUNDED)[0], 65);
        wire.send(caller, r#"[48,1,{},"a"]"#);
        wire.send(caller, r#"[48,2,{},"a"]"#);
        wire.send(caller, r#"[48,3,{},"a"]"#);
        assert_eq!(wire.receive_one(callee)[1], 1, "the others wait");
        wire.send(callee, &format!(r#"[70,1,{PPT},{OPAQUE}]"#));
        let mut told: Vec<Value> = wire.receive(callee).iter().map(|message| head(message, 3)).collect();
        told.sort_by_key(|message| message[0].as_u64());
        assert_eq!(json!(told)[0], json!([8, 70, 1]));
        assert_eq!((&told[1][0], &told[1][1]), (&json!(68), &json!(2)));
        assert_eq!(wire.receive_one(caller)[4], "wamp.error.feature_not_supported");
        // Refused as well, in another way: the attributes mean nothing.
        wire.send(callee, r#"[70,2,{"ppt_keyid":"k"},[1]]"#);
        assert_eq!(wire.receive_one(caller)[4], "wamp.error.invalid_argument");
        assert_eq!(wire.receive_one(callee)[1], 3);
        wire.send(callee, "[70,3,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 3, {}]));
        wire.finish();
    });
}

/// What a callee may do that answers in parts or not at all.
const SEVERAL: &str = r#"{"publisher":{},"callee":{"features":{
    "payload_passthru_mode":true,"progressive_call_results":true,"call_canceling":true,"call_reroute":true}}}"#;

/// A caller that takes several results and, if `passthru`, the mode.
fn several(passthru: bool) -> String {
    format!(
        r#"{{"caller":{{"features":{{"payload_passthru_mode":{passthru},"progressive_call_results":true,
            "progressive_call_invocations":true}}}}}}"#
    )
}

#[test]
fn parts_of_an_answer_are_opaque_too() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire, (KINDS[3], &several(true)), (KINDS[1], SEVERAL));
        wire.send(caller, r#"[48,1,{"receive_progress":true},"a"]"#);
        assert_eq!(wire.receive_one(callee)[0], 68);
        let mut details = ppt();
        details["progress"] = json!(true);
        wire.send(callee, &format!(r#"[70,1,{details},{OPAQUE}]"#));
        assert_eq!(wire.receive_one(caller), json!([50, 1, details, opaque()]));
        wire.send(callee, &format!(r#"[70,1,{PPT},{OPAQUE}]"#));
        assert_eq!(wire.receive_one(caller), json!([50, 1, ppt(), opaque()]));
        wire.finish();
    });
}

#[test]
fn a_part_that_the_caller_does_not_take_ends_the_call_for_both() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire, (KINDS[3], &several(false)), (KINDS[1], SEVERAL));
        wire.send(caller, r#"[48,1,{"receive_progress":true},"a"]"#);
        assert_eq!(wire.receive_one(callee)[0], 68);
        wire.send(callee, r#"[70,1,{"progress":true},[1]]"#);
        assert_eq!(wire.receive_one(caller)[0], 50);
        wire.send(callee, &format!(r#"[70,1,{{"progress":true,"ppt_scheme":"x_mine"}},{OPAQUE}]"#));
        let error = wire.receive_one(caller);
        assert_eq!(head(&error, 5), json!([8, 48, 1, {}, "wamp.error.feature_not_supported"]));
        let told = wire.receive(callee);
        let interrupt = json!([69, 1, {"mode": "killnowait", "reason": "wamp.error.feature_not_supported"}]);
        assert_eq!(told[0], interrupt);
        assert_eq!(head(&told[1], 5), json!([8, 70, 1, {}, "wamp.error.feature_not_supported"]));
        // What crosses the INTERRUPT is ignored, and the next call is a new one.
        wire.send(callee, "[70,1,{}]");
        wire.send(caller, r#"[48,2,{},"a"]"#);
        assert_eq!(wire.receive_one(callee)[1], 2);
        wire.send(callee, "[70,2,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 2, {}]));
        wire.finish();
    });
}

#[test]
fn a_part_with_attributes_that_mean_nothing_ends_the_call_for_both() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire, (KINDS[3], &several(true)), (KINDS[1], SEVERAL));
        wire.send(caller, r#"[48,1,{"receive_progress":true},"a"]"#);
        assert_eq!(wire.receive_one(callee)[0], 68);
        wire.send(callee, r#"[70,1,{"progress":true,"ppt_keyid":"k"},[1]]"#);
        let error = wire.receive_one(caller);
        assert_eq!(head(&error, 5), json!([8, 48, 1, {}, "wamp.error.invalid_argument"]));
        let interrupt = json!([69, 1, {"mode": "killnowait", "reason": "wamp.error.invalid_argument"}]);
        assert_eq!(wire.receive_one(callee), interrupt);
        wire.send(callee, r#"[70,1,{"progress":true},[2]]"#);
        assert!(wire.receive(caller).is_empty() && wire.receive(callee).is_empty());
        wire.finish();
    });
}

#[test]
fn who_is_unavailable_may_say_so_in_words_that_only_a_caller_with_the_mode_would_get() {
    everywhere(|mut wire| {
        let shared = r#"[64,1,{"invoke":"first"},"a"]"#;
        let caller = join(&mut wire, KINDS[3], &several(false));
        let callees = [0, 1].map(|_| join(&mut wire, KINDS[1], SEVERAL));
        for callee in callees {
            assert_eq!(wire.ask(callee, shared)[0], 65);
        }
        let declined = |request: u64| format!(r#"[8,68,{request},{PPT},"wamp.error.unavailable",{OPAQUE}]"#);
        wire.send(caller, r#"[48,1,{},"a"]"#);
        assert_eq!(wire.receive_one(callees[0])[0], 68);
        wire.send(callees[0], &declined(1));
        assert_eq!(wire.receive_one(callees[1])[0], 68, "the other is asked");
        wire.send(callees[1], "[70,1,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 1, {}]));
        // It has begun, so that this is its answer, which this caller does not take.
        wire.send(caller, r#"[48,2,{"receive_progress":true},"a"]"#);
        assert_eq!(wire.receive_one(callees[0])[1], 2);
        wire.send(callees[0], r#"[70,2,{"progress":true}]"#);
        wire.send(callees[0], &declined(2));
        let answers = wire.receive(caller);
        assert_eq!(answers[0], json!([50, 2, {"progress": true}]));
        assert_eq!(head(&answers[1], 5), json!([8, 48, 2, {}, "wamp.error.feature_not_supported"]));
        wire.finish();
    });
}

#[test]
fn the_first_call_says_how_all_parts_are_read() {
    everywhere(|mut wire| {
        let callee = r#"{"callee":{"features":{"payload_passthru_mode":true,
            "progressive_call_invocations":true,"progressive_call_results":true,"call_canceling":true}}}"#;
        let (caller, callee) = pair(&mut wire, (KINDS[3], &several(true)), (KINDS[1], callee));
        let mut parts = ppt();
        parts["progress"] = json!(true);
        wire.send(caller, &format!(r#"[48,1,{parts},"a",{OPAQUE}]"#));
        assert_eq!(wire.receive_one(callee)[3], parts);
        wire.send(caller, &format!(r#"[48,1,{{}},"a",{OPAQUE}]"#));
        assert_eq!(wire.receive_one(callee), json!([68, 1, 1, ppt(), opaque()]));
        wire.send(callee, "[70,1,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 1, {}]));
        wire.finish();
    });
}
