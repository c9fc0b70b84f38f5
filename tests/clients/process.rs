//! Child processes whose lines are heard and whose end is certain.
//!
//! A [`Process`] is killed, through its own handle only, when it is dropped. What it prints on standard output comes
//! through a channel, so that one listener can wait for many of them; what it prints on standard error is kept for the
//! message of a failing test. Nothing here waits without a deadline.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What a process said: a line, or nothing any more.
#[derive(Debug)]
pub struct Said {
    /// The name the process was started under.
    pub by: &'static str,
    /// A line of standard output, or none when it has ended.
    pub line: Option<String>,
}

/// A running child.
pub struct Process {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    complaints: Arc<Mutex<String>>,
}

impl Process {
    /// Starts the command; its lines go to `listener` under `name`.
    pub fn start(name: &'static str, command: &mut Command, listener: Sender<Said>) -> Process {
        Process::spawn(name, command, listener, None)
            .unwrap_or_else(|error| panic!("{name}: {command:?} does not start: {error}"))
    }

    /// The same, for a command that may say what matters on standard error.
    pub fn start_hearing_both(name: &'static str, command: &mut Command, listener: Sender<Said>) -> Process {
        Process::spawn(name, command, listener.clone(), Some(listener))
            .unwrap_or_else(|error| panic!("{name}: {command:?} does not start: {error}"))
    }

    fn spawn(
        name: &'static str,
        command: &mut Command,
        listener: Sender<Said>,
        error_listener: Option<Sender<Said>>,
    ) -> io::Result<Process> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("it was asked for");
        let stderr = child.stderr.take().expect("it was asked for");
        let complaints = Arc::new(Mutex::new(String::new()));
        thread::spawn(move || tell(name, stdout, &listener));
        let kept = Arc::clone(&complaints);
        thread::spawn(move || keep(name, stderr, &kept, error_listener));
        Ok(Process { name, child, stdin, complaints })
    }

    /// Writes a line to its standard input.
    pub fn order(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("orders are given before dismissal");
        if let Err(error) = writeln!(stdin, "{line}") {
            panic!("{} takes no orders: {error}\n{}", self.name, self.complaints());
        }
    }

    /// Closes its standard input: no more orders.
    pub fn dismiss(&mut self) {
        self.stdin = None;
    }

    /// What it has printed on standard error so far.
    pub fn complaints(&self) -> String {
        self.complaints.lock().expect("nobody panics while holding it").clone()
    }

    /// How it ended. Called after its standard output has, when the end is near.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("a child of ours can be waited for");
        (status, self.complaints())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a child that has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next thing said, or none if nothing is said before the deadline.
pub fn hear(listener: &Receiver<Said>, deadline: Instant) -> Option<Said> {
    let patience = deadline.saturating_duration_since(Instant::now());
    listener.recv_timeout(patience).ok()
}

/// Runs a command to its end. The error tells why it did not start, or what it printed.
pub fn run(name: &'static str, command: &mut Command, patience: Duration) -> Result<String, String> {
    let deadline = Instant::now() + patience;
    let (speaker, listener) = channel();
    let mut process =
        Process::spawn(name, command, speaker, None).map_err(|error| format!("{command:?}: {error}"))?;
    process.dismiss();
    let mut output = String::new();
    loop {
        match hear(&listener, deadline) {
            Some(Said { line: Some(line), .. }) => output = output + &line + "\n",
            Some(Said { line: None, .. }) => break,
            None => {
                return Err(format!("{command:?} is not done after {patience:?}\n{}", process.complaints()));
            }
        }
    }
    match process.ended() {
        (status, _) if status.success() => Ok(output),
        (status, complaints) => Err(format!("{command:?}: {status}\n{output}{complaints}")),
    }
}

fn tell(name: &'static str, stdout: impl Read, listener: &Sender<Said>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        // A listener that is gone has heard enough; the pipe is still emptied, so that the child does not stall.
        let _ = listener.send(Said { by: name, line: Some(line) });
    }
    let _ = listener.send(Said { by: name, line: None });
}

fn keep(name: &'static str, stderr: impl Read, complaints: &Mutex<String>, listener: Option<Sender<Said>>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let mut complaints = complaints.lock().expect("nobody panics while holding it");
        complaints.push_str(&line);
        complaints.push('\n');
        if let Some(listener) = &listener {
            let _ = listener.send(Said { by: name, line: Some(line) });
        }
    }
}
