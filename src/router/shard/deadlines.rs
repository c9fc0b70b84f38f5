//! What a shard does when a deadline has passed, and which deadlines a connection has.

use std::time::{Duration, Instant};

use super::Shard;
use crate::error::CloseReason;
use crate::limits::Limits;
use crate::router::PeerKey;
use crate::router::peer::State;
use crate::router::timers::Timer;
use crate::transport::Framing;

impl Shard {
    pub(super) fn on_timer(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::Handshake(key) => {
                self.peers.clear_deadline(key, &mut self.timers);
                match self.peers.peer(key).map(|peer| &peer.state) {
                    // There is no transport yet to say anything in.
                    Some(State::Opening) => {
                        self.peers.drop_connection(key, CloseReason::HandshakeTimeout, &mut self.timers);
                    }
                    Some(State::Authenticating(_)) => self.on_answer_late(key, now),
                    _ => self.finish_peer(key, (1002, "HELLO is late"), CloseReason::HandshakeTimeout, now),
                }
            }
            Timer::Call { realm, call } => {
                let (realm, mut cx) = self.lend(realm);
                realm.dealer.on_timeout(&mut cx, call);
            }
            Timer::Idle(realm) => self.on_idle(realm),
            Timer::Goodbye(key) => self.on_goodbye_late(key, now),
            Timer::Silence(key) => self.on_silence(key, now),
            Timer::Stall(key) => self.peers.on_stall(key, &mut self.timers, now),
            Timer::DrainCalls => self.publish_testaments(now),
            Timer::DrainTestaments => self.say_goodbye_to_all(now),
            Timer::DrainEnd => {
                for key in self.peers.keys() {
                    self.leave(key);
                    self.peers.drop_connection(key, CloseReason::Shutdown, &mut self.timers);
                }
            }
        }
    }

    /// The peer has not answered our last words. It has longer if it is still taking what stood before them.
    fn on_goodbye_late(&mut self, key: PeerKey, now: Instant) {
        self.peers.clear_deadline(key, &mut self.timers);
        let wait = Limits::ms(self.router.settings.limits.goodbye_ms_max);
        if let Some(due) = self.peers.last_progress(key).map(|at| at + wait).filter(|due| *due > now) {
            return self.peers.set_deadline(key, Timer::Goodbye(key), due, &mut self.timers);
        }
        self.leave(key);
        self.peers.drop_connection(key, CloseReason::GoodbyeTimeout, &mut self.timers);
    }

    fn on_silence(&mut self, key: PeerKey, now: Instant) {
        self.peers.clear_deadline(key, &mut self.timers);
        let Some(silence) = self.silence_max(key) else { return };
        let paused = self.peers.paused(key.index);
        let Some(peer) = self.peers.peer_mut(key) else { return };
        let due = peer.last_input + silence;
        // A peer that is not read cannot be heard; the stall deadline watches it meanwhile.
        if due > now || paused {
            let due = if paused { now + silence } else { due };
            return self.peers.set_deadline(key, Timer::Silence(key), due, &mut self.timers);
        }
        if peer.pinged {
            self.leave(key);
            return self.peers.drop_connection(key, CloseReason::Silence, &mut self.timers);
        }
        peer.pinged = true;
        if let Some(mut transport) = peer.transport.take() {
            self.peers.reply_with(key, |reply| transport.ping(reply));
            if let Some(peer) = self.peers.peer_mut(key) {
                peer.transport = Some(transport);
            }
        }
        self.peers.set_deadline(key, Timer::Silence(key), now + silence, &mut self.timers);
    }

    pub(super) fn await_handshake(&mut self, key: PeerKey, now: Instant) {
        let at = now + Limits::ms(self.router.settings.limits.handshake_ms_max);
        self.peers.set_deadline(key, Timer::Handshake(key), at, &mut self.timers);
    }

    pub(super) fn await_silence(&mut self, key: PeerKey, now: Instant) {
        match self.silence_max(key) {
            None => self.peers.clear_deadline(key, &mut self.timers),
            Some(silence) => {
                self.peers.set_deadline(key, Timer::Silence(key), now + silence, &mut self.timers)
            }
        }
    }

    /// How long the peer may say nothing before it is pinged, if ever.
    fn silence_max(&self, key: PeerKey) -> Option<Duration> {
        let limits = &self.router.settings.limits;
        let silence_ms = match self.peers.peer(key)?.link?.framing {
            Framing::RawSocket => limits.rawsocket_silence_ms_max,
            Framing::WebSocket | Framing::WebSocketBatched => limits.silence_ms_max,
        };
        (silence_ms > 0).then(|| Limits::ms(silence_ms))
    }
}
