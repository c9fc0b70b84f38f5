//! How a client proves who it is: what it says of itself in HELLO, and how it answers CHALLENGE.
//!
//! Invariants: only a method that was announced is answered, so a router cannot ask for the ticket of somebody who
//! wanted to sign; where a router was to prove itself, or to bind the authentication to the connection, only methods
//! in which it does are announced, and one that lets the client in without them is not joined; what a router may make
//! the client compute is bounded.
//!
//! Spec: advanced profile, "Authentication Methods".

use std::borrow::Cow;
use std::fmt;

use super::incoming::{text, unsigned};
use crate::auth::binding::{BindingType, ChannelBinding};
use crate::auth::cryptosign::{Challenge, PublicKey, SigningKey};
use crate::auth::scram::{self, Cost, Dialect, Exchange, Kdf, ScramError};
use crate::auth::wampcra::{self, Salting};
use crate::auth::{Method, Secret, base64};
use crate::codec;
use crate::wamp::message::Challenge as ChallengeMessage;
use crate::wamp::{Dict, Value};

/// Rounds of CHALLENGE and AUTHENTICATE that a client goes through: two factors, and some more.
const CHALLENGES_MAX: u32 = 4;

/// What a client can prove itself with.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Answers `ticket`.
    pub ticket: Option<Secret>,
    /// The password or secret that answers `wampcra`, `wamp-scram` and `scram`.
    pub secret: Option<Secret>,
    /// Answers `cryptosign`.
    pub key: Option<SigningKey>,
    /// TLS shows a certificate, which is what `tls` goes by.
    pub certificate: bool,
    /// The router must prove that it has the private half of this key, which it does in `cryptosign`.
    pub router_key: Option<PublicKey>,
    /// The proof must hold for this TLS connection alone: `tls-exporter`, in `cryptosign` and `wamp-scram`.
    pub channel_binding: bool,
    /// The methods to announce, in this order. If there are none: those that the credentials are for. Those in which a
    /// router does not do what is asked of it above are left out in any case.
    pub authmethods: Vec<String>,
}

impl Credentials {
    /// The methods that are announced, the strongest first.
    fn announced(&self) -> Vec<&str> {
        let mut names = self.possible();
        names.retain(|name| self.is_asked_for(name));
        names
    }

    /// True if a router that goes through this method does what is asked of it.
    fn is_asked_for(&self, name: &str) -> bool {
        let method = Method::from_name(name);
        let signs = method == Some(Method::Cryptosign);
        // Crossbar.io's dialect of SCRAM binds nothing.
        let binds = signs || name == Method::Scram.name();
        (self.router_key.is_none() || signs) && (!self.channel_binding || binds)
    }

    fn possible(&self) -> Vec<&str> {
        if !self.authmethods.is_empty() {
            return self.authmethods.iter().map(String::as_str).collect();
        }
        let mut names = Vec::new();
        if self.certificate {
            names.push(Method::Tls.name());
        }
        if self.key.is_some() {
            names.push(Method::Cryptosign.name());
        }
        if self.secret.is_some() {
            names.extend([Method::Scram.name(), Method::WampCra.name()]);
        }
        if self.ticket.is_some() {
            names.push(Method::Ticket.name());
        }
        names
    }
}

/// Why a client does not prove itself to that router.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthenticationError {
    /// The router asks for a method that was not announced, or that there is nothing to answer with.
    Method(String),
    /// Something in a challenge is missing or malformed.
    Challenge(&'static str),
    /// The key derivation that the router asks for is out of range.
    Cost,
    /// The exchange of WAMP-SCRAM cannot go on.
    Scram(ScramError),
    /// The authentication is not bound to the connection as it was to be.
    Binding,
    /// The router has not proved that it is the one.
    Router,
    /// The router is to prove itself, or the proof to be bound, and there is no method left that does.
    NothingToAnnounce,
    /// The router asks again and again.
    TooManyChallenges,
}

