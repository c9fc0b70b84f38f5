//! HELLO to WELCOME with the methods of the advanced profile: ticket, WAMP-CRA, WAMP-SCRAM, cryptosign and client
//! certificates, each with right and wrong answers; who may come in where; and how often one may be wrong.

use std::sync::Arc;
use std::time::Duration;

use fanwire::auth::binding::ChannelBinding;
use fanwire::auth::scram::{Cost, Dialect, Exchange, Kdf};
use fanwire::auth::wampcra::Salting;
use fanwire::auth::{Method, Secret, base64, scram, ticket, wampcra};
use fanwire::router::authentication::{Anonymous, Extra, Principal, Principals, Settings};
use fanwire::router::{Role, Settings as RouterSettings};
use serde_json::{Value, json};

use crate::wire::{Client, KINDS, Wire, everywhere_with, head};

const ROLES: &str = r#""roles":{"caller":{},"publisher":{}}"#;

pub const FAILED: &str = "wamp.error.authentication_failed";
pub const NO_METHOD: &str = "wamp.error.no_matching_auth_method";

pub fn role(name: &str) -> Arc<Role> {
    Arc::new(Role::open(name))
}

pub fn principal(authid: &str) -> Principal {
    Principal { authid: authid.into(), role: Some(role("user")), ..Principal::default() }
}

pub const PBKDF2: Cost = Cost { kdf: Kdf::Pbkdf2, iterations: 4096, memory_kib: 0 };

