//! One script against teu and against a Docker Engine, with the same unmodified client; what differs is shown.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use testkit::busybox;
use testkit::daemon::{Daemon, Network};
use testkit::script::{self, Step};

use crate::{call, release, setup};

/// Where the recorded answers of a Docker Engine live, for tests on machines without one.
const RECORDED: &str = "crates/teu/tests/it/docker.txt";

/// Records what the Docker Engine at `host` answers.
pub(crate) fn record(host: &str) -> Result<()> {
    setup::run()?;
    let folder = crate::workspace().join("target/oracle");
    std::fs::create_dir_all(&folder)?;
    import(host, &folder)?;
    let text = script::print(&steps(host, Path::new("docker"))?);
    std::fs::write(crate::workspace().join(RECORDED), text)?;
    println!("wrote {RECORDED}");
    Ok(())
}

fn import(host: &str, folder: &Path) -> Result<()> {
    let tar = busybox::archive(folder)?;
    let docker = |words: &[&str]| call(Command::new("docker").env("DOCKER_HOST", host).args(words).stdout(Stdio::null()));
    docker(&["import", &tar.to_string_lossy(), "busybox:latest"])?;
    // What an earlier import left without a name would be seen by the script.
    docker(&["image", "prune", "-f"])
}

pub(crate) fn run(host: &str) -> Result<()> {
    setup::run()?;
    let teu = release()?;
    let daemon = Daemon::with_busybox(&teu, Network::Host)?;
    import(host, daemon.dir())?;
    let theirs = steps(host, Path::new("docker"))?;
    let mut failures = 0;
    for (name, client) in [("the Docker CLI", Path::new("docker")), ("our own CLI", &*teu)] {
        let ours = steps(&daemon.host(), client)?;
        let differences = script::differences(&ours, &theirs);
        println!("{name} on teu: {} of {} commands answer as Docker does", ours.len() - differences.len(), ours.len());
        for difference in &differences {
            println!("{difference}");
        }
        failures += differences.len();
    }
    ensure!(failures == 0, "{failures} answers differ");
    Ok(())
}

/// Runs the script with `docker` standing for `client`, aimed at `host`.
fn steps(host: &str, client: &Path) -> Result<Vec<Step>> {
    let folder = client_folder(client)?;
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    script::run(&|| {
        let mut shell = Command::new("sh");
        shell.env("DOCKER_HOST", host).env("PATH", &path).stdin(Stdio::null());
        shell
    })
}

/// A folder in which `docker` is a link to the client.
fn client_folder(client: &Path) -> Result<std::path::PathBuf> {
    let folder = crate::workspace().join("target/oracle").join(if client.is_absolute() { "own" } else { "docker" });
    std::fs::create_dir_all(&folder)?;
    let link = folder.join("docker");
    if client.is_absolute() && !link.exists() {
        std::os::unix::fs::symlink(client, link)?;
    }
    Ok(folder)
}
