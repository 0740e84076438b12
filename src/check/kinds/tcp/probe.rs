//! `tcp:` checks: the server accepts the connection, and gives the expected answer if one is configured.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::check::context::ProbeContext;
use crate::check::kinds::tcp::TcpCheck;
use crate::check::limit::{Answer, Limit};
use crate::check::pattern::Pattern;
use crate::check::quoted::quoted;
use crate::check::search::{MOST, Search};
use crate::check::stream::Stream;
use crate::check::words;

#[cfg(test)]
mod tests;

/// A server that is silent for this time has probably sent its whole answer.
const SILENCE: Duration = Duration::from_millis(5);

/// Passes when the server accepts the connection and gives the expected answer. The connection is then closed at once.
pub(super) async fn probe(check: &TcpCheck, context: ProbeContext<'_>) -> Answer {
    let mut stream = context.connect(&check.target, &check.dial).await?;
    if let Some(bytes) = &check.send {
        let sent = context.limit.within(stream.write_all(bytes)).await;
        sent.ok_or_else(|| context.limit.exceeded("not all could be sent"))?
            .map_err(|error| context.in_words(&error))?;
    }
    match &check.expect {
        None => Ok("connected".into()),
        Some(pattern) => wait_for(pattern, &mut stream, context.limit).await,
    }
}

/// Reads until `pattern` has come, or never will.
async fn wait_for(pattern: &Pattern, stream: &mut Stream, limit: Limit) -> Answer {
    let mut search = Search::new(pattern);
    let ended = loop {
        if search.is_due() && is_found(&mut search, limit).await {
            return Ok(received(&search));
        }
        if search.is_full() {
            return Err(format!("{pattern} is not in the first {} KiB", MOST / 1024));
        }
        let unseen = search.has_unseen();
        let reading = async {
            match unseen {
                true => tokio::time::timeout(SILENCE, search.read(stream)).await,
                false => Ok(search.read(stream).await),
            }
        };
        let read = limit.within(reading).await;
        match read {
            Some(Ok(Ok(0))) => break format!("connection closed before {pattern}"),
            Some(Ok(Ok(_))) => {}
            Some(Ok(Err(error))) => break format!("{} before {pattern}", words::io_error(&error)),
            Some(Err(_silence)) => {
                if is_found(&mut search, limit).await {
                    return Ok(received(&search));
                }
            }
            None => break limit.exceeded(&format!("no {pattern}")),
        }
    };
    if search.has_unseen() && is_found(&mut search, limit).await {
        return Ok(received(&search));
    }
    Err(format!("{ended}, {}", received(&search)))
}

/// Not when the look takes longer than there is time; a short one is done at once, also at the very end.
async fn is_found(search: &mut Search<'_>, limit: Limit) -> bool {
    limit.within(search.is_found()).await.unwrap_or(false)
}

fn received(search: &Search<'_>) -> String {
    match search.arrived() {
        [] => "received nothing".into(),
        arrived => format!("received {}", quoted(arrived)),
    }
}
