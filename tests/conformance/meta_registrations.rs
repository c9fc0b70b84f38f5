//! `wamp.registration.*`: which registrations there are, who answers their calls, and taking them away (advanced
//! profile, "Registration Meta API", "Registration Revocation").

use std::time::Duration;

use serde_json::{Value, json};

use crate::wire::{Client, Wire, everywhere, head};

fn register(wire: &mut Wire, client: Client, request: u64, procedure: &str, policy: &str) -> u64 {
    let register = format!(r#"[64,{request},{{"match":"{policy}"}},"{procedure}"]"#);
    wire.ask(client, &register)[2].as_u64().unwrap()
}

/// The result of a procedure below `wamp.registration.`
fn result(wire: &mut Wire, client: Client, request: u64, call: &str) -> Value {
    let answer = wire.ask(client, &format!(r#"[48,{request},{{}},"wamp.registration.{call}]"#));
    assert_eq!(head(&answer, 3), json!([50, request, {}]), "{call}: {answer}");
    answer[3].clone()
}

fn error(wire: &mut Wire, client: Client, request: u64, call: &str, uri: &str) {
    let answer = wire.ask(client, &format!(r#"[48,{request},{{}},"wamp.registration.{call}]"#));
    assert_eq!(head(&answer, 5), json!([8, 48, request, {}, format!("wamp.error.{uri}")]), "{call}");
}

#[test]
fn registrations_are_listed_looked_up_and_matched() {
    everywhere(|mut wire| {
        let (callee, _) = wire.join();
        let (asker, _) = wire.join();
        assert_eq!(
            result(&mut wire, asker, 1, r#"list""#),
            json!([{"exact": [], "prefix": [], "wildcard": []}])
        );
        let exact = register(&mut wire, callee, 1, "com.example.add", "exact");
        let prefix = register(&mut wire, callee, 2, "com.exa", "prefix");
        let longer = register(&mut wire, callee, 3, "com.example", "prefix");
        let wildcard = register(&mut wire, callee, 4, "org..add", "wildcard");
        let mut prefixes = [prefix, longer];
        prefixes.sort_unstable();
        let lists = json!([{"exact": [exact], "prefix": prefixes, "wildcard": [wildcard]}]);
        assert_eq!(result(&mut wire, asker, 2, r#"list""#), lists);
        for (request, call, expected) in [
            (3, r#"lookup",["com.example.add"]"#, json!([exact])),
            (4, r#"lookup",["com.example",{"match":"prefix","invoke":"single"}]"#, json!([longer])),
            (5, r#"lookup",["org..add",{"match":"wildcard"}]"#, json!([wildcard])),
            (6, r#"lookup",["com.example"]"#, json!([null])),
            (7, r#"lookup",["wamp.session.count"]"#, json!([null])),
            (8, r#"match",["com.example.add"]"#, json!([exact])),
            (9, r#"match",["com.example.more"]"#, json!([longer])),
            (10, r#"match",["com.exams"]"#, json!([prefix])),
            (11, r#"match",["org.x.add"]"#, json!([wildcard])),
            (12, r#"match",["org.none"]"#, json!([null])),
        ] {
            assert_eq!(result(&mut wire, asker, request, call), expected, "{call}");
        }
        for (request, call) in [
            (13, r#"lookup""#),
            (14, r#"lookup",[7]"#),
            (15, r#"lookup",["a",7]"#),
            (16, r#"lookup",["a",{"match":7}]"#),
            (17, r#"match""#),
        ] {
            error(&mut wire, asker, request, call, "invalid_argument");
        }
        wire.finish();
    });
}

#[test]
fn a_registration_is_shown_with_when_it_was_created_and_its_callees() {
    everywhere(|mut wire| {
        wire.sleep(Duration::from_millis(1_500));
        let (callee, session) = wire.join();
        let (asker, _) = wire.join();
        let id = register(&mut wire, callee, 1, "com.example.add", "exact");
        let details = json!({
            "id": id, "created": "1970-01-01T00:00:01.500Z", "uri": "com.example.add", "match": "exact",
            "invoke": "single",
        });
        assert_eq!(result(&mut wire, asker, 1, &format!(r#"get",[{id}]"#)), json!([details]));
        assert_eq!(result(&mut wire, asker, 2, &format!(r#"list_callees",[{id}]"#)), json!([[session]]));
        assert_eq!(result(&mut wire, asker, 3, &format!(r#"count_callees",[{id}]"#)), json!([1]));
        let mut request = 4;
        for procedure in ["get", "list_callees", "count_callees"] {
            error(&mut wire, asker, request, &format!(r#"{procedure}",[4711]"#), "no_such_registration");
            error(&mut wire, asker, request + 1, &format!(r#"{procedure}""#), "invalid_argument");
            error(&mut wire, asker, request + 2, &format!(r#"{procedure}",[{{}}]"#), "invalid_argument");
            request += 3;
        }
        wire.finish();
    });
}

#[test]
fn a_removed_callee_is_told_if_it_understands_and_gets_no_more_calls() {
    everywhere(|mut wire| {
        let (remover, own) = wire.join();
        let (told, told_session) = wire.join_revocable();
        let (plain, plain_session) = wire.join();
        let id = register(&mut wire, told, 1, "com.example.told", "exact");
        let other = register(&mut wire, plain, 1, "com.example.plain", "exact");
        wire.send(remover, r#"[48,1,{},"com.example.told",[1]]"#);
        assert_eq!(wire.receive_one(told)[0], 68);
        let remove = |request: u64, id: u64, session: u64, more: &str| {
            format!(r#"[48,{request},{{}},"wamp.registration.remove_callee",[{id},{session}]{more}]"#)
        };
        let reason = r#",{"reason":"com.example.moved"}"#;
        assert_eq!(wire.ask(remover, &remove(2, id, told_session, reason)), json!([50, 2, {}]));
        let details = json!({"registration": id, "reason": "com.example.moved"});
        assert_eq!(wire.receive_one(told), json!([67, 0, details]));
        assert_eq!(wire.ask(remover, &remove(3, other, plain_session, "")), json!([50, 3, {}]));
        assert_eq!(wire.receive(plain), Vec::<Value>::new());
        for (request, procedure) in [(4, "com.example.told"), (5, "com.example.plain")] {
            let answer = wire.ask(remover, &format!(r#"[48,{request},{{}},"{procedure}"]"#));
            assert_eq!(answer[4], "wamp.error.no_such_procedure");
        }
        // What was under way is answered.
        wire.send(told, r#"[70,1,{},[2]]"#);
        assert_eq!(wire.receive_one(remover), json!([50, 1, {}, [2]]));
        assert_eq!(wire.ask(told, &format!("[66,2,{id}]"))[4], "wamp.error.no_such_registration");
        for (request, session, uri) in [
            (6, told_session, "no_such_registration"),
            (7, own, "no_such_registration"),
            (8, 4711, "no_such_session"),
        ] {
            let answer = wire.ask(remover, &remove(request, id, session, ""));
            assert_eq!(answer[4], format!("wamp.error.{uri}"));
        }
        error(
            &mut wire,
            remover,
            9,
            &format!(r#"remove_callee",[{id},{told_session}],{{"reason":7}}"#),
            "invalid_argument",
        );
        register(&mut wire, told, 3, "com.example.told", "exact");
        wire.finish();
    });
}

#[test]
fn one_of_several_callees_is_removed_and_the_others_stay() {
    everywhere(|mut wire| {
        let (remover, _) = wire.join();
        wire.ask(remover, r#"[32,1,{"match":"prefix"},"wamp.registration."]"#);
        let callees: Vec<_> = (0..3).map(|_| wire.join_revocable()).collect();
        let mut ids = callees.iter().map(|(callee, _)| {
            let registered = wire.ask(*callee, r#"[64,1,{"invoke":"roundrobin"},"com.example.add"]"#);
            registered[2].as_u64().unwrap()
        });
        let id = ids.next().unwrap();
        assert!(ids.all(|other| other == id));
        wire.receive(remover);
        let sessions: Vec<u64> = callees.iter().map(|(_, session)| *session).collect();
        let listed = result(&mut wire, remover, 2, &format!(r#"list_callees",[{id}]"#));
        assert_eq!(listed, json!([sessions]), "in the order of registering");
        let shown = result(&mut wire, remover, 3, &format!(r#"get",[{id}]"#));
        assert_eq!(shown[0]["invoke"], "roundrobin");
        for (request, place, more) in [(4, 1, None), (5, 0, None), (6, 2, Some("on_delete"))] {
            let (callee, session) = callees[place];
            let remove = r#""wamp.registration.remove_callee""#;
            wire.send(remover, &format!("[48,{request},{{}},{remove},[{id},{session}]]"));
            assert_eq!(wire.receive_one(callee), json!([67, 0, {"registration": id}]));
            let told: Vec<_> = wire.receive(remover);
            let events = told.iter().filter(|message| message[0] == 36);
            let verbs: Vec<_> = events.map(|event| event[3]["topic"].as_str().unwrap()).collect();
            let expected = ["on_unregister"].into_iter().chain(more);
            let expected: Vec<_> = expected.map(|verb| format!("wamp.registration.{verb}")).collect();
            assert_eq!(verbs, expected);
            assert_eq!(told.iter().filter(|message| message[0] == 50).count(), 1);
        }
        error(&mut wire, remover, 7, &format!(r#"count_callees",[{id}]"#), "no_such_registration");
        wire.finish();
    });
}
