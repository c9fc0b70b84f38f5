//! Testaments: what a session wants published when it ends (advanced profile, "Session Testament").
//!
//! They lie in the session and are published by its shard, through the same code as a PUBLISH of the session itself,
//! while it still is one and whatever the way it ends, before anything it has is taken away. There is no session
//! resumption, so detached and destroyed are the same moment: the testaments of the first scope come first.
//!
//! Its options are held against all that a PUBLISH is, but when it is added: later nobody is left to be told.
//!
//! In a shutdown all are published before any session ends. Whoever adds or flushes from then on is refused: RESULT
//! promises that what was flushed is not published, and that what was added is, while others are there.
//!
//! A testament goes to others only: by the time it is delivered its session stands in no roster. It is not ordered with
//! the meta events about its session's leaving, which come by way of the realm's home shard.

use std::sync::Arc;

use super::procedures::{Arguments, Reply};
use crate::codec;
use crate::codec::payload::{self, OwnedPayload};
use crate::error::Refusal;
use crate::limits::Limits;
use crate::router::authorization::{Granted, Question};
use crate::router::features::Feature;
use crate::router::realm::Realm;
use crate::router::rules::Action;
use crate::router::session::Session;
use crate::router::shard::{LocalRealm, count_silent};
use crate::router::{Context, PeerKey, Role, broker, passthru};
use crate::wamp::message::Publish;
use crate::wamp::{Dict, List, RequestId, Value, uri};

/// The testaments of a session, each scope in the order of adding.
#[derive(Debug, Default)]
pub struct Testaments {
    scopes: [Vec<Testament>; 2],
}

#[derive(Debug)]
struct Testament {
    topic: Box<str>,
    /// As keyword arguments, for the sake of having them owned; without `acknowledge`, which nobody waits for.
    options: OwnedPayload,
    payload: OwnedPayload,
    allowed: Allowed,
}

/// That a testament was allowed, and what goes with it.
#[derive(Debug)]
pub(super) struct Allowed {
    granted: Granted,
    /// As what the session was allowed it.
    role: Arc<Role>,
}

impl Testaments {
    fn count(&self) -> usize {
        self.scopes.iter().map(Vec::len).sum()
    }

    fn bytes(&self) -> usize {
        self.scopes.iter().flatten().map(Testament::bytes).sum()
    }
}

impl Testament {
    fn bytes(&self) -> usize {
        self.topic.len() + self.options.borrow().bytes().len() + self.payload.borrow().bytes().len()
    }
}

/// Asks whether a session may have a testament: it is a PUBLISH.
pub(super) fn authorize(
    realm: &Realm,
    cx: &mut Context<'_>,
    key: PeerKey,
    arguments: &Arguments<'_>,
) -> Result<Allowed, Refusal> {
    let topic = topic(realm, &cx.router.settings.limits, arguments)?;
    let options = match arguments.keyword("publish_options") {
        None => Dict::EMPTY,
        Some(Value::Dict(options)) => options,
        Some(_) => return Err(Refusal::InvalidArgument("publish_options")),
    };
    let role = cx.peers.session(key).map(|session| session.identity.role.clone());
    let role = role.ok_or(Refusal::NotAuthorized)?;
    let granted = cx.authorize(key, realm, &Question::exact(Action::Publish, topic, &options), None)?;
    Ok(Allowed { granted, role })
}

/// The topic of a testament, if one may publish there.
fn topic<'a>(realm: &Realm, limits: &Limits, arguments: &'a Arguments<'_>) -> Result<&'a str, Refusal> {
    let topic = arguments.text(0, "topic")?;
    let valid = topic.len() <= limits.uri_bytes_max && realm.uri_check.uri(topic);
    if valid && !uri::reserved(topic) { Ok(topic) } else { Err(Refusal::InvalidUri) }
}

