//! Serialized bytes to messages and back.
//!
//! A reader for each serializer walks and checks without building anything: structure, depth, UTF-8, lengths. What it
//! hands out borrows from its input. A writer for each puts messages, values and dictionaries; payload of the same
//! serializer is one copy, of another one is transcoded ([`payload`]).
//!
//! ```text
//!   bytes -> decode -> Message<'_> -> encode -> bytes
//!              |                        |
//!            Reader                   Writer        one of each: json, msgpack, cbor
//! ```
//!
//! What a message must look like stands in `decode` and `encode` once for all serializers (basic profile,
//! "Messages"). Everything here is a pure function of its arguments.

mod cbor;
mod decode;
mod encode;
mod json;
mod msgpack;
pub mod payload;
mod reader;
mod writer;

use std::fmt;

use crate::wamp::message::Text;
use crate::wamp::options::{Options, WrongOption};
use crate::wamp::{Dict, List, Message, Raw, Serializer, Value};

/// Why bytes are not a WAMP message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DecodeError {
    /// An identifier is not one of 1 to 2^53.
    IdOutOfRange,
    /// JSON: an escape that does not exist, or a lone surrogate.
    InvalidEscape,
    /// JSON: digits are missing, or zeros lead.
    InvalidNumber,
    /// A text is not UTF-8.
    NotUtf8,
    /// Lists and dictionaries lie deeper in one another than [`crate::limits::PAYLOAD_DEPTH_MAX`].
    TooDeep,
    /// Something follows the message.
    TrailingBytes,
    /// The bytes end before the message does.
    Truncated,
    /// A byte that cannot stand there in this serializer.
    UnexpectedByte,
    /// A value of another type than the message has there.
    UnexpectedType,
    /// No message has this type code.
    UnknownMessage(u64),
    /// The message has fewer or more elements than its type.
    WrongLength,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeError::IdOutOfRange => "an id is not between 1 and 2^53",
            DecodeError::InvalidEscape => "a text holds an invalid escape",
            DecodeError::InvalidNumber => "a number is malformed",
            DecodeError::NotUtf8 => "a text is not UTF-8",
            DecodeError::TooDeep => "values are nested too deeply",
            DecodeError::TrailingBytes => "bytes follow the end",
            DecodeError::Truncated => "the bytes end too early",
            DecodeError::UnexpectedByte => "a byte cannot stand where it does",
            DecodeError::UnexpectedType => "a value has the wrong type",
            DecodeError::UnknownMessage(code) => return write!(f, "no message has the type code {code}"),
            DecodeError::WrongLength => "the message has too few or too many elements",
        })
    }
}

impl std::error::Error for DecodeError {}

/// Why values have no form in another serializer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TranscodeError {
    /// The key of an entry is a binary, a list or a dictionary, and JSON has texts only.
    KeyNotText,
    /// The bytes cannot be read. Bytes that a reader has checked can.
    Undecodable(DecodeError),
}

impl fmt::Display for TranscodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TranscodeError::KeyNotText => f.write_str("the key of an entry has no form as text"),
            TranscodeError::Undecodable(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TranscodeError {}

impl From<DecodeError> for TranscodeError {
    fn from(error: DecodeError) -> TranscodeError {
        TranscodeError::Undecodable(error)
    }
}

/// Reads one whole message. Payload and dictionaries are checked but not built.
///
/// In JSON white space may surround the message; anything else behind it is an error. A message has just the elements
/// of its type. Keys of options and details are texts; in payload MessagePack and CBOR may have others.
pub fn decode(serializer: Serializer, bytes: &[u8]) -> Result<Message<'_>, DecodeError> {
    match serializer {
        Serializer::Json => decode::read_message::<json::JsonReader>(bytes),
        Serializer::MessagePack => decode::read_message::<msgpack::MessagePackReader>(bytes),
        Serializer::Cbor => decode::read_message::<cbor::CborReader>(bytes),
    }
}

/// Appends the message to `out`. On an error `out` is left as it was.
pub fn encode(
    message: &Message<'_>,
    serializer: Serializer,
    out: &mut Vec<u8>,
) -> Result<(), TranscodeError> {
    let start = out.len();
    let encoded = match serializer {
        Serializer::Json => encode::write_message::<json::JsonWriter>(message, out),
        Serializer::MessagePack => encode::write_message::<msgpack::MessagePackWriter>(message, out),
        Serializer::Cbor => encode::write_message::<cbor::CborWriter>(message, out),
    };
    if encoded.is_err() {
        out.truncate(start);
    }
    encoded
}

/// Checks that bytes are one whole value.
pub fn check(serializer: Serializer, bytes: &[u8]) -> Result<Raw<'_>, DecodeError> {
    match serializer {
        Serializer::Json => reader::check::<json::JsonReader>(bytes, 0),
        Serializer::MessagePack => reader::check::<msgpack::MessagePackReader>(bytes, 0),
        Serializer::Cbor => reader::check::<cbor::CborReader>(bytes, 0),
    }
}

/// The value of checked bytes; lists and dictionaries stay raw.
pub fn value(raw: Raw<'_>) -> Value<'_> {
    reader::value(raw).expect("raw bytes are checked bytes")
}

/// The entries of a dictionary, in its order. Keys that are numbers, truth values or nothing come as their text in
/// JSON; entries whose keys have no such text are left out.
pub fn entries<'a>(dict: &Dict<'a>) -> impl Iterator<Item = (Text<'a>, Value<'a>)> + use<'a> {
    reader::Entries::new(dict)
}

/// The items of a list, in its order.
pub fn items<'a>(list: &List<'a>) -> impl Iterator<Item = Value<'a>> + use<'a> {
    reader::Items::new(list)
}

/// The options of a message as plain fields.
pub fn options<O: Options>(dict: &Dict<'_>) -> Result<O, WrongOption> {
    let mut options = O::default();
    for (key, value) in entries(dict) {
        options.set(&key, &value)?;
    }
    Ok(options)
}
