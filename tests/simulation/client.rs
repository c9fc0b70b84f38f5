//! What a client says and remembers: a small honest state machine, and the ways to be dishonest.
//!
//! It keeps just enough to say sensible things: the ids it was given, the invocations it owes an answer to, the calls
//! it waits for. Whether what it hears is right is for the checkers.

mod authority;
mod login;

use fanwire::router::RequestIds;
use fanwire::transport::Framing;
use fanwire::wamp::message::code;
use fanwire::wamp::{Serializer, reason};

use crate::chance::Chance;
use crate::checkers::{EVERYTHING, KILLED, REMOVE_CALLEE, REMOVE_SUBSCRIBER, REVOKED, revoked};
use crate::doors::Login;
use crate::item::{Item, Message, Tag};
use crate::log::{Misdeed, option};
use crate::wire::{Wire, rawsocket_frame};
use crate::{dict, list};

pub use authority::Authority;

/// Topics, and text that is none.
const TOPICS: [&str; 8] = ["t.a", "t.b", "t.a.b", "t.a.b", "t.b.b", "t.a", "t.a", "T.A"];
const PREFIXES: [&str; 4] = ["t.", "t.a", "t", "t.b.b"];
const WILDCARDS: [&str; 5] = ["t..b", "t.", "t..", "t.a.", ".b.b"];
const PROCEDURES: [&str; 6] = ["p.a", "p.b", "p.a.b", "p.a.b", "p.a", "P.A"];
const PROCEDURE_PREFIXES: [&str; 3] = ["p.", "p.a", "p"];
const PROCEDURE_WILDCARDS: [&str; 4] = ["p..b", "p.", "p.a.", ".a.b"];
/// What most callees register, where they share.
const SHARED: &str = "p.a.b";
const INVALID: [&str; 4] = ["t..a", "", "t a", "wamp.own"];

/// Policies of shared registrations whose choices the naive router foresees.
pub const FORESEEABLE: [&str; 5] = ["roundrobin", "roundrobin", "first", "last", "_leastopen"];

/// What a client may do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    Subscribe,
    Unsubscribe,
    Publish,
    Register,
    Unregister,
    Call,
    Answer,
    Cancel,
    Goodbye,
    Misbehave,
}

impl Act {
    pub const ALL: [Act; 10] = [
        Act::Subscribe,
        Act::Unsubscribe,
        Act::Publish,
        Act::Register,
        Act::Unregister,
        Act::Call,
        Act::Answer,
        Act::Cancel,
        Act::Goodbye,
        Act::Misbehave,
    ];
}

/// How far a session has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The transport's handshake is under way.
    Opening,
    /// The transport is open and no session is: at the beginning, and after GOODBYE.
    Opened,
    /// HELLO is under way.
    Joining,
    Joined,
    /// The client's GOODBYE is under way.
    Leaving,
    /// Nothing will come of this connection any more.
    Over,
}

/// An invocation that is not answered.
#[derive(Clone, Copy, Debug)]
pub struct Owed {
    pub request: u64,
    /// Of the CALL.
    pub tag: Tag,
}

/// A client's session.
#[derive(Debug)]
pub struct Client {
    pub life: usize,
    pub realm: usize,
    pub stage: Stage,
    pub cancelable: bool,
    /// It announces progressive results and invocations, as a caller and as a callee.
    pub progressive: bool,
    /// It announces that another callee may take a call for which it is unavailable.
    pub reroutes: bool,
    /// Which request ids its listener takes.
    pub ids: RequestIds,
    /// It subscribes to the router's own events and does nothing else.
    pub watcher: bool,
    /// If it is one, it may take them all with one pattern.
    pub watches_all: bool,
    /// It publishes to be retained, and asks for what is.
    pub retains: bool,
    /// Payload may be some kilobytes.
    pub big: bool,
    /// It answers no PING.
    pub mute: bool,
    pub guilty: bool,
    /// Its session id, once it has joined.
    pub session: u64,
    /// It may ask for what the naive router does not know.
    pub wild: bool,
    /// The policy of all registrations, if they have one.
    pub invoke: Option<&'static str>,
    /// Of 100 registrations, how many take the procedure away from others; `None` where nothing is taken away.
    pub forces: Option<usize>,
    /// It is asked what others may do.
    pub authority: Option<Authority>,
    /// Who it says it is, if it does.
    pub login: Option<Login>,
    /// What it was asked to prove that with.
    challenge: Option<String>,
    sequence: u64,
    request: u64,
    subscriptions: Vec<u64>,
    registrations: Vec<u64>,
    pub owed: Vec<Owed>,
    calls: Vec<u64>,
    /// Calls of which it has said that more follows, as far as it knows, and their procedures.
    unfinished: Vec<(u64, &'static str)>,
    finished: Vec<u64>,
    /// The last INVOCATION that was a new one.
    invoked: u64,
}

impl Client {
    pub fn new(life: usize, realm: usize, chance: &mut Chance, ids: RequestIds, watcher: bool) -> Client {
        Client {
            life,
            realm,
            stage: Stage::Opening,
            cancelable: chance.percent(60),
            progressive: chance.percent(75),
            reroutes: chance.percent(60),
            ids,
            watcher,
            watches_all: false,
            retains: false,
            big: chance.percent(25),
            mute: chance.percent(10),
            guilty: false,
            session: 0,
            wild: false,
            invoke: None,
            forces: None,
            authority: None,
            login: None,
            challenge: None,
            sequence: 0,
            request: 0,
            subscriptions: Vec::new(),
            registrations: Vec::new(),
            owed: Vec::new(),
            calls: Vec::new(),
            unfinished: Vec::new(),
            finished: Vec::new(),
            invoked: 0,
        }
    }

