//! `vipcast reload`.

use std::time::Duration;

use clap::Args;

use super::{ClientArgs, Failure, block_on, overrides};
use crate::control::client::ClientError;
use crate::control::routes;

/// The daemon gives up a hanging read after ten seconds, and another read may come before ours.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    /// Do not print the daemon's answer, which is also in its log
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn reload(args: &ReloadArgs) -> Result<(), Failure> {
    match block_on(args.client.client(PATIENCE).call(&routes::RELOAD, &()))? {
        Ok(_) if args.quiet => Ok(()),
        Err(ClientError::Refused(_)) if args.quiet => Err(Failure::Logged),
        Ok(done) => overrides::show(&args.client, &done),
        Err(ClientError::Refused(refusal)) if refusal.hint.is_none() => Err(Failure::Config(format!(
            "{}\nerror: not reloaded, the running configuration stays\n",
            refusal.error
        ))),
        Err(error) => Err(error.into()),
    }
}