impl fmt::Display for AuthenticationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthenticationError::Method(name) => {
                write!(f, "the router asks for authentication by {name}, for which nothing was given")
            }
            AuthenticationError::Challenge(key) => {
                write!(f, "the router's challenge has no acceptable {key}")
            }
            AuthenticationError::Cost => {
                f.write_str("the key derivation that the router asks for is out of range")
            }
            AuthenticationError::Scram(error) => write!(f, "the router's challenge is not answered: {error}"),
            AuthenticationError::Binding => f.write_str(
                "the proof cannot be bound to the connection: that needs TLS 1.3, and a router that does it",
            ),
            AuthenticationError::Router => f.write_str("the router has not proved that it is the right one"),
            AuthenticationError::NothingToAnnounce => f.write_str(
                "no method is left to join by: a router proves itself in cryptosign, which needs a key, and a proof is \
                 bound in cryptosign and wamp-scram, which needs a key or a password",
            ),
            AuthenticationError::TooManyChallenges => f.write_str("the router asks again and again"),
        }
    }
}

impl std::error::Error for AuthenticationError {}

/// One authentication, from HELLO to WELCOME.
#[derive(Debug)]
pub(super) struct Authentication<'a> {
    credentials: &'a Credentials,
    authid: &'a str,
    announced: Vec<&'a str>,
    /// Our part of the nonces of WAMP-SCRAM.
    nonce: String,
    /// What the router is to sign.
    challenge: Challenge,
    binding: Option<ChannelBinding>,
    challenges: u32,
    /// What WELCOME must say.
    expected: Option<scram::Answer>,
    router_proved: bool,
}

/// What AUTHENTICATE says.
#[derive(Debug)]
pub(super) struct Response {
    pub signature: String,
    pub extra: Vec<(&'static str, Value<'static>)>,
}

