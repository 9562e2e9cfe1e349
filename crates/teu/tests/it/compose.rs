//! Projects of several containers: one engine, many scenarios, each a project of its own. The table's columns are what is
//! called, the exit code, and what the output says and does not say.

use std::path::Path;
use std::process::Output;

use testkit::daemon::{Daemon, Network};

/// A project in a folder of its own.
struct Project<'a> {
    daemon: &'a Daemon,
    folder: tempfile::TempDir,
}

impl<'a> Project<'a> {
    fn new(daemon: &'a Daemon, file: &str) -> Self {
        let project = Self { daemon, folder: tempfile::tempdir().unwrap() };
        project.write("compose.yaml", file);
        project
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        self.daemon.command().arg("compose").args(args).current_dir(self.path()).output().unwrap()
    }

    /// Both streams of a call that must succeed.
    fn ok(&self, args: &[&str]) -> String {
        let (code, text) = self.call(args);
        assert_eq!(code, 0, "compose {args:?}\n{text}");
        text
    }

    fn call(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), text)
    }

    /// What a call prints on standard output.
    fn out(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "compose {args:?}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    fn ids(&self) -> String {
        self.out(&["ps", "-aq"])
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        let _gone_already = self.run(&["down", "-t", "0", "-v", "--remove-orphans"]);
    }
}

fn engine() -> Daemon {
    Daemon::with_busybox(crate::teu(), Network::Private).unwrap()
}

/// Two services, of which one needs the other, with a volume.
const PAIR: &str = r#"
name: pair
services:
  web:
    image: busybox:latest
    command: sh -c "echo from web; exec sleep 1000"
    init: true
    depends_on: [db]
    volumes: [data:/data]
  db:
    image: busybox:latest
    command: sleep 1000
    init: true
volumes:
  data:
"#;

#[test]
fn a_project_lives_and_ends() {
    let daemon = engine();
    let project = Project::new(&daemon, PAIR);
    let text = project.ok(&["up", "-d"]);
    for line in
        [" Network pair_default Created", " Volume pair_data Created", " Container pair-db-1 Started", " Container pair-web-1 Started"]
    {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.find("db-1 Started").unwrap() < text.find("web-1 Starting").unwrap(), "{text}");
    // What is up already stays as it is.
    let before = project.ids();
    let text = project.ok(&["up", "-d"]);
    assert_eq!(text, " Container pair-db-1 Running \n Container pair-web-1 Running \n");
    assert_eq!(project.ids(), before);
    assert_eq!(project.out(&["up", "-d", "--dry-run"]), "");
    // Each calls on its own, in the order of use.
    let table = project.out(&["ps"]);
    assert!(table.contains("pair-web-1") && table.contains("SERVICE"), "{table}");
    assert_eq!(project.out(&["ps", "--services"]), "db\nweb");
    assert_eq!(project.out(&["logs", "web"]), "web-1  | from web");
    assert_eq!(project.out(&["logs", "--no-log-prefix", "web"]), "from web");
    assert_eq!(
        project.out(&["exec", "-T", "web", "sh", "-c", "echo $HOSTNAME | wc -c; ping -c1 -q db >/dev/null && echo seen"]),
        "13\nseen"
    );
    assert_eq!(project.call(&["exec", "-T", "web", "sh", "-c", "exit 7"]).0, 7);
    assert!(project.out(&["top", "web"]).contains("sleep 1000"));
    assert!(project.out(&["images"]).contains("busybox"));
    assert!(project.out(&["ls"]).contains("running(2)"));
    assert_eq!(project.out(&["volumes", "-q"]), "pair_data");
    project.write("in", "file");
    project.ok(&["cp", "in", "web:/tmp/in"]);
    assert_eq!(project.out(&["exec", "-T", "web", "cat", "/tmp/in"]), "file");
    project.ok(&["pause", "web"]);
    assert!(project.out(&["ps", "--status", "paused", "-q"]).len() == 64);
    project.ok(&["unpause", "web"]);
    let text = project.ok(&["stop"]);
    assert!(text.find("web-1 Stopped").unwrap() < text.find("db-1 Stopping").unwrap(), "dependents first: {text}");
    assert_eq!(project.out(&["ps", "-q"]), "");
    project.ok(&["start"]);
    project.ok(&["restart", "-t", "0"]);
    project.ok(&["kill", "web"]);
    assert!(project.ok(&["rm", "-f", "web"]).contains("Removed"));
    let text = project.ok(&["down", "-v"]);
    assert!(text.contains("Volume pair_data Removed") && text.contains("Network pair_default Removed"), "{text}");
    assert_eq!(daemon.ok(["ps", "-aq"]).unwrap(), "");
    assert!(project.ok(&["down"]).contains("No resource found to remove for project \"pair\"."));
}

