//! Principals, methods and keys of a configuration file as the router takes them.
//!
//! What cannot be taken (a hashed ticket that is none, keys that do not check anything) is told, with the path of its
//! key, and left out; a file of which something was told is not served.

use std::sync::Arc;

use super::super::file::{self, File, Jwt, Listener, MethodSettings, Realm, ScramKdf};
use crate::auth::cryptosign::SigningKey;
use crate::auth::jwt::{Expected, Keys, KeysError};
use crate::auth::scram::{self, Cost, Kdf, ScramError};
use crate::auth::wampcra::{self, Salting};
use crate::auth::{Method, Secret, hmac_sha256, ticket, unhex};
use crate::router::Role;
use crate::router::authentication::{
    self, Access, Anonymous, Extra, Principal, Principals, RouterSettings, Settings, Sources,
};

/// Tells what cannot be taken: the path of the key, and why.
type Tell<'a> = dyn Fn(&str, String) + 'a;

/// Tells everything of a file that cannot be taken.
pub fn check(file: &File, tell: &Tell) {
    for (index, realm) in file.realms.iter().enumerate() {
        settings(realm, &[], &|key, text| tell(&format!("realm[{index}].{key}"), text));
    }
}

/// What holds everywhere.
pub fn everywhere(file: &File) -> RouterSettings {
    let said = &file.authentication;
    let seed = said.router_key.as_ref().and_then(|key| unhex(key.text()?));
    RouterSettings {
        router_key: seed.map(|seed| SigningKey::from_seed(&seed)),
        challenge_ms_max: said.challenge_seconds * 1000,
        failures_max: u32::try_from(said.failures_max).unwrap_or(u32::MAX),
        failures_ms: said.failures_seconds * 1000,
        stand_in_key: stand_in_key(file),
    }
}

/// A secret that stays the same as long as the router's key does, or else all secrets of the file do: without being
/// written down anywhere, and after a restart.
fn stand_in_key(file: &File) -> Secret {
    let principals = file.realms.iter().flat_map(|realm| &realm.principals);
    let secrets = principals.flat_map(|principal| {
        let wampcra = principal.wampcra.as_ref().and_then(|wampcra| wampcra.secret.as_ref());
        let scram = principal.scram.as_ref().and_then(|scram| scram.server_key.as_ref());
        [principal.ticket.as_ref(), wampcra, scram].into_iter().flatten()
    });
    let mix = |key: [u8; 32], secret: &Secret| hmac_sha256(&key, secret.expose());
    let mixed = match &file.authentication.router_key {
        Some(key) => mix([0; 32], key),
        None => secrets.fold([0; 32], mix),
    };
    Secret::new(hmac_sha256(&mixed, b"stand-in").to_vec())
}

/// Who may come in at a listener, and how.
pub fn access(listener: &Listener) -> Access {
    let networks = listener.networks.iter().map(|network| Sources {
        from: network.from.clone(),
        methods: network.methods.clone(),
        anonymous: network.anonymous.clone(),
    });
    Access {
        methods: listener.methods.clone(),
        anonymous: listener.anonymous.clone(),
        networks: networks.collect(),
        realms: listener.realms.clone(),
    }
}

/// Who may join a realm.
pub fn settings(realm: &Realm, roles: &[Arc<Role>], tell: &Tell) -> Settings {
    let named = |name: &String| roles.iter().find(|role| role.name == *name).cloned();
    let anonymous = realm.anonymous.as_ref().and_then(|anonymous| {
        let dynamic = anonymous.dynamic.as_ref().map(dynamic);
        // Where a procedure says the role, that of the file is its default.
        let role = named(&anonymous.role);
        let role = role.or_else(|| dynamic.is_some().then(|| Arc::new(Role::anonymous())))?;
        Some(Anonymous { role, authid: anonymous.authid.as_deref().map(Box::from), dynamic })
    });
    let principals = realm.principals.iter().enumerate().map(|(index, said)| {
        let tell = |key: &str, text: String| tell(&format!("principal[{index}].{key}"), text);
        principal(said, said.role.as_ref().and_then(named), &tell)
    });
    let mut settings = Settings {
        anonymous,
        principals: Principals::new(principals),
        jwt: realm
            .jwt
            .as_ref()
            .map(|said| jwt(said, roles, said.default_role.as_ref().and_then(named), tell)),
        cookies: realm.cookie.is_some(),
        ..Settings::default()
    };
    for (method, said) in methods(realm) {
        let default_role = said.default_role.as_ref().and_then(named);
        let dynamic = said.dynamic.as_ref().map(dynamic);
        *settings.method_mut(method) = authentication::MethodSettings { default_role, dynamic };
    }
    settings
}

/// The methods of which a realm says something.
pub fn methods(realm: &Realm) -> impl Iterator<Item = (Method, &MethodSettings)> {
    let methods = [
        (Method::Ticket, &realm.ticket),
        (Method::WampCra, &realm.wampcra),
        (Method::Scram, &realm.scram),
        (Method::Cryptosign, &realm.cryptosign),
        (Method::Tls, &realm.tls),
        (Method::Cookie, &realm.cookie),
    ];
    methods.into_iter().filter_map(|(method, settings)| Some((method, settings.as_ref()?)))
}

