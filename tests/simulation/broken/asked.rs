//! The same for authorizers and authenticators: a log of its own, in a realm that has both.

use fanwire::router::role::VerdictCache;

use super::*;
use crate::doors::{AUTHENTICATE, Door, Login, Manner, secret, signature};
use crate::guards::{AUTHORIZE, Guard};

const ASKER: usize = 0;
const AUTHORITY: usize = 1;
const KNOWN: usize = 2;
const DYNAMIC: usize = 3;

/// What proves [`KNOWN`].
const CHALLENGE: &str = "{\"nonce\":1}";

fn life(life: usize) -> Life {
    let known = |authid: &str, method: &'static str| Login {
        method,
        authid: authid.to_owned(),
        secret: secret(authid),
        manner: Manner::Answers,
    };
    Life {
        connection: life,
        realm: 0,
        shard: life,
        serializer: Serializer::Json,
        framing: Framing::WebSocket,
        message_bytes_max: usize::MAX,
        cancelable: true,
        progressive: true,
        reroutes: true,
        revocable: true,
        authority: life == AUTHORITY,
        login: match life {
            KNOWN => Some(known("plain", "wampcra")),
            DYNAMIC => Some(known("dynamic.3", "ticket")),
            _ => None,
        },
    }
}

/// An authorizer is asked about a message, and says this.
fn ask(s: &mut Script, invocation: usize, message: Vec<Item>, said: Item) {
    let message = Message(message);
    let action = match message.code() {
        code::SUBSCRIBE => "subscribe",
        code::REGISTER => "register",
        _ => "call",
    };
    let options = dict! { "_mark": list![ASKER, message.number(1)] };
    let question = list![dict! {}, message.text(3), action, options];
    let wanted = s.0.push(ASKER, What::Said(message));
    s.0.push(ASKER, What::Delivered(wanted));
    s.hears(AUTHORITY, list![code::INVOCATION, invocation, 1, dict! {}, question]);
    s.says(AUTHORITY, list![code::YIELD, invocation, dict! {}, list![said]]);
    s.0.push(ASKER, What::Handled(wanted));
}

fn asks(s: &mut Script) {
    ask(s, 1, list![code::SUBSCRIBE, 1, dict! {}, "t.a"], dict! { "allow": true, "cache": true });
    s.hears(ASKER, list![code::SUBSCRIBED, 1, 71]);
    s.says(ASKER, list![code::SUBSCRIBE, 2, dict! {}, "t.a"]);
    s.hears(ASKER, list![code::SUBSCRIBED, 2, 71]);
    ask(s, 2, list![code::REGISTER, 3, dict! {}, "p.a"], Item::from(false));
    s.hears(ASKER, list![code::ERROR, code::REGISTER, 3, dict! {}, reason::NOT_AUTHORIZED]);
    ask(s, 3, list![code::REGISTER, 4, dict! {}, "p.b"], Item::from(7));
    s.hears(ASKER, list![code::ERROR, code::REGISTER, 4, dict! {}, reason::AUTHORIZATION_FAILED]);
    ask(s, 4, list![code::REGISTER, 5, dict! {}, "p.c"], Item::from(true));
    s.hears(ASKER, list![code::REGISTERED, 5, 81]);
    let call = list![code::CALL, 6, dict! {}, "p.c", tagged(ASKER, 1, "p.c")];
    ask(s, 5, call, dict! { "allow": true, "disclose": true });
    s.hears(ASKER, list![code::INVOCATION, 1, 81, dict! { "caller": 1000 }, tagged(ASKER, 1, "p.c")]);
    let answer: Vec<Item> = list![ASKER, 2, "answer", ASKER, 1];
    s.says(ASKER, list![code::YIELD, 1, dict! {}, answer.clone()]);
    s.hears(ASKER, list![code::RESULT, 6, dict! {}, answer]);
}

/// Both join by their methods.
fn join(s: &mut Script) {
    let welcome = |session: usize, authid: &str, method: &str| {
        list![code::WELCOME, session, dict! { "authid": authid, "authmethod": method }]
    };
    s.says(KNOWN, list![code::HELLO, "realm", dict! {}]);
    s.hears(KNOWN, list![code::CHALLENGE, "wampcra", dict! { "challenge": CHALLENGE }]);
    s.says(KNOWN, list![code::AUTHENTICATE, signature(&secret("plain"), CHALLENGE), dict! {}]);
    s.hears(KNOWN, welcome(2000, "plain", "wampcra"));
    s.says(DYNAMIC, list![code::HELLO, "realm", dict! {}]);
    s.hears(DYNAMIC, list![code::CHALLENGE, "ticket", dict! {}]);
    s.says(DYNAMIC, list![code::AUTHENTICATE, "any", dict! {}]);
    let details = dict! { "session": 3000, "authmethod": "ticket", "ticket": "any" };
    s.hears(AUTHORITY, list![code::INVOCATION, 6, 2, dict! {}, list!["realm", "dynamic.3", details]]);
    s.says(AUTHORITY, list![code::YIELD, 6, dict! {}, list!["anonymous"]]);
    s.hears(DYNAMIC, welcome(3000, "dynamic.3", "ticket"));
    s.quiet(true);
}

