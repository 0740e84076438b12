//! Reasons to refuse an upgrade: nothing has happened then, the exit code says so, and the reason is named.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use vipcast_lab::{Lab, RouterKind, Signal};

use super::versions::put;
use super::{Site, ask, program, refused, upgrade, write_program};
use crate::node::{VIPCAST, released};
use crate::{SOON, trial, wait_route};

const ANOTHER: &str = "192.0.2.90";
const ANOTHER_SERVICE: &str = "  another: {vips: [192.0.2.90], checks: []}\n";
const UNDER_WAY: &str = "an upgrade is under way already";

pub(crate) fn trials() -> Vec<Trial> {
    let frr = |name, test: fn(&Lab) -> Result<()>| trial(name, &[RouterKind::Frr], test);
    vec![
        frr("frr::upgrade_to_a_program_that_cannot_take_over_is_refused_with_its_reason", programs),
        frr("frr::upgrade_to_a_program_that_hangs_is_refused_and_nothing_waits_for_it", hangs),
        frr("frr::upgrade_with_another_configuration_on_disk_is_refused", changed),
        frr("frr::upgrade_of_which_two_are_asked_for_at_once_is_done_once", at_once),
    ]
}

/// A program in the place of the node's.
enum Next {
    /// A script, which is asked with the arguments of a vipcast; `$REAL` is one.
    Script(&'static str),
    /// The file of the node's program with this mode.
    Mode(u32),
    /// The head of a program for another machine.
    Machine,
    /// Another program.
    Program(&'static str),
}

/// What is put there, and the words of the refusal.
const PROGRAMS: [(&str, Next, &str); 8] = [
    ("a file that is not executable", Next::Mode(0o644), "Permission denied"),
    ("a program for another architecture", Next::Machine, "is a program for another architecture"),
    ("another program", Next::Program("/bin/true"), "is no vipcast"),
    (
        "an older vipcast",
        Next::Script(
            r#"[ $1 = version ] && { echo '{"name": "vipcast", "version": "0.0.9", "takes_over": 1}'; exit 0; }"#,
        ),
        "0.0.9",
    ),
    (
        "a vipcast that reads only later forms of the state",
        Next::Script(
            r#"[ $1 = version ] && { echo '{"name": "vipcast", "version": "9.9.9", "hands_over": [8, 9]}'; exit 0; }"#,
        ),
        "it reads forms 8 and 9, this one writes forms 1 and 2",
    ),
    (
        "a vipcast that refuses the configuration",
        Next::Script(
            "case $1 in version | run) exec $REAL \"$@\" ;; check) echo 'error: no key `peers`' >&2; exit 1 ;; *) exit 0 ;; esac",
        ),
        "no key `peers`",
    ),
    (
        "a vipcast that refuses the state",
        Next::Script(
            "case $1 in version | check | run) exec $REAL \"$@\" ;; *) echo 'error: peers.tor: no such timer' >&2; exit 1 ;; esac",
        ),
        "no such timer",
    ),
    (
        "a vipcast that panics",
        Next::Script(
            "case $1 in version | check | run) exec $REAL \"$@\" ;; *) echo 'panicked at the disco' >&2; kill -ABRT $$ ;; esac",
        ),
        "panicked at the disco",
    ),
];

fn replace(site: &Site<'_>, next: &Next) -> Result<()> {
    let path = program(&site.node).with_extension("new");
    match next {
        Next::Program(program) => return put(site, Path::new(program)),
        Next::Script(text) => {
            write_program(&path, format!("#!/bin/sh\nREAL={}\n{text}\n", released()).as_bytes(), 0o755)?;
        }
        Next::Mode(mode) => write_program(&path, b"anything", *mode)?,
        Next::Machine => {
            let mut head = fs::read(&*VIPCAST)?;
            head.truncate(4096);
            // e_machine: RISC-V, or x86-64 there.
            head[18] = if head[18] == 243 { 62 } else { 243 };
            write_program(&path, &head, 0o755)?;
        }
    }
    fs::rename(&path, program(&site.node)).context("cannot replace the program")
}

fn programs(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, RouterKind::Frr, "", "", "")?;
    let before = site.before()?;
    site.under_traffic(|| {
        for (what, next, words) in &PROGRAMS {
            replace(&site, next)?;
            for arguments in [&["upgrade"][..], &["upgrade", "--dry-run"]] {
                let (code, said) = ask(&site.node, arguments)?;
                println!("{what}: {}", said.trim());
                ensure!(code == Some(1) && said.contains(words), "{what}: exit {code:?}, {said}");
            }
            site.ensure_untouched(&before).with_context(|| (*what).to_owned())?;
        }
        Ok(())
    })?;
    put(&site, Path::new(&released()))?;
    let tried = site.node.cli(&["upgrade", "--dry-run"])?;
    println!("{}", tried.trim());
    ensure!(count(&site, "upgraded")? == 0, "a rehearsal upgraded");
    upgrade(&site.node)?;
    ensure!(count(&site, "upgraded")? == 1, "not told");
    ensure!(count(&site, "not_upgraded")? == 2 * PROGRAMS.len(), "not told");
    site.ensure_untouched(&before)
}

/// How many events there are of a kind.
fn count(site: &Site<'_>, kind: &str) -> Result<usize> {
    let told = site.node.cli(&["events", "--json"])?;
    let told = told.lines().map(serde_json::from_str).collect::<serde_json::Result<Vec<Value>>>()?;
    Ok(told.iter().filter(|event| event["event"] == kind).count())
}

/// Meanwhile the node does all its work.
fn hangs(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, RouterKind::Frr, "", ANOTHER_SERVICE, "")?;
    wait_route(lab, site.router.as_ref(), ANOTHER, true, SOON)?;
    let before = site.before()?;
    for at in ["version", "thaw"] {
        let others = if at == "version" { "check | run" } else { "version | check | run" };
        let text = format!(
            "#!/bin/sh\ncase $1 in {others}) exec {} \"$@\" ;; esac\nsleep 1000 & wait\n",
            released()
        );
        let path = program(&site.node).with_extension("new");
        write_program(&path, text.as_bytes(), 0o755)?;
        fs::rename(&path, program(&site.node))?;
        thread::scope(|scope| -> Result<()> {
            let upgrade = scope.spawn(|| ask(&site.node, &["upgrade"]));
            site.node.cli(&["drain", "another"])?;
            wait_route(lab, site.router.as_ref(), ANOTHER, false, SOON)?;
            site.node.cli(&["undrain", "another"])?;
            wait_route(lab, site.router.as_ref(), ANOTHER, true, SOON)?;
            let (code, said) = upgrade.join().map_err(|_panic| anyhow::anyhow!("a thread panicked"))??;
            println!("{at}: {}", said.trim());
            ensure!(code == Some(1) && said.contains("does not end"), "{at}: exit {code:?}, {said}");
            Ok(())
        })?;
        site.ensure_same_session(&before)?;
    }
    put(&site, Path::new(&released()))?;
    upgrade(&site.node)?;
    site.ensure_same_session(&before)
}

