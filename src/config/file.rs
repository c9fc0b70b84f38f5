//! The configuration file as plain structs, and how each table of it is read: what its keys are called, what they are
//! when they are not there, and which values each may have by itself. What must fit together is the business of
//! `check`.
//!
//! The keys at the top are the options of `fanwire serve` under their names with underscores; `[limits]` has the names
//! of [`Limits`] that no option sets.

mod listener;
mod realm;

use std::io;
use std::path::{Path, PathBuf};

use tracing_subscriber::EnvFilter;

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
    fn read(table: &mut Table) -> File {
        let octets = MESSAGE_BYTES_MIN as u64..=MESSAGE_BYTES_CEILING as u64;
        let shards = table.number("shards", 1..=SHARDS_MAX as u64);
        let mut limits = Limits::DEFAULT;
        options(table, &mut limits);
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
            limits: {
                table.table("limits", |table| bounds(table, &mut limits));
                limits
            },
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

/// The bounds that options of `fanwire serve` set, under the names of the options.
fn options(table: &mut Table, limits: &mut Limits) {
    let octets = MESSAGE_BYTES_MIN as u64..=MESSAGE_BYTES_CEILING as u64;
    let mut seconds = |key: &str, bounds, limit: &mut u64| {
        if let Some(seconds) = table.number(key, bounds) {
            *limit = seconds * 1000;
        }
    };
    seconds("ping_seconds", 0..=DAY_SECONDS, &mut limits.silence_ms_max);
    seconds("rawsocket_ping_seconds", 0..=DAY_SECONDS, &mut limits.rawsocket_silence_ms_max);
    seconds("handshake_seconds", 1..=HOUR_SECONDS, &mut limits.handshake_ms_max);
    seconds("stall_seconds", 1..=DAY_SECONDS, &mut limits.outbound_stall_ms_max);
    seconds("drain_seconds", 0..=HOUR_SECONDS, &mut limits.drain_ms_max);
    seconds("longpoll_receive_seconds", 1..=HOUR_SECONDS, &mut limits.longpoll_receive_ms_max);
    seconds("longpoll_idle_seconds", 1..=DAY_SECONDS, &mut limits.longpoll_idle_ms_max);
    if let Some(micros) = table.number("busy_poll_micros", 0..=1_000_000) {
        limits.busy_poll_us = micros;
    }
    if let Some(count) = table.number("longpoll_max", 0..=u64::from(u32::MAX)) {
        limits.longpoll_transports_max = count as usize;
    }
    if let Some(count) = table.number("connections_max", 1..=u64::from(u32::MAX)) {
        limits.connections_max = count as usize;
    }
    if let Some(octets) = table.octets("message_bytes_max", octets) {
        limits.message_bytes_max = octets;
    }
    if let Some(octets) = table.octets("outbound_bytes_max", 1..=1 << 40) {
        limits.outbound_bytes_max = octets;
        limits.outbound_bytes_soft = Limits::DEFAULT.outbound_bytes_soft.min(octets / 2);
    }
}

/// `[limits]`: the other bounds, under their names.
fn bounds(table: &mut Table, limits: &mut Limits) {
    let octets: [(&str, &mut usize); 12] = [
        ("outbound_bytes_soft", &mut limits.outbound_bytes_soft),
        ("outbound_shard_bytes_max", &mut limits.outbound_shard_bytes_max),
        ("inbound_shard_bytes_max", &mut limits.inbound_shard_bytes_max),
        ("mailbox_bytes_max", &mut limits.mailbox_bytes_max),
        ("queued_bytes_per_turn", &mut limits.queued_bytes_per_turn),
        ("write_bytes_per_peer_turn", &mut limits.write_bytes_per_peer_turn),
        ("call_bytes_waiting_per_realm_max", &mut limits.call_bytes_waiting_per_realm_max),
        ("testament_bytes_per_session_max", &mut limits.testament_bytes_per_session_max),
        ("session_details_bytes_max", &mut limits.session_details_bytes_max),
        ("call_kept_bytes_max", &mut limits.call_kept_bytes_max),
        ("longpoll_queue_bytes_max", &mut limits.longpoll_queue_bytes_max),
        ("longpoll_bytes_max", &mut limits.longpoll_bytes_max),
    ];
    for (key, limit) in octets {
        *limit = table.octets(key, 1..=1 << 40).unwrap_or(*limit);
    }
    let counts: [(&str, &mut usize, u64); 12] = [
        ("uri_bytes_max", &mut limits.uri_bytes_max, 1 << 16),
        ("mailbox_letters_max", &mut limits.mailbox_letters_max, 1 << 30),
        ("subscriptions_per_session_max", &mut limits.subscriptions_per_session_max, 1 << 30),
        ("registrations_per_session_max", &mut limits.registrations_per_session_max, 1 << 30),
        ("callees_per_registration_max", &mut limits.callees_per_registration_max, 1 << 30),
        ("calls_waiting_per_registration_max", &mut limits.calls_waiting_per_registration_max, 1 << 30),
        ("calls_waiting_per_realm_max", &mut limits.calls_waiting_per_realm_max, 1 << 30),
        ("calls_open_per_session_max", &mut limits.calls_open_per_session_max, 1 << 30),
        ("invocations_open_per_session_max", &mut limits.invocations_open_per_session_max, 1 << 30),
        ("testaments_per_session_max", &mut limits.testaments_per_session_max, 1 << 30),
        ("match_cache_entries_max", &mut limits.match_cache_entries_max, 1 << 30),
        ("pattern_shapes_max", &mut limits.pattern_shapes_max, 1 << 30),
    ];
    for (key, limit, most) in counts {
        *limit = table.number(key, 1..=most).map_or(*limit, |count| count as usize);
    }
    let times: [(&str, &mut u64); 4] = [
        ("call_timeout_ms_max", &mut limits.call_timeout_ms_max),
        ("goodbye_ms_max", &mut limits.goodbye_ms_max),
        ("longpoll_request_ms_max", &mut limits.longpoll_request_ms_max),
        ("longpoll_connection_idle_ms_max", &mut limits.longpoll_connection_idle_ms_max),
    ];
    for (key, limit) in times {
        *limit = table.number(key, 1..=DAY_SECONDS * 1000).unwrap_or(*limit);
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
