//! What an operator asks of the running daemon over the control socket, or by SIGHUP.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{debug, error, info, warn};
use vipcast_bgp::net::clock;
use vipcast_bgp::{PeerStatus, State};
use vipcast_node::engine::Event;
use vipcast_node::names::CheckName;

use super::reload::{Asker, Finished, NotReloaded};
use super::{Daemon, Ending};
use crate::config::Loaded;
use crate::control::api::{Done, Refusal};
use crate::control::server::{Answer, Command, Request};
use crate::control::view::{self, PeerInfo, Surroundings};
use crate::journal;
use crate::log;
use crate::restart;
use crate::state::Unsaved;

/// Services that keep their verdict, as many as a reload names.
const KEPT_SHOWN: usize = 10;
/// How long a restart waits until the next process is told what was announced.
const NOTE_PATIENCE: Duration = Duration::from_secs(3);

impl Daemon {
    pub(super) fn answer(&mut self, Request { command, caller, answer }: Request) {
        if answer.is_abandoned() {
            debug!(?command, by = %caller, "not carried out: the caller has given up");
            return;
        }
        let now = clock::now();
        let answered = match command {
            Command::Status => Answer::status(view::status(&self.engine, &self.surroundings(), now)),
            Command::Explain(vip) => match view::explain(&self.engine, &self.surroundings(), vip, now) {
                Some(explanation) => Answer::ok(&explanation),
                None => Answer::not_found(&Refusal {
                    error: format!("no service has the VIP {vip}"),
                    hint: Some("`vipcast status` lists them".to_owned()),
                }),
            },
            Command::Drain(request) => return self.drain(request, caller, answer),
            Command::Undrain(request) => return self.undrain(request, caller, answer),
            Command::Promote(request) => self.promote(request, caller),
            Command::Restart => match self.may_restart() {
                Ok(()) => {
                    info!(by = %caller, "restart");
                    self.rehearsal = Some((restart::rehearse(&self.config_path), answer));
                    return;
                }
                Err(refusal) => Answer::conflict(&refusal),
            },
            Command::Reload => {
                self.reloads.ask(Asker::Client(caller, answer));
                return;
            }
        };
        answer.send(answered);
    }

    fn surroundings(&self) -> Surroundings {
        let peers = self.peers.status().map(|(name, peer, status)| {
            (
                name.clone(),
                PeerInfo { peer: peer.clone(), hint: self.peers.hint(name, &status), status, waits: None },
            )
        });
        let waiting = self.peers.waiting().map(|(name, peer, reason, since)| {
            (name.clone(), PeerInfo::waiting(peer.clone(), reason, since))
        });
        let unread = self.engine.is_unread().then(|| {
            "the state directory was not read: what operators drained and `preempt` held back before this start is not known"
                .to_owned()
        });
        Surroundings {
            peers: peers.chain(waiting).collect(),
            bfd: self.peers.bfd(),
            router_id: self.peers.router_id(),
            warnings: self.peers.troubles().chain(self.exporters.warnings()).chain(unread).collect(),
            announced_by_others: self.exporters.announced().clone(),
            started: self.started,
            config: self.config_path.display().to_string(),
            probes: view::probes(self.runner.lateness()),
            unsaved: self.store.unsaved().map(|(path, unsaved)| match unsaved {
                Unsaved::Failed(why) => format!("cannot write {}: {why}", path.display()),
                Unsaved::NotYet => format!("{} is not written yet", path.display()),
            }),
        }
    }

    /// Whether a graceful restart would lose nothing.
    fn may_restart(&self) -> Result<(), Refusal> {
        let refuse = |error: String, hint: &str| Err(Refusal { error, hint: Some(hint.to_owned()) });
        if self.engine.facts().shutdown.is_some() {
            return refuse("vipcast is stopping".to_owned(), "start it again when it has stopped");
        }
        if self.rehearsal.is_some() || self.note.is_some() || self.engine.facts().restart.is_some() {
            return refuse(
                "a restart is under way already".to_owned(),
                "`vipcast status` shows what it waits for",
            );
        }
        let keeps_nothing = |status: &PeerStatus| {
            let session = status.session.as_ref().filter(|_| status.state == State::Established);
            session.is_some_and(|session| session.graceful_restart.is_none())
        };
        let without: Vec<String> = (self.peers.status())
            .filter(|(_, _, status)| keeps_nothing(status))
            .map(|(name, _, _)| name.to_string())
            .collect();
        let watching: Vec<String> = self.peers.bfd_up().iter().map(ToString::to_string).collect();
        if !watching.is_empty() {
            return refuse(
                format!(
                    "{} watches us with BFD and would take the restart for a failure",
                    watching.join(", ")
                ),
                "stop and start instead, which drains first; or reload without `bfd` for as long as it takes",
            );
        }
        if !without.is_empty() {
            return refuse(
                format!("{} would drop our routes: graceful restart is not negotiated", without.join(", ")),
                "set `graceful_restart: true` for every peer; or stop and start, which drains first",
            );
        }
        Ok(())
    }

