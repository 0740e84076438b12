//! The rows of each pane, trouble first.

use vipcast_node::plain::plain;

use super::text::Tone;
use crate::cli::output::{self, age};
use crate::control::api::{
    BfdState, Check, CheckState, Event, Level, Peer, SessionState, Status, Vip, VipState,
};

/// A part of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pane {
    Vips,
    Checks,
    Peers,
    Events,
}

impl Pane {
    pub(super) const ALL: [Self; 4] = [Self::Vips, Self::Checks, Self::Peers, Self::Events];

    /// The headings of its columns; `true`: left out on a narrow terminal.
    pub(super) fn columns(self) -> &'static [(&'static str, bool)] {
        match self {
            Self::Vips => &[
                ("VIP", false),
                ("SERVICE", true),
                ("STATE", false),
                ("FOR", true),
                ("PEERS", true),
                ("WHY", false),
            ],
            Self::Checks => &[("CHECK", false), ("STATE", false), ("FOR", true), ("LAST RESULT", false)],
            Self::Peers => &[
                ("PEER", false),
                ("ADDRESS", true),
                ("AS", true),
                ("STATE", false),
                ("FOR", true),
                ("SENT", true),
                ("TROUBLE", false),
            ],
            Self::Events => &[("EVENTS", false), ("", false)],
        }
    }
}

/// A row; its tone is the worst of its cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) tone: Tone,
    /// One for each column.
    pub(super) cells: Vec<(Tone, String)>,
}

impl Row {
    /// The tone belongs to the cell at `state`.
    fn new(tone: Tone, state: usize, cells: impl IntoIterator<Item = String>) -> Self {
        let cells = cells.into_iter().enumerate().map(|(at, text)| {
            let text = plain(&text);
            if at == state { (tone, format!("{}{text}", tone.symbol())) } else { (Tone::Plain, text) }
        });
        Self { tone, cells: cells.collect() }
    }

    fn has(&self, filter: &str) -> bool {
        self.cells.iter().any(|(_, text)| text.to_lowercase().contains(filter))
    }
}

/// The rows of a pane that have the filter, in lower case, in one of their cells.
pub(super) fn rows(pane: Pane, status: Option<&Status>, events: &[&Event], filter: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = match (pane, status) {
        // The newest first.
        (Pane::Events, _) => events.iter().rev().map(|event| self::event(event)).collect(),
        (Pane::Vips | Pane::Checks | Pane::Peers, None) => Vec::new(),
        (Pane::Vips, Some(status)) => status.vips.iter().map(|vip| self::vip(vip, status)).collect(),
        (Pane::Checks, Some(status)) => {
            status.checks.iter().map(|(name, check)| self::check(name, check)).collect()
        }
        (Pane::Peers, Some(status)) => {
            status.peers.iter().map(|(name, peer)| self::peer(name, peer)).collect()
        }
    };
    rows.retain(|row| filter.is_empty() || row.has(filter));
    if pane != Pane::Events {
        rows.sort_by_key(|row| std::cmp::Reverse(row.tone));
    }
    rows
}

/// Whether a VIP is where it should be.
pub(super) fn vip_tone(vip: &Vip, observing: bool) -> Tone {
    match vip.state {
        VipState::Announced => Tone::Good,
        VipState::Ready if observing => Tone::Good,
        VipState::Ready | VipState::Demoted | VipState::Other(_) => Tone::Warn,
        VipState::Withheld => Tone::Bad,
    }
}

/// Whether a check passes.
pub(super) fn check_tone(check: &Check) -> Tone {
    match check.state {
        CheckState::Up if check.degraded.is_some() => Tone::Warn,
        CheckState::Up => Tone::Good,
        CheckState::Falling | CheckState::Rising | CheckState::Unknown | CheckState::Other(_) => Tone::Warn,
        CheckState::Down => Tone::Bad,
    }
}

/// Whether a session is up, and carries all.
pub(super) fn peer_tone(peer: &Peer) -> Tone {
    let bfd_is_up = peer.bfd.as_ref().is_none_or(|bfd| bfd.state == BfdState::Up);
    if peer.state != SessionState::Established {
        Tone::Bad
    } else if peer.withheld.is_empty() && peer.drain.is_none() && bfd_is_up {
        Tone::Good
    } else {
        Tone::Warn
    }
}

fn vip(vip: &Vip, status: &Status) -> Row {
    let cells = [
        vip.vip.short(),
        vip.service.clone(),
        output::state(vip, status.observing),
        age(vip.since_ms),
        format!("{}/{}", vip.sent_to, status.peers.len()),
        output::why(vip),
    ];
    Row::new(vip_tone(vip, status.observing), 2, cells)
}

fn check(name: &str, check: &Check) -> Row {
    let (state, said) = output::check(check);
    Row::new(
        check_tone(check),
        1,
        [name.to_owned(), state, check.since_ms.map(age).unwrap_or_default(), said],
    )
}

fn peer(name: &str, peer: &Peer) -> Row {
    let bfd = peer.bfd.as_ref().filter(|bfd| bfd.state != BfdState::Up);
    let mut trouble = Vec::new();
    if peer.state != SessionState::Established {
        trouble.extend(peer.last_error.clone().into_iter().chain(peer.hint.clone()));
    }
    trouble.extend(bfd.map(|bfd| format!("BFD is {}", bfd.state)));
    trouble.extend((!peer.withheld.is_empty()).then(|| format!("{} cannot be sent", peer.withheld.len())));
    trouble.extend(peer.drain.as_ref().map(|drain| format!("drained {}", output::set(drain))));
    let cells = [
        name.to_owned(),
        peer.address.map_or_else(|| peer.interface.clone().unwrap_or_default(), |ip| ip.to_string()),
        peer.peer_as.map_or_else(|| "external".to_owned(), |asn| asn.to_string()),
        peer.state.to_string(),
        age(peer.since_ms),
        peer.advertised.to_string(),
        trouble.join("; "),
    ];
    Row::new(peer_tone(peer), 3, cells)
}

fn event(event: &Event) -> Row {
    let tone = match event.level {
        Level::Error => Tone::Bad,
        Level::Warning => Tone::Warn,
        Level::Info | Level::Other(_) => Tone::Plain,
        Level::Debug => Tone::Quiet,
    };
    // `2026-11-27T12:00:00.123Z`: the day and the milliseconds are in `vipcast events`.
    let time = event.at.get(11..19).unwrap_or(&event.at).to_owned();
    let values: String = event.values().map(|(name, value)| format!(" {name}={value}")).collect();
    Row::new(tone, 1, [time, event.message.clone() + &values])
}
