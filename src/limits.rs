//! Every bound of the router: its unit, its first value, why it is that, and what a peer sees when it is reached.
//!
//! Nothing a peer does may take more than what stands here: memory, time or table entries. [`Limits`] holds what an
//! operator may set; constants hold what must not change while a router runs.

use std::time::Duration;

/// Shards at most: the set of shards interested in a topic is one machine word.
pub const SHARDS_MAX: usize = 64;

/// The largest message a RawSocket peer can announce or receive: 2^24 octets.
pub const MESSAGE_BYTES_CEILING: usize = 1 << 24;

/// Lists and dictionaries inside one another, the message's own list included. Deeper payload is a violation. JSON
/// libraries of common clients stop between 100 and 1,000; nothing real comes near 64.
pub const PAYLOAD_DEPTH_MAX: usize = 64;

/// Values of UBJSON without octets (a list with the type null and a count) that a message may have, however short it
/// is; a longer one may have as many as it has octets. Else a few octets would become mebibytes.
pub const UBJSON_EMPTY_VALUES_MIN: usize = 1024;

/// Octets after which a lane of the turn's frames goes on in a new segment. A peer that is slow holds on to whole
/// segments, if it holds at least a quarter of them; one that is not gets all of a segment in one write.
pub const ARENA_SEGMENT_BYTES: usize = 256 * 1024;

/// Segments a shard keeps for the next turn, 4 MiB of them; more are given back to the allocator.
pub const ARENA_FREE_SEGMENTS_MAX: usize = 16;

/// Microseconds in a turn after which a worker begins no further step of a TLS handshake; the rest goes on in the next
/// turn. A step that signs takes 100 us with a P-256 key and milliseconds with RSA-4096, and one that finds half a
/// record next to nothing: so the time counts, and one step is always taken. The peers that are there wait for it.
pub const TLS_HANDSHAKE_US_PER_TURN: u64 = 1_000;

/// TLS handshakes that a worker has under way. Above: the oldest is closed. Half of one holds 66 KiB at most, until
/// `handshake_ms_max`; those of peers that mean it are done in some round trips.
pub const TLS_HANDSHAKES_OPEN_MAX: usize = 1_024;

/// Octets of an upgrade request, headers included. Browsers with large cookies stay under 8 KiB.
pub const UPGRADE_BYTES_MAX: usize = 16 * 1024;

