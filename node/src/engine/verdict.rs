//! The verdict about a VIP, and its reason. The log line, `explain`, the API and the metric label all take their name
//! for a "no" from [`Reason`].

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::binding::Unusable;
use crate::model::Rank;
use crate::names::CheckName;

/// Whether and how well one VIP is served here. [`media`](crate::media) translates it for routers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Announced as configured.
    Announce,
    /// Announced with a worse or ending path.
    Demote {
        /// The kind of demotion.
        how: Demotion,
        reason: Reason,
    },
    /// Not announced.
    Withhold(Reason),
}

/// The kind of a demotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Demotion {
    /// The path is worse than that of a healthy node.
    Worse(Rank),
    /// The announcement is about to end (RFC 8326); with a rank the path is also worse.
    Leaving(Option<Rank>),
}

impl Demotion {
    /// The rank of the path; `None`: the announcement only ends soon.
    pub fn rank(self) -> Option<Rank> {
        match self {
            Self::Worse(rank) => Some(rank),
            Self::Leaving(rank) => rank,
        }
    }
}

impl Verdict {
    /// Whether the VIP is announced at all, demoted or not.
    pub fn is_announced(&self) -> bool {
        match self {
            Self::Announce | Self::Demote { .. } => true,
            Self::Withhold(_) => false,
        }
    }

    /// The rank of a demoted path.
    pub fn rank(&self) -> Option<Rank> {
        match self {
            Self::Demote { how, .. } => how.rank(),
            Self::Announce | Self::Withhold(_) => None,
        }
    }

    /// The reason of a verdict other than announce.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Announce => None,
            Self::Demote { reason, .. } | Self::Withhold(reason) => Some(reason),
        }
    }

    /// One word for tables and labels.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Announce => "announced",
            Self::Demote { .. } => "demoted",
            Self::Withhold(_) => "withheld",
        }
    }
}

/// The reason why a VIP is withheld or demoted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// A check that decides has no settled state yet.
    CheckUnknown {
        /// The first such check.
        check: CheckName,
    },
    /// Checks that decide are down.
    CheckDown {
        /// The first such check.
        check: CheckName,
    },
    /// Checks that decide are degraded.
    CheckDegraded {
        /// The first such check.
        check: CheckName,
    },
    /// This node gets the traffic only while no active node has it.
    Standby,
    /// The service was down a short time ago.
    WarmingUp,
    /// The service was down, and does not take its traffic back by itself (`preempt`).
    HeldBack,
    /// The VIP is not bound on this host (yet, or any more).
    NotBound,
    /// The VIP is bound on this host, but unusable.
    Unusable {
        /// The interface with the address.
        interface: String,
        why: Unusable,
    },
    /// Another program keeps removing the address or the local route.
    Contested,
    /// An operator has forced the service down.
    ForcedDown,
    /// The service is being drained, by an operator or from outside: announced with GRACEFUL_SHUTDOWN until the drain time is over.
    Draining,
    /// The service is drained, by an operator or from outside.
    Drained,
    /// The daemon is about to stop: announced with GRACEFUL_SHUTDOWN until the drain time is over.
    ShuttingDown,
    /// The daemon stops.
    Shutdown,
}

impl Reason {
    /// The stable name, as in JSON and in metric labels.
    pub fn name(&self) -> &'static str {
        self.said().0
    }

    /// Its stable name, and its text.
    fn said(&self) -> (&'static str, Cow<'static, str>) {
        match self {
            Self::CheckUnknown { check } => {
                ("check_unknown", format!("check {check} has not settled yet").into())
            }
            Self::CheckDown { check } => ("check_down", format!("check {check} is down").into()),
            Self::CheckDegraded { check } => ("check_degraded", format!("check {check} is degraded").into()),
            Self::Standby => ("standby", "this node is a standby".into()),
            Self::WarmingUp => ("warming_up", "warming up after it was down".into()),
            Self::HeldBack => {
                ("held_back", "held back after a failure (`preempt`): another node has the traffic".into())
            }
            Self::NotBound => ("not_bound", "it is not bound on this host".into()),
            Self::Unusable { interface, why } => {
                ("unusable", format!("the address is on {interface} but unusable: {why}").into())
            }
            Self::Contested => ("contested", "another program keeps removing the address".into()),
            Self::ForcedDown => ("forced_down", "forced down by an operator".into()),
            Self::Draining => ("draining", "being drained, GRACEFUL_SHUTDOWN is set".into()),
            Self::Drained => ("drained", "drained".into()),
            Self::ShuttingDown => {
                ("shutting_down", "vipcast is about to stop, GRACEFUL_SHUTDOWN is set".into())
            }
            Self::Shutdown => ("shutdown", "vipcast is stopping".into()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said().1)
    }
}
