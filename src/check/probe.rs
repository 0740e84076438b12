//! One probe of one check, whatever its kind: asks, is over at its time-out, and says in words what it saw.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use super::exec::{self, LastRun, Slots};
use super::limit::{Answer, Limit};
use super::report::Outcome;
use super::resolve::Resolver;
use super::tls::Trust;
use super::{http, tcp, words};
use crate::config::model::{Check, CheckKind};
use crate::names::CheckName;

#[cfg(test)]
pub(super) mod tests;

/// What all checks share, each thing with its bounds. Clones are handles to the same.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    /// Names to addresses.
    pub(super) resolver: Resolver,
    /// The authorities that this system trusts.
    pub(super) system_trust: Trust,
    /// How many programs run at the same time.
    pub(super) slots: Slots,
}

/// Probes one check, again and again; keeps what is worth keeping between two probes.
#[derive(Debug)]
pub(super) struct Prober {
    name: CheckName,
    check: Arc<Check>,
    shared: Shared,
    trust: Trust,
    last_run: LastRun,
}

impl Prober {
    pub(super) fn new(name: CheckName, check: Arc<Check>, shared: Shared) -> Self {
        let system = match &check.kind {
            CheckKind::Http(http) => {
                http.tls.as_ref().is_some_and(|tls| tls.ca_file.is_none() && !tls.insecure)
            }
            CheckKind::Tcp(_) | CheckKind::Exec(_) => false,
        };
        let trust = if system { shared.system_trust.clone() } else { Trust::default() };
        Self { name, check, shared, trust, last_run: LastRun::default() }
    }

    /// Asks once. A panic is a failed probe (I4).
    ///
    /// Cancel-safe: dropping it closes the sockets and kills the process group of the probe.
    pub(super) async fn probe(&mut self) -> Outcome {
        let mut started = Instant::now();
        let answer = {
            // Boxed, so that a check that waits for its next probe does not hold the room that a TLS handshake needs.
            let asking = Box::pin(self.ask(&mut started));
            caught(asking).await.unwrap_or_else(|panic| Err(format!("the probe panicked: {panic}")))
        };
        let took = started.elapsed();
        let passed = answer.is_ok();
        let detail = match answer {
            Ok(text) | Err(text) => words::one_line(&text),
        };
        Outcome { passed, detail, took }
    }

    /// The network kinds are over at the time-out here, whatever they wait for; within it they say what they waited for.
    /// `exec` keeps the time itself, because its time does not run while it waits for a slot; it then moves `started`.
    async fn ask(&mut self, started: &mut Instant) -> Answer {
        let Self { name, check, shared, trust, last_run } = self;
        let limit = Limit::starting_now(check.timeout);
        let too_late = || Err(limit.exceeded("no answer"));
        match &check.kind {
            CheckKind::Http(http) => {
                let probe = http::probe(http, limit, &shared.resolver, trust);
                limit.within(probe).await.unwrap_or_else(too_late)
            }
            CheckKind::Tcp(tcp) => {
                let probe = tcp::probe(tcp, limit, &shared.resolver);
                limit.within(probe).await.unwrap_or_else(too_late)
            }
            CheckKind::Exec(exec) => {
                exec::probe(exec, name, check.timeout, &shared.slots, last_run, started).await
            }
        }
    }
}

/// Runs `work`; a panic inside is its error, in the words of the panic.
async fn caught<T>(mut work: Pin<Box<impl Future<Output = T>>>) -> Result<T, String> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => {
            Poll::Ready(Err(match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
                (Some(text), _) => (*text).into(),
                (None, Some(text)) => text.clone(),
                (None, None) => "without a message".into(),
            }))
        }
    })
    .await
}
