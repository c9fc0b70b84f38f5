//! Chance, from one seed: a run is a function of its inputs. Session ids come from a strong generator, since knowing
//! one may be worth something; publication ids from a fast one.

use rand::rngs::{SmallRng, StdRng};
use rand::{RngCore, SeedableRng};

use crate::wamp::{ID_MAX, PublicationId, SessionId};

/// The generators of one shard.
#[derive(Debug)]
pub struct Entropy {
    strong: StdRng,
    fast: SmallRng,
}

impl Entropy {
    /// Both generators from one seed.
    pub fn new(seed: [u8; 32]) -> Entropy {
        let mut strong = StdRng::from_seed(seed);
        let fast = SmallRng::from_rng(&mut strong);
        Entropy { strong, fast }
    }

    /// Uniform over all identifiers (basic profile, "IDs": global scope).
    pub fn session(&mut self) -> SessionId {
        SessionId(uniform(self.strong.next_u64()))
    }

    /// Uniform over all identifiers.
    pub fn publication(&mut self) -> PublicationId {
        PublicationId(uniform(self.fast.next_u64()))
    }

    /// Octets that nobody can guess: nonces and challenges.
    pub fn octets<const COUNT: usize>(&mut self) -> [u8; COUNT] {
        let mut octets = [0; COUNT];
        self.strong.fill_bytes(&mut octets);
        octets
    }

    /// A uniform draw, for choices.
    pub fn draw(&mut self) -> u64 {
        self.fast.next_u64()
    }

    /// The name of somebody who gave none: 24 letters and digits that are hard to confuse.
    pub fn authid(&mut self) -> String {
        const ALPHABET: &[u8; 32] = b"3479ACEFGHJKLMNPQRSTUVWXYabcdefh";
        (0..24).map(|_| char::from(ALPHABET[(self.strong.next_u32() >> 27) as usize])).collect()
    }
}

/// 53 of the bits, counted from 1.
fn uniform(bits: u64) -> u64 {
    const { assert!(ID_MAX == 1 << 53) };
    (bits >> 11) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_span_the_whole_range_and_repeat_with_the_seed() {
        assert_eq!((uniform(0), uniform(u64::MAX)), (1, ID_MAX));
        let (mut one, mut two) = (Entropy::new([7; 32]), Entropy::new([7; 32]));
        for _ in 0..100 {
            assert_eq!(one.session(), two.session());
            assert_eq!(one.publication(), two.publication());
        }
        assert_eq!(one.authid(), two.authid());
        assert_ne!(one.authid(), one.authid());
    }
}
