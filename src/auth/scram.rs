//! WAMP-SCRAM: a password that neither travels nor is kept, with a proof of both sides.
//!
//! ```text
//!   HELLO          client nonce, channel binding       (client-first)
//!   CHALLENGE      both nonces, salt, cost             (server-first)
//!   AUTHENTICATE   client proof                        (client-final)
//!   WELCOME        verifier: the router's signature    (server-final)
//! ```
//!
//! An [`Exchange`] is what both sides have seen of it; out of it they make the same *AuthMessage*, which is signed.
//!
//! Crossbar.io and Autobahn speak a [`Dialect`] under the name `scram`. Their Argon2 is another one as well: what they
//! go on with is not the derived key but its text in base64. That is a derivation of its own here ([`Kdf`]), with the
//! name that they give it, so what a principal's keys were made by can always be told from its stored form.
//!
//! Invariants: a client derives no key at a cost out of range, too cheap ones included; AuthMessage is unambiguous, as
//! nonces are base64 and names are escaped.
//!
//! Spec: advanced profile, "Salted Challenge Response Authentication"; RFC 5802, section 3; RFC 7677.

use std::borrow::Cow;
use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::binding::ChannelBinding;
use super::encoding::{base64, unbase64, unhex};
use super::hash::{
    CostOutOfRange, PBKDF2_ITERATIONS_MAX, SALT_BYTES_MAX, argon2id, check_argon2id, hmac_sha256, pbkdf2,
    sha256,
};
use super::secret::Secret;
use super::wampcra::unbase64_digest;
use crate::wamp::Value;

/// Characters of a nonce: 16 octets are 24, both nonces 48.
const NONCE_BYTES_MAX: usize = 512;

/// Rounds of PBKDF2 that a client asks for at least (RFC 7677, section 4).
const PBKDF2_ITERATIONS_MIN: u32 = 4096;

/// KiB that a client's Argon2 walks over at least: some milliseconds.
const ARGON2_WORK_KIB_MIN: u64 = 4096;

/// Octets of the salts that are made here.
const SALT_BYTES: usize = 16;

/// Which of its names the method goes by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dialect {
    /// `wamp-scram`, as specified.
    Specified,
    /// `scram`: no channel binding, names are not escaped, and AUTHENTICATE has nothing but the proof.
    Crossbar,
}

impl Dialect {
    /// The dialect spoken under that name of a method.
    pub fn from_authmethod(name: &str) -> Option<Dialect> {
        [Dialect::Specified, Dialect::Crossbar].into_iter().find(|dialect| dialect.authmethod() == name)
    }

    /// The method's name.
    pub fn authmethod(self) -> &'static str {
        match self {
            Dialect::Specified => "wamp-scram",
            Dialect::Crossbar => "scram",
        }
    }
}

/// How a key is derived of a password.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kdf {
    /// `pbkdf2`: PBKDF2 with HMAC-SHA256.
    Pbkdf2,
    /// `argon2id13`: Argon2id.
    Argon2id13,
    /// `argon2id-13`: the base64 text, without padding, of what Argon2id derives. Autobahn's.
    Argon2id13Text,
}

impl Kdf {
    /// The derivation of that name.
    pub fn from_name(name: &str) -> Option<Kdf> {
        [Kdf::Pbkdf2, Kdf::Argon2id13, Kdf::Argon2id13Text].into_iter().find(|kdf| kdf.name() == name)
    }

    /// The name in `kdf`.
    pub fn name(self) -> &'static str {
        match self {
            Kdf::Pbkdf2 => "pbkdf2",
            Kdf::Argon2id13 => "argon2id13",
            Kdf::Argon2id13Text => "argon2id-13",
        }
    }
}

/// A derivation, and how much work it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// The derivation.
    pub kdf: Kdf,
    /// Rounds.
    pub iterations: u32,
    /// KiB of memory; of no account for PBKDF2.
    pub memory_kib: u32,
}

impl Cost {
    /// What `fanwire hash` takes if it is not told: some tenths of a second, and memory that browsers can spare.
    pub const DEFAULT: Cost = Cost { kdf: Kdf::Argon2id13, iterations: 3, memory_kib: 32 * 1024 };

