//! The words that answers use for how something is. The words are part of the API: one that is changed breaks programs.

use super::macros::words;

words! {
    /// State of a BGP session (RFC 4271 §8.2.2).
    SessionState {
        /// Nothing is tried at present.
        Idle = "Idle",
        /// A connection is being made.
        Connect = "Connect",
        /// The next attempt, or one of the peer, is waited for.
        Active = "Active",
        /// We have sent an OPEN.
        OpenSent = "OpenSent",
        /// Both have sent an OPEN.
        OpenConfirm = "OpenConfirm",
        /// Routes are exchanged.
        Established = "Established",
    }

    /// State of a BFD session (RFC 5880 §4.1).
    BfdState {
        /// Switched off by an operator.
        AdminDown = "AdminDown",
        /// Nothing is heard of the peer.
        Down = "Down",
        /// The peer is heard, and does not hear us yet.
        Init = "Init",
        /// Both hear each other.
        Up = "Up",
    }

    /// State of a check.
    CheckState {
        /// Nothing is settled since it began.
        Unknown = "unknown",
        /// Down, but the last results passed.
        Rising = "rising",
        /// Healthy.
        Up = "up",
        /// Still healthy, but the last results failed.
        Falling = "falling",
        /// Not healthy.
        Down = "down",
    }

    /// What was decided about a VIP.
    Verdict {
        /// It is announced as configured.
        Announced = "announced",
        /// It is announced as less than it could be.
        Demoted = "demoted",
        /// It is not announced.
        Withheld = "withheld",
    }

    /// What a VIP is: what was decided, if a router has it.
    VipState {
        /// Announced, and a router has it.
        Announced = "announced",
        /// Demoted, and a router has it.
        Demoted = "demoted",
        /// Not announced.
        Withheld = "withheld",
        /// Announced or demoted, and no router has it.
        Ready = "ready",
    }

    /// Why a VIP is withheld or demoted.
    Reason {
        /// A check that decides has no settled state yet.
        CheckUnknown = "check_unknown",
        /// Checks that decide are down.
        CheckDown = "check_down",
        /// Checks that decide are degraded.
        CheckDegraded = "check_degraded",
        /// This node has the traffic only while no other node has it.
        Standby = "standby",
        /// The service was down a short time ago.
        WarmingUp = "warming_up",
        /// The service was down, and does not take its traffic back by itself.
        HeldBack = "held_back",
        /// It is not bound on this host.
        NotBound = "not_bound",
        /// It is bound on this host, and cannot be used there.
        Unusable = "unusable",
        /// Another program keeps taking the address away.
        Contested = "contested",
        /// An operator drains the service: GRACEFUL_SHUTDOWN is set.
        Draining = "draining",
        /// An operator has drained the service.
        Drained = "drained",
        /// The daemon is about to stop: GRACEFUL_SHUTDOWN is set.
        ShuttingDown = "shutting_down",
        /// The daemon stops.
        Shutdown = "shutdown",
    }

    /// How far the shutdown of the daemon is.
    ShutdownPhase {
        /// Everything is announced with GRACEFUL_SHUTDOWN.
        Draining = "draining",
        /// Everything is withdrawn, and peers are told.
        Withdrawing = "withdrawing",
        /// Every peer was told; the addresses stay a little longer.
        Settling = "settling",
        /// Sessions are being closed.
        Ceasing = "ceasing",
        /// Addresses are being removed.
        Unbinding = "unbinding",
        /// Nothing is left to do.
        Done = "done",
    }

    /// Whose announcement a path is.
    Whose {
        /// Another speaker's.
        Anothers = "other",
        /// Our own, which a router sends back.
        Ours = "ours",
        /// Our own AS announces it, and no more can be told.
        Unclear = "unclear",
    }
}
