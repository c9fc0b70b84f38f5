//! Reads a TOML document key by key, remembers where everything stands, and collects every mistake instead of ending
//! at the first.
//!
//! Each table is read by a function that asks for the keys there may be; what it has not asked for when it is done is
//! a mistake, and the nearest key that it has asked for is what should be written instead. A value of the wrong kind
//! is a mistake as well and counts as not said, so that reading goes on.
//!
//! Secrets may stand elsewhere: for a secret `x` the document may have `x_file` or `x_env`. Files and variables come
//! through [`Surroundings`], so nothing here does IO. What a secret is never becomes part of a mistake.

mod syntax;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::syntax::Syntax;
use crate::auth::{SECRET_FILE_BYTES_MAX, Secret};
use crate::limits::PAYLOAD_DEPTH_MAX;
use crate::server::{TlsError, TlsSettings};

/// Edits in ten characters beyond which a key is not what was meant.
const SIMILARITY_MIN: f64 = 0.6;

/// What surrounds a document: the files and variables it names.
pub trait Surroundings {
    /// What is in a file. It may be a secret.
    fn file(&self, path: &Path) -> io::Result<Secret>;

    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<Secret>;

    /// Whether a server could start with certificates and keys, which are there.
    fn check_tls(&self, _: &TlsSettings) -> Result<(), TlsError> {
        Ok(())
    }

    /// Whether a Unix socket could be made at a path.
    fn check_socket(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Something in a document that cannot stand.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mistake {
    /// From 1; 0 if it is of the whole file.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The key with those of the tables around it, as `realm.role.name`; empty if it is in no key.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub text: String,
}

impl fmt::Display for Mistake {
    /// `line:column: key: text`, to follow a file's name and a colon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)
    }
}

/// A document that is being read.
pub struct Reader<'a> {
    text: &'a str,
    /// Where each line begins.
    line_begins: Vec<usize>,
    /// What relative paths start from.
    base: &'a Path,
    surroundings: &'a dyn Surroundings,
    /// Where each key stands: octets from the beginning, by its path.
    places: RefCell<HashMap<String, usize>>,
    /// By path, with what is wrong.
    mistakes: RefCell<HashMap<String, String>>,
    /// What stands under another key, as a secret `x` under `x_file`: the path of that.
    elsewhere: RefCell<HashMap<String, String>>,
    /// What is wrong with the syntax.
    syntax: OnceCell<Syntax>,
}

/// A table that is being read.
pub struct Table<'a> {
    reader: &'a Reader<'a>,
    path: String,
    table: &'a DeTable<'a>,
    asked: Vec<String>,
}

/// A value that is being read, with its path.
struct Item<'a> {
    path: String,
    value: &'a DeValue<'a>,
}

impl<'a> Reader<'a> {
    /// A reader of this text, whose relative paths start from `base`.
    pub fn new(text: &'a str, base: &'a Path, surroundings: &'a dyn Surroundings) -> Reader<'a> {
        let begins = text.match_indices('\n').map(|(newline, _)| newline + 1);
        Reader {
            text,
            line_begins: std::iter::once(0).chain(begins).collect(),
            base,
            surroundings,
            places: RefCell::default(),
            mistakes: RefCell::default(),
            elsewhere: RefCell::default(),
            syntax: OnceCell::new(),
        }
    }

    /// Parses the text. What can be read of it is read, whatever else is wrong with it.
    pub fn parse(&self) -> Spanned<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        self.syntax.get_or_init(|| Syntax::new(self.text, table.get_ref(), &errors));
        table
    }

