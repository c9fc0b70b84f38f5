//! Where an attempt is made, what holds there, and who is known there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempt::{Refused, Who};
use super::failures::Guesser;
use super::{Access, Browser, Claim, Dynamic, Failures, RouterSettings, Settings};
use crate::auth::Method;
use crate::auth::binding::{BindingType, ChannelBinding};
use crate::auth::certificate::Certificate;
use crate::error::JoinFailure;
use crate::origin::{Origin, Source};
use crate::router::Role;

/// Where an attempt is made, and what holds there.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// What holds everywhere.
    pub router: &'a RouterSettings,
    /// What holds in the realm.
    pub realm: &'a Settings,
    /// What sessions may be in the realm.
    pub roles: &'a [Arc<Role>],
    /// What the listener opens.
    pub access: &'a Access,
    /// Where the client is.
    pub origin: &'a Origin,
    /// Who has failed.
    pub failures: &'a Arc<Failures>,
    /// The browser that the client is in, if it has a cookie.
    pub browser: Option<Browser<'a>>,
    /// The time.
    pub now: Instant,
    /// The world's time.
    pub unix_ms: u64,
}

impl Place<'_> {
    pub(super) fn opens(&self, method: Method) -> bool {
        self.access.opens(method, &self.origin.address)
    }

    /// True if there were too many failures from there.
    pub fn must_wait(&self) -> bool {
        self.guesser().must_wait(self.now)
    }

    /// Counts a failure against the source, if it may have been a guess and is not counted yet.
    pub fn count(&self, refused: Refused) {
        if refused.failure.is_guess() && !refused.counted {
            self.guesser().add(self.now);
        }
    }

    /// The client as somebody who may be guessing.
    pub(super) fn guesser(&self) -> Guesser {
        let RouterSettings { failures_max, failures_ms, .. } = *self.router;
        let (source, window) = (Source::of(&self.origin.address), Duration::from_millis(failures_ms));
        Guesser::new(self.failures.clone(), source, failures_max, window)
    }

    /// Who it says it is, if that one could prove itself by something that it offers; or who stands in for that.
    pub(super) fn who(&self, claim: &Claim) -> Option<Who> {
        let authid = claim.authid.as_deref()?;
        let principals = &self.realm.principals;
        let offered = || {
            let methods = claim.methods().iter().map(|named| named.method);
            methods.filter(|method| self.opens(*method) && claim.can_begin(*method))
        };
        // Chosen in any case, so that it takes no longer for those who are not known.
        let stand_in = principals.stand_in(&self.router.stand_in_key, authid, offered());
        let named = principals.named(authid);
        if let Some(known) = named.filter(|known| offered().any(|method| known.has(method))) {
            return Some(Who::known(known));
        }
        let failure = if named.is_some() { JoinFailure::OtherMethod } else { JoinFailure::UnknownPrincipal };
        stand_in.map(|stand_in| Who { fails: Some(failure), ..Who::known(stand_in) })
    }

    /// Whose certificate the client has shown; none if that is not whom it says it is.
    pub(super) fn certified(&self, claim: &Claim) -> Option<Who> {
        let shown = self.origin.tls.as_ref()?.client_certificate.as_ref()?;
        let certificate = Certificate::read(&shown.der).ok()?;
        let (principals, vouched) = (&self.realm.principals, shown.subject.is_some());
        let principal = match claim.authid.as_deref() {
            None => principals.with_certificate(&certificate, vouched),
            Some(authid) => {
                principals.named(authid).filter(|principal| principal.shows(&certificate, vouched))
            }
        };
        principal.map(Who::known)
    }

    /// True if the client has shown a certificate.
    pub(super) fn shows_certificate(&self) -> bool {
        self.origin.tls.as_ref().is_some_and(|tls| tls.client_certificate.is_some())
    }

    /// True if there are certificates that let somebody in.
    pub(super) fn knows_certificates(&self) -> bool {
        self.realm.principals.have_certificates() || self.realm.method(Method::Tls).dynamic.is_some()
    }

    /// Who signs with the key that the client has shown, or is to fail at that; none if it has shown none, or nobody
    /// here signs.
    pub(super) fn signer(&self, claim: &Claim, named: Option<Who>) -> Option<Option<Who>> {
        let key = claim.pubkey?;
        if claim.authid.is_none() {
            let signer = self.realm.principals.with_key(&key).map(Who::known);
            return (signer.is_some() || self.realm.principals.have_keys()).then_some(signer);
        }
        let mut who = named.filter(|who| who.principal.has(Method::Cryptosign))?;
        if !who.principal.keys.contains(&key) {
            who.fails.get_or_insert(JoinFailure::UnknownPrincipal);
        }
        Some(Some(who))
    }

    /// The procedure that knows those whom we do not know by that method.
    pub(super) fn dynamic(&self, method: Method, known: bool) -> Option<Arc<Dynamic>> {
        self.realm.method(method).dynamic.clone().filter(|_| !known)
    }

    /// What the client's proof is to be bound to, if it wants that.
    ///
    /// The specification lets a router go on without, if it does not have what a signing client asks for. Such a client
    /// would have to notice; it is refused, as it must be with SCRAM.
    pub(super) fn binding(&self, claim: &Claim) -> Result<Option<ChannelBinding>, JoinFailure> {
        let Some(wanted) = claim.channel_binding.as_deref() else { return Ok(None) };
        match (BindingType::from_name(wanted), &self.origin.tls) {
            (Some(binding @ BindingType::TlsExporter), Some(tls)) => {
                Ok(Some(ChannelBinding { binding, octets: tls.exporter.to_vec() }))
            }
            _ => Err(JoinFailure::ChannelBinding),
        }
    }
}
