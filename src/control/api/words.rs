//! The words for states in answers. They are part of the API: a changed word breaks programs.

use super::macros::words;

words! {
    /// State of a BGP session (RFC 4271 §8.2.2).
    SessionState {
        /// No attempt is under way.
        Idle = "Idle",
        /// A connection is being made.
        Connect = "Connect",
        /// Waiting for the next attempt, or for the peer's.
        Active = "Active",
        /// We have sent an OPEN.
        OpenSent = "OpenSent",
        /// Both sides have sent an OPEN.
        OpenConfirm = "OpenConfirm",
        /// Routes are exchanged.
        Established = "Established",
    }

    /// State of a BFD session (RFC 5880 §4.1).
    BfdState {
        /// Taken out of service by an operator.
        AdminDown = "AdminDown",
        /// No packet from the peer.
        Down = "Down",
        /// Packets come from the peer, which does not receive ours yet.
        Init = "Init",
        /// Packets arrive in both directions.
        Up = "Up",
    }

    /// State of a check.
    CheckState {
        /// Not settled since the check began.
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

    /// The verdict about a VIP.
    Verdict {
        /// Announced as configured.
        Announced = "announced",
        /// Announced with a worse or ending path.
        Demoted = "demoted",
        /// Not announced.
        Withheld = "withheld",
    }

    /// The state of a VIP: the verdict, if a router has the VIP.
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

    /// The reason why a VIP is withheld or demoted.
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
        /// The service was down, and does not take its traffic back by itself (`preempt`).
        HeldBack = "held_back",
        /// The VIP is not bound on this host.
        NotBound = "not_bound",
        /// The VIP is bound on this host, but unusable.
        Unusable = "unusable",
        /// Another program keeps removing the address.
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

    /// The phase of the daemon's shutdown.
    ShutdownPhase {
        /// All VIPs are announced with GRACEFUL_SHUTDOWN.
        Draining = "draining",
        /// All VIPs are withdrawn, until the peers have acknowledged it.
        Withdrawing = "withdrawing",
        /// Every peer has acknowledged it; the addresses stay a little longer.
        Settling = "settling",
        /// Sessions are being closed.
        Ceasing = "ceasing",
        /// Addresses are being removed.
        Unbinding = "unbinding",
        /// Nothing is left to do.
        Done = "done",
    }

    /// The announcer of a path.
    Whose {
        /// Another speaker.
        Anothers = "other",
        /// Our own route, reflected by a router.
        Ours = "ours",
        /// Our own AS: our own route or another node's.
        Unclear = "unclear",
    }
}
