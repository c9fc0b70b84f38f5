//! Which callee gets a call, and the calls that wait for one (advanced profile, "Shared Registration"; `concurrency` is
//! Crossbar.io's option).
//!
//! The caller's shard chooses. A registration says who is next; one that counts what its callees have to do says
//! whether anybody is free (see [`Workload`](crate::router::directory::Workload), which also says why the queue over
//! all shards is there and not here). What waits stands here, in a line for each registration:
//!
//! ```text
//!   on_call -- a free callee, nobody in line --> Invoke
//!           -- all busy --> last in line, a ticket in the workload
//!   complete: the slot is released -- the next ticket --> Grant to its shard --> Invoke for the first in line
//!   on_cancel, on_timeout, leave: Release to the callee's shard, which does the same; or out of the line
//! ```
//!
//! A call that gets a callee while others here are in line (their grants are on their way) gives it to the first of
//! them and takes their place, so calls of one caller are invoked in the order in which they were made, but for two
//! exceptions. A call that waits is overtaken by calls to other registrations, though they may have the same callee:
//! a procedure that is busy stops no other. And a call whose callee had gone when INVOCATION was due begins anew,
//! behind those that came after it: it would be refused otherwise, although others answer.
//!
//! Two kinds of calls never wait, and pass those in line here when somebody is free. A call in parts: its parts would
//! have to wait with it, as many as its caller likes to send. If all are busy it is refused. And a call that goes to
//! the next callee because one was unavailable: what the line is granted next may be just that one. Who is busy then
//! is not available (the specification knows no busy callees).
//!
//! Invariant: a call without a callee stands in exactly one line; no line is empty.

use std::collections::VecDeque;
use std::sync::Arc;

use super::kept::Kept;
use super::{Dealer, OpenCall};
use crate::error::Refusal;
use crate::limits::Limits;
use crate::router::directory::{Asked, Callee, Grant, Registration, Slot, Taken};
use crate::router::letter::{CallKey, Complete, Invoke, Letter, Outcome};
use crate::router::{Context, ShardIndex};
use crate::wamp::{MatchPolicy, RegistrationId};

/// Calls of peers here that wait for a callee of one registration, in the order in which they came.
pub(super) type Line = VecDeque<Arc<Invoke>>;

/// Who answers a call.
#[derive(Debug)]
pub(super) struct Choice {
    /// `None`: it waits for one to be free.
    pub(super) callee: Option<Callee>,
    /// Given back when the call ends, if the registration counts.
    pub(super) slot: Option<Slot>,
    /// What the callee is one of, unless it is the only one and nothing is counted.
    pub(super) registration: Option<Arc<Registration>>,
}

/// Chooses a callee, or takes a ticket if the call `may_wait`.
pub(super) fn choose(
    cx: &mut Context<'_>,
    registration: &Arc<Registration>,
    may_wait: bool,
) -> Result<Choice, Refusal> {
    let Some(workload) = &registration.workload else {
        let callee = registration.choose(|| cx.entropy.draw() as u32);
        let registration = (registration.callees.len() > 1).then(|| registration.clone());
        return Ok(Choice { callee: Some(callee), slot: None, registration });
    };
    let tickets_max = match may_wait {
        true => cx.router.settings.limits.calls_waiting_per_registration_max,
        false => 0,
    };
    let (callee, slot) = match workload.take(cx.index, cx.entropy.draw(), tickets_max) {
        Taken::Callee(callee, slot) => (Some(callee), Some(slot)),
        Taken::Waits => (None, None),
        Taken::Full => return Err(Refusal::Unavailable),
        Taken::Closed => return Err(Refusal::NoSuchProcedure),
    };
    Ok(Choice { callee, slot, registration: Some(registration.clone()) })
}

/// Chooses one of the callees that were not asked yet, if any of them is free.
pub(super) fn choose_other(
    cx: &mut Context<'_>,
    registration: &Arc<Registration>,
    asked: &Asked,
) -> Option<(Callee, Option<Slot>)> {
    let draw = cx.entropy.draw();
    match &registration.workload {
        None => registration.choose_other(asked, draw as u32).map(|callee| (callee, None)),
        Some(workload) => workload.take_other(asked, draw).map(|(callee, slot)| (callee, Some(slot))),
    }
}

