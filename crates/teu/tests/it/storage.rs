//! Volumes and mounts in real containers, and what Docker says to bad ones.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use testkit::daemon::{Daemon, Network};

fn engine() -> Daemon {
    Daemon::with_busybox(crate::teu(), Network::Private).unwrap()
}

/// Exit code and the lines of standard error that are not the pointer to the help.
fn refused(daemon: &Daemon, args: &[&str]) -> (i32, String) {
    let output = daemon.teu(args).unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let line = text.lines().next().unwrap_or_default();
    let line = line.trim_start_matches("teu: ").trim_start_matches("Error response from daemon: ");
    (output.status.code().unwrap(), line.to_owned())
}

/// An image `data:1` whose `/data` has files of several owners, and which declares a volume there.
fn image_with_data(daemon: &Daemon) {
    daemon.ok(["run", "--name", "maker", "busybox", "true"]).unwrap();
    let root = daemon.dir().join("busybox");
    std::fs::create_dir_all(root.join("data/sub")).unwrap();
    std::fs::write(root.join("data/file"), "from the image\n").unwrap();
    std::fs::write(root.join("data/sub/deep"), "deep\n").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.join("data/link")).unwrap();
    std::os::unix::fs::symlink("../../../../../../../..", root.join("out")).unwrap();
    let tar = daemon.dir().join("data.tar");
    let status =
        Command::new("tar").args(["--numeric-owner", "--owner=0", "--group=0", "-cf"]).arg(&tar).arg("-C").arg(&root).arg(".").status();
    assert!(status.unwrap().success());
    daemon.ok(["rm", "maker"]).unwrap();
    daemon.ok(["import", "--change", "VOLUME /data", tar.to_str().unwrap(), "data:1"]).unwrap();
}

#[test]
fn volumes_are_filled_kept_and_removed_as_docker_does() {
    let daemon = engine();
    image_with_data(&daemon);
    let ok = |args: &[&str]| daemon.ok(args).unwrap();
    assert_eq!(ok(&["run", "--rm", "-v", "named:/data", "data:1", "cat", "/data/file", "/data/sub/deep"]), "from the image\ndeep");
    assert_eq!(ok(&["run", "--rm", "-v", "bare:/data:nocopy", "data:1", "ls", "/data"]), "");
    ok(&["run", "--rm", "-v", "named:/data", "data:1", "sh", "-c", "echo mine > /data/file"]);
    assert_eq!(ok(&["run", "--rm", "-v", "named:/data:ro", "data:1", "cat", "/data/file"]), "mine");
    assert_eq!(ok(&["run", "--rm", "--mount", "src=named,dst=/m,volume-subpath=sub", "busybox", "cat", "/m/deep"]), "deep");
    assert_eq!(ok(&["volume", "ls", "-q"]), "bare\nnamed");
    // The image's own volume is anonymous: it goes with `--rm` and with `rm -v`, and stays with `rm`.
    ok(&["run", "--rm", "data:1", "cat", "/data/file"]);
    ok(&["create", "--name", "c1", "data:1", "true"]);
    let name = ok(&["inspect", "-f", "{{(index .Mounts 0).Name}}", "c1"]);
    assert_eq!(ok(&["volume", "ls", "-q", "--filter", "label=com.docker.volume.anonymous"]), name);
    assert_eq!(ok(&["volume", "inspect", "-f", "{{json .Labels}}", &name]), "{\"com.docker.volume.anonymous\":\"\"}");
    ok(&["rm", "c1"]);
    assert_eq!(ok(&["volume", "ls", "-q", "-f", "dangling=true", "-f", "name=".to_owned().as_str()]).lines().count(), 3);
    ok(&["create", "--name", "c1", "-v", "named:/data", "-v", "/other", "data:1", "true"]);
    ok(&["rm", "-v", "c1"]);
    assert_eq!(ok(&["volume", "ls", "-q"]).lines().count(), 3);
    assert_eq!(ok(&["volume", "prune", "-f"]).lines().nth(1).unwrap(), name);
    assert_eq!(ok(&["volume", "ls", "-q"]), "bare\nnamed");
    let (code, text) = refused(&daemon, &["volume", "rm", "gone"]);
    assert_eq!((code, text.as_str()), (1, "get gone: no such volume"));
    // In use, also after the engine has looked away: a stopped container holds its volumes.
    ok(&["create", "--name", "c2", "-v", "named:/data", "busybox", "true"]);
    let (code, text) = refused(&daemon, &["volume", "rm", "named"]);
    assert!(code == 1 && text.starts_with("remove named: volume is in use - ["), "{text}");
}

