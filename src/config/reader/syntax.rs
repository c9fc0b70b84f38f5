//! Mistakes of the syntax: in which key each is, and what to write instead.
//!
//! The parser goes on after a mistake and guesses what was meant. A value with a mistake in it is known to be no more
//! than such a guess, and so is what comes behind a mistake that is in no value, or in one that goes on over several
//! lines: it may have swallowed the rest. What is guessed is not looked at further.

use std::collections::HashSet;

use toml::de::{DeTable, DeValue, Error};

use super::below;

/// What is wrong with the syntax of a document.
#[derive(Default)]
pub(super) struct Syntax {
    /// Where, in octets from the beginning; in which key, with indices; and what.
    pub mistakes: Vec<(usize, String, String)>,
    /// The paths of values that have a mistake in them.
    pub guessed: HashSet<String>,
    /// What else the document says, or does not, cannot be known.
    pub lost: bool,
}

/// A key with its value, in one or more lines.
struct Entry {
    path: String,
    /// Where its key begins.
    begin: usize,
    /// Where its value ends.
    value_end: usize,
    /// Where the line ends in which its value does.
    end: usize,
    has_value: bool,
}

impl Syntax {
    pub fn new(text: &str, table: &DeTable, errors: &[Error]) -> Syntax {
        let mut syntax = Syntax::default();
        if errors.is_empty() {
            return syntax;
        }
        let mut entries = Vec::new();
        collect("", text, table, &mut entries);
        entries.sort_unstable_by_key(|entry| entry.begin);
        let mut errors: Vec<_> = errors.iter().map(|error| (error.span().unwrap_or(0..0), error)).collect();
        errors.sort_by_key(|(span, _)| span.start);
        for (span, error) in errors {
            let before = entries[..entries.partition_point(|entry| entry.begin <= span.start)].last();
            if error.message().starts_with("duplicate key") {
                syntax.tell_twice(text, span, before);
                continue;
            }
            match before.filter(|entry| span.start <= entry.end) {
                Some(entry) => syntax.tell_within(text, span.start, entry, error),
                None => {
                    syntax.lost = true;
                    let advice = format!("{}; write key = value, each in a line", plain(error));
                    syntax.mistakes.push((span.start, String::new(), advice));
                }
            }
        }
        syntax
    }

    /// A key or a table that is there already.
    fn tell_twice(&mut self, text: &str, span: std::ops::Range<usize>, before: Option<&Entry>) {
        let key = &text[span.clone()];
        let path = match before.filter(|entry| span.start <= entry.end) {
            Some(entry) => below(&entry.path, key),
            None => {
                let begin = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
                let line = text[begin..].lines().next().unwrap_or_default().trim_start();
                // Where the keys of a table have gone that is there already is not known.
                self.lost |= line.starts_with('[');
                let header = line.strip_prefix('[').map(|header| header.trim_start_matches('['));
                let table = before.and_then(|entry| entry.path.rfind('.').map(|end| &entry.path[..end]));
                header.map_or_else(
                    || below(table.unwrap_or_default(), key),
                    |header| header.split(']').next().unwrap_or_default().trim().to_owned(),
                )
            }
        };
        self.mistakes.push((span.start, path, "it is here twice; leave one out".to_owned()));
    }

    /// One mistake is enough for each value: the others follow of it.
    fn tell_within(&mut self, text: &str, place: usize, entry: &Entry, error: &Error) {
        self.lost |= text[entry.begin..entry.value_end].contains('\n');
        if self.guessed.insert(entry.path.clone()) {
            let advice =
                if entry.has_value { plain(error) } else { "it has no value; write one behind =".into() };
            self.mistakes.push((place, entry.path.clone(), advice));
        } else if error.message().starts_with("unclosed") {
            // That is why it has gone on over what follows.
            let told = self.mistakes.iter_mut().rfind(|(_, path, _)| *path == entry.path);
            told.into_iter().for_each(|(_, _, advice)| *advice = plain(error));
        }
    }

    /// True of a value that is guessed, and of what is in it.
    pub fn is_guessed(&self, path: &str) -> bool {
        let mut path = path;
        while !self.guessed.contains(path) {
            let Some(end) = path.rfind(['.', '[']) else { return false };
            path = &path[..end];
        }
        true
    }
}

/// What the parser says, where that is about the author's meaning and not about its own.
fn plain(error: &Error) -> String {
    let message = error.message();
    let is_no_value =
        ["invalid float", "invalid integer", "invalid boolean", "invalid datetime", "string values must"];
    if is_no_value.iter().any(|begin| message.starts_with(begin)) {
        return "this is no number, no date, not true or false; write a text in quotes".to_owned();
    }
    if message.starts_with("unexpected key or value") {
        return "something stands behind the value; write each key in a line of its own".to_owned();
    }
    message.replace('\n', "; ")
}

/// Every key with a value of its own; tables under headers have none.
fn collect(path: &str, text: &str, table: &DeTable, entries: &mut Vec<Entry>) {
    for (key, value) in table.iter() {
        let path = below(path, key.get_ref());
        let (begin, span) = (key.span(), value.span());
        // Of a header the key is inside.
        if span.start >= begin.end {
            let end = text[span.end..].find('\n').map_or(text.len(), |newline| span.end + newline);
            let has_value = !span.is_empty();
            entries.push(Entry { path, begin: begin.start, value_end: span.end, end, has_value });
            continue;
        }
        match value.get_ref() {
            DeValue::Table(table) => collect(&path, text, table, entries),
            DeValue::Array(list) => {
                for (index, table) in list.iter().enumerate() {
                    let Some(table) = table.get_ref().as_table() else { continue };
                    collect(&format!("{path}[{index}]"), text, table, entries);
                }
            }
            _ => {}
        }
    }
}