/// A realm with somebody for each method, and `alice` for several.
fn known() -> Settings {
    let salting = Salting { salt: "salt123".to_owned(), iterations: 100, keylen: 32 };
    let derived = salting.derive(&"password".into()).unwrap();
    let hashed = ticket::Hashed::new(
        &"hash me".into(),
        ticket::Kind::Argon2id { iterations: 1, memory_kib: 8 },
        [3; 16],
    );
    Settings {
        principals: Principals::new([
            Principal {
                extra: Extra::from_json(r#"{"department":["a",{"b":7}]}"#),
                ticket: Some(ticket::Stored::read("swordfish").unwrap()),
                wampcra: Some(wampcra::Stored { secret: "secret".into(), salting: None }),
                ..principal("alice")
            },
            Principal { ticket: Some(ticket::Stored::Hashed(hashed.unwrap())), ..principal("hashed") },
            Principal {
                wampcra: Some(wampcra::Stored { secret: derived, salting: Some(salting) }),
                ..principal("salted")
            },
            Principal {
                scram: Some(scram::Stored::new(&"pencil".into(), [7; 16], PBKDF2).unwrap()),
                ..principal("user")
            },
        ]),
        ..Settings::default()
    }
}

pub fn set(settings: &mut RouterSettings, authentication: Settings) {
    settings.realms[0].authentication = Arc::new(authentication);
}

fn everywhere(test: impl Fn(Wire)) {
    let known = known();
    everywhere_with(|settings| set(settings, known.clone()), test);
}

pub fn hello(details: &str) -> String {
    format!(r#"[1,"realm1",{{{ROLES},{details}}}]"#)
}

/// HELLO, of which CHALLENGE is expected; what that says.
pub fn challenged(wire: &mut Wire, client: Client, details: &str, method: &str) -> Value {
    let challenge = wire.ask(client, &hello(details));
    assert_eq!(head(&challenge, 2), json!([4, method]), "{details}");
    challenge[2].clone()
}

/// What WELCOME says of who it is.
pub fn welcomed(answer: &Value) -> Value {
    assert_eq!(answer[0], 2, "{answer}");
    let said = |key: &str| answer[2][key].clone();
    json!([said("authid"), said("authrole"), said("authmethod"), said("authprovider")])
}

pub fn aborted(wire: &Wire, client: Client, answer: &Value, reason: &str) {
    assert_eq!((&answer[0], &answer[2]), (&json!(3), &json!(reason)), "{answer}");
    assert!(wire.ended(client));
}

pub fn authenticate(signature: &str) -> String {
    json!([5, signature, {}]).to_string()
}

#[test]
fn a_ticket_opens_the_realm() {
    everywhere(|mut wire| {
        let client = wire.connect();
        let details = r#""authmethods":["ticket"],"authid":"alice""#;
        assert_eq!(challenged(&mut wire, client, details, "ticket"), json!({}));
        let welcome = wire.ask(client, &authenticate("swordfish"));
        assert_eq!(welcomed(&welcome), json!(["alice", "user", "ticket", "static"]));
        assert_eq!(welcome[2]["authextra"], json!({"department": ["a", {"b": 7}]}));
        assert_eq!(wire.ask(client, r#"[48,1,{},"wamp.session.count"]"#)[3], json!([1]));
        wire.finish();
    });
}

#[test]
fn a_hashed_ticket_is_compared_elsewhere() {
    everywhere(|mut wire| {
        for (ticket, right) in [("hash me", true), ("hash you", false)] {
            let client = wire.connect();
            challenged(&mut wire, client, r#""authmethods":["ticket"],"authid":"hashed""#, "ticket");
            let answer = wire.ask(client, &authenticate(ticket));
            match right {
                true => assert_eq!(welcomed(&answer), json!(["hashed", "user", "ticket", "static"])),
                false => aborted(&wire, client, &answer, FAILED),
            }
        }
        wire.finish();
    });
}

#[test]
fn wampcra_signs_the_challenge() {
    everywhere(|mut wire| {
        let client = wire.connect();
        let details = r#""authmethods":["wampcra"],"authid":"alice""#;
        let extra = challenged(&mut wire, client, details, "wampcra");
        let challenge = extra["challenge"].as_str().unwrap();
        assert_eq!(extra.as_object().unwrap().len(), 1, "{extra}");
        let said: Value = serde_json::from_str(challenge).unwrap();
        let expected = json!(["alice", "user", "wampcra", "static", "1970-01-01T00:00:00.000Z"]);
        let keys = ["authid", "authrole", "authmethod", "authprovider", "timestamp"];
        assert_eq!(Value::from_iter(keys.map(|key| said[key].clone())), expected);
        assert!(said["nonce"].as_str().unwrap().len() >= 20);
        let welcome = wire.ask(client, &authenticate(&wampcra::sign(&"secret".into(), challenge)));
        assert_eq!(welcomed(&welcome), json!(["alice", "user", "wampcra", "static"]));
        assert_eq!(welcome[1], said["session"], "the session that was promised");
        wire.finish();
    });
}

#[test]
fn wampcra_with_salt_says_how_the_secret_is_derived() {
    everywhere(|mut wire| {
        let client = wire.connect();
        let details = r#""authmethods":["wampcra"],"authid":"salted""#;
        let extra = challenged(&mut wire, client, details, "wampcra");
        let salting = json!([extra["salt"], extra["iterations"], extra["keylen"]]);
        assert_eq!(salting, json!(["salt123", 100, 32]));
        let salting = Salting { salt: "salt123".to_owned(), iterations: 100, keylen: 32 };
        let secret = salting.derive(&"password".into()).unwrap();
        let signature = wampcra::sign(&secret, extra["challenge"].as_str().unwrap());
        let welcome = wire.ask(client, &authenticate(&signature));
        assert_eq!(welcomed(&welcome), json!(["salted", "user", "wampcra", "static"]));
        wire.finish();
    });
}

/// The client's side of an exchange; AUTHENTICATE, and what WELCOME must say.
pub fn scram_answer(
    name: &str,
    extra: &Value,
    password: &str,
    binding: Option<&ChannelBinding>,
    change: impl Fn(&mut Value),
) -> (String, scram::Answer) {
    let text = |key: &str| extra[key].as_str().unwrap();
    let exchange = Exchange {
        dialect: Dialect::from_authmethod(name).unwrap(),
        authid: "user",
        client_nonce: "egVDf3DMJh0=",
        nonce: text("nonce"),
        salt: text("salt"),
        cost: PBKDF2,
        binding,
    };
    let answer = exchange.answer(&Secret::from(password)).unwrap();
    let mut said = match name {
        "scram" => json!({}),
        _ => json!({"nonce": text("nonce"), "channel_binding": null, "cbind_data": null}),
    };
    if let Some(bound) = binding {
        said["channel_binding"] = json!(bound.binding.name());
        said["cbind_data"] = json!(base64(&bound.octets));
    }
    change(&mut said);
    (json!([5, answer.proof, said]).to_string(), answer)
}

const SCRAM: &str = r#""authid":"user","authextra":{"nonce":"egVDf3DMJh0=","channel_binding":null}"#;

#[test]
fn scram_proves_both_sides_under_both_names() {
    for (name, verifier) in [("wamp-scram", "verifier"), ("scram", "scram_server_signature")] {
        everywhere(|mut wire| {
            let client = wire.connect();
            let details = format!(r#""authmethods":["{name}"],{SCRAM}"#);
            let extra = challenged(&mut wire, client, &details, name);
            assert_eq!(json!([extra["kdf"], extra["iterations"]]), json!(["pbkdf2", 4096]));
            assert!(extra["nonce"].as_str().unwrap().starts_with("egVDf3DMJh0="));
            let (said, answer) = scram_answer(name, &extra, "pencil", None, |_| {});
            let welcome = wire.ask(client, &said);
            assert_eq!(welcomed(&welcome), json!(["user", "user", name, "static"]));
            assert!(answer.accepts(welcome[2]["authextra"][verifier].as_str().unwrap()), "{welcome}");
            wire.finish();
        });
    }
}

#[test]
fn a_scram_exchange_that_was_changed_fails() {
    let changes: [&dyn Fn(&mut Value); 4] = [
        &|said| said["nonce"] = json!("egVDf3DMJh0="),
        &|said| said["channel_binding"] = json!("tls-unique"),
        &|said| said["cbind_data"] = json!("AAAA"),
        &|said| *said = json!({}),
    ];
    for change in changes {
        let mut wire = Wire::with(1, KINDS[0], |settings| set(settings, known()));
        let client = wire.connect();
        let details = format!(r#""authmethods":["wamp-scram"],{SCRAM}"#);
        let extra = challenged(&mut wire, client, &details, "wamp-scram");
        let (said, _) = scram_answer("wamp-scram", &extra, "pencil", None, change);
        let answer = wire.ask(client, &said);
        aborted(&wire, client, &answer, FAILED);
        wire.finish();
    }
}

#[test]
fn wrong_secrets_and_unknown_names_are_told_the_same() {
    everywhere(|mut wire| {
        let mut told = Vec::new();
        for (method, authid) in [("ticket", "alice"), ("wampcra", "alice"), ("wamp-scram", "user")] {
            let client = wire.connect();
            let details =
                format!(r#""authmethods":["{method}"],"authid":"{authid}","authextra":{{"nonce":"AAAA"}}"#);
            challenged(&mut wire, client, &details, method);
            let answer = wire.ask(client, &authenticate("wrong"));
            aborted(&wire, client, &answer, FAILED);
            told.push(answer);
        }
        // Of these names there are some that each of the methods is asked for, and each fails as the known one does.
        let mut asked = std::collections::BTreeSet::new();
        for n in 0..40 {
            let client = wire.connect();
            let methods = r#"["ticket","wampcra","wamp-scram"]"#;
            let details =
                format!(r#""authmethods":{methods},"authid":"nobody{n}","authextra":{{"nonce":"AAAA"}}"#);
            let challenge = wire.ask(client, &hello(&details));
            assert_eq!(challenge[0], 4, "{challenge}");
            asked.insert(challenge[1].as_str().unwrap().to_owned());
            let answer = wire.ask(client, &authenticate("wrong"));
            aborted(&wire, client, &answer, FAILED);
            told.push(answer);
        }
        assert_eq!(asked.len(), 3, "{asked:?}");
        // Whoever offers one method is asked by it, whether the name is unknown or known by another method.
        for method in ["ticket", "wampcra", "wamp-scram"] {
            for authid in ["nobody1", "nobody2", "nobody3", "alice", "hashed", "salted", "user"] {
                let client = wire.connect();
                let details = format!(
                    r#""authmethods":["{method}"],"authid":"{authid}","authextra":{{"nonce":"AAAA"}}"#
                );
                challenged(&mut wire, client, &details, method);
                if (method, authid) != ("ticket", "hashed") {
                    let answer = wire.ask(client, &authenticate("wrong"));
                    aborted(&wire, client, &answer, FAILED);
                    told.push(answer);
                }
            }
        }
        assert!(told.iter().all(|answer| *answer == told[0]), "{told:#?}");
        wire.finish();
    });
}

#[test]
fn the_salt_of_an_unknown_name_stays_the_same_and_nothing_opens() {
    let mut wire = Wire::with(2, KINDS[0], |settings| set(settings, known()));
    let mut seen = std::collections::BTreeMap::new();
    for n in (0..60).chain(0..60) {
        let client = wire.connect();
        let details = format!(
            r#""authmethods":["wampcra","wamp-scram"],"authid":"nobody{n}","authextra":{{"nonce":"AAAA"}}"#
        );
        let challenge = wire.ask(client, &hello(&details));
        assert_eq!(challenge[0], 4, "{challenge}");
        let salt = challenge[2]["salt"].clone();
        let before = seen.insert(n, (challenge[1].clone(), salt.clone()));
        assert!(before.is_none_or(|before| before == (challenge[1].clone(), salt)), "{challenge}");
        // Whoever stands in for it has this secret; it does not open the door for another name.
        let text = challenge[2]["challenge"].as_str().unwrap_or_default();
        let answer = wire.ask(client, &authenticate(&wampcra::sign(&"secret".into(), text)));
        aborted(&wire, client, &answer, FAILED);
    }
    let salts: std::collections::BTreeSet<_> = seen.values().map(|(_, salt)| salt.to_string()).collect();
    assert!(salts.len() > 20, "{salts:?}");
    wire.finish();
}

#[test]
fn a_ticket_of_whoever_stands_in_opens_nothing() {
    let mut wire = Wire::with(1, KINDS[0], |settings| set(settings, known()));
    for n in 0..30 {
        for ticket in ["swordfish", "hash me"] {
            let client = wire.connect();
            let details = format!(r#""authmethods":["ticket"],"authid":"nobody{n}""#);
            challenged(&mut wire, client, &details, "ticket");
            let answer = wire.ask(client, &authenticate(ticket));
            aborted(&wire, client, &answer, FAILED);
        }
    }
    wire.finish();
}

#[test]
fn a_signature_counts_for_its_own_challenge_only() {
    everywhere(|mut wire| {
        let details = r#""authmethods":["wampcra"],"authid":"alice""#;
        let (first, second) = (wire.connect(), wire.connect());
        let challenge = challenged(&mut wire, first, details, "wampcra")["challenge"].clone();
        let signature = wampcra::sign(&"secret".into(), challenge.as_str().unwrap());
        assert_eq!(wire.ask(first, &authenticate(&signature))[0], 2);
        challenged(&mut wire, second, details, "wampcra");
        let answer = wire.ask(second, &authenticate(&signature));
        aborted(&wire, second, &answer, FAILED);
        wire.finish();
    });
}

#[test]
fn nothing_but_an_answer_follows_a_challenge() {
    let ticket = r#""authmethods":["ticket"],"authid":"alice""#;
    let messages = [
        hello(ticket),
        r#"[16,1,{},"a"]"#.to_owned(),
        r#"[6,{},"wamp.close.normal"]"#.to_owned(),
        r#"[4,"ticket",{}]"#.to_owned(),
    ];
    for message in messages {
        everywhere(|mut wire| {
            let client = wire.connect();
            challenged(&mut wire, client, ticket, "ticket");
            let answer = wire.ask(client, &message);
            aborted(&wire, client, &answer, "wamp.error.protocol_violation");
            wire.finish();
        });
    }
    everywhere(|mut wire| {
        let (giving_up, unasked) = (wire.connect(), wire.connect());
        challenged(&mut wire, giving_up, ticket, "ticket");
        wire.send(giving_up, r#"[3,{},"com.example.no"]"#);
        assert!(wire.receive(giving_up).is_empty() && wire.ended(giving_up));
        let answer = wire.ask(unasked, &authenticate("swordfish"));
        aborted(&wire, unasked, &answer, "wamp.error.protocol_violation");
        let (joined, _) = (wire.connect(), ());
        challenged(&mut wire, joined, ticket, "ticket");
        assert_eq!(wire.ask(joined, &authenticate("swordfish"))[0], 2);
        let answer = wire.ask(joined, &authenticate("swordfish"));
        aborted(&wire, joined, &answer, "wamp.error.protocol_violation");
        wire.finish();
    });
}

#[test]
fn an_answer_has_its_time() {
    let change = |settings: &mut RouterSettings| {
        set(settings, known());
        settings.authentication.challenge_ms_max = 3_000;
    };
    everywhere_with(change, |mut wire| {
        let (quick, slow) = (wire.connect(), wire.connect());
        for client in [quick, slow] {
            challenged(&mut wire, client, r#""authmethods":["ticket"],"authid":"alice""#, "ticket");
        }
        wire.sleep(Duration::from_millis(2_999));
        assert_eq!(wire.ask(quick, &authenticate("swordfish"))[0], 2);
        wire.sleep(Duration::from_millis(1));
        let answer = wire.receive_one(slow);
        aborted(&wire, slow, &answer, FAILED);
        wire.send(slow, &authenticate("swordfish"));
        assert!(wire.receive(slow).is_empty());
        wire.finish();
    });
}

#[test]
fn the_clients_order_of_methods_decides() {
    everywhere(|mut wire| {
        let mut first = |methods: &str, authid: &str| {
            let client = wire.connect();
            let nonce = r#""authextra":{"nonce":"AAAA"}"#;
            let answer =
                wire.ask(client, &hello(&format!(r#""authmethods":{methods},"authid":"{authid}",{nonce}"#)));
            if answer[0] == 4 { answer[1].clone() } else { answer[2].clone() }
        };
        assert_eq!(first(r#"["ticket","wampcra"]"#, "alice"), "ticket");
        assert_eq!(first(r#"["wampcra","ticket"]"#, "alice"), "wampcra");
        // What nobody knows, is not open, or is nothing that alice could answer, is passed over for what she could.
        assert_eq!(first(r#"["password","anonymous","wamp-scram","wampcra"]"#, "alice"), "wampcra");
        assert_eq!(first(r#"["cryptosign","tls","cookie"]"#, "alice"), NO_METHOD);
        // Who has nothing for it is asked as if it were unknown.
        assert_eq!(first(r#"["ticket"]"#, "user"), "ticket");
        // A method that needs a name has none.
        assert_eq!(first(r#"["ticket","wampcra","scram"]"#, ""), NO_METHOD);
        wire.finish();
    });
}

#[test]
fn what_a_hello_lacks_is_said() {
    let mut wire = Wire::with(1, KINDS[0], |settings| set(settings, known()));
    for (details, lacks) in [
        (r#""authmethods":["wamp-scram"],"authid":"user""#, true),
        (r#""authmethods":["wamp-scram"],"authid":"user","authextra":{"nonce":"?"}"#, true),
        (r#""authmethods":["wampcra"]"#, true),
        (r#""authmethods":["cryptosign"],"authid":"user","authextra":{"pubkey":"00"}"#, true),
        (r#""authmethods":["password"],"authid":"user""#, false),
        // Who means to prove something is not somebody who says nothing.
        (r#""authmethods":"ticket","authid":"alice""#, false),
    ] {
        let client = wire.connect();
        let answer = wire.ask(client, &hello(details));
        assert_eq!(answer[1]["message"].as_str().unwrap().contains("HELLO lacks"), lacks, "{answer}");
        aborted(&wire, client, &answer, NO_METHOD);
    }
    let client = wire.connect();
    let answer = wire.ask(client, &hello(r#""authmethods":["ticket"],"authid":7"#));
    aborted(&wire, client, &answer, FAILED);
    wire.finish();
}

#[test]
fn nobody_is_let_in_who_says_nothing_where_that_is_not_open() {
    everywhere(|mut wire| {
        for details in [r#""authmethods":["anonymous"]"#, r#""authid":"alice""#, r#""authmethods":[]"#] {
            let client = wire.connect();
            let answer = wire.ask(client, &hello(details));
            aborted(&wire, client, &answer, NO_METHOD);
        }
        wire.finish();
    });
    let change = |settings: &mut RouterSettings| {
        let anonymous = Anonymous { role: role("guest"), authid: Some("visitor".into()), dynamic: None };
        set(settings, Settings { anonymous: Some(anonymous), ..known() });
    };
    everywhere_with(change, |mut wire| {
        let client = wire.connect();
        let welcome = wire.ask(client, &hello(r#""authid":"alice""#));
        assert_eq!(welcomed(&welcome), json!(["visitor", "guest", "anonymous", "static"]));
        wire.finish();
    });
}

#[test]
fn a_role_is_what_one_has_not_what_one_wants() {
    let change = |settings: &mut RouterSettings| {
        let anonymous = Anonymous { role: role("guest"), authid: None, dynamic: None };
        let mut known = Settings { anonymous: Some(anonymous), ..known() };
        known.method_mut(Method::Ticket).default_role = Some(role("default"));
        let stored = ticket::Stored::read("swordfish").unwrap();
        let roleless = Principal { ticket: Some(stored.clone()), role: None, ..principal("roleless") };
        let alice = Principal { ticket: Some(stored), ..principal("alice") };
        set(settings, Settings { principals: Principals::new([alice, roleless]), ..known });
    };
    everywhere_with(change, |mut wire| {
        let mut join = |authid: &str, authrole: &str| {
            let client = wire.connect();
            let details = format!(
                r#""authmethods":["ticket","anonymous"],"authid":"{authid}","authrole":"{authrole}""#
            );
            let mut answer = wire.ask(client, &hello(&details));
            if answer[0] == 4 {
                answer = wire.ask(client, &authenticate("swordfish"));
            }
            if answer[0] == 2 { welcomed(&answer)[1].clone() } else { answer[2].clone() }
        };
        assert_eq!(join("alice", "user"), "user");
        assert_eq!(join("alice", "admin"), "wamp.error.no_such_role");
        assert_eq!(join("roleless", ""), "default");
        assert_eq!(join("", "guest"), "guest");
        assert_eq!(join("", "user"), "wamp.error.no_such_role");
        wire.finish();
    });
}

#[test]
fn after_goodbye_one_may_join_as_somebody_else() {
    everywhere(|mut wire| {
        let client = wire.connect();
        for (authid, ticket) in [("alice", "swordfish"), ("hashed", "hash me"), ("alice", "swordfish")] {
            let details = format!(r#""authmethods":["ticket"],"authid":"{authid}""#);
            challenged(&mut wire, client, &details, "ticket");
            let welcome = wire.ask(client, &authenticate(ticket));
            assert_eq!(welcomed(&welcome)[0], authid);
            assert_eq!(wire.ask(client, r#"[6,{},"wamp.close.normal"]"#)[0], 6);
        }
        wire.finish();
    });
}
