//! The HTTP request, as fuzzed or with headers that make most of an upgrade.

#![no_main]

mod cuts;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((plan, request)) = input.split_at_checked(6) else { return };
    let head: &[u8] = match plan[0] % 3 {
        0 => b"GET ",
        1 => b"GET / HTTP/1.1\r\nHost: a\r\n",
        _ => {
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        }
    };
    cuts::agree(cuts::settings(300), plan, &[head, request].concat());
});
