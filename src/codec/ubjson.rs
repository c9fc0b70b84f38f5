//! UBJSON (ubjson.org, draft 12): a reader that walks and checks, and a writer.
//!
//! Integers are big-endian. Read are all values, lists and dictionaries with or without a count, no-ops between values,
//! characters, and numbers of high precision, which are digits as in JSON. A list with the type `U` and a count is a
//! binary: py-ubjson, and so autobahn-python up to 25.12, writes it so. Written is what py-ubjson writes: no counts but
//! that of a binary, the smallest integers, null for NaN and the infinities.
//!
//! Other containers with a type are [`DecodeError::Dialect`]: values without a marker cannot be handed on one by one.
//! [`dialects`] rewrites such messages before they are decoded.
//!
//! BJData, which autobahn-python calls `ubjson` from 26.6 on, is another format: its numbers are little-endian. It is
//! not read, since what a message of it means can be told only from markers that UBJSON does not have; those are
//! [`DecodeError::BjData`].

pub(super) mod dialects;

use std::borrow::Cow;

use super::DecodeError;
use super::json;
use super::reader::{Reader, Token, check_utf8, utf8};
use super::writer::{Mark, Writer};
use crate::wamp::Serializer;

/// The octet that stands before a value and says its type.
mod marker {
    pub const NULL: u8 = b'Z';
    pub const TRUE: u8 = b'T';
    pub const FALSE: u8 = b'F';
    pub const NO_OP: u8 = b'N';
    pub const INT8: u8 = b'i';
    pub const UINT8: u8 = b'U';
    pub const INT16: u8 = b'I';
    pub const INT32: u8 = b'l';
    pub const INT64: u8 = b'L';
    pub const SINGLE: u8 = b'd';
    pub const FLOAT: u8 = b'D';
    pub const HIGH_PRECISION: u8 = b'H';
    pub const CHARACTER: u8 = b'C';
    pub const TEXT: u8 = b'S';
    pub const LIST: u8 = b'[';
    pub const LIST_END: u8 = b']';
    pub const DICT: u8 = b'{';
    pub const DICT_END: u8 = b'}';
    /// Behind the octet that opens a container: the type of all its values.
    pub const TYPE: u8 = b'$';
    /// There, or behind the type: how many they are. Nothing closes a container that has a count.
    pub const COUNT: u8 = b'#';

    // Those that only BJData has, by which it is known.
    pub const BYTE: u8 = b'B';
    pub const UINT16: u8 = b'u';
    pub const UINT32: u8 = b'm';
    pub const UINT64: u8 = b'M';
    pub const HALF: u8 = b'h';
}

/// What opens a binary, up to its count.
const BINARY: &[u8] = &[marker::LIST, marker::TYPE, marker::UINT8, marker::COUNT];

/// Stands in [`FOLLOWING`] for what does not have one size.
const VARIABLE: u8 = u8::MAX;

/// For each marker: how many octets follow, if those say nothing that must be checked.
const FOLLOWING: [u8; 256] = {
    let mut following = [VARIABLE; 256];
    following[marker::NULL as usize] = 0;
    following[marker::TRUE as usize] = 0;
    following[marker::FALSE as usize] = 0;
    following[marker::INT8 as usize] = 1;
    following[marker::UINT8 as usize] = 1;
    following[marker::INT16 as usize] = 2;
    following[marker::INT32 as usize] = 4;
    following[marker::SINGLE as usize] = 4;
    following[marker::INT64 as usize] = 8;
    following[marker::FLOAT as usize] = 8;
    following
};

/// An opened list or dictionary.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum UbjsonContainer {
    /// Items or entries that are left.
    Counted(usize),
    /// It ends with this octet.
    ClosedBy(u8),
}

/// A cursor over UBJSON.
pub(super) struct UbjsonReader<'a> {
    bytes: &'a [u8],
    /// The end of `bytes` that is not read yet.
    rest: &'a [u8],
}

impl<'a> UbjsonReader<'a> {
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
    fn octet(&mut self) -> Result<u8, DecodeError> {
        let [octet] = self.octets()?;
        Ok(octet)
    }

