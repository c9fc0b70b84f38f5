//! Client certificates: whom TLS has asked for one is known by its fingerprint, or by its subject.
//!
//! A fingerprint is a certificate; that its owner has the key, TLS has seen to. A subject is what somebody claims: it
//! counts only for certificates that TLS has checked against a configured authority, which the caller must know.
//!
//! Invariants: certificates are read as anything else that a peer sends, so nothing in one can do more than make it
//! match nothing.

use std::fmt;
use std::str::FromStr;

use sha1::Sha1;
use sha2::Digest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::distinguished_name::DistinguishedName;
use super::encoding::{hex, unhex};
use super::hash::sha256;

/// A digest of a certificate's DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fingerprint {
    /// `sha1:` and 40 digits. Crossbar.io's configurations have them; collisions can be made, so not for new ones.
    Sha1([u8; 20]),
    /// `sha256:` and 64 digits.
    Sha256([u8; 32]),
}

/// A text is no fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoFingerprint;

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    /// With or without the name of the digest, and with or without colons between the octets.
    fn from_str(text: &str) -> Result<Fingerprint, NoFingerprint> {
        let lower = text.to_ascii_lowercase();
        let (digest, digits) = match lower.split_once(':') {
            Some((digest @ ("sha1" | "sha256"), digits)) => (Some(digest), digits),
            _ => (None, &*lower),
        };
        let digits = without_colons(digits).ok_or(NoFingerprint)?;
        let sha1 = || unhex(&digits).map(Fingerprint::Sha1);
        let sha256 = || unhex(&digits).map(Fingerprint::Sha256);
        let fingerprint = match digest {
            Some("sha1") => sha1(),
            Some(_) => sha256(),
            None => sha256().or_else(sha1),
        };
        fingerprint.ok_or(NoFingerprint)
    }
}

/// The digits, which have colons after each pair or none at all.
fn without_colons(digits: &str) -> Option<String> {
    if !digits.contains(':') {
        return Some(digits.to_owned());
    }
    let pairs = digits.split(':').all(|pair| pair.len() == 2);
    pairs.then(|| digits.replace(':', ""))
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fingerprint::Sha1(digest) => write!(f, "sha1:{}", hex(digest)),
            Fingerprint::Sha256(digest) => write!(f, "sha256:{}", hex(digest)),
        }
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NoFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fingerprint is sha256: and 64 hexadecimal digits, or sha1: and 40")
    }
}

impl std::error::Error for NoFingerprint {}

/// What of a certificate says whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// Whom it is for.
    pub subject: DistinguishedName,
    /// Other names of the subject.
    pub alternative_names: Vec<AlternativeName>,
    /// Its digests.
    pub sha1: Fingerprint,
    /// Its digests.
    pub sha256: Fingerprint,
}

/// A name out of the extension "Subject Alternative Name".
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AlternativeName {
    /// A host's name.
    Dns(String),
    /// A mail address.
    Email(String),
    /// A URI.
    Uri(String),
}

/// The octets are no certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoCertificate;

impl fmt::Display for NoCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a certificate")
    }
}

impl std::error::Error for NoCertificate {}

impl Certificate {
    /// Reads a certificate in DER, which must be the whole of it.
    pub fn read(der: &[u8]) -> Result<Certificate, NoCertificate> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| NoCertificate)?;
        if !rest.is_empty() {
            return Err(NoCertificate);
        }
        Ok(Certificate {
            subject: DistinguishedName::read(certificate.subject()).ok_or(NoCertificate)?,
            alternative_names: alternative_names(&certificate)?,
            sha1: Fingerprint::Sha1(Sha1::digest(der).into()),
            sha256: Fingerprint::Sha256(sha256(der)),
        })
    }

    /// True if one of the digests is that fingerprint.
    pub fn has(&self, fingerprint: &Fingerprint) -> bool {
        [self.sha1, self.sha256].contains(fingerprint)
    }
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Result<Vec<AlternativeName>, NoCertificate> {
    let Some(extension) = certificate.subject_alternative_name().map_err(|_| NoCertificate)? else {
        return Ok(Vec::new());
    };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(AlternativeName::Dns((*name).to_owned())),
        GeneralName::RFC822Name(name) => Some(AlternativeName::Email((*name).to_owned())),
        GeneralName::URI(name) => Some(AlternativeName::Uri((*name).to_owned())),
        _ => None,
    });
    Ok(names.collect())
}

/// Whom certificates are for: `CN=alice,O=Example` as [`DistinguishedName`] reads it, or another name of theirs:
/// `DNS:host.example.com`, `EMAIL:alice@example.com`, `URI:…`.
///
/// An attribute that is asked for must have just the values asked for; others may be there. So `CN=admin` is not met by
/// a certificate with two common names of which one is `admin`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Attributes of the subject.
    Attributes(DistinguishedName),
    /// One of the other names.
    AlternativeName(AlternativeName),
}

/// A text is no subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSubject;

impl fmt::Display for NoSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a subject is written CN=name,O=organization (with CN, O, OU, C, L, ST, STREET, DC, UID, E, SERIALNUMBER, \
             TITLE, GN, SN, DNQUALIFIER, or the numbers of another attribute) or DNS:name, EMAIL:address, URI:uri",
        )
    }
}

