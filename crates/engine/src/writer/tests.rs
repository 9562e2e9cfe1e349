//! Golden parts of specifications.

use super::*;
use crate::spec::{Resources, Ulimit};

fn id() -> ContainerId {
    "ab".repeat(32).parse().unwrap()
}

fn facts() -> Facts {
    Facts {
        command: vec!["/bin/true".into()],
        home: "/root".into(),
        cgroup_parent: "/teu".into(),
        hostname: "box".into(),
        files: vec![("hosts", "/run/x/hosts".into())],
        ..Facts::default()
    }
}

#[test]
fn a_plain_container_is_confined() {
    let spec = write(&id(), &Spec::default(), &facts());
    let process = spec.process.unwrap();
    assert_eq!(process.env, ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=box", "HOME=/root"]);
    assert_eq!(process.cwd, Path::new("/"));
    let sets = process.capabilities.unwrap();
    assert_eq!(sets.bounding, profile::CAPABILITIES);
    assert!(sets.inheritable.is_empty() && sets.ambient.is_empty());
    let linux = spec.linux.unwrap();
    let kinds: Vec<_> = linux.namespaces.iter().map(|n| n.kind).collect();
    use NamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    assert_eq!(kinds, [Mount, Network, Uts, Pid, Ipc, Cgroup]);
    assert_eq!(linux.resources.unwrap().pids.unwrap().limit, 2048);
    assert!(!linux.masked_paths.is_empty() && !linux.readonly_paths.is_empty());
    assert_eq!(linux.cgroups_path.unwrap(), Path::new("/teu").join("ab".repeat(32)));
    assert_eq!(spec.hostname.as_deref(), Some("box"));
    let places: Vec<_> = spec.mounts.iter().map(|m| m.destination.clone()).collect();
    assert_eq!(places.first(), Some(&"/proc".into()));
    assert_eq!(places.last(), Some(&"/etc/hosts".into()));
}

#[test]
fn a_privileged_container_is_not() {
    let mut asked = Spec::default();
    asked.host.privileged = true;
    let spec = write(&id(), &asked, &facts());
    let linux = spec.linux.unwrap();
    assert!(linux.masked_paths.is_empty() && linux.readonly_paths.is_empty());
    assert!(seccomp(&asked).is_none());
    let rules = linux.resources.unwrap().devices;
    assert!(rules[0].allow && rules[0].kind.as_deref() == Some("a"));
    let sys = spec.mounts.iter().find(|m| m.destination == Path::new("/sys")).unwrap();
    assert!(!sys.options.contains(&"ro".to_owned()));
}

#[test]
fn own_mounts_replace_and_follow_the_default_ones() {
    let mut facts = facts();
    facts.mounts = vec![
        mounts::bind(Path::new("/b"), Path::new("/a/b"), &["rbind"]),
        mounts::bind(Path::new("/a"), Path::new("/a"), &["rbind", "rshared"]),
        mounts::bind(Path::new("/h"), Path::new("/etc/hosts"), &["rbind"]),
    ];
    let spec = write(&id(), &Spec::default(), &facts);
    let tail: Vec<_> = spec.mounts.iter().rev().take(3).map(|m| m.source.clone().unwrap()).collect();
    assert_eq!(tail.iter().filter(|s| *s == Path::new("/h")).count(), 1);
    assert!(!spec.mounts.iter().any(|m| m.source.as_deref() == Some(Path::new("/run/x/hosts"))));
    let place = |p: &str| spec.mounts.iter().position(|m| m.destination == Path::new(p));
    assert!(place("/a") < place("/a/b"));
    assert_eq!(spec.linux.unwrap().rootfs_propagation.as_deref(), Some("shared"));
}

#[test]
fn limits_become_kernel_values() {
    let mut asked = Spec::default();
    asked.host.resources = Resources {
        memory: 64 << 20,
        nano_cpus: 1_500_000_000,
        pids_limit: Some(0),
        ulimits: vec![Ulimit { name: "nofile".into(), soft: 10, hard: -1 }],
        ..Resources::default()
    };
    let spec = write(&id(), &asked, &facts());
    let limits = spec.linux.unwrap().resources.unwrap();
    assert_eq!(limits.memory.unwrap().swap, Some(128 << 20));
    let cpu = limits.cpu.unwrap();
    assert_eq!((cpu.quota, cpu.period), (Some(150_000), Some(100_000)));
    assert_eq!(limits.pids.unwrap().limit, -1);
    let rlimit = spec.process.unwrap().rlimits.remove(0);
    assert_eq!((rlimit.kind.as_str(), rlimit.hard), ("RLIMIT_NOFILE", u64::MAX));
}

#[test]
fn capabilities_follow_docker() {
    let of = |add: &[&str], drop: &[&str]| {
        let mut spec = Spec::default();
        spec.host.cap_add = add.iter().map(|c| (*c).to_owned()).collect();
        spec.host.cap_drop = drop.iter().map(|c| (*c).to_owned()).collect();
        capabilities(&spec)
    };
    assert_eq!(of(&["net_admin"], &["ALL"]), ["CAP_NET_ADMIN"]);
    assert_eq!(of(&["ALL"], &["CAP_CHOWN"]).len(), 40);
    assert_eq!(of(&[], &["chown"]).len(), 13);
    assert_eq!(of(&["SYS_ADMIN"], &[]).len(), 15);
}

#[test]
fn environment_entries_replace_and_remove() {
    let mut asked = Spec::default();
    asked.config.tty = true;
    asked.config.env = vec!["PATH=/x".into(), "TERM".into(), "A=1".into(), "HOME=/h".into()];
    let spec = write(&id(), &asked, &facts());
    assert_eq!(spec.process.unwrap().env, ["PATH=/x", "HOSTNAME=box", "A=1", "HOME=/h"]);
}
