//! A real engine with real supervisors in a network namespace of its own. Needs root and the
//! package `busybox-static`.
//!
//! The spawner must be forked before there are threads, so this program has a `main` of its own
//! instead of the standard harness. The second half runs under a second engine, as after a crash.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, deprecated, reason = "these are tests and their harness")]

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::spec::{NetworkMode, RestartPolicy, Signal, Spec};
use engine::{
    AttachOptions, CreateError, Engine, ErrorKind, ExecSpec, ExecStartOptions, LogsOptions, Options, RunOptions, Status, WaitCondition,
};
use image::Images;
use network::Networks;
use supervisor::spawner::{self, Spawner};
use volume::Volumes;

fn main() {
    let arguments: Vec<_> = std::env::args_os().collect();
    if arguments.first().is_some_and(|name| name == "/sbin/docker-init") {
        let _ = supervisor::init::main(arguments);
        return;
    }
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).unwrap();
    let spawners = (spawner::start().unwrap(), spawner::start().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let archive = testkit::busybox::archive(directory.path()).unwrap();
    run(directory.path(), spawners.0, async |engine, images| {
        let options = image::ImportOptions { reference: Some("busybox:latest".parse().unwrap()), ..image::ImportOptions::default() };
        images.import(std::fs::File::open(archive).unwrap(), options).unwrap();
        throw_away(&engine).await;
        refusals(&engine).await;
        life(&engine).await;
        leave_running(&engine).await;
    });
    run(directory.path(), spawners.1, async |engine, _| {
        engine.settled().await;
        find_again(&engine).await;
        remove_all(&engine, directory.path()).await;
    });
    println!("engine: all passed");
}

/// Opens an engine in a runtime of its own, whose end is like that of a killed process.
fn run(root: &Path, spawner: Spawner, test: impl AsyncFnOnce(Engine, Arc<Images>)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let images = Arc::new(Images::open(root).unwrap());
        let networks = Networks::open(network::Options {
            data: root.join("networks"),
            run: root.join("run"),
            bridge: "teuengine0".parse().unwrap(),
            address: Some("10.202.0.1/24".parse().unwrap()),
            mtu: None,
            names: None,
        });
        let engine = Engine::open(Options {
            root: root.to_owned(),
            run: root.join("run"),
            cgroup_parent: "/teu".to_owned(),
            spawner,
            images: images.clone(),
            networks: Arc::new(networks.unwrap()),
            volumes: Arc::new(Volumes::open(root).unwrap()),
        });
        test(engine.await.unwrap(), images).await;
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
}

fn shell(line: &str) -> Spec {
    let mut spec = Spec::default();
    spec.config.image = "busybox".to_owned();
    spec.config.command = Some(["sh", "-c", line].map(ToOwned::to_owned).into());
    spec
}

async fn throw_away(engine: &Engine) {
    let mut spec = shell("echo out; echo err >&2; exit 7");
    spec.host.auto_remove = true;
    let (client, mut ours) = std::os::unix::net::UnixStream::pair().unwrap();
    let options = RunOptions { name: Some("thrown".to_owned()), spec, platform: None };
    let prepared = engine.prepare_run(options).await.unwrap().unwrap();
    let attach = AttachOptions { stdout: true, stderr: true, stream: true, ..AttachOptions::default() };
    let waited = prepared.run(Some(client.into()), attach).await.unwrap();
    assert_eq!(waited.exit_code, 7);
    let mut output = Vec::new();
    ours.read_to_end(&mut output).unwrap();
    let text = String::from_utf8_lossy(&output);
    assert!(text.contains("out\n") && text.contains("err\n"), "{text:?}");
    let gone = engine.inspect("thrown").unwrap_err();
    assert_eq!(gone.to_string(), "No such container: thrown");
}

async fn refusals(engine: &Engine) {
    let unknown = engine.create(None, Spec::default(), None).await;
    assert!(unknown.is_err());
    let mut small = shell("true");
    small.host.resources.memory = 1024;
    let refused = engine.create(None, small, None).await.unwrap_err();
    assert_eq!(refused.to_string(), "Minimum memory limit allowed is 6MB");
    let mut missing = shell("true");
    missing.config.command = Some(vec!["nosuch".to_owned()]);
    let created = engine.create(Some("taken"), missing, None).await.unwrap();
    let taken = engine.create(Some("/taken"), shell("true"), None).await;
    let taken = taken.unwrap_err();
    assert!(matches!(taken, CreateError::NameInUse { .. }));
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    let failed = engine.start("taken").await.unwrap_err();
    let text = "exec: \"nosuch\": executable file not found in $PATH";
    assert!(failed.to_string().contains(text), "{failed}");
    assert_eq!(failed.exit_code(), 127);
    let view = engine.inspect(&created.id.short()).unwrap();
    assert_eq!((view.status, view.exit_code), (Status::Created, 127));
    let mut stranger = shell("true");
    stranger.config.user = "nosuch".to_owned();
    engine.create(Some("stranger"), stranger, None).await.unwrap();
    let failed = engine.start("stranger").await.unwrap_err();
    assert_eq!(failed.to_string(), "unable to find user nosuch: no matching entries in passwd file");
    engine.remove("taken", false, false).await.unwrap();
    engine.remove("stranger", false, false).await.unwrap();
}

