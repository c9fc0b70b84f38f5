//! How many invocations each callee of a registration has open, and which shards have calls that wait for one of them
//! to be free. Only for registrations that need it: those whose policy asks who has the least to do, and those with a
//! callee that has set `concurrency` (not in the specification; the option is Crossbar.io's).
//!
//! The numbers and the queue stand behind one short lock, because they are one thing: who finds every callee busy must
//! be in the queue before the next invocation ends. That makes the registration itself the queue's one owner, so that
//! calls of all shards are served in the order in which they came, and no shard has to be asked by letter for it.
//!
//! What is kept here is small: a place in the queue is a *ticket*, which only says whose shard is next. The calls and
//! their payloads stay in their callers' shards, each in a line of its own, and a shard whose ticket comes up is
//! *granted* a callee for whoever is first in its line. So grants that overtake one another on their way change
//! nothing. A call that is canceled while a grant is on its way leaves that to the next in line, or to nobody: then it
//! comes back.
//!
//! A call that some callees could not take is for the others only (advanced profile, "Call Re-Routing"). Its ticket
//! names it and who was asked, and its grant is for itself alone: a ticket that a callee does not fit lets those behind
//! it pass.
//!
//! Invariants: while a ticket waits, there is a callee that it fits, and none such is free; one that has just
//! registered is granted by who has registered it. No callee has more open invocations counted than its limit. A
//! closed workload, of a registration that is no more, has no callees and no tickets, and gets none.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::super::ShardIndex;
use super::super::letter::CallKey;
use super::{Asked, Callee};
use crate::sync::Mutex;
use crate::wamp::options::InvocationPolicy;
use crate::wamp::{RegistrationId, SessionId};

/// An open invocation that is counted, by the number of its callee's membership: who leaves and comes again begins to
/// count anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(u64);

/// What [`Workload::take`] has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// A callee, for which one invocation more is counted.
    Callee(Callee, Slot),
    /// All are busy; a ticket waits.
    Waits,
    /// All are busy, and as many tickets wait as may.
    Full,
    /// All were asked, and could not take the call.
    Nobody,
    /// The registration is no more.
    Closed,
}

/// A callee for a call that has waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Whose ticket it was.
    pub shard: ShardIndex,
    /// For this call; or else for the first in the shard's line.
    pub call: Option<CallKey>,
    /// The callee.
    pub callee: Callee,
    /// Its invocation is counted.
    pub slot: Slot,
}

/// The numbers and the queue of one registration.
#[derive(Debug)]
pub struct Workload {
    /// Which registration.
    pub registration: RegistrationId,
    invoke: InvocationPolicy,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// In the order in which they registered, which is that of their numbers.
    members: Vec<Member>,
    /// The last number given to a member.
    number: u64,
    /// The place after the one that had the last turn.
    turn: usize,
    /// Whose calls wait.
    tickets: VecDeque<Ticket>,
    /// How many of those any callee fits.
    plain: usize,
    closed: bool,
}

#[derive(Debug)]
enum Ticket {
    /// For the first in the line of a shard.
    Plain(ShardIndex),
    /// For a call that these callees could not take.
    Declined(CallKey, Arc<Asked>),
}

impl Ticket {
    fn shard(&self) -> ShardIndex {
        match self {
            Ticket::Plain(shard) => *shard,
            Ticket::Declined(call, _) => call.shard,
        }
    }

    fn fits(&self, callee: &Callee) -> bool {
        match self {
            Ticket::Plain(_) => true,
            Ticket::Declined(_, asked) => !asked.contains(callee),
        }
    }
}

#[derive(Debug)]
struct Member {
    number: u64,
    callee: Callee,
    open: u32,
    open_max: Option<NonZeroU32>,
}

impl Member {
    fn free(&self) -> bool {
        self.open_max.is_none_or(|max| self.open < max.get())
    }

    fn take(&mut self) -> (Callee, Slot) {
        self.open += 1;
        (self.callee, Slot(self.number))
    }
}

impl Workload {
    /// Of callees whose open invocations were not counted until now. `turn` is the place of the next.
    pub(super) fn new(
        registration: RegistrationId,
        invoke: InvocationPolicy,
        callees: &[Callee],
        turn: usize,
    ) -> Workload {
        let mut state =
            State { members: Vec::new(), number: 0, turn, tickets: VecDeque::new(), plain: 0, closed: false };
        callees.iter().for_each(|callee| state.join(*callee, None));
        Workload { registration, invoke, state: Mutex::new(state) }
    }