impl<'a> Authentication<'a> {
    /// Begins. `channel_id` is what TLS has exported for this connection.
    pub fn begin(
        credentials: &'a Credentials,
        authid: Option<&'a str>,
        channel_id: Option<[u8; 32]>,
        random: &[u8; 48],
    ) -> Result<Authentication<'a>, AuthenticationError> {
        let binding = match (credentials.channel_binding, channel_id) {
            (false, _) => None,
            (true, Some(id)) => {
                Some(ChannelBinding { binding: BindingType::TlsExporter, octets: id.to_vec() })
            }
            (true, None) => return Err(AuthenticationError::Binding),
        };
        let announced = credentials.announced();
        if announced.is_empty() && (credentials.router_key.is_some() || binding.is_some()) {
            return Err(AuthenticationError::NothingToAnnounce);
        }
        let (challenge, nonce) = random.split_first_chunk().expect("48 octets are more than 32");
        Ok(Authentication {
            credentials,
            authid: authid.unwrap_or_default(),
            announced,
            nonce: base64(nonce),
            challenge: Challenge::new(*challenge),
            binding,
            challenges: 0,
            expected: None,
            router_proved: false,
        })
    }

    /// `HELLO.Details.authmethods`; none if nothing is to be proved.
    pub fn authmethods(&self) -> Vec<Value<'a>> {
        self.announced.iter().map(|name| Value::text(name)).collect()
    }

    /// `HELLO.Details.authextra`
    pub fn authextra(&self) -> Vec<(&'static str, Value<'_>)> {
        let mut extra = Vec::new();
        let announced = |method| self.announced.iter().any(|name| Method::from_name(name) == Some(method));
        let (signs, proves) = (announced(Method::Cryptosign), announced(Method::Scram));
        if let Some(key) = self.credentials.key.as_ref().filter(|_| signs) {
            extra.push(("pubkey", Value::Text(Cow::Owned(key.public().to_string()))));
        }
        if signs && self.credentials.router_key.is_some() {
            extra.push(("challenge", Value::Text(Cow::Owned(self.challenge.text()))));
        }
        if proves {
            extra.push(("nonce", Value::text(&self.nonce)));
        }
        if let Some(bound) = self.binding.as_ref().filter(|_| signs || proves) {
            extra.push(("channel_binding", Value::text(bound.binding.name())));
        }
        extra
    }

    /// Answers a challenge.
    pub fn on_challenge(
        &mut self,
        challenge: &ChallengeMessage<'_>,
    ) -> Result<Response, AuthenticationError> {
        self.challenges += 1;
        if self.challenges > CHALLENGES_MAX {
            return Err(AuthenticationError::TooManyChallenges);
        }
        let name = &*challenge.authmethod;
        let (credentials, extra) = (self.credentials, &challenge.extra);
        let method = Method::from_name(name).filter(|_| self.announced.contains(&name));
        match (method, &credentials.ticket, &credentials.secret, &credentials.key) {
            (Some(Method::Ticket), Some(ticket), ..) => ticket_response(ticket),
            (Some(Method::WampCra), _, Some(secret), _) => wampcra_response(secret, extra),
            (Some(Method::Scram), _, Some(secret), _) => self.scram_response(name, secret, extra),
            (Some(Method::Cryptosign), .., Some(key)) => self.cryptosign_response(key, extra),
            _ => Err(AuthenticationError::Method(name.to_owned())),
        }
    }

    /// Whether the router that has let the client in is the one it should be.
    pub fn on_welcome(&self, details: &Dict<'_>) -> Result<(), AuthenticationError> {
        if self.credentials.router_key.is_some() && !self.router_proved {
            return Err(AuthenticationError::Router);
        }
        if self.binding.is_some() && self.challenges == 0 {
            return Err(AuthenticationError::Binding);
        }
        let Some(expected) = &self.expected else {
            // In SCRAM the router proves that it knows the password; who announces nothing else wants that.
            let proves = |name: &&str| Method::from_name(name) == Some(Method::Scram);
            let skipped = !self.announced.is_empty() && self.announced.iter().all(proves);
            return if skipped { Err(AuthenticationError::Router) } else { Ok(()) };
        };
        let authextra = codec::entries(details).find_map(|(key, value)| match value {
            Value::Dict(dict) if key == "authextra" => Some(dict),
            _ => None,
        });
        let verifier = |key| {
            authextra.as_ref().and_then(|extra| text(extra, key)).is_some_and(|text| expected.accepts(&text))
        };
        // The second is Crossbar.io's name.
        let proved = verifier("verifier") || verifier("scram_server_signature");
        if proved { Ok(()) } else { Err(AuthenticationError::Router) }
    }

    fn scram_response(
        &mut self,
        name: &str,
        password: &Secret,
        extra: &Dict<'_>,
    ) -> Result<Response, AuthenticationError> {
        let dialect = Dialect::from_authmethod(name).ok_or(AuthenticationError::Challenge("name"))?;
        if self.binding.is_some() && dialect == Dialect::Crossbar {
            return Err(AuthenticationError::Binding);
        }
        let (nonce, salt) = (needed(extra, "nonce")?, needed(extra, "salt")?);
        let kdf =
            Kdf::from_name(&needed(extra, "kdf")?).ok_or(AuthenticationError::Scram(ScramError::Kdf))?;
        let iterations = number(extra, "iterations")?.ok_or(AuthenticationError::Challenge("iterations"))?;
        let memory_kib = number(extra, "memory")?.unwrap_or(0);
        let exchange = Exchange {
            dialect,
            authid: self.authid,
            client_nonce: &self.nonce,
            nonce: &nonce,
            salt: &salt,
            cost: Cost { kdf, iterations, memory_kib },
            binding: self.binding.as_ref(),
        };
        let answer = exchange.answer(password).map_err(AuthenticationError::Scram)?;
        let response = Response { signature: answer.proof.clone(), extra: exchange.response() };
        self.expected = Some(answer);
        Ok(response)
    }

    fn cryptosign_response(
        &mut self,
        key: &SigningKey,
        extra: &Dict<'_>,
    ) -> Result<Response, AuthenticationError> {
        let bound = text(extra, "channel_binding");
        if bound.as_deref() != self.binding.as_ref().map(|bound| bound.binding.name()) {
            return Err(AuthenticationError::Binding);
        }
        let channel_id = self.binding.as_ref().and_then(ChannelBinding::channel_id);
        if let Some(router_key) = &self.credentials.router_key {
            let proof = text(extra, "signature").unwrap_or_default();
            self.router_proved = self.challenge.verify(router_key, channel_id.as_ref(), &proof);
            if !self.router_proved {
                return Err(AuthenticationError::Router);
            }
        }
        let challenge = Challenge::read(&needed(extra, "challenge")?);
        let challenge = challenge.ok_or(AuthenticationError::Challenge("challenge"))?;
        Ok(Response { signature: challenge.answer(key, channel_id.as_ref()), extra: Vec::new() })
    }
}

