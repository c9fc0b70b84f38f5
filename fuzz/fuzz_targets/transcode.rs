//! Any bytes behind one octet that chooses a serializer; see `cross`.

#![no_main]

use fanwire::wamp::Serializer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    fanwire_fuzz::cross(Serializer::ALL[usize::from(*choice) % Serializer::ALL.len()], bytes);
});
