//! TOML text: tables with their keys in the order they were set.

use serde_json::{Map, Value};

/// A table, and those in it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Section {
    header: String,
    lines: Vec<String>,
    pub sections: Vec<Section>,
}

impl Section {
    /// A table with this header, brackets included; the top of the file has none.
    pub fn new(header: &str) -> Section {
        Section { header: header.to_owned(), ..Section::default() }
    }

    /// A line for people.
    pub fn comment(&mut self, text: &str) {
        self.lines.push(format!("# {text}"));
    }

    /// A key.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.lines.push(format!("{key} = {}", toml(&value.into())));
    }

    /// A key, if there is a value.
    pub fn optional(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// Its keys in one line.
    pub fn inline(&self) -> String {
        format!("{{ {} }}", self.lines.join(", "))
    }

    /// All of it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.append(&mut text);
        text
    }

    fn append(&self, text: &mut String) {
        if !self.header.is_empty() {
            text.push_str(&format!("\n{}\n", self.header));
        }
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        self.sections.iter().for_each(|section| section.append(text));
    }
}

/// A value in one line. A text is written as JSON does, which TOML reads the same but for one character.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("[{}]", list.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => inline(map),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {
            value.to_string().replace('\u{7f}', "\\u007F")
        }
    }
}

fn inline(map: &Map<String, Value>) -> String {
    let bare = |key: &str| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    let entries = map.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| {
        let key = if bare(key) { key.clone() } else { toml(&Value::from(key.as_str())) };
        format!("{key} = {}", toml(value))
    });
    let entries = entries.collect::<Vec<_>>().join(", ");
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {entries} }}") }
}
