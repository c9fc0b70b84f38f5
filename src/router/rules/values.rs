//! Values of a session inside of a rule: `com.example.{authid}.inbox`.
//!
//! Invariant: whatever a session's values are, a rule for the session has the shape it was written with. A value stands
//! for exactly one component; one that is none (empty, with a dot, white space or `#`) makes the rule be about nothing.
//! A value is compared as text and never read as a pattern: `*` and `{authrole}` are components like others.
//!
//! So a denial should not hang on a value: a session whose authid is no component is not refused by it, but by what
//! else there is.
//!
//! And so a URI says by itself which rules with values may match it, and for whom: for sessions whose values are the
//! components that stand where the values are written. How long the rule's text is then is known as well, hence which
//! rule is preferred. So the answers about a URI are as few as the rules that may match it, however many sessions ask.

use std::cmp::Reverse;
use std::ops::Range;

use super::rule::{Action, Rule};
use crate::router::pattern::Shape;
use crate::wamp::uri::components;
use crate::wamp::{MatchPolicy, SessionId, UriCheck};

/// Who asks: what authorization calls the subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject<'a> {
    /// The name it has joined under.
    pub authid: &'a str,
    /// Its role's name.
    pub authrole: &'a str,
    /// Its session.
    pub session: SessionId,
    /// The realm it is in.
    pub realm: &'a str,
}

/// A character that stands in no rule and in no value that is used: a text that has it where a pattern leaves open what
/// stands there meets the rules that are about everything inside the pattern, and no others.
pub(super) const FRESH: char = '\u{10ffff}';

/// What may stand between braces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SessionValue {
    Authid,
    Authrole,
    Session,
    Realm,
}

impl SessionValue {
    /// The value a component of a rule stands for, if it is one in braces.
    pub(super) fn of(component: &str) -> Option<SessionValue> {
        match component {
            "{authid}" => Some(SessionValue::Authid),
            "{authrole}" => Some(SessionValue::Authrole),
            "{session}" => Some(SessionValue::Session),
            "{realm}" => Some(SessionValue::Realm),
            _ => None,
        }
    }

    /// True if some session's value is this component.
    fn may_be(self, component: &str) -> bool {
        let number = |text: &str| text.parse().is_ok_and(|id: u64| itoa::Buffer::new().format(id) == text);
        UriCheck::Loose.uri(component)
            && !component.contains(FRESH)
            && (self != SessionValue::Session || number(component))
    }

    /// True if it is that of the session.
    fn is(self, component: &str, subject: &Subject<'_>) -> bool {
        match self {
            SessionValue::Authid => subject.authid == component,
            SessionValue::Authrole => subject.authrole == component,
            SessionValue::Realm => subject.realm == component,
            SessionValue::Session => itoa::Buffer::new().format(subject.session.0) == component,
        }
    }

    /// Writes it behind `text`; false if it is not one component.
    fn push(self, subject: &Subject<'_>, text: &mut String) -> bool {
        let value = match self {
            SessionValue::Authid => subject.authid,
            SessionValue::Authrole => subject.authrole,
            SessionValue::Realm => subject.realm,
            SessionValue::Session => {
                text.push_str(itoa::Buffer::new().format(subject.session.0));
                return true;
            }
        };
        text.push_str(value);
        UriCheck::Loose.uri(value) && !value.contains(['.', FRESH])
    }
}

/// Writes the text that a rule has for a session; false if it is about nothing then.
pub(super) fn expand(uri: &str, subject: &Subject<'_>, text: &mut String) -> bool {
    text.clear();
    for (place, component) in components(uri).enumerate() {
        if place > 0 {
            text.push('.');
        }
        match SessionValue::of(component) {
            Some(value) if !value.push(subject, text) => return false,
            Some(_) => {}
            None => text.push_str(component),
        }
    }
    true
}

/// The order of rules that match one URI: the smaller decides. It is the one in which the dealer prefers registrations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Preference(MatchPolicy, Reverse<usize>, Shape);

impl Preference {
    /// That of a rule, or of what it is for a session.
    pub(super) fn of(uri: &str, policy: MatchPolicy) -> Preference {
        let bytes = if policy == MatchPolicy::Prefix { uri.len() } else { 0 };
        Preference(policy, Reverse(bytes), Shape::of(uri, policy).expect("rules have few components"))
    }
}

