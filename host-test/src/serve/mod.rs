//! The gateway: serves an Envoy bootstrap on this machine, with its plugins in our engine.
//!
//! As in Envoy, a main thread accepts connections, answers the admin listener and has a VM of each
//! plugin for ticks; the workers serve the connections, each with VMs of its own and nothing shared
//! on the way of a request but what plugins share. A request is an [`exchange`], whose parts are the
//! client's [`connection`], the chain ([`filters`]), the [`router`] and the [`upstream`].
//!
//! It is a gateway for a laptop and for tests. What a production gateway needs besides (TLS, xDS) is
//! refused by the bootstrap reader, not passed over.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;
use log::LevelFilter;
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use gateway::{Gateway, GatewayError, Options};

use crate::{bootstrap, inspector};
use watch::Watch;

mod access_log;
mod admin;
mod body;
mod callout;
mod cluster;
mod config;
mod connection;
mod dns;
mod exchange;
mod filters;
mod format;
mod gateway;
mod grpc;
mod head;
mod health;
mod host;
mod local;
mod logs;
mod main_thread;
mod mutate;
mod native;
mod pages;
pub(crate) mod plugins;
mod prometheus;
mod random;
mod record;
mod reply;
mod retry;
mod router;
mod scan;
mod stats;
mod steer;
mod upstream;
mod watch;
mod wire;
mod worker;

pub(crate) use logs::to_stderr;

/// How long to wait after a connection couldn't be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Arguments of `host-test serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Envoy bootstrap file (YAML).
    #[arg(value_name = "ENVOY.yaml")]
    pub file: PathBuf,
    /// Number of worker threads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub concurrency: u8,
    /// Warn about fields that the gateway doesn't support instead of refusing them.
    #[arg(long)]
    pub lenient: bool,
    /// Least severe level of plugins' log lines: off, error, warn, info, debug, trace.
    #[arg(long, default_value = "info", value_name = "LEVEL", value_parser = log_level)]
    pub log_level: LevelFilter,
    /// Serve the file anew whenever it, or a module that it names, changes.
    #[arg(long)]
    pub watch: bool,
    /// Seconds that requests have to end once the gateway is told to stop.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub drain_time: u64,
    /// What concerns the inspector.
    #[command(flatten)]
    pub inspect: InspectArgs,
}

/// What concerns the inspector.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Of the inspector")]
pub struct InspectArgs {
    /// Record requests, and serve a page at /inspect of the admin listener that shows what filters
    /// did to them.
    #[arg(long)]
    pub inspect: bool,
    /// How many requests are kept, the last ones; 256 MiB at most.
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "inspect",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub inspect_requests: u32,
    /// Show credentials (authorization, cookies, tokens) instead of masking them.
    #[arg(long, requires = "inspect")]
    pub inspect_secrets: bool,
    /// Count wasm instructions, which makes filters slower.
    #[arg(long, requires = "inspect")]
    pub inspect_instructions: bool,
}

impl InspectArgs {
    fn settings(self) -> Option<inspector::Settings> {
        self.inspect.then_some(inspector::Settings {
            requests: self.inspect_requests as usize,
            secrets: self.inspect_secrets,
            instructions: self.inspect_instructions,
        })
    }
}

/// Parses a level; Envoy's `warning` is taken too.
pub(crate) fn log_level(text: &str) -> Result<LevelFilter, String> {
    let text = if text == "warning" { "warn" } else { text };
    text.parse()
        .map_err(|_| "one of off, error, warn, info, debug, trace is expected".to_owned())
}

/// Serves a bootstrap until SIGINT or SIGTERM: 0 then, 1 if it can't be served.
pub fn run(args: &ServeArgs) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &ServeArgs) -> Result<(), GatewayError> {
    let loaded = bootstrap::load(&args.file, args.lenient).map_err(GatewayError::Bootstrap)?;
    if !loaded.warnings.is_empty() {
        eprintln!(
            "warning: passed over because of --lenient:\n{}",
            loaded.warnings
        );
    }
    let options = Options {
        concurrency: args.concurrency,
        log_level: args.log_level,
        log: to_stderr(),
        inspect: args.inspect.settings(),
        drain_time: Duration::from_secs(args.drain_time),
    };
    let mut watched = args.watch.then(|| Watch::new(&args.file, &loaded.files));
    let gateway = Gateway::start(loaded, options)?;
    // Before anybody is told that the gateway is ready, and may tell it to stop.
    let mut signals = Signals::new().map_err(|error| GatewayError::Thread(error.to_string()))?;
    for (name, address) in gateway.addresses() {
        // Whoever started this may not care to read it.
        let _ = writeln!(io::stdout(), "listening on {address} ({name})");
    }
    while signals.next(watched.as_mut()) == Event::Reload {
        let files = match reload(args, &gateway) {
            Ok(files) => {
                let _ = writeln!(io::stdout(), "reloaded {}", args.file.display());
                Some(files)
            }
            Err(error) => {
                eprint!("{error}");
                eprintln!("the configuration before stays in force");
                None
            }
        };
        if let (Some(watched), Some(files)) = (&mut watched, files) {
            watched.follow(&files);
        }
    }
    signals.end_at_the_next();
    gateway.stop();
    Ok(())
}

/// Serves the file anew; tells which files it was read from.
fn reload(args: &ServeArgs, gateway: &Gateway) -> Result<Vec<PathBuf>, GatewayError> {
    let loaded = bootstrap::load(&args.file, args.lenient).map_err(GatewayError::Bootstrap)?;
    let files = loaded.files.clone();
    gateway.reload(loaded)?;
    Ok(files)
}

/// What the gateway is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Reload,
    Stop,
}

/// The signals, caught.
struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let hang_up = signal(SignalKind::hangup())?;
        drop(entered);
        Ok(Self {
            runtime,
            interrupt,
            terminate,
            hang_up,
        })
    }

    /// Waits for a signal or a change of files.
    fn next(&mut self, watched: Option<&mut Watch>) -> Event {
        self.runtime.block_on(async {
            let changed = async {
                match watched {
                    Some(watched) => watched.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.interrupt.recv() => Event::Stop,
                _ = self.terminate.recv() => Event::Stop,
                _ = self.hang_up.recv() => Event::Reload,
                () = changed => Event::Reload,
            }
        })
    }

    /// From now on a signal to stop ends the process at once.
    fn end_at_the_next(mut self) {
        thread::spawn(move || {
            while self.next(None) == Event::Reload {}
            std::process::exit(130);
        });
    }
}
