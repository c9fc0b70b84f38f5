//! A publication on its way: made once by the publisher's shard, read by every shard that has subscribers; the frames
//! of its EVENT, made once by each of those shards; and a publication as it is kept for those who come later.

use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use super::directory::{Match, MatchedSubscription};
use super::eligibility::Eligibility;
use super::letter::{Attributes, details};
use super::session::Identity;
use super::{Disclosure, PeerKey, ShardIndex};
use crate::codec::payload::{OwnedPayload, transcode};
use crate::codec::{self, TranscodeError};
use crate::transport::arena::{Arena, Span};
use crate::transport::{self, Format};
use crate::wamp::message::Event;
use crate::wamp::{Dict, MatchPolicy, Message, Payload, PublicationId, Serializer, SessionId, Value};

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
    /// What few publications have.
    pub particulars: Option<Arc<Particulars>>,
    payload: OwnedPayload,
    /// Boxed, since most publications are read in the serializer they were written in, and all of them are moved.
    transcoded: OnceLock<Box<Transcoded>>,
}

/// The payload in each serializer that somebody has needed it in.
type Transcoded = [OnceLock<Result<OwnedPayload, TranscodeError>>; Serializer::COUNT];

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
            particulars: None,
            payload,
            transcoded: OnceLock::new(),
        }
    }

    /// The payload as it came.
    pub fn payload(&self) -> &OwnedPayload {
        &self.payload
    }

    /// The lists of who may get it, if there are any.
    #[inline]
    pub fn eligibility(&self) -> Option<&Eligibility> {
        self.particulars.as_ref()?.eligibility.as_ref()
    }

    fn payload_in(&self, serializer: Serializer) -> Result<Payload<'_>, TranscodeError> {
        let payload = self.payload.borrow();
        if payload.serializer() == serializer || payload.elements() == 0 {
            return Ok(payload);
        }
        match self.transcoded.get_or_init(Box::default)[serializer.index()]
            .get_or_init(|| transcode(payload, serializer))
        {
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
        let (alone, few);
        let pairs = match &self.particulars {
            None => {
                alone = topic.map(|topic| ("topic", Value::text(topic)));
                alone.as_slice()
            }
            Some(particulars) => {
                few = pairs(topic, Some(particulars));
                &few[..]
            }
        };
        let event = Event {
            subscription: subscription.id,
            publication: self.id,
            details: details(pairs, &self.attributes),
            payload: self.payload_in(serializer)?,
        };
        codec::encode(&Message::Event(event), serializer, out)
    }
}

/// Whom a publication is for, and what its events tell of its publisher.
#[derive(Debug, Default)]
pub struct Particulars {
    /// The lists of who may get it.
    pub eligibility: Option<Eligibility>,
    /// The publisher, if it is disclosed.
    pub publisher: Option<Arc<Identity>>,
    /// How far the publisher's role is trusted.
    pub trust_level: Option<u64>,
}

impl Particulars {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.eligibility.is_none() && self.publisher.is_none() && self.trust_level.is_none()
    }

    /// About how many octets they take.
    pub fn bytes(&self) -> usize {
        size_of::<Particulars>() + self.eligibility.as_ref().map_or(0, Eligibility::bytes)
    }
}

/// A few details of an EVENT; none or the topic alone take no memory of their own.
pub type Pairs<'a> = SmallVec<[(&'a str, Value<'a>); 1]>;

fn pairs<'a>(topic: Option<&'a str>, particulars: Option<&'a Particulars>) -> Pairs<'a> {
    let mut pairs = Pairs::new();
    if let Some(topic) = topic {
        pairs.push(("topic", Value::text(topic)));
    }
    if let Some(particulars) = particulars {
        if let Some(publisher) = &particulars.publisher {
            pairs.push(("publisher", Value::Unsigned(publisher.session.0)));
            pairs.push(("publisher_authid", Value::text(&publisher.authid)));
            pairs.push(("publisher_authrole", Value::text(&publisher.role.name)));
        }
        if let Some(level) = particulars.trust_level {
            pairs.push(("trustlevel", Value::Unsigned(level)));
        }
    }
    pairs
}

/// A publication as it is kept for those who come later: as the retained one of its topic, in an event history, or
/// both.
#[derive(Debug)]
pub struct KeptPublication {
    /// Its identifier, which it never changes.
    pub id: PublicationId,
    /// Its topic.
    pub topic: Box<str>,
    /// The session that published it, if that does not want its own event.
    pub excluded: Option<SessionId>,
    /// Custom attributes of the PUBLISH.
    pub attributes: Option<Attributes>,
    /// See [`Publication::particulars`].
    pub particulars: Option<Arc<Particulars>>,
    /// Its arguments, the same octets that are on their way.
    pub payload: OwnedPayload,
    /// When it was published, in milliseconds since 1970-01-01T00:00:00Z.
    pub unix_ms: u64,
}

/// About what a kept publication takes beside what can be long.
const KEPT_OVERHEAD_BYTES: usize = 256;

