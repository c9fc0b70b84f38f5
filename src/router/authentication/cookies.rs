//! Browsers that are known again: for whom a cookie stands in a realm, and until when.
//!
//! A browser that connects is given a cookie (see [`pages`](crate::transport::pages)), which says nothing. Once
//! somebody has proved who it is over such a connection, the cookie stands for that somebody in that realm, and the
//! method `cookie` lets in whoever brings it, until its time is over. All shards share the table; it is touched when
//! somebody joins by cookie, joins over a connection that has one, or logs out. It is in memory and does not survive a
//! restart. Long-poll clients are given no cookies.
//!
//! A principal of the settings that is taken out of them, or that proves itself with another secret or key by then, has
//! no cookies any more: who has stolen the old one is not let in by what it has opened. Nor has any whom a procedure
//! has let in that is asked no more.
//!
//! What is not written down for a cookie: those who say nothing of themselves (there is nothing to know again), those
//! whose certificate TLS shows each time anyway, and those with a token, which says itself for how long it is good.
//! Who joins by cookie does not get a new time with it. A principal that is in the settings is looked up there when its
//! cookie comes, so that a changed role counts.
//!
//! Logging out (GOODBYE with `wamp.close.logout`), or being killed, ends the cookie in all realms, as in Crossbar.io.
//!
//! Invariants: the table knows digests of cookies and not cookies, so whoever reads the memory of the router, or times
//! its answers, learns none; there are no more than [`COOKIES_MAX`] entries of [`COOKIES_BYTES_MAX`] octets, and no
//! more than [`COOKIES_OF_PRINCIPAL_MAX`] of one principal in a realm, who so cannot put out all the others by joining
//! with ever new cookies; those whose time is over first make room, of that principal or of all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempt::{self, Refused, Who};
use super::tickets::TOKENS;
use super::{Claim, Dynamic, Extra, Named, Place, Principal as Known, Proved, Settings};
use crate::auth::{Method, sha256};
use crate::router::Role;
use crate::sync::Mutex;

/// Entries at a time.
pub const COOKIES_MAX: usize = 65_536;

/// Octets of all entries, about: enough for as many as there may be, if they have hardly an `authextra`.
pub const COOKIES_BYTES_MAX: usize = 64 << 20;

/// Entries of one principal in one realm: browsers that may share a name.
pub const COOKIES_OF_PRINCIPAL_MAX: usize = 1024;

/// Octets that an entry takes besides its texts, about, in all three places.
const ENTRY_BYTES: usize = 512;

/// The longest `authextra` that is kept, in octets of JSON. Who has a longer one is not known again.
const EXTRA_BYTES_MAX: usize = 4096;

/// What a cookie is known by.
type Digest = [u8; 32];

/// Realm and name.
type Principal = (Box<str>, Box<str>);

/// Whom a cookie stands for.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// Its name.
    pub authid: Box<str>,
    /// The role it had.
    pub role: Box<str>,
    /// How it has proved who it is.
    pub method: Method,
    /// Who has vouched for it.
    pub authprovider: &'static str,
    /// What WELCOME said besides.
    pub extra: Option<Extra>,
    /// What the settings knew of it.
    pub principal: Option<Arc<Known>>,
    /// The procedure that has said who it is, and the realm that was asked, if that has sent it here from there.
    pub dynamic: Option<(Arc<Dynamic>, Option<Arc<str>>)>,
}

/// A browser with a cookie, and where to look for whom that stands.
#[derive(Clone, Copy)]
pub struct Browser<'a> {
    /// The cookie.
    pub cookie: &'a str,
    /// Whom cookies stand for.
    pub cookies: &'a Cookies,
    /// The realm that the client wants to join.
    pub realm: &'a str,
    /// What sessions may be there.
    pub roles: &'a [Arc<Role>],
}

impl fmt::Debug for Browser<'_> {
    /// Without the cookie, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Browser").field("realm", &self.realm).finish_non_exhaustive()
    }
}

/// The table.
#[derive(Debug)]
pub struct Cookies {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<(Digest, Box<str>), (Instant, Remembered)>,
    by_expiry: BTreeSet<(Instant, Digest, Box<str>)>,
    /// The same of each principal.
    by_principal: BTreeMap<Principal, BTreeSet<(Instant, Digest)>>,
    /// Octets of all entries.
    bytes: usize,
    /// Entries that made room before their time was over.
    evicted: u64,
}

