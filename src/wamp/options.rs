//! The options a router reads, parsed once into plain fields.
//!
//! Unknown keys are ignored, as the specification asks. A known key with a value of the wrong type is refused
//! ([`WrongOption`]): the request gets ERROR `wamp.error.invalid_argument`. Some keys are for the receiver, not for the
//! router ([`forwarded`]); that there are some is noted, since they travel on.

use std::num::NonZeroU32;

use super::uri::MatchPolicy;
use super::value::{RETAIN_CLEAR, Value, forwarded};

/// A known option had a value that is not acceptable; the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrongOption(pub &'static str);

/// Options of one kind of message.
pub trait Options: Default {
    /// Takes one entry; ignores it if the key is none of its own.
    fn set(&mut self, key: &str, value: &Value<'_>) -> Result<(), WrongOption>;
}

/// `PUBLISH.Options`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishOptions {
    /// The publisher wants PUBLISHED or ERROR.
    pub acknowledge: bool,
    /// The publisher does not get its own event (advanced profile, "Publisher Exclusion").
    pub exclude_me: bool,
    /// The publisher wants its subscribers to know who it is (advanced profile, "Publisher Identification").
    pub disclose_me: bool,
    /// The event is kept for those who subscribe later (advanced profile, "Event Retention").
    pub retain: bool,
    /// What is kept for them is forgotten. This router's own option, named by the rule for those.
    pub retain_clear: bool,
    /// Some of the lists that say who may get the event are there (advanced profile, "Subscriber Black- and
    /// Whitelisting"). The lists themselves are read by who needs them.
    pub restricted: bool,
    /// Attributes that travel on are among the options.
    pub custom: bool,
}

impl Default for PublishOptions {
    fn default() -> Self {
        PublishOptions {
            acknowledge: false,
            exclude_me: true,
            disclose_me: false,
            retain: false,
            retain_clear: false,
            restricted: false,
            custom: false,
        }
    }
}

impl Options for PublishOptions {
    fn set(&mut self, key: &str, value: &Value<'_>) -> Result<(), WrongOption> {
        match key {
            "acknowledge" => self.acknowledge = bool(value, "acknowledge")?,
            "exclude_me" => self.exclude_me = bool(value, "exclude_me")?,
            "disclose_me" => self.disclose_me = bool(value, "disclose_me")?,
            "retain" => self.retain = bool(value, "retain")?,
            RETAIN_CLEAR => self.retain_clear = bool(value, RETAIN_CLEAR)?,
            "exclude" | "exclude_authid" | "exclude_authrole" | "eligible" | "eligible_authid"
            | "eligible_authrole" => self.restricted = true,
            _ => self.custom |= forwarded(key),
        }
        Ok(())
    }
}

/// `SUBSCRIBE.Options`
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SubscribeOptions {
    /// How the topic is matched.
    pub match_policy: MatchPolicy,
    /// The subscriber wants what is retained (advanced profile, "Event Retention").
    pub get_retained: bool,
}

impl Options for SubscribeOptions {
    fn set(&mut self, key: &str, value: &Value<'_>) -> Result<(), WrongOption> {
        match key {
            "match" => self.match_policy = match_policy(value)?,
            "get_retained" => self.get_retained = bool(value, "get_retained")?,
            _ => {}
        }
        Ok(())
    }
}

/// `REGISTER.Options.invoke`: who of a registration's callees answers a call (advanced profile, "Shared Registration").
///
/// Two are this router's own. Their names begin with an underscore, as the specification wants it of whatever it does
/// not define, so a later version of it cannot mean something else by them; and as they are values of `invoke`, another
/// router refuses them instead of balancing in a way that nobody asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum InvocationPolicy {
    /// There is one callee.
    #[default]
    Single,
    /// The one that registered first.
    First,
    /// The one that registered last.
    Last,
    /// One after the other, in the order in which they registered.
    RoundRobin,
    /// Any, with the same chance.
    Random,
    /// Who has the fewest open invocations; among equals, one after the other.
    LeastOpen,
    /// Of two drawn at random, who has fewer open invocations.
    PowerOfTwo,
}

