//! What an authorizer is asked and what it may answer: the arguments and results of Crossbar.io.
//!
//! It is called with `(session, uri, action, options)`: who it is (as Crossbar.io has it, and `realm`), the URI or
//! pattern, the name of the action, and the options of what it wants to do: those of the message as they came;
//! `publish_options` of a testament; and, where it asks for the history of a subscription, the `match` of that. Its
//! result is one argument: true or false, or a dictionary with `allow` and, if it likes, `disclose`, `cache` (both
//! false if they are left out) and `validate`, null or empty: what asks for validation, which is not done here, is not
//! understood, nor is a dictionary with any other key. What is not understood allows nothing.
//!
//! An authorizer that says it takes three arguments is asked again without the options, as Crossbar.io does, and from
//! then on; until it fails, when it is asked with them again.

use super::{Cause, OwnedQuestion};
use crate::codec;
use crate::codec::payload::{self, OwnedPayload};
use crate::router::letter::Outcome;
use crate::router::peer::Peer;
use crate::router::session::Identity;
use crate::wamp::{Dict, Payload, Serializer, Value, reason};

/// An answer that is one.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Said {
    /// The session may.
    pub allow: bool,
    /// Receivers are told who it was.
    pub disclose: bool,
    /// The answer may be kept.
    pub cache: bool,
}

/// What an authorizer takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// All four arguments.
    Whole,
    /// All but the options: it was written for an old Crossbar.io.
    Old,
}

/// What Python says of a function that takes three arguments, or of a method that takes them besides itself, when it
/// gets four. Crossbar.io looks for the third of these, which is Python 2's, and asks again without the options.
const TAKES_THREE: [&str; 4] = [
    "takes 3 positional arguments but 4 were given",
    "takes 4 positional arguments but 5 were given",
    "takes exactly 4 arguments",
    "takes exactly 3 arguments (4 given)",
];

/// True if the authorizer cannot be called with the options: its error says so.
pub fn takes_three(outcome: &Outcome) -> bool {
    let Outcome::Error { payload, .. } = outcome else { return false };
    let (arguments, _) = payload::values(payload.borrow());
    let Value::List(arguments) = &arguments else { return false };
    match codec::items(arguments).next() {
        Some(Value::Text(text)) => TAKES_THREE.iter().any(|said| text.contains(said)),
        _ => false,
    }
}

/// The arguments of the call. None if the options have no form in the router's serializer.
pub fn arguments(
    (peer, identity, realm): (&Peer, &Identity, &str),
    question: &OwnedQuestion,
    form: Form,
) -> Option<OwnedPayload> {
    let options = payload::values(question.options.as_ref()?.borrow()).0;
    let Value::List(options) = &options else { return None };
    let options = codec::items(options).next()?;
    let extra = identity.extra.as_ref().and_then(|extra| extra.dict());
    peer.transport_facts()?.details(|transport| {
        let session = [
            ("realm", Value::text(realm)),
            ("session", Value::Unsigned(identity.session.0)),
            ("authid", Value::text(&identity.authid)),
            ("authrole", Value::text(&identity.role.name)),
            ("authmethod", Value::text(identity.authmethod)),
            ("authprovider", Value::text(identity.authprovider)),
            ("authextra", extra.map_or(Value::Null, Value::Dict)),
            ("transport", Value::Dict(transport)),
        ];
        let arguments = [
            Value::Dict(Dict::Pairs(&session)),
            Value::text(&question.uri),
            Value::text(question.action.name()),
            options.clone(),
        ];
        let count = if form == Form::Old { 3 } else { 4 };
        OwnedPayload::from_values(Serializer::MessagePack, &arguments[..count], &[]).ok()
    })
}

/// What has come of the call.
pub fn said(outcome: &Outcome) -> Result<Said, Cause> {
    match outcome {
        Outcome::Result { payload, .. } => read(payload.borrow()).map_err(Cause::Result),
        Outcome::Error { error, .. } => Err(Cause::Error(error.clone())),
        Outcome::Declined { .. } => Err(Cause::Error(reason::UNAVAILABLE.into())),
        Outcome::Refused(refusal) => Err(Cause::Refused(*refusal)),
    }
}

fn read(result: Payload<'_>) -> Result<Said, &'static str> {
    let (arguments, _) = payload::values(result);
    let first = match &arguments {
        Value::List(arguments) => codec::items(arguments).next(),
        _ => None,
    };
    match first {
        Some(Value::Bool(allow)) => Ok(Said { allow, ..Said::default() }),
        Some(Value::Dict(said)) => read_dict(&said),
        _ => Err("it is neither true nor false, nor a dictionary"),
    }
}

fn read_dict(dict: &Dict<'_>) -> Result<Said, &'static str> {
    let mut said = Said::default();
    let mut has_allow = false;
    for (key, value) in codec::entries(dict) {
        match (&*key, value) {
            ("allow", Value::Bool(allow)) => (said.allow, has_allow) = (allow, true),
            ("disclose", Value::Bool(disclose)) => said.disclose = disclose,
            ("cache", Value::Bool(cache)) => said.cache = cache,
            ("validate", Value::Null) => {}
            ("validate", Value::Dict(schemas)) if codec::entries(&schemas).next().is_none() => {}
            ("validate", _) => return Err("this router does not validate payloads"),
            ("allow" | "disclose" | "cache", _) => {
                return Err("allow, disclose and cache are true or false");
            }
            _ => return Err("it has a key that is not known"),
        }
    }
    if has_allow { Ok(said) } else { Err("it does not say whether to allow") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_in_json(arguments: &str) -> Result<Said, &'static str> {
        read(OwnedPayload::from_json(Some(arguments), None).unwrap().borrow())
    }

    #[test]
    fn results_are_those_of_crossbar() {
        let allowed = Said { allow: true, ..Said::default() };
        assert_eq!(said_in_json("[true]"), Ok(allowed));
        assert_eq!(said_in_json("[false,1]"), Ok(Said::default()));
        assert_eq!(said_in_json(r#"[{"allow":true}]"#), Ok(allowed));
        let all = r#"[{"disclose":true,"allow":true,"cache":true,"validate":null}]"#;
        assert_eq!(said_in_json(all), Ok(Said { allow: true, disclose: true, cache: true }));
        assert_eq!(said_in_json(r#"[{"allow":true,"validate":{}}]"#), Ok(allowed), "that asks for nothing");
        for wrong in [
            "[]",
            "[null]",
            "[1]",
            r#"["true"]"#,
            "[{}]",
            r#"[{"cache":true}]"#,
            r#"[{"allow":1}]"#,
            r#"[{"allow":true,"cache":1}]"#,
            r#"[{"allow":true,"meta":{}}]"#,
            r#"[{"allow":true,"validate":{"call":"x"}}]"#,
            r#"[{"allow":true,"validate":{"args":null}}]"#,
            r#"[{"allow":true,"validate":[]}]"#,
        ] {
            assert!(said_in_json(wrong).is_err(), "{wrong}");
        }
        assert!(read(OwnedPayload::EMPTY.borrow()).is_err());
    }
}
