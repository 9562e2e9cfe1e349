//! `cp`: our own CLI and Docker's copy into and out of containers that run and that do not.

use std::path::Path;
use std::process::{Command, Output};

use testkit::daemon::{Daemon, Network};

fn daemon() -> Daemon {
    Daemon::with_busybox(crate::teu(), Network::Private).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

fn both(daemon: &Daemon, act: impl Fn(&str, &dyn Fn() -> Command)) {
    act("teu", &|| daemon.command());
    act("docker", &|| daemon.docker());
}

fn ok(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn cp(client: &dyn Fn() -> Command, from: &str, to: &str) -> Output {
    client().args(["cp", from, to]).output().unwrap()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn files_and_trees_go_both_ways_while_it_runs_and_when_not() {
    let daemon = daemon();
    let local = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(local.path().join("tree/deep")).unwrap();
    std::fs::write(local.path().join("tree/deep/file"), "content").unwrap();
    std::os::unix::fs::symlink("deep/file", local.path().join("tree/link")).unwrap();
    both(&daemon, |name, client| {
        ok(client().tap(&["create", "--name", name, "-v", &format!("{name}-volume:/data"), "busybox", "sleep", "100"]));
        // A container that has never run, and its volume.
        assert!(cp(client, &path(&local.path().join("tree")), &format!("{name}:/data")).status.success());
        assert!(cp(client, &path(&local.path().join("tree/.")), &format!("{name}:/new")).status.success());
        ok(client().tap(&["start", name]));
        assert_eq!(ok(client().tap(&["exec", name, "cat", "/data/tree/link", "/new/deep/file"])), "contentcontent");
        ok(client().tap(&["exec", name, "sh", "-c", "mkdir /out && echo inside > /out/a && ln -s /out/a /out/l && chmod 640 /out/a"]));
        // One that runs.
        let out = local.path().join(name);
        assert!(cp(client, &format!("{name}:/out"), &path(&out)).status.success());
        assert_eq!(std::fs::read_to_string(out.join("a")).unwrap(), "inside\n");
        assert_eq!(std::fs::read_link(out.join("l")).unwrap(), Path::new("/out/a"));
        assert!(client().args(["cp", "-L", &format!("{name}:/out/l"), &path(&out.join("followed"))]).status().unwrap().success());
        assert_eq!(std::fs::read_to_string(out.join("followed")).unwrap(), "inside\n");
        ok(client().tap(&["kill", name]));
        // One that has ended.
        assert!(cp(client, &format!("{name}:/data/tree/deep/file"), &path(&out.join("again"))).status.success());
        assert_eq!(std::fs::read_to_string(out.join("again")).unwrap(), "content");
        let archive = client().args(["cp", &format!("{name}:/out"), "-"]).output().unwrap();
        let listed = pipe(Command::new("tar").tap(&["-t"]), &archive.stdout);
        assert_eq!(listed, "out/\nout/a\nout/l");
        let mut unpack = client();
        unpack.args(["cp", "-", &format!("{name}:/data")]);
        pipe(unpack, &archive.stdout);
        assert!(cp(client, &format!("{name}:/data/out/a"), &path(&out.join("third"))).status.success());
        ok(client().tap(&["rm", "-v", name]));
    });
}

#[test]
fn what_docker_refuses_is_refused_in_its_words() {
    let daemon = daemon();
    let local = tempfile::tempdir().unwrap();
    std::fs::create_dir(local.path().join("folder")).unwrap();
    std::fs::write(local.path().join("file"), "x").unwrap();
    let (file, folder) = (path(&local.path().join("file")), path(&local.path().join("folder")));
    both(&daemon, |name, client| {
        ok(client().tap(&["create", "--name", name, "--read-only", "-v", "ro:/ro:ro", "-v", "rw:/rw", "busybox", "true"]));
        let refused = |from: &str, to: &str, words: &str| {
            let output = cp(client, &from.replace("C:", &format!("{name}:")), &to.replace("C:", &format!("{name}:")));
            assert_eq!(output.status.code(), Some(1), "{from} {to}");
            let said = text(&output.stderr);
            assert_eq!(
                said.lines().last().unwrap_or_default(),
                words.replace("C:", &format!("{name}:")).replace("NAME", name),
                "{from} {to}"
            );
        };
        refused("C:/missing", &folder, "Error response from daemon: Could not find the file /missing in container NAME");
        refused(&folder, "C:/etc/passwd", "cannot copy directory");
        refused(&file, "C:/missing/", "no such directory");
        refused(&file, "C:/a/b", "Error response from daemon: Could not find the file /a in container NAME");
        refused(&file, "C:/etc", "Error response from daemon: container rootfs is marked read-only");
        refused(&file, "C:/ro", "Error response from daemon: mounted volume is marked read-only");
        refused("C:/etc/passwd", "C:/x", "copying between containers is not supported");
        refused(&file, &folder, "must specify at least one container source");
        refused("-", "C:/etc/passwd", "destination \"C:/etc/passwd\" must be a directory");
        assert!(cp(client, &file, &format!("{name}:/rw/new")).status.success());
        ok(client().tap(&["rm", "-v", name]));
    });
}

#[test]
fn owners_are_kept_or_given_to_the_containers_user() {
    let daemon = daemon();
    let local = tempfile::tempdir().unwrap();
    let file = local.path().join("file");
    std::fs::write(&file, "x").unwrap();
    std::os::unix::fs::chown(&file, Some(1234), Some(1235)).unwrap();
    daemon.ok(["run", "-d", "--name", "c1", "-u", "33:34", "-v", "vol:/v", "busybox", "sleep", "100"]).unwrap();
    daemon.ok(["cp", &path(&file), "c1:/v/kept"]).unwrap();
    daemon.ok(["cp", "-a", &path(&file), "c1:/v/given"]).unwrap();
    let owners = daemon.ok(["exec", "c1", "stat", "-c", "%u:%g", "/v/kept", "/v/given"]).unwrap();
    assert_eq!(owners, "1234:1235\n33:34");
}

#[test]
fn a_container_cannot_lead_a_copy_outside() {
    let daemon = daemon();
    let local = tempfile::tempdir().unwrap();
    let outside = local.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "of the host").unwrap();
    let place = path(&outside);
    // In the container the same path is a directory, and `/way/to` changes all the time between a directory and a link.
    let script = format!(
        "mkdir -p {place} /real/to; echo of the container > {place}/secret; echo of the container > /real/to/secret
        while true; do ln -s / /way; rm /way; ln -s /real /way; rm /way; ln -s {place} /way; rm /way; mkdir -p /way/to; rm -r /way; done"
    );
    daemon.ok(["run", "-d", "--name", "c1", "busybox", "sh", "-c", &script]).unwrap();
    let file = local.path().join("file");
    std::fs::write(&file, "planted").unwrap();
    for round in 0..60 {
        // Each may fail, since the path is not always there; none may reach the host.
        let out = local.path().join(format!("out{round}"));
        for from in ["c1:/way/secret", "c1:/way/to/secret", &format!("c1:/way{place}/secret")] {
            daemon.teu(["cp", from, &path(&out)]).unwrap();
            if let Ok(got) = std::fs::read_to_string(&out) {
                assert_eq!(got, "of the container\n", "round {round}");
            }
        }
        for to in ["c1:/way/to".to_owned(), "c1:/way".to_owned(), format!("c1:/way{place}")] {
            daemon.teu(["cp", &path(&file), &to]).unwrap();
        }
    }
    let names: Vec<_> = std::fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["secret"]);
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "of the host");
    assert!(!Path::new("/file").exists());
}

#[test]
fn the_kernels_files_are_out_of_reach() {
    let daemon = daemon();
    daemon.ok(["run", "-d", "--name", "c1", "--privileged", "busybox", "sleep", "100"]).unwrap();
    let local = tempfile::tempdir().unwrap();
    let file = local.path().join("core_pattern");
    std::fs::write(&file, "|/bin/false").unwrap();
    let before = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    assert!(!daemon.teu(["cp", &path(&file), "c1:/proc/sys/kernel"]).unwrap().status.success());
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
    // The whole root can be copied: it has no file without end.
    daemon.ok(["cp", "c1:/", &path(&local.path().join("all"))]).unwrap();
    assert_eq!(std::fs::read_dir(local.path().join("all/proc")).unwrap().count(), 0);
}

trait Tap {
    fn tap(self, args: &[&str]) -> Self;
}

impl Tap for Command {
    fn tap(mut self, args: &[&str]) -> Self {
        self.args(args);
        self
    }
}

fn pipe(mut command: Command, input: &[u8]) -> String {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    text(&output.stdout)
}
