//! The quick start, as the page has it: its configuration, two routers with what `vipcast recipe frr` prints on the node,
//! the doctor, a drain and a service that dies.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use vipcast_lab::{Host, Lab, Signal};

use crate::engine::{contained, has_next_hops};
use crate::{SOON, generated, recipes, root};

const VIP: &str = "198.51.100.10/32";
const PROGRAM: &str = env!("CARGO_BIN_EXE_vipcast");
/// The routers with their addresses, and ours towards each.
const ROUTERS: [(&str, &str, &str); 2] =
    [("tor-a", "192.0.2.1", "192.0.2.2"), ("tor-b", "192.0.2.5", "192.0.2.6")];

pub(crate) fn works() -> Result<()> {
    Lab::run("quick start", |lab| {
        let page = fs::read_to_string(root().join("docs/quickstart.md")).context("cannot read the page")?;
        let node = lab.host("node")?;
        let mut routers = Vec::new();
        for (name, theirs, ours) in ROUTERS {
            let router = lab.host(name)?;
            let [theirs, ours] = [theirs, ours].map(|address| format!("{address}/30"));
            lab.link_addresses((&router, &[theirs.parse()?]), (&node, &[ours.parse()?]))?;
            routers.push(router);
        }
        let file = node.write_file("vipcast.yaml", recipes::block(&page, "yaml")?)?;
        let file = file.to_str().context("a path of text")?.to_owned();
        println!("{}", node.run([PROGRAM, "check", &file])?);
        let web = recipes::serve(&node)?;

        let mut processes = Vec::new();
        for router in &routers {
            let recipe = node.run([PROGRAM, "recipe", "frr", "--peer", router.name(), &file])?;
            let recipe = router.write_file("router.conf", &recipe)?;
            let mut command = contained(router, router.name())?;
            command.args(["sh", "-euc", generated::START_FRR, "start"]).arg(&recipe);
            processes.push(router.spawn("frr", command)?);
        }
        let mut command = contained(&node, "edge-1")?;
        command.args([PROGRAM, "run", "--config", &file]);
        let daemon = node.spawn("vipcast", command)?;
        let socket = format!("/proc/{}/root/run/vipcast/control.sock", daemon.pid());
        let said = |arguments: &[&str]| -> Result<String> {
            let mut command: Command = node.command(PROGRAM);
            let output = command.args(arguments).args(["--socket", &socket]).output()?;
            let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "vipcast {arguments:?}: {text}");
            Ok(text.into_owned())
        };

        let have = |hops: [&[&str]; 2]| -> Result<()> {
            let both = routers.iter().zip(hops);
            both.into_iter()
                .try_for_each(|(router, hops): (&Host, _)| has_next_hops(router, VIP.parse()?, hops))
        };
        let ours = ROUTERS.map(|(_, _, ours)| [ours]);
        let (all, none) = ([&ours[0][..], &ours[1][..]], [&[][..], &[][..]]);
        lab.until("both routers to have the VIP", SOON, || {
            have(all).with_context(|| said(&["status"]).unwrap_or_default())
        })?;
        println!("{}\n{}", said(&["status"])?, said(&["explain", "198.51.100.10"])?);

        // The clock of the machine is no part of the rack.
        let found = said(&["doctor", &file, "--ignore", "clock-not-synchronised"])?;
        ensure!(found.is_empty(), "the doctor finds: {found}");

        println!("{}", said(&["drain", "web", "--wait", "--reason", "first drill"])?);
        have(none).context("after a drain")?;
        println!("{}", said(&["undrain", "web", "--wait"])?);
        lab.until("both routers to have it again", SOON, || have(all))?;
        web.kill(Signal::SIGKILL)?;
        lab.until("no router to have it", SOON, || have(none))?;
        println!("{}\n{}", said(&["status"])?, said(&["events"])?);
        Ok(())
    })
}
