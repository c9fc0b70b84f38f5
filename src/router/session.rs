//! A session: what a joined peer has been promised, how it joins and what it is told. HELLO, WELCOME, ABORT, GOODBYE
//! (basic profile, "Sessions").

use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::authentication::{Access, Attempt, Claim, Extra, Proved};
use super::directory::{DirectoryKey, Slot, Workload};
use super::features::{Announced, Features};
use super::letter::CallKey;
use super::meta::testaments::Testaments;
use super::roster::Places;
use super::{Permissions, RealmKey, RealmSettings, RequestIds, Role, Router};
use crate::auth::Method;
use crate::codec;
use crate::error::Violation;
use crate::wamp::message::Hello;
use crate::wamp::{Dict, RegistrationId, RequestId, SessionId, UriCheck, Value, reason};

/// A map of the router's own; its keys are dense or checked, its order is never shown.
pub type Map<K, V> = HashMap<K, V, RandomState>;

/// A map that stays empty in most sessions: it is a pointer until something is put in.
#[derive(Debug)]
pub struct LazyMap<K, V>(Option<Box<Map<K, V>>>);

impl<K: Eq + Hash, V> LazyMap<K, V> {
    /// See [`HashMap::insert`].
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.get_or_insert_default().insert(key, value)
    }

    /// See [`HashMap::remove`].
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.as_mut()?.remove(key)
    }

    /// Takes all out, and gives the memory back.
    pub fn take(&mut self) -> impl Iterator<Item = (K, V)> + use<K, V> {
        self.0.take().into_iter().flat_map(|map| *map)
    }

    /// See [`HashMap::get`].
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.as_ref()?.get(key)
    }

    /// See [`HashMap::get_mut`].
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.as_mut()?.get_mut(key)
    }

    /// See [`HashMap::contains_key`].
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// The keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().flat_map(|map| map.keys())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(0, |map| map.len())
    }
}

impl<K, V> Default for LazyMap<K, V> {
    fn default() -> LazyMap<K, V> {
        LazyMap(None)
    }
}

/// Who a session is, once it has joined: the peer's own, the realm's list and what it sends share one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Its identifier.
    pub session: SessionId,
    /// The name it has joined under.
    pub authid: Box<str>,
    /// What it may do.
    pub role: Arc<Role>,
    /// How it has proved who it is.
    pub authmethod: &'static str,
    /// Who has vouched for it.
    pub authprovider: &'static str,
    /// What settings that change are held against.
    pub proof: Proof,
    /// What WELCOME has said of it besides: authorizers are told.
    pub extra: Option<Arc<Extra>>,
}

/// What has let a session in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// How it has proved who it is; with a cookie, what that was given for.
    pub method: Method,
    /// The realm whose procedure was asked about it, if that has sent it to another.
    pub asked: Option<Arc<str>>,
}

impl Proof {
    /// In the realm that was joined.
    pub fn by(method: Method) -> Proof {
        Proof { method, asked: None }
    }
}

/// What a callee has asked for with REGISTER, about every call of the registration that comes to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CalleeWishes {
    /// It is told who calls.
    pub disclose_caller: bool,
    /// It is told the timeout, and keeps the time itself.
    pub forward_timeout: bool,
}

/// A registration of which a session is a callee.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Where the directory has it.
    pub place: DirectoryKey,
    /// See [`Callee::membership`](super::directory::Callee).
    pub membership: u32,
    /// What this callee has asked for.
    pub wishes: CalleeWishes,
}

/// An invocation that its callee has not answered.
#[derive(Debug)]
pub struct OpenInvocation {
    /// Its request id.
    pub request: RequestId,
    /// Those of its registration, which may be gone before the last part of the call has come.
    pub wishes: CalleeWishes,
    /// Its caller has given it up, but the callee does not know and goes on.
    pub abandoned: Option<Box<Abandoned>>,
}

/// What becomes of an invocation that only its callee thinks of.
#[derive(Debug, Default)]
pub struct Abandoned {
    /// Where it is counted until the callee has answered it, once its caller's shard has said so.
    pub counted: Option<(Arc<Workload>, Slot)>,
}

