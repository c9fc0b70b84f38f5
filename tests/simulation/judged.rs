//! How often what is interesting about authorizers and authenticators happened.

use std::collections::BTreeSet;

use fanwire::counters::Counters;
use fanwire::wamp::message::code;
use fanwire::wamp::reason;

use crate::checkers::{Question, Said, denied_silently, joining, questions};
use crate::coverage::Coverage;
use crate::doors::is_known;
use crate::item::Item;
use crate::log::{Log, option};

/// What the shards have counted agrees with what was said.
pub fn check_counters(log: &Log, counters: &Counters) -> Result<(), String> {
    let asked = questions(log)?.len() as u64;
    if counters.calls_own < asked {
        return Err(format!("{asked} questions were read, {} were counted", counters.calls_own));
    }
    if log.guards.is_empty() {
        return Ok(());
    }
    let (surely, maybe) = denied_silently(log)?;
    let counted = counters.publications_denied_silently;
    if !(surely..=maybe).contains(&counted) {
        return Err(format!("{counted} publications were denied silently, not {surely} to {maybe}"));
    }
    Ok(())
}

impl Coverage {
    /// What authorizers were asked and have said.
    pub fn read_rulings(&mut self, log: &Log, counters: &Counters) {
        self.count_many("an authorizer's answer was used again", counters.authorizer_verdicts_kept as usize);
        self.count_many("an authorizer did not answer in time", counters.authorizer_timeouts as usize);
        self.count_many("a publication was denied silently", counters.publications_denied_silently as usize);
        self.read_logins(log);
        let questions = questions(log).unwrap_or_default();
        let mut topics = BTreeSet::new();
        for Question { wish, authority, answer, .. } in &questions {
            let (asker, asked) = (&log.lives[wish.life], &log.lives[*authority]);
            self.count_many(
                "an authorizer was asked on another shard",
                usize::from(asker.shard != asked.shard),
            );
            self.count_many(
                "an authorizer was asked in another realm",
                usize::from(asker.realm != asked.realm),
            );
            let again = !topics.insert((wish.life, wish.request));
            self.count_many("an authorizer was asked twice about a testament", usize::from(again));
            match answer {
                Some((_, Said::Ruling { allow: true, .. })) => self.count("an authorizer allowed something"),
                Some((_, Said::Ruling { .. })) => self.count("an authorizer denied something"),
                Some((_, Said::Nothing)) => self.count("an authorizer failed"),
                None => self.count("an authorizer said nothing"),
            }
        }
        for (_, life, message) in log.heard() {
            let gone = message.code() == code::INTERRUPT
                && log.is_authority(life)
                && message.entry(2, "reason").and_then(Item::text) == Some(reason::CANCELED);
            self.count_many("a session left while an authorizer was asked", usize::from(gone));
            let told = message.code() == code::INVOCATION && message.entry(3, "caller").is_some();
            self.count_many("an authorizer disclosed a caller", usize::from(told));
        }
        if log.guards.is_empty() {
            return;
        }
        let shown: BTreeSet<_> =
            log.heard().filter_map(|(_, _, m)| m.entry(3, "publisher").and(m.tag())).collect();
        let asked = |message: &crate::item::Message| option(message, "disclose_me", false);
        let hidden = log.said().filter(|(_, _, m)| m.code() == code::PUBLISH && !asked(m));
        let disclosed = hidden.filter(|(_, _, m)| m.tag().is_some_and(|tag| shown.contains(&tag))).count();
        self.count_many("an authorizer disclosed a publisher", disclosed);
    }

    /// Who has joined where not everybody may.
    fn read_logins(&mut self, log: &Log) {
        for (_, life, message) in
            log.heard().filter(|(_, life, _)| log.door(log.lives[*life].realm).is_some())
        {
            let Some(login) = &log.lives[life].login else { continue };
            let whose = if is_known(&login.authid) { login.authid.as_str() } else { "dynamic" };
            match message.code() {
                code::WELCOME => self.count(&format!("welcomed by {}: {whose}", login.method)),
                code::ABORT => {
                    self.count(&format!("turned away: {}", message.text(2)));
                    let why = message.entry(1, "message").and_then(Item::text).unwrap_or_default();
                    self.count_many("a challenge was answered too late", usize::from(why.contains("late")));
                }
                _ => {}
            }
        }
        let invocations =
            log.heard().filter(|(_, life, m)| log.is_authority(*life) && m.code() == code::INVOCATION);
        for details in invocations.filter_map(|(_, _, message)| joining(message)) {
            let method = details.entry("authmethod").and_then(Item::text).unwrap_or_default();
            self.count(&format!("an authority was asked who somebody is: {method}"));
        }
    }
}
