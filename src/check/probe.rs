//! One probe of one check, whatever its kind: asks, is over at its time-out, and says in words what it saw.

use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::{Semaphore, SemaphorePermit};
use vipcast_bgp::Instant;
use vipcast_bgp::net::clock;
use vipcast_node::health::report::Outcome;
use vipcast_node::model::{Check, CheckKind};
use vipcast_node::names::CheckName;

use super::asking::Asking;
use super::bells::Bell;
use super::exec::{self, Drained, LastRun, Means, Slots};
use super::file;
use super::interface::Interfaces;
use super::limit::{Answer, Limit};
use super::listener::Listeners;
use super::looks::{LastLook, Looker, Looks};
use super::owners::{Owner, Owners};
use super::process::Watched;
use super::resolve::Resolver;
use super::systemd::{self, Systemds};
use super::tls::{self, SystemTrust, Trust};
use super::turn::{Turns, Waits};
use super::{dns, grpc, http, icmp, interface, listener, process, tcp, udp, words};
use crate::vip::Here;

#[cfg(test)]
pub(super) mod tests;

/// What all checks share, each thing with its bounds.
#[derive(Debug)]
pub(super) struct Shared {
    /// Names to addresses.
    pub(super) resolver: Resolver,
    /// The authorities that this system trusts.
    pub(super) system_trust: SystemTrust,
    /// How many programs run at the same time.
    pub(super) slots: Slots,
    /// How many files are looked at at the same time, also on the way to sockets and for what is `remembered`.
    pub(super) looks: Looks,
    /// How many questions are under way over the network at the same time: each needs a descriptor, and those of BGP
    /// must not run out.
    pub(super) places: Arc<Semaphore>,
    /// Who listens on this host.
    pub(super) listeners: Listeners,
    /// What becomes of its interfaces.
    pub(super) interfaces: Interfaces,
    /// What systemd makes of its units.
    pub(super) systemds: Systemds,
    /// For whom they are asked.
    pub(super) owners: Owners,
    /// The addresses that are on this host.
    pub(super) here: Here,
}

/// An event is no reason to ask sooner after the last question than this: whatever happens how often, the thread is not
/// busy with one check.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

impl Shared {
    /// What the system has, and what is allowed of it; the second ends when the last program has gone.
    pub(super) fn new() -> (Self, Drained) {
        let (slots, drained) = Slots::new();
        let (resolver, system_trust, looks) = (Resolver::system(), SystemTrust::default(), Looks::default());
        let places = Arc::new(Semaphore::new(places()));
        let systemds = Systemds::new(&looks);
        let shared = Self {
            resolver,
            system_trust,
            slots,
            looks,
            places,
            listeners: Listeners::default(),
            interfaces: Interfaces::default(),
            systemds,
            owners: Owners::default(),
            here: Here::default(),
        };
        (shared, drained)
    }
}

/// How many questions may be under way over the network at a time: three quarters of the descriptors that this process may
/// have, but for those that it needs before it asks anything.
fn places() -> usize {
    /// Sockets of BGP and of the control socket, netlink, epoll, the state directory, stderr: 30 with one peer and no client.
    const OTHERS: u64 = 36;
    /// However few descriptors there are: whoever has none fails and says so.
    const LEAST: u64 = 8;
    /// However many there are: more would only make each of them late.
    const MOST: u64 = 4096;
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).map_or(LEAST, |(soft, _)| soft);
    let places = (allowed / 4 * 3).saturating_sub(OTHERS).clamp(LEAST, MOST);
    usize::try_from(places).unwrap_or(Semaphore::MAX_PERMITS)
}

/// Probes one check, again and again; keeps what is worth keeping between two probes.
#[derive(Debug)]
pub(super) struct Prober {
    name: CheckName,
    check: Arc<Check>,
    shared: Arc<Shared>,
    trust: Trust,
    last_run: LastRun,
    watched: Watched,
    told: Told,
    asked: Instant,
    started: Option<Instant>,
    waits: Waits,
    last_look: LastLook,
    server: dns::Server,
}

