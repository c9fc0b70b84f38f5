//! TLS of listeners: what an operator may set, and what it becomes for rustls.
//!
//! Owns the choice of versions, suites, protocols and tickets. Files are [`certificates`]'s, clients' certificates
//! [`clients`]'s, the records [`crate::tls`]'s.
//!
//! TLS 1.3 and 1.2 with forward secrecy and authenticated encryption is all that rustls speaks, so there is nothing to
//! be switched off. TLS 1.2 needs the extended master secret (RFC 7627): without it `tls-exporter` binds nothing.

mod certificates;
mod clients;
mod expiry;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;
use rustls::{Connection, HandshakeKind, ProtocolVersion, ServerConfig};

pub(super) use self::certificates::Certificates;
pub use self::certificates::IdentityFiles;
pub(super) use self::expiry::Expiry;
use crate::auth::binding::BindingType;
use crate::origin::{ClientCertificate, TlsOrigin};

/// What a TLS handshake begins with: the type of its record. Neither RawSocket nor HTTP begins so.
pub(super) const FIRST_OCTET: u8 = 0x16;

/// The protocol of browsers, under its registered name; an upgrade to WebSocket is asked for in it.
const HTTP: &[u8] = b"http/1.1";

/// RawSocket has no registered name; this one is for clients that want to be sure. Nobody has to offer any.
const RAWSOCKET: &[u8] = b"wamp.2.rawsocket";

/// The TLS of one listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsSettings {
    /// Certificates; at least one. The first is for clients that ask for no host, or for one that no other has.
    pub identities: Vec<IdentityFiles>,
    /// Plain connections come in at the same port: the first octet tells.
    pub shared: bool,
    /// Whether clients have certificates.
    pub client: ClientCertificates,
    /// A PEM file with the authorities that must have issued them. Without it any certificate is taken, and told as
    /// one that nobody vouches for: only its fingerprint says something.
    pub client_authorities: Option<PathBuf>,
    /// How often files are looked at; those that have changed are read again.
    pub watch_ms: u64,
}

impl TlsSettings {
    /// How often files are looked at if nobody says otherwise.
    pub const WATCH_MS: u64 = 10_000;

    /// One certificate, and nothing asked of clients.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> TlsSettings {
        TlsSettings {
            identities: vec![IdentityFiles::new(certificate, key)],
            shared: false,
            client: ClientCertificates::Off,
            client_authorities: None,
            watch_ms: TlsSettings::WATCH_MS,
        }
    }

    /// Whether a server could start with these files, without one.
    pub fn check(&self) -> Result<(), TlsError> {
        Certificates::load(self.clone()).map(|_| ())
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        let identities = self.identities.iter().flat_map(|identity| [&identity.certificate, &identity.key]);
        identities.chain(&self.client_authorities).map(PathBuf::as_path)
    }
}

/// Whether clients have certificates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientCertificates {
    /// None is asked for.
    Off,
    /// One is asked for; a client that sends none is served as well, one that sends a wrong one is not.
    Optional,
    /// Without one the handshake fails.
    Required,
}

impl ClientCertificates {
    /// All of them, by their names.
    pub const NAMED: [(&str, ClientCertificates); 3] = [
        ("off", ClientCertificates::Off),
        ("optional", ClientCertificates::Optional),
        ("required", ClientCertificates::Required),
    ];
}

/// Why TLS cannot be spoken with these files.
#[derive(Debug)]
pub enum TlsError {
    /// There is no certificate at all.
    NoIdentity,
    /// A file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// A file has no certificate in PEM.
    NoCertificate(PathBuf),
    /// A file has no private key in PEM.
    NoKey(PathBuf),
    /// Certificate and key are of no use, mostly since they do not belong together.
    Identity(PathBuf, PathBuf, rustls::Error),
    /// The certificate is for no host, and none is set.
    NoName(PathBuf),
    /// An authority is of no use.
    Authority(PathBuf, String),
    /// rustls refuses.
    Refused(rustls::Error),
}

/// What does not change when certificates do.
#[derive(Debug)]
struct Base {
    provider: Arc<CryptoProvider>,
    /// Sessions go on with tickets that only this router can read; nothing is kept for them.
    tickets: Arc<dyn ProducesTickets>,
}

impl Base {
    fn new() -> Result<Base, TlsError> {
        Ok(Base { provider: Arc::new(rustls::crypto::ring::default_provider()), tickets: tickets()? })
    }

    fn config(&self, files: certificates::Loaded, settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
        let verifier = clients::verifier(settings, files.authorities, &self.provider)?;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Refused)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(files.identities));
        config.alpn_protocols = vec![HTTP.to_vec(), RAWSOCKET.to_vec()];
        config.ticketer = Arc::clone(&self.tickets);
        config.require_ems = true;
        Ok(config)
    }
}

fn tickets() -> Result<Arc<dyn ProducesTickets>, TlsError> {
    rustls::crypto::ring::Ticketer::new().map_err(TlsError::Refused)
}

/// What a finished handshake has shown.
pub(super) fn origin(connection: &Connection, settings: &TlsSettings) -> TlsOrigin {
    let mut exporter = [0; 32];
    connection
        .export_keying_material(&mut exporter, BindingType::EXPORTER_LABEL, Some(&[]))
        .expect("the handshake is done, and its secrets are asked for the first time");
    let server_name = match connection {
        Connection::Server(server) => server.server_name().map(Into::into),
        Connection::Client(_) => None,
    };
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    TlsOrigin {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher_suite: suite.unwrap_or(""),
        server_name,
        application_protocol: connection
            .alpn_protocol()
            .map(|name| String::from_utf8_lossy(name).into_owned().into()),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        client_certificate: certificate.map(|certificate| ClientCertificate {
            der: certificate.as_ref().into(),
            subject: settings
                .client_authorities
                .as_ref()
                .and_then(|_| clients::subject(certificate))
                .map(Into::into),
        }),
        exporter,
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::NoIdentity => f.write_str("TLS needs a certificate and its key"),
            TlsError::Unreadable(path, error) => write!(f, "{} cannot be read: {error}", path.display()),
            TlsError::NoCertificate(path) => {
                write!(f, "{} holds no certificate in PEM", path.display())
            }
            TlsError::NoKey(path) => {
                write!(f, "{} holds no private key in PEM, or one that is encrypted", path.display())
            }
            TlsError::Identity(certificate, key, error) => {
                write!(f, "{} with the key {}: {error}", certificate.display(), key.display())
            }
            TlsError::NoName(path) => {
                write!(f, "{} is for no host; name the hosts it serves", path.display())
            }
            TlsError::Authority(path, error) => write!(f, "{}: {error}", path.display()),
            TlsError::Refused(error) => write!(f, "TLS: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}
