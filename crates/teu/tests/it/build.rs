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
