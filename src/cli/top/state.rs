//! What `top` knows and what the operator has chosen. Pure: keys and news in, lines out (`draw`).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::rows::{Pane, Row, rows};
use crate::control::api::{Event, Status};

/// The most events that are kept.
const EVENTS: usize = 500;

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Tab,
    BackTab,
    Enter,
    Escape,
    Backspace,
    /// Ctrl-C.
    Interrupt,
}

/// News of the daemon.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// Its state.
    Status(Box<Status>),
    /// The events so far, of a run that was not known.
    Events(Vec<Event>),
    Event(Box<Event>),
    /// It does not answer, for this reason.
    Lost(String),
}

/// The consequence of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    Quit,
}

/// What is known of the daemon.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) status: Option<Arc<Status>>,
    /// Without those that are only of interest for an examination.
    pub(super) events: VecDeque<Arc<Event>>,
}

/// The state of the screen.
#[derive(Debug, Clone)]
pub(super) struct Top {
    /// What is shown; it stays while paused.
    pub(super) shown: Known,
    latest: Known,
    /// The reason why the daemon does not answer.
    pub(super) lost: Option<String>,
    pub(super) pane: Pane,
    /// The rows of each pane that pass the filter.
    rows: [Vec<Row>; Pane::ALL.len()],
    /// The panes for which `latest` has something new.
    new: BTreeSet<Pane>,
    /// The panes whose rows were built, one after the other.
    #[cfg(test)]
    pub(super) built: Vec<Pane>,
    /// The first row shown of each pane.
    scroll: [usize; Pane::ALL.len()],
    pub(super) filter: String,
    /// Whether keys go to the filter.
    pub(super) typing: bool,
    pub(super) paused: bool,
    pub(super) help: bool,
    /// Columns and lines.
    pub(super) size: (usize, usize),
}

impl Top {
    pub(super) fn new(size: (usize, usize)) -> Self {
        Self {
            shown: Known::default(),
            latest: Known::default(),
            lost: None,
            pane: Pane::Vips,
            rows: Default::default(),
            new: BTreeSet::new(),
            #[cfg(test)]
            built: Vec::new(),
            scroll: [0; Pane::ALL.len()],
            filter: String::new(),
            typing: false,
            paused: false,
            help: false,
            size,
        }
    }

    /// Takes all news that have come. The rows of a pane are built at most once for all of them: a node may have thousands
    /// of VIPs, and a flush as many events.
    pub(super) fn take(&mut self, news: impl IntoIterator<Item = News>) {
        news.into_iter().for_each(|news| self.keep(news));
        if !self.paused {
            self.show_latest();
        }
    }

    fn keep(&mut self, news: News) {
        match news {
            News::Status(status) => {
                self.latest.status = Some(status.into());
                self.lost = None;
                self.new.extend([Pane::Vips, Pane::Checks, Pane::Peers]);
            }
            News::Events(events) => {
                self.latest.events.clear();
                self.new.insert(Pane::Events);
                events.into_iter().for_each(|event| self.add(event));
            }
            News::Event(event) => self.add(*event),
            News::Lost(why) => self.lost = Some(why),
        }
    }

    fn show_latest(&mut self) {
        let new = std::mem::take(&mut self.new);
        if !new.is_empty() {
            self.shown = self.latest.clone();
            self.find_rows(new);
        }
    }

    fn find_rows(&mut self, panes: impl IntoIterator<Item = Pane>) {
        let events: Vec<&Event> = self.shown.events.iter().map(AsRef::as_ref).collect();
        let filter = self.filter.to_lowercase();
        for pane in panes {
            #[cfg(test)]
            self.built.push(pane);
            self.rows[pane as usize] = rows(pane, self.shown.status.as_deref(), &events, &filter);
        }
    }

    fn add(&mut self, event: Event) {
        if event.level == crate::control::api::Level::Debug {
            return;
        }
        self.new.insert(Pane::Events);
        self.latest.events.push_back(Arc::new(event));
        if self.latest.events.len() > EVENTS {
            self.latest.events.pop_front();
        }
    }

