//! Addresses: subnets and the hardware addresses derived from them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 subnet, or an address together with its subnet's prefix length.
///
/// [`Subnet::network`] gives the form without host bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet {
    address: Ipv4Addr,
    prefix: u8,
}

/// The text is not a subnet.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid CIDR address: {text}")]
pub struct SubnetError {
    /// What was given.
    pub text: String,
}

impl Subnet {
    /// Makes a subnet of an address and a prefix length, which is at most 32.
    #[must_use]
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then_some(Self { address, prefix })
    }

    /// The address as it was written, host bits included.
    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        self.address
    }

    /// The prefix length in bits.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The netmask as a number.
    #[must_use]
    pub fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }

    /// The same subnet without host bits.
    #[must_use]
    pub fn network(self) -> Self {
        Self { address: Ipv4Addr::from(self.first()), prefix: self.prefix }
    }

    /// The number of its lowest address.
    #[must_use]
    pub fn first(self) -> u32 {
        u32::from(self.address) & self.mask()
    }

    /// The number of its highest address.
    #[must_use]
    pub fn last(self) -> u32 {
        self.first() | !self.mask()
    }

    /// The address to which all hosts of the subnet listen.
    #[must_use]
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from(self.last())
    }

    /// Whether the address belongs to the subnet.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == self.first()
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first() <= other.last() && other.first() <= self.last()
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            Self::new(address.parse().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or_else(|| SubnetError { text: text.to_owned() })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// An IPv6 subnet, or an address together with its subnet's prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet6 {
    address: Ipv6Addr,
    prefix: u8,
}

impl Subnet6 {
    /// Makes a subnet of an address and a prefix length, which is at most 128.
    #[must_use]
    pub fn new(address: Ipv6Addr, prefix: u8) -> Option<Self> {
        (prefix <= 128).then_some(Self { address, prefix })
    }

    /// The address as it was written, host bits included.
    #[must_use]
    pub fn address(self) -> Ipv6Addr {
        self.address
    }

    /// The prefix length in bits.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    fn mask(self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0)
    }

    /// The same subnet without host bits.
    #[must_use]
    pub fn network(self) -> Self {
        Self { address: Ipv6Addr::from(self.first()), prefix: self.prefix }
    }

    /// The number of its lowest address.
    #[must_use]
    pub fn first(self) -> u128 {
        u128::from(self.address) & self.mask()
    }

    /// The number of its highest address.
    #[must_use]
    pub fn last(self) -> u128 {
        self.first() | !self.mask()
    }

    /// Whether the address belongs to the subnet.
    #[must_use]
    pub fn contains(self, address: Ipv6Addr) -> bool {
        u128::from(address) & self.mask() == self.first()
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first() <= other.last() && other.first() <= self.last()
    }
}

impl FromStr for Subnet6 {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            Self::new(address.parse().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or_else(|| SubnetError { text: text.to_owned() })
    }
}

impl fmt::Display for Subnet6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A hardware address of Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

/// The text is not a hardware address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid MAC address: {text}")]
pub struct MacError {
    /// What was given.
    pub text: String,
}

impl Mac {
    /// The address that belongs to an IPv4 address, so that a neighbour's ARP entry stays true when the
    /// address is used again. Source: Docker, `netutils.GenerateMACFromIP`.
    #[must_use]
    pub fn of(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let parse = || {
            let mut bytes = [0; 6];
            let mut parts = text.split([':', '-']);
            for byte in &mut bytes {
                let part = parts.next()?;
                if part.len() != 2 || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return None;
                }
                *byte = u8::from_str_radix(part, 16).ok()?;
            }
            parts.next().is_none().then_some(Self(bytes))
        };
        parse().ok_or_else(|| MacError { text: text.to_owned() })
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Lets serde use a type's text form.
macro_rules! serde_by_text {
    ($($type:ty),+) => {$(
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use serde_by_text;

serde_by_text!(Subnet, Subnet6, Mac);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_knows_its_bounds() {
        let subnet: Subnet = "172.17.0.1/16".parse().unwrap();
        assert_eq!(subnet.network().to_string(), "172.17.0.0/16");
        assert_eq!(subnet.broadcast(), Ipv4Addr::new(172, 17, 255, 255));
        assert!(subnet.contains(Ipv4Addr::new(172, 17, 3, 4)));
        assert!(!subnet.contains(Ipv4Addr::new(172, 18, 0, 0)));
        let all: Subnet = "0.0.0.0/0".parse().unwrap();
        assert!(all.overlaps(subnet) && subnet.overlaps(all));
        assert_eq!(all.mask(), 0);
        let one: Subnet = "10.0.0.1/32".parse().unwrap();
        assert_eq!((one.first(), one.last()), (0x0a00_0001, 0x0a00_0001));
    }

    #[test]
    fn bad_subnets_are_refused() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/+8", "10.0.0.0/", "::/64"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }

    #[test]
    fn hardware_addresses_follow_the_address() {
        let mac = Mac::of(Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!("02:42:AC:11:00:02".parse(), Ok(mac));
        for text in ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "02:42:ac:11:00:+2", "2:42:ac:11:00:02"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
