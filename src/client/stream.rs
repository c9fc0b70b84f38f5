//! A byte stream to a router: TCP, a Unix domain socket, or TLS over TCP; non-blocking once it is connected.
//!
//! Owns the sockets and the TLS session. When to wait for what is [`super::connection`]'s.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::error::{ClientError, Tls};
use super::url::{Scheme, Url};

/// Whose certificates are to be trusted.
#[derive(Clone, Debug, Default)]
pub enum Authorities {
    /// The authorities that the machine trusts.
    #[default]
    Machine,
    /// Only those in this PEM file.
    File(PathBuf),
}

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
    pub fn connect(url: &Url, authorities: &Authorities, deadline: Instant) -> Result<Stream, ClientError> {
        if url.scheme == Scheme::Unix {
            let socket = UnixStream::connect(&url.path).map_err(ClientError::Connect)?;
            socket.set_nonblocking(true).map_err(ClientError::Connect)?;
            return Ok(Stream { socket: Socket::Unix(mio::net::UnixStream::from_std(socket)), tls: None });
        }
        // Trust is settled first: a file that cannot be read should be told even if the router is down.
        let tls = if url.scheme.is_tls() { Some(tls_session(url, authorities)?) } else { None };
        let socket = connect_tcp(url, deadline)?;
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

/// Tries the addresses of the host one after the other, and tells the last failure.
fn connect_tcp(url: &Url, deadline: Instant) -> Result<TcpStream, ClientError> {
    let addresses = (url.host.as_str(), url.port).to_socket_addrs().map_err(ClientError::Connect)?;
    let mut failure = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ClientError::Timeout);
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => {
                socket.set_nodelay(true).map_err(ClientError::Connect)?;
                socket.set_nonblocking(true).map_err(ClientError::Connect)?;
                return Ok(socket);
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => return Err(ClientError::Timeout),
            Err(error) => failure = error,
        }
    }
    Err(ClientError::Connect(failure))
}

fn tls_session(url: &Url, authorities: &Authorities) -> Result<Box<ClientConnection>, ClientError> {
    let roots = match authorities {
        Authorities::Machine => machine_roots(),
        Authorities::File(path) => file_roots(path).map_err(ClientError::Tls)?,
    };
    let name = ServerName::try_from(url.host.clone()).map_err(|_| ClientError::Tls(Tls::HostName))?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let session = ClientConnection::new(Arc::new(config), name);
    session.map(Box::new).map_err(|error| ClientError::Tls(Tls::Failed(error)))
}

/// What the machine trusts. Certificates that cannot be read are left out: with none at all the handshake fails and
/// says so.
fn machine_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn file_roots(path: &PathBuf) -> Result<RootCertStore, Tls> {
    let pem = std::fs::read(path).map_err(Tls::Authorities)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| Tls::NoAuthorities)?;
        roots.add(certificate).map_err(Tls::Failed)?;
    }
    if roots.is_empty() { Err(Tls::NoAuthorities) } else { Ok(roots) }
}
