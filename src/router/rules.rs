//! What a role may do: its rules, and which of them decides (advanced profile, "Authorization"). Pure: a question has
//! an answer, and nothing is kept.
//!
//! # The rule
//!
//! - The most specific rule that matches a URI decides: the exact one, else the longest prefix, else the wildcard that
//!   has a literal component where others first differ from it. That is the order in which the dealer prefers
//!   registrations. The rule that decides allows what it lists and refuses everything else, also what a less specific
//!   one allows. Where no rule matches, everything is refused.
//! - A pattern may be subscribed or registered if a rule contains the whole of it, the most specific such rule allows
//!   it, and so does every rule that decides about some URI inside. So a pattern shows nothing that a question for the
//!   exact URI would refuse, and what is refused by a pattern's inside is refused although most of it is allowed.
//! - Values of the session (`com.{authid}.inbox`) are [`values`]'. Of two rules that are the same for a session, the
//!   one that was written without values decides, else the one that refuses: who may choose a name gains nothing by
//!   it.
//!
//! # What begins with `wamp.`
//!
//! Nobody registers or publishes there, whatever the rules are, and a rule that allows it is refused. Topics follow
//! the rules as others do. So do those procedures of the router that only tell what is there, or concern nobody but
//! the caller: [`harmless`]. Every other procedure needs a rule of its own, exact and of just that URI: a role that
//! may call everything may not kill sessions, and one that may call `wamp.session.` may not either. As that holds for
//! whatever is not known to be harmless, a new procedure is refused until an operator names it. Such a rule decides
//! about its URI as a topic as well: who is to subscribe by a pattern that contains it is allowed `subscribe` there.
//!
//! # Left to others
//!
//! Whether a URI is valid in its realm comes before; so does the topic of a testament, which is a PUBLISH. Payloads are
//! not looked into: Crossbar.io's `validate` has no counterpart. Answers are not remembered here.
//!
//! # Why the answer about a pattern is right
//!
//! Take a rule that matches some URI inside the pattern, and the text that both have in common, with a character that
//! stands in no rule (`values::FRESH`) wherever both leave open what stands there. A rule that matches that text
//! matches everything the two have in common. So if the first rule decides about any URI inside the pattern it decides
//! about this text: one question for each rule that refuses is enough. Only a prefix's inside has URIs of any number of
//! components, which a wildcard does not contain; but there a prefix contains the pattern, and comes before wildcards.

mod rule;
mod table;
pub mod values;

use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::{SmallVec, smallvec};

use self::rule::names_reserved;
pub use self::rule::{Action, Actions, Rule, RuleError, RuleProblem};
use self::table::Table;
use self::values::{FRESH, Preference, ValueRules, expand};
pub use self::values::{Subject, Whose};
use super::pattern::matches;
use crate::wamp::MatchPolicy;
use crate::wamp::uri::{components, reserved};

/// The rules of a role, compiled.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Those without values of the session.
    table: Table,
    with_values: ValueRules,
    number: u64,
}

/// The number of the rules that are compiled next: rules of the whole process have different ones.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// The answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The session may.
    pub allowed: bool,
    /// Callees or subscribers are told who it was, whether that is asked for or not. Never with a refusal.
    pub disclosed: bool,
    /// Why.
    pub ground: Ground,
}

impl Verdict {
    /// The index of the rule that has decided.
    pub fn rule(self) -> Option<usize> {
        match self.ground {
            Ground::Rule(index) | Ground::Inside(index) => Some(index),
            Ground::NoRule | Ground::NoOwnRule | Ground::Reserved => None,
        }
    }

    fn refused(ground: Ground) -> Verdict {
        Verdict { allowed: false, disclosed: false, ground }
    }
}

/// What rules say to some sessions about one URI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// To whom.
    pub whose: Whose,
    /// They may.
    pub allowed: bool,
    /// As in [`Verdict`].
    pub disclosed: bool,
}

/// What a verdict rests on. Rules are named by their index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ground {
    /// This rule decides.
    Rule(usize),
    /// A rule contains the pattern and allows it, but this one refuses URIs inside.
    Inside(usize),
    /// No rule matches the URI, or contains the whole pattern.
    NoRule,
    /// A procedure of the router's that is not harmless, and no exact rule names it.
    NoOwnRule,
    /// Nobody may do this below `wamp.`.
    Reserved,
}

/// True for the router's own procedures that follow the rules as other procedures do: they tell who and what is there,
/// or what they do is the caller's own.
///
/// `wamp.subscription.get_events` is none of them: what was published before somebody came is shown where an operator
/// names that, and only of subscriptions that the caller may make itself.
pub fn harmless(procedure: &str) -> bool {
    let Some((kind, verb)) = procedure.strip_prefix("wamp.").and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    match kind {
        "session" => matches!(verb, "count" | "list" | "get" | "add_testament" | "flush_testaments"),
        "subscription" => {
            matches!(verb, "list" | "lookup" | "match" | "get" | "list_subscribers" | "count_subscribers")
        }
        "registration" => {
            matches!(verb, "list" | "lookup" | "match" | "get" | "list_callees" | "count_callees")
        }
        _ => false,
    }
}

