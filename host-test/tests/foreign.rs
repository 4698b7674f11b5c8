//! Foreign functions, on our host and on the real Envoy: the hosts must
//! agree on every status and every byte of a result that a guest logs.
//!
//! Keys and signatures of `vectors/signatures.txt` were made by OpenSSL.

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "common/fixture.rs"]
mod fixture;
#[path = "common/real_envoy.rs"]
mod real_envoy;

use std::fmt::Write;

use fixture::Fixture;

const GUEST: &str = include_str!("guests/foreign.wat");
const QUEUE: &str = include_str!("guests/queue.wat");
const VECTORS: &str = include_str!("vectors/signatures.txt");

const HASHES: [&str; 5] = ["sha1", "sha224", "sha256", "sha384", "sha512"];
const KEYS: [&str; 4] = ["rsa", "p256", "p384", "p521"];

/// What the guest logs for a good signature: status 0, field 1 is true.
const GOOD: &str = "A:0801";

/// The vector's hexadecimal bytes.
fn vector(kind: &str, key: &str, hash: &str) -> &'static str {
    VECTORS
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{kind} {key} {hash} ")))
        .unwrap_or_else(|| panic!("no vector {kind} {key} {hash}"))
}

fn text() -> &'static str {
    vector("text", "-", "-")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A field of bytes, in hexadecimal.
