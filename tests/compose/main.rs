//! The racks of the documentation, built as documented:
//!
//! * that of `docker-compose.yml`, without a container engine: the lab runs the file, with the same start scripts,
//!   router
//!   configurations and addresses;
//! * the same on a container engine, with the images of the Dockerfiles;
//! * those of `docs/tor-recipes.md`: the router's configuration and the node's are the blocks of the page;
//! * a router with the configuration that `vipcast recipe` prints;
//! * the node and the two routers of `docs/quickstart.md`, with the page's configuration.
//!
//! Tests that cannot run on this machine are counted as ignored.

#![expect(clippy::print_stdout, reason = "numbers are for whoever reads the output of a test")]

mod asking;
mod docker;
mod engine;
mod file;
mod generated;
mod quickstart;
mod recipes;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Arguments;
use vipcast_lab::{Lab, RouterKind, Signal, trial};

use crate::engine::Rack;
use crate::file::Compose;

/// More than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Whether a trial can run here, and if not, why.
type Needs = fn() -> Result<(), String>;
type Test = fn() -> Result<()>;

fn main() -> ExitCode {
    let trials: [(&str, Needs, Test); 13] = [
        ("every_mount_script_and_configuration_exists", || Ok(()), everything_exists),
        ("frr_accepts_the_configuration_of_the_routers", || program("vtysh", "frr"), frr_accepts),
        ("the_rack_spreads_traffic_and_moves_it_when_a_service_dies", rack_available, rack_works),
        (
            "the_rack_plays_on_a_container_engine_and_leaves_nothing_behind",
            docker::available,
            docker::plays_and_leaves_nothing,
        ),
        ("the_recipe_for_frr_works", || available(RouterKind::Frr), recipes::frr),
        ("the_recipe_for_bird_works", || available(RouterKind::Bird), recipes::bird),
        ("the_recipe_for_gobgp_works", || available(RouterKind::GoBgp), recipes::gobgp),
        ("the_recipe_for_openbgpd_works", || available(RouterKind::OpenBgpd), recipes::openbgpd),
        ("the_quick_start_works", || available(RouterKind::Frr), quickstart::works),
        ("the_printed_recipe_for_frr_works", || available(RouterKind::Frr), generated::frr),
        ("the_printed_recipe_for_bird_works", || available(RouterKind::Bird), generated::bird),
        ("the_printed_recipe_for_gobgp_works", || available(RouterKind::GoBgp), generated::gobgp),
        ("the_printed_recipe_for_openbgpd_works", || available(RouterKind::OpenBgpd), generated::openbgpd),
    ];
    let trials = trials.into_iter().map(|(name, needs, test)| trial(name, needs(), test));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn program(name: &str, package: &str) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(name).is_file());
    if found { Ok(()) } else { Err(format!("{name} is missing (Debian package {package})")) }
}

fn rack_available() -> Result<(), String> {
    available(RouterKind::Frr)?;
    program("curl", "curl")
}

fn available(kind: RouterKind) -> Result<(), String> {
    Lab::available_with(&[kind])?;
    [("busybox", "busybox"), ("unshare", "util-linux")]
        .into_iter()
        .try_for_each(|(name, package)| program(name, package))?;
    let hidden = engine::OWN_DIRECTORIES.into_iter().find(|directory| {
        root().starts_with(directory) || Path::new(env!("CARGO_BIN_EXE_vipcast")).starts_with(directory)
    });
    hidden.map_or(Ok(()), |directory| {
        Err(format!("it hides {directory}, in which the checkout or its target is"))
    })
}

fn everything_exists() -> Result<()> {
    let compose = Compose::load(&root().join("docker-compose.yml"))?;
    ensure!(
        compose.services.len() == 7,
        "two routers, two nodes, two web servers and a client were expected"
    );
    for (name, service) in &compose.services {
        for (source, _) in service.mounts()? {
            ensure!(source.exists(), "{name} mounts {}, which is not there", source.display());
        }
        let script = service.script()?;
        ensure!(is_executable(&script)?, "{name} starts {}, which is not executable", script.display());
        let build = service.dockerfile();
        ensure!(build.is_file(), "{name} is built from {}, which is not there", build.display());
    }
    Ok(())
}

fn is_executable(path: &Path) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = path.metadata().with_context(|| format!("cannot look at {}", path.display()))?;
    Ok(metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn frr_accepts() -> Result<()> {
    for name in ["tor-a.conf", "tor-b.conf"] {
        let path = root().join("packaging/compose").join(name);
        let checked = Command::new("vtysh").args(["--dryrun", "--inputfile"]).arg(path).output()?;
        let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
        ensure!(checked.status.success(), "FRR refuses {name}:\n{said}");
    }
    Ok(())
}

fn rack_works() -> Result<()> {
    Lab::run("docker-compose.yml", |lab| {
        let mut rack = Rack::start(lab, &Compose::load(&root().join("docker-compose.yml"))?)?;
        let both = ["10.213.1.11", "10.213.1.12"];
        lab.until("tor-a to have both nodes", SOON, || rack.has_next_hops("tor-a", &both))?;
        lab.until("tor-b to have both nodes", SOON, || {
            rack.has_next_hops("tor-b", &["10.213.2.11", "10.213.2.12"])
        })?;

        rack.start_asking()?;
        lab.until("both nodes to answer", SOON, || rack.last_answers(&["node-a", "node-b"]))?;

        rack.kill("web-a", Signal::SIGKILL)?;
        lab.until("tor-a to have node-b alone", SOON, || rack.has_next_hops("tor-a", &both[1..]))?;
        lab.until("node-b to answer all", SOON, || rack.last_answers(&["node-b"]))?;

        rack.start_service("web-a")?;
        lab.until("both nodes to answer again", SOON, || rack.last_answers(&["node-a", "node-b"]))?;

        // FRR obeys GRACEFUL_SHUTDOWN, and has another path; after the drain time there is no path of node-b left.
        let drained = rack.vipcast("node-b", &["drain", "web", "--reason", "a test"])?;
        ensure!(drained.contains("draining web"), "unexpected: {drained}");
        lab.until("tor-a to have node-a alone", SOON, || rack.has_next_hops("tor-a", &both[..1]))?;
        lab.until("node-a to answer all", SOON, || rack.last_answers(&["node-a"]))?;
        rack.vipcast("node-b", &["undrain", "web"])?;
        lab.until("both nodes to answer after the drain", SOON, || rack.last_answers(&["node-a", "node-b"]))?;

        rack.kill("node-a", Signal::SIGKILL)?;
        lab.until("tor-a to have node-b alone", SOON, || rack.has_next_hops("tor-a", &both[1..]))
    })
}
