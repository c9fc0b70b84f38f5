//! The dialects of UBJSON that are read but not passed on: containers with a type (draft 12), and BJData (draft 3).
//! A message in one of them is written anew, as the writer beside this would write it, and decoded then.
//!
//! BJData has the same name on the wire but is little-endian. Only its unsigned integers, its byte and its half float
//! tell it from UBJSON, so a message that holds none of them is read as UBJSON. Its binaries have the type `B`; what
//! has the type `U` is a list. Lists of several dimensions are not read.
//!
//! Invariants: what is announced but takes no octets (a list of a million nulls) is bounded for the whole message, see
//! [`UBJSON_EMPTY_VALUES_MIN`]; no other value grows to more than three times what it was; recursion ends at
//! [`PAYLOAD_DEPTH_MAX`].
//!
//! [`PAYLOAD_DEPTH_MAX`]: crate::limits::PAYLOAD_DEPTH_MAX

use super::super::cbor::half;
use super::super::reader::deeper;
use super::super::writer::Writer;
use super::{DecodeError, UbjsonWriter, json, marker, utf8};
use crate::limits::UBJSON_EMPTY_VALUES_MIN;

/// The message as the writer would write it.
pub(in super::super) fn plain(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    match rewritten(bytes, false) {
        Err(DecodeError::Dialect) => rewritten(bytes, true),
        done => done,
    }
}

/// Fails with [`DecodeError::Dialect`] where `bjdata` should be true.
fn rewritten(bytes: &[u8], bjdata: bool) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::with_capacity(bytes.len() * 5 / 4);
    let empty_left = bytes.len().max(UBJSON_EMPTY_VALUES_MIN);
    let mut rewriter = Rewriter { rest: bytes, bjdata, empty_left, writer: UbjsonWriter::new(&mut out) };
    let first = rewriter.marker()?;
    rewriter.value(first, 0)?;
    while rewriter.rest.first() == Some(&marker::NO_OP) {
        rewriter.octet()?;
    }
    if rewriter.rest.is_empty() { Ok(out) } else { Err(DecodeError::TrailingBytes) }
}

struct Rewriter<'a, 'o> {
    rest: &'a [u8],
    bjdata: bool,
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