#[test]
fn mounts_of_every_kind_have_their_effect() {
    let daemon = engine();
    image_with_data(&daemon);
    let host = tempfile::tempdir().unwrap();
    let path = host.path().to_str().unwrap();
    std::fs::write(host.path().join("file"), "host\n").unwrap();
    let missing = host.path().join("made/below");
    let shell = |options: &[&str], script: &str| {
        let words = [&["run", "--rm"], options, &["data:1", "sh", "-c", script]].concat();
        let output = daemon.teu(&words).unwrap();
        let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        format!("{out}{error}").trim().to_owned()
    };
    let bind = |options: &str| format!("type=bind,src={path},dst=/m{options}");
    assert_eq!(shell(&["-v", &format!("{path}:/m:ro")], "cat /m/file; touch /m/x"), "host\ntouch: /m/x: Read-only file system");
    assert_eq!(shell(&["--mount", &bind(",readonly")], "touch /m/x"), "touch: /m/x: Read-only file system");
    assert_eq!(shell(&["-v", &format!("{path}/file:/m/one")], "cat /m/one"), "host");
    assert_eq!(shell(&["-v", &format!("{}:/m", missing.display())], "ls /m"), "");
    assert!(missing.is_dir());
    std::fs::remove_dir_all(host.path().join("made")).unwrap();
    assert_eq!(shell(&["--mount", &format!("type=bind,src={},dst=/m,bind-create-src", missing.display())], "ls /m"), "");
    assert!(missing.is_dir());
    let tmpfs = "type=tmpfs,dst=/m,tmpfs-size=1m,tmpfs-mode=1770";
    assert_eq!(
        shell(&["--mount", tmpfs], "stat -c %a /m; grep ' /m ' /proc/mounts | cut -d' ' -f4"),
        "1770\nrw,nosuid,nodev,noexec,relatime,size=1024k,mode=1770"
    );
    assert_eq!(
        shell(&["--tmpfs", "/m:exec,size=64k,mode=700,uid=7"], "grep ' /m ' /proc/mounts | cut -d' ' -f4"),
        "rw,nosuid,nodev,relatime,size=64k,mode=700,uid=7"
    );
    assert_eq!(shell(&["--read-only", "--tmpfs", "/w"], "touch /x; touch /w/x && ls /w"), "x\ntouch: /x: Read-only file system");
    // An image is read-only, whole or a part of it.
    let image = "type=image,source=data:1,target=/m";
    assert_eq!(shell(&["--mount", image], "cat /m/data/file; touch /m/x"), "from the image\ntouch: /m/x: Read-only file system");
    assert_eq!(shell(&["--mount", &format!("{image},image-subpath=data/sub")], "cat /m/deep; ls /m"), "deep\ndeep");
    // A link of the image leads nowhere outside.
    assert_eq!(shell(&["-v", &format!("{path}:/out/tmp/in")], "cat /tmp/in/file"), "host");
    assert!(!Path::new("/tmp/in").exists());
    assert_eq!(
        shell(
            &["--mount", "src=opt,dst=/m,volume-label=a=b,volume-opt=type=tmpfs,volume-opt=device=tmpfs,\"volume-opt=o=size=1m,uid=9\""],
            "stat -c %u /m"
        ),
        "9"
    );
    assert_eq!(daemon.ok(["volume", "inspect", "-f", "{{.Labels.a}} {{.Options.o}}", "opt"]).unwrap(), "b size=1m,uid=9");
}

