//! Templates of realms.

use super::Realm;
use crate::router::Template;

/// When realms are made from it, if they are.
pub fn template(realm: &Realm) -> Option<Template> {
    realm.template.then(|| Template {
        pattern: realm.name.clone(),
        policy: realm.policy,
        realms_max: realm.realms_max as usize,
        idle_ms: realm.idle_seconds * 1000,
    })
}
