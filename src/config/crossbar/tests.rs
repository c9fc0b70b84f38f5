//! The shapes that node configurations have, and what becomes of each key.

use super::*;
use crate::auth::Method;
use crate::config::file::{self, File, ScramKdf};
use crate::config::load;
use crate::server::ClientCertificates;
use crate::wamp::Serializer;

const DEFAULT: &str = include_str!("shapes/default.json");
const FULL: &str = include_str!("shapes/full.yaml");

fn file(import: &Import) -> File {
    let read = file::read(&import.text, Path::new(""), &Anything);
    read.unwrap_or_else(|mistakes| panic!("{mistakes:#?}\n{}", import.text))
}

fn has(notes: &[Note], path: &str, text: &str) -> bool {
    notes.iter().any(|note| note.path == path && note.text.contains(text))
}

#[test]
fn the_default_configuration_is_served_as_it_is() {
    let import = import(DEFAULT, Format::Json, Path::new("")).unwrap();
    let loaded = load(&import.text, Path::new(""), &Anything).unwrap();
    assert_eq!(loaded.refused, [], "{}", import.text);
    let addresses: Vec<_> =
        loaded.file.listeners.iter().map(|listener| listener.address.as_ref().unwrap().to_string()).collect();
    assert_eq!(addresses, ["tcp://0.0.0.0:8081", "tcp://0.0.0.0:8080"]);
    assert_eq!(loaded.file.listeners[0].transports(), ["rawsocket"]);
    assert_eq!(loaded.file.listeners[1].transports(), ["websocket"]);
    assert_eq!(loaded.file.listeners[1].message_bytes_max, Some(1 << 20));
    assert_eq!(loaded.file.limits.silence_ms_max, 10_000);
    assert_eq!(loaded.file.limits.handshake_ms_max, 3_000);
    assert_eq!(loaded.file.realms[0].anonymous.as_ref().unwrap().role, "anonymous");
    assert!(loaded.file.realms[0].roles[0].rules[0].allows_everything());
    let at = "workers[0].transports[1].paths";
    assert!(has(&import.dropped, "$schema", "editors"));
    assert!(has(&import.dropped, &format!("{at}./"), "web server"));
    assert!(has(&import.dropped, &format!("{at}.info"), "page at /"));
    assert!(has(&import.dropped, &format!("{at}.ws.options.compression"), "not compressed"));
    assert!(!import.dropped.iter().any(|note| note.text.contains("no such key")), "{:#?}", import.dropped);
}

#[test]
fn everything_that_maps_is_kept() {
    let import = import(FULL, Format::Yaml, Path::new("")).unwrap();
    let file = file(&import);
    let [universal, web, proxy] = &file.listeners[..] else { panic!("{}", import.text) };
    assert_eq!(universal.address.as_ref().unwrap().to_string(), "tcp://[::1]:9000");
    assert_eq!(universal.transports(), ["websocket", "rawsocket"]);
    // Its RawSocket speaks but one, its WebSocket all.
    assert_eq!(universal.serializers.len(), Serializer::COUNT);
    assert_eq!(universal.origins.as_ref().unwrap()[..], ["*://example.com", "https://*.example.com:*"]);
    assert_eq!(universal.tls.as_ref().unwrap().client, ClientCertificates::Required);
    let cookie = universal.cookie.as_ref().unwrap();
    assert!(cookie.name == "cbtid" && !cookie.secure, "there it is not, if it does not say so");
    assert_eq!(universal.methods.as_ref().unwrap().len(), 7);
    assert_eq!(web.transports(), ["websocket", "longpoll"]);
    assert_eq!(web.longpoll_path.as_deref(), Some("/lp"));
    assert_eq!(proxy.address.as_ref().unwrap().to_string(), "unix:proxy.sock");
    let realm = &file.realms[0];
    assert_eq!(realm.event_history.iter().map(|rule| rule.events_max).collect::<Vec<_>>(), [100, 7]);
    assert_eq!(
        realm.role("backend").unwrap().authorizer.as_ref().unwrap().procedure,
        "com.example.authorize"
    );
    assert_eq!(realm.role("user").unwrap().rules.len(), 6);
    assert_eq!(realm.ticket.as_ref().unwrap().default_role.as_deref(), Some("user"));
    assert_eq!(realm.ticket.as_ref().unwrap().dynamic.as_ref().unwrap().realm.as_deref(), Some("main"));
    assert!(realm.cookie.is_some() && realm.anonymous.is_some());
    let names: Vec<_> = realm.principals.iter().map(|principal| &*principal.authid).collect();
    assert_eq!(names, ["service", "joe", "kim", "box"]);
    let joe = &realm.principals[1];
    assert_eq!(joe.wampcra.as_ref().unwrap().salt.as_deref(), Some("salt"));
    assert!(import.text.contains("ticket_env = \"JOE\"") && import.text.contains("server_key_env = \"KIM\""));
    let scram = realm.principals[2].scram.as_ref().unwrap();
    assert_eq!((&*scram.salt, scram.kdf), ("AP8A/wD/AP8=", ScramKdf::Argon2id13Text));
    assert_eq!(realm.principals[0].cryptosign_keys.len(), 1);
}

