//! The options that every client command has: which router, which realm, who joins, how, and how long to wait.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::credentials::Identity;
use super::exit::Failure;
use crate::client::{Client, Options, Url};
use crate::wamp::{MatchPolicy, Serializer, Value};

/// Which router and realm, and how to speak to it.
#[derive(clap::Args, Debug)]
pub struct Target {
    /// Router: ws://, wss://, tcp://, tcps:// (RawSocket) or unix:///path (RawSocket)
    #[arg(long, env = "FANWIRE_URL", default_value = "ws://127.0.0.1:8080/ws", help_heading = "Connection")]
    url: Url,

    /// Realm to join
    #[arg(long, env = "FANWIRE_REALM", default_value = "realm1", help_heading = "Connection")]
    realm: String,

    /// Serializer on the wire
    #[arg(
        long,
        env = "FANWIRE_SERIALIZER",
        default_value = "json",
        value_parser = serializers(),
        help_heading = "Connection"
    )]
    serializer: Serializer,

    /// How long to wait for the connection, and for each answer
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "10",
        value_parser = seconds,
        help_heading = "Connection"
    )]
    timeout: Duration,

    /// Trust the authorities in this PEM file, besides those the machine trusts
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    ca: Option<PathBuf>,

    #[command(flatten)]
    identity: Identity,
}

impl Target {
    /// Connects and joins.
    pub fn connect(&self) -> Result<Client, Failure> {
        let options = Options {
            realm: self.realm.clone(),
            serializer: self.serializer,
            timeout: self.timeout,
            authid: self.identity.authid.clone(),
            credentials: self.identity.credentials()?,
            tls: self.identity.tls(self.ca.clone()),
        };
        Ok(Client::connect(&self.url, &options)?)
    }

    /// How long to wait for an answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// The values of `--serializer`.
pub fn serializers() -> impl TypedValueParser<Value = Serializer> {
    PossibleValuesParser::new(Serializer::ALL.map(Serializer::name))
        .map(|name| Serializer::from_name(&name).expect("only names of serializers are possible"))
}

/// The values of `--match`.
pub fn match_policies() -> impl TypedValueParser<Value = MatchPolicy> {
    let all = [MatchPolicy::Exact, MatchPolicy::Prefix, MatchPolicy::Wildcard];
    PossibleValuesParser::new(all.map(MatchPolicy::name))
        .map(|name| MatchPolicy::from_name(&name).expect("only names of policies are possible"))
}

/// The option that says how a URI is matched; the default policy goes unsaid.
pub fn match_option(policy: MatchPolicy) -> Option<(&'static str, Value<'static>)> {
    (policy != MatchPolicy::Exact).then(|| ("match", Value::text(policy.name())))
}

/// A time in seconds, such as `5` or `0.25`; above 0, and at most a year.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if !(seconds > 0.0 && seconds <= 365.0 * 86_400.0) {
        return Err("must be above 0 and at most a year".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds).max(Duration::from_nanos(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_fractions_and_are_bounded() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("5"), Ok(Duration::from_secs(5)));
        for bad in ["", "0", "-1", "inf", "NaN", "1e300", "5s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