/// Some sessions, by a URI: those whose values are what stands there.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Whose(Box<[(SessionValue, Range<usize>)]>);

impl Whose {
    /// True if it is every session.
    #[inline]
    pub fn everybody(&self) -> bool {
        self.0.is_empty()
    }

    /// True if this session is among them. The URI is the one that it was made for.
    #[inline]
    pub fn includes(&self, uri: &str, subject: &Subject<'_>) -> bool {
        self.everybody() || self.names(uri, subject)
    }

    fn names(&self, uri: &str, subject: &Subject<'_>) -> bool {
        let is = |value: SessionValue, place: &Range<usize>| {
            uri.get(place.clone()).is_some_and(|component| value.is(component, subject))
        };
        self.0.iter().all(|(value, place)| is(*value, place))
    }
}

/// A rule that matches a URI: its preference; whether it allows what is asked; its index in the role's list. The
/// smallest decides. If several have the same text, one that refuses does: nobody gains by having the name of a role.
pub(super) type Candidate = (Preference, bool, usize);

/// The rules of a role with values: their indices in its list. There are few of them, so all are looked at.
#[derive(Debug, Default)]
pub(super) struct ValueRules(Vec<usize>);

impl ValueRules {
    pub(super) fn new(rules: &[Rule]) -> ValueRules {
        ValueRules((0..rules.len()).filter(|&index| rules[index].has_values()).collect())
    }

    /// The one that decides about a URI among these, and how it compares to others; prefixes alone, if that is asked
    /// for.
    pub(super) fn deciding(
        &self,
        rules: &[Rule],
        (action, uri): (Action, &str),
        prefixes_only: bool,
        subject: &Subject<'_>,
    ) -> Option<(Preference, usize)> {
        let asked = |index: &usize| !prefixes_only || rules[*index].policy == MatchPolicy::Prefix;
        let candidates = self.0.iter().copied().filter(asked).filter_map(|index| {
            candidate(rules, index, (action, uri), |value, place| value.is(&uri[place], subject))
        });
        candidates.min().map(|(preference, _, index)| (preference, index))
    }

    /// All that match a URI for some session, and for which; those that decide before others come first.
    pub(super) fn cases(&self, rules: &[Rule], asked: (Action, &str)) -> Vec<(Candidate, Whose)> {
        let case = |&index: &usize| {
            let mut whose = Vec::new();
            let candidate = candidate(rules, index, asked, |value, place| {
                whose.push((value, place));
                true
            });
            Some((candidate?, Whose(whose.into())))
        };
        let mut cases: Vec<_> = self.0.iter().filter_map(case).collect();
        cases.sort_by_key(|(candidate, _)| *candidate);
        cases
    }
}

/// A rule with values as one that matches a URI, if it does with the values that `value` takes.
fn candidate(
    rules: &[Rule],
    index: usize,
    (action, uri): (Action, &str),
    value: impl FnMut(SessionValue, Range<usize>) -> bool,
) -> Option<Candidate> {
    let rule = &rules[index];
    let bytes = fit(rule, uri, value)?;
    // Its text for the session, or what has the same shape.
    let text = if rule.policy == MatchPolicy::Prefix { &uri[..bytes] } else { &rule.uri };
    Some((Preference::of(text, rule.policy), rule.allow.contains(action), index))
}