#[test]
fn files_on_a_bind_belong_to_the_owner_on_the_host() {
    let daemon = engine();
    let host = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(host.path(), Some(4321), Some(1234)).unwrap();
    let path = host.path().to_str().unwrap();
    let script = "touch /m/$0; stat -c %u:%g /m/$0; stat -c %u /m";
    for (file, options) in [
        ("a", ["-v".to_owned(), format!("{path}:/m:idmap")]),
        ("b", ["-v".to_owned(), format!("{path}:/m:idmap=4321:1234,rw")]),
        ("c", ["--mount".to_owned(), format!("type=bind,src={path},dst=/m,idmap")]),
        ("d", ["--mount".to_owned(), format!("type=bind,src={path},dst=/m,idmap=4321:1234")]),
    ] {
        let shown = daemon.ok(["run", "--rm", &options[0], &options[1], "busybox", "sh", "-c", script, file]).unwrap();
        assert_eq!(shown, "0:0\n0", "{options:?}");
        let stat = std::fs::metadata(host.path().join(file)).unwrap();
        assert_eq!((stat.uid(), stat.gid()), (4321, 1234), "{options:?}");
    }
    // Root's own files are nobody's there: they cannot be changed.
    std::fs::write(host.path().join("root"), "").unwrap();
    let shown = daemon
        .teu(["run", "--rm", "-v", &format!("{path}:/m:idmap"), "busybox", "sh", "-c", "stat -c %u /m/root; echo x > /m/root"])
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&shown.stdout), "65534\n");
    assert!(!shown.status.success());
}

#[test]
fn mounts_are_taken_over_from_another_container() {
    let daemon = engine();
    image_with_data(&daemon);
    let host = tempfile::tempdir().unwrap();
    let bind = format!("{}:/b", host.path().display());
    let ok = |args: &[&str]| daemon.ok(args).unwrap();
    ok(&["create", "--name", "c1", "-v", &bind, "-v", "named:/n", "--mount", "type=tmpfs,dst=/t,tmpfs-size=1m", "data:1", "true"]);
    let list = "cut -d' ' -f2,4 /proc/mounts | grep -E '^/(b|n|t|data) ' | cut -d, -f1 | sort";
    let shown = ok(&["run", "--rm", "--volumes-from", "c1", "busybox", "sh", "-c", list]);
    assert_eq!(shown, "/b rw\n/data rw\n/n rw\n/t rw");
    let shown = ok(&["run", "--rm", "--volumes-from", "c1:ro,z", "busybox", "sh", "-c", list]);
    assert_eq!(shown, "/b ro\n/data ro\n/n ro\n/t ro");
    // The one that takes over holds the volumes, but does not remove them.
    ok(&["create", "--name", "c2", "--volumes-from", "c1", "busybox", "true"]);
    ok(&["rm", "-v", "c2"]);
    assert_eq!(ok(&["volume", "ls", "-q"]).lines().count(), 2);
    ok(&["create", "--name", "c2", "--volumes-from", "c1", "busybox", "true"]);
    ok(&["rm", "-v", "c1"]);
    assert_eq!(ok(&["volume", "ls", "-q"]).lines().count(), 2, "c2 holds the anonymous one");
}

/// What the kernel's refusal to mount a directory over a file, or a file over a directory, becomes.
const OVER: &str =
    "Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type";

