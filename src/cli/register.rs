//! `fanwire register`: a procedure whose calls are answered by a command, or by what they bring.

use std::process::ExitCode;
use std::time::Duration;

use super::arguments::json_or_text;
use super::command::{Commands, Ending, Finished, Job};
use super::exit::{EXIT_CODES, Failure, finish};
use super::interrupt::Interrupt;
use super::options::MessageOptions;
use super::output;
use super::target::{Target, match_option, match_policies, seconds};
use crate::client::{Client, ClientError, Incoming, Invocation};
use crate::codec::payload::OwnedPayload;
use crate::wamp::{MatchPolicy, RequestId, Serializer, Value, reason};

/// The error that callers get for a command that did not succeed.
const COMMAND_FAILED: &str = "fanwire.error.command_failed";

/// The error that callers get for a command that was killed at its time limit.
const COMMAND_TIMEOUT: &str = "fanwire.error.command_timeout";

const COMMAND_RULES: &str = "\
The command of --exec:
  It runs in sh. Standard input: {\"args\": [...], \"kwargs\": {...}}. Environment:
  FANWIRE_PROCEDURE, the procedure that was called; FANWIRE_INVOCATION, a number;
  FANWIRE_CALLER, the caller's session, if the router discloses it.
  What it writes is the result: a value if it is JSON, else text without the
  newline at its end; nothing if it writes nothing. If its status is not 0, the
  caller gets the error fanwire.error.command_failed with the keyword arguments
  status (or signal) and stderr, the last 4096 bytes of it. After --exec-timeout
  it is killed, and the error is fanwire.error.command_timeout. It is killed as
  well when the call is canceled or the session ends.";

/// Register a procedure and answer its calls
#[derive(clap::Args, Debug)]
#[command(after_help = format!("{COMMAND_RULES}\n\n{EXIT_CODES}"))]
pub struct Register {
    /// Procedure, or pattern with --match
    procedure: String,

    /// Run this command for each call; what it writes is the result
    #[arg(long, value_name = "COMMAND", required_unless_present = "echo")]
    exec: Option<String>,

    /// Return the arguments and keyword arguments as they came
    #[arg(long, conflicts_with = "exec")]
    echo: bool,

    /// How the procedure is matched
    #[arg(long = "match", value_name = "POLICY", default_value = "exact", value_parser = match_policies())]
    match_policy: MatchPolicy,

    /// Share the procedure: how a callee is chosen, such as roundrobin, random, first, last
    #[arg(long, value_name = "POLICY")]
    invoke: Option<String>,

    #[command(flatten)]
    options: MessageOptions,

    /// How many commands may run at once; further calls wait
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,

    /// Kill a command that runs longer [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    exec_timeout: Option<Duration>,

    /// Print each call as a JSON object: procedure, args, kwargs, invocation, registration, details
    #[arg(long)]
    json: bool,

    /// Do not print the calls; say nothing but errors
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    target: Target,
}

impl Register {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        finish(self.register(), self.json)
    }

    fn register(&self) -> Result<(), Failure> {
        let mut client = self.target.connect()?;
        let interrupt = Interrupt::watch(&client).map_err(Failure::System)?;
        let invoke = self.invoke.as_ref().map(|policy| ("invoke", Value::text(policy)));
        let flags = match_option(self.match_policy).into_iter().chain(invoke).collect();
        client.register(&self.procedure, &self.options.with(flags))?;
        if !self.quiet {
            output::notice(&format!("registered {} ({})", self.procedure, self.match_policy.name()));
        }
        self.answer_calls(&mut client, &interrupt)?;
        client.leave()?;
        Ok(())
    }

    fn answer_calls(&self, client: &mut Client, interrupt: &Interrupt) -> Result<(), Failure> {
        let mut commands = self
            .exec
            .as_ref()
            .map(|line| Commands::new(line, self.exec_timeout, self.concurrency.into(), client.waker()));
        while !interrupt.asked() {
            while let Some(finished) = commands.as_mut().and_then(Commands::finished) {
                answer(client, finished)?;
            }
            match client.receive(None)? {
                Incoming::Invocation(invocation) => {
                    self.print(&invocation)?;
                    match &mut commands {
                        Some(commands) => self.take(client, commands, &invocation)?,
                        None => client.yield_result(invocation.request, invocation.payload.borrow())?,
                    }
                }
                Incoming::Interrupt(request) => {
                    if let Some(commands) = &mut commands {
                        commands.cancel(request);
                    }
                }
                Incoming::Unregistered(_) => return Err(Failure::Revoked),
                Incoming::Woken | Incoming::Event(_) | Incoming::Unsubscribed(_) => {}
            }
        }
        Ok(())
    }

    /// Hands an invocation to its command.
    fn take(
        &self,
        client: &mut Client,
        commands: &mut Commands,
        invocation: &Invocation,
    ) -> Result<(), Failure> {
        let (args, kwargs) = output::arguments(invocation.payload.borrow());
        let mut variables = vec![
            ("FANWIRE_PROCEDURE", self.called(invocation)),
            ("FANWIRE_INVOCATION", invocation.request.to_string()),
        ];
        if let Some(caller) = invocation.details.unsigned("caller") {
            variables.push(("FANWIRE_CALLER", caller.to_string()));
        }
        let stdin = output::object(&[("args", args), ("kwargs", kwargs)]).into_bytes();
        if !commands.take(Job { request: invocation.request, stdin, variables }) {
            let text = [Value::text("too many calls wait for their command")];
            return refuse(client, invocation.request, reason::UNAVAILABLE, &text, &[]);
        }
        Ok(())
    }

    fn print(&self, invocation: &Invocation) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        let procedure = self.called(invocation);
        if !self.json {
            return output::line(&output::named_line(&procedure, invocation.payload.borrow()));
        }
        let (args, kwargs) = output::arguments(invocation.payload.borrow());
        output::line(&output::object(&[
            ("procedure", Value::text(&procedure)),
            ("args", args),
            ("kwargs", kwargs),
            ("invocation", Value::Unsigned(invocation.request.0)),
            ("registration", Value::Unsigned(invocation.registration.0)),
            ("details", output::details(&invocation.details)),
        ]))
    }

    /// Routers name the procedure only where the registration does not.
    fn called(&self, invocation: &Invocation) -> String {
        invocation.details.text("procedure").unwrap_or_else(|| self.procedure.clone())
    }
}

