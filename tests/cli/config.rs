//! Configuration files: served, checked and imported by the real binary, with the options that win and those that are
//! refused beside one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::process::{Directory, Running, command, fanwire};

const OPEN: &str = "\
shards = 1
drain_seconds = 1
log = \"error\"

[[listener]]
address = \"127.0.0.1:0\"
message_bytes_max = 2048

[[realm]]
name = \"com.example.first\"
anonymous = { role = \"guest\" }

[[realm.role]]
name = \"guest\"
rule = [{ uri = \"*\", allow = [\"call\", \"register\", \"publish\", \"subscribe\"] }]

[[realm]]
name = \"com.example.second\"
call_timeout_seconds = 1
anonymous = { role = \"guest\" }

[[realm.role]]
name = \"guest\"
rule = [{ uri = \"*\", allow = [\"call\", \"register\", \"publish\", \"subscribe\"] }]
";

/// A file with this text; its path.
fn written(directory: &Directory, name: &str, text: &str) -> String {
    let path = directory.path.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A router that has printed `ready`, the lines before that, and its address.
fn serve(arguments: &[&str]) -> (Running, Vec<String>, String) {
    let mut router = Running::start(command(arguments));
    let mut lines = Vec::new();
    loop {
        let line = router.line().expect("the router is ready before it ends");
        if line == "ready" {
            break;
        }
        lines.push(line);
    }
    let address = lines.iter().find_map(|line| line.strip_prefix("listening on tcp://")).unwrap();
    let url = format!("ws://{}/", address.split(' ').next().unwrap());
    (router, lines, url)
}

fn publish(url: &str, realm: &str, payload: &str) -> (i32, String) {
    let (code, _, stderr) =
        fanwire(&["pub", "--url", url, "--realm", realm, "com.example.topic", payload, "--ack"]);
    (code, stderr)
}

#[test]
fn a_file_is_served_with_its_realms_and_limits() {
    let directory = Directory::new();
    let path = written(&directory, "fanwire.toml", OPEN);
    let (mut router, lines, url) = serve(&["serve", "--config", &path]);
    assert!(lines[0].ends_with("1 shard, realms com.example.first, com.example.second"), "{lines:?}");
    for realm in ["com.example.first", "com.example.second"] {
        assert_eq!(publish(&url, realm, "1").0, 0);
    }
    let (code, stderr) = publish(&url, "realm1", "1");
    assert!(code == 4 && stderr.contains("wamp.error.no_such_realm"), "{code} {stderr}");
    let long = format!("\"{}\"", "x".repeat(3_000));
    assert_ne!(publish(&url, "com.example.first", &long).0, 0);
    assert_eq!(router.interrupt(), 0);
}

#[test]
fn options_win_over_a_file_or_are_refused_beside_it() {
    let directory = Directory::new();
    let path = written(&directory, "fanwire.toml", OPEN);
    let options = ["serve", "--config", &path, "--shards", "2", "--message-bytes-max", "64k"];
    let (mut router, lines, url) = serve(&options);
    assert!(lines[0].contains(": 2 shards, "), "{lines:?}");
    assert_eq!(publish(&url, "com.example.first", &format!("\"{}\"", "x".repeat(3_000))).0, 0);
    assert_eq!(router.interrupt(), 0);
    for (option, value, table) in [
        ("--realm", "a", "realm"),
        ("--tls-key", "a", "listener"),
        ("--proxy-protocol-from", "unix", "listener"),
    ] {
        let (code, _, stderr) = fanwire(&["serve", "--config", &path, option, value]);
        let expected = format!("error: {option} cannot be given with --config; write it under [[{table}]]");
        assert!(code == 2 && stderr.contains(&expected), "{code} {stderr}");
    }
}

#[test]
fn check_tells_ten_mistakes_at_once() {
    let directory = Directory::new();
    let text = "shard = 1\nping_seconds = \"x\"\nconnections_max = 0\nrequest_ids = \"all\"\n\
                [limits]\nuri_bytes_max = 0\nmessage_bytes = 1\n\
                [[listener]]\naddress = \"nowhere\"\norigins = \"*\"\n\
                [[realm]]\nname = \"wamp.a\"\n[[realm.principal]]\nauthid = \"a\"\nrole = \"r\"\nticket_env = \"FANWIRE_UNSET\"\n";
    let path = written(&directory, "bad.toml", text);
    let (code, stdout, stderr) = fanwire(&["check", &path]);
    assert_eq!((code, &*stdout), (2, ""));
    let mistakes: Vec<_> = stderr.lines().filter(|line| line.starts_with(&path)).collect();
    assert!(mistakes.len() >= 10, "{stderr}");
    for (line, key) in [
        (1, "shard: there is no such key; did you mean shards?"),
        (2, "ping_seconds: this is a text"),
        (3, "connections_max: write a number"),
        (4, "request_ids: `all` is not known"),
        (6, "limits.uri_bytes_max: "),
        (7, "limits.message_bytes: there is no such key"),
        (9, "listener.address: `nowhere` is no address"),
        (10, "listener.origins: this is a text; write a list"),
        (12, "realm.name: `wamp.a` cannot be a realm"),
        (15, "realm.principal.role: there is no role r"),
        (
            16,
            "realm.principal.ticket_env: the environment has no such variable; write the name of one, and set it",
        ),
    ] {
        let told = mistakes.iter().any(|mistake| {
            let rest = mistake[path.len()..].strip_prefix(&format!(":{line}:"));
            rest.and_then(|rest| rest.split_once(": ")).is_some_and(|(_, told)| told.starts_with(key))
        });
        assert!(told, "{line}: {key}: {stderr}");
    }
    assert_eq!(fanwire(&["serve", "--config", &path]).0, 2);
}

#[test]
fn check_shows_what_it_has_understood() {
    let directory = Directory::new();
    let path = written(&directory, "fanwire.toml", OPEN);
    let (code, stdout, stderr) = fanwire(&["check", &path]);
    assert_eq!((code, &*stderr), (0, ""));
    for text in ["tcp://127.0.0.1:0", "websocket, rawsocket, longpoll", "com.example.second", "guest"] {
        assert!(stdout.contains(text), "{text}: {stdout}");
    }
    let secret =
        format!("{OPEN}[[realm.principal]]\nauthid = \"a\"\nrole = \"guest\"\nticket = \"swordfish\"\n");
    let path = written(&directory, "secret.toml", &secret);
    let (code, stdout, stderr) = fanwire(&["check", &path]);
    assert_eq!((code, &*stderr), (0, ""));
    assert!(
        stdout.contains("ticket") && !format!("{stdout}{stderr}").contains("swordfish"),
        "{stdout}{stderr}"
    );
}

#[test]
fn check_explains_which_rule_decides_and_where_it_stands() {
    let directory = Directory::new();
    let text = format!(
        "{OPEN}\
[[realm.role.rule]]\nuri = \"com.example.\"\nmatch = \"prefix\"\nallow = [\"subscribe\"]\n\
[[realm.role.rule]]\nuri = \"com.example.{{authid}}.inbox\"\nallow = [\"subscribe\", \"publish\"]\n\
[[realm.role.rule]]\nuri = \"org.{{session}}\"\nallow = [\"call\"]\n\
[[realm.role]]\nname = \"boss\"\neverything = true\n\
[[realm.role]]\nname = \"asks\"\nauthorizer = {{ procedure = \"com.authorize\" }}\n"
    )
    .replace("rule = [{ uri = \"*\", allow = [\"call\", \"register\", \"publish\", \"subscribe\"] }]\n[[realm.role.rule]]", "[[realm.role.rule]]");
    let path = written(&directory, "fanwire.toml", &text);
    let line = |of: &str| text.lines().position(|line| line == of).unwrap() + 1;
    let prefix = line("uri = \"com.example.\"") - 1;
    let inbox = line("uri = \"com.example.{authid}.inbox\"") - 1;
    let second = ["--realm", "com.example.second"];
    let alice = ["--realm", "com.example.second", "--authid", "alice"];
    let wide = ["--realm", "com.example.second", "--match", "prefix"];
    let cases: [(&[&str], &[&str], i32, String); 16] = [
        (&["guest", "subscribe", "com.example.x"], &second, 0, format!("{path}:{prefix}: Allowed: rule 1, ")),
        (&["guest", "publish", "com.example.x"], &second, 1, format!("{path}:{prefix}: Refused: rule 1, ")),
        (
            &["guest", "publish", "com.example.alice.inbox"],
            &alice,
            0,
            format!("{path}:{inbox}: Allowed: rule 2, "),
        ),
        (&["guest", "publish", "com.example.alice.inbox"], &second, 1, format!("{path}:{prefix}: Refused: ")),
        (&["guest", "subscribe", "com."], &wide, 1, "no rule contains all of prefix `com.`".to_owned()),
        (&["guest", "subscribe", "com.example."], &wide, 0, "Allowed: rule 1".to_owned()),
        (&["guest", "publish", "a..b"], &second, 1, "is not valid in this realm".to_owned()),
        (&["boss", "call", "com.x"], &[], 0, "the role may do everything".to_owned()),
        (&["boss", "register", "wamp.x"], &[], 1, "nobody may register what begins with wamp.".to_owned()),
        (&["boss", "call", "wamp.session.kill"], &[], 1, "needs administers = true".to_owned()),
        (&["asks", "call", "com.x"], &[], 2, "com.authorize is asked".to_owned()),
        (&["boss", "call", "wamp.none"], &[], 1, "the router has no procedure `wamp.none`".to_owned()),
        (&["boss", "call", &"a".repeat(5000)], &[], 1, "is longer than uri_bytes_max".to_owned()),
        (
            &["guest", "call", "org.7"],
            &["--realm", "com.example.second", "--session", "7"],
            0,
            "rule 3".to_owned(),
        ),
        (&["guest", "call", "org.7"], &second, 1, "no rule matches".to_owned()),
        (
            &["guest", "call", "com.x"],
            &["--realm", "com.example.first"],
            0,
            "Allowed: rule 1, prefix ``".to_owned(),
        ),
    ];
    for (asked, options, code, said) in cases {
        let arguments = [&["check", &path, "--may"][..], asked, options].concat();
        let (exit, stdout, stderr) = fanwire(&arguments);
        assert_eq!(exit, code, "{arguments:?} {stdout}{stderr}");
        assert!(stdout.contains(&said), "{said}: {stdout}");
    }
    let wrong: [(&[&str], &[&str], &str); 6] = [
        (&["guest", "call", "com.x"], &[], "several realms have a role guest; write --realm"),
        (&["gest", "call", "com.x"], &[], "there is no role gest; did you mean"),
        (&["guest", "sing", "com.x"], &[], "`sing` is no action"),
        (&["guest", "call", "com.x"], &["--realm", "com.none"], "there is no realm com.none"),
        (&["guest", "call", "com.x"], &["--match", "exakt"], "exakt"),
        (&["guest", "call", "com."], &wide, "patterns are registered and subscribed"),
    ];
    for (asked, options, said) in wrong {
        let arguments = [&["check", &path, "--may"][..], asked, options].concat();
        let (exit, stdout, stderr) = fanwire(&arguments);
        assert!(exit == 2 && stdout.is_empty() && stderr.contains(said), "{exit} {stderr}");
    }
}

#[test]
fn rules_of_a_file_are_obeyed_and_denials_are_logged() {
    let directory = Directory::new();
    let text =
        OPEN.replacen("uri = \"*\", allow = [\"call\", ", "uri = \"com.other.*\", allow = [\"call\", ", 1);
    let path = written(&directory, "fanwire.toml", &text);
    let (mut router, _, url) = serve(&["serve", "--config", &path]);
    let (code, stderr) = publish(&url, "com.example.first", "1");
    assert!(code != 0 && stderr.contains("wamp.error.not_authorized"), "{code} {stderr}");
    assert_eq!(publish(&url, "com.example.second", "1").0, 0);
    assert_eq!(router.interrupt(), 0);
}

/// What `serve` would refuse, `check` refuses.
#[test]
fn check_reads_certificates_as_serve_does() {
    let directory = Directory::new();
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let tls = "[listener.tls]\ncertificate = \"a.pem\"\nkey_file = \"a.key\"\n";
    let path =
        written(&directory, "fanwire.toml", &OPEN.replacen("[[realm]]", &format!("{tls}[[realm]]"), 1));
    written(&directory, "a.key", &issued.signing_key.serialize_pem());
    written(&directory, "a.pem", &issued.cert.pem());
    let (code, stdout, stderr) = fanwire(&["check", &path]);
    assert!(code == 0 && stdout.contains("a.pem"), "{stderr}");
    written(&directory, "a.pem", "junk");
    for command in [&["check", &*path][..], &["serve", "--config", &path]] {
        let (code, _, stderr) = fanwire(command);
        let told = stderr.contains("toml:10:1: listener.tls.certificate: ")
            && stderr.contains("a.pem holds no certificate");
        assert!(code == 2 && told, "{stderr}");
    }
    // Every one of them at once.
    let sni = |certificate: &str, key: &str| {
        format!(
            "[[listener.tls.sni]]\nnames = [\"a.b\"]\ncertificate = \"{certificate}\"\nkey_file = \"{key}\"\n"
        )
    };
    let tables = format!("{tls}{}{}", sni("b.pem", "b.key"), sni("c.pem", "a.key"));
    let path =
        written(&directory, "fanwire.toml", &OPEN.replacen("[[realm]]", &format!("{tables}[[realm]]"), 1));
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    written(&directory, "b.pem", &issued.cert.pem());
    written(&directory, "b.key", "junk");
    written(&directory, "c.pem", &other.cert.pem());
    let (code, _, stderr) = fanwire(&["check", &path]);
    assert_eq!(code, 2);
    for told in [
        "10:1: listener.tls.certificate: ",
        "15:1: listener.tls.sni.key_file: ",
        "19:1: listener.tls.sni.key_file: ",
    ] {
        assert!(stderr.contains(&format!("toml:{told}")), "{told}: {stderr}");
    }
}

#[test]
fn sockets_that_cannot_be_made_are_told_with_their_keys() {
    let directory = Directory::new();
    written(&directory, "file", "");
    let text = format!("control = \"nowhere/a\"\n{}", OPEN.replace("127.0.0.1:0", "unix:file"));
    let path = written(&directory, "fanwire.toml", &text);
    for command in [&["check", &*path][..], &["serve", "--config", &path]] {
        let (code, _, stderr) = fanwire(command);
        assert_eq!(code, 2, "{stderr}");
        for (place, told) in
            [("1:1: control: ", "there is no such folder"), ("7:1: listener.address: ", "is in the way")]
        {
            let line = stderr.lines().find(|line| line.contains(&format!("toml:{place}")));
            assert!(line.is_some_and(|line| line.contains(told)), "{place}: {stderr}");
        }
    }
}

#[test]
fn check_shows_who_administers_who_decides_and_what_is_not_usual() {
    let directory = Directory::new();
    let text = "connections_max = 77\n[[listener]]\naddress = \":1\"\nforwarded_from = [\"10.0.0.0/8\"]\n\
                network = [{ from = [\"unix\"], methods = [] }]\ncookie = { name = \"c00kie\" }\n\
                [[realm]]\nname = \"a\"\nanonymous = { role = \"r\\u001B[2J\" }\ndisclose = \"never\"\n\
                [realm.ticket]\ndynamic = { procedure = \"com.ask\" }\n\
                [[realm.role]]\nname = \"r\\u001B[2J\"\nadministers = true\ntrust_level = 7\n\
                rule = [{ uri = \"b\", allow = [\"call\"], disclose = { caller = true } }]\n";
    let path = written(&directory, "fanwire.toml", text);
    let (_, stdout, stderr) = fanwire(&["check", &path]);
    for shown in [
        "connections_max  77",
        "unix: none",
        "forwarded_from  10.0.0.0/8",
        "c00kie, 604800 s, over TLS only",
        "never",
        "asks com.ask",
        "yes          7",
        "call; callees are told who calls",
        "r\\u{1b}[2J",
    ] {
        assert!(stdout.contains(shown), "{shown}: {stdout}");
    }
    assert!(!format!("{stdout}{stderr}").contains('\u{1b}'), "{stdout}{stderr}");
    assert!(
        stderr.contains("look at  listener tcp://:1: browsers send its cookie over TLS only"),
        "{stderr}"
    );
}

/// Whoever read it would wait until somebody writes, or for ever.
#[test]
fn what_has_no_end_or_waits_is_not_read() {
    let directory = Directory::new();
    let pipe = directory.path.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let principal = "[[realm.principal]]\nauthid = \"a\"\nrole = \"guest\"\nticket_file = \"pipe\"\n";
    let path = written(&directory, "fanwire.toml", &format!("{OPEN}{principal}"));
    for (path, told) in [
        (&*path, "realm.principal.ticket_file: "),
        (pipe.to_str().unwrap(), "error: cannot read "),
        ("/dev/zero", "error: cannot read "),
    ] {
        for command in [&["check", path][..], &["serve", "--config", path]] {
            let (code, _, stderr) = fanwire(command);
            assert!(code == 2 && stderr.contains(told), "{code} {stderr}");
            assert!(stderr.contains("it is no regular file"), "{stderr}");
        }
    }
}

#[test]
fn the_example_is_printed() {
    let (code, stdout, _) = fanwire(&["config", "example"]);
    assert!(code == 0 && stdout.contains("[[realm.role.rule]]"), "{stdout}");
}

#[test]
fn a_crossbar_configuration_is_imported_and_served() {
    let directory = Directory::new();
    let shapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/crossbar/shapes");
    let source = fs::read_to_string(shapes.join("default.json")).unwrap();
    let source = source
        .replace("8080", "0")
        .replace("8081", "0")
        .replace("\"port\": 0", "\"port\": 0, \"interface\": \"127.0.0.1\"");
    let node = written(&directory, "config.json", &source);
    let toml = directory.path.join("fanwire.toml");
    let toml = toml.to_str().unwrap();
    let (code, stdout, stderr) = fanwire(&["import-crossbar", &node, "--output", toml]);
    assert_eq!((code, &*stdout), (0, ""), "{stderr}");
    assert!(stderr.contains("dropped  controller: "), "{stderr}");
    assert_eq!(fs::metadata(toml).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fanwire(&["import-crossbar", &node, "--strict"]).0, 1);
    let (code, _, stderr) = fanwire(&["import-crossbar", &node, "--output", toml]);
    assert!(code == 2 && stderr.contains(toml) && stderr.contains("is there already"), "{stderr}");
    let (mut router, lines, _) =
        serve(&["serve", "--config", toml, "--drain-seconds", "1", "--log", "error"]);
    let websocket = lines.iter().find(|line| line.ends_with("(websocket)")).unwrap();
    let address = websocket.strip_prefix("listening on tcp://").unwrap().split(' ').next().unwrap();
    assert_eq!(publish(&format!("ws://{address}/ws"), "realm1", "1").0, 0);
    assert_eq!(router.interrupt(), 0);
}

#[test]
fn an_import_that_cannot_be_served_ends_with_1_and_its_paths_stay_what_they_were() {
    let directory = Directory::new();
    let node = r#"{"version": 2, "workers": [{"type": "router",
        "realms": [{"name": "r", "roles": [{"name": "u"}]}],
        "transports": [{"type": "rawsocket", "endpoint": {"type": "unix", "path": "a.sock"}, "auth": {
            "cryptosign": {"type": "function", "create": "a.py", "trustroots": []}}}]}]}"#;
    let node = written(&directory, "config.json", node);
    let (code, stdout, stderr) = fanwire(&["import-crossbar", &node]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("mistake  line ") && stderr.contains("nobody may join"), "{stderr}");
    let folder = directory.path.canonicalize().unwrap();
    assert!(stdout.contains(&format!("\"unix:{}\"", folder.join("a.sock").display())), "{stdout}");
    let other = Directory::new();
    for (output, path) in [(&directory, Path::new("")), (&other, &*folder)] {
        let output = output.path.join("f.toml");
        assert_eq!(fanwire(&["import-crossbar", &node, "--output", output.to_str().unwrap()]).0, 1);
        let text = fs::read_to_string(&output).unwrap();
        assert!(text.contains(&format!("\"unix:{}\"", path.join("a.sock").display())), "{text}");
    }
}

#[test]
fn who_serves_everything_to_everybody_is_told() {
    let directory = Directory::new();
    let file = written(&directory, "f.toml", "shards = 1\n[[listener]]\naddress = \":0\"\n");
    let told = "whoever reaches it may do everything in realm realm1";
    let (code, _, stderr) = fanwire(&["check", &file]);
    assert!(code == 0 && stderr.contains(told), "{stderr}");
    for arguments in [["serve", "--listen", ":0"], ["serve", "--config", &file]] {
        let (mut router, ..) = serve(&[&arguments[..], &["--log", "warn"]].concat());
        let line = router.stderr_line().unwrap();
        assert!(line.contains("WARN") && line.contains(told), "{line}");
        assert_eq!(router.interrupt(), 0);
    }
}
