//! Requests as orders to the node.

use std::time::Duration;

use vipcast_node::commands::Command;
use vipcast_node::engine::Force;

use super::super::answer::{Refused, Why};
use super::super::api::{
    DrainRequest, ForceRequest, Milliseconds, Refusal, Services, ServicesRequest, UndrainRequest,
    UpgradeRequest,
};

/// An order to the node.
#[derive(Debug)]
pub struct Order {
    pub(in crate::control) command: Command,
    /// The client's claim of the operator.
    pub(in crate::control) by: Option<String>,
}

impl Order {
    pub(super) fn drain(request: DrainRequest) -> Result<Self, Refused> {
        let DrainRequest { services, peer, by, reason, for_ms, replace } = request;
        let lasts = lasts(for_ms, "leave `--for` out to drain until `undrain`")?;
        let command = match target(services, peer)? {
            Target::Services(services) => Command::Drain { services, reason, lasts, replace },
            Target::Peer(peer) => Command::DrainPeer { peer, reason, lasts, replace },
        };
        Ok(Self { command, by })
    }

    pub(super) fn undrain(request: UndrainRequest) -> Result<Self, Refused> {
        let UndrainRequest { services, peer, reason } = request;
        Ok(Self::from(match target(services, peer)? {
            Target::Services(services) => Command::Undrain { services, reason },
            Target::Peer(peer) => Command::UndrainPeer { peer, reason },
        }))
    }

    pub(super) fn force_up(request: ForceRequest) -> Result<Self, Refused> {
        Self::force(Force::Up, request)
    }

    pub(super) fn force_down(request: ForceRequest) -> Result<Self, Refused> {
        Self::force(Force::Down, request)
    }

    fn force(to: Force, request: ForceRequest) -> Result<Self, Refused> {
        let ForceRequest { services, by, reason, for_ms } = request;
        let lasts = lasts(for_ms, "leave `--for` out to force until `clear`")?;
        Ok(Self { command: Command::Force { to, services, reason, lasts }, by })
    }

    pub(super) fn clear(ServicesRequest { services, reason }: ServicesRequest) -> Result<Self, Refused> {
        Ok(Command::Clear { services, reason }.into())
    }

    pub(super) fn promote(ServicesRequest { services, reason }: ServicesRequest) -> Result<Self, Refused> {
        Ok(Command::Promote { services, reason }.into())
    }

    pub(super) fn reload((): ()) -> Result<Self, Refused> {
        Ok(Command::Reload.into())
    }

    pub(super) fn preview((): ()) -> Result<Self, Refused> {
        Ok(Command::Preview.into())
    }

    pub(super) fn restart((): ()) -> Result<Self, Refused> {
        Ok(Command::Restart.into())
    }

    pub(super) fn upgrade(UpgradeRequest { dry_run }: UpgradeRequest) -> Result<Self, Refused> {
        Ok(Command::Upgrade { dry: dry_run }.into())
    }
}

/// The target of a drain.
enum Target {
    Services(Services),
    Peer(String),
}

fn target(services: Option<Services>, peer: Option<String>) -> Result<Target, Refused> {
    match (services, peer) {
        (Some(services), None) => Ok(Target::Services(services)),
        (None, Some(peer)) => Ok(Target::Peer(peer)),
        (Some(_), Some(_)) | (None, None) => {
            let refusal = Refusal::new("a drain is of services or of a peer", "name `services` or `peer`");
            Err(Refused::new(Why::BadRequest, refusal))
        }
    }
}

/// The length of an override; `hint` is for one that is too long.
fn lasts(for_ms: Option<Milliseconds>, hint: &str) -> Result<Option<Duration>, Refused> {
    if for_ms > Some(Milliseconds::LONGEST) {
        return Err(Refused::new(Why::BadRequest, Refusal::new("that is too long from now", hint)));
    }
    Ok(for_ms.map(Duration::from))
}

impl From<Command> for Order {
    fn from(command: Command) -> Self {
        Self { command, by: None }
    }
}
