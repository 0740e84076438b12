//! `latency`, `errors` and `hold_down` of a check.

use std::num::NonZeroU32;
use std::time::Duration;

use vipcast_node::model::{Consequence, HoldDown, Limit, Measure, Share};

use super::{Pace, RESULTS};
use crate::config::diagnostic::{Report, Span};
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Table, expected, list_of, short, value};
use crate::config::{defaults, keys};

/// The shortest window; the longest is a day.
const LEAST_WINDOW: Duration = Duration::from_secs(1);
/// A window of this many intervals has [`Measure::LEAST_RESULTS`] results, even if some are late or lost.
const INTERVALS: u32 = 15;
const MOST_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// The shortest hold: a shorter one would end before the next probe.
const LEAST_HOLD: Duration = Duration::from_millis(100);

/// `then`.
pub(crate) const CONSEQUENCES: [(&str, Consequence); 2] =
    [("degraded", Consequence::Degraded), ("down", Consequence::Down)];

/// The limits of a check that is asked at this pace.
pub(super) fn limits(table: &mut Table<'_>, pace: Option<&Pace>, report: &mut Report) -> Option<Vec<Limit>> {
    let latency = table.field("latency", report, |node, key, report| some(node, key, pace, report, latency));
    let errors = table.field("errors", report, |node, key, report| some(node, key, pace, report, errors));
    let (mut limits, errors) = (latency.or_else(Vec::new)?, errors.or_else(Vec::new)?);
    limits.extend(errors);
    Some(limits)
}

/// One limit, or a list of them.
fn some(
    node: &Node,
    key: Span,
    pace: Option<&Pace>,
    report: &mut Report,
    read: fn(&Node, Span, Option<&Pace>, &mut Report) -> Option<Limit>,
) -> Option<Vec<Limit>> {
    match &node.value {
        Value::List(_) => {
            let list = list_of(node, key, "a list of limits", report, |node, key, report| {
                read(node, key, pace, report)
            })?;
            Some(list.into_iter().map(|limit| limit.value).collect())
        }
        Value::Null | Value::Scalar(_) | Value::Map(_) => Some(vec![read(node, key, pace, report)?]),
    }
}

/// `{over: 200ms, of: p95, window: 60s, for: 1, then: degraded}`.
fn latency(node: &Node, key: Span, pace: Option<&Pace>, report: &mut Report) -> Option<Limit> {
    let mut table = Table::open(node, &keys::LATENCY, "`latency`", key, report)?;
    let over = table.required("over", "the limit: `over: 200ms`", report, |node, key, report| {
        value::duration(node, key, Duration::from_millis(1), report)
    });
    let of = table.field("of", report, of);
    let window = table.field("window", report, |node, key, report| window(node, key, pace, report));
    let results = table.number("for", RESULTS, report);
    let then = consequence(&mut table, report);
    table.finish(report);
    if let (Some(pace), Some(over)) = (pace, &over)
        && over.value >= pace.timeout
    {
        let timeout = value::show_duration(pace.timeout);
        report
            .error(over.span, format!("a probe fails after its `timeout`, {timeout}, and never takes longer"))
            .hint("lower `over`, or raise `timeout`");
        return None;
    }
    let over = over?.value;
    if let (Field::Set(window), Some(Of::Each) | None) = (&window, of.set().map(|of| of.value)) {
        report
            .error(window.span, "each probe is looked at by itself, so there is no `window`")
            .hint("remove `window`, or say `of: average` or `of: p95`");
        return None;
    }
    let window = match of.set().map(|of| of.value) {
        Some(Of::Average | Of::Percentile(_)) => usual(window, key, pace?, report)?,
        Some(Of::Each) | None => defaults::WINDOW,
    };
    let (measure, usual) = match of.or(Of::Each)? {
        Of::Each => (Measure::Latency { over }, defaults::RESULTS_OVER),
        Of::Average => (Measure::AverageLatency { over, window }, NonZeroU32::MIN),
        Of::Percentile(percentile) => {
            (Measure::LatencyPercentile { over, percentile, window }, NonZeroU32::MIN)
        }
    };
    Some(Limit { measure, results: results.or(usual)?, then: then? })
}

/// The value that is compared with `over`.
#[derive(Debug, Clone, Copy)]
enum Of {
    Each,
    Average,
    Percentile(u8),
}

fn of(node: &Node, key: Span, report: &mut Report) -> Option<Of> {
    const WHAT: &str = "`each`, `average` or a percentile";
    let written = value::text(node, key, WHAT, report)?;
    let percentile = |digits: &str| digits.parse::<u8>().ok().filter(|number| (1..=99).contains(number));
    match written {
        "each" => Some(Of::Each),
        "average" => Some(Of::Average),
        _ => match written.strip_prefix('p').and_then(percentile) {
            Some(percentile) => Some(Of::Percentile(percentile)),
            None => {
                expected(node, key, WHAT, report).hint("percentiles are `p1` to `p99`");
                None
            }
        },
    }
}

