//! REGISTER and UNREGISTER, and registrations that are taken away (basic profile, "Registering and Unregistering";
//! advanced profile, "Pattern-based Registrations", "Shared Registration", "Registration Revocation").
//!
//! A callee loses a registration in the directory first, so that no call is for it any more, and learns of it by
//! letter. What it says about the registration meanwhile crosses that, and is granted. Its open invocations stay open.

use smallvec::SmallVec;

use super::Dealer;
use crate::codec;
use crate::error::Refusal;
use crate::router::authorization::Question;
use crate::router::directory::{Callee, DirectoryKey, Displaced, RegisterRefusal, Wanted};
use crate::router::features::Feature;
use crate::router::letter::Letter;
use crate::router::rules::Action;
use crate::router::session::{CalleeWishes, Held};
use crate::router::{Context, Disclosure, PeerKey, ShardIndex};
use crate::wamp::message::{Register, Registered, Unregister, Unregistered};
use crate::wamp::options::{InvocationPolicy, RegisterOptions};
use crate::wamp::{Dict, MatchPolicy, Message, RegistrationId, RequestId, SessionId, Value, uri};

impl Dealer {
    /// REGISTER.
    pub fn on_register(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Register<'_>,
    ) -> Result<(), Refusal> {
        let options: RegisterOptions = codec::options(&message.options)?;
        let RegisterOptions { match_policy: policy, invoke, concurrency, disclose_caller, .. } = options;
        let procedure = &*message.procedure;
        let limits = &cx.router.settings.limits;
        let valid =
            procedure.len() <= limits.uri_bytes_max && self.realm.uri_check.pattern(procedure, policy);
        if !valid || uri::reserved(procedure) {
            return Err(Refusal::InvalidUri);
        }
        self.authorize_register(cx, key, (procedure, policy), message)?;
        if disclose_caller && self.realm.settings.disclosure == Disclosure::Never {
            return Err(Refusal::DiscloseMe);
        }
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        if session.registrations.count() >= limits.registrations_per_session_max {
            return Err(Refusal::Unavailable);
        }
        let membership = self.memberships.wrapping_add(1);
        let callee = Callee { shard: cx.index, peer: key, session: session.id, membership };
        let RegisterOptions { force_reregister: force, .. } = options;
        let (directory, administers) = (&self.realm.directory, session.identity.role.administers);
        // Who forces takes away what is others'.
        if force && !administers && directory.registration_of(procedure, policy).is_some() {
            return Err(Refusal::NotAuthorized);
        }
        let wanted = Wanted {
            procedure,
            policy,
            invoke,
            concurrency,
            force: force && administers,
            reroutes: session.features.has(Feature::CalleeCallReroute),
            callees_max: limits.callees_per_registration_max,
            now: cx.router.clock.unix_ms(cx.now),
        };
        let registered = directory.register(&wanted, callee)?;
        let registration = registered.registration;
        // Who registers what it has wishes anew; its place and its `concurrency` stay.
        let wishes = CalleeWishes { disclose_caller, forward_timeout: options.forward_timeout };
        let known = session.registrations.get(&registration).filter(|_| registered.known);
        let membership = known.map_or(membership, |held| held.membership);
        session.registrations.insert(registration, Held { place: registered.key, membership, wishes });
        self.memberships = callee.membership;
        // Queued before any letter is taken, and so before the first INVOCATION.
        cx.peers.send(key, &Message::Registered(Registered { request: message.request, registration }));
        self.nudge(cx, registered.recorded);
        if let Some(displaced) = registered.displaced {
            self.displace(cx, displaced, callee.session);
        }
        // Whoever has waited for a callee has one more.
        if invoke != InvocationPolicy::Single
            && let Some(joined) = self.realm.directory.registration_of(procedure, policy)
            && let Some(workload) = &joined.workload
        {
            while let Some(grant) = workload.grant(callee.session) {
                self.post_grant(cx, workload, grant);
            }
        }
        Ok(())
    }

    fn authorize_register(
        &self,
        cx: &mut Context<'_>,
        key: PeerKey,
        (uri, policy): (&str, MatchPolicy),
        message: &Register<'_>,
    ) -> Result<(), Refusal> {
        let question = Question { action: Action::Register, uri, policy, options: &message.options };
        cx.authorize(key, &self.realm, &question, None).map(drop)
    }

