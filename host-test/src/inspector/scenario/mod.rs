//! Turns a recorded request into a scenario file: the same chain, the upstream's and the services'
//! answers as they were, the request, and what came of it.
//!
//! It is written from what the page shows, so what is masked there is masked here. What can't be the
//! same from run to run is expected by its form: numbers in what filters wrote become `\d+`.

mod config;
mod expect;

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::mask::MASKED;
use super::replay::OF_THE_CONNECTION;
use crate::bootstrap::{Code, Listener, PluginConfig};
use crate::plugin::FailurePolicy;
pub(super) use config::base64;
use expect::{exact, header, headers_of, quoted};

/// What stands around the requests of a listener.
pub(crate) struct Surroundings {
    use_remote_address: bool,
    trusted_hops: usize,
    /// Names and blocks of the plugins; an error tells why one can't be written.
    plugins: Vec<(String, Result<Vec<String>, String>)>,
}

impl Surroundings {
    pub(crate) fn of(listener: &Listener) -> Self {
        let manager = &listener.manager;
        let filters = manager.filters.iter();
        Self {
            use_remote_address: manager.use_remote_address,
            trusted_hops: manager.trusted_hops,
            plugins: filters
                .map(|filter| (filter.plugin.name.clone(), plugin(&filter.plugin)))
                .collect(),
        }
    }
}

/// A request to be written.
pub(super) struct Item {
    /// All that is known of it, as the page reads it.
    pub(super) detail: Json,
    /// The whole body, if it is kept.
    pub(super) body: Option<Vec<u8>>,
}

/// Writes a scenario of these requests, of which the last is the one that is meant; `others` are
/// callouts outside requests.
pub(super) fn write(
    surroundings: &Surroundings,
    items: &[Item],
    others: &[Json],
) -> Result<String, String> {
    let Some(last) = items.last() else {
        return Err("there is no such request".to_owned());
    };
    let detail = &last.detail;
    let status = detail["status"].as_u64();
    let answer = match status {
        None => "gets no answer".to_owned(),
        Some(status) => format!("is answered {status}"),
    };
    let mut out = String::new();
    let path = text(&detail["path"]);
    let what = format!("{} {path} {answer}", text(&detail["method"]));
    let _ = writeln!(out, "# Recorded by host-test serve --inspect.");
    let masked = items
        .iter()
        .flat_map(|item| headers_of(&item.detail["request"]))
        .filter(|(_, value)| value.contains(MASKED))
        .count();
    if masked > 0 || path.contains(MASKED) {
        let _ = writeln!(
            out,
            "# Credentials are masked ({MASKED}): put them in, or record with --inspect-secrets."
        );
    }
    let _ = writeln!(out, "name: {}", quoted(&what));
    if surroundings.use_remote_address || surroundings.trusted_hops > 0 {
        let _ = writeln!(
            out,
            "connection_manager: {{ use_remote_address: {}, xff_num_trusted_hops: {} }}",
            surroundings.use_remote_address, surroundings.trusted_hops
        );
    }
    plugins(&mut out, surroundings, detail)?;
    upstreams(&mut out, items);
    callouts(&mut out, items, others);
    let _ = writeln!(out, "steps:");
    let mut before: Option<f64> = None;
    for (index, item) in items.iter().enumerate() {
        let at = item.detail["at"].as_f64().unwrap_or_default();
        let gap = before.map_or(0.0, |before| at - before);
        if gap >= 1.0 {
            let _ = writeln!(out, "- advance: {}ms", gap as u64);
        }
        before = Some(at);
        request(&mut out, item)?;
        let meant = index + 1 == items.len();
        expect::write(&mut out, &item.detail, meant);
    }
    Ok(out)
}

