//! Clients without a terminal.

use std::io::{Read, Write};
use std::net::Shutdown;

use supervisor::protocol::{Attach, Command, Stdin};
use supervisor::spawner::Spawner;

use crate::Test;
use crate::bundle::{Bundle, everything, read_all, read_until, unframe};

pub(crate) const TESTS: &[Test] = &[
    ("a_client_gets_both_streams", a_client_gets_both_streams),
    ("half_close_ends_the_input_only", half_close_ends_the_input_only),
    ("half_close_without_input_keeps_the_output", half_close_without_input),
    ("open_input_survives_a_client", open_input_survives_a_client),
    ("much_input_and_output", much_input_and_output),
    ("a_slow_client_gets_all_and_the_log_too", a_slow_client_gets_all),
    ("a_client_that_leaves_disturbs_nobody", a_client_that_leaves_disturbs_nobody),
    ("the_end_is_told_after_the_output_if_a_last_word_follows", last_word),
    ("a_raw_client_gets_no_headers", a_raw_client_gets_no_headers),
];

fn with_stdin(spawner: &Spawner, script: &str, stdin: Stdin) -> Bundle {
    let (folder, mut launch) = Bundle::prepare(script);
    launch.stdin = stdin;
    Bundle::launch(spawner, (folder, launch))
}

fn a_client_gets_both_streams(spawner: &Spawner) {
    let mut bundle = Bundle::launch(spawner, Bundle::prepare("echo out; echo err >&2"));
    let mut both = bundle.engine.attach(everything());
    let mut one = bundle.engine.attach(Attach { stdout: false, ..everything() });
    bundle.engine.tell(Command::Start);
    assert_eq!(unframe(&read_all(&mut both)), ("out\n".to_owned(), "err\n".to_owned()));
    assert_eq!(unframe(&read_all(&mut one)), (String::new(), "err\n".to_owned()));
}

fn half_close_ends_the_input_only(spawner: &Spawner) {
    let mut bundle = with_stdin(spawner, "wc -c; echo after", Stdin::Once);
    let mut client = bundle.engine.attach(everything());
    bundle.engine.tell(Command::Start);
    client.write_all(b"12345").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(unframe(&read_all(&mut client)).0, "5\nafter\n");
    assert_eq!(bundle.engine.wait_for_exit().code, 0);
}

fn half_close_without_input(spawner: &Spawner) {
    let mut bundle = Bundle::launch(spawner, Bundle::prepare("cat; echo out"));
    let mut client = bundle.engine.attach(Attach { stdin: false, ..everything() });
    client.shutdown(Shutdown::Write).unwrap();
    bundle.engine.tell(Command::Start);
    assert_eq!(unframe(&read_all(&mut client)).0, "out\n");
}

fn open_input_survives_a_client(spawner: &Spawner) {
    let mut bundle = with_stdin(spawner, "exec cat", Stdin::Open);
    bundle.engine.tell(Command::Start);
    let mut first = bundle.engine.attach(everything());
    first.write_all(b"one\n").unwrap();
    read_until(&mut first, "one\n");
    first.shutdown(Shutdown::Write).unwrap();
    // As in Docker, the end of input is the end of such a client.
    assert_eq!(first.read(&mut [0; 16]).unwrap(), 0);
    let mut second = bundle.engine.attach(everything());
    second.write_all(b"two\n").unwrap();
    read_until(&mut second, "two\n");
}

fn much_input_and_output(spawner: &Spawner) {
    let mut bundle = with_stdin(spawner, "exec cat", Stdin::Once);
    let mut client = bundle.engine.attach(everything());
    bundle.engine.tell(Command::Start);
    let input: Vec<u8> = (0..500_000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let mut writer = client.try_clone().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.write_all(&input).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        read_all(&mut client)
    });
    assert!(unframe(&output).0.as_bytes() == input, "output differs from input");
    bundle.engine.wait_for_exit();
    assert!(bundle.logged().as_bytes() == input, "the log differs from the input");
}

fn a_slow_client_gets_all(spawner: &Spawner) {
    let script = "seq 200000";
    let mut bundle = Bundle::launch(spawner, Bundle::prepare(script));
    let mut slow = bundle.engine.attach(everything());
    let mut fast = bundle.engine.attach(everything());
    bundle.engine.tell(Command::Start);
    // Nothing is read from the slow one until the fast one has seen a part.
    let mut seen = vec![0; 100_000];
    fast.read_exact(&mut seen).unwrap();
    let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    let (slow, fast) = std::thread::scope(|scope| {
        let slow = scope.spawn(|| read_all(&mut slow));
        seen.extend(read_all(&mut fast));
        (slow.join().unwrap(), seen)
    });
    assert!(unframe(&slow).0 == expected && unframe(&fast).0 == expected, "output is lost");
    bundle.engine.wait_for_exit();
    assert!(bundle.logged() == expected, "the log is not complete");
}

fn a_client_that_leaves_disturbs_nobody(spawner: &Spawner) {
    let mut bundle = Bundle::launch(spawner, Bundle::prepare("seq 100000"));
    let leaver = bundle.engine.attach(everything());
    let mut stayer = bundle.engine.attach(everything());
    bundle.engine.tell(Command::Start);
    drop(leaver);
    let output = unframe(&read_all(&mut stayer)).0;
    assert!(output.ends_with("99999\n100000\n"));
    assert_eq!(bundle.engine.wait_for_exit().code, 0);
}

fn a_raw_client_gets_no_headers(spawner: &Spawner) {
    let mut bundle = Bundle::launch(spawner, Bundle::prepare("echo out"));
    let mut client = bundle.engine.attach(Attach { multiplexed: false, ..everything() });
    bundle.engine.tell(Command::Start);
    assert_eq!(read_all(&mut client), b"out\n");
}

fn last_word(spawner: &Spawner) {
    let mut bundle = Bundle::launch(spawner, Bundle::prepare("seq 100000"));
    let (mut client, theirs) = crate::bundle::client();
    let attach = Command::Attach(Attach { keep_open: true, ..everything() });
    let theirs_fd = std::os::fd::AsFd::as_fd(&theirs);
    assert_eq!(bundle.engine.ask(attach, &[theirs_fd]), supervisor::protocol::Outcome::Done);
    bundle.engine.tell(Command::Start);
    let output = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_all(&mut client));
        bundle.engine.wait_for_exit();
        (&theirs).write_all(&[1, 0, 0, 0, 0, 0, 0, 4]).unwrap();
        (&theirs).write_all(b"last").unwrap();
        drop(theirs);
        reader.join().unwrap()
    });
    assert!(unframe(&output).0.ends_with("99999\n100000\nlast"));
}
