//! What a request is answered, as HTTP says it.

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use vipcast_node::commands::Answer as Said;

use super::api::{Done, Refusal};

/// Why a request is not answered with 200. Each is a code of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// 400: the request makes no sense.
    BadRequest,
    /// 404: there is no such path, service or VIP.
    NotFound,
    /// 405: the path has other methods, and these are they.
    NotAllowed(String),
    /// 409: it makes sense, but not now.
    Conflict,
    /// 500: a mistake of the daemon's.
    Broken,
    /// 503: it makes sense, but there is no room for it.
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

    /// What it means, for the document.
    pub(super) fn meaning(&self) -> &'static str {
        match self {
            Self::BadRequest => "The request makes no sense.",
            Self::NotFound => "There is no such service or VIP.",
            Self::NotAllowed(_) => "The path has other methods, which `Allow` names.",
            Self::Conflict => "Not as things are: the daemon stops, or cannot do it now.",
            Self::Broken => "A mistake of the daemon.",
            Self::Unavailable => "Too many clients are connected. Ask again.",
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

    /// The daemon does not answer any more.
    pub(super) fn stopping() -> Self {
        Self::plain(Why::Conflict, "the daemon is stopping")
    }
}

/// What a client is sent: JSON, or why there is none.
pub(super) type Answer = Result<Bytes, Refused>;

/// An answer as JSON, as people read it.
///
/// # Errors
/// There is no JSON for it.
pub(super) fn rendered(answer: &impl Serialize) -> Result<Vec<u8>, Refused> {
    let failed = |error| Refused::plain(Why::Broken, format!("cannot render the answer: {error}"));
    let mut json = serde_json::to_vec_pretty(answer).map_err(failed)?;
    json.push(b'\n');
    Ok(json)
}

/// What the node says of an order.
pub(super) fn of_order(said: Said) -> Answer {
    match said {
        Said::Done { message, warning } => rendered(&Done { message, warning }).map(Bytes::from),
        Said::NotFound(refusal) => Err(Refused::new(Why::NotFound, refusal)),
        Said::BadRequest(refusal) => Err(Refused::new(Why::BadRequest, refusal)),
        Said::Conflict(refusal) => Err(Refused::new(Why::Conflict, refusal)),
    }
}
