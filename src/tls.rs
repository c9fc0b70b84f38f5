//! A TLS session over a stream that never blocks: plaintext on one side, records on the other.
//!
//! Owns when records are read and written, and what counts as written. Who is shown which certificate, and who is
//! believed, is settled by whoever makes the session; the stream is lent to each call.
//!
//! Invariants:
//!
//! - Octets count as written when the records that hold them are written. What the stream has not taken goes on waiting
//!   for whoever counts, so bounds and deadlines hold over TLS as they do without.
//! - Octets are encrypted only when no record waits any more, and [`ENCRYPTED_BYTES_MAX`] at most: the front of what
//!   waits is what is encrypted already, and a slow reader takes no more memory than that.
//! - A read takes no more octets of records than the buffer has, however little is in them.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use rustls::Connection;

/// Octets that may be encrypted and not yet written: four records, so one system call for them.
pub const ENCRYPTED_BYTES_MAX: usize = 64 * 1024;

/// What a read came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Octets in the buffer.
    pub bytes: usize,
    /// More may be there, for which no event will come.
    pub more: bool,
    /// This was the end of the input; there are no octets.
    pub ended: bool,
}

/// What a write came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Octets that are written.
    pub bytes: usize,
    /// More may be taken; if not, an event will tell when.
    pub more: bool,
}

/// One side of a connection.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    /// Octets that are encrypted and do not count as written yet.
    uncounted: usize,
    /// Why nothing more can be read, once that is so.
    failed: Option<rustls::Error>,
}

impl Session {
    /// A session whose handshake is yet to come.
    pub fn new(connection: impl Into<Connection>) -> Session {
        let mut connection = connection.into();
        connection.set_buffer_limit(Some(ENCRYPTED_BYTES_MAX));
        Session { connection, uncounted: 0, failed: None }
    }

    /// What was agreed on.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Goes on with the handshake. True if it is done, and all of its records are written; else an event tells when to
    /// go on. Nothing that follows it is read.
    pub fn handshake<S: Read + Write>(&mut self, stream: &mut S) -> io::Result<bool> {
        while self.connection.is_handshaking() {
            self.push(stream)?;
            match retried(|| self.connection.read_tls(stream)) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            if let Err(error) = self.connection.process_new_packets() {
                // The alert that says why should still reach the peer.
                let _ = self.push(stream);
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        }
        Ok(self.push(stream)?.more)
    }

    /// Reads what there is. What came before a broken record is returned before the error.
    pub fn read<S: Read + Write>(&mut self, stream: &mut S, buffer: &mut [u8]) -> io::Result<Received> {
        let (mut filled, mut record_bytes) = (0, 0);
        let mut drained = false;
        while filled < buffer.len() {
            match self.connection.reader().read(&mut buffer[filled..]) {
                Ok(bytes) if bytes > 0 => {
                    filled += bytes;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Some peers close without a farewell of TLS; framing knows whether something was cut.
                Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(error),
                _ => return Ok(Received { bytes: filled, more: filled > 0, ended: filled == 0 }),
            }
            if let Some(error) = &self.failed {
                if filled > 0 {
                    break;
                }
                return Err(io::Error::new(ErrorKind::InvalidData, error.clone()));
            }
            if drained {
                return Ok(Received { bytes: filled, more: false, ended: false });
            }
            if record_bytes >= buffer.len() {
                break;
            }
            match self.take_records(stream) {
                Ok((bytes, short)) => (record_bytes, drained) = (record_bytes + bytes, short),
                Err(error) if filled > 0 && error.kind() != ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => drained = true,
                Err(error) => return Err(error),
            }
        }
        Ok(Received { bytes: filled, more: true, ended: false })
    }

    /// One read of the stream, and what its records say. Returns how many octets came, and whether they were fewer than
    /// there was room for.
    fn take_records<S: Read + Write>(&mut self, stream: &mut S) -> io::Result<(usize, bool)> {
        let mut source = Source { stream, short: false };
        let bytes = retried(|| self.connection.read_tls(&mut source))?;
        let short = source.short && bytes > 0;
        if let Err(error) = self.connection.process_new_packets() {
            self.failed = Some(error);
        }
        // Answers to what TLS itself has asked for, or the alert that says what is wrong. If they cannot be written
        // now they go before the next octets.
        let _ = self.push(stream);
        Ok((bytes, short && SHORT_MEANS_DRAINED))
    }

    /// Writes as much of the slices, in order, as goes: what they begin with may be encrypted since the last call.
    pub fn write<S: Write>(&mut self, stream: &mut S, slices: &[IoSlice<'_>]) -> io::Result<Taken> {
        if self.uncounted == 0 {
            if !self.push(stream)?.more {
                return Ok(Taken { bytes: 0, more: false });
            }
            self.uncounted = self.connection.writer().write_vectored(slices)?;
        }
        let pushed = self.push(stream)?;
        // The last octet does not count before all records are written. That those before it count a little early, by
        // what a record adds to them, only makes a slow reader look alive, which it is.
        let counted = if pushed.more { self.uncounted } else { pushed.bytes.min(self.uncounted.saturating_sub(1)) };
        let asked = slices.iter().map(|slice| slice.len()).sum();
        let bytes = counted.min(asked);
        self.uncounted -= bytes;
        Ok(Taken { bytes, more: pushed.more })
    }

    /// Writes the records that wait. True if none is left.
    pub fn flush<S: Write>(&mut self, stream: &mut S) -> io::Result<bool> {
        Ok(self.push(stream)?.more)
    }

    /// Says that nothing more will be sent. True if that is written; else [`Session::flush`] goes on with it.
    pub fn end<S: Write>(&mut self, stream: &mut S) -> io::Result<bool> {
        self.connection.send_close_notify();
        self.flush(stream)
    }

    /// Writes records until none is left (`more`), or the stream takes no more. `bytes` are theirs.
    fn push<S: Write>(&mut self, stream: &mut S) -> io::Result<Taken> {
        let mut bytes = 0;
        while self.connection.wants_write() {
            match retried(|| self.connection.write_tls(stream)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Taken { bytes, more: false }),
                Err(error) => return Err(error),
            }
        }
        Ok(Taken { bytes, more: true })
    }
}

/// True where the system documents that a stream which gave or took less than it was asked for is drained until the
/// next edge: epoll(7), questions 9 and 11. It saves one call for every message that comes alone.
pub const SHORT_MEANS_DRAINED: bool = cfg!(target_os = "linux");

/// A stream that is asked once, and remembers whether it gave less than it was asked for.
struct Source<'a, S> {
    stream: &'a mut S,
    short: bool,
}

impl<S: Read> Read for Source<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.stream.read(buffer)?;
        self.short = bytes < buffer.len();
        Ok(bytes)
    }
}

/// Calls again what a signal has interrupted.
pub fn retried(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
