//! What one shard tells another, and the outboxes in which that waits for the end of the turn.
//!
//! Letters between a pair of shards are first in, first out; a shard writes to itself too. Chains are short: an
//! `Invoke` begets at most one `Complete`, `Return` or `TimeoutForwarded`, a `Progress` at most one `Interrupt`, a
//! `Passthru` at most one `Interrupt`, one `Release` and one `RefuseYield`, a `Meta` at most one `Deliver` for each
//! interested shard and record. A `Complete` or `Release` begets one `Grant` if calls wait, and that an `Invoke` of a
//! call that has waited, or the next `Grant` if it has been canceled. A `Complete` that says that a callee is
//! unavailable begets an `Invoke` of one that was not asked yet. A `Return` or `Desert` begets an `Invoke` for each
//! call it is about, to a callee that came after the one that has gone, or was not asked yet; who is still there and
//! takes nothing counts as asked. A `Round` begets itself
//! once for each shard and, for each session it ends, what the end of a session begets. The others beget nothing, so
//! one input causes bounded work.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::dealer::Answered;
use super::directory::{Callee, Grant, Slot, Workload};
use super::meta::round::Round;
use super::passthru;
use super::publication::Publication;
use super::session::Identity;
use super::{PeerKey, RealmKey, ShardIndex};
use crate::auth::Secret;
use crate::codec::payload::OwnedPayload;
use crate::error::Refusal;
use crate::wamp::options::CancelMode;
use crate::wamp::{Dict, Raw, RegistrationId, RequestId, Serializer, SessionId};

/// A call in the table of its realm in its caller's shard. Never used again: `serial` counts the calls of that table.
/// Whoever holds the key knows the realm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CallKey {
    /// Which call of the table it was.
    pub serial: u64,
    /// Place in the table.
    pub index: u32,
    /// The caller's shard.
    pub shard: ShardIndex,
}

impl Hash for CallKey {
    /// What is equal in these is equal in all.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.serial << 6 | u64::from(self.shard.0));
    }
}

/// A letter; at most 64 bytes, bodies are boxed or shared.
#[derive(Debug)]
pub enum Letter {
    /// To a shard that has subscribers: hand this publication to them.
    Deliver {
        /// Whose rosters.
        realm: RealmKey,
        /// It knows its subscriptions.
        publication: Arc<Publication>,
    },
    /// To a callee's shard: send INVOCATION.
    Invoke {
        /// The callee.
        callee: Callee,
        /// Shared with the caller's shard where that may need it again.
        invoke: Arc<Invoke>,
    },
    /// To a caller's shard: the callee gets no INVOCATION; another may answer.
    Return {
        /// As it came.
        invoke: Arc<Invoke>,
        /// Why.
        why: Returned,
    },
    /// To a shard with calls that wait for a callee of a registration: one of them has one.
    Grant {
        /// Their realm.
        realm: RealmKey,
        /// Where the callee's invocations are counted.
        workload: Arc<Workload>,
        /// Which call, and the callee.
        grant: Box<Grant>,
    },
    /// To a callee's shard, after `Interrupt`: the caller's side of the call is over.
    Release {
        /// The realm.
        realm: RealmKey,
        /// The callee, as the caller's shard knew it.
        callee: PeerKey,
        /// Which of its invocations.
        call: CallKey,
        /// Where that is counted.
        workload: Arc<Workload>,
        /// As what.
        slot: Slot,
    },
    /// To a shard with calls that wait for a callee of the registration: it is no more, or none that is left fits.
    Desert {
        /// Their realm.
        realm: RealmKey,
        /// Which registration.
        registration: RegistrationId,
        /// Which call, if not all.
        call: Option<CallKey>,
    },
    /// To a callee's shard: the registration is no longer the callee's.
    Revoke {
        /// The realm.
        realm: RealmKey,
        /// The callee.
        callee: PeerKey,
        /// Its session: the peer may have left it meanwhile and joined again.
        session: SessionId,
        /// Which of its registrations.
        registration: RegistrationId,
        /// Why, for the callee.
        reason: Option<Box<str>>,
    },
    /// To a caller's shard: answer the call.
    Complete(Box<Complete>),
    /// To a caller's shard: a result came, and more will.
    Progress(Box<Progress>),
    /// To a caller's shard: the callee keeps the time of the call itself.
    TimeoutForwarded {
        /// Its realm.
        realm: RealmKey,
        /// The call.
        call: CallKey,
    },
    /// A browser has logged out: all sessions with its cookie end.
    LoggedOut {
        /// The cookie.
        cookie: Secret,
    },
    /// From a shard that has begun its shutdown, to every other: no `Invoke` of its peers follows.
    Draining {
        /// Who has begun.
        shard: ShardIndex,
    },
    /// From a shard whose shutdown waits for no call any more, to every other: the testaments of its peers stand before
    /// this.
    Bequeathed {
        /// Whose they are.
        shard: ShardIndex,
    },
    /// To a callee's shard: the call was given up; send INTERRUPT if the invocation is open.
    Interrupt {
        /// The callee, as the caller's shard knew it.
        callee: PeerKey,
        /// Where a refusal to be interrupted goes.
        realm: RealmKey,
        /// Which of the callee's invocations.
        call: CallKey,
        /// What the caller asked for.
        mode: CancelMode,
        /// Why: what the caller is told, or would be.
        reason: Refusal,
    },
    /// To a caller's shard: the answer that follows has a payload that is not to be looked into.
    Passthru(Box<PassthruAnswer>),
    /// To a callee's shard: the caller does not take what it has yielded; send ERROR.
    RefuseYield {
        /// The realm of caller and callee.
        realm: RealmKey,
        /// The callee.
        callee: Callee,
        /// The invocation it has answered.
        request: RequestId,
    },
    /// To a realm's home shard: the directory has records to publish.
    Meta {
        /// Whose directory.
        realm: RealmKey,
    },
    /// From a shard to itself: a call of the router's own is over.
    Answered(Box<Answered>),
    /// To every other shard: nobody is in the realm and nobody can join it any more, for it was idle.
    RealmGone {
        /// Which.
        realm: RealmKey,
    },
    /// To a shard that knows or does a part of what a meta procedure is asked for, or in the end to its caller's.
    Round(Box<Round>),
}

