//! Reads how many tests passed and failed out of what the suites print.

use std::ops::AddAssign;

/// Tests that ran, and some that didn't.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Passed.
    pub(crate) passed: u64,
    /// Failed.
    pub(crate) failed: u64,
    /// Marked to be left out.
    pub(crate) ignored: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// Reads the line `test result: ok. 3 passed; 0 failed; 1 ignored; …` of a cargo test binary.
pub(crate) fn of_cargo(line: &str) -> Option<Counts> {
    let (_, results) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = Counts::default();
    for part in results.split("; ") {
        let (number, what) = part.split_once(' ')?;
        match what {
            "passed" => counts.passed = number.parse().ok()?,
            "failed" => counts.failed = number.parse().ok()?,
            "ignored" => counts.ignored = number.parse().ok()?,
            _ => {}
        }
    }
    Some(counts)
}

/// Reads the line `3 passed, 0 failed` of host-test, which may go on after a comma.
pub(crate) fn of_host_test(line: &str) -> Option<Counts> {
    let mut parts = line.split(", ");
    let passed = parts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = parts.next()?.strip_suffix(" failed")?.parse().ok()?;
    let ignored = parts
        .filter_map(|part| part.strip_suffix(" skipped")?.parse::<u64>().ok())
        .sum();
    Some(Counts {
        passed,
        failed,
        ignored,
    })
}

/// Returns the line of a test that was left out, by either: `skip  FILE on HOST: WHY`,
/// `test NAME ... ignored, WHY`.
pub(crate) fn left_out(line: &str) -> Option<&str> {
    let test = line
        .strip_prefix("test ")
        .filter(|rest| rest.contains(" ... ignored"));
    test.or_else(|| line.strip_prefix("skip ")).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_cargo_are_read() {
        let line = "test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 3 filtered out; \
                    finished in 0.00s";
        assert_eq!(
            of_cargo(line),
            Some(Counts {
                passed: 12,
                failed: 0,
                ignored: 2
            })
        );
        let line = "test result: FAILED. 1 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(
            of_cargo(line),
            Some(Counts {
                passed: 1,
                failed: 4,
                ignored: 0
            })
        );
    }

    #[test]
    fn results_of_host_test_are_read() {
        let expected = Counts {
            passed: 7,
            failed: 1,
            ignored: 0,
        };
        assert_eq!(of_host_test("7 passed, 1 failed"), Some(expected));
        let expected = Counts {
            passed: 7,
            failed: 1,
            ignored: 3,
        };
        assert_eq!(
            of_host_test("7 passed, 1 failed, 3 skipped"),
            Some(expected)
        );
    }

    #[test]
    fn tests_that_were_left_out_are_found() {
        for (line, expected) in [
            (
                "skip  a.yaml on envoy: it chooses a worker",
                "a.yaml on envoy: it chooses a worker",
            ),
            (
                "test slow::one ... ignored, takes hours",
                "slow::one ... ignored, takes hours",
            ),
        ] {
            assert_eq!(left_out(line), Some(expected));
        }
        for line in [
            "ok    a.yaml on envoy (3 ms): skips",
            "test fast::one ... ok",
        ] {
            assert_eq!(left_out(line), None, "{line}");
        }
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            "running 12 tests",
            "test counts::tests::other_lines_are_none ... ok",
            "test result: ",
            "all passed, none failed",
            "7 passed",
        ] {
            assert_eq!((of_cargo(line), of_host_test(line)), (None, None), "{line}");
        }
    }
}