impl Default for Cookies {
    fn default() -> Cookies {
        Cookies { table: Mutex::new(Table::default()) }
    }
}

impl Remembered {
    /// Octets that it takes in a realm, about.
    fn bytes(&self, realm: &str) -> usize {
        let extra = self.extra.as_ref().map_or(0, Extra::bytes);
        ENTRY_BYTES + 3 * realm.len() + 2 * self.authid.len() + self.role.len() + extra
    }

    /// Whom a cookie is to stand for after this proof, if anybody, and by which procedure.
    pub fn of(proved: &Proved, dynamic: Option<(Arc<Dynamic>, Option<Arc<str>>)>) -> Option<Remembered> {
        let method = Method::from_name(proved.authmethod)?;
        let lasting = !matches!(method, Method::Anonymous | Method::Cookie | Method::Tls);
        let small = proved.extra.as_ref().is_none_or(|extra| extra.bytes() <= EXTRA_BYTES_MAX);
        if !lasting || !small || proved.authprovider == TOKENS {
            return None;
        }
        Some(Remembered {
            authid: proved.authid.clone()?,
            role: proved.role.name.as_str().into(),
            method,
            authprovider: proved.authprovider,
            extra: proved.extra.clone(),
            principal: proved.principal.clone(),
            dynamic,
        })
    }

    /// True if it would still be proved in this realm by what has proved it. Then it is known as what these settings
    /// say of it, and keeps nothing of those before. The settings of a realm are looked for by its name.
    fn stands<T>(&mut self, realm: &str, settings: &impl Fn(&str) -> Option<T>) -> bool
    where
        T: Deref<Target = Settings>,
    {
        match &self.dynamic {
            Some((dynamic, asked)) => {
                let now = settings(asked.as_deref().unwrap_or(realm));
                now.is_some_and(|now| now.method(self.method).dynamic.as_ref() == Some(dynamic))
            }
            None => {
                self.principal = settings(realm).and_then(|now| self.known(&now).cloned());
                self.principal.is_some()
            }
        }
    }

    /// As what it is known by these settings, if the settings know it, and it proves itself as it did.
    fn known<'a>(&self, settings: &'a Settings) -> Option<&'a Arc<Known>> {
        let then = self.principal.as_ref()?;
        let now = settings.principals.named(&self.authid)?;
        Some(now).filter(|now| now.has(self.method) && now.proves_as(then, self.method))
    }
}

impl Place<'_> {
    /// Whom the browser's cookie stands for, if that is whom the client says it is.
    pub(super) fn known_again(&self, claim: &Claim, named: Named) -> Option<Result<Box<Proved>, Refused>> {
        let browser = self.browser.filter(|_| self.realm.cookies)?;
        let whom = browser.cookies.find(browser.cookie, browser.realm, self.now)?;
        if claim.authid.as_deref().is_some_and(|authid| *authid != *whom.authid) {
            return None;
        }
        let (role, extra) = if whom.authprovider == attempt::STATIC {
            let known = whom.known(self.realm)?;
            (attempt::role(whom.method, &Who::known(known), self)?, known.extra.clone())
        } else {
            let role = browser.roles.iter().find(|role| *role.name == *whom.role)?;
            (role.clone(), whom.extra)
        };
        // WELCOME says how it has joined now, and who has vouched for it then. Crossbar.io says it the other way round:
        // the method of then (`ticket`), and `cookie` as who vouches. The specification has no such method; here
        // `authmethod` always is what was offered in `authmethods`, and rules can tell a cookie from a proof.
        let proved = Proved {
            authid: Some(whom.authid),
            role,
            authmethod: named.name,
            authprovider: whom.authprovider,
            proof: whom.method,
            extra,
            principal: None,
            verifier: None,
            session: None,
        };
        Some(attempt::wanted(claim, proved))
    }
}

impl Cookies {
    /// The cookie stands for this one in the realm for so long, whomever it stood for before.
    pub fn remember(&self, cookie: &str, realm: &str, whom: Remembered, max_age: Duration, now: Instant) {
        let Some(until) = now.checked_add(max_age) else { return };
        let mut table = self.table.lock();
        let key = (sha256(cookie.as_bytes()), Box::from(realm));
        table.remove(&key);
        let bytes = whom.bytes(realm);
        let principal = (key.1.clone(), whom.authid.clone());
        if let Some(its) = table.by_principal.get(&principal)
            && its.len() >= COOKIES_OF_PRINCIPAL_MAX
            && let Some((first, digest)) = its.first().copied()
        {
            table.evict((first, digest, key.1.clone()), now);
        }
        while (table.entries.len() >= COOKIES_MAX || table.bytes + bytes > COOKIES_BYTES_MAX)
            && let Some(first) = table.by_expiry.first().cloned()
        {
            table.evict(first, now);
        }
        table.bytes += bytes;
        table.by_expiry.insert((until, key.0, key.1.clone()));
        table.by_principal.entry(principal).or_default().insert((until, key.0));
        table.entries.insert(key, (until, whom));
    }

