//! `fanwire check --may`: whether a role of a file may do something, and what decides.

use std::path::Path;

use super::check::unknown;
use super::convert::rules::rules;
use super::file::{self, File, Realm, Role};
use super::reader::{Mistake, Surroundings};
use crate::router::pattern::matches;
use crate::router::rules::{Action, Subject, changes_others, is_procedure};
use crate::wamp::{MatchPolicy, SessionId, uri};

/// What somebody wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct May<'a> {
    /// Where; none: in the one realm that has the role.
    pub realm: Option<&'a str>,
    /// Of whom.
    pub role: &'a str,
    /// What the session of that name would do; rules about `{authid}` are about nobody without one.
    pub authid: &'a str,
    /// Its identifier; rules about `{session}` are about nobody without one.
    pub session: Option<u64>,
    /// What it is.
    pub action: Action,
    /// With what.
    pub uri: &'a str,
    /// How that is matched.
    pub policy: MatchPolicy,
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explained {
    /// The role may; none if the file does not say.
    pub allowed: Option<bool>,
    /// Why, as a sentence.
    pub text: String,
    /// The line of the file where that is said.
    pub line: Option<usize>,
}

/// Answers; a sentence if the question is about nothing in the file, and its mistakes if it has some.
pub fn may(
    text: &str,
    base: &Path,
    surroundings: &dyn Surroundings,
    question: &May<'_>,
) -> Result<Result<Explained, String>, Vec<Mistake>> {
    file::with_reader(text, base, surroundings, |file, reader| {
        let (realm, place) = found(&file, question)?;
        let (allowed, text, rule) = decided(&file, realm, place, question);
        let key = rule.map_or(String::new(), |rule| format!(".rule[{rule}]"));
        let said = reader.placed(&format!("realm[{realm}].role[{place}]{key}"), "");
        // What no file says, the router says without one.
        let line = Some(said.line).filter(|line| *line > 0);
        Ok(Explained { allowed, text, line })
    })
}

/// The indices of realm and role.
fn found(file: &File, question: &May<'_>) -> Result<(usize, usize), String> {
    let role_of = |realm: &Realm| realm.roles.iter().position(|role| role.name == question.role);
    let Some(name) = question.realm else {
        let realms = file.realms.iter().enumerate();
        let all: Vec<_> =
            realms.filter_map(|(index, realm)| Some((index, role_of(realm)?, &realm.name))).collect();
        return match &all[..] {
            [(realm, role, _)] => Ok((*realm, *role)),
            [] => {
                let names = file.realms.iter().flat_map(|realm| &realm.roles).map(|role| role.name.as_str());
                Err(unknown("role", question.role, names))
            }
            _ => {
                let names: Vec<_> = all.iter().map(|(.., name)| name.as_str()).collect();
                Err(format!(
                    "several realms have a role {}; write --realm {}",
                    question.role,
                    names.join(" or ")
                ))
            }
        };
    };
    let named = file.realms.iter().position(|realm| realm.name == name);
    let made_of = |realm: &Realm| realm.template && matches(&realm.name, realm.policy, name);
    let realm = named.or_else(|| file.realms.iter().position(made_of));
    let realm =
        realm.ok_or_else(|| unknown("realm", name, file.realms.iter().map(|realm| realm.name.as_str())))?;
    let roles = &file.realms[realm].roles;
    let role = role_of(&file.realms[realm])
        .ok_or_else(|| unknown("role", question.role, roles.iter().map(|role| role.name.as_str())))?;
    Ok((realm, role))
}

/// The answer, why, and the rule it rests on.
fn decided(
    file: &File,
    realm: usize,
    place: usize,
    question: &May<'_>,
) -> (Option<bool>, String, Option<usize>) {
    let realm = &file.realms[realm];
    let refused = |text: String| (Some(false), format!("Refused: {text}"), None);
    let role: &Role = &realm.roles[place];
    let &May { action, uri, policy, .. } = question;
    let patterns = matches!(action, Action::Register | Action::Subscribe);
    let valid = if patterns { realm.uri_check.pattern(uri, policy) } else { realm.uri_check.uri(uri) };
    if !valid {
        return refused(format!("`{uri}` is not valid in this realm."));
    }
    if uri.len() > file.limits.uri_bytes_max {
        return refused(format!("`{uri}` is longer than uri_bytes_max."));
    }
    if matches!(action, Action::Register | Action::Publish) && uri::reserved(uri) {
        return refused(format!("nobody may {} what begins with wamp.", action.name()));
    }
    if action == Action::Call && uri::reserved(uri) && !is_procedure(uri) {
        return refused(format!("the router has no procedure `{uri}`, and nobody else can have it."));
    }
    if action == Action::Call && changes_others(uri) && !role.administers {
        return refused(format!("`{uri}` changes what is others', so the role needs administers = true."));
    }
    if let Some(authorizer) = &role.authorizer {
        let text = format!("Not known: {} is asked when it is done.", authorizer.procedure);
        return (None, text, None);
    }
    if role.everything {
        return (Some(true), "Allowed: the role may do everything.".to_owned(), None);
    }
    let rules = rules(role);
    let name = question.realm.unwrap_or(&realm.name);
    // No session has the identifier 0.
    let session = SessionId(question.session.unwrap_or(0));
    let subject = Subject { authid: question.authid, authrole: &role.name, session, realm: name };
    let verdict = rules.decide(action, uri, policy, &subject);
    (Some(verdict.allowed), rules.explain(action, uri, policy, &subject), verdict.rule())
}
