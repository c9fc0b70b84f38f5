//! What pages in browsers may do at a listener: which may connect, and the cookie by which a browser is known again.
//!
//! Every page can make a browser open a WebSocket to anybody, and the browser then sends the cookies of that host
//! along; it says whose page it is in `Origin`, and leaves the rest to the server. Who sends no `Origin` is no page.
//!
//! What is open: a page of the router's own host is allowed only if it is among the allowed ones, as in
//! autobahn-python. The host of a request proves nothing, since an attacker's name may be made to stand for the
//! router's address.
//!
//! Spec: RFC 6454; RFC 6265, section 4.

use httparse::Request;

use super::upgrade::values;

/// Octets of an origin; a host has 253 at most.
pub const ORIGIN_BYTES_MAX: usize = 300;

/// Characters of a cookie's value: 120 bits of chance.
pub const COOKIE_CHARACTERS: usize = 24;

/// Pages at a listener. By default all may connect, and none is given a cookie.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pages {
    /// Which may connect.
    pub origins: Origins,
    /// The cookie that browsers are given.
    pub cookie: Option<CookieRule>,
}

/// Which pages may connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origins {
    /// With stars for any text, in lower case; none: all.
    patterns: Option<Vec<String>>,
    allow_null: bool,
}

/// Whose page a request comes from, as it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Claim {
    /// It is no page's.
    NoPage,
    /// Of this origin.
    Origin(String),
    /// It says something that no browser says.
    Unreadable,
}

/// The cookie that browsers are given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CookieRule {
    /// Its name, a token of HTTP.
    pub name: String,
    /// What follows its value: `; Path=/; Max-Age=…`.
    pub attributes: String,
    /// How long whoever has it is known again.
    pub max_age_seconds: u64,
}

impl Default for Origins {
    fn default() -> Origins {
        Origins { patterns: None, allow_null: true }
    }
}

impl Origins {
    /// Those that one of these patterns describes: scheme, host and perhaps a port, and stars for any text. `None`:
    /// all. Pages without an origin of their own (files, sandboxes), which say `null`, only if that is allowed.
    pub fn new(patterns: Option<&[String]>, allow_null: bool) -> Origins {
        let lower =
            |patterns: &[String]| patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
        let patterns = patterns.filter(|patterns| !patterns.iter().any(|pattern| pattern == "*"));
        Origins { patterns: patterns.map(lower), allow_null }
    }

    /// True if whoever claims this may connect.
    pub fn allow(&self, claim: &Claim) -> bool {
        let origin = match (claim, &self.patterns) {
            (Claim::NoPage, _) => return true,
            (Claim::Unreadable, patterns) => return patterns.is_none() && self.allow_null,
            (Claim::Origin(origin), _) => origin.to_ascii_lowercase(),
        };
        // Browsers say one or the other of files.
        if origin == "null" || origin.starts_with("file://") {
            return self.allow_null;
        }
        let Some(patterns) = &self.patterns else { return true };
        // A pattern may name the port that goes without saying.
        let with_port = with_port(&origin);
        let matches = |pattern: &String| {
            star_matches(pattern.as_bytes(), origin.as_bytes())
                || with_port
                    .as_ref()
                    .is_some_and(|origin| star_matches(pattern.as_bytes(), origin.as_bytes()))
        };
        is_origin(&origin) && patterns.iter().any(matches)
    }
}

impl Claim {
    /// What a request claims.
    pub fn of(request: &Request<'_, '_>) -> Claim {
        let mut claims = values(request, "origin");
        let (Some(origin), None) = (claims.next(), claims.next()) else {
            return if values(request, "origin").next().is_none() {
                Claim::NoPage
            } else {
                Claim::Unreadable
            };
        };
        match std::str::from_utf8(origin) {
            Ok(origin) if !origin.is_empty() && origin.len() <= ORIGIN_BYTES_MAX => {
                Claim::Origin(origin.to_owned())
            }
            _ => Claim::Unreadable,
        }
    }

    /// The same for people: the beginning of what was claimed, without what would disturb a log.
    pub fn shown(&self) -> &str {
        match self {
            Claim::Origin(origin) if origin.chars().all(|c| c.is_ascii_graphic()) => origin,
            Claim::NoPage => "none",
            _ => "(not readable)",
        }
    }
}

/// Scheme and host, and perhaps a port: nothing in which a star could run over the end of a host.
fn is_origin(origin: &str) -> bool {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._:[]".contains(&octet);
    origin
        .split_once("://")
        .is_some_and(|(scheme, host)| !scheme.is_empty() && !host.is_empty() && host.bytes().all(plain))
}

/// The origin with its port, if it has left that out.
fn with_port(origin: &str) -> Option<String> {
    let (scheme, host) = origin.split_once("://")?;
    let port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    (!has_port).then(|| format!("{origin}:{port}"))
}

/// True if the text is the pattern, with any text in place of each star. Time grows with the product of both lengths.
fn star_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and how far what it stands for goes.
    let mut star = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((place, end)) = star {
            star = Some((place, end + 1));
            (p, t) = (place + 1, end + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|octet| *octet == b'*')
}

