//! Every method of authentication with every library that has it, over `wss://`: with the right secret, a wrong one, that
//! of nobody, and an answer that was given before.
//!
//! Principals and secrets are those of `configurations/methods.toml`.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::authority::Authority;
use crate::joiner::{Joiner, Library, Order, Outcome};
use crate::process::run;
use crate::router::Router;

const REFUSED: &str = "wamp.error.authentication_failed";

/// The private halves of alice's key and of nobody's.
const ALICE_KEY: &str = "6161616161616161616161616161616161616161616161616161616161616161";
const NOBODYS_KEY: &str = "7373737373737373737373737373737373737373737373737373737373737373";

/// A router, and a library that joins there.
struct Scene {
    authority: Authority,
    router: Router,
    joiner: Joiner,
}

impl Scene {
    /// With words of the configuration replaced, and a principal added whose authid is `hashed` and whose proof is this
    /// line; none if the library's language is not there.
    fn start_with(library: Library, replaced: &[(&str, &str)], proof: &str) -> Option<Scene> {
        let authority = Authority::new();
        let file = authority.configuration("methods.toml", replaced);
        if !proof.is_empty() {
            let text = fs::read_to_string(&file).expect("it was just written");
            let principal = format!("[[realm.principal]]\nauthid = \"hashed\"\nrole = \"frontend\"\n{proof}");
            fs::write(&file, format!("{text}\n{principal}\n")).expect("the folder is ours");
        }
        authority.issue_client("tess");
        authority.issue_client("stranger");
        let joiner = Joiner::start(library, &authority)?;
        Some(Scene { router: Router::configured(&file), joiner, authority })
    }

