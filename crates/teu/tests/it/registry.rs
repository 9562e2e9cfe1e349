//! Pulling and pushing with a real registry.

use std::path::Path;
use std::process::{Command, Output};

use testkit::daemon::{Daemon, Network};
use testkit::registry::{Access, PASSWORD, Registry, USER};

/// An engine and a registry in the same network, and a folder for a client's settings.
struct Bench {
    daemon: Daemon,
    registry: Registry,
    config: tempfile::TempDir,
}

impl Bench {
    fn new(access: Access) -> Self {
        let daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
        Self { daemon, registry: Registry::start(access).unwrap(), config: tempfile::tempdir().unwrap() }
    }

    fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.registry.address())
    }

    fn run(&self, mut command: Command, args: &[&str]) -> Output {
        command.env("DOCKER_CONFIG", self.config.path()).env_remove("DOCKER_AUTH_CONFIG").args(args).output().unwrap()
    }

    fn teu(&self, args: &[&str]) -> Output {
        self.run(self.daemon.command(), args)
    }

    fn ok(&self, args: &[&str]) -> String {
        out(&self.teu(args), args)
    }

    fn docker(&self, args: &[&str]) -> String {
        out(&self.run(self.daemon.docker(), args), args)
    }

    fn fails(&self, args: &[&str]) -> String {
        let output = self.teu(args);
        assert!(!output.status.success(), "{args:?} should fail");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn out(output: &Output, args: &[&str]) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn digest_of(push: &str) -> String {
    let line = push.lines().find(|line| line.contains(": digest: ")).expect("a push ends with a digest");
    line.split(' ').nth(2).unwrap().to_owned()
}

#[test]
fn what_is_pushed_is_pulled_run_and_read_by_others() {
    let bench = Bench::new(Access::Open);
    let name = bench.name("some/box:1");
    bench.ok(&["tag", "busybox", &name]);
    let id = bench.ok(&["inspect", "-f", "{{.Id}}", &name]);
    let pushed = bench.ok(&["push", &name]);
    let digest = digest_of(&pushed);
    assert!(pushed.contains(": Pushed\n"), "{pushed}");
    assert!(bench.ok(&["push", &name]).contains(": Layer already exists\n"));
    // Another repository of the registry gets the blobs without their bytes.
    let other = bench.name("other:1");
    bench.ok(&["tag", "busybox", &other]);
    assert!(bench.ok(&["push", &other]).contains(": Mounted from some/box\n"));
    bench.ok(&["rmi", &name, &other, "busybox"]);
    let pulled = bench.ok(&["pull", &name]);
    for line in ["1: Pulling from some/box\n", ": Pulling fs layer\n", ": Pull complete\n", &format!("Digest: {digest}\n")] {
        assert!(pulled.contains(line), "{line}: {pulled}");
    }
    assert!(pulled.ends_with(&format!("Status: Downloaded newer image for {name}\n{name}\n")), "{pulled}");
    assert_eq!(bench.ok(&["inspect", "-f", "{{.Id}}", &name]), id);
    let repository = bench.name("some/box");
    assert_eq!(bench.ok(&["inspect", "-f", "{{index .RepoDigests 0}}", &name]), format!("{repository}@{digest}\n"));
    // An unchanged image costs one request.
    let before = bench.registry.log().matches("response completed").count();
    let again = bench.ok(&["pull", &name]);
    assert!(again.contains(&format!("Status: Image is up to date for {name}\n")), "{again}");
    assert_eq!(bench.registry.log().matches("response completed").count(), before + 1);
    // By digest, by the unmodified client, and by another program.
    bench.ok(&["rmi", &name]);
    let by_digest = format!("{repository}@{digest}");
    assert!(bench.docker(&["pull", &by_digest]).contains(&format!("Status: Downloaded newer image for {by_digest}\n")));
    bench.docker(&["tag", &by_digest, &bench.name("docker:1")]);
    assert_eq!(digest_of(&bench.docker(&["push", &bench.name("docker:1")])), digest);
    let seen = Command::new("skopeo").args(["inspect", "--tls-verify=false", &format!("docker://{name}")]).output().unwrap();
    assert!(String::from_utf8_lossy(&seen.stdout).contains(&digest), "{seen:?}");
    // All tags, and an image that a container needs.
    bench.ok(&["tag", &by_digest, &bench.name("some/box:2")]);
    bench.ok(&["push", "-a", &repository]);
    bench.ok(&["rmi", "-f", id.trim()]);
    let all = bench.ok(&["pull", "-a", &repository]);
    assert!(all.contains("1: Pulling from some/box\n") && all.contains("2: Pulling from some/box\n"), "{all}");
    bench.ok(&["rmi", "-f", id.trim()]);
    let ran = bench.teu(&["run", "--rm", &name, "echo", "hello"]);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "hello\n", "{ran:?}");
    assert!(
        String::from_utf8_lossy(&ran.stderr).starts_with(&format!("Unable to find image '{name}' locally\n1: Pulling from some/box\n"))
    );
    let never = bench.fails(&["run", "--rm", "--pull", "never", &bench.name("none:1"), "true"]);
    assert!(never.contains("No such image"), "{never}");
    assert_eq!(bench.ok(&["pull", "-q", &name]), format!("{name}\n"));
}