    /// Reads that octet, if it is the next one.
    #[inline]
    fn took(&mut self, octet: u8) -> bool {
        match self.rest.split_first() {
            Some((&first, rest)) if first == octet => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn no_ops(&mut self) {
        while self.took(marker::NO_OP) {}
    }

    /// A length or count: an integer of 0 or more.
    #[inline]
    fn length(&mut self) -> Result<usize, DecodeError> {
        let length = match self.octet()? {
            marker::UINT8 => return Ok(self.octet()?.into()),
            marker::INT8 => i8::from_be_bytes(self.octets()?).into(),
            marker::INT16 => i16::from_be_bytes(self.octets()?).into(),
            marker::INT32 => i32::from_be_bytes(self.octets()?).into(),
            marker::INT64 => i64::from_be_bytes(self.octets()?),
            other => return Err(misplaced(other)),
        };
        usize::try_from(length).map_err(|_| DecodeError::UnexpectedByte)
    }

    #[inline]
    fn sized(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    fn character(&mut self) -> Result<&'a [u8], DecodeError> {
        let octet = self.take(1)?;
        if octet.is_ascii() { Ok(octet) } else { Err(DecodeError::NotUtf8) }
    }

    fn high_precision<C>(&mut self) -> Result<Token<'a, C>, DecodeError> {
        json::number(utf8(self.sized()?)?)
    }

    /// What stands behind the octet that opens a list: a binary, or a list up to its first item.
    fn list(&mut self) -> Result<Token<'a, UbjsonContainer>, DecodeError> {
        if !self.took(marker::TYPE) {
            return self.container(marker::LIST_END).map(Token::List);
        }
        if self.octet()? != marker::UINT8 {
            return Err(DecodeError::Dialect);
        }
        match self.octet()? {
            marker::COUNT => Ok(Token::Binary(Cow::Borrowed(self.sized()?))),
            _ => Err(DecodeError::UnexpectedByte),
        }
    }

    fn dict(&mut self) -> Result<UbjsonContainer, DecodeError> {
        if self.took(marker::TYPE) {
            return Err(DecodeError::Dialect);
        }
        self.container(marker::DICT_END)
    }

    #[inline]
    fn container(&mut self, close: u8) -> Result<UbjsonContainer, DecodeError> {
        if !self.took(marker::COUNT) {
            return Ok(UbjsonContainer::ClosedBy(close));
        }
        let count = self.length()?;
        // Each value has a marker, and each key a length.
        if count > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(UbjsonContainer::Counted(count))
    }
}

/// The error for an octet that is no marker, or not one that can stand where it does.
#[cold]
fn misplaced(octet: u8) -> DecodeError {
    match octet {
        marker::BYTE | marker::UINT16 | marker::UINT32 | marker::UINT64 | marker::HALF => DecodeError::BjData,
        _ => DecodeError::UnexpectedByte,
    }
}

fn integer<'a, C>(value: i64) -> Token<'a, C> {
    if value < 0 { Token::Negative(!value as u64) } else { Token::Unsigned(value as u64) }
}

