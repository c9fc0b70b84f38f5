//! How `fanwire serve` reads its configuration file, when it starts and whenever somebody asks for it again: with the
//! options that win over it, and all that is wrong told at once.

use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::configuration::{Refused, count, mistakes, read_configuration};
use super::serve::Serve;
use crate::config::file::File;
use crate::config::open_to_everybody;
use crate::router::ListenerIndex;
use crate::server::{Changes, Request, Server};

/// A configuration file, and what wins over it.
pub struct Source<'a> {
    /// The options.
    pub serve: &'a Serve,
    /// What they were parsed from.
    pub options: &'a ArgMatches,
    /// The file.
    pub path: &'a Path,
}

impl Source<'_> {
    /// Reads it, with the options in place of what they win over.
    pub fn read(&self) -> Result<File, Refused> {
        let loaded = read_configuration(self.path)?;
        let (mut file, refused) = (loaded.file, loaded.refused);
        if !refused.is_empty() {
            let keys = count(refused.len(), "setting");
            let summary = format!("{} has {keys} that this version cannot serve", self.path.display());
            return Err(Refused { mistakes: mistakes(self.path, &refused), summary });
        }
        let given = |option: &str| self.options.value_source(option) == Some(ValueSource::CommandLine);
        self.serve.clone().override_file(&mut file, given);
        Ok(file)
    }
}

/// What a router that runs was configured with.
pub struct Reloading<'a> {
    /// Where it comes from; nothing is read again without.
    pub source: Option<Source<'a>>,
    /// What it said when it was good last.
    pub file: Option<File>,
}

impl Reloading<'_> {
    /// Serves requests until the server has ended.
    pub fn serve(mut self, server: &mut Server) {
        while let Some(request) = server.request() {
            self.on_request(server, request);
        }
    }

    /// Reads the file again, and tells whoever asks and the log what came of it.
    fn on_request(&mut self, server: &mut Server, request: Request) {
        match self.reload(server) {
            Ok(lines) => {
                lines.iter().for_each(|line| tracing::info!("configuration: {line}"));
                request.answer(0, &lines);
            }
            Err(Refused { mistakes: mut lines, summary }) => {
                lines.push(format!("{summary}; nothing has changed"));
                lines.iter().for_each(|line| tracing::error!("configuration: {line}"));
                request.answer(2, &lines);
            }
        }
    }

    fn reload(&mut self, server: &mut Server) -> Result<Vec<String>, Refused> {
        let alone = |summary| Refused { mistakes: Vec::new(), summary };
        let Some(source) = &self.source else {
            let text = "there is no file to be read again: the router was started without --config";
            return Err(alone(text.to_owned()));
        };
        let file = source.read()?;
        let config = file.server().map_err(alone)?;
        let cautions = open_to_everybody(&config);
        let changes = server.change(config).map_err(|error| alone(error.to_string()))?;
        cautions.iter().for_each(|caution| tracing::warn!("configuration: {caution}"));
        let lines = told(&changes, self.file.as_ref(), &file);
        self.file = Some(file);
        Ok(lines)
    }
}

/// What has changed, a line for each.
fn told(changes: &Changes, before: Option<&File>, now: &File) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(changes.realms.opened.iter().map(|name| format!("realm {name} is there now")));
    lines.extend(changes.realms.closed.iter().map(|name| format!("realm {name} is no more")));
    let opened = changes.opened.iter().map(|(ListenerIndex(index), address)| (index, address));
    lines.extend(opened.map(|(_, address)| format!("listening on {address}")));
    lines.extend(changes.closed.iter().map(|address| format!("no longer listening on {address}")));
    let mut later = changes.later.clone();
    if let Some(before) = before {
        lines.extend(differences(before, now));
        let settings = [
            ("log", before.log != now.log),
            ("log_format", before.log_format != now.log_format),
            ("control", before.control != now.control),
        ];
        later.extend(settings.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name));
    }
    lines.extend(later.iter().map(|name| format!("{name} holds only when the router is started again")));
    if lines.is_empty() {
        lines.push("nothing in the file has changed".to_owned());
    }
    lines
}

/// What was there before and is said in other words now.
fn differences(before: &File, now: &File) -> Vec<String> {
    let mut lines = Vec::new();
    for realm in &now.realms {
        let known = before.realms.iter().find(|known| known.name == realm.name);
        if known.is_some_and(|known| known != realm) {
            let kind = if realm.template { "template" } else { "realm" };
            lines.push(format!("{kind} {} has changed", realm.name));
        }
    }
    for listener in &now.listeners {
        let known = before.listeners.iter().find(|known| known.address == listener.address);
        if let Some(address) = &listener.address
            && known.is_some_and(|known| format!("{known:?}") != format!("{listener:?}"))
        {
            lines.push(format!("the listener at {address} has changed"));
        }
    }
    if format!("{:?}", before.limits) != format!("{:?}", now.limits) {
        lines.push("limits have changed".to_owned());
    }
    if before.authentication != now.authentication {
        lines.push("what holds for authentication everywhere has changed".to_owned());
    }
    lines
}
