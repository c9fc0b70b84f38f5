//! The specification's own message vectors: every listed encoding decodes to the attributes it should have, encodes
//! again to one of the listed encodings, and says the same as the encodings in the other serializers.
//!
//! The vectors lie beside the checkout, in `../shared/vectors`; they are not part of this repository.

use std::fs;
use std::path::Path;

use fanwire::codec::payload::{to_json, transcode};
use fanwire::codec::{DecodeError, decode, encode, entries, plain_ubjson};
use fanwire::wamp::{Dict, Message, Payload, Serializer, Value};
use serde_json::Value as Json;

/// One message in one encoding.
struct Vector {
    name: String,
    serializer: Serializer,
    bytes: Vec<u8>,
    /// All encodings of the same message in the same serializer.
    variants: Vec<Vec<u8>>,
    expected: Json,
}

fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    let octet = |index| u8::from_str_radix(&text[index..index + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(octet).collect()
}

fn vectors() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors");
    let mut vectors = Vec::new();
    let Ok(entries) = fs::read_dir(&folder) else {
        assert!(
            !std::env::var("CI").is_ok_and(|ci| ci == "true"),
            "no message vectors in {}",
            folder.display()
        );
        eprintln!("SKIPPED: no message vectors in {}", folder.display());
        return vectors;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            read_file(&path, &mut vectors);
        }
    }
    assert!(vectors.len() >= 100, "only {} vectors", vectors.len());
    vectors
}

fn read_file(path: &Path, vectors: &mut Vec<Vector>) {
    let file: Json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    for sample in file["samples"].as_array().unwrap() {
        for serializer in Serializer::ALL {
            let listed = sample["serializers"][serializer.name()].as_array().unwrap();
            let variants: Vec<Vec<u8>> =
                listed.iter().map(|variant| hex(variant["bytes_hex"].as_str().unwrap())).collect();
            for bytes in &variants {
                if decode(serializer, bytes).err() == Some(DecodeError::BjData) {
                    continue;
                }
                vectors.push(Vector {
                    name: format!("{}: {}", file["message"], sample["description"]),
                    serializer,
                    bytes: bytes.clone(),
                    variants: variants.clone(),
                    expected: sample["expected_attributes"].clone(),
                });
            }
        }
    }
}

/// A dictionary as the JSON that the message would be in.
fn dict_json(dict: &Dict<'_>) -> Json {
    let mut object = serde_json::Map::new();
    for (key, value) in entries(dict) {
        object.insert(key.into_owned(), value_json(&value));
    }
    Json::Object(object)
}

