//! All bindings of the host, by VIP.

use super::binding::{Binding, BindingFact};
use crate::table::Table;
use crate::vip::Vip;

/// Bindings and their facts. Those of one VIP are found in constant time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bindings(Table<Vip, Vec<(Binding, BindingFact)>>);

impl Bindings {
    /// The bindings of `vip`, in their order.
    pub fn of(&self, vip: Vip) -> impl Iterator<Item = (&Binding, &BindingFact)> {
        self.0.get(&vip).into_iter().flatten().map(|(binding, fact)| (binding, fact))
    }

    /// All bindings; those of one VIP are adjacent.
    pub fn iter(&self) -> impl Iterator<Item = (&Binding, &BindingFact)> {
        self.0.values().flatten().map(|(binding, fact)| (binding, fact))
    }

    /// Every VIP with a binding.
    pub fn vips(&self) -> impl Iterator<Item = Vip> {
        self.0.keys().copied()
    }

    /// The facts about a binding; `None`: it is not present.
    pub fn get(&self, binding: &Binding) -> Option<&BindingFact> {
        self.of(binding.vip()).find_map(|(known, fact)| (known == binding).then_some(fact))
    }

    /// Adds a binding, and returns its earlier facts.
    pub fn insert(&mut self, binding: Binding, fact: BindingFact) -> Option<BindingFact> {
        let beside = self.0.entry(binding.vip()).or_default();
        match beside.binary_search_by_key(&binding, |(known, _)| *known) {
            Ok(at) => Some(std::mem::replace(&mut beside[at].1, fact)),
            Err(at) => {
                // Hardly any VIP has two bindings.
                beside.reserve_exact(1);
                beside.insert(at, (binding, fact));
                None
            }
        }
    }

    /// Removes a binding, and returns its facts.
    pub fn remove(&mut self, binding: &Binding) -> Option<BindingFact> {
        let vip = binding.vip();
        let beside = self.0.get_mut(&vip)?;
        let at = beside.binary_search_by_key(binding, |(known, _)| *known).ok()?;
        let (_, fact) = beside.remove(at);
        if beside.is_empty() {
            self.0.swap_remove(&vip);
        }
        Some(fact)
    }
}

impl FromIterator<(Binding, BindingFact)> for Bindings {
    fn from_iter<T: IntoIterator<Item = (Binding, BindingFact)>>(bindings: T) -> Self {
        let mut all = Self::default();
        for (binding, fact) in bindings {
            all.insert(binding, fact);
        }
        all
    }
}

impl<const N: usize> From<[(Binding, BindingFact); N]> for Bindings {
    fn from(bindings: [(Binding, BindingFact); N]) -> Self {
        bindings.into_iter().collect()
    }
}
