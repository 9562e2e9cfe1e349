//! `/_ping`, `/version`, `/info`: the engine about itself.

use crate::ApiError;
use crate::app::App;
use crate::host::{self, Host};
use crate::reply::{self, Reply, SERVER_VERSION};
use crate::request::Call;
use bytes::Bytes;
use docker_api::types::{
    ComponentVersion, DiskUsage, FirewallInfo, ImageSummary, PlatformName, PluginsInfo, RegistryConfig, RuntimeInfo, SwarmInfo, SystemInfo,
    Version,
};
use docker_api::version::{API_VERSION_MAX, API_VERSION_MIN};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue, PRAGMA};
use std::collections::{BTreeMap, HashMap};

/// Answers `/_ping`; clients negotiate by its headers.
/// **Source:** moby, `api/server/router/system`, `pingHandler`.
pub(crate) fn ping() -> Reply {
    let mut reply = reply::typed(StatusCode::OK, "text/plain; charset=utf-8", Bytes::from_static(b"OK"));
    let headers = reply.headers_mut();
    headers.insert("Builder-Version", HeaderValue::from_static("2"));
    headers.insert("Swarm", HeaderValue::from_static("inactive"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    reply
}

/// Answers `GET /version`.
pub(crate) fn version(host: &Host) -> Reply {
    let arch = host::go_architecture();
    let details = [
        ("ApiVersion", API_VERSION_MAX.to_string()),
        ("Arch", arch.to_owned()),
        ("BuildTime", String::new()),
        ("Experimental", "false".to_owned()),
        ("GitCommit", String::new()),
        ("GoVersion", String::new()),
        ("KernelVersion", host.kernel_version.clone()),
        ("MinAPIVersion", API_VERSION_MIN.to_string()),
        ("Os", "linux".to_owned()),
    ];
    let details = details.map(|(name, value)| (name.to_owned(), value));
    let version = Version {
        platform: PlatformName { name: "teu".to_owned() },
        components: vec![ComponentVersion {
            name: "Engine".to_owned(),
            version: SERVER_VERSION.to_owned(),
            details: BTreeMap::from(details),
        }],
        version: SERVER_VERSION.to_owned(),
        api_version: API_VERSION_MAX.to_string(),
        min_api_version: API_VERSION_MIN.to_string(),
        os: "linux".to_owned(),
        arch: arch.to_owned(),
        kernel_version: host.kernel_version.clone(),
        ..Version::default()
    };
    reply::json(StatusCode::OK, &version)
}

/// How many containers are in which state.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub running: i64,
    pub paused: i64,
    pub stopped: i64,
    pub images: i64,
    pub listeners: i64,
}

/// Answers `GET /info`.
pub(crate) fn info(host: &Host, root: &str, counts: Counts) -> SystemInfo {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    SystemInfo {
        id: host.id.clone(),
        containers: counts.running + counts.paused + counts.stopped,
        containers_running: counts.running,
        containers_paused: counts.paused,
        containers_stopped: counts.stopped,
        images: counts.images,
        driver: "overlay2".to_owned(),
        driver_status: host::driver_status(root),
        plugins: PluginsInfo {
            volume: owned(&["local"]),
            network: owned(&["bridge", "host", "null"]),
            authorization: None,
            log: owned(&["json-file", "local"]),
        },
        memory_limit: true,
        swap_limit: true,
        cpu_cfs_period: true,
        cpu_cfs_quota: true,
        cpu_shares: true,
        cpu_set: true,
        pids_limit: true,
        oom_kill_disable: !host::cgroup_v2(),
        ipv4_forwarding: host::forwards_ipv4(),
        n_fd: host::open_descriptors(),
        n_events_listener: counts.listeners,
        system_time: crate::time::rfc3339(crate::time::unix_nanos(std::time::SystemTime::now())),
        logging_driver: "json-file".to_owned(),
        cgroup_driver: "cgroupfs".to_owned(),
        cgroup_version: if host::cgroup_v2() { "2" } else { "1" }.to_owned(),
        kernel_version: host.kernel_version.clone(),
        operating_system: host.operating_system.clone(),
        os_version: host.os_version.clone(),
        os_type: "linux".to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: registry_config(),
        n_cpu: host.cpus,
        mem_total: host.memory_bytes,
        docker_root_dir: root.to_owned(),
        name: host.name.clone(),
        server_version: SERVER_VERSION.to_owned(),
        runtimes: BTreeMap::from([("runc".to_owned(), RuntimeInfo { path: "runc".to_owned(), status: BTreeMap::new() })]),
        default_runtime: "runc".to_owned(),
        swarm: SwarmInfo { local_node_state: "inactive".to_owned(), ..SwarmInfo::default() },
        live_restore_enabled: true,
        init_binary: "docker-init".to_owned(),
        security_options: owned(&["name=seccomp,profile=builtin"]),
        firewall_backend: Some(FirewallInfo { driver: "nftables".to_owned() }),
        cdi_spec_dirs: owned(&["/etc/cdi", "/var/run/cdi"]),
        ..SystemInfo::default()
    }
}

fn registry_config() -> RegistryConfig {
    let hub = serde_json::json!({
        "Mirrors": [], "Name": "docker.io", "Official": true, "Secure": true
    });
    RegistryConfig {
        insecure_registry_cidrs: vec!["::1/128".to_owned(), "127.0.0.0/8".to_owned()],
        index_configs: BTreeMap::from([("docker.io".to_owned(), hub)]),
        mirrors: None,
    }
}

impl App {
    /// Answers `GET /system/df`.
    pub(crate) async fn disk_usage(&self, call: &Call) -> Result<Reply, ApiError> {
        let now = std::time::SystemTime::now();
        let mut containers = Vec::new();
        for container in self.engine.list() {
            let mut row = crate::convert::view::summary(&container, now);
            self.measure(&mut row).await;
            containers.push(row);
        }
        let images = self.images.list();
        let app = self.clone();
        let volumes = crate::jobs::blocking(move || app.volume_usage()).await?;
        let layers = self.layers(&images);
        let shared = |image: &image::Image| -> u64 {
            chains(image).filter_map(|chain| layers.get(&chain)).filter(|(_, users)| *users > 1).map(|(bytes, _)| bytes).sum()
        };
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let summary =
            |image: &image::Image| ImageSummary { shared_size: signed(shared(image)), ..crate::images::summary(image, call.version) };
        let usage = DiskUsage {
            layers_size: signed(layers.values().map(|(bytes, _)| bytes).sum()),
            images: Some(images.iter().map(summary).collect()),
            containers: Some(containers),
            volumes: Some(volumes),
            build_cache: Some(Vec::new()),
        };
        Ok(reply::json(StatusCode::OK, &usage))
    }

    /// Bytes of each layer by the layers up to it, and how many images have it.
    fn layers(&self, images: &[image::Image]) -> HashMap<Vec<oci::Digest>, (u64, u32)> {
        let mut layers: HashMap<_, (u64, u32)> = HashMap::new();
        for image in images {
            let history = self.images.history(&image.id).unwrap_or_default();
            // The steps without a layer take nothing; the newest step comes first.
            let mut sizes: Vec<u64> = history.iter().rev().map(|step| step.size).filter(|size| *size > 0).collect();
            if sizes.len() != image.layers.len() {
                // Without a whole history the topmost layer stands for all.
                sizes = vec![0; image.layers.len().saturating_sub(1)];
                sizes.push(image.size);
            }
            for (chain, size) in chains(image).zip(sizes) {
                let layer = layers.entry(chain).or_default();
                *layer = (size, layer.1 + 1);
            }
        }
        layers
    }
}

/// The layers of an image up to each of them.
fn chains(image: &image::Image) -> impl Iterator<Item = Vec<oci::Digest>> {
    (1..=image.layers.len()).map(|count| image.layers[..count].to_vec())
}
