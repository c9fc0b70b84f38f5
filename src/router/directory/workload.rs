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
//! Invariants: while a ticket waits, no callee is free, or whoever has made it free is about to grant it. No callee has
//! more open invocations counted than its limit. A closed workload, of a registration that is no more, has no callees
//! and no tickets, and gets none.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use super::super::ShardIndex;
use super::{Asked, Callee};
use crate::sync::Mutex;
use crate::wamp::SessionId;
use crate::wamp::options::InvocationPolicy;

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
    /// The registration is no more.
    Closed,
}

/// A callee for the first in the line of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Whose ticket it was.
    pub shard: ShardIndex,
    /// The callee.
    pub callee: Callee,
    /// Its invocation is counted.
    pub slot: Slot,
}

/// The numbers and the queue of one registration.
#[derive(Debug)]
pub struct Workload {
    invoke: InvocationPolicy,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// In the order in which they registered.
    members: Vec<Member>,
    /// The last number given to a member.
    number: u64,
    /// The place after the one that had the last turn.
    turn: usize,
    /// Whose calls wait.
    tickets: VecDeque<ShardIndex>,
    closed: bool,
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
}

impl Workload {
    /// Of callees whose open invocations were not counted until now. `turn` is the place of the next.
    pub(super) fn new(invoke: InvocationPolicy, callees: &[Callee], turn: usize) -> Workload {
        let mut state =
            State { members: Vec::new(), number: 0, turn, tickets: VecDeque::new(), closed: false };
        callees.iter().for_each(|callee| state.join(*callee, None));
        Workload { invoke, state: Mutex::new(state) }
    }

    /// One callee more, who takes so many open invocations.
    pub(super) fn join(&self, callee: Callee, open_max: Option<NonZeroU32>) {
        self.state.lock().join(callee, open_max);
    }

    /// The callee has no invocations any more, as far as others are concerned.
    pub(super) fn leave(&self, session: SessionId) {
        self.state.lock().leave(session);
    }

    /// The registration is no more. The shards whose tickets waited, each once.
    pub(super) fn close(&self) -> Vec<ShardIndex> {
        let mut state = self.state.lock();
        state.closed = true;
        state.members.clear();
        let mut shards: Vec<_> = std::mem::take(&mut state.tickets).into();
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
        // Whoever has made a callee free is about to grant it to the first ticket.
        let chosen =
            if state.tickets.is_empty() { state.choose(self.invoke, draw, &Asked::default()) } else { None };
        match chosen {
            Some((callee, slot)) => Taken::Callee(callee, slot),
            None if state.tickets.len() >= tickets_max => Taken::Full,
            None => {
                state.tickets.push_back(shard);
                Taken::Waits
            }
        }
    }

    /// A callee for a call that those who were asked could not take, as if they were not there: chosen by the policy
    /// among those that are free. None is free while a ticket waits, and such a call takes none.
    pub fn take_other(&self, asked: &Asked, draw: u64) -> Option<(Callee, Slot)> {
        let mut state = self.state.lock();
        if state.tickets.is_empty() { state.choose(self.invoke, draw, asked) } else { None }
    }

    /// The invocation is no longer open. Whoever left meanwhile is owed nothing.
    pub fn release(&self, slot: Slot) {
        let mut state = self.state.lock();
        if let Some(member) = state.members.iter_mut().find(|member| member.number == slot.0) {
            member.open -= 1;
        }
    }

    /// The next ticket, if there is one and a callee is free. Whoever makes one free asks until there is none.
    pub fn grant(&self, draw: u64) -> Option<Grant> {
        let mut state = self.state.lock();
        let shard = *state.tickets.front()?;
        let (callee, slot) = state.choose(self.invoke, draw, &Asked::default())?;
        state.tickets.pop_front();
        Some(Grant { shard, callee, slot })
    }

