//! Drains from outside: while the machine goes down, and while the drain file exists.
//!
//! ```text
//!  begins ──► drained like `drain --all` ──► drain_time ──► every router was told ──► unbind_delay ──► the machine may stop
//!     └─ ends: only this drain is lifted; the drains of operators stay
//! ```
//!
//! They are facts about the host, not overrides: a port reports them anew after each start, and they are never saved.
//! So no drain for a reboot survives the reboot.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use vipcast_bgp::Instant;

use super::Engine;
use super::fold::Touched;
use super::overrides::{Order, Override, Scope};
use crate::effect::Effect;
use crate::outbox::Outbox;
use crate::record::What;

/// The longest wait for a router that reads nothing, beyond the drain time. Like that of a stop.
const TELL_PATIENCE: Duration = Duration::from_secs(5);

/// The cause of a drain from outside. Each drains everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cordon {
    /// The machine goes down: reboot, halt, power off, kexec or soft reboot.
    Machine,
    /// The drain file exists.
    File,
}

impl Cordon {
    /// Its name in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::File => "file",
        }
    }

    /// The reason in the record of its end.
    fn ended(self) -> &'static str {
        match self {
            Self::Machine => "the machine does not go down after all",
            Self::File => "the drain file is gone",
        }
    }

    /// How to end it, for an operator whose `undrain` cannot.
    pub(crate) fn way_out(self) -> &'static str {
        match self {
            Self::Machine => "the machine is going down",
            Self::File => "remove the drain file",
        }
    }
}

/// The wait of a machine that goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    /// When routers are waited for no longer.
    patience: Instant,
    /// When the services may stop, once every router was told.
    quiet_at: Option<Instant>,
    /// The machine was let go.
    is_over: bool,
}

impl Engine {
    /// A cordon begins or has a new reason (`Some`), or ends.
    pub(super) fn fold_cordon(
        &mut self,
        cordon: Cordon,
        drain: Option<Override>,
        now: Instant,
        out: &mut Outbox,
    ) -> Touched {
        let before = self.facts.cordons.get(&cordon).cloned();
        match (drain, before) {
            (Some(drain), Some(before)) if before.order == drain.order => return Touched::Nothing,
            (None, None) => return Touched::Nothing,
            (Some(mut drain), before) => {
                match before {
                    // Only its reason is new.
                    Some(before) => drain.since = before.since,
                    None => self.begin_cordon(cordon, now),
                }
                self.facts.cordons.insert(cordon, Arc::new(drain.clone()));
                out.tell(What::Drained(Scope::Everything, drain));
            }
            (None, Some(before)) => {
                self.facts.cordons.remove(&cordon);
                if cordon == Cordon::Machine {
                    self.facts.farewell = None;
                }
                let order = Order { by: before.order.by.clone(), reason: Some(cordon.ended().to_owned()) };
                out.tell(What::Undrained(Scope::Everything, Some(order)));
            }
        }
        Touched::All
    }

    fn begin_cordon(&mut self, cordon: Cordon, now: Instant) {
        let until = now + self.config.shutdown.drain_time;
        self.leave(|_| true, until);
        if cordon == Cordon::Machine {
            let patience = until + TELL_PATIENCE;
            self.facts.farewell = Some(Farewell { patience, quiet_at: None, is_over: false });
        }
    }

    /// Lets the machine go down once every router was told, and has had the time to use another path.
    pub(super) fn advance_farewell(&mut self, now: Instant, out: &mut Outbox) {
        let Some(farewell) = self.facts.farewell.filter(|farewell| !farewell.is_over) else { return };
        let alone = !self.facts.peers.values().any(|peer| peer.established) && !self.facts.any_keeps(now);
        let nothing_announced = self.actual.advertised.routes.is_empty();
        let told = alone || (nothing_announced && self.facts.all_told(self.version(), now));
        let delay = if alone { Duration::ZERO } else { self.config.shutdown.unbind_delay };
        let quiet_at = match farewell.quiet_at {
            None if told || farewell.patience <= now => Some(now + delay),
            quiet_at => quiet_at,
        };
        let is_over = quiet_at.is_some_and(|at| at <= now);
        self.facts.farewell = Some(Farewell { quiet_at, is_over, ..farewell });
        if is_over {
            out.tell(What::MachineMayStop);
            out.push(Effect::LetMachineStop);
        }
    }

    /// The next step of [`Self::advance_farewell`] by time.
    pub(super) fn farewell_deadline(&self) -> Option<Instant> {
        let farewell = self.facts.farewell.filter(|farewell| !farewell.is_over)?;
        Some(farewell.quiet_at.unwrap_or(farewell.patience))
    }

    /// Drains from outside that stay in force after an operator's `undrain`, with the way to end them.
    pub(crate) fn stay_cordoned(&self) -> Option<String> {
        let ways: Vec<_> = self.facts.cordons.keys().map(|cordon| cordon.way_out()).collect();
        (!ways.is_empty()).then(|| ways.join(", "))
    }
}
