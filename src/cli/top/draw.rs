//! The screen as lines of text. Pure, so that it can be compared with pictures (`tests`).
//!
//! ```text
//!  vipcast 0.1.0, router id 10.0.0.2, up 3 h 2 m                 live
//!  ● 2/2 sessions  ▲ 5/6 VIPs announced  ● 9/9 checks pass
//!  a warning, if there is one
//!  VIP 6      SERVICE  STATE  …     the chosen pane has bold headings
//!  …
//!  q quit  tab next pane  / filter  p pause  ? help         1-6 of 6
//! ```

use super::rows::{Pane, Row, check_tone, peer_tone, vip_tone};
use super::state::Top;
use super::text::{Line, Tone};
use crate::cli::output::age;
use crate::control::api::{CheckState, SessionState, Status, VipState};

/// Narrower terminals lack some columns.
const NARROW: usize = 60;
const GAP: usize = 2;

/// The screen; exactly as many lines as it has.
pub(super) fn draw(top: &Top) -> Vec<Line> {
    let (width, height) = top.size;
    let mut lines = head(top, width);
    if top.help {
        lines.extend(
            HELP.iter().map(|(key, what)| Line::default().bold(&format!("{key:<16}")).add(Tone::Plain, what)),
        );
    } else {
        for (pane, room) in top.layout() {
            lines.extend(table(top, pane, room, width));
        }
    }
    lines.truncate(height.saturating_sub(1));
    lines.resize(height.saturating_sub(1), Line::default());
    lines.push(foot(top, width));
    lines.truncate(height);
    lines.into_iter().map(|line| line.cut(width)).collect()
}

const HELP: [(&str, &str); 9] = [
    ("tab", "the next pane: VIPs, checks, peers, events"),
    ("up, down, k, j", "scroll by a line"),
    ("PgUp, PgDn", "scroll by a page"),
    ("g, G", "to the begin, to the end"),
    ("/", "show only rows with a text; Enter keeps it, Esc drops it"),
    ("p", "pause: the screen stays as it is"),
    ("?", "this help; any key closes it"),
    ("q, Ctrl-C", "quit"),
    ("", "Trouble comes first: ■ is bad, ▲ is worth a look, ● is good"),
];

fn head(top: &Top, width: usize) -> Vec<Line> {
    let link = match (&top.lost, top.paused) {
        (Some(_), _) => Line::default().add(Tone::Bad, "no connection"),
        (None, true) => Line::default().add(Tone::Warn, "paused"),
        (None, false) if top.shown.status.is_none() => Line::default().add(Tone::Quiet, "connecting"),
        (None, false) => Line::default().add(Tone::Good, "live"),
    };
    let mut title = Line::default().bold("vipcast");
    let mut counts = Line::default();
    if let Some(status) = &top.shown.status {
        let router_id = status.router_id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        title = title
            .bold(&format!(" {}", status.version))
            .add(Tone::Quiet, &format!(", router id {router_id}, up {}", age(status.uptime_ms)));
        counts = self::counts(status);
    }
    let mut lines = vec![title.with_right(link, width), counts];
    let mut notes = top.notes_in_words();
    if !notes.is_empty() {
        let first = notes.remove(0);
        let more = (!notes.is_empty()).then(|| format!("+{} more in `vipcast status`", notes.len()));
        let note = Line::default().add(Tone::Warn, &format!("▲ {first}"));
        let more = Line::default().add(Tone::Quiet, &more.unwrap_or_default());
        let both = note.width() + more.width() < width;
        lines.push(if both { note.with_right(more, width) } else { note });
    }
    lines
}

fn counts(status: &Status) -> Line {
    let worst = |tones: &mut dyn Iterator<Item = Tone>| tones.max().unwrap_or(Tone::Good);
    let Status { peers, checks, vips, observing, .. } = status;
    let up = peers.values().filter(|peer| peer.state == SessionState::Established).count();
    let passing =
        checks.values().filter(|check| matches!(check.state, CheckState::Up | CheckState::Falling)).count();
    let announced = |state: &VipState| match state {
        VipState::Announced | VipState::Demoted => !observing,
        VipState::Ready => *observing,
        VipState::Withheld | VipState::Other(_) => false,
    };
    let there = vips.iter().filter(|vip| announced(&vip.state)).count();
    let mut line = Line::default();
    let mut count = |tone: Tone, number: usize, of: usize, what: &str| {
        let line_before = std::mem::take(&mut line);
        line = line_before.add(tone, tone.symbol()).add(Tone::Plain, &format!("{number}/{of} {what}  "));
    };
    if !observing {
        count(worst(&mut peers.values().map(peer_tone)), up, peers.len(), "sessions up");
    }
    let what = if *observing { "VIPs would be announced" } else { "VIPs announced" };
    count(worst(&mut vips.iter().map(|vip| vip_tone(vip, *observing))), there, vips.len(), what);
    count(worst(&mut checks.values().map(check_tone)), passing, checks.len(), "checks pass");
    line
}

