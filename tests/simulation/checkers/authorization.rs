//! Authorizers: nothing is done that they have not allowed, nothing refused that they have not refused, and each is
//! asked about the messages of a session in their order, once.

use std::collections::{BTreeMap, BTreeSet};

use fanwire::router::role::VerdictCache;
use fanwire::wamp::message::code;
use fanwire::wamp::{MatchPolicy, reason};

use super::meta::{arguments, calls};
use super::{Checked, ensure, origins, testament};
use crate::guards::MARK;
use crate::item::{Item, Message, Tag};
use crate::log::{Departure, Log, What, option, policy};

/// What an authorizer has answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    Ruling {
        allow: bool,
        disclose: bool,
        cache: bool,
    },
    /// ERROR, or nothing that can be understood.
    Nothing,
}

/// Something a session wants to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wish {
    pub life: usize,
    pub request: u64,
    /// The message that does just this: of a testament PUBLISH, too.
    pub action: u64,
    uri: String,
    policy: MatchPolicy,
}

impl Wish {
    fn of(life: usize, message: &Message) -> Wish {
        let action = message.code();
        let policy = match action {
            code::SUBSCRIBE | code::REGISTER => policy(message),
            _ => MatchPolicy::Exact,
        };
        Wish { life, request: message.number(1), action, uri: message.text(3).to_owned(), policy }
    }

    /// All that a message wants: to add a testament is to publish, too.
    fn all(life: usize, message: &Message) -> Vec<Wish> {
        let wish = Wish::of(life, message);
        let topic = arguments(message).first().and_then(Item::text);
        match topic.filter(|_| message.code() == code::CALL && wish.uri == "wamp.session.add_testament") {
            None => vec![wish],
            Some(topic) => {
                let publish = Wish { action: code::PUBLISH, uri: topic.to_owned(), ..wish.clone() };
                vec![wish, publish]
            }
        }
    }

    fn is_like(&self, other: &Wish) -> bool {
        (self.action, self.policy, &self.uri) == (other.action, other.policy, &other.uri)
    }
}

/// What an authorizer was asked.
pub struct Question {
    pub wish: Wish,
    /// Where it has read that.
    pub at: usize,
    /// Who was asked.
    pub authority: usize,
    /// Where it has said what, if it has.
    pub answer: Option<(usize, Said)>,
}

impl Question {
    /// True if it was allowed, or not, before that entry.
    fn said(&self, wanted: bool, before: usize) -> bool {
        let said = self.answer.filter(|(at, _)| *at < before);
        said.is_some_and(|(_, said)| matches!(said, Said::Ruling { allow, .. } if allow == wanted))
    }

    fn disclosed(&self) -> bool {
        matches!(self.answer, Some((_, Said::Ruling { disclose: true, .. })))
    }

    /// True if the answer may be used again.
    fn is_kept(&self) -> bool {
        matches!(self.answer, Some((_, Said::Ruling { cache: true, .. })))
    }
}

/// An INVOCATION of an authorizer as a question.
fn question(at: usize, authority: usize, invocation: &Message) -> Option<Question> {
    let [_, uri, action, options] = arguments(invocation) else { return None };
    let action = match action.text()? {
        "call" => code::CALL,
        "publish" => code::PUBLISH,
        "register" => code::REGISTER,
        "subscribe" => code::SUBSCRIBE,
        _ => return None,
    };
    let [life, request] = options.entry(MARK)?.list()? else { return None };
    let policy = options.entry("match").and_then(Item::text).and_then(MatchPolicy::from_name);
    let wish = Wish {
        life: life.number()? as usize,
        request: request.number()?,
        action,
        uri: uri.text()?.to_owned(),
        policy: policy.unwrap_or_default(),
    };
    Some(Question { wish, at, authority, answer: None })
}

