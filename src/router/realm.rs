//! What all shards share: the router's settings and its realms, each with its directory and its list of sessions.

use std::sync::Arc;

use parking_lot::Mutex;

use super::directory::Directory;
use super::session::Map;
use super::{PeerKey, RealmKey, ShardIndex};
use crate::limits::{Limits, SHARDS_MAX};
use crate::transport;
use crate::wamp::{SessionId, UriCheck};

/// What an operator sets for a realm.
#[derive(Clone, Debug)]
pub struct RealmSettings {
    /// The URI clients name in HELLO.
    pub name: String,
    /// Which URIs are valid in it.
    pub uri_check: UriCheck,
}

/// What an operator sets for a listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Transports, serializers and lengths.
    pub transport: Arc<transport::Settings>,
    /// Which request ids are taken.
    pub request_ids: RequestIds,
}

/// Which request ids a peer may send (basic profile, "IDs": session scope). All else is a protocol violation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RequestIds {
    /// They count 1, 2, 3: the specification's rule.
    #[default]
    Strict,
    /// They grow. Some libraries spend an id on a message they then fail to serialize, which leaves a gap.
    Increasing,
    /// Any; hand-written clients draw them at random.
    Any,
}

impl RequestIds {
    /// The rule by its name on the command line.
    pub fn from_name(name: &str) -> Option<RequestIds> {
        match name {
            "strict" => Some(RequestIds::Strict),
            "increasing" => Some(RequestIds::Increasing),
            "any" => Some(RequestIds::Any),
            _ => None,
        }
    }
}

/// What an operator sets for the router.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Every bound.
    pub limits: Limits,
    /// The realms.
    pub realms: Vec<RealmSettings>,
    /// The listeners.
    pub listeners: Vec<ListenerSettings>,
    /// `WELCOME.Details.agent`; nothing is sent if empty.
    pub agent: String,
}

/// What all shards of one router share.
#[derive(Debug)]
pub struct Router {
    /// As given.
    pub settings: Settings,
    /// Shards, 1 to 64.
    pub shard_count: usize,
    realms: Vec<Arc<Realm>>,
}

impl Router {
    /// A router without peers. `shard_count` is 1 to [`SHARDS_MAX`].
    pub fn new(settings: Settings, shard_count: usize) -> Arc<Router> {
        assert!((1..=SHARDS_MAX).contains(&shard_count), "a router has 1 to {SHARDS_MAX} shards");
        let realms = settings.realms.iter().enumerate();
        let realms =
            realms.map(|(index, realm)| Arc::new(Realm::new(index, realm, &settings.limits, shard_count)));
        let realms = realms.collect();
        Arc::new(Router { settings, shard_count, realms })
    }

    /// The realms, in the order of their keys.
    pub fn realms(&self) -> &[Arc<Realm>] {
        &self.realms
    }

    /// The realm of that name.
    pub fn realm(&self, name: &str) -> Option<&Arc<Realm>> {
        self.realms.iter().find(|realm| realm.name == name)
    }

    /// True if nobody has left anything behind: no session, subscription or registration in any realm.
    pub fn is_empty(&self) -> bool {
        self.realms.iter().all(|realm| realm.directory.is_empty() && realm.sessions.lock().is_empty())
    }
}

/// A realm: the world its sessions see. Realms do not touch.
#[derive(Debug)]
pub struct Realm {
    /// Its key.
    pub key: RealmKey,
    /// Its URI.
    pub name: String,
    /// Which URIs are valid in it.
    pub uri_check: UriCheck,
    /// The shard that publishes what the directory records.
    pub home: ShardIndex,
    /// Who is interested in what.
    pub directory: Directory,
    sessions: Mutex<Map<SessionId, (ShardIndex, PeerKey)>>,
}

impl Realm {
    fn new(index: usize, settings: &RealmSettings, limits: &Limits, shard_count: usize) -> Realm {
        Realm {
            key: RealmKey(index as u32),
            name: settings.name.clone(),
            uri_check: settings.uri_check,
            home: ShardIndex((index % shard_count) as u8),
            directory: Directory::new(limits.pattern_shapes_max),
            sessions: Mutex::default(),
        }
    }

    /// Enters a session; false if one of that identifier exists already.
    pub fn enter(&self, session: SessionId, shard: ShardIndex, peer: PeerKey) -> bool {
        let mut sessions = self.sessions.lock();
        if sessions.contains_key(&session) {
            return false;
        }
        sessions.insert(session, (shard, peer));
        true
    }

    /// Takes a session out.
    pub fn leave(&self, session: SessionId) {
        self.sessions.lock().remove(&session);
    }

    /// How many sessions there are.
    pub fn session_count(&self) -> usize {
        self.sessions.lock().len()
    }
}