    fn start(library: Library) -> Option<Scene> {
        Scene::start_with(library, &[], "")
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

/// The line of a configuration that `fanwire hash` makes of a secret.
fn hashed(method: &str, options: &[&str], secret: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanwire"));
    command.args(["hash", method, "--secret-env", "SECRET"]).args(options).env("SECRET", secret);
    run("hash", &mut command, Duration::from_secs(60)).expect("there is such a secret")
}

/// The right secret joins; a wrong one does not, and neither does an answer that was right once. Whether a name is known
/// cannot be told: who is not known is refused as somebody who is.
fn proves(library: Library, method: &str, authid: &str, secret: &str, wrong: &str) {
    let Some(mut scene) = Scene::start(library) else { return };
    scene.by(method, authid, secret).has_joined(authid, "frontend", method);
    let refused = scene.by(method, authid, wrong);
    refused.is_refused(REFUSED);
    // She is known, and has none of these secrets.
    let without = scene.by(method, "tess", secret);
    for (unknown, secret) in [("nobody", wrong), ("nobody", secret), ("nemo", secret), ("noone", secret)] {
        let outcome = scene.by(method, unknown, secret);
        assert!(outcome == refused || outcome == without, "{outcome:?}");
    }
    if method != "ticket" {
        scene.by(method, authid, secret).has_joined(authid, "frontend", method);
        let again = Order::by(&scene.url(), method, authid, secret).and("answer", "again");
        assert_eq!(scene.join(&again), refused);
    }
}

/// Who does not answer a challenge is not waited for.
#[test]
fn silence() {
    let short = [("[authentication]\n", "[authentication]\nchallenge_seconds = 1\n")];
    for library in [Library::Python, Library::Autobahn, Library::Wampy] {
        let Some(mut scene) = Scene::start_with(library, &short, "") else { continue };
        for method in ["ticket", "wampcra", "cryptosign"] {
            let silent = Order::by(&scene.url(), method, "alice", ALICE_KEY).and("answer", "none");
            scene.join(&silent).is_refused(REFUSED);
        }
        scene.by("ticket", "alice", "alice's ticket").has_joined("alice", "frontend", "ticket");
    }
}

#[test]
fn python_ticket() {
    proves(Library::Python, "ticket", "alice", "alice's ticket", "bob's ticket");
}

#[test]
fn python_wampcra() {
    proves(Library::Python, "wampcra", "alice", "alice's secret", "alice's ticket");
}

#[test]
fn python_wampcra_salted() {
    proves(Library::Python, "wampcra", "amy", "amy's password", "alice's secret");
}

/// Its PBKDF2 for this method does not run, for it takes the salt as text: Argon2 is all it has.
#[test]
fn python_scram() {
    proves(Library::Python, "scram", "kim", "kim's password", "amy's password");
}

#[test]
fn python_cryptosign() {
    proves(Library::Python, "cryptosign", "alice", ALICE_KEY, NOBODYS_KEY);
}

#[test]
fn autobahn_ticket() {
    proves(Library::Autobahn, "ticket", "alice", "alice's ticket", "bob's ticket");
}

#[test]
fn autobahn_wampcra() {
    proves(Library::Autobahn, "wampcra", "alice", "alice's secret", "alice's ticket");
}

#[test]
fn autobahn_wampcra_salted() {
    proves(Library::Autobahn, "wampcra", "amy", "amy's password", "alice's secret");
}

#[test]
fn autobahn_cryptosign() {
    proves(Library::Autobahn, "cryptosign", "alice", ALICE_KEY, NOBODYS_KEY);
}

#[test]
fn wampy_ticket() {
    proves(Library::Wampy, "ticket", "alice", "alice's ticket", "bob's ticket");
}

#[test]
fn wampy_wampcra() {
    proves(Library::Wampy, "wampcra", "alice", "alice's secret", "alice's ticket");
}

#[test]
fn wampy_wampcra_salted() {
    proves(Library::Wampy, "wampcra", "amy", "amy's password", "alice's secret");
}

#[test]
fn wampy_cryptosign() {
    proves(Library::Wampy, "cryptosign", "alice", ALICE_KEY, NOBODYS_KEY);
}

#[test]
fn what_fanwire_hash_makes_is_proved_to() {
    let proofs: [(&str, &str, &[&str]); 3] = [
        ("ticket", "ticket", &[]),
        ("wampcra", "wampcra", &[]),
        ("scram", "scram", &["--kdf", "argon2id-13"]),
    ];
    for (method, kind, options) in proofs {
        let proof = hashed(kind, options, "the password");
        let Some(mut scene) = Scene::start_with(Library::Python, &[], &proof) else { return };
        scene.by(method, "hashed", "the password").has_joined("hashed", "frontend", method);
        scene.by(method, "hashed", "another password").is_refused(REFUSED);
    }
}

/// Over RawSocket as well; what WELCOME says besides; and what a role may do.
#[test]
fn rawsocket_over_tls() {
    let Some(mut scene) = Scene::start(Library::Python) else { return };
    let url = scene.router.secure_rawsocket_url(0);
    let order = Order::by(&url, "wampcra", "alice", "alice's secret");
    let joined = scene.join(&order.clone().and_does(json!([
        ["publish", "com.example.topic", 1],
        ["publish", "com.elsewhere.topic", 1],
        ["subscribe", "com.example.", "prefix"],
        ["subscribe", "com.", "prefix"],
        ["call", "com.example.procedure"],
        ["register", "com.example.procedure"],
    ])));
    joined.has_joined("alice", "frontend", "wampcra");
    let [realm, extra] = joined.joined(["realm", "authextra"]);
    assert_eq!(extra["department"], "sales", "{extra}");
    assert!(realm.is_null() || realm == "com.example.main", "{realm}");
    let denied = json!("!wamp.error.not_authorized");
    assert_eq!(
        joined.did(),
        [Value::Null, denied.clone(), Value::Null, denied.clone(), denied.clone(), denied]
    );
}

/// Who has a key needs no name. The principal is found by it.
#[test]
fn cryptosign_without_a_name() {
    for library in [Library::Python, Library::Autobahn] {
        let Some(mut scene) = Scene::start(library) else { continue };
        let order = |key: &str| Order::new(&scene.url(), "cryptosign").and("secret", key);
        let (known, unknown) = (order(ALICE_KEY), order(NOBODYS_KEY));
        scene.join(&known).has_joined("alice", "frontend", "cryptosign");
        scene.join(&unknown).is_refused(REFUSED);
    }
}

/// rustls does not tell what `tls-unique` is made of, so who asks for it is refused, and told so: a client that believed
/// its channel to be bound would be open to what binding is there to prevent.
#[test]
fn cryptosign_with_tls_unique_is_refused() {
    let Some(mut scene) = Scene::start(Library::Python) else { return };
    let order = Order::by(&scene.url(), "cryptosign", "alice", ALICE_KEY);
    let bound = order.and("authextra", json!({ "channel_binding": "tls-unique" })).and("tls", "1.2");
    let refused = scene.join(&bound);
    assert_ne!(refused.0["refused"], Value::Null, "{refused:?}");
    assert_ne!(refused.0["refused"], "connection", "{refused:?}");
}

#[test]
fn anonymous() {
    for library in [Library::Python, Library::Autobahn] {
        let Some(mut scene) = Scene::start(library) else { continue };
        let outcome = scene.join(&Order::new(&scene.url(), "anonymous"));
        assert_eq!(outcome.joined(["authrole", "authmethod"]), [json!("visitor"), json!("anonymous")]);
        let elsewhere = Order::new(&scene.url(), "anonymous").and("realm", "com.example.nowhere");
        scene.join(&elsewhere).is_refused("wamp.error.no_such_realm");
    }
}

/// By the subject of a certificate; somebody else's, or none, is refused.
#[test]
fn client_certificates() {
    for library in [Library::Python, Library::Autobahn] {
        let Some(mut scene) = Scene::start(library) else { continue };
        let order = Order::new(&scene.url(), "tls");
        let known = order.clone().certified(&scene.authority, "tess");
        scene.join(&known).has_joined("tess", "frontend", "tls");
        let unknown = order.clone().certified(&scene.authority, "stranger");
        scene.join(&unknown).is_refused(REFUSED);
        assert_ne!(scene.join(&order).0["refused"], Value::Null);
    }
}

/// A certificate that the authority has not signed does not even get to HELLO.
#[test]
fn client_certificates_of_another_authority() {
    let Some(mut scene) = Scene::start(Library::Python) else { return };
    let other = Authority::new();
    other.issue_client("tess");
    let order = Order::new(&scene.url(), "tls").certified(&other, "tess");
    scene.join(&order).is_refused("connection");
}

#[test]
fn tokens_are_taken_as_tickets() {
    let Some(mut scene) = Scene::start(Library::Python) else { return };
    let expiry = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is past 1970").as_secs();
    let claims = |expiry: u64| json!({ "sub": "joan", "aud": "fanwire", "exp": expiry });
    let secret = "the secret of those who make these tokens";
    let good = token(&claims(expiry + 600), secret);
    scene.by("ticket", "joan", &good).has_joined("joan", "frontend", "ticket");
    let old = token(&claims(expiry - 600), secret);
    scene.by("ticket", "joan", &old).is_refused(REFUSED);
    let forged = token(&claims(expiry + 600), "another secret");
    scene.by("ticket", "joan", &forged).is_refused(REFUSED);
    scene.by("ticket", "alice", &good).is_refused(REFUSED);
}

/// A JSON Web Token, signed with HS256.
fn token(claims: &Value, secret: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let base64 = |octets: &[u8]| base64_simd::URL_SAFE_NO_PAD.encode_to_string(octets);
    let header = base64(br#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", base64(claims.to_string().as_bytes()));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("any length will do");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", base64(&mac.finalize().into_bytes()))
}

/// A browser that has proved itself is known again by its cookie, on another connection and without a secret; another
/// browser is not.
#[test]
fn cookies_of_a_browser() {
    let Some(mut scene) = Scene::start(Library::Autobahn) else { return };
    let page = "https://good.example.com";
    let cookie = Order::new(&scene.url(), "cookie").and("origin", page);
    let unknown = scene.join(&cookie);
    assert_ne!(unknown.0["refused"], Value::Null, "{unknown:?}");

    let login = Order::by(&scene.url(), "ticket", "alice", "alice's ticket").and("origin", page);
    let known = scene.join(&login);
    known.has_joined("alice", "frontend", "ticket");
    assert!(known.0["cookies"]["visitor"].is_string(), "{known:?}");
    let attributes = known.0["attributes"].as_array().expect("it is a list");
    for attribute in ["Secure", "HttpOnly", "SameSite=Lax"] {
        let set = |each: &Value| each.as_str().is_some_and(|each| each.eq_ignore_ascii_case(attribute));
        assert!(attributes.iter().any(set), "{attribute}: {known:?}");
    }
    let again = scene.join(&cookie);
    let [authid, authrole] = again.joined(["authid", "authrole"]);
    assert_eq!((authid, authrole), (json!("alice"), json!("frontend")));

    let Some(mut other) = Joiner::start(Library::Autobahn, &scene.authority) else { return };
    let stranger = other.join(&cookie);
    assert_ne!(stranger.0["refused"], Value::Null, "{stranger:?}");
}

/// A page from elsewhere does not get as far as HELLO.
#[test]
fn pages_from_elsewhere() {
    let Some(mut scene) = Scene::start(Library::Autobahn) else { return };
    let order = Order::by(&scene.url(), "ticket", "alice", "alice's ticket");
    let page = order.clone().and("origin", "https://evil.example.com");
    scene.join(&page).is_refused("unreachable");
    let page = order.and("origin", "https://good.example.com");
    scene.join(&page).has_joined("alice", "frontend", "ticket");
}
