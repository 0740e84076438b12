//! `vipcast drain`, `vipcast force-up`, and the other commands of overrides.

use std::time::Duration;

use clap::Args;
use vipcast_node::names::ServiceName;

use super::output::{print, print_json};
use super::{ClientArgs, Failure, arguments, block_on};
use crate::control::api::{Done, DrainRequest, ForceRequest, Milliseconds, Services, ServicesRequest};
use crate::control::client::PATIENCE;
use crate::control::routes::{self, Route};

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ServiceArgs {
    /// The service
    #[arg(value_parser = arguments::service)]
    service: Option<ServiceName>,
    /// Every service
    #[arg(long)]
    all: bool,
}

impl ServiceArgs {
    fn services(&self) -> Services {
        match &self.service {
            Some(service) => Services::Service(service.to_string()),
            None => Services::All,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    services: ServiceArgs,
    /// End the drain automatically after this time, for example 2h
    #[arg(long = "for", value_name = "DURATION", value_parser = arguments::some_time)]
    lasts: Option<Duration>,
    /// The reason, shown by `status` and `explain`
    #[arg(long, value_name = "TEXT", value_parser = arguments::reason)]
    reason: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
    /// Replace the drain in force, even if it ends later
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Args)]
pub(super) struct ForceArgs {
    #[command(flatten)]
    services: ServiceArgs,
    /// Lift the force automatically after this time, for example 2h
    #[arg(long = "for", value_name = "DURATION", value_parser = arguments::some_time)]
    lasts: Option<Duration>,
    /// The reason, shown by `status` and `explain`
    #[arg(long, value_name = "TEXT", value_parser = arguments::reason)]
    reason: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(super) struct NamedArgs {
    #[command(flatten)]
    services: ServiceArgs,
    /// The reason, for the log
    #[arg(long, value_name = "TEXT", value_parser = arguments::reason)]
    reason: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn drain(args: &DrainArgs) -> Result<(), Failure> {
    let request = DrainRequest {
        services: args.services.services(),
        by: None,
        reason: args.reason.clone(),
        for_ms: args.lasts.map(Milliseconds::from),
        replace: args.replace,
    };
    let done = block_on(args.client.client(PATIENCE).call(&routes::DRAIN, &request))??;
    show(&args.client, &done)
}

pub(super) fn undrain(args: &NamedArgs) -> Result<(), Failure> {
    ask(args, &routes::UNDRAIN)
}

pub(super) fn force_up(args: &ForceArgs) -> Result<(), Failure> {
    force(args, &routes::FORCE_UP)
}

pub(super) fn force_down(args: &ForceArgs) -> Result<(), Failure> {
    force(args, &routes::FORCE_DOWN)
}

fn force(args: &ForceArgs, route: &Route<ForceRequest, Done>) -> Result<(), Failure> {
    let request = ForceRequest {
        services: args.services.services(),
        by: None,
        reason: args.reason.clone(),
        for_ms: args.lasts.map(Milliseconds::from),
    };
    let done = block_on(args.client.client(PATIENCE).call(route, &request))??;
    show(&args.client, &done)
}

pub(super) fn clear(args: &NamedArgs) -> Result<(), Failure> {
    ask(args, &routes::CLEAR)
}

pub(super) fn promote(args: &NamedArgs) -> Result<(), Failure> {
    ask(args, &routes::PROMOTE)
}

fn ask(args: &NamedArgs, route: &Route<ServicesRequest, Done>) -> Result<(), Failure> {
    let request = ServicesRequest { services: args.services.services(), reason: args.reason.clone() };
    let done = block_on(args.client.client(PATIENCE).call(route, &request))??;
    show(&args.client, &done)
}

pub(super) fn show(args: &ClientArgs, done: &Done) -> Result<(), Failure> {
    if args.json {
        print_json(done)?;
    } else {
        print(&done.message)?;
    }
    done.warning.as_ref().map_or(Ok(()), |warning| Err(Failure::HalfDone(warning.clone())))
}
