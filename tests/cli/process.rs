//! Processes of the tests: the router, commands that run until they are told to stop, and those that end by
//! themselves. Nothing here sleeps: every wait is for a line, an end, or half a minute at most.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// After this a test has failed; nothing here takes a second.
const PATIENCE: Duration = Duration::from_secs(30);

pub const SERIALIZERS: [&str; 4] = ["json", "msgpack", "cbor", "ubjson"];

/// A directory that is removed in the end. Its path is short enough for the address of a Unix domain socket.
pub struct Directory {
    pub path: PathBuf,
}

impl Directory {
    pub fn new() -> Directory {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("fanwire-cli-{}-{count}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Directory { path }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// `fanwire` with these arguments and none of the variables it reads.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanwire"));
    for variable in ["FANWIRE_URL", "FANWIRE_REALM", "FANWIRE_SERIALIZER", "FANWIRE_LOG"] {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end: its exit code, standard output and standard error.
pub fn fanwire(arguments: &[&str]) -> (i32, String, String) {
    ended(command(arguments).output().unwrap())
}

pub fn ended(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("it was not killed"), text(output.stdout), text(output.stderr))
}

/// A process that goes on until it is told to stop.
pub struct Running {
    child: Child,
    stdout: Option<Receiver<String>>,
    stderr: Receiver<String>,
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().map(lines);
        let stderr = lines(child.stderr.take().unwrap());
        Running { child, stdout, stderr }
    }

    /// `fanwire sub` or `register`, as soon as it is ready.
    pub fn ready(arguments: &[&str]) -> Running {
        let mut running = Running::start(command(arguments));
        let notice = running.stderr_line().expect("it is ready before it ends");
        assert!(notice.starts_with("subscribed to ") || notice.starts_with("registered "), "{notice}");
        running
    }

    /// The next line of standard output; none at its end.
    pub fn line(&mut self) -> Option<String> {
        next(self.stdout.as_ref().unwrap())
    }

    /// The next line of standard error; none at its end.
    pub fn stderr_line(&mut self) -> Option<String> {
        next(&self.stderr)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit code.
    pub fn end(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        // Both streams end no later than the process; then it is there to be waited for.
        while self.stderr.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {}
        self.child.wait().unwrap().code().expect("it was not killed")
    }

    /// The signal that has killed it.
    pub fn exit_signal(&mut self) -> Option<i32> {
        while self.stderr_line().is_some() {}
        std::os::unix::process::ExitStatusExt::signal(&self.child.wait().unwrap())
    }

    /// Stops it as people do.
    pub fn interrupt(&mut self) -> i32 {
        self.signal(Signal::INT);
        self.end()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn next(lines: &Receiver<String>) -> Option<String> {
    match lines.recv_timeout(PATIENCE) {
        Ok(line) => Some(line),
        Err(mpsc::RecvTimeoutError::Disconnected) => None,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("no line came"),
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A router on a free port and on a Unix domain socket.
pub struct Router {
    pub process: Running,
    pub address: String,
    pub directory: Directory,
}

impl Router {
    pub fn start() -> Router {
        Router::start_with(&[])
    }

    /// With these options too.
    pub fn start_with(options: &[&str]) -> Router {
        let directory = Directory::new();
        let socket = format!("unix:{}", directory.path.join("socket").display());
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--listen", &socket, "--log", "error"]);
        serve.args(["--shards", "2", "--drain-seconds", "2"]).args(options);
        let mut process = Running::start(serve);
        let mut address = String::new();
        loop {
            let line = process.line().expect("the router is ready before it ends");
            if let Some(listening) = line.strip_prefix("listening on tcp://") {
                address = listening.split(' ').next().unwrap().to_owned();
            }
            if line == "ready" {
                return Router { process, address, directory };
            }
        }
    }

    pub fn websocket(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    pub fn tcp(&self) -> String {
        format!("tcp://{}", self.address)
    }

    pub fn unix(&self) -> String {
        format!("unix://{}", self.directory.path.join("socket").display())
    }

    /// Every transport in every serializer, as options.
    pub fn ways(&self) -> Vec<[String; 4]> {
        let urls = [self.websocket(), self.tcp(), self.unix()];
        let way = |url: &String, serializer: &str| {
            ["--url".to_owned(), url.clone(), "--serializer".to_owned(), serializer.to_owned()]
        };
        urls.iter().flat_map(|url| SERIALIZERS.map(|serializer| way(url, serializer))).collect()
    }
}

/// The arguments and behind them the options.
pub fn with<'a>(arguments: &[&'a str], options: &'a [String]) -> Vec<&'a str> {
    arguments.iter().copied().chain(options.iter().map(String::as_str)).collect()
}
