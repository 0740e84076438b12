//! The interface of a kind of check: a configuration key with a reader, the definition that the reader makes, and the
//! probe.
//!
//! ```text
//!   Kind ── read ──► Definition ── probe ──► Probe ── ask, changed ──► Answer
//!   one            one a check             one a check, with its state between probes
//! ```
//!
//! A kind is a folder of [`kinds`](super::kinds) and a line there. No other code distinguishes the kinds.

use std::any::Any;
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use vipcast_node::model::{Check, Question, Service};
use vipcast_node::names::ServiceName;

use super::context::ProbeContext;
use super::file_reader::LastRead;
use super::limit::Answer;
use super::permit::Attempt;
use super::shared::Shared;
use super::target::Transport;
use super::tls::{TlsOptions, Trust};
use crate::config::diagnostic::{Report, Span};
use crate::config::keys::section::{Key, Section};
use crate::config::read::target::Around;
use crate::config::read::tree::Node;

/// A kind of check, for the configuration and its reference.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Its key under a check.
    pub(crate) key: Key,
    /// The sections of the configuration that it brings along.
    pub(crate) sections: &'static [&'static Section],
    /// Makes a definition of the value of its key.
    pub(crate) read: Read,
    /// Whether it looks at this host, so that no source address and no interface lead to what it asks.
    pub(crate) is_local: bool,
    /// The source of events; `None`: the kind is polled. The answer of a told kind is certain: one result is enough.
    pub(crate) told_by: Option<&'static str>,
}

/// Reads the value of a kind's key.
pub(crate) type Read = fn(&Node, Span, &Around, &mut Report) -> Option<Arc<dyn Definition>>;

/// What a check asks, as the configuration says it.
pub(crate) trait Definition: Same + fmt::Debug + Send + Sync {
    /// The target of the check.
    fn reach(&self) -> Reach<'_>;

    /// The port that it asks; `None` if it asks no port.
    fn port(&self) -> Option<(Transport, u16)> {
        None
    }

    /// Reports what cannot be done within the time-out of the check, which is written at `span`.
    fn look_at_timeout(&self, _timeout: Duration, _span: Span, _report: &mut Report) {}

    /// The same for a check that these services name, where that makes a difference.
    fn of_services(&self, _services: &[(&ServiceName, &Service)]) -> Option<Arc<dyn Definition>> {
        None
    }

    /// Asks it.
    fn probe(self: Arc<Self>, shared: &Shared) -> Box<dyn Probe>;
}

/// The target of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach<'a> {
    /// This host itself.
    Local,
    /// A socket of this host.
    Socket,
    /// A host over the network, by its name or address.
    Network(&'a str),
}

impl<'a> Reach<'a> {
    /// Of a check that asks `host`, or the socket of the dial where there is one.
    pub(crate) fn of(host: &'a str, dial: &super::target::Dial) -> Self {
        if dial.unix.is_some() { Self::Socket } else { Self::Network(host) }
    }
}

/// Asks the question of one check, again and again.
pub(crate) trait Probe: fmt::Debug + Send {
    /// Asks once. Cancel-safe: dropping it closes the sockets and kills the process group of the probe.
    fn ask<'a>(&'a mut self, attempt: Attempt<'a>) -> Asking<'a>;

    /// Ends when something has happened that may have changed the answer. Cancel-safe: what happens while nobody waits ends the
    /// next wait at once.
    fn changed(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(pending())
    }

    /// The last probe failed: what is remembered may be why.
    fn failed(&mut self) {}
}

/// A definition that is asked over the network, and that keeps nothing of the last answer.
pub(super) trait Ask: Definition {
    /// Asks once.
    fn ask<'a>(&'a self, context: ProbeContext<'a>, trust: &'a Trust) -> Asking<'a>;

    /// What TLS is done with, where there is any.
    fn tls(&self) -> Option<&TlsOptions> {
        None
    }
}

/// The probe of such a definition.
#[derive(Debug)]
pub(super) struct Polled<D> {
    definition: Arc<D>,
    last_read: LastRead,
    trust: Trust,
}

impl<D: Ask> Polled<D> {
    /// A probe that waits for its first permit.
    pub(super) fn new(definition: Arc<D>, shared: &Shared) -> Box<Self> {
        let trust = Trust::new(definition.tls(), &shared.system_trust);
        Box::new(Self { definition, last_read: LastRead::default(), trust })
    }
}

impl<D: Ask> Probe for Polled<D> {
    fn ask<'a>(&'a mut self, attempt: Attempt<'a>) -> Asking<'a> {
        Box::pin(async move {
            let permit = attempt.permit().await;
            permit.within(self.definition.ask(permit.context(&self.last_read), &self.trust)).await
        })
    }

    fn failed(&mut self) {
        self.trust.renew_identity();
    }
}

/// A question under way.
pub(crate) type Asking<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// Any value that can be compared with another of its type.
pub(crate) trait Same: Any {
    fn equals(&self, other: &dyn Any) -> bool;
}

impl<T: Any + PartialEq> Same for T {
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<Self>().is_some_and(|other| self == other)
    }
}

/// A definition as the node has it.
struct Opaque(Arc<dyn Definition>);

impl PartialEq for Opaque {
    fn eq(&self, other: &Self) -> bool {
        Same::equals(&*self.0, &*other.0)
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The question of a definition, for the node.
pub(crate) fn question(definition: Arc<dyn Definition>) -> Question {
    Question::new(Opaque(definition))
}

/// What a check asks.
pub(crate) fn definition(check: &Check) -> &Arc<dyn Definition> {
    behind(&check.question)
}

/// The definition that a question was made from.
pub(super) fn behind(question: &Question) -> &Arc<dyn Definition> {
    let asked: Option<&Opaque> = question.downcast_ref();
    &asked.expect("every question of this program is made by `question`").0
}

impl Kind {
    /// A kind that asks over the network and is polled.
    pub(super) const fn new(key: Key, sections: &'static [&'static Section], read: Read) -> Self {
        Self { key, sections, read, is_local: false, told_by: None }
    }

    /// It looks at this host.
    pub(super) const fn local(self) -> Self {
        Self { is_local: true, ..self }
    }

    /// It hears of changes by itself.
    pub(super) const fn told_by(self, teller: &'static str) -> Self {
        Self { told_by: Some(teller), ..self }
    }
}

/// States a kind: what its key means and holds, the sections that it brings, and its reader.
macro_rules! kind {
    ($(#[doc = $doc:literal])+ $key:ident: $shape:expr, [$($section:expr),*], $read:path) => {
        $crate::check::kind::Kind::new(
            $crate::config::keys::section::Key::new(
                stringify!($key),
                $shape,
                &[concat!("[`", stringify!($key), "`](#", stringify!($key), "):"), $($doc),+],
            ),
            &[$($section),*],
            |node, key, around, report| Some(std::sync::Arc::new($read(node, key, around, report)?)),
        )
    };
}

pub(super) use kind;
