//! A router of one page: one list for each kind of thing, every message handled to its end before the next.
//!
//! It is the twin the real router is held against. It knows nothing of shards, letters, transports or limits, keeps the
//! simplest data there is, and searches it from one end to the other.

use std::collections::BTreeMap;

use fanwire::router::RequestIds;
use fanwire::wamp::message::code;
use fanwire::wamp::{MatchPolicy, UriCheck, reason, uri};

use crate::allowed::may;
use crate::client::Client;
use crate::item::{Item, Message, Tag};
use crate::log::{option, policy};
use crate::{dict, list};

/// True if a pattern of that policy matches the URI.
pub fn matches(policy: MatchPolicy, pattern: &str, uri: &str) -> bool {
    match policy {
        MatchPolicy::Exact => pattern == uri,
        MatchPolicy::Prefix => uri.starts_with(pattern),
        MatchPolicy::Wildcard => {
            let (pattern, uri): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), uri.split('.').collect());
            pattern.len() == uri.len() && pattern.iter().zip(uri).all(|(p, u)| p.is_empty() || *p == u)
        }
    }
}

/// Which of two matching patterns is chosen for a call: exact, then the longest prefix, then the wildcard with the
/// longest run of literal components before its first empty one, then before its second, and so on.
fn precedence(policy: MatchPolicy, pattern: &str) -> (u8, usize, Vec<usize>) {
    match policy {
        MatchPolicy::Exact => (2, 0, Vec::new()),
        MatchPolicy::Prefix => (1, pattern.len(), Vec::new()),
        MatchPolicy::Wildcard => {
            let parts: Vec<&str> = pattern.split('.').collect();
            (0, 0, parts.split(|part| part.is_empty()).map(<[&str]>::len).collect())
        }
    }
}

struct Session {
    realm: usize,
    cancelable: bool,
    progressive: bool,
    reroutes: bool,
    ids: RequestIds,
    /// It has sent a CALL of which more would follow.
    in_parts: bool,
    request: u64,
    invocation: u64,
}

struct Subscription {
    id: u64,
    realm: usize,
    policy: MatchPolicy,
    topic: String,
    members: Vec<usize>,
}

struct Registration {
    id: u64,
    realm: usize,
    policy: MatchPolicy,
    procedure: String,
    invoke: String,
    /// In the order in which they registered.
    members: Vec<usize>,
    /// Who is still to come in this round of the rotation.
    round: Vec<usize>,
    /// One of those who are or were there has announced `call_reroute`, and there may be others.
    reroutes: bool,
}

impl Registration {
    /// The callee of the next call; `open` are the callees of the invocations that are.
    fn choose(&mut self, open: &[usize]) -> usize {
        let least = |of: &[usize]| {
            let count = |life: usize| open.iter().filter(|callee| **callee == life).count();
            of.iter().copied().min_by_key(|life| count(*life)).expect("somebody has registered")
        };
        let chosen = match self.invoke.as_str() {
            "last" => self.members[self.members.len() - 1],
            "roundrobin" => *self.round.first().unwrap_or(&self.members[0]),
            // Whose turn is sooner, among equals.
            "_leastopen" => {
                let come = self.members.iter().filter(|life| !self.round.contains(life));
                least(&self.round.iter().chain(come).copied().collect::<Vec<_>>())
            }
            _ => self.members[0],
        };
        let place = self.members.iter().position(|life| *life == chosen).expect("it is one of them");
        self.round = self.members[place + 1..].to_vec();
        chosen
    }

