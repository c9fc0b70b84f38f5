//! The procedures of the router itself (advanced profile, "Session Meta API", "Subscription Meta API", "Registration
//! Meta API", "Session Testament"): CALL of a URI that begins with `wamp.` comes here and never to a callee.
//!
//! What one shard knows is answered at once, without a place in the table of open calls. What it does not know is
//! gathered by one letter that goes round the shards, see [`Round`]; CANCEL of such a call finds nothing to cancel, and
//! its answer comes.
//!
//! Arguments of a wrong type, and missing ones, are refused with `wamp.error.invalid_argument`, which names them; those
//! in excess are ignored, and null is as good as nothing.

use super::round::{Errand, Round};
use super::{registrations, sessions, subscriptions, testaments, verdicts};
use crate::codec;
use crate::codec::payload::{self, OwnedPayload};
use crate::error::Refusal;
use crate::limits::Limits;
use crate::router::authorization::Question;
use crate::router::history::query;
use crate::router::peer::Sent;
use crate::router::rules::Action;
use crate::router::session::Session;
use crate::router::shard::LocalRealm;
use crate::router::{Context, PeerKey, arguments, passthru};
use crate::wamp::message::{self, Call, Text};
use crate::wamp::{Dict, List, Message, RequestId, Serializer, Value};

/// How a procedure of the router goes on.
#[derive(Debug)]
pub(super) enum Reply {
    /// This is its result.
    Now(OwnedPayload),
    /// Its result is what these shards know, or do; as a set.
    Round(u64, Errand),
    /// Its result is what all shards know, or do.
    Everywhere(Errand),
}

impl Reply {
    /// A result of one value.
    pub(super) fn value(value: Value<'_>) -> Reply {
        Reply::Now(arguments(&[value]))
    }

    /// A number, or null.
    pub(super) fn number(number: Option<u64>) -> Reply {
        Reply::value(number.map_or(Value::Null, Value::Unsigned))
    }

    /// A list of numbers.
    pub(super) fn list(numbers: impl Iterator<Item = u64>) -> Reply {
        Reply::Now(list(numbers))
    }
}

/// A result that is a list of numbers.
pub(super) fn list(numbers: impl Iterator<Item = u64>) -> OwnedPayload {
    let numbers: Vec<_> = numbers.map(Value::Unsigned).collect();
    arguments(&[Value::List(List::Values(&numbers))])
}

/// CALL of a reserved URI.
pub(in crate::router) fn on_call(
    realm: &mut LocalRealm,
    cx: &mut Context<'_>,
    key: PeerKey,
    message: &Call<'_>,
) -> Result<(), Refusal> {
    let question = Question::exact(Action::Call, &message.procedure, &message.options);
    cx.authorize(key, &realm.shared, &question, None)?;
    // The router cannot answer what it must not look into.
    if passthru::used(&message.options)? {
        return Err(Refusal::FeatureNotSupported);
    }
    // It writes its answer by what the caller takes, so it sends it itself.
    if message.procedure == "wamp.subscription.get_events" {
        return query::on_call(realm, cx, key, message);
    }
    let arguments = Arguments::of(message);
    if message.procedure == "wamp.session.add_testament" {
        let allowed = testaments::authorize(&realm.shared, cx, key, &arguments)?;
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        let limits = &cx.router.settings.limits;
        testaments::add(&realm.shared, session, limits, &arguments, allowed)?;
        answer(cx, key, message.request, &OwnedPayload::EMPTY);
        return Ok(());
    }
    let Some(session) = cx.peers.session(key) else { return Ok(()) };
    match reply(realm, session, &cx.router.settings.limits, &message.procedure, &arguments)? {
        Reply::Now(result) => answer(cx, key, message.request, &result),
        Reply::Round(shards, errand) => return Round::begin(cx, key, message.request, shards, errand),
        Reply::Everywhere(errand) => {
            let all = u64::MAX >> (u64::BITS as usize - cx.router.shard_count);
            return Round::begin(cx, key, message.request, all, errand);
        }
    }
    Ok(())
}

