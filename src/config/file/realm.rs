//! `[[realm]]`: what holds in it, its roles and their rules, its principals, and the settings of each method.

use serde_json::{Map, Value};

use super::super::reader::Table;
use super::{DAY_SECONDS, HOUR_SECONDS};
use crate::auth::Secret;
use crate::router::rules::{self, Action};
use crate::router::{Disclosure, HistoryRule, RealmSettings};
use crate::wamp::{MatchPolicy, UriCheck};

const POLICIES: [(&str, MatchPolicy); 3] =
    [("exact", MatchPolicy::Exact), ("prefix", MatchPolicy::Prefix), ("wildcard", MatchPolicy::Wildcard)];

/// Most that a key derivation may cost: what a client must be able to compute while a person waits.
const ITERATIONS_MAX: u64 = 10_000_000;

/// A realm, or what realms are made from.
#[derive(Clone, PartialEq, Debug)]
pub struct Realm {
    /// The URI clients name in HELLO; of a template, a pattern of them.
    pub name: String,
    /// How the name of a template is matched.
    pub policy: MatchPolicy,
    /// Such a realm is made when somebody joins it.
    pub template: bool,
    /// How many of a template there may be.
    pub realms_max: u64,
    /// How long one of a template is kept when nobody is in it.
    pub idle_seconds: u64,
    /// Which URIs are valid in it.
    pub uri_check: UriCheck,
    /// Whether receivers are told who publishes and calls.
    pub disclosure: Disclosure,
    /// How many events its topics retain together.
    pub retained_count_max: usize,
    /// Octets of those.
    pub retained_bytes_max: usize,
    /// Which publications are kept.
    pub event_history: Vec<HistoryRule>,
    /// How long the answer of a call may take that says nothing of it; 0: however long it takes.
    pub call_timeout_seconds: u64,
    /// What sessions may be.
    pub roles: Vec<Role>,
    /// Who may join.
    pub principals: Vec<Principal>,
    /// Those who say nothing of themselves; none: they may not join.
    pub anonymous: Option<Anonymous>,
    /// Settings of `ticket`.
    pub ticket: Option<MethodSettings>,
    /// Settings of `wampcra`.
    pub wampcra: Option<MethodSettings>,
    /// Settings of `wamp-scram`.
    pub scram: Option<MethodSettings>,
    /// Settings of `cryptosign`.
    pub cryptosign: Option<MethodSettings>,
    /// Settings of `tls`.
    pub tls: Option<MethodSettings>,
    /// Settings of `cookie`; none: browsers are not known again.
    pub cookie: Option<MethodSettings>,
    /// Tokens that are taken as tickets.
    pub jwt: Option<Jwt>,
}

/// `[[realm.role]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Role {
    /// The `authrole`.
    pub name: String,
    /// The trust level that receivers are told, if any.
    pub trust_level: Option<u64>,
    /// It may call the meta procedures that change what is others'.
    pub administers: bool,
    /// It may do everything else; nobody decides.
    pub everything: bool,
    /// Who decides, instead of rules.
    pub authorizer: Option<Authorizer>,
    /// What it may do; what no rule allows is refused.
    pub rules: Vec<Rule>,
}

/// A procedure that decides what a role may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorizer {
    /// The procedure.
    pub procedure: String,
    /// The realm it is in; none: the role's.
    pub realm: Option<String>,
    /// For whom a verdict is kept that says it may be.
    pub cache: VerdictCache,
    /// How long.
    pub cache_seconds: u64,
    /// How long it may take; then it has refused.
    pub timeout_ms: u64,
}

/// For whom the verdict of an authorizer is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VerdictCache {
    /// The session that was asked about.
    Session,
    /// Every session of the role.
    Role,
}

/// `[[realm.role.rule]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The URI or pattern it is for.
    pub uri: String,
    /// How that is matched.
    pub policy: MatchPolicy,
    /// CALL is allowed.
    pub call: bool,
    /// REGISTER is allowed.
    pub register: bool,
    /// PUBLISH is allowed.
    pub publish: bool,
    /// SUBSCRIBE is allowed.
    pub subscribe: bool,
    /// Callees are told who calls, asked for or not.
    pub disclose_caller: bool,
    /// Subscribers are told who publishes, asked for or not.
    pub disclose_publisher: bool,
}

