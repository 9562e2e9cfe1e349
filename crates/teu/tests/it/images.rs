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

/// The names in a directory and below.
fn files_below(directory: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            found.extend(files_below(&entry.path()).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

#[test]
fn archives_and_directories_are_saved_and_loaded_and_what_is_here_is_not_sent() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let place = |name: &str| daemon.dir().join(name).to_str().unwrap().to_owned();
    let (archive, layout) = (place("saved.tar"), place("saved.oci"));
    daemon.ok(["save", "-o", &archive, "busybox"]).unwrap();
    daemon.ok(["save", "--format", "oci-dir", "-o", &layout, "busybox"]).unwrap();
    let files = files_below(std::path::Path::new(&layout));
    assert_eq!(files.len(), 7, "{files:?}");
    for name in ["index.json", "manifest.json", "oci-layout", "repositories"] {
        assert!(files.iter().any(|file| file == name), "{name}");
    }
    let id = daemon.ok(["images", "-q", "--no-trunc"]).unwrap();
    for source in [&archive, &layout] {
        assert_eq!(daemon.ok(["load", "-i", source]).unwrap(), "Loaded image: busybox:latest");
        daemon.ok(["rmi", "busybox"]).unwrap();
        assert_eq!(daemon.ok(["images", "-q"]).unwrap(), "");
        assert_eq!(daemon.ok(["load", "-i", source]).unwrap(), "Loaded image: busybox:latest");
        assert_eq!(daemon.ok(["images", "-q", "--no-trunc"]).unwrap(), id);
    }
    // What is here is known by its digest: an archive whose layer is damaged is not even read.
    let layer = files
        .iter()
        .filter(|file| file.starts_with("blobs/"))
        .max_by_key(|file| std::fs::metadata(format!("{layout}/{file}")).unwrap().len())
        .unwrap();
    std::fs::write(format!("{layout}/{layer}"), "damaged").unwrap();
    daemon.ok(["load", "-i", &layout]).unwrap();
    daemon.ok(["rmi", "busybox"]).unwrap();
    let refused = daemon.teu(["load", "-i", &layout]).unwrap();
    assert!(!refused.status.success());
    assert_eq!(daemon.ok(["images", "-q"]).unwrap(), "");
    // As Docker's own CLI sends it: everything.
    if let Ok(output) = daemon.docker().args(["load", "-i", &archive]).output() {
        assert_eq!(String::from_utf8_lossy(&output.stdout), "Loaded image: busybox:latest\n");
    }
    for (words, text) in [
        (&["save", "-o", "/nosuch/x", "busybox"][..], "failed to save image: invalid output path: stat /nosuch: no such file or directory"),
        (&["save", "-o", "/tmp", "busybox"], "failed to save image: cannot write to a directory"),
        (&["save", "-o", "/dev/null", "nosuch"], "Error response from daemon: No such image: nosuch"),
        (
            &["save", "--platform", "linux/s390x", "-o", "/dev/null", "busybox"],
            "Error response from daemon: no suitable export target found for platform linux/s390x",
        ),
        (&["load", "-i", "nosuch"], "open nosuch: no such file or directory"),
        (&["import", "nosuch"], "open nosuch: no such file or directory"),
    ] {
        let output = daemon.teu(words).unwrap();
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).trim()), (Some(1), text), "{words:?}");
    }
}

#[test]
fn a_tar_is_imported_from_an_address() {
    use std::io::{Read as _, Write as _};
    let daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    let tar = std::fs::read(daemon.dir().join("busybox.tar")).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        for answer in [
            b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n".to_vec(),
            [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", tar.len()).as_bytes(), &tar].concat(),
            b"HTTP/1.1 404 Not Found\r\n\r\nno".to_vec(),
        ] {
            let (mut client, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = client.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /"));
            client.write_all(&answer).unwrap();
        }
    });
    let printed = daemon.ok(["import", "-c", "CMD [\"echo\", \"imported\"]", &format!("http://{host}/a.tar"), "remote:1"]).unwrap();
    assert!(printed.starts_with(&format!("Downloading from http://{host}/a.tar\nsha256:")), "{printed}");
    assert_eq!(daemon.ok(["run", "--rm", "--network", "none", "remote:1"]).unwrap(), "imported");
    assert_eq!(daemon.ok(["history", "--format", "{{.Comment}}", "remote:1"]).unwrap(), format!("Imported from http://{host}/a.tar"));
    let output = daemon.teu(["import", &format!("http://{host}/b.tar")]).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stderr).trim(),
        format!("Error response from daemon: failed to GET http://{host}/b.tar with status 404 Not Found: no")
    );
    server.join().unwrap();
    let output = daemon.teu(["import", &format!("http://{host}/b.tar")]).unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("onnection refused"));
}

