//! `fanwire check`: what a configuration file is understood to say, in tables, or every mistake in it.
//!
//! Exit codes: 0 if `fanwire serve --config` would take it, 2 if not. With `--may`: 0 if the role may, 1 if it may not,
//! 2 if that cannot be said.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::configuration::{count, explained, loaded, tell};
use super::usage_error;
use crate::auth::Method;
use crate::config::file::{File, Listener, Realm, Role};
use crate::config::{May, methods};
use crate::router::rules::Action;
use crate::wamp::MatchPolicy;

/// The role may not.
const EXIT_DENIED: u8 = 1;

/// Check a configuration file and show what it says.
///
/// Every mistake is told at once, with its line, its key, and what to write instead. Secrets are never shown.
#[derive(Args, Debug)]
pub struct Check {
    /// The configuration file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Say whether a role may do something (call, register, publish, subscribe) with a URI, and which rule decides
    #[arg(long, num_args = 3, value_names = ["ROLE", "ACTION", "URI"])]
    may: Vec<String>,

    /// With --may: the realm, where several have the role
    #[arg(long, value_name = "REALM", requires = "may")]
    realm: Option<String>,

    /// With --may: what kind of URI it is that is subscribed or registered
    #[arg(long = "match", value_name = "MATCH", requires = "may", default_value = "exact",
          value_parser = ["exact", "prefix", "wildcard"])]
    policy: String,

    /// With --may: who the session is, for rules about {authid}
    #[arg(long, value_name = "AUTHID", requires = "may", default_value = "")]
    authid: String,
}

impl Check {
    /// Shows it, or the mistakes.
    pub fn run(self) -> ExitCode {
        if let [role, action, uri] = &self.may[..] {
            return self.tell_may(role, action, uri);
        }
        let loaded = match loaded(&self.file) {
            Ok(loaded) => loaded,
            Err(code) => return code,
        };
        // A closed stdout is no mistake of the file.
        let _ = io::stdout().lock().write_all(shown(&loaded.file).as_bytes());
        if loaded.refused.is_empty() {
            return ExitCode::SUCCESS;
        }
        tell(&self.file, &loaded.refused);
        let keys = count(loaded.refused.len(), "setting");
        usage_error(format_args!(
            "there is no mistake in {}, but {keys} that this version cannot serve",
            self.file.display()
        ))
    }
}

impl Check {
    /// Whether a role may, and why.
    fn tell_may(&self, role: &str, action: &str, uri: &str) -> ExitCode {
        let Some(action) = Action::from_name(action) else {
            return usage_error(format_args!(
                "`{action}` is no action; write call, register, publish or subscribe"
            ));
        };
        let policy = MatchPolicy::from_name(&self.policy).expect("clap takes these names only");
        let realm = self.realm.as_deref();
        let question = May { realm, role, authid: &self.authid, action, uri, policy };
        let explained = match explained(&self.file, &question) {
            Ok(Ok(explained)) => explained,
            Ok(Err(error)) => return usage_error(format_args!("{}: {error}", self.file.display())),
            Err(code) => return code,
        };
        let place = explained.line.map_or(String::new(), |line| format!("{}:{line}: ", self.file.display()));
        let _ = writeln!(io::stdout().lock(), "{place}{}", explained.text);
        if explained.allowed { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DENIED) }
    }
}

/// All of a file, in tables.
fn shown(file: &File) -> String {
    let mut out = format!("{}\n\n", count(file.shards, "shard"));
    let listeners = file.listeners.iter().map(listener);
    out +=
        &table(&["LISTENER", "TRANSPORTS", "SERIALIZERS", "TLS", "METHODS", "REALMS"], listeners.collect());
    out += "\n";
    out +=
        &table(&["REALM", "METHODS", "ROLES", "PRINCIPALS", "URIS"], file.realms.iter().map(realm).collect());
    for realm in &file.realms {
        out += "\n";
        let rows = realm.roles.iter().flat_map(|role| role_rows(realm, role));
        out += &table(&["REALM", "ROLE", "URI", "MATCH", "ALLOWED"], rows.collect());
        if !realm.principals.is_empty() {
            out += "\n";
            out += &table(&["REALM", "PRINCIPAL", "ROLE", "PROVED BY"], principals(realm));
        }
    }
    out
}

fn listener(listener: &Listener) -> Vec<String> {
    let names =
        |methods: &Vec<Method>| methods.iter().map(|method| method.name()).collect::<Vec<_>>().join(", ");
    let serializers: Vec<_> = listener.serializers.iter().map(|serializer| serializer.name()).collect();
    vec![
        listener.address.as_ref().map(ToString::to_string).unwrap_or_default(),
        listener.transports().join(", "),
        serializers.join(", "),
        if listener.tls.is_some() { "yes" } else { "no" }.to_owned(),
        listener.methods.as_ref().map_or("all of the realm".to_owned(), names),
        listener.realms.as_ref().map_or("all".to_owned(), |realms| realms.join(", ")),
    ]
}

fn realm(realm: &Realm) -> Vec<String> {
    let name = if realm.template { format!("{} (template)", realm.name) } else { realm.name.clone() };
    let methods: Vec<_> = methods(realm).into_iter().map(Method::name).collect();
    vec![
        name,
        methods.join(", "),
        realm.roles.len().to_string(),
        realm.principals.len().to_string(),
        format!("{:?}", realm.uri_check).to_lowercase(),
    ]
}

fn role_rows(realm: &Realm, role: &Role) -> Vec<Vec<String>> {
    let row = |uri: &str, policy: &str, allowed: String| {
        [&realm.name, &role.name, uri, policy, &allowed].map(str::to_owned).to_vec()
    };
    if let Some(authorizer) = &role.authorizer {
        return vec![row("", "", format!("what {} says", authorizer.procedure))];
    }
    if role.everything {
        return vec![row("", "", "everything".to_owned())];
    }
    if role.rules.is_empty() {
        return vec![row("", "", "nothing".to_owned())];
    }
    let rows = role.rules.iter().map(|rule| {
        let allow = rule.allow();
        let allowed = if allow.is_empty() { "nothing".to_owned() } else { allow.join(", ") };
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
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
