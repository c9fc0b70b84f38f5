//! Browsers that are known again by their cookie: who is, for how long, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use fanwire::auth::{Method, ticket};
use fanwire::router::authentication::{Dynamic, Principal, Principals, Settings};
use fanwire::router::{RealmSettings, Settings as RouterSettings, Template};
use fanwire::transport::pages::CookieRule;
use fanwire::wamp::{MatchPolicy, Serializer};
use serde_json::{Value, json};

use crate::authentication::{NO_METHOD, authenticate, principal, role};
use crate::wire::{Client, Kind, Wire};

const KIND: Kind = Kind::WebSocket(Serializer::Json);

const MAX_AGE: Duration = Duration::from_secs(3600);

/// A realm in which alice and bob have tickets, behind a listener that gives cookies.
fn settings(settings: &mut RouterSettings) {
    let rule = CookieRule {
        name: "fw".to_owned(),
        attributes: "; Path=/".to_owned(),
        max_age_seconds: MAX_AGE.as_secs(),
    };
    let mut transport = (*settings.listeners[0].transport).clone();
    transport.pages.cookie = Some(rule);
    settings.listeners[0].transport = Arc::new(transport);
    let ticket = |authid: &str| Principal {
        ticket: Some(ticket::Stored::read("swordfish").unwrap()),
        ..principal(authid)
    };
    let principals = Principals::new([ticket("alice"), ticket("bob")]);
    for realm in &mut settings.realms {
        realm.roles = vec![role("user")];
        realm.authentication =
            Arc::new(Settings { principals: principals.clone(), cookies: true, ..Settings::default() });
    }
}

/// The cookie that a browser without one is given.
fn fresh(wire: &mut Wire) -> (Client, String) {
    let (client, answer) = wire.connect_browser("");
    let given = answer.split("Set-Cookie: ").nth(1).and_then(|rest| rest.split(';').next());
    (client, given.expect("a cookie").to_owned())
}

fn browser(wire: &mut Wire, cookie: &str) -> Client {
    let (client, answer) = wire.connect_browser(&format!("Cookie: other=1; {cookie}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 101 ") && !answer.contains("Set-Cookie"), "{answer}");
    client
}

