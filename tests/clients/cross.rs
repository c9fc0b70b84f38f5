//! Every library, transport and serializer on one router at once: twelve sessions in three processes. Each publishes to
//! all others, and each calls all others.
//!
//! The scripts are told what to do, one JSON object a line, and report in the same way:
//!
//! | told | reported |
//! | --- | --- |
//! | | `{"ready"}` once all sessions have joined, subscribed and registered |
//! | `{"do": "publish", "at", "kwargs"}` | by every receiver: `{"event": publisher, "at", "kwargs"}` |
//! | `{"do": "call", "at", "callee", "kwargs"}` | `{"result": args, "at", "callee", "kwargs"}` |
//! | (the same) | then, refused: `{"error", "at", "callee", "args", "kwargs"}` |
//! | `{"do": "leave"}` | for every session `{"left", "at"}` |
//! | end of input | end of output |

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::process::{Process, Said, hear};
use crate::router::Router;
use crate::{node, python};

const PATIENCE: Duration = Duration::from_secs(100);

const PYTHON: [(&str, &str); 6] = [
    ("python_websocket_json", "websocket.json"),
    ("python_websocket_msgpack", "websocket.msgpack"),
    ("python_websocket_cbor", "websocket.cbor"),
    ("python_rawsocket_json", "rawsocket.json"),
    ("python_rawsocket_msgpack", "rawsocket.msgpack"),
    ("python_rawsocket_cbor", "rawsocket.cbor"),
];
const PYTHON_UBJSON: [(&str, &str); 2] =
    [("python_websocket_ubjson", "websocket.ubjson"), ("python_rawsocket_ubjson", "rawsocket.ubjson")];
const AUTOBAHN: [(&str, &str); 3] =
    [("autobahn_json", "json"), ("autobahn_msgpack", "msgpack"), ("autobahn_cbor", "cbor")];
const WAMPY: [(&str, &str); 3] =
    [("wampy_json", "json"), ("wampy_msgpack", "msgpack"), ("wampy_cbor", "cbor")];

#[test]
fn all_meet_on_one_shard() {
    all_meet(1);
}

#[test]
fn all_meet_on_four_shards() {
    all_meet(4);
}

fn all_meet(shards: usize) {
    let (python, ubjson) = (python::script("scenario.py"), python::ubjson_script("scenario.py"));
    let (autobahn, wampy) = (node::script("scenario.js"), node::script("scenario.js"));
    let (Some(python), Some(ubjson), Some(autobahn), Some(wampy)) = (python, ubjson, autobahn, wampy) else {
        return;
    };
    let router = Router::start(shards);
    let url = router.websocket_url();
    let (speaker, listener) = channel();
    let enter = |name, mut command: Command, mode: &[&str], cast: &[(&str, &str)]| {
        command.args(mode).arg(&url).args(cast.iter().map(|(name, kind)| format!("{name}={kind}")));
        let members: Vec<String> = cast.iter().map(|(name, _)| (*name).to_owned()).collect();
        (members, Process::start(name, &mut command, speaker.clone()))
    };
    let troupes = vec![
        enter("python", python, &["cross"], &PYTHON),
        enter("python_ubjson", ubjson, &["cross"], &PYTHON_UBJSON),
        enter("autobahn", autobahn, &["cross", "autobahn"], &AUTOBAHN),
        enter("wampy", wampy, &["cross", "wampy"], &WAMPY),
    ];
    let mut stage = Stage { troupes, listener, deadline: Instant::now() + PATIENCE };
    stage.await_ready();
    stage.each_publishes_to_all();
    stage.each_calls_each();
    stage.all_leave();
}

/// The processes with their sessions' names, and what they say.
struct Stage {
    troupes: Vec<(Vec<String>, Process)>,
    listener: Receiver<Said>,
    deadline: Instant,
}

impl Stage {
    fn await_ready(&mut self) {
        for _ in 0..self.troupes.len() {
            let report = self.report();
            assert_eq!(report["ready"], true, "{report}");
        }
    }

