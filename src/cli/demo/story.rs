//! The story: the steps in order, each awaited and measured. A step that does not happen ends the story.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use tokio::time::sleep;

use super::super::output::{complain, print};
use super::namespace::{self, EDGE, TOR};
use super::rack::{Edge, is_bound};
use super::tor::{EDGE_AS, TOR_AS, Tor};
use super::web::{self, Web};
use crate::control::api::{Done, DrainRequest, Services, UndrainRequest};
use crate::control::client::Client;
use crate::control::routes;

/// The VIP (RFC 5737).
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
/// The time-out of a step.
const PATIENCE: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_millis(250);
const FAST_INTERVAL: Duration = Duration::from_millis(50);

/// The clock of the story, and its voice.
struct Narrator {
    started: Instant,
}

impl Narrator {
    fn say(&self, who: &str, what: &str) -> Result<()> {
        let text = format!("{:>7.3} s  {who:<5} {what}", self.started.elapsed().as_secs_f64());
        print(&text).context("cannot print")
    }

    fn step(title: &str) -> Result<()> {
        print(&format!("\n{title}")).context("cannot print")
    }
}

pub(super) async fn tell(keep: bool) -> Result<()> {
    namespace::prepare().await?;
    let mut edge = None;
    let told = scenes(keep, &mut edge).await;
    if told.is_err()
        && let Some(edge) = &edge
    {
        complain(&format!("\nthe daemon's log:\n{}\n", edge.log()));
    }
    told
}

async fn scenes(keep: bool, edge: &mut Option<Edge>) -> Result<()> {
    let vip = IpNet::from(VIP);
    let service = SocketAddr::new(VIP, 80);
    let narrator = Narrator { started: Instant::now() };
    print("A rack in a network namespace: one router, one edge node, one web service.")
        .context("cannot print")?;

    Narrator::step("The daemon starts")?;
    let mut tor = Tor::start()?;
    narrator.say("tor", &format!("listens on {TOR}, AS {TOR_AS}"))?;
    let edge = edge.insert(Edge::start(VIP, INTERVAL, FAST_INTERVAL)?);
    narrator.say("edge", &format!("vipcast run, {EDGE}, AS {EDGE_AS}"))?;
    wait_bound(true).await?;
    narrator.say("edge", &format!("{VIP} is bound on lo, not announced: nothing serves it yet"))?;
    tor.wait_established(PATIENCE).await?;
    narrator.say("tor", "session established")?;

    Narrator::step("The service starts")?;
    let web = Web::start(service).await?;
    let route = tor.wait_route(vip, PATIENCE, |_| true).await?;
    narrator.say("tor", &format!("has {vip} via {}, AS path {}", route.next_hop, route.as_path))?;
    let answer = web::ask(service).await?;
    narrator.say("client", &format!("asks {VIP} and gets \"{answer}\""))?;

    Narrator::step(&format!(
        "The service is killed (checked every {INTERVAL:?}, every {FAST_INTERVAL:?} in doubt, 2 failures)"
    ))?;
    let killed = Instant::now();
    drop(web);
    narrator.say("web", "killed")?;
    tor.wait_withdrawn(vip, PATIENCE).await?;
    narrator.say("tor", &format!("route withdrawn, {} ms after the kill", killed.elapsed().as_millis()))?;
    ensure!(is_bound(VIP)?, "the address must stay bound while the service is down");

    Narrator::step("The service comes back")?;
    let back = Instant::now();
    let _web = Web::start(service).await?;
    narrator.say("web", "started")?;
    tor.wait_route(vip, PATIENCE, |_| true).await?;
    narrator.say("tor", &format!("route back, {} ms after the start", back.elapsed().as_millis()))?;

    Narrator::step("An operator drains it, and puts it back")?;
    drain(edge).await?;
    narrator.say("you", "vipcast drain web --reason demo")?;
    tor.wait_route(vip, PATIENCE, |route| route.graceful_shutdown).await?;
    narrator.say("tor", "route now carries GRACEFUL_SHUTDOWN: traffic moves away")?;
    tor.wait_withdrawn(vip, PATIENCE).await?;
    narrator.say("tor", "route withdrawn")?;
    undrain(edge).await?;
    narrator.say("you", "vipcast undrain web")?;
    tor.wait_route(vip, PATIENCE, |route| !route.graceful_shutdown).await?;
    narrator.say("tor", "route back")?;

    if keep {
        wait_for_ctrl_c(edge).await?;
    }

    Narrator::step("The daemon is told to stop (SIGTERM)")?;
    edge.terminate()?;
    tor.wait_route(vip, PATIENCE, |route| route.graceful_shutdown).await?;
    narrator.say("tor", "route carries GRACEFUL_SHUTDOWN")?;
    tor.wait_withdrawn(vip, PATIENCE).await?;
    narrator.say("tor", "route withdrawn")?;
    let goodbye = tor.wait_goodbye(PATIENCE).await?;
    narrator.say("tor", &goodbye)?;
    let status = edge.wait_exit(PATIENCE).await?;
    ensure!(status.success(), "the daemon ended with {status}");
    ensure!(!is_bound(VIP)?, "the daemon left {VIP} behind");
    narrator.say("edge", &format!("{VIP} is off lo, exit 0"))?;
    print("\nEvery step happened.").context("cannot print")
}

async fn wait_bound(wanted: bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while is_bound(VIP)? != wanted {
        if Instant::now() > deadline {
            bail!("{VIP} was not bound within {PATIENCE:?}");
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

async fn drain(edge: &Edge) -> Result<Done> {
    let services = Services::Service("web".to_owned());
    let request = DrainRequest {
        services: Some(services),
        peer: None,
        by: Some("demo".to_owned()),
        reason: Some("demo".to_owned()),
        for_ms: None,
        replace: false,
    };
    Ok(Client::new(edge.socket(), PATIENCE).call(&routes::DRAIN, &request).await?)
}

async fn undrain(edge: &Edge) -> Result<Done> {
    let services = Some(Services::Service("web".to_owned()));
    let request = UndrainRequest { services, peer: None, reason: None };
    Ok(Client::new(edge.socket(), PATIENCE).call(&routes::UNDRAIN, &request).await?)
}

async fn wait_for_ctrl_c(edge: &Edge) -> Result<()> {
    Narrator::step("The rack stays up until Ctrl-C. From another terminal:")?;
    let socket = edge.socket();
    let socket = socket.display();
    print(&format!(
        "  export VIPCAST_SOCKET={socket}\n  vipcast status\n  vipcast explain {VIP}\n  vipcast drain web"
    ))
    .context("cannot print")?;
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")
}
