//! Access logs of a connection manager: to a file or to standard output, as text or as JSON.

use std::path::PathBuf;

use super::any::type_of;
use super::fields::{Fields, Problems};
use super::problem::Place;
use super::template::{JsonTemplate, Template};
use super::yaml::Node;

/// One access log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// Where lines go.
    pub sink: Sink,
    /// What a line says.
    pub format: Format,
    /// Where it stands in the file.
    pub at: Place,
}

/// Where the lines of an access log go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Appended to a file.
    File(PathBuf),
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// An object a line.
    Json(JsonTemplate),
    /// The text as it is, with its own line end.
    Text(Template),
}

const LOGGERS: &str = "envoy.extensions.access_loggers.";

/// Envoy's format if the bootstrap gives none.
const DEFAULT_FORMAT: &str = "[%START_TIME%] \
    \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

impl AccessLog {
    pub(crate) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "an access log", problems)?;
        fields.take("name");
        let config = fields.require("typed_config");
        fields.finish(&["filter"]);
        let mut fields = Fields::of(config?, "an access log's typed_config", problems)?;
        let kind = type_of(&mut fields)?;
        let sink = match kind.name.strip_prefix(LOGGERS) {
            Some("file.v3.FileAccessLog") => {
                let path = fields.require("path")?;
                Sink::File(problems.string(path, "path")?.into())
            }
            Some("stream.v3.StdoutAccessLog") => Sink::Stdout,
            Some("stream.v3.StderrAccessLog") => Sink::Stderr,
            _ => {
                let message = format!(
                    "an access log of type `{}` is not supported by this gateway; supported: \
                     {LOGGERS}file.v3.FileAccessLog, {LOGGERS}stream.v3.StdoutAccessLog, \
                     {LOGGERS}stream.v3.StderrAccessLog",
                    kind.name
                );
                problems.unsupported(kind.at, message);
                return None;
            }
        };
        let format = fields.take("log_format");
        let at = fields.at;
        fields.finish(&["format", "json_format", "typed_json_format"]);
        Some(Self {
            sink: match sink {
                // What everybody writes to mean standard output, Envoy's documentation included.
                Sink::File(path) if path.as_os_str() == "/dev/stdout" => Sink::Stdout,
                Sink::File(path) if path.as_os_str() == "/dev/stderr" => Sink::Stderr,
                sink => sink,
            },
            format: match format {
                Some(format) => Format::read(format, problems)?,
                None => Format::Text(Template::read_text(DEFAULT_FORMAT, at, problems)?),
            },
            at,
        })
    }
}

impl Format {
    fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a log_format", problems)?;
        let chosen = fields.require_one(&["text_format_source", "json_format", "text_format"]);
        fields.finish(&[
            "omit_empty_values",
            "content_type",
            "formatters",
            "json_format_options",
        ]);
        match chosen {
            Some(("json_format", node, _)) => JsonTemplate::read(node, problems).map(Self::Json),
            Some(("text_format", node, _)) => {
                Template::read(node, "text_format", problems).map(Self::Text)
            }
            Some((_, node, _)) => {
                let mut fields = Fields::of(node, "a text_format_source", problems)?;
                let text = fields.require("inline_string");
                fields.finish(&[
                    "filename",
                    "inline_bytes",
                    "environment_variable",
                    "watched_directory",
                ]);
                Template::read(text?, "inline_string", problems).map(Self::Text)
            }
            None => None,
        }
    }
}
