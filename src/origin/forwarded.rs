//! `X-Forwarded-For`: the client of a request that came through HTTP proxies.
//!
//! Each proxy appends whom it has the request from, so the list is read from its end, and only as far as those who
//! wrote it are believed: what a client has put there itself is never reached.

use std::net::{IpAddr, SocketAddr};

use super::Network;

/// The client of a request that came from a proxy that is believed, with these values of the header in the order of the
/// request: the last address that is none of a trusted proxy, else the first of the proxies. `None` if there is none.
pub fn client<'v>(values: impl DoubleEndedIterator<Item = &'v [u8]>, trusted: &[Network]) -> Option<IpAddr> {
    let mut client = None;
    for item in values.rev().flat_map(|value| value.rsplit(|octet| *octet == b',')) {
        let Some(named) = address(item.trim_ascii()) else { break };
        client = Some(named);
        if !trusted.iter().any(|network| network.contains_ip(named)) {
            break;
        }
    }
    client
}

/// An address as proxies write it: alone, or with a port.
fn address(item: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(item).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address: IpAddr = text.parse().ok().or_else(bracketed).or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::PeerAddress;

    fn client_of(from: &str, values: &[&str]) -> Option<String> {
        let trusted = ["10.0.0.0/8", "fd00::/8", "unix"].map(|network| network.parse().unwrap());
        let values = values.iter().map(|value| value.as_bytes());
        let from = match from {
            "unix" => PeerAddress::Unix,
            ip => PeerAddress::Tcp(SocketAddr::new(ip.parse().unwrap(), 9)),
        };
        from.forwarded(values, &trusted).map(|client| client.to_string())
    }

    #[test]
    fn the_last_whom_a_trusted_proxy_names_is_the_client() {
        for (from, values, client) in [
            ("10.0.0.1", &["192.0.2.1"][..], "192.0.2.1:0"),
            ("10.0.0.1", &["192.0.2.1, 10.0.0.2"], "192.0.2.1:0"),
            ("10.0.0.1", &["192.0.2.1", "10.0.0.3,10.0.0.2"], "192.0.2.1:0"),
            ("::ffff:10.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1:0"),
            ("unix", &["192.0.2.1:4711"], "192.0.2.1:0"),
            ("fd00::1", &["[2001:db8::1]:80"], "[2001:db8::1]:0"),
            ("fd00::1", &["[2001:db8::1]"], "[2001:db8::1]:0"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3:0"),
        ] {
            assert_eq!(client_of(from, values).as_deref(), Some(client), "{from} {values:?}");
        }
    }

    #[test]
    fn what_a_client_claims_is_not_believed() {
        assert_eq!(client_of("192.0.2.7", &["10.0.0.9"]), None, "it is no proxy");
        for values in [&["127.0.0.1, 192.0.2.1"][..], &["127.0.0.1", "192.0.2.1"]] {
            assert_eq!(client_of("10.0.0.1", values).as_deref(), Some("192.0.2.1:0"));
        }
    }

    #[test]
    fn what_is_no_address_ends_the_list() {
        for values in [&[][..], &["192.0.2.1, unknown"], &["", "\u{e9}"], &["192.0.2.1,"]] {
            assert_eq!(client_of("10.0.0.1", values), None, "{values:?}");
        }
        let beyond = client_of("10.0.0.1", &["192.0.2.1, unknown, 10.0.0.2"]);
        assert_eq!(beyond.as_deref(), Some("10.0.0.2:0"));
    }
}
