//! `host-test explain-token`.

mod moment;
mod report;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use jwt_auth::config::Config;
use jwt_auth::explain::{Request, Sets, Verdict, answer, explain};
use jwt_auth::jose::date::NumericDate;

use self::report::Report;
use super::{configuration, print};

/// Exit code where it depends on something that isn't known here.
const UNDECIDED: u8 = 3;
/// More than any gateway takes in a header.
const MOST_STDIN: u64 = 4 << 20;

/// Show what a configuration of jwt-auth makes of a token, check by check; never its signature.
///
/// Exit code 0 if the token is accepted, 1 if it is refused, 3 if that depends on what isn't known
/// here. A configuration is the plugin's, as JSON or YAML, or an Envoy bootstrap with the plugin in it.
#[derive(Args, Debug)]
pub(super) struct ExplainTokenArguments {
    /// The time at which it is checked, in seconds since 1970 or as 2026-01-31T12:00:00Z; now if it
    /// isn't given.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Option<u64>,
    /// A header of the request, for rules that look at it.
    #[arg(long, short = 'H', value_name = "NAME: VALUE", requires = "path", value_parser = header)]
    header: Vec<(String, String)>,
    /// Keys (a JWKS) in place of those that are fetched, for one provider or for all.
    #[arg(long, value_name = "[PROVIDER=]FILE")]
    jwks: Vec<String>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// The method of the request.
    #[arg(
        long,
        short = 'X',
        value_name = "METHOD",
        requires = "path",
        default_value = "GET"
    )]
    method: String,
    /// Decide about a request with this path too, by the rules.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// The plugin's name, where a bootstrap has several of this kind.
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// Ask this provider alone.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// The configuration.
    config: PathBuf,
    /// The token; `-` reads it from standard input, which keeps it out of the shell's history.
    #[arg(allow_hyphen_values = true)]
    token: String,
}

impl ExplainTokenArguments {
    /// Explains; an error is one sentence about a file, and what is wrong in it.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let path = self.config.as_path();
        // What can't be read is named, and a token must not be.
        if looks_like_a_token(path) {
            bail!("the configuration comes first, and then the token");
        }
        let shown = path.display();
        let json = configuration::read(path, "jwt_auth.wasm", self.plugin.as_deref())?;
        let config = Config::read(&json).map_err(|errors| anyhow!("{shown}: {errors}"))?;
        let sets = sets(&config, &self.jwks)?;
        let token = token(self.token)?;
        let token = token.as_bytes();
        let at = self.at.unwrap_or_else(moment::now);
        let now = NumericDate::from_unix_seconds(at);
        let only = self.provider.as_deref();
        let complain = |problem: String| anyhow!("{shown}: {problem}");
        let providers = explain(&config, token, only, &sets, now).map_err(complain)?;
        let request = self
            .path
            .map(|path| request(self.method, path, self.header));
        let request = request.transpose()?;
        let answer = request
            .map(|request| {
                let line = format!("{} {}", request.method, request.path);
                let answer = answer(&config, request, token, only, &sets, now);
                answer.map(|answer| (line, answer))
            })
            .transpose()
            .map_err(complain)?;
        let report = Report {
            at,
            providers,
            answer,
        };
        print(&match self.json {
            true => report.json(),
            false => report.pretty(),
        });
        Ok(match report.verdict() {
            Verdict::Accepted => ExitCode::SUCCESS,
            Verdict::Refused(_) => ExitCode::FAILURE,
            Verdict::Unknown => ExitCode::from(UNDECIDED),
        })
    }
}

fn looks_like_a_token(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.starts_with("ey") && text.matches('.').count() >= 2 && !path.exists()
}

/// Reads `NAME: VALUE`.
fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            let name = name.trim().to_ascii_lowercase();
            Ok((name, value.trim().to_owned()))
        }
        _ => Err("a header is NAME: VALUE".to_owned()),
    }
}

fn request(
    method: String,
    path: String,
    mut headers: Vec<(String, String)>,
) -> anyhow::Result<Request> {
    if !path.starts_with('/') {
        bail!("--path is a path such as /orders?id=7");
    }
    let host = headers.iter().position(|(name, _)| name == "host");
    let authority = host.map(|at| headers.remove(at).1);
    Ok(Request {
        method,
        scheme: "https".to_owned(),
        authority: authority.unwrap_or_else(|| "localhost".to_owned()),
        path,
        headers,
    })
}

fn sets(config: &Config, given: &[String]) -> anyhow::Result<Sets> {
    let mut sets = Sets::default();
    for text in given {
        let is_provider = |name: &str| config.providers.iter().any(|p| p.name == name);
        let named = text.split_once('=').filter(|(name, _)| is_provider(name));
        let (provider, file) = match named {
            Some((name, file)) => (Some(name), file),
            None => (None, text.as_str()),
        };
        let keys = std::fs::read(file).with_context(|| format!("{file} can't be read"))?;
        sets.add(provider, keys);
    }
    Ok(sets)
}

/// Returns the token without its scheme, if somebody pasted a whole header.
fn token(given: String) -> anyhow::Result<String> {
    let text = match given.as_str() {
        "-" => {
            let mut text = String::new();
            let mut input = std::io::stdin().take(MOST_STDIN);
            let read = input.read_to_string(&mut text);
            read.context("standard input can't be read")?;
            text
        }
        _ => given,
    };
    let token = text.trim();
    let bare = token.split_once(' ').filter(|(scheme, _)| {
        scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("dpop")
    });
    let token = bare.map_or(token, |(_, token)| token.trim_start());
    if token.is_empty() {
        bail!("there is no token");
    }
    Ok(token.to_owned())
}
