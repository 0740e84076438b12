//! Operators' drains as the world knows them: the orders, in the operators' own terms.

use std::collections::{BTreeMap, BTreeSet};

use vipcast_bgp::Instant;

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
