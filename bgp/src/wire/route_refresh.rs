//! ROUTE-REFRESH: asks the peer to send its routes again (RFC 2918, RFC 7313).

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Serialize;

use super::iana::route_refresh as subtype;
use super::parse::{self, Parsed};
use super::{Afi, DecodeError, Family, Safi, frame};

/// A request for all routes of one family, or a marker around the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteRefresh {
    /// The family of the routes.
    pub family: Family,
    /// A request, or the begin or end of the answer.
    pub subtype: RefreshKind,
    /// Outbound route filters behind the fixed part, opaque (RFC 5291). Empty for begin and end.
    #[serde(serialize_with = "parse::serialize_hex")]
    pub trailing: Bytes,
}

/// The message subtype (RFC 7313 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefreshKind {
    /// A request to send all routes again.
    Normal,
    /// Begin of the answer (BoRR).
    Begin,
    /// End of the answer (EoRR).
    End,
    /// Reserved; the receiver ignores it (RFC 7313 §5).
    Other(u8),
}

impl RouteRefresh {
    /// A message of `subtype` without filters.
    #[must_use]
    pub const fn new(family: Family, subtype: RefreshKind) -> Self {
        Self { family, subtype, trailing: Bytes::new() }
    }

    /// `frame` is the whole message, which the NOTIFICATION of a bad length repeats.
    pub(super) fn decode(frame: &[u8], body: &[u8]) -> Result<Self, DecodeError> {
        let (trailing, (family, subtype)) = fields(body)
            .map_err(|_| DecodeError::BadMessageLength { length: frame::message_length(body) })?;
        let subtype = RefreshKind::from(subtype);
        match subtype {
            RefreshKind::Begin | RefreshKind::End if !trailing.is_empty() => {
                // RFC 7313 §5 wants the complete message back. The longest ones do not fit into a NOTIFICATION.
                let fits = frame.get(..MAX_NOTIFICATION_DATA).unwrap_or(frame);
                Err(DecodeError::RouteRefreshLength(Bytes::copy_from_slice(fits)))
            }
            RefreshKind::Normal | RefreshKind::Begin | RefreshKind::End | RefreshKind::Other(_) => {
                Ok(Self { family, subtype, trailing: Bytes::copy_from_slice(trailing) })
            }
        }
    }

    pub(super) fn encode(&self, buffer: &mut BytesMut) {
        buffer.put_u16(self.family.afi.0);
        buffer.put_u8(self.subtype.code());
        buffer.put_u8(self.family.safi.0);
        buffer.put_slice(&self.trailing);
    }
}

impl RefreshKind {
    const fn code(self) -> u8 {
        match self {
            Self::Normal => subtype::NORMAL,
            Self::Begin => subtype::BEGIN,
            Self::End => subtype::END,
            Self::Other(code) => code,
        }
    }
}

impl From<u8> for RefreshKind {
    fn from(code: u8) -> Self {
        match code {
            subtype::NORMAL => Self::Normal,
            subtype::BEGIN => Self::Begin,
            subtype::END => Self::End,
            _ => Self::Other(code),
        }
    }
}

/// The room in a NOTIFICATION behind header, code and subcode, in octets.
const MAX_NOTIFICATION_DATA: usize = frame::MAX_MESSAGE_LEN - frame::HEADER_LEN - 2;

fn fields(input: &[u8]) -> Parsed<'_, (Family, u8)> {
    let (rest, afi) = parse::short(input)?;
    let (rest, subtype) = parse::octet(rest)?;
    let (rest, safi) = parse::octet(rest)?;
    Ok((rest, (Family::new(Afi(afi), Safi(safi)), subtype)))
}
