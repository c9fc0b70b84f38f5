//! A configuration that is read again while the real binary serves it: by SIGHUP, by `fanwire reload`, and with mistakes.

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::process::Signal;

use super::process::{Directory, Running, command, fanwire};

/// Realms and their names after the listener and what stands before it.
fn file(top: &str, realms: &[&str]) -> String {
    let mut text = format!("drain_seconds = 1\n{top}\n[[listener]]\naddress = \"127.0.0.1:0\"\n");
    for realm in realms {
        text += &format!(
            "[[realm]]\nname = \"{realm}\"\nanonymous = {{ role = \"guest\" }}\n[[realm.role]]\nname = \"guest\"\n\
             rule = [{{ uri = \"*\", allow = [\"call\", \"register\", \"publish\", \"subscribe\"] }}]\n"
        );
    }
    text
}

struct Served {
    router: Running,
    url: String,
    path: String,
    control: String,
    directory: Directory,
}

/// A router whose file has these realms, and a control socket.
fn serve(realms: &[&str]) -> Served {
    let directory = Directory::new();
    let path = directory.path.join("fanwire.toml");
    fs::write(&path, file("control = \"control\"", realms)).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let control = directory.path.join("control").to_str().unwrap().to_owned();
    let mut router = Running::start(command(&["serve", "--config", &path, "--shards", "2"]));
    let mut url = String::new();
    loop {
        let line = router.line().expect("the router is ready before it ends");
        if let Some(address) = line.strip_prefix("listening on tcp://") {
            url = format!("ws://{}/", address.split(' ').next().unwrap());
        }
        if line == "ready" {
            return Served { router, url, path, control, directory };
        }
    }
}

impl Served {
    fn write(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
    }

    fn reload(&self) -> (i32, String, String) {
        fanwire(&["reload", "--control", &self.control])
    }

    /// The exit code of a publication in a realm.
    fn publish(&self, realm: &str) -> i32 {
        fanwire(&["pub", "--url", &self.url, "--realm", realm, "com.example.topic", "1", "--ack"]).0
    }

    /// Waits for a line of the log with these words.
    fn await_log(&mut self, words: &str) {
        while !self.router.stderr_line().expect("the router goes on").contains(words) {}
    }
}

const TOP: &str = "control = \"control\"";

#[test]
fn a_changed_file_holds_when_it_was_asked_for() {
    let mut served = serve(&["com.first"]);
    assert_eq!((served.publish("com.first"), served.publish("com.second")), (0, 4));
    assert_eq!(served.reload(), (0, "nothing in the file has changed\n".to_owned(), String::new()));

    served.write(&file(&format!("{TOP}\nshards = 7\nlog = \"debug\""), &["com.first", "com.second"]));
    let (code, stdout, stderr) = fanwire(&["reload", "--config", &served.path]);
    assert_eq!((code, &*stderr), (0, ""), "{stdout}");
    let lines: Vec<_> = stdout.lines().collect();
    let later = "log holds only when the router is started again";
    assert_eq!(lines, ["realm com.second is there now", later], "--shards wins over the file");
    assert_eq!((served.publish("com.first"), served.publish("com.second")), (0, 0));
    served.await_log("realm com.second is there now");

    served.write(&file(TOP, &["com.second"]));
    served.router.signal(Signal::HUP);
    served.await_log("realm com.first is no more");
    assert_eq!((served.publish("com.first"), served.publish("com.second")), (4, 0));
    assert_eq!(served.router.interrupt(), 0);
    assert!(!fs::exists(&served.control).unwrap(), "the socket goes with the router");
}

#[test]
fn a_bad_file_changes_nothing_and_every_mistake_is_told() {
    let mut served = serve(&["com.first"]);
    let text = file("stall_seconds = 0\ncolour = \"red\"", &["com.second"]);
    served.write(&text.replace("uri = \"*\"", "uri = \"a b\""));
    let (code, stdout, stderr) = served.reload();
    assert_eq!((code, &*stdout), (2, ""));
    for words in [":2:", ":3:", "colour", "stall_seconds", "a b", "3 mistakes in", "nothing has changed"] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
    served.await_log("nothing has changed");
    served.write("[[listener");
    assert_eq!(served.reload().0, 2);
    fs::remove_file(&served.path).unwrap();
    served.router.signal(Signal::HUP);
    served.await_log("cannot read");
    assert_eq!((served.publish("com.first"), served.publish("com.second")), (0, 4));

    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("\n[[listener]]\naddress = \"{}\"\n", held.local_addr().unwrap());
    served.write(&(file(TOP, &["com.second"]) + &taken));
    let (code, _, stderr) = served.reload();
    assert!(
        code == 2 && stderr.contains("cannot listen on") && stderr.contains("nothing has changed"),
        "{stderr}"
    );
    assert_eq!((served.publish("com.first"), served.publish("com.second")), (0, 4));
    assert_eq!(served.router.interrupt(), 0);
}

