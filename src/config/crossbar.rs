//! Turns a Crossbar.io node configuration (version 2) into a configuration [`file`](super::file) of ours, and says what
//! is lost on the way: every key that is dropped with the reason, and every permission that means something else here.
//!
//! One process takes the place of all router workers; a listener opens only realms that its own worker reached: those
//! of a router worker, and those that a proxy routes to. Authentication moves from transports, where Crossbar.io has
//! it, to realms; a listener keeps which methods and realms are open, and who may join where it was not so is told.
//! Values `$NAME` of secrets become keys with `_env`.
//!
//! What comes out is read back, so that it is a file without mistakes or the mistakes are told.

mod access;
mod anonymous;
mod auth;
mod object;
mod permission;
mod realm;
mod site;
mod transport;
mod write;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::access::Source;
use self::object::Object;
use self::realm::RealmText;
use self::transport::ListenerText;
use self::write::Section;
use super::reader::Surroundings;
use crate::auth::Secret;

/// What came out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Import {
    /// The configuration file.
    pub text: String,
    /// Keys that are not in it.
    pub dropped: Vec<Note>,
    /// What means something else here, or must be looked at.
    pub warnings: Vec<Note>,
    /// What has to be put right before the file is served.
    pub mistakes: Vec<Note>,
}

/// Something to say about a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// Where, as `workers[0].realms[0].name`.
    pub path: String,
    /// What.
    pub text: String,
}

/// How a node configuration is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `config.json`.
    Json,
    /// `config.yaml`.
    Yaml,
}

/// What is told while a configuration is read.
#[derive(Default)]
struct Report {
    /// What goes before relative paths.
    folder: PathBuf,
    dropped: RefCell<Vec<Note>>,
    warnings: RefCell<Vec<Note>>,
    mistakes: RefCell<Vec<Note>>,
}

impl Report {
    /// A path of the node configuration as it is in the result.
    fn moved(&self, path: String) -> String {
        if path.is_empty() {
            return path;
        }
        // What is written in neither is text.
        self.folder.join(&path).into_os_string().into_string().unwrap_or(path)
    }

    fn drop(&self, path: &str, reason: &str) {
        self.dropped.borrow_mut().push(Note { path: path.to_owned(), text: reason.to_owned() });
    }

    fn warn(&self, path: &str, text: impl Into<String>) {
        note(&self.warnings, path, text.into());
    }

    fn mistake(&self, path: &str, text: impl Into<String>) {
        note(&self.mistakes, path, text.into());
    }
}

/// Notes what is not noted yet.
fn note(notes: &RefCell<Vec<Note>>, path: &str, text: String) {
    let note = Note { path: path.to_owned(), text };
    let mut notes = notes.borrow_mut();
    if !notes.contains(&note) {
        notes.push(note);
    }
}

/// The realms that the transports of a worker reach; none: all.
type Reach = Option<Vec<String>>;

/// All that is collected from the workers.
#[derive(Default)]
struct Node {
    /// What stands at the top: the largest of what transports say.
    ping_seconds: Option<u64>,
    handshake_seconds: Option<u64>,
    listeners: Vec<ListenerText>,
    realms: Vec<RealmText>,
    /// Whom each transport lets in.
    sources: Vec<Source>,
}

/// Reads a node configuration; a sentence if it is none. `folder` is what its relative paths start from, if the result
/// is not to stand there; empty if it is.
pub fn import(text: &str, format: Format, folder: &Path) -> Result<Import, String> {
    let value: Value = match format {
        Format::Json => serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?,
        Format::Yaml => serde_saphyr::from_str(text).map_err(|error| format!("it is not YAML: {error}"))?,
    };
    let report = Report { folder: folder.to_owned(), ..Report::default() };
    let root = Object::root(&value, &report)
        .ok_or("it is not a Crossbar.io node configuration; that is an object with the key `workers`")?;
    let node = read_node(root, &report)?;
    let text = node.write();
    for mistake in match super::load(&text, Path::new(""), &Anything) {
        Ok(loaded) => loaded.refused,
        Err(mistakes) => mistakes,
    } {
        // The line itself may have a secret.
        report.mistake(&format!("line {} of the result, {}", mistake.line, mistake.key), mistake.text);
    }
    let (dropped, warnings) = (report.dropped.take(), report.warnings.take());
    Ok(Import { text, dropped, warnings, mistakes: report.mistakes.take() })
}

/// Surroundings in which every file and variable is there: they are looked at where the result is used.
pub(super) struct Anything;

/// What is in them, which is good for a ticket, a password and a derived key.
const ANYTHING: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

