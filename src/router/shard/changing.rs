//! Settings that change while there are sessions: what holds for the next message, whose session ends, and which realms
//! are no more.
//!
//! Each shard changes by itself, in one call: between two messages of a session it goes from the old settings to the
//! new ones, and nothing that waits for it is lost. Until the last shard has changed, sessions of one shard may be
//! under the old settings while those of another are under the new ones.
//!
//! What a session has and its rules allow no more is taken from it. What has begun otherwise goes on as it began:
//! connections keep the transport they have agreed on, deadlines that run are those of the old bounds, and what is
//! there above a new bound stays, until it goes by itself.

use std::collections::BTreeSet;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::Instant;

use super::Shard;
use super::realms::LocalRealm;
use crate::counters::Counters;
use crate::router::authorization::{Answer, Question, answer};
use crate::router::realm::Member;
use crate::router::rules::Action;
use crate::router::session::Identity;
use crate::router::standing::{Dismissal, Door, asked, still_allowed};
use crate::router::unchanged::Compared;
use crate::router::{PeerKey, RealmKey, Router};
use crate::wamp::message::Goodbye;
use crate::wamp::{Dict, Value, reason};

/// The reason that who loses a subscription or registration is told.
const NOT_ALLOWED: &str = "not allowed any more";

/// What sessions have lost by new settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Losses {
    /// Sessions that have ended, because they could not have joined by them.
    pub sessions: u64,
    /// Subscriptions that the rules allow no more.
    pub subscriptions: u64,
    /// Registrations that the rules allow no more.
    pub registrations: u64,
}

impl Losses {
    /// Those of which a shard has counted this many.
    fn counted(counters: &Counters) -> Losses {
        Losses {
            sessions: counters.sessions_dismissed,
            subscriptions: counters.subscriptions_revoked,
            registrations: counters.registrations_revoked,
        }
    }
}

impl Add for Losses {
    type Output = Losses;

    fn add(self, other: Losses) -> Losses {
        Losses {
            sessions: self.sessions + other.sessions,
            subscriptions: self.subscriptions + other.subscriptions,
            registrations: self.registrations + other.registrations,
        }
    }
}

impl Sub for Losses {
    type Output = Losses;

    fn sub(self, other: Losses) -> Losses {
        Losses {
            sessions: self.sessions - other.sessions,
            subscriptions: self.subscriptions - other.subscriptions,
            registrations: self.registrations - other.registrations,
        }
    }
}

/// What new settings have done to the realms here.
#[derive(Default)]
struct RealmsChanged {
    /// They have other settings.
    changed: BTreeSet<RealmKey>,
    /// They are no more.
    closed: BTreeSet<RealmKey>,
}

/// Of each listener by its index: whether other settings say who may come in.
fn other_doors(before: &Router, now: &Router) -> Vec<bool> {
    let mut before = before.settings.listeners.iter();
    let listeners = now.settings.listeners.iter();
    listeners.map(|now| before.next().is_none_or(|before| before.access != now.access)).collect()
}

impl Shard {
    /// Input: other settings hold from now on, those of `router`, which was made from the one before. Sessions that
    /// could not have joined by them as what they are get GOODBYE, and so do those in realms that are no more. What the
    /// sessions have lost.
    pub fn configure(&mut self, router: Arc<Router>, now: Instant) -> Losses {
        self.now = now;
        let lost = Losses::counted(&self.peers.counters);
        let before = std::mem::replace(&mut self.router, router);
        self.peers.configure(self.router.settings.limits.clone());
        let RealmsChanged { changed, closed } = self.configure_realms(&before);
        let silence = |router: &Router| {
            let limits = &router.settings.limits;
            (limits.silence_ms_max, limits.rawsocket_silence_ms_max)
        };
        let other_silence = silence(&before) != silence(&self.router);
        let other_doors = other_doors(&before, &self.router);
        let mut compared = Compared::default();
        for key in self.peers.keys() {
            let Some(listener) = self.peers.peer(key).map(|peer| peer.listener) else { continue };
            let Some(session) = self.peers.session(key) else { continue };
            let realm = session.realm;
            // What another realm's procedure has said is held against that one, which may have changed.
            let sent = session.identity.proof.asked.is_some();
            if closed.contains(&realm) {
                self.dismiss(key, reason::CLOSE_REALM, "The realm is no more.");
            } else if sent || changed.contains(&realm) || other_doors[listener.0 as usize] {
                let identity = session.identity.clone();
                self.hold_against(key, realm, &identity, &mut compared);
            }
            if other_silence && self.peers.session_id(key).is_some() {
                self.await_silence(key, now);
            }
        }
        self.settle(now);
        closed.into_iter().for_each(|realm| self.forget(realm));
        // Calls of the router's own have ended with their realms, and whoever was held for them goes on.
        self.settle(now);
        Losses::counted(&self.peers.counters) - lost
    }

