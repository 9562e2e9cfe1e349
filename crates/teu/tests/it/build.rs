//! Builds of real Dockerfiles in real containers.

use std::path::Path;

use testkit::daemon::{Daemon, Network};

/// A context in a directory of its own.
fn context(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    directory
}

fn build(daemon: &Daemon, directory: &Path, args: &[&str]) -> (bool, String) {
    let output = daemon.command().arg("build").args(args).arg(directory).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

const STAGES: &str = r#"# syntax=docker/dockerfile:1
ARG BASE=busybox
FROM $BASE AS build
ARG VERSION=1
ENV GREETING="hello world"
WORKDIR /src
COPY . .
RUN echo "$GREETING $VERSION" > /out && ls >> /out
RUN <<EOF
echo more >> /out
EOF
FROM busybox AS unneeded
RUN false
FROM scratch
COPY --from=build /out /
COPY --from=0 --chmod=u=rw,go= --chown=5:6 /src/hello.txt /sub/
COPY <<EOF /inline
text
EOF
LABEL a=b
EXPOSE 80/tcp
CMD ["/bin/x"]
"#;

#[test]
fn stages_files_and_configuration_become_an_image() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let files = [("Dockerfile", STAGES), ("hello.txt", "hi"), ("x.log", "no"), (".dockerignore", "*.log\nDockerfile\n")];
    let directory = context(&files);
    let (done, text) = build(&daemon, directory.path(), &["-t", "made:1", "--build-arg", "VERSION=7", "--label", "c=d"]);
    assert!(done, "{text}");
    assert!(!text.contains("unneeded"), "a stage that nobody needs is not built: {text}");
    let read = |file: &str| {
        daemon
            .ok(["run", "--rm", "--mount", "type=image,source=made:1,target=/i", "busybox", "sh", "-c", &format!("cat /i/{file}")])
            .unwrap()
    };
    assert_eq!(read("out"), "hello world 7\nhello.txt\nmore");
    assert_eq!(read("inline"), "text");
    let stat = ["run", "--rm", "--mount", "type=image,source=made:1,target=/i", "busybox", "stat", "-c", "%a %u %g", "/i/sub/hello.txt"];
    assert_eq!(daemon.ok(stat).unwrap(), "600 5 6");
    let config = daemon
        .ok(["image", "inspect", "-f", "{{json .Config.Labels}} {{json .Config.Cmd}} {{json .Config.ExposedPorts}}", "made:1"])
        .unwrap();
    assert_eq!(config, r#"{"a":"b","c":"d"} ["/bin/x"] {"80/tcp":{}}"#);
}

#[test]
fn a_step_is_done_again_only_when_what_it_depends_on_differs() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let file = "FROM busybox\nCOPY a /a\nRUN cat /a > /b\nCOPY c /c\n";
    let directory = context(&[("Dockerfile", file), ("a", "1"), ("c", "2")]);
    let cached = |args: &[&str]| {
        let (done, text) = build(&daemon, directory.path(), args);
        assert!(done, "{text}");
        text.matches("CACHED").count()
    };
    assert_eq!(cached(&[]), 0);
    assert_eq!(cached(&[]), 3);
    assert_eq!(cached(&["--no-cache"]), 0);
    // Equal size and time, other content.
    let path = directory.path().join("a");
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, "3").unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    assert_eq!(cached(&[]), 0);
    std::fs::write(directory.path().join("c"), "4").unwrap();
    assert_eq!(cached(&[]), 2);
}

#[test]
fn mounts_of_run_serve_and_leave_nothing_in_the_image() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let file = "FROM busybox
RUN --mount=type=cache,target=/cache,sharing=locked echo $(ls /cache | wc -l) > /count; touch /cache/$RANDOM
RUN --mount=type=secret,id=pass cat /run/secrets/pass | wc -c > /length
RUN --mount=type=secret,id=pass,env=PASS test \"$PASS\" = geheim
RUN --mount=type=bind,source=in,target=/in cat /in/f > /copy
RUN --mount=type=tmpfs,target=/fast touch /fast/x
";
    let directory = context(&[("Dockerfile", file), ("in/f", "bound"), ("pass", "geheim")]);
    let secret = format!("id=pass,src={}", directory.path().join("pass").display());
    let (done, text) = build(&daemon, directory.path(), &["-t", "m", "--secret", &secret]);
    assert!(done, "{text}");
    let (done, text) = build(&daemon, directory.path(), &["-t", "m", "--no-cache", "--secret", &secret]);
    assert!(done, "{text}");
    let script = "cat /count /length /copy; echo; ls -d /cache /run/secrets /in /fast 2>/dev/null; true";
    assert_eq!(daemon.ok(["run", "--rm", "m", "sh", "-c", script]).unwrap(), "1\n6\nbound");
}

