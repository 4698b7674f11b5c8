//! Guests written as lists of calls. Each call logs what it was and what it answered, so that the
//! log is the whole of what the guest saw.

use crate::frame::wat;

pub(crate) const REQUEST: i32 = 0;
pub(crate) const REQUEST_TRAILERS: i32 = 1;
pub(crate) const RESPONSE: i32 = 2;
pub(crate) const RESPONSE_TRAILERS: i32 = 3;

/// A module of these functions.
pub(crate) fn module(functions: &[String]) -> String {
    wat(&functions.concat())
}

/// A callback that makes calls and returns a number. `$c`, `$n` and `$end` are its parameters.
pub(crate) fn on(callback: &str, calls: &[String], result: i32) -> String {
    let calls = calls.concat();
    let (parameters, returns) = match callback {
        "request_trailers" | "response_trailers" | "configure" | "vm_start" => {
            ("(param $c i32) (param $n i32)", true)
        }
        "log" | "delete" | "tick" => ("(param $c i32)", false),
        "http_call_response" => (
            "(param $c i32) (param $token i32) (param $n i32) (param $size i32) (param $trailers i32)",
            false,
        ),
        "queue_ready" => ("(param $c i32) (param $token i32)", false),
        "done" => ("(param $c i32)", true),
        "context_create" => ("(param $c i32) (param $root i32)", false),
        _ => ("(param $c i32) (param $n i32) (param $end i32)", true),
    };
    let returned = if returns {
        format!("(i32.const {result})")
    } else {
        String::new()
    };
    let result = if returns { "(result i32)" } else { "" };
    format!("(func (export \"proxy_on_{callback}\") {parameters} {result} {calls} {returned})\n")
}

/// Calls made if a WAT expression holds, and others if not.
pub(crate) fn when(condition: &str, calls: &[String], otherwise: &[String]) -> String {
    let (calls, otherwise) = (calls.concat(), otherwise.concat());
    format!("(if {condition} (then {calls}) (else {otherwise}))")
}

/// Returns from the callback.
pub(crate) fn back(result: i32) -> String {
    format!("(return (i32.const {result}))")
}

/// Calls made if the request's `x-do` header has this as its first byte. Only for the callback that
/// has request headers.
pub(crate) fn told_to(letter: char, calls: &[String]) -> String {
    format!(
        "(drop (call $get_header (i32.const 0) str(\"x-do\") (i32.const 32) (i32.const 36)))
         (global.set $do (i32.load8_u (i32.load (i32.const 32)))) {}",
        doing(letter, calls)
    )
}

/// Calls made if [`told_to`] has seen this letter.
pub(crate) fn doing(letter: char, calls: &[String]) -> String {
    let letter = letter as u32;
    when(
        &format!("(i32.eq (global.get $do) (i32.const {letter}))"),
        calls,
        &[],
    )
}

/// The letter of [`told_to`].
pub(crate) const TOLD: &str = "(global $do (mut i32) (i32.const 0))\n";

/// Logs a text.
pub(crate) fn say(text: &str) -> String {
    format!("say(\"{text}\")")
}

/// Logs the callback's parameters: a count or size, and whether the message ends.
pub(crate) fn say_size(label: &str) -> String {
    format!(
        "(call $put str(\"{label}\")) (call $put_space)
         (call $put_number (i64.extend_i32_u (local.get $n))) (call $put_space)
         (call $put_number (i64.extend_i32_u (local.get $end))) (call $end_line)"
    )
}

/// Makes a call and logs its status.
pub(crate) fn status(label: &str, call: &str) -> String {
    logged("tell", label, call)
}

pub(crate) fn logged(how: &str, label: &str, call: &str) -> String {
    let label = label.replace("\\00", ".").replace('\\', "/");
    format!("(call ${how} str(\"{label}\") (call {call}))\n")
}

const OUT: &str = "(i32.const 32) (i32.const 36)";

pub(crate) fn get(map: i32, name: &str) -> String {
    let call = format!("$get_header (i32.const {map}) str(\"{name}\") {OUT}");
    logged("tell_text", &format!("get {map} {name}"), &call)
}

pub(crate) fn add(map: i32, name: &str, value: &str) -> String {
    let call = format!("$add_header (i32.const {map}) str(\"{name}\") str(\"{value}\")");
    status(&format!("add {map} {name}"), &call)
}

pub(crate) fn replace(map: i32, name: &str, value: &str) -> String {
    let call = format!("$set_header (i32.const {map}) str(\"{name}\") str(\"{value}\")");
    status(&format!("replace {map} {name}"), &call)
}

pub(crate) fn remove(map: i32, name: &str) -> String {
    let call = format!("$remove_header (i32.const {map}) str(\"{name}\")");
    status(&format!("remove {map} {name}"), &call)
}

/// Logs the status and the number of bytes of a map.
pub(crate) fn map_size(map: i32) -> String {
    let call = format!("$map_size (i32.const {map}) (i32.const 32)");
    logged("tell_u32", &format!("map size {map}"), &call)
}