fn field(number: u8, value: &str) -> String {
    let mut size = value.len() / 2;
    let mut head = vec![number << 3 | 2];
    while size >= 0x80 {
        head.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    head.push(size as u8);
    hex(&head) + value
}

/// Arguments of `verify_signature` with a DER key.
fn verify(hash: &str, key: &str, signature: &str) -> String {
    [
        field(1, &hex(hash.as_bytes())),
        field(2, key),
        field(3, signature),
        field(4, text()),
    ]
    .concat()
}

/// Arguments of `sign` with a DER key.
fn sign(hash: &str, key: &str) -> String {
    [
        field(1, &hex(hash.as_bytes())),
        field(2, key),
        field(3, text()),
    ]
    .concat()
}

/// A result that is an error in words: status 0 and field 2 (or 3, for `sign`).
fn error(number: u8, words: &str) -> String {
    format!("A:{}", field(number, &hex(words.as_bytes())))
}

/// A request whose headers tell the guest what to do, and what it logs.
fn step(headers: &[(&str, &str)], logs: &[&str]) -> String {
    let headers: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: '{value}'"))
        .collect();
    format!(
        "- request: {{path: /, headers: {{{}}}}}\n  expect: 200\n- expect_logs: {logs:?}\n",
        headers.join(", ")
    )
}

fn call(function: &str, arguments: &str, result: &str) -> String {
    step(&[("x-call", function), ("x-with", arguments)], &[result])
}

/// Runs the steps with a guest, on both hosts.
#[track_caller]
fn assert_passes(guest: &str, plugin: &str, steps: &str) {
    let rest = format!("{plugin}steps:\n{steps}");
    fixture::assert_passes(&Fixture::new(guest), &rest);
}

#[test]
fn every_hash_verifies_with_every_kind_of_key() {
    let mut steps = String::new();
    for key in KEYS {
        for hash in HASHES {
            let public = vector("public", key, "-");
            let signature = vector("signature", key, hash);
            steps += &call("verify_signature", &verify(hash, public, signature), GOOD);
        }
    }
    assert_passes(GUEST, "", &steps);
}

#[test]
fn a_wrong_signature_is_an_answer_with_an_error_and_not_a_status() {
    let bad = error(2, "Failed to verify digest. Error code: 0");
    let mut steps = String::new();
    for key in KEYS {
        let public = vector("public", key, "-");
        let other_hash = vector("signature", key, "sha384");
        for signature in [other_hash, "00", ""] {
            steps += &call(
                "verify_signature",
                &verify("sha256", public, signature),
                &bad,
            );
        }
    }
    let pss = vector("signature_pss", "rsa", "sha256");
    let public = vector("public", "rsa", "-");
    steps += &call("verify_signature", &verify("sha256", public, pss), &bad);
    assert_passes(GUEST, "", &steps);
}

#[test]
fn hash_names_ignore_case_and_unknown_ones_are_named() {
    let public = vector("public", "p256", "-");
    let signature = vector("signature", "p256", "sha256");
    let mut steps = call(
        "verify_signature",
        &verify("SHA256", public, signature),
        GOOD,
    );
    for hash in ["md5", "sha512-256", "Foo", ""] {
        let unknown = error(2, &format!("{hash} is not supported."));
        steps += &call(
            "verify_signature",
            &verify(hash, public, signature),
            &unknown,
        );
    }
    assert_passes(GUEST, "", &steps);
}

#[test]
fn keys_that_cannot_verify_say_so() {
    let signature = vector("signature", "rsa", "sha256");
    let no_key = error(2, "Failed to initialize digest verify.");
    let mut steps = String::new();
    let unusable = [
        "00",
        vector("public_pkcs1", "rsa", "-"),
        vector("public", "ed25519", "-"),
        vector("public", "secp256k1", "-"),
        // An SPKI without its last byte.
        vector("public", "p256", "-").get(..180).unwrap(),
    ];
    for key in unusable {
        steps += &call(
            "verify_signature",
            &verify("sha256", key, signature),
            &no_key,
        );
    }
    assert_passes(GUEST, "", &steps);
}

#[test]
fn a_key_may_be_followed_by_anything_or_come_as_pem() {
    let signature = vector("signature", "rsa", "sha256");
    let trailed = format!("{}0000", vector("public", "rsa", "-"));
    let mut steps = call(
        "verify_signature",
        &verify("sha256", &trailed, signature),
        GOOD,
    );
    let pem = vector("public_pem", "rsa", "-");
    let prefaced = format!("{}{pem}", hex(b"some words\n"));
    for pem in [pem, &prefaced] {
        let arguments = [
            field(1, &hex(b"sha256")),
            field(5, pem),
            field(3, signature),
            field(4, text()),
        ];
        steps += &call("verify_signature", &arguments.concat(), GOOD);
    }
    assert_passes(GUEST, "", &steps);
}

#[test]
fn malformed_arguments_and_two_keys_or_none_are_bad_arguments() {
    let both = [
        field(1, &hex(b"sha256")),
        field(2, vector("public", "rsa", "-")),
        field(5, vector("public_pem", "rsa", "-")),
    ]
    .concat();
    let both_private = [
        field(1, &hex(b"sha256")),
        field(2, vector("private", "rsa", "-")),
        field(4, vector("private_pem", "rsa", "-")),
    ]
    .concat();
    let not_utf8 = field(1, "ff");
    let mut steps = call("verify_signature", &both, "C:") + &call("sign", &both_private, "C:");
    let signature = vector("signature", "rsa", "sha256");
    steps += &call("verify_signature", &verify("sha256", "", signature), "C:");
    steps += &call("sign", &sign("sha256", ""), "C:");
    for function in [
        "verify_signature",
        "sign",
        "set_envoy_filter_state",
        "declare_property",
    ] {
        for malformed in ["0a05", "80", &not_utf8] {
            steps += &call(function, malformed, "C:");
        }
    }
    assert_passes(GUEST, "", &steps);
}

#[test]
fn an_rsa_signature_is_the_one_that_openssl_makes() {
    let mut steps = String::new();
    for hash in HASHES {
        let signature = vector("signature", "rsa", hash);
        let made = format!("{GOOD}{}", field(2, signature));
        steps += &call("sign", &sign(hash, vector("private", "rsa", "-")), &made);
    }
    let signature = vector("signature", "rsa", "sha256");
    for kind in ["private_pem", "private_pkcs1_pem"] {
        let arguments = [
            field(1, &hex(b"sha256")),
            field(4, vector(kind, "rsa", "-")),
            field(3, text()),
        ];
        let made = format!("{GOOD}{}", field(2, signature));
        steps += &call("sign", &arguments.concat(), &made);
    }
    assert_passes(GUEST, "", &steps);
}

#[test]
fn what_cannot_sign_says_why() {
    let private = vector("private", "rsa", "-");
    let no_key = "Invalid key type: private key required for signing operation.";
    let no_digest = "Invalid private key: key data is corrupted or malformed.";
    let steps = [
        call(
            "sign",
            &sign("md5", private),
            &error(3, "md5 is not supported."),
        ),
        call("sign", &sign("sha256", "00"), &error(3, no_key)),
        call(
            "sign",
            &sign("sha256", vector("public", "rsa", "-")),
            &error(3, no_key),
        ),
        call(
            "sign",
            &sign("sha256", vector("private", "secp256k1", "-")),
            &error(3, no_key),
        ),
        call(
            "sign",
            &sign("sha256", vector("private", "ed25519", "-")),
            &error(3, no_digest),
        ),
    ];
    assert_passes(GUEST, "", &steps.concat());
}

#[test]
fn what_is_compressed_expands_again_and_damage_is_a_serialization_failure() {
    let text = hex("a text a text a text".as_bytes());
    let round = [
        ("x-call", "compress"),
        ("x-with", &text),
        ("x-then", "uncompress"),
    ];
    let steps = [
        step(&round, &[&format!("A:{text}")]),
        // The empty stream, and one that is cut short.
        call("uncompress", "789c030000000001", "A:"),
        call("uncompress", "789c0300000000", "D:"),
        call("uncompress", &text, "D:"),
        call("uncompress", "", "D:"),
        call("uncompress", "789c030000000001ffff", "A:"),
    ];
    assert_passes(GUEST, "", &steps.concat());
}

#[test]
fn an_unknown_function_is_not_found_and_writes_nothing() {
    let steps = call("no_such_function", "", "B:") + &call("clear_route_cache", "", "A:");
    assert_passes(GUEST, "", &steps);
}

#[test]
fn filter_state_takes_what_its_factory_takes() {
    let set = |path: &str, value: &str, logs: &str| {
        let arguments = field(1, &hex(path.as_bytes())) + &field(2, &hex(value.as_bytes()));
        call("set_envoy_filter_state", &arguments, logs)
    };
    let address = "envoy.network.transport_socket.original_dst_address";
    let steps = [
        set("envoy.string", "any", "A:"),
        set("envoy.hashable_string", "any", "A:"),
        set(address, "127.0.0.1:80", "A:"),
        set(address, "127.0.0.1", "C:"),
        set(address, "host:80", "C:"),
        set("envoy.upstream.dynamic_host", "host", "A:"),
        set("envoy.upstream.dynamic_port", "80", "A:"),
        set("envoy.upstream.dynamic_port", "x", "C:"),
        set("envoy.upstream.dynamic_port", "70000", "A:"),
        set("envoy.network.upstream_server_name", "name", "A:"),
        set("envoy.network.application_protocols", "h2", "A:"),
        set("envoy.network.upstream_subject_alt_names", "name", "A:"),
        set("envoy.ratelimit.hits_addend", "2", "A:"),
        set("envoy.ratelimit.hits_addend", "x", "C:"),
        set("envoy.network.ip", "::1", "A:"),
        set("envoy.network.ip", "x", "C:"),
        set("envoy.network.network_namespace", "/run/ns", "A:"),
        set("envoy.tcp_proxy.cluster", "c", "A:"),
        set(
            "envoy.filters.listener.original_dst.local_ip",
            "127.0.0.1:80",
            "A:",
        ),
        set("no.such.key", "x", "B:"),
        set("", "x", "B:"),
    ];
    assert_passes(GUEST, "", &steps.concat());
}

#[test]
fn a_property_is_declared_once_and_a_read_only_one_is_set_once() {
    // Name "p", read-only, type string.
    let declaration = field(1, "70") + "10011801";
    let twice = step(
        &[
            ("x-set", "p"),
            ("x-call", "clear_route_cache"),
            ("x-get", "p"),
        ],
        &["A:", "A:", "A:30313233"],
    );
    // Canary, main thread and worker declare it, each twice.
    let steps = format!("- expect_logs: ['A:', 'C:', 'A:', 'C:', 'A:', 'C:']\n{twice}{twice}");
    assert_passes(GUEST, &format!("  config: {declaration}\n"), &steps);
}

#[test]
fn a_queue_callback_comes_between_a_request_and_its_response() {
    let steps = "- expect_logs: none\n\
        - request: GET /\n  expect: 200\n\
        - expect_logs: [enqueued, ready one, response]\n";
    assert_passes(QUEUE, "", &steps.repeat(2));
}
