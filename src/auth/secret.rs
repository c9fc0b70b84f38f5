//! Octets that nobody should see: passwords, keys, tickets.
//!
//! Invariants: a secret is never printed, not even in part or by its length; its memory is overwritten when it is
//! dropped; two are compared in a time that does not depend on where they differ.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::hash::sha256;

/// Octets of a file with a secret: more than any key or ticket has.
pub const SECRET_FILE_BYTES_MAX: usize = 64 * 1024;

/// A password, key or ticket.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the octets. What they were copied from before is the caller's business.
    pub fn new(octets: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(octets))
    }

    /// The octets. Whoever copies them wipes the copy.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The same as text, if it is.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The same without the end of its line, of which a file with a secret may have one.
    pub fn without_line_end(self) -> Secret {
        let octets = self.expose();
        let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
        let octets = octets.strip_suffix(b"\r").unwrap_or(octets);
        Secret::new(octets.to_vec())
    }

    /// True without any octets.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if these are the same octets. Digests are compared, so that not even the length tells anything.
    pub fn is(&self, octets: &[u8]) -> bool {
        sha256(&self.0).ct_eq(&sha256(octets)).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.is(other.expose())
    }
}

impl Eq for Secret {}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret::new(text.into_bytes())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed_and_compared_whole() {
        let secret = Secret::from("swordfish");
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "Secret Some(\n    Secret,\n)");
        assert_eq!(secret, Secret::from("swordfish".to_owned()));
        for other in ["", "swordfis", "swordfish ", "Swordfish"] {
            assert!(secret != Secret::from(other) && !secret.is(other.as_bytes()), "{other}");
        }
        for line in ["swordfish\n", "swordfish\r\n", "swordfish\r"] {
            assert_eq!(Secret::from(line).without_line_end(), secret);
        }
        assert_eq!(Secret::from("swordfish\n\n").without_line_end().text(), Some("swordfish\n"));
        assert_eq!((secret.text(), Secret::new(vec![0xFF]).text()), (Some("swordfish"), None));
    }
}
