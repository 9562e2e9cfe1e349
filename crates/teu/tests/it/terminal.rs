//! `run -t` and its kin on a real terminal: our own CLI and Docker's, driven through a pseudo-terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::termios::Winsize;
use testkit::daemon::{Daemon, Network};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client on a terminal.
struct Session {
    child: Child,
    master: File,
    seen: String,
}

impl Session {
    fn start(command: Command, args: &[&str]) -> Self {
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY | rustix::pty::OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let open = || -> OwnedFd {
            rustix::fs::open(&name, rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY, rustix::fs::Mode::empty()).unwrap()
        };
        let slave = open();
        size(slave.as_fd(), 24, 80);
        // `setsid -c` makes the terminal the client's own, so that its size changes are signalled.
        let mut run = Command::new("setsid");
        run.args(["-c", "-w"]).arg(command.get_program()).args(args);
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => run.env(key, value),
                None => run.env_remove(key),
            };
        }
        let child = run.stdin(open()).stdout(open()).stderr(slave).spawn().unwrap();
        Self { child, master: File::from(master), seen: String::new() }
    }

    /// Reads until the text has been seen; what came up to it is taken off.
    fn expect(&mut self, text: &str) {
        let begin = Instant::now();
        while !self.seen.contains(text) {
            assert!(begin.elapsed() < PATIENCE, "`{text}` was not seen in {:?}", self.seen);
            self.more();
        }
        let end = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..end);
    }

    fn more(&mut self) -> bool {
        let mut polled = [PollFd::new(&self.master, PollFlags::IN)];
        rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 1, tv_nsec: 0 })).unwrap();
        if polled[0].revents().is_empty() {
            return true;
        }
        let mut buffer = [0; 4096];
        match self.master.read(&mut buffer) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
                true
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.master.write_all(bytes).unwrap();
    }

    /// Waits for the client's end; gives its code and the rest of what it wrote.
    fn end(mut self) -> (i32, String) {
        let begin = Instant::now();
        while self.more() {
            assert!(begin.elapsed() < PATIENCE, "the client goes on: {:?}", self.seen);
        }
        (self.child.wait().unwrap().code().unwrap(), self.seen)
    }
}

fn size(fd: std::os::fd::BorrowedFd<'_>, rows: u16, columns: u16) {
    rustix::termios::tcsetwinsize(fd, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

fn both(act: impl Fn(&str, &dyn Fn() -> Command, &Daemon)) {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    act("teu", &|| daemon.command(), &daemon);
    act("docker", &|| daemon.docker(), &daemon);
}

#[test]
fn a_terminal_has_a_size_and_follows_the_callers() {
    both(|_, client, _| {
        let mut session = Session::start(client(), &["run", "--rm", "-it", "busybox", "sh"]);
        session.expect("# ");
        // The size is told after the start; the shell is asked until it knows.
        session.send(b"while [ \"$(stty size)\" != '24 80' ]; do :; done; echo sized-$((1+1))\n");
        session.expect("sized-2");
        size(session.master.as_fd(), 33, 101);
        session.send(b"while [ \"$(stty size)\" != '33 101' ]; do :; done; echo resized-$((1+1))\n");
        session.expect("resized-2");
        session.send(b"exit 7\n");
        assert_eq!(session.end().0, 7);
    });
}

#[test]
fn control_c_reaches_the_program_and_not_the_client() {
    both(|_, client, _| {
        let mut session = Session::start(
            client(),
            &["run", "--rm", "-it", "busybox", "sh", "-c", "trap 'echo caught; exit 5' INT; echo ready; while true; do sleep 0.05; done"],
        );
        session.expect("ready");
        session.send(b"\x03");
        session.expect("caught");
        assert_eq!(session.end().0, 5);
    });
}

#[test]
fn detach_keys_leave_the_container_alone() {
    both(|name, client, daemon| {
        let mut session = Session::start(client(), &["run", "-it", "--name", name, "busybox", "sh"]);
        session.expect("# ");
        session.send(b"\x10\x11");
        assert_eq!(session.end().0, 0, "{name}: run");
        assert_eq!(daemon.ok(["inspect", "-f", "{{.State.Running}}", name]).unwrap(), "true");
        let mut session = Session::start(client(), &["attach", "--detach-keys", "ctrl-x,q", name]);
        session.send(b"echo back-$((1+1))\n");
        session.expect("back-2");
        session.send(b"\x18q");
        let (code, text) = session.end();
        assert!(code == 1 && text.contains("read escape sequence"), "{name}: attach: {code} {text:?}");
        let mut session = Session::start(client(), &["exec", "-it", name, "sh"]);
        session.expect("# ");
        session.send(b"\x10\x11");
        let (code, text) = session.end();
        assert!(code == 1 && text.contains("read escape sequence"), "{name}: exec: {code} {text:?}");
        assert_eq!(daemon.ok(["inspect", "-f", "{{.State.Running}}", name]).unwrap(), "true");
        daemon.ok(["rm", "-f", name]).unwrap();
        // A container that is removed at its end goes on, too.
        let mut session = Session::start(client(), &["run", "--rm", "-it", "--name", name, "busybox", "sh"]);
        session.expect("# ");
        session.send(b"\x10\x11");
        assert_eq!(session.end().0, 0, "{name}: run --rm");
        assert_eq!(daemon.ok(["inspect", "-f", "{{.State.Running}}", name]).unwrap(), "true");
        daemon.ok(["rm", "-f", name]).unwrap();
    });
}

#[test]
fn the_callers_terminal_is_as_before() {
    both(|_, client, _| {
        let mut session = Session::start(client(), &["run", "--rm", "-it", "busybox", "true"]);
        while session.more() && session.child.try_wait().unwrap().is_none() {}
        let modes = rustix::termios::tcgetattr(&session.master).unwrap().local_modes;
        assert!(modes.contains(rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO));
        session.child.wait().unwrap();
    });
}

#[test]
fn both_streams_of_a_started_container_arrive() {
    both(|name, client, daemon| {
        daemon
            .ok(["create", "--name", name, "busybox", "sh", "-c", "for i in 1 2 3; do echo out$i; echo err$i >&2; done; exit 4"])
            .unwrap();
        let output = client().args(["start", "-a", name]).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{name}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "out1\nout2\nout3\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "err1\nerr2\nerr3\n");
        daemon.ok(["rm", name]).unwrap();
    });
}
