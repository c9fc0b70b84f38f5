//! What a listener of the file lets pages in browsers do.

use crate::config::file::Listener;
use crate::transport::pages::{Origins, Pages};

/// Which pages may connect at a listener.
pub(super) fn pages(listener: &Listener) -> Pages {
    Pages { origins: Origins::new(listener.origins.as_deref(), listener.allow_null_origin), cookie: None }
}
