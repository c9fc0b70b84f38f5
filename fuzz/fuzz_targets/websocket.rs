//! WebSocket after a good upgrade to each subprotocol. Payloads are masked with zeros where the fuzzer leaves them so.

#![no_main]

mod cuts;

use fanwire::transport::upgrade::SUBPROTOCOLS;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((plan, frames)) = input.split_at_checked(6) else { return };
    let (subprotocol, ..) = SUBPROTOCOLS[usize::from(plan[0]) % SUBPROTOCOLS.len()];
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    );
    cuts::agree(cuts::settings(300), plan, &[request.as_bytes(), frames].concat());
});
