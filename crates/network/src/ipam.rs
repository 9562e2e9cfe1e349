//! Addresses of one network: which are taken, which comes next. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::address::Subnet;

/// The addresses of a subnet.
///
/// The next free one after the last is given, not the lowest: an address rests as long as possible, so that
/// neighbours and a dying network namespace do not mistake the new owner for the old one.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    subnet: Subnet,
    /// The first and last number that may be given without being asked for.
    first: u32,
    last: u32,
    cursor: u32,
    /// Sixty-four addresses a word; words of zeros are absent.
    taken: BTreeMap<u32, u64>,
}

/// Why an address cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// Somebody has it.
    Taken,
    /// It is not one of the subnet's hosts.
    Outside,
}

impl Pool {
    /// A pool whose gateway is taken.
    pub(crate) fn new(subnet: Subnet, ip_range: Option<Subnet>, gateway: Ipv4Addr) -> Self {
        let (low, high) = hosts(subnet);
        let range = ip_range.unwrap_or(subnet);
        let (first, last) = (range.first().max(low), range.last().min(high));
        let mut pool = Self { subnet, first, last, cursor: last, taken: BTreeMap::new() };
        pool.set(u32::from(gateway));
        pool
    }

    /// Takes the next free address.
    pub(crate) fn allocate(&mut self) -> Option<Ipv4Addr> {
        let after = self.cursor.checked_add(1).filter(|next| (self.first..=self.last).contains(next));
        let start = after.unwrap_or(self.first);
        let number = self.free_between(start, self.last).or_else(|| self.free_between(self.first, start))?;
        self.cursor = number;
        self.set(number);
        Some(Ipv4Addr::from(number))
    }

    /// Takes this address.
    pub(crate) fn reserve(&mut self, address: Ipv4Addr) -> Result<(), Unavailable> {
        let number = u32::from(address);
        let (low, high) = hosts(self.subnet);
        if !(low..=high).contains(&number) {
            return Err(Unavailable::Outside);
        }
        if self.is_set(number) {
            return Err(Unavailable::Taken);
        }
        self.set(number);
        Ok(())
    }

    /// Takes an address of a record from an earlier life, and goes on after it.
    pub(crate) fn restore(&mut self, address: Ipv4Addr) {
        let number = u32::from(address);
        self.set(number);
        if (self.first..=self.last).contains(&number) && (self.cursor == self.last || self.cursor < number) {
            self.cursor = number;
        }
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, address: Ipv4Addr) {
        let number = u32::from(address);
        if let Some(word) = self.taken.get_mut(&(number / 64)) {
            *word &= !(1 << (number % 64));
            if *word == 0 {
                self.taken.remove(&(number / 64));
            }
        }
    }

    fn set(&mut self, number: u32) {
        *self.taken.entry(number / 64).or_default() |= 1 << (number % 64);
    }

