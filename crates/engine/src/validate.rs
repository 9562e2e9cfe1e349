//! What no container can have, in Docker's words.
//!
//! **Source:** moby, `daemon/container.go`, `daemon/daemon_unix.go`.

use std::collections::BTreeSet;

use crate::error::InvalidSpec;
use crate::profile;
use crate::spec::{IpcMode, MountKind, NetworkMode, Resources, RestartPolicy, SeccompProfile, SecurityOption, Spec, UtsMode};

/// **Source:** moby, `linuxMinMemory`.
pub(crate) const MEMORY_MIN: i64 = 6 << 20;

/// Checks a specification; answers what a person should know.
///
/// # Errors
/// [`InvalidSpec`].
pub(crate) fn check(spec: &Spec) -> Result<Vec<String>, InvalidSpec> {
    check_resources(&spec.host.resources)?;
    check_options(spec)?;
    check_mounts(spec)?;
    check_capabilities(spec)?;
    check_config(spec)?;
    Ok(warnings(spec))
}

fn warnings(spec: &Spec) -> Vec<String> {
    let mut warnings = Vec::new();
    let host_network = spec.host.network_mode == NetworkMode::Host;
    if host_network && (!spec.host.port_bindings.is_empty() || spec.host.publish_all_ports) {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    let resources = &spec.host.resources;
    if resources.oom_kill_disable == Some(true) && resources.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources."
                .to_owned(),
        );
    }
    let discarded =
        |what: &str, end: &str| format!("Your kernel does not support Block I/O {what} or the cgroup is not mounted. {end} discarded.");
    if resources.blkio_weight != 0 && !has_weights() {
        warnings.push(discarded("weight", "Weight"));
    }
    if !resources.blkio_weight_device.is_empty() && !has_weights() {
        warnings.push(discarded("weight_device", "Weight-device"));
    }
    for label in labels(spec).filter(|label| *label != "disable") {
        warnings.push(format!("this host has no SELinux: the security option label={label} has no effect"));
    }
    warnings
}

/// Whether the kernel shares block devices by weight, in either version of control groups.
pub(crate) fn has_weights() -> bool {
    let roots = ["/sys/fs/cgroup/blkio/blkio.weight", "/sys/fs/cgroup/blkio/blkio.bfq.weight"];
    let unified = || {
        // The root has no weight: its children do.
        let children = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
            && children.map(|child| child.path()).any(|child| child.join("io.weight").exists() || child.join("io.bfq.weight").exists())
    };
    roots.iter().any(|path| std::path::Path::new(path).exists()) || unified()
}

/// Checks limits, of a new container or of an update.
///
/// # Errors
/// [`InvalidSpec`].
pub(crate) fn check_resources(resources: &Resources) -> Result<(), InvalidSpec> {
    let r = resources;
    let fail = |wrong: bool, error: InvalidSpec| if wrong { Err(error) } else { Ok(()) };
    fail(r.memory != 0 && r.memory < MEMORY_MIN, InvalidSpec::MemoryTooSmall)?;
    let swap = r.memory_swap > 0;
    fail(r.memory > 0 && swap && r.memory_swap < r.memory, InvalidSpec::SwapTooSmall)?;
    fail(r.memory == 0 && swap, InvalidSpec::SwapWithoutMemory)?;
    let reserved = r.memory_reservation;
    fail(reserved > 0 && reserved < MEMORY_MIN, InvalidSpec::ReservationTooSmall)?;
    fail(r.memory > 0 && reserved > r.memory, InvalidSpec::ReservationTooLarge)?;
    if let Some(swappiness) = r.memory_swappiness {
        fail(!(-1..=100).contains(&swappiness), InvalidSpec::Swappiness(swappiness))?;
    }
    let nano = r.nano_cpus != 0;
    fail(nano && r.cpu_period != 0, InvalidSpec::CpuConflict("Period"))?;
    fail(nano && r.cpu_quota != 0, InvalidSpec::CpuConflict("Quota"))?;
    if nano {
        let cpus = std::thread::available_parallelism().map_or(1, |n| u64::try_from(n.get()).unwrap_or(1));
        let nano_max = i64::try_from(cpus.saturating_mul(1_000_000_000)).unwrap_or(i64::MAX);
        fail(r.nano_cpus < 0 || r.nano_cpus > nano_max, InvalidSpec::Cpus(cpus))?;
    }
    let period = r.cpu_period;
    fail(period != 0 && !(1000..=1_000_000).contains(&period), InvalidSpec::CpuPeriod)?;
    fail((1..1000).contains(&r.cpu_quota), InvalidSpec::CpuQuota)?;
    for (what, value) in [("cpus", &r.cpuset_cpus), ("mems", &r.cpuset_mems)] {
        let value = || value.clone();
        fail(!is_cpu_list(&value()), InvalidSpec::CpuSet { what, value: value() })?;
    }
    check_available("CPUs", &r.cpuset_cpus, "/sys/devices/system/cpu/online")?;
    check_available("memory nodes", &r.cpuset_mems, "/sys/devices/system/node/online")?;
    // **Source:** runc, `libcontainer/cgroups/fs/cpu.go`, `CheckCpushares`; Linux, `MIN_SHARES`, `MAX_SHARES`.
    fail(r.cpu_shares == 1, InvalidSpec::CpuShares { which: "minimum", bound: 2 })?;
    fail(r.cpu_shares > 262_144, InvalidSpec::CpuShares { which: "maximum", bound: 262_144 })?;
    let weight = r.blkio_weight;
    fail(weight != 0 && !(10..=1000).contains(&weight), InvalidSpec::BlkioWeight)
}

