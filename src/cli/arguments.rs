//! The payload as people type it: what is JSON is taken as JSON, anything else as text.
//!
//! `fanwire pub com.example.topic 23 hello '{"a": [1]}' -k unit=°C` publishes three arguments, a number, a text and a
//! dictionary, and one keyword argument. A number that is meant as text is quoted (`'"23"'`), or `--text` is given.

use std::str::FromStr;

use crate::codec;
use crate::codec::payload::OwnedPayload;
use crate::wamp::message::Text;
use crate::wamp::{Serializer, Value};

use super::exit::Failure;

/// What the `--help` of `pub` and `call` says about arguments.
pub const ARGUMENT_RULES: &str = "\
Arguments:
  What is valid JSON is taken as JSON, anything else as text: 23, true, null, [1,2]
  and '{\"a\": 1}' are values; hello and com.example are texts. Quote twice to send
  JSON as text ('\"23\"'), or give --text to send all of them as text. Arguments
  that begin with a hyphen and are no numbers stand behind --.";

/// The arguments and keyword arguments to send.
#[derive(clap::Args, Debug, Default)]
pub struct Arguments {
    /// Arguments: JSON, or text where it is not JSON
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    args: Vec<String>,

    /// Keyword arguments, as one JSON object
    #[arg(long, value_name = "JSON")]
    kwargs: Option<String>,

    /// One keyword argument; may be repeated, and wins over --kwargs
    #[arg(short = 'k', long = "kwarg", value_name = "KEY=VALUE")]
    kwarg: Vec<KeyValue>,

    /// Take every ARG and VALUE as text
    #[arg(long)]
    text: bool,
}

/// `KEY=VALUE`
#[derive(Clone, Debug)]
pub struct KeyValue {
    pub(super) key: String,
    pub(super) value: String,
}

impl FromStr for KeyValue {
    type Err = String;

    fn from_str(text: &str) -> Result<KeyValue, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                Ok(KeyValue { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err("expected KEY=VALUE".to_owned()),
        }
    }
}

impl Arguments {
    /// The payload they make.
    pub fn payload(&self) -> Result<OwnedPayload, Failure> {
        let args: Vec<_> = self.args.iter().map(|arg| self.value(arg)).collect();
        let given = self.keyword_arguments()?;
        let kwargs: Vec<_> = given.iter().map(|(key, value)| (key.as_ref(), value.clone())).collect();
        OwnedPayload::from_values(Serializer::Json, &args, &kwargs)
            .map_err(|error| Failure::Usage(error.to_string()))
    }

    /// Each key once: the last value that was given for it.
    fn keyword_arguments(&self) -> Result<Vec<(Text<'_>, Value<'_>)>, Failure> {
        let mut kwargs: Vec<(Text<'_>, Value<'_>)> = match &self.kwargs {
            None => Vec::new(),
            Some(json) => match json_value(json) {
                Some(Value::Dict(dict)) => codec::entries(&dict).collect(),
                _ => return Err(Failure::Usage("--kwargs must be a JSON object".to_owned())),
            },
        };
        for KeyValue { key, value } in &self.kwarg {
            kwargs.retain(|(known, _)| known != key);
            kwargs.push((Text::Borrowed(key), self.value(value)));
        }
        Ok(kwargs)
    }

    fn value<'a>(&self, text: &'a str) -> Value<'a> {
        if self.text { Value::text(text) } else { json_or_text(text) }
    }
}

/// The value of a text that is JSON, or the text itself.
pub fn json_or_text(text: &str) -> Value<'_> {
    json_value(text).unwrap_or(Value::text(text))
}

fn json_value(text: &str) -> Option<Value<'_>> {
    codec::check(Serializer::Json, text.as_bytes()).ok().map(codec::value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(args: &[&str], kwargs: Option<&str>, kwarg: &[&str], text: bool) -> Arguments {
        Arguments {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            kwargs: kwargs.map(str::to_owned),
            kwarg: kwarg.iter().map(|pair| pair.parse().unwrap()).collect(),
            text,
        }
    }

    fn json(arguments: &Arguments) -> String {
        String::from_utf8(arguments.payload().unwrap().borrow().bytes().to_vec()).unwrap()
    }

    #[test]
    fn json_is_taken_as_json_and_the_rest_as_text() {
        let args = ["1", "-2.5", "true", "null", "hello", "", "[1,2]", r#"{"a":1}"#, r#""23""#, "01", "1 2"];
        assert_eq!(
            json(&arguments(&args, None, &[], false)),
            r#"[1,-2.5,true,null,"hello","",[1,2],{"a":1},"23","01","1 2"]"#
        );
        assert_eq!(json(&arguments(&["1", "[", "a\"b"], None, &[], true)), r#"["1","[","a\"b"]"#);
    }

    #[test]
    fn no_argument_can_break_out_of_its_place() {
        for arg in ["1],{\"a\":[2", "1,2", "]", "1]", "\"a\"]"] {
            let arguments = arguments(&[arg], None, &[], false);
            let payload = arguments.payload().unwrap();
            let (args, kwargs) = codec::payload::values(payload.borrow());
            let Value::List(list) = args else { panic!("{args:?}") };
            assert_eq!(codec::items(&list).count(), 1, "{arg}");
            assert_eq!(codec::entries(&kwargs).count(), 0, "{arg}");
        }
    }

    #[test]
    fn keyword_arguments_come_from_an_object_and_from_pairs() {
        let given = arguments(&[], Some(r#"{"a":1,"b":[2]}"#), &["a=x=y", "c=3", "c=4"], false);
        assert_eq!(json(&given), r#"[],{"b":[2],"a":"x=y","c":4}"#);
        assert_eq!(json(&arguments(&[], None, &[], false)), "");
        for bad in ["[1]", "a", "", r#"{"a":1"#] {
            assert!(arguments(&[], Some(bad), &[], false).payload().is_err(), "{bad}");
        }
        assert!("=1".parse::<KeyValue>().is_err() && "a".parse::<KeyValue>().is_err());
    }
}
