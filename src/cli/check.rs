//! `fanwire check`: what a configuration file is understood to say, in tables, or every mistake in it.
//!
//! Exit codes: 0 if `fanwire serve --config` would take it, 2 if not. With `--may`: 0 if the role may, 1 if it may not,
//! 2 if that cannot be said, as where a procedure decides.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::configuration::{count, explained, loaded, tell};
use super::shown::shown;
use super::{output, usage_error};
use crate::config::{May, cautions};
use crate::router::rules::Action;
use crate::wamp::MatchPolicy;

/// The role may not.
const EXIT_DENIED: u8 = 1;

/// Somebody else says whether it may.
const EXIT_UNKNOWN: u8 = 2;

/// Check a configuration file and show what it says.
///
/// Every mistake is told at once, with its line, its key, and what to write instead. Secrets are never shown.
#[derive(Args, Debug)]
pub struct Check {
    /// The configuration file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Say whether a role may do something (call, register, publish, subscribe) with a URI, and which rule decides
    #[arg(long, num_args = 3, value_names = ["ROLE", "ACTION", "URI"])]
    may: Vec<String>,

    /// With --may: the realm, where several have the role
    #[arg(long, value_name = "REALM", requires = "may")]
    realm: Option<String>,

    /// With --may: what kind of URI it is that is subscribed or registered
    #[arg(long = "match", value_name = "MATCH", requires = "may", default_value = "exact",
          value_parser = ["exact", "prefix", "wildcard"])]
    policy: String,

    /// With --may: who the session is, for rules about {authid}
    #[arg(long, value_name = "AUTHID", requires = "may", default_value = "")]
    authid: String,

    /// With --may: the identifier of the session, for rules about {session}
    #[arg(long, value_name = "ID", requires = "may", value_parser = clap::value_parser!(u64).range(1..=1 << 53))]
    session: Option<u64>,
}

impl Check {
    /// Shows it, or the mistakes.
    pub fn run(self) -> ExitCode {
        if let [role, action, uri] = &self.may[..] {
            return self.tell_may(role, action, uri);
        }
        let loaded = match loaded(&self.file) {
            Ok(loaded) => loaded,
            Err(code) => return code,
        };
        // A closed stdout is no mistake of the file.
        let _ = io::stdout().lock().write_all(shown(&loaded.file).as_bytes());
        for caution in cautions(&loaded.file) {
            output::notice(&format!("look at  {caution}"));
        }
        if loaded.refused.is_empty() {
            return match loaded.file.server() {
                Ok(_) => ExitCode::SUCCESS,
                Err(error) => usage_error(format_args!("{}: {error}", self.file.display())),
            };
        }
        tell(&self.file, &loaded.refused);
        let keys = count(loaded.refused.len(), "setting");
        usage_error(format_args!(
            "there is no mistake in {}, but {keys} that this version cannot serve",
            self.file.display()
        ))
    }
}

impl Check {
    /// Whether a role may, and why.
    fn tell_may(&self, role: &str, action: &str, uri: &str) -> ExitCode {
        let Some(action) = Action::from_name(action) else {
            return usage_error(format_args!(
                "`{action}` is no action; write call, register, publish or subscribe"
            ));
        };
        let policy = MatchPolicy::from_name(&self.policy).expect("clap takes these names only");
        if policy != MatchPolicy::Exact && matches!(action, Action::Call | Action::Publish) {
            return usage_error("patterns are registered and subscribed; leave --match out");
        }
        let realm = self.realm.as_deref();
        let (authid, session) = (self.authid.as_str(), self.session);
        let question = May { realm, role, authid, session, action, uri, policy };
        let explained = match explained(&self.file, &question) {
            Ok(Ok(explained)) => explained,
            Ok(Err(error)) => return usage_error(format_args!("{}: {error}", self.file.display())),
            Err(refused) => return refused.tell(),
        };
        let place = explained.line.map_or(String::new(), |line| format!("{}:{line}: ", self.file.display()));
        let _ = writeln!(io::stdout().lock(), "{place}{}", explained.text);
        match explained.allowed {
            Some(true) => ExitCode::SUCCESS,
            Some(false) => ExitCode::from(EXIT_DENIED),
            None => ExitCode::from(EXIT_UNKNOWN),
        }
    }
}