/// What is asked for must be there. **Source:** moby, `pkg/sysinfo`, `IsCpusetCpusAvailable`.
fn check_available(what: &'static str, asked: &str, online: &str) -> Result<(), InvalidSpec> {
    if asked.is_empty() {
        return Ok(());
    }
    // A kernel without memory nodes has one.
    let available = std::fs::read_to_string(online).map_or_else(|_| "0".to_owned(), |text| text.trim().to_owned());
    let there = numbers(&available);
    if numbers(asked).is_subset(&there) {
        return Ok(());
    }
    Err(InvalidSpec::NotAvailable { what, asked: asked.to_owned(), available })
}

/// The numbers of a list such as `0-2,4`, which is sound.
fn numbers(list: &str) -> BTreeSet<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        first.parse::<u16>().unwrap_or(0)..=last.parse::<u16>().unwrap_or(0)
    };
    list.split(',').filter(|part| !part.is_empty()).flat_map(range).collect()
}

fn is_cpu_list(text: &str) -> bool {
    text.is_empty()
        || text.split(',').all(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (first.parse::<u16>(), last.parse::<u16>()) {
                (Ok(first), Ok(last)) => first <= last,
                _ => false,
            }
        })
}

fn check_options(spec: &Spec) -> Result<(), InvalidSpec> {
    let host = &spec.host;
    let fail = |wrong: bool, error: InvalidSpec| if wrong { Err(error) } else { Ok(()) };
    let score = host.oom_score_adj;
    fail(!(-1000..=1000).contains(&score), InvalidSpec::OomScore(score))?;
    fail(host.auto_remove && host.restart_policy != RestartPolicy::No, InvalidSpec::AutoRemoveRestart)?;
    let runtime = host.runtime.as_str();
    let known = ["", "runc", "teu", "io.containerd.runc.v2"].contains(&runtime);
    fail(!known, InvalidSpec::Runtime(host.runtime.clone()))?;
    if let NetworkMode::Container(_) = host.network_mode {
        fail(!spec.config.hostname.is_empty(), InvalidSpec::Conflict("hostname and the network mode"))?;
        fail(
            !host.port_bindings.is_empty() || host.publish_all_ports,
            InvalidSpec::Conflict("port publishing and the container type network mode"),
        )?;
        fail(
            !spec.config.exposed_ports.is_empty() && host.publish_all_ports,
            InvalidSpec::Conflict("port exposing and the container type network mode"),
        )?;
        fail(!host.dns.is_empty(), InvalidSpec::Conflict("dns and the network mode"))?;
        fail(!host.extra_hosts.is_empty(), InvalidSpec::Conflict("custom host-to-IP mapping and the network mode"))?;
    }
    let host_uts = host.uts_mode == UtsMode::Host;
    fail(host_uts && !spec.config.hostname.is_empty(), InvalidSpec::Conflict("hostname and the UTS mode"))?;
    for option in &host.security_options {
        if let SecurityOption::Seccomp(SeccompProfile::Json(json)) = option {
            profile::seccomp_from_json(json, &[]).map_err(|error| InvalidSpec::Seccomp(error.to_string()))?;
        }
    }
    let known = ["", "default"].contains(&host.isolation.to_ascii_lowercase().as_str());
    fail(!known, InvalidSpec::Isolation(host.isolation.clone()))?;
    check_storage_options(spec)?;
    check_labels(spec)?;
    if let Some(request) = host.resources.device_requests.iter().find(|request| request.driver != "cdi") {
        return Err(InvalidSpec::DeviceDriver { driver: request.driver.clone(), capabilities: request.capabilities.clone() });
    }
    check_sysctls(spec)
}

