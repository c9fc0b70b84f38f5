//! PUBLISH, and what it leaves behind for those who come later (basic profile, "Publish and Subscribe"; advanced
//! profile, "Publisher Exclusion", "Publisher Identification", "Publication Trust Levels", "Event Retention", "Event
//! History").
//!
//! The order in [`Broker::on_publish`] matters: what is kept is stored before subscribers are looked for, and both
//! before PUBLISHED is queued.

use std::sync::Arc;

use super::Broker;
use crate::codec;
use crate::codec::payload::OwnedPayload;
use crate::error::{Refusal, Violation};
use crate::router::authorization::{Granted, Question};
use crate::router::eligibility::Eligibility;
use crate::router::features::Feature;
use crate::router::letter::{Attributes, Letter};
use crate::router::peer::Sent;
use crate::router::publication::{KeptPublication, Particulars, Publication};
use crate::router::rules::Action;
use crate::router::{Context, Disclosure, PeerKey, RealmSettings, ShardIndex, passthru};
use crate::wamp::message::{Event, Publish, Published};
use crate::wamp::options::PublishOptions;
use crate::wamp::{Dict, MatchPolicy, Message, PublicationId, SubscriptionId, Value, uri};

impl Broker {
    /// PUBLISH: one letter to each interested shard, whatever the number of subscribers.
    pub fn on_publish(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Publish<'_>,
    ) -> Result<Result<(), Refusal>, Violation> {
        let options: PublishOptions = match codec::options(&message.options) {
            Ok(options) => options,
            Err(wrong) => return Ok(Err(wrong.into())),
        };
        if options.custom {
            passthru::admit(cx, key, Feature::PublisherPayloadPassthru, &message.options)?;
        }
        Ok(self.publish(cx, key, message, &options))
    }

    fn publish(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Publish<'_>,
        options: &PublishOptions,
    ) -> Result<(), Refusal> {
        let topic = &*message.topic;
        let uri_bytes_max = cx.router.settings.limits.uri_bytes_max;
        if topic.len() > uri_bytes_max || !self.realm.uri_check.uri(topic) || uri::reserved(topic) {
            return Err(Refusal::InvalidUri);
        }
        let known = self.cache.known_topic(topic);
        let question = Question::exact(Action::Publish, topic, &message.options);
        let verdicts = known.map(|place| self.cache.publish_verdicts(place));
        let Granted { disclosed } = cx.authorize(key, &self.realm, &question, verdicts)?;
        let place = known.unwrap_or_else(|| self.cache.topic_place(&self.realm.directory, topic));
        let mut particulars = None;
        if self.adds_particulars || disclosed || options.disclose_me || options.restricted || options.custom {
            particulars = self.particulars(cx, key, message, (options, disclosed))?;
        }
        cx.peers.counters.publications += 1;
        let id = cx.entropy.publication();
        let mut kept = None;
        if options.retain || options.retain_clear || self.realm.history.is_some() {
            kept = self.keep(cx, key, message, (place, id, options, &particulars));
        }
        let matched = self.cache.matched(&self.realm.directory, place);
        if matched.shards != 0 {
            let payload = kept.unwrap_or_else(|| OwnedPayload::copy(message.payload));
            let mut publication = Publication::new(id, topic, matched.clone(), payload);
            publication.excluded = options.exclude_me.then_some((cx.index, key));
            publication.attributes = Attributes::of(&message.options, options.custom);
            publication.particulars = particulars;
            self.post(cx, publication);
        }
        if options.acknowledge {
            let published = Published { request: message.request, publication: id };
            cx.peers.send(key, &Message::Published(published));
        }
        Ok(())
    }

    /// What most publications have not.
    #[cold]
    fn particulars(
        &self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Publish<'_>,
        (options, by_rule): (&PublishOptions, bool),
    ) -> Result<Option<Arc<Particulars>>, Refusal> {
        let Asked { eligibility, disclosed } =
            asked(&self.realm.settings, &message.options, options, by_rule)?;
        let publisher = cx.peers.session(key).map(|session| session.identity.clone());
        let trust_level = publisher.as_ref().and_then(|publisher| publisher.role.trust_level);
        let publisher = publisher.filter(|_| disclosed);
        let particulars = Particulars { eligibility, publisher, trust_level };
        Ok((!particulars.is_empty()).then(|| Arc::new(particulars)))
    }

