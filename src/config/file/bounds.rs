//! The bounds of the router by the names and in the units of the file: one table, by which they are read and shown.

use super::{DAY_SECONDS, HOUR_SECONDS, MESSAGE_BYTES_CEILING, MESSAGE_BYTES_MIN, Table};
use crate::limits::Limits;

/// A key that sets a bound.
pub(super) struct Bound {
    key: &'static str,
    least: u64,
    most: u64,
    field: Field,
}

/// What it sets.
enum Field {
    /// A number of things.
    Count(fn(&mut Limits) -> &mut usize),
    /// A number of octets.
    Octets(fn(&mut Limits) -> &mut usize),
    /// A time, of which one in the file is so many here.
    Time(u64, fn(&mut Limits) -> &mut u64),
}

impl Bound {
    const fn count(key: &'static str, least: u64, most: u64, field: fn(&mut Limits) -> &mut usize) -> Bound {
        Bound { key, least, most, field: Field::Count(field) }
    }

    const fn octets(key: &'static str, field: fn(&mut Limits) -> &mut usize) -> Bound {
        Bound { key, least: 1, most: 1 << 40, field: Field::Octets(field) }
    }

    const fn seconds(key: &'static str, least: u64, most: u64, field: fn(&mut Limits) -> &mut u64) -> Bound {
        Bound { key, least, most, field: Field::Time(1000, field) }
    }

    const fn ms(key: &'static str, field: fn(&mut Limits) -> &mut u64) -> Bound {
        Bound { key, least: 1, most: DAY_SECONDS * 1000, field: Field::Time(1, field) }
    }

    fn read(&self, table: &mut Table, limits: &mut Limits) {
        let within = self.least..=self.most;
        match self.field {
            Field::Count(field) => {
                let count = table.number(self.key, within);
                count.into_iter().for_each(|count| *field(limits) = count as usize);
            }
            Field::Octets(field) => {
                table.octets(self.key, within).into_iter().for_each(|octets| *field(limits) = octets);
            }
            Field::Time(unit, field) => {
                table.number(self.key, within).into_iter().for_each(|time| *field(limits) = time * unit);
            }
        }
    }

    /// Its value as the file writes it.
    fn written(&self, limits: &Limits) -> u64 {
        // The fields are found in what may be changed.
        let mut limits = limits.clone();
        match self.field {
            Field::Count(field) | Field::Octets(field) => *field(&mut limits) as u64,
            Field::Time(unit, field) => *field(&mut limits) / unit,
        }
    }
}

/// Those that options of `fanwire serve` set, under the names of the options.
const OPTIONS: [Bound; 12] = [
    Bound::seconds("ping_seconds", 0, DAY_SECONDS, |limits| &mut limits.silence_ms_max),
    Bound::seconds("rawsocket_ping_seconds", 0, DAY_SECONDS, |limits| &mut limits.rawsocket_silence_ms_max),
    Bound::seconds("handshake_seconds", 1, HOUR_SECONDS, |limits| &mut limits.handshake_ms_max),
    Bound::seconds("stall_seconds", 1, DAY_SECONDS, |limits| &mut limits.outbound_stall_ms_max),
    Bound::seconds("drain_seconds", 0, HOUR_SECONDS, |limits| &mut limits.drain_ms_max),
    Bound::seconds("longpoll_receive_seconds", 1, HOUR_SECONDS, |limits| &mut limits.longpoll_receive_ms_max),
    Bound::seconds("longpoll_idle_seconds", 1, DAY_SECONDS, |limits| &mut limits.longpoll_idle_ms_max),
    Bound {
        key: "busy_poll_micros",
        least: 0,
        most: 1_000_000,
        field: Field::Time(1, |limits| &mut limits.busy_poll_us),
    },
    Bound::count("longpoll_max", 0, u32::MAX as u64, |limits| &mut limits.longpoll_transports_max),
    Bound::count("connections_max", 1, u32::MAX as u64, |limits| &mut limits.connections_max),
    Bound {
        key: "message_bytes_max",
        least: MESSAGE_BYTES_MIN as u64,
        most: MESSAGE_BYTES_CEILING as u64,
        field: Field::Octets(|limits| &mut limits.message_bytes_max),
    },
    Bound::octets("outbound_bytes_max", |limits| &mut limits.outbound_bytes_max),
];

/// Most of a count in `[limits]`.
const COUNT_MAX: u64 = 1 << 30;