impl std::error::Error for NoSubject {}

impl Subject {
    /// True if that certificate is for this subject.
    pub fn matches(&self, certificate: &Certificate) -> bool {
        match self {
            Subject::AlternativeName(wanted) => {
                certificate.alternative_names.iter().any(|name| name.is(wanted))
            }
            Subject::Attributes(wanted) => certificate.subject.has(wanted),
        }
    }
}

impl AlternativeName {
    fn is(&self, other: &AlternativeName) -> bool {
        match (self, other) {
            (AlternativeName::Dns(one), AlternativeName::Dns(other)) => one.eq_ignore_ascii_case(other),
            _ => self == other,
        }
    }
}

impl FromStr for Subject {
    type Err = NoSubject;

    fn from_str(text: &str) -> Result<Subject, NoSubject> {
        if let Some((kind, name)) = text.split_once(':')
            && !kind.contains('=')
        {
            let named = match kind.to_ascii_uppercase().as_str() {
                "DNS" => AlternativeName::Dns,
                "EMAIL" => AlternativeName::Email,
                "URI" => AlternativeName::Uri,
                _ => return Err(NoSubject),
            };
            return if name.is_empty() {
                Err(NoSubject)
            } else {
                Ok(Subject::AlternativeName(named(name.to_owned())))
            };
        }
        text.parse().map(Subject::Attributes).map_err(|_| NoSubject)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    /// A certificate for those common names, an organization, and other names.
    fn issued(common_names: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.subject_alt_names = vec![
            SanType::DnsName("device.Example.com".try_into().unwrap()),
            SanType::Rfc822Name("alice@example.com".try_into().unwrap()),
            SanType::URI("urn:device:7".try_into().unwrap()),
            SanType::IpAddress([127, 0, 0, 1].into()),
        ];
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_is_known_by_its_fingerprints() {
        let der = issued(&["alice"]);
        let certificate = Certificate::read(&der).unwrap();
        for fingerprint in [certificate.sha1, certificate.sha256] {
            let text = fingerprint.to_string();
            let (digest, digits) = text.split_once(':').unwrap();
            let pairs: Vec<_> = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]).collect();
            let colons = pairs.join(":").to_uppercase();
            for form in [text.clone(), digits.to_owned(), colons.clone(), format!("{digest}:{colons}")] {
                let read: Fingerprint = form.parse().unwrap();
                assert!(read == fingerprint && certificate.has(&read), "{form}");
            }
        }
        assert!(!Certificate::read(&issued(&["alice"])).unwrap().has(&certificate.sha256));
        for bad in ["", "sha256:", "sha1:00", "md5:00", "sha512:00", "a:b", &"0".repeat(63), &":".repeat(64)]
        {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
        let sha256 = certificate.sha256.to_string().replace("sha256", "sha1");
        assert!(sha256.parse::<Fingerprint>().is_err());
    }

    #[test]
    fn a_certificate_is_for_its_subject_and_its_other_names() {
        let certificate = Certificate::read(&issued(&["alice"])).unwrap();
        assert_eq!(certificate.subject.common_name(), Some("alice"));
        assert_eq!(certificate.subject.to_string(), "O=Example\\, Inc.,CN=alice");
        for text in [
            "CN=alice",
            "cn=alice, o=Example\\, Inc.",
            "O=Example\\, Inc.",
            &certificate.subject.to_string(),
            "DNS:DEVICE.example.com",
            "EMAIL:alice@example.com",
            "uri:urn:device:7",
        ] {
            assert!(text.parse::<Subject>().unwrap().matches(&certificate), "{text}");
        }
        for text in
            ["CN=alic", "CN=Alice", "CN=alice,OU=x", "CN=alice,CN=alice", "O=alice", "DNS:example.com"]
        {
            assert!(!text.parse::<Subject>().unwrap().matches(&certificate), "{text}");
        }
        for text in ["", "alice", "CN=", "=alice", "CN=a,", "CN=a\\", "DNS:", "IP:127.0.0.1", ",", "FOO=bar"]
        {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
    }

    #[test]
    fn several_values_of_an_attribute_are_not_one_of_them() {
        let mut certificate = Certificate::read(&issued(&[])).unwrap();
        certificate.subject = "CN=admin,CN=mallory".parse().unwrap();
        assert_eq!(certificate.subject.common_name(), None);
        assert!(!"CN=admin".parse::<Subject>().unwrap().matches(&certificate));
        assert!("CN=admin,CN=mallory".parse::<Subject>().unwrap().matches(&certificate));
    }

    #[test]
    fn what_is_not_one_certificate_is_none() {
        let der = issued(&["alice"]);
        for end in 0..der.len() {
            assert_eq!(Certificate::read(&der[..end]), Err(NoCertificate));
        }
        assert_eq!(Certificate::read(&[&der[..], &[0]].concat()), Err(NoCertificate));
        // Whatever is changed, nothing panics.
        for index in 0..der.len() {
            let mut other = der.clone();
            other[index] ^= 0x55;
            if let Ok(certificate) = Certificate::read(&other) {
                assert_ne!(certificate.sha256, Certificate::read(&der).unwrap().sha256);
            }
        }
    }
}
