//! Reads the `icmp` kind: echo requests, and the share that may be lost.

use std::time::Duration;

use super::{COUNT, KEYS, LOSS, SIZE, SPACING};
use crate::check::kinds::icmp::IcmpCheck;
use crate::config::diagnostic::{Report, Span};
use crate::config::read::target::Around;
use crate::config::read::target::host;
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Table, expected, short, value};

/// Faster than this, routers and hosts begin to drop them.
const LEAST_SPACING: Duration = Duration::from_millis(1);

/// `icmp: host`, or `icmp: {host: …}`.
pub(super) fn read(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<IcmpCheck> {
    if let Value::Scalar(_) = &node.value {
        let written = host(node, key, report)?;
        let host = around.host.clone().unwrap_or(written);
        return Some(IcmpCheck { host, ..IcmpCheck::default() });
    }
    let mut table = Table::open(node, &KEYS, "`icmp`", key, report)?;
    let host = match (table.field("host", report, host), &around.host) {
        (Field::Absent, None) => {
            report
                .error(key, "`host` is missing")
                .hint("the host to ask: `host: 192.0.2.1`, or `host` of the check");
            None
        }
        (Field::Broken, _) => None,
        (Field::Absent | Field::Set(_), Some(host)) => Some(host.clone()),
        (Field::Set(host), None) => Some(host.value),
    };
    let count = table.number("count", "a number of packets", report);
    let size = table.number("size", "a number of bytes", report);
    let loss = table.field("loss", report, loss);
    let spacing =
        table.field("spacing", report, |node, key, report| value::duration(node, key, LEAST_SPACING, report));
    table.finish(report);
    Some(IcmpCheck {
        host: host?,
        count: count.or(COUNT)?,
        loss: loss.or(LOSS)?,
        size: size.or(SIZE)?,
        spacing: spacing.or(SPACING)?,
    })
}

/// `34%`: what may be lost; never all.
fn loss(node: &Node, key: Span, report: &mut Report) -> Option<u8> {
    const WHAT: &str = "a percentage, 0% to 99%";
    let written = value::text(node, key, WHAT, report)?;
    let number = written.strip_suffix('%').map(str::trim_end).unwrap_or_default();
    match number.parse::<u8>() {
        Ok(percent) if percent < 100 && number.bytes().all(|b| b.is_ascii_digit()) => Some(percent),
        Ok(100) => {
            report
                .error(node.span, "the check always passes when all may be lost")
                .hint("with `99%`, one answer is enough");
            None
        }
        Ok(_) | Err(_) => {
            let diagnostic = expected(node, key, WHAT, report);
            if written.parse::<u8>().is_ok() {
                diagnostic.hint(format!("write `{}%`", short(written)));
            }
            None
        }
    }
}

/// Reports requests that are still being sent when the time is over.
pub(super) fn look_at_timeout(icmp: &IcmpCheck, timeout: Duration, span: Span, report: &mut Report) {
    let sending = icmp.spacing * u32::from(icmp.count - 1);
    if sending >= timeout {
        report
            .error(
                span,
                format!(
                    "{} packets, one each {}, take longer than the time-out of {}",
                    icmp.count,
                    value::show_duration(icmp.spacing),
                    value::show_duration(timeout)
                ),
            )
            .hint("lower `count` or `spacing` of `icmp`, or raise `timeout` and `interval`");
    }
}