/// `wamp.session.add_testament`: `[topic, args, kwargs]`, and `publish_options` and `scope` as keyword arguments.
pub(super) fn add(
    realm: &Realm,
    session: &mut Session,
    limits: &Limits,
    arguments: &Arguments<'_>,
    allowed: Allowed,
) -> Result<(), Refusal> {
    if session.bequeathed {
        return Err(Refusal::Unavailable);
    }
    let topic = topic(realm, limits, arguments)?;
    let args = match arguments.value(1) {
        None => List::Values(&[]),
        Some(Value::List(args)) => *args,
        Some(_) => return Err(Refusal::InvalidArgument("args")),
    };
    let kwargs = arguments.dict(2, "kwargs")?;
    let options = publish_options(realm, session, arguments)?;
    let scope = scope(arguments)?;
    let payload = OwnedPayload::from_parts(arguments.serializer, &args, kwargs.as_ref())
        .expect("values have a form in their own serializer");
    let testament = Testament { topic: topic.into(), options, payload, allowed };
    let testaments = session.testaments.get_or_insert_default();
    if testaments.count() >= limits.testaments_per_session_max
        || testaments.bytes() + testament.bytes() > limits.testament_bytes_per_session_max
    {
        return Err(Refusal::Unavailable);
    }
    testaments.scopes[scope].push(testament);
    Ok(())
}

/// The options of the publication. Payload passthru mode that was not announced is refused, where a PUBLISH would break
/// the protocol: the message at hand is a CALL, and it breaks nothing.
fn publish_options(
    realm: &Realm,
    session: &Session,
    arguments: &Arguments<'_>,
) -> Result<OwnedPayload, Refusal> {
    let options = match arguments.keyword("publish_options") {
        None => return Ok(OwnedPayload::EMPTY),
        Some(Value::Dict(options)) => options,
        Some(_) => return Err(Refusal::InvalidArgument("publish_options")),
    };
    broker::check_options(&realm.settings, &options)?;
    if passthru::used(&options)? && !session.features.has(Feature::PublisherPayloadPassthru) {
        return Err(Refusal::FeatureNotSupported);
    }
    let kept: Vec<_> = codec::entries(&options).filter(|(name, _)| name != "acknowledge").collect();
    let kept: Vec<_> = kept.iter().map(|(name, value)| (&**name, value.clone())).collect();
    let options = OwnedPayload::from_values(arguments.serializer, &[], &kept);
    Ok(options.expect("values have a form in their own serializer"))
}

/// `wamp.session.flush_testaments`: `scope` as a keyword argument. The specification's text has it in the first place
/// too, so it is taken from there as well.
pub(super) fn flush(session: &mut Session, arguments: &Arguments<'_>) -> Result<Reply, Refusal> {
    if session.bequeathed {
        return Err(Refusal::Unavailable);
    }
    let scope = match arguments.value(0) {
        Some(_) => scope_named(arguments.text(0, "scope")?)?,
        None => scope(arguments)?,
    };
    if let Some(testaments) = &mut session.testaments {
        testaments.scopes[scope].clear();
        if testaments.count() == 0 {
            session.testaments = None;
        }
    }
    Ok(Reply::Now(OwnedPayload::EMPTY))
}

fn scope(arguments: &Arguments<'_>) -> Result<usize, Refusal> {
    scope_named(arguments.keyword_text("scope")?.as_deref().unwrap_or("destroyed"))
}

/// Position in [`Testaments::scopes`].
fn scope_named(name: &str) -> Result<usize, Refusal> {
    match name {
        "detached" => Ok(0),
        "destroyed" => Ok(1),
        _ => Err(Refusal::InvalidArgument("scope")),
    }
}

/// Publishes the testaments of a session that is about to end.
pub(in crate::router) fn publish(realm: &mut LocalRealm, cx: &mut Context<'_>, key: PeerKey) {
    let Some(session) = cx.peers.session(key) else { return };
    session.bequeathed = true;
    let Some(testaments) = session.testaments.take() else { return };
    for Testament { topic, options, payload, allowed } in testaments.scopes.iter().flatten() {
        let options = match payload::values(options.borrow()) {
            (_, options @ Dict::Raw(_)) => options,
            _ => Dict::EMPTY,
        };
        let publish = Publish {
            request: RequestId::NONE,
            options,
            topic: (&**topic).into(),
            payload: payload.borrow(),
        };
        let Allowed { granted, role } = allowed;
        cx.vouch(key, &Question::exact(Action::Publish, topic, &publish.options), (*granted, role));
        match realm.broker.on_publish(cx, key, &publish) {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => count_silent(cx, refusal),
            Err(_) => cx.peers.counters.publications_refused_silently += 1,
        }
        cx.authorizers.take_at_hand();
    }
}