    /// One callee more, who takes so many open invocations. Whoever has registered it [grants](Workload::grant) it
    /// then.
    pub(super) fn join(&self, callee: Callee, open_max: Option<NonZeroU32>) {
        self.state.lock().join(callee, open_max);
    }

    /// The callee has no invocations any more, as far as others are concerned. The calls that have waited for it alone,
    /// because the others could not take them: their tickets are gone.
    pub(super) fn leave(&self, session: SessionId) -> Vec<CallKey> {
        let mut state = self.state.lock();
        state.leave(session);
        state.take_stranded()
    }

    /// The registration is no more. The shards whose tickets waited, each once.
    pub(super) fn close(&self) -> Vec<ShardIndex> {
        let mut state = self.state.lock();
        state.closed = true;
        state.members.clear();
        state.plain = 0;
        let mut shards: Vec<_> =
            std::mem::take(&mut state.tickets).into_iter().map(|ticket| ticket.shard()).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }

    /// A callee for a call, chosen by the registration's policy among those that are free; or a ticket. `draw` is the
    /// chance for it.
    pub fn take(&self, shard: ShardIndex, draw: u64, tickets_max: usize) -> Taken {
        let mut state = self.state.lock();
        if state.closed {
            return Taken::Closed;
        }
        // Others have waited longer, and whoever has registered is about to be granted to them.
        let chosen = if state.plain == 0 { state.choose(self.invoke, draw, &Asked::default()) } else { None };
        match chosen {
            Some((callee, slot)) => Taken::Callee(callee, slot),
            None => state.wait(Ticket::Plain(shard), tickets_max),
        }
    }

    /// A callee for a call that those who were asked could not take, as if they were not there: chosen by the policy
    /// among those that are free; or a ticket, if others are there at all.
    pub fn take_other(&self, call: CallKey, asked: &Arc<Asked>, draw: u64, tickets_max: usize) -> Taken {
        let mut state = self.state.lock();
        if state.closed {
            return Taken::Closed;
        }
        let chosen = if state.plain == 0 { state.choose(self.invoke, draw, asked) } else { None };
        match chosen {
            Some((callee, slot)) => Taken::Callee(callee, slot),
            None if state.members.iter().all(|member| asked.contains(&member.callee)) => Taken::Nobody,
            None => state.wait(Ticket::Declined(call, asked.clone()), tickets_max),
        }
    }

    /// The invocation is no longer open: a call that waits has its callee. Whoever left meanwhile is owed nothing.
    pub fn release(&self, slot: Slot) -> Option<Grant> {
        let mut state = self.state.lock();
        let place = state.members.binary_search_by_key(&slot.0, |member| member.number).ok()?;
        state.members[place].open -= 1;
        state.grant(place)
    }

    /// A call that waits, and has this callee now. Whoever has registered one asks until there is none.
    pub fn grant(&self, session: SessionId) -> Option<Grant> {
        let mut state = self.state.lock();
        if state.tickets.is_empty() {
            return None;
        }
        let place = state.place(session)?;
        state.grant(place)
    }

    /// The call at `place` in a shard's line of `count` waits no longer. The first of them are those for whom grants
    /// are on their way; one of those goes to the next in line then.
    pub fn withdraw(&self, shard: ShardIndex, place: usize, count: usize) {
        let mut state = self.state.lock();
        let of_shard = |ticket: &Ticket| matches!(ticket, Ticket::Plain(known) if *known == shard);
        let mut tickets = (0..state.tickets.len()).filter(|ticket| of_shard(&state.tickets[*ticket]));
        let granted = count.saturating_sub(tickets.clone().count());
        if let Some(ticket) = tickets.nth(place.saturating_sub(granted)) {
            state.remove(ticket);
        }
    }

    /// The call that others could not take waits no longer. A grant that is on its way comes back.
    pub fn withdraw_declined(&self, call: CallKey) {
        let mut state = self.state.lock();
        let of_call = |ticket: &Ticket| matches!(ticket, Ticket::Declined(known, _) if *known == call);
        if let Some(ticket) = state.tickets.iter().position(of_call) {
            state.remove(ticket);
        }
    }
}

