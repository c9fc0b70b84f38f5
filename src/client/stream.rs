//! A byte stream to a router: TCP, a Unix domain socket, or TLS over TCP; non-blocking once it is connected.
//!
//! Owns the sockets and the TLS session. When to wait for what is [`super::connection`]'s.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ProtocolVersion, RootCertStore, SignatureScheme,
};
use socket2::{SockRef, TcpKeepalive};
use zeroize::Zeroizing;

use super::TlsFiles;
use super::error::{ClientError, Tls};
use super::url::{Scheme, Url};
use crate::auth::binding::BindingType;

/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;

/// Silence after which the kernel asks whether the other side is still there. Routers ping, but a network that has
/// gone away without a word carries no ping either.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A connected stream.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
}

#[derive(Debug)]
enum Socket {
    Tcp(mio::net::TcpStream),
    Unix(mio::net::UnixStream),
}

impl Stream {
    /// Connects. For TLS the handshake is yet to come: it happens with the first reads and writes.
    pub fn connect(url: &Url, files: &TlsFiles, deadline: Instant) -> Result<Stream, ClientError> {
        let refused = |error| ClientError::Connect(Box::new(url.clone()), error);
        if url.scheme == Scheme::Unix {
            let socket = UnixStream::connect(&url.path).map_err(refused)?;
            socket.set_nonblocking(true).map_err(refused)?;
            return Ok(Stream { socket: Socket::Unix(mio::net::UnixStream::from_std(socket)), tls: None });
        }
        // Trust is settled first: a file that cannot be read should be told even if the router is down.
        let tls =
            if url.scheme.is_tls() { Some(tls_session(url, files).map_err(ClientError::Tls)?) } else { None };
        let socket = match connect_tcp(url, deadline) {
            Err(error) if error.kind() == ErrorKind::TimedOut => return Err(ClientError::Timeout),
            connected => connected.map_err(refused)?,
        };
        Ok(Stream { socket: Socket::Tcp(mio::net::TcpStream::from_std(socket)), tls })
    }

    /// Reads what is there; 0 is the end. `WouldBlock`: wait until the socket is readable.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.read(buffer);
        };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && tls.is_handshaking() => {
                    return Err(io::Error::new(error.kind(), "closed in the TLS handshake"));
                }
                // Some peers close without a TLS farewell; framing knows whether something was cut.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            tls.read_tls(&mut self.socket)?;
            if let Err(error) = tls.process_new_packets() {
                // The alert that says why should still reach the router.
                let _ = write_tls(tls, &mut self.socket);
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
            match write_tls(tls, &mut self.socket) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }

    /// Writes what can be written. `WouldBlock`: wait until the socket is writable, or in a TLS handshake readable.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.write(bytes);
        };
        write_tls(tls, &mut self.socket)?;
        match tls.writer().write(bytes)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            written => Ok(written),
        }
    }

    /// Writes what TLS has kept back. `WouldBlock`: some is still kept.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => write_tls(tls, &mut self.socket),
            None => Ok(()),
        }
    }

    /// Tells the router's TLS that this was the end.
    pub fn say_end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // Only a courtesy: the session has ended already.
            let _ = write_tls(tls, &mut self.socket);
        }
    }

    /// What both ends of the TLS connection can derive, and nobody else (RFC 9266). Only in TLS 1.3: before, it would
    /// depend on an extension whether it is this connection's alone.
    pub fn channel_id(&self) -> Option<[u8; 32]> {
        let tls = self.tls.as_ref().filter(|tls| tls.protocol_version() == Some(ProtocolVersion::TLSv1_3))?;
        tls.export_keying_material([0; 32], BindingType::EXPORTER_LABEL, Some(&[])).ok()
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match &mut self.socket {
            Socket::Tcp(socket) => socket.register(registry, token, interest),
            Socket::Unix(socket) => socket.register(registry, token, interest),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.read(buffer),
            Socket::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.write(bytes),
            Socket::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_tls(tls: &mut ClientConnection, socket: &mut Socket) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(socket)?;
    }
    Ok(())
}

/// Tries the addresses of the host one after the other, and tells the last failure. Each gets its share of the time, so
/// that one which never answers does not hide the next.
fn connect_tcp(url: &Url, deadline: Instant) -> io::Result<TcpStream> {
    let mut addresses: Vec<_> = (url.host.as_str(), url.port).to_socket_addrs()?.collect();
    addresses.truncate(ADDRESSES_MAX);
    let mut failure = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / (addresses.len() - index) as u32;
        if share.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                socket.set_nonblocking(true)?;
                SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
                return Ok(socket);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn tls_session(url: &Url, files: &TlsFiles) -> Result<Box<ClientConnection>, Tls> {
    let (mut config, host) = tls(url, Trust::Authorities(files.authorities.as_deref()))?;
    if let Some(certificate) = &files.certificate {
        config.client_auth_cert_resolver =
            own_certificate(&config, certificate, files.key.as_deref().unwrap_or(certificate))?;
    }
    ClientConnection::new(Arc::new(config), host).map(Box::new).map_err(Tls::Failed)
}

/// Which routers are believed.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// Those that an authority of the machine vouches for, or one of this file.
    Authorities(Option<&'a Path>),
    /// Whoever answers. The connection is encrypted, and anybody may be at the other end.
    Anybody,
}

/// What a TLS session with the router of a URL begins with.
pub fn tls(url: &Url, trust: Trust<'_>) -> Result<(ClientConfig, ServerName<'static>), Tls> {
    let host = ServerName::try_from(url.host.clone()).map_err(|_| Tls::HostName)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(Tls::Failed)?;
    let builder = match trust {
        Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        Trust::Authorities(file) => {
            let mut roots = RootCertStore::empty();
            // Certificates that cannot be read are left out: with none at all the handshake fails and says so.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if let Some(path) = file {
                add_authorities(&mut roots, path)?;
            }
            builder.with_root_certificates(roots)
        }
    };
    Ok((builder.with_no_client_auth(), host))
}

/// Believes every certificate whose key the router has.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What shows the certificate of a file to routers that ask for one.
fn own_certificate(
    config: &ClientConfig,
    certificate: &Path,
    key: &Path,
) -> Result<Arc<dyn ResolvesClientCert>, Tls> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&std::fs::read(certificate).map_err(Tls::Certificate)?).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(Tls::NoCertificate)?;
    let pem = Zeroizing::new(std::fs::read(key).map_err(Tls::Certificate)?);
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| Tls::NoCertificate)?;
    let certified = CertifiedKey::from_der(chain, key, config.crypto_provider()).map_err(Tls::Failed)?;
    Ok(Arc::new(SingleCertAndKey::from(certified)))
}

fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), Tls> {
    let pem = std::fs::read(path).map_err(Tls::Authorities)?;
    let known = roots.len();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| Tls::NoAuthorities)?;
        roots.add(certificate).map_err(Tls::Failed)?;
    }
    if roots.len() == known { Err(Tls::NoAuthorities) } else { Ok(()) }
}