impl KeptPublication {
    /// The lists of who may get it, if there are any.
    pub fn eligibility(&self) -> Option<&Eligibility> {
        self.particulars.as_ref()?.eligibility.as_ref()
    }

    /// True if the lists of who may get it, if any, let the session have it.
    pub fn eligible(&self, identity: &Identity) -> bool {
        self.eligibility().is_none_or(|eligibility| eligibility.admits(identity))
    }

    /// The details of its EVENT to a subscription of this policy, attributes apart. Where its realm tells nobody's name
    /// by now, it does not tell its publisher's.
    pub fn pairs(&self, policy: MatchPolicy, disclosure: Disclosure) -> Pairs<'_> {
        let mut pairs =
            pairs((policy != MatchPolicy::Exact).then_some(&*self.topic), self.particulars.as_deref());
        if disclosure == Disclosure::Never {
            pairs.retain(|(key, _)| !key.starts_with("publisher"));
        }
        pairs
    }

    /// About how many octets it takes.
    pub fn bytes(&self) -> usize {
        KEPT_OVERHEAD_BYTES
            + self.topic.len()
            + self.payload.borrow().bytes().len()
            + self.attributes.as_ref().map_or(0, Attributes::bytes)
            + self.particulars.as_ref().map_or(0, |particulars| particulars.bytes())
    }

    /// These details, and the attributes.
    pub fn details<'a>(&'a self, pairs: &'a [(&'a str, Value<'a>)]) -> Dict<'a> {
        details(pairs, &self.attributes)
    }
}

/// The frames of one EVENT (one publication to one subscription) in a shard: at most one for each format, written to
/// the turn's arena when the first peer needs it.
#[derive(Debug, Default)]
pub struct EventFrames {
    slots: [Slot; Format::COUNT],
    /// A bit for each slot that is not empty, by [`Format::index`]: formats that nobody speaks cost nothing.
    filled: u16,
}

const _: () = assert!(Format::COUNT <= u16::BITS as usize);

#[derive(Clone, Copy, Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Written {
        frame: Span,
        message_bytes: usize,
        /// Somebody has it in the queue.
        queued: bool,
    },
    Untranslatable,
}

/// Why there is no frame for a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoFrame {
    /// The message is larger than the peer takes.
    TooLarge,
    /// The payload has no form in the peer's serializer.
    Untranslatable,
}

impl EventFrames {
    /// The frame for a peer of this format that takes messages of at most `message_bytes_max` octets. Whoever queues it
    /// says so with [`EventFrames::queued`].
    #[inline]
    pub fn frame(
        &mut self,
        publication: &Publication,
        subscription: &MatchedSubscription,
        (format, message_bytes_max): (Format, usize),
        arena: &mut Arena,
    ) -> Result<Span, NoFrame> {
        let slot = &mut self.slots[format.index()];
        if let Slot::Empty = slot {
            *slot = write(publication, subscription, (format, message_bytes_max), arena)?;
            self.filled |= 1 << format.index();
        }
        match *slot {
            Slot::Written { message_bytes, .. } if message_bytes > message_bytes_max => {
                Err(NoFrame::TooLarge)
            }
            Slot::Written { frame, .. } => Ok(frame),
            Slot::Empty | Slot::Untranslatable => Err(NoFrame::Untranslatable),
        }
    }

    /// A peer of this format has the frame in its queue.
    #[inline]
    pub fn queued(&mut self, format: Format) {
        if let Slot::Written { queued, .. } = &mut self.slots[format.index()] {
            *queued = true;
        }
    }

    /// The event is delivered: forgets the frames, and takes back those that nobody has queued. They are the last of
    /// their lanes. Otherwise many publications that all their subscribers find too large would fill the turn.
    pub fn clear(&mut self, arena: &mut Arena) {
        while self.filled != 0 {
            let slot = &mut self.slots[self.filled.trailing_zeros() as usize];
            if let Slot::Written { frame, queued: false, .. } = *slot {
                arena.take_back(frame);
            }
            *slot = Slot::Empty;
            self.filled &= self.filled - 1;
        }
    }
}

fn write(
    publication: &Publication,
    subscription: &MatchedSubscription,
    (format, message_bytes_max): (Format, usize),
    arena: &mut Arena,
) -> Result<Slot, NoFrame> {
    let Format { framing, serializer } = format;
    let Ok(payload) = publication.payload_in(serializer) else { return Ok(Slot::Untranslatable) };
    let payload_bytes = payload.bytes().len();
    if payload_bytes > message_bytes_max {
        // Nothing is written that this peer will not take; another one may.
        return Err(NoFrame::TooLarge);
    }
    let written = arena.write(format.index(), payload_bytes + EVENT_OVERHEAD_BYTES, |out| {
        transport::frame(framing, serializer, out, |out| publication.event(subscription, serializer, out))
    });
    Ok(match written {
        Ok((frame, message_bytes)) => Slot::Written { frame, message_bytes, queued: false },
        Err(_) => Slot::Untranslatable,
    })
}

