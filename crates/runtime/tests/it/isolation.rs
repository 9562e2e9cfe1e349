//! What a container must not see or do; each case fails without its defence.

use oci::runtime::{IdMapping, Namespace, NamespaceType, Resources, Seccomp, SeccompAction, SeccompRule};

use crate::bundle::{Bundle, mount};

#[test]
fn no_descriptor_of_the_host_is_inherited() {
    let _open = std::fs::File::open("/").unwrap();
    let mut bundle = Bundle::new("");
    // Without a shell, which has pipes of its own.
    bundle.process().args = ["ls", "/proc/self/fd"].map(Into::into).into();
    // The last is the folder that is listed.
    assert_eq!(bundle.run().output, "0\n1\n2\n3\n");
}

#[test]
fn a_working_directory_through_a_descriptor_is_refused() {
    // A descriptor of the host's that leaked would be a way out (CVE-2024-21626).
    for descriptor in 3..16 {
        let mut bundle = Bundle::new("echo reached $(pwd -P); ls -d ../../../bin/busybox");
        bundle.process().cwd = format!("/proc/self/fd/{descriptor}").into();
        let ended = bundle.run();
        assert_eq!(ended.code, 1, "{}", ended.output);
        assert!(ended.output.contains("chdir to cwd"), "{}", ended.output);
    }
}

