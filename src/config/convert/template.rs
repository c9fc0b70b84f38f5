//! Templates of realms.

use super::Realm;
use crate::router::Template;

/// When realms are made from it, if they are.
pub fn template(realm: &Realm) -> Option<Template> {
    let Realm { policy, realms_max, idle_seconds, .. } = *realm;
    realm.template.then_some(Template { policy, realms_max: realms_max as usize, idle_ms: idle_seconds * 1000 })
}
