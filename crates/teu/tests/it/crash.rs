//! The engine dies at any moment; nothing acknowledged is lost and nothing is left.

use std::time::Duration;

use testkit::campaign::{self, Campaign};
use testkit::daemon::{Daemon, Network};

#[test]
fn a_killed_engine_loses_nothing_and_leaves_nothing() {
    let mut daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    let plan = Campaign { kills: 10, clients: 4, ..Campaign::default() };
    let report = campaign::run(&mut daemon, &plan).unwrap();
    assert!(report.clean(), "{report}\n{}", daemon.log());
    assert!(report.created > 0, "the clients did something: {report}");
}

#[test]
fn a_container_outlives_its_engine_and_is_managed_again() {
    let mut daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    daemon
        .ok([
            "run",
            "-d",
            "--name",
            "c1",
            "busybox",
            "sh",
            "-c",
            "trap 'echo bye; exit 5' TERM; echo hello; while :; do sleep 1 & wait $!; done",
        ])
        .unwrap();
    let pid = daemon.ok(["inspect", "-f", "{{.State.Pid}}", "c1"]).unwrap();
    daemon.kill().unwrap();
    assert!(std::fs::exists(format!("/proc/{pid}")).unwrap(), "the process lives on");
    daemon.restart().unwrap();
    assert_eq!(daemon.ok(["inspect", "-f", "{{.State.Status}} {{.State.Pid}}", "c1"]).unwrap(), format!("running {pid}"));
    assert_eq!(daemon.ok(["exec", "c1", "echo", "inside"]).unwrap(), "inside");
    daemon.ok(["stop", "c1"]).unwrap();
    assert_eq!(daemon.ok(["inspect", "-f", "{{.State.ExitCode}}", "c1"]).unwrap(), "5");
    assert_eq!(daemon.ok(["logs", "c1"]).unwrap(), "hello\nbye");
}

#[test]
fn an_exit_while_the_engine_is_dead_is_known_afterwards() {
    let mut daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    daemon.ok(["run", "-d", "--name", "c1", "busybox", "sh", "-c", "exit 42"]).unwrap();
    daemon.ok(["run", "-d", "-i", "--name", "d1", "busybox", "sh", "-c", "sleep 100000"]).unwrap();
    let pid: i32 = daemon.ok(["inspect", "-f", "{{.State.Pid}}", "d1"]).unwrap().parse().unwrap();
    daemon.kill().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let mut wait = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut wait, None).unwrap();
    let took = daemon.restart().unwrap();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let state = ["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}"];
    assert_eq!(daemon.ok(state.iter().chain(&["d1"])).unwrap(), "exited 137");
    assert_eq!(daemon.ok(["wait", "c1"]).unwrap(), "42");
}

#[test]
fn a_damaged_record_is_shown_and_can_be_removed() {
    let mut daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    let id = daemon.ok(["run", "-d", "--name", "c1", "busybox", "sleep", "100000"]).unwrap();
    daemon.ok(["run", "-d", "--name", "c2", "-v", "/data", "busybox", "sleep", "100000"]).unwrap();
    daemon.kill().unwrap();
    let record = daemon.dir().join("root/records").join(format!("{id}.json"));
    let mut bytes = std::fs::read(&record).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&record, bytes).unwrap();
    for _ in 0..2 {
        daemon.restart().unwrap();
        let listing = daemon.ok(["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}} {{.Status}}"]).unwrap();
        assert!(listing.contains(&format!("{id} dead Damaged record: the checksum is wrong")), "{listing}");
        let info = daemon.teu(["info"]).unwrap();
        assert!(String::from_utf8_lossy(&info.stderr).contains(&format!("damaged record of container {id}")), "{info:?}");
        let refused = daemon.teu(["volume", "prune", "-f", "-a"]).unwrap();
        assert!(String::from_utf8_lossy(&refused.stderr).contains("its record is damaged"), "{refused:?}");
        daemon.kill().unwrap();
    }
    daemon.restart().unwrap();
    daemon.ok(["rm", "-f", &id[..12]]).unwrap();
    assert_eq!(daemon.ok(["ps", "-a", "--format", "{{.Names}}"]).unwrap(), "c2");
    daemon.ok(["volume", "prune", "-f", "-a"]).unwrap();
    assert_eq!(daemon.ok(["volume", "ls", "-q"]).unwrap().lines().count(), 1, "c2 holds its volume also after a restart");
    let left = daemon.stop().unwrap();
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn images_are_whole_or_not_there_after_each_kill() {
    let mut daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    let report = testkit::image_campaign::run(&mut daemon, 6, 7).unwrap();
    assert!(report.clean() && report.done > 5, "{report}\n{}", daemon.log());
}
