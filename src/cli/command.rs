//! Commands of the operating system that answer invocations, several at once.
//!
//! Each invocation runs the command line in a shell, in a process group of its own, with the arguments as JSON on its
//! standard input. What it writes is the result. The thread of a command waits for its end, its time limit or the
//! caller's change of mind, and kills the whole group if it must.
//!
//! Invariants: at most `concurrency` commands run and [`WAITING_COUNT_MAX`] invocations wait; a command's output is
//! bounded; every invocation that was taken is finished exactly once; dropping [`Commands`] ends all that run.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use mio::Waker;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::limits::MESSAGE_BYTES_CEILING;
use crate::wamp::RequestId;

/// Invocations that wait for a command to end.
const WAITING_COUNT_MAX: usize = 1024;

/// Octets of standard error that are told: its end, since that is where programs say what went wrong.
const STDERR_BYTES_MAX: usize = 4096;

/// How long the output of a command that has ended may stay open: a child that went its own way may hold it.
const OUTPUT_AFTER_END_MAX: Duration = Duration::from_secs(1);

/// What an invocation gives to its command.
#[derive(Debug)]
pub struct Job {
    /// The invocation.
    pub request: RequestId,
    /// For standard input.
    pub stdin: Vec<u8>,
    /// Environment variables besides those of this process.
    pub variables: Vec<(&'static str, String)>,
}

/// How an invocation's command ended.
#[derive(Debug)]
pub struct Finished {
    /// The invocation.
    pub request: RequestId,
    /// What it came to.
    pub ending: Ending,
}

/// How a command ended.
#[derive(Debug)]
pub enum Ending {
    /// It succeeded; what it wrote to standard output.
    Succeeded(Vec<u8>),
    /// It failed; with the end of what it wrote to standard error.
    Failed(ExitStatus, String),
    /// It was killed at the time limit.
    TimedOut,
    /// It was killed because nobody wants its result.
    Canceled,
    /// It wrote more than a message can hold.
    OutputTooLarge,
    /// It could not be started or waited for.
    Broken(io::Error),
}

/// The commands that run, and the invocations that wait.
#[derive(Debug)]
pub struct Commands {
    line: String,
    timeout: Option<Duration>,
    concurrency: usize,
    running: HashMap<RequestId, Sender<News>>,
    waiting: VecDeque<Job>,
    finished: Receiver<Finished>,
    finish: Sender<Finished>,
    waker: Arc<Waker>,
}

/// What the thread of a command waits for.
#[derive(Debug)]
enum News {
    Ended(io::Result<ExitStatus>),
    Canceled,
}

impl Commands {
    /// None run yet. The waker is called whenever one has ended.
    pub fn new(line: &str, timeout: Option<Duration>, concurrency: usize, waker: Arc<Waker>) -> Commands {
        let (finish, finished) = mpsc::channel();
        let (running, waiting) = (HashMap::new(), VecDeque::new());
        Commands { line: line.to_owned(), timeout, concurrency, running, waiting, finished, finish, waker }
    }

    /// Takes an invocation; false if too many wait already.
    pub fn take(&mut self, job: Job) -> bool {
        if self.running.len() < self.concurrency {
            self.start(job);
            return true;
        }
        let room = self.waiting.len() < WAITING_COUNT_MAX;
        if room {
            self.waiting.push_back(job);
        }
        room
    }

    /// Ends an invocation early. It is finished like every other.
    pub fn cancel(&mut self, request: RequestId) {
        if let Some(command) = self.running.get(&request) {
            // It may have ended by itself in the meantime.
            let _ = command.send(News::Canceled);
        } else if let Some(index) = self.waiting.iter().position(|job| job.request == request) {
            self.waiting.remove(index);
            self.send_finished(request, Ending::Canceled);
        }
    }

    /// The next invocation that has been finished, if there is one.
    pub fn finished(&mut self) -> Option<Finished> {
        let finished = self.finished.try_recv().ok()?;
        self.running.remove(&finished.request);
        while self.running.len() < self.concurrency {
            let Some(job) = self.waiting.pop_front() else { break };
            self.start(job);
        }
        Some(finished)
    }

    fn start(&mut self, job: Job) {
        let (news, told) = mpsc::channel();
        let request = job.request;
        self.running.insert(request, news.clone());
        let mut command = Command::new("sh");
        command.arg("-c").arg(&self.line).process_group(0);
        let (timeout, finish, waker) = (self.timeout, self.finish.clone(), self.waker.clone());
        let started = spawn(move || {
            let ending = run(command, job, timeout, news, &told).unwrap_or_else(Ending::Broken);
            // Both fail only when the session has ended.
            let _ = finish.send(Finished { request, ending });
            let _ = waker.wake();
        });
        if let Err(error) = started {
            self.send_finished(request, Ending::Broken(error));
        }
    }

