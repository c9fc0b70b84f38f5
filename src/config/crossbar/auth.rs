//! Authentication of a transport: which methods are open there, and whom it adds to realms.
//!
//! A principal without a realm may join every realm that has its role, and is added to each. Realms that the worker of
//! the transport does not reach are not there for it.

use serde_json::{Map, Value, json};

use super::access::Source;
use super::anonymous::Anonymous;
use super::object::Object;
use super::realm::{PrincipalText, RealmText};
use super::transport::{ListenerText, secret, variable};
use super::{Node, Report};
use crate::auth::wampcra::{self, Salting};
use crate::auth::{Method, Secret};

/// Who says nothing of themselves.
const ANYBODY: &str = "anybody";

/// What is being read, and where what is said goes.
struct Reading<'a> {
    source: Source,
    listener: &'a mut ListenerText,
    node: &'a mut Node,
    report: &'a Report,
}

/// Reads the `auth` of a transport, which stands at `path`; without one everybody is `anonymous`.
pub fn read(auth: Option<Object>, path: &str, listener: &mut ListenerText, node: &mut Node, report: &Report) {
    // The listener is added when all of it is read.
    let source = Source { path: path.to_owned(), listener: node.listeners.len(), grants: Vec::new() };
    let mut reading = Reading { source, listener, node, report };
    match auth {
        Some(auth) => reading.read(auth),
        None => {
            reading.add_anonymous("", None, json!({ "role": "anonymous" }));
        }
    }
    let Reading { source, node, .. } = reading;
    node.sources.push(source);
}

