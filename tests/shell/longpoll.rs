//! The HTTP long-poll transport: plain requests over real sockets, against a whole server.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use fanwire::bridge::batch;
use fanwire::config::Config;
use fanwire::limits::Limits;
use fanwire::server::{Address, Server};
use fanwire::wamp::Serializer;
use serde_json::{Value, json};
use socket2::SockRef;

use crate::client::{Client, PATIENCE, hello_message};
use crate::setup::{Fixture, serve};

/// One connection that sends requests and reads answers.
struct Http {
    stream: TcpStream,
    ahead: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Http {
    fn connect(address: SocketAddr) -> Http {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Http { stream, ahead: Vec::new() }
    }

    fn write(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap();
    }

    fn post(&mut self, path: &str, body: &[u8]) -> Answer {
        self.write(&request(path, body));
        self.answer()
    }

    /// Reads the next answer.
    fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    /// The same; none if the connection ends before.
    fn try_answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.ahead.windows(4).position(|octets| octets == b"\r\n\r\n") {
                break end + 4;
            }
            self.read_more()?;
        };
        let head = String::from_utf8(self.ahead.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.ahead.len() < length {
            self.read_more()?;
        }
        answer.body = self.ahead.drain(..length).collect();
        Some(answer)
    }

    /// True if octets have come that were not read.
    fn has_answer(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        peeked.is_ok()
    }

