//! One rule as an operator writes it: which URIs it is about, what it allows, and every mistake that can be made in it.
//!
//! A rule that has passed [`Rule::check`] is about some URI that can exist, and nothing in it means less than it seems
//! to. Whether two rules get on is [`Rules::new`](super::Rules::new)'s; what a session's value is worth,
//! [`values`](super::values)'.

use std::fmt;

use super::values::{FRESH, SessionValue};
use crate::router::pattern::WILDCARD_COMPONENTS_MAX;
use crate::wamp::uri::{components, reserved};
use crate::wamp::{MatchPolicy, UriCheck};

/// What a session does with a URI (advanced profile, "Authorization").
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Action {
    /// CALL.
    Call,
    /// REGISTER.
    Register,
    /// PUBLISH, and a testament, which is published in the session's name.
    Publish,
    /// SUBSCRIBE.
    Subscribe,
}

impl Action {
    /// All of them, in the order in which they are listed for people.
    pub const ALL: [Action; 4] = [Action::Call, Action::Register, Action::Publish, Action::Subscribe];

    /// The action of that name, as authorizers and configurations write it.
    pub fn from_name(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Action::Call => "call",
            Action::Register => "register",
            Action::Publish => "publish",
            Action::Subscribe => "subscribe",
        }
    }
}

/// A set of actions. As text it is their names, or `nothing`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Actions(u8);

impl Actions {
    /// No action: such a rule refuses.
    pub const NONE: Actions = Actions(0);
    /// Every action.
    pub const ALL: Actions = Actions(0b1111);

    /// This set and one more.
    pub fn with(self, action: Action) -> Actions {
        Actions(self.0 | 1 << action as u8)
    }

    /// True if the action is in it.
    pub fn contains(self, action: Action) -> bool {
        self.0 & 1 << action as u8 != 0
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Actions {
        actions.into_iter().fold(Actions::NONE, Actions::with)
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for action in Action::ALL.into_iter().filter(|action| self.contains(*action)) {
            write!(formatter, "{before}{}", action.name())?;
            before = ", ";
        }
        if before.is_empty() { formatter.write_str("nothing") } else { Ok(()) }
    }
}

/// Which URIs, and what is allowed there. As text it is the policy and the URI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The URI or pattern. A component may be a value of the session: `{authid}`, `{authrole}`, `{session}`, `{realm}`.
    pub uri: String,
    /// How it is matched.
    pub policy: MatchPolicy,
    /// What is allowed; everything else is refused where this rule decides.
    pub allow: Actions,
    /// Callees are told who calls, whether the caller asks for it or not.
    pub disclose_caller: bool,
    /// Subscribers are told who publishes, whether the publisher asks for it or not.
    pub disclose_publisher: bool,
}

impl Rule {
    /// A rule that discloses nobody.
    pub fn new(uri: &str, policy: MatchPolicy, allow: Actions) -> Rule {
        Rule { uri: uri.to_owned(), policy, allow, disclose_caller: false, disclose_publisher: false }
    }

    /// URI and policy of a text in Crossbar.io's notation: without a star it is exact, with one at the very end a
    /// prefix, and stars elsewhere make a wildcard, each standing for one component. `*` alone is the prefix of
    /// everything.
    ///
    /// Crossbar.io also takes a star inside a component, and drops it: `com.a*.b` is `com.a.b` there, which nobody
    /// means who writes it. Here it is refused.
    pub fn read_stars(text: &str) -> Result<(String, MatchPolicy), RuleProblem> {
        let (head, stars) = (text.strip_suffix('*'), text.bytes().filter(|&octet| octet == b'*').count());
        match head {
            None if stars == 0 => Ok((text.to_owned(), MatchPolicy::Exact)),
            Some(head) if stars == 1 => Ok((head.to_owned(), MatchPolicy::Prefix)),
            _ if components(text).all(|component| component == "*" || !component.contains('*')) => {
                Ok((text.replace('*', ""), MatchPolicy::Wildcard))
            }
            _ => Err(RuleProblem::StarInComponent),
        }
    }

    /// The first mistake of the rule, for itself.
    pub fn check(&self) -> Result<(), RuleProblem> {
        let Rule { uri, policy, .. } = self;
        let pattern = UriCheck::Loose.pattern(uri, MatchPolicy::Wildcard);
        if !pattern || uri.contains(|character: char| character == FRESH || character.is_control()) {
            return Err(RuleProblem::Character);
        }
        if uri.contains('*') {
            return Err(RuleProblem::Star);
        }
        self.check_components()?;
        self.check_values()?;
        let never = [Action::Register, Action::Publish].map(|action| self.allow.contains(action));
        if names_reserved(uri, *policy) && never.contains(&true) {
            return Err(RuleProblem::Reserved);
        }
        Ok(())
    }