/// Options, exit code, and how the text begins or ends. **Source:** asked of Docker Engine 28.5.2.
const BAD: &[(&[&str], i32, &str)] = &[
    (
        &["-v", "/a:b"],
        125,
        "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
    ),
    (
        &["-v", "/a:/"],
        125,
        "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
    ),
    (&["-v", "/a:/b:zz"], 125, "invalid mode: zz"),
    (&["-v", ":/b"], 125, "invalid spec: :/b: empty section between colons"),
    (&["-v", "/a:/b:ro:x"], 125, "invalid spec: /a:/b:ro:x: too many colons"),
    (&["-v", "/foo:rw"], 125, "invalid volume specification: '/foo:rw'"),
    (
        &["-v", "a/b:/c"],
        125,
        "create a/b: \"a/b\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
    ),
    (&["-v", "new1:/x", "-v", "new2:/x"], 125, "Duplicate mount point: /x"),
    (&["-v", "new1:/x", "--tmpfs", "/x"], 125, "Duplicate mount point: /x"),
    (
        &["-v", "new1:/x", "--mount", "type=bind,src=/nosuch,dst=/y"],
        125,
        "invalid mount config for type \"bind\": bind source path does not exist: /nosuch",
    ),
    (
        &["--mount", "type=bind,src=tmp,dst=/x"],
        125,
        "invalid mount config for type \"bind\": invalid mount path: 'tmp' mount path must be absolute",
    ),
    (
        &["--mount", "type=volume,src=new1,dst=x"],
        125,
        "invalid mount config for type \"volume\": invalid mount path: 'x' mount path must be absolute",
    ),
    (
        &["--mount", "src=new1,dst=/x,volume-subpath=../a"],
        125,
        "invalid mount config for type \"volume\": subpath must be a relative path within the volume",
    ),
    (
        &["--mount", "dst=/x,volume-subpath=a"],
        125,
        "invalid mount config for type \"volume\": must not set Subpath when using anonymous volumes",
    ),
    (&["--mount", "type=tmpfs,src=a,dst=/x"], 125, "invalid mount config for type \"tmpfs\": field Source must not be specified"),
    (&["--mount", "type=foo,dst=/x"], 125, "invalid mount config for type \"foo\": mount type unknown"),
    (&["--mount", "type=bind,src=/tmp"], 125, "invalid argument \"type=bind,src=/tmp\" for \"--mount\" flag: target is required"),
    (&["--mount", "type=image,dst=/x"], 125, "invalid mount config for type \"image\": field Source must not be empty"),
    (
        &["--mount", "type=bind,src=/tmp,dst=/x,bind-propagation=odd"],
        125,
        "invalid mount config for type \"bind\": invalid propagation mode: odd",
    ),
    (&["--tmpfs", "/x:foo"], 125, "invalid tmpfs option \"foo\""),
    (&["--tmpfs", "x"], 125, "invalid mount path: 'x' mount path must be absolute"),
    (&["--volumes-from", "nosuch"], 125, "No such container: nosuch"),
    (&["--volumes-from", "nosuch:zz"], 125, "invalid mode: zz"),
    (&["--volume-driver", "odd", "-v", "new1:/x"], 125, "create new1: error looking up volume plugin odd: plugin \"odd\" not found"),
    (&["--mount", "src=new1,dst=/x,volume-driver=odd"], 125, "create new1: error looking up volume plugin odd: plugin \"odd\" not found"),
    (&["-v", "new1:/bin/busybox"], 125, "source /bin/busybox is not directory"),
    (&["-v", "/bin/busybox"], 125, "cannot mount volume over existing file, file exists /bin/busybox"),
    (&["-v", "/etc/passwd:/etc"], 125, OVER),
    (&["-v", "/tmp:/bin/sh"], 125, OVER),
    (&["--mount", "src=new1,dst=/x,volume-subpath=nosuch"], 127, "nosuch: no such file or directory"),
    (&["--mount", "src=new1,dst=/data,volume-subpath=link"], 125, "link: too many levels of symbolic links"),
    (&["--mount", "type=image,src=data:1,dst=/x,image-subpath=nosuch"], 127, "nosuch: no such file or directory"),
];

