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
    pub authid: String,
    pub role: Option<String>,
    /// What proves it, by key.
    pub proofs: Map<String, Value>,
}

impl RealmText {
    pub fn new(name: &str) -> RealmText {
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
        self.roles.iter().any(|role| role.name == name)
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
    if node.realms.iter().any(|realm| realm.name == name) {
        report.warn(
            &object.path,
            format!("realm {name} of another worker was another realm; here they are one"),
        );
    }
    let realm = node.realm(&name);
    for role in object.objects("roles") {
        read_role(role, realm, report);
    }
    if let Some(mut options) = object.object("options") {
        realm.uri = options.text("uri_check").or(realm.uri.take());
        options.drop(&[
            ("event_dispatching_chunk_size", "events are written in turns of a bounded length"),
            ("enable_meta_api", "the meta API is always there; rules say who may use it"),
            ("bridge_meta_api", "there is one process, and nothing to bridge"),
        ]);
    }
    if let Some(store) = object.object("store") {
        read_store(store, realm, report);
    }
    object.drop(&[
        ("id", "nothing refers to it"),
        ("inventory", "payloads are not validated"),
        ("stats", "the meta API and the log have counters"),
    ]);
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
        let same = |other: &Permission| other.uri == permission.uri && other.policy == permission.policy;
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
