//! The shutdown.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fanwire::limits::Limits;
use serde_json::json;

use crate::client::Client;
use crate::setup::serve;

#[test]
fn sessions_get_goodbye_and_the_server_ends_when_the_last_has_answered() {
    let fixture = serve(3, Limits::DEFAULT);
    let mut clients: Vec<Client> = (0..7).map(|_| Client::join(fixture.address)).collect();
    let mut silent = Client::connect(fixture.address);
    silent.open();
    fixture.server.drain();
    for client in &mut clients {
        let goodbye = client.receive();
        assert_eq!((&goodbye[0], &goodbye[2]), (&json!(6), &json!("wamp.close.system_shutdown")));
        client.send(json!([6, {}, "wamp.close.goodbye_and_out"]));
        assert_eq!(client.read_to_end(), b"", "nothing follows GOODBYE");
    }
    assert_eq!(silent.read_to_end(), b"");
    drop((clients, silent));
    fixture.server.join();
    refused(fixture.address);
}

#[test]
fn an_idle_server_ends_at_once() {
    let fixture = serve(4, Limits::DEFAULT);
    let start = Instant::now();
    fixture.server.drain();
    fixture.server.drain();
    fixture.server.join();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn peers_that_do_not_answer_are_cut() {
    let limits = Limits { drain_ms_max: 300, ..Limits::DEFAULT };
    let fixture = serve(2, limits);
    let mut clients: Vec<Client> = (0..4).map(|_| Client::join(fixture.address)).collect();
    let start = Instant::now();
    fixture.server.drain();
    fixture.server.join();
    assert!(start.elapsed() < Duration::from_secs(10), "it does not wait for their answers");
    for client in &mut clients {
        assert_eq!(client.receive()[0], 6);
        assert_eq!(client.read_to_end(), b"");
    }
}

#[test]
fn an_open_call_may_finish() {
    let fixture = serve(2, Limits::DEFAULT);
    let mut callee = Client::join(fixture.address);
    callee.send(json!([64, 1, {}, "com.example.slow"]));
    assert_eq!(callee.receive()[0], 65);
    let mut caller = Client::join(fixture.address);
    caller.send(json!([48, 1, {}, "com.example.slow"]));
    let invocation = callee.receive();
    fixture.server.drain();
    while TcpStream::connect(fixture.address).is_ok() {}
    callee.send(json!([70, invocation[1], {}, ["done"]]));
    assert_eq!(caller.receive()[3][0], "done");
    assert_eq!(caller.receive()[0], 6);
    assert_eq!(callee.receive()[0], 6);
    drop((caller, callee));
    fixture.server.join();
}

fn refused(address: std::net::SocketAddr) {
    let error = TcpStream::connect(address).and_then(|mut stream| stream.write_all(b"x")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}
