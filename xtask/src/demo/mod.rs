//! `demo`: `envoy/gateway.yaml` at work, with real requests.
//!
//! Three hosts are threads of this process; the gateway is a child. The tour sends requests and
//! checks what comes back; then the gateway serves on until Ctrl-C, or with `--once` all ends.

mod tour;
mod upstream;

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail};

use crate::build;
use crate::cli::{DemoOptions, Host};
use crate::gateway::{self, Gateway, Plan, Purpose};
use crate::workspace::Workspace;

/// What `envoy/gateway.yaml` says, which is a file without variables.
const BOOTSTRAP: &str = "envoy/gateway.yaml";
const GATEWAY: SocketAddr = loopback(10_000);
const ADMIN: SocketAddr = loopback(9_901);
const UPSTREAMS: [(&str, SocketAddr); 3] = [
    ("shop-1", loopback(10_101)),
    ("shop-2", loopback(10_102)),
    ("shop-3", loopback(10_103)),
];

/// Runs the demo.
pub(crate) fn run(workspace: &Workspace, options: &DemoOptions) -> Result<()> {
    // Before minutes of building.
    expect_free_ports()?;
    build::run(workspace)?;
    gateway::prepare(workspace, options.host, Purpose::Tests)?;
    let folder = workspace.target("demo");
    std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    for (name, address) in UPSTREAMS {
        upstream::start(name, address)?;
    }
    let plan = Plan {
        host: options.host,
        bootstrap: BOOTSTRAP.as_ref(),
        listeners: &["gateway"],
        admin: ADMIN,
        workers: 2,
        log: &folder.join("gateway.log"),
    };
    let inspected = matches!(options.host, Host::Wasmtime);
    let flags: &[&str] = if inspected { &["--inspect"] } else { &[] };
    let gateway = Gateway::start_with(workspace, plan, flags)?;
    let program = match options.host {
        Host::Envoy => "The real Envoy",
        Host::Wasmtime => "host-test, the local host,",
    };
    println!("\n{program} serves {BOOTSTRAP} on http://{GATEWAY}");
    if inspected {
        println!("What its filters do to each request: http://{ADMIN}/inspect");
    }
    let mistakes = tour::run(&gateway, GATEWAY, ADMIN)?;
    if !mistakes.is_empty() {
        for mistake in &mistakes {
            println!("NOT AS IT SHOULD BE: {mistake}");
        }
        bail!(
            "the tour found {} thing(s) that are not as they should be",
            mistakes.len()
        );
    }
    println!("\nEverything went as it should.");
    if options.once {
        return Ok(());
    }
    println!("Serving on until Ctrl-C; below is the access log. Try, in another terminal:");
    println!(
        "  for i in 1 2 3 4 5 6; do curl -i -H 'x-client: me' http://{GATEWAY}/api/books; done"
    );
    println!("  curl -i http://{GATEWAY}/catalogue");
    println!("  curl http://{ADMIN}/stats/prometheus | grep _total");
    if inspected {
        println!("and look at http://{ADMIN}/inspect");
    }
    println!();
    gateway.follow()
}

fn expect_free_ports() -> Result<()> {
    gateway::expect_free(GATEWAY, "the demo's gateway")?;
    gateway::expect_free(ADMIN, "the demo's admin page")?;
    for (name, address) in UPSTREAMS {
        gateway::expect_free(address, &format!("the demo's upstream `{name}`"))?;
    }
    Ok(())
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
