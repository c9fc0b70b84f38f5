//! Realms: roles with their permissions, stores, and what transports add of authentication.

use serde_json::{Map, Value, json};

use super::object::Object;
use super::permission::{self, Permission};
use super::write::Section;
use super::{Node, Report};

/// A realm of the result.
pub struct RealmText {
    pub name: String,
    uri: Option<String>,
    event_history: Vec<Value>,
    roles: Vec<RoleText>,
    pub anonymous: Option<Map<String, Value>>,
    /// Settings of methods by their names.
    pub methods: Vec<(&'static str, Map<String, Value>)>,
    pub principals: Vec<PrincipalText>,
}

/// A role of the result.
struct RoleText {
    name: String,
    authorizer: Option<String>,
    permissions: Vec<Permission>,
}

/// A principal of the result.
pub struct PrincipalText {
    /// Where it stands first.
    pub path: String,
    pub authid: String,
    pub role: Option<String>,
    /// What proves it, by key.
    pub proofs: Map<String, Value>,
}

impl RealmText {
    fn new(name: &str) -> RealmText {
        RealmText {
            name: name.to_owned(),
            uri: None,
            event_history: Vec::new(),
            roles: Vec::new(),
            anonymous: None,
            methods: Vec::new(),
            principals: Vec::new(),
        }
    }

    /// True if it has a role of that name.
    pub fn has_role(&self, name: &str) -> bool {
        self.role(name).is_some()
    }

    fn role(&self, name: &str) -> Option<&RoleText> {
        self.roles.iter().find(|role| role.name == name)
    }

    /// The keys that say something else in the other realm; of those of roles, their names.
    fn differences(&self, other: &RealmText) -> (Vec<&'static str>, Vec<String>) {
        let keys = [
            ("options.uri_check", self.uri == other.uri),
            ("store.event-history", self.event_history == other.event_history),
        ];
        let mut roles: Vec<String> = Vec::new();
        for (one, another) in [(self, other), (other, self)] {
            let differs =
                |role: &&RoleText| !another.role(&role.name).is_some_and(|same| same.allows_the_same(role));
            let names = one.roles.iter().filter(differs).map(|role| role.name.clone());
            let new: Vec<_> = names.filter(|name| !roles.contains(name)).collect();
            roles.extend(new);
        }
        (keys.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect(), roles)
    }

    /// Takes in the realm of that name of another worker, which stands at `path`. What a role may do in but one of them
    /// nobody may do, as long as nobody has said which of them it is.
    fn unite(&mut self, other: RealmText, path: &str, report: &Report) {
        let name = &self.name;
        let (keys, roles) = self.differences(&other);
        if keys.is_empty() && roles.is_empty() {
            report.warn(path, format!("realm {name} of another worker was another realm; here they are one"));
            return;
        }
        let roles_named = roles.iter().map(|name| format!("role {name}"));
        let differing: Vec<_> = keys.iter().map(|&key| key.to_owned()).chain(roles_named).collect();
        let mut text = format!(
            "realm {name} of another worker was another realm, here they would be one, and they differ: {}; give \
             each its own name, or say the same in both",
            differing.join(", ")
        );
        if !roles.is_empty() {
            text.push_str("; until then such roles may do nothing");
        }
        report.mistake(path, text);
        let new = other.roles.into_iter().filter(|role| !self.has_role(&role.name)).collect::<Vec<_>>();
        self.roles.extend(new);
        for role in self.roles.iter_mut().filter(|role| roles.contains(&role.name)) {
            role.authorizer = None;
            role.permissions.clear();
        }
    }

    pub fn section(self) -> Section {
        let mut section = Section::new("[[realm]]");
        section.set("name", self.name);
        section.optional("uri", self.uri);
        if !self.event_history.is_empty() {
            section.set("event_history", self.event_history);
        }
        section.optional("anonymous", self.anonymous);
        for (method, settings) in self.methods {
            section.set(method, settings);
        }
        section.sections.extend(self.roles.into_iter().map(RoleText::section));
        section.sections.extend(self.principals.into_iter().map(PrincipalText::section));
        section
    }
}

impl RoleText {
    /// True if whoever has the other may do the same.
    fn allows_the_same(&self, other: &RoleText) -> bool {
        let rules = |role: &RoleText| {
            let mut rules: Vec<_> = role.permissions.iter().map(|rule| rule.section().text()).collect();
            rules.sort();
            rules
        };
        self.authorizer == other.authorizer && rules(self) == rules(other)
    }

