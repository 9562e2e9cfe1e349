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
    daemon.ok(["run", "--rm", "--link", "a1:db", "busybox", "ping", "-c", "1", "-W", "5", "db"]).unwrap();
    let refused = daemon.teu(["run", "--rm", "--link", "nosuch:db", "busybox", "true"]).unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("No such container: nosuch"), "{refused:?}");
    let map = daemon.ok(["network", "map"]).unwrap();
    assert!(map.contains(&format!("└─ a1 {address}")) && map.contains("none (null)"), "{map}");
    let shared = daemon.ok(["run", "--rm", "--network", "container:a1", "busybox", "ip", "-o", "-4", "addr"]).unwrap();
    assert!(shared.contains(&address), "{shared}");
}

#[test]
fn a_running_container_gets_into_networks_and_out_of_them() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    daemon.ok(["network", "create", "--subnet", "10.99.1.0/24", "one"]).unwrap();
    daemon.ok(["network", "create", "--subnet", "10.99.2.0/24", "two"]).unwrap();
    daemon.ok(["run", "-d", "--name", "web", "--network", "one", "--network-alias", "al", "busybox", "sleep", "100000"]).unwrap();
    let option = "com.docker.network.endpoint.ifname=foo0";
    let words = ["--ip", "10.99.2.77", "--alias", "x", "--gw-priority", "5", "--link-local-ip", "169.254.3.4", "--driver-opt", option];
    daemon.ok(["network", "connect"].into_iter().chain(words).chain(["two", "web"])).unwrap();
    let format = "{{.IPAddress}} {{.Gateway}} {{.GwPriority}} {{.Aliases}} {{.IPAMConfig.IPv4Address}} {{len .DNSNames}}";
    let shown =
        daemon.ok(["inspect", "-f", &format!("{{{{with (index .NetworkSettings.Networks \"two\")}}}}{format}{{{{end}}}}"), "web"]).unwrap();
    assert_eq!(shown, "10.99.2.77 10.99.2.1 5 [x] 10.99.2.77 3");
    let inside = daemon.ok(["exec", "web", "sh", "-c", "ip -4 -o addr; ip route"]).unwrap();
    for part in ["foo0    inet 10.99.2.77/24", "foo0    inet 169.254.3.4/16", "eth0    inet 10.99.1.2/24", "default via 10.99.2.1 dev foo0"]
    {
        assert!(inside.contains(part), "{part}: {inside}");
    }
    let refused = |words: &[&str], text: &str| {
        let output = daemon.teu(words).unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(text), "{words:?}: {told}");
    };
    refused(&["network", "connect", "two", "web"], "endpoint with name web already exists in network two");
    refused(&["network", "connect", "host", "web"], "cannot connect container to host network");
    refused(&["network", "connect", "none", "web"], "container cannot be connected to multiple networks");
    refused(&["network", "rm", "two"], "error while removing network: network two has active endpoints (name:\"web\" id:");
    refused(
        &["network", "connect", "--ip", "10.9.8.7", "bridge", "web"],
        "user specified IP address is supported on user defined networks",
    );
    daemon.ok(["network", "disconnect", "two", "web"]).unwrap();
    let inside = daemon.ok(["exec", "web", "sh", "-c", "ip -4 -o addr; ip route"]).unwrap();
    assert!(!inside.contains("foo0") && inside.contains("default via 10.99.1.1 dev eth0"), "{inside}");
    refused(&["network", "disconnect", "two", "web"], "is not connected to network two");

    // A stopped container keeps its networks, and gets others for its next start.
    daemon.ok(["stop", "-t", "0", "web"]).unwrap();
    daemon.ok(["network", "connect", "--ip", "10.99.2.9", "two", "web"]).unwrap();
    daemon.ok(["network", "disconnect", "one", "web"]).unwrap();
    daemon.ok(["start", "web"]).unwrap();
    let shown =
        daemon.ok(["inspect", "-f", "{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}} {{end}}", "web"]).unwrap();
    assert_eq!(shown.trim(), "two=10.99.2.9");
    daemon.ok(["run", "-d", "--name", "alone", "--network", "none", "busybox", "sleep", "100000"]).unwrap();
    refused(&["network", "connect", "one", "alone"], "with one of the networks in private (none) mode");
    daemon.ok(["network", "disconnect", "none", "alone"]).unwrap();
    daemon.ok(["network", "connect", "one", "alone"]).unwrap();
    daemon.ok(["exec", "alone", "ping", "-c", "1", "-W", "5", "10.99.1.1"]).unwrap();
    // Two networks from the start.
    let both = ["run", "--rm", "--network", "one", "--network", "name=two,gw-priority=1", "busybox", "ip", "route"];
    let routes = daemon.ok(both).unwrap();
    assert!(routes.contains("default via 10.99.2.1 dev eth1"), "{routes}");
}

