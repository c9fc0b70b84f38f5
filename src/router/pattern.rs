//! Which patterns match a URI (advanced profile, pattern-based subscription and registration).
//!
//! [`matches()`] says it of one pattern. [`UriMap`] finds all that match among very many: it knows which shapes its
//! patterns have, because all patterns of one shape ask the same question of a URI ("what are your first 12
//! octets?", "what are you without your second component?"), and one probe answers it. A lookup therefore costs as
//! much as there are shapes, which are few and bounded, and not as much as there are patterns.
//!
//! Policy and text say all of a pattern, its shape included, so one hash map serves every shape.
//!
//! Nothing here knows what the values are, and nothing is shared or locked: that is the directory's.
//!
//! The order of shapes is the order in which matches are found, and it never depends on hashing:
//!
//! 1. the exact URI;
//! 2. prefixes by growing length; of those that match a call, the longest is preferred (a prefix is one of text and
//!    may end inside a component; the longest text is also the one with the most components, as the specification
//!    counts);
//! 3. wildcards with equally many components (others cannot match the same URI) by their first difference: the one
//!    that has a literal component there comes first and is preferred. That is the specification's rule for calls,
//!    the longest literal portion before the first wildcard, then before the second, and so on, and it is total: two
//!    wildcards of the same shape that match one URI are the same pattern.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::hashed_slab::HashedSlab;
use crate::wamp::MatchPolicy;
use crate::wamp::uri::components;

/// True if `pattern`, matched by `policy`, matches `uri`.
pub fn matches(pattern: &str, policy: MatchPolicy, uri: &str) -> bool {
    match policy {
        MatchPolicy::Exact => pattern == uri,
        MatchPolicy::Prefix => uri.starts_with(pattern),
        MatchPolicy::Wildcard => {
            let mut rest = components(uri);
            components(pattern)
                .all(|wanted| rest.next().is_some_and(|component| wanted.is_empty() || wanted == component))
                && rest.next().is_none()
        }
    }
}

/// False only if no URI is matched by both patterns.
pub fn may_meet((one, one_policy): (&str, MatchPolicy), (other, other_policy): (&str, MatchPolicy)) -> bool {
    match (one_policy, other_policy) {
        (MatchPolicy::Exact, _) => matches(other, other_policy, one),
        (_, MatchPolicy::Exact) => matches(one, one_policy, other),
        (MatchPolicy::Wildcard, MatchPolicy::Wildcard) => {
            component_count(one) == component_count(other)
                && components(one)
                    .zip(components(other))
                    .all(|(one, other)| one.is_empty() || other.is_empty() || one == other)
        }
        _ => {
            let (one, other) = (beginning(one, one_policy), beginning(other, other_policy));
            one.starts_with(other) || other.starts_with(one)
        }
    }
}

/// What every URI begins with that the pattern matches: of a wildcard, its text before the first empty component.
pub fn beginning(pattern: &str, policy: MatchPolicy) -> &str {
    match policy {
        MatchPolicy::Exact | MatchPolicy::Prefix => pattern,
        MatchPolicy::Wildcard if pattern.starts_with('.') => "",
        MatchPolicy::Wildcard => match pattern.find("..") {
            Some(place) => &pattern[..=place],
            None => pattern,
        },
    }
}

/// No room: the pattern has a shape of its own and there are as many shapes as there may be, or it is a wildcard of
/// more than [`WILDCARD_COMPONENTS_MAX`] components.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// Components of a wildcard pattern: one bit each in the mask of its shape.
pub const WILDCARD_COMPONENTS_MAX: usize = 64;

/// Values by URI and match policy.
#[derive(Debug)]
pub struct UriMap<V> {
    entries: HashedSlab<Entry<V>>,
    /// The shapes of all entries, in their order, and how many have each.
    shapes: Vec<(Shape, usize)>,
    shapes_max: usize,
    hasher: RandomState,
}