/// About what stands around the payload of an EVENT.
const EVENT_OVERHEAD_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Framing;
    use crate::wamp::SubscriptionId;

    fn publication(payload: OwnedPayload) -> (Publication, MatchedSubscription) {
        let subscription =
            MatchedSubscription { id: SubscriptionId(5), policy: MatchPolicy::Exact, shards: 1 };
        let matched = Match { shards: 1, subscriptions: [subscription].into_iter().collect() };
        (Publication::new(PublicationId(9), "com.example", Arc::new(matched), payload), subscription)
    }

    fn format(serializer: Serializer, framing: Framing) -> Format {
        Format { serializer, framing }
    }

    #[test]
    fn a_frame_is_written_once_for_each_format() {
        let (publication, subscription) = publication(OwnedPayload::from_json(Some("[1]"), None).unwrap());
        let (mut frames, mut arena) = (EventFrames::default(), Arena::default());
        let json = (format(Serializer::Json, Framing::RawSocket), 512);
        let first = frames.frame(&publication, &subscription, json, &mut arena).unwrap();
        frames.queued(json.0);
        assert_eq!(arena.octets(first), b"\x00\x00\x00\x0f[36,5,9,{},[1]]");
        assert_eq!(frames.frame(&publication, &subscription, json, &mut arena), Ok(first));
        let less = (json.0, 14);
        assert_eq!(frames.frame(&publication, &subscription, less, &mut arena), Err(NoFrame::TooLarge));
        let webs = (format(Serializer::Cbor, Framing::WebSocket), 512);
        let other = frames.frame(&publication, &subscription, webs, &mut arena).unwrap();
        frames.queued(webs.0);
        assert_eq!(arena.octets(other), b"\x82\x08\x85\x18\x24\x05\x09\xa0\x81\x01");
        frames.clear(&mut arena);
        let (empty, subscription) = self::publication(OwnedPayload::EMPTY);
        let next = frames.frame(&empty, &subscription, json, &mut arena).unwrap();
        assert_eq!(arena.octets(next), b"\x00\x00\x00\x0b[36,5,9,{}]");
        assert!(first.continues_with(next), "events of one format follow one another");
    }

    #[test]
    fn frames_that_nobody_queues_are_taken_back() {
        let text = format!("[\"{}\"]", "x".repeat(1_000));
        let (publication, subscription) = publication(OwnedPayload::from_json(Some(&text), None).unwrap());
        let (mut frames, mut arena) = (EventFrames::default(), Arena::default());
        let json = format(Serializer::Json, Framing::RawSocket);
        // Less than the payload: seen without writing. Less than the message: it was written.
        for message_bytes_max in [512, 1_010] {
            let frame = frames.frame(&publication, &subscription, (json, message_bytes_max), &mut arena);
            assert_eq!(frame, Err(NoFrame::TooLarge));
        }
        assert!(arena.bytes() > 1_000);
        frames.clear(&mut arena);
        assert_eq!(arena.bytes(), 0);
        frames.frame(&publication, &subscription, (json, 2_000), &mut arena).unwrap();
        frames.queued(json);
        frames.clear(&mut arena);
        assert!(arena.bytes() > 1_000);
    }

    #[test]
    fn payload_is_transcoded_once_and_only_where_it_must_be() {
        let (publication, _) = publication(OwnedPayload::from_json(Some("[1]"), None).unwrap());
        let json = publication.payload_in(Serializer::Json).unwrap();
        assert_eq!(json.bytes().as_ptr(), publication.payload.borrow().bytes().as_ptr());
        let first = publication.payload_in(Serializer::MessagePack).unwrap().bytes().as_ptr();
        assert_eq!(publication.payload_in(Serializer::MessagePack).unwrap().bytes().as_ptr(), first);
        let transcoded = publication.transcoded.get().unwrap();
        assert!(transcoded[Serializer::Cbor.index()].get().is_none());
    }

    #[test]
    fn what_has_no_form_in_a_serializer_gives_no_frame() {
        // {[]: 1}, which JSON cannot write.
        let message = b"\x96\x10\x01\x80\xa1a\x90\x81\x90\x01";
        let Ok(Message::Publish(publish)) = codec::decode(Serializer::MessagePack, message) else {
            panic!("a PUBLISH")
        };
        let (publication, subscription) = publication(OwnedPayload::copy(publish.payload));
        let (mut frames, mut arena) = (EventFrames::default(), Arena::default());
        let json = (format(Serializer::Json, Framing::RawSocket), 512);
        let cbor = (format(Serializer::Cbor, Framing::RawSocket), 512);
        let frame = frames.frame(&publication, &subscription, json, &mut arena);
        assert_eq!(frame, Err(NoFrame::Untranslatable));
        assert!(frames.frame(&publication, &subscription, cbor, &mut arena).is_ok());
    }
}
