//! Settings that change while there are sessions: who stays, who is told to go, and that nothing is lost meanwhile.

use std::sync::Arc;

use fanwire::auth::{Method, ticket};
use fanwire::router::authentication::{self, Principal, Principals};
use fanwire::router::rules::{Action, Rule, Rules};
use fanwire::router::{HistoryRule, Permissions, RealmSettings, Role, Settings, Template};
use fanwire::wamp::MatchPolicy;
use serde_json::{Value, json};

use crate::authentication::{FAILED, challenged, hello, principal, set};
use crate::wire::{Client, KINDS, Wire, everywhere};

/// Settings by which everybody may join in this role.
fn anonymous(role: Role) -> Arc<authentication::Settings> {
    Arc::new(authentication::Settings::anonymous(role))
}

fn goodbye(wire: &mut Wire, client: Client) -> Value {
    let goodbye = wire.receive_one(client);
    assert_eq!(goodbye[0], 6, "{goodbye}");
    goodbye[2].clone()
}

#[test]
fn nothing_that_waits_is_lost_by_a_change_of_its_realm() {
    everywhere(|mut wire| {
        let [caller, callee, subscriber, publisher] = [(); 4].map(|()| wire.join().0);
        assert_eq!(wire.ask(callee, r#"[64,1,{},"com.procedure"]"#)[0], 65);
        let subscription = wire.ask(subscriber, r#"[32,1,{},"com.topic"]"#)[2].clone();
        wire.send(caller, r#"[48,1,{},"com.procedure",[7]]"#);
        let invocation = wire.receive_one(callee);
        wire.send_without_letters(publisher, r#"[16,1,{},"com.topic",["under way"]]"#);
        wire.configure(|settings| {
            settings.realms[0].call_timeout_ms = 5_000;
            settings.realms[0].retained_count_max = 0;
        });
        assert_eq!(wire.receive_one(subscriber)[4], json!(["under way"]));
        wire.send(callee, &format!(r#"[70,{},{{}},["done"]]"#, invocation[1]));
        assert_eq!(wire.receive_one(caller), json!([50, 1, {}, ["done"]]));
        wire.send(publisher, r#"[16,2,{},"com.topic",["after"]]"#);
        assert_eq!(wire.receive_one(subscriber)[4], json!(["after"]));
        assert_eq!(wire.ask(subscriber, &format!("[34,2,{subscription}]"))[0], 35);
        wire.send(caller, r#"[48,2,{},"com.procedure"]"#);
        assert_eq!(wire.receive_one(callee)[0], 68);
        wire.sleep(std::time::Duration::from_secs(6));
        assert_eq!(wire.receive_one(caller)[4], "wamp.error.timeout", "new calls have the new timeout");
        wire.receive(callee);
        wire.finish();
    });
}

#[test]
fn a_realm_that_is_no_more_says_goodbye_and_another_is_not_touched() {
    everywhere(|mut wire| {
        let (stays, _) = wire.join();
        let goes = [(); 3].map(|()| wire.connect());
        for client in goes {
            wire.hello(client, "strict");
        }
        wire.configure(|settings| {
            settings.realms.remove(1);
            settings.realms.push(RealmSettings::open("another"));
        });
        for client in goes {
            assert_eq!(goodbye(&mut wire, client), "wamp.close.close_realm");
        }
        assert_eq!(wire.receive(stays), Vec::<Value>::new());
        let late = wire.connect();
        let abort = wire.ask(late, r#"[1,"strict",{"roles":{"caller":{}}}]"#);
        assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!("wamp.error.no_such_realm")));
        let new = wire.connect();
        wire.hello(new, "another");
        assert_eq!(wire.ask(new, r#"[32,1,{},"com.topic"]"#)[0], 33);
        wire.finish();
    });
}

#[test]
fn a_realm_that_comes_back_is_another_one() {
    let mut wire = Wire::new(4, KINDS[0]);
    let client = wire.connect();
    wire.hello(client, "strict");
    assert_eq!(wire.ask(client, r#"[32,1,{},"com.topic"]"#)[0], 33);
    let strict = RealmSettings::open("strict");
    for _ in 0..20 {
        wire.configure(|settings| settings.realms.truncate(1));
        wire.configure(|settings| settings.realms.push(strict.clone()));
    }
    assert_eq!(goodbye(&mut wire, client), "wamp.close.close_realm");
    let again = wire.connect();
    wire.hello(again, "strict");
    wire.send(again, r#"[16,1,{},"com.topic"]"#);
    assert_eq!(wire.router.realms().len(), 2);
    assert!(wire.router.realm_table().places() <= 3, "places are used again");
    wire.finish();
}

#[test]
fn sessions_have_their_role_as_it_is_now_or_go() {
    everywhere(|mut wire| {
        let (client, session) = wire.join();
        let trust = Role { trust_level: Some(3), administers: true, ..Role::anonymous() };
        let kill = r#"[48,1,{},"wamp.session.count"]"#;
        assert_eq!(wire.ask(client, kill)[0], 50);
        let (subscriber, _) = wire.join();
        wire.ask(subscriber, r#"[32,1,{},"com.topic"]"#);
        wire.configure(|settings| settings.realms[0].authentication = anonymous(trust));
        assert_eq!(wire.receive(client), Vec::<Value>::new());
        wire.send(client, r#"[16,2,{},"com.topic"]"#);
        assert_eq!(wire.receive_one(subscriber)[3]["trustlevel"], 3, "what it is now");
        let list = wire.ask(client, &format!(r#"[48,3,{{}},"wamp.session.get",[{session}]]"#));
        assert_eq!(list[3][0]["authrole"], "anonymous");
        wire.configure(|settings| settings.realms[0].authentication = anonymous(Role::open("guest")));
        for client in [client, subscriber] {
            assert_eq!(goodbye(&mut wire, client), "wamp.close.killed");
        }
        let dismissed: u64 = wire.shards.iter().map(|shard| shard.counters().sessions_dismissed).sum();
        assert_eq!(dismissed, 2);
        let (guest, _) = wire.join();
        assert_eq!(wire.ask(guest, kill)[0], 50);
        wire.finish();
    });
}

#[test]
fn disclosure_and_bounds_hold_for_the_next_message() {
    everywhere(|mut wire| {
        let [publisher, subscriber] = [(); 2].map(|()| wire.join().0);
        wire.ask(subscriber, r#"[32,1,{},"com.topic"]"#);
        wire.send(publisher, r#"[16,1,{},"com.topic"]"#);
        assert!(wire.receive_one(subscriber)[3].get("publisher").is_none());
        wire.configure(|settings| {
            settings.realms[0].disclosure = fanwire::router::Disclosure::Always;
            settings.limits.subscriptions_per_session_max = 1;
        });
        wire.send(publisher, r#"[16,2,{},"com.topic"]"#);
        assert!(wire.receive_one(subscriber)[3].get("publisher").is_some());
        let refused = wire.ask(subscriber, r#"[32,2,{},"com.other"]"#);
        assert_eq!((&refused[0], &refused[4]), (&json!(8), &json!("wamp.error.unavailable")));
        wire.finish();
    });
}

#[test]
fn a_realm_that_tells_nobodys_name_any_more_tells_none_of_before() {
    everywhere(|mut wire| {
        let [publisher, callee] = [(); 2].map(|()| wire.join().0);
        assert_eq!(wire.ask(callee, r#"[64,1,{"disclose_caller":true},"com.procedure"]"#)[0], 65);
        let retain = r#"[16,1,{"retain":true,"disclose_me":true,"acknowledge":true},"com.topic"]"#;
        assert_eq!(wire.ask(publisher, retain)[0], 17);
        let (early, _) = wire.join();
        wire.send(early, r#"[32,1,{"get_retained":true},"com.topic"]"#);
        assert!(wire.receive(early)[1][3].get("publisher").is_some());
        wire.configure(|settings| settings.realms[0].disclosure = fanwire::router::Disclosure::Never);
        let (late, _) = wire.join();
        wire.send(late, r#"[32,1,{"get_retained":true},"com.topic"]"#);
        let event = wire.receive(late)[1].clone();
        assert_eq!((&event[0], &event[3]["retained"]), (&json!(36), &json!(true)));
        assert!(event[3].as_object().unwrap().keys().all(|key| !key.starts_with("publisher")), "{event}");
        wire.send(publisher, r#"[48,2,{},"com.procedure"]"#);
        assert!(wire.receive_one(callee)[3].get("caller").is_none());
        wire.finish();
    });
}

#[test]
fn who_was_asked_before_a_change_is_held_against_what_holds_when_it_answers() {
    for changed in [
        |settings: &mut Settings| settings.listeners[0].access.methods = Some(vec![Method::WampCra]),
        |settings: &mut Settings| settings.listeners[0].access.realms = Some(Vec::new()),
        |settings: &mut Settings| who_are_known(settings, Vec::new()),
        |settings: &mut Settings| {
            let ticket = Some(ticket::Stored::read("another").unwrap());
            who_are_known(settings, vec![Principal { ticket, ..with_ticket("alice", "user") }]);
        },
    ] {
        let mut wire = Wire::with(2, KINDS[0], |settings| {
            who_are_known(settings, vec![with_ticket("alice", "user")]);
        });
        let client = wire.connect();
        challenged(&mut wire, client, r#""authmethods":["ticket"],"authid":"alice""#, "ticket");
        wire.configure(changed);
        let answer = wire.ask(client, r#"[5,"swordfish",{}]"#);
        assert_eq!((&answer[0], &answer[2]), (&json!(3), &json!(FAILED)), "{answer}");
        wire.finish();
    }
}

#[test]
fn what_is_kept_follows_its_rules() {
    let rule = |uri: &str| HistoryRule::new(uri, MatchPolicy::Exact);
    let mut wire = Wire::with(2, KINDS[0], |settings: &mut Settings| {
        settings.realms[0].event_history = vec![rule("com.a"), rule("com.b")];
    });
    let (client, _) = wire.join();
    let mut request = 0;
    let mut publish = |wire: &mut Wire, topic: &str| {
        request += 1;
        let options = r#"{"retain":true,"acknowledge":true}"#;
        assert_eq!(wire.ask(client, &format!(r#"[16,{request},{options},"{topic}"]"#))[0], 17);
    };
    for topic in ["com.a", "com.b", "com.c"] {
        publish(&mut wire, topic);
    }
    wire.configure(|settings| {
        settings.realms[0].event_history = vec![rule("com.c"), rule("com.b")];
        settings.realms[0].retained_count_max = 1;
    });
    for topic in ["com.a", "com.b", "com.c"] {
        publish(&mut wire, topic);
    }
    assert_eq!(wire.router.realms()[0].retained.count(), 1);
    let (reader, _) = wire.join();
    let mut kept = |request: usize, topic: &str| {
        let subscription = wire.ask(reader, &format!(r#"[32,{request},{{}},"{topic}"]"#))[2].clone();
        let call = format!(r#"[48,{},{{}},"wamp.subscription.get_events",[{subscription}]]"#, request + 1);
        let result = wire.ask(reader, &call);
        assert_eq!(result[0], 50, "{result}");
        result.get(3).map_or(0, |events| events.as_array().unwrap().len())
    };
    assert_eq!(kept(1, "com.a"), 0, "it has no rule any more");
    assert_eq!(kept(3, "com.b"), 2, "its log went on");
    assert_eq!(kept(5, "com.c"), 1);
    wire.finish();
}

#[test]
fn realms_of_a_template_follow_it() {
    let (pattern, policy) = ("com.".to_owned(), MatchPolicy::Prefix);
    let template = |idle_ms| Template { pattern: pattern.clone(), policy, realms_max: 5, idle_ms };
    let mut wire = Wire::with(2, KINDS[0], |settings| {
        let made = Some(template(3_600_000));
        settings.realms.push(RealmSettings { template: made, ..RealmSettings::open("com.") });
    });
    let [first, second] = [(); 2].map(|()| wire.connect());
    wire.hello(first, "com.first");
    wire.hello(second, "com.second");
    wire.ask(second, r#"[6,{},"wamp.close.close_realm"]"#);
    wire.configure(|settings| settings.realms[2].call_timeout_ms = 77);
    for name in ["com.first", "com.second"] {
        assert_eq!(wire.router.realm(name).unwrap().settings.call_timeout_ms, 77);
    }
    wire.configure(|settings| settings.realms[2].template = Some(template(0)));
    wire.sleep(std::time::Duration::ZERO);
    assert!(wire.router.realm("com.second").is_none(), "it had been idle for longer than it may be now");
    wire.configure(|settings| settings.realms.truncate(2));
    assert_eq!(goodbye(&mut wire, first), "wamp.close.close_realm");
    assert_eq!(wire.router.realms().len(), 2);
    wire.finish();
}

const TICKET: &str = r#"[5,"swordfish",{}]"#;

/// Who joins with a ticket in this role.
fn with_ticket(authid: &str, role: &str) -> Principal {
    let role = Some(Arc::new(Role { trust_level: Some(7), ..Role::open(role) }));
    Principal { ticket: Some(ticket::Stored::read("swordfish").unwrap()), role, ..principal(authid) }
}

fn who_are_known(settings: &mut Settings, principals: Vec<Principal>) {
    set(settings, authentication::Settings { principals: Principals::new(principals), ..Default::default() });
}

#[test]
fn principals_stay_as_what_they_are_or_go() {
    let known = |authid, role| move || with_ticket(authid, role);
    let [alice, bob, carol] = [known("alice", "user"), known("bob", "user"), known("carol", "user")];
    let mut wire = Wire::with(2, KINDS[0], |settings| who_are_known(settings, vec![alice(), bob(), carol()]));
    let [stays, goes, changes, late] = ["alice", "bob", "carol", "bob"].map(|authid| {
        let client = wire.connect();
        let details = format!(r#""authmethods":["ticket"],"authid":"{authid}""#);
        challenged(&mut wire, client, &details, "ticket");
        client
    });
    for client in [stays, goes, changes] {
        assert_eq!(wire.ask(client, TICKET)[0], 2);
    }
    wire.configure(|settings| who_are_known(settings, vec![alice(), with_ticket("carol", "admin")]));
    assert_eq!(wire.receive(stays), Vec::<Value>::new());
    assert_eq!(wire.ask(stays, r#"[32,1,{},"com.topic"]"#)[0], 33);
    for client in [goes, changes] {
        assert_eq!(goodbye(&mut wire, client), "wamp.close.killed");
    }
    let abort = wire.ask(late, TICKET);
    assert_eq!(
        (&abort[0], &abort[2]),
        (&json!(3), &json!(FAILED)),
        "who was asked before is let in by what holds now"
    );

    wire.configure(|settings| settings.listeners[0].access.methods = Some(vec![Method::WampCra]));
    assert_eq!(goodbye(&mut wire, stays), "wamp.close.killed");
    let shut = wire.connect();
    assert_eq!(wire.ask(shut, &hello(r#""authmethods":["ticket"],"authid":"alice""#))[0], 3);
    wire.finish();
}

#[test]
fn a_listener_that_opens_a_template_opens_its_realms() {
    let mut wire = Wire::with(1, KINDS[0], |settings| {
        let (pattern, policy) = ("com.".to_owned(), MatchPolicy::Prefix);
        let template = Some(Template { pattern, policy, realms_max: 5, idle_ms: 0 });
        settings.realms.push(RealmSettings { template, ..RealmSettings::open("com.") });
        settings.listeners[0].access.realms = Some(vec!["com.".to_owned()]);
    });
    let client = wire.connect();
    wire.hello(client, "com.one");
    let stray = wire.connect();
    assert_eq!(wire.ask(stray, r#"[1,"realm1",{"roles":{"caller":{}}}]"#)[2], "wamp.error.no_such_realm");
    wire.configure(|settings| settings.listeners[0].access.realms = Some(vec!["realm1".to_owned()]));
    assert_eq!(goodbye(&mut wire, client), "wamp.close.killed");
    wire.finish();
}

#[test]
fn a_realm_that_is_as_it_was_forgets_nothing() {
    everywhere(|mut wire| {
        let (publisher, _) = wire.join();
        let publish = |wire: &mut Wire, number: u64| {
            wire.send(publisher, &format!(r#"[16,{number},{{}},"com.topic"]"#));
            wire.settle();
            wire.shards.iter().map(|shard| shard.counters().directory_lookups).sum::<u64>()
        };
        let before = publish(&mut wire, 1);
        // All is compiled anew, and one other realm is different.
        wire.configure(|settings| {
            let role = Role::clone(settings.realms[0].anonymous().unwrap());
            settings.realms[0].authentication = anonymous(role);
            settings.realms[1].call_timeout_ms += 1;
        });
        assert_eq!(publish(&mut wire, 2), before);
        wire.configure(|settings| settings.realms[0].call_timeout_ms += 1);
        assert!(publish(&mut wire, 3) > before);
        wire.finish();
    });
}

#[test]
fn a_listener_that_opens_less_ends_sessions_of_realms_that_are_as_they_were() {
    everywhere(|mut wire| {
        let (client, _) = wire.join();
        wire.configure(|settings| settings.listeners[0].access.methods = Some(vec![Method::Ticket]));
        assert_eq!(goodbye(&mut wire, client), "wamp.close.killed");
        wire.finish();
    });
}

fn ruled(rules: &[(&str, MatchPolicy, &[Action])]) -> Arc<authentication::Settings> {
    let rules =
        rules.iter().map(|&(uri, policy, allow)| Rule::new(uri, policy, allow.iter().copied().collect()));
    let permissions = Permissions::Rules(Arc::new(Rules::new(rules.collect()).unwrap()));
    anonymous(Role { permissions, ..Role::anonymous() })
}

#[test]
fn what_rules_allow_no_more_is_taken_away_and_nothing_else() {
    everywhere(|mut wire| {
        let (client, _) = wire.join_revocable();
        let (other, _) = wire.join();
        let mut ids = Vec::new();
        for (request, message) in [
            (1, r#"[32,1,{},"com.a"]"#),
            (2, r#"[32,2,{},"com.b"]"#),
            (3, r#"[32,3,{"match":"prefix"},"com."]"#),
            (4, r#"[64,4,{},"com.a"]"#),
            (5, r#"[64,5,{},"com.b"]"#),
        ] {
            let answer = wire.ask(client, message);
            assert_eq!(answer[1], request, "{answer}");
            ids.push(answer[2].clone());
        }
        wire.configure(|settings| {
            settings.realms[0].authentication = ruled(&[
                ("com.", MatchPolicy::Prefix, &Action::ALL),
                ("com.a", MatchPolicy::Exact, &[Action::Publish, Action::Call]),
            ]);
        });
        let reason = "not allowed any more";
        let told = wire.receive(client);
        let expected = [
            json!([35, 0, {"subscription": ids[0], "reason": reason}]),
            json!([35, 0, {"subscription": ids[2], "reason": reason}]),
            json!([67, 0, {"registration": ids[3], "reason": reason}]),
        ];
        assert_eq!(told, expected);
        for (request, topic) in [(1, "com.a"), (2, "com.b")] {
            wire.send(other, &format!(r#"[16,{request},{{}},"{topic}"]"#));
        }
        assert_eq!(wire.receive_one(client)[1], ids[1]);
        wire.send(other, r#"[48,3,{},"com.a"]"#);
        assert_eq!(wire.receive_one(other)[4], "wamp.error.no_such_procedure");
        wire.send(other, r#"[48,4,{},"com.b"]"#);
        assert_eq!(wire.receive_one(client)[2], ids[4]);
        wire.finish();
    });
}
