//! The server, on its own thread: a task that accepts, a task for each connection, one that makes answers from
//! snapshots, and one that keeps the file of the socket (`control::upkeep`). An order goes to the daemon and waits for
//! its answer. Tasks may be dropped at any await; then the answer is dropped.
//!
//! ```text
//!  thread api                                             main
//!  client ─► connection ─┬─ read ──► board ── Request::Snapshot ─► the loop clones its state
//!                        │             ▲ └─────── Snapshot ◄──────┘
//!                        └─ order ─────┴───── Request::Order ────► the node
//! ```
//!
//! So all queries together cost the loop one snapshot at a time, and each order its own time.
//!
//! **A hand-over** (`Server::freeze`) closes no listening socket: clients that come meanwhile wait in their queues, and
//! the next program accepts them. The connections that were accepted are answered and closed. Streams of events end, and
//! their clients come back with `Last-Event-ID`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt as _};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tracing::debug;
use vipcast_node::model::Config;

use super::answer::{Answer, Refused, Why, metrics, of_order, rendered};
use super::api::Refusal;
use super::board::Board;
use super::body::{self, Body};
use super::caller::{self, Names};
use super::crowd::{Admission, Crowd, Id, Limits};
use super::line::Line;
use super::listener::{self, Client, Listener};
use super::page;
use super::request::asked;
pub use super::request::{Reply, Request};
use super::routes::{Asked, Door, Order};
use super::snapshot::Snapshot;
use super::upkeep::{Upkeep, Where};
use crate::events::ring::Ring;
use crate::events::stream::stream;
use crate::log::{note, trouble};

/// The header with the last event that a client has seen.
const LAST_EVENT_ID: &str = "last-event-id";
/// The pause after an error of `accept` itself, such as too many open files.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// The interval between log lines about such errors.
const TOLD: Duration = Duration::from_secs(60);
/// The interval between looks for silent clients.
const SWEEP: Duration = Duration::from_millis(100);
/// The time for the last answers at the end.
const FINISH: Duration = Duration::from_secs(1);
/// The time for the last answers before a hand-over; an order may wait for its save.
const CLOSING: Duration = Duration::from_secs(2);
/// The time for the first request of a connection that was accepted just before a hand-over.
const FIRST_REQUEST: Duration = if cfg!(test) { CLOSING } else { Duration::from_millis(100) };
/// The most requests that wait for the daemon.
const QUEUE: usize = 64;
/// The largest head of a request, and the most that is read ahead.
const READ_AHEAD: usize = 64 * 1024;
/// The most clients that are refused at the same time.
const REFUSED_AT_ONCE: usize = 16;
/// The time for such a client to send its request.
const REFUSAL_TAKES: Duration = Duration::from_millis(500);

/// The way of the listening sockets to a hand-over.
type Give = oneshot::Sender<Vec<(Door, OwnedFd)>>;

/// The control socket, made as soon as possible. Dropping it removes the file.
#[derive(Debug)]
pub struct Server {
    place: Where,
    /// Dropping it ends the thread.
    stop: Option<oneshot::Sender<Give>>,
    /// Disconnected when the thread ends.
    ended: oneshot::Receiver<Infallible>,
}

/// The listening sockets that one program hands to the next.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    /// The control socket and its file.
    pub(crate) control: Option<(OwnedFd, OwnedFd)>,
    /// `api`.
    pub(crate) api: Option<OwnedFd>,
    /// `metrics`.
    pub(crate) metrics: Option<OwnedFd>,
}

impl Server {
    /// Makes the socket and serves it. A failure is a warning, and is tried again until it succeeds, because no route
    /// depends on commands. The hints are for a daemon that only observes, or one that announces. Waits for the first attempt, at most a few seconds.
    pub async fn start(config: &Config, events: Ring, observes: bool) -> (Self, mpsc::Receiver<Request>) {
        Self::thaw(config, events, observes, Handed::default()).await
    }

