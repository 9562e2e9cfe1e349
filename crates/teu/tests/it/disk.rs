//! A disk that is full: clear errors, nothing half-made, and all is well when there is room again.

use testkit::daemon::{Daemon, Network};
use testkit::leftovers;

const FILL: &str = "dd if=/dev/zero of=/fill bs=1M 2>/dev/null; for i in 1 2 3 4 5 6 7 8; do echo x >> /more$i; done; true";

#[test]
fn a_full_disk_is_named_and_leaves_nothing() {
    let mut daemon = Daemon::with_small_disk(crate::teu(), Network::Host, 320).unwrap();
    daemon.ok(["run", "-d", "--name", "runs", "busybox", "sh", "-c", "while :; do echo line; sleep 0.01; done"]).unwrap();
    daemon.ok(["run", "--name", "fills", "busybox", "sh", "-c", FILL]).unwrap();

    let refused = daemon.teu(["run", "--name", "late", "busybox", "true"]).unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(125), "{text}");
    assert!(text.contains("No space left on device"), "{text}");
    let names = daemon.ok(["ps", "-a", "--format", "{{.Names}}"]).unwrap();
    assert_eq!(names, "fills\nruns", "what was refused is not there");
    let volume = daemon.teu(["volume", "create", "v1"]).unwrap();
    assert!(!volume.status.success() && daemon.ok(["volume", "ls", "-q"]).unwrap().is_empty(), "{volume:?}");

    // What runs goes on, and what ends is known, also to the next engine.
    assert_eq!(daemon.ok(["inspect", "-f", "{{.State.Running}}", "runs"]).unwrap(), "true");
    daemon.ok(["kill", "runs"]).unwrap();
    daemon.ok(["wait", "runs"]).unwrap();
    daemon.kill().unwrap();
    daemon.restart().unwrap();
    assert_eq!(daemon.ok(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "runs"]).unwrap(), "exited 137");

    daemon.ok(["rm", "fills"]).unwrap();
    assert_eq!(daemon.ok(["run", "--name", "late", "busybox", "echo", "room"]).unwrap(), "room");
    daemon.ok(["rm", "late", "runs"]).unwrap();
    let left = leftovers::settled(&daemon).unwrap();
    assert!(left.is_empty(), "{left:#?}");
    let left = daemon.stop().unwrap();
    assert!(left.is_empty(), "{left:#?}");
}
