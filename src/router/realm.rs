//! What all shards share: the router's settings and its realms, each with its directory and its list of sessions.
//!
//! Settings change while the router runs. A [`Router`] and a [`Realm`] are what was set at one moment, over what lives
//! on: shards have them without a lock, and are given others when settings change (`shard/changing.rs`).

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::authentication::{self, Access, Cookies, Failures, RouterSettings};
use super::directory::Directory;
use super::history::{History, HistoryRule};
use super::meta::sessions::{DetailChanges, Details, detail_bytes};
use super::realms::{RealmChanges, Realms};
use super::retained::RetainedEvents;
use super::role::Role;
use super::session::{Identity, Map};
use super::{Clock, PeerKey, RealmKey, ShardIndex};
use crate::error::Refusal;
use crate::limits::{Limits, SHARDS_MAX};
use crate::origin::Network;
use crate::transport;
use crate::wamp::{MatchPolicy, SessionId, UriCheck};

/// What an operator sets for a realm.
#[derive(Clone, Debug)]
pub struct RealmSettings {
    /// The URI clients name in HELLO; of a template, a pattern of them.
    pub name: String,
    /// It is none itself: such realms are made when somebody joins.
    pub template: Option<Template>,
    /// Which URIs are valid in it.
    pub uri_check: UriCheck,
    /// Whether receivers are told who publishes and calls.
    pub disclosure: Disclosure,
    /// Who may join, and what they are then.
    pub authentication: Arc<authentication::Settings>,
    /// What sessions may be, each under a name of its own.
    pub roles: Vec<Arc<Role>>,
    /// Which publications are kept in the event history; none of them are without a rule.
    pub event_history: Vec<HistoryRule>,
    /// How many events the topics together retain. The oldest make room.
    pub retained_count_max: usize,
    /// How many octets those may take. The oldest make room. Who asks for all of them gets them in one turn, so this
    /// should be well below what may wait for one peer.
    pub retained_bytes_max: usize,
    /// How long the answer of a call may take that says nothing of it; 0: however long it takes.
    pub call_timeout_ms: u64,
}

impl RealmSettings {
    /// What `retained_count_max` is where nothing is said.
    pub const RETAINED_COUNT_MAX: usize = 10_000;

    /// What `retained_bytes_max` is where nothing is said.
    pub const RETAINED_BYTES_MAX: usize = 8 << 20;

    /// A realm in which everybody may do everything.
    pub fn open(name: impl Into<String>) -> RealmSettings {
        RealmSettings {
            name: name.into(),
            template: None,
            uri_check: UriCheck::Loose,
            disclosure: Disclosure::default(),
            authentication: Arc::new(authentication::Settings::anonymous(Role {
                administers: true,
                ..Role::anonymous()
            })),
            roles: Vec::new(),
            event_history: Vec::new(),
            retained_count_max: RealmSettings::RETAINED_COUNT_MAX,
            retained_bytes_max: RealmSettings::RETAINED_BYTES_MAX,
            call_timeout_ms: 0,
        }
    }

    /// True if a listener opens the realm, by its name or with all of its template.
    pub fn is_opened_by(&self, access: &Access) -> bool {
        let made = |template: &Template| access.opens_realm(&template.pattern);
        access.opens_realm(&self.name) || self.template.as_ref().is_some_and(made)
    }

    /// The same for a realm of that name.
    pub fn named(&self, name: &str) -> RealmSettings {
        RealmSettings { name: name.to_owned(), ..self.clone() }
    }

    /// What those are who say nothing of themselves, if they may join.
    pub fn anonymous(&self) -> Option<&Arc<Role>> {
        self.authentication.anonymous.as_ref().map(|anonymous| &anonymous.role)
    }

    /// True if a role of the realm has a trust level.
    pub fn has_trust_levels(&self) -> bool {
        let mut roles = self.roles.iter().chain(self.anonymous());
        roles.any(|role| role.trust_level.is_some())
    }

