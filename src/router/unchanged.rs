//! What of new settings is as it was. It is kept, so that everybody who has it sees by its pointer that nothing has
//! changed: shards leave such realms alone, and their sessions.
//!
//! Roles may have thousands of rules, and realms thousands of principals and of sessions: each of them is compared
//! once when settings change, not once for each session or each realm of a template.

use std::sync::Arc;

use super::session::Map;
use super::{RealmSettings, Role};

/// The settings of a realm or a template, with all that is equal in those of the same name before taken from there.
pub fn kept(now: &RealmSettings, before: &[Arc<RealmSettings>]) -> Arc<RealmSettings> {
    let is_it = |known: &&Arc<RealmSettings>| {
        known.name == now.name && known.template.is_some() == now.template.is_some()
    };
    let Some(before) = before.iter().find(is_it) else { return Arc::new(now.clone()) };
    let mut now = now.clone();
    let mut same: Map<*const Role, Arc<Role>> = Map::default();
    for role in &mut now.roles {
        if let Some(known) = before.roles.iter().find(|known| known.name == role.name && *known == role) {
            same.insert(Arc::as_ptr(role), known.clone());
            *role = known.clone();
        }
    }
    now.authentication = match before.authentication == now.authentication {
        true => before.authentication.clone(),
        // Who joins from now on has the same role as those that are there.
        false => Arc::new(
            now.authentication.with_roles(|role| same.get(&Arc::as_ptr(role)).unwrap_or(role).clone()),
        ),
    };
    if is_same(before, &now) { before.clone() } else { Arc::new(now) }
}

/// True if nothing is different. What is shared counts as equal only if it is the same, see [`kept`].
pub fn is_same(before: &RealmSettings, now: &RealmSettings) -> bool {
    // All of them, so that none is forgotten that comes.
    let RealmSettings {
        name,
        template,
        uri_check,
        disclosure,
        authentication,
        roles,
        event_history,
        retained_count_max,
        retained_bytes_max,
        call_timeout_ms,
    } = before;
    *name == now.name
        && *template == now.template
        && *uri_check == now.uri_check
        && *disclosure == now.disclosure
        && Arc::ptr_eq(authentication, &now.authentication)
        && roles.len() == now.roles.len()
        && roles.iter().zip(&now.roles).all(|(before, now)| Arc::ptr_eq(before, now))
        && *event_history == now.event_history
        && *retained_count_max == now.retained_count_max
        && *retained_bytes_max == now.retained_bytes_max
        && *call_timeout_ms == now.call_timeout_ms
}

/// Two roles, and whether they are equal.
type Pair = (Arc<Role>, Arc<Role>, bool);

/// Pairs of roles that have been compared.
#[derive(Debug, Default)]
pub struct Compared {
    /// By where they are; they are kept, so nothing else is ever there.
    known: Map<[*const Role; 2], Pair>,
}

impl Compared {
    /// True if they are equal.
    pub fn are_equal(&mut self, one: &Arc<Role>, other: &Arc<Role>) -> bool {
        if Arc::ptr_eq(one, other) {
            return true;
        }
        let pair = [one, other].map(Arc::as_ptr);
        let compare = || (one.clone(), other.clone(), one == other);
        self.known.entry(pair).or_insert_with(compare).2
    }
}
