//! Searches a pattern in the body of an answer, in both versions of HTTP.

use bytes::Bytes;

use crate::check::http2;
use crate::check::limit::Limit;
use crate::check::pattern::Pattern;
use crate::check::search::{MOST, Search};

/// A body that arrives in pieces. The pieces may be empty.
pub(in crate::check) trait Chunks {
    /// `None` at the end; an error, in words, where it breaks off.
    fn next(&mut self) -> impl Future<Output = Option<Result<Bytes, String>>> + Send;
}

impl Chunks for h2::RecvStream {
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        let piece = self.data().await?;
        let piece = piece.and_then(|piece| {
            self.flow_control().release_capacity(piece.len())?;
            Ok(piece)
        });
        Some(piece.map_err(|error| http2::in_words(&error)))
    }
}

/// Reads as much as it takes to know.
///
/// # Errors
/// In words: `"ready" is not in the body`.
pub(super) async fn in_body(pattern: &Pattern, body: &mut impl Chunks, limit: Limit) -> Result<(), String> {
    let mut search = Search::new(pattern);
    let reading = async {
        while !search.is_full() {
            match body.next().await {
                None => return Ok(false),
                Some(piece) => search.take(&piece?),
            }
            // An expression may look at the end of the body, so it waits for that.
            if matches!(pattern, Pattern::Text(_)) && search.is_found().await {
                return Ok(true);
            }
        }
        Ok::<_, String>(false)
    };
    match limit.within(reading).await {
        Some(Ok(true)) => return Ok(()),
        Some(Ok(false)) => {}
        Some(Err(cause)) => return Err(format!("the body broke off: {cause}")),
        None => return Err(limit.exceeded("the body did not end")),
    }
    if search.has_unseen() && limit.within(search.is_found()).await.unwrap_or(false) {
        return Ok(());
    }
    Err(match search.arrived() {
        [] => "the body is empty".into(),
        _ if search.is_full() => format!("{pattern} is not in the first {} KiB of the body", MOST / 1024),
        _ => format!("{pattern} is not in the body"),
    })
}
