//! `teu daemon`: the engine's process, from its flags to its end.
//!
//! The order matters: the spawner is forked while the process has one thread and
//! holds neither lock nor socket, for its children outlive the engine and would
//! keep them; the socket comes last, so that who can connect finds all of it ready.

use crate::options::Options;
use crate::{on_demand, registries, remote, socket};
use anyhow::Context;
use engine::Engine;
use fs_err as fs;
use network::Networks;
use rustix::fs::{FlockOperation, Mode};
use rustix::process::{Resource, Rlimit};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use supervisor::spawner::Spawner;
use tokio::signal::unix::{SignalKind, signal};

/// Threads that carry requests; containers' output does not pass through them.
const WORKERS: usize = 2;
/// Threads for work that blocks, made when needed.
const BLOCKING_THREADS_MAX: usize = 32;
/// Enough for the deepest JSON value that is accepted.
const STACK_BYTES: usize = 1 << 20;

/// Runs the engine until it is told to end. Containers live on.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            let text = format!("error: {cause:#}\n");
            // Standard output is the pipe of who started the engine on demand.
            let _ = std::io::stderr().write_all(text.as_bytes());
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    let options = Options::parse(arguments)?;
    if options.detached {
        // Fails only for a session's leader, which then needs no new one.
        let _ = rustix::process::setsid();
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    anyhow::ensure!(rustix::process::geteuid().is_root(), "the engine needs to be started by root");
    // Supervisors and the first processes of containers run this file: nothing inside may write it.
    runtime::protect::own_file().context("cannot protect the engine's own file")?;
    // Before any thread, lock or socket: its children outlive this process.
    let spawner = supervisor::spawner::start().context("cannot start the spawner")?;
    let names = network::dns::Names::fork().context("cannot start the resolver")?;
    raise_descriptors();
    let _locks = (lock(&options.root, 0o710)?, lock(&options.run, 0o755)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_stack_size(STACK_BYTES)
        .thread_keep_alive(Duration::from_secs(2))
        .enable_all()
        .build()
        .context("cannot start the engine's threads")?;
    let served = runtime.block_on(serve(&options, spawner, names));
    // Acts that clients have begun end with the process; what they left is reconciled.
    runtime.shutdown_background();
    served
}

/// Allows the engine as many descriptors as it may have: clients and mounted layers take one each. Containers keep the host's
/// limit, for the spawner was there before.
fn raise_descriptors() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // What is refused is not needed until there are very many of either.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

async fn serve(options: &Options, spawner: Spawner, names: network::dns::Names) -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let images = Arc::new(image::Images::open_with(&options.root, options.storage_backend)?);
    let volumes = Arc::new(volume::Volumes::open(&options.root)?);
    let networks = Arc::new(Networks::open(network_options(options, names)?)?);
    let engine = Engine::open(engine::Options {
        root: options.root.clone(),
        run: options.run.clone(),
        cgroup_parent: options.cgroup_parent.clone(),
        spawner,
        images: Arc::clone(&images),
        networks: Arc::clone(&networks),
        volumes: Arc::clone(&volumes),
    })
    .await?;
    let closing = Arc::clone(&networks);
    let builder = builder::Builder::open(engine.clone(), Arc::clone(&images), &options.root)?;
    let app = server::App::new(engine.clone(), images, networks, volumes, builder, &options.root);
    let app = app.with_registries(registries::settings(options)?);
    let listener = match socket::inherited()? {
        Some(listener) => listener,
        None => socket::listen(&options.socket)?,
    };
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let remotes = remote::listen(&options.addresses, &options.tls)?;
    announce(options)?;
    let told = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    server::serve(listener, remotes, app, told).await;
    socket::notify("STOPPING=1");
    engine.shutdown().await;
    if let Some(path) = &options.pidfile {
        // It may be gone already.
        let _ = fs::remove_file(path);
    }
    if options.bridge.is_some() {
        // An engine beside the usual one, as tests start it, leaves nothing behind unless containers go on.
        closing.close().context("cannot clear the networks away")?;
    }
    Ok(())
}

fn network_options(options: &Options, names: network::dns::Names) -> anyhow::Result<network::Options> {
    let bridge = options.bridge.as_deref().unwrap_or("teu0");
    let address = options.bip.as_deref().map(str::parse).transpose();
    Ok(network::Options {
        data: options.root.clone(),
        run: options.run.clone(),
        bridge: bridge.parse().context("cannot use the bridge's name")?,
        address: address.context("cannot use the bridge's address")?,
        mtu: None,
        names: Some(Arc::new(names)),
    })
}

/// Tells that the engine listens: to the service manager, by a file, and to who started it on demand.
fn announce(options: &Options) -> anyhow::Result<()> {
    if let Some(path) = &options.pidfile {
        fs::write(path, format!("{}\n", std::process::id()))?;
    }
    socket::notify("READY=1");
    if options.detached {
        // Who waited may have gone away; the engine stays.
        let _ = std::io::stdout().write_all(on_demand::READY);
        let _ = std::io::stdout().flush();
        let null = fs::OpenOptions::new().write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdout(&null)?;
    }
    Ok(())
}

/// Makes a directory and holds its lock as long as the file is open.
fn lock(directory: &Path, mode: u32) -> anyhow::Result<fs::File> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(directory)
        .with_context(|| format!("cannot create `{}`", directory.display()))?;
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("engine.lock"))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("another engine uses `{}`", directory.display()))?;
    Ok(file)
}