/// `[[realm.principal]]`: somebody, and what proves it.
#[derive(Clone, PartialEq, Debug)]
pub struct Principal {
    /// The `authid`.
    pub authid: String,
    /// The role, if not the method's default.
    pub role: Option<String>,
    /// What WELCOME says in `authextra`.
    pub extra: Option<Map<String, Value>>,
    /// A ticket, plain or in the form of `fanwire hash`.
    pub ticket: Option<Secret>,
    /// A shared secret.
    pub wampcra: Option<WampCra>,
    /// What SCRAM keeps of a password.
    pub scram: Option<Scram>,
    /// Public keys: 32 octets each.
    pub cryptosign_keys: Vec<[u8; 32]>,
    /// Client certificates.
    pub tls: Option<CertificatePrincipal>,
}

/// A shared secret of `wampcra`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WampCra {
    /// As the client types it, or derived if there is a salt; none only if that was a mistake.
    pub secret: Option<Secret>,
    /// The salt of the derivation.
    pub salt: Option<String>,
    /// Its rounds.
    pub iterations: u64,
    /// Octets of its result.
    pub keylen: u64,
}

/// What SCRAM keeps of a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scram {
    /// How keys were derived from it.
    pub kdf: ScramKdf,
    /// With this salt, in base64.
    pub salt: String,
    /// In so many rounds.
    pub iterations: u64,
    /// In so many KiB (Argon2 only).
    pub memory: u64,
    /// In base64; none only if that was a mistake.
    pub stored_key: Option<Secret>,
    /// In base64; none only if that was a mistake.
    pub server_key: Option<Secret>,
}

/// The key derivations of SCRAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScramKdf {
    /// Argon2id, version 1.3.
    Argon2id13,
    /// The same as autobahn-python has it: `argon2id-13`.
    Argon2id13Text,
    /// PBKDF2 with SHA-256.
    Pbkdf2,
}

impl ScramKdf {
    /// By their names.
    const NAMED: [(&str, ScramKdf); 3] = [
        ("argon2id13", ScramKdf::Argon2id13),
        ("argon2id-13", ScramKdf::Argon2id13Text),
        ("pbkdf2", ScramKdf::Pbkdf2),
    ];

    /// What the file calls it.
    pub fn name(self) -> &'static str {
        Self::NAMED.iter().find(|(_, kdf)| *kdf == self).map_or("", |(name, _)| name)
    }
}

/// Client certificates of a principal.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CertificatePrincipal {
    /// `sha256:` or `sha1:` and the digest as hex.
    pub fingerprints: Vec<String>,
    /// Subjects, as `CN=alice`.
    pub subjects: Vec<String>,
}

/// `[realm.anonymous]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anonymous {
    /// The role.
    pub role: String,
    /// The `authid`, if not one drawn for each.
    pub authid: Option<String>,
    /// Who decides instead.
    pub dynamic: Option<Dynamic>,
}

/// Settings of a method in a realm.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MethodSettings {
    /// The role of principals that have none.
    pub default_role: Option<String>,
    /// Who knows the principals that are not in the file.
    pub dynamic: Option<Dynamic>,
}

/// A procedure that knows principals.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dynamic {
    /// The procedure.
    pub procedure: String,
    /// The realm it is in, if another.
    pub realm: Option<String>,
    /// How long it may take; then it has refused.
    pub timeout_ms: u64,
}

/// `[realm.jwt]`: tokens that are taken as tickets. One key at least, and what the token must say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Jwt {
    /// The secret of HS256.
    pub secret: Option<Secret>,
    /// The text of a PEM file with a public key.
    pub public_key: Option<String>,
    /// The text of a file with a JSON Web Key Set.
    pub jwks: Option<String>,
    /// Who must have issued it.
    pub issuer: Option<String>,
    /// Whom it must be for.
    pub audience: Option<String>,
    /// How far clocks may differ.
    pub leeway_seconds: u64,
    /// The claim that is the `authid`.
    pub authid_claim: String,
    /// The claim that is the role.
    pub role_claim: String,
    /// The role of tokens that do not say.
    pub default_role: Option<String>,
}

