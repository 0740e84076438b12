//! The hand-over of the port to the next program: sessions go on with their sockets.
//!
//! ```text
//!   freeze       sessions, listeners ────► frozen::Speaker ───► thaw       with the node's peers
//!   freeze_bfd   the thread of BFD ──────► frozen::BfdThread ─► BfdRunning::thaw, before anything else
//! ```
//!
//! Keys and routers on links are looked for anew, without an effect on sessions that run.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::mpsc;
use vipcast_bgp::Instant;
use vipcast_bgp::bfd::{BfdEvent, Sessions, State, Status};
use vipcast_bgp::frozen;
use vipcast_bgp::net::bfd::{Bfd, Options, hurry};
use vipcast_bgp::net::{self, Descriptors, Resume, ThawError, Thawed};
use vipcast_node::effect::Start;
use vipcast_node::input::Input;
use vipcast_node::model::Config;

use super::keys::Keys;
use super::{Discovery, Speaker, Streams, give, identity};

/// The thread of BFD, which goes on before the rest is read.
#[derive(Debug)]
pub struct BfdRunning {
    bfd: Bfd,
    events: mpsc::UnboundedReceiver<BfdEvent>,
}

impl BfdRunning {
    /// Goes on with the sessions of [`Speaker::freeze_bfd`], whose `news` are told before anything else of them.
    ///
    /// # Errors
    /// The form is damaged; its sockets are closed then.
    pub fn thaw(
        frozen: &frozen::BfdThread,
        news: Vec<BfdEvent>,
        sockets: &mut Descriptors,
    ) -> Result<Self, ThawError> {
        let (bfd, events) = Bfd::thaw(Options::default(), frozen, news, sockets)?;
        Ok(Self { bfd, events })
    }
}

impl Speaker {
    /// How many peers are being stopped. Their last octets are on the way for two seconds at most; a hand-over waits
    /// for them.
    pub fn ending(&self) -> usize {
        self.ids.len().saturating_sub(self.handles.len())
    }

    /// Stops every session between two inputs, without a word, and puts all sockets but those of BFD into `sockets`.
    /// From now on effects do nothing; events that are on the way still come. Peers that are being stopped are told as
    /// ended.
    pub async fn freeze(&mut self, sockets: &mut Descriptors) -> frozen::Speaker {
        self.is_frozen = true;
        if self.bfd.is_some() {
            // The next program ends it.
            hurry();
        }
        let peers = self.handles.iter_mut().map(|(id, handle)| (id.as_u64(), handle));
        let form = self.speaker.freeze(peers, sockets).await;
        let goes_on: Vec<net::PeerId> = self.handles.values().map(net::PeerHandle::id).collect();
        for id in self.ids.keys().filter(|id| !goes_on.contains(id)) {
            // The receiver may be gone only while the daemon ends.
            let _ending = self.ended.send(*id);
        }
        form
    }

    /// The strangers that were reported, for [`Self::know_strangers`] of the next one.
    pub fn strangers(&self) -> Vec<(IpAddr, Instant)> {
        self.speaker.strangers()
    }

    /// Does not report these once more.
    pub fn know_strangers(&self, strangers: Vec<(IpAddr, Instant)>) {
        self.speaker.know_strangers(strangers);
    }

    /// Adds to the form what peers were to be told of BFD since their freeze. Call it after the last input.
    pub fn complete(&mut self, form: &mut frozen::Speaker) {
        let frozen::Speaker::V1(form) = form;
        for (id, liveness) in self.untold.drain(..) {
            if let Some(peer) = form.peers.iter_mut().find(|peer| peer.id == id.as_u64()) {
                peer.untold.push((&liveness).into());
            }
        }
    }

    /// Ends the thread of BFD without a word; its sockets go into `sockets`, and packets wait in them. `None`: it does
    /// not run.
    ///
    /// # Errors
    /// The thread does not answer within a second.
    pub fn freeze_bfd(&mut self, sockets: &mut Descriptors) -> io::Result<Option<frozen::BfdThread>> {
        self.is_frozen = true;
        let Some(bfd) = self.bfd.take() else { return Ok(None) };
        bfd.freeze(sockets).map(Some)
    }

