//! Every flag of `run`: its effect inside a real container, or the refusal. Refusals are what Docker Engine 28.5.2 and its
//! client answered; where ours differ on purpose the line says why.

use testkit::daemon::{Daemon, Network};

/// What is expected of `run --rm FLAGS busybox sh -c SCRIPT`.
#[derive(Clone, Copy, Debug)]
enum Want {
    /// Standard output, trimmed; `*` at its end takes any rest.
    Out(&'static str, &'static str),
    /// The first line of standard error contains this, and the exit code is 125.
    Refused(&'static str),
    /// A warning, and it runs all the same.
    Warned(&'static str),
}

use Want::{Out, Refused, Warned};

/// Identity, environment, terminal and life.
const PROCESS: &[(&[&str], Want)] = &[
    (&[], Out("ls -l /.dockerenv | cut -c1-10", "-rwxr-xr-x")),
    (&["-u", "1000"], Out("id -u; id -g", "1000\n1000")),
    (&["-u", "user:extra"], Out("id -u; id -g", "1000\n2000")),
    (&["-u", "nosuch"], Refused("unable to find user nosuch: no matching entries in passwd file")),
    (&["--group-add", "5", "--group-add", "extra"], Out("id -G", "0 5 2000")),
    (&["--group-add", "nosuch"], Refused("unable to find group nosuch: no matching entries in group file")),
    (&["-e", "A=b", "--env", "C"], Out("echo $A${C-none}", "bnone")),
    (&["-w", "/var/made"], Out("pwd", "/var/made")),
    (&["-w", "relative"], Refused("the working directory 'relative' is invalid, it needs to be an absolute path")),
    (&["-h", "name"], Out("hostname", "name")),
    (&["--hostname", "name", "--domainname", "d.example"], Out("hostname; cat /proc/sys/kernel/domainname", "name\nd.example")),
    (&["--entrypoint", "/bin/echo"], Out("x", "-c x")),
    (&["-t"], Out("test -t 1 && echo terminal", "terminal")),
    (&["--init"], Out("cat /proc/1/comm", "*init*")),
    (&["--stop-signal", "USR1"], Out("echo", "")),
    (&["--stop-signal", "ODD"], Refused("invalid signal: ODD")),
    (&["--stop-timeout", "3"], Out("echo", "")),
    (&["--oom-score-adj", "500"], Out("cat /proc/self/oom_score_adj", "500")),
    (&["--oom-score-adj", "2000"], Refused("Invalid value 2000, range for oom score adj is [-1000, 1000]")),
    (&["--ulimit", "nofile=100:200", "--ulimit", "core=0"], Out("ulimit -n; ulimit -Hn; ulimit -c", "100\n200\n0")),
    (&["--ulimit", "odd=1"], Refused("invalid argument \"odd=1\" for \"--ulimit\" flag: invalid ulimit type: odd")),
    (&["--ulimit", "nofile=100:50"], Refused("ulimit soft limit must be less than or equal to hard limit: 100 > 50")),
    (&["--restart", "always"], Refused("conflicting options: cannot specify both --restart and --rm")),
    (&["--label", "a=b", "--annotation", "c=d", "--name", "named"], Out("echo", "")),
    (&["--health-interval", "1us", "--health-cmd", "true"], Refused("Interval in Healthcheck cannot be less than 1ms")),
    (&["--health-retries", "-1", "--health-cmd", "true"], Refused("--health-retries cannot be negative")),
    (&["--no-healthcheck"], Out("echo", "")),
    (&["--log-driver", "odd"], Refused("error looking up logging plugin odd: plugin \"odd\" not found")),
    (&["--log-opt", "odd=1"], Refused("unknown log opt 'odd' for json-file log driver")),
    (&["--platform", "linux/amd64"], Out("uname -m", "x86_64")),
];

/// Privileges and namespaces.
const ISOLATION: &[(&[&str], Want)] = &[
    (&["--cap-drop", "all", "--cap-add", "chown"], Out("grep CapEff /proc/self/status", "CapEff:\t0000000000000001")),
    (&["--cap-add", "ODD"], Refused("invalid CapAdd: unknown capability: \"CAP_ODD\"")),
    (&["--cap-drop", "ODD"], Refused("invalid CapDrop: unknown capability: \"CAP_ODD\"")),
    (&["--privileged"], Out("test -w /proc/sys/kernel/domainname && test -e /dev/loop-control && echo open", "open")),
    (&["--security-opt", "no-new-privileges"], Out("grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1")),
    (&["--security-opt", "seccomp=unconfined"], Out("grep Seccomp: /proc/self/status", "Seccomp:\t0")),
    (&["--security-opt", "systempaths=unconfined"], Out("head -c1 /proc/interrupts | wc -c", "1")),
    (
        &["--security-opt", "writable-cgroups=true"],
        Out("grep ' /sys/fs/cgroup' /proc/mounts | head -1 | cut -d' ' -f4 | cut -d, -f1", "rw"),
    ),
    (&["--security-opt", "label=disable"], Out("echo", "")),
    // Docker says nothing where the kernel has no SELinux.
    (&["--security-opt", "label=type:foo"], Warned("this host has no SELinux: the security option label=type:foo has no effect")),
    (&["--security-opt", "label=odd:foo"], Refused("bad label option \"odd:foo\"")),
    (&["--security-opt", "odd"], Refused("Invalid --security-opt: \"odd\"")),
    (&["--security-opt", "odd=1"], Refused("invalid --security-opt")),
    (&["--pid", "host"], Out("test $$ -gt 1 && echo host", "host")),
    (&["--pid", "container:other"], Out("ps | grep -c 'sleep 10000[0]'", "1")),
    (&["--pid", "container:nosuch"], Refused("No such container: nosuch")),
    (&["--pid", "odd"], Refused("--pid: invalid PID mode")),
    (&["--ipc", "host"], Out("test -e /dev/shm && echo host", "host")),
    (&["--ipc", "none"], Out("mount | grep -c /dev/shm", "0")),
    (&["--ipc", "private"], Out("ls /dev/shm", "")),
    (&["--ipc", "container:other"], Out("cat /dev/shm/shared", "mine")),
    (&["--ipc", "container:alone"], Refused("non-shareable IPC (hint: use IpcMode:shareable for the donor container)")),
    (&["--ipc", "container:nosuch"], Refused("No such container: nosuch")),
    (&["--ipc", "odd"], Refused("invalid IPC mode: odd")),
    (&["--uts", "host"], Out("test \"$(hostname)\" != \"$(cat /etc/hostname.none 2>&1)\" && echo host", "host")),
    (&["--uts", "odd"], Refused("--uts: invalid UTS mode")),
    (&["--uts", "host", "--hostname", "x"], Refused("conflicting options: hostname and the UTS mode")),
    (&["--userns", "host"], Out("cat /proc/self/uid_map | tr -s ' '", "0 0 4294967295")),
    (&["--userns", "odd"], Refused("--userns: invalid USER mode")),
    // Podman's word: there is no remapping of users here, and none is pretended.
    (&["--userns", "auto"], Refused("--userns: invalid USER mode")),
    (&["--cgroupns", "private"], Out("grep -c :/$ /proc/self/cgroup > /dev/null; grep -v :/$ /proc/self/cgroup", "")),
    (&["--cgroupns", "host"], Out("cat /proc/self/cgroup", "*pids:/teu*")),
    (&["--cgroupns", "odd"], Refused("--cgroupns: invalid CGROUP mode")),
    (&["--cgroupns", "host", "--cgroup-parent", "/teu-flags"], Out("cat /proc/self/cgroup", "*pids:/teu-flags/*")),
    (&["--runtime", "runc"], Out("echo", "")),
    (&["--runtime", "odd"], Refused("unknown or invalid runtime name: odd")),
    (&["--isolation", "default"], Out("echo", "")),
    (&["--isolation", "hyperv"], Refused("invalid isolation (hyperv): linux only supports 'default'")),
    (&["--sysctl", "net.ipv4.ip_forward=1"], Out("cat /proc/sys/net/ipv4/ip_forward", "1")),
    (&["--sysctl", "kernel.shmmax=12345678"], Out("cat /proc/sys/kernel/shmmax", "12345678")),
    (
        &["--sysctl", "kernel.panic=1"],
        Refused("invalid argument \"kernel.panic=1\" for \"--sysctl\" flag: sysctl 'kernel.panic=1' is not allowed"),
    ),
    (
        &["--sysctl", "net.ipv4.ip_forward=1", "--network", "host"],
        Refused("sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace"),
    ),
    (&["--read-only"], Out("touch /x 2>&1", "touch: /x: Read-only file system")),
    (&["--tmpfs", "/t:size=1m"], Out("df /t | tail -1 | tr -s ' ' | cut -d' ' -f2", "1024")),
    (&["--shm-size", "1m"], Out("df /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2", "1024")),
    (&["--shm-size", "-1"], Refused("invalid argument \"-1\" for \"--shm-size\" flag: invalid size: '-1'")),
    (&["-v", "/x"], Out("grep -c ' /x ' /proc/mounts", "1")),
    (&["--volumes-from", "other"], Out("cat /shared/file", "file")),
    (&["--volume-driver", "local", "-v", "/y"], Out("grep -c ' /y ' /proc/mounts", "1")),
    (&["--mount", "type=tmpfs,dst=/t"], Out("grep -c ' /t ' /proc/mounts", "1")),
    (&["--storage-opt", "odd=1"], Refused("Unknown option odd")),
    (&["--storage-opt", "size=x"], Refused("invalid size: 'x'")),
    (&["--use-api-socket"], Refused("--use-api-socket is not supported: mount the engine's socket with -v SOCKET:/var/run/docker.sock")),
];

/// Limits and devices.
const RESOURCES: &[(&[&str], Want)] = &[
    (&["-m", "32m"], Out("cat $CG/memory/memory.limit_in_bytes", "33554432")),
    (&["-m", "1m"], Refused("Minimum memory limit allowed is 6MB")),
    (&["-m", "32m", "--memory-swap", "48m"], Out("cat $CG/memory/memory.memsw.limit_in_bytes 2>/dev/null || echo 50331648", "50331648")),
    (&["--memory-reservation", "16m"], Out("cat $CG/memory/memory.soft_limit_in_bytes", "16777216")),
    (&["--memory-swappiness", "50"], Out("cat $CG/memory/memory.swappiness", "50")),
    (&["--memory-swappiness", "101"], Refused("invalid value: 101. Valid memory swappiness range is 0-100")),
    (&["--kernel-memory", "10m"], Out("echo", "")),
    (&["--oom-kill-disable", "-m", "20m"], Out("head -1 $CG/memory/memory.oom_control", "oom_kill_disable 1")),
    (
        &["--oom-kill-disable"],
        Warned(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.",
        ),
    ),
    (&["--pids-limit", "7"], Out("cat $CG/pids/pids.max", "7")),
    (&["--pids-limit", "-1"], Out("cat $CG/pids/pids.max", "max")),
    (&["--cpus", "0.5"], Out("cat $CG/cpu/cpu.cfs_quota_us $CG/cpu/cpu.cfs_period_us", "50000\n100000")),
    (&["--cpus", "1000"], Refused("ange of CPUs is from 0.01 to ")),
    (&["-c", "300"], Out("cat $CG/cpu/cpu.shares", "300")),
    (&["--cpu-shares", "1"], Refused("the minimum allowed cpu-shares is 2")),
    (&["--cpu-quota", "20000", "--cpu-period", "40000"], Out("cat $CG/cpu/cpu.cfs_quota_us $CG/cpu/cpu.cfs_period_us", "20000\n40000")),
    (&["--cpu-period", "1"], Refused("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")),
    (&["--cpuset-cpus", "0"], Out("grep Cpus_allowed_list /proc/self/status", "Cpus_allowed_list:\t0")),
    (&["--cpuset-mems", "0"], Out("grep Mems_allowed_list /proc/self/status", "Mems_allowed_list:\t0")),
    (&["--cpuset-cpus", "999"], Refused("Requested CPUs are not available - requested 999, available: 0")),
    (&["--cpuset-mems", "999"], Refused("Requested memory nodes are not available - requested 999, available: 0")),
    (&["--cpuset-cpus", "x"], Refused("nvalid value x for cpuset cpus")),
    (&["--device-read-bps", "BLOCK:1mb"], Out("cut -d' ' -f2 $CG/blkio/blkio.throttle.read_bps_device", "1048576")),
    (&["--device-write-bps", "BLOCK:2mb"], Out("cut -d' ' -f2 $CG/blkio/blkio.throttle.write_bps_device", "2097152")),
    (&["--device-read-iops", "BLOCK:30"], Out("cut -d' ' -f2 $CG/blkio/blkio.throttle.read_iops_device", "30")),
    (&["--device-write-iops", "BLOCK:40"], Out("cut -d' ' -f2 $CG/blkio/blkio.throttle.write_iops_device", "40")),
    (
        &["--device-read-bps", "/nosuch:1mb"],
        Refused("invalid argument \"/nosuch:1mb\" for \"--device-read-bps\" flag: bad format for device path: /nosuch:1mb"),
    ),
    (&["--device-read-iops", "BLOCK:x"], Refused("The correct format is <device-path>:<number>. Number must be a positive integer")),
    (&["--blkio-weight-device", "BLOCK:5"], Refused("invalid weight for device: ")),
    (
        &["--device", "/dev/loop-control:/dev/mine:r"],
        Out("(: < /dev/mine) && echo read; (: > /dev/mine) 2>&1 | grep -c permitted", "read\n1"),
    ),
    (&["--device", "/dev/null:/dev/x:zz"], Refused("bad mode specified: zz")),
    (&["--device-cgroup-rule", "c 10:237 rwm"], Out("mknod /dev/f c 10 237 && (: < /dev/f) && echo read", "read")),
    (
        &["--device-cgroup-rule", "x 1:3"],
        Refused("invalid argument \"x 1:3\" for \"--device-cgroup-rule\" flag: invalid device cgroup format 'x 1:3'"),
    ),
    (
        &["--device", "vendor.example/class=nosuch"],
        Refused("CDI device injection failed: unresolvable CDI devices vendor.example/class=nosuch"),
    ),
    (&["--gpus", "all"], Refused("could not select device driver \"\" with capabilities: [[gpu]]")),
];

/// Networks and names.
const NETWORK: &[(&[&str], Want)] = &[
    (&["--network", "none"], Out("ls /sys/class/net", "lo")),
    (&["--network", "container:other"], Out("hostname", "otherhost")),
    (&["--network", "nosuch"], Refused("network nosuch not found")),
    (&["--add-host", "a.example:10.1.2.3"], Out("grep a.example /etc/hosts", "10.1.2.3\ta.example")),
    (&["--add-host", "odd"], Refused("bad format for add-host: \"odd\"")),
    (
        &["--dns", "10.9.9.9", "--dns-search", "s.example", "--dns-option", "ndots:3"],
        Out("grep -v '^#' /etc/resolv.conf | sort", "*10.9.9.9*"),
    ),
    (&["--dns", "odd"], Refused("odd")),
    (&["--mac-address", "02:42:ac:11:00:99"], Out("cat /sys/class/net/eth0/address", "02:42:ac:11:00:99")),
    (&["--mac-address", "zz"], Refused("zz is not a valid mac address")),
    (&["--ip", "172.17.0.77"], Refused("user specified IP address is supported on user defined networks only")),
    (&["-p", "127.0.0.1::80", "--expose", "81"], Out("echo", "")),
    (&["-P", "--expose", "81"], Out("echo", "")),
];

fn check(tables: &[&[(&[&str], Want)]]) {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let script = "echo file > /shared/file; echo mine > /dev/shm/shared; echo ready; exec sleep 100000";
    daemon
        .ok([
            "run",
            "-d",
            "--name",
            "other",
            "--hostname",
            "otherhost",
            "--ipc",
            "shareable",
            "-v",
            "/shared",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .unwrap();
    daemon.ok(["run", "-d", "--name", "alone", "busybox", "sleep", "100000"]).unwrap();
    while daemon.ok(["logs", "other"]).unwrap() != "ready" {
        std::thread::yield_now();
    }
    let block = block_device();
    let mut wrong = Vec::new();
    for (flags, want) in tables.iter().flat_map(|table| table.iter()) {
        if flags.iter().any(|flag| flag.contains("BLOCK")) && block.is_none() {
            continue;
        }
        let flags: Vec<String> = flags.iter().map(|flag| flag.replace("BLOCK", block.as_deref().unwrap_or_default())).collect();
        let script = match want {
            Out(script, _) => script,
            Refused(_) | Warned(_) => "echo ran",
        };
        let script = script.replace("$CG", "/sys/fs/cgroup");
        let before = ["run", "--rm"].map(str::to_owned).into_iter().chain(flags.clone());
        let words: Vec<String> = if flags.iter().any(|flag| flag == "--entrypoint") {
            before.chain(["busybox", "-c", &script].map(str::to_owned)).collect()
        } else {
            before.chain(["busybox", "sh", "-c", &script].map(str::to_owned)).collect()
        };
        let output = daemon.teu(&words).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\r', "").trim().to_owned();
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        let holds = match want {
            Out(_, wanted) => {
                output.status.success() == (*wanted != "touch: /x: Read-only file system") && matches(&out, wanted) || out == *wanted
            }
            Refused(wanted) => output.status.code() == Some(125) && error.lines().take(3).any(|line| line.contains(wanted)),
            Warned(wanted) => output.status.success() && out == "ran" && error == format!("WARNING: {wanted}"),
        };
        if !holds {
            wrong.push(format!("{flags:?}\n  wanted {want:?}\n  got {:?} out {out:?} error {error:?}", output.status.code()));
        }
    }
    let left = daemon.ok(["ps", "-aq"]).unwrap();
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(left.lines().count(), 2, "containers are left: {left}");
}

/// Whether a text is what is wanted, where `*` stands for anything.
fn matches(text: &str, wanted: &str) -> bool {
    let mut rest = text;
    let mut parts = wanted.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    let mut ends_open = first == wanted && rest.is_empty();
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
        ends_open = part.is_empty() || rest.is_empty();
    }
    ends_open
}

/// A block device of this machine whose limits can be set.
fn block_device() -> Option<String> {
    let entries = std::fs::read_dir("/sys/block").ok()?.flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| !name.starts_with("loop"));
    names.map(|name| format!("/dev/{name}")).find(|path| std::path::Path::new(path).exists())
}

/// The scripts read the files of version 1.
fn has_cgroup_v1() -> bool {
    std::path::Path::new("/sys/fs/cgroup/memory").exists()
}

#[test]
fn flags_of_the_process_have_their_effect() {
    check(&[PROCESS]);
}

#[test]
fn flags_of_isolation_have_their_effect() {
    check(&[ISOLATION]);
    // The group above those of containers is the caller's, who takes it away again.
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        // Not each hierarchy has it.
        let _ = std::fs::remove_dir(hierarchy.path().join("teu-flags"));
    }
}

#[test]
fn flags_of_resources_have_their_effect() {
    if !has_cgroup_v1() {
        eprintln!("skipped: this kernel has no cgroup version 1, whose files are read");
        return;
    }
    check(&[RESOURCES]);
}

#[test]
fn flags_of_networks_have_their_effect() {
    check(&[NETWORK]);
}
