//! One attempt to join: which method it is, what is asked, and what the answer is worth.
//!
//! [`begin`] takes what HELLO says and picks the method; [`Attempt::answer`] takes AUTHENTICATE. In between an attempt
//! is what is kept for the client: its claim, which is bounded, and what it was asked.
//!
//! A procedure that knows principals (see [`Dynamic`]) is asked where [`Step::Ask`] and [`Answer::Ask`] come out:
//! before the challenge, but for tickets, which it is told. What it says goes on with [`challenge`] or [`join`].

use std::sync::Arc;

use super::claim::Named;
use super::{Check, Claim, Dynamic, Extra, Outcome, Place, Principal, RouterSettings};
use crate::auth::binding::ChannelBinding;
use crate::auth::cryptosign::{self, PublicKey};
use crate::auth::jwt::TokenError;
use crate::auth::scram::{self, Dialect, Exchange};
use crate::auth::{Method, Secret, base64, wampcra};
use crate::codec;
use crate::error::JoinFailure;
use crate::router::entropy::Entropy;
use crate::router::{Clock, PeerKey, Role};
use crate::wamp::message::Authenticate;
use crate::wamp::{Dict, SessionId, Value};

/// Who vouches for principals out of the settings.
pub(super) const STATIC: &str = "static";

/// How an attempt goes on after HELLO.
#[derive(Debug)]
pub enum Step {
    /// Whoever it is may join.
    Join(Box<Proved>),
    /// CHALLENGE, see [`Attempt::say_challenge`].
    Challenge(Box<Attempt>),
    /// A procedure is to be asked.
    Ask(Box<Question>),
    /// ABORT.
    Refuse(Refused),
}

/// How an attempt goes on after AUTHENTICATE.
#[derive(Debug)]
pub enum Answer {
    /// Whoever it is may join.
    Join(Box<Proved>),
    /// It has to be checked elsewhere; then [`Attempt::checked`] knows more.
    Check(Check),
    /// A procedure is to be asked.
    Ask(Box<Question>),
    /// ABORT.
    Refuse(Refused),
}

/// Why not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Why.
    pub failure: JoinFailure,
    /// What a token was refused for.
    pub token: Option<TokenError>,
    /// It is counted against the source already.
    pub counted: bool,
}

impl From<JoinFailure> for Refused {
    fn from(failure: JoinFailure) -> Refused {
        Refused { failure, token: None, counted: false }
    }
}

