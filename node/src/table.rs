//! A map for thousands of entries.

use fnv::FnvBuildHasher;
use indexmap::{IndexMap, IndexSet};

/// A map with constant-time look-up, so that an event costs no more on a large node.
///
/// Its order is that of insertion, and [`IndexMap::swap_remove`] puts the last entry into the gap: the same in every
/// run, like everything in a node. Output for operators is sorted where it is shown.
pub type Table<K, V> = IndexMap<K, V, FnvBuildHasher>;

/// A [`Table`] with only keys.
pub type Keys<K> = IndexSet<K, FnvBuildHasher>;
