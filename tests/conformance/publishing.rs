//! Who gets a publication and what it is told of the publisher (advanced profile, "Subscriber Black- and Whitelisting",
//! "Publisher Identification", "Publication Trust Levels").

use std::sync::Arc;

use fanwire::router::{Disclosure, Role, Settings, authentication};
use serde_json::{Value, json};

use crate::wire::{Client, KINDS, Kind, Wire, everywhere, everywhere_with, head};

fn subscribe(wire: &mut Wire, client: Client, topic: &str) -> Value {
    wire.ask(client, &format!(r#"[32,1,{{}},"{topic}"]"#))[2].clone()
}

/// Publishes with these options, and says which of the clients got an event.
fn who_gets(wire: &mut Wire, publisher: Client, request: u64, options: &str, of: &[Client]) -> Vec<usize> {
    wire.send(publisher, &format!(r#"[16,{request},{options},"a",[1]]"#));
    let got = |client: &Client| {
        let events = wire.receive(*client);
        assert!(events.iter().all(|event| event[0] == 36), "{events:?}");
        events.len() == 1
    };
    of.iter().map(got).enumerate().filter(|(_, got)| *got).map(|(place, _)| place).collect()
}

#[test]
fn every_list_that_is_given_must_hold() {
    everywhere(|mut wire| {
        let (publisher, own, _) = wire.join_named();
        let named: Vec<_> = (0..5).map(|_| wire.join_named()).collect();
        let mut clients: Vec<Client> = named.iter().map(|(client, ..)| *client).collect();
        clients.push(publisher);
        for client in &clients {
            subscribe(&mut wire, *client, "a");
        }
        let [(_, a, a_id), (_, b, b_id), (_, c, _), ..] = &named[..] else { panic!("five clients") };
        let cases: [(String, &[usize]); 13] = [
            ("{}".into(), &[0, 1, 2, 3, 4]),
            (format!(r#"{{"exclude":[{b},{a}]}}"#), &[2, 3, 4]),
            (format!(r#"{{"eligible":[{b},{a},1]}}"#), &[0, 1]),
            (format!(r#"{{"eligible":[{c},{b},{a}],"exclude":[{a}]}}"#), &[1, 2]),
            (r#"{"eligible":[]}"#.into(), &[]),
            (r#"{"exclude":[],"eligible":null}"#.into(), &[0, 1, 2, 3, 4]),
            (format!(r#"{{"eligible_authid":["{a_id}","{b_id}"],"exclude":[{a}]}}"#), &[1]),
            (format!(r#"{{"exclude_authid":["{a_id}","nobody"]}}"#), &[1, 2, 3, 4]),
            (r#"{"eligible_authrole":["admin","anonymous"]}"#.into(), &[0, 1, 2, 3, 4]),
            (r#"{"exclude_authrole":["anonymous"]}"#.into(), &[]),
            (format!(r#"{{"eligible":[{a}],"eligible_authid":["{b_id}"]}}"#), &[]),
            // `exclude_me` holds beside the lists, and the lists hold for the publisher.
            (format!(r#"{{"eligible":[{own},{c}]}}"#), &[2]),
            (format!(r#"{{"eligible":[{own},{c}],"exclude_me":false}}"#), &[2, 5]),
        ];
        for (request, (options, expected)) in (2..).zip(cases) {
            assert_eq!(who_gets(&mut wire, publisher, request, &options, &clients), expected, "{options}");
        }
        wire.finish();
    });
}

#[test]
fn what_is_no_list_of_its_kind_is_refused_by_its_key() {
    everywhere(|mut wire| {
        let (publisher, _) = wire.join();
        let (subscriber, _) = wire.join();
        subscribe(&mut wire, subscriber, "a");
        let wrong = [
            ("exclude", "7"),
            ("eligible", r#"["7"]"#),
            ("exclude_authid", "[7]"),
            ("eligible_authid", r#""joe""#),
            ("exclude_authrole", "{}"),
            ("eligible_authrole", "[null]"),
            ("disclose_me", "1"),
            ("retain", r#""yes""#),
        ];
        for (request, (key, value)) in (1..).zip(wrong) {
            let publish = format!(r#"[16,{request},{{"acknowledge":true,"{key}":{value}}},"a",[1]]"#);
            let error = wire.ask(publisher, &publish);
            assert_eq!(head(&error, 5), json!([8, 16, request, {}, "wamp.error.invalid_argument"]));
            assert_eq!(error[5][1], key);
        }
        assert!(wire.receive(subscriber).is_empty());
        wire.finish();
    });
}

#[test]
fn session_ids_may_be_floats_as_javascript_libraries_write_them() {
    use fanwire::wamp::Serializer;
    for kind in KINDS.into_iter().filter(|kind| kind.serializer() != Serializer::Json) {
        let mut wire = Wire::new(2, kind);
        let (publisher, _) = wire.join();
        let (one, session) = wire.join();
        let (two, _) = wire.join();
        subscribe(&mut wire, one, "a");
        subscribe(&mut wire, two, "a");
        wire.send(publisher, &format!(r#"[16,1,{{"eligible":[{session}.0]}},"a"]"#));
        assert_eq!((wire.receive(one).len(), wire.receive(two).len()), (1, 0), "{kind:?}");
        wire.finish();
    }
}

#[test]
fn the_publisher_is_disclosed_if_it_asks() {
    everywhere(|mut wire| {
        let (publisher, session, authid) = wire.join_named();
        let (subscriber, _) = wire.join();
        subscribe(&mut wire, subscriber, "a");
        wire.ask(subscriber, r#"[32,2,{"match":"prefix"},"a"]"#);
        wire.send(publisher, r#"[16,1,{"disclose_me":true,"_tag":7},"a",[1]]"#);
        let events = wire.receive(subscriber);
        let details = json!({
            "publisher": session, "publisher_authid": authid, "publisher_authrole": "anonymous", "_tag": 7
        });
        assert_eq!(events[0][3], details);
        let mut by_pattern = details;
        by_pattern["topic"] = json!("a");
        assert_eq!(events[1][3], by_pattern);
        wire.send(publisher, r#"[16,2,{"disclose_me":false},"a",[1]]"#);
        assert_eq!(wire.receive(subscriber)[0][3], json!({}));
        wire.finish();
    });
}

fn disclosing(disclosure: Disclosure) -> impl Fn(&mut Settings) {
    move |settings| settings.realms[0].disclosure = disclosure
}

#[test]
fn a_realm_may_always_disclose_publishers() {
    everywhere_with(disclosing(Disclosure::Always), |mut wire| {
        let (publisher, session, _) = wire.join_named();
        let (subscriber, _) = wire.join();
        subscribe(&mut wire, subscriber, "a");
        for request in [1, 2] {
            wire.send(publisher, &format!(r#"[16,{request},{{"disclose_me":false}},"a"]"#));
            assert_eq!(wire.receive_one(subscriber)[3]["publisher"], session);
        }
        wire.finish();
    });
}

#[test]
fn a_realm_may_never_disclose_publishers() {
    everywhere_with(disclosing(Disclosure::Never), |mut wire| {
        let (publisher, welcome) = wire.join_with(KINDS[0], r#"{"publisher":{}}"#);
        assert_eq!(welcome["roles"]["broker"]["features"]["publisher_identification"], Value::Null);
        let (subscriber, _) = wire.join();
        subscribe(&mut wire, subscriber, "a");
        let error = wire.ask(publisher, r#"[16,1,{"disclose_me":true,"acknowledge":true},"a"]"#);
        assert_eq!(head(&error, 5), json!([8, 16, 1, {}, "wamp.error.option_disallowed.disclose_me"]));
        wire.send(publisher, r#"[16,2,{"disclose_me":true,"retain":true},"a",[1]]"#);
        assert!(wire.receive(publisher).is_empty() && wire.receive(subscriber).is_empty());
        assert_eq!(wire.router.realms()[0].retained.count(), 0, "what is refused leaves no trace");
        wire.send(publisher, r#"[16,3,{"disclose_me":false},"a"]"#);
        assert_eq!(wire.receive_one(subscriber)[3], json!({}));
        wire.finish();
    });
}

#[test]
fn the_trust_level_of_the_publishers_role_is_told() {
    let trusted = |settings: &mut Settings| {
        let role = Role { trust_level: Some(2), ..Role::anonymous() };
        settings.realms[0].authentication = Arc::new(authentication::Settings::anonymous(role));
    };
    everywhere_with(trusted, |mut wire| {
        let (publisher, welcome) = wire.join_with(KINDS[4], r#"{"publisher":{}}"#);
        assert_eq!(welcome["roles"]["broker"]["features"]["publication_trustlevels"], true);
        let (subscriber, _) = wire.join();
        subscribe(&mut wire, subscriber, "a");
        wire.send(publisher, r#"[16,1,{},"a",[1]]"#);
        assert_eq!(wire.receive_one(subscriber)[3], json!({"trustlevel": 2}));
        wire.finish();
    });
}

#[test]
fn a_list_of_thousands_is_taken() {
    let mut wire = Wire::new(2, Kind::RawSocket(fanwire::wamp::Serializer::Json));
    let (publisher, _) = wire.join();
    let (subscriber, session) = wire.join();
    subscribe(&mut wire, subscriber, "a");
    let ids: Vec<String> = (1..20_000).chain([session]).map(|id| id.to_string()).collect();
    wire.send(publisher, &format!(r#"[16,1,{{"eligible":[{}]}},"a",["in"]]"#, ids.join(",")));
    wire.send(publisher, &format!(r#"[16,2,{{"exclude":[{}]}},"a",["out"]]"#, ids.join(",")));
    assert_eq!(wire.receive_one(subscriber)[4], json!(["in"]));
    wire.finish();
}
