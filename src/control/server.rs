//! The server: one task that accepts, one a connection. A request goes to the daemon and waits for its answer; tasks
//! may be dropped at any await, the daemon then answers into the void.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixListener;
use tokio::net::unix::UCred;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::api::{DrainRequest, Refusal, ServicesRequest};
use super::caller::{self, Caller, Names};
use super::group::{self, Looking};
use super::line::Line;
use crate::config::model::Control;

/// Largest request body.
const MAX_BODY: usize = 64 * 1024;
/// Pause after an error of `accept` itself, such as too many open files.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long the last answers may take.
const FINISH: Duration = Duration::from_secs(1);
/// Requests that wait for the daemon.
const QUEUE: usize = 64;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It cannot be made.
    #[error("cannot make the control socket {}", path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Another daemon answers there.
    #[error("another daemon answers on the control socket {}", path.display())]
    Taken {
        /// Where.
        path: PathBuf,
    },
}

/// A request, and where its answer goes.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub command: Command,
    /// Who asks.
    pub caller: Caller,
    /// Where the answer goes.
    pub answer: Reply,
}

/// Where the answer to a request goes.
#[derive(Debug)]
pub struct Reply {
    sender: oneshot::Sender<Answer>,
    line: Line,
}

impl Reply {
    /// Whether nobody waits for the answer: the client has given up, and does not want the command carried out any more.
    pub fn is_abandoned(&self) -> bool {
        self.sender.is_closed() || self.line.is_gone()
    }

    /// Sends it. A client that has gone meanwhile is no error.
    pub fn send(self, answer: Answer) {
        drop(self.sender.send(answer));
    }
}

/// What can be asked.
#[derive(Debug)]
pub enum Command {
    /// `GET /v1/status`.
    Status,
    /// `GET /v1/explain/VIP`.
    Explain(IpNet),
    /// `POST /v1/drain`.
    Drain(DrainRequest),
    /// `POST /v1/undrain`.
    Undrain(ServicesRequest),
    /// `POST /v1/promote`.
    Promote(ServicesRequest),
    /// `POST /v1/reload`.
    Reload,
    /// `POST /v1/restart`.
    Restart,
}

impl Command {
    /// Whether something follows from it, so that it matters who asks.
    fn changes(&self) -> bool {
        match self {
            Self::Status | Self::Explain(_) => false,
            Self::Drain(_) | Self::Undrain(_) | Self::Promote(_) | Self::Reload | Self::Restart => true,
        }
    }
}

/// Status and JSON body.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    body: String,
}

impl Answer {
    /// 200 with a body.
    pub fn ok(body: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// 404: no such service or VIP.
    pub fn not_found(refusal: &Refusal) -> Self {
        Self::json(StatusCode::NOT_FOUND, refusal)
    }

    /// 400: the request makes no sense.
    pub fn bad_request(refusal: &Refusal) -> Self {
        Self::json(StatusCode::BAD_REQUEST, refusal)
    }

    /// 409: it makes sense, but not now.
    pub fn conflict(refusal: &Refusal) -> Self {
        Self::json(StatusCode::CONFLICT, refusal)
    }

    fn json(status: StatusCode, body: &impl Serialize) -> Self {
        match serde_json::to_string_pretty(body) {
            Ok(body) => Self { status, body: body + "\n" },
            Err(error) => Self { status: StatusCode::INTERNAL_SERVER_ERROR, body: error.to_string() },
        }
    }
}

/// The listening socket. Dropping it removes the file.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    task: JoinHandle<()>,
    /// Ends when the task and every connection have.
    connections: mpsc::Receiver<Infallible>,
    _group: Option<Looking>,
}

impl Server {
    /// Makes the socket and serves it.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub fn start(control: &Control) -> Result<(Self, mpsc::Receiver<Request>), ServerError> {
        let path = control.socket.clone();
        let failed = |source| ServerError::Bind { path: path.clone(), source };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        remove_stale(&path)?;
        let listener = UnixListener::bind(&path).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let group = control.group.as_deref().map(|name| group::give(&path, name));
        let (requests, receiver) = mpsc::channel(QUEUE);
        let (open, connections) = mpsc::channel(1);
        let task = tokio::spawn(accept(listener, requests, open));
        Ok((Self { path, task, connections, _group: group }, receiver))
    }

    /// Accepts nothing more and waits until the answers that were given have left, a second at most.
    pub async fn finish(mut self) {
        self.task.abort();
        // Whoever keeps a connection open does not keep us.
        let _all_gone = tokio::time::timeout(FINISH, self.connections.recv()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        if let Err(error) = fs::remove_file(&self.path) {
            debug!(path = %self.path.display(), %error, "the control socket was gone already");
        }
    }
}

