//! What is no mistake in a configuration file, and probably not what was meant.

use std::collections::HashSet;

use super::check::methods;
use super::convert::rules::rules;
use super::file::{File, Listener, Realm, Role};
use crate::auth::Method;
use crate::router::authentication::Access;
use crate::router::rules::{Action, Subject};
use crate::router::{Permissions, RealmSettings};
use crate::server::{self, ClientCertificates, Entrance};
use crate::wamp::{MatchPolicy, SessionId};

/// Sentences about what should be looked at again.
pub fn cautions(file: &File) -> Vec<String> {
    let mut told: Vec<_> = file.realms.iter().filter_map(|realm| closed(file, realm)).collect();
    for listener in &file.listeners {
        let address = listener.address.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut tell = |text: &str| told.push(format!("listener {address}: {text}"));
        if listener.tls.is_none() && listener.cookie.as_ref().is_some_and(|cookie| cookie.secure) {
            tell(
                "browsers send its cookie over TLS only, which a proxy before it must speak; or write secure = false",
            );
        }
        if !file.realms.iter().any(|realm| opens(listener, realm) && lets_into(listener, realm)) {
            tell("nobody can join here: no realm that is open has one of its methods");
        }
        for host in repeated_hosts(listener) {
            tell(&format!("two certificates are for {host}, and only the first of them is shown"));
        }
    }
    // One that cannot be started is nobody's.
    told.extend(file.server().map_or(Vec::new(), |server| open_to_everybody(&server)));
    if file.authentication.router_key.is_none() && file.realms.iter().any(has_salts) {
        told.push(
            "authentication.router_key is not set: the salts that unknown names are shown are made of the secrets of \
             the file, and change when one of them does, by which unknown names can be told; `fanwire keygen` makes \
             one"
                .to_owned(),
        );
    }
    told.extend(other_deciders(file));
    told
}

/// True if the realm may be joined there, by whatever method.
fn opens(listener: &Listener, realm: &Realm) -> bool {
    listener.realms.as_ref().is_none_or(|realms| realms.contains(&realm.name))
}

/// True if a method of the realm is open there, for some sources at least.
fn lets_into(listener: &Listener, realm: &Realm) -> bool {
    let some = listener.networks.iter().flat_map(|network| &network.methods);
    let opens = |method: &Method| {
        let everywhere = listener.methods.as_ref().is_none_or(|methods| methods.contains(method));
        everywhere || some.clone().any(|open| open == method)
    };
    methods(realm).iter().any(opens)
}

/// What keeps everybody out of a realm, if something does.
fn closed(file: &File, realm: &Realm) -> Option<String> {
    let name = &realm.name;
    let mut open = file.listeners.iter().filter(|listener| opens(listener, realm)).peekable();
    if open.peek().is_none() {
        return Some(format!(
            "realm {name}: nobody can join it: no listener opens it; write it into realms of one"
        ));
    }
    let sent = "nobody may join it, but whom a procedure of another realm sends there";
    if methods(realm).iter().all(|method| *method == Method::Cookie) {
        let advice = "if that is not meant, write [realm.anonymous], principals, or a method with dynamic";
        return Some(format!("realm {name}: {sent}; {advice}"));
    }
    let is_open = open.any(|listener| lets_into(listener, realm));
    (!is_open).then(|| format!("realm {name}: {sent}: no listener that opens it has one of its methods"))
}

/// Sentences about listeners that other machines reach, where those who say nothing of themselves may do everything and
/// administer. A network that is let in by its name is known to be.
pub fn open_to_everybody(server: &server::Config) -> Vec<String> {
    let listeners = server.addresses.iter().zip(&server.entrances).zip(&server.settings.listeners);
    let reached =
        listeners.filter(|((address, entrance), _)| !address.is_local() && lets_in_strangers(entrance));
    let told = reached.flat_map(|((address, _), listener)| {
        let open = server.settings.realms.iter().filter(|realm| is_everybodys(realm, &listener.access));
        open.map(move |realm| {
            format!(
                "listener {address}: whoever reaches it may do everything in realm {}, and administers it; \
                 say what anonymous clients may there, or listen at 127.0.0.1",
                realm.name
            )
        })
    });
    told.collect()
}

fn lets_in_strangers(entrance: &Entrance) -> bool {
    entrance.tls.as_ref().is_none_or(|tls| {
        tls.shared || tls.client != ClientCertificates::Required || tls.client_authorities.is_none()
    })
}

fn is_everybodys(realm: &RealmSettings, access: &Access) -> bool {
    let methods = access.methods.as_ref();
    let opens =
        realm.is_opened_by(access) && methods.is_none_or(|methods| methods.contains(&Method::Anonymous));
    let Some(anonymous) = realm.authentication.anonymous.as_ref().filter(|_| opens) else { return false };
    let role = match &access.anonymous {
        Some(here) => here.role_among(&realm.roles),
        None => Some(anonymous.role.clone()).filter(|_| anonymous.dynamic.is_none()),
    };
    role.is_some_and(|role| role.administers && role.permissions == Permissions::Everything)
}

