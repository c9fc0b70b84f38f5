//! What happened in a run, in the order it happened, as both ends of every connection saw it.
//!
//! The checkers know nothing else: they can be shown a log that no router made, which is how they are tested.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use fanwire::error::CloseReason;
use fanwire::transport::Framing;
use fanwire::wamp::message::code;
use fanwire::wamp::{MatchPolicy, Serializer, reason};

use crate::doors::{Door, Login};
use crate::guards::Guard;
use crate::item::{Item, Message, Tag};

/// One session, or the attempt to have one. A transport that joins again begins a new life; lives are never used
/// again, other than session ids, which come from the router.
#[derive(Clone, Debug)]
pub struct Life {
    /// Lives with the same number share a transport.
    pub connection: usize,
    pub realm: usize,
    pub shard: usize,
    pub serializer: Serializer,
    pub framing: Framing,
    /// Octets of the largest message the client takes.
    pub message_bytes_max: usize,
    /// The client announces `call_canceling` as a callee.
    pub cancelable: bool,
    /// The client announces progressive results and invocations as a caller and as a callee.
    pub progressive: bool,
    /// The client announces `call_reroute` as a callee.
    pub reroutes: bool,
    /// The client announces that it understands what is taken away from it, as a subscriber and as a callee.
    pub revocable: bool,
    /// It is asked what others may do, and says nothing else.
    pub authority: bool,
    /// Who it says it is, if it does.
    pub login: Option<Login>,
}

impl Life {
    /// It may send progressive results, and takes calls in parts: not if it cannot be interrupted.
    pub fn is_progressive_callee(&self) -> bool {
        self.cancelable && self.progressive
    }
}

/// How a dishonest client breaks the protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Misdeed {
    GarbageMessage,
    GarbageTransport,
    UnknownType,
    RouterOnlyMessage,
    HelloAgain,
    BeforeHello,
    NoRoles,
    RequestOutOfOrder,
    /// On a listener that takes any request id: a CALL with the id of one that is open.
    CallRepeated,
    UnknownInvocation,
    ErrorForNothing,
    Oversize,
    /// Something else than the answer to a challenge.
    OutOfTurn,
}

impl Misdeed {
    /// What any joined client may do.
    pub const IN_SESSION: [Misdeed; 8] = [
        Misdeed::GarbageMessage,
        Misdeed::UnknownType,
        Misdeed::RouterOnlyMessage,
        Misdeed::HelloAgain,
        Misdeed::RequestOutOfOrder,
        Misdeed::UnknownInvocation,
        Misdeed::ErrorForNothing,
        Misdeed::Oversize,
    ];
}

/// What happened. Positions are those of entries in the log.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// The client wrote a message.
    Said(Message),
    /// The client breaks the protocol; what it says from here on is not to be relied on.
    Misdeed(Misdeed),
    /// The client's message at that position has reached the shard whole. It may be handled from here on.
    Delivered(usize),
    /// It has been handled by now, if its session was alive.
    Handled(usize),
    /// The client read a message.
    Heard(Message),
    /// The client closed or reset the connection, or its sending side.
    Left,
    /// The router shut its side of the connection, after its last octet.
    Shut,
    /// The router closed the connection.
    Closed(CloseReason),
    /// All is still: no bytes, letters or kept input anywhere. `answered`: and no callee owes an answer.
    Quiet { answered: bool },
    /// So many milliseconds have passed since the beginning, where that matters.
    Time(u64),
}

#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// [`NOBODY`] for what concerns all.
    pub life: usize,
    pub what: What,
}

/// The life of entries that concern all.
pub const NOBODY: usize = usize::MAX;

/// The log of a run.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub lives: Vec<Life>,
    pub entries: Vec<Entry>,
    /// `invocations_open_per_session_max` of the run, if it is one that can be reached.
    pub invocations_open_max: Option<usize>,
    /// Realms may go, and come back as others.
    pub realms_go: bool,
    /// The authorizers of the run, by realm.
    pub guards: Vec<Option<Guard>>,
    /// Who may join, by realm, where not everybody may.
    pub doors: Vec<Option<Door>>,
}

impl Log {
    /// The authorizer of a realm, if it has one.
    pub fn guard(&self, realm: usize) -> Option<&Guard> {
        self.guards.get(realm)?.as_ref()
    }

    /// How a realm lets somebody in, if not everybody.
    pub fn door(&self, realm: usize) -> Option<&Door> {
        self.doors.get(realm)?.as_ref()
    }

    /// True for a life that is asked what others may do.
    pub fn is_authority(&self, life: usize) -> bool {
        self.lives.get(life).is_some_and(|life| life.authority)
    }

    /// How many milliseconds had passed at each entry.
    pub fn times(&self) -> Vec<u64> {
        let mut now = 0;
        let time = |entry: &Entry| {
            if let What::Time(ms) = entry.what {
                now = ms;
            }
            now
        };
        self.entries.iter().map(time).collect()
    }

    /// Appends, and tells where.
    pub fn push(&mut self, life: usize, what: What) -> usize {
        self.entries.push(Entry { life, what });
        self.entries.len() - 1
    }

    /// Every message a client wrote: position, life, message.
    pub fn said(&self) -> impl Iterator<Item = (usize, usize, &Message)> {
        self.entries.iter().enumerate().filter_map(|(at, entry)| match &entry.what {
            What::Said(message) => Some((at, entry.life, message)),
            _ => None,
        })
    }

