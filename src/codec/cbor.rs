//! CBOR (RFC 8949): a reader that walks and checks, and a writer.
//!
//! Read are all well-formed items: heads of any width, strings, lists and dictionaries of indefinite length, floats of
//! three sizes, tags and simple values. A break is legal only where an item, or the key of an entry, could stand. A
//! tag counts as one level of depth, since those who read recursively recurse there; read as a value, a tag is looked
//! through. Written are definite lengths and the smallest heads, floats in the precision they came in.

use std::borrow::Cow;

use super::DecodeError;
use super::reader::{Reader, Token, check_utf8, deeper, utf8};
use super::writer::{Mark, Writer};
use crate::limits::PAYLOAD_DEPTH_MAX;
use crate::wamp::Serializer;

/// Major types.
mod major {
    pub const UNSIGNED: u8 = 0;
    pub const NEGATIVE: u8 = 1;
    pub const BINARY: u8 = 2;
    pub const TEXT: u8 = 3;
    pub const LIST: u8 = 4;
    pub const DICT: u8 = 5;
    pub const TAG: u8 = 6;
}

/// The octet that ends what has indefinite length.
const BREAK: u8 = 0xff;
const TAG_BIGNUM: u64 = 2;
const TAG_NEGATIVE_BIGNUM: u64 = 3;

/// A cursor over CBOR.
pub(super) struct CborReader<'a> {
    bytes: &'a [u8],
    /// The end of `bytes` that is not read yet.
    rest: &'a [u8],
}

/// What the first octet of an item and its argument say.
enum Head {
    Unsigned(u64),
    Negative(u64),
    /// Octets; none if the length is indefinite.
    Binary(Option<u64>),
    Text(Option<u64>),
    List(Option<u64>),
    Dict(Option<u64>),
    Tag(u64),
    Bool(bool),
    /// Null, undefined, and simple values that nobody has given a meaning.
    Null,
    Single(f32),
    Float(f64),
}

impl<'a> CborReader<'a> {
    #[inline]
    fn take(&mut self, count: u64) -> Result<&'a [u8], DecodeError> {
        let count = usize::try_from(count).map_err(|_| DecodeError::Truncated)?;
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

    /// The argument of a head, from its five low bits.
    #[inline]
    fn argument(&mut self, low: u8) -> Result<u64, DecodeError> {
        Ok(match low {
            0..=23 => low.into(),
            24 => u8::from_be_bytes(self.octets()?).into(),
            25 => u16::from_be_bytes(self.octets()?).into(),
            26 => u32::from_be_bytes(self.octets()?).into(),
            27 => u64::from_be_bytes(self.octets()?),
            _ => return Err(DecodeError::UnexpectedByte),
        })
    }

    #[inline]
    fn length(&mut self, low: u8) -> Result<Option<u64>, DecodeError> {
        if low == 31 { Ok(None) } else { self.argument(low).map(Some) }
    }

    #[inline]
    fn head(&mut self) -> Result<Head, DecodeError> {
        let [octet] = self.octets()?;
        let low = octet & 0x1f;
        Ok(match octet >> 5 {
            major::UNSIGNED => Head::Unsigned(self.argument(low)?),
            major::NEGATIVE => Head::Negative(self.argument(low)?),
            major::BINARY => Head::Binary(self.length(low)?),
            major::TEXT => Head::Text(self.length(low)?),
            major::LIST => Head::List(self.length(low)?),
            major::DICT => Head::Dict(self.length(low)?),
            major::TAG => Head::Tag(self.argument(low)?),
            _ => self.simple(low)?,
        })
    }

    /// Floats and simple values: major type 7.
    fn simple(&mut self, low: u8) -> Result<Head, DecodeError> {
        Ok(match low {
            20 => Head::Bool(false),
            21 => Head::Bool(true),
            0..=23 => Head::Null,
            // Those below 32 have the short form only.
            24 if u8::from_be_bytes(self.octets()?) >= 32 => Head::Null,
            25 => Head::Single(half(u16::from_be_bytes(self.octets()?))),
            26 => Head::Single(f32::from_be_bytes(self.octets()?)),
            27 => Head::Float(f64::from_be_bytes(self.octets()?)),
            _ => return Err(DecodeError::UnexpectedByte),
        })
    }

