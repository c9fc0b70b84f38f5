//! UBJSON between peers: what is written in another of its dialects reaches nobody in that dialect.

use fanwire::wamp::Serializer;
use serde_json::json;

use crate::wire::{Kind, Wire};

#[test]
fn dialects_are_written_plainly_for_subscribers() {
    let mut wire = Wire::new(2, Kind::RawSocket(Serializer::Ubjson));
    let (subscriber, _) = wire.join();
    assert_eq!(wire.ask(subscriber, r#"[32,1,{},"com.example"]"#)[0], 33);
    let (publisher, _) = wire.join();
    // BJData: -300 and 1.5, little-endian; the 16-bit integer tells the dialect.
    let bjdata = b"[U\x10U\x01{}SU\x0bcom.example[u\0\x01I\xd4\xfeD\0\0\0\0\0\0\xf8\x3f[$B#U\x01\xff]]";
    wire.send_message_bytes(publisher, bjdata);
    assert_eq!(wire.receive_one(subscriber)[4], json!([256, -300, 1.5, "\u{0}/w=="]));
    // Containers with a type: among the options too.
    let typed = b"[U\x10U\x02{$T#U\x01U\x04_tagSU\x0bcom.example[$i#U\x02\x01\xff{$Z#U\x01U\x01k]";
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
