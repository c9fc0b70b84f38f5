//! The relay's frames: four octets of length, one octet of kind, and the body.
//!
//! The length is little-endian and counts the kind and the body. A [`Kind::Call`] and its [`Kind::Answer`] begin their
//! body with four octets for the caller's slot, which the relay fills in and the callee returns as it came.

use std::ops::Range;

/// Octets of the length.
pub const LENGTH_BYTES: usize = 4;

/// Octets before the body.
pub const HEADER_BYTES: usize = LENGTH_BYTES + 1;

/// Where the caller's slot stands in the frame of a call and of an answer.
pub const SLOT: Range<usize> = HEADER_BYTES..HEADER_BYTES + 4;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The sender takes every publication from now on. Comes back as it was sent when that holds.
    Subscribe = b'S',
    /// The sender takes calls from now on. Comes back as it was sent when that holds.
    Register = b'R',
    /// The sender publishes or calls. Comes back as it was sent.
    Join = b'J',
    /// To be copied to every subscriber as it is.
    Publish = b'P',
    /// To be taken to the next callee, with the caller's slot written into it.
    Call = b'C',
    /// To be taken to the caller in the slot.
    Answer = b'A',
}

impl Kind {
    /// The kind an octet says, if it says one.
    pub fn of(octet: u8) -> Option<Kind> {
        [Kind::Subscribe, Kind::Register, Kind::Join, Kind::Publish, Kind::Call, Kind::Answer]
            .into_iter()
            .find(|kind| *kind as u8 == octet)
    }
}

/// Appends the frame of that kind and body.
pub fn append(kind: Kind, body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&header(kind, body.len()));
    out.extend_from_slice(body);
}

/// What stands before a body of that many octets.
pub fn header(kind: Kind, body_bytes: usize) -> [u8; HEADER_BYTES] {
    let length = u32::try_from(body_bytes + 1).expect("no body of this package has 4 GiB");
    let [a, b, c, d] = length.to_le_bytes();
    [a, b, c, d, kind as u8]
}

/// Octets of the frame that `input` begins with, its header counted, whether it is whole or not; `None` until the length
/// is there.
pub fn bytes(input: &[u8]) -> Option<usize> {
    let length = input.first_chunk::<LENGTH_BYTES>()?;
    Some(LENGTH_BYTES.saturating_add(u32::from_le_bytes(*length) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_how_long_it_is() {
        let mut out = Vec::new();
        append(Kind::Publish, b"body", &mut out);
        append(Kind::Join, b"", &mut out);
        assert_eq!(out, b"\x05\0\0\0Pbody\x01\0\0\0J");
        assert_eq!(bytes(&out), Some(9));
        assert_eq!(bytes(&out[9..]), Some(5));
        assert_eq!(bytes(&out[..3]), None);
    }

    #[test]
    fn only_known_octets_are_kinds() {
        let known: Vec<u8> = (0..=255).filter(|octet| Kind::of(*octet).is_some()).collect();
        assert_eq!(known, b"ACJPRS");
    }
}