impl Realm {
    pub(super) fn read(table: &mut Table) -> Realm {
        let disclosures =
            [("as-asked", Disclosure::AsAsked), ("always", Disclosure::Always), ("never", Disclosure::Never)];
        let checks = [("loose", UriCheck::Loose), ("strict", UriCheck::Strict)];
        Realm {
            name: required(table, "name", "write the URI that clients name, such as \"com.example.realm\""),
            policy: table.choice("match", &POLICIES).unwrap_or_default(),
            template: table.flag("template", false),
            realms_max: table.number("realms_max", 1..=1_000_000).unwrap_or(100),
            idle_seconds: table.number("idle_seconds", 0..=DAY_SECONDS).unwrap_or(60),
            uri_check: table.choice("uri", &checks).unwrap_or_default(),
            disclosure: table.choice("disclose", &disclosures).unwrap_or_default(),
            retained_count_max: table
                .number("retained_max", 0..=1 << 30)
                .map_or(RealmSettings::RETAINED_COUNT_MAX, |count| count as usize),
            retained_bytes_max: table
                .octets("retained_bytes_max", 0..=1 << 40)
                .unwrap_or(RealmSettings::RETAINED_BYTES_MAX),
            event_history: table.tables("event_history", history_rule),
            call_timeout_seconds: table.number("call_timeout_seconds", 0..=DAY_SECONDS).unwrap_or(0),
            roles: table.tables("role", Role::read),
            principals: table.tables("principal", Principal::read),
            anonymous: table.table("anonymous", Anonymous::read),
            ticket: table.table("ticket", MethodSettings::read),
            wampcra: table.table("wampcra", MethodSettings::read),
            scram: table.table("scram", MethodSettings::read),
            cryptosign: table.table("cryptosign", MethodSettings::read),
            tls: table.table("tls", MethodSettings::read),
            cookie: table.table("cookie", |_| MethodSettings::default()),
            jwt: table.table("jwt", Jwt::read),
        }
    }

    /// The role of that name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }
}

impl Role {
    fn read(table: &mut Table) -> Role {
        Role {
            name: required(table, "name", "write what the role is called, such as \"frontend\""),
            trust_level: table.number("trust_level", 0..=1 << 53),
            administers: table.flag("administers", false),
            everything: table.flag("everything", false),
            authorizer: table.table("authorizer", Authorizer::read),
            rules: table.tables("rule", Rule::read),
        }
    }
}

impl Authorizer {
    fn read(table: &mut Table) -> Authorizer {
        let caches = [("session", VerdictCache::Session), ("role", VerdictCache::Role)];
        Authorizer {
            procedure: procedure(table),
            realm: table.text("realm"),
            cache: table.choice("cache", &caches).unwrap_or(VerdictCache::Session),
            cache_seconds: table.number("cache_seconds", 0..=DAY_SECONDS).unwrap_or(60),
            timeout_ms: table.number("timeout_ms", 1..=HOUR_SECONDS * 1000).unwrap_or(5_000),
        }
    }
}

impl Rule {
    fn read(table: &mut Table) -> Rule {
        let uri = required(table, "uri", "write a URI, or \"\" with match = \"prefix\" for all");
        let said = table.choice("match", &POLICIES);
        let (uri, policy) = match said {
            None if !table.has("match") => Rule::read_stars(table, uri),
            said => (uri, said.unwrap_or_default()),
        };
        let allow = table
            .choices("allow", &[("call", 0), ("register", 1), ("publish", 2), ("subscribe", 3)])
            .unwrap_or_default();
        let allows = |action| allow.contains(&action);
        let disclose =
            table.table("disclose", |table| (table.flag("caller", false), table.flag("publisher", false)));
        let (disclose_caller, disclose_publisher) = disclose.unwrap_or_default();
        Rule {
            uri,
            policy,
            call: allows(0),
            register: allows(1),
            publish: allows(2),
            subscribe: allows(3),
            disclose_caller,
            disclose_publisher,
        }
    }

