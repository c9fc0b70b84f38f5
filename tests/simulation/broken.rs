//! Each checker is shown a log in which its rule is broken, and must see it.
//!
//! All logs are made from one in which nothing is wrong, by dropping, repeating, moving or changing entries.

mod asked;

use fanwire::error::{CloseReason, Violation};
use fanwire::transport::Framing;
use fanwire::wamp::message::code;
use fanwire::wamp::{Serializer, reason};

use crate::allowed::RULED;
use crate::checkers::{CHECKERS, EVERYTHING, KILLED, REMOVE_CALLEE, REMOVE_SUBSCRIBER, REVOKED, check};
use crate::item::{Item, Message};
use crate::log::{Entry, Life, Log, Misdeed, NOBODY, What};
use crate::{dict, list};

const PUBLISHER: usize = 0;
const SUBSCRIBER: usize = 1;
const WATCHER: usize = 2;
const STRANGER: usize = 3;
const HEIR: usize = 4;
const TESTATOR: usize = 5;
const GUEST: usize = 6;

/// A log being written.
struct Script(Log);

impl Script {
    fn says(&mut self, life: usize, items: Vec<Item>) {
        let said = self.0.push(life, What::Said(Message(items)));
        self.0.push(life, What::Delivered(said));
        self.0.push(life, What::Handled(said));
    }

    fn hears(&mut self, life: usize, items: Vec<Item>) {
        self.0.push(life, What::Heard(Message(items)));
    }

    fn joins(&mut self, life: usize) {
        self.says(life, list![code::HELLO, "realm", dict! {}]);
        self.hears(life, list![code::WELCOME, 1000 + life, dict! {}]);
    }

    fn quiet(&mut self, answered: bool) {
        self.0.push(NOBODY, What::Quiet { answered });
    }

    /// A message on how a subscription has fared, as the watcher reads it.
    fn fares(&mut self, verb: &str, argument: impl Into<Item>) {
        let topic = format!("wamp.subscription.{verb}");
        let (publication, argument): (usize, Item) = (900 + self.0.entries.len(), argument.into());
        self.hears(
            WATCHER,
            list![code::EVENT, 70, publication, dict! { "topic": topic }, list![4711, argument]],
        );
    }
}

/// The payload of the `sequence`-th tagged message of a life.
fn tagged(life: usize, sequence: usize, text: &str) -> Vec<Item> {
    list![life, sequence, text]
}

/// A log in which all is well: publications, a call that is answered, one that is canceled, and one that is refused.
fn well() -> Log {
    let mut script = Script(Log::default());
    for life in 0..=GUEST {
        script.0.lives.push(Life {
            connection: life,
            realm: usize::from(life == STRANGER),
            shard: life,
            serializer: Serializer::Json,
            framing: Framing::WebSocket,
            message_bytes_max: usize::MAX,
            cancelable: true,
            progressive: true,
            reroutes: true,
            revocable: true,
            authority: false,
            login: None,
        });
        if life != GUEST {
            script.joins(life);
        }
    }
    let s = &mut script;
    s.says(WATCHER, list![code::SUBSCRIBE, 1, dict! { "match": "prefix" }, "wamp.subscription."]);
    s.hears(WATCHER, list![code::SUBSCRIBED, 1, 70]);
    s.says(SUBSCRIBER, list![code::SUBSCRIBE, 1, dict! {}, "t.a"]);
    s.hears(SUBSCRIBER, list![code::SUBSCRIBED, 1, 71]);
    s.fares("on_create", dict! { "id": 71 });
    s.fares("on_subscribe", 71);
    publications(s);
    calls(s);
    s.says(SUBSCRIBER, list![code::UNSUBSCRIBE, 4, 71]);
    s.hears(SUBSCRIBER, list![code::UNSUBSCRIBED, 4]);
    s.fares("on_unsubscribe", 71);
    s.fares("on_delete", 71);
    s.says(SUBSCRIBER, list![code::UNREGISTER, 5, 81]);
    s.hears(SUBSCRIBER, list![code::UNREGISTERED, 5]);
    testaments(s);
    guest(s);
    revocations(s);
    s.quiet(true);
    s.says(PUBLISHER, list![code::GOODBYE, dict! {}, reason::CLOSE_REALM]);
    s.hears(PUBLISHER, list![code::GOODBYE, dict! {}, reason::GOODBYE_AND_OUT]);
    s.0.push(STRANGER, What::Misdeed(Misdeed::ErrorForNothing));
    s.hears(STRANGER, list![code::ABORT, dict! {}, reason::PROTOCOL_VIOLATION]);
    s.quiet(true);
    script.0
}

