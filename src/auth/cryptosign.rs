//! Cryptosign: the client signs 32 octets with an Ed25519 key whose public half the router knows; on demand the router
//! does the same for the client.
//!
//! What is signed is the challenge, with channel binding XOR the connection's channel id. The answer is the signature
//! and what was signed, so 96 octets, in hexadecimal.
//!
//! Trustroots (certificate chains of Ethereum addresses) are not here: their format stands in the specification, but
//! they need secp256k1, Keccak-256 and EIP-712, and the roots stand on a blockchain.
//!
//! Spec: advanced profile, "Cryptosign-based Authentication"; RFC 8032.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, VerifyingKey};
use subtle::ConstantTimeEq;

use super::encoding::{hex, unhex};
use super::secret::Secret;

/// The public half of a key: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

/// A text is no public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoPublicKey;

impl PublicKey {
    /// Its octets.
    pub fn octets(&self) -> &[u8; 32] {
        &self.0
    }

    /// True if that is this key's signature of the message. Signatures have one form, and keys of small order, under
    /// which a signature would count for several messages, have none.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else { return false };
        key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl From<[u8; 32]> for PublicKey {
    fn from(octets: [u8; 32]) -> PublicKey {
        PublicKey(octets)
    }
}

impl FromStr for PublicKey {
    type Err = NoPublicKey;

    fn from_str(text: &str) -> Result<PublicKey, NoPublicKey> {
        unhex(text).map(PublicKey).ok_or(NoPublicKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Display for NoPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a public key is 64 hexadecimal digits")
    }
}

impl std::error::Error for NoPublicKey {}

/// A key pair.
#[derive(Clone)]
pub struct SigningKey(Secret);

impl SigningKey {
    /// The key pair of a seed, which is what others call the private key.
    pub fn from_seed(seed: &[u8; 32]) -> SigningKey {
        SigningKey(Secret::new(seed.to_vec()))
    }

    /// The seed.
    pub fn seed(&self) -> &[u8; 32] {
        self.0.expose().first_chunk().expect("a key is made of 32 octets")
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.pair().verifying_key().to_bytes())
    }

    /// The signature of a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair().sign(message).to_bytes()
    }