    /// Whether somebody can derive a key so.
    fn check(self, salt: &[u8]) -> Result<(), CostOutOfRange> {
        match self.kdf {
            Kdf::Pbkdf2 => {
                let salted = (1..=SALT_BYTES_MAX).contains(&salt.len());
                let rounds = (1..=PBKDF2_ITERATIONS_MAX).contains(&self.iterations);
                if salted && rounds { Ok(()) } else { Err(CostOutOfRange) }
            }
            Kdf::Argon2id13 | Kdf::Argon2id13Text => check_argon2id(salt, self.iterations, self.memory_kib),
        }
    }

    /// Whether it is so little work that the one who asks for it may be after the password.
    fn is_cheap(self) -> bool {
        match self.kdf {
            Kdf::Pbkdf2 => self.iterations < PBKDF2_ITERATIONS_MIN,
            Kdf::Argon2id13 | Kdf::Argon2id13Text => {
                u64::from(self.iterations) * u64::from(self.memory_kib) < ARGON2_WORK_KIB_MIN
            }
        }
    }

    fn salted_password(self, password: &Secret, salt: &[u8]) -> Result<Zeroizing<Vec<u8>>, ScramError> {
        self.check(salt)?;
        let argon2id = |password: &[u8]| argon2id(password, salt, self.iterations, self.memory_kib);
        Ok(match self.kdf {
            Kdf::Pbkdf2 => pbkdf2(&normalized(password)?, salt, self.iterations, 32)?,
            Kdf::Argon2id13 => Zeroizing::new(argon2id(&normalized(password)?)?.to_vec()),
            Kdf::Argon2id13Text => {
                let mut text = Zeroizing::new(base64(argon2id(password.expose())?.as_slice()));
                let unpadded = text.trim_end_matches('=').len();
                text.truncate(unpadded);
                Zeroizing::new(std::mem::take(&mut *text).into_bytes())
            }
        })
    }
}

/// Why there is no answer to a challenge, or no stored form of a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScramError {
    /// The password holds what SASLprep forbids, or is no text.
    Password,
    /// The name does.
    Authid,
    /// The derivation is none that there is.
    Kdf,
    /// The salt is not base64, or too short or long.
    Salt,
    /// The work asked for is out of range.
    Cost,
    /// So little work is asked for that the password could be guessed from the answer.
    Cheap,
    /// The nonce does not begin with the client's, or has nothing of the router's own.
    Nonce,
    /// `stored_key` is not 32 octets, in base64 or hexadecimal.
    StoredKey,
    /// `server_key` is not.
    ServerKey,
}

impl From<CostOutOfRange> for ScramError {
    fn from(_: CostOutOfRange) -> ScramError {
        ScramError::Cost
    }
}

impl fmt::Display for ScramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ScramError::Password => "the password holds characters that passwords cannot have",
            ScramError::Authid => "the authid holds characters that names cannot have",
            ScramError::Kdf => "kdf is none of pbkdf2, argon2id13 and argon2id-13",
            ScramError::Salt => "salt is not canonical base64 of 8 to 256 octets",
            ScramError::Cost => "iterations, memory or salt are out of range",
            ScramError::Cheap => "iterations and memory are so low that the password could be guessed",
            ScramError::Nonce => "the nonce does not go on from the client's",
            ScramError::StoredKey => "stored_key is not 32 octets in base64",
            ScramError::ServerKey => "server_key is not 32 octets in base64",
        })
    }
}

impl std::error::Error for ScramError {}

/// What the router keeps of a principal: nothing that could answer a challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    cost: Cost,
    salt: Vec<u8>,
    /// The digest of the key that makes proofs.
    stored_key: [u8; 32],
    /// The key that makes the router's own signature.
    server_key: Secret,
}

impl Stored {
    /// Derives what is kept of a password. The salt is this principal's alone.
    pub fn new(password: &Secret, salt: [u8; SALT_BYTES], cost: Cost) -> Result<Stored, ScramError> {
        let keys = Keys::derive(password, &salt, cost)?;
        let server_key = Secret::new(keys.server.to_vec());
        Ok(Stored { cost, salt: salt.to_vec(), stored_key: sha256(keys.client.as_slice()), server_key })
    }

