//! What those who say nothing of themselves are. Crossbar.io says it by transport, we by realm; where transports
//! differ, their listeners say it.
//!
//! A listener says one role for all of its realms, and no procedure. What needs more than that would make somebody what
//! they were not, so nobody comes in so there, and that is a mistake that only the operator can put right.

use serde_json::{Map, Value};

use super::realm::RealmText;
use super::transport::ListenerText;
use super::{Node, Report};
use crate::auth::Method;

/// What a transport makes of those who say nothing.
pub struct Anonymous {
    /// Where it says so.
    pub path: String,
    /// In which realm.
    pub realm: String,
    /// The table `anonymous`.
    pub table: Map<String, Value>,
}

/// What a listener has to say.
enum Here {
    /// Nothing: it is as its realms say.
    AsTheRealm,
    /// This.
    Instead(Map<String, Value>),
    /// What it cannot.
    Unsayable,
}

impl Node {
    /// Says it, in the realms and where a listener differs. Which realms a listener opens must be known.
    pub fn say_anonymous(&mut self, report: &Report) {
        for realm in &mut self.realms {
            let said = || self.listeners.iter().flat_map(|listener| &listener.anonymous);
            let mut tables = said().filter(|said| said.realm == realm.name).map(|said| &said.table);
            // No listener can say that a procedure is asked.
            let dynamic = tables.clone().find(|table| table.contains_key("dynamic"));
            realm.anonymous = dynamic.or_else(|| tables.next()).cloned();
        }
        let is_open = |listener: &&mut ListenerText| listener.methods.contains(&Method::Anonymous.name());
        for listener in self.listeners.iter_mut().filter(is_open) {
            match here(listener, &self.realms) {
                Here::AsTheRealm => {}
                Here::Instead(table) => listener.anonymous_here = Some(table),
                Here::Unsayable => {
                    listener.close(Method::Anonymous);
                    for said in &listener.anonymous {
                        let text = format!(
                            "other transports make something else of who says nothing in realm {}, \
                             which the listener at {} cannot say; so nobody joins by anonymous there: \
                             give each its own address, or its own realm",
                            said.realm, listener.address
                        );
                        report.mistake(&said.path, text);
                    }
                }
            }
        }
    }
}

fn here(listener: &ListenerText, realms: &[RealmText]) -> Here {
    let said = &listener.anonymous;
    let open: Vec<_> = realms
        .iter()
        .filter(|realm| listener.realms.as_ref().is_none_or(|realms| realms.contains(&realm.name)))
        .filter_map(|realm| Some((realm, realm.anonymous.as_ref()?)))
        .collect();
    let is_the_realms = |(realm, table): &(&RealmText, &Map<String, Value>)| {
        said.iter().all(|said| said.realm != realm.name || said.table == **table)
    };
    let Some(first) = said.first().filter(|_| !open.iter().all(is_the_realms)) else {
        return Here::AsTheRealm;
    };
    let table = &first.table;
    let Some(role) = table.get("role").and_then(Value::as_str) else { return Here::Unsayable };
    let sayable =
        said.iter().all(|said| said.table == *table) && open.iter().all(|(realm, _)| realm.has_role(role));
    if sayable { Here::Instead(table.clone()) } else { Here::Unsayable }
}