/// The switch over the procedures.
fn reply(
    realm: &mut LocalRealm,
    session: &mut Session,
    limits: &Limits,
    procedure: &str,
    arguments: &Arguments<'_>,
) -> Result<Reply, Refusal> {
    let LocalRealm { shared, .. } = realm;
    match procedure {
        "wamp.session.count" => sessions::count(shared, arguments),
        "wamp.session.list" => sessions::list(shared, arguments),
        "wamp.session.get" => sessions::get(shared, arguments),
        "wamp.session.kill" => sessions::kill(shared, session, limits, arguments),
        "wamp.session.kill_by_authid" => sessions::kill_by_authid(shared, session, limits, arguments),
        "wamp.session.kill_by_authrole" => sessions::kill_by_authrole(shared, session, limits, arguments),
        "wamp.session.kill_all" => sessions::kill_all(shared, session, limits, arguments),
        "wamp.session.modify_details" => sessions::modify_details(shared, session, limits, arguments),
        "wamp.session.flush_testaments" => testaments::flush(session, arguments),
        "wamp.subscription.list" => subscriptions::list(shared),
        "wamp.subscription.lookup" => subscriptions::lookup(shared, arguments),
        "wamp.subscription.match" => subscriptions::matching(shared, arguments),
        "wamp.subscription.get" => subscriptions::get(shared, arguments),
        "wamp.subscription.list_subscribers" => subscriptions::list_subscribers(shared, arguments),
        "wamp.subscription.count_subscribers" => subscriptions::count_subscribers(shared, arguments),
        "wamp.subscription.remove_subscriber" => subscriptions::remove_subscriber(shared, session, arguments),
        "wamp.registration.list" => registrations::list(shared),
        "wamp.registration.lookup" => registrations::lookup(shared, arguments),
        "wamp.registration.match" => registrations::matching(shared, arguments),
        "wamp.registration.get" => registrations::get(shared, arguments),
        "wamp.registration.list_callees" => registrations::list_callees(shared, arguments),
        "wamp.registration.count_callees" => registrations::count_callees(shared, arguments),
        "wamp.registration.remove_callee" => registrations::remove_callee(shared, session, arguments),
        "wamp.authorization.purge" => verdicts::purge(session, arguments),
        _ => Err(Refusal::NoSuchProcedure),
    }
}

/// RESULT, or ERROR if the caller cannot take it: the list of all sessions may be larger than its transport allows.
pub(super) fn answer(cx: &mut Context<'_>, key: PeerKey, request: RequestId, payload: &OwnedPayload) {
    let result = message::Result { request, details: Dict::EMPTY, payload: payload.borrow() };
    match cx.peers.send(key, &Message::Result(result)) {
        Sent::Queued | Sent::Gone => {}
        Sent::TooLarge => cx.refuse_call(key, request, Refusal::PayloadSizeExceeded),
        Sent::Untranslatable => cx.refuse_call(key, request, Refusal::InvalidArgument("payload")),
    }
}

/// The session may do what changes others.
pub(super) fn administers(session: &Session) -> Result<(), Refusal> {
    if session.identity.role.administers { Ok(()) } else { Err(Refusal::NotAuthorized) }
}

/// The arguments of a call.
#[derive(Debug)]
pub(super) struct Arguments<'a> {
    positional: Vec<Value<'a>>,
    keywords: Dict<'a>,
    /// What they are written in.
    pub(super) serializer: Serializer,
}

impl<'a> Arguments<'a> {
    fn of(message: &Call<'a>) -> Arguments<'a> {
        let (positional, keywords) = payload::values(message.payload);
        let positional = match &positional {
            Value::List(positional) => codec::items(positional).take(POSITIONAL_MAX).collect(),
            _ => Vec::new(),
        };
        Arguments { positional, keywords, serializer: message.payload.serializer() }
    }

    /// The positional argument at that place.
    pub(super) fn value(&self, place: usize) -> Option<&Value<'a>> {
        self.positional.get(place).filter(|value| !matches!(value, Value::Null))
    }

