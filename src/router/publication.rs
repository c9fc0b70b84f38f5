//! A publication on its way: made once by the publisher's shard, read by every shard that has subscribers; and the
//! frames of its EVENT, made once by each of those shards.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::directory::{Match, MatchedSubscription};
use super::letter::{Attributes, details};
use super::{PeerKey, ShardIndex};
use crate::codec::payload::{OwnedPayload, transcode};
use crate::codec::{self, TranscodeError};
use crate::limits::FRAME_COPY_BYTES_MAX;
use crate::transport::{self, Framing, Link};
use crate::wamp::message::Event;
use crate::wamp::{MatchPolicy, Message, Payload, PublicationId, Serializer, Value};

/// What all shards that deliver it share. The payload is held once; in another serializer it is made by the first
/// shard that needs it, once for the router.
#[derive(Debug)]
pub struct Publication {
    /// Its identifier.
    pub id: PublicationId,
    /// The topic; sent only to subscriptions by pattern, and so kept only if there are any.
    pub topic: Option<Box<str>>,
    /// The subscriptions it goes to, as the publisher's shard saw them.
    pub matched: Arc<Match>,
    /// The publisher, if it does not want its own event.
    pub excluded: Option<(ShardIndex, PeerKey)>,
    /// Custom attributes of the PUBLISH.
    pub attributes: Option<Attributes>,
    payload: OwnedPayload,
    transcoded: [OnceLock<Result<OwnedPayload, TranscodeError>>; 3],
}

impl Publication {
    /// One copy of the payload; the topic too if a pattern matched.
    pub fn new(id: PublicationId, topic: &str, matched: Arc<Match>, payload: OwnedPayload) -> Publication {
        let pattern = matched.subscriptions.iter().any(|matched| matched.policy != MatchPolicy::Exact);
        Publication {
            id,
            topic: pattern.then(|| topic.into()),
            matched,
            excluded: None,
            attributes: None,
            payload,
            transcoded: [const { OnceLock::new() }; 3],
        }
    }

    /// The payload as it came.
    pub fn payload(&self) -> &OwnedPayload {
        &self.payload
    }

    fn payload_in(&self, serializer: Serializer) -> Result<Payload<'_>, TranscodeError> {
        let payload = self.payload.borrow();
        if payload.serializer() == serializer || payload.elements() == 0 {
            return Ok(payload);
        }
        match self.transcoded[serializer.index()].get_or_init(|| transcode(payload, serializer)) {
            Ok(payload) => Ok(payload.borrow()),
            Err(error) => Err(*error),
        }
    }

    fn event(
        &self,
        subscription: &MatchedSubscription,
        serializer: Serializer,
        out: &mut Vec<u8>,
    ) -> Result<(), TranscodeError> {
        let topic = self.topic.as_deref().filter(|_| subscription.policy != MatchPolicy::Exact);
        let topic = topic.map(|topic| [("topic", Value::text(topic))]);
        let event = Event {
            subscription: subscription.id,
            publication: self.id,
            details: details(topic.as_ref().map_or(&[], |pairs| &pairs[..]), &self.attributes),
            payload: self.payload_in(serializer)?,
        };
        codec::encode(&Message::Event(event), serializer, out)
    }
}

/// A frame ready to be queued.
#[derive(Debug)]
pub enum Frame<'a> {
    /// Small: copied into each queue.
    Small(&'a [u8]),
    /// Large: shared by all queues.
    Large(&'a Bytes),
}

impl Frame<'_> {
    /// Octets on the wire.
    pub fn octets(&self) -> usize {
        match self {
            Frame::Small(bytes) => bytes.len(),
            Frame::Large(bytes) => bytes.len(),
        }
    }
}

/// The frames of one EVENT (one publication to one subscription) in a shard: at most one for each serializer and
/// framing, made when the first peer needs it. The buffers are used again for the next one.
#[derive(Debug, Default)]
pub struct EventFrames {
    slots: [Slot; 9],
}

#[derive(Debug, Default)]
struct Slot {
    state: SlotState,
    buffer: Vec<u8>,
    range: Range<usize>,
    message_bytes: usize,
}

#[derive(Debug, Default)]
enum SlotState {
    #[default]
    Empty,
    Small,
    Large(Bytes),
    Untranslatable,
}

impl EventFrames {
    /// Forgets the frames; keeps buffers that are not large.
    pub fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.state = SlotState::Empty;
        }
    }

    /// The frame for a peer with this link, and the octets of the message in it; `None` if the payload has no form in
    /// the peer's serializer.
    pub fn frame(
        &mut self,
        publication: &Publication,
        subscription: &MatchedSubscription,
        link: &Link,
    ) -> Option<(Frame<'_>, usize)> {
        let slot = &mut self.slots[slot_index(link)];
        if matches!(slot.state, SlotState::Empty) {
            slot.encode(publication, subscription, link);
        }
        match &slot.state {
            SlotState::Small => Some((Frame::Small(&slot.buffer[slot.range.clone()]), slot.message_bytes)),
            SlotState::Large(bytes) => Some((Frame::Large(bytes), slot.message_bytes)),
            SlotState::Empty | SlotState::Untranslatable => None,
        }
    }
}

impl Slot {
    fn encode(&mut self, publication: &Publication, subscription: &MatchedSubscription, link: &Link) {
        let framed = transport::frame(link.framing, link.serializer, &mut self.buffer, |out| {
            publication.event(subscription, link.serializer, out)
        });
        self.state = match framed {
            Err(_) => {
                self.buffer.shrink_to(SCRATCH_BYTES_MAX);
                SlotState::Untranslatable
            }
            Ok((range, message_bytes)) => {
                self.message_bytes = message_bytes;
                self.range = range.clone();
                if range.len() <= FRAME_COPY_BYTES_MAX {
                    SlotState::Small
                } else {
                    let frame = share(&mut self.buffer, range);
                    self.buffer.shrink_to(SCRATCH_BYTES_MAX);
                    SlotState::Large(frame)
                }
            }
        };
    }
}