impl Dealer {
    /// Sends a call to the callee that was chosen for it, or puts it in line. It stands in the table already.
    pub(super) fn assign(&mut self, cx: &mut Context<'_>, invoke: Arc<Invoke>) {
        let call = invoke.call;
        let open = &mut self.calls[call.index as usize];
        let line = open.registration.as_ref().filter(|known| self.lines.contains_key(&known.id));
        let line = line.filter(|_| !invoke.progress);
        if let (Some(callee), None) = (open.callee, line) {
            return post(cx, callee, invoke);
        }
        let granted = open.callee.take().zip(open.slot.take());
        let registration = open.registration.clone().expect("who waits has one that counts");
        let Limits { calls_waiting_per_realm_max, call_bytes_waiting_per_realm_max, .. } =
            cx.router.settings.limits;
        let room = self.realm.directory.wait(
            invoke.bytes(),
            calls_waiting_per_realm_max,
            call_bytes_waiting_per_realm_max,
        );
        self.lines.entry(registration.id).or_default().push_back(invoke);
        match granted {
            Some((callee, slot)) => self.granted(cx, &registration, callee, slot),
            None if !room => self.refuse(cx, call, Refusal::Unavailable),
            None => {}
        }
    }

    /// A callee for whoever is first in line here; for nobody, if the call it was meant for has ended.
    pub fn granted(
        &mut self,
        cx: &mut Context<'_>,
        registration: &Arc<Registration>,
        callee: Callee,
        slot: Slot,
    ) {
        let Some(line) = self.lines.get_mut(&registration.id) else {
            return self.release(cx, registration, slot);
        };
        let invoke = line.pop_front().expect("no line is empty");
        if line.is_empty() {
            self.lines.remove(&registration.id);
        }
        self.realm.directory.waited(invoke.bytes());
        let open = &mut self.calls[invoke.call.index as usize];
        open.callee = Some(callee);
        open.slot = Some(slot);
        post(cx, callee, invoke);
    }

    /// The registration is no more: whoever is in line for it looks for another one.
    pub fn deserted(&mut self, cx: &mut Context<'_>, registration: RegistrationId) {
        for invoke in self.lines.remove(&registration).unwrap_or_default() {
            self.realm.directory.waited(invoke.bytes());
            self.choose_again(cx, invoke);
        }
    }

    /// The callee had gone when INVOCATION was due. There may be others, unless parts of the call were sent after the
    /// first: those are lost. A call that others could not take is still not for them.
    pub fn returned(&mut self, cx: &mut Context<'_>, invoke: Arc<Invoke>) {
        let call = invoke.call;
        let Some(open) = self.open_call(call) else { return };
        let canceled = open.canceled;
        let kept = open.kept.as_deref();
        let parts_lost = invoke.progress && kept.is_none_or(|kept| kept.in_parts);
        let declined = kept.is_some_and(Kept::declined);
        let Some(registration) = open.registration.clone().filter(|_| !canceled && !parts_lost) else {
            let refusal = if canceled { Refusal::Canceled } else { Refusal::NoSuchProcedure };
            return self.refuse(cx, call, refusal);
        };
        if declined {
            if !self.reroute(cx, call) {
                self.refuse(cx, call, Refusal::NoAvailableCallee);
            }
            return;
        }
        open.callee = None;
        if let Some(slot) = open.slot.take() {
            self.release(cx, &registration, slot);
        }
        self.choose_again(cx, invoke);
    }

