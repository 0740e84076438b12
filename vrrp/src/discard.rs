//! The reasons to drop a packet, each with a name and a counter.

vipcast_machine::reasons! {
    /// The reason why a packet is dropped (RFC 9568 §7.1, RFC 3768 §7.1).
    pub enum Discard {
        /// The TTL or hop limit is below the least that the receiver accepts, 255 on its own link.
        Ttl = "its TTL is too low: it was sent from further away, or by a sender that does not set TTL 255",
        /// The packet has fewer than 8 octets.
        Truncated = "shorter than the header of an advertisement",
        /// The version is neither 2 nor 3.
        UnknownVersion = "neither VRRP version 2 nor 3",
        /// Version 2 over IPv6.
        VersionOverIpv6 = "version 2 over IPv6, where only version 3 exists",
        /// The type is not 1.
        Type = "its type is not ADVERTISEMENT",
        /// The packet ends before its addresses, or before the authentication data of version 2.
        Incomplete = "it ends before its last field",
        /// The packet goes on behind its last field.
        TrailingOctets = "it goes on behind its last field (keepalived's auth_hmac adds such a trailer)",
        /// The checksum is wrong, with and without a pseudo-header.
        Checksum = "its checksum is wrong",
        /// The VRID is 0.
        ZeroVrid = "its VRID is 0",
        /// The number of addresses is 0.
        NoAddresses = "it names no address",
        /// The interval is 0.
        ZeroInterval = "its advertisement interval is 0",
        /// The authentication type is neither 0 nor 1.
        AuthenticationType = "its authentication type is neither none nor a password",
        /// Another virtual router than this.
        OtherVrid = "it is for a VRID that we do not have",
        /// Another version than this instance has.
        OtherVersion = "it has the other version of VRRP",
        /// Another address family than this instance has.
        OtherFamily = "it is of the other address family",
        /// The source is our own address.
        OwnSource = "it comes from our own address: looped back, or another router has our address",
        /// The instance has unicast peers, and the source is none of them.
        NotAPeer = "its source is not one of the peers",
        /// Version 2: another password, or one where the other side has none.
        Authentication = "its password is not ours",
        /// Version 2: the interval is not ours (RFC 3768 §7.1).
        OtherInterval = "its advertisement interval is not ours, and version 2 cannot learn it",
        /// Both own the addresses (RFC 9568 §7.1).
        SecondOwner = "another router has priority 255, as we do",
    }
    /// The number of dropped packets for each reason.
    pub type Discards;
}
