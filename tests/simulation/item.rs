//! Values and messages as a client has them: plain trees, with a small reader and writer for each serializer.
//!
//! Nothing here is shared with the router's codec on purpose: what the router understands and what it sends is judged
//! by code that was written apart from it. Speed does not matter; a malformed message is an error with its place.

use std::fmt;

use fanwire::wamp::{Serializer, message};

/// A value. `Int` is wide enough for every integer of 64 bits, signed or not.
#[derive(Clone, PartialEq, Debug)]
pub enum Item {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    Binary(Vec<u8>),
    List(Vec<Item>),
    Dict(Vec<(String, Item)>),
}

macro_rules! from {
    ($($type:ty => $make:expr),* $(,)?) => {
        $(impl From<$type> for Item {
            fn from(value: $type) -> Item {
                #[allow(clippy::redundant_closure_call)]
                ($make)(value)
            }
        })*
    };
}

from! {
    bool => Item::Bool,
    u64 => |n| Item::Int(i128::from(n)),
    usize => |n| Item::Int(n as i128),
    i32 => |n| Item::Int(i128::from(n)),
    &str => |text: &str| Item::Text(text.to_owned()),
    String => Item::Text,
    Vec<Item> => Item::List,
}

/// A list of whatever can be made an [`Item`].
#[macro_export]
macro_rules! list {
    ($($item:expr),* $(,)?) => { vec![$($crate::item::Item::from($item)),*] };
}

/// A dictionary.
#[macro_export]
macro_rules! dict {
    ($($key:literal : $item:expr),* $(,)?) => {
        $crate::item::Item::Dict(vec![$(($key.to_owned(), $crate::item::Item::from($item))),*])
    };
}

