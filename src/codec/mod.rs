//! Serialized bytes to messages and back.
//!
//! A reader for each serializer walks and checks without building anything: structure, depth, UTF-8, lengths. What it
//! hands out borrows from its input. A writer for each puts messages, values and dictionaries; payload of the same
//! serializer is one copy, of another one is transcoded ([`payload`]).
//!
//! ```text
//!   bytes -> decode -> Message<'_> -> encode -> bytes
//!              |                        |
//!            Reader                   Writer        one of each: json, msgpack, cbor, ubjson
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
#[cfg(test)]
mod random;
mod reader;
mod ubjson;
mod writer;

use std::fmt;

use crate::wamp::message::Text;
use crate::wamp::options::{Options, WrongOption};
use crate::wamp::{Dict, List, Message, Raw, Serializer, Value};

/// Why bytes are not a WAMP message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DecodeError {
    /// A marker of BJData, which is little-endian and goes by the name of UBJSON.
    BjData,
    /// UBJSON with containers that have a type, which [`plain_ubjson`] reads.
    Dialect,
    /// An identifier is not one of 1 to 2^53.
    IdOutOfRange,
    /// JSON: an escape that does not exist, or a lone surrogate.
    InvalidEscape,
    /// JSON and the digits of UBJSON: some are missing, or zeros lead.
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
            DecodeError::BjData => "this is BJData and not UBJSON",
            DecodeError::Dialect => "the UBJSON has containers with a type",
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
    /// The key of an entry is a binary, a list or a dictionary, and JSON and UBJSON have texts only.
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
        Serializer::Ubjson => decode::read_message::<ubjson::UbjsonReader>(bytes),
    }
}

/// A message of UBJSON without containers that have a type: what to do on [`DecodeError::Dialect`]. Peers are sent what
/// others have sent as it came, and few read those.
pub fn plain_ubjson(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    ubjson::dialects::plain(bytes)
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
        Serializer::Ubjson => encode::write_message::<ubjson::UbjsonWriter>(message, out),
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
        Serializer::Ubjson => reader::check::<ubjson::UbjsonReader>(bytes, 0),
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

/// The options of a message as plain fields. An option that is null is not set: libraries in JavaScript send those
/// that their user left undefined.
#[inline]
pub fn options<O: Options>(dict: &Dict<'_>) -> Result<O, WrongOption> {
    if dict.is_empty() { Ok(O::default()) } else { some_options(dict) }
}

fn some_options<O: Options>(dict: &Dict<'_>) -> Result<O, WrongOption> {
    let mut options = O::default();
    for (key, value) in entries(dict) {
        if !matches!(value, Value::Null) {
            options.set(&key, &value)?;
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::random::{Random, Tree};
    use super::*;
    use crate::wamp::options::PublishOptions;

    #[test]
    fn entries_and_items_are_read_from_every_serializer() {
        let mut random = Random(10);
        for _ in 0..200 {
            let tree = random.tree(3);
            for serializer in Serializer::ALL {
                let bytes = tree.encoded(serializer);
                let read = value(check(serializer, &bytes).unwrap());
                assert_eq!(Tree::of(&read), tree);
                if let Value::Dict(dict) = read {
                    let Tree::Dict(pairs) = &tree else { panic!("a dictionary is one") };
                    assert_eq!(entries(&dict).count(), pairs.len());
                }
            }
        }
    }

    #[test]
    fn nested_containers_stay_raw() {
        let raw = check(Serializer::Json, br#" {"a": [1, {}], "b": {"c": 2}} "#).unwrap();
        let bytes: Vec<&[u8]> = entries(&Dict::Raw(raw))
            .map(|(_, value)| match value {
                Value::List(List::Raw(raw)) | Value::Dict(Dict::Raw(raw)) => raw.bytes(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(bytes, [br#"[1, {}]"#.as_slice(), br#"{"c": 2}"#]);
    }

    #[test]
    fn keys_come_as_text_where_they_have_one() {
        // {1: 0, true: 1, [2]: 2, h'00': 3, "a": 4, -1.5: 5}
        let cbor = random::hex("a6 01 00 f5 01 8102 02 4100 03 6161 04 f9be00 05");
        let raw = check(Serializer::Cbor, &cbor).unwrap();
        let keys: Vec<String> = entries(&Dict::Raw(raw)).map(|(key, _)| key.into_owned()).collect();
        assert_eq!(keys, ["1", "true", "a", "-1.5"]);
    }

    #[test]
    fn entries_of_an_extended_dictionary_are_pairs_and_custom_attributes() {
        let raw = check(Serializer::Json, br#"{"a":1,"_abc":2,"_x":3}"#).unwrap();
        let pairs = [("a", Value::Null)];
        let extended: Vec<_> = entries(&Dict::Extended(&pairs, raw)).map(|(key, _)| key).collect();
        assert_eq!(extended, ["a", "_abc"]);
    }

    #[test]
    fn empty_dictionaries_are_seen_to_be_in_every_serializer() {
        for serializer in Serializer::ALL {
            for (pairs, empty) in
                [(&[][..], true), (&[("", Value::Null)], false), (&[("a", Value::Null)], false)]
            {
                let list = [Value::Dict(Dict::Pairs(pairs))];
                let list = payload::OwnedPayload::from_values(serializer, &list, &[]).unwrap();
                let (Value::List(list), _) = payload::values(list.borrow()) else { panic!("a list") };
                let Some(Value::Dict(dict @ Dict::Raw(_))) = items(&list).next() else { panic!("a dict") };
                assert_eq!(dict.is_empty(), empty, "{serializer:?} {pairs:?}");
            }
        }
    }

    #[test]
    fn options_are_read_from_raw_and_built_dictionaries() {
        let raw = check(Serializer::Json, br#"{"acknowledge":true,"_abc":[],"other":{}}"#).unwrap();
        let expected = PublishOptions { acknowledge: true, custom: true, ..PublishOptions::default() };
        assert_eq!(options(&Dict::Raw(raw)), Ok(expected.clone()));
        let pairs = [("acknowledge", Value::Bool(true))];
        assert_eq!(options(&Dict::Extended(&pairs, raw)), Ok(expected));
        let pairs = [("acknowledge", Value::Unsigned(1))];
        assert_eq!(options::<PublishOptions>(&Dict::Pairs(&pairs)), Err(WrongOption("acknowledge")));
        let pairs = [("acknowledge", Value::Null)];
        assert_eq!(options(&Dict::Pairs(&pairs)), Ok(PublishOptions::default()), "null is no option");
    }

    #[test]
    fn a_checked_value_is_one_value_without_what_surrounds_it() {
        assert_eq!(check(Serializer::Json, b" [1] \n").unwrap().bytes(), b"[1]");
        assert_eq!(check(Serializer::Json, b"1,2").unwrap_err(), DecodeError::TrailingBytes);
        assert!(matches!(value(check(Serializer::Cbor, &[0x20]).unwrap()), Value::Signed(-1)));
    }

    #[test]
    fn errors_say_what_they_are_about() {
        assert!(DecodeError::UnknownMessage(7).to_string().contains('7'));
        let inner = TranscodeError::from(DecodeError::NotUtf8);
        assert_eq!(inner.to_string(), DecodeError::NotUtf8.to_string());
    }
}