    /// Whom the cookie stands for.
    pub fn find(&self, cookie: &str, realm: &str, now: Instant) -> Option<Remembered> {
        let mut table = self.table.lock();
        table.expire(now);
        let (_, whom) = table.entries.get(&(sha256(cookie.as_bytes()), Box::from(realm)))?;
        Some(whom.clone())
    }

    /// The cookie stands for nobody any more, in any realm. False if it had not before.
    pub fn forget(&self, cookie: &str) -> bool {
        let digest = sha256(cookie.as_bytes());
        let mut table = self.table.lock();
        let from = (digest, Box::from(""));
        let named = table.entries.range(from..).take_while(|((known, _), _)| *known == digest);
        let keys: Vec<_> = named.map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| table.remove(key));
        !keys.is_empty()
    }

    /// Those of principals that are not in the settings any more, or prove themselves otherwise, and those of whom a
    /// procedure knows that is asked no more, stand for nobody. The settings of a realm are looked for by its name.
    pub fn hold_against<T: Deref<Target = Settings>>(&self, settings: impl Fn(&str) -> Option<T>) {
        let mut table = self.table.lock();
        let mut gone = Vec::new();
        for (key, (_, whom)) in &mut table.entries {
            if !whom.stands(&key.1, &settings) {
                gone.push(key.clone());
            }
        }
        gone.iter().for_each(|key| table.remove(key));
    }

    /// Entries that made room for others before their time was over.
    pub fn evicted(&self) -> u64 {
        self.table.lock().evicted
    }
}

impl Table {
    fn remove(&mut self, key: &(Digest, Box<str>)) {
        let Some((until, whom)) = self.entries.remove(key) else { return };
        self.bytes -= whom.bytes(&key.1);
        self.by_expiry.remove(&(until, key.0, key.1.clone()));
        let principal = (key.1.clone(), whom.authid);
        if let Some(its) = self.by_principal.get_mut(&principal) {
            its.remove(&(until, key.0));
            if its.is_empty() {
                self.by_principal.remove(&principal);
            }
        }
    }

    /// It makes room.
    fn evict(&mut self, (until, digest, realm): (Instant, Digest, Box<str>), now: Instant) {
        self.evicted += u64::from(until > now);
        self.remove(&(digest, realm));
    }

