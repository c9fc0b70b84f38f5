//! A server and its clients over loopback sockets: fan-out, calls, joining, and what a write to a socket costs alone.
//!
//! The server runs in this process, on one shard and a thread of its own; all clients are one more thread, which shares
//! the machine with it. So these are the figures of both together: `fanwire bench` against a server in another process
//! tells them apart. Time is per publication (throughput: events), per call, per session, per write.

#![allow(clippy::unwrap_used, missing_docs)] // A bench that cannot run may as well panic.

#[path = "../tests/turns/mod.rs"]
mod turns;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanwire::config::Config;
use fanwire::router::RequestIds;
use fanwire::server::{Address, Server};
use fanwire::transport::Framing;
use fanwire::wamp::Serializer;
use mio::{Events, Interest, Poll, Token};
use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::SockRef;

use turns::{RAWSOCKET, Speech, publish};

const WEBSOCKET_JSON: Speech = Speech { framing: Framing::WebSocket, serializer: Serializer::Json };

/// Octets of the text in every payload.
const CHARACTERS: usize = 128;

/// Publications that not every subscriber has yet, and calls that wait for their answer, at most.
const UNDER_WAY: u64 = 32;

const HELLO: &str = r#"[1,"realm1",{"roles":{"caller":{},"callee":{},"publisher":{},"subscriber":{}}}]"#;

// The server.

struct Fixture {
    server: Server,
    address: SocketAddr,
}

impl Fixture {
    /// One shard, on a free port. Request ids are not checked, so that one frame can be sent again and again.
    fn start() -> Fixture {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();
        let listens = vec!["127.0.0.1:0".parse().unwrap()];
        let config = Config { listens, shards: 1, request_ids: RequestIds::Any, ..Config::default() };
        let server = Server::start(config.server().unwrap()).unwrap();
        let Some((_, Address::Tcp(address))) = server.addresses().next() else { panic!("a port") };
        let address = *address;
        Fixture { server, address }
    }

    fn end(self) {
        self.server.drain();
        self.server.join();
    }

    fn connect(&self, speech: Speech) -> Socket {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        // A reset instead of a last handshake: ports are free again at once.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        Socket { stream, speech }
    }

    fn join(&self, speech: Speech) -> Socket {
        let mut socket = self.connect(speech);
        socket.open();
        socket.ask(HELLO);
        socket
    }
}

/// A client's end of a connection, which blocks.
struct Socket {
    stream: TcpStream,
    speech: Speech,
}

impl Socket {
    /// The transport's handshake.
    fn open(&mut self) {
        self.stream.write_all(&self.speech.handshake()).unwrap();
        self.take_opened();
    }

    /// The answer to it; nothing follows before HELLO.
    fn take_opened(&mut self) {
        let mut answer = [0; 1024];
        let mut length = 0;
        let whole = |answer: &[u8]| match self.speech.framing {
            Framing::RawSocket => answer.len() == 4,
            _ => answer.ends_with(b"\r\n\r\n"),
        };
        while !whole(&answer[..length]) {
            length += self.stream.read(&mut answer[length..]).unwrap();
        }
    }

    /// Sends a message given as JSON and takes the one that answers it.
    fn ask(&mut self, json: &str) {
        self.stream.write_all(&self.speech.frame(json)).unwrap();
        self.take_frame();
    }

    fn take_frame(&mut self) {
        let mut octets = [0; 1024];
        let mut length = 0;
        while frame_bytes(self.speech, &octets[..length]) != Some(length) {
            let read = self.stream.read(&mut octets[length..]).unwrap();
            assert!(read > 0, "the server has closed the connection");
            length += read;
        }
    }
}

/// Octets of the frame that the octets begin with, once its header is there.
fn frame_bytes(speech: Speech, octets: &[u8]) -> Option<usize> {
    let (header, payload) = match (speech.framing, octets) {
        (Framing::RawSocket, [_, high, middle, low, ..]) => {
            (4, u32::from_be_bytes([0, *high, *middle, *low]) as usize)
        }
        (Framing::RawSocket, _) => return None,
        (_, [_, 126, high, low, ..]) => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        (_, [_, length @ 0..=125, ..]) => (2, usize::from(*length)),
        _ => return None,
    };
    Some(header + payload)
}

// Many sockets, read by one thread.

struct Sockets {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    buffer: Box<[u8]>,
}

struct Connection {
    stream: mio::net::TcpStream,
    speech: Speech,
    /// Octets of the frame in front that have come already.
    begun: Vec<u8>,
}

