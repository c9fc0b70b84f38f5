//! What deframing and queueing cost: unmasking, `Transport::next` over full read buffers, `Outbound`.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanwire::transport::arena::{Arena, Span};
use fanwire::transport::outbound::Outbound;
use fanwire::transport::websocket::{self, FrameHeader, HEADER_BYTES_MAX, Opcode};
use fanwire::transport::{Framing, Inbound, Settings, Transport, frame};
use fanwire::wamp::Serializer;

const READ_BYTES: usize = 64 << 10;
const MESSAGE_BYTES: usize = 128;
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

fn mask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for bytes in [16, 128, 1024, 64 << 10] {
        let mut octets = vec![0x5A; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
            bencher.iter(|| websocket::mask(black_box(&mut octets), black_box(MASK)));
        });
    }
    group.finish();
}

/// One read buffer of small messages back to back. Time is per message.
fn next(criterion: &mut Criterion) {
    let rawsocket = [&[0, 0, 0, MESSAGE_BYTES as u8][..], &[b'*'; MESSAGE_BYTES]].concat();
    let streams = [
        ("rawsocket", b"\x7f\xf2\0\0".to_vec(), rawsocket),
        ("websocket", upgrade("wamp.2.msgpack"), masked(Opcode::Binary)),
        ("websocket_text", upgrade("wamp.2.json"), masked(Opcode::Text)),
    ];
    let mut group = criterion.benchmark_group("next");
    for (name, handshake, message) in streams {
        let count = READ_BYTES / message.len();
        let buffer = message.repeat(count);
        let mut transport = opened(handshake);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || buffer.clone(),
                |buffer| assert_eq!(messages(&mut transport, buffer), count),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

/// What a frame costs each peer it is queued for, beyond its being written once: events that follow one another, and
/// such that do not.
fn outbound(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("outbound");
    let mut arena = Arena::default();
    let mut peers: Vec<Outbound> = Vec::new();
    peers.resize_with(1000, Outbound::default);
    for events in [1, 32] {
        for lanes in [1, 2] {
            group.throughput(Throughput::Elements((events * peers.len()) as u64));
            let name = if lanes == 1 { "adjoining" } else { "apart" };
            group.bench_function(BenchmarkId::new(name, events), |bencher| {
                bencher.iter(|| {
                    for event in 0..events {
                        let frame = append(&mut arena, event % lanes);
                        for outbound in &mut peers {
                            outbound.push(frame, &mut arena);
                        }
                    }
                    for outbound in &mut peers {
                        black_box(outbound.chunks(&arena).count());
                        outbound.advance(outbound.len(), &mut arena);
                        outbound.set_apart(&mut arena);
                    }
                    arena.clear(&mut Vec::new());
                });
            });
        }
    }
    group.finish();
}

fn append(arena: &mut Arena, lane: usize) -> Span {
    let written = arena.write(lane, MESSAGE_BYTES, |out| {
        out.extend_from_slice(black_box(&[7; MESSAGE_BYTES]));
        Ok::<(), Infallible>(())
    });
    let Ok((frame, ())) = written;
    frame
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    let mut out = Vec::new();
    for framing in [Framing::RawSocket, Framing::WebSocket, Framing::WebSocketBatched] {
        group.bench_function(format!("{framing:?}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                frame(framing, Serializer::MessagePack, &mut out, |out| {
                    out.extend_from_slice(black_box(&[7; MESSAGE_BYTES]));
                    Ok::<(), Infallible>(())
                })
            });
        });
    }
    group.finish();
}

fn upgrade(subprotocol: &str) -> Vec<u8> {
    format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    )
    .into_bytes()
}

fn masked(opcode: Opcode) -> Vec<u8> {
    let header = FrameHeader { fin: true, opcode, payload_bytes: MESSAGE_BYTES as u64, mask: Some(MASK) };
    let mut room = [0; HEADER_BYTES_MAX];
    let header_bytes = header.write_before(&mut room);
    let mut payload = [b'*'; MESSAGE_BYTES];
    websocket::mask(&mut payload, MASK);
    [&room[HEADER_BYTES_MAX - header_bytes..], &payload].concat()
}

fn opened(mut handshake: Vec<u8>) -> Transport {
    let settings = Settings {
        message_bytes_max: 1 << 20,
        peer_message_bytes_min: 512,
        serializers: [true; Serializer::COUNT],
        rawsocket: true,
        websocket: true,
        longpoll: None,
        pages: Default::default(),
    };
    let mut transport = Transport::new(Arc::new(settings), false);
    let opened = transport.next(&mut &mut handshake[..], &mut Vec::new());
    assert!(matches!(opened, Ok(Inbound::Opened)));
    transport
}

fn messages(transport: &mut Transport, buffer: &mut [u8]) -> usize {
    let mut input = buffer;
    let mut reply = Vec::new();
    let mut count = 0;
    while let Ok(Inbound::Message(message)) = transport.next(&mut input, &mut reply) {
        count += usize::from(black_box(message).len() == MESSAGE_BYTES);
    }
    count
}

criterion_group!(benches, mask, next, outbound, frames);
criterion_main!(benches);