    /// One publisher at a time: whatever is not its event, or comes twice, is noticed.
    fn each_publishes_to_all(&mut self) {
        let sent = payload(false);
        for publisher in self.sessions() {
            self.order(&publisher, &json!({"do": "publish", "at": publisher, "kwargs": sent}));
            let mut receivers: BTreeSet<String> = self.sessions().into_iter().collect();
            receivers.remove(&publisher);
            while !receivers.is_empty() {
                let report = self.report();
                assert_eq!(report["event"], *publisher, "{report}");
                assert!(receivers.remove(text(&report["at"])), "{publisher}: unexpected or twice: {report}");
                assert_eq!(report["kwargs"], sent, "{report}");
            }
        }
    }

    /// All calls are under way at once.
    fn each_calls_each(&mut self) {
        let mut open = BTreeSet::new();
        for caller in self.sessions() {
            for callee in self.sessions().into_iter().filter(|callee| *callee != caller) {
                let kwargs = payload(wide(&caller, &callee));
                self.order(&caller, &json!({"do": "call", "at": caller, "callee": callee, "kwargs": kwargs}));
                open.insert(("result", caller.clone(), callee.clone()));
                open.insert(("error", caller.clone(), callee));
            }
        }
        while !open.is_empty() {
            let report = self.report();
            let (caller, callee) = (text(&report["at"]), text(&report["callee"]));
            assert_eq!(report["kwargs"], payload(wide(caller, callee)), "{report}");
            let refused = report.get("error").is_some();
            if refused {
                assert_eq!(report["error"], "com.example.error.refused", "{report}");
            }
            assert_eq!(report[if refused { "args" } else { "result" }], json!([caller]), "{report}");
            let answer = (if refused { "error" } else { "result" }, caller.to_owned(), callee.to_owned());
            assert!(open.remove(&answer), "unexpected or twice: {report}");
        }
    }

    fn all_leave(mut self) {
        for (_, process) in &mut self.troupes {
            process.order(&json!({"do": "leave"}).to_string());
            process.dismiss();
        }
        let mut staying: BTreeSet<String> = self.sessions().into_iter().collect();
        let mut playing = self.troupes.len();
        while playing > 0 {
            match self.said().line {
                Some(line) => {
                    let report = parsed(&line);
                    assert!(report.get("left").is_some() && staying.remove(text(&report["at"])), "{report}");
                }
                None => playing -= 1,
            }
        }
        assert!(staying.is_empty(), "have not left: {staying:?}");
        for (members, process) in self.troupes {
            let (status, complaints) = process.ended();
            assert!(status.success(), "{members:?}: {status}\n{complaints}");
        }
    }

    fn sessions(&self) -> Vec<String> {
        self.troupes.iter().flat_map(|(members, _)| members).cloned().collect()
    }

    fn order(&mut self, session: &str, order: &Value) {
        let troupe = self.troupes.iter_mut().find(|(members, _)| members.iter().any(|name| name == session));
        troupe.expect("it is one of the sessions").1.order(&order.to_string());
    }

    /// The next report, from a script that has no reason to end yet.
    fn report(&self) -> Value {
        let said = self.said();
        let Some(line) = said.line else { panic!("{} has ended\n{}", said.by, self.complaints()) };
        parsed(&line)
    }

    fn said(&self) -> Said {
        hear(&self.listener, self.deadline).unwrap_or_else(|| panic!("silence\n{}", self.complaints()))
    }

    fn complaints(&self) -> String {
        self.troupes.iter().map(|(_, process)| process.complaints()).collect()
    }
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
}

/// Whether both sides know integers of 64 bits.
fn wide(caller: &str, callee: &str) -> bool {
    caller.starts_with("python") && callee.starts_with("python")
}

/// The fixture that the scripts revive: every kind of value.
fn payload(wide: bool) -> Value {
    let mut payload: Map<String, Value> =
        serde_json::from_str(include_str!("payload.json")).expect("the fixture is JSON");
    if !wide {
        payload.remove("wide");
    }
    Value::Object(payload)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}"))
}
