//! What must hold of any bytes; the targets beside this file call it.

use fanwire::codec::payload::values;
use fanwire::codec::{TranscodeError, decode, encode, entries, items};
use fanwire::wamp::{Dict, Message, Payload, Serializer, Value};

/// What decodes is written again in the same serializer, and read again as the same message.
pub fn decode_again(serializer: Serializer, bytes: &[u8]) {
    let Ok(message) = decode(serializer, bytes) else { return };
    read_payload(&message);
    let encoded = recode(&message, serializer).expect("a serializer can write what it has read");
    let again = decode(serializer, &encoded).expect("what was written can be read");
    assert_eq!(format!("{message:?}"), format!("{again:?}"));
}

/// What decodes can be written in every serializer that has a form for it, and reads there as it should.
///
/// MessagePack and CBOR lose nothing to one another but form: after one crossing nothing changes any more. What was
/// written in JSON comes back from CBOR and from UBJSON byte for byte.
pub fn cross(from: Serializer, bytes: &[u8]) {
    let Ok(message) = decode(from, bytes) else { return };
    let crossed = |message: &Message<'_>, to| {
        let encoded = recode(message, to).expect("keys are texts, or may be anything");
        let again = decode(to, &encoded).expect("what was written can be read");
        assert_eq!(again.code(), message.code());
        read_payload(&again);
        encoded
    };
    let msgpack = crossed(&message, Serializer::MessagePack);
    let cbor = crossed(&decode(Serializer::MessagePack, &msgpack).unwrap(), Serializer::Cbor);
    let msgpack = crossed(&decode(Serializer::Cbor, &cbor).unwrap(), Serializer::MessagePack);
    assert_eq!(crossed(&decode(Serializer::MessagePack, &msgpack).unwrap(), Serializer::Cbor), cbor);

    let json = match recode(&decode(Serializer::Cbor, &cbor).unwrap(), Serializer::Json) {
        Ok(json) => json,
        Err(error) => return assert_eq!(error, TranscodeError::KeyNotText),
    };
    for through in [Serializer::Cbor, Serializer::Ubjson] {
        let crossing = crossed(&decode(Serializer::Json, &json).unwrap(), through);
        let again = crossed(&decode(through, &crossing).unwrap(), Serializer::Json);
        assert_eq!(String::from_utf8(again), String::from_utf8(json.clone()));
    }
}

fn recode(message: &Message<'_>, to: Serializer) -> Result<Vec<u8>, TranscodeError> {
    let mut out = Vec::new();
    encode(message, to, &mut out).map(|()| out)
}

/// Reads all of a message's payload, value by value.
fn read_payload(message: &Message<'_>) {
    let payload = match message {
        Message::Abort(m) => m.payload,
        Message::Error(m) => m.payload,
        Message::Publish(m) => m.payload,
        Message::Event(m) => m.payload,
        Message::Call(m) => m.payload,
        Message::Result(m) => m.payload,
        Message::Invocation(m) => m.payload,
        Message::Yield(m) => m.payload,
        _ => Payload::EMPTY,
    };
    let (args, kwargs) = values(payload);
    read(&args);
    read_dict(&kwargs);
}

fn read(value: &Value<'_>) {
    match value {
        Value::List(list) => items(list).for_each(|item| read(&item)),
        Value::Dict(dict) => read_dict(dict),
        _ => {}
    }
}

fn read_dict(dict: &Dict<'_>) {
    entries(dict).for_each(|(_, value)| read(&value));
}
