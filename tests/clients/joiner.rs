//! A client library that joins as it is told, and says what came of it: `joiner.py` and `joiner.js`.
//!
//! An order is one JSON object:
//!
//! ```text
//!   url, realm, method                      where to join, and the one method that HELLO offers
//!   authid, secret, authextra               what the method needs; cryptosign's secret is the private key as hex
//!   certificate, key                        files of a client certificate
//!   answer: "again" | "none"                answers a challenge as the last of its method was answered, or never
//!   tls: "1.2"                              (Python) no later version of TLS
//!   headers                                 (Python) of the request for WebSocket
//!   origin                                  (autobahn-js) in a browser, which keeps cookies, and with a page from there
//!   do: [[verb, uri, arguments..], ..]      call, register, publish, subscribe, once it has joined
//! ```
//!
//! What came of it is `{joined, did}`, with what WELCOME says and what was answered to each action (`{result}` or
//! `{error}`), or `{refused, message}`, with the reason and the message of ABORT, or `connection` for the reason where it
//! did not come to that. autobahn-js says `cookies` and the `attributes` of the last one besides.

use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::authority::Authority;
use crate::process::{Process, Said, hear};
use crate::{node, python};

/// The scripts give up earlier.
const PATIENCE: Duration = Duration::from_secs(60);

/// The libraries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Library {
    /// autobahn-python
    Python,
    /// autobahn-js
    Autobahn,
    /// wampy.js
    Wampy,
}

/// A library at work.
pub struct Joiner {
    process: Process,
    listener: Receiver<Said>,
}

/// What an order says.
#[derive(Clone, Debug)]
pub struct Order(Map<String, Value>);

/// What came of an order.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome(pub Value);

impl Joiner {
    /// One that trusts the authority, or none if its language is not there.
    pub fn start(library: Library, authority: &Authority) -> Option<Joiner> {
        let mut command = match library {
            Library::Python => with(python::script("joiner.py")?, &[&authority.path("authority.pem")]),
            Library::Autobahn => with(node::script("joiner.js")?, &["autobahn"]),
            Library::Wampy => with(node::script("joiner.js")?, &["wampy"]),
        };
        command.env("NODE_EXTRA_CA_CERTS", authority.path("authority.pem"));
        let (speaker, listener) = channel();
        Some(Joiner { process: Process::start("joiner", &mut command, speaker), listener })
    }

    /// What came of it.
    pub fn join(&mut self, order: &Order) -> Outcome {
        self.process.order(&Value::Object(order.0.clone()).to_string());
        let said = hear(&self.listener, Instant::now() + PATIENCE).and_then(|said| said.line);
        let line = said.unwrap_or_else(|| panic!("no answer to {order:?}\n{}", self.process.complaints()));
        let outcome: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
        assert!(outcome["failed"].is_null(), "{order:?}: {outcome:#}\n{}", self.process.complaints());
        Outcome(outcome)
    }
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

impl Order {
    /// Joins the clients' realm so.
    pub fn new(url: &str, method: &str) -> Order {
        Order(Map::new()).and("url", url).and("realm", "com.example.main").and("method", method)
    }

    /// As somebody, with a secret.
    pub fn by(url: &str, method: &str, authid: &str, secret: &str) -> Order {
        Order::new(url, method).and("authid", authid).and("secret", secret)
    }

    /// And this besides.
    pub fn and(mut self, key: &str, value: impl Into<Value>) -> Order {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// With a client certificate of the authority's.
    pub fn certified(self, authority: &Authority, name: &str) -> Order {
        let file = |kind: &str| authority.path(&format!("{name}.{kind}"));
        self.and("certificate", file("pem")).and("key", file("key"))
    }

    /// And then does this.
    pub fn and_does(self, actions: Value) -> Order {
        self.and("do", actions)
    }
}

impl Outcome {
    /// What WELCOME says: these, in this order.
    pub fn joined<const N: usize>(&self, keys: [&str; N]) -> [Value; N] {
        assert!(self.0["joined"].is_object(), "{self:?}");
        keys.map(|key| self.0["joined"][key].clone())
    }

    /// Asserts that it has joined so.
    pub fn has_joined(&self, authid: &str, authrole: &str, authmethod: &str) {
        let expected = [authid, authrole, authmethod].map(|text| json!(text));
        assert_eq!(self.joined(["authid", "authrole", "authmethod"]), expected);
    }

    /// Asserts that the router has refused it for this reason.
    pub fn is_refused(&self, reason: &str) {
        assert_eq!(self.0["refused"], reason, "{self:?}");
    }

    /// What was answered to its actions: results, and errors as `!` and their URI.
    pub fn did(&self) -> Vec<Value> {
        let said = self.0["did"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        let answer = |each: &Value| match each["error"].as_str() {
            Some(uri) => json!(format!("!{uri}")),
            None => each["result"].clone(),
        };
        said.iter().map(answer).collect()
    }
}