impl<'a> Reader<'a> for UbjsonReader<'a> {
    type Container = UbjsonContainer;
    const SERIALIZER: Serializer = Serializer::Ubjson;

    fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = UbjsonReader { bytes, rest: bytes };
        reader.no_ops();
        Ok(reader)
    }

    #[inline]
    fn value(&mut self) -> Result<Token<'a, UbjsonContainer>, DecodeError> {
        Ok(match self.octet()? {
            marker::NULL => Token::Null,
            marker::TRUE => Token::Bool(true),
            marker::FALSE => Token::Bool(false),
            marker::UINT8 => Token::Unsigned(self.octet()?.into()),
            marker::INT8 => integer(i8::from_be_bytes(self.octets()?).into()),
            marker::INT16 => integer(i16::from_be_bytes(self.octets()?).into()),
            marker::INT32 => integer(i32::from_be_bytes(self.octets()?).into()),
            marker::INT64 => integer(i64::from_be_bytes(self.octets()?)),
            marker::SINGLE => Token::Single(f32::from_be_bytes(self.octets()?)),
            marker::FLOAT => Token::Float(f64::from_be_bytes(self.octets()?)),
            marker::HIGH_PRECISION => self.high_precision()?,
            marker::CHARACTER => Token::Text(Cow::Borrowed(utf8(self.character()?)?)),
            marker::TEXT => Token::Text(Cow::Borrowed(utf8(self.sized()?)?)),
            marker::LIST => self.list()?,
            marker::DICT => Token::Dict(self.dict()?),
            other => return Err(misplaced(other)),
        })
    }

    fn key(&mut self) -> Result<Token<'a, UbjsonContainer>, DecodeError> {
        Ok(Token::Text(Cow::Borrowed(utf8(self.sized()?)?)))
    }

    #[inline]
    fn more(&mut self, container: &mut UbjsonContainer) -> Result<bool, DecodeError> {
        match container {
            UbjsonContainer::Counted(0) => Ok(false),
            UbjsonContainer::Counted(left) => {
                *left -= 1;
                self.no_ops();
                Ok(true)
            }
            UbjsonContainer::ClosedBy(close) => {
                self.no_ops();
                let (&next, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
                if next == *close {
                    self.rest = rest;
                }
                Ok(next != *close)
            }
        }
    }

    fn separator(&mut self) -> Result<(), DecodeError> {
        self.no_ops();
        Ok(())
    }

    fn count(container: &UbjsonContainer) -> Option<u64> {
        match container {
            UbjsonContainer::Counted(left) => Some(*left as u64),
            UbjsonContainer::ClosedBy(_) => None,
        }
    }

    #[inline]
    fn skip(&mut self, enclosing: usize) -> Result<(), DecodeError> {
        let octet = self.octet()?;
        let following = FOLLOWING[usize::from(octet)];
        if following != VARIABLE {
            return self.take(following.into()).map(drop);
        }
        match octet {
            marker::TEXT => check_utf8(self.sized()?),
            marker::CHARACTER => self.character().map(drop),
            marker::HIGH_PRECISION => self.high_precision::<()>().map(drop),
            marker::LIST => match self.list()? {
                Token::List(list) => self.finish_list(list, enclosing),
                _ => Ok(()),
            },
            marker::DICT => {
                let dict = self.dict()?;
                self.finish_dict(dict, enclosing)
            }
            other => Err(misplaced(other)),
        }
    }

    fn skip_key(&mut self, _enclosing: usize) -> Result<(), DecodeError> {
        check_utf8(self.sized()?)
    }

    fn skip_text_key(&mut self) -> Result<(), DecodeError> {
        check_utf8(self.sized()?)
    }

    fn position(&self) -> usize {
        self.bytes.len() - self.rest.len()
    }

    fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn end(&mut self) -> Result<(), DecodeError> {
        self.no_ops();
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }
}

/// Appends UBJSON to a buffer.
pub(super) struct UbjsonWriter<'o> {
    out: &'o mut Vec<u8>,
}

