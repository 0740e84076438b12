//! What can be asked over the control socket, how HTTP says it, and what is answered.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use vipcast_node::commands::Command as Wish;

use super::api::{DrainRequest, Refusal, ServicesRequest, Status};
use super::caller::Caller;
use super::line::Line;

/// Largest request body.
const MAX_BODY: usize = 64 * 1024;

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
    /// The connection, unless several wait for the same answer.
    line: Option<Line>,
}

impl Reply {
    pub(super) fn to(line: Option<Line>) -> (Self, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender, line }, receiver)
    }

    /// Whether nobody waits for the answer: the client has given up, and does not want the command carried out any more.
    pub fn is_abandoned(&self) -> bool {
        self.sender.is_closed() || self.line.as_ref().is_some_and(Line::is_gone)
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
    /// `POST /v1/…`: something is to be done.
    Do {
        /// What.
        wish: Wish,
        /// For whom the client says it asks.
        by: Option<String>,
    },
}

impl Command {
    fn to(wish: Wish) -> Self {
        Self::Do { wish, by: None }
    }

    /// Whether something follows from it, so that it matters who asks.
    pub(super) fn changes(&self) -> bool {
        match self {
            Self::Status | Self::Explain(_) => false,
            Self::Do { .. } => true,
        }
    }
}

/// Status and body.
#[derive(Debug)]
pub struct Answer {
    pub(super) code: StatusCode,
    pub(super) body: Body,
}

/// What an answer says.
#[derive(Debug)]
pub(super) enum Body {
    /// JSON.
    Text(String),
    /// JSON that several clients share.
    Shared(Bytes),
    /// What becomes JSON elsewhere, because it may be large.
    Status(Box<Status>),
}

impl Answer {
    /// 200 with the whole status.
    pub fn status(status: Status) -> Self {
        Self { code: StatusCode::OK, body: Body::Status(Box::new(status)) }
    }

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

    /// 503: it makes sense, but there is no room for it.
    pub(super) fn unavailable(refusal: &Refusal) -> Self {
        Self::json(StatusCode::SERVICE_UNAVAILABLE, refusal)
    }

    fn json(code: StatusCode, body: &impl Serialize) -> Self {
        match serde_json::to_string_pretty(body) {
            Ok(body) => Self { code, body: Body::Text(body + "\n") },
            Err(error) => {
                Self { code: StatusCode::INTERNAL_SERVER_ERROR, body: Body::Text(error.to_string()) }
            }
        }
    }
}

/// The command in a request, or what to answer instead.
pub(super) async fn command(request: hyper::Request<Incoming>) -> Result<Command, Answer> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let get = method == Method::GET;
    let post = method == Method::POST;
    match path.as_str() {
        "/v1/status" if get => Ok(Command::Status),
        "/v1/drain" if post => {
            let DrainRequest { services, by, reason, for_ms, replace } = body(request).await?;
            let lasts = for_ms.map(Duration::from_millis);
            Ok(Command::Do { wish: Wish::Drain { services, reason, lasts, replace }, by })
        }
        "/v1/undrain" if post => {
            let ServicesRequest { services, reason } = body(request).await?;
            Ok(Command::to(Wish::Undrain { services, reason }))
        }
        "/v1/promote" if post => {
            let ServicesRequest { services, reason } = body(request).await?;
            Ok(Command::to(Wish::Promote { services, reason }))
        }
        "/v1/reload" if post => Ok(Command::to(Wish::Reload)),
        "/v1/restart" if post => Ok(Command::to(Wish::Restart)),
        _ => match path.strip_prefix("/v1/explain/") {
            Some(vip) if get => {
                parse_vip(vip).map(Command::Explain).map_err(|refusal| Answer::bad_request(&refusal))
            }
            _ => Err(Answer::not_found(&Refusal {
                error: format!("there is no {method} {path}"),
                hint: Some(
                    "GET /v1/status, GET /v1/explain/VIP, POST /v1/drain, POST /v1/undrain, POST /v1/promote, \
                     POST /v1/reload, POST /v1/restart"
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
