//! Requests of the API to the daemon's loop, made from HTTP requests.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::ACCEPT;
use tokio::sync::oneshot;
use vipcast_node::commands::{Answer as Said, Command};

use super::answer::{Refused, Why};
use super::caller::Caller;
use super::line::Line;
use super::routes::{self, Asked, Door, Takes};
use super::snapshot::Snapshot;

/// The largest request body.
const MAX_BODY: usize = 64 * 1024;

/// A request to the loop.
#[derive(Debug)]
pub enum Request {
    /// Take a snapshot.
    Snapshot(oneshot::Sender<Box<Snapshot>>),
    /// An order to the node.
    Order {
        /// The command.
        command: Command,
        /// The caller.
        caller: Caller,
        /// The channel of the answer.
        reply: Reply,
    },
}

/// The channel of the answer to an order.
#[derive(Debug)]
pub struct Reply {
    /// `None`: the next program answers.
    sender: oneshot::Sender<Option<Said>>,
    line: Line,
}

impl Reply {
    pub(super) fn to(line: Line) -> (Self, oneshot::Receiver<Option<Said>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender, line }, receiver)
    }

    /// Whether the client has given up; then the order is not carried out.
    pub fn is_abandoned(&self) -> bool {
        self.sender.is_closed() || self.line.is_gone()
    }

    /// Sends the answer. A client that has gone is no error.
    pub fn send(self, said: Said) {
        drop(self.sender.send(Some(said)));
    }

    /// Tells the client to ask the next program, because this one hands over and takes no order any more.
    pub fn hand_over(self) {
        drop(self.sender.send(None));
    }
}

/// The meaning of a request, or its refusal.
pub(super) async fn asked(request: hyper::Request<Incoming>, door: Door) -> Result<Asked, Refused> {
    let (method, path) = (request.method().as_str().to_owned(), request.uri().path().to_owned());
    let (row, parameter) = routes::find(door, &method, &path)?;
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let accept = accept.to_owned();
    let body = match row.takes() {
        Takes::Nothing | Takes::Parameter => Bytes::new(),
        Takes::Body => {
            let unread = |error| Refused::plain(Why::BadRequest, format!("cannot read the request: {error}"));
            Limited::new(request.into_body(), MAX_BODY).collect().await.map_err(unread)?.to_bytes()
        }
    };
    row.asked(parameter, &body, &accept)
}
