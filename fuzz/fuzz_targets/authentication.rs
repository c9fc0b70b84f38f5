//! What a peer sends to prove who it is: responses to challenges, tokens, certificates; and keys as files have them.
//!
//! Nothing panics, and nothing proves anything but what was made with the secret.

#![no_main]

use std::sync::LazyLock;

use fanwire::auth::certificate::{Certificate, Fingerprint, Subject};
use fanwire::auth::cryptosign::{Challenge, SigningKey};
use fanwire::auth::jwt::{self, Expected, Keys};
use fanwire::auth::scram::{self, Cost, Dialect, Exchange, Kdf};
use fanwire::auth::{Secret, key, ticket, unbase64, wampcra};
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let public = SigningKey::from_seed(&[1; 32]).public();
    let pem = Keys::from_pem(&key::write_public(&public, key::Form::Pem, "")).unwrap();
    Keys::from_secret(SECRET.into()).unwrap().and(pem)
});

fuzz_target!(|input: &[u8]| {
    let Some((kind, input)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(input);
    match kind % 8 {
        0 => responses(&text),
        1 => scram_exchange(&text),
        2 => token(&text),
        3 => signed_token(&text),
        4 => certificate(input),
        5 => private_key(input),
        6 => texts(&text),
        _ => _ = Keys::from_jwks(&text),
    }
});

fn responses(text: &str) {
    let secret = Secret::from(SECRET);
    let challenge = Challenge::new([7; 32]);
    assert_eq!(wampcra::verify(&secret, "challenge", text), text == wampcra::sign(&secret, "challenge"));
    let key = SigningKey::from_seed(&[1; 32]);
    let good = challenge.answer(&key, None);
    assert_eq!(challenge.verify(&key.public(), None, text), text.eq_ignore_ascii_case(&good));
    assert!(!challenge.verify(&key.public(), Some(&[1; 32]), text));
    assert_eq!(ticket::Stored::Plain(secret).verify(text), text == SECRET);
}

/// The proof and what else a client says, a line each.
fn scram_exchange(text: &str) {
    let mut lines = text.split('\n');
    let proof = lines.next().unwrap_or_default();
    let (nonce, channel_binding, cbind_data) = (lines.next(), lines.next(), lines.next());
    let client_nonce = lines.next().unwrap_or_default();
    let authid = lines.next().unwrap_or_default();
    let cost = Cost { kdf: Kdf::Argon2id13, iterations: 1, memory_kib: 8 };
    let known = scram::Stored::new(&SECRET.into(), [0; 16], cost).expect("a cost that is allowed");
    let stored = scram::Stored::decoy(&SECRET.into(), authid, &known);
    let both = format!("{client_nonce}AAAA");
    let salt = stored.salt();
    let nonces = scram::is_client_nonce(client_nonce);
    assert!(!nonces || unbase64(client_nonce).is_some());
    for dialect in [Dialect::Specified, Dialect::Crossbar] {
        let exchange =
            Exchange { dialect, authid, client_nonce, nonce: &both, salt: &salt, cost, binding: None };
        let response = scram::Response { proof, nonce, channel_binding, cbind_data };
        assert_eq!(exchange.verify(&stored, &response), None);
    }
}

/// A token with whatever signature it has.
fn token(text: &str) {
    assert!(jwt::verify(text, &KEYS, &Expected::default(), 0).is_err());
}

/// Header and claims, signed.
fn signed_token(text: &str) {
    let (header, claims) = text.split_once('\n').unwrap_or(("", text));
    let header = if header.is_empty() { r#"{"alg":"HS256"}"# } else { header };
    let url = |octets: &[u8]| to_url(&fanwire::auth::base64(octets));
    let message = format!("{}.{}", url(header.as_bytes()), url(claims.as_bytes()));
    let token = format!("{message}.{}", to_url(&wampcra::sign(&SECRET.into(), &message)));
    if let Ok(bearer) = jwt::verify(&token, &KEYS, &Expected::default(), 1_000) {
        assert!(!bearer.authid.is_empty());
    }
}

fn to_url(base64: &str) -> String {
    base64.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn certificate(der: &[u8]) {
    let Ok(certificate) = Certificate::read(der) else { return };
    let text = certificate.subject.to_string();
    // A value without characters can be in a certificate, and cannot be asked for.
    if let Ok(subject) = text.parse::<Subject>() {
        assert!(subject.matches(&certificate), "{text}");
    }
    assert!(certificate.has(&certificate.sha256));
}

fn private_key(file: &[u8]) {
    let Ok(read) = key::read(file) else { return };
    for form in [key::Form::Hex, key::Form::OpenSsh, key::Form::Pem] {
        let again = key::read(key::write(&read, form, "").as_bytes()).unwrap();
        assert_eq!(again.seed(), read.seed());
    }
}

fn texts(text: &str) {
    if let Ok(ticket::Stored::Hashed(hashed)) = ticket::Stored::read(text) {
        assert_eq!(hashed.to_string(), text);
    }
    if let Ok(public) = key::read_public(text) {
        assert_eq!(key::read_public(&public.to_string()), Ok(public));
    }
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    }
    let _ = text.parse::<Subject>();
    let _ = Keys::from_pem(text);
}