fn said(answer: &Message) -> Said {
    let result = arguments(answer).first().filter(|_| answer.code() == code::YIELD);
    let read = |dict: &Item| {
        let Some(Item::Bool(allow)) = dict.entry("allow") else { return Said::Nothing };
        if dict.entry("validate").is_some() {
            return Said::Nothing;
        }
        let is_true = |key| dict.entry(key) == Some(&Item::Bool(true));
        Said::Ruling { allow: *allow, disclose: is_true("disclose"), cache: is_true("cache") }
    };
    match result {
        Some(Item::Bool(allow)) => Said::Ruling { allow: *allow, disclose: false, cache: false },
        Some(dict) => read(dict),
        None => Said::Nothing,
    }
}

/// All that authorizers were asked, in the order in which they have read it.
pub fn questions(log: &Log) -> Result<Vec<Question>, String> {
    let mut found: Vec<Question> = Vec::new();
    if log.guards.is_empty() {
        return Ok(found);
    }
    let mut open: BTreeMap<(usize, u64), usize> = BTreeMap::new();
    for (at, entry) in log.entries.iter().enumerate() {
        let life = entry.life;
        match &entry.what {
            What::Heard(message) if message.code() == code::INVOCATION && log.lives[life].authority => {
                if matches!(arguments(message).first(), Some(Item::Text(_))) {
                    continue;
                }
                let asked = question(at, life, message);
                open.insert((life, message.number(1)), found.len());
                found.push(asked.ok_or_else(|| format!("entry {at} is no question"))?);
            }
            What::Said(message) if matches!(message.code(), code::YIELD | code::ERROR) => {
                let request = message.number(if message.code() == code::YIELD { 1 } else { 2 });
                if let Some(place) = open.get(&(life, request)) {
                    found[*place].answer = Some((at, said(message)));
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// All that authorizers have said, and what it holds for.
pub struct Rulings<'a> {
    log: &'a Log,
    questions: Vec<Question>,
    /// By life, request and action.
    own: BTreeMap<(usize, u64, u64), usize>,
    /// By life, code and request, where it was said.
    wanted: BTreeMap<(usize, u64, u64), (usize, &'a Message)>,
    handled: Vec<(Option<usize>, Option<usize>)>,
    departures: Vec<Option<Departure>>,
    quiet: Vec<usize>,
    /// Milliseconds, by entry.
    times: Vec<u64>,
}

impl<'a> Rulings<'a> {
    pub fn of(log: &'a Log) -> Result<Rulings<'a>, String> {
        let questions = questions(log)?;
        let own = questions
            .iter()
            .enumerate()
            .map(|(place, Question { wish, .. })| ((wish.life, wish.request, wish.action), place));
        let own = own.collect();
        let mut wanted = BTreeMap::new();
        for (at, life, message) in log.said() {
            // A dishonest client may use an id again; and calls go on.
            wanted.entry((life, message.code(), message.number(1))).or_insert((at, message));
        }
        let (handled, departures) = (log.handled(), log.departures());
        let quiet = log.quiet().map(|(at, _)| at).collect();
        Ok(Rulings { log, questions, own, wanted, handled, departures, quiet, times: log.times() })
    }

    fn own(&self, wish: &Wish) -> Option<&Question> {
        self.own.get(&(wish.life, wish.request, wish.action)).map(|place| &self.questions[*place])
    }

    /// The message that was to do it, whatever else it was to do.
    fn said(&self, wish: &Wish) -> Option<usize> {
        let said = |code| self.wanted.get(&(wish.life, code, wish.request)).map(|(at, _)| *at);
        said(wish.action).or_else(|| said(code::CALL))
    }

    /// The kept answers that may have held for it.
    fn kept(&self, wish: &Wish) -> impl Iterator<Item = &Question> {
        let realm = self.log.lives[wish.life].realm;
        let guard = self.log.guard(realm);
        let since = self.said(wish).and_then(|said| self.handled[said].0).map_or(0, |at| self.times[at]);
        let fits = move |question: &&Question| {
            let Some(guard) = guard else { return false };
            let whose = match guard.cache {
                VerdictCache::Session => question.wish.life == wish.life,
                VerdictCache::Role => self.log.lives[question.wish.life].realm == realm,
            };
            let until = self.learned_by(question).map(|at| at.saturating_add(guard.cache_ms));
            let holds = guard.cache_ms > 0 && until.is_some_and(|until| until > since);
            whose && question.is_kept() && question.wish.is_like(wish) && holds
        };
        self.questions.iter().filter(fits)
    }

    /// When the answer had come at the latest; none if it came too late.
    fn learned_by(&self, question: &Question) -> Option<u64> {
        let (answered, _) = question.answer?;
        let handled = self.said(&question.wish).and_then(|said| self.handled[said].1);
        if handled.is_some_and(|handled| handled < answered) {
            return None;
        }
        let quiet = self.quiet.get(self.quiet.partition_point(|quiet| *quiet < answered));
        let by = handled.into_iter().chain(quiet.copied()).min();
        Some(by.map_or(u64::MAX, |by| self.times[by]))
    }

    /// True if that was allowed, or not, before that entry.
    fn ruled(&self, wish: &Wish, allow: bool, before: usize) -> bool {
        match self.own(wish) {
            Some(own) => own.said(allow, before),
            None => self.kept(wish).any(|kept| kept.said(allow, before)),
        }
    }

    /// True if receivers are to be told who it was; `None` if that is not certain.
    pub fn discloses(&self, life: usize, message: &Message) -> Option<bool> {
        let wish = Wish::of(life, message);
        self.log.guard(self.log.lives[life].realm)?;
        match self.own(&wish) {
            Some(own) => Some(own.disclosed()),
            None if self.kept(&wish).any(Question::disclosed) => None,
            None => Some(false),
        }
    }

    /// True if an answer that is not understood, or none, may have refused it before that entry.
    fn may_have_failed(&self, wish: &Wish, before: usize) -> bool {
        // Nobody was there, or has read what it was asked.
        let Some(own) = self.own(wish) else { return true };
        let Some((answered, Said::Ruling { .. })) = own.answer else { return true };
        let gone = self.departures[own.authority].is_some_and(|departure| departure.at < before);
        let Some(guard) = self.log.guard(self.log.lives[wish.life].realm) else { return false };
        let since = self.said(wish).and_then(|said| self.handled[said].0).map_or(0, |at| self.times[at]);
        // What it has said may never have come, or came too late.
        let came = self.handled[answered].1.is_some_and(|by| by < before);
        gone || !came || self.times[before] >= since + guard.timeout_ms
    }
}

/// What authorizers decide about is done only if they have allowed it.
pub(super) fn done_if_allowed(log: &Log) -> Checked {
    if log.guards.is_empty() {
        return Ok(());
    }
    let rulings = Rulings::of(log)?;
    let (said, further) = (origins(log, &[code::PUBLISH, code::CALL]), log.further_calls());
    let testaments: BTreeMap<_, _> = calls(log, "wamp.session.add_testament")
        .filter_map(|(_, life, call)| Some((testament(arguments(call).get(1)?.list()?)?, (life, call))))
        .collect();
    for (at, life, message) in log.heard().filter(|(_, life, _)| !log.lives[*life].authority) {
        let request = |code| rulings.wanted.get(&(life, code, message.number(1))).map(|(_, m)| (life, *m));
        let done = match message.code() {
            code::EVENT | code::INVOCATION => match message.tag() {
                Some(tag) if further.contains_key(&tag) => None,
                Some(tag) => said.get(&tag).map(|(_, message)| (tag.life, message)),
                None => testament(arguments(message)).and_then(|what| testaments.get(&what).copied()),
            },
            code::SUBSCRIBED | code::REGISTERED | code::PUBLISHED => request(message.code() - 1),
            code::RESULT => request(code::CALL),
            _ => None,
        };
        let Some((whose, asked)) = done.filter(|(whose, _)| log.guard(log.lives[*whose].realm).is_some())
        else {
            continue;
        };
        for wish in Wish::all(whose, asked) {
            ensure(rulings.ruled(&wish, true, at), || format!("entry {at}: nobody has allowed {wish:?}"))?;
        }
    }
    Ok(())
}

/// Who is refused was refused by the authorizer, or got no answer that could be understood, in time.
pub(super) fn refused_if_denied(log: &Log) -> Checked {
    if log.guards.is_empty() {
        return Ok(());
    }
    let rulings = Rulings::of(log)?;
    for (at, life, message) in log.heard().filter(|(_, _, m)| m.code() == code::ERROR && m.tag().is_none()) {
        if log.guard(log.lives[life].realm).is_none() || log.lives[life].authority {
            continue;
        }
        let key = (life, message.number(1), message.number(2));
        let wishes = rulings.wanted.get(&key).map_or_else(Vec::new, |(_, asked)| Wish::all(life, asked));
        let fits = match message.text(4) {
            reason::NOT_AUTHORIZED => wishes.iter().any(|wish| rulings.ruled(wish, false, at)),
            reason::AUTHORIZATION_FAILED => wishes.iter().any(|wish| rulings.may_have_failed(wish, at)),
            _ => true,
        };
        ensure(fits, || format!("entry {at}: nobody has refused {wishes:?}"))?;
    }
    Ok(())
}

/// Authorizers are asked about each message once, and about those of one session in their order.
pub(super) fn asked_in_order(log: &Log) -> Checked {
    let mut asked = BTreeSet::new();
    let mut last: BTreeMap<usize, u64> = BTreeMap::new();
    for Question { wish, at, .. } in questions(log)? {
        let Wish { life, request, action, .. } = wish;
        ensure(asked.insert((life, request, action)), || format!("entry {at} asks again"))?;
        let before = last.insert(life, request).unwrap_or(0);
        ensure(before <= request, || format!("entry {at} asks about {request} after {before} of {life}"))?;
    }
    Ok(())
}

/// Callees are told of a caller exactly if the authorizer has said so: the clients of the simulation never do.
pub(super) fn callers_disclosed(log: &Log) -> Checked {
    if log.guards.is_empty() {
        return Ok(());
    }
    let (rulings, said) = (Rulings::of(log)?, origins(log, &[code::CALL]));
    let further = log.further_calls();
    for (at, _, message) in log.heard().filter(|(_, _, message)| message.code() == code::INVOCATION) {
        let tag = message.tag().filter(|tag: &Tag| !further.contains_key(tag));
        let Some((tag, (_, call))) = tag.and_then(|tag| Some((tag, said.get(&tag)?))) else { continue };
        let Some(disclosed) = rulings.discloses(tag.life, call) else { continue };
        let told = message.entry(3, "caller").is_some();
        ensure(told == disclosed, || format!("entry {at}: the caller is told: {told}"))?;
    }
    Ok(())
}

/// The topics of a realm that an authorizer has denied, to be remembered: a testament may not be published then, though
/// it was allowed.
pub(super) fn denied_topics(log: &Log) -> BTreeSet<(usize, String)> {
    let questions = questions(log).unwrap_or_default();
    let denied = questions.into_iter().filter(|question| {
        question.is_kept() && question.said(false, usize::MAX) && question.wish.action == code::PUBLISH
    });
    denied.map(|question| (log.lives[question.wish.life].realm, question.wish.uri)).collect()
}

/// How many publications without `acknowledge` were surely denied, and how many may have been.
pub fn denied_silently(log: &Log) -> Result<(u64, u64), String> {
    let rulings = Rulings::of(log)?;
    let publishes =
        log.said().filter(|(_, _, m)| m.code() == code::PUBLISH && !option(m, "acknowledge", false));
    let (mut surely, mut maybe) = (0, 0);
    for (at, life, message) in publishes {
        let own = rulings.own(&Wish::of(life, message)).filter(|own| own.said(false, usize::MAX));
        let handled = rulings.handled[at].1;
        let read = own.and_then(|own| own.answer).is_some_and(|(answered, _)| handled > Some(answered));
        surely += u64::from(read);
        maybe += 1;
    }
    Ok((surely, maybe))
}
