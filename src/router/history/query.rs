//! `wamp.subscription.get_events`: what a client may ask of the history, and the answer (advanced profile, "Event
//! History").
//!
//! All filters that are given must hold. A filter may name any publication of the realm that the history knows, also
//! one to another topic, and one that it knows of without having kept it. If it does not know it, nobody can say what
//! came before or after it, and the call is refused with `wamp.error.invalid_argument`, which names the filter as well:
//! who went on from there has missed what nobody can give it any more, and asks by `from_time` or from the beginning.
//!
//! Events that the caller would not have got are left out. So are, and that is counted in the keyword argument
//! `left_out` if there are any, those that are too large for the caller, that have no form in its serializer, or that
//! are nested too deeply for one more level around them.
//!
//! An answer holds as many events as fit a message that the caller takes, and at most `limit`. If there would have been
//! more, the keyword argument `is_limit_reached` is true, and `after_publication` (`before_publication` in reverse)
//! asks for the rest.

use std::ops::ControlFlow;

use super::{History, Search};
use crate::codec::payload::{self, OwnedPayload};
use crate::codec::{self, TranscodeError};
use crate::error::Refusal;
use crate::router::authorization::Question;
use crate::router::peer::Sent;
use crate::router::publication::KeptPublication;
use crate::router::rules::Action;
use crate::router::shard::LocalRealm;
use crate::router::{Clock, Context, Disclosure, PeerKey};
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
    // Those of a SUBSCRIBE of it; the options of this CALL are the caller's own to write.
    let options = [("match", Value::text(policy.name()))];
    let options = Dict::Pairs(&options);
    let question = Question { action: Action::Subscribe, uri: &listing.topic, policy, options: &options };
    cx.authorize(key, &realm.shared, &question, None)?;
    let unix_ms = cx.router.clock.unix_ms(cx.now);
    let search = query.search((&listing.topic, policy), history, unix_ms)?;
    let bytes_max = link.message_bytes_max.min(cx.router.settings.limits.message_bytes_max);
    let mut page = Page::new((subscription, policy), link.serializer, bytes_max);
    page.disclosure = realm.shared.settings.disclosure;
    history.store().visit(&search, &mut |event| {
        if !event.publication.eligible(&identity) {
            return ControlFlow::Continue(());
        }
        if page.events.len() == query.limit || !page.add(&event.publication) {
            page.is_limit_reached = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    cx.peers.counters.events_untranslatable += page.untranslatable;
    cx.peers.counters.events_too_large += page.too_large;
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
    let id = first.as_ref().and_then(Value::id).ok_or(Refusal::InvalidArgument("subscription"))?;
    Ok(SubscriptionId(id))
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

fn id(value: &Value<'_>, key: &'static str) -> Result<PublicationId, WrongOption> {
    value.id().map(PublicationId).ok_or(WrongOption(key))
}

impl Query {
    /// What is looked for among the events of a subscription.
    fn search<'a>(
        &'a self,
        (pattern, policy): (&'a str, MatchPolicy),
        history: &History,
        unix_ms: u64,
    ) -> Result<Search<'a>, Refusal> {
        let serial = |id: Option<PublicationId>, key| match id {
            None => Ok(None),
            Some(id) => history.store().serial(id, unix_ms).map(Some).ok_or(Refusal::NoSuchPublication(key)),
        };
        let from = serial(self.from_publication, "from_publication")?.unwrap_or(0);
        let after = serial(self.after_publication, "after_publication")?.map_or(0, |serial| serial + 1);
        let before = serial(self.before_publication, "before_publication")?;
        let until = serial(self.until_publication, "until_publication")?.unwrap_or(u64::MAX);
        let before = before.map_or(u64::MAX, |serial| serial.saturating_sub(1));
        Ok(Search {
            pattern,
            policy,
            topic: self.topic.as_deref(),
            serials: (from.max(after), before.min(until)),
            times: self.times(),
            unix_ms,
            reverse: self.reverse,
        })
    }

    /// The first and the last millisecond that hold. Events have whole milliseconds, filters nanoseconds.
    fn times(&self) -> (u64, u64) {
        const MS: i128 = 1_000_000;
        let whole = |ms: i128| u64::try_from(ms).unwrap_or(u64::MAX);
        let begins_at_or_after = |ns: i128| (ns + MS - 1).div_euclid(MS);
        let from = self.from_time.map_or(0, |ns| whole(begins_at_or_after(ns)));
        let after = self.after_time.map_or(0, |ns| whole(ns.div_euclid(MS) + 1));
        let until = self.until_time.map_or(u64::MAX, |ns| whole(ns.div_euclid(MS)));
        match self.before_time.map(begins_at_or_after) {
            // Nothing was before 1970.
            Some(0) => (1, 0),
            before => (from.max(after), until.min(before.map_or(u64::MAX, |ms| whole(ms - 1)))),
        }
    }
}

/// The events of one answer.
#[derive(Debug)]
struct Page {
    subscription: SubscriptionId,
    policy: MatchPolicy,
    disclosure: Disclosure,
    serializer: Serializer,
    /// Each as a list of one dictionary, in the caller's serializer.
    events: Vec<OwnedPayload>,
    bytes: usize,
    bytes_max: usize,
    /// Left out because they have no form in the serializer.
    untranslatable: u64,
    /// Left out because no answer could hold them.
    too_large: u64,
    is_limit_reached: bool,
}

/// What stands around the events of a page: RESULT, its request, and the keyword arguments. What separates events takes
/// no more than the list that each was written as.
const PAGE_OVERHEAD_BYTES: usize = 128;

impl Page {
    fn new(
        (subscription, policy): (SubscriptionId, MatchPolicy),
        serializer: Serializer,
        bytes_max: usize,
    ) -> Page {
        Page {
            subscription,
            policy,
            disclosure: Disclosure::AsAsked,
            serializer,
            events: Vec::new(),
            bytes: PAGE_OVERHEAD_BYTES,
            bytes_max,
            untranslatable: 0,
            too_large: 0,
            is_limit_reached: false,
        }
    }

    /// Puts an event last, unless it is one that is left out; false if there is no room for it here and may be in
    /// another page.
    fn add(&mut self, publication: &KeptPublication) -> bool {
        let payload = publication.payload.borrow();
        let bytes_max = self.bytes_max.saturating_sub(PAGE_OVERHEAD_BYTES);
        if payload.serializer() == self.serializer && payload.bytes().len() > bytes_max {
            self.too_large += 1;
            return true;
        }
        let event = self.event(publication).ok();
        // A dictionary and a list stand around the arguments that did not in the PUBLISH.
        let fits = |event: &OwnedPayload| codec::check(self.serializer, event.borrow().bytes()).is_ok();
        let Some(event) = event.filter(fits) else {
            self.untranslatable += 1;
            return true;
        };
        let bytes = event.borrow().bytes().len();
        if bytes > bytes_max {
            self.too_large += 1;
            return true;
        }
        if self.bytes + bytes > self.bytes_max {
            return false;
        }
        self.bytes += bytes;
        self.events.push(event);
        true
    }

    fn event(&self, publication: &KeptPublication) -> Result<OwnedPayload, TranscodeError> {
        let pairs = publication.pairs(self.policy, self.disclosure);
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
        let left_out = self.untranslatable + self.too_large;
        let told = [
            ("is_limit_reached", Value::Bool(self.is_limit_reached)),
            ("left_out", Value::Unsigned(left_out)),
        ];
        let told = if left_out == 0 { &told[..1] } else { &told };
        OwnedPayload::from_values(self.serializer, &events, told)
            .expect("the events are in this serializer already")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::HistoryRule;
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

    fn selected(json: &str) -> Result<Vec<u64>, Refusal> {
        let history = History::new(&[HistoryRule::new("a.b", MatchPolicy::Exact)]).unwrap();
        // Publication ids do not grow, times do, and two are the same.
        for (id, unix_ms) in [(50, 1_000), (40, 2_000), (30, 2_000), (20, 3_000), (10, 4_000)] {
            history.store().append(0, publication(id, "[1]", unix_ms));
            history.store().note(0, PublicationId(id + 5), unix_ms);
        }
        let query = query(json).unwrap();
        let search = query.search(("a", MatchPolicy::Prefix), &history, 4_000)?;
        let mut found = Vec::new();
        history.store().visit(&search, &mut |event| {
            found.push(event.publication.id.0);
            ControlFlow::Continue(())
        });
        Ok(found)
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
            // What was only noted has its place as well.
            (r#"{"after_publication":55}"#, &[40, 30, 20, 10]),
            (r#"{"until_publication":55.0}"#, &[50]),
            (r#"{"before_time":"1970-01-01T00:00:00Z"}"#, &[]),
            (r#"{"before_time":"1970-01-01T00:00:02.0001Z"}"#, &[50, 40, 30]),
            (r#"{"after_time":"1970-01-01T00:00:01.9999Z"}"#, &[40, 30, 20, 10]),
            (r#"{"until_time":"1970-01-01T00:00:01.9999Z"}"#, &[50]),
            (r#"{"until_time":"9999-12-31T23:59:59Z"}"#, &[50, 40, 30, 20, 10]),
        ] {
            assert_eq!(selected(json).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn a_publication_that_nobody_knows_of_is_refused_by_the_filter_that_names_it() {
        for key in ["from_publication", "after_publication", "before_publication", "until_publication"] {
            let refused = selected(&format!(r#"{{"{key}":11}}"#));
            assert_eq!(refused, Err(Refusal::NoSuchPublication(key)));
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
            let mut page = Page::new(subscription, serializer, 400 + PAGE_OVERHEAD_BYTES);
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

    #[test]
    fn a_page_and_what_stands_around_it_fit_a_message_and_what_never_does_is_left_out() {
        for serializer in Serializer::ALL {
            let mut page = Page::new((SubscriptionId(1 << 53), MatchPolicy::Prefix), serializer, 4_096);
            let text = |length: usize| format!("[\"{}\"]", "x".repeat(length));
            assert!(page.add(&publication(1 << 53, &text(4_000), 0)) && page.too_large == 1);
            while page.add(&publication(1 << 53, "[]", 1)) {}
            page.is_limit_reached = true;
            let payload = page.payload();
            let result = message::Result {
                request: crate::wamp::RequestId(1 << 53),
                details: Dict::EMPTY,
                payload: payload.borrow(),
            };
            let mut bytes = Vec::new();
            codec::encode(&Message::Result(result), serializer, &mut bytes).unwrap();
            assert!((3_700..=4_096).contains(&bytes.len()), "{serializer:?}: {}", bytes.len());
        }
    }
}
