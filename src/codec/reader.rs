//! What the four readers have in common, and what is read with any of them: single values, the entries of a
//! dictionary, the items of a list.
//!
//! A reader is a cursor over the bytes of one message or value. [`Reader::skip`] walks and checks without building;
//! [`Reader::value`] reads one scalar or opens one container. What a reader has walked once may be read again by
//! anybody without surprises: structure, depth, UTF-8, lengths and numbers are known to be sound.
//!
//! Invariants: a reader never allocates for lengths that are only announced, never recurses deeper than
//! [`PAYLOAD_DEPTH_MAX`], and never looks at a byte more than a few times.
//!
//! [`PAYLOAD_DEPTH_MAX`]: crate::limits::PAYLOAD_DEPTH_MAX

use std::borrow::Cow;
use std::marker::PhantomData;

use super::DecodeError;
use super::cbor::CborReader;
use super::json::JsonReader;
use super::msgpack::MessagePackReader;
use super::payload::key_text;
use super::ubjson::UbjsonReader;
use crate::limits::PAYLOAD_DEPTH_MAX;
use crate::wamp::message::Text;
use crate::wamp::value::forwarded;
use crate::wamp::{Dict, List, Raw, Serializer, Value};

/// One scalar, or an opened container `C`.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token<'a, C> {
    Null,
    Bool(bool),
    Unsigned(u64),
    /// The integer `-1 - n`; the whole range of CBOR.
    Negative(u64),
    Float(f64),
    /// A float written in half or single precision.
    Single(f32),
    Text(Text<'a>),
    Binary(Cow<'a, [u8]>),
    List(C),
    Dict(C),
}

/// A cursor over one message or value of a serializer.
pub(super) trait Reader<'a>: Sized {
    /// What is left of an opened list or dictionary.
    type Container;
    /// What the bytes are written in.
    const SERIALIZER: Serializer;

    /// A reader at the first value. Fails where the bytes cannot be text of the serializer at all.
    fn new(bytes: &'a [u8]) -> Result<Self, DecodeError>;

    /// Reads one scalar or opens one container.
    fn value(&mut self) -> Result<Token<'a, Self::Container>, DecodeError>;

    /// Reads a value that must be text, and is text also where [`Reader::value`] would make a binary of it.
    fn text(&mut self) -> Result<Text<'a>, DecodeError> {
        match self.value()? {
            Token::Text(text) => Ok(text),
            _ => Err(DecodeError::UnexpectedType),
        }
    }

    /// Reads what stands before the value of an entry.
    fn key(&mut self) -> Result<Token<'a, Self::Container>, DecodeError>;

    /// True if the container has a further item or entry, at which the reader then stands; otherwise its end is read.
    fn more(&mut self, container: &mut Self::Container) -> Result<bool, DecodeError>;

    /// Reads what stands between two values that are next to each other.
    fn separator(&mut self) -> Result<(), DecodeError>;

    /// How many items or entries are left, if the serializer says.
    fn count(container: &Self::Container) -> Option<u64>;

    /// Walks and checks one value that lies in `enclosing` containers.
    fn skip(&mut self, enclosing: usize) -> Result<(), DecodeError>;

    /// Walks and checks a key of any kind, up to its value.
    fn skip_key(&mut self, enclosing: usize) -> Result<(), DecodeError>;

    /// Walks and checks a key that must be text, up to its value.
    fn skip_text_key(&mut self) -> Result<(), DecodeError>;

    /// Where the reader stands: the first byte that is not read.
    fn position(&self) -> usize;

    /// All bytes of the reader.
    fn bytes(&self) -> &'a [u8];

    /// Checks that nothing follows.
    fn end(&mut self) -> Result<(), DecodeError>;

    /// Walks and checks the rest of a list that lies in `enclosing` containers, itself not counted.
    fn finish_list(&mut self, mut list: Self::Container, enclosing: usize) -> Result<(), DecodeError> {
        let enclosing = deeper(enclosing)?;
        while self.more(&mut list)? {
            self.skip(enclosing)?;
        }
        Ok(())
    }

    /// Walks and checks the rest of a dictionary that lies in `enclosing` containers, itself not counted.
    fn finish_dict(&mut self, mut dict: Self::Container, enclosing: usize) -> Result<(), DecodeError> {
        let enclosing = deeper(enclosing)?;
        while self.more(&mut dict)? {
            self.skip_key(enclosing)?;
            self.skip(enclosing)?;
        }
        Ok(())
    }

    /// The bytes from `start` to where the reader stands.
    fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes()[start..self.position()]
    }
}

