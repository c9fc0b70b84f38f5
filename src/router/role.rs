//! What the sessions of an `authrole` are, and who decides what they may do.

use std::sync::Arc;

use super::rules::Rules;

/// What sessions of an `authrole` are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Role {
    /// The `authrole`.
    pub name: String,
    /// The trust level that receivers of their events and calls are told, if any (advanced profile, "Publication Trust
    /// Levels", "Call Trust Levels").
    pub trust_level: Option<u64>,
    /// They may call the meta procedures that change what is others': killing sessions, removing subscribers and
    /// callees, changing the details of sessions.
    pub administers: bool,
    /// Who decides what else they may do.
    pub permissions: Permissions,
}

/// Who decides what a session may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Permissions {
    /// Nobody: they may do everything. So it is where nothing is configured.
    Everything,
    /// The rules of the role.
    Rules(Arc<Rules>),
    /// A procedure.
    Authorizer(Arc<Authorizer>),
}

/// A procedure that says what sessions of a role may do, with the arguments and results of Crossbar.io.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorizer {
    /// Its URI.
    pub procedure: String,
    /// The realm it is in, if that is not the session's that it is asked about.
    pub realm: Option<String>,
    /// Whose its answers are, where they say that they may be kept.
    pub cache: VerdictCache,
    /// How long they are kept.
    pub cache_ms: u64,
    /// How long it may take; then it has refused.
    pub timeout_ms: u64,
}

/// Whose an authorizer's answers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VerdictCache {
    /// The session's that it was asked about.
    Session,
    /// Every session's of the role.
    Role,
}

impl Role {
    /// `anonymous`, which may do what all may, and nothing that changes what is others'.
    pub fn anonymous() -> Role {
        Role::open("anonymous")
    }

    /// A role whose sessions may do everything, but what changes what is others'.
    pub fn open(name: &str) -> Role {
        Role {
            name: name.to_owned(),
            trust_level: None,
            administers: false,
            permissions: Permissions::Everything,
        }
    }
}
