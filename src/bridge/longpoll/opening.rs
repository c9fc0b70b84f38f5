//! How a long-poll transport begins: what is agreed on, the name it gets, and the stream that the shell makes for it.

use std::borrow::Cow;
use std::time::Instant;

use rand::RngCore;

use super::super::connection::{FULL, JSON, NO_COMMON_PROTOCOL, NO_PROTOCOLS, State, protocols};
use super::super::http::Answer;
use super::super::polled::{Life, Polled};
use super::{Action, ConnectionKey, LongPoll, TransportKey};
use crate::limits::MESSAGE_BYTES_CEILING;
use crate::transport::upgrade::SUBPROTOCOLS;
use crate::transport::{Framing, Link};

impl LongPoll {
    /// A transport is asked for: its stream has to be made.
    pub(super) fn on_open(&mut self, key: ConnectionKey, body: &[u8], now: Instant) {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else { return };
        let request = std::mem::take(&mut connection.opening);
        let Some(offered) = protocols(body) else {
            return self.answer(key, &NO_PROTOCOLS, now);
        };
        let serializers = connection.settings.serializers;
        let spoken = |name: &String| {
            SUBPROTOCOLS.iter().find(|(known, of, _)| known == name && serializers[of.index()]).copied()
        };
        let Some(agreed) = offered.iter().find_map(spoken) else {
            return self.answer(key, &NO_COMMON_PROTOCOL, now);
        };
        if self.draining || self.transports.len() >= self.limits.longpoll_transports_max {
            return self.answer(key, &FULL, now);
        }
        let id = self.id();
        let transport = TransportKey(self.transports.insert(Polled::new(id.clone(), agreed, now)) as u32);
        self.ids.insert(id, transport);
        self.wait(key, State::Opening(transport), now);
        // Over HTTP a client cannot announce what it takes.
        let link = Link {
            serializer: agreed.1,
            framing: Framing::RawSocket,
            message_bytes_max: MESSAGE_BYTES_CEILING,
        };
        self.actions.push(Action::Open { transport, connection: key, link, request });
    }

    /// The stream that [`Action::Open`] asked for exists, or there is no room for it.
    pub fn opened(&mut self, key: TransportKey, opener: ConnectionKey, made: bool, now: Instant) {
        let waits = self.connections.get(opener.0 as usize).map(|opener| opener.state);
        let polled = self.transports.get_mut(key.0 as usize);
        let Some(polled) = polled.filter(|_| waits == Some(State::Opening(key))) else { return };
        if !made {
            self.answer(opener, &FULL, now);
            return self.remove(key, now);
        }
        polled.life = Life::Open;
        // Neither name has anything that JSON escapes.
        let body = format!("{{\"protocol\":\"{}\",\"transport\":\"{}\"}}", polled.protocol, polled.id);
        let body = Cow::Owned(body.into_bytes());
        self.answer(opener, &Answer { status: "200 OK", content_type: Some(JSON), headers: "", body }, now);
        self.await_request(key, now);
    }

    /// 120 bits of chance in letters and digits that are hard to confuse.
    fn id(&mut self) -> String {
        const ALPHABET: &[u8; 32] = b"3479ACEFGHJKLMNPQRSTUVWXYabcdefh";
        (0..24).map(|_| char::from(ALPHABET[(self.entropy.next_u32() >> 27) as usize])).collect()
    }
}
