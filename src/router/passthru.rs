//! Payload passthru mode: payload that nobody on the way looks into (advanced profile, "Payload Passthru Mode").
//!
//! The attributes that say how such a payload is to be read travel with it like custom attributes do, and the payload
//! travels like any other: as it is between peers of one serializer, as one binary between others. What is left to rule
//! is who may use the mode:
//!
//! - A peer that has not announced it for the role in which it sends is breaking the protocol. The text says so of
//!   PUBLISH, CALL and YIELD; a callee's ERROR is no other case.
//! - A callee that has not announced it gets no such call; the caller is told `wamp.error.feature_not_supported`.
//! - A caller that has not announced it gets no such result: it is told the same, and so is the callee, as an ERROR for
//!   its YIELD. Nobody is told that his ERROR was not understood.
//! - Subscribers get such events whatever they have announced, as the text has it.
//! - The router's own procedures would have to look: CALL of one is refused with the same error. A testament with the
//!   mode is refused to who has not announced it as a publisher.
//!
//! Whether the payload is one binary is not checked: the text demands that, and forbids to look.

use super::features::Feature;
use super::{Context, PeerKey};
use crate::codec;
use crate::error::Violation;
use crate::wamp::options::{PassthruOptions, WrongOption};
use crate::wamp::{Dict, Value};

/// True if these options of a PUBLISH, CALL or YIELD, or details of an ERROR, say that the mode is in use.
pub fn used(options: &Dict<'_>) -> Result<bool, WrongOption> {
    codec::options::<PassthruOptions>(options)?.used()
}

/// Holds options or details that have attributes against what their sender has announced: `feature` is the mode for the
/// role in which it sends them.
#[cold]
pub fn admit(
    cx: &mut Context<'_>,
    key: PeerKey,
    feature: Feature,
    options: &Dict<'_>,
) -> Result<(), Violation> {
    let announced = cx.peers.session(key).is_none_or(|session| session.features.has(feature));
    let scheme = |(key, value): (_, Value<'_>)| {
        key == "ppt_scheme" && matches!(value, Value::Text(scheme) if !scheme.is_empty())
    };
    match !announced && codec::entries(options).any(scheme) {
        true => Err(Violation::PassthruUnannounced),
        false => Ok(()),
    }
}