#[test]
fn failures_are_told_as_docker_tells_them() {
    let bench = Bench::new(Access::Open);
    let (none, name) = (bench.name("none:1"), bench.name("box:1"));
    let unknown = format!("Error response from daemon: manifest for {none} not found: manifest unknown: manifest unknown\n");
    assert_eq!(bench.fails(&["pull", &none]), unknown);
    assert_eq!(bench.fails(&["push", &none]), format!("An image does not exist locally with the tag: {}\n", bench.name("none")));
    bench.ok(&["tag", "busybox", &bench.name("none:2")]);
    assert_eq!(bench.fails(&["push", &none]), format!("tag does not exist: {none}\n"));
    assert_eq!(bench.fails(&["pull", "-a", &name]), "tag can't be used with --all-tags/-a\n");
    assert_eq!(bench.fails(&["pull", "Abc"]), "invalid reference format: repository name (library/Abc) must be lowercase\n");
    // Nobody listens on a port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = format!("Get \"http://{free}/v2/\": dial tcp {free}: connect: connection refused\n");
    assert_eq!(bench.fails(&["pull", &format!("{free}/x")]), format!("Error response from daemon: {refused}"));
}

#[test]
fn accounts_are_asked_for_kept_and_forgotten() {
    let bench = Bench::new(Access::Account);
    let (name, address) = (bench.name("box:1"), bench.registry.address().to_owned());
    bench.ok(&["tag", "busybox", &name]);
    assert!(bench.fails(&["push", &name]).contains("no basic auth credentials"));
    let wrong = bench.fails(&["login", "-u", USER, "-p", "wrong", &address]);
    assert!(wrong.contains(&format!("login attempt to http://{address}/v2/ failed with status: 401 Unauthorized\n")), "{wrong}");
    let mut login = bench.daemon.command();
    login.env("DOCKER_CONFIG", bench.config.path()).args(["login", "-u", USER, "--password-stdin", &address]);
    let mut child = login
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{PASSWORD}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Login Succeeded\n", "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("WARNING! Your credentials are stored unencrypted in"));
    bench.ok(&["push", &name]);
    bench.ok(&["rmi", &name]);
    // The file is Docker's own, in both directions.
    bench.docker(&["pull", &name]);
    bench.ok(&["logout", &address]);
    assert!(bench.fails(&["pull", "-a", &bench.name("box")]).contains("no basic auth credentials"));
    helpers(&bench, &address, &name);
}

/// Credentials in a helper program instead of the file.
fn helpers(bench: &Bench, address: &str, name: &str) {
    let folder = bench.config.path().join("bin");
    std::fs::create_dir(&folder).unwrap();
    let kept = bench.config.path().join("kept");
    let script = format!(
        "#!/bin/sh\ncase $1 in\nstore) cat >{0};;\nget) cat {0} 2>/dev/null || {{ echo credentials not found in native keychain; exit 1; }};;\nerase) rm -f {0};;\nesac\n",
        kept.display()
    );
    write_program(&folder.join("docker-credential-test"), &script);
    std::fs::write(bench.config.path().join("config.json"), r#"{"credsStore": "test"}"#).unwrap();
    let run = |args: &[&str]| {
        let mut command = bench.daemon.command();
        command.env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap()));
        bench.run(command, args)
    };
    assert!(!run(&["pull", "-q", "-a", &bench.name("box")]).status.success());
    let login = run(&["login", "-u", USER, "-p", PASSWORD, address]);
    assert_eq!(String::from_utf8_lossy(&login.stdout), "Login Succeeded\n", "{login:?}");
    assert!(std::fs::read_to_string(&kept).unwrap().contains(PASSWORD));
    assert!(!std::fs::read_to_string(bench.config.path().join("config.json")).unwrap().contains(PASSWORD));
    let pulled = run(&["pull", "-q", name]);
    assert!(pulled.status.success(), "{pulled:?}");
    assert!(run(&["logout", address]).status.success() && !kept.exists());
}

