//! `host-test check` of a suite: all that can be known without its plugin.

use std::path::Path;

use super::{Overrides, SuiteFile};
use crate::scenario::SourceError;

/// Reads a suite and the files that it names, and says in a line what it holds.
///
/// # Errors
///
/// The first mistake, with its place.
pub fn check_suite(path: &Path) -> Result<String, SourceError> {
    let file = SuiteFile::load(path, &Overrides::default())?;
    let count = file.names().count();
    let plural = if count == 1 { "" } else { "s" };
    Ok(format!(
        "{} is valid: {count} test{plural}\n",
        path.display()
    ))
}
