//! Callees that are unavailable (advanced profile, "Call Re-Routing").

use serde_json::json;

use crate::announced::{CALLER, join, join_with, open, pair, register};
use crate::wire::{Client, KINDS, Wire, everywhere, head};

const SHARED: &str = "com.example.shared";
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

// Several callees.

fn callees(wire: &mut Wire, options: &str, count: usize) -> Vec<Client> {
    (0..count).map(|_| callee(wire, options)).collect()
}

fn callee(wire: &mut Wire, options: &str) -> Client {
    let callee = join(wire);
    register(wire, callee, options, SHARED);
    callee
}

fn call(wire: &mut Wire, caller: Client, request: u64, options: &str) {
    wire.send(caller, &format!(r#"[48,{request},{options},"{SHARED}",[{request}]]"#));
}

/// Who has got the INVOCATION of that argument, and nobody else anything; its request id.
fn asked(wire: &mut Wire, callees: &[Client], argument: u64) -> (usize, u64) {
    let mut asked = Vec::new();
    for (place, callee) in callees.iter().enumerate() {
        for invocation in wire.receive(*callee) {
            assert_eq!((&invocation[0], &invocation[4]), (&json!(68), &json!([argument])), "{invocation}");
            asked.push((place, invocation[1].as_u64().unwrap()));
        }
    }
    assert_eq!(asked.len(), 1, "{asked:?}");
    asked[0]
}

fn declines(wire: &mut Wire, callee: Client, invocation: u64) {
    wire.send(callee, &format!(r#"[8,68,{invocation},{{}},"wamp.error.unavailable"]"#));
}

fn error(request: u64, uri: &str) -> serde_json::Value {
    json!([8, 48, request, {}, uri])
}

#[test]
fn the_next_callee_is_asked_and_each_but_once() {
    everywhere(|mut wire| {
        let caller = join(&mut wire);
        let callees = callees(&mut wire, r#"{"invoke":"roundrobin"}"#, 3);
        wire.send(caller, &format!(r#"[48,1,{{"_own":1}},"{SHARED}",["kept"],{{"too":1}}]"#));
        for callee in &callees {
            let invocation = wire.receive_one(*callee);
            assert_eq!(invocation, json!([68, 1, invocation[2], {"_own": 1}, ["kept"], {"too": 1}]));
            assert!(wire.receive(caller).is_empty());
            wire.send(*callee, UNAVAILABLE);
        }
        assert_eq!(head(&wire.receive_one(caller), 5), error(1, "wamp.error.no_available_callee"));
        // The one behind the last is the first, and that it answers is all the caller sees.
        for (request, first) in [(2, 1), (3, 2)] {
            call(&mut wire, caller, request, "{}");
            let (place, invocation) = asked(&mut wire, &callees, request);
            assert_eq!(place, first, "a call that goes elsewhere is nobody's turn");
            declines(&mut wire, callees[place], invocation);
            let (place, invocation) = asked(&mut wire, &callees, request);
            assert_eq!(place, (first + 1) % 3);
            wire.send(callees[place], &format!(r#"[70,{invocation},{{}},["done"]]"#));
            assert_eq!(wire.receive_one(caller), json!([50, request, {}, ["done"]]));
        }
        wire.finish();
    });
}

#[test]
fn the_policy_says_who_is_next() {
    for (options, order) in [
        (r#"{"invoke":"first"}"#, Some([0, 1, 2, 3])),
        (r#"{"invoke":"last"}"#, Some([3, 2, 1, 0])),
        (r#"{"invoke":"roundrobin"}"#, Some([0, 1, 2, 3])),
        (r#"{"invoke":"random"}"#, None),
        (r#"{"invoke":"_leastopen"}"#, Some([0, 1, 2, 3])),
        (r#"{"invoke":"_poweroftwo"}"#, None),
        (r#"{"invoke":"first","concurrency":2}"#, Some([0, 1, 2, 3])),
        (r#"{"invoke":"last","concurrency":2}"#, Some([3, 2, 1, 0])),
        (r#"{"invoke":"roundrobin","concurrency":2}"#, Some([0, 1, 2, 3])),
    ] {
        everywhere(|mut wire| {
            let caller = join(&mut wire);
            let callees = callees(&mut wire, options, 4);
            call(&mut wire, caller, 1, "{}");
            let mut places = Vec::new();
            for _ in 0..4 {
                let (place, invocation) = asked(&mut wire, &callees, 1);
                places.push(place);
                declines(&mut wire, callees[place], invocation);
            }
            assert_eq!(head(&wire.receive_one(caller), 5), error(1, "wamp.error.no_available_callee"));
            if let Some(order) = order {
                assert_eq!(places, order, "{options}");
            }
            places.sort_unstable();
            assert_eq!(places, [0, 1, 2, 3], "{options}");
            wire.finish();
        });
    }
}

#[test]
fn the_less_busy_of_the_others_is_asked() {
    everywhere(|mut wire| {
        let caller = join(&mut wire);
        let callees = callees(&mut wire, r#"{"invoke":"_leastopen"}"#, 3);
        for request in 1..=3 {
            call(&mut wire, caller, request, "{}");
            assert_eq!(asked(&mut wire, &callees, request), (request as usize - 1, 1));
        }
        wire.send(callees[2], "[70,1,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 3, {}]));
        declines(&mut wire, callees[0], 1);
        assert_eq!(asked(&mut wire, &callees, 1), (2, 2));
        // Who has declined has nothing open any more.
        call(&mut wire, caller, 4, "{}");
        assert_eq!(asked(&mut wire, &callees, 4), (0, 2));
        wire.finish();
    });
}

#[test]
fn who_is_unavailable_is_free_for_those_who_wait_and_who_is_busy_is_waited_for() {
    everywhere(|mut wire| {
        let (one, two) = (join(&mut wire), join(&mut wire));
        let callees = callees(&mut wire, r#"{"invoke":"first","concurrency":1}"#, 2);
        for request in 1..=2 {
            call(&mut wire, one, request, "{}");
            assert_eq!(asked(&mut wire, &callees, request), (request as usize - 1, 1));
        }
        call(&mut wire, two, 1, "{}");
        // The one that waits gets the callee that says it is unavailable for another, which waits for the other one.
        declines(&mut wire, callees[0], 1);
        assert_eq!(asked(&mut wire, &callees, 1), (0, 2));
        declines(&mut wire, callees[0], 2);
        assert!(wire.receive(callees[0]).is_empty(), "both are for the other only");
        assert!(wire.receive(one).is_empty() && wire.receive(two).is_empty());
        for (caller, request, invocation) in [(one, 2, 1), (one, 1, 2), (two, 1, 3)] {
            wire.send(callees[1], &format!("[70,{invocation},{{}}]"));
            assert_eq!(wire.receive_one(caller), json!([50, request, {}]));
            wire.receive(callees[1]);
        }
        wire.finish();
    });
}

#[test]
fn one_that_declines_everything_leaves_the_line_to_the_others() {
    everywhere(|mut wire| {
        let caller = join(&mut wire);
        let callees = callees(&mut wire, r#"{"invoke":"roundrobin","concurrency":1}"#, 2);
        for request in 1..=10 {
            call(&mut wire, caller, request, "{}");
        }
        // One declines whatever it gets; the other answers one by one.
        let mut answered = 0;
        while answered < 10 {
            let declined = wire.receive(callees[0]);
            for invocation in &declined {
                declines(&mut wire, callees[0], invocation[1].as_u64().unwrap());
            }
            if declined.is_empty() {
                let invocation = wire.receive_one(callees[1]);
                wire.send(callees[1], &format!("[70,{},{{}}]", invocation[1]));
                assert_eq!(wire.receive_one(caller)[0], 50);
                answered += 1;
            }
        }
        wire.finish();
    });
}

/// It waits for somebody who may never come, as far as its caller is concerned.
#[test]
fn a_call_that_was_declined_and_waits_may_be_given_up() {
    for how in ["cancel", "timeout", "leave", "unregister"] {
        everywhere(|mut wire| {
            let (caller, patient) = (join(&mut wire), join(&mut wire));
            let callees = callees(&mut wire, r#"{"invoke":"first","concurrency":1}"#, 2);
            call(&mut wire, caller, 1, r#"{"timeout":1000}"#);
            assert_eq!(asked(&mut wire, &callees, 1), (0, 1));
            // The other is busy while the first declines.
            call(&mut wire, patient, 1, "{}");
            assert_eq!(asked(&mut wire, &callees, 1), (1, 1));
            declines(&mut wire, callees[0], 1);
            assert!(wire.receive(caller).is_empty());
            let uri = match how {
                "cancel" => {
                    wire.send(caller, "[49,1,{}]");
                    "wamp.error.canceled"
                }
                "timeout" => {
                    wire.sleep(std::time::Duration::from_millis(1_000));
                    "wamp.error.timeout"
                }
                "unregister" => {
                    wire.send(callees[0], "[66,2,1]");
                    wire.send(callees[1], "[66,2,1]");
                    "wamp.error.no_available_callee"
                }
                _ => {
                    wire.reset(caller);
                    ""
                }
            };
            if how != "leave" {
                assert_eq!(head(&wire.receive_one(caller), 5), error(1, uri), "{how}");
            }
            wire.finish();
        });
    }
}

#[test]
fn who_comes_after_the_call_is_asked_when_the_only_one_declines() {
    for options in [r#"{"invoke":"roundrobin"}"#, r#"{"invoke":"first","concurrency":1}"#] {
        everywhere(|mut wire| {
            let caller = join(&mut wire);
            let mut callees = callees(&mut wire, options, 1);
            call(&mut wire, caller, 1, "{}");
            assert_eq!(asked(&mut wire, &callees, 1), (0, 1));
            callees.push(callee(&mut wire, options));
            declines(&mut wire, callees[0], 1);
            assert!(wire.receive(caller).is_empty());
            assert_eq!(asked(&mut wire, &callees, 1), (1, 1));
            wire.finish();
        });
    }
}

#[test]
fn a_callee_that_comes_while_others_decline_is_asked_too() {
    everywhere(|mut wire| {
        let caller = join(&mut wire);
        let mut callees = callees(&mut wire, r#"{"invoke":"roundrobin"}"#, 2);
        call(&mut wire, caller, 1, "{}");
        for place in 0..2 {
            assert_eq!(asked(&mut wire, &callees, 1), (place, 1));
            if place == 1 {
                callees.push(callee(&mut wire, r#"{"invoke":"roundrobin","concurrency":3}"#));
            }
            declines(&mut wire, callees[place], 1);
        }
        assert_eq!(asked(&mut wire, &callees, 1), (2, 1));
        wire.send(callees[2], "[70,1,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 1, {}]));
        wire.finish();
    });
}

/// The second callee asked goes before its INVOCATION: the call is for the third, not for the first again.
#[test]
fn a_callee_that_was_unavailable_is_not_asked_when_another_goes() {
    for options in [r#"{"invoke":"first"}"#, r#"{"invoke":"first","concurrency":1}"#] {
        everywhere(|mut wire| {
            let caller = join(&mut wire);
            let callees = callees(&mut wire, options, 3);
            call(&mut wire, caller, 1, "{}");
            assert_eq!(asked(&mut wire, &callees, 1), (0, 1));
            wire.send_without_letters(callees[0], r#"[8,68,1,{},"wamp.error.unavailable"]"#);
            let from = wire.place(callees[0]).0;
            wire.move_letters(from, wire.place(caller).0);
            wire.send_without_letters(callees[1], "[66,2,1]");
            wire.settle();
            // On a shard of its own the callee has gone first, and else it has the INVOCATION.
            if wire.receive(callees[1])[0][0] == 68 {
                declines(&mut wire, callees[1], 1);
            }
            assert_eq!(asked(&mut wire, &callees, 1), (2, 1));
            declines(&mut wire, callees[2], 1);
            assert_eq!(head(&wire.receive_one(caller), 5), error(1, "wamp.error.no_available_callee"));
            wire.finish();
        });
    }
}

#[test]
fn each_callee_has_the_time_and_the_terms_of_the_call() {
    everywhere(|mut wire| {
        let (caller, session) = join_with(&mut wire, CALLER, &[]);
        let options = r#"{"invoke":"first","forward_timeout":true}"#;
        let (first, second) = (callee(&mut wire, options), callee(&mut wire, r#"{"invoke":"first"}"#));
        let third = callee(&mut wire, r#"{"invoke":"first","disclose_caller":true}"#);
        call(&mut wire, caller, 1, r#"{"timeout":1000,"receive_progress":true}"#);
        let terms = json!({"receive_progress": true, "timeout": 1000});
        assert_eq!(wire.receive_one(first)[3], terms, "it keeps the time itself");
        wire.sleep(std::time::Duration::from_millis(5_000));
        declines(&mut wire, first, 1);
        assert_eq!(wire.receive_one(second)[3], json!({"receive_progress": true}));
        declines(&mut wire, second, 1);
        let details = wire.receive_one(third)[3].clone();
        assert_eq!((&details["caller"], &details["timeout"]), (&json!(session), &json!(null)));
        // For those who do not, the router does.
        wire.sleep(std::time::Duration::from_millis(1_000));
        assert_eq!(head(&wire.receive_one(caller), 5), error(1, "wamp.error.timeout"));
        assert_eq!(wire.receive_one(third)[0], 69);
        wire.finish();
    });
}

#[test]
fn a_call_in_parts_goes_elsewhere_only_before_its_second_part() {
    everywhere(|mut wire| {
        let caller = join(&mut wire);
        let callees = callees(&mut wire, r#"{"invoke":"roundrobin"}"#, 3);
        call(&mut wire, caller, 1, r#"{"progress":true}"#);
        assert_eq!(asked(&mut wire, &callees, 1), (0, 1));
        declines(&mut wire, callees[0], 1);
        assert_eq!(asked(&mut wire, &callees, 1), (1, 1));
        for (progress, argument) in [(true, 8), (false, 9)] {
            let part = format!(r#"[48,1,{{"progress":{progress}}},"{SHARED}",[{argument}]]"#);
            wire.send(caller, &part);
            assert_eq!(asked(&mut wire, &callees, argument), (1, 1));
        }
        declines(&mut wire, callees[1], 1);
        assert_eq!(head(&wire.receive_one(caller), 5), error(1, "wamp.error.no_available_callee"));
        wire.finish();
    });
}

#[test]
fn a_call_of_which_nothing_could_be_kept_goes_nowhere_else() {
    let mut wire = Wire::with(2, KINDS[1], |settings| settings.limits.call_kept_bytes_max = 1_400);
    let caller = join(&mut wire);
    let callees = callees(&mut wire, r#"{"invoke":"first"}"#, 2);
    for request in 1..=2 {
        call(&mut wire, caller, request, "{}");
        assert_eq!(asked(&mut wire, &callees, request), (0, request));
    }
    declines(&mut wire, callees[0], 2);
    assert_eq!(head(&wire.receive_one(caller), 5), error(2, "wamp.error.no_available_callee"));
    declines(&mut wire, callees[0], 1);
    assert_eq!(asked(&mut wire, &callees, 1), (1, 1));
    wire.finish();
}
