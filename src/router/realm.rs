//! What all shards share: the router's settings and its realms.

use std::sync::Arc;

use crate::limits::Limits;
use crate::transport;
use crate::wamp::UriCheck;

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
    /// True: request ids must count 1, 2, 3 (the specification's rule); false: any id is taken.
    pub request_ids_checked: bool,
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
}

impl Router {
    /// A router without peers. `shard_count` is 1 to [`crate::limits::SHARDS_MAX`].
    pub fn new(settings: Settings, shard_count: usize) -> Arc<Router> {
        Arc::new(Router { settings, shard_count })
    }
}
