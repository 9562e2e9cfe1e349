//! The known escapes of the peers, each by what it would have reached. Those about namespaces, the runtime's own file and
//! masked paths are in `isolation`.
#![allow(clippy::disallowed_methods, reason = "the caller's own groups are set by a program")]

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode, RenameFlags};

use crate::bundle::{self, Bundle, mount};

#[test]
fn a_target_that_changes_meanwhile_stays_inside() {
    // CVE-2021-30465: a folder on the way to a mount target becomes a link while the mount is made.
    let outside = tempfile::tempdir().unwrap();
    let mut bundle = Bundle::new("true");
    let (folder, link) = (bundle.root().join("a"), bundle.root().join("b"));
    std::fs::create_dir(&folder).unwrap();
    symlink(outside.path(), &link).unwrap();
    bundle.spec.mounts.push(mount("/a/new/deep", "tmpfs", &[]));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &folder, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        });
        for _ in 0..20 {
            // Whether it can be made is a matter of luck, where is not.
            let _ended = bundle.run();
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(!std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains("/a/new"));
}

#[test]
fn a_console_that_is_a_link_is_refused() {
    // CVE-2025-52565: the terminal would be bound over what the link names.
    let mut bundle = Bundle::new("wc -c </etc/passwd");
    bundle.process().terminal = true;
    bundle.spec.mounts.retain(|mount| !mount.destination.starts_with("/dev"));
    bundle.spec.mounts.push(mount("/dev/pts", "devpts", &["newinstance", "ptmxmode=0666"]));
    symlink("/etc/passwd", bundle.root().join("dev/console")).unwrap();
    let ended = bundle.run();
    assert!(ended.code == 1 && ended.output.contains("/dev/console must not be a link"), "{}", ended.output);
    std::fs::remove_file(bundle.root().join("dev/console")).unwrap();
    std::fs::remove_dir(bundle.root().join("dev/pts")).unwrap();
    symlink("/tmp", bundle.root().join("dev/pts")).unwrap();
    let ended = bundle.run();
    assert!(ended.code == 1 && ended.output.contains("opening a terminal"), "{}", ended.output);
}

#[test]
fn nothing_but_procfs_takes_the_place_of_proc() {
    // CVE-2019-16884, CVE-2019-19921: a volume there would take the writes that are meant for the kernel.
    for (destination, kind, source) in [("/proc", "tmpfs", "tmpfs"), ("/proc/self/attr", "tmpfs", "tmpfs"), ("/proc/sys", "bind", "/tmp")] {
        let mut bundle = Bundle::new("echo ran");
        let mut over = mount(destination, kind, &[]);
        over.source = Some(source.into());
        bundle.spec.mounts.push(over);
        let ended = bundle.run();
        assert!(ended.code == 1 && ended.output.contains("inside /proc"), "{destination}: {}", ended.output);
    }
    // A link does not lead there either.
    let mut bundle = Bundle::new("echo ran");
    symlink("/proc", bundle.root().join("link")).unwrap();
    bundle.spec.mounts.push(mount("/link/sys", "tmpfs", &[]));
    assert!(bundle.run().output.contains("inside /proc"));
    // What programs like lxcfs provide may be there.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "7\n").unwrap();
    let mut bundle = Bundle::new("cat /proc/uptime");
    bundle.spec.mounts.push(oci::runtime::Mount { source: Some(file.path().into()), ..mount("/proc/uptime", "bind", &["bind", "ro"]) });
    assert_eq!(bundle.run().output, "7\n");
}

#[test]
fn only_parameters_of_the_containers_own_namespaces_can_be_set() {
    let before = std::fs::read("/proc/sys/kernel/core_pattern").unwrap();
    for (name, text) in [
        ("kernel.core_pattern", "sysctl \"kernel.core_pattern\" is not in a separate kernel namespace"),
        ("kernel/core_pattern", "is not in a separate kernel namespace"),
        ("vm.swappiness", "is not in a separate kernel namespace"),
        ("kernel.hostname", "conflicts with the OCI \"hostname\" field"),
    ] {
        let mut bundle = Bundle::new("echo ran");
        bundle.linux().sysctl.insert(name.into(), "|/bin/x".into());
        let ended = bundle.run();
        assert!(ended.code == 1 && ended.output.contains(text), "{name}: {}", ended.output);
    }
    let mut bundle = Bundle::new("echo ran");
    bundle.linux().sysctl.insert("net.ipv4.ip_default_ttl".into(), "77".into());
    bundle.linux().namespaces.retain(|namespace| namespace.kind != oci::runtime::NamespaceType::Network);
    assert!(bundle.run().output.contains("is not allowed in the host network namespace"));
    assert_eq!(std::fs::read("/proc/sys/kernel/core_pattern").unwrap(), before);
}