/// One URI or pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry<V> {
    /// The octets of the text. Most stand in place: that is less than memory of their own takes, and a lookup that
    /// finds the entry has them at hand.
    octets: SmallVec<[u8; 32]>,
    /// How it is matched.
    pub policy: MatchPolicy,
    /// What it was inserted for.
    pub value: V,
}

impl<V> Entry<V> {
    /// The text.
    pub fn uri(&self) -> &str {
        str::from_utf8(&self.octets).expect("it was text when it was inserted")
    }
}

/// Names an entry while it is in its map; afterwards it may name another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UriKey(u32);

impl<V> UriMap<V> {
    /// An empty map. Exact URIs together are one shape of the `shapes_max`.
    pub fn new(shapes_max: usize) -> UriMap<V> {
        UriMap {
            entries: HashedSlab::default(),
            shapes: Vec::new(),
            shapes_max,
            hasher: RandomState::default(),
        }
    }

    /// The entry of exactly this pattern and policy, which `value` makes if there is none. It is not called, and
    /// nothing changes, if there is no room.
    pub fn find_or_insert(
        &mut self,
        pattern: &str,
        policy: MatchPolicy,
        value: impl FnOnce() -> V,
    ) -> Result<(UriKey, &mut V), Full> {
        let key = match self.find(pattern, policy) {
            Some(key) => key,
            None => {
                self.count_shape(Shape::of(pattern, policy).ok_or(Full)?)?;
                let entry = Entry { octets: pattern.as_bytes().into(), policy, value: value() };
                UriKey(self.entries.insert(entry, hash_of(&self.hasher)))
            }
        };
        let entry = self.entries.get_mut(key.0).expect("it was there or has just been inserted");
        Ok((key, &mut entry.value))
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: UriKey) -> Option<Entry<V>> {
        let entry = self.entries.remove(key.0, hash_of(&self.hasher))?;
        let shape = Shape::of(entry.uri(), entry.policy).expect("what was inserted has a shape");
        let place = self.shape_place(shape).expect("the shape of every entry is counted");
        self.shapes[place].1 -= 1;
        if self.shapes[place].1 == 0 {
            self.shapes.remove(place);
        }
        Some(entry)
    }

    /// The key of exactly this pattern and policy.
    pub fn find(&self, pattern: &str, policy: MatchPolicy) -> Option<UriKey> {
        let octets = pattern.as_bytes();
        let hash = self.hasher.hash_one(octets);
        self.entries.find(hash, |entry| entry.policy == policy && *entry.octets == *octets).map(UriKey)
    }

    /// An entry.
    pub fn entry(&self, key: UriKey) -> Option<&Entry<V>> {
        self.entries.get(key.0)
    }

    /// An entry, to change its value.
    pub fn entry_mut(&mut self, key: UriKey) -> Option<&mut Entry<V>> {
        self.entries.get_mut(key.0)
    }

    /// All entries; their order means nothing.
    pub fn entries(&self) -> impl Iterator<Item = &Entry<V>> {
        self.entries.iter()
    }

    /// Everything that matches `uri`, in the order of the module's documents. One allocation at most, for wildcards.
    pub fn matching(&self, uri: &str) -> impl Iterator<Item = &Entry<V>> {
        let mut probe = Probe::new(uri);
        self.shapes.iter().filter_map(move |(shape, _)| self.probe(&mut probe, *shape))
    }

    /// The one that is preferred among all that match `uri`.
    pub fn preferred(&self, uri: &str) -> Option<&Entry<V>> {
        let mut probe = Probe::new(uri);
        let wildcards = self.shapes.partition_point(|(shape, _)| !matches!(shape, Shape::Wildcard { .. }));
        let prefixes = self.shapes.partition_point(|(shape, _)| *shape == Shape::Exact);
        let exact = self.shapes[..prefixes].iter();
        let longest_first = self.shapes[prefixes..wildcards].iter().rev();
        let literal_first = self.shapes[wildcards..].iter();
        exact.chain(longest_first).chain(literal_first).find_map(|(shape, _)| self.probe(&mut probe, *shape))
    }