/// The router's own procedures that change what is others', or what is known of them. Only roles that administer may
/// call them, whatever their rules are.
const CHANGE_OTHERS: [&str; 8] = [
    "wamp.session.kill",
    "wamp.session.kill_by_authid",
    "wamp.session.kill_by_authrole",
    "wamp.session.kill_all",
    "wamp.session.modify_details",
    "wamp.subscription.remove_subscriber",
    "wamp.registration.remove_callee",
    "wamp.authorization.purge",
];

const GET_EVENTS: &str = "wamp.subscription.get_events";

/// True for the router's own procedures of which only roles that administer may make a CALL.
pub fn changes_others(procedure: &str) -> bool {
    CHANGE_OTHERS.contains(&procedure)
}

/// The router's own procedures that need an exact rule.
pub fn not_harmless() -> impl Iterator<Item = &'static str> {
    CHANGE_OTHERS.into_iter().chain([GET_EVENTS])
}

/// True for the router's own procedures.
pub fn is_procedure(procedure: &str) -> bool {
    harmless(procedure) || not_harmless().any(|other| other == procedure)
}

/// Rules are what they were compiled of.
impl PartialEq for Rules {
    fn eq(&self, other: &Rules) -> bool {
        self.rules == other.rules
    }
}

impl Eq for Rules {}

impl Rules {
    /// Compiles them. The error is the first mistake; [`Rule::check`] finds those of each rule alone.
    pub fn new(rules: Vec<Rule>) -> Result<Rules, RuleError> {
        let mut known = std::collections::HashMap::new();
        for (index, rule) in rules.iter().enumerate() {
            let error = |problem| RuleError { index, uri: rule.uri.clone(), problem };
            rule.check().map_err(error)?;
            if let Some(first) = known.insert((&*rule.uri, rule.policy), index) {
                return Err(error(RuleProblem::Duplicate(first)));
            }
        }
        let (table, with_values) = (Table::new(&rules), ValueRules::new(&rules));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Ok(Rules { rules, table, with_values, number })
    }

    /// The rules as they were written; what a verdict names is an index into them.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// A number that no other rules of this process have or will have: what was decided by rules of that number these
    /// rules decide, for the same session at least.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether a session may do this with a URI, or with a pattern if it subscribes or registers.
    ///
    /// It costs no allocation, unless a pattern is asked about and values of the session stand in a rule that refuses.
    pub fn decide(&self, action: Action, uri: &str, policy: MatchPolicy, subject: &Subject<'_>) -> Verdict {
        let exactly = || {
            let with_values = self.with_values.deciding(&self.rules, (action, uri), false, subject);
            self.decide_uri(action, uri, with_values)
        };
        match (action, policy) {
            (_, MatchPolicy::Exact) => exactly(),
            (Action::Register | Action::Publish, _) if names_reserved(uri, policy) => {
                Verdict::refused(Ground::Reserved)
            }
            // CALL and PUBLISH know no patterns.
            (Action::Call | Action::Publish, _) => Verdict::refused(Ground::NoRule),
            // A wildcard that leaves nothing open is the URI.
            (_, MatchPolicy::Wildcard) if components(uri).all(|component| !component.is_empty()) => exactly(),
            (Action::Register | Action::Subscribe, _) => self.decide_pattern(action, uri, policy, subject),
        }
    }

    /// What [`decide`](Self::decide) says about this very URI, whoever asks: to a session, what the first case says
    /// that is its own. The last is everybody's. Cases that no session needs are not there: of rules that match for
    /// nobody, or where another decides, or that say what is everybody's anyway.
    pub fn cases(&self, action: Action, uri: &str) -> SmallVec<[Case; 1]> {
        let case = |whose, Verdict { allowed, disclosed, .. }| Case { whose, allowed, disclosed };
        let mut cases = smallvec![case(Whose::default(), self.decide_uri(action, uri, None))];
        if reserved(uri) {
            return cases;
        }
        let written = self.table.deciding(uri).map(|index| self.preference(index));
        let with_values = self.with_values.cases(&self.rules, (action, uri));
        // From the end, so that it is known what they get who are not in the case.
        for ((preference, _, index), whose) in with_values.into_iter().rev() {
            let case = case(whose, self.verdict(action, index));
            let decides = written.is_none_or(|written| preference < written);
            let told = |last: &Case| (last.allowed, last.disclosed) == (case.allowed, case.disclosed);
            if decides && !(cases.len() == 1 && told(&cases[0])) {
                cases.push(case);
            }
        }
        cases.reverse();
        cases
    }

