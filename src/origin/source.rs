//! Whom one address stands for, where peers are counted by where they come from.

use std::net::IpAddr;

use super::PeerAddress;

/// An IPv4 address, or the first 64 bits of an IPv6 address, which one customer mostly has all of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// An IPv4 address, also in the form it has on an IPv6 socket.
    V4(u32),
    /// The first half of an IPv6 address.
    V6(u64),
}

impl Source {
    /// The source that an address belongs to. Peers on Unix sockets are of none.
    pub fn of(address: &PeerAddress) -> Option<Source> {
        let PeerAddress::Tcp(address) = address else { return None };
        Some(match address.ip().to_canonical() {
            IpAddr::V4(ip) => Source::V4(ip.into()),
            IpAddr::V6(ip) => Source::V6((u128::from(ip) >> 64) as u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_address_or_a_network_of_64_bits() {
        let source = |text: &str| Source::of(&PeerAddress::Tcp(text.parse().unwrap())).unwrap();
        assert_eq!(source("192.0.2.1:1"), source("192.0.2.1:2"));
        assert_eq!(source("192.0.2.1:1"), source("[::ffff:192.0.2.1]:2"));
        assert_ne!(source("192.0.2.1:1"), source("192.0.2.2:1"));
        assert_eq!(source("[2001:db8::1]:1"), source("[2001:db8::ffff:1]:1"));
        assert_ne!(source("[2001:db8::1]:1"), source("[2001:db8:0:1::1]:1"));
        assert_ne!(source("0.0.0.0:1"), source("[::]:1"));
        assert_eq!(Source::of(&PeerAddress::Unix), None);
    }
}
