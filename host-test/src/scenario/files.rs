//! Finds scenario files.

use std::path::{Path, PathBuf};

use super::source::SourceError;
use crate::plugin_tester;

/// The scenario files and plugin-tester suites among the given paths: files as they are, folders
/// with all `.yaml` files and all suites in protobuf text in them, sorted by name.
///
/// # Errors
///
/// A path that isn't there, or a folder without scenarios.
pub fn scenario_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, SourceError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            collect(path, &mut files)?;
            if files.len() == before {
                return Err(SourceError::whole(
                    path,
                    "there are no .yaml files and no suites in this folder",
                ));
            }
            files[before..].sort();
        } else if path.is_file() {
            files.push(path.clone());
        } else {
            return Err(SourceError::whole(path, "there is no such file or folder"));
        }
    }
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), SourceError> {
    let error =
        |error: std::io::Error| SourceError::whole(folder, format!("can't be read: {error}"));
    for entry in std::fs::read_dir(folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if plugin_tester::is_text_format(&path)
            || path
                .extension()
                .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
    Ok(())
}