/// The plugins of the request's chain, in its order.
fn plugins(out: &mut String, surroundings: &Surroundings, detail: &Json) -> Result<(), String> {
    let names = detail["filters"].as_array().into_iter().flatten();
    let names: Vec<&str> = names.map(|filter| text(&filter[0])).collect();
    if names.is_empty() {
        return Err("no filter is in this request's chain".to_owned());
    }
    let _ = writeln!(out, "plugins:");
    let mut known = surroundings.plugins.iter();
    for name in names {
        // The chain keeps the listener's order, so each is found behind the one before.
        let found = known.find(|(known, _)| known == name);
        let (_, block) = found.ok_or_else(|| format!("no plugin is named {name:?}"))?;
        for (index, line) in block.as_ref().map_err(Clone::clone)?.iter().enumerate() {
            let _ = writeln!(out, "{} {line}", if index == 0 { "-" } else { " " });
        }
    }
    Ok(())
}

fn plugin(config: &PluginConfig) -> Result<Vec<String>, String> {
    let Code::File { path, .. } = &config.code else {
        let name = &config.name;
        return Err(format!(
            "the module of {name} is inline in the configuration"
        ));
    };
    let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let mut lines = vec![
        format!("module: {}", quoted(&path.to_string_lossy())),
        format!("name: {}", quoted(&config.name)),
        format!("vm_id: {}", quoted(&config.vm_id)),
    ];
    if !config.root_id.is_empty() {
        lines.push(format!("root_id: {}", quoted(&config.root_id)));
    }
    lines.extend(config::lines(&config.configuration));
    if let Ok(text) = str::from_utf8(&config.vm_configuration)
        && !text.is_empty()
    {
        lines.push(format!("vm_config: {}", quoted(text)));
    }
    if !config.environment.is_empty() {
        lines.push("environment:".to_owned());
        let variables = config.environment.iter();
        lines.extend(
            variables.map(|(name, value)| format!("  {}: {}", quoted(name), quoted(value))),
        );
    }
    match config.failure_policy {
        FailurePolicy::FailClosed => {}
        FailurePolicy::FailOpen => lines.push("failure_policy: fail_open".to_owned()),
        FailurePolicy::FailReload { .. } => lines.push("failure_policy: fail_reload".to_owned()),
    }
    if config.allow_on_headers_stop_iteration {
        lines.push("allow_on_headers_stop_iteration: true".to_owned());
    }
    if !config.allowed_capabilities.is_empty() {
        let names: Vec<String> = config
            .allowed_capabilities
            .iter()
            .map(|n| quoted(n))
            .collect();
        lines.push(format!("allowed_capabilities: [{}]", names.join(", ")));
    }
    Ok(lines)
}

/// What the upstream answered, by method and path, each in order.
fn upstreams(out: &mut String, items: &[Item]) {
    let mut blocks: Vec<((String, String), Vec<String>)> = Vec::new();
    for item in items {
        let Some(request) = expect::left_the_chain(&item.detail) else {
            continue;
        };
        let value = |name| header(&request, name).unwrap_or_default().to_owned();
        let key = (value(":method"), value(":path"));
        let reply = reply(&item.detail);
        match blocks.iter_mut().find(|(known, _)| *known == key) {
            Some((_, replies)) => replies.push(reply),
            None => blocks.push((key, vec![reply])),
        }
    }
    if blocks.is_empty() {
        return;
    }
    let _ = writeln!(out, "upstreams:");
    for ((method, path), replies) in blocks {
        let (method, path) = (exact(&method), exact(&path));
        let _ = writeln!(out, "- match: {{ method: {method}, path: {path} }}");
        let _ = writeln!(out, "  replies:");
        for reply in replies {
            let _ = writeln!(out, "  - {reply}");
        }
    }
}

/// The answer that came to the chain from behind.
fn reply(detail: &Json) -> String {
    if ["UF", "UC", "UPE"]
        .iter()
        .any(|flag| text(&detail["flags"]) == *flag)
    {
        return "reset".to_owned();
    }
    match expect::answer_of_upstream(detail) {
        None => "never".to_owned(),
        Some((headers, body)) => answer(&headers, &body),
    }
}

