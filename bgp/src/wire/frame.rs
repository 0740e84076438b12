//! Message framing: the header, and the boundaries between messages (RFC 4271 §4.1).
//!
//! ```text
//!  0                   16      18     19
//! +--------------------+-------+------+---------------- - -
//! | marker, 16 x 0xFF  | length| type | body
//! +--------------------+-------+------+---------------- - -
//!                        19..=4096, header included
//! ```

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::iana::message_type;
use super::parse::{self, Parsed};
use super::{DecodeError, EncodeError};

/// Marker, length and type, in octets.
pub const HEADER_LEN: usize = 19;

/// The longest message, header included, in octets (extended messages, RFC 8654, are not spoken).
pub const MAX_MESSAGE_LEN: usize = 4096;

const MARKER_LEN: usize = 16;

/// Takes the next whole message, header included, off the front of `buffer`; `None` while it is incomplete.
///
/// The header is checked as soon as it is complete, so a bad one is refused before its body arrives. The buffer grows
/// for at most one message.
///
/// # Errors
/// A marker that is not all ones, a length outside 19..=4096 or impossible for the type, an unknown type
/// (RFC 4271 §6.1). The buffer is unchanged; the stream cannot be read any further.
pub fn next_frame(buffer: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
    if buffer.remaining() < HEADER_LEN {
        return Ok(None);
    }
    let (_, header) = Header::decode(buffer)?;
    let length = usize::from(header.length);
    match length.checked_sub(buffer.remaining()) {
        None | Some(0) => Ok(Some(buffer.split_to(length).freeze())),
        Some(missing) => {
            buffer.reserve(missing);
            Ok(None)
        }
    }
}

/// A header that passed every check of RFC 4271 §6.1.
pub(super) struct Header {
    pub(super) length: u16,
    pub(super) kind: u8,
}

impl Header {
    /// The header at the front of `input`, and what follows it.
    pub(super) fn decode(input: &[u8]) -> Result<(&[u8], Self), DecodeError> {
        let (body, (marker, length, kind)) =
            fields(input).map_err(|_| DecodeError::BadMessageLength { length: clamp(input.len()) })?;
        if marker.iter().any(|&octet| octet != u8::MAX) {
            return Err(DecodeError::NotSynchronized);
        }
        if !(HEADER_LEN..=MAX_MESSAGE_LEN).contains(&usize::from(length)) {
            return Err(DecodeError::BadMessageLength { length });
        }
        let fits = match kind {
            message_type::OPEN => length >= 29,
            message_type::UPDATE | message_type::ROUTE_REFRESH => length >= 23,
            message_type::NOTIFICATION => length >= 21,
            message_type::KEEPALIVE => usize::from(length) == HEADER_LEN,
            _ => return Err(DecodeError::BadMessageType(kind)),
        };
        if !fits {
            return Err(DecodeError::BadMessageLength { length });
        }
        Ok((body, Self { length, kind }))
    }
}

/// Starts a message; [`finish`] fills in its length.
pub(super) fn start(kind: u8) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(128);
    buffer.put_bytes(u8::MAX, MARKER_LEN);
    buffer.put_u16(0);
    buffer.put_u8(kind);
    buffer
}

/// Writes the length into the header of a message that is otherwise complete.
pub(super) fn finish(mut buffer: BytesMut) -> Result<Bytes, EncodeError> {
    let total = buffer.len();
    match (u16::try_from(total), buffer.get_mut(MARKER_LEN..MARKER_LEN + 2)) {
        (Ok(length), Some(field)) if total <= MAX_MESSAGE_LEN => {
            field.copy_from_slice(&length.to_be_bytes());
            Ok(buffer.freeze())
        }
        _ => Err(EncodeError::MessageTooLong(total)),
    }
}

/// The Length field of the message around `body`.
pub(super) fn message_length(body: &[u8]) -> u16 {
    clamp(body.len().saturating_add(HEADER_LEN))
}

fn fields(input: &[u8]) -> Parsed<'_, (&[u8], u16, u8)> {
    let (rest, marker) = parse::take(MARKER_LEN, input)?;
    let (rest, length) = parse::short(rest)?;
    let (rest, kind) = parse::octet(rest)?;
    Ok((rest, (marker, length, kind)))
}

fn clamp(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
