//! What becomes of a long body, which is put into its answer late, when others have a hand in the answer.

use serde_json::{Value, json};

use crate::gateway::{Envoy, lua};
use crate::origin::{Origin, body};

const LENGTH: usize = 100_000;

/// An Envoy in which three paths are stored: `/100000/…`.
fn start(
    config: &Value,
    origin: &Origin,
    filters: [&[Value]; 2],
    replies: &Value,
) -> Option<Envoy> {
    let envoy = Envoy::start_among(config, origin.address, filters, replies)?;
    let mut client = envoy.connect();
    for case in ["kept", "longer", "short"] {
        client.get(&format!("/{LENGTH}/{case}"), "");
    }
    Some(envoy)
}

#[test]
fn what_a_filter_nearer_to_the_router_makes_of_an_answer_stays_as_it_is() {
    // It has the stored body pass when that comes from the origin, and changes what comes from the store.
    let script = r#"
        function envoy_on_response(handle)
            local path = handle:headers():get("age") and handle:headers():get("x-path")
            if path == "longer" then
                handle:body():setBytes("another answer")
            elseif path == "short" then
                handle:body():setBytes("x")
            end
        end"#;
    // The path has to be told: a response doesn't know its request's.
    let tell = r#"
        function envoy_on_request(handle)
            local path = handle:headers():get(":path")
            handle:streamInfo():dynamicMetadata():set("case", "path", string.match(path, "[^/]+$"))
        end
        function envoy_on_response(handle)
            if not handle:headers():get("age") then
                local path = handle:streamInfo():dynamicMetadata():get("case")["path"]
                handle:headers():replace("x-path", path)
            end
        end"#;
    let origin = Origin::start("cache-control: max-age=600\r\n");
    let filters: [&[Value]; 2] = [&[], &[lua(script), lua(tell)]];
    let Some(envoy) = start(&json!({}), &origin, filters, &json!({})) else {
        return;
    };
    let mut client = envoy.connect();
    let kept = format!("/{LENGTH}/kept");
    for (path, expected) in [
        (&*kept, &*body(&kept, 0)),
        ("/100000/longer", "another answer"),
        ("/100000/short", "x"),
    ] {
        let answer = client.get(path, "");
        assert!(
            answer.header("age").is_some(),
            "{path} comes from the store"
        );
        let length = answer.header("content-length").map(str::to_owned);
        assert_eq!(length, Some(expected.len().to_string()), "{path}");
        assert!(answer.body == expected, "{path}");
    }
    assert_eq!(origin.requests(), 3);
}

#[test]
fn a_filter_nearer_to_the_client_sees_the_whole_body() {
    let script = r#"
        function envoy_on_response(handle)
            local length = handle:body():length()
            handle:headers():replace("x-length", tostring(length))
            if handle:headers():get("x-version") == "1" then
                handle:body():setBytes("another answer")
            end
        end"#;
    let origin = Origin::start("cache-control: max-age=600\r\n");
    origin.change("/100000/longer");
    let filters: [&[Value]; 2] = [&[lua(script)], &[]];
    let Some(envoy) = start(&json!({}), &origin, filters, &json!({})) else {
        return;
    };
    let mut client = envoy.connect();
    let kept = client.get("/100000/kept", "");
    assert_eq!(kept.header("x-length"), Some("100000"));
    assert!(kept.body == body("/100000/kept", 0));
    let changed = client.get("/100000/longer", "");
    assert_eq!(changed.header("x-length"), Some("100000"));
    assert_eq!(changed.body, "another answer");
}

#[test]
fn what_envoy_makes_of_an_answer_has_the_stored_body_if_bodies_are_not_late() {
    let origin = Origin::start("cache-control: max-age=600\r\n");
    let format =
        |text: &str| json!({"body_format": {"text_format_source": {"inline_string": text}}});
    let around = format("<%LOCAL_REPLY_BODY%>");
    let stored = body("/100000/kept", 0);
    for (config, replies, expected) in [
        (json!({}), format("sorry"), "sorry".to_owned()),
        (json!({}), format("y"), "y".to_owned()),
        (
            json!({"late_bodies": false}),
            around.clone(),
            format!("<{stored}>"),
        ),
        // What the option is for.
        (
            json!({}),
            around,
            "<\u{1a}stands in for a long body\u{1a}>".to_owned(),
        ),
    ] {
        let Some(envoy) = start(&config, &origin, [&[], &[]], &replies) else {
            return;
        };
        let answer = envoy.connect().get("/100000/kept", "");
        assert_eq!(answer.body.len(), expected.len(), "{replies}");
        assert!(answer.body == expected, "{replies}");
        let length = answer.header("content-length").map(str::to_owned);
        assert_eq!(length, Some(expected.len().to_string()), "{replies}");
    }
}
