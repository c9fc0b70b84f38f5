//! Rules without values of the session, compiled: which of them decides about a URI, without an allocation.
//!
//! One probe of a hash map for exact rules. One binary search for prefixes: of texts in order, the last that is not
//! behind the URI begins with every prefix of it that is there, so each entry knows the next shorter entry it begins
//! with, and the search follows these. Wildcards by shape, as in [`pattern`](crate::router::pattern): one probe for
//! each shape of as many components, in the order of preference, hashed without the components that are left open.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::rule::Rule;
use crate::router::pattern::{Shape, component_count, mask_bits, matches};
use crate::wamp::MatchPolicy;
use crate::wamp::uri::components;

/// The rules; values are indices in the role's list.
#[derive(Debug, Default)]
pub(super) struct Table {
    exact: HashMap<Box<str>, usize, RandomState>,
    /// In the order of their texts.
    prefixes: Vec<Prefix>,
    /// In the order of the shapes.
    wildcards: Vec<Wildcards>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Prefix {
    text: Box<str>,
    rule: usize,
    /// The place of the longest other prefix that this one begins with.
    shorter: Option<usize>,
}

/// The wildcards of one shape.
#[derive(Debug)]
struct Wildcards {
    shape: Shape,
    components: usize,
    empty: u64,
    patterns: HashTable<(Box<str>, usize)>,
}

impl Table {
    /// Of those rules that have no values. They have been checked, and no two are the same.
    pub(super) fn new(rules: &[Rule]) -> Table {
        let mut table = Table::default();
        for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| !rule.has_values()) {
            let text = rule.uri.as_str().into();
            match rule.policy {
                MatchPolicy::Exact => drop(table.exact.insert(text, index)),
                MatchPolicy::Prefix => table.prefixes.push(Prefix { text, rule: index, shorter: None }),
                MatchPolicy::Wildcard => table.insert_wildcard(text, index),
            }
        }
        table.prefixes.sort_by(|one, other| one.text.cmp(&other.text));
        for place in 1..table.prefixes.len() {
            let text = &table.prefixes[place].text;
            table.prefixes[place].shorter = table.prefix_from(Some(place - 1), text);
        }
        table
    }

    fn insert_wildcard(&mut self, text: Box<str>, index: usize) {
        let shape = Shape::of(&text, MatchPolicy::Wildcard);
        let Some(shape @ Shape::Wildcard { components, empty }) = shape else { return };
        let place = match self.wildcards.binary_search_by_key(&shape, |known| known.shape) {
            Ok(place) => place,
            Err(place) => {
                let patterns = HashTable::new();
                self.wildcards.insert(place, Wildcards { shape, components, empty, patterns });
                place
            }
        };
        let hash_of = |text: &str| hash_without(&self.hasher, empty, text);
        let patterns = &mut self.wildcards[place].patterns;
        patterns.insert_unique(hash_of(&text), (text, index), |(text, _)| hash_of(text));
    }

    /// The rule that decides about a URI.
    pub(super) fn deciding(&self, uri: &str) -> Option<usize> {
        self.exact(uri).or_else(|| self.longest_prefix(uri)).or_else(|| self.wildcard(uri))
    }

    /// The exact rule of this URI.
    pub(super) fn exact(&self, uri: &str) -> Option<usize> {
        self.exact.get(uri).copied()
    }

    /// The longest prefix.
    pub(super) fn longest_prefix(&self, uri: &str) -> Option<usize> {
        let behind = self.prefixes.partition_point(|prefix| *prefix.text <= *uri);
        let place = self.prefix_from(behind.checked_sub(1), uri)?;
        Some(self.prefixes[place].rule)
    }

    /// The longest prefix of `uri` among the entry at this place and the shorter ones it begins with.
    fn prefix_from(&self, mut place: Option<usize>, uri: &str) -> Option<usize> {
        while let Some(at) = place
            && !uri.starts_with(&*self.prefixes[at].text)
        {
            place = self.prefixes[at].shorter;
        }
        place
    }

    fn wildcard(&self, uri: &str) -> Option<usize> {
        if self.wildcards.is_empty() {
            return None;
        }
        let count = component_count(uri);
        let first = self.wildcards.partition_point(|wildcards| wildcards.components < count);
        let shapes = self.wildcards[first..].iter().take_while(|wildcards| wildcards.components == count);
        shapes.into_iter().find_map(|Wildcards { empty, patterns, .. }| {
            let hash = hash_without(&self.hasher, *empty, uri);
            let found = patterns.find(hash, |(text, _)| matches(text, MatchPolicy::Wildcard, uri));
            found.map(|(_, index)| *index)
        })
    }
}

/// Of a text's components, but for those that are empty in the mask.
fn hash_without(hasher: &RandomState, empty: u64, text: &str) -> u64 {
    let mut hash = hasher.build_hasher();
    for (component, _) in components(text).zip(mask_bits()).filter(|(_, bit)| empty & bit == 0) {
        hash.write(component.as_bytes());
        // Else `a.bc` and `ab.c` were one.
        hash.write_u8(b'.');
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::pattern::UriMap;
    use crate::router::pattern::tests::Random;
    use crate::router::rules::Actions;

    /// Every rule of these pairs.
    fn rules(pairs: &[(String, MatchPolicy)]) -> Vec<Rule> {
        pairs.iter().map(|(uri, policy)| Rule::new(uri, *policy, Actions::ALL)).collect()
    }

    #[test]
    fn the_order_is_the_dealers() {
        let mut random = Random(11);
        let mut decided = [0; 3];
        for _ in 0..400 {
            let mut pairs: Vec<_> =
                (0..random.below(24)).map(|_| (random.pattern(), random.policy())).collect();
            pairs.sort();
            pairs.dedup();
            let mut registrations = UriMap::new(usize::MAX);
            for (index, (uri, policy)) in pairs.iter().enumerate() {
                registrations.find_or_insert(uri, *policy, || index).unwrap();
            }
            let table = Table::new(&rules(&pairs));
            for _ in 0..40 {
                let uri = random.pattern();
                let preferred = registrations.preferred(&uri).map(|entry| entry.value);
                assert_eq!(table.deciding(&uri), preferred, "{uri:?} {pairs:?}");
                preferred.into_iter().for_each(|index| decided[pairs[index].1 as usize] += 1);
            }
        }
        assert!(decided.iter().all(|&count| count > 500), "{decided:?}");
    }

    #[test]
    fn a_longest_prefix_is_found_behind_longer_ones_that_are_none() {
        let pairs = ["", "a", "a.b", "a.b.c", "a.b.d.e", "a.c", "ab"]
            .map(|uri| (uri.to_owned(), MatchPolicy::Prefix));
        let table = Table::new(&rules(&pairs));
        for (uri, text) in [
            ("a.b.d.f", "a.b"),
            ("a.b.d.e", "a.b.d.e"),
            ("a.d", "a"),
            ("aa", "a"),
            ("b", ""),
            ("", ""),
            ("a.b.c\u{f6}", "a.b.c"),
            ("ac", "a"),
        ] {
            assert_eq!(table.longest_prefix(uri).map(|index| &*pairs[index].0), Some(text), "{uri}");
        }
    }
}
