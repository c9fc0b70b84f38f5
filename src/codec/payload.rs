//! Payload that is owned, payload in another serializer, and payload as a command line and a program have it.
//!
//! # What becomes of a value in another serializer
//!
//! | value | becomes |
//! | --- | --- |
//! | integer from -2^63 to 2^64 - 1 | itself; in UBJSON from 2^63 on a number of high precision |
//! | integer from -2^64 to -2^63 - 1 | itself in JSON, CBOR and UBJSON, the nearest float in MessagePack |
//! | integer beyond (digits in JSON and UBJSON, bignum in CBOR) | the nearest float |
//! | number of high precision of UBJSON that is no integer | the nearest float |
//! | float | itself; single precision stays single but for JSON, half becomes single |
//! | float, in JSON | the shortest text that reads back equal, with `.` or `e` |
//! | NaN and the infinities, in JSON and UBJSON | null |
//! | `-0` and number with `.` or `e`, from JSON | a float, infinite if it is out of range |
//! | text | itself; from JSON the binary that it stands for, if it is U+0000 and base64 |
//! | binary | itself; in JSON a text of U+0000 and base64 |
//! | extension of MessagePack | a binary of its data; null for one zero octet of type 0, the undefined of JavaScript libraries |
//! | character of UBJSON | a text |
//! | tag of CBOR | what it stands before |
//! | undefined and other simple values of CBOR | null |
//! | key that is no text | itself between MessagePack and CBOR; in JSON and UBJSON as in the next lines |
//! | key that is an integer, float, truth value or null, in JSON and UBJSON | its text in JSON |
//! | key that is a binary, list or dictionary, in JSON and UBJSON | [`TranscodeError::KeyNotText`] |
//!
//! Order, and keys that occur twice, are kept.

use std::borrow::Cow;

use bytes::Bytes;

use super::cbor::{CborReader, CborWriter};
use super::json::{JsonReader, JsonWriter};
use super::msgpack::{MessagePackReader, MessagePackWriter};
use super::reader::{Reader, Token, read_value};
use super::ubjson::{UbjsonReader, UbjsonWriter};
use super::writer::{Writer, copy, write_dict, write_list};
use super::{DecodeError, TranscodeError, decode};
use crate::wamp::message::Text;
use crate::wamp::{Dict, List, Payload, Serializer, Value};