fn ticket_response(ticket: &Secret) -> Result<Response, AuthenticationError> {
    let text = ticket.text().ok_or(AuthenticationError::Method(Method::Ticket.name().to_owned()))?;
    Ok(Response { signature: text.to_owned(), extra: Vec::new() })
}

fn wampcra_response(secret: &Secret, extra: &Dict<'_>) -> Result<Response, AuthenticationError> {
    let challenge = needed(extra, "challenge")?;
    let signature = match text(extra, "salt") {
        None => wampcra::sign(secret, &challenge),
        Some(salt) => {
            let iterations = number(extra, "iterations")?.unwrap_or(Salting::ITERATIONS_DEFAULT);
            let keylen = number(extra, "keylen")?.unwrap_or(Salting::KEYLEN_DEFAULT);
            let derived = Salting { salt, iterations, keylen }.derive(secret);
            wampcra::sign(&derived.map_err(|_| AuthenticationError::Cost)?, &challenge)
        }
    };
    Ok(Response { signature, extra: Vec::new() })
}

fn needed(extra: &Dict<'_>, key: &'static str) -> Result<String, AuthenticationError> {
    text(extra, key).ok_or(AuthenticationError::Challenge(key))
}

/// A number of 32 bits; none if it is not there, or null.
fn number(extra: &Dict<'_>, key: &'static str) -> Result<Option<u32>, AuthenticationError> {
    let number = unsigned(extra, key).map(u32::try_from).transpose();
    number.map_err(|_| AuthenticationError::Challenge(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::unbase64;

    const RANDOM: [u8; 48] = [5; 48];
    const CHANNEL_ID: [u8; 32] = [3; 32];

    fn credentials() -> Credentials {
        Credentials {
            ticket: Some("the ticket".into()),
            secret: Some("the secret".into()),
            key: Some(SigningKey::from_seed(&[1; 32])),
            ..Credentials::default()
        }
    }

    fn begin(credentials: &Credentials) -> Authentication<'_> {
        Authentication::begin(credentials, Some("alice"), Some(CHANNEL_ID), &RANDOM).unwrap()
    }

    fn respond(
        authentication: &mut Authentication<'_>,
        authmethod: &'static str,
        extra: &[(&str, Value<'_>)],
    ) -> Result<Response, AuthenticationError> {
        let extra = Dict::Pairs(extra);
        authentication.on_challenge(&ChallengeMessage { authmethod: authmethod.into(), extra })
    }

    fn keys(extra: &[(&'static str, Value<'_>)]) -> Vec<&'static str> {
        extra.iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn what_is_given_is_announced_with_what_belongs_to_it() {
        let nothing = Credentials::default();
        assert!(begin(&nothing).authmethods().is_empty() && begin(&nothing).authextra().is_empty());
        let all = credentials();
        assert_eq!(all.announced(), ["cryptosign", "wamp-scram", "wampcra", "ticket"]);
        assert_eq!(keys(&begin(&all).authextra()), ["pubkey", "nonce"]);
        let chosen = Credentials { authmethods: vec!["scram".to_owned()], ..credentials() };
        assert_eq!(keys(&begin(&chosen).authextra()), ["nonce"]);
        let router_key = Some(SigningKey::from_seed(&[2; 32]).public());
        let bound = Credentials { channel_binding: true, router_key, secret: None, ..credentials() };
        assert_eq!(keys(&begin(&bound).authextra()), ["pubkey", "challenge", "channel_binding"]);
        let nothing_left = Credentials { key: None, ..bound.clone() };
        let refused = Authentication::begin(&nothing_left, None, Some(CHANNEL_ID), &RANDOM);
        assert_eq!(refused.err(), Some(AuthenticationError::NothingToAnnounce));
        let unbound = Authentication::begin(&bound, None, None, &RANDOM);
        assert_eq!(unbound.err(), Some(AuthenticationError::Binding));
    }

    #[test]
    fn nothing_is_answered_that_was_not_announced() {
        let signer = Credentials { authmethods: vec!["cryptosign".to_owned()], ..credentials() };
        for method in ["ticket", "wampcra", "wamp-scram", "scram", "anonymous", "", "x"] {
            let refused = respond(&mut begin(&signer), method, &[("challenge", Value::text("c"))]);
            assert_eq!(refused.err(), Some(AuthenticationError::Method(method.to_owned())));
        }
        let ticket = Credentials { authmethods: vec!["ticket".to_owned()], ..Credentials::default() };
        assert!(respond(&mut begin(&ticket), "ticket", &[]).is_err());
        let all = credentials();
        let mut patient = begin(&all);
        for _ in 0..CHALLENGES_MAX {
            assert_eq!(respond(&mut patient, "ticket", &[]).unwrap().signature, "the ticket");
        }
        let refused = respond(&mut patient, "ticket", &[]);
        assert_eq!(refused.err(), Some(AuthenticationError::TooManyChallenges));
    }

    #[test]
    fn only_methods_in_which_the_router_does_what_is_asked_are_announced() {
        let router_key = Some(SigningKey::from_seed(&[2; 32]).public());
        let every =
            ["ticket", "scram", "wampcra", "wamp-scram", "tls", "anonymous", "cookie", "cryptosign", "x"];
        for authmethods in [Vec::new(), every.map(str::to_owned).to_vec()] {
            let all = Credentials { authmethods, ..credentials() };
            let proving = Credentials { router_key, ..all.clone() };
            assert_eq!(proving.announced(), ["cryptosign"]);
            let bound = Credentials { channel_binding: true, ..all };
            let mut announced = bound.announced();
            announced.sort_unstable();
            assert_eq!(announced, ["cryptosign", "wamp-scram"]);
            let refused = respond(&mut begin(&bound), "wampcra", &[("challenge", Value::text("c"))]);
            assert_eq!(refused.err(), Some(AuthenticationError::Method("wampcra".to_owned())));
            assert_eq!(begin(&bound).on_welcome(&Dict::EMPTY), Err(AuthenticationError::Binding));
        }
        for name in ["wamp-scram", "scram"] {
            let scram = Credentials { authmethods: vec![name.to_owned()], ..credentials() };
            assert_eq!(begin(&scram).on_welcome(&Dict::EMPTY), Err(AuthenticationError::Router));
        }
        assert_eq!(begin(&credentials()).on_welcome(&Dict::EMPTY), Ok(()));
    }

    #[test]
    fn wampcra_is_signed_with_the_secret_or_what_is_derived_of_it() {
        let all = credentials();
        let plain = [("challenge", Value::text("text"))];
        let signature = respond(&mut begin(&all), "wampcra", &plain).unwrap().signature;
        assert!(wampcra::verify(&"the secret".into(), "text", &signature));
        let salted = [("challenge", Value::text("text")), ("salt", Value::text("salt"))];
        let signature = respond(&mut begin(&all), "wampcra", &salted).unwrap().signature;
        let salting = Salting { salt: "salt".to_owned(), iterations: 1000, keylen: 32 };
        assert!(wampcra::verify(&salting.derive(&"the secret".into()).unwrap(), "text", &signature));
        for (iterations, error) in [
            (u64::from(u32::MAX), AuthenticationError::Cost),
            (u64::MAX, AuthenticationError::Challenge("iterations")),
        ] {
            let extra = [&salted[..], &[("iterations", Value::Unsigned(iterations))]].concat();
            assert_eq!(respond(&mut begin(&all), "wampcra", &extra).err(), Some(error));
        }
        assert!(respond(&mut begin(&all), "wampcra", &[]).is_err());
    }

    #[test]
    fn scram_is_proved_and_wants_the_proof_of_the_router() {
        let all =
            Credentials { authmethods: vec!["wamp-scram".to_owned(), "scram".to_owned()], ..credentials() };
        let cost = Cost { kdf: Kdf::Pbkdf2, iterations: 4096, memory_kib: 0 };
        let stored = scram::Stored::new(&"the secret".into(), [1; 16], cost).unwrap();
        for (name, verifier_key) in [("wamp-scram", "verifier"), ("scram", "scram_server_signature")] {
            let mut authentication = begin(&all);
            let client_nonce = base64(&[5; 16]);
            let (nonce, salt) = (format!("{client_nonce}AAAA"), stored.salt());
            let exchange = Exchange {
                dialect: Dialect::from_authmethod(name).unwrap(),
                authid: "alice",
                client_nonce: &client_nonce,
                nonce: &nonce,
                salt: &salt,
                cost,
                binding: None,
            };
            let response = respond(&mut authentication, name, &exchange.challenge()).unwrap();
            let said = scram::Response {
                proof: &response.signature,
                nonce: (name == "wamp-scram").then_some(&*nonce),
                ..scram::Response::default()
            };
            let verifier = exchange.verify(&stored, &said).unwrap();
            let other = base64(&[1; 32]);
            for (verifier, welcome) in [(&verifier, Ok(())), (&other, Err(AuthenticationError::Router))] {
                let authextra = [(verifier_key, Value::text(verifier))];
                let details = [("authextra", Value::Dict(Dict::Pairs(&authextra)))];
                assert_eq!(authentication.on_welcome(&Dict::Pairs(&details)), welcome);
            }
            assert_eq!(authentication.on_welcome(&Dict::EMPTY), Err(AuthenticationError::Router));
        }
        let refused = respond(&mut begin(&all), "wamp-scram", &[("nonce", Value::text("AAAA"))]);
        assert_eq!(refused.err(), Some(AuthenticationError::Challenge("salt")));
    }

    #[test]
    fn cryptosign_is_bound_and_the_router_proves_itself() {
        let router = SigningKey::from_seed(&[2; 32]);
        let careful =
            Credentials { channel_binding: true, router_key: Some(router.public()), ..credentials() };
        let ours = Challenge::new([5; 32]);
        let theirs = Challenge::new([9; 32]);
        let challenge = theirs.text();
        let good = ours.answer(&router, Some(&CHANNEL_ID));
        let extra = |signature| {
            [
                ("challenge", Value::text(&challenge)),
                ("channel_binding", Value::text("tls-exporter")),
                ("signature", Value::text(signature)),
            ]
        };
        let mut authentication = begin(&careful);
        assert_eq!(authentication.on_welcome(&Dict::EMPTY), Err(AuthenticationError::Router));
        let answer = respond(&mut authentication, "cryptosign", &extra(&good)).unwrap().signature;
        let public = careful.key.as_ref().unwrap().public();
        assert!(theirs.verify(&public, Some(&CHANNEL_ID), &answer) && !theirs.verify(&public, None, &answer));
        assert_eq!(authentication.on_welcome(&Dict::EMPTY), Ok(()));
        let wrong = [ours.answer(&router, None), theirs.answer(&router, Some(&CHANNEL_ID)), String::new()];
        for signature in &wrong {
            let refused = respond(&mut begin(&careful), "cryptosign", &extra(signature));
            assert_eq!(refused.err(), Some(AuthenticationError::Router));
        }
        let unbound = [("challenge", Value::text(&challenge)), ("signature", Value::text(&good))];
        let refused = respond(&mut begin(&careful), "cryptosign", &unbound);
        assert_eq!(refused.err(), Some(AuthenticationError::Binding));
        let plain = credentials();
        let refused = respond(&mut begin(&plain), "cryptosign", &[("challenge", Value::text("00"))]);
        assert_eq!(refused.err(), Some(AuthenticationError::Challenge("challenge")));
    }

    #[test]
    fn a_bound_proof_of_scram_says_what_it_is_bound_to() {
        let bound = Credentials { channel_binding: true, ..credentials() };
        let nonce = format!("{}AAAA", base64(&[5; 16]));
        let extra = [
            ("nonce", Value::text(&nonce)),
            ("salt", Value::text("AQEBAQEBAQEBAQEBAQEBAQ==")),
            ("kdf", Value::text("argon2id13")),
            ("iterations", Value::Unsigned(8)),
            ("memory", Value::Unsigned(512)),
        ];
        let response = respond(&mut begin(&bound), "wamp-scram", &extra).unwrap();
        let said = Dict::Pairs(&response.extra);
        assert_eq!(text(&said, "channel_binding").as_deref(), Some("tls-exporter"));
        assert_eq!(unbase64(&text(&said, "cbind_data").unwrap()).unwrap(), CHANNEL_ID);
    }
}
