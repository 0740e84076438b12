//! Drains from outside, as programs use them: the drain file, and `drain --all --wait` with its exit codes.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast_lab::{EchoServer, Lab, Neighbor, Router, RouterConfig, RouterKind, Subnet, find_program};

use crate::node::{Node, VIPCAST};
use crate::{SOON, trial, wait_route};

const VIP: &str = "192.0.2.10";
const GRACEFUL_SHUTDOWN: &str = "65535:0";

pub(crate) fn trials() -> Vec<Trial> {
    let bird = [RouterKind::Bird];
    let playbook = Lab::available_with(&bird).and_then(|()| {
        let found = find_program("ansible-playbook").map(drop);
        found.ok_or_else(|| "ansible-playbook is missing (Debian package ansible-core)".to_owned())
    });
    vec![
        trial("bird::a_drain_file_drains_while_it_exists", &bird, drain_file),
        trial("bird::the_sidecar_of_the_guide_drains_a_cordoned_node_of_kubernetes", &bird, sidecar),
        trial("bird::a_drain_for_scripts_has_an_exit_code_for_each_end", &bird, exit_codes),
        vipcast_lab::trial("bird::the_playbook_of_the_guide_drains_and_undrains", playbook, || {
            Lab::run("playbook", playbook_runs)
        }),
    ]
}

