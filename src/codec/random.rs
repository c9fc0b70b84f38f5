//! For tests only: values drawn from a seed, as plain trees that any writer can write and any value can be compared
//! with.

use super::reader;
use super::writer::Writer;
use super::{
    cbor::CborWriter, entries, items, json::JsonWriter, msgpack::MessagePackWriter, ubjson::UbjsonWriter,
};
use crate::wamp::{Raw, Serializer, Value};

/// A small generator: splitmix64.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    /// An integer with any number of significant bits.
    pub(super) fn integer(&mut self) -> u64 {
        let shift = self.below(64);
        self.word() >> shift
    }

    pub(super) fn text(&mut self) -> String {
        let length = [3, 9, 40, 300][self.below(4)];
        let character = |random: &mut Random| {
            *random.pick(&[
                'a', 'Z', '7', ' ', '"', '\\', '/', '\n', '\u{1}', '\u{7f}', 'ß', '€', '😀', '\u{ffff}',
            ])
        };
        // U+0000 in front would make a binary of the rest.
        std::iter::once('t').chain((0..self.below(length)).map(|_| character(self))).collect()
    }

    pub(super) fn bytes(&mut self) -> Vec<u8> {
        let length = [3, 40, 300][self.below(3)];
        (0..self.below(length)).map(|_| self.word() as u8).collect()
    }

    pub(super) fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }

    /// A tree with lists and dictionaries at most `depth` deep.
    pub(super) fn tree(&mut self, depth: usize) -> Tree {
        let kinds = if depth == 0 { 7 } else { 9 };
        let count = [4, 4, 4, 40][self.below(4)];
        match self.below(kinds) {
            0 => Tree::Null,
            1 => Tree::Bool(self.word() & 1 == 1),
            2 => Tree::Unsigned(self.integer()),
            3 => Tree::Negative(self.integer() >> 1),
            4 => Tree::Float(self.float()),
            5 => Tree::Text(self.text()),
            6 => Tree::Binary(self.bytes()),
            7 => Tree::List((0..self.below(count)).map(|_| self.tree(depth - 1)).collect()),
            _ => Tree::Dict((0..self.below(count)).map(|_| (self.text(), self.tree(depth - 1))).collect()),
        }
    }

    fn float(&mut self) -> f64 {
        let float = match self.below(3) {
            0 => f64::from_bits(self.word()),
            1 => self.word() as i32 as f64 / 8.0,
            _ => f64::from(f32::from_bits(self.word() as u32)),
        };
        if float.is_finite() { float } else { 0.5 }
    }
}

/// A value that owns all of itself.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Unsigned(u64),
    /// `-1 - n`
    Negative(u64),
    Float(f64),
    Text(String),
    Binary(Vec<u8>),
    List(Vec<Tree>),
    Dict(Vec<(String, Tree)>),
}

impl Tree {
    pub(super) fn encoded(&self, serializer: Serializer) -> Vec<u8> {
        let mut out = Vec::new();
        match serializer {
            Serializer::Json => self.write(&mut JsonWriter::new(&mut out)),
            Serializer::MessagePack => self.write(&mut MessagePackWriter::new(&mut out)),
            Serializer::Cbor => self.write(&mut CborWriter::new(&mut out)),
            Serializer::Ubjson => self.write(&mut UbjsonWriter::new(&mut out)),
        }
        out
    }

    fn write<'o, W: Writer<'o>>(&self, writer: &mut W) {
        match self {
            Tree::Null => writer.null(),
            Tree::Bool(value) => writer.bool(*value),
            Tree::Unsigned(value) => writer.unsigned(*value),
            Tree::Negative(n) => writer.negative(*n),
            Tree::Float(value) => writer.float(*value),
            Tree::Text(text) => writer.text(text),
            Tree::Binary(bytes) => writer.binary(bytes),
            Tree::List(items) => {
                let mark = writer.open_list(Some(items.len() as u64));
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        writer.separator();
                    }
                    item.write(writer);
                }
                writer.close_list(mark, items.len() as u64);
            }
            Tree::Dict(pairs) => {
                let mark = writer.open_dict(Some(pairs.len() as u64));
                for (index, (key, value)) in pairs.iter().enumerate() {
                    if index > 0 {
                        writer.separator();
                    }
                    writer.key(key);
                    value.write(writer);
                }
                writer.close_dict(mark, pairs.len() as u64);
            }
        }
    }

    /// The tree of bytes that must be one value.
    pub(super) fn decoded(serializer: Serializer, bytes: &[u8]) -> Tree {
        let raw = super::check(serializer, bytes).expect("the bytes are one value");
        Tree::of_raw(raw)
    }

    pub(super) fn of_raw(raw: Raw<'_>) -> Tree {
        Tree::of(&reader::value(raw).expect("raw bytes can be read"))
    }

    pub(super) fn of(value: &Value<'_>) -> Tree {
        match value {
            Value::Null => Tree::Null,
            Value::Bool(value) => Tree::Bool(*value),
            Value::Unsigned(value) => Tree::Unsigned(*value),
            Value::Signed(value) => Tree::Negative(!*value as u64),
            Value::Float(value) => Tree::Float(*value),
            Value::Text(text) => Tree::Text(text.to_string()),
            Value::Binary(bytes) => Tree::Binary(bytes.to_vec()),
            Value::List(list) => Tree::List(items(list).map(|item| Tree::of(&item)).collect()),
            Value::Dict(dict) => {
                Tree::Dict(entries(dict).map(|(key, value)| (key.into_owned(), Tree::of(&value))).collect())
            }
        }
    }
}

/// Octets written in hexadecimal, white space apart.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap() as u8).collect();
    assert!(digits.len().is_multiple_of(2), "{text}");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
