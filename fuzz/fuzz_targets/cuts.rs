//! Shared by the targets of the transport: a stream must lead to the same, whatever its cuts.

use std::sync::Arc;

use fanwire::error::Violation;
use fanwire::transport::{Inbound, Link, Settings, Transport};
use fanwire::wamp::Serializer;

/// All that a stream led to.
#[derive(PartialEq, Eq, Debug, Default)]
struct Outcome {
    link: Option<Link>,
    messages: Vec<Vec<u8>>,
    reply: Vec<u8>,
    finished: bool,
    violation: Option<Violation>,
}

/// Runs the stream whole, and cut and paused as `plan` says, and holds one against the other.
pub fn agree(settings: Settings, plan: &[u8], stream: &[u8]) {
    let settings = Arc::new(settings);
    let mut whole = Outcome::default();
    let mut transport = Transport::new(settings.clone(), false);
    feed(&mut transport, &mut stream.to_vec(), || false, &mut whole);
    assert!(whole.messages.iter().all(|message| message.len() <= settings.message_bytes_max));
    assert!(whole.reply.len() <= stream.len() + 8192, "replies follow what was asked");

    let mut steps = plan.iter().copied().cycle();
    let mut step = || steps.next().unwrap_or(1);
    let mut cut = Outcome::default();
    let mut transport = Transport::new(settings, false);
    let mut rest = stream;
    while !rest.is_empty() && !cut.finished && cut.violation.is_none() {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(step()) + 1));
        feed(&mut transport, &mut piece.to_vec(), || step() % 3 == 0, &mut cut);
        rest = after;
    }
    if !cut.finished && cut.violation.is_none() {
        feed(&mut transport, &mut [], || false, &mut cut);
    }
    assert_eq!(cut, whole);
}

/// Feeds one piece until nothing more comes of it, or a pause keeps the rest of it.
fn feed(
    transport: &mut Transport,
    piece: &mut [u8],
    mut pauses: impl FnMut() -> bool,
    outcome: &mut Outcome,
) {
    let mut input = piece;
    loop {
        match transport.next(&mut input, &mut outcome.reply) {
            Ok(Inbound::Opened) => {}
            Ok(Inbound::LongPoll) => panic!("the settings do not have it"),
            Ok(Inbound::Message(message)) => outcome.messages.push(message.to_vec()),
            Ok(Inbound::Incomplete) => return assert!(input.is_empty()),
            Ok(Inbound::Finished) => return outcome.finished = true,
            Err(violation) => return outcome.violation = Some(violation),
        }
        outcome.link = transport.link();
        if pauses() {
            return transport.keep(input);
        }
    }
}

/// Settings with room for short messages only, so that limits are reached.
pub fn settings(message_bytes_max: usize) -> Settings {
    Settings {
        message_bytes_max,
        peer_message_bytes_min: 1024,
        serializers: [true; Serializer::COUNT],
        rawsocket: true,
        websocket: true,
        longpoll: None,
        pages: Default::default(),
    }
}