/// What is on disk must be in force: the hand-over itself changes nothing.
fn changed(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, RouterKind::Frr, "", "", "")?;
    let before = site.before()?;
    let text = fs::read_to_string(site.node.config())?;
    for (what, text, words) in [
        ("a service more", text.replace("shutdown:", &format!("{ANOTHER_SERVICE}shutdown:")), "in force"),
        ("no configuration", "peers: 7\n".to_owned(), "peers"),
    ] {
        fs::write(site.node.config(), text)?;
        let said = refused(&site.node, &["upgrade"])?;
        println!("{what}: {said}");
        ensure!(said.contains(words), "{what}: {said}");
        site.ensure_untouched(&before)?;
    }
    fs::write(site.node.config(), text.replace("shutdown:", &format!("{ANOTHER_SERVICE}shutdown:")))?;
    site.node.cli(&["reload"])?;
    wait_route(lab, site.router.as_ref(), ANOTHER, true, SOON)?;
    upgrade(&site.node)?;
    wait_route(lab, site.router.as_ref(), ANOTHER, true, SOON)?;
    site.ensure_same_session(&before)
}

/// By three callers and a signal.
fn at_once(lab: &Lab) -> Result<()> {
    const ROUNDS: usize = 6;
    let site = Site::new(lab, RouterKind::Frr, "", "", "")?;
    let before = site.before()?;
    let (mut done, mut others) = (0, 0);
    for round in 0..ROUNDS {
        let said = thread::scope(|scope| {
            let commands: Vec<_> = (0..3).map(|_| scope.spawn(|| ask(&site.node, &["upgrade"]))).collect();
            thread::sleep(Duration::from_millis(20 * u64::try_from(round)?));
            site.node.process.kill(Signal::SIGUSR2)?;
            let said = commands.into_iter().map(|command| command.join());
            anyhow::Ok(
                said.map(|said| said.unwrap_or_else(|_| Err(anyhow::anyhow!("panicked"))))
                    .collect::<Vec<_>>(),
            )
        })?;
        for said in said {
            match said? {
                (Some(0), _) => done += 1,
                (code, said) => {
                    ensure!(code == Some(1) && said.contains(UNDER_WAY), "exit {code:?}: {said}");
                    others += 1;
                }
            }
        }
        site.ensure_untouched(&before)?;
    }
    // The signal's own may still go on.
    let told = count(&site, "upgraded")?;
    println!("{done} commands upgraded, {others} were refused, {told} upgrades with those by signal");
    ensure!(done >= 1 && told >= done, "{done} upgrades, {told} events");
    let asked = told;
    site.lab.until("no upgrade to be under way", SOON, || upgrade(&site.node).map(drop))?;
    site.node.process.kill(Signal::SIGUSR2)?;
    site.lab.until("the upgrade by signal", SOON, || {
        let told = count(&site, "upgraded")?;
        ensure!(told > asked + 1, "{told}");
        Ok(())
    })?;
    site.ensure_untouched(&before)
}