    fn section(self) -> Section {
        let mut section = Section::new("[[realm.role]]");
        section.set("name", self.name);
        section.optional("administers", self.permissions.iter().any(Permission::administers).then_some(true));
        section.optional("authorizer", self.authorizer.map(|procedure| json!({ "procedure": procedure })));
        section.sections.extend(self.permissions.iter().map(Permission::section));
        section
    }
}

impl PrincipalText {
    fn section(self) -> Section {
        let mut section = Section::new("[[realm.principal]]");
        section.set("authid", self.authid);
        section.optional("role", self.role);
        for (key, value) in self.proofs {
            section.set(&key, value);
        }
        section
    }
}

/// Reads a realm into the node, and says its name.
pub fn read(mut object: Object, node: &mut Node, report: &Report) -> Option<String> {
    let Some(name) = object.text("name") else {
        object.drop_all("it has no name");
        return None;
    };
    let mut realm = RealmText::new(&name);
    for role in object.objects("roles") {
        read_role(role, &mut realm, report);
    }
    if let Some(mut options) = object.object("options") {
        realm.uri = options.text("uri_check");
        options.drop(&[
            ("event_dispatching_chunk_size", "events are written in turns of a bounded length"),
            ("enable_meta_api", "the meta API is always there; rules say who may use it"),
            ("bridge_meta_api", "there is one process, and nothing to bridge"),
        ]);
    }
    if let Some(store) = object.object("store") {
        read_store(store, &mut realm, report);
    }
    object.drop(&[
        ("id", "nothing refers to it"),
        ("inventory", "payloads are not validated"),
        ("stats", "the meta API and the log have counters"),
    ]);
    match node.realms.iter_mut().find(|known| known.name == name) {
        Some(known) => known.unite(realm, &object.path, report),
        None => node.realms.push(realm),
    }
    Some(name)
}

fn read_role(mut object: Object, realm: &mut RealmText, report: &Report) {
    let Some(name) = object.text("name") else {
        object.drop_all("it has no name");
        return;
    };
    if realm.has_role(&name) {
        object.drop_all("the realm has a role of that name already");
        return;
    }
    if name == "trusted" {
        report.warn(
            &object.path,
            "`trusted` is Crossbar.io's own role, which nothing is refused; here it is like others",
        );
    }
    let authorizer = object.text("authorizer");
    let mut permissions: Vec<Permission> = Vec::new();
    for permission in object.objects("permissions") {
        let Some(permission) = permission::read(permission, report) else { continue };
        // Whatever their policies: it keeps them by their text.
        let same = |other: &Permission| other.uri == permission.uri;
        if let Some(place) = permissions.iter().position(same) {
            report.warn(
                &permission.path,
                format!("the one for `{}` before has no effect, and is left out", permission.uri),
            );
            permissions.remove(place);
        }
        permissions.push(permission);
    }
    if authorizer.is_some() && !permissions.is_empty() {
        report.drop(&object.at("permissions"), "the role has an authorizer, which decides");
        permissions.clear();
    }
    permission::warn_of_quirks(&permissions, report);
    if let Some(first) = permissions.iter().find(|permission| permission.administers()) {
        let text = format!(
            "role {name} administers here, since it may call `{}`; so it may also register with force_reregister",
            first.uri
        );
        report.warn(&first.path, text);
    }
    if object.flag("allow-by-default") == Some(true) {
        report.drop(
            &object.at("allow-by-default"),
            "what no rule allows is refused; write a rule for what was meant",
        );
    }
    object.drop(&[("id", "nothing refers to it")]);
    realm.roles.push(RoleText { name, authorizer, permissions });
}

fn read_store(mut object: Object, realm: &mut RealmText, report: &Report) {
    if object.text("type").is_some_and(|kind| kind != "memory") {
        report.drop(&object.at("type"), "histories are kept in memory, and end with the process");
    }
    let limit = object.number("limit");
    for mut history in object.objects("event-history") {
        let rule = json!({
            "uri": history.text("uri").unwrap_or_default(),
            "match": history.text("match"),
            "events": history.number("limit").or(limit),
        });
        realm.event_history.push(rule);
    }
    let database = "histories are kept in memory";
    object.drop(&[
        ("id", "nothing refers to it"),
        ("call-queue", "calls wait where the callee registers with `concurrency`; [limits] says how many"),
        ("path", database),
        ("maxsize", database),
        ("readonly", database),
        ("sync", database),
        ("max-buffer", database),
        ("buffer-flush", database),
    ]);
}