    /// The callee of a call that these could not take, the last of them just now. Nobody's turn is taken.
    fn choose_other(&self, asked: &[usize], open: &[usize]) -> Option<usize> {
        let others = |of: &[usize]| -> Vec<usize> {
            of.iter().copied().filter(|life| !asked.contains(life)).collect()
        };
        let last = self.members.iter().position(|life| Some(life) == asked.last());
        let (before, behind) = self.members.split_at(last.map_or(0, |place| place + 1));
        let in_turn = [others(behind), others(before)].concat();
        match self.invoke.as_str() {
            "first" => others(&self.members).first().copied(),
            "last" => others(&self.members).last().copied(),
            "_leastopen" => {
                in_turn.into_iter().min_by_key(|life| open.iter().filter(|callee| *callee == life).count())
            }
            _ => in_turn.first().copied(),
        }
    }
}

struct Call {
    caller: usize,
    request: u64,
    callee: usize,
    registration: u64,
    /// Its callee has not left the registration since.
    counted: bool,
    invocation: u64,
    /// The caller takes progressive results.
    receives: bool,
    /// It has been asked to stop.
    killed: bool,
    /// Of every INVOCATION to its callee.
    details: Vec<(String, Item)>,
    /// The first CALL.
    message: Message,
    /// Who could not take it.
    asked: Vec<usize>,
    /// Nobody else may take it: a part has come or gone after the first, or nobody could have declined it.
    settled: bool,
    /// A part of its result has gone to the caller.
    progressed: bool,
}

/// The router.
pub struct Naive {
    checks: Vec<UriCheck>,
    sessions: BTreeMap<usize, Session>,
    subscriptions: Vec<Subscription>,
    registrations: Vec<Registration>,
    calls: Vec<Call>,
    /// Those that their callers have given up, of which their callees were not told.
    abandoned: Vec<Call>,
    ids: u64,
    /// What it has sent since it was last asked: to whom, and what.
    pub sent: Vec<(usize, Message)>,
}

impl Naive {
    /// A router with a realm for each rule.
    pub fn new(checks: Vec<UriCheck>) -> Naive {
        Naive {
            checks,
            sessions: BTreeMap::new(),
            subscriptions: Vec::new(),
            registrations: Vec::new(),
            calls: Vec::new(),
            abandoned: Vec::new(),
            ids: 0,
            sent: Vec::new(),
        }
    }

    fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn send(&mut self, life: usize, items: Vec<Item>) {
        self.sent.push((life, Message(items)));
    }

    fn error(&mut self, life: usize, message: &Message, uri: &str) {
        self.send(life, list![code::ERROR, message.code(), message.number(1), dict! {}, uri]);
    }

    /// A life joins a realm; `None` is a realm that does not exist.
    pub fn join(&mut self, client: &Client, life: usize, realm: Option<usize>) {
        let Client { cancelable, progressive, reroutes, ids, .. } = *client;
        let Some(realm) = realm else {
            return self.send(life, list![code::ABORT, dict! {}, reason::NO_SUCH_REALM]);
        };
        let (in_parts, request, invocation) = (false, 0, 0);
        let session =
            Session { realm, cancelable, progressive, reroutes, ids, in_parts, request, invocation };
        self.sessions.insert(life, session);
        let id = self.id();
        self.send(life, list![code::WELCOME, id, dict! {}]);
    }

    /// A life broke the protocol.
    pub fn violate(&mut self, life: usize) {
        self.send(life, list![code::ABORT, dict! {}, reason::PROTOCOL_VIOLATION]);
        self.leave(life);
    }

    /// A life is over.
    pub fn leave(&mut self, life: usize) {
        if self.sessions.remove(&life).is_none() {
            return;
        }
        self.subscriptions.iter_mut().for_each(|subscription| subscription.members.retain(|m| *m != life));
        self.subscriptions.retain(|subscription| !subscription.members.is_empty());
        for at in (0..self.registrations.len()).rev() {
            self.leave_registration(at, life);
        }
        self.abandoned.retain(|call| call.callee != life);
        for call in std::mem::take(&mut self.calls) {
            if call.caller == life {
                self.give_up(call, "killnowait");
            } else if call.callee == life {
                self.canceled(&call);
            } else {
                self.calls.push(call);
            }
        }
    }

