//! What the API tells about the host.

use std::fs;

/// The host's facts that do not change while it runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// Tells this host from others.
    pub id: String,
    pub kernel_version: String,
    pub name: String,
    pub operating_system: String,
    pub os_version: String,
    pub cpus: i64,
    pub memory_bytes: i64,
}

impl Host {
    /// Reads them; what cannot be read stays empty.
    /// **Source:** proc_sys_kernel(5), os-release(5), proc_meminfo(5).
    pub(crate) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let kernel = |name: &str| text(&format!("/proc/sys/kernel/{name}")).trim().to_owned();
        let release = text("/etc/os-release");
        let field = |name: &str| {
            let line = release.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or("").trim_matches('"').to_owned()
        };
        let memory = text("/proc/meminfo");
        let kib = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok());
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            id: text("/etc/machine-id").trim().to_owned(),
            kernel_version: kernel("osrelease"),
            name: kernel("hostname"),
            operating_system: field("PRETTY_NAME="),
            os_version: field("VERSION_ID="),
            cpus: i64::try_from(cpus).unwrap_or(1),
            memory_bytes: kib.unwrap_or(0).saturating_mul(1024),
        }
    }
}

/// The machine's name in Go's words.
pub(crate) fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Tells whether the host forwards packets.
pub(crate) fn forwards_ipv4() -> bool {
    fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "1")
}

/// Tells whether control groups have one unified hierarchy.
pub(crate) fn cgroup_v2() -> bool {
    fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok()
}

/// How many descriptors the engine holds.
pub(crate) fn open_descriptors() -> i64 {
    let count = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    i64::try_from(count).unwrap_or(0)
}

/// What is told of the place of images and containers. **Source:** moby, `daemon/graphdriver/overlay2`, `Status`; statfs(2).
pub(crate) fn driver_status(root: &str) -> Vec<[String; 2]> {
    let magic = rustix::fs::statfs(root).map_or(0, |stat| stat.f_type);
    let kind = match magic {
        0xef53 => "extfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x2fc1_2fc1 => "zfs",
        _ => "<unknown>",
    };
    let pair = |name: &str, value: &str| [name.to_owned(), value.to_owned()];
    vec![
        pair("Backing Filesystem", kind),
        pair("Supports d_type", "true"),
        pair("Using metacopy", "false"),
        pair("Native Overlay Diff", "true"),
        pair("userxattr", "false"),
    ]
}
