//! Certificates of clients: who is asked for one, who is believed, and whom a certificate names.
//!
//! With authorities, a certificate that none of them has issued fails the handshake. Without, every certificate is
//! taken whose key the client has: it is known by its fingerprint then, and its subject says nothing.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::{ClientCertificates, TlsError, TlsSettings};
use crate::auth::certificate::Certificate;

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

/// The subject of a certificate as RFC 4514 writes it. `None` if the certificate cannot be read.
pub(super) fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    Certificate::read(certificate).ok().map(|certificate| certificate.subject.to_string())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;
    use crate::auth::certificate::Subject;

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

    /// What is told of a client can be written as a subject that lets it in.
    #[test]
    fn what_is_told_is_what_may_be_written() {
        let mail = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        let domain = DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]);
        let parts = [(domain, "com"), (mail, "a@b.c"), (DnType::CommonName, "a+b, c\n")];
        let told = subject_of(&parts);
        assert_eq!(told, r"CN=a\+b\, c\0A,E=a@b.c,DC=com");
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            parameters.distinguished_name.push(kind, value);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = Certificate::read(parameters.self_signed(&key).unwrap().der()).unwrap();
        assert!(told.parse::<Subject>().unwrap().matches(&certificate));
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