#[test]
fn without_a_file_or_a_router_there_is_nothing_to_be_read_again() {
    let directory = Directory::new();
    let control = directory.path.join("control").to_str().unwrap().to_owned();
    let (code, _, stderr) = fanwire(&["reload", "--control", &control]);
    assert!(code == 1 && stderr.contains("no router answers at"), "{code} {stderr}");
    assert_eq!(fanwire(&["reload"]).0, 2);

    let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--control", &control]);
    serve.args(["--shards", "1", "--drain-seconds", "1"]);
    let mut router = Running::start(serve);
    while router.line().expect("it is ready before it ends") != "ready" {}
    let (code, _, stderr) = fanwire(&["reload", "--control", &control]);
    assert!(code == 2 && stderr.contains("started without --config"), "{code} {stderr}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&control).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "nobody else may ask");
    router.signal(Signal::HUP);
    assert_eq!(router.exit_signal(), Some(Signal::HUP.as_raw()), "it ends with its terminal");
}

#[test]
fn what_changes_and_what_waits_is_told_until_it_is_so() {
    let mut served = serve(&["com.first"]);
    let nothing = "nothing in the file has changed\n";
    let asked = |top: &str, expected: &str| {
        served.write(&file(&format!("{TOP}\n{top}"), &["com.first"]));
        let (code, stdout, stderr) = served.reload();
        assert_eq!((code, &*stdout, &*stderr), (0, expected, ""), "{top}");
    };
    asked("request_ids = \"any\"", "request_ids has changed\n");
    asked("longpoll = \"/x\"", "request_ids has changed\nlongpoll has changed\n");
    asked("peer_message_bytes_min = 1024", "peer_message_bytes_min has changed\nlongpoll has changed\n");
    asked("", "peer_message_bytes_min has changed\n");
    asked("", nothing);
    let later = "log holds only when the router is started again\n";
    asked("log = \"debug\"", later);
    asked("log = \"debug\"", later);
    asked("", nothing);
    assert_eq!(served.router.interrupt(), 0);
}

#[test]
fn a_router_whose_control_socket_has_changed_in_the_file_is_asked_where_it_was() {
    let mut served = serve(&["com.first"]);
    served.write(&file("control = \"elsewhere\"", &["com.first"]));
    let (code, _, stderr) = fanwire(&["reload", "--config", &served.path]);
    assert!(code == 1 && stderr.contains("elsewhere") && stderr.contains("--control PATH"), "{stderr}");
    let later = "control holds only when the router is started again\n";
    assert_eq!(served.reload(), (0, later.to_owned(), String::new()));
    assert_eq!(served.router.interrupt(), 0);
    let (_, _, stderr) = fanwire(&["reload", "--control", &served.control]);
    assert!(!stderr.contains("--control PATH"), "{stderr}");
}

#[test]
fn a_file_that_is_read_without_end_does_not_hold_up_the_end_of_the_router() {
    let mut served = serve(&["com.first"]);
    let never = served.directory.path.join("never");
    assert!(Command::new("mkfifo").arg(&never).status().unwrap().success());
    let secured =
        "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = { certificate = \"never\", key_file = \"never\" }\n";
    served.write(&(file(TOP, &["com.first"]) + secured));
    served.router.signal(Signal::HUP);
    // It is opened as soon as it is read, and nothing comes.
    let writer = fs::OpenOptions::new().write(true).open(&never).unwrap();
    assert_eq!(served.publish("com.first"), 0);
    assert_eq!(served.router.interrupt(), 0);
    drop(writer);
}

#[test]
fn a_control_socket_that_cannot_be_had_is_told_with_what_to_change() {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--control", "/nonexistent/control"];
    let (code, _, stderr) = fanwire(&arguments);
    assert_eq!(code, 2);
    assert!(
        stderr.contains("control socket /nonexistent/control: ") && stderr.contains("--control"),
        "{stderr}"
    );
}

#[test]
fn a_certificate_that_is_read_without_end_holds_up_neither_connections_nor_the_end() {
    let directory = Directory::new();
    let path = |name: &str| directory.path.join(name).to_str().unwrap().to_owned();
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key, control) = (path("c.pem"), path("k.pem"), path("control"));
    fs::write(&certificate, issued.cert.pem()).unwrap();
    fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    let mut serve = command(&["serve", "--shards", "1", "--control", &control, "--drain-seconds", "1"]);
    serve.args(["--listen", "tcps://127.0.0.1:0", "--listen", "tcp://127.0.0.1:0"]);
    serve.args(["--tls-certificate", &certificate, "--tls-key", &key]);
    let mut router = Running::start(serve);
    let mut url = String::new();
    loop {
        let line = router.line().expect("it is ready before it ends");
        match line.strip_prefix("listening on tcp://") {
            Some(address) => url = format!("ws://{}/", address.split(' ').next().unwrap()),
            None if line == "ready" => break,
            None => {}
        }
    }
    fs::remove_file(&key).unwrap();
    assert!(Command::new("mkfifo").arg(&key).status().unwrap().success());
    let asker = Running::start(command(&["reload", "--control", &control]));
    // It is opened as soon as it is read, and nothing comes.
    let writer = fs::OpenOptions::new().write(true).open(&key).unwrap();
    assert_eq!(fanwire(&["pub", "--url", &url, "com.example.topic", "1", "--ack"]).0, 0);
    assert_eq!(router.interrupt(), 0);
    drop((writer, asker));
}

