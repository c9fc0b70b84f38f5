//! An authenticator and an authorizer in Python, as Crossbar.io's users have them (`dynamic.py`), deciding for clients of
//! all libraries; what they are asked, and what becomes of them that fail.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::authority::Authority;
use crate::joiner::{Joiner, Library, Order, Outcome};
use crate::process::{Process, Said, hear};
use crate::python;
use crate::router::Router;

const PATIENCE: Duration = Duration::from_secs(60);

const DAVES_KEY: &str = "6464646464646464646464646464646464646464646464646464646464646464";
const NOBODYS_KEY: &str = "7373737373737373737373737373737373737373737373737373737373737373";

/// The back end, which prints what it is asked.
pub struct Backend {
    process: Process,
    listener: Receiver<Said>,
}

impl Backend {
    /// One that has registered everything, or none if there is no Python.
    pub fn start(authority: &Authority, url: &str) -> Option<Backend> {
        let mut command = python::script("dynamic.py")?;
        let (speaker, listener) = channel();
        let process =
            Process::start("backend", command.args([&authority.path("authority.pem"), url]), speaker);
        let mut backend = Backend { process, listener };
        assert_eq!(backend.line(), json!({ "ready": true }));
        Some(backend)
    }

    /// The arguments of the next question.
    fn asked(&mut self, procedure: &str) -> Value {
        let line = self.line();
        assert_eq!(line["asked"], procedure, "{line}");
        line["arguments"].clone()
    }

    /// Forgets what has been asked so far.
    fn forget(&mut self) {
        while self.listener.try_recv().is_ok() {}
    }

    fn line(&mut self) -> Value {
        let said = hear(&self.listener, Instant::now() + PATIENCE).and_then(|said| said.line);
        let line = said.unwrap_or_else(|| panic!("the back end is silent\n{}", self.process.complaints()));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
    }
}

struct Scene {
    authority: Authority,
    router: Router,
    backend: Backend,
    joiner: Joiner,
}

impl Scene {
    fn start(library: Library) -> Option<Scene> {
        let authority = Authority::new();
        authority.issue_client("tess");
        let file = authority.configuration("dynamic.toml", &[]);
        let joiner = Joiner::start(library, &authority)?;
        let router = Router::configured(&file);
        let backend = Backend::start(&authority, &router.secure_websocket_url(0))?;
        let mut scene = Scene { authority, router, backend, joiner };
        scene.backend.forget();
        Some(scene)
    }

    fn url(&self) -> String {
        self.router.secure_websocket_url(0)
    }

    fn join(&mut self, order: &Order) -> Outcome {
        self.joiner.join(order)
    }

    fn by(&mut self, method: &str, authid: &str, secret: &str) -> Outcome {
        let order = Order::by(&self.url(), method, authid, secret);
        self.join(&order)
    }
}

/// Each joins as the authenticator says that each library can.
pub fn methods_are_decided(joiner: &mut Joiner, library: Library, url: &str) {
    let mut by =
        |method: &str, authid: &str, secret: &str| joiner.join(&Order::by(url, method, authid, secret));
    let dora = by("ticket", "dora", "dora's ticket");
    dora.has_joined("dora", "frontend", "ticket");
    assert_eq!(dora.joined(["authextra"])[0]["my-custom-welcome-data"], json!([1, 2, 3]));
    by("ticket", "dora", "dirk's secret").is_refused("com.example.invalid_ticket");
    by("ticket", "nemo", "dora's ticket").is_refused("com.example.no_such_user");
    by("ticket", "dolf", "dolf's ticket").has_joined("dolf", "frontend", "ticket");
    let users = [("dirk", "dirk's secret"), ("dana", "dana's password"), ("diana", "diana's password")];
    for (authid, secret) in users {
        let joined = by("wampcra", authid, secret);
        joined.has_joined(authid, "frontend", "wampcra");
        assert_eq!(joined.joined(["authextra"])[0]["by"], "procedure");
        by("wampcra", authid, "dora's ticket").is_refused("wamp.error.authentication_failed");
    }
    by("wampcra", "nemo", "dirk's secret").is_refused("com.example.no_such_user");
    by("cryptosign", "dave", DAVES_KEY).has_joined("dave", "frontend", "cryptosign");
    by("cryptosign", "dave", NOBODYS_KEY).is_refused("wamp.error.authentication_failed");
    if library == Library::Python {
        by("scram", "dean", "kim's password").has_joined("dean", "frontend", "scram");
        by("scram", "dean", "amy's password").is_refused("wamp.error.authentication_failed");
    }
    if library != Library::Wampy {
        let nameless = Order::new(url, "cryptosign").and("secret", DAVES_KEY);
        joiner.join(&nameless).has_joined("dave", "frontend", "cryptosign");
    }
}

