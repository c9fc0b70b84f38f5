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
use fanwire::transport::upgrade::RequestHead;
use fanwire::transport::{self, Framing, Link};
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
        pages: Default::default(),
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

/// A shard with the default settings of long-poll's own end.
fn linked(request: &[u8], from: PeerAddress) -> Origin {
    let now = Instant::now();
    let mut shard = shard(now);
    let link = Link { serializer: Serializer::Json, framing: Framing::RawSocket, message_bytes_max: 1 << 20 };
    let key = shard.open_linked(ListenerIndex(0), link, RequestHead::of(request), Arc::new(from.into()), now);
    assert!(shard.transport_facts(key).unwrap().longpoll);
    Origin::clone(shard.origin(key).unwrap())
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

#[test]
fn the_client_of_a_longpoll_transport_is_known_the_same_way() {
    let request = b"POST /lp/open HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
    let proxy = address("10.0.0.1:9");
    assert_eq!(linked(request, proxy).address, address("192.0.2.1:0"));
    assert_eq!(linked(request, PeerAddress::Unix), PeerAddress::Unix.into());
}

#[test]
fn what_http_has_said_is_kept_until_the_peer_has_joined() {
    let now = Instant::now();
    let mut shard = shard(now);
    let from = Arc::new(Origin::from(PeerAddress::Unix));
    let key = shard.open(ListenerIndex(0), false, from.clone(), now);
    assert!(shard.transport_facts(key).is_none(), "nothing is agreed on");
    shard.receive(key, &mut upgrade("X-Token: abc\r\n"), now);
    let facts = shard.transport_facts(key).unwrap();
    assert_eq!(facts.link.framing, Framing::WebSocket);
    let headers = facts.http.unwrap().headers().unwrap();
    assert!(headers.contains(&("x-token".to_owned(), "abc".to_owned())), "{headers:?}");

    let hello = br#"[1,"realm1",{"roles":{"caller":{}}}]"#;
    let mut frame = vec![0x81, 0x80 | hello.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(hello);
    shard.receive(key, &mut frame, now);
    assert_eq!(shard.counters().sessions_joined, 1);
    assert!(shard.transport_facts(key).unwrap().http.is_none());

    let plain = shard.open(ListenerIndex(0), false, from, now);
    shard.receive(plain, &mut b"\x7f\xf1\0\0".to_vec(), now);
    assert!(shard.transport_facts(plain).unwrap().http.is_none(), "RawSocket has no headers");
}