    /// Every CALL that goes on with another: its tag, and that of the first.
    pub fn further_calls(&self) -> BTreeMap<Tag, Tag> {
        let mut first: BTreeMap<(usize, u64), Tag> = BTreeMap::new();
        let mut further = BTreeMap::new();
        for (_, life, message) in self.said().filter(|(_, _, message)| message.code() == code::CALL) {
            let Some(tag) = message.tag() else { continue };
            let first = *first.entry((life, message.number(1))).or_insert(tag);
            if first != tag {
                further.insert(tag, first);
            }
        }
        further
    }

    /// Every message a client read: position, life, message.
    pub fn heard(&self) -> impl Iterator<Item = (usize, usize, &Message)> {
        self.entries.iter().enumerate().filter_map(|(at, entry)| match &entry.what {
            What::Heard(message) => Some((at, entry.life, message)),
            _ => None,
        })
    }

    /// The positions at which all was still, and whether every callee had answered.
    pub fn quiet(&self) -> impl Iterator<Item = (usize, bool)> {
        self.entries.iter().enumerate().filter_map(|(at, entry)| match entry.what {
            What::Quiet { answered } => Some((at, answered)),
            _ => None,
        })
    }

    /// For each entry, where the message in it was delivered and where it was handled; `None` if never.
    pub fn handled(&self) -> Vec<(Option<usize>, Option<usize>)> {
        let mut found = vec![(None, None); self.entries.len()];
        for (at, entry) in self.entries.iter().enumerate() {
            match entry.what {
                What::Delivered(said) => found[said].0 = Some(at),
                What::Handled(said) => found[said].1 = Some(at),
                _ => {}
            }
        }
        found
    }

    /// For each life, when its session began to end and through whom; nothing is promised to it from there on.
    pub fn departures(&self) -> Vec<Option<Departure>> {
        let mut found: Vec<Option<Departure>> = vec![None; self.lives.len()];
        for (at, entry) in self.entries.iter().enumerate() {
            let by_client = match &entry.what {
                What::Said(message) if matches!(message.code(), code::GOODBYE | code::ABORT) => true,
                What::Heard(message) if matches!(message.code(), code::GOODBYE | code::ABORT) => false,
                What::Misdeed(_) | What::Left => true,
                What::Shut | What::Closed(_) => false,
                _ => continue,
            };
            let _ = found[entry.life].get_or_insert(Departure { at, by_client });
        }
        // Whom somebody wants to be killed the router may have ended before the client did, which need not read of it.
        for life in self.wanted_dead() {
            found[life] = found[life].map(|departure| Departure { by_client: false, ..departure });
        }
        found
    }

    /// The lives whose sessions somebody has asked to be killed.
    fn wanted_dead(&self) -> Vec<usize> {
        let victim = |message: &Message| message.payload().first()?.list()?.first()?.number();
        let kills =
            self.said().filter(|(_, _, m)| m.code() == code::CALL && m.text(3) == "wamp.session.kill");
        let victims: Vec<u64> = kills.filter_map(|(_, _, kill)| victim(kill)).collect();
        let welcomes = self.heard().filter(|(_, _, message)| message.code() == code::WELCOME);
        welcomes.filter(|(_, _, m)| victims.contains(&m.number(1))).map(|(_, life, _)| life).collect()
    }

    /// A text to be read by people.
    pub fn trace(&self) -> String {
        let mut text = String::new();
        for (index, life) in self.lives.iter().enumerate() {
            let Life { connection, realm, shard, serializer, framing, .. } = life;
            let _ = writeln!(
                text,
                "life {index}: connection {connection}, realm {realm}, shard {shard}, {serializer:?} over {framing:?}"
            );
        }
        for (at, entry) in self.entries.iter().enumerate() {
            let _ = writeln!(text, "{at:5} {entry}");
        }
        text
    }
}

/// See [`Log::departures`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Departure {
    pub at: usize,
    pub by_client: bool,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.life == NOBODY {
            return write!(f, "{:?}", self.what);
        }
        match &self.what {
            What::Said(message) => write!(f, "{:3} ->  {message}", self.life),
            What::Heard(message) => write!(f, "{:3}  <- {message}", self.life),
            what => write!(f, "{:3}     {what:?}", self.life),
        }
    }
}

/// The match policy in a SUBSCRIBE or REGISTER.
pub fn policy(message: &Message) -> MatchPolicy {
    let name = message.entry(2, "match").and_then(Item::text);
    name.and_then(MatchPolicy::from_name).unwrap_or_default()
}

/// True if the entry of a message's options is true.
pub fn option(message: &Message, key: &str, default: bool) -> bool {
    match message.entry(2, key) {
        Some(Item::Bool(value)) => *value,
        _ => default,
    }
}

/// True if a CALL allows itself a time, which may then be over.
pub fn is_hurried(call: &Message) -> bool {
    call.entry(2, "timeout").is_some()
}

/// True if a message ends the session for good.
pub fn is_last(message: &Message) -> bool {
    matches!(message.code(), code::GOODBYE | code::ABORT)
}

/// True if it is the ABORT of a peer that broke the protocol.
pub fn is_accusation(message: &Message) -> bool {
    message.code() == code::ABORT && message.text(2) == reason::PROTOCOL_VIOLATION
}
