//! Calls that are given up, in every order of messages that cross (advanced profile, "Call Canceling").

use serde_json::{Value, json};

use crate::announced::{join, join_with, open, pair, register};
use crate::wire::{Client, Wire, everywhere, head};

fn canceled() -> Value {
    json!([8, 48, 1, {}, "wamp.error.canceled"])
}

fn interrupt(mode: &str) -> Value {
    json!([69, 1, {"mode": mode, "reason": "wamp.error.canceled"}])
}

fn cancel(mode: &str) -> String {
    format!(r#"[49,1,{{"mode":"{mode}"}}]"#)
}

/// The call is over for both, whatever they say of it.
fn all_is_quiet(wire: &mut Wire, caller: Client, callee: Client) {
    wire.send(callee, "[70,1,{},[\"late\"]]");
    wire.send(callee, r#"[8,68,1,{},"com.example.late"]"#);
    wire.send(callee, r#"[70,1,{"progress":true}]"#);
    for mode in ["skip", "kill", "killnowait"] {
        wire.send(caller, &cancel(mode));
    }
    assert!(wire.receive(caller).is_empty() && wire.receive(callee).is_empty());
    assert!(!wire.ended(caller) && !wire.ended(callee));
}

#[test]
fn an_answer_that_crosses_the_cancel_counts_if_it_is_waited_for() {
    for mode in ["skip", "kill", "killnowait"] {
        everywhere(|mut wire| {
            let (caller, callee) = pair(&mut wire);
            open(&mut wire, (caller, callee), "{}");
            // On several shards neither side knows of the other's message yet.
            wire.send_without_letters(caller, &cancel(mode));
            wire.send_without_letters(callee, "[70,1,{},[1]]");
            let same_shard = wire.shards.len() < 2;
            wire.settle();
            let (answer, told) = (wire.receive_one(caller), wire.receive(callee));
            match mode {
                "kill" => assert_eq!(answer, json!([50, 1, {}, [1]])),
                _ => assert_eq!(head(&answer, 5), canceled()),
            }
            // INTERRUPT only for what is open in the callee's shard.
            let expected = if same_shard && mode != "skip" { vec![interrupt(mode)] } else { vec![] };
            assert_eq!(told, expected);
            all_is_quiet(&mut wire, caller, callee);
            wire.finish();
        });
    }
}

#[test]
fn a_cancel_follows_its_call() {
    for mode in ["skip", "kill", "killnowait"] {
        everywhere(|mut wire| {
            let (caller, callee) = pair(&mut wire);
            wire.send_without_letters(caller, r#"[48,1,{},"com.example.slow"]"#);
            wire.send_without_letters(caller, &cancel(mode));
            wire.settle();
            let told = wire.receive(callee);
            assert_eq!(told[0][0], 68);
            assert_eq!(told[1..], if mode == "skip" { vec![] } else { vec![interrupt(mode)] });
            if mode == "kill" {
                assert!(wire.receive(caller).is_empty());
                wire.send(callee, r#"[8,68,1,{},"wamp.error.canceled"]"#);
            }
            assert_eq!(head(&wire.receive_one(caller), 5), canceled());
            all_is_quiet(&mut wire, caller, callee);
            wire.finish();
        });
    }
}

#[test]
fn a_caller_may_lose_patience() {
    for mode in ["skip", "killnowait"] {
        everywhere(|mut wire| {
            let (caller, callee) = pair(&mut wire);
            open(&mut wire, (caller, callee), "{}");
            wire.send(caller, &cancel("kill"));
            assert!(wire.receive(caller).is_empty());
            assert_eq!(wire.receive_one(callee), interrupt("kill"));
            assert_eq!(head(&wire.ask(caller, &cancel(mode)), 5), canceled());
            assert_eq!(wire.receive(callee), if mode == "skip" { vec![] } else { vec![interrupt(mode)] });
            all_is_quiet(&mut wire, caller, callee);
            wire.finish();
        });
    }
}

#[test]
fn a_killed_call_ends_with_what_its_callee_says() {
    let answers = [
        ("[70,1,{},[1]]", json!([50, 1, {}, [1]])),
        (r#"[8,68,1,{},"com.example.no",[2]]"#, json!([8, 48, 1, {}, "com.example.no", [2]])),
        (r#"[8,68,1,{},"wamp.error.unavailable",[3]]"#, json!([8, 48, 1, {}, "wamp.error.unavailable", [3]])),
    ];
    for (said, told) in answers {
        everywhere(|mut wire| {
            let (caller, callee) = pair(&mut wire);
            open(&mut wire, (caller, callee), r#"{"receive_progress":true}"#);
            wire.send(caller, &cancel("kill"));
            assert_eq!(wire.receive_one(callee), interrupt("kill"));
            // The call is not over before that.
            wire.send(callee, r#"[70,1,{"progress":true},[0]]"#);
            assert_eq!(wire.receive_one(caller), json!([50, 1, {"progress": true}, [0]]));
            wire.send(callee, said);
            assert_eq!(wire.receive_one(caller), told);
            all_is_quiet(&mut wire, caller, callee);
            wire.finish();
        });
    }
}

#[test]
fn a_killed_callee_that_leaves_has_answered() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        open(&mut wire, (caller, callee), "{}");
        wire.send(caller, &cancel("kill"));
        wire.reset(callee);
        assert_eq!(head(&wire.receive_one(caller), 5), canceled());
        wire.finish();
    });
}

#[test]
fn a_caller_that_leaves_after_kill_interrupts_once_more() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        open(&mut wire, (caller, callee), "{}");
        wire.send(caller, &cancel("kill"));
        wire.reset(caller);
        assert_eq!(wire.receive(callee), [interrupt("kill"), interrupt("killnowait")]);
        wire.send(callee, "[70,1,{}]");
        assert!(wire.receive(callee).is_empty() && !wire.ended(callee));
        wire.finish();
    });
}

#[test]
fn an_unknown_mode_is_refused_and_the_call_goes_on() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        open(&mut wire, (caller, callee), "{}");
        for wrong in [r#"{"mode":"maim"}"#, r#"{"mode":7}"#] {
            let error = wire.ask(caller, &format!("[49,1,{wrong}]"));
            assert_eq!(head(&error, 5), json!([8, 49, 1, {}, "wamp.error.invalid_argument"]));
            assert!(wire.receive(callee).is_empty());
        }
        wire.send(callee, "[70,1,{},[1]]");
        assert_eq!(wire.receive_one(caller), json!([50, 1, {}, [1]]));
        wire.finish();
    });
}

