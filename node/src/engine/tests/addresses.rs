//! Stories of the host's addresses: changes by other programs, and changes of interfaces.

use super::*;

const VIP: &str = "192.0.2.1";

fn web() -> Config {
    config([("web", service([VIP], ["alive"]))])
}

fn on_svc0() -> Config {
    config([("web", Service { interface: "svc0".into(), ..service([VIP], ["alive"]) })])
}

fn vip() -> Binding {
    on("lo", VIP)
}

/// The index of an interface that is none of the usual ones.
const SVC: u32 = 9;

fn svc(link: Link) -> Event {
    Event::Link(SVC, Some(link))
}

fn on_svc() -> Binding {
    Binding::host(ip(VIP), SVC)
}

fn flags(owner: Owner, state: AddressState) -> BindingFact {
    BindingFact { owner, state }
}

fn lines(told: &[Told]) -> Vec<String> {
    told.iter().map(show).collect()
}

/// What is advertised last, if anything is.
fn announced(story: &Story) -> bool {
    story.engine.announced().next().is_some()
}

/// The order in which the kernel said it is the only one there is: whenever the answer comes, it makes nothing of what is
/// gone again.
#[test]
fn i1_an_answer_after_a_later_removal_states_nothing() {
    for late in [false, true] {
        let mut story = Story::announced(web());
        assert_eq!(story.tell(Event::Removed(vip()))[0], "advertise 2: nothing");
        assert_eq!(story.wait(ms(50)), ["50 bind 192.0.2.1 on lo"]);
        let back_and_gone = [added(vip(), Owner::Us), Event::Removed(vip())];
        if late {
            handle_all(&mut story.engine, back_and_gone, story.now);
            assert!(!announced(&story));
            story.tell(done(vip()));
        } else {
            handle_all(&mut story.engine, back_and_gone.into_iter().chain([done(vip())]), story.now);
        }
        assert!(!announced(&story), "I1: announced on the word of an answer");
        assert_eq!(story.wait(ms(99)), [""; 0]);
        assert_eq!(story.wait(SECOND), ["150 bind 192.0.2.1 on lo"], "and it is put back");
    }
}

#[test]
fn an_answer_that_was_lost_is_made_up_for_by_a_listing() {
    let mut story = Story::begin(web());
    start(&mut story.engine, story.now);
    assert_eq!(story.tell(list([])), ["bind 192.0.2.1 on lo"]);
    story.check("alive", UP);
    story.tell(refused(vip(), "the kernel did not answer"));
    assert!(!announced(&story));
    let effects = story.tell(list([(vip(), Owner::Us)]));
    assert_eq!(effects[0], "advertise 1: 192.0.2.1");
    assert_eq!(story.wait(60 * SECOND), [""; 0], "it is not asked for again");
}