#[test]
fn bad_mounts_are_refused_in_docker_words_and_leave_nothing() {
    let daemon = engine();
    image_with_data(&daemon);
    for (options, code, text) in BAD {
        let words = [&["run", "--rm"], *options, &["data:1", "true"]].concat();
        let (got, line) = refused(&daemon, &words);
        assert!(got == *code && (line.starts_with(text) || line.ends_with(text)), "{options:?}: {got} {line}");
        // Named volumes of a container that was created and not started stay, as in Docker.
        daemon
            .teu([
                "volume",
                "rm",
                "-f",
                if *code == 127 || text.contains("links") || line.contains("OCI runtime") { "new1" } else { "none" },
            ])
            .unwrap();
        assert_eq!(daemon.ok(["volume", "ls", "-q"]).unwrap(), "", "{options:?} left a volume");
        assert_eq!(daemon.ok(["ps", "-aq"]).unwrap(), "", "{options:?} left a container");
    }
    assert!(!Path::new("/a").exists() && !Path::new("/nosuch").exists());
}

#[test]
fn a_full_disk_in_the_middle_of_copying_leaves_nothing_half_made() {
    let daemon = engine();
    image_with_data(&daemon);
    daemon.ok(["run", "--name", "big", "busybox", "true"]).unwrap();
    let options = "type=tmpfs,device=tmpfs,o=size=64k".split(',').flat_map(|option| ["-o", option]);
    daemon.ok(["volume", "create"].into_iter().chain(options).chain(["small"])).unwrap();
    let (code, text) = refused(&daemon, &["run", "--rm", "-v", "small:/bin", "data:1", "true"]);
    assert!(code == 125 && text.starts_with("failed to populate volume: cannot copy `busybox` into volume `small`: "), "{code} {text}");
    assert!(text.contains("No space left on device"), "{text}");
    assert_eq!(daemon.ok(["run", "--rm", "-v", "small:/m:nocopy", "busybox", "ls", "-A", "/m"]).unwrap(), "");
    assert!(!std::fs::read_to_string("/proc/mounts").unwrap().contains("small/_data"), "nothing stays mounted");
}