    /// Tells those who have lost a registration to another, and those whose calls wait for one of them.
    fn displace(&self, cx: &mut Context<'_>, displaced: Displaced, by: SessionId) {
        let Displaced { registration, callees, deserted } = displaced;
        for callee in callees {
            let reason = match callee.session == by {
                true => "registered anew by the session itself",
                false => "registered anew by another session",
            };
            self.post_revoke(cx, callee, registration, Some(reason));
        }
        self.post_desert(cx, registration, deserted);
    }

    /// UNREGISTER.
    pub fn on_unregister(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Unregister,
    ) -> Result<(), Refusal> {
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        let held = session.registrations.remove(&message.registration).ok_or(Refusal::NoSuchRegistration)?;
        let id = session.id;
        self.unregister(cx, held.place, message.registration, id);
        cx.peers.send(key, &Message::Unregistered(Unregistered { request: message.request, details: None }));
        Ok(())
    }

    /// Takes a session out of a registration's callees, in which it may be no longer. True if it was.
    pub(super) fn unregister(
        &mut self,
        cx: &mut Context<'_>,
        place: DirectoryKey,
        registration: RegistrationId,
        session: SessionId,
    ) -> bool {
        let Some(left) = self.realm.directory.unregister(place, registration, session) else { return false };
        self.post_desert(cx, registration, left.deserted);
        for call in left.stranded {
            let letter = Letter::Desert { realm: self.realm.key, registration, call: Some(call) };
            cx.letters.post(call.shard, letter);
        }
        self.nudge(cx, left.recorded);
        true
    }

    /// Takes a registration away from one of its callees, which may be anywhere. The callee is told, with the reason,
    /// if it has announced `registration_revocation`.
    pub fn revoke(
        &mut self,
        cx: &mut Context<'_>,
        registration: RegistrationId,
        session: SessionId,
        reason: Option<&str>,
    ) -> Result<(), Refusal> {
        let found = self.realm.directory.registration_by_id(registration);
        let (place, found) = found.ok_or(Refusal::NoSuchRegistration)?;
        let callee = found.callees.iter().find(|callee| callee.session == session);
        let callee = callee.ok_or(Refusal::NoSuchSession)?;
        if self.unregister(cx, place, registration, session) {
            self.post_revoke(cx, *callee, registration, reason);
        }
        Ok(())
    }

    /// A callee here has lost a registration: UNREGISTERED without a request.
    pub fn revoked(
        &mut self,
        cx: &mut Context<'_>,
        callee: PeerKey,
        session: SessionId,
        registration: RegistrationId,
        reason: Option<&str>,
    ) {
        let Some(peer) = cx.peers.session(callee).filter(|peer| peer.id == session) else { return };
        let Some(&Held { place, .. }) = peer.registrations.get(&registration) else { return };
        // It may have left by itself when this was on its way, and come again.
        if self.realm.directory.is_callee(place, registration, session) {
            return;
        }
        peer.registrations.remove(&registration);
        if !peer.features.has(Feature::CalleeRegistrationRevocation) {
            return;
        }
        let reason = reason.map(|reason| ("reason", Value::text(reason)));
        let details: SmallVec<[_; 2]> =
            [("registration", Value::Unsigned(registration.0))].into_iter().chain(reason).collect();
        let details = Some(Dict::Pairs(&details));
        cx.peers.send(callee, &Message::Unregistered(Unregistered { request: RequestId::NONE, details }));
    }

    fn post_revoke(
        &self,
        cx: &mut Context<'_>,
        callee: Callee,
        registration: RegistrationId,
        reason: Option<&str>,
    ) {
        let Callee { shard, peer: callee, session, .. } = callee;
        let (realm, reason) = (self.realm.key, reason.map(Into::into));
        cx.letters.post(shard, Letter::Revoke { realm, callee, session, registration, reason });
    }

    fn post_desert(&self, cx: &mut Context<'_>, registration: RegistrationId, deserted: Vec<ShardIndex>) {
        for shard in deserted {
            cx.letters.post(shard, Letter::Desert { realm: self.realm.key, registration, call: None });
        }
    }
}

impl From<RegisterRefusal> for Refusal {
    fn from(refusal: RegisterRefusal) -> Refusal {
        match refusal {
            RegisterRefusal::AlreadyExists => Refusal::ProcedureAlreadyExists,
            RegisterRefusal::Full => Refusal::Unavailable,
        }
    }
}
