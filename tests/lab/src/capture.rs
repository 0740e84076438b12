//! A packet capture: `tcpdump` into a file, read again as text.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail, ensure};

use crate::host::Host;
use crate::process::{Process, Signal};
use crate::wait;

/// A running capture. Dropping it stops it; the file stays as long as the lab.
#[derive(Debug)]
pub struct Capture {
    host: Host,
    process: Process,
    file: PathBuf,
}

impl Capture {
    pub(crate) fn start(host: &Host, interface: &str, filter: &str) -> Result<Self> {
        let number = host.scene().next_number();
        let file = host.scene().directory().join(format!("{}-{interface}-{number}.pcap", host.name()));
        let mut command = host.command("tcpdump");
        // -U and --immediate-mode: each packet is in the file as soon as it was seen.
        command.args(["-i", interface, "-n", "-U", "--immediate-mode", "-s", "0", "-Z", "root", "-w"]);
        command.arg(&file).arg(filter);
        let process = host.spawn(&format!("tcpdump-{number}"), command)?;
        wait::until("tcpdump to listen", Duration::from_secs(10), || {
            let log = process.log();
            ensure!(log.contains("listening on"), "tcpdump says: {log}");
            Ok(())
        })?;
        Ok(Self { host: host.clone(), process, file })
    }

    /// The capture file, complete up to the present.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The packets so far, decoded by `tcpdump -v`.
    ///
    /// # Errors
    /// When `tcpdump` cannot read the file.
    pub fn text(&self) -> Result<String> {
        self.read(&["-v"])
    }

    /// The packets so far, decoded by `tcpdump` with further options (`-x` for bytes) or a narrower filter.
    ///
    /// # Errors
    /// When `tcpdump` cannot read the file.
    pub fn read(&self, arguments: &[&str]) -> Result<String> {
        let file = self.file.to_string_lossy();
        self.host.run([&["tcpdump", "-n", "-tt", "-r", &file], arguments].concat())
    }

    /// The packets so far, each with its time and all lines that `tcpdump -v` has about it.
    ///
    /// # Errors
    /// When `tcpdump` cannot read the file.
    pub fn packets(&self) -> Result<Vec<(SystemTime, String)>> {
        Ok(packets(&self.text()?))
    }

    /// When UPDATEs that withdraw something passed.
    ///
    /// # Errors
    /// When `tcpdump` cannot read the file.
    pub fn withdrawals(&self) -> Result<Vec<SystemTime>> {
        let withdraws =
            |(time, text): (SystemTime, String)| text.contains("Withdrawn routes").then_some(time);
        Ok(self.packets()?.into_iter().filter_map(withdraws).collect())
    }

    /// Ends the capture and waits until the last packet is in the file.
    ///
    /// # Errors
    /// When `tcpdump` does not end, or has ended before.
    pub fn stop(&self) -> Result<()> {
        self.process.kill(Signal::SIGTERM)?;
        let status = self.process.wait_exit(Duration::from_secs(5))?;
        if !status.success() {
            bail!("tcpdump failed: {}", self.process.log());
        }
        Ok(())
    }
}

/// The first line of a packet begins with its time, those that follow with a blank.
fn packets(text: &str) -> Vec<(SystemTime, String)> {
    let mut packets: Vec<(SystemTime, String)> = Vec::new();
    for line in text.lines() {
        if let Some(time) = line.split(' ').next().and_then(|word| word.parse::<f64>().ok()) {
            packets.push((SystemTime::UNIX_EPOCH + Duration::from_secs_f64(time), line.to_owned()));
        } else if let Some((_, packet)) = packets.last_mut() {
            packet.push('\n');
            packet.push_str(line);
        }
    }
    packets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_begin_with_a_blank_belong_to_the_packet_before() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let text =
            "1.500000 IP (tos 0x0)\n    10.0.0.1.179 > 10.0.0.2.4: Flags [P.]\n2.250000 IP (tos 0x0)\n";
        let expected = [
            (at(1500), "1.500000 IP (tos 0x0)\n    10.0.0.1.179 > 10.0.0.2.4: Flags [P.]".to_owned()),
            (at(2250), "2.250000 IP (tos 0x0)".to_owned()),
        ];
        assert_eq!(packets(text), expected);
    }
}
