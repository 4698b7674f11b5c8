//! The command line: words in, a [`Command`] or one sentence out.
//!
//! Written by hand because seven commands with a handful of flags need no parser crate, and xtask has
//! to compile in seconds.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::bench;

/// What a command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Invocation {
    /// Print this text and exit 0.
    Help(String),
    /// Run a command.
    Run(Command),
}

/// A command with its options.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    /// Side-by-side benchmarks.
    Bench(BenchOptions),
    /// The modules, or the one of that name.
    Build(Option<String>),
    /// The guided tour.
    Demo(DemoOptions),
    /// What a release is made of.
    Dist,
    /// Format and clippy, native and wasm.
    Lint,
    /// Tools that are missing.
    Setup(SetupOptions),
    /// All tests.
    Test(TestOptions),
}

/// Options of `bench`.
#[derive(Debug, PartialEq)]
pub(crate) struct BenchOptions {
    /// Benchmark to run; all when absent.
    pub(crate) name: Option<String>,
    /// Distinct keys of the memory measurement.
    pub(crate) keys: u64,
    /// How often rate-limit's rows are measured.
    pub(crate) rounds: u32,
    /// Which gateways are measured.
    pub(crate) host: Hosts,
}

/// Options of `demo`.
#[derive(Debug, PartialEq)]
pub(crate) struct DemoOptions {
    /// The gateway that serves.
    pub(crate) host: Host,
    /// Exit after the tour instead of serving on.
    pub(crate) once: bool,
}

/// Options of `setup`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct SetupOptions {
    /// Report only, install nothing.
    pub(crate) check: bool,
    /// Optional tools are required too. `CI=true` in the environment means the same.
    pub(crate) require_all: bool,
}

/// Options of `test`.
#[derive(Debug, PartialEq)]
pub(crate) struct TestOptions {
    /// Leave out everything that needs the real Envoy.
    pub(crate) no_envoy: bool,
}

/// A gateway that can run the modules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Host {
    /// The real Envoy.
    Envoy,
    /// `host-test serve`.
    Wasmtime,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Envoy => "Envoy",
            Self::Wasmtime => "host-test",
        })
    }
}

/// A choice of gateways to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Hosts {
    /// Both, one after the other.
    Both,
    /// One of them.
    One(Host),
}

impl Hosts {
    /// Whether `host` is among them.
    pub(crate) fn include(self, host: Host) -> bool {
        match self {
            Self::Both => true,
            Self::One(one) => one == host,
        }
    }
}

/// Name, flags and one line on each command, in the order a newcomer needs them.
const COMMANDS: [(&str, &str, &str); 7] = [
    (
        "demo",
        "[--host wasmtime|envoy] [--once]",
        "serve on 127.0.0.1:10000 and tour the filters with real requests",
    ),
    (
        "test",
        "[--no-envoy]",
        "run every test, the scenarios in our host and in the real Envoy",
    ),
    (
        "setup",
        "[--check] [--require-all]",
        "install the tools that are missing; say what and why",
    ),
    (
        "build",
        "[MODULE]",
        "compile the modules to target/wasm and check sizes and imports",
    ),
    (
        "lint",
        "",
        "check format, and clippy for native code and for wasm",
    ),
    (
        "bench",
        "[NAME] [--host wasmtime|envoy|both] [--keys N] [--rounds N]",
        "measure against the native filters; results in target/bench",
    ),
    (
        "dist",
        "",
        "pack a release: modules, checksums, schemas, OCI images in target/dist",
    ),
];

/// Reads the arguments after `cargo xtask`. The error is a sentence with the usage below it.
pub(crate) fn parse(arguments: &[String]) -> Result<Invocation, String> {
    let Some((command, rest)) = arguments.split_first() else {
        return Err(format!("no command given\n\n{}", usage()));
    };
    let mut words = Words {
        command,
        rest: rest.iter(),
    };
    let parsed = match command.as_str() {
        "bench" => bench_options(&mut words)?,
        "build" => build_options(&mut words)?,
        "demo" => demo_options(&mut words)?,
        "dist" => words.none(Command::Dist)?,
        "lint" => words.none(Command::Lint)?,
        "setup" => setup_options(&mut words)?,
        "test" => test_options(&mut words)?,
        "help" | "--help" | "-h" => return Ok(Invocation::Help(usage())),
        unknown => {
            let names = COMMANDS.map(|(name, _, _)| name).join(", ");
            let usage = usage();
            return Err(format!(
                "unknown command `{unknown}`; the commands are {names}\n\n{usage}"
            ));
        }
    };
    Ok(parsed.map_or_else(|| Invocation::Help(usage()), Invocation::Run))
}

