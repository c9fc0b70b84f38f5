//! The invariants of the long-poll transport, as something that can be asked: what names one another does so both ways,
//! each deadline is noted where it is looked for, and the memory of all is the sum of what each holds.
//!
//! It looks at everything, so it is for builds with assertions.

use std::collections::BTreeSet;

use super::super::connection::State;
use super::super::polled::{Life, Polled};
use super::{ConnectionKey, End, LongPoll, TransportKey};

impl LongPoll {
    /// True if the invariants hold, as they do after each call.
    pub(super) fn is_consistent(&self) -> bool {
        self.connections_name_transports()
            && self.transports_name_connections()
            && self.deadlines_and_memory_are_counted()
    }

    fn connections_name_transports(&self) -> bool {
        self.connections.iter().all(|(place, connection)| {
            let key = ConnectionKey(place as u32);
            match connection.state {
                State::Opening(of) => self.polled(of).is_some_and(|polled| polled.life == Life::Opening),
                State::Receiving(of) => self.polled(of).is_some_and(|polled| polled.receiving == Some(key)),
                State::Sending(of) => self.polled(of).is_some_and(|polled| {
                    polled.sending.iter().filter(|(_, waiting)| *waiting == key).count() == 1
                }),
                State::Reading | State::Closing => true,
            }
        })
    }

    fn transports_name_connections(&self) -> bool {
        let waits = |key: ConnectionKey, state| {
            self.connections.get(key.0 as usize).is_some_and(|connection| connection.state == state)
        };
        self.transports.iter().all(|(place, polled)| {
            let key = TransportKey(place as u32);
            let named = if polled.life == Life::Finishing { None } else { Some(&key) };
            self.ids.get(&polled.id) == named
                && polled.receiving.is_none_or(|waiting| waits(waiting, State::Receiving(key)))
                && polled.sending.iter().all(|(_, waiting)| waits(*waiting, State::Sending(key)))
        })
    }

    fn deadlines_and_memory_are_counted(&self) -> bool {
        let (mut deadlines, mut held) = (BTreeSet::new(), 0);
        for (place, connection) in &self.connections {
            held += connection.held;
            deadlines.extend(connection.deadline.map(|at| (at, End::Client(ConnectionKey(place as u32)))));
        }
        for (place, polled) in &self.transports {
            held += polled.held;
            deadlines.extend(polled.deadline.map(|at| (at, End::Shard(TransportKey(place as u32)))));
        }
        deadlines == self.deadlines && held == self.held
    }

    fn polled(&self, key: TransportKey) -> Option<&Polled> {
        self.transports.get(key.0 as usize)
    }
}
