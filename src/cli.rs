//! The command line: one file for each command. A command prints its result on stdout and returns; this module prints
//! errors on stderr, as `what failed: cause` with an optional `hint:` line.
//!
//! Exit codes: 0 done, 1 failed, 2 usage, 3 drained without a router to tell (`--wait`), 78 bad configuration; those of `doctor` are the ones of Nagios plugins.

mod arguments;
mod check;
mod demo;
mod doctor;
mod events;
mod explain;
mod import;
mod openapi;
mod output;
mod overrides;
mod recipe;
mod reload;
mod restart;
mod run;
mod schema;
mod screen;
mod status;
mod successor;
mod thaw;
mod top;
mod upgrade;
mod version;
mod wait;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config;
use crate::control::client::{Client, ClientError};
use crate::restart::THAW;
use crate::signals;

/// Announces service addresses (VIPs) over BGP for exactly as long as the service behind them is healthy
#[derive(Debug, Parser)]
#[command(name = "vipcast", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run(run::RunArgs),
    /// Validate a configuration; exits with 78 if it is invalid
    Check(check::CheckArgs),
    /// Watch a VIP being announced and withdrawn: a rack on this machine, without root and without a router
    Demo(demo::DemoArgs),
    /// Show peers, services and VIPs
    Status(status::StatusArgs),
    /// Watch peers, checks, VIPs and events on the whole screen, trouble first
    Top(top::TopArgs),
    /// Explain why a VIP is or is not announced, with every fact behind the verdict
    Explain(explain::ExplainArgs),
    /// Show what happened, oldest first, and who did it
    Events(events::EventsArgs),
    /// Examine this host and the running daemon, and name each fault with its fix
    Doctor(doctor::DoctorArgs),
    /// Take a service, or a router, out of traffic until `undrain`: first GRACEFUL_SHUTDOWN, then the withdrawal
    Drain(overrides::DrainArgs),
    /// Put a drained service or router back into traffic
    Undrain(overrides::UndrainArgs),
    /// Count a service as healthy whatever its checks say, until `clear`; a drain wins
    ForceUp(overrides::ForceArgs),
    /// Withhold a service at once whatever its checks say, until `clear`
    ForceDown(overrides::ForceArgs),
    /// Let the checks of a forced service decide again
    Clear(overrides::NamedArgs),
    /// Let a service that `preempt` holds back after a failure take its traffic back
    Promote(overrides::NamedArgs),
    /// Reload the configuration; an invalid file changes nothing
    Reload(reload::ReloadArgs),
    /// Hand over to the program on disk: sessions, BFD, addresses and routes go on
    Upgrade(upgrade::UpgradeArgs),
    /// Replace the daemon by the program on disk without a gap in traffic
    Restart(restart::RestartArgs),
    /// Print the router's side of the configuration, for one kind of router
    Recipe(recipe::RecipeArgs),
    /// Print the configuration of another program as one for vipcast, with a comment for whatever has no place in it
    Import(import::ImportArgs),
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Print the OpenAPI document of the control socket, for programs that use it
    Openapi,
    /// Print the version
    Version(version::VersionArgs),
}

/// The arguments that name the configuration.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration file, `-` for standard input; default: /etc/vipcast/vipcast.yaml
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Another way to name FILE
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    fn path(&self) -> &Path {
        let named = self.file.as_deref().or(self.config.as_deref());
        match named {
            Some(file) if file == Path::new("-") => Path::new("/dev/stdin"),
            Some(file) => file,
            None => Path::new(config::DEFAULT_PATH),
        }
    }
}

/// The arguments of all commands that talk to the daemon.
#[derive(Debug, Args)]
struct ClientArgs {
    /// Control socket of the daemon [default: the one in /etc/vipcast/vipcast.yaml]
    #[arg(long, value_name = "PATH", env = "VIPCAST_SOCKET")]
    socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Give up after this time without an answer, for example 30s [default: 10s; 30s for reload, 60s for upgrade and restart]
    #[arg(long, value_name = "DURATION", value_parser = arguments::some_time, hide_default_value = true)]
    timeout: Option<Duration>,
}

