//! How `fanwire serve` reads its configuration file, when it starts and whenever somebody asks for it again: with the
//! options that win over it, and all that is wrong told at once. And what else it answers while it runs.
//!
//! Requests are served in a thread that nothing waits for: a file system that does not answer holds up the request, and
//! those behind it, but not the end of the process.

use std::io;
use std::path::PathBuf;
use std::thread;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::configuration::{Refused, count, mistakes, read_configuration};
use super::reload::{EXIT_UNANSWERED, EXIT_UNCHANGED};
use super::serve::Serve;
use crate::config::file::File;
use crate::config::open_to_everybody;
use crate::router::Losses;
use crate::server::{ChangeError, Changes, Renewed, Request, Server, Wish};

/// A configuration file, and what wins over it.
pub struct Source {
    /// The options.
    pub serve: Serve,
    /// What they were parsed from.
    pub options: ArgMatches,
    /// The file.
    pub path: PathBuf,
}

impl Source {
    /// Reads it, with the options in place of what they win over.
    pub fn read(&self) -> Result<File, Refused> {
        let loaded = read_configuration(&self.path)?;
        let (mut file, refused) = (loaded.file, loaded.refused);
        if !refused.is_empty() {
            let keys = count(refused.len(), "setting");
            let summary = format!("{} has {keys} that this version cannot serve", self.path.display());
            return Err(Refused { mistakes: mistakes(&self.path, &refused), summary });
        }
        let given = |option: &str| self.options.value_source(option) == Some(ValueSource::CommandLine);
        self.serve.clone().override_file(&mut file, given);
        Ok(file)
    }
}

/// What a router that runs was configured with.
pub struct Reloading {
    /// Where it comes from; nothing is read again without.
    pub source: Option<Source>,
    /// What it said when it was good last.
    pub file: Option<File>,
    /// What it said when the router was started, by which it goes on where something is looked at only then.
    pub started: Option<File>,
}

/// Why a file does not hold: the lines of it, and the exit code.
type Failed = (Vec<String>, u8);

impl Reloading {
    /// Of a router that is about to be started by this file.
    pub fn new(source: Source, file: File) -> Reloading {
        Reloading { source: Some(source), started: Some(file.clone()), file: Some(file) }
    }

    /// Of a router without a file.
    pub fn none() -> Reloading {
        Reloading { source: None, file: None, started: None }
    }

    /// Serves requests until the server or the process has ended.
    pub fn spawn(self, server: Server) -> io::Result<()> {
        thread::Builder::new().name("fanwire-requests".to_owned()).spawn(move || self.serve(server)).map(drop)
    }

    fn serve(mut self, mut server: Server) {
        while let Some(request) = server.request() {
            match request.wish {
                Wish::Reload => self.on_reload(&mut server, request),
                Wish::Counters => tell_counters(&server, request),
            }
        }
    }

    /// Reads the file again, and tells whoever asks and the log what came of it.
    fn on_reload(&mut self, server: &mut Server, request: Request) {
        match self.reload(server) {
            Ok(lines) => {
                lines.iter().for_each(|line| tracing::info!("configuration: {line}"));
                request.answer(0, &lines);
            }
            Err((lines, code)) => {
                lines.iter().for_each(|line| tracing::error!("configuration: {line}"));
                request.answer(code, &lines);
            }
        }
    }

    fn reload(&mut self, server: &mut Server) -> Result<Vec<String>, Failed> {
        let unchanged = |Refused { mistakes: mut lines, summary }| {
            lines.push(format!("{summary}; nothing has changed"));
            (lines, EXIT_UNCHANGED)
        };
        let alone = |summary| unchanged(Refused { mistakes: Vec::new(), summary });
        let Some(source) = &self.source else {
            if server.has_certificates() {
                return renewed(server).map(|lines| or_nothing(lines, "no certificate has changed"));
            }
            let text = "there is no file to be read again: the router was started without --config";
            return Err(alone(text.to_owned()));
        };
        let file = source.read().map_err(unchanged)?;
        let config = file.server().map_err(alone)?;
        let cautions = open_to_everybody(&config);
        let changes = match server.change(config) {
            Ok(changes) => changes,
            Err(error @ (ChangeError::Unfit(_) | ChangeError::Overlap(..))) => {
                return Err(alone(error.to_string()));
            }
            Err(error @ ChangeError::Ending) => return Err((vec![error.to_string()], EXIT_UNANSWERED)),
            Err(error @ ChangeError::Late) => {
                self.file = Some(file);
                return Err((vec![error.to_string()], EXIT_UNANSWERED));
            }
        };
        cautions.iter().for_each(|caution| tracing::warn!("configuration: {caution}"));
        let mut lines = told(&changes);
        if let Some(before) = &self.file {
            lines.extend(differences(before, &file));
        }
        let renewed = renewed(server);
        lines.extend(renewed.as_ref().unwrap_or_else(|(lines, _)| lines).iter().cloned());
        lines.extend(self.pending(&file, &changes));
        self.file = Some(file);
        match renewed {
            Ok(_) => Ok(or_nothing(lines, "nothing in the file has changed")),
            // They were good when the file was read: the rest holds.
            Err(_) => Err((lines, EXIT_UNANSWERED)),
        }
    }