impl CookieRule {
    /// The value that a request brings, if it is one that we may have given. Whether it stands for anybody is not
    /// known here: a browser that had one before the router was started goes on with it.
    pub fn value<'r>(&self, request: &'r Request<'_, '_>) -> Option<&'r str> {
        let cookies = values(request, "cookie").flat_map(|value| value.split(|octet| *octet == b';'));
        let mut ours = cookies.filter_map(|cookie| {
            let value = cookie.trim_ascii().strip_prefix(self.name.as_bytes())?.strip_prefix(b"=")?;
            let valid = value.len() == COOKIE_CHARACTERS && value.iter().all(u8::is_ascii_alphanumeric);
            std::str::from_utf8(value).ok().filter(|_| valid)
        });
        ours.next()
    }

    /// The value of `Set-Cookie` that gives a browser this one.
    pub fn set(&self, value: &str) -> String {
        format!("{}={value}{}", self.name, self.attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::upgrade::RequestHead;
    use super::*;
    use crate::transport::random::Random;

    fn claim(headers: &str) -> Claim {
        let head = format!("GET / HTTP/1.1\r\n{headers}\r\n");
        RequestHead::of(head.as_bytes()).read(Claim::of).unwrap()
    }

    fn allows(patterns: &[&str], origin: &str) -> bool {
        let patterns: Vec<_> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        Origins::new(Some(&patterns), false).allow(&claim(&format!("Origin: {origin}\r\n")))
    }

    #[test]
    fn origins_are_those_that_a_pattern_describes() {
        for (pattern, origin) in [
            ("https://example.com", "https://example.com"),
            ("https://Example.com", "HTTPS://example.COM"),
            ("https://example.com:443", "https://example.com"),
            ("http://example.com:80", "http://example.com"),
            ("https://*.example.com", "https://a.b.example.com"),
            ("http://localhost:*", "http://localhost:8080"),
            ("http://localhost:*", "http://localhost"),
            ("*://[::1]:8080", "http://[::1]:8080"),
            ("http://[::1]:80", "http://[::1]"),
            ("*", "app://anything"),
            ("*://*", "moz-extension://7"),
        ] {
            assert!(allows(&["http://other", pattern], origin), "{pattern} {origin}");
        }
        for (pattern, origin) in [
            ("https://example.com", "http://example.com"),
            ("https://example.com", "https://example.com:8443"),
            ("https://example.com", "https://example.com.evil.org"),
            ("https://*.example.com", "https://example.com"),
            ("https://*.example.com", "https://evil.org/.example.com"),
            ("https://*.example.com", "https://evil.org#.example.com"),
            ("https://*.example.com", "https://evilexample.com"),
            ("http://localhost:*", "http://localhost.evil.org:1/"),
            ("*://*", "null"),
            ("*://*", "file:///a"),
        ] {
            assert!(!allows(&[pattern], origin), "{pattern} {origin}");
        }
        assert!(!allows(&[], "https://example.com"), "none is none");
    }

    #[test]
    fn pages_without_an_origin_have_a_rule_of_their_own_and_others_have_none() {
        let (all, listed) = (Origins::default(), Origins::new(Some(&["http://a".to_owned()]), true));
        let no_null = Origins::new(None, false);
        for null in ["null", "NULL", "file:///home"] {
            let null = claim(&format!("Origin: {null}\r\n"));
            assert!(all.allow(&null) && listed.allow(&null) && !no_null.allow(&null));
        }
        assert_eq!(claim("Host: a\r\n"), Claim::NoPage);
        assert!(listed.allow(&Claim::NoPage) && no_null.allow(&Claim::NoPage));
        let long = format!("Origin: http://{}\r\n", "a".repeat(ORIGIN_BYTES_MAX));
        for odd in ["Origin: http://a\r\nOrigin: http://a\r\n", "Origin:\r\n", &long] {
            let odd = claim(odd);
            assert_eq!((&odd, odd.shown()), (&Claim::Unreadable, "(not readable)"));
            assert!(all.allow(&odd) && !listed.allow(&odd) && !no_null.allow(&odd));
        }
        assert!(
            no_null.allow(&claim("Origin: http://b\r\n")) && !listed.allow(&claim("Origin: http://b\r\n"))
        );
    }

    /// The plainest way to see whether a pattern matches.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skipped| naive(rest, &text[skipped..])),
            Some((octet, rest)) => {
                text.split_first().is_some_and(|(first, text)| first == octet && naive(rest, text))
            }
        }
    }

    #[test]
    fn stars_stand_for_any_text() {
        let mut random = Random::new(11);
        for _ in 0..20_000 {
            let mut some = |from: &[u8]| -> Vec<u8> {
                (0..random.below(8)).map(|_| from[random.below(from.len())]).collect()
            };
            let (pattern, text) = (some(b"ab*"), some(b"ab"));
            assert_eq!(star_matches(&pattern, &text), naive(&pattern, &text), "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn a_cookie_is_ours_if_it_could_be() {
        let rule = CookieRule { name: "fw".into(), attributes: "; Path=/".into(), max_age_seconds: 9 };
        let value = "3479ACEFGHJKLMNPQRSTUVWX";
        let read = |cookies: &str| {
            let head = format!("GET / HTTP/1.1\r\n{cookies}\r\n\r\n");
            RequestHead::of(head.as_bytes()).read(|request| rule.value(request).map(str::to_owned)).unwrap()
        };
        assert_eq!(rule.set(value), format!("fw={value}; Path=/"));
        for cookies in ["Cookie: a=1; fw=V; b=2", "Cookie: a=1\r\ncookie: fw=V", "Cookie:fw=short;fw=V"] {
            assert_eq!(read(&cookies.replace('V', value)).as_deref(), Some(value), "{cookies}");
        }
        for cookies in
            ["Cookie: xfw=V", "Cookie: fwx=V", "Cookie: fw=Vx", "Cookie: fw", "X: fw=V", "Cookie: fw=-"]
        {
            assert_eq!(read(&cookies.replace('V', value)), None, "{cookies}");
        }
    }
}