/// 95 removals were 190 UPDATEs and 285 lines once.
#[test]
fn an_address_that_is_taken_away_every_second_gives_few_updates_one_warning_and_a_line_at_the_end() {
    let mut story = Story::announced(web());
    let (mut log, mut bound, mut asked) = (Vec::new(), true, false);
    let mut happens = |story: &mut Story, event: Option<Event>| {
        let mut effects = event.map(|event| handle(&mut story.engine, event, story.now)).unwrap_or_default();
        effects.extend(handle(&mut story.engine, Event::Tick, story.now));
        asked |= effects.iter().any(|effect| matches!(effect, Told::Effect(Effect::Bind(_))));
        log.extend(effects);
        // The kernel does it within a millisecond.
        std::mem::take(&mut asked)
    };
    for tick in 0..9_500_u64 {
        story.now += ms(10);
        let removed = tick % 100 == 0 && std::mem::take(&mut bound);
        if happens(&mut story, removed.then(|| Event::Removed(vip()))) {
            bound = true;
            happens(&mut story, Some(added(vip(), Owner::Us)));
            happens(&mut story, Some(done(vip())));
        }
    }
    let updates = log.iter().filter(|effect| matches!(effect, Told::Effect(Effect::Advertise(_)))).count();
    let records: Vec<String> = lines(&log).into_iter().filter(|line| line.starts_with('#')).collect();
    assert!(updates <= 10, "{updates} UPDATEs: {records:?}");
    assert_eq!(records.iter().filter(|line| line.starts_with("# lost")).count(), 1, "{records:?}");
    assert!(records.len() <= 12, "{records:?}");
    assert!(!announced(&story), "withdrawn, while it is contested");
    let reason = story.engine.standing()[&net(VIP)].decision.verdict.reason().cloned();
    assert_eq!(reason, Some(Reason::Contested));

    // It ends: put back, announced when it has stayed, and said to be over.
    let losses = story.engine.facts().contests[&net(VIP)].losses;
    let mut end = story.wait(30 * SECOND);
    end.extend(story.bound(vip()));
    end.extend(story.wait(60 * SECOND));
    let words: Vec<&str> =
        end.iter().map(|line| line.trim_start_matches(|c: char| c.is_ascii_digit())).collect();
    let stays = format!(" # 192.0.2.1 on lo stays after {losses} losses");
    assert!(words.iter().any(|line| line.contains("advertise")), "{end:?}");
    assert!(words.contains(&stays.as_str()), "{end:?}");
    assert_eq!(story.engine.deadline(), None);
}

#[test]
fn one_loss_is_put_back_when_a_flush_would_be_over_and_announced_at_once() {
    let mut story = Story::announced(web());
    let lost = story.tell(Event::Removed(vip()));
    assert_eq!(lost[..2], ["advertise 2: nothing", "# lost 192.0.2.1 on lo"]);
    assert_eq!(story.wait(ms(50)), ["50 bind 192.0.2.1 on lo"]);
    assert_eq!(story.bound(vip())[0], "advertise 3: 192.0.2.1");
    assert_eq!(story.wait(60 * SECOND), [""; 0]);
    assert_eq!(story.engine.facts().contests.len(), 0);
}

#[test]
fn what_comes_back_on_another_interface_is_put_where_it_belongs_when_the_pause_is_over() {
    let mut story = Story::announced(web());
    story.tell(Event::Removed(vip()));
    story.wait(ms(10));
    assert_eq!(story.tell(added(on("eth0", VIP), Owner::Us))[0], "advertise 3: 192.0.2.1");
    assert_eq!(story.wait(ms(60)), ["50 bind 192.0.2.1 on lo"]);
    assert_eq!(story.bound(vip()), ["unbind 192.0.2.1 on eth0"]);
}

/// The kernel answers for an IPv6 address before it says that it is there.
#[test]
fn an_answer_that_comes_before_the_notification_is_no_reason_to_ask_again() {
    let mut story = Story::begin(web());
    start(&mut story.engine, story.now);
    story.tell(Event::PeerUp("tor-a".into()));
    assert_eq!(story.tell(list([]))[0], "bind 192.0.2.1 on lo");
    assert_eq!(story.tell(done(vip())), [""; 0]);
    story.now += ms(20);
    let seen = story.tell(added(vip(), Owner::Us));
    assert!(seen.iter().all(|line| !line.starts_with("bind")), "{seen:?}");
    story.check("alive", UP);
    assert!(announced(&story), "{:?}", story.engine.standing()[&net(VIP)]);
    let later = story.wait(60 * SECOND);
    assert!(later.iter().all(|line| !line.contains("bind")), "{later:?}");
    assert_eq!(story.engine.facts().contests.len(), 0);
}

#[test]
fn an_address_that_is_bound_and_never_seen_is_not_asked_for_in_a_circle() {
    let mut story = Story::begin(web());
    start(&mut story.engine, story.now);
    story.tell(list([]));
    let mut asked = 0;
    for _ in 0..1000 {
        let effects = story.tell(done(vip()));
        asked += effects.iter().filter(|line| line.starts_with("bind")).count();
        let ticks = story.wait(ms(10));
        asked += ticks.iter().filter(|line| line.contains("bind")).count();
    }
    assert!(asked <= 10, "{asked} requests within ten seconds");
}

