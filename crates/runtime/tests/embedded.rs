//! The library as supervisors use it: an overlay for a root, pipes, a started program, one more process.
//!
//! Without the usual harness, whose threads would be in the way of the forks.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use oci::runtime::{Linux, Mount, Namespace, NamespaceType, Process, Spec};
use runtime::{Container, CreateRequest, ExecRequest, Gate, Stdio};
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let options = layers(folder.path());
    an_overlay_of_many_layers_is_the_root(folder.path(), &overlay(&options));
    a_program_that_is_missing_is_found_at_the_creation(folder.path(), &overlay(&options));
    another_process_joins(folder.path(), &overlay(&options));
}

/// Layers below `folder`: the lowest has busybox, the others one file each.
fn layers(folder: &Path) -> Vec<(&'static str, String)> {
    let base = folder.join("base/bin");
    std::fs::create_dir_all(&base).unwrap();
    for sub in ["proc", "dev", "sys"] {
        std::fs::create_dir(folder.join("base").join(sub)).unwrap();
    }
    std::fs::copy("/bin/busybox", base.join("busybox")).unwrap();
    for name in ["sh", "cat", "ls", "sleep", "grep", "hostname"] {
        std::os::unix::fs::symlink("busybox", base.join(name)).unwrap();
    }
    let mut options = Vec::new();
    for number in 0..40 {
        let layer = folder.join(format!("layer{number}"));
        std::fs::create_dir(&layer).unwrap();
        std::fs::write(layer.join(format!("file{number}")), "x").unwrap();
        options.push(("lowerdir+", layer.display().to_string()));
    }
    options.push(("lowerdir+", folder.join("base").display().to_string()));
    for sub in ["upper", "work", "bundle"] {
        std::fs::create_dir(folder.join(sub)).unwrap();
    }
    options.push(("upperdir", folder.join("upper").display().to_string()));
    options.push(("workdir", folder.join("work").display().to_string()));
    options
}

/// A detached mount of layers.
fn overlay(options: &[(&str, String)]) -> OwnedFd {
    let context = rustix::mount::fsopen("overlay", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for (key, value) in [("source", "overlay")].into_iter().chain(options.iter().map(|(key, value)| (*key, value.as_str()))) {
        rustix::mount::fsconfig_set_string(&context, key, value).unwrap();
    }
    rustix::mount::fsconfig_create(&context).unwrap();
    let flags = rustix::mount::FsMountFlags::FSMOUNT_CLOEXEC;
    rustix::mount::fsmount(&context, flags, rustix::mount::MountAttrFlags::empty()).unwrap()
}

fn spec(args: &[&str]) -> Spec {
    use NamespaceType::{Cgroup, Ipc, Mount as MountNs, Network, Pid, Uts};
    Spec {
        process: Some(Process {
            args: args.iter().map(|&argument| argument.into()).collect(),
            env: vec!["PATH=/bin".into()],
            cwd: "/made/on/demand".into(),
            ..Process::default()
        }),
        hostname: Some("inner".into()),
        mounts: vec![Mount { destination: "/proc".into(), kind: Some("proc".into()), source: Some("proc".into()), ..Mount::default() }],
        linux: Some(Linux {
            namespaces: [MountNs, Pid, Network, Ipc, Uts, Cgroup].map(|kind| Namespace { kind, path: None }).into(),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}

fn pipes() -> (std::fs::File, Stdio) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let stdio =
        Stdio::Pipes { stdin: OwnedFd::from(std::fs::File::open("/dev/null").unwrap()), stdout: write.try_clone().unwrap(), stderr: write };
    (read.into(), stdio)
}

fn request<'a>(folder: &'a Path, spec: &'a Spec, root_tree: &'a OwnedFd, stdio: Stdio) -> CreateRequest<'a> {
    CreateRequest {
        id: folder.file_name().unwrap().to_str().unwrap().trim_start_matches('.'),
        spec,
        bundle: folder,
        root_tree: Some(root_tree),
        stdio,
        seccomp: None,
        gate: Gate::Message,
        preserve_fds: 0,
        no_pivot: false,
    }
}

fn wait(pidfd: BorrowedFd<'_>) -> i32 {
    let status = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED).unwrap().unwrap();
    status.exit_status().unwrap_or_else(|| -status.terminating_signal().unwrap())
}

fn text(mut output: std::fs::File) -> String {
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    text
}

fn end(container: &Container) {
    container.cgroup().remove().unwrap();
    let folder = container.cgroup().path().strip_prefix("/").unwrap().to_owned();
    for hierarchy in container.cgroup().hierarchies() {
        assert!(!hierarchy.mount.join(&folder).exists());
    }
}

fn an_overlay_of_many_layers_is_the_root(folder: &Path, root_tree: &OwnedFd) {
    let spec =
        spec(&["sh", "-c", "grep -c '^overlay / overlay' /proc/mounts; ls / | grep -c file; hostname; echo written >/new; pwd; exit 9"]);
    let (output, stdio) = pipes();
    let mut container = runtime::create(request(folder, &spec, root_tree, stdio)).unwrap();
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
    let theirs = container.network_namespace().unwrap();
    let theirs = rustix::fs::fstat(&theirs).unwrap().st_ino;
    assert_ne!(ours.display().to_string(), format!("net:[{theirs}]"));
    container.start().unwrap();
    assert_eq!(text(output), "1\n40\ninner\n/made/on/demand\n");
    assert_eq!(wait(container.pidfd()), 9);
    let written = std::fs::read_to_string(folder.join("upper/new")).unwrap();
    assert_eq!(written, "written\n");
    end(&container);
    // Nothing is mounted on the host.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(folder.to_str().unwrap()));
}

fn a_program_that_is_missing_is_found_at_the_creation(folder: &Path, root_tree: &OwnedFd) {
    let spec = spec(&["nosuch"]);
    let (_output, stdio) = pipes();
    let error = runtime::create(request(folder, &spec, root_tree, stdio)).unwrap_err();
    let expected = "exec: \"nosuch\": executable file not found in $PATH";
    assert!(error.to_string().contains(expected), "{error}");
}

fn another_process_joins(folder: &Path, root_tree: &OwnedFd) {
    let spec = spec(&["sleep", "100000"]);
    let (_output, stdio) = pipes();
    let mut container = runtime::create(request(folder, &spec, root_tree, stdio)).unwrap();
    container.start().unwrap();
    let mut process = spec.process.clone().unwrap();
    process.args = ["sh", "-c", "hostname; cat /proc/1/cmdline"].map(Into::into).into();
    let (output, stdio) = pipes();
    let joined = runtime::exec(ExecRequest {
        id: "embedded",
        bundle: folder,
        pid: container.pid(),
        pidfd: container.pidfd(),
        spec: &spec,
        process: &process,
        cgroup: container.cgroup(),
        stdio,
        seccomp: None,
        preserve_fds: 0,
    })
    .unwrap();
    assert_eq!(text(output), "inner\nsleep\u{0}100000\u{0}");
    assert_eq!(wait(joined.pidfd.as_fd()), 0);
    container.cgroup().freeze().unwrap();
    assert!(container.cgroup().frozen());
    // Removing kills what is left, frozen or not.
    end(&container);
    assert_eq!(wait(container.pidfd()), -Signal::KILL.as_raw());
}
