//! `vipcast run`: the daemon in the foreground.

use anyhow::Context;

use super::{ConfigArgs, Failure, block_on};
use crate::config::{self, Loaded};
use crate::daemon::Daemon;
use crate::log;

pub(super) fn run(args: &ConfigArgs) -> Result<(), Failure> {
    let Loaded { config, warnings } = config::load(&args.config)
        .map_err(|diagnostics| Failure::Config(super::check::rendered(&diagnostics)))?;
    log::init(config.log);
    for warning in warnings.iter() {
        tracing::warn!(message = warning.message, "configuration");
    }
    let started = block_on(async {
        let daemon = Daemon::start(args.config.clone(), config).await?;
        daemon.run().await;
        anyhow::Ok(())
    })?;
    Ok(started.context("cannot run")?)
}