/// Logs the status and the size of a map in its byte form.
pub(crate) fn pairs(map: i32) -> String {
    let call = format!("$pairs (i32.const {map}) {OUT}");
    logged("tell_bytes", &format!("pairs {map}"), &call)
}

pub(crate) fn set_pairs(map: i32, pairs: &[(&str, &str)]) -> String {
    let call = format!("$set_pairs (i32.const {map}) {}", encoded(pairs));
    status(&format!("set pairs {map}"), &call)
}

/// A map in its byte form as a constant.
fn encoded(pairs: &[(&str, &str)]) -> String {
    if pairs.is_empty() {
        return "(i32.const 0) (i32.const 0)".to_owned();
    }
    let number = |n: usize| {
        u32::try_from(n)
            .unwrap()
            .to_le_bytes()
            .map(|byte| format!("\\{byte:02x}"))
            .concat()
    };
    let sizes = pairs
        .iter()
        .map(|(name, value)| number(name.len()) + &number(value.len()));
    let texts = pairs
        .iter()
        .map(|(name, value)| format!("{name}\\00{value}\\00"));
    let all: String = std::iter::once(number(pairs.len()))
        .chain(sizes)
        .chain(texts)
        .collect();
    format!("str(\"{all}\")")
}

/// Logs a part of a buffer.
pub(crate) fn buffer(kind: i32, start: i32, length: i32) -> String {
    let call =
        format!("$get_buffer (i32.const {kind}) (i32.const {start}) (i32.const {length}) {OUT}");
    logged(
        "tell_text",
        &format!("buffer {kind} {start} {length}"),
        &call,
    )
}

pub(crate) fn set_buffer(kind: i32, start: i32, length: i32, data: &str) -> String {
    let call = format!(
        "$set_buffer (i32.const {kind}) (i32.const {start}) (i32.const {length}) str(\"{data}\")"
    );
    status(&format!("set buffer {kind} {start} {length}"), &call)
}

/// Logs a buffer's status and size.
pub(crate) fn buffer_size(kind: i32) -> String {
    let call = format!("$buffer_status (i32.const {kind}) (i32.const 32) (i32.const 36)");
    logged("tell_u32", &format!("buffer size {kind}"), &call)
}

/// Logs a property as text.
pub(crate) fn property(path: &str) -> String {
    let call = format!("$get_property str(\"{path}\") {OUT}");
    logged("tell_text", path, &call)
}

/// Logs a property's size in bytes, and the bytes as a number.
pub(crate) fn number(path: &str) -> String {
    let call = format!("$get_property str(\"{path}\") {OUT}");
    logged("tell_bytes", path, &call)
}

/// Logs only the status of reading a property.
pub(crate) fn property_status(path: &str) -> String {
    status(path, &format!("$get_property str(\"{path}\") {OUT}"))
}

pub(crate) fn set_property(path: &str, value: &str) -> String {
    let call = format!("$set_property str(\"{path}\") str(\"{value}\")");
    status(&format!("set {path}"), &call)
}

/// A local reply as a guest asks for it.
pub(crate) struct LocalReply<'a> {
    pub(crate) status: i32,
    pub(crate) details: &'a str,
    pub(crate) body: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) grpc: i32,
}

impl Default for LocalReply<'_> {
    fn default() -> Self {
        Self {
            status: 418,
            details: "by the guest",
            body: "",
            headers: &[],
            grpc: -1,
        }
    }
}

impl LocalReply<'_> {
    /// The call that sends it.
    pub(crate) fn call(&self) -> String {
        let Self {
            status: code,
            details,
            body,
            headers,
            grpc,
        } = self;
        let headers = encoded(headers);
        let call = format!(
            "$reply (i32.const {code}) str(\"{details}\") str(\"{body}\") {headers} (i32.const {grpc})"
        );
        status(&format!("reply {code}"), &call)
    }
}

/// A local reply with a status and a body.
pub(crate) fn reply(status: i32, body: &str) -> String {
    let reply = LocalReply {
        status,
        body,
        ..LocalReply::default()
    };
    reply.call()
}

pub(crate) fn resume(kind: i32) -> String {
    status(
        &format!("continue {kind}"),
        &format!("$continue (i32.const {kind})"),
    )
}

pub(crate) fn close(kind: i32) -> String {
    status(
        &format!("close {kind}"),
        &format!("$close (i32.const {kind})"),
    )
}

/// A callout as a guest makes it.
pub(crate) struct HttpCall<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a str,
    pub(crate) trailers: &'a [(&'a str, &'a str)],
    /// In milliseconds.
    pub(crate) timeout: i32,
}

/// Headers with the least that a callout needs.
pub(crate) const ASKS: &[(&str, &str)] = &[
    (":method", "GET"),
    (":path", "/ask"),
    (":authority", "auth.example"),
];

impl Default for HttpCall<'_> {
    fn default() -> Self {
        Self {
            cluster: "auth",
            headers: ASKS,
            body: "",
            trailers: &[],
            timeout: 1_000,
        }
    }
}

