//! Dynamic authenticators: a procedure says who somebody is (Crossbar.io's arguments and results), method by method.

use std::sync::Arc;
use std::time::Duration;

use fanwire::auth::cryptosign::SigningKey;
use fanwire::auth::scram::{Dialect, Exchange};
use fanwire::auth::{Method, scram, wampcra};
use fanwire::error::JoinFailure::NotAllowed;
use fanwire::router::authentication::{Anonymous, Dynamic, Principal, Principals, Settings};
use fanwire::router::{RealmSettings, Role, Settings as RouterSettings, Shard, Template};
use fanwire::wamp::MatchPolicy;
use serde_json::{Value, json};

use crate::authentication::{FAILED, PBKDF2};
use crate::wire::{Client, KINDS, Wire, everywhere_with, head};

const MS: Duration = Duration::from_millis(1);

/// In `realm1` the realm `auth` is asked about everybody; `user` and `guest` are roles of it, and `user` of `other`.
fn asked(settings: &mut RouterSettings) {
    let role = |name: &str| Arc::new(Role::open(name));
    let dynamic = Some(Arc::new(Dynamic {
        procedure: "com.example.authenticate".to_owned(),
        realm: Some("auth".to_owned()),
        timeout_ms: 2_000,
    }));
    let anonymous = Some(Anonymous { role: role("unused"), authid: None, dynamic: dynamic.clone() });
    let mut authentication = Settings { anonymous, ..Settings::default() };
    for method in [Method::Ticket, Method::WampCra, Method::Scram, Method::Cryptosign, Method::Tls] {
        let settings = authentication.method_mut(method);
        settings.dynamic = dynamic.clone();
        settings.default_role = Some(role("guest"));
    }
    settings.realms[0].authentication = Arc::new(authentication);
    settings.realms[0].roles = vec![role("user"), role("guest")];
    settings.realms.push(RealmSettings::open("auth"));
    settings.realms.push(RealmSettings { roles: vec![role("user")], ..RealmSettings::open("other") });
}

fn everywhere(test: impl Fn(Wire)) {
    everywhere_with(asked, test);
}