    /// The octets of a number, the most significant one first.
    fn number<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        let mut octets = *taken;
        if self.bjdata {
            octets.reverse();
        }
        Ok(octets)
    }

    fn integer(&mut self, of: u8) -> Result<i128, DecodeError> {
        Ok(match of {
            marker::INT8 => i8::from_be_bytes(self.number()?).into(),
            marker::UINT8 => self.octet()?.into(),
            marker::INT16 => i16::from_be_bytes(self.number()?).into(),
            marker::INT32 => i32::from_be_bytes(self.number()?).into(),
            marker::INT64 => i64::from_be_bytes(self.number()?).into(),
            marker::BYTE if self.bjdata => self.octet()?.into(),
            marker::UINT16 if self.bjdata => u16::from_be_bytes(self.number()?).into(),
            marker::UINT32 if self.bjdata => u32::from_be_bytes(self.number()?).into(),
            marker::UINT64 if self.bjdata => u64::from_be_bytes(self.number()?).into(),
            _ if self.bjdata => return Err(DecodeError::UnexpectedByte),
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
                let value = f32::from_be_bytes(self.number()?);
                self.writer.single(value);
            }
            marker::FLOAT => {
                let value = f64::from_be_bytes(self.number()?);
                self.writer.float(value);
            }
            marker::HALF if self.bjdata => {
                let value = half(u16::from_be_bytes(self.number()?));
                self.writer.single(value);
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
                // 65 bits at most, so that neither loses any.
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
        let binary = if self.bjdata { marker::BYTE } else { marker::UINT8 };
        if let Head { of: Some(of), count: Some(count) } = head
            && of == binary
        {
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
    fn bjdata_is_little_endian() {
        for (bytes, expected) in [
            (&b"[u\0\x01I\xd4\xfe]"[..], &b"[I\x01\0I\xfe\xd4]"[..]),
            (b"[u\0\x80]", b"[l\0\0\x80\0]"),
            (b"[m\0\0\0\x80]", b"[L\0\0\0\0\x80\0\0\0]"),
            (b"[M\xff\xff\xff\xff\xff\xff\xff\xff]", b"[HU\x1418446744073709551615]"),
            (b"[D\0\0\0\0\0\0\xf8\x3fB\x05]", b"[D\x3f\xf8\0\0\0\0\0\0U\x05]"),
            (b"[h\0\x3eh\0\x7c]", b"[d\x3f\xc0\0\0Z]"),
            (b"[$B#U\x02ab", b"[$U#U\x02ab"),
            (b"[B\x01[$U#U\x02ab]", b"[U\x01[U\x61U\x62]]"),
            (b"Su\x01\0a", b"SU\x01a"),
        ] {
            assert_eq!(plain(bytes).as_deref(), Ok(expected), "{}", bytes.escape_ascii());
        }
        assert_eq!(plain(b"[$u#[U\x01U\x01]\0\0"), Err(DecodeError::UnexpectedByte), "of two dimensions");
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

    /// Writes a tree as BJData, its lists counted, typed or neither.
    fn bjdata(tree: &Tree, random: &mut Random, out: &mut Vec<u8>) {
        match tree {
            Tree::Unsigned(value) => {
                out.push(b'M');
                out.extend(value.to_le_bytes());
            }
            Tree::Negative(n) => {
                out.push(b'L');
                out.extend((-1 - *n as i64).to_le_bytes());
            }
            Tree::Float(value) => {
                out.push(b'D');
                out.extend(value.to_le_bytes());
            }
            Tree::Binary(bytes) => {
                out.extend(b"[$B#m");
                out.extend((bytes.len() as u32).to_le_bytes());
                out.extend(bytes);
            }
            Tree::Text(text) => {
                out.push(b'S');
                sized(text, out);
            }
            Tree::List(items) if items.iter().all(|item| *item == Tree::Null) => {
                out.extend(b"[$Z#u");
                out.extend((items.len() as u16).to_le_bytes());
            }
            Tree::List(items) => {
                let counted = open(b'[', items.len(), random, out);
                items.iter().for_each(|item| bjdata(item, random, out));
                out.extend((!counted).then_some(b']'));
            }
            Tree::Dict(pairs) => {
                let counted = open(b'{', pairs.len(), random, out);
                for (key, value) in pairs {
                    sized(key, out);
                    bjdata(value, random, out);
                }
                out.extend((!counted).then_some(b'}'));
            }
            Tree::Null => out.push(b'Z'),
            Tree::Bool(value) => out.push(if *value { b'T' } else { b'F' }),
        }
    }

    fn sized(text: &str, out: &mut Vec<u8>) {
        out.push(b'u');
        out.extend((text.len() as u16).to_le_bytes());
        out.extend(text.as_bytes());
    }

    fn open(octet: u8, count: usize, random: &mut Random, out: &mut Vec<u8>) -> bool {
        let counted = random.below(2) == 0;
        out.push(octet);
        if counted {
            out.extend([b'#', b'u', count as u8, 0]);
        }
        counted
    }

    #[test]
    fn random_trees_in_bjdata_are_written_as_the_writer_writes_them() {
        let mut random = Random(14);
        for _ in 0..2_000 {
            let tree = random.tree(4);
            // The first item tells the dialect.
            let mut bytes = b"[B\0".to_vec();
            bjdata(&tree, &mut random, &mut bytes);
            bytes.push(b']');
            let expected = Tree::List(vec![Tree::Unsigned(0), tree]);
            assert_eq!(plain(&bytes), Ok(expected.encoded(Serializer::Ubjson)), "{expected:?}");
        }
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
