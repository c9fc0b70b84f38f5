//! What is no mistake in a configuration file, and probably not what was meant.

use std::collections::HashSet;

use super::check::methods;
use super::file::{File, Listener};
use crate::auth::Method;

/// Sentences about what should be looked at again.
pub fn cautions(file: &File) -> Vec<String> {
    let joins: Vec<_> = file.realms.iter().map(|realm| (&realm.name, methods(realm))).collect();
    let mut told = Vec::new();
    for (name, _) in joins.iter().filter(|(_, joins)| joins.iter().all(|method| *method == Method::Cookie)) {
        told.push(format!(
            "realm {name}: nobody may join it, but whom a procedure of another realm sends there; if that is not meant, \
             write [realm.anonymous], principals, or a method with dynamic"
        ));
    }
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
    told
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
    fn what_is_probably_not_meant_is_told() {
        let listener = "[[listener]]\naddress = \":1\"\n";
        let realm = "[[realm]]\nname = \"a\"\nanonymous = { role = \"r\" }\n[[realm.role]]\nname = \"r\"\n";
        let sni = "[[listener.tls.sni]]\nnames = [\"a.b\", \"A.B\"]\ncertificate = \"a\"\nkey_file = \"b\"\n";
        for (said, expected) in [
            (String::new(), ""),
            ("[listener.cookie]\n".to_owned(), "over TLS only"),
            ("[listener.cookie]\nsecure = false\n".to_owned(), ""),
            ("methods = [\"ticket\"]\n".to_owned(), "nobody can join here"),
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
}