/// What the authorizer allows is done; the rest is denied, as is what it does not answer.
pub fn actions_are_decided(joiner: &mut Joiner, url: &str) {
    let order = Order::by(url, "ticket", "guide", "guide's ticket");
    let outcome = joiner.join(&order.and_does(json!([
        ["call", "com.example.open.add", 2, 3],
        ["call", "com.example.closed"],
        ["call", "com.example.who"],
        ["call", "com.example.who"],
        ["call", "com.example.crash"],
        ["publish", "com.example.open.news", "text"],
        ["publish", "com.example.secret", "text"],
        ["publish", "com.example.shown.news", "text"],
        ["subscribe", "com.example.open", "prefix"],
        ["subscribe", "com.example.shown.news"],
        ["register", "com.example.open.mine"],
        ["register", "com.example.theirs"],
    ])));
    outcome.has_joined("guide", "guided", "ticket");
    let denied = json!("!wamp.error.not_authorized");
    let guide = json!({ "authid": "guide", "authrole": "guided" });
    let expected = [
        json!(5),
        denied.clone(),
        guide.clone(),
        guide,
        json!("!wamp.error.authorization_failed"),
        Value::Null,
        denied.clone(),
        Value::Null,
        Value::Null,
        denied.clone(),
        Value::Null,
        denied,
    ];
    assert_eq!(outcome.did(), expected);
}

fn clients_are_served(library: Library) {
    let Some(mut scene) = Scene::start(library) else { return };
    let url = scene.url();
    methods_are_decided(&mut scene.joiner, library, &url);
    actions_are_decided(&mut scene.joiner, &url);
}

#[test]
fn python_is_served() {
    clients_are_served(Library::Python);
}

#[test]
fn autobahn_is_served() {
    clients_are_served(Library::Autobahn);
}

#[test]
fn wampy_is_served() {
    clients_are_served(Library::Wampy);
}

/// The arguments are those of Crossbar.io: realm, authid, and details with the transport, its HTTP headers among them.
#[test]
fn authenticators_are_told_all_about_a_client() {
    let Some(mut scene) = Scene::start(Library::Python) else { return };
    let order = Order::by(&scene.url(), "ticket", "dora", "dora's ticket");
    scene.join(&order.and("headers", json!({ "X-Custom": "something" }))).joined([]);
    let asked = scene.backend.asked("authenticate");
    assert_eq!((&asked[0], &asked[1]), (&json!("com.example.main"), &json!("dora")));
    let details = &asked[2];
    assert_eq!(details["authmethod"], "ticket", "{details:#}");
    assert_eq!(details["ticket"], "dora's ticket", "{details:#}");
    assert!(details["session"].is_u64(), "{details:#}");
    let transport = &details["transport"];
    assert!(transport.is_object(), "{details:#}");
    let headers = &transport["http_headers_received"];
    assert_eq!(headers["x-custom"], "something", "{details:#}");
    assert!(headers["user-agent"].as_str().is_some_and(|agent| agent.contains("Autobahn")), "{details:#}");
    let peer = transport["peer"].as_str().unwrap_or_default();
    assert!(peer.starts_with("tcp4:127.0.0.1:"), "{details:#}");
    assert_eq!(transport["is_secure"], true, "{details:#}");

    scene.by("cryptosign", "dave", DAVES_KEY).joined([]);
    let asked = scene.backend.asked("authenticate");
    assert_eq!(asked[2]["authmethod"], "cryptosign", "{asked:#}");
    assert!(asked[2]["authextra"]["pubkey"].is_string(), "{asked:#}");

    let certified = Order::new(&scene.url(), "tls").certified(&scene.authority, "tess");
    scene.join(&certified).has_joined("by certificate", "frontend", "tls");
    let asked = scene.backend.asked("authenticate");
    assert_eq!(asked[2]["authmethod"], "tls", "{asked:#}");
    assert!(asked[2]["transport"]["peer_cert"].is_object(), "{asked:#}");
}

