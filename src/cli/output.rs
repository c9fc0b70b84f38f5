//! What the client commands write: values for people or as JSON on standard output, everything else on standard
//! error. Colours appear on a terminal only, and not if NO_COLOR is set.
//!
//! For people an event is one line: the topic, the arguments as JSON, and the keyword arguments as `key=JSON`. With
//! `--json` it is one object, whose keys every command documents. Control characters of what others have sent never
//! reach the terminal.

use std::borrow::Cow;
use std::io::{ErrorKind, Write};

use anstyle::{AnsiColor, Color, Style};

use super::exit::Failure;
use crate::client::{OwnedDict, Refused};
use crate::codec;
use crate::codec::payload::OwnedPayload;
use crate::wamp::{Dict, List, Payload, Serializer, Value};

const NAME: Style = Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Cyan)));
const KEY: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));
const ERROR: Style = Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Red)));

/// Writes one line to standard output.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    written.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::Output(error),
    })
}

/// Writes one line to standard error.
pub fn notice(text: &str) {
    // Nobody is left to be told if this cannot be written.
    let _ = writeln!(anstream::stderr(), "{}", printable(text));
}

/// Tells on standard error what went wrong.
pub fn error(text: &str) {
    let _ = writeln!(anstream::stderr(), "{ERROR}error:{ERROR:#} {}", printable(text));
}

/// Tells an ERROR on standard error: for people, or as an object with `error`, `args`, `kwargs` and `details`.
pub fn refused(refused: &Refused, json: bool) {
    if json {
        let (args, kwargs) = arguments(refused.payload.borrow());
        let object = object(&[
            ("error", Value::text(&refused.error)),
            ("args", args),
            ("kwargs", kwargs),
            ("details", Value::Dict(refused.details.borrow())),
        ]);
        let _ = writeln!(anstream::stderr(), "{object}");
        return;
    }
    let uri = printable(&refused.error);
    let rest = payload_text(refused.payload.borrow());
    let _ = writeln!(anstream::stderr(), "{ERROR}error:{ERROR:#} {uri}{rest}");
}

/// A topic or procedure and what came for it, in one line for people.
pub fn named_line(name: &str, payload: Payload<'_>) -> String {
    format!("{NAME}{}{NAME:#}{}", printable(name), payload_text(payload))
}

/// The result of a call for people and scripts: one positional result stands alone, a text even without quotes; no
/// result is nothing.
pub fn result_text(payload: Payload<'_>) -> Option<String> {
    let (args, kwargs) = codec::payload::values(payload);
    if codec::entries(&kwargs).next().is_none() {
        let mut items = items(&args);
        match (items.next(), items.next()) {
            (None, _) => return None,
            (Some(Value::Text(text)), None) => return Some(text.into_owned()),
            (Some(value), None) => return Some(json(&value)),
            _ => {}
        }
    }
    Some(payload_text(payload).trim_start().to_owned())
}

/// The arguments as a list (or the one binary in its place) and the keyword arguments as a dictionary, both also
/// where there are none.
pub fn arguments(payload: Payload<'_>) -> (Value<'_>, Value<'_>) {
    let (args, kwargs) = codec::payload::values(payload);
    let args = match args {
        Value::Null => Value::List(List::Values(&[])),
        args => args,
    };
    (args, Value::Dict(kwargs))
}

