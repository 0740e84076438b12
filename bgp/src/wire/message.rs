//! A message of any type, and the session's parameters that its encoding depends on.

use bytes::Bytes;
use serde::Serialize;

use super::frame::{self, Header};
use super::iana::message_type;
use super::{DecodeError, EncodeError, Notification, Open, RouteRefresh, Update};

/// The number of octets of an AS number in AS_PATH and AGGREGATOR (RFC 6793 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AsWidth {
    /// The peer did not send the four-octet AS capability.
    Two,
    /// Both sides sent it.
    Four,
}

/// Whether the peer is in our AS. Some attributes are ignored from an eBGP peer (RFC 7606 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peering {
    /// iBGP: the same AS.
    Internal,
    /// eBGP: another AS.
    External,
}

/// The negotiated parameters that the encoding of UPDATEs depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct SessionContext {
    /// The width of AS numbers in UPDATE.
    pub as_width: AsWidth,
    /// iBGP or eBGP.
    pub peering: Peering,
}

impl SessionContext {
    /// A context with these parameters.
    #[must_use]
    pub const fn new(as_width: AsWidth, peering: Peering) -> Self {
        Self { as_width, peering }
    }

    /// eBGP with four-octet AS numbers.
    #[must_use]
    pub const fn external() -> Self {
        Self::new(AsWidth::Four, Peering::External)
    }

    /// iBGP with four-octet AS numbers.
    #[must_use]
    pub const fn internal() -> Self {
        Self::new(AsWidth::Four, Peering::Internal)
    }
}

/// Valid until the OPENs are exchanged: no message before the first UPDATE depends on it.
impl Default for SessionContext {
    fn default() -> Self {
        Self::external()
    }
}

/// One BGP message (RFC 4271 §4, RFC 2918).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// Starts a session.
    Open(Open),
    /// Announces and withdraws routes.
    Update(Update),
    /// Ends a session.
    Notification(Notification),
    /// Confirms an OPEN and keeps the session alive.
    Keepalive,
    /// Asks for all routes of a family again.
    RouteRefresh(RouteRefresh),
}

impl Message {
    /// Decodes `frame`, which is one whole message with its header, as [`next_frame`](super::next_frame)
    /// yields it.
    ///
    /// # Errors
    /// An error that ends the session by RFC 4271 §6 or RFC 7606; it knows the NOTIFICATION to send. After a bad
    /// NOTIFICATION close without sending one (RFC 4271 §6.4).
    pub fn decode(frame: &[u8], ctx: &SessionContext) -> Result<Self, DecodeError> {
        let (body, Header { length, kind }) = Header::decode(frame)?;
        if usize::from(length) != frame.len() {
            return Err(DecodeError::BadMessageLength { length });
        }
        match kind {
            message_type::OPEN => Open::decode(body).map(Self::Open),
            message_type::UPDATE => Update::decode(body, *ctx).map(Self::Update),
            message_type::NOTIFICATION => Notification::decode(body).map(Self::Notification),
            message_type::KEEPALIVE => Ok(Self::Keepalive),
            message_type::ROUTE_REFRESH => RouteRefresh::decode(frame, body).map(Self::RouteRefresh),
            _ => Err(DecodeError::BadMessageType(kind)),
        }
    }

    /// Encodes the message with its header, at most 4,096 octets.
    ///
    /// # Errors
    /// The value has no encoding, see [`EncodeError`].
    pub fn encode(&self, ctx: &SessionContext) -> Result<Bytes, EncodeError> {
        let mut buffer = frame::start(self.message_type());
        match self {
            Self::Open(open) => open.encode(&mut buffer)?,
            Self::Update(update) => update.encode(*ctx, &mut buffer)?,
            Self::Notification(notification) => notification.encode(&mut buffer),
            Self::Keepalive => {}
            Self::RouteRefresh(refresh) => refresh.encode(&mut buffer),
        }
        frame::finish(buffer)
    }

    /// The message type as on the wire, see [`iana::message_type`](super::iana::message_type).
    #[must_use]
    pub const fn message_type(&self) -> u8 {
        match self {
            Self::Open(_) => message_type::OPEN,
            Self::Update(_) => message_type::UPDATE,
            Self::Notification(_) => message_type::NOTIFICATION,
            Self::Keepalive => message_type::KEEPALIVE,
            Self::RouteRefresh(_) => message_type::ROUTE_REFRESH,
        }
    }
}