    /// The callee is told, or goes on and stays as busy as it is.
    fn give_up(&mut self, call: Call, mode: &str) {
        match self.sessions.get(&call.callee) {
            Some(callee) if callee.cancelable && mode != "skip" => self.interrupt(&call, "killnowait"),
            Some(_) => self.abandoned.push(call),
            None => {}
        }
    }

    fn canceled(&mut self, call: &Call) {
        self.send(call.caller, list![code::ERROR, code::CALL, call.request, dict! {}, reason::CANCELED]);
    }

    fn interrupt(&mut self, call: &Call, mode: &str) {
        if self.sessions.get(&call.callee).is_some_and(|callee| callee.cancelable) {
            self.send(call.callee, list![code::INTERRUPT, call.invocation, dict! { "mode": mode }]);
        }
    }

    /// A message came from a life that has joined.
    pub fn handle(&mut self, life: usize, message: &Message) {
        let Some(session) = self.sessions.get_mut(&life) else { return };
        let counted = matches!(
            message.code(),
            code::SUBSCRIBE
                | code::UNSUBSCRIBE
                | code::PUBLISH
                | code::REGISTER
                | code::UNREGISTER
                | code::CALL
        );
        if message.code() == code::CALL && session.in_parts && message.number(1) <= session.request {
            return self.further_call(life, message);
        }
        if counted {
            let before = std::mem::replace(&mut session.request, message.number(1));
            let follows = match session.ids {
                RequestIds::Strict => session.request == before + 1,
                RequestIds::Increasing => session.request > before,
                RequestIds::Any => true,
            };
            if !follows {
                return self.violate(life);
            }
        }
        let realm = session.realm;
        let open = |call: &Call| call.caller == life && call.request == message.number(1);
        if message.code() == code::CALL && self.calls.iter().any(open) {
            return self.violate(life);
        }
        match message.code() {
            code::GOODBYE => {
                self.send(life, list![code::GOODBYE, dict! {}, reason::GOODBYE_AND_OUT]);
                self.leave(life);
            }
            code::SUBSCRIBE => self.subscribe(life, realm, message),
            code::UNSUBSCRIBE => self.unsubscribe(life, message),
            code::PUBLISH => self.publish(life, realm, message),
            code::REGISTER => self.register(life, realm, message),
            code::UNREGISTER => self.unregister(life, message),
            code::CALL => self.call(life, realm, message),
            code::CANCEL => self.cancel(life, message),
            code::YIELD => self.answer(life, message.number(1), message),
            code::ERROR if message.number(1) == code::INVOCATION => {
                self.answer(life, message.number(2), message);
            }
            _ => self.violate(life),
        }
    }

    fn subscribe(&mut self, life: usize, realm: usize, message: &Message) {
        let (policy, topic) = (policy(message), message.text(3));
        if !self.checks[realm].pattern(topic, policy) {
            return self.error(life, message, reason::INVALID_URI);
        }
        if !may(realm, code::SUBSCRIBE, topic, policy) {
            return self.error(life, message, reason::NOT_AUTHORIZED);
        }
        let fresh = self.id();
        let same = |s: &&mut Subscription| s.realm == realm && s.policy == policy && s.topic == topic;
        let id = match self.subscriptions.iter_mut().find(same) {
            Some(subscription) => {
                if !subscription.members.contains(&life) {
                    subscription.members.push(life);
                }
                subscription.id
            }
            None => {
                let (topic, members) = (topic.to_owned(), vec![life]);
                self.subscriptions.push(Subscription { id: fresh, realm, policy, topic, members });
                fresh
            }
        };
        self.send(life, list![code::SUBSCRIBED, message.number(1), id]);
    }

