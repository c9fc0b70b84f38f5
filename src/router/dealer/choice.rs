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
//!   on_cancel, leave: Release to the callee's shard, which does the same
//! ```
//!
//! A call that gets a callee while others here are in line (their grants are on their way) gives it to the first of
//! them and takes their place, so calls of one caller are invoked in the order in which they were made, but for two
//! exceptions. A call that waits is overtaken by calls to other registrations, though they may have the same callee:
//! a procedure that is busy stops no other. And a call whose callee had gone when INVOCATION was due begins anew,
//! behind those that came after it: it would be refused otherwise, although others answer.
//!
//! Invariant: a call without a callee stands in exactly one line; no line is empty.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Dealer, OpenCall};
use crate::error::Refusal;
use crate::limits::Limits;
use crate::router::directory::{Callee, Grant, Registration, Slot, Taken};
use crate::router::letter::{CallKey, Complete, Invoke, Letter, Outcome};
use crate::router::{Context, ShardIndex};
use crate::wamp::{MatchPolicy, RegistrationId};

/// Calls of peers here that wait for a callee of one registration, in the order in which they came.
pub(super) type Line = VecDeque<Box<Invoke>>;

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

/// Chooses a callee, or takes a ticket.
pub(super) fn choose(cx: &mut Context<'_>, registration: &Arc<Registration>) -> Result<Choice, Refusal> {
    let Some(workload) = &registration.workload else {
        let callee = registration.choose(|| cx.entropy.draw() as u32);
        let registration = (registration.callees.len() > 1).then(|| registration.clone());
        return Ok(Choice { callee: Some(callee), slot: None, registration });
    };
    let tickets_max = cx.router.settings.limits.calls_waiting_per_registration_max;
    let (callee, slot) = match workload.take(cx.index, cx.entropy.draw(), tickets_max) {
        Taken::Callee(callee, slot) => (Some(callee), Some(slot)),
        Taken::Waits => (None, None),
        Taken::Full => return Err(Refusal::Unavailable),
        Taken::Closed => return Err(Refusal::NoSuchProcedure),
    };
    Ok(Choice { callee, slot, registration: Some(registration.clone()) })
}

impl Dealer {
    /// Sends a call to the callee that was chosen for it, or puts it in line. It stands in the table already.
    pub(super) fn assign(&mut self, cx: &mut Context<'_>, invoke: Box<Invoke>) {
        let call = invoke.call;
        let open = &mut self.calls[call.index as usize];
        let line = open.registration.as_ref().filter(|known| self.lines.contains_key(&known.id));
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

    /// The callee had gone when INVOCATION was due. There may be others.
    pub fn returned(&mut self, cx: &mut Context<'_>, invoke: Box<Invoke>) {
        let open = self.calls.get_mut(invoke.call.index as usize);
        let Some(open) = open.filter(|open| open.serial == invoke.call.serial) else { return };
        let Some(registration) = open.registration.clone().filter(|_| !open.canceled) else {
            let refusal = if open.canceled { Refusal::Canceled } else { Refusal::NoSuchProcedure };
            return self.refuse(cx, invoke.call, refusal);
        };
        open.callee = None;
        if let Some(slot) = open.slot.take() {
            self.release(cx, &registration, slot);
        }
        self.choose_again(cx, invoke);
    }

    /// For a call that has neither a callee nor a place in line.
    fn choose_again(&mut self, cx: &mut Context<'_>, mut invoke: Box<Invoke>) {
        let open = &mut self.calls[invoke.call.index as usize];
        let known = open.registration.take().expect("it was in line, or had a callee of several");
        let procedure = invoke.procedure.take().unwrap_or_else(|| known.procedure.clone());
        // No INVOCATION may follow what this shard has said to others when its shutdown began.
        let found = if cx.draining { None } else { self.cache.procedure(&self.realm.directory, &procedure) };
        let gone = if cx.draining { Refusal::Unavailable } else { Refusal::NoSuchProcedure };
        let choice = found.ok_or(gone).and_then(|registration| {
            invoke.registration = registration.id;
            invoke.procedure = (registration.policy != MatchPolicy::Exact).then_some(procedure);
            choose(cx, registration)
        });
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
    pub(super) fn close(&mut self, cx: &mut Context<'_>, call: CallKey, open: &OpenCall, answered: bool) {
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

fn post(cx: &mut Context<'_>, callee: Callee, mut invoke: Box<Invoke>) {
    invoke.callee = callee.peer;
    cx.letters.post(callee.shard, Letter::Invoke(invoke));
}