#[test]
fn an_address_is_known_by_its_length_and_its_far_end_too() {
    let mut story = Story::announced(web());
    let wider = Binding { kind: Kind::Address { length: 24, far: None }, ..vip() };
    let far = Binding { kind: Kind::Address { length: 32, far: Some(ip("10.9.9.9")) }, ..vip() };
    for other in [wider, far] {
        assert_eq!(story.tell(added(other, Owner::Other)), [""; 0], "{other:?}");
        assert_eq!(story.tell(Event::Removed(other)), [""; 0], "{other:?}");
    }
    // An address that another program added first is used, and the other one beside it is left alone.
    let mut story = Story::begin(web());
    start(&mut story.engine, story.now);
    story.tell(list([(wider, Owner::Other)]));
    story.check("alive", UP);
    assert!(announced(&story));
    assert_eq!(story.tell(Event::Removed(wider))[0], "bind 192.0.2.1 on lo");
}

#[test]
fn an_interface_that_is_renamed_takes_nothing_with_it_and_its_new_name_is_no_other_address() {
    let mut story = Story::begin(on_svc0());
    start(&mut story.engine, story.now);
    assert_eq!(story.tell(list([])), ["# no interface svc0"]);
    assert_eq!(story.tell(svc(link("svc0"))), ["bind 192.0.2.1 on #9"]);
    story.bound(on_svc());
    story.check("alive", UP);
    assert!(announced(&story));
    // The kernel says of every address of it again that it is there.
    assert_eq!(story.tell(svc(link("x"))), ["# no interface svc0"]);
    assert_eq!(story.tell(added(on_svc(), Owner::Us)), [""; 0]);
    assert!(announced(&story), "it is on the host, if elsewhere than it belongs");
    // Another one has the name: it moves there, without a gap.
    assert_eq!(story.tell(Event::Link(10, Some(link("svc0")))), ["bind 192.0.2.1 on #10"]);
    let there = Binding::host(ip(VIP), 10);
    assert_eq!(story.bound(there), ["unbind 192.0.2.1 on #9"]);
    assert!(announced(&story));
    assert_eq!(story.unbound(on_svc()), [""; 0]);
    // Both go: withheld, and why.
    story.tell(Event::Removed(there));
    story.tell(Event::Link(10, None));
    assert!(!announced(&story));
    let why =
        story.engine.facts().obstacle(net(VIP), Wanted { carrier: Carrier::Address, interface: "svc0" });
    assert_eq!(why.as_deref(), Some("there is no interface \"svc0\""));
}

#[test]
fn an_interface_that_is_deleted_and_made_anew_has_its_vip_again() {
    let mut story = Story::begin(on_svc0());
    start(&mut story.engine, story.now);
    story.tell(list([]));
    story.tell(svc(link("svc0")));
    story.bound(on_svc());
    story.check("alive", UP);
    let gone = [Event::Removed(on_svc()), Event::Link(SVC, None)];
    let effects = handle_all(&mut story.engine, gone, story.now);
    assert_eq!(show(&effects[0]), "advertise 2: nothing");
    assert_eq!(story.tell(Event::Link(10, Some(link("svc0")))), [""; 0]);
    assert_eq!(story.wait(ms(50)), ["50 bind 192.0.2.1 on #10"]);
    assert_eq!(story.bound(Binding::host(ip(VIP), 10))[0], "advertise 3: 192.0.2.1");
}

