//! Google's plugin-tester files: suites of tests for one plugin, as protobuf text or as YAML.
//!
//! `runner.proto` of GoogleCloudPlatform's service-extensions repository says what a suite is. Such
//! a file is recognised by [`is_suite`] and run beside scenarios by
//! [`run_files`](crate::scenario::run_files). A test drives the callbacks of a fresh VM one by one:
//! there is no upstream, nothing is held, and header maps are those of the original tester.
//!
//! [`schema`] is the table of all fields; [`textproto`] and [`yaml`] read a file by it into a
//! [`message`], which [`model`] turns into what [`run`] carries out and [`judge`] judges.

mod check;
mod chunks;
#[cfg(test)]
mod generate;
mod http1;
#[cfg(test)]
mod json_schema;
mod judge;
mod load;
mod matcher;
mod message;
mod model;
mod re2;
mod run;
mod schema;
mod textproto;
mod yaml;

use std::path::{Path, PathBuf};

pub use self::check::check_suite;
pub(crate) use self::load::SuiteFile;
pub(crate) use self::run::run;

/// What is given on the command line, which goes before what a suite says in `env`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The module.
    pub plugin: Option<PathBuf>,
    /// A file with the plugin's configuration.
    pub config: Option<PathBuf>,
    /// Where the plugin's log lines are appended.
    pub log_file: Option<PathBuf>,
    /// The least severe log lines that count.
    pub log_level: Option<LogLevel>,
}

/// The ABI's log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "levels say what they are")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

/// The endings of files in protobuf's text format.
const TEXT_FORMAT: [&str; 4] = ["textpb", "textproto", "txtpb", "pbtxt"];

/// Whether a file is a suite: protobuf text by its ending, YAML by what it begins with.
pub fn is_suite(path: &Path) -> bool {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some(extension) if TEXT_FORMAT.contains(&extension) => true,
        Some("yaml" | "yml") => {
            std::fs::read_to_string(path).is_ok_and(|text| yaml::is_suite(&text))
        }
        _ => false,
    }
}

/// Whether a file of a folder is taken for a suite by its ending alone.
pub(crate) fn is_text_format(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| TEXT_FORMAT.contains(&extension))
}

impl LogLevel {
    /// A level by its number in a suite, where 0 stands for none.
    fn numbered(number: usize) -> Option<Self> {
        let levels = [
            Self::Trace,
            Self::Debug,
            Self::Info,
            Self::Warn,
            Self::Error,
            Self::Critical,
        ];
        levels.get(number.checked_sub(1)?).copied()
    }

    /// The nearest that the `log` crate has.
    fn filter(self) -> log::LevelFilter {
        match self {
            Self::Trace => log::LevelFilter::Trace,
            Self::Debug => log::LevelFilter::Debug,
            Self::Info => log::LevelFilter::Info,
            Self::Warn => log::LevelFilter::Warn,
            Self::Error | Self::Critical => log::LevelFilter::Error,
        }
    }
}