fn dynamic(said: &file::Dynamic) -> Arc<authentication::Dynamic> {
    Arc::new(authentication::Dynamic {
        procedure: said.procedure.clone(),
        realm: said.realm.clone(),
        timeout_ms: said.timeout_ms,
    })
}

fn principal(said: &file::Principal, role: Option<Arc<Role>>, tell: &Tell) -> Principal {
    let extra = said.extra.clone().map(|extra| serde_json::Value::Object(extra).to_string());
    let (fingerprints, subjects) = said
        .tls
        .as_ref()
        .map_or((&[][..], &[][..]), |tls| (tls.fingerprints.as_slice(), tls.subjects.as_slice()));
    Principal {
        authid: said.authid.as_str().into(),
        role,
        extra: extra.and_then(|extra| {
            let read = Extra::from_json(&extra);
            if read.is_none() {
                tell("extra", "write less deeply nested tables".to_owned());
            }
            read
        }),
        ticket: said.ticket.as_ref().and_then(|secret| ticket(secret, tell)),
        wampcra: said.wampcra.as_ref().and_then(wampcra),
        scram: said.scram.as_ref().and_then(|said| scram(said, tell)),
        keys: said.cryptosign_keys.iter().map(|key| (*key).into()).collect(),
        fingerprints: parsed(fingerprints, "tls.fingerprints", tell),
        subjects: parsed(subjects, "tls.subjects", tell),
    }
}

fn parsed<T: std::str::FromStr<Err: ToString>>(texts: &[String], key: &str, tell: &Tell) -> Vec<T> {
    let parse = |(index, text): (usize, &String)| {
        text.parse().map_err(|error: T::Err| tell(&format!("{key}[{index}]"), error.to_string())).ok()
    };
    texts.iter().enumerate().filter_map(parse).collect()
}

/// Secrets that were a mistake are empty, and told already.
fn ticket(secret: &Secret, tell: &Tell) -> Option<ticket::Stored> {
    let text = secret.text().filter(|text| !text.is_empty())?;
    ticket::Stored::read(text).map_err(|error| tell("ticket", error.to_string())).ok()
}

fn wampcra(said: &file::WampCra) -> Option<wampcra::Stored> {
    let salting = said.salt.clone().map(|salt| Salting {
        salt,
        iterations: said.iterations.try_into().unwrap_or(u32::MAX),
        keylen: said.keylen.try_into().unwrap_or(u32::MAX),
    });
    Some(wampcra::Stored { secret: said.secret.clone()?, salting })
}

fn scram(said: &file::Scram, tell: &Tell) -> Option<scram::Stored> {
    let kdf = match said.kdf {
        ScramKdf::Argon2id13 => Kdf::Argon2id13,
        ScramKdf::Argon2id13Text => Kdf::Argon2id13Text,
        ScramKdf::Pbkdf2 => Kdf::Pbkdf2,
    };
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let cost = Cost { kdf, iterations: number(said.iterations), memory_kib: number(said.memory) };
    let key = |key: &Option<Secret>| key.as_ref().and_then(Secret::text).unwrap_or_default().to_owned();
    let (stored_key, server_key) = (key(&said.stored_key), key(&said.server_key));
    if said.salt.is_empty() || stored_key.is_empty() || server_key.is_empty() {
        return None;
    }
    let stored = scram::Stored::read(cost, &said.salt, &stored_key, &zeroize::Zeroizing::new(server_key));
    let told = |error: ScramError| {
        let key = match error {
            ScramError::StoredKey => "scram.stored_key",
            ScramError::ServerKey => "scram.server_key",
            ScramError::Salt => "scram.salt",
            _ => "scram.iterations",
        };
        tell(key, format!("{error}; write it as `fanwire hash` shows it"));
    };
    stored.map_err(told).ok()
}

fn jwt(said: &Jwt, roles: &[Arc<Role>], default_role: Option<Arc<Role>>, tell: &Tell) -> authentication::Jwt {
    let secret = said.secret.clone().filter(|secret| !secret.is_empty());
    let said_right = |text: &&str| !text.is_empty();
    let keys = [
        ("jwt.secret", secret.map(Keys::from_secret)),
        ("jwt.public_key", said.public_key.as_deref().filter(said_right).map(Keys::from_pem)),
        ("jwt.jwks", said.jwks.as_deref().filter(said_right).map(Keys::from_jwks)),
    ];
    let keys = keys
        .into_iter()
        .filter_map(|(key, read)| read?.map_err(|error: KeysError| tell(key, error.to_string())).ok());
    authentication::Jwt {
        keys: keys.fold(Keys::default(), Keys::and),
        expected: Expected {
            issuers: said.issuer.iter().cloned().collect(),
            audiences: said.audience.iter().cloned().collect(),
            leeway_seconds: said.leeway_seconds,
            authid_claim: said.authid_claim.clone(),
            role_claim: said.role_claim.clone(),
        },
        roles: roles.to_vec(),
        default_role,
    }
}
