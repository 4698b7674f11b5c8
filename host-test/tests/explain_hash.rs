//! `host-test explain-hash`: the candidates of keys, and what a new configuration moves.

use std::path::Path;
use std::process::{Command, Output};

#[path = "common/files.rs"]
mod files;

use files::Folder;

fn explain(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_host-test"))
        .arg("explain-hash")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

#[track_caller]
fn said(folder: &Folder, arguments: &[&str]) -> String {
    let output = explain(&folder.path, arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn complaint(folder: &Folder, arguments: &[&str]) -> String {
    let output = explain(&folder.path, arguments);
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}

const THREE: &str = "
hosts:
- {address: '10.0.0.1:80', weight: 2}
- {address: '10.0.0.2:80', zone: b}
- {address: '10.0.0.3:80'}
";
const TWO: &str =
    "{\"hosts\": [{\"address\": \"10.0.0.1:80\", \"weight\": 2}, {\"address\": \"10.0.0.2:80\"}]}";

/// The addresses below a key, in order.
fn addresses(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| line.starts_with("  "));
    lines
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect()
}

#[test]
fn a_keys_candidates_are_shown_in_order() {
    let folder = Folder::new(&[("three.yaml", THREE)]);
    let text = said(&folder, &["three.yaml", "user-1"]);
    assert!(
        text.starts_with("rendezvous over 3 hosts\n\nuser-1, hash "),
        "{text}"
    );
    let all = addresses(&text);
    assert_eq!(all.len(), 3, "{text}");
    assert!(
        text.contains("weight 2") && text.contains("zone b"),
        "{text}"
    );
    assert!(text.contains("  chosen: key\n"), "{text}");

    let text = said(&folder, &["--out", all[0], "three.yaml", "user-1"]);
    assert_eq!(addresses(&text), [all[1], all[2], all[0]], "{text}");
    assert!(text.contains("  chosen: failover\n"), "{text}");
    assert!(text.ends_with("  out\n"), "{text}");
}

#[test]
fn a_bootstrap_is_searched_for_the_plugin() {
    let plugin = |name: &str, configuration: &str| {
        format!(
            "{{name: {name}, vm_config: {{code: {{local: {{filename: target/wasm/consistent_hash.wasm}}}}}}, \
             configuration: {configuration}}}"
        )
    };
    let string = plugin(
        "one",
        &format!("{{'@type': a/google.protobuf.StringValue, value: '{TWO}'}}"),
    );
    let structure = plugin(
        "two",
        &format!("{{'@type': a/google.protobuf.Struct, value: {TWO}}}"),
    );
    let bootstrap = |plugins: &str| format!("static_resources: {{listeners: [{plugins}]}}\n");
    let folder = Folder::new(&[
        ("two.json", TWO),
        ("string.yaml", &bootstrap(&string)),
        ("struct.yaml", &bootstrap(&structure)),
        ("both.yaml", &bootstrap(&format!("{string}, {structure}"))),
        ("none.yaml", &bootstrap("")),
    ]);
    let plain = said(&folder, &["two.json", "user-1", "user-2"]);
    assert_eq!(said(&folder, &["string.yaml", "user-1", "user-2"]), plain);
    assert_eq!(said(&folder, &["struct.yaml", "user-1", "user-2"]), plain);
    let chosen = ["--plugin", "two", "both.yaml", "user-1", "user-2"];
    assert_eq!(said(&folder, &chosen), plain);
    let complaint = |file| complaint(&folder, &[file, "user-1"]);
    assert!(complaint("both.yaml").contains("--plugin: \"one\", \"two\""));
    assert!(complaint("none.yaml").contains("no plugin of the bootstrap"));
}

#[test]
fn a_difference_tells_how_many_keys_move() {
    let folder = Folder::new(&[("old.yaml", THREE), ("new.json", TWO)]);
    let text = said(&folder, &["diff", "old.yaml", "new.json"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "rendezvous over 3 hosts -> rendezvous over 2 hosts"
    );
    let percent: f64 = lines[1].split(' ').next().unwrap().parse().unwrap();
    assert!((24.0..26.0).contains(&percent), "{text}");
    assert!(
        lines[1].ends_with("of 100000); by the hosts' weights 25.00 % have to"),
        "{text}"
    );
    assert!(
        lines[2].starts_with("0 of them move between hosts"),
        "{text}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("10.0.0.3:80") && line.ends_with(" 0"))
    );
}

#[test]
fn what_can_not_be_read_or_explained_is_said_in_a_sentence() {
    let folder = Folder::new(&[
        ("typo.yaml", "hots: []\n"),
        ("three.yaml", THREE),
        ("broken.yaml", "a: [\n"),
    ]);
    let complaint = |arguments: &[&str]| complaint(&folder, arguments);
    assert!(complaint(&["typo.yaml", "a"]).contains("typo.yaml: "));
    assert!(complaint(&["typo.yaml", "a"]).contains("hosts"));
    assert!(complaint(&["broken.yaml", "a"]).contains("broken.yaml: "));
    assert!(complaint(&["absent.yaml", "a"]).contains("absent.yaml can't be read"));
    assert!(complaint(&["--out", "1.2.3.4:5", "three.yaml", "a"]).contains("no host 1.2.3.4:5"));
    assert!(complaint(&["three.yaml"]).contains("<KEYS>"));
}
