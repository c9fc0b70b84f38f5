//! Who is known in a realm, and what proves that it is who it says.
//!
//! For a name that nobody has, one of those who are known *stands in*: the same one each time, chosen by a secret of
//! the router. So what is asked of an unknown name (which methods, at which cost, with which salt or none) is what is
//! asked of some known one: with a salt of the same length and alphabet, though not the same. Which methods a name has,
//! its own or those of whoever stands in, can be asked; not which of the two it is.

use std::sync::Arc;

use super::super::session::Map;
use super::{Extra, Role};
use crate::auth::certificate::{Certificate, Fingerprint, Subject};
use crate::auth::cryptosign::PublicKey;
use crate::auth::{Method, Secret, hmac_sha256, scram, ticket, wampcra};

/// Somebody who is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Principal {
    /// Its name.
    pub authid: Box<str>,
    /// What it is, if not what its method makes of it.
    pub role: Option<Arc<Role>>,
    /// What WELCOME says in `authextra`.
    pub extra: Option<Extra>,
    /// What proves it.
    pub ticket: Option<ticket::Stored>,
    /// What proves it.
    pub wampcra: Option<wampcra::Stored>,
    /// What proves it.
    pub scram: Option<scram::Stored>,
    /// The keys that it may sign with.
    pub keys: Vec<PublicKey>,
    /// Its certificates.
    pub fingerprints: Vec<Fingerprint>,
    /// Certificates of an authority that are for it.
    pub subjects: Vec<Subject>,
}

impl Principal {
    /// True if there is something by which it could prove itself so.
    pub fn has(&self, method: Method) -> bool {
        match method {
            Method::Anonymous | Method::Cookie => false,
            Method::Cryptosign => !self.keys.is_empty(),
            Method::Scram => self.scram.is_some(),
            Method::Ticket => self.ticket.is_some(),
            Method::Tls => !self.fingerprints.is_empty() || !self.subjects.is_empty(),
            Method::WampCra => self.wampcra.is_some(),
        }
    }

    /// True if that certificate is its own. `vouched`: TLS has checked it against a configured authority.
    pub fn shows(&self, certificate: &Certificate, vouched: bool) -> bool {
        self.fingerprints.iter().any(|fingerprint| certificate.has(fingerprint))
            || vouched && self.subjects.iter().any(|subject| subject.matches(certificate))
    }
}

/// All who are known in a realm.
#[derive(Clone, Debug, Default)]
pub struct Principals {
    all: Vec<Arc<Principal>>,
    by_authid: Map<Box<str>, Arc<Principal>>,
    by_key: Map<PublicKey, Arc<Principal>>,
    by_certificate: Vec<Arc<Principal>>,
}

impl PartialEq for Principals {
    fn eq(&self, other: &Principals) -> bool {
        // The rest is made of that.
        self.all == other.all
    }
}

impl Eq for Principals {}

impl Principals {
    /// These. Of two with the same name or key the first counts.
    pub fn new(principals: impl IntoIterator<Item = Principal>) -> Principals {
        let mut known = Principals::default();
        for principal in principals {
            let principal = Arc::new(principal);
            if known.by_authid.contains_key(&principal.authid) {
                continue;
            }
            for key in &principal.keys {
                known.by_key.entry(*key).or_insert_with(|| principal.clone());
            }
            if principal.has(Method::Tls) {
                known.by_certificate.push(principal.clone());
            }
            known.by_authid.insert(principal.authid.clone(), principal.clone());
            known.all.push(principal);
        }
        known
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Principal>> {
        self.all.iter()
    }

    /// Who has that name.
    pub fn named(&self, authid: &str) -> Option<&Arc<Principal>> {
        self.by_authid.get(authid)
    }

    /// Who has that key.
    pub fn with_key(&self, key: &PublicKey) -> Option<&Arc<Principal>> {
        self.by_key.get(key)
    }

    /// Whose that certificate is; the first in order, if it is several ones'.
    pub fn with_certificate(&self, certificate: &Certificate, vouched: bool) -> Option<&Arc<Principal>> {
        self.by_certificate.iter().find(|principal| principal.shows(certificate, vouched))
    }

    /// Who stands in for a name that nobody has.
    pub fn stand_in(&self, key: &Secret, authid: &str) -> Option<&Arc<Principal>> {
        let digest = hmac_sha256(key.expose(), format!("stand-in {authid}").as_bytes());
        let draw = u64::from_le_bytes(*digest.first_chunk().expect("a digest has 32 octets"));
        let count = self.all.len() as u64;
        (count > 0).then(|| &self.all[(draw % count) as usize])
    }

    /// True if somebody has a certificate.
    pub fn have_certificates(&self) -> bool {
        !self.by_certificate.is_empty()
    }

    /// True if somebody has a key.
    pub fn have_keys(&self) -> bool {
        !self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(authid: &str, key: u8) -> Principal {
        Principal { authid: authid.into(), keys: vec![[key; 32].into()], ..Principal::default() }
    }

    #[test]
    fn the_first_of_a_name_or_key_counts() {
        let known = Principals::new([principal("a", 1), principal("b", 1), principal("a", 2)]);
        assert_eq!(&*known.with_key(&[1; 32].into()).unwrap().authid, "a");
        assert!(known.with_key(&[2; 32].into()).is_none());
        assert!(known.named("b").is_some() && known.named("c").is_none());
        assert!(known.have_keys() && !Principals::default().have_keys());
    }

    #[test]
    fn the_same_one_stands_in_each_time_and_each_one_for_some() {
        let known = Principals::new((0..4).map(|n| principal(&format!("p{n}"), n)));
        let secret = Secret::from("a secret");
        let mut counts = [0; 4];
        for n in 0..400 {
            let name = format!("unknown{n}");
            let one = known.stand_in(&secret, &name).unwrap();
            assert!(Arc::ptr_eq(one, known.stand_in(&secret, &name).unwrap()));
            counts[one.authid[1..].parse::<usize>().unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (60..140).contains(count)), "{counts:?}");
        assert!(Principals::default().stand_in(&secret, "x").is_none());
    }
}