/// One line of JSON with these keys.
pub fn object(pairs: &[(&str, Value<'_>)]) -> String {
    json(&Value::Dict(Dict::Pairs(pairs)))
}

/// Details as a value.
pub fn details(details: &OwnedDict) -> Value<'_> {
    Value::Dict(details.borrow())
}

/// The value as JSON. Dictionaries whose keys have no form as text become null, and that is told.
pub fn json(value: &Value<'_>) -> String {
    let list = OwnedPayload::from_values(Serializer::Json, std::slice::from_ref(value), &[]);
    let Ok(list) = list else {
        notice("a dictionary whose keys are no texts cannot be shown");
        return "null".to_owned();
    };
    let bytes = list.borrow().bytes();
    // Payload is a list of arguments; the value stands between its brackets.
    compact(&String::from_utf8_lossy(&bytes[1..bytes.len() - 1]))
}

/// JSON without the white space between its values: a publisher's own may have line breaks.
fn compact(json: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    let kept = json.chars().filter(|&c| {
        let keep = in_text || !matches!(c, ' ' | '\t' | '\n' | '\r');
        in_text ^= c == '"' && !escaped;
        escaped = in_text && c == '\\' && !escaped;
        keep
    });
    kept.collect()
}

/// Arguments and keyword arguments for people, a space in front of each.
fn payload_text(payload: Payload<'_>) -> String {
    let (args, kwargs) = codec::payload::values(payload);
    let mut text = String::new();
    for value in items(&args) {
        text.push(' ');
        text.push_str(&printable(&json(&value)));
    }
    for (key, value) in codec::entries(&kwargs) {
        let (key, value) = (printable(&key), json(&value));
        text.push_str(&format!(" {KEY}{key}{KEY:#}={}", printable(&value)));
    }
    text
}

/// The arguments one by one; a binary in place of the list is one.
fn items<'a>(args: &Value<'a>) -> impl Iterator<Item = Value<'a>> + use<'a> {
    let (list, single) = match args {
        Value::List(list) => (Some(*list), None),
        Value::Null => (None, None),
        single => (None, Some(single.clone())),
    };
    list.into_iter().flat_map(|list| codec::items(&list)).chain(single)
}

/// The text with control characters written as escapes, so that it cannot command a terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().flat_map(|c| {
        let (control, plain) =
            if c.is_control() { (Some(c.escape_default()), None) } else { (None, Some(c)) };
        control.into_iter().flatten().chain(plain)
    });
    Cow::Owned(escaped.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(args: &str, kwargs: Option<&str>) -> OwnedPayload {
        OwnedPayload::from_json(Some(args), kwargs).unwrap()
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_line_has_name_arguments_and_keyword_arguments() {
        let given = payload(r#"[1, "two", {"a": [3]}]"#, Some(r#"{"k": null, "l": "x"}"#));
        assert_eq!(plain(&named_line("com.a", given.borrow())), r#"com.a 1 "two" {"a":[3]} k=null l="x""#);
        assert_eq!(plain(&named_line("com.a", Payload::EMPTY)), "com.a");
    }

    #[test]
    fn white_space_of_others_is_dropped_outside_of_texts() {
        let given = payload("[ { \"a b\" : [ 1 ,\r\n\t\"\\\\\" , \"x \\\" y\" ] } ]", None);
        assert_eq!(plain(&named_line("a", given.borrow())), r#"a {"a b":[1,"\\","x \" y"]}"#);
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(plain(&named_line("com.\u{1b}[2J", Payload::EMPTY)), "com.\\u{1b}[2J");
        let given = payload("[\"\u{9b}31m\"]", None);
        assert_eq!(plain(&named_line("a", given.borrow())), "a \"\\u{9b}31m\"");
    }

    #[test]
    fn one_result_stands_alone() {
        for (args, kwargs, expected) in [
            ("[]", None, None),
            ("[5]", None, Some("5")),
            (r#"["a \" b"]"#, None, Some("a \" b")),
            (r#"[{"a":1}]"#, None, Some(r#"{"a":1}"#)),
            (r#"[1,"b"]"#, None, Some(r#"1 "b""#)),
            ("[1]", Some(r#"{"k":2}"#), Some("1 k=2")),
            ("[]", Some(r#"{"k":2}"#), Some("k=2")),
        ] {
            let given = payload(args, kwargs);
            let text = result_text(given.borrow()).map(|text| plain(&text));
            assert_eq!(text.as_deref(), expected, "{args}");
        }
        assert_eq!(result_text(Payload::EMPTY), None);
    }

    #[test]
    fn objects_have_lists_and_dictionaries_also_where_nothing_was_sent() {
        let (args, kwargs) = arguments(Payload::EMPTY);
        assert_eq!(object(&[("args", args), ("kwargs", kwargs)]), r#"{"args":[],"kwargs":{}}"#);
    }
}
