//! Limits on cgroup v1 and v2.
#![allow(clippy::unwrap_used, reason = "tests may panic")]
#![allow(clippy::disallowed_methods, reason = "cgroup v2 is mounted in a mount namespace of its own")]

use oci::runtime::{DeviceRule, Memory, Resources};

use crate::bundle::{Bundle, ended};

fn denied() -> Resources {
    Resources { devices: vec![DeviceRule { access: Some("rwm".into()), ..DeviceRule::default() }], ..Resources::default() }
}

/// Tries a device that every container has and one that none has.
const DEVICES: &str = "echo x >/dev/null && echo null; mknod /tmp/fuse c 10 229 && cat /tmp/fuse 2>&1";

fn with_nodes(script: &str) -> Bundle {
    let mut bundle = Bundle::new(script);
    let sets = bundle.process().capabilities.as_mut().unwrap();
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        set.push("CAP_MKNOD".into());
    }
    bundle.linux().resources = Some(denied());
    bundle
}

#[test]
fn devices_are_denied_on_v1() {
    let bundle = with_nodes(DEVICES);
    let text = bundle.run().output;
    assert_eq!(text, "null\ncat: can't open '/tmp/fuse': Operation not permitted\n");
}

#[test]
fn cgroup_v2_is_used_where_it_is_mounted() {
    let script = format!(
        "{DEVICES}; grep cgroup /proc/self/mounts | cut -d' ' -f3; cat /proc/self/cgroup | tail -1; cat /sys/fs/cgroup/cgroup.procs | head -1"
    );
    let bundle = with_nodes(&script);
    // Writes the bundle's configuration.
    let plain = bundle.command(&["run", &bundle.id()]);
    let mut command = std::process::Command::new("/bin/busybox");
    command.args(["unshare", "-m", "sh", "-c", "mount --make-rprivate / && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"", "sh"]);
    command.arg(plain.get_program()).args(plain.get_args());
    command.current_dir(bundle.folder.path());
    let ended = ended(&mut command);
    assert_eq!(ended.output, "null\ncat: can't open '/tmp/fuse': Operation not permitted\ncgroup2\n0::/\n1\n");
}

#[test]
fn memory_is_limited_and_the_killing_is_seen() {
    let mut bundle = Bundle::new("cat /sys/fs/cgroup/memory/memory.limit_in_bytes; tail /dev/zero; echo $?");
    bundle.linux().resources = Some(Resources {
        memory: Some(Memory { limit: Some(16 << 20), swap: Some(16 << 20), ..Memory::default() }),
        ..Resources::default()
    });
    let text = bundle.run().output;
    assert!(text.starts_with("16777216\n"), "{text}");
    assert!(text.ends_with("137\n"), "{text}");
}

#[test]
fn a_limit_that_is_refused_is_named_and_nothing_stays() {
    let mut bundle = Bundle::new("true");
    bundle.linux().resources =
        Some(Resources { cpu: Some(oci::runtime::Cpu { cpus: Some("4000".into()), ..Default::default() }), ..Resources::default() });
    let ended = bundle.run();
    assert_eq!(ended.code, 1);
    assert!(ended.output.contains("cpuset.cpus"), "{}", ended.output);
    bundle.delete();
}
