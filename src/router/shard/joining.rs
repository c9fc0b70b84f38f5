//! A session's beginning and end in a shard: HELLO, WELCOME, GOODBYE, and giving back all that it had.

use std::sync::Arc;
use std::time::Instant;

use super::drain::Drain;
use super::{LocalRealm, Next, Shard};
use crate::error::{CloseReason, JoinFailure, Violation};
use crate::router::authentication::{Principal, Proved};
use crate::router::features::{self, Announced};
use crate::router::meta::{sessions, testaments};
use crate::router::peer::{Sent, State};
use crate::router::realm::Member;
use crate::router::realms::{Joined, Shut};
use crate::router::role::Permissions;
use crate::router::session::{self, Admission, HelloRefusal, Identity, Proof, Session};
use crate::router::standing::{self, Dismissal, Door, still_allowed};
use crate::router::{PeerKey, RealmSettings};
use crate::wamp::message::{Abort, Goodbye, Hello, Welcome};
use crate::wamp::{Dict, Message, Payload, Value, reason};

impl Shard {
    pub(super) fn on_hello(
        &mut self,
        key: PeerKey,
        hello: &Hello<'_>,
        now: Instant,
    ) -> Result<Next, Violation> {
        let Some(listener) = self.peers.peer(key).map(|peer| peer.listener) else { return Ok(Next::Read) };
        let access = &self.router.settings.listeners[listener.0 as usize].access;
        match session::admit(&self.router, access, self.drain != Drain::No, hello)? {
            Ok((admission, claim)) => Ok(self.authenticate(key, admission, claim, now)),
            Err(HelloRefusal { reason, message }) => {
                self.send_abort(key, reason, message);
                Ok(Next::Finish(CloseReason::Aborted))
            }
        }
    }

    /// Enters the session, in a realm that is made for it if need be, and sends WELCOME.
    pub(super) fn join(
        &mut self,
        key: PeerKey,
        admission: &Admission,
        proved: &Proved,
    ) -> Result<Sent, Shut> {
        let authid = proved.authid.clone().unwrap_or_else(|| self.entropy.authid().into());
        // The one that was promised is taken by somebody else once in a few thousand years of joining.
        let session = proved.session.unwrap_or_else(|| self.entropy.session());
        let Shard { router, peers, entropy, index, .. } = self;
        let proof = Proof { method: proved.proof, asked: admission.asked.clone() };
        let asked = standing::asked(&proof, router);
        let joined = router.realm_table().join(&admission.realm.name, |realm| {
            let mut identity = Identity {
                session,
                authid,
                role: proved.role.clone(),
                authmethod: proved.authmethod,
                authprovider: proved.authprovider,
                proof,
                extra: proved.extra.clone().map(Arc::new),
            };
            // The settings of the realm, of the listener, or of where it was asked about, may have changed since HELLO.
            if let Some(peer) = peers.peer(key) {
                let door = Door::of(peer, router);
                identity.role = still_allowed(&identity, &realm.settings, asked.as_deref(), &door)?;
                let known = &realm.settings.authentication.principals;
                let as_now = |then: &Arc<Principal>| {
                    known.named(&then.authid).is_some_and(|now| now.proves_as(then, proved.proof))
                };
                if !proved.principal.as_ref().is_none_or(as_now) {
                    return Err(Dismissal::NoSuchPrincipal);
                }
            }
            loop {
                let drawn = Arc::new(identity.clone());
                if realm.enter(Member { shard: *index, peer: key, identity: drawn.clone() }) {
                    return Ok(drawn);
                }
                identity.session = entropy.session();
            }
        });
        let Joined { realm, entered: identity, removed } = joined?;
        if let Some(removed) = removed {
            self.announce_gone(removed);
        }
        self.learn_of(&realm);
        if let Some(peer) = self.peers.peer_mut(key) {
            peer.state = State::Joined(Box::new(Session::new(identity.clone(), realm.key, admission)));
        }
        self.keep_request(key);
        self.peers.counters.sessions_joined += 1;
        let (LocalRealm { shared, .. }, mut cx) = self.lend(realm.key);
        sessions::joined(shared, &mut cx, &identity);
        let announced = features::announced(&realm.settings);
        Ok(match self.welcome(key, &realm.settings, &identity, proved, announced) {
            // A RawSocket peer may take so little that it must do without the names of the features.
            Sent::TooLarge => self.welcome(key, &realm.settings, &identity, proved, Announced::default()),
            sent => sent,
        })
    }

