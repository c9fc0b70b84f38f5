//! Permissions, and where they mean something else here.
//!
//! Crossbar.io keeps permissions by the text of their URI and takes the longest that a URI begins with, whatever its
//! policy; we take the exact one, then the longest prefix, then the wildcard. Where the two differ for a
//! configuration, that is told with the URIs concerned.

use serde_json::{Map, Value};

use super::Report;
use super::object::Object;
use super::write::Section;
use crate::router::pattern::matches;
use crate::router::rules::{Action, Ground, Rule, RuleProblem, Rules, Subject, changes_others, not_harmless};
use crate::wamp::{MatchPolicy, SessionId};

const ACTIONS: [&str; 4] = ["call", "register", "publish", "subscribe"];

/// A permission.
pub struct Permission {
    pub path: String,
    pub uri: String,
    pub policy: MatchPolicy,
    allow: Vec<&'static str>,
    disclose: Map<String, Value>,
}

impl Permission {
    pub fn section(&self) -> Section {
        let mut section = Section::new("[[realm.role.rule]]");
        section.set("uri", self.uri.as_str());
        section.set("match", self.policy.name());
        section.set("allow", self.allow.clone());
        section.optional("disclose", (!self.disclose.is_empty()).then(|| self.disclose.clone()));
        section
    }

    /// True if it allows to call a procedure that changes what is others'.
    pub fn administers(&self) -> bool {
        self.policy == MatchPolicy::Exact && self.allow.contains(&"call") && changes_others(&self.uri)
    }

    fn rule(&self) -> Rule {
        let allow = self.allow.iter().filter_map(|name| Action::from_name(name)).collect();
        Rule::new(&self.uri, self.policy, allow)
    }

    fn allows_the_same(&self, other: &Permission) -> bool {
        self.allow == other.allow
    }
}

/// Reads a permission.
pub fn read(mut object: Object, report: &Report) -> Option<Permission> {
    let Some(uri) = object.text("uri") else {
        object.drop_all("it has no uri");
        return None;
    };
    let said = object.text("match");
    let (uri, policy) = match said.as_deref().map(MatchPolicy::from_name) {
        Some(Some(policy)) => (uri, policy),
        Some(None) => {
            object.drop_all("there are exact, prefix and wildcard only");
            return None;
        }
        None => match Rule::read_stars(&uri) {
            Ok(read) => read,
            Err(problem) => {
                object.drop_all(&problem.to_string());
                return None;
            }
        },
    };
    let mut allow = Vec::new();
    if let Some(mut allowed) = object.object("allow") {
        allow = ACTIONS.into_iter().filter(|action| allowed.flag(action) == Some(true)).collect();
    }
    for action in ACTIONS {
        // The form of old files, which has the actions beside the URI.
        if object.flag(action) == Some(true) && !allow.contains(&action) {
            allow.push(action);
        }
    }
    let mut disclose = Map::new();
    if let Some(mut disclosed) = object.object("disclose") {
        for receiver in ["caller", "publisher"] {
            if disclosed.flag(receiver) == Some(true) {
                disclose.insert(receiver.to_owned(), Value::Bool(true));
            }
        }
    }
    object.drop(&[
        ("cache", "verdicts of rules are always cached"),
        ("validate", "payloads are not validated"),
    ]);
    if !can_be(&uri, policy, &mut allow, &mut object, report) {
        return None;
    }
    Some(Permission { path: object.path.clone(), uri, policy, allow, disclose })
}

/// True if it is a rule here. What nobody may do below `wamp.` is taken out of it.
fn can_be(
    uri: &str,
    policy: MatchPolicy,
    allow: &mut Vec<&'static str>,
    object: &mut Object,
    report: &Report,
) -> bool {
    let rule = |allow: &[&str]| {
        Rule::new(uri, policy, allow.iter().filter_map(|name| Action::from_name(name)).collect())
    };
    if rule(allow).check() == Err(RuleProblem::Reserved) {
        let never = ["register", "publish"];
        for action in never.into_iter().filter(|action| allow.contains(action)) {
            report.drop(&object.at(&format!("allow.{action}")), "nobody may do that below wamp.");
        }
        allow.retain(|action| !never.contains(action));
    }
    let Err(problem) = rule(allow).check() else { return true };
    object.drop_all(&format!("it cannot be a rule: {problem}"));
    false
}

/// Tells where the permissions of a role mean something else here.
pub fn warn_of_quirks(permissions: &[Permission], report: &Report) {
    for permission in permissions {
        warn_of_meta_procedures(permission, permissions, report);
        warn_of_refused_inside(permission, permissions, report);
        match permission.policy {
            MatchPolicy::Exact => warn_of_hidden_prefix(permission, permissions, report),
            MatchPolicy::Prefix => {}
            MatchPolicy::Wildcard => warn_of_wildcard(permission, permissions, report),
        }
    }
}