    fn send_finished(&self, request: RequestId, ending: Ending) {
        // Both ends of the channel are held here, and a wake that fails is made up for by the next.
        let _ = self.finish.send(Finished { request, ending });
        let _ = self.waker.wake();
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        for command in self.running.values() {
            let _ = command.send(News::Canceled);
        }
        while !self.running.is_empty() {
            match self.finished.recv() {
                Ok(finished) => self.running.remove(&finished.request),
                Err(_) => return,
            };
        }
    }
}

/// Runs one command to its end.
fn run(
    mut command: Command,
    job: Job,
    timeout: Option<Duration>,
    news: Sender<News>,
    told: &Receiver<News>,
) -> io::Result<Ending> {
    command.envs(job.variables).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    let group = Pid::from_child(&child);
    let ending = attend(child, job.stdin, timeout, news, told);
    if matches!(ending, Ok(Ending::TimedOut | Ending::Canceled) | Err(_)) {
        // It fails if the group is gone already.
        let _ = kill_process_group(group, Signal::KILL);
    }
    ending
}

/// Gives a command its input, and waits for its end or the moment when it must be killed.
fn attend(
    mut child: Child,
    input: Vec<u8>,
    timeout: Option<Duration>,
    news: Sender<News>,
    told: &Receiver<News>,
) -> io::Result<Ending> {
    let stdin = child.stdin.take();
    spawn(move || {
        // A command need not read what it is given.
        let _ = stdin.map(|mut stdin| stdin.write_all(&input));
    })?;
    let stdout = Collected::start(child.stdout.take(), Part::Beginning(MESSAGE_BYTES_CEILING + 1))?;
    let stderr = Collected::start(child.stderr.take(), Part::End(STDERR_BYTES_MAX))?;
    spawn(move || {
        // Nobody listens any more to a command that was killed.
        let _ = news.send(News::Ended(child.wait()));
    })?;
    let status = match wait(told, timeout) {
        Ok(status) => status?,
        Err(ending) => return Ok(ending),
    };
    if !status.success() {
        return Ok(Ending::Failed(status, String::from_utf8_lossy(&stderr.take()).trim_end().to_owned()));
    }
    let stdout = stdout.take();
    if stdout.len() > MESSAGE_BYTES_CEILING {
        return Ok(Ending::OutputTooLarge);
    }
    Ok(Ending::Succeeded(stdout))
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("command".to_owned()).spawn(work).map(drop)
}

/// Waits for the end of a command. If it must be killed before, tells how it ends then.
fn wait(told: &Receiver<News>, timeout: Option<Duration>) -> Result<io::Result<ExitStatus>, Ending> {
    let news = match timeout {
        Some(timeout) => told.recv_timeout(timeout),
        None => told.recv().map_err(RecvTimeoutError::from),
    };
    match news {
        Ok(News::Ended(status)) => Ok(status),
        Err(RecvTimeoutError::Timeout) => Err(Ending::TimedOut),
        Ok(News::Canceled) | Err(RecvTimeoutError::Disconnected) => Err(Ending::Canceled),
    }
}

/// What of a command's output is kept.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// This many octets; the command cannot write more.
    Beginning(usize),
    /// The last octets, this many.
    End(usize),
}

/// Output that a thread collects.
#[derive(Debug)]
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    complete: Receiver<()>,
}

impl Collected {
    fn start(pipe: Option<impl Read + Send + 'static>, part: Part) -> io::Result<Collected> {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (done, complete) = mpsc::channel();
        let collected = Collected { bytes: bytes.clone(), complete };
        spawn(move || {
            // What came before an error counts as well.
            let _ = pipe.map(|pipe| collect(pipe, part, &bytes));
            let _ = done.send(());
        })?;
        Ok(collected)
    }

    /// What has come when the output is closed, or not much later than the end of the command.
    fn take(self) -> Vec<u8> {
        let _ = self.complete.recv_timeout(OUTPUT_AFTER_END_MAX);
        std::mem::take(&mut *self.bytes.lock())
    }
}

