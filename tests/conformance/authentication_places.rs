//! Who may come in where: listeners, networks and realms; keys, certificates and tokens; what a source that fails too
//! often gets.

use std::sync::Arc;

use fanwire::auth::binding::{BindingType, ChannelBinding};
use fanwire::auth::certificate::Certificate;
use fanwire::auth::cryptosign::{Challenge, SigningKey};
use fanwire::auth::jwt::{Expected, Keys};
use fanwire::auth::{Method, base64, hmac_sha256, scram, ticket};
use fanwire::origin::{ClientCertificate, Origin, PeerAddress, TlsOrigin};
use fanwire::router::authentication::{
    Access, Anonymous, AnonymousHere, Dynamic, Jwt, Principal, Principals, Settings, Sources,
};
use fanwire::router::{ListenerSettings, RealmSettings, Role, Settings as RouterSettings};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use crate::authentication::{
    FAILED, NO_METHOD, PBKDF2, aborted, authenticate, challenged, hello, principal, role, scram_answer, set,
    welcomed,
};
use crate::wire::{Client, KINDS, Wire, everywhere_with};

const UNAVAILABLE: &str = "wamp.error.unavailable";
const BINDING: &str = "wamp.error.feature_not_supported";

fn from(address: &str) -> Origin {
    PeerAddress::Tcp(address.parse().unwrap()).into()
}