/// Answers an invocation with what its command came to.
fn answer(client: &mut Client, Finished { request, ending }: Finished) -> Result<(), Failure> {
    match ending {
        Ending::Succeeded(stdout) => yield_output(client, request, &stdout),
        Ending::Canceled => refuse(client, request, reason::CANCELED, &[], &[]),
        Ending::TimedOut => {
            let text = "the command took too long";
            output::error(text);
            refuse(client, request, COMMAND_TIMEOUT, &[Value::text(text)], &[])
        }
        Ending::Failed(status, stderr) => {
            let text = format!("the command failed: {status}");
            output::error(&if stderr.is_empty() { text.clone() } else { format!("{text}: {stderr}") });
            let status = status_entry(status);
            refuse(
                client,
                request,
                COMMAND_FAILED,
                &[Value::text(&text)],
                &[status, ("stderr", Value::text(&stderr))],
            )
        }
        Ending::OutputTooLarge => {
            let text = "the command's output is too large";
            output::error(text);
            refuse(client, request, COMMAND_FAILED, &[Value::text(text)], &[])
        }
        Ending::Broken(error) => {
            let text = format!("the command cannot be run: {error}");
            output::error(&text);
            refuse(client, request, COMMAND_FAILED, &[Value::text(&text)], &[])
        }
    }
}

fn status_entry(status: std::process::ExitStatus) -> (&'static str, Value<'static>) {
    use std::os::unix::process::ExitStatusExt;

    let number = |number: i32| Value::Unsigned(u64::from(number.unsigned_abs()));
    match (status.code(), status.signal()) {
        (Some(code), _) => ("status", number(code)),
        (None, signal) => ("signal", number(signal.unwrap_or_default())),
    }
}

/// What a command wrote, as the result.
fn yield_output(client: &mut Client, request: RequestId, stdout: &[u8]) -> Result<(), Failure> {
    let text = std::str::from_utf8(stdout);
    let value = match text {
        Ok("") => None,
        Ok(text) => match json_or_text(text) {
            Value::Text(same) if same == text => Some(Value::text(text.strip_suffix('\n').unwrap_or(text))),
            value => Some(value),
        },
        Err(_) => Some(Value::Binary(stdout.into())),
    };
    let payload = OwnedPayload::from_values(Serializer::Json, value.as_slice(), &[])
        .map_err(|_| ClientError::Unencodable)?;
    match client.yield_result(request, payload.borrow()) {
        Err(ClientError::TooLarge) => {
            let text = "the command's output is too large";
            output::error(text);
            refuse(client, request, COMMAND_FAILED, &[Value::text(text)], &[])
        }
        yielded => Ok(yielded?),
    }
}

fn refuse(
    client: &mut Client,
    request: RequestId,
    error: &str,
    args: &[Value<'_>],
    kwargs: &[(&str, Value<'_>)],
) -> Result<(), Failure> {
    let payload =
        OwnedPayload::from_values(Serializer::Json, args, kwargs).map_err(|_| ClientError::Unencodable)?;
    client.error(request, error, payload.borrow())?;
    Ok(())
}
