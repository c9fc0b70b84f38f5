//! A message into any serializer: the order of its elements (basic profile, "Messages").
//!
//! A head is written straight into the output; payload of the writer's own serializer is one copy behind it.

use super::TranscodeError;
use super::payload::write_payload;
use super::writer::{Mark, Writer, write_dict};
use crate::wamp::message::{self, Message};
use crate::wamp::{Dict, Payload};

/// Appends a message to `out`. On an error a part of it may be there.
pub(super) fn write_message<'o, W: Writer<'o>>(
    message: &Message<'_>,
    out: &'o mut Vec<u8>,
) -> Result<(), TranscodeError> {
    let code = message.code();
    // Takes the number of elements behind the code.
    let writer = W::new(out);
    let list = |fields: u8| Elements::open(writer, code, fields);
    match message {
        Message::Hello(m) => list(2).text(&m.realm).dict(&m.details)?,
        Message::Welcome(m) => list(2).id(m.session.0).dict(&m.details)?,
        Message::Abort(m) => {
            list(2 + m.payload.elements()).dict(&m.details)?.text(&m.reason).payload(m.payload)?
        }
        Message::Challenge(m) => list(2).text(&m.authmethod).dict(&m.extra)?,
        Message::Authenticate(m) => list(2).text(&m.signature).dict(&m.extra)?,
        Message::Goodbye(m) => list(2).dict(&m.details)?.text(&m.reason),
        Message::Error(m) => error(list(4 + m.payload.elements()), m)?,
        Message::Publish(m) => list(3 + m.payload.elements())
            .id(m.request.0)
            .dict(&m.options)?
            .text(&m.topic)
            .payload(m.payload)?,
        Message::Published(m) => list(2).id(m.request.0).id(m.publication.0),
        Message::Subscribe(m) => list(3).id(m.request.0).dict(&m.options)?.text(&m.topic),
        Message::Subscribed(m) => list(2).id(m.request.0).id(m.subscription.0),
        Message::Unsubscribe(m) => list(2).id(m.request.0).id(m.subscription.0),
        Message::Unsubscribed(m) => list(fields(&m.details)).id(m.request.0).details(&m.details)?,
        Message::Event(m) => {
            let list = list(3 + m.payload.elements()).id(m.subscription.0).id(m.publication.0);
            list.dict(&m.details)?.payload(m.payload)?
        }
        Message::EventReceived(m) => list(1).id(m.publication.0),
        Message::Call(m) => list(3 + m.payload.elements())
            .id(m.request.0)
            .dict(&m.options)?
            .text(&m.procedure)
            .payload(m.payload)?,
        Message::Cancel(m) => list(2).id(m.request.0).dict(&m.options)?,
        Message::Result(m) => {
            list(2 + m.payload.elements()).id(m.request.0).dict(&m.details)?.payload(m.payload)?
        }
        Message::Register(m) => list(3).id(m.request.0).dict(&m.options)?.text(&m.procedure),
        Message::Registered(m) => list(2).id(m.request.0).id(m.registration.0),
        Message::Unregister(m) => list(2).id(m.request.0).id(m.registration.0),
        Message::Unregistered(m) => list(fields(&m.details)).id(m.request.0).details(&m.details)?,
        Message::Invocation(m) => {
            let list = list(3 + m.payload.elements()).id(m.request.0).id(m.registration.0);
            list.dict(&m.details)?.payload(m.payload)?
        }
        Message::Interrupt(m) => list(2).id(m.request.0).dict(&m.options)?,
        Message::Yield(m) => {
            list(2 + m.payload.elements()).id(m.request.0).dict(&m.options)?.payload(m.payload)?
        }
    }
    .close();
    Ok(())
}

/// Elements of UNSUBSCRIBED and UNREGISTERED behind the code.
fn fields(details: &Option<Dict<'_>>) -> u8 {
    1 + u8::from(details.is_some())
}

fn error<'o, W: Writer<'o>>(
    list: Elements<W>,
    m: &message::Error<'_>,
) -> Result<Elements<W>, TranscodeError> {
    let list = list.id(m.request_type).id(m.request.0);
    list.dict(&m.details)?.text(&m.error).payload(m.payload)
}

/// The list that is a message, while it is written.
struct Elements<W> {
    writer: W,
    mark: Mark,
    count: u64,
}

impl<'o, W: Writer<'o>> Elements<W> {
    /// Begins a message with its code and `fields` further elements.
    #[inline]
    fn open(mut writer: W, code: u64, fields: u8) -> Self {
        let count = u64::from(fields) + 1;
        let mark = writer.open_list(Some(count));
        writer.unsigned(code);
        Elements { writer, mark, count }
    }

    #[inline]
    fn id(mut self, id: u64) -> Self {
        self.writer.separator();
        self.writer.unsigned(id);
        self
    }

    #[inline]
    fn text(mut self, text: &str) -> Self {
        self.writer.separator();
        self.writer.text(text);
        self
    }

    fn dict(mut self, dict: &Dict<'_>) -> Result<Self, TranscodeError> {
        self.writer.separator();
        write_dict(&mut self.writer, dict)?;
        Ok(self)
    }

    fn details(self, details: &Option<Dict<'_>>) -> Result<Self, TranscodeError> {
        match details {
            Some(details) => self.dict(details),
            None => Ok(self),
        }
    }

    fn payload(mut self, payload: Payload<'_>) -> Result<Self, TranscodeError> {
        if payload.elements() > 0 {
            self.writer.separator();
            write_payload(&mut self.writer, payload)?;
        }
        Ok(self)
    }

    fn close(mut self) {
        self.writer.close_list(self.mark, self.count);
    }
}
