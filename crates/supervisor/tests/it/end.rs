//! Creation, start, end, and what is known of it.

use supervisor::protocol::{Command, Event, FailureKind, Outcome, Sender};
use supervisor::read_exit;
use supervisor::spawner::Spawner;

use crate::Test;
use crate::bundle::{Bundle, Engine};

pub(crate) const TESTS: &[Test] = &[
    ("exit_code_and_output", exit_code_and_output),
    ("output_is_logged_before_the_exit_is_told", output_is_logged_before_the_exit_is_told),
    ("a_missing_program_is_told_and_nothing_is_left", a_missing_program_is_told),
    ("a_signal_and_its_sender_are_recorded", a_signal_and_its_sender_are_recorded),
    ("a_container_that_was_never_started_can_be_killed", never_started),
    ("starting_twice_is_refused", starting_twice_is_refused),
    ("a_paused_container_can_be_killed", a_paused_container_can_be_killed),
    ("want_of_memory_is_recorded", want_of_memory_is_recorded),
    ("init_reaps_and_forwards", init_reaps_and_forwards),
    ("init_tells_a_missing_program", init_tells_a_missing_program),
    ("processes_and_stats", processes_and_stats),
    ("a_program_begins_with_clean_signals_and_descriptors", a_program_begins_clean),
];

fn exit_code_and_output(spawner: &Spawner) {
    let mut bundle = Bundle::start(spawner, "echo out; echo err >&2; exit 7");
    let exit = bundle.engine.wait_for_exit();
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (7, None, false));
    assert!(exit.started_at.is_some_and(|started| started < exit.finished_at));
    let mut lines = exit.last_log_lines.clone();
    lines.sort();
    assert_eq!(lines, ["err", "out"]);
    assert_eq!(read_exit(&bundle.launch.exit_path).unwrap(), Some(exit));
}

fn output_is_logged_before_the_exit_is_told(spawner: &Spawner) {
    for _ in 0..5 {
        let mut bundle = Bundle::start(spawner, "seq 20000; printf end");
        bundle.engine.wait_for_exit();
        let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
        assert!(bundle.logged() == expected + "end", "the log is not complete");
    }
}

fn a_missing_program_is_told(spawner: &Spawner) {
    let (folder, mut launch) = Bundle::prepare("");
    launch.spec.process.as_mut().unwrap().args = vec!["nosuch".to_owned()];
    let mut engine = Engine::new(spawner.launch(&launch, None).unwrap());
    let Some(Event::CreateFailed { message }) = engine.event() else { panic!() };
    assert!(message.contains("exec: \"nosuch\": executable file not found in $PATH"), "{message}");
    assert!(engine.event().is_none());
    assert!(!launch.control_path.exists());
    drop(folder);
}

fn a_signal_and_its_sender_are_recorded(spawner: &Spawner) {
    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    bundle.engine.tell(Command::Signal { signal: 9, all: false });
    let exit = bundle.engine.wait_for_exit();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    let own = i32::try_from(std::process::id()).unwrap();
    assert_eq!(exit.sender, Some(Sender::Engine { pid: own, uid: 0 }));
}

fn never_started(spawner: &Spawner) {
    let mut bundle = Bundle::launch(spawner, Bundle::prepare("true"));
    bundle.engine.tell(Command::Signal { signal: 9, all: false });
    let exit = bundle.engine.wait_for_exit();
    assert_eq!((exit.code, exit.started_at), (137, None));
}

fn starting_twice_is_refused(spawner: &Spawner) {
    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    let again = bundle.engine.ask(Command::Start, &[]);
    assert!(matches!(again, Outcome::Failed { kind: FailureKind::Conflict, .. }), "{again:?}");
}

fn a_paused_container_can_be_killed(spawner: &Spawner) {
    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    bundle.engine.tell(Command::Pause);
    let twice = bundle.engine.ask(Command::Pause, &[]);
    assert!(matches!(twice, Outcome::Failed { kind: FailureKind::Conflict, .. }), "{twice:?}");
    bundle.engine.tell(Command::Resume);
    bundle.engine.tell(Command::Pause);
    bundle.engine.tell(Command::Signal { signal: 9, all: false });
    assert_eq!(bundle.engine.wait_for_exit().code, 137);
}

