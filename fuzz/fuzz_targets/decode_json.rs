//! Any bytes as JSON; see `decode_again`.

#![no_main]

use fanwire::wamp::Serializer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fanwire_fuzz::decode_again(Serializer::Json, bytes));
