//! `vipcast reload`.

use super::{ClientArgs, Failure, block_on, drain};
use crate::control::api::Done;
use crate::control::client::{self, ClientError};

pub(super) fn reload(args: &ClientArgs) -> Result<(), Failure> {
    match block_on(client::post::<Done>(&args.socket, "/v1/reload", &()))? {
        Ok(done) => drain::show(args, &done),
        Err(ClientError::Refused(refusal)) if refusal.hint.is_none() => Err(Failure::Config(format!(
            "{}\nerror: not reloaded, the running configuration stays\n",
            refusal.error
        ))),
        Err(error) => Err(error.into()),
    }
}