    /// The same with the sockets of the program before. One that is missing is made anew.
    pub(crate) async fn thaw(
        config: &Config,
        events: Ring,
        observes: bool,
        handed: Handed,
    ) -> (Self, mpsc::Receiver<Request>) {
        let (api, metrics) = (config.api, config.metrics);
        let Handed { control, api: handed_api, metrics: handed_metrics } = handed;
        let (requests, receiver) = mpsc::channel(QUEUE);
        let (new, listeners) = mpsc::channel(1);
        let (upkeep, place, tried) = Upkeep::new(config.control.clone(), observes, new, control);
        let (stop, stopped) = oneshot::channel();
        let (running, ended) = oneshot::channel();
        let of = |address: Option<SocketAddr>, handed| address.map(|address| (address, handed));
        let (api, metrics) = (of(api, handed_api), of(metrics, handed_metrics));
        let sockets = Sockets { control: listeners, api, metrics };
        let work = move || {
            let _running: oneshot::Sender<Infallible> = running;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(serve(requests, events, sockets, upkeep, stopped)),
                Err(error) => trouble!(%error, "running without the control socket: its thread cannot begin"),
            }
        };
        if let Err(error) = thread::Builder::new().name("api".to_owned()).spawn(work) {
            trouble!(%error, "running without the control socket: it has no thread");
        }
        // An error means that the task has ended.
        drop(tried.await);
        (Self { place, stop: Some(stop), ended }, receiver)
    }

    /// Stops accepting, ends the streams, waits for the last answers, and returns the listening sockets. Requests must be
    /// taken meanwhile. The file of the control socket stays. The boolean is false if the thread hangs.
    pub(crate) fn freeze(&mut self) -> impl Future<Output = (Handed, bool)> + use<> {
        let (give, given) = oneshot::channel();
        // Without its thread there are no sockets.
        let asked = self.stop.take().map(|stop| stop.send(give).is_ok());
        let place = self.place.clone();
        async move {
            let mut handed = Handed::default();
            if asked != Some(true) {
                return (handed, true);
            }
            let listeners = tokio::time::timeout(CLOSING * 2, given).await;
            let hangs = listeners.is_err();
            for (door, listener) in listeners.into_iter().flatten().flatten() {
                match door {
                    Door::Control => handed.control = place.freeze().map(|file| (listener, file)),
                    Door::Api => handed.api = Some(listener),
                    Door::Metrics => handed.metrics = Some(listener),
                }
            }
            (handed, !hangs)
        }
    }

    /// Stops accepting and waits for the last answers, at most a second.
    pub async fn finish(mut self) {
        self.stop = None;
        // An open connection, or the thread, must not delay the end.
        let _ended = tokio::time::timeout(FINISH * 2, &mut self.ended).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop = None;
        self.place.remove();
    }
}

/// The work of the thread.
async fn serve(
    requests: mpsc::Sender<Request>,
    events: Ring,
    sockets: Sockets,
    upkeep: Upkeep,
    stopped: oneshot::Receiver<Give>,
) {
    // Disconnects when the task and all connections have ended.
    let (open, mut connections) = mpsc::channel(1);
    let board = Arc::new(Board::default());
    let closing = watch::Sender::new(false);
    let hall = Hall {
        closing: closing.subscribe(),
        requests: requests.clone(),
        names: Names::new(),
        board: Arc::clone(&board),
        events,
        door: Door::Control,
        limits: Limits::CONTROL,
        crowd: present(Limits::CONTROL),
        open,
        lobby: Arc::new(Semaphore::new(REFUSED_AT_ONCE)),
    };
    let answering = tokio::spawn(async move { board.serve(requests).await });
    let (mut makers, mut accepting) = (vec![tokio::spawn(upkeep.run())], Vec::new());
    for (door, socket) in [(Door::Api, sockets.api), (Door::Metrics, sockets.metrics)] {
        let Some((address, handed)) = socket else { continue };
        let hall = Hall { door, limits: Limits::TCP, crowd: present(Limits::TCP), ..hall.clone() };
        let (new, listeners) = mpsc::channel(1);
        accepting.push((door, tokio::spawn(hall.accept(listeners))));
        makers.push(tokio::spawn(listener::listen(address, handed, new)));
    }
    accepting.push((Door::Control, tokio::spawn(hall.accept(sockets.control))));
    // Only a hand-over sends anything.
    let give = stopped.await;
    makers.iter().for_each(JoinHandle::abort);
    match give {
        Ok(give) => {
            closing.send_replace(true);
            let mut listeners = Vec::new();
            for (door, accepting) in accepting {
                // Here, because the sockets belong to this runtime.
                match accepting.await.ok().flatten().map(Listener::into_descriptor) {
                    Some(Ok(listener)) => listeners.push((door, listener)),
                    Some(Err(error)) => {
                        trouble!(%error, "a listening socket of the API is made anew after the upgrade");
                    }
                    None => {}
                }
            }
            if tokio::time::timeout(CLOSING, connections.recv()).await.is_err() {
                debug!("a client of the API keeps its connection; it is closed for the upgrade");
            }
            // The daemon may have given up.
            drop(give.send(listeners));
        }
        Err(_stop) => {
            accepting.iter().for_each(|(_, accepting)| accepting.abort());
            answering.abort();
            // An open connection must not delay the end.
            let _all_gone = tokio::time::timeout(FINISH, connections.recv()).await;
        }
    }
}

/// Where clients come from.
#[derive(Debug)]
struct Sockets {
    control: mpsc::Receiver<Listener>,
    /// The address, and the socket of the program before.
    api: Option<(SocketAddr, Option<OwnedFd>)>,
    metrics: Option<(SocketAddr, Option<OwnedFd>)>,
}

