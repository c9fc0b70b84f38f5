//! What must fit together in a configuration file: names that are used are there and there once, nobody is shut out or
//! let in by accident, bounds leave room for one another.
//!
//! Whoever checks says where a mistake is by the path of its key, as `realm[0].role[1].name`; the reader knows the
//! line.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::file::{Cookie, Dynamic, File, Listener, MethodSettings, Principal, Realm, Role, SameSite};
use super::reader::{nearest, quoted};
use crate::auth::cryptosign::{PublicKey, SigningKey};
use crate::auth::{Method, unhex};
use crate::limits::Limits;
use crate::router::authentication::{AUTHID_BYTES_MAX, AnonymousHere};
use crate::server::{self, Address, ClientCertificates};
use crate::wamp::{MatchPolicy, uri};

/// Tells a mistake: the path of the key, and what is wrong.
type Tell<'a> = dyn Fn(&str, String) + 'a;

/// Tells everything that does not fit together.
pub fn check(file: &File, tell: &Tell) {
    check_addresses(file, tell);
    for (key, is_empty) in [("listener", file.listeners.is_empty()), ("realm", file.realms.is_empty())] {
        if is_empty {
            tell(key, format!("there is none, so nobody can join; write one as [[{key}]]"));
        }
    }
    for (index, listener) in file.listeners.iter().enumerate() {
        check_listener(file, index, listener, tell);
    }
    let realms = repetitions(file.realms.iter().map(|realm| (&realm.name, realm.policy)));
    for ((index, realm), repeated) in file.realms.iter().enumerate().zip(realms) {
        check_realm(file, index, realm, repeated, tell);
    }
    if let Some(text) = outbound(&file.limits) {
        tell("outbound_bytes_max", text);
    }
    if file.limits.longpoll_receive_ms_max >= file.limits.longpoll_idle_ms_max {
        tell("longpoll_idle_seconds", "write more seconds than longpoll_receive_seconds".to_owned());
    }
    check_router_key(file, tell);
}

fn check_router_key(file: &File, tell: &Tell) {
    let Some(key) = file.authentication.router_key.as_ref().filter(|key| !key.is_empty()) else { return };
    let Some(seed) = key.text().and_then(unhex::<32>) else {
        let text = "write the 64 hexadecimal digits of a private key".to_owned();
        return tell("authentication.router_key", text);
    };
    // The router signs for everybody who asks it to.
    let public = SigningKey::from_seed(&seed).public();
    for (index, realm) in file.realms.iter().enumerate() {
        for (place, principal) in realm.principals.iter().enumerate() {
            if principal.cryptosign_keys.iter().any(|key| PublicKey::from(*key) == public) {
                let text = "it is the router's own key, with which anybody could join as this one; draw \
                            another with `fanwire keygen`";
                tell(&format!("realm[{index}].principal[{place}].cryptosign.keys"), text.to_owned());
            }
        }
    }
}

/// Of each whether it was there before.
fn repetitions<T: Eq + Hash>(all: impl Iterator<Item = T>) -> Vec<bool> {
    let mut seen = HashSet::new();
    all.map(|one| !seen.insert(one)).collect()
}

/// What is wrong with the bounds of queues, if something is.
pub(super) fn outbound(limits: &Limits) -> Option<String> {
    let least = limits.outbound_bytes_soft.max(limits.message_bytes_max) + 1;
    (limits.outbound_bytes_max < least)
        .then(|| format!("the queue is too short for the messages allowed; write {least} octets or more"))
}

/// Whether all sockets can be made.
fn check_addresses(file: &File, tell: &Tell) {
    let control = file.control.clone().map(Address::Unix);
    let mut seen: HashMap<Option<u16>, Vec<&Address>> = HashMap::new();
    for (index, listener) in file.listeners.iter().enumerate() {
        let tell = |text| tell(&format!("listener[{index}].address"), text);
        let Some(address) = &listener.address else {
            tell("it is missing; write one such as \"127.0.0.1:8080\"".to_owned());
            continue;
        };
        if let Some(text) = socket_path(address) {
            tell(text);
        }
        if control.as_ref().is_some_and(|control| control.overlaps(address)) {
            tell("control has this path already; write another".to_owned());
        }
        let others = seen.entry(address.port()).or_default();
        match others.iter().find(|other| other.overlaps(address)) {
            Some(other) if *other == address => tell(format!("{address} is listed twice; leave one out")),
            Some(other) => tell(format!("{address} is in use with {other} already; leave one out")),
            None if address.is_any_port() => {}
            None => others.push(address),
        }
    }
    if let Some(text) = control.as_ref().and_then(socket_path) {
        tell("control", text);
    }
}

