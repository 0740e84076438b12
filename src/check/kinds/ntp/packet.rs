//! Packets of NTP: the question of a client and the answer of a server (RFC 5905 §7.3), and the arithmetic of their times.
//!
//! ```text
//!  0                8               16               24            31
//! ├──┬─────┬───────┼────────────────┼────────────────┼────────────────┤
//! │LI│ VN  │ Mode  │    Stratum     │      Poll      │   Precision    │
//! │                            Root Delay                             │  NTP short: seconds, 16 bits each side of the point
//! │                         Root Dispersion                           │
//! │                          Reference ID                             │  stratum 0: kiss code; 1: clock; else address of the source
//! │                       Reference Timestamp                         │  NTP timestamps: seconds, 32 bits each side
//! │                        Origin Timestamp                           │  of an answer: the transmit timestamp of the question
//! │                        Receive Timestamp                          │
//! │                        Transmit Timestamp                         │
//! └──────────────────────────────────────────────────────────────────┘  extension fields and a MAC may follow
//! ```
//!
//! A question has a random number for its transmit timestamp and zeros for the rest: a server copies the number without a look at
//! it, whoever has not seen the question cannot forge an answer, and no network learns the time of this host
//! (draft-ietf-ntp-data-minimization §4).

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The header, which is all that we look at.
pub(super) const LENGTH: usize = 48;
/// RFC 5905.
const VERSION: u8 = 4;
/// RFC 5905 §7.3, figure 10.
const CLIENT: u8 = 3;
const SERVER: u8 = 4;
/// The clock is not synchronised (RFC 5905 §7.3, figure 9).
const ALARM: u8 = 3;
/// From here to 1970, in seconds (RFC 868).
const UNIX: u64 = 2_208_988_800;

/// A time, or any number in its place: seconds since 1900 in the upper half, modulo 2³², and their fractions in the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timestamp(pub(super) u64);

/// An answer to our question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerPacket {
    /// Its clock is not synchronised.
    pub(super) is_alarmed: bool,
    pub(super) stratum: u8,
    /// The way to the source of its time and back.
    pub(super) root_delay: Duration,
    /// How far its time may be off beside that.
    pub(super) root_dispersion: Duration,
    pub(super) reference: [u8; 4],
    /// When it received the question.
    pub(super) receive: Timestamp,
    /// When it sent the answer.
    pub(super) transmit: Timestamp,
}

/// What the times of a question and its answer say (RFC 5905 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClockDifference {
    /// How far the clock of the server is ahead of ours, in nanoseconds.
    pub(super) offset: i64,
    /// How long the packets were on their way, in nanoseconds.
    pub(super) delay: i64,
}

/// A question with this number.
pub(super) fn question(cookie: Timestamp) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    packet[0] = VERSION << 3 | CLIENT;
    packet[40..].copy_from_slice(&cookie.0.to_be_bytes());
    packet
}

/// The answer to the question with this number.
///
/// # Errors
/// It is none, in words that follow "the last thing that came".
pub(super) fn answer(received: &[u8], cookie: Timestamp) -> Result<ServerPacket, String> {
    let (header, _extensions) = received
        .split_first_chunk::<LENGTH>()
        .ok_or_else(|| format!("is shorter than a packet of NTP ({} of {LENGTH} bytes)", received.len()))?;
    let (leap, version, mode) = (header[0] >> 6, header[0] >> 3 & 7, header[0] & 7);
    if mode != SERVER {
        return Err(format!("has mode {mode}, and the answer of a server has {SERVER}"));
    }
    // RFC 5905 §7.3: a server answers in the version of the question; RFC 4330 §5 is content with any.
    if !(1..=VERSION).contains(&version) {
        return Err(format!("has version {version} of NTP, and the question had {VERSION}"));
    }
    if timestamp(header, 24) != cookie {
        return Err("answers another question".into());
    }
    Ok(ServerPacket {
        is_alarmed: leap == ALARM,
        stratum: header[1],
        root_delay: short(header, 4),
        root_dispersion: short(header, 8),
        reference: word(header, 12),
        receive: timestamp(header, 32),
        transmit: timestamp(header, 40),
    })
}

fn word(header: &[u8; LENGTH], at: usize) -> [u8; 4] {
    [header[at], header[at + 1], header[at + 2], header[at + 3]]
}

fn short(header: &[u8; LENGTH], at: usize) -> Duration {
    let fixed = u64::from(u32::from_be_bytes(word(header, at)));
    Duration::from_nanos((fixed * 1_000_000_000) >> 16)
}

fn timestamp(header: &[u8; LENGTH], at: usize) -> Timestamp {
    let half = |at| u64::from(u32::from_be_bytes(word(header, at)));
    Timestamp(half(at) << 32 | half(at + 4))
}

impl Timestamp {
    /// No time at all: the server does not know.
    pub(super) const ZERO: Self = Self(0);

    /// Reading of a clock; eras are not told apart (RFC 5905 §6).
    pub(super) fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since.as_secs().wrapping_add(UNIX) & u64::from(u32::MAX);
        let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        Self((seconds << 32) | fraction)
    }

    /// Nanoseconds from `earlier` on; right while the two are less than 68 years apart, whatever their eras.
    fn since(self, earlier: Self) -> i64 {
        let fixed = self.0.wrapping_sub(earlier.0).cast_signed();
        let nanoseconds = (i128::from(fixed) * 1_000_000_000) >> 32;
        i64::try_from(nanoseconds).unwrap_or(i64::MAX)
    }
}

/// What an answer says of the two clocks, with our readings when the question went out and when the answer was there.
pub(super) fn measured(sent: Timestamp, answer: &ServerPacket, received: Timestamp) -> ClockDifference {
    let (there, back) = (answer.receive.since(sent), answer.transmit.since(received));
    let on_the_way = received.since(sent).saturating_sub(answer.transmit.since(answer.receive));
    // Halved before they are added: each may be as large as the type.
    ClockDifference { offset: there / 2 + back / 2 + (there % 2 + back % 2) / 2, delay: on_the_way.max(0) }
}

/// Where the time of a server comes from, as far as it says: the name of its clock, or an address.
pub(super) fn source(packet: &ServerPacket) -> Option<String> {
    match packet {
        ServerPacket { reference: [0, 0, 0, 0], .. } => None,
        ServerPacket { stratum: 1, reference, .. } => Some(code(*reference)),
        // Of an IPv6 source these are four bytes of a hash, and nothing tells the two apart (RFC 5905 §7.3).
        ServerPacket { reference, .. } => Some(Ipv4Addr::from(*reference).to_string()),
    }
}

/// Up to four letters of ASCII, which zeros end (RFC 5905 §7.3, figure 12; §7.4, figure 13).
pub(super) fn code(reference: [u8; 4]) -> String {
    let letters = reference.split(|byte| *byte == 0).next().unwrap_or_default();
    match letters.iter().all(u8::is_ascii_graphic) {
        true => String::from_utf8_lossy(letters).into_owned(),
        false => format!("0x{:08x}", u32::from_be_bytes(reference)),
    }
}

#[cfg(test)]
mod tests;
