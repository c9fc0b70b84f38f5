//! Browsers that are known again by their cookie: remembering who has joined over their connections, and logging out.

use std::time::Duration;

use super::Shard;
use crate::auth::Secret;
use crate::router::authentication::{Proved, Remembered};
use crate::router::peer::Peer;
use crate::router::{Letter, PeerKey, RealmSettings};
use crate::wamp::message::Goodbye;
use crate::wamp::{Dict, reason};

impl Shard {
    /// Somebody has joined: from now on the cookie of its browser stands for it.
    pub(super) fn remember_browser(&mut self, key: PeerKey, realm: &RealmSettings, proved: &Proved) {
        let Some(peer) = self.peers.peer(key) else { return };
        let Some(cookie) = cookie(peer) else { return };
        let rule = &self.router.settings.listeners[peer.listener.0 as usize].transport.pages.cookie;
        if let (Some(rule), Some(whom)) = (rule, Remembered::of(proved))
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
        for key in self.peers.keys() {
            let its = |key| self.peers.peer(key).and_then(self::cookie);
            if its(key).is_some_and(|its| cookie.expose() == its.as_bytes())
                && self.peers.session(key).is_some()
            {
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
