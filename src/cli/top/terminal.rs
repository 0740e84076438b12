//! The terminal: taken over, drawn on, listened to, and given back however the program ends.
//!
//! **Threads.** One, `keys`, which reads keys and new sizes, and ends with the process. A panic gives the terminal back
//! before its message is printed.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Once;
use std::thread;

use anyhow::{Context as _, anyhow};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};
use tokio::sync::mpsc;

use super::state::Key;
use super::text::{Line, Span, Tone};

/// News of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressed {
    Key(Key),
    /// It has another size now: columns and lines.
    Size(usize, usize),
    /// It has gone.
    Gone,
}

/// The terminal, as long as this value lives.
#[derive(Debug)]
pub(super) struct Terminal {
    /// What is on the screen.
    drawn: Vec<Line>,
    colour: bool,
}

impl Terminal {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// Standard input or output is no terminal, or refuses.
    pub(super) fn take() -> Result<Self, anyhow::Error> {
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(anyhow!("top needs a terminal; `vipcast status` prints the same once"));
        }
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        enable_raw_mode().context("cannot set the terminal up")?;
        // From here on the terminal is given back, whatever fails.
        let terminal =
            Self { drawn: Vec::new(), colour: std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) };
        execute!(io::stdout(), EnterAlternateScreen, Hide).context("cannot write to the terminal")?;
        Ok(terminal)
    }

    /// Columns and lines.
    pub(super) fn size() -> (usize, usize) {
        size().map_or((80, 24), |(columns, lines)| (columns.into(), lines.into()))
    }

    /// Draws the lines that differ from what is on the screen.
    ///
    /// # Errors
    /// The terminal has gone.
    pub(super) fn draw(&mut self, lines: Vec<Line>) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.drawn.len() != lines.len() {
            queue!(out, Clear(ClearType::All))?;
            self.drawn = vec![Line::default(); lines.len()];
        }
        for (at, (line, drawn)) in lines.iter().zip(&self.drawn).enumerate() {
            if line != drawn {
                // Cleared first: behind a line that fills the screen the cursor stays on the last column, and clears that.
                queue!(
                    out,
                    MoveTo(0, u16::try_from(at).unwrap_or(u16::MAX)),
                    Clear(ClearType::UntilNewLine)
                )?;
                for span in &line.0 {
                    self.print(&mut out, span)?;
                }
            }
        }
        out.flush()?;
        self.drawn = lines;
        Ok(())
    }

    /// Forgets what is on the screen: a new size has mixed it up.
    pub(super) fn forget(&mut self) {
        self.drawn.clear();
    }

    fn print(&self, out: &mut impl io::Write, span: &Span) -> io::Result<()> {
        // The sixteen colours of the terminal, whose theme makes them fit for its background.
        let colour = match span.tone {
            Tone::Plain => None,
            Tone::Quiet => None,
            Tone::Good => Some(Color::DarkGreen),
            Tone::Warn => Some(Color::DarkYellow),
            Tone::Bad => Some(Color::DarkRed),
        };
        if let Some(colour) = colour.filter(|_| self.colour) {
            queue!(out, SetForegroundColor(colour))?;
        }
        let attributes = [
            (span.bold, Attribute::Bold),
            (span.inverse, Attribute::Reverse),
            (span.tone == Tone::Quiet, Attribute::Dim),
        ];
        for (_, attribute) in attributes.into_iter().filter(|(is, _)| *is) {
            queue!(out, SetAttribute(attribute))?;
        }
        queue!(out, Print(&span.text), SetAttribute(Attribute::Reset), ResetColor)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// A terminal that has gone needs nothing.
fn give_back() {
    drop(execute!(io::stdout(), Show, LeaveAlternateScreen));
    drop(disable_raw_mode());
}

/// Reads keys from now on.
///
/// # Errors
/// There is no thread.
pub(super) fn keys() -> io::Result<mpsc::UnboundedReceiver<Pressed>> {
    let (pressed, receiver) = mpsc::unbounded_channel();
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        loop {
            let next = match read() {
                Ok(event) => translated(&event),
                Err(_) => Some(Pressed::Gone),
            };
            if next.is_some_and(|next| pressed.send(next).is_err() || next == Pressed::Gone) {
                return;
            }
        }
    })?;
    Ok(receiver)
}

fn translated(event: &Event) -> Option<Pressed> {
    match event {
        Event::Resize(columns, lines) => Some(Pressed::Size((*columns).into(), (*lines).into())),
        Event::Key(key) if key.kind != KeyEventKind::Release => self::key(*key).map(Pressed::Key),
        Event::Key(_) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "keys that mean nothing here")]
fn key(key: KeyEvent) -> Option<Key> {
    if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
        return (key.code == KeyCode::Char('c')).then_some(Key::Interrupt);
    }
    Some(match key.code {
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}