    /// True if nothing is in it; there is no shape left then either.
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// The only entry of this shape that can match, if it is there.
    fn probe(&self, probe: &mut Probe<'_>, shape: Shape) -> Option<&Entry<V>> {
        self.entry(self.find(probe.key(shape)?, shape.policy())?)
    }

    /// One more entry of this shape.
    fn count_shape(&mut self, shape: Shape) -> Result<(), Full> {
        match self.shape_place(shape) {
            Ok(place) => self.shapes[place].1 += 1,
            Err(_) if self.shapes.len() >= self.shapes_max => return Err(Full),
            Err(place) => self.shapes.insert(place, (shape, 1)),
        }
        Ok(())
    }

    fn shape_place(&self, shape: Shape) -> Result<usize, usize> {
        self.shapes.binary_search_by_key(&shape, |(known, _)| *known)
    }
}

/// Of the text alone: it seldom stands under two policies.
fn hash_of<V>(hasher: &RandomState) -> impl Fn(&Entry<V>) -> u64 {
    |entry| hasher.hash_one(&*entry.octets)
}

/// What makes patterns ask the same question. The derived order is the one of the module's documents.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Shape {
    Exact,
    /// The length in octets.
    Prefix {
        bytes: usize,
    },
    /// How many components there are, and which are empty: the first component is the highest bit, so that of two
    /// masks the one with a literal component at the first difference is the smaller number.
    Wildcard {
        components: usize,
        empty: u64,
    },
}

impl Shape {
    fn policy(self) -> MatchPolicy {
        match self {
            Shape::Exact => MatchPolicy::Exact,
            Shape::Prefix { .. } => MatchPolicy::Prefix,
            Shape::Wildcard { .. } => MatchPolicy::Wildcard,
        }
    }

    /// `None` if a wildcard has too many components for a mask.
    pub(super) fn of(pattern: &str, policy: MatchPolicy) -> Option<Shape> {
        match policy {
            MatchPolicy::Exact => Some(Shape::Exact),
            MatchPolicy::Prefix => Some(Shape::Prefix { bytes: pattern.len() }),
            MatchPolicy::Wildcard => {
                let count = component_count(pattern);
                if count > WILDCARD_COMPONENTS_MAX {
                    return None;
                }
                let bits = components(pattern).zip(mask_bits());
                let empty =
                    bits.filter(|(component, _)| component.is_empty()).fold(0, |mask, (_, bit)| mask | bit);
                Some(Shape::Wildcard { components: count, empty })
            }
        }
    }
}

/// A URI about to be looked up in several shapes.
struct Probe<'u> {
    uri: &'u str,
    components: usize,
    /// The last wildcard pattern that was tried; kept for its memory.
    wildcard: String,
}

impl<'u> Probe<'u> {
    fn new(uri: &'u str) -> Probe<'u> {
        Probe { uri, components: component_count(uri), wildcard: String::new() }
    }

    /// The only pattern of this shape that can match the URI, or `None` if no pattern of this shape can.
    fn key(&mut self, shape: Shape) -> Option<&str> {
        match shape {
            Shape::Exact => Some(self.uri),
            // Within a character no prefix ends, since prefixes are text.
            Shape::Prefix { bytes } => self.uri.get(..bytes),
            Shape::Wildcard { components, empty } => {
                if components == self.components {
                    self.blank(empty)
                } else {
                    None
                }
            }
        }
    }

    /// The URI without the components that are empty in the mask. `None` if others are empty too: that text is a
    /// pattern of another shape.
    fn blank(&mut self, empty: u64) -> Option<&str> {
        self.wildcard.clear();
        self.wildcard.reserve(self.uri.len());
        for (component, bit) in components(self.uri).zip(mask_bits()) {
            if bit != 1 << 63 {
                self.wildcard.push('.');
            }
            if empty & bit == 0 {
                if component.is_empty() {
                    return None;
                }
                self.wildcard.push_str(component);
            }
        }
        Some(&self.wildcard)
    }
}

/// The bit of each component in a wildcard's mask, from the first component on.
pub(super) fn mask_bits() -> impl Iterator<Item = u64> {
    (0..WILDCARD_COMPONENTS_MAX).map(|index| 1 << (63 - index))
}

/// How many components `uri` has; 1 for the empty text.
pub(super) fn component_count(uri: &str) -> usize {
    uri.bytes().filter(|&byte| byte == b'.').count() + 1
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A small generator (xorshift) with a seed.
    pub(in crate::router) struct Random(pub(in crate::router) u64);

    impl Random {
        pub(in crate::router) fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 16) as usize % bound
        }

