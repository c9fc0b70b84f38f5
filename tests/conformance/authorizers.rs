//! Dynamic authorizers: a procedure says what the sessions of a role may do (Crossbar.io's arguments and results), and
//! what waits for it is held.

use std::sync::Arc;
use std::time::Duration;

use fanwire::auth::ticket;
use fanwire::router::authentication::{self, Principal, Principals};
use fanwire::router::{Authorizer, Permissions, RealmSettings, Role, Settings, Template, VerdictCache};
use fanwire::wamp::MatchPolicy;
use serde_json::{Value, json};

use crate::wire::{Client, KINDS, Wire, everywhere_with, head};

pub const SECOND: Duration = Duration::from_secs(1);

pub fn authorizer(realm: Option<&str>, cache: VerdictCache) -> Authorizer {
    Authorizer {
        procedure: "com.example.authorize".into(),
        realm: realm.map(str::to_owned),
        cache,
        cache_ms: 60_000,
        timeout_ms: 5_000,
    }
}

/// In `realm1` an authorizer of the realm `auth` is asked about everybody.
pub fn asked(cache: VerdictCache) -> impl Fn(&mut Settings) {
    move |settings| {
        let permissions = Permissions::Authorizer(Arc::new(authorizer(Some("auth"), cache)));
        settings.realms[0].authentication = Arc::new(authentication::Settings::anonymous(Arc::new(Role {
            permissions,
            administers: true,
            ..Role::anonymous()
        })));
        settings.realms.push(RealmSettings::open("auth"));
    }
}

pub fn everywhere(test: impl Fn(Wire)) {
    everywhere_with(asked(VerdictCache::Session), test);
}