fn collect(mut pipe: impl Read, part: Part, bytes: &Mutex<Vec<u8>>) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = match pipe.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let mut bytes = bytes.lock();
        bytes.extend_from_slice(&buffer[..count]);
        match part {
            Part::Beginning(count_max) if bytes.len() >= count_max => return Ok(()),
            Part::Beginning(_) => {}
            Part::End(count_max) => {
                let surplus = bytes.len().saturating_sub(count_max);
                bytes.drain(..surplus);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::time::Instant;

    use super::*;

    const WAKE: mio::Token = mio::Token(0);

    fn commands(line: &str, timeout: Option<Duration>, concurrency: usize) -> (Commands, mio::Poll) {
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).unwrap());
        (Commands::new(line, timeout, concurrency, waker), poll)
    }

    fn job(request: u64, stdin: &str) -> Job {
        let variables = vec![("FANWIRE_PROCEDURE", "com.example".to_owned())];
        Job { request: RequestId(request), stdin: stdin.as_bytes().to_vec(), variables }
    }

    fn next(commands: &mut Commands, poll: &mut mio::Poll) -> Finished {
        let mut events = mio::Events::with_capacity(1);
        loop {
            if let Some(finished) = commands.finished() {
                return finished;
            }
            match poll.poll(&mut events, Some(Duration::from_secs(30))) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                polled => polled.unwrap(),
            }
        }
    }

    fn ending(line: &str, stdin: &str, timeout: Option<Duration>) -> Ending {
        let (mut commands, mut poll) = commands(line, timeout, 1);
        assert!(commands.take(job(1, stdin)));
        next(&mut commands, &mut poll).ending
    }

    fn written(line: &str, stdin: &str) -> String {
        match ending(line, stdin, None) {
            Ending::Succeeded(stdout) => String::from_utf8(stdout).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_command_reads_its_input_and_its_variables() {
        assert_eq!(written("cat; echo $FANWIRE_PROCEDURE", "in "), "in com.example\n");
        // More than a pipe holds, and not read at all.
        assert_eq!(written("echo done", &"x".repeat(1 << 20)), "done\n");
        assert_eq!(written("cat", &"x".repeat(1 << 20)).len(), 1 << 20);
    }

    #[test]
    fn a_failure_tells_status_and_the_end_of_standard_error() {
        let line = "yes | head -c 100000 >&2; echo last words >&2; exit 3";
        let Ending::Failed(status, stderr) = ending(line, "", None) else { panic!("it failed") };
        assert_eq!(status.code(), Some(3));
        assert!(stderr.ends_with("last words") && stderr.len() <= STDERR_BYTES_MAX);
        let Ending::Failed(status, _) = ending("kill -TERM $$", "", None) else { panic!("it failed") };
        assert_eq!(status.signal(), Some(15));
    }

    #[test]
    fn the_whole_group_is_killed_at_the_time_limit() {
        let started = Instant::now();
        let ending = ending("sleep 600 | cat", "", Some(Duration::from_millis(50)));
        assert!(matches!(ending, Ending::TimedOut), "{ending:?}");
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn output_is_bounded_and_does_not_wait_for_children() {
        assert!(matches!(ending("yes", "", None), Ending::Failed(..)));
        assert!(matches!(ending("yes || true", "", None), Ending::OutputTooLarge));
        assert_eq!(written("sleep 5 & echo early", ""), "early\n");
    }

    #[test]
    fn commands_run_at_once_up_to_the_bound_and_then_wait_in_order() {
        let (mut commands, mut poll) = commands("cat", None, 2);
        for request in 1..=10 {
            assert!(commands.take(job(request, &request.to_string())));
            assert!(commands.running.len() <= 2);
        }
        assert_eq!(commands.waiting.len(), 8);
        let mut finished: Vec<_> = (0..10).map(|_| next(&mut commands, &mut poll).request.0).collect();
        finished.sort_unstable();
        assert_eq!(finished, (1..=10).collect::<Vec<_>>());
        assert!(commands.running.is_empty() && commands.waiting.is_empty());
    }

    #[test]
    fn a_canceled_invocation_ends_whether_it_runs_or_waits() {
        let (mut commands, mut poll) = commands("sleep 600", None, 1);
        assert!(commands.take(job(1, "")) && commands.take(job(2, "")));
        commands.cancel(RequestId(2));
        commands.cancel(RequestId(1));
        for _ in 0..2 {
            assert!(matches!(next(&mut commands, &mut poll).ending, Ending::Canceled));
        }
        // Unknown by now, and no harm.
        commands.cancel(RequestId(1));
        assert!(commands.take(job(3, "")));
        drop(commands);
    }

    #[test]
    fn no_more_invocations_wait_than_the_bound() {
        let (mut commands, _poll) = commands("sleep 600", None, 1);
        for request in 0..=WAITING_COUNT_MAX as u64 {
            assert!(commands.take(job(request, "")));
        }
        assert!(!commands.take(job(5_000, "")));
    }
}
