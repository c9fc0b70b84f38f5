//! The PROXY protocol, versions 1 and 2: what a load balancer says of the client before the client's first octet.
//!
//! Pure: octets in, a header out. Whoever trusts a proxy must insist on the header, since a client could write one as
//! well; whether it may come at all is therefore never guessed from the octets.
//!
//! Spec: HAProxy's `proxy-protocol.txt`, sections 2.1 and 2.2. What a header says beyond addresses (TLVs) is skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Octets of a header of version 1 at most, line end included.
const TEXT_BYTES_MAX: usize = 107;

/// Octets of version 2 before its addresses.
const BINARY_HEAD_BYTES: usize = 16;

/// Octets of a header at most. Addresses are 36 octets, what else proxies add is a few hundred.
pub const HEADER_BYTES_MAX: usize = 2048;

/// A header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Its octets; what follows is the client's.
    pub bytes: usize,
    /// The client. None if the proxy speaks for itself (a health check), or does not know.
    pub client: Option<SocketAddr>,
}

/// The octets are no header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoHeader;

/// Reads the header at the front; `None` if more octets are needed. It is whole within [`HEADER_BYTES_MAX`] octets.
pub fn parse(octets: &[u8]) -> Result<Option<Header>, NoHeader> {
    let begins_with = |start: &[u8]| {
        let common = start.len().min(octets.len());
        start[..common] == octets[..common]
    };
    if begins_with(SIGNATURE) {
        return binary(octets);
    }
    if begins_with(b"PROXY ") {
        return text(octets);
    }
    Err(NoHeader)
}

fn text(octets: &[u8]) -> Result<Option<Header>, NoHeader> {
    let front = &octets[..octets.len().min(TEXT_BYTES_MAX)];
    let Some(end) = front.windows(2).position(|pair| pair == b"\r\n") else {
        return if front.len() == TEXT_BYTES_MAX { Err(NoHeader) } else { Ok(None) };
    };
    let line = std::str::from_utf8(&front[..end]).map_err(|_| NoHeader)?;
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    let bytes = end + 2;
    if family == Some("UNKNOWN") {
        return Ok(Some(Header { bytes, client: None }));
    }
    let [Some(from), Some(to), Some(from_port), Some(to_port), None] =
        [words.next(), words.next(), words.next(), words.next(), words.next()]
    else {
        return Err(NoHeader);
    };
    let (from, to) = match family {
        Some("TCP4") => (address::<Ipv4Addr>(from)?, address::<Ipv4Addr>(to)?),
        Some("TCP6") => (address::<Ipv6Addr>(from)?, address::<Ipv6Addr>(to)?),
        _ => return Err(NoHeader),
    };
    let (client, _) = (SocketAddr::new(from, port(from_port)?), SocketAddr::new(to, port(to_port)?));
    Ok(Some(Header { bytes, client: Some(client) }))
}

fn address<A: std::str::FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, NoHeader> {
    text.parse::<A>().map(Into::into).map_err(|_| NoHeader)
}