#[test]
fn only_its_own_caller_cancels_a_call() {
    everywhere(|mut wire| {
        let (caller, callee) = pair(&mut wire);
        let other = join(&mut wire);
        open(&mut wire, (caller, callee), "{}");
        wire.send(other, &cancel("killnowait"));
        wire.send(callee, &cancel("killnowait"));
        assert!(wire.receive(other).is_empty() && wire.receive(callee).is_empty());
        wire.send(callee, "[70,1,{}]");
        assert_eq!(wire.receive_one(caller), json!([50, 1, {}]));
        wire.finish();
    });
}

#[test]
fn calls_in_parts_are_canceled_as_one() {
    for mode in ["skip", "kill", "killnowait"] {
        everywhere(|mut wire| {
            let (caller, callee) = pair(&mut wire);
            open(&mut wire, (caller, callee), r#"{"progress":true}"#);
            wire.send(caller, &cancel(mode));
            wire.receive(callee);
            // What follows comes too late, whoever knows of it.
            wire.send(caller, r#"[48,1,{"progress":true},"com.example.slow",[2]]"#);
            wire.send(caller, r#"[48,1,{},"com.example.slow",[3]]"#);
            assert!(wire.receive(callee).is_empty() && !wire.ended(caller));
            wire.send(callee, r#"[8,68,1,{},"wamp.error.canceled"]"#);
            assert_eq!(head(&wire.receive_one(caller), 5), canceled());
            all_is_quiet(&mut wire, caller, callee);
            wire.finish();
        });
    }
}

#[test]
fn the_other_spelling_of_the_feature_counts_too() {
    everywhere(|mut wire| {
        let caller = join(&mut wire);
        let (callee, _) = join_with(&mut wire, &[], &["call_cancelling"]);
        register(&mut wire, callee, "{}", "com.example.slow");
        open(&mut wire, (caller, callee), "{}");
        wire.send(caller, &cancel("killnowait"));
        assert_eq!(wire.receive_one(callee), interrupt("killnowait"));
        wire.finish();
    });
}