#[test]
fn names_are_known_in_user_defined_networks_and_outlive_the_engine() {
    let mut daemon = Daemon::with_busybox(crate::teu(), Network::Host).unwrap();
    daemon.ok(["network", "create", "shop"]).unwrap();
    daemon.ok(["run", "-d", "--name", "db", "--network", "shop", "--network-alias", "store", "busybox", "sleep", "100000"]).unwrap();
    let id = daemon.ok(["run", "-d", "--name", "web", "--network", "shop", "--link", "db:linked", "busybox", "sleep", "100000"]).unwrap();
    let format = "{{(index .NetworkSettings.Networks \"shop\").IPAddress}}";
    let address = daemon.ok(["inspect", "-f", format, "db"]).unwrap();
    let ask = |daemon: &Daemon, name: &str| daemon.ok(["exec", "web", "nslookup", "-type=a", name]).unwrap_or_default();
    assert!(daemon.ok(["exec", "web", "cat", "/etc/resolv.conf"]).unwrap().starts_with("nameserver 127.0.0.11\n"));
    for name in ["db", "store", "linked", "db.shop"] {
        assert!(ask(&daemon, name).contains(&format!("Address: {address}")), "{name}: {}", ask(&daemon, name));
    }
    // A container of the default network that comes in later.
    daemon.ok(["run", "-d", "--name", "late", "busybox", "sleep", "100000"]).unwrap();
    daemon.ok(["network", "connect", "shop", "late"]).unwrap();
    let told = daemon.ok(["exec", "late", "nslookup", "-type=a", &id[..12]]).unwrap();
    assert!(told.contains("Address: "), "{told}");

    // The engine dies: its containers find each other as before.
    let (id, netns) = (daemon.ok(["inspect", "-f", "{{.State.Pid}}", "web"]).unwrap(), "--net");
    daemon.kill().unwrap();
    let asked = std::process::Command::new("nsenter").args(["-t", &id, netns, "-m", "nslookup", "-type=a", "db"]).output().unwrap();
    assert!(String::from_utf8_lossy(&asked.stdout).contains(&format!("Address: {address}")), "{asked:?}");
    daemon.restart().unwrap();
    daemon.ok(["rename", "db", "base"]).unwrap();
    assert!(ask(&daemon, "base").contains(&format!("Address: {address}")));
    daemon.ok(["restart", "-t", "0", "base"]).unwrap();
    let address = daemon.ok(["inspect", "-f", format, "base"]).unwrap();
    assert!(ask(&daemon, "base").contains(&format!("Address: {address}")));
    daemon.ok(["rm", "-f", "base", "web", "late"]).unwrap();
    daemon.ok(["network", "rm", "shop"]).unwrap();
}

#[test]
fn a_network_with_ipv6_gives_addresses_and_ports_of_both_families() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    daemon
        .ok(["network", "create", "--ipv6", "--subnet", "10.99.3.0/24", "--subnet", "fd00:7::/64", "--aux-address", "r=fd00:7::2", "six"])
        .unwrap();
    let serve = ["sh", "-c", "mkdir /www && echo page >/www/index.html && exec httpd -f -p 80 -h /www"];
    let start = ["run", "-d", "--name", "web", "--network", "six", "-p", "8080:80", "busybox"];
    daemon.ok(start.into_iter().chain(serve)).unwrap();
    let format =
        "{{with (index .NetworkSettings.Networks \"six\")}}{{.GlobalIPv6Address}}/{{.GlobalIPv6PrefixLen}} {{.IPv6Gateway}}{{end}}";
    assert_eq!(daemon.ok(["inspect", "-f", format, "web"]).unwrap(), "fd00:7::3/64 fd00:7::1", "the auxiliary address is left out");
    assert_eq!(daemon.ok(["port", "web"]).unwrap(), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080");
    let shown = daemon.ok(["network", "inspect", "-f", "{{.EnableIPv6}} {{json .IPAM.Config}}", "six"]).unwrap();
    assert!(shown.starts_with("true ") && shown.contains("\"Subnet\":\"fd00:7::/64\"") && shown.contains("\"r\":\"fd00:7::2\""), "{shown}");
    let other = daemon
        .ok(["run", "--rm", "--network", "six", "--ip6", "fd00:7::99", "busybox", "sh", "-c", "ip -6 -o addr; nslookup -type=aaaa web"])
        .unwrap();
    assert!(other.contains("fd00:7::99/64") && other.contains("Address: fd00:7::3"), "{other}");
    for (words, text) in [
        (vec!["run", "--rm", "-p", "[::1]:8081:80", "busybox", "true"], "gives the container no address of that family"),
        (
            vec!["run", "--rm", "--network", "six", "--ip6", "fd00:8::1", "busybox", "true"],
            "no configured subnet or ip-range contain the IP address fd00:8::1",
        ),
        (vec!["network", "create", "--subnet", "10.99.3.128/25", "x"], "Pool overlaps with other one on this address space"),
        (vec!["network", "create", "-d", "nosuch", "x"], "plugin \"nosuch\" not found"),
    ] {
        let refused = daemon.teu(&words).unwrap();
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && told.contains(text), "{words:?}: {told}");
    }
    daemon.ok(["rm", "-f", "web"]).unwrap();
}
