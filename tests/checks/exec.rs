//! `exec` with the programs of the host.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::trial;

use crate::server::{Directory, expect, vipcast};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("exec_of_scripts_of_an_operator", Ok(()), scripts),
        trial("exec_programs_die_with_a_daemon_that_is_killed", Ok(()), killed),
    ]
}

fn killed() -> Result<()> {
    let directory = Directory::new()?;
    let mark = directory.path().join("pid");
    // `exec`: the shell becomes the program.
    let check = format!(
        "{{exec: {{shell: 'echo $$ > {}; exec sleep 300'}}, interval: 1h, timeout: 10m}}",
        mark.display()
    );
    let text = format!(
        "local_as: 65001\npeers: {{tor: {{address: 192.0.2.1, peer_as: 65000}}}}\nchecks: {{long: {check}}}\nservices: \
         {{web: {{vips: [198.51.100.1], checks: [long]}}}}\n"
    );
    let config = directory.write("vipcast.yaml", &text)?;
    let mut daemon = Command::new(vipcast()).arg("check").arg(&config).arg("--probe").spawn()?;
    let program = wait_for("the program starts", || {
        let text = fs::read_to_string(&mark).ok()?;
        text.trim().parse::<i32>().ok()
    })?;
    // Longer than an idle thread of a pool lives: it must not take the program along.
    thread::sleep(Duration::from_secs(11));
    let is_alive = || Path::new(&format!("/proc/{program}/stat")).exists();
    ensure!(is_alive(), "it has ended by itself");
    daemon.kill()?;
    daemon.wait()?;
    wait_for("the program ends", || (!is_alive()).then_some(()))
}

fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(found) = found() {
            return Ok(found);
        }
        ensure!(begin.elapsed() < Duration::from_secs(30), "still not: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn scripts() -> Result<()> {
    let directory = Directory::new()?;
    let path = directory.path().display();
    let exec = |rest: &str| format!("{{exec: {{{rest}}}, timeout: 900ms}}");
    let told = "shell: 'echo $VIPCAST_CHECK, $VIPCAST_SERVICE, $VIPCAST_VIPS, $VIPCAST_TIMEOUT_MS'";
    // The children ignore SIGTERM, hold the pipes, and one of them is in a group of its own.
    let stubborn =
        "shell: \"trap '' TERM; echo stuck; (trap '' TERM; sleep 30) & setsid sleep 3 & sleep 30\"";
    expect(&[
        ("told", exec(told), true, "exit code 0: told, web, 198.51.100.1, 900"),
        (
            "environment",
            exec("shell: 'echo $A-$B', environment: {A: 1, B: \"two words\"}"),
            true,
            "exit code 0: 1-two words",
        ),
        (
            "directory",
            exec(&format!("command: [/bin/pwd], directory: {path}")),
            true,
            &format!("exit code 0: {path}"),
        ),
        ("failing", exec("shell: 'echo fine; echo broken >&2; exit 2'"), false, "exit code 2: broken"),
        ("killed", exec("shell: 'kill -9 $$'"), false, "killed by SIGKILL"),
        ("stubborn", exec(stubborn), false, "killed after 900 ms: stuck"),
        ("endless", exec("command: [/usr/bin/yes]"), false, "killed after 900 ms: y"),
        ("much", exec("shell: 'yes | head -c 3000000'"), true, "exit code 0: y"),
        ("nobody", exec("command: [/bin/true], user: root, group: root"), true, "exit code 0"),
        (
            "missing",
            exec("command: [/no/such/program]"),
            false,
            "cannot run /no/such/program: no such file or directory",
        ),
    ])
}