    /// The answer as a sentence, for `fanwire check --may`. Rules count from 1 there.
    pub fn explain(&self, action: Action, uri: &str, policy: MatchPolicy, subject: &Subject<'_>) -> String {
        let verdict = self.decide(action, uri, policy, subject);
        let name = |index: usize| format!("rule {}, {}", index + 1, self.rules[index]);
        let allows = |index: usize| format!("allows {}", self.rules[index].allow);
        let action = action.name();
        match (verdict.ground, policy) {
            (Ground::Rule(index), _) if verdict.allowed => {
                let disclosed = if verdict.disclosed { ", and discloses who it was" } else { "" };
                format!("Allowed: {} decides, which {}{disclosed}.", name(index), allows(index))
            }
            (Ground::Rule(index), _) => {
                format!("Refused: {} decides, which {}.", name(index), allows(index))
            }
            (Ground::Inside(index), _) => {
                let (name, allows) = (name(index), allows(index));
                format!("Refused: a rule allows {action} there, but not everywhere inside: {name}, {allows}.")
            }
            (Ground::NoRule, MatchPolicy::Exact) => {
                format!("Refused: no rule matches `{uri}`, and what no rule allows is refused.")
            }
            (Ground::NoRule, _) => {
                format!("Refused: no rule contains all of {} `{uri}`.", policy.name())
            }
            (Ground::NoOwnRule, _) => {
                format!(
                    "Refused: `{uri}` is not among the harmless procedures of the router, so it needs an exact rule."
                )
            }
            (Ground::Reserved, _) => format!("Refused: nobody may {action} what begins with wamp."),
        }
    }

    /// About a URI, where this is the rule that decides among those with values.
    fn decide_uri(&self, action: Action, uri: &str, with_values: Option<(Preference, usize)>) -> Verdict {
        if matches!(action, Action::Register | Action::Publish) && reserved(uri) {
            return Verdict::refused(Ground::Reserved);
        }
        let own_rule = action == Action::Call && reserved(uri) && !harmless(uri);
        let decides = match own_rule {
            true => self.table.exact(uri),
            false => self.preferred(self.table.deciding(uri), with_values),
        };
        match decides {
            Some(index) => self.verdict(action, index),
            None if own_rule => Verdict::refused(Ground::NoOwnRule),
            None => Verdict::refused(Ground::NoRule),
        }
    }

    fn decide_pattern(
        &self,
        action: Action,
        pattern: &str,
        policy: MatchPolicy,
        subject: &Subject<'_>,
    ) -> Verdict {
        let mut common = Common::default();
        let contains = match policy {
            MatchPolicy::Prefix if !has_inside(pattern) => None,
            MatchPolicy::Prefix => self.longest_prefix(action, pattern, subject),
            MatchPolicy::Exact | MatchPolicy::Wildcard => {
                // What it has in common with itself.
                common.find((pattern, policy), (pattern, policy));
                self.deciding(action, common.text(), subject)
            }
        };
        let Some(contains) = contains else { return Verdict::refused(Ground::NoRule) };
        let verdict = self.verdict(action, contains);
        if !verdict.allowed {
            return verdict;
        }
        let mut text = String::new();
        for rule in &self.rules {
            let unseen = action == Action::Register && names_reserved(&rule.uri, rule.policy);
            if rule.allow.contains(action) || unseen {
                continue;
            }
            let uri = match rule.has_values() {
                false => &*rule.uri,
                true if expand(&rule.uri, subject, &mut text) => &*text,
                true => continue,
            };
            if common.find((pattern, policy), (uri, rule.policy))
                && let Some(decides) = self.deciding(action, common.text(), subject)
                && !self.rules[decides].allow.contains(action)
            {
                return Verdict::refused(Ground::Inside(decides));
            }
        }
        verdict
    }

    fn verdict(&self, action: Action, index: usize) -> Verdict {
        let rule = &self.rules[index];
        let allowed = rule.allow.contains(action);
        Verdict { allowed, disclosed: allowed && rule.discloses(action), ground: Ground::Rule(index) }
    }

    /// The most specific rule that matches a URI.
    fn deciding(&self, action: Action, uri: &str, subject: &Subject<'_>) -> Option<usize> {
        let written = self.table.deciding(uri);
        self.preferred(written, self.with_values.deciding(&self.rules, (action, uri), false, subject))
    }

    /// The longest prefix rule that contains a prefix.
    fn longest_prefix(&self, action: Action, prefix: &str, subject: &Subject<'_>) -> Option<usize> {
        let written = self.table.longest_prefix(prefix);
        self.preferred(written, self.with_values.deciding(&self.rules, (action, prefix), true, subject))
    }

