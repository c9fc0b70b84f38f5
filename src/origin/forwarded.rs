//! `X-Forwarded-For`: the client of a request that came through HTTP proxies.
//!
//! Each proxy appends whom it has the request from, so the list is read from its end, and only as far as those who wrote
//! it are believed: what a client has put there itself is never reached.

use std::net::{IpAddr, SocketAddr};

use super::Network;

/// The client of a request that came from `from`, with these values of the header in the order of the request. The
/// answer is `from` if nobody believed has named another.
pub fn client<'v>(
    from: IpAddr,
    values: impl DoubleEndedIterator<Item = &'v [u8]>,
    trusted: &[Network],
) -> IpAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains_ip(ip));
    let mut client = from.to_canonical();
    for item in values.rev().flat_map(|value| value.rsplit(|octet| *octet == b',')) {
        if !is_trusted(client) {
            break;
        }
        let Some(named) = address(item.trim_ascii()) else { break };
        client = named.to_canonical();
    }
    client
}

/// An address as proxies write it: alone, or with a port.
fn address(item: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(item).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(bracketed).or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(from: &str, values: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        let values = values.iter().map(|value| value.as_bytes());
        client(from.parse().unwrap(), values, &trusted).to_string()
    }

    #[test]
    fn the_last_whom_a_trusted_proxy_names_is_the_client() {
        assert_eq!(client_of("10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(client_of("10.0.0.1", &["192.0.2.1, 10.0.0.2"]), "192.0.2.1");
        assert_eq!(client_of("10.0.0.1", &["192.0.2.1", "10.0.0.3,10.0.0.2"]), "192.0.2.1");
        assert_eq!(client_of("::ffff:10.0.0.1", &["192.0.2.1:4711"]), "192.0.2.1");
        assert_eq!(client_of("fd00::1", &["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(client_of("fd00::1", &["[2001:db8::1]"]), "2001:db8::1");
    }

    #[test]
    fn what_a_client_claims_is_not_believed() {
        assert_eq!(client_of("192.0.2.7", &["10.0.0.9"]), "192.0.2.7", "it is no proxy");
        assert_eq!(client_of("10.0.0.1", &["127.0.0.1, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(client_of("10.0.0.1", &["127.0.0.1", "192.0.2.1"]), "192.0.2.1");
    }

    #[test]
    fn what_is_no_address_ends_the_list() {
        assert_eq!(client_of("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client_of("10.0.0.1", &["192.0.2.1, unknown"]), "10.0.0.1");
        assert_eq!(client_of("10.0.0.1", &["192.0.2.1, unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client_of("10.0.0.1", &["", "\u{e9}"]), "10.0.0.1");
        assert_eq!(client_of("10.0.0.1", &["10.0.0.2"]), "10.0.0.2", "all are proxies: the first of them");
    }
}
