//! Browsers that are known again by their cookie: remembering who has joined over their connections, and logging out.

use std::time::Duration;

use super::Shard;
use super::authenticators::DYNAMIC;
use crate::auth::{Secret, sha256};
use crate::router::authentication::{Proved, Remembered};
use crate::router::peer::Peer;
use crate::router::session::{Admission, Map};
use crate::router::{Letter, PeerKey};
use crate::wamp::message::Goodbye;
use crate::wamp::{Dict, reason};

/// The sessions of each browser at a shard, by the digest of its cookie: who logs out does not make anybody look at all
/// peers.
#[derive(Debug, Default)]
pub(super) struct Browsers {
    sessions: Map<[u8; 32], Vec<PeerKey>>,
}

impl Browsers {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn joined(&mut self, cookie: &str, key: PeerKey) {
        self.sessions.entry(sha256(cookie.as_bytes())).or_default().push(key);
    }

    fn left(&mut self, cookie: &str, key: PeerKey) {
        let digest = sha256(cookie.as_bytes());
        if let Some(its) = self.sessions.get_mut(&digest) {
            its.retain(|session| *session != key);
            if its.is_empty() {
                self.sessions.remove(&digest);
            }
        }
    }

    fn of(&self, cookie: &[u8]) -> Vec<PeerKey> {
        self.sessions.get(&sha256(cookie)).cloned().unwrap_or_default()
    }
}

impl Shard {
    /// The session of a peer is over: its browser has one less.
    pub(super) fn browser_left(&mut self, key: PeerKey) {
        if let Some(cookie) = self.peers.peer(key).and_then(cookie) {
            self.browsers.left(cookie, key);
        }
    }

    /// Somebody has joined: from now on the cookie of its browser stands for it.
    pub(super) fn remember_browser(&mut self, key: PeerKey, admission: &Admission, proved: &Proved) {
        let realm = &admission.realm;
        let Some(peer) = self.peers.peer(key) else { return };
        let Some(cookie) = cookie(peer) else { return };
        self.browsers.joined(cookie, key);
        let rule = &self.router.settings.listeners[peer.listener.0 as usize].transport.pages.cookie;
        let asked = match &admission.asked {
            Some(asked) => self.router.realm_table().offered(asked),
            None => Some(realm.clone()),
        };
        let dynamic = asked.filter(|_| proved.authprovider == DYNAMIC);
        let dynamic = dynamic.and_then(|asked| asked.authentication.method(proved.proof).dynamic.clone());
        let dynamic = dynamic.map(|dynamic| (dynamic, admission.asked.clone()));
        if let (Some(rule), Some(whom)) = (rule, Remembered::of(proved, dynamic))
            && realm.authentication.cookies
        {
            let max_age = Duration::from_secs(rule.max_age_seconds);
            self.router.cookies.remember(cookie, &realm.name, whom, max_age, self.now);
        }
    }

    /// The cookie of a peer stands for nobody any more, because its session is killed.
    pub(super) fn forget_browser(&mut self, key: PeerKey) {
        if let Some(cookie) = self.peers.peer(key).and_then(cookie) {
            self.router.cookies.forget(cookie);
        }
    }

    /// The cookie of a peer stands for nobody any more, because it logs out. The other sessions of that browser, which
    /// are the same person's, get GOODBYE, in whatever realm they are.
    pub(super) fn log_out_browser(&mut self, key: PeerKey) {
        let Some(cookie) = self.peers.peer(key).and_then(cookie).map(Secret::from) else { return };
        let forgotten = cookie.text().is_some_and(|cookie| self.router.cookies.forget(cookie));
        // Only somebody who has proved who it is makes all shards look for others.
        if forgotten {
            for shard in self.letters.others(self.index) {
                self.letters.post(shard, Letter::LoggedOut { cookie: cookie.clone() });
            }
            self.letters.post(self.index, Letter::LoggedOut { cookie });
        }
    }

    /// A browser has logged out.
    pub(super) fn on_logged_out(&mut self, cookie: &Secret) {
        for key in self.browsers.of(cookie.expose()) {
            if self.peers.session(key).is_some() {
                let goodbye = Goodbye { details: Dict::EMPTY, reason: reason::LOGOUT.into() };
                self.say_goodbye(key, goodbye, self.now);
            }
        }
    }
}

/// The cookie of a peer's browser.
pub(super) fn cookie(peer: &Peer) -> Option<&str> {
    peer.http.as_ref()?.cookie()
}