    /// What BFD has done since the node was frozen.
    pub fn news_of_bfd(&mut self) -> Vec<frozen::bfd::Event> {
        let next = || self.bfd_events.as_mut()?.try_recv().ok();
        std::iter::from_fn(next).map(|event| event.freeze()).collect()
    }

    /// The port goes on with exactly these peers. The node's newer sets, settings and watched prefixes are given to them
    /// at once.
    ///
    /// # Errors
    /// The form is damaged, or a setting needs a new session. All sockets of the form are closed then.
    pub fn thaw(
        frozen: &frozen::Speaker,
        sockets: &mut Descriptors,
        starts: Vec<Start>,
        bfd: Option<BfdRunning>,
        told: mpsc::UnboundedSender<Input>,
    ) -> Result<(Self, Streams), ThawError> {
        let resume = |start: &Start| Resume {
            id: start.id.as_u64(),
            transport: start.transport.clone(),
            config: start.config.clone(),
            liveness: start.liveness.clone(),
        };
        let resumes = starts.iter().map(resume).collect();
        let Thawed { speaker, events, notices, mut handles } = net::Speaker::thaw(frozen, sockets, resumes)?;
        let (ended, ended_rx) = mpsc::unbounded_channel();
        let (bfd, bfd_events) = bfd.map(|BfdRunning { bfd, events }| (bfd, events)).unzip();
        let mut port = Self {
            speaker,
            handles: BTreeMap::new(),
            ids: BTreeMap::new(),
            bfd,
            bfd_events,
            sessions: Sessions::new(),
            untold: Vec::new(),
            is_frozen: false,
            listens: listens(frozen),
            keys: Keys::new(told.clone()),
            discovery: Discovery::new(told.clone()),
            told,
            ended,
        };
        for Start { id, config, advertised, watched, .. } in starts {
            // Each was thawed.
            let Some(handle) = handles.remove(&id.as_u64()) else { continue };
            handle.tune(config.tuning());
            give(&handle, &advertised);
            handle.watch(watched);
            port.ids.insert(handle.id(), id);
            port.handles.insert(id, handle);
        }
        Ok((port, Streams { events, notices, ended: ended_rx }))
    }

    /// Looks for our BGP identifier, if neither the configuration nor the node knows it. The result is one that is known
    /// at once.
    pub fn find_identity(&self, config: &Config) -> Option<Input> {
        identity::find(config, &self.told).filter(|_| config.router_id.is_none()).map(Input::Identified)
    }

    /// The next change of a BFD session that is there already.
    pub fn try_next_bfd(&mut self) -> Option<Input> {
        self.bfd_events.as_mut()?.try_recv().ok().map(Input::Bfd)
    }

    /// Before a hand-over whose pause would be longer than a detection time: see [`Bfd::slow`].
    pub fn slow_bfd(&self, least: Duration) {
        if let Some(bfd) = &self.bfd {
            bfd.slow(least);
        }
    }

    /// After a hand-over that was given up: the timers of the desired sessions again.
    pub fn restore_bfd(&self) {
        if let Some(bfd) = &self.bfd {
            bfd.set(self.sessions.clone());
        }
    }

    /// Asks the thread of BFD whether no session goes down in a pause of less than `least`. `None`: it does not run.
    pub fn ask_bfd_is_slow(&self, least: Duration) -> Option<Receiver<bool>> {
        self.bfd.as_ref().map(|bfd| bfd.ask_is_slow(least))
    }

    /// The peers whose session of BFD could go down in such a pause.
    pub fn quick_bfd(&self, least: Duration) -> Vec<String> {
        let Some(report) = self.bfd_report() else { return Vec::new() };
        let is_quick = |status: &Status| {
            let theirs =
                status.transmit_interval.map(|time| time * u32::from(status.config.multiplier.get()));
            let times = [theirs, status.detection_time];
            status.state == State::Up
                && (status.polling || times.into_iter().flatten().any(|time| time < least))
        };
        let quick = report.sessions.into_iter().filter(|(_, session)| is_quick(&session.status));
        quick.map(|(name, _)| name.to_string()).collect()
    }
}

/// Whether the port has begun to listen. Without a passive peer it has not, and a reload may still ask for it.
fn listens(frozen: &frozen::Speaker) -> bool {
    let frozen::Speaker::V1(frozen) = frozen;
    !frozen.listeners.is_empty() || !frozen.waiting.is_empty()
}

#[cfg(test)]
mod tests;