fn present(limits: Limits) -> Present {
    Arc::new(Mutex::new((Crowd::new(limits), BTreeMap::new())))
}

type Present = Arc<Mutex<(Crowd, BTreeMap<Id, AbortHandle>)>>;

/// The entrance of connections.
#[derive(Debug, Clone)]
struct Hall {
    /// Whether everything is about to be handed over.
    closing: watch::Receiver<bool>,
    door: Door,
    limits: Limits,
    requests: mpsc::Sender<Request>,
    names: Names,
    board: Arc<Board>,
    events: Ring,
    crowd: Present,
    open: mpsc::Sender<Infallible>,
    lobby: Arc<Semaphore>,
}

impl Hall {
    /// Accepts until a hand-over, and returns the socket.
    async fn accept(self, mut listeners: mpsc::Receiver<Listener>) -> Option<Listener> {
        let mut listener = None;
        let mut closing = self.closing.clone();
        let mut troubles = Troubles::default();
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let anybody = !unpoisoned(&self.crowd).0.is_empty();
            let accepted = tokio::select! {
                biased;
                () = closes(&mut closing) => return listener,
                accepted = accept(listener.as_ref()) => accepted,
                Some(new) = listeners.recv() => {
                    listener = Some(new);
                    continue;
                }
                _ = sweep.tick(), if anybody => {
                    let short = self.board.is_memory_short();
                    let overdue = unpoisoned(&self.crowd).0.overdue(short, Instant::now());
                    overdue.into_iter().for_each(|id| self.close(id));
                    continue;
                }
            };
            match accepted {
                Ok((client, line)) => {
                    troubles.over();
                    self.admit(client, line);
                    // Its request may already be sent: it is served before others can take its place.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    troubles.tell(&error);
                    let silent = unpoisoned(&self.crowd).0.longest_silent();
                    if let Some(id) = silent {
                        self.close(id);
                    }
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn admit(&self, client: Client, line: Line) {
        let admission = unpoisoned(&self.crowd).0.admit(client.whose(), Instant::now());
        let id = match admission {
            Admission::Free(id) => id,
            Admission::InPlaceOf(id, other) => {
                debug!(?client, "a silent control connection is closed for another");
                self.close(other);
                id
            }
            Admission::Refused => {
                debug!(?client, "too many control connections");
                let most = self.limits.most;
                // Without room for a refusal the connection is only closed.
                if let Ok(place) = Arc::clone(&self.lobby).try_acquire_owned() {
                    tokio::spawn(async move {
                        let _place = place;
                        refuse(line, most).await;
                    });
                }
                return;
            }
        };
        let (began, mut first) = watch::channel(false);
        let desk = Desk {
            began: Arc::new(began),
            closing: self.closing.clone(),
            requests: self.requests.clone(),
            names: self.names.clone(),
            board: Arc::clone(&self.board),
            events: self.events.clone(),
            seat: Arc::new(Seat { id, crowd: Arc::clone(&self.crowd) }),
            door: self.door,
            client,
            line: line.clone(),
        };
        let seat = Arc::clone(&desk.seat);
        let open = self.open.clone();
        let mut closing = self.closing.clone();
        let task = tokio::spawn(async move {
            let _held = (seat, open);
            let service = service_fn(move |request| desk.clone().serve(request));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.max_buf_size(READ_AHEAD);
            let mut connection = pin!(http.serve_connection(TokioIo::new(line), service));
            let closed = async {
                closes(&mut closing).await;
                // An error means that the connection has ended.
                drop(tokio::time::timeout(FIRST_REQUEST, first.wait_for(|began| *began)).await);
            };
            let served = tokio::select! {
                served = connection.as_mut() => served,
                () = closed => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = served {
                debug!(%error, "control connection ended early");
            }
        });
        unpoisoned(&self.crowd).1.insert(id, task.abort_handle());
    }

    /// Closes a connection that has lost its place.
    fn close(&self, id: Id) {
        let task = unpoisoned(&self.crowd).1.remove(&id);
        if let Some(task) = task {
            task.abort();
        }
    }
}

/// Waits for a hand-over. Cancel-safe.
async fn closes(closing: &mut watch::Receiver<bool>) {
    if closing.wait_for(|closing| *closing).await.is_err() {
        // The server is about to end.
        pending::<()>().await;
    }
}

/// The next connection; pending without a socket. Cancel-safe.
async fn accept(listener: Option<&Listener>) -> io::Result<(Client, Line)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => pending().await,
    }
}

/// Refuses a client after its request, because there is no room.
async fn refuse(mut line: Line, most: usize) {
    let told = async {
        line.readable().await?;
        let refusal = Refusal {
            error: format!("{most} clients are connected already, or too many of this user"),
            hint: Some("`ss -xp` shows whose they are".to_owned()),
        };
        let body = serde_json::to_string(&refusal)?;
        let head = format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        // With unread data the close would be an error at the client.
        while line.read(&mut [0; 4096]).now_or_never().is_some_and(|read| read.is_ok_and(|length| length > 0))
        {
        }
        line.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
        line.shutdown().await
    };
    if let Ok(Err(error)) = tokio::time::timeout(REFUSAL_TAKES, told).await {
        debug!(%error, "a client that was refused has gone");
    }
}

/// The errors of `accept`, logged with a limit.
#[derive(Debug, Default)]
struct Troubles {
    told: Option<Instant>,
    untold: usize,
}

impl Troubles {
    fn tell(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < TOLD) {
            self.untold += 1;
            return;
        }
        trouble!(%error, untold = self.untold, "cannot accept a control connection");
        *self = Self { told: Some(now), untold: 0 };
    }

    fn over(&mut self) {
        if self.untold > 0 {
            note!(untold = self.untold, "control connections are accepted again");
            self.untold = 0;
        }
    }
}

/// A place in the crowd, free again when it is dropped.
#[derive(Debug)]
struct Seat {
    id: Id,
    crowd: Present,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut present = unpoisoned(&self.crowd);
        present.0.leave(self.id);
        present.1.remove(&self.id);
    }
}