fn answer(headers: &[(String, String)], body: &Json) -> String {
    const NOT_THEIRS: [&str; 8] = [
        ":status",
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "server",
        "transfer-encoding",
        "x-envoy-upstream-service-time",
    ];
    let status = header(headers, ":status").unwrap_or("200");
    let kept = headers.iter();
    let kept: Vec<_> = kept
        .filter(|(name, _)| !NOT_THEIRS.contains(&name.as_str()))
        .cloned()
        .collect();
    let mut reply = format!("{{ status: {status}");
    if !kept.is_empty() {
        let _ = write!(reply, ", headers: {}", grouped(&kept));
    }
    if let Some(text) = body["text"].as_str() {
        let _ = write!(reply, ", body: {}", quoted(text));
    }
    reply.push_str(" }");
    reply
}

/// Headers in flow style, those of one name in a list.
fn grouped(headers: &[(String, String)]) -> String {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for (name, value) in headers {
        let value = quoted(value);
        match groups.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value),
            None => groups.push((name, vec![value])),
        }
    }
    let groups = groups.iter().map(|(name, values)| match values.as_slice() {
        [one] => format!("{}: {one}", quoted(name)),
        many => format!("{}: [{}]", quoted(name), many.join(", ")),
    });
    format!("{{ {} }}", groups.collect::<Vec<_>>().join(", "))
}

fn callouts(out: &mut String, items: &[Item], others: &[Json]) {
    let of_requests = items
        .iter()
        .flat_map(|item| item.detail["callouts"].as_array());
    let mut blocks: Vec<([String; 3], Vec<String>)> = Vec::new();
    for call in of_requests.flatten().chain(others) {
        let request = headers_of(&call["request"]);
        let value = |name| header(&request, name).unwrap_or_default().to_owned();
        let key = [
            text(&call["cluster"]).to_owned(),
            value(":method"),
            value(":path"),
        ];
        let reply = match &call["response"] {
            Json::Null => "never".to_owned(),
            Json::String(word) => word.clone(),
            response => answer(&headers_of(response), &response["body"]),
        };
        match blocks.iter_mut().find(|(known, _)| *known == key) {
            Some((_, replies)) => replies.push(reply),
            None => blocks.push((key, vec![reply])),
        }
    }
    if blocks.is_empty() {
        return;
    }
    let _ = writeln!(out, "callouts:");
    for ([cluster, method, path], replies) in blocks {
        let _ = writeln!(out, "- cluster: {}", quoted(&cluster));
        let (method, path) = (exact(&method), exact(&path));
        let _ = writeln!(out, "  match: {{ method: {method}, path: {path} }}");
        let _ = writeln!(out, "  replies:");
        for reply in replies {
            let _ = writeln!(out, "  - {reply}");
        }
    }
}

/// The request as the client sent it.
fn request(out: &mut String, item: &Item) -> Result<(), String> {
    let detail = &item.detail;
    let headers: Vec<_> = headers_of(&detail["request"])
        .into_iter()
        .filter(|(name, _)| !name.starts_with(':') || name == ":authority")
        .filter(|(name, _)| !OF_THE_CONNECTION.contains(&name.as_str()))
        .map(|(name, value)| match name.as_str() {
            ":authority" => ("host".to_owned(), value),
            _ => (name, value),
        })
        .collect();
    let _ = writeln!(out, "- request:");
    let _ = writeln!(out, "    method: {}", quoted(text(&detail["method"])));
    let _ = writeln!(out, "    path: {}", quoted(text(&detail["path"])));
    if !headers.is_empty() {
        let _ = writeln!(out, "    headers: {}", grouped(&headers));
    }
    let size = detail["request"]["body"]["size"].as_u64().unwrap_or(0);
    if size > 0 {
        let body = item.body.as_deref().map(str::from_utf8);
        match body {
            Some(Ok(body)) => {
                let _ = writeln!(out, "    body: {}", quoted(body));
            }
            Some(Err(_)) => return Err("its body isn't text, which scenarios are".to_owned()),
            None => return Err(format!("of its {size} bytes of body not all are kept")),
        }
    }
    let client = text(&detail["client"]).parse::<std::net::SocketAddr>();
    if let Ok(client) = client
        && client.ip().is_loopback()
        && client.ip().to_string() != "127.0.0.1"
    {
        let _ = writeln!(out, "    from: {}", quoted(&client.ip().to_string()));
    }
    Ok(())
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}