impl UbjsonWriter<'_> {
    #[inline]
    fn head<const N: usize>(&mut self, marker: u8, octets: [u8; N]) {
        self.out.push(marker);
        self.out.extend_from_slice(&octets);
    }

    /// A length and so many octets.
    #[inline]
    fn sized(&mut self, bytes: &[u8]) {
        self.unsigned(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    fn high_precision(&mut self, digits: &str) {
        self.out.push(marker::HIGH_PRECISION);
        self.sized(digits.as_bytes());
    }
}

impl<'o> Writer<'o> for UbjsonWriter<'o> {
    const SERIALIZER: Serializer = Serializer::Ubjson;
    const KEYS_ARE_TEXT: bool = true;

    fn new(out: &'o mut Vec<u8>) -> Self {
        UbjsonWriter { out }
    }

    fn null(&mut self) {
        self.out.push(marker::NULL);
    }

    fn bool(&mut self, value: bool) {
        self.out.push(if value { marker::TRUE } else { marker::FALSE });
    }

    #[inline]
    fn unsigned(&mut self, value: u64) {
        if let Ok(value) = u8::try_from(value) {
            self.head(marker::UINT8, [value]);
        } else if let Ok(value) = i16::try_from(value) {
            self.head(marker::INT16, value.to_be_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.head(marker::INT32, value.to_be_bytes());
        } else if let Ok(value) = i64::try_from(value) {
            self.head(marker::INT64, value.to_be_bytes());
        } else {
            self.high_precision(itoa::Buffer::new().format(value));
        }
    }

    fn negative(&mut self, n: u64) {
        let value = -1 - i128::from(n);
        if let Ok(value) = i8::try_from(value) {
            self.head(marker::INT8, value.to_be_bytes());
        } else if let Ok(value) = i16::try_from(value) {
            self.head(marker::INT16, value.to_be_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.head(marker::INT32, value.to_be_bytes());
        } else if let Ok(value) = i64::try_from(value) {
            self.head(marker::INT64, value.to_be_bytes());
        } else {
            self.high_precision(itoa::Buffer::new().format(value));
        }
    }

    fn float(&mut self, value: f64) {
        if value.is_finite() { self.head(marker::FLOAT, value.to_be_bytes()) } else { self.null() }
    }

    fn single(&mut self, value: f32) {
        if value.is_finite() { self.head(marker::SINGLE, value.to_be_bytes()) } else { self.null() }
    }

    fn text(&mut self, text: &str) {
        self.out.push(marker::TEXT);
        self.sized(text.as_bytes());
    }

    fn binary(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(BINARY);
        self.sized(bytes);
    }

    fn key(&mut self, key: &str) {
        self.sized(key.as_bytes());
    }

    fn open_list(&mut self, _count: Option<u64>) -> Mark {
        self.out.push(marker::LIST);
        Mark::new(self.out, Some(0))
    }

    fn close_list(&mut self, _mark: Mark, _count: u64) {
        self.out.push(marker::LIST_END);
    }

    fn open_dict(&mut self, _count: Option<u64>) -> Mark {
        self.out.push(marker::DICT);
        Mark::new(self.out, Some(0))
    }

    fn close_dict(&mut self, _mark: Mark, _count: u64) {
        self.out.push(marker::DICT_END);
    }

    fn separator(&mut self) {}

    fn checked(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::super::random::{Random, Tree};
    use super::*;

    fn read(bytes: &[u8]) -> Result<Token<'_, UbjsonContainer>, DecodeError> {
        UbjsonReader::new(bytes).unwrap().value()
    }

    fn written(write: impl FnOnce(&mut UbjsonWriter<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut UbjsonWriter::new(&mut out));
        out
    }

    /// One value for each marker, and what it reads as.
    fn every_marker() -> Vec<(&'static [u8], Token<'static, UbjsonContainer>)> {
        let text = |text: &'static str| Token::Text(text.into());
        let binary = |bytes: &'static [u8]| Token::Binary(bytes.into());
        let counted = UbjsonContainer::Counted;
        vec![
            (b"Z", Token::Null),
            (b"T", Token::Bool(true)),
            (b"F", Token::Bool(false)),
            (b"i\x80", Token::Negative(127)),
            (b"i\x7f", Token::Unsigned(127)),
            (b"U\xff", Token::Unsigned(255)),
            (b"I\x80\0", Token::Negative(32_767)),
            (b"I\x01\x02", Token::Unsigned(0x0102)),
            (b"l\x80\0\0\0", Token::Negative(i32::MAX as u64)),
            (b"l\x01\x02\x03\x04", Token::Unsigned(0x0102_0304)),
            (b"L\x80\0\0\0\0\0\0\0", Token::Negative(i64::MAX as u64)),
            (b"L\x01\x02\x03\x04\x05\x06\x07\x08", Token::Unsigned(0x0102_0304_0506_0708)),
            (b"d\x3f\xc0\0\0", Token::Single(1.5)),
            (b"D\x3f\xf8\0\0\0\0\0\0", Token::Float(1.5)),
            (b"HU\x01\x35", Token::Unsigned(5)),
            (b"HU\x1418446744073709551615", Token::Unsigned(u64::MAX)),
            (b"HU\x15-18446744073709551616", Token::Negative(u64::MAX)),
            (b"HU\x1418446744073709551616", Token::Float(18_446_744_073_709_551_616.0)),
            (b"Hi\x065E-324", Token::Float(5e-324)),
            (b"Ca", text("a")),
            (b"SU\0", text("")),
            (b"Si\x03\xe2\x82\xac", text("€")),
            (b"SI\0\x01a", text("a")),
            (b"Sl\0\0\0\x01a", text("a")),
            (b"SL\0\0\0\0\0\0\0\x01a", text("a")),
            (b"[$U#U\0", binary(b"")),
            (b"[$U#l\0\0\0\x02\xff]", binary(b"\xff]")),
            (b"[]", Token::List(UbjsonContainer::ClosedBy(b']'))),
            (b"[NNTN[N]N]", Token::List(UbjsonContainer::ClosedBy(b']'))),
            (b"[#U\0", Token::List(counted(0))),
            (b"[#i\x02TNNF", Token::List(counted(2))),
            (b"{}", Token::Dict(UbjsonContainer::ClosedBy(b'}'))),
            (b"{NU\x01aTNNU\0[]N}", Token::Dict(UbjsonContainer::ClosedBy(b'}'))),
            (b"{#U\x02U\x01aTNU\0F", Token::Dict(counted(2))),
        ]
    }

    #[test]
    fn every_marker_is_read_and_walked_to_its_end() {
        for (bytes, expected) in every_marker() {
            assert_eq!(read(bytes), Ok(expected), "{}", bytes.escape_ascii());
            let around = [b"NN", bytes, b"N"].concat();
            let raw = check(Serializer::Ubjson, &around).unwrap();
            assert_eq!(raw.bytes(), bytes, "{}", bytes.escape_ascii());
            for length in 0..bytes.len() {
                let error = check(Serializer::Ubjson, &bytes[..length]).unwrap_err();
                assert_eq!(error, DecodeError::Truncated, "{} at {length}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn all_other_octets_are_no_markers() {
        for octet in 0..=u8::MAX {
            let expected = match octet {
                b'u' | b'm' | b'M' | b'h' | b'B' => DecodeError::BjData,
                _ if b"ZTFiUIlLdDHCS[{N".contains(&octet) => continue,
                _ => DecodeError::UnexpectedByte,
            };
            for bytes in [&[octet, 0][..], &[b'S', octet, 0], &[b'{', b'U', 0, octet]] {
                assert_eq!(check(Serializer::Ubjson, bytes).unwrap_err(), expected, "{octet:#x}");
            }
        }
    }

    #[test]
    fn what_is_not_well_formed_is_an_error() {
        for (bytes, error) in [
            (&b"]"[..], DecodeError::UnexpectedByte),
            (b"[}", DecodeError::UnexpectedByte),
            (b"{]", DecodeError::UnexpectedByte),
            (b"{U\x01a}", DecodeError::UnexpectedByte),
            (b"{U\x01aNT}", DecodeError::UnexpectedByte),
            (b"{SU\x01aT}", DecodeError::UnexpectedByte),
            (b"[N#U\0", DecodeError::UnexpectedByte),
            (b"[#NU\0", DecodeError::UnexpectedByte),
            (b"[$UU\0", DecodeError::UnexpectedByte),
            (b"SNU\0", DecodeError::UnexpectedByte),
            (b"SD\0\0\0\0\0\0\0\0", DecodeError::UnexpectedByte),
            (b"Si\xff", DecodeError::UnexpectedByte),
            (b"[#I\xff\xff", DecodeError::UnexpectedByte),
            (b"[#U\x01TT", DecodeError::TrailingBytes),
            (b"TT", DecodeError::TrailingBytes),
            (b"C\xe9", DecodeError::NotUtf8),
            (b"SU\x01\xff", DecodeError::NotUtf8),
            (b"{U\x01\xffT}", DecodeError::NotUtf8),
            (b"HU\0", DecodeError::InvalidNumber),
            (b"HU\x0201", DecodeError::InvalidNumber),
            (b"HU\x031 2", DecodeError::InvalidNumber),
            (b"HU\x02 1", DecodeError::InvalidNumber),
            (b"HU\x03NaN", DecodeError::InvalidNumber),
            (b"[$T#U\x01", DecodeError::Dialect),
            (b"{$U#U\x01U\x01a\x05", DecodeError::Dialect),
        ] {
            assert_eq!(check(Serializer::Ubjson, bytes).unwrap_err(), error, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn announced_lengths_are_compared_with_what_is_there() {
        for bytes in [
            &b"SL\x7f\xff\xff\xff\xff\xff\xff\xff"[..],
            b"[$U#L\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"[#L\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"{#L\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"HL\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"{L\x7f\xff\xff\xff\xff\xff\xff\xff",
        ] {
            let error = check(Serializer::Ubjson, bytes).unwrap_err();
            assert_eq!(error, DecodeError::Truncated, "{}", bytes.escape_ascii());
        }
        assert_eq!(read(b"[#l\x7f\xff\xff\xff"), Err(DecodeError::Truncated));
    }

    #[test]
    fn integers_take_the_smallest_form() {
        for (value, bytes) in [
            (0, 2),
            (255, 2),
            (256, 3),
            (32_767, 3),
            (32_768, 5),
            (i32::MAX as u64, 5),
            (1 << 31, 9),
            (i64::MAX as u64, 9),
            (1 << 63, 22),
            (u64::MAX, 23),
        ] {
            let out = written(|writer| writer.unsigned(value));
            assert_eq!(out.len(), bytes, "{value}");
            assert_eq!(read(&out), Ok(Token::Unsigned(value)));
        }
        for (n, bytes) in [
            (0, 2),
            (127, 2),
            (128, 3),
            (32_767, 3),
            (32_768, 5),
            (i32::MAX as u64, 5),
            (1 << 31, 9),
            (i64::MAX as u64, 9),
            (1 << 63, 23),
            (u64::MAX, 24),
        ] {
            let out = written(|writer| writer.negative(n));
            assert_eq!(out.len(), bytes, "-1 - {n}");
            assert_eq!(read(&out), Ok(Token::Negative(n)));
        }
    }

    #[test]
    fn what_is_written_is_what_py_ubjson_writes() {
        for (tree, bytes) in [
            (Tree::Unsigned(32_768), &b"l\0\0\x80\0"[..]),
            (Tree::Negative(299), b"I\xfe\xd4"),
            (Tree::Unsigned(1 << 63), b"HU\x139223372036854775808"),
            (Tree::Float(1.5), b"D\x3f\xf8\0\0\0\0\0\0"),
            (Tree::Float(f64::NAN), b"Z"),
            (Tree::Float(f64::NEG_INFINITY), b"Z"),
            (Tree::Text("é".to_owned()), b"SU\x02\xc3\xa9"),
            (Tree::Binary(b"ab".to_vec()), b"[$U#U\x02ab"),
            (Tree::List(vec![Tree::List(vec![]), Tree::Dict(vec![])]), b"[[]{}]"),
            (Tree::Dict(vec![(String::new(), Tree::Unsigned(2))]), b"{U\0U\x02}"),
        ] {
            assert_eq!(tree.encoded(Serializer::Ubjson), bytes, "{tree:?}");
        }
        let long = Tree::Text("a".repeat(400)).encoded(Serializer::Ubjson);
        assert_eq!(long[..4], *b"SI\x01\x90");
    }

    /// Another reader, which builds everything and knows no bounds: what it makes of octets that ours has checked.
    fn naive(rest: &mut &[u8]) -> Tree {
        let marker = naive_octet(rest);
        naive_value(marker, rest)
    }

    fn naive_octet(rest: &mut &[u8]) -> u8 {
        let octet = rest[0];
        *rest = &rest[1..];
        if octet == b'N' { naive_octet(rest) } else { octet }
    }

    fn naive_octets(count: usize, rest: &mut &[u8]) -> Vec<u8> {
        let (taken, left) = rest.split_at(count);
        *rest = left;
        taken.to_vec()
    }

    fn naive_integer(bytes: usize, rest: &mut &[u8]) -> Tree {
        let octets = naive_octets(bytes, rest);
        let sign = if octets[0] >= 0x80 { -1 } else { 0 };
        let value = octets.iter().fold(sign, |value: i128, &octet| value * 256 + i128::from(octet));
        if value < 0 { Tree::Negative(!value as u64) } else { Tree::Unsigned(value as u64) }
    }

    fn naive_text(marker: u8, rest: &mut &[u8]) -> String {
        let Tree::Unsigned(length) = naive_value(marker, rest) else { panic!("a length is no integer") };
        String::from_utf8(naive_octets(length as usize, rest)).unwrap()
    }

    fn naive_value(marker: u8, rest: &mut &[u8]) -> Tree {
        match marker {
            b'Z' => Tree::Null,
            b'T' | b'F' => Tree::Bool(marker == b'T'),
            b'U' => Tree::Unsigned(naive_octets(1, rest)[0].into()),
            b'i' => naive_integer(1, rest),
            b'I' => naive_integer(2, rest),
            b'l' => naive_integer(4, rest),
            b'L' => naive_integer(8, rest),
            b'd' => Tree::Float(f32::from_be_bytes(naive_octets(4, rest).try_into().unwrap()).into()),
            b'D' => Tree::Float(f64::from_be_bytes(naive_octets(8, rest).try_into().unwrap())),
            b'C' => Tree::Text(char::from(naive_octets(1, rest)[0]).to_string()),
            b'S' => {
                let length = naive_octet(rest);
                Tree::Text(naive_text(length, rest))
            }
            b'H' => {
                let length = naive_octet(rest);
                let digits = naive_text(length, rest);
                let negative = digits.parse().ok().filter(|value: &i128| *value < 0);
                let unsigned = digits.parse().map(Tree::Unsigned).ok();
                let negative = || negative.and_then(|value| u64::try_from(!value).ok()).map(Tree::Negative);
                unsigned.or_else(negative).unwrap_or_else(|| Tree::Float(digits.parse().unwrap()))
            }
            b'[' if rest.starts_with(b"$U#") => {
                *rest = &rest[3..];
                let Tree::Unsigned(length) = naive(rest) else { panic!("a length is no integer") };
                Tree::Binary(naive_octets(length as usize, rest))
            }
            _ => naive_container(marker, rest),
        }
    }

    fn naive_container(open: u8, rest: &mut &[u8]) -> Tree {
        let (mut items, mut pairs) = (Vec::new(), Vec::new());
        let mut left = u64::MAX;
        if rest[0] == b'#' {
            *rest = &rest[1..];
            let Tree::Unsigned(count) = naive(rest) else { panic!("a count is no integer") };
            left = count;
        }
        while left > 0 {
            let marker = naive_octet(rest);
            match marker {
                b']' | b'}' => break,
                _ if open == b'[' => items.push(naive_value(marker, rest)),
                _ => {
                    let key = naive_text(marker, rest);
                    pairs.push((key, naive(rest)));
                }
            }
            left -= 1;
        }
        if open == b'[' { Tree::List(items) } else { Tree::Dict(pairs) }
    }

    #[test]
    fn random_trees_are_read_as_a_naive_reader_reads_them() {
        let mut random = Random(12);
        for _ in 0..2_000 {
            let tree = random.tree(4);
            let bytes = tree.encoded(Serializer::Ubjson);
            assert_eq!(naive(&mut &bytes[..]), tree);
            assert_eq!(Tree::decoded(Serializer::Ubjson, &bytes), tree);
        }
    }

    #[test]
    fn any_bytes_are_walked_without_harm() {
        let mut random = Random(13);
        let mut checked = 0;
        for _ in 0..200_000 {
            // Markers more often than chance would have them.
            let octet = |random: &mut Random| match random.below(3) {
                0 => random.word() as u8,
                1 => *random.pick(b"\0\x01\x02"),
                _ => *random.pick(b"ZTFNiUIlLdDHCS[]{}#$"),
            };
            let bytes: Vec<u8> = (0..random.below(16)).map(|_| octet(&mut random)).collect();
            let Ok(raw) = check(Serializer::Ubjson, &bytes) else { continue };
            let (ours, theirs) = (Tree::of_raw(raw), naive(&mut &bytes[..]));
            // Equal, or not a number.
            assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "{}", bytes.escape_ascii());
            checked += 1;
        }
        assert!(checked > 2_000, "only {checked}");
    }

    #[test]
    fn a_binary_is_no_level_of_depth() {
        let deepest = |inner: &str| {
            let depth = crate::limits::PAYLOAD_DEPTH_MAX;
            format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth)).into_bytes()
        };
        assert!(check(Serializer::Ubjson, &deepest("[$U#U\x01a")).is_ok());
        assert_eq!(check(Serializer::Ubjson, &deepest("[]")).unwrap_err(), DecodeError::TooDeep);
    }
}
