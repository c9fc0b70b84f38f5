//! What the four writers have in common, and what is written with any of them: values, lists and dictionaries, built
//! or raw. Raw bytes of the writer's own serializer are copied as they are, others go from a reader to the writer
//! value by value, without a tree between them.

use super::TranscodeError;
use super::cbor::CborReader;
use super::json::JsonReader;
use super::msgpack::MessagePackReader;
use super::payload::key_text;
use super::reader::{Reader, Token};
use super::ubjson::UbjsonReader;
use crate::wamp::value::forwarded;
use crate::wamp::{Dict, List, Raw, Serializer, Value};

/// Appends values of one serializer to a buffer. The caller puts a separator between the items of a list and between
/// the entries of a dictionary.
pub(super) trait Writer<'o>: Sized {
    /// What is written.
    const SERIALIZER: Serializer;
    /// False if any value may be a key.
    const KEYS_ARE_TEXT: bool;

    /// A writer that appends to `out`.
    fn new(out: &'o mut Vec<u8>) -> Self;
    fn null(&mut self);
    fn bool(&mut self, value: bool);
    fn unsigned(&mut self, value: u64);
    /// The integer `-1 - n`.
    fn negative(&mut self, n: u64);
    fn float(&mut self, value: f64);
    fn single(&mut self, value: f32);
    fn text(&mut self, text: &str);
    fn binary(&mut self, bytes: &[u8]);
    /// A text key, up to its value.
    fn key(&mut self, key: &str);
    /// Opens a list of `count` items, or of items that are counted until it is closed.
    fn open_list(&mut self, count: Option<u64>) -> Mark;
    /// Closes the list; `count` is what it holds.
    fn close_list(&mut self, mark: Mark, count: u64);
    /// Opens a dictionary of `count` entries, or of entries that are counted until it is closed.
    fn open_dict(&mut self, count: Option<u64>) -> Mark;
    /// Closes the dictionary; `count` is what it holds.
    fn close_dict(&mut self, mark: Mark, count: u64);
    fn separator(&mut self);
    /// Values of this serializer that a reader has checked.
    fn checked(&mut self, bytes: &[u8]);
}

/// An opened container. If its count was not known, a head of one byte was written for it, which is replaced when it
/// is closed: a move of the bytes behind it, and only for containers that do not fit the shortest head.
#[must_use]
pub(super) struct Mark {
    unknown: Option<usize>,
}

impl Mark {
    /// Taken before the head is written.
    pub(super) fn new(out: &[u8], count: Option<u64>) -> Mark {
        Mark { unknown: if count.is_none() { Some(out.len()) } else { None } }
    }

    /// Puts the head where it belongs, if that is not done yet. `head` appends it.
    pub(super) fn close(self, out: &mut Vec<u8>, head: impl FnOnce(&mut Vec<u8>)) {
        let Some(at) = self.unknown else { return };
        let end = out.len();
        head(out);
        // The first byte takes its reserved place, the others, if any, come from the end to behind it.
        out[at] = out.remove(end);
        let others = out.len() - end;
        out[at + 1..].rotate_right(others);
    }
}

/// Writes a value.
pub(super) fn write_value<'o, W: Writer<'o>>(
    writer: &mut W,
    value: &Value<'_>,
) -> Result<(), TranscodeError> {
    match value {
        Value::Null => writer.null(),
        Value::Bool(value) => writer.bool(*value),
        Value::Unsigned(value) => writer.unsigned(*value),
        Value::Signed(value) if *value >= 0 => writer.unsigned(*value as u64),
        Value::Signed(value) => writer.negative(!*value as u64),
        Value::Float(value) => writer.float(*value),
        Value::Text(text) => writer.text(text),
        Value::Binary(bytes) => writer.binary(bytes),
        Value::List(list) => write_list(writer, list)?,
        Value::Dict(dict) => write_dict(writer, dict)?,
    }
    Ok(())
}

/// Writes a list.
pub(super) fn write_list<'o, W: Writer<'o>>(writer: &mut W, list: &List<'_>) -> Result<(), TranscodeError> {
    let values = match *list {
        List::Raw(raw) => return write_raw(writer, raw),
        List::Values(values) => values,
    };
    let count = values.len() as u64;
    let mark = writer.open_list(Some(count));
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            writer.separator();
        }
        write_value(writer, value)?;
    }
    writer.close_list(mark, count);
    Ok(())
}

/// Writes a dictionary.
pub(super) fn write_dict<'o, W: Writer<'o>>(writer: &mut W, dict: &Dict<'_>) -> Result<(), TranscodeError> {
    match *dict {
        Dict::Raw(raw) => write_raw(writer, raw),
        Dict::Pairs(pairs) => {
            let count = pairs.len() as u64;
            let mark = writer.open_dict(Some(count));
            write_pairs(writer, pairs)?;
            writer.close_dict(mark, count);
            Ok(())
        }
        Dict::Extended(pairs, raw) => {
            let mark = writer.open_dict(None);
            write_pairs(writer, pairs)?;
            let count = write_forwarded(writer, raw, pairs.len() as u64)?;
            writer.close_dict(mark, count);
            Ok(())
        }
    }
}