/// What is wrong with the path of a Unix socket, if it is one and something is.
fn socket_path(address: &Address) -> Option<String> {
    let Address::Unix(path) = address else { return None };
    (!server::is_socket_path(path))
        .then(|| format!("{} is too long for the path of a Unix socket; write a shorter one", path.display()))
}

fn check_listener(file: &File, index: usize, listener: &Listener, tell: &Tell) {
    let at = |key: &str| format!("listener[{index}].{key}");
    if listener.transports().is_empty() {
        tell(&at("transports"), "nothing is spoken here; write one at least".to_owned());
    }
    if listener.serializers.is_empty() {
        tell(&at("serializers"), "nothing can be agreed on; write one at least".to_owned());
    }
    if listener.methods.as_ref().is_some_and(Vec::is_empty) {
        tell(&at("methods"), "nobody may join here; write how somebody may, one at least".to_owned());
    }
    for (place, name) in listener.realms.iter().flatten().enumerate() {
        if !file.realms.iter().any(|realm| realm.name == *name) {
            let names = file.realms.iter().map(|realm| realm.name.as_str());
            tell(&at(&format!("realms[{place}]")), unknown("realm", name, names));
        }
    }
    if let Some(octets) =
        listener.message_bytes_max.filter(|octets| *octets >= file.limits.outbound_bytes_max)
    {
        let text = format!("write less than outbound_bytes_max, or more there than {octets}");
        tell(&at("message_bytes_max"), text);
    }
    for (place, network) in listener.networks.iter().enumerate() {
        if network.from.is_empty() {
            let text = "no network is named; write one such as \"10.0.0.0/8\"".to_owned();
            tell(&at(&format!("network[{place}].from")), text);
        }
        check_anonymous(file, listener, network.anonymous.as_ref(), &|key, text| {
            tell(&at(&format!("network[{place}].{key}")), text)
        });
    }
    check_anonymous(file, listener, listener.anonymous.as_ref(), &|key, text| tell(&at(key), text));
    let cookie = listener.cookie.as_ref();
    if cookie.is_some_and(|cookie| cookie.same_site == SameSite::None && !cookie.secure) {
        tell(&at("cookie.same_site"), "browsers take \"none\" only with secure = true".to_owned());
    }
    let prefixed = |cookie: &Cookie| ["__Host-", "__Secure-"].iter().any(|it| cookie.name.starts_with(it));
    if cookie.is_some_and(|cookie| prefixed(cookie) && !cookie.secure) {
        tell(&at("cookie.name"), "browsers take such a name only with secure = true".to_owned());
    }
    check_tls(file, index, listener, tell);
}

/// What those who say nothing of themselves are at a listener, in each realm that lets them in.
fn check_anonymous(file: &File, listener: &Listener, here: Option<&AnonymousHere>, tell: &Tell) {
    let Some(AnonymousHere { role, .. }) = here.filter(|here| !here.role.is_empty()) else { return };
    let open = |realm: &&Realm| {
        realm.anonymous.is_some()
            && listener.realms.as_ref().is_none_or(|realms| realms.contains(&realm.name))
    };
    let mut realms = file.realms.iter().filter(open).peekable();
    if realms.peek().is_none() {
        let text = "no realm that is open here lets in anonymous clients; write [realm.anonymous] in one";
        tell("anonymous", text.to_owned());
    }
    if let Some(realm) = realms.find(|realm| realm.role(role).is_none()) {
        let text = unknown("role", role, realm.roles.iter().map(|role| role.name.as_str()));
        tell("anonymous.role", format!("in realm {}, which is open here, {text}", realm.name));
    }
}

