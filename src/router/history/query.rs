//! `wamp.subscription.get_events`: what a client may ask of the history, and the answer (advanced profile, "Event
//! History").
//!
//! All filters that are given must hold. The publication that a filter names is looked for among those of the
//! subscription that are still kept; if it is not there, nobody can say what came before or after it, and nothing is
//! found. Events that the caller would not have got are left out, and so are those without a form in its serializer, or
//! nested too deeply for one more level around them.
//!
//! An answer holds as many events as fit a message, and at most `limit`. If there would have been more, the keyword
//! argument `is_limit_reached` is true, and `after_publication` (`before_publication` in reverse) asks for the rest.

use std::sync::Arc;

use super::HistoricEvent;
use crate::codec::payload::{self, OwnedPayload};
use crate::codec::{self, TranscodeError};
use crate::error::Refusal;
use crate::router::peer::Sent;
use crate::router::publication::KeptPublication;
use crate::router::session::Identity;
use crate::router::shard::LocalRealm;
use crate::router::{Clock, Context, PeerKey};
use crate::wamp::message::{self, Call};
use crate::wamp::options::{Options, WrongOption};
use crate::wamp::{Dict, MatchPolicy, Message, PublicationId, Serializer, SubscriptionId, Value};

/// CALL of `wamp.subscription.get_events`.
pub(in crate::router) fn on_call(
    realm: &LocalRealm,
    cx: &mut Context<'_>,
    key: PeerKey,
    message: &Call<'_>,
) -> Result<(), Refusal> {
    let history = realm.shared.history.as_ref().ok_or(Refusal::NoSuchProcedure)?;
    let (arguments, keyword_arguments) = payload::values(message.payload);
    let subscription = subscription(&arguments)?;
    let query: Query = codec::options(&keyword_arguments)?;
    let Some(link) = cx.peers.peer(key).and_then(|peer| peer.link) else { return Ok(()) };
    let Some(identity) = cx.peers.session(key).map(|session| session.identity.clone()) else { return Ok(()) };
    let listing = realm.shared.directory.subscription_by_id(subscription);
    let listing = listing.ok_or(Refusal::NoSuchSubscription)?;
    let policy = listing.policy;
    let unix_ms = cx.router.clock.unix_ms(cx.now);
    let found = query.select(history.store().matching(&listing.topic, policy, unix_ms), &identity);
    let bytes_max = cx.router.settings.limits.message_bytes_max;
    let mut page = Page::new((subscription, policy), link.serializer, bytes_max);
    for publication in found {
        if page.events.len() == query.limit || !page.add(&publication) {
            page.is_limit_reached = true;
            break;
        }
    }
    cx.peers.counters.events_untranslatable += page.untranslatable;
    let payload = page.payload();
    let result =
        message::Result { request: message.request, details: Dict::EMPTY, payload: payload.borrow() };
    match cx.peers.send(key, &Message::Result(result)) {
        Sent::TooLarge => Err(Refusal::PayloadSizeExceeded),
        Sent::Queued | Sent::Gone | Sent::Untranslatable => Ok(()),
    }
}

fn subscription(arguments: &Value<'_>) -> Result<SubscriptionId, Refusal> {
    let first = match arguments {
        Value::List(arguments) => codec::items(arguments).next(),
        _ => None,
    };
    match first {
        Some(Value::Unsigned(id)) => Ok(SubscriptionId(id)),
        _ => Err(Refusal::InvalidArgument("subscription")),
    }
}

/// The keyword arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Query {
    reverse: bool,
    limit: usize,
    topic: Option<String>,
    /// In nanoseconds since 1970, as the other times.
    from_time: Option<i128>,
    after_time: Option<i128>,
    before_time: Option<i128>,
    until_time: Option<i128>,
    from_publication: Option<PublicationId>,
    after_publication: Option<PublicationId>,
    before_publication: Option<PublicationId>,
    until_publication: Option<PublicationId>,
}

