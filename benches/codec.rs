//! What the codec costs: reading and writing each message, walking payload, and taking it to another serializer.
//!
//! Groups: `decode/<serializer>/<message>`, `encode/<serializer>/<message>`, `walk/<serializer>/<bytes>`,
//! `transcode/<from>-<to>/<bytes>`. Messages with payload carry about 128 bytes of it.

#![allow(clippy::unwrap_used, missing_docs)] // A bench that cannot run may as well panic.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanwire::codec::payload::{OwnedPayload, transcode};
use fanwire::codec::{check, decode, encode};
use fanwire::wamp::{Message, Serializer};

/// One message of each kind, in JSON.
const MESSAGES: [&str; 25] = [
    r#"[1,"realm1",{"agent":"bench","roles":{"publisher":{},"subscriber":{},"caller":{},"callee":{}}}]"#,
    r#"[2,9129137332,{"agent":"bench","roles":{"broker":{"features":{}},"dealer":{"features":{}}}}]"#,
    r#"[3,{"message":"the realm does not exist"},"wamp.error.no_such_realm"]"#,
    r#"[4,"wampcra",{"challenge":"nonce"}]"#,
    r#"[5,"gir1mSx+deCDUV7FgLvsQNTi6n3W/Z/WcZ/OT9RwdZY=",{}]"#,
    r#"[6,{},"wamp.close.normal"]"#,
    r#"[8,48,7814135,{},"com.myapp.error.object_write_protected",PAYLOAD]"#,
    r#"[16,239714735,{},"com.myapp.mytopic1",PAYLOAD]"#,
    "[17,239714735,4429313566]",
    r#"[32,713845233,{"match":"prefix"},"com.myapp.mytopic1"]"#,
    "[33,713845233,5512315355]",
    "[34,85346237,5512315355]",
    "[35,85346237]",
    "[36,5512315355,4429313566,{},PAYLOAD]",
    r#"[48,7814135,{},"com.myapp.user.new",PAYLOAD]"#,
    r#"[49,7814135,{"mode":"kill"}]"#,
    "[50,7814135,{},PAYLOAD]",
    r#"[64,25349185,{},"com.myapp.myprocedure1"]"#,
    "[65,25349185,2103333224]",
    "[66,788923562,2103333224]",
    "[67,788923562]",
    "[68,6131533,9823529,{},PAYLOAD]",
    r#"[69,6131533,{"mode":"killnowait"}]"#,
    "[70,6131533,{},PAYLOAD]",
    "[337,5512315355]",
];

/// Arguments of at least that many bytes: records with numbers, texts and a list.
fn arguments(bytes: usize) -> String {
    let mut json = String::from("[");
    let mut number = 0;
    while json.len() < bytes {
        let comma = if number == 0 { "" } else { "," };
        let half = f64::from(number) + 0.5;
        write!(
            json,
            r#"{comma}{{"id":{},"name":"sensor {number}","value":{half},"on":true,"tags":["a","größe"]}}"#,
            number * 7919
        )
        .unwrap();
        number += 1;
    }
    json + "]"
}

fn messages(mut each: impl FnMut(Serializer, &Message<'_>, &[u8])) {
    let payload = arguments(96);
    for text in MESSAGES {
        let text = text.replace("PAYLOAD", &payload);
        let message = decode(Serializer::Json, text.as_bytes()).unwrap();
        for serializer in Serializer::ALL {
            let mut bytes = Vec::new();
            encode(&message, serializer, &mut bytes).unwrap();
            let message = decode(serializer, &bytes).unwrap();
            each(serializer, &message, &bytes);
        }
    }
}

fn decode_messages(criterion: &mut Criterion) {
    messages(|serializer, message, bytes| {
        let mut group = criterion.benchmark_group(format!("decode/{}", serializer.name()));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(message.name(), |bencher| {
            bencher.iter(|| decode(serializer, black_box(bytes)).is_ok());
        });
    });
}

fn encode_messages(criterion: &mut Criterion) {
    messages(|serializer, message, bytes| {
        let mut group = criterion.benchmark_group(format!("encode/{}", serializer.name()));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let mut out = Vec::new();
        group.bench_function(message.name(), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode(black_box(message), serializer, &mut out).is_ok()
            });
        });
    });
}

const SIZES: [usize; 4] = [128, 1_024, 16_384, 262_144];

fn walk(criterion: &mut Criterion) {
    for serializer in Serializer::ALL {
        let mut group = criterion.benchmark_group(format!("walk/{}", serializer.name()));
        for size in SIZES {
            let payload = OwnedPayload::from_json(Some(&arguments(size)), None).unwrap();
            let payload = transcode(payload.borrow(), serializer).unwrap();
            let bytes = payload.borrow().bytes();
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_function(size.to_string(), |bencher| {
                bencher.iter(|| check(serializer, black_box(bytes)).is_ok());
            });
        }
    }
}

fn transcode_payload(criterion: &mut Criterion) {
    for from in Serializer::ALL {
        for to in Serializer::ALL.into_iter().filter(|&to| to != from) {
            let mut group = criterion.benchmark_group(format!("transcode/{}-{}", from.name(), to.name()));
            for size in SIZES {
                let payload = OwnedPayload::from_json(Some(&arguments(size)), None).unwrap();
                let payload = transcode(payload.borrow(), from).unwrap();
                group.throughput(Throughput::Bytes(payload.borrow().bytes().len() as u64));
                group.bench_function(size.to_string(), |bencher| {
                    bencher.iter(|| transcode(black_box(payload.borrow()), to).is_ok());
                });
            }
        }
    }
}

criterion_group!(benches, decode_messages, encode_messages, walk, transcode_payload);
criterion_main!(benches);
