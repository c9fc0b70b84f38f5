//! The bodies of `send` and `receive`: one message, or a batch of them.
//!
//! A batch is that of WebSocket: JSON messages end with 0x1E each, the others have 32 bits of length in front.
//!
//! Spec: advanced profile, "HTTP Longpoll Transport" and "Message Batching".

use crate::transport::websocket::{BATCH_LENGTH_BYTES, RECORD_SEPARATOR};
use crate::wamp::Serializer;

/// The messages of a batch; `None` if it has none, or is cut in the middle of one. An empty message is none either.
pub fn split(serializer: Serializer, body: &[u8]) -> Option<Vec<&[u8]>> {
    let mut messages = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (message, after) = match serializer {
            Serializer::Json => {
                let end = rest.iter().position(|octet| *octet == RECORD_SEPARATOR)?;
                (&rest[..end], &rest[end + 1..])
            }
            _ => {
                let (length, after) = rest.split_first_chunk::<BATCH_LENGTH_BYTES>()?;
                after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?
            }
        };
        if message.is_empty() {
            return None;
        }
        messages.push(message);
        rest = after;
    }
    (!messages.is_empty()).then_some(messages)
}

/// Appends one message to a batch.
pub fn append(serializer: Serializer, message: &[u8], batch: &mut Vec<u8>) {
    match serializer {
        Serializer::Json => {
            batch.extend_from_slice(message);
            batch.push(RECORD_SEPARATOR);
        }
        _ => {
            let length = u32::try_from(message.len()).expect("no message is longer than 2^24 octets");
            batch.extend_from_slice(&length.to_be_bytes());
            batch.extend_from_slice(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_joined_is_split_again() {
        for serializer in Serializer::ALL {
            for messages in [&[&b"[1]"[..]][..], &[b"a", b"[2,3]", b"b"]] {
                let mut batch = Vec::new();
                messages.iter().for_each(|message| append(serializer, message, &mut batch));
                assert_eq!(split(serializer, &batch).unwrap(), messages);
                for cut in 1..batch.len() {
                    let split = split(serializer, &batch[..cut]);
                    assert!(split.is_none_or(|split| split.len() < messages.len()), "{serializer:?} {cut}");
                }
            }
        }
    }

    #[test]
    fn nothing_and_empty_messages_are_no_batch() {
        for (serializer, body) in [
            (Serializer::Json, &b""[..]),
            (Serializer::Json, b"\x1e"),
            (Serializer::Json, b"[1]\x1e\x1e"),
            (Serializer::Json, b"[1]"),
            (Serializer::Cbor, b""),
            (Serializer::Cbor, b"\0\0\0"),
            (Serializer::Cbor, b"\0\0\0\0"),
            (Serializer::MessagePack, b"\xff\xff\xff\xffa"),
        ] {
            assert_eq!(split(serializer, body), None, "{body:?}");
        }
    }
}
