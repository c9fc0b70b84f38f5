//! `call` and `register`.

use std::path::Path;

use serde_json::{Value, json};

use crate::process::{Directory, Router, Running, command, ended, fanwire, with};

#[test]
fn calls_are_echoed_over_every_transport_in_every_serializer() {
    let router = Router::start();
    for (index, to) in router.ways().iter().enumerate() {
        let procedure = format!("com.echo.n{index}");
        let mut callee = Running::ready(&with(&["register", &procedure, "--echo"], to));
        for from in router.ways() {
            let call = ["call", &procedure, "1", "text", "-k", "a=[true]"];
            let expected = (0, "1 \"text\" a=[true]\n".to_owned(), String::new());
            assert_eq!(fanwire(&with(&call, &from)), expected, "{from:?} {to:?}");
            assert_eq!(callee.line(), Some(format!("{procedure} 1 \"text\" a=[true]")));
        }
        assert_eq!(callee.interrupt(), 0);
    }
}

#[test]
fn a_single_result_is_printed_bare() {
    let router = Router::start();
    let url = router.tcp();
    let _callee = Running::ready(&["register", "com.echo", "--echo", "--url", &url]);
    for (argument, expected) in
        [("5", "5\n"), ("two words", "two words\n"), (r#"{"a": [1]}"#, "{\"a\":[1]}\n"), ("null", "null\n")]
    {
        assert_eq!(fanwire(&["call", "com.echo", argument, "--url", &url]).1, expected);
    }
    assert_eq!(fanwire(&["call", "com.echo", "--text", "5", "--json", "--url", &url]).1.trim_end(), {
        r#"{"args":["5"],"kwargs":{},"details":{}}"#
    });
    assert_eq!(fanwire(&["call", "com.echo", "--url", &url]), (0, String::new(), String::new()));
    assert_eq!(fanwire(&["call", "com.echo", "-7", "--url", &url]).1, "-7\n");
    assert_eq!(fanwire(&["call", "com.echo", "--url", &url, "--", "-x"]).1, "-x\n");
}

#[test]
fn an_error_goes_to_standard_error() {
    let router = Router::start();
    let url = router.tcp();
    let (code, stdout, stderr) = fanwire(&["call", "com.nobody", "--url", &url]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with("error: wamp.error.no_such_procedure"), "{stderr}");
    let (code, stdout, stderr) = fanwire(&["call", "com.nobody", "--json", "--url", &url]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    let error: Value = serde_json::from_str(&stderr).unwrap();
    let keys: Vec<_> = error.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["error", "args", "kwargs", "details"]);
    assert_eq!(error["error"], "wamp.error.no_such_procedure");
}

#[test]
fn a_command_answers_with_what_it_writes() {
    let router = Router::start();
    let url = router.websocket();
    for (index, (line, arguments, expected)) in [
        ("cat", &["1", "-k", "a=b"][..], "{\"args\":[1],\"kwargs\":{\"a\":\"b\"}}\n"),
        ("echo hello", &[], "hello\n"),
        ("printf 'a\\nb\\n\\n'", &[], "a\nb\n\n"),
        ("echo '[1, 2]'", &[], "[1,2]\n"),
        ("echo 07", &[], "07\n"),
        ("true", &[], ""),
        ("echo $FANWIRE_PROCEDURE", &[], "com.command.n6\n"),
        ("cat > /dev/null; printf '\\377'", &[], "\"\\u0000/w==\"\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let procedure = format!("com.command.n{index}");
        let _callee = Running::ready(&["register", &procedure, "--exec", line, "--url", &url]);
        let call = [&["call", &procedure, "--url", &url], arguments].concat();
        assert_eq!(fanwire(&call), (0, expected.to_owned(), String::new()), "{line}");
    }
}

#[test]
fn a_command_of_a_pattern_is_told_which_procedure_was_called() {
    let router = Router::start();
    let url = router.tcp();
    let register =
        ["register", "com.math", "--match", "prefix", "--exec", "echo $FANWIRE_PROCEDURE", "--json"];
    let mut callee = Running::ready(&[&register[..], &["--url", &url]].concat());
    assert_eq!(fanwire(&["call", "com.math.add", "2", "--url", &url]).1, "com.math.add\n");
    let call: Value = serde_json::from_str(&callee.line().unwrap()).unwrap();
    let keys: Vec<_> = call.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["procedure", "args", "kwargs", "invocation", "registration", "details"]);
    assert_eq!((&call["procedure"], &call["args"]), (&json!("com.math.add"), &json!([2])));
}

#[test]
fn a_command_that_fails_is_an_error_with_status_and_standard_error() {
    let router = Router::start();
    let url = router.tcp();
    let line = "echo no such thing >&2; exit 3";
    let mut callee = Running::ready(&["register", "com.fail", "--exec", line, "--url", &url]);
    let (code, stdout, stderr) = fanwire(&["call", "com.fail", "--json", "--url", &url]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    let error: Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!(error["error"], "fanwire.error.command_failed");
    assert_eq!(error["kwargs"], json!({"status": 3, "stderr": "no such thing"}));
    assert!(callee.stderr_line().unwrap().ends_with("no such thing"));
    // The next call is answered all the same.
    assert_eq!(fanwire(&["call", "com.fail", "--url", &url]).0, 1);
    assert_eq!(callee.interrupt(), 0);
}

#[test]
fn a_command_that_takes_too_long_is_killed() {
    let router = Router::start();
    let url = router.tcp();
    let register = ["register", "com.slow", "--exec", "sleep 600", "--exec-timeout", "0.1", "--url", &url];
    let _callee = Running::ready(&register);
    let (code, _, stderr) = fanwire(&["call", "com.slow", "--url", &url]);
    assert_eq!(code, 1);
    assert!(stderr.starts_with("error: fanwire.error.command_timeout"), "{stderr}");
}

#[test]
fn commands_run_at_the_same_time() {
    let router = Router::start();
    let url = router.tcp();
    let directory = Directory::new();
    let path = directory.path.display();
    // Each ends when both have begun.
    let line = format!(
        "touch {path}/$FANWIRE_INVOCATION; while [ $(ls {path} | wc -l) -lt 2 ]; do sleep 0.02; done"
    );
    let _callee =
        Running::ready(&["register", "com.both", "--exec", &line, "--concurrency", "2", "--url", &url]);
    let calls = [(); 2].map(|()| command(&["call", "com.both", "--url", &url]).spawn().unwrap());
    for call in calls {
        assert_eq!(ended(call.wait_with_output().unwrap()), (0, String::new(), String::new()));
    }
}

#[test]
fn a_call_that_is_given_up_kills_its_command() {
    let router = Router::start();
    let url = router.websocket();
    let directory = Directory::new();
    let path = directory.path.join("pid");
    let line = format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 600; true", path.display());
    let mut callee = Running::ready(&["register", "com.slow", "--exec", &line, "--url", &url]);
    let (code, stdout, _) = fanwire(&["call", "com.slow", "--timeout", "1", "--url", &url]);
    assert_eq!((code, stdout.as_str()), (5, ""));
    wait_until(|| path.exists());
    let process = Path::new("/proc").join(std::fs::read_to_string(&path).unwrap().trim());
    wait_until(|| !process.exists());
    assert_eq!(callee.interrupt(), 0);
}

#[test]
fn an_interrupt_ends_register_and_its_commands() {
    let router = Router::start();
    let url = router.tcp();
    let directory = Directory::new();
    let path = directory.path.join("pid");
    let line = format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 600; true", path.display());
    let mut callee = Running::ready(&["register", "com.slow", "--exec", &line, "--url", &url]);
    let call = command(&["call", "com.slow", "--url", &url]).spawn().unwrap();
    wait_until(|| path.exists());
    let process = Path::new("/proc").join(std::fs::read_to_string(&path).unwrap().trim());
    assert_eq!(callee.interrupt(), 0);
    wait_until(|| !process.exists());
    // Its callee is gone.
    assert_eq!(ended(call.wait_with_output().unwrap()).0, 1);
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "it did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn what_changes_others_is_granted_where_the_operator_says_so() {
    let kill = |router: &Router, realm: &str| {
        let (code, stdout, stderr) =
            fanwire(&["call", "wamp.session.kill_all", "--realm", realm, "--url", &router.tcp()]);
        (code, stdout.trim_end().to_owned(), stderr)
    };
    let granted = (0, "0".to_owned(), String::new());
    assert_eq!(kill(&Router::start(), "realm1"), granted, "a router of one's own");
    let router = Router::start_with(&["--realm", "realm1"]);
    let (code, stdout, stderr) = kill(&router, "realm1");
    assert_eq!((code, &*stdout), (1, ""));
    assert!(stderr.contains("wamp.error.not_authorized"), "{stderr}");
    assert_eq!(kill(&Router::start_with(&["--realm", "a.b", "--administer"]), "a.b"), granted);
}

#[test]
fn a_call_in_parts_is_refused_in_words() {
    let router = Router::start();
    let url = router.websocket();
    let (code, _, complaint) = fanwire(&["call", "com.a", "-o", "progress=true", "--url", &url]);
    assert_eq!(code, 2);
    assert!(complaint.contains("sends a call in one part"), "{complaint}");
    let refused = ["call", "com.a", "-o", "ppt_scheme=x_own", "-o", "progress=false", "--url", &url];
    let (code, _, complaint) = fanwire(&refused);
    assert_eq!(code, 1);
    assert!(complaint.contains("wamp.error.no_such_procedure"), "{complaint}");
}
