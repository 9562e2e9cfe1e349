//! The script of commands must be answered as a Docker Engine 28.5 answered it.

use std::path::Path;
use std::process::Command;

use testkit::daemon::{Daemon, Network};
use testkit::script;

/// What the Docker Engine answered, recorded by `cargo xtask oracle HOST record`.
const RECORDED: &str = include_str!("docker.txt");

#[test]
fn our_own_cli_answers_as_docker_does() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(crate::teu(), folder.path().join("docker")).unwrap();
    compare(Some(folder.path()));
}

#[test]
fn the_unmodified_docker_cli_is_answered_as_by_docker() {
    compare(None);
}

fn compare(first_in_path: Option<&Path>) {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    let mut path = std::env::var("PATH").unwrap();
    if let Some(folder) = first_in_path {
        path = format!("{}:{path}", folder.display());
    }
    let ours = script::run(&|| {
        let mut shell = Command::new("sh");
        shell.env("DOCKER_HOST", daemon.host()).env("PATH", &path);
        shell
    })
    .unwrap();
    let differences = script::differences(&ours, &script::parse(RECORDED));
    assert!(differences.is_empty(), "{} of {} differ\n{}", differences.len(), ours.len(), differences.join("\n"));
}