    /// For a call that has neither a callee nor a place in line.
    fn choose_again(&mut self, cx: &mut Context<'_>, mut invoke: Arc<Invoke>) {
        let open = &mut self.calls[invoke.call.index as usize];
        let known = open.registration.take().expect("it was in line, or had a callee of several");
        let procedure = invoke.procedure.clone().unwrap_or_else(|| known.procedure.clone());
        // No INVOCATION may follow what this shard has said to others when its shutdown began.
        let found = if cx.draining { None } else { self.cache.procedure(&self.realm.directory, &procedure) };
        let gone = if cx.draining { Refusal::Unavailable } else { Refusal::NoSuchProcedure };
        let choice = found.ok_or(gone).and_then(|registration| {
            if registration.id != invoke.registration {
                let invoke = Arc::make_mut(&mut invoke);
                invoke.registration = registration.id;
                invoke.procedure = (registration.policy != MatchPolicy::Exact).then_some(procedure);
            }
            choose(cx, registration, !invoke.progress)
        });
        if let Some(kept) = &mut open.kept {
            kept.invoke = invoke.clone();
        }
        match choice {
            Ok(choice) => {
                let Choice { callee, slot, registration } = choice;
                (open.callee, open.slot, open.registration) = (callee, slot, registration);
                self.assign(cx, invoke);
            }
            Err(refusal) => self.refuse(cx, invoke.call, refusal),
        }
    }

    /// A call has ended, or its caller has: its slot goes to the next, or it leaves the line. If the callee has not
    /// answered it is asked to give the slot back, after it has seen INVOCATION and INTERRUPT: until then it is busy.
    pub(super) fn vacate(&mut self, cx: &mut Context<'_>, call: CallKey, open: &OpenCall, answered: bool) {
        let Some(registration) = &open.registration else { return };
        match (open.callee, open.slot) {
            (Some(callee), Some(slot)) if !answered => {
                let registration = registration.clone();
                cx.letters.post(callee.shard, Letter::Release { realm: self.realm.key, registration, slot });
            }
            (_, Some(slot)) => self.release(cx, registration, slot),
            (None, None) => self.withdraw(cx.index, registration, call),
            (Some(_), None) => {}
        }
    }

    /// An invocation that was counted is open no longer.
    pub fn release(&mut self, cx: &mut Context<'_>, registration: &Arc<Registration>, slot: Slot) {
        if let Some(workload) = &registration.workload {
            workload.release(slot);
            self.grant(cx, registration);
        }
    }

    /// Gives the callees of a registration that are free to those that wait.
    pub(super) fn grant(&self, cx: &mut Context<'_>, registration: &Arc<Registration>) {
        let Some(workload) = &registration.workload else { return };
        while let Some(Grant { shard, callee, slot }) = workload.grant(cx.entropy.draw()) {
            let registration = registration.clone();
            cx.letters.post(shard, Letter::Grant { realm: self.realm.key, registration, callee, slot });
        }
    }

    fn withdraw(&mut self, here: ShardIndex, registration: &Arc<Registration>, call: CallKey) {
        let Some(line) = self.lines.get_mut(&registration.id) else { return };
        let count = line.len();
        let Some(place) = line.iter().position(|invoke| invoke.call == call) else { return };
        let invoke = line.remove(place).expect("it was found there");
        if line.is_empty() {
            self.lines.remove(&registration.id);
        }
        self.realm.directory.waited(invoke.bytes());
        if let Some(workload) = &registration.workload {
            workload.withdraw(here, place, count);
        }
    }

    /// Answers every call that waits for a callee: the shutdown has begun, and nobody is called any more.
    pub fn refuse_waiting(&mut self, cx: &mut Context<'_>) {
        let waiting: Vec<CallKey> = self.lines.values().flatten().map(|invoke| invoke.call).collect();
        for call in waiting {
            self.refuse(cx, call, Refusal::Unavailable);
        }
    }

    fn refuse(&mut self, cx: &mut Context<'_>, call: CallKey, refusal: Refusal) {
        self.complete(cx, Complete { call, realm: self.realm.key, outcome: Outcome::Refused(refusal) });
    }
}

/// Asks the callee for an INVOCATION.
pub(super) fn post(cx: &mut Context<'_>, callee: Callee, invoke: Arc<Invoke>) {
    cx.letters.post(callee.shard, Letter::Invoke { callee: callee.peer, invoke });
}
