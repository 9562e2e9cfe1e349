//! From create to delete, as callers of an OCI runtime do it.

use std::os::fd::AsFd as _;

use crate::bundle::{Bundle, ended};

#[test]
fn a_container_prints_and_ends_with_its_code() {
    let bundle = Bundle::new("echo hello from $(hostname) as $(id -u) pid $$; exit 7");
    let ended = bundle.run();
    assert_eq!(ended.output, "hello from box as 0 pid 1\n");
    assert_eq!(ended.code, 7);
    assert!(!bundle.folder.path().join("state").join(bundle.id()).exists());
}

#[test]
fn what_cannot_be_executed_is_named_as_docker_names_it() {
    for (program, text) in [
        ("nosuch", "exec: \"nosuch\": executable file not found in $PATH"),
        ("/nosuch", "exec: \"/nosuch\": stat /nosuch: no such file or directory"),
        ("/tmp", "exec: \"/tmp\": is a directory: permission denied"),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
    ] {
        let mut bundle = Bundle::new("");
        bundle.process().args = vec![program.into()];
        let ended = bundle.oci(&["create", &bundle.id()]);
        assert!(ended.output.contains(text), "{}", ended.output);
        assert_eq!(ended.code, 1);
        bundle.delete();
    }
}

#[test]
fn each_step_of_a_life_has_its_state() {
    let bundle = Bundle::new("read line </wait");
    let id = bundle.id();
    rustix::fs::mknodat(rustix::fs::CWD, bundle.root().join("wait"), rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    let pid_file = bundle.folder.path().join("pid");
    let created = bundle.oci(&["create", "--pid-file", pid_file.to_str().unwrap(), &id]);
    assert_eq!(created.code, 0, "{}", created.output);
    assert_eq!(bundle.status(), "created");
    assert!(bundle.oci(&["create", &id]).output.contains("already exists"));
    assert_eq!(bundle.oci(&["start", &id]).code, 0);
    assert_eq!(bundle.status(), "running");
    assert_eq!(bundle.oci(&["start", &id]).output, "cannot start an already running container\n");
    let refused = bundle.oci(&["delete", &id]);
    assert!(refused.output.contains("that is not stopped: running"), "{}", refused.output);
    assert_eq!(bundle.oci(&["pause", &id]).code, 0);
    assert_eq!(bundle.status(), "paused");
    assert_eq!(bundle.oci(&["resume", &id]).code, 0);
    assert_eq!(bundle.status(), "running");
    let listed = bundle.oci(&["list", "-q"]);
    assert_eq!(listed.output, format!("{id}\n"));
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    let pidfd = rustix::process::pidfd_open(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::PidfdFlags::empty()).unwrap();
    assert_eq!(bundle.oci(&["kill", &id, "KILL"]).code, 0);
    rustix::event::poll(&mut [rustix::event::PollFd::from_borrowed_fd(pidfd.as_fd(), rustix::event::PollFlags::IN)], None).unwrap();
    assert_eq!(bundle.status(), "stopped");
    assert_eq!(bundle.oci(&["kill", &id]).output, "container not running\n");
    bundle.delete();
    assert_eq!(bundle.oci(&["state", &id]).output, "container does not exist\n");
}

#[test]
fn exec_enters_every_namespace_and_returns_its_code() {
    let bundle = Bundle::new("sleep 100000");
    let id = bundle.id();
    assert_eq!(bundle.oci(&["run", "--detach", &id]).code, 0);
    let ended = bundle.oci(&["exec", &id, "sh", "-c", "hostname; ps | grep -c '[s]leep'; id -u; exit 5"]);
    assert_eq!((ended.output.as_str(), ended.code), ("box\n1\n0\n", 5));
    let ended = bundle.oci(&["exec", "--user", "1000:1000", "--env", "A=b c", "--cwd", "/tmp", &id, "sh", "-c", "id -u; pwd; echo $A"]);
    assert_eq!(ended.output, "1000\n/tmp\nb c\n");
    let missing = bundle.oci(&["exec", &id, "nosuch"]);
    assert!(missing.output.contains("exec: \"nosuch\": executable file not found in $PATH"), "{}", missing.output);
    let listed = bundle.oci(&["ps", "--format", "json", &id]);
    let pids: Vec<i32> = serde_json::from_str(&listed.output).unwrap();
    assert_eq!(pids.len(), 1);
    bundle.delete();
}

#[test]
fn a_terminal_reaches_the_caller_through_the_console_socket() {
    use std::io::Read as _;
    let mut bundle = Bundle::new("tty; stty size; echo end");
    let process = bundle.process();
    process.terminal = true;
    process.console_size = Some(oci::runtime::ConsoleSize { height: 33, width: 101 });
    let path = bundle.folder.path().join("console");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let made = bundle.oci(&["create", "--console-socket", path.to_str().unwrap(), &bundle.id()]);
    assert_eq!(made.code, 0, "{}", made.output);
    let (connection, _) = listener.accept().unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 64];
    rustix::net::recvmsg(&connection, &mut [std::io::IoSliceMut::new(&mut name)], &mut control, rustix::net::RecvFlags::CMSG_CLOEXEC)
        .unwrap();
    let Some(rustix::net::RecvAncillaryMessage::ScmRights(mut fds)) = control.drain().next() else {
        panic!("no descriptor came");
    };
    let mut master = std::fs::File::from(fds.next().unwrap());
    assert_eq!(bundle.oci(&["start", &bundle.id()]).code, 0);
    let mut text = String::new();
    // The end of a terminal is an error, EIO; what was printed comes first.
    let _end = master.read_to_string(&mut text);
    assert_eq!(text, "/dev/pts/0\r\n33 101\r\nend\r\n");
    bundle.delete();
}