    /// Reads the whole document.
    pub fn read<T>(&'a self, root: &'a DeTable<'a>, read: impl FnOnce(&mut Table<'a>) -> T) -> T {
        Table { reader: self, path: String::new(), table: root, asked: Vec::new() }.read(read)
    }

    /// Reads some keys of the document, and none of the others.
    pub fn read_some<T>(&'a self, root: &'a DeTable<'a>, read: impl FnOnce(&mut Table<'a>) -> T) -> T {
        read(&mut Table { reader: self, path: String::new(), table: root, asked: Vec::new() })
    }

    /// Says what is wrong with the value at a path; one mistake is enough for each.
    pub fn mistake(&self, path: &str, text: impl Into<String>) {
        let path = self.elsewhere.borrow().get(path).map_or(path, String::as_str).to_owned();
        self.mistakes.borrow_mut().entry(path).or_insert_with(|| text.into());
    }

    /// All mistakes, in the order of the document. A key that stands nowhere has the place of its table. Of what the
    /// parser could only guess nothing else is said than that.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let syntax = self.syntax.get();
        let told = syntax.into_iter().flat_map(|syntax| &syntax.mistakes);
        let mut all: Vec<_> = told.map(|(offset, path, text)| self.at(Some(*offset), path, text)).collect();
        let known = |path: &str| syntax.is_none_or(|syntax| !syntax.lost && !syntax.is_guessed(path));
        let mistakes = self.mistakes.borrow();
        let mistakes = mistakes.iter().filter(|(path, _)| known(path));
        all.extend(mistakes.map(|(path, text)| self.placed(path, text)));
        all.sort();
        all.dedup();
        all
    }

    /// What is wrong with the value at a path, with its place.
    pub fn placed(&self, path: &str, text: &str) -> Mistake {
        let places = self.places.borrow();
        let mut place = path;
        let offset = loop {
            match places.get(place) {
                Some(offset) => break Some(*offset),
                None if place.is_empty() => break None,
                None => place = place.rfind(['.', '[']).map_or("", |end| &place[..end]),
            }
        };
        self.at(offset, path, text)
    }

    fn at(&self, offset: Option<usize>, path: &str, text: &str) -> Mistake {
        let (line, column) = offset.map_or((0, 0), |offset| self.line_column(offset));
        Mistake { line, column, key: without_indices(path), text: text.to_owned() }
    }

    fn line_column(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.line_begins.partition_point(|begin| *begin <= offset);
        let begin = self.line_begins[line - 1];
        (line, self.text[begin..offset].chars().count() + 1)
    }
}

impl<'a> Table<'a> {
    fn read<T>(mut self, read: impl FnOnce(&mut Table<'a>) -> T) -> T {
        let value = read(&mut self);
        self.refuse_unknown_keys();
        value
    }

    /// True if the table has this key, rightly or wrongly.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Says what is wrong with the value of a key of this table.
    pub fn mistake(&self, key: &str, text: impl Into<String>) {
        self.reader.mistake(&below(&self.path, key), text);
    }

    /// A text.
    pub fn text(&mut self, key: &str) -> Option<String> {
        let item = self.item(key)?;
        self.as_text(&item, "a text").map(str::to_owned)
    }

    /// True or false; as `default` says if the table does not.
    pub fn flag(&mut self, key: &str, default: bool) -> bool {
        let Some(item) = self.item(key) else { return default };
        item.value.as_bool().unwrap_or_else(|| {
            self.wrong_kind(&item, "true or false");
            default
        })
    }

    /// A whole number within bounds.
    pub fn number(&mut self, key: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let item = self.item(key)?;
        let Some(number) = item.value.as_integer() else {
            self.wrong_kind(&item, "a whole number");
            return None;
        };
        let number = i128::from_str_radix(number.as_str(), number.radix()).ok();
        let within =
            number.and_then(|number| u64::try_from(number).ok()).filter(|number| bounds.contains(number));
        if within.is_none() {
            let (least, most) = bounds.into_inner();
            self.reader.mistake(&item.path, format!("write a number from {least} to {most}"));
        }
        within
    }

    /// Octets: a number, or a text such as `"64k"`.
    pub fn octets(&mut self, key: &str, bounds: RangeInclusive<u64>) -> Option<usize> {
        let text = self.item(key).and_then(|item| item.value.as_str());
        let Some(text) = text else { return self.number(key, bounds).map(|octets| octets as usize) };
        let octets = super::bytes(text).filter(|octets| bounds.contains(&(*octets as u64)));
        if octets.is_none() {
            let (least, most) = bounds.into_inner();
            self.mistake(key, format!("write octets from {least} to {most}, such as 65536 or \"64k\""));
        }
        octets
    }

    /// One of these names.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let item = self.item(key)?;
        self.chosen(&item, choices)
    }