    /// Reads the text form: the salt in base64, the keys in base64 or hexadecimal.
    pub fn read(cost: Cost, salt: &str, stored_key: &str, server_key: &str) -> Result<Stored, ScramError> {
        let salt = unbase64(salt).filter(|salt| !salt.is_empty()).ok_or(ScramError::Salt)?;
        cost.check(&salt)?;
        let key = |text: &str| unhex(text).or_else(|| unbase64_digest(text));
        let stored_key = key(stored_key).ok_or(ScramError::StoredKey)?;
        let server_key = Zeroizing::new(key(server_key).ok_or(ScramError::ServerKey)?);
        Ok(Stored { cost, salt, stored_key, server_key: Secret::new(server_key.to_vec()) })
    }

    /// Stands in for a principal that there is not. `key` is a secret of the router that stays the same, the cost and
    /// the length of the salt those of another of its principals.
    pub fn decoy(key: &Secret, authid: &str, like: &Stored) -> Stored {
        let random =
            |label: &str| hmac_sha256(key.expose(), format!("wamp-scram {label} {authid}").as_bytes());
        let salt = (0..).flat_map(|block| random(&format!("salt {block}")));
        Stored {
            cost: like.cost,
            salt: salt.take(like.salt.len()).collect(),
            stored_key: random("stored key"),
            server_key: Secret::new(random("server key").to_vec()),
        }
    }

    /// The work of the client.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// The salt as it is sent and written.
    pub fn salt(&self) -> String {
        base64(&self.salt)
    }

    /// `stored_key` as it is written.
    pub fn stored_key(&self) -> String {
        base64(&self.stored_key)
    }

    /// `server_key` as it is written.
    pub fn server_key(&self) -> Zeroizing<String> {
        Zeroizing::new(base64(self.server_key.expose()))
    }
}

/// What both sides have seen of an exchange when the client makes its proof.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// Whose rules.
    pub dialect: Dialect,
    /// `HELLO.Details.authid`
    pub authid: &'a str,
    /// `HELLO.Details.authextra.nonce`
    pub client_nonce: &'a str,
    /// `CHALLENGE.Extra.nonce`
    pub nonce: &'a str,
    /// `CHALLENGE.Extra.salt`
    pub salt: &'a str,
    /// `CHALLENGE.Extra.kdf`, `iterations` and `memory`
    pub cost: Cost,
    /// What this side knows of the connection, if `HELLO.Details.authextra.channel_binding` asks for it.
    pub binding: Option<&'a ChannelBinding>,
}

/// What AUTHENTICATE says.
#[derive(Clone, Copy, Default, Debug)]
pub struct Response<'a> {
    /// `Signature`
    pub proof: &'a str,
    /// `Extra.nonce`
    pub nonce: Option<&'a str>,
    /// `Extra.channel_binding`
    pub channel_binding: Option<&'a str>,
    /// `Extra.cbind_data`
    pub cbind_data: Option<&'a str>,
}

