//! What a configuration file is understood to say, in tables. What is not said and has its usual value is not shown.
//!
//! Names come from the file, so nothing of them is left that could command a terminal. Secrets are never shown.

use super::configuration::count;
use super::output::printable;
use crate::auth::Method;
use crate::config::file::{self, Dynamic, File, Listener, Realm, Role};
use crate::config::methods;
use crate::limits::Limits;
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
        add(&["REALM", "PRINCIPAL", "ROLE", "PROVED BY"], principals(realm));
    }
    out
}

/// What is said at the top, under `[authentication]` and under `[limits]`, where it is not the usual.
fn settings(file: &File) -> Vec<Vec<String>> {
    let usual = file::Authentication::default();
    let said = &file.authentication;
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    if said.router_key.is_some() {
        row("authentication.router_key", "yes".to_owned());
    }
    for (name, value, usual) in [
        ("challenge_seconds", said.challenge_seconds, usual.challenge_seconds),
        ("failures_max", said.failures_max, usual.failures_max),
        ("failures_seconds", said.failures_seconds, usual.failures_seconds),
    ] {
        if value != usual {
            row(&format!("authentication.{name}"), value.to_string());
        }
    }
    // Their own text has a line for each, and none can be forgotten.
    let (limits, usual) = (format!("{:#?}", file.limits), format!("{:#?}", Limits::DEFAULT));
    for (line, _) in limits.lines().zip(usual.lines()).filter(|(line, usual)| line != usual) {
        let (name, value) = line.trim().trim_end_matches(',').split_once(": ").unwrap_or((line, ""));
        row(name, value.to_owned());
    }
    rows
}

fn address(listener: &Listener) -> String {
    listener.address.as_ref().map(ToString::to_string).unwrap_or_default()
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
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![address(listener), name.to_owned(), value]);
    if let Some(here) = &listener.anonymous {
        row("anonymous", format!("role {}", here.role));
    }
    for network in &listener.networks {
        let role = network.anonymous.as_ref().map(|here| format!("; role {} if anonymous", here.role));
        let methods = names(&network.methods);
        row("network", format!("{}: {methods}{}", joined(&network.from), role.unwrap_or_default()));
    }
    for (name, networks) in
        [("proxy_protocol_from", &listener.proxy_protocol_from), ("forwarded_from", &listener.forwarded_from)]
    {
        if !networks.is_empty() {
            row(name, joined(networks));
        }
    }
    if let Some(origins) = &listener.origins {
        row("origins", joined(origins));
    }
    if !listener.allow_null_origin {
        row("allow_null_origin", "false".to_owned());
    }
    if let Some(cookie) = &listener.cookie {
        let secure = if cookie.secure { ", over TLS only" } else { "" };
        row("cookie", format!("{}, {} s{secure}", cookie.name, cookie.max_age_seconds));
    }
    if let Some(request_ids) = listener.request_ids {
        row("request_ids", format!("{request_ids:?}").to_lowercase());
    }
    for (name, octets) in [
        ("message_bytes_max", listener.message_bytes_max),
        ("peer_message_bytes_min", listener.peer_message_bytes_min),
    ] {
        if let Some(octets) = octets {
            row(name, octets.to_string());
        }
    }
    if let Some(path) = listener.longpoll_path.as_ref().filter(|_| listener.longpoll) {
        row("longpoll", path.clone());
    }
    let Some(tls) = &listener.tls else { return rows };
    let file = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map_or_else(String::new, |path| path.display().to_string())
    };
    row("certificate", file(&tls.certificate.chain));
    for (hosts, certificate) in &tls.sni {
        row("certificate", format!("{} for {}", file(&certificate.chain), hosts.join(", ")));
    }
    let believed = match (&tls.client_authorities, tls.client) {
        (_, ClientCertificates::Off) => return rows,
        (Some(_), _) => format!("signed by {}", file(&tls.client_authorities)),
        (None, _) => "known by their fingerprints".to_owned(),
    };
    row("client", format!("{}, {believed}", format!("{:?}", tls.client).to_lowercase()));
    rows
}

fn realm(realm: &Realm) -> Vec<String> {
    let name = if realm.template { format!("{} (template)", realm.name) } else { realm.name.clone() };
    vec![
        name,
        names(&methods(realm)),
        realm.roles.len().to_string(),
        realm.principals.len().to_string(),
        format!("{:?}", realm.uri_check).to_lowercase(),
    ]
}