        pub(in crate::router) fn policy(&mut self) -> MatchPolicy {
            [MatchPolicy::Exact, MatchPolicy::Prefix, MatchPolicy::Wildcard][self.below(3)]
        }

        /// Up to four components of an alphabet so small that most URIs match several patterns; one in four is empty.
        pub(in crate::router) fn pattern(&mut self) -> String {
            let components: Vec<_> =
                (0..1 + self.below(4)).map(|_| ["", "a", "b", "a\u{f6}"][self.below(4)]).collect();
            components.join(".")
        }

        /// As a pattern, without empty components.
        pub(in crate::router) fn uri(&mut self) -> String {
            let components: Vec<_> =
                (0..1 + self.below(4)).map(|_| ["a", "b", "a\u{f6}"][self.below(3)]).collect();
            components.join(".")
        }
    }

    /// The twin of [`super::matches`].
    pub(in crate::router) fn matches_naively(pattern: &str, policy: MatchPolicy, uri: &str) -> bool {
        let (wanted, given): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), uri.split('.').collect());
        match policy {
            MatchPolicy::Exact => wanted == given,
            MatchPolicy::Prefix => (0..=uri.len()).any(|end| uri.get(..end) == Some(pattern)),
            MatchPolicy::Wildcard => {
                wanted.len() == given.len() && (0..given.len()).all(|i| ["", given[i]].contains(&wanted[i]))
            }
        }
    }

    fn map_of(patterns: &[(&'static str, MatchPolicy)]) -> UriMap<&'static str> {
        let mut map = UriMap::new(64);
        for &(pattern, policy) in patterns {
            map.find_or_insert(pattern, policy, || pattern).unwrap();
        }
        map
    }

    fn found<'m>(map: &'m UriMap<&'static str>, uri: &str) -> Vec<&'m str> {
        map.matching(uri).map(|entry| entry.value).collect()
    }

    fn preferred(map: &UriMap<&'static str>, uri: &str) -> Option<&'static str> {
        map.preferred(uri).map(|entry| entry.value)
    }

    fn insert<V>(map: &mut UriMap<V>, pattern: &str, policy: MatchPolicy, value: V) -> Result<V, Full>
    where
        V: Copy,
    {
        map.find_or_insert(pattern, policy, || value).map(|(_, value)| *value)
    }

    fn remove<V>(map: &mut UriMap<V>, pattern: &str, policy: MatchPolicy) -> Option<V> {
        let key = map.find(pattern, policy)?;
        map.remove(key).map(|entry| entry.value)
    }

    #[test]
    fn a_prefix_is_of_characters_and_not_of_components() {
        for (uri, matched) in [
            ("com.myapp.myobject1.myprocedure1", true),
            ("com.myapp.myobject1-mysubobject1", true),
            ("com.myapp.myobject1", true),
            ("com.myapp.myobject2", false),
            ("com.myapp.myobject", false),
        ] {
            assert_eq!(matches("com.myapp.myobject1", MatchPolicy::Prefix, uri), matched, "{uri}");
        }
        assert!(matches("", MatchPolicy::Prefix, "a") && matches("", MatchPolicy::Prefix, ""));
    }

    #[test]
    fn patterns_meet_where_both_match_a_uri() {
        let mut random = Random(17);
        let uris: Vec<_> = (0..400).map(|_| random.uri()).collect();
        let mut apart = 0;
        for _ in 0..2_000 {
            let (one, other) = (random.pattern(), random.pattern());
            let (one, other) = ((&*one, random.policy()), (&*other, random.policy()));
            let both = |uri: &String| matches(one.0, one.1, uri) && matches(other.0, other.1, uri);
            let meet = may_meet(one, other);
            assert!(meet || !uris.iter().any(both), "{one:?} {other:?}");
            apart += usize::from(!meet);
        }
        assert!(apart > 500, "{apart} do not meet");
    }

    #[test]
    fn a_wildcard_stands_for_one_whole_component() {
        for (pattern, uri, matched) in [
            ("com.myapp..myprocedure1", "com.myapp.myobject1.myprocedure1", true),
            ("com.myapp..myprocedure1", "com.myapp.myobject1.myprocedure1.mysub", false),
            ("com.myapp..myprocedure1", "com.myapp.myobject1.myprocedure2", false),
            ("com.myapp..myprocedure1", "com.myapp2.myobject1.myprocedure1", false),
            (".b", "a.b", true),
            ("a.", "a.b", true),
            ("a.", "a", false),
            ("", "a", true),
            ("", "a.b", false),
            ("a.b", "a.b", true),
        ] {
            assert_eq!(matches(pattern, MatchPolicy::Wildcard, uri), matched, "{pattern} {uri}");
        }
    }

    #[test]
    fn all_matches_are_found_in_the_documented_order() {
        use MatchPolicy::{Exact, Prefix, Wildcard};
        let map = map_of(&[
            ("..c", Wildcard),
            ("a.b.c", Prefix),
            ("a.b.c", Exact),
            ("a..", Wildcard),
            ("", Prefix),
            ("a..c", Wildcard),
            ("a", Prefix),
            ("a.b.", Wildcard),
            ("a.b", Wildcard),
            ("b", Prefix),
        ]);
        assert_eq!(found(&map, "a.b.c"), ["a.b.c", "", "a", "a.b.c", "a.b.", "a..c", "a..", "..c"]);
        assert_eq!(found(&map, "z"), [""]);
    }

    /// The examples of the specification, but for `a1.b2.c33.d4.e5`: it says that the prefix `a1.b2.c3` does not
    /// match that, though by its own rule for prefixes, and its examples of it, it does.
    #[test]
    fn a_call_goes_to_the_registration_the_specification_prefers() {
        use MatchPolicy::{Exact, Prefix, Wildcard};
        let map = map_of(&[
            ("a1.b2.c3.d4.e55", Exact),
            ("a1.b2.c3", Prefix),
            ("a1.b2.c3.d4", Prefix),
            ("a1.b2..d4.e5", Wildcard),
            ("a1.b2.c33..e5", Wildcard),
            ("a1.b2..d4.e5..g7", Wildcard),
            ("a1.b2..d4..f6.g7", Wildcard),
        ]);
        for (uri, pattern) in [
            ("a1.b2.c3.d4.e55", Some("a1.b2.c3.d4.e55")),
            ("a1.b2.c3.d98.e74", Some("a1.b2.c3")),
            ("a1.b2.c3.d4.e325", Some("a1.b2.c3.d4")),
            ("a1.b2.c55.d4.e5", Some("a1.b2..d4.e5")),
            ("a1.b2.c88.d4.e5.f6.g7", Some("a1.b2..d4.e5..g7")),
            ("a2.b2.c2.d2.e2", None),
        ] {
            assert_eq!(preferred(&map, uri), pattern, "{uri}");
        }
        assert_eq!(preferred(&map, "a1.b2.c33.d4.e5"), Some("a1.b2.c3"));
        let map = map_of(&[("a1.b2..d4.e5", Wildcard), ("a1.b2.c33..e5", Wildcard)]);
        assert_eq!(preferred(&map, "a1.b2.c33.d4.e5"), Some("a1.b2.c33..e5"));
        let map = map_of(&[("a1...d4", Wildcard), ("a1.b2..d4", Wildcard)]);
        assert_eq!(preferred(&map, "a1.b2.c3.d4"), Some("a1.b2..d4"));
    }

    #[test]
    fn prefixes_do_not_cut_characters() {
        let map =
            map_of(&[("a", MatchPolicy::Prefix), ("gr", MatchPolicy::Prefix), ("grö", MatchPolicy::Prefix)]);
        assert_eq!(found(&map, "größe"), ["gr", "grö"]);
        assert_eq!(found(&map, "ö"), [""; 0]);
    }

    #[test]
    fn shapes_are_bounded_and_go_when_their_last_pattern_goes() {
        let mut map = UriMap::new(2);
        insert(&mut map, "a", MatchPolicy::Prefix, 1).unwrap();
        insert(&mut map, "a.", MatchPolicy::Wildcard, 2).unwrap();
        let unused = || panic!("made although there is no room");
        assert_eq!(map.find_or_insert("ab", MatchPolicy::Prefix, unused), Err(Full));
        assert_eq!(insert(&mut map, "b", MatchPolicy::Prefix, 3), Ok(3));
        assert_eq!(remove(&mut map, "a.", MatchPolicy::Wildcard), Some(2));
        assert_eq!(remove(&mut map, "a.", MatchPolicy::Wildcard), None);
        assert_eq!(insert(&mut map, "ab", MatchPolicy::Prefix, 4), Ok(4));
        for pattern in ["a", "b", "ab"] {
            assert!(remove(&mut map, pattern, MatchPolicy::Prefix).is_some());
        }
        assert!(map.is_empty());
    }

    #[test]
    fn a_wildcard_has_64_components_at_most() {
        let mut map = UriMap::new(64);
        let widest = ".".repeat(63);
        assert_eq!(insert(&mut map, &widest, MatchPolicy::Wildcard, 1), Ok(1));
        assert_eq!(insert(&mut map, &".".repeat(64), MatchPolicy::Wildcard, 2), Err(Full));
        let uri = vec!["x"; 64].join(".");
        assert_eq!(map.matching(&uri).map(|entry| entry.value).collect::<Vec<_>>(), [1]);
        assert_eq!(map.matching(&vec!["x"; 65].join(".")).count(), 0);
        assert_eq!(map.find(&".".repeat(64), MatchPolicy::Wildcard), None);
    }

    #[test]
    fn one_of_a_million_uris_is_small() {
        assert_eq!(size_of::<Option<Entry<[u64; 2]>>>(), 64);
    }

    #[test]
    fn finds_what_its_naive_twin_finds() {
        let mut random = Random(7);
        for _ in 0..200 {
            let mut map = UriMap::new(usize::MAX);
            let mut twin: Vec<(String, MatchPolicy)> = Vec::new();
            for _ in 0..random.below(40) {
                let entry = (random.pattern(), random.policy());
                let known = twin.iter().position(|known| *known == entry);
                let found = map.find(&entry.0, entry.1).and_then(|key| map.entry(key));
                assert_eq!(found.map(|entry| &entry.value), known.map(|position| &twin[position]));
                match known {
                    Some(position) => {
                        let removed = twin.swap_remove(position);
                        assert_eq!(remove(&mut map, &entry.0, entry.1), Some(removed));
                    }
                    None => {
                        map.find_or_insert(&entry.0, entry.1, || entry.clone()).unwrap();
                        twin.push(entry);
                    }
                }
            }
            for _ in 0..20 {
                let uri = random.pattern();
                let mut found: Vec<_> = map.matching(&uri).map(|entry| entry.value.clone()).collect();
                let mut expected = twin.clone();
                expected.retain(|(pattern, policy)| matches_naively(pattern, *policy, &uri));
                for (pattern, policy) in &twin {
                    assert_eq!(matches(pattern, *policy, &uri), matches_naively(pattern, *policy, &uri));
                }
                found.sort();
                expected.sort();
                assert_eq!(found, expected, "{uri:?}");
            }
        }
    }
}
