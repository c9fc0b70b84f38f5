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
//!   declined: the slot is released -- another callee is free --> Invoke
//!                                   -- all others are busy --> beside the line, a ticket of its own
//!   on_cancel, on_timeout, leave: Release to the callee's shard, which does the same; or out of the line
//! ```
//!
//! A call that gets a callee while others here are in line (their grants are on their way) gives it to the first of
//! them and takes their place, so calls of one caller are invoked in the order in which they were made, but for two
//! exceptions. A call that waits is overtaken by calls to other registrations, though they may have the same callee:
//! a procedure that is busy stops no other. And a call whose callee had gone when INVOCATION was due, or had too many
//! open, begins anew, behind those that came after it: it would be refused otherwise, although others answer.
//!
//! Two kinds of calls pass those in line here when somebody is free. A call in parts: it never waits, since its parts
//! would have to wait with it, as many as its caller likes to send. If all are busy it is refused. And a call that some
//! callees could not take, which is only for the others: what the line is granted next may be just one of the former.
//! If the others are busy it waits for one of them, beside the line, and is granted by its name.
//!
//! Invariant: a call without a callee stands in exactly one line; no line is empty.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Dealer, OpenCall};
use crate::error::Refusal;
use crate::limits::Limits;
use crate::router::directory::{Asked, Callee, Grant, Registration, Slot, Taken, Workload};
use crate::router::letter::{CallKey, Complete, Invoke, Letter, Outcome, Returned};
use crate::router::{Context, PeerKey, ShardIndex};
use crate::wamp::{MatchPolicy, RegistrationId};

/// Calls of peers here that wait for a callee of one registration.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// In the order in which they came.
    calls: VecDeque<Arc<Invoke>>,
    /// Those that some callees could not take.
    not_for_all: BTreeMap<CallKey, Arc<Invoke>>,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.not_for_all.is_empty()
    }
}

/// Who answers a call.
#[derive(Debug)]
pub(super) struct Choice {
    /// `None`: it waits for one to be free.
    pub(super) callee: Option<Callee>,
    /// Where its invocation is counted, if the registration counts.
    pub(super) workload: Option<Arc<Workload>>,
    /// Given back when the call ends.
    pub(super) slot: Option<Slot>,
}

/// Why nobody does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unchosen {
    /// The registration is no more.
    Closed,
    /// All of its callees were asked.
    Nobody,
    /// Whatever else there is.
    Refused(Refusal),
}

impl Unchosen {
    /// What the caller is told; `none` if there is nobody to ask.
    pub(super) fn refusal(self, none: Refusal) -> Refusal {
        match self {
            Unchosen::Closed | Unchosen::Nobody => none,
            Unchosen::Refused(refusal) => refusal,
        }
    }
}

impl From<Refusal> for Unchosen {
    fn from(refusal: Refusal) -> Unchosen {
        Unchosen::Refused(refusal)
    }
}

/// Chooses one of the callees that were not asked, or takes a ticket if the call may wait.
pub(super) fn choose(
    cx: &mut Context<'_>,
    registration: &Arc<Registration>,
    invoke: &Invoke,
    asked: Option<&Arc<Asked>>,
) -> Result<Choice, Unchosen> {
    let Some(workload) = &registration.workload else {
        let callee = match asked {
            None => Some(registration.choose(|| cx.entropy.draw() as u32)),
            Some(asked) => registration.choose_other(asked, cx.entropy.draw() as u32),
        };
        let callee = Some(callee.ok_or(Unchosen::Nobody)?);
        return Ok(Choice { callee, workload: None, slot: None });
    };
    let tickets_max = match invoke.progress {
        true => 0,
        false => cx.router.settings.limits.calls_waiting_per_registration_max,
    };
    let draw = cx.entropy.draw();
    let taken = match asked {
        None => workload.take(cx.index, draw, tickets_max),
        Some(asked) => workload.take_other(invoke.call, asked, draw, tickets_max),
    };
    let (callee, slot) = match taken {
        Taken::Callee(callee, slot) => (Some(callee), Some(slot)),
        Taken::Waits => (None, None),
        Taken::Full => return Err(Refusal::Unavailable.into()),
        Taken::Nobody => return Err(Unchosen::Nobody),
        Taken::Closed => return Err(Unchosen::Closed),
    };
    Ok(Choice { callee, workload: Some(workload.clone()), slot })
}

impl Dealer {
    /// Sends a call to the callee that was chosen for it, or puts it in line. It stands in the table already.
    pub(super) fn assign(&mut self, cx: &mut Context<'_>, invoke: Arc<Invoke>) {
        let call = invoke.call;
        let open = &mut self.calls[call.index as usize];
        let not_for_all = open.asked.is_some();
        let line = open.workload.as_ref().filter(|_| !invoke.progress && !not_for_all);
        let line = line.and_then(|workload| self.lines.get(&workload.registration));
        if let (Some(callee), true) = (open.callee, line.is_none_or(|line| line.calls.is_empty())) {
            return post(cx, callee, invoke);
        }
        let granted = open.callee.take().zip(open.slot.take());
        let (caller, workload) = (open.caller, open.workload.clone().expect("who waits has one that counts"));
        let room = self.wait(&cx.router.settings.limits, caller, &invoke);
        let line = self.lines.entry(workload.registration).or_default();
        match not_for_all {
            true => drop(line.not_for_all.insert(call, invoke)),
            false => line.calls.push_back(invoke),
        }
        match granted {
            Some((callee, slot)) => {
                let grant = Grant { shard: cx.index, call: None, callee, slot };
                self.granted(cx, &workload, &grant);
            }
            None if !room => self.refuse(cx, call, Refusal::Unavailable),
            None => {}
        }
    }