/// What a joined peer has.
#[derive(Debug)]
pub struct Session {
    /// Its identifier.
    pub id: SessionId,
    /// Who it is.
    pub identity: Arc<Identity>,
    /// Its realm.
    pub realm: RealmKey,
    /// The last request from the peer.
    pub request: RequestId,
    /// The last INVOCATION to the peer.
    pub invocation: RequestId,
    /// What it has announced.
    pub features: Features,
    /// See [`Admission::counts_on`].
    pub counts_on: bool,
    /// Its calls of the router's own procedures that go round the shards: see [`super::meta::round`].
    pub rounds_open: u32,
    /// What is to be published when it ends.
    pub testaments: Option<Box<Testaments>>,
    /// Its role may do everything: [`Permissions::Everything`], at hand for every message.
    pub unrestricted: bool,
    /// Those were published: it is about to end, though a shutdown lets it speak a little longer.
    pub bequeathed: bool,
    /// It has sent a CALL of which it said that more would follow.
    pub calls_in_parts: bool,
    /// Its subscriptions, as its places in the rosters.
    pub places: Places,
    /// Its registrations.
    pub registrations: LazyMap<RegistrationId, Held>,
    /// Its calls that wait for their result.
    pub calls: LazyMap<RequestId, CallKey>,
    /// Invocations it has not answered.
    pub invocations: LazyMap<RequestId, CallKey>,
    /// The same by call, for INTERRUPT and for the further parts of the call.
    pub invocations_by_call: LazyMap<CallKey, OpenInvocation>,
}

impl Session {
    /// It is somebody else from now on, or may do something else.
    pub fn set_identity(&mut self, identity: Arc<Identity>) {
        self.unrestricted = identity.role.permissions == Permissions::Everything;
        self.identity = identity;
    }

    /// A session without promises.
    pub fn new(identity: Arc<Identity>, realm: RealmKey, admission: &Admission) -> Session {
        Session {
            id: identity.session,
            unrestricted: identity.role.permissions == Permissions::Everything,
            identity,
            realm,
            request: RequestId::NONE,
            invocation: RequestId::NONE,
            features: admission.features,
            counts_on: admission.counts_on,
            rounds_open: 0,
            testaments: None,
            bequeathed: false,
            calls_in_parts: false,
            places: Places::default(),
            registrations: LazyMap::default(),
            calls: LazyMap::default(),
            invocations: LazyMap::default(),
            invocations_by_call: LazyMap::default(),
        }
    }

    /// The call of an invocation that is open, and that its caller has not given up.
    pub fn thought_of(&self, request: RequestId) -> Option<CallKey> {
        let call = self.invocations.get(&request)?;
        self.invocations_by_call.get(call).filter(|open| open.abandoned.is_none()).map(|_| *call)
    }

    /// Takes the request id of a CALL. One that was seen before goes on with that call, from a caller that sends calls
    /// in parts; such a caller may not know yet that the call is over. Which calls those were is not kept: a part of
    /// none of them is dropped as a late one is (advanced profile, "Progressive Call Invocations", allows that).
    ///
    /// Where ids come in any order a part that comes too late cannot be told from a new call, and is one.
    pub fn admit_call(&mut self, request: RequestId, rule: RequestIds) -> Result<Admitted, Violation> {
        let open = self.calls.contains_key(&request);
        let seen = open || (rule != RequestIds::Any && request <= self.request);
        if !seen {
            return self.admit(request, rule).map(|()| Admitted::New);
        }
        if !self.calls_in_parts {
            return Err(Violation::RequestOutOfOrder);
        }
        Ok(Admitted::Again)
    }

    /// Takes the request id of a SUBSCRIBE, UNSUBSCRIBE, PUBLISH, REGISTER or UNREGISTER, or of a CALL that is new.
    pub fn admit(&mut self, request: RequestId, rule: RequestIds) -> Result<(), Violation> {
        let follows = match rule {
            RequestIds::Strict => {
                request == self.request.next() || (self.counts_on && self.request == RequestId::NONE)
            }
            RequestIds::Increasing => request > self.request,
            RequestIds::Any => true,
        };
        if !follows {
            return Err(Violation::RequestOutOfOrder);
        }
        self.request = request;
        Ok(())
    }
}

/// Which request it is that has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admitted {
    /// One that was not there before.
    New,
    /// A CALL with the request id of an earlier one.
    Again,
}

