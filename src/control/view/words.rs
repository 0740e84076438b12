//! Translates the node's enums to the words of the API. Each `match` names every variant, so that a new one gets its
//! word.

use vipcast_bgp::fsm::{CloseReason, DialError, DownReason, Dropped};
use vipcast_bgp::wire::Notification;
use vipcast_bgp::wire::iana::notification::{OPEN_MESSAGE, open};
use vipcast_bgp::{PeerStatus, State, Whose, bfd};
use vipcast_node::engine::{Force, Reason, Shutdown, Verdict};
use vipcast_node::health::report::HealthState;

use super::super::api;

impl From<State> for api::SessionState {
    fn from(state: State) -> Self {
        match state {
            State::Idle => Self::Idle,
            State::Connect => Self::Connect,
            State::Active => Self::Active,
            State::OpenSent => Self::OpenSent,
            State::OpenConfirm => Self::OpenConfirm,
            State::Established => Self::Established,
        }
    }
}

impl From<bfd::State> for api::BfdState {
    fn from(state: bfd::State) -> Self {
        match state {
            bfd::State::AdminDown => Self::AdminDown,
            bfd::State::Down => Self::Down,
            bfd::State::Init => Self::Init,
            bfd::State::Up => Self::Up,
        }
    }
}

impl From<HealthState> for api::CheckState {
    fn from(state: HealthState) -> Self {
        match state {
            HealthState::Unknown => Self::Unknown,
            HealthState::Rising => Self::Rising,
            HealthState::Up => Self::Up,
            HealthState::Falling => Self::Falling,
            HealthState::Down => Self::Down,
        }
    }
}

impl From<&Verdict> for api::Verdict {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Announce => Self::Announced,
            Verdict::Demote { .. } => Self::Demoted,
            Verdict::Withhold(_) => Self::Withheld,
        }
    }
}

/// The state of a VIP that this number of routers have.
pub(super) fn state(verdict: &Verdict, routers: usize) -> api::VipState {
    match verdict {
        Verdict::Announce | Verdict::Demote { .. } if routers == 0 => api::VipState::Ready,
        Verdict::Announce => api::VipState::Announced,
        Verdict::Demote { .. } => api::VipState::Demoted,
        Verdict::Withhold(_) => api::VipState::Withheld,
    }
}

impl From<&Reason> for api::Reason {
    fn from(reason: &Reason) -> Self {
        match reason {
            Reason::CheckUnknown { .. } => Self::CheckUnknown,
            Reason::CheckDown { .. } => Self::CheckDown,
            Reason::CheckDegraded { .. } => Self::CheckDegraded,
            Reason::Standby => Self::Standby,
            Reason::WarmingUp => Self::WarmingUp,
            Reason::HeldBack => Self::HeldBack,
            Reason::NotBound => Self::NotBound,
            Reason::Unusable { .. } => Self::Unusable,
            Reason::Contested => Self::Contested,
            Reason::ForcedDown => Self::ForcedDown,
            Reason::Draining => Self::Draining,
            Reason::Drained => Self::Drained,
            Reason::ShuttingDown => Self::ShuttingDown,
            Reason::Shutdown => Self::Shutdown,
        }
    }
}

impl From<Force> for api::Direction {
    fn from(to: Force) -> Self {
        match to {
            Force::Up => Self::Up,
            Force::Down => Self::Down,
        }
    }
}

impl From<Shutdown> for api::ShutdownPhase {
    fn from(phase: Shutdown) -> Self {
        match phase {
            Shutdown::Draining { .. } => Self::Draining,
            Shutdown::Withdrawing { .. } => Self::Withdrawing,
            Shutdown::Settling { .. } => Self::Settling,
            Shutdown::Ceasing { .. } => Self::Ceasing,
            Shutdown::Unbinding { .. } => Self::Unbinding,
            Shutdown::Done => Self::Done,
        }
    }
}

impl From<Whose> for api::Whose {
    fn from(whose: Whose) -> Self {
        match whose {
            Whose::Other => Self::Anothers,
            Whose::Ours => Self::Ours,
            Whose::Unclear => Self::Unclear,
        }
    }
}

/// The fault that keeps a session down. A wrong AS number is the fault also when the router only refuses connections
/// after its NOTIFICATION.
pub(super) fn fault(status: &PeerStatus) -> Option<api::PeerFault> {
    let of = |end: &Option<(DownReason, _)>| end.as_ref().map(|(reason, _)| reason.into());
    let telling = of(&status.telling).filter(|fault| *fault == api::PeerFault::WrongAs);
    telling.or_else(|| of(&status.last_down))
}

impl From<&DownReason> for api::PeerFault {
    fn from(reason: &DownReason) -> Self {
        match reason {
            DownReason::Received(Notification { code: OPEN_MESSAGE, subcode: open::BAD_PEER_AS, .. })
            | DownReason::Sent(Notification { code: OPEN_MESSAGE, subcode: open::BAD_PEER_AS, .. }) => {
                Self::WrongAs
            }
            DownReason::DialFailed(error) => error.into(),
            DownReason::Closed(CloseReason::TimedOut { dropped: Some(dropped) }) => (*dropped).into(),
            DownReason::Closed(CloseReason::NoRoute) => Self::NoRoute,
            DownReason::Received(_)
            | DownReason::Sent(_)
            | DownReason::Closed(_)
            | DownReason::SendHoldTimerExpired
            | DownReason::LocalAddressGone
            | DownReason::BfdDown(_)
            | DownReason::Stopped(_) => Self::Unnamed,
        }
    }
}