fn realm_settings(realm: &Realm) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![realm.name.clone(), name.to_owned(), value]);
    let asks = |dynamic: &Dynamic| match &dynamic.realm {
        Some(realm) => format!("asks {} in {realm}", dynamic.procedure),
        None => format!("asks {}", dynamic.procedure),
    };
    if realm.template {
        let (most, idle) = (count(realm.realms_max as usize, "realm"), realm.idle_seconds);
        row("template", format!("{}, {most} at most, kept {idle} s", realm.policy.name()));
    }
    if realm.disclosure != Default::default() {
        row("disclose", format!("{:?}", realm.disclosure).to_lowercase());
    }
    for rule in &realm.event_history {
        let age = if rule.age_ms_max > 0 { format!(", {} s", rule.age_ms_max / 1000) } else { String::new() };
        let (uri, policy, events, octets) = (&rule.uri, rule.policy.name(), rule.events_max, rule.bytes_max);
        row("event_history", format!("\"{uri}\" ({policy}): {events} events, {octets} octets{age}"));
    }
    if realm.call_timeout_seconds > 0 {
        row("call_timeout_seconds", realm.call_timeout_seconds.to_string());
    }
    if let Some(anonymous) = &realm.anonymous {
        let said = match &anonymous.dynamic {
            Some(dynamic) => asks(dynamic),
            None => format!("role {}", anonymous.role),
        };
        row("anonymous", said);
    }
    for (name, settings) in [
        ("ticket", &realm.ticket),
        ("wampcra", &realm.wampcra),
        ("scram", &realm.scram),
        ("cryptosign", &realm.cryptosign),
        ("tls", &realm.tls),
        ("cookie", &realm.cookie),
    ] {
        let Some(settings) = settings else { continue };
        let role = settings.default_role.as_ref().map(|role| format!("role {role}"));
        let said: Vec<_> = role.into_iter().chain(settings.dynamic.as_ref().map(asks)).collect();
        row(name, if said.is_empty() { "yes".to_owned() } else { said.join(", ") });
    }
    if let Some(jwt) = &realm.jwt {
        let any = |said: &Option<String>| said.clone().unwrap_or_else(|| "anybody".to_owned());
        row("jwt", format!("issued by {}, for {}", any(&jwt.issuer), any(&jwt.audience)));
    }
    rows
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
    let row = |uri: &str, policy: &str, allowed: String| {
        [&realm.name, &role.name, uri, policy, &allowed].map(str::to_owned).to_vec()
    };
    if let Some(authorizer) = &role.authorizer {
        let place = authorizer.realm.as_ref().map_or_else(String::new, |realm| format!(" in {realm}"));
        return vec![row("", "", format!("what {}{place} says", authorizer.procedure))];
    }
    if role.everything {
        return vec![row("", "", "everything".to_owned())];
    }
    if role.rules.is_empty() {
        return vec![row("", "", "nothing".to_owned())];
    }
    let rows = role.rules.iter().map(|rule| {
        let allow = rule.allow();
        let mut allowed = if allow.is_empty() { "nothing".to_owned() } else { allow.join(", ") };
        for (told, text) in [
            (rule.disclose_caller, "; callees are told who calls"),
            (rule.disclose_publisher, "; subscribers are told who publishes"),
        ] {
            allowed += if told { text } else { "" };
        }
        row(&format!("\"{}\"", rule.uri), rule.policy.name(), allowed)
    });
    rows.collect()
}

fn principals(realm: &Realm) -> Vec<Vec<String>> {
    let rows = realm.principals.iter().map(|principal| {
        let proofs = [
            (principal.ticket.is_some(), "ticket"),
            (principal.wampcra.is_some(), "wampcra"),
            (principal.scram.is_some(), "wamp-scram"),
            (!principal.cryptosign_keys.is_empty(), "cryptosign"),
            (principal.tls.is_some(), "tls"),
        ];
        let proofs: Vec<_> = proofs.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect();
        let role = principal.role.clone().unwrap_or_else(|| "the method's".to_owned());
        vec![realm.name.clone(), principal.authid.clone(), role, proofs.join(", ")]
    });
    rows.collect()
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