/// Who has joined.
#[derive(Clone, Debug)]
pub struct Proved {
    /// Its name, if it has one already.
    pub authid: Option<Box<str>>,
    /// What it is.
    pub role: Arc<Role>,
    /// How it has proved who it is, by the name that it has used.
    pub authmethod: &'static str,
    /// Who has vouched for it.
    pub authprovider: &'static str,
    /// How it has proved who it is, and not only that it is there again: with a cookie, what that was given for.
    pub proof: Method,
    /// What WELCOME says besides.
    pub extra: Option<Extra>,
    /// What is known of it, if the settings know it.
    pub principal: Option<Arc<Principal>>,
    /// The proof of the router, and what it is called.
    pub verifier: Option<(&'static str, String)>,
    /// The identifier that was promised to its session.
    pub session: Option<SessionId>,
}

/// What a procedure is to be asked.
#[derive(Debug)]
pub struct Question {
    /// The procedure.
    pub dynamic: Arc<Dynamic>,
    /// The method.
    pub named: Named,
    /// What the client says of itself.
    pub claim: Claim,
    /// The ticket, if it is one that is to be judged.
    pub ticket: Option<Secret>,
    /// The identifier that its session is to have.
    pub session: SessionId,
}

/// Somebody whom an attempt is about.
#[derive(Clone, Debug)]
pub struct Who {
    /// It, or who stands in for it.
    pub principal: Arc<Principal>,
    /// Why the attempt fails, whatever is answered: it is somebody else.
    pub fails: Option<JoinFailure>,
    /// Who knows it.
    pub authprovider: &'static str,
}

impl Who {
    pub(super) fn known(principal: &Arc<Principal>) -> Who {
        Who { principal: principal.clone(), fails: None, authprovider: STATIC }
    }
}

/// An attempt that waits for the answer to a challenge.
#[derive(Debug)]
pub struct Attempt {
    pub(super) claim: Claim,
    pub(super) named: Named,
    /// None if there is nobody who could be meant or stand in: only a token can prove something.
    pub(super) who: Option<Who>,
    role: Option<Arc<Role>>,
    pub(super) session: SessionId,
    asked: Asked,
}

/// What was asked.
#[derive(Debug)]
enum Asked {
    Ticket {
        /// Who judges it.
        dynamic: Option<Arc<Dynamic>>,
    },
    WampCra {
        challenge: String,
        stored: wampcra::Stored,
    },
    Scram {
        dialect: Dialect,
        /// Both nonces.
        nonce: String,
        stored: scram::Stored,
        binding: Option<ChannelBinding>,
    },
    Cryptosign {
        challenge: cryptosign::Challenge,
        key: PublicKey,
        binding: Option<ChannelBinding>,
    },
}

/// Tries the client's methods in its order.
pub fn begin(claim: Claim, place: &Place<'_>, entropy: &mut Entropy) -> Step {
    let (mut failure, mut who) = (JoinFailure::NoMethod, None);
    for index in 0..claim.methods().len() {
        let named = claim.methods()[index];
        if !place.opens(named.method) {
            continue;
        }
        if named.method == Method::Anonymous {
            match &place.realm.anonymous {
                Some(_) => return anonymous(claim, named, place, entropy),
                None => continue,
            }
        }
        if claim.names_nobody {
            return Step::Refuse(JoinFailure::UnknownPrincipal.into());
        }
        if named.method == Method::Cookie {
            match place.known_again(&claim, named) {
                Some(known) => return known.into(),
                None => continue,
            }
        }
        let who = who.get_or_insert_with(|| place.who(&claim)).clone();
        let Some(who) = candidate(&claim, named.method, who, place) else {
            if named.method == Method::Tls {
                failure = if place.knows_certificates() { JoinFailure::Certificate } else { failure };
            } else if !claim.can_begin(named.method) {
                failure = JoinFailure::Incomplete;
            }
            continue;
        };
        // Nobody guesses a key: who has one is not shut out by others behind the same address. Who has not is told so
        // when it has answered.
        let has_key = matches!(named.method, Method::Cryptosign | Method::Tls);
        if place.must_wait() && !(has_key && matches!(who, Candidate::Who(_))) {
            return Step::Refuse(JoinFailure::TooMany.into());
        }
        return match (named.method, who) {
            (Method::Ticket, Candidate::Dynamic(dynamic)) => {
                ticket(claim, named, None, Some(dynamic), place, entropy)
            }
            (_, Candidate::Dynamic(dynamic)) => {
                let session = entropy.session();
                Step::Ask(Box::new(Question { dynamic, named, claim, ticket: None, session }))
            }
            (Method::Tls, Candidate::Who(Some(who))) => join(&claim, named, &who, place).into(),
            (_, Candidate::Who(who)) => {
                let session = entropy.session();
                challenge(claim, named, who, session, place, entropy)
            }
        };
    }
    Step::Refuse(failure.into())
}

/// Whom a method is about.
enum Candidate {
    /// This one, whom it stands in for, or nobody who could prove anything.
    Who(Option<Who>),
    /// Whom this procedure knows.
    Dynamic(Arc<Dynamic>),
}

/// Whom a method would be about; none if it is of no use to this client.
fn candidate(claim: &Claim, method: Method, named: Option<Who>, place: &Place<'_>) -> Option<Candidate> {
    let dynamic = |known| place.dynamic(method, known).map(Candidate::Dynamic);
    // Who is known here, but by other methods, is one more whom only the procedure knows.
    let is_known = named.as_ref().is_some_and(|who| who.fails.is_none() && who.principal.has(method));
    match method {
        Method::Anonymous | Method::Cookie => None,
        Method::Tls => match place.certified(claim) {
            Some(who) => Some(Candidate::Who(Some(who))),
            // What TLS has proved is all that there is: without a certificate there is nothing to ask about.
            None => dynamic(is_known).filter(|_| place.shows_certificate()),
        },
        Method::Cryptosign => {
            let by_key = claim.pubkey.is_some_and(|key| place.realm.principals.with_key(&key).is_some());
            let known = if claim.authid.is_some() { is_known } else { by_key };
            dynamic(known).or_else(|| place.signer(claim, named).map(Candidate::Who))
        }
        Method::Ticket => {
            // As in Crossbar.io, a procedure may find the name in the ticket.
            if let Some(dynamic) = dynamic(is_known) {
                return Some(dynamic);
            }
            let named = named.filter(|who| who.principal.has(Method::Ticket));
            (named.is_some() || place.realm.jwt.is_some()).then_some(Candidate::Who(named))
        }
        Method::Scram if claim.nonce.is_none() => None,
        // There a procedure may name who signs with a shared secret, too; SCRAM's proof is made with the name.
        Method::WampCra if claim.authid.is_none() => dynamic(false),
        Method::Scram | Method::WampCra => {
            claim.authid.as_ref()?;
            let of_named =
                || named.filter(|who| who.principal.has(method)).map(|who| Candidate::Who(Some(who)));
            dynamic(is_known).or_else(of_named)
        }
    }
}

fn anonymous(mut claim: Claim, named: Named, place: &Place<'_>, entropy: &mut Entropy) -> Step {
    let Some(anonymous) = &place.realm.anonymous else { return Step::Refuse(JoinFailure::NoMethod.into()) };
    let here = place.access.anonymous(&place.origin.address);
    if let Some(dynamic) = anonymous.dynamic.clone().filter(|_| here.is_none()) {
        // What it says of itself besides may be a guess, and is judged by the procedure as other guesses are.
        if place.must_wait() {
            return Step::Refuse(JoinFailure::TooMany.into());
        }
        // Whoever it is has a name when it is asked about. It is not the one that it says, as in Crossbar.io: nothing
        // proves that, and a procedure that only says a role would give it somebody's who is known.
        claim.authid = Some(anonymous.authid.clone().unwrap_or_else(|| entropy.authid().into()));
        let session = entropy.session();
        return Step::Ask(Box::new(Question { dynamic, named, claim, ticket: None, session }));
    }
    let (role, authid) = match here {
        Some(here) => (here.role_among(place.roles), here.authid.clone()),
        None => (Some(anonymous.role.clone()), anonymous.authid.clone()),
    };
    let Some(role) = role else { return Step::Refuse(JoinFailure::NoSuchRole.into()) };
    let proved = Proved {
        authid,
        role,
        authmethod: named.name,
        authprovider: STATIC,
        proof: named.method,
        extra: None,
        principal: None,
        verifier: None,
        session: None,
    };
    wanted(&claim, proved).into()
}

/// Lets somebody in of whom nothing more has to be proved.
pub fn join(claim: &Claim, named: Named, who: &Who, place: &Place<'_>) -> Result<Box<Proved>, Refused> {
    let role = role(named.method, who, place).ok_or(JoinFailure::NoSuchRole)?;
    wanted(claim, proved(named, who, role))
}

pub(super) fn role(method: Method, who: &Who, place: &Place<'_>) -> Option<Arc<Role>> {
    who.principal.role.clone().or_else(|| place.realm.method(method).default_role.clone())
}

fn proved(named: Named, who: &Who, role: Arc<Role>) -> Proved {
    Proved {
        authid: Some(who.principal.authid.clone()),
        role,
        authmethod: named.name,
        authprovider: who.authprovider,
        proof: named.method,
        extra: who.principal.extra.clone(),
        principal: (who.authprovider == STATIC).then(|| who.principal.clone()),
        verifier: None,
        session: None,
    }
}

/// Refuses who wants to be something else than it is.
pub(super) fn wanted(claim: &Claim, proved: Proved) -> Result<Box<Proved>, Refused> {
    let other = claim.authrole.as_deref().is_some_and(|wanted| *wanted != *proved.role.name);
    if other { Err(JoinFailure::NoSuchRole.into()) } else { Ok(Box::new(proved)) }
}

impl From<Result<Box<Proved>, Refused>> for Step {
    fn from(result: Result<Box<Proved>, Refused>) -> Step {
        result.map_or_else(Step::Refuse, Step::Join)
    }
}

impl From<Result<Box<Proved>, Refused>> for Answer {
    fn from(result: Result<Box<Proved>, Refused>) -> Answer {
        result.map_or_else(Answer::Refuse, Answer::Join)
    }
}

/// Asks somebody to prove that it is who it says.
pub fn challenge(
    claim: Claim,
    named: Named,
    who: Option<Who>,
    session: SessionId,
    place: &Place<'_>,
    entropy: &mut Entropy,
) -> Step {
    let role = who.as_ref().and_then(|who| role(named.method, who, place));
    let asked = match named.method {
        Method::Ticket => return ticket(claim, named, who, None, place, entropy),
        Method::WampCra => ask_wampcra(&claim, who.as_ref(), role.as_deref(), session, place, entropy),
        Method::Scram => ask_scram(&claim, named, who.as_ref(), place, entropy),
        Method::Cryptosign => ask_cryptosign(&claim, place, entropy),
        Method::Anonymous | Method::Cookie | Method::Tls => Err(JoinFailure::NoMethod),
    };
    match asked {
        Ok(asked) => Step::Challenge(Box::new(Attempt { claim, named, who, role, session, asked })),
        Err(failure) => Step::Refuse(failure.into()),
    }
}

fn ticket(
    claim: Claim,
    named: Named,
    who: Option<Who>,
    dynamic: Option<Arc<Dynamic>>,
    place: &Place<'_>,
    entropy: &mut Entropy,
) -> Step {
    let role = who.as_ref().and_then(|who| role(named.method, who, place));
    let (session, asked) = (entropy.session(), Asked::Ticket { dynamic });
    Step::Challenge(Box::new(Attempt { claim, named, who, role, session, asked }))
}

fn ask_wampcra(
    claim: &Claim,
    who: Option<&Who>,
    role: Option<&Role>,
    session: SessionId,
    place: &Place<'_>,
    entropy: &mut Entropy,
) -> Result<Asked, JoinFailure> {
    let (Some(who), Some(authid)) = (who, claim.authid.as_deref()) else { return Err(JoinFailure::NoMethod) };
    let mut stored = who.principal.wampcra.clone().ok_or(JoinFailure::NoMethod)?;
    let authrole = &*role.ok_or(JoinFailure::NoSuchRole)?.name;
    // Made in any case, so that it takes no longer for those who are not known.
    let decoy = wampcra::Stored::decoy(&place.router.stand_in_key, authid, stored.salting.as_ref());
    if who.fails.is_some() {
        stored = decoy;
    }
    let (nonce, timestamp) = (base64(&entropy.octets::<24>()), Clock::utc(place.unix_ms));
    let challenge = wampcra::Challenge {
        authid,
        authrole,
        authmethod: Method::WampCra.name(),
        authprovider: who.authprovider,
        nonce: &nonce,
        timestamp: &timestamp,
        session: session.0,
    };
    Ok(Asked::WampCra { challenge: challenge.text(), stored })
}

fn ask_scram(
    claim: &Claim,
    named: Named,
    who: Option<&Who>,
    place: &Place<'_>,
    entropy: &mut Entropy,
) -> Result<Asked, JoinFailure> {
    let (Some(who), Some(authid), Some(nonce)) = (who, claim.authid.as_deref(), claim.nonce.as_deref())
    else {
        return Err(JoinFailure::NoMethod);
    };
    let mut stored = who.principal.scram.clone().ok_or(JoinFailure::NoMethod)?;
    let decoy = scram::Stored::decoy(&place.router.stand_in_key, authid, &stored);
    if who.fails.is_some() {
        stored = decoy;
    }
    let dialect = Dialect::from_authmethod(named.name).unwrap_or(Dialect::Specified);
    let binding = place.binding(claim)?;
    if dialect == Dialect::Crossbar && binding.is_some() {
        return Err(JoinFailure::ChannelBinding);
    }
    let nonce = format!("{nonce}{}", base64(&entropy.octets::<18>()));
    Ok(Asked::Scram { dialect, nonce, stored, binding })
}

fn ask_cryptosign(claim: &Claim, place: &Place<'_>, entropy: &mut Entropy) -> Result<Asked, JoinFailure> {
    let key = claim.pubkey.ok_or(JoinFailure::NoMethod)?;
    // The router signs what anybody asks it to: with its own key, everybody could join as whoever has that.
    if place.router.router_key.as_ref().is_some_and(|own| own.public() == key) {
        return Err(JoinFailure::UnknownPrincipal);
    }
    let binding = place.binding(claim)?;
    Ok(Asked::Cryptosign { challenge: cryptosign::Challenge::new(entropy.octets()), key, binding })
}

impl Attempt {
    /// Who it says it is.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The method, by the name that the client has used.
    pub fn authmethod(&self) -> &'static str {
        self.named.name
    }