fn hello(details: &str) -> String {
    format!(r#"[1,"realm1",{{"roles":{{"caller":{{}}}},"authmethods":["cookie","ticket"]{details}}}]"#)
}

/// Joins with a ticket.
fn log_in(wire: &mut Wire, client: Client, authid: &str) {
    let challenge = wire.ask(client, &hello(&format!(r#","authid":"{authid}""#)));
    assert_eq!((&challenge[0], &challenge[1]), (&json!(4), &json!("ticket")), "{challenge}");
    let welcome = wire.ask(client, &authenticate("swordfish"));
    assert_eq!(who(&welcome), json!([authid, "user", "ticket", "static"]));
}

fn who(welcome: &Value) -> Value {
    assert_eq!(welcome[0], 2, "{welcome}");
    let said = |key: &str| welcome[2][key].clone();
    json!([said("authid"), said("authrole"), said("authmethod"), said("authprovider")])
}

#[test]
fn a_browser_is_known_again_on_every_shard_until_its_time_is_over() {
    let mut wire = Wire::with(2, KIND, settings);
    let (first, cookie) = fresh(&mut wire);
    assert_eq!(cookie.len(), "fw=".len() + 24);
    let (_, other) = fresh(&mut wire);
    assert_ne!(cookie, other);
    log_in(&mut wire, first, "alice");
    for _ in 0..2 {
        let again = browser(&mut wire, &cookie);
        assert_eq!(who(&wire.ask(again, &hello(""))), json!(["alice", "user", "cookie", "static"]));
        let named = browser(&mut wire, &cookie);
        assert_eq!(who(&wire.ask(named, &hello(r#","authid":"alice""#)))[2], "cookie");
    }
    // Whoever says to be somebody else has to prove it, and the cookie stands for that one then.
    let bob = browser(&mut wire, &cookie);
    log_in(&mut wire, bob, "bob");
    let again = browser(&mut wire, &cookie);
    assert_eq!(who(&wire.ask(again, &hello("")))[0], "bob");

    wire.sleep(MAX_AGE);
    let late = browser(&mut wire, &cookie);
    assert_eq!(wire.ask(late, &hello(""))[2], NO_METHOD, "joining by cookie gives no new time");
    wire.finish();
}

#[test]
fn a_cookie_opens_only_what_somebody_has_opened_with_it() {
    let mut wire = Wire::with(1, KIND, settings);
    let (first, cookie) = fresh(&mut wire);
    log_in(&mut wire, first, "alice");
    for (cookie, realm) in [(&*cookie, "strict"), ("fw=3479ACEFGHJKLMNPQRSTUVWX", "realm1")] {
        let client = browser(&mut wire, cookie);
        assert_eq!(wire.ask(client, &hello("").replace("realm1", realm))[2], NO_METHOD, "{realm}");
    }
    let (rawsocket, _) = (wire.connect_as(Kind::RawSocket(Serializer::Json)), ());
    assert_eq!(wire.ask(rawsocket, &hello(""))[2], NO_METHOD);
    wire.finish();
}

#[test]
fn after_goodbye_the_connection_is_still_that_browsers() {
    let mut wire = Wire::with(1, KIND, settings);
    let (client, _) = fresh(&mut wire);
    log_in(&mut wire, client, "alice");
    wire.send(client, r#"[6,{},"wamp.close.close_realm"]"#);
    assert_eq!(wire.receive_one(client)[0], 6);
    assert_eq!(who(&wire.ask(client, &hello("")))[2], "cookie");
    wire.finish();
}

#[test]
fn logging_out_ends_all_sessions_of_the_browser_and_its_cookie() {
    let mut wire = Wire::with(2, KIND, settings);
    let (first, cookie) = fresh(&mut wire);
    log_in(&mut wire, first, "alice");
    let tabs: Vec<_> = (0..2).map(|_| browser(&mut wire, &cookie)).collect();
    for tab in &tabs {
        assert_eq!(who(&wire.ask(*tab, &hello("")))[2], "cookie");
    }
    let (other, _) = fresh(&mut wire);
    log_in(&mut wire, other, "alice");

    wire.send(tabs[0], r#"[6,{},"wamp.close.logout"]"#);
    assert_eq!(wire.receive_one(tabs[0])[2], "wamp.close.goodbye_and_out");
    wire.settle();
    for closed in [first, tabs[1]] {
        assert_eq!(wire.receive_one(closed)[2], "wamp.close.logout");
    }
    assert_eq!(wire.receive(other), [json!(null); 0], "another browser of the same person goes on");
    let late = browser(&mut wire, &cookie);
    assert_eq!(wire.ask(late, &hello(""))[2], NO_METHOD);
    wire.finish();
}

#[test]
fn who_is_killed_does_not_come_back_by_cookie() {
    let administer = |router: &mut RouterSettings| {
        settings(router);
        let mut admin = fanwire::router::Role::clone(&role("user"));
        admin.administers = true;
        let mut known = (*router.realms[0].authentication).clone();
        let principals = known
            .principals
            .iter()
            .map(|known| Principal { role: Some(Arc::new(admin.clone())), ..Principal::clone(known) });
        known.principals = Principals::new(principals.collect::<Vec<_>>());
        router.realms[0].authentication = Arc::new(known);
    };
    let mut wire = Wire::with(2, KIND, administer);
    let (killer, _) = fresh(&mut wire);
    log_in(&mut wire, killer, "bob");
    let (victim, cookie) = fresh(&mut wire);
    log_in(&mut wire, victim, "alice");
    let killed = wire.ask(killer, r#"[48,1,{},"wamp.session.kill_by_authid",["alice"]]"#);
    assert_eq!(killed[0], 50, "{killed}");
    assert_eq!(wire.receive_one(victim)[0], 6);
    let again = browser(&mut wire, &cookie);
    assert_eq!(wire.ask(again, &hello(""))[2], NO_METHOD);
    wire.finish();
}

/// A realm of a template that is like the one it is made from.
fn with_template(router: &mut RouterSettings) {
    settings(router);
    let (pattern, policy) = ("realm".to_owned(), MatchPolicy::Prefix);
    let template = Some(Template { pattern, policy, realms_max: 2, idle_ms: 0 });
    router.realms[0].template = template;
}

#[test]
fn a_change_of_settings_ends_only_who_could_not_be_known_again() {
    for how in [settings, with_template] {
        let mut wire = Wire::with(2, KIND, how);
        let (first, cookie) = fresh(&mut wire);
        log_in(&mut wire, first, "alice");
        let tab = browser(&mut wire, &cookie);
        assert_eq!(who(&wire.ask(tab, &hello("")))[2], "cookie");
        wire.configure(|_| {});
        wire.configure(|settings| settings.realms[0].call_timeout_ms += 1);
        assert!(wire.receive(tab).is_empty(), "she could join again");
        let change = |wire: &mut Wire, change: fn(&mut Settings)| {
            wire.configure(|settings| {
                let mut authentication = (*settings.realms[0].authentication).clone();
                change(&mut authentication);
                settings.realms[0].authentication = Arc::new(authentication);
            });
        };
        change(&mut wire, |authentication| authentication.cookies = false);
        assert_eq!(wire.receive_one(tab)[2], "wamp.close.killed");
        assert!(wire.receive(first).is_empty());
        change(&mut wire, |authentication| authentication.principals = Principals::default());
        assert_eq!(wire.receive_one(first)[2], "wamp.close.killed");
        wire.finish();
    }
}

#[test]
fn a_cookie_goes_with_the_secret_and_the_principal_that_it_was_given_for() {
    let ticket = |secret: &str| Some(fanwire::auth::ticket::Stored::read(secret).unwrap());
    let mut wire = Wire::with(2, KIND, settings);
    let change = |wire: &mut Wire, change: &dyn Fn(Principal) -> Option<Principal>| {
        wire.configure(|settings| {
            let mut authentication = (*settings.realms[0].authentication).clone();
            let principals =
                authentication.principals.iter().filter_map(|known| change(Principal::clone(known)));
            authentication.principals = Principals::new(principals.collect::<Vec<_>>());
            settings.realms[0].authentication = Arc::new(authentication);
        });
    };
    let (first, cookie) = fresh(&mut wire);
    log_in(&mut wire, first, "alice");
    wire.reset(first);
    let again = |wire: &mut Wire| {
        let browser = browser(wire, &cookie);
        let answer = wire.ask(browser, &hello(""));
        wire.reset(browser);
        answer[0] == 2
    };
    assert!(again(&mut wire));
    let old = wire.router.settings.realms[0].authentication.principals.named("alice").unwrap().ticket.clone();
    let extra = fanwire::router::authentication::Extra::from_json(r#"{"x":1}"#);
    change(&mut wire, &|known| Some(Principal { extra: extra.clone(), ..known }));
    assert!(again(&mut wire), "she proves herself as before");
    change(&mut wire, &|known| Some(Principal { ticket: ticket("another"), ..known }));
    change(&mut wire, &|known| Some(Principal { ticket: old.clone(), ..known }));
    assert!(!again(&mut wire), "whoever had stolen the old secret comes back by nothing");

    let (first, cookie) = fresh(&mut wire);
    log_in(&mut wire, first, "alice");
    let alice = wire.router.settings.realms[0].authentication.principals.named("alice").unwrap().clone();
    change(&mut wire, &|known| (*known.authid != *"alice").then_some(known));
    wire.configure(|settings| {
        let mut authentication = (*settings.realms[0].authentication).clone();
        let all = authentication.principals.iter().chain([&alice]).map(|known| Principal::clone(known));
        authentication.principals = Principals::new(all.collect::<Vec<_>>());
        settings.realms[0].authentication = Arc::new(authentication);
    });
    let browser = browser(&mut wire, &cookie);
    assert_eq!(wire.ask(browser, &hello(""))[2], NO_METHOD, "she was taken out in between");
    wire.finish();
}

#[test]
fn a_cookie_goes_with_the_procedure_that_has_said_who_it_is() {
    let procedure = |name: &str| {
        Some(Arc::new(Dynamic {
            procedure: name.to_owned(),
            realm: Some("auth".to_owned()),
            timeout_ms: 1_000,
        }))
    };
    let asked = |router: &mut RouterSettings| {
        settings(router);
        let known = Arc::make_mut(&mut router.realms[0].authentication);
        known.method_mut(Method::Ticket).dynamic = procedure("com.example.authenticate");
        router.realms.push(RealmSettings::open("auth"));
    };
    for other in [None, procedure("com.example.another")] {
        let mut wire = Wire::with(2, KIND, asked);
        let authenticator = wire.connect();
        wire.hello(authenticator, "auth");
        assert_eq!(wire.ask(authenticator, r#"[64,1,{},"com.example.authenticate"]"#)[0], 65);
        let (client, cookie) = fresh(&mut wire);
        assert_eq!(wire.ask(client, &hello(r#","authid":"joe""#))[0], 4);
        wire.send(client, &authenticate("a ticket"));
        let request = wire.receive_one(authenticator)[1].clone();
        wire.send(authenticator, &format!(r#"[70,{request},{{}},["user"]]"#));
        wire.resume();
        assert_eq!(who(&wire.receive_one(client)), json!(["joe", "user", "ticket", "dynamic"]));
        wire.reset(client);
        wire.configure(|settings| settings.realms[0].call_timeout_ms += 1);
        let again = browser(&mut wire, &cookie);
        assert_eq!(who(&wire.ask(again, &hello("")))[0], "joe");
        wire.reset(again);
        wire.configure(|settings| {
            let known = Arc::make_mut(&mut settings.realms[0].authentication);
            known.method_mut(Method::Ticket).dynamic = other.clone();
        });
        let late = browser(&mut wire, &cookie);
        assert_ne!(wire.ask(late, &hello(""))[0], 2, "nobody has said so by what holds now");
        wire.finish();
    }
}

#[test]
fn a_cookie_may_be_the_first_in_a_realm_that_is_made_for_it() {
    let mut wire = Wire::with(2, KIND, with_template);
    let (first, cookie) = fresh(&mut wire);
    log_in(&mut wire, first, "alice");
    wire.reset(first);
    wire.sleep(Duration::from_secs(1));
    assert!(wire.router.realm("realm1").is_none(), "it was idle");
    let tab = browser(&mut wire, &cookie);
    assert_eq!(who(&wire.ask(tab, &hello("")))[2], "cookie");
    wire.reset(tab);
    wire.finish_after(Duration::from_secs(1));
}
