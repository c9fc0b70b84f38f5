//! Values: what a message carries, either as checked raw bytes of one serializer or as plain data to be written.
//!
//! Raw bytes exist only checked: [`Raw`] and [`Payload`] are made by the codec's readers, which have walked structure,
//! depth and UTF-8, or by this crate from such bytes. That is what makes it safe to hand a publisher's bytes to a
//! subscriber unread.

use std::borrow::Cow;

use super::id::ID_MAX;

/// The serializers, in the order of their RawSocket numbers (advanced profile, "RawSocket Transport").
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Serializer {
    /// `wamp.2.json`, RawSocket 1.
    Json,
    /// `wamp.2.msgpack`, RawSocket 2.
    MessagePack,
    /// `wamp.2.cbor`, RawSocket 3.
    Cbor,
    /// `wamp.2.ubjson`, RawSocket 4.
    Ubjson,
}

impl Serializer {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// Every serializer, in order.
    pub const ALL: [Serializer; Serializer::COUNT] =
        [Serializer::Json, Serializer::MessagePack, Serializer::Cbor, Serializer::Ubjson];

    /// Its place in [`Serializer::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The name used in subprotocols and on the command line: `json`, `msgpack`, `cbor`, `ubjson`.
    pub fn name(self) -> &'static str {
        match self {
            Serializer::Json => "json",
            Serializer::MessagePack => "msgpack",
            Serializer::Cbor => "cbor",
            Serializer::Ubjson => "ubjson",
        }
    }

    /// The serializer of that name.
    pub fn from_name(name: &str) -> Option<Serializer> {
        Serializer::ALL.into_iter().find(|serializer| serializer.name() == name)
    }
}

/// Checked bytes of exactly one value.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    serializer: Serializer,
    bytes: &'a [u8],
}