impl State {
    fn join(&mut self, callee: Callee, open_max: Option<NonZeroU32>) {
        self.number += 1;
        self.members.push(Member { number: self.number, callee, open: 0, open_max });
    }

    fn leave(&mut self, session: SessionId) {
        if let Some(place) = self.place(session) {
            self.members.remove(place);
            self.turn -= usize::from(place < self.turn);
        }
    }

    fn take_stranded(&mut self) -> Vec<CallKey> {
        let mut stranded = Vec::new();
        let State { members, tickets, .. } = self;
        tickets.retain(|ticket| match ticket {
            Ticket::Declined(call, asked) if members.iter().all(|member| asked.contains(&member.callee)) => {
                stranded.push(*call);
                false
            }
            _ => true,
        });
        stranded
    }

    fn wait(&mut self, ticket: Ticket, tickets_max: usize) -> Taken {
        if self.tickets.len() >= tickets_max {
            return Taken::Full;
        }
        self.plain += usize::from(matches!(ticket, Ticket::Plain(_)));
        self.tickets.push_back(ticket);
        Taken::Waits
    }

    fn remove(&mut self, ticket: usize) {
        let removed = self.tickets.remove(ticket);
        self.plain -= usize::from(matches!(removed, Some(Ticket::Plain(_))));
    }

    /// The callee at `place` for the first ticket that it fits, if it is free.
    fn grant(&mut self, place: usize) -> Option<Grant> {
        let member = &mut self.members[place];
        if !member.free() {
            return None;
        }
        let ticket = self.tickets.iter().position(|ticket| ticket.fits(&member.callee))?;
        let (callee, slot) = member.take();
        let (shard, call) = match &self.tickets[ticket] {
            Ticket::Plain(shard) => (*shard, None),
            Ticket::Declined(call, _) => (call.shard, Some(*call)),
        };
        if call.is_none() {
            self.turn = place + 1;
        }
        self.remove(ticket);
        Some(Grant { shard, call, callee, slot })
    }

    /// A free callee that was not asked, by policy; one invocation more is counted for it.
    fn choose(&mut self, invoke: InvocationPolicy, draw: u64, asked: &Asked) -> Option<(Callee, Slot)> {
        let free = |place: &usize| {
            let member = &self.members[*place];
            member.free() && !asked.contains(&member.callee)
        };
        let mut places = (0..self.members.len()).filter(free);
        let place = match invoke {
            InvocationPolicy::Single | InvocationPolicy::First => places.next(),
            InvocationPolicy::Last => places.next_back(),
            InvocationPolicy::RoundRobin => self.in_turn(asked).find(free),
            InvocationPolicy::LeastOpen => {
                self.in_turn(asked).filter(free).min_by_key(|place| self.members[*place].open)
            }
            InvocationPolicy::Random => {
                let drawn = Some(below(draw as u32, self.members.len())).filter(|_| !self.members.is_empty());
                drawn.filter(free).or_else(|| {
                    let count = places.clone().count();
                    places.nth(below((draw >> 32) as u32, count))
                })
            }
            InvocationPolicy::PowerOfTwo => {
                let least = |drawn: [Option<usize>; 2]| {
                    drawn.into_iter().flatten().filter(free).min_by_key(|place| self.members[*place].open)
                };
                least(two_of(self.members.len(), draw)).or_else(|| {
                    let drawn = two_of(places.clone().count(), draw);
                    least(drawn.map(|place| places.clone().nth(place?)))
                })
            }
        }?;
        // A call that was somebody's already is nobody's turn.
        if asked.is_empty() && matches!(invoke, InvocationPolicy::RoundRobin | InvocationPolicy::LeastOpen) {
            self.turn = place + 1;
        }
        Some(self.members[place].take())
    }

    /// All places, from the one whose turn it is, or behind the callee that was asked last.
    fn in_turn(&self, asked: &Asked) -> impl Iterator<Item = usize> + use<> {
        let count = self.members.len();
        let from = match asked.is_empty() {
            true => self.turn.min(count),
            false => asked.behind_last(|session| self.place(session)),
        };
        (from..count).chain(0..from)
    }

    fn place(&self, session: SessionId) -> Option<usize> {
        self.members.iter().position(|member| member.callee.session == session)
    }
}

