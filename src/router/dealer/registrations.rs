//! REGISTER and UNREGISTER (basic profile, "Registering and Unregistering"; advanced profile, "Pattern-based
//! Registrations").

use super::Dealer;
use crate::codec;
use crate::error::Refusal;
use crate::router::directory::{Callee, RegisterRefusal};
use crate::router::session::CalleeWishes;
use crate::router::{Context, Disclosure, PeerKey};
use crate::wamp::message::{Register, Registered, Unregister, Unregistered};
use crate::wamp::options::RegisterOptions;
use crate::wamp::{Message, RegistrationId, uri};

impl Dealer {
    /// REGISTER.
    pub fn on_register(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Register<'_>,
    ) -> Result<(), Refusal> {
        let RegisterOptions { match_policy: policy, disclose_caller, forward_timeout } =
            codec::options(&message.options)?;
        let procedure = &*message.procedure;
        let limits = &cx.router.settings.limits;
        let valid =
            procedure.len() <= limits.uri_bytes_max && self.realm.uri_check.pattern(procedure, policy);
        if !valid || uri::reserved(procedure) {
            return Err(Refusal::InvalidUri);
        }
        if disclose_caller && self.realm.settings.disclosure == Disclosure::Never {
            return Err(Refusal::DiscloseMe);
        }
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        if session.registrations.count() >= limits.registrations_per_session_max {
            return Err(Refusal::Unavailable);
        }
        let callee = Callee { shard: cx.index, peer: key, session: session.id };
        let registered = match self.realm.directory.register(procedure, policy, callee) {
            Ok(registered) => registered,
            Err(RegisterRefusal::AlreadyExists) => return Err(Refusal::ProcedureAlreadyExists),
            Err(RegisterRefusal::Full) => return Err(Refusal::Unavailable),
        };
        let registration = registered.registration;
        session.registrations.insert(registration, CalleeWishes { disclose_caller, forward_timeout });
        self.registrations.insert(registration, registered.key);
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
        session.registrations.remove(&message.registration).ok_or(Refusal::NoSuchRegistration)?;
        let callee = Callee { shard: cx.index, peer: key, session: session.id };
        let recorded = self.unregister(message.registration, callee);
        cx.peers.send(key, &Message::Unregistered(Unregistered { request: message.request, details: None }));
        self.nudge(cx, recorded);
        Ok(())
    }

    pub(super) fn unregister(&mut self, registration: RegistrationId, callee: Callee) -> bool {
        let key = self.registrations.remove(&registration).expect("a session's registration is known here");
        self.realm.directory.unregister(key, registration, callee).recorded
    }
}
