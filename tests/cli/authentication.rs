//! The client commands prove who they are, to routers of the tests' own that ask for it: each method, with secrets from
//! files, variables and the command line, and routers that are not what they should be.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use fanwire::auth::binding::{BindingType, ChannelBinding};
use fanwire::auth::cryptosign::{Challenge, SigningKey};
use fanwire::auth::key;
use fanwire::auth::scram::{self, Cost, Dialect, Exchange, Kdf};
use fanwire::auth::wampcra::{self, Salting};
use fanwire::codec;
use fanwire::wamp::message::{self, Message};
use fanwire::wamp::{Dict, SessionId, Value};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::process::{Directory, command, ended, fanwire};
use crate::scripted::Peer;

/// What a router has read of HELLO or AUTHENTICATE: texts by their keys.
type Texts = Vec<(String, String)>;

/// A router that plays this script for one client; where it is.
fn router(script: impl FnOnce(Peer<TcpStream>) + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    (url, thread::spawn(move || script(Peer::new(listener.accept().unwrap().0))))
}

/// The texts of a dictionary and of those in it.
fn texts(dict: &Dict<'_>) -> Texts {
    let mut found = Vec::new();
    for (key, value) in codec::entries(dict) {
        match value {
            Value::Text(text) => found.push((key.into_owned(), text.into_owned())),
            Value::Dict(dict) => found.extend(texts(&dict)),
            Value::List(list) => found.extend(codec::items(&list).filter_map(|item| match item {
                Value::Text(text) => Some((key.clone().into_owned(), text.into_owned())),
                _ => None,
            })),
            _ => {}
        }
    }
    found
}

fn all<'t>(texts: &'t Texts, key: &str) -> Vec<&'t str> {
    texts.iter().filter(|(known, _)| known == key).map(|(_, text)| &**text).collect()
}

fn one<'t>(texts: &'t Texts, key: &str) -> &'t str {
    let all = all(texts, key);
    assert_eq!(all.len(), 1, "{key}: {texts:?}");
    all[0]
}

