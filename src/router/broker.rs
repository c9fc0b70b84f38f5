//! The broker of one realm in one shard: SUBSCRIBE, UNSUBSCRIBE, PUBLISH, and the delivery of EVENT to the peers here
//! (basic profile, "Publish and Subscribe"; advanced profile, "Pattern-based Subscriptions"). What PUBLISH begets
//! stands in `publish`.
//!
//! The *rosters* say exactly which peers here have which subscription; nobody else reads or writes them. The
//! directory, which all shards share, only knows that this shard has some. A publication is delivered by what the
//! roster says when its letter arrives, so nothing can follow UNSUBSCRIBED.
//!
//! Invariant: a peer stands in the roster of a subscription exactly if its session has that place. The directory has
//! this shard among those of a subscription exactly if there is a roster, which has a peer at least.

mod publish;

use std::sync::Arc;

pub(super) use self::publish::check_options;
use super::authorization::Question;
use super::directory::{Full, MatchedSubscription};
use super::eligibility::Eligibility;
use super::features::Feature;
use super::letter::Letter;
use super::match_cache::MatchCache;
use super::meta;
use super::publication::{EventFrames, Publication};
use super::realm::{Member, Realm};
use super::roster::{RosterKey, Rosters, Struck};
use super::rules::Action;
use super::session::Session;
use super::{Context, PeerKey};
use crate::codec;
use crate::error::Refusal;
use crate::wamp::message::{Subscribe, Subscribed, Unsubscribe, Unsubscribed};
use crate::wamp::options::SubscribeOptions;
use crate::wamp::{Dict, Message, RequestId, SessionId, SubscriptionId, Value};

/// The broker.
#[derive(Debug)]
pub struct Broker {
    realm: Arc<Realm>,
    cache: MatchCache,
    rosters: Rosters,
    frames: EventFrames,
    /// Publications have particulars that nobody asked for: see [`RealmSettings::adds_particulars`].
    ///
    /// [`RealmSettings::adds_particulars`]: super::RealmSettings::adds_particulars
    adds_particulars: bool,
}

impl Broker {
    /// A broker without subscriptions.
    pub fn new(realm: Arc<Realm>, match_cache_entries_max: usize) -> Broker {
        Broker {
            adds_particulars: realm.settings.adds_particulars(),
            realm,
            cache: MatchCache::new(match_cache_entries_max),
            rosters: Rosters::default(),
            frames: EventFrames::default(),
        }
    }

    /// Other settings of the realm hold from now on. All that was found out by the old ones is forgotten.
    pub fn configure(&mut self, realm: Arc<Realm>, match_cache_entries_max: usize) {
        self.adds_particulars = realm.settings.adds_particulars();
        self.realm = realm;
        self.cache.clear(match_cache_entries_max);
    }

    /// SUBSCRIBE. Who subscribes again gets the subscription it has.
    pub fn on_subscribe(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Subscribe<'_>,
    ) -> Result<(), Refusal> {
        let SubscribeOptions { match_policy: policy, get_retained } = codec::options(&message.options)?;
        let limits = &cx.router.settings.limits;
        if message.topic.len() > limits.uri_bytes_max || !self.realm.uri_check.pattern(&message.topic, policy)
        {
            return Err(Refusal::InvalidUri);
        }
        let (uri, options) = (&*message.topic, &message.options);
        let question = Question { action: Action::Subscribe, uri, policy, options };
        cx.authorize(key, &self.realm, &question, None)?;
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        let directory = &self.realm.directory;
        // What a session has cannot go meanwhile, and what it has not cannot come.
        let known = directory.subscription(&message.topic, policy);
        if let Some(subscription) = known.filter(|known| self.has(session, *known)) {
            cx.peers.send(key, &Message::Subscribed(Subscribed { request: message.request, subscription }));
            if get_retained {
                self.send_retained(cx, key, (&message.topic, policy), subscription);
            }
            return Ok(());
        }
        if session.places.count() >= limits.subscriptions_per_session_max {
            return Err(Refusal::Unavailable);
        }
        let joined = directory
            .subscribe(&message.topic, policy, cx.index, session.id, cx.router.clock.unix_ms(cx.now))
            .map_err(|Full| Refusal::Unavailable)?;
        let subscription = joined.subscription;
        let (roster, position) = self.rosters.enroll(subscription, joined.key, key.index);
        session.places.set(roster, position);
        // Queued before any letter is taken, and so before the first event.
        cx.peers.send(key, &Message::Subscribed(Subscribed { request: message.request, subscription }));
        if get_retained {
            self.send_retained(cx, key, (&message.topic, policy), subscription);
        }
        self.nudge(cx, joined.recorded);
        Ok(())
    }

    fn has(&self, session: &Session, subscription: SubscriptionId) -> bool {
        self.rosters.find(subscription).is_some_and(|roster| session.places.position(roster).is_some())
    }

    /// UNSUBSCRIBE.
    pub fn on_unsubscribe(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Unsubscribe,
    ) -> Result<(), Refusal> {
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        let roster = self.rosters.find(message.subscription).ok_or(Refusal::NoSuchSubscription)?;
        let position = session.places.remove(roster).ok_or(Refusal::NoSuchSubscription)?;
        let id = session.id;
        let recorded = self.strike(cx, roster, position, id);
        cx.peers.send(key, &Message::Unsubscribed(Unsubscribed { request: message.request, details: None }));
        self.nudge(cx, recorded);
        Ok(())
    }

