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

    /// The number of that key, if there is one.
    pub fn unsigned(&self, key: &str) -> Option<u64> {
        match codec::entries(&self.borrow()).find(|(name, _)| name == key)?.1 {
            Value::Unsigned(number) => Some(number),
            _ => None,
        }
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
