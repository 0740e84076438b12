//! `graceful_restart:` of a peer: `true`, `false`, or a map.

use std::time::Duration;

use vipcast_bgp::RestartTime;

use super::diagnostic::{Report, Span};
use super::model::GracefulRestart;
use super::read::tree::Node;
use super::read::{Table, value};
use super::{defaults, keys};

/// The longest restart time without a warning.
const LONG: Duration = Duration::from_secs(120);

/// `Some(None)`: switched off, even if `peer_defaults` switch it on.
pub(super) fn graceful_restart(
    node: &Node,
    key: Span,
    report: &mut Report,
) -> Option<Option<GracefulRestart>> {
    value::switch(node, key, "true, false, or `{restart_time: 20s}`", report, |report| {
        let mut table = Table::open(node, &keys::GRACEFUL_RESTART, "`graceful_restart`", key, report)?;
        let restart_time = table.field("restart_time", report, restart_time);
        let notification = table.field("notification", report, value::boolean);
        table.finish(report);
        Some(GracefulRestart {
            restart_time: restart_time.or(defaults::RESTART_TIME)?,
            notification: notification.or(true)?,
        })
    })
}

fn restart_time(node: &Node, key: Span, report: &mut Report) -> Option<RestartTime> {
    let range = RestartTime::MIN.as_secs()..=RestartTime::MAX.as_secs();
    let time =
        value::whole_seconds(node, key, range, "restart time", report).and_then(RestartTime::from_secs)?;
    if time.duration() > LONG {
        let time = value::show_duration(time.duration());
        report
            .warning(node.span, format!("a dead host would get traffic for {time}"))
            .hint("10 to 30 s is enough for a restart");
    }
    Some(time)
}
