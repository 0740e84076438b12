//! What an operator asks of the running daemon over the control socket, or by SIGHUP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{debug, error, info, warn};
use vipcast_bgp::{PeerStatus, State};

use super::reload::{Asker, Finished, NotReloaded};
use super::{Daemon, Ending};
use crate::config::Loaded;
use crate::control::Caller;
use crate::control::api::{Done, DrainRequest, Refusal, Services};
use crate::control::server::{Answer, Command, Request};
use crate::control::view::{self, PeerInfo, Surroundings};
use crate::engine::{Drain, DrainClock, Event};
use crate::log;
use crate::names::ServiceName;
use crate::restart;

impl Daemon {
    pub(super) fn answer(&mut self, Request { command, caller, answer }: Request) {
        if answer.is_abandoned() {
            debug!(?command, by = %caller, "not carried out: the caller has given up");
            return;
        }
        let now = Instant::now();
        let answered = match command {
            Command::Status => Answer::status(view::status(&self.engine, &self.surroundings(), now)),
            Command::Explain(vip) => match view::explain(&self.engine, &self.surroundings(), vip, now) {
                Some(explanation) => Answer::ok(&explanation),
                None => Answer::not_found(&Refusal {
                    error: format!("no service has the VIP {vip}"),
                    hint: Some("`vipcast status` lists them".to_owned()),
                }),
            },
            Command::Drain(request) => self.drain(request, caller),
            Command::Undrain(request) => self.undrain(&request.services, &caller),
            Command::Promote(request) => self.promote(&request.services, &caller),
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
        Surroundings {
            peers: peers.chain(waiting).collect(),
            bfd: self.peers.bfd(),
            router_id: self.peers.router_id(),
            warnings: self.peers.troubles().chain(self.exporters.warnings()).collect(),
            announced_by_others: self.exporters.announced().clone(),
            started: self.started,
            config: self.config_path.display().to_string(),
            probes: view::probes(self.runner.lateness()),
        }
    }

    fn drain(&mut self, request: DrainRequest, caller: Caller) -> Answer {
        let DrainRequest { services, by: _, reason, for_ms } = request;
        let services = match self.services(&services) {
            Ok(services) => services,
            Err(answer) => return answer,
        };
        let (since, lasts) = (Timestamp::now(), for_ms.map(Duration::from_millis));
        let until = lasts.map(|lasts| since.checked_add(lasts));
        let (Ok(until), Some(lift_at)) = (
            until.transpose(),
            lasts.map_or(Some(None), |lasts| Instant::now().checked_add(lasts).map(Some)),
        ) else {
            let hint = Some("leave `--for` out to drain until `undrain`".to_owned());
            return Answer::bad_request(&Refusal { error: "that is too long from now".to_owned(), hint });
        };
        let clock = DrainClock { withdraw_at: None, lift_at };
        let drain = Drain { by: caller.name, reason, since, until, clock };
        self.handle(services.iter().map(|service| Event::Drain(service.clone(), drain.clone())).collect());
        let drain_time = self.engine.config().shutdown.drain_time;
        let until = until.map(|until| format!(" until {until:.0}")).unwrap_or_default();
        Answer::ok(&Done {
            message: format!("draining {}{until}: withdrawn in {drain_time:?}", list(&services)),
        })
    }

    fn undrain(&mut self, services: &Services, caller: &Caller) -> Answer {
        let services = match self.services(services) {
            Ok(services) => services,
            Err(answer) => return answer,
        };
        let (drained, others): (Vec<_>, Vec<_>) =
            services.into_iter().partition(|service| self.engine.facts().drains.contains_key(service));
        if !drained.is_empty() {
            info!(by = %caller, services = list(&drained), "undrain");
        }
        self.handle(drained.iter().cloned().map(Event::Undrain).collect());
        let message = match (drained.is_empty(), others.is_empty()) {
            (false, _) => format!("{} no longer drained", list(&drained)),
            (true, _) => format!("{} not drained before either", list(&others)),
        };
        Answer::ok(&Done { message })
    }

    fn promote(&mut self, services: &Services, caller: &Caller) -> Answer {
        let services = match self.services(services) {
            Ok(services) => services,
            Err(answer) => return answer,
        };
        let (engine, facts) = (&self.engine, self.engine.facts());
        let is_recovering = |service: &ServiceName| {
            let service = engine.config().services.get(service);
            service.is_some_and(|service| service.vips.iter().any(|vip| facts.recovering.contains_key(vip)))
        };
        let (recovering, others): (Vec<_>, Vec<_>) = services.into_iter().partition(is_recovering);
        if !recovering.is_empty() {
            info!(by = %caller, services = list(&recovering), "promote");
        }
        self.handle(recovering.iter().cloned().map(Event::Promote).collect());
        let message = match recovering.is_empty() {
            false => format!("{} takes over as soon as it is healthy", list(&recovering)),
            true => format!("{} not held back before either", list(&others)),
        };
        Answer::ok(&Done { message })
    }

    /// Whether a graceful restart would lose nothing.
    fn may_restart(&self) -> Result<(), Refusal> {
        let refuse = |error: String, hint: &str| Err(Refusal { error, hint: Some(hint.to_owned()) });
        if self.engine.facts().shutdown.is_some() {
            return refuse("vipcast is stopping".to_owned(), "start it again when it has stopped");
        }
        if self.rehearsal.is_some() || self.engine.facts().restart.is_some() {
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
        let ready = result.and_then(|()| self.may_restart()).and_then(|()| {
            let vips = self.engine.announced().copied().collect();
            self.state.leave_announced(vips).map_err(|error| Refusal {
                error: format!(
                    "{error}: {}",
                    std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default()
                ),
                hint: None,
            })
        });
        answer.send(match ready {
            Ok(()) => {
                self.ending = Some(Ending::Restart);
                Answer::ok(&Done { message: "restarting".to_owned() })
            }
            Err(refusal) => {
                warn!(reason = refusal.error, "not restarted");
                Answer::conflict(&refusal)
            }
        });
    }

    fn services(&self, services: &Services) -> Result<Vec<ServiceName>, Answer> {
        let configured = &self.engine.config().services;
        match services {
            Services::All => Ok(configured.keys().cloned().collect()),
            Services::Service(name) => match configured.get_key_value(name.as_str()) {
                Some((name, _)) => Ok(vec![name.clone()]),
                None => Err(Answer::not_found(&Refusal {
                    error: format!("there is no service {name:?}"),
                    hint: Some(format!(
                        "services: {}",
                        list(&configured.keys().cloned().collect::<Vec<_>>())
                    )),
                })),
            },
        }
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
                Ok(message) => Answer::ok(&Done { message: message.clone() }),
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
        for warning in warnings.iter() {
            warn!(message = warning.message, "configuration");
        }
        self.handle(vec![Event::Reload(Arc::new(config))]);
        Ok(format!("{} is in force", self.config_path.display()))
    }
}

fn list(services: &[ServiceName]) -> String {
    services.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
