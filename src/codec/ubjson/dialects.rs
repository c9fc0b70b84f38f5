//! Containers of UBJSON with a type, which are read but not passed on: their values have no markers of their own, so
//! none of them can be handed on alone, and few readers know them. A message with one is written anew, as the writer
//! beside this would write it, and decoded then.
//!
//! Invariants: what is announced but takes no octets (a list of a million nulls) is bounded for the whole message, see
//! [`UBJSON_EMPTY_VALUES_MIN`]; no other value grows to more than three times what it was; recursion ends at
//! [`PAYLOAD_DEPTH_MAX`].
//!
//! [`PAYLOAD_DEPTH_MAX`]: crate::limits::PAYLOAD_DEPTH_MAX

use super::super::reader::deeper;
use super::super::writer::Writer;
use super::{DecodeError, UbjsonWriter, json, marker, utf8};
use crate::limits::UBJSON_EMPTY_VALUES_MIN;

/// The message as the writer would write it.
pub(in super::super) fn plain(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::with_capacity(bytes.len() * 5 / 4);
    let empty_left = bytes.len().max(UBJSON_EMPTY_VALUES_MIN);
    let mut rewriter = Rewriter { rest: bytes, empty_left, writer: UbjsonWriter::new(&mut out) };
    let first = rewriter.marker()?;
    rewriter.value(first, 0)?;
    while rewriter.rest.first() == Some(&marker::NO_OP) {
        rewriter.octet()?;
    }
    if rewriter.rest.is_empty() { Ok(out) } else { Err(DecodeError::TrailingBytes) }
}

struct Rewriter<'a, 'o> {
    rest: &'a [u8],
    /// Values without octets that may still be announced.
    empty_left: usize,
    writer: UbjsonWriter<'o>,
}

/// What stands between the octet that opens a container and its values.
#[derive(Clone, Copy)]
struct Head {
    /// The type of all values; without one each has its own marker.
    of: Option<u8>,
    /// Without one the container is closed by an octet.
    count: Option<usize>,
}