/// A permission that is about procedures of the router allows the harmless ones, unless it names one.
fn warn_of_meta_procedures(permission: &Permission, all: &[Permission], report: &Report) {
    let &Permission { ref uri, policy, .. } = permission;
    if policy == MatchPolicy::Exact || !permission.allow.contains(&"call") {
        return;
    }
    let named = |procedure: &str| {
        all.iter().any(|other| other.policy == MatchPolicy::Exact && other.uri == procedure)
    };
    let lost: Vec<_> =
        not_harmless().filter(|procedure| matches(uri, policy, procedure) && !named(procedure)).collect();
    if !lost.is_empty() {
        let text = format!(
            "Crossbar.io allows every procedure of the router that matches `{uri}`; {} need an exact rule each here, \
             and those that change what is others' administers = true",
            lost.join(", ")
        );
        report.warn(&permission.path, text);
    }
}

/// A pattern may be subscribed or registered here only if nothing inside is refused.
fn warn_of_refused_inside(permission: &Permission, all: &[Permission], report: &Report) {
    let Ok(rules) = Rules::new(all.iter().map(Permission::rule).collect()) else { return };
    let subject = Subject { authid: "", authrole: "", session: SessionId(0), realm: "" };
    for name in ["subscribe", "register"].into_iter().filter(|name| permission.allow.contains(name)) {
        let Some(action) = Action::from_name(name) else { continue };
        let verdict = rules.decide(action, &permission.uri, permission.policy, &subject);
        if let Ground::Inside(place) = verdict.ground {
            let text = format!(
                "Crossbar.io allows to {name} the pattern `{}` itself; here that is refused, since `{}` inside it \
                 does not allow {name}",
                permission.uri, all[place].uri
            );
            report.warn(&permission.path, text);
        }
    }
}

/// An exact permission hides a shorter prefix from longer URIs: they are refused.
fn warn_of_hidden_prefix(exact: &Permission, all: &[Permission], report: &Report) {
    let shorter =
        |other: &&Permission| other.policy == MatchPolicy::Prefix && exact.uri.starts_with(&other.uri);
    let hidden = all.iter().filter(shorter).max_by_key(|prefix| prefix.uri.len());
    if let Some(prefix) = hidden.filter(|prefix| !prefix.allow.is_empty()) {
        let text = format!(
            "Crossbar.io refuses other URIs that begin with `{}`, such as `{0}x`; here the prefix `{}` decides and \
             allows {}",
            exact.uri,
            prefix.uri,
            prefix.allow.join(", ")
        );
        report.warn(&exact.path, text);
    }
}

fn warn_of_wildcard(wildcard: &Permission, all: &[Permission], report: &Report) {
    let uri = &wildcard.uri;
    let beginning = uri.split("..").next().unwrap_or_default();
    if !uri.contains("..") || uri.starts_with('.') || uri.ends_with('.') {
        let text = format!(
            "Crossbar.io does not see an empty component at the beginning or the end of `{uri}`; here URIs that \
             match it are allowed {}",
            allowed(wildcard)
        );
        report.warn(&wildcard.path, text);
    }
    let wildcards = all.iter().filter(|other| other.policy == MatchPolicy::Wildcard && other.uri != *uri);
    for other in wildcards.filter(|other| other.uri.split("..").next() == Some(beginning)) {
        let text = format!(
            "Crossbar.io keeps one wildcard that begins with `{beginning}`, the last; here `{uri}` and `{}` both count",
            other.uri
        );
        report.warn(&wildcard.path, text);
    }
    // It looks for one under the longest beginning only.
    let longer = all.iter().filter(|other| other.policy == MatchPolicy::Wildcard).filter_map(|other| {
        let longer = other.uri.split("..").next().unwrap_or_default();
        (longer.len() > beginning.len() && longer.starts_with(beginning) && may_meet(uri, longer))
            .then_some((longer, other))
    });
    for (longer, other) in longer {
        let text = format!(
            "for URIs that match `{uri}` and begin with `{longer}` Crossbar.io looks at `{}` alone; here `{uri}` \
             counts there too and allows {}",
            other.uri,
            allowed(wildcard)
        );
        report.warn(&wildcard.path, text);
    }
    let prefixes = all.iter().filter(|other| other.policy == MatchPolicy::Prefix);
    for prefix in prefixes.filter(|prefix| may_meet(uri, &prefix.uri) && !prefix.allows_the_same(wildcard)) {
        let text = format!(
            "for URIs that match `{uri}` and begin with `{}` the wildcard decides in Crossbar.io and allows {}; \
             here the prefix does and allows {}",
            prefix.uri,
            allowed(wildcard),
            allowed(prefix)
        );
        report.warn(&wildcard.path, text);
    }
}

fn allowed(permission: &Permission) -> String {
    if permission.allow.is_empty() { "nothing".to_owned() } else { permission.allow.join(", ") }
}

/// True if a URI can match the wildcard and begin with the prefix.
fn may_meet(wildcard: &str, prefix: &str) -> bool {
    let mut components = wildcard.split('.');
    let mut parts = prefix.split('.').peekable();
    while let Some(part) = parts.next() {
        let Some(component) = components.next() else { return part.is_empty() && parts.peek().is_none() };
        let last = parts.peek().is_none();
        let meets = component.is_empty() || component == part || (last && component.starts_with(part));
        if !meets {
            return false;
        }
    }
    true
}