    /// True if events tell of their publishers what those have not asked for.
    pub fn adds_particulars(&self) -> bool {
        self.disclosure == Disclosure::Always || self.has_trust_levels()
    }
}

/// When realms are made from settings, and when they go again. What such a realm retains and its event history go with
/// it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    /// What the names of its realms match. Listeners that open it, open them.
    pub pattern: String,
    /// How. Of several templates the first that matches is the one.
    pub policy: MatchPolicy,
    /// How many of its realms there may be at the same time. At one more, the one that was idle for longest goes.
    pub realms_max: usize,
    /// How long one stays when nobody is in it.
    pub idle_ms: u64,
}

/// Whether the receivers of events and invocations are told who sent them (advanced profile, "Publisher
/// Identification", "Caller Identification").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Disclosure {
    /// If the sender asks for it with `disclose_me`, or the callee with `disclose_caller`.
    #[default]
    AsAsked,
    /// Whatever the sender asks for.
    Always,
    /// Never; who asks for it, as a sender or as a callee, is refused with `wamp.error.option_disallowed.disclose_me`.
    Never,
}

/// What an operator sets for a listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Transports, serializers and lengths.
    pub transport: Arc<transport::Settings>,
    /// Which request ids are taken, but over long-poll.
    pub request_ids: RequestIds,
    /// Proxies whose `X-Forwarded-For` names the client.
    pub forwarded_from: Vec<Network>,
    /// Who may come in, and how.
    pub access: Access,
}

/// Which request ids a peer may send (basic profile, "IDs": session scope). All else is a protocol violation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RequestIds {
    /// They count 1, 2, 3: the specification's rule.
    #[default]
    Strict,
    /// They grow. Some libraries spend an id on a message they then fail to serialize, which leaves a gap.
    Increasing,
    /// Any; hand-written clients draw them at random. It is the rule for every client of the long-poll transport: its
    /// requests go over several connections at once, and HTTP puts those in no order (autobahn-js sends each message
    /// as soon as it has it).
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
    /// What holds for authentication in every realm.
    pub authentication: RouterSettings,
}

/// What all shards of one router share: what was set at one moment, over what lives on.
#[derive(Debug)]
pub struct Router {
    /// As given.
    pub settings: Settings,
    /// Shards, 1 to 64.
    pub shard_count: usize,
    /// The time it was made at, by which all times are known.
    pub clock: Arc<Clock>,
    /// Who has failed to prove who it is.
    pub failures: Arc<Failures>,
    /// Browsers that are known again.
    pub cookies: Arc<Cookies>,
    realms: Arc<Realms>,
}

impl Router {
    /// A router without peers. `shard_count` is 1 to [`SHARDS_MAX`].
    pub fn new(settings: Settings, shard_count: usize, clock: Clock) -> Arc<Router> {
        assert!((1..=SHARDS_MAX).contains(&shard_count), "a router has 1 to {SHARDS_MAX} shards");
        let realms = Arc::new(Realms::new(&settings, shard_count));
        let (clock, failures, cookies) = (Arc::new(clock), Arc::default(), Arc::default());
        Arc::new(Router { settings, shard_count, clock, failures, cookies, realms })
    }

    /// The same router with other settings, to be given to every shard. Who joins from now on joins by them; the shards
    /// tell the sessions that are there. The listeners that were there must be there still, in their places: peers came
    /// in by them.
    pub fn changed(&self, mut settings: Settings) -> (Arc<Router>, RealmChanges) {
        // Who stands in for a name that nobody has must not change with what others may see changing.
        settings.authentication.stand_in_key = self.settings.authentication.stand_in_key.clone();
        assert!(settings.listeners.len() >= self.settings.listeners.len(), "listeners keep their places");
        let changes = self.realms.configure(&settings);
        let router = Router {
            settings,
            shard_count: self.shard_count,
            clock: self.clock.clone(),
            failures: self.failures.clone(),
            cookies: self.cookies.clone(),
            realms: self.realms.clone(),
        };
        (Arc::new(router), changes)
    }

