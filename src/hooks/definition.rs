//! A hook as the configuration says it.

use std::collections::BTreeSet;
use std::time::Duration;

use vipcast_node::model::Question;
use vipcast_node::names::ServiceName;

use crate::check::kinds::exec::ExecCheck;
use crate::check::kinds::http::HttpCheck;
use crate::check::password::PasswordSource;
use crate::control::api::{Event, EventKind, Level};

/// One entry under `hooks:`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hook {
    /// The events that it is told.
    pub(crate) on: On,
    /// Only events of these services; empty: all events.
    pub(crate) services: BTreeSet<ServiceName>,
    /// The longest time of a run, or of a request.
    pub(crate) timeout: Duration,
    pub(crate) action: Action,
}

/// `on:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum On {
    /// All but those that are of interest only when something is examined.
    Usual,
    /// These kinds, by their words.
    Kinds(BTreeSet<String>),
}

/// What a hook does with an event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Runs a program. The check has no service and no VIP.
    Program(ExecCheck),
    /// Posts to a URL.
    Webhook(Box<Webhook>),
}

/// `url:` and what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Webhook {
    /// The request, without a body.
    pub(crate) http: HttpCheck,
    /// Signs the requests.
    pub(crate) secret: Option<PasswordSource>,
    /// The time for which an event is tried again.
    pub(crate) retry_for: Duration,
}

impl Hook {
    /// A hook as the node has it.
    pub(crate) fn opaque(self) -> Question {
        Question::new(self)
    }

    /// The hook that the node has.
    pub(crate) fn of(opaque: &Question) -> &Self {
        opaque.downcast_ref().expect("every hook of this program is made by `opaque`")
    }

    /// Whether an event of this kind may be for it.
    pub(super) fn may_want(&self, kind: &EventKind) -> bool {
        match &self.on {
            On::Usual => true,
            On::Kinds(kinds) => kinds.contains(kind.word()),
        }
    }

    /// Whether an event is for it.
    pub(super) fn wants(&self, event: &Event) -> bool {
        let of_kind = match &self.on {
            On::Usual => event.level != Level::Debug,
            On::Kinds(kinds) => kinds.contains(event.event.word()),
        };
        let of_service = || event.service.as_deref().is_some_and(|service| self.services.contains(service));
        of_kind && (self.services.is_empty() || of_service())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, level: Level, service: Option<&str>) -> Event {
        Event {
            seq: 1,
            at: String::new(),
            event: kind,
            level,
            message: String::new(),
            vip: None,
            service: service.map(str::to_owned),
            check: None,
            peer: None,
            by: None,
            reason: None,
            details: [].into(),
        }
    }

    #[test]
    fn a_hook_is_told_what_it_asks_for() {
        let hook = |on, services: &[&str]| Hook {
            on,
            services: services.iter().map(|service| ServiceName::from(*service)).collect(),
            timeout: Duration::from_secs(1),
            action: Action::Program(ExecCheck::default()),
        };
        let kinds = || On::Kinds(["withdrawn".to_owned(), "check_falling".to_owned()].into());
        let withdrawn = || event(EventKind::Withdrawn, Level::Warning, Some("web"));
        let up = || event(EventKind::SessionUp, Level::Info, None);
        let falling = || event(EventKind::CheckFalling, Level::Debug, None);
        let all = || [withdrawn(), up(), falling()];
        let wanted = |hook: &Hook| all().map(|event| hook.may_want(&event.event) && hook.wants(&event));
        assert_eq!(wanted(&hook(On::Usual, &[])), [true, true, false]);
        assert_eq!(wanted(&hook(On::Usual, &["web"])), [true, false, false]);
        assert_eq!(wanted(&hook(On::Usual, &["dns"])), [false, false, false]);
        assert_eq!(wanted(&hook(kinds(), &[])), [true, false, true]);
        assert_eq!(wanted(&hook(kinds(), &["dns", "web"])), [true, false, false]);
    }
}