/// Two different numbers below `count`, as far as there are two; `draw` is the chance for both.
fn two_of(count: usize, draw: u64) -> [Option<usize>; 2] {
    let first = below(draw as u32, count);
    // So many places on, around the end.
    let second = first + 1 + below((draw >> 32) as u32, count.saturating_sub(1));
    [(count > 0).then_some(first), (count > 1).then(|| second % count)]
}

/// A number below `bound`, or 0; `draw` is uniform. The bounds are so small that none is noticeably preferred.
pub(super) fn below(draw: u32, bound: usize) -> usize {
    ((u64::from(draw) * bound as u64) >> 32) as usize
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::collections::BTreeSet;

    use super::super::super::PeerKey;
    use super::super::super::pattern::tests::Random;
    use super::*;

    const POLICIES: [InvocationPolicy; 7] = [
        InvocationPolicy::Single,
        InvocationPolicy::First,
        InvocationPolicy::Last,
        InvocationPolicy::RoundRobin,
        InvocationPolicy::Random,
        InvocationPolicy::LeastOpen,
        InvocationPolicy::PowerOfTwo,
    ];

    fn callee(number: u64) -> Callee {
        let peer = PeerKey { index: number as u32, serial: 0 };
        Callee { shard: ShardIndex(0), peer, session: SessionId(number), membership: 0 }
    }

    /// A workload, and plain lists of what must be true of it. Shards have lines; grants reach them in any order.
    struct Pair {
        workload: Workload,
        invoke: InvocationPolicy,
        random: Random,
        callees: Vec<(Callee, Option<NonZeroU32>)>,
        /// Invocations that are open.
        open: Vec<(Callee, Slot)>,
        /// All calls that wait, by shard and number, in the order in which they came.
        waiting: Vec<(usize, u64)>,
        lines: [VecDeque<u64>; 3],
        grants: Vec<Grant>,
        /// Calls that some could not take, and who that was.
        declined: Vec<(CallKey, Arc<Asked>)>,
        /// Calls that have had a callee, in that order.
        served: Vec<(usize, u64)>,
        /// How often one has taken what another could not.
        others: usize,
        calls: u64,
    }

    impl Pair {
        fn open_of(&self, callee: Callee) -> u32 {
            self.open.iter().filter(|(known, _)| *known == callee).count() as u32
        }

        fn free(&self) -> Vec<Callee> {
            let free = |(callee, max): &&(Callee, Option<NonZeroU32>)| {
                max.is_none_or(|max| self.open_of(*callee) < max.get())
            };
            self.callees.iter().filter(free).map(|(callee, _)| *callee).collect()
        }

        /// The choice is one of the free ones, and the one the policy wants.
        fn check_choice(&mut self, chosen: Callee, slot: Slot) {
            self.check_choice_of(&self.free(), chosen, slot);
        }

        fn check_choice_of(&mut self, free: &[Callee], chosen: Callee, slot: Slot) {
            assert!(free.contains(&chosen), "{chosen:?} is not free for it");
            let least = free.iter().map(|callee| self.open_of(*callee)).min();
            match self.invoke {
                InvocationPolicy::Single | InvocationPolicy::First => assert_eq!(chosen, free[0]),
                InvocationPolicy::Last => assert_eq!(Some(&chosen), free.last()),
                InvocationPolicy::LeastOpen => assert_eq!(Some(self.open_of(chosen)), least),
                _ => {}
            }
            self.open.push((chosen, slot));
        }

        fn draw(&mut self) -> u64 {
            (self.random.below(1 << 32) as u64) << 32 | self.random.below(1 << 32) as u64
        }

        fn call(&mut self) {
            let shard = self.random.below(3);
            self.calls += 1;
            let (draw, call) = (self.draw(), self.calls);
            match self.workload.take(ShardIndex(shard as u8), draw, 20) {
                Taken::Callee(callee, slot) => {
                    let grants = self.grants.iter().filter(|grant| grant.call.is_none()).count();
                    assert!(self.waiting.len() <= grants, "nobody is overtaken");
                    self.check_choice(callee, slot);
                    self.lines[shard].push_back(call);
                    let first = self.lines[shard].pop_front().unwrap();
                    if first != call {
                        self.waiting.push((shard, call));
                        self.waiting.retain(|known| *known != (shard, first));
                    }
                    self.served.push((shard, first));
                }
                Taken::Waits => {
                    assert!(self.free().is_empty());
                    self.lines[shard].push_back(call);
                    self.waiting.push((shard, call));
                }
                Taken::Full => {
                    assert!(self.workload.state.lock().tickets.len() == 20 && self.free().is_empty());
                }
                Taken::Nobody | Taken::Closed => panic!("it is there, and nobody was asked"),
            }
        }

        /// Somebody is free: the first ticket that it fits has it.
        fn grant(&mut self, grant: Option<Grant>) -> bool {
            let Some(grant) = grant else { return false };
            assert!(self.free().contains(&grant.callee), "{grant:?} is busy");
            if let Some(call) = grant.call {
                let declined = self.declined.iter().find(|(known, _)| *known == call);
                let fits = declined.is_none_or(|(_, asked)| !asked.contains(&grant.callee));
                assert!(fits, "{grant:?} was asked");
            }
            self.open.push((grant.callee, grant.slot));
            self.grants.push(grant);
            true
        }

        fn release(&mut self, slot: Slot) {
            let grant = self.workload.release(slot);
            self.grant(grant);
        }

        fn end(&mut self) {
            if self.open.is_empty() {
                return;
            }
            let place = self.random.below(self.open.len());
            let (_, slot) = self.open[place];
            let open = self.open.iter().filter(|(_, known)| *known == slot).count();
            if self.grants.iter().filter(|grant| grant.slot == slot).count() == open {
                // None of them has begun.
                return self.arrive();
            }
            self.open.swap_remove(place);
            self.release(slot);
        }

        /// One of the grants reaches its shard, not always the oldest.
        fn arrive(&mut self) {
            if self.grants.is_empty() {
                return;
            }
            let grant = self.grants.swap_remove(self.random.below(self.grants.len()));
            let shard = usize::from(grant.shard.0);
            let first = match grant.call {
                Some(call) => {
                    let place = self.declined.iter().position(|(known, _)| *known == call);
                    if place.map(|place| self.declined.swap_remove(place)).is_some() {
                        return self.others += 1;
                    }
                    None
                }
                None => self.lines[shard].pop_front(),
            };
            match first {
                Some(first) => {
                    self.waiting.retain(|known| *known != (shard, first));
                    self.served.push((shard, first));
                }
                None => {
                    let place = self.open.iter().position(|(_, slot)| *slot == grant.slot);
                    place.map(|place| self.open.swap_remove(place));
                    self.release(grant.slot);
                }
            }
        }

        /// A callee cannot take a call, after others that could not: another one takes it, or it waits for one.
        fn decline(&mut self) {
            if self.open.is_empty() || !self.grants.is_empty() {
                return;
            }
            let (callee, slot) = self.open.swap_remove(self.random.below(self.open.len()));
            self.release(slot);
            let mut asked = Asked::default();
            let others: Vec<Callee> = self.callees.iter().map(|(known, _)| *known).collect();
            asked.extend(others.into_iter().filter(|_| self.random.below(4) == 0));
            asked.extend([callee]);
            let free: Vec<_> = self.free().into_iter().filter(|known| !asked.contains(known)).collect();
            self.calls += 1;
            let call =
                CallKey { serial: self.calls, index: 0, shard: ShardIndex(self.random.below(3) as u8) };
            let (draw, asked) = (self.draw(), Arc::new(asked));
            let all_asked = self.callees.iter().all(|(known, _)| asked.contains(known));
            match self.workload.take_other(call, &asked, draw, 20) {
                Taken::Callee(chosen, slot) => {
                    self.check_choice_of(&free, chosen, slot);
                    self.others += 1;
                }
                Taken::Nobody => assert!(all_asked),
                Taken::Waits => {
                    assert!(free.is_empty() && !all_asked);
                    self.declined.push((call, asked));
                }
                Taken::Full => assert!(self.workload.state.lock().tickets.len() == 20),
                Taken::Closed => panic!("nobody has closed it"),
            }
        }

        fn cancel(&mut self) {
            if !self.declined.is_empty() && self.random.below(3) == 0 {
                let (call, _) = self.declined.swap_remove(self.random.below(self.declined.len()));
                return self.workload.withdraw_declined(call);
            }
            let shard = self.random.below(3);
            let count = self.lines[shard].len();
            if count == 0 {
                return;
            }
            let place = self.random.below(count);
            let call = self.lines[shard].remove(place).unwrap();
            self.waiting.retain(|known| *known != (shard, call));
            self.workload.withdraw(ShardIndex(shard as u8), place, count);
        }

        fn join(&mut self) {
            let callee = callee(self.random.below(8) as u64);
            let open_max = NonZeroU32::new(1 + self.random.below(3) as u32);
            if self.callees.len() < 4 && self.callees.iter().all(|(known, _)| *known != callee) {
                self.workload.join(callee, open_max);
                self.callees.push((callee, open_max));
                loop {
                    let grant = self.workload.grant(callee.session);
                    if !self.grant(grant) {
                        break;
                    }
                }
            }
        }

        fn leave(&mut self) {
            if self.callees.len() > 1 {
                let (callee, _) = self.callees.remove(self.random.below(self.callees.len()));
                let stranded = self.workload.leave(callee.session);
                let nobody = |asked: &Asked| self.callees.iter().all(|(known, _)| asked.contains(known));
                let (gone, left): (Vec<_>, Vec<_>) = self.declined.drain(..).partition(|(call, asked)| {
                    nobody(asked) && !self.grants.iter().any(|grant| grant.call == Some(*call))
                });
                assert_eq!(
                    gone.into_iter().map(|(call, _)| call).collect::<BTreeSet<_>>(),
                    stranded.into_iter().collect()
                );
                self.declined = left;
                // What it has open counts for nobody, not even for itself when it comes again.
                let (gone, open): (Vec<_>, Vec<_>) =
                    self.open.drain(..).partition(|(known, _)| *known == callee);
                self.open = open;
                gone.iter().for_each(|(_, slot)| assert_eq!(self.workload.release(*slot), None));
            }
        }

        /// Every call in line has a ticket or a grant on its way; if a ticket waits nobody it fits is free.
        fn check(&self) {
            let state = self.workload.state.lock();
            for shard in 0..3 {
                let of = |known: &ShardIndex| usize::from(known.0) == shard;
                let plain = |ticket: &&Ticket| matches!(ticket, Ticket::Plain(known) if of(known));
                let tickets = state.tickets.iter().filter(plain).count();
                let granted = self.grants.iter().filter(|grant| of(&grant.shard) && grant.call.is_none());
                assert!(tickets + granted.count() >= self.lines[shard].len());
            }
            let plain = state.tickets.iter().filter(|ticket| matches!(ticket, Ticket::Plain(_))).count();
            assert_eq!(state.plain, plain);
            let free = self.free();
            assert!(!state.tickets.iter().any(|ticket| free.iter().any(|callee| ticket.fits(callee))));
        }
    }

    #[test]
    fn nobody_is_given_too_much_and_nobody_waits_while_one_is_free() {
        for (invoke, seed) in POLICIES.into_iter().zip(1..) {
            let open_max = NonZeroU32::new(1);
            let workload = Workload::new(RegistrationId(1), invoke, &[], 0);
            workload.join(callee(100), open_max);
            let mut pair = Pair {
                workload,
                invoke,
                random: Random(seed),
                callees: vec![(callee(100), open_max)],
                open: Vec::new(),
                waiting: Vec::new(),
                lines: Default::default(),
                grants: Vec::new(),
                declined: Vec::new(),
                served: Vec::new(),
                others: 0,
                calls: 0,
            };
            for step in 0..6_000 {
                match pair.random.below(16) {
                    // Now and then few call, so that nobody waits.
                    10.. if step % 200 > 130 => pair.end(),
                    8 if step % 200 > 130 => pair.decline(),
                    0 => pair.join(),
                    1 => pair.leave(),
                    2 => pair.cancel(),
                    3 => pair.decline(),
                    4..7 => pair.end(),
                    7..10 => pair.arrive(),
                    _ => pair.call(),
                }
                pair.check();
            }
            assert!(pair.served.len() > 500, "{invoke:?}: {}", pair.served.len());
            assert!(pair.others > 10, "{invoke:?}: {}", pair.others);
            for shard in 0..3 {
                let of: Vec<_> = pair.served.iter().filter(|(known, _)| *known == shard).collect();
                assert!(of.is_sorted(), "{invoke:?}: calls of one shard are served in their order");
            }
        }
    }

    #[test]
    fn tickets_are_granted_in_the_order_in_which_they_were_taken() {
        let workload = Workload::new(RegistrationId(1), InvocationPolicy::Single, &[], 0);
        workload.join(callee(1), NonZeroU32::new(1));
        let Taken::Callee(_, mut slot) = workload.take(ShardIndex(0), 0, 9) else { panic!("it is free") };
        let shards = [3, 1, 1, 2, 3].map(ShardIndex);
        for shard in shards {
            assert_eq!(workload.take(shard, 0, 9), Taken::Waits);
        }
        assert_eq!(workload.take(ShardIndex(0), 0, 5), Taken::Full);
        for shard in shards {
            assert_eq!(workload.grant(SessionId(1)), None, "it is busy");
            assert_eq!(workload.take(ShardIndex(9), 0, 5 + 4), Taken::Waits);
            let grant = workload.release(slot).unwrap();
            assert_eq!((grant.shard, grant.call, grant.callee), (shard, None, callee(1)));
            slot = grant.slot;
        }
        assert_eq!(workload.close(), [ShardIndex(9)]);
        assert_eq!(workload.take(ShardIndex(0), 0, 9), Taken::Closed);
    }

    #[test]
    fn of_equals_each_has_its_turn_and_chance_is_even() {
        let callees = [1, 2, 3].map(callee);
        for invoke in [InvocationPolicy::LeastOpen, InvocationPolicy::RoundRobin] {
            let workload = Workload::new(RegistrationId(1), invoke, &callees, 0);
            for round in 0..9 {
                let Taken::Callee(chosen, slot) = workload.take(ShardIndex(0), 0, 0) else { panic!("free") };
                assert_eq!(chosen, callees[round % 3]);
                workload.release(slot);
            }
        }
        for invoke in [InvocationPolicy::Random, InvocationPolicy::PowerOfTwo] {
            let workload = Workload::new(RegistrationId(1), invoke, &callees, 0);
            let mut random = Random(5);
            let mut counts = [0; 4];
            for _ in 0..3_000 {
                let draw = (random.below(1 << 32) as u64) << 32 | random.below(1 << 32) as u64;
                let Taken::Callee(chosen, slot) = workload.take(ShardIndex(0), draw, 0) else {
                    panic!("free")
                };
                workload.release(slot);
                counts[chosen.session.0 as usize] += 1;
            }
            assert!(counts[1..].iter().all(|count| (900..1_100).contains(count)), "{invoke:?} {counts:?}");
        }
    }
}

