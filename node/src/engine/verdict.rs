//! What is decided about a VIP, and why. The one place where a "no" gets its name: the log line, `explain`, the API
//! and the metric label all come from [`Reason`].

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::binding::Unusable;
use crate::model::Rank;
use crate::names::CheckName;

/// Whether and how well one VIP is served here. What that means to routers is said in [`media`](crate::media).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Announced as configured.
    Announce,
    /// Announced, but as less than it could be.
    Demote {
        /// By how much.
        how: Demotion,
        /// Why.
        reason: Reason,
    },
    /// Not announced.
    Withhold(Reason),
}

/// How an announcement is less than a plain one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Demotion {
    /// It is worse than that of a healthy node.
    Worse(Rank),
    /// It is about to end (RFC 8326); with a rank it is also worse.
    Leaving(Option<Rank>),
}

impl Demotion {
    /// How much worse than healthy it is; `None`: it only ends soon.
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

    /// How much worse than healthy it is announced, if it is.
    pub fn rank(&self) -> Option<Rank> {
        match self {
            Self::Demote { how, .. } => how.rank(),
            Self::Announce | Self::Withhold(_) => None,
        }
    }

    /// Why it is less than a plain announcement.
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

/// Why a VIP is withheld or demoted.
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
    /// This node has the traffic only while nobody else does.
    Standby,
    /// The service was down a short time ago.
    WarmingUp,
    /// The service was down, and does not take its traffic back by itself.
    HeldBack,
    /// It is not bound on this host (yet, or any more).
    NotBound,
    /// It is bound on this host, and that is of no use.
    Unusable {
        /// Where it is.
        interface: String,
        /// Why.
        why: Unusable,
    },
    /// Somebody keeps taking the address or the local route away.
    Contested,
    /// An operator drains the service: announced with GRACEFUL_SHUTDOWN until the drain time is over.
    Draining,
    /// An operator has drained the service.
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

    /// Its name, and what it says to people.
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
                ("held_back", "it was down, and does not preempt whoever has taken over".into())
            }
            Self::NotBound => ("not_bound", "it is not bound on this host".into()),
            Self::Unusable { interface, why } => {
                ("unusable", format!("the address is on {interface} but unusable: {why}").into())
            }
            Self::Contested => ("contested", "somebody keeps taking the address away".into()),
            Self::Draining => ("draining", "being drained by an operator, GRACEFUL_SHUTDOWN is set".into()),
            Self::Drained => ("drained", "drained by an operator".into()),
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
