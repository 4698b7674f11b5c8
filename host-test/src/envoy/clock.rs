//! Virtual time for an Envoy process: a page in a file that a preloaded clock reads.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::clock::Clock;

/// `clock_shim.rs`, compiled; empty where that wasn't possible.
const SHIM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/clock_shim.so"));

/// Offsets in the page; see `clock_shim.rs`.
const WHICH: u64 = 16;
const SLOTS: [u64; 2] = [24, 32];

/// The clock of one Envoy process. It stands still unless it is advanced, and starts where our own
/// host's virtual clock does.
pub(super) struct EnvoyClock {
    page: File,
    page_path: PathBuf,
    shim_path: PathBuf,
    elapsed: Duration,
    slot: usize,
}

impl EnvoyClock {
    /// Puts the page and the preloaded object into a folder.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        if SHIM.is_empty() {
            return Err(io::Error::other(
                "Envoy has no virtual clock on this platform",
            ));
        }
        let (page_path, shim_path) = (folder.join("clock"), folder.join("clock_shim.so"));
        std::fs::write(&shim_path, SHIM)?;
        let start = Clock::virtual_clock();
        let words = [start.wall_nanos(), start.monotonic_nanos(), 0, 0, 0];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        std::fs::write(&page_path, bytes)?;
        let page = OpenOptions::new().write(true).open(&page_path)?;
        Ok(Self {
            page,
            page_path,
            shim_path,
            elapsed: Duration::ZERO,
            slot: 0,
        })
    }

    /// Makes a process live on this clock.
    pub(super) fn attach(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.shim_path)
            .env("PENSTOCK_CLOCK", &self.page_path);
    }

    /// Moves the process's wall and monotonic clocks forward.
    pub(super) fn advance(&mut self, by: Duration) -> io::Result<()> {
        self.elapsed += by;
        self.slot = 1 - self.slot;
        let nanos = u64::try_from(self.elapsed.as_nanos()).map_err(io::Error::other)?;
        self.page
            .write_all_at(&nanos.to_ne_bytes(), SLOTS[self.slot])?;
        // One byte, which is always written whole. Which byte of the word is the low one depends
        // on the machine, so all are 0 or 1 at once: only the lowest bit is looked at.
        let which = [self.slot as u8];
        let low = if cfg!(target_endian = "little") {
            WHICH
        } else {
            WHICH + 7
        };
        self.page.write_all_at(&which, low)
    }
}