fn write_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn lists_of_manifests_are_made_annotated_and_pulled_by_platform() {
    let bench = Bench::new(Access::Open);
    let (one, two, list) = (bench.name("one:1"), bench.name("two:1"), bench.name("list:1"));
    for name in [&one, &two] {
        bench.ok(&["tag", "busybox", name]);
        bench.ok(&["push", "-q", name]);
    }
    assert_eq!(bench.ok(&["manifest", "create", &list, &one, &two]), format!("Created manifest list {list}\n"));
    assert!(bench.fails(&["manifest", "create", &list, &one]).contains("refusing to amend an existing manifest list with no --amend flag"));
    bench.ok(&["manifest", "annotate", "--arch", "arm64", "--variant", "v8", &list, &two]);
    assert!(bench.fails(&["manifest", "annotate", "--arch", "none", &list, &two]).contains("unsupported os/arch combination: /none"));
    let shown = bench.ok(&["manifest", "inspect", &list]);
    let pushed = bench.ok(&["manifest", "push", "--purge", &list]);
    let digest = pushed.lines().last().unwrap();
    assert!(pushed.contains("Pushed ref ") && digest.starts_with("sha256:"), "{pushed}");
    assert_eq!(bench.ok(&["manifest", "inspect", &list]), shown);
    assert!(bench.ok(&["manifest", "inspect", "-v", &list]).contains("\"architecture\": \"arm64\""));
    let pulled = bench.ok(&["pull", "--platform", "linux/arm64", &list]);
    assert!(pulled.contains(&format!("Digest: {digest}\n")), "{pulled}");
    // The unmodified client reads the same list.
    let seen = bench.run(bench.daemon.docker(), &["manifest", "inspect", "--insecure", &list]);
    assert_eq!(String::from_utf8_lossy(&seen.stdout), shown, "{seen:?}");
    let missing = bench.fails(&["pull", "--platform", "linux/s390x", &list]);
    assert!(missing.contains("no matching manifest for linux/s390x in the manifest list entries"), "{missing}");
    assert!(bench.fails(&["manifest", "rm", &list]).contains("No such manifest: "));
}

/// Writes an OCI layout with an index of two platforms and an attestation of each; gives the index's digest.
fn layout(at: &Path) -> String {
    use serde_json::json;
    use testkit::faulty::{digest, tar};
    let blobs = at.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8], kind: &str| {
        let digest = digest(bytes);
        std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes).unwrap();
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    };
    let (manifest_kind, config_kind) = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json");
    let mut entries = Vec::new();
    let mut attestations = Vec::new();
    for architecture in ["arm64", "amd64"] {
        let tar = tar("architecture", architecture.as_bytes());
        let layer = put(&tar, "application/vnd.oci.image.layer.v1.tar");
        let config = json!({"architecture": architecture, "os": "linux", "config": {"Cmd": ["x"]}, "rootfs": {"type": "layers", "diff_ids": [digest(&tar)]}});
        let manifest = json!({"schemaVersion": 2, "mediaType": manifest_kind, "config": put(config.to_string().as_bytes(), config_kind), "layers": [layer]});
        let mut entry = put(manifest.to_string().as_bytes(), manifest_kind);
        entry["platform"] = json!({"architecture": architecture, "os": "linux"});
        let statement = put(format!("{{\"subject\":\"{architecture}\"}}").as_bytes(), "application/vnd.in-toto+json");
        let about = json!({"schemaVersion": 2, "mediaType": manifest_kind, "config": put(b"{}", config_kind), "layers": [statement]});
        let mut attestation = put(about.to_string().as_bytes(), manifest_kind);
        attestation["platform"] = json!({"architecture": "unknown", "os": "unknown"});
        attestation["annotations"] =
            json!({"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": entry["digest"]});
        entries.push(entry);
        attestations.push(attestation);
    }
    entries.extend(attestations);
    let index_kind = "application/vnd.oci.image.index.v1+json";
    let top = put(json!({"schemaVersion": 2, "mediaType": index_kind, "manifests": entries}).to_string().as_bytes(), index_kind);
    std::fs::write(at.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
    std::fs::write(at.join("index.json"), json!({"schemaVersion": 2, "manifests": [top]}).to_string()).unwrap();
    top["digest"].as_str().unwrap().to_owned()
}

