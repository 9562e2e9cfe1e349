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
    daemon.ok(["rm", "-f", "-v", "c2"]).unwrap();
    // What is deleted behind the answer would be left to the next engine.
    let left = testkit::leftovers::settled(&daemon).unwrap();
    assert!(left.is_empty(), "{left:#?}");
    let left = daemon.stop().unwrap();
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn images_are_whole_or_not_there_after_each_kill() {
    let mut daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    let report = testkit::image_campaign::run(&mut daemon, 6, 7).unwrap();
    assert!(report.clean() && report.done > 5, "{report}\n{}", daemon.log());
}

/// Moments at which the engine is killed.
const KILLS: u32 = 20;
/// Files of the image that are copied into volumes.
const FILES: usize = 150;

/// An image whose `/data` takes a while to copy.
fn image_with_many_files(daemon: &Daemon) {
    let root = daemon.dir().join("busybox");
    for number in 0..FILES {
        let directory = root.join(format!("data/{}", number % 7));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(number.to_string()), vec![b'x'; 4000 + number]).unwrap();
    }
    let tar = daemon.dir().join("data.tar");
    let status = std::process::Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&root).arg(".").status().unwrap();
    assert!(status.success());
    daemon.ok(["import", tar.to_str().unwrap(), "data:1"]).unwrap();
}

/// Files in a volume whose length is right; none if one is wrong.
fn whole_files(data: &std::path::Path) -> Option<usize> {
    let mut count = 0;
    for directory in std::fs::read_dir(data).unwrap() {
        for file in std::fs::read_dir(directory.unwrap().path()).unwrap() {
            let file = file.unwrap();
            let number: u64 = file.file_name().to_str().unwrap().parse().unwrap();
            if file.metadata().unwrap().len() != 4000 + number {
                return None;
            }
            count += 1;
        }
    }
    Some(count)
}

#[test]
fn no_half_copied_or_half_removed_volume_is_ever_seen() {
    let mut daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    image_with_many_files(&daemon);
    let volumes = daemon.dir().join("root/volumes");
    // From nothing done to all done, whatever machine this is.
    let begin = std::time::Instant::now();
    daemon.ok(["create", "--rm", "-v", "first:/data", "data:1", "true"]).unwrap();
    let spread = begin.elapsed() * 2;
    let mut random = 0x5eed_u64;
    let (mut whole, mut empty, mut gone) = (0, 0, 0);
    for round in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = spread * u32::try_from((random >> 33) % 1000).unwrap() / 1000;
        daemon.ok(["volume", "create", "old"]).unwrap();
        std::fs::write(volumes.join("old/_data/file"), "x").unwrap();
        let spawn = |args: &[&str]| {
            let mut command = daemon.command();
            command.args(args).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
        };
        let (shared, alone) = (format!("shared{round}:/data"), format!("alone{round}:/data"));
        let mut clients = [
            spawn(&["create", "-v", &shared, "data:1", "true"]),
            spawn(&["create", "-v", &shared, "data:1", "true"]),
            spawn(&["create", "-v", &alone, "data:1", "true"]),
            spawn(&["volume", "create", &format!("new{round}")]),
            spawn(&["volume", "rm", "old"]),
        ];
        std::thread::sleep(moment);
        daemon.kill().unwrap();
        clients.iter_mut().for_each(|client| assert!(client.wait().is_ok()));
        daemon.restart().unwrap();
        let listed = daemon.ok(["volume", "ls", "-q"]).unwrap();
        for name in listed.lines() {
            let data = volumes.join(name).join("_data");
            if name == "old" {
                assert!(data.join("file").exists(), "round {round}: half removed");
                continue;
            }
            match whole_files(&data) {
                Some(0) => empty += 1,
                Some(FILES) => whole += 1,
                other => panic!("round {round}, {moment:?}: volume {name} has {other:?} files"),
            }
            let entries = std::fs::read_dir(volumes.join(name)).unwrap().count();
            assert_eq!(entries, 1, "round {round}: something is left beside the files of {name}");
        }
        gone += usize::from(!listed.lines().any(|name| name == "old"));
        let containers = daemon.ok(["ps", "-aq"]).unwrap();
        if !containers.is_empty() {
            daemon.ok(["rm", "-f"].into_iter().chain(containers.lines())).unwrap();
        }
        if !listed.is_empty() {
            daemon.ok(["volume", "rm", "-f"].into_iter().chain(listed.lines())).unwrap();
        }
    }
    assert!(whole > 0 && empty > 0 && gone > 0, "the moments are spread: {whole} whole, {empty} empty, {gone} gone");
}