    /// Checks that so many values of at least one byte each can follow.
    #[inline]
    fn room(&self, values: u64) -> Result<(), DecodeError> {
        if values > self.rest.len() as u64 { Err(DecodeError::Truncated) } else { Ok(()) }
    }

    /// Reads a break, if there is one.
    fn broken(&mut self) -> Result<bool, DecodeError> {
        let (&octet, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        if octet == BREAK {
            self.rest = rest;
        }
        Ok(octet == BREAK)
    }

    /// The next chunk of a string of indefinite length: a string of the same type and definite length.
    fn chunk(&mut self, of: u8) -> Result<Option<&'a [u8]>, DecodeError> {
        if self.broken()? {
            return Ok(None);
        }
        let [octet] = self.octets()?;
        if octet >> 5 != of {
            return Err(DecodeError::UnexpectedByte);
        }
        let length = self.argument(octet & 0x1f)?;
        self.take(length).map(Some)
    }

    fn binary(&mut self, length: Option<u64>) -> Result<Cow<'a, [u8]>, DecodeError> {
        if let Some(length) = length {
            return self.take(length).map(Cow::Borrowed);
        }
        let mut whole = Vec::new();
        while let Some(chunk) = self.chunk(major::BINARY)? {
            whole.extend_from_slice(chunk);
        }
        Ok(Cow::Owned(whole))
    }

    fn text(&mut self, length: Option<u64>) -> Result<Cow<'a, str>, DecodeError> {
        if let Some(length) = length {
            return utf8(self.take(length)?).map(Cow::Borrowed);
        }
        let mut whole = String::new();
        while let Some(chunk) = self.chunk(major::TEXT)? {
            whole.push_str(utf8(chunk)?);
        }
        Ok(Cow::Owned(whole))
    }

    fn skip_binary(&mut self, length: Option<u64>) -> Result<(), DecodeError> {
        match length {
            Some(length) => self.take(length).map(drop),
            None => {
                while self.chunk(major::BINARY)?.is_some() {}
                Ok(())
            }
        }
    }

    fn skip_text(&mut self, length: Option<u64>) -> Result<(), DecodeError> {
        match length {
            Some(length) => check_utf8(self.take(length)?),
            None => {
                while let Some(chunk) = self.chunk(major::TEXT)? {
                    check_utf8(chunk)?;
                }
                Ok(())
            }
        }
    }

    /// What a tag stands before; further tags are as deep as they are many. Bignums become integers where 64 bits are
    /// enough, and else the nearest float.
    fn tagged(&mut self, mut tag: u64) -> Result<Token<'a, Option<u64>>, DecodeError> {
        for _ in 0..PAYLOAD_DEPTH_MAX {
            match (tag, self.head()?) {
                (_, Head::Tag(inner)) => tag = inner,
                (TAG_BIGNUM, Head::Binary(length)) => {
                    return Ok(bignum(&self.binary(length)?).map_or_else(Token::Float, Token::Unsigned));
                }
                (TAG_NEGATIVE_BIGNUM, Head::Binary(length)) => {
                    // Floats are that far apart here that the one less of `-1 - n` is lost in any case.
                    let value = bignum(&self.binary(length)?).map_err(|float| -float);
                    return Ok(value.map_or_else(Token::Float, Token::Negative));
                }
                (_, head) => return self.token(head),
            }
        }
        Err(DecodeError::TooDeep)
    }

    #[inline]
    fn token(&mut self, head: Head) -> Result<Token<'a, Option<u64>>, DecodeError> {
        Ok(match head {
            Head::Unsigned(value) => Token::Unsigned(value),
            Head::Negative(value) => Token::Negative(value),
            Head::Binary(length) => Token::Binary(self.binary(length)?),
            Head::Text(length) => Token::Text(self.text(length)?),
            Head::List(count) => {
                self.room(count.unwrap_or(0))?;
                Token::List(count)
            }
            Head::Dict(count) => {
                self.room(count.unwrap_or(0).saturating_mul(2))?;
                Token::Dict(count)
            }
            Head::Tag(tag) => self.tagged(tag)?,
            Head::Bool(value) => Token::Bool(value),
            Head::Null => Token::Null,
            Head::Single(value) => Token::Single(value),
            Head::Float(value) => Token::Float(value),
        })
    }
}

