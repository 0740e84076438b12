//! The commands of operators and their answers: those that set or lift an override are in force at once. For
//! `reload` see [`reload`](crate::reload), for `restart` and `upgrade` see [`handover`](crate::handover).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::effect::Effect;
use crate::engine::{Ends, Event, Force, Forces, Order, Override, Overrides, Scope};
use crate::jobs::{Asker, Job, Reply, Ticket, Unsaved, Way};
use crate::names::{PeerName, ServiceName};
use crate::node::Node;
use crate::now::Now;
use crate::outbox::Outbox;
use crate::preview::Preview;
use crate::record::What;
use crate::words;

/// The longest wait of an answer for the state directory.
const SAVE_PATIENCE: Duration = Duration::from_millis(1500);
/// The longest name and reason of an operator, in characters.
pub const LONGEST_WORDS: usize = 256;

/// A command to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Take services out of traffic.
    Drain {
        services: Services,
        reason: Option<String>,
        /// The length of the drain.
        lasts: Option<Duration>,
        /// Whether it replaces a drain in force that ends later.
        replace: bool,
    },
    /// Take all routes from one peer, gracefully.
    DrainPeer {
        peer: String,
        reason: Option<String>,
        /// The length of the drain.
        lasts: Option<Duration>,
        /// Whether it replaces a drain in force that ends later.
        replace: bool,
    },
    /// Give a drained peer its routes again.
    UndrainPeer { peer: String, reason: Option<String> },
    /// Put services back into traffic.
    Undrain { services: Services, reason: Option<String> },
    /// Count services as healthy, or withhold them, whatever their checks say.
    Force {
        to: Force,
        services: Services,
        reason: Option<String>,
        /// The length of the force.
        lasts: Option<Duration>,
    },
    /// Let the checks of services decide again.
    Clear { services: Services, reason: Option<String> },
    /// Let services that were down take their traffic back.
    Promote { services: Services, reason: Option<String> },
    /// Reload the configuration.
    Reload,
    /// Read the configuration, and answer what a reload would change.
    Preview,
    /// Replace the process by the next one, without losing traffic.
    Restart,
    /// Hand over to the next program, with all sessions.
    Upgrade {
        /// Only test whether it can take over.
        dry: bool,
    },
}

impl Command {
    /// The command in the operator's words.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Drain { .. } | Self::DrainPeer { .. } => "drain",
            Self::Undrain { .. } | Self::UndrainPeer { .. } => "undrain",
            Self::Force { to: Force::Up, .. } => "force-up",
            Self::Force { to: Force::Down, .. } => "force-down",
            Self::Clear { .. } => "clear",
            Self::Promote { .. } => "promote",
            Self::Reload => "reload",
            Self::Preview => "reload --dry-run",
            Self::Restart => "restart",
            Self::Upgrade { dry: false } => "upgrade",
            Self::Upgrade { dry: true } => "upgrade --dry-run",
        }
    }
}

/// The services of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Services {
    /// `--all`.
    All,
    /// One service, by name.
    Service(String),
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The command was carried out.
    Done {
        /// The result, in words.
        message: String,
        /// A warning beside it.
        warning: Option<String>,
    },
    /// The effects of a reload that did not take place.
    Preview(Box<Preview>),
    /// There is no such object.
    NotFound(Refusal),
    /// The command is invalid.
    BadRequest(Refusal),
    /// Not possible at present.
    Conflict(Refusal),
}

/// The reason of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The error.
    pub error: String,
    /// The hint.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal with a hint.
    pub fn new(error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { error: error.into(), hint: Some(hint.into()) }
    }
}

impl Answer {
    /// Carried out, without a warning.
    pub fn done(message: String) -> Self {
        Self::Done { message, warning: None }
    }
}

/// The result of a command, or its refusal.
type Outcome = Result<String, Answer>;