impl Default for Query {
    fn default() -> Query {
        Query {
            reverse: false,
            limit: usize::MAX,
            topic: None,
            from_time: None,
            after_time: None,
            before_time: None,
            until_time: None,
            from_publication: None,
            after_publication: None,
            before_publication: None,
            until_publication: None,
        }
    }
}

impl Options for Query {
    fn set(&mut self, key: &str, value: &Value<'_>) -> Result<(), WrongOption> {
        match (key, value) {
            ("reverse", Value::Bool(reverse)) => self.reverse = *reverse,
            ("reverse", _) => return Err(WrongOption("reverse")),
            ("limit", Value::Unsigned(limit @ 1..)) => {
                self.limit = usize::try_from(*limit).unwrap_or(usize::MAX)
            }
            ("limit", _) => return Err(WrongOption("limit")),
            ("topic", Value::Text(topic)) => self.topic = Some(topic.to_string()),
            ("topic", _) => return Err(WrongOption("topic")),
            ("from_time", _) => self.from_time = Some(time(value, "from_time")?),
            ("after_time", _) => self.after_time = Some(time(value, "after_time")?),
            ("before_time", _) => self.before_time = Some(time(value, "before_time")?),
            ("until_time", _) => self.until_time = Some(time(value, "until_time")?),
            ("from_publication", _) => self.from_publication = Some(id(value, "from_publication")?),
            ("after_publication", _) => self.after_publication = Some(id(value, "after_publication")?),
            ("before_publication", _) => self.before_publication = Some(id(value, "before_publication")?),
            ("until_publication", _) => self.until_publication = Some(id(value, "until_publication")?),
            _ => {}
        }
        Ok(())
    }
}

fn time(value: &Value<'_>, key: &'static str) -> Result<i128, WrongOption> {
    match value {
        Value::Text(text) => Clock::unix_ns_of(text).ok_or(WrongOption(key)),
        _ => Err(WrongOption(key)),
    }
}

/// A whole float is taken too, as JavaScript libraries write large integers.
fn id(value: &Value<'_>, key: &'static str) -> Result<PublicationId, WrongOption> {
    match value {
        Value::Unsigned(id @ 1..) => Ok(PublicationId(*id)),
        Value::Float(id) if *id >= 1.0 && id.fract() == 0.0 => Ok(PublicationId(*id as u64)),
        _ => Err(WrongOption(key)),
    }
}

impl Query {
    /// What of the events of a subscription was asked for and is for the caller, in the order asked for.
    fn select(&self, events: Vec<HistoricEvent>, identity: &Identity) -> Vec<Arc<KeptPublication>> {
        let serial = |id: Option<PublicationId>| match id {
            None => Some(None),
            Some(id) => {
                events.iter().find(|event| event.publication.id == id).map(|event| Some(event.serial))
            }
        };
        // The first and the last serial that hold, both included.
        let bounds = || {
            let from = serial(self.from_publication)?.unwrap_or(0);
            let after = serial(self.after_publication)?.map_or(0, |serial| serial + 1);
            let before = serial(self.before_publication)?.map_or(u64::MAX, |serial| serial - 1);
            let until = serial(self.until_publication)?.unwrap_or(u64::MAX);
            Some((from.max(after), before.min(until)))
        };
        let Some((first, last)) = bounds() else { return Vec::new() };
        let wanted = |event: &HistoricEvent| {
            (first..=last).contains(&event.serial)
                && self.admits(&event.publication)
                && event.publication.eligible(identity)
        };
        let found = events.iter().filter(|event| wanted(event)).map(|event| event.publication.clone());
        if self.reverse { found.rev().collect() } else { found.collect() }
    }

    /// Topic and times.
    fn admits(&self, publication: &KeptPublication) -> bool {
        let time = i128::from(publication.unix_ms) * 1_000_000;
        self.topic.as_deref().is_none_or(|topic| topic == &*publication.topic)
            && self.from_time.is_none_or(|from| time >= from)
            && self.after_time.is_none_or(|after| time > after)
            && self.before_time.is_none_or(|before| time < before)
            && self.until_time.is_none_or(|until| time <= until)
    }
}