fn write_pairs<'o, W: Writer<'o>>(writer: &mut W, pairs: &[(&str, Value<'_>)]) -> Result<(), TranscodeError> {
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            writer.separator();
        }
        writer.key(key);
        write_value(writer, value)?;
    }
    Ok(())
}

/// Writes one raw value: a copy if the writer is of the same serializer.
pub(super) fn write_raw<'o, W: Writer<'o>>(writer: &mut W, raw: Raw<'_>) -> Result<(), TranscodeError> {
    if raw.serializer() == W::SERIALIZER {
        writer.checked(raw.bytes());
        return Ok(());
    }
    match raw.serializer() {
        Serializer::Json => copy(&mut JsonReader::new(raw.bytes())?, writer),
        Serializer::MessagePack => copy(&mut MessagePackReader::new(raw.bytes())?, writer),
        Serializer::Cbor => copy(&mut CborReader::new(raw.bytes())?, writer),
        Serializer::Ubjson => copy(&mut UbjsonReader::new(raw.bytes())?, writer),
    }
}

/// Writes those entries of a raw dictionary that travel on, behind `count` entries; returns how many
/// entries there are then.
fn write_forwarded<'o, W: Writer<'o>>(
    writer: &mut W,
    raw: Raw<'_>,
    count: u64,
) -> Result<u64, TranscodeError> {
    match raw.serializer() {
        Serializer::Json => copy_forwarded(&mut JsonReader::new(raw.bytes())?, writer, count),
        Serializer::MessagePack => copy_forwarded(&mut MessagePackReader::new(raw.bytes())?, writer, count),
        Serializer::Cbor => copy_forwarded(&mut CborReader::new(raw.bytes())?, writer, count),
        Serializer::Ubjson => copy_forwarded(&mut UbjsonReader::new(raw.bytes())?, writer, count),
    }
}

fn copy_forwarded<'a, 'o, R: Reader<'a>, W: Writer<'o>>(
    reader: &mut R,
    writer: &mut W,
    mut count: u64,
) -> Result<u64, TranscodeError> {
    let Token::Dict(mut dict) = reader.value()? else {
        return Ok(count);
    };
    while reader.more(&mut dict)? {
        // Details and options have text keys only: decoding refuses others.
        let key = reader.key()?;
        let start = reader.position();
        reader.skip(0)?;
        let Token::Text(key) = key else { continue };
        if forwarded(&key) {
            if count > 0 {
                writer.separator();
            }
            writer.key(&key);
            write_raw(writer, Raw::checked(R::SERIALIZER, reader.since(start)))?;
            count += 1;
        }
    }
    Ok(count)
}

/// Copies one value from a reader to a writer. It nests as deep as the value does, which was checked.
pub(super) fn copy<'a, 'o, R: Reader<'a>, W: Writer<'o>>(
    reader: &mut R,
    writer: &mut W,
) -> Result<(), TranscodeError> {
    let token = reader.value()?;
    copy_token(token, reader, writer)
}

fn copy_token<'a, 'o, R: Reader<'a>, W: Writer<'o>>(
    token: Token<'a, R::Container>,
    reader: &mut R,
    writer: &mut W,
) -> Result<(), TranscodeError> {
    match token {
        Token::Null => writer.null(),
        Token::Bool(value) => writer.bool(value),
        Token::Unsigned(value) => writer.unsigned(value),
        Token::Negative(n) => writer.negative(n),
        Token::Float(value) => writer.float(value),
        Token::Single(value) => writer.single(value),
        Token::Text(text) => writer.text(&text),
        Token::Binary(bytes) => writer.binary(&bytes),
        Token::List(list) => copy_list(list, reader, writer)?,
        Token::Dict(dict) => copy_dict(dict, reader, writer)?,
    }
    Ok(())
}

fn copy_list<'a, 'o, R: Reader<'a>, W: Writer<'o>>(
    mut list: R::Container,
    reader: &mut R,
    writer: &mut W,
) -> Result<(), TranscodeError> {
    let mark = writer.open_list(R::count(&list));
    let mut count = 0;
    while reader.more(&mut list)? {
        if count > 0 {
            writer.separator();
        }
        copy(reader, writer)?;
        count += 1;
    }
    writer.close_list(mark, count);
    Ok(())
}

fn copy_dict<'a, 'o, R: Reader<'a>, W: Writer<'o>>(
    mut dict: R::Container,
    reader: &mut R,
    writer: &mut W,
) -> Result<(), TranscodeError> {
    let mark = writer.open_dict(R::count(&dict));
    let mut count = 0;
    while reader.more(&mut dict)? {
        if count > 0 {
            writer.separator();
        }
        match reader.key()? {
            Token::Text(key) => writer.key(&key),
            key if W::KEYS_ARE_TEXT => writer.key(&key_text(key).ok_or(TranscodeError::KeyNotText)?),
            key => copy_token(key, reader, writer)?,
        }
        copy(reader, writer)?;
        count += 1;
    }
    writer.close_dict(mark, count);
    Ok(())
}