impl Exchange<'_> {
    /// `CHALLENGE.Extra`
    pub fn challenge(&self) -> Vec<(&'static str, Value<'_>)> {
        let memory = match (self.cost.kdf, self.dialect) {
            (Kdf::Pbkdf2, Dialect::Specified) => Some(Value::Null),
            // Autobahn takes null for a number.
            (Kdf::Pbkdf2, Dialect::Crossbar) => None,
            _ => Some(Value::Unsigned(self.cost.memory_kib.into())),
        };
        let mut extra = vec![
            ("nonce", Value::text(self.nonce)),
            ("salt", Value::text(self.salt)),
            ("kdf", Value::text(self.cost.kdf.name())),
            ("iterations", Value::Unsigned(self.cost.iterations.into())),
        ];
        extra.extend(memory.map(|memory| ("memory", memory)));
        extra
    }

    /// The router's signature if the client has proved that it knows the password, in base64.
    pub fn verify(&self, stored: &Stored, response: &Response<'_>) -> Option<String> {
        let bound = match self.dialect {
            Dialect::Specified => response.nonce == Some(self.nonce) && self.is_bound(response),
            Dialect::Crossbar => response.nonce.is_none_or(|nonce| nonce == self.nonce),
        };
        let proof = unbase64_digest(response.proof)?;
        let message = self.auth_message()?;
        let client_key = Zeroizing::new(xor(hmac_sha256(&stored.stored_key, &message), &proof));
        let proved: bool = sha256(client_key.as_slice()).ct_eq(&stored.stored_key).into();
        (bound && proved).then(|| base64(&hmac_sha256(stored.server_key.expose(), &message)))
    }

    /// The client's proof.
    pub fn answer(&self, password: &Secret) -> Result<Answer, ScramError> {
        let own = self.nonce.strip_prefix(self.client_nonce).filter(|_| !self.client_nonce.is_empty());
        if own.is_none_or(str::is_empty) || self.nonce.len() > NONCE_BYTES_MAX {
            return Err(ScramError::Nonce);
        }
        if self.cost.is_cheap() {
            return Err(ScramError::Cheap);
        }
        let salt = unbase64(self.salt).ok_or(ScramError::Salt)?;
        let message = self.auth_message().ok_or(ScramError::Authid)?;
        let keys = Keys::derive(password, &salt, self.cost)?;
        let signature = hmac_sha256(&sha256(keys.client.as_slice()), &message);
        Ok(Answer {
            proof: base64(&xor(signature, &keys.client)),
            server_signature: hmac_sha256(keys.server.as_slice(), &message),
        })
    }

    /// `AUTHENTICATE.Extra`
    pub fn response(&self) -> Vec<(&'static str, Value<'static>)> {
        if self.dialect == Dialect::Crossbar {
            return Vec::new();
        }
        let owned = |text: String| Value::Text(Cow::Owned(text));
        let (name, data) = match self.binding {
            Some(bound) => (Value::text(bound.binding.name()), owned(base64(&bound.octets))),
            None => (Value::Null, Value::Null),
        };
        vec![("nonce", owned(self.nonce.to_owned())), ("channel_binding", name), ("cbind_data", data)]
    }

    fn is_bound(&self, response: &Response<'_>) -> bool {
        match (self.binding, response.channel_binding, response.cbind_data) {
            (None, None, None) => true,
            (Some(bound), Some(name), Some(data)) => {
                name == bound.binding.name() && unbase64(data).is_some_and(|data| data == bound.octets)
            }
            _ => false,
        }
    }

    /// None if the name can be nobody's.
    fn auth_message(&self) -> Option<Vec<u8>> {
        let authid = stringprep::saslprep(self.authid).ok()?;
        let (authid, bound) = match self.dialect {
            Dialect::Specified => (escaped(&authid), base64(&self.bound_octets())),
            Dialect::Crossbar => (authid, String::new()),
        };
        let Exchange { client_nonce, nonce, salt, .. } = self;
        let iterations = self.cost.iterations;
        let text =
            format!("n={authid},r={client_nonce},r={nonce},s={salt},i={iterations},c={bound},r={nonce}");
        Some(text.into_bytes())
    }

    /// The header of GS2 (RFC 5802, section 7), and what is bound.
    fn bound_octets(&self) -> Vec<u8> {
        match self.binding {
            None => b"n,,".to_vec(),
            Some(bound) => [format!("p={},,", bound.binding.name()).as_bytes(), &bound.octets].concat(),
        }
    }
}

/// True if that is a nonce that a client may send.
pub fn is_client_nonce(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.len() <= NONCE_BYTES_MAX / 2 && unbase64(nonce).is_some()
}

/// What the client sends, and what it expects.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The proof, as it stands in AUTHENTICATE.
    pub proof: String,
    server_signature: [u8; 32],
}

impl Answer {
    /// True if that, out of WELCOME, is the signature of a router that knows the principal: base64, with or without
    /// the `v=` of SCRAM's messages.
    pub fn accepts(&self, verifier: &str) -> bool {
        let signature = unbase64_digest(verifier.strip_prefix("v=").unwrap_or(verifier));
        signature.is_some_and(|signature| signature.ct_eq(&self.server_signature).into())
    }
}

/// What is derived of a password.
struct Keys {
    client: Zeroizing<[u8; 32]>,
    server: Zeroizing<[u8; 32]>,
}

impl Keys {
    fn derive(password: &Secret, salt: &[u8], cost: Cost) -> Result<Keys, ScramError> {
        let salted = cost.salted_password(password, salt)?;
        Ok(Keys {
            client: Zeroizing::new(hmac_sha256(&salted, b"Client Key")),
            server: Zeroizing::new(hmac_sha256(&salted, b"Server Key")),
        })
    }
}

