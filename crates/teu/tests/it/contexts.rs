//! Engines of other hosts: contexts, TLS with both clients, and `ssh://` through a stand-in for ssh.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use testkit::daemon::{Daemon, Network};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

fn clean(program: &Path, config: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT").env("DOCKER_CONFIG", config).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn run(program: &Path, config: &Path, args: &[&str]) -> Output {
    clean(program, config).args(args).output().unwrap()
}

fn ok(program: &Path, config: &Path, args: &[&str]) -> String {
    let output = run(program, config, args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn contexts_are_those_of_docker() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, docker) = (crate::teu(), Path::new("docker"));
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let key = folder.path().join("ca.pem");
    openssl(folder.path(), "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out ca.pem -days 2 -subj /CN=ca");
    let endpoint = format!("host=tcp://10.0.0.1:2376,ca={}", key.display());
    let steps: &[&[&str]] = &[
        &["context", "show"],
        &["context", "create", "far", "--docker", &endpoint, "--description", "far away"],
        &["context", "create", "far"],
        &["context", "create", "de fault"],
        &["context", "create", "near", "--docker", "host=unix:///tmp/near.sock"],
        &["context", "use", "near"],
        &["context", "show"],
        &["context", "ls"],
        &["context", "ls", "-q"],
        &["context", "inspect", "far", "--format", "{{.Name}} {{json .Endpoints}} {{json .TLSMaterial}}"],
        &["context", "rm", "near"],
        &["context", "update", "near", "--description", "close by"],
        &["context", "export", "far", "-"],
        &["context", "rm", "-f", "near"],
        &["context", "use", "missing"],
        &["context", "ls", "--format", "{{.Name}} {{.Current}} {{.Description}}"],
        &["context", "rm", "default"],
        &["context", "show"],
    ];
    for step in steps {
        let (left, right) = (run(ours, &a, step), run(docker, &b, step));
        if step[1] == "export" {
            assert!(left.status.success() && right.status.success());
            continue;
        }
        // The socket's path, and so the width of a column, is each one's own.
        let same = |bytes: &[u8], config: &Path| {
            let text = text(bytes).replace(&config.display().to_string(), "CONFIG").replace("/run/teu/teu.sock", "/var/run/docker.sock");
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(same(&left.stdout, &a), same(&right.stdout, &b), "{step:?}");
        assert_eq!(same(&left.stderr, &a), same(&right.stderr, &b), "{step:?}");
        assert_eq!(left.status.code(), right.status.code(), "{step:?}");
    }
    // Each reads what the other has written.
    let file = folder.path().join("far.dockercontext");
    ok(ours, &a, &["context", "export", "far", file.to_str().unwrap()]);
    ok(docker, &a, &["context", "import", "copy", file.to_str().unwrap()]);
    assert_eq!(
        ok(ours, &a, &["context", "inspect", "copy", "-f", "{{.Endpoints.docker.Host}} {{json .TLSMaterial}}"]),
        "tcp://10.0.0.1:2376 {\"docker\":[\"ca.pem\"]}"
    );
}

#[test]
fn an_engine_behind_ssh_is_reached() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // A stand-in: it forgets the options and the host and runs the command here, as sshd would there.
    let ssh = folder.path().join("ssh");
    let script =
        format!("#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\nexport DOCKER_HOST={}\nexec sh -c \"$*\"\n", daemon.host());
    std::fs::write(&ssh, script).unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(crate::teu(), folder.path().join("docker")).unwrap();
    std::os::unix::fs::symlink(crate::teu(), folder.path().join("teu")).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let docker = std::env::split_paths(&std::env::var_os("PATH").unwrap()).map(|folder| folder.join("docker")).find(|path| path.exists());
    for program in [crate::teu().to_owned(), docker.unwrap()] {
        let far = |args: &[&str]| {
            clean(&program, folder.path()).env("PATH", &path).args(["-H", "ssh://me@far.example"]).args(args).output().unwrap()
        };
        let output = far(&["run", "--rm", "busybox", "sh", "-c", "echo over; exit 3"]);
        assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("over", Some(3)), "{}", text(&output.stderr));
        assert!(far(&["ps"]).status.success());
    }
}

