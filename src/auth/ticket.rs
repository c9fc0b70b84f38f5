//! Tickets: a secret that the client sends as it is. The router keeps it plain or hashed.
//!
//! | stored form | for |
//! | --- | --- |
//! | `$argon2id$v=19$m=KIB,t=ITERATIONS,p=1$SALT$HASH` | passwords: guessing is slow, and so is checking |
//! | `$sha256$SALT$HASH` | tickets that a machine has drawn: nobody guesses them, and checking costs nothing |
//! | anything else | itself |
//!
//! Salt and hash are base64 without padding, as in the strings of other password hashers. A text that begins like a
//! hashed form and is none, or like one of other hashers (`$2b$12$…`), is refused, so neither a typing error nor a
//! hash that is not understood becomes a ticket.
//!
//! Spec: advanced profile, "Ticket-based Authentication".

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::encoding::{base64, unbase64};
use super::hash::{CostOutOfRange, SALT_BYTES_MAX, argon2id, check_argon2id};
use super::secret::Secret;

/// Octets of a ticket that a client may send; longer ones are nobody's.
pub const TICKET_BYTES_MAX: usize = 16 * 1024;

/// Octets of the salts that are made here.
const SALT_BYTES: usize = 16;

/// KiB that Argon2 walks over for a ticket: some tenths of a second, in which others wait for their checks.
pub const WORK_KIB_MAX: u64 = 1 << 18;

/// What the router keeps of a ticket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    /// The ticket.
    Plain(Secret),
    /// What a ticket is compared by.
    Hashed(Hashed),
}

/// A hashed ticket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hashed {
    kind: Kind,
    salt: Vec<u8>,
    hash: [u8; 32],
}

/// How a ticket is hashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Argon2id, and how much work it is.
    #[allow(missing_docs)]
    Argon2id { iterations: u32, memory_kib: u32 },
    /// One round of SHA-256 over salt and ticket.
    Sha256,
}

impl Kind {
    /// What `fanwire hash` takes for passwords: some hundredths of a second.
    pub const ARGON2ID_ITERATIONS: u32 = 2;
    /// The same, in KiB.
    pub const ARGON2ID_MEMORY_KIB: u32 = 19 * 1024;
    /// KiB that Argon2 walks over with both.
    pub const ARGON2ID_WORK_KIB: u64 = Kind::ARGON2ID_ITERATIONS as u64 * Kind::ARGON2ID_MEMORY_KIB as u64;

    fn hash(self, ticket: &[u8], salt: &[u8]) -> Result<[u8; 32], CostOutOfRange> {
        match self {
            Kind::Sha256 => Ok(Sha256::new().chain_update(salt).chain_update(ticket).finalize().into()),
            Kind::Argon2id { iterations, memory_kib } => {
                argon2id(ticket, salt, iterations, memory_kib).map(|hash| *hash)
            }
        }
    }

    fn check(self, salt: &[u8]) -> Result<(), CostOutOfRange> {
        let fits = match self {
            Kind::Sha256 => (1..=SALT_BYTES_MAX).contains(&salt.len()),
            Kind::Argon2id { iterations, memory_kib } => {
                check_argon2id(salt, iterations, memory_kib)?;
                u64::from(iterations) * u64::from(memory_kib) <= WORK_KIB_MAX
            }
        };
        if fits { Ok(()) } else { Err(CostOutOfRange) }
    }
}

/// Why a text is no stored form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoredError {
    /// Nothing, or nothing but white space: everybody could have that ticket.
    Empty,
    /// It begins like a hashed form, and does not go on like one.
    Malformed,
    /// The work of its check is out of range.
    Cost,
}

impl fmt::Display for StoredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StoredError::Empty => "a ticket cannot be empty",
            StoredError::Malformed => {
                "it begins like a hashed ticket, and is none of those known here; `fanwire hash` makes them"
            }
            StoredError::Cost => "the work of the hashed ticket is out of range",
        })
    }
}

impl std::error::Error for StoredError {}

impl Stored {
    /// Reads a stored form.
    pub fn read(text: &str) -> Result<Stored, StoredError> {
        if text.trim().is_empty() {
            return Err(StoredError::Empty);
        }
        if !is_like_a_hash(text) {
            return Ok(Stored::Plain(Secret::from(text)));
        }
        let hashed = Hashed::read(text).ok_or(StoredError::Malformed)?;
        hashed.kind.check(&hashed.salt).map_err(|_| StoredError::Cost)?;
        Ok(Stored::Hashed(hashed))
    }

    /// True if [`Stored::verify`] takes hundredths of a second.
    pub fn is_costly(&self) -> bool {
        self.work_kib() > 0
    }

    /// KiB that Argon2 walks over for it.
    pub fn work_kib(&self) -> u64 {
        match self {
            Stored::Hashed(Hashed { kind: Kind::Argon2id { iterations, memory_kib }, .. }) => {
                u64::from(*iterations) * u64::from(*memory_kib)
            }
            _ => 0,
        }
    }

    /// True if that is the ticket.
    pub fn verify(&self, ticket: &str) -> bool {
        if ticket.len() > TICKET_BYTES_MAX {
            return false;
        }
        match self {
            Stored::Plain(stored) => stored.is(ticket.as_bytes()),
            Stored::Hashed(hashed) => hashed.verify(ticket.as_bytes()),
        }
    }
}

/// True for `$NAME$…$…`: what hashers write, ours or another. A ticket that looks so is to be hashed itself.
fn is_like_a_hash(text: &str) -> bool {
    let mut parts = text.split('$');
    let (before, name, others) = (parts.next(), parts.next().unwrap_or_default(), parts.count());
    let named = !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    let known = name.starts_with("argon2") || (name == "sha256" && others > 0);
    before == Some("") && named && (known || others > 1)
}

