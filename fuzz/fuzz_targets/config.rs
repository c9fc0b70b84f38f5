//! A configuration file, and a node configuration of Crossbar.io that is imported: whatever the text is, it is read or
//! refused, and what an import makes can be read again.

#![no_main]

use std::io;
use std::path::Path;

use fanwire::auth::Secret;
use fanwire::config::crossbar::{Format, import};
use fanwire::config::{Surroundings, load};
use libfuzzer_sys::fuzz_target;

/// Every file and variable says the same.
struct Same<'a>(&'a str);

impl Surroundings for Same<'_> {
    fn file(&self, _: &Path) -> io::Result<Secret> {
        Ok(Secret::from(self.0))
    }

    fn variable(&self, _: &str) -> Option<Secret> {
        Some(Secret::from(self.0))
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let imported = match kind % 3 {
        0 => {
            if let Ok(loaded) = load(text, Path::new("/"), &Same("x")) {
                let _ = loaded.file.server();
            }
            return;
        }
        1 => import(text, Format::Json, Path::new("")),
        _ => import(text, Format::Yaml, Path::new("/srv")),
    };
    if let Ok(imported) = imported
        && let Err(mistakes) = load(&imported.text, Path::new("/"), &Same("x"))
    {
        // Mistakes are told with the import; the text itself is always TOML.
        let syntax = mistakes.iter().find(|mistake| mistake.key.is_empty());
        assert_eq!(syntax, None, "{}", imported.text);
    }
});