#[test]
fn hooks_run_at_their_moments_with_the_state() {
    let mut bundle = Bundle::new("echo program >>/log");
    let log = bundle.root().join("log");
    let line = |name: &str, path: &str| oci::runtime::Hook {
        path: "/bin/sh".into(),
        args: vec!["sh".into(), "-c".into(), format!("read state; case $state in *{}*) echo {name} >>{path};; esac", "\\\"ociVersion\\\"")],
        env: vec!["PATH=/bin:/usr/bin".into()],
        timeout: Some(10),
    };
    let host = log.to_str().unwrap().to_owned();
    bundle.spec.hooks = Some(oci::runtime::Hooks {
        prestart: vec![line("prestart", &host)],
        create_runtime: vec![line("createRuntime", &host)],
        create_container: vec![line("createContainer", &host)],
        start_container: vec![line("startContainer", "/log")],
        poststart: vec![],
        poststop: vec![line("poststop", &host)],
    });
    let ended = bundle.run();
    assert_eq!(ended.code, 0, "{}", ended.output);
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines, ["prestart", "createRuntime", "createContainer", "startContainer", "program", "poststop"]);
}

#[test]
fn a_failed_hook_fails_the_creation() {
    let mut bundle = Bundle::new("true");
    bundle.spec.hooks = Some(oci::runtime::Hooks {
        create_runtime: vec![oci::runtime::Hook { path: "/bin/false".into(), args: vec!["false".into()], ..Default::default() }],
        ..Default::default()
    });
    let ended = bundle.run();
    assert_eq!(ended.code, 1);
    assert!(ended.output.contains("createRuntime hook /bin/false"), "{}", ended.output);
    bundle.delete();
}

#[test]
fn the_log_file_tells_the_failure() {
    let bundle = Bundle::new("true");
    let log = bundle.folder.path().join("log.json");
    let mut command = bundle.command(&["--log", log.to_str().unwrap(), "--log-format", "json", "start", "nosuch"]);
    assert_eq!(ended(&mut command).code, 1);
    let entry: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!((entry["level"].as_str(), entry["msg"].as_str()), (Some("error"), Some("container does not exist")));
}

#[test]
fn limits_change_while_it_runs() {
    let bundle = Bundle::new("sleep 100000");
    let id = bundle.id();
    assert_eq!(bundle.oci(&["run", "-d", &id]).code, 0);
    let ended = bundle.oci(&["update", "--memory", "64m", "--pids-limit", "33", "--cpu-quota", "50000", &id]);
    assert_eq!(ended.code, 0, "{}", ended.output);
    let stats = bundle.oci(&["events", "--stats", &id]);
    let stats: serde_json::Value = serde_json::from_str(&stats.output).unwrap();
    assert_eq!(stats["data"]["memory"]["usage"]["limit"], 64 << 20);
    assert_eq!(stats["data"]["pids"]["limit"], 33);
    bundle.delete();
}

#[test]
fn a_template_is_a_specification_that_runs() {
    let bundle = Bundle::new("true");
    let folder = bundle.folder.path().join("fresh");
    std::fs::create_dir(&folder).unwrap();
    let ended = bundle.oci(&["spec", "--bundle", folder.to_str().unwrap()]);
    assert_eq!(ended.code, 0, "{}", ended.output);
    let spec: oci::runtime::Spec = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    assert_eq!(spec.hostname.as_deref(), Some("runc"));
    let features: serde_json::Value = serde_json::from_str(&bundle.oci(&["features"]).output).unwrap();
    assert_eq!(features["linux"]["namespaces"].as_array().unwrap().len(), 8);
}