trait Authenticating {
    fn hello(&mut self) -> Texts;
    fn challenge(&mut self, authmethod: &str, extra: &[(&str, Value<'_>)]);
    fn authenticate(&mut self) -> (String, Texts);
    fn let_in(self, authextra: &[(&str, Value<'_>)]);
    fn expect_abort(self);
}

impl<S: Read + Write> Authenticating for Peer<S> {
    fn hello(&mut self) -> Texts {
        let hello = self.receive_as(|message| match message {
            Message::Hello(hello) => texts(&hello.details),
            other => panic!("{other:?}"),
        });
        hello.unwrap()
    }

    fn challenge(&mut self, authmethod: &str, extra: &[(&str, Value<'_>)]) {
        let extra = Dict::Pairs(extra);
        self.send(&Message::Challenge(message::Challenge { authmethod: authmethod.into(), extra }));
    }

    fn authenticate(&mut self) -> (String, Texts) {
        let authenticate = self.receive_as(|message| match message {
            Message::Authenticate(said) => (said.signature.clone().into_owned(), texts(&said.extra)),
            other => panic!("{other:?}"),
        });
        authenticate.unwrap()
    }

    /// WELCOME, and one publication.
    fn let_in(mut self, authextra: &[(&str, Value<'_>)]) {
        let details = [("authextra", Value::Dict(Dict::Pairs(authextra)))];
        let details = Dict::Pairs(&details);
        self.send(&Message::Welcome(message::Welcome { session: SessionId(7), details }));
        self.expect("PUBLISH");
        self.goodbye();
    }

    fn expect_abort(mut self) {
        self.expect("ABORT");
        assert!(self.receive().is_none());
    }
}

/// `fanwire pub` with these options, which must succeed.
fn publishes(url: &str, options: &[&str], variables: &[(&str, &str)]) {
    let mut command = command(&[&["pub", "com.a", "--url", url, "--authid", "alice"], options].concat());
    let ended = ended(command.envs(variables.iter().copied()).output().unwrap());
    assert_eq!(ended, (0, String::new(), String::new()), "{options:?}");
}

/// The same, which must be refused by the client; what it says.
fn is_refused(url: &str, options: &[&str]) -> String {
    let (code, _, stderr) =
        fanwire(&[&["pub", "com.a", "--url", url, "--authid", "alice"], options].concat());
    assert_eq!(code, 4, "{stderr}");
    stderr
}

fn file(directory: &Directory, name: &str, text: &str) -> String {
    let path = directory.path.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_ticket_comes_from_the_line_a_file_or_a_variable() {
    let directory = Directory::new();
    let ticket = file(&directory, "ticket", "the ticket\n");
    for (options, variables) in [
        (["--ticket", "the ticket"], &[][..]),
        (["--ticket-file", &*ticket], &[]),
        (["--ticket-env", "TICKET_OF_ALICE"], &[("TICKET_OF_ALICE", "the ticket")]),
    ] {
        let (url, router) = router(|mut peer| {
            let hello = peer.hello();
            assert_eq!((one(&hello, "authid"), one(&hello, "authmethods")), ("alice", "ticket"));
            peer.challenge("ticket", &[]);
            assert_eq!(peer.authenticate().0, "the ticket");
            peer.let_in(&[]);
        });
        publishes(&url, &options, variables);
        router.join().unwrap();
    }
}

#[test]
fn wampcra_is_signed_plain_and_salted() {
    for salting in [None, Some(Salting { salt: "salt".to_owned(), iterations: 100, keylen: 32 })] {
        let (url, router) = router(move |mut peer| {
            assert_eq!(all(&peer.hello(), "authmethods"), ["wamp-scram", "wampcra"]);
            let mut extra = vec![("challenge", Value::text("{\"text\": \"é\"}"))];
            let mut secret = "the secret".into();
            if let Some(salting) = &salting {
                extra.push(("salt", Value::text(&salting.salt)));
                extra.push(("iterations", Value::Unsigned(salting.iterations.into())));
                extra.push(("keylen", Value::Unsigned(salting.keylen.into())));
                secret = salting.derive(&secret).unwrap();
            }
            peer.challenge("wampcra", &extra);
            assert!(wampcra::verify(&secret, "{\"text\": \"é\"}", &peer.authenticate().0));
            peer.let_in(&[]);
        });
        publishes(&url, &["--secret-env", "SECRET_OF_ALICE"], &[("SECRET_OF_ALICE", "the secret")]);
        router.join().unwrap();
    }
}

/// Goes through an exchange as the router; what it sends as its own proof.
fn prove<S: Read + Write>(
    peer: &mut Peer<S>,
    name: &str,
    cost: Cost,
    binding: Option<&ChannelBinding>,
) -> String {
    let stored = scram::Stored::new(&"the secret".into(), [1; 16], cost).unwrap();
    let hello = peer.hello();
    let client_nonce = one(&hello, "nonce");
    assert!(scram::is_client_nonce(client_nonce));
    let (nonce, salt) = (format!("{client_nonce}AAAA"), stored.salt());
    let dialect = Dialect::from_authmethod(name).unwrap();
    let exchange =
        Exchange { dialect, authid: "alice", client_nonce, nonce: &nonce, salt: &salt, cost, binding };
    peer.challenge(name, &exchange.challenge());
    let (proof, extra) = peer.authenticate();
    let said = |key| all(&extra, key).first().copied();
    let response = scram::Response {
        proof: &proof,
        nonce: said("nonce"),
        channel_binding: said("channel_binding"),
        cbind_data: said("cbind_data"),
    };
    exchange.verify(&stored, &response).expect("the password is right")
}

#[test]
fn scram_is_proved_in_both_dialects_and_so_is_the_router() {
    let directory = Directory::new();
    let password = file(&directory, "password", "the secret");
    for (name, kdf, verifier) in [
        ("wamp-scram", Kdf::Pbkdf2, "verifier"),
        ("wamp-scram", Kdf::Argon2id13, "verifier"),
        ("scram", Kdf::Argon2id13Text, "scram_server_signature"),
    ] {
        for honest in [true, false] {
            let (url, router) = router(move |mut peer| {
                let (iterations, memory_kib) = if kdf == Kdf::Pbkdf2 { (4096, 0) } else { (8, 512) };
                let proof = prove(&mut peer, name, Cost { kdf, iterations, memory_kib }, None);
                if honest {
                    peer.let_in(&[(verifier, Value::text(&proof))]);
                } else {
                    let details = Dict::EMPTY;
                    peer.send(&Message::Welcome(message::Welcome { session: SessionId(7), details }));
                    peer.expect_abort();
                }
            });
            let options = ["--secret-file", &password, "--authmethod", name];
            if honest {
                publishes(&url, &options, &[]);
            } else {
                assert!(is_refused(&url, &options).contains("has not proved"));
            }
            router.join().unwrap();
        }
    }
}

#[test]
fn cryptosign_takes_keys_in_every_form_and_routers_prove_themselves() {
    let directory = Directory::new();
    let (client, server) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
    let router_key = server.public().to_string();
    let hex = file(&directory, "hex", &key::write(&client, key::Form::Hex, ""));
    let openssh = file(&directory, "openssh", &key::write(&client, key::Form::OpenSsh, "c"));
    let pem = file(&directory, "pem", &key::write(&client, key::Form::Pem, ""));
    let raw = directory.path.join("raw.key");
    fs::write(&raw, client.seed()).unwrap();
    for (file, honest) in
        [(&*hex, true), (&openssh, true), (&pem, true), (raw.to_str().unwrap(), true), (&hex, false)]
    {
        let (public, proving) = (client.public(), if honest { server.clone() } else { client.clone() });
        let (url, router) = router(move |mut peer| {
            let hello = peer.hello();
            assert_eq!(one(&hello, "pubkey"), public.to_string());
            let proof = Challenge::read(one(&hello, "challenge")).unwrap().answer(&proving, None);
            let (challenge, pubkey) = (Challenge::new([9; 32]), proving.public().to_string());
            let text = challenge.text();
            peer.challenge(
                "cryptosign",
                &[
                    ("challenge", Value::text(&text)),
                    ("channel_binding", Value::Null),
                    ("signature", Value::text(&proof)),
                    ("pubkey", Value::text(&pubkey)),
                ],
            );
            if !honest {
                return peer.expect_abort();
            }
            assert!(challenge.verify(&public, None, &peer.authenticate().0));
            peer.let_in(&[]);
        });
        let options = ["--key", file, "--router-key", &router_key];
        if honest {
            publishes(&url, &options, &[]);
        } else {
            assert!(is_refused(&url, &options).contains("has not proved"));
        }
        router.join().unwrap();
    }
}

/// A router behind TLS that plays this script, with what it has exported for the connection.
fn tls_router(
    authority: &Path,
    script: impl FnOnce(Peer<StreamOwned<ServerConnection, TcpStream>>, [u8; 32]) + Send + 'static,
) -> (String, JoinHandle<()>) {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(authority, issued.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![issued.cert.der().clone()], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcps://localhost:{}", listener.local_addr().unwrap().port());
    let thread = thread::spawn(move || {
        let mut socket = listener.accept().unwrap().0;
        let mut session = ServerConnection::new(config).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap();
        }
        let id = session.export_keying_material([0; 32], BindingType::EXPORTER_LABEL, Some(&[])).unwrap();
        script(Peer::new(StreamOwned::new(session, socket)), id);
    });
    (url, thread)
}

#[test]
fn a_proof_is_bound_to_the_tls_connection() {
    let directory = Directory::new();
    let authority = directory.path.join("ca.pem");
    let client = SigningKey::from_seed(&[1; 32]);
    let key = file(&directory, "key", &key::write(&client, key::Form::Hex, ""));
    let public = client.public();
    let ca = authority.to_str().unwrap();
    for bound in [true, false] {
        let (url, router) = tls_router(&authority, move |mut peer, id| {
            assert_eq!(one(&peer.hello(), "channel_binding"), "tls-exporter");
            let challenge = Challenge::new([9; 32]);
            let text = challenge.text();
            let binding = if bound { Value::text("tls-exporter") } else { Value::Null };
            peer.challenge("cryptosign", &[("challenge", Value::text(&text)), ("channel_binding", binding)]);
            if !bound {
                return peer.expect_abort();
            }
            assert!(challenge.verify(&public, Some(&id), &peer.authenticate().0));
            peer.let_in(&[]);
        });
        let options = ["--key", &key, "--channel-binding", "--ca", ca];
        if bound {
            publishes(&url, &options, &[]);
        } else {
            assert!(is_refused(&url, &options).contains("cannot be bound"));
        }
        router.join().unwrap();
    }
    let (url, router) = tls_router(&authority, |mut peer, id| {
        let binding = ChannelBinding { binding: BindingType::TlsExporter, octets: id.to_vec() };
        let cost = Cost { kdf: Kdf::Pbkdf2, iterations: 4096, memory_kib: 0 };
        let proof = prove(&mut peer, "wamp-scram", cost, Some(&binding));
        peer.let_in(&[("verifier", Value::text(&format!("v={proof}")))]);
    });
    publishes(&url, &["--secret", "the secret", "--channel-binding", "--ca", ca], &[]);
    router.join().unwrap();
}

/// Routers that would rather have the ticket, or let the client in without a proof.
#[test]
fn a_router_that_was_to_prove_itself_gets_no_ticket_and_no_message() {
    let directory = Directory::new();
    let key = file(&directory, "key", &key::write(&SigningKey::from_seed(&[1; 32]), key::Form::Hex, ""));
    let router_key = SigningKey::from_seed(&[2; 32]).public().to_string();
    let options = ["--key", &key, "--router-key", &router_key, "--ticket", "t", "--secret", "s"];
    let (url, router) = router(|mut peer| {
        assert_eq!(all(&peer.hello(), "authmethods"), ["cryptosign"]);
        peer.challenge("ticket", &[]);
        peer.expect_abort();
    });
    assert!(is_refused(&url, &options).contains("ticket"));
    router.join().unwrap();
    let authority = directory.path.join("ca.pem");
    let options = ["--secret", "s", "--channel-binding", "--ca", authority.to_str().unwrap()];
    for (challenged, told) in [(true, "wampcra"), (false, "cannot be bound")] {
        let (url, router) = tls_router(&authority, move |mut peer, _| {
            assert_eq!(all(&peer.hello(), "authmethods"), ["wamp-scram"]);
            if challenged {
                peer.challenge("wampcra", &[("challenge", Value::text("x"))]);
            } else {
                let details = Dict::EMPTY;
                peer.send(&Message::Welcome(message::Welcome { session: SessionId(7), details }));
            }
            peer.expect_abort();
        });
        let refused = is_refused(&url, &options);
        assert!(refused.contains(told), "{refused}");
        router.join().unwrap();
    }
}

#[test]
fn without_tls_nothing_is_bound() {
    let (url, router) = router(|peer| peer.expect_abort());
    assert!(is_refused(&url, &["--secret", "s", "--channel-binding"]).contains("TLS 1.3"));
    // The client has not even said HELLO.
    assert!(router.join().is_err());
}

#[test]
fn a_router_that_asks_for_something_else_gets_nothing() {
    for (authmethod, options) in [
        ("ticket", &["--secret", "s"][..]),
        ("wampcra", &["--ticket", "t"]),
        ("ticket", &["--ticket", "t", "--authmethod", "wampcra"]),
        ("x", &["--ticket", "t"]),
        ("ticket", &[]),
    ] {
        let (url, router) = router(move |mut peer| {
            peer.hello();
            peer.challenge(authmethod, &[("challenge", Value::text("c"))]);
            peer.expect_abort();
        });
        assert!(is_refused(&url, options).contains(authmethod));
        router.join().unwrap();
    }
}

#[test]
fn what_cannot_be_read_is_told_before_anybody_is_asked() {
    let directory = Directory::new();
    let (empty, binary) = (file(&directory, "empty", "\n"), directory.path.join("binary"));
    fs::write(&binary, [0xFF; 8]).unwrap();
    let binary = binary.to_str().unwrap();
    for (options, told) in [
        (["--ticket-file", "/nowhere/at/all"], "cannot be read"),
        (["--ticket-file", &*empty], "is empty"),
        (["--ticket-file", binary], "UTF-8"),
        (["--secret-env", "NOT_SET_ANYWHERE"], "is not set"),
        (["--key", &*empty], "not a key"),
        (["--key", binary], "not a key"),
        (["--router-key", "00"], "64 hexadecimal digits"),
    ] {
        let (code, _, stderr) =
            fanwire(&[&["pub", "com.a", "--url", "tcp://127.0.0.1:1"], &options[..]].concat());
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(told), "{stderr}");
    }
    let both = ["pub", "com.a", "--ticket", "a", "--ticket-env", "B"];
    assert_eq!(fanwire(&both).0, 2);
}
