//! Figures, tables and filters of many containers; streams through a WebSocket.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use testkit::daemon::{Daemon, Network};

fn daemon() -> Daemon {
    Daemon::with_busybox(crate::teu(), Network::Private).unwrap()
}

fn docker(daemon: &Daemon, args: &[&str]) -> String {
    let output = daemon.docker().args(args).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim_end().to_owned()
}

fn teu(daemon: &Daemon, args: &[&str]) -> String {
    let output = daemon.teu(args).unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim_end().to_owned()
}

#[test]
fn stats_are_dockers_and_can_be_sorted() {
    let daemon = daemon();
    daemon.ok(["run", "-d", "--name", "idle", "-m", "64m", "busybox", "sleep", "100"]).unwrap();
    daemon.ok(["run", "-d", "--name", "busy", "-m", "64m", "busybox", "sh", "-c", "while true; do :; done"]).unwrap();
    daemon.ok(["create", "--name", "never", "busybox", "true"]).unwrap();
    let titles = |text: &str| text.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let (ours, theirs) = (teu(&daemon, &["stats", "--no-stream"]), docker(&daemon, &["stats", "--no-stream"]));
    assert_eq!(titles(&ours), titles(&theirs));
    assert_eq!((ours.lines().count(), theirs.lines().count()), (3, 3), "{ours}\n{theirs}");
    let sorted = daemon.ok(["stats", "--no-stream", "--sort", "cpu", "--format", "{{.Name}} {{.MemUsage}}"]).unwrap();
    assert!(sorted.lines().next().unwrap().starts_with("busy ") && sorted.contains("/ 64MiB"), "{sorted}");
    assert_eq!(daemon.ok(["stats", "-a", "--no-stream", "--format", "{{.Name}}"]).unwrap().lines().count(), 3);
    // The stream shows a container that starts later.
    let mut live = daemon.command().args(["stats", "--format", "{{.Name}}|{{.PIDs}}"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(live.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("idle|1")));
    daemon.ok(["run", "-d", "--name", "late", "busybox", "sleep", "100"]).unwrap();
    assert!(lines.any(|line| line.unwrap().contains("late|1")));
    live.kill().unwrap();
    live.wait().unwrap();
    assert!(teu(&daemon, &["stats", "--no-stream", "nobody"]).contains("No such container: nobody"));
}

#[test]
fn names_are_filtered_by_regular_expressions() {
    let daemon = daemon();
    for name in ["web1", "web2", "db1"] {
        daemon.ok(["create", "--name", name, "busybox", "true"]).unwrap();
    }
    let names = |filter: &str| {
        let (ours, theirs) =
            (["ps", "-a", "--format", "{{.Names}}", "--filter", filter], ["ps", "-a", "--format", "{{.Names}}", "--filter", filter]);
        let ours = teu(&daemon, &ours);
        assert_eq!(ours, docker(&daemon, &theirs));
        let mut names: Vec<String> = ours.lines().map(str::to_owned).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names("name=^web[0-9]$"), ["web1", "web2"]);
    assert_eq!(names("name=^/db"), ["db1"]);
    assert_eq!(names("name=1"), ["db1", "web1"]);
    assert!(names("name=(").is_empty());
}

#[test]
fn processes_are_shown_as_ps_shows_them() {
    let daemon = daemon();
    daemon.ok(["run", "-d", "--name", "c1", "busybox", "sh", "-c", "sleep 101 & wait"]).unwrap();
    let begin = std::time::Instant::now();
    while daemon.ok(["top", "c1"]).unwrap().lines().count() < 3 {
        assert!(begin.elapsed() < std::time::Duration::from_secs(10));
    }
    let host = |arguments: &[&str]| {
        let output = std::process::Command::new("ps").args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let pids = daemon.ok(["top", "c1", "-o", "pid"]).unwrap();
    for arguments in [&["-ef"][..], &["-o", "pid,ppid,pgid,sid,tty,stat,ni,comm,args"], &["-o", "user,pid,stime,args"], &["aux"]] {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let ours = daemon.ok(["top", "c1"].iter().chain(arguments)).unwrap();
        let own = host(&[&["-A"], arguments].concat());
        assert_eq!(words(ours.lines().next().unwrap()), words(own.lines().next().unwrap()), "{arguments:?}");
        if arguments.contains(&"aux") {
            continue;
        }
        for pid in pids.lines().skip(1).map(str::trim) {
            let of = |text: &str| text.lines().map(words).find(|line| line.split(' ').any(|word| word == pid)).unwrap();
            assert_eq!(of(&ours), of(&own), "{arguments:?}");
        }
    }
    assert!(teu(&daemon, &["top", "c1", "--nosuch"]).contains("ps: "));
}

#[test]
fn streams_go_through_a_websocket() {
    use tungstenite::{Message, client};
    let daemon = daemon();
    for (name, tty) in [("plain", false), ("terminal", true)] {
        let mut words = vec!["create", "-i", "--name", name];
        words.extend(tty.then_some("-t"));
        words.extend(["busybox", "sh", "-c", "read line; echo got $line"]);
        daemon.ok(words).unwrap();
        daemon.ok(["start", name]).unwrap();
        let stream = UnixStream::connect(daemon.socket()).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let url = format!("ws://docker/v1.51/containers/{name}/attach/ws?stream=1&stdin=1&stdout=1&stderr=1");
        let (mut socket, _) = client(url, stream).unwrap();
        socket.send(Message::text("through the socket\n")).unwrap();
        let mut seen = String::new();
        while let Ok(message) = socket.read() {
            if let Message::Binary(bytes) = message {
                seen.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        assert!(seen.contains("got through the socket"), "{name}: {seen:?}");
    }
    let mut plain = UnixStream::connect(daemon.socket()).unwrap();
    std::io::Write::write_all(&mut plain, b"GET /containers/plain/attach/ws HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(plain).read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 400"), "{line}");
}

#[test]
fn what_takes_space_is_told_and_pruned_in_dockers_words() {
    let daemon = daemon();
    daemon.ok(["run", "-d", "--name", "alive", "-v", "kept:/x", "busybox", "sh", "-c", "echo 12345 > /file; sleep 100"]).unwrap();
    daemon.ok(["run", "--name", "ended", "busybox", "sh", "-c", "echo 123 > /file"]).unwrap();
    let same = |args: &[&str]| assert_eq!(teu(&daemon, args), docker(&daemon, args), "{args:?}");
    same(&["system", "df"]);
    same(&["system", "df", "--format", "json"]);
    let without_ages = |text: String| {
        text.replace("About a minute", "N seconds").split(' ').filter(|word| word.parse::<u32>().is_err()).collect::<Vec<_>>().join(" ")
    };
    let (ours, theirs) = (teu(&daemon, &["system", "df", "-v"]), docker(&daemon, &["system", "df", "-v"]));
    let heads = |text: &str| {
        text.lines()
            .filter(|line| line.contains("usage") || line.contains("SIZE"))
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    assert_eq!(heads(&ours), heads(&theirs), "{}", without_ages(ours));
    for args in [
        &["system", "prune", "--volumes", "--filter", "label=foo"][..],
        &["system", "prune", "-a"],
        &["system", "prune", "--volumes", "--filter", "until=1h"],
    ] {
        same(args);
    }
    let pruned = teu(&daemon, &["system", "prune", "-f"]);
    assert!(pruned.starts_with("Deleted Containers:\n") && pruned.contains("Total reclaimed space: "), "{pruned}");
    assert_eq!(daemon.ok(["ps", "-a", "--format", "{{.Names}}"]).unwrap(), "alive");
    // Both clients show the same engine; only what they say of themselves differs.
    let server = |text: String| text.split("Server:").nth(1).unwrap_or_default().to_owned();
    let known = |text: String| {
        server(text).lines().filter(|line| !line.contains("Firewall Backend")).map(str::trim_end).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(known(teu(&daemon, &["info"])), known(docker(&daemon, &["info"])));
}
