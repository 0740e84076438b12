//! The routes of the API, each stated once. A new route is a row here and its handler.
//!
//! ```text
//!              ┌─► server: the handler of a request; 404 and 405 without one
//!  routes! { … }─► client: `client.call(&routes::DRAIN, &request)`, with the types of the row
//!              └─► openapi: `vipcast openapi`
//! ```
//!
//! A `GET` is answered from a [`Snapshot`] by a pure function, or is a stream of events. A `POST` is an order to the node,
//! which answers it.

mod ask;
mod order;

use std::fmt;
use std::marker::PhantomData;

use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::ask::{Ask, Takes, parse_vip};
pub(super) use self::order::Order;
use super::answer::{Refused, Why, rendered};
use super::api::schema::Named;
use super::api::{
    Done, DrainRequest, Event, Events, Explanation, ForceRequest, Preview, Refusal, Schema, ServicesRequest,
    Status, UndrainRequest, UpgradeRequest,
};
use super::snapshot::Snapshot;
use super::view;
use crate::metrics::Format;

/// States each route: its name for the client, method and path, the types of request and answer, the handler, and its
/// description.
macro_rules! routes {
    ($( $(#[doc = $help:literal])+ $name:ident: $method:ident $path:literal, $request:ty => $answer:ty, $handler:expr; )+) => {
        $(
            $(#[doc = $help])+
            pub static $name: Route<$request, $answer> = Route::$method($path, &[$($help),+], $handler);
        )+

        /// Every route.
        pub static ALL: &[&dyn Row] = &[$(&$name),+];
    };
}

routes! {
    /// Peers, checks, VIPs and warnings.
    STATUS: get "/v1/status", () => Status, |snapshot, ()| Ok(view::status(snapshot));

    /// Explains why one VIP is or is not announced, with every fact behind the verdict.
    EXPLAIN: get "/v1/explain/{vip}", IpNet => Explanation, view::explain;

    /// The latest events, oldest first.
    EVENTS: get "/v1/events", () => Events, |snapshot, ()| Ok(snapshot.around.events.all());

    /// Events as they happen, as server-sent events: `id`, `event` (its kind) and `data` (the event as JSON). With
    /// `Last-Event-ID` it goes on behind that event. `event: missed` stands for events that a slow client has lost.
    FOLLOW: follow "/v1/events/stream", () => Event, ();

    /// Metrics for Prometheus, as text of version 0.0.4 or, for a client that accepts it, as OpenMetrics.
    METRICS: text "/metrics", () => String, Handler::Metrics;

    /// The status page.
    PAGE: text "/", () => String, Handler::Page;

    /// Takes services, or all routes of one peer, out of traffic until `undrain`. Each route is first announced with
    /// GRACEFUL_SHUTDOWN, and then withdrawn.
    DRAIN: post "/v1/drain", DrainRequest => Done, Order::drain;

    /// Puts services back into traffic, or gives a peer its routes again.
    UNDRAIN: post "/v1/undrain", UndrainRequest => Done, Order::undrain;

    /// Counts services as healthy, whatever their checks say, until `clear`. Their addresses must be bound, and a drain
    /// wins.
    FORCE_UP: post "/v1/force-up", ForceRequest => Done, Order::force_up;

    /// Withholds services at once, whatever their checks say, until `clear`.
    FORCE_DOWN: post "/v1/force-down", ForceRequest => Done, Order::force_down;

    /// Lets the checks of forced services decide again.
    CLEAR: post "/v1/clear", ServicesRequest => Done, Order::clear;

    /// Lets services that `preempt` holds back after a failure take their traffic back.
    PROMOTE: post "/v1/promote", ServicesRequest => Done, Order::promote;

    /// Reloads the configuration. An invalid configuration changes nothing.
    RELOAD: post "/v1/reload", () => Done, Order::reload;

    /// Reads the configuration, and says what a reload would touch. Changes nothing.
    RELOAD_PREVIEW: post "/v1/reload/preview", () => Preview, Order::preview;

    /// Replaces the daemon by the program on disk without a gap in traffic. Every peer needs `graceful_restart`.
    RESTART: post "/v1/restart", () => Done, Order::restart;

    /// Hands over to the program on disk: sessions, BFD, addresses and routes go on. The answer comes when the program was
    /// rehearsed; then this process becomes that program. A refusal changes nothing.
    UPGRADE: post "/v1/upgrade", UpgradeRequest => Done, Order::upgrade;
}

/// The method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A query.
    Get,
    /// A command.
    Post,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Get => "GET",
            Self::Post => "POST",
        })
    }
}

