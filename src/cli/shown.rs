//! What a configuration file is understood to say, in tables, under the names that it has there. What is not said and
//! has its usual value is not shown.
//!
//! Everything that a file can say is taken apart here by name, so that what is added to it has to be shown or left out
//! on purpose. Names come from the file, so nothing of them is left that could command a terminal. Secrets are never
//! shown.

use std::fmt::{Debug, Display};
use std::path::PathBuf;

use super::configuration::count;
use super::output::printable;
use crate::auth::Method;
use crate::config::file::{
    self, Anonymous, Authentication, Authorizer, Certificate, CertificatePrincipal, Cookie, Dynamic, File,
    Jwt, Listener, MethodSettings, Network, Principal, Realm, Role, Rule, Scram, Tls, WampCra,
};
use crate::config::methods;
use crate::router::authentication::AnonymousHere;
use crate::router::{Disclosure, HistoryRule, RealmSettings};
use crate::server::ClientCertificates;

/// All of a file, in tables.
pub fn shown(file: &File) -> String {
    let mut out = format!("{}\n", count(file.shards, "shard"));
    let mut add = |head: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            out += "\n";
            out += &table(head, rows);
        }
    };
    add(&["SETTING", "VALUE"], settings(file));
    let listeners = file.listeners.iter().map(listener).collect();
    add(&["LISTENER", "TRANSPORTS", "SERIALIZERS", "TLS", "METHODS", "REALMS"], listeners);
    add(&["LISTENER", "SETTING", "VALUE"], file.listeners.iter().flat_map(listener_settings).collect());
    add(&["REALM", "METHODS", "ROLES", "PRINCIPALS", "URIS"], file.realms.iter().map(realm).collect());
    add(&["REALM", "SETTING", "VALUE"], file.realms.iter().flat_map(realm_settings).collect());
    for realm in &file.realms {
        let powers = realm.roles.iter().filter_map(|role| powers(realm, role));
        add(&["REALM", "ROLE", "ADMINISTERS", "TRUST LEVEL"], powers.collect());
        let rows = realm.roles.iter().flat_map(|role| role_rows(realm, role));
        add(&["REALM", "ROLE", "URI", "MATCH", "ALLOWED"], rows.collect());
        let principals = realm.principals.iter().map(|said| principal(realm, said));
        add(&["REALM", "PRINCIPAL", "ROLE", "PROVED BY", "EXTRA"], principals.collect());
    }
    out
}

/// Rows of settings: whose they are, if that is to be said, then name and value.
struct Settings {
    whose: Option<String>,
    rows: Vec<Vec<String>>,
}

impl Settings {
    fn of(whose: impl Into<Option<String>>) -> Settings {
        Settings { whose: whose.into(), rows: Vec::new() }
    }

    fn say(&mut self, name: &str, value: impl Display) {
        let row = self.whose.iter().cloned().chain([name.to_owned(), value.to_string()]);
        self.rows.push(row.collect());
    }

    fn say_some(&mut self, name: &str, value: Option<impl Display>) {
        value.into_iter().for_each(|value| self.say(name, value));
    }

    fn say_unusual<T: PartialEq + Display>(&mut self, name: &str, value: T, usual: T) {
        if value != usual {
            self.say(name, value);
        }
    }
}

/// What is said at the top, under `[authentication]` and under `[limits]`, where it is not the usual.
fn settings(file: &File) -> Vec<Vec<String>> {
    let usual = File::usual();
    // The others have tables of their own, or the first line.
    let File {
        shards: _,
        request_ids,
        peer_message_bytes_min,
        longpoll,
        log,
        log_format,
        control,
        authentication,
        limits,
        listeners: _,
        realms: _,
    } = file;
    let mut rows = Settings::of(None);
    rows.say_some("control", path(control));
    rows.say_some("log", log.as_ref());
    rows.say_unusual("log_format", named(log_format), named(usual.log_format));
    rows.say_unusual("request_ids", named(request_ids), named(usual.request_ids));
    rows.say_unusual("peer_message_bytes_min", *peer_message_bytes_min, usual.peer_message_bytes_min);
    rows.say_unusual("longpoll", longpoll, &usual.longpoll);
    let Authentication { router_key, challenge_seconds, failures_max, failures_seconds } = authentication;
    let usual = usual.authentication;
    rows.say_some("authentication.router_key", router_key.as_ref().map(|_| "yes"));
    for (name, value, usual) in [
        ("challenge_seconds", challenge_seconds, usual.challenge_seconds),
        ("failures_max", failures_max, usual.failures_max),
        ("failures_seconds", failures_seconds, usual.failures_seconds),
    ] {
        rows.say_unusual(&format!("authentication.{name}"), *value, usual);
    }
    for (name, value) in file::unusual(limits) {
        rows.say(&name, value);
    }
    rows.rows
}

