//! A map for what there may be thousands of.

use fnv::FnvBuildHasher;
use indexmap::{IndexMap, IndexSet};

/// A map in which one entry among thousands is found as fast as among ten, so that an event costs no more on a large node.
///
/// Its order is the one in which the entries came, and [`IndexMap::swap_remove`] puts the last entry into the gap: the same
/// from run to run, as everything in a node. What people read is sorted where it is shown.
pub type Table<K, V> = IndexMap<K, V, FnvBuildHasher>;

/// A [`Table`] of keys alone.
pub type Keys<K> = IndexSet<K, FnvBuildHasher>;
