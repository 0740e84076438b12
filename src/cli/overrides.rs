//! `vipcast drain`, `vipcast force-up`, and the other commands of overrides.

use std::time::Duration;

use clap::Args;
use vipcast_node::names::ServiceName;

use super::output::{print, print_json};
use super::wait::{self, Goal, Scope, Until};
use super::{ClientArgs, Failure, arguments, block_on};
use crate::control::api::{
    Done, DrainRequest, ForceRequest, Milliseconds, Services, ServicesRequest, UndrainRequest,
};
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
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// The service
    #[arg(value_parser = arguments::service)]
    service: Option<ServiceName>,
    /// Every service
    #[arg(long)]
    all: bool,
    /// One router: all routes are taken from it, its session stays, and the other routers notice nothing
    #[arg(long, value_name = "NAME", value_parser = arguments::peer)]
    peer: Option<String>,
}

impl TargetArgs {
    fn services(&self) -> Option<Services> {
        match (&self.service, &self.peer) {
            (Some(service), _) => Some(Services::Service(service.to_string())),
            (None, Some(_)) => None,
            (None, None) => Some(Services::All),
        }
    }

    fn scope(&self) -> Scope {
        match (&self.service, &self.peer) {
            (Some(service), _) => Scope::Service(service.to_string()),
            (None, Some(peer)) => Scope::Peer(peer.clone()),
            (None, None) => Scope::All,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    target: TargetArgs,
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
    /// Return when every router was told the withdrawal, and show the progress; exits with 1 if that takes 30 s longer
    /// than the drain time, or longer than `--timeout`, and with 3 if no router has a session
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct UndrainArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// The reason, for the log
    #[arg(long, value_name = "TEXT", value_parser = arguments::reason)]
    reason: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
    /// Return when it is announced again, and show the progress; exits with 1 and the reason if that takes more than
    /// 30 s, or longer than `--timeout`
    #[arg(long)]
    wait: bool,
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
        services: args.target.services(),
        peer: args.target.peer.clone(),
        by: None,
        reason: args.reason.clone(),
        for_ms: args.lasts.map(Milliseconds::from),
        replace: args.replace,
    };
    let done = block_on(args.client.client(PATIENCE).call(&routes::DRAIN, &request))??;
    finish(&args.client, done, args.wait.then(|| Goal { until: Until::Drained, scope: args.target.scope() }))
}

pub(super) fn undrain(args: &UndrainArgs) -> Result<(), Failure> {
    let request = UndrainRequest {
        services: args.target.services(),
        peer: args.target.peer.clone(),
        reason: args.reason.clone(),
    };
    let done = block_on(args.client.client(PATIENCE).call(&routes::UNDRAIN, &request))??;
    finish(
        &args.client,
        done,
        args.wait.then(|| Goal { until: Until::Announced, scope: args.target.scope() }),
    )
}

/// Shows the answer, or waits for the goal of the command.
fn finish(args: &ClientArgs, done: Done, goal: Option<Goal>) -> Result<(), Failure> {
    match goal {
        None => show(args, &done),
        Some(goal) => wait::wait(args, done, &goal),
    }
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