/// How many octets of a URI a rule's text has for sessions whose values are what stands there; none if it matches for
/// no session. `value` is asked about every value and its place, and none as well if that says no.
fn fit(rule: &Rule, uri: &str, mut value: impl FnMut(SessionValue, Range<usize>) -> bool) -> Option<usize> {
    let (mut written, mut standing) = (components(&rule.uri).peekable(), components(uri));
    let mut begin = 0;
    while let Some(wanted) = written.next() {
        let component = standing.next()?;
        // A prefix ends with the beginning of a component, which is no value.
        if rule.policy == MatchPolicy::Prefix && written.peek().is_none() {
            return component.starts_with(wanted).then_some(begin + wanted.len());
        }
        let end = begin + component.len();
        let fits = match SessionValue::of(wanted) {
            Some(of) => of.may_be(component) && value(of, begin..end),
            None => wanted == component || (wanted.is_empty() && rule.policy == MatchPolicy::Wildcard),
        };
        if !fits {
            return None;
        }
        begin = end + 1;
    }
    standing.next().is_none().then_some(uri.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(authid: &str) -> Subject<'_> {
        Subject { authid, authrole: "backend", session: SessionId(7), realm: "realm1" }
    }

    #[test]
    fn values_are_written_where_they_stand() {
        let mut text = String::new();
        assert!(expand("a.{authid}..{session}.{realm}.{authrole}", &subject("alice"), &mut text));
        assert_eq!(text, "a.alice..7.realm1.backend");
    }

    #[test]
    fn what_is_not_one_component_is_nothing() {
        let mut text = String::new();
        for authid in ["", ".", "a.b", ".a", "a.", "a b", "a#", "\t", "\u{10ffff}", "a\u{2003}"] {
            assert!(!expand("a.{authid}.b", &subject(authid), &mut text), "{authid:?}");
        }
        for authid in ["*", "{authrole}", "a*", "ä", "wamp", "{", "%2e"] {
            assert!(expand("a.{authid}.b", &subject(authid), &mut text), "{authid:?}");
            assert_eq!(text, format!("a.{authid}.b"));
        }
    }

    #[test]
    fn the_shape_never_depends_on_the_value() {
        let mut text = String::new();
        for uri in ["a.{authid}", "a.{authid}.", "a..{authid}.b."] {
            for authid in ["alice", "", "*", "a.b", "..", "{realm}", "x y"] {
                if expand(uri, &subject(authid), &mut text) {
                    let shape = |uri| Shape::of(uri, MatchPolicy::Wildcard);
                    assert_eq!(shape(&text), shape(uri), "{uri} {authid:?}");
                }
            }
        }
    }

    #[test]
    fn preference_is_exact_then_longest_then_leftmost_literal() {
        use MatchPolicy::{Exact, Prefix, Wildcard};
        let order = [
            ("a.b.c", Exact),
            ("a.b.", Prefix),
            ("a.b", Prefix),
            ("", Prefix),
            ("a.b.", Wildcard),
            ("a..c", Wildcard),
            ("a..", Wildcard),
            (".b.c", Wildcard),
            ("..", Wildcard),
        ];
        let preferences = order.map(|(uri, policy)| Preference::of(uri, policy));
        assert!(preferences.is_sorted_by(|one, other| one < other), "{preferences:?}");
    }

    #[test]
    fn a_rule_fits_where_its_text_matches_for_some_session() {
        use MatchPolicy::{Exact, Prefix, Wildcard};
        for (written, policy, uri, expected) in [
            ("com.{authid}.inbox", Exact, "com.alice.inbox", Some((15, &["alice"][..]))),
            ("com.{authid}.inbox", Exact, "com.{authid}.inbox", Some((18, &["{authid}"]))),
            ("com.{authid}.inbox", Exact, "com.alice", None),
            ("com.{authid}.inbox", Exact, "com.alice.inbox.x", None),
            ("com.{authid}.inbox", Exact, "com.alice.outbox", None),
            ("com.{authid}.inbox", Exact, "com..inbox", None),
            ("com.{authid}.inbox", Exact, "com.a b.inbox", None),
            ("com.{authid}.inbox", Exact, "com.\u{10ffff}.inbox", None),
            ("com.{authid}.", Prefix, "com.alice", None),
            ("com.{authid}.", Prefix, "com.alice.", Some((10, &["alice"]))),
            ("com.{authid}.", Prefix, "com.alice.x.y", Some((10, &["alice"]))),
            ("com.{authid}.x", Prefix, "com.alice.xy.z", Some((11, &["alice"]))),
            ("com.{authid}.x", Prefix, "com.alice.y", None),
            ("com.{authid}..{realm}", Wildcard, "com.\u{f6}.x.r", Some((10, &["\u{f6}", "r"]))),
            ("com.{authid}..{realm}", Wildcard, "com.a.x", None),
            ("com.{session}", Exact, "com.7", Some((5, &["7"]))),
            ("com.{session}", Exact, "com.07", None),
            ("com.{session}", Exact, "com.+7", None),
            ("com.{session}", Exact, "com.x", None),
        ] {
            let rule = Rule::new(written, policy, crate::router::rules::Actions::ALL);
            let mut standing = Vec::new();
            let bytes = fit(&rule, uri, |_, place| {
                standing.push(&uri[place]);
                true
            });
            assert_eq!(bytes.map(|bytes| (bytes, &standing[..])), expected, "{written} {uri}");
        }
    }
}