/// **Source:** moby, `daemon/graphdriver/overlay2`, `parseStorageOpt`.
fn check_storage_options(spec: &Spec) -> Result<(), InvalidSpec> {
    for (name, value) in &spec.host.storage_options {
        if !name.eq_ignore_ascii_case("size") {
            return Err(InvalidSpec::StorageOption(name.clone()));
        }
        volume::parse_size(value).ok_or_else(|| InvalidSpec::StorageSize(value.clone()))?;
    }
    Ok(())
}

/// Words of `label=`. **Source:** opencontainers/selinux, `go-selinux/label`, `InitLabels`.
const LABELS: [&str; 5] = ["user", "role", "level", "type", "filetype"];

fn check_labels(spec: &Spec) -> Result<(), InvalidSpec> {
    for label in labels(spec) {
        let known = label == "disable" || label.split_once(':').is_some_and(|(word, _)| LABELS.contains(&word));
        if !known {
            return Err(InvalidSpec::SecurityLabel(format!(
                "bad label option \"{label}\", valid options 'disable' or 'user, role, level, type, filetype' followed by ':' and a value"
            )));
        }
        if label != "disable" && has_selinux() {
            return Err(InvalidSpec::SecurityLabel(format!(
                "SELinux labels of containers are not supported: leave out --security-opt label={label}"
            )));
        }
    }
    Ok(())
}

fn labels(spec: &Spec) -> impl Iterator<Item = &str> {
    spec.host
        .security_options
        .iter()
        .filter_map(|option| if let SecurityOption::Label(label) = option { Some(label.as_str()) } else { None })
}

fn has_selinux() -> bool {
    std::path::Path::new("/sys/fs/selinux/enforce").exists()
}

/// Only parameters of namespaces that the container has for itself.
fn check_sysctls(spec: &Spec) -> Result<(), InvalidSpec> {
    let host = &spec.host;
    for name in host.sysctls.keys() {
        let ipc =
            name.starts_with("kernel.msg") || name.starts_with("kernel.shm") || name.starts_with("fs.mqueue.") || name == "kernel.sem";
        let network = name.starts_with("net.");
        let uts = name == "kernel.domainname";
        let allowed = ipc && !matches!(host.ipc_mode, IpcMode::Host | IpcMode::Container(_))
            || network && !matches!(host.network_mode, NetworkMode::Host | NetworkMode::Container(_))
            || uts && host.uts_mode != UtsMode::Host;
        if !allowed && network && host.network_mode == NetworkMode::Host {
            return Err(InvalidSpec::NetworkSysctl(name.clone()));
        }
        if !allowed {
            return Err(InvalidSpec::Sysctl(name.clone()));
        }
    }
    Ok(())
}

fn check_mounts(spec: &Spec) -> Result<(), InvalidSpec> {
    let mut targets = BTreeSet::new();
    let binds = spec.host.binds.iter().map(|bind| &bind.target);
    let mounts = spec.host.mounts.iter().map(|mount| &mount.target);
    for target in binds.chain(mounts).chain(spec.host.tmpfs.keys()) {
        if !targets.insert(target) {
            return Err(InvalidSpec::DuplicateMount(target.clone()));
        }
    }
    for (target, options) in &spec.host.tmpfs {
        crate::spec::check_tmpfs(target, options)?;
    }
    for mount in &spec.host.mounts {
        if let MountKind::Bind { source, create_source: false, .. } = &mount.kind
            && fs_err::metadata(source).is_err()
        {
            return Err(InvalidSpec::BindSource(source.clone()));
        }
    }
    Ok(())
}

fn check_capabilities(spec: &Spec) -> Result<(), InvalidSpec> {
    let unknown = |name: &&String| {
        let name = full_name(name);
        name != "ALL" && !oci::capability::NAMES.contains(&name.as_str())
    };
    if let Some(name) = spec.host.cap_add.iter().find(unknown) {
        return Err(InvalidSpec::CapAdd(full_name(name)));
    }
    if let Some(name) = spec.host.cap_drop.iter().find(unknown) {
        return Err(InvalidSpec::CapDrop(full_name(name)));
    }
    Ok(())
}