/// The value of an unsigned integer of any length, or else the nearest float.
fn bignum(bytes: &[u8]) -> Result<u64, f64> {
    let leading = bytes.iter().take_while(|&&byte| byte == 0).count();
    let bytes = &bytes[leading..];
    let Some((top, low)) = bytes.split_first_chunk::<8>() else {
        return Ok(bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)));
    };
    let top = u64::from_be_bytes(*top);
    if low.is_empty() {
        return Ok(top);
    }
    // The top holds at least 57 significant bits, 53 are kept: what lies below it only decides between up and down.
    let sticky = u64::from(low.iter().any(|&byte| byte != 0));
    let exponent = i32::try_from(low.len() * 8).unwrap_or(i32::MAX);
    Err((top | sticky) as f64 * 2f64.powi(exponent))
}

/// A float of half precision: 1 sign bit, 5 of exponent, 10 of fraction.
fn half(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let fraction = u32::from(bits & 0x3ff);
    match exponent {
        0 => {
            let magnitude = fraction as f32 * 2f32.powi(-24);
            if sign == 0 { magnitude } else { -magnitude }
        }
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13),
    }
}

impl<'a> Reader<'a> for CborReader<'a> {
    /// Items or entries that are left; none if a break ends them.
    type Container = Option<u64>;
    const SERIALIZER: Serializer = Serializer::Cbor;

    fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(CborReader { bytes, rest: bytes })
    }

    #[inline]
    fn value(&mut self) -> Result<Token<'a, Option<u64>>, DecodeError> {
        let head = self.head()?;
        self.token(head)
    }

    fn key(&mut self) -> Result<Token<'a, Option<u64>>, DecodeError> {
        self.value()
    }

    #[inline]
    fn more(&mut self, container: &mut Option<u64>) -> Result<bool, DecodeError> {
        match container {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => self.broken().map(|broken| !broken),
        }
    }

    fn separator(&mut self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn count(container: &Option<u64>) -> Option<u64> {
        *container
    }

    fn skip(&mut self, enclosing: usize) -> Result<(), DecodeError> {
        match self.head()? {
            Head::Binary(length) => self.skip_binary(length),
            Head::Text(length) => self.skip_text(length),
            Head::List(count) => {
                self.room(count.unwrap_or(0))?;
                self.finish_list(count, enclosing)
            }
            Head::Dict(count) => {
                self.room(count.unwrap_or(0).saturating_mul(2))?;
                self.finish_dict(count, enclosing)
            }
            Head::Tag(_) => self.skip(deeper(enclosing)?),
            Head::Unsigned(_)
            | Head::Negative(_)
            | Head::Bool(_)
            | Head::Null
            | Head::Single(_)
            | Head::Float(_) => Ok(()),
        }
    }

    fn skip_key(&mut self, enclosing: usize) -> Result<(), DecodeError> {
        self.skip(enclosing)
    }

    fn skip_text_key(&mut self) -> Result<(), DecodeError> {
        match self.head()? {
            Head::Text(length) => self.skip_text(length),
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

/// Appends CBOR to a buffer.
pub(super) struct CborWriter<'o> {
    out: &'o mut Vec<u8>,
}

/// Appends the smallest head with that argument.
#[inline]
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    if argument < 24 {
        out.push(major | argument as u8);
    } else if let Ok(argument) = u8::try_from(argument) {
        out.extend_from_slice(&[major | 24, argument]);
    } else if let Ok(argument) = u16::try_from(argument) {
        out.push(major | 25);
        out.extend_from_slice(&argument.to_be_bytes());
    } else if let Ok(argument) = u32::try_from(argument) {
        out.push(major | 26);
        out.extend_from_slice(&argument.to_be_bytes());
    } else {
        out.push(major | 27);
        out.extend_from_slice(&argument.to_be_bytes());
    }
}

impl<'o> Writer<'o> for CborWriter<'o> {
    const SERIALIZER: Serializer = Serializer::Cbor;
    const KEYS_ARE_TEXT: bool = false;

    fn new(out: &'o mut Vec<u8>) -> Self {
        CborWriter { out }
    }

    fn null(&mut self) {
        self.out.push(0xf6);
    }

    fn bool(&mut self, value: bool) {
        self.out.push(0xf4 + u8::from(value));
    }

    fn unsigned(&mut self, value: u64) {
        head(self.out, major::UNSIGNED, value);
    }

    fn negative(&mut self, n: u64) {
        head(self.out, major::NEGATIVE, n);
    }

    fn float(&mut self, value: f64) {
        self.out.push(0xfb);
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    fn single(&mut self, value: f32) {
        self.out.push(0xfa);
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        head(self.out, major::TEXT, text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn binary(&mut self, bytes: &[u8]) {
        head(self.out, major::BINARY, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    fn key(&mut self, key: &str) {
        self.text(key);
    }

    fn open_list(&mut self, count: Option<u64>) -> Mark {
        let mark = Mark::new(self.out, count);
        head(self.out, major::LIST, count.unwrap_or(0));
        mark
    }

    fn close_list(&mut self, mark: Mark, count: u64) {
        mark.close(self.out, |out| head(out, major::LIST, count));
    }

    fn open_dict(&mut self, count: Option<u64>) -> Mark {
        let mark = Mark::new(self.out, count);
        head(self.out, major::DICT, count.unwrap_or(0));
        mark
    }

    fn close_dict(&mut self, mark: Mark, count: u64) {
        mark.close(self.out, |out| head(out, major::DICT, count));
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

    fn token(text: &str) -> Token<'static, Option<u64>> {
        CborReader::new(hex(text).leak()).unwrap().value().unwrap()
    }

    fn written(write: impl FnOnce(&mut CborWriter<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut CborWriter::new(&mut out));
        out
    }

    /// Encodings of RFC 8949, appendix A, and a few more.
    fn scalars() -> Vec<(&'static str, Token<'static, Option<u64>>)> {
        let text = |text: &'static str| Token::Text(text.into());
        let binary = |bytes: &'static [u8]| Token::Binary(bytes.into());
        vec![
            ("00", Token::Unsigned(0)),
            ("17", Token::Unsigned(23)),
            ("1818", Token::Unsigned(24)),
            ("1903e8", Token::Unsigned(1_000)),
            ("1a000f4240", Token::Unsigned(1_000_000)),
            ("1bffffffffffffffff", Token::Unsigned(u64::MAX)),
            ("1b0000000000000001", Token::Unsigned(1)),
            ("20", Token::Negative(0)),
            ("3863", Token::Negative(99)),
            ("3bffffffffffffffff", Token::Negative(u64::MAX)),
            ("c249010000000000000000", Token::Float(18_446_744_073_709_551_616.0)),
            ("c349010000000000000000", Token::Float(-18_446_744_073_709_551_616.0)),
            ("c2420100", Token::Unsigned(256)),
            ("c3420100", Token::Negative(256)),
            ("c240", Token::Unsigned(0)),
            ("c24b000000ffffffffffffffff", Token::Unsigned(u64::MAX)),
            ("c25f41014100ff", Token::Unsigned(256)),
            ("f90000", Token::Single(0.0)),
            ("f93c00", Token::Single(1.0)),
            ("f97bff", Token::Single(65_504.0)),
            ("f90001", Token::Single(5.960_464_5e-8)),
            ("f90400", Token::Single(6.103_515_6e-5)),
            ("f9c400", Token::Single(-4.0)),
            ("f97c00", Token::Single(f32::INFINITY)),
            ("fa47c35000", Token::Single(100_000.0)),
            ("fb3ff199999999999a", Token::Float(1.1)),
            ("f4", Token::Bool(false)),
            ("f5", Token::Bool(true)),
            ("f6", Token::Null),
            ("f7", Token::Null),
            ("f0", Token::Null),
            ("f8ff", Token::Null),
            ("c074323031332d30332d32315432303a30343a30305a", text("2013-03-21T20:04:00Z")),
            ("c11a514b67b0", Token::Unsigned(1_363_896_240)),
            ("d74401020304", binary(&[1, 2, 3, 4])),
            ("d9d9f7c063616263", text("abc")),
            ("40", binary(&[])),
            ("4401020304", binary(&[1, 2, 3, 4])),
            ("5f42010243030405ff", binary(&[1, 2, 3, 4, 5])),
            ("5fff", binary(&[])),
            ("60", text("")),
            ("62c3bc", text("ü")),
            ("7f657374726561646d696e67ff", text("streaming")),
            ("7803616263", text("abc")),
        ]
    }

    #[test]
    fn scalars_are_read_and_walked_to_their_end() {
        for (text, expected) in scalars() {
            assert_eq!(token(text), expected, "{text}");
            let bytes = hex(text);
            assert!(check(Serializer::Cbor, &bytes).is_ok(), "{text}");
            for length in 0..bytes.len() {
                let error = check(Serializer::Cbor, &bytes[..length]).unwrap_err();
                assert_eq!(error, DecodeError::Truncated, "{text} at {length}");
            }
        }
        assert!(matches!(token("f97e00"), Token::Single(nan) if nan.is_nan()));
    }

    #[test]
    fn lists_and_dictionaries_may_have_indefinite_length() {
        let list = |items: &[u64]| Tree::List(items.iter().map(|&item| Tree::Unsigned(item)).collect());
        let one_two = Tree::Dict(vec![("a".to_owned(), Tree::Unsigned(1)), ("b".to_owned(), list(&[2, 3]))]);
        for text in [
            "a26161016162820203",
            "bf61610161629f0203ffff",
            "bf6161016162 820203 ff",
            "a2616101 6162 9f0203ff",
        ] {
            let bytes = hex(text);
            assert_eq!(Tree::decoded(Serializer::Cbor, &bytes), one_two, "{text}");
            for length in 0..bytes.len() {
                let error = check(Serializer::Cbor, &bytes[..length]).unwrap_err();
                assert_eq!(error, DecodeError::Truncated, "{text} at {length}");
            }
        }
        assert_eq!(Tree::decoded(Serializer::Cbor, &hex("9fff")), list(&[]));
        assert_eq!(Tree::decoded(Serializer::Cbor, &hex("c4 82 01 c1 02")), list(&[1, 2]));
    }

    #[test]
    fn what_is_not_well_formed_is_an_error() {
        for text in [
            "ff",
            "81ff",
            "8201ff",
            "a1ff00",
            "a101ff",
            "bf01ff",
            "bf0102 03ff",
            "c1ff",
            "1c",
            "1d",
            "1e",
            "1f",
            "3f",
            "df00",
            "5c",
            "7e",
            "9d",
            "fc",
            "fd",
            "fe",
            "f800",
            "f81f",
            "f818",
            "5f00ff",
            "5f6100ff",
            "7f4100ff",
            "5f5f4100ffff",
            "7f7f6100ffff",
            "5f5cff",
        ] {
            let bytes = hex(text);
            assert_eq!(check(Serializer::Cbor, &bytes).unwrap_err(), DecodeError::UnexpectedByte, "{text}");
        }
        for text in ["61ff", "7f61ff ff", "7f 61c3 61bc ff", "81 62c328"] {
            assert_eq!(check(Serializer::Cbor, &hex(text)).unwrap_err(), DecodeError::NotUtf8, "{text}");
        }
        assert_eq!(check(Serializer::Cbor, &hex("0000")).unwrap_err(), DecodeError::TrailingBytes);
    }

    #[test]
    fn announced_lengths_are_compared_with_what_is_there() {
        for text in [
            "9affffffff",
            "9bffffffffffffffff",
            "bbffffffffffffffff",
            "bb8000000000000000",
            "5bffffffffffffffff",
            "7bffffffffffffffff",
            "7f7bffffffffffffffff",
            "830000",
            "a2000000",
        ] {
            let bytes = hex(text);
            assert_eq!(check(Serializer::Cbor, &bytes).unwrap_err(), DecodeError::Truncated, "{text}");
        }
    }

    #[test]
    fn tags_are_levels() {
        let tagged = |tags: usize| {
            let mut bytes = vec![0xc1; tags];
            bytes.push(0);
            bytes
        };
        assert!(check(Serializer::Cbor, &tagged(PAYLOAD_DEPTH_MAX)).is_ok());
        assert_eq!(
            check(Serializer::Cbor, &tagged(PAYLOAD_DEPTH_MAX + 1)).unwrap_err(),
            DecodeError::TooDeep
        );
        let many = tagged(100_000);
        assert_eq!(check(Serializer::Cbor, &many).unwrap_err(), DecodeError::TooDeep);
        assert_eq!(CborReader::new(&many).unwrap().value(), Err(DecodeError::TooDeep));
        assert_eq!(Tree::decoded(Serializer::Cbor, &tagged(PAYLOAD_DEPTH_MAX)), Tree::Unsigned(0));
    }

    #[test]
    fn half_floats_agree_with_their_definition() {
        for bits in 0..=u16::MAX {
            let exponent = i32::from(bits >> 10 & 0x1f);
            let fraction = f64::from(bits & 0x3ff);
            let magnitude = match exponent {
                0 => fraction * 2f64.powi(-24),
                31 if fraction == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
            };
            let naive = if bits & 0x8000 == 0 { magnitude } else { -magnitude };
            let ours = f64::from(half(bits));
            assert!(
                ours == naive && ours.is_sign_negative() == naive.is_sign_negative()
                    || ours.is_nan() && naive.is_nan()
            );
        }
    }

    #[test]
    fn bignums_become_the_nearest_float() {
        let mut random = Random(6);
        for _ in 0..20_000 {
            let value = u128::from(random.word()) << 64 | u128::from(random.integer());
            let value = value >> random.below(64);
            match bignum(&value.to_be_bytes()) {
                Ok(small) => assert_eq!(u128::from(small), value),
                Err(float) => {
                    assert!(value > u64::MAX.into());
                    assert_eq!(float, value as f64, "{value}");
                }
            }
        }
        // Exactly between two floats, and a little above.
        assert_eq!(bignum(&hex("01 0000000000000800")), Err(2f64.powi(64)));
        assert_eq!(bignum(&hex("01 0000000000000801")), Err(2f64.powi(64) + 4096.0));
        assert_eq!(bignum(&[255; 200]), Err(f64::INFINITY));
        assert_eq!(bignum(&vec![1; 1 << 20]), Err(f64::INFINITY));
    }

    #[test]
    fn heads_take_the_smallest_form() {
        for (value, bytes) in [
            (23, 1),
            (24, 2),
            (255, 2),
            (256, 3),
            (65_535, 3),
            (65_536, 5),
            (u32::MAX.into(), 5),
            (1 << 32, 9),
            (u64::MAX, 9),
        ] {
            for out in [written(|writer| writer.unsigned(value)), written(|writer| writer.negative(value))] {
                assert_eq!(out.len(), bytes, "{value}");
            }
            assert_eq!(
                Tree::decoded(Serializer::Cbor, &written(|w| w.unsigned(value))),
                Tree::Unsigned(value)
            );
        }
        for count in [0, 23, 24, 255, 256, 65_536] {
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
        }
    }

    #[test]
    fn any_bytes_are_walked_without_harm() {
        let mut random = Random(7);
        for _ in 0..100_000 {
            let bytes: Vec<u8> = (0..random.below(24)).map(|_| random.word() as u8).collect();
            if let Ok(raw) = check(Serializer::Cbor, &bytes) {
                assert_eq!(raw.bytes(), bytes);
                Tree::of_raw(raw);
            }
        }
    }
}
