//! What a shard counts: plain integers, written by the one thread that owns them.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{CloseReason, JoinFailure};

/// Everything counted since the shard began.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Messages decoded.
    pub messages_received: u64,
    /// Sessions that were welcomed.
    pub sessions_joined: u64,
    /// Sessions ended by the session meta API.
    pub sessions_killed: u64,
    /// Sessions ended because settings have changed.
    pub sessions_dismissed: u64,
    /// HELLO messages refused because there are as many realms from their template as there may be.
    pub realms_refused: u64,
    /// Letters for realms that are no more.
    pub letters_too_late: u64,
    /// PUBLISH messages accepted.
    pub publications: u64,
    /// EVENT messages queued.
    pub events_delivered: u64,
    /// EVENT messages not sent because they exceed what the subscriber's transport, or its queue, takes.
    pub events_too_large: u64,
    /// EVENT messages not sent because the payload has no form in the subscriber's serializer.
    pub events_untranslatable: u64,
    /// Retained events that made room for others.
    pub retained_evicted: u64,
    /// Publications that were to be retained, or kept in the history, and are too large for that.
    pub publications_unkept: u64,
    /// Retained events not sent because too much waited for the subscriber already.
    pub retained_unsent: u64,
    /// PUBLISH messages without `acknowledge` that were refused, which nobody was told.
    pub publications_refused_silently: u64,
    /// What sessions were not allowed to do, by action in the order of its kinds: call, register, publish, subscribe.
    pub denied: [u64; 4],
    /// PUBLISH messages without `acknowledge` that were not allowed, which nobody was told.
    pub publications_denied_silently: u64,
    /// Questions whether a session may do something that found no answer. They count as denied too.
    pub authorizations_failed: u64,
    /// Answers of authorizers: the questions that were answered, kept answers that were used again, and of the
    /// questions those that failed, by whatever cause, and of those the ones that were not answered in time.
    pub authorizer_answers: u64,
    /// See [`authorizer_answers`](Self::authorizer_answers).
    pub authorizer_verdicts_kept: u64,
    /// See [`authorizer_answers`](Self::authorizer_answers).
    pub authorizer_failures: u64,
    /// See [`authorizer_answers`](Self::authorizer_answers).
    pub authorizer_timeouts: u64,
    /// CALL messages accepted.
    pub calls: u64,
    /// Calls of the router's own: questions to authorizers and authenticators.
    pub calls_own: u64,
    /// YIELD and ERROR messages for invocations that are no longer open.
    pub answers_too_late: u64,
    /// Progressive results of callees that may send none, or for callers that asked for none.
    pub results_unasked: u64,
    /// CALL messages that go on with a call that is over.
    pub calls_too_late: u64,
    /// Messages to a peer dropped because the peer takes none that large.
    pub messages_too_large: u64,
    /// WebSockets and requests for long-poll of pages that may not connect.
    pub pages_refused: u64,
    /// Browsers that were forgotten before their time, because there were too many.
    pub cookies_evicted: u64,
    /// Topics and procedures looked up in a directory, under its locks: no answer that still holds was remembered.
    pub directory_lookups: u64,
    /// Attempts to join that have failed, by reason.
    pub authentications_failed: BTreeMap<JoinFailure, u64>,
    /// Ends of connections, by reason.
    pub closed: BTreeMap<CloseReason, u64>,
}

