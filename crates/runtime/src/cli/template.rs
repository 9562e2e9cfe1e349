//! `spec`: a new `config.json` to begin with.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use oci::runtime::{Capabilities, IdMapping, Linux, Mount, Namespace, NamespaceType, Process, Resources, Rlimit, Root, Spec};

use super::CliError;
use super::arguments::Syntax;
use super::error::During as _;

pub(super) fn spec(arguments: Vec<OsString>) -> Result<(), CliError> {
    const SYNTAX: Syntax =
        Syntax { flags: &["rootless"], values: &["bundle"], repeated: &[], short: &[('b', "bundle")], stop_at_word: false };
    let parsed = SYNTAX.parse(arguments)?;
    let path = parsed.path("bundle").unwrap_or_else(|| PathBuf::from(".")).join("config.json");
    let mut spec = template();
    if parsed.has("rootless") {
        rootless(&mut spec);
    }
    let text = serde_json::to_string_pretty(&spec).map_err(|source| CliError::Json { what: "cannot print".into(), source })?;
    let what = || format!("cannot write {} (remove an existing one first)", path.display());
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).during(what)?;
    writeln!(file, "{text}").during(what)
}

/// A container that runs `sh` with few rights, as runc's begins.
#[allow(clippy::too_many_lines, reason = "one document, read from top to bottom")]
pub(crate) fn template() -> Spec {
    let strings = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
    let capabilities = strings(&["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| Mount {
        destination: destination.into(),
        kind: Some(kind.into()),
        source: Some(source.into()),
        options: strings(options),
        ..Mount::default()
    };
    let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
    use NamespaceType::{Cgroup, Ipc, Mount as MountNs, Network, Pid, Uts};
    Spec {
        oci_version: oci::runtime::VERSION.into(),
        process: Some(Process {
            terminal: true,
            args: strings(&["sh"]),
            env: strings(&["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"]),
            cwd: "/".into(),
            capabilities: Some(Capabilities {
                bounding: capabilities.clone(),
                effective: capabilities.clone(),
                permitted: capabilities,
                ..Capabilities::default()
            }),
            rlimits: vec![Rlimit { kind: "RLIMIT_NOFILE".into(), soft: 1024, hard: 1024 }],
            no_new_privileges: true,
            ..Process::default()
        }),
        root: Some(Root { path: "rootfs".into(), readonly: true }),
        hostname: Some("runc".into()),
        mounts: vec![
            mount("/proc", "proc", "proc", &[]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        linux: Some(Linux {
            resources: Some(Resources {
                devices: vec![oci::runtime::DeviceRule { access: Some("rwm".into()), ..Default::default() }],
                ..Resources::default()
            }),
            namespaces: [Pid, Network, Ipc, Uts, MountNs, Cgroup].map(|kind| Namespace { kind, path: None }).into(),
            masked_paths: paths(&[
                "/proc/acpi",
                "/proc/asound",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/sys/firmware",
                "/proc/scsi",
            ]),
            readonly_paths: paths(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}

/// What a user without rights cannot have is left out; the user becomes root inside.
fn rootless(spec: &mut Spec) {
    let map = |host_id| vec![IdMapping { container_id: 0, host_id, size: 1 }];
    if let Some(linux) = &mut spec.linux {
        linux.namespaces.retain(|namespace| namespace.kind != NamespaceType::Network);
        linux.namespaces.push(Namespace { kind: NamespaceType::User, path: None });
        linux.uid_mappings = map(rustix::process::geteuid().as_raw());
        linux.gid_mappings = map(rustix::process::getegid().as_raw());
        linux.resources = None;
    }
    for mount in &mut spec.mounts {
        mount.options.retain(|option| option != "gid=5");
        if mount.kind.as_deref() == Some("sysfs") {
            // The network namespace is the host's, so its /sys can only be passed on.
            mount.kind = Some("none".into());
            mount.source = Some("/sys".into());
            mount.options.push("rbind".into());
        }
    }
}
