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
    servers: Vec<Server>,
    children: Vec<Child>,
    _gateway: Gateway,
}

impl Servers {
    /// Starts all, with files of these sizes at the origin.
    pub(crate) fn start(workspace: &Workspace, sizes: &[usize]) -> Result<Self> {
        let [admin, origin, nginx, varnish, native, ours] = free_addresses()?;
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
        let cache = json!({ "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.http.cache.simple_http_cache.v3.SimpleHttpCacheConfig",
        } });
        let listeners = [
            Listener {
                name: "native",
                address: native,
                filters: vec![bootstrap::native(
                    "envoy.filters.http.cache",
                    "cache.v3.CacheConfig",
                    cache,
                )],
                upstream: Some(origin),
            },
            Listener {
                name: "ours",
                address: ours,
                filters: vec![bootstrap::ours(
                    workspace,
                    "cache_lookup",
                    "cache",
                    &json!({}),
                )],
                upstream: Some(origin),
            },
        ];
        let gateway = Gateway::start(
            workspace,
            Plan {
                host: Host::Envoy,
                bootstrap: &bootstrap::write(workspace, "cache", admin, &listeners)?,
                listeners: &["native", "ours"],
                admin,
                workers: 1,
                log: &workspace.target("bench/cache.log"),
            },
        )?;
        for (name, address) in [("Envoy's cache filter", native), ("cache-lookup", ours)] {
            servers.push(Server {
                name,
                address,
                pid: gateway.pid(),
            });
        }
        Ok(Self {
            servers,
            children,
            _gateway: gateway,
        })
    }

    /// The caches, in the order in which they take turns.
    pub(crate) fn all(&self) -> Vec<Server> {
        self.servers.clone()
    }
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
