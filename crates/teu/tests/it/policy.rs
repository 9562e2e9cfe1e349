//! Network policies from the command line to the packet.

use testkit::daemon::{Daemon, Network};

#[test]
fn a_policy_decides_who_reaches_whom() {
    let mut daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    daemon.ok(["network", "create", "--subnet", "10.98.201.0/24", "shop"]).unwrap();
    for name in ["web", "api", "db"] {
        let service = format!("com.docker.compose.service={name}");
        let serve = "mkdir /www && echo page >/www/index.html && exec httpd -f -p 80 -h /www";
        daemon
            .ok(["run", "-d", "--name", &format!("{name}-1"), "--label", &service, "--network", "shop", "busybox", "sh", "-c", serve])
            .unwrap();
    }
    // Until the server listens it refuses: it is asked again.
    let fetch = "for i in $(seq 100); do nc -w 5 10.98.201.4 80 </dev/null && exit 0; usleep 50000; done; exit 1";
    daemon.ok(["exec", "web-1", "sh", "-c", fetch]).unwrap();

    let create =
        ["network", "policy", "create", "db", "--for", "service=db", "--default-deny", "in", "--rule", "allow in service=web 80/tcp"];
    assert_eq!(daemon.ok(create).unwrap(), "db");
    let once =
        |daemon: &Daemon, from: &str| daemon.teu(["exec", from, "sh", "-c", "nc -w 1 10.98.201.4 80 </dev/null"]).unwrap().status.success();
    assert!(once(&daemon, "web-1") && !once(&daemon, "api-1"));

    let test = |from: &str, to: &str| {
        let output = daemon.teu(["network", "policy", "test", from, to]).unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = test("web", "db:80");
    assert_eq!((code, text.contains("allowed by rule 1 of policy db (of db-1): allow in service=web 80/tcp")), (Some(0), true), "{text}");
    let (code, text) = test("api-1", "db:80/tcp");
    assert_eq!((code, text.contains("no rule allows it, and policy db (of db-1) denies the rest")), (Some(1), true), "{text}");
    assert_eq!(test("nobody", "db:80").0, Some(1));

    let list = daemon.ok(["network", "policy", "ls"]).unwrap();
    assert!(list.lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == ["db", "service=db", "in", "1", "-"]), "{list}");
    let shown = daemon.ok(["network", "policy", "inspect", "db"]).unwrap();
    assert!(shown.contains("\"DefaultDeny\": [\n      \"in\"\n    ]"), "{shown}");
    let map = daemon.ok(["network", "map"]).unwrap();
    assert!(map.contains("-> db-1: 80/tcp") && map.contains("-> db-1: nothing"), "{map}");

    // What an engine that was killed knew, the next one knows.
    daemon.kill().unwrap();
    daemon.restart().unwrap();
    assert!(once(&daemon, "web-1") && !once(&daemon, "api-1"));

    let refused = |words: &[&str], code: i32, text: &str| {
        let output = daemon.teu(words).unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && told.contains(text), "{words:?}: {:?} {told}", output.status);
    };
    refused(&["network", "policy", "create", "db", "--default-deny", "in"], 1, "network policy db already exists");
    refused(&["network", "policy", "create", "x"], 1, "policy x does nothing");
    refused(&["network", "policy", "create", "x", "--rule", "allow in web"], 1, "invalid selector \"web\"");
    refused(&["network", "policy", "create", "x", "--rule", "allow in any 99999"], 1, "invalid port 99999");
    refused(&["network", "policy", "create", "x", "--for", "network=nope", "--default-deny", "out"], 1, "network nope not found");
    refused(&["network", "policy", "rm", "x"], 1, "network policy x not found");
    refused(&["network", "policy", "frob"], 1, "unknown command");

    daemon.ok(["network", "policy", "create", "db", "--replace", "--for", "service=db", "--rule", "deny in service=web"]).unwrap();
    assert!(!once(&daemon, "web-1") && once(&daemon, "api-1"));
    daemon.ok(["network", "policy", "rm", "db"]).unwrap();
    assert!(once(&daemon, "web-1") && once(&daemon, "api-1"));
}
