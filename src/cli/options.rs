//! The options of the message that a command sends, as the WAMP specification names them.
//!
//! `fanwire pub com.example.topic 23 -o retain=true -o eligible_authrole='["admin"]'`: whatever a router knows can be
//! asked for, also what this program has no flag for.

use super::arguments::{KeyValue, json_or_text};
use super::exit::Failure;
use crate::wamp::Value;

/// `--option`.
#[derive(clap::Args, Debug, Default)]
pub struct MessageOptions {
    /// An option of the message as the WAMP specification names it, its value JSON or else text; may be repeated, and
    /// wins over what other flags say
    #[arg(short = 'o', long = "option", value_name = "KEY=VALUE", help_heading = "WAMP")]
    option: Vec<KeyValue>,
}

impl MessageOptions {
    /// What the command's own flags ask for, and what was given: each key once.
    pub fn with<'a>(&'a self, flags: Vec<(&'a str, Value<'a>)>) -> Vec<(&'a str, Value<'a>)> {
        let mut all = flags;
        for KeyValue { key, value } in &self.option {
            all.retain(|(known, _)| known != key);
            all.push((key, json_or_text(value)));
        }
        all
    }

    /// What was given for an option that is true or false; nothing else is sent for it.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Failure> {
        let Some(KeyValue { value, .. }) = self.option.iter().rfind(|option| option.key == key) else {
            return Ok(None);
        };
        match json_or_text(value) {
            Value::Bool(flag) => Ok(Some(flag)),
            _ => Err(Failure::Usage(format!("the option `{key}` is true or false, not `{value}`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_last_wins_and_stands_once() {
        let given = |text: &str| text.parse::<KeyValue>().unwrap();
        let options = MessageOptions { option: vec![given("a=1"), given("b=x"), given("a=[2]")] };
        let all = options.with(vec![("a", Value::Bool(true)), ("c", Value::Null)]);
        let keys: Vec<_> = all.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["c", "b", "a"]);
        assert!(matches!(&all[1].1, Value::Text(text) if text == "x") && matches!(all[2].1, Value::List(_)));
    }

    #[test]
    fn flags_are_true_or_false() {
        let given = |text: &str| MessageOptions { option: vec![text.parse().unwrap()] }.flag("a");
        assert!(matches!((given("a=true"), given("a=false")), (Ok(Some(true)), Ok(Some(false)))));
        assert!(matches!(given("b=7"), Ok(None)));
        assert!(matches!(given("a=7"), Err(Failure::Usage(_))) && given("a=yes").is_err());
    }
}
