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
    /// True if `uri` is a valid URI: at least one component, none of them empty. One pass: every PUBLISH and CALL is
    /// asked for.
    pub fn uri(self, uri: &str) -> bool {
        let mut empty = true;
        for octet in uri.bytes() {
            let dot = octet == b'.';
            if (dot && empty) || !(dot || self.octet(octet)) {
                return false;
            }
            empty = dot;
        }
        !empty && self.beyond_ascii(uri)
    }

    /// True if `pattern` may be subscribed or registered with `policy`: patterns may have empty components.
    pub fn pattern(self, pattern: &str, policy: MatchPolicy) -> bool {
        match policy {
            MatchPolicy::Exact => self.uri(pattern),
            MatchPolicy::Prefix | MatchPolicy::Wildcard => {
                pattern.bytes().all(|octet| octet == b'.' || self.octet(octet)) && self.beyond_ascii(pattern)
            }
        }
    }

    /// True if a component may hold this octet, as far as an octet tells.
    fn octet(self, octet: u8) -> bool {
        match self {
            // U+001C to U+001F are white space to the `\s` of the specification's own expression.
            UriCheck::Loose => !matches!(octet, b'#' | b' ' | 0x09..=0x0d | 0x1c..=0x1f),
            UriCheck::Strict => matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'_'),
        }
    }

    /// The same for characters of more than one octet.
    fn beyond_ascii(self, uri: &str) -> bool {
        self == UriCheck::Strict || uri.is_ascii() || !uri.contains(char::is_whitespace)
    }
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

    /// As the specification puts it, component by component and character by character.
    fn twin(check: UriCheck, uri: &str, empty_components: bool) -> bool {
        let white = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
        components(uri).all(|component| {
            (empty_components || !component.is_empty())
                && match check {
                    UriCheck::Loose => component.chars().all(|c| c != '#' && !white(c)),
                    UriCheck::Strict => component.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_')),
                }
        })
    }

    #[test]
    fn equals_the_naive_twin() {
        let characters: Vec<char> =
            (0..=0x7f).map(char::from).chain("é\u{85}\u{a0}\u{2003}\u{3000}漢𝄞".chars()).collect();
        for check in [UriCheck::Loose, UriCheck::Strict] {
            for around in ["{}", "a{}", "{}b", "a{}b", ".{}", "a.{}", "{}.b", "a.{}.b", "ü.{}"] {
                for one in characters.iter().map(char::to_string).chain([String::new()]) {
                    let uri = around.replace("{}", &one);
                    assert_eq!(check.uri(&uri), twin(check, &uri, false), "{uri:?}");
                    let pattern = check.pattern(&uri, MatchPolicy::Wildcard);
                    assert_eq!(pattern, twin(check, &uri, true), "{uri:?}");
                }
            }
        }
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
