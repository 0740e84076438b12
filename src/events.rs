//! Events: records in words, for operators and programs.
//!
//! ```text
//!  thread "journal": Told ─► Event ─► Ring ─┬─► GET /v1/events        (the latest)
//!                                           └─► GET /v1/events/stream (as they happen)
//! ```

pub(crate) mod ring;
pub(crate) mod stream;

use vipcast_node::record::Record;

use crate::control::api::Event;
use crate::journal::Told;

/// The event of a record.
pub(crate) fn event(record: &Record, told: Told) -> Event {
    let Told { kind, level, message, mut fields } = told;
    // These are names and words.
    let mut text = |name: &str| fields.remove(name)?.as_str().map(ToOwned::to_owned);
    Event {
        seq: record.seq,
        at: format!("{:.3}", record.at.wall),
        event: kind,
        level,
        message,
        vip: text("vip"),
        service: text("service"),
        check: text("check"),
        peer: text("peer"),
        by: text("by"),
        reason: text("reason"),
        details: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

#[cfg(test)]
mod tests;