/// The events of one answer.
#[derive(Debug)]
struct Page {
    subscription: SubscriptionId,
    policy: MatchPolicy,
    serializer: Serializer,
    /// Each as a list of one dictionary, in the caller's serializer.
    events: Vec<OwnedPayload>,
    bytes: usize,
    bytes_max: usize,
    untranslatable: u64,
    is_limit_reached: bool,
}

impl Page {
    fn new(
        (subscription, policy): (SubscriptionId, MatchPolicy),
        serializer: Serializer,
        bytes_max: usize,
    ) -> Page {
        Page {
            subscription,
            policy,
            serializer,
            events: Vec::new(),
            bytes: 0,
            bytes_max,
            untranslatable: 0,
            is_limit_reached: false,
        }
    }

    /// Puts an event last; false if there is no room for it. The first one always has some: whether it can be sent
    /// is seen then.
    fn add(&mut self, publication: &KeptPublication) -> bool {
        let event = self.event(publication).ok();
        // A dictionary and a list stand around the arguments that did not in the PUBLISH.
        let fits = |event: &OwnedPayload| codec::check(self.serializer, event.borrow().bytes()).is_ok();
        let Some(event) = event.filter(fits) else {
            self.untranslatable += 1;
            return true;
        };
        let bytes = event.borrow().bytes().len();
        if !self.events.is_empty() && self.bytes + bytes > self.bytes_max {
            return false;
        }
        self.bytes += bytes;
        self.events.push(event);
        true
    }

    fn event(&self, publication: &KeptPublication) -> Result<OwnedPayload, TranscodeError> {
        let pairs = publication.pairs(self.policy);
        let mut event = vec![
            ("timestamp", Value::Text(Clock::utc(publication.unix_ms).into())),
            ("subscription", Value::Unsigned(self.subscription.0)),
            ("publication", Value::Unsigned(publication.id.0)),
            ("details", Value::Dict(publication.details(&pairs))),
        ];
        let payload = publication.payload.borrow();
        let (arguments, keyword_arguments) = payload::values(payload);
        if !matches!(arguments, Value::Null) {
            event.push(("args", arguments));
        }
        if payload.elements() == 2 {
            event.push(("kwargs", Value::Dict(keyword_arguments)));
        }
        OwnedPayload::from_values(self.serializer, &[Value::Dict(Dict::Pairs(&event))], &[])
    }

