//! Plugins' log lines on standard error.

use std::io::Write as _;
use std::sync::Arc;

use crate::worker::{LogLine, LogSink};

/// Writes `[level] plugin: message`, a backtrace's lines below.
pub(crate) fn to_stderr() -> LogSink {
    Arc::new(|line: LogLine| {
        let level = match line.level {
            log::Level::Error => "error",
            log::Level::Warn => "warning",
            log::Level::Info => "info",
            log::Level::Debug => "debug",
            log::Level::Trace => "trace",
        };
        // Nobody may be reading, which is no reason to stop.
        let mut out = std::io::stderr().lock();
        let _ = writeln!(
            out,
            "[{level}] {}: {}",
            line.plugin,
            line.message.trim_end()
        );
    })
}