    /// No URI has an empty component, so only a wildcard has any, or a prefix at its end.
    fn check_components(&self) -> Result<(), RuleProblem> {
        let whole = match self.policy {
            MatchPolicy::Exact if self.uri.is_empty() => return Err(RuleProblem::Empty),
            MatchPolicy::Exact => &self.uri,
            MatchPolicy::Prefix => self.uri.rsplit_once('.').map_or("a", |(whole, _)| whole),
            MatchPolicy::Wildcard if components(&self.uri).count() > WILDCARD_COMPONENTS_MAX => {
                return Err(RuleProblem::TooManyComponents);
            }
            MatchPolicy::Wildcard => return Ok(()),
        };
        let empty = components(whole).any(str::is_empty);
        if empty { Err(RuleProblem::EmptyComponent) } else { Ok(()) }
    }

    /// A value is a whole component, below one that the operator has written.
    fn check_values(&self) -> Result<(), RuleProblem> {
        if !self.has_values() {
            return Ok(());
        }
        for component in components(&self.uri).filter(|component| component.contains(['{', '}'])) {
            SessionValue::of(component).ok_or(RuleProblem::Value)?;
        }
        let first = components(&self.uri).next().unwrap_or("");
        if first.is_empty() || first.contains('{') {
            return Err(RuleProblem::ValueFirst);
        }
        if self.policy == MatchPolicy::Prefix && self.uri.ends_with('}') {
            return Err(RuleProblem::ValueLast);
        }
        if first == "wamp" { Err(RuleProblem::ValueReserved) } else { Ok(()) }
    }

    /// True if some of it depends on the session.
    pub(super) fn has_values(&self) -> bool {
        self.uri.contains(['{', '}'])
    }

    /// True if receivers are told who has done this, whatever the sender asks for.
    pub(super) fn discloses(&self, action: Action) -> bool {
        match action {
            Action::Call => self.disclose_caller,
            Action::Publish => self.disclose_publisher,
            Action::Register | Action::Subscribe => false,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} `{}`", self.policy.name(), self.uri)
    }
}

/// True if everything inside the pattern begins with the reserved component.
pub(super) fn names_reserved(uri: &str, policy: MatchPolicy) -> bool {
    match policy {
        MatchPolicy::Prefix => uri.starts_with("wamp."),
        MatchPolicy::Exact | MatchPolicy::Wildcard => reserved(uri),
    }
}

/// A rule that cannot be kept, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleError {
    /// Its index in the list.
    pub index: usize,
    /// Its URI.
    pub uri: String,
    /// What is wrong.
    pub problem: RuleProblem,
}

impl fmt::Display for RuleError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "rule {}, `{}`: {}", self.index + 1, self.uri, self.problem)
    }
}

impl std::error::Error for RuleError {}

/// What is wrong with a rule. As text it says what to write instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleProblem {
    /// The rule of this index has the same URI and policy.
    Duplicate(usize),
    /// White space, `#`, a control character, or the one that no URI has.
    Character,
    /// An exact rule without a URI.
    Empty,
    /// An empty component where no URI has one.
    EmptyComponent,
    /// A wildcard of more than [`WILDCARD_COMPONENTS_MAX`] components.
    TooManyComponents,
    /// A star, which means itself beside a policy.
    Star,
    /// In star notation, a star that is neither a component nor the end.
    StarInComponent,
    /// A brace that is not around the name of a session's value, and all of a component.
    Value,
    /// Session's values without a component of the operator's own before them.
    ValueFirst,
    /// A prefix that ends with a session's value.
    ValueLast,
    /// A session's value below `wamp.`.
    ValueReserved,
    /// `register` or `publish` below `wamp.`.
    Reserved,
}

