//! A reload: a new configuration takes effect as a whole, or not at all (I8).

use std::collections::BTreeSet;

use crate::commands::{Answer, Refusal};
use crate::effect::Effect;
use crate::engine::Event;
use crate::input::Read;
use crate::jobs::{Asker, NotRead};
use crate::model::Config;
use crate::names::CheckName;
use crate::node::Node;
use crate::now::Now;
use crate::outbox::Outbox;
use crate::record::What;

/// The most services with a kept verdict that a reload names.
const KEPT_SHOWN: usize = 10;

impl Node {
    /// A caller asks for a reload.
    pub(crate) fn ask_for_reload(&mut self, asker: Asker, out: &mut Outbox) {
        if self.jobs.ask_for_reload(asker) {
            out.push(Effect::ReadConfiguration);
        }
    }

    /// The configuration was read: answers all callers.
    pub(crate) fn read(&mut self, read: Result<Read, NotRead>, now: Now, out: &mut Outbox) {
        let Some(askers) = self.jobs.reading.take() else { return };
        if self.jobs.begin_reading() {
            out.push(Effect::ReadConfiguration);
        }
        let by = askers.iter().map(|asker| asker.by.as_str()).collect::<Vec<_>>().join(", ");
        if askers.iter().all(|asker| asker.gone) {
            out.tell(What::ReloadGivenUp { by });
            return;
        }
        let (looking, following): (Vec<_>, Vec<_>) = askers.into_iter().partition(|asker| asker.dry);
        self.answer_previews(&looking, &read, now, out);
        self.read_for_upgrade(&read, out);
        if following.is_empty() {
            return;
        }
        let by = following.iter().map(|asker| asker.by.as_str()).collect::<Vec<_>>().join(", ");
        let done = read.and_then(|read| self.follow(read, now, out).map_err(NotRead::from));
        out.tell(match &done {
            Ok(message) => What::Reloaded { by, message: message.clone() },
            Err(NotRead { refusal: Refusal { error, hint }, in_line }) => {
                let error = in_line.as_ref().unwrap_or(error).clone();
                What::NotReloaded { by, error, hint: hint.clone() }
            }
        });
        for ticket in following.iter().filter_map(|asker| asker.ticket) {
            let answer = match &done {
                Ok(message) => Answer::done(message.clone()),
                Err(refused) => Answer::Conflict(refused.refusal.clone()),
            };
            out.push(Effect::Answer(ticket, answer));
        }
    }

    /// Answers those who only look, before anything changes.
    fn answer_previews(
        &mut self,
        looking: &[Asker],
        read: &Result<Read, NotRead>,
        now: Now,
        out: &mut Outbox,
    ) {
        if looking.iter().all(|asker| asker.ticket.is_none()) {
            return;
        }
        let answer = match read {
            Err(refused) => Answer::Conflict(refused.refusal.clone()),
            Ok(_) if self.engine.facts().shutdown.is_some() => Answer::Conflict(stopping()),
            Ok(Read { config, warnings }) => Answer::Preview(Box::new(self.preview(config, warnings, now))),
        };
        for ticket in looking.iter().filter_map(|asker| asker.ticket) {
            out.push(Effect::Answer(ticket, answer.clone()));
        }
    }

    /// Puts the configuration in force, or changes nothing.
    fn follow(
        &mut self,
        Read { config, warnings }: Read,
        now: Now,
        out: &mut Outbox,
    ) -> Result<String, Refusal> {
        if self.engine.facts().shutdown.is_some() {
            return Err(stopping());
        }
        let changed = fixed_keys(self.engine.config(), &config);
        if !changed.is_empty() {
            return Err(Refusal::new(
                format!("a reload cannot change {}", changed.join(", ")),
                "restart vipcast, or put it back; nothing else of the file was applied",
            ));
        }
        warnings.into_iter().for_each(|warning| out.tell(What::Warned(warning)));
        self.engine_events([Event::Reload(config)], now, out);
        let keeps = self.engine.keeps();
        let words = |(service, checks): (_, &BTreeSet<CheckName>)| {
            let checks = checks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("\n{service} keeps its verdict until check {checks} has settled")
        };
        let mut message = format!("{} is in force", self.path);
        message.extend(keeps.iter().take(KEPT_SHOWN).map(words));
        if let Some(more) = keeps.len().checked_sub(KEPT_SHOWN).filter(|more| *more > 0) {
            message += &format!("\n{more} more services keep theirs");
        }
        Ok(message)
    }
}

/// The changed keys that only a restart can change.
pub(crate) fn fixed_keys(running: &Config, config: &Config) -> Vec<&'static str> {
    let fixed = [
        ("state_dir", config.state_dir != running.state_dir),
        ("control", config.control != running.control),
        ("api", config.api != running.api),
        ("metrics", config.metrics != running.metrics),
        ("router_id", config.router_id != running.router_id),
        ("listen", config.listen != running.listen),
    ];
    fixed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
}

fn stopping() -> Refusal {
    Refusal { error: "vipcast is stopping".to_owned(), hint: None }
}
