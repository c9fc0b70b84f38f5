//! Who may join a realm, and how that is proved: from HELLO to WELCOME.
//!
//! ```text
//!   HELLO --claim--> begin --+--> Joined       nothing is to be proved, or TLS has proved it
//!                            +--> Challenge -- AUTHENTICATE --+--> Joined
//!                            |                                +--> Check ---- by another thread ---> Joined or Refused
//!                            |                                +--> Refused
//!                            +--> Ask          a procedure knows who it is
//!                            +--> Refused      ABORT
//! ```
//!
//! - [`claim`]: what HELLO says of the client. [`attempt`]: the methods, one after the other, and the answer to a
//!   challenge. [`place`]: where that is. [`principals`]: who is known, and who stands in for those who are not.
//! - [`cookies`]: browsers that are known again.
//! - [`failures`]: how often a source has failed; why somebody does not join is a [`JoinFailure`].
//! - [`dynamic`]: procedures that know principals.
//! - [`check`]: what costs so much that a shard leaves it to others.
//! - What the methods compute is the business of [`auth`](crate::auth); what a shard does with all this stands in
//!   `shard/authenticating.rs`.
//!
//! Which method: the first of the client's list that the listener opens, the realm has, and this principal has the
//! means for. Once there is a challenge, it decides: who fails it is refused, and other methods are not tried.
//!
//! Invariants: who is not known is treated as somebody else who is, in what is asked and in what it costs, and then
//! refused as for a wrong secret; a challenge is answered once; nothing that costs much is done on a shard; what is
//! kept for a client that is asked is bounded.
//!
//! Spec: advanced profile, "Authentication Methods".

pub mod attempt;
pub mod check;
pub mod claim;
pub mod cookies;
pub mod dynamic;
pub mod failures;
pub mod place;
pub mod principals;
mod tickets;

use std::sync::Arc;

use super::Role;
use super::authorization::dynamic::Cause;
use crate::auth::cryptosign::SigningKey;
use crate::auth::jwt::{Expected, Keys, TokenError};
use crate::auth::{Method, Secret};
use crate::codec;
use crate::codec::payload::{self, OwnedPayload};
use crate::error::JoinFailure;
use crate::origin::{Network, Origin, PeerAddress};
use crate::wamp::message::Text;
use crate::wamp::{Dict, List, Value};

pub use self::attempt::{Answer, Attempt, Proved, Question, Refused, Step, Who, begin};
pub use self::check::{Check, Checked, Outcome};
pub use self::claim::{Claim, Named};
pub use self::cookies::{Browser, Cookies, Remembered};
pub use self::failures::{Failures, Guesser};
pub use self::place::Place;
pub use self::principals::{Principal, Principals};

/// Octets of an authid. Longer ones are nobody's.
pub const AUTHID_BYTES_MAX: usize = 255;

/// Who may join a realm.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// Those who say nothing of themselves, if they may join.
    pub anonymous: Option<Anonymous>,
    /// Those who are known.
    pub principals: Principals,
    /// What holds for each method, by its place in [`Method::ALL`].
    pub methods: [MethodSettings; Method::ALL.len()],
    /// Tokens that are taken as tickets.
    pub jwt: Option<Jwt>,
    /// Browsers are known again by their cookie.
    pub cookies: bool,
}

/// Those who say nothing of themselves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anonymous {
    /// What they are.
    pub role: Arc<Role>,
    /// The name they join under; one is drawn for each if there is none.
    pub authid: Option<Box<str>>,
    /// Who decides instead.
    pub dynamic: Option<Arc<Dynamic>>,
}

/// What holds for a method in a realm.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MethodSettings {
    /// The role of principals that have none.
    pub default_role: Option<Arc<Role>>,
    /// Who knows the principals that are not known here.
    pub dynamic: Option<Arc<Dynamic>>,
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

/// Tokens that are taken as tickets, from whoever presents them: who it is stands in the token. A session goes on when
/// its token expires: the token has opened the door, and no client expects to be put out in the middle of its work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Jwt {
    /// The keys that sign them.
    pub keys: Keys,
    /// What they must say.
    pub expected: Expected,
    /// The roles that they may name.
    pub roles: Vec<Arc<Role>>,
    /// The role of those that name none.
    pub default_role: Option<Arc<Role>>,
}

