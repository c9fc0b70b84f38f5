//! `wamp.subscription.*`: which subscriptions there are, who has them, and taking them away (advanced profile,
//! "Subscription Meta API", "Subscription Revocation").

use std::time::Duration;

use serde_json::{Value, json};

use crate::wire::{Client, KINDS, Wire, everywhere, head};

fn subscribe(wire: &mut Wire, client: Client, request: u64, topic: &str, policy: &str) -> u64 {
    let subscribe = format!(r#"[32,{request},{{"match":"{policy}"}},"{topic}"]"#);
    wire.ask(client, &subscribe)[2].as_u64().unwrap()
}

/// The result of a procedure below `wamp.subscription.`
fn result(wire: &mut Wire, client: Client, request: u64, call: &str) -> Value {
    let answer = wire.ask(client, &format!(r#"[48,{request},{{}},"wamp.subscription.{call}]"#));
    assert_eq!(head(&answer, 3), json!([50, request, {}]), "{call}: {answer}");
    answer[3].clone()
}

fn error(wire: &mut Wire, client: Client, request: u64, call: &str, uri: &str) {
    let answer = wire.ask(client, &format!(r#"[48,{request},{{}},"wamp.subscription.{call}]"#));
    assert_eq!(head(&answer, 5), json!([8, 48, request, {}, format!("wamp.error.{uri}")]), "{call}");
}

#[test]
fn subscriptions_are_listed_looked_up_and_matched() {
    everywhere(|mut wire| {
        let (one, _) = wire.join();
        let (two, _) = wire.join();
        assert_eq!(
            result(&mut wire, two, 1, r#"list""#),
            json!([{"exact": [], "prefix": [], "wildcard": []}])
        );
        let exact = subscribe(&mut wire, one, 1, "com.example.topic", "exact");
        let prefix = subscribe(&mut wire, one, 2, "com.exa", "prefix");
        let wildcard = subscribe(&mut wire, one, 3, "com..topic", "wildcard");
        let other = subscribe(&mut wire, two, 2, "com.other", "exact");
        let mut both = [exact, other];
        both.sort_unstable();
        let lists = json!([{"exact": both, "prefix": [prefix], "wildcard": [wildcard]}]);
        assert_eq!(result(&mut wire, two, 3, r#"list""#), lists);
        for (request, call, expected) in [
            (4, r#"lookup",["com.example.topic"]"#, json!([exact])),
            (5, r#"lookup",["com.example.topic",{"match":"exact","x":1}]"#, json!([exact])),
            (6, r#"lookup",["com.exa",{"match":"prefix"}]"#, json!([prefix])),
            (7, r#"lookup",["com..topic",{"match":"wildcard"}]"#, json!([wildcard])),
            (8, r#"lookup",["com.exa"]"#, json!([null])),
            (9, r#"lookup",["com.example.topic",{"match":"prefix"}]"#, json!([null])),
            (10, r#"match",["com.example.topic"]"#, json!([[exact, prefix, wildcard]])),
            (11, r#"match",["com.exams"]"#, json!([[prefix]])),
            (12, r#"match",["com.none"]"#, json!([null])),
        ] {
            assert_eq!(result(&mut wire, two, request, call), expected, "{call}");
        }
        for (request, call) in [
            (13, r#"lookup""#),
            (14, r#"lookup",[7]"#),
            (15, r#"lookup",["a",7]"#),
            (16, r#"lookup",["a",{"match":"glob"}]"#),
            (17, r#"match",[null]"#),
        ] {
            error(&mut wire, two, request, call, "invalid_argument");
        }
        wire.finish();
    });
}

#[test]
fn a_subscription_is_shown_with_when_it_was_created_and_who_has_it() {
    everywhere(|mut wire| {
        wire.sleep(Duration::from_millis(86_400_123));
        let joined: Vec<_> = (0..6).map(|_| wire.join()).collect();
        let (asker, _) = joined[0];
        let id = subscribe(&mut wire, joined[1].0, 1, "com.example", "prefix");
        for (client, _) in &joined[2..] {
            assert_eq!(subscribe(&mut wire, *client, 1, "com.example", "prefix"), id);
        }
        let details =
            json!({"id": id, "created": "1970-01-02T00:00:00.123Z", "uri": "com.example", "match": "prefix"});
        assert_eq!(result(&mut wire, asker, 1, &format!(r#"get",[{id}]"#)), json!([details]));
        let mut sessions: Vec<u64> = joined[1..].iter().map(|(_, session)| *session).collect();
        sessions.sort_unstable();
        let listed = result(&mut wire, asker, 2, &format!(r#"list_subscribers",[{id}]"#));
        assert_eq!(listed, json!([sessions]));
        let counted = result(&mut wire, asker, 3, &format!(r#"count_subscribers",[{id}]"#));
        assert_eq!(counted, json!([5]));
        wire.ask(joined[1].0, &format!("[34,2,{id}]"));
        let counted = result(&mut wire, asker, 4, &format!(r#"count_subscribers",[{id}]"#));
        assert_eq!(counted, json!([4]));
        let mut request = 5;
        for procedure in ["get", "list_subscribers", "count_subscribers"] {
            error(&mut wire, asker, request, &format!(r#"{procedure}",[4711]"#), "no_such_subscription");
            error(&mut wire, asker, request + 1, &format!(r#"{procedure}""#), "invalid_argument");
            error(&mut wire, asker, request + 2, &format!(r#"{procedure}",["1"]"#), "invalid_argument");
            request += 3;
        }
        wire.finish();
    });
}

#[test]
fn a_removed_subscriber_is_told_if_it_understands_and_gets_no_events() {
    everywhere(|mut wire| {
        let (remover, own) = wire.join();
        wire.ask(remover, r#"[32,1,{"match":"prefix"},"wamp.subscription."]"#);
        let (told, told_session) = wire.join_revocable();
        let (plain, plain_session) = wire.join();
        let (other, _) = wire.join();
        let id = subscribe(&mut wire, told, 1, "com.example", "exact");
        subscribe(&mut wire, plain, 1, "com.example", "exact");
        subscribe(&mut wire, other, 1, "com.example", "exact");
        wire.receive(remover);
        let remove = |request: u64, session: u64, more: &str| {
            format!(r#"[48,{request},{{}},"wamp.subscription.remove_subscriber",[{id},{session}]{more}]"#)
        };
        for (request, session, more) in
            [(2, told_session, r#",{"reason":"com.example.enough"}"#), (3, plain_session, "")]
        {
            wire.send(remover, &remove(request, session, more));
            let messages = wire.receive(remover);
            let event = messages.iter().find(|message| message[0] == 36).unwrap();
            assert_eq!(
                (&event[3]["topic"], &event[4]),
                (&json!("wamp.subscription.on_unsubscribe"), &json!([session, id]))
            );
            assert!(messages.contains(&json!([50, request, {}])) && messages.len() == 2, "{messages:?}");
        }
        let details = json!({"subscription": id, "reason": "com.example.enough"});
        assert_eq!(wire.receive_one(told), json!([35, 0, details]));
        assert_eq!(wire.receive(plain), Vec::<Value>::new());
        wire.send(remover, r#"[16,4,{},"com.example",[1]]"#);
        assert_eq!(wire.receive_one(other)[4], json!([1]));
        assert_eq!((wire.receive(told).len(), wire.receive(plain).len()), (0, 0));
        // UNSUBSCRIBE that crosses the revocation is an error and no violation, and one may subscribe again.
        assert_eq!(wire.ask(told, &format!("[34,2,{id}]"))[4], "wamp.error.no_such_subscription");
        assert_eq!(subscribe(&mut wire, told, 3, "com.example", "exact"), id);
        wire.receive(remover);
        wire.send(remover, &remove(5, told_session, ""));
        assert_eq!(wire.receive_one(told), json!([35, 0, {"subscription": id}]));
        wire.receive(remover);
        for (request, session, uri) in [
            (6, told_session, "no_such_subscription"),
            (7, own, "no_such_subscription"),
            (8, 4711, "no_such_session"),
        ] {
            let answer = wire.ask(remover, &remove(request, session, ""));
            assert_eq!(answer[4], format!("wamp.error.{uri}"));
        }
        error(&mut wire, remover, 9, &format!(r#"remove_subscriber",[{id}]"#), "invalid_argument");
        wire.finish();
    });
}

#[test]
fn who_leaves_while_a_letter_goes_round_is_not_counted_and_nothing_is_left() {
    let mut wire = Wire::new(4, KINDS[1]);
    let joined: Vec<_> = (0..8).map(|_| wire.join()).collect();
    let id = subscribe(&mut wire, joined[0].0, 1, "com.example", "exact");
    for (client, _) in &joined[1..] {
        subscribe(&mut wire, *client, 1, "com.example", "exact");
    }
    let asker = joined[0].0;
    wire.send_without_letters(asker, &format!(r#"[48,2,{{}},"wamp.subscription.count_subscribers",[{id}]]"#));
    wire.send_without_letters(asker, &format!(r#"[48,3,{{}},"wamp.subscription.list_subscribers",[{id}]]"#));
    for (client, _) in &joined[1..] {
        wire.send_without_letters(*client, &format!("[34,2,{id}]"));
    }
    wire.settle();
    let answers = wire.receive(asker);
    assert_eq!(answers, [json!([50, 2, {}, [1]]), json!([50, 3, {}, [[joined[0].1]]])]);
    wire.finish();
}