    /// What HTTP has said is kept where an authorizer may ask, and else forgotten.
    pub(super) fn keep_request(&mut self, key: PeerKey) {
        let Some(session) = self.peers.session(key) else { return };
        if !matches!(session.identity.role.permissions, Permissions::Authorizer(_)) {
            self.peers.forget_request(key);
        }
    }

    /// ABORT for who has proved who it is, and cannot be let in.
    pub(super) fn shut_out(&mut self, key: PeerKey, realm: &RealmSettings, proved: &Proved, shut: Shut) {
        let message = match shut {
            Shut::NotAllowed(dismissal) => return self.not_allowed(key, realm, proved, dismissal),
            Shut::NoSuchRealm => "The realm does not exist.",
            Shut::TooMany => {
                self.peers.counters.realms_refused += 1;
                let whom = (proved.authid.clone(), Some(proved.authmethod));
                self.note_failure(key, realm, whom, JoinFailure::RealmsFull.into(), None);
                JoinFailure::RealmsFull.message()
            }
        };
        self.send_abort(key, reason::NO_SUCH_REALM, message);
    }

    fn not_allowed(&mut self, key: PeerKey, realm: &RealmSettings, proved: &Proved, dismissal: Dismissal) {
        let (failure, whom) = (JoinFailure::NotAllowed, (proved.authid.clone(), Some(proved.authmethod)));
        self.note_failure(key, realm, whom, failure.into(), None);
        self.send_abort(key, failure.reason(), dismissal.text());
    }

    fn welcome(
        &mut self,
        key: PeerKey,
        realm: &RealmSettings,
        identity: &Identity,
        proved: &Proved,
        announced: Announced,
    ) -> Sent {
        session::welcome_details(&self.router, realm, identity, proved, announced, |details| {
            self.peers.send(key, &Message::Welcome(Welcome { session: identity.session, details }))
        })
    }

    pub(super) fn send_abort(&mut self, key: PeerKey, reason: &str, text: &str) {
        let details = [("message", Value::text(text))];
        let abort = Abort { details: Dict::Pairs(&details), reason: reason.into(), payload: Payload::EMPTY };
        self.peers.send_outside(key, &Message::Abort(abort));
    }

    /// GOODBYE: all is given back before the answer, and the transport waits for another HELLO.
    pub(super) fn on_goodbye(&mut self, key: PeerKey, goodbye: &Goodbye<'_>, now: Instant) -> Next {
        if goodbye.reason == reason::LOGOUT {
            self.log_out_browser(key);
        }
        self.leave(key);
        let goodbye = Goodbye { details: Dict::EMPTY, reason: reason::GOODBYE_AND_OUT.into() };
        self.peers.send_outside(key, &Message::Goodbye(goodbye));
        self.await_handshake(key, now);
        if self.drain == Drain::No { Next::Read } else { Next::Finish(CloseReason::Shutdown) }
    }

    /// Ends the session, if there is one: testaments, rosters and directory, registrations, open invocations, open
    /// calls, and last the list of sessions. The peer is left without a session.
    pub(super) fn leave(&mut self, key: PeerKey) {
        self.let_go(key);
        let Some(peer) = self.peers.peer_mut(key) else { return };
        let State::Joined(session) = &peer.state else { return };
        let realm = session.realm;
        self.browser_left(key);
        let (local, mut cx) = self.lend(realm);
        testaments::publish(local, &mut cx, key);
        let Some(peer) = self.peers.peer_mut(key) else { return };
        let State::Joined(mut session) = std::mem::replace(&mut peer.state, State::Idle) else { return };
        let (LocalRealm { shared, broker, dealer, .. }, mut cx) = self.lend(realm);
        broker.leave(&mut cx, &mut session);
        dealer.leave(&mut cx, &mut session);
        *cx.rounds_open -= session.rounds_open as usize;
        let emptied = shared.leave(session.id, cx.now);
        cx.authorizers.forget(session.id);
        sessions::left(shared, &mut cx, &session.identity);
        if emptied {
            self.await_idle(realm);
        }
    }
}
