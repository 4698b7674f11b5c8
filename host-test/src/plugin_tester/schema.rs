//! The messages of a suite file and what their fields mean.
//!
//! One table for all that has to know them: both readers, the JSON Schema, and the messages about
//! mistakes. Names, types and meaning are those of `runner.proto` in GoogleCloudPlatform's
//! service-extensions repository.

/// A message.
#[derive(Debug)]
pub(super) struct MessageType {
    /// Its name in `runner.proto`.
    pub(super) name: &'static str,
    pub(super) fields: &'static [FieldType],
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct FieldType {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Whether it can be given several times.
    pub(super) repeated: bool,
    /// At most one field of a group can be given.
    pub(super) oneof: Option<&'static str>,
    /// What it means.
    #[cfg_attr(not(test), expect(dead_code, reason = "shown by the JSON Schema"))]
    pub(super) doc: &'static str,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Bool,
    /// Any bytes.
    Bytes,
    Enum(&'static [&'static str]),
    /// A whole number between these.
    Number(i128, i128),
    /// Bytes that are UTF-8.
    Text,
    Message(&'static MessageType),
}

impl MessageType {
    /// The field of that name.
    pub(super) fn field(&self, name: &str) -> Option<&'static FieldType> {
        self.fields.iter().find(|field| field.name == name)
    }
}

const UINT32: Kind = Kind::Number(0, u32::MAX as i128);
const UINT64: Kind = Kind::Number(0, u64::MAX as i128);

const fn one(name: &'static str, kind: Kind, doc: &'static str) -> FieldType {
    FieldType {
        name,
        kind,
        repeated: false,
        oneof: None,
        doc,
    }
}

const fn many(name: &'static str, kind: Kind, doc: &'static str) -> FieldType {
    FieldType {
        repeated: true,
        ..one(name, kind, doc)
    }
}

const fn either(
    group: &'static str,
    name: &'static str,
    kind: Kind,
    doc: &'static str,
) -> FieldType {
    FieldType {
        oneof: Some(group),
        ..one(name, kind, doc)
    }
}

/// The levels of `log_level` by their numbers.
pub(super) const LOG_LEVELS: &[&str] = &[
    "UNDEFINED",
    "TRACE",
    "DEBUG",
    "INFO",
    "WARN",
    "ERROR",
    "CRITICAL",
];

/// A whole file.
pub(super) static SUITE: MessageType = MessageType {
    name: "TestSuite",
    fields: &[
        one(
            "env",
            Kind::Message(&ENV),
            "What is tested, and its surroundings.",
        ),
        many(
            "test",
            Kind::Message(&TEST),
            "The tests. Each has a VM of its own.",
        ),
    ],
};

static ENV: MessageType = MessageType {
    name: "Env",
    fields: &[
        one(
            "test_path",
            Kind::Text,
            "Ignored: it is always the path of this file.",
        ),
        one(
            "wasm_path",
            Kind::Text,
            "The module; relative to the working directory or else to this file. `--plugin` goes first.",
        ),
        one(
            "config_path",
            Kind::Text,
            "A file with the plugin's configuration, found as `wasm_path` is. `--config` goes first.",
        ),
        one(
            "log_level",
            Kind::Enum(LOG_LEVELS),
            "The least severe log lines that count. INFO if it isn't given. `--log-level` goes first.",
        ),
        one(
            "log_path",
            Kind::Text,
            "Where log lines are appended: a file, /dev/stdout or /dev/stderr. `--log-file` goes first.",
        ),
        one(
            "time_secs",
            UINT64,
            "Where both clocks stand, in seconds since 1970. Without it, or with 0, they stand at one millisecond.",
        ),
        one(
            "num_additional_streams",
            UINT64,
            "For benchmarks alone: streams that are open beside the measured one.",
        ),
        one(
            "additional_stream_advance_rate",
            UINT64,
            "For benchmarks alone: how many of the other streams move on between two measurements.",
        ),
    ],
};

