//! MessagePack: a reader that walks and checks, and a writer.
//!
//! Markers are those of the `rmp` crate, and so is the writing of numbers and lengths in their smallest form. Every
//! marker is read, extension types included; the reserved one is an error. Texts are checked to be UTF-8. Announced
//! lengths are compared with the bytes that are there before anything else happens.

use std::borrow::Cow;

use rmp::Marker;
use rmp::encode;

use super::DecodeError;
use super::reader::{Reader, Token, check_utf8, deeper, negative_as_float, utf8};
use super::writer::{Mark, Writer};
use crate::wamp::Serializer;

/// A cursor over MessagePack.
pub(super) struct MessagePackReader<'a> {
    bytes: &'a [u8],
    /// The end of `bytes` that is not read yet.
    rest: &'a [u8],
}

/// Stands in [`FOLLOWING`] for what does not have one size.
const VARIABLE: u8 = u8::MAX;

/// For each first octet of a value: how many octets follow, if those say nothing that must be checked. One look here
/// instead of a jump for each kind of number is half the cost of walking.
const FOLLOWING: [u8; 256] = {
    let mut following = [VARIABLE; 256];
    let mut octet = 0;
    while octet < 256 {
        following[octet] = match Marker::from_u8(octet as u8) {
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::False | Marker::True => 0,
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 | Marker::FixExt1 => 2,
            Marker::FixExt2 => 3,
            Marker::U32 | Marker::I32 | Marker::F32 => 4,
            Marker::FixExt4 => 5,
            Marker::U64 | Marker::I64 | Marker::F64 => 8,
            Marker::FixExt8 => 9,
            Marker::FixExt16 => 17,
            _ => VARIABLE,
        };
        octet += 1;
    }
    following
};

/// A head with the length it announces.
enum Length {
    Text(usize),
    Binary(usize),
    /// The type octet and the data.
    Extension(usize),
    List(usize),
    /// Entries.
    Dict(usize),
}

impl<'a> MessagePackReader<'a> {
    #[inline]
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn octets<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    fn marker(&mut self) -> Result<Marker, DecodeError> {
        let [octet] = self.octets()?;
        Ok(Marker::from_u8(octet))
    }

    fn length8(&mut self) -> Result<usize, DecodeError> {
        Ok(u8::from_be_bytes(self.octets()?).into())
    }

    fn length16(&mut self) -> Result<usize, DecodeError> {
        Ok(u16::from_be_bytes(self.octets()?).into())
    }

    fn length32(&mut self) -> Result<usize, DecodeError> {
        Ok(u32::from_be_bytes(self.octets()?) as usize)
    }

    /// Reads the length that follows a marker that is not a scalar's.
    #[inline]
    fn length(&mut self, marker: Marker) -> Result<Length, DecodeError> {
        Ok(match marker {
            Marker::FixStr(length) => Length::Text(length.into()),
            Marker::FixArray(count) => Length::List(count.into()),
            Marker::FixMap(count) => Length::Dict(count.into()),
            Marker::Str8 => Length::Text(self.length8()?),
            Marker::Str16 => Length::Text(self.length16()?),
            Marker::Str32 => Length::Text(self.length32()?),
            Marker::Bin8 => Length::Binary(self.length8()?),
            Marker::Bin16 => Length::Binary(self.length16()?),
            Marker::Bin32 => Length::Binary(self.length32()?),
            Marker::Array16 => Length::List(self.length16()?),
            Marker::Array32 => Length::List(self.length32()?),
            Marker::Map16 => Length::Dict(self.length16()?),
            Marker::Map32 => Length::Dict(self.length32()?),
            Marker::FixExt1 => Length::Extension(1),
            Marker::FixExt2 => Length::Extension(2),
            Marker::FixExt4 => Length::Extension(4),
            Marker::FixExt8 => Length::Extension(8),
            Marker::FixExt16 => Length::Extension(16),
            Marker::Ext8 => Length::Extension(self.length8()?),
            Marker::Ext16 => Length::Extension(self.length16()?),
            Marker::Ext32 => Length::Extension(self.length32()?),
            _ => return Err(DecodeError::UnexpectedByte),
        })
    }

