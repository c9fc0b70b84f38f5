//! WAMP-CRA: the client signs a text with a secret that both sides know.
//!
//! With salt, the secret is not the password but derived of it: PBKDF2, and of that the base64 text, as every client
//! does it. Such a derived secret is all that the router needs to keep.
//!
//! Spec: advanced profile, "Challenge Response Authentication".

use hmac::Mac;

use super::encoding::{base64, unbase64};
use super::hash::{CostOutOfRange, hmac, hmac_sha256, pbkdf2};
use super::secret::Secret;

/// How a secret is derived of a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Salting {
    /// Any text; its octets are the salt.
    pub salt: String,
    /// Rounds.
    pub iterations: u32,
    /// Octets of the key.
    pub keylen: u32,
}

impl Salting {
    /// What clients take if the router does not say it.
    pub const ITERATIONS_DEFAULT: u32 = 1000;
    /// What clients take if the router does not say it.
    pub const KEYLEN_DEFAULT: u32 = 32;
    /// More than a signature can make use of.
    const KEYLEN_MAX: u32 = 256;

    /// The secret that stands for the password.
    pub fn derive(&self, password: &Secret) -> Result<Secret, CostOutOfRange> {
        if self.keylen > Salting::KEYLEN_MAX {
            return Err(CostOutOfRange);
        }
        let key = pbkdf2(password.expose(), self.salt.as_bytes(), self.iterations, self.keylen as usize)?;
        Ok(Secret::from(base64(&key)))
    }

    /// Rounds that deriving takes in all.
    fn rounds(&self) -> u64 {
        u64::from(self.iterations) * u64::from(self.keylen.div_ceil(32))
    }

    /// True if that has the form of a derived secret.
    fn may_have_derived(&self, secret: &Secret) -> bool {
        secret.text().and_then(unbase64).is_some_and(|key| key.len() == self.keylen as usize)
    }
}

/// What the router keeps of a principal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// What signs the challenge: with salt the derived secret.
    pub secret: Secret,
    /// How the client comes from its password to the secret.
    pub salting: Option<Salting>,
}

impl Stored {
    /// What Crossbar.io has of a principal. With salt that is one of two things: what is derived of the password, as it
    /// documents; or the password, of which it derives the rest itself since 2025. The base64 of just as many octets as
    /// a derived key has counts as the former. Nothing is derived that takes more than so many rounds.
    pub fn of_crossbar(
        secret: Secret,
        salting: Option<Salting>,
        rounds_max: u32,
    ) -> Result<Stored, CostOutOfRange> {
        let secret = match &salting {
            Some(salting) if !salting.may_have_derived(&secret) && salting.rounds() > rounds_max.into() => {
                return Err(CostOutOfRange);
            }
            Some(salting) if !salting.may_have_derived(&secret) => salting.derive(&secret)?,
            _ => secret,
        };
        Ok(Stored { secret, salting })
    }

    /// Stands in for a principal that there is not. `key` is a secret of the router that stays the same; the salting
    /// is as that of another of its principals, with a salt that looks like its one.
    pub fn decoy(key: &Secret, authid: &str, like: Option<&Salting>) -> Stored {
        let random = |label: &str| hmac_sha256(key.expose(), format!("wampcra {label} {authid}").as_bytes());
        let salting = like.map(|like| Salting { salt: salt_like(&like.salt, random), ..*like });
        Stored { secret: Secret::from(base64(&random("secret"))), salting }
    }
}

/// A drawn salt of the same length and alphabet as another: if that is in base64, of as many octets; or else of the
/// kinds of characters that it has.
fn salt_like(other: &str, random: impl Fn(&str) -> [u8; 32]) -> String {
    let drawn = |count: usize| (0..).flat_map(|block| random(&format!("salt {block}"))).take(count);
    let is_mixed =
        other.bytes().any(|it| it.is_ascii_uppercase()) && other.bytes().any(|it| it.is_ascii_lowercase());
    if is_mixed && let Some(octets) = unbase64(other) {
        return base64(&drawn(octets.len()).collect::<Vec<_>>());
    }
    let kinds = [('0', '9'), ('a', 'f'), ('g', 'z'), ('A', 'F'), ('G', 'Z')];
    let kind_of = |it: char| kinds.into_iter().find(|(first, last)| (*first..=*last).contains(&it));
    let mut alphabet: Vec<char> =
        other.chars().flat_map(|it| kind_of(it).map_or(it..=it, |(first, last)| first..=last)).collect();
    alphabet.sort_unstable();
    alphabet.dedup();
    drawn(other.chars().count()).map(|octet| alphabet[usize::from(octet) % alphabet.len()]).collect()
}