#[test]
fn failures_name_the_line_and_leave_nothing() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    for (file, expected) in [
        ("FROM busybox\nRUN exit 3\n", "The command '/bin/sh -c exit 3' returned a non-zero code: 3 (dockerfile line 2)"),
        ("FROM busybox\n\nCOPY nope /\n", "dockerfile line 3: COPY nope /: \"/nope\": not found"),
        ("FROM busybox\nCOPY ../../../etc/hostname /\n", "\"/etc/hostname\": not found"),
        ("FROM busybox\nRUUN x\n", "dockerfile parse error on line 2: unknown instruction: RUUN (did you mean RUN?)"),
        ("FROM 127.0.0.1:1/none\n", "127.0.0.1:1"),
        ("FROM busybox\nCOPY --from=later /x /\nFROM busybox AS later\n", "dockerfile line 2"),
    ] {
        let directory = context(&[("Dockerfile", file)]);
        let target = if file.contains("later") { vec!["--target", "0"] } else { vec![] };
        let (done, text) = build(&daemon, directory.path(), &target);
        assert!(!done && text.contains(expected), "{file}: {text}");
    }
    assert_eq!(daemon.ok(["ps", "-aq"]).unwrap(), "");
    let work = std::fs::read_dir(daemon.dir().join("root/build/work")).unwrap().count();
    assert_eq!(work, 0, "no context is left");
}

#[test]
fn triggers_archives_and_the_unmodified_client() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let base = context(&[("Dockerfile", "FROM busybox\nONBUILD COPY f /f\nONBUILD RUN cat /f > /g\n")]);
    let (done, text) = build(&daemon, base.path(), &["-t", "base"]);
    assert!(done, "{text}");
    let child = context(&[("Dockerfile", "FROM base\nADD a.tar.gz /unpacked/\n"), ("f", "from trigger")]);
    let tar = std::process::Command::new("tar").args(["-czf", "a.tar.gz", "f"]).current_dir(child.path()).status().unwrap();
    assert!(tar.success());
    let output = daemon.docker().env("DOCKER_BUILDKIT", "0").args(["build", "-t", "child"]).arg(child.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("Successfully built ") && text.contains("Successfully tagged child:latest"), "{text}");
    assert_eq!(daemon.ok(["run", "--rm", "child", "cat", "/g", "/unpacked/f"]).unwrap(), "from triggerfrom trigger");
}

#[test]
fn an_open_directory_is_built_from_in_place() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let ignore = "**/*.log\nsecret\n!secret/shown\n";
    let files = [
        ("Dockerfile", "FROM busybox\nCOPY . /all\nCOPY --from=extra . /extra\nRUN find /all /extra | sort > /list\n"),
        (".dockerignore", ignore),
        ("a.log", "no"),
        ("b", "yes"),
        ("secret/hidden", "no"),
        ("secret/shown", "yes"),
        ("empty/x.log", "no"),
    ];
    let directory = context(&files);
    let extra = context(&[("e", "more")]);
    let named = format!("extra={}", extra.path().display());
    let (done, text) = build(&daemon, directory.path(), &["-t", "m", "--build-context", &named]);
    assert!(done, "{text}");
    let list = daemon.ok(["run", "--rm", "m", "cat", "/list"]).unwrap();
    let expected = "/all\n/all/.dockerignore\n/all/Dockerfile\n/all/b\n/all/empty\n/all/secret\n/all/secret/shown\n/extra\n/extra/e";
    assert_eq!(list, expected);
    let left = std::fs::read_dir(daemon.dir().join("root/build/work")).unwrap().count();
    assert_eq!(left, 0, "nothing is left of the build");
}

#[test]
fn errors_show_the_lines_and_the_checks_find() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let wrong = context(&[("Dockerfile", "FROM busybox\nCOPY --chwon=1 a /\n")]);
    let (done, text) = build(&daemon, wrong.path(), &[]);
    assert!(!done && text.contains("Dockerfile:2:6\n") && text.contains("   2 | >>> COPY --chwon=1 a /\n"), "{text}");
    assert!(text.contains("unknown flag: --chwon (did you mean chown?)"), "{text}");
    let failing = context(&[("Dockerfile", "FROM busybox\nRUN echo before; exit 7\n")]);
    let (done, text) = build(&daemon, failing.path(), &[]);
    assert!(!done && text.contains("before\n------\nDockerfile:2:1\n"), "{text}");
    let file = "FROM busybox as Base\nENV a b\nCMD run $x\n";
    let checked = context(&[("Dockerfile", file)]);
    let (done, text) = build(&daemon, checked.path(), &[]);
    assert!(done && text.contains(" 4 warnings found") && text.contains(" - LegacyKeyValueFormat: "), "{text}");
    let output = daemon.command().args(["build", "--check"]).arg(checked.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text.starts_with("Check complete, 4 warnings have been found!\n"), "{text}");
    let output = daemon.command().args(["build", "--call", "outline,format=json"]).arg(checked.path()).output().unwrap();
    let outline: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(outline["name"], "base");
    let strict = context(&[("Dockerfile", "# check=error=true\nFROM busybox\nENV a b\n")]);
    let (done, text) = build(&daemon, strict.path(), &[]);
    assert!(!done && text.contains("lint violation found for rules: LegacyKeyValueFormat"), "{text}");
}

