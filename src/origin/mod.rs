//! Where a connection comes from and what it has shown before its first octet: plain data, given once when it is
//! opened.
//!
//! Owns the words for it, and the parsers of what proxies say about the clients behind them. Who may speak for others
//! is a setting of each listener, a list of [`Network`]s; nobody else is believed.

pub mod forwarded;
mod network;
pub mod proxy_protocol;
mod source;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

pub use self::network::{Network, NetworkError};
pub use self::source::Source;

/// What is known of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The client: the other end of the socket, or whom a proxy that is believed has named instead.
    pub address: PeerAddress,
    /// The other end of the socket, if that is a proxy.
    pub proxy: Option<PeerAddress>,
    /// What TLS has shown, if it was spoken.
    pub tls: Option<Box<TlsOrigin>>,
}

/// One end of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PeerAddress {
    /// Address and port, as [`PeerAddress::tcp`] makes them. The port is 0 where only the address was told, as in
    /// `X-Forwarded-For`.
    Tcp(SocketAddr),
    /// Peers on Unix sockets have no address.
    Unix,
}

/// What TLS has shown of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsOrigin {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, by its IANA name.
    pub cipher_suite: &'static str,
    /// The host that the client has asked for (SNI).
    pub server_name: Option<Box<str>>,
    /// What was agreed on by ALPN.
    pub application_protocol: Option<Box<str>>,
    /// The session goes on from an earlier one: what that has shown was believed then.
    pub resumed: bool,
    /// What the client has identified itself with. It holds the key.
    pub client_certificate: Option<ClientCertificate>,
    /// The channel binding `tls-exporter` (RFC 9266). There is no `tls-unique`: rustls tells no Finished message.
    pub exporter: [u8; 32],
}

/// A certificate whose key the client has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificate {
    /// The certificate.
    pub der: Box<[u8]>,
    /// Its subject as RFC 4514 writes it (`CN=alice,O=Example`), if a configured authority vouches for it. A
    /// certificate nobody vouches for is as good as its fingerprint, and can claim any subject.
    pub subject: Option<Box<str>>,
}

impl PeerAddress {
    /// The end of a socket, or whom a proxy has named. An IPv4 address is one and the same whether it came over IPv4 or
    /// in the form it has on an IPv6 socket, so who counts by address counts one source once.
    pub fn tcp(address: SocketAddr) -> PeerAddress {
        match address.ip().to_canonical() {
            ip @ IpAddr::V4(_) => PeerAddress::Tcp(SocketAddr::new(ip, address.port())),
            IpAddr::V6(_) => PeerAddress::Tcp(address),
        }
    }

    /// The client that these values of `X-Forwarded-For` name, if this is the address of a proxy that is believed, and
    /// it names another.
    pub fn forwarded<'v>(
        &self,
        values: impl DoubleEndedIterator<Item = &'v [u8]>,
        trusted: &[Network],
    ) -> Option<PeerAddress> {
        if !trusted.iter().any(|network| network.contains(self)) {
            return None;
        }
        forwarded::client(values, trusted).map(|ip| PeerAddress::tcp(SocketAddr::new(ip, 0)))
    }
}

impl From<PeerAddress> for Origin {
    /// A plain connection.
    fn from(address: PeerAddress) -> Origin {
        Origin { address, proxy: None, tls: None }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddress::Tcp(address) => address.fmt(f),
            PeerAddress::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_one_address() {
        let shown = |address: &str| PeerAddress::tcp(address.parse().unwrap()).to_string();
        assert_eq!(shown("[::ffff:192.0.2.1]:1"), "192.0.2.1:1");
        assert_eq!(shown("192.0.2.1:1"), "192.0.2.1:1");
        assert_eq!(shown("[fe80::1%7]:1"), "[fe80::1%7]:1");
    }
}
