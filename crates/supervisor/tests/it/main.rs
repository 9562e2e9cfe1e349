//! Real supervisors with real containers. Needs root and the package `busybox-static`.
//!
//! The spawner must be forked before there are threads, and a supervisor's own program is what
//! `--init` puts into the container; so this program has a `main` of its own instead of the
//! standard harness. It takes parts of test names as arguments, as that does.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::wildcard_enum_match_arm, reason = "these are tests and their harness")]

mod attach;
mod bundle;
mod connection;
mod end;
mod exec;
mod log;
mod terminal;

use std::process::ExitCode;
use std::sync::Mutex;

use supervisor::spawner::Spawner;

/// A test by its name.
pub(crate) type Test = (&'static str, fn(&Spawner));

/// Tests that run at once; most of them wait for the kernel.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if arguments.first().is_some_and(|name| name == "/sbin/docker-init") {
        return supervisor::init::main(arguments);
    }
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let module = format!("mod {};", name.trim_end_matches(".rs"));
        let listed = name == "main.rs" || include_str!("main.rs").contains(&module);
        assert!(listed, "{name} is forgotten");
    }
    let spawner = supervisor::spawner::start().unwrap();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let all = [attach::TESTS, connection::TESTS, end::TESTS, exec::TESTS, log::TESTS, terminal::TESTS];
    let matches = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    let tests: Vec<Test> = all.concat().into_iter().filter(|(name, _)| matches(name)).collect();
    if std::env::args().any(|argument| argument == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let queue = Mutex::new(tests.into_iter());
    let failed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = queue.lock().unwrap().next();
            let Some((name, test)) = next else { break };
            let result = std::panic::catch_unwind(|| test(&spawner));
            println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
            if result.is_err() {
                failed.lock().unwrap().push(name);
            }
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().unwrap();
    println!("failed: {failed:?}");
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
