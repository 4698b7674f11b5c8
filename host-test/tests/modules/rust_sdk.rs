//! The Rust SDK, through its own wrappers: `host-test/sdk-guest`, which is several filters in one.

use host_test::host::{Answer, Host};
use host_test::plugin::Plugin;

use crate::scenario::{assert_passes, module};

fn assert_guest_passes(rest: &str) {
    let module = std::fs::read(module("sdk_guest")).unwrap();
    assert_passes(&module, rest);
}

#[test]
fn headers_are_read_and_changed_and_a_request_is_answered() {
    assert_guest_passes(
        r#"
plugins:
- { module: guest.wasm, config: headers }
upstreams:
- reply: { headers: { x-up: 1 }, body: hi }
steps:
- request: { path: /other, headers: { x-request-id: a, x-gone: 1, x-set: 0 } }
  expect: { status: 200, upstream: { headers: { x-set: 1, x-added: 2, x-gone: absent } } }
- request: { path: /hello, headers: { x-request-id: a } }
  expect: { status: 200, headers: { hello: world, powered-by: proxy-wasm }, body: "Hello, World!\n", upstream: none }
- expect_logs:
  - '#2 -> :path: /other'
  - '#2 <- x-up: 1'
  - '#2 completed: Some([200, 0, 0, 0, 0, 0, 0, 0])'
  - '#3 -> :path: /hello'
  - '#3 <- hello: world'
"#,
    );
}

#[test]
fn a_response_body_is_held_and_replaced() {
    assert_guest_passes(
        r#"
plugins:
- { module: guest.wasm, config: body }
upstreams:
- match: { path: /secret }
  reply: { body: my secret }
- reply: { body: nothing }
steps:
- request: { path: /secret, headers: { x-request-id: a } }
  expect: { status: 200, body: "Original message body (9 bytes) redacted.\n" }
- request: { path: /, headers: { x-request-id: a } }
  expect: { status: 200, body: nothing }
"#,
    );
}

#[test]
fn data_queues_metrics_properties_and_foreign_functions_are_there() {
    assert_guest_passes(
        r#"
plugins:
- { module: guest.wasm, config: store, name: stores }
steps:
- request: { method: POST, path: /a, headers: { x-request-id: a, x-a: b }, body: abc }
  expect: { status: 200, filter_state: { mine: 1 } }
- expect_metrics: { sdk_guest_served: 1 }
- expect_logs:
  - "metric Ok(()) Ok(1)"
  - data None false
  - set Ok(())
  - lost Err(CasMismatch)
  - enqueued Ok(())
  - request.path is Some("/a")
  - plugin_name is Some("stores")
  - request.headers.x-a is Some("b")
  - nothing is None
  - mine is Some([49])
  - foreign Err(NotFound)
  - foreign Ok(Ok(Some(64)))
  - ready Ok(Some([105, 116, 101, 109]))
  - then Ok(None)
- advance: 1s
- expect_logs:
  - tick 1 at Ok(1767225601s)
"#,
    );
}

#[test]
fn a_configuration_that_is_refused_is_refused() {
    assert_guest_passes(
        r#"
plugins:
- { module: guest.wasm, config: nonsense }
expect_config_error: ["no such kind of filter: nonsense"]
"#,
    );
}

fn host(kind: &str, answer: fn(&str) -> Answer) -> Host {
    let plugin = Plugin::from_file(module("sdk_guest"))
        .unwrap()
        .config_json(kind);
    let host = Host::builder()
        .plugin(plugin)
        .callouts(move |request| answer(&request.headers.text(":path").unwrap_or_default()));
    host.build().unwrap()
}

#[test]
fn a_request_waits_for_a_service_that_lets_it_pass_or_not() {
    let host = host("auth", |_| Answer::status(200, "yes"));
    let reply = host.get("/").send();
    assert_eq!(reply.status(), Some(200));
    let upstream = reply.upstream_request().unwrap();
    assert_eq!(upstream.headers.first("x-asked"), Some(&b"yes"[..]));

    let host = self::host("auth", |_| Answer::status(200, "no"));
    let reply = host.get("/").send();
    assert_eq!((reply.status(), reply.body()), (Some(403), &b"No.\n"[..]));
    assert_eq!(reply.header("powered-by").as_deref(), Some("proxy-wasm"));
}

#[test]
fn three_calls_at_once_make_one_answer() {
    let host = host("parts", |path| Answer::status(200, format!("part {path}")));
    assert_eq!(host.get("/").send().body(), b"part /0|part /1|part /2");
}

#[test]
fn trailers_reach_the_guest() {
    let plugin = Plugin::from_file(module("sdk_guest"))
        .unwrap()
        .config_json("store");
    let host = Host::builder()
        .plugin(plugin)
        .upstream(|_| Answer::Respond {
            headers: [(":status", "200")].into_iter().collect(),
            chunks: vec!["hi".into()],
            trailers: [("x-end", "2")].into_iter().collect(),
        });
    let host = host.build().unwrap();
    let reply = host.post("/").body("abc").trailer("x-sum", "1").send();
    let said: Vec<&str> = reply
        .logs()
        .iter()
        .map(|line| line.message.as_str())
        .collect();
    assert!(said.contains(&r#"trailers 1 [("x-sum", "1")]"#), "{said:?}");
    assert!(
        said.contains(&r#"response trailers 1 [("x-end", "2")]"#),
        "{said:?}"
    );
}
