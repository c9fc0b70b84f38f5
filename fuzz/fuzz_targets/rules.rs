//! Any rules, any names, any question: nothing panics, the rule that decides is the one a naive reader finds, and a
//! pattern that is allowed has no URI inside that is refused.

#![no_main]

use fanwire::router::pattern::matches;
use fanwire::router::rules::{Action, Actions, Rule, Rules, Subject};
use fanwire::wamp::{MatchPolicy, SessionId, UriCheck};
use libfuzzer_sys::fuzz_target;

// The first line is the authid. A line that begins with `r` is a rule: an octet for its policy, one for its actions, its
// URI. Any other is a question: an octet for the policy, one for the action, the URI.
fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let authid = lines.next().unwrap_or("");
    let subject = Subject { authid, authrole: "role", session: SessionId(7), realm: "realm1" };
    let mut written: Vec<Rule> = Vec::new();
    let mut questions = Vec::new();
    for line in lines {
        if let Some((policy, letter, uri)) = line.strip_prefix('r').and_then(read) {
            let actions = Action::ALL.into_iter().filter(|action| letter & 1 << *action as u8 != 0);
            let _ = Rule::read_stars(uri);
            written.push(Rule::new(uri, policy, actions.collect()));
        } else if let Some((policy, letter, uri)) = read(line) {
            questions.push((policy, Action::ALL[usize::from(letter % 4)], uri));
        }
    }
    let mistaken = written.iter().any(|rule| rule.check().is_err());
    assert!(!mistaken || Rules::new(written.clone()).is_err());
    written.retain(|rule| rule.check().is_ok());
    written.sort_by(|one, other| (&one.uri, one.policy).cmp(&(&other.uri, other.policy)));
    written.dedup_by(|one, other| (&one.uri, one.policy) == (&other.uri, other.policy));
    let rules = Rules::new(written).expect("each is sound and no two are the same");
    for &(policy, action, uri) in &questions {
        ask(&rules, (policy, action, uri), &subject);
        if rules.decide(action, uri, policy, &subject).allowed && policy != MatchPolicy::Exact {
            let uris =
                questions.iter().map(|(_, _, uri)| *uri).chain(rules.rules().iter().map(|rule| &*rule.uri));
            uris.filter(|inside| UriCheck::Loose.uri(inside) && matches(uri, policy, inside))
                .filter(|inside| action == Action::Subscribe || !reserved(inside))
                .for_each(|inside| {
                    let verdict = rules.decide(action, inside, MatchPolicy::Exact, &subject);
                    assert!(verdict.allowed, "{inside:?} is inside of {uri:?}");
                });
        }
    }
});

fn read(line: &str) -> Option<(MatchPolicy, u8, &str)> {
    let policy = match line.bytes().next()? {
        b'e' => MatchPolicy::Exact,
        b'p' => MatchPolicy::Prefix,
        b'w' => MatchPolicy::Wildcard,
        _ => return None,
    };
    let letter = line.bytes().nth(1)?;
    Some((policy, letter, line.get(2..)?))
}

fn reserved(uri: &str) -> bool {
    uri.split('.').next() == Some("wamp")
}

/// What is asked exactly of URIs that are not reserved, against looking at every rule.
fn ask(rules: &Rules, (policy, action, uri): (MatchPolicy, Action, &str), subject: &Subject<'_>) {
    let verdict = rules.decide(action, uri, policy, subject);
    let explained = rules.explain(action, uri, policy, subject);
    assert_eq!(explained.starts_with("Allowed"), verdict.allowed);
    if policy != MatchPolicy::Exact || reserved(uri) {
        return;
    }
    let matching = rules.rules().iter().filter_map(|rule| {
        let text = own_text(rule, subject)?;
        matches(&text, rule.policy, uri).then(|| (order(rule, &text, action), rule.allow))
    });
    let decides = matching.min_by(|(one, _), (other, _)| one.cmp(other));
    let allowed = decides.map_or(Actions::NONE, |(_, allow)| allow).contains(action);
    assert_eq!(verdict.allowed, allowed, "{uri:?}");
    let cases = rules.cases(action, uri);
    let own = cases.iter().find(|case| case.whose.includes(uri, subject)).expect("the last is everybody's");
    assert_eq!((own.allowed, own.disclosed), (verdict.allowed, verdict.disclosed), "{uri:?}");
}

/// What a rule is for the session.
fn own_text(rule: &Rule, subject: &Subject<'_>) -> Option<String> {
    let one = UriCheck::Loose.uri(subject.authid) && !subject.authid.contains(['.', '\u{10ffff}']);
    let component = |component| match component {
        "{authid}" => one.then_some(subject.authid),
        "{authrole}" => Some(subject.authrole),
        "{session}" => Some("7"),
        "{realm}" => Some(subject.realm),
        literal => Some(literal),
    };
    let components: Option<Vec<_>> = rule.uri.split('.').map(component).collect();
    components.map(|components| components.join("."))
}

/// Exact, longest prefix, wildcards with a literal component at the first difference; then rules without values, and
/// those that refuse.
fn order(rule: &Rule, text: &str, action: Action) -> impl Ord + use<> {
    let bytes = if rule.policy == MatchPolicy::Prefix { text.len() } else { 0 };
    let empty: Vec<bool> = match rule.policy {
        MatchPolicy::Wildcard => text.split('.').map(str::is_empty).collect(),
        MatchPolicy::Exact | MatchPolicy::Prefix => Vec::new(),
    };
    (rule.policy, std::cmp::Reverse(bytes), empty, rule.uri.contains('{'), rule.allow.contains(action))
}