/// Who tells that something has changed.
#[derive(Debug)]
enum Told {
    /// Nobody: it is polled.
    Never,
    /// A hub.
    By(Bell),
    /// The process that is watched, by dying.
    ByItsEnd,
}

impl Prober {
    pub(super) fn new(name: CheckName, check: Arc<Check>, shared: impl Into<Arc<Shared>>) -> Self {
        let shared = shared.into();
        let (told, tls) = match &check.kind {
            CheckKind::Http(http) => (Told::Never, Some(&http.tls)),
            CheckKind::Tls(tls) => (Told::Never, Some(&tls.options)),
            CheckKind::Grpc(grpc) => (Told::Never, grpc.tls.as_ref()),
            CheckKind::Listener(listener) => (Told::By(shared.listeners.bell(listener)), None),
            CheckKind::Interface(interface) => (Told::By(shared.interfaces.bell(interface)), None),
            CheckKind::Systemd(systemd) => (Told::By(shared.systemds.bell(systemd)), None),
            CheckKind::Process(_) => (Told::ByItsEnd, None),
            CheckKind::Tcp(_)
            | CheckKind::Udp(_)
            | CheckKind::Dns(_)
            | CheckKind::Icmp(_)
            | CheckKind::File(_)
            | CheckKind::Exec(_) => (Told::Never, None),
        };
        let trust = Trust::new(tls, &shared.system_trust);
        Self {
            name,
            check,
            shared,
            trust,
            last_run: LastRun::default(),
            last_look: LastLook::default(),
            watched: Watched::default(),
            server: dns::Server::default(),
            told,
            asked: clock::now(),
            started: None,
            waits: Waits::default(),
        }
    }

    /// Asks once. A panic is a failed probe (I4).
    ///
    /// Cancel-safe: dropping it closes the sockets and kills the process group of the probe.
    pub(super) async fn probe(&mut self) -> Outcome {
        let mut turns = Turns::new(&self.waits);
        self.asked = turns.began;
        let answer = {
            // Boxed, so that a check that waits for its next probe does not hold the room that a TLS handshake needs.
            let asking = Box::pin(self.ask(&mut turns));
            caught(asking).await.unwrap_or_else(|panic| Err(format!("the probe panicked: {panic}")))
        };
        let took = clock::now() - turns.began;
        let passed = answer.is_ok();
        if !passed {
            self.trust.renew_identity();
        }
        let detail = match answer {
            Ok(text) | Err(text) => words::one_line(text),
        };
        self.started = Some(turns.began);
        Outcome { passed, detail, took }
    }

    /// When the last probe began: its turn had come.
    pub(super) fn started(&self) -> Option<Instant> {
        self.started
    }

    /// Whether a probe waits for its turn, also while it does.
    pub(super) fn waits(&self) -> Waits {
        self.waits.clone()
    }

    /// Ends when something has happened that may have changed the answer: an event never decides, it is a reason to ask
    /// now. Never for the kinds that have to be polled.
    ///
    /// Cancel-safe: what happens while nobody waits ends the next wait at once. Who stops waiting does so to ask.
    pub(super) async fn changed(&mut self) {
        match &self.told {
            Told::Never => pending().await,
            Told::By(bell) => bell.rung().await,
            Told::ByItsEnd => self.watched.ended().await,
        }
        let not_before = self.asked + LEAST_PAUSE;
        // A timer is late by up to a millisecond, even when its time has come already.
        if clock::now() < not_before {
            Box::pin(clock::sleep_until(not_before)).await;
        }
    }

