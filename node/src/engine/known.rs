//! What an engine knows and has decided, for readers: a copy that is cheap to take, and that decides nothing.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use super::plan::{Actual, Desired};
use super::{Engine, HeldBack, Meanwhile, Reach};
use crate::table::Table;

/// An engine as it was at one moment, for its readers. It has no deadline and plans nothing: what only decisions need is left out.
#[derive(Debug)]
pub struct Known(Engine);

impl Deref for Known {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.0
    }
}

impl Engine {
    /// What is known and decided now.
    pub fn known(&self) -> Known {
        let desired = &self.desired;
        Known(Self {
            config: Arc::clone(&self.config),
            facts: self.facts.clone(),
            standing: self.standing.clone(),
            desired: Desired {
                routes: desired.routes.clone(),
                extent: desired.extent,
                bindings: Table::default(),
            },
            actual: Actual {
                advertised: self.actual.advertised.clone(),
                handover: self.actual.handover,
                sent_in: self.actual.sent_in.clone(),
                retiring: self.actual.retiring.clone(),
                ..Actual::default()
            },
            reach: Reach::default(),
            users: Table::default(),
            announced_before: None,
            meanwhile: Meanwhile::new(self.is_unread()),
            watched: Default::default(),
            saved: HeldBack::default(),
            saved_overrides: Arc::clone(&self.saved_overrides),
            exports: BTreeMap::new(),
            due: None,
            acted_at: None,
        })
    }
}
