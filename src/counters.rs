//! What a shard counts: plain integers, written by the one thread that owns them.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{CloseReason, JoinFailure};

/// Defines [`Counters`]: a counter that is a number is named once, and is added and told with the others.
macro_rules! counters {
    ($($(#[$doc:meta])* $number:ident,)*) => {
        /// Everything counted since the shard began.
        #[derive(Clone, Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $number: u64,)*
            /// What sessions were not allowed to do, by action in the order of its kinds: call, register, publish,
            /// subscribe.
            pub denied: [u64; 4],
            /// Attempts to join that have failed, by reason.
            pub authentications_failed: BTreeMap<JoinFailure, u64>,
            /// Ends of connections, by reason.
            pub closed: BTreeMap<CloseReason, u64>,
        }

        impl Counters {
            fn numbers(&self) -> [(&'static str, u64); [$(stringify!($number)),*].len()] {
                [$((stringify!($number), self.$number)),*]
            }

            fn add_numbers(&mut self, other: &Counters) {
                $(self.$number += other.$number;)*
            }
        }
    };
}

counters! {
    /// Messages decoded.
    messages_received,
    /// Sessions that were welcomed.
    sessions_joined,
    /// Sessions ended by the session meta API.
    sessions_killed,
    /// Sessions ended because settings have changed.
    sessions_dismissed,
    /// Subscriptions taken from sessions because settings have changed.
    subscriptions_revoked,
    /// Registrations taken from sessions because settings have changed.
    registrations_revoked,
    /// HELLO messages refused because there are as many realms from their template as there may be.
    realms_refused,
    /// Letters for realms that are no more.
    letters_too_late,
    /// PUBLISH messages accepted.
    publications,
    /// EVENT messages queued.
    events_delivered,
    /// EVENT messages not sent because they exceed what the subscriber's transport, or its queue, takes.
    events_too_large,
    /// EVENT messages not sent because the payload has no form in the subscriber's serializer.
    events_untranslatable,
    /// Retained events that made room for others.
    retained_evicted,
    /// Publications that were to be retained, or kept in the history, and are too large for that.
    publications_unkept,
    /// Retained events not sent because too much waited for the subscriber already.
    retained_unsent,
    /// PUBLISH messages without `acknowledge` that were refused, which nobody was told.
    publications_refused_silently,
    /// PUBLISH messages without `acknowledge` that were not allowed, which nobody was told.
    publications_denied_silently,
    /// Questions whether a session may do something that found no answer. They count as denied too.
    authorizations_failed,
    /// Answers of authorizers: the questions that were answered, kept answers that were used again, and of the
    /// questions those that failed, by whatever cause, and of those the ones that were not answered in time.
    authorizer_answers,
    /// See [`authorizer_answers`](Self::authorizer_answers).
    authorizer_verdicts_kept,
    /// See [`authorizer_answers`](Self::authorizer_answers).
    authorizer_failures,
    /// See [`authorizer_answers`](Self::authorizer_answers).
    authorizer_timeouts,
    /// CALL messages accepted.
    calls,
    /// Calls of the router's own: questions to authorizers and authenticators.
    calls_own,
    /// YIELD and ERROR messages for invocations that are no longer open.
    answers_too_late,
    /// Progressive results of callees that may send none, or for callers that asked for none.
    results_unasked,
    /// CALL messages that go on with a call that is over.
    calls_too_late,
    /// Messages to a peer dropped because the peer takes none that large.
    messages_too_large,
    /// WebSockets and requests for long-poll of pages that may not connect.
    pages_refused,
    /// Browsers that were forgotten before their time, because there were too many.
    cookies_evicted,
    /// Topics and procedures looked up in a directory, under its locks: no answer that still holds was remembered.
    directory_lookups,
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
            (self.subscriptions_revoked, "subscriptions taken away because settings have changed"),
            (self.registrations_revoked, "registrations taken away because settings have changed"),
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
        let numbers = self.numbers().into_iter();
        let mut named: Vec<_> = numbers.map(|(name, count)| (name.to_owned(), count)).collect();
        let actions = ["call", "register", "publish", "subscribe"].into_iter().zip(self.denied);
        named.extend(actions.map(|(action, count)| (format!("denied.{action}"), count)));
        let failures = self.authentications_failed.iter();
        named.extend(failures.map(|(why, count)| (by_reason("authentications_failed", why), *count)));
        named.extend(self.closed.iter().map(|(why, count)| (by_reason("closed", why), *count)));
        named
    }

    /// Adds another shard's.
    pub fn add(&mut self, other: &Counters) {
        self.add_numbers(other);
        for (denied, other) in self.denied.iter_mut().zip(other.denied) {
            *denied += other;
        }
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
