//! The time a call may take (advanced profile, "Call Timeouts").

use std::sync::Arc;
use std::time::Duration;

use fanwire::router::RealmSettings;
use serde_json::{Value, json};

use crate::announced::{CALLER, join, join_with, open, pair, register};
use crate::wire::{Client, KINDS, Wire, everywhere, head};

const MS: Duration = Duration::from_millis(1);

fn timed_out(request: u64) -> Value {
    json!([8, 48, request, {}, "wamp.error.timeout"])
}

/// The caller is told nothing before the time is over, and then that it is.
fn passes_after(wire: &mut Wire, caller: Client, timeout: Duration) {
    wire.sleep(timeout - MS);
    assert!(wire.receive(caller).is_empty());
    wire.sleep(MS);
    assert_eq!(head(&wire.receive_one(caller), 5), timed_out(1));
}

#[test]
fn a_call_that_takes_too_long_is_answered_and_its_callee_interrupted() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        assert_eq!(open(&mut wire, (caller, callee), r#"{"timeout":1000}"#), json!({}));
        passes_after(&mut wire, caller, 1_000 * MS);
        let interrupt = json!([69, 1, {"mode": "killnowait", "reason": "wamp.error.timeout"}]);
        assert_eq!(wire.receive_one(callee), interrupt);
        wire.send(callee, "[70,1,{}]");
        assert!(wire.receive(caller).is_empty() && !wire.ended(callee));
        wire.finish();
    });
}