/// Users of Crossbar.io have the derived secret, as it documents, or the password, as it takes it since 2025.
#[test]
fn salted_secrets_are_derived_if_they_are_not_yet() {
    let user = |user: &str| {
        let text = r#"{"version": 2, "workers": [{"type": "router",
            "realms": [{"name": "main", "roles": [{"name": "user", "permissions": []}]}],
            "transports": [{"type": "websocket", "endpoint": {"type": "tcp", "port": 8080}, "auth": {"wampcra":
                {"type": "static", "users": {"amy": USER}}}}]}]}"#;
        import(&text.replace("USER", user), Format::Json, Path::new("")).unwrap()
    };
    let derived = "64xfzBvZhGDT7PB0bQwDeI8/WR1M9x6Cw5dt0yP9koc=";
    for secret in ["secret1", derived] {
        let import = user(&format!(r#"{{"secret": "{secret}", "salt": "salt123", "role": "user"}}"#));
        let text = format!(
            r#"wampcra = {{ secret = "{derived}", salt = "salt123", iterations = 1000, keylen = 32 }}"#
        );
        assert!(import.text.contains(&text), "{}", import.text);
    }
    let import = user(r#"{"secret": "secret1", "keylen": 32, "role": "user"}"#);
    assert!(import.text.contains(r#"wampcra = { secret = "secret1" }"#), "{}", import.text);
    let import = user(r#"{"secret": "$AMY", "salt": "salt123", "role": "user"}"#);
    let path = "workers[0].transports[0].auth.wampcra.users.amy.secret";
    assert!(has(&import.warnings, path, "must hold what is derived"), "{:#?}", import.warnings);
}

#[test]
fn everything_that_does_not_is_told() {
    let import = import(FULL, Format::Yaml, Path::new("")).unwrap();
    let at = "workers[0].transports[0]";
    for (path, text) in [
        ("controller", "no controller"),
        ("workers[0].components", "as clients"),
        ("workers[0].options", "one process"),
        ("workers[0].realms[0].store.call-queue", "concurrency"),
        ("workers[0].realms[0].inventory", "not validated"),
        ("workers[0].realms[0].roles[2].permissions[0].unheard", "no such key"),
        (&format!("{at}.mqtt"), "MQTT"),
        (&format!("{at}.endpoint.tls.ciphers"), "modern"),
        (&format!("{at}.rawsocket.serializers"), "flatbuffers"),
        (&format!("{at}.websocket.ws.auth.ticket.principals.lost"), "no realm has its role"),
        ("workers[0].transports[1].paths.deep.paths.ws.auth.wampcra", "functions"),
        ("workers[0].transports[1].paths.pub", "HTTP bridge"),
        ("workers[0].transports[2]", "MQTT"),
        ("workers[1]", "systemd"),
        ("workers[2]", "systemd"),
        ("workers[3].routes", "routes"),
    ] {
        assert!(has(&import.dropped, path, text), "{path}: {:#?}", import.dropped);
    }
    assert!(has(&import.warnings, "workers[0].transports[1].endpoint.port", "variable PORT"));
    assert!(has(&import.warnings, &format!("{at}.websocket.ws.options.max_message_size"), "16777216"));
    let tls = format!("{at}.endpoint.tls");
    assert!(has(
        &import.warnings,
        &format!("{tls}.chain_certificates"),
        "write c.pem behind the certificate"
    ));
    assert!(has(&import.warnings, &format!("{tls}.ca_certificates"), "write cb.pem into ca.pem"));
}

#[test]
fn permissions_that_mean_something_else_here_are_flagged_with_their_uris() {
    let import = import(FULL, Format::Yaml, Path::new("")).unwrap();
    let at = |index| format!("workers[0].realms[0].roles[0].permissions[{index}]");
    assert!(has(&import.warnings, &at(0), "since `com.example.secret` inside it does not allow subscribe"));
    assert!(has(&import.warnings, &at(1), "refuses other URIs that begin with `com.example.secret`"));
    assert!(has(&import.warnings, &at(2), "`com..get` and `com..set` both count"));
    assert!(has(&import.warnings, &at(2), "begin with `com.example.` the wildcard decides"));
    assert!(!import.warnings.iter().any(|note| note.path == at(4)), "{:#?}", import.warnings);
}

#[test]
fn permissions_become_rules_that_can_be() {
    let allow = |actions: &[&str]| -> Value {
        actions
            .iter()
            .map(|action| ((*action).to_owned(), Value::Bool(true)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let node = serde_json::json!({"workers": [{"type": "router", "realms": [{"name": "r", "roles": [
        {"name": "boss", "permissions": [
            {"uri": "wamp.*", "allow": allow(&["call", "register", "publish", "subscribe"])},
            {"uri": "wamp.session.kill", "allow": allow(&["call"])},
            {"uri": "com.a*.b", "allow": allow(&["call"])},
            {"uri": "com..b", "allow": allow(&["call"])},
            {"uri": "", "allow": allow(&["call"])}]},
        {"name": "user", "permissions": [{"uri": "*", "allow": allow(&["call"])}]}]}],
        "transports": [{"type": "rawsocket", "endpoint": {"type": "tcp", "port": 1}, "auth": {"anonymous": {
            "type": "static", "role": "user"}}}]}]});
    let import = import(&node.to_string(), Format::Json, Path::new("")).unwrap();
    let file = file(&import);
    let boss = file.realms[0].role("boss").unwrap();
    let rules: Vec<_> = boss.rules.iter().map(|rule| (rule.written().to_string(), rule.allow())).collect();
    assert_eq!(
        rules,
        [
            ("prefix `wamp.`".to_owned(), vec!["call", "subscribe"]),
            ("exact `wamp.session.kill`".to_owned(), vec!["call"])
        ]
    );
    assert!(boss.administers && !file.realms[0].role("user").unwrap().administers);
    let at = |index: usize| format!("workers[0].realms[0].roles[0].permissions[{index}]");
    assert!(has(&import.dropped, &format!("{}.allow.register", at(0)), "nobody may do that below wamp."));
    assert!(has(&import.dropped, &format!("{}.allow.publish", at(0)), "nobody may do that below wamp."));
    assert!(has(&import.warnings, &at(0), "need an exact rule each here"));
    assert!(has(
        &import.warnings,
        &at(1),
        "role boss administers here, since it may call `wamp.session.kill`"
    ));
    assert!(has(&import.dropped, &at(2), "one whole component"));
    assert!(has(&import.dropped, &at(3), "empty component"));
    assert!(has(&import.dropped, &at(4), "an exact rule needs a URI"));
    assert!(!import.warnings.iter().any(|note| note.path.contains("line")), "{:#?}", import.warnings);
}

#[test]
fn what_is_no_node_configuration_is_refused() {
    for text in ["", "{", "[]", "{}", "{\"version\": 2}"] {
        assert!(import(text, Format::Json, Path::new("")).is_err(), "{text}");
    }
    assert!(import("workers: [", Format::Yaml, Path::new("")).is_err());
    let empty =
        import("{\"workers\": [5, {}, {\"type\": \"router\", \"realms\": 1}]}", Format::Json, Path::new(""))
            .unwrap();
    assert_eq!(empty.dropped.len(), 3, "{:#?}", empty.dropped);
}

#[test]
fn a_secret_is_quoted_so_that_it_is_the_same() {
    let secret = "a\"b\\c\u{7f}\n\u{1}é";
    let import = import_users(serde_json::json!({
        "ticket": {"type": "static", "principals": {"x\ny": {"ticket": secret, "role": "u"}}}
    }));
    let principal = &file(&import).realms[0].principals[0];
    assert_eq!((&*principal.authid, principal.ticket.as_ref().unwrap().text()), ("x\ny", Some(secret)));
}

#[test]
fn what_check_refuses_is_a_mistake() {
    let function = serde_json::json!({"type": "function", "create": "a.py", "trustroots": []});
    let import = import_users(serde_json::json!({"cryptosign": function}));
    assert!(
        has(&import.mistakes, "line 6 of the result, listener.methods", "nobody may join"),
        "{:#?}",
        import.mistakes
    );
    // Whoever has the cookie joins from any page, which is refused when it is served.
    let node = serde_json::json!({"workers": [{"type": "router",
        "realms": [{"name": "r", "roles": [{"name": "anonymous"}]}],
        "transports": [{"type": "websocket", "endpoint": {"type": "tcp", "port": 1},
            "cookie": {"same_site": "none", "secure": true}}]}]});
    let import = super::import(&node.to_string(), Format::Json, Path::new("")).unwrap();
    assert_eq!(import.mistakes.len(), 1, "{:#?}", import.mistakes);
    assert!(import.mistakes[0].path.ends_with("listener.cookie.same_site"), "{:#?}", import.mistakes);
    assert_eq!(super::import(FULL, Format::Yaml, Path::new("")).unwrap().mistakes, []);
}

#[test]
fn paths_name_the_same_files_wherever_the_result_stands() {
    let import = |folder: &str| import(FULL, Format::Yaml, Path::new(folder)).unwrap().text;
    let (beside, elsewhere) = (import(""), import("/srv/node"));
    for path in ["certificate = \"", "key_file = \"", "client_authorities = \"", "address = \"unix:"] {
        let values = |text: &str| {
            let lines = text.lines().filter_map(|line| line.strip_prefix(path).map(str::to_owned));
            lines.collect::<Vec<_>>()
        };
        let moved: Vec<_> = values(&beside).iter().map(|value| format!("/srv/node/{value}")).collect();
        assert!(!moved.is_empty() && moved == values(&elsewhere), "{path}: {beside}");
    }
}

#[test]
fn what_is_wrong_with_a_secret_is_told_without_it() {
    let import = import_users(serde_json::json!({
        "wampcra": {"users": {"joe": {"secret": "swordfish", "salt": "s", "keylen": 100_000, "role": "u"}}}
    }));
    let told =
        has(&import.mistakes, "line 17 of the result, realm.principal.wampcra.keylen", "write a number");
    assert!(told, "{:#?}", import.mistakes);
    let notes = import.mistakes.iter().chain(&import.warnings).chain(&import.dropped);
    assert!(notes.map(ToString::to_string).all(|note| !note.contains("swordfish")));
}

/// One realm `r` with a role `u`, and a RawSocket transport with this `auth`.
fn import_users(auth: Value) -> Import {
    let node = serde_json::json!({"workers": [{"type": "router",
        "realms": [{"name": "r", "roles": [{"name": "u"}]}],
        "transports": [{"type": "rawsocket", "endpoint": {"type": "tcp", "port": 1}, "auth": auth}]}]});
    import(&node.to_string(), Format::Json, Path::new("")).unwrap()
}

/// Realms `a` and `b`, each with a role of its name and the role `all`; transports at ports from 1 with these `auth`.
fn import_transports(auths: &[Value]) -> Import {
    let realm = |name: &str| serde_json::json!({"name": name, "roles": [{"name": name}, {"name": "all"}]});
    let transport = |(port, auth): (usize, &Value)| serde_json::json!({"type": "rawsocket", "endpoint": {"type": "tcp", "port": port + 1}, "auth": auth});
    let transports: Vec<_> = auths.iter().enumerate().map(transport).collect();
    let node = serde_json::json!({"workers": [{"type": "router",
        "realms": [realm("a"), realm("b")], "transports": transports}]});
    import(&node.to_string(), Format::Json, Path::new("")).unwrap()
}

#[test]
fn a_listener_opens_the_realms_that_could_be_joined_there() {
    let principal =
        |role: &str| serde_json::json!({"ticket": {"principals": {"x": {"ticket": "t", "role": role}}}});
    let import = import_transports(&[principal("a"), principal("b"), principal("all")]);
    let realms: Vec<_> = file(&import).listeners.into_iter().map(|listener| listener.realms).collect();
    assert_eq!(realms, [Some(vec!["a".to_owned()]), Some(vec!["b".to_owned()]), None]);
    let alone = import_transports(&[principal("a"), principal("b")]);
    assert_eq!(alone.warnings, [], "{}", alone.text);
}

#[test]
fn who_may_join_where_it_was_not_so_is_told_each_time() {
    let local = serde_json::json!({"ticket": {"principals": {"root": {"ticket": "t", "role": "a"}}}});
    let public = serde_json::json!({"cookie": {},
        "ticket": {"type": "dynamic", "authenticator": "com.auth", "authenticator-realm": "b"}});
    let shared = serde_json::json!({"cookie": {}, "ticket": local["ticket"]});
    let import = import_transports(&[local, public, shared]);
    assert_eq!(import.mistakes, []);
    let at = |index| format!("workers[0].transports[{index}].auth");
    for (index, text) in [
        (0, "0.0.0.0:1 also lets in by ticket: whom com.auth accepts to realm a"),
        (1, "0.0.0.0:2 also lets in by ticket: root to realm a"),
        (1, "0.0.0.0:2 also lets in by cookie: root to realm a"),
        (2, "0.0.0.0:3 also lets in by ticket: whom com.auth accepts to realm a"),
        (2, "0.0.0.0:3 also lets in by cookie: whom com.auth accepts to realm a"),
    ] {
        assert!(has(&import.warnings, &at(index), text), "{text}: {:#?}", import.warnings);
    }
    assert_eq!(import.warnings.len(), 5, "{:#?}", import.warnings);
}

/// They would be what others are at another address.
#[test]
fn who_says_nothing_joins_no_realm_that_was_closed_to_them() {
    let asks =
        serde_json::json!({"type": "dynamic", "authenticator": "com.auth", "authenticator-realm": "b"});
    let public = serde_json::json!({"anonymous": {"role": "a"}, "ticket": asks});
    let local = serde_json::json!({"anonymous": {"role": "b", "realm": "b"}});
    let import = import_transports(&[public.clone(), local.clone()]);
    let listeners = file(&import).listeners;
    assert_eq!(listeners[0].methods, Some(vec![Method::Ticket]), "{}", import.text);
    assert_eq!((&listeners[0].realms, &listeners[0].anonymous), (&None, &None), "a procedure says the realm");
    assert_eq!(listeners[1].methods, Some(vec![Method::Anonymous]));
    assert_eq!(listeners[1].realms, Some(vec!["b".to_owned()]));
    let (at, told) =
        ("workers[0].transports[0].auth.anonymous", "anybody to realm b; therefore nobody joins by");
    assert!(has(&import.mistakes, at, told), "{:#?}", import.mistakes);
    assert_eq!(import.mistakes.len(), 1);
    // A role that no realm has lets nobody in, into whatever realm.
    let nobody = serde_json::json!({"anonymous": {"role": "ghost"}, "ticket": public["ticket"]});
    let import = import_transports(&[nobody, local.clone()]);
    assert_eq!(
        (file(&import).listeners[0].methods.as_deref(), &*import.mistakes),
        (Some(&[Method::Ticket][..]), &[][..])
    );
    // Who could join there is not shut out.
    let exact = serde_json::json!({"anonymous": {"role": "a"}});
    let import = import_transports(&[exact, local]);
    assert_eq!((&*import.mistakes, &*import.warnings), (&[][..], &[][..]));
    // What was open for them alone is closed with them.
    let ticket = serde_json::json!({"principals": {"x": {"ticket": "t", "role": "a"}}});
    let import = import_transports(&[
        serde_json::json!({"anonymous": {"role": "b"}, "ticket": ticket}),
        serde_json::json!({"anonymous": {"role": "a"}}),
    ]);
    let listener = &file(&import).listeners[0];
    assert_eq!(listener.methods, Some(vec![Method::Ticket]));
    assert_eq!(listener.realms, Some(vec!["a".to_owned()]), "{}", import.text);
}

#[test]
fn options_that_are_taken_over_are_not_told_to_be_dropped() {
    for kind in ["rawsocket", "websocket"] {
        let node = serde_json::json!({"workers": [{"type": "router",
            "realms": [{"name": "r", "roles": [{"name": "anonymous"}]}],
            "transports": [{"type": kind, "endpoint": {"type": "tcp", "port": 1},
                "options": {"max_message_size": 4096}}]}]});
        let import = super::import(&node.to_string(), Format::Json, Path::new("")).unwrap();
        assert_eq!(file(&import).listeners[0].message_bytes_max, Some(4096));
        assert_eq!(import.dropped, []);
    }
}

/// The role and the name of those who say nothing, at each listener and in realm `a`.
fn anonymous_of(import: &Import) -> (Vec<Option<String>>, Option<String>) {
    let loaded = load(&import.text, Path::new(""), &Anything).unwrap();
    let here = |listener: &crate::config::file::Listener| {
        let here = listener.anonymous.as_ref()?;
        Some([&*here.role, here.authid.as_deref().unwrap_or_default()].concat())
    };
    let listeners = loaded.file.listeners.iter().map(here).collect();
    (listeners, loaded.file.realms[0].anonymous.as_ref().map(|anonymous| anonymous.role.clone()))
}

#[test]
fn who_says_nothing_is_what_the_transport_says() {
    let open = |role: &str| serde_json::json!({"anonymous": {"type": "static", "role": role}});
    let some = |text: &str| Some(text.to_owned());
    let import = import_transports(&[open("a"), open("all"), open("a")]);
    assert_eq!((&import.warnings[..], &import.mistakes[..]), (&[][..], &[][..]), "{}", import.text);
    assert_eq!(anonymous_of(&import), (vec![None, some("all"), None], some("a")));
    let named = serde_json::json!({"anonymous": {"role": "all", "authid": "+somebody"}});
    let import = import_transports(&[open("all"), named]);
    assert_eq!(anonymous_of(&import).0, [None, some("all+somebody")]);
    // A procedure is for the realm to say, whichever transport comes first.
    let asks = serde_json::json!({"anonymous": {"type": "dynamic", "authenticator": "com.who"}});
    let import = import_transports(&[open("a"), asks.clone()]);
    assert_eq!(anonymous_of(&import).0, [some("a"), None]);
    assert!(file(&import).realms[0].anonymous.as_ref().unwrap().dynamic.is_some());
}

#[test]
fn what_a_listener_cannot_say_of_who_says_nothing_lets_nobody_in() {
    let ask = |procedure: &str| serde_json::json!({"type": "dynamic", "authenticator": procedure});
    let known = serde_json::json!({"principals": {"x": {"ticket": "t", "role": "all"}}});
    let both = |procedure| serde_json::json!({"anonymous": ask(procedure), "ticket": known.clone()});
    let import = import_transports(&[both("com.first"), both("com.second")]);
    let at = "workers[0].transports[1].auth.anonymous";
    assert!(
        has(&import.mistakes, at, "which the listener at 0.0.0.0:2 cannot say"),
        "{:#?}",
        import.mistakes
    );
    let listeners = file(&import).listeners;
    let methods: Vec<_> = listeners.into_iter().map(|listener| listener.methods.unwrap()).collect();
    assert_eq!(methods, [vec![Method::Anonymous, Method::Ticket], vec![Method::Ticket]]);
    // Two paths of one address.
    let path = |role: &str| serde_json::json!({"type": "websocket", "auth": {"anonymous": {"role": role}}});
    let node = serde_json::json!({"workers": [{"type": "router",
        "realms": [{"name": "a", "roles": [{"name": "in"}, {"name": "out"}]}],
        "transports": [{"type": "web", "endpoint": {"type": "tcp", "port": 1}, "paths": {
            "in": path("in"), "out": path("out")}}]}]});
    let import = super::import(&node.to_string(), Format::Json, Path::new("")).unwrap();
    assert_eq!(import.mistakes.iter().filter(|note| note.text.contains("cannot say")).count(), 2);
    assert!(import.text.contains("methods = []"), "{}", import.text);
}

#[test]
fn an_authenticator_does_not_take_the_place_of_another_without_a_word() {
    let dynamic = |procedure: &str, role: &str| {
        serde_json::json!({"ticket":
            {"type": "dynamic", "authenticator": procedure, "authenticator-realm": "b", "default-role": role}})
    };
    let import = import_transports(&[dynamic("com.first", "a"), dynamic("com.second", "all")]);
    let at = "workers[0].transports[1].auth.ticket";
    assert!(has(&import.warnings, at, "realm a has another dynamic of ticket already; that remains"));
    let roles = "default_role is said once for ticket in realm a, and is \"all\" here, and \"a\" by another transport";
    assert!(has(&import.mistakes, at, roles), "{:#?}", import.mistakes);
    let realm = &file(&import).realms[0];
    let ticket = realm.ticket.as_ref().unwrap();
    assert_eq!(ticket.dynamic.as_ref().unwrap().procedure, "com.first");
    assert_eq!(ticket.default_role.as_deref(), Some("a"));
    let same = import_transports(&[dynamic("com.first", "a"), dynamic("com.first", "a")]);
    assert_eq!(same.warnings, []);
}

fn import_workers(workers: Value) -> Import {
    let node = serde_json::json!({"version": 2, "workers": workers});
    import(&node.to_string(), Format::Json, Path::new("")).unwrap()
}

#[test]
fn where_nothing_is_left_nothing_is_open() {
    let transport = serde_json::json!({"type": "websocket", "endpoint": {"type": "tcp", "port": 1}});
    let proxy = serde_json::json!([{"type": "proxy", "transports": [transport]}]);
    let realms = serde_json::json!([{"type": "router", "realms": [{"name": "r", "roles": []}]}]);
    for (workers, missing) in
        [(proxy, &["realm"][..]), (realms, &["listener"]), (Value::Array(Vec::new()), &["listener", "realm"])]
    {
        let import = import_workers(workers);
        for key in missing {
            assert!(import.text.contains(&format!("{key} = []\n")), "{}", import.text);
            let told = import
                .mistakes
                .iter()
                .any(|note| note.path.ends_with(&format!(", {key}")) && note.text.contains("there is none"));
            assert!(told, "{:#?}", import.mistakes);
        }
    }
}

#[test]
fn workers_that_were_not_started_are_left_out() {
    let worker = |disabled: Value| {
        let role = serde_json::json!({"name": "anonymous", "permissions": []});
        serde_json::json!([{"type": "router", "options": {"disabled": disabled},
            "realms": [{"name": "r", "roles": [role]}],
            "transports": [{"type": "websocket", "endpoint": {"type": "tcp", "port": 1}}]}])
    };
    for (disabled, is_left_out) in [
        (Value::Bool(false), false),
        (Value::Null, false),
        ("".into(), false),
        (Value::Bool(true), true),
        ("yes".into(), true),
        ("$OFF".into(), true),
    ] {
        let import = import_workers(worker(disabled.clone()));
        assert_eq!(import.text.contains("0.0.0.0"), !is_left_out, "{disabled}: {}", import.text);
        assert_eq!(has(&import.dropped, "workers[0]", "it is disabled"), is_left_out);
        let told = has(&import.mistakes, "workers[0].options.disabled", "the variable OFF");
        assert_eq!(told, disabled == "$OFF");
    }
}

/// A node whose one address has these paths.
fn import_paths(paths: Value) -> Import {
    import_workers(serde_json::json!([{"type": "router",
        "realms": [{"name": "r", "roles": [{"name": "anonymous", "permissions": []}]}],
        "transports": [{"type": "web", "endpoint": {"type": "tcp", "port": 1}, "paths": paths}]}]))
}

#[test]
fn pages_come_in_only_where_all_paths_let_them() {
    let path = |options: Value| serde_json::json!({"type": "websocket", "options": options});
    let pages = |origins: &[&str]| path(serde_json::json!({"allowed_origins": origins}));
    let at = |name: &str| format!("workers[0].transports[0].paths.{name}");
    for (first, second, expected) in [
        (pages(&["https://a.b", "https://c.d"]), pages(&["https://c.d"]), Some(&["https://c.d"][..])),
        (pages(&["https://a.b"]), pages(&["https://c.d"]), Some(&[])),
        (pages(&["https://a.b"]), pages(&["*"]), Some(&["https://a.b"])),
        (path(serde_json::json!({})), pages(&["https://a.b"]), Some(&["https://a.b"])),
        (path(serde_json::json!({"allow_null_origin": false})), pages(&["*"]), None),
    ] {
        let import = import_paths(serde_json::json!({"a": first, "b": second}));
        let listener = &file(&import).listeners[0];
        let expected =
            expected.map(|origins| origins.iter().map(|&origin| origin.to_owned()).collect::<Vec<_>>());
        assert_eq!(listener.origins, expected, "{}", import.text);
        assert_eq!(listener.allow_null_origin, !import.text.contains("allow_null_origin = false"));
        for name in ["a", "b"] {
            assert!(
                has(&import.mistakes, &at(name), "only those that all paths let in"),
                "{:#?}",
                import.mistakes
            );
        }
    }
    let same = import_paths(serde_json::json!({"a": pages(&["https://a.b"]), "b": pages(&["https://a.b"])}));
    assert_eq!((&*same.mistakes, &*same.warnings), (&[][..], &[][..]));
    assert_eq!(file(&same).listeners[0].origins.as_ref().unwrap()[..], ["https://a.b"]);
}

#[test]
fn what_paths_of_an_address_say_differently_is_told() {
    let import = import_paths(serde_json::json!({
        "a": {"type": "websocket", "serializers": ["json"], "options": {"max_message_size": 4096},
            "cookie": {"name": "one", "secure": true}},
        "b": {"type": "websocket", "serializers": ["cbor"], "cookie": {"name": "two", "secure": true}}}));
    let listener = &file(&import).listeners[0];
    assert_eq!((listener.message_bytes_max, listener.serializers.len()), (Some(4096), 2));
    assert_eq!(listener.cookie.as_ref().unwrap().name, "one");
    let at = |name: &str| format!("workers[0].transports[0].paths.{name}");
    for (name, told) in [
        ("a", "serializers is said once"),
        ("b", "serializers is said once"),
        ("b", "message_bytes_max is said once for all paths of an address here, and is 4096"),
        (
            "b",
            "cookie is said once for all paths of an address here, and is { name = \"one\", secure = true }",
        ),
    ] {
        assert!(has(&import.warnings, &at(name), told), "{told}: {:#?}", import.warnings);
    }
    assert_eq!((import.warnings.len(), &*import.mistakes), (4, &[][..]), "{:#?}", import.warnings);
}

#[test]
fn wildcards_that_hide_others_are_told() {
    let told = told_of_permissions(serde_json::json!([
        {"uri": "com.a.*.c", "allow": {"call": true}}, {"uri": "com.*.get", "allow": {"call": true}}]));
    let text = "match `com..get` and begin with `com.a` Crossbar.io looks at `com.a..c` alone";
    assert!(told.len() == 1 && told[0].contains(text), "{told:#?}");
    let apart = told_of_permissions(serde_json::json!([
        {"uri": "org.a.*.c", "allow": {"call": true}}, {"uri": "com.*.get", "allow": {"call": true}}]));
    assert_eq!(apart, Vec::<String>::new());
}

/// What is told of a role with these permissions.
fn told_of_permissions(permissions: Value) -> Vec<String> {
    let node = serde_json::json!({"workers": [{"type": "router",
        "realms": [{"name": "r", "roles": [{"name": "u", "permissions": permissions}]}],
        "transports": [{"type": "rawsocket", "endpoint": {"type": "tcp", "port": 1},
            "auth": {"anonymous": {"type": "static", "role": "u"}}}]}]});
    let import = import(&node.to_string(), Format::Json, Path::new("")).unwrap();
    import.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn procedures_of_the_router_that_are_lost_are_told_of_each_pattern_that_covers_them() {
    let all = serde_json::json!({"call": true, "register": true, "publish": true, "subscribe": true});
    for (uri, policy, told) in [
        ("", "prefix", true),
        ("*", "", true),
        ("wam", "prefix", true),
        ("wamp..kill", "wildcard", true),
        ("com.", "prefix", false),
        ("wamp.session.count", "prefix", false),
    ] {
        let mut permission = serde_json::json!({"uri": uri, "allow": all});
        if !policy.is_empty() {
            permission["match"] = policy.into();
        }
        let warnings = told_of_permissions(serde_json::json!([permission]));
        let lost =
            warnings.iter().any(|text| text.contains("wamp.session.kill") && text.contains("exact rule"));
        assert_eq!(lost, told, "{uri}: {warnings:#?}");
    }
    let named = told_of_permissions(serde_json::json!([
        {"uri": "wamp.subscription.", "match": "prefix", "allow": {"call": true}},
        {"uri": "wamp.subscription.get_events", "match": "exact", "allow": {"call": true}},
    ]));
    assert!(!named.iter().any(|text| text.contains("get_events, ") || text.contains("get_events need")));
}

#[test]
fn patterns_that_are_refused_for_what_is_inside_are_told() {
    let permissions = |inside: bool| {
        serde_json::json!([
            {"uri": "com.*", "allow": {"subscribe": true, "register": true}},
            {"uri": "com.a", "match": "exact", "allow": {"publish": true, "subscribe": inside, "register": true}},
        ])
    };
    let is_told = |warnings: &[String], action: &str| {
        let text = format!("to {action} the pattern `com.` itself; here that is refused, since `com.a`");
        warnings.iter().any(|warning| warning.contains(&text))
    };
    let warnings = told_of_permissions(permissions(false));
    assert!(is_told(&warnings, "subscribe") && !is_told(&warnings, "register"), "{warnings:#?}");
    assert!(!is_told(&told_of_permissions(permissions(true)), "subscribe"));
}

/// A router worker with a realm of this name, whose role `u` has these permissions, and a RawSocket transport.
fn worker(port: u16, name: &str, permissions: &Value, auth: Option<Value>) -> Value {
    serde_json::json!({"type": "router",
        "realms": [{"name": name, "roles": [{"name": "u", "permissions": permissions}, {"name": "anonymous"}]}],
        "transports": [
            {"type": "rawsocket", "endpoint": {"type": "tcp", "port": port}, "auth": auth}]})
}

#[test]
fn a_worker_lets_in_to_its_own_realms_only() {
    let none = serde_json::json!([]);
    let ticket =
        |who: &str| Some(serde_json::json!({"ticket": {"principals": {who: {"ticket": who, "role": "u"}}}}));
    let asks =
        Some(serde_json::json!({"cookie": {}, "ticket": {"type": "dynamic", "authenticator": "com.auth"}}));
    let names = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    // The last says of nobody who could join.
    let nobody = Some(serde_json::json!({"ticket": {"principals": {}}}));
    for (first, second) in [
        (None, None),
        (ticket("bob"), ticket("ops")),
        (asks, None),
        (nobody, ticket("ops")),
        (ticket("bob"), None),
    ] {
        let import = import_workers(serde_json::json!([
            worker(1, "public", &none, first.clone()),
            worker(2, "internal", &none, second)
        ]));
        let file = file(&import);
        assert_eq!(file.listeners[0].realms, names(&["public"]), "{}", import.text);
        assert_eq!(file.listeners[1].realms, names(&["internal"]), "{}", import.text);
        assert_eq!((&*import.warnings, &*import.mistakes), (&[][..], &[][..]), "{}", import.text);
        let [public, internal] = &file.realms[..] else { panic!("{}", import.text) };
        assert_eq!(public.anonymous.is_some(), first.is_none());
        assert!(internal.ticket.is_none() && internal.cookie.is_none(), "{}", import.text);
        let of_others =
            |realm: &file::Realm, who: &str| realm.principals.iter().any(|known| *known.authid == *who);
        assert!(!of_others(public, "ops") && !of_others(internal, "bob"), "{}", import.text);
    }
}

#[test]
fn a_proxy_lets_in_to_the_realms_that_it_routes_to() {
    let none = serde_json::json!([]);
    let proxy = |routes: Value| {
        let mut proxy = worker(3, "", &none, None);
        (proxy["type"], proxy["realms"], proxy["routes"]) = ("proxy".into(), Value::Null, routes);
        import_workers(serde_json::json!([worker(1, "a", &none, None), worker(2, "b", &none, None), proxy]))
    };
    let realms = |import: &Import| file(import).listeners[2].realms.clone();
    assert_eq!(realms(&proxy(serde_json::json!({"b": {"u": "b"}}))), Some(vec!["b".to_owned()]));
    let all = proxy(Value::Null);
    assert_eq!(realms(&all), None);
    assert!(has(&all.warnings, "workers[2]", "every realm"), "{:#?}", all.warnings);
    let nowhere = proxy(serde_json::json!({}));
    assert!(nowhere.text.contains("methods = []") && !nowhere.mistakes.is_empty(), "{}", nowhere.text);
    assert!(has(&nowhere.warnings, "workers[2].transports[0]", "nobody can join"), "{:#?}", nowhere.warnings);
}

#[test]
fn a_procedure_of_another_worker_is_not_asked() {
    let none = serde_json::json!([]);
    let asks = |realm: &str| {
        let asks =
            serde_json::json!({"type": "dynamic", "authenticator": "com.auth", "authenticator-realm": realm});
        let auth = serde_json::json!({"anonymous": asks.clone(), "ticket": asks});
        import_workers(serde_json::json!([worker(1, "a", &none, Some(auth)), worker(2, "b", &none, None)]))
    };
    let import = asks("b");
    for method in ["anonymous", "ticket"] {
        let at = format!("workers[0].transports[0].auth.{method}.authenticator-realm");
        assert!(has(&import.mistakes, &at, "realm b is of another worker"), "{:#?}", import.mistakes);
    }
    assert!(!import.text.contains("com.auth"), "{}", import.text);
    assert_eq!(asks("a").mistakes, []);
}

#[test]
fn realms_of_one_name_that_differ_are_a_mistake() {
    let call = |uri: &str| serde_json::json!([{"uri": uri, "allow": {"call": true}}]);
    let twice = |first: &Value, second: &Value| {
        let import =
            import_workers(serde_json::json!([worker(1, "r", first, None), worker(2, "r", second, None)]));
        let realm = file(&import).realms.remove(0);
        let allowed = realm.role("u").unwrap().rules.len();
        (import, allowed)
    };
    let (same, allowed) = twice(&call("com.*"), &call("com.*"));
    assert_eq!((&*same.mistakes, &*same.dropped, allowed), (&[][..], &[][..], 1));
    assert!(has(&same.warnings, "workers[1].realms[0]", "here they are one"), "{:#?}", same.warnings);
    let none = serde_json::json!([]);
    for (first, second) in
        [(&call("com.*"), &none), (&none, &call("com.*")), (&call("com.*"), &call("com.a"))]
    {
        let (differing, allowed) = twice(first, second);
        let told =
            has(&differing.mistakes, "workers[1].realms[0]", "they differ: role u; give each its own name");
        assert!(told && differing.mistakes.len() == 1, "{:#?}", differing.mistakes);
        assert_eq!(allowed, 0, "{}", differing.text);
    }
    // A role of one of them, and what is no role.
    let mut more = worker(2, "r", &none, None);
    more["realms"][0]["roles"][1] = serde_json::json!({"name": "more", "permissions": call("com.*")});
    more["realms"][0]["options"] = serde_json::json!({"uri_check": "strict"});
    let import = import_workers(serde_json::json!([worker(1, "r", &none, None), more]));
    let told = "they differ: options.uri_check, role anonymous, role more";
    assert!(has(&import.mistakes, "workers[1].realms[0]", told), "{:#?}", import.mistakes);
    assert_eq!(file(&import).realms[0].role("more").unwrap().rules, []);
}

/// What proves somebody at a public address would be worth the role of a local one.
#[test]
fn one_authid_with_two_roles_is_a_mistake() {
    let alice =
        |method: &str, principal: Value| serde_json::json!({method: {"principals": {"alice": principal}}});
    let ticket = |role: &str| alice("ticket", serde_json::json!({"ticket": "t", "role": role}));
    let key = serde_json::json!({"role": "all", "authorized_keys": ["00".repeat(32)]});
    for first in [ticket("all"), alice("cryptosign", key)] {
        let method = if first.get("ticket").is_some() { "ticket" } else { "cryptosign" };
        let import = import_transports(&[first, ticket("a")]);
        let at =
            |index, method: &str| format!("workers[0].transports[{index}].auth.{method}.principals.alice");
        let told = format!("alice has role a here, and role all by {}", at(0, method));
        assert!(has(&import.mistakes, &at(1, "ticket"), &told), "{:#?}", import.mistakes);
        let alice = &file(&import).realms[0].principals[0];
        assert_eq!((alice.role.as_deref(), alice.ticket.is_some()), (Some("all"), method == "ticket"));
    }
    let same = import_transports(&[ticket("a"), ticket("a")]);
    assert_eq!((&*same.warnings, &*same.mistakes), (&[][..], &[][..]));
    // In realms of their own they are two.
    let apart = import_transports(&[ticket("a"), ticket("b")]);
    assert_eq!((&*apart.warnings, &*apart.mistakes), (&[][..], &[][..]));
}

#[test]
fn the_last_permission_of_a_text_counts_whatever_its_match() {
    let exact = serde_json::json!({"uri": "com.a", "allow": {"call": true}});
    let prefix = |allow: Value| serde_json::json!({"uri": "com.a*", "allow": allow});
    let all = prefix(serde_json::json!({"call": true}));
    for (permissions, left) in [
        ([all.clone(), exact.clone()], "exact `com.a`"),
        ([exact.clone(), prefix(serde_json::json!({}))], "prefix `com.a`"),
        ([exact.clone(), exact], "exact `com.a`"),
    ] {
        let import = import_workers(serde_json::json!([worker(1, "r", &permissions.into(), None)]));
        let file = file(&import);
        let rules = &file.realms[0].role("u").unwrap().rules;
        assert_eq!(rules.iter().map(|rule| rule.written().to_string()).collect::<Vec<_>>(), [left]);
        let at = "workers[0].realms[0].roles[0].permissions[1]";
        assert!(
            has(&import.warnings, at, "the one for `com.a` before has no effect"),
            "{:#?}",
            import.warnings
        );
    }
    assert_eq!(told_of_permissions(serde_json::json!([all])), Vec::<String>::new());
}