/// `net_admin` becomes `CAP_NET_ADMIN`; `ALL` stays.
pub(crate) fn full_name(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    match upper.strip_prefix("CAP_").unwrap_or(&upper) {
        "ALL" => "ALL".to_owned(),
        rest => format!("CAP_{rest}"),
    }
}

/// Names of limits. **Source:** getrlimit(2); docker/go-units, `ulimit.go`.
pub(crate) const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

fn check_config(spec: &Spec) -> Result<(), InvalidSpec> {
    let config = &spec.config;
    let directory = &config.working_directory;
    if !directory.is_empty() && !directory.starts_with('/') {
        return Err(InvalidSpec::WorkingDirectory(directory.clone()));
    }
    if let Some(entry) = config.env.iter().find(|e| e.is_empty() || e.starts_with('=')) {
        return Err(InvalidSpec::Environment(entry.clone()));
    }
    let unknown = |name: &&String| !ULIMITS.contains(&name.as_str());
    let mut limits = spec.host.resources.ulimits.iter().map(|limit| &limit.name);
    if let Some(name) = limits.find(unknown) {
        return Err(InvalidSpec::Ulimit(name.clone()));
    }
    let odd = |c: char| c == '/' || c == '\n' || c == '\0' || c.is_whitespace();
    if config.hostname.len() > 64 || config.hostname.contains(odd) {
        return Err(InvalidSpec::Hostname(config.hostname.clone()));
    }
    if let Some(check) = &config.healthcheck {
        let words: Vec<&str> = check.test.iter().map(String::as_str).collect();
        let sound = match words.as_slice() {
            [] | ["NONE"] | ["CMD" | "CMD-SHELL", _, ..] => true,
            ["HTTP", url] => crate::health::parse_url(url).is_some(),
            ["TCP", port] => port.parse::<u16>().is_ok_and(|port| port != 0),
            _ => false,
        };
        if !sound {
            let text = format!("invalid health check: {words:?}");
            return Err(InvalidSpec::Healthcheck(text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(change: impl FnOnce(&mut Spec)) -> String {
        let mut spec = Spec::default();
        change(&mut spec);
        check(&spec).map_or_else(|error| error.to_string(), |_| "sound".to_owned())
    }

    #[test]
    fn limits_out_of_range_have_docker_texts() {
        assert_eq!(text(|_| {}), "sound");
        assert_eq!(text(|s| s.host.resources.memory = 1024), "Minimum memory limit allowed is 6MB");
        assert!(text(|s| s.host.resources.memory_swap = 1 << 30).contains("always set the Memory"));
        assert!(text(|s| s.host.resources.nano_cpus = 1 << 60).starts_with("range of CPUs"));
        assert!(text(|s| s.host.resources.cpuset_cpus = "3-1".into()).contains("cpuset cpus"));
        assert!(text(|s| s.host.cap_add = vec!["nosuch".into()]).contains("\"CAP_NOSUCH\""));
        assert_eq!(text(|s| s.host.cap_add = vec!["net_admin".into(), "ALL".into()]), "sound");
        assert_eq!(
            text(|s| s.config.working_directory = "a".into()),
            "the working directory 'a' is invalid, it needs to be an absolute path"
        );
        assert!(text(|s| s.host.runtime = "kata".into()).contains("kata"));
        assert!(
            text(|s| {
                s.host.sysctls.insert("kernel.panic".into(), "1".into());
            })
            .contains("kernel.panic")
        );
    }

    #[test]
    fn options_that_exclude_each_other() {
        assert!(
            text(|s| {
                s.host.auto_remove = true;
                s.host.restart_policy = RestartPolicy::Always;
            })
            .contains("AutoRemove")
        );
        let shared = |s: &mut Spec| s.host.network_mode = NetworkMode::Container("a".into());
        assert_eq!(
            text(|s| {
                shared(s);
                s.config.hostname = "x".into();
            }),
            "conflicting options: hostname and the network mode"
        );
        assert_eq!(
            text(|s| {
                s.host.binds = vec!["/a:/x".parse().unwrap(), "/b:/x".parse().unwrap()];
            }),
            "Duplicate mount point: /x"
        );
        assert_eq!(
            text(|s| {
                s.config.healthcheck = Some(crate::spec::Healthcheck { test: vec!["HTTP".into(), "ftp://x".into()], ..Default::default() });
            }),
            "invalid health check: [\"HTTP\", \"ftp://x\"]"
        );
    }
}
