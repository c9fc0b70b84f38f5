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
use std::mem;

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
    /// Records that were read and that rustls has not taken, because the buffer of the reader was full: less than one
    /// and a half of them.
    unread: Vec<u8>,
    /// Why nothing more can be read, once that is so.
    failed: Option<rustls::Error>,
}

impl Session {
    /// A session whose handshake is yet to come.
    pub fn new(connection: impl Into<Connection>) -> Session {
        let mut connection = connection.into();
        connection.set_buffer_limit(Some(ENCRYPTED_BYTES_MAX));
        Session { connection, uncounted: 0, unread: Vec::new(), failed: None }
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

    /// Reads what there is. What came before a broken record is returned before the error. The stream is asked for as
    /// much as `records` holds at once, which is one system call where rustls would make many; what stands there does
    /// not matter before or after.
    pub fn read<S: Read + Write>(
        &mut self,
        stream: &mut S,
        buffer: &mut [u8],
        records: &mut [u8],
    ) -> io::Result<Received> {
        let unread = mem::take(&mut self.unread);
        let mut waiting = &unread[..];
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
            if !waiting.is_empty() {
                self.take_records(&mut waiting, stream)?;
                continue;
            }
            if drained {
                return Ok(Received { bytes: filled, more: false, ended: false });
            }
            let asked = records.len().min(buffer.len() - record_bytes);
            if asked == 0 {
                break;
            }
            waiting = &[];
            match retried(|| stream.read(&mut records[..asked])) {
                Ok(0) => self.take_records(&mut &[][..], stream)?,
                Ok(bytes) => {
                    record_bytes += bytes;
                    drained = bytes < asked && SHORT_MEANS_DRAINED;
                    waiting = &records[..bytes];
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => drained = true,
                Err(_) if filled > 0 => break,
                Err(error) => return Err(error),
            }
        }
        if self.failed.is_none() {
            self.unread = waiting.to_vec();
        }
        Ok(Received { bytes: filled, more: true, ended: false })
    }

    /// Has rustls take the front of the records that wait, and says what that asks for. None: this was the end.
    fn take_records<S: Write>(&mut self, waiting: &mut &[u8], stream: &mut S) -> io::Result<()> {
        self.connection.read_tls(waiting)?;
        if let Err(error) = self.connection.process_new_packets() {
            self.failed = Some(error);
        }
        // Answers to what TLS itself has asked for, or the alert that says what is wrong. If they cannot be written
        // now they go before the next octets.
        let _ = self.push(stream);
        Ok(())
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
        let counted =
            if pushed.more { self.uncounted } else { pushed.bytes.min(self.uncounted.saturating_sub(1)) };
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
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Taken { bytes, more: false });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Taken { bytes, more: true })
    }
}

/// True where the system documents that a stream which gave or took less than it was asked for is drained until the
/// next edge: epoll(7), questions 9 and 11. It saves one call for every message that comes alone.
pub const SHORT_MEANS_DRAINED: bool = cfg!(target_os = "linux");