#[test]
fn only_what_differs_is_made_anew_and_the_plan_says_why() {
    let daemon = engine();
    let project = Project::new(&daemon, PAIR);
    project.ok(&["up", "-d"]);
    let id = |service: &str| project.out(&["ps", "-q", service]);
    let (web, db) = (id("web"), id("db"));
    project.write("compose.yaml", &PAIR.replace("exec sleep 1000\"", "exec sleep 999\"\n    environment: {A: b}"));
    let plan = project.out(&["up", "-d", "--dry-run"]);
    assert!(plan.contains("recreate Container pair-web-1: command"), "{plan}");
    assert!(plan.contains("environment is new") && !plan.contains("db"), "{plan}");
    assert_eq!(id("web"), web, "a dry run changes nothing");
    project.ok(&["up", "-d"]);
    assert!(id("web") != web && id("db") == db);
    // Scale up, and down again.
    project.ok(&["up", "-d", "--scale", "db=3"]);
    assert_eq!(id("db").lines().count(), 3);
    project.ok(&["scale", "db=1"]);
    assert_eq!(id("db"), db);
    project.ok(&["up", "-d", "--force-recreate", "--no-deps", "db"]);
    assert_ne!(id("db"), db);
    // A service that is gone from the file is an orphan.
    project.write("compose.yaml", "name: pair\nservices:\n  db: {image: busybox:latest, command: sleep 1000, init: true}\n");
    let text = project.ok(&["up", "-d"]);
    assert!(text.contains("Found orphan containers ([pair-web-1])"), "{text}");
    assert!(project.ok(&["up", "-d", "--remove-orphans"]).contains("Container pair-web-1 Removed"));
}

#[test]
fn a_recreation_that_was_cut_off_is_finished_by_the_next_up() {
    let daemon = engine();
    let project = Project::new(&daemon, PAIR);
    project.ok(&["up", "-d"]);
    let old = project.out(&["ps", "-q", "db"]);
    let label = |name: &str| format!("com.docker.compose.{name}");
    let hash = daemon.ok(["inspect", "-f", &format!("{{{{index .Config.Labels \"{}\"}}}}", label("config-hash")), &old]).unwrap();
    let labels = [
        ("project", "pair"),
        ("service", "db"),
        ("container-number", "1"),
        ("oneoff", "False"),
        ("config-hash", hash.as_str()),
        ("replace", old.as_str()),
    ];
    // As a crash leaves it: the new one is made, the old one is still there.
    let name = format!("{}_pair-db-1", &old[..12]);
    let mut words = vec!["create".to_owned(), format!("--name={name}"), "--network=pair_default".to_owned()];
    words.extend(labels.iter().map(|(key, value)| format!("--label={}={value}", label(key))));
    words.extend(["busybox", "sleep", "1000"].map(str::to_owned));
    daemon.ok(&words).unwrap();
    project.ok(&["up", "-d"]);
    assert_eq!(project.out(&["ps", "-aq", "db"]), old, "the old one goes on");
    // As a crash leaves it a moment later: the old one is gone, only the name is missing.
    daemon.ok(&words).unwrap();
    daemon.ok(["rm", "-f", &old]).unwrap();
    let text = project.ok(&["up", "-d"]);
    assert!(text.contains("Container pair-db-1 Started"), "{text}");
    assert!(daemon.ok(["ps", "-a", "--format", "{{.Names}}"]).unwrap().lines().all(|name| !name.contains('_')));
    assert_eq!(project.out(&["up", "-d", "--dry-run"]), "");
}

