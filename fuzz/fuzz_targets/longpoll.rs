//! Requests of a long-poll client: whatever the cuts, the answers are the same, and in the end nothing is left.

#![no_main]

use std::sync::Arc;
use std::time::{Duration, Instant};

use fanwire::bridge::longpoll::{Action, ConnectionKey, End, LongPoll, TransportKey};
use fanwire::limits::Limits;
use fanwire::transport::Settings;
use fanwire::wamp::Serializer;
use libfuzzer_sys::fuzz_target;

/// The id of the first transport, which follows from the seed.
const ID: &[u8] = b"\x01ID";

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

fuzz_target!(|input: &[u8]| {
    let Some((plan, requests)) = input.split_at_checked(4) else { return };
    let offer = b"{\"protocols\":[\"wamp.2.json.batched\"]}";
    let mut stream = b"POST /lp/open HTTP/1.1\r\nHost: a\r\nContent-Length: 37\r\n\r\n".to_vec();
    stream.extend_from_slice(offer);
    let opened = run(&stream, &[255]);
    let id = opened.rsplit(|octet| *octet == b'"').nth(1).expect("the answer names it").to_vec();
    // Where the input says so, the id is put in, which no fuzzer could guess.
    let mut rest = requests;
    while let Some(place) = rest.windows(ID.len()).position(|octets| octets == ID) {
        stream.extend_from_slice(&rest[..place]);
        stream.extend_from_slice(&id);
        rest = &rest[place + ID.len()..];
    }
    stream.extend_from_slice(rest);
    assert_eq!(run(&stream, plan), run(&stream, &[255]));
});

/// All that is written to the client and the shard, and given back.
fn run(stream: &[u8], plan: &[u8]) -> Vec<u8> {
    let settings = Settings {
        message_bytes_max: 300,
        peer_message_bytes_min: 512,
        serializers: [true; Serializer::COUNT],
        rawsocket: true,
        websocket: true,
        longpoll: Some("/lp".into()),
        pages: Default::default(),
    };
    let now = Instant::now();
    let mut core = LongPoll::new(Limits::DEFAULT, [1; 32]);
    let client = core.connect(Arc::new(settings), now);
    let (mut to_client, mut to_shard, mut returned) = (Vec::new(), Vec::new(), None);
    let mut steps =
        plan.iter().cycle().map(|step| if *step == 255 { usize::MAX } else { usize::from(*step) + 1 });
    let mut rest = stream;
    while !rest.is_empty() && returned.is_none() {
        let (piece, after) = rest.split_at(rest.len().min(steps.next().unwrap_or(1)));
        core.receive(client, piece, now);
        act(&mut core, steps.next().unwrap_or(1), now, &mut to_client, &mut to_shard, &mut returned);
        rest = after;
    }
    if let Some(octets) = &mut returned {
        octets.extend_from_slice(rest);
    }
    core.disconnect(client, now);
    core.expire(now + Duration::from_secs(100));
    core.expire(now + Duration::from_secs(200));
    assert!(core.is_empty());
    // Only a client whose body is not there yet is told to send it.
    while let Some(place) = to_client.windows(CONTINUE.len()).position(|octets| octets == CONTINUE) {
        to_client.drain(place..place + CONTINUE.len());
    }
    to_client.extend_from_slice(&to_shard);
    to_client.extend_from_slice(&returned.unwrap_or_default());
    to_client
}

fn act(
    core: &mut LongPoll,
    most: usize,
    now: Instant,
    to_client: &mut Vec<u8>,
    to_shard: &mut Vec<u8>,
    returned: &mut Option<Vec<u8>>,
) {
    loop {
        let (mut actions, mut touched) = (Vec::new(), Vec::new());
        core.actions(&mut actions);
        core.touched(&mut touched);
        if actions.is_empty() && touched.is_empty() {
            return;
        }
        for action in actions {
            match action {
                Action::Open { transport, connection, .. } => core.opened(transport, connection, true, now),
                Action::Return(ConnectionKey(_), octets) => *returned = Some(octets),
                Action::Shutdown(_) | Action::Drop(_) => {}
            }
        }
        for end in touched {
            while !core.outbound(end).is_empty() {
                let octets = core.outbound(end);
                let octets = &octets[..octets.len().min(most)];
                match end {
                    End::Client(_) => to_client.extend_from_slice(octets),
                    End::Shard(TransportKey(_)) => to_shard.extend_from_slice(octets),
                }
                let bytes = octets.len();
                core.advance(end, bytes, now);
            }
        }
    }
}
