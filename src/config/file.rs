//! The configuration file as plain structs, and how each table of it is read: what its keys are called, what they are
//! when they are not there, and which values each may have by itself. What must fit together is the business of
//! `check`.
//!
//! The keys at the top are the options of `fanwire serve` under their names with underscores; `[limits]` has the names
//! of [`Limits`] that no option sets.

mod bounds;
mod listener;
mod realm;

use std::io;
use std::path::{Path, PathBuf};

use tracing_subscriber::EnvFilter;

pub use self::bounds::unusual;
pub use self::listener::{Certificate, Cookie, Listener, Network, SameSite, Tls, origin};
pub use self::realm::{
    Anonymous, Authorizer, CertificatePrincipal, Dynamic, Jwt, MethodSettings, Principal, Realm, Role, Rule,
    Scram, ScramKdf, VerdictCache, WampCra,
};

pub(super) use self::realm::unhex;

use super::reader::{Mistake, Reader, Surroundings, Table};
use super::{MESSAGE_BYTES_MIN, check, is_path};
use crate::auth::Secret;
use crate::limits::{Limits, MESSAGE_BYTES_CEILING, SHARDS_MAX};
use crate::router::RequestIds;
use crate::server;

/// The rules for request ids by their names.
pub(super) const REQUEST_IDS: [(&str, RequestIds); 3] =
    [("strict", RequestIds::Strict), ("increasing", RequestIds::Increasing), ("any", RequestIds::Any)];

/// What a file says that says nothing: the same as `fanwire serve` without options.
const DEFAULT: &str = r#"
[[listener]]
address = "127.0.0.1:8080"

[[realm]]
name = "realm1"
anonymous = { role = "anonymous" }

[[realm.role]]
name = "anonymous"
everything = true
administers = true
"#;

const DAY_SECONDS: u64 = 86_400;
const HOUR_SECONDS: u64 = 3_600;

/// A whole configuration file.
#[derive(Clone, Debug)]
pub struct File {
    /// Shards: 1 to [`SHARDS_MAX`].
    pub shards: usize,
    /// Which request ids are taken where a listener does not say.
    pub request_ids: RequestIds,
    /// RawSocket peers that announce less are refused where a listener does not say.
    pub peer_message_bytes_min: usize,
    /// The path of the long-poll transport where a listener does not say.
    pub longpoll: String,
    /// What is logged, if the command line does not say.
    pub log: Option<String>,
    /// How it is logged.
    pub log_format: LogFormat,
    /// Where a socket is made by which the file is read again, if one is wanted.
    pub control: Option<PathBuf>,
    /// What holds for authentication everywhere.
    pub authentication: Authentication,
    /// The bounds.
    pub limits: Limits,
    /// Where to listen; at least one.
    pub listeners: Vec<Listener>,
    /// Realms; at least one.
    pub realms: Vec<Realm>,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object a line.
    Json,
}

/// `[authentication]`: what holds in every realm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authentication {
    /// The router's Ed25519 key as hex, with which it proves itself to clients that ask (cryptosign).
    pub router_key: Option<Secret>,
    /// How long a client may take to answer a challenge.
    pub challenge_seconds: u64,
    /// Failures of one source address within `failures_seconds`, after which it must wait.
    pub failures_max: u64,
    /// See `failures_max`.
    pub failures_seconds: u64,
}

impl Default for Authentication {
    fn default() -> Authentication {
        Authentication { router_key: None, challenge_seconds: 10, failures_max: 10, failures_seconds: 60 }
    }
}

/// A file that was read: what it says if nothing is wrong with it, and every mistake in the order of the lines if
/// something is. Refused parts are read as if they were not there, so [`File`] is there in any case.
///
/// `base` is what relative paths start from: the folder of the file.
pub fn read(text: &str, base: &Path, surroundings: &dyn Surroundings) -> Result<File, Vec<Mistake>> {
    with_reader(text, base, surroundings, |file, _| file)
}

/// Only where a socket is made by which the file is read again, whatever else is wrong with the file.
pub fn control(text: &str, base: &Path) -> Result<Option<PathBuf>, Vec<Mistake>> {
    let reader = Reader::new(text, base, &Nothing);
    let root = reader.parse();
    let control = reader.read_some(root.get_ref(), |table| table.file("control"));
    let mistakes = reader.mistakes();
    if mistakes.is_empty() { Ok(control) } else { Err(mistakes) }
}