    /// Gives every realm here its new settings. Those that are as they were keep all that was found out by them.
    fn configure_realms(&mut self, before: &Router) -> RealmsChanged {
        let entries_max = self.router.settings.limits.match_cache_entries_max;
        let same_room = entries_max == before.settings.limits.match_cache_entries_max;
        let mut realms = RealmsChanged::default();
        for local in self.realms.iter_mut() {
            let Some(realm) = self.router.realm_table().realm(local.shared.key) else {
                realms.closed.insert(local.shared.key);
                continue;
            };
            if Arc::ptr_eq(&realm, &local.shared) && same_room {
                continue;
            }
            realms.changed.insert(realm.key);
            if realm.settings.template.is_some() && realm.is_idle() {
                // How long it may be idle may have changed, or that it may.
                local.look_at(Some(self.now), &mut self.timers);
            }
            let LocalRealm { shared, broker, dealer, .. } = local;
            broker.configure(realm.clone(), entries_max);
            dealer.configure(realm.clone(), entries_max);
            *shared = realm;
        }
        realms
    }

    /// Holds a session against the settings: it ends, or has the role that it has by them.
    fn hold_against(
        &mut self,
        key: PeerKey,
        realm: RealmKey,
        identity: &Arc<Identity>,
        compared: &mut Compared,
    ) {
        let router = Arc::clone(&self.router);
        let (local, cx) = self.lend(realm);
        let Some(peer) = cx.peers.peer(key) else { return };
        let asked = asked(&identity.proof, &router);
        match still_allowed(identity, &local.shared.settings, asked.as_deref(), &Door::of(peer, &router)) {
            Ok(role) if compared.are_equal(&identity.role, &role) => {}
            Ok(role) => {
                let same = role.permissions == identity.role.permissions;
                let identity = Arc::new(Identity { role, ..Identity::clone(identity) });
                local.shared.identify(&identity);
                if let Some(session) = cx.peers.session(key) {
                    session.set_identity(identity.clone());
                }
                if !same {
                    self.ask_no_more(key);
                    self.keep_request(key);
                    self.take_away(key, realm, &identity);
                }
            }
            Err(dismissal) => {
                // It was let in by the settings before, after the cookies were held against these.
                if matches!(dismissal, Dismissal::NoSuchPrincipal | Dismissal::MethodShut) {
                    self.forget_browser(key);
                }
                self.dismiss(key, reason::KILLED, dismissal.text());
            }
        }
    }

    /// Takes the subscriptions and registrations from a session that its rules allow no more. Whom an authorizer
    /// decides about keeps them: it is asked about what is done, and `wamp.subscription.remove_subscriber` and
    /// `wamp.registration.remove_callee` are there for the rest.
    fn take_away(&mut self, key: PeerKey, realm: RealmKey, identity: &Arc<Identity>) {
        let shard = self.index;
        let (LocalRealm { shared, broker, dealer, .. }, mut cx) = self.lend(realm);
        let Some(session) = cx.peers.session(key) else { return };
        let subscriptions = broker.subscriptions(session);
        let mut registrations: Vec<_> = session.registrations.keys().copied().collect();
        registrations.sort_unstable();
        let refused = |action, uri: &str, policy| {
            let question = Question { action, uri, policy, options: &Dict::EMPTY };
            answer(identity, shared, &question, None) == Answer::Denied
        };
        let member = Member { shard, peer: key, identity: identity.clone() };
        for id in subscriptions {
            if let Some(listing) = shared.directory.subscription_by_id(id)
                && refused(Action::Subscribe, &listing.topic, listing.policy)
            {
                let revoked = broker.revoke(&mut cx, &member, id, Some(NOT_ALLOWED));
                cx.peers.counters.subscriptions_revoked += u64::from(revoked);
            }
        }
        for id in registrations {
            if let Some((_, found)) = shared.directory.registration_by_id(id)
                && refused(Action::Register, &found.procedure, found.policy)
            {
                // An error says that it has lost it already, to another that has forced it.
                let revoked = dealer.revoke(&mut cx, id, identity.session, Some(NOT_ALLOWED));
                cx.peers.counters.registrations_revoked += u64::from(revoked.is_ok());
            }
        }
    }

    fn dismiss(&mut self, key: PeerKey, reason: &'static str, text: &str) {
        let details = [("message", Value::text(text))];
        let goodbye = Goodbye { details: Dict::Pairs(&details), reason: reason.into() };
        self.say_goodbye(key, goodbye, self.now);
        self.peers.counters.sessions_dismissed += 1;
    }
}