/// Every interleaving of a call and the end of an invocation; run as `sync.rs` says.
#[cfg(all(test, loom))]
mod model {
    use loom::sync::Arc;
    use loom::thread;

    use super::super::super::PeerKey;
    use super::*;

    /// Two calls come while the only callee's invocation ends, which is the moment at which a call could come to wait
    /// for nobody.
    #[test]
    fn nobody_waits_for_a_callee_that_is_free() {
        loom::model(|| {
            let peer = PeerKey { index: 0, serial: 0 };
            let callee = Callee { shard: ShardIndex(0), peer, session: SessionId(1), membership: 0 };
            let workload = Arc::new(Workload::new(RegistrationId(1), InvocationPolicy::Single, &[], 0));
            workload.join(callee, NonZeroU32::new(1));
            let Taken::Callee(_, slot) = workload.take(ShardIndex(0), 0, 9) else { panic!("it is free") };
            let calls = [1, 2].map(|shard| {
                let workload = workload.clone();
                thread::spawn(move || workload.take(ShardIndex(shard), 0, 9))
            });
            let mut served = Vec::new();
            let mut open = workload.release(slot);
            for (call, shard) in calls.into_iter().zip(1..) {
                match call.join().unwrap() {
                    Taken::Callee(_, slot) => {
                        assert_eq!(open, None, "there is one callee for one call");
                        open = Some(Grant { shard: ShardIndex(shard), call: None, callee, slot });
                    }
                    waits => assert_eq!(waits, Taken::Waits),
                }
            }
            while let Some(Grant { shard, slot, .. }) = open {
                served.push(shard);
                open = workload.release(slot);
            }
            served.sort();
            assert_eq!(served, [ShardIndex(1), ShardIndex(2)]);
        });
    }
}
