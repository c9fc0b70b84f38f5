//! What comes to a client unasked, with its own memory: events, invocations, and what a router takes back.

use std::collections::VecDeque;

use super::error::ClientError;
use crate::codec;
use crate::codec::payload::OwnedPayload;
use crate::wamp::message::{Event as EventMessage, Invocation as InvocationMessage};
use crate::wamp::{Dict, PublicationId, Raw, RegistrationId, RequestId, Serializer, SubscriptionId, Value};

/// What [`super::Client::receive`] returns.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// EVENT.
    Event(Event),
    /// INVOCATION, to be answered by [`super::Client::yield_result`] or [`super::Client::error`].
    Invocation(Invocation),
    /// INTERRUPT: the caller does not want the result of this invocation any more.
    Interrupt(RequestId),
    /// UNSUBSCRIBED that nobody asked for: the router has taken a subscription back.
    Unsubscribed(OwnedDict),
    /// UNREGISTERED that nobody asked for: the router has taken a registration back.
    Unregistered(OwnedDict),
    /// Somebody called the client's waker.
    Woken,
}

/// EVENT.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Event {
    pub subscription: SubscriptionId,
    pub publication: PublicationId,
    pub details: OwnedDict,
    pub payload: OwnedPayload,
}

/// INVOCATION.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Invocation {
    pub request: RequestId,
    pub registration: RegistrationId,
    pub details: OwnedDict,
    pub payload: OwnedPayload,
}

impl Event {
    pub(super) fn copy(event: &EventMessage<'_>) -> Event {
        Event {
            subscription: event.subscription,
            publication: event.publication,
            details: OwnedDict::copy(&event.details),
            payload: OwnedPayload::copy(event.payload),
        }
    }
}

impl Invocation {
    pub(super) fn copy(invocation: &InvocationMessage<'_>) -> Invocation {
        Invocation {
            request: invocation.request,
            registration: invocation.registration,
            details: OwnedDict::copy(&invocation.details),
            payload: OwnedPayload::copy(invocation.payload),
        }
    }
}

/// A dictionary that was read, with its bytes.
#[derive(Clone, Debug, Default)]
pub struct OwnedDict {
    /// None: no entries.
    read: Option<(Serializer, Vec<u8>)>,
}

impl OwnedDict {
    /// One copy of the bytes. Of a dictionary that was not read but built nothing is kept.
    pub fn copy(dict: &Dict<'_>) -> OwnedDict {
        match dict {
            Dict::Raw(raw) => OwnedDict { read: Some((raw.serializer(), raw.bytes().to_vec())) },
            Dict::Pairs(_) | Dict::Extended(..) => OwnedDict::default(),
        }
    }

    /// As it is taken by messages.
    pub fn borrow(&self) -> Dict<'_> {
        match &self.read {
            Some((serializer, bytes)) => Dict::Raw(Raw::checked(*serializer, bytes)),
            None => Dict::EMPTY,
        }
    }

    /// The text of that key, if there is one.
    pub fn text(&self, key: &str) -> Option<String> {
        text(&self.borrow(), key)
    }

    /// True if the value of that key is `true`.
    pub fn is_true(&self, key: &str) -> bool {
        codec::entries(&self.borrow())
            .any(|(known, value)| known == key && matches!(value, Value::Bool(true)))
    }

    /// The number of that key, if there is one.
    pub fn unsigned(&self, key: &str) -> Option<u64> {
        unsigned(&self.borrow(), key)
    }
}

/// The text of a key in details.
pub(super) fn text(dict: &Dict<'_>, key: &str) -> Option<String> {
    let (_, value) = codec::entries(dict).find(|(name, _)| name == key)?;
    match value {
        Value::Text(text) => Some(text.into_owned()),
        _ => None,
    }
}

/// The number of a key in details.
pub(super) fn unsigned(dict: &Dict<'_>, key: &str) -> Option<u64> {
    match codec::entries(dict).find(|(name, _)| name == key)?.1 {
        Value::Unsigned(number) => Some(number),
        _ => None,
    }
}

/// What came while a reply was waited for, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    incoming: VecDeque<Incoming>,
}

/// What a queue keeps at most: replies come within milliseconds, so more than this is a router that does not answer.
const QUEUE_COUNT_MAX: usize = 65_536;

impl Queue {
    pub fn push(&mut self, incoming: Incoming) -> Result<(), ClientError> {
        if self.incoming.len() >= QUEUE_COUNT_MAX {
            return Err(ClientError::Overrun);
        }
        self.incoming.push_back(incoming);
        Ok(())
    }

    pub fn pop(&mut self) -> Option<Incoming> {
        self.incoming.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_keeps_the_order_and_its_bound() {
        let mut queue = Queue::default();
        for request in 1..=QUEUE_COUNT_MAX as u64 {
            queue.push(Incoming::Interrupt(RequestId(request))).unwrap();
        }
        assert!(matches!(queue.push(Incoming::Woken), Err(ClientError::Overrun)));
        assert!(matches!(queue.pop(), Some(Incoming::Interrupt(RequestId(1)))));
        assert!(queue.push(Incoming::Woken).is_ok());
    }

    #[test]
    fn details_are_read_from_a_copy_in_every_serializer() {
        for serializer in Serializer::ALL {
            let pairs = [("topic", Value::text("com.a")), ("publisher", Value::Unsigned(1 << 53))];
            let event = crate::wamp::Message::Event(EventMessage {
                subscription: SubscriptionId(1),
                publication: PublicationId(2),
                details: Dict::Pairs(&pairs),
                payload: crate::wamp::Payload::EMPTY,
            });
            let mut bytes = Vec::new();
            codec::encode(&event, serializer, &mut bytes).unwrap();
            let crate::wamp::Message::Event(event) = codec::decode(serializer, &bytes).unwrap() else {
                panic!("it is an EVENT")
            };
            let details = Event::copy(&event).details;
            assert_eq!(details.text("topic").as_deref(), Some("com.a"));
            assert_eq!(details.unsigned("publisher"), Some(1 << 53));
            assert_eq!((details.text("publisher"), details.unsigned("caller")), (None, None));
        }
        assert_eq!(OwnedDict::default().text("topic"), None);
    }
}
