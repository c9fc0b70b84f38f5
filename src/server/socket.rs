//! The stream of one connection, whatever lies under it: TCP or a Unix socket.
//!
//! It reads, writes and shuts down, never blocks, and knows no readiness: that is the connection's. What encrypts
//! belongs here too, as one more kind of [`Socket`].

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{SockRef, TcpKeepalive};

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

/// Silence after which the kernel asks whether the machine of a TCP peer still lives. The router's own pings find a
/// peer that hangs; this finds one that is gone where pings are switched off.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// From one unanswered question of the kernel to the next.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Unanswered questions after which the connection is broken.
const KEEPALIVE_RETRIES: u32 = 4;

/// How long octets may stay unacknowledged in the kernel. Above the stall and silence limits of the router, which say
/// more precisely what is wrong with the peer.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(150);

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
    /// Small messages leave at once (Nagle's rule would hold them), and the kernel watches whether the peer lives.
    /// The options are improvements: a socket that refuses one (its peer may be gone already) is served without.
    fn from(stream: TcpStream) -> Socket {
        let options = SockRef::from(&stream);
        let _ = options.set_tcp_nodelay(true);
        let _ = options.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(KEEPALIVE_IDLE)
                .with_interval(KEEPALIVE_INTERVAL)
                .with_retries(KEEPALIVE_RETRIES),
        );
        #[cfg(target_os = "linux")]
        let _ = options.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
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