impl Sockets {
    fn new(sockets: Vec<Socket>) -> Sockets {
        let poll = Poll::new().unwrap();
        let connection = |(place, Socket { stream, speech })| {
            stream.set_nonblocking(true).unwrap();
            let mut stream = mio::net::TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(place), Interest::READABLE).unwrap();
            Connection { stream, speech, begun: Vec::new() }
        };
        let connections = sockets.into_iter().enumerate().map(connection).collect();
        let buffer = vec![0; 256 << 10].into_boxed_slice();
        Sockets { poll, events: Events::with_capacity(1024), connections, buffer }
    }

    /// Waits for octets. Names the socket of each whole frame that has come.
    fn wait(&mut self, mut frame: impl FnMut(usize)) {
        self.poll.poll(&mut self.events, None).unwrap();
        for event in &self.events {
            let place = event.token().0;
            let frames = self.connections[place].read(&mut self.buffer);
            (0..frames).for_each(|_| frame(place));
        }
    }

    fn write(&mut self, place: usize, octets: &[u8]) {
        self.connections[place].stream.write_all(octets).expect("what is under way fits the socket's buffer");
    }
}

impl Connection {
    /// Reads until there is no more; how many frames have become whole.
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let mut frames = 0;
        loop {
            let begun = self.begun.len();
            buffer[..begun].copy_from_slice(&self.begun);
            let read = match self.stream.read(&mut buffer[begun..]) {
                Ok(0) => panic!("the server has closed the connection"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return frames,
                Err(error) => panic!("{error}"),
            };
            let mut octets = &buffer[..begun + read];
            while let Some(length) = frame_bytes(self.speech, octets).filter(|length| *length <= octets.len())
            {
                octets = &octets[length..];
                frames += 1;
            }
            self.begun.clear();
            self.begun.extend_from_slice(octets);
            if begun + read < buffer.len() {
                return frames;
            }
        }
    }
}

// Fan-out.

/// One publisher and its subscribers.
struct FanOut {
    publisher: Socket,
    frames: Vec<u8>,
    subscribers: Sockets,
    /// Events of each subscriber.
    events: Vec<u64>,
    published: u64,
    /// Subscribers that have it, for each publication under way.
    arrived: [usize; UNDER_WAY as usize],
}

