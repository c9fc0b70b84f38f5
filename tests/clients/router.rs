//! The router under test: the real binary on a free port of its own, or the one that `FANWIRE_TEST_URL` names.

use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::process::{Process, Said, hear};

const START_PATIENCE: Duration = Duration::from_secs(20);

/// With one router for all tests, they take turns: some use the same URIs.
static TURN: Mutex<()> = Mutex::new(());

/// A router that listens; its end is the end of this value.
pub struct Router {
    /// `host:port` of each listener; where there is no configuration, of the one for WebSocket, RawSocket and long-poll.
    addresses: Vec<String>,
    /// Kept for its end only, as are the following.
    _process: Option<Process>,
    _output: Option<Receiver<Said>>,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Router {
    /// Starts `fanwire serve` with so many shards and waits until it listens.
    pub fn start(shards: usize) -> Router {
        if let Ok(url) = env::var("FANWIRE_TEST_URL") {
            return Router::running(&url);
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanwire"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--shards", &shards.to_string()]);
        Router::listening(&mut command)
    }

    /// Starts one that does what a configuration file says, whatever `FANWIRE_TEST_URL` is.
    pub fn configured(file: &Path) -> Router {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanwire"));
        Router::listening(command.arg("serve").arg("--config").arg(file))
    }

    fn listening(command: &mut Command) -> Router {
        let (speaker, listener) = channel();
        let process = Process::start_hearing_both("fanwire", command, speaker);
        let mut addresses = Vec::new();
        let deadline = Instant::now() + START_PATIENCE;
        while let Some(Said { line: Some(line), .. }) = hear(&listener, deadline) {
            if line == "ready" && !addresses.is_empty() {
                return Router { addresses, _process: Some(process), _output: Some(listener), _turn: None };
            }
            addresses.extend(listening_address(&line));
        }
        panic!("fanwire does not say where it listens\n{}", process.complaints());
    }

    /// Where it speaks WebSocket.
    pub fn websocket_url(&self) -> String {
        format!("ws://{}/ws", self.addresses[0])
    }

    /// Where it speaks RawSocket, in the form that autobahn-python uses.
    pub fn rawsocket_url(&self) -> String {
        format!("rs://{}", self.addresses[0])
    }

    /// Where it speaks long-poll.
    pub fn longpoll_url(&self) -> String {
        format!("http://{}/lp", self.addresses[0])
    }

    /// Where the listener of that place in the file speaks WebSocket over TLS.
    pub fn secure_websocket_url(&self, listener: usize) -> String {
        format!("wss://{}/ws", self.addresses[listener])
    }

    /// Where it speaks RawSocket over TLS, in the form that autobahn-python uses.
    pub fn secure_rawsocket_url(&self, listener: usize) -> String {
        format!("rss://{}", self.addresses[listener])
    }

    fn running(url: &str) -> Router {
        let address = url.strip_prefix("ws://").expect("FANWIRE_TEST_URL begins with ws://");
        let address = address.split('/').next().unwrap_or(address).to_owned();
        // A test that failed in its turn has left nothing behind that the next one relies on.
        let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Router { addresses: vec![address], _process: None, _output: None, _turn: Some(turn) }
    }
}

/// The `host:port` of a line like `listening on tcp://127.0.0.1:8080`.
fn listening_address(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("listening on ")?;
    let start = rest.find("127.0.0.1:")?;
    let end = rest[start..].find(|each: char| !(each.is_ascii_digit() || each == '.' || each == ':'));
    Some(rest[start..].get(..end.unwrap_or(rest.len() - start))?.to_owned())
}

#[test]
fn listening_address_is_read_from_the_start_line() {
    let address = Some("127.0.0.1:4711".to_owned());
    assert_eq!(listening_address("listening on tcp://127.0.0.1:4711"), address);
    assert_eq!(listening_address("fanwire 0.1.0 listening on ws://127.0.0.1:4711/ws, 2 shards"), address);
    assert_eq!(listening_address("starting"), None);
}
