//! What is known of every binding of the host, found by what it carries.

use super::binding::{Binding, BindingFact};
use crate::table::Table;
use crate::vip::Vip;

/// Bindings and what is known of each. Those of one VIP are found at once, among however many others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bindings(Table<Vip, Vec<(Binding, BindingFact)>>);

impl Bindings {
    /// Those that carry `vip`, in their order.
    pub fn of(&self, vip: Vip) -> impl Iterator<Item = (&Binding, &BindingFact)> {
        self.0.get(&vip).into_iter().flatten().map(|(binding, fact)| (binding, fact))
    }

    /// All of them; those of one VIP stand together.
    pub fn iter(&self) -> impl Iterator<Item = (&Binding, &BindingFact)> {
        self.0.values().flatten().map(|(binding, fact)| (binding, fact))
    }

    /// Every VIP that something carries.
    pub fn vips(&self) -> impl Iterator<Item = Vip> {
        self.0.keys().copied()
    }

    /// What is known of a binding; `None`: it is not there.
    pub fn get(&self, binding: &Binding) -> Option<&BindingFact> {
        self.of(binding.vip()).find_map(|(known, fact)| (known == binding).then_some(fact))
    }

    /// Notes a binding, and returns what was known of it.
    pub fn insert(&mut self, binding: Binding, fact: BindingFact) -> Option<BindingFact> {
        let beside = self.0.entry(binding.vip()).or_default();
        match beside.binary_search_by_key(&binding, |(known, _)| *known) {
            Ok(at) => Some(std::mem::replace(&mut beside[at].1, fact)),
            Err(at) => {
                // Hardly any VIP is carried twice.
                beside.reserve_exact(1);
                beside.insert(at, (binding, fact));
                None
            }
        }
    }

    /// Forgets a binding, and returns what was known of it.
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
