//! UBJSON between peers: what is written with types reaches nobody like that, and BJData is refused.

use fanwire::wamp::Serializer;
use serde_json::json;

use crate::wire::{Kind, Wire};

#[test]
fn containers_with_a_type_are_written_plainly_for_subscribers() {
    let mut wire = Wire::new(2, Kind::RawSocket(Serializer::Ubjson));
    let (subscriber, _) = wire.join();
    assert_eq!(wire.ask(subscriber, r#"[32,1,{},"com.example"]"#)[0], 33);
    let (publisher, _) = wire.join();
    // Among the options too.
    let typed = b"[U\x10U\x01{$T#U\x01U\x04_tagSU\x0bcom.example[$i#U\x02\x01\xff{$Z#U\x01U\x01k]";
    wire.send_message_bytes(publisher, typed);
    let event = wire.receive_one(subscriber);
    assert_eq!(
        (&event[3]["_tag"], &event[4], &event[5]),
        (&json!(true), &json!([1, -1]), &json!({"k": null}))
    );
    wire.finish();
}

#[test]
fn a_million_nulls_in_a_few_octets_are_refused() {
    let mut wire = Wire::new(1, Kind::RawSocket(Serializer::Ubjson));
    let (publisher, _) = wire.join();
    wire.send_message_bytes(publisher, b"[U\x10U\x01{}SU\x0bcom.example[$Z#l\0\x0f\x42\x40]");
    assert!(wire.ended(publisher));
    wire.finish();
}

/// Its numbers are little-endian: it must not be guessed what a message means.
#[test]
fn bjdata_is_refused_by_name() {
    for kind in [Kind::RawSocket(Serializer::Ubjson), Kind::WebSocket(Serializer::Ubjson)] {
        for message in [
            &b"[U\x10U\x01{}SU\x0bcom.example[u\0\x01D\0\0\0\0\0\0\xf8\x3f]]"[..],
            b"[U\x10U\x01{}SU\x0bcom.example[[$B#U\x01\xff]]",
            b"[U\x10U\x01{}SU\x0bcom.example[[$Z#U\x02h\0\x3e]]",
        ] {
            let mut wire = Wire::new(1, kind);
            let (publisher, _) = wire.join();
            wire.send_message_bytes(publisher, message);
            let text = "this is BJData and not UBJSON (draft 12); use CBOR or MessagePack";
            let abort = json!([3, {"message": text}, "wamp.error.protocol_violation"]);
            assert_eq!(wire.receive(publisher), [abort]);
            assert!(wire.ended(publisher));
            wire.finish();
        }
    }
}
