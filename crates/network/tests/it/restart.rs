//! What survives the engine's death, and what the next one sweeps.

use std::collections::BTreeSet;

use network::port::Protocol;

use crate::host::{Host, Namespace, OUTSIDE, UPLINK, port, quiet};

#[test]
fn ports_and_addresses_survive_and_the_dead_are_swept() {
    let (host, live, dead) = (Host::new(), Namespace::new(), Namespace::new());
    let networks = host.open();
    let kept = host.attach(&networks, "live", &live, vec![port(Protocol::Tcp, 8080, 80)]).expect("to attach");
    let lost = host.attach(&networks, "dead", &dead, vec![port(Protocol::Tcp, 8081, 80)]).expect("to attach");
    host.namespace.tool("ip link add vethabc0123 type veth peer name stray");
    host.namespace.tool("ip link set vethabc0123 master teu0");
    host.namespace.tool("ip link add others type veth peer name others2");
    host.namespace.tool("ip link set others master teu0");
    drop(networks); // as a kill does: nothing is taken back

    let networks = host.open();
    assert_eq!(networks.endpoints("live"), std::slice::from_ref(&kept));
    let listener = live.listen(80);
    assert_eq!(host.outside.reach((UPLINK, 8080), &listener), OUTSIDE);
    let guard = quiet();
    let swept = host.namespace.run(|| networks.sweep(&BTreeSet::from(["live".to_owned()]))).expect("to sweep");
    drop(guard);
    assert_eq!(swept.holders, ["dead"]);
    assert_eq!(swept.links, ["vethabc0123"]);
    let links = host.namespace.tool("ip -o link show");
    assert!(links.contains(&kept.link) && links.contains("others") && !links.contains(&lost.link), "{links}");
    assert!(host.outside.is_blocked((UPLINK, 8081)));
    assert_eq!(host.outside.reach((UPLINK, 8080), &listener), OUTSIDE);

    // The port still is held, the swept one is free, and no address is given twice.
    assert!(host.attach(&networks, "new", &dead, vec![port(Protocol::Tcp, 8080, 80)]).is_err());
    let new = host.attach(&networks, "new", &dead, vec![port(Protocol::Tcp, 8081, 80)]).expect("to attach");
    assert_ne!(new.address, kept.address);
    host.namespace.tool("ip link delete others");
    host.close(&networks);
}

#[test]
fn a_sweep_leaves_what_this_life_attached() {
    let (host, container) = (Host::new(), Namespace::new());
    let networks = host.open();
    let endpoint = host.attach(&networks, "young", &container, Vec::new()).expect("to attach");
    let swept = host.namespace.run(|| networks.sweep(&BTreeSet::new())).expect("to sweep");
    assert_eq!(swept, network::Swept::default());
    assert_eq!(networks.endpoints("young"), [endpoint]);
    host.close(&networks);
}

#[test]
fn the_default_network_keeps_its_identity_and_subnet() {
    let host = Host::new();
    let networks = host.open();
    let before = networks.inspect("bridge").expect("the default network");
    assert_eq!(networks.list().iter().map(|network| network.name.as_str()).collect::<Vec<_>>(), ["bridge", "host", "none"]);
    host.close(&networks);
    drop(networks);
    let networks = host.open();
    assert_eq!(networks.inspect("bridge").expect("the default network"), before);
    host.close(&networks);
}

#[test]
fn a_subnet_in_use_is_left_alone() {
    let host = Host::new();
    host.namespace.tool("ip route add 172.17.5.0/24 dev up0");
    let networks = host.open();
    let bridge = networks.inspect("bridge").expect("the default network").bridge.expect("a bridge");
    assert_eq!(bridge.subnet.to_string(), "172.18.0.0/16");
    host.close(&networks);

    let options = network::Options { address: Some("10.99.0.1/24".parse().expect("a subnet")), ..host.options() };
    let networks = host.namespace.run(|| network::Networks::open(options)).expect("networks");
    let container = Namespace::new();
    let endpoint = host.attach(&networks, "c1", &container, Vec::new()).expect("to attach");
    assert_eq!(endpoint.address.to_string(), "10.99.0.2");
    host.close(&networks);
}