    /// The next life on the same transport.
    pub fn again(&self, life: usize, realm: usize, chance: &mut Chance) -> Client {
        let Client { big, mute, ids, watcher, watches_all, retains, wild, invoke, forces, .. } = *self;
        let fresh = Client::new(life, realm, chance, ids, watcher);
        Client { big, mute, watches_all, retains, wild, invoke, forces, stage: Stage::Opened, ..fresh }
    }

    /// GOODBYE, then HELLO and the first requests of the next life, none of which waits for an answer: which life says
    /// what. `None` if the client does not leave.
    pub fn rejoin(
        &mut self,
        next: &mut Client,
        realm: &str,
        calm: bool,
        chance: &mut Chance,
    ) -> Option<Vec<(usize, Message)>> {
        const FIRST: [Act; 6] =
            [Act::Register, Act::Register, Act::Register, Act::Subscribe, Act::Publish, Act::Call];
        let goodbye = self.speak(Act::Goodbye, chance)?;
        next.stage = Stage::Joining;
        let mut messages = vec![(self.life, goodbye), (next.life, next.hello(realm))];
        for _ in 0..chance.between(0, 6) {
            let act = *chance.pick(&FIRST)?;
            messages.extend(next.speak(act, chance).map(|message| (next.life, message)));
            // The event may be for a SUBSCRIBE that follows; the naive router does not think so.
            if calm && act == Act::Publish {
                break;
            }
        }
        Some(messages)
    }

    /// It announces that it understands what is taken away from it.
    pub fn revocable(&self) -> bool {
        self.forces.is_some() && self.life % 4 != 3
    }

    /// HELLO.
    pub fn hello(&self, realm: &str) -> Message {
        let progressive = dict! {
            "progressive_call_results": self.progressive,
            "progressive_call_invocations": self.progressive,
        };
        let mut features = dict! {
            "call_canceling": self.cancelable,
            "call_reroute": self.reroutes,
            "progressive_call_results": self.progressive,
            "progressive_call_invocations": self.progressive,
        };
        let mut subscriber = dict! {};
        if self.revocable() {
            features.set("registration_revocation", true);
            subscriber.set("features", dict! { "subscription_revocation": true });
        }
        let roles = dict! {
            "publisher": dict! {},
            "subscriber": subscriber,
            "caller": dict! { "features": progressive },
            "callee": dict! { "features": features },
        };
        let mut details = dict! { "roles": roles, "agent": "simulation" };
        self.introduce(&mut details);
        Message(list![code::HELLO, realm, details])
    }