impl Hashed {
    /// Hashes a ticket. The salt is this one's alone.
    pub fn new(ticket: &Secret, kind: Kind, salt: [u8; SALT_BYTES]) -> Result<Hashed, CostOutOfRange> {
        kind.check(&salt)?;
        let hash = kind.hash(ticket.expose(), &salt)?;
        Ok(Hashed { kind, salt: salt.to_vec(), hash })
    }

    fn verify(&self, ticket: &[u8]) -> bool {
        let hash = self.kind.hash(ticket, &self.salt);
        hash.is_ok_and(|hash| hash.ct_eq(&self.hash).into())
    }

    fn read(text: &str) -> Option<Hashed> {
        let fields: Vec<&str> = text.split('$').collect();
        let (kind, salt, hash) = match fields[..] {
            ["", "sha256", salt, hash] => (Kind::Sha256, salt, hash),
            ["", "argon2id", "v=19", cost, salt, hash] => (argon2id_cost(cost)?, salt, hash),
            _ => return None,
        };
        Some(Hashed { kind, salt: unpadded(salt)?, hash: unpadded(hash)?.try_into().ok()? })
    }
}

impl fmt::Display for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Sha256 => f.write_str("$sha256")?,
            Kind::Argon2id { iterations, memory_kib } => {
                write!(f, "$argon2id$v=19$m={memory_kib},t={iterations},p=1")?;
            }
        }
        let (salt, hash) = (base64(&self.salt), base64(&self.hash));
        write!(f, "${}${}", salt.trim_end_matches('='), hash.trim_end_matches('='))
    }
}

/// `m=19456,t=2,p=1`
fn argon2id_cost(text: &str) -> Option<Kind> {
    let (memory, rest) = text.strip_prefix("m=")?.split_once(",t=")?;
    let iterations = rest.strip_suffix(",p=1")?;
    Some(Kind::Argon2id { iterations: iterations.parse().ok()?, memory_kib: memory.parse().ok()? })
}

/// Canonical base64 that lacks its padding.
fn unpadded(text: &str) -> Option<Vec<u8>> {
    let padding = ["", "===", "==", "="][text.len() % 4];
    unbase64(&format!("{text}{padding}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Kind = Kind::Argon2id { iterations: 1, memory_kib: 8 };

    #[test]
    fn a_ticket_is_verified_in_every_stored_form() {
        let ticket = Secret::from("secret!!!");
        let mut forms = vec![Stored::read("secret!!!").unwrap()];
        for kind in [CHEAP, Kind::Sha256] {
            let text = Hashed::new(&ticket, kind, [3; 16]).unwrap().to_string();
            assert!(text.starts_with('$') && !text.contains("secret"), "{text}");
            let read = Stored::read(&text).unwrap();
            assert!(matches!(&read, Stored::Hashed(hashed) if hashed.to_string() == text));
            // What is stored does not open anything itself.
            assert!(!read.verify(&text));
            forms.push(read);
        }
        for stored in forms {
            assert!(stored.verify("secret!!!"));
            for wrong in ["", "secret!!", "secret!!!!", "Secret!!!", " secret!!!"] {
                assert!(!stored.verify(wrong), "{wrong}");
            }
            assert!(!stored.verify(&"s".repeat(TICKET_BYTES_MAX + 1)));
        }
    }

    /// Hashed by the reference implementation.
    #[test]
    fn hashes_of_others_are_read() {
        let stored = Stored::read(
            "$argon2id$v=19$m=64,t=2,p=1$8CTCqt6QOAGEe58MwRV9vA$CH4sZuRqMbBIeGJpkTtdScaII+HlMQzAaAV3/CCVo2o",
        )
        .unwrap();
        assert!(stored.verify("password") && !stored.verify("passwort"));
    }

    #[test]
    fn what_is_not_a_stored_form_is_refused() {
        let hash = Hashed::new(&Secret::from("a"), CHEAP, [3; 16]).unwrap().to_string();
        for (text, error) in [
            (String::new(), StoredError::Empty),
            (" \n".to_owned(), StoredError::Empty),
            (hash[..hash.len() - 1].to_owned(), StoredError::Malformed),
            (format!("{hash}$"), StoredError::Malformed),
            (hash.replace("argon2id", "argon2i"), StoredError::Malformed),
            (hash.replace("v=19", "v=16"), StoredError::Malformed),
            (hash.replace("p=1", "p=2"), StoredError::Malformed),
            (hash.replace("m=8", "m=-8"), StoredError::Malformed),
            (hash.replace("m=8", "m=7"), StoredError::Cost),
            (hash.replace("t=1", "t=0"), StoredError::Cost),
            (hash.replace("t=1", "t=4294967295"), StoredError::Cost),
            (hash.replace("m=8", "m=1048576"), StoredError::Cost),
            ("$sha256$$".to_owned(), StoredError::Malformed),
            (
                "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW".to_owned(),
                StoredError::Malformed,
            ),
            (
                "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4".to_owned(),
                StoredError::Malformed,
            ),
            ("$6$salt$hash".to_owned(), StoredError::Malformed),
            ("$sha256$AA".to_owned(), StoredError::Malformed),
        ] {
            assert_eq!(Stored::read(&text).err(), Some(error), "{text}");
        }
        assert!(
            Hashed::new(&Secret::from("a"), Kind::Argon2id { iterations: 9, memory_kib: 1 << 18 }, [3; 16])
                .is_err()
        );
        assert!(matches!(Stored::read("$1.50"), Ok(Stored::Plain(_))));
    }
}