fn publications(s: &mut Script) {
    for sequence in 1..=2usize {
        let payload = tagged(PUBLISHER, sequence, "t.a");
        let publication = 500 + sequence;
        s.says(
            PUBLISHER,
            list![code::PUBLISH, sequence, dict! { "acknowledge": true }, "t.a", payload.clone()],
        );
        s.hears(PUBLISHER, list![code::PUBLISHED, sequence, publication]);
        s.hears(SUBSCRIBER, list![code::EVENT, 71, publication, dict! {}, payload]);
    }
    s.quiet(false);
}

fn calls(s: &mut Script) {
    s.says(SUBSCRIBER, list![code::REGISTER, 2, dict! {}, "p.a"]);
    s.hears(SUBSCRIBER, list![code::REGISTERED, 2, 81]);
    s.says(SUBSCRIBER, list![code::UNSUBSCRIBE, 3, 999]);
    s.hears(SUBSCRIBER, list![code::ERROR, code::UNSUBSCRIBE, 3, dict! {}, reason::NO_SUCH_SUBSCRIPTION]);
    for (invocation, sequence) in [(1usize, 3usize), (2, 4)] {
        let payload = tagged(PUBLISHER, sequence, "p.a");
        let options = dict! { "receive_progress": true, "progress": true };
        s.says(PUBLISHER, list![code::CALL, sequence, options, "p.a", payload.clone()]);
        s.hears(SUBSCRIBER, list![code::INVOCATION, invocation, 81, dict! { "progress": true }, payload]);
    }
    let last = tagged(PUBLISHER, 5, "p.a");
    s.says(PUBLISHER, list![code::CALL, 3, dict! {}, "p.a", last.clone()]);
    s.hears(SUBSCRIBER, list![code::INVOCATION, 1, 81, dict! {}, last]);
    for (sequence, options) in
        [(1usize, dict! { "progress": true }), (2, dict! { "progress": true }), (3, dict! {})]
    {
        let answer = list![SUBSCRIBER, sequence, "answer", PUBLISHER, 3];
        s.says(SUBSCRIBER, list![code::YIELD, 1, options.clone(), answer.clone()]);
        s.hears(PUBLISHER, list![code::RESULT, 3, options, answer]);
    }
    s.quiet(false);
    s.says(PUBLISHER, list![code::CANCEL, 4, dict! {}]);
    s.hears(PUBLISHER, list![code::ERROR, code::CALL, 4, dict! {}, reason::CANCELED]);
    s.hears(
        SUBSCRIBER,
        list![code::INTERRUPT, 2, dict! { "mode": "killnowait", "reason": reason::CANCELED }],
    );
    s.quiet(true);
}

/// One session adds testaments, and another, which is subscribed, kills it.
fn testaments(s: &mut Script) {
    s.says(HEIR, list![code::SUBSCRIBE, 1, dict! { "match": "prefix" }, "t."]);
    s.hears(HEIR, list![code::SUBSCRIBED, 1, 75]);
    for (request, scope) in [(1usize, "destroyed"), (2, "detached"), (3, "detached")] {
        let what = list!["testament", TESTATOR, usize::from(scope == "destroyed"), request];
        let arguments = list!["t.b", what];
        let scope = dict! { "scope": scope };
        s.says(
            TESTATOR,
            list![code::CALL, request, dict! {}, "wamp.session.add_testament", arguments, scope],
        );
        s.hears(TESTATOR, list![code::RESULT, request, dict! {}]);
    }
    let keywords = dict! { "reason": KILLED };
    let victim = list![1000 + TESTATOR];
    s.says(HEIR, list![code::CALL, 2, dict! {}, "wamp.session.kill", victim, keywords]);
    s.hears(TESTATOR, list![code::GOODBYE, dict! {}, KILLED]);
    for (number, scope) in [(2usize, 0usize), (3, 0), (1, 1)] {
        let what = list!["testament", TESTATOR, scope, number];
        s.hears(HEIR, list![code::EVENT, 75, 700 + number, dict! { "topic": "t.b" }, what]);
    }
    s.hears(HEIR, list![code::RESULT, 2, dict! {}]);
    s.quiet(true);
}

/// A session that another watches from its beginning to its end.
fn guest(s: &mut Script) {
    s.says(HEIR, list![code::SUBSCRIBE, 3, dict! { "match": "prefix" }, EVERYTHING]);
    s.hears(HEIR, list![code::SUBSCRIBED, 3, 76]);
    s.joins(GUEST);
    let guest = 1000 + GUEST;
    for (publication, event, arguments) in [
        (800usize, "wamp.session.on_join", list![dict! { "session": guest }]),
        (801, "wamp.subscription.on_subscribe", list![guest, 71]),
        (802, "wamp.session.on_leave", list![guest, "somebody", "anonymous"]),
    ] {
        if publication == 802 {
            s.says(GUEST, list![code::GOODBYE, dict! {}, reason::CLOSE_REALM]);
            s.hears(GUEST, list![code::GOODBYE, dict! {}, reason::GOODBYE_AND_OUT]);
        }
        s.hears(HEIR, list![code::EVENT, 76, publication, dict! { "topic": event }, arguments]);
    }
    s.quiet(true);
}

