//! Operators' drains and forces as the world knows them: the orders, in the operators' own terms.

use std::collections::{BTreeMap, BTreeSet};

use vipcast_bgp::Instant;
use vipcast_node::engine::Force;

use crate::disk::NEVER;

/// What is drained, and until when; [`NEVER`]: until it is lifted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    everything: Option<(Instant, BTreeSet<String>)>,
    services: BTreeMap<String, Instant>,
}

impl Orders {
    /// An operator drains. Of two drains the one that ends later holds.
    pub fn drain(&mut self, service: Option<&str>, ends: Option<Instant>) {
        let ends = ends.unwrap_or(NEVER);
        match service {
            None => {
                let before = self.everything.take().map_or(ends, |(before, _)| before.max(ends));
                self.everything = Some((before, BTreeSet::new()));
            }
            Some(service) => {
                let drain = self.services.entry(service.to_owned()).or_insert(ends);
                *drain = ends.max(*drain);
            }
        }
    }

    /// An operator lifts drains.
    pub fn undrain(&mut self, service: Option<&str>) {
        match service {
            None => *self = Self::default(),
            Some(service) => {
                self.services.remove(service);
                if let Some((_, except)) = &mut self.everything {
                    except.insert(service.to_owned());
                }
            }
        }
    }

    /// Whether a service is drained at `now`.
    pub fn hold(&self, service: &str, now: Instant) -> bool {
        self.ends(service).is_some_and(|ends| ends > now)
    }

    /// When the drains of a service have ended; `None`: it has none.
    pub fn ends(&self, service: &str) -> Option<Instant> {
        let everything = self.everything.iter().filter(|(_, except)| !except.contains(service));
        everything.map(|(ends, _)| *ends).chain(self.services.get(service).copied()).max()
    }

    /// Whether a drain of this service is waiting for it or in force.
    pub fn knows(&self, service: &str, now: Instant) -> bool {
        self.services.get(service).is_some_and(|ends| *ends > now)
    }

    /// Forgets what has ended.
    pub fn expire(&mut self, now: Instant) {
        self.everything.take_if(|(ends, _)| *ends <= now);
        self.services.retain(|_, ends| *ends > now);
    }

    /// Whether any ends by itself.
    pub fn any_ends(&self) -> bool {
        let all = self.services.values().chain(self.everything.iter().map(|(ends, _)| ends));
        all.into_iter().any(|ends| *ends != NEVER)
    }
}

/// What is forced, where to, and until when; [`NEVER`]: until it is cleared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forces {
    everything: Option<(Force, Instant, BTreeSet<String>)>,
    services: BTreeMap<String, (Force, Instant)>,
}

impl Forces {
    /// An operator forces. The later one holds.
    pub fn force(&mut self, service: Option<&str>, to: Force, ends: Option<Instant>) {
        self.clear(service);
        let ends = ends.unwrap_or(NEVER);
        match service {
            None => self.everything = Some((to, ends, BTreeSet::new())),
            Some(service) => drop(self.services.insert(service.to_owned(), (to, ends))),
        }
    }

    /// An operator clears forces.
    pub fn clear(&mut self, service: Option<&str>) {
        match service {
            None => *self = Self::default(),
            Some(service) => {
                self.services.remove(service);
                if let Some((_, _, except)) = &mut self.everything {
                    except.insert(service.to_owned());
                }
            }
        }
    }

    /// Where a service is forced at `now`, and until when.
    pub fn of(&self, service: &str, now: Instant) -> Option<(Force, Instant)> {
        let everything = self.everything.iter().filter(|(_, _, except)| !except.contains(service));
        let own = self.services.get(service).copied();
        let all = own.into_iter().chain(everything.map(|(to, ends, _)| (*to, *ends)));
        all.into_iter().find(|(_, ends)| *ends > now)
    }

    /// Whether a force of this service is waiting for it or in force.
    pub fn knows(&self, service: &str, now: Instant) -> bool {
        self.services.get(service).is_some_and(|(_, ends)| *ends > now)
    }

    /// Forgets what has ended.
    pub fn expire(&mut self, now: Instant) {
        self.everything.take_if(|(_, ends, _)| *ends <= now);
        self.services.retain(|_, (_, ends)| *ends > now);
    }

    /// Whether any ends by itself.
    pub fn any_ends(&self) -> bool {
        let all = self.services.values().map(|(_, ends)| ends);
        all.chain(self.everything.iter().map(|(_, ends, _)| ends)).any(|ends| *ends != NEVER)
    }
}
