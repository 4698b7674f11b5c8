//! The cache of compiled code: whatever is wrong with it, scenarios run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder with a guest, a scenario that passes, and room for a cache.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("host-test-cache-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        let guest = wat::parse_str(include_str!("guests/passive.wat")).unwrap();
        std::fs::write(path.join("guest.wasm"), guest).unwrap();
        let text = "name: a request passes\nplugins: [{module: guest.wasm}]\n\
                    steps: [{request: GET /, expect: 200}]\n";
        std::fs::write(path.join("passes.yaml"), text).unwrap();
        Self(path)
    }

    fn command(&self, cache: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_host-test"));
        command
            .args(["run", "passes.yaml"])
            .current_dir(&self.0)
            .env("HOST_TEST_CACHE", cache)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    #[track_caller]
    fn assert_passes(&self, cache: &str) {
        assert_passed(&self.command(cache).output().unwrap());
    }

    /// The files of compiled code.
    fn compiled(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.0.join("cache"), &mut found);
        // Beside each stands one that says how often it was used.
        found.retain(|path| path.extension().is_none());
        found
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[track_caller]
fn assert_passed(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("1 passed, 0 failed"), "{out}");
    assert!(!err.contains("panicked"), "{err}");
}

#[test]
fn compiled_code_is_kept_in_the_folder_that_was_named() {
    let folder = Folder::new();
    folder.assert_passes("cache");
    assert_eq!(folder.compiled().len(), 1);
    folder.assert_passes("cache");
    assert_eq!(folder.compiled().len(), 1);
    folder.assert_passes("off");
}

#[test]
fn damaged_files_are_compiled_anew() {
    let folder = Folder::new();
    folder.assert_passes("cache");
    let file = folder.compiled().remove(0);
    let whole = std::fs::read(&file).unwrap();
    for damaged in [&b""[..], b"garbage", &whole[..whole.len() / 2]] {
        std::fs::write(&file, damaged).unwrap();
        folder.assert_passes("cache");
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    folder.assert_passes("cache");
}

#[test]
fn processes_share_an_empty_cache() {
    let folder = Folder::new();
    let start = |_| folder.command("cache").spawn().unwrap();
    let running: Vec<_> = (0..4).map(start).collect();
    for child in running {
        assert_passed(&child.wait_with_output().unwrap());
    }
    assert_eq!(folder.compiled().len(), 1);
}

#[test]
fn without_a_home_that_can_be_written_modules_are_compiled_each_time() {
    let folder = Folder::new();
    // No folder can be made in it, by whomever.
    std::fs::write(folder.0.join("home"), "").unwrap();
    let mut command = folder.command("");
    command
        .env_remove("HOST_TEST_CACHE")
        .env_remove("XDG_CACHE_HOME")
        .env("HOME", folder.0.join("home"));
    assert_passed(&command.output().unwrap());
}

#[test]
fn a_folder_that_was_named_and_cannot_be_used_is_an_error_that_names_it() {
    let folder = Folder::new();
    let output = folder.command("guest.wasm/cache").output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success());
    assert!(out.contains("HOST_TEST_CACHE=guest.wasm/cache"), "{out}");
}
