//! What the source text itself promises: where words may stand, which way imports point, how long things are.
//!
//! Only code counts: a file is read up to its tests, and comments are left out where words are looked for.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path below `src/`, and its lines up to the tests.
struct Source {
    path: String,
    lines: Vec<String>,
}

impl Source {
    /// The lines that are no comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = (1..).zip(self.lines.iter().map(String::as_str));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// True if the file is one of these, or in one of these folders (which end in a slash).
    fn is_in(&self, places: &[&str]) -> bool {
        places
            .iter()
            .any(|place| self.path == *place || (place.ends_with('/') && self.path.starts_with(place)))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 40, "the source was found");
    let sources = files.into_iter().map(|file| {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]") && !line.starts_with("#[cfg(all(test"));
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        Source { path, lines: lines.map(str::to_owned).collect() }
    });
    // Whole files that are tests.
    sources
        .filter(|source| {
            !source.is_in(&[
                "transport/random.rs",
                "transport/twin.rs",
                "codec/random.rs",
                "bridge/scrambled.rs",
            ]) && !source.path.ends_with("/tests.rs")
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Fails with all complaints at once.
fn complain(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_file_says_what_it_owns() {
    let silent = sources().into_iter().filter(|source| !source.lines[0].starts_with("//! "));
    complain(silent.map(|source| format!("{} does not begin with //!", source.path)).collect());
}

#[test]
fn words_stand_where_they_may() {
    let shell = &["server/", "client/", "load/", "cli/"][..];
    let rules: [(&str, &[&str]); 13] = [
        ("mio::", shell),
        ("std::net", &["origin/", "server/", "client/", "load/", "cli/", "config/"]),
        ("std::thread", &["server/", "client/", "cli/"]),
        ("std::fs", shell),
        (
            "Instant::now",
            &[
                "server/worker.rs",
                "server/acceptor.rs",
                "server/bridge.rs",
                "server/change.rs",
                "server/checker.rs",
                "server/mod.rs",
                "server/watcher.rs",
                "client/",
                "load/",
                "cli/",
            ],
        ),
        ("SystemTime", &["cli/", "server/mod.rs", "router/clock.rs"]),
        (
            "Mutex<",
            &[
                "sync.rs",
                "router/authentication/cookies.rs",
                "router/authentication/failures.rs",
                "router/directory.rs",
                "router/directory/",
                "router/history.rs",
                "router/realm.rs",
                "router/realms.rs",
                "router/retained.rs",
                "server/checker.rs",
                "server/mailbox.rs",
                "cli/command.rs",
            ],
        ),
        ("RwLock<", &["sync.rs", "router/directory.rs", "router/directory/"]),
        (
            "AtomicU",
            &[
                "sync.rs",
                "router/clock.rs",
                "router/directory.rs",
                "router/directory/",
                "router/history.rs",
                "router/rules.rs",
                "server/checker.rs",
                "server/mailbox.rs",
            ],
        ),
        ("OnceLock", &["router/publication.rs"]),
        ("unsafe ", &[]),
        ("println!", &["cli/"]),
        ("unreachable!", &[]),
    ];
    let mut complaints = Vec::new();
    for source in sources() {
        for (word, places) in rules {
            if source.is_in(places) {
                continue;
            }
            let found = source.code().filter(|(_, line)| line.contains(word));
            complaints.extend(
                found.map(|(number, line)| format!("{}:{number}: {word}: {}", source.path, line.trim())),
            );
        }
    }
    complain(complaints);
}

#[test]
fn nothing_is_left_for_later() {
    let words = ["TODO", "FIXME", "XXX", "HACK", "todo!", "unimplemented!"];
    let mut complaints = Vec::new();
    for source in sources() {
        for (number, line) in (1..).zip(&source.lines) {
            if words.iter().any(|word| line.contains(word)) {
                complaints.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    complain(complaints);
}

/// Which modules each folder may use, besides itself and those that all may use.
const ARROWS: [(&str, &[&str]); 14] = [
    ("wamp/", &[]),
    ("auth/", &["wamp"]),
    ("codec/", &["wamp"]),
    ("transport/", &["codec", "wamp"]),
    ("origin/", &[]),
    ("tls.rs", &[]),
    ("router/", &["origin", "transport", "codec", "auth", "wamp"]),
    ("bridge/", &["transport", "codec", "wamp"]),
    ("server/", &["bridge", "router", "origin", "tls", "transport", "codec", "auth", "wamp"]),
    ("client/", &["transport", "codec", "auth", "wamp"]),
    ("load/", &["tls", "transport", "codec", "wamp"]),
    ("config/", &["server", "router", "origin", "transport", "auth", "wamp"]),
    (
        "cli/",
        &["load", "client", "config", "server", "router", "origin", "transport", "codec", "auth", "wamp"],
    ),
    ("error.rs", &["wamp"]),
];

#[test]
fn imports_point_downward() {
    let everybodys = ["limits", "error", "counters", "sync"];
    let mut complaints = Vec::new();
    for source in sources() {
        let Some((folder, below)) = ARROWS.iter().find(|(folder, _)| source.is_in(&[folder])) else {
            continue;
        };
        let own = folder.trim_end_matches('/').trim_end_matches(".rs");
        for (number, line) in source.code() {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                let allowed = used == own || below.contains(&&*used) || everybodys.contains(&&*used);
                if !allowed && !used.is_empty() {
                    complaints.push(format!("{}:{number}: {folder} may not use {used}", source.path));
                }
            }
        }
    }
    complain(complaints);
}

#[test]
fn files_lines_and_functions_are_short() {
    let mut complaints = Vec::new();
    for source in sources() {
        if source.lines.len() > 720 {
            complaints.push(format!("{}: {} lines", source.path, source.lines.len()));
        }
        for (number, line) in (1..).zip(&source.lines) {
            if line.chars().count() > 120 && !line.contains("| ") {
                complaints.push(format!("{}:{number}: {} characters", source.path, line.chars().count()));
            }
        }
        for (number, length) in functions(&source.lines) {
            if length > 70 {
                complaints.push(format!("{}:{number}: a function of {length} lines", source.path));
            }
        }
    }
    complain(complaints);
}

/// Where each function begins, and its lines: up to the brace that stands as far in as the function.
fn functions(lines: &[String]) -> Vec<(usize, usize)> {
    let mut functions = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let begins = ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "const fn ", "pub const fn "];
        if !begins.iter().any(|begin| code.starts_with(begin)) || line.ends_with('}') || line.ends_with(';') {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(line.len() - code.len()));
        let length = lines[index..].iter().position(|line| *line == closing);
        functions.push((index + 1, length.expect("rustfmt puts the closing brace under the function") + 1));
    }
    functions
}

#[test]
fn the_readme_shows_the_examples_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    for (name, begin) in [
        ("backend.js", "const"),
        ("frontend.js", "const"),
        ("backend.py", "import"),
        ("frontend.py", "import"),
    ] {
        let text = fs::read_to_string(root.join("tests/clients/examples").join(name)).unwrap();
        let code = &text[text.find(begin).unwrap()..];
        assert!(readme.contains(code.trim_end()), "README.md does not show {name} as it is");
    }
}