impl Surroundings for Anything {
    fn file(&self, _: &Path) -> io::Result<Secret> {
        Ok(Secret::from(ANYTHING))
    }

    fn variable(&self, _: &str) -> Option<Secret> {
        Some(Secret::from(ANYTHING))
    }
}

fn read_node(mut root: Object, report: &Report) -> Result<Node, String> {
    if !root.has("workers") {
        return Err(
            "it is not a Crossbar.io node configuration; that is an object with the key `workers`".to_owned()
        );
    }
    if root.number("version").is_some_and(|version| version != 2) {
        report.warn("version", "only version 2 is known; `crossbar upgrade` makes one");
    }
    root.drop(&[("$schema", "it is for editors"), ("controller", "there is one process, and no controller")]);
    let mut node = Node::default();
    let workers = root.objects("workers");
    let mut transports = Vec::new();
    for mut worker in workers {
        if is_disabled(&mut worker, report) {
            worker.drop_all("it is disabled, so it was not started");
            continue;
        }
        match worker.text("type").as_deref() {
            Some("router") => {
                let realms = worker.objects("realms").into_iter();
                let names: Vec<_> =
                    realms.filter_map(|realm| realm::read(realm, &mut node, report)).collect();
                let own = worker.objects("transports").into_iter();
                transports.extend(own.map(|transport| (transport, Some(names.clone()))));
                worker.drop(&ROUTER_KEYS);
            }
            Some("proxy") => {
                let own = worker.objects("transports");
                let reach = routed(&mut worker);
                if reach.is_none() && !own.is_empty() {
                    report.warn(&worker.path, "it says no routes, so its transports reach every realm");
                }
                transports.extend(own.into_iter().map(|transport| (transport, reach.clone())));
                worker.drop(&PROXY_KEYS);
            }
            Some("container" | "guest") => {
                worker.drop_all("start it yourself as a client, for example as a unit of systemd");
            }
            _ => worker.drop_all("there is nothing like it here"),
        }
    }
    // Realms come first: what a transport says of authentication goes to them.
    for (transport, reach) in transports {
        transport::read(transport, reach, &mut node, report);
    }
    node.narrow();
    node.close_to_strangers(report);
    node.say_anonymous(report);
    // A realm may have been open for those alone who are shut out now.
    node.narrow();
    node.warn_of_others(report);
    Ok(node)
}

/// The realms that a proxy routes to.
fn routed(worker: &mut Object) -> Reach {
    let routes = worker.value("routes")?.as_object()?;
    Some(routes.keys().cloned().collect())
}

/// True if the worker was not to be started, or that cannot be known.
fn is_disabled(worker: &mut Object, report: &Report) -> bool {
    let path = worker.at("options.disabled");
    match worker.value("options").and_then(|options| options.get("disabled")) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => {
            if let Some(name) = transport::variable(text) {
                let text = format!(
                    "whether it is comes from the variable {name}, so it is left out; write true or false"
                );
                report.mistake(&path, text);
            }
            !text.is_empty()
        }
        Some(_) => true,
    }
}

const WORKER_OPTIONS: &str = "it is for the process of a worker, and there is one process";

const ROUTER_KEYS: [(&str, &str); 5] = [
    ("id", "nothing refers to it"),
    ("options", WORKER_OPTIONS),
    ("manhole", "there is none"),
    ("components", "start them yourself as clients"),
    ("connections", "nothing here keeps connections to databases"),
];

const PROXY_KEYS: [(&str, &str); 5] = [
    ("id", "nothing refers to it"),
    ("options", WORKER_OPTIONS),
    ("manhole", "there is none"),
    ("routes", "listeners and realms are in one process, and need no routes"),
    ("connections", "listeners and realms are in one process, and need no connections"),
];

impl Node {
    fn write(self) -> String {
        let mut top = Section::new("");
        top.comment("Imported from a Crossbar.io node configuration; `fanwire check` shows what it says.");
        top.optional("ping_seconds", self.ping_seconds);
        top.optional("handshake_seconds", self.handshake_seconds);
        // If nothing were said, there would be a listener, and a realm in which everybody may do everything.
        for (key, is_empty) in [("listener", self.listeners.is_empty()), ("realm", self.realms.is_empty())] {
            top.optional(key, is_empty.then(Vec::<Value>::new));
        }
        let listeners = self.listeners.into_iter().map(ListenerText::section);
        let sections = listeners.chain(self.realms.into_iter().map(RealmText::section));
        top.sections.extend(sections);
        top.text()
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.text)
    }
}

#[cfg(test)]
mod tests;
