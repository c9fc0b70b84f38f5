//! What becomes of a request that is not granted.

use crate::codec;
use crate::error::Refusal;
use crate::router::{Context, PeerKey};
use crate::wamp::message::{Publish, code};
use crate::wamp::{Message, Value};

/// ERROR for a request that was not granted. A PUBLISH without `acknowledge` is not answered, only counted.
pub(super) fn refuse(cx: &mut Context<'_>, key: PeerKey, message: &Message<'_>, refusal: Refusal) {
    match message {
        Message::Publish(publish) if !wants_acknowledgement(publish, refusal) => {
            count_silent(cx, refusal);
        }
        Message::Cancel(cancel) => cx.refuse(key, code::CANCEL, cancel.request, refusal),
        message => {
            if let Some(request) = message.counted_request() {
                cx.refuse(key, message.code(), request, refusal);
            }
        }
    }
}

/// Counts a publication that was refused, which nobody is told.
pub(in crate::router) fn count_silent(cx: &mut Context<'_>, refusal: Refusal) {
    let counters = &mut cx.peers.counters;
    match refusal {
        Refusal::NotAuthorized | Refusal::AuthorizationFailed => counters.publications_denied_silently += 1,
        _ => counters.publications_refused_silently += 1,
    }
}

/// True if `acknowledge` is set, or is what could not be read.
fn wants_acknowledgement(publish: &Publish<'_>, refusal: Refusal) -> bool {
    refusal == Refusal::InvalidArgument("acknowledge")
        || codec::entries(&publish.options)
            .any(|(key, value)| key == "acknowledge" && matches!(value, Value::Bool(true)))
}