/// Payload with its bytes. A clone shares them. Equal is what is written in the same octets.
#[derive(Clone, PartialEq, Eq, Debug)]
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
        if args.is_empty() && kwargs.is_empty() {
            return Ok(OwnedPayload { serializer, elements: 0, bytes: Bytes::new() });
        }
        let keywords = Dict::Pairs(kwargs);
        let keywords = (!kwargs.is_empty()).then_some(&keywords);
        OwnedPayload::from_parts(serializer, &List::Values(args), keywords)
    }

    /// Payload of a list of arguments and a dictionary of keyword arguments, which may be raw. They are copied as they
    /// are if they are written in `serializer`.
    pub fn from_parts(
        serializer: Serializer,
        args: &List<'_>,
        kwargs: Option<&Dict<'_>>,
    ) -> Result<OwnedPayload, TranscodeError> {
        let elements = 1 + u8::from(kwargs.is_some());
        let mut bytes = Vec::new();
        match serializer {
            Serializer::Json => write_parts(&mut JsonWriter::new(&mut bytes), args, kwargs)?,
            Serializer::MessagePack => write_parts(&mut MessagePackWriter::new(&mut bytes), args, kwargs)?,
            Serializer::Cbor => write_parts(&mut CborWriter::new(&mut bytes), args, kwargs)?,
            Serializer::Ubjson => write_parts(&mut UbjsonWriter::new(&mut bytes), args, kwargs)?,
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

fn write_parts<'o, W: Writer<'o>>(
    writer: &mut W,
    args: &List<'_>,
    kwargs: Option<&Dict<'_>>,
) -> Result<(), TranscodeError> {
    write_list(writer, args)?;
    if let Some(kwargs) = kwargs {
        writer.separator();
        write_dict(writer, kwargs)?;
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
        Serializer::Ubjson => write_payload(&mut UbjsonWriter::new(&mut bytes), payload)?,
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
        Serializer::Ubjson => copy_payload::<UbjsonReader, W>(writer, payload),
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
        Serializer::Ubjson => read_payload::<UbjsonReader>(payload),
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
        *element = Some(reader.text_since(start).to_owned());
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

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::super::random::{Random, Tree, hex};
    use super::super::writer::write_raw;
    use super::*;

    fn payload(serializer: Serializer, args: &[u8]) -> Payload<'_> {
        Payload::checked(serializer, 1, args)
    }

    #[test]
    fn parts_are_copied_as_they_are() {
        let args = check(Serializer::Json, b"[1, 2.50]").unwrap();
        let kwargs = check(Serializer::Json, br#"{"a": 1}"#).unwrap();
        let (args, kwargs) = (List::Raw(args), Dict::Raw(kwargs));
        let both = OwnedPayload::from_parts(Serializer::Json, &args, Some(&kwargs)).unwrap();
        assert_eq!((both.elements, &*both.bytes), (2, br#"[1, 2.50],{"a": 1}"#.as_slice()));
        let first = OwnedPayload::from_parts(Serializer::Json, &args, None).unwrap();
        assert_eq!((first.elements, &*first.bytes), (1, b"[1, 2.50]".as_slice()));
        let others = OwnedPayload::from_parts(Serializer::MessagePack, &args, Some(&kwargs)).unwrap();
        assert_eq!((others.elements, &others.bytes[..2]), (2, b"\x92\x01".as_slice()));
    }

    /// A tree as it comes out of JSON and back: all else is kept.
    fn transcoded(tree: &Tree, path: &[Serializer]) -> Tree {
        let tree = Tree::List(vec![tree.clone()]);
        let mut owned = OwnedPayload::copy(payload(path[0], &tree.encoded(path[0])));
        for &to in &path[1..] {
            owned = transcode(owned.borrow(), to).unwrap();
            assert_eq!(owned.serializer, to);
        }
        let Tree::List(mut items) = Tree::decoded(owned.serializer, &owned.bytes) else {
            panic!("arguments are a list")
        };
        items.remove(0)
    }

    #[test]
    fn random_trees_survive_every_pair_and_every_round() {
        let mut random = Random(8);
        for _ in 0..400 {
            let tree = random.tree(4);
            for from in Serializer::ALL {
                assert_eq!(transcoded(&tree, &[from]), tree);
                for to in Serializer::ALL {
                    assert_eq!(transcoded(&tree, &[from, to]), tree, "{from:?} to {to:?}");
                    assert_eq!(transcoded(&tree, &[from, to, from]), tree, "{from:?} to {to:?} and back");
                }
            }
        }
    }

    #[test]
    fn transcoding_writes_what_a_writer_of_the_tree_would() {
        let mut random = Random(9);
        for _ in 0..400 {
            let tree = Tree::List(vec![random.tree(4)]);
            for from in Serializer::ALL {
                let bytes = tree.encoded(from);
                for to in Serializer::ALL {
                    let owned = transcode(payload(from, &bytes), to).unwrap();
                    assert_eq!(owned.bytes, tree.encoded(to), "{from:?} to {to:?}");
                }
            }
        }
    }

    /// One value in one serializer, and what it becomes in another.
    fn becomes(from: Serializer, value: &[u8], to: Serializer) -> Vec<u8> {
        let raw = check(from, value).unwrap();
        let mut out = Vec::new();
        match to {
            Serializer::Json => write_raw(&mut JsonWriter::new(&mut out), raw),
            Serializer::MessagePack => write_raw(&mut MessagePackWriter::new(&mut out), raw),
            Serializer::Cbor => write_raw(&mut CborWriter::new(&mut out), raw),
            Serializer::Ubjson => write_raw(&mut UbjsonWriter::new(&mut out), raw),
        }
        .unwrap();
        out
    }

    fn to_text(from: Serializer, value: &str) -> String {
        String::from_utf8(becomes(from, &hex(value), Serializer::Json)).unwrap()
    }

    #[test]
    fn each_choice_of_the_table_holds() {
        use Serializer::{Cbor, Json, MessagePack};
        for (value, text) in [
            ("f97e00", "null"),
            ("f97c00", "null"),
            ("fbfff0000000000000", "null"),
            ("f7", "null"),
            ("f0", "null"),
            ("f93e00", "1.5"),
            ("fb4000000000000000", "2.0"),
            ("c1 05", "5"),
            ("3bffffffffffffffff", "-18446744073709551616"),
            ("c249010000000000000000", "1.8446744073709552e+19"),
            ("5f42fb 00 41 ff ff", r#""\u0000+wD/""#),
            ("a1 00 f4", r#"{"0":false}"#),
            ("a3 20 f6 f5 f6 f6 f6", r#"{"-1":null,"true":null,"null":null}"#),
            ("a1 fb3ff8000000000000 00", r#"{"1.5":0}"#),
            ("7f 61 22 61 5c ff", r#""\"\\""#),
        ] {
            let written = to_text(Cbor, value);
            assert_eq!(written.replace("e19", "e+19"), text, "{value}");
        }
        for (value, text) in [
            ("c7 02 05 0102", r#""\u0000AQI=""#),
            ("ca 3dcccccd", "0.10000000149011612"),
            ("cb 7ff0000000000000", "null"),
            ("81 d0 80 c0", r#"{"-128":null}"#),
        ] {
            assert_eq!(to_text(MessagePack, value), text, "{value}");
        }
        for (json, cbor, msgpack) in [
            ("-9223372036854775809", "3b8000000000000000", "cb c3e0000000000000"),
            ("18446744073709551616", "fb43f0000000000000", "cb 43f0000000000000"),
            ("1.0", "fb3ff0000000000000", "cb 3ff0000000000000"),
            ("-0", "fb8000000000000000", "cb 8000000000000000"),
            (r#""\u0000AQI=""#, "42 0102", "c4 02 0102"),
            (r#""\u0000?""#, "62 00 3f", "a2 00 3f"),
        ] {
            assert_eq!(becomes(Json, json.as_bytes(), Cbor), hex(cbor), "{json}");
            assert_eq!(becomes(Json, json.as_bytes(), MessagePack), hex(msgpack), "{json}");
        }
        for (cbor, msgpack) in [
            ("fa 3dcccccd", "ca 3dcccccd"),
            ("f93e00", "ca 3fc00000"),
            ("a1 42 0102 00", "81 c4 02 0102 00"),
            ("a1 81 01 a1 00 00", "81 91 01 81 00 00"),
            ("d8 20 61 61", "a1 61"),
        ] {
            assert_eq!(becomes(Cbor, &hex(cbor), MessagePack), hex(msgpack), "{cbor}");
        }
        assert_eq!(
            becomes(MessagePack, &hex("82 01 02 91 c0 ca3fc00000"), Cbor),
            hex("a2 01 02 81 f6 fa3fc00000")
        );
    }

    #[test]
    fn keys_without_text_do_not_go_to_json() {
        for key in ["41 00", "80", "a0"] {
            let bytes = hex(&format!("81 a1 {key} 00"));
            let error = transcode(payload(Serializer::Cbor, &bytes), Serializer::Json).unwrap_err();
            assert_eq!(error, TranscodeError::KeyNotText);
        }
    }

    #[test]
    fn json_of_a_command_line_is_checked_and_comes_back() {
        let of = |args, kwargs| {
            OwnedPayload::from_json(args, kwargs).map(|owned| to_json(owned.borrow()).unwrap())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of(None, None), Ok((None, None)));
        assert_eq!(of(Some(" [1, 2] "), None), Ok((some("[1, 2]"), None)));
        assert_eq!(of(None, Some("{\"a\":1}")), Ok((some("[]"), some("{\"a\":1}"))));
        assert_eq!(of(Some("[]"), Some(" {}\n")), Ok((some("[]"), some("{}"))));
        assert_eq!(of(Some("null"), Some("null")), Ok((None, None)));
        assert_eq!(of(Some("[1]"), Some("null")), Ok((some("[1]"), None)));
        assert_eq!(of(Some("\"\\u0000AA==\""), None), Ok((some("\"\\u0000AA==\""), None)));
        for (args, kwargs, error) in [
            (Some("1"), None, DecodeError::UnexpectedType),
            (Some("[1"), None, DecodeError::Truncated),
            (Some("[1] 2"), None, DecodeError::TrailingBytes),
            (Some("[],{}"), None, DecodeError::TrailingBytes),
            (None, Some("[]"), DecodeError::UnexpectedType),
            (None, Some(""), DecodeError::Truncated),
        ] {
            assert_eq!(of(args, kwargs), Err(error), "{args:?} {kwargs:?}");
        }
    }

    #[test]
    fn values_make_payload_of_every_serializer() {
        for serializer in Serializer::ALL {
            let of = |args: &[Value<'_>], kwargs: &[(&str, Value<'_>)]| {
                let owned = OwnedPayload::from_values(serializer, args, kwargs).unwrap();
                let json = to_json(owned.borrow()).unwrap();
                (owned.elements, json.0.unwrap_or_default(), json.1.unwrap_or_default())
            };
            assert_eq!(of(&[], &[]), (0, String::new(), String::new()));
            assert_eq!(
                of(&[Value::Signed(-5), Value::Signed(5)], &[]),
                (1, "[-5,5]".to_owned(), String::new())
            );
            let kwargs = [("a", Value::text("b")), ("c", Value::Bool(true))];
            assert_eq!(of(&[], &kwargs), (2, "[]".to_owned(), r#"{"a":"b","c":true}"#.to_owned()));
        }
    }

    #[test]
    fn payload_comes_apart_into_values() {
        let owned = OwnedPayload::from_json(Some("[1, [2]]"), Some("{\"k\": {}}")).unwrap();
        for to in Serializer::ALL {
            let owned = transcode(owned.borrow(), to).unwrap();
            let (args, kwargs) = values(owned.borrow());
            let args = Tree::of(&args);
            let two = Tree::List(vec![Tree::Unsigned(2)]);
            assert_eq!(args, Tree::List(vec![Tree::Unsigned(1), two]));
            let pairs = vec![("k".to_owned(), Tree::Dict(vec![]))];
            assert_eq!(Tree::of(&Value::Dict(kwargs)), Tree::Dict(pairs));
        }
        let (args, kwargs) = values(Payload::EMPTY);
        assert!(matches!((args, kwargs), (Value::Null, Dict::Pairs([]))));
    }
}