impl Settings {
    /// The same, with what this makes of each role.
    pub fn with_roles(&self, role: impl Fn(&Arc<Role>) -> Arc<Role>) -> Settings {
        let mut settings = self.clone();
        settings.principals = self.principals.with_roles(&role);
        let jwt = settings.jwt.iter_mut().flat_map(|jwt| jwt.roles.iter_mut().chain(&mut jwt.default_role));
        let methods = settings.methods.iter_mut().flat_map(|method| &mut method.default_role);
        let anonymous = settings.anonymous.iter_mut().map(|anonymous| &mut anonymous.role);
        jwt.chain(methods).chain(anonymous).for_each(|known| *known = role(known));
        settings
    }

    /// Everybody may join, and is this.
    pub fn anonymous(role: impl Into<Arc<Role>>) -> Settings {
        let anonymous = Anonymous { role: role.into(), authid: None, dynamic: None };
        Settings { anonymous: Some(anonymous), ..Settings::default() }
    }

    /// What holds for a method.
    pub fn method(&self, method: Method) -> &MethodSettings {
        let place = Method::ALL.iter().position(|known| *known == method);
        &self.methods[place.expect("every method is among all of them")]
    }

    /// The same, to be changed.
    pub fn method_mut(&mut self, method: Method) -> &mut MethodSettings {
        let place = Method::ALL.iter().position(|known| *known == method);
        &mut self.methods[place.expect("every method is among all of them")]
    }
}

/// What holds for authentication everywhere.
#[derive(Clone, Debug)]
pub struct RouterSettings {
    /// What the router proves itself with to clients that ask for it (cryptosign).
    pub router_key: Option<SigningKey>,
    /// How long a client may take to answer a challenge, its check included.
    pub challenge_ms_max: u64,
    /// Failures of a source within `failures_ms` after which it must wait; 0: it never must.
    pub failures_max: u32,
    /// See `failures_max`.
    pub failures_ms: u64,
    /// What the secrets of those who are not known are made of. It should be the same as long as theirs are who are.
    pub stand_in_key: Secret,
}

impl Default for RouterSettings {
    fn default() -> RouterSettings {
        RouterSettings {
            router_key: None,
            challenge_ms_max: 10_000,
            failures_max: 10,
            failures_ms: 60_000,
            stand_in_key: Secret::from("nobody is known"),
        }
    }
}

/// Who may come in where, and how; all that the realms have, if nothing is said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// The methods that are open.
    pub methods: Option<Vec<Method>>,
    /// What those are who say nothing of themselves, if not what the realm says.
    pub anonymous: Option<AnonymousHere>,
    /// What holds for some sources instead; the first that holds the address decides.
    pub networks: Vec<Sources>,
    /// The realms that may be joined.
    pub realms: Option<Vec<String>>,
}

/// What holds for some sources.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sources {
    /// Which.
    pub from: Vec<Network>,
    /// The methods that are open to them.
    pub methods: Vec<Method>,
    /// As in [`Access`]; what stands there, if nothing is said.
    pub anonymous: Option<AnonymousHere>,
}

/// What those who say nothing of themselves are where they come in, in every realm that lets them join: no procedure is
/// asked then. Who may join is for the realm to say, so where it has no such role they are refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnonymousHere {
    /// The name of their role.
    pub role: Box<str>,
    /// The name they join under; one is drawn for each if there is none.
    pub authid: Option<Box<str>>,
}

impl AnonymousHere {
    /// The role, if it is one of these.
    pub fn role_among(&self, roles: &[Arc<Role>]) -> Option<Arc<Role>> {
        roles.iter().find(|role| *role.name == *self.role).cloned()
    }
}

impl Access {
    /// True if that method may be used from there.
    pub fn opens(&self, method: Method, from: &PeerAddress) -> bool {
        let methods = self.sources(from).map(|sources| &sources.methods).or(self.methods.as_ref());
        methods.is_none_or(|methods| methods.contains(&method))
    }

    /// What those are who say nothing of themselves and come from there, if not what the realm says.
    pub fn anonymous(&self, from: &PeerAddress) -> Option<&AnonymousHere> {
        self.sources(from).and_then(|sources| sources.anonymous.as_ref()).or(self.anonymous.as_ref())
    }

    fn sources(&self, from: &PeerAddress) -> Option<&Sources> {
        self.networks.iter().find(|sources| sources.from.iter().any(|any| any.contains(from)))
    }

    /// True if that realm may be joined.
    pub fn opens_realm(&self, realm: &str) -> bool {
        self.realms.as_ref().is_none_or(|realms| realms.iter().any(|open| open == realm))
    }
}