impl InvocationPolicy {
    /// The policy named by the option's value.
    pub fn from_name(name: &str) -> Option<InvocationPolicy> {
        match name {
            "single" => Some(InvocationPolicy::Single),
            "first" => Some(InvocationPolicy::First),
            "last" => Some(InvocationPolicy::Last),
            "roundrobin" => Some(InvocationPolicy::RoundRobin),
            "random" => Some(InvocationPolicy::Random),
            "_leastopen" => Some(InvocationPolicy::LeastOpen),
            "_poweroftwo" => Some(InvocationPolicy::PowerOfTwo),
            _ => None,
        }
    }

    /// The option's value.
    pub fn name(self) -> &'static str {
        match self {
            InvocationPolicy::Single => "single",
            InvocationPolicy::First => "first",
            InvocationPolicy::Last => "last",
            InvocationPolicy::RoundRobin => "roundrobin",
            InvocationPolicy::Random => "random",
            InvocationPolicy::LeastOpen => "_leastopen",
            InvocationPolicy::PowerOfTwo => "_poweroftwo",
        }
    }

    /// True if the choice depends on how many invocations each callee has open, so that they must be counted.
    pub fn counts(self) -> bool {
        matches!(self, InvocationPolicy::LeastOpen | InvocationPolicy::PowerOfTwo)
    }
}

/// `REGISTER.Options`
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RegisterOptions {
    /// How the procedure is matched.
    pub match_policy: MatchPolicy,
    /// The callee wants to know who calls (advanced profile, "Caller Identification").
    pub disclose_caller: bool,
    /// The callee keeps the time of calls itself (advanced profile, "Call Timeouts").
    pub forward_timeout: bool,
    /// Who of several callees is called.
    pub invoke: InvocationPolicy,
    /// How many invocations this callee has open at most under this registration (Crossbar.io's option).
    pub concurrency: Option<NonZeroU32>,
    /// Whoever has the procedure registered loses it (Autobahn's option).
    pub force_reregister: bool,
}

impl Options for RegisterOptions {
    fn set(&mut self, key: &str, value: &Value<'_>) -> Result<(), WrongOption> {
        match key {
            "match" => self.match_policy = match_policy(value)?,
            "disclose_caller" => self.disclose_caller = bool(value, "disclose_caller")?,
            "forward_timeout" => self.forward_timeout = bool(value, "forward_timeout")?,
            "invoke" => {
                let invoke = InvocationPolicy::from_name(text(value, "invoke")?);
                self.invoke = invoke.ok_or(WrongOption("invoke"))?;
            }
            "concurrency" => self.concurrency = Some(concurrency(value).ok_or(WrongOption("concurrency"))?),
            "force_reregister" => self.force_reregister = bool(value, "force_reregister")?,
            _ => {}
        }
        Ok(())
    }
}

/// `CALL.Options`
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CallOptions {
    /// The caller wants the callee to know who calls (advanced profile, "Caller Identification").
    pub disclose_me: bool,
    /// More CALLs with the same request id follow (advanced profile, "Progressive Call Invocations").
    pub progress: bool,
    /// The caller takes more RESULTs than one (advanced profile, "Progressive Call Results").
    pub receive_progress: bool,
    /// How long the answer may take; 0: however long it takes. `None`: not said (advanced profile, "Call Timeouts").
    pub timeout_ms: Option<u64>,
    /// Attributes that travel on are among the options.
    pub custom: bool,
}

impl Options for CallOptions {
    fn set(&mut self, key: &str, value: &Value<'_>) -> Result<(), WrongOption> {
        match key {
            "disclose_me" => self.disclose_me = bool(value, "disclose_me")?,
            "progress" => self.progress = bool(value, "progress")?,
            "receive_progress" => self.receive_progress = bool(value, "receive_progress")?,
            "timeout" => self.timeout_ms = Some(unsigned(value, "timeout")?),
            _ => self.custom |= forwarded(key),
        }
        Ok(())
    }
}

/// Options of a CALL that goes on with a call: all others are those of the first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FurtherCallOptions {
    /// More CALLs follow even this one.
    pub progress: bool,
}

impl Options for FurtherCallOptions {
    fn set(&mut self, key: &str, value: &Value<'_>) -> Result<(), WrongOption> {
        if key == "progress" {
            self.progress = bool(value, "progress")?;
        }
        Ok(())
    }
}

