//! What ports have seen. They say it as it is; what it means is decided here.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use vipcast_bgp::bfd::BfdEvent;
use vipcast_bgp::transport::Authentication;
use vipcast_bgp::{PeerEvent, PeerStatus};

use crate::commands::{Command, Refusal};
use crate::effect::PeerId;
use crate::engine::{Event, Left};
use crate::health::report::CheckNews;
use crate::jobs::{NotRead, Ticket, Unsaved};
use crate::model::{Config, KeySource};
use crate::names::PeerName;
use crate::notice::Notice;
use crate::record::Warning;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A check, or the kernel, has said something.
    Fact(Event),
    /// Something happened to a peer.
    Peer {
        /// Which.
        id: PeerId,
        /// What.
        event: PeerEvent,
        /// Everything about it then.
        status: Box<PeerStatus>,
    },
    /// A peer that was stopped has closed its connections.
    PeerEnded(PeerId),
    /// A BFD session has changed its state.
    Bfd(BfdEvent),
    /// A router advertises itself.
    Heard {
        /// On this interface.
        interface: String,
        /// It has this link-local address.
        router: Ipv6Addr,
    },
    /// Our BGP identifier, where the configuration does not give it.
    Identified(Ipv4Addr),
    /// A look for a key is over.
    Key {
        /// Whose.
        peer: PeerName,
        /// Where it was looked for.
        source: KeySource,
        /// It, or why there is none.
        key: Result<Authentication, String>,
    },
    /// Somebody asks for something.
    Command {
        /// What the answer is called by.
        ticket: Ticket,
        /// Who asks.
        by: String,
        /// What for.
        command: Command,
    },
    /// Whoever holds this ticket waits no longer, and does not want it done any more.
    GivenUp(Ticket),
    /// The configuration was read, or could not be.
    Read(Result<Read, NotRead>),
    /// The program that is to follow was tried out.
    Rehearsed(Result<(), Refusal>),
    /// The note for the next process is written, or why not.
    NoteLeft(Result<(), String>),
    /// What became of the drains that were to be saved.
    Saved(Ticket, Result<(), Unsaved>),
    /// A state directory that was not read at the start has answered, or there is another one under its path.
    Late(Box<Left>),
    /// A port has noticed something. It is told, and nothing follows from it.
    Noticed(Notice),
    /// SIGTERM. The second one is in a hurry.
    Stop,
    /// SIGHUP.
    HangUp,
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
    /// It.
    pub config: Arc<Config>,
    /// What in it was probably not meant.
    pub warnings: Vec<Warning>,
}