#[test]
#[allow(clippy::too_many_lines, reason = "one scene, told once")]
fn an_index_goes_through_the_store_with_all_platforms_and_attestations() {
    let bench = Bench::new(Access::Open);
    let (name, other) = (bench.name("multi:1"), bench.name("other:1"));
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let digest = layout(&directory.path().join("layout"));
    let skopeo = |args: &[&str]| {
        let output = Command::new("skopeo").arg("--insecure-policy").args(args).output().unwrap();
        out(&output, args)
    };
    skopeo(&[
        "copy",
        "--all",
        "--preserve-digests",
        "--dest-tls-verify=false",
        &format!("oci:{}", path("layout")),
        &format!("docker://{name}"),
    ]);
    // This host's platform, then another one beside it; the name stays with this host's.
    let platform = |args: &[&str]| bench.ok(&[&["image", "inspect", "-f", "{{.Architecture}}"], args].concat());
    assert!(bench.ok(&["pull", &name]).contains(&format!("Digest: {digest}\n")));
    assert_eq!(platform(&[&name]), "amd64\n");
    let tree = bench.ok(&["image", "ls", "--tree"]);
    assert!(tree.contains("├─ linux/arm64") && tree.contains("not here") && tree.contains("└─ attestation of "), "{tree}");
    let arm = bench.ok(&["pull", "--platform", "linux/arm64", &name]);
    assert!(arm.contains(&format!("Status: Downloaded newer image for {name}\n")), "{arm}");
    assert!(bench.ok(&["pull", "--platform", "linux/arm64", &name]).contains(&format!("Status: Image is up to date for {name}\n")));
    assert_eq!((platform(&[&name]), platform(&["--platform", "linux/arm64", &name])), ("amd64\n".to_owned(), "arm64\n".to_owned()));
    let none = bench.fails(&["image", "inspect", "--platform", "linux/s390x", &name]);
    assert!(none.contains("its platform (linux/amd64) does not match the specified platform (linux/s390x)"), "{none}");
    assert_eq!(bench.ok(&["images", "-q", &name]).lines().count(), 1);
    let id = bench.ok(&["create", "--platform", "linux/arm64", &name]);
    assert_eq!(
        bench.ok(&["inspect", "-f", "{{.Image}}", id.trim()]),
        bench.ok(&["image", "inspect", "-f", "{{.Id}}", "--platform", "linux/arm64", &name])
    );
    let held = bench.fails(&["rmi", &name]);
    assert!(held.contains("is using its referenced image"), "{held}");
    bench.ok(&["rm", id.trim()]);
    // What is not here is in the repository, so a push leaves the index as it is; elsewhere it is left out.
    assert_eq!(digest_of(&bench.ok(&["push", &name])), digest);
    bench.ok(&["tag", &name, &other]);
    let less = bench.ok(&["push", &other]);
    assert!(less.contains("it is left out") && digest_of(&less) != digest, "{less}");
    // Everything, and everything again from an archive, in another engine.
    let all = bench.ok(&["pull", "--platform", "all", &name]);
    assert!(all.contains("Platform: linux/arm64\n"), "{all}");
    bench.ok(&["tag", &name, &other]);
    assert_eq!(digest_of(&bench.ok(&["push", &other])), digest);
    bench.ok(&["save", "-o", &path("all.tar"), &name]);
    let second = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    assert_eq!(second.ok(["load", "-i", &path("all.tar")]).unwrap(), format!("Loaded image: {name}"));
    let third = bench.name("third:1");
    second.ok(["tag", &name, &third]).unwrap();
    let pushed = second.ok(["push", &third]).unwrap();
    assert!(pushed.contains(": digest: "), "{pushed}");
    // Others read it: as an index with all its platforms.
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{third}")]);
    assert_eq!(raw.matches("\"architecture\"").count(), 4, "{raw}");
    skopeo(&["copy", "--all", "--src-tls-verify=false", &format!("docker://{third}"), &format!("oci:{}", path("third"))]);
    skopeo(&["copy", &format!("oci-archive:{}:{}", path("all.tar"), "1"), &format!("dir:{}", path("fourth"))]);
    // The API: platforms, attestations, the registry's own answer.
    let get = |path: &str| -> serde_json::Value {
        let output =
            Command::new("curl").args(["-s", "--unix-socket"]).arg(bench.daemon.socket()).arg(format!("http://teu{path}")).output();
        serde_json::from_slice(&output.unwrap().stdout).unwrap()
    };
    let manifests = get(&format!("/v1.49/images/{name}/json?manifests=1"));
    assert_eq!(manifests["Descriptor"]["digest"], digest.as_str(), "{manifests}");
    let kinds: Vec<&str> = manifests["Manifests"].as_array().unwrap().iter().map(|entry| entry["Kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["image", "image", "attestation", "attestation"]);
    assert!(manifests["Manifests"].as_array().unwrap().iter().all(|entry| entry["Available"] == true), "{manifests}");
    let distribution = get(&format!("/v1.49/distribution/{name}/json"));
    assert_eq!(distribution["Descriptor"]["digest"], digest.as_str());
    assert!(bench.docker(&["image", "ls", "--tree"]).contains("linux/arm64"));
    // One platform goes, then all.
    bench.ok(&["rmi", "--platform", "linux/amd64", &name]);
    assert_eq!(platform(&[&name]), "arm64\n");
    bench.ok(&["rmi", "-f", &name, &other]);
    assert!(!bench.ok(&["images", "-a"]).contains("multi"));
    assert!(bench.ok(&["image", "verify"]).ends_with(", 0 faults\n"));
}

/// Signs as cosign does, with openssl: a payload and its signature in a manifest at the tag of the digest.
struct Signer {
    directory: tempfile::TempDir,
}

impl Signer {
    fn new() -> Self {
        let signer = Self { directory: tempfile::tempdir().unwrap() };
        signer.openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &signer.path("key.pem")]);
        signer.openssl(&["ec", "-in", &signer.path("key.pem"), "-pubout", "-out", &signer.path("key.pub")]);
        signer
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    fn openssl(&self, args: &[&str]) {
        let output = Command::new("openssl").args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
    }

    /// The payload's bytes and its signature in base64.
    fn sign(&self, name: &str, digest: &str) -> (String, String) {
        let payload = serde_json::json!({"critical": {
            "identity": {"docker-reference": name}, "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature"}, "optional": null});
        std::fs::write(self.path("payload"), payload.to_string()).unwrap();
        self.openssl(&["dgst", "-sha256", "-sign", &self.path("key.pem"), "-out", &self.path("signature"), &self.path("payload")]);
        self.openssl(&["base64", "-A", "-in", &self.path("signature"), "-out", &self.path("base64")]);
        (payload.to_string(), std::fs::read_to_string(self.path("base64")).unwrap())
    }

    /// Puts the signature into the repository, at cosign's tag.
    fn push(&self, repository: &str, digest: &str, (payload, signature): &(String, String)) {
        use serde_json::json;
        use testkit::faulty::digest as digest_of;
        let at = self.directory.path().join("layout");
        let blobs = at.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let put = |bytes: &str, kind: &str| {
            let digest = digest_of(bytes.as_bytes());
            std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes).unwrap();
            json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
        };
        let mut layer = put(payload, "application/vnd.dev.cosign.simplesigning.v1+json");
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature});
        let config = json!({"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}).to_string();
        let manifest_kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": manifest_kind, "layers": [layer],
            "config": put(&config, "application/vnd.oci.image.config.v1+json")});
        let top = put(&manifest.to_string(), manifest_kind);
        std::fs::write(at.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
        std::fs::write(at.join("index.json"), json!({"schemaVersion": 2, "manifests": [top]}).to_string()).unwrap();
        let target = format!("docker://{repository}:{}.sig", digest.replace(':', "-"));
        let source = format!("oci:{}", at.display());
        let args = ["--insecure-policy", "copy", "--preserve-digests", "--dest-tls-verify=false", &source, &target];
        let output = Command::new("skopeo").args(args).output().unwrap();
        out(&output, &args);
    }
}

