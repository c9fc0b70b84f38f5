//! What is drawn once for a run: how many of everything, which limits are small, and how often each thing happens.
//!
//! Weights are drawn per run and are often 0 ("swarm"): a run that never unsubscribes reaches states that a run in
//! which everything happens equally often does not.

use std::sync::Arc;

use fanwire::limits::Limits;
use fanwire::router::authentication::{Access, RouterSettings};
use fanwire::router::{ListenerSettings, RealmSettings, RequestIds, Settings};
use fanwire::transport;
use fanwire::wamp::Serializer;

use crate::allowed;
use crate::chance::Chance;
use crate::checkers::REALM_CHECKS;
use crate::client::{Act, FORESEEABLE};

/// Which request ids the listeners take, in their order.
pub const REQUEST_IDS: [RequestIds; 4] =
    [RequestIds::Strict, RequestIds::Strict, RequestIds::Increasing, RequestIds::Any];

/// What the driver may do next in a run that is not calm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// A client says something.
    Act,
    /// Bytes reach a shard.
    Upload,
    /// Letters reach a shard.
    Letters,
    /// A socket takes bytes.
    Write,
    /// A client stops or starts reading.
    Reading,
    /// A connection breaks.
    Reset,
    /// A client will send no more.
    HalfClose,
    /// Some milliseconds pass.
    Tick,
    /// Time passes until the next deadline.
    Deadline,
    /// A shard is told of congestion, or of its end.
    Congest,
    /// A client connects.
    Connect,
    /// Everything comes to rest.
    Rest,
}

impl Deed {
    pub const ALL: [Deed; 12] = [
        Deed::Act,
        Deed::Upload,
        Deed::Letters,
        Deed::Write,
        Deed::Reading,
        Deed::Reset,
        Deed::HalfClose,
        Deed::Tick,
        Deed::Deadline,
        Deed::Congest,
        Deed::Connect,
        Deed::Rest,
    ];
}

/// What was drawn.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every message is handled to its end before the next: the outcome must be the naive router's.
    pub calm: bool,
    pub shard_count: usize,
    pub realm_count: usize,
    pub clients_max: usize,
    pub steps: usize,
    pub limits: Limits,
    /// By [`Act::ALL`].
    pub acts: [usize; Act::ALL.len()],
    /// By [`Deed::ALL`].
    pub deeds: [usize; Deed::ALL.len()],
    /// Of 100 uploads, how many bring everything at once.
    pub whole_uploads: usize,
    /// Of 100 clients, how many watch the router's own events.
    pub watchers: usize,
    /// Of 100 times that a joined client says something, how often it joins again without waiting for an answer.
    pub rejoins: usize,
    /// Of 100 times that a joined client says something in a run that is not calm, how often that is a testament.
    pub testaments: usize,
    /// And how often it kills another session.
    pub kills: usize,
    /// And how often it takes a subscription or registration away from another session, or from its own.
    pub revocations: usize,
    /// Of 100 registrations in such a run, how many take the procedure away from others.
    pub forces: Option<usize>,
    /// Of 100 inputs, how many are not the last of their turn.
    pub long_turns: usize,
    /// The run ends with a shutdown of the router.
    pub drain: bool,
    /// Clients publish to be retained and ask for what is: where no limit keeps it from them, and the naive router,
    /// which retains nothing, is not asked.
    pub retention: bool,
    /// Every callee registers with this policy, so that registrations have several callees.
    pub invoke: Option<&'static str>,
}