static TEST: MessageType = MessageType {
    name: "Test",
    fields: &[
        one("name", Kind::Text, "Names the test in reports."),
        one(
            "benchmark",
            Kind::Bool,
            "Whether it is measured too. `run` checks it and measures nothing.",
        ),
        either(
            "body_chunking_plan",
            "num_chunks",
            Kind::Number(i32::MIN as i128, i32::MAX as i128),
            "How many pieces each body is cut into: equal ones, and the last holds the rest.",
        ),
        either(
            "body_chunking_plan",
            "chunk_size",
            Kind::Number(i64::MIN as i128, i64::MAX as i128),
            "How many bytes each piece of a body has; the last may have fewer.",
        ),
        many(
            "properties",
            Kind::Message(&PROPERTY),
            "What the plugin's stream reads as properties. There are no others.",
        ),
        one(
            "request_headers",
            Kind::Message(&INVOCATION),
            "First: the request's headers.",
        ),
        many(
            "request_body",
            Kind::Message(&INVOCATION),
            "Second: the request's body, or several pieces of it, each of which ends the stream.",
        ),
        one(
            "response_headers",
            Kind::Message(&INVOCATION),
            "Third: the response's headers.",
        ),
        many(
            "response_body",
            Kind::Message(&INVOCATION),
            "Last: the response's body, as the request's.",
        ),
        one(
            "plugin_init",
            Kind::Message(&EXPECTATION),
            "What is logged while the plugin starts and is configured. Only `log` counts.",
        ),
        one(
            "stream_init",
            Kind::Message(&EXPECTATION),
            "What is logged while the stream's context is made. Only `log` counts.",
        ),
        one(
            "stream_destroy",
            Kind::Message(&EXPECTATION),
            "What is logged in `on_log`, `on_done` and `on_delete`. Only `log` counts.",
        ),
    ],
};

static PROPERTY: MessageType = MessageType {
    name: "Property",
    fields: &[
        one(
            "path",
            Kind::Text,
            "The segments of its path, joined by points.",
        ),
        one("value", Kind::Bytes, "The bytes that the plugin reads."),
    ],
};

static INVOCATION: MessageType = MessageType {
    name: "Invocation",
    fields: &[
        one("input", Kind::Message(&INPUT), "What the plugin is given."),
        one(
            "result",
            Kind::Message(&EXPECTATION),
            "What has to come of it.",
        ),
    ],
};

static INPUT: MessageType = MessageType {
    name: "Input",
    fields: &[
        many(
            "header",
            Kind::Message(&HEADER),
            "Headers, pseudo-headers among them. Those of one name are joined by a comma.",
        ),
        one(
            "content",
            Kind::Bytes,
            "A body; or headers as HTTP/1.1 writes them, with the first line. Goes before `header`.",
        ),
        one(
            "file",
            Kind::Text,
            "A file with the content, relative to this file. Goes before `content`.",
        ),
    ],
};

static HEADER: MessageType = MessageType {
    name: "Header",
    fields: &[
        one("key", Kind::Text, "Its name; case doesn't count."),
        one("value", Kind::Bytes, "Its value."),
    ],
};

static EXPECTATION: MessageType = MessageType {
    name: "Expectation",
    fields: &[
        many(
            "has_header",
            Kind::Message(&HEADER),
            "A header that is there, with this value.",
        ),
        many(
            "no_header",
            Kind::Message(&HEADER),
            "A header that isn't there; `value` is ignored.",
        ),
        many(
            "headers",
            Kind::Message(&MATCHER),
            "A header line, `name: value`, that is there.",
        ),
        many(
            "body",
            Kind::Message(&MATCHER),
            "The body, or that of the immediate response.",
        ),
        one(
            "immediate",
            Kind::Message(&IMMEDIATE),
            "That the plugin answers by itself. Without this it must not.",
        ),
        many("log", Kind::Message(&MATCHER), "A log line of this phase."),
    ],
};

static IMMEDIATE: MessageType = MessageType {
    name: "Immediate",
    fields: &[
        one("http_status", UINT32, "The response's status."),
        one(
            "grpc_status",
            UINT32,
            "The gRPC status that the plugin gave; 4294967295 is none.",
        ),
        one("details", Kind::Text, "The details that the plugin gave."),
    ],
};

static MATCHER: MessageType = MessageType {
    name: "StringMatcher",
    fields: &[
        one("invert", Kind::Bool, "That nothing matches."),
        either("matcher", "exact", Kind::Bytes, "The whole text."),
        either(
            "matcher",
            "regex",
            Kind::Text,
            "A regular expression (RE2) for the whole text.",
        ),
        either(
            "matcher",
            "file",
            Kind::Text,
            "A file with the whole text, relative to this file.",
        ),
    ],
};
