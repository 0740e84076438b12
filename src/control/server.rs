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

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, oneshot};
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
/// The most requests that wait for the daemon.
const QUEUE: usize = 64;
/// The largest head of a request, and the most that is read ahead.
const READ_AHEAD: usize = 64 * 1024;
/// The most clients that are refused at the same time.
const REFUSED_AT_ONCE: usize = 16;
/// The time for such a client to send its request.
const REFUSAL_TAKES: Duration = Duration::from_millis(500);

/// The control socket, made as soon as possible. Dropping it removes the file.
#[derive(Debug)]
pub struct Server {
    place: Where,
    /// Dropping it ends the thread.
    stop: Option<oneshot::Sender<Infallible>>,
    /// Disconnected when the thread ends.
    ended: oneshot::Receiver<Infallible>,
}

impl Server {
    /// Makes the socket and serves it. A failure is a warning, and is tried again until it succeeds, because no route
    /// depends on commands. The hints are for a daemon that only observes, or one that announces. Waits for the first attempt, at most a few seconds.
    pub async fn start(config: &Config, events: Ring, observes: bool) -> (Self, mpsc::Receiver<Request>) {
        let (api, metrics) = (config.api, config.metrics);
        let (requests, receiver) = mpsc::channel(QUEUE);
        let (new, listeners) = mpsc::channel(1);
        let (upkeep, place, tried) = Upkeep::new(config.control.clone(), observes, new);
        let (stop, stopped) = oneshot::channel();
        let (running, ended) = oneshot::channel();
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
    stopped: oneshot::Receiver<Infallible>,
) {
    // Disconnects when the task and all connections have ended.
    let (open, mut connections) = mpsc::channel(1);
    let board = Arc::new(Board::default());
    let hall = Hall {
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
    let mut tasks =
        vec![tokio::spawn(async move { board.serve(requests).await }), tokio::spawn(upkeep.run())];
    for (door, address) in [(Door::Api, sockets.api), (Door::Metrics, sockets.metrics)] {
        let Some(address) = address else { continue };
        let hall = Hall { door, limits: Limits::TCP, crowd: present(Limits::TCP), ..hall.clone() };
        let (new, listeners) = mpsc::channel(1);
        tasks.push(tokio::spawn(hall.accept(listeners)));
        tasks.push(tokio::spawn(listener::listen(address, new)));
    }
    tasks.push(tokio::spawn(hall.accept(sockets.control)));
    // The channel carries no data, it is only dropped.
    drop(stopped.await);
    tasks.iter().for_each(JoinHandle::abort);
    // An open connection must not delay the end.
    let _all_gone = tokio::time::timeout(FINISH, connections.recv()).await;
}

/// Where clients come from.
#[derive(Debug)]
struct Sockets {
    control: mpsc::Receiver<Listener>,
    api: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
}

fn present(limits: Limits) -> Present {
    Arc::new(Mutex::new((Crowd::new(limits), BTreeMap::new())))
}

type Present = Arc<Mutex<(Crowd, BTreeMap<Id, AbortHandle>)>>;

/// The entrance of connections.
#[derive(Debug, Clone)]
struct Hall {
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
    async fn accept(self, mut listeners: mpsc::Receiver<Listener>) {
        let mut listener = None;
        let mut troubles = Troubles::default();
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let anybody = !unpoisoned(&self.crowd).0.is_empty();
            let accepted = tokio::select! {
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
        let desk = Desk {
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
        let task = tokio::spawn(async move {
            let _held = (seat, open);
            let service = service_fn(move |request| desk.clone().serve(request));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.max_buf_size(READ_AHEAD);
            if let Err(error) = http.serve_connection(TokioIo::new(line), service).await {
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
                        return Ok(following(&self.events, last.as_deref()));
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
        self.requests.send(order).await.map_err(|_closed| Refused::stopping())?;
        receiver.await.map_or_else(|_dropped| Err(Refused::stopping()), of_order)
    }
}

fn following(events: &Ring, last: Option<&str>) -> Response<Body> {
    let mut response = Response::new(body::streamed(stream(events, last)));
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
