//! What clients may do: everything, but in the last realm, whose rules refuse a little of each action.

use std::sync::Arc;

use fanwire::router::authentication;
use fanwire::router::rules::{Action, Actions, Rule, Rules};
use fanwire::router::{Permissions, RealmSettings, Role};
use fanwire::wamp::MatchPolicy;
use fanwire::wamp::message::code;

use crate::checkers::{REMOVE_CALLEE, REMOVE_SUBSCRIBER};
use crate::naive::matches;

/// The realm with rules, by its number.
pub const RULED: usize = 2;

/// What may not be done there.
const REFUSED: [(u64, Action, &str); 4] = [
    (code::PUBLISH, Action::Publish, "t.b"),
    (code::SUBSCRIBE, Action::Subscribe, "t.b.b"),
    (code::REGISTER, Action::Register, "p.b"),
    (code::CALL, Action::Call, "P.A"),
];

/// True if that message about that URI is allowed in the realm.
pub fn may(realm: usize, code: u64, uri: &str, policy: MatchPolicy) -> bool {
    // A procedure below `wamp.` needs a rule of its own, unless it is known to be harmless.
    let unknown = code == code::CALL && uri == "wamp.own";
    // The prefix of no URI.
    let empty = policy == MatchPolicy::Prefix && (uri.starts_with('.') || uri.contains(".."));
    if realm == RULED && (unknown || empty) {
        return false;
    }
    let mut refused = REFUSED.iter().filter(|(refused, ..)| *refused == code);
    realm != RULED || refused.all(|(.., refused)| !matches(policy, uri, refused))
}

/// Puts the rules into the settings of the realm.
pub fn rule(index: usize, realm: RealmSettings) -> RealmSettings {
    if index != RULED {
        return realm;
    }
    let telling = [Action::Call, Action::Subscribe].into_iter().collect();
    let mut rules = vec![Rule::new("", MatchPolicy::Prefix, Actions::ALL)];
    for powerful in ["wamp.session.kill", REMOVE_CALLEE, REMOVE_SUBSCRIBER] {
        rules.push(Rule::new(powerful, MatchPolicy::Exact, telling));
    }
    for (_, refused, uri) in REFUSED {
        let others = Action::ALL.into_iter().filter(|action| *action != refused).collect();
        rules.push(Rule::new(uri, MatchPolicy::Exact, others));
    }
    let rules = Rules::new(rules).expect("they are good");
    let anonymous = realm.anonymous().expect("everybody may join");
    let role = Arc::new(Role { permissions: Permissions::Rules(Arc::new(rules)), ..Role::clone(anonymous) });
    let authentication = Arc::new(authentication::Settings::anonymous(role.clone()));
    RealmSettings { authentication, roles: vec![role], ..realm }
}