#[test]
fn damaged_records_are_shown_and_hide_nothing_else() {
    let mut daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    daemon.ok(["create", "--name", "box", "busybox", "true"]).unwrap();
    daemon.ok(["commit", "box", "made:1"]).unwrap();
    let id = daemon.ok(["inspect", "--format", "{{.Id}}", "made:1"]).unwrap();
    daemon.kill().unwrap();
    let records = daemon.dir().join("root/images/records");
    let record = files_below(&records).into_iter().find(|name| name.contains(&id[7..])).unwrap();
    let text = std::fs::read_to_string(records.join(&record)).unwrap();
    std::fs::write(records.join(&record), text.replace("sha256", "sha512")).unwrap();
    // Also after the next start.
    for _ in 0..2 {
        daemon.restart().unwrap();
        let output = daemon.teu(["images", "--format", "{{.Repository}}"]).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "busybox\n");
        let warning = String::from_utf8(output.stderr).unwrap();
        assert!(warning.starts_with("WARNING: damaged records were set aside") && warning.contains(&id[7..]), "{warning}");
        assert!(daemon.ok(["info", "--format", "{{json .Warnings}}"]).unwrap().contains(&id[7..]));
        daemon.kill().unwrap();
    }
    daemon.restart().unwrap();
}

/// What lies in the image store, except records.
fn stored(daemon: &Daemon) -> Vec<String> {
    let directories = ["layers", "tapes", "staging", "trash"];
    let below = |name: &&str| {
        let entries = std::fs::read_dir(daemon.dir().join("root").join(name)).into_iter().flatten().flatten();
        entries.map(|entry| format!("{name}/{}", entry.file_name().display())).collect::<Vec<_>>()
    };
    let mut found: Vec<String> = directories.iter().flat_map(below).collect();
    found.sort();
    found
}

#[test]
fn a_full_disk_leaves_nothing_of_a_load_an_import_and_a_commit() {
    let daemon = Daemon::with_small_disk(crate::teu(), Network::Private, 320).unwrap();
    let place = |name: &str| daemon.dir().join(name).to_str().unwrap().to_owned();
    let shell = |line: &str| assert!(std::process::Command::new("sh").arg("-ec").arg(line).status().unwrap().success());
    // An image with one layer that does not fit, as `docker save` writes it.
    let (layer, archive) = (place("layer.tar"), place("big.tar"));
    shell(&format!(
        "cd {0}; mkdir big; head -c 280M /dev/urandom >big/file; tar -C big -cf {layer} file; d=$(sha256sum {layer} | cut -d' ' -f1); \
         echo '{{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{{}},\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:'$d'\"]}}}}' >config.json; \
         echo '[{{\"Config\":\"config.json\",\"RepoTags\":[\"big:1\"],\"Layers\":[\"layer.tar\"]}}]' >manifest.json; \
         tar -cf {archive} layer.tar config.json manifest.json",
        daemon.dir().display()
    ));
    let before = stored(&daemon);
    for words in [&["load", "-i", &archive][..], &["import", &layer, "big:1"]] {
        let output = daemon.teu(words).unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains("No space left on device"), "{words:?}: {text}");
        assert_eq!(stored(&daemon), before, "{words:?}");
        assert_eq!(daemon.ok(["images", "--format", "{{.Repository}}"]).unwrap(), "busybox");
    }
    // A container that fills more than half of the disk cannot be committed, and goes on.
    daemon.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", "head -c 150000000 /dev/urandom >/file; sleep 100000"]).unwrap();
    let grown = |size: &str| size.parse::<u64>().is_ok_and(|bytes| bytes >= 150_000_000);
    while !grown(&daemon.ok(["exec", "box", "stat", "-c", "%s", "/file"]).unwrap_or_default()) {
        std::thread::yield_now();
    }
    let output = daemon.teu(["commit", "box", "big:2"]).unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("No space left on device"), "{text}");
    assert_eq!(stored(&daemon), before);
    assert_eq!(daemon.ok(["inspect", "-f", "{{.State.Status}}", "box"]).unwrap(), "running");
    assert_eq!(daemon.ok(["images", "--format", "{{.Repository}}"]).unwrap(), "busybox");
    daemon.ok(["rm", "-f", "box"]).unwrap();
    daemon.ok(["create", "--name", "small", "busybox", "true"]).unwrap();
    daemon.ok(["commit", "small", "made:1"]).unwrap();
}
