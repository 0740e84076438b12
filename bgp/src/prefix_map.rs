//! An ordered, persistent map by prefix: copies share their common branches.
//!
//! ```text
//!  before ──► 192.0.2.?        192.0.2.? ◄── after: before, with 192.0.2.35 inserted
//!              │  │  │          │  │  │
//!             .1? │ .f?     (shared) │ (shared)
//!                .2?                .2?
//!                / \                / | \
//!              .33 .34          .33 .34 .35
//! ```
//!
//! A copy takes constant time. A change copies the shared branches from the root to its place. The difference of two
//! versions skips the shared branches. So one change among 100,000 prefixes costs little more than one among ten, with
//! any number of sessions that hold the map.
//!
//! It is a radix tree over hexadecimal digits. Branches exist only where prefixes differ, so the same prefixes always
//! make the same tree, independent of earlier contents.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use ipnet::IpNet;

/// An ordered map from prefixes to `V`. Cloning it takes constant time; see the [module](self).
#[derive(Clone)]
pub struct PrefixMap<V> {
    root: Option<Node<V>>,
    len: usize,
    /// The number of prefixes with bits behind their length.
    untruncated: usize,
}

#[derive(Clone)]
enum Node<V> {
    Entry(IpNet, V),
    Branch(Arc<Branch<V>>),
}

/// Two or more prefixes with equal digits before `at`, and different ones there.
#[derive(Clone)]
struct Branch<V> {
    at: u8,
    /// The set of digits, a bit each.
    digits: u16,
    /// The nodes below the digits, in their order.
    below: Vec<Node<V>>,
}

impl<V> PrefixMap<V> {
    /// An empty map.
    pub const fn new() -> Self {
        Self { root: None, len: 0, untruncated: 0 }
    }

    /// The number of prefixes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the map has no prefix.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of `prefix`.
    pub fn get(&self, prefix: &IpNet) -> Option<&V> {
        let mut node = self.root.as_ref()?;
        loop {
            match node {
                Node::Entry(found, value) => return (found == prefix).then_some(value),
                Node::Branch(branch) => node = branch.below.get(branch.slot(prefix).ok()?)?,
            }
        }
    }

    /// Whether `prefix` is in the map.
    pub fn contains_key(&self, prefix: &IpNet) -> bool {
        self.get(prefix).is_some()
    }

    /// All prefixes and their values, in the order of the prefixes.
    pub fn iter(&self) -> Iter<'_, V> {
        Iter { ahead: Ahead::of(&self.root), left: self.len }
    }

    /// All prefixes in their order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &IpNet> {
        self.iter().map(|(prefix, _)| prefix)
    }

    /// All values, in the order of their prefixes.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Whether both maps are the same version.
    #[cfg(test)]
    pub(crate) fn is_shared_with(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (Some(Node::Branch(root)), Some(Node::Branch(other))) => Arc::ptr_eq(root, other),
            (root, other) => root.is_none() && other.is_none(),
        }
    }

    /// Whether every prefix has only zeroes behind its length.
    pub(crate) fn is_truncated(&self) -> bool {
        self.untruncated == 0
    }
}

impl<V: Clone> PrefixMap<V> {
    /// Sets the value of `prefix`, and returns the one before.
    pub fn insert(&mut self, prefix: IpNet, value: V) -> Option<V> {
        let Some(root) = &mut self.root else {
            self.root = Some(Node::Entry(prefix, value));
            self.count(prefix);
            return None;
        };
        let before = match first_difference(root.nearest(&prefix), &prefix) {
            None => root.value_mut(&prefix).map(|before| std::mem::replace(before, value)),
            Some(at) => {
                root.add(at, prefix, value);
                None
            }
        };
        if before.is_none() {
            self.count(prefix);
        }
        before
    }

    /// Removes `prefix`, and returns its value.
    pub fn remove(&mut self, prefix: &IpNet) -> Option<V> {
        // Search first: a search without a result must not copy shared branches.
        let value = self.get(prefix)?.clone();
        self.len -= 1;
        self.untruncated -= usize::from(prefix.trunc() != *prefix);
        match &mut self.root {
            Some(root @ Node::Branch(_)) => root.remove(prefix),
            Some(Node::Entry(..)) | None => self.root = None,
        }
        Some(value)
    }

    fn count(&mut self, prefix: IpNet) {
        self.len += 1;
        self.untruncated += usize::from(prefix.trunc() != prefix);
    }
}

impl<V: PartialEq> PrefixMap<V> {
    /// The differences of `newer`, in the order of the prefixes. Takes O(changes · log n) if one map was made from the
    /// other, or both from a third; at most O(n) for any two.
    pub fn diff<'a>(&'a self, newer: &'a Self) -> Diff<'a, V> {
        Diff { old: Ahead::of(&self.root), new: Ahead::of(&newer.root) }
    }
}

/// One difference between two maps: a prefix with its old and new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a, V> {
    /// The prefix.
    pub prefix: IpNet,
    /// The value in the older map; `None`: the prefix is new.
    pub old: Option<&'a V>,
    /// The value in the newer map; `None`: the prefix is gone.
    pub new: Option<&'a V>,
}