impl Node {
    pub(crate) fn command(
        &mut self,
        ticket: Ticket,
        by: String,
        command: Command,
        now: Now,
        out: &mut Outbox,
    ) {
        let (who, word) = (by.clone(), command.word());
        let reply = match command {
            Command::Drain { services, reason, lasts, replace } => {
                let asked = self.asked(&services, by, reason);
                let drained =
                    asked.and_then(|(scope, order)| self.drain(scope, order, lasts, replace, now, out));
                when_saved(drained, "it will not survive a restart")
            }
            Command::Undrain { services, reason } => {
                let asked = self.asked(&services, by, reason);
                let undrained = asked.map(|(scope, order)| self.undrain(scope, order, now, out));
                when_saved(undrained, "after a restart it is drained again")
            }
            Command::DrainPeer { peer, reason, lasts, replace } => {
                let asked = self.peer(&peer).and_then(|peer| Ok((peer, order(by, reason)?)));
                let drained =
                    asked.and_then(|(peer, order)| self.drain_peer(peer, order, lasts, replace, now, out));
                when_saved(drained, "it will not survive a restart")
            }
            Command::UndrainPeer { peer, reason } => {
                let asked = self.peer(&peer).and_then(|peer| Ok((peer, order(by, reason)?)));
                let undrained = asked.map(|(peer, order)| self.undrain_peer(peer, order, now, out));
                when_saved(undrained, "after a restart it is drained again")
            }
            Command::Force { to, services, reason, lasts } => {
                let asked = self.asked(&services, by, reason);
                let forced = asked.and_then(|(scope, order)| self.force(scope, to, order, lasts, now, out));
                when_saved(forced, "it will not survive a restart")
            }
            Command::Clear { services, reason } => {
                let asked = self.asked(&services, by, reason);
                let cleared = asked.map(|(scope, order)| self.clear(scope, order, now, out));
                when_saved(cleared, "after a restart it is forced again")
            }
            Command::Promote { services, reason } => {
                let asked = self.asked(&services, by, reason);
                let promoted = asked.map(|(scope, order)| self.promote(scope, &order, now, out));
                when_saved(promoted, "after a restart what still waits is held back again")
            }
            Command::Reload => {
                self.ask_for_reload(Asker::client(ticket, by), out);
                Reply::When(Job::Reading)
            }
            Command::Preview => {
                self.ask_for_reload(Asker { dry: true, ..Asker::client(ticket, by) }, out);
                Reply::When(Job::Reading)
            }
            Command::Restart => self.ask_for_replacement(Some(ticket), by, Way::GracefulRestart, out),
            Command::Upgrade { dry } => {
                self.ask_for_replacement(Some(ticket), by, Way::HandOver { dry }, out)
            }
        };
        let refused = match &reply {
            Reply::Now(Answer::Done { .. } | Answer::Preview(_)) | Reply::When(_) => None,
            Reply::Now(Answer::NotFound(no) | Answer::BadRequest(no) | Answer::Conflict(no)) => {
                Some(no.error.clone())
            }
        };
        out.tell(What::Commanded { by: who, command: word.to_owned(), refused });
        match reply {
            Reply::Now(answer) => out.push(Effect::Answer(ticket, answer)),
            Reply::When(Job::Saving { message, lost }) => {
                self.jobs.saving.insert(ticket, (message, lost));
                out.push(Effect::TellWhenSaved(ticket, SAVE_PATIENCE));
            }
            Reply::When(Job::Reading | Job::Replacing) => {}
        }
    }

    /// Takes the result of saving the drains that an answer waits for.
    pub(crate) fn saved(&mut self, ticket: Ticket, result: Result<(), Unsaved>, out: &mut Outbox) {
        let Some((message, lost)) = self.jobs.saving.remove(&ticket) else { return };
        let warning = result.err().map(|unsaved| match unsaved {
            Unsaved::Failed(why) => format!("not saved ({why}): {lost}"),
            Unsaved::NotYet => {
                format!("not saved yet (the state directory does not answer): until it is, {lost}")
            }
        });
        out.push(Effect::Answer(ticket, Answer::Done { message, warning }));
    }

    /// The scope of a command, and its order.
    fn asked(
        &self,
        services: &Services,
        by: String,
        reason: Option<String>,
    ) -> Result<(Scope, Order), Answer> {
        Ok((self.scope(services)?, order(by, reason)?))
    }

    fn drain(
        &mut self,
        scope: Scope,
        order: Order,
        lasts: Option<Duration>,
        replace: bool,
        now: Now,
        out: &mut Outbox,
    ) -> Outcome {
        let drain = set(order, lasts, now, "leave `--for` out to drain until `undrain`")?;
        let before = self.engine.facts().overrides.drains.get(&scope).cloned();
        let event = Event::Drain { scope: scope.clone(), drain: drain.clone(), replace };
        self.engine_events([event], now, out);
        let message = self.drain_message(&scope.to_string(), &drain, before.as_deref(), replace);
        Ok(self.with_wait(message, &scope))
    }

    /// The answer to a drain of `what`, which was drained `before`.
    fn drain_message(
        &self,
        what: &str,
        drain: &Override,
        before: Option<&Override>,
        replace: bool,
    ) -> String {
        let until = until(drain);
        let drain_time = self.engine.config().shutdown.drain_time;
        match before {
            None => format!("draining {what}{until}: withdrawn in {drain_time:?}"),
            Some(before) if replace || drain.outlasts(before) => {
                let until = if drain.ends.is_none() { " until it is lifted".to_owned() } else { until };
                format!("{what} is drained{until} now; it was drained {}", words::set(before))
            }
            Some(before) if before.ends == drain.ends => {
                format!("{what} is drained already, {}", words::set(before))
            }
            Some(before) => format!(
                "{what} stays drained, {}: that is longer, and was not changed; `--replace` makes it shorter",
                words::set(before)
            ),
        }
    }

