//! MessagePack: a reader that walks and checks, and a writer.
//!
//! Markers are those of the `rmp` crate, and so is the writing of numbers and lengths in their smallest form. Every
//! marker is read, extension types included; the reserved one is an error. Texts are checked to be UTF-8. Announced
//! lengths are compared with the bytes that are there before anything else happens.

use std::borrow::Cow;

use rmp::Marker;
use rmp::encode;

use super::DecodeError;
use super::reader::{Reader, Token, deeper, negative_as_float, utf8};
use super::writer::{Mark, Writer};
use crate::wamp::Serializer;

/// A cursor over MessagePack.
pub(super) struct MessagePackReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

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
    fn rest(&self) -> usize {
        self.bytes.len() - self.position
    }

    #[inline]
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (_, rest) = self.bytes.split_at(self.position);
        let taken = rest.get(..count).ok_or(DecodeError::Truncated)?;
        self.position += count;
        Ok(taken)
    }

    #[inline]
    fn octets<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (_, rest) = self.bytes.split_at(self.position);
        let taken = rest.first_chunk().ok_or(DecodeError::Truncated)?;
        self.position += N;
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
        if values > self.rest() { Err(DecodeError::Truncated) } else { Ok(()) }
    }

    /// The data of an extension, behind the octet that says its type.
    fn extension(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        self.take(1)?;
        self.take(length)
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
        Ok(MessagePackReader { bytes, position: 0 })
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
                Length::Extension(length) => Token::Binary(Cow::Borrowed(self.extension(length)?)),
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

    fn skip(&mut self, enclosing: usize) -> Result<(), DecodeError> {
        let scalar = match self.marker()? {
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::False | Marker::True => 0,
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 => 2,
            Marker::U32 | Marker::I32 | Marker::F32 => 4,
            Marker::U64 | Marker::I64 | Marker::F64 => 8,
            marker => match self.length(marker)? {
                Length::Text(length) => return utf8(self.take(length)?).map(drop),
                Length::Binary(length) => length,
                Length::Extension(length) => return self.extension(length).map(drop),
                Length::List(count) => return self.skip_all(count, enclosing),
                Length::Dict(count) => return self.skip_all(count.saturating_mul(2), enclosing),
            },
        };
        self.take(scalar).map(drop)
    }

    fn skip_key(&mut self, enclosing: usize) -> Result<(), DecodeError> {
        self.skip(enclosing)
    }

    fn skip_text_key(&mut self) -> Result<(), DecodeError> {
        let marker = self.marker()?;
        match self.length(marker) {
            Ok(Length::Text(length)) => utf8(self.take(length)?).map(drop),
            Err(DecodeError::Truncated) => Err(DecodeError::Truncated),
            _ => Err(DecodeError::UnexpectedType),
        }
    }

    fn position(&self) -> usize {
        self.position
    }

    fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn end(&mut self) -> Result<(), DecodeError> {
        if self.rest() == 0 { Ok(()) } else { Err(DecodeError::TrailingBytes) }
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
