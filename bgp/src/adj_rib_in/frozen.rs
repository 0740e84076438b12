//! Freeze and thaw of the paths.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{AdjRibIn, Ingress, Path, Watched};
use crate::frozen::peer::RibIn;
use crate::frozen::{Error, agree};

impl AdjRibIn {
    pub(crate) fn freeze(&self) -> RibIn {
        let mut paths = Vec::new();
        // The prefixes of one UPDATE share their path.
        let mut indices: BTreeMap<*const Path, u32> = BTreeMap::new();
        let mut prefixes = Vec::with_capacity(self.paths.len());
        for (prefix, path) in &self.paths {
            let index = *indices.entry(Arc::as_ptr(path)).or_insert_with(|| {
                paths.push((&**path).into());
                u32::try_from(paths.len() - 1).unwrap_or(u32::MAX)
            });
            prefixes.push((*prefix, index));
        }
        RibIn { paths, prefixes, stale: self.stale.clone() }
    }

    /// `watched` are the watched prefixes at the freeze.
    pub(crate) fn thaw(ingress: Ingress, frozen: &RibIn, watched: Arc<Watched>) -> Result<Self, Error> {
        let mut rib = Self { stale: frozen.stale.clone(), ..Self::new(ingress, watched) };
        let mut paths: Vec<Arc<Path>> = Vec::with_capacity(frozen.paths.len());
        for path in &frozen.paths {
            paths.push(Arc::new(path.try_into()?));
        }
        for (prefix, index) in &frozen.prefixes {
            let path = usize::try_from(*index).ok().and_then(|index| paths.get(index));
            let path = path.ok_or(Error::Range("paths"))?;
            let is_new = rib.paths.insert(*prefix, Arc::clone(path)).is_none();
            agree(is_new && rib.watches(prefix), "paths")?;
        }
        agree(rib.stale.iter().all(|prefix| rib.paths.contains_key(prefix)), "stale")?;
        Ok(rib)
    }
}
