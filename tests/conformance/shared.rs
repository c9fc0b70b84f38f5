//! REGISTER with `invoke`, `concurrency` and `force_reregister` (advanced profile, "Shared Registration", "Registration
//! Revocation"; the latter two options are Crossbar.io's and Autobahn's).

use std::time::Duration;

use fanwire::router::authentication;
use serde_json::{Value, json};

use crate::announced;
use crate::wire::{Client, KINDS, Wire, everywhere, head};

const PROCEDURE: &str = "com.example.work";

/// A callee that has registered the procedure with these options; the registration.
fn worker(wire: &mut Wire, options: &str) -> (Client, u64) {
    let (callee, _) = wire.join();
    let registered = wire.ask(callee, &format!(r#"[64,1,{options},"{PROCEDURE}"]"#));
    assert_eq!(registered[0], 65, "{registered}");
    (callee, registered[2].as_u64().unwrap())
}

fn workers(wire: &mut Wire, options: &str, count: usize) -> Vec<Client> {
    (0..count).map(|_| worker(wire, options).0).collect()
}

fn call(wire: &mut Wire, caller: Client, request: u64) {
    wire.send(caller, &format!(r#"[48,{request},{{}},"{PROCEDURE}",[{request}]]"#));
}

/// Which of the callees have been invoked since, each with its request id and its argument.
fn invoked(wire: &mut Wire, callees: &[Client]) -> Vec<(usize, u64, u64)> {
    let mut invoked = Vec::new();
    for (place, callee) in callees.iter().enumerate() {
        for invocation in wire.receive(*callee) {
            assert_eq!(invocation[0], 68, "{invocation}");
            let argument = invocation[4][0].as_u64().unwrap();
            invoked.push((place, invocation[1].as_u64().unwrap(), argument));
        }
    }
    invoked
}

/// Calls, is answered by whoever is called, and says who that was.
fn turn(wire: &mut Wire, caller: Client, request: u64, callees: &[Client]) -> usize {
    call(wire, caller, request);
    let invoked = invoked(wire, callees);
    let [(place, invocation, _)] = invoked[..] else { panic!("one is called: {invoked:?}") };
    wire.send(callees[place], &format!("[70,{invocation},{{}},[{place}]]"));
    assert_eq!(wire.receive_one(caller), json!([50, request, {}, [place]]));
    place
}

fn error(request: u64, uri: &str) -> Value {
    json!([8, 48, request, {}, uri])
}

#[test]
fn first_last_and_roundrobin_follow_the_order_of_registering() {
    for (invoke, turns) in [("first", [0; 7]), ("last", [2; 7]), ("roundrobin", [0, 1, 2, 0, 1, 2, 0])] {
        everywhere(|mut wire| {
            let callees = workers(&mut wire, &format!(r#"{{"invoke":"{invoke}"}}"#), 3);
            // The rotation is one over all shards.
            let callers = [wire.join().0, wire.join().0, wire.join().0];
            for (call, expected) in turns.into_iter().enumerate() {
                let caller = callers[call * 2 % 3];
                let request = 1 + call as u64 / 3;
                assert_eq!(turn(&mut wire, caller, request, &callees), expected, "{invoke}");
            }
            wire.finish();
        });
    }
}

#[test]
fn the_rotation_goes_on_when_members_come_and_go() {
    everywhere(|mut wire| {
        let mut callees = workers(&mut wire, r#"{"invoke":"roundrobin"}"#, 3);
        let (caller, _) = wire.join();
        let mut request = 0..;
        let mut turns = |wire: &mut Wire, callees: &[Client], count: usize| -> Vec<usize> {
            (0..count).map(|_| turn(wire, caller, 1 + request.next().unwrap(), callees)).collect()
        };
        assert_eq!(turns(&mut wire, &callees, 2), [0, 1]);
        // One whose turn is over leaves: the next is still the next.
        wire.reset(callees.remove(0));
        assert_eq!(turns(&mut wire, &callees, 3), [1, 0, 1]);
        // At the end of the round one comes, and is the next.
        callees.push(worker(&mut wire, r#"{"invoke":"roundrobin"}"#).0);
        assert_eq!(turns(&mut wire, &callees, 4), [2, 0, 1, 2]);
        // The one whose turn it is leaves.
        wire.reset(callees.remove(0));
        assert_eq!(turns(&mut wire, &callees, 3), [0, 1, 0]);
        wire.finish();
    });
}

#[test]
fn chance_calls_everybody() {
    for invoke in ["random", "_poweroftwo"] {
        let mut wire = Wire::new(4, KINDS[0]);
        let callees = workers(&mut wire, &format!(r#"{{"invoke":"{invoke}"}}"#), 4);
        let (caller, _) = wire.join();
        let mut counts = [0; 4];
        for request in 1..=200 {
            counts[turn(&mut wire, caller, request, &callees)] += 1;
        }
        assert!(counts.iter().all(|count| (30..70).contains(count)), "{invoke} {counts:?}");
        wire.finish();
    }
}

#[test]
fn the_least_busy_is_called() {
    everywhere(|mut wire| {
        let callees = workers(&mut wire, r#"{"invoke":"_leastopen"}"#, 3);
        let (one, _) = wire.join();
        let (two, _) = wire.join();
        for request in 1..=3 {
            call(&mut wire, one, request);
        }
        assert_eq!(invoked(&mut wire, &callees), [(0, 1, 1), (1, 1, 2), (2, 1, 3)]);
        wire.send(callees[1], "[70,1,{}]");
        wire.receive(one);
        // Whoever calls, from whatever shard.
        call(&mut wire, two, 1);
        assert_eq!(invoked(&mut wire, &callees), [(1, 2, 1)]);
        // What was canceled is open no longer.
        wire.send(one, r#"[49,3,{"mode":"skip"}]"#);
        assert_eq!(head(&wire.receive_one(one), 5), error(3, "wamp.error.canceled"));
        call(&mut wire, two, 2);
        assert_eq!(invoked(&mut wire, &callees), [(2, 2, 2)]);
        // Nor is what its caller has left behind.
        wire.reset(one);
        assert_eq!(wire.receive_one(callees[0])[0], 69);
        call(&mut wire, two, 3);
        assert_eq!(invoked(&mut wire, &callees), [(0, 2, 3)]);
        wire.finish();
    });
}

#[test]
fn only_the_same_policy_may_join() {
    everywhere(|mut wire| {
        let (first, registration) = worker(&mut wire, r#"{"invoke":"roundrobin"}"#);
        let (second, same) = worker(&mut wire, r#"{"invoke":"roundrobin"}"#);
        assert_eq!(registration, same);
        let (third, _) = wire.join();
        let refused = [(1, "{}"), (2, r#"{"invoke":"single"}"#), (3, r#"{"invoke":"last"}"#)];
        for (request, options) in refused {
            let error = wire.ask(third, &format!(r#"[64,{request},{options},"{PROCEDURE}"]"#));
            assert_eq!(head(&error, 5), json!([8, 64, request, {}, "wamp.error.procedure_already_exists"]));
        }
        for (request, options) in [(4, r#"{"invoke":"all"}"#), (5, r#"{"concurrency":0}"#)] {
            let error = wire.ask(third, &format!(r#"[64,{request},{options},"{PROCEDURE}"]"#));
            assert_eq!(head(&error, 5), json!([8, 64, request, {}, "wamp.error.invalid_argument"]));
        }
        // Who registers again has it already, and still once.
        let again = wire.ask(first, &format!(r#"[64,2,{{"invoke":"roundrobin"}},"{PROCEDURE}"]"#));
        assert_eq!(again, json!([65, 2, registration]));
        // The policy is free when the last has left.
        assert_eq!(wire.ask(first, &format!("[66,3,{registration}]")), json!([67, 3]));
        let gone = wire.ask(first, &format!("[66,4,{registration}]"));
        assert_eq!(gone[4], "wamp.error.no_such_registration");
        assert_eq!(wire.ask(second, &format!("[66,2,{registration}]")), json!([67, 2]));
        let registered = wire.ask(third, &format!(r#"[64,6,{{}},"{PROCEDURE}"]"#));
        assert_ne!(registered[2], json!(registration), "a new one");
        wire.finish();
    });
}

#[test]
fn a_call_whose_callee_is_leaving_is_answered_by_another() {
    everywhere(|mut wire| {
        let callees = workers(&mut wire, r#"{"invoke":"first"}"#, 2);
        let (caller, _) = wire.join();
        // The call is on its way when its callee leaves, if that is on another shard.
        let message = format!(r#"[48,1,{{}},"{PROCEDURE}",[7]]"#);
        wire.send_without_letters(caller, &message);
        wire.send_without_letters(callees[0], r#"[66,2,1]"#);
        wire.settle();
        let mut heard = wire.receive(callees[0]);
        heard.retain(|message| *message != json!([67, 2]));
        let answering = if heard.is_empty() { callees[1] } else { callees[0] };
        let invocation = heard.pop().unwrap_or_else(|| wire.receive_one(callees[1]));
        assert_eq!((&invocation[0], &invocation[4]), (&json!(68), &json!([7])));
        wire.send(answering, "[70,1,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 1, {}]));
        wire.finish();
    });
}

#[test]
fn a_busy_callee_is_spared() {
    everywhere(|mut wire| {
        let callees = workers(&mut wire, r#"{"invoke":"first","concurrency":2}"#, 2);
        let (one, _) = wire.join();
        let (two, _) = wire.join();
        for request in 1..=3 {
            call(&mut wire, one, request);
        }
        assert_eq!(invoked(&mut wire, &callees), [(0, 1, 1), (0, 2, 2), (1, 1, 3)]);
        // Four are open; what comes now waits, in the order of all shards.
        call(&mut wire, two, 1);
        call(&mut wire, two, 2);
        call(&mut wire, one, 4);
        call(&mut wire, two, 3);
        assert_eq!(invoked(&mut wire, &callees), [(1, 2, 1)]);
        wire.send(callees[1], "[70,1,{}]");
        assert_eq!(wire.receive_one(one), json!([50, 3, {}]));
        assert_eq!(invoked(&mut wire, &callees), [(1, 3, 2)]);
        // Who is answered with an error is answered too.
        wire.send(callees[0], r#"[8,68,2,{},"com.example.error"]"#);
        assert_eq!(wire.receive_one(one)[4], "com.example.error");
        assert_eq!(invoked(&mut wire, &callees), [(0, 3, 4)]);
        // One more callee takes the last.
        let (third, _) = wire.join();
        wire.send(third, &format!(r#"[64,1,{{"invoke":"first"}},"{PROCEDURE}"]"#));
        let messages = wire.receive(third);
        assert_eq!(
            (&messages[0][0], &messages[1][0], &messages[1][4]),
            (&json!(65), &json!(68), &json!([3]))
        );
        wire.finish();
    });
}

#[test]
fn who_waits_may_cancel_and_leave() {
    everywhere(|mut wire| {
        let (callee, _) = worker(&mut wire, r#"{"concurrency":1}"#);
        let (one, _) = wire.join();
        let (two, _) = wire.join();
        let (three, _) = wire.join();
        call(&mut wire, one, 1);
        for caller in [two, one, three] {
            let request = if caller == one { 2 } else { 1 };
            call(&mut wire, caller, request);
        }
        call(&mut wire, three, 2);
        // Whatever the mode, there is nobody who could answer.
        for mode in ["kill", "skip"] {
            let (caller, request) = if mode == "kill" { (one, 2) } else { (three, 1) };
            let error_message = wire.ask(caller, &format!(r#"[49,{request},{{"mode":"{mode}"}}]"#));
            assert_eq!(head(&error_message, 5), error(request, "wamp.error.canceled"));
        }
        wire.reset(two);
        wire.receive(callee);
        wire.send(callee, "[70,1,{}]");
        assert_eq!(wire.receive_one(one), json!([50, 1, {}]));
        assert_eq!(invoked(&mut wire, &[callee]), [(0, 2, 2)], "the one that is left");
        wire.finish();
    });
}

#[test]
fn no_more_may_wait_than_the_limits_say() {
    for (registration, realm, bytes) in [(2, 9, 1 << 20), (9, 3, 1 << 20), (9, 9, 800)] {
        let mut wire = Wire::with(2, KINDS[0], |settings| {
            settings.limits.calls_waiting_per_registration_max = registration;
            settings.limits.calls_waiting_per_realm_max = realm;
            settings.limits.call_bytes_waiting_per_realm_max = bytes;
        });
        let (callee, _) = worker(&mut wire, r#"{"concurrency":1}"#);
        let clients = [(); 4].map(|()| wire.join().0);
        let [first, one, two, three] = clients;
        for caller in [first, one, two] {
            call(&mut wire, caller, 1);
            assert!(wire.receive(caller).is_empty());
        }
        call(&mut wire, three, 1);
        assert_eq!(head(&wire.receive_one(three), 5), error(1, "wamp.error.unavailable"));
        for invocation in 1..=3 {
            assert_eq!(wire.receive_one(callee)[1], invocation);
            wire.send(callee, &format!("[70,{invocation},{{}}]"));
        }
        assert_eq!([first, one, two].map(|caller| wire.receive(caller).len()), [1; 3]);
        wire.finish();
    }
}

#[test]
fn a_call_on_its_way_is_not_lost_when_its_callee_hands_over() {
    for by_force in [false, true] {
        let options = if by_force { "{}" } else { r#"{"invoke":"first"}"# };
        for shards in 1..=3 {
            let mut wire = Wire::new(shards, KINDS[0]);
            let ((caller, _), (one, _)) = (wire.join(), worker(&mut wire, options));
            let (two, _) = wire.join();
            wire.send_without_letters(caller, &format!(r#"[48,1,{{}},"{PROCEDURE}",[1]]"#));
            if by_force {
                let force = r#"{"force_reregister":true}"#;
                wire.send_without_letters(two, &format!(r#"[64,1,{force},"{PROCEDURE}"]"#));
            } else {
                wire.send_without_letters(two, &format!(r#"[64,1,{options},"{PROCEDURE}"]"#));
                wire.send_without_letters(one, "[66,2,1]");
            }
            wire.settle();
            assert!(wire.receive(caller).is_empty());
            let invoked = [one, two]
                .map(|callee| wire.receive(callee).iter().filter(|message| message[0] == 68).count());
            assert_eq!(invoked.iter().sum::<usize>(), 1, "{invoked:?}");
            wire.finish();
        }
    }
}

#[test]
fn who_takes_its_own_registration_by_force_is_told_so() {
    everywhere(|mut wire| {
        let (callee, first) = revocable(&mut wire, "{}");
        wire.send(callee, &format!(r#"[64,2,{{"force_reregister":true}},"{PROCEDURE}"]"#));
        let reason = "registered anew by the session itself";
        let revoked = json!([67, 0, {"registration": first, "reason": reason}]);
        assert_eq!(wire.receive(callee), [json!([65, 2, first + 1]), revoked]);
        wire.finish();
    });
}

/// A callee that cannot be interrupted: it is told nothing when a call has taken too long, and does not stop.
fn deaf(wire: &mut Wire, options: &str) -> Client {
    let (callee, _) = announced::join_with(wire, &[], &[]);
    announced::register(wire, callee, options, PROCEDURE);
    callee
}

#[test]
fn a_callee_that_was_not_told_is_busy_until_it_answers() {
    everywhere(|mut wire| {
        let caller = announced::join(&mut wire);
        let callee = deaf(&mut wire, r#"{"concurrency":1}"#);
        for request in 1..=5 {
            call_with(&mut wire, caller, request, r#"{"timeout":10}"#);
            wire.sleep(Duration::from_millis(10));
            assert_eq!(head(&wire.receive_one(caller), 5), error(request, "wamp.error.timeout"));
        }
        assert_eq!(invoked(&mut wire, &[callee]), [(0, 1, 1)]);
        call(&mut wire, caller, 6);
        wire.send(callee, "[70,1,{}]");
        assert_eq!(invoked(&mut wire, &[callee]), [(0, 2, 6)]);
        assert!(wire.receive(caller).is_empty(), "what came too late is nobody's");
        wire.finish();
    });
}

#[test]
fn a_callee_that_hangs_is_not_the_least_busy() {
    everywhere(|mut wire| {
        let caller = announced::join(&mut wire);
        let callees = [(); 2].map(|()| deaf(&mut wire, r#"{"invoke":"_leastopen"}"#));
        // The first takes long over its one call, the second never answers.
        call(&mut wire, caller, 1);
        for request in 2..=20 {
            call_with(&mut wire, caller, request, r#"{"timeout":10}"#);
            wire.sleep(Duration::from_millis(10));
        }
        let counts: Vec<_> = callees.iter().map(|callee| wire.receive(*callee).len()).collect();
        assert_eq!(counts, [10, 10], "nobody has answered");
        wire.finish();
    });
}

#[test]
fn calls_that_wait_for_nobody_are_answered() {
    everywhere(|mut wire| {
        let (callee, registration) = worker(&mut wire, r#"{"concurrency":1}"#);
        let (caller, _) = wire.join();
        for request in 1..=2 {
            call(&mut wire, caller, request);
        }
        wire.receive(callee);
        assert_eq!(wire.ask(callee, &format!("[66,2,{registration}]")), json!([67, 2]));
        assert_eq!(head(&wire.receive_one(caller), 5), error(2, "wamp.error.no_such_procedure"));
        wire.send(callee, "[70,1,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 1, {}]));
        // A pattern that answers as well is found then.
        let (callee, registration) = worker(&mut wire, r#"{"concurrency":1}"#);
        let (other, _) = wire.join();
        assert_eq!(wire.ask(other, r#"[64,1,{"match":"prefix"},"com"]"#)[0], 65);
        for request in 3..=4 {
            call(&mut wire, caller, request);
        }
        wire.receive(callee);
        assert_eq!(wire.ask(callee, &format!("[66,2,{registration}]")), json!([67, 2]));
        let invocation = wire.receive_one(other);
        assert_eq!((&invocation[3]["procedure"], &invocation[4]), (&json!(PROCEDURE), &json!([4])));
        wire.finish();
    });
}

/// A callee that takes UNREGISTERED at any time.
fn revocable(wire: &mut Wire, options: &str) -> (Client, u64) {
    let callee = wire.connect();
    let roles = r#"{"callee":{"features":{"registration_revocation":true}}}"#;
    assert_eq!(wire.ask(callee, &format!(r#"[1,"realm1",{{"roles":{roles}}}]"#))[0], 2);
    let registered = wire.ask(callee, &format!(r#"[64,1,{options},"{PROCEDURE}"]"#));
    (callee, registered[2].as_u64().unwrap())
}

#[test]
fn who_registers_by_force_is_alone() {
    everywhere(|mut wire| {
        let (told, old) = revocable(&mut wire, r#"{"invoke":"first","concurrency":1}"#);
        let (untold, _) = worker(&mut wire, r#"{"invoke":"first","concurrency":1}"#);
        let (caller, _) = wire.join();
        for request in 1..=3 {
            call(&mut wire, caller, request);
        }
        assert_eq!(invoked(&mut wire, &[told, untold]), [(0, 1, 1), (1, 1, 2)]);
        let (new, _) = wire.join();
        wire.send(new, &format!(r#"[64,1,{{"force_reregister":true}},"{PROCEDURE}"]"#));
        let messages = wire.receive(new);
        let registration = messages[0][2].as_u64().unwrap();
        assert_ne!(registration, old);
        // The call that was waiting is its own now.
        assert_eq!(messages[1], json!([68, 1, registration, {}, [3]]));
        let reason = "registered anew by another session";
        assert_eq!(wire.receive(told), [json!([67, 0, {"registration": old, "reason": reason}])]);
        assert!(wire.receive(untold).is_empty());
        // They may still answer what they have, and have nothing to give back.
        for (callee, request) in [(told, 1), (untold, 2)] {
            wire.send(callee, "[70,1,{}]");
            assert_eq!(wire.receive_one(caller), json!([50, request, {}]));
            let error = wire.ask(callee, &format!("[66,2,{old}]"));
            assert_eq!(error[4], "wamp.error.no_such_registration");
        }
        // By force to oneself: the old one ends, the new one holds.
        wire.send(new, &format!(r#"[64,2,{{"force_reregister":true}},"{PROCEDURE}"]"#));
        assert_eq!(wire.receive_one(new)[0], 65);
        call(&mut wire, caller, 4);
        assert_eq!(invoked(&mut wire, &[new]), [(0, 2, 4)]);
        wire.finish();
    });
}

#[test]
fn only_who_administers_may_force() {
    let mut wire = Wire::with(2, KINDS[0], |settings| {
        let user = fanwire::router::Role::anonymous();
        settings.realms[0].authentication = authentication::Settings::anonymous(user).into();
    });
    // Where nobody has it there is nothing to force.
    let (_, _) = worker(&mut wire, r#"{"force_reregister":true}"#);
    let (other, _) = wire.join();
    let error = wire.ask(other, &format!(r#"[64,1,{{"force_reregister":true}},"{PROCEDURE}"]"#));
    assert_eq!(head(&error, 5), json!([8, 64, 1, {}, "wamp.error.not_authorized"]));
    wire.finish();
}

#[test]
fn a_callee_may_leave_and_come_again_while_it_is_told_to_go() {
    let mut wire = Wire::new(2, KINDS[0]);
    let options = r#"{"invoke":"roundrobin"}"#;
    let (one, old) = revocable(&mut wire, options);
    let (two, _) = revocable(&mut wire, options);
    wire.send_without_letters(
        two,
        &format!(r#"[64,2,{{"force_reregister":true,"invoke":"last"}},"{PROCEDURE}"]"#),
    );
    wire.send_without_letters(one, &format!("[66,2,{old}]"));
    wire.send_without_letters(one, &format!(r#"[64,3,{{"invoke":"last"}},"{PROCEDURE}"]"#));
    wire.settle();
    let heard = wire.receive(one);
    assert_eq!((&heard[0], &heard[1][0], heard.len()), (&json!([67, 2]), &json!(65), 2));
    let (caller, _) = wire.join();
    call(&mut wire, caller, 1);
    assert_eq!(invoked(&mut wire, &[one]), [(0, 1, 1)]);
    wire.finish();
}

#[test]
fn members_that_come_and_go_are_told_of() {
    everywhere(|mut wire| {
        let (watcher, _) = wire.join();
        assert_eq!(wire.ask(watcher, r#"[32,1,{"match":"prefix"},"wamp.registration."]"#)[0], 33);
        let (one, first) = wire.join();
        let (two, second) = wire.join();
        let register = |request: u64, invoke: &str, force: bool| {
            format!(r#"[64,{request},{{"invoke":"{invoke}","force_reregister":{force}}},"{PROCEDURE}"]"#)
        };
        let id = wire.ask(one, &register(1, "_leastopen", false))[2].clone();
        wire.ask(two, &register(1, "_leastopen", false));
        wire.send(two, &register(2, "single", true));
        let new = wire.receive_one(two)[2].clone();
        wire.reset(two);
        let events: Vec<Value> = wire.receive(watcher).iter().map(|event| event[4].clone()).collect();
        let created = |session: u64, id: &Value, invoke: &str| {
            let time = "1970-01-01T00:00:00.000Z";
            let details =
                json!({"id": id, "created": time, "uri": PROCEDURE, "match": "exact", "invoke": invoke});
            json!([session, details])
        };
        let expected = [
            created(first, &id, "_leastopen"),
            json!([first, id]),
            json!([second, id]),
            json!([first, id]),
            json!([second, id]),
            json!([second, id]),
            created(second, &new, "single"),
            json!([second, new]),
            json!([second, new]),
            json!([second, new]),
        ];
        assert_eq!(events, expected);
        wire.finish();
    });
}

#[test]
fn a_shutdown_does_not_wait_for_calls_that_nobody_has_begun() {
    everywhere(|mut wire| {
        let (callee, _) = worker(&mut wire, r#"{"concurrency":1}"#);
        let (caller, _) = wire.join();
        for request in 1..=2 {
            call(&mut wire, caller, request);
        }
        assert_eq!(wire.receive_one(callee)[1], 1);
        for shard in &mut wire.shards {
            shard.drain(wire.now);
        }
        wire.settle();
        assert_eq!(head(&wire.receive_one(caller), 5), error(2, "wamp.error.unavailable"));
        wire.send(callee, "[70,1,{}]");
        assert_eq!(wire.receive(caller)[0], json!([50, 1, {}]));
        assert_eq!(wire.receive_one(callee)[0], 6);
        wire.finish();
    });
}

#[test]
fn a_callee_is_busy_until_it_was_told_that_its_call_was_given_up() {
    let mut wire = Wire::new(3, KINDS[0]);
    let (patient, _) = wire.join();
    let (hasty, _) = wire.join();
    let (callee, _) = worker(&mut wire, r#"{"concurrency":1}"#);
    wire.send_without_letters(hasty, &format!(r#"[48,1,{{}},"{PROCEDURE}",[1]]"#));
    wire.send_without_letters(patient, &format!(r#"[48,1,{{}},"{PROCEDURE}",[2]]"#));
    wire.send_without_letters(hasty, "[49,1,{}]");
    // The letters of the one who has given up reach the callee's shard last.
    for (from, to) in [(1, 0), (0, 2)] {
        wire.move_letters(from, to);
    }
    wire.settle();
    let kinds: Vec<Value> = wire.receive(callee).iter().map(|message| message[0].clone()).collect();
    assert_eq!(kinds, [68, 69, 68]);
    assert_eq!(head(&wire.receive_one(hasty), 5), error(1, "wamp.error.canceled"));
    wire.finish();
}

// Beside calls that take time, or come in parts.

const IN_PARTS: &str = r#"{"progress":true}"#;

fn call_with(wire: &mut Wire, caller: Client, request: u64, options: &str) {
    wire.send(caller, &format!(r#"[48,{request},{options},"{PROCEDURE}",[{request}]]"#));
}

#[test]
fn the_time_of_a_call_runs_while_it_waits() {
    everywhere(|mut wire| {
        let callee = announced::join(&mut wire);
        announced::register(&mut wire, callee, r#"{"concurrency":1}"#, PROCEDURE);
        let (one, _) = wire.join();
        let (two, _) = wire.join();
        call(&mut wire, one, 1);
        call_with(&mut wire, two, 1, r#"{"timeout":1000}"#);
        call_with(&mut wire, two, 2, r#"{"timeout":1500}"#);
        call(&mut wire, one, 2);
        assert_eq!(invoked(&mut wire, &[callee]), [(0, 1, 1)]);
        wire.sleep(Duration::from_millis(1_000));
        assert_eq!(head(&wire.receive_one(two), 5), error(1, "wamp.error.timeout"));
        assert!(wire.receive(callee).is_empty(), "it knows nothing of it");
        // The next one in line, which has 500 ms left.
        wire.send(callee, "[70,1,{}]");
        assert_eq!(wire.receive_one(one), json!([50, 1, {}]));
        assert_eq!(invoked(&mut wire, &[callee]), [(0, 2, 2)]);
        wire.sleep(Duration::from_millis(499));
        assert!(wire.receive(two).is_empty());
        wire.sleep(Duration::from_millis(1));
        assert_eq!(head(&wire.receive_one(two), 5), error(2, "wamp.error.timeout"));
        // INTERRUPT, and then the callee is free again.
        let heard = wire.receive(callee);
        assert_eq!((&heard[0][0], &heard[1][0], &heard[1][4]), (&json!(69), &json!(68), &json!([2])));
        wire.finish();
    });
}

#[test]
fn a_callee_that_keeps_the_time_has_all_of_it() {
    everywhere(|mut wire| {
        let callee = announced::join(&mut wire);
        let options = r#"{"concurrency":1,"forward_timeout":true}"#;
        announced::register(&mut wire, callee, options, PROCEDURE);
        let (caller, _) = wire.join();
        call(&mut wire, caller, 1);
        call_with(&mut wire, caller, 2, r#"{"timeout":1000}"#);
        assert_eq!(wire.receive_one(callee)[3], json!({}));
        wire.sleep(Duration::from_millis(900));
        wire.send(callee, "[70,1,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 1, {}]));
        assert_eq!(wire.receive_one(callee)[3], json!({"timeout": 1000}));
        wire.sleep(Duration::from_millis(900));
        wire.send(callee, "[70,2,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 2, {}]));
        wire.finish();
    });
}

#[test]
fn a_progressive_result_frees_nobody() {
    everywhere(|mut wire| {
        let (caller, callee) = (announced::join(&mut wire), announced::join(&mut wire));
        announced::register(&mut wire, callee, r#"{"concurrency":1}"#, PROCEDURE);
        call_with(&mut wire, caller, 1, r#"{"receive_progress":true}"#);
        call(&mut wire, caller, 2);
        assert_eq!(invoked(&mut wire, &[callee]), [(0, 1, 1)]);
        wire.send(callee, r#"[70,1,{"progress":true}]"#);
        assert_eq!(wire.receive_one(caller), json!([50, 1, {"progress": true}]));
        assert!(wire.receive(callee).is_empty());
        wire.send(callee, "[70,1,{}]");
        assert_eq!(invoked(&mut wire, &[callee]), [(0, 2, 2)]);
        wire.finish();
    });
}

#[test]
fn a_call_in_parts_does_not_wait() {
    everywhere(|mut wire| {
        let (caller, callee) = (announced::join(&mut wire), announced::join(&mut wire));
        announced::register(&mut wire, callee, r#"{"concurrency":2}"#, PROCEDURE);
        call_with(&mut wire, caller, 1, IN_PARTS);
        call(&mut wire, caller, 2);
        call(&mut wire, caller, 3);
        call_with(&mut wire, caller, 4, IN_PARTS);
        assert_eq!(head(&wire.receive_one(caller), 5), error(4, "wamp.error.unavailable"));
        // Parts of the one that is open are no calls more.
        call_with(&mut wire, caller, 1, IN_PARTS);
        call_with(&mut wire, caller, 1, "{}");
        assert_eq!(invoked(&mut wire, &[callee]), [(0, 1, 1), (0, 2, 2), (0, 1, 1), (0, 1, 1)]);
        wire.send(callee, "[70,1,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 1, {}]));
        assert_eq!(invoked(&mut wire, &[callee]), [(0, 3, 3)]);
        // The one that was refused was none.
        call_with(&mut wire, caller, 4, "{}");
        assert!(wire.receive(caller).is_empty() && wire.receive(callee).is_empty());
        wire.finish();
    });
}

/// The only free callee is there for a call in parts, though another call of its shard is in line: that one's own grant
/// is on its way.
#[test]
fn a_call_in_parts_passes_those_whose_grants_are_on_their_way() {
    let mut wire = Wire::new(3, KINDS[0]);
    let caller = announced::join(&mut wire);
    let one = announced::join(&mut wire);
    let two = announced::join(&mut wire);
    announced::register(&mut wire, one, r#"{"invoke":"first","concurrency":1}"#, PROCEDURE);
    call(&mut wire, caller, 1);
    call(&mut wire, caller, 2);
    assert_eq!(invoked(&mut wire, &[one, two]), [(0, 1, 1)]);
    // The second one is granted to the call that waits, and the first is free before that is known.
    wire.send_without_letters(two, &format!(r#"[64,1,{{"invoke":"first","concurrency":1}},"{PROCEDURE}"]"#));
    wire.send_without_letters(one, "[70,1,{}]");
    let (at, of) = (wire.place(caller).0, wire.place(one).0);
    wire.move_letters(of, at);
    wire.send_without_letters(caller, &format!(r#"[48,3,{IN_PARTS},"{PROCEDURE}",[3]]"#));
    wire.settle();
    assert_eq!(wire.receive(two).iter().map(|message| message[0].clone()).collect::<Vec<_>>(), [65, 68]);
    assert_eq!(wire.receive_one(one)[4], json!([3]));
    assert_eq!(wire.receive_one(caller), json!([50, 1, {}]));
    wire.finish();
}

/// The callee goes while the call is on its way. Others may have the first part; if there was a second, that is lost,
/// and so is the call.
#[test]
fn a_call_in_parts_begins_anew_only_with_its_first() {
    let (beside, mut lost, mut found) = (r#"{"invoke":"first"}"#, 0, 0);
    for parts in 1..=3u64 {
        for shards in 1..=3 {
            let mut wire = Wire::new(shards, KINDS[0]);
            let [caller, one, two] = [(); 3].map(|()| announced::join(&mut wire));
            for callee in [one, two] {
                announced::register(&mut wire, callee, beside, PROCEDURE);
            }
            for part in 1..=parts {
                let options = if part == 3 { "{}" } else { IN_PARTS };
                wire.send_without_letters(caller, &format!(r#"[48,1,{options},"{PROCEDURE}",[{part}]]"#));
            }
            wire.send_without_letters(one, "[66,2,1]");
            wire.settle();
            let arguments = |wire: &mut Wire, callee| -> Vec<Value> {
                let heard = wire.receive(callee).into_iter().filter(|message| message[0] == 68);
                heard.map(|message| message[4][0].clone()).collect()
            };
            let all: Vec<Value> = (1..=parts).map(Value::from).collect();
            let (first, second) = (arguments(&mut wire, one), arguments(&mut wire, two));
            let answers = wire.receive(caller);
            if let [answer] = &answers[..] {
                assert_eq!(head(answer, 5), error(1, "wamp.error.no_such_procedure"));
                assert!(parts > 1 && first.is_empty() && second.is_empty());
                lost += 1;
            } else {
                assert!(answers.is_empty() && [first, second].concat() == all);
                found += 1;
            }
            wire.finish();
        }
    }
    assert!(lost > 0 && found > 0, "{lost} {found}");
}

#[test]
fn each_callee_is_told_what_it_has_asked_for() {
    everywhere(|mut wire| {
        let (caller, session) = wire.join();
        let [told, untold] = [(); 2].map(|()| announced::join(&mut wire));
        let disclose = r#"{"invoke":"roundrobin","disclose_caller":true}"#;
        announced::register(&mut wire, told, disclose, PROCEDURE);
        announced::register(&mut wire, untold, r#"{"invoke":"roundrobin"}"#, PROCEDURE);
        for request in 1..=2 {
            call(&mut wire, caller, request);
        }
        assert_eq!(wire.receive_one(told)[3]["caller"], json!(session));
        assert_eq!(wire.receive_one(untold)[3], json!({}));
        // Who registers again has its place, and wishes anew.
        assert_eq!(wire.ask(untold, &format!(r#"[64,2,{disclose},"{PROCEDURE}"]"#))[0], 65);
        for request in 3..=4 {
            call(&mut wire, caller, request);
        }
        assert_eq!(wire.receive_one(told)[3]["caller"], json!(session));
        assert_eq!(wire.receive_one(untold)[3]["caller"], json!(session));
        wire.finish();
    });
}

/// The peer and the registration have the same names as before, but what the new session may be asked is counted anew.
#[test]
fn a_call_that_was_meant_for_an_earlier_session_of_a_peer_is_not_its_next_ones() {
    let mut wire = Wire::new(2, KINDS[0]);
    let (first, registration) = worker(&mut wire, r#"{"invoke":"first"}"#);
    let (second, _) = worker(&mut wire, r#"{"invoke":"first"}"#);
    let caller = loop {
        let (caller, _) = wire.join();
        if wire.place(caller).0 != wire.place(first).0 {
            break caller;
        }
    };
    wire.send_without_letters(caller, &format!(r#"[48,1,{{}},"{PROCEDURE}",[1]]"#));
    wire.send_without_letters(first, r#"[6,{},"wamp.close.normal"]"#);
    wire.send_without_letters(first, r#"[1,"realm1",{"roles":{"callee":{}}}]"#);
    let again = format!(r#"[64,1,{{"invoke":"first","concurrency":1}},"{PROCEDURE}"]"#);
    wire.send_without_letters(first, &again);
    wire.settle();
    let told = wire.receive(first);
    let codes: Vec<_> = told.iter().map(|message| message[0].as_u64().unwrap()).collect();
    assert_eq!(codes, [6, 2, 65], "{told:?}");
    assert_eq!(told[2][2], registration);
    assert_eq!(invoked(&mut wire, &[second]), [(0, 1, 1)]);
    wire.send(second, "[70,1,{}]");
    assert_eq!(wire.receive_one(caller), json!([50, 1, {}]));
    wire.finish();
}
