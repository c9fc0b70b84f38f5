//! What each authentication method computes, on both sides: the router verifies, the client answers. One file a method.
//!
//! Everything here is a pure function of its arguments: no state, no IO, no clock, no randomness of its own. Nonces,
//! challenges and the time of day come in; who asks whom, and when, is the router's and the client's business.
//!
//! ```text
//!   method       the router keeps                 the router asks          the client answers
//!   ticket       ticket, plain or hashed          nothing                  the ticket, which may be a token (jwt)
//!   wampcra      secret, or one derived of it     a text                   its HMAC
//!   wamp-scram   keys derived of the password     nonce, salt, cost        a proof; the router proves itself too
//!   cryptosign   public keys                      32 octets                their signature; the router signs on demand
//!   tls          fingerprints, subjects           nothing: TLS has asked   nothing: TLS has proved it
//! ```
//!
//! Invariants: what a peer sent is never trusted in length, form or cost; comparisons of secrets take the same time
//! however they come out; a [`Secret`] is never printed, and wiped in the end; for a principal that there is not, each
//! stored form that shows a salt has a *decoy*: what is asked of it looks the same from one time to the next, and
//! nothing answers it.
//!
//! Spec: advanced profile, "Authentication Methods".

pub mod binding;
pub mod certificate;
pub mod cryptosign;
pub mod distinguished_name;
mod encoding;
mod hash;
pub mod jwt;
pub mod key;
pub mod scram;
mod secret;
pub mod ticket;
pub mod wampcra;

pub use encoding::{base64, hex, unbase64, unhex};
pub use hash::{
    ARGON2_MEMORY_KIB_MAX, ARGON2_MEMORY_KIB_MIN, ARGON2_WORK_KIB_MAX, CostOutOfRange, PBKDF2_ITERATIONS_MAX,
    hmac_sha256, sha256,
};
pub use secret::{SECRET_FILE_BYTES_MAX, Secret};

/// The methods, by what they prove. Some have two names: see [`scram::Dialect`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Method {
    /// Nothing is proved.
    Anonymous,
    /// By a cookie that an earlier session of the same browser was given.
    Cookie,
    /// By a signature (advanced profile, "Cryptosign-based Authentication").
    Cryptosign,
    /// By a password that does not travel (advanced profile, "Salted Challenge Response Authentication").
    Scram,
    /// By a secret that travels (advanced profile, "Ticket-based Authentication").
    Ticket,
    /// By the certificate that TLS has asked for.
    Tls,
    /// By a shared secret that does not travel (advanced profile, "Challenge Response Authentication").
    WampCra,
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 7] = [
        Method::Anonymous,
        Method::Cookie,
        Method::Cryptosign,
        Method::Scram,
        Method::Ticket,
        Method::Tls,
        Method::WampCra,
    ];

    /// The method of a name in `authmethods`, or in a configuration.
    pub fn from_name(name: &str) -> Option<Method> {
        match name {
            "scram" => Some(Method::Scram),
            name => Method::ALL.into_iter().find(|method| method.name() == name),
        }
    }

    /// The specification's name.
    pub fn name(self) -> &'static str {
        match self {
            Method::Anonymous => "anonymous",
            Method::Cookie => "cookie",
            Method::Cryptosign => "cryptosign",
            Method::Scram => "wamp-scram",
            Method::Ticket => "ticket",
            Method::Tls => "tls",
            Method::WampCra => "wampcra",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_found_by_their_names() {
        for method in Method::ALL {
            assert_eq!(Method::from_name(method.name()), Some(method));
        }
        assert_eq!(Method::from_name("scram"), Some(Method::Scram));
        assert_eq!(Method::from_name("password"), None);
    }
}
