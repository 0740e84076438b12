//! NOTIFICATION: why a session ends (RFC 4271 §4.5), with the words of RFC 9003.

use std::fmt;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Serialize;

use super::iana::notification as code;
use super::parse;
use super::{Capability, DecodeError, EncodeError};

/// The longest shutdown communication, in octets (RFC 9003 §2: the length field is one octet).
pub const MAX_SHUTDOWN_COMMUNICATION: usize = 255;

/// The last message of a session. Do not trust the `data` of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// The error code, see [`iana::notification`](super::iana::notification).
    pub code: u8,
    /// The subcode; 0 is unspecific.
    pub subcode: u8,
    /// Depends on code and subcode; often the offending octets.
    #[serde(serialize_with = "parse::serialize_hex")]
    pub data: Bytes,
}

impl Notification {
    /// Any NOTIFICATION. Data beyond 4,075 octets does not fit in a message and fails to encode.
    #[must_use]
    pub const fn new(code: u8, subcode: u8, data: Bytes) -> Self {
        Self { code, subcode, data }
    }

    /// A Cease with a text for the operator on the other side (RFC 9003).
    ///
    /// The text is cut at the last character that fits in 255 octets. Only Administrative Shutdown and Administrative
    /// Reset carry a text; with any other subcode, or if it is empty, it is left out.
    #[must_use]
    pub fn cease(subcode: u8, text: &str) -> Self {
        let text = truncate(text, MAX_SHUTDOWN_COMMUNICATION);
        let mut data = BytesMut::new();
        if let (true, Ok(length @ 1..)) = (carries_text(subcode), u8::try_from(text.len())) {
            data.put_u8(length);
            data.put_slice(text.as_bytes());
        }
        Self::new(code::CEASE, subcode, data.freeze())
    }

    /// Our hold timer ran out (RFC 4271 §6.5).
    #[must_use]
    pub const fn hold_timer_expired() -> Self {
        Self::new(code::HOLD_TIMER_EXPIRED, code::UNSPECIFIC, Bytes::new())
    }

    /// The peer read nothing from us for the send hold time (RFC 9687).
    #[must_use]
    pub const fn send_hold_timer_expired() -> Self {
        Self::new(code::SEND_HOLD_TIMER_EXPIRED, code::UNSPECIFIC, Bytes::new())
    }

    /// A message in a state that does not allow it; `subcode` from
    /// [`iana::notification::fsm`](super::iana::notification::fsm) (RFC 6608).
    #[must_use]
    pub const fn unexpected_message(subcode: u8) -> Self {
        Self::new(code::FINITE_STATE_MACHINE, subcode, Bytes::new())
    }

    /// The peer lacks `required` capabilities; they are listed in the data (RFC 5492 §5).
    ///
    /// # Errors
    /// A capability has no encoding.
    pub fn unsupported_capability(required: &[Capability]) -> Result<Self, EncodeError> {
        let mut data = BytesMut::new();
        for capability in required {
            capability.encode(&mut data)?;
        }
        Ok(Self::new(code::OPEN_MESSAGE, code::open::UNSUPPORTED_CAPABILITY, data.freeze()))
    }

    /// The readable capabilities that an Unsupported Capability names (RFC 5492 §5); empty for any other NOTIFICATION.
    #[must_use]
    pub fn capabilities(&self) -> Vec<Capability> {
        let mut named = Vec::new();
        if (self.code, self.subcode) == (code::OPEN_MESSAGE, code::open::UNSUPPORTED_CAPABILITY) {
            // The capabilities before the unreadable part are still named.
            let _rest = Capability::decode_all(&self.data, &mut named);
        }
        named
    }

    /// `self` inside a Cease / Hard Reset, after which the peer drops our routes in spite of graceful restart (RFC 8538
    /// §3.1).
    #[must_use]
    pub fn into_hard_reset(self) -> Self {
        let mut data = BytesMut::with_capacity(self.data.len() + 2);
        data.put_u8(self.code);
        data.put_u8(self.subcode);
        data.put_slice(&self.data);
        Self::new(code::CEASE, code::cease::HARD_RESET, data.freeze())
    }

    /// The NOTIFICATION inside a Cease / Hard Reset; `None` if there is none.
    #[must_use]
    pub fn inside_hard_reset(&self) -> Option<Self> {
        if (self.code, self.subcode) != (code::CEASE, code::cease::HARD_RESET) {
            return None;
        }
        let (rest, code) = parse::octet(&self.data).ok()?;
        let (rest, subcode) = parse::octet(rest).ok()?;
        Some(Self::new(code, subcode, self.data.slice_ref(rest)))
    }

    /// The text of an Administrative Shutdown or Administrative Reset, safe to show.
    ///
    /// Never longer than the received octets, even if the length octet claims more. Octets that are not UTF-8 become
    /// U+FFFD; control characters and bidirectional formatting characters are escaped. A text inside one Hard Reset is
    /// found.
    #[must_use]
    pub fn shutdown_communication(&self) -> Option<String> {
        let inner = self.inside_hard_reset();
        let notification = inner.as_ref().unwrap_or(self);
        if notification.code != code::CEASE || !carries_text(notification.subcode) {
            return None;
        }
        let (text, length) = parse::octet(&notification.data).ok()?;
        let text = text.get(..usize::from(length)).unwrap_or(text);
        if text.is_empty() { None } else { Some(escape(text)) }
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let short = |_| DecodeError::BadMessageLength { length: super::frame::message_length(body) };
        let (rest, code) = parse::octet(body).map_err(short)?;
        let (data, subcode) = parse::octet(rest).map_err(short)?;
        Ok(Self::new(code, subcode, Bytes::copy_from_slice(data)))
    }

    pub(super) fn encode(&self, buffer: &mut BytesMut) {
        buffer.put_u8(self.code);
        buffer.put_u8(self.subcode);
        buffer.put_slice(&self.data);
    }
}

/// In words: `Cease / Administrative Shutdown: "maintenance"`.
impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match code::name(self.code) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "Error {}", self.code)?,
        }
        match code::subcode_name(self.code, self.subcode) {
            Some(name) => write!(f, " / {name}")?,
            None if self.subcode == code::UNSPECIFIC => {}
            None => write!(f, " / subcode {}", self.subcode)?,
        }
        if let Some(inner) = self.inside_hard_reset() {
            // One level only: a Hard Reset inside another one is shown by name, not by content.
            write!(f, " ({})", Self::new(inner.code, inner.subcode, Bytes::new()))?;
        }
        match self.shutdown_communication() {
            Some(text) => write!(f, ": \"{text}\""),
            None => Ok(()),
        }
    }
}

/// Whether a Cease of this subcode has a shutdown communication as its data (RFC 9003 §2).
const fn carries_text(subcode: u8) -> bool {
    matches!(subcode, code::cease::ADMINISTRATIVE_SHUTDOWN | code::cease::ADMINISTRATIVE_RESET)
}

/// The longest beginning of `text` of at most `max` octets that ends at a character boundary.
fn truncate(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// Untrusted text, made safe for a terminal and a log line.
fn escape(text: &[u8]) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in String::from_utf8_lossy(text).chars() {
        let turns_direction = matches!(character,
            '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns_direction {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests;