/// True if somebody who knows a name only is shown a salt.
fn has_salts(realm: &Realm) -> bool {
    realm.principals.iter().any(|principal| {
        principal.scram.is_some() || principal.wampcra.as_ref().is_some_and(|wampcra| wampcra.salt.is_some())
    })
}

/// Roles that may register a procedure that decides who may join or do what, though no rule of theirs is about just
/// that. Where only one role may, it is meant.
fn other_deciders(file: &File) -> Vec<String> {
    let mut told = Vec::new();
    for (home, procedure) in deciders(file) {
        let Some(realm) = file.realms.iter().find(|realm| realm.name == home) else { continue };
        let may: Vec<_> = realm.roles.iter().filter(|role| may_register(realm, role, procedure)).collect();
        let named = |role: &&&Role| {
            role.rules.iter().any(|rule| rule.uri == procedure && rule.policy == MatchPolicy::Exact)
        };
        let meant = match &may[..] {
            [only] => Some(only.name.as_str()),
            _ => None,
        };
        for role in may.iter().filter(|role| !named(role) && meant != Some(&role.name)) {
            let name = &role.name;
            let text = format!(
                "realm {home}: role {name} may register {procedure}, and so decide for others; refuse it there, or \
                 name it in an exact rule if that is meant"
            );
            if !told.contains(&text) {
                told.push(text);
            }
        }
    }
    told
}

/// Authorizers and authenticators: the realm each is in, and its procedure.
fn deciders(file: &File) -> Vec<(&str, &str)> {
    let mut all = Vec::new();
    for realm in &file.realms {
        let methods = [&realm.ticket, &realm.wampcra, &realm.scram, &realm.cryptosign, &realm.tls];
        let methods = methods.into_iter().flatten().filter_map(|method| method.dynamic.as_ref());
        let anonymous = realm.anonymous.as_ref().and_then(|anonymous| anonymous.dynamic.as_ref());
        let knowing = methods.chain(anonymous).map(|dynamic| (&dynamic.realm, &dynamic.procedure));
        let authorizers = realm.roles.iter().filter_map(|role| role.authorizer.as_ref());
        let deciding = authorizers.map(|authorizer| (&authorizer.realm, &authorizer.procedure));
        for (other, procedure) in knowing.chain(deciding) {
            all.push((other.as_deref().unwrap_or(&realm.name), procedure.as_str()));
        }
    }
    all
}

fn may_register(realm: &Realm, role: &Role, procedure: &str) -> bool {
    if role.authorizer.is_some() || role.everything {
        return role.everything;
    }
    let subject = Subject { authid: "", authrole: &role.name, session: SessionId(0), realm: &realm.name };
    rules(role).decide(Action::Register, procedure, MatchPolicy::Exact, &subject).allowed
}

