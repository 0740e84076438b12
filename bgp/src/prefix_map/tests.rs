//! The map against `BTreeMap`, and the branches that two versions share.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::{Change, Node, PrefixMap, digit, first_difference};

fn host(n: u32) -> IpNet {
    IpNet::from(std::net::IpAddr::from(Ipv4Addr::from(0xC000_0000 + n)))
}

/// Prefixes of both families, close together and far apart, half of them with bits behind their length.
fn prefix() -> impl Strategy<Value = IpNet> {
    let v4 = |(n, length)| Ipv4Net::new(Ipv4Addr::from(n), length).unwrap().into();
    let v6 = |(n, length)| Ipv6Net::new(Ipv6Addr::from(n), length).unwrap().into();
    prop_oneof![
        8 => (0xC000_0000..0xC000_00C8_u32, 31..=32_u8).prop_map(v4),
        2 => ((0..4_u32).prop_map(|n| n << 29), prop_oneof![Just(0), Just(3), Just(16)]).prop_map(v4),
        3 => ((0..40_u128).prop_map(|n| n << 60 | n), 127..=128_u8).prop_map(v6),
    ]
}

#[derive(Debug, Clone)]
enum Op {
    Insert(IpNet, u8),
    Remove(IpNet),
    /// The map as changed so far is the older version.
    Keep,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (prefix(), 0..3_u8).prop_map(|(prefix, value)| Op::Insert(prefix, value)),
        8 => prefix().prop_map(Op::Remove),
        1 => Just(Op::Keep),
    ]
}

/// How many prefixes there are below; each branch stands where they differ first, and each in its place.
fn audit(node: &Node<u8>) -> usize {
    let Node::Branch(branch) = node else { return 1 };
    assert!(branch.below.len() >= 2, "a branch is none");
    assert_eq!(branch.below.len(), branch.digits.count_ones() as usize);
    let nearest = |node: &Node<u8>| match node {
        Node::Entry(prefix, _) => *prefix,
        Node::Branch(below) => {
            assert!(below.at > branch.at);
            *node.nearest(&host(0))
        }
    };
    let prefixes: Vec<IpNet> = branch.below.iter().map(nearest).collect();
    for pair in prefixes.windows(2) {
        assert_eq!(first_difference(&pair[0], &pair[1]), Some(branch.at));
        assert!(pair[0] < pair[1]);
    }
    assert!(prefixes.iter().all(|prefix| branch.digits >> digit(prefix, branch.at) & 1 == 1));
    branch.below.iter().map(audit).sum()
}

fn assert_same(map: &PrefixMap<u8>, model: &BTreeMap<IpNet, u8>) {
    assert_eq!(map.root.as_ref().map_or(0, audit), model.len());
    assert_eq!(map.len(), model.len());
    assert_eq!(map.iter().len(), model.len());
    assert!(map.iter().eq(model.iter()));
    assert_eq!(map.is_truncated(), model.keys().all(|prefix| prefix.trunc() == *prefix));
}

/// Every prefix that is not the same in both, by looking at all.
fn plain_diff<'a>(old: &'a BTreeMap<IpNet, u8>, new: &'a BTreeMap<IpNet, u8>) -> Vec<Change<'a, u8>> {
    let all: BTreeMap<IpNet, ()> = old.keys().chain(new.keys()).map(|prefix| (*prefix, ())).collect();
    let changes =
        all.keys().map(|prefix| Change { prefix: *prefix, old: old.get(prefix), new: new.get(prefix) });
    changes.filter(|change| change.old != change.new).collect()
}

proptest! {
    #![proptest_config(crate::testing::cases(200))]

    #[test]
    fn it_is_a_map_and_its_older_version_stays_as_it_was(ops in proptest::collection::vec(op(), 0..400)) {
        let (mut map, mut model) = (PrefixMap::new(), BTreeMap::new());
        let mut older = (map.clone(), model.clone());
        for op in ops {
            match op {
                Op::Insert(prefix, value) => {
                    prop_assert_eq!(map.insert(prefix, value), model.insert(prefix, value));
                }
                Op::Remove(prefix) => prop_assert_eq!(map.remove(&prefix), model.remove(&prefix)),
                Op::Keep => older = (map.clone(), model.clone()),
            }
            prop_assert_eq!(map.len(), model.len());
        }
        assert_same(&map, &model);
        assert_same(&older.0, &older.1);
        let changes: Vec<_> = older.0.diff(&map).collect();
        prop_assert_eq!(&changes, &plain_diff(&older.1, &model));
        prop_assert_eq!(map == older.0, changes.is_empty());
        // Made anew, the same map shares nothing.
        let anew: PrefixMap<u8> = model.iter().map(|(prefix, value)| (*prefix, *value)).collect();
        prop_assert_eq!(&anew, &map);
        prop_assert_eq!(older.0.diff(&anew).collect::<Vec<_>>(), changes);
    }
}

/// A value that counts how often it is compared and copied.
#[derive(Debug)]
struct Counted<'a>(u32, &'a std::cell::Cell<u32>);

impl Clone for Counted<'_> {
    fn clone(&self) -> Self {
        self.1.set(self.1.get() + 1);
        Self(self.0, self.1)
    }
}

impl PartialEq for Counted<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.1.set(self.1.get() + 1);
        self.0 == other.0
    }
}

#[test]
fn a_route_takes_32_bytes_beside_its_attributes() {
    assert_eq!(size_of::<Node<std::sync::Arc<crate::RouteAttributes>>>(), 32);
}

#[test]
fn a_change_and_the_difference_that_it_makes_do_not_look_at_what_is_shared() {
    let touched = std::cell::Cell::new(0);
    let before: PrefixMap<Counted<'_>> = (0..100_000).map(|n| (host(n), Counted(n, &touched))).collect();
    // The prefixes of the last branch are copied with it, and compared.
    for n in [0, 1, 49_999, 65_535, 99_998, 99_999] {
        touched.set(0);
        let mut after = before.clone();
        after.insert(host(n), Counted(0, &touched));
        after.insert(host(n), Counted(n + 1, &touched));
        assert_eq!(before.diff(&after).map(|change| change.prefix).collect::<Vec<_>>(), [host(n)]);
        assert!(touched.get() <= 2 * 16 + 2, "{} values for a change of {n}", touched.get());
        touched.set(0);
        let mut after = before.clone();
        after.remove(&host(n));
        assert_eq!(before.diff(&after).map(|change| change.prefix).collect::<Vec<_>>(), [host(n)]);
        assert!(touched.get() <= 2 * 16 + 2, "{} values for a removal of {n}", touched.get());
        touched.set(0);
        let mut back = after.clone();
        back.insert(host(n), Counted(n, &touched));
        assert_eq!(before.diff(&back).next(), None);
        assert_eq!(after.diff(&back).map(|change| change.prefix).collect::<Vec<_>>(), [host(n)]);
        assert!(touched.get() <= 4 * 16 + 2, "{} values for {n} again", touched.get());
    }
}

proptest! {
    #[test]
    fn prefixes_are_in_the_order_of_their_digits(one in prefix(), other in prefix()) {
        let digits = |prefix: &IpNet| (0..=34).map(|at| digit(prefix, at)).collect::<Vec<_>>();
        let (these, those) = (digits(&one), digits(&other));
        prop_assert_eq!(these.cmp(&those), one.cmp(&other));
        let differs = these.iter().zip(&those).position(|(this, that)| this != that);
        prop_assert_eq!(first_difference(&one, &other).map(usize::from), differs);
    }
}