/// An engine that listens on TCP beside the test's own, ended with it.
struct Listening(Child);

impl Drop for Listening {
    fn drop(&mut self) {
        let _gone = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::TERM);
        let _reaped = self.0.wait();
    }
}

fn openssl(folder: &Path, script: &str) {
    let done = Command::new("sh").args(["-ec", script]).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
}

#[test]
fn tls_lets_in_only_who_has_a_certificate() {
    let folder = tempfile::Builder::new().prefix("teu-").tempdir_in("/var/tmp").unwrap();
    let keys = folder.path();
    openssl(
        keys,
        "ec() { openssl ecparam -name prime256v1 -genkey -noout -out $1; }
        ec ca-key.pem; openssl req -x509 -new -key ca-key.pem -days 2 -subj /CN=ca -out ca.pem
        ec server-key.pem; openssl req -new -key server-key.pem -subj /CN=localhost -out server.csr
        printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' > server.ext
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile server.ext -out server.pem
        ec key.pem; openssl req -new -key key.pem -subj /CN=client -out client.csr
        printf 'extendedKeyUsage=clientAuth\n' > client.ext
        openssl x509 -req -in client.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile client.ext -out cert.pem",
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let notify = std::os::unix::net::UnixDatagram::bind(keys.join("notify")).unwrap();
    notify.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let open = Command::new(crate::teu())
        .args(["daemon", "-H", "tcp://0.0.0.0:1", "--root"])
        .arg(keys.join("r0"))
        .arg("--run")
        .arg(keys.join("x0"))
        .output()
        .unwrap();
    assert!(text(&open.stderr).contains("--tlsverify"), "an open port is refused: {}", text(&open.stderr));
    let bridge = format!("teu-t{}", std::process::id() % 100_000);
    let mut command = Command::new(crate::teu());
    command.arg("daemon").arg("--root").arg(keys.join("root")).arg("--run").arg(keys.join("run")).args(["--bridge", &bridge, "-H"]);
    command.arg(format!("tcp://127.0.0.1:{port}")).args(["--tlsverify", "--tlscacert"]).arg(keys.join("ca.pem"));
    command.arg("--tlscert").arg(keys.join("server.pem")).arg("--tlskey").arg(keys.join("server-key.pem"));
    let _engine = Listening(command.env("NOTIFY_SOCKET", keys.join("notify")).spawn().unwrap());
    let mut told = [0; 64];
    let length = notify.recv(&mut told).unwrap();
    assert!(told[..length].starts_with(b"READY=1"));
    let tar = testkit::busybox::archive(keys).unwrap();
    let host = format!("tcp://127.0.0.1:{port}");
    let empty = keys.join("empty");
    std::fs::create_dir(&empty).unwrap();
    for program in [crate::teu(), Path::new("docker")] {
        let with_keys = |args: &[&str]| {
            let mut command = clean(program, &empty);
            command.env("DOCKER_HOST", &host).env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", keys).args(args).output().unwrap()
        };
        assert!(with_keys(&["import", tar.to_str().unwrap(), "busybox:latest"]).status.success());
        let output = with_keys(&["run", "--rm", "--network", "none", "busybox", "seq", "100000"]);
        assert_eq!(text(&output.stdout).lines().count(), 100_000, "{}", text(&output.stderr));
        let mut piped = clean(program, &empty);
        piped.env("DOCKER_HOST", &host).env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", keys);
        let mut child = piped
            .args(["run", "-i", "--rm", "--network", "none", "busybox", "wc", "-c"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &vec![b'x'; 500_000]).unwrap();
        assert_eq!(text(&child.wait_with_output().unwrap().stdout), "500000");
        let without = clean(program, &empty).args(["--tls", "-H", &host, "ps"]).output().unwrap();
        assert!(!without.status.success(), "one without a certificate is not let in");
        let endpoint = format!("host={host},ca={0}/ca.pem,cert={0}/cert.pem,key={0}/key.pem", keys.display());
        ok(program, &empty, &["context", "create", program.file_name().unwrap().to_str().unwrap(), "--docker", &endpoint]);
        assert!(run(program, &empty, &["--context", program.file_name().unwrap().to_str().unwrap(), "ps"]).status.success());
    }
}
