//! The reasons to drop a packet, each with a name and a counter.

vipcast_machine::reasons! {
    /// The reason why a packet is dropped (RFC 5880 §6.8.6, RFC 5881 §5, RFC 5883 §4).
    pub enum Discard {
        /// The packet has fewer than 24 octets.
        Truncated = "shorter than a control packet",
        /// The version is not 1.
        Version = "not BFD version 1",
        /// The length field is below 24, or below 26 with authentication.
        LengthTooShort = "its length field is too small",
        /// The length field is larger than the datagram.
        LengthBeyondPayload = "its length field is larger than the datagram",
        /// Detect Mult is 0.
        ZeroMultiplier = "its detection multiplier is 0",
        /// M is set.
        Multipoint = "the multipoint bit is set",
        /// My Discriminator is 0.
        ZeroMyDiscriminator = "its own discriminator is 0",
        /// Your Discriminator is 0 in Init or Up.
        ZeroYourDiscriminator = "it knows no discriminator of ours and is not Down",
        /// A is set; no session here has authentication.
        Authentication = "it is authenticated, and we use no authentication",
        /// The TTL or hop limit is not 255, or below the session's minimum with multihop.
        Ttl = "its TTL is too low: it was sent from further away, or by a sender that does not set TTL 255",
        /// Your Discriminator is not zero and names no session.
        UnknownDiscriminator = "it is for a session that we do not have",
        /// Your Discriminator is zero, and no session has that address.
        NoSession = "no session has its source address",
        /// Your Discriminator names a session with another address.
        WrongSource = "it is for a session with another address",
        /// Your Discriminator names a session on another interface, or towards another address of ours.
        WrongPath = "it arrived on another path than that of its session",
        /// The packet came to the port of single-hop sessions and names a multihop one, or the other way around.
        WrongPort = "it came to the port of the other kind of session",
    }
    /// The number of dropped packets for each reason.
    pub type Discards;
}
