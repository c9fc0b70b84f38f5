//! What a role may do, by the documented rule: the questions and answers of `tests/permissions.txt`, written by hand.

use fanwire::router::rules::{Action, Actions, Rule, Rules, Subject};
use fanwire::wamp::{MatchPolicy, SessionId};

const QUESTIONS: &str = include_str!("../permissions.txt");

/// A list of rules, until the next one begins.
#[derive(Default)]
struct List {
    about: &'static str,
    written: Vec<Rule>,
    compiled: Option<Rules>,
}

fn subject(words: &[&'static str]) -> Subject<'static> {
    let &[authid, authrole, session, realm] = words else {
        panic!("authid, authrole, session, realm: {words:?}")
    };
    Subject { authid: text(authid), authrole, session: SessionId(session.parse().unwrap()), realm }
}

/// The empty text is written so that it can be seen.
fn text(word: &str) -> &str {
    if word == "<>" { "" } else { word }
}

fn rule(policy: MatchPolicy, uri: &str, actions: &[&str]) -> Rule {
    let known = |name: &&str| Action::from_name(name).unwrap_or_else(|| panic!("action {name}"));
    let allow: Actions = actions.iter().filter(|name| **name != "-").map(known).collect();
    Rule::new(text(uri), policy, allow)
}

impl List {
    /// Complains if the answer is another one than the table's.
    fn ask(&mut self, words: &[&'static str], subject: &Subject<'_>) -> Option<String> {
        let &[answer, action, policy, uri, decides] = words else { panic!("five words: {words:?}") };
        let written = &self.written;
        let rules = self.compiled.get_or_insert_with(|| {
            Rules::new(written.clone()).unwrap_or_else(|error| panic!("{}: {error}", self.about))
        });
        let (action, policy) = (Action::from_name(action).unwrap(), MatchPolicy::from_name(policy).unwrap());
        let verdict = rules.decide(action, text(uri), policy, subject);
        let decided = verdict.rule().map_or("-".to_owned(), |index| (index + 1).to_string());
        let explained = rules.explain(action, text(uri), policy, subject);
        assert_eq!(explained.starts_with("Allowed"), verdict.allowed, "{explained}");
        let right = verdict.allowed == (answer == "yes") && decided == decides;
        (!right).then(|| format!("{}: {}: {explained}", self.about, words.join(" ")))
    }
}

#[test]
fn every_permission_question_is_answered_as_documented() {
    let mut list = List::default();
    let mut who = subject(&["alice", "frontend", "42", "realm1"]);
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for line in QUESTIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&'static str> = line.split_whitespace().collect();
        match &*words {
            ["rules:", ..] => list = List { about: line, ..List::default() },
            ["as", words @ ..] => who = subject(words),
            ["yes" | "no", ..] => {
                asked += 1;
                wrong.extend(list.ask(&words, &who));
            }
            [policy, uri, actions @ ..] => {
                assert!(list.compiled.is_none(), "rules come before questions: {line}");
                let policy = MatchPolicy::from_name(policy).unwrap_or_else(|| panic!("{line}"));
                list.written.push(rule(policy, uri, actions));
            }
            [_] | [] => panic!("{line}"),
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(asked >= 200, "{asked} questions");
}
