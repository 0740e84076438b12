//! An ordered map by prefix whose copies share what they have in common.
//!
//! ```text
//!  before ──► d            d' ◄── after: before, with g inserted
//!            / \          / \
//!           b   f        b   f'
//!          / \ / \      (shared) \
//!         a  c e  –              …
//! ```
//!
//! A copy costs nothing, a change copies the nodes from the root to its place unless nobody else has them, and the
//! difference of two versions is found without a look at what they share. So one change among 100,000 prefixes costs
//! little more than one among ten, however many sessions hold the map.
//!
//! It is an AVL tree: for `n` prefixes no path is longer than 1.44 log₂ n.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use ipnet::IpNet;

/// An ordered map from prefixes to `V`. Cloning it takes constant time; see the [module](self).
#[derive(Clone)]
pub struct PrefixMap<V> {
    root: Link<V>,
    len: usize,
    /// How many of the prefixes have bits behind their length.
    untruncated: usize,
}

type Link<V> = Option<Arc<Node<V>>>;

#[derive(Clone)]
struct Node<V> {
    prefix: IpNet,
    height: u8,
    value: V,
    left: Link<V>,
    right: Link<V>,
}

impl<V> PrefixMap<V> {
    /// An empty map.
    pub const fn new() -> Self {
        Self { root: None, len: 0, untruncated: 0 }
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of `prefix`.
    pub fn get(&self, prefix: &IpNet) -> Option<&V> {
        let mut link = &self.root;
        while let Some(node) = link {
            link = match prefix.cmp(&node.prefix) {
                Ordering::Less => &node.left,
                Ordering::Equal => return Some(&node.value),
                Ordering::Greater => &node.right,
            };
        }
        None
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

    /// Whether both are one version.
    #[cfg(test)]
    pub(crate) fn is_shared_with(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (Some(root), Some(other)) => Arc::ptr_eq(root, other),
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
        let before = insert(&mut self.root, prefix, value);
        if before.is_none() {
            self.len += 1;
            self.untruncated += usize::from(prefix.trunc() != prefix);
        }
        before
    }

    /// Removes `prefix`, and returns its value.
    pub fn remove(&mut self, prefix: &IpNet) -> Option<V> {
        // First a look: a search that finds nothing must not copy what is shared.
        if !self.contains_key(prefix) {
            return None;
        }
        self.len -= 1;
        self.untruncated -= usize::from(prefix.trunc() != *prefix);
        remove(&mut self.root, prefix)
    }
}

impl<V: PartialEq> PrefixMap<V> {
    /// What is different in `newer`, in the order of the prefixes. Takes O(changes · log n) when one of the two was made
    /// from the other, or both from a third; at most O(n) for any two.
    pub fn diff<'a>(&'a self, newer: &'a Self) -> Diff<'a, V> {
        Diff { old: Ahead::of(&self.root), new: Ahead::of(&newer.root) }
    }
}

/// One difference between two maps: what became of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a, V> {
    /// The prefix.
    pub prefix: IpNet,
    /// Its value in the older map; `None`: it is new.
    pub old: Option<&'a V>,
    /// Its value in the newer map; `None`: it is gone.
    pub new: Option<&'a V>,
}

/// The iterator of [`PrefixMap::diff`].
///
/// Both trees are walked in order and side by side. A subtree that stands next on both sides is the same prefixes with
/// the same values, so it is passed over; else the higher of the two is taken apart.
#[derive(Debug, Clone)]
pub struct Diff<'a, V> {
    old: Ahead<'a, V>,
    new: Ahead<'a, V>,
}

impl<'a, V: PartialEq> Iterator for Diff<'a, V> {
    type Item = Change<'a, V>;

