//! Payload that is owned, payload in another serializer, and payload as a command line and a program have it.
//!
//! # What becomes of a value in another serializer
//!
//! | value | becomes |
//! | --- | --- |
//! | integer from -2^63 to 2^64 - 1 | itself |
//! | integer from -2^64 to -2^63 - 1 | itself in JSON and CBOR, the nearest float in MessagePack |
//! | integer beyond (digits in JSON, bignum in CBOR) | the nearest float |
//! | float | itself; single precision stays single between MessagePack and CBOR; a float of CBOR in half precision becomes single |
//! | float in JSON | the shortest text that reads back equal, never without `.` or `e`; NaN and the infinities become null |
//! | `-0` and numbers with `.` or `e` in JSON | a float, infinite if it is out of range |
//! | text | itself; from JSON the binary that it stands for, if it is U+0000 and base64 |
//! | binary | itself; in JSON a text of U+0000 and base64 |
//! | extension of MessagePack | a binary of its data |
//! | tag of CBOR | what it stands before |
//! | undefined and other simple values of CBOR | null |
//! | key that is no text | itself between MessagePack and CBOR; in JSON the text of an integer, float, truth value or null, else [`TranscodeError::KeyNotText`] |
//!
//! Order, and keys that occur twice, are kept.

use std::borrow::Cow;

use bytes::Bytes;

use super::cbor::{CborReader, CborWriter};
use super::json::{JsonReader, JsonWriter};
use super::msgpack::{MessagePackReader, MessagePackWriter};
use super::reader::{Reader, Token, read_value};
use super::writer::{Writer, copy, write_dict, write_list};
use super::{DecodeError, TranscodeError, decode};
use crate::wamp::message::Text;
use crate::wamp::{Dict, List, Payload, Serializer, Value};

/// Payload with its bytes. A clone shares them.
#[derive(Clone, Debug)]
pub struct OwnedPayload {
    serializer: Serializer,
    elements: u8,
    bytes: Bytes,
}

impl OwnedPayload {
    /// No arguments at all.
    pub const EMPTY: OwnedPayload =
        OwnedPayload { serializer: Serializer::MessagePack, elements: 0, bytes: Bytes::new() };

    /// One copy of the bytes; none if there are none.
    pub fn copy(payload: Payload<'_>) -> OwnedPayload {
        OwnedPayload {
            serializer: payload.serializer(),
            elements: payload.elements(),
            bytes: Bytes::copy_from_slice(payload.bytes()),
        }
    }

