//! What a file names on this machine: whether certificates and keys are of use, and sockets can be made.

use std::path::Path;

use super::super::file::{File, Listener};
use super::super::reader::Surroundings;
use crate::server::{Address, ClientCertificates, TlsError, TlsSettings};

/// Tells what is of no use: the path of the key, and why.
type Tell<'a> = dyn Fn(&str, String) + 'a;

/// Tells everything that a server could not start with.
pub(super) fn check(file: &File, surroundings: &dyn Surroundings, tell: &Tell) {
    let tell_socket = |key: &str, path: &Path| {
        if let Err(error) = surroundings.check_socket(path) {
            tell(key, format!("{}: {error}; write another path", path.display()));
        }
    };
    if let Some(path) = &file.control {
        tell_socket("control", path);
    }
    for (index, listener) in file.listeners.iter().enumerate() {
        let tell = |key: &str, text: String| tell(&format!("listener[{index}].{key}"), text);
        if let Some(Address::Unix(path)) = &listener.address {
            tell_socket(&format!("listener[{index}].address"), path);
        }
        check_tls(listener, surroundings, &tell);
    }
}

/// Each certificate by itself, so that every mistake is told; then all of them together.
fn check_tls(listener: &Listener, surroundings: &dyn Surroundings, tell: &Tell) {
    let Some(said) = &listener.tls else { return };
    let all = super::tls(said);
    let mut is_good = true;
    for (place, identity) in all.identities.iter().enumerate() {
        // Those that are missing have their mistake.
        if identity.certificate.as_os_str().is_empty() || identity.key.as_os_str().is_empty() {
            is_good = false;
            continue;
        }
        let alone = TlsSettings {
            identities: vec![identity.clone()],
            client: ClientCertificates::Off,
            client_authorities: None,
            ..all.clone()
        };
        let Err(error) = surroundings.check_tls(&alone) else { continue };
        is_good = false;
        let key = match &error {
            TlsError::NoKey(_) | TlsError::Identity(..) => "key_file",
            TlsError::Unreadable(path, _) if *path == identity.key => "key_file",
            _ => "certificate",
        };
        tell(&format!("{}.{key}", table(place)), error.to_string());
    }
    if let Some(error) = surroundings.check_tls(&all).err().filter(|_| is_good) {
        let key = match &error {
            TlsError::NoName(certificate) => {
                let named = all.identities.iter().rposition(|identity| identity.certificate == *certificate);
                format!("{}.certificate", table(named.unwrap_or_default()))
            }
            _ => "tls.client_authorities".to_owned(),
        };
        tell(&key, error.to_string());
    }
}

/// The table of a certificate: the first is that of the listener.
fn table(place: usize) -> String {
    place.checked_sub(1).map_or_else(|| "tls".to_owned(), |place| format!("tls.sni[{place}]"))
}
