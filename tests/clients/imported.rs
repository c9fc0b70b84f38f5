//! A configuration of Crossbar.io with all of it, imported, checked and served to the clients that it served there.
//!
//! `configurations/crossbar.json` has four transports, whose places are named below.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::authority::Authority;
use crate::dynamic::{Backend, actions_are_decided, methods_are_decided};
use crate::joiner::{Joiner, Library, Order};
use crate::process::run;
use crate::router::Router;

const STATIC: usize = 0;
const DYNAMIC: usize = 1;
const CERTIFIED: usize = 2;
const CERTIFIED_DYNAMIC: usize = 3;

const ALICE_KEY: &str = "6161616161616161616161616161616161616161616161616161616161616161";
/// No secret of anybody's.
const NOBODYS: &str = "7373737373737373737373737373737373737373737373737373737373737373";
const PATIENCE: Duration = Duration::from_secs(60);

/// Imports it as a user would, with the warnings that it gives; and serves it.
fn imported(authority: &Authority) -> Router {
    let fingerprint = authority.issue_client("tess");
    let node = authority.configuration("crossbar.json", &[("FINGERPRINT", &fingerprint)]);
    let file = authority.file("fanwire.toml");
    let fanwire = || Command::new(env!("CARGO_BIN_EXE_fanwire"));
    let mut import = fanwire();
    import.arg("import-crossbar").arg(&node).arg("--output").arg(&file);
    run("import-crossbar", &mut import, PATIENCE).expect("it can be imported");
    let mut check = fanwire();
    run("check", check.arg("check").arg(&file), PATIENCE).expect("what was imported is good");
    Router::configured(&file)
}

fn serves_as_crossbar_did(library: Library) {
    let authority = Authority::new();
    let Some(mut joiner) = Joiner::start(library, &authority) else { return };
    let router = imported(&authority);
    let open = router.secure_websocket_url(STATIC);
    let Some(_backend) = Backend::start(&authority, &open) else { return };

    let mut by = |method: &str, authid: &str, secret: &str, actions: Value| {
        joiner.join(&Order::by(&open, method, authid, secret).and_does(actions))
    };
    let known = [
        ("ticket", "alice", "alice's ticket"),
        ("wampcra", "alice", "alice's secret"),
        ("wampcra", "amy", "amy's password"),
        ("wampcra", "anna", "anna's password"),
        ("cryptosign", "alice", ALICE_KEY),
        ("scram", "kim", "kim's password"),
    ];
    for (method, authid, secret) in known {
        if method == "scram" && library != Library::Python {
            continue;
        }
        let actions = json!([
            ["call", "com.example.open.add", 2, 3],
            ["call", "com.example.who"],
            ["call", "com.example.closed"],
            ["publish", "com.example.open.news"],
            ["subscribe", "com.example.closed.news"],
            ["register", "com.example.open.mine"],
        ]);
        let outcome = by(method, authid, secret, actions);
        outcome.has_joined(authid, "frontend", method);
        let caller = json!({ "authid": authid, "authrole": "frontend" });
        let denied = json!("!wamp.error.not_authorized");
        let expected = [json!(5), caller, denied.clone(), Value::Null, denied.clone(), denied];
        assert_eq!(outcome.did(), expected, "{method}");
    }
    // Not every method once more: the configuration slows down who fails too often.
    by("ticket", "alice", NOBODYS, json!([])).is_refused("wamp.error.authentication_failed");

    let dynamic = router.secure_websocket_url(DYNAMIC);
    methods_are_decided(&mut joiner, library, &dynamic);
    actions_are_decided(&mut joiner, &dynamic);
}

#[test]
fn python_is_served_as_before() {
    serves_as_crossbar_did(Library::Python);
}

#[test]
fn autobahn_is_served_as_before() {
    serves_as_crossbar_did(Library::Autobahn);
}

#[test]
fn wampy_is_served_as_before() {
    serves_as_crossbar_did(Library::Wampy);
}

#[test]
fn rawsocket_certificates_and_those_who_say_nothing() {
    let authority = Authority::new();
    let Some(mut joiner) = Joiner::start(Library::Python, &authority) else { return };
    let router = imported(&authority);
    let Some(_backend) = Backend::start(&authority, &router.secure_websocket_url(STATIC)) else { return };

    let rawsocket = router.secure_rawsocket_url(DYNAMIC);
    let dora = Order::by(&rawsocket, "ticket", "dora", "dora's ticket");
    joiner.join(&dora).has_joined("dora", "frontend", "ticket");

    let anonymous = Order::new(&router.secure_websocket_url(STATIC), "anonymous");
    assert_eq!(joiner.join(&anonymous).joined(["authrole"]), [json!("visitor")]);
    let not_open = Order::new(&router.secure_websocket_url(DYNAMIC), "anonymous");
    joiner.join(&not_open).is_refused("wamp.error.no_matching_auth_method");

    let certified = Order::new(&router.secure_websocket_url(CERTIFIED), "tls");
    joiner.join(&certified.clone().certified(&authority, "tess")).has_joined("tess", "frontend", "tls");
    joiner.join(&certified).is_refused("connection");
    authority.issue_client("unknown");
    let dynamic = Order::new(&router.secure_websocket_url(CERTIFIED_DYNAMIC), "tls");
    let unknown = dynamic.certified(&authority, "unknown");
    joiner.join(&unknown).has_joined("by certificate", "frontend", "tls");
}

#[test]
fn cookies_of_a_browser_are_kept() {
    let authority = Authority::new();
    let Some(mut joiner) = Joiner::start(Library::Autobahn, &authority) else { return };
    let router = imported(&authority);
    let url = router.secure_websocket_url(STATIC);
    let page = |order: Order| order.and("origin", "https://good.example.com");
    let login = page(Order::by(&url, "wampcra", "alice", "alice's secret"));
    joiner.join(&login).has_joined("alice", "frontend", "wampcra");
    let again = joiner.join(&page(Order::new(&url, "cookie")));
    assert_eq!(again.joined(["authid", "authrole"]), [json!("alice"), json!("frontend")]);
}