    /// The arguments of RESULT are the events.
    fn payload(&self) -> OwnedPayload {
        let events = self.events.iter().filter_map(|event| match payload::values(event.borrow()).0 {
            Value::List(list) => codec::items(&list).next(),
            _ => None,
        });
        let events: Vec<Value<'_>> = events.collect();
        let more = [("is_limit_reached", Value::Bool(self.is_limit_reached))];
        OwnedPayload::from_values(self.serializer, &events, &more)
            .expect("the events are in this serializer already")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PAYLOAD_DEPTH_MAX;

    fn query(json: &str) -> Result<Query, WrongOption> {
        codec::options(&Dict::Raw(codec::check(Serializer::Json, json.as_bytes()).unwrap()))
    }

    fn publication(id: u64, args: &str, unix_ms: u64) -> Arc<KeptPublication> {
        Arc::new(KeptPublication {
            id: PublicationId(id),
            topic: "a.b".into(),
            excluded: None,
            attributes: None,
            particulars: None,
            payload: OwnedPayload::from_json(Some(args), None).unwrap(),
            unix_ms,
        })
    }

    fn selected(json: &str) -> Vec<u64> {
        let role = crate::router::Role { name: "r".to_owned(), trust_level: None, administers: false };
        let identity = Identity {
            session: crate::wamp::SessionId(1),
            authid: "a".into(),
            role: Arc::new(role),
            authmethod: "anonymous",
            authprovider: "static",
        };
        // Publication ids do not grow, times do, and two are the same.
        let events = [(50, 1_000), (40, 2_000), (30, 2_000), (20, 3_000), (10, 4_000)].into_iter().zip(7..);
        let events = events.map(|((id, unix_ms), serial)| HistoricEvent {
            serial,
            publication: publication(id, "[1]", unix_ms),
        });
        let found = query(json).unwrap().select(events.collect(), &identity);
        found.iter().map(|publication| publication.id.0).collect()
    }

    #[test]
    fn every_filter_that_is_given_holds() {
        for (json, expected) in [
            ("{}", &[50, 40, 30, 20, 10][..]),
            (r#"{"reverse":true,"other":1,"limit":null}"#, &[10, 20, 30, 40, 50]),
            (r#"{"from_time":"1970-01-01T00:00:02Z"}"#, &[40, 30, 20, 10]),
            (r#"{"from_time":"1970-01-01T00:00:02.0001Z"}"#, &[20, 10]),
            (r#"{"after_time":"1970-01-01T01:00:02+01:00"}"#, &[20, 10]),
            (r#"{"before_time":"1970-01-01T00:00:03.000Z"}"#, &[50, 40, 30]),
            (
                r#"{"until_time":"1970-01-01t00:00:03z","after_time":"1969-01-01T00:00:00Z"}"#,
                &[50, 40, 30, 20],
            ),
            (r#"{"topic":"a.b"}"#, &[50, 40, 30, 20, 10]),
            (r#"{"topic":"a"}"#, &[]),
            (r#"{"from_publication":40}"#, &[40, 30, 20, 10]),
            (r#"{"after_publication":40}"#, &[30, 20, 10]),
            (r#"{"before_publication":40.0}"#, &[50]),
            (r#"{"until_publication":40,"reverse":true}"#, &[40, 50]),
            (
                r#"{"after_publication":50,"before_publication":10,"until_time":"1970-01-01T00:00:02Z"}"#,
                &[40, 30],
            ),
            (r#"{"from_publication":10,"until_publication":50}"#, &[]),
            (r#"{"after_publication":11}"#, &[]),
            (r#"{"until_publication":11}"#, &[]),
        ] {
            assert_eq!(selected(json), expected, "{json}");
        }
    }

    #[test]
    fn what_is_of_a_wrong_type_is_refused_by_its_key() {
        for (key, wrong) in [
            ("reverse", "1"),
            ("limit", "0"),
            ("limit", "-1"),
            ("limit", "2.5"),
            ("topic", "7"),
            ("from_time", "7"),
            ("after_time", r#""yesterday""#),
            ("before_time", r#""2026-01-31""#),
            ("until_time", r#""2026-01-31T00:00:00""#),
            ("from_publication", r#""7""#),
            ("after_publication", "0"),
            ("before_publication", "1.5"),
            ("until_publication", "[]"),
        ] {
            assert_eq!(query(&format!(r#"{{"{key}":{wrong}}}"#)), Err(WrongOption(key)), "{key}: {wrong}");
        }
    }

    #[test]
    fn a_page_takes_what_fits_whatever_it_is_written_in() {
        // As deep as a publication may be: its arguments are the second list of the message.
        let deepest = PAYLOAD_DEPTH_MAX - 1;
        let args = format!("{}{}", "[".repeat(deepest), "]".repeat(deepest));
        for serializer in Serializer::ALL {
            let subscription = (SubscriptionId(3), MatchPolicy::Prefix);
            let mut page = Page::new(subscription, serializer, 400);
            assert!(page.add(&publication(1, &args, 0)) && page.untranslatable == 1, "too deep");
            assert!(page.add(&publication(1, &args[1..args.len() - 1], 0)) && page.untranslatable == 1);
            let added = (2..9).take_while(|id| page.add(&publication(*id, "[1]", 0))).count();
            assert!((1..4).contains(&added), "{added} more");
            let payload = page.payload();
            assert_eq!(payload.borrow().serializer(), serializer);
            let (Value::List(events), _) = payload::values(payload.borrow()) else { panic!("a list") };
            assert_eq!(codec::items(&events).count(), 1 + added);
        }
    }
}