    /// A URI in which stars may stand, if that means something.
    fn read_stars(table: &Table, uri: String) -> (String, MatchPolicy) {
        rules::Rule::read_stars(&uri).unwrap_or_else(|problem| {
            table.mistake("uri", format!("`{uri}`: {problem}"));
            // It has its mistake, and is read as something without another.
            (uri.replace('*', "x"), MatchPolicy::Exact)
        })
    }

    /// As the router takes it.
    pub fn written(&self) -> rules::Rule {
        let allowed = self.allow().into_iter().filter_map(Action::from_name);
        rules::Rule {
            uri: self.uri.clone(),
            policy: self.policy,
            allow: allowed.collect(),
            disclose_caller: self.disclose_caller,
            disclose_publisher: self.disclose_publisher,
        }
    }

    /// The names of what it allows.
    pub fn allow(&self) -> Vec<&'static str> {
        let actions = [
            (self.call, "call"),
            (self.register, "register"),
            (self.publish, "publish"),
            (self.subscribe, "subscribe"),
        ];
        actions.into_iter().filter(|(allowed, _)| *allowed).map(|(_, name)| name).collect()
    }

    /// True if it allows everything everywhere.
    pub fn allows_everything(&self) -> bool {
        self.uri.is_empty() && self.policy == MatchPolicy::Prefix && self.allow().len() == 4
    }
}

impl Principal {
    fn read(table: &mut Table) -> Principal {
        let keys = |table: &mut Table| table.parsed_list("keys", public_key).unwrap_or_default();
        Principal {
            authid: required(table, "authid", "write who it is, such as \"alice\""),
            role: table.text("role"),
            extra: table.object("extra"),
            ticket: table.secret_text("ticket"),
            wampcra: table.table("wampcra", WampCra::read),
            scram: table.table("scram", Scram::read),
            cryptosign_keys: table.table("cryptosign", keys).unwrap_or_default(),
            tls: table.table("tls", |table| CertificatePrincipal {
                fingerprints: table.parsed_list("fingerprints", fingerprint).unwrap_or_default(),
                subjects: table.texts("subjects").unwrap_or_default(),
            }),
        }
    }
}

impl WampCra {
    fn read(table: &mut Table) -> WampCra {
        WampCra {
            secret: required_secret(table, "secret", Table::secret),
            salt: table.text("salt"),
            iterations: table.number("iterations", 1..=ITERATIONS_MAX).unwrap_or(1_000),
            keylen: table.number("keylen", 16..=64).unwrap_or(32),
        }
    }
}

impl Scram {
    fn read(table: &mut Table) -> Scram {
        let kdf = table.choice("kdf", &ScramKdf::NAMED);
        let needed = "write it as `fanwire hash` shows it";
        if !table.has("kdf") {
            table.mistake("kdf", needed);
        }
        Scram {
            kdf: kdf.unwrap_or(ScramKdf::Argon2id13),
            salt: required(table, "salt", needed),
            iterations: required_number(table, "iterations", needed),
            memory: if kdf == Some(ScramKdf::Pbkdf2) {
                table.number("memory", 0..=1 << 22).unwrap_or(0)
            } else {
                required_number(table, "memory", needed)
            },
            stored_key: required_secret(table, "stored_key", Table::secret_text),
            server_key: required_secret(table, "server_key", Table::secret_text),
        }
    }
}

impl Anonymous {
    fn read(table: &mut Table) -> Anonymous {
        Anonymous {
            role: table.text("role").unwrap_or_else(|| "anonymous".to_owned()),
            authid: table.text("authid"),
            dynamic: table.table("dynamic", Dynamic::read),
        }
    }
}

