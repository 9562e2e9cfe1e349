//! The OCI runtime under its real callers: Docker Engine with containerd, containerd alone, and Podman with conmon.
//!
//! They live in a root folder of their own (Debian packages `docker.io`, `docker-cli`, `podman`) below the directory that
//! `PEERS_DIR` names; without it the tests are skipped. Everything runs in a pid and mount namespace that ends with the test.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Enters the callers' root folder: `$1` it, `$2` this test's folder (seen as /mnt), `$3` the binary under test, `$4` the script.
const ENTER: &str = r#"
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --rbind /sys "$1/sys"
mount --rbind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/dev/shm"
mount -t tmpfs tmpfs "$1/run"
mount --bind "$2" "$1/mnt"
touch "$2/runc"
mount --bind "$3" "$1/mnt/runc"
cd "$1"
exec chroot . /bin/sh -c "$4"
"#;

/// What each command prints must be the same as the text behind it, with its exit code.
type Steps<'a> = &'a [(&'a str, &'a str)];

/// Runs `before`, then each command in turn, then `after`; `None` where the callers are not installed.
fn compare(before: &str, steps: Steps<'_>, after: &str) {
    let peers =
        std::env::var_os("PEERS_DIR").map(|dir| PathBuf::from(dir).join("root")).filter(|root| root.join("usr/bin/podman").exists());
    let Some(peers) = peers else {
        let _no_terminal = writeln!(std::io::stderr(), "skipped: PEERS_DIR names no directory whose `root` holds Docker and Podman");
        return;
    };
    let folder = tempfile::Builder::new().prefix("callers-").tempdir_in("/var/tmp").unwrap();
    testkit::busybox::archive(folder.path()).unwrap();
    let group = folder.path().file_name().unwrap().to_str().unwrap().to_owned();
    let mut script = format!("cd /mnt; group=/{group}\n{before}\n");
    for (command, _) in steps {
        script += &format!("printf '$ %s\\n' '{}'\n{{ {command}; }} 2>&1\necho \"=> $?\"\n", command.replace('\'', "'\\''"));
    }
    script += after;
    let text = run(&peers, folder.path(), &script);
    remove_groups(&group);
    let wanted: Vec<String> = steps.iter().map(|(command, output)| format!("{command}\n{output}\n")).collect();
    let got: Vec<&str> =
        text.strip_prefix("$ ").unwrap_or(&text).split_inclusive("\n$ ").map(|step| step.strip_suffix("$ ").unwrap_or(step)).collect();
    for (wanted, got) in wanted.iter().zip(&got) {
        assert_eq!(wanted, got);
    }
    assert_eq!(wanted.len(), got.len(), "{text}");
}

fn run(peers: &Path, folder: &Path, script: &str) -> String {
    let path = folder.join("output");
    let output = std::fs::File::create(&path).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-euc", ENTER, "sh"]);
    command.arg(peers).arg(folder).arg(crate::teu()).arg(script);
    let mut child = command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
    let pidfd = rustix::process::pidfd_open(rustix::process::Pid::from_child(&child), rustix::process::PidfdFlags::empty()).unwrap();
    let limit = Timespec { tv_sec: 180, tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)).unwrap();
    if ended == 0 {
        child.kill().unwrap();
    }
    child.wait().unwrap();
    String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned()
}

/// Callers keep the parent group of their containers.
fn remove_groups(name: &str) {
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let _none_here = std::fs::remove_dir(hierarchy.path().join(name).join("conmon"));
        let _none_here = std::fs::remove_dir(hierarchy.path().join(name));
    }
}

const DOCKER: &str = r#"
export DOCKER_HOST=unix:///mnt/docker.sock
dockerd --host $DOCKER_HOST --data-root /mnt/data --exec-root /mnt/exec --pidfile /mnt/pid --bridge none --iptables=false \
    --ip6tables=false --cgroup-parent $group --add-runtime teu=/mnt/runc --default-runtime teu >/mnt/log 2>&1 &
