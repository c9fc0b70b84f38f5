//! Who is known in a realm, and what proves that it is who it says.
//!
//! For a name that nobody has, one of those who are known *stands in*: the same one each time, chosen by a secret of
//! the router. So what is asked of an unknown name (which methods, at which cost, with which salt or none) is what is
//! asked of some known one: with a salt of the same length and alphabet, though not the same. It is one who could prove
//! itself by a method that the client offers, and a known one who could not is stood in for as if it were unknown: so
//! whoever offers one method is asked by it, whatever the name is, as long as anybody proves itself so. Of several the
//! method is drawn before the principal, so that one that few have is not a sign of somebody who is there. Which
//! methods a name has, its own or those of whoever stands in, can be asked; not which of the two it is.
//!
//! Whoever comes or goes in the settings changes few names' stand-in: names and principals fall on a ring, and the next
//! one on it stands in. Otherwise who looks before and after a change would see all unknown names changing.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::super::session::Map;
use super::{Extra, Role};
use crate::auth::certificate::{Certificate, Fingerprint, Subject};
use crate::auth::cryptosign::PublicKey;
use crate::auth::{Method, Secret, hmac_sha256, scram, sha256, ticket, wampcra};

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

    /// True if it proves itself by that method with all that the other one does.
    pub fn proves_as(&self, other: &Principal, method: Method) -> bool {
        match method {
            Method::Anonymous | Method::Cookie => false,
            // Which of them was used is not known; all of them are there still.
            Method::Cryptosign => other.keys.iter().all(|key| self.keys.contains(key)),
            Method::Scram => self.scram == other.scram,
            Method::Ticket => self.ticket == other.ticket,
            Method::Tls => {
                other.fingerprints.iter().all(|shown| self.fingerprints.contains(shown))
                    && other.subjects.iter().all(|subject| self.subjects.contains(subject))
            }
            Method::WampCra => self.wampcra == other.wampcra,
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
    /// Those who could prove themselves by a challenge of that method, in the order of their places.
    rings: BTreeMap<Method, Vec<(u64, Arc<Principal>)>>,
}

/// Digests of a name, of four places on a ring each.
const DIGESTS: u8 = 4;

/// Methods that ask something of a name.
const ASKING: [Method; 4] = [Method::Cryptosign, Method::Scram, Method::Ticket, Method::WampCra];

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
            let places: Vec<_> = places(&principal.authid).collect();
            for method in ASKING.into_iter().filter(|method| principal.has(*method)) {
                let ring = known.rings.entry(method).or_default();
                ring.extend(places.iter().map(|place| (*place, principal.clone())));
            }
            known.by_authid.insert(principal.authid.clone(), principal.clone());
            known.all.push(principal);
        }
        known.rings.values_mut().for_each(|ring| ring.sort_by_key(|(place, _)| *place));
        known
    }

    /// The same, of whom each that has a role has the one that this makes of it.
    pub fn with_roles(&self, role: impl Fn(&Arc<Role>) -> Arc<Role>) -> Principals {
        Principals::new(self.all.iter().map(|principal| {
            let principal = Principal::clone(principal);
            Principal { role: principal.role.as_ref().map(&role), ..principal }
        }))
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

    /// Who stands in for a name, of those who could be asked something by one of these methods. A few probes, however
    /// many principals there are.
    pub fn stand_in(
        &self,
        key: &Secret,
        authid: &str,
        methods: impl Iterator<Item = Method>,
    ) -> Option<&Arc<Principal>> {
        let draw = |what: &str| {
            let digest = hmac_sha256(key.expose(), format!("stand-in {what} {authid}").as_bytes());
            u64s(&digest).next().unwrap_or_default()
        };
        let rings = methods.filter_map(|method| Some((method, self.rings.get(&method)?)));
        let (_, ring) = rings.max_by_key(|(method, _)| draw(method.name()))?;
        let draw = draw("principal");
        let next = ring.partition_point(|(place, _)| *place < draw);
        ring.get(next).or(ring.first()).map(|(_, principal)| principal)
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

/// Where a principal stands on a ring. It is there several times, so that each stands in for about as many names.
fn places(authid: &str) -> impl Iterator<Item = u64> {
    (0..DIGESTS).flat_map(move |number| {
        u64s(&sha256(format!("{number} {authid}").as_bytes())).collect::<SmallVec<[u64; 4]>>()
    })
}

fn u64s(digest: &[u8; 32]) -> impl Iterator<Item = u64> {
    digest.as_chunks().0.iter().map(|octets| u64::from_le_bytes(*octets))
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

    fn by(authid: &str, method: Method) -> Principal {
        let principal = Principal { authid: authid.into(), ..Principal::default() };
        match method {
            Method::Ticket => Principal { ticket: Some(ticket::Stored::read("t").unwrap()), ..principal },
            _ => Principal { keys: vec![[7; 32].into()], ..principal },
        }
    }

    #[test]
    fn the_same_one_stands_in_each_time_and_each_one_for_some() {
        let all = |count| Principals::new((0..count).map(|n| principal(&format!("p{n}"), n)));
        let (known, secret) = (all(4), Secret::from("a secret"));
        let stand_in = |known: &Principals, n| {
            let name = format!("unknown{n}");
            known.stand_in(&secret, &name, [Method::Cryptosign].into_iter()).unwrap().authid.clone()
        };
        let mut counts = [0; 4];
        for n in 0..400 {
            let one = stand_in(&known, n);
            assert_eq!(one, stand_in(&known, n));
            counts[one[1..].parse::<usize>().unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (40..200).contains(count)), "{counts:?}");
        let nobody = Principals::default();
        assert!(nobody.stand_in(&secret, "x", [Method::Cryptosign].into_iter()).is_none());
        // One who comes takes names over, and moves no others.
        let more = all(5);
        let moved = (0..400).filter(|n| stand_in(&known, *n) != stand_in(&more, *n));
        let moved: Vec<_> = moved.map(|n| stand_in(&more, n)).collect();
        assert!(moved.len() < 300 && moved.iter().all(|one| **one == *"p4"), "{}", moved.len());
    }

    #[test]
    fn who_stands_in_could_be_asked_by_what_is_offered() {
        let known = Principals::new((0..20).map(|n| match n {
            7 => by("p7", Method::Cryptosign),
            _ => by(&format!("p{n}"), Method::Ticket),
        }));
        let (secret, mut signers) = (Secret::from("a secret"), 0);
        for n in 0..200 {
            let name = format!("unknown{n}");
            let stand_in = |methods: &[Method]| known.stand_in(&secret, &name, methods.iter().copied());
            assert_eq!(&*stand_in(&[Method::Cryptosign]).unwrap().authid, "p7");
            let (ticket, either) =
                (stand_in(&[Method::Ticket]), stand_in(&[Method::Ticket, Method::Cryptosign]));
            assert!(ticket.unwrap().has(Method::Ticket) && stand_in(&[Method::Scram]).is_none());
            // It is the same one as for one of them.
            let either = either.unwrap();
            assert!(*either.authid == *"p7" || Arc::ptr_eq(either, ticket.unwrap()));
            signers += usize::from(*either.authid == *"p7");
        }
        assert!((60..140).contains(&signers), "what few have is no sign: {signers}");
    }

    #[test]
    fn who_has_another_key_besides_proves_the_same() {
        let (one, other) = (by("a", Method::Cryptosign), principal("a", 9));
        let both = Principal { keys: [&*one.keys, &*other.keys].concat(), ..one.clone() };
        assert!(both.proves_as(&one, Method::Cryptosign) && !one.proves_as(&both, Method::Cryptosign));
    }

    #[test]
    fn the_same_secret_proves_the_same() {
        let (one, other) = (by("a", Method::Ticket), by("b", Method::Ticket));
        let another = Principal { ticket: Some(ticket::Stored::read("u").unwrap()), ..one.clone() };
        assert!(one.proves_as(&other, Method::Ticket) && !one.proves_as(&another, Method::Ticket));
        assert!(!one.proves_as(&one, Method::Cookie));
    }
}