async fn life(engine: &Engine) {
    let mut spec = shell("echo ready; exec sleep 1000");
    spec.host.network_mode = NetworkMode::None;
    engine.create(Some("lives"), spec, None).await.unwrap();
    let mut events = engine.events().listen(None, None);
    engine.start("lives").await.unwrap();
    assert_eq!(engine.start("lives").await.unwrap_err().kind(), ErrorKind::NotModified);
    let options = ExecSpec { command: ["sh", "-c", "exit 3"].map(ToOwned::to_owned).into(), ..ExecSpec::default() };
    let exec = engine.exec_create("lives", options).await.unwrap().to_string();
    let start = ExecStartOptions::default();
    engine.exec_start(&exec, start).await.unwrap();
    while events.next().await.unwrap().action != "exec_die" {}
    assert_eq!(engine.exec_inspect(&exec).await.unwrap().exit_code, Some(3));
    engine.pause("lives").await.unwrap();
    assert_eq!(engine.inspect("lives").unwrap().status, Status::Paused);
    engine.unpause("lives").await.unwrap();
    assert!(engine.stats("lives").await.unwrap().is_some());
    assert_eq!(engine.top("lives", "-o pid,comm").await.unwrap().processes.len(), 1);
    let waiting = engine.wait("lives", WaitCondition::NextExit).unwrap();
    engine.kill("lives", Signal::KILL).await.unwrap();
    assert_eq!(waiting.wait().await.unwrap().exit_code, 137);
    engine.rename("lives", "lived").await.unwrap();
    let mut logs = engine.logs("lived", LogsOptions::default()).await.unwrap();
    assert_eq!(logs.next().await.unwrap().unwrap().line, b"ready\n");
    assert!(logs.next().await.is_none());
    engine.remove("lived", false, false).await.unwrap();
}

async fn leave_running(engine: &Engine) {
    let (forever, none) = ("exec sleep 1000", RestartPolicy::No);
    let stopped = [("always", RestartPolicy::Always), ("unless-stopped", RestartPolicy::UnlessStopped)];
    for (name, policy) in [("plain", none)].into_iter().chain(stopped) {
        let mut spec = shell(forever);
        spec.host.restart_policy = policy;
        engine.create(Some(name), spec, None).await.unwrap();
        engine.start(name).await.unwrap();
    }
    for (name, _) in stopped {
        engine.stop(name, None, Some(0)).await.unwrap();
        assert_eq!(engine.inspect(name).unwrap().status, Status::Exited);
    }
    engine.create(Some("made"), shell("true"), None).await.unwrap();
    let waits = shell("read line; exit 5");
    engine.create(Some("ended"), waits, None).await.unwrap();
    engine.start("ended").await.unwrap();
    engine.wait("ended", WaitCondition::NotRunning).unwrap().wait().await.unwrap();
}

async fn find_again(engine: &Engine) {
    let status = |name: &str| engine.inspect(name).unwrap().status;
    assert_eq!(status("plain"), Status::Running);
    assert_eq!(status("unless-stopped"), Status::Exited);
    assert_eq!(status("made"), Status::Created);
    assert_eq!(status("ended"), Status::Exited);
    assert_eq!(engine.inspect("ended").unwrap().exit_code, 5);
    assert!(!engine.inspect("plain").unwrap().endpoints.is_empty());
    // It starts beside the API: an order to it is answered after that.
    let start = engine.start("always").await.unwrap_err();
    assert_eq!(start.kind(), ErrorKind::NotModified);
    engine.stop("plain", Some(Signal::KILL), None).await.unwrap();
    assert_eq!(engine.inspect("plain").unwrap().exit_code, 137);
}

async fn remove_all(engine: &Engine, root: &Path) {
    for container in engine.list() {
        let id = container.id.to_string();
        engine.remove(&id, true, true).await.unwrap();
    }
    assert!(engine.list().is_empty());
    assert_eq!(std::fs::read_dir(root.join("records")).unwrap().count(), 0);
}