impl<'a> Raw<'a> {
    /// `bytes` must be one whole value that a reader of `serializer` has checked.
    pub(crate) fn checked(serializer: Serializer, bytes: &'a [u8]) -> Raw<'a> {
        Raw { serializer, bytes }
    }

    /// What the bytes are written in.
    pub fn serializer(self) -> Serializer {
        self.serializer
    }

    /// The bytes of the value.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }
}

/// One value. Integers keep 64 bits exactly: `Signed` is used for negative ones only.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer of 0 or more.
    Unsigned(u64),
    /// An integer below 0.
    Signed(i64),
    /// A float, also where its value is whole.
    Float(f64),
    /// Unicode text.
    Text(Cow<'a, str>),
    /// Octets; in JSON a text of U+0000 and base64.
    Binary(Cow<'a, [u8]>),
    /// A list.
    List(List<'a>),
    /// A dictionary with text keys.
    Dict(Dict<'a>),
}

impl<'a> Value<'a> {
    /// A borrowed text.
    pub fn text(text: &'a str) -> Value<'a> {
        Value::Text(Cow::Borrowed(text))
    }

    /// An identifier among arguments and options: an integer from 1 to 2^53 (basic profile, "IDs"), or a float that is
    /// one. Libraries in JavaScript write integers above 2^32 so, and identifiers that are drawn at random are.
    pub fn id(&self) -> Option<u64> {
        let id = match self {
            Value::Unsigned(id) => *id,
            Value::Float(id) if id.fract() == 0.0 && (1.0..=ID_MAX as f64).contains(id) => *id as u64,
            _ => return None,
        };
        (1..=ID_MAX).contains(&id).then_some(id)
    }
}

/// A list: checked bytes, or values to be written.
#[derive(Clone, Copy, Debug)]
pub enum List<'a> {
    /// As it was read.
    Raw(Raw<'a>),
    /// To be written.
    Values(&'a [Value<'a>]),
}

/// A dictionary: checked bytes, or pairs to be written.
#[derive(Clone, Copy, Debug)]
pub enum Dict<'a> {
    /// As it was read.
    Raw(Raw<'a>),
    /// To be written, in this order.
    Pairs(&'a [(&'a str, Value<'a>)]),
    /// Pairs to be written, and then those entries of a dictionary that was read whose keys are for the receiver (see
    /// [`forwarded`]): how `_name` travels from PUBLISH to EVENT.
    Extended(&'a [(&'a str, Value<'a>)], Raw<'a>),
}

impl Dict<'_> {
    /// A dictionary without entries.
    pub const EMPTY: Dict<'static> = Dict::Pairs(&[]);

    /// True if it is plain from its octets that it has no entries, as it is of most options: one octet (MessagePack,
    /// CBOR), or `{}` (JSON, UBJSON). What is empty and written longer is not seen to be.
    pub fn is_empty(&self) -> bool {
        match self {
            Dict::Raw(raw) => raw.bytes.len() <= 2 && (raw.bytes.len() == 1 || raw.bytes == b"{}"),
            Dict::Pairs(pairs) => pairs.is_empty(),
            Dict::Extended(..) => false,
        }
    }
}

/// True for keys that implementations may add to options and details: `_[a-z0-9_]{3,}` (basic profile,
/// "Extensibility").
fn custom_attribute(key: &str) -> bool {
    let key = key.as_bytes();
    key.len() >= 4 && key[0] == b'_' && key.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// The option of a PUBLISH by which its topic forgets what it retains. It has the name of a custom attribute, and is
/// for the router.
pub const RETAIN_CLEAR: &str = "_retain_clear";

/// True for keys of options and details that travel on to the receiver: custom attributes, and what says how a payload
/// is to be read that the router does not look into (advanced profile, "Payload Passthru Mode").
pub fn forwarded(key: &str) -> bool {
    custom_attribute(key) && key != RETAIN_CLEAR
        || matches!(key, "ppt_scheme" | "ppt_serializer" | "ppt_cipher" | "ppt_keyid")
}

/// Application payload: the arguments and keyword arguments at the end of a message, as checked bytes that stand just
/// as they stood in the message they came with.
///
/// ```text
///   [36, 1, 4711, {}, [1, 2], {"a": 3}]
///                     ^^^^^^^^^^^^^^^^   bytes; elements = 2
/// ```
///
/// A message is thus written as its head and one copy. In place of the list of arguments one binary value is
/// allowed too (`elements` is 1 then): the form in which payload that is opaque to the router travels. Before keyword
/// arguments it may also be null, which some clients send if there are no arguments.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    serializer: Serializer,
    elements: u8,
    bytes: &'a [u8],
}

impl<'a> Payload<'a> {
    /// No arguments at all. The serializer does not matter.
    pub const EMPTY: Payload<'static> =
        Payload { serializer: Serializer::MessagePack, elements: 0, bytes: &[] };

    /// `bytes` must be `elements` values, next to each other (with a comma between them in JSON), checked by a reader
    /// of `serializer`: a list, one binary or null, then a dictionary.
    pub(crate) fn checked(serializer: Serializer, elements: u8, bytes: &'a [u8]) -> Payload<'a> {
        debug_assert!(elements <= 2 && (elements == 0) == bytes.is_empty());
        Payload { serializer, elements, bytes }
    }

    /// What the bytes are written in.
    pub fn serializer(self) -> Serializer {
        self.serializer
    }

    /// 0: nothing; 1: arguments; 2: arguments and keyword arguments.
    pub fn elements(self) -> u8 {
        self.elements
    }

    /// The bytes, as they stand in the message.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_attributes_begin_with_an_underscore_and_are_four_long() {
        for good in ["_abc", "_x_1", "____", "_trace_id"] {
            assert!(custom_attribute(good), "{good}");
        }
        for bad in ["_ab", "abc_", "_Abc", "_a-c", "", "_"] {
            assert!(!custom_attribute(bad), "{bad}");
        }
        assert!(forwarded("_abc") && forwarded("ppt_keyid") && !forwarded("ppt_other"));
    }
}