    /// Calls `say` with what CHALLENGE says. The router signs what the client has asked it to, if it has a key.
    pub fn say_challenge<T>(&self, router: &RouterSettings, say: impl FnOnce(&str, Dict<'_>) -> T) -> T {
        let name = self.named.name;
        match &self.asked {
            Asked::Ticket { .. } => say(name, Dict::EMPTY),
            Asked::WampCra { challenge, stored } => {
                let mut extra = vec![("challenge", Value::text(challenge))];
                if let Some(salting) = &stored.salting {
                    extra.push(("salt", Value::text(&salting.salt)));
                    extra.push(("keylen", Value::Unsigned(salting.keylen.into())));
                    extra.push(("iterations", Value::Unsigned(salting.iterations.into())));
                }
                say(name, Dict::Pairs(&extra))
            }
            Asked::Scram { dialect, nonce, stored, binding } => {
                let salt = stored.salt();
                let exchange = self.exchange(*dialect, nonce, &salt, stored, binding.as_ref());
                say(name, Dict::Pairs(&exchange.challenge()))
            }
            Asked::Cryptosign { challenge, binding, .. } => {
                let challenge = challenge.text();
                let bound = binding.as_ref().map(|bound| Value::text(bound.binding.name()));
                let mut extra = vec![
                    ("challenge", Value::text(&challenge)),
                    ("channel_binding", bound.unwrap_or(Value::Null)),
                ];
                let channel_id = binding.as_ref().and_then(ChannelBinding::channel_id);
                let proof =
                    router.router_key.as_ref().zip(self.claim.challenge).map(|(key, theirs)| {
                        (key.public().to_string(), theirs.answer(key, channel_id.as_ref()))
                    });
                if let Some((pubkey, signature)) = &proof {
                    extra.push(("pubkey", Value::text(pubkey)));
                    extra.push(("signature", Value::text(signature)));
                }
                say(name, Dict::Pairs(&extra))
            }
        }
    }

    fn exchange<'a>(
        &'a self,
        dialect: Dialect,
        nonce: &'a str,
        salt: &'a str,
        stored: &scram::Stored,
        binding: Option<&'a ChannelBinding>,
    ) -> Exchange<'a> {
        Exchange {
            dialect,
            authid: self.claim.authid.as_deref().unwrap_or_default(),
            client_nonce: self.claim.nonce.as_deref().unwrap_or_default(),
            nonce,
            salt,
            cost: stored.cost(),
            binding,
        }
    }

    /// Takes the answer, from the peer of that name. It is the only one: there is no other try.
    pub fn answer(&self, key: PeerKey, answer: &Authenticate<'_>, place: &Place<'_>) -> Answer {
        // Many may have begun before the first of them failed.
        let too_many = Answer::Refuse(JoinFailure::TooMany.into());
        let waits = place.must_wait();
        if waits && !matches!(self.asked, Asked::Cryptosign { .. }) {
            return too_many;
        }
        let signature = &*answer.signature;
        match &self.asked {
            Asked::Ticket { dynamic } => self.on_ticket(key, signature, dynamic.as_ref(), place),
            Asked::WampCra { challenge, stored } => {
                self.proved(wampcra::verify(&stored.secret, challenge, signature)).into()
            }
            Asked::Scram { dialect, nonce, stored, binding } => {
                let salt = stored.salt();
                let exchange = self.exchange(*dialect, nonce, &salt, stored, binding.as_ref());
                let verifier = verify_scram(&exchange, stored, answer);
                self.proved(verifier.is_some())
                    .map(|proved| {
                        let verifier = verifier.map(|verifier| said_verifier(*dialect, verifier));
                        Box::new(Proved { verifier, ..*proved })
                    })
                    .into()
            }
            Asked::Cryptosign { challenge, key, binding } => {
                let channel_id = binding.as_ref().and_then(ChannelBinding::channel_id);
                match self.proved(challenge.verify(key, channel_id.as_ref(), signature)) {
                    Err(_) if waits => too_many,
                    proved => proved.into(),
                }
            }
        }
    }

    /// The ticket has been looked at elsewhere.
    pub fn checked(&self, outcome: Outcome) -> Answer {
        match outcome {
            Outcome::Right => self.proved(true).into(),
            Outcome::Wrong => {
                let counted = |refused| Refused { counted: true, ..refused };
                self.proved(false).map_err(counted).into()
            }
            Outcome::TooMany => Answer::Refuse(JoinFailure::TooMany.into()),
            Outcome::Unavailable => Answer::Refuse(JoinFailure::Unavailable.into()),
        }
    }

    /// Whoever it is has proved it, or not.
    pub(super) fn proved(&self, proof: bool) -> Result<Box<Proved>, Refused> {
        let who = self.who.as_ref().ok_or(JoinFailure::UnknownPrincipal)?;
        who.fails.map_or(Ok(()), Err)?;
        if !proof {
            return Err(JoinFailure::WrongSecret.into());
        }
        let role = self.role.clone().ok_or(JoinFailure::NoSuchRole)?;
        let session = Some(self.session);
        wanted(&self.claim, Proved { session, ..proved(self.named, who, role) })
    }
}

fn verify_scram(
    exchange: &Exchange<'_>,
    stored: &scram::Stored,
    answer: &Authenticate<'_>,
) -> Option<String> {
    let (mut nonce, mut channel_binding, mut cbind_data) = (None, None, None);
    for (key, value) in codec::entries(&answer.extra) {
        let Value::Text(text) = value else { continue };
        match &*key {
            "nonce" => nonce = Some(text),
            "channel_binding" => channel_binding = Some(text),
            "cbind_data" => cbind_data = Some(text),
            _ => {}
        }
    }
    let response = scram::Response {
        proof: &answer.signature,
        nonce: nonce.as_deref(),
        channel_binding: channel_binding.as_deref(),
        cbind_data: cbind_data.as_deref(),
    };
    exchange.verify(stored, &response)
}

/// The router's own proof as WELCOME has it. The specification's text says base64, its example has `v=` before that;
/// the example is what implementations have been made after.
fn said_verifier(dialect: Dialect, verifier: String) -> (&'static str, String) {
    match dialect {
        Dialect::Specified => ("verifier", format!("v={verifier}")),
        Dialect::Crossbar => ("scram_server_signature", verifier),
    }
}
