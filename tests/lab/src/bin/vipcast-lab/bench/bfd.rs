//! `bfd`: a router falls silent with its link up; measures the time from the detection time to the end of its session.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use vipcast_lab::{RouterKind, wait};

use super::contender::Bfd;
use super::failover::milliseconds;
use super::report::Section;
use super::samples::Samples;
use super::table::Table;
use super::{Bench, Context, PATIENCE, Rack, Starter};

const INTERVAL: Duration = Duration::from_millis(50);
const MULTIPLIER: u8 = 3;

pub(super) fn run(context: &Context) -> Result<Section> {
    let (starters, absent) = context.field(Bench::Bfd);
    let deaths = context.size(3, 1);
    let mut table = Table::new("", &["late ms", "worst ms"], &[]);
    context.rounds("bfd", || {
        for starter in &starters {
            table.add(starter.contender.name(), 1.0, once(starter, deaths));
        }
    });
    let text = format!(
        "An FRR with BFD ({} ms × {MULTIPLIER}) drops all packets from one moment on while its link stays up, {deaths} times a \
         round. Late is how much longer than the detection time after the last BFD packet heard it took until the BGP \
         session was ended on the wire (a NOTIFICATION, or the end of the connection), by packet capture on the contender's \
         host.",
        INTERVAL.as_millis()
    );
    Ok(Section { title: "BFD", text, tables: vec![table], remarks: Vec::new(), absent })
}

fn once(starter: &Starter<'_>, deaths: u32) -> Result<Vec<f64>> {
    let interval = u32::try_from(INTERVAL.as_millis())?;
    let rack = Rack::new(RouterKind::Frr, |config, neighbor| {
        config.neighbor(neighbor.bfd(vipcast_lab::Bfd::new(interval, MULTIPLIER)))
    })?;
    let work =
        Bfd { router: rack.router_address, local: rack.local, interval: INTERVAL, multiplier: MULTIPLIER };
    let running = starter.contender.bfd(&rack.edge, &work)?;
    let detection = INTERVAL * u32::from(MULTIPLIER);
    let mut late = Samples::default();
    for _ in 0..deaths {
        running.until("the session and BFD to be up", || {
            ensure!(rack.router.established(rack.local)?, "no session");
            let bfd = rack.router.bfd(rack.local)?;
            ensure!(bfd.state == "up" && bfd.detection == detection, "{bfd:?}");
            Ok(())
        })?;
        let interface = &rack.link.end(&rack.edge).interface;
        let capture = rack.edge.capture(interface, "udp port 3784 or tcp port 179")?;
        // A few packets first, so that the silence has a beginning.
        wait::until("BFD to be heard", PATIENCE, || {
            let heard =
                capture.packets()?.iter().filter(|(_, text)| is_bfd(text, rack.router_address)).count();
            ensure!(heard >= 3, "{heard} packets");
            Ok(())
        })?;
        rack.router.host().isolate()?;
        let silence = wait::until("the session to be ended", PATIENCE, || {
            silence(&capture.packets()?, rack.router_address, rack.local).context("it stands")
        })?;
        // Until the router has noticed it as well, it says that all is well, and the next round would begin too soon.
        running.until("the router to notice", || {
            ensure!(!rack.router.established(rack.local)?, "it has not");
            Ok(())
        })?;
        rack.router.host().heal()?;
        ensure!(
            silence >= detection / 2,
            "it was not BFD that ended the session, {silence:?} after the last packet"
        );
        late.add(milliseconds(silence) - milliseconds(detection));
    }
    let (_, worst) = late.range().context("nothing was measured")?;
    Ok(vec![late.median().context("no median")?, worst])
}

/// From the last BFD packet of the router to the end of the session by the other side.
fn silence(packets: &[(SystemTime, String)], router: IpAddr, local: IpAddr) -> Option<Duration> {
    let (ended, _) = packets.iter().find(|(_, text)| ends(text, local))?;
    let heard =
        packets.iter().filter(|(time, text)| time <= ended && is_bfd(text, router)).map(|(time, _)| *time);
    ended.duration_since(heard.max()?).ok()
}

/// From some source ports tcpdump takes the packet for something else, so what it makes of it is not looked at.
fn is_bfd(text: &str, source: IpAddr) -> bool {
    text.contains(".3784: ") && is_from(text, source)
}

fn ends(text: &str, source: IpAddr) -> bool {
    let closes = ["Flags [F", "Flags [R", "Notification Message"].iter().any(|sign| text.contains(sign));
    closes && is_from(text, source)
}

/// The second line of a packet begins with `SOURCE.PORT > `.
fn is_from(text: &str, source: IpAddr) -> bool {
    text.lines().any(|line| line.trim_start().starts_with(&format!("{source}.")) && line.contains(" > "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_ends_with_a_notification_and_began_with_the_last_packet() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let bfd =
            |source, target| format!("1 IP (tos 0x0)\n    {source}.49152 > {target}.3784: BFDv1, length: 24");
        let bgp = "1 IP (tos 0x0)\n    10.0.1.2.179 > 10.0.1.1.4711: Flags [P.], length 21: BGP\n\tNotification Message (3)";
        let packets = [
            (at(100), bfd("10.0.1.1", "10.0.1.2")),
            (at(150), bfd("10.0.1.1", "10.0.1.2")),
            (at(280), bfd("10.0.1.2", "10.0.1.1")),
            (at(301), bgp.to_owned()),
        ];
        let (router, local) = ("10.0.1.1".parse().unwrap(), "10.0.1.2".parse().unwrap());
        assert_eq!(silence(&packets, router, local), Some(Duration::from_millis(151)));
        assert_eq!(silence(&packets[..3], router, local), None);
    }
}