impl Item {
    pub fn number(&self) -> Option<u64> {
        match self {
            Item::Int(n) => u64::try_from(*n).ok(),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Item::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn list(&self) -> Option<&[Item]> {
        match self {
            Item::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entry of a dictionary.
    pub fn entry(&self, key: &str) -> Option<&Item> {
        match self {
            Item::Dict(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Adds an entry to a dictionary.
    pub fn set(&mut self, key: &str, value: impl Into<Item>) {
        if let Item::Dict(entries) = self {
            entries.push((key.to_owned(), value.into()));
        }
    }

    /// Adds an entry to a dictionary in a dictionary.
    pub fn set_within(&mut self, outer: &str, key: &str, value: impl Into<Item>) {
        let Item::Dict(entries) = self else { return };
        match entries.iter_mut().find(|(known, _)| known == outer) {
            Some((_, inner)) => inner.set(key, value),
            None => entries.push((outer.to_owned(), Item::Dict(vec![(key.to_owned(), value.into())]))),
        }
    }

    /// Appends the value.
    pub fn write(&self, serializer: Serializer, out: &mut Vec<u8>) {
        match serializer {
            Serializer::Json => self.write_json(out),
            Serializer::MessagePack => self.write_msgpack(out),
            Serializer::Cbor => self.write_cbor(out),
            Serializer::Ubjson => self.write_ubjson(out),
        }
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        let text = |text: &str, out: &mut Vec<u8>| {
            out.extend(serde_json::to_string(text).expect("text has a form in JSON").into_bytes());
        };
        match self {
            Item::Null => out.extend(b"null"),
            Item::Bool(value) => out.extend(value.to_string().into_bytes()),
            Item::Int(n) => out.extend(n.to_string().into_bytes()),
            Item::Float(x) => out.extend(format!("{x:?}").into_bytes()),
            Item::Text(value) => text(value, out),
            Item::Binary(octets) => {
                text(&format!("\0{}", base64_simd::STANDARD.encode_to_string(octets)), out);
            }
            Item::List(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    item.write_json(out);
                }
                out.push(b']');
            }
            Item::Dict(entries) => {
                out.push(b'{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    text(key, out);
                    out.push(b':');
                    value.write_json(out);
                }
                out.push(b'}');
            }
        }
    }

    fn write_msgpack(&self, out: &mut Vec<u8>) {
        match self {
            Item::Null => out.push(0xc0),
            Item::Bool(value) => out.push(0xc2 + u8::from(*value)),
            Item::Int(n @ 0..=127) => out.push(*n as u8),
            Item::Int(n @ -32..=-1) => out.push(*n as i8 as u8),
            Item::Int(n) if *n >= 0 => {
                out.push(0xcf);
                out.extend((*n as u64).to_be_bytes());
            }
            Item::Int(n) => {
                out.push(0xd3);
                out.extend((*n as i64).to_be_bytes());
            }
            Item::Float(x) => {
                out.push(0xcb);
                out.extend(x.to_be_bytes());
            }
            Item::Text(text) => {
                match text.len() {
                    length @ 0..=31 => out.push(0xa0 | length as u8),
                    length => out.extend([0xda, (length >> 8) as u8, length as u8]),
                }
                out.extend(text.as_bytes());
            }
            Item::Binary(octets) => {
                out.extend([0xc5, (octets.len() >> 8) as u8, octets.len() as u8]);
                out.extend(octets);
            }
            Item::List(items) => {
                out.extend([0xdc, (items.len() >> 8) as u8, items.len() as u8]);
                items.iter().for_each(|item| item.write_msgpack(out));
            }
            Item::Dict(entries) => {
                out.extend([0xde, (entries.len() >> 8) as u8, entries.len() as u8]);
                for (key, value) in entries {
                    Item::Text(key.clone()).write_msgpack(out);
                    value.write_msgpack(out);
                }
            }
        }
    }

    fn write_cbor(&self, out: &mut Vec<u8>) {
        match self {
            Item::Null => out.push(0xf6),
            Item::Bool(value) => out.push(0xf4 + u8::from(*value)),
            Item::Int(n) if *n >= 0 => cbor_head(0, *n as u64, out),
            Item::Int(n) => cbor_head(1, (-1 - *n) as u64, out),
            Item::Float(x) => {
                out.push(0xfb);
                out.extend(x.to_be_bytes());
            }
            Item::Text(text) => {
                cbor_head(3, text.len() as u64, out);
                out.extend(text.as_bytes());
            }
            Item::Binary(octets) => {
                cbor_head(2, octets.len() as u64, out);
                out.extend(octets);
            }
            Item::List(items) => {
                cbor_head(4, items.len() as u64, out);
                items.iter().for_each(|item| item.write_cbor(out));
            }
            Item::Dict(entries) => {
                cbor_head(5, entries.len() as u64, out);
                for (key, value) in entries {
                    Item::Text(key.clone()).write_cbor(out);
                    value.write_cbor(out);
                }
            }
        }
    }

    fn write_ubjson(&self, out: &mut Vec<u8>) {
        match self {
            Item::Null => out.push(b'Z'),
            Item::Bool(value) => out.push(if *value { b'T' } else { b'F' }),
            Item::Int(n @ 0..=255) => out.extend([b'U', *n as u8]),
            Item::Int(n @ -128..=-1) => out.extend([b'i', *n as i8 as u8]),
            Item::Int(n) => match i64::try_from(*n) {
                Ok(n) => {
                    out.push(b'L');
                    out.extend(n.to_be_bytes());
                }
                Err(_) => {
                    let digits = n.to_string();
                    out.extend([b'H', b'U', digits.len() as u8]);
                    out.extend(digits.as_bytes());
                }
            },
            Item::Float(x) => {
                out.push(b'D');
                out.extend(x.to_be_bytes());
            }
            Item::Text(text) => {
                out.push(b'S');
                ubjson_sized(text.as_bytes(), out);
            }
            Item::Binary(octets) => {
                out.extend(b"[$U#");
                ubjson_sized(octets, out);
            }
            // Counted, as the router does not write them itself.
            Item::List(items) => {
                out.extend(b"[#");
                Item::from(items.len()).write_ubjson(out);
                items.iter().for_each(|item| item.write_ubjson(out));
            }
            Item::Dict(entries) => {
                out.extend(b"{#");
                Item::from(entries.len()).write_ubjson(out);
                for (key, value) in entries {
                    ubjson_sized(key.as_bytes(), out);
                    value.write_ubjson(out);
                }
            }
        }
    }

    /// Reads one value that must be all of `bytes`.
    pub fn read(serializer: Serializer, bytes: &[u8]) -> Result<Item, String> {
        let mut reader = Reader { bytes, at: 0 };
        let item = match serializer {
            Serializer::Json => {
                let value: serde_json::Value = serde_json::from_slice(bytes)
                    .map_err(|error| format!("{error} in {}", String::from_utf8_lossy(bytes)))?;
                return from_json(value);
            }
            Serializer::MessagePack => reader.msgpack()?,
            Serializer::Cbor => reader.cbor()?,
            Serializer::Ubjson => reader.ubjson()?,
        };
        if reader.at != bytes.len() {
            return Err(format!("{} octets after the value", bytes.len() - reader.at));
        }
        Ok(item)
    }
}

fn cbor_head(major: u8, n: u64, out: &mut Vec<u8>) {
    match n {
        0..=23 => out.push(major << 5 | n as u8),
        24..=0xff => out.extend([major << 5 | 24, n as u8]),
        0x100..=0xffff => out.extend([major << 5 | 25, (n >> 8) as u8, n as u8]),
        _ => {
            out.push(major << 5 | 27);
            out.extend(n.to_be_bytes());
        }
    }
}

fn ubjson_sized(octets: &[u8], out: &mut Vec<u8>) {
    Item::from(octets.len()).write_ubjson(out);
    out.extend(octets);
}

fn from_json(value: serde_json::Value) -> Result<Item, String> {
    use serde_json::Value;
    Ok(match value {
        Value::Null => Item::Null,
        Value::Bool(value) => Item::Bool(value),
        Value::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(n), _) => Item::from(n),
            (None, Some(n)) => Item::Int(i128::from(n)),
            (None, None) => Item::Float(n.as_f64().ok_or("a number out of range")?),
        },
        Value::String(text) => match text.strip_prefix('\0') {
            None => Item::Text(text),
            Some(base64) => {
                Item::Binary(base64_simd::STANDARD.decode_to_vec(base64).map_err(|error| error.to_string())?)
            }
        },
        Value::Array(items) => Item::List(items.into_iter().map(from_json).collect::<Result<_, _>>()?),
        Value::Object(entries) => Item::Dict(
            entries
                .into_iter()
                .map(|(key, value)| from_json(value).map(|value| (key, value)))
                .collect::<Result<_, _>>()?,
        ),
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let taken = self.bytes.get(self.at..self.at + length).ok_or("the value is cut off")?;
        self.at += length;
        Ok(taken)
    }

    fn number(&mut self, length: usize) -> Result<u64, String> {
        Ok(self.take(length)?.iter().fold(0, |n, octet| n << 8 | u64::from(*octet)))
    }

    fn text(&mut self, length: u64) -> Result<Item, String> {
        let text = std::str::from_utf8(self.take(length as usize)?).map_err(|error| error.to_string())?;
        Ok(Item::Text(text.to_owned()))
    }

    fn entries(
        &mut self,
        length: u64,
        mut read: impl FnMut(&mut Self) -> Result<Item, String>,
    ) -> Result<Item, String> {
        let mut entries = Vec::new();
        for _ in 0..length {
            let Item::Text(key) = read(self)? else { return Err("a key that is no text".to_owned()) };
            entries.push((key, read(self)?));
        }
        Ok(Item::Dict(entries))
    }

    fn items(
        &mut self,
        length: u64,
        mut read: impl FnMut(&mut Self) -> Result<Item, String>,
    ) -> Result<Item, String> {
        (0..length).map(|_| read(self)).collect::<Result<_, _>>().map(Item::List)
    }

    fn msgpack(&mut self) -> Result<Item, String> {
        let marker = self.number(1)? as u8;
        Ok(match marker {
            0x00..=0x7f => Item::from(u64::from(marker)),
            0x80..=0x8f => return self.entries(u64::from(marker & 15), Self::msgpack),
            0x90..=0x9f => return self.items(u64::from(marker & 15), Self::msgpack),
            0xa0..=0xbf => return self.text(u64::from(marker & 31)),
            0xc0 => Item::Null,
            0xc2 | 0xc3 => Item::Bool(marker == 0xc3),
            0xc4..=0xc6 => {
                let length = self.number(1 << (marker - 0xc4))?;
                Item::Binary(self.take(length as usize)?.to_vec())
            }
            0xca => Item::Float(f64::from(f32::from_bits(self.number(4)? as u32))),
            0xcb => Item::Float(f64::from_bits(self.number(8)?)),
            0xcc..=0xcf => Item::from(self.number(1 << (marker - 0xcc))?),
            0xd0..=0xd3 => {
                let length = 1 << (marker - 0xd0);
                let shift = 64 - 8 * length;
                Item::Int(i128::from(((self.number(length)? << shift) as i64) >> shift))
            }
            0xd9..=0xdb => {
                let length = self.number(1 << (marker - 0xd9))?;
                return self.text(length);
            }
            0xdc | 0xdd => {
                let length = self.number(2 << (marker - 0xdc))?;
                return self.items(length, Self::msgpack);
            }
            0xde | 0xdf => {
                let length = self.number(2 << (marker - 0xde))?;
                return self.entries(length, Self::msgpack);
            }
            0xe0..=0xff => Item::Int(i128::from(marker as i8)),
            _ => return Err(format!("marker {marker:#x}")),
        })
    }

    fn cbor(&mut self) -> Result<Item, String> {
        let head = self.number(1)? as u8;
        let (major, extra) = (head >> 5, head & 31);
        if major == 7 {
            return Ok(match extra {
                20 | 21 => Item::Bool(extra == 21),
                22 => Item::Null,
                26 => Item::Float(f64::from(f32::from_bits(self.number(4)? as u32))),
                27 => Item::Float(f64::from_bits(self.number(8)?)),
                _ => return Err(format!("simple value {extra}")),
            });
        }
        let n = match extra {
            0..=23 => u64::from(extra),
            24..=27 => self.number(1 << (extra - 24))?,
            _ => return Err(format!("additional information {extra}")),
        };
        match major {
            0 => Ok(Item::from(n)),
            1 => Ok(Item::Int(-1 - i128::from(n))),
            2 => Ok(Item::Binary(self.take(n as usize)?.to_vec())),
            3 => self.text(n),
            4 => self.items(n, Self::cbor),
            5 => self.entries(n, Self::cbor),
            _ => Err("a tag".to_owned()),
        }
    }

    fn ubjson(&mut self) -> Result<Item, String> {
        let marker = self.number(1)? as u8;
        self.ubjson_value(marker)
    }

    fn ubjson_value(&mut self, marker: u8) -> Result<Item, String> {
        Ok(match marker {
            b'Z' => Item::Null,
            b'T' | b'F' => Item::Bool(marker == b'T'),
            b'U' => Item::from(self.number(1)?),
            b'i' => Item::Int(i128::from(self.number(1)? as i8)),
            b'I' => Item::Int(i128::from(self.number(2)? as i16)),
            b'l' => Item::Int(i128::from(self.number(4)? as i32)),
            b'L' => Item::Int(i128::from(self.number(8)? as i64)),
            b'd' => Item::Float(f64::from(f32::from_bits(self.number(4)? as u32))),
            b'D' => Item::Float(f64::from_bits(self.number(8)?)),
            b'S' => {
                let length = self.ubjson_length()?;
                return self.text(length);
            }
            b'H' => {
                let length = self.ubjson_length()?;
                match self.text(length)? {
                    Item::Text(digits) => Item::Int(digits.parse().map_err(|_| digits)?),
                    other => other,
                }
            }
            b'[' if self.bytes[self.at..].starts_with(b"$U#") => {
                self.take(3)?;
                let length = self.ubjson_length()?;
                Item::Binary(self.take(length as usize)?.to_vec())
            }
            b'[' | b'{' => return self.ubjson_container(marker),
            _ => return Err(format!("marker {marker:#x}")),
        })
    }

    fn ubjson_length(&mut self) -> Result<u64, String> {
        self.ubjson()?.number().ok_or("a length that is no number".to_owned())
    }

    fn ubjson_container(&mut self, open: u8) -> Result<Item, String> {
        let mut left = None;
        if self.bytes.get(self.at) == Some(&b'#') {
            self.take(1)?;
            left = Some(self.ubjson_length()?);
        }
        let (mut items, mut entries) = (Vec::new(), Vec::new());
        while left != Some(0) {
            let marker = self.number(1)? as u8;
            if left.is_none() && (marker == b']' || marker == b'}') {
                break;
            }
            if open == b'[' {
                items.push(self.ubjson_value(marker)?);
            } else {
                let length = self.ubjson_value(marker)?.number().ok_or("a key without a length")?;
                let Item::Text(key) = self.text(length)? else {
                    return Err("a key that is no text".to_owned());
                };
                entries.push((key, self.ubjson()?));
            }
            left = left.map(|left| left - 1);
        }
        Ok(if open == b'[' { Item::List(items) } else { Item::Dict(entries) })
    }
}

/// A message: the list that stands on the wire.
#[derive(Clone, PartialEq, Debug)]
pub struct Message(pub Vec<Item>);

/// Who made a payload, and the how-many-eth it was. Every PUBLISH, CALL and answer of a run carries one, as its first
/// two arguments.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Tag {
    pub life: usize,
    pub sequence: u64,
}

impl Message {
    /// Reads it; it must be a list that begins with a number.
    pub fn read(serializer: Serializer, bytes: &[u8]) -> Result<Message, String> {
        match Item::read(serializer, bytes)? {
            Item::List(items) if items.first().and_then(Item::number).is_some() => Ok(Message(items)),
            item => Err(format!("not a message: {item:?}")),
        }
    }

    pub fn write(&self, serializer: Serializer) -> Vec<u8> {
        let mut out = Vec::new();
        Item::List(self.0.clone()).write(serializer, &mut out);
        out
    }

    pub fn code(&self) -> u64 {
        self.number(0)
    }

    /// The integer at a position; `u64::MAX`, which no identifier can be, if there is none.
    pub fn number(&self, index: usize) -> u64 {
        self.0.get(index).and_then(Item::number).unwrap_or(u64::MAX)
    }

    /// The text at a position, empty if there is none.
    pub fn text(&self, index: usize) -> &str {
        self.0.get(index).and_then(Item::text).unwrap_or("")
    }

    /// The entry of the dictionary at a position.
    pub fn entry(&self, index: usize, key: &str) -> Option<&Item> {
        self.0.get(index).and_then(|dict| dict.entry(key))
    }

    /// Where the payload begins, for the messages that have one.
    pub fn payload_at(&self) -> Option<usize> {
        use message::code::*;
        Some(match self.code() {
            RESULT | YIELD | ABORT => 3,
            PUBLISH | EVENT | CALL | INVOCATION => 4,
            ERROR => 5,
            _ => return None,
        })
    }

    /// The arguments and keyword arguments.
    pub fn payload(&self) -> &[Item] {
        self.payload_at().and_then(|at| self.0.get(at..)).unwrap_or(&[])
    }

    /// Who made the payload.
    pub fn tag(&self) -> Option<Tag> {
        let arguments = self.payload().first()?.list()?;
        arguments.get(2)?.text()?;
        Some(Tag { life: arguments[0].number()? as usize, sequence: arguments[1].number()? })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = message::name(self.code()).unwrap_or("?");
        let text = String::from_utf8_lossy(&self.write(Serializer::Json)).into_owned();
        let text: String = text.chars().take(160).collect();
        write!(f, "{name} {text}")
    }
}

#[test]
fn what_is_written_is_read_in_every_serializer() {
    let item = Item::List(list![
        Item::Null,
        true,
        0,
        127,
        128,
        -1,
        -33,
        u64::MAX,
        Item::Float(1.5),
        "",
        "\u{0}x".trim_start_matches('\u{0}'),
        "x".repeat(300),
        Item::Binary(vec![0, 255, 7]),
        dict! { "a": list![1, list![]], "ü": dict! {} },
    ]);
    for serializer in Serializer::ALL {
        let mut bytes = Vec::new();
        item.write(serializer, &mut bytes);
        assert_eq!(Item::read(serializer, &bytes), Ok(item.clone()), "{serializer:?}");
        for cut in 0..bytes.len() {
            assert!(Item::read(serializer, &bytes[..cut]).is_err());
        }
    }
}
