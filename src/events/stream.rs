//! The event stream of a client: server-sent events (HTML Living Standard, §9.2).
//!
//! ```text
//!  id: 1764251091000-17
//!  event: withdrawn
//!  data: {"seq":17,…}
//! ```
//!
//! A client that comes back with `Last-Event-ID` goes on behind it. A client that reads too slowly gets `event: missed`
//! in place of what it lost.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;

use super::ring::{Batch, Reader, Ring};

/// The interval of comments, so that both ends notice a dead connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The stream, behind the event with this id (`Last-Event-ID`) if it is of this run, or from all that are kept if it is
/// not; without an id from now on.
pub(crate) fn stream(ring: &Ring, last: Option<&str>) -> impl Stream<Item = Bytes> + use<> {
    let after = last.map(|id| match id.split_once('-') {
        Some((run, seq)) if run == ring.run() => seq.parse().unwrap_or(0),
        _ => 0,
    });
    let run = ring.run().to_owned();
    let state = (ring.read(after), run, true);
    futures_util::stream::unfold(state, |(mut reader, run, begins)| async move {
        let text =
            if begins { Bytes::from_static(b": vipcast events\n\n") } else { next(&mut reader, &run).await };
        Some((text, (reader, run, false)))
    })
}

async fn next(reader: &mut Reader, run: &str) -> Bytes {
    match tokio::time::timeout(HEARTBEAT, reader.next()).await {
        Ok(batch) => rendered(&batch, run),
        Err(_quiet) => Bytes::from_static(b":\n\n"),
    }
}

fn rendered(batch: &Batch, run: &str) -> Bytes {
    let mut text = BytesMut::new();
    if batch.missed > 0 {
        text.put_slice(format!("event: missed\ndata: {{\"missed\":{}}}\n\n", batch.missed).as_bytes());
    }
    for entry in &batch.entries {
        text.put_slice(format!("id: {run}-{}\nevent: {}\ndata: ", entry.seq, entry.kind).as_bytes());
        text.put_slice(&entry.json);
        text.put_slice(b"\n\n");
    }
    text.freeze()
}