    /// Each kind in a box of its own, so that no probe takes the room that the largest of them needs.
    async fn ask(&mut self, turns: &mut Turns) -> Answer {
        let Self { name, check, shared, trust, last_run, last_look, watched, server, .. } = self;
        let limit = Limit::starting_now(check.timeout);
        match &check.kind {
            CheckKind::Http(http) => {
                let turn = Turn::take(name, check, shared, turns).await;
                turn.within(Box::pin(http::probe(http, turn.asking(last_look), trust))).await
            }
            CheckKind::Tcp(tcp) => {
                let turn = Turn::take(name, check, shared, turns).await;
                turn.within(Box::pin(tcp::probe(tcp, turn.asking(last_look)))).await
            }
            CheckKind::Tls(tls) => {
                let turn = Turn::take(name, check, shared, turns).await;
                turn.within(Box::pin(tls::probe(tls, turn.asking(last_look), trust))).await
            }
            CheckKind::Grpc(grpc) => {
                let turn = Turn::take(name, check, shared, turns).await;
                turn.within(Box::pin(grpc::probe(grpc, turn.asking(last_look), trust))).await
            }
            CheckKind::Udp(udp) => {
                let turn = Turn::take(name, check, shared, turns).await;
                turn.within(Box::pin(udp::probe(udp, turn.asking(last_look)))).await
            }
            CheckKind::Dns(dns) => {
                let turn = Turn::take(name, check, shared, turns).await;
                turn.within(Box::pin(dns::probe(dns, turn.asking(last_look), server))).await
            }
            CheckKind::Icmp(icmp) => {
                let turn = Turn::take(name, check, shared, turns).await;
                turn.within(Box::pin(icmp::probe(icmp, turn.asking(last_look)))).await
            }
            CheckKind::File(file) => {
                let owner = shared.owners.of(name).service;
                let looker = Looker { looks: &shared.looks, last: last_look, owner: owner.as_str() };
                Box::pin(file::probe(file, limit, looker)).await
            }
            CheckKind::Exec(exec) => {
                let owner = shared.owners.of(name).service;
                let means =
                    Means { slots: &shared.slots, looks: &shared.looks, owner: owner.as_str(), last_run };
                Box::pin(exec::probe(exec, name, check.timeout, means, turns)).await
            }
            CheckKind::Listener(listener) => {
                Box::pin(listener::probe(listener, &shared.listeners, limit)).await
            }
            CheckKind::Process(process) => {
                let owner = shared.owners.of(name).service;
                let looker = Looker { looks: &shared.looks, last: last_look, owner: owner.as_str() };
                Box::pin(process::probe(process, watched, looker, limit)).await
            }
            CheckKind::Interface(interface) => {
                Box::pin(interface::probe(interface, &shared.interfaces, limit)).await
            }
            CheckKind::Systemd(systemd) => Box::pin(systemd::probe(systemd, &shared.systemds, limit)).await,
        }
    }
}

/// The turn of a question over the network. One that waits for its turn has not begun: its time does not run yet, so that
/// a host with too few descriptors does not turn healthy services into failed ones.
struct Turn<'a> {
    limit: Limit,
    check: &'a Check,
    shared: &'a Shared,
    owner: Owner,
    remark: OnceLock<String>,
    _place: Option<SemaphorePermit<'a>>,
}

impl<'a> Turn<'a> {
    async fn take(name: &CheckName, check: &'a Check, shared: &'a Shared, turns: &mut Turns) -> Self {
        // Never closed, so there is always one in the end.
        let place = turns.take(shared.places.acquire()).await.ok();
        let limit = Limit::starting_now(check.timeout);
        let owner = shared.owners.of(name);
        Self { limit, check, shared, owner, remark: OnceLock::new(), _place: place }
    }

    fn asking<'b>(&'b self, last_look: &'b LastLook) -> Asking<'b> {
        Asking {
            limit: self.limit.watched(),
            resolver: &self.shared.resolver,
            via: &self.check.via,
            owner: &self.owner,
            here: &self.shared.here,
            remark: &self.remark,
            looks: &self.shared.looks,
            last_look,
        }
    }

    /// Over at the time-out, whatever it waits for; before that it says itself what it waited for.
    async fn within(&self, answer: impl Future<Output = Answer>) -> Answer {
        let limit = self.limit;
        let answer = limit.within(answer).await.unwrap_or_else(|| Err(limit.exceeded("no answer")));
        let Some(remark) = self.remark.get() else { return answer };
        let remarked = |text: String| format!("{text} ({remark})");
        answer.map(remarked).map_err(remarked)
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
