//! `host-test explain-hash`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use consistent_hash::config::Config;
use consistent_hash::decision::Reason;
use consistent_hash::explain::{Difference, Explanation, Map, diff};

use super::{configuration, print};

/// Show which hosts keys belong to under a configuration of consistent-hash, and who stands in.
///
/// A configuration is the plugin's, as JSON or YAML, or an Envoy bootstrap with the plugin in it.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct ExplainHashArguments {
    #[command(subcommand)]
    compare: Option<Compare>,
    /// A host that is out, by its address.
    #[arg(long, value_name = "ADDRESS")]
    out: Vec<String>,
    /// The plugin's name, where a bootstrap has several of this kind.
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// The configuration.
    #[arg(required = true)]
    config: Option<PathBuf>,
    /// Keys as they come, before they are normalised.
    #[arg(required = true)]
    keys: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Compare {
    /// Show which part of all keys gets another host under another configuration.
    Diff {
        /// How many keys to compare by.
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
        keys: u64,
        /// The plugin's name, where a bootstrap has several of this kind.
        #[arg(long, value_name = "NAME")]
        plugin: Option<String>,
        /// The configuration as it is.
        old: PathBuf,
        /// The configuration as it is to be.
        new: PathBuf,
    },
}

impl ExplainHashArguments {
    /// Explains; an error is one sentence about a file, and what is wrong in it.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(Compare::Diff {
            keys,
            plugin,
            old,
            new,
        }) = self.compare
        {
            let (old, new) = (
                map(&old, plugin.as_deref(), &[])?,
                map(&new, plugin.as_deref(), &[])?,
            );
            print(&pretty_diff(&old, &new, &diff(&old, &new, keys)));
            return Ok(ExitCode::SUCCESS);
        }
        let config = self.config.context("no configuration given")?;
        let map = map(&config, self.plugin.as_deref(), &self.out)?;
        let mut text = format!("{} over {}\n", map.algorithm(), hosts(map.hosts()));
        if map.panics() {
            text.push_str("so many hosts are out that all count as in\n");
        }
        for key in &self.keys {
            match map.explain(key.as_bytes()) {
                Some(explanation) => text.push_str(&pretty(key, &explanation)),
                None => text.push_str(&format!("\n{key}: nothing of it is left as a key\n")),
            }
        }
        print(&text);
        Ok(ExitCode::SUCCESS)
    }
}

fn hosts(count: usize) -> String {
    match count {
        1 => "1 host".to_owned(),
        count => format!("{count} hosts"),
    }
}

fn pretty(given: &str, explanation: &Explanation) -> String {
    let key = String::from_utf8_lossy(&explanation.key);
    let mut text = format!("\n{given}");
    if key != given {
        text.push_str(&format!(", as a key {key}"));
    }
    text.push_str(&format!(", hash {:016x}\n", explanation.hash));
    let candidates = &explanation.candidates;
    let width = candidates.iter().map(|one| one.host.address.len()).max();
    for (place, candidate) in candidates.iter().enumerate() {
        let host = &candidate.host;
        let width = width.unwrap_or(0);
        let mut line = format!("  {:>3}  {:<width$}", candidate.rank, host.address);
        if host.weight != 1 {
            line.push_str(&format!("  weight {}", host.weight));
        }
        if let Some(zone) = &host.zone {
            line.push_str(&format!("  zone {zone}"));
        }
        if host.draining {
            line.push_str("  draining");
        }
        match (candidate.is_in, place) {
            (false, _) => line.push_str("  out"),
            (true, 0) if explanation.reason != Reason::None => {
                line.push_str(&format!("  chosen: {}", explanation.reason.word()));
            }
            (true, _) => {}
        }
        text.push_str(&line);
        text.push('\n');
    }
    if candidates.is_empty() {
        text.push_str("  no host has a weight\n");
    }
    text
}

fn pretty_diff(old: &Map, new: &Map, difference: &Difference) -> String {
    let mut text = format!(
        "{} over {} -> {} over {}\n\
         {:.2} % of keys move ({} of {}); by the hosts' weights {:.2} % have to\n\
         {} of them move between hosts that are there before and after\n\n",
        old.algorithm(),
        hosts(old.hosts()),
        new.algorithm(),
        hosts(new.hosts()),
        difference.percent(),
        difference.moved,
        difference.keys,
        difference.least * 100.0,
        difference.needlessly,
    );
    let width = difference.hosts.keys().map(String::len).max();
    let width = width.unwrap_or(0).max(4);
    let _ = writeln!(text, "{:<width$}  {:>9}  {:>9}", "host", "before", "after");
    for (host, (before, after)) in &difference.hosts {
        let _ = writeln!(text, "{host:<width$}  {before:>9}  {after:>9}");
    }
    text
}

fn map(path: &Path, plugin: Option<&str>, out: &[String]) -> anyhow::Result<Map> {
    let shown = path.display();
    let json = configuration::read(path, "consistent_hash.wasm", plugin)?;
    let config = Config::read(&json).map_err(|errors| anyhow!("{shown}: {errors}"))?;
    Map::new(config, out).map_err(|cause| anyhow!("{shown}: {cause}"))
}
