//! Health checks, by commands and by the engine itself, and what follows from them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use testkit::daemon::{Daemon, Network};

/// Events of health and of ends, one line each, as they come.
struct Watch {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Watch {
    fn new(daemon: &Daemon, filters: &[&str]) -> Self {
        let mut command = daemon.command();
        // An event that does not come ends the test, too.
        let until = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
        let until = until.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
        command.args(["events", "--since", "1h", "--until", &until, "--format", "{{.Action}}"]);
        for filter in filters {
            command.args(["--filter", filter]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const QUICK: [&str; 4] = ["--health-interval", "50ms", "--health-retries", "2"];

#[test]
fn a_command_that_fails_and_heals_is_told() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let mut watch = Watch::new(&daemon, &["event=health_status"]);
    let check = ["run", "-d", "--name", "c1", "--health-cmd", "echo probed; test -e /well"];
    daemon.ok(check.iter().chain(&QUICK).chain(&["busybox", "sh", "-c", "touch /well; exec sleep 100000"])).unwrap();
    assert_eq!(watch.next(), "health_status: healthy");
    daemon.ok(["exec", "c1", "rm", "/well"]).unwrap();
    assert_eq!(watch.next(), "health_status: unhealthy");
    let state = daemon.ok(["inspect", "-f", "{{.State.Health.Status}} {{(index .State.Health.Log 0).Output}}", "c1"]).unwrap();
    assert_eq!(state, "unhealthy probed");
    assert!(daemon.ok(["ps", "--format", "{{.Status}}"]).unwrap().ends_with("(unhealthy)"));
    daemon.ok(["exec", "c1", "touch", "/well"]).unwrap();
    assert_eq!(watch.next(), "health_status: healthy");
}

#[test]
fn the_engine_asks_over_http_and_tcp_without_tools_in_the_image() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let mut watch = Watch::new(&daemon, &["event=health_status", "container=web"]);
    let server = "mkdir /www; echo ok > /www/live; exec httpd -f -p 8080 -h /www";
    let check = ["run", "-d", "--name", "web", "--health-http", "http://localhost:8080/live"];
    daemon.ok(check.iter().chain(&QUICK).chain(&["busybox", "sh", "-c", server])).unwrap();
    assert_eq!(watch.next(), "health_status: healthy");
    daemon.ok(["exec", "web", "rm", "/www/live"]).unwrap();
    assert_eq!(watch.next(), "health_status: unhealthy");

    let mut watch = Watch::new(&daemon, &["event=health_status", "container=port"]);
    let check = ["run", "-d", "--name", "port", "--health-tcp", "7000"];
    daemon.ok(check.iter().chain(&QUICK).chain(&["busybox", "httpd", "-f", "-p", "7000"])).unwrap();
    assert_eq!(watch.next(), "health_status: healthy");

    let refused = daemon.teu(["run", "--health-http", "ftp://x", "busybox", "true"]).unwrap();
    assert_eq!(refused.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("invalid health check"), "{refused:?}");
}

#[test]
fn the_policy_unhealthy_restarts_what_is_ill() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let mut watch = Watch::new(&daemon, &["event=health_status", "event=die", "event=start"]);
    let check = ["run", "-d", "--name", "c1", "--restart", "unhealthy:1", "--stop-timeout", "1", "--health-cmd", "false"];
    daemon.ok(check.iter().chain(&QUICK).chain(&["busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"])).unwrap();
    let seen: Vec<String> = (0..6).map(|_| watch.next()).collect();
    assert_eq!(seen, ["start", "health_status: unhealthy", "die", "start", "health_status: unhealthy", "die"]);
    daemon.ok(["wait", "c1"]).unwrap();
    assert_eq!(daemon.ok(["inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "c1"]).unwrap(), "1 exited");
}
