//! Logs: formats, rotation, reading.

use std::os::fd::AsFd;

use supervisor::logs::{Logs, Next, Query, Stream};
use supervisor::protocol::{Command, LogDriver};
use supervisor::spawner::Spawner;

use crate::Test;
use crate::bundle::Bundle;

pub(crate) const TESTS: &[Test] = &[
    ("json_is_what_docker_writes", json_is_what_docker_writes),
    ("long_lines_are_cut", long_lines_are_cut),
    ("files_are_rotated_and_read_in_order", files_are_rotated),
    ("tail_since_and_until", tail_since_and_until),
    ("following_crosses_rotations_and_ends", following),
    ("attributes_are_written", attributes_are_written),
    ("a_full_disk_stops_nobody", a_full_disk_stops_nobody),
];

fn run(spawner: &Spawner, script: &str, driver: LogDriver, limits: Option<(u64, u32)>) -> Bundle {
    let (folder, mut launch) = Bundle::prepare(script);
    launch.log.driver = driver;
    if let Some((bytes_max, files_max)) = limits {
        (launch.log.bytes_max, launch.log.files_max) = (Some(bytes_max), files_max);
    }
    let mut bundle = Bundle::launch(spawner, (folder, launch));
    bundle.engine.tell(Command::Start);
    bundle.engine.wait_for_exit();
    bundle
}