/// The containers around what lies in a container that itself lies in `enclosing` ones.
pub(super) fn deeper(enclosing: usize) -> Result<usize, DecodeError> {
    if enclosing >= PAYLOAD_DEPTH_MAX { Err(DecodeError::TooDeep) } else { Ok(enclosing + 1) }
}

/// Text out of bytes that are not known to be UTF-8.
#[inline]
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    // Below a vector or two the standard library's word-wise check is ahead of the dispatch to SIMD.
    if bytes.len() < 64 {
        std::str::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)
    } else {
        simdutf8::basic::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)
    }
}

/// Checks that bytes are UTF-8. Most texts in payload are short and ASCII, which is seen without a call.
#[inline]
pub(super) fn check_utf8(bytes: &[u8]) -> Result<(), DecodeError> {
    if bytes.is_ascii() { Ok(()) } else { utf8(bytes).map(drop) }
}

/// Walks and checks bytes that must be one whole value which lies in `enclosing` containers.
pub(super) fn check<'a, R: Reader<'a>>(bytes: &'a [u8], enclosing: usize) -> Result<Raw<'a>, DecodeError> {
    let mut reader = R::new(bytes)?;
    let start = reader.position();
    reader.skip(enclosing)?;
    let raw = Raw::checked(R::SERIALIZER, reader.since(start));
    reader.end()?;
    Ok(raw)
}

/// Reads one value that was checked before; containers inside stay raw.
pub(super) fn read_value<'a, R: Reader<'a>>(reader: &mut R) -> Result<Value<'a>, DecodeError> {
    let start = reader.position();
    Ok(match reader.value()? {
        Token::Null => Value::Null,
        Token::Bool(value) => Value::Bool(value),
        Token::Unsigned(value) => Value::Unsigned(value),
        Token::Negative(value) => match i64::try_from(value) {
            Ok(value) => Value::Signed(-1 - value),
            Err(_) => Value::Float(negative_as_float(value)),
        },
        Token::Float(value) => Value::Float(value),
        Token::Single(value) => Value::Float(value.into()),
        Token::Text(text) => Value::Text(text),
        Token::Binary(bytes) => Value::Binary(bytes),
        Token::List(list) => {
            reader.finish_list(list, 0)?;
            Value::List(List::Raw(Raw::checked(R::SERIALIZER, reader.since(start))))
        }
        Token::Dict(dict) => {
            reader.finish_dict(dict, 0)?;
            Value::Dict(Dict::Raw(Raw::checked(R::SERIALIZER, reader.since(start))))
        }
    })
}

/// The float nearest to `-1 - n`.
pub(super) fn negative_as_float(n: u64) -> f64 {
    -((u128::from(n) + 1) as f64)
}

