//! The program: what it prints, what signals do, and how it fails.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::client::{Client, HANDSHAKE};
use crate::setup::socket_path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fanwire");

/// A running `fanwire serve`; killed when the test ends, however it ends.
pub struct Process {
    child: Child,
    lines: Vec<String>,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    pub fn serve(options: &[&str]) -> Process {
        let mut command = Command::new(PROGRAM);
        command.arg("serve").args(options);
        Process::start(command)
    }

    /// Starts it and waits until it is ready.
    fn start(mut command: Command) -> Process {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut process = Process { child, lines: Vec::new(), stdout };
        loop {
            let mut line = String::new();
            let bytes = process.stdout.read_line(&mut line).unwrap();
            assert_ne!(bytes, 0, "it ended before it was ready: {:?}", process.lines);
            if line == "ready\n" {
                return process;
            }
            process.lines.push(line.trim_end().to_owned());
        }
    }

    /// The port of the first listener.
    pub fn address(&self) -> SocketAddr {
        let address = self.lines[1].strip_prefix("listening on tcp://").unwrap();
        address.split(' ').next().unwrap().parse().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end; returns the exit code and what was logged.
    pub fn end(&mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails if the process has ended, which is what it should have done.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fails(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(PROGRAM).args(arguments).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{stderr}");
    assert!(stdout.is_empty());
    stderr
}

#[test]
fn the_start_is_told_and_sigterm_ends_it_with_code_0() {
    let path = socket_path();
    let unix = format!("unix:{}", path.display());
    let mut process = Process::serve(&[
        "--listen=127.0.0.1:0",
        "--listen=ws://127.0.0.1:0",
        "--listen",
        &unix,
        "--shards=2",
        "--realm=realm1",
        "--realm=com.example.other",
    ]);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(process.lines[0], format!("fanwire {version}: 2 shards, realms realm1, com.example.other"));
    assert!(process.lines[1].ends_with(" (WebSocket and RawSocket)") && !process.lines[1].contains(":0 "));
    assert!(process.lines[2].ends_with(" (WebSocket)"));
    assert_eq!(process.lines[3], format!("listening on {unix} (WebSocket and RawSocket)"));
    assert_eq!(process.lines.len(), 4);

    let mut client = Client::join(process.address());
    process.signal(Signal::TERM);
    assert_eq!(client.receive()[0], 6);
    drop(client);
    let (code, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("shutting down"), "{log}");
    assert!(!path.exists());
}

#[test]
fn a_second_signal_does_not_wait() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut process = Process::serve(&["--listen=127.0.0.1:0", "--shards=1"]);
        let mut client = Client::join(process.address());
        process.signal(Signal::INT);
        assert_eq!(client.receive()[0], 6, "the first one says goodbye");
        process.signal(signal);
        assert_eq!(process.end().0, Some(code));
    }
}

#[test]
fn an_address_in_use_is_one_line_and_code_2() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let line = fails(&["serve", "--listen", &address]);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.contains(&format!("cannot listen on tcp://{address}: ")) && line.contains("--listen"),
        "{line}"
    );
}

#[test]
fn what_cannot_be_read_is_told_with_what_could() {
    for (arguments, expected) in [
        (&["serve", "--listen", "nowhere"][..], "`nowhere` is no address"),
        (&["serve", "--listen", "http://127.0.0.1:0"], "`http://` is not served"),
        (&["serve", "--listen", "wss://127.0.0.1:0"], "give --tls-certificate"),
        (&["serve", "--tls-certificate", "a.pem"], "needs its --tls-key"),
        (&["serve", "--tls-certificate", "a.pem", "--tls-key", "a.key"], "no listener speaks TLS"),
        (
            &["serve", "--listen=wss://127.0.0.1:0", "--tls-certificate=/none.pem", "--tls-key=/none.key"],
            "/none.pem cannot be read",
        ),
        (&["serve", "--forwarded-from", "10.0.0.1/8"], "the whole network is 10.0.0.0/8"),
        (&["serve", "--realm", "a b"], "`a b` cannot be a realm"),
        (&["serve", "--shards", "65"], "there must be 1 to 64"),
        (&["serve", "--message-bytes-max", "17M"], "octets"),
        (&["serve", "--log", "fanwire=loud"], "the log filter"),
        (&["serve", "--ping-seconds", "soon"], "ping-seconds"),
        (&["serve", "--no-such-option"], "--no-such-option"),
        (&["surf"], "surf"),
    ] {
        let text = fails(arguments);
        assert!(text.starts_with("error: ") && text.contains(expected), "{arguments:?}: {text}");
    }
}

#[test]
fn help_names_every_default() {
    let Output { status, stdout, .. } = Command::new(PROGRAM).args(["serve", "--help"]).output().unwrap();
    assert!(status.success());
    let help = String::from_utf8(stdout).unwrap();
    for option in help.split("\n      --").skip(1) {
        assert!(option.contains("[default:"), "no default: {option}");
    }
}

#[test]
fn without_descriptors_the_peers_there_are_served_and_later_others_too() {
    let mut command = Command::new("sh");
    let limited = "ulimit -n 48 && exec \"$0\" serve --listen=127.0.0.1:0 --shards=1";
    command.args(["-c", limited, PROGRAM]);
    let mut process = Process::start(command);
    let address = process.address();
    let mut first = Client::join(address);
    let mut crowd: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    // At least the last ones are beyond 48 descriptors: they are dropped, not left waiting.
    let last = crowd.last_mut().unwrap();
    last.set_read_timeout(Some(crate::client::PATIENCE)).unwrap();
    assert!(matches!(last.read(&mut [0]), Ok(0) | Err(_)));
    first.subscribe(1, "com.example.topic");
    first.send(json!([16, 2, {"exclude_me": false}, "com.example.topic", ["here"]]));
    assert_eq!(first.event(), "here");
    drop(crowd);
    while !accepted(address) {}
    process.signal(Signal::TERM);
    drop(first);
    let (code, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("cannot accept").count(), 1, "once, however often it happens: {log}");
}

fn accepted(address: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(crate::client::PATIENCE)).unwrap();
    stream.write_all(&HANDSHAKE).is_ok() && stream.read_exact(&mut [0; 4]).is_ok()
}