    /// The program that is to follow was tried out.
    pub(super) fn rehearsed(&mut self, result: Result<(), Refusal>) {
        let Some((_, answer)) = self.rehearsal.take() else { return };
        if answer.is_abandoned() {
            warn!(reason = "the caller has given up", "not restarted");
            return;
        }
        // Much may have happened since it was asked for.
        if let Err(refusal) = result.and_then(|()| self.may_restart()) {
            warn!(reason = refusal.error, "not restarted");
            return answer.send(Answer::conflict(&refusal));
        }
        let left = self.store.leave_announced(self.engine.announced().copied().collect());
        let (told, noted) = oneshot::channel();
        tokio::spawn(async move {
            let left = tokio::time::timeout(NOTE_PATIENCE, left).await;
            let hanging = || Err("the state directory does not answer".to_owned());
            let left = left.map_or_else(|_late| hanging(), |left| left.unwrap_or_else(|_gone| hanging()));
            // The daemon may have ended meanwhile.
            drop(told.send(left.map_err(|why| {
                Refusal {
                    error: format!("cannot leave a note for the next process: {why}"),
                    hint: Some(
                        "nothing was changed; the routers would be told too late what is no longer announced"
                            .to_owned(),
                    ),
                }
            })));
        });
        self.note = Some((noted, answer));
    }

    /// The note for the next process is written, or not.
    pub(super) fn noted(&mut self, result: Result<(), Refusal>) {
        let Some((_, answer)) = self.note.take() else { return };
        answer.send(match result.and_then(|()| self.may_restart()) {
            Ok(()) => {
                self.ending = Some(Ending::Restart);
                Answer::ok(&Done { message: "restarting".to_owned(), warning: None })
            }
            Err(refusal) => {
                // Written or not: no process follows, and a later one is not to take itself for it.
                self.store.withdraw_announced();
                warn!(reason = refusal.error, "not restarted");
                Answer::conflict(&refusal)
            }
        });
    }

    /// The configuration was read: everybody who asked for it is told what came of it.
    pub(super) fn reloaded(&mut self, Finished { read, askers }: Finished) {
        let names: Vec<&str> = askers.iter().map(Asker::name).collect();
        let by = names.join(", ");
        if askers.iter().all(Asker::is_gone) {
            warn!(by, "not reloaded: the caller has given up");
            return;
        }
        let done = read.and_then(|loaded| self.follow(loaded).map_err(NotReloaded::from));
        match &done {
            Ok(message) => info!(by, "{message}"),
            Err(NotReloaded { refusal: Refusal { error, hint }, in_line }) => {
                let error = in_line.as_ref().unwrap_or(error);
                error!(by, hint = hint.as_deref(), "not reloaded, the running configuration stays: {error}");
            }
        }
        for asker in askers {
            let Asker::Client(_, reply) = asker else { continue };
            reply.send(match &done {
                Ok(message) => Answer::ok(&Done { message: message.clone(), warning: None }),
                Err(refused) => Answer::conflict(&refused.refusal),
            });
        }
    }

    /// Follows the configuration that was read, or leaves everything as it was (I8).
    fn follow(&mut self, Loaded { config, warnings }: Loaded) -> Result<String, Refusal> {
        if self.engine.facts().shutdown.is_some() {
            return Err(Refusal { error: "vipcast is stopping".to_owned(), hint: None });
        }
        let running = self.engine.config();
        let fixed = [
            ("state_dir", config.state_dir != running.state_dir),
            ("control", config.control != running.control),
            ("router_id", config.router_id != running.router_id),
            ("listen", config.listen != running.listen),
        ];
        let changed: Vec<&str> = fixed.iter().filter(|(_, changed)| *changed).map(|(key, _)| *key).collect();
        if !changed.is_empty() {
            return Err(Refusal {
                error: format!("a reload cannot change {}", changed.join(", ")),
                hint: Some(
                    "restart vipcast, or put it back; nothing else of the file was applied".to_owned(),
                ),
            });
        }
        log::set(config.log);
        journal::warn_of(&warnings);
        self.handle(vec![Event::Reload(Arc::new(config))]);
        let keeps = self.engine.keeps();
        let words = |(service, checks): (_, &BTreeSet<CheckName>)| {
            let checks = checks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("\n{service} keeps its verdict until check {checks} has settled")
        };
        let mut message = format!("{} is in force", self.config_path.display());
        message.extend(keeps.iter().take(KEPT_SHOWN).map(words));
        if let Some(more) = keeps.len().checked_sub(KEPT_SHOWN).filter(|more| *more > 0) {
            message += &format!("\n{more} more services keep theirs");
        }
        Ok(message)
    }
}
