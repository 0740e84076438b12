//! The wire codec: BGP messages to bytes and back, nothing else.
//!
//! ```text
//!            next_frame              Message::decode
//!  stream ─────────────► one frame ──────────────────► Message ──► the session
//!  stream ◄──────────────────────────────────────────  Message ◄── the session
//!                          Message::encode
//! ```
//!
//! Everything here is a pure function of its arguments. Any input decodes or is refused with a
//! [`DecodeError`] that knows its NOTIFICATION; no input causes a panic or allocates more than a small multiple of its
//! length. Errors inside an UPDATE that leave the session usable are contained as in RFC 7606 (see [`Update::action`]).
//!
//! | to change | look at |
//! | --- | --- |
//! | a number that IANA assigned | [`iana`] |
//! | message boundaries, header checks | [`next_frame`] |
//! | OPEN, capabilities, roles | [`Open`], [`Capability`], [`Role`] |
//! | UPDATE, the handling of a malformed one | [`Update`], [`Attribute`], [`ErrorAction`] |
//! | addresses that can be a next hop | [`is_host`] |
//! | the NOTIFICATION for an error | [`DecodeError::notification`] |
//! | the text of a NOTIFICATION | [`Notification`] |

mod as_path;
mod attribute;
mod capability;
mod community;
mod error;
mod family;
mod frame;
mod host;
pub mod iana;
mod message;
mod notification;
mod open;
mod parse;
mod prefix;
mod role;
mod route_refresh;
mod update;

pub use as_path::{AsPath, AsSegment};
pub use attribute::{
    Attribute, AttributeFlags, ErrorAction, MalformedAttribute, MpNextHop, MpNlri, MpReach, MpUnreach, Origin,
};
pub use capability::{Capability, ExtendedNextHop, GracefulRestartFamily, MAX_RESTART_TIME};
pub use community::{Community, ExtendedCommunity, LargeCommunity, ParseCommunityError};
pub use error::{DecodeError, EncodeError};
pub use family::{Afi, Asn, Family, RouterId, Safi};
pub use frame::{HEADER_LEN, MAX_MESSAGE_LEN, next_frame};
pub use host::is_host;
pub use message::{AsWidth, Message, Peering, SessionContext};
pub use notification::{MAX_SHUTDOWN_COMMUNICATION, Notification};
pub use open::{MIN_HOLD_TIME, Open};
pub use prefix::encoded_prefix_len;
pub use role::{ParseRoleError, Role};
pub use route_refresh::{RefreshKind, RouteRefresh};
pub use update::Update;

#[cfg(test)]
mod tests;