#[test]
fn a_callee_that_takes_no_interrupt_is_told_nothing() {
    everywhere(|mut wire| {
        let caller = join(&mut wire);
        let (callee, _) = join_with(&mut wire, &[], &[]);
        register(&mut wire, callee, "{}", "com.example.slow");
        open(&mut wire, (caller, callee), r#"{"timeout":1000}"#);
        passes_after(&mut wire, caller, 1_000 * MS);
        wire.send(callee, "[70,1,{}]");
        assert!(wire.receive(caller).is_empty() && wire.receive(callee).is_empty());
        wire.finish();
    });
}

/// No deadline of a call is set in any shard: only those of the connections' own, which are a long way off.
fn no_deadline(wire: &Wire) -> bool {
    let soon = wire.now + 1_000 * MS;
    wire.shards.iter().all(|shard| shard.next_deadline().is_none_or(|at| at > soon))
}

#[test]
fn whatever_ends_the_call_ends_its_time() {
    let ends: [fn(&mut Wire, Client, Client); 6] = [
        |wire, _, callee| wire.send(callee, "[70,1,{}]"),
        |wire, _, callee| wire.send(callee, r#"[8,68,1,{},"com.example.no"]"#),
        |wire, caller, _| wire.send(caller, "[49,1,{}]"),
        |wire, caller, _| wire.send(caller, r#"[49,1,{"mode":"skip"}]"#),
        |wire, caller, _| wire.reset(caller),
        |wire, _, callee| wire.reset(callee),
    ];
    for end in ends {
        everywhere(|mut wire| {
            let (caller, callee) = pair(&mut wire);
            open(&mut wire, (caller, callee), r#"{"timeout":1000}"#);
            assert!(!no_deadline(&wire));
            end(&mut wire, caller, callee);
            assert!(no_deadline(&wire));
            for client in [caller, callee] {
                wire.receive(client);
            }
            wire.sleep(2_000 * MS);
            assert!(wire.receive(caller).is_empty() && wire.receive(callee).is_empty());
            wire.finish();
        });
    }
}

#[test]
fn each_progressive_result_begins_the_time_anew() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        open(&mut wire, (caller, callee), r#"{"timeout":1000,"receive_progress":true,"progress":true}"#);
        for step in 0..5 {
            wire.sleep(900 * MS);
            wire.send(callee, &format!(r#"[70,1,{{"progress":true}},[{step}]]"#));
            assert_eq!(wire.receive_one(caller)[3], json!([step]));
        }
        // A further part of the call does not.
        wire.sleep(500 * MS);
        wire.send(caller, r#"[48,1,{},"com.example.slow"]"#);
        passes_after(&mut wire, caller, 500 * MS);
        wire.finish();
    });
}

#[test]
fn results_nobody_asked_for_do_not() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        open(&mut wire, (caller, callee), r#"{"timeout":1000}"#);
        wire.sleep(500 * MS);
        wire.send(callee, r#"[70,1,{"progress":true}]"#);
        passes_after(&mut wire, caller, 500 * MS);
        wire.finish();
    });
}

#[test]
fn a_callee_that_was_asked_to_end_has_no_longer() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        open(&mut wire, (caller, callee), r#"{"timeout":1000}"#);
        wire.send(caller, r#"[49,1,{"mode":"kill"}]"#);
        passes_after(&mut wire, caller, 1_000 * MS);
        let modes: Vec<_> = wire.receive(callee).iter().map(|interrupt| interrupt[2].clone()).collect();
        let expected = [
            json!({"mode": "kill", "reason": "wamp.error.canceled"}),
            json!({"mode": "killnowait", "reason": "wamp.error.timeout"}),
        ];
        assert_eq!(modes, expected);
        wire.finish();
    });
}

#[test]
fn who_asks_for_it_and_can_keeps_the_time_itself() {
    let cases = [
        (r#"{"forward_timeout":true}"#, &["call_timeout"][..], true),
        (r#"{"forward_timeout":true}"#, &[], false),
        (r#"{"forward_timeout":false}"#, &["call_timeout"], false),
        ("{}", &["call_timeout"], false),
    ];
    for (options, announced, forwarded) in cases {
        everywhere(|mut wire| {
            let caller = join(&mut wire);
            let (callee, _) = join_with(&mut wire, &[], announced);
            register(&mut wire, callee, options, "com.example.slow");
            let details = open(&mut wire, (caller, callee), r#"{"timeout":1000}"#);
            assert_eq!(details, if forwarded { json!({"timeout": 1000}) } else { json!({}) });
            assert_eq!(no_deadline(&wire), forwarded);
            wire.sleep(2_000 * MS);
            if forwarded {
                assert!(wire.receive(caller).is_empty());
                wire.send(callee, r#"[8,68,1,{},"wamp.error.timeout"]"#);
            }
            assert_eq!(head(&wire.receive_one(caller), 5), timed_out(1));
            wire.finish();
        });
    }
}

/// A wire on whose realm calls have 1,000 ms if they do not say otherwise, and none has more than 3,000.
fn hasty(shards: usize) -> Wire {
    Wire::with(shards, KINDS[1], |settings| {
        settings.realms[0] = RealmSettings { call_timeout_ms: 1_000, ..RealmSettings::open("realm1") };
        settings.limits.call_timeout_ms_max = 3_000;
    })
}

#[test]
fn the_realm_has_a_time_and_the_router_a_longest_one() {
    for (options, timeout) in [
        ("{}", Some(1_000)),
        (r#"{"timeout":null}"#, Some(1_000)),
        (r#"{"timeout":0}"#, None),
        (r#"{"timeout":2000}"#, Some(2_000)),
        (r#"{"timeout":3001}"#, Some(3_000)),
        (r#"{"timeout":18446744073709551615}"#, Some(3_000)),
    ] {
        let mut wire = hasty(2);
        let (caller, callee) = pair(&mut wire);
        open(&mut wire, (caller, callee), options);
        match timeout {
            Some(timeout_ms) => passes_after(&mut wire, caller, timeout_ms * MS),
            None => {
                wire.sleep(10_000 * MS);
                wire.send(callee, "[70,1,{}]");
                assert_eq!(wire.receive_one(caller), json!([50, 1, {}]));
            }
        }
        wire.finish();
    }
}

#[test]
fn a_timeout_is_a_number_of_milliseconds() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        for (wrong, request) in ["-1", "1.5", "\"1\"", "true", "[]"].into_iter().zip(1..) {
            let message = format!(r#"[48,{request},{{"timeout":{wrong}}},"com.example.slow"]"#);
            let error = wire.ask(caller, &message);
            assert_eq!(head(&error, 5), json!([8, 48, request, {}, "wamp.error.invalid_argument"]));
        }
        assert!(wire.receive(callee).is_empty());
        let error = wire.ask(callee, r#"[64,2,{"forward_timeout":1},"com.example.more"]"#);
        assert_eq!(head(&error, 5), json!([8, 64, 2, {}, "wamp.error.invalid_argument"]));
        wire.finish();
    });
}

#[test]
fn many_calls_time_out_each_at_its_own_time() {
    let mut wire = Wire::new(4, KINDS[1]);
    let (caller, _) = join_with(&mut wire, CALLER, &[]);
    let callee = join(&mut wire);
    register(&mut wire, callee, "{}", "com.example.slow");
    // Longer ones first.
    for request in 1..=100u64 {
        let timeout_ms = (101 - request) * 10;
        wire.send(caller, &format!(r#"[48,{request},{{"timeout":{timeout_ms}}},"com.example.slow"]"#));
    }
    let shared = Arc::clone(&wire.router);
    for request in (1..=100).rev() {
        wire.sleep(10 * MS);
        assert_eq!(head(&wire.receive_one(caller), 5), timed_out(request));
    }
    assert_eq!(shared.realms()[0].session_count(), 2);
    wire.finish();
}