#[test]
fn dependencies_are_waited_for() {
    let daemon = engine();
    let project = Project::new(
        &daemon,
        r#"
name: waits
services:
  db:
    image: busybox:latest
    command: sh -c "sleep 0.3; touch /ready; exec sleep 1000"
    init: true
    healthcheck: {test: [CMD, test, -e, /ready], interval: 100ms, start_interval: 100ms, start_period: 10s}
  job:
    image: busybox:latest
    command: sh -c "echo job done"
    depends_on: {db: {condition: service_healthy}}
  web:
    image: busybox:latest
    command: sh -c "exec sleep 1000"
    init: true
    depends_on: {job: {condition: service_completed_successfully}}
"#,
    );
    let text = project.ok(&["up", "-d"]);
    let place = |line: &str| text.find(line).unwrap_or_else(|| panic!("{line} is not in\n{text}"));
    assert!(place("Container waits-db-1 Healthy") < place("Container waits-job-1 Starting"));
    assert!(place("Container waits-job-1 Exited") < place("Container waits-web-1 Starting"));
    // A job that has done its work is not done again, and `--wait` counts it as ready.
    let finished = daemon.ok(["inspect", "-f", "{{.State.FinishedAt}}", "waits-job-1"]).unwrap();
    project.ok(&["up", "--wait"]);
    assert_eq!(daemon.ok(["inspect", "-f", "{{.State.FinishedAt}}", "waits-job-1"]).unwrap(), finished);
    drop(project);
    // What fails is told, and what needs it does not start.
    for (name, check, command, says) in [
        ("sick", "[CMD, 'false']", "sleep 1000", "dependency failed to start: container sick-db-1 is unhealthy"),
        ("dead", "[CMD, 'true']", "sh -c 'exit 3'", "dependency failed to start: container dead-db-1 exited (3)"),
    ] {
        let file = format!(
            "name: {name}\nservices:\n  db:\n    image: busybox:latest\n    command: {command}\n    healthcheck: {{test: {check}, interval: 50ms, retries: 1}}\n  web:\n    image: busybox:latest\n    command: sleep 1000\n    depends_on: {{db: {{condition: service_healthy}}}}\n"
        );
        let project = Project::new(&daemon, &file);
        let (code, text) = project.call(&["up", "-d"]);
        assert!(code == 1 && text.contains(says), "{text}");
        assert_eq!(project.out(&["ps", "-q", "web"]), "");
    }
}