impl From<&DialError> for api::PeerFault {
    fn from(error: &DialError) -> Self {
        match error {
            DialError::NoRoute
            | DialError::NetworkUnreachable
            | DialError::NetworkDown
            | DialError::NoAddress => Self::NoRoute,
            DialError::Refused => Self::Refused,
            DialError::NoAnswer { dropped: Some(dropped) }
            | DialError::TimedOut { dropped: Some(dropped) } => (*dropped).into(),
            DialError::NoAnswer { dropped: None } | DialError::TimedOut { dropped: None } => Self::NoAnswer,
            DialError::Reset
            | DialError::NoDevice
            | DialError::Interface { .. }
            | DialError::Source { .. }
            | DialError::NoMd5
            | DialError::NoAo
            | DialError::Other(_) => Self::Unnamed,
        }
    }
}

impl From<Dropped> for api::PeerFault {
    fn from(dropped: Dropped) -> Self {
        match dropped {
            Dropped::WrongMd5 | Dropped::MissingMd5 | Dropped::UnexpectedMd5 | Dropped::Ao => Self::WrongKey,
            Dropped::LowTtl => Self::LowTtl,
        }
    }
}

#[cfg(test)]
mod tests {
    use vipcast_bgp::Instant;

    use super::*;

    #[test]
    fn the_fault_of_a_session_is_its_last_end_unless_an_earlier_one_tells_more() {
        let bad_as =
            DownReason::Received(Notification::new(OPEN_MESSAGE, open::BAD_PEER_AS, bytes::Bytes::new()));
        let refused = DownReason::DialFailed(DialError::Refused);
        let silent = |dropped| DownReason::DialFailed(DialError::NoAnswer { dropped });
        let cases = [
            (None, None, None),
            (None, Some(refused.clone()), Some(api::PeerFault::Refused)),
            (Some(bad_as.clone()), Some(refused.clone()), Some(api::PeerFault::WrongAs)),
            (Some(DownReason::LocalAddressGone), Some(refused), Some(api::PeerFault::Refused)),
            (None, Some(bad_as), Some(api::PeerFault::WrongAs)),
            (None, Some(silent(None)), Some(api::PeerFault::NoAnswer)),
            (None, Some(silent(Some(Dropped::WrongMd5))), Some(api::PeerFault::WrongKey)),
            (None, Some(silent(Some(Dropped::LowTtl))), Some(api::PeerFault::LowTtl)),
            (
                None,
                Some(DownReason::DialFailed(DialError::NetworkUnreachable)),
                Some(api::PeerFault::NoRoute),
            ),
            (None, Some(DownReason::SendHoldTimerExpired), Some(api::PeerFault::Unnamed)),
        ];
        for (telling, last_down, wanted) in cases {
            let at = |reason: Option<DownReason>| reason.map(|reason| (reason, Instant::BOOT));
            let idle = PeerStatus::idle(Instant::BOOT);
            let status = PeerStatus { telling: at(telling), last_down: at(last_down), ..idle };
            assert_eq!(fault(&status), wanted, "{status:?}");
        }
    }

    /// The words are the same in the log and in labels of metrics.
    #[test]
    fn the_words_are_those_of_the_log() {
        use State::{Active, Connect, Established, Idle, OpenConfirm, OpenSent};
        for state in [Idle, Connect, Active, OpenSent, OpenConfirm, Established] {
            assert_eq!(api::SessionState::from(state).to_string(), state.to_string());
        }
        for state in bfd::State::ALL {
            assert_eq!(api::BfdState::from(state).to_string(), state.to_string());
        }
        for to in [Force::Up, Force::Down] {
            assert_eq!(api::Direction::from(to).word(), to.word());
        }
        let until = Instant::BOOT;
        let phases = [
            Shutdown::Draining { until },
            Shutdown::Withdrawing { until },
            Shutdown::Settling { until },
            Shutdown::Ceasing { until },
            Shutdown::Unbinding { until },
            Shutdown::Done,
        ];
        for phase in phases {
            assert_eq!(api::ShutdownPhase::from(phase).word(), phase.word());
        }
        let (check, why) = ("web".into(), vipcast_node::engine::Unusable::Tentative);
        let reasons = [
            Reason::CheckUnknown { check },
            Reason::CheckDown { check: "web".into() },
            Reason::CheckDegraded { check: "web".into() },
            Reason::Standby,
            Reason::WarmingUp,
            Reason::HeldBack,
            Reason::NotBound,
            Reason::Unusable { interface: "lo".to_owned(), why },
            Reason::Contested,
            Reason::ForcedDown,
            Reason::Draining,
            Reason::Drained,
            Reason::ShuttingDown,
            Reason::Shutdown,
        ];
        assert_eq!(reasons.len(), api::Reason::KNOWN.len());
        for reason in reasons {
            assert_eq!(api::Reason::from(&reason).word(), reason.name());
            let verdict = Verdict::Withhold(reason);
            assert_eq!(api::Verdict::from(&verdict).word(), verdict.word());
            assert_eq!(state(&verdict, 0).word(), verdict.word());
        }
        assert_eq!(api::Verdict::from(&Verdict::Announce).word(), Verdict::Announce.word());
        assert_eq!(state(&Verdict::Announce, 1).word(), Verdict::Announce.word());
    }
}
