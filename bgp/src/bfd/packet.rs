//! A control packet to octets and back (RFC 5880 §4.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
//! | Ver | Diag    |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
//! +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
//! |                       My Discriminator                        |
//! |                      Your Discriminator                       |
//! |                 Desired Min TX Interval, µs                   |
//! |                Required Min RX Interval, µs                   |
//! |              Required Min Echo RX Interval, µs                |
//! +---------------------------------------------------------------+
//! ```

use std::fmt;
use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::discard::Discard;
use super::iana::{VERSION, diagnostic, flag, state};

/// The length of a control packet without authentication, in octets.
pub const PACKET_LEN: usize = 24;

/// The shortest control packet with authentication (RFC 5880 §6.8.6).
const AUTHENTICATED_LEN: u8 = 26;

/// A control packet that satisfies all rules of RFC 5880 §6.8.6 that do not depend on a session. It has no
/// authentication, and does not belong to a multipoint session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// The reason why the sender last left Up.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// P: the sender asks for an answer with F at once.
    pub poll: bool,
    /// F: the answer to P. A sender never sets both.
    pub final_: bool,
    /// C: the sender's BFD does not die with its control plane.
    pub control_plane_independent: bool,
    /// D: once both sides are Up, the sender wants no more periodic packets.
    pub demand: bool,
    /// The number of the sender's packets in a row whose loss brings the session down.
    pub multiplier: NonZeroU8,
    /// The sender's discriminator of the session.
    pub my_discriminator: NonZeroU32,
    /// The receiver's discriminator, if the sender knows it.
    pub your_discriminator: Option<NonZeroU32>,
    /// The least interval at which the sender wants to send; `None` is 0, which is reserved.
    pub desired_min_tx: Option<Interval>,
    /// The least interval at which the sender can receive; `None` is 0: the sender wants no periodic packets.
    pub required_min_rx: Option<Interval>,
    /// The same for echo packets; `None`: the sender does not echo.
    pub required_min_echo_rx: Option<Interval>,
}

impl Packet {
    /// Decodes a UDP payload. Octets behind the packet's own length are ignored.
    ///
    /// # Errors
    /// The first rule of RFC 5880 §6.8.6 that the payload breaks, in the order of that section.
    pub fn decode(payload: &[u8]) -> Result<Self, Discard> {
        let octets: &[u8; PACKET_LEN] = payload.first_chunk().ok_or(Discard::Truncated)?;
        let [first, second, multiplier, length, ..] = *octets;
        if first >> 5 != VERSION {
            return Err(Discard::Version);
        }
        let authenticated = second & flag::AUTHENTICATION != 0;
        let least = if authenticated { AUTHENTICATED_LEN } else { PACKET_LEN as u8 };
        if length < least {
            return Err(Discard::LengthTooShort);
        }
        if usize::from(length) > payload.len() {
            return Err(Discard::LengthBeyondPayload);
        }
        let multiplier = NonZeroU8::new(multiplier).ok_or(Discard::ZeroMultiplier)?;
        if second & flag::MULTIPOINT != 0 {
            return Err(Discard::Multipoint);
        }
        let my_discriminator = NonZeroU32::new(word(octets, 1)).ok_or(Discard::ZeroMyDiscriminator)?;
        let your_discriminator = NonZeroU32::new(word(octets, 2));
        let state = State::from_bits(second >> 6);
        if your_discriminator.is_none() && matches!(state, State::Init | State::Up) {
            return Err(Discard::ZeroYourDiscriminator);
        }
        if authenticated {
            return Err(Discard::Authentication);
        }
        Ok(Self {
            diagnostic: Diagnostic::from_bits(first),
            state,
            poll: second & flag::POLL != 0,
            final_: second & flag::FINAL != 0,
            control_plane_independent: second & flag::CONTROL_PLANE_INDEPENDENT != 0,
            demand: second & flag::DEMAND != 0,
            multiplier,
            my_discriminator,
            your_discriminator,
            desired_min_tx: Interval::from_micros(word(octets, 3)),
            required_min_rx: Interval::from_micros(word(octets, 4)),
            required_min_echo_rx: Interval::from_micros(word(octets, 5)),
        })
    }