fn address(listener: &Listener) -> String {
    listener.address.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// The name of one of a few, as the file has it.
fn named(choice: impl Debug) -> String {
    format!("{choice:?}").to_lowercase()
}

fn path(path: &Option<PathBuf>) -> Option<String> {
    path.as_ref().map(|path| path.display().to_string())
}

fn names(methods: &[Method]) -> String {
    if methods.is_empty() { "none".to_owned() } else { joined(methods.iter().map(|method| method.name())) }
}

fn joined(items: impl IntoIterator<Item = impl ToString>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn listener(listener: &Listener) -> Vec<String> {
    let tls = listener.tls.as_ref().map_or("no", |tls| if tls.shared { "and plain" } else { "yes" });
    vec![
        address(listener),
        listener.transports().join(", "),
        joined(listener.serializers.iter().map(|serializer| serializer.name())),
        tls.to_owned(),
        listener.methods.as_ref().map_or("all of the realm".to_owned(), |methods| names(methods)),
        listener.realms.as_ref().map_or("all".to_owned(), |realms| realms.join(", ")),
    ]
}

fn listener_settings(listener: &Listener) -> Vec<Vec<String>> {
    // The first table has those without a name here.
    let Listener {
        address: _,
        websocket: _,
        rawsocket: _,
        longpoll: _,
        longpoll_path,
        serializers: _,
        request_ids,
        message_bytes_max,
        peer_message_bytes_min,
        origins,
        allow_null_origin,
        methods: _,
        anonymous,
        realms: _,
        networks,
        proxy_protocol_from,
        forwarded_from,
        tls,
        cookie,
    } = listener;
    let mut rows = Settings::of(address(listener));
    rows.say_some("anonymous", anonymous.as_ref().map(here));
    for Network { from, methods, anonymous } in networks {
        let anonymous = anonymous.as_ref().map(|anonymous| format!("; anonymous: {}", here(anonymous)));
        rows.say("network", format!("{}: {}{}", joined(from), names(methods), anonymous.unwrap_or_default()));
    }
    for (name, networks) in [("proxy_protocol_from", proxy_protocol_from), ("forwarded_from", forwarded_from)]
    {
        rows.say_some(name, Some(networks).filter(|networks| !networks.is_empty()).map(joined));
    }
    rows.say_some("origins", origins.as_ref().map(joined));
    rows.say_unusual("allow_null_origin", *allow_null_origin, true);
    rows.say_some("cookie", cookie.as_ref().map(cookie_settings));
    rows.say_some("request_ids", request_ids.map(named));
    rows.say_some("message_bytes_max", *message_bytes_max);
    rows.say_some("peer_message_bytes_min", *peer_message_bytes_min);
    rows.say_some("longpoll", longpoll_path.as_ref());
    if let Some(tls) = tls {
        tls_settings(tls, &mut rows);
    }
    rows.rows
}

/// What those who say nothing of themselves are.
fn here(AnonymousHere { role, authid }: &AnonymousHere) -> String {
    is_a(role, authid.as_deref())
}

fn is_a(role: &str, authid: Option<&str>) -> String {
    let authid = authid.map_or_else(String::new, |authid| format!(", authid {authid}"));
    format!("role {role}{authid}")
}

fn cookie_settings(cookie: &Cookie) -> String {
    let Cookie { name, max_age_seconds, secure, http_only, same_site } = cookie;
    let secure = if *secure { ", over TLS only" } else { "" };
    let scripts = if *http_only { "" } else { ", shown to scripts" };
    format!("{name}, {max_age_seconds} s{secure}{scripts}, same_site {}", named(same_site))
}

fn tls_settings(tls: &Tls, rows: &mut Settings) {
    // That it is shared stands in the first table.
    let Tls { certificate, shared: _, client, client_authorities, sni } = tls;
    let files = |Certificate { chain, key_file }: &Certificate| {
        let [chain, key_file] = [chain, key_file].map(|file| path(file).unwrap_or_default());
        format!("{chain}, key_file {key_file}")
    };
    rows.say("certificate", files(certificate));
    for (hosts, certificate) in sni {
        rows.say("certificate", format!("{} for {}", files(certificate), hosts.join(", ")));
    }
    let believed = path(client_authorities)
        .map_or("known by their fingerprints".to_owned(), |authorities| format!("signed by {authorities}"));
    if *client != ClientCertificates::Off {
        rows.say("client", format!("{}, {believed}", named(client)));
    }
}

fn realm(realm: &Realm) -> Vec<String> {
    let name = if realm.template { format!("{} (template)", realm.name) } else { realm.name.clone() };
    vec![
        name,
        names(&methods(realm)),
        realm.roles.len().to_string(),
        realm.principals.len().to_string(),
        named(realm.uri_check),
    ]
}

fn realm_settings(realm: &Realm) -> Vec<Vec<String>> {
    // The first table has those without a name here, but roles and principals have tables of their own.
    let Realm {
        name,
        policy,
        template,
        realms_max,
        idle_seconds,
        uri_check: _,
        disclosure,
        retained_count_max,
        retained_bytes_max,
        event_history,
        call_timeout_seconds,
        roles: _,
        principals: _,
        anonymous,
        ticket,
        wampcra,
        scram,
        cryptosign,
        tls,
        cookie,
        jwt,
    } = realm;
    let mut rows = Settings::of(name.clone());
    if *template {
        let most = count(*realms_max as usize, "realm");
        rows.say("template", format!("{}, {most} at most, kept {idle_seconds} s", policy.name()));
    }
    rows.say_unusual("disclose", named(disclosure), named(Disclosure::default()));
    rows.say_unusual("retained_max", *retained_count_max, RealmSettings::RETAINED_COUNT_MAX);
    rows.say_unusual("retained_bytes_max", *retained_bytes_max, RealmSettings::RETAINED_BYTES_MAX);
    for HistoryRule { uri, policy, events_max, bytes_max, age_ms_max } in event_history {
        let age = if *age_ms_max > 0 { format!(", {} s", age_ms_max / 1000) } else { String::new() };
        let kept = format!("{events_max} events, {bytes_max} octets{age}");
        rows.say("event_history", format!("\"{uri}\" ({}): {kept}", policy.name()));
    }
    rows.say_unusual("call_timeout_seconds", *call_timeout_seconds, 0);
    rows.say_some("anonymous", anonymous.as_ref().map(anonymous_settings));
    let methods = [
        ("ticket", ticket),
        ("wampcra", wampcra),
        ("scram", scram),
        ("cryptosign", cryptosign),
        ("tls", tls),
        ("cookie", cookie),
    ];
    for (name, settings) in methods {
        rows.say_some(name, settings.as_ref().map(method_settings));
    }
    rows.say_some("jwt", jwt.as_ref().map(jwt_settings));
    rows.rows
}

fn asks(Dynamic { procedure, realm, timeout_ms }: &Dynamic) -> String {
    let place = realm.as_ref().map_or_else(String::new, |realm| format!(" in {realm}"));
    format!("asks {procedure}{place}, timeout_ms {timeout_ms}")
}

/// A procedure says the role, and of that of the file nothing is left.
fn anonymous_settings(Anonymous { role, authid, dynamic }: &Anonymous) -> String {
    dynamic.as_ref().map_or_else(|| is_a(role, authid.as_deref()), asks)
}

fn method_settings(MethodSettings { default_role, dynamic }: &MethodSettings) -> String {
    let role = default_role.as_ref().map(|role| format!("default_role {role}"));
    let said: Vec<_> = role.into_iter().chain(dynamic.as_ref().map(asks)).collect();
    if said.is_empty() { "yes".to_owned() } else { said.join(", ") }
}

fn jwt_settings(jwt: &Jwt) -> String {
    let Jwt {
        secret,
        public_key,
        jwks,
        issuer,
        audience,
        leeway_seconds,
        authid_claim,
        role_claim,
        default_role,
    } = jwt;
    let keys = [(secret.is_some(), "secret"), (public_key.is_some(), "public_key"), (jwks.is_some(), "jwks")];
    let keys = joined(keys.into_iter().filter(|(there, _)| *there).map(|(_, name)| name));
    let any = |said: &Option<String>| said.clone().unwrap_or_else(|| "anybody".to_owned());
    let role = default_role.as_ref().map_or_else(String::new, |role| format!(", default_role {role}"));
    format!(
        "issued by {}, for {}, checked by {keys}, leeway_seconds {leeway_seconds}, authid_claim {authid_claim}, \
         role_claim {role_claim}{role}",
        any(issuer),
        any(audience)
    )
}

/// What a role may beyond its rules, and what receivers are told of it.
fn powers(realm: &Realm, role: &Role) -> Option<Vec<String>> {
    if !role.administers && role.trust_level.is_none() {
        return None;
    }
    let administers = if role.administers { "yes" } else { "no" }.to_owned();
    let trust = role.trust_level.map_or_else(String::new, |level| level.to_string());
    Some(vec![realm.name.clone(), role.name.clone(), administers, trust])
}

fn role_rows(realm: &Realm, role: &Role) -> Vec<Vec<String>> {
    // Another table has what it may beyond this.
    let Role { name, trust_level: _, administers: _, everything, authorizer, rules } = role;
    let row = |uri: &str, policy: &str, allowed: String| {
        [&realm.name, name, uri, policy, &allowed].map(str::to_owned).to_vec()
    };
    if let Some(Authorizer { procedure, realm, cache, cache_seconds, timeout_ms }) = authorizer {
        let place = realm.as_ref().map_or_else(String::new, |realm| format!(" in {realm}"));
        let kept = format!("cache {}, cache_seconds {cache_seconds}, timeout_ms {timeout_ms}", named(cache));
        return vec![row("", "", format!("what {procedure}{place} says; {kept}"))];
    }
    if *everything {
        return vec![row("", "", "everything".to_owned())];
    }
    if rules.is_empty() {
        return vec![row("", "", "nothing".to_owned())];
    }
    rules.iter().map(|rule| row(&format!("\"{}\"", rule.uri), rule.policy.name(), allowed(rule))).collect()
}

fn allowed(rule: &Rule) -> String {
    // Those without a name here are in its list, or in columns of their own.
    let Rule {
        uri: _,
        policy: _,
        call: _,
        register: _,
        publish: _,
        subscribe: _,
        disclose_caller,
        disclose_publisher,
    } = rule;
    let allow = rule.allow();
    let mut allowed = if allow.is_empty() { "nothing".to_owned() } else { allow.join(", ") };
    for (told, text) in [
        (disclose_caller, "; callees are told who calls"),
        (disclose_publisher, "; subscribers are told who publishes"),
    ] {
        allowed += if *told { text } else { "" };
    }
    allowed
}

fn principal(realm: &Realm, principal: &Principal) -> Vec<String> {
    let Principal { authid, role, extra, ticket, wampcra, scram, cryptosign_keys, tls } = principal;
    let proofs = [
        ticket.as_ref().map(|_| "ticket".to_owned()),
        wampcra.as_ref().map(wampcra_proof),
        scram.as_ref().map(scram_proof),
        (!cryptosign_keys.is_empty())
            .then(|| format!("cryptosign ({})", count(cryptosign_keys.len(), "key"))),
        tls.as_ref().map(tls_proof),
    ];
    let role = role.clone().unwrap_or_else(|| "the method's".to_owned());
    let extra = extra.clone().map_or_else(String::new, |extra| serde_json::Value::Object(extra).to_string());
    vec![realm.name.clone(), authid.clone(), role, joined(proofs.into_iter().flatten()), extra]
}

/// Secret and salt are not shown.
fn wampcra_proof(WampCra { secret: _, salt, iterations, keylen }: &WampCra) -> String {
    match salt {
        Some(_) => format!("wampcra (salt, iterations {iterations}, keylen {keylen})"),
        None => "wampcra".to_owned(),
    }
}

/// Keys and salt are not shown.
fn scram_proof(scram: &Scram) -> String {
    let Scram { kdf, salt: _, iterations, memory, stored_key: _, server_key: _ } = scram;
    let memory = if *memory > 0 { format!(", memory {memory}") } else { String::new() };
    format!("wamp-scram ({}, iterations {iterations}{memory})", kdf.name())
}

fn tls_proof(CertificatePrincipal { fingerprints, subjects }: &CertificatePrincipal) -> String {
    format!("tls ({})", joined(fingerprints.iter().chain(subjects)))
}

/// Columns as wide as what stands in them, two spaces apart.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    let rows = std::iter::once(head).chain(rows);
    let rows: Vec<Vec<String>> =
        rows.map(|row| row.iter().map(|cell| printable(cell).into_owned()).collect()).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::configuration::System;

    const UNUSUAL: &str = r#"
control = "x.sock"
log = "debug"
log_format = "json"
request_ids = "any"
peer_message_bytes_min = 600
longpoll = "/poll"
drain_seconds = 3
longpoll_max = 5
[authentication]
challenge_seconds = 3
failures_max = 4
[limits]
uri_bytes_max = 100
[[listener]]
address = "127.0.0.1:0"
anonymous = { role = "r", authid = "an" }
network = [{ from = ["unix"], methods = ["anonymous"], anonymous = { role = "r", authid = "near" } }]
cookie = { name = "foo", secure = false, http_only = false, same_site = "strict" }
[[realm]]
name = "a"
retained_max = 3
retained_bytes_max = 0
anonymous = { role = "r", authid = "zz" }
[[realm.role]]
name = "r"
authorizer = { procedure = "com.auth", cache = "role", cache_seconds = 0, timeout_ms = 7 }
[[realm.principal]]
authid = "p"
role = "r"
extra = { a = 1 }
wampcra = { secret = "hush", salt = "pepper", iterations = 9 }
[realm.ticket]
dynamic = { procedure = "com.t", timeout_ms = 9 }
[realm.jwt]
secret = "hush hush hush hush hush hush hush hush"
default_role = "r"
authid_claim = "c1"
role_claim = "c2"
leeway_seconds = 5
"#;

    #[test]
    fn what_is_said_and_not_usual_is_shown_by_its_name() {
        let shown = shown(&file::read(UNUSUAL, Path::new(""), &System).unwrap());
        let mut lines = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        for expected in [
            "control x.sock",
            "log debug",
            "log_format json",
            "request_ids any",
            "peer_message_bytes_min 600",
            "longpoll /poll",
            "authentication.challenge_seconds 3",
            "authentication.failures_max 4",
            "drain_seconds 3",
            "longpoll_max 5",
            "limits.uri_bytes_max 100",
            "anonymous role r, authid an",
            "network unix: anonymous; anonymous: role r, authid near",
            "cookie foo, 604800 s, shown to scripts, same_site strict",
            "a retained_max 3",
            "a retained_bytes_max 0",
            "a anonymous role r, authid zz",
            "a ticket asks com.t, timeout_ms 9",
            "checked by secret, leeway_seconds 5, authid_claim c1, role_claim c2, default_role r",
            "what com.auth says; cache role, cache_seconds 0, timeout_ms 7",
            "a p r wampcra (salt, iterations 9, keylen 32) {\"a\":1}",
        ] {
            // They come in this order.
            assert!(lines.any(|line| line.ends_with(expected)), "{expected}:\n{shown}");
        }
        assert!(!shown.contains("hush") && !shown.contains("pepper"), "{shown}");
    }

    #[test]
    fn what_is_usual_is_not_shown() {
        let shown = shown(&File::usual());
        // But that anonymous clients may join.
        assert_eq!(shown.matches("SETTING").count(), 1, "{shown}");
        assert!(shown.contains("realm1  anonymous  role anonymous"), "{shown}");
    }
}