#[test]
fn an_attached_up_ends_with_its_containers() {
    let daemon = engine();
    let project = Project::new(
        &daemon,
        r#"
name: attached
services:
  long: {image: busybox:latest, command: sleep 1000, init: true}
  test: {image: busybox:latest, command: sh -c "echo one; echo two >&2; exit 5"}
"#,
    );
    let output = project.run(&["up", "--exit-code-from", "test"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(text.contains("Attaching to long-1, test-1\n") && text.contains("test-1  | one\n"), "{text}");
    assert!(text.contains("test-1 exited with code 5\n"), "{text}");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("test-1  | two\n") && errors.contains("Aborting on container exit..."), "{errors}");
    assert_eq!(project.out(&["ps", "-q"]), "", "all have ended");
    project.write(
        "compose.yaml",
        "name: attached\nservices:\n  a: {image: busybox:latest, command: echo a}\n  b: {image: busybox:latest, command: echo b}\n",
    );
    let (code, text) = project.call(&["up", "--remove-orphans"]);
    assert!(code == 0 && text.contains("a-1  | a\n") && text.contains("b-1  | b\n"), "{text}");
}

#[test]
fn a_one_off_container_is_the_service_but_for_its_words() {
    let daemon = engine();
    let project = Project::new(&daemon, PAIR);
    let output =
        project.run(&["run", "--rm", "-T", "-e", "A=1", "web", "sh", "-c", "echo $A; ping -c1 -q db >/dev/null && echo seen; exit 4"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\nseen\n", "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(project.out(&["ps", "-a", "--services"]), "db", "only what it needs is up");
    let id = project.out(&["run", "-d", "--no-deps", "--name", "single", "db", "sleep", "1000"]);
    assert_eq!(
        daemon.ok(["inspect", "-f", "{{index .Config.Labels \"com.docker.compose.oneoff\"}}", id.lines().last().unwrap()]).unwrap(),
        "True"
    );
}

#[test]
fn images_are_built_and_secrets_and_configs_are_seen() {
    let daemon = engine();
    let project = Project::new(
        &daemon,
        r#"
name: parts
services:
  app:
    build: {context: app, args: {WORD: built}}
    command: sh -c 'cat /word /run/secrets/token /etc/app.conf; echo; wc -c /run/secrets/told'
    secrets: [token, told]
    configs: [{source: conf, target: /etc/app.conf}]
    environment: {TOLD: not seen}
  twin:
    build: {context: app, args: {WORD: built}}
    command: cat /word
secrets:
  token: {file: token}
  told: {environment: HOME}
configs:
  conf: {content: "conf\n"}
"#,
    );
    project.write("app/Dockerfile", "FROM busybox\nARG WORD\nRUN echo $WORD >/word\n");
    project.write("token", "token\n");
    project.ok(&["build"]);
    let images = daemon.ok(["images", "--format", "{{.Repository}} {{.ID}}"]).unwrap();
    let of = |name: &str| {
        images.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap_or_else(|| panic!("{images}")).to_owned()
    };
    assert_eq!(of("parts-app"), of("parts-twin"), "one definition is built once");
    let text = project.ok(&["up", "--no-build"]);
    for (name, word) in [("app-1", "built"), ("app-1", "token"), ("app-1", "conf"), ("twin-1", "built")] {
        let found = text.lines().any(|line| line.starts_with(name) && line.ends_with(&format!("| {word}")));
        assert!(found, "{name} | {word} is not in\n{text}");
    }
    assert!(project.ok(&["down", "--rmi", "local"]).contains("Image parts-app Removed"));
}

#[test]
fn what_is_wrong_is_said_with_dockers_exit_codes() {
    let daemon = engine();
    let project = Project::new(&daemon, PAIR);
    for (args, code, says) in [
        (&["up", "-d", "nobody"][..], 1, "no such service: nobody"),
        (&["exec", "-T", "web", "true"], 1, "service \"web\" is not running"),
        (&["up", "--scale", "web"], 1, "invalid --scale option"),
        (&["down", "--rmi", "some"], 1, "invalid value for --rmi"),
        (&["up", "--watch"], 125, "--watch: not served"),
        (&["ps", "--status", "odd"], 1, "invalid status: odd"),
        (&["-f", "missing.yaml", "ps"], 1, "missing.yaml"),
        (&["frobnicate"], 1, "unknown docker command: \"compose frobnicate\""),
        (&["kill", "--dry-run"], 1, "--dry-run is not served"),
    ] {
        let (got, text) = project.call(args);
        assert!(got == code && text.contains(says), "compose {args:?}: {got}\n{text}");
    }
    // An image that nobody has, and an external network that is not there.
    project.write("compose.yaml", "services: {a: {image: 'nobody.invalid/none:1', pull_policy: never}}");
    let (code, text) = project.call(&["up", "-d"]);
    assert!(code == 1 && text.contains("No such image: nobody.invalid/none:1"), "{text}");
    project.write("compose.yaml", "services: {a: {image: busybox, networks: [out]}}\nnetworks: {out: {external: true}}");
    let (code, text) = project.call(&["up", "-d"]);
    assert!(code == 1 && text.contains("network out declared as external, but could not be found"), "{text}");
}

#[test]
fn a_process_that_ignores_its_signal_is_named_at_once() {
    let daemon = engine();
    let file = "name: deaf\nservices:\n  a: {image: busybox:latest, command: sleep 1000, stop_grace_period: 1s}\n  b: {image: busybox:latest, command: sleep 1000, init: true}\n";
    let project = Project::new(&daemon, file);
    project.ok(&["up", "-d"]);
    let text = project.ok(&["down"]);
    let warning = "Container deaf-a-1: its first process (`sleep 1000`) ignores SIGTERM and will be killed after 1 s";
    assert!(text.contains(warning) && !text.contains("deaf-b-1: its"), "{text}");
    assert!(text.find(warning).unwrap() < text.find("deaf-a-1 Stopping").unwrap(), "{text}");
}

#[test]
fn it_is_called_docker_compose_too_and_is_a_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("cli-plugins/docker-compose");
    std::fs::create_dir_all(name.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(crate::teu(), &name).unwrap();
    let call = |args: &[&str]| {
        let output = std::process::Command::new(&name).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(call(&["version"]).starts_with("Docker Compose version v"));
    assert!(call(&["docker-cli-plugin-metadata"]).contains("\"SchemaVersion\":\"0.1.0\""));
    let daemon = engine();
    let project = Project::new(&daemon, PAIR);
    let docker = |args: &[&str]| {
        let output =
            daemon.docker().env("DOCKER_CONFIG", folder.path()).arg("compose").args(args).current_dir(project.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    docker(&["up", "-d"]);
    assert_eq!(docker(&["ps", "--services"]), "db\nweb\n");
}

/// The main job: WordPress behind TLS, from Debian's packages. The base system is kept in the target folder.
#[test]
fn the_inception_stack_comes_up_and_answers() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian");
    let base = testkit::debian::archive(&folder).unwrap();
    let daemon = Daemon::start(crate::teu(), Network::Host).unwrap();
    daemon.ok(["import", &base.to_string_lossy(), testkit::debian::IMAGE]).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/inception/.");
    assert!(std::process::Command::new("cp").arg("-a").arg(source).arg(copy.path()).status().unwrap().success());
    assert!(std::process::Command::new(copy.path().join("make-secrets")).status().unwrap().success());
    // A port that nobody has: the listener is closed just before it is used.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site = format!("https://localhost:{port}");
    let compose = |args: &[&str]| {
        let mut command = daemon.command();
        command.arg("compose").args(args).current_dir(copy.path()).env("HTTPS_PORT", port.to_string()).env("SITE_URL", &site);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "compose {args:?}\n{text}");
        text
    };
    let curl = |args: &[&str], page: &str| {
        let output =
            std::process::Command::new("curl").args(["-ksS", "--max-time", "20"]).args(args).arg(format!("{site}{page}")).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    compose(&["up", "--build", "--quiet-build", "--wait"]);
    let (_, page) = curl(&["--fail", "--location"], "/?p=1");
    assert!(page.contains("<title>Hello world! &#8211; Inception</title>"), "{page}");
    assert!(!curl(&["--tls-max", "1.1"], "/").0, "TLS 1.1 is spoken");
    assert!(curl(&["--fail", "--tlsv1.3"], "/").0);
    assert!(!curl(&["--fail"], "/.version").0, "files with a point are nobody's business");
    // No password is in an image or in what is known of a container.
    let secret = std::fs::read_to_string(copy.path().join("secrets/db_password")).unwrap();
    for name in ["mariadb", "wordpress", "nginx"] {
        let image = daemon.ok(["image", "inspect", &format!("inception/{name}:1")]).unwrap();
        let container = daemon.ok(["inspect", &format!("inception-{name}-1")]).unwrap();
        assert!(!image.contains(&secret) && !container.contains(&secret), "{name} shows a password");
    }
    // What was written outlives the containers, and what is up stays up.
    compose(&["down"]);
    let text = compose(&["up", "--wait"]);
    assert!(!text.contains("Volume inception_database Created"), "{text}");
    assert!(curl(&["--fail", "--location"], "/?p=1").1.contains("Hello world!"));
    compose(&["down", "--volumes"]);
}