/// A session is removed from a subscription and a registration, and another loses a registration by force.
fn revocations(s: &mut Script) {
    s.says(HEIR, list![code::SUBSCRIBE, 30, dict! {}, "v.a"]);
    s.hears(HEIR, list![code::SUBSCRIBED, 30, 77]);
    s.says(HEIR, list![code::REGISTER, 31, dict! {}, "q.a"]);
    s.hears(HEIR, list![code::REGISTERED, 31, 85]);
    s.says(WATCHER, list![code::REGISTER, 30, dict! {}, "q.b"]);
    s.hears(WATCHER, list![code::REGISTERED, 30, 86]);
    let because = dict! { "reason": REVOKED };
    for (request, procedure, id) in [(20usize, REMOVE_SUBSCRIBER, 77usize), (21, REMOVE_CALLEE, 85)] {
        let arguments = list![id, 1000 + HEIR];
        s.says(PUBLISHER, list![code::CALL, request, dict! {}, procedure, arguments, because.clone()]);
    }
    s.hears(HEIR, list![code::UNSUBSCRIBED, 0, dict! { "subscription": 77, "reason": REVOKED }]);
    s.hears(HEIR, list![code::UNREGISTERED, 0, dict! { "registration": 85, "reason": REVOKED }]);
    s.hears(PUBLISHER, list![code::RESULT, 20, dict! {}]);
    s.hears(PUBLISHER, list![code::RESULT, 21, dict! {}]);
    s.says(PUBLISHER, list![code::REGISTER, 22, dict! { "force_reregister": true }, "q.b"]);
    s.hears(PUBLISHER, list![code::REGISTERED, 22, 87]);
    s.hears(WATCHER, list![code::UNREGISTERED, 0, dict! { "registration": 86, "reason": "by force" }]);
}

/// The message in which a life has said something to a procedure.
fn called<'a>(log: &'a mut Log, procedure: &str) -> &'a mut Message {
    let mut said = log.said();
    let at = said.find(|(_, _, m)| m.code() == code::CALL && m.text(3) == procedure).expect("it has").0;
    drop(said);
    message(log, at)
}

/// Where a life heard the `nth` message of that kind.
fn heard(log: &Log, life: usize, kind: u64, nth: usize) -> usize {
    log.heard()
        .filter(|(_, who, message)| *who == life && message.code() == kind)
        .nth(nth)
        .expect("the log has it")
        .0
}

/// Where a life has published for the first time.
fn published(log: &Log, life: usize) -> usize {
    let mut said = log.said();
    said.find(|(_, who, message)| *who == life && message.code() == code::PUBLISH).expect("it has").0
}

/// The message in an entry.
fn message(log: &mut Log, at: usize) -> &mut Message {
    match &mut log.entries[at].what {
        What::Said(message) | What::Heard(message) => message,
        what => panic!("{what:?} is no message"),
    }
}

fn drop_heard(log: &mut Log, life: usize, kind: u64, nth: usize) {
    let at = heard(log, life, kind, nth);
    // Positions of other entries must stay what they are.
    log.entries[at] = log.entries[0].clone();
}

/// Who has asked with that request is told that there is nothing, and nobody that something was taken away.
fn refuse_removal(log: &mut Log, request: u64, why: &str, revoked: u64) {
    drop_heard(log, HEIR, revoked, 0);
    let mut heard = log.heard();
    let result = heard.find(|(_, _, m)| (m.code(), m.number(1)) == (code::RESULT, request));
    let at = result.expect("the log has it").0;
    drop(heard);
    message(log, at).0 = list![code::ERROR, code::CALL, request, dict! {}, why];
}

fn swap_heard(log: &mut Log, life: usize, kind: u64, other: u64, nth: usize) {
    let (a, b) = (heard(log, life, kind, 0), heard(log, life, other, nth));
    log.entries.swap(a, b);
}

fn swap_events(log: &mut Log, life: usize, one: usize, other: usize) {
    let (a, b) = (heard(log, life, code::EVENT, one), heard(log, life, code::EVENT, other));
    log.entries.swap(a, b);
}

fn repeat_heard(log: &mut Log, life: usize, kind: u64) {
    let entry = log.entries[heard(log, life, kind, 0)].clone();
    log.entries.push(entry);
}