    /// Takes a session out of all its rosters: it is leaving. In the order of the subscriptions' ids, which others see
    /// by the meta events.
    pub fn leave(&mut self, cx: &mut Context<'_>, session: &mut Session) {
        let places = std::mem::take(&mut session.places);
        let mut places: Vec<_> = places
            .iter()
            .map(|(roster, position)| (self.rosters.subscription(roster), roster, position))
            .collect();
        places.sort_unstable();
        let mut recorded = false;
        for (_, roster, position) in places {
            recorded |= self.strike(cx, roster, position, session.id);
        }
        self.nudge(cx, recorded);
    }

    /// Takes a session out of a subscription by the will of others; false if it is not in it. The peer is told if it
    /// has announced that it understands (advanced profile, "Subscription Revocation").
    pub fn revoke(
        &mut self,
        cx: &mut Context<'_>,
        subscriber: &Member,
        subscription: SubscriptionId,
        reason: Option<&str>,
    ) -> bool {
        let (key, id) = (subscriber.peer, subscriber.identity.session);
        let Some(session) = cx.peers.session(key).filter(|session| session.id == id) else { return false };
        let Some(roster) = self.rosters.find(subscription) else { return false };
        let Some(position) = session.places.remove(roster) else { return false };
        let told = session.features.has(Feature::SubscriberSubscriptionRevocation);
        let recorded = self.strike(cx, roster, position, id);
        if told {
            let details = [
                ("subscription", Value::Unsigned(subscription.0)),
                ("reason", Value::text(reason.unwrap_or(""))),
            ];
            let details = Dict::Pairs(&details[..1 + usize::from(reason.is_some())]);
            let revoked = Unsubscribed { request: RequestId::NONE, details: Some(details) };
            cx.peers.send(key, &Message::Unsubscribed(revoked));
        }
        self.nudge(cx, recorded);
        true
    }

    /// The subscriptions that a session has, in order.
    pub fn subscriptions(&self, session: &Session) -> Vec<SubscriptionId> {
        let places = session.places.iter();
        let mut subscriptions: Vec<_> = places.map(|(roster, _)| self.rosters.subscription(roster)).collect();
        subscriptions.sort_unstable();
        subscriptions
    }

    /// The sessions here that have a subscription.
    pub fn subscribers(&self, cx: &mut Context<'_>, subscription: SubscriptionId) -> Vec<SessionId> {
        let peers = self.rosters.peers(subscription).iter();
        let session =
            |peer: &u32| cx.peers.session_at(*peer).expect("who stands in a roster is in a session").id;
        peers.map(session).collect()
    }

    /// How many they are.
    pub fn subscriber_count(&self, subscription: SubscriptionId) -> usize {
        self.rosters.peers(subscription).len()
    }

    /// Takes the peer at `position` out of a roster, which its session no longer names. True if that was recorded.
    fn strike(&mut self, cx: &mut Context<'_>, roster: RosterKey, position: u32, session: SessionId) -> bool {
        let Struck { subscription, key, moved, last } = self.rosters.strike(roster, position);
        if let Some(moved) = moved {
            let moved = cx.peers.session_at(moved).expect("who stands in a roster is in a session");
            moved.places.set(roster, position);
        }
        self.realm.directory.unsubscribe(key, subscription, cx.index, last, session).recorded
    }

    /// Hands a publication to the peers here, one EVENT for each subscription of each.
    pub fn deliver(&mut self, cx: &mut Context<'_>, publication: &Publication) {
        let here = 1u64 << cx.index.0;
        let excluded = match publication.excluded {
            Some((shard, key)) if shard == cx.index => Some(key.index),
            _ => None,
        };
        let eligibility = publication.eligibility();
        for subscription in
            publication.matched.subscriptions.iter().filter(|matched| matched.shards & here != 0)
        {
            // The last subscriber here may have left after the publisher's shard looked.
            let peers = self.rosters.peers(subscription.id);
            if let Some(lists) = eligibility {
                send_to_eligible(cx, (peers, excluded, lists), publication, subscription, &mut self.frames);
            } else {
                for &peer in peers.iter().filter(|peer| Some(**peer) != excluded) {
                    cx.peers.send_event(peer, publication, subscription, &mut self.frames);
                }
            }
            cx.peers.event_sent(&mut self.frames);
        }
    }

    /// Publishes what the directory has recorded (advanced profile, "Subscription Meta Events" and "Registration Meta
    /// Events"). Runs on the realm's home shard only, so that the order of the records is the order of the events.
    pub fn publish_records(&mut self, cx: &mut Context<'_>) {
        let mut records = Vec::new();
        self.realm.directory.take_records(&mut records);
        for record in records {
            let topic = meta::topic(&record);
            let matched = self.cache.topic(&self.realm.directory, topic);
            if matched.shards == 0 {
                continue;
            }
            let publication = cx.entropy.publication();
            let publication = Publication::new(publication, topic, matched.clone(), meta::payload(&record));
            self.post(cx, publication);
        }
    }

    fn nudge(&self, cx: &mut Context<'_>, recorded: bool) {
        if recorded {
            cx.letters.post(self.realm.home, Letter::Meta { realm: self.realm.key });
        }
    }

    /// How often topics were looked up in the directory.
    pub fn directory_lookups(&self) -> u64 {
        self.cache.misses()
    }

    /// True if nobody here is subscribed to anything.
    pub fn is_empty(&self) -> bool {
        self.rosters.is_empty()
    }
}

/// EVENT to those that the lists of the publication let have it.
#[cold]
fn send_to_eligible(
    cx: &mut Context<'_>,
    (peers, excluded, lists): (&[u32], Option<u32>, &Eligibility),
    publication: &Publication,
    subscription: &MatchedSubscription,
    frames: &mut EventFrames,
) {
    for &peer in peers.iter().filter(|peer| Some(**peer) != excluded) {
        if cx.peers.session_at(peer).is_some_and(|session| lists.admits(&session.identity)) {
            cx.peers.send_event(peer, publication, subscription, frames);
        }
    }
}