/// What a HELLO asks for that the router grants.
#[derive(Clone, Debug)]
pub struct Admission {
    /// What holds in the realm, by which it is to prove who it is. It has the realm's name; there need be none yet.
    pub realm: Arc<RealmSettings>,
    /// The realm that HELLO names, if a procedure there has sent it to another.
    pub asked: Option<Arc<str>>,
    /// See [`Session::features`].
    pub features: Features,
    /// The client's library does not begin to count again when it joins again, so its first request may have any id:
    /// wampy.js after a reconnect. Refusing it would lock such clients out after every restart of the router.
    pub counts_on: bool,
}

/// What is kept of a peer that was asked to prove who it is.
#[derive(Debug)]
pub struct Pending {
    /// What it gets then.
    pub admission: Admission,
    /// What it was asked.
    pub attempt: Box<Attempt>,
    /// It has answered, and somebody looks at that, as long as this is kept.
    pub checking: Option<Arc<()>>,
}

/// Why a HELLO is answered with ABORT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HelloRefusal {
    /// The reason's URI.
    pub reason: &'static str,
    /// The same for people.
    pub message: &'static str,
}

/// Holds a HELLO against the router's realms, and those that the listener opens: one that is not open there looks like
/// one that does not exist. A HELLO without roles is a violation, not a refusal.
pub fn admit(
    router: &Router,
    access: &Access,
    draining: bool,
    hello: &Hello<'_>,
) -> Result<Result<(Admission, Claim), HelloRefusal>, Violation> {
    let details = HelloDetails::read(&hello.details);
    if !details.has_role {
        return Err(Violation::NoRoles);
    }
    let refusal = |reason, message| Ok(Err(HelloRefusal { reason, message }));
    if draining {
        return refusal(reason::SYSTEM_SHUTDOWN, "The router is shutting down.");
    }
    let uri_bytes_max = router.settings.limits.uri_bytes_max;
    if hello.realm.len() > uri_bytes_max || !UriCheck::Loose.uri(&hello.realm) {
        return refusal(reason::INVALID_URI, "The realm is not a valid URI.");
    }
    let realm = router.realm_table().offered(&hello.realm).filter(|realm| realm.is_opened_by(access));
    let Some(realm) = realm else {
        return refusal(reason::NO_SUCH_REALM, "The realm does not exist.");
    };
    let HelloDetails { features, counts_on, claim, .. } = details;
    Ok(Ok((Admission { realm, asked: None, features, counts_on }, claim)))
}

/// What the router reads of `HELLO.Details`.
#[derive(Debug)]
struct HelloDetails {
    has_role: bool,
    features: Features,
    counts_on: bool,
    claim: Claim,
}

impl HelloDetails {
    fn read(details: &Dict<'_>) -> HelloDetails {
        let features = Features::default();
        let claim = Claim::default();
        let mut read = HelloDetails { has_role: false, features, counts_on: false, claim };
        for (key, value) in codec::entries(details) {
            match (&*key, &value) {
                ("roles", Value::Dict(roles)) => read.roles(roles),
                ("agent", Value::Text(agent)) => read.counts_on = agent.starts_with("Wampy.js"),
                (key, value) => read.claim.read(key, value),
            }
        }
        read
    }

    fn roles(&mut self, roles: &Dict<'_>) {
        for (role, attributes) in codec::entries(roles) {
            self.has_role |= matches!(&*role, "publisher" | "subscriber" | "caller" | "callee");
            if let Value::Dict(attributes) = &attributes {
                self.features.read(&role, attributes);
            }
        }
    }
}

