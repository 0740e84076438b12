//! Events: what happened, in words.

use std::collections::BTreeMap;

use serde_json::Value;

use super::is_default;
use super::macros::api;
use super::words::{EventKind, Level};

api! {
    answer
    /// The latest events, oldest first.
    Events {
        /// The run of the daemon; numbers of events begin anew with each.
        run: String,
        /// The number of events of this run that are no longer here.
        forgotten: u64,
        /// The events.
        events: Vec<Event>,
    }
}

api! {
    answer
    /// An event.
    Event {
        /// Its number in this run of the daemon. Some numbers have no event.
        seq: u64,
        /// The time (RFC 3339).
        at: String,
        /// Its kind.
        event: EventKind,
        /// Its importance.
        level: Level,
        /// The event in words, without its values.
        message: String,
        /// The VIP.
        vip [default]: Option<String>,
        /// The service.
        service [default]: Option<String>,
        /// The check.
        check [default]: Option<String>,
        /// The peer.
        peer [default]: Option<String>,
        /// The operator or program that caused it.
        by [default]: Option<String>,
        /// The reason.
        reason [default]: Option<String>,
        /// Its other values, by name.
        details [default]: BTreeMap<String, Value>,
    }
}

impl Event {
    /// The values behind the message, as in the log.
    pub fn values(&self) -> impl Iterator<Item = (&str, String)> {
        let named = [
            ("vip", &self.vip),
            ("service", &self.service),
            ("check", &self.check),
            ("peer", &self.peer),
            ("by", &self.by),
            ("reason", &self.reason),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        let details = self.details.iter().map(|(name, value)| {
            (name.as_str(), value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned))
        });
        named.chain(details)
    }
}