    /// True if the realm has room for a call that waits, and its caller leaves as much of it as it has.
    fn wait(&mut self, limits: &Limits, caller: PeerKey, invoke: &Invoke) -> bool {
        let Limits { calls_waiting_per_realm_max, call_bytes_waiting_per_realm_max, .. } = *limits;
        let (calls, bytes) = self.realm.directory.wait(invoke.bytes());
        let own = self.waiting.add(caller, invoke.bytes());
        calls + own.count <= calls_waiting_per_realm_max
            && bytes + own.bytes <= call_bytes_waiting_per_realm_max
    }

    fn waited(&mut self, caller: PeerKey, invoke: &Invoke) {
        self.realm.directory.waited(invoke.bytes());
        self.waiting.take_back(caller, invoke.bytes());
    }

    /// A callee for a call that waits here; for nobody, if the call it was meant for has ended.
    pub fn granted(&mut self, cx: &mut Context<'_>, workload: &Arc<Workload>, grant: &Grant) {
        let waits = self.lines.get_mut(&workload.registration).and_then(|line| match &grant.call {
            Some(call) => line.not_for_all.remove(call),
            None => line.calls.pop_front(),
        });
        let Some(invoke) = waits else { return self.release(cx, workload, grant.slot) };
        self.end_line(workload.registration);
        let open = &mut self.calls[invoke.call.index as usize];
        (open.callee, open.slot) = (Some(grant.callee), Some(grant.slot));
        let caller = open.caller;
        self.waited(caller, &invoke);
        post(cx, grant.callee, invoke);
    }

    fn end_line(&mut self, registration: RegistrationId) {
        if self.lines.get(&registration).is_some_and(Line::is_empty) {
            self.lines.remove(&registration);
        }
    }

    /// The registration is no more, or has no callee any more for that call: whoever is in line looks for another one.
    pub fn deserted(&mut self, cx: &mut Context<'_>, registration: RegistrationId, call: Option<CallKey>) {
        let Line { calls, not_for_all } = match call {
            None => self.lines.remove(&registration).unwrap_or_default(),
            Some(call) => {
                let line = self.lines.get_mut(&registration);
                let stranded = line.and_then(|line| line.not_for_all.remove(&call));
                let not_for_all = stranded.map(|invoke| (call, invoke)).into_iter().collect();
                Line { calls: VecDeque::new(), not_for_all }
            }
        };
        self.end_line(registration);
        for invoke in calls.into_iter().chain(not_for_all.into_values()) {
            let open = &mut self.calls[invoke.call.index as usize];
            open.workload = None;
            let (caller, none) = (open.caller, open.none_left());
            self.waited(caller, &invoke);
            self.choose_again(cx, invoke, none);
        }
    }

    /// The callee gets no INVOCATION. There may be others, unless parts of the call were sent after the first: those
    /// are lost. A callee that is still there counts as asked: it is not chosen again.
    pub fn returned(&mut self, cx: &mut Context<'_>, invoke: Arc<Invoke>, why: Returned) {
        let call = invoke.call;
        let Some(open) = self.open_call(call) else { return };
        let none = match why {
            Returned::Gone => open.none_left(),
            Returned::Going => Refusal::Canceled,
            Returned::Full => Refusal::Unavailable,
        };
        let parts_lost = invoke.progress && open.kept.as_ref().is_none_or(|kept| kept.in_parts);
        let canceled = open.canceled;
        self.give_back(cx, call, why != Returned::Gone);
        match (canceled, parts_lost) {
            (true, _) => self.refuse(cx, call, Refusal::Canceled),
            (false, true) => self.refuse(cx, call, none),
            (false, false) => self.choose_again(cx, invoke, none),
        }
    }

    /// The call has no callee any more. The one that it had has its slot back, and is not to be asked again if it
    /// `was_asked`.
    pub(super) fn give_back(&mut self, cx: &mut Context<'_>, call: CallKey, was_asked: bool) {
        let open = &mut self.calls[call.index as usize];
        let callee = open.callee.take();
        if was_asked {
            Arc::make_mut(open.asked.get_or_insert_default()).extend(callee);
        }
        if let (Some(workload), Some(slot)) = (open.workload.take(), open.slot.take()) {
            self.release(cx, &workload, slot);
        }
    }

