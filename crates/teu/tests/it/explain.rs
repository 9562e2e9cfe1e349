//! What a tired engineer asks: why it died, what is in it, what it said.

use testkit::daemon::{Daemon, Network};

fn daemon() -> Daemon {
    Daemon::with_busybox(crate::teu(), Network::Private).unwrap()
}

/// The text with its lines joined.
fn told(daemon: &Daemon, name: &str) -> String {
    daemon.ok(["why", name]).unwrap().replace('\n', " ")
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn a_death_is_explained() {
    let daemon = daemon();
    daemon.teu(["run", "--name", "lost", "busybox", "sh", "-c", "echo starting; no-such-program"]).unwrap();
    has(
        &told(&daemon, "lost"),
        &["lost (busybox) ended", "exit code 127: a command was not found", "no-such-program: not found", "What to do:"],
    );
    let hog = "dd if=/dev/zero of=/dev/null bs=64M count=1";
    daemon.teu(["run", "--name", "hog", "-m", "16m", "--memory-swap", "16m", "busybox", "sh", "-c", hog]).unwrap();
    has(&told(&daemon, "hog"), &["out of memory", "its limit is 16MiB", "teu update -m"]);
    daemon.ok(["run", "-d", "--name", "killed", "busybox", "sleep", "100"]).unwrap();
    daemon.ok(["kill", "killed"]).unwrap();
    has(&told(&daemon, "killed"), &["SIGKILL ended it (exit code 137), sent by this engine"]);
    daemon.ok(["run", "-d", "--name", "crashed", "--restart", "on-failure:2", "busybox", "sh", "-c", "kill -SEGV $$; exit 3"]).unwrap();
    daemon.ok(["wait", "crashed"]).unwrap();
    daemon.teu(["run", "--name", "unstarted", "busybox", "/no/such/program"]).unwrap();
    has(&told(&daemon, "unstarted"), &["could not be started", "What to do: look at the command"]);
    daemon.ok(["run", "-d", "--name", "alive", "busybox", "sleep", "100"]).unwrap();
    has(&told(&daemon, "alive"), &["alive (busybox) runs since"]);
    assert_eq!(daemon.ok(["why", "-f", "{{.Death.ExitCode}} {{.Death.Sender}}", "killed"]).unwrap(), "137 engine");
    let missing = daemon.teu(["why", "nobody"]).unwrap();
    assert!(String::from_utf8_lossy(&missing.stderr).contains("No such container: nobody"));
}

#[test]
fn tools_come_to_a_container_that_has_none() {
    let daemon = daemon();
    let folder = tempfile::tempdir().unwrap();
    // An image of one program.
    std::fs::copy("/bin/busybox", folder.path().join("sleep")).unwrap();
    let archive = folder.path().join("bare.tar");
    let packed = std::process::Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(folder.path()).arg("sleep").status().unwrap();
    assert!(packed.success());
    daemon.ok(["import", archive.to_str().unwrap(), "bare:latest"]).unwrap();
    daemon.ok(["run", "-d", "--name", "bare", "--hostname", "bare-host", "bare", "/sleep", "100"]).unwrap();
    let before = daemon.ok(["diff", "bare"]);
    let seen =
        daemon.ok(["debug", "bare", "sh", "-c", "ls /proc/1/root; hostname; ps | grep -c '/sleep 100'; ip -o link | wc -l"]).unwrap();
    has(&seen, &["sleep", "bare-host"]);
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines.last().map(|line| line.trim()), Some("2"), "{seen}");
    assert_eq!(daemon.teu(["debug", "bare", "sh", "-c", "exit 7"]).unwrap().status.code(), Some(7));
    if let Ok(before) = before {
        assert_eq!(daemon.ok(["diff", "bare"]).unwrap(), before);
    }
    daemon.ok(["kill", "bare"]).unwrap();
    assert_eq!(daemon.ok(["debug", "bare", "ls", "/container"]).unwrap().lines().filter(|name| *name == "sleep").count(), 1);
    assert_eq!(daemon.ok(["ps", "-aq"]).unwrap().lines().count(), 1, "only the container itself is left");
}

#[test]
fn logs_are_searched_by_the_engine() {
    let daemon = daemon();
    let script = "for i in $(seq 1 4000); do echo \"line $i <tag> end\"; done; echo 'a \"quoted\" word' >&2";
    for driver in ["json-file", "local"] {
        let rotated = ["--log-driver", driver, "--log-opt", "max-size=40k", "--log-opt", "max-file=20"];
        let mut words = vec!["run", "-d", "--name", driver];
        words.extend(rotated);
        words.extend(["busybox", "sh", "-c", script]);
        daemon.ok(words).unwrap();
        daemon.ok(["wait", driver]).unwrap();
        let grep = |pattern: &str| daemon.ok(["logs", "--grep", pattern, driver]).unwrap();
        assert_eq!(grep("line 1234 <tag>"), "line 1234 <tag> end", "{driver}");
        assert_eq!(grep("^line [12]99 ").lines().count(), 2, "{driver}");
        assert_eq!(grep("stdout"), "", "{driver}: only the text is searched");
        assert_eq!(daemon.ok(["logs", "--tail", "3", "--grep", "line 3999", driver]).unwrap(), "line 3999 <tag> end");
        let quoted = daemon.teu(["logs", "--grep", "\"quoted\"", driver]).unwrap();
        assert_eq!(String::from_utf8_lossy(&quoted.stderr).trim_end(), "a \"quoted\" word", "{driver}");
        assert_eq!(daemon.ok(["logs", driver]).unwrap().lines().count(), 4000);
    }
    let wrong = daemon.teu(["logs", "--grep", "(", "local"]).unwrap();
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("invalid pattern"));
}

#[test]
fn a_log_is_followed_across_rotation_and_restarts() {
    let daemon = daemon();
    let script = "for i in $(seq 1 3000); do echo \"line $i\"; done";
    daemon.ok(["create", "--name", "c1", "--log-opt", "max-size=10k", "--log-opt", "max-file=50", "busybox", "sh", "-c", script]).unwrap();
    let mut follower =
        daemon.command().args(["logs", "-f", "--across-restarts", "c1"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    for _ in 0..2 {
        daemon.ok(["start", "-a", "c1"]).unwrap();
    }
    let mut output = std::io::BufReader::new(follower.stdout.take().unwrap());
    for index in 0..6000 {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        assert_eq!(line.trim_end(), format!("line {}", index % 3000 + 1));
    }
    daemon.ok(["rm", "c1"]).unwrap();
    assert!(follower.wait().unwrap().success());
}