    fn unsubscribe(&mut self, life: usize, message: &Message) {
        let id = message.number(2);
        let Some(at) = self.subscriptions.iter().position(|s| s.id == id && s.members.contains(&life)) else {
            return self.error(life, message, reason::NO_SUCH_SUBSCRIPTION);
        };
        self.subscriptions[at].members.retain(|member| *member != life);
        if self.subscriptions[at].members.is_empty() {
            self.subscriptions.remove(at);
        }
        self.send(life, list![code::UNSUBSCRIBED, message.number(1)]);
    }

    fn publish(&mut self, life: usize, realm: usize, message: &Message) {
        let topic = message.text(3);
        let acknowledge = option(message, "acknowledge", false);
        if !self.checks[realm].uri(topic) || uri::reserved(topic) {
            if acknowledge {
                self.error(life, message, reason::INVALID_URI);
            }
            return;
        }
        if !may(realm, code::PUBLISH, topic, MatchPolicy::Exact) {
            if acknowledge {
                self.error(life, message, reason::NOT_AUTHORIZED);
            }
            return;
        }
        let publication = self.id();
        let exclude_me = option(message, "exclude_me", true);
        let mut events = Vec::new();
        for subscription in &self.subscriptions {
            if subscription.realm != realm || !matches(subscription.policy, &subscription.topic, topic) {
                continue;
            }
            let details = match subscription.policy {
                MatchPolicy::Exact => dict! {},
                _ => dict! { "topic": topic },
            };
            for member in subscription.members.iter().filter(|member| !(exclude_me && **member == life)) {
                let mut event = list![code::EVENT, subscription.id, publication];
                event.push(details.clone());
                event.extend_from_slice(message.payload());
                events.push((*member, Message(event)));
            }
        }
        self.sent.extend(events);
        if acknowledge {
            self.send(life, list![code::PUBLISHED, message.number(1), publication]);
        }
    }

    fn register(&mut self, life: usize, realm: usize, message: &Message) {
        let (policy, procedure) = (policy(message), message.text(3));
        if !self.checks[realm].pattern(procedure, policy) || uri::reserved(procedure) {
            return self.error(life, message, reason::INVALID_URI);
        }
        if !may(realm, code::REGISTER, procedure, policy) {
            return self.error(life, message, reason::NOT_AUTHORIZED);
        }
        let same = |r: &Registration| r.realm == realm && r.policy == policy && r.procedure == procedure;
        let invoke = message.entry(2, "invoke").and_then(Item::text).unwrap_or("single").to_owned();
        let fresh = self.id();
        let reroutes = self.sessions[&life].reroutes && invoke != "single";
        let id = match self.registrations.iter().position(same) {
            None => {
                let (procedure, members, round) = (procedure.to_owned(), vec![life], vec![life]);
                let registration =
                    Registration { id: fresh, realm, policy, procedure, invoke, members, round, reroutes };
                self.registrations.push(registration);
                fresh
            }
            Some(at) if invoke == "single" || self.registrations[at].invoke != invoke => {
                return self.error(life, message, reason::PROCEDURE_ALREADY_EXISTS);
            }
            Some(at) => {
                let known = &mut self.registrations[at];
                if !known.members.contains(&life) {
                    known.members.push(life);
                    known.round.push(life);
                    known.reroutes |= reroutes;
                }
                known.id
            }
        };
        self.send(life, list![code::REGISTERED, message.number(1), id]);
    }

    /// Invocations that are open count no longer for who comes again.
    fn leave_registration(&mut self, at: usize, life: usize) {
        let registration = &mut self.registrations[at];
        if !registration.members.contains(&life) {
            return;
        }
        registration.members.retain(|member| *member != life);
        registration.round.retain(|member| *member != life);
        let id = registration.id;
        if registration.members.is_empty() {
            self.registrations.remove(at);
        }
        let open = self.calls.iter_mut().chain(&mut self.abandoned);
        for call in open.filter(|call| call.callee == life && call.registration == id) {
            call.counted = false;
        }
    }