    fn drain_peer(
        &mut self,
        peer: PeerName,
        order: Order,
        lasts: Option<Duration>,
        replace: bool,
        now: Now,
        out: &mut Outbox,
    ) -> Outcome {
        let drain = set(order, lasts, now, "leave `--for` out to drain until `undrain`")?;
        let before = self.engine.facts().overrides.peers.get(&peer).cloned();
        let event = Event::DrainPeer { peer: peer.clone(), drain: drain.clone(), replace };
        self.engine_events([event], now, out);
        let message = self.drain_message(&format!("peer {peer}"), &drain, before.as_deref(), replace);
        let waits = !self.engine.config().peers.contains_key(&peer);
        Ok(if waits { format!("{message}; it waits for {peer}, which is not configured") } else { message })
    }

    fn undrain_peer(&mut self, peer: PeerName, order: Order, now: Now, out: &mut Outbox) -> String {
        let drained = self.engine.facts().overrides.peers.contains_key(&peer);
        let message = match drained {
            true => format!("peer {peer} no longer drained"),
            false => format!("peer {peer} was not drained"),
        };
        self.engine_events([Event::UndrainPeer(peer, order)], now, out);
        self.with_unread(message, "a drain of it that is in there is lifted when it does")
    }

    /// The peer of a command: one that is configured, or has a waiting drain.
    fn peer(&self, name: &str) -> Result<PeerName, Answer> {
        let configured = &self.engine.config().peers;
        let waiting = &self.engine.facts().overrides.peers;
        let known = configured.get_key_value(name).map(|(name, _)| name);
        let known = known.or_else(|| waiting.get_key_value(name).map(|(name, _)| name));
        known.cloned().ok_or_else(|| {
            let peers = configured.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            Answer::NotFound(Refusal::new(format!("there is no peer {name:?}"), format!("peers: {peers}")))
        })
    }

    fn force(
        &mut self,
        scope: Scope,
        to: Force,
        order: Order,
        lasts: Option<Duration>,
        now: Now,
        out: &mut Outbox,
    ) -> Outcome {
        let with = set(order, lasts, now, "leave `--for` out to force until `clear`")?;
        let (to_word, until) = (to.word(), until(&with));
        let before = self.engine.facts().overrides.forces.get(&scope).map(|(to, was)| (to, Arc::clone(was)));
        self.engine_events([Event::Force { scope: scope.clone(), to, with }], now, out);
        let was = before
            .map(|(to, was)| format!("; it was forced {} {}", to.word(), words::set(&was)))
            .unwrap_or_default();
        let effect = match to {
            Force::Up => "it counts as healthy, whatever its checks say",
            Force::Down => "it is withdrawn now",
        };
        let mut message = format!("{scope} is forced {to_word}{until}: {effect}{was}");
        let drains = &self.engine.facts().overrides.drains;
        let drained = match &scope {
            Scope::Everything => self.engine.stay_cordoned().is_some() || drains.everything.is_some(),
            Scope::Service(service) => self.engine.facts().is_drained(service.as_str()),
        };
        if to == Force::Up && drained {
            message += "; a drain is in force and wins";
        }
        Ok(self.with_wait(message, &scope))
    }

    fn clear(&mut self, scope: Scope, order: Order, now: Now, out: &mut Outbox) -> String {
        let forces = &self.engine.facts().overrides.forces;
        let forced = match &scope {
            Scope::Everything => !forces.is_empty(),
            Scope::Service(service) => forces.of(service.as_str()).is_some(),
        };
        self.engine_events([Event::Clear(scope.clone(), order)], now, out);
        let message = match (forced, scope) {
            (true, scope) => format!("{scope} no longer forced: the checks decide"),
            (false, Scope::Everything) => "nothing was forced".to_owned(),
            (false, Scope::Service(service)) => format!("{service} was not forced"),
        };
        self.with_unread(message, "a force of it that is in there is lifted when it does")
    }

    /// Adds to a message that the override waits for its service.
    fn with_wait(&self, message: String, scope: &Scope) -> String {
        match scope {
            Scope::Service(service) if !self.engine.config().services.contains_key(service) => {
                format!("{message}; it waits for {scope}, which is not configured")
            }
            Scope::Everything | Scope::Service(_) => message,
        }
    }

    fn undrain(&mut self, scope: Scope, order: Order, now: Now, out: &mut Outbox) -> String {
        let drains = &self.engine.facts().overrides.drains;
        let drained = match &scope {
            Scope::Everything => !drains.is_empty(),
            Scope::Service(service) => drains.of(service.as_str()).next().is_some(),
        };
        self.engine_events([Event::Undrain(scope.clone(), order)], now, out);
        let message = match (drained, scope) {
            (true, scope) => format!("{scope} no longer drained"),
            (false, Scope::Everything) => "nothing was drained".to_owned(),
            (false, Scope::Service(service)) => format!("{service} was not drained"),
        };
        let message = match self.engine.stay_cordoned() {
            Some(way_out) => format!("{message}; everything stays drained from outside: {way_out}"),
            None => message,
        };
        self.with_unread(message, "a drain of it that is in there is lifted when it does")
    }

