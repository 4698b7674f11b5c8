//! Runs a function of `browser/*.mjs` in Chromium.

use std::path::PathBuf;
use std::process::Command;

/// Where `cargo xtask setup` puts Playwright.
fn playwright() -> PathBuf {
    let folder = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../target/tools/playwright"
    ));
    assert!(
        folder.join("node_modules/playwright-core").is_dir(),
        "no playwright-core in {}: `cargo xtask setup` installs it",
        folder.display()
    );
    folder
}

/// Carries a test out in a browser of its own; `more` are what it wants to know besides.
#[track_caller]
pub(crate) fn browse(file: &str, test: &str, more: &[(&str, &str)]) {
    let script = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/inspector/browser"
    ));
    let mut command = Command::new("node");
    command.arg(script.join("run.mjs")).arg(file).arg(test);
    command.env("PLAYWRIGHT", playwright());
    for (name, value) in more {
        command.env(name, value);
    }
    let output = command.output().expect("node starts");
    assert!(
        output.status.success(),
        "{test}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