#[test]
fn images_that_the_policy_wants_signed_are_pulled_only_with_a_good_signature() {
    let bench = Bench::new(Access::Open);
    let (signer, stranger) = (Signer::new(), Signer::new());
    let (repository, name) = (bench.name("team/app"), bench.name("team/app:1"));
    bench.ok(&["tag", "busybox", &name]);
    let digest = digest_of(&bench.ok(&["push", &name]));
    bench.ok(&["rmi", &name]);
    let policy = |requirement: serde_json::Value| {
        let scope = bench.name("team");
        let text = serde_json::json!({"default": [{"type": "reject"}], "transports": {"docker": {scope: [requirement]}}});
        std::fs::write(bench.daemon.dir().join("policy.json"), text.to_string()).unwrap();
    };
    let signed_by = |signer: &Signer, identity: &str| serde_json::json!({"type": "sigstoreSigned", "keyPath": signer.path("key.pub"), "signedIdentity": {"type": identity}});
    let layers =
        || bench.registry.log().lines().filter(|line| line.contains("/blobs/") && line.contains("http.request.method=GET")).count();
    policy(signed_by(&signer, "matchRepository"));
    let before = layers();
    // Nothing but manifests was asked for.
    let unsigned = bench.fails(&["pull", &name]);
    let expected = format!("the signature policy asks for a signature of {name}, but {digest} has none in its repository\n");
    assert!(unsigned.ends_with(&expected), "{unsigned}");
    assert_eq!(layers(), before);
    let rejected = bench.fails(&["pull", &bench.name("other:1")]);
    assert!(rejected.ends_with(&format!("the signature policy rejects {}\n", bench.name("other:1"))), "{rejected}");
    // Signatures that do not count: another key, another digest, another repository, a changed payload.
    let other = testkit::faulty::digest(b"other");
    let (payload, _) = signer.sign(&repository, &other);
    for (signature, reason) in [
        (stranger.sign(&repository, &digest), "signature 1: it was made with another key, or its payload was changed".to_owned()),
        (signer.sign(&repository, &other), format!("signature 1: it is for the digest {other}")),
        (signer.sign("elsewhere/app", &digest), "signature 1: it is for the name `elsewhere/app`".to_owned()),
        ((payload.replace(&other, &digest), signer.sign(&repository, &other).1), "or its payload was changed".to_owned()),
        (("{".to_owned(), "?".to_owned()), "it makes no sense: it is not in base64".to_owned()),
    ] {
        signer.push(&repository, &digest, &signature);
        let refused = bench.fails(&["pull", &name]);
        assert!(refused.contains(&format!("no signature of {name} ({digest}) counts: ")) && refused.contains(&reason), "{refused}");
    }
    assert!(!bench.ok(&["images"]).contains("team/app"));
    // A good one; the repository without its tag, as cosign signs, is not the exact name.
    signer.push(&repository, &digest, &signer.sign(&repository, &digest));
    policy(signed_by(&signer, "matchExact"));
    let exact = bench.fails(&["pull", &name]);
    assert!(exact.contains("which has no tag: `\"signedIdentity\": {\"type\": \"matchRepository\"}` accepts that"), "{exact}");
    policy(signed_by(&signer, "matchRepository"));
    let ran = bench.teu(&["run", "--rm", &name, "echo", "trusted"]);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "trusted\n", "{ran:?}");
    // What is here already is looked at again where the policy has changed.
    policy(signed_by(&stranger, "matchRepository"));
    assert!(bench.fails(&["pull", &name]).contains("it was made with another key"));
    // A file that makes no sense lets nothing pass.
    policy(serde_json::json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}));
    let wrong = bench.fails(&["pull", &name]);
    assert!(wrong.contains("makes no sense: unknown variant `signedBy`"), "{wrong}");
}
