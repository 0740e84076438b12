//! The map against `BTreeMap`, and what two versions share.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use proptest::prelude::*;

use super::{Change, Link, PrefixMap, height};

fn host(n: u32) -> IpNet {
    IpNet::from(std::net::IpAddr::from(Ipv4Addr::from(0xC000_0000 + n)))
}

/// A few hundred prefixes, half of them with bits behind their length.
fn prefix() -> impl Strategy<Value = IpNet> {
    (0..200_u32, 31..=32_u8)
        .prop_map(|(n, length)| Ipv4Net::new(Ipv4Addr::from(0xC000_0000 + n), length).unwrap().into())
}

#[derive(Debug, Clone)]
enum Op {
    Insert(IpNet, u8),
    Remove(IpNet),
    /// What was changed until now is the older version.
    Keep,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (prefix(), 0..3_u8).prop_map(|(prefix, value)| Op::Insert(prefix, value)),
        8 => prefix().prop_map(Op::Remove),
        1 => Just(Op::Keep),
    ]
}

/// How many nodes there are; each in its place, and each side as high as the other or one more.
fn audit(link: &Link<u8>, between: (Option<IpNet>, Option<IpNet>)) -> usize {
    let Some(node) = link else { return 0 };
    let (left, right) = (height(&node.left), height(&node.right));
    assert!(left.abs_diff(right) <= 1, "{left} and {right} at {}", node.prefix);
    assert_eq!(node.height, 1 + left.max(right));
    assert!(between.0.is_none_or(|after| after < node.prefix));
    assert!(between.1.is_none_or(|before| node.prefix < before));
    let (before, after) = ((between.0, Some(node.prefix)), (Some(node.prefix), between.1));
    1 + audit(&node.left, before) + audit(&node.right, after)
}

fn assert_same(map: &PrefixMap<u8>, model: &BTreeMap<IpNet, u8>) {
    assert_eq!(audit(&map.root, (None, None)), model.len());
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
fn a_change_and_the_difference_that_it_makes_do_not_look_at_what_is_shared() {
    let touched = std::cell::Cell::new(0);
    let before: PrefixMap<Counted<'_>> = (0..100_000).map(|n| (host(n), Counted(n, &touched))).collect();
    // 1.44 log2 of 100,000 is 23.9; a rotation copies two nodes beside the path, and a removal rotates at each level.
    for n in [0, 1, 49_999, 65_535, 99_998, 99_999] {
        touched.set(0);
        let mut after = before.clone();
        after.insert(host(n), Counted(0, &touched));
        after.insert(host(n), Counted(n + 1, &touched));
        assert_eq!(before.diff(&after).map(|change| change.prefix).collect::<Vec<_>>(), [host(n)]);
        assert!(touched.get() <= 24 + 24, "{} nodes for a change of {n}", touched.get());
        touched.set(0);
        let mut after = before.clone();
        after.remove(&host(n));
        assert_eq!(before.diff(&after).map(|change| change.prefix).collect::<Vec<_>>(), [host(n)]);
        assert!(touched.get() <= 4 * 24, "{} nodes for a removal of {n}", touched.get());
        touched.set(0);
        let mut back = after.clone();
        back.insert(host(n), Counted(n, &touched));
        assert_eq!(before.diff(&back).next(), None);
        assert_eq!(after.diff(&back).map(|change| change.prefix).collect::<Vec<_>>(), [host(n)]);
        assert!(touched.get() <= 8 * 24, "{} nodes for {n} again", touched.get());
    }
}

#[test]
fn an_insertion_of_ascending_prefixes_keeps_it_flat() {
    let map: PrefixMap<u8> = (0..4096).map(|n| (host(n), 0)).collect();
    assert_eq!(audit(&map.root, (None, None)), 4096);
    assert_eq!(height(&map.root), 13);
}
