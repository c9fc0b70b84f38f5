//! Distinguished names: whom a certificate is for, as text that is read and written in one way.
//!
//! The text is that of RFC 4514, with the last attribute of a certificate first (`CN=alice,O=Example,C=DE`), as
//! `openssl x509 -nameopt RFC2253` shows it. What is written here is read here as the same name.
//!
//! Invariants: no value can pretend to be two, since what stands between values is escaped inside of them; an attribute
//! without a known name is one of its numbers (`2.5.4.99`), and a value that is no text is its octets (`#0402AB`), so
//! that everything has a text.

use std::fmt::{self, Write};
use std::str::FromStr;

use x509_parser::asn1_rs::ToDer;
use x509_parser::x509::X509Name;

/// Names of attributes, and their numbers. The first name of several is written.
const NAMES: [(&str, &str); 19] = [
    ("CN", "2.5.4.3"),
    ("SN", "2.5.4.4"),
    ("SURNAME", "2.5.4.4"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("STREET", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("TITLE", "2.5.4.12"),
    ("GN", "2.5.4.42"),
    ("GIVENNAME", "2.5.4.42"),
    ("DNQUALIFIER", "2.5.4.46"),
    ("E", "1.2.840.113549.1.9.1"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
    ("EMAIL", "1.2.840.113549.1.9.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
];

/// The number of the attribute `CN`.
const COMMON_NAME: &str = "2.5.4.3";

/// A distinguished name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DistinguishedName {
    /// The last part of a certificate first. A part has one attribute, mostly.
    parts: Vec<Vec<Attribute>>,
}

/// An attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Attribute {
    /// Its numbers, with dots.
    numbers: String,
    value: AttributeValue,
}

/// What an attribute is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum AttributeValue {
    /// A text.
    Text(String),
    /// Something else, in DER.
    Der(Vec<u8>),
}

/// A text is no distinguished name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoName;

impl DistinguishedName {
    /// Reads the name in a certificate; `None` if a value in it is broken.
    pub(super) fn read(name: &X509Name<'_>) -> Option<DistinguishedName> {
        let part = |part: &x509_parser::x509::RelativeDistinguishedName<'_>| -> Option<Vec<Attribute>> {
            let attributes = part.iter().map(|attribute| {
                let value = match attribute.as_str() {
                    Ok(text) => AttributeValue::Text(text.to_owned()),
                    Err(_) => AttributeValue::Der(attribute.attr_value().to_der_vec().ok()?),
                };
                Some(Attribute { numbers: attribute.attr_type().to_id_string(), value })
            });
            attributes.collect()
        };
        let mut parts = name.iter_rdn().map(part).collect::<Option<Vec<_>>>()?;
        parts.reverse();
        Some(DistinguishedName { parts })
    }

    /// True if for each attribute of `wanted` the values here are those there, in whatever order; other attributes may
    /// be there besides. So somebody with two common names is not one of them.
    pub fn has(&self, wanted: &DistinguishedName) -> bool {
        let kinds = wanted.attributes().map(|attribute| &*attribute.numbers);
        kinds.into_iter().all(|numbers| self.values(numbers) == wanted.values(numbers))
    }

    /// The common name, if there is just one and it is a text.
    pub fn common_name(&self) -> Option<&str> {
        match self.values(COMMON_NAME)[..] {
            [AttributeValue::Text(name)] => Some(name),
            _ => None,
        }
    }

    /// The names of attributes and their values, where those are texts, in the order of a certificate.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        let attributes = self.parts.iter().rev().flatten();
        attributes.filter_map(|attribute| match &attribute.value {
            AttributeValue::Text(text) => Some((attribute.name(), &**text)),
            AttributeValue::Der(_) => None,
        })
    }

    fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.parts.iter().flatten()
    }

    /// The values of an attribute, sorted.
    fn values(&self, numbers: &str) -> Vec<&AttributeValue> {
        let named = self.attributes().filter(|attribute| attribute.numbers == numbers);
        let mut values: Vec<_> = named.map(|attribute| &attribute.value).collect();
        values.sort_unstable();
        values
    }
}