/// `YIELD.Options`
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct YieldOptions {
    /// More YIELDs follow (advanced profile, "Progressive Call Results").
    pub progress: bool,
    /// Attributes that travel on are among the options.
    pub custom: bool,
}

impl Options for YieldOptions {
    fn set(&mut self, key: &str, value: &Value<'_>) -> Result<(), WrongOption> {
        match key {
            "progress" => self.progress = bool(value, "progress")?,
            _ => self.custom |= forwarded(key),
        }
        Ok(())
    }
}

/// At least 1; more than anybody can have open is as many as there may be.
fn concurrency(value: &Value<'_>) -> Option<NonZeroU32> {
    match value {
        Value::Unsigned(count) => NonZeroU32::new(u32::try_from(*count).unwrap_or(u32::MAX)),
        _ => None,
    }
}

/// What says how a payload is to be read that the router does not look into, of PUBLISH, CALL, YIELD and ERROR
/// (advanced profile, "Payload Passthru Mode").
///
/// The values are the peers' own business: the specification lists those that its schemes know, and forbids the router
/// to look into them. Only that they are texts, and that there is a scheme, is held against it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PassthruOptions {
    /// `ppt_scheme` is there and not empty: the mode is in use.
    scheme: bool,
    /// One of the others is.
    attribute: bool,
}

impl PassthruOptions {
    /// True if the mode is in use. Refuses attributes without a scheme.
    pub fn used(&self) -> Result<bool, WrongOption> {
        if self.attribute && !self.scheme { Err(WrongOption("ppt_scheme")) } else { Ok(self.scheme) }
    }
}

impl Options for PassthruOptions {
    fn set(&mut self, key: &str, value: &Value<'_>) -> Result<(), WrongOption> {
        let attribute = match key {
            "ppt_scheme" => {
                self.scheme = !text(value, "ppt_scheme")?.is_empty();
                return Ok(());
            }
            "ppt_serializer" => "ppt_serializer",
            "ppt_cipher" => "ppt_cipher",
            "ppt_keyid" => "ppt_keyid",
            _ => return Ok(()),
        };
        text(value, attribute)?;
        self.attribute = true;
        Ok(())
    }
}

/// Options of a message of which the router reads none itself: the details of ERROR.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CustomOptions {
    /// Attributes that travel on are among the options.
    pub custom: bool,
}

impl Options for CustomOptions {
    fn set(&mut self, key: &str, _value: &Value<'_>) -> Result<(), WrongOption> {
        self.custom |= forwarded(key);
        Ok(())
    }
}

/// `CANCEL.Options.mode` (advanced profile, "Call Canceling").
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum CancelMode {
    /// The caller is answered at once; the callee is not told.
    Skip,
    /// The callee is told; its answer is the caller's.
    Kill,
    /// The callee is told, and the caller is answered at once.
    #[default]
    KillNoWait,
}

impl CancelMode {
    /// The option's value.
    pub fn name(self) -> &'static str {
        match self {
            CancelMode::Skip => "skip",
            CancelMode::Kill => "kill",
            CancelMode::KillNoWait => "killnowait",
        }
    }
}

/// `CANCEL.Options`
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CancelOptions {
    /// How the call is given up; `killnowait` if not said.
    pub mode: CancelMode,
}

impl Options for CancelOptions {
    fn set(&mut self, key: &str, value: &Value<'_>) -> Result<(), WrongOption> {
        if key == "mode" {
            self.mode = match text(value, "mode")? {
                "skip" => CancelMode::Skip,
                "kill" => CancelMode::Kill,
                "killnowait" => CancelMode::KillNoWait,
                _ => return Err(WrongOption("mode")),
            };
        }
        Ok(())
    }
}

fn bool(value: &Value<'_>, key: &'static str) -> Result<bool, WrongOption> {
    match value {
        Value::Bool(value) => Ok(*value),
        _ => Err(WrongOption(key)),
    }
}

fn unsigned(value: &Value<'_>, key: &'static str) -> Result<u64, WrongOption> {
    match value {
        Value::Unsigned(value) => Ok(*value),
        _ => Err(WrongOption(key)),
    }
}

fn text<'v>(value: &'v Value<'_>, key: &'static str) -> Result<&'v str, WrongOption> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(WrongOption(key)),
    }
}