/// `{over: 5%, window: 60s, for: 1, then: degraded}`.
fn errors(node: &Node, key: Span, pace: Option<&Pace>, report: &mut Report) -> Option<Limit> {
    let mut table = Table::open(node, &keys::ERRORS, "`errors`", key, report)?;
    let over = table.required("over", "the limit: `over: 5%`", report, share);
    let window = table.field("window", report, |node, key, report| window(node, key, pace, report));
    let results = table.number("for", RESULTS, report);
    let then = consequence(&mut table, report);
    table.finish(report);
    let window = usual(window, key, pace?, report)?;
    let measure = Measure::Errors { over: over?.value, window };
    Some(Limit { measure, results: results.or(NonZeroU32::MIN)?, then: then? })
}

/// `5%`, `0.5%`.
fn share(node: &Node, key: Span, report: &mut Report) -> Option<Share> {
    const WHAT: &str = "a share, 0% to 99%";
    let written = value::text(node, key, WHAT, report)?;
    let number =
        |digits: &str| digits.parse::<u16>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    let share =
        written.strip_suffix('%').map(str::trim_end).and_then(|digits| match digits.split_once('.') {
            None => number(digits)?.checked_mul(10),
            Some((whole, tenth)) if tenth.len() == 1 => {
                number(whole)?.checked_mul(10)?.checked_add(number(tenth)?)
            }
            Some(_) => None,
        });
    match share.filter(|share| *share <= 990) {
        Some(share) => Some(Share(share)),
        None => {
            let diagnostic = expected(node, key, WHAT, report);
            if number(written).is_some() {
                diagnostic.hint(format!("write `{}%`", short(written)));
            } else {
                diagnostic.hint("write it like `5%` or `0.5%`");
            }
            None
        }
    }
}

/// The shortest window that has enough results in it.
fn least_window(pace: &Pace) -> Duration {
    pace.interval.saturating_mul(INTERVALS)
}

/// The window, or where none is written one that is long enough.
fn usual(window: Field<Duration>, key: Span, pace: &Pace, report: &mut Report) -> Option<Duration> {
    let usual = defaults::WINDOW.max(least_window(pace));
    if !window.is_given() && usual > MOST_WINDOW {
        let interval = value::show_duration(pace.interval);
        report
            .error(key, format!("asked every {interval}, there are too few results in a day to judge by"))
            .hint("shorten `interval`, or leave the limit out");
        return None;
    }
    window.or(usual)
}

fn window(node: &Node, key: Span, pace: Option<&Pace>, report: &mut Report) -> Option<Duration> {
    let window = value::duration(node, key, LEAST_WINDOW, report)?;
    if window > MOST_WINDOW {
        let most = value::show_duration(MOST_WINDOW);
        report.error(node.span, "the window is too long").hint(format!("the most is {most}"));
        return None;
    }
    let least = least_window(pace?);
    if window < least {
        report
            .error(node.span, format!("a window needs {INTERVALS} intervals, to have enough results in it"))
            .hint(format!("write {} or more, or shorten `interval`", value::show_duration(least)));
        return None;
    }
    Some(window)
}

fn consequence(table: &mut Table<'_>, report: &mut Report) -> Option<Consequence> {
    let then =
        table.field("then", report, |node, key, report| value::choice(node, key, &CONSEQUENCES, report));
    then.or(Consequence::Degraded)
}

/// `true`, `false`, `10s` or `{first: 10s, most: 5m}`.
pub(super) fn hold_down(node: &Node, key: Span, report: &mut Report) -> Option<Option<HoldDown>> {
    const WHAT: &str = "true, false, a duration, or `{first: 10s, most: 5m}`";
    let first = |node: &Node, key, report: &mut Report| value::duration(node, key, LEAST_HOLD, report);
    match &node.value {
        Value::Scalar(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            let first = first(node, key, report)?;
            Some(Some(HoldDown { first, most: defaults::MOST_HOLD_DOWN.max(first) }))
        }
        Value::Scalar(_) | Value::Map(_) | Value::List(_) | Value::Null => {
            value::switch(node, key, WHAT, report, |report| {
                let mut table = Table::open(node, &keys::HOLD_DOWN, "`hold_down`", key, report)?;
                let begin = table.field("first", report, first);
                let most = table.field("most", report, first);
                table.finish(report);
                let first = begin.or(defaults::HOLD_DOWN)?;
                if let Field::Set(most) = &most
                    && most.value < first
                {
                    let first = value::show_duration(first);
                    report
                        .error(most.span, format!("`most` is less than `first`, which is {first}"))
                        .hint("it grows from `first` to `most`");
                    return None;
                }
                Some(HoldDown { first, most: most.or(defaults::MOST_HOLD_DOWN.max(first))? })
            })
        }
    }
}
