//! What authorizers are asked and when: about questions that follow from a message, and when settings have changed.

use std::sync::Arc;

use fanwire::auth::ticket;
use fanwire::router::authentication::{self, Extra, Principal, Principals};
use fanwire::router::rules::{Actions, Rule, Rules};
use fanwire::router::{Authorizer, HistoryRule, Permissions, RealmSettings, Role, Settings, VerdictCache};
use fanwire::transport::pages::CookieRule;
use fanwire::wamp::{MatchPolicy, Serializer};
use serde_json::{Value, json};

use crate::authorizers::{
    asked, authorizer, denied, error, everywhere, failed, join_authorizer, join_with_ticket, question, say,
};
use crate::wire::{Client, KINDS, Kind, Wire, client_frame, everywhere_with, head};

#[test]
fn the_history_of_a_pattern_is_asked_about_as_the_pattern() {
    let history = |settings: &mut Settings| {
        asked(VerdictCache::Session)(settings);
        settings.realms[0].event_history = vec![HistoryRule::new("com.user", MatchPolicy::Prefix)];
    };
    everywhere_with(history, |mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (owner, _) = wire.join();
        let (client, _) = wire.join();
        wire.send(owner, r#"[32,1,{"match":"prefix"},"com.user"]"#);
        say(&mut wire, authorizer, "true");
        let subscription = wire.receive_one(owner)[2].clone();
        wire.send(client, r#"[32,1,{"match":"prefix"},"com.user"]"#);
        say(&mut wire, authorizer, "false");
        assert_eq!(error(&mut wire, client), denied(32, 1));
        // What the caller writes into its CALL is about the CALL.
        let call = r#"[48,2,{"match":"exact"},"wamp.subscription.get_events""#;
        wire.send(client, &format!("{call},[{subscription}]]"));
        let about_call = say(&mut wire, authorizer, "true");
        assert_eq!(about_call, json!(["wamp.subscription.get_events", "call", {"match": "exact"}]));
        let about_pattern = say(&mut wire, authorizer, "false");
        assert_eq!(about_pattern, json!(["com.user", "subscribe", {"match": "prefix"}]));
        assert_eq!(error(&mut wire, client), denied(48, 2));
        wire.finish();
    });
}

#[test]
fn a_testament_is_asked_about_with_the_options_it_is_published_with() {
    everywhere(|mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (client, _) = wire.join();
        let keywords = r#"{"publish_options":{"retain":true},"scope":"detached"}"#;
        wire.send(client, &format!(r#"[48,1,{{}},"wamp.session.add_testament",["a",[],{{}}],{keywords}]"#));
        assert_eq!(say(&mut wire, authorizer, "true")[1], "call");
        assert_eq!(say(&mut wire, authorizer, "true"), json!(["a", "publish", {"retain": true}]));
        assert_eq!(wire.receive_one(client)[0], 50);
        wire.finish();
    });
}

/// Everybody's authorizer in `realm1` is another one from now on.
fn asks_another(settings: &mut Settings) {
    let other =
        Authorizer { procedure: "com.example.other".into(), ..authorizer(Some("auth"), VerdictCache::Role) };
    anonymous_has(settings, Permissions::Authorizer(Arc::new(other)));
}

/// It is [`asked`] again.
fn asks_the_first(settings: &mut Settings) {
    let first = authorizer(Some("auth"), VerdictCache::Session);
    anonymous_has(settings, Permissions::Authorizer(Arc::new(first)));
}

fn anonymous_has(settings: &mut Settings, permissions: Permissions) {
    let role = Arc::new(Role { permissions, ..Role::anonymous() });
    settings.realms[0].authentication = Arc::new(authentication::Settings::anonymous(role));
}

#[test]
fn the_word_of_an_authorizer_that_was_replaced_meanwhile_is_none() {
    for cache in [VerdictCache::Session, VerdictCache::Role] {
        everywhere_with(asked(cache), |mut wire| {
            let before = join_authorizer(&mut wire);
            let (client, _) = wire.join();
            wire.send(client, r#"[16,1,{"acknowledge":true},"a"]"#);
            let (request, _) = question(&mut wire, before);
            wire.configure(asks_another);
            let now = wire.connect();
            wire.hello(now, "auth");
            assert_eq!(wire.ask(now, r#"[64,1,{},"com.example.other"]"#)[0], 65);
            wire.send(before, &format!(r#"[70,{request},{{}},[{{"allow":true,"cache":true}}]]"#));
            wire.resume();
            assert!(wire.receive(client).is_empty(), "who decides now was not asked yet");
            say(&mut wire, now, "false");
            assert_eq!(error(&mut wire, client), denied(16, 1));
            wire.send(client, r#"[16,2,{"acknowledge":true},"a"]"#);
            say(&mut wire, now, "false");
            assert_eq!(error(&mut wire, client), denied(16, 2), "nothing was kept");
            wire.finish();
        });
    }
}

#[test]
fn what_was_answered_before_settings_changed_is_asked_again_before_it_counts() {
    let mut wire = Wire::with(1, KINDS[0], asked(VerdictCache::Session));
    let before = join_authorizer(&mut wire);
    let (client, _) = wire.join();
    wire.send(client, r#"[16,1,{"acknowledge":true},"a"]"#);
    let (request, _) = question(&mut wire, before);
    wire.send(before, &format!(r#"[70,{request},{{}},[true]]"#));
    // It was answered, and is not handled yet.
    wire.configure(|settings| {
        anonymous_has(settings, Permissions::Rules(Arc::new(Rules::new(vec![]).unwrap())))
    });
    wire.resume();
    assert_eq!(error(&mut wire, client), denied(16, 1));
    wire.finish();
}

const BROWSER: Kind = Kind::WebSocket(Serializer::Json);

/// The `transport` of the session that this one is asked about; it may.
fn told_of_transport(wire: &mut Wire, authorizer: Client) -> Value {
    let invocation = wire.receive_one(authorizer);
    wire.send(authorizer, &format!("[70,{},{{}},[true]]", invocation[1]));
    wire.resume();
    invocation[4][0]["transport"].clone()
}

/// The same of somebody who publishes.
fn told_of_publisher(wire: &mut Wire, (client, authorizer): (Client, Client), request: u64) -> Value {
    wire.send(client, &format!(r#"[16,{request},{{"acknowledge":true}},"a"]"#));
    let told = told_of_transport(wire, authorizer);
    assert_eq!(wire.receive_one(client)[0], 17);
    told
}

/// Every browser has a cookie.
fn gives_cookies(settings: &mut Settings) {
    let rule = CookieRule { name: "fw".to_owned(), attributes: "; Path=/".to_owned(), max_age_seconds: 3600 };
    let mut transport = (*settings.listeners[0].transport).clone();
    transport.pages.cookie = Some(rule);
    settings.listeners[0].transport = Arc::new(transport);
}

#[test]
fn what_http_has_said_is_told_for_as_long_as_an_authorizer_decides() {
    let mut wire = Wire::with(1, BROWSER, |settings| {
        asked(VerdictCache::Session)(settings);
        gives_cookies(settings);
    });
    let authorizer = join_authorizer(&mut wire);
    let (client, _) = wire.connect_browser("X-Token: secret\r\n");
    wire.hello(client, "realm1");
    for request in [1, 2] {
        let told = told_of_publisher(&mut wire, (client, authorizer), request);
        assert_eq!(told["http_headers_received"]["x-token"], "secret", "{told:#}");
        assert_eq!(told["http_path"], "/ws");
        let cookie = told["http_cbtid"].as_str().unwrap();
        assert!(told["http_headers_sent"]["Set-Cookie"].as_str().unwrap().contains(cookie));
    }
    // A session of the same connection that comes after is asked about as well.
    wire.send(client, r#"[6,{},"wamp.close.close_realm"]"#);
    assert_eq!(wire.receive_one(client)[0], 6);
    wire.hello(client, "realm1");
    let told = told_of_publisher(&mut wire, (client, authorizer), 1);
    assert_eq!(told["http_headers_received"]["x-token"], "secret");

    wire.configure(asks_another);
    wire.configure(asks_the_first);
    let told = told_of_publisher(&mut wire, (client, authorizer), 2);
    assert_eq!(told["http_headers_received"]["x-token"], "secret", "another authorizer, the same role");

    wire.configure(|settings| anonymous_has(settings, Permissions::Everything));
    let (shard, key) = wire.place(client);
    let forgotten = wire.shards[shard].transport_facts(key).unwrap().http.unwrap();
    assert_eq!((forgotten.bytes(), forgotten.headers()), (0, None), "nobody decides any more");
    wire.configure(asks_the_first);
    let told = told_of_publisher(&mut wire, (client, authorizer), 3);
    for name in ["http_headers_received", "http_headers_sent", "http_path"] {
        assert_eq!(
            told.get(name),
            Some(&Value::Null),
            "{name}: that is not known, and not that there was none"
        );
    }
    assert!(told["http_cbtid"].is_string());
    wire.finish();
}

#[test]
fn a_session_is_worth_more_than_what_http_has_said() {
    let mut wire = Wire::with(1, BROWSER, |settings| {
        asked(VerdictCache::Session)(settings);
        settings.limits.inbound_shard_bytes_max = 4_000;
    });
    let authorizer = join_authorizer(&mut wire);
    let (client, _) = wire.connect_browser(&format!("X-Long: {}\r\n", "x".repeat(3_000)));
    wire.hello(client, "realm1");
    let told = told_of_publisher(&mut wire, (client, authorizer), 1);
    assert_eq!(told["http_headers_received"]["x-long"].as_str().unwrap().len(), 3_000);
    let publish = format!(r#"[16,2,{{"acknowledge":true}},"a",["{}"]]"#, "y".repeat(1_900));
    let frame = client_frame(BROWSER, publish.as_bytes());
    let (begin, end) = frame.split_at(1_500);
    wire.send_bytes(client, begin);
    assert!(!wire.ended(client), "there is room for one of the two");
    wire.send_bytes(client, end);
    assert_eq!(told_of_transport(&mut wire, authorizer)["http_headers_received"], Value::Null);
    assert_eq!(wire.receive_one(client)[0], 17);
    wire.finish();
}

#[test]
fn who_registers_a_pattern_is_no_authorizer() {
    everywhere(|mut wire| {
        let client = wire.connect();
        wire.hello(client, "auth");
        assert_eq!(wire.ask(client, r#"[64,1,{"match":"prefix"},"com.example"]"#)[0], 65);
        assert_eq!(wire.ask(client, r#"[64,2,{"match":"wildcard"},"com..authorize"]"#)[0], 65);
        let (asked, _) = wire.join();
        wire.send(asked, r#"[16,1,{"acknowledge":true},"a"]"#);
        assert_eq!(error(&mut wire, asked), failed(16, 1));
        assert!(wire.receive(client).is_empty());
        let authorizer = join_authorizer(&mut wire);
        wire.send(asked, r#"[16,2,{"acknowledge":true},"a"]"#);
        say(&mut wire, authorizer, "true");
        assert_eq!(wire.receive_one(asked)[0], 17);
        wire.finish();
    });
}

#[test]
fn who_registers_a_pattern_is_not_asked_in_the_place_of_an_authorizer_that_goes() {
    everywhere(|mut wire| {
        let [authorizer, client] = [wire.connect(), wire.connect()];
        let hello = r#"[1,"auth",{"roles":{"callee":{"features":{"call_reroute":true}}}}]"#;
        assert_eq!(wire.ask(authorizer, hello)[0], 2);
        let registered = wire.ask(authorizer, r#"[64,1,{"invoke":"roundrobin"},"com.example.authorize"]"#);
        wire.hello(client, "auth");
        assert_eq!(wire.ask(client, r#"[64,1,{"match":"prefix"},"com.example"]"#)[0], 65);
        let (asked, _) = wire.join();
        wire.send(asked, r#"[16,1,{"acknowledge":true},"a"]"#);
        let (request, _) = question(&mut wire, authorizer);
        assert_eq!(wire.ask(authorizer, &format!("[66,2,{}]", registered[2]))[0], 67);
        wire.send(authorizer, &format!(r#"[8,68,{request},{{}},"wamp.error.unavailable"]"#));
        wire.resume();
        assert!(wire.receive(client).is_empty());
        assert_eq!(error(&mut wire, asked), failed(16, 1));
        wire.finish();
    });
}

const TESTAMENT: &str = r#"[48,1,{},"wamp.session.add_testament",["a",["gone"],{}]]"#;

#[test]
fn a_testament_discloses_what_was_granted_with_it() {
    everywhere(|mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (subscriber, _) = wire.join();
        wire.send(subscriber, r#"[32,1,{},"a"]"#);
        say(&mut wire, authorizer, "true");
        wire.receive(subscriber);
        let (client, session) = wire.join();
        wire.send(client, TESTAMENT);
        say(&mut wire, authorizer, "true");
        say(&mut wire, authorizer, r#"{"allow":true,"disclose":true}"#);
        wire.receive(client);
        wire.reset(client);
        assert_eq!(wire.receive_one(subscriber)[3]["publisher"], session);
        wire.finish();
    });
}

#[test]
fn a_testament_is_not_published_on_the_word_of_who_decides_no_more() {
    let rules = |settings: &mut Settings| {
        settings.realms.push(RealmSettings::open("auth"));
        let all = Rule::new("", MatchPolicy::Prefix, Actions::ALL);
        anonymous_has(settings, Permissions::Rules(Arc::new(Rules::new(vec![all]).unwrap())));
    };
    everywhere_with(rules, |mut wire| {
        let (subscriber, _) = wire.join();
        wire.ask(subscriber, r#"[32,1,{},"a"]"#);
        let (client, _) = wire.join();
        assert_eq!(wire.ask(client, TESTAMENT)[0], 50);
        wire.configure(asks_another);
        wire.reset(client);
        assert!(wire.receive(subscriber).is_empty(), "its authorizer was never asked");
        let denied: u64 = wire.shards.iter().map(|shard| shard.counters().authorizations_failed).sum();
        assert_eq!(denied, 1);
        // And no question stays open for somebody else.
        wire.send(subscriber, "[34,2,999]");
        assert_eq!(head(&wire.receive_one(subscriber), 5)[4], "wamp.error.no_such_subscription");
        wire.finish();
    });
}

#[test]
fn an_authorizer_is_told_what_else_is_known_of_somebody() {
    let known = |settings: &mut Settings| {
        asked(VerdictCache::Session)(settings);
        let anonymous = settings.realms[0].authentication.anonymous.as_ref().unwrap();
        let alice = Principal {
            authid: "alice".into(),
            role: Some(anonymous.role.clone()),
            extra: Extra::from_json(r#"{"tenant":7}"#),
            ticket: Some(ticket::Stored::read("swordfish").unwrap()),
            ..Principal::default()
        };
        let mut known = authentication::Settings::anonymous(anonymous.role.clone());
        known.principals = Principals::new([alice]);
        settings.realms[0].authentication = Arc::new(known);
    };
    everywhere_with(known, |mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let alice = join_with_ticket(&mut wire, "alice");
        wire.send(alice, r#"[16,1,{},"a"]"#);
        assert_eq!(wire.receive_one(authorizer)[4][0]["authextra"], json!({"tenant": 7}));
        let (nobody, _) = wire.join();
        wire.send(nobody, r#"[16,1,{},"a"]"#);
        assert_eq!(wire.receive_one(authorizer)[4][0]["authextra"], json!(null));
        wire.finish();
    });
}

#[test]
fn what_was_asked_before_a_shutdown_is_done_if_it_is_allowed_in_time() {
    everywhere(|mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (subscriber, _) = wire.join();
        wire.send(subscriber, r#"[32,1,{},"a"]"#);
        say(&mut wire, authorizer, "true");
        wire.receive(subscriber);
        let (client, _) = wire.join();
        wire.send(client, r#"[16,1,{"acknowledge":true},"a"]"#);
        let (request, _) = question(&mut wire, authorizer);
        for shard in 0..wire.shards.len() {
            wire.shards[shard].drain(wire.now);
        }
        wire.settle();
        wire.send(authorizer, &format!("[70,{request},{{}},[true]]"));
        wire.resume();
        for (peer, kind) in [(client, 17), (subscriber, 36)] {
            let codes: Vec<_> = wire.receive(peer).iter().map(|message| message[0].clone()).collect();
            assert_eq!(codes, [kind, 6]);
        }
        wire.finish();
    });
}

#[test]
fn an_authorizer_of_three_arguments_is_asked_without_the_options_from_then_on() {
    for text in [
        "authorize() takes 3 positional arguments but 4 were given",
        "f() takes exactly 4 arguments (5 given)",
    ] {
        everywhere(|mut wire| {
            let authorizer = join_authorizer(&mut wire);
            let (client, _) = wire.join();
            let publish = |request: u64| format!(r#"[16,{request},{{"acknowledge":true}},"a"]"#);
            let refuse = |wire: &mut Wire, request| {
                wire.send(
                    authorizer,
                    &format!(r#"[8,68,{request},{{}},"wamp.error.runtime_error",["{text}"]]"#),
                );
                wire.resume();
            };
            wire.send(client, &publish(1));
            let (request, whole) = question(&mut wire, authorizer);
            assert_eq!(whole, json!(["a", "publish", {"acknowledge": true}]));
            refuse(&mut wire, request);
            assert_eq!(say(&mut wire, authorizer, "true"), json!(["a", "publish"]));
            assert_eq!(wire.receive_one(client)[0], 17);
            wire.send(client, &publish(2));
            let (request, again) = question(&mut wire, authorizer);
            assert_eq!(again, json!(["a", "publish"]), "it is known by now");
            // It fails all the same: that is no answer, and it may be another one by now.
            refuse(&mut wire, request);
            assert_eq!(error(&mut wire, client), failed(16, 2));
            wire.send(client, &publish(3));
            assert_eq!(say(&mut wire, authorizer, "true").as_array().map(Vec::len), Some(3));
            assert_eq!(wire.receive_one(client)[0], 17);
            let told: Vec<_> = wire.shards.iter_mut().flat_map(|shard| shard.complaints()).collect();
            assert_eq!(
                told[0].cause.to_string(),
                "it takes three arguments, and is asked without the options"
            );
            wire.finish();
        });
    }
}
