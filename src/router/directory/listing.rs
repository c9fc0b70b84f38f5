//! What is only asked of a directory by identifier (advanced profile, "Event History").
//!
//! There is no index by identifier: it would take memory of every subscription and time of every SUBSCRIBE, for
//! questions that are seldom asked. Such a question walks all entries, one partition at a time, under that partition's
//! lock for reading.

use super::Directory;
use crate::wamp::{MatchPolicy, SubscriptionId};

/// A subscription, as it is told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubscriptionListing {
    /// Its identifier.
    pub id: SubscriptionId,
    /// The URI or pattern.
    pub topic: Box<str>,
    /// How it is matched.
    pub policy: MatchPolicy,
}

impl Directory {
    /// The subscription of that identifier.
    pub fn subscription_by_id(&self, id: SubscriptionId) -> Option<SubscriptionListing> {
        let partitions = self.topics.buckets.iter().chain([&self.topics.patterns]);
        partitions.into_iter().find_map(|partition| {
            let subscriptions = partition.entries.read();
            let entry = subscriptions.entries().find(|entry| entry.value.id == id)?;
            Some(SubscriptionListing { id, topic: entry.uri().into(), policy: entry.policy })
        })
    }
}
