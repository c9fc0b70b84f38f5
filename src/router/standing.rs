//! Whether a session may stay when settings have changed, and as what: one question, asked of every session that is
//! there and of everybody who joins meanwhile.
//!
//! A session stays if whoever it is could join again, so far as that can be told without proof: it has joined with a
//! method that is open where it has come in, as somebody who is known still, could prove itself so, and has the same
//! role. What a role may do is looked at anew. That a secret or a key is another one now ends no session that was
//! opened with the one before: who wants that takes the principal out, or kills its sessions. So it is with tokens and
//! procedures, whose word has been taken once; but the role must be there, and the keys or the procedure set, in the
//! realm that was asked. Who was known again by a cookie is whom that was given to, and stays as that one would join by
//! it again.

use std::sync::Arc;

use super::authentication::{Access, Dynamic, Named};
use super::peer::Peer;
use super::session::{Identity, Proof};
use super::{RealmSettings, Role, Router};
use crate::auth::Method;
use crate::origin::PeerAddress;

/// Why a session is ended: what GOODBYE says for people. Its reason is `wamp.close.killed`; the specification has none
/// for settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dismissal {
    /// The realm is open no more where it has come in.
    RealmShut,
    /// The method is open no more where it has come in, or in the realm.
    MethodShut,
    /// Nobody of that name is known any more who could prove itself so.
    NoSuchPrincipal,
    /// The realm has no such role any more.
    NoSuchRole,
    /// Whoever it is has another role now.
    AnotherRole,
}

impl Dismissal {
    /// A sentence.
    pub fn text(self) -> &'static str {
        match self {
            Dismissal::RealmShut => "The realm is not open here any more.",
            Dismissal::MethodShut => "What this session has joined with is not open any more.",
            Dismissal::NoSuchPrincipal => "Whoever has joined is not known any more.",
            Dismissal::NoSuchRole => "The role of this session is no more.",
            Dismissal::AnotherRole => "This session would have another role now.",
        }
    }
}

/// Where a peer has come in.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    /// What its listener opens.
    pub access: &'a Access,
    /// Where it is.
    pub address: &'a PeerAddress,
}

impl<'a> Door<'a> {
    /// As it is set now. Of a listener that is closed it is what was set last.
    pub fn of(peer: &'a Peer, router: &'a Router) -> Door<'a> {
        let access = &router.settings.listeners[peer.listener.0 as usize].access;
        Door { access, address: &peer.origin.address }
    }
}

/// The settings of the realm whose procedure was asked about a session, if that is another than its own and is there.
/// Locks the table of realms.
pub fn asked(proof: &Proof, router: &Router) -> Option<Arc<RealmSettings>> {
    router.realm_table().offered(proof.asked.as_ref()?)
}

/// The role that a session has by these settings of its realm, if it may stay. `asked` is from [`asked`].
pub fn still_allowed(
    identity: &Identity,
    realm: &RealmSettings,
    asked: Option<&RealmSettings>,
    door: &Door<'_>,
) -> Result<Arc<Role>, Dismissal> {
    if !realm.is_opened_by(door.access) {
        return Err(Dismissal::RealmShut);
    }
    let named = Named::from_name(identity.authmethod).ok_or(Dismissal::MethodShut)?;
    if !door.access.opens(named.method, door.address) {
        return Err(Dismissal::MethodShut);
    }
    let proof = &identity.proof;
    let by_cookie = named.method == Method::Cookie;
    if by_cookie && !realm.authentication.cookies {
        return Err(Dismissal::MethodShut);
    }
    let here = door.access.anonymous(door.address);
    let now = match identity.authprovider {
        _ if named.method == Method::Anonymous && here.is_some() => {
            realm.authentication.anonymous.as_ref().ok_or(Dismissal::MethodShut)?;
            here.and_then(|here| here.role_among(&realm.roles)).ok_or(Dismissal::NoSuchRole)?
        }
        "static" if named.method == Method::Anonymous => {
            let anonymous = realm.authentication.anonymous.as_ref().ok_or(Dismissal::MethodShut)?;
            anonymous.role.clone()
        }
        "static" => of_principal(identity, proof.method, realm)?,
        "jwt" => {
            realm.authentication.jwt.as_ref().ok_or(Dismissal::MethodShut)?;
            return named_role(identity, realm);
        }
        _ if by_cookie => return named_role(identity, realm),
        _ => {
            let asked = if proof.asked.is_some() { asked.ok_or(Dismissal::RealmShut)? } else { realm };
            if !asked.is_opened_by(door.access) {
                return Err(Dismissal::RealmShut);
            }
            procedure(proof.method, asked).ok_or(Dismissal::MethodShut)?;
            return named_role(identity, realm);
        }
    };
    if now.name == identity.role.name { Ok(now) } else { Err(Dismissal::AnotherRole) }
}

