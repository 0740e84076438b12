//! `vipcast reload`.

use std::time::Duration;

use super::{ClientArgs, Failure, block_on, drain};
use crate::control::api::Done;
use crate::control::client::ClientError;

/// The daemon gives up a reading that hangs after ten seconds, and may have another one before ours.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn reload(args: &ClientArgs) -> Result<(), Failure> {
    match block_on(args.client(PATIENCE).post::<Done>("/v1/reload", &()))? {
        Ok(done) => drain::show(args, &done),
        Err(ClientError::Refused(refusal)) if refusal.hint.is_none() => Err(Failure::Config(format!(
            "{}\nerror: not reloaded, the running configuration stays\n",
            refusal.error
        ))),
        Err(error) => Err(error.into()),
    }
}
