//! `vipcast top`: the node live on the whole screen, trouble first.
//!
//! ```text
//!  daemon ─ status, events ─► feed ─ News ─┐
//!  terminal ─ keys, size ──────────────────┴─► Top (state) ─► draw ─► lines ─► terminal
//! ```
//!
//! State and drawing are pure; [`terminal`] and [`feed`] do the rest.

mod draw;
mod feed;
mod rows;
mod state;
mod terminal;
#[cfg(test)]
mod tests;
mod text;

use std::iter::{from_fn, once};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::draw::draw;
use self::state::{Then, Top};
use self::terminal::{Pressed, Terminal};
use super::{ClientArgs, Failure, block_on};
use crate::control::client::{Client, PATIENCE};
use crate::control::routes;

/// The most news that wait for the screen.
const QUEUE: usize = 256;

#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// Control socket of the daemon [default: the one in /etc/vipcast/vipcast.yaml]
    #[arg(long, value_name = "PATH", env = "VIPCAST_SOCKET")]
    socket: Option<PathBuf>,
}

pub(super) fn top(args: &TopArgs) -> Result<(), Failure> {
    let of_daemon = ClientArgs { socket: args.socket.clone(), json: false, timeout: None };
    block_on(show(of_daemon.client(PATIENCE)))?
}

async fn show(client: Client) -> Result<(), Failure> {
    // A wrong socket is an error, and no screen that says so.
    client.call(&routes::STATUS, &()).await?;
    let signals = || {
        let of = |kind| signal(kind);
        std::io::Result::Ok((
            of(SignalKind::terminate())?,
            of(SignalKind::interrupt())?,
            of(SignalKind::hangup())?,
        ))
    };
    let (mut terminate, mut interrupt, mut hang_up) = signals().context("cannot take signals")?;
    let mut terminal = Terminal::take()?;
    let mut keys = terminal::keys().context("cannot read keys")?;
    let (sender, mut news) = mpsc::channel(QUEUE);
    let feed = tokio::spawn(feed::follow(client, sender));
    let mut top = Top::new(Terminal::size());
    loop {
        terminal.draw(draw(&top)).context("cannot write to the terminal")?;
        tokio::select! {
            pressed = keys.recv() => match pressed {
                Some(Pressed::Key(key)) if top.press(key) == Then::GoOn => {}
                Some(Pressed::Size(columns, lines)) => {
                    top.size = (columns, lines);
                    terminal.forget();
                }
                Some(Pressed::Key(_) | Pressed::Gone) | None => break,
            },
            Some(next) = news.recv() => {
                top.take(once(next).chain(from_fn(|| news.try_recv().ok())));
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => break,
        }
    }
    feed.abort();
    Ok(())
}
