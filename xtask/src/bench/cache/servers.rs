//! The caches that are compared, and their origin, each a process of its own with one worker.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::bench::bootstrap::{self, Listener};
use crate::bench::free_addresses;
use crate::cli::Host;
use crate::gateway::{Gateway, Plan};
use crate::process;
use crate::workspace::Workspace;

/// A cache under measurement.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    /// The process that does the work.
    pub(crate) pid: u32,
}

/// All of them. Dropping it ends the processes.
pub(crate) struct Servers {
    hits: Vec<Server>,
    misses: Vec<Server>,
    children: Vec<Child>,
    _gateway: Gateway,
}

impl Servers {
    /// Starts all, with files of these sizes at the origin.
    pub(crate) fn start(workspace: &Workspace, sizes: &[usize]) -> Result<Self> {
        let [admin, origin, nginx, varnish] = free_addresses()?;
        let folder = workspace.target("bench/cache");
        let files = folder.join("files");
        fs::create_dir_all(&files).with_context(|| format!("can't make {}", files.display()))?;
        for size in sizes {
            fs::write(files.join(size.to_string()), "x".repeat(*size))?;
        }
        let mut children = Vec::new();
        let mut servers = Vec::new();
        let root = format!(
            "root {}; location / {{ add_header cache-control max-age=3600; }}",
            files.display()
        );
        children.push(start_nginx(&folder, "origin", origin, &root)?);
        let proxy = format!(
            "location / {{ proxy_pass http://{origin}; proxy_cache main; proxy_http_version 1.1; \
             proxy_set_header connection \"\"; }}"
        );
        let child = start_nginx(&folder, "nginx", nginx, &proxy)?;
        servers.push(Server {
            name: "nginx",
            address: nginx,
            pid: child.id(),
        });
        children.push(child);
        let work = folder.join("varnish");
        let child = Command::new("varnishd")
            .args(["-F", "-a", &varnish.to_string(), "-b", &origin.to_string()])
            .args(["-s", "malloc,256m", "-n"])
            .arg(&work)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("varnishd doesn't start")?;
        wait_for(varnish)?;
        servers.push(Server {
            name: "Varnish",
            address: varnish,
            pid: child_of(child.id())?,
        });
        children.push(child);
        let names: Vec<String> = sizes.iter().map(usize::to_string).collect();
        let (gateway, envoys) = start_envoy(workspace, admin, origin, &files, &names)?;
        let pick = |wanted: &[&str]| {
            let found = envoys.iter().filter(|server| wanted.contains(&server.name));
            found.cloned().collect::<Vec<_>>()
        };
        let mut hits = pick(&[DIRECT, NO_OP]);
        hits.append(&mut servers);
        hits.append(&mut pick(&[NATIVE, OURS]));
        Ok(Self {
            hits,
            misses: pick(&[PROXIED, NATIVE, OURS]),
            children,
            _gateway: gateway,
        })
    }

    /// Those that answer without the origin, in the order in which they take turns: first what answers
    /// in place, which is the least that a hit can take.
    pub(crate) fn hits(&self) -> &[Server] {
        &self.hits
    }

    /// Those that ask the origin, the first one without a cache.
    pub(crate) fn misses(&self) -> &[Server] {
        &self.misses
    }
}

/// Envoy's listeners, as the tables call them.
const DIRECT: &str = "direct_response";
const NO_OP: &str = "… behind a no-op module";
const PROXIED: &str = "proxied, no cache";
const NATIVE: &str = "Envoy's cache filter";
const OURS: &str = "cache-lookup";

/// Starts one Envoy for all that is measured of it.
fn start_envoy(
    workspace: &Workspace,
    admin: SocketAddr,
    origin: SocketAddr,
    files: &Path,
    names: &[String],
) -> Result<(Gateway, Vec<Server>)> {
    let [direct, no_op, proxied, native, ours] = free_addresses()?;
    let cache = json!({ "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.http.cache.simple_http_cache.v3.SimpleHttpCacheConfig",
    } });
    let cache = bootstrap::native("envoy.filters.http.cache", "cache.v3.CacheConfig", cache);
    let listener = |name, address, filter: Option<_>, upstream| Listener {
        name,
        address,
        filters: filter.into_iter().collect(),
        upstream,
    };
    let module = |module, config| bootstrap::ours(workspace, module, module, &config);
    let nothing = module("bench_guest", json!(0));
    let filter = module("cache_lookup", json!({}));
    let listeners = [
        listener("proxied", proxied, None, Some(origin)),
        listener("native", native, Some(cache), Some(origin)),
        listener("ours", ours, Some(filter), Some(origin)),
    ];
    let in_place = [
        listener("direct", direct, None, None),
        listener("no_op", no_op, Some(nothing), None),
    ];
    let in_place = in_place.iter();
    let more = bootstrap::More {
        listeners: in_place
            .map(|listener| bootstrap::answering(listener, files, names))
            .collect(),
        ..Default::default()
    };
    let gateway = Gateway::start(
        workspace,
        Plan {
            host: Host::Envoy,
            bootstrap: &bootstrap::write_with(workspace, "cache", admin, &listeners, more)?,
            listeners: &["native", "ours"],
            admin,
            workers: 1,
            log: &workspace.target("bench/cache.log"),
        },
    )?;
    let servers = [
        (DIRECT, direct),
        (NO_OP, no_op),
        (PROXIED, proxied),
        (NATIVE, native),
        (OURS, ours),
    ];
    let server = |(name, address)| Server {
        name,
        address,
        pid: gateway.pid(),
    };
    let servers = servers.map(server).to_vec();
    Ok((gateway, servers))
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            process::kill(child);
        }
    }
}

/// Starts an nginx of one process whose server has these directives.
fn start_nginx(folder: &Path, name: &str, address: SocketAddr, server: &str) -> Result<Child> {
    let home = folder.join(name);
    fs::create_dir_all(&home).with_context(|| format!("can't make {}", home.display()))?;
    let shown = home.display();
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {shown}/pid; error_log {shown}/errors;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; sendfile on; keepalive_requests 1000000000;\n\
         client_body_temp_path {shown}/body; proxy_temp_path {shown}/proxy;\n\
         fastcgi_temp_path {shown}/fastcgi; uwsgi_temp_path {shown}/uwsgi; scgi_temp_path {shown}/scgi;\n\
         proxy_cache_path {shown}/store keys_zone=main:10m;\n\
         server {{ listen {address}; {server} }} }}\n"
    );
    let config = home.join("nginx.conf");
    fs::write(&config, text)?;
    let child = Command::new("nginx")
        .arg("-e")
        .arg(home.join("errors"))
        .arg("-c")
        .arg(&config)
        .stdin(Stdio::null())
        .spawn()
        .context("nginx doesn't start")?;
    wait_for(address)?;
    Ok(child)
}

fn wait_for(address: SocketAddr) -> Result<()> {
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        if started.elapsed() > Duration::from_secs(20) {
            bail!("nothing listens on {address}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The process that a process has started.
fn child_of(pid: u32) -> Result<u32> {
    let file = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(&file).with_context(|| format!("can't read {file}"))?;
    let first = text
        .split_whitespace()
        .next()
        .and_then(|pid| pid.parse().ok());
    first.with_context(|| format!("{file} names no process"))
}
