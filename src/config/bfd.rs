//! `bfd:` of a peer: `true`, `false`, or a map.

use std::time::Duration;

use super::diagnostic::{Report, Span};
use super::model::Bfd;
use super::read::tree::Node;
use super::read::{Table, value};
use super::{defaults, keys};

/// The fastest interval that any router we tested sustains.
const SHORTEST: Duration = Duration::from_millis(10);
/// Slower than this, BGP's own hold timer is as good.
const LONGEST: Duration = Duration::from_secs(60);

/// `Some(None)`: switched off, even if `peer_defaults` switch it on.
pub(super) fn bfd(node: &Node, key: Span, report: &mut Report) -> Option<Option<Bfd>> {
    value::switch(node, key, "true, false, or `{interval: 300ms, multiplier: 3}`", report, |report| {
        let mut table = Table::open(node, &keys::BFD, "`bfd`", key, report)?;
        let interval = table.field("interval", report, interval);
        let multiplier = table.number("multiplier", "how many packets in a row may be lost", report);
        let strict = table.field("strict", report, value::boolean);
        let min_ttl = table.number("min_ttl", "a TTL", report);
        table.finish(report);
        Some(Bfd {
            interval: interval.or(defaults::BFD_INTERVAL)?,
            multiplier: multiplier.or(defaults::BFD_MULTIPLIER)?,
            strict: strict.or(false)?,
            min_ttl: min_ttl.optional()?,
        })
    })
}

fn interval(node: &Node, key: Span, report: &mut Report) -> Option<Duration> {
    let interval = value::duration_of(node, key, SHORTEST, value::Unit::Milliseconds, report)?;
    if interval > LONGEST {
        report
            .error(node.span, "that is slower than the hold timer of BGP, which needs no BFD")
            .hint(format!("the most is {}s; 50ms to 1s is sensible", LONGEST.as_secs()));
        return None;
    }
    Some(interval)
}
