//! The `icmp` kind: echo requests, and how many of them may be lost.

use std::time::Duration;

use vipcast_node::model::{CheckKind, IcmpCheck};

use super::Around;
use super::target::host;
use crate::config::diagnostic::{Report, Span};
use crate::config::keys;
use crate::config::read::{Field, Table, expected, short};
use crate::config::tree::{Node, Value};
use crate::config::{defaults, value};

/// More at a time would be an attack.
const MOST: u32 = 100;
/// The data of the largest packets that one meets (jumbo frames), and room for what tells our packets from others.
const SIZES: std::ops::RangeInclusive<u32> = 8..=9000;
/// Faster than this, routers and hosts begin to drop them.
const LEAST_SPACING: Duration = Duration::from_millis(1);

/// `icmp: host`, or `icmp: {host: …}`.
pub(super) fn read(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<CheckKind> {
    if let Value::Scalar(_) = &node.value {
        let written = host(node, key, report)?;
        let host = around.host.clone().unwrap_or(written);
        return Some(CheckKind::Icmp(IcmpCheck { host, ..IcmpCheck::default() }));
    }
    let mut table = Table::open(node, &keys::ICMP, "`icmp`", key, report)?;
    let host = match (table.field("host", report, host), &around.host) {
        (Field::Absent, None) => {
            report
                .error(key, "`host` is missing")
                .hint("whom to ask: `host: 192.0.2.1`, or `host` of the check");
            None
        }
        (Field::Broken, _) => None,
        (Field::Absent | Field::Set(_), Some(host)) => Some(host.clone()),
        (Field::Set(host), None) => Some(host.value),
    };
    let count = table.field("count", report, |node, key, report| {
        let what = format!("a number of packets, 1 to {MOST}");
        u16::try_from(value::integer(node, key, 1..=MOST, &what, report)?).ok()
    });
    let size = table.field("size", report, |node, key, report| {
        let what = format!("a number of bytes, {} to {}", SIZES.start(), SIZES.end());
        u16::try_from(value::integer(node, key, SIZES, &what, report)?).ok()
    });
    let loss = table.field("loss", report, loss);
    let spacing =
        table.field("spacing", report, |node, key, report| value::duration(node, key, LEAST_SPACING, report));
    table.finish(report);
    Some(CheckKind::Icmp(IcmpCheck {
        host: host?,
        count: count.or(defaults::ICMP_COUNT)?,
        loss: loss.or(defaults::ICMP_LOSS)?,
        size: size.or(defaults::ICMP_SIZE)?,
        spacing: spacing.or(defaults::ICMP_SPACING)?,
    }))
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
pub(super) fn look_at_time(kind: &CheckKind, timeout: Duration, span: Span, report: &mut Report) {
    let CheckKind::Icmp(icmp) = kind else { return };
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