impl ClientArgs {
    /// A client with the operator's time-out, or else `patience`.
    fn client(&self, patience: Duration) -> Client {
        Client::new(self.socket(), self.timeout.unwrap_or(patience))
    }

    fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| config::control_socket(Path::new(config::DEFAULT_PATH)))
    }
}

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The configuration is invalid; this is the whole message.
    #[error("{0}")]
    Config(String),
    /// The configuration cannot be read at present, which does not make it invalid; this is the whole message.
    #[error("{0}")]
    Unread(String),
    /// The daemon did not answer, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The daemon refused, and its log says why.
    #[error("refused; the log of the daemon says why")]
    Logged,
    /// The command is in force with a warning; this is the warning.
    #[error("{0}")]
    HalfDone(String),
    /// The drain is in force, and there was no router to tell.
    #[error("{0}")]
    ToldNobody(&'static str),
    /// Any other error.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// All commands with their arguments, for the generated reference, man pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|command| command == "run") {
        // First of all: a signal during the start waits for the daemon. `run` reports an error again.
        drop(signals::block());
    }
    if std::env::args_os().nth(1).is_some_and(|command| command == THAW) {
        // For the rehearsal of an upgrade alone: no operator needs to know of it.
        return match thaw::thaw(&std::env::args_os().nth(2).map(PathBuf::from).unwrap_or_default()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => report(&failure),
        };
    }
    let Cli { command } = match Cli::try_parse() {
        Ok(parsed) => parsed,
        Err(error) => return misused(&error),
    };
    let result = match command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::check(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::Status(args) => status::status(&args),
        Command::Top(args) => top::top(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Events(args) => events::events(&args),
        Command::Doctor(args) => return doctor::doctor(&args),
        Command::Drain(args) => overrides::drain(&args),
        Command::Undrain(args) => overrides::undrain(&args),
        Command::ForceUp(args) => overrides::force_up(&args),
        Command::ForceDown(args) => overrides::force_down(&args),
        Command::Clear(args) => overrides::clear(&args),
        Command::Promote(args) => overrides::promote(&args),
        Command::Reload(args) => reload::reload(&args),
        Command::Upgrade(args) => upgrade::upgrade(&args),
        Command::Restart(args) => restart::restart(&args),
        Command::Recipe(args) => recipe::recipe(&args),
        Command::Import(args) => import::import(&args),
        Command::Schema => schema::schema(),
        Command::Openapi => openapi::openapi(),
        Command::Version(args) => version::version(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

/// Prints a usage error, or the help.
fn misused(error: &clap::Error) -> ExitCode {
    // Like clap itself: a closed output is no reason for another exit code.
    drop(error.print());
    let is_doctor = std::env::args_os().nth(1).is_some_and(|command| command == "doctor");
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _usage if is_doctor => ExitCode::from(doctor::UNKNOWN),
        code => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
    }
}

/// `drain --wait` without any router: a script may take it for done, or not.
const TOLD_NOBODY: u8 = 3;
/// `EX_CONFIG` of sysexits.h; systemd shows it by that name.
const EX_CONFIG: u8 = 78;

fn report(failure: &Failure) -> ExitCode {
    let (text, code) = match failure {
        Failure::Config(diagnostics) => (diagnostics.clone(), ExitCode::from(EX_CONFIG)),
        // A supervisor such as systemd may succeed with another start.
        Failure::Unread(diagnostics) => (diagnostics.clone(), ExitCode::FAILURE),
        Failure::Client(error) => {
            let hint = error.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
            (format!("error: {}\n{hint}", output::chain(output::causes(error))), ExitCode::FAILURE)
        }
        Failure::Logged => (String::new(), ExitCode::FAILURE),
        Failure::HalfDone(warning) => (format!("warning: {warning}\n"), ExitCode::FAILURE),
        Failure::ToldNobody(what) => (format!("error: {what}\n"), ExitCode::from(TOLD_NOBODY)),
        Failure::Other(error) => (format!("error: {}\n", output::chain(error.chain())), ExitCode::FAILURE),
    };
    output::complain(&text);
    code
}

/// Runs a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from)?;
    Ok(runtime.block_on(future))
}