fn want_of_memory_is_recorded(spawner: &Spawner) {
    const LIMIT: i64 = 16 << 20;
    let (folder, mut launch) = Bundle::prepare("exec tail /dev/zero");
    launch.spec.linux.as_mut().unwrap().resources = Some(oci::runtime::Resources {
        memory: Some(oci::runtime::Memory { limit: Some(LIMIT), swap: Some(LIMIT), ..Default::default() }),
        ..Default::default()
    });
    let mut bundle = Bundle::launch(spawner, (folder, launch));
    bundle.engine.tell(Command::Start);
    let told = bundle.engine.wait_for(|event| match event {
        Event::OutOfMemory(told) => Some(told),
        _ => None,
    });
    assert_eq!(told.limit, Some(16 << 20));
    let exit = bundle.engine.wait_for_exit();
    assert_eq!((exit.code, exit.oom_killed, exit.memory_limit), (137, true, Some(16 << 20)));
    assert_eq!(exit.sender, Some(Sender::OutOfMemory));
    assert!(exit.memory_peak.is_some_and(|peak| peak > 15 << 20), "{exit:?}");
}

fn init_reaps_and_forwards(spawner: &Spawner) {
    // The orphan becomes a child of process 1, which must reap it.
    let script = "(sh -c 'echo $PPID' &) ; trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 1; done";
    let (folder, mut launch) = Bundle::prepare(script);
    launch.init = true;
    let mut bundle = Bundle::launch(spawner, (folder, launch));
    let mut client = bundle.engine.attach(crate::bundle::everything());
    bundle.engine.tell(Command::Start);
    crate::bundle::read_until(&mut client, "ready");
    bundle.engine.tell(Command::Signal { signal: 15, all: false });
    let exit = bundle.engine.wait_for_exit();
    assert_eq!(exit.code, 3, "{exit:?}");
    assert!(bundle.logged().contains("got"));
}

fn init_tells_a_missing_program(spawner: &Spawner) {
    let (folder, mut launch) = Bundle::prepare("");
    launch.init = true;
    launch.spec.process.as_mut().unwrap().args = vec!["nosuch".to_owned()];
    let mut bundle = Bundle::launch(spawner, (folder, launch));
    bundle.engine.tell(Command::Start);
    assert_eq!(bundle.engine.wait_for_exit().code, 127);
    assert!(bundle.logged().contains("nosuch"));
}

fn processes_and_stats(spawner: &Spawner) {
    let (folder, mut launch) = Bundle::prepare("");
    launch.spec.process.as_mut().unwrap().args = ["sleep", "1000"].map(str::to_owned).to_vec();
    let mut bundle = Bundle::launch(spawner, (folder, launch));
    bundle.engine.tell(Command::Start);
    let Outcome::Processes(processes) = bundle.engine.ask(Command::Processes, &[]) else { panic!() };
    let [process] = &processes[..] else { panic!("{processes:?}") };
    assert_eq!((process.command.as_str(), process.uid), ("sleep 1000", 0));
    let Outcome::Stats(stats) = bundle.engine.ask(Command::Stats, &[]) else { panic!() };
    assert!(stats.read_at > 0 && stats.networks.is_empty(), "{stats:?}");
}

fn a_program_begins_clean(spawner: &Spawner) {
    let args = ["grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status"].map(str::to_owned);
    let expected = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    let (folder, mut launch) = Bundle::prepare("");
    launch.spec.process.as_mut().unwrap().args = args.to_vec();
    let mut bundle = Bundle::launch(spawner, (folder, launch));
    bundle.engine.tell(Command::Start);
    bundle.engine.wait_for_exit();
    assert_eq!(bundle.logged(), expected);

    let mut bundle = Bundle::start(spawner, "exec sleep 1000");
    let mut exec = crate::bundle::shell("e1", "");
    exec.process.args = args.to_vec();
    let (mut client, _) = bundle.engine.exec(exec);
    assert_eq!(crate::bundle::unframe(&crate::bundle::read_all(&mut client)).0, expected);
    // The supervisor is spared when memory is short, its container is not.
    let script = "cat /proc/1/oom_score_adj /proc/self/oom_score_adj; echo /proc/self/fd/*";
    let (mut client, _) = bundle.engine.exec(crate::bundle::shell("e2", script));
    let text = crate::bundle::unframe(&crate::bundle::read_all(&mut client)).0;
    assert_eq!(text, "0\n0\n/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n");
}