    /// A message came.
    pub fn hear(&mut self, message: &Message) {
        match message.code() {
            code::WELCOME => {
                self.stage = Stage::Joined;
                self.session = message.number(1);
            }
            code::CHALLENGE => self.challenged(message),
            code::ABORT => self.stage = Stage::Over,
            code::GOODBYE if self.stage == Stage::Leaving => self.stage = Stage::Opened,
            code::GOODBYE => self.stage = Stage::Over,
            code::SUBSCRIBED if !self.subscriptions.contains(&message.number(2)) => {
                self.subscriptions.push(message.number(2));
            }
            code::REGISTERED if !self.registrations.contains(&message.number(2)) => {
                self.registrations.push(message.number(2));
            }
            code::UNSUBSCRIBED => self.subscriptions.retain(|id| Some(*id) != revoked(message)),
            code::UNREGISTERED => self.registrations.retain(|id| Some(*id) != revoked(message)),
            // Another part of an invocation, which may be answered already.
            code::INVOCATION if message.number(1) <= self.invoked => {}
            code::INVOCATION if self.is_consulted(message) => {}
            code::INVOCATION => {
                self.invoked = message.number(1);
                let tag = message.tag().unwrap_or(Tag { life: usize::MAX, sequence: 0 });
                self.owed.push(Owed { request: message.number(1), tag });
            }
            code::RESULT if option(message, "progress", false) => {}
            code::RESULT => self.finish(message.number(1)),
            code::ERROR if message.number(1) == code::CALL => self.finish(message.number(2)),
            _ => {}
        }
    }

    fn finish(&mut self, request: u64) {
        self.calls.retain(|call| *call != request);
        self.unfinished.retain(|(call, _)| *call != request);
        self.finished.push(request);
    }

    /// True if a call waits for its answer, as far as the client knows.
    pub fn waits(&self) -> bool {
        !self.calls.is_empty()
    }

    /// The next thing to say of that kind; `None` if there is nothing of it to say.
    pub fn speak(&mut self, act: Act, chance: &mut Chance) -> Option<Message> {
        if self.watcher {
            return (self.request == 0 && act != Act::Goodbye && act != Act::Misbehave)
                .then(|| self.watch(chance));
        }
        let message = match act {
            Act::Subscribe => {
                let (uri, mut options) = pattern(&TOPICS, &PREFIXES, &WILDCARDS, chance);
                if self.retains && self.request.is_multiple_of(2) {
                    options.set("get_retained", true);
                }
                list![code::SUBSCRIBE, self.next(chance), options, uri]
            }
            Act::Unsubscribe => {
                let at = chance.below(self.subscriptions.len());
                let known = at < self.subscriptions.len() && !chance.percent(10);
                let id = if known { self.subscriptions.remove(at) } else { u64::from(u32::MAX) };
                list![code::UNSUBSCRIBE, self.next(chance), id]
            }
            Act::Publish => self.publish(chance),
            Act::Register => {
                let (uri, mut options) = match self.invoke.is_some() && chance.percent(50) {
                    true => (SHARED, dict! {}),
                    false => pattern(&PROCEDURES, &PROCEDURE_PREFIXES, &PROCEDURE_WILDCARDS, chance),
                };
                self.share(&mut options, chance);
                list![code::REGISTER, self.next(chance), options, uri]
            }
            Act::Unregister => {
                let at = chance.below(self.registrations.len());
                let known = at < self.registrations.len() && !chance.percent(10);
                let id = if known { self.registrations.remove(at) } else { u64::from(u32::MAX) };
                list![code::UNREGISTER, self.next(chance), id]
            }
            Act::Call => self.call(chance),
            Act::Answer => return self.answer(chance),
            Act::Cancel => return self.cancel(chance),
            Act::Goodbye => {
                self.stage = Stage::Leaving;
                list![code::GOODBYE, dict! {}, reason::CLOSE_REALM]
            }
            Act::Misbehave => return None,
        };
        Some(Message(message))
    }

    /// Adds a testament, or flushes those of a scope.
    pub fn bequeath(&mut self, chance: &mut Chance) -> Message {
        let (scope, mut options) = match chance.below(3) {
            0 => (0, dict! { "scope": "detached" }),
            1 => (1, dict! { "scope": "destroyed" }),
            _ => (1, dict! {}),
        };
        let request = self.next(chance);
        if chance.percent(20) {
            let arguments: Vec<Item> = list![];
            return Message(list![
                code::CALL,
                request,
                dict! {},
                "wamp.session.flush_testaments",
                arguments,
                options
            ]);
        }
        self.sequence += 1;
        let topic = *chance.pick(&["t.a", "t.b", "t.a.b", "t.b.b"]).expect("four are given");
        let arguments = list![topic, list!["testament", self.life, scope, self.sequence]];
        if self.retains && self.sequence.is_multiple_of(2) {
            options.set("publish_options", dict! { "retain": true });
        }
        Message(list![code::CALL, request, dict! {}, "wamp.session.add_testament", arguments, options])
    }

