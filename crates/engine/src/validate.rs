//! What no container can have, in Docker's words.
//!
//! **Source:** moby, `daemon/container.go`, `daemon/daemon_unix.go`.

use std::collections::BTreeSet;

use crate::error::InvalidSpec;
use crate::profile;
use crate::spec::{IpcMode, MountKind, NetworkMode, Resources, RestartPolicy, SeccompProfile, SecurityOption, Spec, UtsMode};

/// **Source:** moby, `linuxMinMemory`.
const MEMORY_MIN: i64 = 6 << 20;

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
    warnings
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
    let cpus = std::thread::available_parallelism().map_or(1, |n| u64::try_from(n.get()).unwrap_or(1));
    let nano_max = i64::try_from(cpus.saturating_mul(1_000_000_000)).unwrap_or(i64::MAX);
    fail(r.nano_cpus < 0 || r.nano_cpus > nano_max, InvalidSpec::Cpus(cpus))?;
    let period = r.cpu_period;
    fail(period != 0 && !(1000..=1_000_000).contains(&period), InvalidSpec::CpuPeriod)?;
    fail((1..1000).contains(&r.cpu_quota), InvalidSpec::CpuQuota)?;
    for (what, value) in [("cpus", &r.cpuset_cpus), ("mems", &r.cpuset_mems)] {
        let value = || value.clone();
        fail(!is_cpu_list(&value()), InvalidSpec::CpuSet { what, value: value() })?;
    }
    let weight = r.blkio_weight;
    fail(weight != 0 && !(10..=1000).contains(&weight), InvalidSpec::BlkioWeight)
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
    if let Some(request) = host.resources.device_requests.first() {
        return Err(InvalidSpec::DeviceDriver { driver: request.driver.clone(), capabilities: request.capabilities.clone() });
    }
    check_sysctls(spec)
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
        return Err(InvalidSpec::CapAdd(name.clone()));
    }
    if let Some(name) = spec.host.cap_drop.iter().find(unknown) {
        return Err(InvalidSpec::CapDrop(name.clone()));
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
        assert!(text(|s| s.host.resources.nano_cpus = 1 << 60).starts_with("Range of CPUs"));
        assert!(text(|s| s.host.resources.cpuset_cpus = "3-1".into()).contains("cpuset cpus"));
        assert!(text(|s| s.host.cap_add = vec!["nosuch".into()]).contains("\"nosuch\""));
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