#[test]
fn links_of_the_image_cannot_move_proc_sys_or_dev() {
    for name in ["proc", "sys", "dev"] {
        let bundle = Bundle::new("echo ran");
        std::fs::remove_dir(bundle.root().join(name)).unwrap();
        std::fs::create_dir(bundle.root().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", bundle.root().join(name)).unwrap();
        let ended = bundle.run();
        assert_eq!(ended.code, 1, "{name}: {}", ended.output);
        assert!(ended.output.contains("must be a folder, not a link"), "{}", ended.output);
    }
}

#[test]
fn a_mount_target_that_is_a_link_stays_inside() {
    let outside = tempfile::tempdir().unwrap();
    let mut bundle = Bundle::new("echo ran");
    std::os::unix::fs::symlink(outside.path(), bundle.root().join("mnt")).unwrap();
    bundle.spec.mounts.push(mount("/mnt/sub", "tmpfs", &[]));
    // The link leads to a folder of the host that the container lacks: nothing is made through it.
    let ended = bundle.run();
    assert!(ended.output.contains("/mnt/sub"), "{}", ended.output);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_false_null_device_of_the_image_masks_nothing_else() {
    // CVE-2025-31133: were the container's /dev/null taken, its target would be bound over the masked path.
    let mut bundle = Bundle::new("wc -c </proc/timer_list; ls -l /proc/timer_list | cut -c1");
    bundle.spec.mounts.retain(|mount| !mount.destination.starts_with("/dev"));
    std::os::unix::fs::symlink("/proc/sys/kernel/core_pattern", bundle.root().join("dev/null")).unwrap();
    assert_eq!(bundle.run().output, "0\nc\n");
}

#[test]
fn kernel_parameters_are_written_to_the_kernel_only() {
    let mut bundle = Bundle::new("cat /proc/sys/net/ipv4/ip_default_ttl");
    bundle.linux().sysctl.insert("net.ipv4.ip_default_ttl".into(), "77".into());
    assert_eq!(bundle.run().output, "77\n");
    bundle.linux().sysctl.insert("net/../../../etc/x".into(), "1".into());
    assert!(bundle.run().output.contains("not a name of a kernel parameter"));
}

#[test]
fn binds_are_read_only_through_and_through() {
    let shared = tempfile::tempdir().unwrap();
    std::fs::write(shared.path().join("file"), "host").unwrap();
    let mut bundle = Bundle::new(
        "cat /a/file /b; echo x >/a/file || echo refused; echo x >/b || echo refused; echo x 2>/dev/null >/c/new && echo written",
    );
    let bind = |destination: &str, source: &std::path::Path, options: &[&str]| oci::runtime::Mount {
        source: Some(source.into()),
        ..mount(destination, "bind", options)
    };
    bundle.spec.mounts.push(bind("/a", shared.path(), &["rbind", "rro"]));
    bundle.spec.mounts.push(bind("/b", &shared.path().join("file"), &["bind", "ro"]));
    bundle.spec.mounts.push(bind("/c", shared.path(), &["rbind", "rprivate"]));
    let text = bundle.run().output;
    assert!(text.starts_with("hosthost"), "{text}");
    assert_eq!(text.matches("refused").count(), 2, "{text}");
    assert!(text.ends_with("written\n"), "{text}");
    assert_eq!(std::fs::read_to_string(shared.path().join("new")).unwrap(), "x\n");
}

#[test]
fn a_read_only_root_and_limits_hold() {
    let mut bundle = Bundle::new("touch /x || echo refused; ulimit -n; ulimit -c; cat /proc/self/oom_score_adj");
    bundle.spec.root.as_mut().unwrap().readonly = true;
    let limit = |kind: &str, value| oci::runtime::Rlimit { kind: kind.into(), soft: value, hard: value };
    bundle.process().rlimits = vec![limit("RLIMIT_NOFILE", 100), limit("RLIMIT_CORE", 0)];
    bundle.process().oom_score_adj = Some(500);
    let text = bundle.run().output;
    assert!(text.ends_with("Read-only file system\nrefused\n100\n0\n500\n"), "{text}");
}

#[test]
fn programs_start_with_default_signals() {
    let mut bundle = Bundle::new("");
    // Without a shell: busybox's ignores SIGQUIT.
    bundle.process().args = ["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"].map(Into::into).into();
    assert_eq!(bundle.run().output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

#[test]
fn the_runtime_cannot_be_written_from_inside() {
    // CVE-2019-5736: the first program is the runtime itself, by name or as an interpreter, so /proc/1/exe is the host's file.
    let own = env!("CARGO_BIN_EXE_teu-oci");
    let before = std::fs::metadata(own).unwrap();
    let mut bundle = Bundle::new("");
    std::fs::write(bundle.root().join("script"), "#!/proc/self/exe events\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bundle.root().join("script"), mode).unwrap();
    std::fs::write(bundle.root().join("input"), "#!/bin/sh\necho overwritten\n").unwrap();
    bundle.process().args = vec!["/script".into()];
    let ended = bundle.run();
    assert!(ended.output.contains("container does not exist") || ended.code != 0, "{}", ended.output);
    // A view that is open for writing would be refused only while it runs; this one is refused always.
    bundle.process().args = ["sh", "-c", "exec 9</proc/1/exe; echo x 2>/dev/null >/proc/1/fd/9 || echo refused"].map(Into::into).into();
    assert!(bundle.run().output.contains("refused"));
    let after = std::fs::metadata(own).unwrap();
    assert_eq!((before.len(), before.modified().unwrap()), (after.len(), after.modified().unwrap()));
    // The process that waits for its start runs the runtime's file: through a mount that takes no writes.
    bundle.process().args = vec!["true".into()];
    let pid_file = bundle.folder.path().join("pid");
    assert_eq!(bundle.oci(&["create", "--pid-file", pid_file.to_str().unwrap(), &bundle.id()]).code, 0);
    let exe = format!("/proc/{}/exe", std::fs::read_to_string(&pid_file).unwrap());
    let mounted = rustix::fs::statvfs(exe.as_str()).unwrap().f_flag;
    assert!(mounted.contains(rustix::fs::StatVfsMountFlags::RDONLY), "{mounted:?}");
    bundle.delete();
}

#[test]
fn all_eight_namespaces_are_new_or_joined() {
    let kinds = ["mnt", "pid", "net", "ipc", "uts", "cgroup", "time"];
    let script = kinds.map(|kind| format!("readlink /proc/self/ns/{kind}")).join("; ") + "; cut -d. -f1 /proc/uptime";
    let mut bundle = Bundle::new(&script);
    bundle.linux().namespaces.push(Namespace { kind: NamespaceType::Time, path: None });
    bundle.linux().time_offsets.insert("boottime".into(), oci::runtime::TimeOffset { secs: 7_000_000, nanosecs: 0 });
    let text = bundle.run().output;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 8, "{text}");
    for (kind, line) in kinds.iter().zip(&lines) {
        let host = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(host.to_str().unwrap(), *line);
    }
    assert!(lines[7].parse::<u64>().unwrap() >= 7_000_000, "{text}");
    let here = |kind: &str| format!("/proc/{}/ns/{kind}", std::process::id());
    let mut other = Bundle::new("readlink /proc/self/ns/net; readlink /proc/self/ns/pid; echo $$");
    other.spec.hostname = None;
    other.linux().namespaces =
        [(NamespaceType::Mount, None), (NamespaceType::Network, Some(here("net"))), (NamespaceType::Pid, Some(here("pid")))]
            .map(|(kind, path)| Namespace { kind, path: path.map(Into::into) })
            .to_vec();
    let text = other.run().output;
    let host = |kind| std::fs::read_link(here(kind)).unwrap().display().to_string();
    assert!(text.starts_with(&format!("{}\n{}\n", host("net"), host("pid"))), "{text}");
}

#[test]
fn masked_and_read_only_paths_hold() {
    let ended =
        Bundle::new("wc -c </proc/timer_list; ls /sys/firmware | wc -l; echo 1 2>/dev/null >/proc/sys/kernel/sysrq || echo refused").run();
    assert_eq!(ended.output, "0\n0\nrefused\n");
}

#[test]
fn capabilities_groups_and_privileges_are_exact() {
    let mut bundle = Bundle::new("grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Groups' /proc/self/status");
    bundle.process().user.additional_gids = vec![42];
    let text = bundle.run().output;
    let words: Vec<&str> = text.split_whitespace().collect();
    let set = "00000000000004e1";
    assert_eq!(
        words,
        [
            "Groups:",
            "42",
            "CapInh:",
            "0000000000000000",
            "CapPrm:",
            set,
            "CapEff:",
            set,
            "CapBnd:",
            set,
            "CapAmb:",
            "0000000000000000",
            "NoNewPrivs:",
            "1"
        ]
    );
}

#[test]
fn an_unprivileged_user_has_no_capability_and_no_foreign_group() {
    let mut bundle = Bundle::new("id; grep CapEff /proc/self/status; echo $HOME");
    bundle.process().user = oci::runtime::User { uid: 1000, gid: 1000, ..Default::default() };
    let text = bundle.run().output;
    assert_eq!(text, "uid=1000(user) gid=1000\nCapEff:\t0000000000000000\n/home\n");
}

#[test]
fn a_filter_refuses_a_call_and_kills_none_else() {
    let mut bundle = Bundle::new("mkdir /x || echo refused; touch /y && echo allowed");
    bundle.linux().seccomp = Some(Seccomp {
        default_action: SeccompAction::Allow,
        architectures: vec!["SCMP_ARCH_X86_64".into(), "SCMP_ARCH_X86".into()],
        syscalls: vec![SeccompRule {
            names: vec!["mkdir".into(), "mkdirat".into()],
            action: SeccompAction::Errno,
            errno_ret: Some(1),
            args: Vec::new(),
        }],
        ..Seccomp::default()
    });
    let text = bundle.run().output;
    assert!(text.contains("Operation not permitted\nrefused\nallowed"), "{text}");
}

#[test]
fn a_user_namespace_maps_its_root_to_nobody_of_importance() {
    let mut bundle = Bundle::new("id -u; cat /proc/self/uid_map; echo x >/proc/sys/kernel/sysrq || echo refused");
    bundle.linux().namespaces.push(Namespace { kind: NamespaceType::User, path: None });
    let map = vec![IdMapping { container_id: 0, host_id: 100_000, size: 65536 }];
    bundle.linux().uid_mappings = map.clone();
    bundle.linux().gid_mappings = map;
    std::fs::set_permissions(bundle.folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let text = bundle.run().output;
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words[..4], ["0", "0", "100000", "65536"], "{text}");
    assert!(text.ends_with("refused\n"), "{text}");
}

#[test]
fn a_task_limit_holds() {
    let mut bundle = Bundle::new(
        "cd /sys/fs/cgroup; cat pids/pids.max 2>/dev/null || cat pids.max; i=0; while [ $i -lt 20 ]; do sleep 100 >/dev/null 2>&1 & i=$((i+1)); done",
    );
    bundle.linux().resources = Some(Resources { pids: Some(oci::runtime::Pids { limit: 8 }), ..Resources::default() });
    let text = bundle.run().output;
    assert!(text.starts_with("8\n") && text.contains("fork"), "{text}");
}
