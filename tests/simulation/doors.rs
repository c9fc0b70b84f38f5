//! Realms that ask some who join to prove who they are, in some seeds: principals that are known here, and those whom
//! only an authority knows.

use std::sync::Arc;

use fanwire::auth::{Method, ticket, wampcra};
use fanwire::router::authentication::{self, Dynamic, Principal, Principals};
use fanwire::router::{RealmSettings, Role};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::chance::Chance;
use crate::plan::realm_name;

/// The procedure of authenticators.
pub const AUTHENTICATE: &str = "auth.authenticate";

/// How a realm lets somebody in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Door {
    /// The realm in which an authority knows principals, if one does.
    pub seat: Option<usize>,
    /// It is asked about those, too, who say nothing of themselves.
    pub asks_always: bool,
    pub timeout_ms: u64,
    pub challenge_ms: u64,
}

/// What a client does when it is asked to prove who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    Answers,
    /// It says nothing any more.
    Never,
    /// It sends something else.
    Misbehaves,
    Aborts,
    /// Its connection breaks.
    Breaks,
}

/// Who a client says it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    pub method: &'static str,
    pub authid: String,
    /// What it takes for the secret.
    pub secret: String,
    pub manner: Manner,
}

impl Login {
    /// Somebody who is known, or is known to an authority, or is not; with the right secret or not.
    pub fn draw(life: usize, chance: &mut Chance) -> Login {
        let authid = match chance.below(8) {
            0 | 1 => "plain".to_owned(),
            2 | 3 => "hashed".to_owned(),
            4 => "nobody".to_owned(),
            _ => format!("dynamic.{life}"),
        };
        let secret = if chance.percent(75) { secret(&authid) } else { "wrong".to_owned() };
        let method = if chance.percent(60) { "ticket" } else { "wampcra" };
        let manner = match chance.below(20) {
            0 | 1 => Manner::Never,
            2 => Manner::Misbehaves,
            3 => Manner::Aborts,
            4 => Manner::Breaks,
            _ => Manner::Answers,
        };
        Login { method, authid, secret, manner }
    }

    /// What the client answers to what it was asked.
    pub fn proof(&self, challenge: &str) -> String {
        match self.method {
            "ticket" => self.secret.clone(),
            _ => signature(&self.secret, challenge),
        }
    }
}

/// Who is known in every realm that has a door.
pub fn is_known(authid: &str) -> bool {
    matches!(authid, "plain" | "hashed")
}

/// What proves that somebody is who it says.
pub fn secret(authid: &str) -> String {
    format!("secret of {authid}")
}

/// What WAMP-CRA makes of a secret.
pub fn signature(secret: &str, challenge: &str) -> String {
    let mut hmac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("every length is a key's");
    hmac.update(challenge.as_bytes());
    base64_simd::STANDARD.encode_to_string(hmac.finalize().into_bytes())
}

impl Door {
    pub fn draw(realm: usize, realm_count: usize, challenge_ms: u64, chance: &mut Chance) -> Door {
        let seat = if chance.percent(75) { realm } else { chance.below(realm_count) };
        let seat = chance.percent(75).then_some(seat);
        Door {
            seat,
            asks_always: seat.is_some() && chance.percent(25),
            timeout_ms: [20, 200, 1_000, 5_000][chance.below(4)],
            challenge_ms,
        }
    }

    /// Puts the door into a realm.
    pub fn fit(&self, index: usize, realm: &mut RealmSettings) {
        let Some(role) = realm.anonymous().cloned() else { return };
        let mut settings = authentication::Settings::clone(&realm.authentication);
        settings.principals = Principals::new(["plain", "hashed"].map(|authid| principal(authid, &role)));
        let dynamic = self.seat.map(|seat| {
            let realm = (seat != index).then(|| realm_name(seat));
            let (procedure, timeout_ms) = (AUTHENTICATE.to_owned(), self.timeout_ms);
            Arc::new(Dynamic { procedure, realm, timeout_ms })
        });
        for method in [Method::Ticket, Method::WampCra] {
            settings.method_mut(method).dynamic = dynamic.clone();
        }
        if let Some(anonymous) = settings.anonymous.as_mut().filter(|_| self.asks_always) {
            anonymous.dynamic = dynamic;
        }
        realm.authentication = Arc::new(settings);
    }
}

/// One has a ticket that is compared at once, and the other one that is compared elsewhere.
fn principal(authid: &str, role: &Arc<Role>) -> Principal {
    let secret = secret(authid);
    let ticket = match authid {
        "plain" => ticket::Stored::read(&secret).expect("it is a ticket"),
        _ => {
            let kind = ticket::Kind::Argon2id { iterations: 1, memory_kib: 8 };
            let hashed = ticket::Hashed::new(&secret.as_str().into(), kind, [3; 16]);
            ticket::Stored::Hashed(hashed.expect("it costs little"))
        }
    };
    Principal {
        authid: authid.into(),
        role: Some(role.clone()),
        ticket: Some(ticket),
        wampcra: Some(wampcra::Stored { secret: secret.as_str().into(), salting: None }),
        ..Principal::default()
    }
}