    /// As it is taken by messages.
    pub fn borrow(&self) -> Payload<'_> {
        Payload::checked(self.serializer, self.elements, &self.bytes)
    }

    /// Payload of these values; what is empty at the end is left out.
    pub fn from_values(
        serializer: Serializer,
        args: &[Value<'_>],
        kwargs: &[(&str, Value<'_>)],
    ) -> Result<OwnedPayload, TranscodeError> {
        let elements = if !kwargs.is_empty() { 2 } else { u8::from(!args.is_empty()) };
        let mut bytes = Vec::new();
        match serializer {
            Serializer::Json => write_values(&mut JsonWriter::new(&mut bytes), elements, args, kwargs)?,
            Serializer::MessagePack => {
                write_values(&mut MessagePackWriter::new(&mut bytes), elements, args, kwargs)?;
            }
            Serializer::Cbor => write_values(&mut CborWriter::new(&mut bytes), elements, args, kwargs)?,
        }
        Ok(OwnedPayload { serializer, elements, bytes: bytes.into() })
    }

    /// Payload of arguments and keyword arguments as JSON, such as people type. Checked as if it came from a peer.
    pub fn from_json(args: Option<&str>, kwargs: Option<&str>) -> Result<OwnedPayload, DecodeError> {
        let mut bytes = Vec::new();
        let mut elements = 0;
        if args.is_some() || kwargs.is_some() {
            elements = u8::from(json_element(args.unwrap_or("[]"), decode::arguments, &mut bytes)?);
        }
        if let Some(kwargs) = kwargs {
            let args_end = bytes.len();
            bytes.push(b',');
            if json_element(kwargs, decode::keyword_arguments, &mut bytes)? {
                elements = 2;
            } else {
                bytes.truncate(args_end);
            }
        }
        if elements == 0 {
            return Ok(OwnedPayload::EMPTY);
        }
        Ok(OwnedPayload { serializer: Serializer::Json, elements, bytes: bytes.into() })
    }
}

/// Appends the one JSON value of `text` if `kind` takes it; tells whether it is more than null.
fn json_element<'a>(
    text: &'a str,
    kind: fn(&mut JsonReader<'a>) -> Result<bool, DecodeError>,
    out: &mut Vec<u8>,
) -> Result<bool, DecodeError> {
    let mut reader = JsonReader::new(text.as_bytes())?;
    let start = reader.position();
    let present = kind(&mut reader)?;
    out.extend_from_slice(reader.since(start));
    reader.end()?;
    Ok(present)
}

fn write_values<'o, W: Writer<'o>>(
    writer: &mut W,
    elements: u8,
    args: &[Value<'_>],
    kwargs: &[(&str, Value<'_>)],
) -> Result<(), TranscodeError> {
    if elements > 0 {
        write_list(writer, &List::Values(args))?;
    }
    if elements > 1 {
        writer.separator();
        write_dict(writer, &Dict::Pairs(kwargs))?;
    }
    Ok(())
}

/// The payload in another serializer.
pub fn transcode(payload: Payload<'_>, to: Serializer) -> Result<OwnedPayload, TranscodeError> {
    if payload.serializer() == to || payload.elements() == 0 {
        return Ok(OwnedPayload::copy(payload));
    }
    // Binary forms are mostly smaller than JSON, and JSON up to a third larger than they are.
    let mut bytes = Vec::with_capacity(payload.bytes().len() * 5 / 4);
    match to {
        Serializer::Json => write_payload(&mut JsonWriter::new(&mut bytes), payload)?,
        Serializer::MessagePack => write_payload(&mut MessagePackWriter::new(&mut bytes), payload)?,
        Serializer::Cbor => write_payload(&mut CborWriter::new(&mut bytes), payload)?,
    }
    Ok(OwnedPayload { serializer: to, elements: payload.elements(), bytes: bytes.into() })
}

/// Writes payload, whatever it is written in; nothing if there is none.
pub(super) fn write_payload<'o, W: Writer<'o>>(
    writer: &mut W,
    payload: Payload<'_>,
) -> Result<(), TranscodeError> {
    if payload.serializer() == W::SERIALIZER {
        writer.checked(payload.bytes());
        return Ok(());
    }
    match payload.serializer() {
        Serializer::Json => copy_payload::<JsonReader, W>(writer, payload),
        Serializer::MessagePack => copy_payload::<MessagePackReader, W>(writer, payload),
        Serializer::Cbor => copy_payload::<CborReader, W>(writer, payload),
    }
}

fn copy_payload<'a, 'o, R: Reader<'a>, W: Writer<'o>>(
    writer: &mut W,
    payload: Payload<'a>,
) -> Result<(), TranscodeError> {
    let mut reader = R::new(payload.bytes())?;
    for element in 0..payload.elements() {
        if element > 0 {
            reader.separator()?;
            writer.separator();
        }
        copy(&mut reader, writer)?;
    }
    Ok(())
}

/// The arguments and keyword arguments of a payload as values: a list (or the one binary in its place) or null, and a
/// dictionary.
pub fn values(payload: Payload<'_>) -> (Value<'_>, Dict<'_>) {
    let values = match payload.serializer() {
        Serializer::Json => read_payload::<JsonReader>(payload),
        Serializer::MessagePack => read_payload::<MessagePackReader>(payload),
        Serializer::Cbor => read_payload::<CborReader>(payload),
    };
    values.expect("payload is checked bytes")
}

fn read_payload<'a, R: Reader<'a>>(payload: Payload<'a>) -> Result<(Value<'a>, Dict<'a>), DecodeError> {
    let mut reader = R::new(payload.bytes())?;
    if payload.elements() == 0 {
        return Ok((Value::Null, Dict::EMPTY));
    }
    let args = read_value(&mut reader)?;
    if payload.elements() == 1 {
        return Ok((args, Dict::EMPTY));
    }
    reader.separator()?;
    match read_value(&mut reader)? {
        Value::Dict(kwargs) => Ok((args, kwargs)),
        _ => Err(DecodeError::UnexpectedType),
    }
}

/// The arguments and keyword arguments as JSON, each if there is one.
pub fn to_json(payload: Payload<'_>) -> Result<(Option<String>, Option<String>), TranscodeError> {
    let json = transcode(payload, Serializer::Json)?;
    let mut elements = [None, None];
    let mut reader = JsonReader::new(&json.bytes)?;
    for (index, element) in elements.iter_mut().take(payload.elements().into()).enumerate() {
        if index > 0 {
            reader.separator()?;
        }
        let start = reader.position();
        reader.skip(0)?;
        *element = Some(String::from_utf8_lossy(reader.since(start)).into_owned());
    }
    let [args, kwargs] = elements;
    Ok((args, kwargs))
}

/// A key as text, if it has one: what JSON would write for it.
pub(super) fn key_text<C>(key: Token<'_, C>) -> Option<Text<'_>> {
    Some(match key {
        Token::Text(text) => text,
        Token::Null => Cow::Borrowed("null"),
        Token::Bool(value) => Cow::Borrowed(if value { "true" } else { "false" }),
        Token::Unsigned(value) => Cow::Owned(value.to_string()),
        Token::Negative(n) => Cow::Owned(format!("-{}", u128::from(n) + 1)),
        Token::Float(value) => Cow::Owned(float_text(value)),
        Token::Single(value) => Cow::Owned(float_text(value.into())),
        Token::Binary(_) | Token::List(_) | Token::Dict(_) => return None,
    })
}

fn float_text(value: f64) -> String {
    if value.is_finite() { zmij::Buffer::new().format_finite(value).to_owned() } else { "null".to_owned() }
}