    /// What holds only when the router is started again, and is not as it was then: it is told until that is done.
    fn pending(&self, now: &File, changes: &Changes) -> Vec<String> {
        let mut later = changes.later.clone();
        if let Some(started) = &self.started {
            let settings = [
                ("log", started.log != now.log),
                ("log_format", started.log_format != now.log_format),
                ("control", started.control != now.control),
            ];
            later.extend(settings.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name));
        }
        let mut lines: Vec<_> =
            later.iter().map(|name| format!("{name} holds only when the router is started again")).collect();
        if self.file.as_ref().is_some_and(|file| shapes(file) != shapes(now)) {
            lines.push("pattern_shapes_max holds only for realms that are new from now on".to_owned());
        }
        lines
    }
}

fn shapes(file: &File) -> usize {
    file.limits.pattern_shapes_max
}

fn or_nothing(mut lines: Vec<String>, nothing: &str) -> Vec<String> {
    if lines.is_empty() {
        lines.push(nothing.to_owned());
    }
    lines
}

/// Which certificates are others now, a line for each. It fails if any are of no use.
fn renewed(server: &Server) -> Result<Vec<String>, Failed> {
    let Some(renewed) = server.renew_certificates() else {
        return Err((vec!["the files of certificates cannot be read in time".to_owned()], EXIT_UNANSWERED));
    };
    let useless = renewed.iter().any(|renewed| renewed.error.is_some());
    let line = |Renewed { address, error }| match error {
        None => format!("the certificates of {address} have changed"),
        Some(error) => {
            format!(
                "the certificates of {address} have changed and are of no use, so those before stay: {error}"
            )
        }
    };
    let lines = renewed.into_iter().map(line).collect();
    if useless { Err((lines, EXIT_UNCHANGED)) } else { Ok(lines) }
}

/// What was counted, a line for each.
fn tell_counters(server: &Server, request: Request) {
    match server.counters() {
        Some(counters) => {
            let line = |(name, count)| format!("{name} {count}");
            request.answer(0, &counters.named().into_iter().map(line).collect::<Vec<_>>());
        }
        None => request.answer(EXIT_UNANSWERED, &["not every thread of the router answers".to_owned()]),
    }
}

/// What the server has done, a line for each.
fn told(changes: &Changes) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(changes.realms.opened.iter().map(|name| format!("realm {name} is there now")));
    lines.extend(changes.realms.closed.iter().map(|name| format!("realm {name} is no more")));
    lines.extend(changes.opened.iter().map(|(_, address)| format!("listening on {address}")));
    lines.extend(changes.closed.iter().map(|address| format!("no longer listening on {address}")));
    lines.extend(lost(changes.losses));
    lines
}

/// What sessions have lost, in one line.
fn lost(losses: Losses) -> Option<String> {
    let Losses { sessions, subscriptions, registrations } = losses;
    let counted = |(number, noun)| (number > 0).then(|| count(number as usize, noun));
    let taken = [(subscriptions, "subscription"), (registrations, "registration")];
    let taken: Vec<_> = taken.into_iter().filter_map(counted).collect();
    let ended = counted((sessions, "session")).map(|sessions| format!("{sessions} ended"));
    let taken = (!taken.is_empty()).then(|| format!("{} taken away", taken.join(" and ")));
    let both: Vec<_> = ended.into_iter().chain(taken).collect();
    (!both.is_empty()).then(|| both.join(", "))
}

/// What was there before and is said in other words now.
fn differences(before: &File, now: &File) -> Vec<String> {
    // All of them, so that none is forgotten that comes. What is left out here holds only when the router is started.
    let File {
        request_ids,
        peer_message_bytes_min,
        longpoll,
        authentication,
        limits,
        listeners,
        realms,
        shards: _,
        log: _,
        log_format: _,
        control: _,
    } = now;
    let mut lines = Vec::new();
    for realm in realms {
        let known = before.realms.iter().find(|known| known.name == realm.name);
        if known.is_some_and(|known| known != realm) {
            let kind = if realm.template { "template" } else { "realm" };
            lines.push(format!("{kind} {} has changed", realm.name));
        }
    }
    // More than one may ask for any port.
    let mut known: Vec<_> = before.listeners.iter().collect();
    for listener in listeners {
        let place = known.iter().position(|known| known.address == listener.address);
        let known = place.map(|place| known.remove(place));
        if let Some(address) = &listener.address
            && known.is_some_and(|known| format!("{known:?}") != format!("{listener:?}"))
        {
            lines.push(format!("the listener at {address} has changed"));
        }
    }
    if format!("{:?}", before.limits) != format!("{limits:?}") {
        lines.push("limits have changed".to_owned());
    }
    for (name, changed) in [
        ("request_ids", before.request_ids != *request_ids),
        ("peer_message_bytes_min", before.peer_message_bytes_min != *peer_message_bytes_min),
        ("longpoll", before.longpoll != *longpoll),
    ] {
        if changed {
            lines.push(format!("{name} has changed"));
        }
    }
    if before.authentication != *authentication {
        lines.push("what holds for authentication everywhere has changed".to_owned());
    }
    lines
}
