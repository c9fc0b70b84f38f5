//! A message out of any serializer: which elements each message has, and which values they may take (basic profile,
//! "Messages"; advanced profile, for CANCEL, INTERRUPT and revocation).
//!
//! Serializers are in the readers; this is the only place that knows what a message must look like.

use super::DecodeError;
use super::reader::{Reader, Token};
use crate::wamp::message::{
    self, Abort, Authenticate, Call, Cancel, Challenge, Event, EventReceived, Goodbye, Hello, Interrupt,
    Invocation, Message, Publish, Published, Register, Registered, Subscribe, Subscribed, Text, Unregister,
    Unregistered, Unsubscribe, Unsubscribed, Welcome, Yield, code,
};
use crate::wamp::{
    Dict, ID_MAX, Payload, PublicationId, Raw, RegistrationId, RequestId, SessionId, SubscriptionId,
};

/// Containers around an element of a message, and around a value in a dictionary or list that is one.
const IN_MESSAGE: usize = 1;
const IN_ELEMENT: usize = 2;

/// Reads one whole message.
pub(super) fn read_message<'a, R: Reader<'a>>(bytes: &'a [u8]) -> Result<Message<'a>, DecodeError> {
    let mut reader = R::new(bytes)?;
    let Token::List(list) = reader.value()? else {
        return Err(DecodeError::UnexpectedType);
    };
    let mut elements = Elements { reader, list: Some(list) };
    let code = elements.unsigned()?;
    let message = elements.message(code)?;
    elements.end()?;
    Ok(message)
}

/// The elements of a message that are not read yet.
struct Elements<'a, R: Reader<'a>> {
    reader: R,
    /// Until its end is read.
    list: Option<R::Container>,
}

impl<'a, R: Reader<'a>> Elements<'a, R> {
    fn message(&mut self, code: u64) -> Result<Message<'a>, DecodeError> {
        // Fields are evaluated in the order in which they are written, which is that of the elements.
        Ok(match code {
            code::HELLO => Message::Hello(Hello { realm: self.text()?, details: self.dict()? }),
            code::WELCOME => Message::Welcome(Welcome { session: self.session()?, details: self.dict()? }),
            code::ABORT => Message::Abort(Abort {
                details: self.dict()?,
                reason: self.text()?,
                payload: self.payload()?,
            }),
            code::CHALLENGE => {
                Message::Challenge(Challenge { authmethod: self.text()?, extra: self.dict()? })
            }
            code::AUTHENTICATE => {
                Message::Authenticate(Authenticate { signature: self.text()?, extra: self.dict()? })
            }
            code::GOODBYE => Message::Goodbye(Goodbye { details: self.dict()?, reason: self.text()? }),
            code::ERROR => Message::Error(message::Error {
                request_type: self.unsigned()?,
                request: self.request()?,
                details: self.dict()?,
                error: self.text()?,
                payload: self.payload()?,
            }),
            16..=47 | code::EVENT_RECEIVED => return self.publish_and_subscribe(code),
            _ => return self.remote_procedure_call(code),
        })
    }

    fn publish_and_subscribe(&mut self, code: u64) -> Result<Message<'a>, DecodeError> {
        Ok(match code {
            code::PUBLISH => Message::Publish(Publish {
                request: self.request()?,
                options: self.dict()?,
                topic: self.text()?,
                payload: self.payload()?,
            }),
            code::PUBLISHED => Message::Published(Published {
                request: self.request()?,
                publication: PublicationId(self.id()?),
            }),
            code::SUBSCRIBE => Message::Subscribe(Subscribe {
                request: self.request()?,
                options: self.dict()?,
                topic: self.text()?,
            }),
            code::SUBSCRIBED => Message::Subscribed(Subscribed {
                request: self.request()?,
                subscription: SubscriptionId(self.id()?),
            }),
            code::UNSUBSCRIBE => Message::Unsubscribe(Unsubscribe {
                request: self.request()?,
                subscription: SubscriptionId(self.id()?),
            }),
            code::UNSUBSCRIBED => {
                let (request, details) = self.revocation()?;
                Message::Unsubscribed(Unsubscribed { request, details })
            }
            code::EVENT => Message::Event(Event {
                subscription: SubscriptionId(self.id()?),
                publication: PublicationId(self.id()?),
                details: self.dict()?,
                payload: self.payload()?,
            }),
            code::EVENT_RECEIVED => {
                Message::EventReceived(EventReceived { publication: PublicationId(self.id()?) })
            }
            _ => return Err(DecodeError::UnknownMessage(code)),
        })
    }

    fn remote_procedure_call(&mut self, code: u64) -> Result<Message<'a>, DecodeError> {
        Ok(match code {
            code::CALL => Message::Call(Call {
                request: self.request()?,
                options: self.dict()?,
                procedure: self.text()?,
                payload: self.payload()?,
            }),
            code::CANCEL => Message::Cancel(Cancel { request: self.request()?, options: self.dict()? }),
            code::RESULT => Message::Result(message::Result {
                request: self.request()?,
                details: self.dict()?,
                payload: self.payload()?,
            }),
            code::REGISTER => Message::Register(Register {
                request: self.request()?,
                options: self.dict()?,
                procedure: self.text()?,
            }),
            code::REGISTERED => Message::Registered(Registered {
                request: self.request()?,
                registration: RegistrationId(self.id()?),
            }),
            code::UNREGISTER => Message::Unregister(Unregister {
                request: self.request()?,
                registration: RegistrationId(self.id()?),
            }),
            code::UNREGISTERED => {
                let (request, details) = self.revocation()?;
                Message::Unregistered(Unregistered { request, details })
            }
            code::INVOCATION => Message::Invocation(Invocation {
                request: self.request()?,
                registration: RegistrationId(self.id()?),
                details: self.dict()?,
                payload: self.payload()?,
            }),
            code::INTERRUPT => {
                Message::Interrupt(Interrupt { request: self.request()?, options: self.dict()? })
            }
            code::YIELD => Message::Yield(Yield {
                request: self.request()?,
                options: self.dict()?,
                payload: self.payload()?,
            }),
            _ => return Err(DecodeError::UnknownMessage(code)),
        })
    }
}