    /// Ends the session of another.
    pub fn kill(&mut self, session: u64, chance: &mut Chance) -> Message {
        let request = self.next(chance);
        self.calls.push(request);
        let keywords = dict! { "reason": KILLED, "message": "Go." };
        Message(list![code::CALL, request, dict! {}, "wamp.session.kill", list![session], keywords])
    }

    /// What may be taken away from it, each with the procedure that does it.
    pub fn holdings(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let subscriptions = self.subscriptions.iter().map(|id| (REMOVE_SUBSCRIBER, *id));
        subscriptions.chain(self.registrations.iter().map(|id| (REMOVE_CALLEE, *id)))
    }

    /// Takes something away from a session.
    pub fn revoke(&mut self, (procedure, id): (&str, u64), session: u64, chance: &mut Chance) -> Message {
        let request = self.next(chance);
        self.calls.push(request);
        let keywords = dict! { "reason": REVOKED };
        Message(list![code::CALL, request, dict! {}, procedure, list![id, session], keywords])
    }

    /// Options of a registration that others may join, or that bounds how much is asked of it.
    fn share(&self, options: &mut Item, chance: &mut Chance) {
        let Item::Dict(options) = options else { return };
        if let Some(invoke) = self.invoke {
            options.push(("invoke".to_owned(), Item::from(invoke)));
        } else if chance.percent(60) {
            let invoke = match chance.below(10) {
                0 if self.wild => "random",
                1 if self.wild => "_poweroftwo",
                _ => chance.pick(&FORESEEABLE).expect("five are given"),
            };
            options.push(("invoke".to_owned(), Item::from(invoke)));
        }
        if self.wild && chance.percent(30) {
            options.push(("concurrency".to_owned(), Item::from(chance.between(1, 3))));
        }
        if self.forces.is_some_and(|percent| chance.percent(percent)) {
            options.push(("force_reregister".to_owned(), Item::from(true)));
        }
    }

    fn next(&mut self, chance: &mut Chance) -> u64 {
        self.request += if self.ids == RequestIds::Strict { 1 } else { chance.between(1, 4) as u64 };
        self.request
    }

    fn watch(&mut self, chance: &mut Chance) -> Message {
        let (topic, policy) = *chance
            .pick(&[
                ("wamp.subscription.", "prefix"),
                ("wamp.subscription.", "prefix"),
                ("wamp.registration.", "prefix"),
                ("wamp.subscription.on_delete", "exact"),
            ])
            .expect("four are given");
        let (topic, policy) = if self.watches_all && self.life.is_multiple_of(2) {
            (EVERYTHING, "prefix")
        } else {
            (topic, policy)
        };
        Message(list![code::SUBSCRIBE, self.next(chance), dict! { "match": policy }, topic])
    }

    fn publish(&mut self, chance: &mut Chance) -> Vec<Item> {
        let topic = concrete(&TOPICS, chance);
        let mut options = match chance.below(6) {
            0 | 1 => dict! {},
            2 => dict! { "acknowledge": true },
            3 => dict! { "exclude_me": false, "acknowledge": true },
            4 => dict! { "exclude_me": false },
            _ => dict! { "acknowledge": true, "unheard_of": 7, "_own": "kept" },
        };
        if self.retains && self.sequence.is_multiple_of(3) {
            options.set("retain", true);
        } else if self.wild {
            self.particulars(&mut options);
        }
        let mut message = list![code::PUBLISH, self.next(chance), options, topic];
        self.tag(topic, None, chance, &mut message);
        message
    }

    /// Now and then an event is only for some, or tells of its publisher.
    fn particulars(&self, options: &mut Item) {
        match self.sequence % 8 {
            1 if self.session > 0 => options.set("eligible", list![self.session]),
            2 if self.session > 0 => options.set("exclude", list![self.session]),
            4 => options.set("exclude_authrole", list!["anonymous"]),
            5 => options.set("eligible_authrole", list!["anonymous", "nobody"]),
            7 => options.set("disclose_me", true),
            _ => {}
        }
    }

    fn call(&mut self, chance: &mut Chance) -> Vec<Item> {
        if !self.unfinished.is_empty() && chance.percent(60) {
            return self.further_call(chance);
        }
        let procedure = match self.invoke.is_some() && chance.percent(50) {
            true => SHARED,
            false => concrete(&PROCEDURES, chance),
        };
        let request = self.next(chance);
        self.calls.push(request);
        let mut options = own_options(chance);
        if let Item::Dict(entries) = &mut options {
            if chance.percent(60) {
                entries.push(("receive_progress".to_owned(), Item::from(true)));
            }
            if chance.percent(10) {
                entries.push(("timeout".to_owned(), Item::from(chance.between(1, 500))));
            }
            // Where ids come in any order a part that comes too late is a new call.
            if self.progressive && self.ids != RequestIds::Any && chance.percent(25) {
                entries.push(("progress".to_owned(), Item::from(true)));
                self.unfinished.push((request, procedure));
            }
        }
        let mut message = list![code::CALL, request, options, procedure];
        self.tag(procedure, None, chance, &mut message);
        message
    }

