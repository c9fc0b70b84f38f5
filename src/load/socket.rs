//! A connection's socket: TCP or a Unix domain socket, connecting without waiting for it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, Type};

/// Where the router is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix domain socket.
    Unix(PathBuf),
}

/// The socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP, either family.
    Tcp(mio::net::TcpStream),
    /// In the file system.
    Unix(mio::net::UnixStream),
}

impl Socket {
    /// Begins to connect. Over TCP the outcome is known when the socket is writable; a Unix domain socket is connected
    /// at once, or fails with [`ErrorKind::WouldBlock`] while the router's backlog is full.
    pub fn connect(address: &Address, source: Option<IpAddr>) -> io::Result<Socket> {
        let to = match address {
            Address::Tcp(to) => *to,
            Address::Unix(path) => return Ok(Socket::Unix(mio::net::UnixStream::connect(path)?)),
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
            _ => Ok(Socket::Tcp(mio::net::TcpStream::from_std(socket.into()))),
        }
    }

    /// Whether it is connected by now.
    pub fn connected(&self) -> io::Result<bool> {
        let Socket::Tcp(socket) = self else { return Ok(true) };
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads what there is.
    #[inline]
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.read(buffer),
            Socket::Unix(socket) => socket.read(buffer),
        }
    }

    /// Writes as much as goes.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.write(bytes),
            Socket::Unix(socket) => socket.write(bytes),
        }
    }

    /// Registers for both directions, once and for good: readiness comes as edges.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Socket::Tcp(socket) => registry.register(socket, token, interest),
            Socket::Unix(socket) => registry.register(socket, token, interest),
        }
    }
}
