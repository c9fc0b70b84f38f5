//! Where a router is: the URLs that a client takes, as parts.
//!
//! ```text
//!   ws://host[:80]/path    wss://host[:443]/path     WebSocket
//!   tcp://host[:8080]      tcps://host[:8080]        RawSocket
//!   unix:///path/of/socket    unix:/path             RawSocket
//! ```
//!
//! Hosts are names, IPv4 addresses, or IPv6 addresses in brackets. Whether a host exists is found out by
//! [`super::stream`]; credentials in URLs are refused, since they would end up in process lists and logs.

use std::fmt;
use std::str::FromStr;

/// How a router is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// RawSocket over TCP.
    Tcp,
    /// RawSocket over TLS.
    Tcps,
    /// RawSocket over a Unix domain socket.
    Unix,
    /// WebSocket over TCP.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Scheme {
    const ALL: [Scheme; 5] = [Scheme::Tcp, Scheme::Tcps, Scheme::Unix, Scheme::Ws, Scheme::Wss];

    /// As it stands in front of `://`.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Tcp => "tcp",
            Scheme::Tcps => "tcps",
            Scheme::Unix => "unix",
            Scheme::Ws => "ws",
            Scheme::Wss => "wss",
        }
    }

    /// Messages travel in WebSocket frames; otherwise in those of RawSocket.
    pub fn is_websocket(self) -> bool {
        matches!(self, Scheme::Ws | Scheme::Wss)
    }

    /// The connection is encrypted.
    pub fn is_tls(self) -> bool {
        matches!(self, Scheme::Tcps | Scheme::Wss)
    }

    /// Where no port is given: HTTP's ports for WebSocket, the router's own for RawSocket.
    fn default_port(self) -> u16 {
        match self {
            Scheme::Tcp | Scheme::Tcps => 8080,
            Scheme::Unix => 0,
            Scheme::Ws => 80,
            Scheme::Wss => 443,
        }
    }
}

/// The URL of a router.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    /// How to speak to it.
    pub scheme: Scheme,
    /// Name or address, without brackets; empty for `unix`.
    pub host: String,
    /// Port; 0 for `unix`.
    pub port: u16,
    /// What is asked for in the upgrade, query included (`/` at least); for `unix` the path of the socket; for `tcp`
    /// and `tcps` empty.
    pub path: String,
}

impl Url {
    /// Host and port as they stand in a URL: with brackets around an IPv6 address, without the port that the scheme
    /// has anyway.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.scheme.default_port() { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Unix => write!(f, "unix://{}", self.path),
            scheme => write!(f, "{}://{}{}", scheme.name(), self.authority(), self.path),
        }
    }
}

/// Why a text is not the URL of a router.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UrlError {
    /// No `://`.
    NoScheme,
    /// A scheme that is none of the five.
    UnknownScheme,
    /// A user name or password in front of the host.
    Credentials,
    /// Nothing between `://` and the port or path.
    NoHost,
    /// An IPv6 address without brackets, or brackets that are not closed or hold something else.
    Brackets,
    /// White space, control characters or other characters that no host or path holds.
    Character,
    /// Not a number from 1 to 65535.
    Port,
    /// A path behind `tcp://` or `tcps://`.
    PathUnused,
    /// A path of a socket that does not begin with `/`.
    PathRelative,
    /// A fragment, `#...`: servers never see it.
    Fragment,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UrlError::NoScheme => "a URL begins with ws://, wss://, tcp://, tcps:// or unix://",
            UrlError::UnknownScheme => "the scheme must be ws, wss, tcp, tcps or unix",
            UrlError::Credentials => "user names and passwords do not belong in the URL",
            UrlError::NoHost => "the host is missing",
            UrlError::Brackets => "an IPv6 address stands in brackets, like ws://[::1]:8080/ws",
            UrlError::Character => "the URL has a character that must not stand there",
            UrlError::Port => "the port must be a number from 1 to 65535",
            UrlError::PathUnused => "RawSocket has no paths: leave out what follows the port",
            UrlError::PathRelative => "the path of the socket must be absolute, like unix:///run/router.sock",
            UrlError::Fragment => "a fragment (#...) is never sent: leave it out",
        })
    }
}

impl std::error::Error for UrlError {}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Url, UrlError> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.starts_with("//")) {
            return unix(path);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
        let scheme = Scheme::ALL
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(scheme))
            .ok_or(UrlError::UnknownScheme)?;
        if scheme == Scheme::Unix {
            return unix(rest);
        }
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = host_and_port(authority, scheme)?;
        Ok(Url { scheme, host, port, path: path_of(path, scheme)? })
    }
}

