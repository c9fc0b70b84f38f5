//! An object of a node configuration that is being read: what nobody has asked for when it is dropped is told, so no
//! key is lost without a word.

use serde_json::{Map, Value};

use super::Report;

/// An object, with its path.
pub struct Object<'a> {
    pub path: String,
    map: &'a Map<String, Value>,
    taken: Vec<&'a str>,
    report: &'a Report,
}

impl<'a> Object<'a> {
    /// The outermost object, if the value is one.
    pub fn root(value: &'a Value, report: &'a Report) -> Option<Object<'a>> {
        Some(Object { path: String::new(), map: value.as_object()?, taken: Vec::new(), report })
    }

    /// True if the key is there, and not null.
    pub fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// The path of a key.
    pub fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A value of any kind.
    pub fn value(&mut self, key: &str) -> Option<&'a Value> {
        let (key, value) = self.map.get_key_value(key)?;
        self.taken.push(key);
        Some(value).filter(|value| !value.is_null())
    }

    /// A text. Numbers are texts too where people write them without quotes.
    pub fn text(&mut self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => self.wrong(key, "a text"),
        }
    }

    /// A whole number.
    pub fn number(&mut self, key: &str) -> Option<u64> {
        let value = self.value(key)?;
        value.as_u64().or_else(|| self.wrong(key, "a whole number"))
    }

    /// True or false.
    pub fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        value.as_bool().or_else(|| self.wrong(key, "true or false"))
    }

    /// A list of texts; one text is a list too.
    pub fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        match self.value(key)? {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(list) => {
                let texts: Option<Vec<_>> =
                    list.iter().map(|value| value.as_str().map(str::to_owned)).collect();
                texts.or_else(|| self.wrong(key, "a list of texts"))
            }
            _ => self.wrong(key, "a list of texts"),
        }
    }

    /// An object in this one.
    pub fn object(&mut self, key: &str) -> Option<Object<'a>> {
        let value = self.value(key)?;
        self.below(self.at(key), value)
    }

    /// A list of objects.
    pub fn objects(&mut self, key: &str) -> Vec<Object<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(list) = value.as_array() else {
            return self.wrong(key, "a list of objects").unwrap_or_default();
        };
        let values = list.iter().enumerate();
        values.filter_map(|(index, value)| self.below(format!("{}[{index}]", self.at(key)), value)).collect()
    }

    /// The objects in an object whose keys are names.
    pub fn entries(&mut self, key: &str) -> Vec<(String, Object<'a>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(map) = value.as_object() else {
            return self.wrong(key, "an object").unwrap_or_default();
        };
        let entries = map.iter().filter_map(|(name, value)| {
            let object = self.below(format!("{}.{name}", self.at(key)), value)?;
            Some((name.clone(), object))
        });
        entries.collect()
    }

    /// Tells that these keys are dropped, where they are there.
    pub fn drop(&mut self, keys: &[(&str, &str)]) {
        for (key, reason) in keys {
            if self.value(key).is_some() {
                self.report.drop(&self.at(key), reason);
            }
        }
    }

    /// Tells that the whole object is dropped.
    pub fn drop_all(&mut self, reason: &str) {
        self.taken.extend(self.map.keys().map(String::as_str));
        self.report.drop(&self.path, reason);
    }

    fn below(&self, path: String, value: &'a Value) -> Option<Object<'a>> {
        let Some(map) = value.as_object() else {
            self.report.drop(&path, "it is not an object");
            return None;
        };
        Some(Object { path, map, taken: Vec::new(), report: self.report })
    }

    fn wrong<T>(&self, key: &str, wanted: &str) -> Option<T> {
        self.report.drop(&self.at(key), &format!("it is not {wanted}"));
        None
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        for key in self.map.keys().filter(|key| !self.taken.contains(&key.as_str())) {
            self.report.drop(&self.at(key), "there is no such key in Crossbar.io that is known here");
        }
    }
}
