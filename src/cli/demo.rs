//! `vipcast demo`.
use super::Failure;
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Leave the rack running until Ctrl-C
    #[arg(long)]
    keep: bool,
}
pub(super) fn demo(_args: &DemoArgs) -> Result<(), Failure> {
    Ok(())
}
