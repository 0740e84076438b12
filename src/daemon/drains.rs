//! `drain`, `undrain` and `promote`: what is asked, what is in force already, and whether it is saved.

use std::time::Duration;

use jiff::Timestamp;
use vipcast_bgp::net::clock;
use vipcast_node::engine::{Drain, Ends, Event, Order, Scope};
use vipcast_node::names::ServiceName;

use super::Daemon;
use crate::control::Caller;
use crate::control::api::{Done, DrainRequest, LONGEST_WORDS, Refusal, Services, ServicesRequest};
use crate::control::server::{Answer, Reply};
use crate::control::view::drain_words;
use crate::state::Unsaved;

/// How long an answer waits until the state directory has what was asked.
const SAVE_PATIENCE: Duration = Duration::from_millis(1500);

/// What was done, or why not.
type Outcome = Result<String, Answer>;

impl Daemon {
    pub(super) fn drain(&mut self, request: DrainRequest, caller: Caller, answer: Reply) {
        let drained = self.try_drain(request, caller.name);
        self.answer_when_saved(drained, "it will not survive a restart", answer);
    }

    pub(super) fn undrain(&mut self, request: ServicesRequest, caller: Caller, answer: Reply) {
        let undrained = self.try_undrain(request, caller.name);
        self.answer_when_saved(undrained, "after a restart it is drained again", answer);
    }

    fn try_drain(&mut self, request: DrainRequest, by: String) -> Outcome {
        let DrainRequest { services, by: _, reason, for_ms, replace } = request;
        let scope = self.scope(&services)?;
        let order = order(by, reason)?;
        let (since, lasts, now) = (Timestamp::now(), for_ms.map(Duration::from_millis), clock::now());
        let ends = |lasts| {
            Some(Ends { wall: since.checked_add(lasts).ok()?, at: now.checked_add(lasts)?, at_most: None })
        };
        let ends = match lasts {
            None => None,
            Some(lasts) => Some(ends(lasts).ok_or_else(|| {
                let hint = Some("leave `--for` out to drain until `undrain`".to_owned());
                Answer::bad_request(&Refusal { error: "that is too long from now".to_owned(), hint })
            })?),
        };
        let drain = Drain { order, since, ends };
        let before = self.engine.facts().drains.get(&scope).cloned();
        self.handle(vec![Event::Drain { scope: scope.clone(), drain: drain.clone(), replace }]);
        let until = ends.map(|ends| format!(" until {:.0}", ends.wall)).unwrap_or_default();
        let drain_time = self.engine.config().shutdown.drain_time;
        let message = match before {
            None => format!("draining {scope}{until}: withdrawn in {drain_time:?}"),
            Some(before) if replace || drain.outlasts(&before) => {
                let until = if ends.is_none() { " until it is lifted".to_owned() } else { until };
                format!("{scope} is drained{until} now; it was drained {}", drain_words(&before))
            }
            Some(before) if before.ends == drain.ends => {
                format!("{scope} is drained already, {}", drain_words(&before))
            }
            Some(before) => format!(
                "{scope} stays drained, {}: that is longer, and was not changed; `--replace` makes it shorter",
                drain_words(&before)
            ),
        };
        let waits = match &scope {
            Scope::Everything => false,
            Scope::Service(service) => !self.engine.config().services.contains_key(service),
        };
        Ok(if waits { format!("{message}; it waits for {scope}, which is not configured") } else { message })
    }

    fn try_undrain(&mut self, ServicesRequest { services, reason }: ServicesRequest, by: String) -> Outcome {
        let scope = self.scope(&services)?;
        let order = order(by, reason)?;
        let drains = &self.engine.facts().drains;
        let drained = match &scope {
            Scope::Everything => !drains.is_empty(),
            Scope::Service(service) => drains.of(service.as_str()).next().is_some(),
        };
        self.handle(vec![Event::Undrain(scope.clone(), order)]);
        let message = match (drained, scope) {
            (true, scope) => format!("{scope} no longer drained"),
            (false, Scope::Everything) => "nothing was drained".to_owned(),
            (false, Scope::Service(service)) => format!("{service} was not drained"),
        };
        Ok(self.with_unread(message, "a drain of it that is in there is lifted when it does"))
    }