impl Reading<'_> {
    fn read(&mut self, mut auth: Object) {
        if let Some(method) = auth.object("anonymous") {
            self.read_anonymous(method);
        }
        let methods = [
            ("ticket", Method::Ticket, "ticket", "principals"),
            ("wampcra", Method::WampCra, "wampcra", "users"),
            ("cryptosign", Method::Cryptosign, "cryptosign", "principals"),
            ("scram", Method::Scram, "scram", "principals"),
            ("wamp-scram", Method::Scram, "scram", "principals"),
            ("tls", Method::Tls, "tls", "principals"),
        ];
        for (name, method, table, principals) in methods {
            if let Some(object) = auth.object(name) {
                self.read_method(object, method, table, principals);
            }
        }
        if auth.object("cookie").is_some() {
            self.listener.open(Method::Cookie);
            for realm in reached(self.node, self.listener) {
                settings(realm, "cookie");
            }
            // Whoever has proved who they are has a cookie then, which says it wherever cookies do.
            let proved = self.source.grants.clone().into_iter();
            for grant in proved.filter(|grant| grant.method != Method::Anonymous) {
                self.source.grant(Method::Cookie, &grant.realm, &grant.who);
            }
        }
        auth.drop(&[
            ("anonymous-proxy", "listeners and realms are in one process"),
            ("cryptosign-proxy", "listeners and realms are in one process"),
        ]);
    }

    fn read_anonymous(&mut self, mut object: Object) {
        let realm = object.text("realm");
        let anonymous = match object.text("type").as_deref() {
            Some("dynamic") => {
                let Some(dynamic) = self.read_dynamic(&mut object) else { return };
                json!({ "dynamic": dynamic })
            }
            Some("function") => {
                object.drop_all(NO_FUNCTIONS);
                return;
            }
            _ => {
                let role = object.text("role").unwrap_or_else(|| "anonymous".to_owned());
                json!({ "role": role, "authid": object.text("authid") })
            }
        };
        self.add_anonymous(&object.path, realm.as_deref(), anonymous);
    }

    /// Lets in those who say nothing, to one realm or to all that have the role. Where none has it the method is not
    /// open: it would let them into realms of which others say what they are.
    fn add_anonymous(&mut self, path: &str, realm: Option<&str>, anonymous: Value) {
        let Value::Object(mut anonymous) = anonymous else { return };
        anonymous.retain(|_, value| !value.is_null());
        let role = anonymous.get("role").and_then(Value::as_str);
        let open = |known: &&RealmText| {
            realm.is_none_or(|realm| known.name == realm) && role.is_none_or(|role| known.has_role(role))
        };
        let own = self.node.realms.iter().filter(|realm| self.listener.reaches(&realm.name));
        let open: Vec<_> = own.filter(open).map(|realm| realm.name.clone()).collect();
        if open.is_empty() && !path.is_empty() {
            self.report.warn(path, "no realm has the role, so nobody can join so");
        }
        for realm in open {
            self.listener.open(Method::Anonymous);
            self.source.grant(Method::Anonymous, &realm, ANYBODY);
            let path = if path.is_empty() { &self.source.path } else { path }.to_owned();
            self.listener.anonymous.push(Anonymous { path, realm, table: anonymous.clone() });
        }
    }

    fn read_method(&mut self, mut object: Object, method: Method, table: &'static str, principals: &str) {
        let kind = object.text("type");
        if kind.as_deref() == Some("function") {
            object.drop_all(NO_FUNCTIONS);
            return;
        }
        self.listener.open(method);
        let default_role = object.text("default-role");
        if kind.as_deref() == Some("dynamic")
            && let Some(dynamic) = self.read_dynamic(&mut object)
        {
            self.add_dynamic(&object.path, method, table, &dynamic, default_role.as_deref());
        }
        object.drop(&[("trustroots", "keys are listed one by one; certificates of keys are not known")]);
        for (authid, mut principal) in object.entries(principals) {
            let role = principal.text("role").or_else(|| default_role.clone());
            let proof = match method {
                Method::Ticket => read_ticket(&mut principal),
                Method::WampCra => read_wampcra(&mut principal, self.report),
                Method::Cryptosign => read_cryptosign(&mut principal),
                Method::Scram => read_scram(&mut principal),
                Method::Tls => read_certificate(&mut principal),
                Method::Anonymous | Method::Cookie => Map::new(),
            };
            self.add_principal(principal, method, &authid, role, &proof);
        }
    }

    fn read_dynamic(&self, object: &mut Object) -> Option<Value> {
        let Some(procedure) = object.text("authenticator") else {
            self.report.drop(&object.path, "it has no authenticator");
            return None;
        };
        let realm = object.text("authenticator-realm");
        object.drop(&[(
            "authenticator-role",
            "the router itself calls the procedure, and nothing is refused to it",
        )]);
        let known = |realm: &&String| self.node.realms.iter().any(|known| known.name == **realm);
        if let Some(realm) = realm.as_ref().filter(known).filter(|realm| !self.listener.reaches(realm)) {
            let text =
                format!("realm {realm} is of another worker, so {procedure} was never asked; it is left out");
            self.report.mistake(&object.at("authenticator-realm"), text);
            return None;
        }
        Some(json!({ "procedure": procedure, "realm": realm }))
    }

    /// Has a procedure asked in every realm: which one somebody joins is for it to say.
    fn add_dynamic(
        &mut self,
        path: &str,
        method: Method,
        table: &'static str,
        dynamic: &Value,
        default_role: Option<&str>,
    ) {
        let procedure = dynamic["procedure"].as_str().unwrap_or_default();
        let who = format!("whom {procedure} accepts");
        for realm in reached(self.node, self.listener) {
            self.source.grant(method, &realm.name, &who);
            let name = realm.name.clone();
            let role = default_role.filter(|role| realm.has_role(role)).map(|role| json!(role));
            let settings = settings(realm, table);
            for (key, value) in [("dynamic", Some(dynamic.clone())), ("default_role", role)] {
                let Some(value) = value else { continue };
                match settings.get(key).filter(|other| **other != value) {
                    None => {
                        settings.insert(key.to_owned(), value);
                    }
                    Some(Value::String(other)) => {
                        let text = format!(
                            "{key} is said once for {table} in realm {name}, and is {value} here, and \"{other}\" by \
                             another transport: have the procedure say the role"
                        );
                        self.report.mistake(path, text);
                    }
                    Some(_) => {
                        let text = format!("realm {name} has another {key} of {table} already; that remains");
                        self.report.warn(path, text);
                    }
                }
            }
        }
    }

    /// Adds what proves somebody to the realms concerned.
    fn add_principal(
        &mut self,
        mut principal: Object,
        method: Method,
        authid: &str,
        role: Option<String>,
        proof: &Map<String, Value>,
    ) {
        let realm = principal.text("realm");
        let (path, report) = (&principal.path, self.report);
        let concerned = |known: &&mut RealmText| {
            realm.as_ref().is_none_or(|realm| known.name == *realm)
                && role.as_ref().is_none_or(|role| known.has_role(role))
        };
        let mut count = 0;
        for known in reached(self.node, self.listener).filter(concerned) {
            count += 1;
            let Some(there) = known.principals.iter_mut().find(|principal| principal.authid == authid) else {
                self.source.grant(method, &known.name, authid);
                known.principals.push(PrincipalText {
                    path: path.clone(),
                    authid: authid.to_owned(),
                    role: role.clone(),
                    proofs: proof.clone(),
                });
                continue;
            };
            // Whoever proves the one would have the role of the other.
            if there.role != role {
                let text = format!(
                    "{authid} has {} here, and {} by {}, but one role in realm {} for all listeners; so what proves \
                     it here is left out: give each role its own authid",
                    role_named(role.as_deref()),
                    role_named(there.role.as_deref()),
                    there.path,
                    known.name,
                );
                report.mistake(path, text);
                continue;
            }
            self.source.grant(method, &known.name, authid);
            for (key, value) in proof {
                if there.proofs.get(key).is_some_and(|other| other != value) {
                    let text = format!(
                        "{authid} proves itself otherwise in realm {} already; that remains",
                        known.name
                    );
                    report.warn(path, text);
                } else {
                    there.proofs.insert(key.clone(), value.clone());
                }
            }
        }
        match (count, &realm) {
            (0, _) => report.drop(path, "no realm has its role"),
            (2.., None) => {
                report.warn(path, "it names no realm, so it may join every realm that has its role")
            }
            _ => {}
        }
    }
}

