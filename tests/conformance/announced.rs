//! Clients that announce what they can do as callers and callees, for the tests of what depends on it.

use serde_json::json;

use crate::wire::{Client, Wire};

/// All that a caller may announce about calls.
pub const CALLER: &[&str] = &["progressive_call_invocations", "progressive_call_results"];

/// All that a callee may announce about calls.
pub const CALLEE: &[&str] = &[
    "call_canceling",
    "call_reroute",
    "call_timeout",
    "progressive_call_invocations",
    "progressive_call_results",
];

fn features(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!(r#""{name}":true"#)).collect();
    format!("{{\"features\":{{{}}}}}", names.join(","))
}

/// A client in a session of `realm1` that has announced these features as a caller and as a callee; its session id.
pub fn join_with(wire: &mut Wire, caller: &[&str], callee: &[&str]) -> (Client, u64) {
    let client = wire.connect();
    let roles = format!(r#"{{"caller":{},"callee":{}}}"#, features(caller), features(callee));
    let welcome = wire.ask(client, &format!(r#"[1,"realm1",{{"roles":{roles}}}]"#));
    assert_eq!(welcome[0], 2, "{welcome}");
    (client, welcome[1].as_u64().unwrap())
}

/// A client that has announced everything.
pub fn join(wire: &mut Wire) -> Client {
    join_with(wire, CALLER, CALLEE).0
}

/// REGISTER with options, as the client's first request.
pub fn register(wire: &mut Wire, client: Client, options: &str, procedure: &str) -> u64 {
    let registered = wire.ask(client, &format!(r#"[64,1,{options},"{procedure}"]"#));
    assert_eq!((&registered[0], &registered[1]), (&json!(65), &json!(1)), "{registered}");
    registered[2].as_u64().unwrap()
}

/// A caller, and a callee of `com.example.slow`, which have announced everything.
pub fn pair(wire: &mut Wire) -> (Client, Client) {
    let (caller, callee) = (join(wire), join(wire));
    register(wire, callee, "{}", "com.example.slow");
    (caller, callee)
}

/// Calls `com.example.slow`, as the caller's first request; the details of the INVOCATION.
pub fn open(wire: &mut Wire, (caller, callee): (Client, Client), options: &str) -> serde_json::Value {
    wire.send(caller, &format!(r#"[48,1,{options},"com.example.slow"]"#));
    let invocation = wire.receive_one(callee);
    assert_eq!((&invocation[0], &invocation[1]), (&json!(68), &json!(1)), "{invocation}");
    invocation[3].clone()
}
