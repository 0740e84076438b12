//! Merges a state directory that answers after the start, or is mounted then, with the commands since the start.
//!
//! ```text
//!  start ─► Meanwhile: keeps what operators lift, replace and promote ─► Event::Late ─► merged
//! ```
//!
//! **Commands since the start win**: a drain that was lifted stays lifted, even if the daemon did not know of it. Of
//! two drains the later end counts, as always.
//!
//! **Held-back VIPs** are held back from then on. A VIP with `preempt` that has taken over since the start gives its
//! traffic back, because no operator promoted it.

use std::collections::BTreeSet;
use std::sync::Arc;

use vipcast_bgp::Instant;

use super::drains::{Drains, Scope};
use super::{Engine, Left, Touched};
use crate::names::ServiceName;
use crate::outbox::Outbox;
use crate::record::What;

/// Commands of operators since the state directory was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Meanwhile {
    /// Whether the directory was never read.
    is_unread: bool,
    /// Services whose drains were lifted.
    lifted: BTreeSet<ServiceName>,
    all_lifted: bool,
    /// Drains that were replaced.
    replaced: BTreeSet<ServiceName>,
    all_replaced: bool,
    promoted: BTreeSet<ServiceName>,
}

impl Meanwhile {
    pub(super) fn new(is_unread: bool) -> Self {
        Self { is_unread, ..Self::default() }
    }

    fn applied_to(&self, mut late: Drains) -> Drains {
        if self.all_lifted {
            return Drains::default();
        }
        if self.all_replaced {
            late.everything = None;
        }
        late.services.retain(|service, _| !self.replaced.contains(service));
        for service in &self.lifted {
            late.lift(&Scope::Service(service.clone()));
        }
        late
    }
}

impl Engine {
    /// Whether the state directory has not been read yet: unknown drains and held-back VIPs may follow.
    pub fn is_unread(&self) -> bool {
        self.meanwhile.is_unread
    }

    /// Notes that drains were lifted, known or not.
    pub(super) fn note_lifted(&mut self, scope: &Scope) {
        let meanwhile = &mut self.meanwhile;
        match scope {
            Scope::Everything => meanwhile.all_lifted = true,
            Scope::Service(service) => meanwhile.lifted.extend([service.clone()]),
        }
    }

    /// Notes that a drain replaces any other.
    pub(super) fn note_replaced(&mut self, scope: &Scope) {
        let meanwhile = &mut self.meanwhile;
        match scope {
            Scope::Everything => meanwhile.all_replaced = true,
            Scope::Service(service) => meanwhile.replaced.extend([service.clone()]),
        }
    }

    /// Notes that an operator promoted a service.
    pub(super) fn note_promoted(&mut self, service: &ServiceName) {
        self.meanwhile.promoted.insert(service.clone());
    }

    pub(super) fn fold_late(&mut self, left: Left, now: Instant, out: &mut Outbox) -> Touched {
        let meanwhile = std::mem::take(&mut self.meanwhile);
        let Left { drains, held, announced, unread: _, forgotten: _ } = left;
        // A shutdown withdraws everything anyway.
        if self.facts.shutdown.is_none() {
            self.hold_back(&held, announced.is_some(), &meanwhile.promoted);
        }
        self.merge_drains(meanwhile.applied_to(drains), now, out);
        Touched::All
    }

    fn merge_drains(&mut self, late: Drains, now: Instant, out: &mut Outbox) {
        if late.is_empty() {
            return;
        }
        let drains = Arc::make_mut(&mut self.facts.drains);
        let mut added = Vec::new();
        if let Some(everything) = late.everything {
            let drain = Arc::clone(&everything.drain);
            match &mut drains.everything {
                Some(ours) if !drain.outlasts(&ours.drain) => {}
                // The excepted services of our newer drain count.
                Some(ours) => {
                    ours.drain = Arc::clone(&drain);
                    added.push((Scope::Everything, drain));
                }
                none @ None => {
                    *none = Some(everything);
                    added.push((Scope::Everything, drain));
                }
            }
        }
        for (service, drain) in late.services {
            let scope = Scope::Service(service);
            if drains.add(&scope, &drain, false) {
                added.push((scope, drain));
            }
        }
        for (scope, drain) in added {
            out.tell(What::Drained(scope, (*drain).clone()));
        }
        let drains = Arc::clone(&self.facts.drains);
        self.leave(
            |service| drains.of(service.as_str()).next().is_some(),
            now + self.config.shutdown.drain_time,
        );
    }
}