/// Octets that a buffer for frames may keep when it is not used.
pub const SCRATCH_BYTES_MAX: usize = 64 * 1024;

/// The octets as something that can be shared. A buffer that is much larger than they are is not given away: what is
/// held would be more than what is counted.
pub fn share(buffer: &mut Vec<u8>, range: Range<usize>) -> Bytes {
    if buffer.capacity() > 2 * range.len() {
        return Bytes::copy_from_slice(&buffer[range]);
    }
    Bytes::from(std::mem::take(buffer)).slice(range)
}

fn slot_index(link: &Link) -> usize {
    let framing = match link.framing {
        Framing::RawSocket => 0,
        Framing::WebSocket => 1,
        Framing::WebSocketBatched => 2,
    };
    link.serializer.index() * 3 + framing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wamp::SubscriptionId;

    fn publication(payload: OwnedPayload) -> (Publication, MatchedSubscription) {
        let subscription =
            MatchedSubscription { id: SubscriptionId(5), policy: MatchPolicy::Exact, shards: 1 };
        let matched = Match { shards: 1, subscriptions: [subscription].into_iter().collect() };
        (Publication::new(PublicationId(9), "com.example", Arc::new(matched), payload), subscription)
    }

    fn link(serializer: Serializer, framing: Framing) -> Link {
        Link { serializer, framing, message_bytes_max: 1 << 24 }
    }

    fn bytes(frame: &Frame<'_>) -> Vec<u8> {
        match frame {
            Frame::Small(bytes) => bytes.to_vec(),
            Frame::Large(bytes) => bytes.to_vec(),
        }
    }

    #[test]
    fn a_frame_is_made_once_for_each_serializer_and_framing() {
        let (publication, subscription) = publication(OwnedPayload::from_json(Some("[1]"), None).unwrap());
        let mut frames = EventFrames::default();
        let json = link(Serializer::Json, Framing::RawSocket);
        let (first, octets) = frames.frame(&publication, &subscription, &json).unwrap();
        assert_eq!(bytes(&first), b"\x00\x00\x00\x0f[36,5,9,{},[1]]");
        assert_eq!((octets, first.octets()), (15, 19));
        let Frame::Small(first) = first else { panic!("a small frame is copied") };
        let first = first.as_ptr();
        let (again, _) = frames.frame(&publication, &subscription, &json).unwrap();
        assert!(matches!(again, Frame::Small(again) if again.as_ptr() == first), "the same octets");
        let webs = link(Serializer::Cbor, Framing::WebSocket);
        let (other, _) = frames.frame(&publication, &subscription, &webs).unwrap();
        assert_eq!(bytes(&other), b"\x82\x08\x85\x18\x24\x05\x09\xa0\x81\x01");
        frames.clear();
        let (empty, subscription) = self::publication(OwnedPayload::EMPTY);
        let (next, _) = frames.frame(&empty, &subscription, &json).unwrap();
        assert_eq!(bytes(&next), b"\x00\x00\x00\x0b[36,5,9,{}]");
    }

    #[test]
    fn a_large_frame_is_shared() {
        let text = format!("[\"{}\"]", "x".repeat(FRAME_COPY_BYTES_MAX));
        let (publication, subscription) = publication(OwnedPayload::from_json(Some(&text), None).unwrap());
        let mut frames = EventFrames::default();
        let link = link(Serializer::Json, Framing::RawSocket);
        let Some((Frame::Large(first), _)) = frames.frame(&publication, &subscription, &link) else {
            panic!("a large frame is shared")
        };
        let first = first.clone();
        let Some((Frame::Large(again), _)) = frames.frame(&publication, &subscription, &link) else {
            panic!("a large frame is shared")
        };
        assert_eq!(first.as_ptr(), again.as_ptr());
    }

    #[test]
    fn payload_is_transcoded_once_and_only_where_it_must_be() {
        let (publication, _) = publication(OwnedPayload::from_json(Some("[1]"), None).unwrap());
        let json = publication.payload_in(Serializer::Json).unwrap();
        assert_eq!(json.bytes().as_ptr(), publication.payload.borrow().bytes().as_ptr());
        let first = publication.payload_in(Serializer::MessagePack).unwrap().bytes().as_ptr();
        assert_eq!(publication.payload_in(Serializer::MessagePack).unwrap().bytes().as_ptr(), first);
        assert!(publication.transcoded[Serializer::Cbor.index()].get().is_none());
    }

    #[test]
    fn what_has_no_form_in_a_serializer_gives_no_frame() {
        // {[]: 1}, which JSON cannot write.
        let message = b"\x96\x10\x01\x80\xa1a\x90\x81\x90\x01";
        let Ok(Message::Publish(publish)) = codec::decode(Serializer::MessagePack, message) else {
            panic!("a PUBLISH")
        };
        let (publication, subscription) = publication(OwnedPayload::copy(publish.payload));
        let mut frames = EventFrames::default();
        let json = link(Serializer::Json, Framing::RawSocket);
        let cbor = link(Serializer::Cbor, Framing::RawSocket);
        assert!(frames.frame(&publication, &subscription, &json).is_none());
        assert!(frames.frame(&publication, &subscription, &cbor).is_some());
    }
}