impl fmt::Display for Counters {
    /// One line: what was done, and whatever was dropped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters { messages_received, sessions_joined, publications, events_delivered, calls, .. } = self;
        write!(f, "{sessions_joined} sessions, {messages_received} messages, {publications} publications, ")?;
        write!(f, "{events_delivered} events, {calls} calls")?;
        let dropped = [
            (self.sessions_killed, "sessions killed"),
            (self.sessions_dismissed, "sessions ended because settings have changed"),
            (self.realms_refused, "realms refused because there were too many from their template"),
            (self.letters_too_late, "letters for realms that were no more"),
            (self.events_too_large, "events too large for their subscriber"),
            (self.events_untranslatable, "events without a form in the subscriber's serializer"),
            (self.retained_evicted, "retained events that made room for others"),
            (self.publications_unkept, "publications too large to be kept"),
            (self.retained_unsent, "retained events too many for their subscriber"),
            (self.publications_refused_silently, "publications refused and not acknowledged"),
            (self.denied[0], "calls not allowed"),
            (self.denied[1], "registrations not allowed"),
            (self.denied[2], "publications not allowed"),
            (self.denied[3], "subscriptions not allowed"),
            (self.publications_denied_silently, "publications not allowed and not acknowledged"),
            (self.authorizations_failed, "questions of what is allowed without an answer"),
            (self.authorizer_failures, "questions that authorizers have not answered"),
            (self.messages_too_large, "messages too large for their peer"),
            (self.answers_too_late, "answers to calls that were given up"),
            (self.results_unasked, "progressive results that nobody had asked for"),
            (self.calls_too_late, "parts of calls that were over"),
            (self.pages_refused, "requests of pages that may not connect"),
            (self.cookies_evicted, "browsers forgotten before their time"),
        ];
        for (count, what) in dropped.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "; {count} {what}")?;
        }
        for (failure, count) in &self.authentications_failed {
            write!(f, "; authentication failed for {failure:?}: {count}")?;
        }
        for (reason, count) in &self.closed {
            write!(f, "; closed for {reason:?}: {count}")?;
        }
        Ok(())
    }
}

impl Counters {
    /// Each of them with its name, for programs: those by reason have the reason after a dot, if any was counted.
    pub fn named(&self) -> Vec<(String, u64)> {
        // All of them, so that none is forgotten that comes.
        let Counters {
            messages_received,
            sessions_joined,
            sessions_killed,
            sessions_dismissed,
            realms_refused,
            letters_too_late,
            publications,
            events_delivered,
            events_too_large,
            events_untranslatable,
            retained_evicted,
            publications_unkept,
            retained_unsent,
            publications_refused_silently,
            publications_denied_silently,
            authorizations_failed,
            authorizer_answers,
            authorizer_verdicts_kept,
            authorizer_failures,
            authorizer_timeouts,
            calls,
            calls_own,
            answers_too_late,
            results_unasked,
            calls_too_late,
            messages_too_large,
            pages_refused,
            cookies_evicted,
            directory_lookups,
            denied,
            authentications_failed,
            closed,
        } = self;
        let plain = [
            ("messages_received", messages_received),
            ("sessions_joined", sessions_joined),
            ("sessions_killed", sessions_killed),
            ("sessions_dismissed", sessions_dismissed),
            ("realms_refused", realms_refused),
            ("letters_too_late", letters_too_late),
            ("publications", publications),
            ("events_delivered", events_delivered),
            ("events_too_large", events_too_large),
            ("events_untranslatable", events_untranslatable),
            ("retained_evicted", retained_evicted),
            ("publications_unkept", publications_unkept),
            ("retained_unsent", retained_unsent),
            ("publications_refused_silently", publications_refused_silently),
            ("publications_denied_silently", publications_denied_silently),
            ("authorizations_failed", authorizations_failed),
            ("authorizer_answers", authorizer_answers),
            ("authorizer_verdicts_kept", authorizer_verdicts_kept),
            ("authorizer_failures", authorizer_failures),
            ("authorizer_timeouts", authorizer_timeouts),
            ("calls", calls),
            ("calls_own", calls_own),
            ("answers_too_late", answers_too_late),
            ("results_unasked", results_unasked),
            ("calls_too_late", calls_too_late),
            ("messages_too_large", messages_too_large),
            ("pages_refused", pages_refused),
            ("cookies_evicted", cookies_evicted),
            ("directory_lookups", directory_lookups),
        ];
        let mut named: Vec<_> = plain.map(|(name, count)| (name.to_owned(), *count)).into();
        let actions = ["call", "register", "publish", "subscribe"].into_iter().zip(denied);
        named.extend(actions.map(|(action, count)| (format!("denied.{action}"), *count)));
        let failures = authentications_failed.iter();
        named.extend(failures.map(|(why, count)| (by_reason("authentications_failed", why), *count)));
        named.extend(closed.iter().map(|(why, count)| (by_reason("closed", why), *count)));
        named
    }