/// What the operator of a router may set. Each field says what happens at the limit.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Octets of one message from a peer. Above: violation, the connection ends. At most [`MESSAGE_BYTES_CEILING`];
    /// RawSocket announces it rounded down to a power of two, and the announced value is the one enforced.
    pub message_bytes_max: usize,
    /// Octets of a URI. Above: ERROR `wamp.error.invalid_uri`.
    pub uri_bytes_max: usize,
    /// Octets waiting to be written to one peer. Above: closed as a slow consumer.
    pub outbound_bytes_max: usize,
    /// Octets of answers to its own requests waiting to be written to one peer, above which it is no longer read.
    pub outbound_bytes_soft: usize,
    /// How long bytes may wait for a peer that takes none of them. Then: closed as a slow consumer.
    pub outbound_stall_ms_max: u64,
    /// Octets of memory that what waits to be written takes in one shard; a large frame counts once for all who have
    /// not taken it. Above: peers that wait for more than their share are slow consumers, and what is larger than a
    /// share is dropped and counted as too large.
    pub outbound_shard_bytes_max: usize,
    /// Octets of unfinished messages kept in one shard. Above: peers that keep more than their share are closed.
    pub inbound_shard_bytes_max: usize,
    /// Letters waiting in a mailbox. Above: shards that send there stop reading their peers.
    pub mailbox_letters_max: usize,
    /// Octets of payload waiting in a mailbox. Above: as for letters.
    pub mailbox_bytes_max: usize,
    /// Octets read from one peer in one turn; the rest is read in the next turn.
    pub read_bytes_per_peer_turn: usize,
    /// Octets read in one turn over all peers; the rest is read in the next turn.
    pub read_bytes_per_turn: usize,
    /// Octets queued for all peers of a shard since they were last written. Above: nothing more is read before they
    /// are. One PUBLISH of 150 octets is 1.5 MB to 10,000 subscribers; what is read in a turn alone would not bound it.
    pub queued_bytes_per_turn: usize,
    /// Octets written to one peer in one turn; the rest is written in the next turn.
    pub write_bytes_per_peer_turn: usize,
    /// Subscriptions of a session. Above: ERROR `wamp.error.unavailable`.
    pub subscriptions_per_session_max: usize,
    /// Registrations of a session. Above: ERROR `wamp.error.unavailable`.
    pub registrations_per_session_max: usize,
    /// Callees of a shared registration. Above: ERROR `wamp.error.unavailable`. Each who comes or goes copies the list.
    pub callees_per_registration_max: usize,
    /// Calls that wait until a callee of one registration is below its `concurrency`, over all shards. Above: ERROR
    /// `wamp.error.unavailable`.
    pub calls_waiting_per_registration_max: usize,
    /// The same of a realm. Above: as for a registration. A session has no more of them than it leaves to others.
    pub calls_waiting_per_realm_max: usize,
    /// Octets those calls keep. Above, or above what a session leaves: as for a registration.
    pub call_bytes_waiting_per_realm_max: usize,
    /// Calls of a session that wait for their result. Above: ERROR `wamp.error.unavailable`.
    pub calls_open_per_session_max: usize,
    /// Invocations a callee has not answered, whether their callers have given them up or not, unless it was told.
    /// Above: another callee is called; if there is none the caller gets ERROR `wamp.error.unavailable`.
    pub invocations_open_per_session_max: usize,
    /// Testaments of a session. Above: ERROR `wamp.error.unavailable`.
    pub testaments_per_session_max: usize,
    /// Octets of the testaments of a session: topics, options and payloads. Above: ERROR `wamp.error.unavailable`.
    pub testament_bytes_per_session_max: usize,
    /// Octets of what `wamp.session.modify_details` has said about a session. Above: ERROR `wamp.error.unavailable`.
    pub session_details_bytes_max: usize,
    /// Octets of what a shard keeps of a realm's calls: of those that may yet be sent to another callee, payload and
    /// options; of progressive ones, the options. Above, or above what a session leaves: a progressive call gets ERROR
    /// `wamp.error.unavailable`, any other is not sent again.
    pub call_kept_bytes_max: usize,
    /// The longest timeout of a call; a longer one is taken as this. A call without a timeout has none.
    pub call_timeout_ms_max: u64,
    /// Topics a shard remembers for a realm, and as many procedures. Above: the memory is cleared and built anew.
    pub match_cache_entries_max: usize,
    /// Shapes (prefix lengths, wildcard masks) of the subscribed patterns of a realm, and as many of the registered
    /// ones. Above: ERROR `wamp.error.unavailable`.
    pub pattern_shapes_max: usize,
    /// Connections of the whole router. Above: RawSocket error 4, 503 to an upgrade to WebSocket.
    pub connections_max: usize,
    /// From connection to the end of the TLS handshake, from there (or from connection) to the end of the transport's
    /// handshake, and from there to HELLO. Then: closed.
    pub handshake_ms_max: u64,
    /// Silence after which a WebSocket peer is pinged; silence for as long again closes it. 0 sends no pings.
    pub silence_ms_max: u64,
    /// The same for RawSocket peers. None by default: autobahn-python, the most common of them, fails on a PING. TCP's
    /// own keepalive finds hosts that are gone.
    pub rawsocket_silence_ms_max: u64,
    /// Microseconds that a worker goes on asking for input before it sleeps; 0: it sleeps at once. Waking up takes a
    /// core of some machines tens of microseconds, which is most of the time of a call that comes alone; asking takes
    /// a core that has nothing else to do.
    pub busy_poll_us: u64,
    /// From our GOODBYE, ABORT or close frame to the peer's answer. Then: closed.
    pub goodbye_ms_max: u64,
    /// From SIGTERM to the end of the process.
    pub drain_ms_max: u64,
    /// Long-poll transports of the whole router. Above: 503 to `open`. Each is a connection of its own as well, so
    /// `connections_max` holds too.
    pub longpoll_transports_max: usize,
    /// Octets of messages that wait for a long-poll client, above which its shard is not read for it any more; one
    /// message is always taken. What waits in the shard is bounded as for every peer, and so is the time.
    pub longpoll_queue_bytes_max: usize,
    /// Octets of memory held for long-poll clients: requests that are not whole yet, messages that wait, answers that
    /// are not taken. Above: transports and connections that hold more than their share are closed.
    pub longpoll_bytes_max: usize,
    /// How long `receive` waits for a message; then it is answered with nothing. autobahn-js gives up after 12 s, and
    /// takes that for the end of the transport.
    pub longpoll_receive_ms_max: u64,
    /// How long a long-poll transport lives without a request. Then: closed.
    pub longpoll_idle_ms_max: u64,
    /// From the first octet of a request to a long-poll transport to its last. Then: 408, and closed.
    pub longpoll_request_ms_max: u64,
    /// How long a connection of a long-poll client may be without a request. Then: closed. Longer than what proxies
    /// keep a connection for, so that they end it, and not we under their next request.
    pub longpoll_connection_idle_ms_max: u64,
}