/// The authenticator: it answers by hand.
fn join_authenticator(wire: &mut Wire) -> Client {
    let client = wire.connect();
    wire.hello(client, "auth");
    assert_eq!(wire.ask(client, r#"[64,1,{},"com.example.authenticate"]"#)[0], 65);
    client
}

/// A client that has said HELLO, and was not answered yet.
fn hello(wire: &mut Wire, details: &str) -> Client {
    let client = wire.connect();
    wire.send(client, &format!(r#"[1,"realm1",{{"roles":{{"caller":{{}}}},{details}}}]"#));
    client
}

/// The authenticator says this to the one question that has come; its arguments.
fn say(wire: &mut Wire, authenticator: Client, said: &str) -> Value {
    let invocation = wire.receive_one(authenticator);
    assert_eq!((&invocation[0], &invocation[3]), (&json!(68), &json!({})), "{invocation}");
    wire.send(authenticator, &format!("[70,{},{{}},[{said}]]", invocation[1]));
    wire.resume();
    invocation[4].clone()
}

fn authenticate(signature: &str) -> String {
    json!([5, signature, {}]).to_string()
}

/// What WELCOME says of who it is.
fn welcomed(wire: &mut Wire, client: Client) -> Value {
    let answer = wire.receive_one(client);
    assert_eq!(answer[0], 2, "{answer}");
    let said = |key: &str| answer[2][key].clone();
    json!([said("realm"), said("authid"), said("authrole"), said("authmethod"), said("authprovider")])
}

/// ABORT, and the end.
fn aborted(wire: &mut Wire, client: Client) -> (Value, Value) {
    let answer = wire.receive_one(client);
    assert_eq!(answer[0], 3, "{answer}");
    assert!(wire.ended(client));
    (answer[2].clone(), answer[1]["message"].clone())
}

fn failures(wire: &Wire) -> Vec<String> {
    let counters = wire.shards.iter().flat_map(|shard| shard.counters().authentications_failed);
    let mut failures: Vec<_> =
        counters.flat_map(|(failure, count)| vec![failure.to_string(); count as usize]).collect();
    failures.sort();
    failures
}

#[test]
fn an_anonymous_client_gets_the_role_that_is_said() {
    everywhere(|mut wire| {
        let authenticator = join_authenticator(&mut wire);
        let client = hello(&mut wire, r#""authextra":{"hint":[1]}"#);
        assert!(wire.receive(client).is_empty(), "it is asked about");
        let asked = say(&mut wire, authenticator, r#""user""#);
        let authid = asked[1].as_str().expect("it has a name already").to_owned();
        assert_eq!(welcomed(&mut wire, client), json!(["realm1", authid, "user", "anonymous", "dynamic"]));
        assert_eq!(asked[0], "realm1");
        let details = &asked[2];
        assert_eq!(
            (&details["authmethod"], &details["authextra"]),
            (&json!("anonymous"), &json!({"hint": [1]}))
        );
        assert_eq!(details["transport"]["peer"], "unix");
        assert_eq!(wire.ask(client, r#"[48,1,{},"wamp.session.count"]"#)[3], json!([1]));
        wire.finish();
    });
}

#[test]
fn the_session_is_the_one_that_was_asked_about() {
    let mut wire = Wire::with(2, KINDS[0], asked);
    let authenticator = join_authenticator(&mut wire);
    let client = hello(&mut wire, r#""authid":"alice""#);
    let asked = say(&mut wire, authenticator, r#"{"role":"user","authid":"bob","extra":{"x":[1]}}"#);
    assert!(asked[1].is_string() && asked[1] != "alice", "{asked}");
    let welcome = wire.receive_one(client);
    assert_eq!((&welcome[1], &welcome[2]["authid"]), (&asked[2]["session"], &json!("bob")));
    assert_eq!(welcome[2]["authextra"], json!({"x": [1]}));
    wire.finish();
}

#[test]
fn who_proves_nothing_does_not_pick_its_name() {
    everywhere(|mut wire| {
        let authenticator = join_authenticator(&mut wire);
        let client = hello(&mut wire, r#""authid":"alice""#);
        let asked = say(&mut wire, authenticator, r#""user""#);
        let drawn = welcomed(&mut wire, client)[1].clone();
        assert_eq!((&asked[1], &asked[2]["authid"]), (&drawn, &drawn));
        assert_ne!(drawn, "alice");
        wire.finish();
    });
    let named = |settings: &mut RouterSettings| {
        asked(settings);
        let mut authentication = (*settings.realms[0].authentication).clone();
        authentication.anonymous.as_mut().unwrap().authid = Some("visitor".into());
        settings.realms[0].authentication = Arc::new(authentication);
    };
    everywhere_with(named, |mut wire| {
        let authenticator = join_authenticator(&mut wire);
        let client = hello(&mut wire, r#""authid":"alice""#);
        assert_eq!(say(&mut wire, authenticator, r#""user""#)[1], "visitor");
        assert_eq!(welcomed(&mut wire, client)[1], "visitor");
        wire.finish();
    });
}

#[test]
fn a_ticket_is_judged_by_the_procedure() {
    everywhere(|mut wire| {
        let authenticator = join_authenticator(&mut wire);
        let client = hello(&mut wire, r#""authmethods":["ticket"],"authid":"alice","authrole":"user""#);
        assert_eq!(wire.receive_one(client), json!([4, "ticket", {}]), "it is asked about when there is one");
        wire.send(client, &authenticate("swordfish"));
        let asked = say(&mut wire, authenticator, r#"{"extra":{"a":1}}"#);
        let details = &asked[2];
        assert_eq!(
            (&details["ticket"], &details["authid"], &details["authrole"]),
            (&json!("swordfish"), &json!("alice"), &json!("user"))
        );
        assert_eq!(welcomed(&mut wire, client), json!(["realm1", "alice", "guest", "ticket", "dynamic"]));
        wire.finish();
    });
}

#[test]
fn who_is_known_by_another_method_is_asked_about_too() {
    let known = |settings: &mut RouterSettings| {
        asked(settings);
        let alice = Principal {
            authid: "alice".into(),
            role: Some(Arc::new(Role::open("guest"))),
            keys: vec![SigningKey::from_seed(&[5; 32]).public()],
            ..Principal::default()
        };
        let authentication = (*settings.realms[0].authentication).clone();
        let principals = Principals::new([alice]);
        settings.realms[0].authentication = Arc::new(Settings { principals, ..authentication });
    };
    everywhere_with(known, |mut wire| {
        let authenticator = join_authenticator(&mut wire);
        for authid in ["alice", "bob"] {
            let client = hello(&mut wire, &format!(r#""authmethods":["ticket"],"authid":"{authid}""#));
            assert_eq!(wire.receive_one(client), json!([4, "ticket", {}]));
            wire.send(client, &authenticate("swordfish"));
            say(&mut wire, authenticator, r#""user""#);
            assert_eq!(welcomed(&mut wire, client), json!(["realm1", authid, "user", "ticket", "dynamic"]));
        }
        let client = hello(&mut wire, r#""authmethods":["wampcra"],"authid":"alice""#);
        assert_eq!(say(&mut wire, authenticator, r#"{"role":"user","secret":"s"}"#)[1], "alice");
        assert_eq!(head(&wire.receive_one(client), 2), json!([4, "wampcra"]));
        // By the method that is known here, nobody is asked.
        let public = SigningKey::from_seed(&[5; 32]).public();
        let details =
            format!(r#""authmethods":["cryptosign"],"authid":"alice","authextra":{{"pubkey":"{public}"}}"#);
        let client = hello(&mut wire, &details);
        assert_eq!(head(&wire.receive_one(client), 2), json!([4, "cryptosign"]));
        assert!(wire.receive(authenticator).is_empty());
        wire.finish();
    });
}

#[test]
fn the_name_may_be_in_the_ticket() {
    everywhere(|mut wire| {
        let authenticator = join_authenticator(&mut wire);
        let ticket = r#""authmethods":["ticket"]"#;
        for (said, name) in [(r#"{"role":"user","authid":"alice"}"#, Some("alice")), (r#""user""#, None)] {
            let client = hello(&mut wire, ticket);
            assert_eq!(wire.receive_one(client), json!([4, "ticket", {}]));
            wire.send(client, &authenticate("a token of alice"));
            let asked = say(&mut wire, authenticator, said);
            assert_eq!((&asked[1], &asked[2]["ticket"]), (&Value::Null, &json!("a token of alice")));
            match name {
                Some(name) => assert_eq!(welcomed(&mut wire, client)[1], name),
                None => assert_eq!(aborted(&mut wire, client).0, FAILED, "it does not say who it is"),
            }
        }
        let client = hello(&mut wire, r#""authmethods":["wampcra"]"#);
        let asked = say(&mut wire, authenticator, r#"{"role":"user","authid":"alice","secret":"secret"}"#);
        assert_eq!(asked[1], Value::Null);
        let challenge = wire.receive_one(client)[2]["challenge"].as_str().unwrap().to_owned();
        wire.send(client, &authenticate(&wampcra::sign(&"secret".into(), &challenge)));
        assert_eq!(welcomed(&mut wire, client)[1], "alice");
        wire.finish();
    });
}

#[test]
fn a_secret_of_wampcra_is_said() {
    everywhere(|mut wire| {
        let authenticator = join_authenticator(&mut wire);
        for (secret, welcome) in [("secret", true), ("wrong", false)] {
            let client = hello(&mut wire, r#""authmethods":["wampcra"],"authid":"alice""#);
            let asked = say(&mut wire, authenticator, r#"{"role":"user","secret":"secret"}"#);
            let challenge = wire.receive_one(client);
            let challenge = challenge[2]["challenge"].as_str().unwrap().to_owned();
            let said: Value = serde_json::from_str(&challenge).unwrap();
            assert_eq!(
                (&said["authprovider"], &said["authrole"], &said["session"]),
                (&json!("dynamic"), &json!("user"), &asked[2]["session"])
            );
            wire.send(client, &authenticate(&wampcra::sign(&secret.into(), &challenge)));
            match welcome {
                true => {
                    let expected = json!(["realm1", "alice", "user", "wampcra", "dynamic"]);
                    assert_eq!(welcomed(&mut wire, client), expected);
                }
                false => assert_eq!(aborted(&mut wire, client).0, FAILED),
            }
        }
        wire.finish();
    });
}

#[test]
fn or_one_with_salt() {
    let mut wire = Wire::with(1, KINDS[0], asked);
    let authenticator = join_authenticator(&mut wire);
    let salting = wampcra::Salting { salt: "salt".to_owned(), iterations: 100, keylen: 16 };
    let derived = salting.derive(&"password".into()).unwrap();
    let client = hello(&mut wire, r#""authmethods":["wampcra"],"authid":"alice""#);
    let secret = derived.text().unwrap();
    let said = format!(r#"{{"role":"user","secret":"{secret}","salt":"salt","iterations":100,"keylen":16}}"#);
    say(&mut wire, authenticator, &said);
    let challenge = wire.receive_one(client);
    let extra = &challenge[2];
    assert_eq!(
        (&extra["salt"], &extra["iterations"], &extra["keylen"]),
        (&json!("salt"), &json!(100), &json!(16))
    );
    wire.send(client, &authenticate(&wampcra::sign(&derived, extra["challenge"].as_str().unwrap())));
    assert_eq!(welcomed(&mut wire, client)[1], "alice");
    wire.finish();
}

#[test]
fn the_keys_of_scram_are_said() {
    everywhere(|mut wire| {
        let authenticator = join_authenticator(&mut wire);
        let stored = scram::Stored::new(&"pencil".into(), [7; 16], PBKDF2).unwrap();
        let nonce = "cm9uZG9tIG5vbmNlIG9mIG91cnM=";
        let details =
            format!(r#""authmethods":["wamp-scram"],"authid":"user","authextra":{{"nonce":"{nonce}"}}"#);
        let client = hello(&mut wire, &details);
        let salt = "07".repeat(16);
        let said = format!(
            r#"{{"role":"user","kdf":"pbkdf2","iterations":4096,"salt":"{salt}","stored-key":"{}","server-key":"{}"}}"#,
            stored.stored_key(),
            &*stored.server_key()
        );
        say(&mut wire, authenticator, &said);
        let challenge = wire.receive_one(client);
        let text = |key: &str| challenge[2][key].as_str().unwrap().to_owned();
        let (both, salt) = (text("nonce"), text("salt"));
        let exchange = Exchange {
            dialect: Dialect::Specified,
            authid: "user",
            client_nonce: nonce,
            nonce: &both,
            salt: &salt,
            cost: PBKDF2,
            binding: None,
        };
        let answer = exchange.answer(&"pencil".into()).unwrap();
        wire.send(
            client,
            &json!([5, answer.proof, {"nonce": both, "channel_binding": null, "cbind_data": null}])
                .to_string(),
        );
        assert_eq!(welcomed(&mut wire, client), json!(["realm1", "user", "user", "wamp-scram", "dynamic"]));
        wire.finish();
    });
}

#[test]
fn the_key_of_cryptosign_is_said() {
    everywhere(|mut wire| {
        let authenticator = join_authenticator(&mut wire);
        let key = SigningKey::from_seed(&[5; 32]);
        let public = key.public().to_string();
        let other = SigningKey::from_seed(&[6; 32]).public().to_string();
        for (said, welcome) in [(&public, true), (&other, false)] {
            let details = format!(r#""authmethods":["cryptosign"],"authextra":{{"pubkey":"{public}"}}"#);
            let client = hello(&mut wire, &details);
            let said = format!(r#"{{"role":"user","authid":"alice","pubkey":"{said}"}}"#);
            let asked = say(&mut wire, authenticator, &said);
            assert_eq!((&asked[1], &asked[2]["authextra"]["pubkey"]), (&Value::Null, &json!(public)));
            let challenge = wire.receive_one(client);
            let challenge = challenge[2]["challenge"].as_str().unwrap();
            let challenge = fanwire::auth::cryptosign::Challenge::read(challenge).unwrap();
            wire.send(client, &authenticate(&challenge.answer(&key, None)));
            match welcome {
                true => {
                    let expected = json!(["realm1", "alice", "user", "cryptosign", "dynamic"]);
                    assert_eq!(welcomed(&mut wire, client), expected);
                }
                false => assert_eq!(aborted(&mut wire, client).0, FAILED),
            }
        }
        wire.finish();
    });
}

#[test]
fn the_procedure_may_send_it_to_another_realm() {
    everywhere(|mut wire| {
        let authenticator = join_authenticator(&mut wire);
        let client = hello(&mut wire, r#""authid":"alice""#);
        say(&mut wire, authenticator, r#"{"role":"user","realm":"other","authid":"alice"}"#);
        assert_eq!(welcomed(&mut wire, client), json!(["other", "alice", "user", "anonymous", "dynamic"]));
        assert_eq!(wire.router.realm("other").unwrap().session_count(), 1);
        let client = hello(&mut wire, r#""authid":"alice""#);
        say(&mut wire, authenticator, r#"{"role":"guest","realm":"other"}"#);
        assert_eq!(aborted(&mut wire, client).0, FAILED, "there is no such role");
        let client = hello(&mut wire, r#""authid":"alice""#);
        say(&mut wire, authenticator, r#"{"role":"user","realm":"nowhere"}"#);
        assert_eq!(aborted(&mut wire, client).0, FAILED);
        wire.finish();
    });
}

/// The procedure sends everybody to realms that are made for them.
fn sends_elsewhere(settings: &mut RouterSettings) {
    asked(settings);
    let (pattern, policy) = ("made".to_owned(), MatchPolicy::Prefix);
    let template = Some(Template { pattern, policy, realms_max: 2, idle_ms: 0 });
    settings.realms.last_mut().unwrap().template = template;
}

#[test]
fn who_was_sent_to_another_realm_stays_as_long_as_the_procedure_is_asked_where_it_came_in() {
    everywhere_with(sends_elsewhere, |mut wire| {
        let authenticator = join_authenticator(&mut wire);
        let client = hello(&mut wire, r#""authid":"alice""#);
        say(&mut wire, authenticator, r#"{"role":"user","realm":"made.one"}"#);
        assert_eq!(welcomed(&mut wire, client)[0], "made.one", "the first one in it");
        wire.configure(|_| {});
        wire.configure(|settings| settings.realms[0].call_timeout_ms += 1);
        assert!(wire.receive(client).is_empty());
        wire.configure(|settings| {
            settings.realms[0].authentication = Arc::new(Settings::anonymous(Role::anonymous()));
        });
        assert_eq!(wire.receive_one(client)[2], "wamp.close.killed");
        wire.receive(authenticator);
        wire.finish_after(Duration::from_secs(1));
    });
}

#[test]
fn who_may_not_join_any_more_when_the_answer_comes_is_counted_and_told() {
    everywhere_with(sends_elsewhere, |mut wire| {
        let authenticator = join_authenticator(&mut wire);
        let client = hello(&mut wire, r#""authmethods":["wampcra"],"authid":"alice""#);
        say(&mut wire, authenticator, r#"{"role":"user","realm":"made.one","secret":"secret"}"#);
        let challenge = wire.receive_one(client);
        wire.configure(|settings| {
            settings.realms[0].authentication = Arc::new(Settings::anonymous(Role::anonymous()));
        });
        let challenge = challenge[2]["challenge"].as_str().unwrap();
        wire.send(client, &authenticate(&wampcra::sign(&"secret".into(), challenge)));
        assert_eq!(aborted(&mut wire, client).0, FAILED);
        let count = |shard: &Shard| shard.counters().authentications_failed.get(&NotAllowed).copied();
        assert_eq!(wire.shards.iter().filter_map(count).sum::<u64>(), 1);
        let mut failed = Vec::new();
        wire.shards.iter_mut().for_each(|shard| shard.failed(&mut failed));
        assert_eq!((failed.len(), failed[0].failure), (1, NotAllowed));
        wire.receive(authenticator);
        wire.finish_after(Duration::from_secs(1));
    });
}

#[test]
fn what_it_refuses_with_is_told() {
    everywhere(|mut wire| {
        let authenticator = join_authenticator(&mut wire);
        for (error, told) in [
            (
                r#""com.example.no_such_user",["Who are you?"]"#,
                json!(["com.example.no_such_user", "Who are you?"]),
            ),
            (r#""com.example.no""#, json!(["com.example.no", "Authentication failed."])),
        ] {
            let client = hello(&mut wire, r#""authid":"alice""#);
            let request = wire.receive_one(authenticator)[1].clone();
            wire.send(authenticator, &format!("[8,68,{request},{{}},{error}]"));
            wire.resume();
            let (reason, message) = aborted(&mut wire, client);
            assert_eq!(json!([reason, message]), told);
        }
        assert_eq!(failures(&wire), ["refused by the authenticator"; 2]);
        wire.finish();
    });
}

#[test]
fn who_is_refused_too_often_is_not_asked_about() {
    let slowed = |settings: &mut RouterSettings| {
        asked(settings);
        settings.authentication.failures_max = 2;
    };
    everywhere_with(slowed, |mut wire| {
        let authenticator = join_authenticator(&mut wire);
        let hello = |wire: &mut Wire| {
            let client = wire
                .connect_from(0, fanwire::origin::PeerAddress::Tcp("192.0.2.1:1".parse().unwrap()).into());
            wire.send(client, r#"[1,"realm1",{"roles":{"caller":{}},"authextra":{"token":"guess"}}]"#);
            client
        };
        let refuse = |wire: &mut Wire, client: Client, error: &str| {
            let request = wire.receive_one(authenticator)[1].clone();
            wire.send(authenticator, &format!("[8,68,{request},{{}},\"{error}\",[\"KeyError\"]]"));
            wire.resume();
            aborted(wire, client)
        };
        // What the procedure cannot tell was no guess.
        for _ in 0..3 {
            let client = hello(&mut wire);
            let told = refuse(&mut wire, client, "wamp.error.invalid_argument");
            assert_eq!(told, (json!("wamp.error.invalid_argument"), json!("KeyError")));
        }
        let client = hello(&mut wire);
        assert_eq!(refuse(&mut wire, client, "com.example.no").0, "com.example.no");
        // An exception is a refusal, whose text is nobody's business.
        let client = hello(&mut wire);
        let told = refuse(&mut wire, client, "wamp.error.runtime_error");
        assert_eq!(told, (json!(FAILED), json!("Authentication failed.")));
        let client = hello(&mut wire);
        assert_eq!(aborted(&mut wire, client).0, "wamp.error.unavailable");
        assert!(wire.receive(authenticator).is_empty());
        wire.finish();
    });
}

#[test]
fn no_more_guesses_count_than_there_may_be_however_many_are_asked_about_at_once() {
    let slowed = |settings: &mut RouterSettings| {
        asked(settings);
        settings.authentication.failures_max = 2;
    };
    let mut wire = Wire::with(2, KINDS[0], slowed);
    let authenticator = join_authenticator(&mut wire);
    let source = || fanwire::origin::PeerAddress::Tcp("192.0.2.1:1".parse().unwrap()).into();
    let clients = [(); 4].map(|()| {
        let client = wire.connect_from(0, source());
        wire.send(client, r#"[1,"realm1",{"roles":{"caller":{}},"authextra":{"token":"guess"}}]"#);
        client
    });
    let questions = wire.receive(authenticator);
    assert_eq!(questions.len(), 4);
    let answers = [
        r#"[8,68,ID,{},"com.no"]"#,
        r#"[8,68,ID,{},"com.no"]"#,
        r#"[70,ID,{},["user"]]"#,
        r#"[8,68,ID,{},"com.no"]"#,
    ];
    for (question, answer) in questions.iter().zip(answers) {
        wire.send(authenticator, &answer.replace("ID", &question[1].to_string()));
        wire.resume();
    }
    let told = clients.map(|client| aborted(&mut wire, client).0);
    let unavailable = "wamp.error.unavailable";
    assert_eq!(told, ["com.no", "com.no", unavailable, unavailable], "a right guess is refused as well");
    wire.finish();
}

#[test]
fn a_ticket_that_is_none_is_not_handed_on() {
    everywhere(|mut wire| {
        let authenticator = join_authenticator(&mut wire);
        let client = hello(&mut wire, r#""authmethods":["ticket"],"authid":"alice""#);
        assert_eq!(wire.receive_one(client)[0], 4);
        wire.send(client, &authenticate(&"x".repeat(20_000)));
        assert!(wire.receive(authenticator).is_empty());
        assert_eq!(aborted(&mut wire, client).0, FAILED);
        wire.finish();
    });
}

#[test]
fn who_does_not_answer_or_not_so_lets_nobody_in() {
    everywhere(|mut wire| {
        let nobody = hello(&mut wire, r#""authid":"alice""#);
        assert_eq!(aborted(&mut wire, nobody), (json!(FAILED), json!("Authentication failed.")));
        let authenticator = join_authenticator(&mut wire);
        for said in ["true", "{}", r#"{"role":7}"#, r#""nothing""#] {
            let client = hello(&mut wire, r#""authid":"alice""#);
            say(&mut wire, authenticator, said);
            aborted(&mut wire, client);
        }
        let client = hello(&mut wire, r#""authmethods":["wampcra"],"authid":"alice""#);
        say(&mut wire, authenticator, r#""user""#);
        assert_eq!(aborted(&mut wire, client).0, FAILED, "it has no secret");
        // It is slow.
        let client = hello(&mut wire, r#""authid":"alice""#);
        wire.sleep(2_000 * MS - MS);
        assert!(wire.receive(client).is_empty());
        wire.sleep(MS);
        wire.resume();
        assert_eq!(aborted(&mut wire, client).0, FAILED);
        assert_eq!(head(&wire.receive(authenticator)[1], 2), json!([69, 6]));
        // It leaves.
        let client = hello(&mut wire, r#""authid":"alice""#);
        wire.reset(authenticator);
        wire.resume();
        assert_eq!(aborted(&mut wire, client).0, FAILED);
        wire.finish();
    });
}

#[test]
fn who_leaves_is_asked_about_no_longer() {
    let ends: [fn(&mut Wire, Client); 2] =
        [|wire, client| wire.reset(client), |wire, client| wire.end_input(client)];
    for end in ends {
        everywhere(|mut wire| {
            let authenticator = join_authenticator(&mut wire);
            let client = hello(&mut wire, r#""authid":"alice""#);
            let request = wire.receive_one(authenticator)[1].clone();
            end(&mut wire, client);
            wire.resume();
            assert_eq!(head(&wire.receive_one(authenticator), 2), json!([69, request]));
            wire.send(authenticator, &format!("[70,{request},{{}},[\"user\"]]"));
            wire.resume();
            assert!(wire.receive(client).is_empty());
            wire.finish();
        });
    }
}

#[test]
fn a_shutdown_lets_nobody_in() {
    everywhere(|mut wire| {
        let authenticator = join_authenticator(&mut wire);
        let client = hello(&mut wire, r#""authid":"alice""#);
        let request = wire.receive_one(authenticator)[1].clone();
        for shard in 0..wire.shards.len() {
            wire.shards[shard].drain(wire.now);
        }
        wire.settle();
        wire.send(authenticator, &format!("[70,{request},{{}},[\"user\"]]"));
        wire.resume();
        assert!(wire.ended(client));
        assert!(wire.receive(client).iter().all(|message| message[0] == 3));
        wire.finish();
    });
}