    /// Wiped when it is dropped.
    fn pair(&self) -> ed25519_dalek::SigningKey {
        ed25519_dalek::SigningKey::from_bytes(self.seed())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

/// 32 octets that the other side has drawn, in hexadecimal in `challenge`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Challenge([u8; 32]);

impl Challenge {
    /// A challenge of these random octets.
    pub fn new(random: [u8; 32]) -> Challenge {
        Challenge(random)
    }

    /// What somebody has sent.
    pub fn read(text: &str) -> Option<Challenge> {
        unhex(text).map(Challenge)
    }

    /// As it is sent.
    pub fn text(&self) -> String {
        hex(&self.0)
    }

    /// The signature with what was signed, as it stands in AUTHENTICATE, and in the CHALLENGE of a router that proves
    /// itself.
    pub fn answer(&self, key: &SigningKey, channel_id: Option<&[u8; 32]>) -> String {
        let message = self.message(channel_id);
        let mut answer = hex(&key.sign(&message));
        answer.push_str(&hex(&message));
        answer
    }

    /// True if that is the answer of whoever has the private half of this key, over the connection with this channel
    /// id.
    pub fn verify(&self, key: &PublicKey, channel_id: Option<&[u8; 32]>, answer: &str) -> bool {
        let Some(answer) = unhex::<96>(answer) else { return false };
        let (signature, signed) = answer.split_first_chunk().expect("96 octets are more than 64");
        let message = self.message(channel_id);
        bool::from(message.ct_eq(signed)) && key.verify(&message, signature)
    }

    fn message(&self, channel_id: Option<&[u8; 32]>) -> [u8; 32] {
        let mut message = self.0;
        for (octet, bound) in message.iter_mut().zip(channel_id.into_iter().flatten()) {
            *octet ^= bound;
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's, section "Test Vectors": channel id, private key, challenge, answer.
    const VECTORS: [(Option<&str>, &str, &str, &str); 6] = [
        (
            None,
            "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510",
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "b32675b221f08593213737bef8240e7c15228b07028e19595294678c90d11c0cae80a357331bfc5cc9fb71081464e6e7\
             5013517c2cf067ad566a6b7b728e5d03ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ),
        (
            None,
            "d511fe78e23934b3dadb52fcd022974b80bd92bccc7c5cf404e46cc0a8a2f5cd",
            "b26c1f87c13fc1da14997f1b5a71995dff8fbe0a62fae8473c7bdbd05bfb607d",
            "d4209ad10d5aff6bfbc009d7e924795de138a63515efc7afc6b01b7fe5201372190374886a70207b042294af5bd64ce7\
             25cd8dceb344e6d11c09d1aaaf4d660fb26c1f87c13fc1da14997f1b5a71995dff8fbe0a62fae8473c7bdbd05bfb607d",
        ),
        (
            None,
            "6e1fde9cf9e2359a87420b65a87dc0c66136e66945196ba2475990d8a0c3a25b",
            "b05e6b8ad4d69abf74aa3be3c0ee40ae07d66e1895b9ab09285a2f1192d562d2",
            "7beb282184baadd08f166f16dd683b39cab53816ed81e6955def951cb2ddad1ec184e206746fd82bda075af03711d3d5\
             658fc84a76196b0fa8d1ebc92ef9f30bb05e6b8ad4d69abf74aa3be3c0ee40ae07d66e1895b9ab09285a2f1192d562d2",
        ),
        (
            Some("62e935ae755f3d48f80d4d59f6121358c435722a67e859cc0caa8b539027f2ff"),
            "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510",
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "9b6f41540c9b95b4b7b281c3042fa9c54cef43c842d62ea3fd6030fcb66e70b3e80d49d44c29d1635da9348d02ec93f3\
             ed1ef227dfb59a07b580095c2b82f80f9d16ca518aa0c2b707f2b2a609edeca73bca8dd59817a633f35574ac6fd80d00",
        ),
        (
            Some("62e935ae755f3d48f80d4d59f6121358c435722a67e859cc0caa8b539027f2ff"),
            "d511fe78e23934b3dadb52fcd022974b80bd92bccc7c5cf404e46cc0a8a2f5cd",
            "b26c1f87c13fc1da14997f1b5a71995dff8fbe0a62fae8473c7bdbd05bfb607d",
            "305aaa3ac25e98f651427688b3fc43fe7d8a68a7ec1d7d61c61517c519bd4a427c3015599d83ca28b4c6523339202238\
             44ef0725eb5dc2febfd6af7677b73f01d0852a29b460fc92ec943242ac638a053bbacc200512b18b30d15083cbdc9282",
        ),
        (
            Some("62e935ae755f3d48f80d4d59f6121358c435722a67e859cc0caa8b539027f2ff"),
            "6e1fde9cf9e2359a87420b65a87dc0c66136e66945196ba2475990d8a0c3a25b",
            "b05e6b8ad4d69abf74aa3be3c0ee40ae07d66e1895b9ab09285a2f1192d562d2",
            "ee3c7644fd8070532bc1fde3d70d742267da545d8c8f03e63bda63f1ad4214f4d2c4bfdb4eb9526def42deeb7e31602a\
             6ff99eba893e0a4ad4d45892ca75e608d2b75e24a189a7f78ca776ba36fc53f6c3e31c32f251f2c524f0a44202f2902d",
        ),
    ];

    /// RFC 8032, section 7.1, tests 1 to 3: seed, public key, message, signature.
    const RFC_8032: [(&str, &str, &str, &str); 3] = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
             d25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c\
             387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659\
             4a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];

    fn key(seed: &str) -> SigningKey {
        SigningKey::from_seed(&unhex(seed).unwrap())
    }

    #[test]
    fn answers_are_those_of_the_specification() {
        for (channel_id, private_key, challenge, expected) in VECTORS {
            let (key, challenge) = (key(private_key), Challenge::read(challenge).unwrap());
            let channel_id = channel_id.map(|id| unhex(id).unwrap());
            let answer = challenge.answer(&key, channel_id.as_ref());
            assert_eq!(answer, expected);
            assert!(challenge.verify(&key.public(), channel_id.as_ref(), &answer));
            let other = if channel_id.is_some() { None } else { Some(&[1; 32]) };
            assert!(!challenge.verify(&key.public(), other, &answer));
        }
    }

    #[test]
    fn signatures_are_those_of_the_rfc() {
        for (seed, public, message, signature) in RFC_8032 {
            let key = key(seed);
            let message = match message.len() {
                0 => Vec::new(),
                2 => unhex::<1>(message).unwrap().to_vec(),
                _ => unhex::<2>(message).unwrap().to_vec(),
            };
            assert_eq!(key.public().to_string(), public);
            assert_eq!(hex(&key.sign(&message)), signature);
            assert!(key.public().verify(&message, &unhex(signature).unwrap()));
        }
    }

    #[test]
    fn other_answers_are_refused() {
        let (_, private_key, challenge, good) = VECTORS[1];
        let (key, challenge) = (key(private_key), Challenge::read(challenge).unwrap());
        let public = key.public();
        let other = Challenge::new([1; 32]);
        // The signature of something else that is said to be of this.
        let grafted = format!("{}{}", &other.answer(&key, None)[..128], challenge.text());
        let wrong = [
            String::new(),
            good[..128].to_owned(),
            good[..191].to_owned(),
            format!("{good}00"),
            format!("{good}{good}"),
            good.replace('d', "g"),
            format!(" {}", &good[1..]),
            other.answer(&key, None),
            grafted,
            challenge.answer(&SigningKey::from_seed(&[1; 32]), None),
            "0".repeat(192),
            "f".repeat(192),
            "é".repeat(96),
            "a".repeat(1 << 20),
        ];
        for answer in wrong {
            assert!(!challenge.verify(&public, None, &answer), "{answer:.200}");
        }
        assert!(challenge.verify(&public, None, &good.to_uppercase()));
        assert!(!other.verify(&public, None, good), "a replay");
    }

    #[test]
    fn a_signature_has_one_form() {
        let (_, private_key, challenge, good) = VECTORS[1];
        let (key, challenge) = (key(private_key), Challenge::read(challenge).unwrap());
        let good: [u8; 96] = unhex(good).unwrap();
        // The same scalar plus the order of the group, which counts the same to whoever does not look.
        let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
        let order: [u8; 32] = unhex(order).unwrap();
        let mut twin = good;
        let mut carry = 0;
        for (octet, more) in twin[32..64].iter_mut().zip(order) {
            let sum = u16::from(*octet) + u16::from(more) + carry;
            *octet = sum as u8;
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        assert!(challenge.verify(&key.public(), None, &hex(&good)));
        assert!(!challenge.verify(&key.public(), None, &hex(&twin)));
        for index in 0..96 {
            for bit in 0..8 {
                let mut other = good;
                other[index] ^= 1 << bit;
                assert!(!challenge.verify(&key.public(), None, &hex(&other)), "{index} {bit}");
            }
        }
    }

    #[test]
    fn keys_of_small_order_and_no_points_sign_nothing() {
        // The neutral element signs everything for whoever multiplies by the cofactor or does not look.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!PublicKey(neutral).verify(b"any", &signature));
        assert!(!PublicKey([0xFF; 32]).verify(b"any", &signature));
        assert!(!PublicKey([0; 32]).verify(b"any", &[0; 64]));
    }

    #[test]
    fn keys_are_printed_by_their_public_half() {
        let key = key(VECTORS[0].1);
        let public = key.public().to_string();
        assert_eq!(format!("{key:?}"), format!("SigningKey({public})"));
        assert_eq!(public.parse(), Ok(key.public()));
        assert!(public[1..].parse::<PublicKey>().is_err() && Challenge::read("ff").is_none());
    }
}