    /// Adds another shard's.
    pub fn add(&mut self, other: &Counters) {
        self.messages_received += other.messages_received;
        self.sessions_joined += other.sessions_joined;
        self.sessions_killed += other.sessions_killed;
        self.sessions_dismissed += other.sessions_dismissed;
        self.realms_refused += other.realms_refused;
        self.letters_too_late += other.letters_too_late;
        self.publications += other.publications;
        self.events_delivered += other.events_delivered;
        self.events_too_large += other.events_too_large;
        self.events_untranslatable += other.events_untranslatable;
        self.retained_evicted += other.retained_evicted;
        self.publications_unkept += other.publications_unkept;
        self.retained_unsent += other.retained_unsent;
        self.publications_refused_silently += other.publications_refused_silently;
        for (denied, other) in self.denied.iter_mut().zip(other.denied) {
            *denied += other;
        }
        self.publications_denied_silently += other.publications_denied_silently;
        self.authorizations_failed += other.authorizations_failed;
        self.calls += other.calls;
        self.calls_own += other.calls_own;
        self.authorizer_answers += other.authorizer_answers;
        self.authorizer_verdicts_kept += other.authorizer_verdicts_kept;
        self.authorizer_failures += other.authorizer_failures;
        self.authorizer_timeouts += other.authorizer_timeouts;
        self.answers_too_late += other.answers_too_late;
        self.results_unasked += other.results_unasked;
        self.calls_too_late += other.calls_too_late;
        self.messages_too_large += other.messages_too_large;
        self.pages_refused += other.pages_refused;
        self.cookies_evicted += other.cookies_evicted;
        self.directory_lookups += other.directory_lookups;
        for (failure, count) in &other.authentications_failed {
            *self.authentications_failed.entry(*failure).or_default() += count;
        }
        for (reason, count) in &other.closed {
            *self.closed.entry(*reason).or_default() += count;
        }
    }
}

/// `closed.violation.no_roles`, for `Violation(NoRoles)`.
fn by_reason(name: &str, reason: &impl fmt::Debug) -> String {
    let mut text = name.to_owned();
    let mut begins = true;
    text.push('.');
    for letter in format!("{reason:?}").chars() {
        if letter.is_ascii_uppercase() && !begins {
            text.push('_');
        }
        match letter {
            '(' => text.push('.'),
            letter if letter.is_ascii_alphanumeric() => text.push(letter.to_ascii_lowercase()),
            _ => {}
        }
        begins = letter == '(';
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_is_told_and_what_was_not_is_not() {
        let mut all = Counters { calls: 2, events_too_large: 1, ..Counters::default() };
        all.closed.insert(CloseReason::Closed, 3);
        let mut other = Counters { sessions_joined: 5, events_too_large: 1, ..Counters::default() };
        other.closed.insert(CloseReason::SlowConsumer, 1);
        all.add(&other);
        let line = all.to_string();
        assert!(
            line.starts_with("5 sessions, 0 messages, 0 publications, 0 events, 2 calls; 2 events too large")
        );
        assert!(line.ends_with("; closed for Closed: 3; closed for SlowConsumer: 1"), "{line}");
        assert!(!line.contains("untranslatable"));
    }
    #[test]
    fn each_has_a_name_of_its_own() {
        let mut all = Counters { calls: 2, denied: [0, 0, 5, 0], ..Counters::default() };
        all.closed.insert(CloseReason::Violation(crate::error::Violation::NoRoles), 3);
        all.authentications_failed.insert(JoinFailure::WrongSecret, 4);
        let named = all.named();
        for expected in [
            ("calls", 2),
            ("denied.publish", 5),
            ("closed.violation.no_roles", 3),
            ("authentications_failed.wrong_secret", 4),
            ("sessions_dismissed", 0),
        ] {
            assert!(named.contains(&(expected.0.to_owned(), expected.1)), "{expected:?}: {named:?}");
        }
        let names: std::collections::BTreeSet<_> = named.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), named.len());
    }
}