#[test]
fn rules_and_bridge_come_back_after_others_removed_them() {
    let (host, one, two) = (Host::new(), Namespace::new(), Namespace::new());
    let networks = host.open();
    host.attach(&networks, "one", &one, vec![port(Protocol::Tcp, 8080, 80)]).expect("to attach");
    host.namespace.tool("nft flush ruleset");
    host.attach(&networks, "two", &two, vec![port(Protocol::Tcp, 8081, 80)]).expect("to attach");
    let listeners = [one.listen(80), two.listen(80)];
    assert_eq!(host.outside.reach((UPLINK, 8080), &listeners[0]), OUTSIDE);
    assert_eq!(host.outside.reach((UPLINK, 8081), &listeners[1]), OUTSIDE);
    // Taking back what is not there harms nobody else.
    host.namespace.tool("nft flush ruleset");
    host.namespace.run(|| networks.disconnect("two", "bridge", None)).expect("to detach");
    assert_eq!(host.outside.reach((UPLINK, 8080), &listeners[0]), OUTSIDE);

    let guard = quiet();
    host.namespace.run(|| networks.disconnect("one", "bridge", None)).expect("to detach");
    drop(guard);
    host.namespace.tool("ip link delete teu0");
    let three = Namespace::new();
    host.attach(&networks, "three", &three, vec![port(Protocol::Tcp, 8080, 80)]).expect("to attach");
    let listener = three.listen(80);
    assert_eq!(host.outside.reach((UPLINK, 8080), &listener), OUTSIDE);
    host.close(&networks);
}

#[test]
fn a_foreign_chain_that_drops_lets_our_packets_pass() {
    let (host, web) = (Host::new(), Namespace::new());
    host.namespace.tool("iptables -P FORWARD DROP");
    let before = host.namespace.tool("iptables -S FORWARD");
    let networks = host.open();
    host.attach(&networks, "web", &web, vec![port(Protocol::Tcp, 8080, 80)]).expect("to attach");
    let listener = web.listen(80);
    assert_eq!(host.outside.reach((UPLINK, 8080), &listener), OUTSIDE);
    assert_eq!(web.reach((OUTSIDE, 7000), &host.outside.listen(7000)), UPLINK);
    let rules = host.namespace.tool("iptables -S FORWARD");
    for direction in ["-i", "-o"] {
        let rule = format!("-A FORWARD {direction} teu0 -m comment --comment \"teu teu0\" -j ACCEPT");
        assert!(rules.contains(&rule), "{rules}");
    }
    // Not twice, and away at the end.
    drop(networks);
    let networks = host.open();
    assert_eq!(host.namespace.tool("iptables -S FORWARD"), rules);
    host.close(&networks);
    assert_eq!(host.namespace.tool("iptables -S FORWARD"), before);
}

#[test]
fn two_engines_live_side_by_side() {
    let (host, one, two) = (Host::new(), Namespace::new(), Namespace::new());
    let networks = host.open();
    let other = network::Options {
        data: host.options().data.join("other"),
        run: host.options().run.join("other"),
        bridge: "other0".parse().expect("a name"),
        ..host.options()
    };
    let others = host.namespace.run(|| network::Networks::open(other)).expect("networks");
    host.attach(&networks, "c", &one, vec![port(Protocol::Tcp, 8080, 80)]).expect("to attach");
    let endpoint = host.attach(&others, "c", &two, vec![port(Protocol::Tcp, 8081, 80)]).expect("to attach");
    assert_eq!(endpoint.address.to_string(), "172.18.0.2");
    let listeners = [one.listen(80), two.listen(80)];
    assert_eq!(host.outside.reach((UPLINK, 8080), &listeners[0]), OUTSIDE);
    assert_eq!(host.outside.reach((UPLINK, 8081), &listeners[1]), OUTSIDE);
    host.namespace.run(|| {
        others.disconnect("c", "bridge", None).expect("to disconnect");
        others.close().expect("to close");
    });
    assert_eq!(host.outside.reach((UPLINK, 8080), &listeners[0]), OUTSIDE);
    drop(two);
    host.close(&networks);
}
