//! The connections of one worker: a socket each, what is known of its readiness, and who is read and written next.
//!
//! Readiness comes as edges, so what a flag says stays true until a call says otherwise: `readable` until a read finds
//! nothing, `writable` until a write does not take all. Both are hints that may be wrong in one direction only, too
//! hopeful, which costs a call that returns `WouldBlock`.
//!
//! Invariant: a readable connection that its shard wants to read is in `to_read`; a writable one with octets to write
//! is in `to_write`; each at most once. So nobody is forgotten, and nobody is served twice before all others were.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use mio::event::Event;

use super::socket::Socket;
use crate::origin::Origin;
use crate::router::{ListenerIndex, PeerKey};
use crate::tls::Received;
use crate::transport::Link;
use crate::transport::upgrade::RequestHead;

/// Slices given to one `writev`.
const SLICES_MAX: usize = 64;

/// Chunks that are smaller than this on average are copied together and written at once: the kernel takes longer for
/// one more slice than a copy of so many octets does, since they are in the cache.
const GATHERED_MEAN_BYTES: usize = 1024;

/// Octets copied together for one write.
const GATHERED_BYTES_MAX: usize = 64 * 1024;

/// A socket that was accepted and that nobody serves yet.
#[derive(Debug)]
pub struct Arrival {
    /// The stream.
    pub socket: Socket,
    /// Where it came from.
    pub origin: Arc<Origin>,
    /// Where it came in.
    pub listener: ListenerIndex,
    /// What came before.
    pub stage: Stage,
}

/// How far a connection is when a worker gets it.
#[derive(Debug)]
pub enum Stage {
    /// Nothing was read.
    New,
    /// There are too many connections: the peer is to be told so, and no more.
    Refused,
    /// These octets came behind requests for the long-poll transport, and are none for it.
    Returned(Vec<u8>),
    /// It is the router's own end of a long-poll transport: all is agreed on, in this request.
    Linked(Link, RequestHead),
}

/// A connection that speaks the long-poll transport, as a worker has found out.
#[derive(Debug)]
pub struct HandedOver {
    /// The stream, registered nowhere.
    pub socket: Socket,
    /// Where it came from.
    pub origin: Arc<Origin>,
    /// Where it came in.
    pub listener: ListenerIndex,
    /// What was read of it, which is all that has come before.
    pub octets: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// Its peer in the shard.
    pub key: PeerKey,
    /// Where it came in.
    pub listener: ListenerIndex,
    /// Where it came from.
    pub origin: Arc<Origin>,
    socket: Socket,
    readable: bool,
    writable: bool,
    /// An edge said that the peer will send no more. No further edge will say it again, so from now on only a read of
    /// zero octets is the end of the input.
    end_announced: bool,
    /// The end was read; there is nothing behind it.
    ended: bool,
    in_to_read: bool,
    in_to_write: bool,
}

/// What a read found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// So many octets, at least one.
    Bytes(usize),
    /// Nothing: none until the next edge, or what came was not for the peer.
    Nothing,
    /// The end: the peer will send no more.
    End,
}

impl Connection {
    /// A connection whose socket has not been tried. It is taken to be writable; the first edge tells if there is
    /// anything to read.
    pub fn new(key: PeerKey, listener: ListenerIndex, socket: Socket, origin: Arc<Origin>) -> Connection {
        Connection {
            key,
            listener,
            origin,
            socket,
            readable: false,
            writable: true,
            end_announced: false,
            ended: false,
            in_to_read: false,
            in_to_write: false,
        }
    }

    /// One read. What is encrypted goes through `records`.
    pub fn read(&mut self, buffer: &mut [u8], records: &mut [u8]) -> io::Result<Input> {
        let Received { bytes, more, ended } = self.socket.read(buffer, records)?;
        self.ended |= ended;
        self.readable = more || (bytes > 0 && self.end_announced);
        Ok(match bytes {
            _ if ended => Input::End,
            0 => Input::Nothing,
            bytes => Input::Bytes(bytes),
        })
    }

