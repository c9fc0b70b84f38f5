//! Procedures that know principals: what they are asked and what they may answer, as Crossbar.io has it.
//!
//! One is called with `(realm, authid, details)`: where the client wants to join, who it says it is, if it does, and
//! `transport`, `session` (the identifier of the session to be), `authmethod`, `authextra` (null if it is longer than
//! [`EXTRA_BYTES_MAX`](super::EXTRA_BYTES_MAX)), `authid`, `authrole` and, for tickets, `ticket`.
//!
//! Its result is one argument: a role, or a dictionary with `role` (or else it is the default role of the method),
//! `realm` (somewhere else to join), `authid`, `extra` (what WELCOME says in `authextra`), and what proves it by the
//! method: `secret`, `salt`, `iterations` and `keylen`; `pubkey`, or `authorized_keys`; `salt`, `iterations`, `memory`,
//! `kdf`, `stored-key` and `server-key`. Other keys mean nothing, as there. The role that a client asks for is one of
//! the things that a procedure is told: what it says counts.
//!
//! An ERROR of it refuses the client, which is told its URI and the text that is its first argument, as there: so it is
//! for the procedure to say no more than everybody may know. Crossbar.io makes a text of whatever that argument is;
//! here other values are not told, since only a text is meant to be read by people. Of `wamp.error.runtime_error`,
//! which is what libraries make of any exception, nothing is told: many procedures refuse by raising one, and its text
//! was written for their authors.

use std::sync::Arc;

use super::{Claim, Extra, Principal, Question};
use crate::auth::cryptosign::PublicKey;
use crate::auth::scram::{self, Cost, Kdf};
use crate::auth::wampcra::{self, Salting};
use crate::auth::{Method, Secret, base64, unhex};
use crate::codec;
use crate::codec::payload::{self, OwnedPayload};
use crate::router::authorization::dynamic::Cause;
use crate::router::letter::Outcome;
use crate::router::peer::Peer;
use crate::wamp::{Dict, Payload, Serializer, Value, reason};

/// Octets of an error's text that a client is told.
const TEXT_BYTES_MAX: usize = 512;

/// Iterations and length of a salted secret of which nothing else is said.
const SALTED: (u32, u32) = (1000, 32);

/// Rounds of PBKDF2 that a shard does for a secret that is said as a password: milliseconds, and before anybody has
/// proved anything. What is derived already may have taken as many as the back end likes.
const DERIVED_ROUNDS_MAX: u32 = 10_000;

/// Who it is.
#[derive(Clone, Default, Debug)]
pub struct Said {
    /// Where it joins, if somewhere else.
    pub realm: Option<Box<str>>,
    /// The name of its role.
    pub role: Option<Box<str>>,
    /// Its name, if another.
    pub authid: Option<Box<str>>,
    /// The rest, without role and name.
    pub principal: Principal,
}

/// Why it may not join.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotSaid {
    /// The procedure has refused it, with this error and text.
    Refused(Box<str>, Option<Box<str>>),
    /// There was no answer.
    Unanswered(Cause),
}

/// The arguments of the call. None if they have no form in the router's serializer.
pub fn arguments(peer: &Peer, realm: &str, question: &Question) -> Option<OwnedPayload> {
    let Question { named, claim, ticket, session, .. } = question;
    let Claim { authid, authrole, extra, .. } = claim;
    let text = |text: &Option<Box<str>>| {
        text.as_deref().map_or(Value::Null, |text| Value::Text(text.to_owned().into()))
    };
    peer.transport_facts()?.details(|transport| {
        let mut details = vec![
            ("transport", Value::Dict(transport)),
            ("session", Value::Unsigned(session.0)),
            ("authmethod", Value::text(named.name)),
            ("authextra", extra.as_ref().and_then(Extra::dict).map_or(Value::Null, Value::Dict)),
            ("authid", text(authid)),
            ("authrole", text(authrole)),
        ];
        if let Some(ticket) = ticket.as_ref().and_then(Secret::text) {
            details.push(("ticket", Value::text(ticket)));
        }
        let arguments = [Value::text(realm), text(authid), Value::Dict(Dict::Pairs(&details))];
        OwnedPayload::from_values(Serializer::MessagePack, &arguments, &[]).ok()
    })
}