/// Calls `send` with `WELCOME.Details`: the roles of this router with these features, who the session is, and what it
/// was proved by.
pub fn welcome_details<T>(
    router: &Router,
    realm: &RealmSettings,
    identity: &Identity,
    proved: &Proved,
    announced: Announced,
    send: impl FnOnce(Dict<'_>) -> T,
) -> T {
    let on = |names: Vec<&'static str>| -> Vec<_> {
        names.into_iter().map(|name| (name, Value::Bool(true))).collect()
    };
    let Announced { broker, dealer } = announced;
    let (broker, dealer) = (on(broker), on(dealer));
    let broker = [("features", Value::Dict(Dict::Pairs(&broker)))];
    let dealer = [("features", Value::Dict(Dict::Pairs(&dealer)))];
    let roles =
        [("broker", Value::Dict(Dict::Pairs(&broker))), ("dealer", Value::Dict(Dict::Pairs(&dealer)))];
    let mut details = vec![
        ("realm", Value::text(&realm.name)),
        ("authid", Value::text(&identity.authid)),
        ("authrole", Value::text(&identity.role.name)),
        ("authmethod", Value::text(identity.authmethod)),
        ("authprovider", Value::text(identity.authprovider)),
        ("roles", Value::Dict(Dict::Pairs(&roles))),
    ];
    let extra: Vec<_> = proved.extra.iter().flat_map(|extra| extra.entries()).collect();
    let mut authextra: Vec<_> = extra.iter().map(|(key, value)| (&**key, value.clone())).collect();
    authextra.extend(proved.verifier.iter().map(|(name, verifier)| (*name, Value::text(verifier))));
    if !authextra.is_empty() {
        details.push(("authextra", Value::Dict(Dict::Pairs(&authextra))));
    }
    if !router.settings.agent.is_empty() {
        details.push(("agent", Value::text(&router.settings.agent)));
    }
    send(Dict::Pairs(&details))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::features::Feature;
    use crate::wamp::{Message, Serializer};

    fn details(json: &str) -> HelloDetails {
        let hello = format!(r#"[1,"realm1",{json}]"#);
        match codec::decode(Serializer::Json, hello.as_bytes()) {
            Ok(Message::Hello(hello)) => HelloDetails::read(&hello.details),
            other => panic!("{other:?}"),
        }
    }

    fn session(counts_on: bool) -> Session {
        let role = Role::anonymous();
        let identity = Identity {
            session: SessionId(1),
            authid: "somebody".into(),
            role: Arc::new(role),
            authmethod: "anonymous",
            authprovider: "static",
            proof: Proof::by(Method::Anonymous),
            extra: None,
        };
        let realm = Arc::new(RealmSettings::open("realm"));
        let admission = Admission { realm, asked: None, features: Features::default(), counts_on };
        Session::new(Arc::new(identity), RealmKey::FIRST, &admission)
    }

    #[test]
    fn a_lazy_map_is_a_map() {
        let (mut lazy, mut twin) = (LazyMap::default(), Map::default());
        for step in 0..1000u32 {
            let key = step.wrapping_mul(0x9E37_79B9) >> 27;
            assert_eq!((lazy.get(&key), lazy.contains_key(&key)), (twin.get(&key), twin.contains_key(&key)));
            match step % 3 {
                0 => assert_eq!(lazy.remove(&key), twin.remove(&key)),
                _ => assert_eq!(lazy.insert(key, step), twin.insert(key, step)),
            }
            assert_eq!(lazy.count(), twin.len());
        }
        assert!(lazy.take().all(|(key, value)| twin.remove(&key) == Some(value)) && twin.is_empty());
        assert_eq!((lazy.count(), lazy.get(&1), lazy.0.is_none()), (0, None, true));
    }

    #[test]
    fn an_idle_session_is_small() {
        assert!(size_of::<Session>() <= 120, "{}", size_of::<Session>());
    }

    #[test]
    fn hello_details_are_read_whatever_else_they_hold() {
        let read =
            details(r#"{"x":[{"roles":1}],"roles":{"callee":{"features":{"call_canceling":true,"y":1}}}}"#);
        assert!(read.has_role && !read.counts_on);
        assert!(read.features.has(Feature::CalleeCallCanceling));
        for none in [r#"{"roles":[]}"#, "{}", r#"{"roles":{"broker":{}}}"#] {
            assert!(!details(none).has_role, "{none}");
        }
    }

    #[test]
    fn request_ids_follow_the_rule_of_the_listener() {
        let takes = |counts_on, rule, ids: &[u64]| {
            let mut session = session(counts_on);
            ids.iter().all(|id| session.admit(RequestId(*id), rule).is_ok())
        };
        assert!(takes(false, RequestIds::Strict, &[1, 2, 3]));
        for wrong in [&[2][..], &[1, 1], &[1, 3], &[1, 2, 1]] {
            assert!(!takes(false, RequestIds::Strict, wrong), "{wrong:?}");
        }
        assert!(takes(true, RequestIds::Strict, &[41, 42]) && !takes(true, RequestIds::Strict, &[41, 43]));
        assert!(
            takes(false, RequestIds::Increasing, &[4, 9]) && !takes(false, RequestIds::Increasing, &[4, 4])
        );
        assert!(takes(false, RequestIds::Any, &[9, 9, 1]));
    }
}