fn replace(log: &mut Log, life: usize, kind: u64, index: usize, with: impl Into<Item>) {
    let at = heard(log, life, kind, 0);
    message(log, at).0[index] = with.into();
}

fn hear_at_the_end(log: &mut Log, life: usize, items: Vec<Item>) {
    log.push(life, What::Heard(Message(items)));
}

type Breaks = fn(&mut Log);

/// The checker, and what is done to a good log that it must see.
const BROKEN: &[(&str, Breaks)] = &[
    ("pair_order", |log| swap_heard(log, SUBSCRIBER, code::EVENT, code::EVENT, 1)),
    ("pair_order", |log| swap_heard(log, SUBSCRIBER, code::INVOCATION, code::INVOCATION, 1)),
    ("subscribed_first", |log| swap_heard(log, SUBSCRIBER, code::SUBSCRIBED, code::EVENT, 0)),
    ("subscribed_first", |log| replace(log, SUBSCRIBER, code::EVENT, 1, 72)),
    ("silent_after_unsubscribed", |log| repeat_heard(log, SUBSCRIBER, code::EVENT)),
    ("no_lost_interest", |log| drop_heard(log, SUBSCRIBER, code::EVENT, 1)),
    ("registered_first", |log| swap_heard(log, SUBSCRIBER, code::REGISTERED, code::INVOCATION, 0)),
    ("silent_after_unregistered", |log| repeat_heard(log, SUBSCRIBER, code::INVOCATION)),
    ("one_answer", |log| drop_heard(log, PUBLISHER, code::RESULT, 2)),
    // A part behind the answer.
    ("one_answer", |log| repeat_heard(log, PUBLISHER, code::RESULT)),
    ("one_answer", |log| replace(log, PUBLISHER, code::RESULT, 1, 77)),
    ("one_answer", |log| {
        // Canceled and answered.
        let answer = list![SUBSCRIBER, 1, "answer", PUBLISHER, 4];
        hear_at_the_end(log, PUBLISHER, list![code::RESULT, 4, dict! {}, answer]);
    }),
    ("parts_together", |log| {
        let at = heard(log, SUBSCRIBER, code::INVOCATION, 2);
        message(log, at).0[1] = Item::from(2);
    }),
    ("parts_together", |log| {
        let at = heard(log, SUBSCRIBER, code::INVOCATION, 2);
        message(log, at).0[3] = dict! { "receive_progress": true };
    }),
    ("parts_together", |log| {
        let at = heard(log, SUBSCRIBER, code::INVOCATION, 2);
        log.entries[at].life = WATCHER;
    }),
    ("progress_order", |log| swap_heard(log, PUBLISHER, code::RESULT, code::RESULT, 1)),
    ("progress_order", |log| swap_heard(log, PUBLISHER, code::RESULT, code::RESULT, 2)),
    ("progress_order", |log| drop_heard(log, PUBLISHER, code::RESULT, 0)),
    ("progress_order", |log| drop_heard(log, PUBLISHER, code::RESULT, 1)),
    ("progress_order", |log| log.lives[PUBLISHER].progressive = false),
    ("progress_order", |log| log.lives[SUBSCRIBER].progressive = false),
    ("rerouted_in_time", |log| {
        // Asked anew when it had begun.
        let at = heard(log, SUBSCRIBER, code::INVOCATION, 0);
        let invocation = message(log, at).0.clone();
        hear_at_the_end(log, WATCHER, invocation);
    }),
    ("rerouted_in_time", |log| replace(log, PUBLISHER, code::ERROR, 4, reason::NO_AVAILABLE_CALLEE)),
    ("interrupt_open", |log| {
        let interrupt = dict! { "mode": "killnowait", "reason": reason::TIMEOUT };
        replace(log, SUBSCRIBER, code::INTERRUPT, 2, interrupt);
    }),
    ("interrupt_open", |log| replace(log, SUBSCRIBER, code::INTERRUPT, 1, 1)),
    ("interrupt_open", |log| replace(log, SUBSCRIBER, code::INTERRUPT, 1, 3)),
    ("interrupt_open", |log| swap_heard(log, SUBSCRIBER, code::INTERRUPT, code::INVOCATION, 1)),
    ("interrupt_open", |log| log.lives[SUBSCRIBER].cancelable = false),
    ("interrupt_open", |log| {
        let said = log.said().find(|(_, _, m)| m.code() == code::CANCEL).expect("the log has it").0;
        message(log, said).0[2] = dict! { "mode": "skip" };
    }),
    ("ids_name_one_thing", |log| replace(log, SUBSCRIBER, code::WELCOME, 1, 1000)),
    ("ids_name_one_thing", |log| {
        log.lives[STRANGER].realm = 0;
        let subscribe = list![code::SUBSCRIBE, 1, dict! { "match": "wildcard" }, "t.a"];
        log.entries.insert(0, Entry { life: STRANGER, what: What::Said(Message(subscribe)) });
        hear_at_the_end(log, STRANGER, list![code::SUBSCRIBED, 1, 71]);
    }),
    ("ids_name_one_thing", |log| {
        log.push(SUBSCRIBER, What::Said(Message(list![code::SUBSCRIBE, 6, dict! {}, "t.a"])));
        log.push(WATCHER, What::Said(Message(list![code::SUBSCRIBE, 2, dict! {}, "t.a"])));
        hear_at_the_end(log, SUBSCRIBER, list![code::SUBSCRIBED, 6, 72]);
        hear_at_the_end(log, WATCHER, list![code::SUBSCRIBED, 2, 73]);
        log.push(NOBODY, What::Quiet { answered: false });
    }),
    ("sequential_ids", |log| drop_heard(log, SUBSCRIBER, code::INVOCATION, 0)),
    ("sequential_ids", |log| replace(log, SUBSCRIBER, code::INVOCATION, 1, 2)),
    ("within_concurrency", |log| {
        let said = log.said().find(|(_, _, m)| m.code() == code::REGISTER).expect("the log has it").0;
        message(log, said).0[2] = dict! { "concurrency": 1 };
    }),
    // The watcher's events are on_create, on_subscribe, on_unsubscribe, on_delete.
    ("meta_order", |log| swap_heard(log, WATCHER, code::EVENT, code::EVENT, 1)),
    ("meta_order", |log| drop_heard(log, WATCHER, code::EVENT, 1)),
    ("meta_order", |log| drop_heard(log, WATCHER, code::EVENT, 2)),
    ("meta_order", |log| repeat_heard(log, WATCHER, code::EVENT)),
    ("last_word", |log| hear_at_the_end(log, PUBLISHER, list![code::PUBLISHED, 1, 501])),
    ("last_word", |log| hear_at_the_end(log, STRANGER, list![code::GOODBYE, dict! {}, "wamp.close.killed"])),
    ("last_word", |log| hear_at_the_end(log, WATCHER, list![code::WELCOME, 9, dict! {}])),
    ("last_word", |log| swap_heard(log, SUBSCRIBER, code::WELCOME, code::SUBSCRIBED, 0)),
    ("isolation", |log| log.lives[PUBLISHER].realm = 1),
    ("nothing_forbidden", |log| {
        log.lives.iter_mut().for_each(|life| life.realm = RULED);
        let payload = tagged(PUBLISHER, 99, "t.b");
        let publish = list![code::PUBLISH, 99, dict! {}, "t.b", payload.clone()];
        log.push(PUBLISHER, What::Said(Message(publish)));
        hear_at_the_end(log, SUBSCRIBER, list![code::EVENT, 71, 599, dict! {}, payload]);
    }),
    ("delivered_once", |log| repeat_heard(log, SUBSCRIBER, code::EVENT)),
    ("delivered_once", |log| repeat_heard(log, SUBSCRIBER, code::INVOCATION)),
    ("delivered_once", |log| {
        // Another callee was asked, though the first was not unavailable.
        let at = heard(log, SUBSCRIBER, code::INVOCATION, 0);
        let invocation = message(log, at).0.clone();
        hear_at_the_end(log, WATCHER, invocation);
    }),
    ("delivered_once", |log| {
        // The same callee was asked again, when it had said that it is unavailable.
        let declined = list![
            code::ERROR,
            code::INVOCATION,
            2,
            dict! {},
            reason::UNAVAILABLE,
            list![SUBSCRIBER, 9, "answer", PUBLISHER, 4]
        ];
        log.push(SUBSCRIBER, What::Said(Message(declined)));
        let at = heard(log, SUBSCRIBER, code::INVOCATION, 1);
        let invocation = message(log, at).0.clone();
        hear_at_the_end(log, SUBSCRIBER, invocation);
    }),
    ("payload_fidelity", |log| {
        replace(log, SUBSCRIBER, code::EVENT, 4, list![PUBLISHER, 1, "t.b"]);
    }),
    ("payload_fidelity", |log| {
        // What nobody said.
        replace(log, SUBSCRIBER, code::EVENT, 4, list![PUBLISHER, 17, "t.a"]);
    }),
    ("payload_fidelity", |log| {
        // The topic that was subscribed to is another.
        let said = log.said().find(|(_, life, m)| *life == SUBSCRIBER && m.code() == code::SUBSCRIBE);
        let at = said.expect("the log has it").0;
        message(log, at).0[3] = Item::from("t.b");
    }),
    ("payload_fidelity", |log| replace(log, PUBLISHER, code::RESULT, 1, 4)),
    ("payload_fidelity", |log| replace(log, PUBLISHER, code::RESULT, 2, dict! { "_own": 1 })),
    ("violations_answered", |log| {
        let broken = CloseReason::Violation(Violation::Undecodable);
        log.push(WATCHER, What::Closed(broken));
    }),
    ("publication_ids", |log| replace(log, PUBLISHER, code::PUBLISHED, 2, 600)),
    ("publication_ids", |log| {
        replace(log, PUBLISHER, code::PUBLISHED, 2, 502);
        replace(log, SUBSCRIBER, code::EVENT, 2, 502);
    }),
    ("publisher_exclusion", |log| {
        let at = heard(log, SUBSCRIBER, code::EVENT, 0);
        let event = message(log, at).0.clone();
        hear_at_the_end(log, PUBLISHER, event);
    }),
    ("lists_hold", |log| {
        let at = published(log, PUBLISHER);
        message(log, at).0[2] = dict! { "exclude_authrole": list!["anonymous"] };
    }),
    ("publishers_disclosed", |log| {
        let at = published(log, PUBLISHER);
        message(log, at).0[2] = dict! { "disclose_me": true };
    }),
    ("retained_found", |log| {
        let at = retention(log);
        log.entries.remove(at);
    }),
    ("retained_found", |log| {
        let at = retained_testament(log);
        log.entries.remove(at);
    }),
    ("retained_order", |log| {
        // A later one had come live before.
        let at = retention(log);
        let later = tagged(SUBSCRIBER, 91, "r.a");
        let publish = list![code::PUBLISH, 7, dict! { "retain": true }, "r.a", later.clone()];
        log.push(SUBSCRIBER, What::Said(Message(publish)));
        let event = What::Heard(Message(list![code::EVENT, 72, 701, dict! {}, later]));
        log.entries.insert(at, Entry { life: WATCHER, what: event });
    }),
    ("retained_if_asked", |log| {
        let at = retained_testament(log);
        message(log, at).0[4] = list!["testament", HEIR, 1, 9].into();
    }),
    ("retained_if_asked", |log| {
        let at = retention(log);
        let event = log.entries[at].clone();
        log.entries.push(event);
    }),
    ("retained_if_asked", |log| {
        let at = retention(log);
        let event = log.entries[at].clone();
        log.entries.insert(at, event);
    }),
    ("retained_if_asked", |log| {
        retention(log);
        for entry in &mut log.entries {
            if let What::Said(message) = &mut entry.what
                && message.entry(2, "get_retained").is_some()
            {
                message.0[2] = dict! {};
            }
        }
    }),
    ("requests_answered", |log| drop_heard(log, SUBSCRIBER, code::SUBSCRIBED, 0)),
    ("requests_answered", |log| drop_heard(log, PUBLISHER, code::PUBLISHED, 0)),
    ("requests_answered", |log| drop_heard(log, SUBSCRIBER, code::ERROR, 0)),
    ("requests_answered", |log| repeat_heard(log, SUBSCRIBER, code::UNREGISTERED)),
    ("right_errors", |log| replace(log, SUBSCRIBER, code::ERROR, 4, reason::NO_SUCH_REGISTRATION)),
    ("right_errors", |log| replace(log, PUBLISHER, code::ERROR, 4, reason::INVALID_URI)),
    ("right_errors", |log| {
        let said = log.said().find(|(_, life, m)| *life == PUBLISHER && m.code() == code::PUBLISH);
        let at = said.expect("the log has it").0;
        message(log, at).0[3] = Item::from("wamp.session.on_join");
    }),
    ("testaments_published", |log| drop_heard(log, HEIR, code::EVENT, 2)),
    ("testaments_published", |log| repeat_heard(log, HEIR, code::EVENT)),
    ("testaments_published", |log| swap_heard(log, HEIR, code::EVENT, code::EVENT, 1)),
    ("testaments_published", |log| swap_heard(log, HEIR, code::EVENT, code::EVENT, 2)),
    ("testaments_published", |log| log.lives[HEIR].realm = 1),
    ("testaments_published", |log| {
        replace(log, HEIR, code::EVENT, 4, list!["testament", TESTATOR, 0, 9]);
    }),
    ("testaments_published", |log| {
        // Flushed in good time.
        let goodbye = heard(log, TESTATOR, code::GOODBYE, 0);
        let scope = dict! { "scope": "detached" };
        let flush = list![code::CALL, 4, dict! {}, "wamp.session.flush_testaments", list![], scope];
        log.entries.insert(goodbye, Entry { life: TESTATOR, what: What::Said(Message(flush)) });
        let result = What::Heard(Message(list![code::RESULT, 4, dict! {}]));
        log.entries.insert(goodbye + 1, Entry { life: TESTATOR, what: result });
    }),
    ("killed_are_gone", |log| drop_heard(log, TESTATOR, code::GOODBYE, 0)),
    ("killed_are_gone", |log| {
        hear_at_the_end(log, WATCHER, list![code::GOODBYE, dict! {}, KILLED]);
    }),
    // The last three events of the heir are on_join, on_subscribe, on_leave of the guest.
    ("sessions_in_order", |log| drop_heard(log, HEIR, code::EVENT, 3)),
    ("sessions_in_order", |log| drop_heard(log, HEIR, code::EVENT, 5)),
    ("sessions_in_order", |log| swap_events(log, HEIR, 3, 4)),
    ("sessions_in_order", |log| swap_events(log, HEIR, 4, 5)),
    // Used after it was taken away.
    ("silent_after_unsubscribed", |log| hear_at_the_end(log, HEIR, list![code::EVENT, 77, 990, dict! {}])),
    ("silent_after_unregistered", |log| {
        hear_at_the_end(log, HEIR, list![code::INVOCATION, 1, 85, dict! {}, tagged(PUBLISHER, 90, "q.a")]);
    }),
    ("right_errors", |log| {
        // Who forces is not refused because there is another.
        let refused = list![code::ERROR, code::REGISTER, 22, dict! {}, reason::PROCEDURE_ALREADY_EXISTS];
        let at = heard(log, PUBLISHER, code::REGISTERED, 0);
        message(log, at).0 = refused;
    }),
    ("right_errors", |log| {
        let refused = list![code::ERROR, code::CALL, 21, dict! {}, reason::NO_SUCH_SUBSCRIPTION];
        hear_at_the_end(log, PUBLISHER, refused);
    }),
    ("right_errors", |log| {
        let refused = list![code::ERROR, code::CALL, 20, dict! {}, reason::NO_SUCH_REGISTRATION];
        hear_at_the_end(log, PUBLISHER, refused);
    }),
    ("revoked_if_asked", |log| log.lives[HEIR].revocable = false),
    ("revoked_if_asked", |log| log.lives[WATCHER].revocable = false),
    ("revoked_if_asked", |log| repeat_heard(log, HEIR, code::UNSUBSCRIBED)),
    ("revoked_if_asked", |log| repeat_heard(log, WATCHER, code::UNREGISTERED)),
    ("revoked_if_asked", |log| called(log, REMOVE_SUBSCRIBER).0[4] = list![77, 1000 + WATCHER].into()),
    ("revoked_if_asked", |log| called(log, REMOVE_CALLEE).0[4] = list![86, 1000 + HEIR].into()),
    ("revoked_if_asked", |log| {
        let said = log.said().find(|(_, _, m)| m.code() == code::REGISTER && m.number(1) == 22);
        let at = said.expect("the log has it").0;
        message(log, at).0[2] = dict! {};
    }),
    ("revoked_are_told", |log| drop_heard(log, HEIR, code::UNSUBSCRIBED, 0)),
    ("revoked_are_told", |log| drop_heard(log, HEIR, code::UNREGISTERED, 0)),
    ("one_registration", |log| drop_heard(log, WATCHER, code::UNREGISTERED, 0)),
    ("removed_if_there", |log| refuse_removal(log, 20, reason::NO_SUCH_SUBSCRIPTION, code::UNSUBSCRIBED)),
    ("removed_if_there", |log| refuse_removal(log, 21, reason::NO_SUCH_REGISTRATION, code::UNREGISTERED)),
    ("removed_if_there", |log| refuse_removal(log, 20, reason::NO_SUCH_SESSION, code::UNSUBSCRIBED)),
    // Who is not told gets nothing either.
    ("silent_once_taken", |log| {
        drop_heard(log, HEIR, code::UNSUBSCRIBED, 0);
        hear_at_the_end(log, HEIR, list![code::EVENT, 77, 990, dict! {}]);
    }),
    ("silent_once_taken", |log| {
        drop_heard(log, HEIR, code::UNREGISTERED, 0);
        hear_at_the_end(log, HEIR, list![code::INVOCATION, 1, 85, dict! {}, tagged(PUBLISHER, 90, "q.a")]);
    }),
    ("silent_once_taken", |log| {
        drop_heard(log, WATCHER, code::UNREGISTERED, 0);
        hear_at_the_end(log, WATCHER, list![code::INVOCATION, 1, 86, dict! {}, tagged(HEIR, 90, "q.b")]);
    }),
    ("violations_answered", |log| drop_heard(log, STRANGER, code::ABORT, 0)),
    ("violations_answered", |log| {
        hear_at_the_end(log, WATCHER, list![code::ABORT, dict! {}, reason::PROTOCOL_VIOLATION]);
    }),
];

