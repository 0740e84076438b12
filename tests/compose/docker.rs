//! `docker-compose.yml` on a container engine of the test's own: the images are built, and the commands at the head of the
//! file are run.
//!
//! * [`engine`] has the engine, in namespaces of its own.
//! * [`images`] gives it the images that it would otherwise pull.
//! * [`traces`] compares this machine before and after.

mod engine;
mod images;
mod traces;

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, ensure};
use vipcast_lab::{Lab, debian, find_program, wait};

use crate::asking::Asking;
use crate::file::Compose;
use crate::{SOON, program, root};
use engine::Engine;
use traces::Traces;

const VIP: &str = "198.51.100.10";
/// Both nodes, as each router reaches them.
const NODES: [(&str, [&str; 2]); 2] =
    [("tor-a", ["10.213.1.11", "10.213.1.12"]), ("tor-b", ["10.213.2.11", "10.213.2.12"])];

/// Requests, of ten a second, that may be lost when a web server is killed: the check runs every second, and the second
/// failure follows 100 ms later. Half of the requests go to the dead one.
const DETECTION: u32 = 15;
/// The same when a node is killed with its sessions: the routers drop its routes at once.
const SESSIONS: u32 = 10;

pub(crate) fn available() -> Result<(), String> {
    Lab::available()?;
    debian::available()?;
    for (name, package) in [
        ("dockerd", "docker.io"),
        ("docker-compose", "docker-compose"),
        ("dpkg-scanpackages", "dpkg-dev"),
        ("nft", "nftables"),
    ] {
        find_program(name).ok_or_else(|| format!("{name} is missing (Debian package {package})"))?;
    }
    program("unshare", "util-linux")?;
    images::program_runs_on_the_base()
}

pub(crate) fn plays_and_leaves_nothing() -> Result<()> {
    let before = Traces::now()?;
    let namespaces = Lab::run("docker-compose.yml on an engine", |lab| {
        let engine = Engine::start(lab)?;
        let compose = Compose::load(&root().join("docker-compose.yml"))?;
        images::import(&engine, &compose)?;
        let built = Instant::now();
        println!("{}", engine.compose(&["build"])?);
        println!("images built in {:?}", built.elapsed());
        play(lab, &engine)?;
        runs_as_a_user(lab, &engine)?;
        traces::namespaces(engine.process())
    })?;
    // The kernel takes the engine's namespaces down after the kill.
    wait::until("everything of the engine to be gone", SOON, || {
        let kept = Traces::now()?;
        ensure!(kept == before, "left behind: {}", kept.beyond(&before));
        traces::ended(&namespaces)
    })
}

fn play(lab: &Lab, engine: &Engine) -> Result<()> {
    engine.compose(&["up", "--detach"])?;
    for (router, nodes) in NODES {
        lab.until(format!("{router} to have both nodes"), SOON, || has_next_hops(engine, router, &nodes))?;
    }
    let status = engine.compose(&["exec", "-T", "node-a", "vipcast", "status"])?;
    println!("{status}");
    ensure!(status.contains(" announced "), "{status}");

    let asking = Asking::new(engine.spawn("ask", &["exec", "-T", "client", "/compose/ask.sh"])?);
    let step = |commands: &[&[&str]], answers: &[&str], limit: u32| -> Result<()> {
        let before = asking.lost()?;
        for command in commands {
            println!("docker-compose {}\n{}", command.join(" "), engine.compose(command)?.trim_end());
        }
        lab.until(format!("answers of {answers:?}"), SOON, || asking.last_answers(answers))?;
        let lost = asking.lost()? - before;
        println!("answers of {answers:?}; {lost} requests lost");
        ensure!(lost <= limit, "{lost} requests were lost, not {limit} at most:\n{}", asking.log());
        Ok(())
    };
    let both = ["node-a", "node-b"];
    lab.until("answers of both nodes", SOON, || asking.last_answers(&both))?;

    step(&[&["kill", "web-a"]], &["node-b"], DETECTION)?;
    step(&[&["up", "--detach", "web-a"]], &both, 0)?;

    let drain = ["exec", "-T", "node-b", "vipcast", "drain", "web", "--reason", "kernel update"];
    step(&[&drain], &["node-a"], 0)?;
    step(&[&["exec", "-T", "node-b", "vipcast", "undrain", "web"]], &both, 0)?;

    step(&[&["kill", "node-a", "web-a"]], &["node-b"], SESSIONS)?;
    for (router, nodes) in NODES {
        has_next_hops(engine, router, &nodes[1..])?;
    }
    step(&[&["up", "--detach", "node-a", "web-a"]], &both, 0)?;

    // SIGTERM is a drain.
    step(&[&["stop", "node-b"]], &["node-a"], 0)?;

    println!("{}", asking.log());
    drop(asking);
    engine.compose(&["down"])?;
    let left = engine.docker(&["ps", "--all", "--quiet"])?;
    ensure!(left.is_empty(), "containers are left: {left}");
    let networks = engine.docker(&["network", "ls", "--filter", "type=custom", "--quiet"])?;
    ensure!(networks.is_empty(), "networks are left: {networks}");
    Ok(())
}

/// The image for nodes without exec checks: its program is not root's, and binds the VIP.
fn runs_as_a_user(lab: &Lab, engine: &Engine) -> Result<()> {
    let repository = root();
    let (dockerfile, mount) = (
        repository.join("packaging/Dockerfile").display().to_string(),
        format!("{}:/compose:ro", repository.join("packaging/compose").display()),
    );
    let program = format!("PROGRAM={}", images::BUILT);
    let context = repository.display().to_string();
    engine.docker(&[
        "build",
        "--target",
        "user",
        "--build-arg",
        &program,
        "--file",
        &dockerfile,
        "--tag",
        "user",
        &context,
    ])?;
    let config = ["run", "--config", "/compose/node-a.yaml"];
    let start = ["run", "--detach", "--name", "user", "--cap-add", "NET_ADMIN", "--volume", &mount, "user"];
    engine.docker(&[&start[..], &config[..]].concat())?;
    lab.until("the container to be healthy", SOON, || {
        let health = engine.docker(&["inspect", "--format", "{{.State.Health.Status}}", "user"])?;
        ensure!(health.trim() == "healthy", "{health}");
        Ok(())
    })?;
    let user = engine.docker(&["exec", "user", "id", "--user", "--name"])?;
    ensure!(user.trim() == "vipcast", "it is {user}");
    let addresses = engine.docker(&["exec", "user", "ip", "address", "show", "lo"])?;
    ensure!(addresses.contains(VIP), "the VIP is not bound: {addresses}");
    engine.docker(&["rm", "--force", "--volumes", "user"]).map(drop)
}

/// Whether the kernel of a router forwards packets for the VIP to these addresses, and to no others.
fn has_next_hops(engine: &Engine, router: &str, wanted: &[&str]) -> Result<()> {
    let routes = engine.compose(&["exec", "-T", router, "ip", "route", "show", VIP])?;
    let words: Vec<&str> = routes.split_whitespace().collect();
    let next_hops: BTreeSet<&str> =
        words.windows(2).filter_map(|pair| (pair[0] == "via").then_some(pair[1])).collect();
    ensure!(next_hops == wanted.iter().copied().collect(), "{router} has {next_hops:?} and not {wanted:?}");
    Ok(())
}