    /// Some of these names; none if one of them was a mistake.
    pub fn choices<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<Vec<T>> {
        let items = self.list(key)?;
        let chosen: Vec<_> = items.iter().map(|item| self.chosen(item, choices)).collect();
        chosen.into_iter().collect()
    }

    /// Texts.
    pub fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        self.parsed_list(key, |text| Ok(text.to_owned()))
    }

    /// A text that means something; what is wrong with it if not.
    pub fn parsed<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let item = self.item(key)?;
        self.as_parsed(&item, &parse)
    }

    /// Texts that mean something; none if one of them was a mistake.
    pub fn parsed_list<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let items = self.list(key)?;
        let parsed: Vec<_> = items.iter().map(|item| self.as_parsed(item, &parse)).collect();
        parsed.into_iter().collect()
    }

    /// What relative paths start from.
    pub fn base(&self) -> &'a Path {
        self.reader.base
    }

    /// A path; a relative one starts where the document stands.
    pub fn file(&mut self, key: &str) -> Option<PathBuf> {
        self.text(key).map(|path| self.reader.base.join(path))
    }

    /// The same, of a file that can be read.
    pub fn readable(&mut self, key: &str) -> Option<PathBuf> {
        let path = self.file(key)?;
        self.contents(key, &path);
        Some(path)
    }

    /// The text of the file that a key names.
    pub fn file_text(&mut self, key: &str) -> Option<String> {
        let path = self.file(key)?;
        let contents = self.contents(key, &path)?;
        let text = contents.text().map(str::to_owned);
        if text.is_none() {
            self.mistake(key, format!("{}: it is no text in UTF-8", path.display()));
        }
        text
    }

    fn contents(&self, key: &str, path: &Path) -> Option<Secret> {
        let contents = self.reader.surroundings.file(path);
        let told = |error: io::Error| self.mistake(key, format!("{}: {error}", path.display()));
        contents.map_err(told).ok()
    }

    /// A secret: `key` itself, or from the file that `key_file` names (without the end of its line), or from the
    /// environment variable that `key_env` names. One that cannot be read is a mistake, and there all the same, but
    /// empty: that nobody has said it would be another mistake.
    pub fn secret(&mut self, key: &str) -> Option<Secret> {
        let (file, variable) = (format!("{key}_file"), format!("{key}_env"));
        let said: Vec<_> =
            [key, &file, &variable].into_iter().filter(|key| self.table.contains_key(*key)).collect();
        if let [first, second, ..] = said[..] {
            self.mistake(second, format!("write either this or {first}"));
        }
        if let Some(said) = said.first().filter(|said| **said != key) {
            // Whoever says what is wrong with the secret does not know where it stands.
            let mut elsewhere = self.reader.elsewhere.borrow_mut();
            elsewhere.insert(below(&self.path, key), below(&self.path, said));
        }
        let direct = self.item(key).and_then(|item| {
            let text = item.value.as_str();
            if text.is_none() {
                self.wrong_kind(&item, "a text");
            }
            text.map(Secret::from)
        });
        let from_file = self.secret_file(&file);
        let from_variable = self.text(&variable).and_then(|name| {
            let value = self.reader.surroundings.variable(&name);
            if value.is_none() {
                // Its name is not told: people write the secret itself there.
                self.mistake(
                    &variable,
                    "the environment has no such variable; write the name of one, and set it",
                );
            }
            value
        });
        let secret = direct.or(from_file).or(from_variable);
        if secret.as_ref().is_some_and(Secret::is_empty) {
            self.mistake(key, "a secret cannot be empty");
        }
        secret.or_else(|| (!said.is_empty()).then(|| Secret::from("")))
    }

    /// The same of one that is text, as what clients send.
    pub fn secret_text(&mut self, key: &str) -> Option<Secret> {
        let secret = self.secret(key)?;
        if secret.text().is_some() {
            return Some(secret);
        }
        self.mistake(key, "it is no text in UTF-8");
        Some(Secret::from(""))
    }

    fn secret_file(&mut self, key: &str) -> Option<Secret> {
        let path = self.file(key)?;
        let secret = match self.reader.surroundings.file(&path) {
            Ok(contents) => contents.without_line_end(),
            Err(error) => {
                // What names no file is not told: people write the secret itself there.
                let is_there = matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Other);
                let name =
                    if is_there { path.display().to_string() } else { "write the path of a file".to_owned() };
                self.mistake(key, format!("{name}: {error}"));
                return None;
            }
        };
        if secret.expose().len() > SECRET_FILE_BYTES_MAX {
            self.mistake(key, format!("{} is too large for a secret", path.display()));
        }
        Some(secret)
    }

    /// A table in this one.
    pub fn table<T>(&mut self, key: &str, read: impl FnOnce(&mut Table<'a>) -> T) -> Option<T> {
        let item = self.item(key)?;
        self.as_table(item).map(|table| table.read(read))
    }

    /// Several tables in this one.
    pub fn tables<T>(&mut self, key: &str, read: impl Fn(&mut Table<'a>) -> T) -> Vec<T> {
        let items = self.list(key).unwrap_or_default();
        let tables = items.into_iter().filter_map(|item| self.as_table(item));
        tables.map(|table| table.read(&read)).collect()
    }

    /// A table with keys of its author's choice.
    pub fn object(&mut self, key: &str) -> Option<serde_json::Map<String, serde_json::Value>> {
        let item = self.item(key)?;
        match json(item.value, 0) {
            Some(serde_json::Value::Object(object)) => Some(object),
            Some(_) => {
                self.wrong_kind(&item, "a table such as { name = \"value\" }");
                None
            }
            None => {
                self.reader.mistake(&item.path, "too deep, or a number that is not finite");
                None
            }
        }
    }

    fn item(&mut self, key: &str) -> Option<Item<'a>> {
        if !self.asked.iter().any(|asked| asked == key) {
            self.asked.push(key.to_owned());
        }
        let (name, value) = self.table.get_key_value(key)?;
        let path = below(&self.path, key);
        self.reader.places.borrow_mut().insert(path.clone(), name.span().start);
        Some(Item { path, value: value.get_ref() })
    }

    fn list(&mut self, key: &str) -> Option<Vec<Item<'a>>> {
        let item = self.item(key)?;
        let Some(list) = item.value.as_array() else {
            let header = format!("it as [[{}]]", without_indices(&item.path));
            self.wrong_kind(&item, if item.value.is_table() { &header } else { "a list such as [\"a\"]" });
            return None;
        };
        let items = list.iter().enumerate().map(|(index, value)| {
            let path = format!("{}[{index}]", item.path);
            self.reader.places.borrow_mut().insert(path.clone(), value.span().start);
            Item { path, value: value.get_ref() }
        });
        Some(items.collect())
    }

    fn as_table(&self, item: Item<'a>) -> Option<Table<'a>> {
        let Some(table) = item.value.as_table() else {
            self.wrong_kind(&item, "a table");
            return None;
        };
        Some(Table { reader: self.reader, path: item.path, table, asked: Vec::new() })
    }

    fn as_text(&self, item: &Item<'a>, what: &str) -> Option<&'a str> {
        let text = item.value.as_str();
        if text.is_none() {
            self.wrong_kind(item, what);
        }
        text
    }

    fn as_parsed<T>(&self, item: &Item<'a>, parse: &impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.as_text(item, "a text")?;
        parse(text).map_err(|mistake| self.reader.mistake(&item.path, mistake)).ok()
    }

    fn chosen<T: Copy>(&self, item: &Item<'a>, choices: &[(&str, T)]) -> Option<T> {
        let names = choices.iter().map(|(name, _)| *name);
        let text = self.as_text(item, &format!("one of {}", quoted(names.clone())))?;
        let chosen = choices.iter().find(|(name, _)| *name == text);
        if chosen.is_none() {
            let advice = match nearest(text, names.clone()) {
                Some(name) => format!("`{text}` is not known; did you mean \"{name}\"?"),
                None => format!("`{text}` is not known; write {}", quoted(names)),
            };
            self.reader.mistake(&item.path, advice);
        }
        chosen.map(|(_, value)| *value)
    }

    fn wrong_kind(&self, item: &Item<'a>, wanted: &str) {
        let found = match item.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.reader.mistake(&item.path, format!("this is {found}; write {wanted}"));
    }

    fn refuse_unknown_keys(&self) {
        for (key, _) in self.table.iter() {
            let name: &str = key.get_ref();
            if self.asked.iter().any(|asked| asked == name) {
                continue;
            }
            let path = below(&self.path, name);
            self.reader.places.borrow_mut().insert(path.clone(), key.span().start);
            let advice = match nearest(name, self.asked.iter().map(String::as_str)) {
                Some(meant) => format!("there is no such key; did you mean {meant}?"),
                None => format!("there is no such key here; there are {}", self.asked.join(", ")),
            };
            self.reader.mistake(&path, advice);
        }
        #[cfg(test)]
        asked::note(&self.path, &self.asked);
    }
}

/// What of these a text was probably meant to be.
pub fn nearest<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let near = |name: &'n str| (strsim::normalized_damerau_levenshtein(text, name), name);
    let (similarity, name) = names.map(near).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (similarity >= SIMILARITY_MIN).then_some(name)
}

