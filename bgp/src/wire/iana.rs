//! Code points: every number that IANA or an RFC assigned, stated once, with its registered name.
//!
//! Nothing outside this file spells a protocol number. Each module is one registry; its `name` function
//! gives the registered name for messages to people.

/// TCP port of BGP (RFC 4271 §8).
pub const BGP_PORT: u16 = 179;

/// The BGP version spoken here (RFC 4271 §4.2).
pub const BGP_VERSION: u8 = 4;

/// Stands for an AS number that does not fit in two octets (RFC 6793 §9).
pub const AS_TRANS: u16 = 23456;

/// Declares the constants of one registry and the look-up of their names.
macro_rules! registry {
    ($type:ty; $($name:ident = $value:expr, $words:literal;)+) => {
        $(#[doc = $words] pub const $name: $type = $value;)+

        /// The name of `code` in words, `None` when it is not in this table.
        #[must_use]
        pub const fn name(code: $type) -> Option<&'static str> {
            match code {
                $($name => Some($words),)+
                _ => None,
            }
        }
    };
}

pub(crate) use registry;

/// BGP message types (RFC 4271 §4.1, RFC 2918).
pub mod message_type {
    registry! { u8;
        OPEN = 1, "OPEN";
        UPDATE = 2, "UPDATE";
        NOTIFICATION = 3, "NOTIFICATION";
        KEEPALIVE = 4, "KEEPALIVE";
        ROUTE_REFRESH = 5, "ROUTE-REFRESH";
    }
}

/// Address family identifiers.
pub mod afi {
    registry! { u16;
        IPV4 = 1, "ipv4";
        IPV6 = 2, "ipv6";
        L2VPN = 25, "l2vpn";
        LINK_STATE = 16388, "link-state";
    }
}

/// Subsequent address family identifiers.
pub mod safi {
    registry! { u8;
        UNICAST = 1, "unicast";
        MULTICAST = 2, "multicast";
        LABELED_UNICAST = 4, "labeled-unicast";
        MCAST_VPN = 5, "mcast-vpn";
        VPLS = 65, "vpls";
        EVPN = 70, "evpn";
        LINK_STATE = 71, "link-state";
        MUP = 85, "mup";
        MPLS_VPN = 128, "vpn";
        ROUTE_TARGET = 132, "route-target";
        FLOWSPEC = 133, "flowspec";
        FLOWSPEC_VPN = 134, "flowspec-vpn";
    }
}

/// Optional parameters of OPEN (RFC 5492, RFC 9072).
pub mod open_parameter {
    registry! { u8;
        CAPABILITIES = 2, "Capabilities";
        EXTENDED_LENGTH = 255, "Extended Length";
    }
}

/// Capability codes (RFC 5492).
pub mod capability {
    registry! { u8;
        MULTIPROTOCOL = 1, "multiprotocol";
        ROUTE_REFRESH = 2, "route-refresh";
        OUTBOUND_ROUTE_FILTERING = 3, "outbound-route-filtering";
        EXTENDED_NEXT_HOP = 5, "extended-next-hop";
        EXTENDED_MESSAGE = 6, "extended-message";
        ROLE = 9, "role";
        GRACEFUL_RESTART = 64, "graceful-restart";
        FOUR_OCTET_AS = 65, "four-octet-as";
        DYNAMIC = 67, "dynamic";
        ADD_PATH = 69, "add-path";
        ENHANCED_ROUTE_REFRESH = 70, "enhanced-route-refresh";
        LONG_LIVED_GRACEFUL_RESTART = 71, "long-lived-graceful-restart";
        FQDN = 73, "fqdn";
        SOFTWARE_VERSION = 75, "software-version";
        ROUTE_REFRESH_CISCO = 128, "route-refresh-cisco";
    }
}

/// BGP roles (RFC 9234 §4.1).
pub mod role {
    registry! { u8;
        PROVIDER = 0, "provider";
        RS = 1, "rs";
        RS_CLIENT = 2, "rs-client";
        CUSTOMER = 3, "customer";
        PEER = 4, "peer";
    }
}