/// The iterator of [`PrefixMap::diff`].
///
/// Both trees are walked in order and side by side. If both sides are at the same branch, it is skipped; otherwise the
/// branch nearer to its root is opened.
#[derive(Debug, Clone)]
pub struct Diff<'a, V> {
    old: Ahead<'a, V>,
    new: Ahead<'a, V>,
}

impl<'a, V: PartialEq> Iterator for Diff<'a, V> {
    type Item = Change<'a, V>;

    fn next(&mut self) -> Option<Change<'a, V>> {
        loop {
            let (old, new) = (self.old.next(), self.new.next());
            let order = match (old, new) {
                (Some(Node::Branch(old)), Some(Node::Branch(new))) if Arc::ptr_eq(old, new) => {
                    self.old.pass();
                    self.new.pass();
                    continue;
                }
                (Some(Node::Branch(old)), Some(Node::Branch(new))) => old.at.cmp(&new.at),
                (Some(old), Some(new)) => old.first().cmp(new.first()),
                (Some(_), None) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            match (old.filter(|_| order.is_le()), new.filter(|_| order.is_ge())) {
                (Some(Node::Branch(old)), _) => self.old.open(old),
                (_, Some(Node::Branch(new))) => self.new.open(new),
                (old, new) => {
                    old.inspect(|_| self.old.pass());
                    new.inspect(|_| self.new.pass());
                    let (old, new) = (old.and_then(Node::entry), new.and_then(Node::entry));
                    let (prefix, _) = old.or(new)?;
                    let (old, new) = (old.map(|(_, value)| value), new.map(|(_, value)| value));
                    if old != new {
                        return Some(Change { prefix: *prefix, old, new });
                    }
                }
            }
        }
    }
}

/// The iterator of [`PrefixMap::iter`].
#[derive(Debug, Clone)]
pub struct Iter<'a, V> {
    ahead: Ahead<'a, V>,
    left: usize,
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (&'a IpNet, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.ahead.next()? {
                Node::Branch(branch) => self.ahead.open(branch),
                Node::Entry(prefix, value) => {
                    self.ahead.pass();
                    self.left -= 1;
                    return Some((prefix, value));
                }
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<V> ExactSizeIterator for Iter<'_, V> {}

/// The rest of an ordered walk: the remaining nodes of each open branch, the innermost last. None of them is empty.
struct Ahead<'a, V>(Vec<&'a [Node<V>]>);

impl<'a, V> Ahead<'a, V> {
    fn of(root: &'a Option<Node<V>>) -> Self {
        Self(root.iter().map(std::slice::from_ref).collect())
    }

    fn next(&self) -> Option<&'a Node<V>> {
        self.0.last().and_then(|left| left.first())
    }

    /// Skips the next node.
    fn pass(&mut self) {
        if let Some(left) = self.0.last_mut() {
            *left = left.get(1..).unwrap_or_default();
            if left.is_empty() {
                self.0.pop();
            }
        }
    }

    /// Opens `next`, the next branch.
    fn open(&mut self, next: &'a Branch<V>) {
        self.pass();
        self.0.push(&next.below);
    }
}

impl<V> Clone for Ahead<'_, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V> fmt::Debug for Ahead<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ahead").field(&self.0.len()).finish()
    }
}

impl<V> Node<V> {
    /// The prefix and its value; `None` for a branch.
    fn entry(&self) -> Option<(&IpNet, &V)> {
        match self {
            Self::Entry(prefix, value) => Some((prefix, value)),
            Self::Branch(_) => None,
        }
    }

    /// The first prefix.
    fn first(&self) -> &IpNet {
        let mut node = self;
        loop {
            match node {
                Self::Entry(prefix, _) => return prefix,
                Self::Branch(branch) => node = &branch.below[0],
            }
        }
    }

    /// A prefix below this node with the most digits in common with `prefix`.
    fn nearest(&self, prefix: &IpNet) -> &IpNet {
        let mut node = self;
        loop {
            match node {
                Self::Entry(found, _) => return found,
                // Without its digit, all of them differ there at the latest, so any will do.
                Self::Branch(branch) => node = &branch.below[branch.slot(prefix).unwrap_or(0)],
            }
        }
    }
}

impl<V: Clone> Node<V> {
    /// The mutable value of a prefix.
    fn value_mut(&mut self, prefix: &IpNet) -> Option<&mut V> {
        let mut node = self;
        loop {
            match node {
                Self::Entry(found, value) => return (found == prefix).then_some(value),
                Self::Branch(shared) => {
                    let slot = shared.slot(prefix).ok()?;
                    node = &mut Arc::make_mut(shared).below[slot];
                }
            }
        }
    }

    /// Adds a prefix that differs from its nearest one at the digit `at`.
    fn add(&mut self, at: u8, prefix: IpNet, value: V) {
        match self {
            Self::Branch(shared) if shared.at < at => {
                // The nearest prefix was found below this digit, so the slot exists.
                let (Ok(slot) | Err(slot)) = shared.slot(&prefix);
                Arc::make_mut(shared).below[slot].add(at, prefix, value);
            }
            Self::Branch(shared) if shared.at == at => Arc::make_mut(shared).insert(prefix, value),
            Self::Branch(_) | Self::Entry(..) => {
                let beside = self.clone();
                let digits = 1 << digit(beside.nearest(&prefix), at);
                let mut branch = Branch { at, digits, below: vec![beside] };
                branch.insert(prefix, value);
                *self = Self::Branch(Arc::new(branch));
            }
        }
    }