    pub(super) fn press(&mut self, key: Key) -> Then {
        if key == Key::Interrupt {
            return Then::Quit;
        }
        if std::mem::take(&mut self.help) {
            return Then::GoOn;
        }
        if self.typing {
            self.type_filter(key);
            self.find_rows(Pane::ALL);
            return Then::GoOn;
        }
        let page = self.room(self.pane).max(2) - 1;
        match key {
            Key::Char('q') => return Then::Quit,
            Key::Char('?' | 'h') => self.help = true,
            Key::Char('/') => self.typing = true,
            Key::Char('p' | ' ') => {
                self.paused = !self.paused;
                if !self.paused {
                    self.show_latest();
                }
            }
            Key::Char('k') | Key::Up => self.scroll_to(self.first(self.pane).saturating_sub(1)),
            Key::Char('j') | Key::Down => self.scroll_to(self.first(self.pane) + 1),
            Key::PageUp => self.scroll_to(self.first(self.pane).saturating_sub(page)),
            Key::PageDown => self.scroll_to(self.first(self.pane) + page),
            Key::Char('g') | Key::Home => self.scroll_to(0),
            Key::Char('G') | Key::End => self.scroll_to(usize::MAX),
            Key::Tab => self.turn(1),
            Key::BackTab => self.turn(Pane::ALL.len() - 1),
            Key::Escape => {
                self.filter.clear();
                self.find_rows(Pane::ALL);
            }
            Key::Char(_) | Key::Enter | Key::Backspace | Key::Interrupt => {}
        }
        Then::GoOn
    }

    fn type_filter(&mut self, key: Key) {
        match key {
            Key::Char(c) => self.filter.push(c),
            Key::Backspace => drop(self.filter.pop()),
            Key::Enter => self.typing = false,
            Key::Escape => {
                self.filter.clear();
                self.typing = false;
            }
            Key::Up
            | Key::Down
            | Key::PageUp
            | Key::PageDown
            | Key::Home
            | Key::End
            | Key::Tab
            | Key::BackTab
            | Key::Interrupt => {}
        }
    }

    fn turn(&mut self, by: usize) {
        let at = self.pane as usize;
        self.pane = Pane::ALL[(at + by) % Pane::ALL.len()];
    }

    fn scroll_to(&mut self, first: usize) {
        let last = self.rows(self.pane).len().saturating_sub(self.room(self.pane));
        self.scroll[self.pane as usize] = first.min(last);
    }

    /// The first row shown of a pane: rows may have gone since the last key.
    pub(super) fn first(&self, pane: Pane) -> usize {
        self.scroll[pane as usize].min(self.rows(pane).len().saturating_sub(self.room(pane)))
    }

    /// The rows of a pane that pass the filter.
    pub(super) fn rows(&self, pane: Pane) -> &[Row] {
        &self.rows[pane as usize]
    }

    /// The lines for rows of a pane.
    fn room(&self, pane: Pane) -> usize {
        self.layout().into_iter().find_map(|(there, lines)| (there == pane).then_some(lines)).unwrap_or(0)
    }

    /// The panes on the screen, from the top, each with the number of its rows; a line of headings comes before them. A low
    /// screen has only the chosen one.
    pub(super) fn layout(&self) -> Vec<(Pane, usize)> {
        /// Less is too little for four panes.
        const LOW: usize = 16;
        let body = self.size.1.saturating_sub(self.head() + 1);
        if body < LOW {
            return vec![(self.pane, body.saturating_sub(1))];
        }
        let share = body / 5;
        let asked =
            |pane: Pane| if pane == Pane::Events { share } else { self.rows(pane).len().clamp(1, share) };
        let others: usize =
            Pane::ALL.into_iter().filter(|pane| *pane != self.pane).map(|pane| asked(pane) + 1).sum();
        let all = Pane::ALL.into_iter();
        all.map(|pane| (pane, if pane == self.pane { body - others - 1 } else { asked(pane) })).collect()
    }

    /// The lines above the panes.
    pub(super) fn head(&self) -> usize {
        2 + usize::from(self.notes() > 0)
    }

    /// The number of things to say about the node as a whole.
    pub(super) fn notes(&self) -> usize {
        self.notes_in_words().len()
    }

    /// The things to say about the node as a whole, the most important first.
    pub(super) fn notes_in_words(&self) -> Vec<String> {
        let mut notes = Vec::new();
        notes.extend(self.lost.iter().map(|why| format!("{why}; trying again")));
        let Some(status) = &self.shown.status else { return notes };
        notes.extend(status.shutdown.iter().map(|phase| format!("shutting down: {phase}")));
        if status.observing {
            notes.push("only observing: nothing is bound or announced".to_owned());
        }
        if status.restarting {
            notes.push("restarting: routers keep our routes until every VIP is decided".to_owned());
        }
        let set = crate::cli::output::set;
        notes.extend(status.drained.iter().map(|drain| format!("every service is drained {}", set(drain))));
        notes.extend(
            status
                .forced
                .iter()
                .map(|force| format!("every service is forced {} {}", force.to, set(&force.set))),
        );
        notes.extend(status.unsaved.iter().map(|why| format!("not saved, and lost with a restart: {why}")));
        notes.extend(status.warnings.iter().cloned());
        notes
    }
}