fn over_tls(certificate: Option<ClientCertificate>) -> Origin {
    let tls = TlsOrigin {
        version: "TLSv1.3",
        cipher_suite: "TLS13_AES_128_GCM_SHA256",
        server_name: None,
        application_protocol: None,
        resumed: false,
        client_certificate: certificate,
        exporter: [0x5a; 32],
    };
    Origin { tls: Some(Box::new(tls)), ..from("192.0.2.1:1") }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn with_ticket(authid: &str) -> Principal {
    Principal { ticket: Some(ticket::Stored::read("swordfish").unwrap()), ..principal(authid) }
}

fn principals(principals: impl IntoIterator<Item = Principal>) -> Settings {
    Settings { principals: Principals::new(principals), ..Settings::default() }
}

fn everywhere(settings: &Settings, test: impl Fn(Wire)) {
    everywhere_with(|router| set(router, settings.clone()), test);
}

fn anonymous(name: &str) -> Option<Anonymous> {
    Some(Anonymous { role: role(name), authid: None, dynamic: None })
}

/// The answer to HELLO alone.
fn said(wire: &mut Wire, client: Client, details: &str) -> Value {
    wire.ask(client, &hello(details))
}

// Keys.

fn signers() -> Settings {
    let signer = |authid, seeds: &[u8]| Principal {
        keys: seeds.iter().map(|seed| key(*seed).public()).collect(),
        ..principal(authid)
    };
    principals([signer("alice", &[1, 2]), signer("bob", &[3])])
}

fn signing(authid: Option<&str>, seed: u8, more: &str) -> String {
    let authid = authid.map(|authid| format!(r#""authid":"{authid}","#)).unwrap_or_default();
    let pubkey = key(seed).public();
    format!(r#""authmethods":["cryptosign"],{authid}"authextra":{{"pubkey":"{pubkey}"{more}}}"#)
}

fn challenge_of(extra: &Value) -> Challenge {
    Challenge::read(extra["challenge"].as_str().unwrap()).unwrap()
}

#[test]
fn a_key_is_a_principal() {
    everywhere(&signers(), |mut wire| {
        for (authid, seed, who) in [
            (Some("alice"), 1, Some("alice")),
            (Some("alice"), 2, Some("alice")),
            (None, 3, Some("bob")),
            (Some("alice"), 3, None),
            (Some("bob"), 1, None),
            (Some("nobody"), 1, None),
            (None, 4, None),
            (Some("alice"), 4, None),
        ] {
            let client = wire.connect();
            let extra = challenged(&mut wire, client, &signing(authid, seed, ""), "cryptosign");
            assert_eq!(extra.as_object().unwrap().len(), 2, "{extra}");
            assert_eq!(extra["channel_binding"], Value::Null);
            let answer = wire.ask(client, &authenticate(&challenge_of(&extra).answer(&key(seed), None)));
            match who {
                Some(who) => assert_eq!(welcomed(&answer), json!([who, "user", "cryptosign", "static"])),
                None => aborted(&wire, client, &answer, FAILED),
            }
        }
        wire.finish();
    });
}

#[test]
fn a_signature_of_another_key_or_challenge_opens_nothing() {
    everywhere(&signers(), |mut wire| {
        for (signer, own) in [(2, true), (1, false)] {
            let client = wire.connect();
            let extra = challenged(&mut wire, client, &signing(Some("alice"), 1, ""), "cryptosign");
            let challenge = if own { challenge_of(&extra) } else { Challenge::new([1; 32]) };
            let answer = wire.ask(client, &authenticate(&challenge.answer(&key(signer), None)));
            aborted(&wire, client, &answer, FAILED);
        }
        let keyless = wire.connect();
        let answer = said(&mut wire, keyless, r#""authmethods":["cryptosign"],"authid":"alice""#);
        aborted(&wire, keyless, &answer, NO_METHOD);
        wire.finish();
    });
}

#[test]
fn the_router_proves_itself_and_binds_to_the_connection() {
    let change = |settings: &mut RouterSettings| {
        set(settings, signers());
        settings.authentication.router_key = Some(key(9));
    };
    everywhere_with(change, |mut wire| {
        let ours = Challenge::new([0x11; 32]);
        let asked = format!(r#","challenge":"{}""#, ours.text());
        for bound in [false, true] {
            let client = wire.connect_from(0, over_tls(None));
            let binding = if bound { r#","channel_binding":"tls-exporter""# } else { "" };
            let extra =
                challenged(&mut wire, client, &signing(None, 1, &format!("{asked}{binding}")), "cryptosign");
            let channel_id = bound.then_some(&[0x5a; 32]);
            assert_eq!(extra["channel_binding"], if bound { json!("tls-exporter") } else { Value::Null });
            assert_eq!(extra["pubkey"], key(9).public().to_string());
            assert!(ours.verify(&key(9).public(), channel_id, extra["signature"].as_str().unwrap()));
            let answer = challenge_of(&extra).answer(&key(1), channel_id);
            assert_eq!(wire.ask(client, &authenticate(&answer))[0], 2);
        }
        // What was signed for no connection is worth nothing on a bound one.
        let client = wire.connect_from(0, over_tls(None));
        let details = signing(None, 1, r#","channel_binding":"tls-exporter""#);
        let extra = challenged(&mut wire, client, &details, "cryptosign");
        let answer = wire.ask(client, &authenticate(&challenge_of(&extra).answer(&key(1), None)));
        aborted(&wire, client, &answer, FAILED);
        wire.finish();
    });
}

#[test]
fn the_routers_own_key_is_nobodys() {
    let change = |router: &mut RouterSettings| {
        set(router, signers());
        router.authentication.router_key = Some(key(1));
    };
    everywhere_with(change, |mut wire| {
        for authid in [None, Some("alice")] {
            let client = wire.connect();
            let answer = said(&mut wire, client, &signing(authid, 1, ""));
            aborted(&wire, client, &answer, FAILED);
        }
        let client = wire.connect();
        challenged(&mut wire, client, &signing(Some("alice"), 2, ""), "cryptosign");
        wire.finish();
    });
}

#[test]
fn a_binding_that_cannot_be_had_is_refused() {
    let user = Principal {
        scram: Some(scram::Stored::new(&"pencil".into(), [7; 16], PBKDF2).unwrap()),
        keys: vec![key(1).public()],
        ..principal("user")
    };
    let mut wire = Wire::with(1, KINDS[0], |settings| set(settings, principals([user])));
    for (binding, origin) in [("tls-exporter", from("192.0.2.1:1")), ("tls-unique", over_tls(None))] {
        let extra =
            format!(r#"{{"nonce":"AAAA","pubkey":"{}","channel_binding":"{binding}"}}"#, key(1).public());
        for method in ["cryptosign", "wamp-scram", "scram"] {
            let client = wire.connect_from(0, origin.clone());
            let details = format!(r#""authmethods":["{method}"],"authid":"user","authextra":{extra}"#);
            let answer = said(&mut wire, client, &details);
            aborted(&wire, client, &answer, BINDING);
        }
    }
    wire.finish();
}

#[test]
fn scram_is_bound_to_the_connection() {
    let user = Principal {
        scram: Some(scram::Stored::new(&"pencil".into(), [7; 16], PBKDF2).unwrap()),
        ..principal("user")
    };
    let mut wire = Wire::with(2, KINDS[0], |settings| set(settings, principals([user])));
    for (octets, right) in [([0x5a; 32], true), ([0x5b; 32], false)] {
        let client = wire.connect_from(0, over_tls(None));
        let extra = r#"{"nonce":"egVDf3DMJh0=","channel_binding":"tls-exporter"}"#;
        let details = format!(r#""authmethods":["wamp-scram"],"authid":"user","authextra":{extra}"#);
        let extra = challenged(&mut wire, client, &details, "wamp-scram");
        let binding = ChannelBinding { binding: BindingType::TlsExporter, octets: octets.to_vec() };
        let (message, _) = scram_answer("wamp-scram", &extra, "pencil", Some(&binding), |_| {});
        let answer = wire.ask(client, &message);
        match right {
            true => assert_eq!(welcomed(&answer)[2], "wamp-scram"),
            false => aborted(&wire, client, &answer, FAILED),
        }
    }
    wire.finish();
}

// Certificates.

fn certificate(name: &str, vouched: bool) -> ClientCertificate {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
    let subject = vouched.then(|| format!("CN={name}").into());
    ClientCertificate { der: der.into(), subject }
}

#[test]
fn a_certificate_is_known_by_its_digest_or_its_subject() {
    let (own, other) = (certificate("machine", false), certificate("machine", false));
    let (vouched, forged) = (certificate("alice", true), certificate("alice", false));
    let fingerprint = Certificate::read(&own.der).unwrap().sha256;
    let known = principals([
        Principal { fingerprints: vec![fingerprint], ..principal("machine") },
        Principal { subjects: vec!["CN=alice".parse().unwrap()], ..principal("alice") },
    ]);
    everywhere(&known, |mut wire| {
        for (shown, authid, who) in [
            (Some(&own), "", Some("machine")),
            (Some(&own), "machine", Some("machine")),
            (Some(&own), "alice", None),
            (Some(&other), "", None),
            (Some(&vouched), "", Some("alice")),
            (Some(&forged), "", None),
            (None, "machine", None),
        ] {
            let client = wire.connect_from(0, over_tls(shown.cloned()));
            let answer = said(&mut wire, client, &format!(r#""authmethods":["tls"],"authid":"{authid}""#));
            match who {
                Some(who) => assert_eq!(welcomed(&answer), json!([who, "user", "tls", "static"])),
                None => aborted(&wire, client, &answer, FAILED),
            }
        }
        let plain = wire.connect();
        let answer = said(&mut wire, plain, r#""authmethods":["tls"]"#);
        aborted(&wire, plain, &answer, FAILED);
        wire.finish();
    });
}

#[test]
fn no_procedure_is_asked_about_who_shows_no_certificate() {
    let dynamic = Dynamic { procedure: "com.a".to_owned(), realm: Some("auth".to_owned()), timeout_ms: 1000 };
    let mut known = Settings { anonymous: anonymous("guest"), ..Settings::default() };
    known.method_mut(Method::Tls).dynamic = Some(Arc::new(dynamic));
    let change = |router: &mut RouterSettings| {
        set(router, known.clone());
        router.realms[0].roles = vec![role("user")];
        router.realms.push(RealmSettings::open("auth"));
    };
    everywhere_with(change, |mut wire| {
        let asked = wire.connect();
        wire.hello(asked, "auth");
        assert_eq!(wire.ask(asked, r#"[64,1,{},"com.a"]"#)[0], 65);
        for origin in [from("192.0.2.1:1"), over_tls(None)] {
            for authid in ["root", ""] {
                let client = wire.connect_from(0, origin.clone());
                let details = format!(r#""authmethods":["tls"],"authid":"{authid}""#);
                let answer = said(&mut wire, client, &details);
                aborted(&wire, client, &answer, FAILED);
            }
            let client = wire.connect_from(0, origin);
            let answer = said(&mut wire, client, r#""authmethods":["tls","anonymous"]"#);
            assert_eq!(welcomed(&answer)[1], "guest", "other methods are tried");
        }
        assert!(wire.receive(asked).is_empty());
        let client = wire.connect_from(0, over_tls(Some(certificate("machine", false))));
        wire.send(client, &hello(r#""authmethods":["tls"],"authid":"machine""#));
        let invocation = wire.receive_one(asked);
        wire.send(asked, &format!(r#"[70,{},{{}},["user"]]"#, invocation[1]));
        wire.resume();
        assert_eq!(welcomed(&wire.receive_one(client)), json!(["machine", "user", "tls", "dynamic"]));
        wire.finish();
    });
}

// Tokens.

const TOKEN_SECRET: &str = "0123456789abcdef0123456789abcdef";

fn token(claims: &Value, secret: &str) -> String {
    let url = |octets: &[u8]| base64(octets).trim_end_matches('=').replace('+', "-").replace('/', "_");
    let message = format!("{}.{}", url(br#"{"alg":"HS256"}"#), url(claims.to_string().as_bytes()));
    format!("{message}.{}", url(&hmac_sha256(secret.as_bytes(), message.as_bytes())))
}

#[test]
fn a_token_is_a_ticket() {
    let jwt = Jwt {
        keys: Keys::from_secret(TOKEN_SECRET.into()).unwrap(),
        expected: Expected { leeway_seconds: 0, ..Expected::default() },
        roles: vec![role("admin")],
        default_role: Some(role("bearer")),
    };
    let known = Settings { jwt: Some(jwt), ..principals([with_ticket("alice")]) };
    let settings = |settings: &mut RouterSettings| {
        set(settings, known.clone());
        settings.realms[0].roles = ["admin", "bearer", "user"].map(role).into();
    };
    everywhere_with(settings, |mut wire| {
        let mut join = |authid: &str, ticket: &str| {
            let client = wire.connect();
            challenged(
                &mut wire,
                client,
                &format!(r#""authmethods":["ticket"],"authid":"{authid}""#),
                "ticket",
            );
            let answer = wire.ask(client, &authenticate(ticket));
            if answer[0] == 2 { welcomed(&answer) } else { answer[2].clone() }
        };
        let claims = |sub: &str, role: Value| json!({"sub": sub, "role": role, "exp": 1_000});
        let good = |sub: &str, role: Value| token(&claims(sub, role), TOKEN_SECRET);
        // With a name or without, known to the file or not.
        assert_eq!(join("", &good("carol", Value::Null)), json!(["carol", "bearer", "ticket", "jwt"]));
        assert_eq!(join("carol", &good("carol", json!("admin"))), json!(["carol", "admin", "ticket", "jwt"]));
        assert_eq!(join("alice", &good("alice", Value::Null)), json!(["alice", "user", "ticket", "jwt"]));
        assert_eq!(join("alice", "swordfish"), json!(["alice", "user", "ticket", "static"]));
        assert_eq!(join("carol", &good("carol", json!("root"))), "wamp.error.no_such_role");
        for (authid, ticket) in [
            ("alice", good("carol", Value::Null)),
            ("carol", "swordfish".to_owned()),
            ("carol", token(&claims("carol", Value::Null), "another secret of so many octets")),
            ("carol", token(&json!({"sub": "carol"}), TOKEN_SECRET)),
            ("", "x".to_owned()),
        ] {
            assert_eq!(join(authid, &ticket), FAILED, "{authid}");
        }
        wire.finish();
    });
    let mut wire = Wire::with(1, KINDS[0], settings);
    wire.sleep(std::time::Duration::from_secs(1_000));
    let client = wire.connect();
    challenged(&mut wire, client, r#""authmethods":["ticket"]"#, "ticket");
    let old = token(&json!({"sub": "carol", "exp": 1_000}), TOKEN_SECRET);
    let answer = wire.ask(client, &authenticate(&old));
    aborted(&wire, client, &answer, FAILED);
    wire.finish();
}

// Places.

#[test]
fn listeners_and_networks_open_methods_and_realms() {
    let change = |settings: &mut RouterSettings| {
        let known = Settings { anonymous: anonymous("guest"), ..principals([with_ticket("alice")]) };
        set(settings, known);
        let network = |text: &str| text.parse().unwrap();
        let access = Access {
            methods: Some(vec![Method::Ticket]),
            networks: vec![Sources {
                from: vec![network("10.0.0.0/8")],
                methods: vec![Method::Anonymous],
                anonymous: None,
            }],
            anonymous: None,
            realms: Some(vec!["realm1".to_owned()]),
        };
        let first = settings.listeners[0].clone();
        settings.listeners.push(ListenerSettings { access, ..first });
    };
    everywhere_with(change, |mut wire| {
        let mut first = |listener, address: &str, methods: &str| {
            let client = wire.connect_from(listener, from(address));
            let answer = said(&mut wire, client, &format!(r#""authmethods":{methods},"authid":"alice""#));
            match answer[0].as_u64() {
                Some(4) => answer[1].clone(),
                Some(2) => welcomed(&answer)[2].clone(),
                _ => answer[2].clone(),
            }
        };
        let both = r#"["anonymous","ticket"]"#;
        assert_eq!(first(0, "192.0.2.1:1", both), "anonymous");
        assert_eq!(first(1, "192.0.2.1:1", both), "ticket");
        assert_eq!(first(1, "10.9.9.9:1", both), "anonymous");
        assert_eq!(first(1, "10.9.9.9:1", r#"["ticket"]"#), NO_METHOD);
        for (listener, realm, open) in [(0, "strict", true), (1, "strict", false), (1, "none", false)] {
            let client = wire.connect_from(listener, from("10.9.9.9:1"));
            let answer = wire.ask(client, &format!(r#"[1,"{realm}",{{"roles":{{"caller":{{}}}}}}]"#));
            if open {
                assert_eq!(answer[0], 2);
            } else {
                let message = json!({"message": "The realm does not exist."});
                assert_eq!(answer, json!([3, message, "wamp.error.no_such_realm"]));
            }
        }
        wire.finish();
    });
}

#[test]
fn a_listener_says_what_anonymous_clients_are_there() {
    let change = |settings: &mut RouterSettings| {
        let procedure = "com.example.nobody".to_owned();
        let dynamic = Some(Arc::new(Dynamic { procedure, realm: None, timeout_ms: 1_000 }));
        let known = Settings {
            anonymous: anonymous("backend").map(|backend| Anonymous { dynamic, ..backend }),
            ..Settings::default()
        };
        set(settings, known);
        settings.realms[0].roles = vec![role("public"), role("neighbour")];
        let here = |role: &str, authid: Option<&str>| {
            Some(AnonymousHere { role: role.into(), authid: authid.map(Box::from) })
        };
        let sources = Sources {
            from: vec!["10.0.0.0/8".parse().unwrap()],
            methods: vec![Method::Anonymous],
            anonymous: here("neighbour", None),
        };
        let first = settings.listeners[0].clone();
        for (anonymous, networks) in
            [(here("public", Some("visitor")), vec![sources]), (here("lost", None), Vec::new())]
        {
            let access = Access { anonymous, networks, ..Access::default() };
            settings.listeners.push(ListenerSettings { access, ..first.clone() });
        }
    };
    everywhere_with(change, |mut wire| {
        for (listener, address, expected) in
            [(1, "192.0.2.1:1", "public"), (1, "10.9.9.9:1", "neighbour"), (2, "192.0.2.1:1", "")]
        {
            let client = wire.connect_from(listener, from(address));
            let answer = said(&mut wire, client, r#""authmethods":["anonymous"]"#);
            if expected.is_empty() {
                aborted(&wire, client, &answer, "wamp.error.no_such_role");
                continue;
            }
            let who = welcomed(&answer);
            assert_eq!((&who[1], &who[2]), (&json!(expected), &json!("anonymous")), "{answer}");
            assert_eq!(who[0] == "visitor", expected == "public", "{answer}");
        }
        // What the realm says holds where the listener says nothing: its procedure, which nobody has registered.
        let client = wire.connect_from(0, from("192.0.2.1:1"));
        let answer = said(&mut wire, client, r#""authmethods":["anonymous"]"#);
        aborted(&wire, client, &answer, FAILED);
        wire.finish();
    });
}

#[test]
fn who_fails_too_often_waits() {
    let change = |settings: &mut RouterSettings| {
        set(settings, Settings { anonymous: anonymous("guest"), ..principals([with_ticket("alice")]) });
        settings.authentication.failures_max = 3;
        settings.authentication.failures_ms = 60_000;
    };
    everywhere_with(change, |mut wire| {
        let ticket = r#""authmethods":["ticket"],"authid":"alice""#;
        let begin = |wire: &mut Wire, address: &str| {
            let client = wire.connect_from(0, from(address));
            challenged(wire, client, ticket, "ticket");
            client
        };
        let begun = begin(&mut wire, "192.0.2.1:9");
        // From whatever port, at whatever shard.
        for port in 1..=3 {
            let client = begin(&mut wire, &format!("192.0.2.1:{port}"));
            let answer = wire.ask(client, &authenticate("wrong"));
            aborted(&wire, client, &answer, FAILED);
        }
        let late = wire.connect_from(0, from("192.0.2.1:4"));
        let answer = said(&mut wire, late, ticket);
        aborted(&wire, late, &answer, UNAVAILABLE);
        let answer = wire.ask(begun, &authenticate("swordfish"));
        aborted(&wire, begun, &answer, UNAVAILABLE);
        // Who has nothing to prove is not concerned, nor is anybody else.
        let guest = wire.connect_from(0, from("192.0.2.1:5"));
        assert_eq!(said(&mut wire, guest, r#""authid":"x""#)[0], 2);
        let other = begin(&mut wire, "192.0.2.2:1");
        assert_eq!(wire.ask(other, &authenticate("swordfish"))[0], 2);
        wire.sleep(std::time::Duration::from_secs(60));
        let again = begin(&mut wire, "192.0.2.1:6");
        assert_eq!(wire.ask(again, &authenticate("swordfish"))[0], 2);
        let failed: u64 =
            wire.shards.iter().flat_map(|shard| shard.counters().authentications_failed.into_values()).sum();
        assert_eq!(failed, 5);
        wire.finish();
    });
}

#[test]
fn who_has_a_key_does_not_wait_for_those_who_guess_behind_the_same_address() {
    let slowed = |settings: &mut RouterSettings| {
        let known = signers().principals.iter().map(|known| Principal::clone(known)).collect::<Vec<_>>();
        set(settings, principals(known.into_iter().chain([with_ticket("carol")])));
        settings.authentication.failures_max = 2;
    };
    let mut wire = Wire::with(1, KINDS[0], slowed);
    let guess = |wire: &mut Wire| {
        let client = wire.connect_from(0, from("192.0.2.1:1"));
        let asked = said(wire, client, r#""authmethods":["ticket"],"authid":"carol""#);
        if asked[0] == 4 { wire.ask(client, &authenticate("guess"))[2].clone() } else { asked[2].clone() }
    };
    let sign = |wire: &mut Wire, seed: u8| {
        let client = wire.connect_from(0, from("192.0.2.1:1"));
        let asked = said(wire, client, &signing(Some("alice"), 1, ""));
        wire.ask(client, &authenticate(&challenge_of(&asked[2]).answer(&key(seed), None)))
    };
    assert_eq!([(); 3].map(|()| guess(&mut wire)), [FAILED, FAILED, UNAVAILABLE]);
    assert_eq!(sign(&mut wire, 1)[0], 2, "nobody guesses a key");
    assert_eq!(sign(&mut wire, 9)[2], UNAVAILABLE);
    wire.finish();
}

#[test]
fn who_leaves_before_its_ticket_was_looked_at_is_counted_and_told() {
    let change = |settings: &mut RouterSettings| {
        let kind = ticket::Kind::Argon2id { iterations: 1, memory_kib: 8 };
        let hashed = ticket::Hashed::new(&"swordfish".into(), kind, [3; 16]).unwrap();
        let alice = Principal { ticket: Some(ticket::Stored::Hashed(hashed)), ..principal("alice") };
        set(settings, principals([alice]));
        settings.authentication.failures_max = 2;
    };
    let mut wire = Wire::with(1, KINDS[0], change);
    let guess = |wire: &mut Wire, leave_first: bool| {
        let client = wire.connect_from(0, from("192.0.2.1:1"));
        challenged(wire, client, r#""authmethods":["ticket"],"authid":"alice""#, "ticket");
        wire.send_without_letters(client, &authenticate("wrong"));
        let mut checks = Vec::new();
        wire.shards[0].checks(&mut checks);
        let check = checks.pop().unwrap();
        if leave_first {
            wire.reset(client);
        }
        let checked = check.run(wire.now);
        if !leave_first {
            wire.reset(client);
        }
        wire.shards[0].checked(checked, wire.now);
    };
    let failed = |wire: &Wire| {
        let failed = wire.shards[0].counters().authentications_failed;
        failed.iter().map(|(failure, count)| (failure.to_string(), *count)).collect::<Vec<_>>()
    };
    let (left, wrong) = ("left before its answer was looked at".to_owned(), "wrong secret".to_owned());
    // Nobody looks any more, so it is no guess.
    for _ in 0..3 {
        guess(&mut wire, true);
    }
    assert_eq!(failed(&wire), [(left.clone(), 3)]);
    for _ in 0..2 {
        guess(&mut wire, false);
    }
    assert_eq!(failed(&wire), [(left, 3), (wrong, 2)]);
    let waits = wire.connect_from(0, from("192.0.2.1:1"));
    let answer = said(&mut wire, waits, r#""authmethods":["ticket"],"authid":"alice""#);
    aborted(&wire, waits, &answer, UNAVAILABLE);
    wire.finish();
}

#[test]
fn peers_on_unix_sockets_do_not_shut_one_another_out() {
    let mut wire = Wire::with(1, KINDS[0], |settings| {
        set(settings, principals([with_ticket("alice")]));
        settings.authentication.failures_max = 1;
    });
    for _ in 0..3 {
        let client = wire.connect();
        challenged(&mut wire, client, r#""authmethods":["ticket"],"authid":"alice""#, "ticket");
        let answer = wire.ask(client, &authenticate("wrong"));
        aborted(&wire, client, &answer, FAILED);
    }
    wire.finish();
}

#[test]
fn names_that_nobody_can_have_are_refused_at_once() {
    let mut wire = Wire::with(1, KINDS[0], |settings| set(settings, principals([with_ticket("alice")])));
    let client = wire.connect();
    let long = "x".repeat(256);
    let answer = said(&mut wire, client, &format!(r#""authmethods":["ticket"],"authid":"{long}""#));
    aborted(&wire, client, &answer, FAILED);
    wire.finish();
}

#[test]
fn whoever_knows_principals_is_asked_where_it_is_there() {
    let dynamic = Arc::new(Dynamic { procedure: "com.a".to_owned(), realm: None, timeout_ms: 1 });
    let mut known = principals([with_ticket("alice")]);
    known.method_mut(Method::WampCra).dynamic = Some(dynamic);
    let mut wire = Wire::with(1, KINDS[0], |settings| set(settings, known));
    let client = wire.connect();
    let answer = said(&mut wire, client, r#""authmethods":["wampcra"],"authid":"carol""#);
    aborted(&wire, client, &answer, FAILED);
    wire.finish();
}

#[test]
fn nobody_joins_while_the_router_shuts_down() {
    let settings = principals([with_ticket("alice")]);
    let mut wire = Wire::with(2, KINDS[0], |router| set(router, settings));
    let (watcher, client) = (wire.connect(), wire.connect());
    let ticket = r#""authmethods":["ticket"],"authid":"alice""#;
    challenged(&mut wire, watcher, ticket, "ticket");
    assert_eq!(wire.ask(watcher, &authenticate("swordfish"))[0], 2);
    challenged(&mut wire, client, ticket, "ticket");
    assert_eq!(wire.ask(watcher, r#"[64,1,{},"com.slow"]"#)[0], 65);
    let call = r#"[48,2,{},"com.slow"]"#;
    assert_eq!(wire.ask(watcher, call)[0], 68);
    for shard in &mut wire.shards {
        shard.drain(wire.now);
    }
    let answer = wire.ask(client, &authenticate("swordfish"));
    aborted(&wire, client, &answer, "wamp.close.system_shutdown");
    wire.finish();
}

#[test]
fn a_role_may_be_missing() {
    let nobody = Principal { role: None, ..with_ticket("alice") };
    let mut wire = Wire::with(1, KINDS[0], |settings| set(settings, principals([nobody])));
    let client = wire.connect();
    challenged(&mut wire, client, r#""authmethods":["ticket"],"authid":"alice""#, "ticket");
    let answer = wire.ask(client, &authenticate("swordfish"));
    aborted(&wire, client, &answer, "wamp.error.no_such_role");
    assert_eq!(*role("x"), Role::open("x"));
    wire.finish();
}
