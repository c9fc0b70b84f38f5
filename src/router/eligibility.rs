//! Who may get a publication: the lists of session ids, authids and authroles that its publisher gives (advanced
//! profile, "Subscriber Black- and Whitelisting").
//!
//! Every list that is given must hold: a subscriber stands in each `eligible` list and in no `exclude` list. A list
//! that is given and empty is given: an empty `eligible` lets nobody through. What `exclude_me` says is kept apart and
//! always holds, so a publisher that names itself `eligible` still has to say `exclude_me: false`.
//!
//! A list is sorted when the PUBLISH is read, so that each subscriber costs a binary search, and holds nothing twice,
//! so that it takes no more than a small multiple of the octets it was read from.

use super::session::Identity;
use crate::codec;
use crate::wamp::options::WrongOption;
use crate::wamp::{Dict, List, SessionId, Value};

/// The lists of one publication.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Eligibility {
    sessions: Lists<SessionId>,
    authids: Lists<Box<str>>,
    authroles: Lists<Box<str>>,
}

/// A whitelist and a blacklist of the same make, each sorted.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Lists<T> {
    eligible: Option<Box<[T]>>,
    exclude: Option<Box<[T]>>,
}

impl Eligibility {
    /// Reads the lists among the options of a PUBLISH. Refuses what is no list of ids or texts, naming the key.
    pub fn read(options: &Dict<'_>) -> Result<Eligibility, WrongOption> {
        let mut read = Eligibility::default();
        for (key, value) in codec::entries(options) {
            match (&*key, &value) {
                (_, Value::Null) => {}
                ("eligible", list) => read.sessions.eligible = Some(sorted(list, "eligible", session)?),
                ("exclude", list) => read.sessions.exclude = Some(sorted(list, "exclude", session)?),
                ("eligible_authid", list) => {
                    read.authids.eligible = Some(sorted(list, "eligible_authid", text)?);
                }
                ("exclude_authid", list) => {
                    read.authids.exclude = Some(sorted(list, "exclude_authid", text)?);
                }
                ("eligible_authrole", list) => {
                    read.authroles.eligible = Some(sorted(list, "eligible_authrole", text)?);
                }
                ("exclude_authrole", list) => {
                    read.authroles.exclude = Some(sorted(list, "exclude_authrole", text)?);
                }
                _ => {}
            }
        }
        Ok(read)
    }

    /// True if the session may get the publication.
    pub fn admits(&self, identity: &Identity) -> bool {
        self.sessions.admit(|known| known.cmp(&identity.session))
            && self.authids.admit(|known| (**known).cmp(&identity.authid))
            && self.authroles.admit(|known| (**known).cmp(identity.role.name.as_str()))
    }

    /// True if it depends on session ids, which mean nothing to those who come later.
    pub fn names_sessions(&self) -> bool {
        self.sessions.eligible.is_some() || self.sessions.exclude.is_some()
    }

    /// About how many octets it takes.
    pub fn bytes(&self) -> usize {
        let texts = |lists: &Lists<Box<str>>| lists.bytes(|text| size_of::<Box<str>>() + text.len());
        size_of::<Eligibility>()
            + self.sessions.bytes(|_| size_of::<SessionId>())
            + texts(&self.authids)
            + texts(&self.authroles)
    }
}

impl<T> Lists<T> {
    /// `compare` says where what is looked for stands to an item.
    fn admit(&self, compare: impl Fn(&T) -> std::cmp::Ordering) -> bool {
        let holds = |list: &[T]| list.binary_search_by(&compare).is_ok();
        self.eligible.as_deref().is_none_or(holds) && !self.exclude.as_deref().is_some_and(holds)
    }

    fn bytes(&self, item: impl Fn(&T) -> usize) -> usize {
        self.eligible.iter().chain(&self.exclude).flatten().map(item).sum()
    }
}

impl<T> Default for Lists<T> {
    fn default() -> Lists<T> {
        Lists { eligible: None, exclude: None }
    }
}

