//! Scenarios with a guest of their own, on our host and on the real Envoy.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use host_test::scenario::report::{Format, Summary, render};
use host_test::scenario::{FileRun, HostKind, Hosts, RunOptions, run_files_with};

use crate::real_envoy::real_envoy;

/// A scenario in a folder of its own, with a guest beside it.
pub(crate) struct Fixture {
    folder: PathBuf,
}

impl Fixture {
    pub(crate) fn new(guest: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("host-test-scenario-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let fixture = Self { folder };
        fixture.add("guest", guest);
        fixture
    }

    /// Puts another guest beside it.
    pub(crate) fn add(&self, name: &str, guest: &str) {
        let file = self.folder.join(name).with_extension("wasm");
        std::fs::write(file, wat::parse_str(guest).unwrap()).unwrap();
    }

    /// Runs a scenario of this guest; `rest` goes on with its plugin.
    pub(crate) fn run(&self, hosts: Hosts, rest: &str) -> FileRun {
        self.run_with(&RunOptions::on(hosts), rest)
    }

    pub(crate) fn run_with(&self, options: &RunOptions, rest: &str) -> FileRun {
        let path = self.folder.join("scenario.yaml");
        let text = format!("name: a scenario\nplugins:\n- module: guest.wasm\n{rest}");
        std::fs::write(&path, text).unwrap();
        match run_files_with(&[path], options) {
            Ok(mut runs) => runs.remove(0),
            Err(errors) => panic!("{}", errors[0]),
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Both hosts, or ours alone where the tests are to go without Envoy.
pub(crate) fn hosts() -> Hosts {
    match real_envoy() {
        Some(_) => Hosts::Both,
        None => Hosts::One(HostKind::Wasmtime),
    }
}

/// Runs a scenario of a fixture on [`hosts`], where it must pass.
#[track_caller]
pub(crate) fn assert_passes(fixture: &Fixture, rest: &str) {
    let runs = [fixture.run(hosts(), rest)];
    assert_eq!(
        Summary::of(&runs).failed,
        0,
        "{}",
        render(Format::Pretty, &runs)
    );
}
