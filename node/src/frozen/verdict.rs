//! The frozen form of a verdict.

use serde::{Deserialize, Serialize};

use super::mirror;
use crate::engine::{self, Unusable as EngineUnusable};
use crate::model;
use crate::names::CheckName;

/// A verdict about a VIP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Announced as configured.
    Announce,
    /// Announced with a worse or ending path.
    Demote(Demotion, Reason),
    /// Not announced.
    Withhold(Reason),
}

/// The kind of a demotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Demotion {
    /// The path is worse than that of a healthy node.
    Worse(Rank),
    /// The announcement is about to end.
    Leaving(Option<Rank>),
}

/// The reason of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// This check has not settled.
    CheckUnknown(CheckName),
    /// This check is down.
    CheckDown(CheckName),
    /// This check is degraded.
    CheckDegraded(CheckName),
    /// A standby.
    Standby,
    /// Down a short time ago.
    WarmingUp,
    /// Held back after a failure.
    HeldBack,
    /// Not bound on the host.
    NotBound,
    /// Bound on this interface, but unusable.
    Unusable(String, Unusable),
    /// Another program keeps removing the address.
    Contested,
    /// Forced down by an operator.
    ForcedDown,
    /// Being drained.
    Draining,
    /// Drained.
    Drained,
    /// About to stop.
    ShuttingDown,
    /// Stopping.
    Shutdown,
}

mirror! {
    /// How much worse a demoted path is.
    Rank = model::Rank {
        /// Healthy, but a standby.
        Standby,
        /// Degraded, warming up, or held back.
        Degraded,
        /// Down.
        Down,
    }
}

mirror! {
    /// Why an address is unusable.
    Unusable = EngineUnusable {
        /// Duplicate address detection has not ended.
        Tentative,
        /// Duplicate address detection has failed.
        Duplicate,
        /// The interface is down.
        InterfaceDown,
    }
}

impl From<&engine::Verdict> for Verdict {
    fn from(verdict: &engine::Verdict) -> Self {
        match verdict {
            engine::Verdict::Announce => Self::Announce,
            engine::Verdict::Demote { how, reason } => Self::Demote(
                match how {
                    engine::Demotion::Worse(rank) => Demotion::Worse((*rank).into()),
                    engine::Demotion::Leaving(rank) => Demotion::Leaving(rank.map(Into::into)),
                },
                reason.into(),
            ),
            engine::Verdict::Withhold(reason) => Self::Withhold(reason.into()),
        }
    }
}

impl From<&Verdict> for engine::Verdict {
    fn from(frozen: &Verdict) -> Self {
        match frozen {
            Verdict::Announce => Self::Announce,
            Verdict::Demote(how, reason) => Self::Demote {
                how: match how {
                    Demotion::Worse(rank) => engine::Demotion::Worse((*rank).into()),
                    Demotion::Leaving(rank) => engine::Demotion::Leaving(rank.map(Into::into)),
                },
                reason: reason.into(),
            },
            Verdict::Withhold(reason) => Self::Withhold(reason.into()),
        }
    }
}

impl From<&engine::Reason> for Reason {
    fn from(reason: &engine::Reason) -> Self {
        use engine::Reason as Of;
        match reason {
            Of::CheckUnknown { check } => Self::CheckUnknown(check.clone()),
            Of::CheckDown { check } => Self::CheckDown(check.clone()),
            Of::CheckDegraded { check } => Self::CheckDegraded(check.clone()),
            Of::Standby => Self::Standby,
            Of::WarmingUp => Self::WarmingUp,
            Of::HeldBack => Self::HeldBack,
            Of::NotBound => Self::NotBound,
            Of::Unusable { interface, why } => Self::Unusable(interface.clone(), (*why).into()),
            Of::Contested => Self::Contested,
            Of::ForcedDown => Self::ForcedDown,
            Of::Draining => Self::Draining,
            Of::Drained => Self::Drained,
            Of::ShuttingDown => Self::ShuttingDown,
            Of::Shutdown => Self::Shutdown,
        }
    }
}

impl From<&Reason> for engine::Reason {
    fn from(frozen: &Reason) -> Self {
        match frozen {
            Reason::CheckUnknown(check) => Self::CheckUnknown { check: check.clone() },
            Reason::CheckDown(check) => Self::CheckDown { check: check.clone() },
            Reason::CheckDegraded(check) => Self::CheckDegraded { check: check.clone() },
            Reason::Standby => Self::Standby,
            Reason::WarmingUp => Self::WarmingUp,
            Reason::HeldBack => Self::HeldBack,
            Reason::NotBound => Self::NotBound,
            Reason::Unusable(interface, why) => {
                Self::Unusable { interface: interface.clone(), why: (*why).into() }
            }
            Reason::Contested => Self::Contested,
            Reason::ForcedDown => Self::ForcedDown,
            Reason::Draining => Self::Draining,
            Reason::Drained => Self::Drained,
            Reason::ShuttingDown => Self::ShuttingDown,
            Reason::Shutdown => Self::Shutdown,
        }
    }
}
