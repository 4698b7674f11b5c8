//! Sizes of the modules against their budgets.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;
use crate::workspace::Budget;

/// The sizes of a finished module, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Size {
    /// Of the file.
    pub(crate) wasm: u64,
    /// Of the file after `gzip -9`, which is what a registry transfers.
    pub(crate) gzip: u64,
}

impl Size {
    /// Measures a file.
    pub(crate) fn of(file: &Path) -> Result<Self> {
        let wasm = file
            .metadata()
            .with_context(|| format!("can't read {}", file.display()))?
            .len();
        let mut gzip = Command::new("gzip");
        // -n: neither name nor time, so that the same module has the same size anywhere.
        let output = gzip.args(["-9", "-n", "-c"]).arg(file).output();
        let output = output.context("can't run gzip, which measures the compressed size")?;
        anyhow::ensure!(
            output.status.success(),
            "`{}` failed",
            process::shown(&gzip)
        );
        Ok(Self {
            wasm,
            gzip: u64::try_from(output.stdout.len())?,
        })
    }

    /// Returns what is over budget, as sentences.
    pub(crate) fn excesses(self, name: &str, budget: Budget) -> Vec<String> {
        [
            ("", self.wasm, budget.wasm),
            (" after gzip", self.gzip, budget.gzip),
        ]
        .into_iter()
        .filter(|(_, size, limit)| size > limit)
        .map(|(what, size, limit)| {
            let over = size - limit;
            format!("{name}.wasm is {size} bytes{what}, {over} over its budget of {limit}")
        })
        .collect()
    }
}

/// Returns the table of sizes, a line per module.
pub(crate) fn table(rows: &[(&str, Size, Budget)]) -> String {
    let mut text = format!(
        "{:<18} {:>9} {:>9} {:>9} {:>9}\n",
        "module", "bytes", "budget", "gzip", "budget"
    );
    for (name, size, budget) in rows {
        text.push_str(&format!(
            "{name:<18} {:>9} {:>9} {:>9} {:>9}\n",
            size.wasm, budget.wasm, size.gzip, budget.gzip
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget {
        wasm: 250_000,
        gzip: 100_000,
    };

    #[test]
    fn a_module_of_exactly_its_budget_passes() {
        let size = Size {
            wasm: 250_000,
            gzip: 100_000,
        };
        assert_eq!(size.excesses("rate_limit", BUDGET), Vec::<String>::new());
    }

    #[test]
    fn each_excess_is_told_with_its_number_of_bytes() {
        let size = Size {
            wasm: 250_001,
            gzip: 100_300,
        };
        assert_eq!(
            size.excesses("rate_limit", BUDGET),
            [
                "rate_limit.wasm is 250001 bytes, 1 over its budget of 250000",
                "rate_limit.wasm is 100300 bytes after gzip, 300 over its budget of 100000",
            ]
        );
    }
}
