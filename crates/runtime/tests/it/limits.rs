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
fn devices_are_denied() {
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
    let ended = unified(&bundle, "$RUNTIME run $ID");
    assert_eq!(ended.output, "null\ncat: can't open '/tmp/fuse': Operation not permitted\ncgroup2\n0::/\n1\n");
}

#[test]
fn memory_is_limited_and_the_killing_is_seen() {
    let mut bundle =
        Bundle::new("cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes 2>/dev/null || cat memory.max; tail /dev/zero; echo $?");
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

/// Runs commands where only cgroup v2 is mounted; `$RUNTIME` is the runtime and `$ID` the container.
fn unified(bundle: &Bundle, script: &str) -> crate::bundle::Ended {
    // Writes the bundle's configuration.
    let plain = bundle.command(&[]);
    let words = std::iter::once(plain.get_program()).chain(plain.get_args()).map(|word| word.to_str().unwrap());
    let mut command = std::process::Command::new("/bin/busybox");
    command.args(["unshare", "-m", "sh", "-c"]);
    command.arg(format!(
        "mount --make-rprivate /; grep -q ' /sys/fs/cgroup cgroup2 ' /proc/mounts || mount -t cgroup2 none /sys/fs/cgroup || exit 1; {script}"
    ));
    command.env("RUNTIME", words.collect::<Vec<_>>().join(" ")).env("ID", bundle.id());
    command.current_dir(bundle.folder.path());
    ended(&mut command)
}

#[test]
fn an_update_replaces_the_devices_on_both_versions() {
    let script = "try() { $RUNTIME exec $ID sh -c 'true </tmp/fuse && echo opened' 2>&1; }; \
        $RUNTIME run -d $ID && $RUNTIME exec $ID mknod /tmp/fuse c 10 229; try; \
        $RUNTIME update -r one.json $ID; try; echo {} >empty.json; $RUNTIME update -r empty.json $ID; try; $RUNTIME update -r none.json $ID; try; \
        $RUNTIME update -r all.json $ID; try; $RUNTIME delete -f $ID";
    let rule = |allow, numbers: Option<(i64, i64)>| DeviceRule {
        allow,
        kind: numbers.map(|_| "c".into()),
        major: numbers.map(|(major, _)| major),
        minor: numbers.map(|(_, minor)| minor),
        access: Some("rwm".into()),
    };
    for on_v2 in [false, true] {
        let bundle = with_nodes("sleep 100000");
        for (name, rules) in [
            ("one", vec![rule(false, None), rule(true, Some((10, 229)))]),
            ("none", vec![rule(false, None)]),
            ("all", vec![rule(true, None)]),
        ] {
            let resources = Resources { devices: rules, ..Resources::default() };
            std::fs::write(bundle.folder.path().join(format!("{name}.json")), serde_json::to_vec(&resources).unwrap()).unwrap();
        }
        let plain = format!("export PATH=/bin:/usr/bin; {script}");
        let text = if on_v2 {
            unified(&bundle, &plain).output
        } else {
            let runtime = bundle.command(&[]);
            let words = std::iter::once(runtime.get_program()).chain(runtime.get_args()).map(|word| word.to_str().unwrap());
            let mut command = std::process::Command::new("/bin/busybox");
            command.args(["sh", "-c", &plain]).env("RUNTIME", words.collect::<Vec<_>>().join(" ")).env("ID", bundle.id());
            ended(command.current_dir(bundle.folder.path())).output
        };
        let refused = "sh: can't open /tmp/fuse: Operation not permitted\n";
        assert_eq!(text, format!("{refused}opened\nopened\n{refused}opened\n"), "v2: {on_v2}");
    }
}

#[test]
fn events_tell_a_kill_for_want_of_memory_at_once() {
    use std::io::BufRead as _;
    let mut bundle = Bundle::new("read line </go; tail /dev/zero; sleep 100000");
    let fifo = bundle.root().join("go");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
    bundle.linux().resources = Some(Resources {
        memory: Some(Memory { limit: Some(16 << 20), swap: Some(16 << 20), ..Memory::default() }),
        ..Resources::default()
    });
    assert_eq!(bundle.oci(&["run", "-d", &bundle.id()]).code, 0);
    let mut events = bundle.command(&["events", "--interval", "1s", &bundle.id()]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(events.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The first statistics show that it listens.
    assert!(lines.next().unwrap().contains("\"stats\""));
    std::fs::write(&fifo, "go\n").unwrap();
    let told = lines.find(|line| !line.contains("\"stats\"")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&told).unwrap()["type"], "oom");
    bundle.delete();
    assert!(events.wait().unwrap().success());
}
