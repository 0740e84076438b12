//! Runs seeds, scenarios, ordinary life and planted bugs.
//!
//! ```text
//! vipcast-sim seeds [COUNT] [FIRST]    seeds from FIRST on; with SIM_SEED that one, with its trace, for SIM_STEPS steps
//! vipcast-sim replay FILE              a scenario, with its trace
//! vipcast-sim ordinary [NODES] [SECS]  nodes without faults and operators
//! vipcast-sim planted [SEEDS]          every planted bug is found
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command")]

use std::process::ExitCode;
use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_sim::bug::Bug;
use vipcast_sim::run::Case;
use vipcast_sim::scenario::Scenario;
use vipcast_sim::world::{Setup, World};

fn main() -> ExitCode {
    // A panic is a finding, and told as one.
    std::panic::set_hook(Box::new(|_| {}));
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let mut number = |default: u64| match arguments.next() {
        Some(text) => text.parse().map_err(|_| format!("no number: {text:?}")),
        None => Ok(default),
    };
    let done = match command.as_str() {
        "seeds" => number(1000).and_then(|count| seeds(count, number(1)?)),
        "ordinary" => number(100).and_then(|nodes| ordinary(nodes, number(3600)?)),
        "planted" => number(1000).and_then(planted),
        "replay" => arguments.next().ok_or_else(|| "which file?".to_owned()).and_then(|path| replay(&path)),
        other => Err(format!("no command: {other:?}; seeds, replay, ordinary or planted")),
    };
    match done {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn seeds(count: u64, first: u64) -> Result<String, String> {
    let (mut steps, mut run) = (0, 0);
    if let Some(seed) = variable("SIM_SEED")? {
        let case = Case::of_seed(seed);
        let outcome = case.run_for(variable("SIM_STEPS")?.unwrap_or(u64::MAX), true);
        println!("{case}\n{}", outcome.trace.join("\n"));
        return match outcome.violation {
            Some(violation) => Err(format!("{}: {}", violation.rule, violation.what)),
            None => Ok(format!("{} steps: every rule held", outcome.steps)),
        };
    }
    for seed in first..first + count {
        let case = Case::of_seed(seed);
        let outcome = case.run(false);
        steps += outcome.steps;
        run += 1;
        if let Some(violation) = outcome.violation {
            return Err(case.report(&violation));
        }
    }
    Ok(format!("{run} seeds, {steps} steps: every rule held"))
}

fn variable(name: &str) -> Result<Option<u64>, String> {
    let text = std::env::var(name).ok();
    text.map(|text| text.parse().map_err(|_| format!("{name} is no number: {text:?}"))).transpose()
}

fn ordinary(nodes: u64, seconds: u64) -> Result<String, String> {
    let nodes = usize::try_from(nodes).map_err(|error| error.to_string())?;
    let setup = Setup { seed: 1, nodes, routers: 2, graceful: false, passive: false, bug: None };
    let mut world = World::new(setup);
    world.run_until(Instant::BOOT + Duration::from_secs(seconds));
    if world.violation.is_none() {
        world.everything_is_so();
    }
    match world.violation {
        Some(violation) => Err(format!("{} at {:?}: {}", violation.rule, violation.at, violation.what)),
        None => Ok(format!("{nodes} nodes, {seconds} s, {} steps: every rule held", world.steps)),
    }
}

fn planted(seeds: u64) -> Result<String, String> {
    let mut told = Vec::new();
    for bug in Bug::ALL {
        told.push(find(bug, seeds)?);
    }
    Ok(told.join("\n"))
}

fn find(bug: Bug, seeds: u64) -> Result<String, String> {
    for seed in 1..=seeds {
        let mut case = Case::of_seed(seed);
        case.setup.bug = Some(bug);
        let Some(violation) = case.run(false).violation else { continue };
        let least = case.shrunk(violation.rule);
        let count = least.actions.len();
        let found =
            format!("{bug}: seed {seed}, {}, {count} of {} actions", violation.rule, case.actions.len());
        return if count <= 20 { Ok(found) } else { Err(format!("{found}: too many")) };
    }
    Err(format!("{bug}: not found within {seeds} seeds"))
}

fn replay(path: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let scenario: Scenario = text.parse().map_err(|error| format!("{path}: {error}"))?;
    scenario.run()
}