/// The value of checked bytes.
pub(super) fn value(raw: Raw<'_>) -> Result<Value<'_>, DecodeError> {
    match raw.serializer() {
        Serializer::Json => read_value(&mut JsonReader::new(raw.bytes())?),
        Serializer::MessagePack => read_value(&mut MessagePackReader::new(raw.bytes())?),
        Serializer::Cbor => read_value(&mut CborReader::new(raw.bytes())?),
        Serializer::Ubjson => read_value(&mut UbjsonReader::new(raw.bytes())?),
    }
}

/// A value that borrows from another one.
fn reborrow<'a>(value: &'a Value<'a>) -> Value<'a> {
    match value {
        Value::Text(text) => Value::Text(Cow::Borrowed(text)),
        Value::Binary(bytes) => Value::Binary(Cow::Borrowed(bytes)),
        scalar => scalar.clone(),
    }
}

/// The entries of a dictionary, see [`super::entries`].
pub(super) enum Entries<'a> {
    Pairs(std::slice::Iter<'a, (&'a str, Value<'a>)>),
    Raw(RawEntries<'a>),
    Extended(std::slice::Iter<'a, (&'a str, Value<'a>)>, RawEntries<'a>),
}

impl<'a> Entries<'a> {
    pub(super) fn new(dict: &Dict<'a>) -> Entries<'a> {
        match *dict {
            Dict::Pairs(pairs) => Entries::Pairs(pairs.iter()),
            Dict::Raw(raw) => Entries::Raw(RawEntries::new(raw)),
            Dict::Extended(pairs, raw) => Entries::Extended(pairs.iter(), RawEntries::new(raw)),
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (Text<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let pairs = match self {
            Entries::Raw(raw) => return raw.next(),
            Entries::Pairs(pairs) | Entries::Extended(pairs, _) => pairs,
        };
        if let Some((key, value)) = pairs.next() {
            return Some((Cow::Borrowed(key), reborrow(value)));
        }
        match self {
            Entries::Extended(_, raw) => raw.find(|(key, _)| forwarded(key)),
            _ => None,
        }
    }
}

/// The entries of a raw dictionary, whatever it is written in.
pub(super) enum RawEntries<'a> {
    Json(Entered<'a, JsonReader<'a>>),
    MessagePack(Entered<'a, MessagePackReader<'a>>),
    Cbor(Entered<'a, CborReader<'a>>),
    Ubjson(Entered<'a, UbjsonReader<'a>>),
}

impl<'a> RawEntries<'a> {
    fn new(raw: Raw<'a>) -> RawEntries<'a> {
        match raw.serializer() {
            Serializer::Json => RawEntries::Json(Entered::dict(raw)),
            Serializer::MessagePack => RawEntries::MessagePack(Entered::dict(raw)),
            Serializer::Cbor => RawEntries::Cbor(Entered::dict(raw)),
            Serializer::Ubjson => RawEntries::Ubjson(Entered::dict(raw)),
        }
    }
}

impl<'a> Iterator for RawEntries<'a> {
    type Item = (Text<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            RawEntries::Json(entered) => entered.entry(),
            RawEntries::MessagePack(entered) => entered.entry(),
            RawEntries::Cbor(entered) => entered.entry(),
            RawEntries::Ubjson(entered) => entered.entry(),
        }
    }
}

/// The items of a list, see [`super::items`].
pub(super) enum Items<'a> {
    Values(std::slice::Iter<'a, Value<'a>>),
    Json(Entered<'a, JsonReader<'a>>),
    MessagePack(Entered<'a, MessagePackReader<'a>>),
    Cbor(Entered<'a, CborReader<'a>>),
    Ubjson(Entered<'a, UbjsonReader<'a>>),
}

impl<'a> Items<'a> {
    pub(super) fn new(list: &List<'a>) -> Items<'a> {
        match *list {
            List::Values(values) => Items::Values(values.iter()),
            List::Raw(raw) => match raw.serializer() {
                Serializer::Json => Items::Json(Entered::list(raw)),
                Serializer::MessagePack => Items::MessagePack(Entered::list(raw)),
                Serializer::Cbor => Items::Cbor(Entered::list(raw)),
                Serializer::Ubjson => Items::Ubjson(Entered::list(raw)),
            },
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        match self {
            Items::Values(values) => values.next().map(reborrow),
            Items::Json(entered) => entered.item(),
            Items::MessagePack(entered) => entered.item(),
            Items::Cbor(entered) => entered.item(),
            Items::Ubjson(entered) => entered.item(),
        }
    }
}

/// A reader inside the container that its bytes are. The bytes were checked, so that reading them ends early for
/// nobody; should it fail all the same, the container ends there.
pub(super) struct Entered<'a, R: Reader<'a>> {
    inside: Option<(R, R::Container)>,
    bytes: PhantomData<&'a [u8]>,
}

impl<'a, R: Reader<'a>> Entered<'a, R> {
    fn list(raw: Raw<'a>) -> Entered<'a, R> {
        let inside = R::new(raw.bytes()).and_then(|mut reader| match reader.value()? {
            Token::List(list) => Ok((reader, list)),
            _ => Err(DecodeError::UnexpectedType),
        });
        Entered { inside: inside.ok(), bytes: PhantomData }
    }

    fn dict(raw: Raw<'a>) -> Entered<'a, R> {
        let inside = R::new(raw.bytes()).and_then(|mut reader| match reader.value()? {
            Token::Dict(dict) => Ok((reader, dict)),
            _ => Err(DecodeError::UnexpectedType),
        });
        Entered { inside: inside.ok(), bytes: PhantomData }
    }

    fn item(&mut self) -> Option<Value<'a>> {
        let (reader, list) = self.inside.as_mut()?;
        if !reader.more(list).ok()? {
            return None;
        }
        read_value(reader).ok()
    }

    fn entry(&mut self) -> Option<(Text<'a>, Value<'a>)> {
        let (reader, dict) = self.inside.as_mut()?;
        while reader.more(dict).ok()? {
            let key = match reader.key().ok()? {
                Token::List(list) => reader.finish_list(list, 0).map(|()| None),
                Token::Dict(dict) => reader.finish_dict(dict, 0).map(|()| None),
                scalar => Ok(key_text(scalar)),
            };
            let value = read_value(reader).ok()?;
            if let Some(key) = key.ok()? {
                return Some((key, value));
            }
        }
        None
    }
}
