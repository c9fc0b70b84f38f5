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

#[cfg(test)]
mod tests {
    use super::super::payload::OwnedPayload;
    use super::super::random::hex;
    use super::super::{check, decode, encode};
    use super::*;
    use crate::wamp::message::{Event, Publish, Unregistered};
    use crate::wamp::{List, PublicationId, RequestId, Serializer, SubscriptionId, Value};

    fn encoded(message: &Message<'_>, serializer: Serializer) -> Vec<u8> {
        let mut out = Vec::new();
        encode(message, serializer, &mut out).unwrap();
        out
    }

    fn event<'a>(details: Dict<'a>, payload: Payload<'a>) -> Message<'a> {
        let (subscription, publication) = (SubscriptionId(1), PublicationId(2));
        Message::Event(Event { subscription, publication, details, payload })
    }

    #[test]
    fn built_dictionaries_and_lists_are_written_in_their_order() {
        let features = [("shared", Value::Bool(true)), ("none", Value::Dict(Dict::EMPTY))];
        let list = [Value::Null, Value::Signed(-7), Value::Float(0.5), Value::Binary([1].as_slice().into())];
        let pairs = [
            ("b", Value::Dict(Dict::Pairs(&features))),
            ("a", Value::List(List::Values(&list))),
            ("a", Value::text("twice")),
        ];
        let message = event(Dict::Pairs(&pairs), Payload::EMPTY);
        let json = br#"[36,1,2,{"b":{"shared":true,"none":{}},"a":[null,-7,0.5,"\u0000AQ=="],"a":"twice"}]"#;
        assert_eq!(encoded(&message, Serializer::Json), json);
        let msgpack = hex("94 24 01 02 83 a162 82 a6736861726564 c3 a46e6f6e65 80 \
             a161 94 c0 f9 cb3fe0000000000000 c401 01 a161 a57477696365");
        assert_eq!(encoded(&message, Serializer::MessagePack), msgpack);
    }

    #[test]
    fn custom_attributes_follow_the_pairs() {
        let text = r#"{"x":1,"_ab":2, "_trace" : [1, {"y":"\u00e9"}], "_A_B":3,"_id_":null}"#;
        let options = check(Serializer::Json, text.as_bytes()).unwrap();
        let pairs = [("topic", Value::text("t"))];
        let extended = event(Dict::Extended(&pairs, options), Payload::EMPTY);
        let json = br#"[36,1,2,{"topic":"t","_trace":[1, {"y":"\u00e9"}],"_id_":null}]"#;
        assert_eq!(encoded(&extended, Serializer::Json), json);
        let msgpack =
            hex("94 24 01 02 83 a5746f706963 a174 a65f7472616365 92 01 81 a179 a2c3a9 a45f69645f c0");
        assert_eq!(encoded(&extended, Serializer::MessagePack), msgpack);
        let cbor =
            hex("84 18 24 01 02 a3 65746f706963 6174 665f7472616365 82 01 a1 6179 62c3a9 645f69645f f6");
        assert_eq!(encoded(&extended, Serializer::Cbor), cbor);
        let alone = event(Dict::Extended(&[], options), Payload::EMPTY);
        assert!(encoded(&alone, Serializer::Cbor).starts_with(&hex("84 18 24 01 02 a2 66")));
    }

    #[test]
    fn an_error_leaves_the_output_as_it_was() {
        let bytes = hex("96 10 01 80 a1 75 90 81 c4 00 01");
        let message = decode(Serializer::MessagePack, &bytes).unwrap();
        let mut out = b"kept".to_vec();
        assert_eq!(encode(&message, Serializer::Json, &mut out), Err(TranscodeError::KeyNotText));
        assert_eq!(out, b"kept");
        encode(&message, Serializer::MessagePack, &mut out).unwrap();
        assert_eq!(out.strip_prefix(b"kept"), Some(bytes.as_slice()));
    }

    #[test]
    fn payload_of_the_same_serializer_is_copied_byte_for_byte() {
        let text = r#"[16,7,{"a" : 1},"u", [1 ,2] , {"k": "\u0061"}]"#;
        let message = decode(Serializer::Json, text.as_bytes()).unwrap();
        let json = br#"[16,7,{"a" : 1},"u",[1 ,2] , {"k": "\u0061"}]"#;
        assert_eq!(encoded(&message, Serializer::Json), json);
        let msgpack = hex("96 10 07 81 a161 01 a175 92 01 02 81 a16b a161");
        assert_eq!(encoded(&message, Serializer::MessagePack), msgpack);
    }

    #[test]
    fn revocations_have_details_and_answers_do_not() {
        let answer = Message::Unregistered(Unregistered { request: RequestId(3), details: None });
        assert_eq!(encoded(&answer, Serializer::Json), b"[67,3]");
        let details = Some(Dict::EMPTY);
        let revocation = Message::Unregistered(Unregistered { request: RequestId::NONE, details });
        assert_eq!(encoded(&revocation, Serializer::Json), b"[67,0,{}]");
    }

    #[test]
    fn keyword_arguments_alone_come_with_an_empty_list() {
        for serializer in Serializer::ALL {
            let owned = OwnedPayload::from_values(serializer, &[], &[("a", Value::Null)]).unwrap();
            let publish = Publish {
                request: RequestId(1),
                options: Dict::EMPTY,
                topic: "u".into(),
                payload: owned.borrow(),
            };
            let out = encoded(&Message::Publish(publish), Serializer::Json);
            assert_eq!(out, br#"[16,1,{},"u",[],{"a":null}]"#);
        }
    }
}