    fn unregister(&mut self, life: usize, message: &Message) {
        let id = message.number(2);
        let Some(at) = self.registrations.iter().position(|r| r.id == id && r.members.contains(&life)) else {
            return self.error(life, message, reason::NO_SUCH_REGISTRATION);
        };
        self.leave_registration(at, life);
        self.send(life, list![code::UNREGISTERED, message.number(1)]);
    }

    fn call(&mut self, life: usize, realm: usize, message: &Message) {
        let procedure = message.text(3);
        let in_parts = option(message, "progress", false);
        self.sessions.get_mut(&life).expect("it has joined").in_parts |= in_parts;
        if in_parts && uri::reserved(procedure) {
            return self.error(life, message, reason::FEATURE_NOT_SUPPORTED);
        }
        if !self.checks[realm].uri(procedure) {
            return self.error(life, message, reason::INVALID_URI);
        }
        if !may(realm, code::CALL, procedure, MatchPolicy::Exact) {
            return self.error(life, message, reason::NOT_AUTHORIZED);
        }
        let Some(at) = self.answering(realm, procedure) else {
            return self.error(life, message, reason::NO_SUCH_PROCEDURE);
        };
        let registration = self.registrations[at].id;
        let open = self.open(registration);
        let chosen = &mut self.registrations[at];
        let call = Call {
            caller: life,
            request: message.number(1),
            callee: chosen.choose(&open),
            registration,
            counted: true,
            invocation: 0,
            receives: option(message, "receive_progress", false) && self.sessions[&life].progressive,
            killed: false,
            details: Vec::new(),
            message: message.clone(),
            asked: Vec::new(),
            settled: !chosen.reroutes,
            progressed: false,
        };
        self.begin(call);
    }

    /// Which registration answers calls of a procedure.
    fn answering(&self, realm: usize, procedure: &str) -> Option<usize> {
        let answers = |r: &Registration| r.realm == realm && matches(r.policy, &r.procedure, procedure);
        (0..self.registrations.len())
            .filter(|at| answers(&self.registrations[*at]) && !uri::reserved(procedure))
            .max_by_key(|at| precedence(self.registrations[*at].policy, &self.registrations[*at].procedure))
    }

    /// The callees of a registration's invocations that are open.
    fn open(&self, registration: u64) -> Vec<usize> {
        let open = self.calls.iter().chain(&self.abandoned);
        let counted = open.filter(|call| call.counted && call.registration == registration);
        counted.map(|call| call.callee).collect()
    }

    /// A call goes to the callee that was chosen for it.
    fn begin(&mut self, mut call: Call) {
        let callee = self.sessions.get_mut(&call.callee).expect("registrations leave with their callee");
        if option(&call.message, "progress", false) && !(callee.cancelable && callee.progressive) {
            return self.error(call.caller, &call.message, reason::FEATURE_NOT_SUPPORTED);
        }
        callee.invocation += 1;
        call.invocation = callee.invocation;
        call.details.clear();
        let known = self.registrations.iter().find(|known| known.id == call.registration);
        if known.is_some_and(|known| known.policy != MatchPolicy::Exact) {
            call.details.push(("procedure".to_owned(), Item::from(call.message.text(3))));
        }
        if call.receives && callee.cancelable && callee.progressive {
            call.details.push(("receive_progress".to_owned(), Item::from(true)));
        }
        self.invoke(&call, &call.message);
        self.calls.push(call);
    }

    /// A callee cannot take a call: another one gets it, or the caller is told.
    fn reroute(&mut self, mut call: Call) {
        call.asked.push(call.callee);
        let realm = self.sessions[&call.caller].realm;
        let known = self.answering(realm, call.message.text(3)).map(|at| &self.registrations[at]);
        let known = known.filter(|_| !call.settled);
        let chosen =
            known.and_then(|known| Some((known.id, known.choose_other(&call.asked, &self.open(known.id))?)));
        match chosen {
            Some((registration, callee)) => {
                (call.registration, call.callee, call.counted) = (registration, callee, true);
                self.begin(call);
            }
            None => self.error(call.caller, &call.message, reason::NO_AVAILABLE_CALLEE),
        }
    }

