//! The examples for newcomers, run as they stand: each frontend with each backend.

use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::process::{Process, Said, hear};
use crate::router::Router;
use crate::{node, python};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn javascript_with_javascript() {
    meet(node::script("examples/backend.js"), node::script("examples/frontend.js"), "JavaScript");
}

#[test]
fn javascript_with_python() {
    meet(node::script("examples/backend.js"), python::script("examples/frontend.py"), "JavaScript");
}

#[test]
fn python_with_javascript() {
    meet(python::script("examples/backend.py"), node::script("examples/frontend.js"), "Python");
}

#[test]
fn python_with_python() {
    meet(python::script("examples/backend.py"), python::script("examples/frontend.py"), "Python");
}

/// Starts the backend, then the frontend, and waits for the sum and a greeting from the backend's language.
fn meet(backend: Option<Command>, frontend: Option<Command>, language: &str) {
    let (Some(mut backend), Some(mut frontend)) = (backend, frontend) else { return };
    let router = Router::start(2);
    let deadline = Instant::now() + PATIENCE;

    let (speaker, listener) = channel();
    let backend = Process::start("backend", backend.arg(router.websocket_url()), speaker);
    await_lines(&backend, &listener, deadline, vec!["registered com.myapp.add2".to_owned()]);

    let (speaker, listener) = channel();
    let frontend = Process::start("frontend", frontend.arg(router.websocket_url()), speaker);
    let greeting = format!("event: Hello from {language}, number ");
    await_lines(&frontend, &listener, deadline, vec!["2 + 3 = 5".to_owned(), greeting]);
}

/// Waits until lines with all these beginnings have come, in any order.
fn await_lines(process: &Process, listener: &Receiver<Said>, deadline: Instant, mut wanted: Vec<String>) {
    while !wanted.is_empty() {
        let Some(line) = hear(listener, deadline).and_then(|said| said.line) else {
            panic!("not printed: {wanted:?}\n{}", process.complaints());
        };
        wanted.retain(|beginning| !line.starts_with(beginning));
    }
}