    /// One write of at most `bytes_max` octets of `chunks`. Returns how many the socket took; afterwards the
    /// connection is still writable if it might take more. `gathered` is a buffer to be used for it.
    pub fn write<'a>(
        &mut self,
        mut chunks: impl Iterator<Item = &'a [u8]>,
        bytes_max: usize,
        gathered: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let Some(first) = chunks.next() else { return Ok(0) };
        let first = &first[..first.len().min(bytes_max)];
        match chunks.next() {
            Some(second) if first.len() < bytes_max => {
                self.write_many([first, second].into_iter().chain(chunks), bytes_max, gathered)
            }
            // The common case: what a peer gets in a turn stands in a row.
            _ => self.write_slices(&[IoSlice::new(first)], first.len()),
        }
    }

    fn write_many<'a>(
        &mut self,
        mut chunks: impl Iterator<Item = &'a [u8]>,
        bytes_max: usize,
        gathered: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let (mut count, mut asked) = (0, 0);
        while count < SLICES_MAX
            && asked < bytes_max
            && let Some(chunk) = chunks.next()
        {
            let bytes = chunk.len().min(bytes_max - asked);
            slices[count] = IoSlice::new(&chunk[..bytes]);
            count += 1;
            asked += bytes;
        }
        if asked >= count * GATHERED_MEAN_BYTES {
            return self.write_slices(&slices[..count], asked);
        }
        gather(&slices[..count], chunks, bytes_max.min(GATHERED_BYTES_MAX), gathered);
        self.write_slices(&[IoSlice::new(gathered)], gathered.len())
    }

    /// `asked` octets at once, if the socket takes them.
    fn write_slices(&mut self, slices: &[IoSlice<'_>], asked: usize) -> io::Result<usize> {
        if asked == 0 {
            return Ok(0);
        }
        let taken = self.socket.write(slices, asked)?;
        self.writable = taken.more;
        Ok(taken.bytes)
    }

    /// Writes what is nobody's octets but the encryption's own.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writable = self.socket.flush()?;
        Ok(())
    }

    /// Tells the peer that nothing more will be written. It fails if the peer is gone, and then the next read says so.
    pub fn shutdown_write(&mut self) {
        self.writable = self.socket.shutdown_write().unwrap_or(true);
    }

    /// The socket, to be served by somebody else.
    pub fn into_socket(self) -> Socket {
        self.socket
    }

    /// The socket.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// False if a write would take nothing.
    pub fn writable(&self) -> bool {
        self.writable
    }
}

/// Copies slices and further chunks together, up to `bytes_max` octets.
fn gather<'a>(
    slices: &[IoSlice<'_>],
    chunks: impl Iterator<Item = &'a [u8]>,
    bytes_max: usize,
    gathered: &mut Vec<u8>,
) {
    gathered.clear();
    let mut append = |octets: &[u8]| {
        let bytes = octets.len().min(bytes_max - gathered.len());
        gathered.extend_from_slice(&octets[..bytes]);
        gathered.len() < bytes_max
    };
    if slices.iter().all(|slice| append(slice)) {
        for chunk in chunks {
            if !append(chunk) {
                return;
            }
        }
    }
}

/// All connections of a worker, by [`PeerKey::index`].
#[derive(Debug, Default)]
pub struct Connections {
    slots: Vec<Option<Connection>>,
    to_read: VecDeque<PeerKey>,
    to_write: VecDeque<PeerKey>,
}

impl Connections {
    /// Takes a connection in that may have been read before: what is there is no news to the kernel.
    pub fn insert_readable(&mut self, connection: Connection) {
        let key = connection.key;
        self.insert(Connection { readable: true, ..connection });
        self.read_later(key);
    }

