//! Which patterns match a URI (advanced profile, pattern-based subscription and registration).
//!
//! [`matches()`] says it of one pattern. [`UriMap`] finds all that match among very many: it keeps one hash map for
//! each shape, because all patterns of one shape ask the same question of a URI ("what are your first 12
//! octets?", "what are you without your second component?"), and one probe answers it. A lookup therefore costs as
//! much as there are shapes, which are few and bounded, and not as much as there are patterns.
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

use std::collections::HashMap;

use foldhash::fast::RandomState;

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

/// No room: the pattern has a shape of its own and there are as many shapes as there may be, or it is a wildcard of
/// more than [`WILDCARD_COMPONENTS_MAX`] components.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// Components of a wildcard pattern: one bit each in the mask of its shape.
pub const WILDCARD_COMPONENTS_MAX: usize = 64;

/// Values by URI and match policy.
#[derive(Debug)]
pub struct UriMap<V> {
    /// In the order of their shapes; none is empty.
    tables: Vec<Table<V>>,
    shapes_max: usize,
}

#[derive(Debug)]
struct Table<V> {
    shape: Shape,
    values: HashMap<Box<str>, V, RandomState>,
}

impl<V> UriMap<V> {
    /// An empty map. Exact URIs together are one shape of the `shapes_max`.
    pub fn new(shapes_max: usize) -> UriMap<V> {
        UriMap { tables: Vec::new(), shapes_max }
    }

    /// The value of exactly this pattern and policy, which `value` makes if there is none. It is not called, and
    /// nothing changes, if there is no room.
    pub fn find_or_insert(
        &mut self,
        pattern: &str,
        policy: MatchPolicy,
        value: impl FnOnce() -> V,
    ) -> Result<&mut V, Full> {
        let shape = Shape::of(pattern, policy).ok_or(Full)?;
        let place = match self.place(shape) {
            Ok(place) => place,
            Err(_) if self.tables.len() >= self.shapes_max => return Err(Full),
            Err(place) => {
                self.tables.insert(place, Table { shape, values: HashMap::default() });
                place
            }
        };
        // The key is made only if it is needed.
        let values = &mut self.tables[place].values;
        if !values.contains_key(pattern) {
            values.insert(pattern.into(), value());
        }
        Ok(values.get_mut(pattern).expect("it was there or has just been inserted"))
    }

    /// Takes the value of exactly this pattern and policy out.
    pub fn remove(&mut self, pattern: &str, policy: MatchPolicy) -> Option<V> {
        let place = self.place(Shape::of(pattern, policy)?).ok()?;
        let values = &mut self.tables[place].values;
        let removed = values.remove(pattern);
        if values.is_empty() {
            self.tables.remove(place);
        }
        removed
    }

    /// The value of exactly this pattern and policy.
    pub fn find(&self, pattern: &str, policy: MatchPolicy) -> Option<&V> {
        let place = self.place(Shape::of(pattern, policy)?).ok()?;
        self.tables[place].values.get(pattern)
    }

    /// As [`UriMap::find`], to change it.
    pub fn find_mut(&mut self, pattern: &str, policy: MatchPolicy) -> Option<&mut V> {
        let place = self.place(Shape::of(pattern, policy)?).ok()?;
        self.tables[place].values.get_mut(pattern)
    }

    /// Everything that matches `uri`, in the order of the module's documents. One allocation at most, for wildcards.
    pub fn matching(&self, uri: &str) -> impl Iterator<Item = &V> {
        let mut probe = Probe::new(uri);
        self.tables.iter().filter_map(move |table| table.matching(&mut probe))
    }

    /// The one that is preferred among all that match `uri`.
    pub fn preferred(&self, uri: &str) -> Option<&V> {
        let mut probe = Probe::new(uri);
        let wildcards = self.tables.partition_point(|table| !matches!(table.shape, Shape::Wildcard { .. }));
        let prefixes = self.tables.partition_point(|table| table.shape == Shape::Exact);
        let exact = self.tables[..prefixes].iter();
        let longest_first = self.tables[prefixes..wildcards].iter().rev();
        let literal_first = self.tables[wildcards..].iter();
        exact.chain(longest_first).chain(literal_first).find_map(|table| table.matching(&mut probe))
    }

    /// True if nothing is in it; there is no shape left then either.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    fn place(&self, shape: Shape) -> Result<usize, usize> {
        self.tables.binary_search_by_key(&shape, |table| table.shape)
    }
}