while ! docker version >/dev/null 2>&1; do sleep 0.1; kill -0 $! || { cat /mnt/log; exit 1; }; done
docker import busybox.tar busybox >/dev/null
docker save busybox -o image.tar
runc() { docker run --rm --network none "$@"; }
sampled() { # the engine prints zeros until it has taken its first sample, and always where a hierarchy is mounted nowhere
    for name in $(grep -o 'name=.*:' /proc/self/cgroup); do grep -q "${name%:}" /proc/self/mounts || return 0; done
    for _ in 1 2 3 4 5 6; do docker stats --no-stream --format '{{.Name}} {{.PIDs}} {{.MemUsage}}' $1 | grep -q '^aa 1 .*/ 64MiB$' && return; done
    docker stats --no-stream $1; return 1
}
containerd="ctr -a /mnt/exec/containerd/containerd.sock -n alone"
"#;

#[test]
fn docker_engine_and_containerd_drive_the_runtime() {
    let steps: Steps<'_> = &[
        ("docker info --format '{{.DefaultRuntime}} {{(index .Runtimes \"teu\").Path}}'", "teu /mnt/runc\n=> 0"),
        ("runc busybox echo hi", "hi\n=> 0"),
        ("runc -t busybox tty", "/dev/pts/0\r\n=> 0"),
        ("runc busybox sh -c 'exit 7'", "=> 7"),
        ("docker run -d --name aa --network none -m 64m --cpus 0.5 --pids-limit 20 busybox sleep 1000 >/dev/null", "=> 0"),
        ("docker exec aa sh -c 'hostname >/dev/null; id -u'", "0\n=> 0"),
        ("docker exec -t aa tty", "/dev/pts/0\r\n=> 0"),
        (
            "docker exec -u 1000 -w /tmp -e A=b aa sh -c 'id; pwd; echo $A'",
            "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)\n/tmp\nb\n=> 0",
        ),
        ("docker exec aa nosuch >/dev/null 2>&1", "=> 127"),
        ("docker pause aa; docker inspect -f '{{.State.Status}}' aa; docker unpause aa", "aa\npaused\naa\n=> 0"),
        ("docker top aa -o pid,cmd | sed 's/^[0-9]* *//; s/^PID *//'", "CMD\nsleep 1000\n=> 0"),
        ("sampled aa", "=> 0"),
        (
            "docker update -m 80m --memory-swap 80m aa; docker exec aa cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || docker exec aa cat /sys/fs/cgroup/memory.max",
            "aa\n83886080\n=> 0",
        ),
        (
            "docker stop -t 0 aa; docker start aa; docker restart -t 0 aa; docker kill aa; docker wait aa; docker rm aa",
            "aa\naa\naa\naa\n137\naa\n=> 0",
        ),
        (
            "runc --privileged busybox sh -c 'mount -t tmpfs x /tmp && echo mounted; grep -c . /proc/self/mounts >/dev/null'",
            "mounted\n=> 0",
        ),
        ("runc --read-only --tmpfs /var busybox sh -c 'touch /var/x; touch /y'", "touch: /y: Read-only file system\n=> 1"),
        ("runc --init busybox sh -c 'cat /proc/1/cmdline | tr \"\\0\" \" \" | cut -c1-18'", "/sbin/docker-init \n=> 0"),
        ("runc --device /dev/fuse:/dev/f busybox stat -c '%F %t %T' /dev/f", "character special file a e5\n=> 0"),
        (
            "docker run --name hog --network none -m 16m --memory-swap 16m busybox tail /dev/zero; docker inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' hog; docker rm hog",
            "true 137\nhog\n=> 0",
        ),
        ("runc busybox nosuch >/dev/null 2>&1", "=> 127"),
        ("runc busybox /etc >/dev/null 2>&1", "=> 126"),
        ("runc --pid host --ipc host --uts host --cgroupns host busybox true", "=> 0"),
        ("runc --security-opt no-new-privileges busybox grep NoNew /proc/self/status", "NoNewPrivs:\t1\n=> 0"),
        ("runc --ulimit nofile=100 busybox sh -c 'ulimit -n'", "100\n=> 0"),
        ("runc -v /etc:/e:ro busybox touch /e/x", "touch: /e/x: Read-only file system\n=> 1"),
        ("runc --cpuset-cpus 0 busybox nproc", "1\n=> 0"),
        ("runc --sysctl net.ipv4.ip_default_ttl=33 busybox cat /proc/sys/net/ipv4/ip_default_ttl", "33\n=> 0"),
        ("$containerd images import /mnt/image.tar >/dev/null", "=> 0"),
        ("$containerd run --rm --runc-binary /mnt/runc docker.io/library/busybox:latest c1 sh -c 'echo inside; exit 3'", "inside\n=> 3"),
        ("$containerd run -d --runc-binary /mnt/runc docker.io/library/busybox:latest c2 sleep 1000", "=> 0"),
        ("$containerd tasks exec --exec-id e1 c2 sh -c 'echo inside; exit 4'", "inside\n=> 4"),
        ("$containerd tasks pause c2; $containerd tasks ls | awk '/c2/{print $3}'; $containerd tasks resume c2", "PAUSED\n=> 0"),
        ("$containerd tasks metrics c2 | grep -c memory.usage", "1\n=> 0"),
        ("$containerd tasks kill -s KILL c2; $containerd tasks delete c2 2>/dev/null; $containerd containers delete c2", "=> 0"),
    ];
    compare(DOCKER, steps, "kill $!; wait $!");
}

