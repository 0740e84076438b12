//! One hook: its place in the ring, and one delivery after the other.

use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use jiff::Timestamp;
use tokio::sync::watch;
use vipcast_node::names::HookName;

use super::definition::{Action, Hook, Webhook};
use super::deliveries::Deliveries;
use super::place::Place;
use super::signature;
use crate::check::kinds::http::status_in_words;
use crate::check::lent::{Lent, Post, Poster, ProgramRunner};
use crate::control::api::Event;
use crate::events::ring::{Batch, Entry, Ring};

/// The first pause before a request is repeated; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A longer value is no variable of a program: the kernel takes 128 KiB (MAX_ARG_STRLEN).
const LONGEST_VARIABLE: usize = 100 * 1024;

/// The task of a hook.
pub(super) struct Worker {
    pub(super) name: HookName,
    pub(super) hook: Hook,
    pub(super) ring: Ring,
    /// Kept for a successor with another definition.
    pub(super) place: Place,
    pub(super) deliveries: Deliveries,
    pub(super) lent: Arc<Lent>,
    /// The position at which it ends.
    pub(super) end: watch::Receiver<Option<u64>>,
}

/// One event for a hook.
struct Delivery<'a> {
    /// With the position of the run: no other event of this host has it.
    id: String,
    event: &'a Event,
    /// What is sent, on one line.
    json: String,
    /// Events before it that the hook has missed.
    missed: u64,
}

/// The means of a hook.
enum Means<'a> {
    Program(ProgramRunner),
    Webhook(&'a Webhook, Box<Poster>),
}

impl Worker {
    /// Runs until the end. Dropping it kills the program that runs, and closes the connection.
    pub(super) async fn run(self) {
        let means = match &self.hook.action {
            Action::Program(program) => {
                Means::Program(ProgramRunner::new(program.clone(), self.name.as_str()))
            }
            Action::Webhook(webhook) => {
                let (http, secret) = (webhook.http.clone(), webhook.secret.as_ref());
                Means::Webhook(webhook, Box::new(Poster::new(http, secret, self.name.as_str(), &self.lent)))
            }
        };
        let mut reader = self.ring.read_at(self.place.now().position);
        self.move_to(reader.position());
        loop {
            let position = reader.position();
            let batch = tokio::select! {
                biased;
                () = self.is_over(position) => return,
                batch = reader.next() => batch,
            };
            if batch.missed > 0 {
                self.place.change(|spot| spot.missed += batch.missed);
                self.deliveries.miss(&self.name, batch.missed);
            }
            self.deliver_all(&means, batch, reader.position()).await;
        }
    }

    /// Delivers a batch that ends at this position.
    async fn deliver_all(&self, means: &Means<'_>, batch: Batch, end: u64) {
        let first = end.saturating_sub(u64::try_from(batch.entries.len()).unwrap_or(u64::MAX));
        // A successor does not miss again what this one has missed.
        self.move_to(first);
        for (position, entry) in (first..).zip(&batch.entries) {
            if let Some(event) = wanted(&self.hook, entry) {
                let (began, is_program) = (Instant::now(), matches!(means, Means::Program(_)));
                self.place.change(|spot| {
                    // A program that is cut off by a reload is not run again; a request is.
                    spot.position = position + u64::from(is_program);
                    spot.under_way = Some(began);
                });
                let delivery = Delivery::new(&self.ring, entry, &event, self.place.now().missed);
                let result = match means {
                    Means::Program(runner) => self.run_program(runner, &delivery).await,
                    Means::Webhook(webhook, poster) => self.post(webhook, poster, &delivery).await,
                };
                self.place.change(|spot| {
                    spot.under_way = None;
                    if result.is_ok() {
                        spot.missed -= delivery.missed;
                    }
                });
                self.deliveries.end(&self.name, began.elapsed(), result);
            }
            self.move_to(position + 1);
            if self.end.borrow().is_some_and(|end| position + 1 >= end) {
                // At a hand-over the rest of the batch is for the next program.
                return;
            }
        }
    }

    fn move_to(&self, position: u64) {
        self.place.change(|spot| spot.position = position);
        self.deliveries.place(&self.name, position);
    }

    /// Pending until the daemon ends, and everything up to this position is delivered. Cancel-safe.
    async fn is_over(&self, position: u64) {
        let mut end = self.end.clone();
        let ended = end.wait_for(|end| end.is_some_and(|end| position >= end)).await.is_ok();
        if !ended {
            // The task is about to be aborted.
            std::future::pending::<()>().await;
        }
    }

    async fn run_program(&self, runner: &ProgramRunner, delivery: &Delivery<'_>) -> Result<(), String> {
        let input = Bytes::from(format!("{}\n", delivery.json));
        let variables = delivery.variables(&self.name, self.hook.timeout);
        runner.run(&self.lent, variables, input, self.hook.timeout).await.map(drop)
    }