impl Limits {
    /// The values of a router that was given none.
    pub const DEFAULT: Limits = Limits {
        message_bytes_max: 1 << 20,
        uri_bytes_max: 512,
        outbound_bytes_max: 32 << 20,
        outbound_bytes_soft: 1 << 20,
        outbound_stall_ms_max: 30_000,
        outbound_shard_bytes_max: 1 << 30,
        inbound_shard_bytes_max: 256 << 20,
        mailbox_letters_max: 65_536,
        mailbox_bytes_max: 64 << 20,
        read_bytes_per_peer_turn: 64 << 10,
        read_bytes_per_turn: 1 << 20,
        queued_bytes_per_turn: 64 << 20,
        write_bytes_per_peer_turn: 256 << 10,
        subscriptions_per_session_max: 4_096,
        registrations_per_session_max: 4_096,
        callees_per_registration_max: 4_096,
        calls_waiting_per_registration_max: 1_024,
        calls_waiting_per_realm_max: 16_384,
        call_bytes_waiting_per_realm_max: 64 << 20,
        calls_open_per_session_max: 4_096,
        invocations_open_per_session_max: 4_096,
        testaments_per_session_max: 64,
        testament_bytes_per_session_max: 64 << 10,
        session_details_bytes_max: 16 << 10,
        call_kept_bytes_max: 64 << 20,
        call_timeout_ms_max: 24 * 60 * 60 * 1_000,
        match_cache_entries_max: 8_192,
        pattern_shapes_max: 256,
        connections_max: 1_000_000,
        handshake_ms_max: 5_000,
        silence_ms_max: 60_000,
        rawsocket_silence_ms_max: 0,
        busy_poll_us: 0,
        goodbye_ms_max: 5_000,
        drain_ms_max: 10_000,
        longpoll_transports_max: 10_000,
        longpoll_queue_bytes_max: 64 << 10,
        longpoll_bytes_max: 256 << 20,
        longpoll_receive_ms_max: 10_000,
        longpoll_idle_ms_max: 30_000,
        longpoll_request_ms_max: 30_000,
        longpoll_connection_idle_ms_max: 75_000,
    };

    /// Milliseconds of a limit as a duration.
    pub fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::DEFAULT
    }
}

// How the bounds depend on one another; a change that breaks one of these does not compile.
const _: () = {
    let limits = Limits::DEFAULT;
    assert!(SHARDS_MAX <= u64::BITS as usize);
    assert!(limits.message_bytes_max <= MESSAGE_BYTES_CEILING);
    assert!(limits.outbound_bytes_soft < limits.outbound_bytes_max);
    // A queue must take the largest message the router itself may be told to send.
    assert!(limits.outbound_bytes_max > MESSAGE_BYTES_CEILING);
    // The overshoot of a congested mailbox is one turn's reading for each sending shard.
    assert!(limits.read_bytes_per_turn <= limits.mailbox_bytes_max / 16);
    assert!(limits.read_bytes_per_peer_turn <= limits.read_bytes_per_turn);
    // A client that polls as it should is never taken for an idle one.
    assert!(limits.longpoll_receive_ms_max < limits.longpoll_idle_ms_max);
    // What one turn adds must not make a crowd of peers that were not given the time to take it.
    assert!(limits.queued_bytes_per_turn <= limits.outbound_shard_bytes_max / 8);
};