const PODMAN: &str = r#"
export PODMAN_IGNORE_CGROUPSV1_WARNING=1
pod() { podman --root /mnt/pm --runroot /mnt/pmrun --cgroup-manager cgroupfs --storage-driver vfs --runtime /mnt/runc "$@"; }
runc() { pod run --rm --network none --cgroup-parent $group "$@"; }
pod import busybox.tar busybox >/dev/null 2>&1
"#;

#[test]
fn podman_drives_the_runtime() {
    let steps: Steps<'_> = &[
        ("pod info --format '{{.Host.OCIRuntime.Path}}'", "/mnt/runc\n=> 0"),
        ("runc busybox echo hi", "hi\n=> 0"),
        ("echo input | runc -i busybox cat", "input\n=> 0"),
        ("runc -t busybox tty", "/dev/pts/0\r\n=> 0"),
        (
            "pod run -d --name aa --network none --cgroup-parent $group -m 64m --pids-limit 50 --cpus 0.5 busybox sleep 1000 >/dev/null",
            "=> 0",
        ),
        ("pod exec -u 1000:1000 -w /tmp -e A=b aa sh -c 'id -u; pwd; echo $A; exit 6'", "1000\n/tmp\nb\n=> 6"),
        ("pod exec -t aa tty", "/dev/pts/0\r\n=> 0"),
        ("pod pause aa; pod inspect -f '{{.State.Status}}' aa; pod unpause aa", "aa\npaused\naa\n=> 0"),
        ("pod stats --no-stream --format '{{.PIDs}}' aa", "1\n=> 0"),
        (
            "pod update -m 80m aa >/dev/null; pod exec aa cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || pod exec aa cat /sys/fs/cgroup/memory.max",
            "83886080\n=> 0",
        ),
        ("pod stop -t 0 aa; pod start aa; pod kill aa; pod wait aa; pod rm aa", "aa\naa\naa\n137\naa\n=> 0"),
        ("runc --read-only --tmpfs /var:rw,size=1m busybox sh -c 'touch /var/x && touch /y'", "touch: /y: Read-only file system\n=> 1"),
        ("runc --cap-drop all --cap-add net_raw busybox grep CapEff /proc/self/status", "CapEff:\t0000000000002000\n=> 0"),
        ("runc --privileged busybox sh -c 'mount -t tmpfs x /tmp && echo mounted'", "mounted\n=> 0"),
        ("runc --systemd always busybox sh -c 'grep -c \" /run/lock \" /proc/self/mounts'", "1\n=> 0"),
        ("echo kept >kept; runc --preserve-fds 1 busybox sh -c 'cat <&3' 3<kept", "kept\n=> 0"),
        ("runc busybox nosuch >/dev/null 2>&1", "=> 127"),
        ("runc busybox /etc >/dev/null 2>&1", "=> 126"),
        ("runc --security-opt no-new-privileges busybox grep NoNew /proc/self/status", "NoNewPrivs:\t1\n=> 0"),
        (
            "pod create --name bb --network none --cgroup-parent $group busybox true >/dev/null; pod init bb; pod start -a bb; pod rm bb",
            "bb\nbb\n=> 0",
        ),
    ];
    compare(PODMAN, steps, "");
}
