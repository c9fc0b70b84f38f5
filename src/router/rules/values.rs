//! Values of a session inside of a rule: `com.example.{authid}.inbox`.
//!
//! Invariant: whatever a session's values are, a rule for the session has the shape it was written with. A value stands
//! for exactly one component; one that is none (empty, with a dot, white space or `#`) makes the rule be about nothing.
//! A value is compared as text and never read as a pattern: `*` and `{authrole}` are components like others.
//!
//! So a denial should not hang on a value: a session whose authid is no component is not refused by it, but by what
//! else there is.

use std::cmp::Reverse;

use super::rule::{Action, Rule};
use crate::router::pattern::{Shape, matches};
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

/// The rules of a role with values. There are few of them, so all are looked at.
#[derive(Debug, Default)]
pub(super) struct ValueRules {
    /// Indices in the role's list, and how much of the text comes before the first value.
    rules: Vec<(usize, usize)>,
}

impl ValueRules {
    pub(super) fn new(rules: &[Rule]) -> ValueRules {
        let with_values =
            rules.iter().enumerate().filter_map(|(index, rule)| Some((index, rule.uri.find('{')?)));
        ValueRules { rules: with_values.collect() }
    }

    /// False if none of them is about this URI, whatever the session's values are.
    pub(super) fn may_decide(&self, rules: &[Rule], uri: &str) -> bool {
        let may = |&(index, literal_bytes): &(usize, usize)| {
            may_match(&rules[index].uri[..literal_bytes], rules[index].policy, uri)
        };
        self.rules.iter().any(may)
    }

    /// The one that decides about a URI among these, and how it compares to others; prefixes alone, if that is asked
    /// for. If several have the same text for this session, one that refuses decides: nobody gains by having the name
    /// of a role.
    pub(super) fn deciding(
        &self,
        rules: &[Rule],
        (action, uri): (Action, &str),
        prefixes_only: bool,
        subject: &Subject<'_>,
    ) -> Option<(Preference, usize)> {
        let mut text = String::new();
        let mut decides: Option<(Preference, bool, usize)> = None;
        for &(index, literal_bytes) in &self.rules {
            let Rule { uri: written, policy, allow, .. } = &rules[index];
            if (prefixes_only && *policy != MatchPolicy::Prefix)
                || !may_match(&written[..literal_bytes], *policy, uri)
                || !expand(written, subject, &mut text)
                || !matches(&text, *policy, uri)
            {
                continue;
            }
            let candidate = (Preference::of(&text, *policy), allow.contains(action), index);
            if decides.is_none_or(|known| candidate < known) {
                decides = Some(candidate);
            }
        }
        decides.map(|(preference, _, index)| (preference, index))
    }
}

/// False if a rule that begins so cannot match, so that its text need not be made. A wildcard's beginning is looked at
/// up to its first empty component.
fn may_match(literal: &str, policy: MatchPolicy, uri: &str) -> bool {
    let sure = match policy {
        MatchPolicy::Wildcard => literal.split_once("..").map_or(literal, |(head, _)| head),
        MatchPolicy::Exact | MatchPolicy::Prefix => literal,
    };
    uri.starts_with(sure)
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
}