/// A node with a router. `rest` are keys of the configuration.
fn node(lab: &Lab, rest: &str) -> Result<(Node, std::sync::Arc<dyn Router>, EchoServer)> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1));
    let router =
        lab.router(RouterKind::Bird, &tor, &router.neighbor(Neighbor::new(link.v4(&edge)?, 65001)))?;
    let service = EchoServer::start(&edge, "edge", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
    let config = format!(
        "local_as: 65001
peers: {{tor: {{address: {}, peer_as: 65000}}}}
checks: {{web: {{http: {{url: \"http://127.0.0.1:8080/healthz\"}}, interval: 1s}}}}
services: {{web: {{vips: [{VIP}], checks: [web]}}}}
{rest}",
        link.v4(&tor)?
    );
    let node = Node::start(lab, &edge, &config)?;
    wait_route(lab, &*router, VIP, true, SOON)?;
    Ok((node, router, service))
}

/// The file comes and goes, its directory is replaced, and the daemon is started while it is there.
fn drain_file(lab: &Lab) -> Result<()> {
    let place = lab.directory().join("cordon");
    let file = place.join("drain");
    fs::create_dir(&place)?;
    // Long enough for the community to be seen on the slowest machine.
    let keys = |time: &str| format!("drain_file: {}\nshutdown: {{drain_time: {time}}}\n", file.display());
    let (mut node, router, _service) = node(lab, &keys("5s"))?;
    let sessions = node.status()?.peers["tor"].sessions;
    fs::write(place.join("new"), "ticket 7\n")?;
    fs::rename(place.join("new"), &file)?;
    let vip: IpNet = format!("{VIP}/32").parse()?;
    lab.until("GRACEFUL_SHUTDOWN at the router", SOON, || {
        let routes = router.routes()?;
        let paths = routes.get(&vip).map(Vec::as_slice).unwrap_or_default();
        ensure!(paths.iter().any(|path| path.communities.contains(GRACEFUL_SHUTDOWN)), "{paths:?}");
        Ok(())
    })?;
    wait_route(lab, &*router, VIP, false, SOON)?;
    let why = node.explain(VIP.parse()?)?.vip.why.unwrap_or_default();
    ensure!(why.contains(&file.display().to_string()) && why.contains("ticket 7"), "{why}");
    let said = node.cli(&["undrain", "--all"])?;
    ensure!(said.contains("remove the drain file"), "{said}");
    fs::remove_file(&file)?;
    wait_route(lab, &*router, VIP, true, SOON)?;
    // Another directory takes the place of the first, with the file in it.
    let (other, away) = (lab.directory().join("other"), lab.directory().join("away"));
    fs::create_dir(&other)?;
    fs::write(other.join("drain"), "replaced")?;
    fs::rename(&place, &away)?;
    fs::rename(&other, &place)?;
    wait_route(lab, &*router, VIP, false, SOON)?;
    // It counts at the start, before anything is announced.
    node.process.kill(vipcast_lab::Signal::SIGKILL)?;
    node.process.wait_exit(SOON)?;
    node.start_again()?;
    node.wait_established(lab, "tor", SOON)?;
    node.wait_verdict(lab, VIP.parse()?, "withheld", SOON)?;
    vipcast_lab::wait::holds("the VIP to stay withdrawn", Duration::from_millis(500), || {
        ensure!(!crate::has_route(&*router, VIP)?);
        Ok(())
    })?;
    fs::remove_dir_all(&place)?;
    wait_route(lab, &*router, VIP, true, SOON)?;
    println!("sessions before the crash {sessions}");
    ensure!(sessions == 1, "the session was reset");
    Ok(())
}

fn exit_codes(lab: &Lab) -> Result<()> {
    let (node, router, _service) = node(lab, "shutdown: {drain_time: 1s}\n")?;
    let edge = lab.host("shell")?;
    let socket = node.socket().to_string_lossy().into_owned();
    let run = |words: &[&str]| -> Result<(Option<i32>, String, Duration)> {
        let begun = std::time::Instant::now();
        let output = edge.command(VIPCAST.as_str()).args(words).args(["--socket", &socket]).output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        println!("{words:?}: {:?}, {}", output.status.code(), said.trim());
        Ok((output.status.code(), said, begun.elapsed()))
    };
    let drain = ["drain", "--all", "--wait", "--reason", "a job"];
    let undrain = ["undrain", "--all", "--wait"];
    // Told: not before the drain time is over, and then the router does not have it.
    let (code, _, took) = run(&drain)?;
    ensure!(code == Some(0) && took >= Duration::from_secs(1), "{code:?} after {took:?}");
    ensure!(!crate::has_route(&*router, VIP)?, "the router has it still");
    ensure!(run(&undrain)?.0 == Some(0));
    ensure!(crate::has_route(&*router, VIP)?, "the router does not have it");
    // Out of time.
    let (code, said, _) = run(&[&drain[..], &["--timeout", "300ms"]].concat())?;
    ensure!(code == Some(1) && said.contains("not over after"), "{code:?}: {said}");
    // Wrong usage, a service that does not exist, no daemon.
    ensure!(run(&["drain", "--wait"])?.0 == Some(2));
    ensure!(run(&["drain", "nonesuch", "--wait"])?.0 == Some(1));
    let nowhere = edge.command(VIPCAST.as_str()).args(drain).args(["--socket", "/nonexistent"]).output()?;
    ensure!(nowhere.status.code() == Some(1), "{nowhere:?}");
    // No router to tell.
    ensure!(run(&undrain)?.0 == Some(0));
    router.stop()?;
    lab.until("the session to be down", SOON, || {
        let state = node.status()?.peers["tor"].state.word().to_owned();
        ensure!(state != "Established", "{state}");
        Ok(())
    })?;
    let (code, said, _) = run(&drain)?;
    ensure!(code == Some(3) && said.contains("no router has a session"), "{code:?}: {said}");
    Ok(())
}

/// The part of docs/operations.md in a block of this language that begins with these words.
fn guide(language: &str, begin: &str) -> Result<String> {
    let guide = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md"))?;
    let fence = format!("```{language}\n");
    let mut blocks = guide.split(&fence).map(|block| block.split("```").next());
    let block = blocks.find_map(|block| block.filter(|block| block.starts_with(begin)));
    block.map(str::to_owned).with_context(|| format!("the guide has no {begin} any more"))
}

/// The loop of the guide, with a `kubectl` that says what a file says, and fails without it.
fn sidecar(lab: &Lab) -> Result<()> {
    let place = lab.directory().join("cordon");
    let programs = lab.directory().join("bin");
    fs::create_dir(&place)?;
    fs::create_dir(&programs)?;
    let (answer, calls, kubectl) = (place.join("answer"), place.join("calls"), programs.join("kubectl"));
    let fake = format!("#!/bin/sh\necho \"$*\" >>{}\nexec cat {}\n", calls.display(), answer.display());
    fs::write(&kubectl, fake)?;
    fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755))?;
    let keys = format!("drain_file: {}\nshutdown: {{drain_time: 200ms}}\n", place.join("drain").display());
    let (node, router, _service) = node(lab, &keys)?;
    let script = guide("sh", "while sleep 2")?.replace("/cordon/", &format!("{}/", place.display()));
    let pod = lab.host("pod")?;
    let mut command = pod.command("sh");
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .args(["-c", &script])
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("NODE_NAME", "n1");
    fs::write(&answer, "true")?;
    let _loop = pod.spawn("sidecar", command)?;
    wait_route(lab, &*router, VIP, false, SOON)?;
    let why = node.explain(VIP.parse()?)?.vip.why.unwrap_or_default();
    ensure!(why.contains("kubectl cordon"), "{why}");
    // No answer changes nothing.
    fs::remove_file(&answer)?;
    let asked = || Ok::<_, anyhow::Error>(fs::read_to_string(&calls)?.lines().count());
    let before = asked()?;
    lab.until("two questions without an answer", SOON, || {
        ensure!(asked()? >= before + 2);
        Ok(())
    })?;
    ensure!(!crate::has_route(&*router, VIP)?, "it is undrained though nobody said so");
    fs::write(&answer, "")?;
    wait_route(lab, &*router, VIP, true, SOON)?;
    ensure!(fs::read_to_string(&calls)?.starts_with("get node n1 "));
    Ok(())
}

/// The playbook of docs/operations.md, on this machine, with a harmless task in the middle.
fn playbook_runs(lab: &Lab) -> Result<()> {
    let (node, router, _service) = node(lab, "shutdown: {drain_time: 200ms}\n")?;
    let guide = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md"))?;
    let block =
        guide.split("```yml\n").find(|block| block.starts_with("- hosts: edge\n")).unwrap_or_default();
    let block = block.split("```").next().unwrap_or_default();
    let task = "ansible.builtin.apt: {upgrade: dist}";
    ensure!(block.contains(task), "the guide has no such playbook any more: {block}");
    let socket = node.socket().display().to_string();
    let look = format!("ansible.builtin.shell: {} status --socket {socket} --json", VIPCAST.as_str());
    let playbook = block.replace("command: vipcast ", &format!("command: {} ", VIPCAST.as_str()));
    let playbook = playbook.replace(task, &look).replace("--wait", &format!("--wait --socket {socket}"));
    let edge = lab.host("control")?;
    let path = edge.write_file("playbook.yml", &playbook)?;
    let inventory = edge.write_file("inventory", "[edge]\nlocalhost ansible_connection=local\n")?;
    let mut command = edge.command("ansible-playbook");
    command.args(["--verbose", "--inventory"]).arg(&inventory).arg(&path);
    let output = command.env("ANSIBLE_NOCOLOR", "1").env("ANSIBLE_LOCAL_TEMP", lab.directory()).output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{said}\n{playbook}");
    ensure!(said.contains("1 of 1 VIPs withdrawn from every router"), "{said}");
    ensure!(said.contains("1 of 1 VIPs announced"), "{said}");
    println!("{}", said.lines().last().unwrap_or_default());
    ensure!(crate::has_route(&*router, VIP)?, "it is not back");
    Ok(())
}