#[test]
fn who_connects_and_says_nothing_holds_up_nobody() {
    let mut served = serve(&["com.first"]);
    let silent: Vec<_> = (0..200).map(|_| UnixStream::connect(&served.control).unwrap()).collect();
    let (code, stdout, stderr) = served.reload();
    assert_eq!((code, &*stdout), (0, "nothing in the file has changed\n"), "{stderr}");
    drop(silent);
    assert_eq!(served.router.interrupt(), 0);
}

#[test]
fn listeners_of_any_port_are_compared_one_by_one() {
    let mut served = serve(&["com.first"]);
    let text =
        |more: &str| file(TOP, &["com.first"]) + &format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{more}");
    served.write(&text("message_bytes_max = \"2M\""));
    assert!(served.reload().1.starts_with("listening on tcp://127.0.0.1:"));
    assert_eq!(served.reload().1, "nothing in the file has changed\n");
    served.write(&text(""));
    assert_eq!(served.reload().1, "the listener at tcp://127.0.0.1:0 has changed\n");
    assert_eq!(served.router.interrupt(), 0);
}

#[test]
fn only_the_router_needs_what_its_file_names() {
    let mut served = serve(&["com.first"]);
    let path = served.directory.path.join("other.toml");
    fs::write(
        &path,
        file("control = \"control\"\n[authentication]\nrouter_key_env = \"NOT_SET_HERE\"", &["a"]),
    )
    .unwrap();
    let (code, stdout, stderr) = fanwire(&["reload", "--config", path.to_str().unwrap()]);
    assert_eq!((code, &*stdout), (0, "nothing in the file has changed\n"), "{stderr}");
    fs::write(&path, "shards = 1").unwrap();
    assert_eq!(fanwire(&["reload", "--config", path.to_str().unwrap()]).0, 2);
    assert_eq!(served.router.interrupt(), 0);
}

#[test]
fn sessions_that_end_are_told_and_counted() {
    let mut served = serve(&["com.first", "com.second"]);
    let mut first =
        Running::ready(&["sub", "--url", &served.url, "--realm", "com.first", "com.example.topic"]);
    served.write(&file(TOP, &["com.second"]));
    let (_, stdout, _) = served.reload();
    assert_eq!(stdout, "realm com.first is no more\n1 session ended\n");
    while first.stderr_line().is_some() {}
    let (code, stdout, stderr) = fanwire(&["counters", "--control", &served.control]);
    assert_eq!((code, &*stderr), (0, ""));
    for line in ["sessions_joined 1", "sessions_dismissed 1", "publications 0", "denied.call 0"] {
        assert!(stdout.lines().any(|told| told == line), "{line}: {stdout}");
    }
    let (_, stdout, _) = fanwire(&["counters", "--config", &served.path, "--json"]);
    let counters: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(counters["sessions_dismissed"], 1);
    assert_eq!(served.router.interrupt(), 0);
    assert_eq!(fanwire(&["counters", "--control", &served.control]).0, 1);
}