fn check_tls(file: &File, index: usize, listener: &Listener, tell: &Tell) {
    let at = |key: &str| format!("listener[{index}].{key}");
    let Some(tls) = &listener.tls else {
        let methods = listener.methods.as_deref().unwrap_or_default();
        if methods.contains(&Method::Tls) {
            tell(&at("methods"), "the method \"tls\" needs listener.tls with client certificates".to_owned());
        }
        return;
    };
    if tls.client == ClientCertificates::Off {
        let text = "no client is asked for a certificate; write client = \"optional\" or \"required\" in listener.tls";
        if listener.methods.iter().flatten().any(|method| *method == Method::Tls) {
            tell(&at("methods"), text.to_owned());
        }
        let networks = listener.networks.iter().enumerate();
        for (place, _) in networks.filter(|(_, network)| network.methods.contains(&Method::Tls)) {
            tell(&at(&format!("network[{place}].methods")), text.to_owned());
        }
        if tls.client_authorities.is_some() {
            tell(
                &at("tls.client"),
                "no client is asked for a certificate that these authorities sign; leave this out, or them"
                    .to_owned(),
            );
        }
    }
    let certificates = tls
        .sni
        .iter()
        .enumerate()
        .map(|(place, (_, certificate))| (at(&format!("tls.sni[{place}]")), certificate));
    for (path, certificate) in std::iter::once((at("tls"), &tls.certificate)).chain(certificates) {
        if certificate.chain.is_none() {
            tell(&format!("{path}.certificate"), "it is missing; write the path of a PEM file".to_owned());
        }
        // A key in a file can be watched and changed with its certificate; one in the configuration cannot.
        if certificate.key_file.is_none() {
            tell(&format!("{path}.key_file"), "it is missing; write the path of a PEM file".to_owned());
        }
    }
    for (place, (names, _)) in tls.sni.iter().enumerate() {
        if names.is_empty() {
            let text = "write the host names that the certificate is for".to_owned();
            tell(&at(&format!("tls.sni[{place}].names")), text);
        }
    }
    let asks = tls.client != ClientCertificates::Off;
    let trusted_by_digest = || {
        let principals = file.realms.iter().flat_map(|realm| &realm.principals);
        let mut tls = principals.filter_map(|principal| principal.tls.as_ref());
        tls.all(|tls| tls.subjects.is_empty())
    };
    if asks && tls.client_authorities.is_none() && !trusted_by_digest() {
        let text = "principals are known by subject, so write who may sign their certificates: a PEM file"
            .to_owned();
        tell(&at("tls.client_authorities"), text);
    }
}

fn check_realm(file: &File, index: usize, realm: &Realm, repeated: bool, tell: &Tell) {
    let at = |key: &str| format!("realm[{index}].{key}");
    let name = &realm.name;
    if !realm.template && realm.policy != MatchPolicy::Exact {
        tell(&at("match"), "only the name of a template is a pattern; write template = true".to_owned());
    }
    let valid = realm.uri_check.pattern(name, realm.policy) && name.len() <= file.limits.uri_bytes_max;
    if !valid || uri::reserved(name) {
        let text =
            format!("`{name}` cannot be a realm; write a URI such as com.example.realm, not below `wamp.`");
        tell(&at("name"), text);
    }
    if repeated {
        tell(&at("name"), format!("realm {name} is listed twice; leave one out"));
    }
    let histories = repetitions(realm.event_history.iter().map(|rule| (&rule.uri, rule.policy)));
    for ((place, rule), repeated) in realm.event_history.iter().enumerate().zip(histories) {
        let valid = realm.uri_check.pattern(&rule.uri, rule.policy) && !uri::reserved(&rule.uri);
        if !valid || rule.uri.len() > file.limits.uri_bytes_max {
            let text =
                "write a topic such as com.example.log, or a pattern and match, not below `wamp.`".to_owned();
            tell(&at(&format!("event_history[{place}].uri")), text);
        }
        if repeated {
            let text = "its event history is listed twice; leave one out".to_owned();
            tell(&at(&format!("event_history[{place}].uri")), text);
        }
    }
    let roles = repetitions(realm.roles.iter().map(|role| &role.name));
    for ((place, role), repeated) in realm.roles.iter().enumerate().zip(roles) {
        check_role((file, realm), role, repeated, &|key, text| {
            tell(&at(&format!("role[{place}].{key}")), text)
        });
    }
    let principals = repetitions(realm.principals.iter().map(|principal| &principal.authid));
    for ((place, principal), repeated) in realm.principals.iter().enumerate().zip(principals) {
        let tell = |key: &str, text: String| tell(&at(&format!("principal[{place}].{key}")), text);
        check_principal(realm, principal, repeated, &tell);
    }
    check_methods(file, realm, &|key, text| tell(&at(key), text));
}