/// Hosts that two certificates are said to be for.
fn repeated_hosts(listener: &Listener) -> Vec<&str> {
    let sni = listener.tls.iter().flat_map(|tls| &tls.sni);
    let mut seen = HashSet::new();
    let hosts = sni.flat_map(|(names, _)| names).map(String::as_str);
    hosts.filter(|host| !seen.insert(host.to_ascii_lowercase())).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::crossbar::Anything;
    use crate::config::file;

    #[test]
    fn salts_of_unknown_names_are_to_stay_the_same() {
        let told = |everywhere: &str, wampcra: &str| {
            let text = format!(
                "{everywhere}[[listener]]\naddress = \":1\"\n[[realm]]\nname = \"a\"\n[[realm.role]]\n\
                 name = \"r\"\n[[realm.principal]]\nauthid = \"a\"\nrole = \"r\"\nwampcra = {{ {wampcra} }}\n"
            );
            cautions(&file::read(&text, Path::new(""), &Anything).unwrap())
        };
        let salted = "secret = \"x\", salt = \"y\"";
        assert!(told("", salted).iter().any(|told| told.contains("router_key is not set")));
        assert!(told("", "secret = \"x\"").is_empty());
        let key = format!("[authentication]\nrouter_key = \"{}\"\n", "07".repeat(32));
        assert!(told(&key, salted).is_empty());
    }

    #[test]
    fn what_is_probably_not_meant_is_told() {
        let listener = "[[listener]]\naddress = \"127.0.0.1:1\"\n";
        let realm = "[[realm]]\nname = \"a\"\nanonymous = { role = \"r\" }\n[[realm.role]]\nname = \"r\"\n";
        let sni = "[[listener.tls.sni]]\nnames = [\"a.b\", \"A.B\"]\ncertificate = \"a\"\nkey_file = \"b\"\n";
        for (said, expected) in [
            (String::new(), ""),
            ("[listener.cookie]\n".to_owned(), "over TLS only"),
            ("[listener.cookie]\nsecure = false\n".to_owned(), ""),
            (format!("{realm}[[realm]]\nname = \"b\"\n"), "realm b: nobody may join it"),
            (
                format!("[listener.tls]\ncertificate = \"a\"\nkey_file = \"b\"\n{sni}"),
                "two certificates are for A.B",
            ),
        ] {
            let text = format!("{listener}{said}");
            let file = file::read(&text, Path::new(""), &Anything).unwrap();
            let told = cautions(&file);
            assert_eq!(told.len(), usize::from(!expected.is_empty()), "{said}: {told:?}");
            assert!(told.iter().all(|told| told.contains(expected)), "{told:?}");
        }
    }

    #[test]
    fn a_realm_that_nobody_can_reach_is_told() {
        let realm = |name: &str| {
            format!(
                "[[realm]]\nname = \"{name}\"\nanonymous = {{ role = \"r\" }}\n[[realm.role]]\nname = \"r\"\n"
            )
        };
        let realms = format!("{}{}", realm("a"), realm("b"));
        let listener = |said: &str| format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{said}\n");
        let (first, second) = (listener("realms = [\"a\"]"), listener("realms = [\"b\"]"));
        let network = "methods = [\"ticket\"]\nnetwork = [{ from = [\"unix\"], methods = [\"anonymous\"] }]";
        for (listeners, expected) in [
            (format!("{first}{second}"), &[][..]),
            (listener(network), &[]),
            (first.clone(), &["realm b: nobody can join it: no listener"]),
            (
                listener("methods = [\"ticket\"]"),
                &[
                    "realm a: nobody may join it, but",
                    "realm b: nobody may join it, but",
                    "nobody can join here",
                ],
            ),
            (
                format!("{first}{}", listener("realms = [\"b\"]\nmethods = [\"ticket\"]")),
                &["realm b: nobody may join it, but", "nobody can join here"],
            ),
        ] {
            let file = file::read(&format!("{listeners}{realms}"), Path::new(""), &Anything).unwrap();
            let told = cautions(&file);
            assert_eq!(told.len(), expected.len(), "{listeners}: {told:#?}");
            for (told, expected) in told.iter().zip(expected) {
                assert!(told.contains(expected), "{listeners}: {told}");
            }
        }
    }

    #[test]
    fn where_everybody_may_do_everything_is_told() {
        let role = |name: &str, said: &str| format!("[[realm.role]]\nname = \"{name}\"\n{said}\n");
        let realm = |said: &str| {
            let realm = "[[realm]]\nname = \"a\"\nanonymous = { role = \"r\" }\n";
            format!("{realm}{}{}", role("r", said), role("all", "everything = true\nadministers = true"))
        };
        let all = realm("everything = true\nadministers = true");
        let ticket = "[[realm.principal]]\nauthid = \"x\"\nrole = \"r\"\nticket = \"x\"\n";
        let tls = "[listener.tls]\ncertificate = \"a\"\nkey_file = \"b\"\nclient_authorities = \"c\"\n";
        let network =
            "methods = [\"ticket\"]\nnetwork = [{ from = [\"10.0.0.0/8\"], methods = [\"anonymous\"] }]\n";
        for (address, listener, realms, expected) in [
            (":1", "", "", 1),
            ("0.0.0.0:1", "", &*all, 1),
            ("[::1]:1", "", "", 0),
            ("localhost:1", "", "", 0),
            ("example.com:1", "", "", 1),
            ("unix:a", "", "", 0),
            (":1", "", &realm("everything = true"), 0),
            (":1", "", &realm("administers = true"), 0),
            (":1", "anonymous = { role = \"all\" }\n", &realm(""), 1),
            (":1", "anonymous = { role = \"r\" }\n", &realm(""), 0),
            (":1", tls, &all, 0),
            (":1", &tls.replace("[listener.tls]", "[listener.tls]\nshared = true"), &all, 1),
            (":1", network, &format!("{all}{ticket}"), 0),
        ] {
            let text = format!("[[listener]]\naddress = \"{address}\"\n{listener}{realms}");
            let file = file::read(&text, Path::new(""), &Anything)
                .unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
            let told = cautions(&file);
            assert_eq!(told.len(), expected, "{text}: {told:?}");
            assert!(told.iter().all(|told| told.contains("whoever reaches it may do everything in realm")));
        }
    }

    #[test]
    fn who_else_may_register_what_decides_is_told() {
        let asked = "[[realm.role]]\nname = \"asked\"\nauthorizer = { procedure = \"com.sys.authorize\" }\n";
        let role = |name: &str, rule: &str| {
            format!("[[realm.role]]\nname = \"{name}\"\nrule = [{{ {rule}, allow = [\"register\"] }}]\n")
        };
        let meant = role("meant", "uri = \"com.sys.authorize\"");
        let wide = role("wide", "uri = \"com.*\"");
        let other = role("other", "uri = \"org.*\"");
        for (roles, named) in [
            (format!("{asked}{meant}{other}"), false),
            (format!("{asked}{wide}{other}"), false),
            (format!("{asked}{meant}{wide}"), true),
        ] {
            let text = format!(
                "[[listener]]\naddress = \":1\"\n[[realm]]\nname = \"r\"\nanonymous = {{ role = \"asked\" }}\n{roles}"
            );
            let file = file::read(&text, Path::new(""), &Anything).unwrap();
            let told = cautions(&file);
            assert_eq!(told.len(), usize::from(named), "{told:?}");
            assert!(told.iter().all(|told| told.contains("role wide may register com.sys.authorize")));
        }
    }
}
