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
    Dict, ID_MAX, Payload, PublicationId, Raw, RegistrationId, RequestId, Serializer, SessionId,
    SubscriptionId,
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

    /// An integer of 0 or more. In the binary serializers a whole float up to 2^53 is taken for one, since libraries
    /// in JavaScript, which has no other numbers, write integers of more than 32 bits so.
    fn unsigned(&mut self) -> Result<u64, DecodeError> {
        match self.next()?.value()? {
            Token::Unsigned(value) => Ok(value),
            Token::Float(value)
                if R::SERIALIZER != Serializer::Json
                    && (0.0..=ID_MAX as f64).contains(&value)
                    && value.fract() == 0.0 =>
            {
                Ok(value as u64)
            }
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
        self.next()?.text()
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

#[cfg(test)]
mod tests {
    use super::super::random::hex;
    use super::super::{decode, encode};
    use super::*;
    use crate::limits::PAYLOAD_DEPTH_MAX;
    use crate::wamp::Serializer;

    fn json(text: &str) -> Result<Message<'_>, DecodeError> {
        decode(Serializer::Json, text.as_bytes())
    }

    /// The shortest form of each message, and how many elements may follow.
    const SHORTEST: [(&str, usize); 25] = [
        (r#"[1,"r",{}]"#, 0),
        ("[2,1,{}]", 0),
        (r#"[3,{},"u"]"#, 2),
        (r#"[4,"t",{}]"#, 0),
        (r#"[5,"s",{}]"#, 0),
        (r#"[6,{},"u"]"#, 0),
        (r#"[8,48,1,{},"u"]"#, 2),
        (r#"[16,1,{},"u"]"#, 2),
        ("[17,1,2]", 0),
        (r#"[32,1,{},"u"]"#, 0),
        ("[33,1,2]", 0),
        ("[34,1,2]", 0),
        ("[35,1]", 0),
        ("[36,1,2,{}]", 2),
        (r#"[48,1,{},"u"]"#, 2),
        ("[49,1,{}]", 0),
        ("[50,1,{}]", 2),
        (r#"[64,1,{},"u"]"#, 0),
        ("[65,1,2]", 0),
        ("[66,1,2]", 0),
        ("[67,1]", 0),
        ("[68,1,2,{}]", 2),
        ("[69,1,{}]", 0),
        ("[70,1,{}]", 2),
        ("[337,1]", 0),
    ];

    /// The same message in all serializers.
    fn everywhere(text: &str) -> Vec<(Serializer, Vec<u8>)> {
        let message = json(text).expect(text);
        let encoded = |serializer| {
            let mut out = Vec::new();
            encode(&message, serializer, &mut out).unwrap();
            (serializer, out)
        };
        Serializer::ALL.map(encoded).into()
    }

    #[test]
    fn each_message_has_just_its_elements() {
        for (text, optional) in SHORTEST {
            let open = text.strip_suffix(']').unwrap();
            let payload = ["", ",[1]", ",[],{\"a\":1}"];
            for (count, payload) in payload.iter().enumerate() {
                let longer = format!("{open}{payload}]");
                let decoded = json(&longer).map(drop);
                assert_eq!(decoded.is_ok(), count <= optional, "{longer}: {decoded:?}");
            }
            assert_eq!(json(&format!("{open},[],{{}},1]")).unwrap_err(), DecodeError::WrongLength, "{text}");
            let shorter = &text[..text.rfind(',').unwrap()];
            assert_eq!(json(&format!("{shorter}]")).unwrap_err(), DecodeError::WrongLength, "{text}");
            for (serializer, bytes) in everywhere(text) {
                let message = decode(serializer, &bytes).unwrap();
                assert_eq!(message.name(), json(text).unwrap().name(), "{serializer:?} {text}");
            }
        }
    }

    #[test]
    fn lists_of_indefinite_length_are_messages() {
        for (_, cbor) in
            SHORTEST.iter().flat_map(|(text, _)| everywhere(text)).filter(|(s, _)| *s == Serializer::Cbor)
        {
            let mut bytes = vec![0x9f];
            bytes.extend_from_slice(&cbor[1..]);
            assert_eq!(decode(Serializer::Cbor, &bytes).unwrap_err(), DecodeError::Truncated);
            bytes.push(0xff);
            decode(Serializer::Cbor, &bytes).unwrap();
            bytes.push(0xff);
            assert_eq!(decode(Serializer::Cbor, &bytes).unwrap_err(), DecodeError::TrailingBytes);
        }
    }

    #[test]
    fn ids_are_integers_from_1_to_2_to_the_53rd() {
        assert!(json("[17,9007199254740992,1]").is_ok());
        for (id, error) in [
            ("0", DecodeError::IdOutOfRange),
            ("9007199254740993", DecodeError::IdOutOfRange),
            ("-1", DecodeError::IdOutOfRange),
            ("1.0", DecodeError::UnexpectedType),
            ("1e0", DecodeError::UnexpectedType),
            ("18446744073709551616", DecodeError::UnexpectedType),
            ("\"1\"", DecodeError::UnexpectedType),
            ("null", DecodeError::UnexpectedType),
        ] {
            for text in [format!("[17,{id},1]"), format!("[17,1,{id}]"), format!("[2,{id},{{}}]")] {
                assert_eq!(json(&text).unwrap_err(), error, "{text}");
            }
        }
        assert_eq!(
            decode(Serializer::MessagePack, &hex("93 11 01 ca3f800000")).unwrap_err(),
            DecodeError::UnexpectedType
        );
    }

    #[test]
    fn only_revocations_answer_request_0() {
        for code in [35, 67] {
            assert!(json(&format!("[{code},0,{{}}]")).is_ok());
            assert_eq!(json(&format!("[{code},0]")).unwrap_err(), DecodeError::WrongLength);
            assert_eq!(json(&format!("[{code},1,{{}}]")).unwrap_err(), DecodeError::WrongLength);
            assert_eq!(json(&format!("[{code},9007199254740993]")).unwrap_err(), DecodeError::IdOutOfRange);
        }
        assert_eq!(json(r#"[16,0,{},"u"]"#).unwrap_err(), DecodeError::IdOutOfRange);
    }

    #[test]
    fn what_is_no_message_is_named() {
        for (text, error) in [
            ("", DecodeError::Truncated),
            ("{}", DecodeError::UnexpectedType),
            ("1", DecodeError::UnexpectedType),
            ("[]", DecodeError::WrongLength),
            ("[7]", DecodeError::UnknownMessage(7)),
            ("[40,1]", DecodeError::UnknownMessage(40)),
            ("[18446744073709551615]", DecodeError::UnknownMessage(u64::MAX)),
            ("[\"1\"]", DecodeError::UnexpectedType),
            ("[-1]", DecodeError::IdOutOfRange),
            ("[35,1] x", DecodeError::TrailingBytes),
            ("[16,1,[],\"u\"]", DecodeError::UnexpectedType),
            ("[16,1,{},1]", DecodeError::UnexpectedType),
            ("[16,1,{},\"u\",{}]", DecodeError::UnexpectedType),
            ("[16,1,{},\"u\",\"text\"]", DecodeError::UnexpectedType),
            ("[16,1,{},\"u\",\"\\u0000-\"]", DecodeError::UnexpectedType),
            ("[16,1,{},\"u\",[],[]]", DecodeError::UnexpectedType),
        ] {
            assert_eq!(json(text).unwrap_err(), error, "{text}");
        }
        assert!(json(" [ 35 , 1 ] \r\n").is_ok());
    }

    fn published(text: &str) -> Payload<'_> {
        match json(text) {
            Ok(Message::Publish(publish)) => publish.payload,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn payload_is_the_bytes_of_the_message() {
        for (elements, bytes) in [
            (0, ""),
            (1, "[]"),
            (1, "[1, [2]]"),
            (2, "[ ] , { \"a\" : 1 }"),
            (1, "\"\\u0000AA==\""),
            (2, "null,{}"),
        ] {
            let comma = if elements == 0 { "" } else { "," };
            let text = format!("[16,1,{{}},\"u\"{comma} {bytes} ]");
            let payload = published(&text);
            assert_eq!((payload.elements(), payload.bytes()), (elements, bytes.as_bytes()), "{text}");
        }
    }

    #[test]
    fn texts_of_a_message_are_never_binaries() {
        let subscribe = json(r#"[32,1,{},"\u0000AAEC"]"#);
        assert!(matches!(subscribe, Ok(Message::Subscribe(m)) if m.topic == "\0AAEC"));
        assert_eq!(json("[32,1,{},5]").unwrap_err(), DecodeError::UnexpectedType);
    }

    #[test]
    fn null_stands_for_what_is_not_there() {
        assert_eq!(published("[16,1,{},\"u\",null]").elements(), 0);
        assert_eq!(published("[16,1,{},\"u\",null,null]").elements(), 0);
        assert_eq!(published("[16,1,{},\"u\",[1],null]").bytes(), b"[1]");
    }

    #[test]
    fn keys_are_texts_in_options_and_anything_in_payload() {
        let with = |options: &str, kwargs: &str| hex(&format!("96 10 01 {options} a1 75 90 {kwargs}"));
        let decoded = |bytes: &[u8]| decode(Serializer::MessagePack, bytes).map(drop);
        assert_eq!(decoded(&with("81 a1 61 01", "81 01 90")), Ok(()));
        assert_eq!(decoded(&with("81 a1 61 81 01 01", "81 90 90")), Ok(()));
        assert_eq!(decoded(&with("81 01 01", "80")), Err(DecodeError::UnexpectedType));
        let cbor = hex("84 10 01 a1 01 01 61 75");
        assert_eq!(decode(Serializer::Cbor, &cbor).map(drop), Err(DecodeError::UnexpectedType));
    }

    /// PUBLISH with arguments of that many lists in one another.
    fn nested(serializer: Serializer, lists: usize) -> Vec<u8> {
        match serializer {
            Serializer::Json => {
                format!("[16,1,{{}},\"u\",{}{}]", "[".repeat(lists), "]".repeat(lists)).into_bytes()
            }
            Serializer::MessagePack => [hex("95 10 01 80 a1 75"), vec![0x91; lists - 1], vec![0x90]].concat(),
            Serializer::Cbor => [hex("85 10 01 a0 61 75"), vec![0x9f; lists], vec![0xff; lists]].concat(),
            Serializer::Ubjson => {
                let (open, close) = ("[".repeat(lists), "]".repeat(lists));
                format!("[U\x10U\x01{{}}SU\x01u{open}{close}]").into_bytes()
            }
        }
    }

    #[test]
    fn depth_counts_the_list_of_the_message() {
        for serializer in Serializer::ALL {
            let deepest = nested(serializer, PAYLOAD_DEPTH_MAX - 1);
            let message = decode(serializer, &deepest).unwrap();
            for to in Serializer::ALL {
                let mut out = Vec::new();
                encode(&message, to, &mut out).unwrap();
                decode(to, &out).unwrap();
            }
            for lists in [PAYLOAD_DEPTH_MAX, 100_000] {
                let error = decode(serializer, &nested(serializer, lists)).unwrap_err();
                assert_eq!(error, DecodeError::TooDeep, "{serializer:?} {lists}");
            }
        }
        let options = |depth| format!("[49,1,{}1{}]", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(json(&options(PAYLOAD_DEPTH_MAX - 1)).is_ok());
        assert_eq!(json(&options(PAYLOAD_DEPTH_MAX)).unwrap_err(), DecodeError::TooDeep);
    }

    #[test]
    fn hostile_lengths_are_refused_at_once() {
        for text in [
            "dd ffffffff 10",
            "95 10 01 df ffffffff",
            "95 10 01 80 db ffffffff",
            "95 10 01 80 a1 75 dd ffffffff",
        ] {
            assert_eq!(
                decode(Serializer::MessagePack, &hex(text)).unwrap_err(),
                DecodeError::Truncated,
                "{text}"
            );
        }
        for text in
            ["9b ffffffffffffffff 10", "85 10 01 bb ffffffffffffffff", "85 10 01 a0 7b ffffffffffffffff"]
        {
            assert_eq!(decode(Serializer::Cbor, &hex(text)).unwrap_err(), DecodeError::Truncated, "{text}");
        }
    }
}