fn unix(path: &str) -> Result<Url, UrlError> {
    if !path.starts_with('/') {
        return Err(UrlError::PathRelative);
    }
    if path.contains('\0') {
        return Err(UrlError::Character);
    }
    Ok(Url { scheme: Scheme::Unix, host: String::new(), port: 0, path: path.to_owned() })
}

fn host_and_port(authority: &str, scheme: Scheme) -> Result<(String, u16), UrlError> {
    if authority.contains('@') {
        return Err(UrlError::Credentials);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(UrlError::Brackets)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::Brackets)?;
            (address, port)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if host.is_empty() {
        return Err(UrlError::NoHost);
    }
    let port = match port.strip_prefix(':') {
        Some(port) if port.contains(':') => return Err(UrlError::Brackets),
        Some(port) => port_number(port)?,
        None if port.is_empty() => scheme.default_port(),
        None => return Err(UrlError::Brackets),
    };
    // What stands here is written into the upgrade request.
    if !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:%".contains(&b)) {
        return Err(UrlError::Character);
    }
    Ok((host.to_owned(), port))
}

fn port_number(port: &str) -> Result<u16, UrlError> {
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(UrlError::Port),
    }
}

fn path_of(path: &str, scheme: Scheme) -> Result<String, UrlError> {
    if !scheme.is_websocket() {
        return if matches!(path, "" | "/") { Ok(String::new()) } else { Err(UrlError::PathUnused) };
    }
    // What stands here is written into the upgrade request.
    if !path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(UrlError::Character);
    }
    Ok(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(scheme: Scheme, host: &str, port: u16, path: &str) -> Result<Url, UrlError> {
        Ok(Url { scheme, host: host.to_owned(), port, path: path.to_owned() })
    }

    #[test]
    fn urls_of_routers_are_taken_apart() {
        for (text, expected) in [
            ("ws://127.0.0.1:8080/ws", url(Scheme::Ws, "127.0.0.1", 8080, "/ws")),
            ("ws://router", url(Scheme::Ws, "router", 80, "/")),
            ("ws://router?key=1", url(Scheme::Ws, "router", 80, "/?key=1")),
            ("WSS://router.example/a/b?c=d", url(Scheme::Wss, "router.example", 443, "/a/b?c=d")),
            ("wss://[::1]/ws", url(Scheme::Wss, "::1", 443, "/ws")),
            ("tcp://[fe80::1]:9000", url(Scheme::Tcp, "fe80::1", 9000, "")),
            ("tcp://localhost", url(Scheme::Tcp, "localhost", 8080, "")),
            ("tcp://localhost/", url(Scheme::Tcp, "localhost", 8080, "")),
            ("tcps://router:4433", url(Scheme::Tcps, "router", 4433, "")),
            ("unix:/run/a.sock", url(Scheme::Unix, "", 0, "/run/a.sock")),
            ("unix:///run/a b.sock", url(Scheme::Unix, "", 0, "/run/a b.sock")),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_told() {
        for (text, error) in [
            ("", UrlError::NoScheme),
            ("localhost:8080", UrlError::NoScheme),
            ("http://localhost", UrlError::UnknownScheme),
            ("ws://me:secret@localhost", UrlError::Credentials),
            ("ws://", UrlError::NoHost),
            ("ws://:80/", UrlError::NoHost),
            ("ws://::1/", UrlError::NoHost),
            ("ws://fe80::1/", UrlError::Brackets),
            ("ws://[::1/", UrlError::Brackets),
            ("ws://[localhost]/", UrlError::Brackets),
            ("ws://[::1]80/", UrlError::Brackets),
            ("ws://a b/", UrlError::Character),
            ("ws://a/b\r\nc", UrlError::Character),
            ("ws://a:/", UrlError::Port),
            ("ws://a:0", UrlError::Port),
            ("ws://a:65536", UrlError::Port),
            ("ws://a:+80", UrlError::Port),
            ("tcp://a:80/ws", UrlError::PathUnused),
            ("unix:a.sock", UrlError::PathRelative),
            ("unix://run/a.sock", UrlError::PathRelative),
            ("ws://a/#b", UrlError::Fragment),
        ] {
            assert_eq!(text.parse::<Url>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_url_is_shown_as_it_can_be_read_again() {
        for text in ["ws://[::1]:8080/ws", "wss://a/", "tcp://a:1", "tcps://a", "unix:///a"] {
            let url: Url = text.parse().unwrap();
            assert_eq!(url.to_string(), text);
        }
    }
}
