//! Create, start, exec, pause, end.

use std::io::Read as _;
use std::os::fd::OwnedFd;

use runtime::{ExecRequest, Stdio};
use rustix::process::Signal;

use crate::bundle::{Bundle, wait};

fn pipes() -> (std::fs::File, Stdio) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let null = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    (
        read.into(),
        Stdio::Pipes {
            stdin: null,
            stdout: write.try_clone().unwrap(),
            stderr: write,
        },
    )
}

#[test]
fn a_container_prints_and_ends_with_its_code() {
    let ended = Bundle::new("echo hello from $(hostname) as $(id -u) pid $$; exit 7")
        .run()
        .unwrap();
    assert_eq!(ended.output, "hello from box as 0 pid 1\n");
    assert_eq!(ended.code, 7);
}

#[test]
fn what_cannot_be_executed_is_named_as_docker_names_it() {
    for (program, text) in [
        (
            "nosuch",
            "exec: \"nosuch\": executable file not found in $PATH",
        ),
        (
            "/nosuch",
            "exec: \"/nosuch\": stat /nosuch: no such file or directory",
        ),
        ("/tmp", "exec: \"/tmp\": is a directory: permission denied"),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
    ] {
        let mut bundle = Bundle::new("");
        bundle.process().args = vec![program.into()];
        let error = bundle.run().unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        assert!(
            !std::path::Path::new("/sys/fs/cgroup/pids/teu")
                .join(bundle.id())
                .exists()
        );
    }
}

#[test]
fn exec_enters_every_namespace_and_returns_its_code() {
    let bundle = Bundle::new("sleep 100000");
    let (_output, stdio) = pipes();
    let mut container = bundle.create(stdio).unwrap();
    container.start().unwrap();
    let mut process = bundle.spec.process.clone().unwrap();
    process.args = ["sh", "-c", "hostname; ps | grep -c sleep; exit 5"]
        .map(String::from)
        .to_vec();
    let (mut output, stdio) = pipes();
    let exec = runtime::exec(ExecRequest {
        pid: container.pid(),
        pidfd: container.pidfd(),
        spec: &bundle.spec,
        process: &process,
        cgroup: container.cgroup(),
        stdio,
        seccomp: None,
        preserve_fds: 0,
    })
    .unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().next(), Some("box"), "{text}");
    assert_eq!(wait(&exec.pidfd), 5);
    container.cgroup().signal_all(Signal::KILL).unwrap();
    let ended = rustix::process::waitid(
        rustix::process::WaitId::PidFd(container.pidfd()),
        rustix::process::WaitIdOptions::EXITED,
    )
    .unwrap()
    .unwrap();
    assert_eq!(ended.terminating_signal(), Some(9));
    container.cgroup().remove().unwrap();
}

#[test]
fn freezing_stops_and_thawing_goes_on() {
    let bundle = Bundle::new("read line; echo $line");
    let (mut output, mut stdio) = pipes();
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    if let Stdio::Pipes { stdin, .. } = &mut stdio {
        *stdin = read;
    }
    let mut container = bundle.create(stdio).unwrap();
    container.start().unwrap();
    container.cgroup().freeze().unwrap();
    assert!(container.cgroup().frozen());
    rustix::io::write(&write, b"thawed\n").unwrap();
    container.cgroup().thaw().unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "thawed\n");
    rustix::process::waitid(
        rustix::process::WaitId::PidFd(container.pidfd()),
        rustix::process::WaitIdOptions::EXITED,
    )
    .unwrap();
    container.cgroup().remove().unwrap();
}

#[test]
fn a_terminal_of_the_container_is_handed_out() {
    let mut bundle = Bundle::new("tty; stty size; echo end");
    bundle.process().console_size = Some(oci::runtime::ConsoleSize {
        height: 33,
        width: 101,
    });
    let mut container = bundle.create(Stdio::Terminal).unwrap();
    let master = container.take_terminal().unwrap();
    container.start().unwrap();
    rustix::process::waitid(
        rustix::process::WaitId::PidFd(container.pidfd()),
        rustix::process::WaitIdOptions::EXITED,
    )
    .unwrap();
    let mut text = String::new();
    // The end of a terminal is an error, EIO; what was printed comes first.
    let _end = std::fs::File::from(master).read_to_string(&mut text);
    assert_eq!(text, "/dev/pts/0\r\n33 101\r\nend\r\n");
    container.cgroup().remove().unwrap();
}
