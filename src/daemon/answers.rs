//! Requests of the control socket: a query gets a snapshot; an order goes to the node with a ticket.

use std::collections::BTreeMap;

use tracing::debug;
use vipcast_bgp::net::clock;
use vipcast_node::commands::{Answer as Said, Command};
use vipcast_node::input::Input;
use vipcast_node::jobs::{Ticket, Unsaved};
use vipcast_node::peers::Waits;

use super::Daemon;
use crate::control::Caller;
use crate::control::server::{Reply, Request};
use crate::control::snapshot::{PeerInfo, Snapshot, Surroundings};
use crate::control::view;

/// The callers that wait for an answer of the node.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    replies: BTreeMap<Ticket, Reply>,
    last: u64,
}

impl Waiting {
    fn take_in(&mut self, reply: Reply) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.replies.insert(ticket, reply);
        ticket
    }

    /// Answers the caller with a ticket.
    pub(super) fn answer(&mut self, ticket: Ticket, said: Said) {
        if let Some(reply) = self.replies.remove(&ticket) {
            reply.send(said);
        }
    }

    /// The callers that have given up.
    pub(super) fn given_up(&mut self) -> Vec<Input> {
        let gone = self.replies.extract_if(.., |_, reply| reply.is_abandoned());
        gone.map(|(ticket, _)| Input::GivenUp(ticket)).collect()
    }
}

impl Daemon {
    /// Translates a request to an input of the node. A query gets a snapshot, and the rest is done elsewhere.
    pub(super) fn request(&mut self, request: Request) -> Option<Input> {
        match request {
            Request::Snapshot(asker) => {
                if !asker.is_closed() {
                    // The caller may have gone meanwhile.
                    drop(asker.send(Box::new(self.snapshot())));
                }
                None
            }
            Request::Order { reply, .. } if self.inputs.are_last => {
                reply.hand_over();
                None
            }
            Request::Order { command, caller, reply } => {
                if reply.is_abandoned() {
                    debug!(?command, by = %caller, "not carried out: the caller has given up");
                    return None;
                }
                let by = who(&command, caller);
                Some(Input::Command { ticket: self.waiting.take_in(reply), by, command })
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        let (engine, around) = (self.node.engine().known(), self.surroundings());
        let took = clock::now().saturating_duration_since(self.now.mono);
        debug!(took_us = took.as_micros(), "snapshot taken");
        Snapshot { engine, around, at: self.now.mono, took }
    }

    fn surroundings(&self) -> Surroundings {
        let peers = self.node.peers();
        let running = peers.running().iter().filter_map(|(name, running)| {
            let status = self.speaker.status(running.id)?;
            let hint = peers.hint(name, &status);
            Some((name.clone(), PeerInfo { peer: running.peer.clone(), hint, status, waits: None }))
        });
        let waiting = peers.waiting().map(|waiting| {
            let reason = match waiting.why {
                Waits::Key(reason) => format!("no session without its key: {reason}"),
                Waits::Router { interface } => match self.speaker.host().named(&interface) {
                    None => format!("there is no interface {interface} yet"),
                    Some(_) => format!("no router has advertised itself on {interface} yet"),
                },
            };
            let since = waiting.since.unwrap_or(self.now.mono);
            (waiting.name.clone(), PeerInfo::waiting(waiting.peer.clone(), reason, since))
        });
        let observing = self.observer.is_some();
        let no_id = (peers.router_id().is_none() && !observing).then(|| {
            "no session can begin: the router id is not known; give the host its address, or write `router_id`".to_owned()
        });
        let deaf = self.speaker.not_listening().map(|(address, cause)| {
            format!("not listening on {address}: {cause}; peers that we dial do not need it")
        });
        let unread = self.node.engine().is_unread().then(|| {
            "the state directory was not read: drains and held-back services from before this start are not known"
                .to_owned()
        });
        Surroundings {
            peers: running.chain(waiting).collect(),
            bfd: self.speaker.bfd_report().map(|mut report| {
                // Keyed by the names of the peers.
                let named = peers.bfd_names().iter().filter_map(|(name, session)| {
                    Some((name.as_str().into(), report.sessions.get(session)?.clone()))
                });
                report.sessions = named.collect();
                report
            }),
            observing,
            router_id: peers.router_id(),
            warnings: no_id
                .into_iter()
                .chain(deaf)
                .chain(self.exporters.warnings())
                .chain(unread)
                .chain(self.event_file.warning())
                .chain(self.hooks.warnings())
                .collect(),
            announced_by_others: self.exporters.announced().clone(),
            started: self.started,
            config: self.config_path.display().to_string(),
            handed_over: self.handed_over.clone(),
            not_upgraded: self.not_upgraded.clone(),
            probes: view::probes(self.runner.lateness()),
            latest: self.runner.latest().clone(),
            events: self.events.clone(),
            event_file: self.event_file.progress(),
            hooks: self.hooks.deliveries().clone(),
            counts: self.counts.clone(),
            tally: self.runner.tally().clone(),
            born: self.born,
            unsaved: self.store.unsaved().map(|(path, unsaved)| match unsaved {
                Unsaved::Failed(why) => format!("cannot write {}: {why}", path.display()),
                Unsaved::NotYet => format!("{} is not written yet", path.display()),
            }),
        }
    }
}

/// The caller of a command, in words; for a restart with the process, because it may be a script.
fn who(command: &Command, caller: Caller) -> String {
    if *command == Command::Restart { caller.to_string() } else { caller.name }
}
