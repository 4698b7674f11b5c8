//! What the kernel says of a process: CPU time and memory.

use std::fs;

use anyhow::{Context, Result};

/// Returns the CPU time of all threads that run now, in nanoseconds.
///
/// From `schedstat`, whose first number is exact; the ticks of `stat` are 10 ms.
pub(crate) fn cpu_nanoseconds(pid: u32) -> Result<u64> {
    let folder = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&folder).with_context(|| format!("can't read {folder}"))?;
    let mut sum = 0;
    for task in tasks {
        let file = task?.path().join("schedstat");
        // A thread that ended since the folder was listed.
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let first = text
            .split_whitespace()
            .next()
            .and_then(|number| number.parse::<u64>().ok());
        sum += first.with_context(|| format!("{} holds no number", file.display()))?;
    }
    Ok(sum)
}

/// Returns the resident memory, in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<u64> {
    let file = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&file).with_context(|| format!("can't read {file}"))?;
    resident_in(&text).with_context(|| format!("{file} has no VmRSS"))
}

fn resident_in(status: &str) -> Option<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_kib() {
        let status = "VmHWM:\t  901234 kB\nVmRSS:\t   48216 kB\nThreads:\t9\n";
        assert_eq!(resident_in(status), Some(48_216));
        assert_eq!(resident_in("Threads:\t9\n"), None);
    }

    #[test]
    fn a_busy_process_uses_cpu_time() {
        let pid = std::process::id();
        let before = cpu_nanoseconds(pid).expect("this process has tasks");
        let mut number = 1_u64;
        while cpu_nanoseconds(pid).expect("it still has") < before + 1_000_000 {
            number = std::hint::black_box(number.wrapping_mul(31));
        }
    }
}
