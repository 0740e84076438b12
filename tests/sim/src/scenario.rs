//! Scenarios: a world and its actions as text, with expectations.
//!
//! ```text
//! # A service dies on one of two nodes.
//! world seed 1 nodes 2 routers 1
//! at 8s kill web on edge-1
//! at 10s expect tor-a lacks 192.0.2.10 from edge-1
//! at 10s expect tor-a has 192.0.2.10 from edge-2
//! until 20s
//! settles
//! ```
//!
//! `world` may end with `graceful`, `passive`, and `bug` with its name. `settles` expects the right state some time
//! after the last fault.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;
use vipcast_bgp::Instant;

use crate::action::{Node, Timed, Tor};
use crate::run::{Case, SETTLE};
use crate::shape::vip_of;
use crate::words::{Words, duration, shown};
use crate::world::{Setup, World};

/// What is expected of a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expectation {
    at: Instant,
    router: Tor,
    has: bool,
    vip: IpNet,
    node: Node,
}

/// A scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    case: Case,
    expected: Vec<Expectation>,
    until: Instant,
    settles: bool,
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let setup = Setup { seed: 1, nodes: 1, routers: 1, graceful: false, passive: false, bug: None };
        let case = Case { setup, actions: Vec::new() };
        let mut scenario = Self { case, expected: Vec::new(), until: Instant::BOOT, settles: false };
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                scenario.read(line).map_err(|error| format!("line {}: {error}", number + 1))?;
            }
        }
        Ok(scenario)
    }
}

impl Scenario {
    fn read(&mut self, line: &str) -> Result<(), String> {
        let mut words = Words::of(line);
        match words.take()? {
            "world" => self.case.setup = setup(&mut words)?,
            "until" => self.until = Instant::BOOT + duration(words.take()?)?,
            "settles" => self.settles = true,
            "at" => {
                let at = Instant::BOOT + duration(words.take()?)?;
                if words.peek() == Some("expect") {
                    words.take()?;
                    let (router, has) = (words.parse()?, words.either("has", "lacks")?);
                    let vip = words.take()?;
                    let vip = vip_of(vip).ok_or_else(|| format!("no VIP: {vip:?}"))?;
                    let node = words.after("from")?;
                    self.expected.push(Expectation { at, router, has, vip, node });
                } else {
                    // The rest of the line, as it stands.
                    let action = line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ");
                    self.case.actions.push(Timed { at, action: action.parse()? });
                    return Ok(());
                }
            }
            other => return Err(format!("a line does not begin with {other:?}")),
        }
        words.end()
    }

    /// Runs it, and says what happens.
    ///
    /// # Errors
    /// A rule was broken, or something is not as expected; with what happened until then.
    pub fn run(&self) -> Result<String, String> {
        let mut world = World::new(self.case.setup);
        world.trace.on = true;
        world.schedule(&self.case.actions);
        let failed = |world: &World, what: String| format!("{what}\n{}", world.trace.lines.join("\n"));
        let mut expected = self.expected.clone();
        expected.sort_by_key(|expectation| expectation.at);
        for Expectation { at, router, has, vip, node } in expected {
            world.run_until(at);
            let rib = world.routers.get(router.0).and_then(|router| router.ribs.get(node.0));
            let rib = rib.ok_or_else(|| format!("there is no {router}, or no {node}"))?;
            if world.violation.is_none() && rib.routes.contains_key(&vip) != has {
                let word = if has { "lacks" } else { "has" };
                return Err(failed(
                    &world,
                    format!("at {}: {router} {word} {vip} from {node}", shown(at - Instant::BOOT)),
                ));
            }
        }
        world.run_until(self.until);
        if self.settles && world.violation.is_none() {
            world.calm();
            let end = world.now + SETTLE;
            world.run_until(end);
            if world.violation.is_none() {
                world.everything_is_so();
            }
        }
        match world.violation.take() {
            Some(violation) => {
                let at = shown(violation.at - Instant::BOOT);
                Err(failed(&world, format!("{} at {at}: {}", violation.rule, violation.what)))
            }
            None => Ok(world.trace.lines.join("\n") + "\n"),
        }
    }
}

fn setup(words: &mut Words<'_>) -> Result<Setup, String> {
    let (seed, nodes, routers) = (words.after("seed")?, words.after("nodes")?, words.after("routers")?);
    let mut setup = Setup { seed, nodes, routers, graceful: false, passive: false, bug: None };
    while let Some(word) = words.peek() {
        words.take()?;
        match word {
            "graceful" => setup.graceful = true,
            "passive" => setup.passive = true,
            "bug" => setup.bug = Some(words.parse()?),
            other => return Err(format!("a world is not {other:?}")),
        }
    }
    Ok(setup)
}

/// As a scenario that settles.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup { seed, nodes, routers, graceful, passive, bug } = self.setup;
        write!(f, "world seed {seed} nodes {nodes} routers {routers}")?;
        if graceful {
            f.write_str(" graceful")?;
        }
        if passive {
            f.write_str(" passive")?;
        }
        if let Some(bug) = bug {
            write!(f, " bug {bug}")?;
        }
        writeln!(f)?;
        self.actions.iter().try_for_each(|timed| writeln!(f, "{timed}"))?;
        let last = self.actions.last().map_or(Instant::BOOT, |timed| timed.at);
        writeln!(f, "until {}\nsettles", shown(last + std::time::Duration::from_millis(100) - Instant::BOOT))
    }
}