#[test]
fn volumes_are_exported_imported_copied_and_measured() {
    let daemon = engine();
    let ok = |args: &[&str]| daemon.ok(args).unwrap();
    let script = "mkdir /m/d && echo hello > /m/d/f && ln /m/d/f /m/hard && ln -s d/f /m/soft && chown 5:6 /m/d/f && chmod 4750 /m/d/f && mkfifo /m/p";
    ok(&["run", "--rm", "-v", "one:/m", "busybox", "sh", "-c", script]);
    let tar = daemon.dir().join("one.tar");
    let tar = tar.to_str().unwrap();
    ok(&["volume", "export", "-o", tar, "one"]);
    ok(&["volume", "import", "two", tar]);
    let look = "cd /m && ls -ln . d | tr -s ' ' | cut -d' ' -f1,3,4,9 && cat soft && stat -c %h hard";
    let shown = |volume: &str| ok(&["run", "--rm", "-v", &format!("{volume}:/m"), "busybox", "sh", "-c", look]);
    assert_eq!(shown("two"), shown("one"));
    assert!(shown("two").contains("-rwsr-x--- 5 6 f"), "{}", shown("two"));
    // Through a pipe, both ways.
    let mut export = daemon.command();
    let mut export = export.args(["volume", "export", "one"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut import = daemon.command();
    let import = import.args(["volume", "import", "three", "-"]).stdin(export.stdout.take().unwrap()).output().unwrap();
    assert!(export.wait().unwrap().success() && import.status.success(), "{import:?}");
    assert_eq!(shown("three"), shown("one"));
    // What is cut short is refused, and nothing of it stays.
    let bytes = std::fs::read(tar).unwrap();
    let cut = daemon.dir().join("cut.tar");
    for length in [0, 700, bytes.len() - 1024, bytes.len() - 2000] {
        std::fs::write(&cut, &bytes[..length]).unwrap();
        let (code, text) = refused(&daemon, &["volume", "import", "four", cut.to_str().unwrap()]);
        assert!(code == 1, "{length}: {code} {text}");
        assert!(daemon.ok(["volume", "ls", "-q", "-f", "name=four"]).unwrap().is_empty());
    }
    let (code, text) = refused(&daemon, &["volume", "import", "two", tar]);
    assert_eq!((code, text.as_str()), (1, "volume `two` has files already: replace them with --force, or choose another name"));
    ok(&["volume", "import", "--force", "two", tar]);
    // Copies, while somebody writes.
    ok(&["run", "-d", "--name", "writer", "-v", "one:/m", "busybox", "sh", "-c", "while :; do echo x >> /m/log; done"]);
    assert_eq!(ok(&["volume", "clone", "--pause", "--label", "a=b", "one", "five"]), "five");
    assert_eq!(ok(&["inspect", "-f", "{{.State.Status}}", "writer"]), "running");
    assert_eq!(ok(&["volume", "inspect", "-f", "{{.Labels.a}}", "five"]), "b");
    let snapshot = ok(&["volume", "snapshot", "one"]);
    assert!(snapshot.starts_with("one-20"), "{snapshot}");
    assert_eq!(ok(&["volume", "inspect", "-f", "{{index .Labels \"teu.snapshot.of\"}}", &snapshot]), "one");
    assert_eq!(ok(&["volume", "ls", "-q", "-f", "label=teu.snapshot.of=one"]), snapshot);
    ok(&["rm", "-f", "writer"]);
    ok(&["create", "--name", "user", "-v", "two:/a", "-v", "two:/b", "busybox", "true"]);
    assert_eq!(ok(&["volume", "du", "--format", "{{.Name}} {{.Bytes}} {{.Files}} {{.Directories}} {{.UsedBy}}", "two"]), "two 6 4 1 user");
    let table = ok(&["volume", "du"]);
    assert!(table.starts_with("VOLUME NAME") && table.lines().count() == 6, "{table}");
    let (code, text) = refused(&daemon, &["volume", "clone", "one", "two"]);
    assert_eq!((code, text.as_str()), (1, "volume `two` exists already: choose another name, or remove it first"));
    assert_eq!(refused(&daemon, &["volume", "update", "one"]), (1, "can only update cluster volumes".to_owned()));
    assert_eq!(refused(&daemon, &["volume", "update", "none"]), (1, "get none: no such volume".to_owned()));
}

#[test]
fn a_damaged_record_is_shown_and_its_files_are_kept() {
    let mut daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    daemon.ok(["run", "--rm", "-v", "full:/m", "busybox", "touch", "/m/file"]).unwrap();
    daemon.kill().unwrap();
    let root = daemon.dir().join("root/volumes");
    std::fs::write(root.join(".records/full.json"), "damaged").unwrap();
    daemon.restart().unwrap();
    for _ in 0..2 {
        let output = daemon.teu(["volume", "ls", "-q"]).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "full\n");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            error.starts_with("WARNING: the record of volume full was damaged") && error.contains("its labels and options are lost"),
            "{error}"
        );
        daemon.kill().unwrap();
        daemon.restart().unwrap();
    }
    assert_eq!(daemon.ok(["run", "--rm", "-v", "full:/m", "busybox", "ls", "/m"]).unwrap(), "file");
    daemon.ok(["volume", "rm", "full"]).unwrap();
    assert_eq!(daemon.teu(["volume", "ls", "-q"]).unwrap().stderr, b"");
}