fn usage() -> String {
    let mut text = String::from("Usage: cargo xtask COMMAND\n\n");
    for (name, flags, summary) in COMMANDS {
        text.push_str(&format!(
            "  {:<52} {summary}\n",
            format!("{name} {flags}").trim_end()
        ));
    }
    text
}

/// The words after a command. Each reader returns `None` when help was asked for.
struct Words<'a> {
    command: &'a str,
    rest: std::slice::Iter<'a, String>,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.rest.next().map(String::as_str)
    }

    fn none(&mut self, command: Command) -> Result<Option<Command>, String> {
        match self.next() {
            None => Ok(Some(command)),
            Some("--help" | "-h") => Ok(None),
            Some(word) => Err(self.unexpected(word)),
        }
    }

    fn unexpected(&self, word: &str) -> String {
        format!(
            "`{}` doesn't take `{word}`\n\n{}",
            self.command,
            self.usage()
        )
    }

    fn value(&mut self, flag: &str, allowed: &str) -> Result<&'a str, String> {
        self.next()
            .ok_or_else(|| format!("`{flag}` needs a value: {allowed}\n\n{}", self.usage()))
    }

    fn number<T: FromStr + PartialOrd + fmt::Display>(
        &mut self,
        flag: &str,
        bounds: RangeInclusive<T>,
    ) -> Result<T, String> {
        let (least, most) = (bounds.start(), bounds.end());
        let allowed = format!("a whole number from {least} to {most}");
        let value = self.value(flag, &allowed)?;
        let number = value.parse().ok().filter(|number| bounds.contains(number));
        number.ok_or_else(|| self.refused(flag, value, &allowed))
    }

    fn refused(&self, flag: &str, value: &str, allowed: &str) -> String {
        format!("`{flag}` can't be `{value}`: {allowed}\n\n{}", self.usage())
    }

    fn usage(&self) -> String {
        let flags = COMMANDS
            .iter()
            .find(|(name, _, _)| *name == self.command)
            .map_or("", |(_, flags, _)| flags);
        format!("Usage: cargo xtask {} {flags}", self.command)
            .trim_end()
            .to_owned()
    }
}

fn build_options(words: &mut Words<'_>) -> Result<Option<Command>, String> {
    let mut module = None;
    while let Some(word) = words.next() {
        match word {
            "--help" | "-h" => return Ok(None),
            name if !name.starts_with('-') && module.is_none() => module = Some(name.to_owned()),
            other => return Err(words.unexpected(other)),
        }
    }
    Ok(Some(Command::Build(module)))
}

fn bench_options(words: &mut Words<'_>) -> Result<Option<Command>, String> {
    let mut options = BenchOptions {
        name: None,
        keys: 1_000_000,
        rounds: 9,
        host: Hosts::Both,
    };
    while let Some(word) = words.next() {
        match word {
            "--help" | "-h" => return Ok(None),
            "--host" => {
                let allowed = "wasmtime, envoy or both";
                options.host = match words.value(word, allowed)? {
                    "both" => Hosts::Both,
                    "envoy" => Hosts::One(Host::Envoy),
                    "wasmtime" => Hosts::One(Host::Wasmtime),
                    other => return Err(words.refused(word, other, allowed)),
                };
            }
            "--keys" => options.keys = words.number(word, 1_000..=100_000_000)?,
            "--rounds" => options.rounds = words.number(word, 1..=100)?,
            name if bench::names().contains(&name) && options.name.is_none() => {
                options.name = Some(name.to_owned());
            }
            name if !name.starts_with('-') && options.name.is_none() => {
                let names = bench::names().join(", ");
                let usage = words.usage();
                return Err(format!(
                    "there is no benchmark `{name}`; the benchmarks are {names}\n\n{usage}"
                ));
            }
            other => return Err(words.unexpected(other)),
        }
    }
    Ok(Some(Command::Bench(options)))
}

fn demo_options(words: &mut Words<'_>) -> Result<Option<Command>, String> {
    let mut options = DemoOptions {
        host: Host::Wasmtime,
        once: false,
    };
    while let Some(word) = words.next() {
        match word {
            "--help" | "-h" => return Ok(None),
            "--host" => {
                let allowed = "wasmtime or envoy";
                options.host = match words.value(word, allowed)? {
                    "envoy" => Host::Envoy,
                    "wasmtime" => Host::Wasmtime,
                    other => return Err(words.refused(word, other, allowed)),
                };
            }
            "--once" => options.once = true,
            other => return Err(words.unexpected(other)),
        }
    }
    Ok(Some(Command::Demo(options)))
}