/// Calls again what a signal has interrupted.
pub fn retried(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;
    use std::sync::Arc;

    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

    use super::*;

    /// Numbers that only look like chance (splitmix64).
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((mixed ^ (mixed >> 31)) % bound as u64) as usize
        }
    }

    /// One end of a pair of bounded queues. It gives and takes as much as chance wants.
    struct End {
        input: Rc<RefCell<VecDeque<u8>>>,
        output: Rc<RefCell<VecDeque<u8>>>,
        room: usize,
        chance: Chance,
        /// What was written so far.
        written: usize,
        /// How often it was asked for octets.
        reads: usize,
    }

    impl End {
        /// A share of so many octets.
        fn share(&mut self, octets: usize) -> usize {
            if octets > 0 && self.chance.below(2) == 0 { 1 + self.chance.below(octets) } else { octets }
        }
    }

    impl Read for End {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.reads += 1;
            let there = self.input.borrow().len().min(buffer.len());
            if there == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            // A short read says that nothing more is there, so only a full buffer may leave some.
            for octet in &mut buffer[..there] {
                *octet = self.input.borrow_mut().pop_front().unwrap();
            }
            Ok(there)
        }
    }

    impl Write for End {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let free = self.room - self.output.borrow().len();
            let bytes = self.share(free.min(octets.len()));
            if bytes == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.output.borrow_mut().extend(&octets[..bytes]);
            self.written += bytes;
            Ok(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn ends(room: usize, seed: u64) -> [End; 2] {
        let [there, back] = [(); 2].map(|()| Rc::new(RefCell::new(VecDeque::new())));
        [(back.clone(), there.clone()), (there, back)].map(|(input, output)| End {
            input,
            output,
            room,
            chance: Chance(seed),
            written: 0,
            reads: 0,
        })
    }

    /// A server and a client whose handshake is done, over that much room.
    fn sessions(room: usize, seed: u64) -> [(Session, End); 2] {
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.cert.der().clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issued.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = Session::new(ServerConnection::new(Arc::new(server)).unwrap());
        let name = "localhost".try_into().unwrap();
        let client = Session::new(ClientConnection::new(Arc::new(client), name).unwrap());
        let [there, here] = ends(room, seed);
        let mut pair = [(server, there), (client, here)];
        while pair
            .iter_mut()
            .map(|(session, end)| session.handshake(end).unwrap())
            .filter(|done| *done)
            .count()
            < 2
        {}
        pair
    }

    /// Whatever the stream gives and takes, every octet arrives once and in order, and counts as written when it is.
    #[test]
    fn every_octet_arrives_and_counts_when_it_is_written() {
        for seed in 0..20 {
            let mut chance = Chance(seed);
            // The tickets behind the handshake must fit, which nobody reads before it is done.
            let room = [2_000, 20_000, 200_000][seed as usize % 3];
            let [(mut writer, mut out), (mut reader, mut input)] = sessions(room, seed);
            let sent: Vec<u8> = (0..300_000).map(|_| chance.below(256) as u8).collect();
            let (mut counted, mut received) = (0, Vec::new());
            while received.len() < sent.len() {
                let asked = (1 + chance.below(100_000)).min(sent.len() - counted);
                let (front, back) = sent[counted..counted + asked].split_at(asked / 2);
                let slices = [IoSlice::new(front), IoSlice::new(back)];
                if asked > 0 {
                    let taken = writer.write(&mut out, &slices).unwrap();
                    counted += taken.bytes;
                    assert!(taken.bytes <= asked && writer.uncounted <= ENCRYPTED_BYTES_MAX);
                    assert!(counted <= out.written, "records are longer than what is in them");
                    assert!(counted < sent.len() || !writer.connection.wants_write());
                }
                let mut buffer = vec![0; 1 + chance.below(50_000)];
                let mut records = vec![0; 1 + chance.below(50_000)];
                let read = reader.read(&mut input, &mut buffer, &mut records).unwrap();
                assert!(!read.ended);
                received.extend_from_slice(&buffer[..read.bytes]);
                assert!(received.len() <= counted + ENCRYPTED_BYTES_MAX);
            }
            assert!(received == sent);
        }
    }

    #[test]
    fn the_end_comes_after_the_last_octet() {
        let [(mut writer, mut out), (mut reader, mut input)] = sessions(100_000, 1);
        assert_eq!(writer.write(&mut out, &[IoSlice::new(b"last")]).unwrap().bytes, 4);
        while !writer.end(&mut out).unwrap() {}
        let mut buffer = [0; 1_000];
        let read = reader.read(&mut input, &mut buffer, &mut [0; 1_000]).unwrap();
        assert_eq!((&buffer[..read.bytes], read.more, read.ended), (&b"last"[..], true, false));
        assert!(reader.read(&mut input, &mut buffer, &mut [0; 1_000]).unwrap().ended);
    }

    #[test]
    fn what_came_before_a_broken_record_is_read_before_the_error() {
        let [(mut writer, mut out), (mut reader, mut input)] = sessions(100_000, 2);
        while writer.write(&mut out, &[IoSlice::new(b"whole")]).unwrap().bytes == 0 {}
        out.output.borrow_mut().extend([0x17, 3, 3, 0, 20]);
        out.output.borrow_mut().extend([7; 20]);
        let mut buffer = [0; 1_000];
        let read = reader.read(&mut input, &mut buffer, &mut [0; 1_000]).unwrap();
        assert_eq!((&buffer[..read.bytes], read.more), (&b"whole"[..], true));
        for _ in 0..2 {
            let error = reader.read(&mut input, &mut buffer, &mut [0; 1_000]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
        }
    }

    /// Of a stream that has much, as much is read at once as there is room for, and what rustls does not take is kept.
    #[test]
    fn the_stream_is_asked_once_for_many_records() {
        let [(mut writer, mut out), (mut reader, mut input)] = sessions(1_000_000, 4);
        let sent: Vec<u8> = (0..200_000_u32).map(|octet| (octet % 251) as u8).collect();
        let mut written = 0;
        while written < sent.len() {
            written += writer.write(&mut out, &[IoSlice::new(&sent[written..])]).unwrap().bytes;
        }
        let (mut buffer, mut records) = ([0; 65_536], [0; 65_536]);
        let mut received = Vec::new();
        let mut kept_max = 0;
        while received.len() < sent.len() {
            let before = input.reads;
            let read = reader.read(&mut input, &mut buffer, &mut records).unwrap();
            assert!(input.reads - before <= 1, "{}", input.reads - before);
            received.extend_from_slice(&buffer[..read.bytes]);
            kept_max = kept_max.max(reader.unread.len());
        }
        assert!(received == sent && kept_max < 24_000, "{kept_max}");
    }

    #[test]
    fn a_read_takes_no_more_records_than_the_buffer_has_octets() {
        let [(mut writer, mut out), (mut reader, mut input)] = sessions(100_000, 3);
        for _ in 0..500 {
            while writer.write(&mut out, &[IoSlice::new(b"x")]).unwrap().bytes == 0 {}
        }
        let mut buffer = [0; 1_000];
        let before = input.input.borrow().len();
        let read = reader.read(&mut input, &mut buffer, &mut [0; 1_000]).unwrap();
        assert!(read.more && read.bytes < 500, "a record of one octet has more than twenty");
        assert!(before - input.input.borrow().len() <= 1_000);
    }
}