    /// Takes a connection in. The place of its key is free: the shard uses an index again only after the connection
    /// before it was dropped.
    pub fn insert(&mut self, connection: Connection) {
        let place = connection.key.index as usize;
        if self.slots.len() <= place {
            self.slots.resize_with(place + 1, || None);
        }
        let before = self.slots[place].replace(connection);
        assert!(before.is_none(), "two connections have one key");
    }

    /// Takes a connection out.
    pub fn remove(&mut self, key: PeerKey) -> Option<Connection> {
        self.slots.get_mut(key.index as usize)?.take_if(|connection| connection.key == key)
    }

    /// The connection of a key, if it is still there.
    pub fn find(&mut self, key: PeerKey) -> Option<&mut Connection> {
        self.slots.get_mut(key.index as usize)?.as_mut().filter(|connection| connection.key == key)
    }

    /// Notes what an event says. It may be spurious, and for a connection that is gone.
    pub fn note(&mut self, event: &Event) {
        let Some(Some(connection)) = self.slots.get_mut(event.token().0) else { return };
        // An error makes both calls return it; whichever comes first tells the shard.
        let failed = event.is_error();
        connection.end_announced |= event.is_read_closed() || failed;
        let key = connection.key;
        if event.is_readable() || event.is_read_closed() || failed {
            connection.readable = !connection.ended;
            self.read_later(key);
        }
        if event.is_writable() || event.is_write_closed() || failed {
            self.unblock(key);
        }
    }

    /// Puts a readable connection at the end of those to be read.
    pub fn read_later(&mut self, key: PeerKey) {
        let Some(connection) = self.find(key) else { return };
        if connection.readable && !connection.in_to_read {
            connection.in_to_read = true;
            self.to_read.push_back(key);
        }
    }

    /// Puts a writable connection at the end of those to be written. One that is not writable comes back with its
    /// edge.
    pub fn write_later(&mut self, key: PeerKey) {
        let Some(connection) = self.find(key) else { return };
        if connection.writable && !connection.in_to_write {
            connection.in_to_write = true;
            self.to_write.push_back(key);
        }
    }

    /// The next one to be read; a connection that is gone is skipped by whoever looks for it.
    pub fn next_to_read(&mut self) -> Option<PeerKey> {
        let key = self.to_read.pop_front()?;
        if let Some(connection) = self.find(key) {
            connection.in_to_read = false;
        }
        Some(key)
    }

    /// The next one to be written.
    pub fn next_to_write(&mut self) -> Option<PeerKey> {
        let key = self.to_write.pop_front()?;
        if let Some(connection) = self.find(key) {
            connection.in_to_write = false;
        }
        Some(key)
    }

    /// How many are to be read.
    pub fn to_read(&self) -> usize {
        self.to_read.len()
    }

    /// How many are to be written.
    pub fn to_write(&self) -> usize {
        self.to_write.len()
    }

