//! `vipcast restart --graceful`: requests the restart, and waits until the new process has sent all routes.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use clap::Args;

use super::successor::{REHEARSAL, until_over};
use super::{ClientArgs, Failure, block_on, overrides};
use crate::control::api::{Done, SessionState, Status};
use crate::control::routes;

/// The longest restart time of BGP is 4,095 s; no operator watches that long.
const PATIENCE: Duration = Duration::from_secs(120);

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
    let status = block_on(restarted(&args.client, asked))??;
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
async fn restarted(args: &ClientArgs, asked: Instant) -> Result<Status, Failure> {
    until_over(args, "restart", PATIENCE, |status| {
        let last = match status {
            status if Duration::from_millis(status.uptime_ms) > asked.elapsed() => {
                "the old process still runs"
            }
            status if !status.restarting => return Ok(ControlFlow::Break(status)),
            _ => "checks have not settled yet, or sessions are not back; see `vipcast status`",
        };
        Ok(ControlFlow::Continue(last.to_owned()))
    })
    .await
}