#[test]
fn mounted_volumes_and_held_ones_outlive_the_engine() {
    let mut daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("file"), "far\n").unwrap();
    let device = format!("device={}", host.path().display());
    daemon.ok(["volume", "create", "-o", "type=none", "-o", &device, "-o", "o=bind", "far"]).unwrap();
    daemon.ok(["run", "-d", "--name", "c1", "-v", "far:/m", "busybox", "sleep", "100000"]).unwrap();
    daemon.ok(["create", "--name", "c2", "-v", "kept:/m", "busybox", "true"]).unwrap();
    let is_mounted = || std::fs::read_to_string("/proc/mounts").unwrap().contains("/far/_data ");
    assert!(is_mounted());
    daemon.kill().unwrap();
    daemon.restart().unwrap();
    assert!(refused(&daemon, &["volume", "rm", "kept"]).1.starts_with("remove kept: volume is in use"));
    assert_eq!(daemon.ok(["exec", "c1", "cat", "/m/file"]).unwrap(), "far");
    assert!(is_mounted());
    assert!(refused(&daemon, &["volume", "rm", "-f", "far"]).1.starts_with("remove far: volume is in use"));
    daemon.ok(["rm", "-f", "c1"]).unwrap();
    daemon.ok(["volume", "rm", "far"]).unwrap();
    assert!(!is_mounted() && host.path().join("file").exists());
}

#[test]
fn a_shared_mount_moves_both_ways_and_others_are_refused() {
    let daemon = engine();
    let host = tempfile::tempdir().unwrap();
    let path = host.path().to_str().unwrap();
    let (code, text) = refused(&daemon, &["run", "--rm", "-v", &format!("{path}:/m:shared"), "busybox", "true"]);
    assert!(
        code == 125 && text.starts_with(&format!("path {path} is mounted on ")) && text.ends_with(" but it is not a shared mount"),
        "{text}"
    );
    let (code, text) = refused(&daemon, &["run", "--rm", "-v", &format!("{path}:/m:rslave"), "busybox", "true"]);
    assert!(code == 125 && text.ends_with(" but it is not a shared or slave mount"), "{text}");
    rustix::mount::mount(c"tmpfs", path, c"tmpfs", rustix::mount::MountFlags::empty(), None::<&std::ffi::CStr>).unwrap();
    rustix::mount::mount_change(path, rustix::mount::MountPropagationFlags::SHARED).unwrap();
    let sub = |name: &str| host.path().join(name);
    for name in ["inside", "outside", "below"] {
        std::fs::create_dir(sub(name)).unwrap();
    }
    rustix::mount::mount(c"tmpfs", sub("below"), c"tmpfs", rustix::mount::MountFlags::empty(), None::<&std::ffi::CStr>).unwrap();
    // What is mounted below: read-only with the rest, or not, or not there.
    let touch = |options: &str| {
        let mount = format!("type=bind,src={path},dst=/m,readonly{options}");
        daemon
            .teu([
                "run",
                "--rm",
                "--mount",
                &mount,
                "busybox",
                "sh",
                "-c",
                "touch /m/below/x 2>/dev/null && echo written; grep -c ' /m/below ' /proc/mounts",
            ])
            .unwrap()
    };
    let out = |output: std::process::Output| String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert_eq!(out(touch("")), "1");
    assert_eq!(out(touch(",bind-recursive=readonly,bind-propagation=rprivate")), "1");
    assert_eq!(out(touch(",bind-recursive=writable")), "written\n1");
    assert_eq!(out(touch(",bind-recursive=disabled")), "0");
    daemon.ok(["run", "-d", "--name", "c1", "--privileged", "-v", &format!("{path}:/m:rshared"), "busybox", "sleep", "100000"]).unwrap();
    daemon.ok(["run", "-d", "--name", "c2", "--privileged", "-v", &format!("{path}:/m:rslave"), "busybox", "sleep", "100000"]).unwrap();
    daemon.ok(["exec", "c1", "mount", "-t", "tmpfs", "tmpfs", "/m/inside"]).unwrap();
    let host_mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(host_mounts.contains(&format!("{path}/inside ")), "it moves out of a shared mount");
    rustix::mount::mount(c"tmpfs", sub("outside"), c"tmpfs", rustix::mount::MountFlags::empty(), None::<&std::ffi::CStr>).unwrap();
    for container in ["c1", "c2"] {
        assert_eq!(daemon.ok(["exec", container, "grep", "-c", " /m/outside ", "/proc/mounts"]).unwrap(), "1", "{container}");
    }
    daemon.ok(["exec", "c2", "mount", "-t", "tmpfs", "tmpfs", "/m/outside"]).unwrap();
    let again = std::fs::read_to_string("/proc/mounts").unwrap();
    assert_eq!(again.matches(&format!("{path}/outside ")).count(), 1, "it does not move out of a slave");
    daemon.ok(["rm", "-f", "c1", "c2"]).unwrap();
    rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH).unwrap();
}