fn foot(top: &Top, width: usize) -> Line {
    if top.typing {
        return Line::default().bold("/").add(Tone::Plain, &top.filter).inverse().filled(width);
    }
    let rows = top.rows(top.pane).len();
    let first = top.first(top.pane);
    let room = top.layout().into_iter().find_map(|(pane, room)| (pane == top.pane).then_some(room));
    let last = (first + room.unwrap_or(0)).min(rows);
    let mut place = if rows == 0 { "none".to_owned() } else { format!("{}-{last} of {rows}", first + 1) };
    if !top.filter.is_empty() {
        place = format!("/{}  {place}", top.filter);
    }
    let keys = "q quit  tab pane  / filter  p pause  ? help";
    let right = Line::default().add(Tone::Plain, &place);
    Line::default().add(Tone::Plain, keys).with_right(right, width).filled(width).inverse()
}

/// The headings of a pane and the rows that have room; blank lines behind them.
fn table(top: &Top, pane: Pane, room: usize, width: usize) -> Vec<Line> {
    let all = top.rows(pane);
    let first = top.first(pane).min(all.len());
    let shown = &all[first..(first + room).min(all.len())];
    let columns: Vec<(usize, &str)> = (pane.columns().iter().enumerate())
        .filter(|(_, (_, is_wide))| !is_wide || width >= NARROW)
        .map(|(at, (heading, _))| (at, *heading))
        .collect();
    let heading = |position: usize, heading: &str| {
        // The first heading has the number of rows.
        if position == 0 && pane != Pane::Events {
            format!("{heading} {}", all.len())
        } else {
            heading.to_owned()
        }
    };
    let headings: Vec<String> = columns.iter().enumerate().map(|(at, (_, text))| heading(at, text)).collect();
    let widths = widths(&columns, &headings, shown, width);
    let is_chosen = pane == top.pane;
    let chosen = |text: &String| {
        if is_chosen { Line::default().bold(text) } else { Line::default().add(Tone::Quiet, text) }
    };
    let line = joined(headings.iter().map(chosen), &widths);
    let mut lines = vec![if is_chosen { line.filled(width).inverse() } else { line }];
    for row in shown {
        let cells = columns.iter().map(|(at, _)| row.cells.get(*at).cloned().unwrap_or_default());
        lines.push(joined(cells.map(|(tone, text)| Line::default().add(tone, &text)), &widths));
    }
    lines.resize(room + 1, Line::default());
    lines
}

/// Cells in their columns.
fn joined(cells: impl Iterator<Item = Line>, widths: &[usize]) -> Line {
    let mut line = Line::default();
    for (at, (cell, width)) in cells.zip(widths).enumerate() {
        let gap = if at + 1 == widths.len() { 0 } else { GAP };
        line.0.extend(cell.cut(*width).filled(width + gap).0);
    }
    line
}

/// The widths of the columns: as wide as their texts, but the last one has the rest, and at least a quarter.
fn widths(columns: &[(usize, &str)], headings: &[String], shown: &[Row], width: usize) -> Vec<usize> {
    let natural = |(position, (at, _)): (usize, &(usize, &str))| {
        let texts = shown.iter().filter_map(|row| row.cells.get(*at).map(|(_, text)| text.as_str()));
        let texts = texts.chain(headings.get(position).map(String::as_str));
        texts.map(|text| Line::default().add(Tone::Plain, text).width()).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = columns.iter().enumerate().map(natural).collect();
    let Some(last) = widths.pop() else { return widths };
    let gaps = GAP * widths.len();
    let rest_at_least = last.min(width / 4);
    // The widest one gives way.
    while widths.iter().sum::<usize>() + gaps + rest_at_least > width {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > 4) else { break };
        *widest -= 1;
    }
    widths.push(width.saturating_sub(widths.iter().sum::<usize>() + gaps));
    widths
}
