//! Addresses of one network: which are taken, which comes next. Pure.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::address::{Subnet, Subnet6};

/// An address as a number.
pub(crate) trait Number: Copy + Ord {
    /// The number of an address.
    fn number(self) -> u128;
    /// The address of a number, which is in its range.
    fn of(number: u128) -> Self;
}

impl Number for Ipv4Addr {
    fn number(self) -> u128 {
        u32::from(self).into()
    }

    fn of(number: u128) -> Self {
        u32::try_from(number).unwrap_or(u32::MAX).into()
    }
}

impl Number for Ipv6Addr {
    fn number(self) -> u128 {
        self.into()
    }

    fn of(number: u128) -> Self {
        number.into()
    }
}

/// The addresses of a subnet.
///
/// The next free one after the last is given, not the lowest: an address rests as long as possible, so that
/// neighbours and a dying network namespace do not mistake the new owner for the old one.
#[derive(Debug, Clone)]
pub(crate) struct Pool<A> {
    /// The lowest and highest address that a host may have.
    hosts: (u128, u128),
    /// The first and last number that may be given without being asked for.
    first: u128,
    last: u128,
    cursor: u128,
    /// Sixty-four addresses a word; words of zeros are absent.
    taken: BTreeMap<u128, u64>,
    family: PhantomData<A>,
}

/// Why an address cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// Somebody has it.
    Taken,
    /// It is not one of the subnet's hosts.
    Outside,
}

impl Pool<Ipv4Addr> {
    /// A pool whose gateway is taken.
    pub(crate) fn new(subnet: Subnet, ip_range: Option<Subnet>, gateway: Ipv4Addr) -> Self {
        let (low, high) = hosts(subnet);
        let range = ip_range.unwrap_or(subnet);
        Self::between((low.into(), high.into()), (range.first().into(), range.last().into()), gateway)
    }
}

impl Pool<Ipv6Addr> {
    /// A pool whose gateway is taken. The lowest address is every router's. Source: RFC 4291 section 2.6.1.
    pub(crate) fn new6(subnet: Subnet6, ip_range: Option<Subnet6>, gateway: Ipv6Addr) -> Self {
        let range = ip_range.unwrap_or(subnet);
        let low = if subnet.prefix() >= 127 { subnet.first() } else { subnet.first() + 1 };
        Self::between((low, subnet.last()), (range.first(), range.last()), gateway)
    }
}

impl<A: Number> Pool<A> {
    fn between(hosts: (u128, u128), range: (u128, u128), gateway: A) -> Self {
        let (first, last) = (range.0.max(hosts.0), range.1.min(hosts.1));
        let mut pool = Self { hosts, first, last, cursor: last, taken: BTreeMap::new(), family: PhantomData };
        pool.set(gateway.number());
        pool
    }

    /// Takes the next free address.
    pub(crate) fn allocate(&mut self) -> Option<A> {
        let after = self.cursor.checked_add(1).filter(|next| (self.first..=self.last).contains(next));
        let start = after.unwrap_or(self.first);
        let number = self.free_between(start, self.last).or_else(|| self.free_between(self.first, start))?;
        self.cursor = number;
        self.set(number);
        Some(A::of(number))
    }

    /// Takes this address.
    pub(crate) fn reserve(&mut self, address: A) -> Result<(), Unavailable> {
        let number = address.number();
        if !(self.hosts.0..=self.hosts.1).contains(&number) {
            return Err(Unavailable::Outside);
        }
        if self.is_set(number) {
            return Err(Unavailable::Taken);
        }
        self.set(number);
        Ok(())
    }

    /// Takes an address of a record from an earlier life, and goes on after it.
    pub(crate) fn restore(&mut self, address: A) {
        let number = address.number();
        self.set(number);
        if (self.first..=self.last).contains(&number) && (self.cursor == self.last || self.cursor < number) {
            self.cursor = number;
        }
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, address: A) {
        let number = address.number();
        if let Some(word) = self.taken.get_mut(&(number / 64)) {
            *word &= !(1 << (number % 64));
            if *word == 0 {
                self.taken.remove(&(number / 64));
            }
        }
    }

    fn set(&mut self, number: u128) {
        *self.taken.entry(number / 64).or_default() |= 1 << (number % 64);
    }

    fn is_set(&self, number: u128) -> bool {
        self.taken.get(&(number / 64)).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// The lowest free number from `first` to `last`, both included.
    fn free_between(&self, first: u128, last: u128) -> Option<u128> {
        let mut number = first;
        while number <= last {
            let word = self.taken.get(&(number / 64)).copied().unwrap_or(0) >> (number % 64);
            let skip = u128::from(word.trailing_ones());
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

    fn pool(subnet: &str, range: Option<&str>) -> Pool<Ipv4Addr> {
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
    fn wide_subnets_have_room_too() {
        let mut pool = Pool::new6("fd00:1::/64".parse().unwrap(), None, "fd00:1::1".parse().unwrap());
        assert_eq!(pool.allocate(), Some("fd00:1::2".parse().unwrap()));
        assert_eq!(pool.reserve("fd00:1::2".parse().unwrap()), Err(Unavailable::Taken));
        assert_eq!(pool.reserve("fd00:2::2".parse().unwrap()), Err(Unavailable::Outside));
        assert_eq!(pool.reserve("fd00:1::ffff:ffff:ffff:ffff".parse().unwrap()), Ok(()));
        assert_eq!(pool.allocate(), Some("fd00:1::3".parse().unwrap()));
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
