//! More processes in a container.

use std::io::Write;
use std::net::Shutdown;

use supervisor::protocol::{Command, Exec, FailureKind, Outcome};
use supervisor::spawner::Spawner;

use crate::Test;
use crate::bundle::{Bundle, read_all, read_until, shell, unframe};

pub(crate) const TESTS: &[Test] = &[
    ("an_exec_has_streams_and_a_code", an_exec_has_streams_and_a_code),
    ("an_exec_takes_input", an_exec_takes_input),
    ("an_exec_without_a_client", an_exec_without_a_client),
    ("an_exec_that_fails_is_told", an_exec_that_fails_is_told),
    ("a_background_process_does_not_hold_an_exec", a_background_process),
    ("an_exec_can_be_killed", an_exec_can_be_killed),
    ("execs_end_with_the_container", execs_end_with_the_container),
];

fn an_exec_has_streams_and_a_code(spawner: &Spawner) {
    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    let (mut client, _) = bundle.engine.exec(shell("e1", "echo out; echo err >&2; exit 6"));
    assert_eq!(unframe(&read_all(&mut client)), ("out\n".to_owned(), "err\n".to_owned()));
    assert_eq!(bundle.engine.wait_for_exec("e1"), 6);
    assert_eq!(bundle.logged(), "", "output of an exec is in the log");
}

fn an_exec_takes_input(spawner: &Spawner) {
    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    let (mut client, _) = bundle.engine.exec(shell("e1", "exec cat"));
    client.write_all(b"hello\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(unframe(&read_all(&mut client)).0, "hello\n");
    assert_eq!(bundle.engine.wait_for_exec("e1"), 0);
}

fn an_exec_without_a_client(spawner: &Spawner) {
    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    let command = Command::Exec(Box::new(shell("e1", "seq 100000; exit 2")));
    assert!(matches!(bundle.engine.ask(command, &[]), Outcome::ExecStarted { .. }));
    assert_eq!(bundle.engine.wait_for_exec("e1"), 2);
}

fn an_exec_that_fails_is_told(spawner: &Spawner) {
    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    let mut exec: Exec = shell("e1", "");
    exec.process.args = vec!["nosuch".to_owned()];
    let Outcome::Failed { message, .. } = bundle.engine.ask(Command::Exec(Box::new(exec)), &[]) else { panic!() };
    assert!(message.contains("executable file not found in $PATH"), "{message}");
    let unknown = bundle.engine.ask(Command::SignalExec { exec_id: "e1".to_owned(), signal: 9 }, &[]);
    assert!(matches!(unknown, Outcome::Failed { kind: FailureKind::NotFound, .. }));
}

fn a_background_process(spawner: &Spawner) {
    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    let (mut client, _) = bundle.engine.exec(shell("e1", "sleep 1000 & echo done"));
    assert_eq!(unframe(&read_all(&mut client)).0, "done\n");
    assert_eq!(bundle.engine.wait_for_exec("e1"), 0);
}

fn an_exec_can_be_killed(spawner: &Spawner) {
    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    let (mut client, _) = bundle.engine.exec(shell("e1", "echo ready; exec sleep 1000"));
    read_until(&mut client, "ready");
    bundle.engine.tell(Command::SignalExec { exec_id: "e1".to_owned(), signal: 15 });
    assert_eq!(bundle.engine.wait_for_exec("e1"), 143);
}

fn execs_end_with_the_container(spawner: &Spawner) {
    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    let (mut client, _) = bundle.engine.exec(shell("e1", "echo ready; exec sleep 1000"));
    read_until(&mut client, "ready");
    bundle.engine.tell(Command::Signal { signal: 9, all: false });
    assert_eq!(bundle.engine.wait_for_exec("e1"), 137);
    assert_eq!(bundle.engine.wait_for_exit().code, 137);
    read_all(&mut client);
}