    fn next(&mut self) -> Option<Change<'a, V>> {
        loop {
            match (self.old.0.last().copied(), self.new.0.last().copied()) {
                (None, None) => return None,
                (Some(Piece::Tree(old)), Some(Piece::Tree(new))) if Arc::ptr_eq(old, new) => {
                    self.old.0.pop();
                    self.new.0.pop();
                }
                (Some(Piece::Tree(old)), Some(Piece::Tree(new))) if old.height < new.height => {
                    self.new.open(new);
                }
                (Some(Piece::Tree(old)), _) => self.old.open(old),
                (_, Some(Piece::Tree(new))) => self.new.open(new),
                (Some(Piece::Entry(old)), Some(Piece::Entry(new))) => {
                    let order = old.prefix.cmp(&new.prefix);
                    if order.is_le() {
                        self.old.0.pop();
                    }
                    if order.is_ge() {
                        self.new.0.pop();
                    }
                    if order.is_eq() && old.value == new.value {
                        continue;
                    }
                    return Some(Change {
                        prefix: old.prefix.min(new.prefix),
                        old: order.is_le().then_some(&old.value),
                        new: order.is_ge().then_some(&new.value),
                    });
                }
                (Some(Piece::Entry(old)), None) => {
                    self.old.0.pop();
                    return Some(Change { prefix: old.prefix, old: Some(&old.value), new: None });
                }
                (None, Some(Piece::Entry(new))) => {
                    self.new.0.pop();
                    return Some(Change { prefix: new.prefix, old: None, new: Some(&new.value) });
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
            match *self.ahead.0.last()? {
                Piece::Tree(tree) => self.ahead.open(tree),
                Piece::Entry(node) => {
                    self.ahead.0.pop();
                    self.left -= 1;
                    return Some((&node.prefix, &node.value));
                }
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<V> ExactSizeIterator for Iter<'_, V> {}

/// What an ordered walk has ahead of it, the next piece last.
struct Ahead<'a, V>(Vec<Piece<'a, V>>);

enum Piece<'a, V> {
    Tree(&'a Arc<Node<V>>),
    /// The prefix of a node, without those below it.
    Entry(&'a Node<V>),
}

impl<'a, V> Ahead<'a, V> {
    fn of(root: &'a Link<V>) -> Self {
        Self(root.iter().map(Piece::Tree).collect())
    }

    /// Takes `next`, the tree that is next, apart.
    fn open(&mut self, next: &'a Node<V>) {
        self.0.pop();
        self.0.extend(next.right.as_ref().map(Piece::Tree));
        self.0.push(Piece::Entry(next));
        self.0.extend(next.left.as_ref().map(Piece::Tree));
    }
}

impl<V> Clone for Piece<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Piece<'_, V> {}

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

fn insert<V: Clone>(link: &mut Link<V>, prefix: IpNet, value: V) -> Option<V> {
    let Some(shared) = link else {
        *link = Some(Arc::new(Node { prefix, height: 1, value, left: None, right: None }));
        return None;
    };
    let node = Arc::make_mut(shared);
    let before = match prefix.cmp(&node.prefix) {
        Ordering::Less => insert(&mut node.left, prefix, value),
        Ordering::Equal => return Some(std::mem::replace(&mut node.value, value)),
        Ordering::Greater => insert(&mut node.right, prefix, value),
    };
    balance(shared);
    before
}

fn remove<V: Clone>(link: &mut Link<V>, prefix: &IpNet) -> Option<V> {
    let shared = link.as_mut()?;
    let node = Arc::make_mut(shared);
    let removed = match prefix.cmp(&node.prefix) {
        Ordering::Less => remove(&mut node.left, prefix),
        Ordering::Greater => remove(&mut node.right, prefix),
        Ordering::Equal => {
            // The next prefix takes its place, if there is one below it.
            let Some((next, value)) = remove_first(&mut node.right) else {
                let below = node.left.take();
                return std::mem::replace(link, below).map(|node| Arc::unwrap_or_clone(node).value);
            };
            node.prefix = next;
            Some(std::mem::replace(&mut node.value, value))
        }
    };
    balance(shared);
    removed
}

fn remove_first<V: Clone>(link: &mut Link<V>) -> Option<(IpNet, V)> {
    let shared = link.as_mut()?;
    let node = Arc::make_mut(shared);
    if let Some(first) = remove_first(&mut node.left) {
        balance(shared);
        return Some(first);
    }
    let below = node.right.take();
    let Node { prefix, value, .. } = Arc::unwrap_or_clone(std::mem::replace(link, below)?);
    Some((prefix, value))
}

fn height<V>(link: &Link<V>) -> u8 {
    link.as_ref().map_or(0, |node| node.height)
}

/// Makes the heights of the two sides differ by one at most, if they differ by two.
fn balance<V: Clone>(shared: &mut Arc<Node<V>>) {
    let node = Arc::make_mut(shared);
    let (left, right) = (height(&node.left), height(&node.right));
    if left > right + 1 {
        if let Some(left) = node.left.as_mut().filter(|left| height(&left.left) < height(&left.right)) {
            rotate_left(left);
        }
        rotate_right(shared);
    } else if right > left + 1 {
        if let Some(right) = node.right.as_mut().filter(|right| height(&right.right) < height(&right.left)) {
            rotate_right(right);
        }
        rotate_left(shared);
    } else {
        node.measure();
    }
}

/// The left node comes up.
fn rotate_right<V: Clone>(shared: &mut Arc<Node<V>>) {
    let node = Arc::make_mut(shared);
    let Some(mut upper) = node.left.take() else { return };
    node.left = Arc::make_mut(&mut upper).right.take();
    node.measure();
    let lower = std::mem::replace(shared, upper);
    let node = Arc::make_mut(shared);
    node.right = Some(lower);
    node.measure();
}

/// The right node comes up.
fn rotate_left<V: Clone>(shared: &mut Arc<Node<V>>) {
    let node = Arc::make_mut(shared);
    let Some(mut upper) = node.right.take() else { return };
    node.right = Arc::make_mut(&mut upper).left.take();
    node.measure();
    let lower = std::mem::replace(shared, upper);
    let node = Arc::make_mut(shared);
    node.left = Some(lower);
    node.measure();
}

impl<V> Node<V> {
    fn measure(&mut self) {
        self.height = 1 + height(&self.left).max(height(&self.right));
    }
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
    /// Of two values for one prefix the last counts.
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