    /// Stores a publication where it is to be found later: with its topic, and in the history. Returns its payload if
    /// it is stored anywhere, to be shared.
    #[cold]
    fn keep(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Publish<'_>,
        (place, id, options, particulars): (usize, PublicationId, &PublishOptions, &Option<Arc<Particulars>>),
    ) -> Option<OwnedPayload> {
        let topic = &*message.topic;
        let unix_ms = cx.router.clock.unix_ms(cx.now);
        let Broker { realm, cache, .. } = self;
        let realm = &**realm;
        let rule = |history| Some((history, cache.rule(history, place)?));
        let mut recorded = realm.history.as_deref().and_then(rule);
        let eligibility = particulars.as_ref().and_then(|particulars| particulars.eligibility.as_ref());
        if eligibility.is_some_and(Eligibility::names_sessions)
            && let Some((history, rule)) = recorded.take()
        {
            history.store().note(rule, id, unix_ms);
        }
        if options.retain_clear {
            realm.retained.clear(topic, eligibility);
        }
        if recorded.is_none() && !options.retain {
            return None;
        }
        let payload = OwnedPayload::copy(message.payload);
        let publisher = cx.peers.session(key).map(|session| session.identity.clone());
        let excluded = publisher.as_ref().filter(|_| options.exclude_me);
        let publication = Arc::new(KeptPublication {
            id,
            topic: topic.into(),
            excluded: excluded.map(|publisher| publisher.session),
            attributes: Attributes::of(&message.options, options.custom),
            particulars: particulars.clone(),
            payload: payload.clone(),
            unix_ms,
        });
        if options.retain {
            let given = realm.retained.retain(publication.clone(), publisher.as_deref());
            cx.peers.counters.retained_evicted += given.evicted;
            cx.peers.counters.publications_unkept += u64::from(given.too_large);
        }
        if let Some((history, rule)) = recorded {
            let kept = history.store().append(rule, publication);
            cx.peers.counters.publications_unkept += u64::from(!kept);
        }
        Some(payload)
    }

    pub(super) fn post(&self, cx: &mut Context<'_>, publication: Publication) {
        let publication = Arc::new(publication);
        let mut shards = publication.matched.shards;
        while shards != 0 {
            let shard = ShardIndex(shards.trailing_zeros() as u8);
            shards &= shards - 1;
            let publication = publication.clone();
            cx.letters.post(shard, Letter::Deliver { realm: self.realm.key, publication });
        }
    }

    /// Sends what the topics of a subscription retain, by topic, right behind its SUBSCRIBED. What would fill more than
    /// half of what may wait for the peer is not sent: it would make a slow consumer of who has asked for much.
    pub(super) fn send_retained(
        &self,
        cx: &mut Context<'_>,
        key: PeerKey,
        (pattern, policy): (&str, MatchPolicy),
        subscription: SubscriptionId,
    ) {
        let Some(session) = cx.peers.session(key) else { return };
        let identity = session.identity.clone();
        let bytes_max = cx.router.settings.limits.outbound_bytes_max / 2;
        let disclosure = self.realm.settings.disclosure;
        for publication in self.realm.retained.matching(pattern, policy, &identity) {
            let waiting = cx.peers.outbound(key).map_or(0, |waiting| waiting.len());
            if waiting + publication.bytes() > bytes_max {
                cx.peers.counters.retained_unsent += 1;
                continue;
            }
            match send_event(cx, key, subscription, (policy, disclosure), &publication) {
                Sent::Queued => cx.peers.counters.events_delivered += 1,
                Sent::Untranslatable => cx.peers.counters.events_untranslatable += 1,
                // Counted where messages are sent.
                Sent::TooLarge => {}
                Sent::Gone => return,
            }
        }
    }
}

/// What a publisher asks for that is rare, as far as the realm grants it.
struct Asked {
    eligibility: Option<Eligibility>,
    disclosed: bool,
}

/// Refuses lists that are none, attributes that mean nothing, and to disclose who may not be disclosed. `by_rule`: a
/// rule discloses the publisher, where the realm does not forbid it.
fn asked(
    realm: &RealmSettings,
    raw: &Dict<'_>,
    options: &PublishOptions,
    by_rule: bool,
) -> Result<Asked, Refusal> {
    if options.custom {
        passthru::used(raw)?;
    }
    let disclosed = match realm.disclosure {
        Disclosure::AsAsked => options.disclose_me || by_rule,
        Disclosure::Always => true,
        Disclosure::Never if options.disclose_me => return Err(Refusal::DiscloseMe),
        Disclosure::Never => false,
    };
    let eligibility = if options.restricted { Some(Eligibility::read(raw)?) } else { None };
    Ok(Asked { eligibility, disclosed })
}

/// Refuses the options that a PUBLISH would be refused for. Who keeps them for later asks now.
pub(in crate::router) fn check_options(realm: &RealmSettings, raw: &Dict<'_>) -> Result<(), Refusal> {
    asked(realm, raw, &codec::options(raw)?, false).map(drop)
}

/// EVENT of a retained publication.
fn send_event(
    cx: &mut Context<'_>,
    key: PeerKey,
    subscription: SubscriptionId,
    (policy, disclosure): (MatchPolicy, Disclosure),
    publication: &KeptPublication,
) -> Sent {
    let mut pairs = publication.pairs(policy, disclosure);
    pairs.push(("retained", Value::Bool(true)));
    let details: Dict<'_> = publication.details(&pairs);
    let payload = publication.payload.borrow();
    let event = Event { subscription, publication: publication.id, details, payload };
    cx.peers.send(key, &Message::Event(event))
}
