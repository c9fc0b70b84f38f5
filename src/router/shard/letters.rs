//! The switch over what shards tell one another.

use super::Shard;
use crate::router::Letter;

impl Shard {
    /// Does what it says. A letter for a realm that is no more finds nobody to take it.
    pub(super) fn open_letter(&mut self, letter: Letter) {
        match letter {
            Letter::Deliver { realm, publication } => {
                let Some((realm, mut cx)) = self.lend_if_known(realm) else { return };
                realm.broker.deliver(&mut cx, &publication);
            }
            Letter::Invoke { callee, invoke } => {
                let Some((realm, mut cx)) = self.lend_if_known(invoke.realm) else { return };
                realm.dealer.invoke(&mut cx, callee, invoke);
            }
            Letter::Return { invoke, why } => {
                let Some((realm, mut cx)) = self.lend_if_known(invoke.realm) else { return };
                realm.dealer.returned(&mut cx, invoke, why);
            }
            Letter::Grant { realm, workload, grant } => {
                let Some((realm, mut cx)) = self.lend_if_known(realm) else { return };
                realm.dealer.granted(&mut cx, &workload, &grant);
            }
            Letter::Release { realm, callee, call, workload, slot } => {
                let Some((realm, mut cx)) = self.lend_if_known(realm) else { return };
                realm.dealer.released(&mut cx, callee, call, (workload, slot));
            }
            Letter::Desert { realm, registration, call } => {
                let Some((realm, mut cx)) = self.lend_if_known(realm) else { return };
                realm.dealer.deserted(&mut cx, registration, call);
            }
            Letter::Revoke { realm, callee, session, registration, reason } => {
                let Some((realm, mut cx)) = self.lend_if_known(realm) else { return };
                realm.dealer.revoked(&mut cx, callee, session, registration, reason.as_deref());
            }
            Letter::Complete(complete) => {
                let Some((realm, mut cx)) = self.lend_if_known(complete.realm) else { return };
                realm.dealer.complete(&mut cx, *complete);
            }
            Letter::Progress(progress) => {
                let Some((realm, mut cx)) = self.lend_if_known(progress.realm) else { return };
                realm.dealer.progress(&mut cx, &progress);
            }
            Letter::TimeoutForwarded { realm, call } => {
                let Some((realm, mut cx)) = self.lend_if_known(realm) else { return };
                realm.dealer.timeout_forwarded(&mut cx, call);
            }
            Letter::Interrupt { callee, realm, call, mode, reason } => {
                let Some((realm, mut cx)) = self.lend_if_known(realm) else { return };
                realm.dealer.interrupt(&mut cx, callee, call, mode, reason);
            }
            Letter::Passthru(answer) => {
                let Some((realm, mut cx)) = self.lend_if_known(answer.realm) else { return };
                realm.dealer.passthru(&mut cx, &answer);
            }
            Letter::RefuseYield { realm, callee, request } => {
                let Some((realm, mut cx)) = self.lend_if_known(realm) else { return };
                realm.dealer.refuse_yield(&mut cx, callee, request);
            }
            Letter::LoggedOut { cookie } => self.on_logged_out(&cookie),
            Letter::Draining { shard } => self.draining_shards |= 1 << shard.0,
            Letter::Bequeathed { shard } => self.bequeathed_shards |= 1 << shard.0,
            Letter::RealmGone { realm } => self.forget(realm),
            Letter::Meta { realm } => {
                let Some((realm, mut cx)) = self.lend_if_known(realm) else { return };
                realm.broker.publish_records(&mut cx);
            }
            Letter::Round(round) => {
                if self.lend_if_known(round.realm).is_some() {
                    self.on_round(*round);
                }
            }
            Letter::Answered(answered) => self.on_answered(*answered),
        }
    }
}
