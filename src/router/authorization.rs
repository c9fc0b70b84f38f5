//! Whether a session may do what it asks for (advanced profile, "Authorization"): the one place that is asked, by every
//! CALL, REGISTER, PUBLISH and SUBSCRIBE, receivers or not.
//!
//! # Who asks
//!
//! - PUBLISH, and a testament, when it is added and once more when it is published: the rules may have changed.
//! - SUBSCRIBE, also of what the session is subscribed to; so what is retained comes only to those who may subscribe.
//!   `wamp.subscription.get_events` asks it again of the subscription, whoever it is that is subscribed.
//! - REGISTER.
//! - CALL, also of the router's own procedures: [`rules`](super::rules) say what those need. Those that change what is
//!   others' want a role that administers besides. What lists, looks up and matches subscriptions or registrations
//!   tells of all there are: an operator who does not want that allows no CALL of it.
//!
//! A further part of a call asks nothing, nor do UNSUBSCRIBE, UNREGISTER, CANCEL and what answers an INVOCATION. The
//! URI is known to be valid before, and nothing is looked up, stored or counted as accepted until it is allowed. What
//! is wrong with the options is told first where they must be read to know what is asked.
//!
//! The role of a session may have an authorizer instead: see [`dynamic`].
//!
//! # Cost
//!
//! A role that may do everything is not asked about. Verdicts of rules about PUBLISH and CALL stand beside the match
//! of the topic or procedure ([`Verdicts`]), which is looked up anyway: no other probe, lock or allocation. What is
//! not remembered there is asked first, and remembered only if it is allowed: who is refused drives nothing out. They
//! have the number of their rules, which no other rules ever have, so none is used for rules it was not made by, and
//! rules that change need nobody to forget anything. Where a value of the session decides, one verdict is for the
//! sessions whose value stands in the URI, and another for everybody else: they do for however many sessions, and to
//! choose costs a comparison of texts.

mod denials;
pub mod dynamic;

use std::sync::Arc;

use smallvec::SmallVec;

pub use self::denials::{Denial, Denials};
use super::realm::Realm;
use super::role::{Authorizer, Permissions};
use super::rules::{Action, Case, Rules, Subject, Whose};
use super::session::Identity;
use super::{Context, PeerKey};
use crate::error::Refusal;
use crate::wamp::{Dict, MatchPolicy};

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What it is.
    pub action: Action,
    /// With which URI, or pattern; a valid one.
    pub uri: &'a str,
    /// How that is matched.
    pub policy: MatchPolicy,
    /// With which options: those of the message that does just this, and of no other. Only authorizers are told.
    pub options: &'a Dict<'a>,
}

impl<'a> Question<'a> {
    /// About the URI itself.
    pub fn exact(action: Action, uri: &'a str, options: &'a Dict<'a>) -> Question<'a> {
        Question { action, uri, policy: MatchPolicy::Exact, options }
    }
}

/// The answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer<'a> {
    /// The session may.
    Allowed(Granted),
    /// It may not.
    Denied,
    /// This procedure is to be asked.
    Ask(&'a Arc<Authorizer>),
}

/// What goes with an allowance.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Granted {
    /// Receivers are told who it was, whether that is asked for or not; unless the realm names nobody.
    pub disclosed: bool,
}

/// Asks about a session. `verdicts` are those of the question's URI, and of its action alone; patterns have none.
#[inline]
pub fn answer<'i>(
    identity: &'i Identity,
    realm: &Realm,
    question: &Question<'_>,
    verdicts: Option<&mut Verdicts>,
) -> Answer<'i> {
    match &identity.role.permissions {
        Permissions::Everything => Answer::Allowed(Granted::default()),
        Permissions::Rules(rules) => {
            let Identity { session, authid, role, .. } = identity;
            let subject = Subject { authid, authrole: &role.name, session: *session, realm: &realm.name };
            match verdicts {
                Some(verdicts) => verdicts.answer(rules, question, &subject),
                None => {
                    let verdict = rules.decide(question.action, question.uri, question.policy, &subject);
                    answered(verdict.allowed, verdict.disclosed)
                }
            }
        }
        Permissions::Authorizer(authorizer) => Answer::Ask(authorizer),
    }
}

impl Context<'_> {
    /// Asks about a peer's session, and counts what is denied.
    #[inline]
    pub fn authorize(
        &mut self,
        key: PeerKey,
        realm: &Realm,
        question: &Question<'_>,
        verdicts: Option<&mut Verdicts>,
    ) -> Result<Granted, Refusal> {
        match self.unrestricted {
            true => Ok(Granted::default()),
            false => self.judge(key, realm, question, verdicts),
        }
    }

    fn judge(
        &mut self,
        key: PeerKey,
        realm: &Realm,
        question: &Question<'_>,
        verdicts: Option<&mut Verdicts>,
    ) -> Result<Granted, Refusal> {
        let session = self.peers.session(key).ok_or(Refusal::NotAuthorized)?;
        match answer(&session.identity, realm, question, verdicts) {
            Answer::Allowed(granted) => Ok(granted),
            Answer::Denied => Err(self.deny(key, realm, question, Refusal::NotAuthorized)),
            Answer::Ask(_) => self.consult(key, realm, question),
        }
    }

    /// Counts that something was denied, and remembers it for the log.
    #[cold]
    pub fn deny(
        &mut self,
        key: PeerKey,
        realm: &Realm,
        question: &Question<'_>,
        refusal: Refusal,
    ) -> Refusal {
        self.peers.counters.denied[question.action as usize] += 1;
        if refusal == Refusal::AuthorizationFailed {
            self.peers.counters.authorizations_failed += 1;
        }
        if let Some(session) = self.peers.session(key) {
            self.denials.tell(&session.identity, &realm.name, question, refusal);
        }
        refusal
    }
}

