use vipcast_node::model::Question;

use super::*;
use crate::check::probe::tests::{PATIENT, SHORT, asked, fail, pass};

fn interface(name: &str) -> Question {
    asked(InterfaceCheck { name: name.into() })
}

fn link(name: &str, index: u32, flags: LinkFlags, state: State) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = flags;
    link.attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::OperState(state)];
    link
}

#[tokio::test]
async fn the_kernel_is_asked_by_name() {
    assert_eq!(pass(interface("lo")).await, "the link of lo is up");
    assert_eq!(fail(interface("nonesuch0")).await, "there is no interface nonesuch0");
    let long = "n".repeat(127);
    assert_eq!(fail(interface(&long)).await, format!("there is no interface {long}"));
}

#[tokio::test]
async fn i4_a_kernel_whose_network_is_locked_is_waited_for_beside_the_checks() {
    let (interfaces, lo) = (Interfaces::default(), InterfaceCheck { name: "lo".into() });
    let locked = interfaces.asker.locked().await;
    let asked = probe(&lo, &interfaces, Limit::starting_now(SHORT)).await;
    assert_eq!(asked.unwrap_err(), "cannot ask the kernel for lo: no answer within 200 ms");
    drop(locked);
    assert_eq!(probe(&lo, &interfaces, Limit::starting_now(PATIENT)).await.unwrap(), "the link of lo is up");
}

#[test]
fn every_state_of_a_link_has_its_words() {
    let up = LinkFlags::Up | LinkFlags::LowerUp;
    let table = [
        (up, State::Up, Ok("the link of eth0 is up")),
        (up, State::Unknown, Ok("the link of eth0 is up")),
        (LinkFlags::empty(), State::Down, Err("eth0 is administratively down")),
        (LinkFlags::LowerUp, State::Up, Err("eth0 is administratively down")),
        (LinkFlags::Up, State::Down, Err("the link of eth0 is down (no carrier)")),
        (LinkFlags::Up, State::LowerLayerDown, Err("the link of eth0 is down (no carrier)")),
        (up, State::LowerLayerDown, Err("what eth0 is built on is down")),
        (up, State::Dormant, Err("the link of eth0 is up and waits (dormant: 802.1X, LACP)")),
        (up, State::Down, Err("the link of eth0 is down")),
        (up, State::Testing, Err("eth0 is under test")),
        (up, State::NotPresent, Err("a part of eth0 is missing")),
        (up, State::Other(9), Err("the link of eth0 is in a state that this vipcast does not know")),
    ];
    for (flags, state, expected) in table {
        let judged = judge("eth0", &link("eth0", 2, flags, state));
        assert_eq!(judged.as_deref().map_err(|error| error.as_str()), expected, "{flags:?} {state:?}");
    }
    // A kernel that does not tell the state tells the flags.
    let mut bare = link("eth0", 2, up, State::Up);
    bare.attributes.clear();
    assert_eq!(judge("eth0", &bare).unwrap(), "the link of eth0 is up");
}

#[test]
fn changes_ring_for_the_old_and_the_new_name_of_an_interface() {
    use futures_util::FutureExt as _;
    use rtnetlink::packet_core::NetlinkMessage;

    #[derive(Debug)]
    struct Nobody;
    impl Monitor for Nobody {}

    let subscriptions = Arc::new(Subscriptions::default());
    let [eth0, eth1, eth2] = ["eth0", "eth1", "eth2"]
        .map(|name| subscriptions.subscribe(Topic::Interface(name.into()), Arc::new(Nobody)));
    let mut names = BTreeMap::new();
    let mut tell = |message| {
        let mut message = NetlinkMessage::from(message);
        message.finalize();
        let mut datagram = vec![0; message.buffer_len()];
        message.serialize(&mut datagram);
        heard(&datagram, &mut names, &subscriptions);
        [&eth0, &eth1, &eth2].map(|subscription| subscription.notified().now_or_never().is_some())
    };
    let named = |name| link(name, 7, LinkFlags::Up, State::Up);
    assert_eq!(tell(RouteNetlinkMessage::NewLink(named("eth0"))), [true, false, false]);
    assert_eq!(tell(RouteNetlinkMessage::NewLink(named("eth1"))), [true, true, false]);
    assert_eq!(tell(RouteNetlinkMessage::NewLink(named("veth9"))), [false, true, false]);
    assert_eq!(tell(RouteNetlinkMessage::DelLink(named("eth0"))), [true, false, false]);
    assert_eq!(
        tell(RouteNetlinkMessage::NewLink(link("eth2", 8, LinkFlags::Up, State::Up))),
        [false, false, true]
    );
    let mut other = link("eth3", 9, LinkFlags::Up, State::Up);
    other.attributes.push(LinkAttribute::PropList(vec![Prop::AltIfName("eth2".into())]));
    assert_eq!(tell(RouteNetlinkMessage::NewLink(other)), [false, false, true], "by an alternative name");
    // What is cut off says nothing, and nobody trips over it.
    heard(&[16, 0, 0, 0, 16], &mut BTreeMap::new(), &subscriptions);
    heard(&[0; 64], &mut BTreeMap::new(), &subscriptions);
}
