//! What is no mistake in a configuration file, and probably not what was meant.

use std::collections::HashSet;

use super::check::methods;
use super::file::{File, Listener, Realm};

/// Sentences about what should be looked at again.
pub fn cautions(file: &File) -> Vec<String> {
    let joins: Vec<_> = file.realms.iter().map(|realm| (&realm.name, methods(realm))).collect();
    let mut told = Vec::new();
    for listener in &file.listeners {
        let address = listener.address.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut tell = |text: &str| told.push(format!("listener {address}: {text}"));
        if listener.tls.is_none() && listener.cookie.as_ref().is_some_and(|cookie| cookie.secure) {
            tell(
                "browsers send its cookie over TLS only, which a proxy before it must speak; or write secure = false",
            );
        }
        let open = joins.iter().filter(|(name, _)| {
            listener.realms.as_ref().is_none_or(|realms| realms.iter().any(|realm| realm == *name))
        });
        let mut open = open.flat_map(|(_, methods)| methods);
        let opens = |method| listener.methods.as_ref().is_none_or(|methods| methods.contains(method));
        if !open.any(opens) {
            tell("nobody can join here: no realm that is open has one of its methods");
        }
        for host in repeated_hosts(listener) {
            tell(&format!("two certificates are for {host}, and only the first of them is shown"));
        }
    }
    if file.authentication.router_key.is_none() && file.realms.iter().any(has_salts) {
        told.push(
            "authentication.router_key is not set: the salts that unknown names are shown are made of the secrets of \
             the file, and change when one of them does, by which unknown names can be told; `fanwire keygen` makes \
             one"
                .to_owned(),
        );
    }
    told
}

/// True if somebody who knows a name only is shown a salt.
fn has_salts(realm: &Realm) -> bool {
    realm.principals.iter().any(|principal| {
        principal.scram.is_some() || principal.wampcra.as_ref().is_some_and(|wampcra| wampcra.salt.is_some())
    })
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
        let listener = "[[listener]]\naddress = \":1\"\n";
        let sni = "[[listener.tls.sni]]\nnames = [\"a.b\", \"A.B\"]\ncertificate = \"a\"\nkey_file = \"b\"\n";
        for (said, expected) in [
            (String::new(), ""),
            ("[listener.cookie]\n".to_owned(), "over TLS only"),
            ("[listener.cookie]\nsecure = false\n".to_owned(), ""),
            ("methods = [\"ticket\"]\n".to_owned(), "nobody can join here"),
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
}
