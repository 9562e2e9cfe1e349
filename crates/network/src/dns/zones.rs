//! Who is called what in which network, and who may ask. Pure.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Entry, View};

/// The names of all networks.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    /// By the network's identity.
    zones: HashMap<String, Zone>,
    /// Where an endpoint's names are.
    endpoints: HashMap<String, Entry>,
    /// The turn of names that several endpoints have.
    turn: usize,
}

#[derive(Debug, Default)]
struct Zone {
    /// Addresses by name, each with its endpoint.
    names: HashMap<String, Vec<(String, IpAddr)>>,
    /// The container's name by address.
    addresses: HashMap<IpAddr, String>,
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// Its addresses, those of the asked family only; none if it has addresses of the other family alone.
    Addresses(Vec<IpAddr>),
    /// Nothing: others must be asked.
    Nothing,
}

impl Zones {
    /// Adds an endpoint, or changes its names.
    pub(crate) fn publish(&mut self, entry: Entry) {
        self.withdraw(&entry.endpoint);
        let zone = self.zones.entry(entry.network.clone()).or_default();
        for name in &entry.names {
            let slot = zone.names.entry(name.to_lowercase()).or_default();
            slot.extend(entry.addresses.iter().map(|address| (entry.endpoint.clone(), *address)));
        }
        for address in &entry.addresses {
            zone.addresses.insert(*address, entry.container.clone());
        }
        self.endpoints.insert(entry.endpoint.clone(), entry);
    }

    /// Takes an endpoint out.
    pub(crate) fn withdraw(&mut self, endpoint: &str) {
        let Some(entry) = self.endpoints.remove(endpoint) else {
            return;
        };
        let Some(zone) = self.zones.get_mut(&entry.network) else {
            return;
        };
        for name in &entry.names {
            let name = name.to_lowercase();
            if let Some(slot) = zone.names.get_mut(&name) {
                slot.retain(|(owner, _)| owner != endpoint);
                if slot.is_empty() {
                    zone.names.remove(&name);
                }
            }
        }
        for address in &entry.addresses {
            zone.addresses.remove(address);
        }
        if zone.names.is_empty() {
            self.zones.remove(&entry.network);
        }
    }

    /// Looks a name up as the owner of a view sees it: `name` in all its networks, `name.network` in one. Both may
    /// have dots. Source: moby, `libnetwork/sandbox.go`, `ResolveName`.
    pub(crate) fn find(&mut self, view: &View, name: &str, six: bool) -> Known {
        let dots = name.char_indices().rev().filter(|(_, sign)| *sign == '.');
        let splits = dots.map(|(at, _)| (&name[..at], Some(&name[at + 1..])));
        for (name, network) in std::iter::once((name, None)).chain(splits) {
            let found = self.find_in(view, name, network);
            if !found.is_empty() {
                let mut fitting: Vec<IpAddr> = found.into_iter().filter(|address| address.is_ipv6() == six).collect();
                if fitting.len() > 1 {
                    self.turn = self.turn.wrapping_add(1);
                    let turn = self.turn % fitting.len();
                    fitting.rotate_left(turn);
                }
                return Known::Addresses(fitting);
            }
        }
        Known::Nothing
    }

    /// The addresses in the first network that knows the name.
    fn find_in(&self, view: &View, name: &str, network: Option<&str>) -> Vec<IpAddr> {
        for place in view.networks.iter().filter(|place| network.is_none_or(|network| place.name.eq_ignore_ascii_case(network))) {
            let Some(zone) = self.zones.get(&place.id) else {
                continue;
            };
            let linked = place.links.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
            let name = linked.map_or_else(|| name.to_owned(), |(_, target)| target.to_lowercase());
            if let Some(slot) = zone.names.get(&name) {
                return slot.iter().map(|(_, address)| *address).collect();
            }
        }
        Vec::new()
    }

    /// The name of an address, `container.network`.
    pub(crate) fn name_of(&self, view: &View, address: IpAddr) -> Option<String> {
        view.networks.iter().find_map(|place| {
            let name = self.zones.get(&place.id)?.addresses.get(&address)?;
            Some(format!("{name}.{}", place.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    fn entry(endpoint: &str, network: &str, names: &[&str], addresses: &[&str]) -> Entry {
        Entry {
            endpoint: endpoint.to_owned(),
            network: network.to_owned(),
            container: names[0].to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn view(networks: &[(&str, &str)], links: &[(&str, &str)]) -> View {
        let links: Vec<_> = links.iter().map(|(alias, target)| ((*alias).to_owned(), (*target).to_owned())).collect();
        let place = |(id, name): &(&str, &str)| Place { id: (*id).to_owned(), name: (*name).to_owned(), links: links.clone() };
        View { networks: networks.iter().map(place).collect(), ..View::default() }
    }

    fn addresses(texts: &[&str]) -> Known {
        Known::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn names_are_known_in_their_networks_only() {
        let mut zones = Zones::default();
        zones.publish(entry("e1", "n1", &["Web", "www"], &["10.0.0.2", "fd00::2"]));
        zones.publish(entry("e2", "n2", &["db.one"], &["10.1.0.2"]));
        let both = view(&[("n1", "shop"), ("n2", "back.end")], &[("store", "web")]);
        for (name, six, wanted) in [
            ("web", false, addresses(&["10.0.0.2"])),
            ("www", true, addresses(&["fd00::2"])),
            ("web.shop", false, addresses(&["10.0.0.2"])),
            ("db.one", false, addresses(&["10.1.0.2"])),
            ("db.one.back.end", false, addresses(&["10.1.0.2"])),
            ("db.one", true, addresses(&[])),
            ("store", false, addresses(&["10.0.0.2"])),
            ("web.back.end", false, Known::Nothing),
            ("example.org", false, Known::Nothing),
        ] {
            assert_eq!(zones.find(&both, name, six), wanted, "{name}");
        }
        assert_eq!(zones.find(&view(&[("n2", "x")], &[]), "web", false), Known::Nothing);
        assert_eq!(zones.name_of(&both, "10.0.0.2".parse().unwrap()).as_deref(), Some("Web.shop"));
        zones.withdraw("e1");
        assert_eq!(zones.find(&both, "web", false), Known::Nothing);
        assert_eq!(zones.name_of(&both, "10.0.0.2".parse().unwrap()), None);
    }

    #[test]
    fn endpoints_of_one_name_take_turns() {
        let mut zones = Zones::default();
        for (endpoint, address) in [("a", "10.0.0.2"), ("b", "10.0.0.3"), ("c", "10.0.0.4")] {
            zones.publish(entry(endpoint, "n", &[endpoint, "all"], &[address]));
        }
        let seen: std::collections::BTreeSet<IpAddr> = (0..3)
            .filter_map(|_| match zones.find(&view(&[("n", "n")], &[]), "all", false) {
                Known::Addresses(found) if found.len() == 3 => found.first().copied(),
                Known::Addresses(_) | Known::Nothing => None,
            })
            .collect();
        assert_eq!(seen.len(), 3);
    }
}
