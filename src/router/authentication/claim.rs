//! What HELLO says of the client: who it is, and with which methods it can prove that.
//!
//! All of it is the client's word, and bounded: names that are too long are nobody's, and of its methods no more than
//! [`METHODS_MAX`] are looked at.

use smallvec::SmallVec;

use super::{AUTHID_BYTES_MAX, Extra};
use crate::auth::cryptosign::{Challenge, PublicKey};
use crate::auth::scram::{self, Dialect};
use crate::auth::{Method, unhex};
use crate::codec;
use crate::wamp::{Dict, List, Value};

/// Methods of a client that are looked at: twice as many as there are.
pub const METHODS_MAX: usize = 16;

/// Octets of the name of a role that are looked at.
const AUTHROLE_BYTES_MAX: usize = 1024;

/// Octets of the name of a type of channel binding; there is none that long.
const BINDING_BYTES_MAX: usize = 64;

/// What a client says of itself.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// `authid`, if it is not empty.
    pub authid: Option<Box<str>>,
    /// `authrole`: what it wants to be.
    pub authrole: Option<Box<str>>,
    /// `authid` is so long that nobody has it, or no text.
    pub names_nobody: bool,
    /// `authextra`, for procedures that are asked; none if it is too long to be kept.
    pub extra: Option<Extra>,
    /// `authextra.pubkey`
    pub pubkey: Option<PublicKey>,
    /// `authextra.challenge`: what the router is to sign.
    pub challenge: Option<Challenge>,
    /// `authextra.nonce`, if it is one.
    pub nonce: Option<Box<str>>,
    /// `authextra.channel_binding`
    pub channel_binding: Option<Box<str>>,
    /// The methods that are known, in its order, each by the name it has used.
    methods: SmallVec<[Named; 2]>,
    /// It has named methods, known ones or others.
    names_methods: bool,
}

/// A method by one of its names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Named {
    /// The method.
    pub method: Method,
    /// The name.
    pub name: &'static str,
}

impl Named {
    /// The method of that name.
    pub fn from_name(name: &str) -> Option<Named> {
        let method = Method::from_name(name)?;
        let name = Dialect::from_authmethod(name).map_or(method.name(), Dialect::authmethod);
        Some(Named { method, name })
    }
}

impl Claim {
    /// The methods to be tried, in order. Who names none says nothing of itself.
    pub fn methods(&self) -> &[Named] {
        const NONE: &[Named] = &[Named { method: Method::Anonymous, name: "anonymous" }];
        if self.names_methods { &self.methods } else { NONE }
    }

    /// True if it says what a challenge of that method needs.
    pub fn can_begin(&self, method: Method) -> bool {
        match method {
            Method::Cryptosign => self.pubkey.is_some(),
            Method::Scram => self.authid.is_some() && self.nonce.is_some(),
            // A procedure, or a token, may name who it is; then it is asked all the same.
            Method::Ticket | Method::WampCra => self.authid.is_some(),
            Method::Anonymous | Method::Cookie | Method::Tls => false,
        }
    }

    /// Reads an entry of `HELLO.Details`. A name, or methods, that are no text, or no list, are such that nobody has:
    /// whoever means to be somebody does not become somebody else. Else what is of another type is not there.
    pub fn read(&mut self, key: &str, value: &Value<'_>) {
        match (key, value) {
            ("authid", Value::Text(authid)) => {
                self.names_nobody = authid.len() > AUTHID_BYTES_MAX;
                self.authid = bounded(authid, AUTHID_BYTES_MAX).filter(|_| !self.names_nobody);
            }
            ("authrole", Value::Text(authrole)) => self.authrole = bounded(authrole, AUTHROLE_BYTES_MAX),
            ("authid" | "authmethods", Value::Null) => {}
            ("authid", _) => self.names_nobody = true,
            ("authmethods", Value::List(methods)) => self.read_methods(methods),
            ("authmethods", _) => self.names_methods = true,
            ("authextra", Value::Dict(extra)) => {
                self.extra = Extra::copy(extra);
                self.read_extra(extra);
            }
            _ => {}
        }
    }

