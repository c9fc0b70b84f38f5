//! What every client library must be able to do, and a run of one of them that shows it.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{Process, hear};

/// The checks that the scripts report on, under the names of their methods.
pub const CHECKS: [&str; 22] = [
    "joined",
    "event_reaches_subscriber",
    "event_without_arguments",
    "publication_acknowledged",
    "publication_unacknowledged",
    "publisher_excluded",
    "publisher_included_on_request",
    "events_in_order",
    "event_payload",
    "call_payload",
    "large_payload",
    "call_without_arguments",
    "call_of_own_procedure",
    "error_of_callee",
    "unknown_procedure",
    "registered_twice",
    "unsubscribed",
    "unregistered",
    "calls_in_flight",
    "requests_in_a_row",
    "goodbye",
    "done",
];

/// The scripts end themselves earlier.
pub const SCENARIO_PATIENCE: Duration = Duration::from_secs(120);

/// Runs a script and asserts that it reports success on every check but those its library is `unable` to make.
pub fn passes(name: &'static str, command: &mut Command, unable: &[&str]) {
    passes_all(&CHECKS, name, command, unable);
}

/// The same for other checks.
pub fn passes_all(checks: &[&str], name: &'static str, command: &mut Command, unable: &[&str]) {
    let deadline = Instant::now() + SCENARIO_PATIENCE;
    let (speaker, listener) = channel();
    let process = Process::start(name, command, speaker);
    let mut outcomes = BTreeMap::new();
    while let Some(line) = hear(&listener, deadline).and_then(|said| said.line) {
        let (check, outcome) = outcome(&line);
        let twice = outcomes.insert(check, outcome);
        assert!(twice.is_none(), "{name} reports twice: {line}");
    }
    let failures = checks.iter().filter(|check| !unable.contains(check)).filter_map(|check| {
        match outcomes.remove(*check).unwrap_or_else(|| Err("not reported".to_owned())) {
            Ok(()) => None,
            Err(detail) => Some(format!("{check}: {detail}\n")),
        }
    });
    let failures: String = failures.collect();
    assert!(failures.is_empty(), "{name} fails\n{failures}{}", process.complaints());
    assert!(outcomes.is_empty(), "{name} reports checks that are not listed: {outcomes:?}");
    let (status, complaints) = process.ended();
    assert!(status.success(), "{name}: {status}\n{complaints}");
}

/// The check of a line, and how it went.
fn outcome(line: &str) -> (String, Result<(), String>) {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
    if value["done"] == true {
        return ("done".to_owned(), Ok(()));
    }
    let check = value["check"].as_str().unwrap_or_else(|| panic!("no check in {line}")).to_owned();
    let failure = value["detail"].as_str().unwrap_or("no detail").to_owned();
    (check, if value["ok"] == true { Ok(()) } else { Err(failure) })
}
