//! Engines come and go; the container does not notice.

use supervisor::protocol::{Command, Event, Phase};
use supervisor::read_exit;
use supervisor::spawner::Spawner;

use crate::Test;
use crate::bundle::{Bundle, client, everything, read_until, shell};

pub(crate) const TESTS: &[Test] = &[
    ("a_new_engine_hears_the_state", a_new_engine_hears_the_state),
    ("an_exit_that_nobody_hears_is_on_the_disk", an_exit_that_nobody_hears_is_on_the_disk),
    ("several_engines_hear_the_same", several_engines_hear_the_same),
    ("the_exit_of_an_exec_is_kept_for_the_next_engine", the_exit_of_an_exec_is_kept),
    ("garbage_ends_only_its_connection", garbage_ends_only_its_connection),
    ("a_large_launch_arrives", a_large_launch_arrives),
    ("a_supervisor_has_a_name_of_its_own", a_supervisor_has_a_name_of_its_own),
    ("statistics_add_up", statistics_add_up),
];

fn a_new_engine_hears_the_state(spawner: &Spawner) {
    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    bundle.engine.exec(shell("e1", "exec sleep 1000"));
    bundle.engine.tell(Command::Pause);
    let mode = std::fs::metadata(&bundle.launch.control_path).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    let mut engine = bundle.connect();
    let Some(Event::State(state)) = engine.event() else { panic!() };
    assert_eq!((state.phase, state.paused), (Phase::Running, true));
    assert_eq!(state.id, bundle.launch.id);
    assert!(state.pid.is_some() && state.started_at.is_some());
    assert_eq!(state.execs.len(), 1);
    assert!(engine.namespace.is_some());
    // The old one goes, the new one rules.
    bundle.engine = engine;
    bundle.engine.tell(Command::Resume);
    bundle.engine.tell(Command::Signal { signal: 9, all: false });
    assert_eq!(bundle.engine.wait_for_exit().code, 137);
}

fn an_exit_that_nobody_hears_is_on_the_disk(spawner: &Spawner) {
    let (folder, mut launch) = Bundle::prepare("cat; exit 5");
    launch.stdin = supervisor::protocol::Stdin::Once;
    let mut bundle = Bundle::launch(spawner, (folder, launch));
    let mut input = bundle.engine.attach(everything());
    bundle.engine.tell(Command::Start);
    // The connection is gone before the input ends, and with it the container.
    let (other, placeholder) = sys::seqpacket::pair().unwrap();
    drop(std::mem::replace(&mut bundle.engine, crate::bundle::Engine::new(other)));
    drop(placeholder);
    std::io::Write::write_all(&mut input, b"ready\n").unwrap();
    drop(input);
    let path = bundle.launch.exit_path.clone();
    wait_for_file(&path);
    assert_eq!(read_exit(&path).unwrap().unwrap().code, 5);
    assert_eq!(bundle.logged(), "ready\n");
    wait_until_gone(&bundle.launch.control_path);
}

/// Waits by inotify until a file is there.
fn wait_for_file(path: &std::path::Path) {
    wait_until(path, || path.exists());
}

fn wait_until_gone(path: &std::path::Path) {
    wait_until(path, || !path.exists());
}

fn wait_until(path: &std::path::Path, condition: impl Fn() -> bool) {
    use rustix::fs::inotify;
    use std::os::fd::AsFd;
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    let events = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::DELETE;
    inotify::add_watch(&watch, path.parent().unwrap(), events).unwrap();
    while !condition() {
        crate::bundle::wait(watch.as_fd(), rustix::event::PollFlags::IN);
        rustix::io::read(&watch, &mut [0; 4096]).unwrap();
    }
}

fn several_engines_hear_the_same(spawner: &Spawner) {
    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    let mut others = [bundle.connect(), bundle.connect(), bundle.connect()];
    for other in &mut others {
        assert!(matches!(other.event(), Some(Event::State(_))));
    }
    others[1].tell(Command::Signal { signal: 9, all: false });
    let exit = bundle.engine.wait_for_exit();
    for other in &mut others {
        assert_eq!(other.wait_for_exit(), exit);
    }
}

