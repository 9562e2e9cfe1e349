//! A bundle with busybox and the specification most tests begin with, run by the runtime's own program.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which may panic")]
#![allow(clippy::disallowed_methods, reason = "busybox lists its own applets, and the runtime forks only where it is alone in its process")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oci::runtime::{Capabilities, Linux, Mount, Namespace, NamespaceType, Process, Root, Spec};

/// What a command printed on both streams and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) output: String,
    pub(crate) code: i32,
}

/// A folder with a root file system; the container goes with it.
pub(crate) struct Bundle {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) spec: Spec,
}

impl Bundle {
    /// A bundle that runs `sh -c script`.
    pub(crate) fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("rootfs");
        for sub in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
            std::fs::create_dir_all(root.join(sub)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        let list = Command::new("/bin/busybox").arg("--list").output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        for name in list.lines().filter(|name| *name != "busybox") {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        let users = "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n";
        std::fs::write(root.join("etc/passwd"), users).unwrap();
        Self { folder, spec: spec(script) }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("rootfs")
    }

    pub(crate) fn linux(&mut self) -> &mut Linux {
        self.spec.linux.as_mut().unwrap()
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.spec.process.as_mut().unwrap()
    }

    /// A name of its own for each bundle.
    pub(crate) fn id(&self) -> String {
        let name = self.folder.path().file_name().unwrap().to_string_lossy();
        format!("it-{}", name.trim_start_matches('.'))
    }

    /// The runtime with some arguments; `config.json` is as the specification is now.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let config = serde_json::to_vec(&self.spec).unwrap();
        std::fs::write(self.folder.path().join("config.json"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_teu-oci"));
        command.arg("--root").arg(self.folder.path().join("state"));
        command.args(arguments);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs it; both streams go to a file, which a container that stays may keep open.
    pub(crate) fn oci(&self, arguments: &[&str]) -> Ended {
        ended(&mut self.command(arguments))
    }

    /// Runs the container to its end.
    pub(crate) fn run(&self) -> Ended {
        self.oci(&["run", &self.id()])
    }

    /// Removes the container; its cgroups must be gone then.
    pub(crate) fn delete(&self) {
        let ended = self.oci(&["delete", "--force", &self.id()]);
        assert_eq!(ended.code, 0, "{}", ended.output);
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let folder = hierarchy.path().join("teu").join(self.id());
            assert!(!folder.exists(), "{}", folder.display());
        }
    }

    /// The container's status by `state`.
    pub(crate) fn status(&self) -> String {
        let ended = self.oci(&["state", &self.id()]);
        let state: serde_json::Value = serde_json::from_str(&ended.output).unwrap();
        state["status"].as_str().unwrap().to_owned()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind either.
        let _gone = self.oci(&["delete", "--force", &self.id()]);
    }
}

/// Runs a command to its end with both streams in one file.
pub(crate) fn ended(command: &mut Command) -> Ended {
    let mut file = tempfile::tempfile().unwrap();
    command.stdout(file.try_clone().unwrap());
    command.stderr(file.try_clone().unwrap());
    let status = command.status().unwrap();
    let mut output = String::new();
    std::io::Seek::rewind(&mut file).unwrap();
    std::io::Read::read_to_string(&mut file, &mut output).unwrap();
    Ended { output, code: status.code().unwrap_or(-1) }
}

/// A mount.
pub(crate) fn mount(destination: &str, kind: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: Some(kind.into()),
        source: Some(kind.into()),
        options: options.iter().map(|option| (*option).into()).collect(),
        ..Mount::default()
    }
}

#[allow(clippy::too_many_lines, reason = "one document, read from top to bottom")]
fn spec(script: &str) -> Spec {
    let capabilities: Vec<String> =
        ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_NET_BIND_SERVICE"].map(String::from).to_vec();
    let kinds =
        [NamespaceType::Mount, NamespaceType::Pid, NamespaceType::Network, NamespaceType::Ipc, NamespaceType::Uts, NamespaceType::Cgroup];
    Spec {
        oci_version: oci::runtime::VERSION.into(),
        process: Some(Process {
            args: vec!["sh".into(), "-c".into(), script.into()],
            env: vec!["PATH=/bin".into()],
            cwd: "/".into(),
            capabilities: Some(Capabilities {
                bounding: capabilities.clone(),
                effective: capabilities.clone(),
                permitted: capabilities,
                ..Capabilities::default()
            }),
            no_new_privileges: true,
            ..Process::default()
        }),
        root: Some(Root { path: Path::new("rootfs").into(), readonly: false }),
        hostname: Some("box".into()),
        mounts: vec![
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        linux: Some(Linux {
            namespaces: kinds.map(|kind| Namespace { kind, path: None }).to_vec(),
            masked_paths: vec!["/proc/kcore".into(), "/proc/timer_list".into(), "/proc/scsi".into(), "/sys/firmware".into()],
            readonly_paths: vec!["/proc/sys".into()],
            ..Linux::default()
        }),
        ..Spec::default()
    }
}