    /// Checks that so many values of at least one byte each can follow.
    #[inline]
    fn room(&self, values: usize) -> Result<(), DecodeError> {
        if values > self.rest.len() { Err(DecodeError::Truncated) } else { Ok(()) }
    }

    /// The data of an extension, behind the octet that says its type. Libraries in JavaScript write their undefined
    /// as one octet of type 0; that is null.
    fn extension(&mut self, length: usize) -> Result<Token<'a, usize>, DecodeError> {
        let kind = self.take(1)?;
        let octets = self.take(length)?;
        Ok(if kind == [0] && octets == [0] { Token::Null } else { Token::Binary(Cow::Borrowed(octets)) })
    }

    fn skip_all(&mut self, values: usize, enclosing: usize) -> Result<(), DecodeError> {
        let enclosing = deeper(enclosing)?;
        self.room(values)?;
        for _ in 0..values {
            self.skip(enclosing)?;
        }
        Ok(())
    }
}

fn integer<'a>(value: i64) -> Token<'a, usize> {
    if value < 0 { Token::Negative(!value as u64) } else { Token::Unsigned(value as u64) }
}

impl<'a> Reader<'a> for MessagePackReader<'a> {
    /// Items or entries that are left.
    type Container = usize;
    const SERIALIZER: Serializer = Serializer::MessagePack;

    fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(MessagePackReader { bytes, rest: bytes })
    }

    #[inline]
    fn value(&mut self) -> Result<Token<'a, usize>, DecodeError> {
        Ok(match self.marker()? {
            Marker::FixPos(value) => Token::Unsigned(value.into()),
            Marker::FixNeg(value) => integer(value.into()),
            Marker::Null => Token::Null,
            Marker::False => Token::Bool(false),
            Marker::True => Token::Bool(true),
            Marker::U8 => Token::Unsigned(u8::from_be_bytes(self.octets()?).into()),
            Marker::U16 => Token::Unsigned(u16::from_be_bytes(self.octets()?).into()),
            Marker::U32 => Token::Unsigned(u32::from_be_bytes(self.octets()?).into()),
            Marker::U64 => Token::Unsigned(u64::from_be_bytes(self.octets()?)),
            Marker::I8 => integer(i8::from_be_bytes(self.octets()?).into()),
            Marker::I16 => integer(i16::from_be_bytes(self.octets()?).into()),
            Marker::I32 => integer(i32::from_be_bytes(self.octets()?).into()),
            Marker::I64 => integer(i64::from_be_bytes(self.octets()?)),
            Marker::F32 => Token::Single(f32::from_be_bytes(self.octets()?)),
            Marker::F64 => Token::Float(f64::from_be_bytes(self.octets()?)),
            marker => match self.length(marker)? {
                Length::Text(length) => Token::Text(Cow::Borrowed(utf8(self.take(length)?)?)),
                Length::Binary(length) => Token::Binary(Cow::Borrowed(self.take(length)?)),
                Length::Extension(length) => self.extension(length)?,
                Length::List(count) => {
                    self.room(count)?;
                    Token::List(count)
                }
                Length::Dict(count) => {
                    self.room(count.saturating_mul(2))?;
                    Token::Dict(count)
                }
            },
        })
    }

    fn key(&mut self) -> Result<Token<'a, usize>, DecodeError> {
        self.value()
    }

    fn more(&mut self, left: &mut usize) -> Result<bool, DecodeError> {
        if *left == 0 {
            return Ok(false);
        }
        *left -= 1;
        Ok(true)
    }

    fn separator(&mut self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn count(left: &usize) -> Option<u64> {
        Some(*left as u64)
    }

    #[inline]
    fn skip(&mut self, enclosing: usize) -> Result<(), DecodeError> {
        let [octet] = self.octets()?;
        let following = FOLLOWING[usize::from(octet)];
        if following != VARIABLE {
            return self.take(following.into()).map(drop);
        }
        match self.length(Marker::from_u8(octet))? {
            Length::Text(length) => check_utf8(self.take(length)?),
            Length::Binary(length) => self.take(length).map(drop),
            Length::Extension(length) => self.extension(length).map(drop),
            Length::List(count) => self.skip_all(count, enclosing),
            Length::Dict(count) => self.skip_all(count.saturating_mul(2), enclosing),
        }
    }

    fn skip_key(&mut self, enclosing: usize) -> Result<(), DecodeError> {
        self.skip(enclosing)
    }

    fn skip_text_key(&mut self) -> Result<(), DecodeError> {
        let marker = self.marker()?;
        match self.length(marker) {
            Ok(Length::Text(length)) => check_utf8(self.take(length)?),
            Err(DecodeError::Truncated) => Err(DecodeError::Truncated),
            _ => Err(DecodeError::UnexpectedType),
        }
    }

    fn position(&self) -> usize {
        self.bytes.len() - self.rest.len()
    }

    fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn end(&mut self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }
}