    /// That of a rule without values.
    fn preference(&self, index: usize) -> Preference {
        Preference::of(&self.rules[index].uri, self.rules[index].policy)
    }

    /// Of two rules that match: the more specific; the one without values, if they are the same for this session.
    fn preferred(&self, written: Option<usize>, with_values: Option<(Preference, usize)>) -> Option<usize> {
        match (written, with_values) {
            (Some(index), Some((preference, _))) if self.preference(index) <= preference => Some(index),
            (_, Some((_, index))) => Some(index),
            (index, None) => index,
        }
    }
}

/// False for prefixes of no URI: those with an empty component before their last.
fn has_inside(prefix: &str) -> bool {
    prefix.rsplit_once('.').is_none_or(|(whole, _)| components(whole).all(|component| !component.is_empty()))
}

/// What a pattern and a rule have in common, as a URI; see the module's documents. No allocation, unless it is longer
/// than the longest URI a router takes if nobody sets that.
#[derive(Default)]
struct Common(SmallVec<[u8; 512]>);

impl Common {
    fn text(&self) -> &str {
        str::from_utf8(&self.0).expect("it is made of texts")
    }

    /// False if they have nothing in common, or nothing that the rule could decide about: a wildcard inside a prefix
    /// does not, as a prefix contains that.
    fn find(&mut self, (pattern, policy): (&str, MatchPolicy), rule: (&str, MatchPolicy)) -> bool {
        self.0.clear();
        match (policy, rule) {
            (_, (uri, MatchPolicy::Exact)) => {
                self.push(uri);
                matches(pattern, policy, uri)
            }
            (MatchPolicy::Prefix, (prefix, MatchPolicy::Prefix)) => {
                let longer = if prefix.len() > pattern.len() { prefix } else { pattern };
                self.push(longer);
                self.push_fresh();
                longer.starts_with(prefix) && longer.starts_with(pattern)
            }
            (MatchPolicy::Wildcard, (prefix, MatchPolicy::Prefix)) => self.find_in_prefix(pattern, prefix),
            (MatchPolicy::Wildcard, (wildcard, MatchPolicy::Wildcard)) => {
                self.find_in_wildcard(pattern, wildcard)
            }
            (MatchPolicy::Exact, _) | (MatchPolicy::Prefix, (_, MatchPolicy::Wildcard)) => false,
        }
    }

    /// A prefix's last component is the beginning of one.
    fn find_in_prefix(&mut self, pattern: &str, prefix: &str) -> bool {
        let mut wanted = components(prefix).peekable();
        for (place, component) in components(pattern).enumerate() {
            self.push_dot(place);
            let begin = wanted.next().unwrap_or("");
            let whole = wanted.peek().is_some();
            match component {
                "" => {
                    self.push(begin);
                    if !whole {
                        self.push_fresh();
                    }
                }
                _ if component == begin || (!whole && component.starts_with(begin)) => self.push(component),
                _ => return false,
            }
        }
        wanted.next().is_none()
    }

    fn find_in_wildcard(&mut self, pattern: &str, wildcard: &str) -> bool {
        let mut wanted = components(wildcard);
        for (place, component) in components(pattern).enumerate() {
            self.push_dot(place);
            match (component, wanted.next()) {
                (_, None) => return false,
                ("", Some("")) => self.push_fresh(),
                ("", Some(literal)) => self.push(literal),
                (literal, Some(other)) if other.is_empty() || other == literal => self.push(literal),
                _ => return false,
            }
        }
        wanted.next().is_none()
    }

    fn push(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn push_dot(&mut self, place: usize) {
        if place > 0 {
            self.push(".");
        }
    }

    fn push_fresh(&mut self) {
        self.push(FRESH.encode_utf8(&mut [0; 4]));
    }
}

#[cfg(test)]
mod tests {
    use MatchPolicy::{Exact, Prefix, Wildcard};

    use super::*;
    use crate::router::pattern::tests::{Random, matches_naively};
    use crate::wamp::{SessionId, UriCheck};

    const NOBODY: Subject<'_> =
        Subject { authid: "nobody", authrole: "guest", session: SessionId(1), realm: "realm1" };

    fn rules(written: &[(&str, MatchPolicy, &[Action])]) -> Rules {
        let rule = |&(uri, policy, allow): &(&str, MatchPolicy, &[Action])| {
            Rule::new(uri, policy, allow.iter().copied().collect())
        };
        Rules::new(written.iter().map(rule).collect()).unwrap()
    }

    #[test]
    fn a_list_is_refused_at_its_first_mistake() {
        let all = |uri, policy| Rule::new(uri, policy, Actions::ALL);
        let error = Rules::new(vec![all("a", Exact), all("a", Prefix), all("a", Exact)]).unwrap_err();
        assert_eq!(error, RuleError { index: 2, uri: "a".to_owned(), problem: RuleProblem::Duplicate(0) });
        let error = Rules::new(vec![all("a", Exact), all("a..b", Exact), all("", Exact)]).unwrap_err();
        assert_eq!((error.index, error.problem), (1, RuleProblem::EmptyComponent));
    }