/// What has come of the call.
pub fn said(method: Method, outcome: &Outcome) -> Result<Said, NotSaid> {
    match outcome {
        Outcome::Result { payload, .. } => {
            read(method, payload.borrow()).map_err(|wrong| NotSaid::Unanswered(Cause::Result(wrong)))
        }
        Outcome::Error { error, payload, .. } => Err(NotSaid::Refused(error.clone(), told(payload.borrow()))),
        Outcome::Declined { .. } => Err(NotSaid::Unanswered(Cause::Error(reason::UNAVAILABLE.into()))),
        Outcome::Refused(refusal) => Err(NotSaid::Unanswered(Cause::Refused(*refusal))),
    }
}

/// What libraries make of an exception.
const RUNTIME_ERROR: &str = "wamp.error.runtime_error";

/// True for an error whose text is for nobody else.
pub fn is_private(error: &str) -> bool {
    error == RUNTIME_ERROR
}

/// True for an error by which a procedure does not refuse anybody, but says that it cannot tell: it was not called as
/// it should be, or has too much to do. An exception counts as a refusal, and so as a guess: if it was none, nobody
/// could have joined anyway.
pub fn is_own_failure(error: &str) -> bool {
    [
        reason::CANCELED,
        reason::INVALID_ARGUMENT,
        reason::NO_AVAILABLE_CALLEE,
        reason::NO_SUCH_PROCEDURE,
        reason::PAYLOAD_SIZE_EXCEEDED,
        reason::TIMEOUT,
        reason::UNAVAILABLE,
    ]
    .contains(&error)
}

fn first(payload: Payload<'_>) -> Option<Value<'_>> {
    match payload::values(payload).0 {
        Value::List(arguments) => codec::items(&arguments).next(),
        _ => None,
    }
}

/// The text of an error, as far as it is told.
fn told(payload: Payload<'_>) -> Option<Box<str>> {
    let Some(Value::Text(text)) = first(payload) else { return None };
    let end = text.floor_char_boundary(TEXT_BYTES_MAX.min(text.len()));
    Some(text[..end].into())
}

fn read(method: Method, result: Payload<'_>) -> Result<Said, &'static str> {
    match first(result) {
        Some(Value::Text(role)) => {
            let said = Said { role: Some(role.into()), ..Said::default() };
            complete(method, said, Proofs::default())
        }
        Some(Value::Dict(dict)) => read_dict(method, &dict),
        _ => Err("it is neither a role nor a dictionary"),
    }
}

/// What of a result may prove something, as it is written.
#[derive(Default)]
struct Proofs {
    secret: Option<Box<str>>,
    salt: Option<Box<str>>,
    iterations: Option<u32>,
    keylen: Option<u32>,
    memory: Option<u32>,
    kdf: Option<Kdf>,
    stored_key: Option<Box<str>>,
    server_key: Option<Box<str>>,
    keys: Vec<PublicKey>,
}

fn read_dict(method: Method, dict: &Dict<'_>) -> Result<Said, &'static str> {
    let (mut said, mut proofs) = (Said::default(), Proofs::default());
    for (key, value) in codec::entries(dict) {
        match (&*key, &value) {
            (_, Value::Null) => {}
            ("realm", _) => said.realm = text(&value, "realm is a text")?,
            ("role", _) => said.role = text(&value, "role is a text")?,
            ("authid", _) => said.authid = text(&value, "authid is a text")?,
            ("extra", Value::Dict(extra)) => {
                said.principal.extra = Some(Extra::copy(extra).ok_or("extra is too long")?);
            }
            ("extra", _) => return Err("extra is a dictionary"),
            ("secret", _) => proofs.secret = text(&value, "secret is a text")?,
            ("salt", _) => proofs.salt = text(&value, "salt is a text")?,
            ("stored-key" | "stored_key", _) => proofs.stored_key = text(&value, "stored-key is a text")?,
            ("server-key" | "server_key", _) => proofs.server_key = text(&value, "server-key is a text")?,
            ("iterations", _) => proofs.iterations = Some(number(&value)?),
            ("keylen", _) => proofs.keylen = Some(number(&value)?),
            ("memory", _) => proofs.memory = Some(number(&value)?),
            ("kdf", Value::Text(name)) => proofs.kdf = Some(Kdf::from_name(name).ok_or("kdf is not known")?),
            ("pubkey", _) => proofs.keys.push(public_key(&value)?),
            ("authorized_keys", Value::List(keys)) => {
                for key in codec::items(keys) {
                    proofs.keys.push(public_key(&key)?);
                }
            }
            _ => {}
        }
    }
    complete(method, said, proofs)
}

/// Takes what proves it by that method.
fn complete(method: Method, mut said: Said, proofs: Proofs) -> Result<Said, &'static str> {
    let principal = &mut said.principal;
    match method {
        Method::WampCra => principal.wampcra = Some(wampcra(proofs)?),
        Method::Scram => principal.scram = Some(scram(proofs)?),
        Method::Cryptosign if proofs.keys.is_empty() => return Err("it has no pubkey"),
        Method::Cryptosign => principal.keys = proofs.keys,
        Method::Anonymous | Method::Cookie | Method::Ticket | Method::Tls => {}
    }
    Ok(said)
}

fn wampcra(proofs: Proofs) -> Result<wampcra::Stored, &'static str> {
    let secret = Secret::from(&*proofs.secret.ok_or("it has no secret")?);
    let salting = proofs.salt.map(|salt| Salting {
        salt: salt.into(),
        iterations: proofs.iterations.unwrap_or(SALTED.0),
        keylen: proofs.keylen.unwrap_or(SALTED.1),
    });
    // Back ends of Crossbar.io answer with what is derived, or with the password: see there.
    wampcra::Stored::of_crossbar(secret, salting, DERIVED_ROUNDS_MAX)
        .map_err(|_| "its secret is a password, and too much work to derive of; say what is derived of it")
}

/// The salt is hexadecimal, or else base64.
fn scram(proofs: Proofs) -> Result<scram::Stored, &'static str> {
    let missing = "salt, iterations, kdf, stored-key and server-key are needed, and memory for Argon2";
    let salt = proofs.salt.ok_or(missing)?;
    let salt = octets(&salt).map_or_else(|| salt.into_string(), |octets| base64(&octets));
    let cost = Cost {
        kdf: proofs.kdf.ok_or(missing)?,
        iterations: proofs.iterations.ok_or(missing)?,
        memory_kib: proofs.memory.unwrap_or_default(),
    };
    let (stored_key, server_key) = (proofs.stored_key.ok_or(missing)?, proofs.server_key.ok_or(missing)?);
    scram::Stored::read(cost, &salt, &stored_key, &server_key)
        .map_err(|_| "salt, iterations, memory, stored-key or server-key cannot be right")
}