    /// Which realms there are, now.
    pub fn realm_table(&self) -> &Realms {
        &self.realms
    }

    /// The realms there are now, in the order of their places.
    pub fn realms(&self) -> Vec<Arc<Realm>> {
        self.realms.all()
    }

    /// The realm of that name, if it is there now.
    pub fn realm(&self, name: &str) -> Option<Arc<Realm>> {
        self.realms.find(name)
    }

    /// True if nobody has left anything behind: no session, subscription or registration in any realm. What is retained
    /// or kept as history is the realm's and stays.
    pub fn is_empty(&self) -> bool {
        self.realms.all().iter().all(|realm| realm.is_empty())
    }
}

/// A realm: the world its sessions see. Realms do not touch.
#[derive(Debug)]
pub struct Realm {
    /// Its key.
    pub key: RealmKey,
    /// Its URI.
    pub name: String,
    /// As the operator has set it.
    pub settings: Arc<RealmSettings>,
    /// Which URIs are valid in it.
    pub uri_check: UriCheck,
    /// The shard that publishes what the directory records.
    pub home: ShardIndex,
    /// Who is interested in what.
    pub directory: Arc<Directory>,
    /// What its topics retain.
    pub retained: Arc<RetainedEvents>,
    /// What is kept of its publications, if anything is.
    pub history: Option<Arc<History>>,
    sessions: Arc<Mutex<Sessions>>,
}

/// Who is in a realm.
#[derive(Debug, Default)]
struct Sessions {
    members: Map<SessionId, Member>,
    /// What was said about members by `wamp.session.modify_details`; nothing about most.
    details: Map<SessionId, Arc<Details>>,
    /// When the last of them has left.
    emptied: Option<Instant>,
}

/// A session, as all shards know it.
#[derive(Clone, Debug)]
pub struct Member {
    /// The shard that owns the peer.
    pub shard: ShardIndex,
    /// The peer there.
    pub peer: PeerKey,
    /// Who it is.
    pub identity: Arc<Identity>,
}

impl Realm {
    /// A realm without sessions.
    pub(super) fn new(
        key: RealmKey,
        settings: Arc<RealmSettings>,
        pattern_shapes_max: usize,
        shard_count: usize,
    ) -> Realm {
        Realm {
            key,
            name: settings.name.clone(),
            uri_check: settings.uri_check,
            home: ShardIndex((key.index as usize % shard_count) as u8),
            directory: Arc::new(Directory::new(pattern_shapes_max)),
            retained: Arc::new(RetainedEvents::new(settings.retained_count_max, settings.retained_bytes_max)),
            history: History::new(&settings.event_history).map(Arc::new),
            sessions: Arc::default(),
            settings,
        }
    }

    /// The same realm with other settings. What it retains is cut down to them; of the event history the logs stay
    /// whose topics are kept still. URIs that are there already are not checked again.
    pub(super) fn with(&self, settings: Arc<RealmSettings>) -> Realm {
        self.retained.set_bounds(settings.retained_count_max, settings.retained_bytes_max);
        let history = match &self.history {
            Some(history) if history.rules() == settings.event_history => Some(history.clone()),
            Some(history) => history.with(&settings.event_history).map(Arc::new),
            None => History::new(&settings.event_history).map(Arc::new),
        };
        Realm {
            key: self.key,
            name: self.name.clone(),
            uri_check: settings.uri_check,
            home: self.home,
            directory: self.directory.clone(),
            retained: self.retained.clone(),
            history,
            sessions: self.sessions.clone(),
            settings,
        }
    }

