//! Packets that really flow.

use testkit::daemon::{Daemon, Network};

#[test]
fn a_published_port_answers_on_localhost_and_a_taken_one_is_refused() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    daemon
        .ok([
            "run",
            "-d",
            "--name",
            "web",
            "-p",
            "8080:80",
            "busybox",
            "sh",
            "-c",
            "mkdir /www && echo page >/www/index.html && exec httpd -f -p 80 -h /www",
        ])
        .unwrap();
    let page = daemon
        .in_network("curl")
        .args(["-fsS", "--retry", "50", "--retry-delay", "0", "--retry-max-time", "20", "--retry-all-errors", "http://127.0.0.1:8080/"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&page.stdout), "page\n", "{page:?}");
    let refused = daemon.teu(["run", "--rm", "-p", "8080:81", "busybox", "true"]).unwrap();
    assert_eq!(refused.status.code(), Some(125));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("port is already allocated"), "{text}");
    assert_eq!(daemon.ok(["ps", "-aq"]).unwrap().lines().count(), 1);
    daemon.ok(["rm", "-f", "web"]).unwrap();
    daemon.ok(["run", "--rm", "-p", "8080:80", "busybox", "true"]).unwrap();
}

#[test]
fn containers_on_the_default_bridge_reach_each_other() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    daemon.ok(["run", "-d", "--name", "a1", "busybox", "sleep", "100000"]).unwrap();
    let address = daemon.ok(["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "a1"]).unwrap();
    daemon.ok(["run", "--rm", "busybox", "ping", "-c", "1", "-W", "5", &address]).unwrap();
    let shared = daemon.ok(["run", "--rm", "--network", "container:a1", "busybox", "ip", "-o", "-4", "addr"]).unwrap();
    assert!(shared.contains(&address), "{shared}");
}
