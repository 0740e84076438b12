//! A text that is drawn on the terminal again and again, until Ctrl-C: on the alternate screen, so that the terminal is as
//! before afterwards.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use vipcast_node::plain::plain;

use super::Failure;

const AGAIN: Duration = Duration::from_secs(1);
/// To the alternate screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left corner.
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = "\x1b[K";
const END_OF_SCREEN: &str = "\x1b[J";

/// Leaves the alternate screen, however the drawing ends.
struct Screen;

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs no cleaning.
        drop(io::stdout().write_all(LEAVE.as_bytes()));
        drop(io::stdout().flush());
    }
}

/// Draws the text of `look` every second, until SIGINT or SIGTERM.
///
/// # Errors
/// Stdout is no terminal, or cannot be written.
pub(super) async fn watch(look: impl AsyncFn() -> String) -> Result<(), Failure> {
    if !io::stdout().is_terminal() {
        return Err(anyhow!("--watch needs a terminal; without it the status is printed once").into());
    }
    let signals = || Ok::<_, io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?));
    let (mut interrupt, mut terminate) = signals().context("cannot take signals")?;
    draw(ENTER)?;
    let _screen = Screen;
    let drawing = async {
        loop {
            let text = look().await;
            let size = terminal_size::terminal_size();
            let (width, height) = size.map_or((80, 24), |(width, height)| (width.0.into(), height.0.into()));
            draw(&page(&text, width, height))?;
            sleep(AGAIN).await;
        }
    };
    tokio::select! {
        failure = drawing => failure,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

fn draw(text: &str) -> Result<(), Failure> {
    let drawn = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    drawn.context("cannot write to the terminal").map_err(Failure::from)
}

/// The text as it fits on a screen: long lines are cut, and the number of the lines that do not fit is in the last one.
fn page(text: &str, width: usize, height: usize) -> String {
    let lines: Vec<String> = text.lines().map(|line| plain(line.trim_end())).collect();
    let room = if lines.len() > height { height.saturating_sub(1) } else { lines.len() };
    let mut shown: Vec<String> =
        lines.iter().take(room).map(|line| line.chars().take(width).collect()).collect();
    if let Some(more) = lines.len().checked_sub(room).filter(|more| *more > 0) {
        shown.push(format!("… {more} more lines"));
    }
    HOME.to_owned() + &shown.join(&format!("{END_OF_LINE}\r\n")) + END_OF_LINE + END_OF_SCREEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_cut_to_the_screen_and_nothing_of_the_last_one_stays() {
        assert_eq!(page("one\ntwo", 80, 24), "\x1b[Hone\x1b[K\r\ntwo\x1b[K\x1b[J");
        assert_eq!(page("one\ntwo", 80, 2), "\x1b[Hone\x1b[K\r\ntwo\x1b[K\x1b[J");
        assert_eq!(page("long\ntwo\nthree", 3, 2), "\x1b[Hlon\x1b[K\r\n… 2 more lines\x1b[K\x1b[J");
        assert_eq!(page("\x1b[2J", 80, 2), "\x1b[H\\u{1b}[2J\x1b[K\x1b[J", "a peer\'s text does nothing");
    }
}
