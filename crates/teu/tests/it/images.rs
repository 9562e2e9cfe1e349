//! Images and what containers change, through our own CLI and the unmodified Docker CLI.

use std::process::Stdio;

use testkit::daemon::{Daemon, Network};

#[test]
fn a_running_container_is_compared_exported_and_committed() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    daemon.ok(["run", "-d", "--name", "box", "-v", "/data", "busybox", "sleep", "100000"]).unwrap();
    assert_eq!(daemon.ok(["diff", "box"]).unwrap(), "A /data");
    daemon.ok(["exec", "box", "sh", "-c", "echo hi >/tmp/new; rm /etc/group; echo secret >/data/file"]).unwrap();
    assert_eq!(daemon.ok(["diff", "box"]).unwrap(), "A /data\nC /etc\nD /etc/group\nC /tmp\nA /tmp/new");
    let output = daemon.docker().args(["container", "diff", "box"]).output();
    if let Ok(output) = output {
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 5);
    }
    let id = daemon.ok(["commit", "-a", "me", "-m", "why", "-c", "CMD [\"cat\", \"/tmp/new\"]", "-c", "ENV A=1", "box", "made:1"]).unwrap();
    assert!(id.starts_with("sha256:"));
    let state = daemon.ok(["inspect", "--format", "{{.State.Status}}", "box"]).unwrap();
    assert_eq!(state, "running");
    assert_eq!(daemon.ok(["run", "--rm", "made:1"]).unwrap(), "hi");
    assert_eq!(daemon.ok(["run", "--rm", "made:1", "sh", "-c", "ls /data; ls /etc | grep group; echo $A"]).unwrap(), "1");
    let told =
        daemon.ok(["inspect", "--format", "{{.Comment}} {{.Author}} {{len .RootFS.Layers}} {{json .Config.Cmd}}", "made:1"]).unwrap();
    assert_eq!(told, "why me 2 [\"cat\",\"/tmp/new\"]");
    let history = daemon.ok(["history", "--format", "{{.CreatedBy}}|{{.Comment}}", "made:1"]).unwrap();
    assert_eq!(history, "sleep 100000|why\n|Imported from -");
    // Without what is mounted, running and stopped alike.
    let names = |archive: &std::path::Path| {
        let output = std::process::Command::new("tar").arg("-tf").arg(archive).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let (running, stopped) = (daemon.dir().join("running.tar"), daemon.dir().join("stopped.tar"));
    daemon.ok(["export", "-o", running.to_str().unwrap(), "box"]).unwrap();
    daemon.ok(["rm", "-f", "made"]).unwrap_err();
    daemon.ok(["kill", "box"]).unwrap();
    daemon.ok(["export", "-o", stopped.to_str().unwrap(), "box"]).unwrap();
    let listed = names(&running);
    assert_eq!(listed, names(&stopped));
    assert!(
        listed.contains("\ntmp/new\n") && listed.contains("\ndata/\n") && !listed.contains("data/file") && !listed.contains("etc/group")
    );
}

#[test]
fn refusals_have_dockers_words() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    daemon.ok(["create", "--name", "box", "busybox", "true"]).unwrap();
    for (words, text) in [
        (&["diff", "nosuch"][..], "Error response from daemon: No such container: nosuch"),
        (&["export", "-o", "/dev/null", "nosuch"], "Error response from daemon: No such container: nosuch"),
        (&["commit", "nosuch"], "Error response from daemon: No such container: nosuch"),
        (&["commit", "-c", "RUN x", "box"], "Error response from daemon: RUN is not a valid change command"),
        (&["commit", "box", "UPPER"], "invalid reference format: repository name (library/UPPER) must be lowercase"),
        (&["commit", "box", "sha256:x"], "Error response from daemon: refusing to create an ambiguous tag using digest algorithm as name"),
    ] {
        let output = daemon.teu(words).unwrap();
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).trim()), (Some(1), text), "{words:?}");
    }
}
