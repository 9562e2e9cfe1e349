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