fn the_exit_of_an_exec_is_kept(spawner: &Spawner) {
    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    let (mut stream, _) = bundle.engine.exec(shell("e1", "cat; exit 9"));
    let (other, placeholder) = sys::seqpacket::pair().unwrap();
    drop(std::mem::replace(&mut bundle.engine, crate::bundle::Engine::new(other)));
    drop(placeholder);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    crate::bundle::read_all(&mut stream);
    bundle.engine = bundle.connect();
    let Some(Event::State(state)) = bundle.engine.event() else { panic!() };
    assert_eq!(state.execs[0].code, Some(9));
}

fn garbage_ends_only_its_connection(spawner: &Spawner) {
    use std::os::fd::AsFd;
    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    let garbage: [&[u8]; 4] = [b"M", b"{}", b"\xff\x00", b"{\"sequence\":1,\"command\":\"Nothing\"}"];
    for message in garbage {
        let socket = supervisor::connect(&bundle.launch.control_path).unwrap();
        sys::seqpacket::send(socket.as_fd(), message, &[]).unwrap();
        // First comes the state, then the end.
        assert!(sys::seqpacket::receive(socket.as_fd()).unwrap().is_some());
        let end = sys::seqpacket::receive(socket.as_fd());
        assert!(end.is_err() || end.unwrap().is_none());
    }
    let (_ours, theirs) = client();
    let attached = bundle.engine.ask(Command::Attach(everything()), &[theirs.as_fd()]);
    assert_eq!(attached, supervisor::protocol::Outcome::Done);
}

fn a_large_launch_arrives(spawner: &Spawner) {
    let (folder, mut launch) = Bundle::prepare("echo ${#LARGE}; exec cat");
    let process = launch.spec.process.as_mut().unwrap();
    process.env.push(format!("LARGE={}", "x".repeat(100_000)));
    launch.stdin = supervisor::protocol::Stdin::Open;
    let mut bundle = Bundle::launch(spawner, (folder, launch));
    let mut stream = bundle.engine.attach(everything());
    bundle.engine.tell(Command::Start);
    read_until(&mut stream, "100000");
}

/// The supervisor of a container: the parent of its first process.
fn supervisor_of(bundle: &Bundle) -> i32 {
    let mut engine = bundle.connect();
    let Some(Event::State(state)) = engine.event() else { panic!() };
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", state.pid.unwrap())).unwrap();
    stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

fn a_supervisor_has_a_name_of_its_own(spawner: &Spawner) {
    let bundle = Bundle::start(spawner, "exec sleep 1000");
    let pid = supervisor_of(&bundle);
    let read = |file: &str| String::from_utf8(std::fs::read(format!("/proc/{pid}/{file}")).unwrap()).unwrap();
    assert_eq!(read("comm"), "teu-supervisor\n");
    let id = bundle.launch.id.get(..12).unwrap();
    assert_eq!(read("cmdline").trim_end_matches('\0'), format!("teu supervisor {id}"));
    // Its environment is the engine's, and no socket of it has an abstract name (CVE-2020-15257).
    assert!(read("environ").contains("PATH="));
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
    let own = bundle.launch.control_path.to_str().unwrap();
    assert!(sockets.lines().any(|line| line.ends_with(own)));
    assert!(!sockets.lines().any(|line| line.contains(&format!("@{own}")) || line.contains("@teu")), "{sockets}");
}

fn statistics_add_up(spawner: &Spawner) {
    use supervisor::protocol::Outcome;
    let mut bundle = Bundle::start(spawner, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; exec sleep 1000");
    let mut client = bundle.engine.attach(everything());
    read_until(&mut client, "done");
    bundle.engine.tell(Command::Pause);
    let Outcome::Stats(stats) = bundle.engine.ask(Command::Stats, &[]) else { panic!() };
    assert!(stats.cpu_total_ns > 0 && stats.pids_current == 1 && stats.memory_usage > 0, "{stats:?}");
    if std::path::Path::new("/sys/fs/cgroup/cpuacct").exists() {
        // Counted apart, and not at one moment.
        let sum: u64 = stats.cpu_each_ns.iter().sum();
        assert!(sum.abs_diff(stats.cpu_total_ns) < 10_000_000, "{stats:?}");
    }
}
