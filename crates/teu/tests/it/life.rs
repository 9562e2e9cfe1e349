//! One container's life, as a person drives it.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use testkit::daemon::{Daemon, Network};
use testkit::leftovers;

#[test]
fn output_and_exit_code_reach_the_caller() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let output = daemon.teu(["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]).unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
}

#[test]
fn every_line_is_in_the_log_when_the_exit_is_known() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    for round in 0..10 {
        let name = format!("c{round}");
        daemon.ok(["run", "-d", "--name", &name, "busybox", "seq", "20000"]).unwrap();
        daemon.ok(["wait", &name]).unwrap();
        let log = daemon.ok(["logs", &name]).unwrap();
        assert_eq!(log.lines().count(), 20000, "round {round}");
        assert!(log.ends_with("\n20000"));
    }
}

#[test]
fn standard_input_is_passed_on_and_closed() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let mut child =
        daemon.command().args(["run", "--rm", "-i", "busybox", "wc", "-c"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&[b'x'; 300_000]).unwrap();
    drop(stdin);
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(text.trim(), "300000");
}

#[test]
fn nothing_is_left_after_two_hundred_containers() {
    let mut daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..100 {
                    daemon.ok(["run", "--rm", "busybox", "true"]).unwrap();
                }
            });
        }
    });
    assert_eq!(daemon.ok(["ps", "-aq"]).unwrap(), "");
    let left = leftovers::settled(&daemon).unwrap();
    assert!(left.is_empty(), "{left:#?}");
    let left = daemon.stop().unwrap();
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn a_failing_container_is_started_again_until_its_limit() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let begin = daemon.ok(["events", "--until", "0s", "--since", "0s"]);
    assert!(begin.is_ok());
    daemon.ok(["run", "-d", "--name", "c1", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo try; exit 3"]).unwrap();
    let mut events = daemon
        .command()
        .args(["events", "--since", "1h", "--filter", "event=die", "--format", "{{.Action}}"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = [0; 12];
    events.stdout.take().unwrap().read_exact(&mut seen).unwrap();
    events.kill().unwrap();
    events.wait().unwrap();
    assert_eq!(&seen, b"die\ndie\ndie\n");
    daemon.ok(["wait", "c1"]).unwrap();
    assert_eq!(daemon.ok(["inspect", "-f", "{{.RestartCount}} {{.State.ExitCode}}", "c1"]).unwrap(), "2 3");
    assert_eq!(daemon.ok(["logs", "c1"]).unwrap(), "try\ntry\ntry");
}

#[test]
fn limits_hold_and_an_out_of_memory_death_is_named() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let output = daemon
        .teu([
            "run",
            "--name",
            "hog",
            "-m",
            "16m",
            "--memory-swap",
            "16m",
            "busybox",
            "sh",
            "-c",
            "dd if=/dev/zero of=/dev/null bs=64M count=1",
        ])
        .unwrap();
    assert_eq!(output.status.code(), Some(137), "{output:?}");
    assert_eq!(daemon.ok(["inspect", "-f", "{{.State.OOMKilled}}", "hog"]).unwrap(), "true");
}

#[test]
fn containers_are_confined_where_the_kernel_enforces_apparmor() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let enforced = std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"));
    let has_parser = std::path::Path::new("/sbin/apparmor_parser").exists();
    daemon.ok(["run", "-d", "--name", "c1", "busybox", "sleep", "100000"]).unwrap();
    let shown = daemon.ok(["inspect", "-f", "{{.AppArmorProfile}}", "c1"]).unwrap();
    let options = daemon.ok(["info", "-f", "{{.SecurityOptions}}"]).unwrap();
    assert_eq!(options.contains("name=apparmor"), enforced && has_parser, "{options}");
    if !(enforced && has_parser) {
        assert_eq!(shown, "");
        let info = String::from_utf8_lossy(&daemon.teu(["info"]).unwrap().stderr).into_owned();
        assert_eq!(info.contains("apparmor_parser is missing"), enforced, "{info}");
        return;
    }
    assert_eq!(shown, "docker-default");
    let label = ["cat", "/proc/self/attr/current"];
    assert_eq!(daemon.ok(["exec", "c1"].iter().chain(&label)).unwrap(), "docker-default (enforce)");
    for (flags, want) in [
        (&[][..], "docker-default (enforce)"),
        (&["--security-opt", "apparmor=unconfined"], "unconfined"),
        (&["--privileged"], "unconfined"),
        (&["--privileged", "--security-opt", "apparmor=docker-default"], "docker-default (enforce)"),
    ] {
        assert_eq!(daemon.ok(["run", "--rm"].iter().chain(flags).chain(&["busybox"]).chain(&label)).unwrap(), want, "{flags:?}");
    }
    // The capability alone would do without the profile.
    let mount = daemon.teu(["run", "--rm", "--cap-add", "SYS_ADMIN", "busybox", "mount", "-t", "tmpfs", "none", "/tmp"]).unwrap();
    assert!(!mount.status.success(), "{mount:?}");
}