    /// The octets of the packet.
    pub fn encode(&self) -> [u8; PACKET_LEN] {
        let bit = |set: bool, flag: u8| if set { flag } else { 0 };
        let mut octets = [0; PACKET_LEN];
        let (head, words) = octets.split_at_mut(4);
        head.copy_from_slice(&[
            VERSION << 5 | self.diagnostic.code(),
            self.state.bits() << 6
                | bit(self.poll, flag::POLL)
                | bit(self.final_, flag::FINAL)
                | bit(self.control_plane_independent, flag::CONTROL_PLANE_INDEPENDENT)
                | bit(self.demand, flag::DEMAND),
            self.multiplier.get(),
            PACKET_LEN as u8,
        ]);
        let values = [
            self.my_discriminator.get(),
            self.your_discriminator.map_or(0, NonZeroU32::get),
            self.desired_min_tx.map_or(0, Interval::as_micros),
            self.required_min_rx.map_or(0, Interval::as_micros),
            self.required_min_echo_rx.map_or(0, Interval::as_micros),
        ];
        for (place, value) in words.chunks_exact_mut(4).zip(values) {
            place.copy_from_slice(&value.to_be_bytes());
        }
        octets
    }
}

/// The `index`-th group of four octets.
fn word(octets: &[u8; PACKET_LEN], index: usize) -> u32 {
    octets.as_chunks::<4>().0.get(index).copied().map_or(0, u32::from_be_bytes)
}

/// The states of a session (RFC 5880 §6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum State {
    /// Held down by an operator.
    AdminDown,
    /// The session is down.
    Down,
    /// We receive packets, and the other side has not confirmed yet that it receives ours.
    Init,
    /// Packets arrive in both directions.
    Up,
}

impl State {
    /// All states.
    pub const ALL: [Self; 4] = [Self::AdminDown, Self::Down, Self::Init, Self::Up];

    /// The lower two bits are the field of the packet.
    fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            state::UP => Self::Up,
            state::INIT => Self::Init,
            state::DOWN => Self::Down,
            _ => Self::AdminDown,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::AdminDown => state::ADMIN_DOWN,
            Self::Down => state::DOWN,
            Self::Init => state::INIT,
            Self::Up => state::UP,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(state::name(self.bits()).unwrap_or_default())
    }
}

/// The reason why a session last left Up, or did not come up: five bits (RFC 5880 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Diagnostic(u8);

impl Diagnostic {
    /// Nothing has happened yet.
    pub const NONE: Self = Self(diagnostic::NONE);
    /// No packet came for a detection time.
    pub const DETECTION_TIME_EXPIRED: Self = Self(diagnostic::DETECTION_TIME_EXPIRED);
    /// The other side signaled Down or AdminDown.
    pub const NEIGHBOR_SIGNALED_SESSION_DOWN: Self = Self(diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN);
    /// An operator has taken the session down.
    pub const ADMINISTRATIVELY_DOWN: Self = Self(diagnostic::ADMINISTRATIVELY_DOWN);

    /// The lower five bits are the field of the packet.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0x1F)
    }

    /// The code, at most 31.
    pub const fn code(self) -> u8 {
        self.0
    }
}

/// In the words of the RFC.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match diagnostic::name(self.0) {
            Some(words) => f.pad(words),
            None => write!(f, "diagnostic {}", self.0),
        }
    }
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An interval as encoded in packets: 1 to 4,294,967,295 microseconds, which is 71 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(NonZeroU32);

impl Interval {
    /// `None` for 0.
    pub const fn from_micros(micros: u32) -> Option<Self> {
        match NonZeroU32::new(micros) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// `None` for 0 and above 4,294,967.
    pub const fn from_millis(millis: u32) -> Option<Self> {
        match millis.checked_mul(1000) {
            Some(micros) => Self::from_micros(micros),
            None => None,
        }
    }

    /// Whole microseconds; `None` when that is 0 or does not fit.
    pub fn from_duration(duration: Duration) -> Option<Self> {
        Self::from_micros(u32::try_from(duration.as_micros()).ok()?)
    }

    /// In microseconds.
    pub const fn as_micros(self) -> u32 {
        self.0.get()
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_micros(u64::from(self.as_micros()))
    }
}

/// From microseconds.
impl From<NonZeroU32> for Interval {
    fn from(micros: NonZeroU32) -> Self {
        Self(micros)
    }
}

/// In microseconds.
impl From<Interval> for NonZeroU32 {
    fn from(interval: Interval) -> Self {
        interval.0
    }
}

/// In JSON: microseconds.
impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.as_micros())
    }
}