/// What is retained is found, at the end of a log in which all is well.
fn retention(log: &mut Log) -> usize {
    let mut script = Script(std::mem::take(log));
    let s = &mut script;
    let payload = tagged(SUBSCRIBER, 90, "r.a");
    s.says(SUBSCRIBER, list![code::PUBLISH, 6, dict! { "retain": true }, "r.a", payload.clone()]);
    s.says(WATCHER, list![code::SUBSCRIBE, 2, dict! { "get_retained": true }, "r.a"]);
    s.hears(WATCHER, list![code::SUBSCRIBED, 2, 72]);
    s.hears(WATCHER, list![code::EVENT, 72, 700, dict! { "retained": true }, payload]);
    let at = s.0.entries.len() - 1;
    s.quiet(true);
    *log = script.0;
    at
}

/// The same for a testament.
fn retained_testament(log: &mut Log) -> usize {
    let mut script = Script(std::mem::take(log));
    let s = &mut script;
    let what = list!["testament", HEIR, 1, 1];
    let keywords = dict! { "publish_options": dict! { "retain": true } };
    let arguments = list!["r.b", what.clone()];
    s.says(HEIR, list![code::CALL, 4, dict! {}, "wamp.session.add_testament", arguments, keywords]);
    s.hears(HEIR, list![code::RESULT, 4, dict! {}]);
    s.says(HEIR, list![code::GOODBYE, dict! {}, reason::CLOSE_REALM]);
    s.hears(HEIR, list![code::GOODBYE, dict! {}, reason::GOODBYE_AND_OUT]);
    s.quiet(true);
    s.says(WATCHER, list![code::SUBSCRIBE, 3, dict! { "get_retained": true }, "r.b"]);
    s.hears(WATCHER, list![code::SUBSCRIBED, 3, 73]);
    s.hears(WATCHER, list![code::EVENT, 73, 701, dict! { "retained": true }, what]);
    let at = s.0.entries.len() - 1;
    s.quiet(true);
    *log = script.0;
    at
}

