//! Networks beside an interface of the host: macvlan, ipvlan, VLANs.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use network::endpoint::EndpointSpec;
use network::network::{Driver, NetworkSpec};
use network::{CreateError, Networks};

use crate::host::{Host, Namespace, OUTSIDE};

fn spec(driver: Driver, options: &[(&str, &str)]) -> NetworkSpec {
    NetworkSpec {
        name: "lan".to_owned(),
        driver: Some(driver),
        subnet: Some("192.0.2.0/24".parse().expect("a subnet")),
        ip_range: Some("192.0.2.64/26".parse().expect("a subnet")),
        gateway: Some(OUTSIDE),
        options: options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>(),
        ..NetworkSpec::default()
    }
}

fn on(name: &str) -> EndpointSpec {
    EndpointSpec { network: "lan".to_owned(), container_name: name.to_owned(), ..EndpointSpec::default() }
}

/// Whether this kernel has such links.
fn has(host: &Host, kind: &str) -> bool {
    let line = format!("ip link add probe0 link up0 type {kind}");
    let made = host.namespace.run(|| {
        #[allow(clippy::disallowed_methods, reason = "only tests may start programs")]
        let status = std::process::Command::new("sh").args(["-c", &format!("{line} 2>/dev/null")]).status();
        status.is_ok_and(|status| status.success())
    });
    if made {
        host.namespace.tool("ip link delete probe0");
    }
    made
}

fn create(host: &Host, networks: &Networks, spec: NetworkSpec) -> Result<(), CreateError> {
    host.namespace.run(|| networks.create(spec)).map(drop)
}

fn end(host: &Host, networks: &Networks, containers: &[(&str, &Namespace)]) {
    for (holder, namespace) in containers {
        host.namespace.run(|| networks.disconnect(holder, "lan", Some(namespace.as_fd()))).expect("to disconnect");
        assert!(!namespace.tool("ip -o link show").contains("eth0"));
    }
    host.namespace.run(|| networks.remove("lan")).expect("to remove");
    host.close(networks);
}

#[test]
fn macvlan_containers_are_neighbours_of_the_outside() {
    let (host, a, b) = (Host::new(), Namespace::new(), Namespace::new());
    let networks = host.open();
    create(&host, &networks, spec(Driver::Macvlan, &[("parent", "up0")])).expect("a network");
    let first = host.attach_as(&networks, "a", &a, &on("a")).expect("to attach");
    assert_eq!(first.address, Ipv4Addr::new(192, 0, 2, 64));
    let second = host.attach_as(&networks, "b", &b, &on("b")).expect("to attach");
    let listener = a.listen(80);
    assert_eq!(b.reach((first.address, 80), &listener), second.address, "a sibling");
    assert_eq!(host.outside.reach((first.address, 80), &listener), OUTSIDE, "the outside");
    assert_eq!(a.reach((OUTSIDE, 7000), &host.outside.listen(7000)), first.address);
    assert!(host.namespace.is_blocked((first.address, 80)), "the parent never talks to its children");
    assert!(a.tool("ip route").contains("default via 192.0.2.9 dev eth0"));
    let other = NetworkSpec {
        name: "other".to_owned(),
        subnet: None,
        ip_range: None,
        gateway: None,
        ..spec(Driver::Macvlan, &[("parent", "up0")])
    };
    let taken = create(&host, &networks, other).expect_err("a parent of one network");
    assert!(taken.to_string().contains("network lan is already using parent interface up0"), "{taken}");
    end(&host, &networks, &[("a", &a), ("b", &b)]);
}