    #[test]
    fn no_rules_allow_nothing() {
        let none = Rules::new(Vec::new()).unwrap();
        for action in Action::ALL {
            let verdict = none.decide(action, "a", Exact, &NOBODY);
            assert_eq!(verdict, Verdict::refused(Ground::NoRule));
        }
        assert!(!none.decide(Action::Subscribe, "", Prefix, &NOBODY).allowed);
    }

    #[test]
    fn disclosure_is_of_the_rule_that_allows() {
        let mut rule = Rule::new("a.", Prefix, Actions::ALL);
        (rule.disclose_caller, rule.disclose_publisher) = (true, false);
        let mut other = Rule::new("a.b", Exact, Actions::NONE.with(Action::Publish));
        (other.disclose_caller, other.disclose_publisher) = (true, true);
        let rules = Rules::new(vec![rule, other]).unwrap();
        for (action, uri, disclosed) in [
            (Action::Call, "a.c", true),
            (Action::Publish, "a.c", false),
            (Action::Register, "a.c", false),
            (Action::Subscribe, "a.c", false),
            (Action::Publish, "a.b", true),
            (Action::Call, "a.b", false),
        ] {
            assert_eq!(rules.decide(action, uri, Exact, &NOBODY).disclosed, disclosed, "{action:?} {uri}");
        }
    }

    /// The router's own procedures, all of them.
    const PROCEDURES: [(&str, bool); 25] = [
        ("wamp.session.count", true),
        ("wamp.session.list", true),
        ("wamp.session.get", true),
        ("wamp.session.kill", false),
        ("wamp.session.kill_by_authid", false),
        ("wamp.session.kill_by_authrole", false),
        ("wamp.session.kill_all", false),
        ("wamp.session.modify_details", false),
        ("wamp.session.add_testament", true),
        ("wamp.session.flush_testaments", true),
        ("wamp.subscription.list", true),
        ("wamp.subscription.lookup", true),
        ("wamp.subscription.match", true),
        ("wamp.subscription.get", true),
        ("wamp.subscription.list_subscribers", true),
        ("wamp.subscription.count_subscribers", true),
        ("wamp.subscription.get_events", false),
        ("wamp.subscription.remove_subscriber", false),
        ("wamp.registration.list", true),
        ("wamp.registration.lookup", true),
        ("wamp.registration.match", true),
        ("wamp.registration.get", true),
        ("wamp.registration.list_callees", true),
        ("wamp.registration.count_callees", true),
        ("wamp.registration.remove_callee", false),
    ];

    #[test]
    fn what_is_not_harmless_needs_a_rule_of_its_own() {
        let broad = rules(&[
            ("", Prefix, &Action::ALL),
            ("wamp.", Prefix, &[Action::Call]),
            ("wamp.session.", Prefix, &[Action::Call]),
            ("wamp..", Wildcard, &[Action::Call]),
        ]);
        for (procedure, is_harmless) in PROCEDURES {
            assert_eq!(harmless(procedure), is_harmless, "{procedure}");
            assert_eq!(
                broad.decide(Action::Call, procedure, Exact, &NOBODY).allowed,
                is_harmless,
                "{procedure}"
            );
            let own = rules(&[(procedure, Exact, &[Action::Call])]);
            assert!(own.decide(Action::Call, procedure, Exact, &NOBODY).allowed, "{procedure}");
        }
        for unknown in
            ["wamp", "wamp.x", "wamp.session.kill_more", "wamp.session.get.x", "wamp.x.get", "wamp.get"]
        {
            let verdict = broad.decide(Action::Call, unknown, Exact, &NOBODY);
            assert_eq!(verdict, Verdict::refused(Ground::NoOwnRule), "{unknown}");
        }
        assert!(broad.decide(Action::Call, "wampum.x", Exact, &NOBODY).allowed);
    }

