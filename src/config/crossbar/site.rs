//! How clients are served at a path of an address. All of them are one listener here, which says each thing once: where
//! paths differ, that is told at each of which something else is true now.
//!
//! Pages may connect only where all paths let them: else those of one would come in at another. Where paths differ in
//! that, it is a mistake that only the operator can put right.

use serde_json::json;

use super::Report;
use super::transport::ListenerText;
use super::write::Section;

/// A path, or the RawSocket, of an address. What is none is not said.
pub struct Site {
    /// Where it stands.
    pub path: String,
    pub serializers: Option<Vec<String>>,
    pub message_bytes_max: Option<u64>,
    /// What holds for browsers, where they can come.
    pub pages: Option<Pages>,
}

/// What holds for browsers.
#[derive(Default)]
pub struct Pages {
    pub origins: Option<Vec<String>>,
    pub allow_null_origin: Option<bool>,
    pub cookie: Option<Section>,
}

impl ListenerText {
    /// Says what holds for all of its sites, and tells where that is something else.
    pub fn merge(&mut self, sites: &[Site], report: &Report) {
        let serializers = sites.iter().map(|site| (&site.path, site.serializers.as_ref()));
        self.serializers = all_of(serializers.clone().map(|(_, said)| said));
        let said = serializers
            .map(|(path, said)| (path, said.is_some_and(|said| Some(said) != self.serializers.as_ref())));
        let merged =
            self.serializers.as_ref().map_or_else(|| "all".to_owned(), |names| json!(names).to_string());
        warn(said, "serializers", &merged, report);

        let sizes = sites.iter().map(|site| (&site.path, site.message_bytes_max));
        self.message_bytes_max = sizes.clone().filter_map(|(_, size)| size).max();
        let merged = self.message_bytes_max.map_or_else(String::new, |size| size.to_string());
        warn(
            sizes.map(|(path, size)| (path, size != self.message_bytes_max)),
            "message_bytes_max",
            &merged,
            report,
        );

        let pages: Vec<_> =
            sites.iter().filter_map(|site| Some((&site.path, site.pages.as_ref()?))).collect();
        self.cookie = pages.iter().find_map(|(_, pages)| pages.cookie.clone());
        let merged = self.cookie.as_ref().map_or_else(String::new, |cookie| cookie.inline());
        warn(
            pages.iter().map(|(path, pages)| (*path, pages.cookie != self.cookie)),
            "cookie",
            &merged,
            report,
        );
        self.merge_origins(&pages, report);
    }

    fn merge_origins(&mut self, pages: &[(&String, &Pages)], report: &Report) {
        let lists: Vec<_> = pages
            .iter()
            .map(|(_, pages)| pages.origins.as_ref().filter(|origins| !is_any(origins)))
            .collect();
        let said = |pages: &Pages| {
            (
                pages.origins.as_ref().filter(|origins| !is_any(origins)).cloned(),
                pages.allow_null_origin.unwrap_or(true),
            )
        };
        let Some((_, first)) = pages.first() else { return };
        if pages.iter().all(|(_, pages)| said(pages) == said(first)) {
            (self.origins, self.allow_null_origin) = (first.origins.clone(), first.allow_null_origin);
            return;
        }
        let everywhere = |origin: &&String| lists.iter().flatten().all(|list| list.contains(origin));
        self.origins =
            lists.iter().flatten().next().map(|list| list.iter().filter(everywhere).cloned().collect());
        self.allow_null_origin = Some(pages.iter().all(|(_, pages)| pages.allow_null_origin.unwrap_or(true)));
        for (path, pages) in pages {
            let (origins, null) = said(pages);
            let text = format!(
                "which pages may connect is said once for all paths of an address here, and they differ; it is {} for \
                 this one, with pages without an origin {}: only those that all paths let in may connect now; give \
                 each path its own address, or write origins that are good for all",
                origins.map_or_else(|| "all".to_owned(), |origins| json!(origins).to_string()),
                if null { "too" } else { "not" },
            );
            report.mistake(path, text);
        }
    }
}

/// True if stars let every page in.
fn is_any(origins: &[String]) -> bool {
    origins.iter().any(|origin| origin == "*")
}

/// What one of them has at least; nothing if one is not limited.
fn all_of<'s>(lists: impl Iterator<Item = Option<&'s Vec<String>>>) -> Option<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    for list in lists {
        let new: Vec<_> = list?.iter().filter(|name| !all.contains(name)).cloned().collect();
        all.extend(new);
    }
    Some(all).filter(|all| !all.is_empty())
}

/// Tells each path of which something else is true now.
fn warn<'s>(sites: impl Iterator<Item = (&'s String, bool)>, key: &str, merged: &str, report: &Report) {
    for (path, _) in sites.filter(|(_, differs)| *differs) {
        let text =
            format!("{key} is said once for all paths of an address here, and is {merged} for this one too");
        report.warn(path, text);
    }
}