#[test]
fn results_go_where_they_shall() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let directory = context(&[("Dockerfile", "FROM scratch\nCOPY f /d/f\n"), ("f", "text")]);
    let out = tempfile::tempdir().unwrap();
    let at = |name: &str| out.path().join(name).display().to_string();
    let outputs = [
        format!("type=local,dest={}", at("files")),
        format!("type=tar,dest={}", at("files.tar")),
        format!("type=oci,dest={}", at("image.tar")),
    ];
    let mut args: Vec<String> = outputs.iter().flat_map(|output| ["-o".to_owned(), output.clone()]).collect();
    args.extend(["--iidfile".to_owned(), at("id"), "--metadata-file".to_owned(), at("metadata"), "-t".to_owned(), "r:1".to_owned()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (done, text) = build(&daemon, directory.path(), &args);
    assert!(done, "{text}");
    assert_eq!(std::fs::read_to_string(out.path().join("files/d/f")).unwrap(), "text");
    let listed = std::process::Command::new("tar").args(["-tf", &at("files.tar")]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("d/f"));
    let listed = std::process::Command::new("tar").args(["-tf", &at("image.tar")]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("index.json"));
    let id = std::fs::read_to_string(out.path().join("id")).unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&std::fs::read(out.path().join("metadata")).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.config.digest"], id.as_str());
    assert_eq!(metadata["image.name"], "r:1");
    assert_eq!(daemon.ok(["ps", "-aq"]).unwrap(), "");
    let (done, text) = build(&daemon, directory.path(), &["-o", "type=nothing"]);
    assert!(!done && text.contains("invalid output type"), "{text}");
}

#[test]
fn repositories_and_addresses_are_sources() {
    use std::io::{Read as _, Write as _};
    let daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    let repository = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let names = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"];
        let mut command = std::process::Command::new("git");
        let done = command.args(arguments).current_dir(repository.path()).envs(names.map(|name| (name, "t@example.com"))).status();
        assert!(done.unwrap().success(), "{arguments:?}");
    };
    std::fs::create_dir(repository.path().join("sub")).unwrap();
    std::fs::write(repository.path().join("sub/Dockerfile"), "FROM scratch\nCOPY f /f\n").unwrap();
    std::fs::write(repository.path().join("sub/f"), "from git").unwrap();
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "one"]);
    git(&["update-server-info"]);
    // A server of files: what git calls the dumb protocol needs no more.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let root = repository.path().to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
            let file = path
                .strip_prefix("/repo.git/")
                .map_or_else(|| root.join(path.trim_start_matches('/')), |rest| root.join(".git").join(rest));
            let answer = match std::fs::read(file) {
                Ok(bytes) => {
                    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len()).into_bytes(), bytes]
                        .concat()
                }
                Err(_) => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
            };
            let _ = stream.write_all(&answer);
        }
    });
    let address = format!("http://127.0.0.1:{port}");
    let output = daemon.command().args(["build", "-t", "g", &format!("{address}/repo.git#main:sub")]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = format!(
        "FROM busybox\nADD {address}/sub/f /fetched/\nADD --keep-git-dir {address}/repo.git /all\nRUN test -d /all/.git && cat /all/sub/f /fetched/f > /both\n"
    );
    let directory = context(&[("Dockerfile", &file)]);
    let (done, text) = build(&daemon, directory.path(), &["-t", "a"]);
    assert!(done, "{text}");
    assert_eq!(daemon.ok(["run", "--rm", "a", "cat", "/both"]).unwrap(), "from gitfrom git");
    for (line, expected) in [
        (format!("ADD --checksum=sha256:00 {address}/sub/f /f"), "digest mismatch"),
        (format!("ADD {address}/nothing /f"), "invalid response status 404"),
        (format!("ADD {address}/none.git /f"), "cannot fetch"),
        (format!("ADD --checksum=0000000 {address}/repo.git /f"), "expected checksum to match"),
    ] {
        let directory = context(&[("Dockerfile", &format!("FROM busybox\n{line}\n"))]);
        let (done, text) = build(&daemon, directory.path(), &[]);
        assert!(!done && text.contains(expected), "{line}: {text}");
    }
}

#[test]
fn fifty_builds_at_once_do_a_step_once() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let directory =
        context(&[("Dockerfile", "FROM busybox\nRUN head -c 16 /dev/urandom | od -An -tx1 > /random\nCOPY f /f\n"), ("f", "x")]);
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=86400"];
    let start = || {
        let mut command = daemon.command();
        command.args(["build", "-q"]).args(epoch).arg(directory.path());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<_> = (0..50).map(|_| start()).collect();
    let mut images = std::collections::BTreeSet::new();
    for build in running {
        let output = build.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        images.insert(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    assert_eq!(images.len(), 1, "{images:?}");
    let created = ["image", "inspect", "-f", "{{.Created}}", images.first().unwrap()];
    assert_eq!(daemon.ok(created).unwrap(), "1970-01-02T00:00:00Z");
    assert_eq!(daemon.ok(["ps", "-aq"]).unwrap(), "");
}