    #[test]
    fn no_name_gets_what_was_written_for_others() {
        let rules = rules(&[
            ("com.", Prefix, &[]),
            ("com.{authid}.inbox", Exact, &Action::ALL),
            ("com.admin.inbox", Exact, &[]),
            ("com.{authrole}.inbox", Exact, &[Action::Publish]),
            ("com.{authid}.files.", Prefix, &Action::ALL),
            ("com.{session}..log", Wildcard, &Action::ALL),
        ]);
        let may = |authid, uri, policy| {
            let subject = Subject { authid, authrole: "backend", session: SessionId(42), realm: "realm1" };
            rules.decide(Action::Subscribe, uri, policy, &subject).allowed
        };
        assert!(may("alice", "com.alice.inbox", Exact) && !may("bob", "com.alice.inbox", Exact));
        assert!(!may("admin", "com.admin.inbox", Exact), "the rule without values decides");
        assert!(!may("backend", "com.backend.inbox", Exact), "the one that refuses decides");
        assert!(may("alice", "com.alice.files.", Prefix) && may("alice", "com.alice.files.a..b", Wildcard));
        assert!(!may("alice", "com.alice.files", Prefix) && !may("al", "com.alice.files.", Prefix));
        for authid in ["", "a.b", ".", "a b", "*", "#"] {
            for (uri, policy) in [
                ("com..inbox", Exact),
                ("com..inbox", Wildcard),
                ("com.a.b.inbox", Exact),
                ("com...inbox", Wildcard),
                ("com.b.inbox", Exact),
                ("com.", Prefix),
            ] {
                assert!(!may(authid, uri, policy), "{authid:?} {uri}");
            }
        }
        assert!(may("*", "com.*.inbox", Exact), "a star is a component like others");
    }

    #[test]
    fn a_uri_has_no_case_that_no_session_needs() {
        let call = &[Action::Call][..];
        let rules = rules(&[
            ("com.", Prefix, call),
            ("com.chat.inbox", Exact, &[]),
            ("com.{authid}.inbox", Exact, &[]),
            ("com.{authid}.{session}.", Prefix, &[]),
            ("com.{authrole}.own", Exact, call),
            ("com.{realm}", Exact, &[]),
            ("org.{authid}.", Prefix, call),
            ("org.{authrole}.", Prefix, &[]),
            ("org.{authid}.x", Exact, call),
        ]);
        let told = |uri| {
            let cases = rules.cases(Action::Call, uri);
            assert!(cases.last().unwrap().whose.everybody(), "{uri}");
            cases.iter().map(|case| case.allowed).collect::<Vec<_>>()
        };
        for uri in ["com.chat.x", "com.chat.inbox.x", "com.bob.x.y", "com.backend.own"] {
            assert_eq!(told(uri), [true], "{uri}");
        }
        assert_eq!((told("com.chat.inbox"), told("com.bob.inbox")), (vec![false], vec![false, true]));
        assert_eq!((told("com.realm1"), told("com.bob.7.y")), (vec![false, true], vec![false, true]));
        // The rule that refuses comes first, and nobody needs it who is told no other.
        assert_eq!(
            (told("org.bob.y"), told("org.bob.x")),
            (vec![false, true, false], vec![true, false, true, false])
        );
        for uri in ["org.bob", "net", "wamp.session.kill", "wamp.session.count"] {
            assert_eq!(told(uri), [false], "{uri}");
        }
    }

    #[test]
    fn explanations_name_the_rule_and_what_it_allows() {
        let rules = rules(&[
            ("com.", Prefix, &[Action::Call, Action::Subscribe]),
            ("com.a.secret", Exact, &[]),
            ("wamp.", Prefix, &[Action::Call]),
        ]);
        for (action, uri, policy, sentence) in [
            (
                Action::Call,
                "com.x",
                Exact,
                "Allowed: rule 1, prefix `com.` decides, which allows call, subscribe.",
            ),
            (
                Action::Publish,
                "com.x",
                Exact,
                "Refused: rule 1, prefix `com.` decides, which allows call, subscribe.",
            ),
            (
                Action::Call,
                "org",
                Exact,
                "Refused: no rule matches `org`, and what no rule allows is refused.",
            ),
            (Action::Subscribe, "", Prefix, "Refused: no rule contains all of prefix ``."),
            (
                Action::Subscribe,
                "com.a.",
                Wildcard,
                "Refused: a rule allows subscribe there, but not everywhere inside: rule 2, exact `com.a.secret`, allows \
                 nothing.",
            ),
            (
                Action::Call,
                "wamp.session.kill",
                Exact,
                "Refused: `wamp.session.kill` is not among the harmless procedures of the router, so it needs an exact \
                 rule.",
            ),
            (Action::Publish, "wamp.x", Exact, "Refused: nobody may publish what begins with wamp."),
        ] {
            assert_eq!(rules.explain(action, uri, policy, &NOBODY), sentence);
        }
        let mut rule = Rule::new("a", Exact, Actions::ALL);
        rule.disclose_caller = true;
        let sentence = Rules::new(vec![rule]).unwrap().explain(Action::Call, "a", Exact, &NOBODY);
        assert!(sentence.ends_with(", and discloses who it was."), "{sentence}");
    }

