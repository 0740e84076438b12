//! Waiting for a condition instead of sleeping for an effect.
//!
//! A probe is a closure that returns `Ok(value)` when the condition holds, and otherwise an error that describes the
//! present state. So every call of the lab composes with `?`, `ensure!` makes a condition, and the last description is
//! in the time-out message.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// Pause between two looks.
const PERIOD: Duration = Duration::from_millis(10);

/// Calls `probe` until it succeeds, and returns its value.
///
/// # Errors
/// After `timeout`: names `what`, with the last error of the probe as the last status. The probe runs at least once.
pub fn until<T>(what: impl Display, timeout: Duration, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(status) if Instant::now() >= deadline => {
                return Err(anyhow!(
                    "timed out after {timeout:?} waiting for {what}; last status: {status:#}"
                ));
            }
            Err(_) => std::thread::sleep(PERIOD),
        }
    }
}

/// Calls `probe` for all of `duration` and fails when it fails once: "the session stays up".
///
/// # Errors
/// Names `what` and when it stopped being true, caused by the error of the probe.
pub fn holds(what: impl Display, duration: Duration, mut probe: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < duration {
        probe().with_context(|| format!("{what}: no longer true after {:?}", start.elapsed()))?;
        std::thread::sleep(PERIOD);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_times_out_tells_the_last_status() {
        let mut looks = 0;
        let error = until("the moon", Duration::ZERO, || -> Result<()> {
            looks += 1;
            Err(anyhow!("look {looks}: clouds"))
        })
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "timed out after 0ns waiting for the moon; last status: look 1: clouds"
        );
    }

    #[test]
    fn a_wait_returns_what_the_probe_found() {
        let mut looks = 0;
        let found = until("a third look", Duration::from_secs(5), || {
            looks += 1;
            anyhow::ensure!(looks == 3, "{looks} looks");
            Ok(looks)
        });
        assert_eq!(found.unwrap(), 3);
    }
}
