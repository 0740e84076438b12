//! Output for the operator: durations, tables, causes.

use std::error::Error;
use std::io::{self, Write};
use std::ops::ControlFlow;

use anyhow::Context;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use vipcast_bgp::net::words::io_error;
use vipcast_node::plain::{is_hidden, plain};

use super::Failure;
use crate::control::api::{Check, CheckState, Override, Vip, VipState};
use crate::log;

/// An error and its causes: `what failed: cause: its cause`.
pub(super) fn chain<'a>(errors: impl IntoIterator<Item = &'a (dyn Error + 'static)>) -> String {
    errors.into_iter().map(in_words).collect::<Vec<_>>().join(": ")
}

/// An error and its causes.
pub(super) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// `no such file or directory` instead of `No such file or directory (os error 2)`.
fn in_words(error: &(dyn Error + 'static)) -> String {
    error.downcast_ref::<io::Error>().map_or_else(|| error.to_string(), io_error)
}

/// An age in its two largest units: `340 ms`, `12 s`, `3 m 20 s`, `5 h 2 m`, `12 d 4 h`.
pub(super) fn age(ms: u64) -> String {
    let (seconds, minutes, hours, days) = (ms / 1000, ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    if ms < 1000 {
        format!("{ms} ms")
    } else if minutes == 0 {
        format!("{seconds} s")
    } else if hours == 0 {
        format!("{minutes} m {} s", seconds % 60)
    } else if days == 0 {
        format!("{hours} h {} m", minutes % 60)
    } else {
        format!("{days} d {} h", hours % 24)
    }
}

/// The width of the terminal; 80 columns without one.
pub(super) fn width() -> usize {
    terminal_size::terminal_size().map_or(80, |(width, _)| width.0.into())
}

/// A table without lines, as wide as the terminal; 80 columns without a terminal.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    let width = u16::try_from(width()).unwrap_or(u16::MAX);
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table.set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Prints to stdout. A reader that has closed the pipe, like `head`, is no error.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    print_on(text).map(drop)
}

/// The same; `Break` when nobody reads any more.
pub(super) fn print_on(text: &str) -> Result<ControlFlow<()>, Failure> {
    // The text of a peer, a server or another operator.
    let mut text = text.lines().map(|line| plain(line.trim_end())).collect::<Vec<_>>().join("\n");
    text.push('\n');
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to stdout").into())
        }
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(_nobody) => Ok(ControlFlow::Break(())),
    }
}

/// Prints to stderr. Text that cannot be written is dropped; the exit code still shows the failure.
pub(super) fn complain(text: &str) {
    if log::is_started() {
        log::print(text);
        log::finish();
    } else {
        drop(io::stderr().write_all(text.as_bytes()));
    }
}

/// Prints JSON for programs.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).context("cannot write JSON")?;
    // In JSON strings, the only possible place, this is equivalent.
    let escaped = |c: char| -> String {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    };
    let hides = |c: char| is_hidden(c) && c != '\n';
    print(&text.chars().map(|c| if hides(c) { escaped(c) } else { c.to_string() }).collect::<String>())
}

/// The state of a check, and its last result with its limits.
pub(super) fn check(check: &Check) -> (String, String) {
    let detail = check.detail.clone().unwrap_or_else(|| "none yet".to_owned());
    let degraded = check.degraded.as_ref().map(|limit| format!("; {limit}"));
    let held = check.held_ms.map(|held| format!("; held down for {} more", age(held)));
    let state = if check.degraded.is_some() && check.state == CheckState::Up {
        "degraded"
    } else {
        check.state.word()
    };
    (state.to_owned(), detail + &degraded.unwrap_or_default() + &held.unwrap_or_default())
}

/// The reasons why a VIP is not plainly announced at every router: that of the decision, then those of the routers.
pub(super) fn why(vip: &Vip) -> String {
    let each = vip.not_at.iter().map(|(peer, why)| format!("{peer}: {why}")).collect::<Vec<_>>().join("; ");
    let routers = match (vip.not_at.is_empty(), vip.sent_to) {
        (true, _) => None,
        (false, 0) => Some(format!("no router has it: {each}")),
        (false, _) => Some(format!("not at {each}")),
    };
    vip.why.iter().cloned().chain(routers).collect::<Vec<_>>().join("; ")
}

/// The state of a VIP; of a node that only observes, what it would be.
pub(super) fn state(vip: &Vip, observing: bool) -> String {
    if observing && vip.state == VipState::Ready {
        format!("would be {}", vip.verdict)
    } else {
        vip.state.to_string()
    }
}

/// An override in words: `by alice since 2026-11-22T12:00:00Z, until …, kernel update`.
pub(super) fn set(set: &Override) -> String {
    let Override { by, reason, since, until, except } = set;
    let mut text = format!("by {} since {since}", plain(by));
    text.extend(until.iter().map(|until| format!(", until {until}")));
    text.extend(reason.iter().map(|reason| format!(", {}", plain(reason))));
    if !except.is_empty() {
        text += &format!("; not {}", except.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages_have_at_most_two_units() {
        let cases = [
            (0, "0 ms"),
            (999, "999 ms"),
            (12_345, "12 s"),
            (200_000, "3 m 20 s"),
            (18_120_000, "5 h 2 m"),
            (1_051_200_000, "12 d 4 h"),
        ];
        for (ms, want) in cases {
            assert_eq!(age(ms), want);
        }
    }
}