    #[test]
    fn patterns_in_which_no_uri_can_be_are_refused() {
        let rules = rules(&[("", Prefix, &Action::ALL)]);
        for prefix in [".", ".a", "a..", "a..b", ".."] {
            assert!(!rules.decide(Action::Subscribe, prefix, Prefix, &NOBODY).allowed, "{prefix}");
        }
        for (pattern, policy) in [("a.b", Prefix), ("a.", Wildcard), ("", Wildcard)] {
            for action in [Action::Call, Action::Publish] {
                assert!(
                    !rules.decide(action, pattern, policy, &NOBODY).allowed,
                    "{action:?} has no patterns"
                );
            }
            assert!(rules.decide(Action::Register, pattern, policy, &NOBODY).allowed, "{pattern}");
        }
    }

    /// What a rule is for a session: the twin of `expand`.
    fn expand_naively(uri: &str, subject: &Subject<'_>) -> Option<String> {
        let mut text = uri.to_owned();
        for (name, value) in
            [("{session}", subject.session.0.to_string().as_str()), ("{authid}", subject.authid)]
        {
            let component = !value.is_empty() && value.chars().all(|c| !" .#".contains(c));
            if text.contains(name) && !component {
                return None;
            }
            text = text.replace(name, value);
        }
        Some(text)
    }

    /// How a naive reader orders two rules that match one URI: the greater one decides.
    fn specific(uri: &str, policy: MatchPolicy, rule: &Rule, action: Action) -> impl Ord + use<> {
        let length = if policy == Prefix { uri.len() } else { 0 };
        let literal: Vec<bool> =
            uri.split('.').map(|component| policy == Wildcard && !component.is_empty()).collect();
        let written = !rule.uri.contains('{');
        let refuses = !rule.allow.contains(action);
        (policy == Exact, policy == Prefix, length, literal, written, refuses)
    }

    /// Every URI of up to four components of a small alphabet: two that rules and patterns are made of, longer ones
    /// that begin with them, an odd authid, and one more. The first may be the reserved one, or begin with it.
    fn universe() -> Vec<String> {
        let components = ["a", "1", "az", "1z", "z", "{session}"];
        let mut uris: Vec<String> =
            components.iter().chain(&["wamp", "wampz"]).map(|&uri| uri.to_owned()).collect();
        for _ in 1..4 {
            let longer: Vec<_> = uris
                .iter()
                .flat_map(|uri| components.map(|component| format!("{uri}.{component}")))
                .collect();
            uris.extend(longer);
        }
        uris.sort();
        uris.dedup();
        uris
    }

    /// A text of these components.
    fn draw_pattern(random: &mut Random, components: &[&str]) -> (String, MatchPolicy) {
        let policy = random.policy();
        // A prefix of three components would reach the end of the universe.
        let count = 1 + random.below(if policy == Prefix { 2 } else { 3 });
        let mut parts: Vec<_> = (0..count).map(|_| components[random.below(components.len())]).collect();
        if random.below(8) == 0 {
            parts[0] = "wamp";
        }
        (parts.join("."), policy)
    }

    fn draw_rule(random: &mut Random) -> Rule {
        let (uri, policy) = draw_pattern(random, &["", "a", "1", "{authid}", "a", "{session}"]);
        let allow = Action::ALL.into_iter().filter(|_| random.below(2) > 0).collect();
        let (disclose_caller, disclose_publisher) = (random.below(2) > 0, random.below(2) > 0);
        Rule { disclose_caller, disclose_publisher, ..Rule::new(&uri, policy, allow) }
    }

    /// Most lists have a rule that allows much, so that there is something to refuse inside.
    fn draw_rules(random: &mut Random) -> Vec<Rule> {
        let (uri, policy) =
            [("", Prefix), ("a.", Prefix), (".", Wildcard), ("a..", Wildcard)][random.below(4)];
        let mut rules = vec![Rule::new(uri, policy, Actions::ALL)];
        for _ in 0..random.below(7) {
            let rule = draw_rule(random);
            let known = rules.iter().any(|known| (&known.uri, known.policy) == (&rule.uri, rule.policy));
            if rule.check().is_ok() && !known {
                rules.push(rule);
            }
        }
        rules
    }

    fn is_reserved(uri: &str) -> bool {
        uri == "wamp" || uri.starts_with("wamp.")
    }

    /// The naive reader, who has asked every rule about every URI.
    struct Twin<'a> {
        rules: &'a [Rule],
        universe: &'a [String],
        action: Action,
        /// What rules are for the session.
        texts: Vec<Option<String>>,
        /// The rules that match each URI.
        matching: Vec<Vec<usize>>,
    }

