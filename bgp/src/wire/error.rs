//! The errors of a message, each with its NOTIFICATION.

use std::fmt;

use bytes::Bytes;
use thiserror::Error;

use super::iana::{self, notification as code};
use super::parse::Hex;
use super::{Family, Notification};

/// Why received octets are not a BGP message.
///
/// As the result of a decode it ends the session: send [`DecodeError::notification`] and close. Inside a
/// [`MalformedAttribute`](super::MalformedAttribute) the session goes on, and the error is only the reason for the
/// handling (RFC 7606).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The 16 octets of the marker are not all ones.
    #[error("the marker of the message header is not all ones")]
    NotSynchronized,
    /// The Length field is out of range for the message, or not the length of the message.
    #[error("a message of {length} octets is too short, too long or not of the length its type requires")]
    BadMessageLength {
        /// The Length field as received.
        length: u16,
    },
    /// The Type field names no message known here.
    #[error("message type {0} is unknown")]
    BadMessageType(u8),

    /// OPEN: another version than 4.
    #[error("BGP version {0} is not supported")]
    UnsupportedVersion(u8),
    /// OPEN: the AS number is 0 (RFC 7607).
    #[error("AS number 0 is not allowed")]
    BadPeerAs,
    /// OPEN: the BGP identifier is 0.0.0.0.
    #[error("the BGP identifier is 0.0.0.0")]
    BadRouterId,
    /// OPEN: an optional parameter other than capabilities.
    #[error("optional parameter {0} of OPEN is not supported")]
    UnsupportedOptionalParameter(u8),
    /// OPEN: a hold time of 1 or 2 seconds.
    #[error("a hold time of {0} s is neither 0 nor at least 3 s")]
    UnacceptableHoldTime(u16),
    /// OPEN: optional parameters or capabilities whose lengths do not add up.
    #[error("malformed OPEN: {0}")]
    MalformedOpen(&'static str),

    /// UPDATE: lengths that do not add up.
    #[error("malformed attribute list: {0}")]
    MalformedAttributeList(&'static str),
    /// UPDATE: the same attribute twice.
    #[error("attribute {} appears more than once", attribute_name(*.0))]
    DuplicateAttribute(u8),
    /// UPDATE: an attribute that this kind of peer must not send.
    #[error("attribute {} is not expected from this peer", attribute_name(*.0))]
    UnexpectedAttribute(u8),
    /// UPDATE: an attribute marked well-known that is not known.
    #[error("unrecognized well-known attribute {}", Excerpt(.0))]
    UnrecognizedWellKnownAttribute(Bytes),
    /// UPDATE: routes without an attribute that they must have.
    #[error("attribute {} is missing", attribute_name(*.0))]
    MissingWellKnownAttribute(u8),
    /// UPDATE: the optional or transitive flag contradicts the attribute's type.
    #[error("wrong flags on attribute {}", Excerpt(.0))]
    AttributeFlags(Bytes),
    /// UPDATE: the attribute's length is impossible for its type.
    #[error("wrong length of attribute {}", Excerpt(.0))]
    AttributeLength(Bytes),
    /// UPDATE: an ORIGIN other than IGP, EGP and INCOMPLETE.
    #[error("invalid ORIGIN {}", Excerpt(.0))]
    InvalidOrigin(Bytes),
    /// UPDATE: an optional attribute with an invalid value.
    #[error("malformed optional attribute {}", Excerpt(.0))]
    OptionalAttribute(Bytes),
    /// UPDATE: prefixes that cannot be read.
    #[error("withdrawn routes or NLRI cannot be read")]
    InvalidNetworkField,
    /// UPDATE: segments of a confederation from a peer outside of ours (RFC 5065 §5).
    #[error("AS_PATH has segments of a confederation that we are not in")]
    ForeignConfederation,
    /// UPDATE: AS_PATH segments that cannot be read, or AS number 0 among them.
    #[error("malformed AS_PATH")]
    MalformedAsPath,

    /// ROUTE-REFRESH: begin or end of refresh with superfluous octets (RFC 7313 §5).
    #[error("ROUTE-REFRESH of a wrong length")]
    RouteRefreshLength(Bytes),
}

impl DecodeError {
    /// The NOTIFICATION for this error, with the data that RFC 4271 §6 asks for: the offending field,
    /// or the whole attribute with its flags, type and length.
    #[must_use]
    pub fn notification(&self) -> Notification {
        use code::{header, open, route_refresh, update};

        let empty = Bytes::new();
        let (code, subcode, data) = match self {
            Self::NotSynchronized => (code::MESSAGE_HEADER, header::CONNECTION_NOT_SYNCHRONIZED, empty),
            Self::BadMessageLength { length } => {
                (code::MESSAGE_HEADER, header::BAD_MESSAGE_LENGTH, copy(&length.to_be_bytes()))
            }
            Self::BadMessageType(kind) => (code::MESSAGE_HEADER, header::BAD_MESSAGE_TYPE, copy(&[*kind])),

            Self::UnsupportedVersion(_) => {
                let supported = u16::from(iana::BGP_VERSION);
                (code::OPEN_MESSAGE, open::UNSUPPORTED_VERSION_NUMBER, copy(&supported.to_be_bytes()))
            }
            Self::BadPeerAs => (code::OPEN_MESSAGE, open::BAD_PEER_AS, empty),
            Self::BadRouterId => (code::OPEN_MESSAGE, open::BAD_BGP_IDENTIFIER, empty),
            Self::UnsupportedOptionalParameter(_) => {
                (code::OPEN_MESSAGE, open::UNSUPPORTED_OPTIONAL_PARAMETER, empty)
            }
            Self::UnacceptableHoldTime(_) => (code::OPEN_MESSAGE, open::UNACCEPTABLE_HOLD_TIME, empty),
            Self::MalformedOpen(_) => (code::OPEN_MESSAGE, code::UNSPECIFIC, empty),

            Self::MalformedAttributeList(_) | Self::DuplicateAttribute(_) | Self::UnexpectedAttribute(_) => {
                (code::UPDATE_MESSAGE, update::MALFORMED_ATTRIBUTE_LIST, empty)
            }
            Self::UnrecognizedWellKnownAttribute(attribute) => {
                (code::UPDATE_MESSAGE, update::UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE, attribute.clone())
            }
            Self::MissingWellKnownAttribute(kind) => {
                (code::UPDATE_MESSAGE, update::MISSING_WELL_KNOWN_ATTRIBUTE, copy(&[*kind]))
            }
            Self::AttributeFlags(attribute) => {
                (code::UPDATE_MESSAGE, update::ATTRIBUTE_FLAGS_ERROR, attribute.clone())
            }
            Self::AttributeLength(attribute) => {
                (code::UPDATE_MESSAGE, update::ATTRIBUTE_LENGTH_ERROR, attribute.clone())
            }
            Self::InvalidOrigin(attribute) => {
                (code::UPDATE_MESSAGE, update::INVALID_ORIGIN_ATTRIBUTE, attribute.clone())
            }
            Self::OptionalAttribute(attribute) => {
                (code::UPDATE_MESSAGE, update::OPTIONAL_ATTRIBUTE_ERROR, attribute.clone())
            }
            Self::InvalidNetworkField => (code::UPDATE_MESSAGE, update::INVALID_NETWORK_FIELD, empty),
            Self::MalformedAsPath | Self::ForeignConfederation => {
                (code::UPDATE_MESSAGE, update::MALFORMED_AS_PATH, empty)
            }

            Self::RouteRefreshLength(message) => {
                (code::ROUTE_REFRESH_MESSAGE, route_refresh::INVALID_MESSAGE_LENGTH, message.clone())
            }
        };
        Notification::new(code, subcode, data)
    }
}

/// Why a message has no encoding.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// More than 4,096 octets (RFC 4271 §4.1).
    #[error("a message of {0} octets is longer than the {max} that BGP allows", max = super::MAX_MESSAGE_LEN)]
    MessageTooLong(usize),
    /// The capabilities of an OPEN take more than the 253 octets of one optional parameter.
    #[error("capabilities of {0} octets do not fit in an OPEN")]
    CapabilitiesTooLong(usize),
    /// One capability takes more than 255 octets.
    #[error("the value of capability {code} takes {length} octets, more than 255")]
    CapabilityTooLong {
        /// The capability code.
        code: u8,
        /// The length of its value, in octets.
        length: usize,
    },
    /// A restart time above 4,095 s, which is what its 12 bits hold (RFC 4724 §3).
    #[error("a restart time of {0} s is above 4095 s")]
    RestartTime(u16),
    /// A next hop of more than 255 octets.
    #[error("a next hop of {0} octets is longer than 255")]
    NextHopTooLong(usize),
    /// Prefixes that do not belong to their family, or a next hop that the family cannot have.
    #[error("the prefixes or the next hop do not belong to {0}")]
    FamilyMismatch(Family),
}

fn copy(octets: &[u8]) -> Bytes {
    Bytes::copy_from_slice(octets)
}

/// An attribute by name, with its first octets, cut to the length of a log line.
struct Excerpt<'a>(&'a [u8]);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 32;
        let code = self.0.get(1).copied().unwrap_or_default();
        match self.0.get(..SHOWN) {
            Some(shown) if shown.len() < self.0.len() => {
                write!(f, "{}: {}… of {} octets", attribute_name(code), Hex(shown), self.0.len())
            }
            Some(_) | None => write!(f, "{}: {}", attribute_name(code), Hex(self.0)),
        }
    }
}

/// An attribute's name with its number, or the number alone.
fn attribute_name(code: u8) -> String {
    match iana::attribute::name(code) {
        Some(name) => format!("{name} ({code})"),
        None => code.to_string(),
    }
}
