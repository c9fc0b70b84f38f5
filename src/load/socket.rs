//! A connection's socket: TCP or a Unix domain socket, connecting without waiting for it; over TCP with TLS or without.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mio::{Interest, Registry, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, Type};

use crate::tls::{Received, Session, Taken};

/// Where the router is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix domain socket.
    Unix(PathBuf),
}

/// How TLS is spoken.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Whom to believe, and what to offer.
    pub config: Arc<ClientConfig>,
    /// Who the router is.
    pub host: ServerName<'static>,
}

/// The socket.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    tls: Option<Box<Session>>,
}

#[derive(Debug)]
enum Stream {
    /// TCP, either family.
    Tcp(mio::net::TcpStream),
    /// In the file system.
    Unix(mio::net::UnixStream),
}

impl Socket {
    /// Begins to connect. Over TCP the outcome is known when the socket is writable; a Unix domain socket is connected
    /// at once, or fails with [`ErrorKind::WouldBlock`] while the router's backlog is full.
    pub fn connect(address: &Address, source: Option<IpAddr>, tls: Option<&Tls>) -> io::Result<Socket> {
        let session = |tls: &Tls| {
            let session = ClientConnection::new(tls.config.clone(), tls.host.clone());
            session.map(|session| Box::new(Session::new(session))).map_err(io::Error::other)
        };
        let tls = tls.map(session).transpose()?;
        Ok(Socket { stream: Stream::connect(address, source)?, tls })
    }

    /// Whether it is connected by now, and over TLS has agreed on everything. If not, an event tells when to ask again.
    pub fn connected(&mut self) -> io::Result<bool> {
        match &mut self.tls {
            Some(session) => Ok(self.stream.connected()? && session.handshake(&mut self.stream)?),
            None => self.stream.connected(),
        }
    }

    /// Reads what there is: if the buffer is not filled, nothing more is there. What is encrypted goes through
    /// `records`.
    #[inline]
    pub fn read(&mut self, buffer: &mut [u8], records: &mut [u8]) -> io::Result<usize> {
        let Some(session) = &mut self.tls else { return self.stream.read(buffer) };
        let mut filled = 0;
        while filled < buffer.len() {
            let Received { bytes, more, ended } =
                session.read(&mut self.stream, &mut buffer[filled..], records)?;
            filled += bytes;
            if ended || !more {
                return if filled == 0 && !ended { Err(ErrorKind::WouldBlock.into()) } else { Ok(filled) };
            }
        }
        Ok(filled)
    }

    /// Writes as much as goes. What is not written is the front of what is given the next time.
    #[inline]
    pub fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let Some(session) = &mut self.tls else { return self.stream.write(octets) };
        match session.write(&mut self.stream, &[IoSlice::new(octets)])? {
            Taken { bytes: 0, more: false } => Err(ErrorKind::WouldBlock.into()),
            taken => Ok(taken.bytes),
        }
    }

    /// Registers for both directions, once and for good: readiness comes as edges.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match &mut self.stream {
            Stream::Tcp(socket) => registry.register(socket, token, interest),
            Stream::Unix(socket) => registry.register(socket, token, interest),
        }
    }
}

impl Stream {
    fn connect(address: &Address, source: Option<IpAddr>) -> io::Result<Stream> {
        let to = match address {
            Address::Tcp(to) => *to,
            Address::Unix(path) => return Ok(Stream::Unix(mio::net::UnixStream::connect(path)?)),
        };
        let socket = RawSocket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        // Ends with a reset, so that no port waits for a minute and the next run finds enough of them.
        socket.set_linger(Some(Duration::ZERO))?;
        if let Some(source) = source {
            socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
        }
        match socket.connect(&SockAddr::from(to)) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                Err(error)
            }
            _ => Ok(Stream::Tcp(mio::net::TcpStream::from_std(socket.into()))),
        }
    }

    fn connected(&self) -> io::Result<bool> {
        let Stream::Tcp(socket) = self else { return Ok(true) };
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Read for Stream {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(socket) => socket.read(buffer),
            Stream::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(socket) => socket.write(octets),
            Stream::Unix(socket) => socket.write(octets),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(socket) => socket.write_vectored(slices),
            Stream::Unix(socket) => socket.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
