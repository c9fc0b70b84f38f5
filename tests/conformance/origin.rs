//! What a shard knows of where its peers come from, behind proxies too.

use std::sync::Arc;
use std::time::Instant;

use fanwire::limits::Limits;
use fanwire::origin::{Origin, PeerAddress};
use fanwire::router::authentication::{Access, RouterSettings};
use fanwire::router::{
    Clock, ListenerIndex, ListenerSettings, PeerKey, RealmSettings, RequestIds, Router, Settings, Shard,
    ShardIndex,
};
use fanwire::transport;
use fanwire::wamp::Serializer;

fn address(text: &str) -> PeerAddress {
    PeerAddress::Tcp(text.parse().unwrap())
}

/// A shard that believes the proxies of a network.
fn shard(now: Instant) -> Shard {
    let limits = Limits::DEFAULT;
    let transport = transport::Settings {
        message_bytes_max: limits.message_bytes_max,
        peer_message_bytes_min: 512,
        serializers: [true; Serializer::COUNT],
        rawsocket: true,
        websocket: true,
        longpoll: None,
    };
    let listener = ListenerSettings {
        transport: Arc::new(transport),
        request_ids: RequestIds::Strict,
        forwarded_from: vec!["10.0.0.0/8".parse().unwrap()],
        access: Access::default(),
    };
    let settings = Settings {
        limits,
        realms: vec![RealmSettings::open("realm1")],
        listeners: vec![listener],
        agent: "Fanwire-test".into(),
        authentication: RouterSettings::default(),
    };
    Shard::new(Router::new(settings, 1, Clock::at_epoch(now)), ShardIndex(0), [7; 32])
}

/// What is known after these octets from that address.
fn known(from: PeerAddress, octets: &[u8]) -> Origin {
    let now = Instant::now();
    let mut shard = shard(now);
    let key: PeerKey = shard.open(ListenerIndex(0), false, Arc::new(from.into()), now);
    assert_eq!(**shard.origin(key).unwrap(), from.into());
    shard.receive(key, &mut octets.to_vec(), now);
    Origin::clone(shard.origin(key).unwrap())
}

fn upgrade(forwarded: &str) -> Vec<u8> {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{forwarded}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: wamp.2.json\r\n\r\n"
    );
    request.into_bytes()
}

#[test]
fn a_proxy_that_is_believed_names_the_client_of_a_websocket() {
    let proxy = address("10.0.0.1:9");
    let forwarded = "X-Forwarded-For: 127.0.0.1\r\nx-forwarded-for: 192.0.2.1, 10.9.9.9\r\n";
    let origin = known(proxy, &upgrade(forwarded));
    assert_eq!(origin, Origin { address: address("192.0.2.1:0"), proxy: Some(proxy), tls: None });
    assert_eq!(known(proxy, &upgrade("")), proxy.into());
}

#[test]
fn nobody_else_names_anybody() {
    for from in [address("192.0.2.7:9"), PeerAddress::Unix] {
        assert_eq!(known(from, &upgrade("X-Forwarded-For: 127.0.0.1\r\n")), from.into());
    }
    let proxy = address("10.0.0.1:9");
    assert_eq!(known(proxy, b"\x7f\xf1\0\0"), proxy.into(), "RawSocket has no headers");
}