fn json_is_what_docker_writes(spawner: &Spawner) {
    let bundle = run(spawner, "printf 'a\"<b>\\tc\\n'; printf rest", LogDriver::JsonFile, None);
    let text = std::fs::read_to_string(&bundle.launch.log.path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let start = r#"{"log":"a\"\u003cb\u003e\u0009c\n","stream":"stdout","time":"2"#;
    assert!(lines[0].starts_with(start) && lines[0].ends_with("Z\"}"), "{text}");
    assert!(lines[1].starts_with(r#"{"log":"rest","stream":"stdout","time":""#), "{text}");
    assert_eq!(lines.len(), 2);
}

fn long_lines_are_cut(spawner: &Spawner) {
    for driver in [LogDriver::JsonFile, LogDriver::Local] {
        let script = "head -c 40000 /dev/zero | busybox tr '\\0' x; echo; echo short";
        let bundle = run(spawner, script, driver, None);
        let entries = bundle.log();
        let lengths: Vec<usize> = entries.iter().map(|entry| entry.line.len()).collect();
        assert_eq!(lengths, [16_384, 16_384, 40_000 - 32_768 + 1, 6]);
        assert_eq!(entries[0].time, entries[2].time);
        assert!(entries[3].time > entries[2].time);
    }
}

fn files_are_rotated(spawner: &Spawner) {
    for driver in [LogDriver::JsonFile, LogDriver::Local] {
        let bundle = run(spawner, "seq 3000", driver, Some((20_000, 3)));
        let path = &bundle.launch.log.path;
        let rotated = |number| path.with_extension(format!("log.{number}"));
        assert!(rotated(1).exists() && rotated(2).exists() && !rotated(3).exists());
        for file in [path, &rotated(1), &rotated(2)] {
            assert!(std::fs::metadata(file).unwrap().len() < 20_200);
        }
        let text = bundle.logged();
        let numbers: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers.last(), Some(&3000));
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "not in order");
        // The tail lies over several files.
        let tail = bundle.read_log(Query { tail: Some(400), ..Query::default() });
        assert_eq!(tail.len(), 400);
        assert_eq!(tail[0].line, b"2601\n");
    }
}

fn tail_since_and_until(spawner: &Spawner) {
    for driver in [LogDriver::JsonFile, LogDriver::Local] {
        let bundle = run(spawner, "seq 100; echo e >&2", driver, None);
        let all = bundle.log();
        assert_eq!(all.len(), 101);
        assert_eq!(all.iter().filter(|entry| entry.stream == Stream::Stderr).count(), 1);
        let count = |query| bundle.read_log(query).len();
        assert_eq!(count(Query { tail: Some(0), ..Query::default() }), 0);
        assert_eq!(count(Query { tail: Some(5), ..Query::default() }), 5);
        assert_eq!(count(Query { tail: Some(500), ..Query::default() }), 101);
        let (since, until) = (Some(all[10].time), Some(all[19].time));
        assert_eq!(bundle.read_log(Query { since, until, ..Query::default() }), all[10..20]);
    }
}

fn following(spawner: &Spawner) {
    for (driver, files_max) in [(LogDriver::JsonFile, 50), (LogDriver::Local, 50)] {
        let (folder, mut launch) = Bundle::prepare("seq 4000");
        launch.log.driver = driver;
        (launch.log.bytes_max, launch.log.files_max) = (Some(20_000), files_max);
        let path = launch.log.path.clone();
        let mut bundle = Bundle::launch(spawner, (folder, launch));
        let query = Query { follow: true, ..Query::default() };
        let mut logs = Logs::open(driver, path, query).unwrap();
        assert_eq!(logs.next().unwrap(), Next::Pending);
        bundle.engine.tell(Command::Start);
        let mut count = 0;
        loop {
            match logs.next().unwrap() {
                Next::Entry(entry) => {
                    count += 1;
                    assert_eq!(entry.line, format!("{count}\n").as_bytes());
                    if count == 4000 {
                        bundle.engine.wait_for_exit();
                        logs.container_ended();
                    }
                }
                Next::Pending => crate::bundle::wait(logs.as_fd(), rustix::event::PollFlags::IN),
                Next::End => break,
            }
        }
        assert_eq!(count, 4000);
    }
}

fn attributes_are_written(spawner: &Spawner) {
    let (folder, mut launch) = Bundle::prepare("echo a");
    launch.log.attributes.insert("tag".to_owned(), "x\"y".to_owned());
    let mut bundle = Bundle::launch(spawner, (folder, launch));
    bundle.engine.tell(Command::Start);
    bundle.engine.wait_for_exit();
    assert_eq!(bundle.log()[0].attributes.as_deref(), Some(r#"{"tag":"x\"y"}"#));
}

/// A small file system of its own, gone with this.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(path: std::path::PathBuf) -> Self {
        use rustix::mount::{MountFlags, mount};
        std::fs::create_dir(&path).unwrap();
        mount("tmpfs", &path, "tmpfs", MountFlags::empty(), Some(c"size=256k")).unwrap();
        Self(path)
    }

    fn grow(&self) {
        rustix::mount::mount_remount(&self.0, rustix::mount::MountFlags::empty(), c"size=16m").unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

fn a_full_disk_stops_nobody(spawner: &Spawner) {
    use std::io::Write as _;
    for driver in [LogDriver::JsonFile, LogDriver::Local] {
        let (folder, mut launch) = Bundle::prepare("seq 50000; cat; echo end");
        let disk = Disk::mount(folder.path().join("disk"));
        launch.log.driver = driver;
        launch.log.path = disk.0.join("container.log");
        launch.stdin = supervisor::protocol::Stdin::Once;
        let mut bundle = Bundle::launch(spawner, (folder, launch));
        let mut client = bundle.engine.attach(supervisor::protocol::Attach { multiplexed: false, ..crate::bundle::everything() });
        bundle.engine.tell(Command::Start);
        crate::bundle::read_until(&mut client, "49999\n50000\n");
        disk.grow();
        client.write_all(b"more\n").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        crate::bundle::read_until(&mut client, "end\n");
        assert_eq!(bundle.engine.wait_for_exit().code, 0);
        let text = bundle.logged();
        assert!(text.starts_with("1\n2\n") && text.contains("more\n") && text.contains("end\n"), "{text}");
        assert!(text.contains("bytes of the log were lost"), "{text}");
        // No entry is half.
        let whole = |line: &str| line.parse::<u32>().is_ok() || line == "more" || line == "end" || line.ends_with("could not be written");
        assert!(text.lines().all(whole), "{text}");
        drop((bundle, disk));
    }
}
