//! The inputs and outputs of a session.

use std::fmt;

use serde::Serialize;

use super::config::SessionConfig;
use super::packet::{Diagnostic, Packet, State};
use crate::time::Instant;

/// An input of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A packet of this session.
    Received {
        /// The decoded packet.
        packet: Packet,
        /// The kernel's receive time; a time after `now` is taken as `now`.
        at: Instant,
    },
    /// The deadline has passed, and every packet that came before now was handed in.
    Tick,
    /// Replace the configuration. New timers are negotiated without a flap.
    Configure(SessionConfig),
    /// End the session: send AdminDown for the other side's detection time, then [`Output::finished`].
    Stop,
}

/// The outputs of one input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Output {
    /// Send this now.
    pub transmit: Option<Packet>,
    /// The state has changed.
    pub event: Option<Transition>,
    /// After [`Input::Stop`]: the session has ended.
    pub finished: bool,
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// The old state.
    pub from: State,
    /// The new state.
    pub to: State,
    /// The cause.
    pub cause: Cause,
    /// The diagnostic in our packets from now on.
    pub diagnostic: Diagnostic,
    /// The time of the change.
    #[serde(skip)]
    pub at: Instant,
}

impl Transition {
    /// Whether the session left Up. Init to Down is no loss: the session was not in use yet.
    pub fn is_loss(&self) -> bool {
        self.from == State::Up
    }

    /// Whether the session left Up because the other end is gone or does not hear us; a client of BFD should act. If
    /// either operator has taken BFD out of service, the path may still be good (RFC 5882 §3.2).
    pub fn is_failure(&self) -> bool {
        let out_of_service = match self.cause {
            Cause::Received { state, .. } => state == State::AdminDown,
            Cause::Operator => true,
            Cause::DetectionTimeExpired => false,
        };
        self.is_loss() && !out_of_service
    }
}

/// The cause of a change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A packet: the other side is in this state, with this diagnostic.
    Received {
        /// The state of the other side.
        state: State,
        /// The diagnostic of the other side.
        diagnostic: Diagnostic,
    },
    /// No packet came for the detection time.
    DetectionTimeExpired,
    /// The configuration, or the end of the session.
    Operator,
}

impl Cause {
    /// The diagnostic that we send after a change to `to` for this cause.
    pub(super) fn diagnostic(self, to: State) -> Diagnostic {
        match (self, to) {
            (Self::Received { .. }, State::Down) => Diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN,
            (Self::DetectionTimeExpired, _) => Diagnostic::DETECTION_TIME_EXPIRED,
            (Self::Operator, State::AdminDown) => Diagnostic::ADMINISTRATIVELY_DOWN,
            (Self::Received { .. } | Self::Operator, _) => Diagnostic::NONE,
        }
    }
}

/// `Up to Down: Neighbor Signaled Session Down; it is AdminDown: Administratively Down`
impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.to)?;
        if self.diagnostic != Diagnostic::NONE {
            write!(f, ": {}", self.diagnostic)?;
        }
        match self.cause {
            Cause::Received { state, diagnostic: Diagnostic::NONE } => write!(f, "; it is {state}"),
            Cause::Received { state, diagnostic } => write!(f, "; it is {state}: {diagnostic}"),
            Cause::DetectionTimeExpired | Cause::Operator => Ok(()),
        }
    }
}