    /// The call at `place` in a shard's line of `count` waits no longer. The first of them are those for whom grants
    /// are on their way; one of those goes to the next in line then.
    pub fn withdraw(&self, shard: ShardIndex, place: usize, count: usize) {
        let mut state = self.state.lock();
        let mut tickets = (0..state.tickets.len()).filter(|ticket| state.tickets[*ticket] == shard);
        let granted = count.saturating_sub(tickets.clone().count());
        if let Some(ticket) = tickets.nth(place.saturating_sub(granted)) {
            state.tickets.remove(ticket);
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
                let count = places.clone().count();
                places.nth(below(draw as u32, count))
            }
            InvocationPolicy::PowerOfTwo => {
                let count = places.clone().count();
                let first = below(draw as u32, count);
                // Another one, if there is another: so many places on, around the end.
                let second = (first + 1 + below((draw >> 32) as u32, count.saturating_sub(1))) % count.max(1);
                let drawn = [places.clone().nth(first), places.nth(second)];
                drawn.into_iter().flatten().min_by_key(|place| self.members[*place].open)
            }
        }?;
        // A call that was somebody's already is nobody's turn.
        if asked.is_empty() && matches!(invoke, InvocationPolicy::RoundRobin | InvocationPolicy::LeastOpen) {
            self.turn = place + 1;
        }
        let member = &mut self.members[place];
        member.open += 1;
        Some((member.callee, Slot(member.number)))
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

/// A number below `bound`, or 0; `draw` is uniform. The bounds are so small that none is noticeably preferred.
pub(super) fn below(draw: u32, bound: usize) -> usize {
    ((u64::from(draw) * bound as u64) >> 32) as usize
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
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
        Callee { shard: ShardIndex(0), peer, session: SessionId(number) }
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
            assert!(free.contains(&chosen), "{chosen:?} is busy");
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
                    assert!(self.waiting.len() <= self.grants.len(), "nobody is overtaken");
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
                Taken::Closed => panic!("nobody has closed it"),
            }
        }

        /// Somebody may be free: tickets are granted while there are any.
        fn grant(&mut self) {
            loop {
                let draw = self.draw();
                let Some(grant) = self.workload.grant(draw) else { break };
                self.check_choice(grant.callee, grant.slot);
                self.grants.push(grant);
            }
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
            self.workload.release(slot);
            self.grant();
        }

        /// One of the grants reaches its shard, not always the oldest.
        fn arrive(&mut self) {
            if self.grants.is_empty() {
                return;
            }
            let grant = self.grants.swap_remove(self.random.below(self.grants.len()));
            let shard = usize::from(grant.shard.0);
            match self.lines[shard].pop_front() {
                Some(first) => {
                    self.waiting.retain(|known| *known != (shard, first));
                    self.served.push((shard, first));
                }
                None => {
                    let place = self.open.iter().position(|(_, slot)| *slot == grant.slot);
                    place.map(|place| self.open.swap_remove(place));
                    self.workload.release(grant.slot);
                    self.grant();
                }
            }
        }

        /// A callee cannot take a call, after others that could not: another one takes it if any is free.
        fn decline(&mut self) {
            if self.open.is_empty() || !self.grants.is_empty() {
                return;
            }
            let (callee, slot) = self.open.swap_remove(self.random.below(self.open.len()));
            self.workload.release(slot);
            self.grant();
            let mut asked = Asked::default();
            let others: Vec<Callee> = self.callees.iter().map(|(known, _)| *known).collect();
            asked.extend(others.into_iter().filter(|_| self.random.below(4) == 0));
            asked.extend([callee]);
            let free: Vec<_> = self.free().into_iter().filter(|known| !asked.contains(known)).collect();
            let draw = self.draw();
            let Some((chosen, slot)) = self.workload.take_other(&asked, draw) else {
                return assert!(free.is_empty() || !self.waiting.is_empty());
            };
            self.check_choice_of(&free, chosen, slot);
            self.others += 1;
        }

        fn cancel(&mut self) {
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
                self.grant();
            }
        }

        fn leave(&mut self) {
            if self.callees.len() > 1 {
                let (callee, _) = self.callees.remove(self.random.below(self.callees.len()));
                self.workload.leave(callee.session);
                // What it has open counts for nobody, not even for itself when it comes again.
                let (gone, open): (Vec<_>, Vec<_>) =
                    self.open.drain(..).partition(|(known, _)| *known == callee);
                self.open = open;
                gone.iter().for_each(|(_, slot)| self.workload.release(*slot));
            }
        }

        /// Every call in line has a ticket or a grant on its way; if a ticket waits nobody is free.
        fn check(&self) {
            let state = self.workload.state.lock();
            for shard in 0..3 {
                let of = |known: &ShardIndex| usize::from(known.0) == shard;
                let tickets = state.tickets.iter().filter(|known| of(known)).count();
                let granted = self.grants.iter().filter(|grant| of(&grant.shard)).count();
                assert!(tickets + granted >= self.lines[shard].len());
            }
            assert!(state.tickets.is_empty() || self.free().is_empty());
        }
    }

    #[test]
    fn nobody_is_given_too_much_and_nobody_waits_while_one_is_free() {
        for (invoke, seed) in POLICIES.into_iter().zip(1..) {
            let open_max = NonZeroU32::new(1);
            let workload = Workload::new(invoke, &[], 0);
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
        let workload = Workload::new(InvocationPolicy::Single, &[], 0);
        workload.join(callee(1), NonZeroU32::new(1));
        let Taken::Callee(_, mut slot) = workload.take(ShardIndex(0), 0, 9) else { panic!("it is free") };
        let shards = [3, 1, 1, 2, 3].map(ShardIndex);
        for shard in shards {
            assert_eq!(workload.take(shard, 0, 9), Taken::Waits);
        }
        assert_eq!(workload.take(ShardIndex(0), 0, 5), Taken::Full);
        for shard in shards {
            assert_eq!(workload.grant(0), None, "it is busy");
            workload.release(slot);
            assert_eq!(workload.take(ShardIndex(9), 0, 5 + 4), Taken::Waits, "others have waited longer");
            let grant = workload.grant(0).unwrap();
            assert_eq!((grant.shard, grant.callee), (shard, callee(1)));
            slot = grant.slot;
        }
        assert_eq!(workload.close(), [ShardIndex(9)]);
        assert_eq!(workload.take(ShardIndex(0), 0, 9), Taken::Closed);
    }

    #[test]
    fn of_equals_each_has_its_turn_and_chance_is_even() {
        let callees = [1, 2, 3].map(callee);
        for invoke in [InvocationPolicy::LeastOpen, InvocationPolicy::RoundRobin] {
            let workload = Workload::new(invoke, &callees, 0);
            for round in 0..9 {
                let Taken::Callee(chosen, slot) = workload.take(ShardIndex(0), 0, 0) else { panic!("free") };
                assert_eq!(chosen, callees[round % 3]);
                workload.release(slot);
            }
        }
        for invoke in [InvocationPolicy::Random, InvocationPolicy::PowerOfTwo] {
            let workload = Workload::new(invoke, &callees, 0);
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
            let callee = Callee { shard: ShardIndex(0), peer, session: SessionId(1) };
            let workload = Arc::new(Workload::new(InvocationPolicy::Single, &[], 0));
            workload.join(callee, NonZeroU32::new(1));
            let Taken::Callee(_, slot) = workload.take(ShardIndex(0), 0, 9) else { panic!("it is free") };
            let calls = [1, 2].map(|shard| {
                let workload = workload.clone();
                thread::spawn(move || workload.take(ShardIndex(shard), 0, 9))
            });
            workload.release(slot);
            let mut served = Vec::new();
            let mut open = workload.grant(0);
            for (call, shard) in calls.into_iter().zip(1..) {
                match call.join().unwrap() {
                    Taken::Callee(_, slot) => {
                        assert_eq!(open, None, "there is one callee for one call");
                        open = Some(Grant { shard: ShardIndex(shard), callee, slot });
                    }
                    waits => assert_eq!(waits, Taken::Waits),
                }
            }
            while let Some(Grant { shard, slot, .. }) = open {
                served.push(shard);
                workload.release(slot);
                open = workload.grant(0);
            }
            served.sort();
            assert_eq!(served, [ShardIndex(1), ShardIndex(2)]);
        });
    }
}