/// A salt as `fanwire hash` makes it: base64 without padding.
pub fn salt(random: [u8; 15]) -> String {
    base64(&random)
}

/// What a challenge says.
#[derive(Clone, Copy, Debug, serde::Serialize)]
#[allow(missing_docs)]
pub struct Challenge<'a> {
    pub authid: &'a str,
    pub authrole: &'a str,
    pub authmethod: &'a str,
    pub authprovider: &'a str,
    pub nonce: &'a str,
    /// ISO 8601, UTC.
    pub timestamp: &'a str,
    pub session: u64,
}

impl Challenge<'_> {
    /// The text that is sent, and signed: a JSON object.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("texts and a number have a form in JSON")
    }
}

/// The signature of a challenge, as it stands in AUTHENTICATE.
pub fn sign(secret: &Secret, challenge: &str) -> String {
    base64(&hmac_sha256(secret.expose(), challenge.as_bytes()))
}

/// True if that is the signature of this challenge.
pub fn verify(secret: &Secret, challenge: &str, signature: &str) -> bool {
    let Some(signature) = unbase64_digest(signature) else { return false };
    hmac(secret.expose()).chain_update(challenge).verify_slice(&signature).is_ok()
}

/// 32 octets in base64; looks at no text that is longer.
pub(super) fn unbase64_digest(text: &str) -> Option<[u8; 32]> {
    if text.len() != 44 {
        return None;
    }
    unbase64(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &str = r#"{ "nonce": "LHRTC9zeOIrt_9U3", "authprovider": "userdb", "authid": "peter", "timestamp": "2014-06-22T16:36:25.448Z", "authrole": "user", "authmethod": "wampcra", "session": 3251278072152162}"#;

    #[test]
    fn the_signature_is_the_hmac_of_the_text() {
        // Computed with Python's hmac module.
        let secret = Secret::from("secret1");
        let signature = sign(&secret, CHALLENGE);
        assert_eq!(signature, "g3rbrS3LXjzaG0ZMGw5j6di+rkK5pbpkzm2R8O7LfxQ=");
        assert!(verify(&secret, CHALLENGE, &signature));
    }

    #[test]
    fn with_salt_the_base64_of_the_derived_key_signs() {
        let salting = Salting { salt: "salt123".to_owned(), iterations: 1000, keylen: 32 };
        let secret = salting.derive(&Secret::from("secret1")).unwrap();
        assert_eq!(secret.text(), Some("64xfzBvZhGDT7PB0bQwDeI8/WR1M9x6Cw5dt0yP9koc="));
        assert_eq!(sign(&secret, CHALLENGE), "QOHdDPVpF0yfu50oO35WjoVN0CYN2Jwm+IY5YyRbKLk=");
        for (iterations, keylen) in [(0, 32), (u32::MAX, 32), (1000, 0), (1000, 257), (1000, u32::MAX)] {
            let salting = Salting { salt: String::new(), iterations, keylen };
            assert!(salting.derive(&secret).is_err(), "{salting:?}");
        }
    }

    #[test]
    fn crossbar_has_derived_secrets_or_passwords() {
        let salting = Salting { salt: "salt123".to_owned(), iterations: 1000, keylen: 32 };
        let derived = salting.derive(&Secret::from("secret1")).unwrap();
        for secret in [Secret::from("secret1"), derived.clone()] {
            let stored = Stored::of_crossbar(secret, Some(salting.clone()), 1000).unwrap();
            assert_eq!((stored.secret, stored.salting.as_ref()), (derived.clone(), Some(&salting)));
        }
        // The derived key of another length is a password here.
        let shorter = Salting { keylen: 16, ..salting };
        assert_ne!(Stored::of_crossbar(derived.clone(), Some(shorter), 1000).unwrap().secret, derived);
        assert_eq!(Stored::of_crossbar(derived.clone(), None, 0).unwrap().secret, derived);
        let costly = Salting { salt: String::new(), iterations: u32::MAX, keylen: 32 };
        assert!(Stored::of_crossbar(Secret::from("secret1"), Some(costly), u32::MAX).is_err());
        // Only what would have to be derived is too much.
        let more = Salting { salt: "salt123".to_owned(), iterations: 501, keylen: 33 };
        assert!(Stored::of_crossbar(Secret::from("secret1"), Some(more.clone()), 1001).is_err());
        assert!(Stored::of_crossbar(Secret::from("secret1"), Some(more.clone()), 1002).is_ok());
        let derived = more.derive(&Secret::from("secret1")).unwrap();
        assert_eq!(Stored::of_crossbar(derived.clone(), Some(more), 1).unwrap().secret, derived);
    }

    #[test]
    fn other_signatures_are_refused() {
        let secret = Secret::from("secret1");
        let good = sign(&secret, CHALLENGE);
        let canonical_twin = format!("{}J=", &good[..42]);
        let wrong = [
            String::new(),
            good[..43].to_owned(),
            format!("{good}="),
            format!("{good}{good}"),
            good.replace('=', " "),
            format!("{}\n", &good[..43]),
            canonical_twin,
            sign(&Secret::from("secret2"), CHALLENGE),
            sign(&secret, &CHALLENGE.replace("peter", "petra")),
            "=".repeat(44),
            "\u{fffd}".repeat(44),
            "A".repeat(1 << 20),
        ];
        for signature in wrong {
            assert!(!verify(&secret, CHALLENGE, &signature), "{signature:.60}");
        }
    }

    #[test]
    fn a_challenge_is_a_json_object_whatever_the_names_are() {
        let challenge = Challenge {
            authid: "pe\"ter\n",
            authrole: "user",
            authmethod: "wampcra",
            authprovider: "static",
            nonce: "abc",
            timestamp: "2026-01-01T00:00:00.000Z",
            session: 1 << 53,
        };
        let text = challenge.text();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["authid"], "pe\"ter\n");
        assert_eq!(read["session"], 1u64 << 53);
        assert_eq!(read.as_object().unwrap().len(), 7);
    }

    #[test]
    fn a_decoy_is_the_same_from_one_time_to_the_next_and_looks_like_the_others() {
        let key = Secret::from("the router's");
        let like = Salting { salt: salt([7; 15]), iterations: 1000, keylen: 32 };
        let decoy = Stored::decoy(&key, "nobody", Some(&like));
        assert_eq!(decoy, Stored::decoy(&key, "nobody", Some(&like)));
        assert_ne!(decoy, Stored::decoy(&key, "somebody", Some(&like)));
        assert_ne!(decoy, Stored::decoy(&Secret::from("another's"), "nobody", Some(&like)));
        let salting = decoy.salting.unwrap();
        assert_eq!((salting.salt.len(), salting.iterations, salting.keylen), (like.salt.len(), 1000, 32));
        let drawn = |other: &str| {
            let like = Salting { salt: other.to_owned(), ..like.clone() };
            Stored::decoy(&key, "nobody", Some(&like)).salting.unwrap().salt
        };
        // Base64 with its padding, hexadecimal, and whatever people make up.
        let base = drawn("8CTCqt6QOAGEe58MwRV9vA==");
        assert!(base.len() == 24 && unbase64(&base).is_some_and(|octets| octets.len() == 16), "{base}");
        let hex = drawn(&"0f".repeat(40));
        assert!(hex.len() == 80 && hex.bytes().all(|it| b"0123456789abcdef".contains(&it)), "{hex}");
        assert_ne!(hex[..40], hex[40..]);
        let word = drawn("salt-ü");
        assert!(word.chars().count() == 6, "{word}");
        assert!(word.chars().all(|it| it.is_ascii_lowercase() || it == '-' || it == 'ü'), "{word}");
        assert_eq!(drawn(""), "");
        assert_eq!(Stored::decoy(&key, "nobody", None).salting, None);
    }
}
