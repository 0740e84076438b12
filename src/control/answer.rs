//! The answer to a request, in HTTP.

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use vipcast_node::commands::Answer as Said;

use super::api::{Done, Refusal};
use super::snapshot::Snapshot;
use super::view;
use crate::metrics::{self, Format};

/// The reason of an answer other than 200. Each is a status of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// 400: the request is invalid.
    BadRequest,
    /// 404: there is no such path, service or VIP.
    NotFound,
    /// 405: the path has only these other methods.
    NotAllowed(String),
    /// 409: the request is valid, but not possible now.
    Conflict,
    /// 500: an error of the daemon.
    Broken,
    /// 503: the request is valid, but too many clients are connected, or the next program takes over.
    Unavailable,
}

impl Why {
    pub(super) fn code(&self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::NotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Broken => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The description, for the OpenAPI document.
    pub(super) fn meaning(&self) -> &'static str {
        match self {
            Self::BadRequest => "The request is invalid.",
            Self::NotFound => "There is no such service or VIP.",
            Self::NotAllowed(_) => "The path has other methods, which `Allow` lists.",
            Self::Conflict => "Not possible now: the daemon is stopping, or cannot do it at present.",
            Self::Broken => "An error of the daemon.",
            Self::Unavailable => {
                "Too many clients are connected, or the daemon is being upgraded. Ask again."
            }
        }
    }
}

/// A request that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub(super) why: Why,
    pub(super) refusal: Refusal,
}

impl Refused {
    pub(super) fn new(why: Why, refusal: Refusal) -> Self {
        Self { why, refusal }
    }

    /// Without a hint.
    pub(super) fn plain(why: Why, error: impl Into<String>) -> Self {
        Self::new(why, Refusal { error: error.into(), hint: None })
    }

    /// An order over TCP.
    pub(super) fn read_only() -> Self {
        let hint = "give orders on the control socket";
        Self::new(Why::NotAllowed("GET".into()), Refusal::new("this address is read-only", hint))
    }

    /// An order that must wait for the next program. Our own client asks again.
    pub(super) fn handing_over() -> Self {
        Self::new(Why::Unavailable, Refusal::new("vipcast hands over to the next program", "ask again"))
    }

    /// The daemon does not answer any more.
    pub(super) fn stopping() -> Self {
        Self::plain(Why::Conflict, "the daemon is stopping")
    }
}

/// The answer to a client: JSON, or a refusal.
pub(super) type Answer = Result<Bytes, Refused>;

/// An answer as readable JSON.
///
/// # Errors
/// There is no JSON for it.
pub(super) fn rendered(answer: &impl Serialize) -> Result<Vec<u8>, Refused> {
    let failed = |error| Refused::plain(Why::Broken, format!("cannot render the answer: {error}"));
    let mut json = serde_json::to_vec_pretty(answer).map_err(failed)?;
    json.push(b'\n');
    Ok(json)
}

/// The metrics of a snapshot.
///
/// # Errors
/// There is no text for them.
pub(super) fn metrics(snapshot: &Snapshot, format: Format) -> Result<Vec<u8>, Refused> {
    let failed = |_| Refused::plain(Why::Broken, "cannot render the metrics");
    metrics::render(snapshot, format).map(String::into_bytes).map_err(failed)
}

/// The node's answer to an order.
pub(super) fn of_order(said: Said) -> Answer {
    match said {
        Said::Done { message, warning } => rendered(&Done { message, warning }).map(Bytes::from),
        Said::Preview(preview) => rendered(&view::preview(&preview)).map(Bytes::from),
        Said::NotFound(refusal) => Err(Refused::new(Why::NotFound, refusal)),
        Said::BadRequest(refusal) => Err(Refused::new(Why::BadRequest, refusal)),
        Said::Conflict(refusal) => Err(Refused::new(Why::Conflict, refusal)),
    }
}