impl<'a> Rewriter<'a, '_> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn octet(&mut self) -> Result<u8, DecodeError> {
        let taken = self.take(1)?;
        Ok(taken[0])
    }

    /// The next octet that is not a no-op.
    fn marker(&mut self) -> Result<u8, DecodeError> {
        loop {
            let octet = self.octet()?;
            if octet != marker::NO_OP {
                return Ok(octet);
            }
        }
    }

    fn octets<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn integer(&mut self, of: u8) -> Result<i64, DecodeError> {
        Ok(match of {
            marker::INT8 => i8::from_be_bytes(self.octets()?).into(),
            marker::UINT8 => self.octet()?.into(),
            marker::INT16 => i16::from_be_bytes(self.octets()?).into(),
            marker::INT32 => i32::from_be_bytes(self.octets()?).into(),
            marker::INT64 => i64::from_be_bytes(self.octets()?),
            other => return Err(super::misplaced(other)),
        })
    }

    /// A length or count whose marker was read.
    fn length(&mut self, of: u8) -> Result<usize, DecodeError> {
        // What is too long for the address space is longer than the message too.
        usize::try_from(self.integer(of)?).map_err(|_| DecodeError::UnexpectedByte)
    }

    fn sized(&mut self) -> Result<&'a str, DecodeError> {
        let of = self.octet()?;
        let length = self.length(of)?;
        utf8(self.take(length)?)
    }

    /// Writes the value of a type.
    fn value(&mut self, of: u8, enclosing: usize) -> Result<(), DecodeError> {
        match of {
            marker::NULL => self.writer.null(),
            marker::TRUE => self.writer.bool(true),
            marker::FALSE => self.writer.bool(false),
            marker::SINGLE => {
                let value = f32::from_be_bytes(self.octets()?);
                self.writer.single(value);
            }
            marker::FLOAT => {
                let value = f64::from_be_bytes(self.octets()?);
                self.writer.float(value);
            }
            marker::HIGH_PRECISION => {
                let digits = self.sized()?;
                json::number::<()>(digits)?;
                self.writer.high_precision(digits);
            }
            marker::CHARACTER => {
                let text = utf8(self.take(1)?)?;
                self.writer.text(text);
            }
            marker::TEXT => {
                let text = self.sized()?;
                self.writer.text(text);
            }
            marker::LIST => self.list(enclosing)?,
            marker::DICT => self.dict(deeper(enclosing)?)?,
            other => match self.integer(other)? {
                value if value < 0 => self.writer.negative(!value as u64),
                value => self.writer.unsigned(value as u64),
            },
        }
        Ok(())
    }

    fn head(&mut self) -> Result<Head, DecodeError> {
        let mut head = Head { of: None, count: None };
        if self.rest.first() == Some(&marker::TYPE) {
            self.octet()?;
            head.of = Some(self.octet()?);
            if self.rest.first().ok_or(DecodeError::Truncated)? != &marker::COUNT {
                return Err(DecodeError::UnexpectedByte);
            }
        }
        if self.rest.first() == Some(&marker::COUNT) {
            self.octet()?;
            let of = self.octet()?;
            head.count = Some(self.length(of)?);
        }
        Ok(head)
    }

    /// Counts values that take no octets. All others end where the octets do.
    fn announced(&mut self, values: usize) -> Result<(), DecodeError> {
        self.empty_left = self.empty_left.checked_sub(values).ok_or(DecodeError::Truncated)?;
        Ok(())
    }

    fn list(&mut self, enclosing: usize) -> Result<(), DecodeError> {
        let head = self.head()?;
        if let Head { of: Some(marker::UINT8), count: Some(count) } = head {
            let octets = self.take(count)?;
            self.writer.binary(octets);
            return Ok(());
        }
        let enclosing = deeper(enclosing)?;
        let mark = self.writer.open_list(None);
        match head {
            Head { of: Some(of), count } => {
                let count = count.unwrap_or(0);
                if matches!(of, marker::NULL | marker::TRUE | marker::FALSE) {
                    self.announced(count)?;
                }
                for _ in 0..count {
                    self.value(of, enclosing)?;
                }
            }
            Head { of: None, count: Some(count) } => {
                for _ in 0..count {
                    let of = self.marker()?;
                    self.value(of, enclosing)?;
                }
            }
            Head { of: None, count: None } => loop {
                match self.marker()? {
                    marker::LIST_END => break,
                    of => self.value(of, enclosing)?,
                }
            },
        }
        self.writer.close_list(mark, 0);
        Ok(())
    }

    /// Writes the dictionary behind the octet that opens it; `enclosing` counts it.
    fn dict(&mut self, enclosing: usize) -> Result<(), DecodeError> {
        let Head { of, count } = self.head()?;
        let mark = self.writer.open_dict(None);
        let mut left = count;
        while left != Some(0) {
            let first = self.marker()?;
            if count.is_none() && first == marker::DICT_END {
                break;
            }
            let length = self.length(first)?;
            let key = utf8(self.take(length)?)?;
            self.writer.key(key);
            let of = match of {
                Some(of) => of,
                None => self.octet()?,
            };
            self.value(of, enclosing)?;
            left = left.map(|left| left - 1);
        }
        self.writer.close_dict(mark, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::check;
    use super::super::super::random::{Random, Tree};
    use super::*;
    use crate::limits::PAYLOAD_DEPTH_MAX;
    use crate::wamp::Serializer;

    #[test]
    fn containers_with_a_type_are_written_plainly() {
        for (bytes, expected) in [
            (&b"[$i#U\x02\x01\xff"[..], &b"[U\x01i\xff]"[..]),
            (b"[$I#i\x01\x01\0", b"[I\x01\0]"),
            (b"[$Z#U\x03", b"[ZZZ]"),
            (b"[$T#U\0", b"[]"),
            (b"{$F#U\x01U\x01a", b"{U\x01aF}"),
            (b"{$U#U\x02U\x01a\x05NU\0\x06", b"{U\x01aU\x05U\0U\x06}"),
            (b"[$S#U\x02U\x01aU\0", b"[SU\x01aSU\0]"),
            (b"[$C#U\x02ab", b"[SU\x01aSU\x01b]"),
            (b"[$H#U\x01U\x011", b"[HU\x011]"),
            (b"[$[#U\x02]TN]", b"[[][T]]"),
            (b"[$[#U\x01#U\x01$U", b""),
            (b"[$[#U\x01$U#U\x02ab", b"[[$U#U\x02ab]"),
            (b"[${#U\x02}U\x01aZ}", b"[{}{U\x01aZ}]"),
            (b"N[#U\x01N[$Z#U\x01N", b"[[Z]]"),
            (b"[$D#U\x01\x3f\xf8\0\0\0\0\0\0", b"[D\x3f\xf8\0\0\0\0\0\0]"),
        ] {
            let expected =
                if expected.is_empty() { Err(DecodeError::UnexpectedByte) } else { Ok(expected.to_vec()) };
            assert_eq!(plain(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn markers_of_bjdata_are_in_no_container() {
        for bytes in
            [&b"[$u#U\x01\0\x01"[..], b"[$B#U\x02ab", b"[[$Z#U\x01u\0\x01]", b"{$Z#U\x01m\x01\0\0\0aZ"]
        {
            assert_eq!(plain(bytes), Err(DecodeError::BjData), "{}", bytes.escape_ascii());
        }
        assert_eq!(plain(b"[$Z#[U\x01U\x01]"), Err(DecodeError::UnexpectedByte), "lists of two dimensions");
    }

    #[test]
    fn values_without_octets_are_bounded() {
        for bytes in [&b"[$Z#L\x40\0\0\0\0\0\0\0"[..], b"[$T#I\x04\x01", b"[[$Z#I\x02\x01[$F#I\x02\0]"] {
            assert_eq!(plain(bytes), Err(DecodeError::Truncated), "{}", bytes.escape_ascii());
        }
        assert_eq!(plain(b"[$Z#I\x04\0").map(|plain| plain.len()), Ok(2 + UBJSON_EMPTY_VALUES_MIN));
        let long = [b"[SI\x10\0", &[b'a'; 4096][..], b"[$Z#I\x10\0]"].concat();
        assert!(plain(&long).is_ok());
        for bytes in [&b"[$U#L\x40\0\0\0\0\0\0\0"[..], b"[$i#L\x40\0\0\0\0\0\0\0", b"{$Z#L\x40\0\0\0\0\0\0\0"]
        {
            assert_eq!(plain(bytes), Err(DecodeError::Truncated), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |lists: usize| [b"[".to_vec(), b"$[#U\x01".repeat(lists), b"]".to_vec()].concat();
        assert!(check(Serializer::Ubjson, &plain(&nested(PAYLOAD_DEPTH_MAX - 1)).unwrap()).is_ok());
        assert_eq!(plain(&nested(PAYLOAD_DEPTH_MAX)), Err(DecodeError::TooDeep));
        assert_eq!(plain(&nested(100_000)), Err(DecodeError::TooDeep));
        assert_eq!(plain(&b"{U\0".repeat(100_000)), Err(DecodeError::TooDeep));
    }

    /// Writes a tree with a type wherever all values have the same one.
    fn typed(tree: &Tree, random: &mut Random, out: &mut Vec<u8>) {
        let of = |values: &mut dyn Iterator<Item = &Tree>| {
            let markers: Vec<_> = values.map(|value| value.encoded(Serializer::Ubjson)[0]).collect();
            let first = *markers.first()?;
            // A list of the type U is a binary; what opens with its type has no marker to leave out.
            let same = markers.iter().all(|marker| *marker == first) && !b"U[{".contains(&first);
            same.then_some(first)
        };
        match tree {
            Tree::List(items) => {
                let of = of(&mut items.iter());
                let counted = open(b'[', of, items.len(), random, out);
                items.iter().for_each(|item| value(item, of.is_some(), random, out));
                out.extend((!counted).then_some(b']'));
            }
            Tree::Dict(pairs) => {
                let of = of(&mut pairs.iter().map(|(_, value)| value));
                let counted = open(b'{', of, pairs.len(), random, out);
                for (key, each) in pairs {
                    out.extend(&Tree::Text(key.clone()).encoded(Serializer::Ubjson)[1..]);
                    value(each, of.is_some(), random, out);
                }
                out.extend((!counted).then_some(b'}'));
            }
            plain => out.extend(plain.encoded(Serializer::Ubjson)),
        }
    }

    fn value(tree: &Tree, unmarked: bool, random: &mut Random, out: &mut Vec<u8>) {
        let start = out.len();
        typed(tree, random, out);
        if unmarked {
            out.remove(start);
        }
    }

    fn open(octet: u8, of: Option<u8>, count: usize, random: &mut Random, out: &mut Vec<u8>) -> bool {
        out.push(octet);
        out.extend(of.map(|of| [b'$', of]).iter().flatten());
        let counted = of.is_some() || random.below(2) == 0;
        if counted {
            out.extend([b'#', b'I', 0, count as u8]);
        }
        counted
    }

    #[test]
    fn random_trees_with_types_are_written_as_the_writer_writes_them() {
        let mut random = Random(14);
        let mut dialects = 0;
        for _ in 0..2_000 {
            let tree = random.tree(4);
            let mut bytes = Vec::new();
            typed(&tree, &mut random, &mut bytes);
            dialects += usize::from(check(Serializer::Ubjson, &bytes).is_err());
            assert_eq!(plain(&bytes), Ok(tree.encoded(Serializer::Ubjson)), "{tree:?}");
        }
        assert!(dialects > 100, "only {dialects}");
    }

    #[test]
    fn what_is_written_plainly_is_no_dialect() {
        let mut random = Random(15);
        let mut done = 0;
        for _ in 0..200_000 {
            let octet = |random: &mut Random| match random.below(2) {
                0 => *random.pick(b"\0\x01\x02\xff"),
                _ => *random.pick(b"ZTFNiUIlLdDHCS[]{}#$#$$BumMh"),
            };
            let bytes: Vec<u8> = (0..random.below(16)).map(|_| octet(&mut random)).collect();
            let Ok(plain) = plain(&bytes) else { continue };
            assert!(check(Serializer::Ubjson, &plain).is_ok(), "{}", bytes.escape_ascii());
            assert!(plain.len() <= 3 * bytes.len() + UBJSON_EMPTY_VALUES_MIN);
            done += 1;
        }
        assert!(done > 1_000, "only {done}");
    }
}
