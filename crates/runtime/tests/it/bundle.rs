//! A bundle with busybox and the specification most tests begin with.
#![allow(clippy::disallowed_methods, reason = "busybox lists its own applets")]

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use oci::runtime::{Capabilities, Linux, Mount, Namespace, NamespaceType, Process, Root, Spec};
use runtime::{CreateError, CreateRequest, Gate, Stdio};
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// What a container printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) output: String,
    pub(crate) code: i32,
}

/// A folder with a root file system.
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
        let list = std::process::Command::new("/bin/busybox")
            .arg("--list")
            .output()
            .unwrap();
        for name in String::from_utf8(list.stdout)
            .unwrap()
            .lines()
            .filter(|name| *name != "busybox")
        {
            let _there_already = std::os::unix::fs::symlink("busybox", root.join("bin").join(name));
        }
        std::fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n",
        )
        .unwrap();
        Self {
            folder,
            spec: spec(script),
        }
    }

    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("rootfs")
    }

    pub(crate) fn linux(&mut self) -> &mut Linux {
        self.spec.linux.as_mut().unwrap()
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.spec.process.as_mut().unwrap()
    }

    pub(crate) fn id(&self) -> String {
        format!(
            "it-{}",
            self.folder
                .path()
                .file_name()
                .unwrap()
                .to_string_lossy()
                .trim_start_matches('.')
        )
    }

    /// Creates, starts and waits; the output of both streams is returned.
    pub(crate) fn run(&self) -> Result<Ended, CreateError> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let stdio = Stdio::Pipes {
            stdin: OwnedFd::from(null),
            stdout: write.try_clone().unwrap(),
            stderr: write,
        };
        let mut container = self.create(stdio)?;
        container.start().unwrap();
        let mut output = String::new();
        std::fs::File::from(read)
            .read_to_string(&mut output)
            .unwrap();
        let status = waitid(WaitId::PidFd(container.pidfd()), WaitIdOptions::EXITED)
            .unwrap()
            .unwrap();
        container.cgroup().remove().unwrap();
        Ok(Ended {
            output,
            code: status.exit_status().unwrap_or(-1),
        })
    }

    pub(crate) fn create(&self, stdio: Stdio) -> Result<runtime::Container, CreateError> {
        let id = self.id();
        runtime::create(CreateRequest {
            id: &id,
            spec: &self.spec,
            bundle: self.folder.path(),
            root_mount: None,
            stdio,
            seccomp: None,
            gate: Gate::Message,
            preserve_fds: 0,
        })
    }
}

fn mount(destination: &str, kind: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: Some(kind.into()),
        source: Some(kind.into()),
        options: options.iter().map(|option| (*option).into()).collect(),
        ..Mount::default()
    }
}

fn spec(script: &str) -> Spec {
    let capabilities: Vec<String> = [
        "CAP_CHOWN",
        "CAP_KILL",
        "CAP_SETUID",
        "CAP_SETGID",
        "CAP_NET_BIND_SERVICE",
    ]
    .map(String::from)
    .to_vec();
    let kinds = [
        NamespaceType::Mount,
        NamespaceType::Pid,
        NamespaceType::Network,
        NamespaceType::Ipc,
        NamespaceType::Uts,
        NamespaceType::Cgroup,
    ];
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
        root: Some(Root {
            path: Path::new("rootfs").into(),
            readonly: false,
        }),
        hostname: Some("box".into()),
        mounts: vec![
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount(
                "/dev",
                "tmpfs",
                &["nosuid", "strictatime", "mode=755", "size=65536k"],
            ),
            mount(
                "/dev/pts",
                "devpts",
                &[
                    "nosuid",
                    "noexec",
                    "newinstance",
                    "ptmxmode=0666",
                    "mode=0620",
                ],
            ),
            mount(
                "/dev/shm",
                "tmpfs",
                &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
            ),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount(
                "/sys/fs/cgroup",
                "cgroup",
                &["nosuid", "noexec", "nodev", "relatime", "ro"],
            ),
        ],
        linux: Some(Linux {
            namespaces: kinds.map(|kind| Namespace { kind, path: None }).to_vec(),
            masked_paths: vec![
                "/proc/kcore".into(),
                "/proc/timer_list".into(),
                "/proc/scsi".into(),
                "/sys/firmware".into(),
            ],
            readonly_paths: vec!["/proc/sys".into()],
            ..Linux::default()
        }),
        ..Spec::default()
    }
}

/// Waits until the process of a pidfd has ended and returns its exit code.
pub(crate) fn wait(pidfd: &OwnedFd) -> i32 {
    waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
        .unwrap()
        .unwrap()
        .exit_status()
        .unwrap_or(-1)
}