impl<'a, R: Reader<'a>> Elements<'a, R> {
    /// Steps to the next element, if there is one.
    #[inline]
    fn more(&mut self) -> Result<bool, DecodeError> {
        let Some(list) = &mut self.list else { return Ok(false) };
        let more = self.reader.more(list)?;
        if !more {
            self.list = None;
        }
        Ok(more)
    }

    /// Steps to the next element, which must be there.
    #[inline]
    fn next(&mut self) -> Result<&mut R, DecodeError> {
        if !self.more()? {
            return Err(DecodeError::WrongLength);
        }
        Ok(&mut self.reader)
    }

    fn unsigned(&mut self) -> Result<u64, DecodeError> {
        match self.next()?.value()? {
            Token::Unsigned(value) => Ok(value),
            Token::Negative(_) => Err(DecodeError::IdOutOfRange),
            _ => Err(DecodeError::UnexpectedType),
        }
    }

    fn id(&mut self) -> Result<u64, DecodeError> {
        let id = self.unsigned()?;
        if (1..=ID_MAX).contains(&id) { Ok(id) } else { Err(DecodeError::IdOutOfRange) }
    }

    fn request(&mut self) -> Result<RequestId, DecodeError> {
        self.id().map(RequestId)
    }

    fn session(&mut self) -> Result<SessionId, DecodeError> {
        self.id().map(SessionId)
    }

    fn text(&mut self) -> Result<Text<'a>, DecodeError> {
        match self.next()?.value()? {
            Token::Text(text) => Ok(text),
            _ => Err(DecodeError::UnexpectedType),
        }
    }

    /// Options, details or extra: a dictionary whose own keys are texts.
    fn dict(&mut self) -> Result<Dict<'a>, DecodeError> {
        let reader = self.next()?;
        let start = reader.position();
        let Token::Dict(mut dict) = reader.value()? else {
            return Err(DecodeError::UnexpectedType);
        };
        while reader.more(&mut dict)? {
            reader.skip_text_key()?;
            reader.skip(IN_ELEMENT)?;
        }
        Ok(Dict::Raw(Raw::checked(R::SERIALIZER, reader.since(start))))
    }

    /// What UNSUBSCRIBED and UNREGISTERED answer; request 0 and details if they answer nothing.
    fn revocation(&mut self) -> Result<(RequestId, Option<Dict<'a>>), DecodeError> {
        match self.unsigned()? {
            0 => Ok((RequestId::NONE, Some(self.dict()?))),
            id if id <= ID_MAX => Ok((RequestId(id), None)),
            _ => Err(DecodeError::IdOutOfRange),
        }
    }

    /// Arguments and keyword arguments, both optional.
    fn payload(&mut self) -> Result<Payload<'a>, DecodeError> {
        if !self.more()? {
            return Ok(Payload::EMPTY);
        }
        let start = self.reader.position();
        let mut elements = u8::from(arguments(&mut self.reader)?);
        let mut bytes = self.reader.since(start);
        if self.more()? && keyword_arguments(&mut self.reader)? {
            elements = 2;
            bytes = self.reader.since(start);
        }
        Ok(if elements == 0 { Payload::EMPTY } else { Payload::checked(R::SERIALIZER, elements, bytes) })
    }

    /// Checks that nothing follows, in the message and behind it.
    fn end(&mut self) -> Result<(), DecodeError> {
        if self.more()? {
            return Err(DecodeError::WrongLength);
        }
        self.reader.end()
    }
}

/// Walks and checks arguments: a list, or one binary in its place. False if it is null, which autobahn-python sends
/// and takes for arguments that are not there.
pub(super) fn arguments<'a, R: Reader<'a>>(reader: &mut R) -> Result<bool, DecodeError> {
    match reader.value()? {
        Token::List(list) => reader.finish_list(list, IN_MESSAGE)?,
        Token::Binary(_) => {}
        Token::Null => return Ok(false),
        _ => return Err(DecodeError::UnexpectedType),
    }
    Ok(true)
}

/// Walks and checks keyword arguments: a dictionary. False if it is null, as for arguments.
pub(super) fn keyword_arguments<'a, R: Reader<'a>>(reader: &mut R) -> Result<bool, DecodeError> {
    match reader.value()? {
        Token::Dict(dict) => reader.finish_dict(dict, IN_MESSAGE)?,
        Token::Null => return Ok(false),
        _ => return Err(DecodeError::UnexpectedType),
    }
    Ok(true)
}