/// Octets of any number in hexadecimal digits.
fn octets(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| unhex::<1>(std::str::from_utf8(pair).ok()?).map(|[octet]| octet);
    text.as_bytes().chunks(2).map(pair).collect()
}

fn text(value: &Value<'_>, wrong: &'static str) -> Result<Option<Box<str>>, &'static str> {
    match value {
        Value::Text(text) => Ok(Some((&**text).into())),
        _ => Err(wrong),
    }
}

fn number(value: &Value<'_>) -> Result<u32, &'static str> {
    let number = match value {
        Value::Unsigned(number) => u32::try_from(*number).ok(),
        _ => None,
    };
    number.ok_or("iterations, keylen and memory are whole numbers")
}

fn public_key(value: &Value<'_>) -> Result<PublicKey, &'static str> {
    let octets = match value {
        Value::Text(text) => unhex::<32>(text),
        _ => None,
    };
    octets.map(PublicKey::from).ok_or("a public key is 64 hexadecimal digits")
}

impl Said {
    /// The principal that it is about, if it has a name, with this role.
    pub fn principal(
        self,
        claimed: Option<&str>,
        role: Option<Arc<crate::router::Role>>,
    ) -> Option<Principal> {
        let authid = self.authid.or_else(|| claimed.map(Box::from)).filter(|authid| !authid.is_empty())?;
        Some(Principal { authid, role, ..self.principal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_in_json(method: Method, arguments: &str) -> Result<Said, &'static str> {
        read(method, OwnedPayload::from_json(Some(arguments), None).unwrap().borrow())
    }

    #[test]
    fn a_role_may_stand_for_all() {
        let said = said_in_json(Method::Ticket, r#"["backend"]"#).unwrap();
        assert_eq!((said.role.as_deref(), said.realm, said.authid), (Some("backend"), None, None));
        let all = r#"[{"role":"r","realm":"other","authid":"a","extra":{"x":1},"unknown":7}]"#;
        let said = said_in_json(Method::Anonymous, all).unwrap();
        assert_eq!((said.role.as_deref(), said.realm.as_deref()), (Some("r"), Some("other")));
        let principal = said.principal(Some("claimed"), None).unwrap();
        assert_eq!((&*principal.authid, principal.extra.unwrap().entries().count()), ("a", 1));
        assert!(Said::default().principal(None, None).is_none());
        assert_eq!(&*Said::default().principal(Some("claimed"), None).unwrap().authid, "claimed");
        for wrong in ["[]", "[1]", "[null]", "[true]", r#"[{"role":1}]"#, r#"[{"extra":[]}]"#] {
            assert!(said_in_json(Method::Ticket, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_method_needs_what_proves_it() {
        let wampcra =
            |dict: &str| said_in_json(Method::WampCra, dict).map(|said| said.principal.wampcra.unwrap());
        assert!(wampcra(r#"[{"secret":"s"}]"#).unwrap().salting.is_none());
        let salting = wampcra(r#"[{"secret":"s","salt":"t"}]"#).unwrap().salting.unwrap();
        assert_eq!((&*salting.salt, salting.iterations, salting.keylen), ("t", 1000, 32));
        let salting = wampcra(r#"[{"secret":"s","salt":"t","iterations":5,"keylen":16}]"#).unwrap().salting;
        assert_eq!(salting.map(|salting| (salting.iterations, salting.keylen)), Some((5, 16)));
        for wrong in
            [r#"["role"]"#, r#"[{"salt":"t"}]"#, r#"[{"secret":1}]"#, r#"[{"secret":"s","keylen":-1}]"#]
        {
            assert!(wampcra(wrong).is_err(), "{wrong}");
        }
        // What is derived of a password is derived by the back end, if it is much work.
        let derived = base64(&[7; 32]);
        for (secret, iterations, taken) in
            [("s", 10_000, true), ("s", 10_001, false), (&*derived, 1_000_000, true)]
        {
            let said = format!(r#"[{{"secret":"{secret}","salt":"t","iterations":{iterations}}}]"#);
            assert_eq!(wampcra(&said).is_ok(), taken, "{said}");
        }
        let key = "0f".repeat(32);
        let keys = |dict: &str| said_in_json(Method::Cryptosign, dict).map(|said| said.principal.keys.len());
        assert_eq!(keys(&format!(r#"[{{"pubkey":"{key}"}}]"#)), Ok(1));
        assert_eq!(keys(&format!(r#"[{{"authorized_keys":["{key}","{key}"]}}]"#)), Ok(2));
        assert!(keys("[{}]").is_err() && keys(r#"[{"pubkey":"0f"}]"#).is_err());
    }

    #[test]
    fn scram_is_written_as_crossbar_does() {
        let hex = "0f".repeat(32);
        let all = format!(
            r#"[{{"salt":"0102030405060708","iterations":4096,"memory":null,"kdf":"pbkdf2","stored-key":"{hex}","server-key":"{hex}"}}]"#
        );
        let stored = said_in_json(Method::Scram, &all).unwrap().principal.scram.unwrap();
        assert_eq!((stored.salt(), stored.cost().iterations), ("AQIDBAUGBwg=".to_owned(), 4096));
        assert!(said_in_json(Method::Scram, &all.replace("pbkdf2", "md5")).is_err());
        assert!(said_in_json(Method::Scram, &all.replace("\"iterations\":4096,", "")).is_err());
    }

    #[test]
    fn an_error_is_told_with_its_text() {
        let error = |arguments: &str| Outcome::Error {
            error: "com.example.no".into(),
            attributes: None,
            payload: OwnedPayload::from_json(Some(arguments), None).unwrap(),
        };
        let refused = |text: Option<&str>| NotSaid::Refused("com.example.no".into(), text.map(Box::from));
        assert_eq!(said(Method::Ticket, &error(r#"["why"]"#)).unwrap_err(), refused(Some("why")));
        assert_eq!(said(Method::Ticket, &error("[7]")).unwrap_err(), refused(None));
        let long = format!(r#"["{}"]"#, "ü".repeat(1_000));
        let NotSaid::Refused(_, Some(text)) = said(Method::Ticket, &error(&long)).unwrap_err() else {
            panic!()
        };
        assert_eq!(text.len(), TEXT_BYTES_MAX);
    }
}
