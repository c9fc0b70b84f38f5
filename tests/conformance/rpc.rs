//! REGISTER, CALL, INVOCATION, YIELD, RESULT, ERROR, CANCEL, INTERRUPT (basic profile, "Remote Procedure Calls"; advanced
//! profile, "Call Canceling", "Pattern-based Registrations").

use fanwire::wamp::Serializer;
use serde_json::{Value, json};

use crate::wire::{Client, KINDS, Kind, Wire, everywhere, head};

fn register(wire: &mut Wire, client: Client, request: u64, procedure: &str) -> u64 {
    let registered = wire.ask(client, &format!(r#"[64,{request},{{}},"{procedure}"]"#));
    assert_eq!((&registered[0], &registered[1]), (&json!(65), &json!(request)), "{registered}");
    registered[2].as_u64().unwrap()
}

/// A caller with one open call to a callee.
fn open_call(wire: &mut Wire) -> (Client, Client) {
    let (caller, _) = wire.join();
    let (callee, _) = wire.join();
    register(wire, callee, 1, "com.example.slow");
    wire.send(caller, r#"[48,1,{},"com.example.slow"]"#);
    assert_eq!(wire.receive_one(callee)[0], 68);
    (caller, callee)
}

#[test]
fn a_call_is_invoked_and_its_result_returned() {
    everywhere(|mut wire| {
        let (caller, _) = wire.join();
        let (callee, _) = wire.join();
        let registration = register(&mut wire, callee, 1, "com.example.add");
        wire.send(caller, r#"[48,1,{},"com.example.add",[1,2],{"three":3}]"#);
        let invocation = wire.receive_one(callee);
        assert_eq!(invocation, json!([68, 1, registration, {}, [1, 2], {"three": 3}]));
        wire.send(callee, r#"[70,1,{},[3],{"k":"v"}]"#);
        assert_eq!(wire.receive_one(caller), json!([50, 1, {}, [3], {"k": "v"}]));
        // Without arguments nothing is sent in their place.
        wire.send(caller, r#"[48,2,{},"com.example.add"]"#);
        assert_eq!(wire.receive_one(callee), json!([68, 2, registration, {}]));
        wire.send(callee, "[70,2,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 2, {}]));
        wire.finish();
    });
}

#[test]
fn an_error_of_the_callee_is_the_callers() {
    everywhere(|mut wire| {
        let (caller, callee) = open_call(&mut wire);
        wire.send(callee, r#"[8,68,1,{"_why":1,"other":2},"com.example.error",["no"],{"code":7}]"#);
        let error = json!([8, 48, 1, {"_why": 1}, "com.example.error", ["no"], {"code": 7}]);
        assert_eq!(wire.receive_one(caller), error);
        wire.send(caller, r#"[48,2,{},"com.example.slow"]"#);
        wire.receive(callee);
        wire.send(callee, r#"[8,68,2,{},"not a uri",["no"]]"#);
        assert_eq!(wire.receive_one(caller), json!([8, 48, 2, {}, "wamp.error.invalid_uri", ["no"]]));
        wire.finish();
    });
}

#[test]
fn what_cannot_be_called_or_registered_is_refused() {
    everywhere(|mut wire| {
        let (one, _) = wire.join();
        let (two, _) = wire.join();
        let registration = register(&mut wire, one, 1, "com.example.echo");
        let error = |code: u64, request: u64, uri: &str| json!([8, code, request, {}, uri]);
        let mut refused = |client, message: &str, expected: Value| {
            assert_eq!(head(&wire.ask(client, message), 5), expected, "{message}");
        };
        refused(two, r#"[48,1,{},"com.example.none"]"#, error(48, 1, "wamp.error.no_such_procedure"));
        refused(two, r#"[48,2,{},"com..none"]"#, error(48, 2, "wamp.error.invalid_uri"));
        refused(two, r#"[64,3,{},"com.example.echo"]"#, error(64, 3, "wamp.error.procedure_already_exists"));
        refused(two, r#"[64,4,{},"wamp.echo"]"#, error(64, 4, "wamp.error.invalid_uri"));
        refused(two, r#"[64,5,{},"com example"]"#, error(64, 5, "wamp.error.invalid_uri"));
        refused(two, r#"[64,6,{"match":7},"com.example"]"#, error(64, 6, "wamp.error.invalid_argument"));
        refused(two, &format!("[66,7,{registration}]"), error(66, 7, "wamp.error.no_such_registration"));
        refused(two, r#"[48,8,{},"wamp.session.count.none"]"#, error(48, 8, "wamp.error.no_such_procedure"));
        assert_eq!(wire.ask(one, &format!("[66,2,{registration}]")), json!([67, 2]));
        assert_eq!(wire.ask(two, r#"[48,9,{},"com.example.echo"]"#)[4], "wamp.error.no_such_procedure");
        register(&mut wire, two, 10, "com.example.echo");
        wire.finish();
    });
}

#[test]
fn a_session_may_call_itself() {
    everywhere(|mut wire| {
        let (client, _) = wire.join();
        register(&mut wire, client, 1, "com.example.self");
        assert_eq!(wire.ask(client, r#"[48,2,{},"com.example.self",[7]]"#)[0], 68);
        assert_eq!(wire.ask(client, "[70,1,{},[8]]"), json!([50, 2, {}, [8]]));
        wire.finish();
    });
}

#[test]
fn calls_reach_a_callee_in_order_and_results_come_as_they_do() {
    everywhere(|mut wire| {
        let (caller, _) = wire.join();
        let (callee, _) = wire.join();
        register(&mut wire, callee, 1, "com.example.a");
        register(&mut wire, callee, 2, "com.example.b");
        for request in 1..=20 {
            let procedure = if request % 3 == 0 { "a" } else { "b" };
            wire.send(caller, &format!(r#"[48,{request},{{}},"com.example.{procedure}",[{request}]]"#));
        }
        let invocations = wire.receive(callee);
        for (invocation, request) in invocations.iter().zip(1u64..) {
            assert_eq!((&invocation[1], &invocation[4]), (&json!(request), &json!([request])));
        }
        for request in (1..=20).rev() {
            wire.send(callee, &format!("[70,{request},{{}},[{request}]]"));
        }
        let results = wire.receive(caller);
        assert_eq!(results.len(), 20);
        assert!(results.iter().all(|result| result[0] == 50 && result[3] == json!([result[1]])));
        wire.finish();
    });
}

#[test]
fn a_callee_that_leaves_cancels_the_calls_it_owes() {
    everywhere(|mut wire| {
        let canceled = json!([8, 48, 1, {}, "wamp.error.canceled"]);
        let (caller, callee) = open_call(&mut wire);
        wire.reset(callee);
        assert_eq!(head(&wire.receive_one(caller), 5), canceled);
        assert_eq!(wire.ask(caller, r#"[48,2,{},"com.example.slow"]"#)[4], "wamp.error.no_such_procedure");
        let (caller, callee) = open_call(&mut wire);
        assert_eq!(wire.ask(callee, r#"[6,{},"wamp.close.close_realm"]"#)[0], 6);
        assert_eq!(head(&wire.receive_one(caller), 5), canceled);
        wire.finish();
    });
}

#[test]
fn a_caller_that_leaves_interrupts_its_callees() {
    everywhere(|mut wire| {
        let (caller, callee) = open_call(&mut wire);
        wire.reset(caller);
        assert_eq!(
            wire.receive_one(callee),
            json!([69, 1, {"mode": "killnowait", "reason": "wamp.error.canceled"}])
        );
        // The answer had been on its way: it is nobody's.
        wire.send(callee, "[70,1,{}]");
        assert!(wire.receive(callee).is_empty() && !wire.ended(callee));
        wire.finish();
    });
}

#[test]
fn a_callee_that_did_not_announce_canceling_is_not_interrupted() {
    everywhere(|mut wire| {
        let (caller, _) = wire.join();
        let callee = wire.connect();
        assert_eq!(wire.ask(callee, r#"[1,"realm1",{"roles":{"callee":{}}}]"#)[0], 2);
        register(&mut wire, callee, 1, "com.example.slow");
        for (request, mode) in [(1, "skip"), (2, "kill"), (3, "killnowait")] {
            wire.send(caller, &format!(r#"[48,{request},{{}},"com.example.slow"]"#));
            assert_eq!(wire.receive_one(callee)[0], 68);
            let error = wire.ask(caller, &format!(r#"[49,{request},{{"mode":"{mode}"}}]"#));
            assert_eq!(head(&error, 5), json!([8, 48, request, {}, "wamp.error.canceled"]));
            assert!(wire.receive(callee).is_empty());
        }
        for request in 1..=3 {
            wire.send(callee, &format!("[70,{request},{{}}]"));
        }
        assert!(wire.receive(caller).is_empty() && !wire.ended(callee));
        wire.finish();
    });
}

#[test]
fn cancel_skip_kill_and_killnowait() {
    everywhere(|mut wire| {
        let canceled = json!([8, 48, 1, {}, "wamp.error.canceled"]);
        let (caller, callee) = open_call(&mut wire);
        assert_eq!(head(&wire.ask(caller, r#"[49,1,{"mode":"skip"}]"#), 5), canceled);
        assert!(wire.receive(callee).is_empty());
        wire.send(callee, "[70,1,{}]");
        assert!(wire.receive(caller).is_empty());
        wire.reset(callee);

        let (caller, callee) = open_call(&mut wire);
        wire.send(caller, r#"[49,1,{"mode":"kill"}]"#);
        assert!(wire.receive(caller).is_empty());
        assert_eq!(
            wire.receive_one(callee),
            json!([69, 1, {"mode": "kill", "reason": "wamp.error.canceled"}])
        );
        wire.send(caller, r#"[49,1,{"mode":"kill"}]"#);
        assert!(wire.receive(callee).is_empty(), "a second CANCEL of the same kind says nothing new");
        wire.send(callee, r#"[8,68,1,{},"wamp.error.canceled",["stopped"]]"#);
        assert_eq!(wire.receive_one(caller), json!([8, 48, 1, {}, "wamp.error.canceled", ["stopped"]]));
        wire.reset(callee);

        let (caller, callee) = open_call(&mut wire);
        assert_eq!(head(&wire.ask(caller, "[49,1,{}]"), 5), canceled);
        assert_eq!(
            wire.receive_one(callee),
            json!([69, 1, {"mode": "killnowait", "reason": "wamp.error.canceled"}])
        );
        wire.send(callee, "[70,1,{}]");
        assert!(wire.receive(caller).is_empty() && !wire.ended(callee));
        // Nothing is open any more: there is nothing to cancel, and that is no error.
        wire.send(caller, "[49,1,{}]");
        wire.send(caller, "[49,77,{}]");
        assert!(wire.receive(caller).is_empty());
        let error = wire.ask(caller, r#"[49,1,{"mode":"maim"}]"#);
        assert_eq!(head(&error, 5), json!([8, 49, 1, {}, "wamp.error.invalid_argument"]));
        wire.finish();
    });
}

#[test]
fn the_best_registration_is_called_and_told_the_procedure() {
    everywhere(|mut wire| {
        let (callee, _) = wire.join();
        let (caller, _) = wire.join();
        let exact = register(&mut wire, callee, 1, "com.example.one");
        let mut pattern = |request: u64, policy: &str, procedure: &str| {
            let message = format!(r#"[64,{request},{{"match":"{policy}"}},"{procedure}"]"#);
            wire.ask(callee, &message)[2].as_u64().unwrap()
        };
        let short = pattern(2, "prefix", "com.");
        let long = pattern(3, "prefix", "com.example.t");
        let wildcard = pattern(4, "wildcard", "org..get");
        let calls = [
            ("com.example.one", exact),
            ("com.example.two", long),
            ("com.x", short),
            ("org.a.get", wildcard),
        ];
        for ((procedure, registration), request) in calls.into_iter().zip(1u64..) {
            wire.send(caller, &format!(r#"[48,{request},{{"_tag":1}},"{procedure}"]"#));
            let invocation = wire.receive_one(callee);
            assert_eq!(invocation[2], json!(registration), "{procedure}");
            let details = match procedure {
                "com.example.one" => json!({"_tag": 1}),
                procedure => json!({"procedure": procedure, "_tag": 1}),
            };
            assert_eq!(invocation[3], details);
        }
        wire.finish();
    });
}

#[test]
fn a_pattern_does_not_answer_in_the_routers_name() {
    everywhere(|mut wire| {
        let (callee, _) = wire.join();
        let (caller, _) = wire.join();
        assert_eq!(wire.ask(callee, r#"[64,1,{"match":"prefix"},""]"#)[0], 65);
        assert_eq!(wire.ask(caller, r#"[48,1,{},"wamp.nothing"]"#)[4], "wamp.error.no_such_procedure");
        wire.send(caller, r#"[48,2,{},"com.example"]"#);
        assert_eq!(wire.receive_one(callee)[0], 68);
        wire.finish();
    });
}

#[test]
fn arguments_and_results_survive_between_every_pair() {
    let value = r#"[null,18446744073709551615,-9223372036854775808,1.0,"ü","\u0000AAEC",{"a":[1.5]}]"#;
    let expected: Value = serde_json::from_str(value).unwrap();
    for from in KINDS {
        for to in KINDS {
            let mut wire = Wire::new(2, from);
            let callee = wire.join_as(to);
            let (caller, _) = wire.join();
            register(&mut wire, callee, 1, "com.example.echo");
            wire.send(caller, &format!(r#"[48,1,{{}},"com.example.echo",{value},{{"k":{value}}}]"#));
            let invocation = wire.receive_one(callee);
            assert_eq!((&invocation[4], &invocation[5]["k"]), (&expected, &expected));
            wire.send(callee, &format!("[70,1,{{}},{value},{{\"k\":{value}}}]"));
            let result = wire.receive_one(caller);
            assert_eq!((&result[3], &result[4]["k"]), (&expected, &expected));
            wire.finish();
        }
    }
}

/// A RawSocket peer that takes messages of 1,024 octets at most.
fn small_peer(wire: &mut Wire) -> Client {
    let small = wire.open(Kind::RawSocket(Serializer::Json), false);
    wire.send_bytes(small, &[0x7f, 0x11, 0, 0]);
    wire.receive_bytes(small);
    wire.send(small, r#"[1,"realm1",{"roles":{"caller":{},"callee":{}}}]"#);
    assert_eq!(wire.receive_one(small)[0], 2);
    small
}

#[test]
fn what_the_receiver_does_not_take_is_an_error_to_the_caller() {
    let mut wire =
        Wire::with(2, Kind::RawSocket(Serializer::Json), |settings| settings.agent = String::new());
    let (big, _) = wire.join();
    let small = small_peer(&mut wire);
    let large = "x".repeat(1_100);
    register(&mut wire, small, 1, "com.example.small");
    let error = wire.ask(big, &format!(r#"[48,1,{{}},"com.example.small",["{large}"]]"#));
    assert_eq!(head(&error, 5), json!([8, 48, 1, {}, "wamp.error.payload_size_exceeded"]));
    // The id of the invocation that was not sent is not spent.
    wire.send(big, r#"[48,2,{},"com.example.small"]"#);
    assert_eq!(wire.receive_one(small)[1], 1);
    register(&mut wire, big, 3, "com.example.big");
    wire.send(small, r#"[48,2,{},"com.example.big"]"#);
    wire.receive(big);
    wire.send(big, &format!(r#"[70,1,{{}},["{large}"]]"#));
    let error = wire.receive_one(small);
    assert_eq!(head(&error, 5), json!([8, 48, 2, {}, "wamp.error.payload_size_exceeded"]));
    wire.finish();
}

#[test]
fn limits_are_answered_with_unavailable() {
    let mut wire = Wire::with(2, KINDS[1], |settings| {
        settings.limits.calls_open_per_session_max = 2;
        settings.limits.registrations_per_session_max = 1;
        settings.limits.invocations_open_per_session_max = 3;
        settings.limits.subscriptions_per_session_max = 1;
    });
    let (callee, _) = wire.join();
    register(&mut wire, callee, 1, "com.example.slow");
    assert_eq!(wire.ask(callee, r#"[64,2,{},"com.example.more"]"#)[4], "wamp.error.unavailable");
    assert_eq!(wire.ask(callee, r#"[32,3,{},"com.example"]"#)[0], 33);
    assert_eq!(wire.ask(callee, r#"[32,4,{},"com.example.more"]"#)[4], "wamp.error.unavailable");
    let (one, _) = wire.join();
    let (two, _) = wire.join();
    wire.send(one, r#"[48,1,{},"com.example.slow"]"#);
    wire.send(one, r#"[48,2,{},"com.example.slow"]"#);
    assert_eq!(wire.ask(one, r#"[48,3,{},"com.example.slow"]"#)[4], "wamp.error.unavailable");
    wire.send(two, r#"[48,1,{},"com.example.slow"]"#);
    assert_eq!(wire.ask(two, r#"[48,2,{},"com.example.slow"]"#)[4], "wamp.error.unavailable");
    assert_eq!(wire.receive(callee).len(), 3);
    wire.finish();
}

#[test]
fn meta_events_tell_the_life_of_a_registration_in_order() {
    everywhere(|mut wire| {
        let (watcher, _) = wire.join();
        wire.ask(watcher, r#"[32,1,{"match":"prefix"},"wamp.registration."]"#);
        let (callee, session) = wire.join();
        let id = register(&mut wire, callee, 1, "com.example");
        wire.reset(callee);
        let events = wire.receive(watcher);
        let told: Vec<_> = events.iter().map(|event| (event[3]["topic"].clone(), event[4].clone())).collect();
        let time = "1970-01-01T00:00:00.000Z";
        let details =
            json!({"id": id, "created": time, "uri": "com.example", "match": "exact", "invoke": "single"});
        let created = json!([session, details]);
        let expected = [
            (json!("wamp.registration.on_create"), created),
            (json!("wamp.registration.on_register"), json!([session, id])),
            (json!("wamp.registration.on_unregister"), json!([session, id])),
            (json!("wamp.registration.on_delete"), json!([session, id])),
        ];
        assert_eq!(told, expected);
        wire.finish();
    });
}