fn setup_options(words: &mut Words<'_>) -> Result<Option<Command>, String> {
    let mut options = SetupOptions::default();
    while let Some(word) = words.next() {
        match word {
            "--help" | "-h" => return Ok(None),
            "--check" => options.check = true,
            "--require-all" => options.require_all = true,
            other => return Err(words.unexpected(other)),
        }
    }
    Ok(Some(Command::Setup(options)))
}

fn test_options(words: &mut Words<'_>) -> Result<Option<Command>, String> {
    let mut options = TestOptions { no_envoy: false };
    while let Some(word) = words.next() {
        match word {
            "--help" | "-h" => return Ok(None),
            "--no-envoy" => options.no_envoy = true,
            other => return Err(words.unexpected(other)),
        }
    }
    Ok(Some(Command::Test(options)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    fn refusal(line: &str) -> String {
        parsed(line).expect_err("the line is wrong")
    }

    #[test]
    fn demo_defaults_to_our_host_and_serves_on() {
        let expected = Command::Demo(DemoOptions {
            host: Host::Wasmtime,
            once: false,
        });
        assert_eq!(parsed("demo"), Ok(Invocation::Run(expected)));
    }

    #[test]
    fn flags_come_in_any_order() {
        let expected = Command::Demo(DemoOptions {
            host: Host::Envoy,
            once: true,
        });
        assert_eq!(
            parsed("demo --once --host envoy"),
            Ok(Invocation::Run(expected))
        );
    }

    #[test]
    fn an_unknown_command_lists_those_that_exist() {
        let expected = "unknown command `deploy`; the commands are demo, test, setup, build, lint, bench, dist\n";
        assert!(refusal("deploy").starts_with(expected));
    }

    #[test]
    fn an_unknown_flag_is_named_with_the_usage_of_its_command() {
        assert_eq!(
            refusal("setup --force"),
            "`setup` doesn't take `--force`\n\nUsage: cargo xtask setup [--check] [--require-all]"
        );
    }

    #[test]
    fn a_flag_without_its_value_says_what_is_allowed() {
        assert!(refusal("demo --host").starts_with("`--host` needs a value: wasmtime or envoy\n"));
    }

    #[test]
    fn a_wrong_value_says_what_is_allowed() {
        let expected = "`--host` can't be `nginx`: wasmtime or envoy\n";
        assert!(refusal("demo --host nginx").starts_with(expected));
    }

    #[test]
    fn the_numbers_of_keys_and_rounds_have_bounds() {
        assert!(refusal("bench --keys 10").starts_with("`--keys` can't be `10`: a whole number"));
        assert!(refusal("bench --keys many").starts_with("`--keys` can't be `many`"));
        assert!(refusal("bench --rounds 0").starts_with("`--rounds` can't be `0`: a whole number"));
    }

    #[test]
    fn an_unknown_benchmark_lists_those_that_exist() {
        let expected = "there is no benchmark `ratelimit`; the benchmarks are cache, hash, host, jwt, rate-limit, serve\n";
        assert!(refusal("bench ratelimit").starts_with(expected));
    }

    #[test]
    fn build_takes_one_module_or_makes_all() {
        let one = Command::Build(Some("rate-limit".to_owned()));
        assert_eq!(parsed("build rate-limit"), Ok(Invocation::Run(one)));
        assert_eq!(parsed("build"), Ok(Invocation::Run(Command::Build(None))));
        assert!(refusal("build a b").starts_with("`build` doesn't take `b`"));
    }

    #[test]
    fn bench_takes_one_name() {
        assert!(refusal("bench rate-limit again").starts_with("`bench` doesn't take `again`"));
    }

    #[test]
    fn help_is_no_mistake() {
        for line in [
            "help",
            "--help",
            "-h",
            "demo --help",
            "build -h",
            "bench --keys 1000 -h",
        ] {
            assert!(matches!(parsed(line), Ok(Invocation::Help(_))), "{line}");
        }
    }

    #[test]
    fn no_command_shows_every_command() {
        let message = refusal("");
        for (name, _, _) in COMMANDS {
            assert!(message.contains(name), "{name}");
        }
    }
}