impl Attribute {
    /// Its name, or its numbers if it has none.
    fn name(&self) -> &str {
        let known = NAMES.into_iter().find(|(_, numbers)| *numbers == self.numbers);
        known.map_or(&*self.numbers, |(name, _)| name)
    }
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, part) in self.parts.iter().enumerate() {
            for (index, attribute) in part.iter().enumerate() {
                match (place, index) {
                    (0, 0) => {}
                    (_, 0) => f.write_char(',')?,
                    _ => f.write_char('+')?,
                }
                attribute.fmt(f)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.name())?;
        match &self.value {
            AttributeValue::Text(text) => write_escaped(text, f),
            AttributeValue::Der(octets) => {
                f.write_char('#')?;
                octets.iter().try_for_each(|octet| write!(f, "{octet:02X}"))
            }
        }
    }
}

/// RFC 4514, section 2.4.
fn write_escaped(text: &str, out: &mut impl Write) -> fmt::Result {
    for (place, character) in text.char_indices() {
        let last = place + character.len_utf8() == text.len();
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => write!(out, "\\{character}")?,
            '#' if place == 0 => out.write_str("\\#")?,
            ' ' if place == 0 || last => out.write_str("\\ ")?,
            control if control.is_control() => {
                let mut octets = [0; 4];
                let octets = control.encode_utf8(&mut octets).bytes();
                octets.into_iter().try_for_each(|octet| write!(out, "\\{octet:02X}"))?;
            }
            plain => out.write_char(plain)?,
        }
    }
    Ok(())
}

impl FromStr for DistinguishedName {
    type Err = NoName;

    /// RFC 4514, section 3; spaces may stand around what they do not belong to.
    fn from_str(text: &str) -> Result<DistinguishedName, NoName> {
        let mut rest = text.as_bytes();
        let mut parts = vec![Vec::new()];
        loop {
            let attribute = read_attribute(&mut rest)?;
            parts.last_mut().expect("there is one from the beginning").push(attribute);
            match rest.split_first() {
                None => return Ok(DistinguishedName { parts }),
                Some((b'+', after)) => rest = after,
                Some((_, after)) => {
                    rest = after;
                    parts.push(Vec::new());
                }
            }
        }
    }
}

/// Reads an attribute up to the `,` or `+` behind it, or to the end.
fn read_attribute(rest: &mut &[u8]) -> Result<Attribute, NoName> {
    let end = rest.iter().position(|octet| *octet == b'=').ok_or(NoName)?;
    let name = std::str::from_utf8(rest[..end].trim_ascii()).map_err(|_| NoName)?;
    *rest = rest[end + 1..].trim_ascii_start();
    let known = NAMES.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let numbers = match known {
        Some((_, numbers)) => numbers.to_owned(),
        None if is_numbers(name) => name.to_owned(),
        None => return Err(NoName),
    };
    let value = match rest.strip_prefix(b"#") {
        Some(digits) => {
            *rest = digits;
            AttributeValue::Der(read_octets(rest)?)
        }
        None => AttributeValue::Text(read_text(rest)?),
    };
    Ok(Attribute { numbers, value })
}

/// True for `2.5.4.3` and the like.
fn is_numbers(name: &str) -> bool {
    let number = |number: &str| {
        let canonical = number == "0" || !number.starts_with('0');
        !number.is_empty() && canonical && number.bytes().all(|digit| digit.is_ascii_digit())
    };
    name.contains('.') && name.split('.').all(number)
}

/// Pairs of hexadecimal digits, up to what stands behind an attribute.
fn read_octets(rest: &mut &[u8]) -> Result<Vec<u8>, NoName> {
    let end = rest.iter().position(|octet| matches!(octet, b',' | b'+')).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    let pairs = digits.trim_ascii_end().chunks(2);
    let octets: Option<Vec<u8>> = pairs.map(hex_pair).collect();
    octets.filter(|octets| !octets.is_empty()).ok_or(NoName)
}

