//! What a listener of the file lets pages in browsers do.

use crate::config::file::{Cookie, Listener, SameSite};
use crate::transport::pages::{CookieRule, Origins, Pages};

/// Which pages may connect at a listener, and the cookie that they are given.
pub(super) fn pages(listener: &Listener) -> Pages {
    Pages {
        origins: Origins::new(listener.origins.as_deref(), listener.allow_null_origin),
        cookie: listener.cookie.as_ref().map(cookie),
    }
}

/// True if browsers would send the cookie for any page, and any page could connect: it would join as whoever has logged
/// in with that browser.
pub(super) fn is_anybodys(listener: &Listener) -> bool {
    let sent_always = listener.cookie.as_ref().is_some_and(|cookie| cookie.same_site == SameSite::None);
    let open = |origins: &Vec<String>| origins.iter().any(|origin| origin == "*");
    sent_always && listener.origins.as_ref().is_none_or(open)
}

/// `Secure` is the browser's to obey, which knows whether there is TLS in front of a proxy.
fn cookie(said: &Cookie) -> CookieRule {
    let mut attributes = format!("; Path=/; Max-Age={}", said.max_age_seconds);
    attributes.push_str(match said.same_site {
        SameSite::Strict => "; SameSite=Strict",
        SameSite::Lax => "; SameSite=Lax",
        SameSite::None => "; SameSite=None",
    });
    for (said, attribute) in [(said.secure, "; Secure"), (said.http_only, "; HttpOnly")] {
        attributes.push_str(if said { attribute } else { "" });
    }
    CookieRule { name: said.name.clone(), attributes, max_age_seconds: said.max_age_seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_set_as_it_is_said() {
        let rule = cookie(&Cookie::default());
        let expected = "__Host-fanwire=v; Path=/; Max-Age=604800; SameSite=Lax; Secure; HttpOnly";
        assert_eq!((&*rule.set("v"), rule.max_age_seconds), (expected, 604_800));
        let said =
            Cookie { secure: false, http_only: false, same_site: SameSite::Strict, ..Cookie::default() };
        assert_eq!(cookie(&said).attributes, "; Path=/; Max-Age=604800; SameSite=Strict");
    }
}
