//! The primitives that the methods are made of, and what a peer or a file may make them cost.
//!
//! A client derives keys at a cost that the router names, before it knows whether that is the router; a router checks
//! hashed tickets at a cost that a file names. Both are bounded here, in time and in memory.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Rounds of PBKDF2, for each 32 octets of the key: some seconds.
pub const PBKDF2_ITERATIONS_MAX: u32 = 10_000_000;

/// Memory of Argon2 in KiB: a gibibyte.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 1 << 20;

/// KiB that Argon2 walks over in all its iterations: some seconds.
pub const ARGON2_WORK_KIB_MAX: u64 = 1 << 23;

/// The least memory that Argon2 can do with, in KiB.
pub const ARGON2_MEMORY_KIB_MIN: u32 = 8;

/// Octets of salt that Argon2 needs, and that nothing needs more of.
pub const SALT_BYTES_MIN: usize = 8;
/// Octets of salt at most.
pub const SALT_BYTES_MAX: usize = 256;

/// A derivation would cost too much, or is not defined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CostOutOfRange;

impl fmt::Display for CostOutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cost of the key derivation, or its salt, is out of range")
    }
}

impl std::error::Error for CostOutOfRange {}

/// SHA-256.
pub fn sha256(octets: &[u8]) -> [u8; 32] {
    Sha256::digest(octets).into()
}

/// The state of HMAC-SHA256 with that key.
pub fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// HMAC-SHA256 (RFC 2104).
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    hmac(key).chain_update(message).finalize().into_bytes().into()
}

/// PBKDF2 with HMAC-SHA256 (RFC 8018, section 5.2).
pub fn pbkdf2(
    secret: &[u8],
    salt: &[u8],
    iterations: u32,
    key_bytes: usize,
) -> Result<Zeroizing<Vec<u8>>, CostOutOfRange> {
    let blocks = u32::try_from(key_bytes.div_ceil(32)).map_err(|_| CostOutOfRange)?;
    let rounds = iterations.checked_mul(blocks).ok_or(CostOutOfRange)?;
    if rounds == 0 || rounds > PBKDF2_ITERATIONS_MAX || salt.len() > SALT_BYTES_MAX {
        return Err(CostOutOfRange);
    }
    let mut key = Zeroizing::new(vec![0; key_bytes]);
    pbkdf2::pbkdf2_hmac::<Sha256>(secret, salt, iterations, &mut key);
    Ok(key)
}

/// 32 octets of Argon2id 1.3 with one lane (RFC 9106).
pub fn argon2id(
    secret: &[u8],
    salt: &[u8],
    iterations: u32,
    memory_kib: u32,
) -> Result<Zeroizing<[u8; 32]>, CostOutOfRange> {
    check_argon2id(salt, iterations, memory_kib)?;
    let params = Params::new(memory_kib, iterations, 1, Some(32)).map_err(|_| CostOutOfRange)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(secret, salt, key.as_mut())
        .map_err(|_| CostOutOfRange)?;
    Ok(key)
}

/// Whether [`argon2id`] may be asked for that.
pub fn check_argon2id(salt: &[u8], iterations: u32, memory_kib: u32) -> Result<(), CostOutOfRange> {
    let memory = (ARGON2_MEMORY_KIB_MIN..=ARGON2_MEMORY_KIB_MAX).contains(&memory_kib);
    let work = u64::from(iterations) * u64::from(memory_kib) <= ARGON2_WORK_KIB_MAX;
    let salted = (SALT_BYTES_MIN..=SALT_BYTES_MAX).contains(&salt.len());
    if memory && work && salted && iterations > 0 { Ok(()) } else { Err(CostOutOfRange) }
}

#[cfg(test)]
mod tests {
    use super::super::encoding::hex;
    use super::*;

    /// RFC 7914, section 11.
    #[test]
    fn pbkdf2_is_that_of_the_rfc() {
        let key = pbkdf2(b"passwd", b"salt", 1, 64).unwrap();
        let expected = "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc\
                        49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783";
        assert_eq!(hex(&key), expected);
        let key = pbkdf2(b"Password", b"NaCl", 80_000, 64).unwrap();
        let expected = "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56\
                        a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d";
        assert_eq!(hex(&key), expected);
    }

    /// RFC 4231, test cases 2 and 6.
    #[test]
    fn hmac_is_that_of_the_rfc() {
        let mac = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(&mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let mac = hmac_sha256(&[0xAA; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex(&mac), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn costs_out_of_range_are_refused() {
        for (iterations, key_bytes) in [(0, 32), (10_000_001, 32), (5_000_001, 33), (1, 0), (u32::MAX, 64)] {
            assert!(pbkdf2(b"", b"", iterations, key_bytes).is_err(), "{iterations} {key_bytes}");
        }
        let salt = [1; 16];
        for (iterations, memory_kib) in
            [(0, 64), (1, 7), (1, (1 << 20) + 1), (9, 1 << 20), (u32::MAX, 8), (u32::MAX, u32::MAX)]
        {
            assert!(argon2id(b"", &salt, iterations, memory_kib).is_err(), "{iterations} {memory_kib}");
        }
        assert!(argon2id(b"", &[1; 7], 1, 64).is_err() && argon2id(b"", &[1; 257], 1, 64).is_err());
    }
}
