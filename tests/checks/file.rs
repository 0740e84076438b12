//! `file` against the file systems of this host.

use std::fs::File;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::trial;

use crate::server::{Directory, ask};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("file_of_an_operator_in_maintenance", Ok(()), in_maintenance)]
}

fn in_maintenance() -> Result<()> {
    let directory = Directory::new()?;
    let path = directory.path().display();
    let heartbeat = directory.write("heartbeat", "in sync\n")?;
    let checks = || {
        [
            ("serving", format!("{{file: {{path: {path}/maintenance, present: false}}}}")),
            ("beating", format!("{{file: {{path: {path}/heartbeat, max_age: 5m, contains: in sync}}}}")),
            (
                "kernel",
                String::from("{file: {path: /proc/version, contains: {regex: '^Linux version \\d'}}}"),
            ),
        ]
    };
    let asked = ask(checks())?;
    ensure!(asked.values().all(|probed| probed.passed), "{asked:?}");

    directory.write("maintenance", "")?;
    File::options()
        .append(true)
        .open(&heartbeat)?
        .set_modified(SystemTime::now() - Duration::from_secs(420))?;
    let asked = ask(checks())?;
    let serving = &asked["serving"];
    let there = format!("{path}/maintenance is there (changed ");
    ensure!(!serving.passed && serving.detail.starts_with(&there), "{serving:?}");
    let beating = &asked["beating"];
    let old = format!("{path}/heartbeat was not changed for 7 min");
    ensure!(!beating.passed && beating.detail.starts_with(&old), "{beating:?}");
    ensure!(asked["kernel"].passed, "{:?}", asked["kernel"]);
    Ok(())
}
