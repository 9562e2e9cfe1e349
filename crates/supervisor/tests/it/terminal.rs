//! Clients of terminals.

use std::io::{Read, Write};

use supervisor::protocol::{Attach, Command, DetachKeys, Event};
use supervisor::spawner::Spawner;

use crate::Test;
use crate::bundle::{Bundle, everything, read_all, read_until, shell};

pub(crate) const TESTS: &[Test] = &[
    ("a_terminal_has_a_size_and_can_be_resized", resize),
    ("all_output_of_a_terminal_is_logged", all_output_of_a_terminal_is_logged),
    ("detach_keys_let_the_client_go", detach_keys_let_the_client_go),
    ("keys_that_only_begin_like_detach_keys_are_input", keys_that_only_begin),
    ("an_exec_has_a_terminal_of_its_own", an_exec_has_a_terminal_of_its_own),
];

fn terminal(spawner: &Spawner, script: &str) -> Bundle {
    let (folder, mut launch) = Bundle::prepare(script);
    launch.spec.process.as_mut().unwrap().terminal = true;
    Bundle::launch(spawner, (folder, launch))
}

fn raw() -> Attach {
    Attach { multiplexed: false, ..everything() }
}

fn resize(spawner: &Spawner) {
    let script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut bundle = terminal(spawner, script);
    let mut client = bundle.engine.attach(raw());
    bundle.engine.tell(Command::Start);
    read_until(&mut client, "ready");
    bundle.engine.tell(Command::Resize { exec_id: None, width: 132, height: 43 });
    read_until(&mut client, "43 132");
}

fn all_output_of_a_terminal_is_logged(spawner: &Spawner) {
    let mut bundle = terminal(spawner, "seq 20000; printf end");
    bundle.engine.tell(Command::Start);
    bundle.engine.wait_for_exit();
    let expected: String = (1..=20_000).map(|n| format!("{n}\r\n")).collect();
    assert!(bundle.logged() == expected + "end", "the log is not complete");
}

fn detach_keys_let_the_client_go(spawner: &Spawner) {
    let mut bundle = terminal(spawner, "stty -echo; echo ready; exec cat");
    let mut client = bundle.engine.attach(Attach { keep_open: true, ..raw() });
    bundle.engine.tell(Command::Start);
    read_until(&mut client, "ready");
    client.write_all(b"before\n\x10\x11after\n").unwrap();
    let rest = String::from_utf8(read_all(&mut client)).unwrap();
    assert!(!rest.contains("after"), "{rest}");
    let exec_id = bundle.engine.wait_for(|event| match event {
        Event::Detached { exec_id } => Some(exec_id),
        _ => None,
    });
    assert_eq!(exec_id, None);
    let mut again = bundle.engine.attach(raw());
    again.write_all(b"still here\n").unwrap();
    read_until(&mut again, "still here");
}

fn keys_that_only_begin(spawner: &Spawner) {
    let mut bundle = terminal(spawner, "stty raw -echo; echo ready; exec cat");
    let keys = DetachKeys::parse("a,b,c").unwrap();
    let mut client = bundle.engine.attach(Attach { detach_keys: keys, ..raw() });
    bundle.engine.tell(Command::Start);
    read_until(&mut client, "ready");
    client.write_all(b"abxab").unwrap();
    client.write_all(b"y").unwrap();
    read_until(&mut client, "abxaby");
    client.write_all(b"zabc").unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains('a'), "{rest}");
}

fn an_exec_has_a_terminal_of_its_own(spawner: &Spawner) {
    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    let script = "trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut exec = shell("e1", script);
    exec.process.terminal = true;
    exec.attach.multiplexed = false;
    let (mut client, _) = bundle.engine.exec(exec);
    read_until(&mut client, "ready");
    let exec_id = Some("e1".to_owned());
    bundle.engine.tell(Command::Resize { exec_id, width: 99, height: 33 });
    read_until(&mut client, "33 99");
    assert_eq!(bundle.engine.wait_for_exec("e1"), 4);
}
