//! A node that only observes: it decides like any other, and nothing reaches the host or a router (`run --observe`).
//!
//! ```text
//!  ports ─ Input ──► see ──► Node ─ Effect ──► act ─┬─► ports: checks, answers, the configuration
//!                     ▲                             └─► nothing: bindings, sessions, saved state
//!                     └──────── answers, as if done ◄───┘
//! ```
//!
//! The node itself is unchanged: the observer stands between its effects and the ports. A binding is answered as if the
//! kernel had added it. The node does not see the real ones, so that its verdict depends on its checks and not on the
//! program that has the VIPs at present. It has no peers, so no session can begin.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::commands::Refusal;
use crate::effect::Effect;
use crate::engine::{Binding, BindingFact, Event, Owner};
use crate::input::Input;
use crate::jobs::Way;
use crate::model::{Config, Control};

/// Stands between a node and its ports.
#[derive(Debug, Clone)]
pub struct Observer {
    control: Control,
    api: Option<SocketAddr>,
    /// The bindings that the node believes to have.
    believed: BTreeSet<Binding>,
}

impl Observer {
    /// An observer with this control socket, and with this address of the API over TCP. Those in the configuration
    /// belong to the daemon that announces.
    pub fn new(control: Control, api: Option<SocketAddr>) -> Self {
        Self { control, api, believed: BTreeSet::new() }
    }

    /// Reduces a configuration to what an observer follows: no peers, no hooks, nothing on the disk, and its own sockets.
    pub fn reduce(&self, config: &mut Config) {
        config.peers.clear();
        config.hooks.clear();
        config.event_file = None;
        config.control = self.control.clone();
        config.api = self.api;
        config.metrics = None;
    }

    /// The inputs that the node gets in the place of one of a port.
    pub fn see(&mut self, input: Input) -> Vec<Input> {
        match input {
            Input::Fact(Event::Listed(mut listing)) => {
                // The kernel has removed the bindings of an interface that is gone.
                self.believed.retain(|binding| listing.links.get(binding.index).is_some());
                let believed = self.believed.iter().map(|binding| (*binding, BindingFact::from(Owner::Us)));
                listing.bindings = believed.collect();
                vec![Input::Fact(Event::Listed(listing))]
            }
            // The host's own bindings are hidden; no state directory is read.
            Input::Fact(Event::Added(..) | Event::Removed(_)) | Input::Late(_) => Vec::new(),
            Input::Fact(Event::Link(index, None)) => {
                // The kernel removes the bindings of an interface with it.
                let gone = self.believed.extract_if(.., |binding| binding.index == index);
                let gone = gone.map(|binding| Input::Fact(Event::Removed(binding)));
                gone.chain([Input::Fact(Event::Link(index, None))]).collect()
            }
            Input::Read(Ok(mut read)) => {
                let mut config = Config::clone(&read.config);
                self.reduce(&mut config);
                read.config = config.into();
                vec![Input::Read(Ok(read))]
            }
            input @ (Input::Fact(_)
            | Input::Peer { .. }
            | Input::PeerEnded(_)
            | Input::Bfd(_)
            | Input::Heard { .. }
            | Input::Identified(_)
            | Input::Key { .. }
            | Input::Command { .. }
            | Input::GivenUp(_)
            | Input::Read(Err(_))
            | Input::Rehearsed(_)
            | Input::NoteLeft(_)
            | Input::Saved(..)
            | Input::Noticed(_)
            | Input::Cordon(..)
            | Input::Stop
            | Input::HangUp
            | Input::Upgrade
            | Input::NotHandedOver(_)
            | Input::HandedOver { .. }
            | Input::HandOverFailed(_)
            | Input::Tick) => vec![input],
        }
    }

    /// An effect for the ports, or the answers to an effect that is not passed to a port.
    ///
    /// # Errors
    /// The effect is not passed to a port; the node gets these answers.
    pub fn act(&mut self, effect: Effect) -> Result<Effect, Vec<Input>> {
        match effect {
            Effect::Bind(binding) => {
                self.believed.insert(binding);
                let fact = BindingFact::from(Owner::Us);
                Err(facts([Event::Added(binding, fact), Event::Answered(binding, Ok(()))]))
            }
            Effect::Unbind(binding) => {
                self.believed.remove(&binding);
                Err(facts([Event::Removed(binding), Event::Answered(binding, Ok(()))]))
            }
            Effect::StopPeer(peer, _) => Err(vec![Input::PeerEnded(peer)]),
            Effect::TellWhenSaved(ticket, _) => Err(vec![Input::Saved(ticket, Ok(()))]),
            Effect::LeaveNote(_) => Err(vec![Input::NoteLeft(Ok(()))]),
            Effect::Rehearse(Way::HandOver { .. }) => Err(vec![Input::Rehearsed(Err(Refusal::new(
                "this daemon only observes, and has no sessions to hand over",
                "stop it and start it again",
            )))]),
            Effect::Advertise(_)
            | Effect::Listen(_)
            | Effect::StartPeer(_)
            | Effect::Tune(..)
            | Effect::Liveness(..)
            | Effect::Watch(_)
            | Effect::Bfd(_)
            | Effect::ListenForRouters(_)
            | Effect::LookForKeys(_)
            | Effect::SaveOverrides(_)
            | Effect::SaveHeldBack(_)
            | Effect::Merged(_)
            | Effect::WithdrawNote
            | Effect::Export(_)
            | Effect::LetMachineStop
            | Effect::StopPeers => Err(Vec::new()),
            Effect::Configure { .. }
            | Effect::ReadConfiguration
            | Effect::Rehearse(Way::GracefulRestart)
            | Effect::HandOver
            | Effect::Answer(..)
            | Effect::Stopping(_)
            | Effect::Exit(_) => Ok(effect),
        }
    }
}

fn facts(events: impl IntoIterator<Item = Event>) -> Vec<Input> {
    events.into_iter().map(Input::Fact).collect()
}

#[cfg(test)]
mod tests;