impl<V> Table<V> {
    fn matching(&self, probe: &mut Probe<'_>) -> Option<&V> {
        self.values.get(probe.key(self.shape)?)
    }
}

/// What all patterns of one table have in common. The derived order is the one of the module's documents.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Shape {
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
    /// `None` if a wildcard has too many components for a mask.
    fn of(pattern: &str, policy: MatchPolicy) -> Option<Shape> {
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

/// A URI about to be looked up in several tables.
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
                (components == self.components).then(|| self.blank(empty))
            }
        }
    }

    /// The URI without the components that are empty in the mask.
    fn blank(&mut self, empty: u64) -> &str {
        self.wildcard.clear();
        self.wildcard.reserve(self.uri.len());
        for (component, bit) in components(self.uri).zip(mask_bits()) {
            if bit != 1 << 63 {
                self.wildcard.push('.');
            }
            if empty & bit == 0 {
                self.wildcard.push_str(component);
            }
        }
        &self.wildcard
    }
}

/// The bit of each component in a wildcard's mask, from the first component on.
fn mask_bits() -> impl Iterator<Item = u64> {
    (0..WILDCARD_COMPONENTS_MAX).map(|index| 1 << (63 - index))
}

/// How many components `uri` has; 1 for the empty text.
fn component_count(uri: &str) -> usize {
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
        map.matching(uri).copied().collect()
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
            assert_eq!(map.preferred(uri).copied(), pattern, "{uri}");
        }
        assert_eq!(map.preferred("a1.b2.c33.d4.e5"), Some(&"a1.b2.c3"));
        let map = map_of(&[("a1.b2..d4.e5", Wildcard), ("a1.b2.c33..e5", Wildcard)]);
        assert_eq!(map.preferred("a1.b2.c33.d4.e5"), Some(&"a1.b2.c33..e5"));
        let map = map_of(&[("a1...d4", Wildcard), ("a1.b2..d4", Wildcard)]);
        assert_eq!(map.preferred("a1.b2.c3.d4"), Some(&"a1.b2..d4"));
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
        map.find_or_insert("a", MatchPolicy::Prefix, || 1).unwrap();
        map.find_or_insert("a.", MatchPolicy::Wildcard, || 2).unwrap();
        let unused = || panic!("made although there is no room");
        assert_eq!(map.find_or_insert("ab", MatchPolicy::Prefix, unused), Err(Full));
        assert_eq!(map.find_or_insert("b", MatchPolicy::Prefix, || 3), Ok(&mut 3));
        assert_eq!(map.remove("a.", MatchPolicy::Wildcard), Some(2));
        assert_eq!(map.remove("a.", MatchPolicy::Wildcard), None);
        assert_eq!(map.find_or_insert("ab", MatchPolicy::Prefix, || 4), Ok(&mut 4));
        for pattern in ["a", "b", "ab"] {
            assert!(map.remove(pattern, MatchPolicy::Prefix).is_some());
        }
        assert!(map.is_empty());
    }

    #[test]
    fn a_wildcard_has_64_components_at_most() {
        let mut map = UriMap::new(64);
        let widest = ".".repeat(63);
        assert_eq!(map.find_or_insert(&widest, MatchPolicy::Wildcard, || 1), Ok(&mut 1));
        assert_eq!(map.find_or_insert(&".".repeat(64), MatchPolicy::Wildcard, || 2), Err(Full));
        let uri = vec!["x"; 64].join(".");
        assert_eq!(map.matching(&uri).collect::<Vec<_>>(), [&1]);
        assert_eq!(map.matching(&vec!["x"; 65].join(".")).count(), 0);
        assert_eq!(map.find(&".".repeat(64), MatchPolicy::Wildcard), None);
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
                assert_eq!(map.find(&entry.0, entry.1), known.map(|position| &twin[position]));
                match known {
                    Some(position) => {
                        let removed = twin.swap_remove(position);
                        assert_eq!(map.remove(&entry.0, entry.1), Some(removed));
                    }
                    None => {
                        map.find_or_insert(&entry.0, entry.1, || entry.clone()).unwrap();
                        twin.push(entry);
                    }
                }
            }
            for _ in 0..20 {
                let uri = random.pattern();
                let mut found: Vec<_> = map.matching(&uri).cloned().collect();
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