const _: () = assert!(size_of::<Letter>() <= 64);

/// What a letter takes beside what it carries: itself, and its body with the allocator's share of it.
const LETTER_BYTES: usize = 256;

impl Letter {
    /// Octets it stands for: what it counts in a mailbox's byte bound and in a turn's share of letters.
    pub fn bytes(&self) -> usize {
        LETTER_BYTES
            + match self {
                Letter::Deliver { publication, .. } => {
                    carried(publication.payload(), &publication.attributes)
                        + publication.particulars.as_ref().map_or(0, |particulars| particulars.bytes())
                }
                Letter::Invoke { invoke, .. } | Letter::Return { invoke, .. } => return invoke.bytes(),
                Letter::Complete(complete) => match &complete.outcome {
                    Outcome::Result { attributes, payload }
                    | Outcome::Error { attributes, payload, .. }
                    | Outcome::Declined { attributes, payload } => carried(payload, attributes),
                    Outcome::Refused(_) => 0,
                },
                Letter::Round(round) => round.errand.bytes(),
                Letter::Progress(progress) => carried(&progress.payload, &progress.attributes),
                // Never in a mailbox.
                Letter::Answered(_)
                | Letter::LoggedOut { .. }
                | Letter::Draining { .. }
                | Letter::RealmGone { .. }
                | Letter::Bequeathed { .. }
                | Letter::Interrupt { .. }
                | Letter::Passthru(_)
                | Letter::RefuseYield { .. }
                | Letter::Meta { .. }
                | Letter::Grant { .. }
                | Letter::Release { .. }
                | Letter::Desert { .. }
                | Letter::Revoke { .. }
                | Letter::TimeoutForwarded { .. } => 0,
            }
    }
}

/// Octets of a payload and what goes with it.
fn carried(payload: &OwnedPayload, attributes: &Option<Attributes>) -> usize {
    payload.borrow().bytes().len() + attributes.as_ref().map_or(0, Attributes::bytes)
}

/// Why a callee gets no INVOCATION.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Returned {
    /// It has left the registration, or its realm.
    Gone,
    /// Its connection is about to end, but the directory does not know it yet.
    Going,
    /// It has as many invocations open as it may.
    Full,
}

/// What a callee's shard needs to send INVOCATION.
#[derive(Clone, Debug)]
pub struct Invoke {
    /// Where the answer goes.
    pub call: CallKey,
    /// The realm of caller and callee.
    pub realm: RealmKey,
    /// Under which of its registrations.
    pub registration: RegistrationId,
    /// The procedure called, if the registration is a pattern.
    pub procedure: Option<Arc<str>>,
    /// What holds for every INVOCATION of the call.
    pub terms: CallTerms,
    /// It goes on with an invocation that the callee has.
    pub further: bool,
    /// More of the call follows.
    pub progress: bool,
    /// Custom attributes of the CALL.
    pub attributes: Option<Attributes>,
    /// Arguments of the CALL.
    pub payload: OwnedPayload,
}

impl Invoke {
    /// Octets it takes, on its way or while it waits. They do not change.
    pub fn bytes(&self) -> usize {
        LETTER_BYTES + carried(&self.payload, &self.attributes)
    }

    /// A further part of the same call, or the last.
    pub fn part(&self, progress: bool, payload: OwnedPayload) -> Invoke {
        Invoke {
            procedure: self.procedure.clone(),
            terms: self.terms.clone(),
            further: true,
            progress,
            attributes: self.attributes.clone(),
            payload,
            ..*self
        }
    }
}

