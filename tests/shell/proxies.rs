//! Clients behind proxies: the PROXY header before everything else, and what the log says of them.

use std::io::Write;
use std::net::SocketAddr;

use fanwire::config::Config;
use fanwire::limits::Limits;
use fanwire::server::TlsSettings;
use rustix::process::Signal;
use rustls::{ClientConnection, StreamOwned};
use std::sync::Arc;

use crate::client::Client;
use crate::process::Process;
use crate::setup::{Fixture, serve_config};
use crate::tls::Authority;

const TEXT: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 80\r\n";

const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x02\xc6\x33\x64\x02\x12\x68\0\x50";

/// A server behind proxies of these networks.
fn serve_behind(networks: &[&str], tls: Option<TlsSettings>) -> Fixture {
    let listen = if tls.is_some() { "127.0.0.1:0?tls=shared" } else { "127.0.0.1:0" };
    let listens = vec![listen.parse().unwrap()];
    let proxy_protocol_from = networks.iter().map(|network| network.parse().unwrap()).collect();
    let limits = Limits { handshake_ms_max: 500, ..Limits::DEFAULT };
    serve_config(Config { listens, tls, proxy_protocol_from, limits, ..Config::default() })
}

#[test]
fn a_proxy_begins_with_a_header_and_the_client_follows() {
    let fixture = serve_behind(&["127.0.0.0/8"], None);
    for header in [TEXT, BINARY, b"PROXY UNKNOWN\r\n"] {
        let mut client = Client::connect(fixture.address);
        client.stream.write_all(header).unwrap();
        client.open();
        client.hello();
        // Cut everywhere.
        let mut client = Client::connect(fixture.address);
        for octet in header {
            client.stream.write_all(&[*octet]).unwrap();
        }
        client.open();
        client.hello();
    }
    fixture.end();
}

#[test]
fn tls_follows_the_header() {
    let authority = Authority::new();
    let fixture = serve_behind(&["127.0.0.1"], Some(authority.settings()));
    let config = Arc::new(authority.trusting());
    let mut plain = Client::connect(fixture.address);
    plain.stream.write_all(TEXT).unwrap();
    plain.open();
    plain.hello();
    let mut socket = Client::connect(fixture.address).stream;
    socket.write_all(BINARY).unwrap();
    let session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut encrypted = Client { stream: StreamOwned::new(session, socket) };
    encrypted.open();
    encrypted.hello();
    drop((plain, encrypted));
    fixture.end();
}

#[test]
fn a_proxy_without_its_header_is_not_served_and_others_need_none() {
    let fixture = serve_behind(&["127.0.0.1"], None);
    for beginning in [&b"\x7f\xf1\0\0"[..], b"GET / HTTP/1.1\r\n\r\n", b"PROXY what\r\n", b"PROXY", b""] {
        let mut client = Client::connect(fixture.address);
        client.stream.write_all(beginning).unwrap();
        assert_eq!(client.read_to_end(), b"", "{beginning:?}");
    }
    fixture.end();
    let fixture = serve_behind(&["192.0.2.0/24", "unix"], None);
    drop(Client::join(fixture.address));
    let mut client = Client::connect(fixture.address);
    client.stream.write_all(TEXT).unwrap();
    assert!(client.read_to_end().starts_with(b"HTTP/1.1 400 "), "it is no good beginning from elsewhere");
    fixture.end();
}

#[test]
fn the_log_names_the_client_and_not_the_proxy() {
    let mut process =
        Process::serve(&["--listen=127.0.0.1:0", "--shards=1", "--proxy-protocol-from=127.0.0.0/8"]);
    let address: SocketAddr = process.address();
    let mut client = Client::connect(address);
    client.stream.write_all(&[TEXT, &[0xFF]].concat()).unwrap();
    assert_eq!(client.read_to_end(), b"");
    process.signal(Signal::TERM);
    let (code, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("192.0.2.1:4711") && log.contains("neither RawSocket nor HTTP"), "{log}");
}

#[test]
fn the_log_names_the_client_that_an_http_proxy_has_named() {
    let mut process = Process::serve(&["--listen=127.0.0.1:0", "--shards=1", "--forwarded-from=127.0.0.1"]);
    let mut client = Client::connect(process.address());
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Protocol: wamp.2.json\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
    // An unmasked frame follows, which is none of a client.
    client.stream.write_all(&[request.as_bytes(), &[0x81, 1, b'x']].concat()).unwrap();
    assert!(client.read_to_end().starts_with(b"HTTP/1.1 101 "));
    process.signal(Signal::TERM);
    let (code, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("peer=203.0.113.9:0") && log.contains("violation"), "{log}");
}
