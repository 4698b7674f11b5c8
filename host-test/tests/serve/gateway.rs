//! Gateways for tests: a bootstrap around the part that matters, and the log lines it gave.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use host_test::bootstrap::{self, Loaded};
use host_test::serve::{Gateway, GatewayError, Options};
use log::LevelFilter;

use crate::client::{Client, Response};

/// A gateway that serves.
pub(crate) struct Running {
    gateway: Option<Gateway>,
    logs: Arc<Mutex<Vec<String>>>,
}

/// What a bootstrap is made of; the rest is the same for all tests.
#[derive(Default)]
pub(crate) struct Setup {
    routes: String,
    clusters: String,
    filters: String,
    manager: String,
    top: String,
    natives: String,
    host: String,
}

impl Setup {
    /// A gateway with these routes, in YAML's flow style.
    pub(crate) fn routes(routes: &str) -> Self {
        Self {
            routes: routes.to_owned(),
            ..Self::default()
        }
    }

    /// A gateway that sends everything to the cluster `up`.
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::routes("{match: {prefix: /}, route: {cluster: up}}").cluster("up", &[address])
    }

    /// Adds a cluster.
    pub(crate) fn cluster(mut self, name: &str, addresses: &[SocketAddr]) -> Self {
        let endpoint = |address: &SocketAddr| {
            format!(
                "{{endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}}}",
                address.ip(),
                address.port()
            )
        };
        let endpoints: Vec<String> = addresses.iter().map(endpoint).collect();
        self.clusters += &format!(
            "{{name: {name}, load_assignment: {{cluster_name: {name}, \
             endpoints: [{{lb_endpoints: [{}]}}]}}}}, ",
            endpoints.join(", ")
        );
        self
    }

    /// Adds a cluster in YAML's flow style.
    pub(crate) fn raw_cluster(mut self, cluster: &str) -> Self {
        self.clusters += &format!("{cluster}, ");
        self
    }

    /// Adds a filter whose module is in WAT; `config` are further fields of its plugin.
    pub(crate) fn guest(self, name: &str, body: &str, config: &str) -> Self {
        let bytes = wat::parse_str(crate::frame::wat(body)).expect("the guest is valid WAT");
        let path = scratch(&format!("{name}.wasm"));
        std::fs::write(&path, bytes).expect("the guest can be written");
        self.filter(name, &path, config)
    }

    /// Adds a filter; `config` are further fields of its plugin.
    pub(crate) fn filter(mut self, name: &str, module: &Path, config: &str) -> Self {
        self.filters += &format!(
            r#"{{name: {name}, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, config: {{name: {name}, vm_config: {{vm_id: {name}, code: {{local: {{filename: "{}"}}}}}}{config}}}}}}}, "#,
            module.display()
        );
        self
    }

    /// Adds a filter of Envoy's own after the wasm filters, in YAML's flow style.
    pub(crate) fn native(mut self, filter: &str) -> Self {
        self.natives += &format!("{filter}, ");
        self
    }

    /// Adds a field of the virtual host.
    pub(crate) fn host(mut self, field: &str) -> Self {
        self.host += &format!("{field}, ");
        self
    }

    /// Adds a field of the connection manager.
    pub(crate) fn manager(mut self, field: &str) -> Self {
        self.manager += &format!("{field}, ");
        self
    }

    /// Adds a field of the bootstrap.
    pub(crate) fn top(mut self, field: &str) -> Self {
        self.top += &format!("{field}\n");
        self
    }

    /// The bootstrap.
    pub(crate) fn yaml(&self) -> String {
        let Self {
            routes,
            clusters,
            filters,
            manager,
            top,
            natives,
            host,
        } = self;
        format!(
            r#"
{top}
static_resources:
  clusters: [{clusters}]
  listeners:
  - name: main
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config: {{
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
          stat_prefix: in,
          {manager}
          route_config: {{virtual_hosts: [{{name: all, domains: ["*"], {host} routes: [{routes}]}}]}},
          http_filters: [{filters} {natives} {{name: router, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]
        }}
"#
        )
    }

    /// Starts the gateway with two workers.
    pub(crate) fn start(&self) -> Running {
        match self.try_start() {
            Ok(running) => running,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts the gateway, or not.
    pub(crate) fn try_start(&self) -> Result<Running, GatewayError> {
        let loaded = bootstrap::parse(Path::new("test.yaml"), &self.yaml(), false)
            .unwrap_or_else(|report| panic!("{report}"));
        let logs = Arc::<Mutex<Vec<String>>>::default();
        let sink = Arc::clone(&logs);
        let options = Options {
            concurrency: 2,
            log_level: LevelFilter::Info,
            inspect: None,
            log: Arc::new(move |line| {
                let mut logs = sink.lock().expect("no test has panicked in here");
                logs.push(line.message);
            }),
            drain_time: std::time::Duration::from_secs(5),
        };
        let gateway = Some(Gateway::start(loaded, options)?);
        Ok(Running { gateway, logs })
    }
}

impl Running {
    fn address_of(&self, name: &str) -> SocketAddr {
        let gateway = self.gateway.as_ref().expect("it runs");
        let mut addresses = gateway.addresses().iter();
        let found = addresses.find(|(known, _)| known == name);
        found.expect("there is such a listener").1
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address_of("main")
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// GETs a path on a new connection.
    pub(crate) fn get(&self, path: &str) -> Response {
        self.connect().get(path, "")
    }

    /// GETs a page of the admin listener.
    pub(crate) fn admin(&self, path: &str) -> Response {
        Client::connect(self.address_of("admin")).get(path, "")
    }

    /// Has another bootstrap served.
    pub(crate) fn reload(&self, loaded: Loaded) -> Result<(), GatewayError> {
        self.gateway.as_ref().expect("it runs").reload(loaded)
    }

    /// What plugins have logged.
    pub(crate) fn logs(&self) -> Vec<String> {
        self.logs
            .lock()
            .expect("no test has panicked in here")
            .clone()
    }

    /// Stops, so that all is written that is to be.
    pub(crate) fn stop(mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop();
        }
    }
}

/// A file of this test's own.
pub(crate) fn scratch(name: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    directory.join(format!("serve-{}-{number}-{name}", std::process::id()))
}
