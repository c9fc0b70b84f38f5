//! `wamp.subscription.*` (advanced profile, "Subscription Meta API"; "Subscription Revocation" for
//! `remove_subscriber`, which the specification's catalog has and its text does not).
//!
//! The directory knows which subscriptions there are and on which shards; who has one is known to the rosters of those
//! shards, so that is asked by a letter that goes round them.

use super::procedures::{Arguments, Reply, administers};
use super::round::{Errand, shards_of};
use crate::codec;
use crate::error::Refusal;
use crate::router::Clock;
use crate::router::directory::{IdsByPolicy, SubscriptionListing};
use crate::router::realm::Realm;
use crate::router::session::Session;
use crate::wamp::options::SubscribeOptions;
use crate::wamp::{Dict, List, MatchPolicy, SessionId, SubscriptionId, Value};

/// `wamp.subscription.list`: to the identifiers by match policy.
pub(super) fn list(realm: &Realm) -> Result<Reply, Refusal> {
    Ok(by_policy(&realm.directory.subscription_ids(), |id| id.0))
}

/// Identifiers by match policy, as a result.
pub(super) fn by_policy<I>(ids: &IdsByPolicy<I>, number: impl Fn(&I) -> u64) -> Reply {
    let lists = [MatchPolicy::Exact, MatchPolicy::Prefix, MatchPolicy::Wildcard].map(|policy| {
        let ids = ids.of(policy).iter();
        (policy.name(), ids.map(|id| Value::Unsigned(number(id))).collect::<Vec<_>>())
    });
    let pairs = lists.each_ref().map(|(name, ids)| (*name, Value::List(List::Values(ids))));
    Reply::value(Value::Dict(Dict::Pairs(&pairs)))
}

/// `wamp.subscription.lookup`: `[topic, options?]` to the subscription of just this topic and policy, or null.
pub(super) fn lookup(realm: &Realm, arguments: &Arguments<'_>) -> Result<Reply, Refusal> {
    let topic = arguments.text(0, "topic")?;
    let options = arguments.dict(1, "options")?.unwrap_or(Dict::EMPTY);
    let SubscribeOptions { match_policy, .. } = codec::options(&options)?;
    Ok(Reply::number(realm.directory.subscription(topic, match_policy).map(|id| id.0)))
}

/// `wamp.subscription.match`: `[topic]` to the subscriptions that get its events, in the order in which a session that
/// has them all gets them; null if there are none.
pub(super) fn matching(realm: &Realm, arguments: &Arguments<'_>) -> Result<Reply, Refusal> {
    let topic = arguments.text(0, "topic")?;
    let (_, matched) = realm.directory.matches(topic);
    if matched.subscriptions.is_empty() {
        return Ok(Reply::number(None));
    }
    Ok(Reply::list(matched.subscriptions.iter().map(|subscription| subscription.id.0)))
}

/// `wamp.subscription.get`: `[subscription]` to its details.
pub(super) fn get(realm: &Realm, arguments: &Arguments<'_>) -> Result<Reply, Refusal> {
    let SubscriptionListing { id, topic, policy, created, .. } = listing(realm, arguments)?;
    let created = Clock::utc(created);
    let pairs = [
        ("id", Value::Unsigned(id.0)),
        ("created", Value::text(&created)),
        ("uri", Value::text(&topic)),
        ("match", Value::text(policy.name())),
    ];
    Ok(Reply::value(Value::Dict(Dict::Pairs(&pairs))))
}

/// `wamp.subscription.list_subscribers`: `[subscription]` to the sessions that have it.
pub(super) fn list_subscribers(realm: &Realm, arguments: &Arguments<'_>) -> Result<Reply, Refusal> {
    let SubscriptionListing { id: subscription, shards, .. } = listing(realm, arguments)?;
    Ok(Reply::Round(shards, Errand::ListSubscribers { subscription, sessions: Vec::new() }))
}

/// `wamp.subscription.count_subscribers`: `[subscription]` to the number of sessions that have it.
pub(super) fn count_subscribers(realm: &Realm, arguments: &Arguments<'_>) -> Result<Reply, Refusal> {
    let SubscriptionListing { id: subscription, shards, .. } = listing(realm, arguments)?;
    Ok(Reply::Round(shards, Errand::CountSubscribers { subscription, count: 0 }))
}

/// `wamp.subscription.remove_subscriber`: `[subscription, session]`, and `reason` as a keyword argument.
pub(super) fn remove_subscriber(
    realm: &Realm,
    session: &Session,
    arguments: &Arguments<'_>,
) -> Result<Reply, Refusal> {
    administers(session)?;
    let subscription = SubscriptionId(arguments.id(0, "subscription")?);
    let subscriber = SessionId(arguments.id(1, "session")?);
    let reason = arguments.keyword_text("reason")?.map(Into::into);
    let subscriber = realm.member(subscriber).ok_or(Refusal::NoSuchSession)?;
    let shards = shards_of(std::slice::from_ref(&subscriber));
    Ok(Reply::Round(shards, Errand::RemoveSubscriber { subscription, subscriber, reason, removed: false }))
}

fn listing(realm: &Realm, arguments: &Arguments<'_>) -> Result<SubscriptionListing, Refusal> {
    let id = SubscriptionId(arguments.id(0, "subscription")?);
    realm.directory.subscription_by_id(id).ok_or(Refusal::NoSuchSubscription)
}