fn answered<'i>(allowed: bool, disclosed: bool) -> Answer<'i> {
    if allowed { Answer::Allowed(Granted { disclosed }) } else { Answer::Denied }
}

/// Of how many roles' rules verdicts are kept about one URI. When there is no room all are forgotten, which costs a
/// question each.
const RULES_MAX: usize = 16;

/// What rules have said about one action and one URI: all cases of one role's rules, in their order, then those of
/// another's. Most URIs see one role and have one case: that one needs no memory of its own.
#[derive(Debug, Default)]
pub struct Verdicts(SmallVec<[Verdict; 1]>);

/// A verdict that may be used again.
#[derive(Debug)]
struct Verdict {
    /// The number of the rules, and in the lowest bits [`ALLOWED`] and [`DISCLOSED`].
    rules: u64,
    /// To whom it is said, unless one before it is said to them.
    whose: Whose,
}

const ALLOWED: u64 = 1;
const DISCLOSED: u64 = 2;

impl Verdicts {
    #[inline]
    fn answer<'i>(&mut self, rules: &Rules, question: &Question<'_>, subject: &Subject<'_>) -> Answer<'i> {
        let number = rules.number();
        match self.kept(number, question.uri, subject) {
            Some(verdict) => verdict.answer(),
            None => {
                self.ask(rules, question);
                self.kept(number, question.uri, subject).expect("the last case is everybody's").answer()
            }
        }
    }

    #[inline]
    fn kept(&self, rules: u64, uri: &str, subject: &Subject<'_>) -> Option<&Verdict> {
        self.0.iter().find(|verdict| verdict.rules >> 2 == rules && verdict.whose.includes(uri, subject))
    }

    #[cold]
    fn ask(&mut self, rules: &Rules, question: &Question<'_>) {
        if self.0.iter().filter(|verdict| verdict.whose.everybody()).count() == RULES_MAX {
            self.0.clear();
        }
        let verdict = |Case { whose, allowed, disclosed }| {
            let bits = (u64::from(allowed) * ALLOWED) | (u64::from(disclosed) * DISCLOSED);
            Verdict { rules: rules.number() << 2 | bits, whose }
        };
        self.0.extend(rules.cases(question.action, question.uri).into_iter().map(verdict));
    }
}