#[test]
fn what_is_taken_from_sessions_is_told_and_counted() {
    let mut served = serve(&["com.first", "com.second"]);
    let ready = |command: &str, realm: &str, uris: &[&str]| {
        let mut arguments = vec![command, "--url", &served.url, "--realm", realm];
        arguments.extend(uris);
        Running::ready(&arguments)
    };
    let mut stay = [
        ready("sub", "com.second", &["com.example.topic"]),
        ready("sub", "com.second", &["com.example.other"]),
        ready("register", "com.second", &["com.example.echo", "--echo"]),
    ];
    let mut goes = ready("sub", "com.first", &["com.example.topic"]);
    served.write(
        &file(TOP, &["com.second"]).replace("\"register\", \"publish\", \"subscribe\"", "\"publish\""),
    );
    let (code, stdout, _) = served.reload();
    let lost = "1 session ended, 2 subscriptions and 1 registration taken away";
    let lines = ["realm com.first is no more", lost, "realm com.second has changed"];
    assert_eq!((code, stdout.lines().collect::<Vec<_>>()), (0, lines.to_vec()));
    served.await_log(lost);
    let (_, stdout, _) = fanwire(&["counters", "--control", &served.control]);
    for line in ["sessions_dismissed 1", "subscriptions_revoked 2", "registrations_revoked 1"] {
        assert!(stdout.lines().any(|told| told == line), "{line}: {stdout}");
    }
    while goes.stderr_line().is_some() {}
    for session in &mut stay {
        session.interrupt();
    }
    served.router.signal(Signal::INT);
    served.await_log("2 subscriptions taken away because settings have changed");
}

#[test]
fn a_session_stays_through_a_change_of_another_realm_and_goes_with_its_own() {
    let mut served = serve(&["com.first", "com.second"]);
    let subscribe =
        |realm: &str| Running::ready(&["sub", "--url", &served.url, "--realm", realm, "com.example.topic"]);
    let (mut first, mut second) = (subscribe("com.first"), subscribe("com.second"));
    served.write(&file(TOP, &["com.first", "com.third"]));
    assert_eq!(served.reload().0, 0);
    assert_eq!(served.publish("com.first"), 0);
    assert!(first.line().is_some_and(|line| line.contains('1')));
    assert_eq!(second.end(), 3, "the router has ended the session");
    assert_eq!(first.interrupt(), 0);
    assert_eq!(served.router.interrupt(), 0);
    drop(served.directory);
}

#[test]
fn certificates_are_read_again_with_the_file_and_without_one() {
    let directory = Directory::new();
    let path = |name: &str| directory.path.join(name).to_str().unwrap().to_owned();
    let issue = || {
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(path("c.pem"), issued.cert.pem()).unwrap();
        fs::write(path("k.pem"), issued.signing_key.serialize_pem()).unwrap();
    };
    let listener =
        "address = \"127.0.0.1:0\"\n[listener.tls]\ncertificate = \"c.pem\"\nkey_file = \"k.pem\"\n";
    fs::write(path("f.toml"), format!("drain_seconds = 1\n[[listener]]\n{listener}")).unwrap();
    let (control, certificate, key, file) = (path("control"), path("c.pem"), path("k.pem"), path("f.toml"));
    let ways = [
        vec!["--config", &file],
        vec![
            "--listen",
            "tcps://127.0.0.1:0",
            "--tls-certificate",
            &certificate,
            "--tls-key",
            &key,
            "--drain-seconds",
            "1",
        ],
    ];
    for way in ways {
        issue();
        let mut serve = command(&["serve", "--shards", "1", "--control", &control]);
        serve.args(way);
        let mut router = Running::start(serve);
        let mut address = String::new();
        loop {
            let line = router.line().expect("it is ready before it ends");
            if let Some(told) = line.strip_prefix("listening on ") {
                address = told.split(' ').next().unwrap().to_owned();
            }
            if line == "ready" {
                break;
            }
        }
        let changed = format!("the certificates of {address} have changed\n");
        let reload = || fanwire(&["reload", "--control", &control]);
        let (code, stdout, _) = reload();
        assert!(code == 0 && stdout.starts_with("no"), "{stdout}");
        issue();
        let (code, stdout, stderr) = reload();
        assert_eq!((code, stdout), (0, changed), "{stderr}");
        fs::write(&certificate, "broken").unwrap();
        for _ in 0..2 {
            let (code, stdout, stderr) = reload();
            assert_eq!((code, &*stdout), (2, ""), "{stderr}");
            assert!(stderr.contains("c.pem holds no certificate in PEM"), "{stderr}");
        }
        issue();
        assert_eq!(reload().0, 0);
        issue();
        router.signal(Signal::HUP);
        while !router.stderr_line().expect("it goes on").contains("have changed") {}
        assert_eq!(router.interrupt(), 0);
    }
}
