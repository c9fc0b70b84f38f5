//! Any bytes as UBJSON, as it is passed on and with containers that have a type; see `decode_again`.

#![no_main]

use fanwire::codec::{DecodeError, decode, plain_ubjson};
use fanwire::wamp::Serializer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fanwire_fuzz::decode_again(Serializer::Ubjson, bytes);
    if let Ok(plain) = plain_ubjson(bytes) {
        assert_ne!(decode(Serializer::Ubjson, &plain).err(), Some(DecodeError::Dialect));
        assert_eq!(plain_ubjson(&plain).as_ref(), Ok(&plain), "what is plain stays as it is");
        fanwire_fuzz::decode_again(Serializer::Ubjson, &plain);
    }
});
