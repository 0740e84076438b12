//! What a node wants done. Ports do it, and decide nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::vip::Vip;
use vipcast_bgp::bfd::Sessions;
use vipcast_bgp::fsm::Liveness;
use vipcast_bgp::transport::Transport;
use vipcast_bgp::wire::{Family, Notification};
use vipcast_bgp::{PeerConfig, Tuning, Watched};

use crate::commands::Answer;
use crate::engine::{Advertised, Binding, Drains, HeldBack};
use crate::jobs::Ticket;
use crate::model::{Config, KeySource, Listen};
use crate::names::PeerName;

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Follow this configuration in all that is not said by other effects: run exactly its checks, log as it says.
    Configure {
        /// It.
        config: Arc<Config>,
        /// While a restart lasts, the families whose VIPs stayed bound.
        restarted: Option<BTreeSet<Family>>,
    },
    /// Put the address or the local route on the host.
    Bind(Binding),
    /// Give every session this set, and those that start later.
    Advertise(Advertised),
    /// Take it off the host.
    Unbind(Binding),
    /// Accept connections of peers here, as soon as that is possible.
    Listen(Listen),
    /// Start a peer.
    StartPeer(Box<Start>),
    /// End a peer with this NOTIFICATION; answer with [`Input::PeerEnded`](crate::input::Input::PeerEnded).
    StopPeer(PeerId, Notification),
    /// These settings of a peer are others from now on; its session goes on.
    Tune(PeerId, Tuning),
    /// What BFD says of the way to a peer now.
    Liveness(PeerId, Liveness),
    /// From now on every peer remembers its paths to exactly these prefixes.
    Watch(Arc<Watched>),
    /// Run exactly these BFD sessions.
    Bfd(Sessions),
    /// Listen for the advertisements of routers on exactly these interfaces.
    ListenForRouters(BTreeSet<String>),
    /// Look for the keys of exactly these peers, again and again until each is there.
    LookForKeys(BTreeMap<PeerName, KeySource>),
    /// Keep these drains across a restart.
    SaveDrains(Arc<Drains>),
    /// Keep it across a restart which VIPs are held back.
    SaveHeldBack(Arc<HeldBack>),
    /// What the state directory told late is merged: these drains take the place of what is in there.
    Merged(Arc<Drains>),
    /// Answer with [`Input::Saved`](crate::input::Input::Saved) when the drains given last are saved, cannot be, or are not
    /// after this time.
    TellWhenSaved(Ticket, Duration),
    /// Read the configuration; answer with [`Input::Read`](crate::input::Input::Read).
    ReadConfiguration,
    /// Try out the program that is to follow; answer with [`Input::Rehearsed`](crate::input::Input::Rehearsed).
    Rehearse,
    /// Write down for the next process that these VIPs are announced; answer with
    /// [`Input::NoteLeft`](crate::input::Input::NoteLeft).
    LeaveNote(BTreeSet<Vip>),
    /// No process follows: take the note away.
    WithdrawNote,
    /// Of the engine to the peers, and never seen by a port: end every session with Cease / Administrative Shutdown, and say
    /// [`Event::PeersStopped`](crate::engine::Event::PeersStopped).
    StopPeers,
    /// Answer whoever holds this ticket.
    Answer(Ticket, Answer),
    /// The end has begun, and takes this long at most.
    Stopping(Duration),
    /// End the process.
    Exit(Ending),
}

/// Names a peer that runs, or is being stopped; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct PeerId(pub(crate) u64);

/// A peer to start, and all that it has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// What its events are called by.
    pub id: PeerId,
    /// How it is reached.
    pub transport: Transport,
    /// What is agreed on with it, and how.
    pub config: PeerConfig,
    /// What it is to have from us.
    pub advertised: Advertised,
    /// The prefixes that it remembers paths to.
    pub watched: Arc<Watched>,
    /// What BFD says of the way to it.
    pub liveness: Liveness,
}

/// What is left to do when the node has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Nothing.
    Stopped,
    /// Nothing can be done about so many addresses and local routes that the kernel has not removed.
    Left(usize),
    /// The next process.
    Restart,
}
