//! What logind says to `vipcast doctor`: how long it delays a shutdown, and for whom.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;

use super::{DELAY, GETS, INHIBIT, INHIBITS, LOGIND, PATIENCE};
use crate::dbus::BusConnection;
use crate::dbus::wire::MethodCall;

/// logind's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logind {
    /// The longest delay of a shutdown (`InhibitDelayMaxSec`).
    pub longest: Duration,
    /// The processes of vipcast that delay a shutdown.
    pub holders: Vec<u32>,
}

/// Asks logind over the bus; `None`: there is no bus, or no logind on it, and none is started.
///
/// # Errors
/// It does not answer in time, or refuses.
pub(crate) async fn ask(bus: &Path) -> io::Result<Option<Logind>> {
    let stream = match tokio::time::timeout(PATIENCE, UnixStream::connect(bus)).await {
        Ok(Ok(stream)) => stream,
        // Without a listener the bus has ended, and left its socket behind.
        Ok(Err(error))
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
        {
            return Ok(None);
        }
        Ok(Err(error)) => return Err(error),
        Err(_late) => return Err(io::ErrorKind::TimedOut.into()),
    };
    let mut connection = BusConnection::over(stream).await?;
    if !connection.has_owner(LOGIND).await? {
        return Ok(None);
    }
    let refuses = |name| io::Error::other(format!("logind refuses: {name}"));
    let strange = || io::Error::other("logind gives another answer than expected");
    let longest = connection.ask(&GETS, &DELAY).await?.map_err(refuses)?.number().ok_or_else(strange)?;
    let list = MethodCall { member: "ListInhibitors", ..INHIBITS };
    let inhibitors = connection.ask(&list, &[]).await?.map_err(refuses)?.inhibitors().ok_or_else(strange)?;
    let [what, who, _, mode] = INHIBIT;
    let is_ours = |texts: &[String; 4]| {
        texts[0].split(':').any(|word| word == what) && texts[1] == who && texts[3] == mode
    };
    let holders = inhibitors.into_iter().filter(|(texts, _)| is_ours(texts)).map(|(_, [_, pid])| pid);
    Ok(Some(Logind { longest: Duration::from_micros(longest), holders: holders.collect() }))
}