/// A text without its escapes, up to what stands behind an attribute.
fn read_text(rest: &mut &[u8]) -> Result<String, NoName> {
    let (mut text, mut kept) = (Vec::new(), 0);
    while let Some((octet, mut after)) = rest.split_first() {
        match octet {
            b',' | b'+' => break,
            b'"' | b';' | b'<' | b'>' | 0 => return Err(NoName),
            b'\\' => {
                let pair = after.get(..2).and_then(hex_pair);
                let (plain, length) = match (pair, after.first()) {
                    (Some(octet), _) => (octet, 2),
                    (None, Some(special)) if b"\"+,;<>\\ #=".contains(special) => (*special, 1),
                    _ => return Err(NoName),
                };
                text.push(plain);
                kept = text.len();
                after = &after[length..];
            }
            plain => {
                text.push(*plain);
                if *plain != b' ' {
                    kept = text.len();
                }
            }
        }
        *rest = after;
    }
    text.truncate(kept);
    let text = String::from_utf8(text).map_err(|_| NoName)?;
    if text.is_empty() { Err(NoName) } else { Ok(text) }
}

/// The octet of two hexadecimal digits.
fn hex_pair(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DistinguishedName {
        text.parse().unwrap_or_else(|NoName| panic!("{text}"))
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for (read, written) in [
            ("CN=alice", "CN=alice"),
            ("cn = alice , o=Example", "CN=alice,O=Example"),
            ("UID=7+CN=a,DC=example,DC=com", "UID=7+CN=a,DC=example,DC=com"),
            ("emailAddress=a@b.c,givenName=A,2.5.4.4=B", "E=a@b.c,GN=A,SN=B"),
            (r"O=Example\, Inc.\2C\0A,CN=\ #a\ ", r"O=Example\, Inc.\,\0A,CN=\ #a\ "),
            (r"CN=\#\c3\a9=b", r"CN=\#é\=b"),
            ("2.5.4.99=#0402abCD", "2.5.4.99=#0402ABCD"),
        ] {
            let parsed = name(read);
            assert_eq!(parsed.to_string(), written);
            assert_eq!(name(written), parsed);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "", "alice", "CN=", "=alice", "CN=a,", "CN=a\\", "CN=a\\x", ",", "CN=a+", "FOO=bar", "CN=#",
            "CN=#0", "CN=#0g", "CN=a;O=b", "CN=\"a\"", "CN=\\ff", "2=a", "2..5=a", "02.5=a", "CN=a\0",
        ] {
            assert!(text.parse::<DistinguishedName>().is_err(), "{text}");
        }
    }

    #[test]
    fn values_of_an_attribute_count_all_of_them_in_any_order() {
        let there = name("CN=alice,OU=x,DC=example,DC=com");
        for wanted in ["CN=alice", "DC=com,DC=example", "DC=example,CN=alice,DC=com", "OU=x+CN=alice"] {
            assert!(there.has(&name(wanted)), "{wanted}");
        }
        for wanted in
            ["CN=Alice", "DC=com", "DC=com,DC=com", "DC=a,DC=com,DC=example", "O=x", "CN=#0405616C696365"]
        {
            assert!(!there.has(&name(wanted)), "{wanted}");
        }
        assert_eq!(there.common_name(), Some("alice"));
        assert_eq!(name("CN=a,CN=b").common_name(), None);
    }

    /// Values of any characters, and names of any order: written and read they are what they were.
    #[test]
    fn every_value_comes_back() {
        let characters =
            [' ', '#', ',', '+', '=', '\\', '"', '<', ';', '\u{0}', '\n', 'é', 'a', '0', '\u{85}'];
        for seed in 0..4_096_usize {
            let text: String =
                (0..3).map(|place| characters[(seed >> (4 * place)) % characters.len()]).collect();
            let attribute = |text: &str| Attribute {
                numbers: COMMON_NAME.to_owned(),
                value: AttributeValue::Text(text.to_owned()),
            };
            let parts = vec![vec![attribute(&text), attribute("b")], vec![attribute(&text)]];
            let name = DistinguishedName { parts };
            assert_eq!(name.to_string().parse(), Ok(name), "{text:?}");
        }
    }
}
