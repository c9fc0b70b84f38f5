//! Files as they are written: the example, and every kind of mistake.

use std::path::Path;

use super::super::reader::asked;
use super::*;
use crate::auth::Method;
use crate::config::{EXAMPLE, load};
use crate::router::Permissions;
use crate::server::ClientCertificates;
use crate::transport::pages::Origins;

/// Surroundings in which each file holds 64 zeros, but those with the keys of tokens; so do variables that are keys.
struct Zeros;

impl Surroundings for Zeros {
    fn file(&self, path: &Path) -> io::Result<Secret> {
        let known = path.starts_with("/etc") && !path.ends_with("missing");
        let octets = match path.file_name().and_then(|name| name.to_str()) {
            Some("tokens.pem") => TOKENS_PEM.into(),
            Some("tokens.json") => TOKENS_JWKS.into(),
            Some("large") => vec![b'0'; 65_537],
            Some("latin-1.pem" | "latin-1") => vec![0xE9; 64],
            Some("blank") => b" \n".into(),
            _ => format!("{}\n", "0".repeat(64)).into(),
        };
        known.then(|| Secret::new(octets)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn variable(&self, name: &str) -> Option<Secret> {
        let key = name.ends_with("_KEY") || name.ends_with("_SECRET");
        let value = || Secret::from(if key { "0".repeat(64) } else { "swordfish".to_owned() });
        (!name.starts_with("MISSING")).then(value)
    }
}

/// RFC 8032's first public key, in both forms.
const TOKENS_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
const TOKENS_JWKS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn read_file(text: &str) -> Result<File, Vec<Mistake>> {
    read(text, Path::new("/etc"), &Zeros)
}

fn good(text: &str) -> File {
    read_file(text).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

/// Every mistake, as it is told.
fn told(text: &str) -> Vec<String> {
    read_file(text).expect_err("there are mistakes").iter().map(ToString::to_string).collect()
}

/// The lines of the example behind a `#` without a space, without it.
fn uncommented() -> String {
    let line = |line: &'static str| {
        let key = line.strip_prefix('#').filter(|key| key.starts_with(|c: char| c.is_ascii_lowercase()));
        key.unwrap_or(line)
    };
    EXAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_good_and_its_defaults_are_the_real_ones() {
    let (said, unsaid) = (good(&uncommented()), good(EXAMPLE));
    assert_eq!(format!("{said:#?}"), format!("{unsaid:#?}"));
    assert_ne!(uncommented(), EXAMPLE.trim_end());
}

#[test]
fn the_example_has_every_key() {
    asked::take();
    good(&uncommented());
    let asked = asked::take();
    assert!(asked.len() > 150, "{}", asked.len());
    let mut present = std::collections::BTreeSet::new();
    let text = uncommented();
    collect("", toml::de::DeTable::parse(&text).unwrap().get_ref(), &mut present);
    // Of the three ways to write a secret one is enough.
    let plain = |key: &str| {
        let plain = key.strip_suffix("_file").or(key.strip_suffix("_env")).unwrap_or(key);
        plain.to_owned()
    };
    let shown: std::collections::BTreeSet<_> = present.iter().map(|key| plain(key)).collect();
    let missing: Vec<_> = asked.iter().filter(|key| !shown.contains(&plain(key))).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

fn collect(path: &str, table: &toml::de::DeTable, keys: &mut std::collections::BTreeSet<String>) {
    for (key, value) in table.iter() {
        let name: &str = key.get_ref();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        if let Some(table) = value.get_ref().as_table() {
            collect(&path, table, keys);
        }
        for table in value.get_ref().as_array().into_iter().flat_map(|list| list.iter()) {
            table.get_ref().as_table().into_iter().for_each(|table| collect(&path, table, keys));
        }
        keys.insert(path);
    }
}

#[test]
fn nothing_said_is_the_same_as_no_options() {
    let ours = good("").server().unwrap();
    // Only a file can be read again.
    let theirs = super::super::Config::default().server().unwrap();
    let theirs = crate::server::Config { hangup: true, ..theirs };
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let text = r#"
shards = 65
request_ids = "stric"
longpol = "/x"

[[listener]]
adress = ":1"

[[listener]]
address = "localhost"
transports = ["websockets"]
message_bytes_max = "1X"
realms = ["realm"]

[[realm]]
name = "realm1"
retained_max = "many"
[realm.anonymous]
role = "guset"
[[realm.role]]
name = "guest"
rule = [{ uri = "a b", allow = ["sing"] }, 5]
"#;
    let expected = [
        "2:1: shards: write a number from 1 to 64",
        "3:1: request_ids: `stric` is not known; did you mean \"strict\"?",
        "4:1: longpol: there is no such key; did you mean longpoll?",
        "6:1: listener.address: it is missing; write one such as \"127.0.0.1:8080\"",
        "7:1: listener.adress: there is no such key; did you mean address?",
        "10:1: listener.address: `localhost` is no address; write 127.0.0.1:8080, [::1]:8080, :8080 or unix:/path",
        "11:15: listener.transports: `websockets` is not known; did you mean \"websocket\"?",
        "12:1: listener.message_bytes_max: write octets from 512 to 16777216, such as 65536 or \"64k\"",
        "13:11: listener.realms: there is no realm realm; did you mean \"realm1\"?",
        "17:1: realm.retained_max: this is a text; write a whole number",
        "19:1: realm.anonymous.role: there is no role guset; did you mean \"guest\"?",
        "22:11: realm.role.rule.uri: `a b`: URIs hold no white space, no `#` and no control characters",
        "22:33: realm.role.rule.allow: `sing` is not known; write \"call\", \"register\", \"publish\", \"subscribe\"",
        "22:44: realm.role.rule: this is a whole number; write a table",
    ];
    let told = told(text);
    for (told, expected) in told.iter().zip(expected) {
        assert_eq!(told, expected);
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

#[test]
fn mistakes_of_the_syntax_are_told_with_the_others() {
    let told = told("shards = 0\nlog = \nping_seconds = -1\n");
    assert!(told.iter().any(|mistake| mistake.starts_with("2:")), "{told:#?}");
    assert!(told.contains(&"1:1: shards: write a number from 1 to 64".to_owned()), "{told:#?}");
    assert!(told.contains(&"3:1: ping_seconds: write a number from 0 to 86400".to_owned()), "{told:#?}");
}

#[test]
fn a_mistake_of_the_syntax_names_its_key_and_is_the_only_one_of_its_value() {
    let listener = "[[listener]]\naddress = \":1\"\n";
    for (text, expected) in [
        (
            "[[listener]]\naddress = 127.0.0.1:0\n",
            &[
                "2:16: listener.address: this is no number, no date, not true or false; write a text in quotes",
            ][..],
        ),
        (
            "log = info\nshards = 0\n",
            &["1:7: log: this is no number, no date", "2:1: shards: write a number"],
        ),
        ("log = \nshards = 1\n", &["1:7: log: it has no value"]),
        ("log = \"info\" shards = 1\n", &["1:14: log: something stands behind the value"]),
        (
            "[limits]\nuri_bytes_max = 100\nuri_bytes_max = 200\n",
            &["3:1: limits.uri_bytes_max: it is here twice"],
        ),
        ("[listener]\na = 1\n[[listener]]\na = 2\n", &["3:3: listener: it is here twice; leave one out"]),
        (
            &format!("{listener}cookie = {{ name = \"a\", name = \"b\" }}\n"),
            &["3:24: listener.cookie.name: it is here twice"],
        ),
        // It has swallowed the rest.
        (
            &format!("{listener}realms = [\"a\"\nmethods = [\"ticket\"]\n[[realm]]\nname = \"a\"\n"),
            &["4:1: listener.realms: unclosed array, expected `]`"],
        ),
        ("shards = 0\nmethods: [\"a\"]\n", &["2:8: invalid unquoted key", "2:10: key with no value"]),
    ] {
        let told = told(text);
        let is_expected = told.iter().zip(expected).all(|(told, expected)| told.starts_with(expected));
        assert!(is_expected && told.len() == expected.len(), "{text}: {told:#?}");
    }
}

/// Each looked for in all of the document, this takes minutes.
#[test]
fn many_mistakes_of_the_syntax_are_told_in_time() {
    let text: String = (0..20_000).map(|number| format!("k{number} = 1.2.3\n")).collect();
    let start = std::time::Instant::now();
    assert_eq!(told(&text).len(), 20_000);
    assert!(start.elapsed().as_secs() < 15, "{:?}", start.elapsed());
}

/// A realm with a principal of whom this is said.
fn principal(said: &str) -> String {
    format!(
        "[[realm]]\nname = \"a\"\n[[realm.role]]\nname = \"r\"\n[[realm.principal]]\nauthid = \"alice\"\nrole = \"r\"\n{said}"
    )
}

#[test]
fn secrets_come_from_files_and_variables_and_are_never_told() {
    let ticket = |said: &str| good(&principal(said)).realms[0].principals[0].ticket.clone().unwrap();
    assert_eq!(ticket("ticket = \"x\"").text(), Some("x"));
    assert_eq!(ticket("ticket_file = \"t\"").text(), Some(&*"0".repeat(64)));
    assert_eq!(ticket("ticket_env = \"T\"").text(), Some("swordfish"));
    let missing = told(&principal("ticket_env = \"MISSING\""));
    assert!(missing[0].contains("the environment has no such variable"), "{missing:?}");
    assert!(told(&principal("ticket_file = \"large\""))[0].contains("/etc/large is too large for a secret"));
    for (file, what) in [("latin-1", "it is no text in UTF-8"), ("blank", "a ticket cannot be empty")] {
        let text = principal(&format!("\nticket_file = \"{file}\""));
        let Err(told) = load(&text, Path::new("/etc"), &Zeros) else { panic!("{file}") };
        assert_eq!(told[0].to_string(), format!("9:1: realm.principal.ticket_file: {what}"));
        assert_eq!(told.len(), 1, "{told:#?}");
    }
    let slip = told(&principal("ticket_env = \"MISSING-hush\""));
    let file_slip = told(&principal("ticket_file = \"hush/missing\""));
    assert!(
        file_slip[0].contains("realm.principal.ticket_file: write the path of a file: "),
        "{file_slip:?}"
    );
    let twice = told(&principal("ticket = \"hush\"\nticket_env = \"T\""));
    assert!(twice[0].ends_with("realm.principal.ticket_env: write either this or ticket"), "{twice:?}");
    for text in [
        format!("{slip:?}{file_slip:?}"),
        format!("{twice:?}"),
        format!("{:?}", good(&principal("ticket = \"hush\""))),
    ] {
        assert!(!text.contains("hush"), "{text}");
    }
}

/// Everybody can have something signed with the router's key.
#[test]
fn the_routers_key_is_no_principals() {
    let seed = "07".repeat(32);
    let public = crate::auth::cryptosign::SigningKey::from_seed(&[7; 32]).public().to_string();
    let said = |key: &str| {
        let principal = principal(&format!("cryptosign = {{ keys = [\"{key}\"] }}"));
        format!("[authentication]\nrouter_key = \"{seed}\"\n{principal}")
    };
    good(&said(&"0f".repeat(32)));
    let told = told(&said(&public));
    assert!(told.len() == 1 && told[0].contains("the router's own key"), "{told:#?}");
}

#[test]
fn cookies_have_the_prefix_that_nobody_else_can_set() {
    let name = |said: &str| {
        let file = good(&format!("[[listener]]\naddress = \":1\"\ncookie = {{ {said} }}\n"));
        file.listeners[0].cookie.clone().unwrap().name
    };
    assert_eq!(name(""), "__Host-fanwire");
    assert_eq!(name("secure = false"), "fanwire");
    assert_eq!(name("name = \"own\""), "own");
    let told = told("[[listener]]\naddress = \":1\"\ncookie = { name = \"__Host-a\", secure = false }\n");
    assert!(told.iter().any(|told| told.contains("only with secure = true")), "{told:#?}");
}

#[test]
fn principals_prove_themselves_in_a_form_that_can_be_right() {
    let wrong = [
        ("", "nothing proves"),
        ("ticket = \"\"", "a secret cannot be empty"),
        ("cryptosign = { keys = [\"00\"] }", "64 hexadecimal digits"),
        ("tls = { fingerprints = [\"md5:00\"] }", "write sha256:"),
        ("tls = {}", "no certificate is named"),
        ("wampcra = {}", "write secret, secret_file or secret_env"),
        ("wampcra = { secret = \"x\", keylen = 8 }", "from 16 to 64"),
        ("scram = { kdf = \"md5\" }", "write \"argon2id13\", \"argon2id-13\""),
    ];
    for (said, expected) in wrong {
        let told = told(&principal(said));
        assert!(told.iter().any(|mistake| mistake.contains(expected)), "{said}: {told:#?}");
    }
    let text = principal("wampcra = { secret = \"x\" }").replace("role = \"r\"\n", "");
    assert!(told(&text)[0].contains("realm.principal.role: it is missing; write \"r\""));
    good(&format!("{text}\n[realm.wampcra]\ndefault_role = \"r\""));
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let realm = "[[realm]]\nname = \"a\"\nanonymous = { role = \"r\" }\n[[realm.role]]\nname = \"r\"\n";
    good(realm);
    let listener = |address: &&str| format!("[[listener]]\naddress = \"{address}\"\n");
    let addresses = |addresses: &[&str]| addresses.iter().map(listener).collect::<String>();
    good(&addresses(&[":1", ":2", ":0", ":0", "unix:a", "unix:b", "[::]:3", "0.0.0.0:3"]));
    good("log = \"info,fanwire::server=debug\"");
    let host = |name: &str| {
        let files = "certificate = \"a\"\nkey_file = \"b\"\n";
        let sni = format!("[[listener.tls.sni]]\nnames = [\"{name}\"]\n{files}");
        format!("[[listener]]\naddress = \":1\"\n[listener.tls]\n{files}{sni}")
    };
    for name in ["localhost", "*.example.org", "a_b.Example.org", "xn--bcher-kva.example"] {
        good(&host(name));
    }
    let wrong = [
        (format!("{realm}{realm}"), "realm a is listed twice"),
        (format!("{realm}[[realm.role]]\nname = \"r\""), "role r is listed twice"),
        (realm.replace("\"a\"", "\"wamp.a\""), "cannot be a realm"),
        (realm.replace("\"a\"", "\"a.\"\nmatch = \"prefix\""), "only the name of a template"),
        (
            format!("{realm}authorizer = {{ procedure = \"p\" }}\nrule = [{{ uri = \"a\" }}]"),
            "either an authorizer",
        ),
        (format!("{realm}rule = [{{ uri = \"a.*\" }}, {{ uri = \"a.\", match = \"prefix\" }}]"), "two rules"),
        ("outbound_bytes_max = \"1M\"".to_owned(), "the queue is too short"),
        ("listener = []".to_owned(), "listener: there is none"),
        ("realm = []".to_owned(), "realm: there is none"),
        ("longpoll_receive_seconds = 30".to_owned(), "write more seconds than"),
        ("[[listener]]\naddress = \":1\"\n[[listener]]\naddress = \":1\"".to_owned(), "is listed twice"),
        (addresses(&["127.0.0.1:1", ":1"]), "tcp://:1 is in use with tcp://127.0.0.1:1 already"),
        (addresses(&["unix:a", "unix:./a"]), "leave one out"),
        (format!("control = \"a\"\n{}", addresses(&["unix:./a"])), "control has this path already"),
        (addresses(&[&format!("unix:{}", "x".repeat(120))]), "listener.address: /"),
        (format!("control = \"{}\"", "x".repeat(120)), "is too long for the path of a Unix socket"),
        ("log = \"foo=bar=baz\"".to_owned(), "1:1: log: write a level such as \"info\""),
        (
            "[[listener]]\naddress = \":1\"\ntls = { key_file = \"missing\" }".to_owned(),
            "tls.certificate: it is missing",
        ),
        ("[[listener]]\naddress = \":1\"\nmethods = [\"tls\"]".to_owned(), "needs listener.tls"),
        (
            "[[listener]]\naddress = \":1\"\nnetwork = [{ from = [\"10.0.0.0/33\"] }]".to_owned(),
            "more bits behind `/`",
        ),
        ("[[listener]]\naddress = \":1\"\norigins = [\"example.com\"]".to_owned(), "is no origin"),
        (host("http://x/"), "is no name of a host"),
        (host("bad name"), "is no name of a host"),
        (host("example.com:443"), "is no name of a host"),
        (host("10.0.0.1"), "is no name of a host"),
    ];
    for (text, expected) in wrong {
        let told = told(&text);
        assert!(told.iter().any(|mistake| mistake.contains(expected)), "{expected}: {told:#?}");
    }
}

#[test]
fn what_anonymous_clients_are_at_a_listener_is_something_in_its_realms() {
    let realm = |name: &str, role: &str, anonymous: &str| {
        format!(
            "[[realm]]\nname = \"{name}\"\n{anonymous}[[realm.role]]\nname = \"{role}\"\n\
                 [[realm.principal]]\nauthid = \"x\"\nrole = \"{role}\"\nticket = \"x\"\n"
        )
    };
    let anybody = |role: &str| format!("anonymous = {{ role = \"{role}\" }}\n");
    let (first, second) = (realm("a", "r", &anybody("r")), realm("b", "s", ""));
    let third = realm("c", "s", &anybody("s"));
    let said = |said: &str, realms: &str| format!("[[listener]]\naddress = \":1\"\n{said}\n{realms}");
    let only = "realms = [\"a\"]\nanonymous = { role = \"r\" }";
    good(&said("anonymous = { role = \"r\" }", &format!("{first}{second}")));
    good(&said(only, &format!("{first}{third}")));
    let network = "network = [{ from = [\"unix\"], methods = [], anonymous = { role = \"s\" } }]";
    for (text, expected) in [
        (said("anonymous = {}", &first), "3:1: listener.anonymous.role: it is missing"),
        (said("anonymous = { role = \"r\", dynamic = {} }", &first), "listener.anonymous.dynamic: "),
        (said("anonymous = { role = \"s\" }", &second), "listener.anonymous: no realm that is open here"),
        (
            said("anonymous = { role = \"r\" }", &format!("{first}{third}")),
            "listener.anonymous.role: in realm c, which is open here, there is no role r",
        ),
        (said(network, &first), "listener.network.anonymous.role: in realm a, which is open here"),
    ] {
        let told = told(&text);
        assert!(told.iter().any(|mistake| mistake.contains(expected)), "{expected}: {told:#?}");
    }
}

#[test]
fn what_is_not_served_is_refused_aloud_and_never_left_out() {
    let refused = |text: &str| load(text, Path::new("/etc"), &Zeros).unwrap().refused;
    assert_eq!(refused(""), []);
    let keys = |text: &str| refused(text).into_iter().map(|mistake| mistake.key).collect::<Vec<_>>();
    let asks = "[[realm]]\nname = \"a\"\nanonymous = { role = \"r\" }\n[[realm.role]]\nname = \"r\"\n\
                authorizer = { procedure = \"a.b\" }\n";
    let dynamic = "[realm.scram]\ndynamic = { procedure = \"com.a\" }";
    assert_eq!(keys(&format!("{asks}{dynamic}")), [""; 0]);
    assert_eq!(keys(&principal("ticket = \"x\"")), [""; 0]);
    let listener = "[[listener]]\naddress = \":1\"\n";
    for (said, key) in [
        ("cookie = { same_site = \"none\" }", "listener.cookie.same_site"),
        ("cookie = { same_site = \"none\" }\norigins = [\"*\"]", "listener.cookie.same_site"),
    ] {
        assert_eq!(keys(&format!("{listener}{said}")), [key], "{said}");
    }
    for said in ["cookie = {}", "cookie = { same_site = \"none\" }\norigins = [\"https://a.b\"]"] {
        assert_eq!(keys(&format!("{listener}{said}")), [""; 0], "{said}");
    }
    assert_eq!(keys(&uncommented()), [""; 0]);
}

#[test]
fn what_is_served_arrives() {
    let file = good(
        "shards = 3\nmessage_bytes_max = \"2M\"\nlongpoll = \"/a\"\n[limits]\npattern_shapes_max = 9\n\
         [[listener]]\naddress = \"unix:/x\"\nserializers = [\"cbor\"]\ntransports = [\"rawsocket\"]\n\
         [[listener]]\naddress = \"[::1]:0\"\nmessage_bytes_max = 4096\nrequest_ids = \"any\"\n\
         origins = [\"https://*.A.example\"]\nallow_null_origin = false\n\
         [[realm]]\nname = \"a\"\nuri = \"strict\"\ndisclose = \"never\"\ncall_timeout_seconds = 2\nretained_max = 5\n\
         event_history = [{ uri = \"t\", events = 3 }]\nanonymous = { role = \"r\" }\n\
         [[realm.role]]\nname = \"r\"\ntrust_level = 7\nadministers = true",
    );
    let server = file.server().unwrap();
    assert_eq!((server.shards, server.addresses[0].to_string()), (3, "unix:/x".to_owned()));
    let [first, second] = &server.settings.listeners[..] else { panic!("there are two") };
    assert_eq!(first.transport.serializers, [false, false, true, false]);
    assert_eq!((first.transport.websocket, first.transport.rawsocket), (false, true));
    assert_eq!((&first.transport.longpoll, first.transport.message_bytes_max), (&None, 2 << 20));
    assert_eq!((second.transport.longpoll.as_deref(), second.request_ids), (Some("/a"), RequestIds::Any));
    assert_eq!((second.transport.message_bytes_max, server.settings.limits.pattern_shapes_max), (4096, 9));
    let origins = Origins::new(Some(&["https://*.a.example".to_owned()]), false);
    assert_eq!(
        (&first.transport.pages.origins, &second.transport.pages.origins),
        (&Origins::default(), &origins)
    );
    let realm = &server.settings.realms[0];
    assert_eq!((&*realm.name, realm.uri_check), ("a", crate::wamp::UriCheck::Strict));
    assert_eq!((realm.call_timeout_ms, realm.retained_count_max, realm.event_history.len()), (2_000, 5, 1));
    let anonymous = realm.anonymous().unwrap();
    assert_eq!((&*anonymous.name, anonymous.trust_level), ("r", Some(7)));
    assert!(anonymous.administers);
}

#[test]
fn who_may_join_arrives() {
    let file = good(&uncommented());
    let server = file.server().unwrap();
    let everywhere = &server.settings.authentication;
    assert_eq!(
        (everywhere.challenge_ms_max, everywhere.failures_max, everywhere.failures_ms),
        (10_000, 10, 60_000)
    );
    assert!(everywhere.router_key.is_some());
    let again = good(&uncommented()).server().unwrap().settings.authentication;
    assert_eq!(everywhere.stand_in_key, again.stand_in_key);
    let keyless = |ticket: &str| good(&principal(&format!("ticket = \"{ticket}\""))).server().unwrap();
    let stand_in_key = |ticket| keyless(ticket).settings.authentication.stand_in_key;
    assert!(stand_in_key("a") == stand_in_key("a") && stand_in_key("a") != stand_in_key("b"));
    let known = &server.settings.realms[0].authentication;
    let alice = known.principals.named("alice").unwrap();
    let methods = [Method::Ticket, Method::WampCra, Method::Scram, Method::Cryptosign, Method::Tls];
    assert!(methods.into_iter().all(|method| alice.has(method)));
    assert!(methods.into_iter().all(|method| known.method(method).default_role.is_some()));
    assert_eq!(alice.role.as_ref().unwrap().name, "frontend");
    assert!(alice.extra.is_some() && known.jwt.is_some());
    assert_eq!(known.anonymous.as_ref().unwrap().authid.as_deref(), Some("somebody"));
    let access =
        server.settings.listeners.iter().find(|listener| !listener.access.networks.is_empty()).unwrap();
    assert!(access.access.methods.is_some());
    let here = access.access.anonymous(&crate::origin::PeerAddress::Unix).unwrap();
    assert_eq!((&*here.role, here.authid.as_deref()), ("backend", Some("somebody")));
    let here = access.access.networks[0].anonymous.as_ref().unwrap();
    assert_eq!((&*here.role, here.authid.as_deref()), ("frontend", Some("neighbour")));
}

#[test]
fn what_proves_nothing_is_told() {
    let jwt = |said: &str| format!("{}[realm.jwt]\n{said}", principal("ticket = \"x\"\n"));
    let scram = |said: &str| principal(&format!("scram = {{ {said}, iterations = 1, memory = 8 }}"));
    let keys = r#"stored_key_env = "A_KEY", server_key_env = "A_KEY", kdf = "argon2id-13""#;
    for (text, key) in [
        (principal(r#"ticket = "$argon2id$v=19$m=1""#), "realm.principal.ticket: it begins like"),
        (
            principal(r#"tls = { subjects = ["alice"] }"#),
            "realm.principal.tls.subjects: a subject is written",
        ),
        (scram(&format!("{keys}, salt = \"?\"")), "realm.principal.scram.salt: salt is not"),
        (
            scram(r#"kdf = "argon2id13", stored_key = "x", server_key_env = "A_KEY", salt = "c2FsdHNhbHQ=""#),
            "stored_key: ",
        ),
        (jwt("secret = \"short\""), "realm.jwt.secret: the secret of tokens needs"),
        (jwt("public_key = \"other\""), "realm.jwt.public_key: the PEM holds no"),
        (jwt("jwks = \"other\""), "realm.jwt.jwks: not a JSON object"),
    ] {
        let Err(mistakes) = load(&text, Path::new("/etc"), &Zeros) else { panic!("{text}") };
        let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|mistake| mistake.contains(key)), "{key}: {told:?}");
    }
    load(&scram(&format!("{keys}, salt = \"c2FsdHNhbHQ=\"")), Path::new("/etc"), &Zeros).unwrap();
}

#[test]
fn rules_of_a_file_arrive_and_their_mistakes_are_told_with_their_places() {
    let realm = "[[realm]]\nname = \"a\"\nanonymous = { role = \"r\" }\n[[realm.role]]\nname = \"r\"\n";
    let permissions = |said: &str| {
        let server = good(&format!("{realm}{said}")).server().unwrap();
        server.settings.realms[0].anonymous().unwrap().permissions.clone()
    };
    assert_eq!(permissions("everything = true"), Permissions::Everything);
    let rules = |said: &str| match permissions(said) {
        Permissions::Rules(rules) => rules.rules().iter().map(ToString::to_string).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(rules(""), Vec::<String>::new());
    let said =
        "rule = [{ uri = \"a.*\", allow = [\"call\"] }, { uri = \"a.*.b\" }, { uri = \"a.{authid}\" }]";
    assert_eq!(rules(said), ["prefix `a.`", "wildcard `a..b`", "exact `a.{authid}`"]);
    let told = |said: &str| told(&format!("{realm}{said}"));
    for (said, expected) in [
        (
            "rule = [{ uri = \"a.*b\" }]",
            "6:11: realm.role.rule.uri: `a.*b`: a star stands for one whole component",
        ),
        (
            "rule = [{ uri = \"{authid}.a\" }]",
            "6:11: realm.role.rule.uri: `{authid}.a`: values of the session stand",
        ),
        ("rule = [{ uri = \"wamp.a\", allow = [\"register\"] }]", "`wamp.a`: nobody may register or publish"),
        ("rule = [{ uri = \"a.*\" }, { uri = \"a.\", match = \"prefix\" }]", "there are two rules for it"),
        ("everything = true\nrule = [{ uri = \"a\" }]", "6:1: realm.role.everything: nobody else decides"),
    ] {
        assert!(told(said).iter().any(|mistake| mistake.contains(expected)), "{said}: {:#?}", told(said));
    }
}

#[test]
fn no_text_makes_it_panic() {
    let mut seed = 7_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize
    };
    for _ in 0..200 {
        let mut text = EXAMPLE.as_bytes().to_vec();
        for _ in 0..1 + random() % 4 {
            let place = random() % text.len();
            text[place] = b"[]{}=\"'#.\n ax0-"[random() % 15];
        }
        let _ = read_file(&String::from_utf8(text).unwrap());
    }
}

#[test]
fn names_to_choose_from_are_told_once_each() {
    let realm = |name: &str| format!("[[realm]]\nname = \"{name}\"\n");
    let listener = "[[listener]]\naddress = \":1\"\nrealms = [\"nope\"]\n";
    let text = [listener, &realm("wamp.x"), &realm(""), &realm("a"), &realm("a")].concat();
    let told = told(&text);
    assert!(told[0].ends_with("there is no realm nope; write \"wamp.x\", \"a\""), "{told:#?}");
}

#[test]
fn nothing_in_the_example_is_probably_not_meant() {
    assert_eq!(crate::config::cautions(&good(EXAMPLE)), Vec::<String>::new());
}

#[test]
fn what_shuts_out_or_means_nothing_is_told() {
    let tls = "[[listener]]\naddress = \":1\"\n";
    let files = "certificate = \"a.pem\"\nkey_file = \"a.key\"\n";
    for (said, expected) in [
        (
            format!("{tls}methods = [\"tls\"]\n[listener.tls]\n{files}"),
            "listener.methods: no client is asked",
        ),
        (
            format!(
                "{tls}[[listener.network]]\nfrom = [\"::1\"]\nmethods = [\"tls\"]\n[listener.tls]\n{files}"
            ),
            "listener.network.methods: no client is asked",
        ),
        (
            format!("{tls}[listener.tls]\n{files}client = \"off\"\nclient_authorities = \"c.pem\"\n"),
            "listener.tls.client: no client is asked",
        ),
        (
            format!("{tls}[[listener.network]]\nfrom = [\"::1\"]\n"),
            "listener.network.methods: write which methods",
        ),
        (
            format!("{tls}[listener.cookie]\nsecure = false\nsame_site = \"none\"\n"),
            "listener.cookie.same_site: browsers take",
        ),
    ] {
        let told = told(&said);
        assert!(told.len() == 1 && told[0].contains(expected), "{expected}: {told:#?}");
    }
    let file = good(&format!("{tls}[listener.tls]\n{files}client_authorities = \"latin-1.pem\"\n"));
    assert_eq!(file.listeners[0].tls.as_ref().unwrap().client, ClientCertificates::Required);
    let unix = good("[[listener]]\naddress = \"unix:sock\"\n");
    assert_eq!(unix.listeners[0].address.as_ref().unwrap().to_string(), "unix:/etc/sock");
}

/// A file that is read beside traffic, when it has changed, costs what its length costs.
#[test]
fn a_long_file_is_read_in_time() {
    let mut text = principal("ticket = \"x\"\n");
    for number in 0..60_000 {
        text += &format!("[[realm.role.rule]]\nuri = \"com.example.x{number}\"\nallow = [\"call\"]\n");
    }
    let start = std::time::Instant::now();
    assert_eq!(good(&text).realms[0].roles[0].rules.len(), 60_000);
    // Each compared with those before it, it is more than that.
    assert!(start.elapsed().as_secs() < 15, "{:?}", start.elapsed());
}
