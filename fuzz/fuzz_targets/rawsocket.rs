//! RawSocket from its first octet: the handshake as fuzzed, or a good one, and frames after it.

#![no_main]

mod cuts;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((plan, stream)) = input.split_at_checked(6) else { return };
    let good: &[u8] = if plan[0] & 1 == 0 { &[0x7F, 0xF2, 0, 0] } else { &[0x7F] };
    cuts::agree(cuts::settings(700), plan, &[good, stream].concat());
});