impl MethodSettings {
    fn read(table: &mut Table) -> MethodSettings {
        MethodSettings {
            default_role: table.text("default_role"),
            dynamic: table.table("dynamic", Dynamic::read),
        }
    }
}

impl Dynamic {
    fn read(table: &mut Table) -> Dynamic {
        Dynamic {
            procedure: procedure(table),
            realm: table.text("realm"),
            timeout_ms: table.number("timeout_ms", 1..=HOUR_SECONDS * 1000).unwrap_or(5_000),
        }
    }
}

impl Jwt {
    fn read(table: &mut Table) -> Jwt {
        Jwt {
            secret: table.secret("secret"),
            public_key: key_text(table, "public_key"),
            jwks: key_text(table, "jwks"),
            issuer: table.text("issuer"),
            audience: table.text("audience"),
            leeway_seconds: table.number("leeway_seconds", 0..=HOUR_SECONDS).unwrap_or(5),
            authid_claim: table.text("authid_claim").unwrap_or_else(|| "sub".to_owned()),
            role_claim: table.text("role_claim").unwrap_or_else(|| "role".to_owned()),
            default_role: table.text("default_role"),
        }
    }
}

/// The text of the file that a key names; an empty one if that was a mistake.
fn key_text(table: &mut Table, key: &str) -> Option<String> {
    let text = table.file_text(key);
    text.or_else(|| table.has(key).then(String::new))
}

fn history_rule(table: &mut Table) -> HistoryRule {
    let uri = required(table, "uri", "write a topic, or a pattern and match");
    let mut rule = HistoryRule::new(uri, table.choice("match", &POLICIES).unwrap_or_default());
    if let Some(events) = table.number("events", 1..=1 << 30) {
        rule.events_max = events as usize;
    }
    if let Some(seconds) = table.number("seconds", 0..=1 << 32) {
        rule.age_ms_max = seconds * 1000;
    }
    rule.bytes_max = table.octets("bytes", 1..=1 << 40).unwrap_or(rule.bytes_max);
    rule
}

fn procedure(table: &mut Table) -> String {
    required(table, "procedure", "write the URI of the procedure to call")
}

fn required(table: &mut Table, key: &str, advice: &str) -> String {
    let text = table.text(key);
    if !table.has(key) {
        table.mistake(key, format!("it is missing; {advice}"));
    }
    text.unwrap_or_default()
}

fn required_number(table: &mut Table, key: &str, advice: &str) -> u64 {
    let number = table.number(key, 1..=ITERATIONS_MAX);
    if !table.has(key) {
        table.mistake(key, format!("it is missing; {advice}"));
    }
    number.unwrap_or(1)
}

fn required_secret<'a>(
    table: &mut Table<'a>,
    key: &str,
    read: fn(&mut Table<'a>, &str) -> Option<Secret>,
) -> Option<Secret> {
    let said = table.has(key) || table.has(&format!("{key}_file")) || table.has(&format!("{key}_env"));
    if !said {
        table.mistake(key, format!("it is missing; write {key}, {key}_file or {key}_env"));
    }
    read(table, key)
}

/// 32 octets as hex.
fn public_key(text: &str) -> Result<[u8; 32], String> {
    unhex(text)
        .and_then(|octets| octets.try_into().ok())
        .ok_or_else(|| "a public key is 64 hexadecimal digits; `fanwire keygen` makes one".to_owned())
}

fn fingerprint(text: &str) -> Result<String, String> {
    let digits = |digits: &str| unhex(&digits.replace(':', "")).map(|octets| octets.len());
    let valid = match text.split_once(':') {
        Some(("sha256", rest)) => digits(rest) == Some(32),
        Some(("sha1", rest)) => digits(rest) == Some(20),
        _ => false,
    };
    valid.then(|| text.to_owned()).ok_or_else(|| {
        "write sha256: or sha1: and the digest as hexadecimal digits, as openssl x509 -fingerprint shows it".to_owned()
    })
}

/// Octets written as hex.
pub(in crate::config) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let octet = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8);
    digits.len().is_multiple_of(2).then(|| digits.chunks_exact(2).map(octet).collect())?
}
