//! Requests as orders to the node.

use std::time::Duration;

use vipcast_node::commands::Command;

use super::super::answer::{Refused, Why};
use super::super::api::{DrainRequest, Milliseconds, Refusal, ServicesRequest};

/// An order to the node.
#[derive(Debug)]
pub struct Order {
    pub(in crate::control) command: Command,
    /// The client's claim of the operator.
    pub(in crate::control) by: Option<String>,
}

impl Order {
    pub(super) fn drain(request: DrainRequest) -> Result<Self, Refused> {
        let DrainRequest { services, by, reason, for_ms, replace } = request;
        if for_ms > Some(Milliseconds::LONGEST) {
            let hint = "leave `--for` out to drain until `undrain`";
            return Err(Refused::new(Why::BadRequest, Refusal::new("that is too long from now", hint)));
        }
        let lasts = for_ms.map(Duration::from);
        Ok(Self { command: Command::Drain { services, reason, lasts, replace }, by })
    }

    pub(super) fn undrain(ServicesRequest { services, reason }: ServicesRequest) -> Result<Self, Refused> {
        Ok(Command::Undrain { services, reason }.into())
    }

    pub(super) fn promote(ServicesRequest { services, reason }: ServicesRequest) -> Result<Self, Refused> {
        Ok(Command::Promote { services, reason }.into())
    }

    pub(super) fn reload((): ()) -> Result<Self, Refused> {
        Ok(Command::Reload.into())
    }

    pub(super) fn restart((): ()) -> Result<Self, Refused> {
        Ok(Command::Restart.into())
    }
}

impl From<Command> for Order {
    fn from(command: Command) -> Self {
        Self { command, by: None }
    }
}