impl Verdict {
    #[inline]
    fn answer<'i>(&self) -> Answer<'i> {
        answered(self.rules & ALLOWED != 0, self.rules & DISCLOSED != 0)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::auth::Method;
    use crate::limits::Limits;
    use crate::router::authentication::RouterSettings;
    use crate::router::directory::Directory;
    use crate::router::match_cache::MatchCache;
    use crate::router::pattern::tests::Random;
    use crate::router::rules::{Actions, Rule};
    use crate::router::session::Proof;
    use crate::router::{Clock, RealmSettings, Role, Router, Settings};
    use crate::wamp::SessionId;

    fn drawn(random: &mut Random, name: &str) -> Arc<Role> {
        let mut rules: Vec<Rule> = Vec::new();
        for uri in ["", "a.", "a.b.", "a.{authid}.", "a.{authid}.c", "a.{authrole}.c", "b.{session}"] {
            let policy =
                if uri.is_empty() || uri.ends_with('.') { MatchPolicy::Prefix } else { MatchPolicy::Exact };
            let actions = Action::ALL.into_iter().filter(|_| random.below(2) > 0).collect();
            let mut rule = Rule::new(uri, policy, actions);
            rule.disclose_publisher = random.below(2) > 0;
            rule.disclose_caller = random.below(2) > 0;
            if random.below(3) > 0 {
                rules.push(rule);
            }
        }
        let permissions = Permissions::Rules(Arc::new(Rules::new(rules).unwrap()));
        Arc::new(Role { permissions, ..Role::open(name) })
    }

    fn router() -> Arc<Router> {
        let settings = Settings {
            limits: Limits::DEFAULT,
            realms: vec![RealmSettings::open("realm1")],
            listeners: Vec::new(),
            agent: String::new(),
            authentication: RouterSettings::default(),
        };
        Router::new(settings, 1, Clock::at_epoch(Instant::now()))
    }

    fn identity(session: u64, authid: &str, role: &Arc<Role>) -> Identity {
        Identity {
            session: SessionId(session),
            authid: authid.into(),
            role: role.clone(),
            authmethod: "anonymous",
            authprovider: "static",
            proof: Proof::by(Method::Anonymous),
            extra: None,
        }
    }

    /// What the rules say, with nothing kept.
    fn naive(identity: &Identity, question: &Question<'_>) -> (bool, bool) {
        let Permissions::Rules(rules) = &identity.role.permissions else { panic!("there are rules") };
        let subject = Subject {
            authid: &identity.authid,
            authrole: &identity.role.name,
            session: identity.session,
            realm: "realm1",
        };
        let verdict = rules.decide(question.action, question.uri, question.policy, &subject);
        (verdict.allowed, verdict.disclosed)
    }

    #[test]
    fn kept_verdicts_are_those_of_the_rules_whoever_asks_and_whatever_has_changed() {
        let (router, directory) = (router(), Directory::new(64));
        let realm = &router.realms()[0];
        let mut random = Random(5);
        let mut cache = MatchCache::new(12);
        let mut roles: Vec<_> = (0..3).map(|_| drawn(&mut random, "c")).collect();
        let uris =
            ["a", "a.b", "a.b.c", "a.c.d", "a.d.c", "a.c.c", "b.1", "b.2", "b.7", "c", "d", "e", "f", "g"];
        let (mut allowed, mut disclosed) = (0, 0);
        for step in 0..40_000 {
            if step % 97 == 0 {
                let place = random.below(roles.len());
                let name = ["c", "d"][random.below(2)];
                roles[place] = drawn(&mut random, name);
            }
            let session = random.below(40) as u64 + 1;
            let authid = ["b", "c", "d", "x"][session as usize % 4];
            let identity = identity(session, authid, &roles[random.below(roles.len())]);
            let (action, uri) =
                ([Action::Publish, Action::Call][random.below(2)], uris[random.below(uris.len())]);
            let question = Question::exact(action, uri, &Dict::EMPTY);
            let verdicts = match action {
                Action::Publish => {
                    let place = cache.topic_place(&directory, uri);
                    cache.publish_verdicts(place)
                }
                _ => {
                    let place = cache.procedure_place(&directory, uri);
                    cache.call_verdicts(place)
                }
            };
            let expected = naive(&identity, &question);
            let said = match answer(&identity, realm, &question, Some(&mut *verdicts)) {
                Answer::Allowed(granted) => (true, granted.disclosed),
                Answer::Denied => (false, false),
                Answer::Ask(_) => panic!("there are rules"),
            };
            assert_eq!(said, expected, "{identity:?} {question:?}");
            let whole = verdicts.0.iter().filter(|verdict| verdict.whose.everybody()).count();
            assert!((1..=RULES_MAX).contains(&whole) && verdicts.0.len() <= 4 * RULES_MAX);
            allowed += usize::from(said.0);
            disclosed += usize::from(said.1);
        }
        assert!(allowed > 8_000 && disclosed > 3_000, "{allowed} {disclosed}");
    }

    #[test]
    fn however_many_sessions_ask_the_rules_are_asked_once() {
        use MatchPolicy::{Exact, Prefix};
        let router = router();
        let call = Actions::NONE.with(Action::Call);
        let rules = vec![
            Rule::new("a.", Prefix, call),
            Rule::new("a.x.public", Exact, Actions::NONE),
            Rule::new("a.{authid}.inbox", Exact, Actions::NONE),
            Rule::new("a.{authid}.own.", Prefix, call),
            Rule::new("a.{authid}.public", Exact, call),
            Rule::new("b.{authid}.{session}", Exact, call),
            Rule::new("b.{session}", Exact, call),
        ];
        let permissions = Permissions::Rules(Arc::new(Rules::new(rules).unwrap()));
        let role = Arc::new(Role { permissions, ..Role::open("guest") });
        for (uri, cases, allowed) in [
            ("a.x", 1, 64),
            ("a.x.y", 1, 64),
            ("a.x.inbox.y", 1, 64),
            // Its own is refused.
            ("a.x7.inbox", 2, 63),
            // What is allowed anyway.
            ("a.x7.own.y", 1, 64),
            // Written.
            ("a.x.public", 1, 0),
            ("b.7", 2, 1),
            ("b.x", 1, 0),
            ("b.x7.7", 2, 1),
            ("b.x7.8", 2, 0),
            ("b.x7.y", 1, 0),
            ("c", 1, 0),
        ] {
            let mut verdicts = Verdicts::default();
            let mut may = |session: u64| {
                let identity = identity(session, &format!("x{session}"), &role);
                let question = Question::exact(Action::Call, uri, &Dict::EMPTY);
                let said = answer(&identity, &router.realms()[0], &question, Some(&mut verdicts));
                assert_eq!(verdicts.0.len(), cases, "{uri}");
                assert_eq!(said != Answer::Denied, naive(&identity, &question).0, "{uri} {session}");
                said != Answer::Denied
            };
            assert_eq!((1..=64).filter(|&session| may(session)).count(), allowed, "{uri}");
        }
    }

    #[test]
    fn what_stands_beside_a_match_is_small() {
        assert!(size_of::<Verdicts>() <= 48, "{}", size_of::<Verdicts>());
    }
}