/// The service of one connection's requests.
#[derive(Debug, Clone)]
struct Desk {
    /// Whether a request has begun.
    began: Arc<watch::Sender<bool>>,
    closing: watch::Receiver<bool>,
    requests: mpsc::Sender<Request>,
    names: Names,
    board: Arc<Board>,
    events: Ring,
    seat: Arc<Seat>,
    door: Door,
    client: Client,
    line: Line,
}

impl Desk {
    async fn serve(self, request: hyper::Request<Incoming>) -> Result<Response<Body>, Infallible> {
        self.began.send_replace(true);
        let header = |name: &str| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        };
        let (claim, last) = (header(caller::CLAIM), header(LAST_EVENT_ID));
        let path = request.uri().path().to_owned();
        let seat = Arc::clone(&self.seat);
        let mut media = "application/json";
        let answer = match asked(request, self.door).await {
            Ok(asked) => {
                unpoisoned(&seat.crowd).0.works(seat.id);
                match asked {
                    Asked::Read(reading) => self.board.read(path, reading).await,
                    Asked::Metrics(format) => {
                        let path = format!("{path} {}", format.media());
                        let reading = move |snapshot: &Snapshot| metrics(snapshot, format);
                        let text = self.board.read(path, Box::new(reading)).await;
                        media = format.media();
                        text
                    }
                    Asked::Page => return Ok(page::response()),
                    Asked::Do(order) => self.carry_out(order, claim).await,
                    Asked::Follow => {
                        unpoisoned(&seat.crowd).0.streams(seat.id, Instant::now());
                        return Ok(following(&self.events, last.as_deref(), self.closing.clone()));
                    }
                }
            }
            Err(refused) => Err(refused),
        };
        unpoisoned(&seat.crowd).0.answered(seat.id, Instant::now());
        Ok(response(answer, media))
    }

    async fn carry_out(self, Order { command, by }: Order, claim: Option<String>) -> Answer {
        // Over TCP there are no orders.
        let Client::User(credentials) = self.client else { return Err(Refused::read_only()) };
        let caller = self.names.caller(credentials, claim.or(by).as_deref()).await;
        let (reply, receiver) = Reply::to(self.line);
        let order = Request::Order { command, caller, reply };
        let refused = || if *self.closing.borrow() { Refused::handing_over() } else { Refused::stopping() };
        self.requests.send(order).await.map_err(|_closed| refused())?;
        match receiver.await {
            Ok(Some(said)) => of_order(said),
            Ok(None) => Err(Refused::handing_over()),
            Err(_dropped) => Err(refused()),
        }
    }
}

/// The stream, until a hand-over ends it.
fn following(events: &Ring, last: Option<&str>, mut closing: watch::Receiver<bool>) -> Response<Body> {
    let end = Box::pin(async move { closes(&mut closing).await });
    let mut response = Response::new(body::streamed(stream(events, last).take_until(end)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn response(answer: Answer, media: &'static str) -> Response<Body> {
    let (code, body, media, allowed) = match answer {
        Ok(body) => (StatusCode::OK, body, media, None),
        Err(Refused { why, refusal }) => {
            let body = rendered(&refusal).unwrap_or_default().into();
            let allowed = if let Why::NotAllowed(methods) = &why { Some(methods.clone()) } else { None };
            (why.code(), body, "application/json", allowed)
        }
    };
    let mut response = Response::new(body::whole(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    if let Some(allowed) = allowed.and_then(|methods| HeaderValue::from_str(&methods).ok()) {
        headers.insert(ALLOW, allowed);
    }
    response
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
