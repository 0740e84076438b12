//! What goes into a session and what comes out.

use std::fmt;

use serde::Serialize;

use super::config::SessionConfig;
use super::packet::{Diagnostic, Packet, State};
use crate::time::Instant;

/// What happens to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A packet that is for this session.
    Received {
        /// As it was decoded.
        packet: Packet,
        /// When the kernel took it in; a time after `now` is taken as `now`.
        at: Instant,
    },
    /// The deadline has passed, and every packet that came before now was handed in.
    Tick,
    /// From now on this configuration. New timers are negotiated without a flap.
    Configure(SessionConfig),
    /// Say goodbye: AdminDown for as long as the other needs to notice, then [`Output::finished`].
    Stop,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Output {
    /// Send this now.
    pub transmit: Option<Packet>,
    /// The state has changed.
    pub event: Option<Transition>,
    /// After [`Input::Stop`]: the session has nothing more to do.
    pub finished: bool,
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// From this state.
    pub from: State,
    /// To this one.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// The diagnostic that we tell the other from now on.
    pub diagnostic: Diagnostic,
    /// When.
    #[serde(skip)]
    pub at: Instant,
}

impl Transition {
    /// A session that was Up is not Up any more. Init to Down is no such loss: nobody relied on the session yet.
    pub fn is_loss(&self) -> bool {
        self.from == State::Up
    }

    /// The session was lost, and the other end is gone or does not hear us; a user of the session should act. When
    /// either operator has taken BFD out of service, the path may be as good as before (RFC 5882 §3.2).
    pub fn is_failure(&self) -> bool {
        let out_of_service = match self.cause {
            Cause::Received { state, .. } => state == State::AdminDown,
            Cause::Operator => true,
            Cause::DetectionTimeExpired => false,
        };
        self.is_loss() && !out_of_service
    }
}

/// Why the state changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// By a packet: the other is in this state, for this reason.
    Received {
        /// Its state.
        state: State,
        /// Its diagnostic.
        diagnostic: Diagnostic,
    },
    /// No packet came for the detection time.
    DetectionTimeExpired,
    /// The configuration, or the end of the session.
    Operator,
}

impl Cause {
    /// What the other is told of a change to `to` for this cause.
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