/// Path attribute type codes (RFC 4271 §4.3 and the RFCs that add to it).
pub mod attribute {
    registry! { u8;
        ORIGIN = 1, "ORIGIN";
        AS_PATH = 2, "AS_PATH";
        NEXT_HOP = 3, "NEXT_HOP";
        MULTI_EXIT_DISC = 4, "MULTI_EXIT_DISC";
        LOCAL_PREF = 5, "LOCAL_PREF";
        ATOMIC_AGGREGATE = 6, "ATOMIC_AGGREGATE";
        AGGREGATOR = 7, "AGGREGATOR";
        COMMUNITIES = 8, "COMMUNITIES";
        ORIGINATOR_ID = 9, "ORIGINATOR_ID";
        CLUSTER_LIST = 10, "CLUSTER_LIST";
        MP_REACH_NLRI = 14, "MP_REACH_NLRI";
        MP_UNREACH_NLRI = 15, "MP_UNREACH_NLRI";
        EXTENDED_COMMUNITIES = 16, "EXTENDED_COMMUNITIES";
        AS4_PATH = 17, "AS4_PATH";
        AS4_AGGREGATOR = 18, "AS4_AGGREGATOR";
        PMSI_TUNNEL = 22, "PMSI_TUNNEL";
        TUNNEL_ENCAPSULATION = 23, "TUNNEL_ENCAPSULATION";
        AIGP = 26, "AIGP";
        LINK_STATE = 29, "BGP-LS";
        LARGE_COMMUNITIES = 32, "LARGE_COMMUNITIES";
        ONLY_TO_CUSTOMER = 35, "ONLY_TO_CUSTOMER";
        PREFIX_SID = 40, "PREFIX_SID";
    }
}

/// ORIGIN values (RFC 4271 §4.3).
pub mod origin {
    registry! { u8;
        IGP = 0, "igp";
        EGP = 1, "egp";
        INCOMPLETE = 2, "incomplete";
    }
}

/// AS_PATH segment types (RFC 4271 §4.3, RFC 5065 §3).
pub mod as_segment {
    registry! { u8;
        SET = 1, "AS_SET";
        SEQUENCE = 2, "AS_SEQUENCE";
        CONFED_SEQUENCE = 3, "AS_CONFED_SEQUENCE";
        CONFED_SET = 4, "AS_CONFED_SET";
    }
}

/// ROUTE-REFRESH message subtypes (RFC 7313 §3.2).
pub mod route_refresh {
    registry! { u8;
        NORMAL = 0, "request";
        BEGIN = 1, "begin";
        END = 2, "end";
    }
}

/// Well-known communities (RFC 1997, RFC 3765, RFC 7999, RFC 8326, RFC 9494).
pub mod community {
    registry! { u32;
        GRACEFUL_SHUTDOWN = 0xFFFF_0000, "graceful-shutdown";
        ACCEPT_OWN = 0xFFFF_0001, "accept-own";
        LLGR_STALE = 0xFFFF_0006, "llgr-stale";
        NO_LLGR = 0xFFFF_0007, "no-llgr";
        BLACKHOLE = 0xFFFF_029A, "blackhole";
        NO_EXPORT = 0xFFFF_FF01, "no-export";
        NO_ADVERTISE = 0xFFFF_FF02, "no-advertise";
        NO_EXPORT_SUBCONFED = 0xFFFF_FF03, "no-export-subconfed";
        NO_PEER = 0xFFFF_FF04, "no-peer";
    }

    /// Every name of the table with its value, for parsing and for hints.
    pub const NAMED: [(&str, u32); 9] = [
        ("graceful-shutdown", GRACEFUL_SHUTDOWN),
        ("accept-own", ACCEPT_OWN),
        ("llgr-stale", LLGR_STALE),
        ("no-llgr", NO_LLGR),
        ("blackhole", BLACKHOLE),
        ("no-export", NO_EXPORT),
        ("no-advertise", NO_ADVERTISE),
        ("no-export-subconfed", NO_EXPORT_SUBCONFED),
        ("no-peer", NO_PEER),
    ];
}

/// Extended communities: types and sub-types (RFC 4360 §3, RFC 5668, draft-ietf-idr-link-bandwidth).
pub mod extended_community {
    /// Types.
    pub mod kind {
        registry! { u8;
            TWO_OCTET_AS = 0x00, "two-octet AS";
            IPV4 = 0x01, "IPv4 address";
            FOUR_OCTET_AS = 0x02, "four-octet AS";
            TWO_OCTET_AS_NON_TRANSITIVE = 0x40, "two-octet AS, non-transitive";
        }
    }

    /// Sub-types.
    pub mod subtype {
        registry! { u8;
            ROUTE_TARGET = 0x02, "rt";
            ROUTE_ORIGIN = 0x03, "soo";
            LINK_BANDWIDTH = 0x04, "link-bandwidth";
        }
    }
}

/// NOTIFICATION error codes, and a module of subcodes for each (RFC 4271 §4.5).
pub mod notification {
    registry! { u8;
        MESSAGE_HEADER = 1, "Message Header Error";
        OPEN_MESSAGE = 2, "OPEN Message Error";
        UPDATE_MESSAGE = 3, "UPDATE Message Error";
        HOLD_TIMER_EXPIRED = 4, "Hold Timer Expired";
        FINITE_STATE_MACHINE = 5, "Finite State Machine Error";
        CEASE = 6, "Cease";
        ROUTE_REFRESH_MESSAGE = 7, "ROUTE-REFRESH Message Error";
        SEND_HOLD_TIMER_EXPIRED = 8, "Send Hold Timer Expired";
    }

    /// The subcode of an error that has none.
    pub const UNSPECIFIC: u8 = 0;

