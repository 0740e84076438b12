//! What the API wants of the daemon's loop, and how a request of HTTP becomes that.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use vipcast_node::commands::{Answer as Said, Command};

use super::answer::{Refused, Why};
use super::caller::Caller;
use super::line::Line;
use super::routes::{self, Asked, Takes};
use super::snapshot::Snapshot;

/// Largest request body.
const MAX_BODY: usize = 64 * 1024;

/// What the loop is asked for.
#[derive(Debug)]
pub enum Request {
    /// What is so now.
    Snapshot(oneshot::Sender<Box<Snapshot>>),
    /// An order to the node.
    Order {
        /// What is to be done.
        command: Command,
        /// Who wants it.
        caller: Caller,
        /// Where the answer goes.
        reply: Reply,
    },
}

/// Where the answer to an order goes.
#[derive(Debug)]
pub struct Reply {
    sender: oneshot::Sender<Said>,
    line: Line,
}

impl Reply {
    pub(super) fn to(line: Line) -> (Self, oneshot::Receiver<Said>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender, line }, receiver)
    }

    /// Whether nobody waits for the answer: the client has given up, and does not want the order carried out any more.
    pub fn is_abandoned(&self) -> bool {
        self.sender.is_closed() || self.line.is_gone()
    }

    /// Sends it. A client that has gone meanwhile is no error.
    pub fn send(self, said: Said) {
        drop(self.sender.send(said));
    }
}

/// What a request comes to, or what to answer instead.
pub(super) async fn asked(request: hyper::Request<Incoming>) -> Result<Asked, Refused> {
    let (method, path) = (request.method().as_str().to_owned(), request.uri().path().to_owned());
    let (row, parameter) = routes::find(&method, &path)?;
    let body = match row.takes() {
        Takes::Nothing | Takes::Parameter => Bytes::new(),
        Takes::Body => {
            let unread = |error| Refused::plain(Why::BadRequest, format!("cannot read the request: {error}"));
            Limited::new(request.into_body(), MAX_BODY).collect().await.map_err(unread)?.to_bytes()
        }
    };
    row.asked(parameter, &body)
}