/// Names in quotes, with commas between them.
pub fn quoted<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// `realm[0].name` as `realm.name`: the line tells which.
fn without_indices(path: &str) -> String {
    let mut inside = false;
    let outside = |c: &char| {
        let keep = !inside && *c != '[';
        inside = (inside || *c == '[') && *c != ']';
        keep
    };
    path.chars().filter(outside).collect()
}

/// A value as JSON; none if it is too deep or no number of JSON. A date is its text.
fn json(value: &DeValue, depth: usize) -> Option<serde_json::Value> {
    use serde_json::Value;
    if depth >= PAYLOAD_DEPTH_MAX {
        return None;
    }
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok()?.into(),
        DeValue::Float(number) => {
            serde_json::Number::from_f64(number.as_str().parse().ok()?).map(Value::Number)?
        }
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(date) => Value::String(date.to_string()),
        DeValue::Array(list) => {
            Value::Array(list.iter().map(|value| json(value.get_ref(), depth + 1)).collect::<Option<_>>()?)
        }
        DeValue::Table(table) => {
            let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue>)| {
                Some((AsRef::<str>::as_ref(key.get_ref()).to_owned(), json(value.get_ref(), depth + 1)?))
            };
            Value::Object(table.iter().map(entry).collect::<Option<_>>()?)
        }
    })
}

