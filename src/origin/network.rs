//! Networks as an operator writes them: `10.0.0.0/8`, `2001:db8::/32`, one address, or `unix`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::PeerAddress;

/// Some of all addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Network {
    /// The addresses that begin with the same bits.
    Ip {
        /// One of them; its other bits are 0.
        address: IpAddr,
        /// How many bits.
        prefix_bits: u8,
    },
    /// Whoever can reach a Unix socket.
    Unix,
}

/// Why a text is not a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetworkError {
    /// No address.
    Address(String),
    /// More bits than the address has, or no number.
    Prefix(String),
    /// Bits behind the prefix are set: the network that was meant.
    HostBits(Network),
}

impl Network {
    /// True if the peer is in this network. An IPv4 address is the same one in the form it has on an IPv6 socket.
    pub fn contains(&self, peer: &PeerAddress) -> bool {
        match (self, peer) {
            (Network::Unix, PeerAddress::Unix) => true,
            (Network::Ip { .. }, PeerAddress::Tcp(peer)) => self.contains_ip(peer.ip()),
            _ => false,
        }
    }

    /// The same network as peers are looked at: IPv4 addresses in the form of IPv6 are IPv4 addresses.
    fn to_canonical(self) -> Network {
        match self {
            Network::Ip { address, prefix_bits } => {
                match (address.to_canonical(), prefix_bits.checked_sub(96)) {
                    (address @ IpAddr::V4(_), Some(prefix_bits)) => Network::Ip { address, prefix_bits },
                    _ => self,
                }
            }
            Network::Unix => self,
        }
    }

    /// True if the address is in this network.
    pub fn contains_ip(&self, ip: IpAddr) -> bool {
        let Network::Ip { address, prefix_bits } = self else { return false };
        let ip = ip.to_canonical();
        ip.is_ipv4() == address.is_ipv4() && masked(ip, *prefix_bits) == *address
    }
}

/// The address with all bits behind the prefix 0.
fn masked(ip: IpAddr, prefix_bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix_bits.into())).unwrap_or(0);
            IpAddr::V4((u32::from(ip) & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix_bits.into())).unwrap_or(0);
            IpAddr::V6((u128::from(ip) & mask).into())
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        if text == "unix" {
            return Ok(Network::Unix);
        }
        let (address, prefix) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(NetworkError::Address(text.to_owned()));
        };
        let all_bits = if address.is_ipv4() { 32 } else { 128 };
        let wrong = || NetworkError::Prefix(text.to_owned());
        let prefix_bits = match prefix {
            None => all_bits,
            Some(bits) if bits.bytes().all(|digit| digit.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= all_bits).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        let network = Network::Ip { address: masked(address, prefix_bits), prefix_bits };
        if masked(address, prefix_bits) != address {
            return Err(NetworkError::HostBits(network));
        }
        Ok(network.to_canonical())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Network::Ip { address, prefix_bits } => write!(f, "{address}/{prefix_bits}"),
            Network::Unix => f.write_str("unix"),
        }
    }
}

impl fmt::Display for NetworkError {
    /// What is wrong, and what would be right.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkError::Address(text) => {
                write!(f, "`{text}` is no network; write 10.0.0.0/8, 2001:db8::/32, one address, or unix")
            }
            NetworkError::Prefix(text) => write!(f, "`{text}` has more bits behind `/` than an address has"),
            NetworkError::HostBits(network) => {
                write!(f, "bits behind the `/` are set; the whole network is {network}")
            }
        }
    }
}

impl std::error::Error for NetworkError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_what_begins_with_its_bits() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.0"),
            ("192.0.2.128/25", "192.0.2.255", "192.0.2.127"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "fe80::1", "127.0.0.1"),
            ("::1", "::1", "::2"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
            ("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("::ffff:0:0/96", "192.0.2.1", "::1"),
        ] {
            let network = network(text);
            assert!(network.contains_ip(inside.parse().unwrap()), "{text} {inside}");
            assert!(!network.contains_ip(outside.parse().unwrap()), "{text} {outside}");
        }
    }

    #[test]
    fn an_ipv4_peer_of_an_ipv6_socket_is_an_ipv4_peer() {
        let mapped = "[::ffff:10.1.2.3]:80".parse().unwrap();
        assert!(network("10.0.0.0/8").contains(&PeerAddress::Tcp(mapped)));
        assert!(!network("::/0").contains(&PeerAddress::Tcp(mapped)));
    }

    #[test]
    fn peers_on_unix_sockets_are_a_network_of_their_own() {
        assert!(network("unix").contains(&PeerAddress::Unix));
        assert!(!network("0.0.0.0/0").contains(&PeerAddress::Unix));
        assert!(!network("unix").contains(&PeerAddress::Tcp("127.0.0.1:1".parse().unwrap())));
    }

    #[test]
    fn what_is_no_network_is_told() {
        for text in ["", "10.0.0", "localhost", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "::/129", "::/x"] {
            let error = text.parse::<Network>().unwrap_err();
            assert!(!matches!(error, NetworkError::HostBits(_)), "{text}");
        }
        let meant = "10.1.0.0/8".parse::<Network>().unwrap_err();
        assert_eq!(meant, NetworkError::HostBits(network("10.0.0.0/8")));
    }

    #[test]
    fn a_network_is_shown_as_it_is_read() {
        for text in ["10.0.0.0/8", "::1/128", "unix"] {
            assert_eq!(network(text).to_string(), text);
        }
        assert_eq!(network("::ffff:10.0.0.0/104").to_string(), "10.0.0.0/8");
    }
}
