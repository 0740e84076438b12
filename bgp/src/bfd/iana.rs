//! Code points of BFD: every number that IANA or an RFC assigned, once.

use crate::wire::iana::registry;

/// UDP port of single-hop control packets (RFC 5881 §4).
pub const SINGLE_HOP_PORT: u16 = 3784;

/// UDP port of multihop control packets (RFC 5883 §5).
pub const MULTIHOP_PORT: u16 = 4784;

/// Source ports of control packets, unique for each session and fixed (RFC 5881 §4).
pub const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;

/// The TTL or hop limit of a single-hop packet, sent and received (RFC 5881 §5, RFC 5082).
pub const TTL: u8 = 255;

/// The traffic class of our packets, as the octet of the IP header: DSCP CS6, network control (RFC 4594 §3.1).
pub const CLASS_SELECTOR_6: u32 = 48 << 2;

/// The protocol version (RFC 5880 §4.1).
pub const VERSION: u8 = 1;

/// The shortest transmit interval while a session is not Up, in microseconds (RFC 5880 §6.8.3).
pub const SLOW_INTERVAL: u32 = 1_000_000;

/// Diagnostics (RFC 5880 §4.1, RFC 6428 §5).
pub mod diagnostic {
    use super::registry;

    registry! { u8;
        NONE = 0, "No Diagnostic";
        DETECTION_TIME_EXPIRED = 1, "Control Detection Time Expired";
        ECHO_FUNCTION_FAILED = 2, "Echo Function Failed";
        NEIGHBOR_SIGNALED_SESSION_DOWN = 3, "Neighbor Signaled Session Down";
        FORWARDING_PLANE_RESET = 4, "Forwarding Plane Reset";
        PATH_DOWN = 5, "Path Down";
        CONCATENATED_PATH_DOWN = 6, "Concatenated Path Down";
        ADMINISTRATIVELY_DOWN = 7, "Administratively Down";
        REVERSE_CONCATENATED_PATH_DOWN = 8, "Reverse Concatenated Path Down";
        MIS_CONNECTIVITY_DEFECT = 9, "Mis-connectivity Defect";
    }
}

/// Session states (RFC 5880 §4.1).
pub mod state {
    use super::registry;

    registry! { u8;
        ADMIN_DOWN = 0, "AdminDown";
        DOWN = 1, "Down";
        INIT = 2, "Init";
        UP = 3, "Up";
    }
}

/// The bits beside the state (RFC 5880 §4.1).
pub mod flag {
    use super::registry;

    registry! { u8;
        POLL = 0x20, "Poll";
        FINAL = 0x10, "Final";
        CONTROL_PLANE_INDEPENDENT = 0x08, "Control Plane Independent";
        AUTHENTICATION = 0x04, "Authentication Present";
        DEMAND = 0x02, "Demand";
        MULTIPOINT = 0x01, "Multipoint";
    }
}
