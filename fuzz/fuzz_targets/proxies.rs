//! What proxies say of clients: the PROXY header and `X-Forwarded-For`.

#![no_main]

use fanwire::origin::PeerAddress;
use fanwire::origin::proxy_protocol::{HEADER_BYTES_MAX, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    match parse(input) {
        Ok(Some(header)) => {
            assert!(header.bytes <= input.len() && header.bytes <= HEADER_BYTES_MAX);
            // What follows does not matter, and less is not enough.
            assert_eq!(parse(&input[..header.bytes]), Ok(Some(header)));
            assert_eq!(parse(&input[..header.bytes - 1]), Ok(None));
        }
        Ok(None) => assert!(input.len() < HEADER_BYTES_MAX),
        // More octets do not mend it.
        Err(error) => assert_eq!(parse(&[input, b"\r\n"].concat()), Err(error)),
    }
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network"));
    let proxy = PeerAddress::Tcp("10.0.0.1:1".parse().expect("an address"));
    let values = input.split(|octet| *octet == b'\n');
    if let Some(PeerAddress::Tcp(client)) = proxy.forwarded(values, &trusted) {
        // Whom nobody trusts is the client; a trusted one is only if nobody else stands before it.
        let text = client.ip().to_string();
        let again = proxy.forwarded([text.as_bytes()].into_iter(), &trusted);
        assert_eq!(again, Some(PeerAddress::Tcp(client)));
    }
});
