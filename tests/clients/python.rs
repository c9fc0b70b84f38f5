//! autobahn-python over WebSocket and RawSocket, with each serializer.

use std::path::Path;
use std::process::Command;

use crate::router::Router;
use crate::{install, scenario};

const SHARDS: usize = 2;

/// The command that runs a script, or none if there is no Python.
pub fn script(path: &str) -> Option<Command> {
    install::python().map(|interpreter| run(interpreter, path))
}

/// The same, with the autobahn that speaks UBJSON.
pub fn ubjson_script(path: &str) -> Option<Command> {
    install::python_ubjson().map(|interpreter| run(interpreter, path))
}

fn run(interpreter: &Path, path: &str) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(install::scripts().join(path)).env("PYTHONUNBUFFERED", "1").env("PYTHONUTF8", "1");
    command
}

fn passes(name: &'static str, url: fn(&Router) -> String, serializer: &str) {
    let script = if serializer == "ubjson" { ubjson_script } else { script };
    let Some(mut command) = script("scenario.py") else { return };
    let router = Router::start(SHARDS);
    command.args(["check", &url(&router), serializer, &format!("com.example.{name}")]);
    scenario::passes(name, &mut command, &[]);
}

#[test]
fn websocket_json() {
    passes("python_websocket_json", Router::websocket_url, "json");
}

#[test]
fn websocket_msgpack() {
    passes("python_websocket_msgpack", Router::websocket_url, "msgpack");
}

#[test]
fn websocket_cbor() {
    passes("python_websocket_cbor", Router::websocket_url, "cbor");
}

#[test]
fn websocket_ubjson() {
    passes("python_websocket_ubjson", Router::websocket_url, "ubjson");
}

#[test]
fn rawsocket_json() {
    passes("python_rawsocket_json", Router::rawsocket_url, "json");
}

#[test]
fn rawsocket_msgpack() {
    passes("python_rawsocket_msgpack", Router::rawsocket_url, "msgpack");
}

#[test]
fn rawsocket_cbor() {
    passes("python_rawsocket_cbor", Router::rawsocket_url, "cbor");
}

#[test]
fn rawsocket_ubjson() {
    passes("python_rawsocket_ubjson", Router::rawsocket_url, "ubjson");
}
