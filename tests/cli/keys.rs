//! `fanwire keygen` and `fanwire hash`: what they write is what the router and the clients read.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use fanwire::auth::cryptosign::PublicKey;
use fanwire::auth::scram::{self, Cost, Kdf};
use fanwire::auth::ticket;
use fanwire::auth::wampcra::Salting;

use crate::process::{Directory, command, ended, fanwire};

#[test]
fn a_key_pair_is_written_once_and_for_its_owner_alone() {
    let directory = Directory::new();
    for form in ["hex", "openssh", "pem"] {
        let file = directory.path.join(form);
        let path = file.to_str().unwrap();
        let (code, stdout, stderr) = fanwire(&["keygen", path, "--form", form, "--comment", "me@here"]);
        assert_eq!((code, &*stderr), (0, ""), "{form}");
        let public: PublicKey = stdout.trim_end().parse().unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let private = fs::read(&file).unwrap();
        assert_eq!(fanwire::auth::key::read(&private).unwrap().public(), public);
        let beside = fs::read_to_string(format!("{path}.pub")).unwrap();
        assert_eq!(fanwire::auth::key::read_public(&beside), Ok(public));
        for file in [path, &format!("{path}.pub")] {
            assert_eq!(fanwire(&["keygen", "--public", file]), (0, stdout.clone(), String::new()));
        }
        // Neither half is overwritten, and no other key is made.
        let (code, _, stderr) = fanwire(&["keygen", path]);
        assert!(code == 2 && stderr.contains("is there already"), "{stderr}");
        fs::remove_file(&file).unwrap();
        assert_eq!(fanwire(&["keygen", path]).0, 2);
        assert!(!file.exists());
    }
    let (code, _, stderr) = fanwire(&["keygen", "--public", "/nowhere/at/all"]);
    assert!(code == 2 && stderr.contains("cannot be read"), "{stderr}");
}

/// `fanwire hash` with this on its standard input: its line.
fn hash(arguments: &[&str], password: &str) -> String {
    let mut command = command(&[&["hash"], arguments].concat());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let (code, stdout, stderr) = ended(child.wait_with_output().unwrap());
    assert_eq!((code, &*stderr), (0, ""), "{arguments:?}");
    assert_eq!(stdout.lines().count(), 1);
    assert!(!stdout.contains("the secret"), "{stdout}");
    stdout.trim_end().to_owned()
}

/// The value of a key in a line of TOML, without quotes.
fn value<'l>(line: &'l str, key: &str) -> &'l str {
    let (_, rest) = line.split_once(&format!(" {key} = ")).unwrap_or_else(|| panic!("{key}: {line}"));
    let end = rest.find([',', ' ']).unwrap_or(rest.len());
    rest[..end].trim_matches('"')
}

#[test]
fn a_stored_ticket_is_that_of_the_password() {
    for options in
        [&["ticket"][..], &["ticket", "--kdf", "sha256"], &["ticket", "--iterations", "1", "--memory", "64"]]
    {
        let line = hash(options, "the secret\r\n");
        let stored = line.strip_prefix("ticket = \"").unwrap().strip_suffix('"').unwrap();
        let stored = ticket::Stored::read(stored).unwrap();
        assert!(stored.verify("the secret") && !stored.verify("the secret\n"));
        assert_ne!(hash(options, "the secret"), line, "the salt is another each time");
    }
}

#[test]
fn a_stored_secret_is_derived_of_the_password() {
    let line = hash(&["wampcra", "--iterations", "100"], "the secret\n");
    assert!(line.starts_with("wampcra = { secret = "), "{line}");
    let (iterations, keylen) =
        (value(&line, "iterations").parse().unwrap(), value(&line, "keylen").parse().unwrap());
    let salting = Salting { salt: value(&line, "salt").to_owned(), iterations, keylen };
    assert_eq!(salting.derive(&"the secret".into()).unwrap().text(), Some(value(&line, "secret")));
}

#[test]
fn stored_keys_are_derived_of_the_password() {
    for kdf in [Kdf::Argon2id13, Kdf::Argon2id13Text, Kdf::Pbkdf2] {
        let line = hash(&["scram", "--kdf", kdf.name(), "--iterations", "5"], "the secret");
        assert_eq!(value(&line, "kdf"), kdf.name());
        let iterations = value(&line, "iterations").parse().unwrap();
        let memory_kib = if kdf == Kdf::Pbkdf2 { 0 } else { value(&line, "memory").parse().unwrap() };
        let cost = Cost { kdf, iterations, memory_kib };
        let (stored_key, server_key) = (value(&line, "stored_key"), value(&line, "server_key"));
        let read = scram::Stored::read(cost, value(&line, "salt"), stored_key, server_key).unwrap();
        let salt = fanwire::auth::unbase64(value(&line, "salt")).unwrap().try_into().unwrap();
        assert_eq!(scram::Stored::new(&"the secret".into(), salt, cost).unwrap(), read);
    }
}

#[test]
fn what_cannot_be_hashed_is_told() {
    let directory = Directory::new();
    let octets = directory.path.join("octets");
    fs::write(&octets, b"a\xFF\n").unwrap();
    let octets = octets.to_str().unwrap();
    for (arguments, told) in [
        (&["hash", "ticket"][..], "nothing came"),
        (&["hash", "ticket", "--kdf", "pbkdf2", "--secret-env", "HOME"], "do not go together"),
        (&["hash", "wampcra", "--memory", "8", "--secret-env", "HOME"], "do not go together"),
        (&["hash", "scram", "--memory", "4294967295", "--secret-env", "HOME"], "--memory from 8 to 1048576"),
        (&["hash", "scram", "--iterations", "0", "--secret-env", "HOME"], "8388608 at most"),
        (&["hash", "ticket", "--memory", "262145", "--secret-env", "HOME"], "--memory from 8 to 262144"),
        (&["hash", "wampcra", "--iterations", "0", "--secret-env", "HOME"], "from 1 to 10000000"),
        (&["hash", "ticket", "--secret-file", octets], "no text in UTF-8"),
        (&["hash", "wampcra", "--secret-file", octets], "no text in UTF-8"),
        (&["hash", "password"], "invalid value"),
    ] {
        let (code, stdout, stderr) = fanwire(arguments);
        assert_eq!((code, &*stdout), (2, ""), "{arguments:?}");
        assert!(stderr.contains(told), "{stderr}");
    }
}
