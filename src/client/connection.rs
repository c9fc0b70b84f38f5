//! One connection to a router: waits for the socket, for a deadline or for somebody else's wake, and moves whole
//! messages between the stream and the session.
//!
//! While it waits to write it goes on reading. A router that stops reading a client whose events pile up would
//! otherwise wait for the client, and the client for the router.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Instant;

use mio::{Events, Poll, Token, Waker};

use super::TlsFiles;
use super::error::{ClientError, Tls};
use super::framing::{Framing, Inbound};
use super::handshake::Opening;
use super::stream::Stream;
use super::url::Url;
use crate::limits::MESSAGE_BYTES_CEILING;
use crate::wamp::Serializer;

/// Octets asked of the socket at once.
const READ_BYTES: usize = 64 * 1024;

/// Octets that are kept unread by the session: the largest message with its header, and one read more.
const INBOUND_BYTES_MAX: usize = MESSAGE_BYTES_CEILING + 2 * READ_BYTES;

const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);

/// An opened transport over a connected stream.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    framing: Framing,
    readiness: Readiness,
    /// What has come and is not yet cut into messages; up to `inbound_used` it is.
    inbound: Vec<u8>,
    inbound_used: usize,
    read_buffer: Box<[u8]>,
    /// What is to be sent; up to `outbound_sent` it has been.
    outbound: Vec<u8>,
    outbound_sent: usize,
    /// The router will send no more.
    ended: bool,
    /// Why nothing can be written any more. It is told when all that came has been read: a router that closes the
    /// connection mostly says why before.
    unwritable: Option<io::Error>,
}

/// What the poll has told.
#[derive(Debug)]
struct Readiness {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    woken: bool,
}

/// What [`Connection::receive`] found.
pub(super) enum Received {
    Message(Vec<u8>),
    /// Somebody called the waker.
    Woken,
}

impl Connection {
    /// Connects and opens the transport.
    pub fn open(
        url: &Url,
        serializer: Serializer,
        tls: &TlsFiles,
        deadline: Instant,
    ) -> Result<Connection, ClientError> {
        let (opening, request) = Opening::begin(url, serializer);
        let mut stream = Stream::connect(url, tls, deadline)?;
        let readiness = Readiness::new(&mut stream)
            .map_err(|error| ClientError::Connect(Box::new(url.clone()), error))?;
        let mut connection = Connection {
            stream,
            framing: Framing::rawsocket(serializer, 0),
            readiness,
            inbound: Vec::new(),
            inbound_used: 0,
            read_buffer: vec![0; READ_BYTES].into_boxed_slice(),
            outbound: request,
            outbound_sent: 0,
            ended: false,
            unwritable: None,
        };
        connection.framing = connection.handshake(&opening, deadline)?;
        Ok(connection)
    }

    /// What wakes [`Connection::receive`] from another thread.
    pub fn waker(&self) -> Arc<Waker> {
        self.readiness.waker.clone()
    }

    pub fn serializer(&self) -> Serializer {
        self.framing.serializer()
    }

    /// What TLS has exported for this connection, if there is TLS that does.
    pub fn channel_id(&self) -> Option<[u8; 32]> {
        self.stream.channel_id()
    }

    /// Sends one message, which `encode` appends.
    pub fn send(
        &mut self,
        deadline: Option<Instant>,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        self.framing.wrap(&mut self.outbound, encode)?;
        self.flush(deadline)
    }

    /// The next message, or the news that the waker was called.
    pub fn receive(&mut self, deadline: Option<Instant>) -> Result<Received, ClientError> {
        loop {
            if let Some(message) = self.cut()? {
                return Ok(Received::Message(message));
            }
            if std::mem::take(&mut self.readiness.woken) {
                return Ok(Received::Woken);
            }
            if self.ended {
                return Err(self.unwritable.take().map_or(ClientError::Closed(None), broken));
            }
            if !self.fill()? {
                self.readiness.wait(deadline)?;
            }
        }
    }

    /// Says that the transport is not needed any more, without waiting for an answer.
    pub fn close(&mut self) {
        self.framing.close(&mut self.outbound);
        self.write();
        self.stream.say_end();
    }

    fn handshake(&mut self, opening: &Opening, deadline: Instant) -> Result<Framing, ClientError> {
        loop {
            self.write();
            let answer = opening.answer(&self.inbound, self.ended).map_err(ClientError::Handshake)?;
            if let Some((framing, taken)) = answer {
                self.inbound_used = taken;
                return Ok(framing);
            }
            if !self.fill()? {
                self.readiness.wait(Some(deadline))?;
            }
        }
    }

    /// Cuts the next whole message out of what has come; answers PINGs on the way.
    fn cut(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        loop {
            let input = &self.inbound[self.inbound_used..];
            let (inbound, taken) = self.framing.next(input, &mut self.outbound)?;
            self.inbound_used += taken;
            match inbound {
                Inbound::Message(message) => return Ok(Some(message)),
                Inbound::Handled => {
                    self.write();
                }
                Inbound::Incomplete => return Ok(None),
                Inbound::Closed(farewell) => {
                    self.write();
                    return Err(ClientError::Closed(farewell));
                }
            }
        }
    }

    /// Reads once; false if nothing is there.
    fn fill(&mut self) -> Result<bool, ClientError> {
        self.inbound.drain(..self.inbound_used);
        self.inbound_used = 0;
        match self.stream.read(&mut self.read_buffer) {
            Ok(0) => {
                self.ended = true;
                Ok(true)
            }
            Ok(count) => {
                self.inbound.extend_from_slice(&self.read_buffer[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(broken(error)),
        }
    }

    /// Writes all there is, and reads meanwhile.
    fn flush(&mut self, deadline: Option<Instant>) -> Result<(), ClientError> {
        while !self.write() {
            let room = self.inbound.len() - self.inbound_used < INBOUND_BYTES_MAX;
            if !(room && !self.ended && self.fill()?) {
                self.readiness.wait(deadline)?;
            }
        }
        Ok(())
    }

    /// Writes what the socket takes; true if nothing is left to be written, also because nothing can be.
    fn write(&mut self) -> bool {
        let written = self.unwritable.is_some()
            || match self.write_outbound() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Err(error) => {
                    self.unwritable = Some(error);
                    true
                }
                Ok(()) => true,
            };
        if written {
            self.outbound.clear();
            self.outbound_sent = 0;
        }
        written
    }

    fn write_outbound(&mut self) -> io::Result<()> {
        while self.outbound_sent < self.outbound.len() {
            match self.stream.write(&self.outbound[self.outbound_sent..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => self.outbound_sent += written?,
            }
        }
        self.stream.flush()
    }
}

impl Readiness {
    fn new(stream: &mut Stream) -> io::Result<Readiness> {
        let poll = Poll::new()?;
        stream.register(poll.registry(), SOCKET)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        Ok(Readiness { poll, events: Events::with_capacity(8), waker, woken: false })
    }

    /// Waits for the socket or the waker. The socket is edge-triggered: it must have been read and written until it
    /// would block.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<(), ClientError> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match self.poll.poll(&mut self.events, left) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled.map_err(ClientError::Lost)?,
        }
        self.woken |= self.events.iter().any(|event| event.token() == WAKE);
        if self.events.is_empty() && deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(ClientError::Timeout);
        }
        Ok(())
    }
}

/// TLS's own failures come as IO errors; everything else is the network's.
fn broken(error: io::Error) -> ClientError {
    match error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) {
        Some(failed) => ClientError::Tls(Tls::Failed(failed.clone())),
        None => ClientError::Lost(error),
    }
}