#[test]
fn private_and_vepa_children_do_not_see_each_other() {
    for mode in ["private", "vepa"] {
        let (host, a, b) = (Host::new(), Namespace::new(), Namespace::new());
        let networks = host.open();
        create(&host, &networks, spec(Driver::Macvlan, &[("parent", "up0"), ("macvlan_mode", mode)])).expect("a network");
        let first = host.attach_as(&networks, "a", &a, &on("a")).expect("to attach");
        host.attach_as(&networks, "b", &b, &on("b")).expect("to attach");
        let listener = a.listen(80);
        assert!(b.is_blocked((first.address, 80)), "{mode}");
        assert_eq!(host.outside.reach((first.address, 80), &listener), OUTSIDE, "{mode}");
        end(&host, &networks, &[("a", &a), ("b", &b)]);
    }
}

#[test]
fn ipvlan_containers_share_the_parents_hardware_address() {
    let host = Host::new();
    if !has(&host, "ipvlan") {
        eprintln!("skipped: this kernel has no ipvlan");
        return;
    }
    for mode in ["l2", "l3", "l3s"] {
        let (host, a) = (Host::new(), Namespace::new());
        let networks = host.open();
        create(&host, &networks, spec(Driver::Ipvlan, &[("parent", "up0"), ("ipvlan_mode", mode)])).expect("a network");
        let first = host.attach_as(&networks, "a", &a, &on("a")).expect("to attach");
        let listener = a.listen(80);
        if mode != "l2" {
            // Nobody answers for the container on the link: the parent's machine routes.
            host.outside.tool(&format!("ip route add {}/32 via {}", first.address, crate::host::UPLINK));
        }
        assert_eq!(host.outside.reach((first.address, 80), &listener), OUTSIDE, "{mode}");
        let routes = a.tool("ip route");
        assert!(routes.contains(if mode == "l2" { "default via 192.0.2.9" } else { "default dev eth0" }), "{mode}: {routes}");
        end(&host, &networks, &[("a", &a)]);
    }
}

#[test]
fn a_vlan_is_made_for_its_network_and_goes_with_it() {
    let (host, a) = (Host::new(), Namespace::new());
    if !has(&host, "vlan id 9") {
        eprintln!("skipped: this kernel has no 802.1Q");
        return;
    }
    let networks = host.open();
    create(&host, &networks, spec(Driver::Macvlan, &[("parent", "up0.50")])).expect("a network");
    assert!(host.namespace.tool("ip -d link show up0.50").contains("vlan protocol 802.1Q id 50"));
    host.outside.tool("ip link add eth0.50 link eth0 type vlan id 50");
    host.outside.tool("ip address flush dev eth0");
    host.outside.tool("ip address add 192.0.2.9/24 dev eth0.50");
    host.outside.tool("ip link set eth0.50 up");
    let first = host.attach_as(&networks, "a", &a, &on("a")).expect("to attach");
    assert_eq!(host.outside.reach((first.address, 80), &a.listen(80)), OUTSIDE);
    end(&host, &networks, &[("a", &a)]);
    assert!(!host.namespace.tool("ip -o link show").contains("up0.50"));
}

#[test]
fn what_the_drivers_do_not_know_is_refused() {
    let host = Host::new();
    let networks = host.open();
    for (driver, options, text) in [
        (Driver::Macvlan, [("parent", "up0"), ("macvlan_mode", "nosuch")], "requested macvlan mode 'nosuch' is not valid"),
        (Driver::Ipvlan, [("parent", "up0"), ("ipvlan_mode", "bridge")], "requested ipvlan mode 'bridge' is not valid"),
        (Driver::Macvlan, [("parent", "up0"), ("nosuch", "1")], "invalid option for a macvlan network: nosuch"),
        (Driver::Macvlan, [("parent", "up0.4095"), ("macvlan_mode", "")], "vlan id must be between 1-4094"),
        (Driver::Macvlan, [("parent", "nosuch0"), ("macvlan_mode", "")], "cannot find the parent interface"),
    ] {
        let refused = create(&host, &networks, spec(driver, &options)).expect_err("a refusal");
        assert!(refused.to_string().contains(text), "{refused}");
    }
    assert!(networks.inspect("lan").is_err());
    host.close(&networks);
}
