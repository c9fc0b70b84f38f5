//! Answers whose payload is not to be looked into, for callers that may not understand them (advanced profile, "Payload
//! Passthru Mode").
//!
//! Whether a caller does is known in its shard, and the callee is to be told too if it does not. So such an answer is
//! preceded by a letter that asks, and a refusal takes the call off the table before the answer comes.

use super::{Dealer, OpenCall};
use crate::error::Refusal;
use crate::router::Context;
use crate::router::directory::Callee;
use crate::router::features::Feature;
use crate::router::letter::{Attributes, CallKey, Letter, PassthruAnswer};
use crate::wamp::RequestId;
use crate::wamp::message::code;
use crate::wamp::options::CancelMode;

impl OpenCall {
    /// True if the caller has announced the mode. The router would have to look.
    pub(super) fn takes_passthru(&self, cx: &mut Context<'_>) -> bool {
        let session = cx.peers.session(self.caller).filter(|_| !self.is_own());
        session.is_some_and(|session| session.features.has(Feature::CallerPayloadPassthru))
    }
}

impl Dealer {
    /// The callee has answered with these attributes: by YIELD, if `yielded` says to which invocation, or else by
    /// ERROR. To be called before the answer is posted.
    pub(super) fn ask_for_passthru(
        &self,
        cx: &mut Context<'_>,
        (call, attributes): (CallKey, &Option<Attributes>),
        yielded: Option<RequestId>,
    ) {
        if !attributes.as_ref().is_some_and(Attributes::passthru) {
            return;
        }
        let answer = PassthruAnswer { realm: self.realm.key, call, yielded };
        cx.letters.post(call.shard, Letter::Passthru(Box::new(answer)));
    }

    /// An answer is coming whose payload is not to be looked into. A caller that has not announced the mode gets ERROR
    /// in its place, and a callee that would go on is told not to.
    pub fn passthru(&mut self, cx: &mut Context<'_>, answer: &PassthruAnswer) {
        let Some(open) = self.open_call(answer.call) else { return };
        if open.takes_passthru(cx) {
            return;
        }
        let callee = open.callee;
        self.give_up(cx, answer.call, CancelMode::KillNoWait, Refusal::FeatureNotSupported);
        if let (Some(request), Some(callee)) = (answer.yielded, callee) {
            let realm = self.realm.key;
            cx.letters.post(callee.shard, Letter::RefuseYield { realm, callee, request });
        }
    }

    /// ERROR for a YIELD, unless the callee has left.
    pub fn refuse_yield(&mut self, cx: &mut Context<'_>, callee: Callee, request: RequestId) {
        if cx.peers.session(callee.peer).is_some_and(|session| session.id == callee.session) {
            cx.refuse(callee.peer, code::YIELD, request, Refusal::FeatureNotSupported);
        }
    }
}
