//! What authentication is made of, below everything else: the names of its methods, and secrets.
//!
//! Spec: advanced profile, "Authentication Methods".

mod secret;

pub use secret::Secret;

/// The methods, by what they prove.
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