/// The arguments are those of Crossbar.io: details of the session, URI, action, and the options of the message.
#[test]
fn authorizers_are_told_all_about_an_action() {
    let Some(mut scene) = Scene::start(Library::Python) else { return };
    let order = Order::by(&scene.url(), "ticket", "guide", "guide's ticket");
    let actions =
        json!([["subscribe", "com.example.open.", "prefix"], ["call", "com.example.open.add", 2, 3]]);
    scene.join(&order.and("headers", json!({ "X-Custom": "something" })).and_does(actions)).joined([]);
    scene.backend.asked("authenticate");
    let asked = scene.backend.asked("authorize");
    assert_eq!(
        asked.as_array().expect("they are four")[1..3],
        [json!("com.example.open."), json!("subscribe")]
    );
    assert_eq!(asked[3]["match"], "prefix", "{asked:#}");
    let session = &asked[0];
    let expected = [
        ("realm", "com.example.main"),
        ("authid", "guide"),
        ("authrole", "guided"),
        ("authmethod", "ticket"),
    ];
    for (key, value) in expected {
        assert_eq!(session[key], value, "{asked:#}");
    }
    assert!(session["session"].is_u64(), "{asked:#}");
    let headers = &session["transport"]["http_headers_received"];
    assert_eq!(headers["x-custom"], "something", "{asked:#}");
    let asked = scene.backend.asked("authorize");
    assert_eq!(
        asked.as_array().expect("they are four")[1..3],
        [json!("com.example.open.add"), json!("call")]
    );
}

/// What HTTP has said is there for as long as the session is, so they may go by it.
#[test]
fn authorizers_may_look_at_headers() {
    let Some(mut scene) = Scene::start(Library::Python) else { return };
    let url = scene.url();
    let publish = json!([["publish", "com.example.by_header", 1], ["publish", "com.example.by_header", 2]]);
    let order = |headers| {
        Order::by(&url, "ticket", "guide", "guide's ticket").and("headers", headers).and_does(publish.clone())
    };
    assert_eq!(scene.join(&order(json!({ "X-Custom": "something" }))).did(), [Value::Null, Value::Null]);
    let denied = json!("!wamp.error.not_authorized");
    assert_eq!(scene.join(&order(json!({ "X-Custom": "else" }))).did(), [denied.clone(), denied]);
}

/// One that raises, or does not answer in time, lets nobody in; and those who come after are served.
#[test]
fn authenticators_that_fail_let_nobody_in() {
    let Some(mut scene) = Scene::start(Library::Python) else { return };
    for authid in ["crash", "slow"] {
        let refused = scene.by("ticket", authid, "a ticket");
        assert_ne!(refused.0["refused"], Value::Null, "{refused:?}");
        assert_ne!(refused.0["refused"], "closed", "{refused:?}");
    }
    scene.by("ticket", "dora", "dora's ticket").has_joined("dora", "frontend", "ticket");
}

/// One that does not answer in time denies; what the session does besides goes on in its order.
#[test]
fn authorizers_that_are_slow_deny() {
    let Some(mut scene) = Scene::start(Library::Python) else { return };
    let order = Order::by(&scene.url(), "ticket", "guide", "guide's ticket");
    let actions = json!([["call", "com.example.slow"], ["call", "com.example.open.add", 2, 3]]);
    let outcome = scene.join(&order.and_does(actions));
    assert_eq!(outcome.did(), [json!("!wamp.error.authorization_failed"), json!(5)]);
}

#[test]
fn authenticators_may_choose_another_realm() {
    let Some(mut scene) = Scene::start(Library::Python) else { return };
    let moved = scene.by("ticket", "mover", "mover's ticket");
    moved.has_joined("mover", "visitor", "ticket");
    assert_eq!(moved.joined(["realm"]), [json!("com.example.other")]);
}

#[test]
fn authenticators_may_know_those_who_say_nothing() {
    let Some(mut scene) = Scene::start(Library::Python) else { return };
    let outcome = scene.join(&Order::new(&scene.url(), "anonymous"));
    assert_eq!(outcome.joined(["authrole", "authmethod"]), [json!("frontend"), json!("anonymous")]);
}