    /// A socket takes octets again. If it had refused some, they wait in the shard, which will not say so twice.
    fn unblock(&mut self, key: PeerKey) {
        let Some(connection) = self.find(key) else { return };
        if !connection.writable {
            connection.writable = true;
            self.write_later(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::origin::PeerAddress;
    use crate::tls::SHORT_MEANS_DRAINED;

    const KEY: PeerKey = PeerKey { index: 2, serial: 7 };

    /// A connection, and the other end of its socket.
    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let socket = Socket::from(mio::net::UnixStream::from_std(ours));
        (Connection::new(KEY, ListenerIndex(0), socket, Arc::new(PeerAddress::Unix.into())), theirs)
    }

    #[test]
    fn a_full_buffer_leaves_the_connection_readable_and_a_short_one_does_not() {
        let (mut connection, mut peer) = pair();
        peer.write_all(&[1; 10]).unwrap();
        let mut buffer = [0; 4];
        for expected in [4, 4, 2] {
            assert_eq!(connection.read(&mut buffer, &mut []).unwrap(), Input::Bytes(expected));
            assert_eq!(connection.readable, expected == 4 || !SHORT_MEANS_DRAINED);
        }
        assert_eq!(connection.read(&mut buffer, &mut []).unwrap(), Input::Nothing);
        assert!(!connection.readable);
    }

    #[test]
    fn an_announced_end_is_read_to_the_end() {
        let (mut connection, mut peer) = pair();
        peer.write_all(b"last").unwrap();
        drop(peer);
        connection.end_announced = true;
        let mut buffer = [0; 16];
        assert_eq!(connection.read(&mut buffer, &mut []).unwrap(), Input::Bytes(4));
        assert!(connection.readable, "no edge will come for the end that waits behind a short read");
        assert_eq!(connection.read(&mut buffer, &mut []).unwrap(), Input::End);
        assert!(!connection.readable);
    }

    /// The socket cuts what is written wherever it is full; every octet arrives once, in order.
    #[test]
    fn what_a_full_socket_refuses_is_written_later() {
        let (mut connection, mut peer) = pair();
        let sent: Vec<u8> = (0..1_000_000_u32).map(|octet| (octet % 251) as u8).collect();
        let mut written = 0;
        let mut received = Vec::new();
        let mut refused = 0;
        let mut gathered = Vec::new();
        while written < sent.len() {
            // Chunks of uneven length, some empty, more than one call takes.
            let mean = [10, 1_777][refused % 2];
            let chunks = sent[written..].chunks(mean).flat_map(|chunk| [chunk, &[][..]]);
            written += connection.write(chunks, 100_000, &mut gathered).unwrap();
            if !connection.writable() {
                refused += 1;
                let mut buffer = vec![0; 50_000];
                let bytes = peer.read(&mut buffer).unwrap();
                received.extend_from_slice(&buffer[..bytes]);
            }
        }
        drop(connection);
        peer.read_to_end(&mut received).unwrap();
        assert!(refused > 0, "a socket takes less than a million octets");
        assert!(received == sent);
    }

    #[test]
    fn a_write_takes_no_more_than_the_share() {
        let (mut connection, _peer) = pair();
        let chunks = [&[1_u8; 60][..], &[2; 60]];
        let mut gathered = Vec::new();
        assert_eq!(connection.write(chunks.into_iter(), 100, &mut gathered).unwrap(), 100);
        assert!(connection.writable(), "the socket took all that it was asked for");
        assert_eq!(connection.write(std::iter::empty(), 100, &mut gathered).unwrap(), 0);
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error_to_write() {
        let (mut connection, peer) = pair();
        drop(peer);
        assert!(connection.write([&[1_u8][..]].into_iter(), 10, &mut Vec::new()).is_err());
    }

    #[test]
    fn nobody_is_queued_twice_and_dead_keys_are_skipped() {
        let mut connections = Connections::default();
        connections.insert(pair().0);
        for _ in 0..2 {
            connections.write_later(KEY);
        }
        assert_eq!(connections.to_write(), 1);
        assert_eq!(connections.next_to_write(), Some(KEY));
        connections.read_later(KEY);
        assert_eq!(connections.to_read(), 0, "nothing says that it is readable");

        let later = PeerKey { serial: KEY.serial + 1, ..KEY };
        assert!(connections.find(later).is_none() && connections.remove(later).is_none());
        assert!(connections.remove(KEY).is_some());
        connections.write_later(KEY);
        assert_eq!(connections.to_write(), 0);
    }

    #[test]
    fn a_blocked_connection_waits_for_its_edge() {
        let mut connections = Connections::default();
        let (mut connection, _peer) = pair();
        connection.writable = false;
        connections.insert(connection);
        connections.write_later(KEY);
        assert_eq!(connections.to_write(), 0);
        connections.unblock(KEY);
        assert_eq!(connections.next_to_write(), Some(KEY));
        connections.unblock(KEY);
        assert_eq!(connections.to_write(), 0, "an edge for a writable socket says nothing new");
    }
}