/// The same, and `then` says what else it thinks of the file: mistakes, in the reader.
pub(super) fn with_reader<T>(
    text: &str,
    base: &Path,
    surroundings: &dyn Surroundings,
    then: impl FnOnce(File, &Reader) -> T,
) -> Result<T, Vec<Mistake>> {
    let reader = Reader::new(text, base, surroundings);
    let root = reader.parse();
    let file = reader.read(root.get_ref(), File::read);
    check::check(&file, &|path, text| reader.mistake(path, text));
    let said = then(file, &reader);
    let mistakes = reader.mistakes();
    if mistakes.is_empty() { Ok(said) } else { Err(mistakes) }
}

impl File {
    /// What a file says that says nothing.
    pub fn usual() -> File {
        let reader = Reader::new("", Path::new(""), &Nothing);
        let root = reader.parse();
        reader.read(root.get_ref(), File::read)
    }

    fn read(table: &mut Table) -> File {
        let octets = MESSAGE_BYTES_MIN as u64..=MESSAGE_BYTES_CEILING as u64;
        let shards = table.number("shards", 1..=SHARDS_MAX as u64);
        File {
            shards: shards.map_or_else(|| server::cores().min(SHARDS_MAX), |shards| shards as usize),
            request_ids: table.choice("request_ids", &REQUEST_IDS).unwrap_or_default(),
            peer_message_bytes_min: table
                .octets("peer_message_bytes_min", octets)
                .unwrap_or(MESSAGE_BYTES_MIN),
            longpoll: table.parsed("longpoll", longpoll_path).unwrap_or_else(|| super::LONGPOLL.to_owned()),
            log: table.parsed("log", log_filter),
            log_format: table
                .choice("log_format", &[("text", LogFormat::Text), ("json", LogFormat::Json)])
                .unwrap_or(LogFormat::Text),
            control: table.file("control"),
            authentication: table.table("authentication", Authentication::read).unwrap_or_default(),
            limits: bounds::read(table),
            listeners: or_default(table, "listener", Listener::read, |default| default.listeners),
            realms: or_default(table, "realm", Realm::read, |default| default.realms),
        }
    }
}

impl Authentication {
    fn read(table: &mut Table) -> Authentication {
        let default = Authentication::default();
        Authentication {
            router_key: table.secret("router_key"),
            challenge_seconds: table
                .number("challenge_seconds", 1..=HOUR_SECONDS)
                .unwrap_or(default.challenge_seconds),
            failures_max: table.number("failures_max", 1..=1_000_000).unwrap_or(default.failures_max),
            failures_seconds: table
                .number("failures_seconds", 1..=DAY_SECONDS)
                .unwrap_or(default.failures_seconds),
        }
    }
}

/// Tables, or those of [`DEFAULT`] where a file has none.
fn or_default<'a, T>(
    table: &mut Table<'a>,
    key: &str,
    read: impl Fn(&mut Table<'a>) -> T,
    default: impl FnOnce(File) -> Vec<T>,
) -> Vec<T> {
    let tables = table.tables(key, read);
    if table.has(key) {
        return tables;
    }
    let reader = Reader::new(DEFAULT, Path::new(""), &Nothing);
    let root = reader.parse();
    default(reader.read(root.get_ref(), File::read))
}

/// Surroundings without files and variables.
struct Nothing;

impl Surroundings for Nothing {
    fn file(&self, _: &Path) -> io::Result<Secret> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn variable(&self, _: &str) -> Option<Secret> {
        None
    }
}

fn log_filter(text: &str) -> Result<String, String> {
    let advice = |error| format!("write a level such as \"info\", or a filter; this is none: {error}");
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(advice)
}

fn longpoll_path(text: &str) -> Result<String, String> {
    let refused =
        || format!("`{text}` cannot be the path of long-poll; write one such as \"{}\"", super::LONGPOLL);
    is_path(text).then(|| text.to_owned()).ok_or_else(refused)
}

#[cfg(test)]
mod tests;