    /// Another part of a call; its options but for `progress` are nobody's.
    fn further_call(&mut self, chance: &mut Chance) -> Vec<Item> {
        let at = chance.below(self.unfinished.len());
        let (request, procedure) = self.unfinished[at];
        let more = chance.percent(60);
        if !more {
            self.unfinished.remove(at);
        }
        let options = dict! { "progress": more, "_own": "ignored", "timeout": 1, "receive_progress": true };
        let mut message = list![code::CALL, request, options, procedure];
        self.tag(procedure, None, chance, &mut message);
        message
    }

    /// Answers any invocation that is owed, or says that it is at work, whether it was asked to or not.
    pub fn answer(&mut self, chance: &mut Chance) -> Option<Message> {
        if self.owed.is_empty() {
            return None;
        }
        let at = chance.below(self.owed.len());
        let owed = self.owed[at];
        if chance.percent(30) {
            let mut options = own_options(chance);
            if let Item::Dict(entries) = &mut options {
                entries.push(("progress".to_owned(), Item::from(true)));
            }
            let mut message = list![code::YIELD, owed.request, options];
            self.tag("part", Some(owed.tag), chance, &mut message);
            return Some(Message(message));
        }
        self.owed.remove(at);
        let mut message = match chance.percent(75) {
            true => list![code::YIELD, owed.request, own_options(chance)],
            false => {
                let uri = if chance.percent(60) { reason::UNAVAILABLE } else { "app.error.failed" };
                list![code::ERROR, code::INVOCATION, owed.request, own_options(chance), uri]
            }
        };
        self.tag("answer", Some(owed.tag), chance, &mut message);
        Some(Message(message))
    }

    /// Cancels an open call once, or now and then one that is over.
    fn cancel(&mut self, chance: &mut Chance) -> Option<Message> {
        let request = if chance.percent(10) {
            *chance.pick(&self.finished)?
        } else if self.calls.is_empty() {
            return None;
        } else {
            self.calls.remove(chance.below(self.calls.len()))
        };
        let options = match chance.below(4) {
            0 => dict! {},
            1 => dict! { "mode": "skip" },
            2 => dict! { "mode": "kill" },
            _ => dict! { "mode": "killnowait" },
        };
        Some(Message(list![code::CANCEL, request, options]))
    }

    /// Appends a payload that says whose it is: life, sequence, a text, for answers the call's own tag; and more.
    fn tag(&mut self, text: &str, call: Option<Tag>, chance: &mut Chance, message: &mut Vec<Item>) {
        self.sequence += 1;
        let mut arguments = list![self.life, self.sequence, text];
        if let Some(call) = call {
            arguments.extend(list![call.life, call.sequence]);
        }
        match chance.below(12) {
            0 => arguments.push(Item::Null),
            1 => arguments.extend([Item::Int(-1), Item::Int(-40_000), Item::from(u64::MAX)]),
            2 => arguments.push(Item::Float(chance.below(1000) as f64 + 0.25)),
            3 => arguments.push(Item::Text("Grüße \"\\\u{7} 🦀".to_owned())),
            4 => arguments.push(Item::Binary(vec![0, 1, 254, 255])),
            5 => arguments.extend(list![list![1, list![dict! { "a": list![] }]], dict! { "b": true }]),
            6..=8 if self.big => arguments.push(Item::Text("x".repeat(chance.between(500, 2_500)))),
            _ => {}
        }
        message.push(Item::List(arguments));
        if chance.percent(20) {
            message.push(dict! { "key": "value", "n": 1 });
        }
    }