/// Which keys were asked for, for the test that the example shows all of them.
#[cfg(test)]
pub mod asked {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static KEYS: RefCell<BTreeSet<String>> = RefCell::default();
    }

    pub fn note(path: &str, keys: &[String]) {
        let path = super::without_indices(path);
        KEYS.with_borrow_mut(|known| known.extend(keys.iter().map(|key| super::below(&path, key))));
    }

    pub fn take() -> BTreeSet<String> {
        KEYS.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Surroundings for Nothing {
        fn file(&self, _: &Path) -> io::Result<Secret> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn variable(&self, _: &str) -> Option<Secret> {
            None
        }
    }

    #[test]
    fn a_place_is_a_line_and_a_character() {
        let text = "a\n\u{e9}b\n\nc";
        let reader = Reader::new(text, Path::new(""), &Nothing);
        let places: Vec<_> = (0..=text.len()).map(|offset| reader.line_column(offset)).collect();
        assert_eq!(places, [(1, 1), (1, 2), (2, 1), (2, 1), (2, 2), (2, 3), (3, 1), (4, 1), (4, 2)]);
    }

    /// Looked for one by one, this takes minutes.
    #[test]
    fn a_hundred_thousand_mistakes_are_told_in_time() {
        let text = "x\n".repeat(100_000);
        let reader = Reader::new(&text, Path::new(""), &Nothing);
        for line in 0..100_000 {
            let path = format!("key{line}");
            reader.places.borrow_mut().insert(path.clone(), 2 * line);
            for text in ["first", "second"] {
                reader.mistake(&path, text);
            }
        }
        let start = std::time::Instant::now();
        let mistakes = reader.mistakes();
        assert!(start.elapsed().as_secs() < 15, "{:?}", start.elapsed());
        assert_eq!(mistakes.len(), 100_000);
        assert_eq!(mistakes[99_999].to_string(), "100000:1: key99999: first");
    }
}
