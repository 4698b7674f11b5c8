//! A clock that steps, as time synchronisation does it: by the one that is preloaded into Envoy.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde_json::json;

use crate::client::Client;
use crate::process::{Gateway, Kind};
use crate::{bootstrap, envoys, flood, listener, module, served};

const SHIM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/clock_shim.so"));
const SECOND: u64 = 1_000_000_000;
const START: [u64; 2] = [1_800_000_000 * SECOND, 1_000_000 * SECOND];

/// The page that `clock_shim.rs` reads: wall clock, monotonic clock, and what was added to both.
struct Clocks {
    page: File,
    folder: PathBuf,
}

impl Clocks {
    fn new() -> Self {
        assert!(
            !SHIM.is_empty(),
            "the clock can't be built on this platform"
        );
        let folder = std::env::temp_dir().join(format!("penstock-clocks-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        std::fs::write(folder.join("clock_shim.so"), SHIM).expect("written");
        let path = folder.join("page");
        let words = [START[0], START[1], 0, 0, 0];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        std::fs::write(&path, bytes).expect("written");
        let page = OpenOptions::new()
            .write(true)
            .open(&path)
            .expect("it is there");
        Self { page, folder }
    }

    fn set(&self, word: u64, nanos: u64) {
        let written = self.page.write_all_at(&nanos.to_ne_bytes(), word * 8);
        written.expect("written");
    }

    fn set_wall(&self, nanos: u64) {
        self.set(0, nanos);
    }

    fn set_monotonic(&self, nanos: u64) {
        self.set(1, nanos);
    }

    fn gateway(&self, kind: &Kind, config: &serde_json::Value) -> Gateway {
        let bootstrap = bootstrap(listener(&module(), config, served()), None).to_string();
        let variables = [
            ("LD_PRELOAD", self.folder.join("clock_shim.so")),
            ("PENSTOCK_CLOCK", self.folder.join("page")),
        ];
        let variables = variables
            .each_ref()
            .map(|(name, path)| (*name, path.as_os_str()));
        Gateway::start_with(kind, &bootstrap, &variables)
    }
}

impl Drop for Clocks {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn steps_of_the_wall_clock_neither_lock_out_nor_forgive() {
    for kind in envoys() {
        let clocks = Clocks::new();
        let rule = |name: &str, algorithm: &str| {
            json!({
                "name": name, "key": [{"header": "x-user"}],
                "match": {"paths": [{"exact": format!("/{name}")}]},
                "limits": [{"requests": 10, "per": "1m", "algorithm": algorithm}],
            })
        };
        let config = json!({"rules": [
            rule("g", "gcra"), rule("f", "fixed_window"), rule("s", "sliding_window"),
        ]});
        let gateway = clocks.gateway(&kind, &config);
        let mut client = Client::connect(gateway.address("main"));
        let mut served = |path: &str| {
            let statuses = (0..15).map(|_| client.get(path, "x-user: alice\r\n").status);
            statuses.filter(|status| *status == 200).count()
        };
        let mut all = || ["/g", "/f", "/s"].map(&mut served);
        assert_eq!(all(), [10, 10, 10]);
        for wall in [START[0] - 3600 * SECOND, START[0] + 86_400 * SECOND, SECOND] {
            clocks.set_wall(wall);
            assert_eq!(all(), [0, 0, 0], "the wall clock at {wall}");
        }
        // Two windows on, everything has come back.
        clocks.set_monotonic(START[1] + 120 * SECOND);
        assert_eq!(all(), [10, 10, 10]);
        assert_eq!(flood(gateway.address("main"), 16, "x-user: bob\r\n"), 16);
    }
}