    /// Enters a session; false if one of that identifier exists already.
    pub fn enter(&self, member: Member) -> bool {
        let mut sessions = self.sessions.lock();
        match sessions.members.entry(member.identity.session) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(member);
                true
            }
        }
    }

    /// The sessions that `wanted` takes, by growing identifier.
    pub fn members(&self, wanted: impl Fn(&Identity) -> bool) -> Vec<Member> {
        let sessions = self.sessions.lock();
        let members = sessions.members.values().filter(|member| wanted(&member.identity));
        let mut members: Vec<_> = members.cloned().collect();
        drop(sessions);
        members.sort_unstable_by_key(|member| member.identity.session);
        members
    }

    /// The same, only their identifiers, for which nothing is shared or counted under the lock.
    pub fn session_ids(&self, wanted: impl Fn(&Identity) -> bool) -> Vec<SessionId> {
        let sessions = self.sessions.lock();
        let members = sessions.members.iter().filter(|(_, member)| wanted(&member.identity));
        let mut ids: Vec<_> = members.map(|(session, _)| *session).collect();
        drop(sessions);
        ids.sort_unstable();
        ids
    }

    /// How many sessions `wanted` takes.
    pub fn count_sessions(&self, wanted: impl Fn(&Identity) -> bool) -> usize {
        self.sessions.lock().members.values().filter(|member| wanted(&member.identity)).count()
    }

    /// The session of that identifier.
    pub fn member(&self, session: SessionId) -> Option<Member> {
        self.sessions.lock().members.get(&session).cloned()
    }

    /// What was said about a session beyond its identity.
    pub fn details(&self, session: SessionId) -> Arc<Details> {
        self.sessions.lock().details.get(&session).cloned().unwrap_or_default()
    }

    /// Says something else about a session: what has no value is taken away. Refused if all that is then said of it
    /// takes more than so many octets, and for a session that has left.
    ///
    /// The lock is held for no longer than what may be said of one session takes to be copied.
    pub fn change_details(
        &self,
        session: SessionId,
        changes: DetailChanges,
        bytes_max: usize,
    ) -> Result<(), Refusal> {
        let Sessions { members, details, .. } = &mut *self.sessions.lock();
        if !members.contains_key(&session) {
            return Err(Refusal::NoSuchSession);
        }
        let mut changed = details.get(&session).map(|known| Details::clone(known)).unwrap_or_default();
        for (name, value) in changes {
            match value {
                Some(value) => changed.insert(name, value),
                None => changed.remove(&name),
            };
        }
        if changed.iter().map(|(name, value)| detail_bytes(name, value)).sum::<usize>() > bytes_max {
            return Err(Refusal::Unavailable);
        }
        if changed.is_empty() {
            details.remove(&session);
        } else {
            details.insert(session, Arc::new(changed));
        }
        Ok(())
    }

    /// Says anew who a session is that is there.
    pub fn identify(&self, identity: &Arc<Identity>) {
        if let Some(member) = self.sessions.lock().members.get_mut(&identity.session) {
            member.identity = identity.clone();
        }
    }

    /// Takes a session out; true if it was the last.
    pub fn leave(&self, session: SessionId, now: Instant) -> bool {
        let mut sessions = self.sessions.lock();
        sessions.members.remove(&session);
        sessions.details.remove(&session);
        let emptied = sessions.members.is_empty();
        if emptied {
            sessions.emptied = Some(now);
        }
        emptied
    }

    /// True if nobody is in it.
    pub fn is_idle(&self) -> bool {
        self.sessions.lock().members.is_empty()
    }

    /// Since when nobody is in it, if nobody is, and somebody was.
    pub fn idle_since(&self) -> Option<Instant> {
        let sessions = self.sessions.lock();
        sessions.emptied.filter(|_| sessions.members.is_empty())
    }

    /// How many sessions there are.
    pub fn session_count(&self) -> usize {
        self.sessions.lock().members.len()
    }

    /// True if nobody has left anything behind.
    fn is_empty(&self) -> bool {
        let sessions = self.sessions.lock();
        self.directory.is_empty() && sessions.members.is_empty() && sessions.details.is_empty()
    }
}