/// A file with a file system, as a device of loop(4) until the end.
struct Disk(String);

impl Disk {
    fn new(folder: &Path) -> Self {
        let file = folder.join("disk");
        std::fs::File::create(&file).unwrap().set_len(16 << 20).unwrap();
        assert!(Command::new("mkfs.ext4").arg("-q").arg(&file).status().unwrap().success());
        let found = Command::new("losetup").args(["--find", "--show"]).arg(&file).output().unwrap();
        assert!(found.status.success(), "{found:?}");
        Self(String::from_utf8(found.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also after a failure, of which the test tells.
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn devices_are_mounted_and_servers_that_are_not_there_refused() {
    let daemon = engine();
    let disk = Disk::new(daemon.dir());
    let create = |name: &str, kind: &str, device: &str, o: &str| {
        let options = [format!("type={kind}"), format!("device={device}"), format!("o={o}")];
        let words = ["volume", "create"].into_iter().chain(options.iter().flat_map(|option| ["-o", option]));
        daemon.ok(words.chain([name])).unwrap();
    };
    create("disk", "ext4", &disk.0, "noatime,nosuid");
    daemon.ok(["run", "--rm", "-v", "disk:/m", "busybox", "sh", "-c", "echo kept >/m/file"]).unwrap();
    let look = "grep -o '/m ext4 ro,nosuid.*noatime' /proc/mounts; cat /m/file; ls -d /m/lost+found";
    let seen = daemon.ok(["run", "--rm", "-v", "disk:/m:ro", "busybox", "sh", "-c", look]).unwrap();
    assert_eq!(seen.split_whitespace().next_back(), Some("/m/lost+found"), "{seen}");
    assert!(seen.starts_with("/m ext4 ro,nosuid") && seen.contains("\nkept\n"), "{seen}");
    assert!(!std::fs::read_to_string("/proc/mounts").unwrap().contains("/disk/_data"), "nothing stays mounted");
    create("nfs", "nfs", ":/export", "addr=127.0.0.1,rw,nolock");
    create("cifs", "cifs", "//127.0.0.1/share", "username=a,password=secret");
    create("lost", "ext4", "/dev/nosuch", "noatime");
    // A file that is not there is 127 to Docker's command line, whoever misses it.
    for (name, expected, what, why) in [
        ("nfs", 125, "mount :/export:", ""),
        ("cifs", 125, "mount //127.0.0.1/share:", ""),
        ("lost", 127, "mount /dev/nosuch:", ": no such file or directory"),
    ] {
        let (code, text) = refused(&daemon, &["run", "--rm", "-v", &format!("{name}:/m"), "busybox", "true"]);
        let begin = format!(
            "error while mounting volume '{}/root/volumes/{name}/_data': failed to mount local volume: {what}",
            daemon.dir().display()
        );
        assert!(code == expected && text.starts_with(&begin) && text.contains(why), "{code} {text}");
        assert!(!text.contains("secret") && !text.contains("os error"), "{text}");
    }
    daemon.ok(["volume", "rm", "disk", "nfs", "cifs", "lost"]).unwrap();
}