/// A route with the types of its request and of its answer.
#[derive(Debug)]
pub struct Route<Q, A> {
    path: &'static str,
    help: &'static [&'static str],
    handler: Handler<Q, A>,
    types: PhantomData<fn(Q) -> A>,
}

enum Handler<Q, A> {
    Read(fn(&Snapshot, Q) -> Result<A, Refused>),
    Do(fn(Q) -> Result<Order, Refused>),
    Follow,
    Metrics,
    Page,
}

impl<Q, A> fmt::Debug for Handler<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read(_) => "Read",
            Self::Do(_) => "Do",
            Self::Follow => "Follow",
            Self::Metrics => "Metrics",
            Self::Page => "Page",
        })
    }
}

impl<Q, A> Route<Q, A> {
    const fn get(
        path: &'static str,
        help: &'static [&'static str],
        read: fn(&Snapshot, Q) -> Result<A, Refused>,
    ) -> Self {
        Self { path, help, handler: Handler::Read(read), types: PhantomData }
    }
}

impl<A> Route<(), A> {
    const fn follow(path: &'static str, help: &'static [&'static str], _all: ()) -> Self {
        Self { path, help, handler: Handler::Follow, types: PhantomData }
    }
}

impl Route<(), String> {
    const fn text(path: &'static str, help: &'static [&'static str], handler: Handler<(), String>) -> Self {
        Self { path, help, handler, types: PhantomData }
    }
}

impl<Q, A> Route<Q, A> {
    const fn post(
        path: &'static str,
        help: &'static [&'static str],
        order: fn(Q) -> Result<Order, Refused>,
    ) -> Self {
        Self { path, help, handler: Handler::Do(order), types: PhantomData }
    }
}

impl<Q: Ask, A> Route<Q, A> {
    /// The path of a request with this parameter.
    pub(super) fn target(&self, parameter: &str) -> String {
        self.path.split('{').next().unwrap_or_default().to_owned() + parameter
    }

    pub(super) fn method(&self) -> Method {
        match &self.handler {
            Handler::Read(_) | Handler::Follow | Handler::Metrics | Handler::Page => Method::Get,
            Handler::Do(_) => Method::Post,
        }
    }
}

/// The meaning of a request.
pub enum Asked {
    /// A query, answered from a snapshot.
    Read(Reading),
    /// An order to the node.
    Do(Order),
    /// The stream of events.
    Follow,
    /// The metrics.
    Metrics(Format),
    /// The status page.
    Page,
}

/// The socket of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// The control socket.
    Control,
    /// `api`: read-only.
    Api,
    /// `metrics`: nothing else.
    Metrics,
}

impl Door {
    fn has(self, row: &dyn Row) -> bool {
        match self {
            Self::Control => true,
            Self::Api => row.method() == Method::Get,
            Self::Metrics => row.path() == METRICS.path,
        }
    }
}

/// Makes the JSON of an answer.
pub type Reading = Box<dyn FnOnce(&Snapshot) -> Result<Vec<u8>, Refused> + Send>;

