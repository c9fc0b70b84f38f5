//! The stamp at the end of every payload: who sent it, and its place in the order.
//!
//! Sixteen letters from A to P, each four bits of one big-endian number: 16 bits of the sender, 48 bits of the
//! sequence. Letters are the same in JSON, MessagePack, CBOR and every other serialization, escape nothing and need no
//! padding; so a publication is stamped, and a delivery recognised, without encoding or decoding. The filler of a
//! payload is other letters, so a stamp cannot be read where none begins.

/// Octets of a stamp on the wire.
pub const STAMP_BYTES: usize = 16;

/// Octets behind a stamp among which it is looked for: what ends a message's containers, and keyword arguments or
/// options that some systems add.
const TAIL_BYTES_MAX: usize = 256;

/// The fill of a payload in front of its stamp.
pub const FILLER: u8 = b'x';

const ZERO: u64 = u64::from_be_bytes([b'A'; 8]);
const HIGH_BITS: u64 = u64::from_be_bytes([0xF0; 8]);
const SEQUENCE_BITS: u32 = 48;

/// Who sent it and when in that sender's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The publisher or caller.
    pub sender: u16,
    /// Counts from 0 for each sender, below 2^48.
    pub sequence: u64,
}

impl Stamp {
    /// The stamp on the wire.
    #[inline]
    pub fn octets(self) -> [u8; STAMP_BYTES] {
        let number = u64::from(self.sender) << SEQUENCE_BITS | self.sequence;
        let mut octets = [0; STAMP_BYTES];
        octets[..8].copy_from_slice(&spread((number >> 32) as u32).to_be_bytes());
        octets[8..].copy_from_slice(&spread(number as u32).to_be_bytes());
        octets
    }

    /// Reads a stamp; none if these are other octets.
    #[inline]
    pub fn read(octets: &[u8; STAMP_BYTES]) -> Option<Stamp> {
        let (halves, _) = octets.as_chunks::<8>();
        let high = u64::from_be_bytes(halves[0]).wrapping_sub(ZERO);
        let low = u64::from_be_bytes(halves[1]).wrapping_sub(ZERO);
        // An octet below A borrows from its neighbour, and has high bits itself then.
        if (high | low) & HIGH_BITS != 0 {
            return None;
        }
        let number = u64::from(gather(high)) << 32 | u64::from(gather(low));
        Some(Stamp {
            sender: (number >> SEQUENCE_BITS) as u16,
            sequence: number & ((1 << SEQUENCE_BITS) - 1),
        })
    }

    /// The stamp of a message that ends `tail` octets behind it; if it stands elsewhere near the end it is looked for,
    /// and `tail` is what was found, so that the next one is found at once.
    #[inline]
    pub fn find(message: &[u8], tail: &mut u16) -> Option<Stamp> {
        match Stamp::at(message, usize::from(*tail)) {
            None => Stamp::search(message, tail),
            found => found,
        }
    }

    #[inline]
    fn at(message: &[u8], tail: usize) -> Option<Stamp> {
        let end = message.len().checked_sub(tail)?;
        Stamp::read(message[..end].last_chunk()?)
    }

    #[cold]
    fn search(message: &[u8], tail: &mut u16) -> Option<Stamp> {
        (0..TAIL_BYTES_MAX).find_map(|length| {
            let stamp = Stamp::at(message, length)?;
            *tail = length as u16;
            Some(stamp)
        })
    }
}

/// Eight times four bits as letters.
#[inline]
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    bits = (bits | bits << 16) & 0x0000_FFFF_0000_FFFF;
    bits = (bits | bits << 8) & 0x00FF_00FF_00FF_00FF;
    bits = (bits | bits << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    bits + ZERO
}

/// The low four bits of each octet.
#[inline]
fn gather(octets: u64) -> u32 {
    let mut bits = octets;
    bits = (bits | bits >> 4) & 0x00FF_00FF_00FF_00FF;
    bits = (bits | bits >> 8) & 0x0000_FFFF_0000_FFFF;
    (bits | bits >> 16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_letters_and_read_as_written() {
        assert_eq!(&Stamp { sender: 0x0123, sequence: 0x4567_89AB_CDEF }.octets(), b"ABCDEFGHIJKLMNOP");
        for (sender, sequence) in [(0, 0), (1, 1), (u16::MAX, (1 << 48) - 1), (7, 0xDE_ADBE_EF00)] {
            let stamp = Stamp { sender, sequence };
            assert_eq!(Stamp::read(&stamp.octets()), Some(stamp));
        }
    }

    #[test]
    fn every_other_octet_is_refused_at_every_place() {
        let good = Stamp { sender: 9, sequence: 1234 }.octets();
        for place in 0..STAMP_BYTES {
            for octet in 0..=255 {
                let mut octets = good;
                octets[place] = octet;
                assert_eq!(Stamp::read(&octets).is_some(), (b'A'..=b'P').contains(&octet));
            }
        }
    }

    #[test]
    fn a_stamp_is_found_behind_which_there_is_more_than_expected() {
        let stamp = Stamp { sender: 2, sequence: 77 };
        let mut message = vec![FILLER; 40];
        message.extend_from_slice(&stamp.octets());
        let mut tail = 0;
        assert_eq!((Stamp::find(&message, &mut tail), tail), (Some(stamp), 0));
        message.extend_from_slice(b"\"],{}]");
        assert_eq!((Stamp::find(&message, &mut tail), tail), (Some(stamp), 6));
        assert_eq!(Stamp::find(&message[..30], &mut tail), None);
        assert_eq!(Stamp::find(&[], &mut tail), None);
    }
}
