//! Reads a suite with all the files that it names.

use std::path::{Path, PathBuf};

use super::message::{Mistake, Place};
use super::model::{Expectation, Invocation, Suite, Test};
use super::schema::SUITE;
use super::{LogLevel, Overrides, chunks, http1, is_text_format, textproto, yaml};
use crate::scenario::SourceError;

/// A suite and the file it came from.
#[derive(Debug)]
pub(crate) struct SuiteFile {
    pub(crate) path: PathBuf,
    pub(super) suite: Suite,
    /// The module, where it is said.
    pub(super) module: Option<PathBuf>,
    pub(super) configuration: Vec<u8>,
    pub(super) log_level: LogLevel,
    pub(super) log_path: Option<PathBuf>,
}

impl SuiteFile {
    /// Reads a suite, its plugin's configuration, and the files of inputs and expectations.
    pub(crate) fn load(path: &Path, overrides: &Overrides) -> Result<Self, SourceError> {
        let text = std::fs::read(path)
            .map_err(|error| SourceError::whole(path, format!("can't be read: {error}")))?;
        let text = String::from_utf8(text)
            .map_err(|_| SourceError::whole(path, "this is not a text in UTF-8"))?;
        let placed = |Mistake { at, cause }| match at {
            (0, _) => SourceError::whole(path, cause),
            at => SourceError::at(path, &text, at, cause),
        };
        let message = match is_text_format(path) {
            true => textproto::parse(&text, &SUITE),
            false => yaml::parse(&text, &SUITE),
        };
        let mut suite = message
            .and_then(|message| Suite::of(&message))
            .map_err(placed)?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        for test in &mut suite.tests {
            complete(test, folder).map_err(placed)?;
        }
        let env = &suite.env;
        let config = overrides
            .config
            .clone()
            .or_else(|| found(folder, &env.config_path));
        let configuration = match &config {
            None => Vec::new(),
            Some(file) => std::fs::read(file).map_err(|error| {
                let cause = format!(
                    "the configuration {} can't be read: {error}",
                    file.display()
                );
                SourceError::whole(path, cause)
            })?,
        };
        let log_path = (!env.log_path.is_empty()).then(|| PathBuf::from(&env.log_path));
        let log_level = overrides
            .log_level
            .or_else(|| LogLevel::numbered(env.log_level));
        Ok(Self {
            module: overrides
                .plugin
                .clone()
                .or_else(|| found(folder, &env.wasm_path)),
            path: path.to_owned(),
            configuration,
            log_level: log_level.unwrap_or(LogLevel::Info),
            log_path: overrides.log_file.clone().or(log_path),
            suite,
        })
    }

    /// Checks that there is a module.
    pub(crate) fn check_module(&self) -> Result<(), SourceError> {
        let cause = match &self.module {
            None => {
                "no module is named: give `--plugin MODULE`, or `wasm_path` in `env`".to_owned()
            }
            Some(module) if module.is_file() => return Ok(()),
            Some(module) => format!("there is no module {}", module.display()),
        };
        Err(SourceError::whole(&self.path, cause))
    }

    /// The names of the tests.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.suite.tests.iter().map(Test::title)
    }
}

impl Test {
    /// The test's name, or where it is if it has none.
    pub(super) fn title(&self) -> String {
        match self.name.as_str() {
            "" => format!("test at {}:{}", self.at.0, self.at.1),
            name => name.to_owned(),
        }
    }
}

/// Where a file of `env` is: relative to the working directory as in the original, or else to the
/// suite.
fn found(folder: &Path, file: &str) -> Option<PathBuf> {
    if file.is_empty() {
        return None;
    }
    let beside = folder.join(file);
    Some(match !Path::new(file).exists() && beside.exists() {
        true => beside,
        false => PathBuf::from(file),
    })
}

/// Brings in the files of a test and turns HTTP/1 heads into headers.
fn complete(test: &mut Test, folder: &Path) -> Result<(), Mistake> {
    for (headers, request) in [
        (&mut test.request_headers, true),
        (&mut test.response_headers, false),
    ] {
        let Some(invocation) = headers else { continue };
        content(invocation, folder)?;
        let input = &mut invocation.input;
        if !input.content.is_empty() {
            input.headers = http1::parse(&input.content, request)
                .map_err(|cause| Mistake::new(invocation.at, cause))?;
        }
        expectation(&mut invocation.result, folder)?;
    }
    for invocation in test.request_body.iter_mut().chain(&mut test.response_body) {
        content(invocation, folder)?;
        chunks::cut(&invocation.input.content, test.chunking)
            .map_err(|cause| Mistake::new(invocation.at, cause))?;
        expectation(&mut invocation.result, folder)?;
    }
    for lifecycle in [
        &mut test.plugin_init,
        &mut test.stream_init,
        &mut test.stream_destroy,
    ] {
        expectation(lifecycle, folder)?;
    }
    Ok(())
}

fn content(invocation: &mut Invocation, folder: &Path) -> Result<(), Mistake> {
    if !invocation.input.file.is_empty() {
        invocation.input.content = read(folder, &invocation.input.file, invocation.at)?;
    }
    Ok(())
}

fn expectation(expectation: &mut Expectation, folder: &Path) -> Result<(), Mistake> {
    let Expectation {
        headers, body, log, ..
    } = expectation;
    for matcher in headers.iter_mut().chain(body).chain(log) {
        if let Some(file) = matcher.file() {
            let content = read(folder, file, matcher.at)?;
            matcher.set_content(content);
        }
    }
    Ok(())
}

fn read(folder: &Path, file: &str, at: Place) -> Result<Vec<u8>, Mistake> {
    let path = folder.join(file);
    std::fs::read(&path)
        .map_err(|error| Mistake::new(at, format!("{} can't be read: {error}", path.display())))
}
