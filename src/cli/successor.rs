//! The wait for the next program, at the end of `upgrade` and of `restart`.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{ClientArgs, Failure};
use crate::control::api::Status;
use crate::control::client::{Client, ClientError};
use crate::control::routes;

/// The time-out for reading the configuration and testing the program on disk.
pub(super) const REHEARSAL: Duration = Duration::from_secs(60);
/// The time-out for an answer of the next program.
const ANSWER: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Asks for the status until `look` has found what it waits for; meanwhile `look` says what is so. `what`: the change of
/// programs, in words.
///
/// # Errors
/// It is not over after `patience`, or `look` has found that it has failed.
pub(super) async fn until_over<T>(
    args: &ClientArgs,
    what: &str,
    patience: Duration,
    mut look: impl FnMut(Status) -> Result<ControlFlow<T, String>, Failure>,
) -> Result<T, Failure> {
    let (began, client) = (Instant::now(), Client::new(args.socket(), ANSWER));
    loop {
        let last = match client.call(&routes::STATUS, &()).await {
            Ok(status) => match look(status)? {
                ControlFlow::Break(found) => return Ok(found),
                ControlFlow::Continue(last) => last,
            },
            // Between two programs no socket may answer, and one that is about to end refuses.
            Err(
                error @ (ClientError::Connect { .. }
                | ClientError::Silent { .. }
                | ClientError::Http(_)
                | ClientError::Refused(_)),
            ) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        if began.elapsed() > patience {
            return Err(anyhow::anyhow!("the {what} is not over after {patience:?}: {last}").into());
        }
        sleep(LOOK_AGAIN).await;
    }
}