    fn expire(&mut self, now: Instant) {
        while let Some((_, digest, realm)) =
            self.by_expiry.first().filter(|(until, ..)| *until <= now).cloned()
        {
            self.remove(&(digest, realm));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whom(authid: &str) -> Remembered {
        Remembered {
            authid: authid.into(),
            role: "r".into(),
            method: Method::Ticket,
            authprovider: "static",
            extra: None,
            principal: None,
            dynamic: None,
        }
    }

    fn name(found: Option<Remembered>) -> Option<String> {
        found.map(|whom| whom.authid.into())
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_cookie_stands_for_one_in_each_realm_until_its_time_is_over() {
        let (cookies, now) = (Cookies::default(), Instant::now());
        cookies.remember("a", "one", whom("alice"), HOUR, now);
        cookies.remember("a", "two", whom("bob"), 2 * HOUR, now);
        cookies.remember("b", "one", whom("carol"), HOUR, now);
        let found = |cookie, realm, now| name(cookies.find(cookie, realm, now));
        assert_eq!(found("a", "one", now).as_deref(), Some("alice"));
        assert_eq!(found("a", "two", now).as_deref(), Some("bob"));
        assert_eq!((found("a", "three", now), found("c", "one", now)), (None, None));

        cookies.remember("b", "one", whom("dave"), 3 * HOUR, now);
        assert_eq!(
            found("b", "one", now + HOUR).as_deref(),
            Some("dave"),
            "the time is that of the last proof"
        );
        assert_eq!((found("a", "one", now + HOUR), cookies.table.lock().entries.len()), (None, 2));
        assert_eq!(found("a", "two", now + HOUR).as_deref(), Some("bob"));
        assert!(cookies.forget("a") && !cookies.forget("a"));
        assert!(found("a", "two", now).is_none() && found("b", "one", now).is_some());
        assert!(!format!("{cookies:?}").contains("\"b\""), "the cookie itself is nowhere");
    }

    #[test]
    fn those_whose_time_is_over_first_make_room() {
        let (cookies, now) = (Cookies::default(), Instant::now());
        for number in 0..COOKIES_MAX as u32 {
            cookies.remember(
                &number.to_string(),
                "one",
                whom(&(number / 1000).to_string()),
                HOUR + Duration::from_secs(number.into()),
                now,
            );
        }
        assert_eq!(cookies.evicted(), 0);
        cookies.remember("new", "one", whom("y"), HOUR, now);
        assert_eq!(cookies.evicted(), 1);
        assert!(cookies.find("0", "one", now).is_none() && cookies.find("1", "one", now).is_some());
        // By now the next one's time would be over anyway.
        cookies.remember("newer", "one", whom("y"), HOUR, now + 2 * HOUR);
        let table = cookies.table.lock();
        assert_eq!(
            (table.evicted, table.entries.len(), table.by_expiry.len()),
            (1, COOKIES_MAX, COOKIES_MAX)
        );
    }

    #[test]
    fn nobody_puts_out_all_the_others() {
        let (cookies, now) = (Cookies::default(), Instant::now());
        let whole = |cookies: &Cookies| {
            let table = cookies.table.lock();
            let of_principals: usize = table.by_principal.values().map(BTreeSet::len).sum();
            assert_eq!((table.by_expiry.len(), of_principals), (table.entries.len(), table.entries.len()));
            let bytes: usize = table.entries.iter().map(|((_, realm), (_, whom))| whom.bytes(realm)).sum();
            assert!(table.bytes == bytes && bytes <= COOKIES_BYTES_MAX);
            table.entries.len()
        };
        cookies.remember("bob's", "one", whom("bob"), HOUR, now);
        cookies.remember("elsewhere", "two", whom("alice"), HOUR, now);
        for number in 0..2 * COOKIES_OF_PRINCIPAL_MAX {
            let age = HOUR + Duration::from_secs(number as u64);
            cookies.remember(&number.to_string(), "one", whom("alice"), age, now);
        }
        assert_eq!(whole(&cookies), COOKIES_OF_PRINCIPAL_MAX + 2);
        assert!(
            cookies.find("bob's", "one", now).is_some() && cookies.find("elsewhere", "two", now).is_some()
        );
        assert!(cookies.find("0", "one", now).is_none() && cookies.find("2047", "one", now).is_some());
        // However long what is said of them is.
        let extra = Extra::from_json(&format!("{{\"x\":\"{}\"}}", "y".repeat(4000))).unwrap();
        for number in 0..20_000 {
            let long = Remembered { extra: Some(extra.clone()), ..whom(&number.to_string()) };
            cookies.remember(&format!("long {number}"), "one", long, 2 * HOUR, now);
        }
        assert!(whole(&cookies) < 16_000 && cookies.find("long 19999", "one", now).is_some());
        for number in 0..20_000 {
            cookies.forget(&format!("long {number}"));
        }
        whole(&cookies);
        cookies.find("x", "one", now + 3 * HOUR);
        assert_eq!((whole(&cookies), cookies.table.lock().bytes), (0, 0));
    }

    #[test]
    fn who_proves_nothing_lasting_is_not_remembered() {
        let proved = |authmethod, authprovider| Proved {
            authid: Some("alice".into()),
            role: Arc::new(Role::anonymous()),
            authmethod,
            authprovider,
            proof: Method::from_name(authmethod).unwrap(),
            extra: None,
            principal: None,
            verifier: None,
            session: None,
        };
        for method in ["ticket", "wampcra", "wamp-scram", "scram", "cryptosign"] {
            assert!(Remembered::of(&proved(method, "static"), None).is_some(), "{method}");
        }
        for method in ["anonymous", "cookie", "tls"] {
            assert!(Remembered::of(&proved(method, "static"), None).is_none(), "{method}");
        }
        assert!(Remembered::of(&proved("ticket", "jwt"), None).is_none(), "a token has a time of its own");
        assert!(Remembered::of(&proved("ticket", "dynamic"), None).is_some());
        assert!(Remembered::of(&Proved { authid: None, ..proved("ticket", "static") }, None).is_none());
    }
}
