//! autobahn-js and wampy.js over WebSocket, with each serializer; autobahn-js over long-poll.

use std::process::Command;

use crate::router::Router;
use crate::{install, scenario};

const SHARDS: usize = 2;

/// wampy.js asks for an acknowledgement always, and drops an `exclude_me` of false before it sends.
const WAMPY_UNABLE: [&str; 2] = ["publication_unacknowledged", "publisher_included_on_request"];

/// Over long-poll autobahn-js posts each message as soon as it has it, and HTTP keeps no order.
const LONGPOLL_UNABLE: [&str; 1] = ["events_in_order"];

/// The command that runs a script, or none if there is no Node.js.
pub fn script(path: &str) -> Option<Command> {
    let mut command = Command::new("node");
    command.env("NODE_PATH", install::node_modules()?).arg(install::scripts().join(path));
    Some(command)
}

fn passes(name: &'static str, library: &str, serializer: &str, unable: &[&str]) {
    passes_at(Router::websocket_url, name, library, serializer, unable);
}

fn passes_at(
    url: fn(&Router) -> String,
    name: &'static str,
    library: &str,
    serializer: &str,
    unable: &[&str],
) {
    let Some(mut command) = script("scenario.js") else { return };
    let router = Router::start(SHARDS);
    command.args(["check", library, &url(&router), serializer, &format!("com.example.{name}")]);
    command.args(unable);
    scenario::passes(name, &mut command, unable);
}

#[test]
fn autobahn_json() {
    passes("autobahn_json", "autobahn", "json", &[]);
}

#[test]
fn autobahn_msgpack() {
    passes("autobahn_msgpack", "autobahn", "msgpack", &[]);
}

#[test]
fn autobahn_cbor() {
    passes("autobahn_cbor", "autobahn", "cbor", &[]);
}

#[test]
fn autobahn_longpoll() {
    passes_at(Router::longpoll_url, "autobahn_longpoll", "autobahn", "json", &LONGPOLL_UNABLE);
}

#[test]
fn wampy_json() {
    passes("wampy_json", "wampy", "json", &WAMPY_UNABLE);
}

#[test]
fn wampy_msgpack() {
    passes("wampy_msgpack", "wampy", "msgpack", &WAMPY_UNABLE);
}

#[test]
fn wampy_cbor() {
    passes("wampy_cbor", "wampy", "cbor", &WAMPY_UNABLE);
}
