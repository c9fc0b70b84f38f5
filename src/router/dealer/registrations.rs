//! REGISTER and UNREGISTER (basic profile, "Registering and Unregistering"; advanced profile, "Pattern-based
//! Registrations").

use super::Dealer;
use crate::codec;
use crate::error::Refusal;
use crate::router::directory::{Callee, DirectoryKey, RegisterRefusal, Wanted};
use crate::router::features::Feature;
use crate::router::realm::Member;
use crate::router::{Context, PeerKey};
use crate::wamp::message::{Register, Registered, Unregister, Unregistered};
use crate::wamp::options::RegisterOptions;
use crate::wamp::{Dict, Message, RegistrationId, RequestId, SessionId, Value, uri};

impl Dealer {
    /// REGISTER.
    pub fn on_register(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Register<'_>,
    ) -> Result<(), Refusal> {
        let RegisterOptions { match_policy: policy, invoke, .. } = codec::options(&message.options)?;
        let procedure = &*message.procedure;
        let limits = &cx.router.settings.limits;
        let valid =
            procedure.len() <= limits.uri_bytes_max && self.realm.uri_check.pattern(procedure, policy);
        if !valid || uri::reserved(procedure) {
            return Err(Refusal::InvalidUri);
        }
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        if session.registrations.count() >= limits.registrations_per_session_max {
            return Err(Refusal::Unavailable);
        }
        let callee = Callee { shard: cx.index, peer: key, session: session.id };
        let now = cx.router.clock.unix_ms(cx.now);
        let wanted = Wanted { procedure, policy, invoke, now };
        let registered = match self.realm.directory.register(&wanted, callee) {
            Ok(registered) => registered,
            Err(RegisterRefusal::AlreadyExists) => return Err(Refusal::ProcedureAlreadyExists),
            Err(RegisterRefusal::Full) => return Err(Refusal::Unavailable),
        };
        let registration = registered.registration;
        session.registrations.insert(registration, registered.key);
        // Queued before any letter is taken, and so before the first INVOCATION.
        cx.peers.send(key, &Message::Registered(Registered { request: message.request, registration }));
        self.nudge(cx, registered.recorded);
        Ok(())
    }

    /// UNREGISTER.
    pub fn on_unregister(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Unregister,
    ) -> Result<(), Refusal> {
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        let place = session.registrations.remove(&message.registration).ok_or(Refusal::NoSuchRegistration)?;
        let id = session.id;
        let recorded = self.unregister(place, message.registration, id);
        cx.peers.send(key, &Message::Unregistered(Unregistered { request: message.request, details: None }));
        self.nudge(cx, recorded);
        Ok(())
    }

    /// Takes a registration away from a callee here; false if it has none of that identifier. The peer is told if it
    /// has announced that it understands (advanced profile, "Registration Revocation").
    pub fn revoke(
        &mut self,
        cx: &mut Context<'_>,
        callee: &Member,
        registration: RegistrationId,
        reason: Option<&str>,
    ) -> bool {
        let (key, id) = (callee.peer, callee.identity.session);
        let Some(session) = cx.peers.session(key).filter(|session| session.id == id) else { return false };
        let Some(place) = session.registrations.remove(&registration) else { return false };
        let told = session.features.has(Feature::CalleeRegistrationRevocation);
        let recorded = self.unregister(place, registration, id);
        if told {
            let details = [
                ("registration", Value::Unsigned(registration.0)),
                ("reason", Value::text(reason.unwrap_or(""))),
            ];
            let details = Dict::Pairs(&details[..1 + usize::from(reason.is_some())]);
            let revoked = Unregistered { request: RequestId::NONE, details: Some(details) };
            cx.peers.send(key, &Message::Unregistered(revoked));
        }
        self.nudge(cx, recorded);
        true
    }

    /// True if that was recorded.
    pub(super) fn unregister(
        &mut self,
        place: DirectoryKey,
        registration: RegistrationId,
        session: SessionId,
    ) -> bool {
        let unregistered = self.realm.directory.unregister(place, registration, session);
        unregistered.is_some_and(|unregistered| unregistered.recorded)
    }
}