impl fmt::Display for RuleProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            RuleProblem::Duplicate(first) => {
                return write!(formatter, "rule {} has the same URI and match; join them", first + 1);
            }
            RuleProblem::Character => "URIs hold no white space, no `#` and no control characters",
            RuleProblem::Empty => "an exact rule needs a URI; for every URI write match = \"prefix\"",
            RuleProblem::EmptyComponent => {
                "no URI has an empty component; for any one component write match = \"wildcard\""
            }
            RuleProblem::TooManyComponents => "a wildcard has 64 components at most",
            RuleProblem::Star => {
                "beside a match a star means itself; leave the component empty for a wildcard, end before the star \
                 for a prefix"
            }
            RuleProblem::StarInComponent => "a star stands for one whole component, or once at the very end",
            RuleProblem::Value => {
                "braces stand around all of a component, which is {authid}, {authrole}, {session} or {realm}"
            }
            RuleProblem::ValueFirst => {
                "values of the session stand behind a component of your own, as in com.{authid}: else a session could \
                 choose whose URIs it gets"
            }
            RuleProblem::ValueLast => {
                "end the prefix with a dot: without one, the rule for `al` would be one for `alice` as well"
            }
            RuleProblem::ValueReserved => "URIs that begin with wamp. hold no value of a session",
            RuleProblem::Reserved => "nobody may register or publish below wamp.; leave these actions out",
        };
        formatter.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use MatchPolicy::{Exact, Prefix, Wildcard};

    use super::*;

    #[test]
    fn stars_are_read_as_crossbar_reads_them() {
        for (text, uri, policy) in [
            ("com.example.add", "com.example.add", Exact),
            ("com.example.*", "com.example.", Prefix),
            ("com.exam*", "com.exam", Prefix),
            ("*", "", Prefix),
            ("com.*.add", "com..add", Wildcard),
            ("*.add", ".add", Wildcard),
            ("com.*.*", "com..", Wildcard),
            ("*.*", ".", Wildcard),
            ("", "", Exact),
        ] {
            assert_eq!(Rule::read_stars(text), Ok((uri.to_owned(), policy)), "{text}");
        }
        for text in ["com.a*.b", "com.**", "com.*a", "com.*.b*", "a*b"] {
            assert_eq!(Rule::read_stars(text), Err(RuleProblem::StarInComponent), "{text}");
        }
    }

    #[test]
    fn a_rule_is_about_uris_that_can_be() {
        for (uri, policy) in [
            ("a", Exact),
            ("com.Größe.x-y", Exact),
            ("", Prefix),
            ("com", Prefix),
            ("com.", Prefix),
            ("com.a.b", Prefix),
            ("", Wildcard),
            (".", Wildcard),
            ("com..b", Wildcard),
            ("com.{authid}", Exact),
            ("com.{authid}.", Prefix),
            ("com.{session}.x", Prefix),
            ("com.{realm}..{authrole}", Wildcard),
        ] {
            assert_eq!(Rule::new(uri, policy, Actions::ALL).check(), Ok(()), "{uri}");
        }
    }

    #[test]
    fn every_mistake_is_named() {
        let wide = ".".repeat(WILDCARD_COMPONENTS_MAX);
        for (uri, policy, problem) in [
            ("a b", Exact, RuleProblem::Character),
            ("a#", Prefix, RuleProblem::Character),
            ("a.\u{7f}", Exact, RuleProblem::Character),
            ("a.\u{10ffff}", Wildcard, RuleProblem::Character),
            ("", Exact, RuleProblem::Empty),
            ("a..b", Exact, RuleProblem::EmptyComponent),
            ("a.", Exact, RuleProblem::EmptyComponent),
            (".", Prefix, RuleProblem::EmptyComponent),
            (".a", Prefix, RuleProblem::EmptyComponent),
            ("a..", Prefix, RuleProblem::EmptyComponent),
            ("a..b", Prefix, RuleProblem::EmptyComponent),
            (&wide, Wildcard, RuleProblem::TooManyComponents),
            ("a.*", Prefix, RuleProblem::Star),
            ("a.*.b", Wildcard, RuleProblem::Star),
            ("a.{user}", Exact, RuleProblem::Value),
            ("a.x{authid}", Exact, RuleProblem::Value),
            ("a.{authid}{realm}", Exact, RuleProblem::Value),
            ("a.{authid", Exact, RuleProblem::Value),
            ("a.}", Exact, RuleProblem::Value),
            ("{authid}.a", Exact, RuleProblem::ValueFirst),
            ("{realm}.", Prefix, RuleProblem::ValueFirst),
            (".{authid}", Wildcard, RuleProblem::ValueFirst),
            ("a.{authid}", Prefix, RuleProblem::ValueLast),
            ("wamp.{authid}", Exact, RuleProblem::ValueReserved),
            ("wamp.a", Exact, RuleProblem::Reserved),
            ("wamp.", Prefix, RuleProblem::Reserved),
            ("wamp..a", Wildcard, RuleProblem::Reserved),
        ] {
            assert_eq!(Rule::new(uri, policy, Actions::ALL).check(), Err(problem), "{uri}");
        }
        let telling = [Action::Call, Action::Subscribe].into_iter().collect();
        assert_eq!(Rule::new("wamp.", Prefix, telling).check(), Ok(()));
        assert_eq!(Rule::new("wamp", Prefix, Actions::ALL).check(), Ok(()), "it is about wampum as well");
    }

    #[test]
    fn actions_are_a_set_with_names() {
        for action in Action::ALL {
            assert_eq!(Action::from_name(action.name()), Some(action));
            assert!(Actions::ALL.contains(action) && !Actions::NONE.contains(action));
            assert!(Actions::NONE.with(action).contains(action));
        }
        assert_eq!(Action::from_name("Call"), None);
        assert_eq!(Action::ALL.into_iter().collect::<Actions>(), Actions::ALL);
        assert_eq!(Actions::NONE.with(Action::Publish).with(Action::Call).to_string(), "call, publish");
        assert_eq!(Actions::NONE.to_string(), "nothing");
    }

    #[test]
    fn an_error_says_where_and_what_to_write() {
        let error = RuleError { index: 2, uri: "a".to_owned(), problem: RuleProblem::Duplicate(0) };
        assert_eq!(error.to_string(), "rule 3, `a`: rule 1 has the same URI and match; join them");
        let error = RuleError { index: 0, uri: "a.{authid}".to_owned(), problem: RuleProblem::ValueLast };
        assert!(error.to_string().contains("end the prefix with a dot"));
    }
}
