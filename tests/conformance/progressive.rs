//! Calls of several results and of several parts (advanced profile, "Progressive Call Results", "Progressive Call
//! Invocations").

use fanwire::router::RequestIds;
use serde_json::{Value, json};

use crate::announced::{CALLEE, CALLER, join, join_with, open, pair, register};
use crate::wire::{Client, KINDS, Wire, everywhere, head};

const RECEIVE: &str = r#"{"receive_progress":true}"#;

fn nothing() -> Vec<Value> {
    Vec::new()
}

// Results.

#[test]
fn progressive_results_come_in_order_and_before_the_last() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        assert_eq!(open(&mut wire, (caller, callee), RECEIVE), json!({"receive_progress": true}));
        for step in 0..20 {
            wire.send(callee, &format!(r#"[70,1,{{"progress":true,"_step":{step}}},[{step}],{{"k":1}}]"#));
        }
        wire.send(callee, r#"[70,1,{"progress":true}]"#);
        wire.send(callee, r#"[70,1,{"_step":"last"},["done"]]"#);
        let results = wire.receive(caller);
        assert_eq!(results.len(), 22);
        for (step, result) in results[..20].iter().enumerate() {
            assert_eq!(*result, json!([50, 1, {"progress": true, "_step": step}, [step], {"k": 1}]));
        }
        assert_eq!(results[20], json!([50, 1, {"progress": true}]));
        assert_eq!(results[21], json!([50, 1, {"_step": "last"}, ["done"]]));
        // The call is over.
        wire.send(callee, r#"[70,1,{"progress":true},["late"]]"#);
        wire.send(callee, "[70,1,{}]");
        assert_eq!((wire.receive(caller), wire.receive(callee)), (nothing(), nothing()));
        wire.finish();
    });
}

#[test]
fn an_error_may_be_the_last_word() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        open(&mut wire, (caller, callee), RECEIVE);
        wire.send(callee, r#"[70,1,{"progress":true},[1]]"#);
        wire.send(callee, r#"[8,68,1,{},"com.example.failed",[2]]"#);
        let results = wire.receive(caller);
        let error = json!([8, 48, 1, {}, "com.example.failed", [2]]);
        assert_eq!(results, [json!([50, 1, {"progress": true}, [1]]), error]);
        wire.finish();
    });
}

#[test]
fn both_sides_must_have_announced_it_and_the_caller_asked() {
    const RESULTS: &[&str] = &["progressive_call_results"];
    const STOPPABLE: &[&str] = &["progressive_call_results", "call_canceling"];
    let cases = [
        (RESULTS, STOPPABLE, RECEIVE, true),
        (RESULTS, STOPPABLE, "{}", false),
        (RESULTS, STOPPABLE, r#"{"receive_progress":false}"#, false),
        (&[], STOPPABLE, RECEIVE, false),
        // Nobody could stop this one.
        (RESULTS, RESULTS, RECEIVE, false),
        (RESULTS, &["call_canceling"], RECEIVE, false),
    ];
    for (caller, callee, options, passes) in cases {
        everywhere(|mut wire| {
            let (caller, _) = join_with(&mut wire, caller, &[]);
            let (callee, _) = join_with(&mut wire, &[], callee);
            register(&mut wire, callee, "{}", "com.example.slow");
            let details = open(&mut wire, (caller, callee), options);
            assert_eq!(details.get("receive_progress").is_some(), passes, "{details}");
            wire.send(callee, r#"[70,1,{"progress":true},[1]]"#);
            assert_eq!(wire.receive(caller).len(), usize::from(passes));
            // What nobody asked for is dropped and has ended nothing.
            wire.send(callee, "[70,1,{},[2]]");
            assert_eq!(wire.receive_one(caller), json!([50, 1, {}, [2]]));
            let unasked: u64 = wire.shards.iter().map(|shard| shard.counters().results_unasked).sum();
            assert_eq!(unasked, u64::from(!passes));
            wire.finish();
        });
    }
}

#[test]
fn options_of_the_wrong_type_are_told_to_the_caller() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        for (request, option) in [(1, "receive_progress"), (2, "progress"), (3, "disclose_me")] {
            let error = wire.ask(caller, &format!(r#"[48,{request},{{"{option}":1}},"com.example.slow"]"#));
            assert_eq!(head(&error, 5), json!([8, 48, request, {}, "wamp.error.invalid_argument"]));
            assert_eq!(error[5][1], option);
        }
        wire.send(caller, r#"[48,4,{},"com.example.slow"]"#);
        assert_eq!(wire.receive_one(callee)[1], 1);
        // YIELD has no answer of its own.
        wire.send(callee, r#"[70,1,{"progress":"yes"},[1]]"#);
        let error = wire.receive_one(caller);
        assert_eq!(head(&error, 5), json!([8, 48, 4, {}, "wamp.error.invalid_argument"]));
        assert!(!wire.ended(callee));
        wire.finish();
    });
}

#[test]
fn who_leaves_in_the_middle_ends_it_for_the_other() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        open(&mut wire, (caller, callee), RECEIVE);
        wire.send(callee, r#"[70,1,{"progress":true},[1]]"#);
        wire.receive(caller);
        wire.reset(callee);
        assert_eq!(head(&wire.receive_one(caller), 5), json!([8, 48, 1, {}, "wamp.error.canceled"]));

        let (caller, callee) = pair(&mut wire);
        open(&mut wire, (caller, callee), RECEIVE);
        wire.send(callee, r#"[70,1,{"progress":true},[1]]"#);
        wire.reset(caller);
        let interrupt = json!([69, 1, {"mode": "killnowait", "reason": "wamp.error.canceled"}]);
        assert_eq!(wire.receive_one(callee), interrupt);
        wire.send(callee, r#"[70,1,{"progress":true},[2]]"#);
        wire.send(callee, "[70,1,{}]");
        assert!(wire.receive(callee).is_empty() && !wire.ended(callee));
        wire.finish();
    });
}

#[test]
fn a_result_its_caller_does_not_take_ends_the_call() {
    let mut wire = Wire::with(2, KINDS[0], |_| {});
    let callee = join(&mut wire);
    register(&mut wire, callee, "{}", "com.example.slow");
    let caller = small(&mut wire, "caller");
    open(&mut wire, (caller, callee), RECEIVE);
    wire.send(callee, r#"[70,1,{"progress":true},[1]]"#);
    wire.send(callee, &format!(r#"[70,1,{{"progress":true}},["{}"]]"#, "x".repeat(3_000)));
    let results = wire.receive(caller);
    assert_eq!(results[0], json!([50, 1, {"progress": true}, [1]]));
    assert_eq!(head(&results[1], 5), json!([8, 48, 1, {}, "wamp.error.payload_size_exceeded"]));
    let interrupt = json!([69, 1, {"mode": "killnowait", "reason": "wamp.error.payload_size_exceeded"}]);
    assert_eq!(wire.receive_one(callee), interrupt);
    wire.finish();
}

/// A RawSocket peer of JSON that takes messages of 2,048 octets and has announced everything.
fn small(wire: &mut Wire, role: &str) -> Client {
    let client = wire.open(KINDS[0], false);
    wire.send_bytes(client, &[0x7f, 0x21, 0, 0]);
    wire.receive_bytes(client);
    let names = if role == "caller" { CALLER } else { CALLEE };
    let names: Vec<_> = names.iter().map(|name| format!(r#""{name}":true"#)).collect();
    let features = names.join(",");
    wire.send(client, &format!(r#"[1,"realm1",{{"roles":{{"{role}":{{"features":{{{features}}}}}}}}}]"#));
    assert_eq!(wire.receive_one(client)[0], 2);
    client
}

// Invocations.

#[test]
fn the_parts_of_a_call_reach_one_invocation_in_order() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        wire.send(caller, r#"[48,1,{"progress":true},"com.example.slow",[1]]"#);
        // Another call between the parts, and another kind of request.
        wire.send(caller, r#"[48,2,{},"com.example.slow",["other"]]"#);
        wire.send(caller, r#"[48,1,{"progress":true},"com.example.slow",[2],{"k":2}]"#);
        wire.send(caller, r#"[32,3,{},"com.example"]"#);
        wire.send(caller, r#"[48,1,{"progress":false},"com.example.slow",[3]]"#);
        let invocations = wire.receive(callee);
        let registration = &invocations[0][2];
        let expected = [
            json!([68, 1, registration, {"progress": true}, [1]]),
            json!([68, 2, registration, {}, ["other"]]),
            json!([68, 1, registration, {"progress": true}, [2], {"k": 2}]),
            json!([68, 1, registration, {}, [3]]),
        ];
        assert_eq!(invocations, expected);
        assert_eq!(wire.receive_one(caller)[0], 33);
        wire.send(callee, "[70,1,{},[6]]");
        assert_eq!(wire.receive_one(caller), json!([50, 1, {}, [6]]));
        wire.send(callee, "[70,2,{}]");
        assert_eq!(wire.receive_one(caller)[1], 2);
        wire.finish();
    });
}

#[test]
fn the_options_of_the_first_part_hold_for_all() {
    everywhere(|mut wire| {
        let (caller, session) = join_with(&mut wire, CALLER, &[]);
        let callee = join(&mut wire);
        let options = r#"{"match":"prefix","forward_timeout":true}"#;
        register(&mut wire, callee, options, "com.");
        let first = r#"{"progress":true,"receive_progress":true,"disclose_me":true,"timeout":50,"_own":1}"#;
        let (mut details, mut last) = (Vec::new(), json!({}));
        for options in [first, r#"{"progress":true,"timeout":"never read","_own":2,"_more":3}"#, "{}"] {
            wire.send(caller, &format!(r#"[48,1,{options},"com.example"]"#));
            details.push(wire.receive_one(callee)[3].clone());
        }
        for details in &mut details {
            let map = details.as_object_mut().unwrap();
            assert!(map.remove("caller_authid").is_some() && map.remove("caller_authrole").is_some());
            last = map.remove("progress").unwrap_or(Value::Null);
            let frozen = json!({
                "procedure": "com.example",
                "caller": session,
                "receive_progress": true,
                "timeout": 50,
                "_own": 1,
            });
            assert_eq!(*details, frozen);
        }
        assert_eq!(last, Value::Null, "only the last part is not progressive");
        wire.finish();
    });
}

#[test]
fn a_callee_that_unregisters_gets_the_rest_of_what_it_began() {
    everywhere(|mut wire| {
        let (caller, session) = join_with(&mut wire, CALLER, &[]);
        let callee = join(&mut wire);
        let registration = register(&mut wire, callee, r#"{"disclose_caller":true}"#, "com.example.slow");
        open(&mut wire, (caller, callee), r#"{"progress":true}"#);
        assert_eq!(wire.ask(callee, &format!("[66,2,{registration}]")), json!([67, 2]));
        wire.send(caller, r#"[48,1,{},"com.example.slow",[2]]"#);
        let part = wire.receive_one(callee);
        assert_eq!((&part[1], &part[3]["caller"]), (&json!(1), &json!(session)));
        wire.send(callee, "[70,1,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 1, {}]));
        wire.finish();
    });
}

#[test]
fn results_and_parts_may_go_both_ways_at_once() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        let first = r#"{"progress":true,"receive_progress":true}"#;
        open(&mut wire, (caller, callee), first);
        for step in 0..10 {
            wire.send(caller, &format!(r#"[48,1,{{"progress":true}},"com.example.slow",[{step}]]"#));
            assert_eq!(wire.receive_one(callee)[4], json!([step]));
            wire.send(callee, &format!(r#"[70,1,{{"progress":true}},[{step}]]"#));
            assert_eq!(wire.receive_one(caller), json!([50, 1, {"progress": true}, [step]]));
        }
        wire.send(caller, r#"[48,1,{},"com.example.slow"]"#);
        wire.send(callee, "[70,1,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 1, {}]));
        wire.finish();
    });
}

#[test]
fn parts_of_a_call_that_is_over_are_ignored() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        open(&mut wire, (caller, callee), r#"{"progress":true}"#);
        // The answer and the next part cross: the letter is on its way to the callee's shard, or from it.
        wire.send_without_letters(callee, r#"[8,68,1,{},"com.example.enough"]"#);
        wire.send_without_letters(caller, r#"[48,1,{"progress":true},"com.example.slow",[2]]"#);
        wire.settle();
        assert_eq!(wire.receive_one(caller), json!([8, 48, 1, {}, "com.example.enough"]));
        wire.send(caller, r#"[48,1,{"progress":true},"com.example.slow",[3]]"#);
        wire.send(caller, r#"[48,1,{},"com.example.slow",[4]]"#);
        assert_eq!((wire.receive(caller), wire.receive(callee)), (nothing(), nothing()));
        assert!(!wire.ended(caller));
        // The next call is a new one.
        wire.send(caller, r#"[48,2,{},"com.example.slow"]"#);
        assert_eq!(wire.receive_one(callee)[1], 2);
        wire.finish();
    });
}

#[test]
fn request_ids_that_go_on_with_nothing_are_violations() {
    let cases: [(&[&str], &str); 6] = [
        // Behind the last part.
        (&[r#"[48,1,{"progress":true},"com.example.slow"]"#, r#"[48,1,{},"com.example.slow"]"#], ""),
        // Of a call that has no parts.
        (&[r#"[48,1,{},"com.example.slow"]"#], ""),
        (&[r#"[48,1,{"progress":true},"com.example.slow"]"#, r#"[48,2,{},"com.example.slow"]"#], "2"),
        // A gap.
        (&[r#"[48,1,{"progress":true},"com.example.slow"]"#], "3"),
        // Of another procedure.
        (&[r#"[48,1,{"progress":true},"com.example.other"]"#], "2"),
        // Nobody has ever said that more would follow.
        (&[r#"[48,1,{},"com.example.none"]"#], ""),
    ];
    for (before, request) in cases {
        everywhere(|mut wire| {
            let (caller, callee) = pair(&mut wire);
            let other = join(&mut wire);
            register(&mut wire, other, "{}", "com.example.other");
            before.iter().for_each(|message| wire.send(caller, message));
            for client in [caller, callee, other] {
                wire.receive(client);
            }
            let wrong = match request {
                "" => r#"[48,1,{},"com.example.slow"]"#.to_owned(),
                // The other procedure's own call goes on under the first one's name.
                "2" if before.len() == 1 => r#"[48,1,{},"com.example.slow"]"#.to_owned(),
                request => format!(r#"[48,{request},{{}},"com.example.slow"]"#),
            };
            let abort = wire.ask(caller, &wrong);
            assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!("wamp.error.protocol_violation")));
            wire.finish();
        });
    }
}

/// Whether it has a callee or waits for one: a call without parts has no further one.
#[test]
fn the_request_id_of_a_call_that_waits_is_taken() {
    everywhere(|mut wire| {
        let (caller, callee) = (join(&mut wire), join(&mut wire));
        register(&mut wire, callee, r#"{"concurrency":1}"#, "com.example.slow");
        open(&mut wire, (caller, callee), r#"{"progress":true}"#);
        for _ in 0..2 {
            wire.send(caller, r#"[48,2,{},"com.example.slow"]"#);
        }
        let abort = wire.receive_one(caller);
        assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!("wamp.error.protocol_violation")));
        wire.finish();
    });
}

#[test]
fn a_caller_must_have_announced_that_it_sends_parts() {
    everywhere(|mut wire| {
        let (_, callee) = pair(&mut wire);
        for procedure in ["com.example.slow", "wamp.session.count"] {
            let (caller, _) = join_with(&mut wire, &["progressive_call_results"], &[]);
            let abort = wire.ask(caller, &format!(r#"[48,1,{{"progress":true}},"{procedure}"]"#));
            assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!("wamp.error.protocol_violation")));
        }
        assert_eq!(wire.receive(callee), nothing());
        wire.finish();
    });
}

#[test]
fn a_callee_must_have_announced_that_it_takes_parts_and_interrupts() {
    everywhere(|mut wire| {
        let caller = join(&mut wire);
        let callees = [&["call_canceling"][..], &["progressive_call_invocations"], &[]];
        for (callee, request) in callees.into_iter().zip(1..) {
            let (callee, _) = join_with(&mut wire, &[], callee);
            register(&mut wire, callee, "{}", &format!("com.example.p{request}"));
            let part = format!(r#"[48,{request},{{"progress":true}},"com.example.p{request}"]"#);
            let error = wire.ask(caller, &part);
            assert_eq!(head(&error, 5), json!([8, 48, request, {}, "wamp.error.feature_not_supported"]));
            wire.send(caller, &part);
            assert_eq!((wire.receive(caller), wire.receive(callee)), (nothing(), nothing()));
        }
        let error = wire.ask(caller, r#"[48,4,{"progress":true},"wamp.session.count"]"#);
        assert_eq!(head(&error, 5), json!([8, 48, 4, {}, "wamp.error.feature_not_supported"]));
        wire.finish();
    });
}

#[test]
fn a_part_that_cannot_be_sent_ends_the_call() {
    let mut wire = Wire::with(2, KINDS[0], |_| {});
    let caller = join(&mut wire);
    let callee = small(&mut wire, "callee");
    register(&mut wire, callee, "{}", "com.example.slow");
    open(&mut wire, (caller, callee), r#"{"progress":true}"#);
    let large = "x".repeat(3_000);
    wire.send(caller, &format!(r#"[48,1,{{"progress":true}},"com.example.slow",["{large}"]]"#));
    let error = wire.receive_one(caller);
    assert_eq!(head(&error, 5), json!([8, 48, 1, {}, "wamp.error.payload_size_exceeded"]));
    let interrupt = json!([69, 1, {"mode": "killnowait", "reason": "wamp.error.payload_size_exceeded"}]);
    assert_eq!(wire.receive_one(callee), interrupt);
    wire.finish();
}

#[test]
fn a_part_with_wrong_options_ends_the_call() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        open(&mut wire, (caller, callee), r#"{"progress":true}"#);
        let error = wire.ask(caller, r#"[48,1,{"progress":7},"com.example.slow"]"#);
        assert_eq!(head(&error, 5), json!([8, 48, 1, {}, "wamp.error.invalid_argument"]));
        assert_eq!(wire.receive_one(callee)[2]["reason"], "wamp.error.invalid_argument");
        wire.finish();
    });
}

#[test]
fn what_is_kept_of_calls_in_parts_is_bounded() {
    let mut wire = Wire::with(2, KINDS[1], |settings| settings.limits.call_kept_bytes_max = 3_500);
    let (caller, callee) = pair(&mut wire);
    let part = |request: u64| format!(r#"[48,{request},{{"progress":true}},"com.example.slow"]"#);
    for request in 1..=3 {
        wire.send(caller, &part(request));
        assert_eq!(wire.receive_one(callee)[1], request);
    }
    assert_eq!(head(&wire.ask(caller, &part(4)), 5), json!([8, 48, 4, {}, "wamp.error.unavailable"]));
    // Nothing is kept behind the last part.
    wire.send(caller, r#"[48,1,{},"com.example.slow"]"#);
    wire.receive(callee);
    wire.send(caller, &part(5));
    assert_eq!(wire.receive_one(callee)[1], 4);
    wire.finish();
}

#[test]
fn request_ids_in_any_order_go_on_with_open_calls() {
    let mut wire = Wire::with(2, KINDS[1], |settings| settings.listeners[0].request_ids = RequestIds::Any);
    let (caller, callee) = pair(&mut wire);
    for request in [9, 4] {
        wire.send(caller, &format!(r#"[48,{request},{{"progress":true}},"com.example.slow"]"#));
    }
    wire.send(caller, r#"[48,9,{},"com.example.slow",["nine"]]"#);
    wire.send(caller, r#"[48,4,{},"com.example.slow",["four"]]"#);
    let invocations = wire.receive(callee);
    let ids: Vec<_> = invocations.iter().map(|invocation| invocation[1].clone()).collect();
    assert_eq!(ids, [1, 2, 1, 2]);
    assert_eq!((&invocations[2][4][0], &invocations[3][4][0]), (&json!("nine"), &json!("four")));
    wire.finish();
}
