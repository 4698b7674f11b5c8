//! Tokens to load a gateway with, made by Node.js: signing needs cryptography, which xtask has not.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::bench::wrk::Load;
use crate::process;
use crate::workspace::Workspace;

/// A key set and tokens signed with its key.
pub(crate) struct Tokens {
    /// The key set.
    pub(crate) keys: Value,
    /// Tokens that verify.
    pub(crate) good: Vec<String>,
    /// The same with signatures that do not.
    pub(crate) bad: Vec<String>,
}

impl Tokens {
    /// Makes so many of each.
    pub(crate) fn make(workspace: &Workspace, count: u32) -> Result<Self> {
        if process::find_on_path("node").is_none() {
            bail!("the tokens are made by Node.js: no node on PATH");
        }
        let script = workspace.root.join("xtask/src/bench/jwt/tokens.mjs");
        let mut command = Command::new("node");
        command.arg(script).arg(count.to_string());
        let text = process::capture(&mut command)?;
        let made: Value = serde_json::from_str(&text).context("tokens.mjs printed no JSON")?;
        let list = |name: &str| -> Vec<String> {
            let texts = made[name].as_array().into_iter().flatten();
            texts
                .filter_map(|it| it.as_str().map(str::to_owned))
                .collect()
        };
        let tokens = Self {
            good: list("good"),
            bad: list("bad"),
            keys: made["keys"].clone(),
        };
        if tokens.good.len() != count as usize || tokens.bad.len() != count as usize {
            bail!(
                "tokens.mjs made {} tokens instead of {count}",
                tokens.good.len()
            );
        }
        Ok(tokens)
    }
}

/// A load that sends one token after the other.
pub(crate) fn in_turn(workspace: &Workspace, name: &str, tokens: &[String]) -> Result<Load> {
    let mut script = String::from("local tokens = {\n");
    for token in tokens {
        let _ = writeln!(script, "\"{token}\",");
    }
    script.push_str(
        "}\nlocal at = 0\nrequest = function()\n  at = at % #tokens + 1\n  \
         return \"GET / HTTP/1.1\\r\\nhost: a\\r\\nauthorization: Bearer \" .. tokens[at] .. \"\\r\\n\\r\\n\"\nend\n",
    );
    let file: PathBuf = workspace.target("bench").join(format!("{name}.lua"));
    std::fs::write(&file, script).with_context(|| format!("can't write {}", file.display()))?;
    Ok(Load::Script(file))
}