/// Appends MessagePack to a buffer.
pub(super) struct MessagePackWriter<'o> {
    out: &'o mut Vec<u8>,
}

const NEVER_FAILS: &str = "a Vec takes every byte";

/// A length as MessagePack has it. Whole messages end at 16 MiB, so that no part of one comes near the limit.
fn length(length: u64) -> u32 {
    u32::try_from(length).expect("no value of 4 GiB is ever written")
}

fn list_head(out: &mut Vec<u8>, count: u64) {
    encode::write_array_len(out, length(count)).expect(NEVER_FAILS);
}

fn dict_head(out: &mut Vec<u8>, count: u64) {
    encode::write_map_len(out, length(count)).expect(NEVER_FAILS);
}

impl<'o> Writer<'o> for MessagePackWriter<'o> {
    const SERIALIZER: Serializer = Serializer::MessagePack;
    const KEYS_ARE_TEXT: bool = false;

    fn new(out: &'o mut Vec<u8>) -> Self {
        MessagePackWriter { out }
    }

    fn null(&mut self) {
        self.out.push(Marker::Null.to_u8());
    }

    fn bool(&mut self, value: bool) {
        let marker = if value { Marker::True } else { Marker::False };
        self.out.push(marker.to_u8());
    }

    fn unsigned(&mut self, value: u64) {
        encode::write_uint(self.out, value).expect(NEVER_FAILS);
    }

    fn negative(&mut self, n: u64) {
        match i64::try_from(n) {
            Ok(n) => drop(encode::write_sint(self.out, -1 - n).expect(NEVER_FAILS)),
            Err(_) => self.float(negative_as_float(n)),
        }
    }

    fn float(&mut self, value: f64) {
        encode::write_f64(self.out, value).expect(NEVER_FAILS);
    }

    fn single(&mut self, value: f32) {
        encode::write_f32(self.out, value).expect(NEVER_FAILS);
    }

    fn text(&mut self, text: &str) {
        encode::write_str_len(self.out, length(text.len() as u64)).expect(NEVER_FAILS);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn binary(&mut self, bytes: &[u8]) {
        encode::write_bin_len(self.out, length(bytes.len() as u64)).expect(NEVER_FAILS);
        self.out.extend_from_slice(bytes);
    }

    fn key(&mut self, key: &str) {
        self.text(key);
    }

    fn open_list(&mut self, count: Option<u64>) -> Mark {
        let mark = Mark::new(self.out, count);
        list_head(self.out, count.unwrap_or(0));
        mark
    }

    fn close_list(&mut self, mark: Mark, count: u64) {
        mark.close(self.out, |out| list_head(out, count));
    }

    fn open_dict(&mut self, count: Option<u64>) -> Mark {
        let mark = Mark::new(self.out, count);
        dict_head(self.out, count.unwrap_or(0));
        mark
    }

    fn close_dict(&mut self, mark: Mark, count: u64) {
        mark.close(self.out, |out| dict_head(out, count));
    }

    fn separator(&mut self) {}

    fn checked(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::super::random::{Random, Tree, hex};
    use super::*;

    fn token(text: &str) -> Token<'static, usize> {
        MessagePackReader::new(hex(text).leak()).unwrap().value().unwrap()
    }

    fn written(write: impl FnOnce(&mut MessagePackWriter<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut MessagePackWriter::new(&mut out));
        out
    }

    /// One value for each marker, and what it reads as.
    fn every_marker() -> Vec<(&'static str, Token<'static, usize>)> {
        let text = |text: &'static str| Token::Text(text.into());
        let binary = |bytes: &'static [u8]| Token::Binary(bytes.into());
        vec![
            ("00", Token::Unsigned(0)),
            ("7f", Token::Unsigned(127)),
            ("80", Token::Dict(0)),
            ("81 a1 61 01", Token::Dict(1)),
            ("90", Token::List(0)),
            ("92 01 02", Token::List(2)),
            ("a0", text("")),
            ("a3 e2 82 ac", text("€")),
            ("c0", Token::Null),
            ("c2", Token::Bool(false)),
            ("c3", Token::Bool(true)),
            ("c4 01 ff", binary(&[255])),
            ("c5 0001 ff", binary(&[255])),
            ("c6 00000001 ff", binary(&[255])),
            ("c7 02 05 0102", binary(&[1, 2])),
            ("c8 0002 05 0102", binary(&[1, 2])),
            ("c9 00000002 05 0102", binary(&[1, 2])),
            ("ca 3fc00000", Token::Single(1.5)),
            ("cb 3ff8000000000000", Token::Float(1.5)),
            ("cc ff", Token::Unsigned(255)),
            ("cd ffff", Token::Unsigned(65_535)),
            ("ce ffffffff", Token::Unsigned(u32::MAX.into())),
            ("cf ffffffffffffffff", Token::Unsigned(u64::MAX)),
            ("d0 80", Token::Negative(127)),
            ("d0 05", Token::Unsigned(5)),
            ("d1 8000", Token::Negative(32_767)),
            ("d2 80000000", Token::Negative(i32::MAX as u64)),
            ("d3 8000000000000000", Token::Negative(i64::MAX as u64)),
            ("d3 7fffffffffffffff", Token::Unsigned(i64::MAX as u64)),
            ("d4 01 aa", binary(&[0xaa])),
            ("d5 01 aabb", binary(&[0xaa, 0xbb])),
            ("d6 01 aabbccdd", binary(&[0xaa, 0xbb, 0xcc, 0xdd])),
            ("d7 01 0102030405060708", binary(&[1, 2, 3, 4, 5, 6, 7, 8])),
            (
                "d8 01 0102030405060708 0102030405060708",
                binary(&[1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8]),
            ),
            ("d9 01 61", text("a")),
            ("da 0001 61", text("a")),
            ("db 00000001 61", text("a")),
            ("dc 0001 c0", Token::List(1)),
            ("dd 00000001 c0", Token::List(1)),
            ("de 0001 c0 c0", Token::Dict(1)),
            ("df 00000001 c0 c0", Token::Dict(1)),
            ("e0", Token::Negative(31)),
            ("ff", Token::Negative(0)),
        ]
    }

    #[test]
    fn every_marker_is_read_and_walked_to_its_end() {
        for (text, expected) in every_marker() {
            assert_eq!(token(text), expected, "{text}");
            let bytes = hex(text);
            assert!(check(Serializer::MessagePack, &bytes).is_ok(), "{text}");
            for length in 0..bytes.len() {
                let error = check(Serializer::MessagePack, &bytes[..length]).unwrap_err();
                assert_eq!(error, DecodeError::Truncated, "{text} at {length}");
            }
        }
    }

    #[test]
    fn the_reserved_marker_and_broken_texts_are_errors() {
        for (text, error) in [
            ("c1", DecodeError::UnexpectedByte),
            ("91 c1", DecodeError::UnexpectedByte),
            ("a1 ff", DecodeError::NotUtf8),
            ("91 a2 c3 28", DecodeError::NotUtf8),
            ("81 a1 80 01", DecodeError::NotUtf8),
            ("c0 c0", DecodeError::TrailingBytes),
        ] {
            assert_eq!(check(Serializer::MessagePack, &hex(text)).unwrap_err(), error, "{text}");
        }
        let mut long = hex("d9 80");
        long.extend([b'a'; 127]);
        long.push(0xff);
        assert_eq!(check(Serializer::MessagePack, &long).unwrap_err(), DecodeError::NotUtf8);
    }

    #[test]
    fn announced_lengths_are_compared_with_what_is_there() {
        for text in [
            "dd ffffffff",
            "df ffffffff",
            "db ffffffff",
            "c6 ffffffff",
            "c9 ffffffff 01",
            "dd 00000003 c0 c0",
            "82 c0 c0 c0",
        ] {
            let bytes = hex(text);
            assert_eq!(check(Serializer::MessagePack, &bytes).unwrap_err(), DecodeError::Truncated, "{text}");
            let read = MessagePackReader::new(&bytes).unwrap().value();
            assert_eq!(read, Err(DecodeError::Truncated), "{text}");
        }
    }

    #[test]
    fn numbers_and_lengths_take_the_smallest_form() {
        for (value, bytes) in [
            (0, 1),
            (127, 1),
            (128, 2),
            (255, 2),
            (256, 3),
            (65_535, 3),
            (65_536, 5),
            (1 << 32, 9),
            (u64::MAX, 9),
        ] {
            let out = written(|writer| writer.unsigned(value));
            assert_eq!(out.len(), bytes, "{value}");
            assert_eq!(Tree::decoded(Serializer::MessagePack, &out), Tree::Unsigned(value));
        }
        for (n, bytes) in
            [(0, 1), (31, 1), (32, 2), (127, 2), (128, 3), (32_768, 5), (1 << 31, 9), (i64::MAX as u64, 9)]
        {
            let out = written(|writer| writer.negative(n));
            assert_eq!(out.len(), bytes, "-1 - {n}");
            assert_eq!(Tree::decoded(Serializer::MessagePack, &out), Tree::Negative(n));
        }
        assert_eq!(written(|writer| writer.negative(u64::MAX)), hex("cb c3f0000000000000"));
        for (length, head) in [(31, 1), (32, 2), (255, 2), (256, 3), (65_536, 5)] {
            assert_eq!(written(|writer| writer.text(&"a".repeat(length))).len(), length + head);
        }
    }

    #[test]
    fn containers_that_are_counted_while_written_equal_those_of_known_count() {
        for count in [0, 1, 15, 16, 17, 65_535, 65_536] {
            let known = written(|writer| {
                let mark = writer.open_list(Some(count));
                (0..count).for_each(|_| writer.null());
                writer.close_list(mark, count);
            });
            let counted = written(|writer| {
                let mark = writer.open_list(None);
                (0..count).for_each(|_| writer.null());
                writer.close_list(mark, count);
            });
            assert!(known == counted, "{count}");
            let known = written(|writer| {
                let mark = writer.open_dict(Some(count));
                (0..2 * count).for_each(|value| writer.unsigned(value));
                writer.close_dict(mark, count);
            });
            let counted = written(|writer| {
                let mark = writer.open_dict(None);
                (0..2 * count).for_each(|value| writer.unsigned(value));
                writer.close_dict(mark, count);
            });
            assert!(known == counted, "{count}");
        }
    }

    #[test]
    fn any_bytes_are_walked_without_harm() {
        let mut random = Random(5);
        for _ in 0..100_000 {
            let bytes: Vec<u8> = (0..random.below(24)).map(|_| random.word() as u8).collect();
            if let Ok(raw) = check(Serializer::MessagePack, &bytes) {
                assert_eq!(raw.bytes(), bytes);
                Tree::of_raw(raw);
            }
        }
    }
}