fn sorted<T: Ord>(
    list: &Value<'_>,
    key: &'static str,
    item: fn(&Value<'_>) -> Option<T>,
) -> Result<Box<[T]>, WrongOption> {
    let Value::List(list) = list else { return Err(WrongOption(key)) };
    let mut items = items(list, item).ok_or(WrongOption(key))?;
    items.sort_unstable();
    items.dedup();
    Ok(items.into())
}

fn items<T>(list: &List<'_>, item: fn(&Value<'_>) -> Option<T>) -> Option<Vec<T>> {
    codec::items(list).map(|value| item(&value)).collect()
}

fn session(value: &Value<'_>) -> Option<SessionId> {
    value.id().map(SessionId)
}

fn text(value: &Value<'_>) -> Option<Box<str>> {
    match value {
        Value::Text(text) => Some((**text).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Role;
    use super::super::pattern::tests::Random;
    use super::super::session::Proof;
    use super::*;
    use crate::auth::Method;
    use crate::wamp::Serializer;

    fn read(json: &str) -> Result<Eligibility, WrongOption> {
        Eligibility::read(&Dict::Raw(codec::check(Serializer::Json, json.as_bytes()).unwrap()))
    }

    fn identity(session: u64, authid: &str, authrole: &str) -> Identity {
        let role = Role::open(authrole);
        Identity {
            session: SessionId(session),
            authid: authid.into(),
            role: Arc::new(role),
            authmethod: "anonymous",
            authprovider: "static",
            proof: Proof::by(Method::Anonymous),
            extra: None,
        }
    }

    #[test]
    fn all_lists_that_are_given_must_hold() {
        let admits = |json: &str| read(json).unwrap().admits(&identity(7, "joe", "staff"));
        assert!(admits("{}") && admits(r#"{"eligible":null,"acknowledge":true}"#));
        assert!(admits(r#"{"eligible":[9,7],"eligible_authid":["joe"],"eligible_authrole":["staff"]}"#));
        for (one, other) in [
            (r#""eligible":[7]"#, r#""exclude":[7,8]"#),
            (r#""eligible_authid":["joe","x"]"#, r#""exclude_authid":["joe"]"#),
            (r#""eligible_authrole":["staff"]"#, r#""exclude_authrole":["a","staff"]"#),
        ] {
            assert!(admits(&format!("{{{one}}}")) && !admits(&format!("{{{one},{other}}}")));
        }
        for none in [r#"{"eligible":[]}"#, r#"{"eligible":[7],"eligible_authid":["ann"]}"#] {
            assert!(!admits(none), "{none}");
        }
        assert!(admits(r#"{"exclude":[],"exclude_authid":["staff"],"exclude_authrole":["joe"]}"#));
    }

    #[test]
    fn what_is_no_list_of_its_kind_is_refused_by_its_key() {
        for (key, wrong) in [
            ("eligible", "7"),
            ("exclude", r#"["7"]"#),
            ("exclude", "[0]"),
            ("eligible", "[9007199254740993]"),
            ("eligible", "[1.5]"),
            ("eligible_authid", r#""joe""#),
            ("exclude_authid", "[7]"),
            ("eligible_authrole", "{}"),
            ("exclude_authrole", "[[]]"),
        ] {
            assert_eq!(read(&format!(r#"{{"{key}":{wrong}}}"#)), Err(WrongOption(key)), "{key}: {wrong}");
        }
        assert!(read(r#"{"eligible":[7.0]}"#).unwrap().admits(&identity(7, "", "")));
    }

    #[test]
    fn long_lists_say_what_their_naive_twin_says() {
        let mut random = Random(5);
        let ids: Vec<u64> = (0..2_000).map(|_| 1 + random.below(4_000) as u64).collect();
        let list: Vec<String> = ids.iter().map(u64::to_string).collect();
        let eligible = read(&format!(r#"{{"eligible":[{}]}}"#, list.join(","))).unwrap();
        let exclude = read(&format!(r#"{{"exclude_authid":["{}"]}}"#, list.join(r#"",""#))).unwrap();
        for id in 1..4_100 {
            let identity = identity(id, &id.to_string(), "");
            assert_eq!(eligible.admits(&identity), ids.contains(&id));
            assert_eq!(exclude.admits(&identity), !ids.contains(&id));
        }
        assert!(eligible.bytes() < 2_000 * 8 + 200, "nothing is held twice");
        assert!(eligible.names_sessions() && !exclude.names_sessions());
    }
}
