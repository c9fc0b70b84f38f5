//! Who could join where. Crossbar.io lets in by transport, we by realm: where that would let in somebody at a place
//! that was closed to them before, it is told; and where nothing would have to be proved for it, nobody comes in so
//! there, which is a mistake that only the operator can put right.
//!
//! What can be said exactly is said: a listener opens the methods and the realms of its own transports only. Paths of
//! one address are one listener, and who could come in at one of them can at all.

use super::transport::ListenerText;
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
    /// Closes each listener to realms that nobody could join there by what it opens. Where nobody is known who could,
    /// it is closed to those that its worker does not reach.
    pub fn narrow(&mut self) {
        for place in 0..self.listeners.len() {
            let grants: Vec<_> = self.grants_of(place).collect();
            let open = |realm: &str| grants.iter().any(|grant| grant.realm == realm);
            let names = self.realms.iter().map(|realm| realm.name.clone());
            let mut realms: Vec<_> = names.clone().filter(|name| open(name)).collect();
            let listener = &self.listeners[place];
            if realms.is_empty() && listener.realms.is_none() {
                realms = names.filter(|name| listener.reaches(name)).collect();
            }
            if !realms.is_empty() && realms.len() < self.realms.len() {
                self.listeners[place].realms = Some(realms);
            }
        }
    }

    /// Closes listeners to those who say nothing of themselves where they would come into a realm that they could not
    /// join there. Which realms a listener opens must be known.
    pub fn close_to_strangers(&mut self, report: &Report) {
        for place in 0..self.listeners.len() {
            let own: Vec<_> = self.grants_of(place).collect();
            let gained = self.gained(&self.listeners[place], Method::Anonymous, |grant| own.contains(&grant));
            if gained.is_empty() {
                continue;
            }
            let text = format!(
                "who may join is said by realm here, so the listener at {} would also let in by anonymous: {}; \
                 therefore nobody joins by anonymous there: open other realms there, or have those who say nothing \
                 elsewhere prove who they are",
                self.listeners[place].address,
                named(&gained),
            );
            for said in &self.listeners[place].anonymous {
                report.mistake(&said.path, text.clone());
            }
            self.listeners[place].close(Method::Anonymous);
        }
    }

    /// Tells who may join where it was not so.
    pub fn warn_of_others(&self, report: &Report) {
        self.sources.iter().for_each(|source| self.warn_of_others_at(source, report));
    }

    /// Whom the transports of a listener let in by what it opens.
    fn grants_of(&self, listener: usize) -> impl Iterator<Item = &Grant> {
        let methods = &self.listeners[listener].methods;
        let sources = self.sources.iter().filter(move |source| source.listener == listener);
        sources.flat_map(|source| &source.grants).filter(|grant| methods.contains(&grant.method.name()))
    }

    /// Whom other transports let in by a method, and this listener now too, which has not been `known` for it.
    fn gained(&self, listener: &ListenerText, method: Method, known: impl Fn(&Grant) -> bool) -> Vec<&Grant> {
        if !listener.methods.contains(&method.name()) {
            return Vec::new();
        }
        let open = |realm: &String| listener.realms.as_ref().is_none_or(|realms| realms.contains(realm));
        let mut gained: Vec<&Grant> = Vec::new();
        for grant in self.sources.iter().flat_map(|source| &source.grants) {
            let lets_in = grant.method == method && open(&grant.realm) && !known(grant);
            if lets_in && !gained.contains(&grant) {
                gained.push(grant);
            }
        }
        gained
    }

    fn warn_of_others_at(&self, source: &Source, report: &Report) {
        let listener = &self.listeners[source.listener];
        for method in Method::ALL {
            let gained = self.gained(listener, method, |grant| source.grants.contains(grant));
            if !gained.is_empty() {
                let text = format!(
                    "who may join is said by realm here, so {} also lets in by {}: {}",
                    listener.address,
                    method.name(),
                    named(&gained)
                );
                report.warn(&source.path, text);
            }
        }
    }
}

/// `alice to realm a, anybody to realm b`.
fn named(grants: &[&Grant]) -> String {
    let named = grants.iter().map(|grant| format!("{} to realm {}", grant.who, grant.realm));
    named.collect::<Vec<_>>().join(", ")
}