#[test]
fn nothing_is_wrong_with_what_is_well() {
    let mut log = well();
    assert_eq!(check(&log), Ok(()));
    retention(&mut log);
    assert_eq!(check(&log), Ok(()));
    retained_testament(&mut log);
    assert_eq!(check(&log), Ok(()));
}

#[test]
fn every_checker_sees_its_rule_broken() {
    for (index, (name, breaks)) in BROKEN.iter().enumerate() {
        let mut log = well();
        breaks(&mut log);
        let checker = CHECKERS.iter().find(|(checker, _)| checker == name).expect("the checker exists").1;
        assert!(checker(&log).is_err(), "{name} does not see what number {index} of the list does");
    }
    for (name, _) in CHECKERS {
        let mut all = BROKEN.iter().chain(asked::BROKEN);
        assert!(all.any(|(broken, _)| broken == name), "nothing breaks the rule of {name}");
    }
}

/// A log with three calls of one caller at one callee, which declined the first; they arrive in this order.
fn three_calls(order: &[usize]) -> Log {
    let mut script = Script(well());
    let s = &mut script;
    for sequence in 10..=12usize {
        s.says(PUBLISHER, list![code::CALL, sequence, dict! {}, "p.a", tagged(PUBLISHER, sequence, "p.a")]);
    }
    let declined = list![
        code::ERROR,
        code::INVOCATION,
        2,
        dict! {},
        reason::UNAVAILABLE,
        list![SUBSCRIBER, 9, "answer", PUBLISHER, 10]
    ];
    s.says(SUBSCRIBER, declined);
    for (place, sequence) in order.iter().enumerate() {
        let payload = tagged(PUBLISHER, *sequence, "p.a");
        s.hears(SUBSCRIBER, list![code::INVOCATION, 3 + place, 81, dict! {}, payload]);
    }
    script.0
}

#[test]
fn pair_order_sees_an_inversion_behind_an_excused_one() {
    let (_, pair_order) = CHECKERS.iter().find(|(name, _)| *name == "pair_order").unwrap();
    assert!(pair_order(&three_calls(&[10, 11, 12])).is_ok());
    assert!(pair_order(&three_calls(&[12, 10])).is_ok(), "excused: it was declined");
    assert!(pair_order(&three_calls(&[12, 11])).is_err(), "11 is excused by nothing");
    assert!(pair_order(&three_calls(&[12, 10, 11])).is_err(), "nor here");
}