    pub(super) fn promote(
        &mut self,
        ServicesRequest { services, reason }: ServicesRequest,
        caller: Caller,
    ) -> Answer {
        let promoted = self.try_promote(&services, caller.name, reason);
        promoted.map_or_else(|answer| answer, |message| Answer::ok(&Done { message, warning: None }))
    }

    fn try_promote(&mut self, services: &Services, by: String, reason: Option<String>) -> Outcome {
        let order = order(by, reason)?;
        let services = match self.scope(services)? {
            Scope::Everything => self.engine.config().services.keys().cloned().collect(),
            Scope::Service(service) => vec![service],
        };
        let (engine, facts) = (&self.engine, self.engine.facts());
        let is_recovering = |service: &ServiceName| {
            let service = engine.config().services.get(service);
            service.is_some_and(|service| service.vips.iter().any(|vip| facts.recovering.contains_key(vip)))
        };
        let (recovering, others): (Vec<_>, Vec<_>) = services.into_iter().partition(is_recovering);
        let promote = |service: &ServiceName| Event::Promote(service.clone(), order.clone());
        // While the state directory is not read, others may be held back in there.
        let unread = others.iter().filter(|_| self.engine.is_unread());
        self.handle(recovering.iter().chain(unread).map(promote).collect());
        let message = match recovering.is_empty() {
            false => format!("{} takes over as soon as it is healthy", list(&recovering)),
            true => format!("{} not held back before either", list(&others)),
        };
        Ok(self.with_unread(message, "nor does it hold it back when it does"))
    }

    /// Says what becomes of what is in a state directory that was not read yet.
    fn with_unread(&self, message: String, then: &str) -> String {
        if self.engine.is_unread() {
            format!("{message}; the state directory has not answered yet: {then}")
        } else {
            message
        }
    }

    /// It is in force already: the answer waits a moment to say whether it will be after a restart.
    fn answer_when_saved(&self, outcome: Outcome, lost: &'static str, answer: Reply) {
        let message = match outcome {
            Ok(message) => message,
            Err(refusal) => return answer.send(refusal),
        };
        let saved = self.store.drains_saved(SAVE_PATIENCE);
        tokio::spawn(async move {
            let warning = saved.await.err().map(|unsaved| match unsaved {
                Unsaved::Failed(why) => format!("not saved ({why}): {lost}"),
                Unsaved::NotYet => {
                    format!("not saved yet (the state directory does not answer): until it is, {lost}")
                }
            });
            answer.send(Answer::ok(&Done { message, warning }));
        });
    }

    /// What a command is about: everything, or a service that is configured or has a drain that waits for it.
    fn scope(&self, services: &Services) -> Result<Scope, Answer> {
        let Services::Service(name) = services else { return Ok(Scope::Everything) };
        let configured = &self.engine.config().services;
        let waiting = self.engine.facts().drains.services.get_key_value(name.as_str());
        let known = configured.get_key_value(name.as_str()).map(|(name, _)| name);
        let name = known.or(waiting.map(|(name, _)| name)).cloned().ok_or_else(|| {
            let services = list(&configured.keys().cloned().collect::<Vec<_>>());
            let (error, hint) =
                (format!("there is no service {name:?}"), Some(format!("services: {services}")));
            Answer::not_found(&Refusal { error, hint })
        })?;
        Ok(Scope::Service(name))
    }
}

/// Who asks and why, if that is short enough to be shown.
fn order(by: String, reason: Option<String>) -> Result<Order, Answer> {
    let long = |what: &str, text: &str| {
        let length = text.chars().count();
        (length > LONGEST_WORDS).then(|| {
            let error = format!("the {what} has {length} characters, and {LONGEST_WORDS} are allowed");
            let hint = Some("say it shorter, or give the number of a ticket".to_owned());
            Answer::bad_request(&Refusal { error, hint })
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