/// `[limits]`: the other bounds, under their names.
const OTHERS: [Bound; 28] = [
    Bound::octets("outbound_bytes_soft", |limits| &mut limits.outbound_bytes_soft),
    Bound::octets("outbound_shard_bytes_max", |limits| &mut limits.outbound_shard_bytes_max),
    Bound::octets("inbound_shard_bytes_max", |limits| &mut limits.inbound_shard_bytes_max),
    Bound::octets("mailbox_bytes_max", |limits| &mut limits.mailbox_bytes_max),
    Bound::octets("queued_bytes_per_turn", |limits| &mut limits.queued_bytes_per_turn),
    Bound::octets("write_bytes_per_peer_turn", |limits| &mut limits.write_bytes_per_peer_turn),
    Bound::octets("call_bytes_waiting_per_realm_max", |limits| &mut limits.call_bytes_waiting_per_realm_max),
    Bound::octets("testament_bytes_per_session_max", |limits| &mut limits.testament_bytes_per_session_max),
    Bound::octets("session_details_bytes_max", |limits| &mut limits.session_details_bytes_max),
    Bound::octets("call_kept_bytes_max", |limits| &mut limits.call_kept_bytes_max),
    Bound::octets("longpoll_queue_bytes_max", |limits| &mut limits.longpoll_queue_bytes_max),
    Bound::octets("longpoll_bytes_max", |limits| &mut limits.longpoll_bytes_max),
    Bound::count("uri_bytes_max", 1, 1 << 16, |limits| &mut limits.uri_bytes_max),
    Bound::count("mailbox_letters_max", 1, COUNT_MAX, |limits| &mut limits.mailbox_letters_max),
    Bound::count("subscriptions_per_session_max", 1, COUNT_MAX, |limits| {
        &mut limits.subscriptions_per_session_max
    }),
    Bound::count("registrations_per_session_max", 1, COUNT_MAX, |limits| {
        &mut limits.registrations_per_session_max
    }),
    Bound::count("callees_per_registration_max", 1, COUNT_MAX, |limits| {
        &mut limits.callees_per_registration_max
    }),
    Bound::count("calls_waiting_per_registration_max", 1, COUNT_MAX, |limits| {
        &mut limits.calls_waiting_per_registration_max
    }),
    Bound::count("calls_waiting_per_realm_max", 1, COUNT_MAX, |limits| {
        &mut limits.calls_waiting_per_realm_max
    }),
    Bound::count("calls_open_per_session_max", 1, COUNT_MAX, |limits| &mut limits.calls_open_per_session_max),
    Bound::count("invocations_open_per_session_max", 1, COUNT_MAX, |limits| {
        &mut limits.invocations_open_per_session_max
    }),
    Bound::count("testaments_per_session_max", 1, COUNT_MAX, |limits| &mut limits.testaments_per_session_max),
    Bound::count("match_cache_entries_max", 1, COUNT_MAX, |limits| &mut limits.match_cache_entries_max),
    Bound::count("pattern_shapes_max", 1, COUNT_MAX, |limits| &mut limits.pattern_shapes_max),
    Bound::ms("call_timeout_ms_max", |limits| &mut limits.call_timeout_ms_max),
    Bound::ms("goodbye_ms_max", |limits| &mut limits.goodbye_ms_max),
    Bound::ms("longpoll_request_ms_max", |limits| &mut limits.longpoll_request_ms_max),
    Bound::ms("longpoll_connection_idle_ms_max", |limits| &mut limits.longpoll_connection_idle_ms_max),
];

/// The bounds that a file says, at the top and under `[limits]`.
pub(super) fn read(table: &mut Table) -> Limits {
    let mut limits = Limits::DEFAULT;
    OPTIONS.iter().for_each(|bound| bound.read(table, &mut limits));
    // A shorter queue is long sooner, if nothing else is said.
    limits.outbound_bytes_soft = limits.outbound_bytes_soft.min(limits.outbound_bytes_max / 2);
    table.table("limits", |table| OTHERS.iter().for_each(|bound| bound.read(table, &mut limits)));
    limits
}

/// The bounds that are not the usual, as the file says them: the key, with its table, and the value.
pub fn unusual(limits: &Limits) -> Vec<(String, u64)> {
    let options = OPTIONS.iter().map(|bound| (bound.key.to_owned(), bound));
    let others = OTHERS.iter().map(|bound| (format!("limits.{}", bound.key), bound));
    let written = options.chain(others).map(|(key, bound)| {
        let (value, usual) = (bound.written(limits), bound.written(&Limits::DEFAULT));
        (key, value, usual)
    });
    written.filter(|(_, value, usual)| value != usual).map(|(key, value, _)| (key, value)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::file::{Nothing, Reader};

    #[test]
    fn each_is_read_and_shown_under_its_name_and_sets_nothing_else() {
        let bounds =
            OPTIONS.iter().map(|bound| ("", bound)).chain(OTHERS.iter().map(|bound| ("limits.", bound)));
        for (table, bound) in bounds {
            let usual = bound.written(&Limits::DEFAULT);
            let value = if usual < bound.most { usual + 1 } else { usual - 1 };
            let (text, base) = (format!("{table}{} = {value}\n", bound.key), Path::new(""));
            let reader = Reader::new(&text, base, &Nothing);
            let root = reader.parse();
            let mut limits = reader.read(root.get_ref(), read);
            assert_eq!(reader.mistakes(), [], "{text}");
            assert_eq!(unusual(&limits), [(format!("{table}{}", bound.key), value)]);
            match bound.field {
                Field::Count(field) | Field::Octets(field) => {
                    *field(&mut limits) = *field(&mut Limits::DEFAULT.clone());
                }
                Field::Time(_, field) => *field(&mut limits) = *field(&mut Limits::DEFAULT.clone()),
            }
            assert_eq!(format!("{limits:?}"), format!("{:?}", Limits::DEFAULT), "{}", bound.key);
        }
    }
}
