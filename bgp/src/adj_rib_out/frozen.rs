//! Freeze and thaw: the difference between the peer and the desired set. The plan follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{AdjRibOut, Egress, Withheld, canonical};
use crate::frozen::peer::RibOut;
use crate::frozen::route::Attributes;
use crate::frozen::{Error, agree};
use crate::route::{RouteAttributes, Routes, family_of};
use crate::wire::Family;

impl AdjRibOut {
    pub(crate) fn freeze(&self) -> RibOut {
        let mut attributes: Vec<Attributes> = Vec::new();
        let mut indices: BTreeMap<&RouteAttributes, u32> = BTreeMap::new();
        let mut behind = Vec::with_capacity(self.behind.len());
        for (prefix, has) in &self.behind {
            let index = has.as_deref().map(|has| {
                *indices.entry(has).or_insert_with(|| {
                    attributes.push(has.into());
                    u32::try_from(attributes.len() - 1).unwrap_or(u32::MAX)
                })
            });
            behind.push((*prefix, index));
        }
        RibOut {
            behind,
            attributes,
            resend: self.resend.clone(),
            too_large: self.too_large.clone(),
            end_of_rib: self.end_of_rib.iter().copied().map(Into::into).collect(),
            hold_end_of_rib: self.hold_end_of_rib,
        }
    }

    /// `routes` is the desired set at the freeze.
    pub(crate) fn thaw(egress: Egress, frozen: &RibOut, routes: &Routes) -> Result<Self, Error> {
        let mut rib = Self {
            wanted: canonical(routes),
            resend: frozen.resend.clone(),
            too_large: frozen.too_large.clone(),
            end_of_rib: frozen.end_of_rib.iter().copied().map(Into::into).collect(),
            hold_end_of_rib: frozen.hold_end_of_rib,
            ..Self::new(egress)
        };
        agree(rib.end_of_rib.is_subset(&rib.egress.families), "end_of_rib")?;
        let attributes: Vec<Arc<RouteAttributes>> =
            frozen.attributes.iter().cloned().map(|attributes| Arc::new(attributes.into())).collect();
        let attributes = |index: u32| {
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            attributes.get(index).cloned().ok_or(Error::Range("behind"))
        };
        let mut missing = 0;
        let mut others = 0;
        for (prefix, has) in &frozen.behind {
            let has = has.map(attributes).transpose()?;
            let is_wanted = rib.wanted.contains_key(prefix);
            agree(has.is_some() || is_wanted, "behind")?;
            others += usize::from(has.is_some());
            missing += usize::from(is_wanted);
            agree(prefix.trunc() == *prefix && rib.behind.insert(*prefix, has).is_none(), "behind")?;
        }
        rib.sent_count = (rib.wanted.len() - missing) + others;
        agree(rib.resend.iter().all(|prefix| rib.is_sent(prefix)), "resend")?;
        rib.plan_all()?;
        Ok(rib)
    }

    /// Plans every prefix of a rib without a plan.
    fn plan_all(&mut self) -> Result<(), Error> {
        let wanted = self.wanted.clone();
        let mut too_large = 0;
        for (prefix, attributes) in &wanted {
            let has_family = self.has_family(family_of(prefix));
            agree(has_family || !self.is_sent(prefix), "behind")?;
            if self.too_large.contains(prefix) {
                too_large += 1;
                self.withhold(*prefix, Withheld::AttributesTooLarge);
            } else {
                self.plan(*prefix, Some(attributes));
            }
        }
        agree(too_large == self.too_large.len(), "too_large")?;
        let unwanted: Vec<_> =
            self.behind.keys().filter(|prefix| !wanted.contains_key(prefix)).copied().collect();
        for prefix in unwanted {
            agree(self.has_family(family_of(&prefix)), "behind")?;
            self.plan(prefix, None);
        }
        Ok(())
    }

    fn has_family(&self, family: Family) -> bool {
        self.egress.families.contains(&family)
    }
}
