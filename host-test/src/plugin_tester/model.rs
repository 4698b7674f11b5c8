//! A suite as the runner uses it.

use super::matcher::Matcher;
use super::message::{Message, Mistake, Place};

/// A whole file.
#[derive(Debug)]
pub(super) struct Suite {
    pub(super) env: Env,
    pub(super) tests: Vec<Test>,
}

/// What is tested, and its surroundings. Empty texts weren't given.
#[derive(Debug, Default)]
pub(super) struct Env {
    pub(super) wasm_path: String,
    pub(super) config_path: String,
    /// By its number; 0 if it wasn't given.
    pub(super) log_level: usize,
    pub(super) log_path: String,
    /// 0 if it wasn't given.
    pub(super) time_secs: u64,
}

/// One test.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) at: Place,
    pub(super) chunking: Option<Chunking>,
    /// Paths with points, and values.
    pub(super) properties: Vec<(String, Vec<u8>)>,
    pub(super) request_headers: Option<Invocation>,
    pub(super) request_body: Vec<Invocation>,
    pub(super) response_headers: Option<Invocation>,
    pub(super) response_body: Vec<Invocation>,
    pub(super) plugin_init: Expectation,
    pub(super) stream_init: Expectation,
    pub(super) stream_destroy: Expectation,
}

/// How bodies are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunking {
    /// Into so many pieces.
    Count(usize),
    /// Into pieces of so many bytes.
    Size(usize),
}

/// What a plugin is given, and what has to come of it.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) at: Place,
    pub(super) input: Input,
    pub(super) result: Expectation,
}

/// What a plugin is given. The file goes before the content, and the content before the headers.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) content: Vec<u8>,
    pub(super) file: String,
}

/// What has to come of it.
#[derive(Debug, Default)]
pub(super) struct Expectation {
    pub(super) at: Place,
    pub(super) has_header: Vec<(Place, String, Vec<u8>)>,
    pub(super) no_header: Vec<(Place, String)>,
    pub(super) headers: Vec<Matcher>,
    pub(super) body: Vec<Matcher>,
    pub(super) immediate: Option<Immediate>,
    pub(super) log: Vec<Matcher>,
}

/// How the plugin has to answer by itself.
#[derive(Debug)]
pub(super) struct Immediate {
    pub(super) at: Place,
    pub(super) http_status: Option<u32>,
    pub(super) grpc_status: Option<u32>,
    pub(super) details: Option<String>,
}

impl Suite {
    /// Takes a message of type `TestSuite`, and checks what types can't say.
    pub(super) fn of(message: &Message) -> Result<Self, Mistake> {
        let env = message.message("env").map(Env::of).unwrap_or_default();
        let tests: Result<Vec<Test>, Mistake> = message.messages("test").map(Test::of).collect();
        let tests = tests?;
        if tests.is_empty() {
            return Err(Mistake::new(
                message.at,
                "there is no `test`, so nothing is tested",
            ));
        }
        Ok(Self { env, tests })
    }
}

impl Env {
    fn of(message: &Message) -> Self {
        Self {
            wasm_path: message.text("wasm_path"),
            config_path: message.text("config_path"),
            log_level: message.number("log_level").unwrap_or_default(),
            log_path: message.text("log_path"),
            time_secs: message.number("time_secs").unwrap_or_default(),
        }
    }
}

impl Test {
    fn of(message: &Message) -> Result<Self, Mistake> {
        let invocation = |name| message.message(name).map(Invocation::of).transpose();
        let invocations = |name| -> Result<Vec<Invocation>, Mistake> {
            message.messages(name).map(Invocation::of).collect()
        };
        let expectation = |name| {
            let found = message.message(name).map(Expectation::of).transpose();
            found.map(Option::unwrap_or_default)
        };
        let test = Self {
            name: message.text("name"),
            at: message.at,
            chunking: chunking(message)?,
            properties: message
                .messages("properties")
                .map(|property| (property.text("path"), bytes(property, "value")))
                .collect(),
            request_headers: invocation("request_headers")?,
            request_body: invocations("request_body")?,
            response_headers: invocation("response_headers")?,
            response_body: invocations("response_body")?,
            plugin_init: expectation("plugin_init")?,
            stream_init: expectation("stream_init")?,
            stream_destroy: expectation("stream_destroy")?,
        };
        for bodies in [&test.request_body, &test.response_body] {
            if let [_, second, ..] = bodies.as_slice()
                && test.chunking.is_some()
            {
                let cause = "with `num_chunks` or `chunk_size` there can be only one such body";
                return Err(Mistake::new(second.at, cause));
            }
        }
        Ok(test)
    }
}

fn chunking(message: &Message) -> Result<Option<Chunking>, Mistake> {
    let plan = |name: &str, make: fn(usize) -> Chunking| {
        let Some(field) = message
            .fields()
            .iter()
            .find(|field| field.kind.name == name)
        else {
            return Ok(None);
        };
        match message.number::<usize>(name).filter(|number| *number > 0) {
            Some(number) => Ok(Some(make(number))),
            None => Err(Mistake::new(
                field.at,
                format!("`{name}` must be at least 1"),
            )),
        }
    };
    Ok(plan("num_chunks", Chunking::Count)?.or(plan("chunk_size", Chunking::Size)?))
}

impl Invocation {
    fn of(message: &Message) -> Result<Self, Mistake> {
        let result = message.message("result").map(Expectation::of).transpose()?;
        Ok(Self {
            at: message.at,
            input: message.message("input").map(Input::of).unwrap_or_default(),
            // A phase without `result` must not be answered at once either.
            result: result.unwrap_or_else(|| Expectation {
                at: message.at,
                ..Expectation::default()
            }),
        })
    }
}

impl Input {
    fn of(message: &Message) -> Self {
        Self {
            headers: message
                .messages("header")
                .map(|header| (header.text("key"), bytes(header, "value")))
                .collect(),
            content: bytes(message, "content"),
            file: message.text("file"),
        }
    }
}

impl Expectation {
    fn of(message: &Message) -> Result<Self, Mistake> {
        let matchers = |name| -> Result<Vec<Matcher>, Mistake> {
            message.messages(name).map(Matcher::of).collect()
        };
        let key = |header: &Message| match header.text("key") {
            key if key.is_empty() => Err(Mistake::new(header.at, "the header has no `key`")),
            key => Ok(key),
        };
        let has_header = message
            .messages("has_header")
            .map(|header| Ok((header.at, key(header)?, bytes(header, "value"))));
        let no_header = message
            .messages("no_header")
            .map(|header| Ok((header.at, key(header)?)));
        Ok(Self {
            at: message.at,
            has_header: has_header.collect::<Result<_, Mistake>>()?,
            no_header: no_header.collect::<Result<_, Mistake>>()?,
            headers: matchers("headers")?,
            body: matchers("body")?,
            immediate: message.message("immediate").map(Immediate::of),
            log: matchers("log")?,
        })
    }
}

impl Immediate {
    fn of(message: &Message) -> Self {
        Self {
            at: message.at,
            http_status: message.number("http_status"),
            grpc_status: message.number("grpc_status"),
            details: message.bytes("details").map(|_| message.text("details")),
        }
    }
}

fn bytes(message: &Message, name: &str) -> Vec<u8> {
    message.bytes(name).unwrap_or_default().to_vec()
}