fn normalized(password: &Secret) -> Result<Zeroizing<Vec<u8>>, ScramError> {
    let text = password.text().ok_or(ScramError::Password)?;
    let normalized = stringprep::saslprep(text).map_err(|_| ScramError::Password)?;
    Ok(Zeroizing::new(normalized.into_owned().into_bytes()))
}

/// A name as it stands in AuthMessage (RFC 5802, section 5.1).
fn escaped(name: &str) -> Cow<'static, str> {
    Cow::Owned(name.replace('=', "=3D").replace(',', "=2C"))
}

fn xor(mut one: [u8; 32], other: &[u8; 32]) -> [u8; 32] {
    one.iter_mut().zip(other).for_each(|(one, other)| *one ^= other);
    one
}

#[cfg(test)]
mod tests {
    use super::super::binding::BindingType;
    use super::super::encoding::hex;
    use super::*;

    const NONCE: &str = "egVDf3DMJh0=";
    const BOTH: &str = "egVDf3DMJh0=SBmkFIh7sSo=";
    const PBKDF2: Cost = Cost { kdf: Kdf::Pbkdf2, iterations: 4096, memory_kib: 0 };

    fn pencil() -> Secret {
        Secret::from("pencil")
    }

    fn stored() -> Stored {
        Stored::new(&pencil(), [7; 16], PBKDF2).unwrap()
    }