#[test]
fn an_interface_is_found_by_an_altname_of_127_bytes() {
    let long = "n".repeat(127);
    let mut story =
        Story::begin(config([("web", Service { interface: long.clone(), ..service([VIP], []) })]));
    start(&mut story.engine, story.now);
    story.tell(list([]));
    assert_eq!(
        story.tell(svc(Link { altnames: [long.clone()].into(), ..link("up0") })),
        ["bind 192.0.2.1 on #9"]
    );
    story.bound(on_svc());
    assert!(announced(&story));
    assert_eq!(story.engine.facts().shown_name(&on_svc(), &long), long);
    // The name alone goes: the address stays where it is.
    assert_eq!(story.tell(svc(link("up0"))), [format!("# no interface {long}")]);
}

#[test]
fn i1_an_address_that_is_of_no_use_is_withheld_and_announced_when_it_is() {
    let on_eth0 = on("eth0", VIP);
    let config = config([("web", Service { interface: "eth0".into(), ..service([VIP], []) })]);
    let mut story = Story::begin(config);
    start(&mut story.engine, story.now);
    let mut listing = BTreeMap::from([(on_eth0, flags(Owner::Other, AddressState::Duplicate))]);
    let effects = story.tell(listed(listing.clone()));
    let unusable = "# 192.0.2.1: withheld (not_bound) -> withheld (unusable)";
    assert_eq!(effects, [unusable], "ours cannot be beside it");
    let why = |story: &Story| {
        let standing = &story.engine.standing()[&net(VIP)];
        standing.decision.verdict.reason().map(ToString::to_string).unwrap_or_default()
    };
    assert_eq!(why(&story), "the address is on eth0 but unusable: duplicate address detection failed");
    let tentative = Event::Added(on_eth0, flags(Owner::Other, AddressState::Tentative));
    story.tell(tentative);
    assert_eq!(why(&story), "the address is on eth0 but unusable: duplicate address detection has not ended");
    assert_eq!(story.tell(added(on_eth0, Owner::Other))[0], "advertise 1: 192.0.2.1");
    let eth0 = index("eth0");
    assert_eq!(
        story.tell(Event::Link(eth0, Some(Link { up: false, ..link("eth0") })))[0],
        "advertise 2: nothing"
    );
    assert_eq!(why(&story), "the address is on eth0 but unusable: the interface is down");
    assert_eq!(story.tell(Event::Link(eth0, Some(link("eth0"))))[0], "advertise 3: 192.0.2.1");
    // The same is seen in a listing.
    listing.insert(on_eth0, flags(Owner::Other, AddressState::Tentative));
    assert_eq!(story.tell(listed(listing))[0], "advertise 4: nothing");
}

/// Somebody else's address elsewhere is as good as ours, until it is of no use.
#[test]
fn a_foreign_address_of_no_use_on_another_interface_keeps_nobody_from_binding() {
    let mut story = Story::begin(web());
    start(&mut story.engine, story.now);
    story.check("alive", UP);
    let foreign = on("eth0", VIP);
    let usable = BTreeMap::from([(foreign, Owner::Other.into())]);
    story.tell(listed(usable));
    assert!(announced(&story));
    let down = Event::Link(index("eth0"), Some(Link { up: false, ..link("eth0") }));
    assert_eq!(story.tell(down)[..2], ["bind 192.0.2.1 on lo", "advertise 2: nothing"]);
    assert_eq!(story.bound(vip())[0], "advertise 3: 192.0.2.1");
}

#[test]
fn i2_our_only_copy_of_use_is_not_given_up_for_one_of_no_use() {
    let mut story =
        Story::begin(config([("web", Service { interface: "eth0".into(), ..service([VIP], []) })]));
    start(&mut story.engine, story.now);
    let mut down = links();
    down.insert(index("eth0"), Link { up: false, ..link("eth0") });
    let bindings = [(vip(), Owner::Us.into()), (on("eth0", VIP), Owner::Us.into())].into();
    story.tell(Event::Listed(Listing { links: down, bindings }));
    assert!(announced(&story));
    assert_eq!(
        story.tell(Event::Link(index("eth0"), Some(link("eth0")))),
        ["unbind 192.0.2.1 on lo"],
        "as soon as the other one serves"
    );
}
