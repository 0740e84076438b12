//! The fact behind a reason: the record and `explain` say the same.

use super::*;

/// The causes in the records of what follows, and what is said of the VIP then.
fn told(story: &mut Story, event: Event) -> (Vec<Option<String>>, String) {
    let told = handle(&mut story.engine, event, story.now);
    let causes = told.into_iter().filter_map(|told| match told {
        Told::Record(What::Vip { cause, .. }) => Some(cause),
        Told::Record(_) | Told::Effect(_) => None,
    });
    (causes.collect(), story.engine.why(&net("192.0.2.1"), story.now).unwrap_or_default())
}

fn caused(cause: &str, why: &str) -> (Vec<Option<String>>, String) {
    (vec![Some(cause.to_owned())], why.to_owned())
}

#[test]
fn a_record_says_the_cause_that_explain_says() {
    let mut story = Story::announced(two());
    let config = Arc::clone(story.engine.config());
    let down = report(&config, "alive", DOWN, story.now);
    assert_eq!(told(&mut story, down), caused("refused", "check alive is down: refused"));
    let up = report(&config, "alive", UP, story.now);
    assert_eq!(told(&mut story, up), (vec![None], String::new()));
    let slow = degraded(&config, "alive", Some("slow"), story.now);
    assert_eq!(told(&mut story, slow), caused("slow", "check alive is degraded: slow"));
    let by = "by alice since 1970-01-01T00:00:00Z";
    let why = format!("being drained, GRACEFUL_SHUTDOWN is set: {by}");
    assert_eq!(told(&mut story, drain("web", None)), caused(by, &why));
}

#[test]
fn what_waits_says_for_how_long_and_what_ends_it() {
    let mut web = service(["192.0.2.1"], ["alive"]);
    web.role = Role::Active(Preempt::After(10 * SECOND));
    let mut story = Story::announced(config([("web", web)]));
    story.check("alive", DOWN);
    let up = report(&Arc::clone(story.engine.config()), "alive", UP, story.now);
    let (causes, why) = told(&mut story, up);
    assert_eq!(causes, [Some("for 10 s more, or until `vipcast promote`".to_owned())]);
    assert!(why.ends_with(": for 10 s more, or until `vipcast promote`"), "{why}");
}

#[test]
fn what_cannot_be_bound_says_what_the_kernel_said() {
    let mut story = Story::begin(two());
    start(&mut story.engine, story.now);
    story.tell(list([]));
    let config = Arc::clone(story.engine.config());
    let mut events = vec![refused(on("lo", "192.0.2.1"), "not permitted")];
    events.push(report(&config, "alive", UP, story.now));
    handle_all(&mut story.engine, events, story.now);
    let why = story.engine.why(&net("192.0.2.1"), story.now);
    assert_eq!(why.as_deref(), Some("it is not bound on this host: not permitted"));
}
