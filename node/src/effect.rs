//! The effects of a node. Ports perform them, and decide nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::vip::Vip;
use vipcast_bgp::bfd::Sessions;
use vipcast_bgp::fsm::Liveness;
use vipcast_bgp::transport::Transport;
use vipcast_bgp::wire::{Family, Notification};
use vipcast_bgp::{Export, PeerConfig, Tuning, Watched};

use crate::commands::Answer;
use crate::engine::{Advertised, Binding, HeldBack, Overrides};
use crate::jobs::{Ticket, Way};
use crate::model::{Config, KeySource, Listen};
use crate::names::PeerName;

/// An action for a port. Ports perform effects in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Follow this configuration in everything without an effect of its own: run exactly its checks, use its log
    /// settings.
    Configure {
        config: Arc<Config>,
        /// During a restart, the families whose VIPs stayed bound.
        restarted: Option<BTreeSet<Family>>,
    },
    /// Add the address or the local route to the host.
    Bind(Binding),
    /// Give this set to every session, also to those that start later.
    Advertise(Advertised),
    /// Remove it from the host.
    Unbind(Binding),
    /// Accept connections of peers here, as soon as that is possible.
    Listen(Listen),
    /// Start a peer.
    StartPeer(Box<Start>),
    /// End a peer with this NOTIFICATION; answer with [`Input::PeerEnded`](crate::input::Input::PeerEnded).
    StopPeer(PeerId, Notification),
    /// Change these settings of a peer; its session goes on.
    Tune(PeerId, Tuning),
    /// The state of BFD with a peer has changed.
    Liveness(PeerId, Liveness),
    /// Replace the watched prefixes of every peer.
    Watch(Arc<Watched>),
    /// Run exactly these BFD sessions.
    Bfd(Sessions),
    /// Listen for the advertisements of routers on exactly these interfaces.
    ListenForRouters(BTreeSet<String>),
    /// Look for the keys of exactly these peers, again and again until each is there.
    LookForKeys(BTreeMap<PeerName, KeySource>),
    /// Keep these overrides across a restart.
    SaveOverrides(Arc<Overrides>),
    /// Keep the held-back VIPs across a restart.
    SaveHeldBack(Arc<HeldBack>),
    /// A late state directory is merged: replace its overrides by these.
    Merged(Arc<Overrides>),
    /// Answer with [`Input::Saved`](crate::input::Input::Saved) when the last overrides are saved, cannot be saved, or are
    /// not saved after this time.
    TellWhenSaved(Ticket, Duration),
    /// Read the configuration; answer with [`Input::Read`](crate::input::Input::Read).
    ReadConfiguration,
    /// Test the next program; answer with [`Input::Rehearsed`](crate::input::Input::Rehearsed).
    Rehearse(Way),
    /// Write a note for the next process that these VIPs are announced; answer with
    /// [`Input::NoteLeft`](crate::input::Input::NoteLeft).
    LeaveNote(BTreeSet<Vip>),
    /// No process follows: remove the note.
    WithdrawNote,
    /// From the engine to the peers, never to a port: the exports of these peers, and plainly to all others.
    Export(BTreeMap<PeerName, Export>),
    /// From the engine to the peers, never to a port: end every session with Cease / Administrative Shutdown, and then
    /// report [`Event::PeersStopped`](crate::engine::Event::PeersStopped).
    StopPeers,
    /// Answer the command with this ticket.
    Answer(Ticket, Answer),
    /// Every router was told: the machine may go down.
    LetMachineStop,
    /// The shutdown has begun, and takes at most this long.
    Stopping(Duration),
    /// Hand everything over to the next program. If that is not possible before anything was frozen, answer with
    /// [`Input::NotHandedOver`](crate::input::Input::NotHandedOver).
    HandOver,
    /// End the process.
    Exit(Ending),
}

impl Effect {
    /// Whether others notice it: it sends, binds, starts or ends something. A program that goes on from another one's state
    /// does nothing of the kind unasked.
    pub const fn is_felt(&self) -> bool {
        matches!(
            self,
            Self::Bind(_)
                | Self::Unbind(_)
                | Self::Advertise(_)
                | Self::StartPeer(_)
                | Self::StopPeer(..)
                | Self::Tune(..)
                | Self::Liveness(..)
                | Self::Exit(_)
        )
    }
}

/// The id of a peer that runs, or is being stopped; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct PeerId(pub(crate) u64);

impl PeerId {
    /// Its number, which stays the same over a hand-over.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// A peer to start, with all its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The id in its events.
    pub id: PeerId,
    /// Its address and socket options.
    pub transport: Transport,
    /// The settings of its session.
    pub config: PeerConfig,
    /// The desired set.
    pub advertised: Advertised,
    /// The watched prefixes.
    pub watched: Arc<Watched>,
    /// The state of BFD with it.
    pub liveness: Liveness,
}

/// The port's action after the end of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Nothing.
    Stopped,
    /// Exit with an error: the kernel has not removed this number of addresses and local routes.
    Left(usize),
    /// Start the next process.
    Restart,
}