    /// Removes a prefix that is below this branch.
    fn remove(&mut self, prefix: &IpNet) {
        let Self::Branch(shared) = self else { return };
        let Ok(slot) = shared.slot(prefix) else { return };
        let branch = Arc::make_mut(shared);
        match &mut branch.below[slot] {
            below @ Self::Branch(_) => below.remove(prefix),
            Self::Entry(..) => {
                branch.below.remove(slot);
                branch.digits &= !(1 << digit(prefix, branch.at));
                if let [last] = &*branch.below {
                    *self = last.clone();
                }
            }
        }
    }
}

impl<V> Branch<V> {
    /// The index in `below` of the digit of `prefix`, or the index to insert it at.
    fn slot(&self, prefix: &IpNet) -> Result<usize, usize> {
        let digit = 1 << digit(prefix, self.at);
        let slot = (self.digits & (digit - 1)).count_ones() as usize;
        if self.digits & digit == 0 { Err(slot) } else { Ok(slot) }
    }

    /// Adds a prefix whose digit is a new one.
    fn insert(&mut self, prefix: IpNet, value: V) {
        let (Ok(slot) | Err(slot)) = self.slot(&prefix);
        // A branch is read and copied more often than it grows.
        self.below.reserve_exact(1);
        self.below.insert(slot, Node::Entry(prefix, value));
        self.digits |= 1 << digit(&prefix, self.at);
    }
}

/// A digit of a prefix: first its family, then those of its address, then the two of its length. So the order of the
/// digits is the order of the prefixes.
fn digit(prefix: &IpNet, at: u8) -> u8 {
    const LOW: u8 = 0xf;
    let nibble = |byte: u8, odd: bool| if odd { byte & LOW } else { byte >> 4 };
    let Some(nth) = at.checked_sub(1) else { return u8::from(matches!(prefix, IpNet::V6(_))) };
    let (byte, odd) = (usize::from(nth / 2), nth % 2 == 1);
    let address = match prefix {
        IpNet::V4(prefix) => prefix.addr().octets().get(byte).copied(),
        IpNet::V6(prefix) => prefix.addr().octets().get(byte).copied(),
    };
    nibble(address.unwrap_or(prefix.prefix_len()), odd)
}

/// The first digit in which two prefixes differ; `None`: they are the same.
fn first_difference(one: &IpNet, other: &IpNet) -> Option<u8> {
    let (differing, digits) = match (one, other) {
        (IpNet::V4(one), IpNet::V4(other)) => {
            (u128::from(one.addr().to_bits() ^ other.addr().to_bits()) << 96, 8)
        }
        (IpNet::V6(one), IpNet::V6(other)) => (one.addr().to_bits() ^ other.addr().to_bits(), 32),
        (IpNet::V4(_), IpNet::V6(_)) | (IpNet::V6(_), IpNet::V4(_)) => return Some(0),
    };
    let of = |zeros: u32| u8::try_from(zeros / 4).unwrap_or(u8::MAX);
    if differing != 0 {
        return Some(1 + of(differing.leading_zeros()));
    }
    let differing = one.prefix_len() ^ other.prefix_len();
    (differing != 0).then(|| 1 + digits + of(differing.leading_zeros()))
}

impl<V> Default for PrefixMap<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: fmt::Debug> fmt::Debug for PrefixMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<V: PartialEq> PartialEq for PrefixMap<V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.diff(other).next().is_none()
    }
}

impl<V: Eq> Eq for PrefixMap<V> {}

impl<V: Clone> FromIterator<(IpNet, V)> for PrefixMap<V> {
    /// The last of several values for one prefix counts.
    fn from_iter<T: IntoIterator<Item = (IpNet, V)>>(entries: T) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<V: Clone> Extend<(IpNet, V)> for PrefixMap<V> {
    fn extend<T: IntoIterator<Item = (IpNet, V)>>(&mut self, entries: T) {
        for (prefix, value) in entries {
            self.insert(prefix, value);
        }
    }
}

impl<V: Clone, const N: usize> From<[(IpNet, V); N]> for PrefixMap<V> {
    fn from(entries: [(IpNet, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<'a, V> IntoIterator for &'a PrefixMap<V> {
    type Item = (&'a IpNet, &'a V);
    type IntoIter = Iter<'a, V>;

    fn into_iter(self) -> Iter<'a, V> {
        self.iter()
    }
}

impl<V> Index<&IpNet> for PrefixMap<V> {
    type Output = V;

    /// # Panics
    /// The prefix is not in the map.
    fn index(&self, prefix: &IpNet) -> &V {
        match self.get(prefix) {
            Some(value) => value,
            None => panic!("{prefix} is not in the map"),
        }
    }
}

#[cfg(test)]
mod tests;