    impl<'a> Twin<'a> {
        fn new(rules: &'a [Rule], universe: &'a [String], action: Action, subject: &Subject<'_>) -> Twin<'a> {
            let texts: Vec<_> = rules.iter().map(|rule| expand_naively(&rule.uri, subject)).collect();
            let matched = |uri: &String| {
                let matched = |&index: &usize| {
                    let text = texts[index].as_ref();
                    text.is_some_and(|text| matches_naively(text, rules[index].policy, uri))
                };
                (0..rules.len()).filter(matched).collect()
            };
            let matching = universe.iter().map(matched).collect();
            Twin { rules, universe, action, texts, matching }
        }

        fn decides(&self, place: usize) -> Option<usize> {
            let uri = &self.universe[place];
            let own = is_reserved(uri) && self.action == Action::Call;
            let candidates = self.matching[place].iter().rev().copied();
            let named = |rule: &Rule| rule.policy == Exact && rule.uri == *uri;
            candidates.filter(|&index| !own || named(&self.rules[index])).max_by_key(|&index| {
                let rule = &self.rules[index];
                specific(self.texts[index].as_ref().unwrap(), rule.policy, rule, self.action)
            })
        }

        fn allows(&self, place: usize) -> bool {
            self.decides(place).is_some_and(|index| self.rules[index].allow.contains(self.action))
        }

        /// There is something inside, one rule contains it, and all of it is allowed.
        fn allows_pattern(&self, pattern: &str, policy: MatchPolicy) -> bool {
            let seen = |place: &usize| {
                let uri = &self.universe[*place];
                matches_naively(pattern, policy, uri)
                    && (self.action == Action::Subscribe || !is_reserved(uri))
            };
            let seen: Vec<usize> = (0..self.universe.len()).filter(seen).collect();
            let contains = |index| seen.iter().all(|&place| self.matching[place].contains(&index));
            !seen.is_empty()
                && (0..self.rules.len()).any(contains)
                && seen.iter().all(|&place| self.allows(place))
        }
    }

    #[test]
    fn decides_as_its_naive_twin_that_asks_for_every_uri() {
        let universe = universe();
        let mut random = Random(5);
        let (mut allowed, mut inside, mut refused) = (0, 0, 0);
        let (mut several, mut others) = (0, 0);
        let is_short = |place: &usize| universe[*place].matches('.').count() < 2;
        let short: Vec<usize> = (0..universe.len()).filter(is_short).collect();
        for round in 0..240 {
            let written = draw_rules(&mut random);
            let rules = Rules::new(written.clone()).unwrap();
            // What is one component is one of the universe.
            let authid = ["a", "1", "", "a.1", "z", "1z", "{session}"][random.below(7)];
            let subject = Subject { authid, authrole: "guest", session: SessionId(1), realm: "realm1" };
            let action = Action::ALL[round % 4];
            let twin = Twin::new(&written, &universe, action, &subject);
            let own = |place: &usize| twin.matching[*place].iter().any(|&index| written[index].has_values());
            let own: Vec<usize> = (0..universe.len()).filter(own).collect();
            for turn in 0..60 {
                // Any, short ones, and those that rules with values match.
                let place = match turn % 3 {
                    0 => random.below(universe.len()),
                    1 => short[random.below(short.len())],
                    _ if own.is_empty() => continue,
                    _ => own[random.below(own.len())],
                };
                let uri = &universe[place];
                let verdict = rules.decide(action, uri, Exact, &subject);
                let never = [Action::Publish, Action::Register].contains(&action) && is_reserved(uri);
                let decides = twin.decides(place).filter(|_| !never);
                assert_eq!(verdict.rule(), decides, "{uri} {action:?} {subject:?} {written:?}");
                assert_eq!(verdict.allowed, !never && twin.allows(place), "{uri} {subject:?} {written:?}");
                let cases = rules.cases(action, uri);
                let own = cases.iter().find(|case| case.whose.includes(uri, &subject)).unwrap();
                let told = (own.allowed, own.disclosed);
                assert_eq!(told, (verdict.allowed, verdict.disclosed), "{uri} {subject:?} {written:?}");
                several += usize::from(cases.len() > 1);
                others += usize::from(cases.len() > 1 && !own.whose.everybody());
            }
            for _ in 0..40 {
                let (pattern, policy) = draw_pattern(&mut random, &["", "a", "1"]);
                let asked = [Action::Register, Action::Subscribe].contains(&action);
                if !asked || !UriCheck::Loose.pattern(&pattern, policy) {
                    continue;
                }
                let verdict = rules.decide(action, &pattern, policy, &subject);
                let expected = twin.allows_pattern(&pattern, policy);
                assert_eq!(
                    verdict.allowed, expected,
                    "{pattern:?} {policy:?} {verdict:?} {subject:?} {written:?}"
                );
                match verdict.ground {
                    Ground::Inside(_) => inside += 1,
                    _ if verdict.allowed => allowed += 1,
                    _ => refused += 1,
                }
            }
        }
        assert!(allowed > 200 && inside > 40 && refused > 200, "{allowed} {inside} {refused}");
        assert!(several > 200 && others > 100, "{several} {others}");
    }
}