fn value_json(value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Unsigned(value) => (*value).into(),
        Value::Signed(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Text(text) => text.as_ref().into(),
        Value::Binary(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
        Value::List(list) => fanwire::codec::items(list).map(|value| value_json(&value)).collect(),
        Value::Dict(dict) => dict_json(dict),
    }
}

/// `args`, `kwargs` and `payload` as the vectors have them.
fn payload_json(payload: Payload<'_>) -> [Json; 3] {
    let (args, kwargs) = fanwire::codec::payload::values(payload);
    let kwargs = if payload.elements() == 2 { dict_json(&kwargs) } else { Json::Null };
    match args {
        Value::Binary(_) => [Json::Null, kwargs, value_json(&args)],
        args => [value_json(&args), kwargs, Json::Null],
    }
}

/// The attributes of a message under the names that the vectors use.
fn attribute(message: &Message<'_>, name: &str) -> Json {
    let [args, kwargs, opaque] = payload_of(message).map_or_else(Default::default, payload_json);
    match (name, message) {
        ("message_type", _) => message.code().into(),
        ("args", _) => args,
        ("kwargs", _) => kwargs,
        ("payload", _) => opaque,
        ("roles", Message::Hello(m)) => dict_json(&m.details)["roles"].clone(),
        ("roles", Message::Welcome(m)) => dict_json(&m.details)["roles"].clone(),
        ("realm", Message::Hello(m)) => m.realm.as_ref().into(),
        ("session_id", Message::Welcome(m)) => m.session.0.into(),
        ("method", Message::Challenge(m)) => m.authmethod.as_ref().into(),
        ("signature", Message::Authenticate(m)) => m.signature.as_ref().into(),
        ("extra", Message::Challenge(m)) => dict_json(&m.extra),
        ("extra", Message::Authenticate(m)) => dict_json(&m.extra),
        ("reason", Message::Abort(m)) => m.reason.as_ref().into(),
        ("reason", Message::Goodbye(m)) => m.reason.as_ref().into(),
        ("error", Message::Error(m)) => m.error.as_ref().into(),
        ("request_type", Message::Error(m)) => m.request_type.into(),
        ("topic", Message::Publish(m)) => m.topic.as_ref().into(),
        ("topic", Message::Subscribe(m)) => m.topic.as_ref().into(),
        ("procedure", Message::Call(m)) => m.procedure.as_ref().into(),
        ("procedure", Message::Register(m)) => m.procedure.as_ref().into(),
        ("details" | "options", _) => dict_json(&dict_of(message)),
        _ => id_of(message, name).into(),
    }
}

fn payload_of<'a>(message: &Message<'a>) -> Option<Payload<'a>> {
    Some(match message {
        Message::Abort(m) => m.payload,
        Message::Error(m) => m.payload,
        Message::Publish(m) => m.payload,
        Message::Event(m) => m.payload,
        Message::Call(m) => m.payload,
        Message::Result(m) => m.payload,
        Message::Invocation(m) => m.payload,
        Message::Yield(m) => m.payload,
        _ => return None,
    })
}

fn dict_of<'a>(message: &Message<'a>) -> Dict<'a> {
    match message {
        Message::Abort(m) => m.details,
        Message::Goodbye(m) => m.details,
        Message::Error(m) => m.details,
        Message::Publish(m) => m.options,
        Message::Subscribe(m) => m.options,
        Message::Event(m) => m.details,
        Message::Call(m) => m.options,
        Message::Cancel(m) => m.options,
        Message::Result(m) => m.details,
        Message::Register(m) => m.options,
        Message::Invocation(m) => m.details,
        Message::Interrupt(m) => m.options,
        Message::Yield(m) => m.options,
        _ => panic!("{} has neither options nor details", message.name()),
    }
}

fn id_of(message: &Message<'_>, name: &str) -> u64 {
    match (name, message) {
        ("request_id", Message::Error(m)) => m.request.0,
        ("request_id", Message::Publish(m)) => m.request.0,
        ("request_id", Message::Published(m)) => m.request.0,
        ("request_id", Message::Subscribe(m)) => m.request.0,
        ("request_id", Message::Subscribed(m)) => m.request.0,
        ("request_id", Message::Unsubscribe(m)) => m.request.0,
        ("request_id", Message::Unsubscribed(m)) => m.request.0,
        ("request_id", Message::Call(m)) => m.request.0,
        ("request_id", Message::Cancel(m)) => m.request.0,
        ("request_id", Message::Result(m)) => m.request.0,
        ("request_id", Message::Register(m)) => m.request.0,
        ("request_id", Message::Registered(m)) => m.request.0,
        ("request_id", Message::Unregister(m)) => m.request.0,
        ("request_id", Message::Unregistered(m)) => m.request.0,
        ("request_id", Message::Invocation(m)) => m.request.0,
        ("request_id", Message::Interrupt(m)) => m.request.0,
        ("request_id", Message::Yield(m)) => m.request.0,
        ("publication_id", Message::Published(m)) => m.publication.0,
        ("publication_id", Message::EventReceived(m)) => m.publication.0,
        ("publication", Message::Event(m)) => m.publication.0,
        ("subscription_id", Message::Subscribed(m)) => m.subscription.0,
        ("subscription_id", Message::Unsubscribe(m)) => m.subscription.0,
        ("subscription", Message::Event(m)) => m.subscription.0,
        ("registration_id", Message::Registered(m)) => m.registration.0,
        ("registration_id", Message::Unregister(m)) => m.registration.0,
        ("registration_id", Message::Invocation(m)) => m.registration.0,
        _ => panic!("{} has no {name}", message.name()),
    }
}

