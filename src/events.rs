//! Events: records in words, for operators and programs.
//!
//! ```text
//!  thread "journal": Told ─► Event ─► Ring ─┬─► GET /v1/events        (the latest)
//!                                           ├─► GET /v1/events/stream (as they happen)
//!                                           └─► events.jsonl          (thread "events")
//! ```

pub(crate) mod file;
pub(crate) mod ring;
pub(crate) mod stream;

use serde::Serializer as _;
use serde::ser::{Error as _, SerializeMap};
use serde_json::Value;
use vipcast_node::record::Record;

use crate::journal::Told;

/// The values that have a field of their own in an [`Event`](crate::control::api::Event), in its order.
const NAMED: [&str; 6] = ["vip", "service", "check", "peer", "by", "reason"];

/// The event of a record, as the JSON of an [`Event`](crate::control::api::Event) on one line. It is written at once,
/// because a flush of addresses makes thousands.
pub(crate) fn json(record: &Record, told: &Told) -> Vec<u8> {
    let mut json = Vec::with_capacity(256);
    // It is strings and numbers, and has JSON.
    write(record, told, &mut json).unwrap_or_default();
    json
}

fn write(record: &Record, told: &Told, json: &mut Vec<u8>) -> serde_json::Result<()> {
    let Told { kind, level, message, fields } = told;
    let mut serializer = serde_json::Serializer::new(json);
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("seq", &record.seq)?;
    map.serialize_entry("at", &format_args!("{:.3}", record.at.wall))?;
    map.serialize_entry("event", kind)?;
    map.serialize_entry("level", level)?;
    map.serialize_entry("message", message)?;
    for name in NAMED {
        if let Some((_, value)) = fields.iter().find(|(field, _)| *field == name) {
            // These are names and words.
            map.serialize_entry(name, value.as_str().ok_or_else(|| serde_json::Error::custom(name))?)?;
        }
    }
    if fields.iter().any(|(name, _)| !NAMED.contains(name)) {
        map.serialize_entry("details", &Details(fields))?;
    }
    map.end()
}

/// The other values.
struct Details<'a>(&'a [(&'static str, Value)]);

impl serde::Serialize for Details<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0.iter().filter(|(name, _)| !NAMED.contains(name)).map(|(name, value)| (name, value)),
        )
    }
}

#[cfg(test)]
mod tests;
