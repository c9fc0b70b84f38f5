//! Serialized bytes to messages and back.
//!
//! A reader for each serializer walks and checks without building anything: structure, depth, UTF-8, lengths. What it
//! hands out borrows from its input. A writer for each puts messages, values and dictionaries; payload of the same
//! serializer is one copy, of another one is transcoded ([`payload`]).

pub mod cbor;
pub mod json;
pub mod msgpack;
pub mod payload;

use crate::wamp::message::Text;
use crate::wamp::options::{Options, WrongOption};
use crate::wamp::{Dict, List, Message, Serializer, Value};

/// Why bytes are not a WAMP message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// to be listed by the codec
    Malformed,
}

/// Why payload has no form in another serializer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TranscodeError {
    /// to be listed by the codec
    KeyNotText,
}

/// Reads one whole message. Payload and dictionaries are checked but not built.
pub fn decode(serializer: Serializer, bytes: &[u8]) -> Result<Message<'_>, DecodeError> {
    let _ = (serializer, bytes);
    Err(DecodeError::Malformed)
}

/// Appends the message to `out`. On an error `out` is left as it was.
pub fn encode(
    message: &Message<'_>,
    serializer: Serializer,
    out: &mut Vec<u8>,
) -> Result<(), TranscodeError> {
    let _ = (message, serializer, out);
    Ok(())
}

/// The entries of a dictionary, in its order.
pub fn entries<'a>(dict: &Dict<'a>) -> impl Iterator<Item = (Text<'a>, Value<'a>)> {
    let _ = dict;
    std::iter::empty()
}

/// The items of a list, in its order.
pub fn items<'a>(list: &List<'a>) -> impl Iterator<Item = Value<'a>> {
    let _ = list;
    std::iter::empty()
}

/// The options of a message as plain fields.
pub fn options<O: Options>(dict: &Dict<'_>) -> Result<O, WrongOption> {
    let mut options = O::default();
    for (key, value) in entries(dict) {
        options.set(&key, &value)?;
    }
    Ok(options)
}
