//! The table as `nft` reads it: what we encode must mean what it says.

use std::net::Ipv4Addr;

use network::port::{PortSpec, Protocol};

use crate::host::{Host, Namespace, port};

const TABLE: &str = r#"table inet teu {
	set nets {
		type ifname
		elements = { "teu0" }
	}

	set masq {
		type ifname
		elements = { "teu0" }
	}

	map pair {
		type ifname . ifname : verdict
		elements = { "teu0" . "teu0" : accept }
	}

	map from_net {
		type ifname : verdict
	}

	map to_net {
		type ifname : verdict
		elements = { "teu0" : jump enter_nat }
	}

	set sub4 {
		type ifname . ipv4_addr
		flags interval
		elements = { "teu0" . 172.17.0.0/16 }
	}

	map pub4 {
		type inet_proto . inet_service : ipv4_addr . inet_service
		elements = { tcp . 8080 : 172.17.0.2 . 80 }
	}

	map pub4ip {
		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
		elements = { 127.0.0.1 . udp . 5353 : 172.17.0.2 . 53 }
	}

	set sub6 {
		type ifname . ipv6_addr
		flags interval
	}

	map pub6 {
		type inet_proto . inet_service : ipv6_addr . inet_service
	}

	map pub6ip {
		type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
	}

	chain publish {
		dnat ip to ip daddr . meta l4proto . th dport map @pub4ip
		meta nfproto ipv4 dnat ip to meta l4proto . th dport map @pub4
		dnat ip6 to ip6 daddr . meta l4proto . th dport map @pub6ip
		meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @pub6
	}

	chain enter_nat {
		ct status dnat accept
		drop
	}

	chain guard {
		type filter hook prerouting priority raw; policy accept;
		iifname != "lo" ip daddr 127.0.0.0/8 drop
	}

	chain prerouting {
		type nat hook prerouting priority dstnat - 1; policy accept;
		fib daddr type local jump publish
	}

	chain output {
		type nat hook output priority -101; policy accept;
		fib daddr type local jump publish
	}

	chain postrouting {
		type nat hook postrouting priority srcnat - 1; policy accept;
		ip saddr 127.0.0.0/8 oifname @nets masquerade
		ct status dnat oifname . ip saddr @sub4 masquerade
		ct status dnat oifname . ip6 saddr @sub6 masquerade
		iifname @masq oifname != @nets masquerade
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		ct state established,related accept
		iifname . oifname vmap @pair
		iifname vmap @from_net
		oifname vmap @to_net
	}
}
"#;

#[test]
fn nft_reads_what_was_written() {
    let (host, web) = (Host::new(), Namespace::new());
    let networks = host.open();
    let local = PortSpec { host_ip: Some(Ipv4Addr::LOCALHOST.into()), ..port(Protocol::Udp, 5353, 53) };
    host.attach(&networks, "web", &web, vec![port(Protocol::Tcp, 8080, 80), local]).expect("to attach");
    assert_eq!(host.namespace.tool("nft list table inet teu"), TABLE);
    host.close(&networks);
}