    fn invoke(&mut self, call: &Call, message: &Message) {
        let mut details = call.details.clone();
        if option(message, "progress", false) {
            details.push(("progress".to_owned(), Item::from(true)));
        }
        let mut invocation = list![code::INVOCATION, call.invocation, call.registration];
        invocation.push(Item::Dict(details));
        invocation.extend_from_slice(message.payload());
        self.send(call.callee, invocation);
    }

    fn further_call(&mut self, life: usize, message: &Message) {
        let request = message.number(1);
        let Some(at) = self.calls.iter().position(|c| c.caller == life && c.request == request) else {
            return;
        };
        let mut call = self.calls.remove(at);
        call.settled = true;
        if !call.killed {
            self.invoke(&call, message);
        }
        self.calls.insert(at, call);
    }

    fn cancel(&mut self, life: usize, message: &Message) {
        let request = message.number(1);
        let Some(at) = self.calls.iter().position(|c| c.caller == life && c.request == request) else {
            return;
        };
        let mode = message.entry(2, "mode").and_then(Item::text).unwrap_or("killnowait").to_owned();
        let cancelable = self.sessions.get(&self.calls[at].callee).is_some_and(|callee| callee.cancelable);
        if mode == "kill" && cancelable {
            let mut call = self.calls.remove(at);
            call.killed = true;
            self.interrupt(&call, "kill");
            return self.calls.insert(at, call);
        }
        let call = self.calls.remove(at);
        self.canceled(&call);
        self.give_up(call, &mode);
    }

    fn answer(&mut self, life: usize, invocation: u64, message: &Message) {
        if invocation == 0 || self.sessions[&life].invocation < invocation {
            return self.violate(life);
        }
        let part = message.code() == code::YIELD && option(message, "progress", false);
        let this = |call: &Call| call.callee == life && call.invocation == invocation;
        let Some(at) = self.calls.iter().position(this) else {
            return self.abandoned.retain(|call| part || !this(call));
        };
        if message.code() == code::YIELD && option(message, "progress", false) {
            let (callee, call) = (&self.sessions[&life], &self.calls[at]);
            if callee.cancelable && callee.progressive && call.receives {
                let (caller, request) = (call.caller, call.request);
                self.calls[at].progressed = true;
                let mut result = list![code::RESULT, request, dict! { "progress": true }];
                result.extend_from_slice(message.payload());
                self.send(caller, result);
            }
            return;
        }
        let call = self.calls.remove(at);
        let declines = message.code() == code::ERROR && message.text(4) == reason::UNAVAILABLE;
        if declines && self.sessions[&life].reroutes && !call.progressed && !call.killed {
            return self.reroute(call);
        }
        let mut answer = match message.code() {
            code::YIELD => list![code::RESULT, call.request, dict! {}],
            _ => list![code::ERROR, code::CALL, call.request, dict! {}, message.text(4)],
        };
        answer.extend_from_slice(message.payload());
        self.send(call.caller, answer);
    }

    /// The id here of a subscription or registration, found by its name: 0, which is nobody's, if there is none.
    pub fn id_of(&self, name: &Name) -> u64 {
        let Name { realm, policy, uri, kind } = name;
        let subscription = |s: &&Subscription| (s.realm, s.policy, &s.topic) == (*realm, *policy, uri);
        let registration = |r: &&Registration| (r.realm, r.policy, &r.procedure) == (*realm, *policy, uri);
        match kind {
            Kind::Subscription => self.subscriptions.iter().find(subscription).map_or(0, |s| s.id),
            Kind::Registration => self.registrations.iter().find(registration).map_or(0, |r| r.id),
        }
    }
}

/// What an id stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    Subscription,
    Registration,
}