fn of_principal(identity: &Identity, method: Method, realm: &RealmSettings) -> Result<Arc<Role>, Dismissal> {
    let principal = realm.authentication.principals.named(&identity.authid);
    let principal = principal.filter(|principal| principal.has(method)).ok_or(Dismissal::NoSuchPrincipal)?;
    let default = || realm.authentication.method(method).default_role.clone();
    principal.role.clone().or_else(default).ok_or(Dismissal::NoSuchRole)
}

/// Who is asked about those whom nobody else knows.
fn procedure(method: Method, realm: &RealmSettings) -> Option<&Arc<Dynamic>> {
    match method {
        Method::Anonymous => realm.authentication.anonymous.as_ref()?.dynamic.as_ref(),
        method => realm.authentication.method(method).dynamic.as_ref(),
    }
}

/// The role as it is set now.
fn named_role(identity: &Identity, realm: &RealmSettings) -> Result<Arc<Role>, Dismissal> {
    let mut roles = realm.roles.iter();
    roles.find(|role| role.name == identity.role.name).cloned().ok_or(Dismissal::NoSuchRole)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::auth::ticket::Stored;
    use crate::router::authentication::{AnonymousHere, Jwt, Principal, Principals, Settings};
    use crate::wamp::SessionId;

    fn identity(authmethod: &'static str, authprovider: &'static str, role: &str) -> Identity {
        let (session, authid) = (SessionId(1), "alice".into());
        let proof = Proof::by(Method::from_name(authmethod).unwrap());
        Identity {
            session,
            authid,
            role: Arc::new(Role::open(role)),
            authmethod,
            authprovider,
            proof,
            extra: None,
        }
    }

    /// Who was known again by a cookie, which it was given for this.
    fn known_again(method: Method, authprovider: &'static str, role: &str) -> Identity {
        Identity { proof: Proof::by(method), ..identity("cookie", authprovider, role) }
    }

    fn realm(change: impl FnOnce(&mut Settings)) -> RealmSettings {
        let user = Arc::new(Role { trust_level: Some(3), ..Role::open("user") });
        let mut settings = Settings::anonymous(Role::anonymous());
        let ticket = Stored::read("secret").ok();
        let alice =
            Principal { authid: "alice".into(), role: Some(user.clone()), ticket, ..Principal::default() };
        settings.principals = Principals::new([alice]);
        change(&mut settings);
        let authentication = Arc::new(settings);
        RealmSettings { authentication, roles: vec![user], ..RealmSettings::open("realm") }
    }

    fn stands(identity: &Identity, realm: &RealmSettings, access: &Access) -> Result<Option<u64>, Dismissal> {
        let door = Door { access, address: &PeerAddress::Unix };
        still_allowed(identity, realm, None, &door).map(|role| role.trust_level)
    }

    #[test]
    fn who_was_known_again_stays_as_whom_the_cookie_stands_for() {
        let all = Access::default();
        let (known, shut) = (realm(|settings| settings.cookies = true), realm(|_| {}));
        let nobody = realm(|settings| {
            settings.cookies = true;
            settings.principals = Principals::default();
        });
        let alice = known_again(Method::Ticket, "static", "user");
        assert_eq!(stands(&alice, &known, &all), Ok(Some(3)));
        assert_eq!(stands(&alice, &shut, &all), Err(Dismissal::MethodShut));
        assert_eq!(stands(&alice, &nobody, &all), Err(Dismissal::NoSuchPrincipal));
        let other = known_again(Method::WampCra, "static", "user");
        assert_eq!(
            stands(&other, &known, &all),
            Err(Dismissal::NoSuchPrincipal),
            "she has no such secret now"
        );
        let asked = known_again(Method::WampCra, "dynamic", "user");
        assert_eq!(stands(&asked, &nobody, &all), Ok(Some(3)));
        let admin = known_again(Method::WampCra, "dynamic", "admin");
        assert_eq!(stands(&admin, &known, &all), Err(Dismissal::NoSuchRole));
    }

    #[test]
    fn the_procedure_is_looked_for_in_the_realm_that_was_asked() {
        let dynamic = || Some(Arc::new(Dynamic { procedure: "p".to_owned(), realm: None, timeout_ms: 1 }));
        let asks = realm(|settings| settings.method_mut(Method::Ticket).dynamic = dynamic());
        let (sent, plain) = (RealmSettings { name: "sent".to_owned(), ..realm(|_| {}) }, realm(|_| {}));
        let proof = Proof { asked: Some("realm".into()), ..Proof::by(Method::Ticket) };
        let alice = Identity { proof, ..identity("ticket", "dynamic", "user") };
        let all = Access::default();
        let only = Access { realms: Some(vec!["sent".to_owned()]), ..Access::default() };
        let stands = |asked, access| {
            let door = Door { access, address: &PeerAddress::Unix };
            still_allowed(&alice, &sent, asked, &door).map(|role| role.trust_level)
        };
        assert_eq!(stands(Some(&asks), &all), Ok(Some(3)));
        assert_eq!(stands(Some(&plain), &all), Err(Dismissal::MethodShut), "nobody is asked any more");
        assert_eq!(stands(None, &all), Err(Dismissal::RealmShut));
        assert_eq!(stands(Some(&asks), &only), Err(Dismissal::RealmShut));
    }

    #[test]
    fn a_session_stays_as_what_it_would_be_now() {
        let (all, known) = (Access::default(), realm(|_| {}));
        let alice = identity("ticket", "static", "user");
        assert_eq!(stands(&alice, &known, &all), Ok(Some(3)), "the role as it is now");
        assert_eq!(stands(&identity("anonymous", "static", "anonymous"), &known, &all), Ok(None));
        for (who, why) in [
            (identity("ticket", "static", "admin"), Dismissal::AnotherRole),
            (identity("anonymous", "static", "user"), Dismissal::AnotherRole),
            (identity("wampcra", "static", "user"), Dismissal::NoSuchPrincipal),
            (identity("ticket", "jwt", "user"), Dismissal::MethodShut),
            (identity("wampcra", "dynamic", "user"), Dismissal::MethodShut),
        ] {
            assert_eq!(stands(&who, &known, &all), Err(why), "{who:?}");
        }
        let asks = realm(|settings| {
            let (procedure, realm) = ("com.authenticate".to_owned(), None);
            let dynamic = Some(Arc::new(Dynamic { procedure, realm, timeout_ms: 1 }));
            settings.method_mut(Method::WampCra).dynamic = dynamic;
        });
        assert_eq!(stands(&identity("wampcra", "dynamic", "user"), &asks, &all), Ok(Some(3)));
        let nobody = realm(|settings| settings.principals = Principals::default());
        assert_eq!(stands(&alice, &nobody, &all), Err(Dismissal::NoSuchPrincipal));
        let shut = realm(|settings| settings.anonymous = None);
        assert_eq!(
            stands(&identity("anonymous", "static", "anonymous"), &shut, &all),
            Err(Dismissal::MethodShut)
        );
        let (keys, expected, roles) = (Default::default(), Default::default(), Vec::new());
        let jwt = Some(Jwt { keys, expected, roles, default_role: None });
        let tokens = realm(|settings| settings.jwt = jwt);
        assert_eq!(stands(&identity("ticket", "jwt", "user"), &tokens, &all), Ok(Some(3)));
    }

    #[test]
    fn what_the_listener_shuts_is_shut() {
        let (alice, known) = (identity("ticket", "static", "user"), realm(|_| {}));
        let methods = Access { methods: Some(vec![Method::Anonymous]), ..Access::default() };
        assert_eq!(stands(&alice, &known, &methods), Err(Dismissal::MethodShut));
        let here = |role: &str| {
            let anonymous = Some(AnonymousHere { role: role.into(), authid: None });
            Access { anonymous, ..Access::default() }
        };
        let stranger = identity("anonymous", "static", "anonymous");
        for (who, role, stands_as) in [
            (&stranger, "user", Err(Dismissal::AnotherRole)),
            (&stranger, "lost", Err(Dismissal::NoSuchRole)),
            (&identity("anonymous", "static", "user"), "user", Ok(Some(3))),
            (&identity("anonymous", "dynamic", "user"), "user", Ok(Some(3))),
            (&identity("anonymous", "dynamic", "admin"), "user", Err(Dismissal::AnotherRole)),
            (&alice, "lost", Ok(Some(3))),
        ] {
            assert_eq!(stands(who, &known, &here(role)), stands_as, "{who:?} as {role}");
        }
        let shut = realm(|settings| settings.anonymous = None);
        let stranger = identity("anonymous", "static", "user");
        assert_eq!(stands(&stranger, &shut, &here("user")), Err(Dismissal::MethodShut));
        let realms = Access { realms: Some(vec!["other".to_owned()]), ..Access::default() };
        assert_eq!(stands(&alice, &known, &realms), Err(Dismissal::RealmShut));
    }
}
