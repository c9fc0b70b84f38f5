//! Whether a session may stay when settings have changed, and as what: one question, asked of every session that is
//! there and of everybody who joins meanwhile.

use std::sync::Arc;

use super::session::Identity;
use super::{RealmSettings, Role};

/// Why a session is ended: what GOODBYE says for people. Its reason is `wamp.close.killed`; the specification has none
/// for settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dismissal {
    /// The realm has no such role any more.
    NoSuchRole,
    /// Whoever joins so has another role now.
    AnotherRole,
}

impl Dismissal {
    /// A sentence.
    pub fn text(self) -> &'static str {
        match self {
            Dismissal::NoSuchRole => "The role of this session is no more.",
            Dismissal::AnotherRole => "This session would have another role now.",
        }
    }
}

/// The role that a session has by these settings of its realm, if it could have joined by them as what it is.
pub fn still_allowed(identity: &Identity, realm: &RealmSettings) -> Result<Arc<Role>, Dismissal> {
    let Identity { role, authmethod, .. } = identity;
    if *authmethod == "anonymous" {
        return match realm.anonymous.name == role.name {
            true => Ok(realm.anonymous.clone()),
            false => Err(Dismissal::AnotherRole),
        };
    }
    let mut roles = realm.roles.iter();
    roles.find(|known| known.name == role.name).cloned().ok_or(Dismissal::NoSuchRole)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::wamp::SessionId;

    fn identity(authmethod: &'static str, role: &str) -> Identity {
        let (session, authid) = (SessionId(1), "somebody".into());
        Identity { session, authid, role: Arc::new(Role::open(role)), authmethod, authprovider: "static" }
    }

    #[test]
    fn a_session_stays_as_what_it_would_be_now() {
        let mut realm = RealmSettings::open("realm");
        let changed = Arc::new(Role { trust_level: Some(3), ..Role::open("user") });
        realm.roles = vec![changed.clone()];
        assert_eq!(still_allowed(&identity("ticket", "user"), &realm), Ok(changed));
        assert_eq!(still_allowed(&identity("ticket", "admin"), &realm), Err(Dismissal::NoSuchRole));
        let anonymous = realm.anonymous.clone();
        assert_eq!(still_allowed(&identity("anonymous", "anonymous"), &realm), Ok(anonymous));
        let other = still_allowed(&identity("anonymous", "user"), &realm);
        assert_eq!(other, Err(Dismissal::AnotherRole), "a role of that name is not what they get");
    }
}