impl Plan {
    /// `rejoins` is drawn by a chance of its own, and so are `testaments` and `kills`, and `revocations`: seeds in which
    /// they are 0 run as they would without them.
    pub fn draw(
        chance: &mut Chance,
        rejoins: &mut Chance,
        meta: &mut Chance,
        revocations: &mut Chance,
    ) -> Plan {
        let calm = chance.percent(30);
        let mut limits = Limits::DEFAULT;
        limits.message_bytes_max = 1 << 16;
        if !calm {
            draw_limits(&mut limits, chance);
        }
        limits.rawsocket_silence_ms_max = *chance.pick(&[0, 60_000, 60_000]).expect("three are given");
        limits.match_cache_entries_max = *chance.pick(&[1, 2, 8, 8_192]).expect("four are given");
        let shard_count = match chance.below(20) {
            0..=4 => 1,
            5..=18 => chance.between(2, 8),
            _ => 64,
        };
        let mut acts = weights(&[10, 5, 14, 8, 3, 12, 12, 6, 1, 1], chance);
        for needed in [Act::Subscribe, Act::Publish, Act::Register] {
            acts[needed as usize] += 1;
        }
        let mut deeds = weights(&[40, 40, 30, 15, 4, 1, 1, 3, 1, 3, 3, 1], chance);
        // A jump of the clock ends every handshake that is under way, so in most runs there is none.
        if chance.percent(60) {
            deeds[Deed::Deadline as usize] = 0;
        }
        for needed in [Deed::Act, Deed::Upload, Deed::Letters, Deed::Write, Deed::Connect] {
            deeds[needed as usize] += 3;
        }
        let rejoins = *rejoins.pick(&[0, 0, 3, 8]).expect("four are given");
        let realm_counts = if rejoins == 0 { &[1, 1, 2, 3] } else { &[1, 2, 2, 3] };
        let testaments = *meta.pick(&[0, 0, 0, 4, 12]).expect("five are given");
        let kills = if testaments == 0 { 0 } else { *meta.pick(&[0, 1, 2, 5]).expect("four are given") };
        // The naive router takes nothing away.
        let often = if calm { 0 } else { *revocations.pick(&[0, 0, 4, 10]).expect("four are given") };
        let forces = (often > 0).then(|| *revocations.pick(&[0, 20, 50]).expect("three are given"));
        let retention = !calm
            && limits.outbound_bytes_max == Limits::DEFAULT.outbound_bytes_max
            && limits.outbound_shard_bytes_max == Limits::DEFAULT.outbound_shard_bytes_max;
        Plan {
            calm,
            retention,
            shard_count,
            realm_count: *chance.pick(realm_counts).expect("four are given"),
            clients_max: chance.between(3, 12),
            steps: if calm { chance.between(60, 240) } else { chance.between(100, 900) },
            limits,
            acts,
            deeds,
            whole_uploads: *chance.pick(&[0, 50, 90, 100]).expect("four are given"),
            watchers: *chance.pick(&[0, 10, 10, 40]).expect("four are given"),
            rejoins,
            testaments,
            kills,
            revocations: often,
            forces,
            long_turns: *chance.pick(&[0, 20, 60]).expect("three are given"),
            drain: chance.percent(20),
            invoke: if chance.percent(40) { chance.pick(&FORESEEABLE).copied() } else { None },
        }
    }

    /// The router's settings: a realm for each rule of URIs, a listener for each entry of [`REQUEST_IDS`].
    pub fn settings(&self) -> Settings {
        let transport = Arc::new(transport::Settings {
            message_bytes_max: self.limits.message_bytes_max,
            peer_message_bytes_min: 512,
            serializers: [true; Serializer::COUNT],
            rawsocket: true,
            websocket: true,
            longpoll: None,
            pages: Default::default(),
        });
        let listener = |request_ids| ListenerSettings {
            transport: transport.clone(),
            request_ids,
            forwarded_from: Vec::new(),
            access: Access::default(),
        };
        let realm = |(index, uri_check)| {
            allowed::rule(index, RealmSettings { uri_check, ..RealmSettings::open(realm_name(index)) })
        };
        Settings {
            limits: self.limits.clone(),
            realms: REALM_CHECKS.into_iter().enumerate().take(self.realm_count).map(realm).collect(),
            listeners: REQUEST_IDS.map(listener).to_vec(),
            agent: "simulation".to_owned(),
            authentication: RouterSettings::default(),
        }
    }
}

/// The name of a realm by its number.
pub fn realm_name(index: usize) -> String {
    format!("realm{index}")
}

/// A fifth of them 0, the others around what is usual.
fn weights<const N: usize>(usual: &[usize; N], chance: &mut Chance) -> [usize; N] {
    usual.map(|usual| if chance.percent(20) { 0 } else { chance.between(1, 2 * usual) })
}

fn draw_limits(limits: &mut Limits, chance: &mut Chance) {
    let mut small = |limit: &mut usize, percent, low, high| {
        if chance.percent(percent) {
            *limit = chance.between(low, high);
        }
    };
    small(&mut limits.outbound_bytes_max, 25, 8_192, 20_000);
    small(&mut limits.outbound_bytes_soft, 35, 64, 2_048);
    small(&mut limits.outbound_shard_bytes_max, 10, 10_000, 40_000);
    small(&mut limits.subscriptions_per_session_max, 15, 1, 4);
    small(&mut limits.registrations_per_session_max, 15, 1, 4);
    small(&mut limits.calls_open_per_session_max, 15, 1, 3);
    small(&mut limits.invocations_open_per_session_max, 15, 1, 3);
    small(&mut limits.call_kept_bytes_max, 15, 600, 2_000);
    small(&mut limits.pattern_shapes_max, 15, 1, 3);
    if chance.percent(30) {
        limits.goodbye_ms_max = 60_000;
    }
    if limits.outbound_bytes_max < Limits::DEFAULT.outbound_bytes_max {
        limits.message_bytes_max = 4_096;
    }
}
