//! UTF-8 that arrives in pieces, refused at the first octet that cannot be part of it (RFC 6455, section 8.1).
//!
//! Whole runs are checked at memory speed; a code point that is cut is carried over, at most three octets of it.

use crate::error::Violation;

/// Between two pieces of a text.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// The octets of a code point that has begun.
    carried: [u8; 4],
    carried_len: u8,
}

impl Text {
    /// Checks the next piece.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Violation> {
        let rest = self.complete_carried(piece)?;
        match simdutf8::compat::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(Violation::WebSocketText),
            Err(error) => {
                self.carry(&rest[error.valid_up_to()..]);
                Ok(())
            }
        }
    }

    /// The text ends here: no code point may be open.
    pub fn finish(&mut self) -> Result<(), Violation> {
        if self.carried_len > 0 {
            return Err(Violation::WebSocketText);
        }
        Ok(())
    }

    /// Completes the open code point, octet by octet; returns what is left of the piece.
    fn complete_carried<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], Violation> {
        let mut rest = piece;
        while self.carried_len > 0 {
            let Some((octet, after)) = rest.split_first() else {
                break;
            };
            rest = after;
            let end = usize::from(self.carried_len);
            // An open code point has at most three octets, so there is room for one more.
            self.carried[end] = *octet;
            match std::str::from_utf8(&self.carried[..=end]) {
                Ok(_) => self.carried_len = 0,
                Err(error) if error.error_len().is_some() => return Err(Violation::WebSocketText),
                Err(_) => self.carried_len += 1,
            }
        }
        Ok(rest)
    }

    fn carry(&mut self, octets: &[u8]) {
        self.carried[..octets.len()].copy_from_slice(octets);
        self.carried_len = octets.len() as u8;
    }
}

/// Checks a whole text.
pub(super) fn check(text: &[u8]) -> Result<(), Violation> {
    simdutf8::basic::from_utf8(text).map(|_| ()).map_err(|_| Violation::WebSocketText)
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    /// The naive twin: how many octets may be read before the text is known to be wrong.
    fn readable(text: &[u8]) -> usize {
        (1..=text.len())
            .find(|end| std::str::from_utf8(&text[..*end]).is_err_and(|error| error.error_len().is_some()))
            .map_or(text.len(), |end| end - 1)
    }

    /// Feeds pieces of the given size and returns how many octets were accepted, to the piece.
    fn accepted(text: &[u8], piece_bytes: usize) -> (usize, bool) {
        let mut check = Text::default();
        let mut count = 0;
        for piece in text.chunks(piece_bytes) {
            if check.push(piece).is_err() {
                return (count, false);
            }
            count += piece.len();
        }
        (count, check.finish().is_ok())
    }

    const SAMPLES: [&[u8]; 14] = [
        b"",
        b"plain",
        "κόσμε".as_bytes(),
        "a€b𐍈c\u{10ffff}\u{d7ff}\u{e000}".as_bytes(),
        b"\xc0\xaf",
        b"\xc1\x81",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xf0\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"ok\x80",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
        b"\xe2\x82",
    ];

    #[test]
    fn single_octets_fail_at_the_first_impossible_one() {
        for sample in SAMPLES {
            let (count, whole) = accepted(sample, 1);
            assert_eq!(count, readable(sample), "{sample:x?}");
            assert_eq!(whole, std::str::from_utf8(sample).is_ok(), "{sample:x?}");
        }
    }

    #[test]
    fn cuts_do_not_change_the_verdict() {
        let mut random = Random::new(7);
        for _ in 0..2000 {
            let mut text: Vec<u8> = Vec::new();
            for _ in 0..random.below(12) {
                text.extend_from_slice(SAMPLES[random.below(4)]);
            }
            if random.below(2) == 0 && !text.is_empty() {
                let position = random.below(text.len());
                text[position] = random.next() as u8;
            }
            let whole = std::str::from_utf8(&text).is_ok();
            assert_eq!(check(&text).is_ok(), whole);
            for piece_bytes in [1, 2, 3, 5, 64, 1000] {
                let (count, good) = accepted(&text, piece_bytes);
                assert_eq!(good, whole);
                let readable = readable(&text);
                let to_the_piece =
                    if readable == text.len() { readable } else { readable / piece_bytes * piece_bytes };
                assert_eq!(count, to_the_piece);
            }
        }
    }
}
