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
        let too_wide =
            policy == MatchPolicy::Wildcard && pattern.split('.').count() > WILDCARD_COMPONENTS_MAX;
        assert_ne!(taken, too_wide);
        taken
    });

    let mut expected = patterns.clone();
    expected.retain(|(policy, pattern)| naive(pattern, *policy, uri));
    expected.sort_by_key(order);
    assert_eq!(map.matching(uri).map(|entry| entry.value).collect::<Vec<_>>(), expected);
    let preferred = match expected.first() {
        Some((MatchPolicy::Prefix, _)) => expected.iter().rfind(|(policy, _)| *policy == MatchPolicy::Prefix),
        first => first,
    };
    assert_eq!(map.preferred(uri).map(|entry| &entry.value), preferred);

    for (policy, pattern) in patterns {
        assert_eq!(matches(pattern, policy, uri), naive(pattern, policy, uri));
        let key = map.find(pattern, policy).expect("it was inserted");
        assert_eq!(map.remove(key).map(|entry| entry.value), Some((policy, pattern)));
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

/// Exact, prefixes by growing length, wildcards with a literal component at the first difference first.
fn order(&(policy, pattern): &(MatchPolicy, &str)) -> (MatchPolicy, usize, Vec<bool>) {
    match policy {
        MatchPolicy::Exact => (policy, 0, Vec::new()),
        MatchPolicy::Prefix => (policy, pattern.len(), Vec::new()),
        MatchPolicy::Wildcard => (policy, 0, pattern.split('.').map(str::is_empty).collect()),
    }
}