/// The authorizer: it answers by hand.
pub fn join_authorizer(wire: &mut Wire) -> Client {
    let client = wire.connect();
    wire.hello(client, "auth");
    assert_eq!(wire.ask(client, r#"[64,1,{},"com.example.authorize"]"#)[0], 65);
    client
}

/// The request id of the one question that has come, and what it asks: URI, action and options.
pub fn question(wire: &mut Wire, authorizer: Client) -> (u64, Value) {
    let invocation = wire.receive_one(authorizer);
    assert_eq!((&invocation[0], &invocation[3]), (&json!(68), &json!({})), "{invocation}");
    let arguments = invocation[4].as_array().expect("there are arguments");
    (invocation[1].as_u64().expect("a request id"), Value::Array(arguments[1..].to_vec()))
}

/// The authorizer says this to the one question that has come.
pub fn say(wire: &mut Wire, authorizer: Client, said: &str) -> Value {
    let (request, question) = question(wire, authorizer);
    wire.send(authorizer, &format!("[70,{request},{{}},[{said}]]"));
    wire.resume();
    question
}

pub fn denied(kind: u64, request: u64) -> Value {
    json!([8, kind, request, {}, "wamp.error.not_authorized"])
}

pub fn failed(kind: u64, request: u64) -> Value {
    json!([8, kind, request, {}, "wamp.error.authorization_failed"])
}

/// The one ERROR that has come, without its text for people.
pub fn error(wire: &mut Wire, client: Client) -> Value {
    head(&wire.receive_one(client), 5)
}

#[test]
fn each_action_is_asked_about_as_crossbar_does() {
    everywhere(|mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (client, session) = wire.join();
        let messages = [
            (
                r#"[32,1,{"match":"prefix"},"com.example."]"#,
                json!(["com.example.", "subscribe", {"match": "prefix"}]),
            ),
            (r#"[64,2,{},"com.example.add"]"#, json!(["com.example.add", "register", {}])),
            (
                r#"[16,3,{"acknowledge":true},"com.example.news"]"#,
                json!(["com.example.news", "publish", {"acknowledge": true}]),
            ),
            (r#"[48,4,{},"com.example.none"]"#, json!(["com.example.none", "call", {}])),
            (r#"[48,5,{},"wamp.session.count"]"#, json!(["wamp.session.count", "call", {}])),
        ];
        let mut answers = Vec::new();
        for (message, asked) in messages {
            wire.send(client, message);
            assert!(wire.receive(client).is_empty(), "it is held");
            assert_eq!(say(&mut wire, authorizer, "true"), asked);
            answers.extend(wire.receive(client).iter().map(|answer| answer[0].clone()));
        }
        assert_eq!(answers, [33, 65, 17, 8, 50]);
        // Who it is about.
        wire.send(client, r#"[48,6,{},"com.example.none"]"#);
        let invocation = wire.receive_one(authorizer);
        let who = &invocation[4][0];
        assert_eq!((&who["session"], &who["realm"]), (&json!(session), &json!("realm1")));
        assert_eq!((&who["authrole"], &who["authmethod"]), (&json!("anonymous"), &json!("anonymous")));
        assert_eq!(
            (&who["transport"]["peer"], &who["transport"]["is_secure"]),
            (&json!("unix"), &json!(false))
        );
        wire.send(authorizer, &format!("[70,{},{{}},[true]]", invocation[1]));
        wire.resume();
        assert_eq!(error(&mut wire, client), json!([8, 48, 6, {}, "wamp.error.no_such_procedure"]));
        wire.finish();
    });
}

#[test]
fn what_is_not_allowed_is_refused() {
    everywhere(|mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (client, _) = wire.join();
        let refused = [
            ("[32,1,{},\"a\"]", "false", denied(32, 1)),
            ("[64,2,{},\"a\"]", r#"{"allow":false}"#, denied(64, 2)),
            ("[16,3,{\"acknowledge\":true},\"a\"]", r#"{"allow":false,"disclose":true}"#, denied(16, 3)),
            ("[48,4,{},\"a\"]", r#"{"allow":true,"other":1}"#, failed(48, 4)),
            ("[48,5,{},\"a\"]", "7", failed(48, 5)),
        ];
        for (message, said, answer) in refused {
            wire.send(client, message);
            say(&mut wire, authorizer, said);
            assert_eq!(error(&mut wire, client), answer);
        }
        // Nobody is told of it, and it is counted.
        wire.send(client, "[16,6,{},\"a\"]");
        say(&mut wire, authorizer, "false");
        assert!(wire.receive(client).is_empty());
        let counted = |count: fn(&fanwire::counters::Counters) -> u64| {
            wire.shards.iter().map(|shard| count(&shard.counters())).sum::<u64>()
        };
        assert_eq!(counted(|counters| counters.publications_denied_silently), 1);
        assert_eq!(counted(|counters| counters.publications), 0);
        assert_eq!(counted(|counters| counters.denied.iter().sum()), 6);
        assert_eq!(counted(|counters| counters.authorizer_answers), 4);
        assert_eq!(counted(|counters| counters.authorizer_failures), 2);
        assert_eq!(counted(|counters| counters.calls_own), 6);
        wire.finish();
    });
}

#[test]
fn what_was_sent_behind_a_held_message_comes_behind_it() {
    everywhere(|mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (publisher, _) = wire.join();
        let (subscriber, _) = wire.join();
        for (request, topic) in [(1, "a"), (2, "b")] {
            wire.send(subscriber, &format!(r#"[32,{request},{{}},"{topic}"]"#));
            say(&mut wire, authorizer, "true");
        }
        wire.receive(subscriber);
        // `b` may be published without another question.
        wire.send(publisher, r#"[16,1,{},"b",[0]]"#);
        say(&mut wire, authorizer, r#"{"allow":true,"cache":true}"#);
        for (request, topic) in [(2, "a"), (3, "b"), (4, "a"), (5, "b")] {
            wire.send(publisher, &format!(r#"[16,{request},{{}},"{topic}",[{request}]]"#));
        }
        let numbers = |wire: &mut Wire| -> Vec<Value> {
            wire.receive(subscriber).iter().map(|event| event[4][0].clone()).collect()
        };
        assert_eq!(numbers(&mut wire), [0]);
        assert_eq!(say(&mut wire, authorizer, "true")[0], "a");
        assert_eq!(numbers(&mut wire), [2, 3]);
        assert_eq!(say(&mut wire, authorizer, "false")[0], "a");
        assert_eq!(numbers(&mut wire), [5]);
        wire.finish();
    });
}

#[test]
fn an_authorizer_that_is_slow_has_refused() {
    everywhere(|mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (client, _) = wire.join();
        wire.send(client, r#"[48,1,{},"a"]"#);
        wire.send(client, r#"[48,2,{},"b"]"#);
        let (request, _) = question(&mut wire, authorizer);
        wire.sleep(5 * SECOND - Duration::from_millis(1));
        assert!(wire.receive(client).is_empty());
        wire.sleep(Duration::from_millis(1));
        wire.resume();
        assert_eq!(error(&mut wire, client), failed(48, 1));
        let told = wire.receive(authorizer);
        assert_eq!(told[0], json!([69, request, {"mode": "killnowait", "reason": "wamp.error.timeout"}]));
        assert_eq!(
            (&told[1][0], &told[1][4][1]),
            (&json!(68), &json!("b")),
            "the next message is asked about"
        );
        // Too late.
        wire.send(authorizer, &format!("[70,{request},{{}},[true]]"));
        wire.resume();
        assert!(wire.receive(client).is_empty());
        wire.send(authorizer, &format!("[8,68,{},{{}},\"com.example.broken\",[\"why\"]]", request + 1));
        wire.resume();
        assert_eq!(error(&mut wire, client), failed(48, 2));
        let complaints: Vec<_> = wire.shards.iter_mut().flat_map(|shard| shard.complaints()).collect();
        let told: Vec<_> = complaints.iter().map(|complaint| complaint.cause.to_string()).collect();
        let causes =
            ["the call was not answered in time", "it has answered with the error com.example.broken"];
        assert_eq!(told, causes);
        wire.finish();
    });
}

#[test]
fn without_an_authorizer_nothing_is_allowed_and_nothing_waits() {
    everywhere(|mut wire| {
        let (client, _) = wire.join();
        wire.send(client, r#"[32,1,{},"a"]"#);
        wire.send(client, r#"[16,2,{"acknowledge":true},"a"]"#);
        let answers: Vec<_> = wire.receive(client).iter().map(|answer| head(answer, 5)).collect();
        assert_eq!(answers, [failed(32, 1), failed(16, 2)]);
        // It leaves while it is asked.
        let authorizer = join_authorizer(&mut wire);
        wire.send(client, r#"[32,3,{},"a"]"#);
        question(&mut wire, authorizer);
        wire.reset(authorizer);
        wire.resume();
        assert_eq!(error(&mut wire, client), failed(32, 3));
        wire.finish();
    });
}

#[test]
fn who_leaves_takes_what_is_held_along() {
    let ends: [fn(&mut Wire, Client); 2] =
        [|wire, client| wire.reset(client), |wire, client| wire.end_input(client)];
    for end in ends {
        everywhere(|mut wire| {
            let authorizer = join_authorizer(&mut wire);
            let (client, _) = wire.join();
            wire.send(client, r#"[48,1,{},"a"]"#);
            wire.send(client, r#"[48,2,{},"b"]"#);
            let (request, _) = question(&mut wire, authorizer);
            end(&mut wire, client);
            wire.resume();
            let interrupt = json!([69, request, {"mode": "killnowait", "reason": "wamp.error.canceled"}]);
            assert_eq!(wire.receive_one(authorizer), interrupt);
            wire.send(authorizer, &format!("[70,{request},{{}},[true]]"));
            wire.resume();
            assert!(wire.receive(client).is_empty() && wire.receive(authorizer).is_empty());
            wire.finish();
        });
    }
}

#[test]
fn goodbye_waits_behind_what_is_held() {
    everywhere(|mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (client, _) = wire.join();
        wire.send(client, r#"[16,1,{"acknowledge":true},"a"]"#);
        wire.send(client, r#"[6,{},"wamp.close.close_realm"]"#);
        say(&mut wire, authorizer, "true");
        let codes: Vec<_> = wire.receive(client).iter().map(|answer| answer[0].clone()).collect();
        assert_eq!(codes, [17, 6]);
        wire.finish();
    });
}

#[test]
fn an_answer_that_may_be_kept_is_the_sessions() {
    everywhere(|mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (one, _) = wire.join();
        let (other, _) = wire.join();
        let publish = |wire: &mut Wire, client, request| {
            wire.send(client, &format!(r#"[16,{request},{{"acknowledge":true}},"a"]"#));
        };
        publish(&mut wire, one, 1);
        say(&mut wire, authorizer, r#"{"allow":true,"cache":true}"#);
        publish(&mut wire, one, 2);
        assert_eq!(wire.receive(one).len(), 2);
        publish(&mut wire, other, 1);
        say(&mut wire, authorizer, r#"{"allow":false,"cache":true}"#);
        publish(&mut wire, other, 2);
        let answers: Vec<_> = wire.receive(other).iter().map(|answer| head(answer, 5)).collect();
        assert_eq!(answers, [denied(16, 1), denied(16, 2)]);
        // Another action is another question.
        wire.send(one, r#"[32,3,{},"a"]"#);
        assert_eq!(say(&mut wire, authorizer, "true"), json!(["a", "subscribe", {}]));
        assert_eq!(wire.receive_one(one)[0], 33);
        // It does not hold for ever.
        wire.sleep(60 * SECOND);
        for client in [one, other, authorizer] {
            wire.receive_bytes(client);
        }
        publish(&mut wire, one, 4);
        say(&mut wire, authorizer, "false");
        assert_eq!(error(&mut wire, one), denied(16, 4));
        wire.finish();
    });
}

#[test]
fn or_the_roles() {
    let mut wire = Wire::with(1, KINDS[0], asked(VerdictCache::Role));
    let authorizer = join_authorizer(&mut wire);
    let (one, _) = wire.join();
    let (other, _) = wire.join();
    wire.send(one, r#"[16,1,{"acknowledge":true},"a"]"#);
    say(&mut wire, authorizer, r#"{"allow":true,"cache":true}"#);
    assert_eq!(wire.ask(other, r#"[16,1,{"acknowledge":true},"a"]"#)[0], 17);
    assert_eq!(wire.shards[0].counters().authorizer_verdicts_kept, 1);
    wire.reset(one);
    assert_eq!(wire.ask(other, r#"[16,2,{"acknowledge":true},"a"]"#)[0], 17);
    wire.finish();
}

#[test]
fn an_authorizer_is_told_no_options_that_would_fill_its_queue() {
    everywhere(|mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (client, _) = wire.join();
        let long = "x".repeat(20_000);
        wire.send(client, &format!(r#"[16,1,{{"acknowledge":true,"_long":"{long}"}},"com.topic"]"#));
        assert!(wire.receive(authorizer).is_empty());
        assert_eq!(error(&mut wire, client), failed(16, 1));
        wire.finish();
    });
}

#[test]
fn questions_make_no_slow_consumer_of_an_authorizer() {
    let small = |settings: &mut Settings| {
        asked(VerdictCache::Session)(settings);
        settings.limits.outbound_bytes_max = 64 << 10;
    };
    let mut wire = Wire::with(2, KINDS[0], small);
    let authorizer = join_authorizer(&mut wire);
    wire.stall(authorizer);
    let long = "x".repeat(10_000);
    let clients = [(); 9].map(|()| wire.join().0);
    for client in clients {
        wire.send(client, &format!(r#"[16,1,{{"acknowledge":true,"_long":"{long}"}},"com.topic"]"#));
    }
    wire.resume();
    let refused: Vec<_> = clients.iter().flat_map(|client| wire.receive(*client)).collect();
    assert_eq!(refused.len(), 5, "{refused:?}");
    assert!(refused.iter().all(|answer| head(answer, 5) == failed(16, 1)), "{refused:?}");
    wire.take(authorizer);
    for question in wire.receive(authorizer) {
        wire.send(authorizer, &format!("[70,{},{{}},[true]]", question[1]));
    }
    wire.resume();
    let allowed: usize = clients.iter().map(|client| wire.receive(*client).len()).sum();
    assert_eq!(allowed + refused.len(), clients.len());
    wire.finish();
}

#[test]
fn what_is_held_waits_for_no_authorizer_that_decides_no_more() {
    everywhere(|mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (client, _) = wire.join();
        wire.send(client, r#"[16,1,{"acknowledge":true},"com.topic"]"#);
        wire.send(client, r#"[16,2,{"acknowledge":true},"com.topic"]"#);
        assert!(wire.receive(client).is_empty());
        let asked = question(&mut wire, authorizer).0;
        wire.configure(|settings| {
            let all = Arc::new(Role { administers: true, ..Role::anonymous() });
            settings.realms[0].authentication = Arc::new(authentication::Settings::anonymous(all));
        });
        wire.resume();
        let answers: Vec<_> = wire.receive(client).iter().map(|answer| head(answer, 2)).collect();
        assert_eq!(answers, [json!([17, 1]), json!([17, 2])]);
        assert_eq!(head(&wire.receive_one(authorizer), 2), json!([69, asked]));
        wire.finish();
    });
}

#[test]
fn each_realm_of_a_template_has_answers_of_its_own() {
    let tenants = |settings: &mut Settings| {
        let permissions = Permissions::Authorizer(Arc::new(authorizer(None, VerdictCache::Role)));
        let asked = Arc::new(Role { permissions, ..Role::anonymous() });
        let mut known = authentication::Settings::anonymous(asked);
        known.principals = Principals::new([Principal {
            authid: "back end".into(),
            role: Some(Arc::new(Role::open("authorizer"))),
            ticket: Some(ticket::Stored::read("swordfish").unwrap()),
            ..Principal::default()
        }]);
        let template = Template {
            pattern: "com.tenant.".to_owned(),
            policy: MatchPolicy::Prefix,
            realms_max: 9,
            idle_ms: 0,
        };
        let tenant = RealmSettings { template: Some(template), ..RealmSettings::open("com.tenant.") };
        settings.realms.push(RealmSettings { authentication: Arc::new(known), ..tenant });
    };
    let mut wire = Wire::with(1, KINDS[0], tenants);
    let join = |wire: &mut Wire, realm: &str, details: &str| {
        let client = wire.connect();
        let hello =
            format!(r#"[1,"com.tenant.{realm}",{{"roles":{{"publisher":{{}},"callee":{{}}}}{details}}}]"#);
        (client, wire.ask(client, &hello))
    };
    let [(one, of_one), (other, of_other)] = ["one", "other"].map(|realm| {
        let (client, challenge) = join(&mut wire, realm, r#","authmethods":["ticket"],"authid":"back end""#);
        assert_eq!(challenge[0], 4);
        assert_eq!(wire.ask(client, r#"[5,"swordfish",{}]"#)[0], 2);
        assert_eq!(wire.ask(client, r#"[64,1,{},"com.example.authorize"]"#)[0], 65);
        let (tenant, welcome) = join(&mut wire, realm, "");
        assert_eq!(welcome[0], 2);
        (tenant, client)
    });
    wire.send(one, r#"[16,1,{"acknowledge":true},"com.secret"]"#);
    say(&mut wire, of_one, r#"{"allow":true,"cache":true}"#);
    assert_eq!(wire.receive_one(one)[0], 17);
    wire.send(other, r#"[16,1,{"acknowledge":true},"com.secret"]"#);
    say(&mut wire, of_other, r#"{"allow":false,"cache":true}"#);
    assert_eq!(error(&mut wire, other), denied(16, 1));
    for (client, kind) in [(one, 17), (other, 8)] {
        assert_eq!(wire.ask(client, r#"[16,2,{"acknowledge":true},"com.secret"]"#)[0], kind);
    }
    wire.finish();
}

#[test]
fn an_answer_may_disclose_who_it_is() {
    everywhere(|mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (client, session) = wire.join();
        let (receiver, _) = wire.join();
        wire.send(receiver, r#"[32,1,{},"a"]"#);
        say(&mut wire, authorizer, "true");
        wire.send(receiver, r#"[64,2,{},"p"]"#);
        say(&mut wire, authorizer, "true");
        wire.receive(receiver);
        wire.send(client, r#"[16,1,{},"a"]"#);
        say(&mut wire, authorizer, r#"{"allow":true,"disclose":true}"#);
        assert_eq!(wire.receive_one(receiver)[3]["publisher"], session);
        wire.send(client, r#"[48,2,{},"p"]"#);
        say(&mut wire, authorizer, r#"{"allow":true,"disclose":true}"#);
        assert_eq!(wire.receive_one(receiver)[3]["caller"], session);
        wire.send(client, r#"[48,3,{},"p"]"#);
        say(&mut wire, authorizer, "true");
        assert_eq!(wire.receive_one(receiver)[3], json!({}));
        wire.finish();
    });
}

#[test]
fn a_testament_is_a_call_and_a_publish() {
    everywhere(|mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (client, _) = wire.join();
        let (subscriber, _) = wire.join();
        wire.send(subscriber, r#"[32,1,{},"a"]"#);
        say(&mut wire, authorizer, "true");
        wire.receive(subscriber);
        wire.send(client, r#"[48,1,{},"wamp.session.add_testament",["a",["gone"],{}]]"#);
        assert_eq!(say(&mut wire, authorizer, "true")[1], "call");
        assert!(wire.receive(client).is_empty());
        assert_eq!(say(&mut wire, authorizer, "true"), json!(["a", "publish", {}]));
        assert_eq!(wire.receive_one(client)[0], 50);
        wire.send(client, r#"[48,2,{},"wamp.session.add_testament",["b",[],{}]]"#);
        say(&mut wire, authorizer, "true");
        say(&mut wire, authorizer, "false");
        assert_eq!(error(&mut wire, client), denied(48, 2));
        // Nobody is asked when it is published.
        wire.reset(client);
        assert_eq!(wire.receive_one(subscriber)[4], json!(["gone"]));
        assert!(wire.receive(authorizer).is_empty());
        wire.finish();
    });
}

#[test]
fn a_shutdown_waits_for_no_authorizer() {
    everywhere(|mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (client, _) = wire.join();
        let (other, _) = wire.join();
        wire.send(client, r#"[16,1,{"acknowledge":true},"a"]"#);
        question(&mut wire, authorizer);
        for shard in 0..wire.shards.len() {
            wire.shards[shard].drain(wire.now);
        }
        wire.settle();
        wire.send(other, r#"[16,1,{"acknowledge":true},"a"]"#);
        assert_eq!(error(&mut wire, other), failed(16, 1), "nobody is asked any more");
        wire.sleep(Duration::from_millis(fanwire::limits::Limits::DEFAULT.drain_ms_max / 2));
        wire.resume();
        let last = wire.receive(client);
        assert_eq!(last.last().map(|message| message[0].clone()), Some(json!(6)), "{last:?}");
        wire.finish();
    });
}

#[test]
fn answers_that_are_kept_can_be_purged_by_who_administers() {
    for cache in [VerdictCache::Session, VerdictCache::Role] {
        everywhere_with(asked(cache), |mut wire| {
            let authorizer = join_authorizer(&mut wire);
            let (one, session) = wire.join();
            let (other, _) = wire.join();
            let mut requests = [(one, 0), (other, 0)];
            let mut publish = |wire: &mut Wire, which: usize, topic: &str| {
                let (client, request) = &mut requests[which];
                *request += 1;
                wire.send(*client, &format!(r#"[16,{request},{{"acknowledge":true}},"{topic}"]"#));
                let asked = wire.receive(*client).is_empty();
                if asked {
                    say(wire, authorizer, r#"{"allow":true,"cache":true}"#);
                    assert_eq!(wire.receive_one(*client)[0], 17);
                }
                asked
            };
            // By the authorizer itself, which is in another realm.
            let mut calls = 1;
            let mut purge = |wire: &mut Wire, keywords: &str| {
                calls += 1;
                let call = format!(r#"[48,{calls},{{}},"wamp.authorization.purge",[],{keywords}]"#);
                let answer = wire.ask(authorizer, &call);
                assert_eq!(answer[0], 50, "{answer}");
                answer[3][0].as_u64().expect("a count")
            };
            let both = |wire: &mut Wire, publish: &mut dyn FnMut(&mut Wire, usize, &str) -> bool| {
                [(0, "a"), (0, "b"), (1, "a"), (1, "b")].map(|(which, topic)| publish(wire, which, topic))
            };
            both(&mut wire, &mut publish);
            assert_eq!(both(&mut wire, &mut publish), [false; 4]);
            let kept: u64 = purge(&mut wire, "{}");
            assert!((2..=4).contains(&kept));
            assert!(both(&mut wire, &mut publish)[..2] == [true, true]);
            assert_eq!(purge(&mut wire, r#"{"authrole":"other"}"#), 0);
            assert_eq!(purge(&mut wire, r#"{"authrole":"anonymous"}"#), kept);
            both(&mut wire, &mut publish);
            assert_eq!(purge(&mut wire, r#"{"uri":"a"}"#), kept / 2);
            assert!(!publish(&mut wire, 0, "b") && publish(&mut wire, 0, "a"));
            both(&mut wire, &mut publish);
            match cache {
                VerdictCache::Session => {
                    assert_eq!(purge(&mut wire, &format!(r#"{{"session":{session}}}"#)), 2);
                    assert_eq!(both(&mut wire, &mut publish), [true, true, false, false]);
                }
                VerdictCache::Role => {
                    assert_eq!(purge(&mut wire, &format!(r#"{{"session":{session}}}"#)), 0);
                }
            }
            both(&mut wire, &mut publish);
            for wrong in [
                r#"[],{"session":"x"}"#,
                r#"[],{"uri":1}"#,
                r#"[],{"authRole":"other"}"#,
                r#"["a"]"#,
                "[null]",
            ] {
                calls += 1;
                wire.send(authorizer, &format!(r#"[48,{calls},{{}},"wamp.authorization.purge",{wrong}]"#));
                assert_eq!(error(&mut wire, authorizer)[4], "wamp.error.invalid_argument");
            }
            assert_eq!(both(&mut wire, &mut publish), [false; 4], "nothing is forgotten by mistake");
            wire.finish();
        });
    }
}

#[test]
fn what_was_asked_before_a_purge_is_not_kept() {
    let mut wire = Wire::with(2, KINDS[0], asked(VerdictCache::Session));
    let authorizer = join_authorizer(&mut wire);
    let (client, _) = wire.join();
    wire.send(client, r#"[16,1,{"acknowledge":true},"a"]"#);
    let (request, _) = question(&mut wire, authorizer);
    assert_eq!(wire.ask(authorizer, r#"[48,2,{},"wamp.authorization.purge"]"#)[3], json!([0]));
    wire.send(authorizer, &format!(r#"[70,{request},{{}},[{{"allow":true,"cache":true}}]]"#));
    wire.resume();
    assert_eq!(wire.receive_one(client)[0], 17);
    wire.send(client, r#"[16,2,{"acknowledge":true},"a"]"#);
    say(&mut wire, authorizer, "false");
    assert_eq!(error(&mut wire, client), denied(16, 2));
    wire.finish();
}

#[test]
fn only_who_administers_purges() {
    let mut wire = Wire::with(1, KINDS[0], |settings| {
        settings.realms[0].authentication =
            Arc::new(authentication::Settings::anonymous(Arc::new(Role::anonymous())))
    });
    let (client, _) = wire.join();
    wire.send(client, r#"[48,1,{},"wamp.authorization.purge"]"#);
    assert_eq!(error(&mut wire, client), denied(48, 1));
    wire.finish();
}

/// In `realm1` the authorizer is a client of `realm1`. Who says nothing of itself is `asked` about; `backend` has a
/// ticket, and another authorizer.
fn mutual(settings: &mut Settings) {
    let role = |name: &str, procedure: &str| {
        let authorizer =
            Authorizer { procedure: procedure.into(), ..authorizer(None, VerdictCache::Session) };
        Role { permissions: Permissions::Authorizer(Arc::new(authorizer)), ..Role::open(name) }
    };
    let backend = Principal {
        authid: "backend".into(),
        role: Some(Arc::new(role("backend", "com.example.of_backends"))),
        ticket: Some(ticket::Stored::read("swordfish").unwrap()),
        ..Principal::default()
    };
    let open = Principal {
        authid: "open".into(),
        role: Some(Arc::new(Role::open("open"))),
        ticket: Some(ticket::Stored::read("swordfish").unwrap()),
        ..Principal::default()
    };
    let anonymous = authentication::Settings::anonymous(role("asked", "com.example.authorize"));
    let principals = Principals::new([backend, open]);
    settings.realms[0].authentication = Arc::new(authentication::Settings { principals, ..anonymous });
}

pub fn join_with_ticket(wire: &mut Wire, authid: &str) -> Client {
    let client = wire.connect();
    let features = r#"{"features":{"call_canceling":true}}"#;
    let roles = format!(r#"{{"publisher":{{}},"subscriber":{{}},"caller":{{}},"callee":{features}}}"#);
    let hello = format!(r#"[1,"realm1",{{"roles":{roles},"authmethods":["ticket"],"authid":"{authid}"}}]"#);
    assert_eq!(wire.ask(client, &hello)[0], 4);
    assert_eq!(wire.ask(client, r#"[5,"swordfish",{}]"#)[0], 2);
    client
}

#[test]
fn nobody_answers_for_itself() {
    everywhere_with(mutual, |mut wire| {
        let open = join_with_ticket(&mut wire, "open");
        let (client, _) = wire.join();
        let register =
            |request| format!(r#"[64,{request},{{"invoke":"roundrobin"}},"com.example.authorize"]"#);
        assert_eq!(wire.ask(open, &register(1))[0], 65);
        // It may become an authorizer of its own role, but is not asked about itself.
        wire.send(client, &register(1));
        say(&mut wire, open, "true");
        assert_eq!(wire.receive_one(client)[0], 65);
        for request in 2..6 {
            wire.send(client, &format!(r#"[16,{request},{{"acknowledge":true}},"a"]"#));
            say(&mut wire, open, "true");
            assert_eq!(wire.receive_one(client)[0], 17);
        }
        wire.reset(open);
        wire.send(client, r#"[16,6,{"acknowledge":true},"a"]"#);
        wire.resume();
        assert_eq!(error(&mut wire, client), failed(16, 6), "nobody else is there, and nothing waits");
        wire.finish();
    });
}

#[test]
fn two_that_wait_for_each_other_go_on_when_the_time_is_over() {
    everywhere_with(mutual, |mut wire| {
        let open = join_with_ticket(&mut wire, "open");
        assert_eq!(wire.ask(open, r#"[64,1,{"invoke":"last"},"com.example.of_backends"]"#)[0], 65);
        assert_eq!(wire.ask(open, r#"[64,2,{"invoke":"last"},"com.example.authorize"]"#)[0], 65);
        let backend = join_with_ticket(&mut wire, "backend");
        let (client, _) = wire.join();
        wire.send(backend, r#"[64,1,{"invoke":"last"},"com.example.authorize"]"#);
        say(&mut wire, open, "true");
        assert_eq!(wire.receive_one(backend)[0], 65);
        wire.send(client, r#"[64,1,{"invoke":"last"},"com.example.of_backends"]"#);
        say(&mut wire, backend, "true");
        assert_eq!(wire.receive_one(client)[0], 65);
        // Each is the authorizer of the other.
        wire.send_without_letters(backend, r#"[16,2,{"acknowledge":true},"a"]"#);
        wire.send_without_letters(client, r#"[16,2,{"acknowledge":true},"a"]"#);
        wire.settle();
        for other in [backend, client] {
            let (request, _) = question(&mut wire, other);
            wire.send(other, &format!("[70,{request},{{}},[true]]"));
            assert!(wire.receive(other).is_empty(), "nothing is read of it");
        }
        wire.sleep(5 * SECOND);
        wire.resume();
        for other in [backend, client] {
            let answers = wire.receive(other);
            let answer = answers.iter().find(|answer| answer[0] == 8).expect("it was denied");
            assert_eq!(head(answer, 5), failed(16, 2));
        }
        wire.finish();
    });
}