    /// For a call that has neither a callee nor a place in line. The procedure is looked up anew: who answers it may be
    /// of another registration by now. `none`: what its caller is told if there is nobody.
    pub(super) fn choose_again(&mut self, cx: &mut Context<'_>, mut invoke: Arc<Invoke>, none: Refusal) {
        let call = invoke.call;
        let mut chosen = self.try_choose_again(cx, &mut invoke);
        if let Err(Unchosen::Closed) = chosen {
            chosen = self.try_choose_again(cx, &mut invoke);
        }
        match chosen {
            Ok(()) => self.assign(cx, invoke),
            Err(unchosen) => self.refuse(cx, call, unchosen.refusal(none)),
        }
    }

    fn try_choose_again(&mut self, cx: &mut Context<'_>, invoke: &mut Arc<Invoke>) -> Result<(), Unchosen> {
        // No INVOCATION may follow what this shard has said to others when its shutdown began.
        if cx.draining {
            return Err(Refusal::Unavailable.into());
        }
        let open = &mut self.calls[invoke.call.index as usize];
        let found = self.cache.procedure(&self.realm.directory, &open.procedure);
        let registration = found.filter(|found| open.may_be_answered_by(found)).ok_or(Unchosen::Nobody)?;
        if registration.id != invoke.registration {
            let kept = open.kept.as_mut().map(|kept| &mut kept.invoke);
            for invoke in [invoke as &mut Arc<Invoke>].into_iter().chain(kept) {
                let invoke = Arc::make_mut(invoke);
                invoke.registration = registration.id;
                let pattern = registration.policy != MatchPolicy::Exact;
                invoke.procedure = pattern.then(|| open.procedure.clone());
            }
        }
        let choice = choose(cx, registration, invoke, open.asked.as_ref())?;
        (open.callee, open.workload, open.slot) = (choice.callee, choice.workload, choice.slot);
        Ok(())
    }

    /// A call has ended, or its caller has: its slot goes to the next, or it leaves the line. If the callee has not
    /// answered, its shard says when the slot is given back: after INVOCATION and INTERRUPT, or if the callee is not
    /// told, when it has answered.
    pub(super) fn vacate(&mut self, cx: &mut Context<'_>, call: CallKey, open: &OpenCall, answered: bool) {
        let Some(workload) = &open.workload else { return };
        match (open.callee, open.slot) {
            (Some(Callee { shard, peer: callee, .. }), Some(slot)) if !answered => {
                let (realm, workload) = (self.realm.key, workload.clone());
                cx.letters.post(shard, Letter::Release { realm, callee, call, workload, slot });
            }
            (_, Some(slot)) => self.release(cx, workload, slot),
            (_, None) => self.withdraw(cx.index, workload, call, open),
        }
    }

    /// An invocation that was counted is open no longer.
    pub(super) fn release(&self, cx: &mut Context<'_>, workload: &Arc<Workload>, slot: Slot) {
        if let Some(grant) = workload.release(slot) {
            self.post_grant(cx, workload, grant);
        }
    }

    pub(super) fn post_grant(&self, cx: &mut Context<'_>, workload: &Arc<Workload>, grant: Grant) {
        let (realm, workload) = (self.realm.key, workload.clone());
        cx.letters.post(grant.shard, Letter::Grant { realm, workload, grant: Box::new(grant) });
    }

    fn withdraw(&mut self, here: ShardIndex, workload: &Arc<Workload>, call: CallKey, open: &OpenCall) {
        let Some(line) = self.lines.get_mut(&workload.registration) else { return };
        let invoke = if let Some(invoke) = line.not_for_all.remove(&call) {
            workload.withdraw_declined(call);
            invoke
        } else {
            let count = line.calls.len();
            let Some(place) = line.calls.iter().position(|invoke| invoke.call == call) else { return };
            workload.withdraw(here, place, count);
            line.calls.remove(place).expect("it was found there")
        };
        self.end_line(workload.registration);
        self.waited(open.caller, &invoke);
    }

    /// Answers every call that waits for a callee: the shutdown has begun, and nobody is called any more.
    pub fn refuse_waiting(&mut self, cx: &mut Context<'_>) {
        let lines = self.lines.values();
        let waiting = lines.flat_map(|line| line.calls.iter().chain(line.not_for_all.values()));
        let waiting: Vec<CallKey> = waiting.map(|invoke| invoke.call).collect();
        for call in waiting {
            self.refuse(cx, call, Refusal::Unavailable);
        }
    }

    pub(super) fn refuse(&mut self, cx: &mut Context<'_>, call: CallKey, refusal: Refusal) {
        self.complete(cx, Complete { call, realm: self.realm.key, outcome: Outcome::Refused(refusal) });
    }
}

/// Asks the callee for an INVOCATION.
pub(super) fn post(cx: &mut Context<'_>, callee: Callee, invoke: Arc<Invoke>) {
    cx.letters.post(callee.shard, Letter::Invoke { callee, invoke });
}

impl OpenCall {
    /// What the caller is told when nobody is left to be asked.
    fn none_left(&self) -> Refusal {
        match &self.asked {
            Some(_) if self.declined => Refusal::NoAvailableCallee,
            Some(_) => Refusal::Unavailable,
            None => Refusal::NoSuchProcedure,
        }
    }
}