/// True for equal bytes, and in JSON for equal values: dictionaries keep the white space they came with.
fn same(serializer: Serializer, left: &[u8], right: &[u8]) -> bool {
    let json = |bytes| serde_json::from_slice::<Json>(bytes).unwrap();
    left == right || serializer == Serializer::Json && json(left) == json(right)
}

#[test]
fn every_encoding_decodes_to_its_attributes() {
    for vector in vectors() {
        let message = decode(vector.serializer, &vector.bytes).expect(&vector.name);
        for (name, expected) in vector.expected.as_object().unwrap() {
            let found = attribute(&message, name);
            assert_eq!(&found, expected, "{} {:?} {name}", vector.name, vector.serializer);
        }
    }
}

#[test]
fn every_message_encodes_to_a_listed_encoding() {
    for vector in vectors() {
        let message = decode(vector.serializer, &vector.bytes).expect(&vector.name);
        let mut encoded = b"before".to_vec();
        encode(&message, vector.serializer, &mut encoded).unwrap();
        let encoded = encoded.strip_prefix(b"before").unwrap();
        assert!(
            vector.variants.iter().any(|variant| same(vector.serializer, variant, encoded)),
            "{}: {encoded:02x?}",
            vector.name
        );
    }
}

#[test]
fn every_message_crosses_to_every_serializer() {
    let vectors = vectors();
    for vector in &vectors {
        let message = decode(vector.serializer, &vector.bytes).expect(&vector.name);
        for to in Serializer::ALL {
            let mut encoded = Vec::new();
            encode(&message, to, &mut encoded).unwrap();
            let listed = vectors.iter().any(|other| {
                other.serializer == to
                    && other.expected == vector.expected
                    && same(to, &other.bytes, &encoded)
            });
            assert!(listed, "{} {:?} to {to:?}: {encoded:02x?}", vector.name, vector.serializer);
        }
    }
}

#[test]
fn the_payload_of_all_encodings_is_the_same_in_json() {
    let mut seen = Vec::<(String, _)>::new();
    for vector in vectors() {
        let message = decode(vector.serializer, &vector.bytes).expect(&vector.name);
        let Some(payload) = payload_of(&message) else { continue };
        let compact = transcode(payload, Serializer::Cbor).unwrap();
        let json = to_json(compact.borrow()).unwrap();
        match seen.iter().find(|(name, _)| *name == vector.name) {
            Some((_, first)) => assert_eq!(first, &json, "{}", vector.name),
            None => seen.push((vector.name, json)),
        }
    }
    assert!(seen.len() > 15);
}

#[test]
fn every_truncation_is_an_error_and_so_is_every_appendix() {
    for vector in vectors() {
        for length in 0..vector.bytes.len() {
            let error = decode(vector.serializer, &vector.bytes[..length]).unwrap_err();
            // A number in JSON that is cut is another number.
            let cut = error == DecodeError::Truncated || vector.serializer == Serializer::Json;
            assert!(cut, "{} at {length}: {error}", vector.name);
        }
        let mut longer = vector.bytes.clone();
        longer.push(b'0');
        assert_eq!(decode(vector.serializer, &longer).unwrap_err(), DecodeError::TrailingBytes);
    }
}

/// What is the same message in BJData is the same octets, or is known as such.
#[test]
fn bjdata_is_known_by_its_markers() {
    let mut known = 0;
    for vector in vectors().iter().filter(|vector| vector.serializer == Serializer::Ubjson) {
        for variant in vector.variants.iter().filter(|variant| **variant != vector.bytes) {
            assert_eq!(
                decode(Serializer::Ubjson, variant).unwrap_err(),
                DecodeError::BjData,
                "{}",
                vector.name
            );
            assert_eq!(plain_ubjson(variant), Err(DecodeError::BjData), "{}", vector.name);
            known += 1;
        }
    }
    assert!(known > 20 || vectors().is_empty());
}
