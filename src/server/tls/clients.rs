//! Certificates of clients: who is asked for one, who is believed, and whom a certificate names.
//!
//! With authorities, a certificate that none of them has issued fails the handshake. Without, every certificate is
//! taken whose key the client has: it is known by its fingerprint then, and its subject says nothing.

use std::fmt::Write;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{ClientCertificates, TlsError, TlsSettings};

/// Who decides about clients.
pub(super) fn verifier(
    settings: &TlsSettings,
    authorities: Option<Vec<CertificateDer<'static>>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mandatory = match settings.client {
        ClientCertificates::Off => return Ok(Arc::new(NoClientAuth)),
        ClientCertificates::Optional => false,
        ClientCertificates::Required => true,
    };
    let (Some(path), Some(authorities)) = (&settings.client_authorities, authorities) else {
        let algorithms = provider.signature_verification_algorithms;
        return Ok(Arc::new(AnyCertificate { algorithms, mandatory }));
    };
    let refused = |error: &dyn std::fmt::Display| TlsError::Authority(path.clone(), error.to_string());
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| refused(&error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if mandatory { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| refused(&error))
}

/// Takes every certificate, from a client that has its key.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
    mandatory: bool,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The subject of a certificate as RFC 4514 writes it. `None` if the certificate cannot be read, or has a value that
/// is no text.
///
/// Characters that stand between values are escaped inside of them, so that no value can pretend to be two.
pub(super) fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut text = String::new();
    let mut names: Vec<_> = certificate.subject().iter_rdn().collect();
    names.reverse();
    for (place, name) in names.into_iter().enumerate() {
        for (part, attribute) in name.iter().enumerate() {
            match (place, part) {
                (0, 0) => {}
                (_, 0) => text.push(','),
                _ => text.push('+'),
            }
            match oid2abbrev(attribute.attr_type(), oid_registry()) {
                Ok(known) => text.push_str(known),
                Err(_) => text.push_str(&attribute.attr_type().to_id_string()),
            }
            text.push('=');
            escape(attribute.as_str().ok()?, &mut text);
        }
    }
    Some(text)
}

/// RFC 4514, section 2.4.
fn escape(value: &str, out: &mut String) {
    for (place, character) in value.char_indices() {
        let last = place + character.len_utf8() == value.len();
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => out.extend(['\\', character]),
            '#' if place == 0 => out.push_str("\\#"),
            ' ' if place == 0 || last => out.push_str("\\ "),
            control if control.is_control() => {
                let mut octets = [0; 4];
                for octet in control.encode_utf8(&mut octets).bytes() {
                    write!(out, "\\{octet:02X}").expect("a text takes whatever is written to it");
                }
            }
            plain => out.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn subject_of(parts: &[(DnType, &str)]) -> String {
        let mut name = DistinguishedName::new();
        for (kind, value) in parts {
            name.push(kind.clone(), *value);
        }
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = name;
        let key = KeyPair::generate().unwrap();
        subject(parameters.self_signed(&key).unwrap().der()).unwrap()
    }

    #[test]
    fn a_subject_is_written_from_its_last_part() {
        let parts = [
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Example"),
            (DnType::CommonName, "alice"),
        ];
        assert_eq!(subject_of(&parts), "CN=alice,O=Example,C=DE");
        assert_eq!(subject_of(&[]), "");
    }

    #[test]
    fn no_value_pretends_to_be_two() {
        assert_eq!(subject_of(&[(DnType::CommonName, "a,CN=admin")]), r"CN=a\,CN\=admin");
        assert_eq!(subject_of(&[(DnType::CommonName, " #a\\\n ")]), r"CN=\ #a\\\0A\ ");
        assert_eq!(subject_of(&[(DnType::CommonName, "#a+b")]), r"CN=\#a\+b");
        assert_eq!(subject_of(&[(DnType::CommonName, "\u{e9}<")]), "CN=\u{e9}\\<");
    }

    #[test]
    fn what_is_no_certificate_has_no_subject() {
        assert_eq!(subject(&CertificateDer::from(vec![1, 2, 3])), None);
    }
}
