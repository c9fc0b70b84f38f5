//! The client commands join the real router by every method, as its configuration file says, and are refused with the
//! wrong secrets.

use std::path::Path;

use fanwire::auth::cryptosign::SigningKey;
use fanwire::auth::scram::{self, Cost, Kdf};
use fanwire::auth::wampcra::Salting;
use fanwire::auth::{base64, hmac_sha256, key, ticket};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::process::{Directory, Running, command, fanwire};

const TOKEN_SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A router with somebody for each method.
struct Router {
    _process: Running,
    plain: String,
    secure: String,
    directory: Directory,
    router_key: String,
}

impl Router {
    fn start() -> Router {
        let directory = Directory::new();
        certificates(&directory.path);
        let (key, router_key) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        write(&directory, "alice.key", &key::write(&key, key::Form::Hex, ""));
        write(&directory, "router.key", &key::write(&router_key, key::Form::Hex, ""));
        write(&directory, "tokens.secret", TOKEN_SECRET);
        write(&directory, "fanwire.toml", &configuration(&key.public().to_string()));
        let mut process = Running::start(command(&["serve", "--config", &path(&directory, "fanwire.toml")]));
        let (mut plain, mut secure) = (String::new(), String::new());
        loop {
            let line = process.line().expect("the router is ready before it ends");
            if line == "ready" {
                break;
            }
            let address = line.strip_prefix("listening on tcp://").and_then(|rest| rest.split(' ').next());
            match address {
                Some(address) if plain.is_empty() => plain = format!("tcp://{address}"),
                Some(address) => secure = format!("tcps://localhost:{}", address.rsplit(':').next().unwrap()),
                None => {}
            }
        }
        let router_key = router_key.public().to_string();
        Router { _process: process, plain, secure, directory, router_key }
    }

    /// `fanwire pub` with these options: its exit code, and what it says of an error.
    fn publish(&self, url: &str, options: &[&str]) -> (i32, String) {
        let ca = path(&self.directory, "ca.pem");
        let publish = ["pub", "com.a", "1", "--ack", "--url", url, "--ca", &ca];
        let (code, _, stderr) = fanwire(&[&publish, options].concat());
        (code, stderr)
    }

    fn joins(&self, url: &str, options: &[&str]) {
        assert_eq!(self.publish(url, options), (0, String::new()), "{options:?}");
    }

    fn refuses(&self, url: &str, options: &[&str], reason: &str) {
        let (code, stderr) = self.publish(url, options);
        assert!(code == 4 && stderr.contains(reason), "{options:?}: {code} {stderr}");
    }
}

fn path(directory: &Directory, name: &str) -> String {
    directory.path.join(name).to_str().unwrap().to_owned()
}

fn write(directory: &Directory, name: &str, text: &str) {
    std::fs::write(directory.path.join(name), text).unwrap();
}