/// A socket file that nobody listens on is left by a crash.
fn remove_stale(path: &Path) -> Result<(), ServerError> {
    let failed = |source| ServerError::Bind { path: path.to_owned(), source };
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(ServerError::Taken { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

async fn accept(listener: UnixListener, requests: mpsc::Sender<Request>, open: mpsc::Sender<Infallible>) {
    let names = Names::new();
    loop {
        match listener.accept().await.and_then(|(stream, _)| Ok((stream.peer_cred()?, Line::new(stream)))) {
            Ok((credentials, line)) => {
                let desk = Desk {
                    requests: requests.clone(),
                    names: names.clone(),
                    credentials,
                    line: line.clone(),
                };
                let service = service_fn(move |request| desk.clone().serve(request));
                let open = open.clone();
                tokio::spawn(async move {
                    let _open = open;
                    let connection = hyper::server::conn::http1::Builder::new();
                    if let Err(error) = connection.serve_connection(TokioIo::new(line), service).await {
                        debug!(%error, "control connection ended early");
                    }
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a control connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// What serves the requests of one connection.
#[derive(Debug, Clone)]
struct Desk {
    requests: mpsc::Sender<Request>,
    names: Names,
    credentials: UCred,
    line: Line,
}

impl Desk {
    async fn serve(self, request: hyper::Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let claim = request.headers().get(caller::CLAIM).and_then(|claim| claim.to_str().ok());
        let claim = claim.map(str::to_owned);
        let answer = match command(request).await {
            Ok(command) => self.ask(command, claim).await,
            Err(answer) => answer,
        };
        let mut response = Response::new(Full::new(Bytes::from(answer.body)));
        *response.status_mut() = answer.status;
        let json = hyper::header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
        Ok(response)
    }

    async fn ask(self, command: Command, claim: Option<String>) -> Answer {
        let claim = claim.or_else(|| match &command {
            Command::Drain(drain) => drain.by.clone(),
            Command::Status
            | Command::Explain(_)
            | Command::Undrain(_)
            | Command::Promote(_)
            | Command::Reload
            | Command::Restart => None,
        });
        let caller = match command.changes() {
            true => self.names.caller(self.credentials, claim.as_deref()).await,
            false => caller::anonymous(self.credentials),
        };
        let (sender, receiver) = oneshot::channel();
        let stopping = Refusal { error: "the daemon is stopping".to_owned(), hint: None };
        let answer = Reply { sender, line: self.line };
        if self.requests.send(Request { command, caller, answer }).await.is_err() {
            return Answer::conflict(&stopping);
        }
        receiver.await.unwrap_or_else(|_dropped| Answer::conflict(&stopping))
    }
}

async fn command(request: hyper::Request<Incoming>) -> Result<Command, Answer> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let get = method == Method::GET;
    let post = method == Method::POST;
    match path.as_str() {
        "/v1/status" if get => Ok(Command::Status),
        "/v1/drain" if post => body(request).await.map(Command::Drain),
        "/v1/undrain" if post => body(request).await.map(Command::Undrain),
        "/v1/promote" if post => body(request).await.map(Command::Promote),
        "/v1/reload" if post => Ok(Command::Reload),
        "/v1/restart" if post => Ok(Command::Restart),
        _ => match path.strip_prefix("/v1/explain/") {
            Some(vip) if get => {
                parse_vip(vip).map(Command::Explain).map_err(|refusal| Answer::bad_request(&refusal))
            }
            _ => Err(Answer::not_found(&Refusal {
                error: format!("there is no {method} {path}"),
                hint: Some(
                    "GET /v1/status, GET /v1/explain/VIP, POST /v1/drain, POST /v1/undrain, POST /v1/reload, \
                     POST /v1/restart"
                        .to_owned(),
                ),
            })),
        },
    }
}

/// A VIP as people write it: an address, or a prefix.
///
/// # Errors
/// It is neither.
pub fn parse_vip(text: &str) -> Result<IpNet, Refusal> {
    let address = text.parse::<std::net::IpAddr>().map(IpNet::from);
    address.or_else(|_not_an_address| text.parse::<IpNet>()).map_err(|_neither| Refusal {
        error: format!("{text:?} is neither an IP address nor a prefix"),
        hint: Some("write it like 192.0.2.10 or 2001:db8::/48".to_owned()),
    })
}

async fn body<T: DeserializeOwned>(request: hyper::Request<Incoming>) -> Result<T, Answer> {
    let refuse = |error: String| Answer::bad_request(&Refusal { error, hint: None });
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
    let bytes = body.map_err(|error| refuse(format!("cannot read the request: {error}")))?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| refuse(format!("cannot understand the request: {error}")))
}
