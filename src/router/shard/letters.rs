//! The switch over what shards tell one another.

use super::Shard;
use crate::router::Letter;

impl Shard {
    /// Does what it says. A letter for a realm that is no more finds nobody to take it.
    pub(super) fn open_letter(&mut self, letter: Letter) {
        if letter.realm().is_some_and(|realm| !self.knows(realm)) {
            self.peers.counters.letters_too_late += 1;
            return;
        }
        match letter {
            Letter::Deliver { realm, publication } => {
                let (realm, mut cx) = self.lend(realm);
                realm.broker.deliver(&mut cx, &publication);
            }
            Letter::Invoke { callee, invoke } => {
                let (realm, mut cx) = self.lend(invoke.realm);
                realm.dealer.invoke(&mut cx, callee, invoke);
            }
            Letter::Return { invoke, why } => {
                let (realm, mut cx) = self.lend(invoke.realm);
                realm.dealer.returned(&mut cx, invoke, why);
            }
            Letter::Grant { realm, workload, grant } => {
                let (realm, mut cx) = self.lend(realm);
                realm.dealer.granted(&mut cx, &workload, &grant);
            }
            Letter::Release { realm, callee, call, workload, slot } => {
                let (realm, mut cx) = self.lend(realm);
                realm.dealer.released(&mut cx, callee, call, (workload, slot));
            }
            Letter::Desert { realm, registration, call } => {
                let (realm, mut cx) = self.lend(realm);
                realm.dealer.deserted(&mut cx, registration, call);
            }
            Letter::Revoke { realm, callee, session, registration, reason } => {
                let (realm, mut cx) = self.lend(realm);
                realm.dealer.revoked(&mut cx, callee, session, registration, reason.as_deref());
            }
            Letter::Complete(complete) => {
                let (realm, mut cx) = self.lend(complete.realm);
                realm.dealer.complete(&mut cx, *complete);
            }
            Letter::Progress(progress) => {
                let (realm, mut cx) = self.lend(progress.realm);
                realm.dealer.progress(&mut cx, &progress);
            }
            Letter::TimeoutForwarded { realm, call } => {
                let (realm, mut cx) = self.lend(realm);
                realm.dealer.timeout_forwarded(&mut cx, call);
            }
            Letter::Interrupt { callee, realm, call, mode, reason } => {
                let (realm, mut cx) = self.lend(realm);
                realm.dealer.interrupt(&mut cx, callee, call, mode, reason);
            }
            Letter::Passthru(answer) => {
                let (realm, mut cx) = self.lend(answer.realm);
                realm.dealer.passthru(&mut cx, &answer);
            }
            Letter::RefuseYield { realm, callee, request } => {
                let (realm, mut cx) = self.lend(realm);
                realm.dealer.refuse_yield(&mut cx, callee, request);
            }
            Letter::LoggedOut { cookie } => self.on_logged_out(&cookie),
            Letter::Draining { shard } => self.draining_shards |= 1 << shard.0,
            Letter::Bequeathed { shard } => self.bequeathed_shards |= 1 << shard.0,
            Letter::RealmGone { realm } => self.forget(realm),
            Letter::Meta { realm } => {
                let (realm, mut cx) = self.lend(realm);
                realm.broker.publish_records(&mut cx);
            }
            Letter::Round(round) => self.on_round(*round),
            Letter::Answered(answered) => self.on_answered(*answered),
        }
    }
}
