//! The features of the Advanced Profile, each with every library that has it.
//!
//! `advanced.py` and `advanced.js` report on the checks under these names.

use std::sync::mpsc::channel;
use std::time::Instant;

use crate::process::{Process, hear};
use crate::router::Router;
use crate::{node, python, scenario};

const SHARDS: usize = 2;

/// Every feature with its checks.
const FEATURES: [(&str, &[&str]); 9] = [
    (
        "progressive_results",
        &["parts_come_before_the_result", "parts_only_where_they_are_asked_for", "an_error_ends_the_parts"],
    ),
    (
        "with_python",
        &[
            "parts_come_before_the_result",
            "parts_only_where_they_are_asked_for",
            "an_error_ends_the_parts",
            "the_last_retained_event_comes_first",
        ],
    ),
    ("canceling", &["the_callee_is_interrupted", "the_caller_is_told", "both_go_on"]),
    ("call_timeouts", &["a_call_of_nobody_times_out"]),
    ("pattern_registrations", &["the_callee_learns_the_procedure", "exact_before_prefix_before_wildcard"]),
    (
        "shared_registrations",
        &["first", "last", "round_robin", "random", "policies_do_not_mix", "one_goes_and_the_other_answers"],
    ),
    ("retained_events", &["the_last_retained_event_comes_first", "only_who_asks_gets_it"]),
    ("testaments", &["published_when_the_connection_is_lost", "scopes_are_flushed_apart"]),
    (
        "meta_api",
        &[
            "sessions_are_listed_and_described",
            "joining_and_leaving_are_events",
            "subscriptions_are_found",
            "registrations_are_found",
            "a_session_is_killed",
        ],
    ),
];

/// autobahn-python hides the answer to a call that it has canceled.
const PYTHON_UNABLE: [&str; 1] = ["the_caller_is_told"];

/// Neither library in JavaScript heeds an INTERRUPT, or hands out the reason of a GOODBYE it has not asked for.
const NODE_UNABLE: [&str; 2] = ["the_callee_is_interrupted", "a_session_is_killed"];

fn checks(feature: &str) -> Vec<&'static str> {
    let (_, checks) = FEATURES.iter().find(|(name, _)| *name == feature).expect("it is one of the features");
    [&["joined"], *checks, &["done"]].concat()
}

fn passes_python(feature: &'static str, url: fn(&Router) -> String, serializer: &str) {
    let Some(mut command) = python::script("advanced.py") else { return };
    let router = Router::start(SHARDS);
    command.args([&url(&router), serializer, &format!("com.example.python.{serializer}.{feature}"), feature]);
    scenario::passes_all(&checks(feature), feature, &mut command, &PYTHON_UNABLE);
}

fn passes_node(library: &str, feature: &'static str, serializer: &str) {
    let Some(mut command) = node::script("advanced.js") else { return };
    let router = Router::start(SHARDS);
    let prefix = format!("com.example.{library}.{serializer}.{feature}");
    command.args([library, &router.websocket_url(), serializer, &prefix, feature]);
    command.args(NODE_UNABLE);
    scenario::passes_all(&checks(feature), feature, &mut command, &NODE_UNABLE);
}

/// JavaScript calls and subscribes; Python answers and publishes.
fn passes_node_with_python(library: &str, serializer: &str) {
    let (Some(mut python), Some(mut node)) = (python::script("advanced.py"), node::script("advanced.js"))
    else {
        return;
    };
    let router = Router::start(SHARDS);
    let prefix = format!("com.example.{library}.{serializer}.with_python");
    python.args([&router.rawsocket_url(), "cbor", &prefix, "partner"]);
    let (speaker, listener) = channel();
    let partner = Process::start("partner", &mut python, speaker);
    let ready = hear(&listener, Instant::now() + scenario::SCENARIO_PATIENCE).and_then(|said| said.line);
    assert!(ready.is_some(), "the partner is not there\n{}", partner.complaints());
    node.args([library, &router.websocket_url(), serializer, &prefix, "with_python"]);
    scenario::passes_all(&checks("with_python"), "with_python", &mut node, &[]);
}

/// wampy.js does not send the option `retain`.
fn with_all(feature: &'static str) {
    passes_python(feature, Router::websocket_url, "msgpack");
    passes_python(feature, Router::rawsocket_url, "cbor");
    passes_node("autobahn", feature, "json");
    if feature != "retained_events" {
        passes_node("wampy", feature, "msgpack");
    }
}

/// A callee that announces no call canceling, as those in JavaScript, is one without progressive results.
#[test]
fn progressive_results() {
    passes_python("progressive_results", Router::websocket_url, "msgpack");
    passes_python("progressive_results", Router::rawsocket_url, "json");
}

#[test]
fn progressive_results_and_retained_events_from_python() {
    passes_node_with_python("autobahn", "json");
    passes_node_with_python("autobahn", "msgpack");
    passes_node_with_python("wampy", "json");
    passes_node_with_python("wampy", "cbor");
}

#[test]
fn canceling() {
    with_all("canceling");
}

#[test]
fn call_timeouts() {
    with_all("call_timeouts");
}

#[test]
fn pattern_registrations() {
    with_all("pattern_registrations");
}

#[test]
fn shared_registrations() {
    with_all("shared_registrations");
}

#[test]
fn retained_events() {
    with_all("retained_events");
}

#[test]
fn testaments() {
    with_all("testaments");
}

#[test]
fn meta_api() {
    with_all("meta_api");
}