    /// The keyword argument of that name; the first, if there are several.
    pub(super) fn keyword(&self, name: &str) -> Option<Value<'a>> {
        let named = codec::entries(&self.keywords).find(|(key, _)| key == name);
        named.map(|(_, value)| value).filter(|value| !matches!(value, Value::Null))
    }

    /// There is nothing but keyword arguments of these names.
    pub(super) fn only(&self, names: &[&str]) -> Result<(), Refusal> {
        if !self.positional.is_empty() {
            return Err(Refusal::InvalidArgument("args"));
        }
        match codec::entries(&self.keywords).all(|(key, _)| names.contains(&&*key)) {
            true => Ok(()),
            false => Err(Refusal::InvalidArgument("kwargs")),
        }
    }

    /// An identifier.
    pub(super) fn id(&self, place: usize, name: &'static str) -> Result<u64, Refusal> {
        self.value(place).and_then(Value::id).ok_or(Refusal::InvalidArgument(name))
    }

    /// A text.
    pub(super) fn text(&self, place: usize, name: &'static str) -> Result<&str, Refusal> {
        match self.value(place) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(Refusal::InvalidArgument(name)),
        }
    }

    /// A dictionary, or none.
    pub(super) fn dict(&self, place: usize, name: &'static str) -> Result<Option<Dict<'a>>, Refusal> {
        match self.value(place) {
            None => Ok(None),
            Some(Value::Dict(dict)) => Ok(Some(*dict)),
            Some(_) => Err(Refusal::InvalidArgument(name)),
        }
    }

    /// A text among the keyword arguments, or none.
    pub(super) fn keyword_text(&self, name: &'static str) -> Result<Option<Text<'a>>, Refusal> {
        match self.keyword(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::InvalidArgument(name)),
        }
    }
}

/// Positional arguments that any of the procedures looks at.
const POSITIONAL_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &str, test: impl FnOnce(&Arguments<'_>)) {
        let call = format!(r#"[48,1,{{}},"wamp.session.get"{arguments}]"#);
        let Ok(Message::Call(call)) = codec::decode(Serializer::Json, call.as_bytes()) else {
            panic!("{call}")
        };
        test(&Arguments::of(&call));
    }

    #[test]
    fn identifiers_are_whole_numbers_of_their_range_however_they_are_written() {
        const WRONG: Refusal = Refusal::InvalidArgument("session");
        for (given, id) in [
            (",[1]", Ok(1)),
            (",[9007199254740992,7]", Ok(1 << 53)),
            (",[9007199254740993]", Err(WRONG)),
            (",[0]", Err(WRONG)),
            (",[-1]", Err(WRONG)),
            (",[1.0]", Ok(1)),
            (",[9007199254740992.0]", Ok(1 << 53)),
            (",[9007199254740994.0]", Err(WRONG)),
            (",[0.0]", Err(WRONG)),
            (",[1.5]", Err(WRONG)),
            (",[1e999]", Err(WRONG)),
            (",[\"1\"]", Err(WRONG)),
            (",[null]", Err(WRONG)),
            (",[]", Err(WRONG)),
            ("", Err(WRONG)),
        ] {
            call(given, |arguments| assert_eq!(arguments.id(0, "session"), id, "{given}"));
        }
    }

    #[test]
    fn arguments_that_are_not_known_are_found() {
        for (given, only) in [
            ("", Ok(())),
            (",[]", Ok(())),
            (r#",[],{"uri":1,"session":null}"#, Ok(())),
            (",[1]", Err(Refusal::InvalidArgument("args"))),
            (",[null]", Err(Refusal::InvalidArgument("args"))),
            (r#",[],{"uri":1,"Uri":1}"#, Err(Refusal::InvalidArgument("kwargs"))),
            (r#",[],{"Uri":null}"#, Err(Refusal::InvalidArgument("kwargs"))),
        ] {
            call(given, |arguments| assert_eq!(arguments.only(&["session", "uri"]), only, "{given}"));
        }
    }

    #[test]
    fn null_is_as_good_as_nothing() {
        call(r#",["a",null,{"x":1}],{"reason":null,"message":"m","scope":7}"#, |arguments| {
            assert_eq!(arguments.text(0, "topic"), Ok("a"));
            assert!(matches!(arguments.dict(1, "kwargs"), Ok(None)));
            assert!(matches!(arguments.dict(2, "kwargs"), Ok(Some(_))));
            assert!(matches!(arguments.dict(0, "kwargs"), Err(Refusal::InvalidArgument("kwargs"))));
            assert_eq!(arguments.keyword_text("reason"), Ok(None));
            assert_eq!(arguments.keyword_text("message"), Ok(Some("m".into())));
            assert_eq!(arguments.keyword_text("scope"), Err(Refusal::InvalidArgument("scope")));
            assert_eq!(arguments.keyword_text("none"), Ok(None));
        });
    }
}
