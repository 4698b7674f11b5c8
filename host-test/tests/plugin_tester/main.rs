//! Suites of Google's plugin tester: what passes, what fails and how it is said.

mod command;
#[path = "../common/frame.rs"]
mod frame;
mod guest;
mod mistakes;
mod suites;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use host_test::plugin_tester::Overrides;
use host_test::scenario::report::{Format, render};
use host_test::scenario::{FileRun, HostKind, Hosts, RunOptions, run_files_with};

/// A folder with the guest, the suites and the files that they name.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("host-test-suites-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        let suites = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plugin_tester/suites");
        for entry in std::fs::read_dir(suites).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
        }
        let guest = wat::parse_str(frame::wat(guest::GUEST)).unwrap();
        std::fs::write(path.join("guest.wasm"), guest).unwrap();
        Self { path }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs a suite of the folder; what it has to say is relative to the folder.
    fn report(&self, name: &str, overrides: &Overrides) -> String {
        let runs = run(&self.file(name), overrides);
        // How long it took is of no interest.
        let took = regex::Regex::new(r" \([0-9]+ ms\)").unwrap();
        let text = render(Format::Pretty, &runs);
        took.replace_all(&text, "")
            .replace(&format!("{}/", self.path.display()), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn run(path: &Path, overrides: &Overrides) -> Vec<FileRun> {
    let options = RunOptions {
        overrides: overrides.clone(),
        ..RunOptions::on(Hosts::One(HostKind::Wasmtime))
    };
    run_files_with(&[path.to_owned()], &options).unwrap()
}