    /// The name of `subcode` under `code` in words, `None` when it is not registered.
    #[must_use]
    pub const fn subcode_name(code: u8, subcode: u8) -> Option<&'static str> {
        match code {
            MESSAGE_HEADER => header::name(subcode),
            OPEN_MESSAGE => open::name(subcode),
            UPDATE_MESSAGE => update::name(subcode),
            FINITE_STATE_MACHINE => fsm::name(subcode),
            CEASE => cease::name(subcode),
            ROUTE_REFRESH_MESSAGE => route_refresh::name(subcode),
            _ => None,
        }
    }

    /// Subcodes of Message Header Error (RFC 4271 §6.1).
    pub mod header {
        registry! { u8;
            CONNECTION_NOT_SYNCHRONIZED = 1, "Connection Not Synchronized";
            BAD_MESSAGE_LENGTH = 2, "Bad Message Length";
            BAD_MESSAGE_TYPE = 3, "Bad Message Type";
        }
    }

    /// Subcodes of OPEN Message Error (RFC 4271 §6.2, RFC 5492 §5, RFC 9234 §4.2), with those that IANA has deprecated: some
    /// routers still send them (draft-ietf-idr-bgp-multisession, draft-ietf-idr-dynamic-cap).
    pub mod open {
        registry! { u8;
            UNSUPPORTED_VERSION_NUMBER = 1, "Unsupported Version Number";
            BAD_PEER_AS = 2, "Bad Peer AS";
            BAD_BGP_IDENTIFIER = 3, "Bad BGP Identifier";
            UNSUPPORTED_OPTIONAL_PARAMETER = 4, "Unsupported Optional Parameter";
            AUTHENTICATION_FAILURE = 5, "Authentication Failure";
            UNACCEPTABLE_HOLD_TIME = 6, "Unacceptable Hold Time";
            UNSUPPORTED_CAPABILITY = 7, "Unsupported Capability";
            GROUPING_CONFLICT = 8, "Grouping Conflict";
            GROUPING_REQUIRED = 9, "Grouping Required";
            CAPABILITY_VALUE_MISMATCH = 10, "Capability Value Mismatch";
            ROLE_MISMATCH = 11, "Role Mismatch";
        }
    }

    /// Subcodes of UPDATE Message Error (RFC 4271 §6.3).
    pub mod update {
        registry! { u8;
            MALFORMED_ATTRIBUTE_LIST = 1, "Malformed Attribute List";
            UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE = 2, "Unrecognized Well-known Attribute";
            MISSING_WELL_KNOWN_ATTRIBUTE = 3, "Missing Well-known Attribute";
            ATTRIBUTE_FLAGS_ERROR = 4, "Attribute Flags Error";
            ATTRIBUTE_LENGTH_ERROR = 5, "Attribute Length Error";
            INVALID_ORIGIN_ATTRIBUTE = 6, "Invalid ORIGIN Attribute";
            AS_ROUTING_LOOP = 7, "AS Routing Loop";
            INVALID_NEXT_HOP_ATTRIBUTE = 8, "Invalid NEXT_HOP Attribute";
            OPTIONAL_ATTRIBUTE_ERROR = 9, "Optional Attribute Error";
            INVALID_NETWORK_FIELD = 10, "Invalid Network Field";
            MALFORMED_AS_PATH = 11, "Malformed AS_PATH";
        }
    }

    /// Subcodes of Finite State Machine Error (RFC 6608).
    pub mod fsm {
        registry! { u8;
            UNEXPECTED_MESSAGE_IN_OPEN_SENT = 1, "Receive Unexpected Message in OpenSent State";
            UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM = 2, "Receive Unexpected Message in OpenConfirm State";
            UNEXPECTED_MESSAGE_IN_ESTABLISHED = 3, "Receive Unexpected Message in Established State";
        }
    }

    /// Subcodes of Cease (RFC 4486, RFC 8538, RFC 9384).
    pub mod cease {
        registry! { u8;
            MAXIMUM_PREFIXES = 1, "Maximum Number of Prefixes Reached";
            ADMINISTRATIVE_SHUTDOWN = 2, "Administrative Shutdown";
            PEER_DECONFIGURED = 3, "Peer De-configured";
            ADMINISTRATIVE_RESET = 4, "Administrative Reset";
            CONNECTION_REJECTED = 5, "Connection Rejected";
            OTHER_CONFIGURATION_CHANGE = 6, "Other Configuration Change";
            CONNECTION_COLLISION = 7, "Connection Collision Resolution";
            OUT_OF_RESOURCES = 8, "Out of Resources";
            HARD_RESET = 9, "Hard Reset";
            BFD_DOWN = 10, "BFD Down";
        }
    }

    /// Subcodes of ROUTE-REFRESH Message Error (RFC 7313 §5).
    pub mod route_refresh {
        registry! { u8;
            INVALID_MESSAGE_LENGTH = 1, "Invalid Message Length";
        }
    }
}