/// What a subscription or registration is, whatever its id.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Name {
    pub kind: Kind,
    pub realm: usize,
    pub policy: MatchPolicy,
    pub uri: String,
}

/// Turns messages into what two routers must agree on: ids drawn by chance become names, texts for people go.
#[derive(Default)]
pub struct Essence {
    asked: BTreeMap<(usize, u64), Name>,
    names: BTreeMap<(Kind, usize, u64), Name>,
}

impl Essence {
    /// A client asked for a subscription or registration.
    pub fn said(&mut self, life: usize, realm: usize, message: &Message) {
        let kind = match message.code() {
            code::SUBSCRIBE => Kind::Subscription,
            code::REGISTER => Kind::Registration,
            _ => return,
        };
        let name = Name { kind, realm, policy: policy(message), uri: message.text(3).to_owned() };
        self.asked.insert((life, message.number(1)), name);
    }

    /// What an id of a realm stands for.
    pub fn name(&self, kind: Kind, realm: usize, id: u64) -> Option<&Name> {
        self.names.get(&(kind, realm, id))
    }

    /// What a message to a life says; `None` for events of the router's own.
    pub fn heard(&mut self, life: usize, realm: usize, message: &Message) -> Option<String> {
        let name = |this: &Self, kind, id| format!("{:?}", this.name(kind, realm, id));
        let request = message.number(1);
        let text = match message.code() {
            code::WELCOME => "WELCOME".to_owned(),
            code::ABORT | code::GOODBYE => format!("{} {}", message.code(), message.text(2)),
            code::SUBSCRIBED | code::REGISTERED => {
                let name = self.asked.get(&(life, request)).cloned();
                if let Some(name) = &name {
                    self.names.insert((name.kind, realm, message.number(2)), name.clone());
                }
                format!("{} {request} {name:?}", message.code())
            }
            code::PUBLISHED => format!("PUBLISHED {request}"),
            code::EVENT => {
                let tag: Tag = message.tag()?;
                let topic = message.entry(3, "topic");
                let payload = message.payload();
                format!(
                    "EVENT {} {tag:?} {topic:?} {payload:?}",
                    name(self, Kind::Subscription, message.number(1))
                )
            }
            code::INVOCATION => {
                let (procedure, payload) = (message.entry(3, "procedure"), message.payload());
                let name = name(self, Kind::Registration, message.number(2));
                let (receives, more) = (message.entry(3, "receive_progress"), message.entry(3, "progress"));
                format!("INVOCATION {request} {name} {procedure:?} {receives:?} {more:?} {payload:?}")
            }
            code::INTERRUPT => format!("INTERRUPT {request} {:?}", message.entry(2, "mode")),
            code::RESULT => {
                format!("RESULT {request} {:?} {:?}", message.entry(2, "progress"), message.payload())
            }
            code::ERROR => {
                let (about, request, uri) = (message.number(1), message.number(2), message.text(4));
                let payload = if message.tag().is_some() { message.payload() } else { &[] };
                format!("ERROR {about} {request} {uri} {payload:?}")
            }
            _ => format!("{message}"),
        };
        Some(text)
    }
}

#[test]
fn calls_prefer_exact_then_long_prefixes_then_literal_wildcards() {
    let order = [
        (MatchPolicy::Exact, "a.b.c.d"),
        (MatchPolicy::Prefix, "a.b."),
        (MatchPolicy::Prefix, "a"),
        (MatchPolicy::Wildcard, "a.b.."),
        (MatchPolicy::Wildcard, "a..c.d"),
        (MatchPolicy::Wildcard, "a..c."),
        (MatchPolicy::Wildcard, ".b.c.d"),
    ];
    for pair in order.windows(2) {
        assert!(matches(pair[0].0, pair[0].1, "a.b.c.d") && matches(pair[1].0, pair[1].1, "a.b.c.d"));
        assert!(precedence(pair[0].0, pair[0].1) > precedence(pair[1].0, pair[1].1), "{pair:?}");
    }
}
