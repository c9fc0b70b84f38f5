//! URIs: which texts are valid ones, their components, and the reserved prefix (basic profile, "URIs").

/// How a topic or procedure is matched (advanced profile, pattern-based subscription and registration).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum MatchPolicy {
    /// The URI itself.
    #[default]
    Exact,
    /// Every URI that begins with this text; the text may end inside a component.
    Prefix,
    /// Every URI with as many components, where an empty component of the pattern stands for any one.
    Wildcard,
}

impl MatchPolicy {
    /// The policy named by an option's value.
    pub fn from_name(name: &str) -> Option<MatchPolicy> {
        match name {
            "exact" => Some(MatchPolicy::Exact),
            "prefix" => Some(MatchPolicy::Prefix),
            "wildcard" => Some(MatchPolicy::Wildcard),
            _ => None,
        }
    }

    /// The option's value.
    pub fn name(self) -> &'static str {
        match self {
            MatchPolicy::Exact => "exact",
            MatchPolicy::Prefix => "prefix",
            MatchPolicy::Wildcard => "wildcard",
        }
    }
}

/// Which of the specification's two rules a realm applies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum UriCheck {
    /// Components hold anything but `.`, `#` and white space.
    #[default]
    Loose,
    /// Components hold `a` to `z`, `0` to `9` and `_` only.
    Strict,
}

impl UriCheck {
    /// True if `uri` is a valid URI: at least one component, none of them empty.
    pub fn uri(self, uri: &str) -> bool {
        self.characters(uri) && !has_empty_component(uri.as_bytes())
    }

    /// True if `pattern` may be subscribed or registered with `policy`: patterns may have empty components.
    pub fn pattern(self, pattern: &str, policy: MatchPolicy) -> bool {
        match policy {
            MatchPolicy::Exact => self.uri(pattern),
            MatchPolicy::Prefix | MatchPolicy::Wildcard => self.characters(pattern),
        }
    }

    /// True if `text` holds dots and what may stand between them. Every publication and call pays for this, so ASCII is
    /// looked at to its end without branches, which the compiler makes vectors of.
    fn characters(self, text: &str) -> bool {
        let all = |allowed: fn(u8) -> bool| text.bytes().fold(true, |all, octet| all & allowed(octet));
        match self {
            // U+001C to U+001F are white space to the `\s` of the specification's own expression.
            UriCheck::Loose if text.is_ascii() => {
                all(|octet| !matches!(octet, b'#' | b' ' | 0x09..=0x0d | 0x1c..=0x1f))
            }
            UriCheck::Loose => {
                text.chars().all(|c| c != '#' && !c.is_whitespace() && !('\u{1c}'..='\u{1f}').contains(&c))
            }
            UriCheck::Strict => all(|octet| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.')),
        }
    }
}

fn has_empty_component(uri: &[u8]) -> bool {
    let Some((first, rest)) = uri.split_first() else { return true };
    let empty_inside = uri.iter().zip(rest).fold(false, |any, pair| any | (pair == (&b'.', &b'.')));
    empty_inside || *first == b'.' || uri.ends_with(b".")
}

/// The parts between dots; a text without a dot is one component, also when it is empty.
pub fn components(uri: &str) -> impl Iterator<Item = &str> {
    uri.split('.')
}

/// True if the first component is `wamp`: applications may not register or publish there.
pub fn reserved(uri: &str) -> bool {
    uri.strip_prefix("wamp").is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loose_refuses_empty_components_hashes_and_white_space() {
        for good in ["a", "com.myapp.topic1", "com.Größe.x-y", "wamp.error.canceled"] {
            assert!(UriCheck::Loose.uri(good), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a#b", "a.\tb", "a\u{a0}b", "ü\u{2003}b", "a\u{1c}b"]
        {
            assert!(!UriCheck::Loose.uri(bad), "{bad:?}");
        }
    }

    #[test]
    fn strict_allows_lower_case_digits_and_underscore_only() {
        assert!(UriCheck::Strict.uri("com.my_app.topic1"));
        for bad in ["com.MyApp", "com.my-app", "com.ü", "", "a..b"] {
            assert!(!UriCheck::Strict.uri(bad), "{bad:?}");
        }
    }

    /// Component by component, character by character.
    fn uri_naively(check: UriCheck, uri: &str) -> bool {
        let valid = |c: char| match check {
            UriCheck::Loose => c != '#' && !c.is_whitespace() && !('\u{1c}'..='\u{1f}').contains(&c),
            UriCheck::Strict => matches!(c, 'a'..='z' | '0'..='9' | '_'),
        };
        components(uri).all(|component| !component.is_empty() && component.chars().all(valid))
    }

    #[test]
    fn a_uri_is_what_its_naive_twin_says() {
        let alphabet: Vec<char> = ('\0'..='\u{ff}').chain("....aaaa\u{2003}\u{3000}".chars()).collect();
        let mut state = 5u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % bound
        };
        let mut valid = 0;
        for _ in 0..50_000 {
            // Mostly letters and dots, so that some are valid.
            let uri: String =
                (0..below(40))
                    .map(|_| {
                        if below(20) == 0 {
                            alphabet[below(alphabet.len())]
                        } else {
                            ['a', 'b', '_'][below(3)]
                        }
                    })
                    .collect();
            for check in [UriCheck::Loose, UriCheck::Strict] {
                assert_eq!(check.uri(&uri), uri_naively(check, &uri), "{uri:?}");
                valid += usize::from(check.uri(&uri));
            }
        }
        assert!((10_000..90_000).contains(&valid), "{valid}");
    }

    #[test]
    fn patterns_may_have_empty_components() {
        for policy in [MatchPolicy::Prefix, MatchPolicy::Wildcard] {
            for good in ["", "a.", "a..b", ".", "com.x"] {
                assert!(UriCheck::Loose.pattern(good, policy), "{good:?}");
                assert!(UriCheck::Strict.pattern(good, policy), "{good:?}");
            }
            assert!(!UriCheck::Loose.pattern("a. .b", policy));
        }
        assert!(!UriCheck::Loose.pattern("a..b", MatchPolicy::Exact));
    }

    #[test]
    fn only_the_first_component_is_reserved() {
        assert!(reserved("wamp") && reserved("wamp.session.on_join"));
        assert!(!reserved("wampx.a") && !reserved("com.wamp") && !reserved(""));
    }
}
