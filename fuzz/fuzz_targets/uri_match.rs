//! Any patterns against any URI: the map by shapes finds what looking at every pattern finds, in a fixed order, and
//! is empty when all patterns have left.

#![no_main]

use fanwire::router::pattern::{UriMap, WILDCARD_COMPONENTS_MAX, matches};
use fanwire::wamp::MatchPolicy;
use libfuzzer_sys::fuzz_target;

// The first line is the URI; every other line is a pattern behind one octet for its policy.
fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let uri = lines.next().unwrap_or("");
    let mut patterns: Vec<_> = lines.filter_map(pattern).collect();
    patterns.sort();
    patterns.dedup();

    let mut map = UriMap::new(usize::MAX);
    patterns.retain(|&(policy, pattern)| {
        let taken = map.find_or_insert(pattern, policy, || (policy, pattern)).is_ok();
        let too_wide = policy == MatchPolicy::Wildcard && pattern.split('.').count() > WILDCARD_COMPONENTS_MAX;
        assert_ne!(taken, too_wide);
        taken
    });

    let found: Vec<_> = map.matching(uri).copied().collect();
    let mut sorted = found.clone();
    sorted.sort();
    let expected: Vec<_> = patterns.iter().filter(|(policy, text)| naive(text, *policy, uri)).copied().collect();
    assert_eq!(sorted, expected);
    assert!(found.is_sorted_by_key(|(policy, text)| (*policy, (*policy == MatchPolicy::Prefix).then_some(text.len()))));
    assert_eq!(map.preferred(uri).copied(), preferred(&expected));

    for (policy, pattern) in patterns {
        assert_eq!(matches(pattern, policy, uri), naive(pattern, policy, uri));
        assert_eq!(map.remove(pattern, policy), Some((policy, pattern)));
    }
    assert!(map.is_empty());
});

fn pattern(line: &str) -> Option<(MatchPolicy, &str)> {
    let policy = match line.chars().next()? {
        'e' => MatchPolicy::Exact,
        'p' => MatchPolicy::Prefix,
        'w' => MatchPolicy::Wildcard,
        _ => return None,
    };
    Some((policy, &line[1..]))
}

fn naive(pattern: &str, policy: MatchPolicy, uri: &str) -> bool {
    let (wanted, given): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), uri.split('.').collect());
    match policy {
        MatchPolicy::Exact => pattern == uri,
        MatchPolicy::Prefix => uri.as_bytes().starts_with(pattern.as_bytes()),
        MatchPolicy::Wildcard => {
            wanted.len() == given.len() && wanted.iter().zip(given).all(|(w, g)| w.is_empty() || *w == g)
        }
    }
}

/// Exact, else the longest prefix, else the wildcard with a literal component at the first difference.
fn preferred<'p>(matching: &[(MatchPolicy, &'p str)]) -> Option<(MatchPolicy, &'p str)> {
    let rank = |(policy, text): &(MatchPolicy, &str)| match policy {
        MatchPolicy::Exact => (0, 0, Vec::new()),
        MatchPolicy::Prefix => (1, usize::MAX - text.len(), Vec::new()),
        MatchPolicy::Wildcard => (2, 0, text.split('.').map(str::is_empty).collect()),
    };
    matching.iter().copied().min_by_key(rank)
}
