//! The inputs of a node. Ports report facts; the node decides.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use vipcast_bgp::bfd::BfdEvent;
use vipcast_bgp::transport::Authentication;
use vipcast_bgp::{PeerEvent, PeerStatus};

use crate::commands::{Command, Refusal};
use crate::effect::PeerId;
use crate::engine::{Cordon, Event, Left, Order};
use crate::health::report::CheckNews;
use crate::jobs::{Next, NotRead, Program, Ticket, Unsaved};
use crate::model::{Config, KeySource};
use crate::names::PeerName;
use crate::notice::Notice;
use crate::record::Warning;

/// An input.
#[derive(Debug, Clone)]
pub enum Input {
    /// An event from a check or the kernel.
    Fact(Event),
    /// An event of a peer.
    Peer {
        id: PeerId,
        event: PeerEvent,
        /// The peer's status after the event.
        status: Box<PeerStatus>,
    },
    /// A peer that was stopped has closed its connections.
    PeerEnded(PeerId),
    /// A BFD session has changed its state.
    Bfd(BfdEvent),
    /// A router advertises itself.
    Heard {
        interface: String,
        /// Its link-local address.
        router: Ipv6Addr,
    },
    /// Our BGP identifier, if the configuration does not have it.
    Identified(Ipv4Addr),
    /// A search for a key has ended.
    Key {
        peer: PeerName,
        /// The place that was searched.
        source: KeySource,
        /// The key, or the reason why there is none.
        key: Result<Authentication, String>,
    },
    /// A command.
    Command {
        /// The ticket for the answer.
        ticket: Ticket,
        /// The caller.
        by: String,
        command: Command,
    },
    /// The caller with this ticket has given up: drop the command.
    GivenUp(Ticket),
    /// The configuration was read, or could not be.
    Read(Result<Read, NotRead>),
    /// The next program was tested.
    Rehearsed(Result<Next, Refusal>),
    /// The note for the next process is written, or could not be.
    NoteLeft(Result<(), String>),
    /// The overrides are saved, or are not.
    Saved(Ticket, Result<(), Unsaved>),
    /// A state directory that was not read at the start has answered, or there is another one under its path.
    Late(Box<Left>),
    /// Everything is drained from outside (`Some`: by this cause, with this reason), or no longer.
    Cordon(Cordon, Option<Order>),
    /// A notice of a port. It is recorded, and has no other effect.
    Noticed(Notice),
    /// SIGTERM. The second one shortens the waits.
    Stop,
    /// SIGHUP.
    HangUp,
    /// SIGUSR2.
    Upgrade,
    /// The hand-over was not possible, with the reason, and nothing was frozen.
    NotHandedOver(String),
    /// The first input after a hand-over: this process goes on in place of another one.
    HandedOver {
        /// The program before.
        from: Program,
        /// The time in which no session was served.
        pause: Duration,
    },
    /// The first input after a hand-over that failed, with the reason: this process begins as after a crash.
    HandOverFailed(String),
    /// The deadline has passed.
    Tick,
}

impl From<CheckNews> for Input {
    fn from(news: CheckNews) -> Self {
        match news {
            CheckNews::Report(report) => Self::Fact(Event::Check(report)),
            CheckNews::Waits(check, definition) => Self::Fact(Event::CheckWaits(check, definition)),
            CheckNews::Panicked(check, error) => Self::Noticed(Notice::CheckPanicked { check, error }),
        }
    }
}

/// A configuration that was read, and is valid.
#[derive(Debug, Clone)]
pub struct Read {
    pub config: Arc<Config>,
    /// Warnings about it.
    pub warnings: Vec<Warning>,
}