    fn exchange(salt: &str) -> Exchange<'_> {
        Exchange {
            dialect: Dialect::Specified,
            authid: "user",
            client_nonce: NONCE,
            nonce: BOTH,
            salt,
            cost: PBKDF2,
            binding: None,
        }
    }

    /// RFC 7677, section 3.
    #[test]
    fn the_proofs_of_both_sides_are_those_of_the_rfc() {
        let salt = "W22ZaJ0SNY7soEsUEjb6gQ==";
        let exchange = Exchange {
            client_nonce: "rOprNGfwEbeRWgbNEkqO",
            nonce: "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            ..exchange(salt)
        };
        let answer = exchange.answer(&pencil()).unwrap();
        assert_eq!(answer.proof, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        assert!(answer.accepts("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(answer.accepts("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        for wrong in ["", "v=", "v=v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", &answer.proof] {
            assert!(!answer.accepts(wrong), "{wrong}");
        }
        let salt = unbase64(salt).unwrap().try_into().unwrap();
        let stored = Stored::new(&pencil(), salt, PBKDF2).unwrap();
        let response = Response { proof: &answer.proof, nonce: Some(exchange.nonce), ..Response::default() };
        let verifier = exchange.verify(&stored, &response);
        assert_eq!(verifier.as_deref(), Some("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    }

    /// What Autobahn derives of `secret123`.
    #[test]
    fn autobahns_argon2_goes_on_with_the_text_of_the_key() {
        let salt = unhex("ae1f0d2f422757809077785e660b62c6").unwrap();
        let cost = Cost { kdf: Kdf::Argon2id13Text, iterations: 4096, memory_kib: 512 };
        let stored = Stored::new(&Secret::from("secret123"), salt, cost).unwrap();
        let stored_key = "5f19358ff6f38e267b6ef1ea1d862514ec4e8745a84682259fd3894be09febb5";
        let server_key = "0d8e7e9222a7c0e54c9e979aa342115699ff5696c45dc379b5ee241338a5861d";
        assert_eq!(hex(&stored.stored_key), stored_key);
        assert_eq!(Stored::read(cost, &base64(&salt), stored_key, server_key), Ok(stored));
    }

    /// RFC 9106 has vectors with a secret and associated data only; this is one of the reference implementation.
    #[test]
    fn argon2id_is_that_of_the_reference() {
        let key = argon2id(b"password", b"somesalt", 2, 256).unwrap();
        assert_eq!(hex(key.as_slice()), "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe");
    }

    #[test]
    fn every_derivation_and_dialect_proves_and_is_proved() {
        let bindings =
            [None, Some(ChannelBinding { binding: BindingType::TlsExporter, octets: vec![9; 32] })];
        for kdf in [Kdf::Pbkdf2, Kdf::Argon2id13, Kdf::Argon2id13Text] {
            let (iterations, memory_kib) = if kdf == Kdf::Pbkdf2 { (4096, 0) } else { (8, 512) };
            let cost = Cost { kdf, iterations, memory_kib };
            let stored = Stored::new(&pencil(), [1; 16], cost).unwrap();
            let salt = stored.salt();
            for dialect in [Dialect::Specified, Dialect::Crossbar] {
                for binding in &bindings {
                    let authid = "us,er=\u{AA}";
                    let exchange =
                        Exchange { dialect, authid, cost, binding: binding.as_ref(), ..exchange(&salt) };
                    let answer = exchange.answer(&pencil()).unwrap();
                    let data = binding.as_ref().map(|bound| base64(&bound.octets));
                    let response = Response {
                        proof: &answer.proof,
                        nonce: (dialect == Dialect::Specified).then_some(BOTH),
                        channel_binding: data.as_ref().map(|_| "tls-exporter"),
                        cbind_data: data.as_deref(),
                    };
                    let verifier = exchange.verify(&stored, &response).unwrap();
                    assert!(answer.accepts(&verifier));
                    assert!(exchange.answer(&Secret::from("pencils")).unwrap().proof != answer.proof);
                }
            }
        }
    }

    #[test]
    fn a_proof_counts_for_its_exchange_alone() {
        let stored = stored();
        let salt = stored.salt();
        let exchange = exchange(&salt);
        let proof = exchange.answer(&pencil()).unwrap().proof;
        let good = Response { proof: &proof, nonce: Some(BOTH), ..Response::default() };
        assert!(exchange.verify(&stored, &good).is_some());
        let wrong_password = exchange.answer(&Secret::from("pen")).unwrap().proof;
        let doubled = format!("{proof}{proof}");
        for response in [
            Response { proof: &wrong_password, ..good },
            Response { proof: "", ..good },
            Response { proof: &proof[..43], ..good },
            Response { proof: &doubled, ..good },
            Response { nonce: None, ..good },
            Response { nonce: Some(NONCE), ..good },
            Response { channel_binding: Some("tls-exporter"), ..good },
            Response { cbind_data: Some(""), ..good },
        ] {
            assert_eq!(exchange.verify(&stored, &response), None, "{response:?}");
        }
        for other in [
            Exchange { authid: "users", ..exchange },
            Exchange { client_nonce: "AAAA", ..exchange },
            Exchange { salt: "AAAA", ..exchange },
            Exchange { dialect: Dialect::Crossbar, ..exchange },
            Exchange { authid: "\u{7}", ..exchange },
        ] {
            assert_eq!(other.verify(&stored, &good), None, "{other:?}");
        }
        let other = Exchange { nonce: "egVDf3DMJh0=AAAA", ..exchange };
        assert_eq!(other.verify(&stored, &Response { nonce: Some(other.nonce), ..good }), None);
        assert_eq!(exchange.verify(&Stored::decoy(&pencil(), "user", &stored), &good), None);
    }

    #[test]
    fn a_proof_is_bound_to_the_connection() {
        let stored = stored();
        let salt = stored.salt();
        let ours = ChannelBinding { binding: BindingType::TlsExporter, octets: vec![1; 32] };
        let others = ChannelBinding { binding: BindingType::TlsExporter, octets: vec![2; 32] };
        let theirs = Exchange { binding: Some(&others), ..exchange(&salt) };
        let proof = theirs.answer(&pencil()).unwrap().proof;
        let data = [base64(&others.octets), base64(&ours.octets)];
        for data in &data {
            let response = Response {
                proof: &proof,
                nonce: Some(BOTH),
                channel_binding: Some("tls-exporter"),
                cbind_data: Some(data),
            };
            let exchange = Exchange { binding: Some(&ours), ..exchange(&salt) };
            assert_eq!(exchange.verify(&stored, &response), None);
        }
    }

    #[test]
    fn a_client_answers_no_router_that_is_after_its_password() {
        let salt = base64(&[1; 16]);
        let good = exchange(&salt);
        let cost = |kdf, iterations, memory_kib| Cost { kdf, iterations, memory_kib };
        let argon2 = Kdf::Argon2id13;
        for (exchange, error) in [
            (Exchange { nonce: NONCE, ..good }, ScramError::Nonce),
            (Exchange { nonce: "AAAA", ..good }, ScramError::Nonce),
            (Exchange { client_nonce: "", ..good }, ScramError::Nonce),
            (Exchange { cost: cost(Kdf::Pbkdf2, 4095, 0), ..good }, ScramError::Cheap),
            (Exchange { cost: cost(Kdf::Pbkdf2, u32::MAX, 0), ..good }, ScramError::Cost),
            (Exchange { cost: cost(argon2, 1, 8), ..good }, ScramError::Cheap),
            (Exchange { cost: cost(argon2, 1, u32::MAX), ..good }, ScramError::Cost),
            (Exchange { cost: cost(argon2, u32::MAX, u32::MAX), ..good }, ScramError::Cost),
            (Exchange { salt: "?", ..good }, ScramError::Salt),
            (Exchange { salt: "", ..good }, ScramError::Cost),
            (Exchange { authid: "\u{7}", ..good }, ScramError::Authid),
        ] {
            assert_eq!(exchange.answer(&pencil()).err(), Some(error), "{exchange:?}");
        }
        assert_eq!(good.answer(&Secret::from("\u{7}")).err(), Some(ScramError::Password));
        assert_eq!(good.answer(&Secret::new(vec![0xFF])).err(), Some(ScramError::Password));
    }

    #[test]
    fn passwords_that_look_the_same_are_the_same() {
        // RFC 4013, section 3: a soft hyphen is nothing, a feminine ordinal is an a, a Roman IX is two letters.
        for (one, other) in [("I\u{AD}X", "IX"), ("\u{AA}", "a"), ("\u{2168}", "IX")] {
            let stored = |text| Stored::new(&Secret::from(text), [1; 16], PBKDF2).unwrap();
            assert_eq!(stored(one), stored(other));
        }
    }

    #[test]
    fn a_stored_form_is_read_as_it_is_written() {
        let stored = stored();
        let (salt, stored_key, server_key) = (stored.salt(), stored.stored_key(), stored.server_key());
        let read = |salt: &str, stored_key: &str, server_key: &str| {
            Stored::read(stored.cost(), salt, stored_key, server_key)
        };
        assert_eq!(read(&salt, &stored_key, &server_key).unwrap(), stored);
        assert_eq!(read("!", &stored_key, &server_key), Err(ScramError::Salt));
        assert_eq!(read("", &stored_key, &server_key), Err(ScramError::Salt));
        assert_eq!(read(&salt, "AAAA", &server_key), Err(ScramError::StoredKey));
        assert_eq!(read(&salt, &stored_key, ""), Err(ScramError::ServerKey));
        let free = Cost { iterations: 0, ..PBKDF2 };
        assert_eq!(Stored::read(free, &salt, &stored_key, &server_key), Err(ScramError::Cost));
        let decoy = Stored::decoy(&pencil(), "nobody", &stored);
        assert_eq!(decoy, Stored::decoy(&pencil(), "nobody", &stored));
        assert_ne!(decoy.salt(), Stored::decoy(&pencil(), "somebody", &stored).salt());
        assert_eq!(decoy.salt().len(), salt.len());
        let longer = Stored { salt: vec![7; 40], ..stored.clone() };
        assert_eq!(Stored::decoy(&pencil(), "nobody", &longer).salt.len(), 40);
    }

    #[test]
    fn a_challenge_has_just_what_each_dialect_knows() {
        let keys = |exchange: &Exchange<'_>| {
            exchange.challenge().into_iter().map(|(key, _)| key).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(keys(&exchange("")), "nonce salt kdf iterations memory");
        let crossbar = Exchange { dialect: Dialect::Crossbar, ..exchange("") };
        assert_eq!(keys(&crossbar), "nonce salt kdf iterations");
        let cost = Cost { kdf: Kdf::Argon2id13Text, ..Cost::DEFAULT };
        assert_eq!(keys(&Exchange { cost, ..crossbar }), "nonce salt kdf iterations memory");
        assert!(is_client_nonce(NONCE));
        for bad in ["", "a,b=", "AAA", &"A".repeat(260)] {
            assert!(!is_client_nonce(bad), "{bad}");
        }
    }
}