    fn is_set(&self, number: u32) -> bool {
        self.taken.get(&(number / 64)).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// The lowest free number from `first` to `last`, both included.
    fn free_between(&self, first: u32, last: u32) -> Option<u32> {
        let mut number = first;
        while number <= last {
            let word = self.taken.get(&(number / 64)).copied().unwrap_or(0) >> (number % 64);
            let skip = word.trailing_ones();
            let left = 64 - number % 64;
            if skip < left {
                return number.checked_add(skip).filter(|free| *free <= last);
            }
            number = number.checked_add(left)?;
        }
        None
    }
}

/// The lowest and highest address that a host may have. Source: RFC 1122 section 3.2.1.3, RFC 3021.
fn hosts(subnet: Subnet) -> (u32, u32) {
    if subnet.prefix() >= 31 { (subnet.first(), subnet.last()) } else { (subnet.first() + 1, subnet.last() - 1) }
}

/// The subnets that networks get if none is asked for, in this order. Source: Docker, `ipamutils`' default pools.
pub(crate) fn candidates() -> impl Iterator<Item = Subnet> {
    let large = (17..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (0..16).map(|third| (Ipv4Addr::new(192, 168, third * 16, 0), 20));
    large.chain(small).filter_map(|(address, prefix)| Subnet::new(address, prefix))
}

/// The first candidate that overlaps none of these.
pub(crate) fn free_subnet(used: &[Subnet]) -> Option<Subnet> {
    candidates().find(|candidate| !used.iter().any(|used| used.overlaps(*candidate)))
}

/// The lowest host address, which a bridge gets.
pub(crate) fn first_host(subnet: Subnet) -> Ipv4Addr {
    Ipv4Addr::from(hosts(subnet).0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn pool(subnet: &str, range: Option<&str>) -> Pool {
        let subnet: Subnet = subnet.parse().unwrap();
        Pool::new(subnet, range.map(|range| range.parse().unwrap()), first_host(subnet))
    }

    #[test]
    fn addresses_come_in_order_and_rest_after_use() {
        let mut pool = pool("172.17.0.0/16", None);
        assert_eq!(pool.allocate(), Some(Ipv4Addr::new(172, 17, 0, 2)));
        pool.release(Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(pool.allocate(), Some(Ipv4Addr::new(172, 17, 0, 3)));
        assert_eq!(pool.reserve(Ipv4Addr::new(172, 17, 0, 3)), Err(Unavailable::Taken));
        assert_eq!(pool.reserve(Ipv4Addr::new(172, 17, 0, 1)), Err(Unavailable::Taken));
        assert_eq!(pool.reserve(Ipv4Addr::new(172, 17, 255, 255)), Err(Unavailable::Outside));
        assert_eq!(pool.reserve(Ipv4Addr::new(172, 17, 0, 4)), Ok(()));
        assert_eq!(pool.allocate(), Some(Ipv4Addr::new(172, 17, 0, 5)));
    }

    #[test]
    fn a_full_pool_gives_what_is_released() {
        let mut pool = pool("10.0.0.0/30", None);
        assert_eq!(pool.allocate(), Some(Ipv4Addr::new(10, 0, 0, 2)));
        assert_eq!(pool.allocate(), None);
        pool.release(Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(pool.allocate(), Some(Ipv4Addr::new(10, 0, 0, 2)));
        assert_eq!(super::tests::pool("10.0.0.1/32", None).allocate(), None);
    }

    #[test]
    fn a_range_bounds_what_is_given_but_not_what_is_asked_for() {
        let mut pool = pool("10.0.0.0/24", Some("10.0.0.128/31"));
        assert_eq!(pool.allocate(), Some(Ipv4Addr::new(10, 0, 0, 128)));
        assert_eq!(pool.allocate(), Some(Ipv4Addr::new(10, 0, 0, 129)));
        assert_eq!(pool.allocate(), None);
        assert_eq!(pool.reserve(Ipv4Addr::new(10, 0, 0, 9)), Ok(()));
    }

    #[test]
    fn the_first_free_subnet_is_taken() {
        let used: Vec<Subnet> = ["172.17.0.0/16", "172.18.5.0/24"].map(|text| text.parse().unwrap()).into();
        assert_eq!(free_subnet(&used).unwrap().to_string(), "172.19.0.0/16");
        assert_eq!(free_subnet(&["0.0.0.0/0".parse().unwrap()]), None);
        assert_eq!(candidates().last().unwrap().to_string(), "192.168.240.0/20");
    }

    proptest::proptest! {
        #[test]
        fn a_pool_acts_like_a_set(acts: Vec<(bool, u8)>) {
            let mut pool = pool("10.0.0.0/24", None);
            let mut model = BTreeSet::from([1]);
            for (allocate, last) in acts {
                let address = Ipv4Addr::new(10, 0, 0, last);
                if allocate {
                    let given = pool.allocate();
                    assert_eq!(given.is_none(), model.len() == 254);
                    assert!(given.is_none_or(|given| model.insert(given.octets()[3])));
                } else if last != 1 {
                    model.remove(&last);
                    pool.release(address);
                }
            }
        }
    }
}