/// An authority, a certificate for the router and one for `machine`.
fn certificates(directory: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(directory.join("ca.pem"), authority.pem()).unwrap();
    for (file, names, common_name) in
        [("router", vec!["localhost".to_owned()], "router"), ("machine", vec![], "machine")]
    {
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(directory.join(format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(directory.join(format!("{file}.key.pem")), key.serialize_pem()).unwrap();
    }
}

fn configuration(public_key: &str) -> String {
    let salting = Salting { salt: "salt123".to_owned(), iterations: 100, keylen: 32 };
    let derived = salting.derive(&"password".into()).unwrap();
    let derived = derived.text().unwrap();
    let kind = ticket::Kind::Argon2id { iterations: 1, memory_kib: 64 };
    let hashed = ticket::Hashed::new(&"hash me".into(), kind, [3; 16]).unwrap();
    let scram = |kdf, iterations, memory_kib| {
        let cost = Cost { kdf, iterations, memory_kib };
        let stored = scram::Stored::new(&"pencil".into(), [7; 16], cost).unwrap();
        let (salt, stored_key, server_key) =
            (stored.salt(), stored.stored_key(), stored.server_key().to_string());
        let kdf = kdf.name();
        format!(
            r#"{{ kdf = "{kdf}", salt = "{salt}", iterations = {iterations}, memory = {memory_kib},
                stored_key = "{stored_key}", server_key = "{server_key}" }}"#
        )
        .replace('\n', " ")
    };
    let (scram_salted, scram_text) = (scram(Kdf::Pbkdf2, 4096, 0), scram(Kdf::Argon2id13Text, 8, 512));
    format!(
        r#"
shards = 2
drain_seconds = 1
log = "error"

[authentication]
router_key_file = "router.key"
failures_max = 1000

[[listener]]
address = "127.0.0.1:0"

[[listener]]
address = "127.0.0.1:0"
tls = {{ certificate = "router.pem", key_file = "router.key.pem", client = "optional", client_authorities = "ca.pem" }}

[[realm]]
name = "realm1"

[[realm.role]]
name = "user"
rule = [{{ uri = "*", allow = ["call", "register", "publish", "subscribe"] }}]

[[realm.principal]]
authid = "alice"
role = "user"
ticket = "swordfish"
wampcra = {{ secret = "secret" }}
cryptosign = {{ keys = ["{public_key}"] }}

[[realm.principal]]
authid = "hashed"
role = "user"
ticket = "{hashed}"

[[realm.principal]]
authid = "salted"
role = "user"
wampcra = {{ secret = "{derived}", salt = "salt123", iterations = 100 }}

[[realm.principal]]
authid = "user"
role = "user"
scram = {scram_salted}

[[realm.principal]]
authid = "python"
role = "user"
scram = {scram_text}

[[realm.principal]]
authid = "machine"
role = "user"
tls = {{ subjects = ["CN=machine"] }}

[realm.jwt]
secret_file = "tokens.secret"
default_role = "user"
"#
    )
}

fn token(subject: &str) -> String {
    let url = |octets: &[u8]| base64(octets).trim_end_matches('=').replace('+', "-").replace('/', "_");
    let claims = format!(r#"{{"sub":"{subject}","exp":99999999999}}"#);
    let message = format!("{}.{}", url(br#"{"alg":"HS256"}"#), url(claims.as_bytes()));
    format!("{message}.{}", url(&hmac_sha256(TOKEN_SECRET.as_bytes(), message.as_bytes())))
}

#[test]
fn everybody_joins_by_what_the_file_says_and_nobody_else() {
    let router = Router::start();
    let key = path(&router.directory, "alice.key");
    let (certificate, certificate_key) =
        (path(&router.directory, "machine.pem"), path(&router.directory, "machine.key.pem"));
    for url in [&router.plain, &router.secure] {
        router.joins(url, &["--authid", "alice", "--ticket", "swordfish"]);
        router.joins(url, &["--authid", "hashed", "--ticket", "hash me"]);
        router.joins(url, &["--authid", "alice", "--secret", "secret"]);
        router.joins(url, &["--authid", "salted", "--secret", "password"]);
        router.joins(url, &["--authid", "user", "--secret", "pencil"]);
        router.joins(url, &["--authid", "python", "--secret", "pencil", "--authmethod", "scram"]);
        router.joins(url, &["--authid", "alice", "--key", &key, "--router-key", &router.router_key]);
        router.joins(url, &["--key", &key]);
        router.joins(url, &["--ticket", &token("carol")]);
        for options in [
            &["--authid", "alice", "--ticket", "wrong"][..],
            &["--authid", "hashed", "--ticket", "wrong"],
            &["--authid", "salted", "--secret", "wrong"],
            &["--authid", "user", "--secret", "wrong"],
            &[
                "--authid",
                "user",
                "--key",
                &key,
                "--authmethod",
                "cryptosign",
                "--authmethod",
                "ticket",
                "--ticket",
                "x",
            ],
            &["--authid", "dave", "--ticket", &token("carol")],
        ] {
            router.refuses(url, options, "wamp.error.authentication_failed");
        }
        router.refuses(url, &[], "wamp.error.no_matching_auth_method");
    }
    router.joins(&router.secure, &["--certificate", &certificate, "--certificate-key", &certificate_key]);
    router.joins(&router.secure, &["--authid", "alice", "--key", &key, "--channel-binding"]);
    router.joins(&router.secure, &["--authid", "user", "--secret", "pencil", "--channel-binding"]);
    let shown = ["--authid", "alice", "--certificate", &certificate, "--certificate-key", &certificate_key];
    router.refuses(&router.secure, &shown, "wamp.error.authentication_failed");
}