/// A log in which all is well.
fn well() -> Log {
    let mut script = Script(Log::default());
    let s = &mut script;
    s.0.lives = (ASKER..=DYNAMIC).map(life).collect();
    let (cache, timeout_ms) = (VerdictCache::Session, 100);
    s.0.guards = vec![Some(Guard { seat: 0, cache, cache_ms: 100, timeout_ms })];
    s.0.doors = vec![Some(Door { seat: Some(0), asks_always: false, timeout_ms, challenge_ms: 100 })];
    s.joins(ASKER);
    s.joins(AUTHORITY);
    for (request, procedure) in [(1, AUTHORIZE), (2, AUTHENTICATE)] {
        s.says(AUTHORITY, list![code::REGISTER, request, dict! {}, procedure]);
        s.hears(AUTHORITY, list![code::REGISTERED, request, request]);
    }
    asks(s);
    join(s);
    script.0
}

/// What the authority says to its `nth` question.
fn answers(log: &mut Log, nth: usize, said: impl Into<Item>) {
    let answers = |entry: &Entry| {
        entry.life == AUTHORITY && matches!(&entry.what, What::Said(m) if m.code() == code::YIELD)
    };
    let at = log
        .entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| answers(entry))
        .nth(nth)
        .expect("it has said so much")
        .0;
    let What::Said(message) = &mut log.entries[at].what else { panic!("it was said") };
    message.0[3] = Item::from(list![said.into()]);
}

/// Time passes before what a life has read at that place.
fn delay(log: &mut Log, life: usize, kind: u64, nth: usize) {
    let at = heard(log, life, kind, nth);
    let time = Entry { life: NOBODY, what: What::Time(1_000) };
    // Before it was asked for, so that what was said is where it was.
    let said = log.entries[..at].iter().rposition(|entry| matches!(entry.what, What::Said(_)));
    let said = said.expect("it was asked for");
    log.entries.insert(said, time);
    for entry in &mut log.entries[said..] {
        if let What::Delivered(said) | What::Handled(said) = &mut entry.what {
            *said += 1;
        }
    }
}

/// What life `KNOWN` answers to its challenge is wrong.
fn forge(log: &mut Log) {
    let mut said = log.said();
    let answer = said.find(|(_, life, m)| (*life, m.code()) == (KNOWN, code::AUTHENTICATE));
    let at = answer.expect("it has answered").0;
    drop(said);
    let What::Said(message) = &mut log.entries[at].what else { panic!("it was said") };
    message.0[1] = Item::from("forged");
}

fn abort_known(log: &mut Log, text: &str) {
    let at = heard(log, KNOWN, code::WELCOME, 0);
    *message(log, at) = Message(list![code::ABORT, dict! { "message": text }, "wamp.error.any"]);
}

/// Which checker sees what.
pub(super) const BROKEN: &[(&str, Breaks)] = &[
    ("done_if_allowed", |log| answers(log, 0, false)),
    ("done_if_allowed", |log| answers(log, 0, true)),
    ("done_if_allowed", |log| answers(log, 3, dict! { "allow": 1 })),
    ("done_if_allowed", |log| answers(log, 4, false)),
    ("done_if_allowed", |log| delay(log, ASKER, code::SUBSCRIBED, 1)),
    ("refused_if_denied", |log| answers(log, 1, true)),
    ("refused_if_denied", |log| answers(log, 1, 7)),
    ("refused_if_denied", |log| answers(log, 2, true)),
    ("refused_if_denied", |log| answers(log, 2, false)),
    ("asked_in_order", |log| repeat_heard(log, AUTHORITY, code::INVOCATION)),
    ("asked_in_order", |log| swap_heard(log, AUTHORITY, code::INVOCATION, code::INVOCATION, 2)),
    ("callers_disclosed", |log| answers(log, 4, true)),
    ("callers_disclosed", |log| {
        let at = heard(log, ASKER, code::INVOCATION, 0);
        message(log, at).0[3] = dict! {};
    }),
    ("proved_first", forge),
    ("proved_first", |log| drop_heard(log, KNOWN, code::CHALLENGE, 0)),
    ("proved_first", |log| replace(log, DYNAMIC, code::WELCOME, 1, 3001)),
    ("proved_first", |log| answers(log, 5, "nobody")),
    ("proved_first", |log| {
        let at = heard(log, DYNAMIC, code::WELCOME, 0);
        message(log, at).0[2] = dict! { "authid": "plain", "authmethod": "ticket" };
    }),
    ("right_if_proved", |log| abort_known(log, "Authentication failed.")),
    ("joins_end", |log| {
        drop_heard(log, DYNAMIC, code::WELCOME, 0);
        drop_heard(log, DYNAMIC, code::CHALLENGE, 0);
    }),
    ("joins_end", |log| {
        drop_heard(log, DYNAMIC, code::WELCOME, 0);
        log.push(NOBODY, What::Time(1_000));
        log.push(NOBODY, What::Quiet { answered: true });
    }),
];

#[test]
fn nothing_is_wrong_with_who_asks() {
    assert_eq!(check(&well()), Ok(()));
    let mut log = well();
    abort_known(&mut log, "The answer to the challenge is late.");
    assert_eq!(check(&log), Ok(()));
}

#[test]
fn every_checker_sees_who_does_not_ask() {
    for (index, (name, breaks)) in BROKEN.iter().enumerate() {
        let mut log = well();
        breaks(&mut log);
        let checker = CHECKERS.iter().find(|(checker, _)| checker == name).expect("the checker exists").1;
        assert!(checker(&log).is_err(), "{name} does not see what number {index} of the list does");
    }
}
