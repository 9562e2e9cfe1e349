//! What a container must not see or do; each case fails without its defence.

use oci::runtime::{
    IdMapping, Namespace, NamespaceType, Resources, Seccomp, SeccompAction, SeccompRule,
};

use crate::bundle::Bundle;

#[test]
fn no_descriptor_of_the_host_is_inherited() {
    let _open = std::fs::File::open("/").unwrap();
    let ended = Bundle::new("ls /proc/1/fd | wc -l; ls -l /proc/1/fd | grep -c -v pipe")
        .run()
        .unwrap();
    // 0, 1, 2, nothing else.
    assert_eq!(ended.output.lines().next(), Some("3"), "{}", ended.output);
}

#[test]
fn a_working_directory_through_a_descriptor_is_refused() {
    for descriptor in 3..12 {
        let mut bundle = Bundle::new("cat /etc/hostname; pwd");
        bundle.process().cwd = format!("/proc/self/fd/{descriptor}").into();
        if let Ok(ended) = bundle.run() {
            assert!(
                !std::path::Path::new("/etc/hostname").exists()
                    || ended.code != 0
                    || ended.output.starts_with("cat:"),
                "{}",
                ended.output
            );
        }
    }
}

#[test]
fn links_of_the_image_cannot_move_proc_sys_or_dev() {
    for name in ["proc", "sys", "dev"] {
        let bundle = Bundle::new("true");
        std::fs::remove_dir(bundle.root().join(name)).unwrap();
        std::fs::create_dir(bundle.root().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", bundle.root().join(name)).unwrap();
        let result = bundle.run();
        assert!(result.is_err(), "{name}: {result:?}");
    }
}

#[test]
fn a_mount_target_that_is_a_link_stays_inside() {
    let outside = tempfile::tempdir().unwrap();
    let mut bundle = Bundle::new("true");
    std::os::unix::fs::symlink(outside.path(), bundle.root().join("mnt")).unwrap();
    bundle.spec.mounts.push(oci::runtime::Mount {
        destination: "/mnt/sub".into(),
        kind: Some("tmpfs".into()),
        source: Some("tmpfs".into()),
        ..Default::default()
    });
    // The link leads to a folder of the host that the container lacks: nothing is made through it.
    let error = bundle.run().unwrap_err();
    assert!(error.to_string().contains("/mnt/sub"), "{error}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn masked_and_read_only_paths_hold() {
    let ended = Bundle::new("wc -c </proc/timer_list; ls /sys/firmware | wc -l; echo 1 2>/dev/null >/proc/sys/kernel/sysrq || echo refused").run().unwrap();
    assert_eq!(ended.output, "0\n0\nrefused\n");
}

#[test]
fn capabilities_groups_and_privileges_are_exact() {
    let mut bundle =
        Bundle::new("grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Groups' /proc/self/status");
    bundle.process().user.additional_gids = vec![42];
    let text = bundle.run().unwrap().output;
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
    bundle.process().user = oci::runtime::User {
        uid: 1000,
        gid: 1000,
        ..Default::default()
    };
    let text = bundle.run().unwrap().output;
    assert_eq!(
        text,
        "uid=1000(user) gid=1000\nCapEff:\t0000000000000000\n/home\n"
    );
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
    let text = bundle.run().unwrap().output;
    assert!(
        text.contains("Operation not permitted\nrefused\nallowed"),
        "{text}"
    );
}

#[test]
fn a_user_namespace_maps_its_root_to_nobody_of_importance() {
    let mut bundle = Bundle::new(
        "id -u; cat /proc/self/uid_map; echo x >/proc/sys/kernel/sysrq || echo refused",
    );
    bundle.linux().namespaces.push(Namespace {
        kind: NamespaceType::User,
        path: None,
    });
    let map = vec![IdMapping {
        container_id: 0,
        host_id: 100_000,
        size: 65536,
    }];
    bundle.linux().uid_mappings = map.clone();
    bundle.linux().gid_mappings = map;
    bundle
        .spec
        .mounts
        .retain(|mount| mount.kind.as_deref() != Some("cgroup"));
    std::fs::set_permissions(
        bundle.folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let text = bundle.run().unwrap().output;
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words[..4], ["0", "0", "100000", "65536"], "{text}");
    assert!(text.ends_with("refused\n"), "{text}");
}

#[test]
fn a_task_limit_holds() {
    let mut bundle = Bundle::new(
        "cat /sys/fs/cgroup/pids/pids.max; i=0; while [ $i -lt 20 ]; do sleep 100 >/dev/null 2>&1 & i=$((i+1)); done",
    );
    bundle.linux().resources = Some(Resources {
        pids: Some(oci::runtime::Pids { limit: 8 }),
        ..Resources::default()
    });
    let text = bundle.run().unwrap().output;
    assert!(text.starts_with("8\n") && text.contains("fork"), "{text}");
}