fn match_policy(value: &Value<'_>) -> Result<MatchPolicy, WrongOption> {
    MatchPolicy::from_name(text(value, "match")?).ok_or(WrongOption("match"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_ignored_and_wrong_types_named() {
        let mut options = PublishOptions::default();
        options.set("retain_for", &Value::Unsigned(3)).unwrap();
        options.set("acknowledge", &Value::Bool(true)).unwrap();
        options.set("exclude_me", &Value::Bool(false)).unwrap();
        let expected = PublishOptions { acknowledge: true, exclude_me: false, ..PublishOptions::default() };
        assert_eq!(options, expected);
        for key in ["acknowledge", "exclude_me", "disclose_me", "retain"] {
            assert_eq!(options.set(key, &Value::text("yes")), Err(WrongOption(key)));
        }
        options.set("_trace", &Value::Unsigned(1)).unwrap();
        assert!(options.custom && !options.restricted);
        options.set("eligible_authrole", &Value::Null).unwrap();
        assert!(options.restricted);
    }

    #[test]
    fn passthru_attributes_are_texts_and_need_a_scheme() {
        let mut options = PassthruOptions::default();
        assert_eq!(options.used(), Ok(false));
        for key in ["ppt_scheme", "ppt_serializer", "ppt_cipher", "ppt_keyid"] {
            assert_eq!(options.set(key, &Value::Unsigned(1)), Err(WrongOption(key)));
        }
        options.set("ppt_keyid", &Value::text("k")).unwrap();
        options.set("ppt_scheme", &Value::text("")).unwrap();
        assert_eq!(options.used(), Err(WrongOption("ppt_scheme")));
        options.set("ppt_scheme", &Value::text("x_mine")).unwrap();
        assert_eq!(options.used(), Ok(true));
    }

    #[test]
    fn a_timeout_is_a_whole_number_that_is_not_negative() {
        let mut options = CallOptions::default();
        for wrong in [Value::Signed(-1), Value::Float(1.0), Value::text("1"), Value::Bool(true)] {
            assert_eq!(options.set("timeout", &wrong), Err(WrongOption("timeout")));
        }
        options.set("timeout", &Value::Unsigned(u64::MAX)).unwrap();
        options.set("_trace", &Value::Null).unwrap();
        assert_eq!(options, CallOptions { timeout_ms: Some(u64::MAX), custom: true, ..Default::default() });
    }

    #[test]
    fn a_further_call_has_one_option() {
        let mut options = FurtherCallOptions::default();
        options.set("timeout", &Value::text("never read")).unwrap();
        assert_eq!(options.set("progress", &Value::Unsigned(1)), Err(WrongOption("progress")));
        options.set("progress", &Value::Bool(true)).unwrap();
        assert!(options.progress);
    }

    #[test]
    fn register_options_take_their_names_and_numbers_only() {
        let mut options = RegisterOptions::default();
        for name in ["single", "first", "last", "roundrobin", "random", "_leastopen", "_poweroftwo"] {
            options.set("invoke", &Value::text(name)).unwrap();
            assert_eq!(options.invoke.name(), name);
        }
        for wrong in [Value::text("all"), Value::text("leastopen"), Value::Null] {
            assert_eq!(options.set("invoke", &wrong), Err(WrongOption("invoke")));
        }
        options.set("concurrency", &Value::Unsigned(u64::MAX)).unwrap();
        assert_eq!(options.concurrency, NonZeroU32::new(u32::MAX));
        for wrong in [Value::Unsigned(0), Value::Bool(true), Value::text("1")] {
            assert_eq!(options.set("concurrency", &wrong), Err(WrongOption("concurrency")));
        }
        assert_eq!(options.set("force_reregister", &Value::Null), Err(WrongOption("force_reregister")));
    }

    #[test]
    fn match_and_mode_take_their_names_only() {
        let mut options = SubscribeOptions::default();
        options.set("match", &Value::text("wildcard")).unwrap();
        assert_eq!(options.match_policy, MatchPolicy::Wildcard);
        assert_eq!(options.set("match", &Value::text("glob")), Err(WrongOption("match")));
        let mut cancel = CancelOptions::default();
        assert_eq!(cancel.set("mode", &Value::Null), Err(WrongOption("mode")));
        cancel.set("mode", &Value::text("kill")).unwrap();
        assert_eq!(cancel.mode, CancelMode::Kill);
    }
}