fn role_named(role: Option<&str>) -> String {
    role.map_or_else(|| "no role".to_owned(), |role| format!("role {role}"))
}

/// The realms that the worker of a listener reaches.
fn reached<'n>(node: &'n mut Node, listener: &'n ListenerText) -> impl Iterator<Item = &'n mut RealmText> {
    node.realms.iter_mut().filter(|realm| listener.reaches(&realm.name))
}

const NO_FUNCTIONS: &str =
    "functions cannot be imported; register it as a procedure, and name that with dynamic";

/// The settings of a method in a realm.
fn settings<'r>(realm: &'r mut RealmText, table: &'static str) -> &'r mut Map<String, Value> {
    let place = realm.methods.iter().position(|(known, _)| *known == table).unwrap_or_else(|| {
        realm.methods.push((table, Map::new()));
        realm.methods.len() - 1
    });
    &mut realm.methods[place].1
}

fn read_ticket(principal: &mut Object) -> Map<String, Value> {
    let mut proof = Map::new();
    if let Some(ticket) = principal.text("ticket") {
        secret(&mut proof, "ticket", &ticket);
    }
    proof
}

fn read_wampcra(user: &mut Object, report: &Report) -> Map<String, Value> {
    let mut settings = Map::new();
    let salting = user.text("salt").map(|salt| {
        let number = |user: &mut Object, key, default| user.number(key).map_or(default, saturated);
        let iterations = number(user, "iterations", Salting::ITERATIONS_DEFAULT);
        Salting { salt, iterations, keylen: number(user, "keylen", Salting::KEYLEN_DEFAULT) }
    });
    if let Some(text) = user.text("secret") {
        secret(&mut settings, "secret", &stored_secret(text, salting.clone(), user, report));
    }
    if let Some(Salting { salt, iterations, keylen }) = salting {
        let said = [("salt", json!(salt)), ("iterations", json!(iterations)), ("keylen", json!(keylen))];
        settings.extend(said.map(|(key, value)| (key.to_owned(), value)));
    } else {
        user.drop(&[("iterations", UNSALTED), ("keylen", UNSALTED)]);
    }
    Map::from_iter([("wampcra".to_owned(), Value::Object(settings))])
}

const UNSALTED: &str = "without salt nothing is derived";

fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What is kept of a secret that may be a password, of which Crossbar.io derives what is kept here.
fn stored_secret(text: String, salting: Option<Salting>, user: &Object, report: &Report) -> String {
    let path = user.at("secret");
    if salting.is_some() && variable(&text).is_some() {
        report
            .warn(&path, "the variable must hold what is derived of the password with this salt, in base64");
        return text;
    }
    match wampcra::Stored::of_crossbar(Secret::from(&*text), salting, u32::MAX) {
        Ok(stored) => stored.secret.text().map_or(text, str::to_owned),
        Err(_) => {
            report.warn(&path, "nothing can be derived with such iterations or such a keylen");
            text
        }
    }
}

fn read_cryptosign(principal: &mut Object) -> Map<String, Value> {
    let keys = principal.texts("authorized_keys").unwrap_or_default();
    Map::from_iter([("cryptosign".to_owned(), json!({ "keys": keys }))])
}

fn read_scram(principal: &mut Object) -> Map<String, Value> {
    // Its argon2id-13 goes on with other octets than argon2id13, so the name has to stay.
    let kdf = principal.text("kdf");
    let mut settings = Map::from_iter([
        ("kdf".to_owned(), json!(kdf)),
        ("salt".to_owned(), json!(principal.text("salt").map(|salt| octets(&salt)))),
        ("iterations".to_owned(), json!(principal.number("iterations"))),
        ("memory".to_owned(), json!(principal.number("memory"))),
    ]);
    for (theirs, ours) in [("stored-key", "stored_key"), ("server-key", "server_key")] {
        if let Some(key) = principal.text(theirs) {
            secret(&mut settings, ours, &octets(&key));
        }
    }
    Map::from_iter([("scram".to_owned(), Value::Object(settings))])
}

/// Base64 of what is written as hex; anything else as it is.
fn octets(text: &str) -> String {
    match crate::config::file::unhex(text).filter(|octets| !octets.is_empty()) {
        Some(octets) => base64_simd::STANDARD.encode_to_string(octets),
        None => text.to_owned(),
    }
}

fn read_certificate(principal: &mut Object) -> Map<String, Value> {
    let digest = principal.text("certificate-sha1").map(|digest| format!("sha1:{}", digest.replace(':', "")));
    let fingerprints: Vec<_> = digest.into_iter().collect();
    Map::from_iter([("tls".to_owned(), json!({ "fingerprints": fingerprints }))])
}
