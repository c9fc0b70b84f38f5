//! The stream of one connection, whatever lies under it: TCP or a Unix socket.
//!
//! It reads, writes and shuts down, never blocks, and knows no readiness: that is the connection's. What encrypts
//! belongs here too, as one more kind of [`Socket`].

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

/// A connected, non-blocking stream.
#[derive(Debug)]
pub enum Socket {
    /// Not encrypted.
    Plain(Stream),
}

/// A stream of the operating system.
#[derive(Debug)]
pub enum Stream {
    /// TCP, either family.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
}

/// Where a connection came from, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Address and port of the peer.
    Tcp(SocketAddr),
    /// Peers on Unix sockets have no address.
    Unix,
}

impl Socket {
    /// Reads what there is; `Ok(0)` is the end of the input.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Plain(Stream::Tcp(stream)) => stream.read(buffer),
            Socket::Plain(Stream::Unix(stream)) => stream.read(buffer),
        }
    }

    /// Writes as much of the slices, in order, as goes.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            // One slice is the common case, and `write` is cheaper than `writev`.
            (Socket::Plain(Stream::Tcp(stream)), [slice]) => stream.write(slice),
            (Socket::Plain(Stream::Unix(stream)), [slice]) => stream.write(slice),
            (Socket::Plain(Stream::Tcp(stream)), _) => stream.write_vectored(slices),
            (Socket::Plain(Stream::Unix(stream)), _) => stream.write_vectored(slices),
        }
    }

    /// Tells the peer that nothing more will be written; its own octets are still read.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Socket::Plain(Stream::Tcp(stream)) => stream.shutdown(Shutdown::Write),
            Socket::Plain(Stream::Unix(stream)) => stream.shutdown(Shutdown::Write),
        }
    }

    /// Registers for both directions, once and for good: readiness comes as edges.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source().register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Undoes [`Socket::register`].
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Socket::Plain(Stream::Tcp(stream)) => stream,
            Socket::Plain(Stream::Unix(stream)) => stream,
        }
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Socket {
        Socket::Plain(Stream::Tcp(stream))
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Socket {
        Socket::Plain(Stream::Unix(stream))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Tcp(address) => address.fmt(f),
            Origin::Unix => f.write_str("unix"),
        }
    }
}