    fn promote(&mut self, scope: Scope, order: &Order, now: Now, out: &mut Outbox) -> String {
        let services = match scope {
            Scope::Everything => self.engine.config().services.keys().cloned().collect(),
            Scope::Service(service) => vec![service],
        };
        let (engine, facts) = (&self.engine, self.engine.facts());
        let is_recovering = |service: &ServiceName| {
            let service = engine.config().services.get(service);
            service.is_some_and(|service| service.vips.iter().any(|vip| facts.recovering.contains_key(vip)))
        };
        let (recovering, others): (Vec<_>, Vec<_>) = services.into_iter().partition(is_recovering);
        let promotion = Override { order: order.clone(), since: now.wall, ends: None };
        let promote = |service: &ServiceName| Event::Promote(service.clone(), promotion.clone());
        // While the state directory is not read, others may be held back in there.
        let unread = others.iter().filter(|_| self.engine.is_unread());
        let events: Vec<Event> = recovering.iter().chain(unread).map(promote).collect();
        self.engine_events(events, now, out);
        let message = match recovering.is_empty() {
            false => format!("{} takes over as soon as it is healthy", list(&recovering)),
            true => format!("not held back: {}", list(&others)),
        };
        self.with_unread(message, "nor does it hold it back when it does")
    }

    /// Adds to a message that the state directory was not read yet, with the consequence.
    fn with_unread(&self, message: String, then: &str) -> String {
        if self.engine.is_unread() {
            format!("{message}; the state directory has not answered yet: {then}")
        } else {
            message
        }
    }

    /// The scope of a command: everything, or a service that is configured or has a waiting override.
    fn scope(&self, services: &Services) -> Result<Scope, Answer> {
        let Services::Service(name) = services else { return Ok(Scope::Everything) };
        let configured = &self.engine.config().services;
        let Overrides { drains, forces: Forces { up, down }, .. } = &*self.engine.facts().overrides;
        let mut waiting =
            [drains, up, down].into_iter().filter_map(|of| of.services.get_key_value(name.as_str()));
        let known = configured.get_key_value(name.as_str()).map(|(name, _)| name);
        let name = known.or(waiting.next().map(|(name, _)| name)).cloned().ok_or_else(|| {
            let services = list(&configured.keys().cloned().collect::<Vec<_>>());
            Answer::NotFound(Refusal::new(
                format!("there is no service {name:?}"),
                format!("services: {services}"),
            ))
        })?;
        Ok(Scope::Service(name))
    }
}

/// The command is already in force: the answer waits a moment, to say whether it survives a restart.
fn when_saved(outcome: Outcome, lost: &'static str) -> Reply {
    match outcome {
        Ok(message) => Reply::When(Job::Saving { message, lost }),
        Err(refusal) => Reply::Now(refusal),
    }
}

/// The override of a command that lasts for this time from now; `None`: until it is lifted. `hint` is for a time that is too
/// long.
fn set(order: Order, lasts: Option<Duration>, now: Now, hint: &str) -> Result<Override, Answer> {
    let ends = |lasts| {
        let (wall, at) = (now.wall.checked_add(lasts).ok()?, now.mono.checked_add(lasts)?);
        Some(Ends { wall, at, at_most: None })
    };
    let too_long = || Answer::BadRequest(Refusal::new("that is too long from now", hint));
    let ends = lasts.map(|lasts| ends(lasts).ok_or_else(too_long)).transpose()?;
    Ok(Override { order, since: now.wall, ends })
}

/// The end of an override, as a part of a message.
fn until(set: &Override) -> String {
    set.ends.map(|ends| format!(" until {:.0}", ends.wall)).unwrap_or_default()
}

/// The operator and the reason, if they are short enough to show.
fn order(by: String, reason: Option<String>) -> Result<Order, Answer> {
    let long = |what: &str, text: &str| {
        let length = text.chars().count();
        (length > LONGEST_WORDS).then(|| {
            Answer::BadRequest(Refusal::new(
                format!("the {what} has {length} characters, and {LONGEST_WORDS} are allowed"),
                "shorten it, or give the number of a ticket",
            ))
        })
    };
    match long("name of the operator", &by).or_else(|| long("reason", reason.as_deref()?)) {
        Some(refusal) => Err(refusal),
        None => Ok(Order { by, reason }),
    }
}

fn list(services: &[ServiceName]) -> String {
    services.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
