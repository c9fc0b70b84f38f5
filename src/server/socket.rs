//! The stream of one connection, whatever lies under it: TCP or a Unix socket, plain or with TLS over it.
//!
//! It reads, writes and shuts down, never blocks, and tells what it knows of its readiness; what is made of that is
//! the connection's.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::net::RecvFlags;

use crate::tls::{Received, SHORT_MEANS_DRAINED, Session, Taken, retried};

/// A connected, non-blocking stream of octets that are the peer's own.
#[derive(Debug)]
pub enum Socket {
    /// Not encrypted.
    Plain(Stream),
    /// Encrypted. Boxed, so that plain ones do not pay for it.
    Tls(Box<Secured>),
}

/// A stream with TLS over it, whose handshake is done.
#[derive(Debug)]
pub struct Secured {
    stream: Stream,
    session: Session,
    /// Nothing more will be sent: the stream is shut down when the last record is written.
    shutting: bool,
}

/// A stream of the operating system.
#[derive(Debug)]
pub enum Stream {
    /// TCP, either family.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
}

impl Socket {
    /// Goes on with a stream whose TLS handshake is done.
    pub fn secured(stream: Stream, session: Session) -> Socket {
        Socket::Tls(Box::new(Secured { stream, session, shutting: false }))
    }

    /// Reads what there is. What is encrypted goes through `records`.
    pub fn read(&mut self, buffer: &mut [u8], records: &mut [u8]) -> io::Result<Received> {
        match self {
            Socket::Plain(stream) => stream.receive(buffer),
            Socket::Tls(secured) => secured.session.read(&mut secured.stream, buffer, records),
        }
    }

    /// Writes as much of the slices, in order, as goes. They begin with what the last call has left, and are not empty.
    pub fn write(&mut self, slices: &[IoSlice<'_>], asked: usize) -> io::Result<Taken> {
        match self {
            Socket::Plain(stream) => stream.take(slices, asked),
            Socket::Tls(secured) => secured.session.write(&mut secured.stream, slices),
        }
    }

    /// Writes what the encryption has to say of its own accord, and what is left of the end. False if some is left.
    pub fn flush(&mut self) -> io::Result<bool> {
        match self {
            Socket::Plain(_) => Ok(true),
            Socket::Tls(secured) => secured.flush(),
        }
    }

    /// Tells the peer that nothing more will be written; its own octets are still read. False if [`Socket::flush`] has
    /// to go on with it.
    pub fn shutdown_write(&mut self) -> io::Result<bool> {
        match self {
            Socket::Plain(stream) => stream.shutdown_write().map(|()| true),
            Socket::Tls(secured) => {
                secured.shutting = true;
                secured.session.end(&mut secured.stream)?;
                secured.flush()
            }
        }
    }

    /// Says farewell where there is a word for it, as far as that goes without waiting. The socket is dropped next.
    pub fn say_end(&mut self) {
        if let Socket::Tls(secured) = self
            && !secured.shutting
        {
            // The peer may be gone, and nobody is left to be told.
            let _ = secured.session.end(&mut secured.stream);
        }
    }

    /// Registers for both directions, once and for good: readiness comes as edges.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.stream().register(registry, token)
    }

    /// Goes on under another token. What was ready is told again.
    pub fn reregister(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.stream().source().reregister(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Undoes [`Socket::register`].
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.stream().deregister(registry)
    }

    fn stream(&mut self) -> &mut Stream {
        match self {
            Socket::Plain(stream) => stream,
            Socket::Tls(secured) => &mut secured.stream,
        }
    }
}

impl Secured {
    fn flush(&mut self) -> io::Result<bool> {
        let flushed = self.session.flush(&mut self.stream)?;
        if flushed && self.shutting {
            self.stream.shutdown_write()?;
        }
        Ok(flushed)
    }
}

impl Stream {
    /// Copies what there is to the front of the buffer, and leaves it to be read. 0 octets: the end.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        retried(|| Ok(rustix::net::recv(self.as_fd(), &mut *buffer, RecvFlags::PEEK)?.0))
    }

    /// Registers for both directions, once and for good: readiness comes as edges.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source().register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Undoes [`Stream::register`].
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        match retried(|| self.read(buffer)) {
            Ok(0) => Ok(Received { bytes: 0, more: false, ended: true }),
            Ok(bytes) => {
                let more = bytes == buffer.len() || !SHORT_MEANS_DRAINED;
                Ok(Received { bytes, more, ended: false })
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Ok(Received { bytes: 0, more: false, ended: false })
            }
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, slices: &[IoSlice<'_>], asked: usize) -> io::Result<Taken> {
        let written = retried(|| match slices {
            // One slice is the common case, and `write` is cheaper than `writev`.
            [slice] => self.write(slice),
            _ => self.write_vectored(slices),
        });
        match written {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            Ok(bytes) => Ok(Taken { bytes, more: bytes == asked || !SHORT_MEANS_DRAINED }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Taken { bytes: 0, more: false }),
            Err(error) => Err(error),
        }
    }

    fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => stream,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(octets),
            Stream::Unix(stream) => stream.write(octets),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write_vectored(slices),
            Stream::Unix(stream) => stream.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
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