fn check_role((file, realm): (&File, &Realm), role: &Role, repeated: bool, tell: &Tell) {
    if role.name.is_empty() {
        tell("name", "it is missing; write what the role is called, such as \"frontend\"".to_owned());
    }
    if repeated {
        tell("name", format!("role {} is listed twice in this realm; leave one out", role.name));
    }
    if role.authorizer.is_some() && !role.rules.is_empty() {
        tell("authorizer", "write either an authorizer or rules".to_owned());
    }
    if let Some(authorizer) = &role.authorizer {
        check_procedure(file, "authorizer", (&authorizer.procedure, &authorizer.realm), tell);
    }
    let decided = role.authorizer.is_some() || !role.rules.is_empty();
    if role.everything && decided {
        tell("everything", "nobody else decides then; leave this out, or rules and authorizer".to_owned());
    }
    let rules = repetitions(role.rules.iter().map(|rule| (&rule.uri, rule.policy)));
    for ((index, rule), repeated) in role.rules.iter().enumerate().zip(rules) {
        if let Err(problem) = rule.written().check() {
            tell(&format!("rule[{index}].uri"), format!("`{}`: {problem}", rule.uri));
        }
        // Values of the session stand in braces, and are components when they are put in.
        let uri = without_values(&rule.uri);
        if !realm.uri_check.pattern(&uri, rule.policy) {
            let text = format!("`{}` is no URI; write one, or a pattern and match", rule.uri);
            tell(&format!("rule[{index}].uri"), text);
        }
        if repeated {
            let text = "there are two rules for it; put what they allow into one".to_owned();
            tell(&format!("rule[{index}].uri"), text);
        }
    }
}

/// A rule's URI with a plain component in place of `{authid}` and the like.
fn without_values(uri: &str) -> String {
    ["{authid}", "{authrole}", "{session}", "{realm}"]
        .iter()
        .fold(uri.to_owned(), |uri, value| uri.replace(value, "x"))
}

fn check_principal(realm: &Realm, principal: &Principal, repeated: bool, tell: &Tell) {
    if principal.authid.is_empty() {
        tell("authid", "it is missing; write who it is, such as \"alice\"".to_owned());
    }
    if principal.authid.len() > AUTHID_BYTES_MAX {
        tell("authid", format!("write {AUTHID_BYTES_MAX} octets or fewer"));
    }
    if repeated {
        tell(
            "authid",
            format!("{} is listed twice in this realm; put what proves it into one", principal.authid),
        );
    }
    if let Some(role) = &principal.role {
        check_role_name(realm, "role", role, tell);
    }
    let proofs = proofs(realm, principal);
    if proofs.is_empty() {
        let text = "nothing proves that it is who it says; write a ticket, wampcra, scram, cryptosign or tls"
            .to_owned();
        tell("authid", text);
    }
    let roleless =
        |settings: Option<&MethodSettings>| settings.is_none_or(|known| known.default_role.is_none());
    if principal.role.is_none() && proofs.iter().any(|(_, settings)| roleless(*settings)) {
        tell(
            "role",
            format!("it is missing; write {}", one_of(realm.roles.iter().map(|role| role.name.as_str()))),
        );
    }
    if principal.tls.as_ref().is_some_and(|tls| tls.fingerprints.is_empty() && tls.subjects.is_empty()) {
        tell("tls", "no certificate is named; write fingerprints or subjects".to_owned());
    }
    if principal.scram.as_ref().is_some_and(|scram| scram.salt.is_empty()) {
        tell("scram.salt", "it is missing; write it as `fanwire hash` shows it".to_owned());
    }
}

/// What a principal can prove itself with, and the settings of the method in its realm.
fn proofs<'r>(realm: &'r Realm, principal: &Principal) -> Vec<(Method, Option<&'r MethodSettings>)> {
    let proofs = [
        (principal.ticket.is_some(), Method::Ticket, &realm.ticket),
        (principal.wampcra.is_some(), Method::WampCra, &realm.wampcra),
        (principal.scram.is_some(), Method::Scram, &realm.scram),
        (!principal.cryptosign_keys.is_empty(), Method::Cryptosign, &realm.cryptosign),
        (principal.tls.is_some(), Method::Tls, &realm.tls),
    ];
    let there = proofs.into_iter().filter(|(there, ..)| *there);
    there.map(|(_, method, settings)| (method, settings.as_ref())).collect()
}