impl HttpCall<'_> {
    /// The call that makes it; logs its status and token. 7777 stands for a token that isn't
    /// written.
    pub(crate) fn call(&self) -> String {
        let Self {
            cluster,
            headers,
            body,
            trailers,
            timeout,
        } = self;
        let (headers, trailers) = (encoded(headers), encoded(trailers));
        format!(
            "(i32.store (i32.const 32) (i32.const 7777))
             (call $start_line str(\"call {cluster}\")
               (call $http_call str(\"{cluster}\") {headers} str(\"{body}\") {trailers} (i32.const {timeout}) (i32.const 32)))
             (call $put_space) (call $put_number (i64.load32_u (i32.const 32))) (call $end_line)\n"
        )
    }
}

/// A callout with nothing special about it.
pub(crate) fn ask() -> String {
    HttpCall::default().call()
}

/// Remembers the running stream, for [`for_stream`].
pub(crate) const REMEMBER: &str = "(global.set $stream (local.get $c))\n";

/// The place of [`REMEMBER`].
pub(crate) const STREAM: &str = "(global $stream (mut i32) (i32.const 0))\n";

/// Lets the calls that follow work on the stream that was remembered last.
pub(crate) fn for_stream() -> String {
    status("effective", "$effective (global.get $stream)")
}

/// Logs the parameters of a callout's callback but the context.
pub(crate) const SAY_ANSWER: &str = "(call $put str(\"answer\"))
    (call $put_space) (call $put_number (i64.extend_i32_u (local.get $token)))
    (call $put_space) (call $put_number (i64.extend_i32_u (local.get $n)))
    (call $put_space) (call $put_number (i64.extend_i32_u (local.get $size)))
    (call $put_space) (call $put_number (i64.extend_i32_u (local.get $trailers))) (call $end_line)\n";

/// Logs the running callback's context.
pub(crate) const SAY_CONTEXT: &str = "(call $put str(\"context\")) (call $put_space)
    (call $put_number (i64.extend_i32_u (local.get $c))) (call $end_line)\n";

/// Logs the status of the last callout, as code and text.
pub(crate) const CALL_STATUS: &str = "(call $start_line str(\"get status\") (call $get_status (i32.const 40) (i32.const 32) (i32.const 36)))
    (call $put_space) (call $put_number (i64.load32_u (i32.const 40)))
    (call $put_space) (call $put_byte (i32.const 91))
    (call $put (i32.load (i32.const 32)) (i32.load (i32.const 36)))
    (call $put_byte (i32.const 93)) (call $end_line)\n";

/// Logs names and values of a map, a line each.
pub(crate) fn dump(map: i32) -> String {
    format!("(call $dump (i32.const {map}))\n")
}

/// What [`dump`] needs.
pub(crate) const DUMP: &str = "(func $dump (param $map i32)
    (local $at i32) (local $count i32) (local $sizes i32) (local $name i32) (local $value i32)
    (if (call $pairs (local.get $map) (i32.const 32) (i32.const 36)) (then (return)))
    (local.set $sizes (i32.load (i32.const 32)))
    (local.set $count (i32.load (local.get $sizes)))
    (local.set $sizes (i32.add (local.get $sizes) (i32.const 4)))
    (local.set $at (i32.add (local.get $sizes) (i32.mul (local.get $count) (i32.const 8))))
    (block $end (loop $next
      (br_if $end (i32.eqz (local.get $count)))
      (local.set $name (i32.load (local.get $sizes)))
      (local.set $value (i32.load offset=4 (local.get $sizes)))
      (call $put_byte (i32.const 32)) (call $put_byte (i32.const 32))
      (call $put (local.get $at) (local.get $name))
      (call $put_byte (i32.const 61))
      (local.set $at (i32.add (local.get $at) (i32.add (local.get $name) (i32.const 1))))
      (call $put (local.get $at) (local.get $value)) (call $end_line)
      (local.set $at (i32.add (local.get $at) (i32.add (local.get $value) (i32.const 1))))
      (local.set $sizes (i32.add (local.get $sizes) (i32.const 8)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next))))\n";

/// The callbacks of a stream that aren't given, each logging its name, its size and its end; `tag`
/// goes in front.
pub(crate) fn chatty(tag: &str, but: &[&str]) -> String {
    let sized = [
        "request_headers",
        "request_body",
        "response_headers",
        "response_body",
    ];
    let plain = ["request_trailers", "response_trailers", "log", "delete"];
    let sized = sized
        .iter()
        .filter(|name| !but.contains(name))
        .map(|name| on(name, &[say_size(&format!("{tag}{name}"))], 0));
    let plain = plain
        .iter()
        .filter(|name| !but.contains(name))
        .map(|name| on(name, &[say(&format!("{tag}{name}"))], 0));
    let done = (!but.contains(&"done")).then(|| on("done", &[say(&format!("{tag}done"))], 1));
    sized.chain(plain).chain(done).collect()
}