impl FanOut {
    fn new(fixture: &Fixture, speech: Speech, subscribers: usize) -> FanOut {
        let publisher = fixture.join(speech);
        let subscriber = |_| {
            let mut socket = fixture.join(speech);
            socket.ask(r#"[32,1,{},"com.example.topic"]"#);
            socket
        };
        FanOut {
            publisher,
            frames: speech.frame(&publish("com.example.topic", CHARACTERS)).repeat(UNDER_WAY as usize),
            subscribers: Sockets::new((0..subscribers).map(subscriber).collect()),
            events: vec![0; subscribers],
            published: 0,
            arrived: [0; UNDER_WAY as usize],
        }
    }

    /// Publishes, and returns when every subscriber has everything.
    fn run(&mut self, publications: u64) {
        let end = self.published + publications;
        let mut complete = self.published;
        while complete < end {
            let room = (complete + UNDER_WAY).min(end) - self.published;
            let octets = self.frames.len() / UNDER_WAY as usize * room as usize;
            self.publisher.stream.write_all(&self.frames[..octets]).unwrap();
            self.published += room;
            let (events, arrived) = (&mut self.events, &mut self.arrived);
            self.subscribers.wait(|subscriber| {
                arrived[(events[subscriber] % UNDER_WAY) as usize] += 1;
                events[subscriber] += 1;
            });
            while complete < self.published && arrived[(complete % UNDER_WAY) as usize] == events.len() {
                arrived[(complete % UNDER_WAY) as usize] = 0;
                complete += 1;
            }
        }
    }
}

fn fan_out(criterion: &mut Criterion) {
    for (name, speech) in [("rawsocket_msgpack", RAWSOCKET), ("websocket_json", WEBSOCKET_JSON)] {
        let mut group = criterion.benchmark_group(format!("end_to_end/fan_out/{name}"));
        for subscribers in [100, 1000] {
            let fixture = Fixture::start();
            let mut fan_out = FanOut::new(&fixture, speech, subscribers);
            group.throughput(Throughput::Elements(subscribers as u64));
            group.bench_function(BenchmarkId::from_parameter(subscribers), |bencher| {
                bencher.iter_custom(|publications| timed(|| fan_out.run(publications)));
            });
            drop(fan_out);
            fixture.end();
        }
        group.finish();
    }
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

// Calls.

/// CALL of `echo`, RawSocket and MessagePack, with the request id in four octets.
fn call(request: u64) -> Vec<u8> {
    framed(&[&b"\x95\x30\xce"[..], &(request as u32).to_be_bytes(), b"\x80\xa4echo\x91\xd9\x80"].concat())
}

/// YIELD; a callee's invocations are counted 1, 2, 3.
fn answer(invocation: u64) -> Vec<u8> {
    framed(&[&b"\x94\x46\xce"[..], &(invocation as u32).to_be_bytes(), b"\x80\x91\xd9\x80"].concat())
}

/// The message and its text, in a frame.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = (message.len() + CHARACTERS) as u32;
    [&length.to_be_bytes()[..], message, &[b'x'; CHARACTERS]].concat()
}

fn caller_and_callee(fixture: &Fixture) -> (Socket, Socket) {
    let (caller, mut callee) = (fixture.join(RAWSOCKET), fixture.join(RAWSOCKET));
    callee.ask(r#"[64,1,{},"echo"]"#);
    (caller, callee)
}

fn calls(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("end_to_end/call");
    let fixture = Fixture::start();
    let (mut caller, mut callee) = caller_and_callee(&fixture);
    let mut count = 0;
    group.bench_function("one_at_a_time", |bencher| {
        bencher.iter(|| {
            count += 1;
            caller.stream.write_all(&call(count)).unwrap();
            callee.take_frame();
            callee.stream.write_all(&answer(count)).unwrap();
            caller.take_frame();
        });
    });
    drop((caller, callee));

    let (caller, callee) = caller_and_callee(&fixture);
    let mut sockets = Sockets::new(vec![caller, callee]);
    let (mut called, mut invoked) = (0, 0);
    group.bench_function(BenchmarkId::new("pipelined", UNDER_WAY), |bencher| {
        bencher.iter_custom(|calls| timed(|| pipeline(&mut sockets, calls, &mut called, &mut invoked)));
    });
    drop(sockets);
    fixture.end();
    group.finish();
}

/// So many calls; the first socket is the caller's and the second the callee's.
fn pipeline(sockets: &mut Sockets, calls: u64, called: &mut u64, invoked: &mut u64) {
    let end = *called + calls;
    let mut completed = *called;
    let (mut questions, mut answers) = (Vec::new(), Vec::new());
    while completed < end {
        while *called < end.min(completed + UNDER_WAY) {
            *called += 1;
            questions.extend(call(*called));
        }
        sockets.write(0, &questions);
        questions.clear();
        sockets.wait(|socket| {
            if socket == 0 {
                completed += 1;
            } else {
                *invoked += 1;
                answers.extend(answer(*invoked));
            }
        });
        sockets.write(1, &answers);
        answers.clear();
    }
}

// Joining.

fn join(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("end_to_end/join");
    let fixture = Fixture::start();
    for (name, speech) in [("rawsocket_msgpack", RAWSOCKET), ("websocket_json", WEBSOCKET_JSON)] {
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new(name, 1), |bencher| {
            bencher.iter_batched(|| (), |()| fixture.join(speech), BatchSize::PerIteration);
        });
        // Each step for all of them before the next step.
        group.throughput(Throughput::Elements(UNDER_WAY));
        group.bench_function(BenchmarkId::new(name, UNDER_WAY), |bencher| {
            let together = || {
                let mut sockets: Vec<_> = (0..UNDER_WAY).map(|_| fixture.connect(speech)).collect();
                for socket in &mut sockets {
                    socket.stream.write_all(&speech.handshake()).unwrap();
                }
                let hello = speech.frame(HELLO);
                for socket in &mut sockets {
                    socket.take_opened();
                    socket.stream.write_all(&hello).unwrap();
                }
                sockets.iter_mut().for_each(Socket::take_frame);
                sockets
            };
            bencher.iter_batched(|| (), |()| together(), BatchSize::PerIteration);
        });
    }
    fixture.end();
    group.finish();
}

// One write.

/// What a write of so many small events costs, in one call to one of many sockets that are read in between.
fn write(criterion: &mut Criterion) {
    const SOCKETS: usize = 100;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pair = |_| {
        let written = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        written.set_nodelay(true).unwrap();
        (written, listener.accept().unwrap().0)
    };
    let mut pairs: Vec<_> = (0..SOCKETS).map(pair).collect();
    let mut group = criterion.benchmark_group("end_to_end/write");
    for events in [1, 16, 256] {
        let octets = vec![7; 150 * events];
        let mut taken = octets.clone();
        group.throughput(Throughput::Elements(events as u64));
        group.bench_function(BenchmarkId::from_parameter(events), |bencher| {
            bencher.iter_custom(|writes| {
                let mut total = Duration::ZERO;
                for first in (0..writes).step_by(SOCKETS) {
                    let round = (writes - first).min(SOCKETS as u64) as usize;
                    total += timed(|| {
                        for (written, _) in &mut pairs[..round] {
                            written.write_all(&octets).unwrap();
                        }
                    });
                    for (_, read) in &mut pairs[..round] {
                        read.read_exact(&mut taken).unwrap();
                    }
                }
                total
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = fan_out, calls, join, write
}
criterion_main!(benches);