/// Octets of an [`Extra`] that is kept.
pub const EXTRA_BYTES_MAX: usize = 16 << 10;

/// A dictionary that WELCOME says in `authextra`, or HELLO.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extra(OwnedPayload);

impl Extra {
    /// From an object in JSON; none if it is no object.
    pub fn from_json(json: &str) -> Option<Extra> {
        let extra = Extra(OwnedPayload::from_json(Some(&format!("[{json}]")), None).ok()?);
        extra.dict().is_some().then_some(extra)
    }

    /// A copy; none if it is too long.
    pub fn copy(dict: &Dict<'_>) -> Option<Extra> {
        let Dict::Raw(raw) = dict else { return None };
        if raw.bytes().len() > EXTRA_BYTES_MAX {
            return None;
        }
        let copied = OwnedPayload::from_parts(raw.serializer(), &List::Values(&[Value::Dict(*dict)]), None);
        Some(Extra(copied.ok()?))
    }

    /// Its entries.
    pub fn entries(&self) -> impl Iterator<Item = (Text<'_>, Value<'_>)> {
        codec::entries(&self.dict().unwrap_or(Dict::EMPTY))
    }

    /// Octets that it takes.
    pub fn bytes(&self) -> usize {
        self.0.borrow().bytes().len()
    }

    /// The dictionary.
    pub fn dict(&self) -> Option<Dict<'_>> {
        let (Value::List(list), _) = payload::values(self.0.borrow()) else { return None };
        only(&list)
    }
}

fn only<'a>(list: &List<'a>) -> Option<Dict<'a>> {
    let mut items = codec::items(list);
    let dict = match items.next() {
        Some(Value::Dict(dict)) => dict,
        _ => return None,
    };
    items.next().is_none().then_some(dict)
}

/// A failed attempt, as it is told to the operator. There is no secret in it, though an authid is what the client has
/// typed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Where the client is.
    pub origin: Arc<Origin>,
    /// The realm it wanted to join.
    pub realm: String,
    /// Who it says it is.
    pub authid: Option<Box<str>>,
    /// The method that was tried last.
    pub authmethod: Option<&'static str>,
    /// Why.
    pub failure: JoinFailure,
    /// What a token was refused for.
    pub token: Option<TokenError>,
    /// What is wrong with the procedure that was asked, or what it has said.
    pub cause: Option<Cause>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_network_that_holds_the_address_decides() {
        let here = |role: &str| Some(AnonymousHere { role: role.into(), authid: None });
        let sources = |from: &[&str], methods, anonymous| {
            let from = from.iter().map(|text| text.parse::<Network>().unwrap()).collect();
            Sources { from, methods, anonymous }
        };
        let access = Access {
            methods: Some(vec![Method::Ticket]),
            anonymous: here("stranger"),
            networks: vec![
                sources(&["10.1.0.0/16"], vec![], None),
                sources(&["10.0.0.0/8", "unix"], vec![Method::Anonymous], here("neighbour")),
            ],
            realms: Some(vec!["open".to_owned()]),
        };
        let address = |from: &str| from.parse().map_or(PeerAddress::Unix, PeerAddress::Tcp);
        let open = |from: &str| {
            let from = address(from);
            Method::ALL.into_iter().filter(|method| access.opens(*method, &from)).collect::<Vec<_>>()
        };
        for (from, role) in
            [("10.1.2.3:4", "stranger"), ("10.2.2.3:4", "neighbour"), ("192.0.2.1:4", "stranger")]
        {
            assert_eq!(access.anonymous(&address(from)), here(role).as_ref(), "{from}");
        }
        assert_eq!(open("10.1.2.3:4"), []);
        assert_eq!(open("10.2.2.3:4"), [Method::Anonymous]);
        assert_eq!(open("unix"), [Method::Anonymous]);
        assert_eq!(open("192.0.2.1:4"), [Method::Ticket]);
        assert!(access.opens_realm("open") && !access.opens_realm("shut"));
        assert!(Access::default().opens(Method::Cookie, &PeerAddress::Unix));
    }

    #[test]
    fn an_extra_is_an_object() {
        let extra = Extra::from_json(r#"{"a":1,"b":{"c":[]}}"#).unwrap();
        assert_eq!(extra.entries().map(|(key, _)| key.into_owned()).collect::<Vec<_>>(), ["a", "b"]);
        for none in ["", "1", "[]", "{},{}", "{", "{}]"] {
            assert!(Extra::from_json(none).is_none(), "{none}");
        }
    }
}
