//! What only the meta API asks of a directory (advanced profile, "Subscription Meta API", "Registration Meta API").
//!
//! A question by identifier costs the same however many there are. A list walks all entries, one partition at a time,
//! under that partition's lock for reading: what comes or goes meanwhile may be in the answer or not.

use std::sync::Arc;

use super::table::Table;
use super::{Directory, DirectoryKey, Registration, Subscription, UnixMs};
use crate::wamp::{MatchPolicy, RegistrationId, SubscriptionId};

/// A subscription, as the meta API tells of it. Who has it say the rosters of its shards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubscriptionListing {
    /// Its identifier.
    pub id: SubscriptionId,
    /// The URI or pattern.
    pub topic: Box<str>,
    /// How it is matched.
    pub policy: MatchPolicy,
    /// When the first subscriber came.
    pub created: UnixMs,
    /// The shards that hold subscribers: bit 0 is shard 0.
    pub shards: u64,
}

/// Identifiers by match policy, each list in growing order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdsByPolicy<I>([Vec<I>; 3]);

impl<I> IdsByPolicy<I> {
    /// Those of one policy.
    pub fn of(&self, policy: MatchPolicy) -> &[I] {
        &self.0[policy as usize]
    }
}

impl Directory {
    /// The subscription of that identifier.
    pub fn subscription_by_id(&self, id: SubscriptionId) -> Option<SubscriptionListing> {
        let DirectoryKey { partition, entry } = self.topics.place_of(id.0)?;
        let subscriptions = self.topics.partition(partition).entries.read();
        let entry = subscriptions.entry(entry).filter(|entry| { entry.value.id } == id)?;
        let Subscription { shards, created, .. } = entry.value;
        let (topic, policy) = (entry.uri().into(), entry.policy);
        Some(SubscriptionListing { id, topic, policy, created: created.unix_ms(), shards })
    }

    /// All subscriptions.
    pub fn subscription_ids(&self) -> IdsByPolicy<SubscriptionId> {
        self.topics.ids(|subscription| subscription.id)
    }

    /// The registration of exactly this procedure or pattern, if anybody has it.
    pub fn registration_of(&self, procedure: &str, policy: MatchPolicy) -> Option<Arc<Registration>> {
        let (_, partition) = self.procedures.partition_of(procedure, policy);
        let registrations = partition.entries.read();
        let key = registrations.find(procedure, policy)?;
        registrations.entry(key).map(|entry| entry.value.clone())
    }

    /// The registration of that identifier, its callees included, and where it stands.
    pub fn registration_by_id(&self, id: RegistrationId) -> Option<(DirectoryKey, Arc<Registration>)> {
        let key = self.procedures.place_of(id.0)?;
        let registrations = self.procedures.partition(key.partition).entries.read();
        let entry = registrations.entry(key.entry).filter(|entry| entry.value.id == id)?;
        Some((key, entry.value.clone()))
    }

    /// All registrations.
    pub fn registration_ids(&self) -> IdsByPolicy<RegistrationId> {
        self.procedures.ids(|registration| registration.id)
    }
}

impl<V> Table<V> {
    fn ids<I: Ord>(&self, id: impl Fn(&V) -> I) -> IdsByPolicy<I> {
        let mut lists = [const { Vec::new() }; 3];
        for partition in self.partitions() {
            for entry in partition.entries.read().entries() {
                lists[entry.policy as usize].push(id(&entry.value));
            }
        }
        lists.iter_mut().for_each(|list| list.sort_unstable());
        IdsByPolicy(lists)
    }
}
