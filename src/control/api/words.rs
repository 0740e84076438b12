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

    /// The kind of fault that keeps a session down.
    PeerFault {
        /// This host has no way to the router's address.
        NoRoute = "no_route",
        /// The router refuses the connection.
        Refused = "refused",
        /// The router neither accepts nor refuses the connection.
        NoAnswer = "no_answer",
        /// The keys of TCP MD5 or TCP-AO differ, or one side has none.
        WrongKey = "wrong_key",
        /// The router's packets have too low a TTL.
        LowTtl = "low_ttl",
        /// One side is configured with another AS number for the other.
        WrongAs = "wrong_as",
        /// Any other fault.
        Unnamed = "other",
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
        /// An operator has forced the service down.
        ForcedDown = "forced_down",
        /// An operator drains the service: GRACEFUL_SHUTDOWN is set.
        Draining = "draining",
        /// An operator has drained the service.
        Drained = "drained",
        /// The daemon is about to stop: GRACEFUL_SHUTDOWN is set.
        ShuttingDown = "shutting_down",
        /// The daemon stops.
        Shutdown = "shutdown",
    }

    /// The direction of a force.
    Direction {
        /// The service counts as healthy.
        Up = "up",
        /// The service is withheld.
        Down = "down",
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

    /// The kind of an event.
    EventKind {
        /// A router has a VIP with a new verdict, or a VIP that no router had.
        Announced = "announced",
        /// A VIP that was announced is withheld.
        Withdrawn = "withdrawn",
        /// A VIP that was not announced is withheld, for another reason than before.
        Withheld = "withheld",
        /// A VIP is to be announced.
        Ready = "ready",
        /// A VIP is announced with a worse or ending path.
        Demoted = "demoted",
        /// A VIP is no longer configured.
        Removed = "removed",
        /// No router has these VIPs, although they are announced.
        Unreached = "unreached",
        /// A check is healthy.
        CheckUp = "check_up",
        /// A check is not healthy.
        CheckDown = "check_down",
        /// A check that is down begins to pass.
        CheckRising = "check_rising",
        /// A healthy check begins to fail.
        CheckFalling = "check_falling",
        /// A check has begun anew.
        CheckUnknown = "check_unknown",
        /// A check passes, but exceeds a limit.
        CheckDegraded = "check_degraded",
        /// A check no longer exceeds its limit.
        CheckRecovered = "check_recovered",
        /// An operator let a service take its traffic back.
        Promoted = "promoted",
        /// An operator's drain begins, or becomes longer.
        DrainBegins = "drain_begins",
        /// A drain was lifted, or its time is over.
        DrainEnds = "drain_ends",
        /// A drained service or peer left the configuration, or came back.
        DrainWaits = "drain_waits",
        /// An operator forced a service up or down.
        Forced = "forced",
        /// A force was lifted, or is over.
        Cleared = "cleared",
        /// A forced service left the configuration, or came back.
        ForceWaits = "force_waits",
        /// One of our addresses or local routes vanished.
        AddressLost = "address_lost",
        /// An address or local route stays again.
        AddressStays = "address_stays",
        /// An address or local route of an earlier run was found.
        AddressAdopted = "address_adopted",
        /// An address or local route could not be changed.
        AddressFailed = "address_failed",
        /// Addresses or local routes are left on the host after the end.
        AddressesLeft = "addresses_left",
        /// The interface of VIPs does not exist.
        InterfaceMissing = "interface_missing",
        /// A session is established.
        SessionUp = "session_up",
        /// A session has ended.
        SessionDown = "session_down",
        /// An attempt for a session has failed.
        SessionFailed = "session_failed",
        /// A peer acknowledges nothing, although it sends.
        SessionStalled = "session_stalled",
        /// A session was ended by us.
        SessionStopped = "session_stopped",
        /// Our end of a session is a VIP.
        SessionFromService = "session_from_service",
        /// BFD with a peer is up.
        BfdUp = "bfd_up",
        /// BFD with a peer has failed.
        BfdDown = "bfd_down",
        /// A peer has taken its BFD session out of service.
        BfdOutOfService = "bfd_out_of_service",
        /// A peer was renamed.
        PeerRenamed = "peer_renamed",
        /// A router was found on a link.
        RouterFound = "router_found",
        /// A second router advertises itself on a link.
        SecondRouter = "second_router",
        /// Another router of a link is tried.
        RouterGivesWay = "router_gives_way",
        /// The key of a session was found.
        KeyFound = "key_found",
        /// The key of a session is missing.
        KeyMissing = "key_missing",
        /// An operator gave a command.
        Command = "command",
        /// A reloaded configuration is in force.
        Reloaded = "reloaded",
        /// A reload was refused, and changes nothing.
        NotReloaded = "not_reloaded",
        /// A restart was requested.
        RestartAsked = "restart_asked",
        /// A requested restart does not take place.
        NotRestarted = "not_restarted",
        /// An upgrade, or its rehearsal, was requested.
        UpgradeAsked = "upgrade_asked",
        /// The next program can take over.
        Rehearsed = "rehearsed",
        /// A requested upgrade does not take place, and nothing was changed.
        NotUpgraded = "not_upgraded",
        /// The next program takes over, with all sessions.
        HandingOver = "handing_over",
        /// This program has taken over.
        Upgraded = "upgraded",
        /// The hand-over failed, and the daemon begins anew.
        NotThawed = "not_thawed",
        /// A graceful restart begins.
        RestartBegins = "restart_begins",
        /// A graceful restart has ended.
        RestartEnds = "restart_ends",
        /// The daemon has started.
        Started = "started",
        /// Sessions may begin.
        SpeakerStarted = "speaker_started",
        /// The shutdown entered a phase.
        Shutdown = "shutdown",
        /// The daemon has stopped.
        Stopped = "stopped",
        /// This process ends for the next one.
        Leaving = "leaving",
        /// The wall clock was set.
        ClockSet = "clock_set",
        /// A warning about the configuration.
        Warning = "warning",
        /// A notice about this host or a peer.
        Notice = "notice",
    }

    /// The importance of an event.
    Level {
        /// Of interest when something is examined.
        Debug = "debug",
        /// As expected.
        Info = "info",
        /// An operator may have to act.
        Warning = "warning",
        /// Something failed.
        Error = "error",
    }
}