/// A route of any types.
pub trait Row: Sync {
    /// Its method.
    fn method(&self) -> Method;
    /// Its path, with a parameter like `{vip}` at the end or without one.
    fn path(&self) -> &'static str;
    /// The description, line by line.
    fn help(&self) -> &'static [&'static str];
    /// The parts of a request.
    fn takes(&self) -> Takes;
    /// The schema of the request.
    fn request(&self, named: &mut Named) -> Value;
    /// The media type of the answer.
    fn media(&self) -> &'static str;
    /// The schema of the answer, or of each event.
    fn answer(&self, named: &mut Named) -> Value;
    /// The possible refusals.
    fn refusals(&self) -> &'static [Why];
    /// The meaning of a request with this parameter and body, from a client that accepts these types.
    fn asked(&self, parameter: &str, body: &[u8], accept: &str) -> Result<Asked, Refused>;
}

/// The route that takes a request on this socket, and its parameter.
pub(super) fn find<'p>(
    door: Door,
    method: &str,
    path: &'p str,
) -> Result<(&'static dyn Row, &'p str), Refused> {
    let fits = |row: &&'static dyn Row| match row.path().split_once('{') {
        None => (row.path() == path).then_some(""),
        Some((before, _)) => path.strip_prefix(before),
    };
    let all: Vec<&'static dyn Row> = ALL.iter().copied().filter(|row| door.has(*row)).collect();
    let rows: Vec<_> = all.iter().filter_map(|row| Some((*row, fits(row)?))).collect();
    if let Some(found) = rows.iter().find(|(row, _)| row.method().to_string() == method) {
        return Ok(*found);
    }
    let list = |rows: &[&dyn Row]| {
        rows.iter().map(|row| format!("{} {}", row.method(), row.path())).collect::<Vec<_>>().join(", ")
    };
    let error = format!("there is no {method} {path}");
    if rows.is_empty() {
        return Err(Refused::new(Why::NotFound, Refusal::new(error, list(&all))));
    }
    let there: Vec<&dyn Row> = rows.into_iter().map(|(row, _)| row).collect();
    let allowed = there.iter().map(|row| row.method().to_string()).collect::<Vec<_>>().join(", ");
    Err(Refused::new(Why::NotAllowed(allowed), Refusal::new(error, list(&there))))
}

impl<Q: Ask + Send + 'static, A: Serialize + DeserializeOwned + Schema + 'static> Row for Route<Q, A> {
    fn method(&self) -> Method {
        Self::method(self)
    }

    fn path(&self) -> &'static str {
        self.path
    }

    fn help(&self) -> &'static [&'static str] {
        self.help
    }

    fn takes(&self) -> Takes {
        Q::TAKES
    }

    fn request(&self, named: &mut Named) -> Value {
        Q::schema(named)
    }

    fn media(&self) -> &'static str {
        match self.handler {
            Handler::Read(_) | Handler::Do(_) => "application/json",
            Handler::Follow => "text/event-stream",
            Handler::Metrics => "text/plain",
            Handler::Page => "text/html",
        }
    }

    fn answer(&self, named: &mut Named) -> Value {
        A::schema(named)
    }

    fn refusals(&self) -> &'static [Why] {
        match Q::TAKES {
            Takes::Nothing => &[Why::Conflict, Why::Unavailable],
            Takes::Parameter | Takes::Body => {
                &[Why::BadRequest, Why::NotFound, Why::Conflict, Why::Unavailable]
            }
        }
    }

    fn asked(&self, parameter: &str, body: &[u8], accept: &str) -> Result<Asked, Refused> {
        let request = Q::read(parameter, body).map_err(|refusal| Refused::new(Why::BadRequest, refusal))?;
        Ok(match self.handler {
            Handler::Read(read) => Asked::Read(Box::new(move |snapshot| rendered(&read(snapshot, request)?))),
            Handler::Do(order) => Asked::Do(order(request)?),
            Handler::Follow => Asked::Follow,
            Handler::Metrics => Asked::Metrics(Format::accepted(accept)),
            Handler::Page => Asked::Page,
        })
    }
}

#[cfg(test)]
mod tests;
