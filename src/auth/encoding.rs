//! Octets as text, as the methods write them: hexadecimal, and base64 in the one form that there is for some octets.
//!
//! Reading is bounded by what is expected, and strict: whatever can be read, and only that, would be written so.

use base64_simd::{STANDARD, URL_SAFE_NO_PAD};

/// Hexadecimal, lower case.
pub fn hex(octets: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = octets.iter().flat_map(|octet| [octet >> 4, octet & 0xF]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Octets from exactly as many pairs of hexadecimal digits, of either case.
pub fn unhex<const COUNT: usize>(text: &str) -> Option<[u8; COUNT]> {
    if text.len() != 2 * COUNT {
        return None;
    }
    let mut octets = [0; COUNT];
    for (octet, pair) in octets.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *octet = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(octets)
}

/// Base64 with padding (RFC 4648, section 4).
pub fn base64(octets: &[u8]) -> String {
    STANDARD.encode_to_string(octets)
}

/// Octets from canonical base64 with padding.
pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    let octets = STANDARD.decode_to_vec(text).ok()?;
    (STANDARD.encode_to_string(&octets) == text).then_some(octets)
}

/// Octets from canonical base64 without padding, in the alphabet for URLs (RFC 7515, section 2).
pub(super) fn unbase64_url(text: &str) -> Option<Vec<u8>> {
    let octets = URL_SAFE_NO_PAD.decode_to_vec(text).ok()?;
    (URL_SAFE_NO_PAD.encode_to_string(&octets) == text).then_some(octets)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_has_just_the_digits_wanted() {
        assert_eq!(hex(&[0, 0x1F, 0xA0, 0xFF]), "001fa0ff");
        assert_eq!(unhex("001fA0FF"), Some([0, 0x1F, 0xA0, 0xFF]));
        for bad in ["", "00", "0000000", "000000000", "0000000g", "+0000000", " 0000000", "0x000000"] {
            assert_eq!(unhex::<4>(bad), None, "{bad}");
        }
        assert_eq!(unhex::<1>("é"), None);
    }

    #[test]
    fn base64_has_one_form_for_some_octets() {
        for octets in [&b""[..], b"f", b"fo", b"foo", &[0xFB, 0xFF]] {
            assert_eq!(unbase64(&base64(octets)).as_deref(), Some(octets));
        }
        // Bits beyond the octets, padding that is missing or too much, white space, the other alphabet.
        for bad in ["Zh==", "Zg", "Zg=", "Zg===", "Zg==\n", " Zg==", "Z g==", "-_8=", "Zg==Zg==", "="] {
            assert_eq!(unbase64(bad), None, "{bad}");
        }
        assert_eq!(unbase64_url("-_8").as_deref(), Some(&[0xFB, 0xFF][..]));
        for bad in ["-_8=", "+/8", "-_9", "-", "-_8 "] {
            assert_eq!(unbase64_url(bad), None, "{bad}");
        }
    }
}
