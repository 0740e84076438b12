//! `vipcast restart --graceful`: requests the restart, and waits until the new process has sent all routes.

use std::time::{Duration, Instant};

use clap::Args;
use tokio::time::sleep;

use super::{ClientArgs, Failure, block_on, overrides};
use crate::control::api::{Done, SessionState, Status};
use crate::control::client::{Client, ClientError};
use crate::control::routes;

/// The longest restart time of BGP is 4,095 s; no operator watches that long.
const PATIENCE: Duration = Duration::from_secs(120);
/// The time-out for testing the program on disk.
const REHEARSAL: Duration = Duration::from_secs(60);
/// The time-out for the answer of a new process.
const ANSWER: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(super) struct RestartArgs {
    /// Keep addresses and routes during the restart; every peer needs `graceful_restart`
    #[arg(long, required = true)]
    graceful: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn restart(args: &RestartArgs) -> Result<(), Failure> {
    let asked = Instant::now();
    block_on(args.client.client(REHEARSAL).call(&routes::RESTART, &()))??;
    let status = block_on(until_over(&args.client, asked))??;
    let established = status.peers.values().filter(|peer| peer.state == SessionState::Established).count();
    let announced = status.vips.iter().filter(|vip| vip.sent_to > 0).count();
    overrides::show(
        &args.client,
        &Done {
            warning: None,
            message: format!(
                "restarted as {} in {:.1} s: {established} of {} peers established, {announced} of {} VIPs announced",
                status.version,
                asked.elapsed().as_secs_f64(),
                status.peers.len(),
                status.vips.len(),
            ),
        },
    )
}

/// The status of the new process after its restart.
async fn until_over(args: &ClientArgs, asked: Instant) -> Result<Status, Failure> {
    let client = Client::new(args.socket(), ANSWER);
    loop {
        let last = match client.call(&routes::STATUS, &()).await {
            Ok(status) if Duration::from_millis(status.uptime_ms) > asked.elapsed() => {
                "the old process still runs".to_owned()
            }
            Ok(status) if !status.restarting => return Ok(status),
            Ok(_) => "checks have not settled yet, or sessions are not back; see `vipcast status`".to_owned(),
            // Between the two processes no socket answers, and a process that is about to end refuses.
            Err(
                error @ (ClientError::Connect { .. }
                | ClientError::Silent { .. }
                | ClientError::Http(_)
                | ClientError::Refused(_)),
            ) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        if asked.elapsed() > PATIENCE {
            return Err(anyhow::anyhow!("the restart is not over after {PATIENCE:?}: {last}").into());
        }
        sleep(LOOK_AGAIN).await;
    }
}