/// What a caller's shard needs to rule on an answer whose payload is not to be looked into.
#[derive(Debug)]
pub struct PassthruAnswer {
    /// The realm of caller and callee.
    pub realm: RealmKey,
    /// The call.
    pub call: CallKey,
    /// The invocation its callee answers by YIELD; none if by ERROR, of which nobody is told that it is refused.
    pub yielded: Option<RequestId>,
}

/// What the first CALL of a call and the realm of its caller say about all of it (advanced profile, "Progressive Call
/// Invocations": the options of further CALLs do not count).
#[derive(Clone, Debug)]
pub struct CallTerms {
    /// Who calls.
    pub caller: Caller,
    /// The callee is told that, even if it does not ask.
    pub disclosed: bool,
    /// The caller takes progressive results.
    pub receive_progress: bool,
    /// How long the answer may take; 0: however long it takes.
    pub timeout_ms: u64,
}

/// Who makes a call.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A session. Shared with it.
    Session(Arc<Identity>),
    /// The router, about this peer of the shard that has the call. It is no session, so callees are told of none,
    /// whatever they ask for.
    Router(PeerKey),
}

/// What a caller's shard needs to send a RESULT that is not the last.
#[derive(Debug)]
pub struct Progress {
    /// The call.
    pub call: CallKey,
    /// Its realm.
    pub realm: RealmKey,
    /// Custom attributes of the YIELD.
    pub attributes: Option<Attributes>,
    /// Its arguments.
    pub payload: OwnedPayload,
}

/// What a caller's shard needs to answer a call.
#[derive(Debug)]
pub struct Complete {
    /// The call.
    pub call: CallKey,
    /// Its realm.
    pub realm: RealmKey,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a call ended.
#[derive(Debug)]
pub enum Outcome {
    /// The callee's YIELD.
    Result {
        /// Custom attributes of the YIELD.
        attributes: Option<Attributes>,
        /// Its arguments.
        payload: OwnedPayload,
    },
    /// The callee's ERROR.
    Error {
        /// The error URI.
        error: Box<str>,
        /// Custom attributes of the ERROR.
        attributes: Option<Attributes>,
        /// Its arguments.
        payload: OwnedPayload,
    },
    /// The callee's ERROR `wamp.error.unavailable`, if it has announced that another callee may take the call then.
    Declined {
        /// Custom attributes of the ERROR.
        attributes: Option<Attributes>,
        /// Its arguments.
        payload: OwnedPayload,
    },
    /// The router's own word.
    Refused(Refusal),
}

/// Options that have attributes among them that travel on (see [`Dict::Extended`]).
#[derive(Clone, Debug)]
pub struct Attributes {
    serializer: Serializer,
    bytes: Box<[u8]>,
    passthru: bool,
}

impl Attributes {
    /// A copy, if `custom` says that there are such attributes; most messages have none.
    pub fn of(options: &Dict<'_>, custom: bool) -> Option<Attributes> {
        match options {
            Dict::Raw(raw) if custom => Some(Attributes {
                serializer: raw.serializer(),
                bytes: raw.bytes().into(),
                passthru: passthru::used(options) == Ok(true),
            }),
            _ => None,
        }
    }

    /// Octets.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// True if they say that the payload is not to be looked into.
    pub fn passthru(&self) -> bool {
        self.passthru
    }

    /// As it is taken by [`Dict::Extended`].
    pub fn borrow(&self) -> Raw<'_> {
        Raw::checked(self.serializer, &self.bytes)
    }
}

/// `pairs`, and the attributes if there are any.
pub fn details<'a>(
    pairs: &'a [(&'a str, crate::wamp::Value<'a>)],
    attributes: &'a Option<Attributes>,
) -> Dict<'a> {
    match attributes {
        Some(attributes) => Dict::Extended(pairs, attributes.borrow()),
        None => Dict::Pairs(pairs),
    }
}

/// The outboxes of a shard, one for each shard, its own included.
#[derive(Debug)]
pub struct Letters {
    outboxes: Box<[Vec<Letter>]>,
}

impl Letters {
    /// Empty outboxes.
    pub fn new(shard_count: usize) -> Letters {
        Letters { outboxes: (0..shard_count).map(|_| Vec::new()).collect() }
    }

    /// Every shard but this one.
    pub fn others(&self, than: ShardIndex) -> impl Iterator<Item = ShardIndex> + use<> {
        (0..self.outboxes.len()).map(|index| ShardIndex(index as u8)).filter(move |shard| *shard != than)
    }

    /// Puts a letter last in an outbox.
    pub fn post(&mut self, to: ShardIndex, letter: Letter) {
        self.outboxes[to.index()].push(letter);
    }

    /// The outbox for one shard.
    pub fn outbox(&mut self, to: ShardIndex) -> &mut Vec<Letter> {
        &mut self.outboxes[to.index()]
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.outboxes.iter().all(Vec::is_empty)
    }
}