    fn read_methods(&mut self, methods: &List<'_>) {
        for method in codec::items(methods).take(METHODS_MAX) {
            self.names_methods = true;
            let named = if let Value::Text(name) = &method { Named::from_name(name) } else { None };
            self.methods.extend(named);
        }
    }

    fn read_extra(&mut self, extra: &Dict<'_>) {
        for (key, value) in codec::entries(extra) {
            let Value::Text(text) = value else { continue };
            match &*key {
                "pubkey" => self.pubkey = unhex(&text).map(|octets: [u8; 32]| octets.into()),
                "challenge" => self.challenge = Challenge::read(&text),
                "nonce" if scram::is_client_nonce(&text) => self.nonce = Some(text.into()),
                "channel_binding" => self.channel_binding = bounded(&text, BINDING_BYTES_MAX),
                _ => {}
            }
        }
    }
}

/// The beginning of a text, if it is not empty. One that is cut off is none that anybody knows.
fn bounded(text: &str, bytes_max: usize) -> Option<Box<str>> {
    let end = text.floor_char_boundary(bytes_max.min(text.len()));
    (end > 0).then(|| text[..end].into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wamp::{Message, Serializer};

    fn claim(details: &str) -> Claim {
        let hello = format!(r#"[1,"realm1",{details}]"#);
        let Ok(Message::Hello(hello)) = codec::decode(Serializer::Json, hello.as_bytes()) else {
            panic!("{details}")
        };
        let mut claim = Claim::default();
        codec::entries(&hello.details).for_each(|(key, value)| claim.read(&key, &value));
        claim
    }

    fn names(details: &str) -> Vec<&'static str> {
        claim(details).methods().iter().map(|named| named.name).collect()
    }

    #[test]
    fn methods_keep_their_order_and_names() {
        let several = r#"{"authmethods":["scram",7,"password","wamp-scram","wampcra"]}"#;
        assert_eq!(names(several), ["scram", "wamp-scram", "wampcra"]);
        for none in ["{}", r#"{"authmethods":[]}"#, r#"{"authmethods":null}"#] {
            assert_eq!(names(none), ["anonymous"], "{none}");
        }
        for other in [r#"["password"]"#, r#""ticket""#, "{}", "7"] {
            assert!(names(&format!(r#"{{"authmethods":{other}}}"#)).is_empty(), "{other}");
        }
        let many = format!(r#"{{"authmethods":["x"{}]}}"#, r#","ticket""#.repeat(100));
        assert_eq!(names(&many).len(), METHODS_MAX - 1);
    }

    #[test]
    fn what_is_of_another_type_is_not_there() {
        let odd = claim(
            r#"{"authid":7,"authrole":null,"authextra":{"pubkey":"00","challenge":1,"nonce":"?","channel_binding":null}}"#,
        );
        assert!(odd.authid.is_none() && odd.authrole.is_none() && odd.pubkey.is_none());
        assert!(odd.challenge.is_none() && odd.nonce.is_none() && odd.channel_binding.is_none());
        assert!(odd.names_nobody && !claim(r#"{"authid":null}"#).names_nobody);
        assert!(claim(r#"{"authid":""}"#).authid.is_none() && !claim(r#"{"authid":""}"#).names_nobody);
        let long = claim(&format!(r#"{{"authid":"{}"}}"#, "x".repeat(AUTHID_BYTES_MAX + 1)));
        assert!(long.names_nobody && long.authid.is_none());
    }

    #[test]
    fn what_is_said_is_bounded() {
        let (long, hex) = ("ü".repeat(1_000), "0f".repeat(32));
        let extra =
            format!(r#"{{"pubkey":"{hex}","challenge":"{hex}","nonce":"AAAA","channel_binding":"{long}"}}"#);
        let claim = claim(&format!(r#"{{"authid":"alice","authextra":{extra}}}"#));
        assert_eq!(claim.authid.as_deref(), Some("alice"));
        assert!(claim.pubkey.is_some() && claim.challenge.is_some() && claim.nonce.is_some());
        assert_eq!(claim.channel_binding.unwrap().len(), BINDING_BYTES_MAX);
    }
}
