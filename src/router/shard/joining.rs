//! A session's beginning and end in a shard: HELLO, WELCOME, GOODBYE, and giving back all that it had.

use std::sync::Arc;
use std::time::Instant;

use super::drain::Drain;
use super::{LocalRealm, Next, Shard};
use crate::error::{CloseReason, Violation};
use crate::router::features::{self, Announced};
use crate::router::meta::{sessions, testaments};
use crate::router::peer::{Sent, State};
use crate::router::realm::Member;
use crate::router::session::{self, Admission, HelloRefusal, Identity, Session};
use crate::router::{PeerKey, RealmSettings};
use crate::wamp::message::{Goodbye, Hello, Welcome};
use crate::wamp::{Dict, Message, reason};

impl Shard {
    pub(super) fn on_hello(
        &mut self,
        key: PeerKey,
        hello: &Hello<'_>,
        now: Instant,
    ) -> Result<Next, Violation> {
        match session::admit(&self.router, self.drain != Drain::No, hello)? {
            Ok(admission) => {
                if self.join(key, &admission) != Sent::Queued {
                    // A RawSocket peer may announce to take less than WELCOME is.
                    self.leave(key);
                    self.send_abort(
                        key,
                        reason::PAYLOAD_SIZE_EXCEEDED,
                        "WELCOME is too large for this peer.",
                    );
                    return Ok(Next::Finish(CloseReason::Aborted));
                }
                self.await_silence(key, now);
                Ok(Next::Read)
            }
            Err(HelloRefusal { reason, message }) => {
                self.send_abort(key, reason, message);
                Ok(Next::Finish(CloseReason::Aborted))
            }
        }
    }

    /// Enters the session, and sends WELCOME.
    fn join(&mut self, key: PeerKey, admission: &Admission) -> Sent {
        let realm = self.realms[admission.realm.0 as usize].shared.clone();
        let authid: Box<str> = self.entropy.authid().into();
        let identity = loop {
            let identity = Arc::new(Identity {
                session: self.entropy.session(),
                authid: authid.clone(),
                role: realm.settings.anonymous.clone(),
                authmethod: "anonymous",
                authprovider: "static",
            });
            if realm.enter(Member { shard: self.index, peer: key, identity: identity.clone() }) {
                break identity;
            }
        };
        if let Some(peer) = self.peers.peer_mut(key) {
            peer.state = State::Joined(Box::new(Session::new(identity.clone(), admission)));
            peer.forget_request();
        }
        self.peers.counters.sessions_joined += 1;
        let (LocalRealm { shared, .. }, mut cx) = self.lend(admission.realm);
        sessions::joined(shared, &mut cx, &identity);
        match self.welcome(key, &realm.settings, &identity, features::announced(&realm.settings)) {
            // A RawSocket peer may take so little that it must do without the names of the features.
            Sent::TooLarge => self.welcome(key, &realm.settings, &identity, Announced::default()),
            sent => sent,
        }
    }

    fn welcome(
        &mut self,
        key: PeerKey,
        realm: &RealmSettings,
        identity: &Identity,
        announced: Announced,
    ) -> Sent {
        session::welcome_details(&self.router, realm, identity, announced, |details| {
            self.peers.send(key, &Message::Welcome(Welcome { session: identity.session, details }))
        })
    }

    /// GOODBYE: all is given back before the answer, and the transport waits for another HELLO.
    pub(super) fn on_goodbye(&mut self, key: PeerKey, now: Instant) -> Next {
        self.leave(key);
        let goodbye = Goodbye { details: Dict::EMPTY, reason: reason::GOODBYE_AND_OUT.into() };
        self.peers.send_outside(key, &Message::Goodbye(goodbye));
        self.await_handshake(key, now);
        if self.drain == Drain::No { Next::Read } else { Next::Finish(CloseReason::Shutdown) }
    }

    /// Ends the session, if there is one: testaments, rosters and directory, registrations, open invocations, open
    /// calls, and last the list of sessions. The peer is left without a session.
    pub(super) fn leave(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        let State::Joined(session) = &peer.state else { return };
        let realm = session.realm;
        let (local, mut cx) = self.lend(realm);
        testaments::publish(local, &mut cx, key);
        let Some(peer) = self.peers.peer_mut(key) else { return };
        let State::Joined(mut session) = std::mem::replace(&mut peer.state, State::Idle) else { return };
        let (LocalRealm { shared, broker, dealer }, mut cx) = self.lend(session.realm);
        broker.leave(&mut cx, &mut session);
        dealer.leave(&mut cx, &mut session);
        *cx.rounds_open -= session.rounds_open as usize;
        shared.leave(session.id);
        sessions::left(shared, &mut cx, &session.identity);
    }
}