    /// Posts until the receiver accepts, refuses for good, or the time is over. At the end of the daemon once.
    async fn post(&self, webhook: &Webhook, poster: &Poster, delivery: &Delivery<'_>) -> Result<(), String> {
        let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let signed = |secret: Option<&[u8]>| {
                let body = delivery.json.clone();
                let now = Timestamp::now().as_second();
                let mut headers = signature::headers(&delivery.id, now, &body, secret)?;
                // Another one may be written.
                if !webhook.http.headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
                    headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
                }
                Ok(Post { headers, body })
            };
            let (cause, is_final) = match poster.post(&self.lent, self.hook.timeout, signed).await {
                Ok(status) if status.is_success() => return Ok(()),
                Ok(status) => (status_in_words(status), is_final(status)),
                Err(cause) => (cause, false),
            };
            poster.renew();
            let waits = spread(pause);
            if is_final || self.is_ending() || began.elapsed() + waits > webhook.retry_for {
                return Err(cause);
            }
            self.deliveries.retry(&self.name);
            let mut end = self.end.clone();
            let ends = end.wait_for(Option::is_some);
            drop(tokio::time::timeout(waits, ends).await);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn is_ending(&self) -> bool {
        self.end.borrow().is_some()
    }
}

impl<'a> Delivery<'a> {
    fn new(ring: &Ring, entry: &Entry, event: &'a Event, missed: u64) -> Self {
        // JSON is UTF-8.
        let json = String::from_utf8(ring.signed(entry, missed)).unwrap_or_default();
        Self { id: ring.id(entry.seq), event, json, missed }
    }

    /// The variables of a program, besides those of the configuration.
    fn variables(&self, hook: &HookName, timeout: Duration) -> Vec<(&'static str, String)> {
        let Event { at, event, level, message, vip, service, check, peer, by, reason, .. } = self.event;
        let always = [
            ("VIPCAST_HOOK", hook.to_string()),
            ("VIPCAST_ID", self.id.clone()),
            ("VIPCAST_AT", at.clone()),
            ("VIPCAST_EVENT", event.word().to_owned()),
            ("VIPCAST_LEVEL", level.word().to_owned()),
            ("VIPCAST_MESSAGE", message.clone()),
            ("VIPCAST_TIMEOUT_MS", timeout.as_millis().to_string()),
        ];
        let perhaps = [
            ("VIPCAST_VIP", vip),
            ("VIPCAST_SERVICE", service),
            ("VIPCAST_CHECK", check),
            ("VIPCAST_PEER", peer),
            ("VIPCAST_BY", by),
            ("VIPCAST_REASON", reason),
        ];
        let perhaps = perhaps.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        let missed = (self.missed > 0).then(|| ("VIPCAST_MISSED", self.missed.to_string()));
        let all = always.into_iter().chain(perhaps).chain(missed);
        all.filter(|(_, value)| value.len() <= LONGEST_VARIABLE && !value.contains('\0')).collect()
    }
}

/// The event, if it is for this hook.
fn wanted(hook: &Hook, entry: &Entry) -> Option<Event> {
    if !hook.may_want(&entry.kind) {
        return None;
    }
    // Our own JSON is readable.
    let event: Event = serde_json::from_slice(&entry.json).ok()?;
    hook.wants(&event).then_some(event)
}

/// The number of events for this hook between two positions, with those of any kind that have left the ring.
pub(super) fn left(hook: &Hook, ring: &Ring, between: Range<u64>) -> u64 {
    let (mut reader, mut left) = (ring.read_at(between.start), 0);
    while reader.position() < between.end
        && let Some(Batch { missed, entries }) = reader.next().now_or_never()
    {
        let first = reader.position().saturating_sub(u64::try_from(entries.len()).unwrap_or(u64::MAX));
        let ours = (first..between.end).zip(&entries).filter(|(_, entry)| wanted(hook, entry).is_some());
        left += missed + u64::try_from(ours.count()).unwrap_or(u64::MAX);
    }
    left
}

/// Whether the same request would be refused again. A missing or wrong signature may be mended meanwhile.
fn is_final(status: StatusCode) -> bool {
    const PASSES: [StatusCode; 5] = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    !status.is_server_error() && !PASSES.contains(&status)
}

/// Three to five quarters of a pause, so that the nodes of a fleet do not come back together.
fn spread(pause: Duration) -> Duration {
    let chance = RandomState::new().hash_one(0_u8) % 512;
    pause.mul_f64(0.75 + f64::from(u32::try_from(chance).unwrap_or(0)) / 1024.0)
}