#[test]
fn cgroups_cannot_be_written_or_mounted() {
    // CVE-2022-0492: a program that the kernel runs on the host when a group empties.
    let script = "for file in $(find /sys/fs/cgroup -name release_agent -o -name notify_on_release -o -name cgroup.procs); do \
        echo 1 2>/dev/null >$file && echo written $file; done; \
        mount -t cgroup -o pids none /tmp 2>/dev/null && echo mounted; grep -v ':/$' /proc/self/cgroup";
    assert_eq!(Bundle::new(script).run().output, "");
}

#[test]
fn another_process_gets_no_more_than_the_first() {
    let bundle = Bundle::new("sleep 100000");
    let id = bundle.id();
    assert_eq!(bundle.oci(&["run", "-d", &id]).code, 0);
    // CVE-2024-21626: a descriptor of the host's as the working directory.
    for descriptor in 3..16 {
        let ended = bundle.oci(&["exec", "--cwd", &format!("/proc/self/fd/{descriptor}"), &id, "pwd"]);
        assert!(ended.code != 0 && ended.output.contains("chdir to cwd"), "{}", ended.output);
    }
    let ended = bundle.oci(&["exec", &id, "sh", "-c", "ls /proc/self/fd | wc -l"]);
    // 0, 1, 2 and the folder that is listed.
    assert_eq!(ended.output, "4\n");
    // CVE-2022-29162: added capabilities are not inheritable. CVE-2022-36109: the caller's groups stay behind.
    let exec =
        bundle.command(&["exec", "--cap", "CAP_SYS_CHROOT", "--user", "1000", &id, "grep", "-E", "CapInh|Groups", "/proc/self/status"]);
    let mut command = std::process::Command::new("setpriv");
    command.args(["--groups", "55,66", "--"]).arg(exec.get_program()).args(exec.get_args()).current_dir(bundle.folder.path());
    assert_eq!(bundle::ended(&mut command).output, "Groups:\t \nCapInh:\t0000000000000000\n");
    bundle.delete();
}

#[test]
fn a_descriptor_that_leaked_to_the_runtime_is_no_working_directory() {
    // CVE-2024-21626: whoever starts the runtime has a folder of the host open, and the image's configuration names it.
    let leaking = |bundle: &Bundle, args: &[&str]| {
        let inner = bundle.command(args);
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "exec 9</etc; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
        bundle::ended(command.current_dir(bundle.folder.path()))
    };
    let mut bundle = Bundle::new("pwd -P; ls");
    bundle.process().cwd = "/proc/self/fd/9".into();
    let ended = leaking(&bundle, &["run", &bundle.id()]);
    assert!(ended.code == 1 && ended.output.contains("outside of the container's root"), "{}", ended.output);
    let bundle = Bundle::new("sleep 100000");
    let id = bundle.id();
    assert_eq!(bundle.oci(&["run", "-d", &id]).code, 0);
    let ended = leaking(&bundle, &["exec", "--cwd", "/proc/self/fd/9", &id, "ls"]);
    assert!(ended.code != 0 && ended.output.contains("outside of the container's root"), "{}", ended.output);
    bundle.delete();
}

#[test]
fn a_process_that_waits_for_its_start_cannot_be_read() {
    // CVE-2016-9962: what it still holds of the host could be reached through /proc by a process of the same user.
    let bundle = Bundle::new("true");
    let pid_file = bundle.folder.path().join("pid");
    assert_eq!(bundle.oci(&["create", "--pid-file", pid_file.to_str().unwrap(), &bundle.id()]).code, 0);
    let read = |pid: &str| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--bounding-set", "-sys_ptrace", "--", "readlink", "-v", &format!("/proc/{pid}/cwd")]);
        bundle::ended(&mut command)
    };
    let ended = read(&std::fs::read_to_string(&pid_file).unwrap());
    assert!(ended.code != 0 && ended.output.contains("Permission denied"), "{}", ended.output);
    bundle.delete();
    // Another one can: it is not for want of a right.
    let mut other = std::process::Command::new("setpriv");
    other.args(["--bounding-set", "-sys_ptrace", "--", "sh", "-c", "echo ready; read line"]);
    let mut other = other.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let ended = read(&other.id().to_string());
    drop(other.stdin.take());
    other.wait().unwrap();
    assert_eq!(ended.code, 0, "{}", ended.output);
}

#[test]
fn the_groups_of_the_caller_stay_behind() {
    let bundle = Bundle::new("grep Groups /proc/self/status");
    let run = bundle.command(&["run", &bundle.id()]);
    let mut command = std::process::Command::new("setpriv");
    command.args(["--groups", "55,66", "--"]).arg(run.get_program()).args(run.get_args()).current_dir(bundle.folder.path());
    assert_eq!(bundle::ended(&mut command).output, "Groups:\t \n");
}

#[test]
fn files_of_the_image_cannot_hold_the_runtime_up() {
    // A list of users without end, and one that blocks whoever opens it.
    let bundle = Bundle::new("echo $HOME");
    let users = bundle.root().join("etc/passwd");
    std::fs::File::create(&users).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(bundle.run().output, "/\n");
    std::fs::remove_file(&users).unwrap();
    rustix::fs::mknodat(CWD, &users, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    assert_eq!(bundle.run().output, "/\n");
}
