//! Who could join where. Crossbar.io lets in by transport, we by realm: where that lets in somebody at a place that
//! was closed to them before, it is told.
//!
//! What can be said exactly is said: a listener opens the methods and the realms of its own transports only.

use super::{Node, Report};
use crate::auth::Method;

/// An `auth` of a transport, and whom it lets in. A listener can have several: one for each path.
pub struct Source {
    /// Where it stands.
    pub path: String,
    /// The place of its listener.
    pub listener: usize,
    /// Whom it lets in.
    pub grants: Vec<Grant>,
}

/// Somebody may join.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// By this.
    pub method: Method,
    /// To this realm.
    pub realm: String,
    /// Who: `alice`, or those whom a procedure accepts.
    pub who: String,
}

impl Source {
    /// Notes that it lets somebody in.
    pub fn grant(&mut self, method: Method, realm: &str, who: &str) {
        let grant = Grant { method, realm: realm.to_owned(), who: who.to_owned() };
        if !self.grants.contains(&grant) {
            self.grants.push(grant);
        }
    }
}

impl Node {
    /// Closes each listener to realms that nobody could join there.
    pub fn narrow(&mut self) {
        for place in 0..self.listeners.len() {
            let grants: Vec<_> = self.sources_of(place).flat_map(|source| &source.grants).collect();
            let open = |realm: &str| grants.iter().any(|grant| grant.realm == realm);
            let names = self.realms.iter().map(|realm| realm.name.clone());
            let realms: Vec<_> = names.filter(|name| open(name)).collect();
            if !realms.is_empty() && realms.len() < self.realms.len() {
                self.listeners[place].realms = Some(realms);
            }
        }
    }

    /// Tells who may join where it was not so.
    pub fn warn_of_others(&self, report: &Report) {
        self.sources.iter().for_each(|source| self.warn_of_others_at(source, report));
    }

    fn sources_of(&self, listener: usize) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(move |source| source.listener == listener)
    }

    /// Tells whom other transports let in, and this one now too.
    fn warn_of_others_at(&self, source: &Source, report: &Report) {
        let listener = &self.listeners[source.listener];
        let open = |realm: &String| listener.realms.as_ref().is_none_or(|realms| realms.contains(realm));
        for method in Method::ALL.into_iter().filter(|method| listener.methods.contains(&method.name())) {
            let others = self.sources.iter().flat_map(|other| &other.grants);
            let others = others.filter(|grant| grant.method == method && open(&grant.realm));
            let mut named: Vec<String> = Vec::new();
            for grant in others.filter(|grant| !source.grants.contains(grant)) {
                let name = format!("{} to realm {}", grant.who, grant.realm);
                if !named.contains(&name) {
                    named.push(name);
                }
            }
            if !named.is_empty() {
                let text = format!(
                    "who may join is said by realm here, so {} also lets in by {}: {}",
                    listener.address,
                    method.name(),
                    named.join(", ")
                );
                report.warn(&source.path, text);
            }
        }
    }
}