/// Which methods let somebody into a realm.
pub fn methods(realm: &Realm) -> Vec<Method> {
    let knows =
        |settings: &Option<MethodSettings>| settings.as_ref().is_some_and(|known| known.dynamic.is_some());
    let dynamic = [
        (realm.anonymous.is_some(), Method::Anonymous),
        (realm.cookie.is_some(), Method::Cookie),
        (knows(&realm.ticket) || realm.jwt.is_some(), Method::Ticket),
        (knows(&realm.wampcra), Method::WampCra),
        (knows(&realm.scram), Method::Scram),
        (knows(&realm.cryptosign), Method::Cryptosign),
        (knows(&realm.tls), Method::Tls),
    ];
    let open = dynamic.into_iter().filter(|(open, _)| *open).map(|(_, method)| method);
    let proved =
        realm.principals.iter().flat_map(|principal| proofs(realm, principal)).map(|(method, _)| method);
    let mut methods: Vec<_> = open.chain(proved).collect();
    methods.sort_unstable();
    methods.dedup();
    methods
}

fn check_methods(file: &File, realm: &Realm, tell: &Tell) {
    if let Some(anonymous) = &realm.anonymous {
        match &anonymous.dynamic {
            None => check_role_name(realm, "anonymous.role", &anonymous.role, tell),
            Some(dynamic) => check_dynamic(file, "anonymous", dynamic, tell),
        }
    }
    let settings = [
        ("ticket", &realm.ticket),
        ("wampcra", &realm.wampcra),
        ("scram", &realm.scram),
        ("cryptosign", &realm.cryptosign),
        ("tls", &realm.tls),
    ];
    for (name, settings) in settings {
        let Some(settings) = settings else { continue };
        if let Some(role) = &settings.default_role {
            check_role_name(realm, &format!("{name}.default_role"), role, tell);
        }
        if let Some(dynamic) = &settings.dynamic {
            check_dynamic(file, name, dynamic, tell);
        }
    }
    let Some(jwt) = &realm.jwt else { return };
    if jwt.secret.is_none() && jwt.public_key.is_none() && jwt.jwks.is_none() {
        tell("jwt", "no key checks a token; write secret, public_key or jwks".to_owned());
    }
    if let Some(role) = &jwt.default_role {
        check_role_name(realm, "jwt.default_role", role, tell);
    }
}

fn check_dynamic(file: &File, method: &str, dynamic: &Dynamic, tell: &Tell) {
    check_procedure(file, &format!("{method}.dynamic"), (&dynamic.procedure, &dynamic.realm), tell);
}

/// A procedure that the router is to call, and the realm it is in.
fn check_procedure(file: &File, at: &str, (procedure, realm): (&str, &Option<String>), tell: &Tell) {
    if !crate::wamp::UriCheck::Loose.uri(procedure) || crate::wamp::uri::reserved(procedure) {
        tell(&format!("{at}.procedure"), "write the URI of a procedure that a client registers".to_owned());
    }
    let Some(name) = realm else { return };
    if !file.realms.iter().any(|realm| realm.name == *name && !realm.template) {
        let names = file.realms.iter().map(|realm| realm.name.as_str());
        tell(&format!("{at}.realm"), unknown("realm", name, names));
    }
}

fn check_role_name(realm: &Realm, key: &str, name: &str, tell: &Tell) {
    if !realm.roles.iter().any(|role| role.name == name) {
        tell(key, unknown("role", name, realm.roles.iter().map(|role| role.name.as_str())));
    }
}

pub(super) fn unknown<'n>(what: &str, name: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    match nearest(name, names.clone()) {
        Some(meant) => format!("there is no {what} {name}; did you mean \"{meant}\"?"),
        None => format!("there is no {what} {name}; write {}", one_of(names)),
    }
}

/// The names, each once, or what to do without any. Where one is missing it is empty, and no name.
fn one_of<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut seen = HashSet::new();
    let names = quoted(names.filter(|name| !name.is_empty() && seen.insert(*name)));
    if names.is_empty() { "one that is in the file, once there is one".to_owned() } else { names }
}
