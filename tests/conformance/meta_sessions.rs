//! `wamp.session.*`: who is there, who comes and goes, and ending sessions (advanced profile, "Session Meta API").

use std::sync::Arc;
use std::time::Duration;

use fanwire::router::{Role, Settings, authentication};
use fanwire::wamp::Serializer;
use serde_json::{Value, json};

use crate::wire::{Client, KINDS, Kind, Wire, everywhere, head};

/// The error of a CALL.
fn error(request: u64, uri: &str) -> Value {
    json!([8, 48, request, {}, uri])
}

/// Calls with these requests are refused with these errors.
fn refused(wire: &mut Wire, client: Client, calls: &[(&str, &str)]) {
    for (call, uri) in calls {
        let message: Value = serde_json::from_str(call).unwrap();
        assert_eq!(head(&wire.ask(client, call), 5), error(message[1].as_u64().unwrap(), uri), "{call}");
    }
}

fn nobody_administers(settings: &mut Settings) {
    settings.realms[0].authentication = Arc::new(authentication::Settings::anonymous(Role::anonymous()));
}

fn authid(wire: &mut Wire, client: Client, request: u64, session: u64) -> String {
    let details = wire.ask(client, &format!(r#"[48,{request},{{}},"wamp.session.get",[{session}]]"#));
    details[3][0]["authid"].as_str().unwrap().to_owned()
}

#[test]
fn sessions_are_counted_listed_and_shown() {
    everywhere(|mut wire| {
        let (client, session) = wire.join();
        let (_, other) = wire.join();
        let (_, third) = wire.join();
        let elsewhere = wire.connect();
        wire.hello(elsewhere, "strict");
        assert_eq!(wire.ask(client, r#"[48,1,{},"wamp.session.count"]"#), json!([50, 1, {}, [3]]));
        let mut all = [session, other, third];
        all.sort_unstable();
        assert_eq!(wire.ask(client, r#"[48,2,{},"wamp.session.list"]"#), json!([50, 2, {}, [all]]));
        for (request, roles, count) in
            [(3, r#"["anonymous","x"]"#, 3), (5, r#"["x"]"#, 0), (7, "[]", 0), (9, "null", 3)]
        {
            let counted = wire.ask(client, &format!(r#"[48,{request},{{}},"wamp.session.count",[{roles}]]"#));
            assert_eq!(counted[3], json!([count]), "{roles}");
            let next = request + 1;
            let listed = wire.ask(client, &format!(r#"[48,{next},{{}},"wamp.session.list",[{roles}]]"#));
            assert_eq!(listed[3][0].as_array().unwrap().len(), count, "{roles}");
        }
        let shown = wire.ask(client, &format!(r#"[48,11,{{}},"wamp.session.get",[{other}]]"#));
        let authid = shown[3][0]["authid"].as_str().unwrap();
        let details = json!({
            "session": other, "authid": authid, "authrole": "anonymous", "authmethod": "anonymous",
            "authprovider": "static",
        });
        assert_eq!(shown, json!([50, 11, {}, [details]]));
        refused(
            &mut wire,
            client,
            &[
                (r#"[48,12,{},"wamp.session.get",[1]]"#, "wamp.error.no_such_session"),
                (r#"[48,13,{},"wamp.session.get"]"#, "wamp.error.invalid_argument"),
                (r#"[48,14,{},"wamp.session.get",["1"]]"#, "wamp.error.invalid_argument"),
                (r#"[48,15,{},"wamp.session.get",[0]]"#, "wamp.error.invalid_argument"),
                (r#"[48,16,{},"wamp.session.get",[-1]]"#, "wamp.error.invalid_argument"),
                (r#"[48,17,{},"wamp.session.count",["x"]]"#, "wamp.error.invalid_argument"),
                (r#"[48,18,{},"wamp.session.list",[[1]]]"#, "wamp.error.invalid_argument"),
                (r#"[48,19,{},"wamp.session.none"]"#, "wamp.error.no_such_procedure"),
            ],
        );
        wire.finish();
    });
}

#[test]
fn a_killed_session_gets_goodbye_and_is_gone_when_its_killer_is_told() {
    everywhere(|mut wire| {
        let (killer, own) = wire.join();
        let (victim, session) = wire.join();
        let (plain, plain_session) = wire.join();
        wire.ask(victim, r#"[32,1,{},"com.example"]"#);
        let kill = format!(
            r#"[48,1,{{}},"wamp.session.kill",[{session}],{{"reason":"com.example.enough","message":"Go."}}]"#
        );
        assert_eq!(wire.ask(killer, &kill), json!([50, 1, {}]));
        assert_eq!(wire.receive_one(victim), json!([6, {"message": "Go."}, "com.example.enough"]));
        let kill = format!(r#"[48,2,{{}},"wamp.session.kill",[{plain_session}]]"#);
        assert_eq!(wire.ask(killer, &kill), json!([50, 2, {}]));
        assert_eq!(wire.receive_one(plain), json!([6, {}, "wamp.close.killed"]));
        assert_eq!(wire.ask(killer, r#"[48,3,{},"wamp.session.list"]"#)[3], json!([[own]]));
        // All but the answer to our GOODBYE is ignored; then the connection ends.
        wire.send(victim, r#"[32,2,{},"com.example"]"#);
        assert_eq!(wire.receive(victim), Vec::<Value>::new());
        assert!(!wire.ended(victim));
        wire.send(victim, r#"[6,{},"wamp.close.goodbye_and_out"]"#);
        assert!(wire.ended(victim));
        wire.sleep(Duration::from_secs(6));
        assert!(wire.ended(plain), "who does not answer is closed");
        refused(
            &mut wire,
            killer,
            &[
                (&format!(r#"[48,4,{{}},"wamp.session.kill",[{session}]]"#), "wamp.error.no_such_session"),
                (&format!(r#"[48,5,{{}},"wamp.session.kill",[{own}]]"#), "wamp.error.no_such_session"),
                (r#"[48,6,{},"wamp.session.kill"]"#, "wamp.error.invalid_argument"),
            ],
        );
        wire.finish();
    });
}

#[test]
fn a_reason_is_a_uri_and_a_message_is_text() {
    everywhere(|mut wire| {
        let (killer, _) = wire.join();
        let (_, victim) = wire.join();
        for (at, (procedure, argument)) in [
            ("kill", format!("{victim}")),
            ("kill_by_authid", r#""x""#.to_owned()),
            ("kill_by_authrole", r#""anonymous""#.to_owned()),
            ("kill_all", String::new()),
        ]
        .into_iter()
        .enumerate()
        {
            for (place, (keywords, uri)) in [
                (r#"{"reason":""}"#, "wamp.error.invalid_uri"),
                (r#"{"reason":"a b"}"#, "wamp.error.invalid_uri"),
                (r#"{"reason":7}"#, "wamp.error.invalid_uri"),
                (r#"{"message":7}"#, "wamp.error.invalid_argument"),
            ]
            .into_iter()
            .enumerate()
            {
                let request = at * 4 + place + 1;
                let call =
                    format!(r#"[48,{request},{{}},"wamp.session.{procedure}",[{argument}],{keywords}]"#);
                refused(&mut wire, killer, &[(&call, uri)]);
            }
        }
        assert_eq!(wire.ask(killer, r#"[48,17,{},"wamp.session.count"]"#)[3], json!([2]));
        wire.finish();
    });
}

#[test]
fn sessions_are_killed_by_authid_by_authrole_and_all_but_never_their_killer() {
    everywhere(|mut wire| {
        let (killer, own) = wire.join();
        let (one, one_session) = wire.join();
        let others: Vec<_> = (0..4).map(|_| wire.join()).collect();
        let name = authid(&mut wire, killer, 1, one_session);
        let killed = wire.ask(killer, &format!(r#"[48,2,{{}},"wamp.session.kill_by_authid",["{name}"]]"#));
        assert_eq!(killed, json!([50, 2, {}, [[one_session]]]));
        assert_eq!(wire.receive_one(one), json!([6, {}, "wamp.close.killed"]));
        let name = authid(&mut wire, killer, 3, own);
        let killed = wire.ask(killer, &format!(r#"[48,4,{{}},"wamp.session.kill_by_authid",["{name}"]]"#));
        assert_eq!(killed, json!([50, 4, {}, [[]]]));
        let none = wire.ask(killer, r#"[48,5,{},"wamp.session.kill_by_authrole",["nobody"]]"#);
        assert_eq!(none, json!([50, 5, {}, [0]]));
        let count = wire.ask(killer, r#"[48,6,{},"wamp.session.kill_by_authrole",["anonymous"]]"#);
        assert_eq!(count, json!([50, 6, {}, [4]]));
        for (other, _) in others {
            assert_eq!(wire.receive_one(other)[2], "wamp.close.killed");
        }
        assert_eq!(wire.ask(killer, r#"[48,7,{},"wamp.session.kill_all"]"#), json!([50, 7, {}, [0]]));
        let more: Vec<_> = (0..3).map(|_| wire.join()).collect();
        let call = r#"[48,8,{},"wamp.session.kill_all",[],{"message":"All of you."}]"#;
        assert_eq!(wire.ask(killer, call), json!([50, 8, {}, [3]]));
        for (other, _) in more {
            assert_eq!(wire.receive_one(other), json!([6, {"message": "All of you."}, "wamp.close.killed"]));
        }
        assert_eq!(wire.ask(killer, r#"[48,9,{},"wamp.session.list"]"#)[3], json!([[own]]));
        wire.finish();
    });
}

#[test]
fn only_roles_that_administer_may_change_what_is_others() {
    for kind in KINDS {
        let mut wire = Wire::with(2, kind, nobody_administers);
        let (client, _) = wire.join();
        let (_, other) = wire.join();
        for (at, call) in [
            format!(r#""wamp.session.kill",[{other}]"#),
            r#""wamp.session.kill_by_authid",["x"]"#.to_owned(),
            r#""wamp.session.kill_by_authrole",["x"]"#.to_owned(),
            r#""wamp.session.kill_all""#.to_owned(),
            format!(r#""wamp.session.modify_details",[{other},{{}}]"#),
            format!(r#""wamp.subscription.remove_subscriber",[1,{other}]"#),
            format!(r#""wamp.registration.remove_callee",[1,{other}]"#),
        ]
        .iter()
        .enumerate()
        {
            let call = format!("[48,{},{{}},{call}]", at + 1);
            refused(&mut wire, client, &[(&call, "wamp.error.not_authorized")]);
        }
        assert_eq!(wire.ask(client, r#"[48,8,{},"wamp.session.count"]"#)[3], json!([2]));
        wire.finish();
    }
}

#[test]
fn joining_and_leaving_is_told_with_what_happens_between() {
    everywhere(|mut wire| {
        let (watcher, _) = wire.join();
        wire.ask(watcher, r#"[32,1,{"match":"prefix"},"wamp."]"#);
        let (client, session) = wire.join();
        wire.ask(client, r#"[32,1,{},"com.example"]"#);
        wire.ask(client, r#"[64,2,{},"com.example"]"#);
        let name = authid(&mut wire, client, 3, session);
        wire.reset(client);
        let events = wire.receive(watcher);
        let told: Vec<_> = events.iter().map(|event| event[3]["topic"].as_str().unwrap()).collect();
        let between = [
            "wamp.session.on_join",
            "wamp.subscription.on_create",
            "wamp.subscription.on_subscribe",
            "wamp.registration.on_create",
            "wamp.registration.on_register",
            "wamp.subscription.on_unsubscribe",
            "wamp.subscription.on_delete",
            "wamp.registration.on_unregister",
            "wamp.registration.on_delete",
            "wamp.session.on_leave",
        ];
        assert_eq!(told, between);
        let details = json!({
            "session": session, "authid": name, "authrole": "anonymous", "authmethod": "anonymous",
            "authprovider": "static",
        });
        assert_eq!(events[0][4], json!([details]));
        assert_eq!(events[9][4], json!([session, name, "anonymous"]));
        // GOODBYE and a kill are ways of leaving too.
        let (polite, polite_session) = wire.join();
        wire.send(polite, r#"[6,{},"wamp.close.close_realm"]"#);
        let (_, victim) = wire.join();
        wire.send(watcher, &format!(r#"[48,2,{{}},"wamp.session.kill",[{victim}]]"#));
        let mut messages = wire.receive(watcher);
        messages.retain(|message| message[0] == 36);
        let left: Vec<_> = messages.iter().map(|event| event[4][0].clone()).collect();
        assert_eq!((left.len(), &left[1], &left[3]), (4, &json!(polite_session), &json!(victim)));
        wire.finish();
    });
}

#[test]
fn details_are_changed_and_shown_but_not_who_a_session_is() {
    everywhere(|mut wire| {
        let (client, _) = wire.join();
        let (other, session) = wire.join();
        let call = |request: u64, details: &str| {
            format!(r#"[48,{request},{{}},"wamp.session.modify_details",[{session},{details}]]"#)
        };
        let shown = |wire: &mut Wire, request: u64| {
            let get = format!(r#"[48,{request},{{}},"wamp.session.get",[{session}]]"#);
            wire.ask(client, &get)[3][0].clone()
        };
        assert_eq!(wire.ask(client, &call(1, r#"{"pi":3.5,"at":{"home":[1,"x"]}}"#)), json!([50, 1, {}]));
        let details = shown(&mut wire, 2);
        assert_eq!((&details["pi"], &details["at"]), (&json!(3.5), &json!({"home": [1, "x"]})));
        assert_eq!(wire.ask(client, &call(3, r#"{"pi":null,"none":null}"#))[0], 50);
        let details = shown(&mut wire, 4);
        assert_eq!((details.get("pi"), &details["session"]), (None, &json!(session)));
        assert!(details.get("at").is_some());
        refused(
            &mut wire,
            client,
            &[
                (&call(5, r#"{"authid":"root"}"#), "wamp.error.invalid_argument"),
                (&call(6, r#"{"session":1}"#), "wamp.error.invalid_argument"),
                (&call(7, "7"), "wamp.error.invalid_argument"),
                (r#"[48,8,{},"wamp.session.modify_details",[1,{}]]"#, "wamp.error.no_such_session"),
                (&call(9, &format!(r#"{{"x":"{}"}}"#, "y".repeat(16 << 10))), "wamp.error.unavailable"),
            ],
        );
        wire.reset(other);
        wire.finish();
    });
}

#[test]
fn a_result_that_its_caller_cannot_take_is_an_error() {
    let mut wire = Wire::new(2, Kind::RawSocket(Serializer::Json));
    let small = wire.join_taking(0);
    for _ in 0..60 {
        wire.join();
    }
    let error = wire.ask(small, r#"[48,1,{},"wamp.session.list"]"#);
    assert_eq!(error[4], "wamp.error.payload_size_exceeded");
    let (killer, _) = wire.join();
    // GOODBYE comes without the message, which is too long for it.
    let message = "x".repeat(600);
    let call = format!(r#"[48,1,{{}},"wamp.session.kill_all",[],{{"message":"{message}"}}]"#);
    assert_eq!(wire.ask(killer, &call), json!([50, 1, {}, [61]]));
    assert_eq!(wire.receive_one(small), json!([6, {}, "wamp.close.killed"]));
    wire.finish();
}

#[test]
fn whoever_leaves_before_the_answer_leaves_nothing_behind() {
    let mut wire = Wire::new(4, Kind::RawSocket(Serializer::Json));
    let (killer, _) = wire.join();
    let (victims, _): (Vec<_>, Vec<_>) = (0..7).map(|_| wire.join()).unzip();
    wire.send_without_letters(killer, r#"[48,1,{},"wamp.session.kill_all"]"#);
    wire.send_without_letters(killer, r#"[49,1,{}]"#);
    let (shard, key) = wire.place(killer);
    wire.shards[shard].close(key, fanwire::error::CloseReason::Broken, wire.now);
    wire.settle();
    for victim in victims {
        assert_eq!(wire.receive_one(victim), json!([6, {}, "wamp.close.killed"]));
    }
    assert_eq!(wire.router.realms()[0].session_count(), 0);
}

#[test]
fn cancel_of_a_call_that_goes_round_is_harmless() {
    let mut wire = Wire::new(4, Kind::RawSocket(Serializer::Json));
    let (killer, _) = wire.join();
    let (victim, _) = wire.join();
    wire.send_without_letters(killer, r#"[48,1,{},"wamp.session.kill_all"]"#);
    wire.send_without_letters(killer, r#"[49,1,{"mode":"killnowait"}]"#);
    wire.settle();
    assert_eq!(wire.receive(killer), [json!([50, 1, {}, [1]])]);
    assert_eq!(wire.receive_one(victim)[0], 6);
    wire.finish();
}

#[test]
fn a_shutdown_waits_for_what_goes_round() {
    let mut wire = Wire::new(2, KINDS[0]);
    let (client, _) = wire.join();
    let (other, _) = wire.join();
    let id = wire.ask(other, r#"[32,1,{},"com.example"]"#)[2].as_u64().unwrap();
    let call = format!(r#"[48,1,{{}},"wamp.subscription.count_subscribers",[{id}]]"#);
    wire.send_without_letters(client, &call);
    let now = wire.now;
    for shard in &mut wire.shards {
        shard.drain(now);
    }
    wire.settle();
    let heard = wire.receive(client);
    assert_eq!((&heard[0], &heard[1][2]), (&json!([50, 1, {}, [1]]), &json!("wamp.close.system_shutdown")));
    wire.sleep(Duration::from_secs(20));
    wire.finish();
}

#[test]
fn rounds_count_among_the_open_calls() {
    let mut wire = Wire::with(2, KINDS[0], |settings| settings.limits.calls_open_per_session_max = 1);
    let (client, _) = wire.join();
    let (_, _) = wire.join();
    wire.send_without_letters(client, r#"[48,1,{},"wamp.session.kill_all"]"#);
    wire.send_without_letters(client, r#"[48,2,{},"wamp.session.kill_all"]"#);
    wire.settle();
    let answers = wire.receive(client);
    assert_eq!(head(&answers[0], 5), error(2, "wamp.error.unavailable"));
    assert_eq!(answers[1], json!([50, 1, {}, [1]]));
    assert_eq!(wire.ask(client, r#"[48,3,{},"wamp.session.kill_all"]"#), json!([50, 3, {}, [0]]));
    wire.finish();
}

/// What one session says of another must not keep others from looking at it.
#[test]
fn details_that_cannot_be_shown_to_everybody_are_refused() {
    let mut wire = Wire::new(1, Kind::RawSocket(Serializer::MessagePack));
    let (client, session) = wire.join();
    let json = wire.join_as(Kind::RawSocket(Serializer::Json));
    // [48, 1, {}, "wamp.session.modify_details", [session, {"x": {bin"a": 1}}]]
    let mut call = b"\x95\x30\x01\x80\xbbwamp.session.modify_details\x92\xcf".to_vec();
    call.extend_from_slice(&session.to_be_bytes());
    call.extend_from_slice(b"\x81\xa1x\x81\xc4\x01a\x01");
    wire.send_message_bytes(client, &call);
    assert_eq!(wire.receive_one(client)[4], "wamp.error.invalid_argument");
    let shown = wire.ask(json, &format!(r#"[48,1,{{}},"wamp.session.get",[{session}]]"#));
    assert_eq!(shown[0], 50, "{shown}");
    assert_eq!(shown[3][0].get("x"), None);
    wire.finish();
}

/// The reason is what the killer has said, even if the message is too long.
#[test]
fn a_message_too_long_for_its_receiver_does_not_change_the_reason() {
    let mut wire = Wire::new(1, Kind::RawSocket(Serializer::Json));
    let small = wire.join_taking(0);
    let (killer, _) = wire.join();
    let message = "x".repeat(600);
    let call = format!(
        r#"[48,1,{{}},"wamp.session.kill_all",[],{{"reason":"com.example.enough","message":"{message}"}}]"#
    );
    assert_eq!(wire.ask(killer, &call), json!([50, 1, {}, [1]]));
    assert_eq!(wire.receive_one(small), json!([6, {}, "com.example.enough"]));
    wire.finish();
}

/// Libraries in JavaScript write integers above 2^32 so.
#[test]
fn identifiers_may_be_written_as_floats() {
    everywhere(|mut wire| {
        let (asker, _) = wire.join();
        let (other, session) = wire.join();
        let id = wire.ask(other, r#"[32,1,{},"a"]"#)[2].clone();
        for (request, call) in (1..).zip([
            format!(r#""wamp.session.get",[{session}.0]"#),
            format!(r#""wamp.subscription.get",[{id}.0]"#),
            format!(r#""wamp.subscription.remove_subscriber",[{id},{session}.0]"#),
            format!(r#""wamp.session.kill",[{session}.0]"#),
        ]) {
            let answer = wire.ask(asker, &format!("[48,{request},{{}},{call}]"));
            assert_eq!(answer[0], 50, "{call}: {answer}");
        }
        wire.finish();
    });
}