    fn read_more(&mut self) -> Option<()> {
        let mut octets = [0; 4096];
        match self.stream.read(&mut octets) {
            Ok(0) => None,
            Ok(bytes) => {
                self.ahead.extend_from_slice(&octets[..bytes]);
                Some(())
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn assert_ended(&mut self) {
        assert!(self.try_answer().is_none());
    }
}

/// Those of every server here. A client that polls no more is found out late, and shutdowns wait for it.
fn limits() -> Limits {
    Limits { goodbye_ms_max: 500, ..Limits::DEFAULT }
}

fn request(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A client with one transport and two connections, as browsers have.
struct Polling {
    up: Http,
    down: Http,
    base: String,
}

impl Polling {
    fn open(address: SocketAddr) -> Polling {
        Polling::open_as(address, "wamp.2.json")
    }

    fn open_as(address: SocketAddr, protocol: &str) -> Polling {
        let mut up = Http::connect(address);
        let opened = up.post("/lp/open", json!({"protocols": [protocol]}).to_string().as_bytes()).json();
        assert_eq!(opened["protocol"], protocol);
        let base = format!("/lp/{}", opened["transport"].as_str().unwrap());
        Polling { up, down: Http::connect(address), base }
    }

    fn join(address: SocketAddr) -> Polling {
        let mut polling = Polling::open(address);
        polling.send(&hello_message());
        assert_eq!(polling.receive()[0], 2);
        polling
    }

    fn path(&self, of: &str) -> String {
        format!("{}/{of}", self.base)
    }

    fn send(&mut self, message: &Value) {
        let answer = self.post_up("send", message.to_string().as_bytes());
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{answer:?}");
    }

    fn post_up(&mut self, of: &str, body: &[u8]) -> Answer {
        let path = self.path(of);
        self.up.post(&path, body)
    }

    fn poll(&mut self) -> Answer {
        let path = self.path("receive");
        self.down.post(&path, b"")
    }

    /// Begins a `receive` on the second connection.
    fn await_message(&mut self) {
        let path = self.path("receive");
        self.down.write(&request(&path, b""));
    }

    fn receive(&mut self) -> Value {
        self.poll().json()
    }

    fn subscribe(&mut self, topic: &str) {
        self.send(&json!([32, 1, {}, topic]));
        assert_eq!(self.receive()[0], 33);
    }
}

fn published(request: u64, topic: &str, argument: impl Into<Value>) -> Value {
    json!([16, request, {}, topic, [argument.into()]])
}

fn assert_serving(address: SocketAddr) {
    let mut subscriber = Polling::join(address);
    subscriber.subscribe("com.example.alive");
    let mut publisher = Client::join(address);
    publisher.send(published(1, "com.example.alive", "yes"));
    assert_eq!(subscriber.receive()[4][0], "yes");
}

#[test]
fn clients_that_poll_are_peers_like_any_other() {
    let fixture = serve(2, limits());
    let mut first = Polling::join(fixture.address);
    let mut second = Polling::join(fixture.address);
    let mut third = Client::join(fixture.address);
    first.subscribe("com.example.topic");
    second.subscribe("com.example.topic");
    third.subscribe(1, "com.example.topic");
    first.await_message();
    second.send(&published(2, "com.example.topic", 1));
    assert_eq!(first.down.answer().json()[4][0], 1);
    third.send(published(2, "com.example.topic", 2));
    assert_eq!(first.receive()[4][0], 2);
    assert_eq!(second.receive()[4][0], 2);
    assert_eq!(third.event(), 1);

    second.send(&json!([64, 3, {}, "com.example.add"]));
    assert_eq!(second.receive()[0], 65);
    second.await_message();
    first.send(&json!([48, 2, {}, "com.example.add", [1, 2]]));
    let invocation = second.down.answer().json();
    assert_eq!(invocation[4], json!([1, 2]));
    second.send(&json!([70, invocation[1], {}, [3]]));
    assert_eq!(first.receive()[3][0], 3);

    first.send(&json!([6, {}, "wamp.close.close_realm"]));
    assert_eq!(first.receive()[0], 6);
    assert_eq!(first.post_up("close", b"").status, 204);
    drop((first, second, third));
    fixture.end();
}

/// Requests on several connections come in any order, so their ids do too.
#[test]
fn requests_may_overtake_one_another() {
    let fixture = serve(2, limits());
    let mut client = Polling::join(fixture.address);
    for request in [3, 1, 2] {
        client.send(&json!([48, request, {}, "wamp.session.count"]));
        assert_eq!(client.receive(), json!([50, request, {}, [1]]));
    }
    drop(client);
    fixture.end();
}

#[test]
fn every_protocol_has_its_bodies() {
    let fixture = serve(2, limits());
    let hello_msgpack = b"\x93\x01\xa6realm1\x81\xa5roles\x81\xaasubscriber\x80";
    let hello_cbor = b"\x83\x01\x66realm1\xa1\x65roles\xa1\x6asubscriber\xa0";
    let hello_ubjson = b"[U\x01SU\x06realm1{U\x05roles{U\x0asubscriber{}}}]";
    let hello_json = hello_message().to_string();
    for (name, serializer, hello) in [
        ("json", Serializer::Json, hello_json.as_bytes()),
        ("msgpack", Serializer::MessagePack, hello_msgpack),
        ("cbor", Serializer::Cbor, hello_cbor),
        ("ubjson", Serializer::Ubjson, hello_ubjson),
        // With a list that has a type, which is read and not passed on.
        ("ubjson", Serializer::Ubjson, b"[U\x01SU\x06realm1{U\x05roles{U\x0asubscriber{}}U\x01x[$T#U\x01}]"),
    ] {
        let mut single = Polling::open_as(fixture.address, &format!("wamp.2.{name}"));
        assert_eq!(single.post_up("send", hello).status, 204);
        let welcome = single.poll();
        assert!(welcome.header("content-type").unwrap().contains(name), "{welcome:?}");
        let code = |message: &[u8]| fanwire::codec::decode(serializer, message).unwrap().code();
        assert_eq!(code(&welcome.body), 2);

        let mut batched = Polling::open_as(fixture.address, &format!("wamp.2.{name}.batched"));
        let mut body = Vec::new();
        batch::append(serializer, hello, &mut body);
        assert_eq!(batched.post_up("send", &body).status, 204);
        let welcome = batched.poll();
        let messages = batch::split(serializer, &welcome.body).unwrap();
        assert_eq!(messages.iter().map(|message| code(message)).collect::<Vec<_>>(), [2]);
    }
    fixture.end();
}

#[test]
fn a_batch_has_all_that_waits_and_no_batch_one_message() {
    let fixture = serve(1, limits());
    let mut batched = Polling::open_as(fixture.address, "wamp.2.json.batched");
    let subscribe = json!([32, 1, {}, "com.example.topic"]);
    let body = format!("{}\u{1e}{subscribe}\u{1e}", hello_message());
    assert_eq!(batched.post_up("send", body.as_bytes()).status, 204);
    let mut codes = Vec::new();
    let take = |answer: Answer, codes: &mut Vec<Value>| {
        for message in batch::split(Serializer::Json, &answer.body).unwrap() {
            let message: Value = serde_json::from_slice(message).unwrap();
            codes.push(if message[0] == 36 { message[4][0].clone() } else { message[0].clone() });
        }
    };
    while codes.len() < 2 {
        take(batched.poll(), &mut codes);
    }
    assert_eq!(codes, [2, 33]);
    let mut single = Polling::join(fixture.address);
    single.subscribe("com.example.topic");
    let mut publisher = Client::join(fixture.address);
    codes.clear();
    for number in 1..=50 {
        publisher.send(published(number, "com.example.topic", number));
    }
    for number in 1..=50 {
        assert_eq!(single.receive()[4][0], number, "one at a time, in order");
    }
    let mut polls = 0;
    while codes.len() < 50 {
        take(batched.poll(), &mut codes);
        polls += 1;
    }
    assert_eq!(codes, (1..=50).map(Value::from).collect::<Vec<_>>());
    assert!(polls < 50, "they were waiting, so they come together");
    drop(publisher);
    fixture.end();
}

#[test]
fn large_messages_pass_and_larger_ones_do_not() {
    let fixture = serve(2, limits());
    let mut first = Polling::join(fixture.address);
    let mut second = Polling::join(fixture.address);
    first.subscribe("com.example.topic");
    let large = "x".repeat((1 << 20) - 100);
    second.send(&published(1, "com.example.topic", large.clone()));
    assert_eq!(first.receive()[4][0], large);
    let larger = published(2, "com.example.topic", "x".repeat(1 << 20)).to_string();
    let path = second.path("send");
    second.up.write(
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", larger.len()).as_bytes(),
    );
    assert_eq!(second.up.answer().status, 413, "before the body was sent");
    second.up.assert_ended();
    second.up = Http::connect(fixture.address);
    second.send(&published(2, "com.example.topic", "later"));
    assert_eq!(first.receive()[4][0], "later");
    fixture.end();
}

#[test]
fn receive_waits_at_most_its_time() {
    let limits = Limits { longpoll_receive_ms_max: 50, ..limits() };
    let fixture = serve(1, limits);
    let mut polling = Polling::join(fixture.address);
    for _ in 0..3 {
        let start = Instant::now();
        let answer = polling.poll();
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        assert!(start.elapsed() >= Duration::from_millis(50));
    }
    polling.subscribe("com.example.topic");
    fixture.end();
}

#[test]
fn a_second_receive_takes_the_place_of_the_first() {
    let fixture = serve(1, limits());
    let mut polling = Polling::join(fixture.address);
    let mut second = Http::connect(fixture.address);
    assert_eq!(second.post("/lp/nobody/receive", b"").status, 404);
    polling.await_message();
    second.write(&request(&polling.path("receive"), b""));
    // Which of two connections is read first is not promised.
    while !polling.down.has_answer() && !second.has_answer() {
        std::thread::yield_now();
    }
    if second.has_answer() {
        std::mem::swap(&mut polling.down, &mut second);
    }
    assert_eq!(polling.down.answer().status, 204);
    polling.send(&json!([32, 1, {}, "com.example.topic"]));
    assert_eq!(second.answer().json()[0], 33);
    fixture.end();
}

#[test]
fn a_receive_that_was_given_up_loses_nothing() {
    let fixture = serve(1, limits());
    for reset in [false, true] {
        let mut polling = Polling::join(fixture.address);
        polling.await_message();
        if reset {
            SockRef::from(&polling.down.stream).set_linger(Some(Duration::ZERO)).unwrap();
        } else {
            polling.down.stream.shutdown(Shutdown::Write).unwrap();
            polling.down.assert_ended();
        }
        polling.down = Http::connect(fixture.address);
        polling.subscribe("com.example.topic");
    }
    assert_serving(fixture.address);
    fixture.end();
}

/// Waits until nobody has registered the procedure: sessions leave in their own time.
fn wait_until_free(address: SocketAddr, procedure: &str) {
    let mut other = Client::join(address);
    for request in 1.. {
        other.send(json!([64, request, {}, procedure]));
        if other.receive()[0] == 65 {
            return;
        }
    }
}

#[test]
fn close_ends_the_session_and_the_transport() {
    let fixture = serve(2, limits());
    let mut polling = Polling::join(fixture.address);
    polling.send(&json!([64, 1, {}, "com.example.add"]));
    assert_eq!(polling.receive()[0], 65);
    polling.await_message();
    assert_eq!(polling.post_up("close", b"").status, 204);
    assert_eq!(polling.down.answer().status, 204, "who waits is told");
    for of in ["receive", "send", "close"] {
        assert_eq!(polling.post_up(of, b"[]").status, 404, "{of}");
    }
    wait_until_free(fixture.address, "com.example.add");
    fixture.end();
}

#[test]
fn what_was_sent_before_close_is_heard() {
    let fixture = serve(2, limits());
    let mut subscriber = Client::join(fixture.address);
    subscriber.subscribe(1, "com.example.topic");
    for number in 0..20 {
        let mut polling = Polling::join(fixture.address);
        let send =
            request(&polling.path("send"), published(1, "com.example.topic", number).to_string().as_bytes());
        let close = request(&polling.path("close"), b"");
        polling.up.write(&[send, close].concat());
        assert_eq!((polling.up.answer().status, polling.up.answer().status), (204, 204));
        assert_eq!(subscriber.event(), number);
    }
    drop(subscriber);
    fixture.end();
}

#[test]
fn idle_transports_end() {
    let limits = Limits { longpoll_idle_ms_max: 100, longpoll_receive_ms_max: 400, ..limits() };
    let fixture = serve(1, limits);
    let mut polling = Polling::join(fixture.address);
    polling.send(&json!([64, 1, {}, "com.example.add"]));
    assert_eq!(polling.receive()[0], 65);
    assert_eq!(polling.poll().status, 204, "who waits is not idle");
    wait_until_free(fixture.address, "com.example.add");
    assert_eq!(polling.post_up("receive", b"").status, 404);
    fixture.end();
}

#[test]
fn breaking_wamps_rules_is_answered_with_abort_and_then_it_is_gone() {
    let fixture = serve(1, limits());
    let mut polling = Polling::open(fixture.address);
    polling.send(&published(1, "com.example.topic", 1));
    let abort = polling.receive();
    assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!("wamp.error.protocol_violation")));
    let answer = polling.poll();
    assert!(matches!(answer.status, 204 | 404), "{answer:?}");
    assert_eq!(polling.poll().status, 404);
    fixture.end();
}

#[test]
fn bodies_that_are_no_messages_leave_no_trace() {
    let fixture = serve(1, limits());
    let mut polling = Polling::join(fixture.address);
    for body in [&b""[..], b"[", b"{}", b"[16, 1]", b"hello", b"\xff\xff", b"[32, 1, {}, \"a.b\"]\x1e"] {
        assert_eq!(polling.post_up("send", body).status, 400, "{body:?}");
    }
    polling.subscribe("com.example.topic");
    let mut batched = Polling::open_as(fixture.address, "wamp.2.json.batched");
    let half = format!("{}\u{1e}[32, 1", hello_message());
    for body in [half.as_bytes(), b"", b"\x1e", hello_message().to_string().as_bytes()] {
        assert_eq!(batched.post_up("send", body).status, 400, "{body:?}");
    }
    let whole = format!("{}\u{1e}", hello_message());
    assert_eq!(batched.post_up("send", whole.as_bytes()).status, 204, "HELLO for the first time");
    let welcome = batched.poll();
    assert!(welcome.body.starts_with(b"[2,") && welcome.body.ends_with(b"\x1e"));
    fixture.end();
}

#[test]
fn requests_that_make_no_sense_are_answered_and_disturb_nobody() {
    let fixture = serve(2, limits());
    let mut polling = Polling::join(fixture.address);
    polling.subscribe("com.example.topic");
    let receive = polling.path("receive");
    for (status, request) in [
        (400, "POST /lp/open HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned()),
        (400, "POST /lp/open HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[]".to_owned()),
        (400, "POST /lp/open HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}".to_owned()),
        (400, "POST /lp/open HTTP/1.1\r\nHost: a\r\nContent-Length: 16\r\n\r\n{\"protocols\":[]}".to_owned()),
        (400, "POST /lp/open HTTP/1.1\r\nHost: a\r\nContent-Length: 16\r\n\r\n{\"protocols\": 1}".to_owned()),
        (
            400,
            "POST /lp/open HTTP/1.1\r\nHost: a\r\nContent-Length: 17\r\n\r\n{\"protocols\":[1]}".to_owned(),
        ),
        (400, "POST /lp/open HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_owned()),
        (400, "POST /lp/open HTTP/1.1\r\nContent-Length: 0\r\n\r\n".to_owned()),
        (
            400,
            "POST /lp/open HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"
                .to_owned(),
        ),
        (400, "POST /lp/open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n".to_owned()),
        (501, "POST /lp/open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned()),
        (413, "POST /lp/open HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n".to_owned()),
        (413, format!("POST {receive} HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n")),
        (405, format!("GET {receive} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (405, "GET /lp HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (405, "PUT /lp/open HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (404, "POST /lp HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (404, "POST /lp/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (404, "POST /lp/open/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (404, "POST /lp/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (404, "POST /lp/x/receive HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (404, "POST /lp//receive HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (404, format!("POST {receive}/x HTTP/1.1\r\nHost: a\r\n\r\n")),
        (404, format!("POST {}/peek HTTP/1.1\r\nHost: a\r\n\r\n", polling.base)),
        (405, "POST /other HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (405, "POST /lpx/open HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
    ] {
        let mut http = Http::connect(fixture.address);
        http.write(request.as_bytes());
        let answer = http.answer();
        assert_eq!(answer.status, status, "{request:?} {answer:?}");
        // On a connection that has served before, all is the same.
        let mut used = Http::connect(fixture.address);
        assert_eq!(used.post("/lp/none/receive", b"").status, 404);
        used.write(request.as_bytes());
        assert_eq!(used.answer().status, status, "{request:?}");
    }
    let mut publisher = Client::join(fixture.address);
    publisher.send(published(1, "com.example.topic", "still here"));
    assert_eq!(polling.receive()[4][0], "still here");
    drop(publisher);
    fixture.end();
}

/// A generator of pseudo-random numbers (xorshift), the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn damaged_requests_disturb_nobody() {
    let fixture = serve(2, limits());
    let mut polling = Polling::join(fixture.address);
    polling.subscribe("com.example.topic");
    let chunked = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let good = [
        request("/lp/open", br#"{"protocols": ["wamp.2.json"]}"#),
        request("/lp/nobody/receive", b""),
        format!("POST /lp/nobody/send HTTP/1.1\r\nHost: a\r\n{chunked}").into_bytes(),
        b"OPTIONS /lp/open HTTP/1.1\r\nHost: a\r\nOrigin: b\r\n\r\n".to_vec(),
    ];
    let mut random = Random(88);
    for _ in 0..400 {
        let mut octets: Vec<u8> = (0..3).flat_map(|_| good[random.below(good.len())].clone()).collect();
        for _ in 0..=random.below(4) {
            let place = random.below(octets.len());
            match random.below(4) {
                0 => octets[place] = random.below(256) as u8,
                1 => drop(octets.remove(place)),
                2 => octets.insert(place, b"\r\n 0:\xff"[random.below(6)]),
                _ => octets.truncate(place.max(1)),
            }
        }
        let mut http = Http::connect(fixture.address);
        http.write(&octets);
        let _ = http.stream.shutdown(Shutdown::Write);
        while let Some(answer) = http.try_answer() {
            assert!((100..504).contains(&answer.status), "{answer:?}");
        }
    }
    let mut publisher = Client::join(fixture.address);
    publisher.send(published(1, "com.example.topic", "still here"));
    assert_eq!(polling.receive()[4][0], "still here");
    drop(publisher);
    fixture.end();
}

#[test]
fn requests_may_be_cut_pipelined_chunked_and_announced() {
    let fixture = serve(2, limits());
    let mut polling = Polling::open(fixture.address);
    let (send, receive) = (polling.path("send"), polling.path("receive"));
    let hello = hello_message().to_string();
    let chunks = format!("{:x}\r\n{hello}\r\n0\r\n\r\n", hello.len());
    let chunked = format!("POST {send} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    for octet in chunked.as_bytes() {
        polling.up.write(&[*octet]);
    }
    assert_eq!(polling.up.answer().status, 204);
    let subscribe = json!([32, 1, {}, "com.example.topic"]).to_string();
    let pipelined = [
        request(&receive, b""),
        request(&format!("{send}?x=17"), subscribe.as_bytes()),
        request("/lp/nobody/receive", b""),
        request(&receive, b""),
    ];
    polling.up.write(&pipelined.concat());
    assert_eq!(polling.up.answer().json()[0], 2);
    assert_eq!(polling.up.answer().status, 204);
    assert_eq!(polling.up.answer().status, 404);
    assert_eq!(polling.up.answer().json()[0], 33);

    let publish = published(2, "com.example.nobody", 1).to_string();
    let announced = format!(
        "POST {send} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        publish.len()
    );
    polling.up.write(announced.as_bytes());
    assert_eq!(polling.up.answer().status, 100);
    polling.up.write(publish.as_bytes());
    assert_eq!(polling.up.answer().status, 204);

    polling.up.write(format!("POST {send} HTTP/1.0\r\nContent-Length: 0\r\n\r\n").as_bytes());
    let answer = polling.up.answer();
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
    polling.up.assert_ended();
    fixture.end();
}

#[test]
fn a_connection_may_go_on_with_something_else() {
    let fixture = serve(2, limits());
    let mut http = Http::connect(fixture.address);
    let open = request("/lp/open", br#"{"protocols": ["wamp.2.cbor", "wamp.2.json"]}"#);
    let page = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    http.write(&[&open[..], page].concat());
    assert_eq!(http.answer().json()["protocol"], "wamp.2.cbor");
    let page = http.answer();
    assert!(page.status == 200 && page.header("content-type").unwrap().contains("html"), "{page:?}");
    http.assert_ended();

    let mut http = Http::connect(fixture.address);
    assert_eq!(http.post("/lp/nobody/close", b"").status, 404);
    http.write(
        b"GET /lp HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
          Sec-WebSocket-Protocol: wamp.2.json\r\n\r\n",
    );
    assert_eq!(http.answer().status, 101, "a proxy uses connections for whatever comes");
    drop(http);
    fixture.end();
}

#[test]
fn browsers_may_ask_from_everywhere() {
    let fixture = serve(1, limits());
    let mut http = Http::connect(fixture.address);
    http.write(
        b"OPTIONS /lp/open HTTP/1.1\r\nHost: a\r\nOrigin: https://b.example\r\n\
          Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n",
    );
    let answer = http.answer();
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://b.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-headers", "content-type"),
        ("access-control-allow-methods", "POST"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    let answer = http.post("/lp/nobody/receive", b"");
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    fixture.end();
}

#[test]
fn bounds_are_told() {
    let fixture = serve(1, Limits { longpoll_transports_max: 1, ..limits() });
    let mut polling = Polling::open(fixture.address);
    let mut http = Http::connect(fixture.address);
    let offer = br#"{"protocols": ["wamp.2.json"]}"#;
    assert_eq!(http.post("/lp/open", offer).status, 503);
    assert_eq!(polling.post_up("close", b"").status, 204);
    while http.post("/lp/open", offer).status == 503 {}
    fixture.end();

    let fixture = serve(1, Limits { connections_max: 2, ..limits() });
    let mut first = Http::connect(fixture.address);
    assert_eq!(first.post("/lp/nobody/receive", b"").status, 404);
    let mut second = Http::connect(fixture.address);
    assert_eq!(second.post("/lp/open", offer).status, 503, "no place for its stream");
    let mut third = Http::connect(fixture.address);
    assert_eq!(third.post("/lp/open", offer).status, 503);
    drop(second);
    while first.post("/lp/open", offer).status == 503 {}
    fixture.end();
}

#[test]
fn requests_that_do_not_end_are_ended() {
    let limits = Limits {
        longpoll_request_ms_max: 100,
        longpoll_connection_idle_ms_max: 100,
        handshake_ms_max: 100,
        ..limits()
    };
    let fixture = serve(1, limits);
    let mut slow = Http::connect(fixture.address);
    slow.write(b"POST /lp/open HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n{");
    assert_eq!(slow.answer().status, 408);
    slow.assert_ended();
    let mut idle = Http::connect(fixture.address);
    assert_eq!(idle.post("/lp/nobody/receive", b"").status, 404);
    idle.assert_ended();
    let mut silent = Http::connect(fixture.address);
    silent.write(b"POST /lp/op");
    silent.assert_ended();
    fixture.end();
}

#[test]
fn requests_in_pieces_do_not_fill_the_memory() {
    let limits = Limits { longpoll_bytes_max: 1 << 20, ..limits() };
    let fixture = serve(1, limits);
    let polling = Polling::join(fixture.address);
    let begun =
        format!("POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n", polling.path("send"));
    let mut crowd: Vec<Http> = Vec::new();
    let mut refused = 0;
    for _ in 0..10 {
        let mut http = Http::connect(fixture.address);
        http.write(begun.as_bytes());
        let _ = http.stream.write_all(&vec![b' '; 400_000]);
        crowd.push(http);
    }
    for http in &mut crowd {
        // It fails where nobody reads any more.
        let _ = http.stream.write_all(&[b' '; 100_000]);
        match http.answer().status {
            503 => refused += 1,
            status => assert_eq!(status, 400, "nothing but spaces"),
        }
    }
    assert!((5..10).contains(&refused), "{refused}");
    drop((crowd, polling));
    assert_serving(fixture.address);
    fixture.end();
}

#[test]
fn a_client_that_does_not_poll_is_a_slow_consumer() {
    let limits = Limits { outbound_bytes_max: 2 << 20, longpoll_queue_bytes_max: 1 << 16, ..limits() };
    let fixture = serve(2, limits);
    let mut slow = Polling::join(fixture.address);
    slow.subscribe("com.example.topic");
    let mut publisher = Client::join(fixture.address);
    let block = "x".repeat(100_000);
    for number in 1..=100 {
        publisher.send(json!([16, number, {"acknowledge": true}, "com.example.topic", [block]]));
        assert_eq!(publisher.receive()[0], 17);
    }
    let mut events = 0;
    let ended = loop {
        let answer = slow.poll();
        match answer.status {
            200 => events += 1,
            204 => {}
            _ => break answer.status,
        }
    };
    assert_eq!(ended, 404);
    assert!(events < 60, "the queue is bounded: {events}");
    drop(publisher);
    let Fixture { server, .. } = fixture;
    server.drain();
    assert_eq!(server.join().closed[&fanwire::error::CloseReason::SlowConsumer], 1);
}

#[test]
fn a_reset_at_every_octet_leaves_nothing_behind() {
    let fixture = serve(2, limits());
    let open = request("/lp/open", br#"{"protocols": ["wamp.2.json"]}"#);
    let stream = [&open[..], &request("/lp/nobody/receive", b"")].concat();
    for cut in 0..=stream.len() {
        let mut http = Http::connect(fixture.address);
        http.write(&stream[..cut]);
        SockRef::from(&http.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    assert_serving(fixture.address);
    fixture.end();
}

#[test]
fn sessions_get_goodbye_at_the_shutdown() {
    let fixture = serve(2, Limits::DEFAULT);
    let mut waiting: Vec<Polling> = (0..5).map(|_| Polling::join(fixture.address)).collect();
    let unjoined = Polling::open(fixture.address);
    let mut idle = Http::connect(fixture.address);
    assert_eq!(idle.post("/lp/nobody/receive", b"").status, 404);
    waiting[..3].iter_mut().for_each(Polling::await_message);
    fixture.server.drain();
    for (place, polling) in waiting.iter_mut().enumerate() {
        let goodbye = if place < 3 { polling.down.answer().json() } else { polling.receive() };
        assert_eq!((&goodbye[0], &goodbye[2]), (&json!(6), &json!("wamp.close.system_shutdown")));
        let answer = polling.post_up("send", b"[6, {}, \"wamp.close.goodbye_and_out\"]");
        assert_eq!(answer.status, 204);
    }
    for polling in &mut waiting {
        polling.up.assert_ended();
    }
    idle.assert_ended();
    drop(unjoined);
    fixture.server.join();
}

#[test]
fn clients_that_do_not_answer_at_the_shutdown_are_cut() {
    let limits = Limits { drain_ms_max: 300, ..limits() };
    let fixture = serve(1, limits);
    let mut joined = Polling::join(fixture.address);
    joined.await_message();
    let start = Instant::now();
    fixture.server.drain();
    fixture.server.join();
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(joined.down.answer().json()[0], 6);
}

#[test]
fn it_may_be_elsewhere_or_off() {
    for (longpoll, path, status) in [
        (None, "/lp/open", 405),
        (Some("/a/b"), "/lp/open", 405),
        (Some("/a/b"), "/a/b/open", 200),
        (Some("/a/b"), "http://router.example/a/b/open?x=1", 200),
    ] {
        let listens = vec!["127.0.0.1:0".parse().unwrap(), "rs://127.0.0.1:0".parse().unwrap()];
        let longpoll = longpoll.map(str::to_owned);
        let server =
            Server::start(Config { listens, longpoll, ..Config::default() }.server().unwrap()).unwrap();
        let addresses: Vec<_> = server.addresses().map(|(_, address)| address.clone()).collect();
        let [Address::Tcp(both), Address::Tcp(rawsocket)] = addresses[..] else { panic!("two ports") };
        let offer = br#"{"protocols": ["wamp.2.json"]}"#;
        assert_eq!(Http::connect(both).post(path, offer).status, status);
        assert_eq!(Http::connect(rawsocket).post(path, offer).status, 405, "HTTP is not spoken there");
        server.drain();
        server.join();
    }
}

#[test]
fn a_listener_without_rawsocket_has_it_too() {
    let listens = vec!["ws://127.0.0.1:0".parse().unwrap()];
    let server =
        Server::start(Config { listens, limits: limits(), ..Config::default() }.server().unwrap()).unwrap();
    let Some((_, &Address::Tcp(address))) = server.addresses().next() else { panic!("a port") };
    let mut polling = Polling::join(address);
    polling.subscribe("com.example.topic");
    server.drain();
    drop(polling);
    server.join();
}