    /// The bytes of a misdeed, and the message if it is one.
    pub fn misbehave(
        &mut self,
        how: Misdeed,
        wire: &Wire,
        chance: &mut Chance,
    ) -> (Vec<u8>, Option<Message>) {
        self.guilty = true;
        let next = self.request + 1;
        let message = match how {
            Misdeed::UnknownType => list![999, 1, dict! {}],
            Misdeed::RouterOnlyMessage => list![code::WELCOME, 1, dict! {}],
            Misdeed::HelloAgain => return self.framed(self.hello("realm0"), wire, chance),
            Misdeed::BeforeHello => list![code::SUBSCRIBE, 1, dict! {}, "t.a"],
            Misdeed::OutOfTurn if chance.percent(50) => list![code::GOODBYE, dict! {}, reason::CLOSE_REALM],
            Misdeed::OutOfTurn => list![code::SUBSCRIBE, 1, dict! {}, "t.a"],
            Misdeed::NoRoles => list![code::HELLO, "realm0", dict! {}],
            Misdeed::RequestOutOfOrder => {
                let wrong = next + chance.between(1, 9) as u64;
                let repeats = self.ids == RequestIds::Increasing || chance.percent(50);
                list![code::SUBSCRIBE, if repeats { next - 1 } else { wrong }, dict! {}, "t.a"]
            }
            Misdeed::CallRepeated => {
                list![code::CALL, self.calls.first().copied().unwrap_or(next), dict! {}, "p.a"]
            }
            Misdeed::UnknownInvocation if chance.percent(50) => list![code::YIELD, 1u64 << 40, dict! {}],
            Misdeed::UnknownInvocation => {
                list![code::ERROR, code::INVOCATION, 1u64 << 40, dict! {}, "app.error.failed"]
            }
            Misdeed::ErrorForNothing => list![code::ERROR, code::CALL, 1, dict! {}, "app.error.failed"],
            Misdeed::GarbageMessage => {
                let body = match wire.serializer {
                    Serializer::Json => b"[1,{nope]".to_vec(),
                    Serializer::MessagePack => vec![0x93, 0xc1, 0xc1, 0xc1],
                    Serializer::Cbor => vec![0x83, 0xff, 0x00],
                    Serializer::Ubjson => b"[U\x01]]".to_vec(),
                };
                return (wire.frame(&[body], chance), None);
            }
            Misdeed::GarbageTransport => {
                let garbage: [&[u8]; 4] =
                    [&[0x16, 3, 1, 0], &[0x7f, 0xf9, 0, 0], &[0x7f, 0xf1, 0, 1], b"GET / HTTP/9\r\n\r\n"];
                return (chance.pick(&garbage).map(|bytes| bytes.to_vec()).unwrap_or_default(), None);
            }
            Misdeed::Oversize => return (oversize(wire), None),
        };
        self.framed(Message(message), wire, chance)
    }

    fn framed(&self, message: Message, wire: &Wire, chance: &mut Chance) -> (Vec<u8>, Option<Message>) {
        (wire.frame(&[message.write(wire.serializer)], chance), Some(message))
    }
}

/// Options the router knows nothing of; what begins with an underscore travels on.
fn own_options(chance: &mut Chance) -> Item {
    match chance.below(5) {
        0 => dict! { "_own": list![1, dict! { "a": "b" }], "unheard_of": true },
        1 => dict! { "_own": "kept", "_trace_id": 7 },
        _ => dict! {},
    }
}

/// The head of a frame longer than any limit.
fn oversize(wire: &Wire) -> Vec<u8> {
    match wire.framing {
        Framing::RawSocket => {
            let mut frame = rawsocket_frame(0, b"");
            frame[1..4].fill(0xff);
            frame
        }
        _ => {
            let opcode = if wire.serializer == Serializer::Json { 0x81 } else { 0x82 };
            let mut frame = vec![opcode, 0xff];
            frame.extend((1u64 << 40).to_be_bytes());
            frame.extend([1, 2, 3, 4]);
            frame
        }
    }
}

/// A URI to publish to or call, now and then one that is none.
fn concrete(valid: &[&'static str], chance: &mut Chance) -> &'static str {
    let among = if chance.percent(5) { &INVALID } else { valid };
    chance.pick(among).expect("no list is empty")
}

/// A URI or pattern with the options that say how it is meant.
fn pattern(
    exact: &[&'static str],
    prefixes: &[&'static str],
    wildcards: &[&'static str],
    chance: &mut Chance,
) -> (&'static str, Item) {
    let (among, options) = match chance.below(8) {
        0..=2 => (exact, dict! {}),
        3 => (exact, dict! { "match": "exact" }),
        4 | 5 => (prefixes, dict! { "match": "prefix" }),
        _ => (wildcards, dict! { "match": "wildcard" }),
    };
    let among = if chance.percent(4) { &INVALID } else { among };
    (chance.pick(among).expect("no list is empty"), options)
}
