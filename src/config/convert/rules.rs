//! What a role of the file may do.

use std::sync::Arc;

use super::super::file::{self, Role};
use crate::router::rules::Rules;
use crate::router::{Authorizer, Permissions, VerdictCache};

/// Who decides. A role of which nothing is said may do nothing.
pub fn permissions(role: &Role) -> Permissions {
    if let Some(authorizer) = &role.authorizer {
        return Permissions::Authorizer(Arc::new(Authorizer {
            procedure: authorizer.procedure.clone(),
            realm: authorizer.realm.clone(),
            cache: match authorizer.cache {
                file::VerdictCache::Session => VerdictCache::Session,
                file::VerdictCache::Role => VerdictCache::Role,
            },
            cache_ms: authorizer.cache_seconds * 1000,
            timeout_ms: authorizer.timeout_ms,
        }));
    }
    if role.everything {
        return Permissions::Everything;
    }
    Permissions::Rules(Arc::new(rules(role)))
}

/// The rules of a role that has some, or none. Mistakes have been told; of a list that has one nothing arrives.
pub fn rules(role: &Role) -> Rules {
    let rules = role.rules.iter().map(file::Rule::written).collect();
    Rules::new(rules).unwrap_or_else(|_| Rules::new(Vec::new()).expect("no rules are without mistakes"))
}