/// A decimal number without a sign or leading zeros.
fn port(text: &str) -> Result<u16, NoHeader> {
    let plain = text.bytes().all(|digit| digit.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(NoHeader)
}

fn binary(octets: &[u8]) -> Result<Option<Header>, NoHeader> {
    let Some((head, rest)) = octets.split_first_chunk::<BINARY_HEAD_BYTES>() else { return Ok(None) };
    let [.., version_and_command, family, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let bytes = BINARY_HEAD_BYTES + length;
    if version_and_command >> 4 != 2 || bytes > HEADER_BYTES_MAX {
        return Err(NoHeader);
    }
    if rest.len() < length {
        return Ok(None);
    }
    let body = &rest[..length];
    let client = match (version_and_command & 0xF, family) {
        // LOCAL: the proxy's own connection, whatever else it says.
        (0, _) => None,
        (1, 0x11) => Some(pair::<4>(body)?),
        (1, 0x21) => Some(pair::<16>(body)?),
        // Unspecified, datagrams, Unix sockets: there is no address to be told.
        (1, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => None,
        _ => return Err(NoHeader),
    };
    Ok(Some(Header { bytes, client }))
}

/// The first of two addresses of so many octets, and its port.
fn pair<const BYTES: usize>(body: &[u8]) -> Result<SocketAddr, NoHeader>
where
    IpAddr: From<[u8; BYTES]>,
{
    let address: [u8; BYTES] = *body.first_chunk().ok_or(NoHeader)?;
    let ports = body.get(2 * BYTES..).and_then(|rest| rest.first_chunk::<4>()).ok_or(NoHeader)?;
    Ok(SocketAddr::new(IpAddr::from(address), u16::from_be_bytes([ports[0], ports[1]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(octets: &[u8]) -> (usize, Option<String>) {
        let Header { bytes, client } = parse(octets).unwrap().unwrap();
        (bytes, client.map(|client| client.to_string()))
    }

    fn version_2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &length, body].concat()
    }

    const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x1F, 0x90, 0, 80];

    #[test]
    fn version_1_names_the_client() {
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 8080 80\r\n\x7f\xf1";
        assert_eq!(header(line), (line.len() - 2, Some("192.0.2.1:8080".to_owned())));
        let line = b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\nGET";
        assert_eq!(header(line), (line.len() - 3, Some("[2001:db8::1]:65535".to_owned())));
        assert_eq!(header(b"PROXY UNKNOWN\r\n"), (15, None));
        assert_eq!(header(b"PROXY UNKNOWN anything at all\r\n").1, None);
    }

    #[test]
    fn version_2_names_the_client() {
        let octets = version_2(1, 0x11, &IPV4);
        assert_eq!(header(&[&octets[..], b"GET"].concat()), (28, Some("192.0.2.1:8080".to_owned())));
        let ipv6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 16], &[0, 9, 0, 80]]
            .concat();
        assert_eq!(header(&version_2(1, 0x21, &ipv6)), (52, Some("[2001:db8::1]:9".to_owned())));
        let with_more = [&IPV4[..], &[4, 0, 3, 1, 2, 3]].concat();
        assert_eq!(header(&version_2(1, 0x11, &with_more)), (34, Some("192.0.2.1:8080".to_owned())));
        assert_eq!(header(&version_2(0, 0, &[])), (16, None));
        assert_eq!(header(&version_2(0, 0x11, &IPV4)), (28, None));
        assert_eq!(header(&version_2(1, 0x31, &[0; 216])), (232, None));
    }

    #[test]
    fn every_beginning_of_a_header_waits_for_the_rest() {
        for whole in [&b"PROXY TCP4 192.0.2.1 198.51.100.2 8080 80\r\n"[..], &version_2(1, 0x11, &IPV4)] {
            for cut in 0..whole.len() {
                assert_eq!(parse(&whole[..cut]), Ok(None), "{cut}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let endless = [&b"PROXY TCP4 "[..], &[b'1'; TEXT_BYTES_MAX]].concat();
        let wrong_version = [&SIGNATURE[..], &[0x11, 0x11, 0, 0]].concat();
        let too_long = [&SIGNATURE[..], &[0x21, 0x11, 0xFF, 0xFF]].concat();
        for octets in [
            &b"GET / HTTP/1.1\r\n"[..],
            &[0x7F],
            &[0x16, 3, 1],
            b"PROXY TCP4 192.0.2.1 198.51.100.2 8080\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 8080 80 1\r\n",
            b"PROXY TCP4 192.0.2.1  198.51.100.2 8080 80\r\n",
            b"PROXY TCP4 2001:db8::1 ::1 8080 80\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 08080 80\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 +808 80\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 80\r\n",
            b"PROXY UDP4 192.0.2.1 198.51.100.2 8080 80\r\n",
            b"PROXY\r\n",
            &endless,
            &wrong_version,
            &too_long,
            &version_2(2, 0x11, &IPV4),
            &version_2(1, 0x11, &IPV4[..11]),
            &version_2(1, 0x44, &IPV4),
        ] {
            assert_eq!(parse(octets), Err(NoHeader), "{:?}", String::from_utf8_lossy(octets));
        }
    }
}
